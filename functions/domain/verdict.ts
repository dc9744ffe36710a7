import { holdsVersion, isFault, type NodeOutcome, type NodeResult } from './deployment.ts';
import { OWN_FAULTS } from './exit-codes.ts';
import type { StartInstallationInput } from './installation.ts';
import { type ManagedNode, obstacleOf, summaryOf } from './nodes.ts';
import type { ResultLine } from './result-line.ts';
import type { RolloutResult } from './rollout.ts';

/** What Run Command says of one node. */
export interface Report {
  NodeId: string;
  status: string;
  /** What the install script reported there. */
  line: ResultLine | undefined;
}

/** Which rollout and version a node must name. */
type Expected = Pick<StartInstallationInput, 'DeploymentId' | 'RolloutNumber'> & {
  Bundle: { VersionId: string };
};

/** An hour less than the day after which nodes refuse. */
const MOST_SECONDS_AHEAD = 82_800;

/**
 * What became of every node that carries the tag now and of every node that reported, which nodes have gone away meanwhile,
 * and the highest rollout number that one of them holds. Whatever Run Command says, a node is installed only when its own result line says so.
 *
 * @param reports the canary's own run comes first.
 */
export function resultsOf(
  nodes: readonly ManagedNode[],
  reports: readonly Report[],
  expected: Expected,
  now: Date,
): { results: NodeResult[]; gone: string[]; HeldNumber: number } {
  const listed = new Set(nodes.map(({ NodeId }) => NodeId));
  const gone: string[] = [];
  const reported = new Map<string, NodeResult>();
  // What a node says is not trusted further than the other nodes would follow it: they refuse a number that is more than a
  // day ahead of their clocks.
  const mostTrusted = Math.floor(now.getTime() / 1000) + MOST_SECONDS_AHEAD;
  let highest = 0;
  for (const report of reports) {
    // Terminated, stopped or without the tag since, and nothing was heard of it: that is no fault.
    if (!report.line && !listed.has(report.NodeId)) {
      gone.push(report.NodeId);
      continue;
    }
    const { HeldNumber = 0, ...result } = resultOf(report, expected);
    highest = HeldNumber <= mostTrusted ? Math.max(highest, HeldNumber) : highest;
    // The fleet step finds the canary `unchanged`, or does not come to it; what the canary step did is the news.
    const first = reported.get(result.NodeId);
    const isMore = first && !hasWorked(first) && result.Outcome !== 'not-reached';
    if (!first || isMore || isFault(result)) {
      reported.set(result.NodeId, result);
    }
  }
  return { results: withUnreached(nodes, reported), gone, HeldNumber: highest };
}

function resultOf(
  { NodeId, status, line }: Report,
  expected: Expected,
): NodeResult & { HeldNumber?: number } {
  if (!line && status === 'Terminated') {
    return {
      NodeId,
      Outcome: 'not-reached',
      Error: 'Not started, because the installation had already failed as often as MaxErrors allows.',
    };
  }
  if (!line) {
    return {
      NodeId,
      Outcome: 'failed',
      Error: `The install script reported nothing. Run Command says ${status}.`,
    };
  }
  if (line.RolloutNumber !== expected.RolloutNumber || line.DeploymentId !== expected.DeploymentId) {
    return { NodeId, Outcome: 'failed', Error: 'The report is about another rollout.' };
  }
  if (holdsVersion(line.Outcome) && line.VersionId !== expected.Bundle.VersionId) {
    return { NodeId, Outcome: 'failed', Error: 'The report is about another version.' };
  }
  const { RolloutNumber: _, DeploymentId: __, ...result } = line;
  const Outcome = isOwnFault(line) ? 'refused' : line.Outcome;
  return { NodeId, ...result, Outcome } as NodeResult & { HeldNumber?: number };
}

/** Whether a node failed for a reason of its own. After the switch, which it says otherwise, that is no matter. */
const isOwnFault = ({ Outcome, ExitCode }: ResultLine) => Outcome === 'failed' && ExitCode in OWN_FAULTS;

const hasWorked = ({ Outcome }: NodeResult) => holdsVersion(Outcome) || Outcome === 'dry-run-passed';

