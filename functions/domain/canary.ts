import {
  type AutomationStart,
  holdsVersion,
  isFault,
  type NodeRecord,
  type NodeResult,
} from './deployment.ts';
import { passesProbe } from './verdict.ts';

/**
 * Automations that one rollout may start: two installations that end at their canary, and two probes, each with an
 * installation after it. So who can tag nodes can make canaries be in vain, and not make Automations without end.
 */
const MOST_AUTOMATIONS = 6;

/** How sure it is that a node can be served, by what it has said until now: the lower, the surer. */
function doubtOf(record: NodeRecord | undefined): number {
  if (record?.Refusal) {
    return 3;
  }
  if (isFault(record)) {
    return 2;
  }
  return record?.VersionId ? 0 : 1;
}

/**
 * The node that goes first: one that has served a version before, else one that is not known yet, else one that failed,
 * else one that was refused. So neither a broken node nor any number of nodes that were tagged to disturb holds up the
 * others. Of those that are alike, it is the one that was the canary longest ago.
 *
 * @param nodes at least one. One that an attempt of the same task has noted as this rollout's canary is chosen again.
 */
export function canaryAmong<T extends { NodeId: string }>(
  nodes: readonly T[],
  records: readonly NodeRecord[],
  rolloutNumber: number,
): T {
  const byId = new Map(records.map((record) => [record.NodeId, record]));
  const canaryAt = ({ NodeId }: T) => byId.get(NodeId)?.CanaryAt ?? 0;
  const doubt = ({ NodeId }: T) => doubtOf(byId.get(NodeId));
  const noted = nodes.find((node) => canaryAt(node) === rolloutNumber);
  const [first] = nodes.toSorted(
    (a, b) => doubt(a) - doubt(b) || canaryAt(a) - canaryAt(b) || (a.NodeId < b.NodeId ? -1 : 1),
  ) as [T];
  return noted ?? first;
}

/** Whether what a rollout started last is a probe. */
export const isProbe = (started: readonly AutomationStart[] = []) => started.at(-1)?.Kind === 'probe';

/**
 * Whether an Automation that has ended by itself has installed nothing, for no reason that may hold for other nodes: it was a
 * probe, or its canary was refused or went away.
 *
 * @param started of this rollout: the last one is the one that has ended. Empty where an older edition started it.
 * @param found.isHeard whether Run Command says anything of any node.
 */
export function isInVain(
  started: readonly AutomationStart[],
  found: { isHeard: boolean; results: readonly NodeResult[] },
): boolean {
  const isOver = found.results.some((result) => isFault(result) || holdsVersion(result.Outcome));
  return isProbe(started) || (found.isHeard && !isOver);
}

/** An Automation that was in vain, and what is known then. */
export interface EndedAutomation<T extends { NodeId: string }> {
  rolloutNumber: number;
  started: readonly AutomationStart[];
  results: readonly NodeResult[];
  /** Nodes that can be reached, and that the rollout may touch. */
  ready: readonly T[];
  records: readonly NodeRecord[];
}

/** What a rollout starts next, and the nodes of which one goes first. */
export interface NextAutomation<T> {
  Kind: AutomationStart['Kind'];
  candidates: T[];
}

/**
 * What follows in the same rollout an Automation that was in vain. That touched nothing, and says nothing of the rollout.
 * Another node that has served before is tried at once; after that, a probe asks all nodes together, so that one good node
 * is found among any number of others in one step.
 *
 * @returns undefined where the rollout ends: no node is left to begin with, or it has tried often enough.
 */
export function nextAutomation<T extends { NodeId: string }>(
  ended: EndedAutomation<T>,
): NextAutomation<T> | undefined {
  const { started, records } = ended;
  const open = openAfter(ended);
  if (started.length >= MOST_AUTOMATIONS || open.length === 0) {
    return undefined;
  }
  if (isProbe(started)) {
    return nextAfterProbe(open, ended);
  }
  const byId = new Map(records.map((record) => [record.NodeId, record]));
  const isAnySure = open.some(({ NodeId }) => doubtOf(byId.get(NodeId)) === 0);
  const isFirst = started.length <= 1;
  // A probe of one node is no better than a canary.
  if ((isFirst && isAnySure) || open.length === 1) {
    return { Kind: 'install', candidates: open };
  }
  const hasRoom = started.length + 2 <= MOST_AUTOMATIONS;
  return hasRoom ? { Kind: 'probe', candidates: open } : undefined;
}

/**
 * What is recorded of an Automation that was in vain: nodes that were refused, or that failed in a probe. Not of those that
 * hold the version, by their own word: what they could not read again, they serve, or were to be healed of.
 */
export function newsOf(
  results: readonly NodeResult[],
  records: readonly NodeRecord[],
  { VersionId }: { VersionId: string },
): NodeResult[] {
  const holding = new Set(
    records.flatMap((node) =>
      holdsVersion(node.Outcome) && node.VersionId === VersionId ? [node.NodeId] : [],
    ),
  );
  return results.filter((node) => isOut(node) && !holding.has(node.NodeId));
}

/** Whether a node has shown that it cannot be served now. */
const isOut = (node: Partial<NodeResult>) =>
  isFault(node) || (node.Outcome === 'refused' && !passesProbe(node));

/** Nodes that were neither a canary in vain nor refused in this rollout. */
function openAfter<T extends { NodeId: string }>({
  rolloutNumber,
  started,
  results,
  ready,
  records,
}: EndedAutomation<T>): T[] {
  const tried = started.flatMap(({ Kind, CanaryNodeId }) => (Kind === 'install' ? [CanaryNodeId] : []));
  const before = records.filter(({ RolloutNumber }) => RolloutNumber === rolloutNumber);
  const now = results.filter(({ Outcome }) => Outcome !== 'not-reached');
  const said = new Map([...before, ...now].map((node) => [node.NodeId, node]));
  return ready.filter(({ NodeId }) => !tried.includes(NodeId) && !isOut(said.get(NodeId) ?? {}));
}

function nextAfterProbe<T extends { NodeId: string }>(
  open: readonly T[],
  { results }: EndedAutomation<T>,
): NextAutomation<T> | undefined {
  const passed = new Set(results.flatMap((result) => (passesProbe(result) ? [result.NodeId] : [])));
  const sure = open.filter(({ NodeId }) => passed.has(NodeId));
  if (sure.length > 0) {
    return { Kind: 'install', candidates: sure };
  }
  // With documents of an older edition, a probe ends at a canary that is refused: the others were not asked.
  return results.some(isFault) ? undefined : { Kind: 'install', candidates: [...open] };
}
