import { isDeepStrictEqual } from 'node:util';
import {
  type Deployment,
  isAside,
  isServed,
  type NodeRecord,
  type Observed,
  orderOf,
  type Running,
  timestamp,
  type Wanted,
} from './deployment.ts';
import { isOfOwner } from './failure.ts';
import { isHealed } from './look.ts';
import { type ManagedNode, obstacleOf } from './nodes.ts';
import type { Order } from './order.ts';

/**
 * Why a deployment does what it does, in the order in which `next` looks. What is said is read by people: GET shows it.
 */
export const REASONS = {
  deleting: 'It is being deleted.',
  unstarted: 'A rollout has begun, but Step Functions has not confirmed its start yet.',
  slot: 'A rollout has begun and waits for its slot.',
  running: 'A rollout is running.',
  lost: 'A rollout has ended, but no function recorded its result.',
  off: 'This stack starts no rollouts now: its parameter RolloutsEnabled is false.',
  frozen: 'All rollouts are frozen.',
  paused: 'It is paused.',
  tried: 'Only dry runs were requested.',
  asked: 'A person asked for a rollout.',
  renewed: 'ACM has renewed the certificate.',
  failed:
    'The last rollout failed on a node. It is tried again, first after 15 minutes, then each time after twice as long.',
  untouched: 'The last rollout failed before it touched a node. It is tried again every 15 minutes.',
  disallowed:
    'The owner of the target account does not allow the delivery: see LastError. It is tried again every 15 minutes, in case that changes.',
  appeared: 'A node can be reached and does not have the current version.',
  drifted:
    'A look found a node that does not serve what was installed. It is installed there again, first at once, then each time after twice as long.',
  refused:
    'A node could not be served for a reason of its own. Other nodes were served. It is tried again, first after 15 minutes, then each time after twice as long, at most after a day.',
  missed: 'The last rollout did not come to a node that can be reached. It is tried again after an hour.',
  unbundled: 'Its bundle does not exist any more. A rollout writes it anew.',
  withdrawn:
    'Its bundle is scheduled for deletion, but not by this system. POST the deployment again to restore it, or DELETE the deployment.',
  empty: 'No node carries the tag, or the order leaves out all that do. The first other one is served.',
  unreachable:
    'Some nodes cannot be served now, or serve nothing. They are served as soon as that is possible.',
  done: 'There is nothing to do until ACM renews the certificate or a node appears.',
} as const;

export type Reason = keyof typeof REASONS;

/** Whether a reason, or a refusal, says that no rollout of any deployment begins. Who froze and when stands in the text. */
export const isStandstill = (text: string): boolean =>
  text.startsWith(REASONS.off) || text.startsWith(REASONS.frozen.replace(/\.$/, ''));

/** What the API answers with 409 to one who lost to another writer: programs repeat the request. */
export const CHANGED_MEANWHILE = 'The deployment changed during this request. Repeat the request.';

/** How the execution of the running rollout is: `unknown` where Step Functions did not say. */
export type ExecutionState = 'running' | 'ended' | 'unknown' | 'not asked';

/** What is known of a deployment's nodes: those that carry the tag now, and the records of the inventory. */
export interface Nodes {
  /** The deployment's RolloutNumber when they were read: of an older one they say nothing. */
  asOf: number;
  listed: readonly ManagedNode[];
  records: readonly NodeRecord[];
}

export interface Decision {
  /** `start`: the execution of a rollout that has begun. `close`: a rollout that has ended and says that it runs. */
  action: 'nothing' | 'begin' | 'start' | 'close';
  reason: Reason;
  /** When there is something to do, or to look at; absent where that depends on others. */
  at?: Date;
}

