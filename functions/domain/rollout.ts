import {
  type Deployment,
  type Ended,
  isAside,
  isDryRun,
  type Observed,
  type Outcome,
  type Running,
  timestamp,
} from './deployment.ts';
import { type Earliest, lackingIn } from './expiry.ts';
import type { Order } from './order.ts';

/** How a rollout ended, as it is written into the deployment. */
export interface RolloutResult {
  Outcome: Outcome;
  ExecutionArn: string;
  Error?: string;
  /** The version that was exported, where the rollout came so far. */
  Exported?: { Serial: string; VersionId: string; NotBefore?: string; NotAfter: string };
  /** Whether nodes serve that version now. */
  Served?: boolean;
  /** What of all that the nodes serve ends first, where they are known. */
  Earliest?: Earliest | undefined;
  /** Since when the node is refused that was refused last. */
  RefusedSince?: string | undefined;
  /** Whether it changed a node, or failed on one. Where that is not known, a node counts once an Automation was started. */
  Touched?: boolean;
  /** Whether its Automation is known to have ended, or there was none. */
  AutomationEnded?: boolean;
  /** The highest number that a node reported. */
  HeldNumber?: number;
}

/** What a rollout is begun with. */
export interface Beginning
  extends Pick<Running, 'Generation' | 'Serial' | 'NotBefore' | 'Cause' | 'CorrelationId' | 'NodeIds'> {
  Order: Order;
  /** When it may start; at once by default. */
  slot?: Date | undefined;
}

/** No slot is further ahead: a state machine of 24 hours has time for the rollout itself then. */
export const LONGEST_WAIT_SECONDS = 9 * 3600;

/**
 * The rollout that begins. It gets the next number, which is also at least the seconds since 1970, so that a table that
 * was lost does not count from 1 on nodes that have seen more, and above what nodes hold.
 */
export function runningFrom(deployment: Deployment, beginning: Beginning, now: Date): Running {
  const { slot, ...copied } = beginning;
  const delay = slot === undefined ? 0 : Math.ceil((slot.getTime() - now.getTime()) / 1000);
  return {
    ...copied,
    RolloutNumber: Math.max(
      deployment.RolloutNumber + 1,
      Math.floor(now.getTime() / 1000),
      (deployment.HeldNumber ?? 0) + 1,
    ),
    BeganAt: timestamp(now),
    StartDelaySeconds: Math.max(0, Math.min(delay, LONGEST_WAIT_SECONDS)),
  };
}

/** The end that is recorded under a rollout's number. */
export function endOf(
  { Observed, LastTrial, LastHealing }: Deployment,
  rolloutNumber: number,
): Ended | undefined {
  return [Observed, LastTrial, LastHealing].find((ended) => ended?.RolloutNumber === rolloutNumber);
}

/** Counted, so that attempts on a node that fails come at growing distance. */
function failuresAfter(
  before: Observed | undefined,
  touched: boolean,
  now: string,
): Pick<Observed, 'Failures' | 'NodeFailures' | 'Untouched' | 'FailingSince'> {
  const { Failures = 0, NodeFailures = Failures, FailingSince = now } = before ?? {};
  return {
    Failures: Failures + 1,
    NodeFailures: NodeFailures + (touched ? 1 : 0),
    ...(touched ? {} : { Untouched: true }),
    FailingSince,
  };
}

const earliestFrom = ({ NotBefore, NotAfter }: NonNullable<RolloutResult['Exported']>): Earliest => ({
  NotAfter,
  ...(NotBefore ? { NotBefore } : {}),
});

/** What the end of a rollout changes in the record of its deployment. */
export function changesAtEnd(
  deployment: Deployment,
  running: Running,
  result: RolloutResult,
  now: string,
): { set: Record<string, unknown>; remove: string[] } {
  const { Outcome, ExecutionArn, Error: error, Exported, Served = false, AutomationEnded = false } = result;
  const { RolloutNumber, Serial, Generation, NotBefore, Cause, CorrelationId, AutomationExecutionId } =
    running;
  const ended: Ended = {
    RolloutNumber,
    Serial: Exported?.Serial ?? Serial,
    Cause,
    CorrelationId,
    ExecutionArn,
    Outcome,
    ...(error === undefined ? {} : { Error: error }),
    At: now,
  };
  const unfinished = AutomationEnded ? undefined : AutomationExecutionId;
  const held = Math.max(deployment.HeldNumber ?? 0, result.HeldNumber ?? 0);
  const common = {
    UpdatedAt: now,
    ...(unfinished ? { Unfinished: { AutomationExecutionId: unfinished } } : {}),
    ...(held > 0 ? { HeldNumber: held } : {}),
  };
  const hadBundle = Exported !== undefined || Outcome !== 'FAILED';
  const remove = [
    'Running',
    ...(Outcome === 'FAILED' ? [] : ['RestoreBundle']),
    ...(hadBundle ? ['BundleFinding'] : []),
  ];
  if (isAside(running)) {
    return { set: { ...common, [isDryRun(running) ? 'LastTrial' : 'LastHealing']: ended }, remove };
  }
  const { Observed: before } = deployment;
  const failed = Outcome === 'FAILED';
  const VersionId = Exported?.VersionId ?? before?.VersionId;
  // The first edition's executions do not hand on NotBefore.
  const known = Exported === undefined || Exported.Serial === Serial ? NotBefore : '';
  const observed: Observed = {
    ...ended,
    Generation,
    ...(ended.Serial === Serial ? {} : { WantedSerial: Serial }),
    NotBefore: Exported?.NotBefore ?? known,
    ...(VersionId ? { VersionId } : {}),
    ...(Outcome === 'DEGRADED' && result.RefusedSince ? { RefusedSince: result.RefusedSince } : {}),
    ...(failed
      ? failuresAfter(before, result.Touched ?? AutomationExecutionId !== undefined, now)
      : { Failures: 0, NodeFailures: 0 }),
    // Of another order or version people are told anew.
    ...(failed && before?.Generation === Generation && before.Serial === ended.Serial && before.ToldOf
      ? { ToldOf: before.ToldOf }
      : {}),
  };
  const served = Served && Exported ? { Serial: Exported.Serial, VersionId: Exported.VersionId } : {};
  // While no node serves anything, what counts is the version that is ready for them.
  const isIdle = deployment.Serial === undefined || Outcome === 'WAITING';
  const earliest = Exported && (Served || isIdle) ? (result.Earliest ?? earliestFrom(Exported)) : undefined;
  return {
    set: { ...common, ...served, ...earliest, Observed: observed, Status: Outcome, LastError: error },
    remove: [
      ...remove,
      ...(error === undefined ? ['LastError'] : []),
      ...(earliest ? lackingIn(earliest) : []),
    ],
  };
}
