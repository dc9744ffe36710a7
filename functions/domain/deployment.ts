import { createHash } from 'node:crypto';
import type { Order, Target } from './order.ts';

/** Page tokens count them: a new one comes last. */
export const STATUSES = [
  'ROLLING_OUT',
  'INSTALLED',
  'WAITING',
  'DEGRADED',
  'FAILED',
  'DELETING',
  'TRIED',
] as const;
export type Status = (typeof STATUSES)[number];

/** `DRIFT`: a look found that nodes do not serve what was installed there. */
export type Cause = 'REQUEST' | 'RENEWAL' | 'RECONCILE' | 'DRY_RUN' | 'DRIFT';

/** What should be served. Times are ISO 8601; NotBefore is that of the certificate, empty where it is not known. */
export interface Wanted {
  /** Counts changes of the order, and repeats that a person asked for. */
  Generation: number;
  Serial: string;
  NotBefore: string;
  Cause: Cause;
  CorrelationId: string;
  At: string;
}

/** The one rollout that may run now: its tasks read this and, but for ReaderRoleArns, nothing that changes meanwhile. */
export interface Running {
  RolloutNumber: number;
  /** That of Wanted when it began; 0 of a dry run, which has an order of its own. */
  Generation: number;
  /** A copy of what was ordered when it began. */
  Order: Order;
  Serial: string;
  NotBefore: string;
  Cause: Cause;
  CorrelationId: string;
  BeganAt: string;
  /** Seconds until its slot, counted from the start of the execution. */
  StartDelaySeconds: number;
  /** Absent until the start was heard: until then any function may start the execution, which has one name only. */
  StartedAt?: string;
  /** The one that runs. */
  AutomationExecutionId?: string;
  /** What was started for it, one after the other: the last one runs. Absent in what an older edition began. */
  Automations?: AutomationStart[];
  /** The only nodes that it may touch, of a rollout that heals; absent: all with the tag. */
  NodeIds?: string[];
  /** Of a rollout that the first edition began. */
  ExecutionName?: string;
}

/** `probe`: a dry run on all nodes that shows which of them can be served, where a canary could not. */
export interface AutomationStart {
  Kind: 'install' | 'probe';
  CanaryNodeId: string;
}

export type Outcome = 'INSTALLED' | 'DEGRADED' | 'WAITING' | 'FAILED';

/** How a rollout ended. */
export interface Ended {
  RolloutNumber: number;
  Serial: string;
  Cause: Cause;
  CorrelationId: string;
  ExecutionArn: string;
  Outcome: Outcome;
  Error?: string;
  At: string;
}

/** How the last rollout ended that was no dry run. */
export interface Observed extends Ended {
  Generation: number;
  /** The serial that it began for, where it found a newer one. */
  WantedSerial?: string;
  NotBefore: string;
  /** The version that was stored last: what a node must hold. */
  VersionId?: string;
  /** Rollouts that failed since the last one that did not. */
  Failures: number;
  /** Of these, the ones in which a node failed. Absent in what an older edition wrote: all of them. */
  NodeFailures?: number;
  /** It failed before it touched a node. */
  Untouched?: boolean;
  /** Of a rollout that served others: since when the node is refused that was refused last, of those that are listed. */
  RefusedSince?: string;
  /** When the first of these failed. */
  FailingSince?: string;
  /** The causes of failure that people were told of, of this generation and version, since the last success. */
  ToldOf?: string[];
}

/** What the last look at a bundle found: the secret does not exist, or is scheduled for deletion. */
export interface BundleFinding {
  Kind: 'missing' | 'deletion';
  /** When it was scheduled for deletion, or seen first so. */
  Since: string;
  /** From when on Secrets Manager may delete it for good, at the earliest. */
  DeletableFrom?: string;
  /** When people were told of it last. */
  ToldAt?: string;
}

