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
  Deployment,
  Ended,
  NodeRecord,
  NodeResult,
  Observed,
  Order,
  Outcome,
  Running,
  Status,
  Wanted,
} from './deployment.ts';
import { holdsVersion, isDryRun, STATUSES, timestamp } from './deployment.ts';
import { isNamed, RetryLater, RolloutSuperseded } from './errors.ts';
import { FIRST_EDITION_MARKS, FIRST_EDITION_NAMES, readItem } from './first-edition.ts';

/** Rounds against others who write at the same time; two suffice unless rollouts take no time. */
export const ROUNDS = 5;

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
  Outcome: Outcome;
  ExecutionArn: string;
  Error?: string;
  /** The version that was exported, where the rollout came so far. */
  Exported?: { Serial: string; VersionId: string; NotBefore?: string; NotAfter: string };
  /** Whether nodes serve that version now. */
  Served?: boolean;
  /** Whether its Automation is known to have ended, or there was none. */
  AutomationEnded?: boolean;
  /** The highest number that a node reported. */
  HeldNumber?: number;
}

/** What a rollout is begun with. */
export interface Beginning
  extends Pick<Running, 'Generation' | 'Serial' | 'NotBefore' | 'Cause' | 'CorrelationId'> {
  Order: Order;
  /** When it may start; at once by default. */
  turn?: Date | undefined;
}

/** No turn is further ahead: a state machine of 24 hours has time for the rollout itself then. */
export const LONGEST_WAIT_SECONDS = 9 * 3600;

const isDeployment = 'attribute_exists(CertName)';
const isLive = `${isDeployment} AND #Status <> :deleting`;
const notPaused = 'attribute_not_exists(PausedAt)';
const notRunning = 'attribute_not_exists(Running) AND attribute_not_exists(Rollout)';

