import type { Flow } from './flows.ts';
import { DENIED_MINUTES, type Run } from './play.ts';
import { MINUTE } from './world.ts';

/** An attempt that ended before a server was touched is made again within 15 minutes, and takes some. */
export const MAY_ADD_MINUTES = 20;
/** SNS takes a message twice whose answer was lost, or whose note could not be written: docs/operations.md says so. */
const mayTellTwice = ({ met }: Run) =>
  met.some((call) =>
    /^(sns\.Publish|DynamoDB_20120810\.UpdateItem) by function \S+-(rollout-ended|reconcile)$/.test(call),
  );
/** AWS denied the API what it needs: its caller got a 5xx, and operators hear of it. */
const DENIED_ALARM = /^acm-export-api-denied$/;

/** What is not mended, by the call that takes effect after its function has ended; docs/campaign.md has the reasons. */
const KNOWN: [call: RegExp, fault: RegExp][] = [
  // A DELETE, after which the deployment was registered again: a look at the bundle tells people within a day.
  [/^secretsmanager\.DeleteSecret by function \S+-deployments-api$/, /later its bundle is to be deleted$/],
  // The Automation of a rollout that a DELETE ended before it was noted: nodes take turns, and refuse the older rollout.
  [/^DynamoDB_20120810\.UpdateItem by function \S+-start-installation$/, /^another Automation ran beside /],
];

const isKnown = ({ met }: Run, fault: string) =>
  KNOWN.some(([call, text]) => text.test(fault) && met.some((one) => call.test(one)));

/**
 * What is wrong with a run in which one fault passed, beside the same flow without it: it was not well in time, or people
 * were told of what they had nothing to do about.
 *
 * @param allowed subjects and alarms that may come.
 */
export function faultsOf(
  run: Run,
  clean: Run,
  { mayAdd = MAY_ADD_MINUTES }: Flow,
  allowed = DENIED_ALARM,
): string[] {
  const added = (run.healedAfter ?? 0) - (clean.healedAfter ?? 0);
  const told = without(run.told, clean.told).filter((subject) => !allowed.test(subject));
  const untold = without(clean.told, run.told);
  const rings = without(
    run.rings.map(({ alarm }) => alarm),
    clean.rings.map(({ alarm }) => alarm),
  ).filter((alarm) => !allowed.test(alarm));
  return [
    ...run.wrong.filter((fault) => !isKnown(run, fault)),
    ...(added > mayAdd ? [`well ${added} minutes later than without a fault`] : []),
    ...told.slice(mayTellTwice(run) ? 1 : 0).map((subject) => `people were told without need: ${subject}`),
    ...untold.map((subject) => `people were not told: ${subject}`),
    ...rings.map((alarm) => `${alarm} went off`),
    ...stillOn(run),
  ];
}

/** Of a denial that lasts, people hear within this. */
const TOLD_MINUTES = 30;
/** What was not asked any more after this was no denial that lasts: others did it, or it was needed no more. */
const PASSES_MINUTES = 2.5;

/** What is wrong with a run in which something was denied for good, and then repaired. */
export function faultsOfDenial(run: Run, clean: Run, flow: Flow): string[] {
  const { mayAdd = MAY_ADD_MINUTES, isTrial = false } = flow;
  const { healedAfter = 0, deniedAt, deniedLast = 0 } = run;
  if (deniedAt === undefined) return ['nothing was denied', ...run.wrong];
  const bound = DENIED_MINUTES + Math.max(mayAdd, clean.healedAfter ?? 0);
  const lasts = deniedLast - deniedAt >= PASSES_MINUTES * MINUTE;
  // Its caller was told, or asks for the result of the dry run.
  const mustTell = lasts && run.refused === 0 && !isTrial;
  const heard = [...run.rings.map(({ at }) => at), ...run.toldAt].filter((at) => at > deniedAt);
  const after = (Math.min(...heard) - deniedAt) / MINUTE;
  return [
    ...run.wrong,
    ...(healedAfter > bound ? [`well only ${healedAfter - DENIED_MINUTES} minutes after the repair`] : []),
    ...(mustTell && after > TOLD_MINUTES ? [`people heard of it after ${after} minutes`] : []),
    // The alarm on failed rollouts names nothing: the message does.
    ...(mustTell && !run.isNamed && run.rings.every(({ alarm }) => alarm === 'acm-export-failed-rollouts')
      ? ['people were not told what was denied']
      : []),
    ...stillOn(run),
  ];
}

const stillOn = ({ rings }: Run) =>
  rings.filter(({ over }) => over === undefined).map(({ alarm }) => `${alarm} is still on`);

/** The members of a list that are not in another one, each as often as it is there more. */
export function without(list: string[], other: string[]): string[] {
  const left = [...other];
  return list.filter((one) => {
    const index = left.indexOf(one);
    if (index >= 0) left.splice(index, 1);
    return index < 0;
  });
}
