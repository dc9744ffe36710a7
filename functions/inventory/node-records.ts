import { holdsVersion, type NodeRecord, type NodeResult, timestamp } from '../domain/deployment.ts';
import { inParallel } from '../runtime/in-parallel.ts';
import { decodeToken, nextToken, type Page, pages } from './pages.ts';
import type { Table } from './table.ts';

/** Parallel conditional updates of node records: keeps 120 nodes under a second without a burst. */
const WRITES_AT_ONCE = 10;

/** What is known of each node of a deployment: one item a node. */
export class NodeRecords {
  private readonly table: Table;

  constructor(table: Table) {
    this.table = table;
  }

  /** One page of a deployment's node records. */
  async page(deploymentId: string, limit?: number, token?: string): Promise<Page<NodeRecord>> {
    const page = await this.table.query({
      KeyConditionExpression: 'DeploymentId = :id AND begins_with(#Item, :node)',
      ExpressionAttributeNames: { '#Item': 'Item' },
      ExpressionAttributeValues: { ':id': deploymentId, ':node': 'node#' },
      ConsistentRead: true,
      Limit: limit,
      ExclusiveStartKey: decodeToken(token, deploymentId)?.key,
    });
    return {
      items: page.items as unknown as NodeRecord[],
      ...nextToken({ key: page.lastKey }, deploymentId),
    };
  }

  /** Every node record of a deployment. */
  async all(deploymentId: string): Promise<NodeRecord[]> {
    const all = await Array.fromAsync(pages((token) => this.page(deploymentId, undefined, token)));
    return all.flat();
  }

  /** Writes what nodes reported, unless a newer rollout has written already. Keeps the serial of a failed one. */
  async record(
    deploymentId: string,
    rolloutNumber: number,
    results: readonly NodeResult[],
    dryRun = false,
  ): Promise<void> {
    const now = timestamp(this.table.now());
    await inParallel(results, WRITES_AT_ONCE, async (result) => {
      const { NodeId, Outcome, Error: error, ExitCode, Step, Serial, VersionId } = result;
      const note = result.Note ? { Note: result.Note } : {};
      // A dry run says nothing about what a node serves: what it found is kept apart.
      const set = dryRun
        ? {
            DryRun: {
              Outcome,
              At: now,
              RolloutNumber: rolloutNumber,
              ...(error ? { Error: error } : {}),
              ...note,
            },
          }
        : {
            Outcome,
            At: now,
            RolloutNumber: rolloutNumber,
            ...(holdsVersion(Outcome) ? { Serial, VersionId } : {}),
            ...(error === undefined ? {} : { Error: error, ExitCode, Step }),
            ...note,
          };
      const lacking = ['Error', 'ExitCode', 'Step', 'Note'].filter(
        (name) => (set as Record<string, unknown>)[name] === undefined,
      );
      await this.table.change(keyOf(deploymentId, NodeId), {
        set: { NodeId, ...set },
        remove: dryRun ? [] : [...lacking, 'MissingSince'],
        condition: dryRun
          ? 'attribute_not_exists(DryRun) OR DryRun.RolloutNumber <= :number'
          : 'attribute_not_exists(RolloutNumber) OR RolloutNumber <= :number',
        values: { ':number': rolloutNumber },
      });
    });
  }

  /** Notes since when nodes are not listed any more, or that they are listed again. */
  async noteMissing(deploymentId: string, nodeIds: readonly string[], missing: boolean): Promise<void> {
    const now = timestamp(this.table.now());
    await inParallel(nodeIds, WRITES_AT_ONCE, (nodeId) =>
      this.table.change(keyOf(deploymentId, nodeId), {
        set: { NodeId: nodeId },
        ...(missing ? { setIfAbsent: { MissingSince: now } } : { remove: ['MissingSince'] }),
        condition: 'attribute_exists(NodeId)',
      }),
    );
  }

  /** Drops the records of nodes that are gone. */
  drop(deploymentId: string, nodeIds: readonly string[]): Promise<void> {
    return this.table.delete(nodeIds.map((id) => keyOf(deploymentId, id)));
  }

  /**
   * Notes which node is the canary of a rollout. A repeated task finds it, and later rollouts choose another one.
   */
  async noteCanary(deploymentId: string, nodeId: string, rolloutNumber: number): Promise<void> {
    await this.table.change(keyOf(deploymentId, nodeId), {
      set: { NodeId: nodeId, CanaryAt: rolloutNumber },
      condition: 'attribute_not_exists(CanaryAt) OR CanaryAt <= :number',
      values: { ':number': rolloutNumber },
    });
  }
}

const keyOf = (deploymentId: string, nodeId: string) => ({
  DeploymentId: deploymentId,
  Item: `node#${nodeId}`,
});
