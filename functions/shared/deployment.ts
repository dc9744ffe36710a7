import { createHash } from 'node:crypto';

/** Field names on the wire, in state input and in DynamoDB alike. */
export interface Target {
  TargetAccount: string;
  TargetRegion: string;
  TargetTagKey: string;
  TargetTagValue: string;
}

export interface InstallOptions {
  /** systemd units that are reloaded, in this order; at most five. */
  ReloadServices: string[];
  /** systemd units that are restarted after the reloads, in this order; at most five, none of ReloadServices. */
  RestartServices: string[];
  /** Port on the node that must serve the new serial after the reload; 0 skips the check. */
  VerifyPort: number;
  KeyFormat: 'decrypted' | 'encrypted';
  ExtraFormats: ('combined-pem' | 'pkcs12')[];
  /** Octal mode of the key; absent: as found on the node, else 0600. */
  KeyMode?: '0400' | '0440' | '0600' | '0640' | undefined;
  /** Unix group of the key; absent: as found on the node, else root. */
  KeyGroup?: string | undefined;
}

/** The standing order: this certificate, under this name, on every node with this tag. */
export interface Order extends Target {
  /** secret: the bundle alone is stored and renewed, for readers that are no managed nodes. Absent: nodes. */
  Delivery?: 'nodes' | 'secret';
  /** Of delivery by secret: the roles that may read the bundle, instead of those with the tag. */
  ReaderRoleArns?: string[] | undefined;
  CertName: string;
  CertificateArn: string;
  Options: InstallOptions;
  /** Nodes at once, a number or a percentage, as in Run Command. */
  MaxConcurrency: string;
  /** Failed nodes after which no further node is started, a number or a percentage. */
  MaxErrors: string;
}

export const STATUSES = ['ROLLING_OUT', 'INSTALLED', 'WAITING', 'DEGRADED', 'FAILED', 'DELETING'] as const;
export type Status = (typeof STATUSES)[number];

export type Cause = 'REQUEST' | 'RENEWAL' | 'RECONCILE' | 'DRY_RUN';

/** What a rollout is to do. */
export interface RolloutOrder {
  CertificateArn: string;
  Serial: string;
  Cause: Cause;
  CorrelationId: string;
}

/** How nodes are installed. */
export type InstallSettings = Pick<Order, 'Options' | 'MaxConcurrency' | 'MaxErrors'>;

/** A claim: the one rollout that may run now. Times are ISO 8601. */
export interface Claim extends RolloutOrder {
  /** Of a dry run only: the settings that it tries, which are not (yet) the deployment's. */
  Trial?: InstallSettings;
  ClaimedAt: string;
  /** Seconds until its turn, counted from the start of the execution; absent: none. */
  StartDelaySeconds?: number;
  /** Absent until the start was heard: until then anybody may start the execution, which has one name only. */
  StartedAt?: string;
  AutomationExecutionId?: string;
}

export interface LastRollout {
  Number: number;
  Serial: string;
  Cause: Cause;
  CorrelationId: string;
  ExecutionArn: string;
  Status: Status;
  Error?: string;
  At: string;
}

export interface Deployment extends Order {
  DeploymentId: string;
  Status: Status;
  /** Since when somebody has paused it: nothing is started for it, by whatever cause, until it is resumed. */
  PausedAt?: string;
  /** True while only dry runs were asked for: nothing is installed by itself. */
  DryRunOnly?: boolean;
  /** From a POST until a rollout did not fail: its bundle may be restored where it is scheduled for deletion. */
  RestoreBundle?: boolean;
  /** Counts rollouts; never goes back. With `Rollout` present it is the number of the running one. */
  RolloutNumber: number;
  Rollout?: Claim;
  /** What arrived while a rollout was running: started when that ends. */
  Pending?: RolloutOrder;
  /** The last rollout that was no dry run. */
  LastRollout?: LastRollout;
  LastDryRun?: LastRollout;
  /** Rollouts that failed since the last one that did not. */
  Failures?: number;
  /** When the first of these failed. ISO 8601. */
  FailingSince?: string;
  /** Serial, version and expiry of what the nodes serve. While none serves it, NotAfter is of what is ready. */
  Serial?: string;
  VersionId?: string;
  NotAfter: string;
  LastError?: string;
  /** The last alert, in days before the expiry, for the version that expires at NotAfter. */
  ExpiryAlert?: { NotAfter: string; Days: number };
  /** When ACM was last asked, through the API, to renew the certificate. */
  RenewalRequestedAt?: string;
  CreatedAt: string;
  UpdatedAt: string;
}

/** Outcomes that the script reports, then those that only the centre can see. */
export type NodeOutcome =
  | 'installed'
  | 'unchanged'
  | 'rolled-back'
  | 'failed'
  | 'dry-run-passed'
  | 'offline'
  | 'unsupported'
  | 'not-reached';

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
}

export interface NodeRecord extends Omit<NodeResult, 'Outcome'> {
  DeploymentId: string;
  Outcome?: NodeOutcome;
  RolloutNumber?: number;
  At?: string;
  /** Since when Systems Manager does not list it with the tag. */
  MissingSince?: string;
  /** What the last dry run found, beside what is installed; a node that has only this has no Outcome. */
  DryRun?: { Outcome: NodeOutcome; Error?: string; Note?: string; At: string; RolloutNumber: number };
}

/** Input of the state machine: references only, as its history is kept for 90 days. */
export interface RolloutInput extends RolloutOrder {
  DeploymentId: string;
  RolloutNumber: number;
  CertName: string;
  /** How long the state machine waits before it does anything; 0 where somebody waits for the rollout. */
  StartDelaySeconds: number;
}

const sha256 = (...parts: string[]) => createHash('sha256').update(parts.join('\0')).digest('hex');

/** Two orders for the same name on the same nodes are the same deployment, whatever the certificate. */
export function deploymentIdOf(target: Target, certName: string): string {
  const { TargetAccount, TargetRegion, TargetTagKey, TargetTagValue } = target;
  return sha256(TargetAccount, TargetRegion, TargetTagKey, TargetTagValue, certName).slice(0, 24);
}

/**
 * Version id of a bundle (its ClientRequestToken, 32–64 characters): from ARN and serial, so that
 * DescribeSecret alone shows whether the version is stored and nothing needs to read it.
 */
export function versionIdOf(certificateArn: string, serial: string): string {
  return sha256(certificateArn, serial);
}

/** Name of the one execution that a claim may start (at most 80 characters). */
export function executionNameOf(deploymentId: string, serial: string, rolloutNumber: number): string {
  return `${deploymentId}-${serial.slice(0, 16)}-${rolloutNumber}`;
}

/** The deployment and rollout that an execution belongs to; undefined for a name that is not ours. */
export function parseExecutionName(
  name: string,
): { deploymentId: string; rolloutNumber: number } | undefined {
  const match = /^([0-9a-f]{24})-[0-9a-f]{1,16}-([1-9][0-9]*)$/.exec(name);
  return match ? { deploymentId: match[1] as string, rolloutNumber: Number(match[2]) } : undefined;
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
