import {
  type Finding,
  holdsVersion,
  type NodeRecord,
  type NodeResult,
  type Serves,
  timestamp,
} from '../domain/deployment.ts';
import type { Sight } from '../domain/look.ts';
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

  /**
   * Writes what nodes reported, unless a newer rollout has written already. Keeps what a failed one serves, and of a node
   * that was not come to that it was refused: so a later rollout knows.
   *
   * @param how.served the version that was installed, as nodes serve it that hold it now.
   */
  async record(
    deploymentId: string,
    rolloutNumber: number,
    results: readonly NodeResult[],
    { dryRun = false, served }: { dryRun?: boolean; served?: Omit<Serves, 'Seen'> } = {},
  ): Promise<void> {
    const now = timestamp(this.table.now());
    await inParallel(results, WRITES_AT_ONCE, async (result) => {
      const { NodeId, Outcome, Error: error, ExitCode, Step, Serial, VersionId, Seen = 'files' } = result;
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
            ...(holdsVersion(Outcome)
              ? { Serial, VersionId, ...(served ? { Serves: { ...served, Seen } } : {}) }
              : {}),
            ...(error === undefined ? {} : { Error: error, ExitCode, Step }),
            ...note,
          };
      const lacking = ['Error', 'ExitCode', 'Step', 'Note'].filter(
        (name) => (set as Record<string, unknown>)[name] === undefined,
      );
      const isRefused = Outcome === 'refused' && !dryRun;
      const notNewer = 'attribute_not_exists(RolloutNumber) OR RolloutNumber <= :number';
      const notRefused = 'attribute_not_exists(Refusal)';
      const ofRollout = Outcome === 'not-reached' ? `${notRefused} AND (${notNewer})` : notNewer;
      await this.table.change(keyOf(deploymentId, NodeId), {
        set: { NodeId, ...set },
        ...(isRefused ? { setIfAbsent: { Refusal: { Since: now } } } : {}),
        // What a look found before is over, or the node says itself what is wrong.
        remove: dryRun ? [] : [...lacking, 'Finding', 'MissingSince', ...(isRefused ? [] : ['Refusal'])],
        condition: dryRun ? 'attribute_not_exists(DryRun) OR DryRun.RolloutNumber <= :number' : ofRollout,
        values: { ':number': rolloutNumber },
      });
    });
  }

  /**
   * Writes what a look showed, unless a rollout has written since the record was read.
   *
   * @returns the record as it is now; as it was read, where a rollout was faster.
   */
  async noteSight(record: NodeRecord, { Serves, Finding }: Sight): Promise<NodeRecord> {
    const { DeploymentId, NodeId, RolloutNumber = 0 } = record;
    const item = await this.table.change(keyOf(DeploymentId, NodeId), {
      set: { NodeId, Serves, ...(Finding ? { Finding } : {}) },
      remove: Finding === null ? ['Finding'] : [],
      condition: 'attribute_exists(NodeId) AND RolloutNumber = :number',
      values: { ':number': RolloutNumber },
    });
    return (item as unknown as NodeRecord | undefined) ?? record;
  }

  /** Changes the finding of a node, if it still has one. */
  async noteFinding(
    deploymentId: string,
    nodeId: string,
    changed: Partial<Pick<Finding, 'Error' | 'ToldAt'>>,
  ): Promise<void> {
    await this.table.change(keyOf(deploymentId, nodeId), {
      set: Object.fromEntries(Object.entries(changed).map(([name, value]) => [`Finding.${name}`, value])),
      condition: 'attribute_exists(Finding)',
    });
  }

  /** Notes that people were told of a node that is refused, if it still is. */
  async noteRefusalTold(deploymentId: string, nodeId: string, at: string): Promise<void> {
    await this.table.change(keyOf(deploymentId, nodeId), {
      set: { 'Refusal.ToldAt': at },
      condition: 'attribute_exists(Refusal)',
    });
  }

  /**
   * Notes since when nodes are not listed any more, or that they are listed again. One that was refused and comes back may
   * have been mended: it is tried at once.
   */
  async noteMissing(deploymentId: string, nodeIds: readonly string[], missing: boolean): Promise<void> {
    const now = timestamp(this.table.now());
    await inParallel(nodeIds, WRITES_AT_ONCE, (nodeId) =>
      this.table.change(keyOf(deploymentId, nodeId), {
        set: { NodeId: nodeId },
        ...(missing ? { setIfAbsent: { MissingSince: now } } : {}),
        remove: [missing ? 'Refusal' : 'MissingSince'],
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
