import type { NodeResult } from './deployment.ts';
import type { Order } from './order.ts';

/** A managed node that carries the tag, as Systems Manager knows it. */
export interface ManagedNode {
  NodeId: string;
  Online: boolean;
  Platform: string;
  AgentVersion: string;
  /** When the agent was last heard of; ISO 8601. */
  LastPing?: string;
}

/**
 * The first SSM agent that passes document parameters to scripts as environment variables
 * (Systems Manager guide, "interpolationType"). Older ones would paste them into the script.
 */
const OLDEST_AGENT = '3.3.2746.0';

/** Why nothing can be installed on a node now; undefined when it is ready. */
export function obstacleOf(
  node: ManagedNode,
): { Outcome: 'offline' | 'unsupported'; Error: string } | undefined {
  if (node.Platform !== 'Linux') {
    return { Outcome: 'unsupported', Error: `Platform ${node.Platform} is not supported; only Linux is.` };
  }
  if (compareVersions(node.AgentVersion, OLDEST_AGENT) < 0) {
    return {
      Outcome: 'unsupported',
      Error: `SSM agent ${node.AgentVersion} is older than ${OLDEST_AGENT}: update it.`,
    };
  }
  if (!node.Online) {
    const since = node.LastPing ? ` since ${node.LastPing}` : '';
    return { Outcome: 'offline', Error: `The SSM agent has not answered${since}.` };
  }
  return undefined;
}

function compareVersions(left: string, right: string): number {
  const [a, b] = [left, right].map((version) =>
    version.split('.').map((part) => Number.parseInt(part, 10) || 0),
  );
  for (let index = 0; index < 4; index += 1) {
    const difference = (a?.[index] ?? 0) - (b?.[index] ?? 0);
    if (difference !== 0) {
      return difference;
    }
  }
  return 0;
}

/** The nodes that an order is for: those with its tag, but for those that it leaves out. */
export function targetedBy<T extends { NodeId: string }>(
  { ExcludeNodeIds = [] }: Pick<Order, 'ExcludeNodeIds'>,
  nodes: readonly T[],
): T[] {
  return nodes.filter(({ NodeId }) => !ExcludeNodeIds.includes(NodeId));
}

/**
 * MaxErrors of an order as Run Command is to count it: it also counts nodes that are left out, as it finds nodes by the tag,
 * and one that is broken must not stop the others. A percentage is of the nodes that the order is for, rounded down.
 *
 * @param tagged every node with the tag.
 */
export function maxErrorsOf(
  order: Pick<Order, 'ExcludeNodeIds' | 'MaxErrors'>,
  tagged: readonly { NodeId: string }[],
): string {
  const { MaxErrors } = order;
  const targeted = targetedBy(order, tagged).length;
  const leftOut = tagged.length - targeted;
  if (leftOut === 0) {
    return MaxErrors;
  }
  const amount = Number.parseInt(MaxErrors, 10);
  return String(leftOut + (MaxErrors.endsWith('%') ? Math.floor((targeted * amount) / 100) : amount));
}

/** Those of them whose node is listed. */
export function ofListed<T extends { NodeId: string }>(
  records: readonly T[],
  listed: readonly { NodeId: string }[],
): T[] {
  const ids = new Set(listed.map(({ NodeId }) => NodeId));
  return records.filter(({ NodeId }) => ids.has(NodeId));
}

/** What went wrong on which nodes, in a line. Names at most five: the inventory has them all. */
export function summaryOf(
  results: readonly (Pick<NodeResult, 'NodeId' | 'Error'> & Partial<NodeResult>)[],
): string {
  const named = results.slice(0, 5).map((result) => `${result.NodeId}: ${result.Error ?? result.Outcome}`);
  const more = results.length - named.length;
  return `${named.join(' ')}${more > 0 ? ` And ${more} more.` : ''}`.slice(0, 2000);
}
