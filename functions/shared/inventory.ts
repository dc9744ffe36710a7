import { createHash } from 'node:crypto';
import {
  BatchWriteCommand,
  type DynamoDBDocumentClient,
  GetCommand,
  PutCommand,
  QueryCommand,
  type QueryCommandInput,
  UpdateCommand,
  type UpdateCommandInput,
} from '@aws-sdk/lib-dynamodb';
import type {
  Claim,
  Deployment,
  LastRollout,
  NodeOutcome,
  NodeRecord,
  NodeResult,
  Order,
  RolloutOrder,
  Status,
} from './deployment.ts';
import { STATUSES, timestamp } from './deployment.ts';
import { isNamed } from './errors.ts';

/** Rounds of registering against rollouts that end meanwhile; two suffice unless rollouts take no time. */
const REGISTER_ROUNDS = 10;

/** Parallel conditional updates of node records: keeps 120 nodes under a second without a burst. */
const NODE_WRITES_AT_ONCE = 10;

export interface Page<T> {
  items: T[];
  /** Opaque; absent on the last page. */
  nextToken?: string;
}

export interface FleetFilter {
  CertName?: string | undefined;
  CertificateArn?: string | undefined;
  Status?: Status | undefined;
  TargetAccount?: string | undefined;
  /** Only what expires at or before this time. */
  NotAfterAtMost?: string | undefined;
}

/** How a rollout ended, as it is written into the deployment. */
export interface RolloutResult {
  Status: Exclude<Status, 'ROLLING_OUT' | 'DELETING'>;
  ExecutionArn: string;
  LastError?: string;
  /** The version that was exported, where the rollout came so far. */
  Exported?: { Serial: string; VersionId: string; NotAfter: string };
  /** Whether nodes serve that version now. */
  Served?: boolean;
}

/** Whether a node with this outcome serves the rollout's version. */
export const holdsVersion = (outcome: NodeOutcome | undefined) =>
  outcome === 'installed' || outcome === 'unchanged';

const isDeployment = 'attribute_exists(CertName)';
const isLive = `${isDeployment} AND #Status <> :deleting`;
const notPaused = 'attribute_not_exists(PausedAt)';

/**
 * The inventory: one item a deployment (`Item` = deployment) and one a node (`node#<id>`). Only deployment
 * items carry the keys of the indexes. Beside them stand the lines in which rollouts queue up (`line#<name>`). Every write is conditional, so that what is older never overwrites
 * what is newer. A deleted deployment leaves its RolloutNumber, which nodes and execution names rely on.
 */
export class Inventory {
  private readonly client: DynamoDBDocumentClient;
  private readonly table: string;
  private readonly now: () => Date;

  constructor(client: DynamoDBDocumentClient, table: string, now: () => Date = () => new Date()) {
    this.client = client;
    this.table = table;
    this.now = now;
  }

  /** Reads a deployment, strongly consistent; undefined when there is none or it was deleted. */
  async get(deploymentId: string): Promise<Deployment | undefined> {
    const { Item } = await this.client.send(
      new GetCommand({ TableName: this.table, Key: deploymentKey(deploymentId), ConsistentRead: true }),
    );
    return Item?.CertName === undefined ? undefined : deploymentFrom(Item);
  }