export interface Deployment extends Order {
  DeploymentId: string;
  Status: Status;
  /** Since when it is paused: no rollout begins, by whatever cause, until it is resumed. */
  PausedAt?: string;
  DeletingSince?: string;
  /** From a POST until a rollout did not fail: its bundle may be restored where it is scheduled for deletion. */
  RestoreBundle?: boolean;
  /** That of the last rollout that began. Never goes back, also when the deployment is deleted and registered again. */
  RolloutNumber: number;
  /** The highest number that a node reported. */
  HeldNumber?: number;
  /** Only dry runs were asked for: then nothing is wanted, and nothing is installed by itself. */
  DryRunOnly?: boolean;
  Wanted?: Wanted;
  Running?: Running;
  Observed?: Observed;
  LastTrial?: Ended;
  /** The last rollout that was to heal nodes. It leaves Wanted, Observed and Status as they are: looks say what became of them. */
  LastHealing?: Ended;
  /** Healing rollouts in a row, and the last one: they come at growing distance. */
  Drift?: { Count: number; At: string };
  /** An Automation of a rollout that has ended, which may still run: it ends before the next one starts. */
  Unfinished?: { AutomationExecutionId: string };
  /** Serial and version that were installed last. */
  Serial?: string;
  VersionId?: string;
  /** The earliest end of what a node serves. While none serves anything, that of what is ready. */
  NotAfter: string;
  /** The beginning of that version, where it is known. */
  NotBefore?: string;
  /** The node that serves it, where the version that was installed last ends later. */
  EarliestNodeId?: string;
  LastError?: string;
  /** The last alert, in days before the expiry, for the version that expires at NotAfter. */
  ExpiryAlert?: { NotAfter: string; Days: number };
  /** Readers that do not exist, as the last look at them found. People were told of these. */
  MissingReaderRoleArns?: string[];
  /** Absent while its bundle is there. */
  BundleFinding?: BundleFinding;
  /** When ACM was last asked, through the API, to renew the certificate. */
  RenewalRequestedAt?: string;
  /** The certificate of that request, which ACM has accepted. The edition before wrote true, and guarded by it. */
  RenewalAnswered?: string | true;
  CreatedAt: string;
  UpdatedAt: string;
  /** The item as it was read, where the first edition wrote it: the next write of a rollout's life turns it over. */
  FirstEditionItem?: Record<string, unknown>;
}

/**
 * Outcomes that the script reports, then those that only the centre can see. `refused`: the script says `failed`, for a
 * reason that lies in the node alone (ssm-documents/exit-codes.yaml).
 */
export const NODE_OUTCOMES = [
  'installed',
  'unchanged',
  'rolled-back',
  'failed',
  'dry-run-passed',
  'refused',
  'offline',
  'unsupported',
  'not-reached',
] as const;
export type NodeOutcome = (typeof NODE_OUTCOMES)[number];

/** Whether a node with this outcome serves the rollout's version. */
export const holdsVersion = (outcome: NodeOutcome | undefined) =>
  outcome === 'installed' || outcome === 'unchanged';

/** Whether the installation failed on a node, for a reason that may hold for others too. */
export const isFault = (result: { Outcome?: NodeOutcome } | undefined) =>
  result?.Outcome === 'failed' || result?.Outcome === 'rolled-back';

export interface NodeResult {
  NodeId: string;
  Outcome: NodeOutcome;
  Serial?: string;
  VersionId?: string;
  ExitCode?: number;
  /** The step of the install script that failed. */
  Step?: string;
  Error?: string;
  /** What its operator should know although the installation worked. */
  Note?: string;
  /** Whether the port was proved in this run. */
  Seen?: Serves['Seen'];
}

/** What a node was last seen to serve. */
export interface Serves {
  Serial: string;
  /** Absent of what this system did not install. */
  VersionId?: string;
  NotBefore?: string;
  NotAfter: string;
  /** When it was first seen so. A node without a finding was seen again in each complete look at its account. */
  SeenAt: string;
  /** `files`: nobody asked a port. */
  Seen: 'port' | 'files';
}

/** What a look may find: files of another version, none, damaged; the name in other hands; the port. */
export const FINDINGS = ['older', 'missing', 'damaged', 'taken', 'foreign', 'silent', 'unseen'] as const;
export type FindingKind = (typeof FINDINGS)[number];

export interface Finding {
  Kind: FindingKind;
  /** A sentence for people. */
  Text: string;
  Since: string;
  /** Why installing it again was in vain. */
  Error?: string;
  /** When people were told of it last. */
  ToldAt?: string;
}

export interface NodeRecord extends Omit<NodeResult, 'Outcome' | 'Seen'> {
  DeploymentId: string;
  Outcome?: NodeOutcome;
  RolloutNumber?: number;
  At?: string;
  /** Since when Systems Manager does not list it with the tag. */
  MissingSince?: string;
  /** The last rollout in which it was the canary. */
  CanaryAt?: number;
  Serves?: Serves;
  /** Since when it cannot be served for a reason of its own, and when people were told of that last. */
  Refusal?: { Since: string; ToldAt?: string };
  /** Where it does not serve what was installed. */
  Finding?: Finding;
  /** What the last dry run found, beside what is installed; a node that has only this has no Outcome. */
  DryRun?: { Outcome: NodeOutcome; Error?: string; Note?: string; At: string; RolloutNumber: number };
}

/** Input of the state machine: ids only, as its history is kept for 90 days, and as the record says all else. */
export interface RolloutInput {
  DeploymentId: string;
  RolloutNumber: number;
  /** How long the state machine waits before it does anything; 0 where a person waits for the rollout. */
  StartDelaySeconds: number;
}

