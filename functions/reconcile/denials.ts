import { isDeepStrictEqual } from 'node:util';
import { timestamp } from '../domain/deployment.ts';
import { DAILY, SUBJECTS, wasTold } from '../domain/notification.ts';
import type { Denial } from '../inventory/denials.ts';
import type { Pass, ReconcileDeps } from './pass.ts';

/** Changes of IAM spread within seconds: what was denied for so long, at two sweeps, is denied for good. */
const PASSES_WITHIN_MS = 2 * 60_000;
/** More causes at once than a person reads; of each, so many parts of the fleet are named. */
const MOST = 10;

/**
 * Tells people, once a day and in one message, what AWS denied to this sweep and to the one before it.
 *
 * @returns how many messages.
 */
export async function tellOfDenials(sweep: string, pass: Pass, deps: ReconcileDeps): Promise<number> {
  const before = await deps.inventory.denials.get(sweep);
  const now = timestamp(deps.now());
  const whatOf = Map.groupBy(pass.Denied, ({ Why }) => Why);
  const denials = [...whatOf].slice(0, MOST).map(([Why, parts]): Denial => {
    const { Since = now, ToldAt } = before.find((known) => known.Why === Why) ?? {};
    const What = [...new Set(parts.map((part) => part.What))].sort().slice(0, MOST);
    return { Why, What, Since, ...(ToldAt ? { ToldAt } : {}) };
  });
  const untold = denials.filter(
    ({ Since, ToldAt }) =>
      Date.parse(now) - Date.parse(Since) >= PASSES_WITHIN_MS && !wasTold(ToldAt, deps.now()),
  );
  const [first] = untold;
  if (first) {
    await deps.notify(`denied#${sweep}#${first.Since}#${first.Why}`, {
      Subject: SUBJECTS.denied(actionOf(first.Why), untold.length - 1),
      What: `AWS denies the function reconcile a call that it needs. Lost events and new servers are not noticed in the places named below. AWS says: ${untold.map(({ Why }) => Why).join('\n')}`,
      Where: untold.flatMap(({ What }) => What).join('; '),
      Since: first.Since,
      WhatToDo:
        'Correct the role or policy that AWS names. In a target account, check that member-account.yaml is deployed and as ' +
        `new as this stack. Reconcile makes up for what it missed once the call is allowed. ${DAILY}`,
    });
    for (const denial of untold) {
      denial.ToldAt = now;
    }
  }
  if (!isDeepStrictEqual(denials, before)) {
    await deps.inventory.denials.note(sweep, denials);
  }
  return first ? 1 : 0;
}

/** "User: … is not authorized to perform: ssm:SendCommand on resource: …" */
const actionOf = (why: string): string =>
  /not authorized to perform: ([\w:-]{1,60})/.exec(why)?.[1] ?? 'a call';
