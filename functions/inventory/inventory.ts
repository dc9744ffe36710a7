import type { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import {
  type BundleFinding,
  type Deployment,
  type Ended,
  isAside,
  isDryRun,
  type Running,
  timestamp,
  type Wanted,
} from '../domain/deployment.ts';
import { RetryLater, RolloutSuperseded } from '../domain/errors.ts';
import { type Earliest, lackingIn } from '../domain/expiry.ts';
import { isPaused } from '../domain/freeze.ts';
import { driftAfter } from '../domain/next.ts';
import type { Order } from '../domain/order.ts';
import { type Beginning, changesAtEnd, endOf, type RolloutResult, runningFrom } from '../domain/rollout.ts';
import { CertificateRequests } from './certificate-requests.ts';
import { Denials } from './denials.ts';
import { Endpoints } from './endpoints.ts';
import { asRead, type Change } from './expressions.ts';
import { FIRST_EDITION_MARKS, FIRST_EDITION_NAMES, readItem } from './first-edition.ts';
import { Fleet, keyOf } from './fleet.ts';
import { Freezes } from './freezes.ts';
import { Looks } from './looks.ts';
import { NodeRecords } from './node-records.ts';
import { Pauses } from './pauses.ts';
import { RecordFindings } from './record-findings.ts';
import { Reminders } from './reminders.ts';
import { Renewals } from './renewals.ts';
import { Slots } from './slots.ts';
import { Table } from './table.ts';

/** Rounds against others who write at the same time; two suffice unless rollouts take no time. */
export const ROUNDS = 5;

const isDeployment = 'attribute_exists(CertName)';
const isLive = `${isDeployment} AND #Status <> :deleting`;
const notPaused = 'attribute_not_exists(PausedAt)';
const notRunning = 'attribute_not_exists(Running) AND attribute_not_exists(Rollout)';

/**
 * The inventory: one item a deployment (`Item` = deployment), which this class writes, and one a node (`node#<id>`). Only
 * deployment items carry the keys of the indexes. The table also holds the slots of rollouts (`line#<quota>`), the
 * looks at each account (`look#<account>/<Region>`), what they found that nobody registered (`endpoint#…`), what AWS
 * denies to sweeps, and where member stacks are old (`denied#…`), for which certificates ACM was asked to renew
 * (`renewal#<ARN>`), how many deployments there are (`fleet#size`) and which of them are paused (`fleet#paused`), the freeze
 * of all rollouts (`freeze#all`), when people were reminded of both (`reminder#stops`), the requests for certificates
 * (`request#<CertName>`), which of them are open (`fleet#requests`), how many there were on each day (`count#requests`), and
 * validation records that public DNS does not answer any more (`records#lost`). Every write of deployments, nodes and
 * requests is conditional, so that what is older never overwrites what is newer. `want`, `begin`, `end` and `note` are the only
 * writes of a rollout's life. A deleted deployment leaves its RolloutNumber, which nodes and execution names rely on.
 */
export class Inventory {
  readonly fleet: Fleet;
  readonly nodes: NodeRecords;
  readonly slots: Slots;
  readonly looks: Looks;
  readonly endpoints: Endpoints;
  readonly denials: Denials;
  readonly renewals: Renewals;
  readonly freezes: Freezes;
  readonly pauses: Pauses;
  readonly recordFindings: RecordFindings;
  readonly reminders: Reminders;
  readonly requests: CertificateRequests;
  private readonly table: Table;

  constructor(client: DynamoDBDocumentClient, table: string, now: () => Date) {
    this.table = new Table(client, table, now);
    this.pauses = new Pauses(this.table);
    this.fleet = new Fleet(this.table, this.pauses);
    this.nodes = new NodeRecords(this.table);
    this.slots = new Slots(this.table);
    this.looks = new Looks(this.table);
    this.endpoints = new Endpoints(this.table);
    this.denials = new Denials(this.table);
    this.renewals = new Renewals(this.table);
    this.freezes = new Freezes(this.table);
    this.recordFindings = new RecordFindings(this.table);
    this.reminders = new Reminders(this.table);
    this.requests = new CertificateRequests(this.table);
  }

  /** Reads a deployment, strongly consistent; undefined when there is none or it was deleted. */
  get(deploymentId: string): Promise<Deployment | undefined> {
    return this.fleet.get(deploymentId);
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
    const now = timestamp(this.table.now());
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
    const waiting = { Status: 'WAITING' };
    return this.update(deploymentId, {
      set: {
        ...order,
        Wanted: wanted,
        RestoreBundle: true,
        UpdatedAt: now,
        // It is not only tried any more.
        ...(deployment?.DryRunOnly ? waiting : {}),
      },
      setIfAbsent: {
        CreatedAt: now,
        NotAfter: notAfter,
        RolloutNumber: 0,
        ...(deployment?.DryRunOnly ? {} : waiting),
      },
      // What the order before had and this one has not.
      remove: [
        'DryRunOnly',
        ...(order.ReaderRoleArns ? [] : ['ReaderRoleArns', 'MissingReaderRoleArns']),
        ...(order.BundleFormats ? [] : ['BundleFormats']),
      ],
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
    const now = timestamp(this.table.now());
    await this.turnOver(current);
    return this.update(deploymentId, {
      set: {
        ...order,
        NotAfter: notAfter,
        Status: 'TRIED',
        DryRunOnly: true,
        RestoreBundle: true,
        UpdatedAt: now,
      },
      setIfAbsent: { CreatedAt: now, RolloutNumber: 0 },
      condition: `${notRunning} AND (attribute_not_exists(CertName) OR (attribute_exists(DryRunOnly) AND #Status <> :deleting))`,
      values: { ':deleting': 'DELETING' },
    });
  }

  /**
   * Begins a rollout: exactly one caller can.
   *
   * @param deployment as the caller read it when it decided: on the condition that it is as it was.
   * @returns the deployment with its rollout; undefined when the condition was lost: also its own
   *   write, where the answer was lost and the SDK has repeated it.
   */
  async begin(deployment: Deployment, beginning: Beginning): Promise<Deployment | undefined> {
    const running = runningFrom(deployment, beginning, this.table.now());
    const { RolloutNumber, BeganAt } = running;
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
        UpdatedAt: BeganAt,
        ...(isAside(running) ? {} : { Status: 'ROLLING_OUT' }),
        ...(running.Cause === 'DRIFT' ? { Drift: driftAfter(deployment.Drift, this.table.now()) } : {}),
      },
      condition: `${isLive} AND ${notRunning} AND ${seen.condition}${trial ? '' : ` AND ${notPaused}`}`,
      values: { ':deleting': 'DELETING', ...seen.values },
    });
  }

  /** Notes on the running rollout what was started for it. Undefined when it is not the running one any more. */
  async note(
    deployment: Deployment,
    rolloutNumber: number,
    noted: Pick<Running, 'StartedAt' | 'AutomationExecutionId' | 'Automations'>,
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
        ...changesAtEnd(current, current.Running, result, timestamp(this.table.now())),
        condition: `${isLive} AND Running.RolloutNumber = :number`,
        values: { ':number': rolloutNumber, ':deleting': 'DELETING' },
      });
      current = updated ?? (await this.get(deployment.DeploymentId));
    }
    throw new RetryLater(`Deployment ${deployment.DeploymentId} is written by others each time.`);
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
      set: { Status: status, LastError: lastError, UpdatedAt: timestamp(this.table.now()) },
      remove: lastError === undefined ? ['LastError'] : [],
      condition: `${isLive} AND ${notRunning} AND RolloutNumber = :seen`,
      values: { ':seen': deployment.RolloutNumber, ':deleting': 'DELETING' },
    });
    return updated !== undefined;
  }

  /** Notes of which causes people were told that a rollout failed, unless one has succeeded since. */
  async noteTold(deployment: Deployment, rolloutNumber: number, causes: string[]): Promise<void> {
    await this.update(deployment.DeploymentId, {
      set: { 'Observed.ToldOf': causes },
      condition: `${isDeployment} AND Observed.Outcome = :failed AND Observed.RolloutNumber >= :number`,
      values: { ':failed': 'FAILED', ':number': rolloutNumber },
    });
  }

  /** Notes what of all that the nodes serve ends first, unless a rollout has ended since the deployment was read. */
  async noteEarliest(deployment: Deployment, earliest: Earliest): Promise<void> {
    await this.update(deployment.DeploymentId, {
      set: { ...earliest },
      remove: lackingIn(earliest),
      condition: `${isDeployment} AND NotAfter = :expiry AND RolloutNumber = :number`,
      values: { ':expiry': deployment.NotAfter, ':number': deployment.RolloutNumber },
    });
  }

  /** Remembers the last expiry alert of the version that is served now. */
  async noteExpiryAlert(deployment: Deployment, days: number): Promise<void> {
    await this.update(deployment.DeploymentId, {
      set: { ExpiryAlert: { NotAfter: deployment.NotAfter, Days: days } },
      condition: `${isDeployment} AND NotAfter = :expiry`,
      values: { ':expiry': deployment.NotAfter },
    });
  }

  /** Notes which of its readers do not exist, unless a request has named others meanwhile. */
  async noteMissingReaders(deployment: Deployment, missing: string[]): Promise<void> {
    const isNone = missing.length === 0;
    await this.update(deployment.DeploymentId, {
      set: {
        MissingReaderRoleArns: isNone ? undefined : missing,
        UpdatedAt: timestamp(this.table.now()),
      },
      remove: isNone ? ['MissingReaderRoleArns'] : [],
      condition: `${isDeployment} AND ReaderRoleArns = :readers`,
      values: { ':readers': deployment.ReaderRoleArns },
    });
  }

  /**
   * Notes what a look found of its bundle, or nothing. Not while a rollout, a POST or a DELETE may change the bundle, nor
   * where one has since the deployment was read: then this returns undefined.
   */
  noteBundle(deployment: Deployment, found: BundleFinding | undefined): Promise<Deployment | undefined> {
    return this.update(deployment.DeploymentId, {
      set: { BundleFinding: found, UpdatedAt: timestamp(this.table.now()) },
      remove: found ? [] : ['BundleFinding'],
      condition: `${isLive} AND ${notRunning} AND attribute_not_exists(RestoreBundle) AND RolloutNumber = :seen`,
      values: { ':seen': deployment.RolloutNumber, ':deleting': 'DELETING' },
    });
  }

  /** Shows on a deployment that ACM was asked to renew its certificate. The edition before asks no more for an hour then. */
  async noteRenewal({ DeploymentId, CertificateArn }: Deployment): Promise<void> {
    const now = timestamp(this.table.now());
    await this.update(DeploymentId, {
      set: { RenewalRequestedAt: now, RenewalAnswered: CertificateArn, UpdatedAt: now },
      condition: isDeployment,
    });
  }

  /** Pauses a deployment that is as it was read. Undefined when it is not, or is being deleted. */
  async pause(deployment: Deployment): Promise<Deployment | undefined> {
    const now = timestamp(this.table.now());
    await this.pauses.mark([deployment.DeploymentId]);
    return this.mark(deployment, { set: { UpdatedAt: now }, setIfAbsent: { PausedAt: now } }, true);
  }

  /** Ends the pause of a deployment that is as it was read. Undefined when it is not, or is being deleted. */
  async resume(deployment: Deployment): Promise<Deployment | undefined> {
    const now = timestamp(this.table.now());
    const resumed = await this.mark(deployment, { set: { UpdatedAt: now }, remove: ['PausedAt'] }, true);
    if (resumed) {
      await this.pauses.unmark([deployment.DeploymentId]);
    }
    return resumed;
  }

  /**
   * Puts right the marks of what is paused: after an edition that made none, and after a call that was cut off.
   *
   * @param paused as the index shows it, which may be a moment old.
   */
  async correctPauses(paused: ReadonlySet<string>): Promise<void> {
    const marked = await this.pauses.all();
    await this.pauses.mark(paused.difference(marked));
    for (const id of marked.difference(paused)) {
      const deployment = await this.get(id);
      if (!deployment || !isPaused(deployment)) {
        await this.pauses.unmark([id]);
      }
    }
  }

  /**
   * Marks a deployment that is as it was read as being deleted: from here on nothing starts for it. Undefined when it is
   * not as it was read.
   */
  markDeleting(deployment: Deployment): Promise<Deployment | undefined> {
    const now = timestamp(this.table.now());
    return this.mark(deployment, {
      set: { Status: 'DELETING', UpdatedAt: now },
      setIfAbsent: { DeletingSince: now },
    });
  }

  /** What a person asked for comes to nothing where it comes late, and the deployment was resumed or registered again. */
  private async mark(
    deployment: Deployment,
    change: Omit<Change, 'condition'>,
    onlyLive = false,
  ): Promise<Deployment | undefined> {
    await this.turnOver(deployment);
    const { condition, values } = asRead(deployment, ['RolloutNumber', 'UpdatedAt']);
    return this.update(deployment.DeploymentId, {
      ...change,
      condition: `${onlyLive ? isLive : isDeployment} AND ${condition}`,
      values: { ...(onlyLive ? { ':deleting': 'DELETING' } : {}), ...values },
    });
  }

  /** Removes a deployment that is marked as being deleted; only its RolloutNumber stays. */
  async remove(deployment: Deployment): Promise<void> {
    const { DeploymentId, RolloutNumber, Running, Unfinished, PausedAt } = deployment;
    const { AutomationExecutionId } = Running?.AutomationExecutionId ? Running : (Unfinished ?? {});
    await this.pauses.unmark(PausedAt ? [DeploymentId] : []);
    const nodes = await this.nodes.all(DeploymentId);
    const nodeIds = nodes.map(({ NodeId }) => NodeId);
    await this.nodes.drop(DeploymentId, nodeIds);
    await this.table.put({
      Item: {
        ...keyOf(DeploymentId),
        RolloutNumber,
        // It was stopped, and a step that runs goes on: a deployment that is registered again waits for its end.
        ...(AutomationExecutionId ? { Unfinished: { AutomationExecutionId } } : {}),
      },
      ConditionExpression: '#Status = :deleting AND RolloutNumber = :number',
      ExpressionAttributeNames: { '#Status': 'Status' },
      ExpressionAttributeValues: { ':deleting': 'DELETING', ':number': RolloutNumber },
    });
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
      set: { Wanted, Running, Observed, LastTrial },
      remove: [...FIRST_EDITION_NAMES, ...(Running ? [] : ['Running'])],
      condition: `${isDeployment} AND ${seen.condition}`,
      values: seen.values,
    });
  }

  private async update(deploymentId: string, change: Change): Promise<Deployment | undefined> {
    const item = await this.table.change(keyOf(deploymentId), change);
    return item && readItem(item);
  }
}