const MINUTE_MS = 60_000;
/** A start that was heard is not doubted before this, counted from its slot. */
const DOUBT_AFTER_MS = 15 * MINUTE_MS;
/** A node that a repair did not reach, although it was there, is tried again after this. */
const MISSED_AGAIN_MS = 60 * MINUTE_MS;
/** A node that went away while a repair was under way is tried again after this: it may come and go for days. */
const AWAY_AGAIN_MS = 15 * MINUTE_MS;
/** After a failure; doubled with each one that follows it, where a node fails for a reason of its own. */
const FIRST_RETRY_MS = 15 * MINUTE_MS;
const LAST_RETRY_MS = 24 * 60 * MINUTE_MS;

/**
 * What is to be done for a deployment, from when, and why. Pure: it asks no service and changes nothing.
 *
 * @param nodes undefined where they were not listed: then nothing begins for their sake.
 */
export function next(
  deployment: Deployment,
  nodes: Nodes | undefined,
  execution: ExecutionState,
  now: Date,
): Decision {
  const { Running: running, Observed: last } = deployment;
  if (deployment.Status === 'DELETING') {
    return { action: 'nothing', reason: 'deleting' };
  }
  if (running) {
    return nextOfRunning(running, execution, now);
  }
  if (deployment.PausedAt) {
    return { action: 'nothing', reason: 'paused' };
  }
  if (!deployment.Wanted) {
    return { action: 'nothing', reason: 'tried' };
  }
  if (!last || deployment.Wanted.Generation > last.Generation) {
    return { action: 'begin', reason: 'asked', at: now };
  }
  if (isAhead(deployment.Wanted, last)) {
    return { action: 'begin', reason: 'renewed', at: now };
  }
  const known = nodes?.asOf === deployment.RolloutNumber ? nodes : undefined;
  const drifted = driftedNodes(known).length > 0 ? [healingOf(deployment.Drift, now)] : [];
  const due = [
    ...(last.Outcome === 'FAILED' ? [retryOf(last)] : []),
    ...(deployment.Status === 'DEGRADED' ? retryOfRefused(last) : []),
    ...lackingNodes(last, known),
    ...drifted,
    ...lackingBundle(deployment, last),
  ];
  const [first] = due.sort((a, b) => a.at.getTime() - b.at.getTime());
  if (first) {
    return { action: first.at <= now ? 'begin' : 'nothing', ...first };
  }
  // Where the nodes were not listed, the status tells that a healing was in vain so far.
  const isHealing = !known && deployment.Status === 'DEGRADED' && (deployment.Drift?.At ?? '') > last.At;
  if (isHealing) {
    return { action: 'nothing', ...healingOf(deployment.Drift, now) };
  }
  const isWithdrawn = deployment.BundleFinding?.Kind === 'deletion';
  return { action: 'nothing', reason: isWithdrawn ? 'withdrawn' : (SETTLED[deployment.Status] ?? 'done') };
}

const SETTLED: Partial<Record<Deployment['Status'], Reason>> = { WAITING: 'empty', DEGRADED: 'unreachable' };

function nextOfRunning(running: Running, execution: ExecutionState, now: Date): Decision {
  if (!running.StartedAt) {
    return { action: 'start', reason: 'unstarted', at: now };
  }
  const slot = new Date(Date.parse(running.StartedAt) + running.StartDelaySeconds * 1000);
  if (now < slot) {
    return { action: 'nothing', reason: 'slot', at: slot };
  }
  const doubtful = new Date(slot.getTime() + DOUBT_AFTER_MS);
  return execution === 'ended' && now >= doubtful
    ? { action: 'close', reason: 'lost', at: doubtful }
    : { action: 'nothing', reason: 'running', at: doubtful };
}

/**
 * Whether something is wanted that a rollout did not have. ACM's certificates begin at midnight: two versions of one day
 * are told apart by their serials. A renewal that a rollout found by itself is not ahead of it: ACM's event may come after
 * the rollout that exported it, which had begun for an older version. One whose NotBefore is not known (the first edition
 * noted none) is tried once.
 */