  /** One page of a deployment's node records. */
  async nodes(deploymentId: string, limit?: number, token?: string): Promise<Page<NodeRecord>> {
    const page = await this.query({
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
  async allNodes(deploymentId: string): Promise<NodeRecord[]> {
    const all = await Array.fromAsync(pages((token) => this.nodes(deploymentId, undefined, token)));
    return all.flat();
  }

  /**
   * One page of the fleet. The most selective filter chooses the index; the others filter what it reads.
   * Without CertName, CertificateArn and TargetAccount the statuses are read one after the other, so that a
   * page costs at most one query a status.
   *
   * @throws InvalidToken for a token that this method did not make for the same filter.
   */
  async fleet(filter: FleetFilter, limit: number, token?: string): Promise<Page<Deployment>> {
    const question = questionOf(filter);
    const position = decodeToken(token, question) ?? {};
    const statuses = filter.Status ? [filter.Status] : STATUSES;
    if (filter.CertName || filter.CertificateArn || filter.TargetAccount) {
      const page = await this.fleetQuery(filter, limit, position.key);
      return { items: page.items, ...nextToken({ key: page.lastKey }, question) };
    }
    const items: Deployment[] = [];
    let { status = 0, key } = position;
    while (status < statuses.length) {
      const page = await this.fleetQuery(
        { ...filter, Status: statuses[status] as Status },
        limit - items.length,
        key,
      );
      items.push(...page.items);
      key = page.lastKey;
      if (!key) {
        status += 1;
      }
      if (items.length >= limit || key) {
        break;
      }
    }
    return status < statuses.length ? { items, ...nextToken({ status, key }, question) } : { items };
  }

  /** Every deployment that fits the filter. */
  async *all(filter: FleetFilter): AsyncGenerator<Deployment> {
    for await (const page of this.pages(filter)) {
      yield* page;
    }
  }

  /** Every deployment that fits the filter, in pages: a large fleet is never in memory as a whole. */
  pages(filter: FleetFilter): AsyncGenerator<Deployment[]> {
    // 1,000 small items stay below the 1 MB that one Query reads at most.
    return pages((token) => this.fleet(filter, 1000, token));
  }

  /**
   * Registers or changes an order and claims its rollout in one conditional write.
   *
   * @param queue says, of the deployment whose rollout is running, whether this one must follow it.
   * @returns the deployment as it is now; `claimed` is false when another rollout is running: then the order is
   *   changed and, where `queue` says so, its rollout noted as pending.
   */
  async register(
    deploymentId: string,
    order: Order,
    rollout: RolloutOrder,
    certificateNotAfter: string,
    queue: (current: Deployment) => boolean,
  ): Promise<{ deployment: Deployment; claimed: boolean } | undefined> {
    const now = timestamp(this.now());
    // What the order before had and this one has not.
    const remove = ['DryRunOnly', ...(order.ReaderRoleArns ? [] : ['ReaderRoleArns'])];
    // A rollout may end, or a deletion begin, between two of these writes; then the next round sees it.
    for (let round = 0; round < REGISTER_ROUNDS; round += 1) {
      const claimed = await this.claimWith(deploymentId, rollout, {
        set: { ...order, RestoreBundle: true },
        setOnce: { CreatedAt: now, NotAfter: certificateNotAfter },
        remove,
        condition: `${notPaused} AND (attribute_not_exists(#Status) OR #Status <> :deleting)`,
      });
      if (claimed) {
        return { deployment: claimed, claimed: true };
      }
      const current = await this.get(deploymentId);
      if (current?.Status === 'DELETING' || current?.PausedAt) {
        return undefined;
      }
      if (current?.Rollout) {
        const updated = await this.update(deploymentId, {
          set: {
            ...order,
            ...(queue(current) ? { Pending: rollout } : {}),
            RestoreBundle: true,
            UpdatedAt: now,
          },
          remove,
          condition: `${isLive} AND ${notPaused} AND attribute_exists(Rollout) AND RolloutNumber = :seen`,
          values: { ':seen': current.RolloutNumber, ':deleting': 'DELETING' },
        });
        if (updated) {
          return { deployment: updated, claimed: false };
        }
      }
    }
    return undefined;
  }

  /**
   * Claims a dry run. A deployment that was registered keeps its order and status; any other is noted for dry runs
   * only, with the order that is tried. Undefined when a rollout is running or the deployment is being deleted.
   */
  async claimDryRun(
    deploymentId: string,
    order: Order,
    rollout: RolloutOrder,
    certificateNotAfter: string,
  ): Promise<Deployment | undefined> {
    const { Options, MaxConcurrency, MaxErrors } = order;
    const trial = { ...rollout, Trial: { Options, MaxConcurrency, MaxErrors } };
    const current = await this.get(deploymentId);
    if (current && !current.DryRunOnly) {
      return this.claimWith(deploymentId, trial, { condition: isLive, status: null });
    }
    return this.claimWith(deploymentId, trial, {
      set: { ...order, NotAfter: certificateNotAfter, DryRunOnly: true, RestoreBundle: true },
      setOnce: { CreatedAt: timestamp(this.now()) },
      condition: `(attribute_not_exists(CertName) OR (attribute_exists(DryRunOnly) AND #Status <> :deleting))`,
      status: 'WAITING',
    });
  }

  /**
   * Claims the next rollout of a registered deployment: exactly one caller gets it.
   *
   * @param deployment as the caller saw it when it decided: when another rollout came in between, the claim is lost.
   * @param turn when the rollout may begin; at once by default.
   * @returns the deployment with its claim, or undefined when the claim was lost.
   */
  claim(deployment: Deployment, rollout: RolloutOrder, turn?: Date): Promise<Deployment | undefined> {
    const delay = turn === undefined ? 0 : Math.ceil((turn.getTime() - this.now().getTime()) / 1000);
    const claimed = delay > 0 ? { ...rollout, StartDelaySeconds: delay } : rollout;
    return this.claimWith(deployment.DeploymentId, claimed, {
      condition: `${isLive} AND ${notPaused} AND RolloutNumber = :seen`,
      values: { ':seen': deployment.RolloutNumber },
    });
  }

  /**
   * Notes a rollout that is to start when the running one ends. False when none is running any more, when the
   * deployment was moved to another certificate meanwhile, or when a request waits already: that one brings the
   * newest version too.
   */
  async queue(deployment: Deployment, rollout: RolloutOrder): Promise<boolean> {
    const updated = await this.update(deployment.DeploymentId, {
      set: { Pending: rollout },
      // A move to another certificate while a rollout runs does not change the number.
      condition:
        `${isLive} AND attribute_exists(Rollout) AND RolloutNumber = :seen AND CertificateArn = :ordered` +
        ' AND (attribute_not_exists(Pending) OR Pending.Cause = :renewal)',
      values: {
        ':seen': deployment.RolloutNumber,
        ':ordered': rollout.CertificateArn,
        ':deleting': 'DELETING',
        ':renewal': 'RENEWAL',
      },
    });
    return updated !== undefined;
  }

  /** Drops what waits to be started, where no rollout is running: it is done already. */
  async unqueue(deployment: Deployment): Promise<void> {
    await this.update(deployment.DeploymentId, {
      set: { UpdatedAt: timestamp(this.now()) },
      remove: ['Pending'],
      condition: `${isLive} AND attribute_not_exists(Rollout) AND RolloutNumber = :seen`,
      values: { ':seen': deployment.RolloutNumber, ':deleting': 'DELETING' },
    });
  }

  /** Notes on the running claim what was started for it. Undefined when the rollout is superseded. */
  note(
    deploymentId: string,
    rolloutNumber: number,
    noted: { StartedAt?: string; AutomationExecutionId?: string },
  ): Promise<Deployment | undefined> {
    return this.update(deploymentId, {
      set: Object.fromEntries(Object.entries(noted).map(([name, value]) => [`Rollout.${name}`, value])),
      condition: 'attribute_exists(Rollout) AND RolloutNumber = :number',
      values: { ':number': rolloutNumber },
    });
  }

  /**
   * Ends the claim of a rollout and writes its result.
   *
   * @returns the deployment as it is now, or undefined when that rollout's claim had already ended.
   */
  async finish(
    deployment: Deployment,
    rolloutNumber: number,
    result: RolloutResult,
  ): Promise<Deployment | undefined> {
    const { Rollout: claim } = deployment;
    if (!claim) {
      return undefined;
    }
    const now = timestamp(this.now());
    const { Status, ExecutionArn, LastError, Exported, Served = false } = result;
    const last: LastRollout = {
      Number: rolloutNumber,
      Serial: Exported?.Serial ?? claim.Serial,
      Cause: claim.Cause,
      CorrelationId: claim.CorrelationId,
      ExecutionArn,
      Status,
      At: now,
      ...(LastError === undefined ? {} : { Error: LastError }),
    };
    const change = claim.Cause === 'DRY_RUN' ? { set: { LastDryRun: last } } : endOfRollout(deployment, last);
    const versions = Served ? Exported : undefined;
    // While no node serves anything, what counts is the version that is ready for them.
    const idle = deployment.Serial === undefined || Status === 'WAITING';
    const expiry = Exported && idle && claim.Cause !== 'DRY_RUN' ? { NotAfter: Exported.NotAfter } : {};
    return this.update(deployment.DeploymentId, {
      set: { ...change.set, ...expiry, ...versions, UpdatedAt: now },
      remove: ['Rollout', ...(Status === 'FAILED' ? [] : ['RestoreBundle']), ...(change.remove ?? [])],
      condition: `${isLive} AND attribute_exists(Rollout) AND RolloutNumber = :number`,
      values: { ':number': rolloutNumber, ':deleting': 'DELETING' },
    });
  }

  /** Writes what nodes reported, unless a newer rollout has written already. Keeps the serial of a failed one. */
  async recordNodes(
    deploymentId: string,
    rolloutNumber: number,
    results: readonly NodeResult[],
    dryRun = false,
  ): Promise<void> {
    const now = timestamp(this.now());
    await inParallel(results, NODE_WRITES_AT_ONCE, async (result) => {
      const { NodeId, Outcome, Error: error, ExitCode, Step, Serial, VersionId } = result;
      const note = result.Note ? { Note: result.Note } : {};
      // A dry run says nothing about what a node serves: what it found stands beside that.
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
      await this.update(
        deploymentId,
        {
          set: { NodeId, ...set },
          remove: dryRun ? [] : [...lacking, 'MissingSince'],
          condition: dryRun
            ? 'attribute_not_exists(DryRun) OR DryRun.RolloutNumber <= :number'
            : 'attribute_not_exists(RolloutNumber) OR RolloutNumber <= :number',
          values: { ':number': rolloutNumber },
        },
        nodeItem(NodeId),
      );
    });
  }

  /** Notes since when nodes are not listed any more, or that they are listed again. */
  async noteMissing(deploymentId: string, nodeIds: readonly string[], missing: boolean): Promise<void> {
    const now = timestamp(this.now());
    await inParallel(nodeIds, NODE_WRITES_AT_ONCE, (nodeId) =>
      this.update(
        deploymentId,
        {
          set: { NodeId: nodeId },
          ...(missing ? { setOnce: { MissingSince: now } } : { remove: ['MissingSince'] }),
          condition: 'attribute_exists(NodeId)',
        },
        nodeItem(nodeId),
      ),
    );
  }

  /** Drops the records of nodes that are gone. */
  dropNodes(deploymentId: string, nodeIds: readonly string[]): Promise<void> {
    return this.deleteItems(nodeIds.map((id) => ({ DeploymentId: deploymentId, Item: nodeItem(id) })));
  }

  /**
   * Changes the status of a deployment without a rollout, after its nodes came or went. False when a rollout was
   * claimed meanwhile.
   */
  async settle(
    deployment: Deployment,
    status: 'INSTALLED' | 'WAITING' | 'DEGRADED',
    lastError?: string,
  ): Promise<boolean> {
    const updated = await this.update(deployment.DeploymentId, {
      set: { Status: status, LastError: lastError, UpdatedAt: timestamp(this.now()) },
      remove: lastError === undefined ? ['LastError'] : [],
      condition: `${isLive} AND attribute_not_exists(Rollout) AND RolloutNumber = :seen`,
      values: { ':seen': deployment.RolloutNumber, ':deleting': 'DELETING' },
    });
    return updated !== undefined;
  }

  /** Remembers the last expiry alert of the version that is served now. */
  async noteExpiryAlert(deployment: Deployment, days: number): Promise<void> {
    await this.update(deployment.DeploymentId, {
      set: { ExpiryAlert: { NotAfter: deployment.NotAfter, Days: days } },
      condition: `${isDeployment} AND NotAfter = :expiry`,
      values: { ':expiry': deployment.NotAfter },
    });
  }

  /** Notes that ACM is asked for a renewal. False where it was asked after `since` already. */
  async noteRenewalRequest(deploymentId: string, since: string): Promise<boolean> {
    const updated = await this.update(deploymentId, {
      set: { RenewalRequestedAt: timestamp(this.now()) },
      condition: `${isDeployment} AND (attribute_not_exists(RenewalRequestedAt) OR RenewalRequestedAt <= :since)`,
      values: { ':since': since },
    });
    return updated !== undefined;
  }

  /** Takes the note back: ACM refused. */
  async dropRenewalRequest(deploymentId: string): Promise<void> {
    await this.update(deploymentId, {
      set: { UpdatedAt: timestamp(this.now()) },
      remove: ['RenewalRequestedAt'],
      condition: isDeployment,
    });
  }

  /**
   * Takes the next span of time in a line that everybody shares.
   *
   * @returns when the span begins: now, or when what was taken before ends.
   */
  async reserve(line: string, milliseconds: number): Promise<Date> {
    const Key = { DeploymentId: `line#${line}`, Item: 'line' };
    const now = this.now().getTime();
    const take = async (update: string, condition: string): Promise<number | undefined> => {
      const output = await ignoreLostCondition(
        this.client.send(
          new UpdateCommand({
            TableName: this.table,
            Key,
            UpdateExpression: `SET TakenUntil = ${update} + :span`,
            ConditionExpression: condition,
            ExpressionAttributeValues: { ':now': now, ':span': milliseconds },
            ReturnValues: 'ALL_NEW',
          }),
        ),
      );
      return output?.Attributes?.TakenUntil;
    };
    const end =
      (await take('TakenUntil', 'TakenUntil > :now')) ??
      (await take(':now', 'attribute_not_exists(TakenUntil) OR TakenUntil <= :now'));
    // Undefined only where somebody else took a span between the two: then there is one to follow.
    return end === undefined ? this.reserve(line, milliseconds) : new Date(end - milliseconds);
  }

  /** Pauses a deployment; one that is paused already keeps its time. Undefined when there is none. */
  pause(deploymentId: string): Promise<Deployment | undefined> {
    const now = timestamp(this.now());
    return this.update(deploymentId, {
      set: { UpdatedAt: now },
      setOnce: { PausedAt: now },
      condition: isLive,
      values: { ':deleting': 'DELETING' },
    });
  }

  /** Ends the pause of a deployment, if it is paused. Undefined when there is none. */
  resume(deploymentId: string): Promise<Deployment | undefined> {
    return this.update(deploymentId, {
      set: { UpdatedAt: timestamp(this.now()) },
      remove: ['PausedAt'],
      condition: isLive,
      values: { ':deleting': 'DELETING' },
    });
  }

  /** Marks a deployment as being deleted: from here on nothing starts for it. Undefined when there is none. */
  markDeleting(deploymentId: string): Promise<Deployment | undefined> {
    return this.update(deploymentId, {
      set: { Status: 'DELETING', UpdatedAt: timestamp(this.now()) },
      condition: isDeployment,
    });
  }

  /** Removes a deployment that is marked as being deleted; only its RolloutNumber stays. */
  async remove(deployment: Deployment): Promise<void> {
    const nodes = await this.allNodes(deployment.DeploymentId);
    await this.dropNodes(
      deployment.DeploymentId,
      nodes.map((node) => node.NodeId),
    );
    const { RolloutNumber } = deployment;
    await ignoreLostCondition(
      this.client.send(
        new PutCommand({
          TableName: this.table,
          Item: { ...deploymentKey(deployment.DeploymentId), RolloutNumber },
          ConditionExpression: '#Status = :deleting AND RolloutNumber = :number',
          ExpressionAttributeNames: { '#Status': 'Status' },
          ExpressionAttributeValues: { ':deleting': 'DELETING', ':number': RolloutNumber },
        }),
      ),
    );
  }

  private async claimWith(
    deploymentId: string,
    rollout: RolloutOrder,
    change: Partial<Change> & {
      condition: string;
      /** Status that goes with the claim; null leaves it. */
      status?: Status | null;
    },
  ): Promise<Deployment | undefined> {
    const now = this.now();
    const claim: Claim = { ...rollout, ClaimedAt: timestamp(now) };
    const { status = 'ROLLING_OUT' } = change;
    const usesDeleting = change.condition.includes(':deleting');
    return this.update(deploymentId, {
      set: {
        ...change.set,
        Rollout: claim,
        UpdatedAt: timestamp(now),
        ...(status === null ? {} : { Status: status }),
      },
      setOnce: change.setOnce ?? {},
      increment: 'RolloutNumber',
      // A dry run must not swallow a rollout that waits.
      remove: [...(change.remove ?? []), ...(rollout.Cause === 'DRY_RUN' ? [] : ['Pending'])],
      condition: `attribute_not_exists(Rollout) AND ${change.condition}`,
      values: { ...(usesDeleting ? { ':deleting': 'DELETING' } : {}), ...change.values },
    });
  }

  private async fleetQuery(
    filter: FleetFilter,
    limit: number,
    startKey: Key | undefined,
  ): Promise<{ items: Deployment[]; lastKey?: Key }> {
    const { index, key, sorted } = chooseIndex(filter);
    const names: Record<string, string> = { '#key': key };
    const values: Record<string, unknown> = { ':key': filter[key] };
    const conditions = ['#key = :key'];
    const filters: string[] = [];
    for (const field of ['CertName', 'CertificateArn', 'Status', 'TargetAccount'] as const) {
      if (field !== key && filter[field] !== undefined) {
        names[`#${field}`] = field;
        values[`:${field}`] = filter[field];
        filters.push(`#${field} = :${field}`);
      }
    }
    if (filter.NotAfterAtMost !== undefined) {
      values[':notAfter'] = filter.NotAfterAtMost;
      (sorted ? conditions : filters).push('NotAfter <= :notAfter');
    }
    const page = await this.query({
      IndexName: index,
      KeyConditionExpression: conditions.join(' AND '),
      ...(filters.length > 0 ? { FilterExpression: filters.join(' AND ') } : {}),
      ExpressionAttributeNames: names,
      ExpressionAttributeValues: values,
      Limit: limit,
      ExclusiveStartKey: startKey,
    });
    return {
      items: page.items.map(deploymentFrom),
      ...(page.lastKey ? { lastKey: page.lastKey } : {}),
    };
  }

  private async query(
    input: Omit<QueryCommandInput, 'TableName'>,
  ): Promise<{ items: Record<string, unknown>[]; lastKey?: Key }> {
    try {
      const { Items = [], LastEvaluatedKey } = await this.client.send(
        new QueryCommand({ TableName: this.table, ...input }),
      );
      return { items: Items, ...(LastEvaluatedKey ? { lastKey: LastEvaluatedKey } : {}) };
    } catch (error) {
      // DynamoDB refuses a start key that does not belong to the query.
      if (input.ExclusiveStartKey && isNamed(error, 'ValidationException')) {
        throw new InvalidToken();
      }
      throw error;
    }
  }

  private async update(
    deploymentId: string,
    change: Change,
    item = 'deployment',
  ): Promise<Deployment | undefined> {
    const output = await ignoreLostCondition(
      this.client.send(
        new UpdateCommand({
          TableName: this.table,
          Key: { DeploymentId: deploymentId, Item: item },
          ...expressionsFor(change),
          ReturnValues: 'ALL_NEW',
        }),
      ),
    );
    return output?.Attributes && deploymentFrom(output.Attributes);
  }

  private async deleteItems(keys: Key[]): Promise<void> {
    // BatchWriteItem takes 25 requests at most and may leave some unprocessed.
    for (let start = 0; start < keys.length; start += 25) {
      let requests = keys.slice(start, start + 25).map((Key) => ({ DeleteRequest: { Key } }));
      while (requests.length > 0) {
        const { UnprocessedItems } = await this.client.send(
          new BatchWriteCommand({ RequestItems: { [this.table]: requests } }),
        );
        requests = (UnprocessedItems?.[this.table] ?? []) as typeof requests;
      }
    }
  }
}

/** A page token that was altered or made for another question. */
export class InvalidToken extends Error {
  override name = 'InvalidToken';

  constructor() {
    super('not one that this API gave out for this request');
  }
}

type Key = Record<string, unknown>;
type Position = { status?: number | undefined; key?: Key | undefined };

interface Change {
  set: Record<string, unknown>;
  /** Set only where the attribute does not exist yet. */
  setOnce?: Record<string, unknown>;
  increment?: string;
  remove?: string[];
  condition: string;
  values?: Record<string, unknown>;
}

/** A deployment from its item. The first edition's items, and its claims of dry runs, have no RestartServices. */
function deploymentFrom(item: Record<string, unknown>): Deployment {
  const deployment = item as unknown as Deployment;
  for (const settings of [deployment, deployment.Rollout?.Trial]) {
    if (settings?.Options) {
      settings.Options.RestartServices ??= [];
    }
  }
  return deployment;
}

/** A rollout that failed is counted, so that the next attempts come at growing distance. */
function endOfRollout(deployment: Deployment, last: LastRollout): { set: Change['set']; remove?: string[] } {
  const failed = last.Status === 'FAILED';
  const Failures = failed ? (deployment.Failures ?? 0) + 1 : 0;
  const FailingSince = failed ? (deployment.FailingSince ?? last.At) : undefined;
  return {
    set: { LastRollout: last, Status: last.Status, Failures, FailingSince, LastError: last.Error },
    remove: [...(failed ? [] : ['FailingSince']), ...(last.Error === undefined ? ['LastError'] : [])],
  };
}

const deploymentKey = (deploymentId: string) => ({ DeploymentId: deploymentId, Item: 'deployment' });
const nodeItem = (nodeId: string) => `node#${nodeId}`;

/** Writes an UpdateExpression with every attribute name as a placeholder; `A.B` is a path into a map. */
function expressionsFor(
  change: Change,
): Pick<
  UpdateCommandInput,
  'UpdateExpression' | 'ConditionExpression' | 'ExpressionAttributeNames' | 'ExpressionAttributeValues'
> {
  const names: Record<string, string> = {};
  const values: Record<string, unknown> = { ...change.values };
  const place = (path: string) =>
    path
      .split('.')
      .map((name) => {
        names[`#${name}`] = name;
        return `#${name}`;
      })
      .join('.');
  const placeholderFor = (path: string, value: unknown) => {
    const placeholder = `:${path.replaceAll('.', '_')}`;
    values[placeholder] = value;
    return placeholder;
  };
  const sets = [
    ...Object.entries(change.set)
      .filter(([, value]) => value !== undefined)
      .map(([path, value]) => `${place(path)} = ${placeholderFor(path, value)}`),
    ...Object.entries(change.setOnce ?? {}).map(
      ([path, value]) => `${place(path)} = if_not_exists(${place(path)}, ${placeholderFor(path, value)})`,
    ),
  ];
  if (change.increment) {
    const counter = place(change.increment);
    values[':zero'] = 0;
    values[':one'] = 1;
    sets.push(`${counter} = if_not_exists(${counter}, :zero) + :one`);
  }
  if (change.condition.includes('#Status')) {
    names['#Status'] = 'Status';
  }
  const removes = (change.remove ?? []).map(place);
  return {
    UpdateExpression: `SET ${sets.join(', ')}${removes.length > 0 ? ` REMOVE ${removes.join(', ')}` : ''}`,
    ConditionExpression: change.condition,
    ExpressionAttributeNames: names,
    ExpressionAttributeValues: values,
  };
}

function chooseIndex(filter: FleetFilter): {
  index: string;
  key: 'CertName' | 'CertificateArn' | 'TargetAccount' | 'Status';
  /** Whether the index is sorted by NotAfter. */
  sorted: boolean;
} {
  if (filter.CertName) return { index: 'CertNameIndex', key: 'CertName', sorted: false };
  if (filter.CertificateArn) return { index: 'CertificateArnIndex', key: 'CertificateArn', sorted: false };
  if (filter.TargetAccount) return { index: 'TargetAccountIndex', key: 'TargetAccount', sorted: true };
  return { index: 'StatusIndex', key: 'Status', sorted: true };
}

/**
 * What a page token belongs to. The bound on NotAfter moves with the clock from page to page, so only its presence
 * counts.
 */
function questionOf(filter: FleetFilter): string {
  const { CertName, CertificateArn, Status, TargetAccount, NotAfterAtMost } = filter;
  return JSON.stringify([CertName, CertificateArn, Status, TargetAccount, NotAfterAtMost !== undefined]);
}

/** Ties a token to its question: with another one it would skip what it never showed. */
const markOf = (question: string) => createHash('sha256').update(question).digest('base64url').slice(0, 8);

function nextToken(position: Position, question: string): { nextToken?: string } {
  if (position.key === undefined && !position.status) {
    return {};
  }
  const token = JSON.stringify({ ...position, mark: markOf(question) });
  return { nextToken: Buffer.from(token).toString('base64url') };
}

/** Keys are strings only; anything else in their place would reach DynamoDB as another type. */
const isKey = (value: unknown): value is Key =>
  typeof value === 'object' &&
  value !== null &&
  !Array.isArray(value) &&
  Object.values(value).every((part) => typeof part === 'string');

function decodeToken(token: string | undefined, question: string): Position | undefined {
  if (token === undefined) {
    return undefined;
  }
  try {
    const { status, key, mark } = JSON.parse(Buffer.from(token, 'base64url').toString());
    const known =
      mark === markOf(question) &&
      (status === undefined || (Number.isInteger(status) && status >= 0 && status < STATUSES.length)) &&
      (key === undefined || isKey(key));
    if (known) {
      return { status, key };
    }
  } catch {
    // Falls through: not a token of ours.
  }
  throw new InvalidToken();
}

async function* pages<T>(read: (token: string | undefined) => Promise<Page<T>>): AsyncGenerator<T[]> {
  let token: string | undefined;
  do {
    const page = await read(token);
    yield page.items;
    token = page.nextToken;
  } while (token !== undefined);
}

/** Runs `work` over all items, at most `limit` at once; the first failure is thrown when all have ended. */
export async function inParallel<T>(
  items: Iterable<T> | AsyncIterable<T>,
  limit: number,
  work: (item: T) => Promise<unknown>,
): Promise<void> {
  const iterator =
    Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : (items as Iterable<T>)[Symbol.iterator]();
  const failures: unknown[] = [];
  const worker = async () => {
    for (let next = await iterator.next(); !next.done; next = await iterator.next()) {
      await work(next.value).catch((error: unknown) => failures.push(error));
    }
  };
  await Promise.all(Array.from({ length: limit }, worker));
  if (failures.length > 0) {
    throw failures[0];
  }
}

async function ignoreLostCondition<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    if (isNamed(error, 'ConditionalCheckFailedException')) {
      return undefined;
    }
    throw error;
  }
}
