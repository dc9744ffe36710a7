import { isDeepStrictEqual } from 'node:util';
import { isItsHour } from '../domain/bundle.ts';
import { type Deployment, timestamp } from '../domain/deployment.ts';
import { oldMemberStacks } from '../domain/member-stack.ts';
import { wasTold } from '../domain/notification.ts';
import { inParallel } from '../runtime/in-parallel.ts';
import { lackOfBundleWriter } from '../target-account/bundle-writer.ts';
import { guarded, type Pass, type ReconcileDeps } from './pass.ts';

/** Each makes two calls in an account of its own. */
const PLACES_AT_ONCE = 32;
/** Where it is noted which are old: beside what AWS denies to sweeps. */
const NOTED = 'member-stacks';

/**
 * Tells people, once a day and in one message, which member stacks are of the edition before. Each is looked at once a day,
 * in its account's hour; an old one every hour, until it is updated. A first find may pass, so it is not told yet.
 */
export async function lookAtMembers(fleet: Deployment[], pass: Pass, deps: ReconcileDeps): Promise<void> {
  await guarded(pass, 'the member stacks', async () => {
    const noted = await deps.inventory.denials.get(NOTED);
    const [known] = noted;
    const isKnown = (name: string) => known?.What.includes(name) ?? false;
    const places = Map.groupBy(fleet, (d) => `${d.TargetAccount}/${d.TargetRegion}`);
    const due = [...places].filter(
      ([name, [first]]) => isKnown(name) || isItsHour(first?.TargetAccount ?? '', deps.now()),
    );
    const lacks = new Map<string, string>();
    await inParallel(due, PLACES_AT_ONCE, ([name, [first]]) =>
      guarded(pass, `the member stack in ${name}`, async () => {
        const lack = await lackOfBundleWriter(first as Deployment, deps);
        if (lack !== undefined) {
          lacks.set(name, lack);
        }
      }),
    );
    const old = [...lacks.keys()].sort();
    const lasting = old.filter(isKnown);
    const isTold = lasting.length > 0 && !wasTold(known?.ToldAt, deps.now());
    const { Since, ToldAt } = (lasting.length > 0 ? known : undefined) ?? { Since: timestamp(deps.now()) };
    if (isTold) {
      await deps.notify(NOTED, oldMemberStacks(lasting, lacks.get(lasting[0] ?? '') ?? '', Since));
      pass.Notified += 1;
    }
    const told = isTold ? timestamp(deps.now()) : ToldAt;
    const [Why = ''] = lacks.values();
    const found = old.length > 0 ? [{ Why, What: old, Since, ...(told ? { ToldAt: told } : {}) }] : [];
    if (!isDeepStrictEqual(found, noted)) {
      await deps.inventory.denials.note(NOTED, found);
    }
  });
}