export function isAhead(
  wanted: Wanted,
  had: Pick<Observed, 'Generation' | 'NotBefore' | 'Serial' | 'WantedSerial'> | undefined,
): boolean {
  if (!had || wanted.Generation > had.Generation) {
    return true;
  }
  const isOther = wanted.Serial !== had.Serial && wanted.Serial !== had.WantedSerial;
  return isOther && (wanted.NotBefore === '' || wanted.NotBefore >= had.NotBefore);
}

/** What waits for the running rollout to end, or for the end of a pause. */
export function followUpOf({
  Wanted: wanted,
  Running: running,
  Observed: last,
}: Deployment): Wanted | undefined {
  const isUnderway = wanted && running && !isAside(running) && !isAhead(wanted, running);
  return wanted && isAhead(wanted, last) && !isUnderway ? wanted : undefined;
}

interface Due {
  reason: Reason;
  at: Date;
}

function retryOf(last: Observed): Due {
  if (last.Untouched) {
    const reason = isOfOwner(last.Error ?? '') ? 'disallowed' : 'untouched';
    return { reason, at: new Date(Date.parse(last.At) + FIRST_RETRY_MS) };
  }
  const { NodeFailures = last.Failures } = last;
  const distance = Math.min(FIRST_RETRY_MS * 2 ** Math.max(0, NodeFailures - 1), LAST_RETRY_MS);
  return { reason: 'failed', at: new Date(Date.parse(last.At) + distance) };
}

/** As long again as a node has been refused: so attempts come at twice the distance each time. */
function retryOfRefused({ At, RefusedSince }: Observed): Due[] {
  if (!RefusedSince) {
    return [];
  }
  const last = Date.parse(At);
  const distance = Math.max(FIRST_RETRY_MS, Math.min(last - Date.parse(RefusedSince), LAST_RETRY_MS));
  return [{ reason: 'refused', at: new Date(last + distance) }];
}

/**
 * When each node that can be served and lacks the version may be served. At once, unless an attempt has failed already:
 * what is broken is not hammered, and a new node beside a broken one does not wait.
 */
function lackingNodes(last: Observed, nodes: Nodes | undefined): Due[] {
  const records = new Map(nodes?.records.map((record) => [record.NodeId, record]));
  const isRepair = last.Cause === 'RECONCILE';
  const wasReached = nodes?.records.some((record) => record.RolloutNumber === last.RolloutNumber);
  return (nodes?.listed ?? []).flatMap((node): Due[] => {
    const record = records.get(node.NodeId);
    // After a rollout that found no node, a node that comes back says by itself what it serves.
    if (obstacleOf(node) || (last.Outcome !== 'WAITING' && isServed(record, last))) {
      return [];
    }
    // It has its own time: `retryOfRefused`.
    if (record?.Refusal && last.RefusedSince) {
      return [];
    }
    const isNew = record?.Outcome === undefined || ['offline', 'unsupported'].includes(record.Outcome);
    const wentAway = isRepair && record?.Outcome === 'offline' && record.RolloutNumber === last.RolloutNumber;
    const appeared: Due = {
      reason: 'appeared',
      at: new Date(wentAway ? Date.parse(record.At ?? last.At) + AWAY_AGAIN_MS : 0),
    };
    if (last.Outcome === 'FAILED') {
      return isNew && wasReached ? [appeared] : [];
    }
    return isRepair && record?.Outcome === 'not-reached'
      ? [{ reason: 'missed', at: new Date(Date.parse(record.At ?? last.At) + MISSED_AGAIN_MS) }]
      : [appeared];
  });
}

/**
 * A bundle that does not exist is written anew: the next renewal or new node would do so anyway, and until then there is
 * nothing to read. One that is scheduled for deletion can still be restored, so that is left to a person: it may be meant.
 * A rollout that failed is tried again in its own time, and one that has just ended is not followed by another at once: it
 * may not have taken back the finding, if a function of the edition before ended it.
 */
function lackingBundle({ BundleFinding: finding }: Deployment, last: Observed): Due[] {
  if (finding?.Kind !== 'missing' || last.Outcome === 'FAILED') {
    return [];
  }
  const at = Math.max(Date.parse(finding.Since), Date.parse(last.At) + FIRST_RETRY_MS);
  return [{ reason: 'unbundled', at: new Date(at) }];
}