/** Whether a node has shown in a probe that it can be served: all of it, or as much as a dry run can do there. */
export const passesProbe = ({ Outcome, ExitCode }: Partial<NodeResult>) =>
  Outcome === 'dry-run-passed' ||
  (Outcome === 'refused' && OWN_FAULTS[ExitCode ?? 0] === 'dry-run-impossible');

/** What a probe showed of the nodes, as results of a rollout that ends with it: it has installed nothing. */
export function resultsOfProbe(results: readonly NodeResult[]): NodeResult[] {
  return results.map((result) => (passesProbe(result) ? notReached(result.NodeId) : result));
}

const notReached = (NodeId: string): NodeResult => ({
  NodeId,
  Outcome: 'not-reached',
  Error: 'The installation ended before its turn, or it appeared only during the installation.',
});

/** Every node that carries the tag now, and every node that reported. */
function withUnreached(nodes: readonly ManagedNode[], reported: Map<string, NodeResult>): NodeResult[] {
  const results = new Map(reported);
  for (const node of nodes) {
    const result = reported.get(node.NodeId);
    const obstacle = obstacleOf(node);
    if (obstacle && !(result && hasWorked(result))) {
      results.set(node.NodeId, { NodeId: node.NodeId, ...obstacle });
    } else if (!result) {
      results.set(node.NodeId, notReached(node.NodeId));
    }
  }
  return [...results.values()];
}

/** How the Automation ended. */
export interface AutomationEnd {
  status: string;
  message: string;
  /** Whether it was stopped at its deadline. */
  timedOut: boolean;
  /** Nodes that went away while it ran: it may have ended because of them. */
  gone: readonly string[];
}

export type Verdict = Pick<RolloutResult, 'Outcome' | 'Error' | 'Served' | 'Touched'>;

/**
 * Failed: a node failed, no node took it, or the Automation ended before it reached every node. Nodes that are refused or
 * unreachable, beside one that took it, make the deployment degraded, whatever status the Automation took from them.
 */
export function judge(results: readonly NodeResult[], automation: AutomationEnd): Verdict {
  const verdict = outcomeOf(results, automation);
  // Degraded with no node that has it: then all go on serving what they served.
  return {
    ...verdict,
    Served: verdict.Outcome !== 'FAILED' && results.some(({ Outcome }) => holdsVersion(Outcome)),
    Touched: automation.timedOut || hasTouched(results),
  };
}

/** Where canaries alone were refused, which touched nothing, others wait to be tried: no longer than if none had been. */
function hasTouched(results: readonly NodeResult[]): boolean {
  const isAnyLeft = results.some(({ Outcome }) => Outcome === 'not-reached');
  return results.some(
    (node) => isFault(node) || holdsVersion(node.Outcome) || (node.Outcome === 'refused' && !isAnyLeft),
  );
}

function outcomeOf(
  results: readonly NodeResult[],
  { status, message, timedOut, gone }: AutomationEnd,
): Pick<Verdict, 'Outcome' | 'Error'> {
  const withOutcome = (...outcomes: NodeOutcome[]) =>
    results.filter((node) => outcomes.includes(node.Outcome));
  const failed = results.filter(isFault);
  const refused = withOutcome('refused');
  const left = withOutcome('not-reached');
  const unreached = [...withOutcome('offline', 'unsupported'), ...left];
  if (timedOut) {
    return {
      Outcome: 'FAILED',
      Error:
        `The system stopped the installation at its deadline. ${summaryOf([...failed, ...refused])}`.trim(),
    };
  }
  if (failed.length > 0 || (refused.length > 0 && !results.some(hasWorked))) {
    return { Outcome: 'FAILED', Error: summaryOf([...failed, ...refused]) };
  }
  if (status !== 'Success' && gone.length === 0 && (results.length === 0 || left.length > 0)) {
    return {
      Outcome: 'FAILED',
      Error: `The Automation ended as ${status}: ${message} ${summaryOf([...refused, ...unreached])}`.trim(),
    };
  }
  if (refused.length > 0 || unreached.length > 0) {
    return { Outcome: 'DEGRADED', Error: summaryOf([...refused, ...unreached]) };
  }
  // Without any node, the last one with the tag went away while the installation ran.
  return { Outcome: results.length > 0 ? 'INSTALLED' : 'WAITING' };
}
