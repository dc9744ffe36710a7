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
/** Old member stacks are noted beside what AWS denies to sweeps. */
const NOTED = 'member-stacks';

/**
 * Tells people which member stacks are of the edition before: once a day, in one message. Each account is looked at in its
 * hour of the day, an old stack every hour until it is updated. What one look found may pass: it is told from the second on.
 */
export async function lookAtMembers(fleet: Deployment[], pass: Pass, deps: ReconcileDeps): Promise<void> {
  await guarded(pass, 'the member stacks', async () => {
    const noted = await deps.inventory.denials.get(NOTED);
    const [known] = noted;
    const isKnown = (place: string) => known?.What.includes(place) ?? false;
    const places = Map.groupBy(fleet, (d) => `${d.TargetAccount}/${d.TargetRegion}`);
    const due = [...places].filter(
      ([place, [first]]) => isKnown(place) || isItsHour(first?.TargetAccount ?? '', deps.now()),
    );
    const lacks = await lacksOf(due, pass, deps);

    const old = [...lacks.keys()].sort();
    const lasting = old.filter(isKnown);
    const before = lasting.length > 0 ? known : undefined;
    const now = timestamp(deps.now());
    const { Since, ToldAt } = before ?? { Since: now };
    const isTold = before !== undefined && !wasTold(ToldAt, deps.now());
    if (isTold) {
      await deps.notify(NOTED, oldMemberStacks(lasting, lacks.get(lasting[0] ?? '') ?? '', Since));
      pass.Notified += 1;
    }
    const toldAt = isTold ? now : ToldAt;
    const Why = lacks.get(old[0] ?? '') ?? '';
    const found = old.length > 0 ? [{ Why, What: old, Since, ...(toldAt ? { ToldAt: toldAt } : {}) }] : [];
    if (!isDeepStrictEqual(found, noted)) {
      await deps.inventory.denials.note(NOTED, found);
    }
  });
}

/** What AWS says of the old ones, by account and Region. */
async function lacksOf(
  places: readonly [string, Deployment[]][],
  pass: Pass,
  deps: ReconcileDeps,
): Promise<Map<string, string>> {
  const lacks = new Map<string, string>();
  await inParallel(places, PLACES_AT_ONCE, ([place, [first]]) =>
    guarded(pass, `the member stack in ${place}`, async () => {
      const lack = await lackOfBundleWriter(first as Deployment, deps);
      if (lack !== undefined) {
        lacks.set(place, lack);
      }
    }),
  );
  return lacks;
}