/** Nodes that can be reached and where a look found what an installation may mend. */
export function driftedNodes(nodes: Nodes | undefined): string[] {
  const found = new Set(nodes?.records.flatMap(({ NodeId, Finding }) => (isHealed(Finding) ? [NodeId] : [])));
  const listed = nodes?.listed ?? [];
  return listed.flatMap((node) => (found.has(node.NodeId) && !obstacleOf(node) ? [node.NodeId] : []));
}

/** Without healing for this long, the next one counts as the first: longer than LAST_RETRY_MS. */
const CALM_MS = 2 * LAST_RETRY_MS;

/** Healing rollouts in a row until now. */
const healingsOf = (drift: Deployment['Drift'], now: Date) =>
  drift && now.getTime() - Date.parse(drift.At) <= CALM_MS ? drift.Count : 0;

function healingOf(drift: Deployment['Drift'], now: Date): Due {
  const count = healingsOf(drift, now);
  const distance = Math.min(FIRST_RETRY_MS * 2 ** (count - 1), LAST_RETRY_MS);
  return { reason: 'drifted', at: drift && count > 0 ? new Date(Date.parse(drift.At) + distance) : now };
}

/** What is noted when a healing rollout begins. */
export const driftAfter = (before: Deployment['Drift'], now: Date) => ({
  Count: healingsOf(before, now) + 1,
  At: timestamp(now),
});

/** A version of a certificate, as ACM describes it, and who noticed it. */
export interface Noticed extends Pick<Wanted, 'Serial' | 'NotBefore' | 'Cause' | 'CorrelationId'> {
  CertificateArn: string;
}

/** What is wanted once a renewal was noticed; undefined where that changes nothing. */
export function wantedAfterRenewal(deployment: Deployment, noticed: Noticed, now: Date): Wanted | undefined {
  const { Wanted: wanted } = deployment;
  const { CertificateArn, Serial, NotBefore, Cause, CorrelationId } = noticed;
  const isNews = wanted && Serial !== wanted.Serial && NotBefore >= wanted.NotBefore;
  if (!isNews || CertificateArn !== deployment.CertificateArn) {
    return undefined;
  }
  // A request that waits keeps its cause: it brings the new version too.
  const by = followUpOf(deployment) ? {} : { Cause, CorrelationId, At: timestamp(now) };
  return { ...wanted, ...by, Serial, NotBefore };
}

/**
 * What is wanted once a person has asked for an order: one generation more, but for a repeat of what is still to be
 * done, or is being done.
 */
export function wantedAfterRequest(
  deployment: Deployment | undefined,
  order: Order,
  asked: Noticed,
  now: Date,
): Wanted {
  const { Wanted: wanted, Observed: last, Running: running } = deployment ?? {};
  const { Serial, NotBefore, Cause, CorrelationId } = asked;
  const isSame = deployment && isSameOrder(deployment, order);
  if (isSame && wanted) {
    const isOpen = wanted.Generation > (last?.Generation ?? 0);
    const isUnderway =
      running?.Generation === wanted.Generation && running.Serial === Serial && !isAside(running);
    if (isOpen || isUnderway) {
      return { ...wanted, Serial, NotBefore };
    }
  }
  const Generation = Math.max(wanted?.Generation ?? 0, last?.Generation ?? 0) + 1;
  return { Generation, Serial, NotBefore, Cause, CorrelationId, At: timestamp(now) };
}

/** Whether two orders ask for the same. */
export const isSameOrder = (one: Order, other: Order): boolean =>
  isDeepStrictEqual(plain(orderOf(one)), plain(orderOf(other)));

/** Without the undefined members that DynamoDB drops, and the empty lists of options that an older order does not have. */
const plain = (value: unknown): unknown =>
  JSON.parse(
    JSON.stringify(value, (_, member) => (Array.isArray(member) && member.length === 0 ? undefined : member)),
  );