const sha256 = (...parts: string[]) => createHash('sha256').update(parts.join('\0')).digest('hex');

/** Two orders for the same name on the same nodes are the same deployment, whatever the certificate. */
export function deploymentIdOf(target: Target, certName: string): string {
  const { TargetAccount, TargetRegion, TargetTagKey, TargetTagValue } = target;
  return sha256(TargetAccount, TargetRegion, TargetTagKey, TargetTagValue, certName).slice(0, 24);
}

/**
 * Version id of a bundle (its ClientRequestToken, 32–64 characters): from ARN, serial and what else is in it, so that
 * DescribeSecret alone shows whether the version is stored and nothing needs to read it.
 *
 * @param formats of the order; without any, the id is that of the editions before.
 */
export function versionIdOf(
  certificateArn: string,
  serial: string,
  formats: Order['BundleFormats'] = [],
): string {
  return sha256(certificateArn, serial, ...formats.toSorted());
}

/** Name of the one execution that a rollout may have (at most 80 characters). */
export function executionNameOf(deploymentId: string, running: Running): string {
  const suffix = isDryRun(running) ? '-try' : '';
  return running.ExecutionName ?? `${deploymentId}-${running.RolloutNumber}${suffix}`;
}

/** ARN of the execution of a rollout, from the ARN of its state machine. */
export function executionArnOf(stateMachineArn: string, deploymentId: string, running: Running): string {
  const executions = stateMachineArn.replace(':stateMachine:', ':execution:');
  return `${executions}:${executionNameOf(deploymentId, running)}`;
}

/** The name that the first edition gave to an execution. */
export function firstEditionNameOf(deploymentId: string, serial: string, rolloutNumber: number): string {
  return `${deploymentId}-${serial.slice(0, 16)}-${rolloutNumber}`;
}

/** The deployment and rollout that an execution of either edition belongs to; undefined for a name that is not ours. */
export function parseExecutionName(
  name: string,
): { deploymentId: string; rolloutNumber: number } | undefined {
  const match = /^([0-9a-f]{24})-(?:[0-9a-f]{1,16}-)?([1-9][0-9]{0,14})(?:-try)?$/.exec(name);
  return match ? { deploymentId: match[1] as string, rolloutNumber: Number(match[2]) } : undefined;
}

export const isDryRun = ({ Cause }: { Cause: Cause }) => Cause === 'DRY_RUN';

/** Whether a rollout leaves Wanted, Observed and Status as they are. */
export const isAside = ({ Cause }: { Cause: Cause }) => Cause === 'DRY_RUN' || Cause === 'DRIFT';

/** Whether a node with this record holds the version that was stored last, as it said itself. */
export function isServed(record: NodeRecord | undefined, last: Observed | undefined): boolean {
  return holdsVersion(record?.Outcome) && record?.VersionId === last?.VersionId;
}

/** The order of a deployment, without what became of it. */
export function orderOf(deployment: Order): Order {
  const { CertName, CertificateArn, TargetAccount, TargetRegion, TargetTagKey, TargetTagValue } = deployment;
  const { Delivery, ReaderRoleArns, BundleFormats, Options, MaxConcurrency, MaxErrors, ExcludeNodeIds } =
    deployment;
  return {
    CertName,
    CertificateArn,
    TargetAccount,
    TargetRegion,
    TargetTagKey,
    TargetTagValue,
    Options,
    MaxConcurrency,
    MaxErrors,
    ExcludeNodeIds: ExcludeNodeIds ?? [],
    Delivery: Delivery ?? 'nodes',
    ...(ReaderRoleArns ? { ReaderRoleArns } : {}),
    ...(BundleFormats ? { BundleFormats } : {}),
  };
}

/** Name of the secret in the target account. The id at its end keeps targets apart. */
export function secretNameOf(prefix: string, deployment: { CertName: string; DeploymentId: string }): string {
  return `${prefix}/${deployment.CertName}/${deployment.DeploymentId}`;
}

/**
 * ACM, OpenSSL and node:crypto write serials differently; here: lower-case hex, whole bytes, without
 * separators and without the sign byte 00 that DER puts before a high first bit.
 */
export function normaliseSerial(serial: string): string {
  const digits = serial.replaceAll(/[^0-9a-f]/gi, '').toLowerCase();
  return digits.padStart(digits.length + (digits.length % 2), '0').replace(/^(00)+(?=..)/, '');
}

/** ISO 8601 in whole seconds, so that times sort as text. */
export function timestamp(date: Date): string {
  return `${date.toISOString().slice(0, 19)}Z`;
}