/**
 * The inventory: one item a deployment (`Item` = deployment) and one a node (`node#<id>`). Only deployment items carry the
 * keys of the indexes. The table also holds the lines in which rollouts wait (`line#<name>`). Every write is conditional,
 * so that what is older never overwrites what is newer. `want`, `begin`, `end` and `note` are the only writes of a
 * rollout's life. A deleted deployment leaves its RolloutNumber, which nodes and execution names rely on.
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
    return Item?.CertName === undefined ? undefined : readItem(Item);
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
   * Writes what should be served, on the condition that nothing else was wanted meanwhile.
   *
   * @param deployment as the caller read it; undefined where there was none.
   * @param registered what a person asked for: their order, and the expiry to show until a rollout has ended.
   * @returns the deployment as it is now; undefined when the condition was lost, and, where a person asks, when the
   *   deployment was paused.
   */
  async want(
    deploymentId: string,
    deployment: Deployment | undefined,
    wanted: Wanted,
    registered?: { order: Order; notAfter: string },
  ): Promise<Deployment | undefined> {
    const now = timestamp(this.now());
    await this.turnOver(deployment);
    const seen = asRead(deployment, ['Wanted.Generation', 'Wanted.Serial', 'CertificateArn']);
    if (!registered) {
      return this.update(deploymentId, {
        set: { Wanted: wanted, UpdatedAt: now },
        condition: `${isLive} AND ${seen.condition}`,
        values: { ':deleting': 'DELETING', ...seen.values },
      });
    }
    const { order, notAfter } = registered;
    return this.update(deploymentId, {
      set: { ...order, Wanted: wanted, RestoreBundle: true, UpdatedAt: now },
      setOnce: { CreatedAt: now, NotAfter: notAfter, Status: 'WAITING', RolloutNumber: 0 },
      // What the order before had and this one has not.
      remove: ['DryRunOnly', ...(order.ReaderRoleArns ? [] : ['ReaderRoleArns'])],
      condition: `${notPaused} AND (attribute_not_exists(#Status) OR #Status <> :deleting) AND ${seen.condition}`,
      values: { ':deleting': 'DELETING', ...seen.values },
    });
  }

  /**
   * Notes an order that is only to be tried. One that was registered keeps its own, and this writes nothing.
   *
   * @returns the deployment; undefined when a rollout of it is running, or it is being deleted.
   */
  async noteTrial(deploymentId: string, order: Order, notAfter: string): Promise<Deployment | undefined> {
    const current = await this.get(deploymentId);
    if (current && !current.DryRunOnly) {
      return current;
    }
    const now = timestamp(this.now());
    await this.turnOver(current);
    return this.update(deploymentId, {
      set: {
        ...order,
        NotAfter: notAfter,
        Status: 'WAITING',
        DryRunOnly: true,
        RestoreBundle: true,
        UpdatedAt: now,
      },
      setOnce: { CreatedAt: now, RolloutNumber: 0 },
      condition: `${notRunning} AND (attribute_not_exists(CertName) OR (attribute_exists(DryRunOnly) AND #Status <> :deleting))`,
      values: { ':deleting': 'DELETING' },
    });
  }

  /**
   * Begins a rollout: exactly one caller can. It gets the next number, which is also at least the seconds since 1970, so
   * that a table that was lost does not count from 1 on nodes that have seen more, and above what nodes hold.
   *
   * @param deployment as the caller read it when it decided: on the condition that it is as it was.
   * @returns the deployment with its rollout; undefined when the condition was lost.
   */
  async begin(deployment: Deployment, beginning: Beginning): Promise<Deployment | undefined> {
    const now = this.now();
    const { turn, ...copied } = beginning;
    const delay = turn === undefined ? 0 : Math.ceil((turn.getTime() - now.getTime()) / 1000);
    const RolloutNumber = Math.max(
      deployment.RolloutNumber + 1,
      Math.floor(now.getTime() / 1000),
      (deployment.HeldNumber ?? 0) + 1,
    );
    const running: Running = {
      ...copied,
      RolloutNumber,
      BeganAt: timestamp(now),
      StartDelaySeconds: Math.max(0, Math.min(delay, LONGEST_WAIT_SECONDS)),
    };
    const trial = isDryRun(running);
    await this.turnOver(deployment);
    const seen = asRead(
      deployment,
      trial ? ['RolloutNumber'] : ['RolloutNumber', 'Wanted.Generation', 'Wanted.Serial', 'CertificateArn'],
    );
    return this.update(deployment.DeploymentId, {
      set: {
        Running: running,
        RolloutNumber,
        UpdatedAt: timestamp(now),
        ...(trial ? {} : { Status: 'ROLLING_OUT' }),
      },
      condition: `${isLive} AND ${notRunning} AND ${seen.condition}${trial ? '' : ` AND ${notPaused}`}`,
      values: { ':deleting': 'DELETING', ...seen.values },
    });
  }

  /** Notes on the running rollout what was started for it. Undefined when it is not the running one any more. */
  async note(
    deployment: Deployment,
    rolloutNumber: number,
    noted: Pick<Running, 'StartedAt' | 'AutomationExecutionId'>,
  ): Promise<Deployment | undefined> {
    await this.turnOver(deployment);
    return this.update(deployment.DeploymentId, {
      set: Object.fromEntries(Object.entries(noted).map(([name, value]) => [`Running.${name}`, value])),
      // It was looked after before an Automation was started.
      remove: noted.AutomationExecutionId ? ['Unfinished'] : [],
      condition: 'Running.RolloutNumber = :number',
      values: { ':number': rolloutNumber },
    });
  }

  /**
   * Ends a rollout and writes its result. An end that is recorded under its number counts as this one: the answer to
   * the write may have been lost.
   *
   * @returns the deployment as it is now, and the end as it is recorded.
   * @throws RolloutSuperseded when another rollout runs or has ended since, or the deployment is deleted.
   */
  async end(
    deployment: Deployment,
    rolloutNumber: number,
    result: RolloutResult,
  ): Promise<{ deployment: Deployment; ended: Ended }> {
    let current: Deployment | undefined = deployment;
    for (let round = 0; round < ROUNDS; round += 1) {
      // Asked first: an item that says both would be closed again and again.
      const isOpen = current?.Running?.RolloutNumber === rolloutNumber;
      const ended = current && !isOpen ? endOf(current, rolloutNumber) : undefined;
      if (current && ended) {
        return { deployment: current, ended };
      }
      if (current?.Running?.RolloutNumber !== rolloutNumber || current.Status === 'DELETING') {
        throw new RolloutSuperseded(
          `Rollout ${rolloutNumber} is not the current one of deployment ${deployment.DeploymentId}.`,
        );
      }
      await this.turnOver(current);
      const updated = await this.update(deployment.DeploymentId, {
        ...endOfRollout(current, current.Running, result, timestamp(this.now())),
        condition: `${isLive} AND Running.RolloutNumber = :number`,
        values: { ':number': rolloutNumber, ':deleting': 'DELETING' },
      });
      current = updated ?? (await this.get(deployment.DeploymentId));
    }
    throw new RetryLater(`Deployment ${deployment.DeploymentId} is written by others each time.`);
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
   * Notes which node is the canary of a rollout. A repeated task finds it, and later rollouts choose another one.
   */
  async noteCanary(deploymentId: string, nodeId: string, rolloutNumber: number): Promise<void> {
    await this.update(
      deploymentId,
      {
        set: { NodeId: nodeId, CanaryAt: rolloutNumber },
        condition: 'attribute_not_exists(CanaryAt) OR CanaryAt <= :number',
        values: { ':number': rolloutNumber },
      },
      nodeItem(nodeId),
    );
  }

  /**
   * Changes the status of a deployment without a rollout, after its nodes came or went. False when a rollout began
   * meanwhile.
   */
  async settle(
    deployment: Deployment,
    status: 'INSTALLED' | 'WAITING' | 'DEGRADED',
    lastError?: string,
  ): Promise<boolean> {
    const updated = await this.update(deployment.DeploymentId, {
      set: { Status: status, LastError: lastError, UpdatedAt: timestamp(this.now()) },
      remove: lastError === undefined ? ['LastError'] : [],
      condition: `${isLive} AND ${notRunning} AND RolloutNumber = :seen`,
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

  /**
   * Notes that ACM is about to be asked for a renewal. False where it has answered such a request since `since`, or is
   * being asked by another caller since `asking`.
   */
  async noteRenewalRequest(deploymentId: string, since: string, asking: string): Promise<boolean> {
    const updated = await this.update(deploymentId, {
      set: { RenewalRequestedAt: timestamp(this.now()) },
      remove: ['RenewalAnswered'],
      condition:
        `${isDeployment} AND (attribute_not_exists(RenewalRequestedAt) OR RenewalRequestedAt <= :since` +
        ' OR (attribute_not_exists(RenewalAnswered) AND RenewalRequestedAt <= :asking))',
      values: { ':since': since, ':asking': asking },
    });
    return updated !== undefined;
  }

  /** Notes what ACM has answered: a request that it refused is taken back. */
  async noteRenewalAnswer(deploymentId: string, accepted: boolean): Promise<void> {
    await this.update(deploymentId, {
      set: { UpdatedAt: timestamp(this.now()), ...(accepted ? { RenewalAnswered: true } : {}) },
      remove: accepted ? [] : ['RenewalRequestedAt'],
      condition: isDeployment,
    });
  }

  /**
   * Takes the next span of time in a line that all functions share. A line that is taken for longer than
   * LONGEST_WAIT_SECONDS begins anew: a clock that was wrong once holds up no other function.
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
            ExpressionAttributeValues: {
              ':now': now,
              ':bound': now + LONGEST_WAIT_SECONDS * 1000,
              ':span': milliseconds,
            },
            ReturnValues: 'ALL_NEW',
          }),
        ),
      );
      return output?.Attributes?.TakenUntil;
    };
    const end =
      (await take('TakenUntil', 'TakenUntil > :now AND TakenUntil <= :bound')) ??
      (await take(':now', 'attribute_not_exists(TakenUntil) OR TakenUntil <= :now OR TakenUntil > :bound'));
    // Undefined only where another function took a span between the two: then there is one to follow.
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
    const now = timestamp(this.now());
    return this.update(deploymentId, {
      set: { Status: 'DELETING', UpdatedAt: now },
      setOnce: { DeletingSince: now },
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

  /**
   * Writes an item of the first edition in the shape of this one, and changes nothing else, if it is as it was read. Then
   * the conditions of the write that follows say what is to be done.
   */
  private async turnOver(deployment: Deployment | undefined): Promise<void> {
    if (!deployment?.FirstEditionItem) {
      return;
    }
    const { DeploymentId, Wanted, Running, Observed, LastTrial } = deployment;
    const seen = asRead(deployment.FirstEditionItem, FIRST_EDITION_MARKS);
    await this.update(DeploymentId, {
      set: { Options: deployment.Options, Wanted, Running, Observed, LastTrial },
      remove: [...FIRST_EDITION_NAMES, ...(Running ? [] : ['Running'])],
      condition: `${isDeployment} AND ${seen.condition}`,
      values: seen.values,
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
      items: page.items.map(readItem),
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
    return output?.Attributes && readItem(output.Attributes);
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
  remove?: string[];
  condition: string;
  values?: Record<string, unknown>;
}

/** The end that is recorded under a rollout's number. */
export function endOf({ Observed, LastTrial }: Deployment, rolloutNumber: number): Ended | undefined {
  return [Observed, LastTrial].find((ended) => ended?.RolloutNumber === rolloutNumber);
}

function endOfRollout(
  deployment: Deployment,
  running: Running,
  result: RolloutResult,
  now: string,
): Pick<Change, 'set' | 'remove'> {
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
  const remove = ['Running', ...(Outcome === 'FAILED' ? [] : ['RestoreBundle'])];
  if (isDryRun(running)) {
    return { set: { ...common, LastTrial: ended }, remove };
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
    // Counted, so that the next attempts come at growing distance.
    Failures: failed ? (before?.Failures ?? 0) + 1 : 0,
    ...(failed ? { FailingSince: before?.FailingSince ?? now } : {}),
  };
  const served = Served && Exported ? { Serial: Exported.Serial, VersionId: Exported.VersionId } : {};
  // While no node serves anything, what counts is the version that is ready for them.
  const isIdle = deployment.Serial === undefined || Outcome === 'WAITING';
  const expiry = Exported && (Served || isIdle) ? { NotAfter: Exported.NotAfter } : {};
  return {
    set: { ...common, ...served, ...expiry, Observed: observed, Status: Outcome, LastError: error },
    remove: [...remove, ...(error === undefined ? ['LastError'] : [])],
  };
}

/**
 * A condition that attributes are as they were read.
 *
 * @param item undefined where there was none: then none of them may be there.
 * @param paths `A.B` is a path into a map. None of them is a reserved word.
 */
function asRead(
  item: object | undefined,
  paths: readonly string[],
): { condition: string; values: Record<string, unknown> } {
  const values: Record<string, unknown> = {};
  const conditions = paths.map((path) => {
    const value = path
      .split('.')
      .reduce<unknown>((found, name) => (found as Record<string, unknown> | undefined)?.[name], item);
    if (value === undefined) {
      return `attribute_not_exists(${path})`;
    }
    const placeholder = `:seen_${path.replaceAll('.', '_')}`;
    values[placeholder] = value;
    return `${path} = ${placeholder}`;
  });
  return { condition: conditions.join(' AND '), values };
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
