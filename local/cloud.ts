import type { AccessRequest, Decision, PolicyDocument } from './iam/evaluate.ts';
import { NotModelled } from './iam/not-modelled.ts';
import type { NodeSpec } from './node/types.ts';
import type { Deployed, Resource } from './templates/resolve-template.ts';

export interface CloudOptions {
  /** Default aws. */
  partition?: string;
  /**
   * Real seconds that one second of a wait takes (state machine waits, retry intervals, Lambda and event
   * retries, quota refill). Default 1; tests use 0.01. Clock times themselves are never scaled.
   */
  timeScale?: number;
  /** Request quotas such as one StartAutomationExecution a second. Default true. */
  quotas?: boolean;
  /** Called with one line for whatever a person watching wants to see. */
  log?: (line: string) => void;
  /** Where `make build` put functions/ and layer/. Default: build/ in the project. */
  buildFolder?: string;
  /** Default 0: a free port of 127.0.0.1. */
  port?: number;
}

/** Somebody with credentials: a user, a role session. */
export interface Identity {
  account: string;
  /** ARN as sts:GetCallerIdentity gives it. */
  arn: string;
  credentials: { accessKeyId: string; secretAccessKey: string; sessionToken?: string; expiration?: Date };
}

/** For every client of the AWS SDK: `new ACMClient(cloud.clientConfig(identity, 'eu-west-1'))`. */
export interface ClientConfig {
  endpoint: string;
  region: string;
  credentials: Identity['credentials'];
}

export interface Clock {
  now(): Date;
  /** Moves the clock forward; whatever was to happen until then (waits, schedules, expiries) happens. */
  advance(milliseconds: number): void;
  /** Resolves when that much time has passed on this clock, scaled by timeScale, or when it was advanced. */
  sleep(milliseconds: number, signal?: AbortSignal): Promise<void>;
}

export type FaultKind =
  /** Refused with the service's throttling error; no effect. */
  | 'throttle'
  /** Answered with the service's internal error; no effect. */
  | 'server-error'
  /** The request is lost: the connection closes without an answer; no effect. */
  | 'timeout'
  /** The effect happens, the answer is lost: the connection closes without one. */
  | 'answer-lost'
  /** The calling function's process ends before the effect. Of other callers: as timeout. */
  | 'crash-before-effect'
  /** The effect happens, then the calling function's process ends. Of other callers: as answer-lost. */
  | 'crash-after-effect';

export interface Fault {
  /** As in `RecordedCall.operation`: `CertificateManager.ExportCertificate`. */
  operation: string;
  kind: FaultKind;
  /** Default 1. The SDK's own retries count as calls. */
  times?: number;
  when?: (call: { input: unknown; account: string; region: string; source: string }) => boolean;
}

export interface Faults {
  inject(fault: Fault): { readonly left: number; remove(): void };
  clear(): void;
}

/** One API call as it was decided and answered. */
export interface RecordedCall {
  at: string;
  /** X-Amz-Target of JSON protocols, `<service>.<Operation>` of the others. */
  operation: string;
  /** Account of the caller. */
  account: string;
  region: string;
  principalArn: string;
  sessionArn?: string;
  /** `function <name>`, `node <id>`, `automation <id>`, `state machine <name>`, `aws <service>` or `client`. */
  source: string;
  input: unknown;
  /** Every access request of the call with the principal it was evaluated for; see local/iam. */
  decisions: { request: AccessRequest; decision: Decision }[];
  /** 200, or the HTTP status of the error. */
  status: number;
  /** The error's code. */
  error?: string;
  output?: unknown;
}

export type Channel =
  | 'function-log'
  | 'function-payload'
  | 'trace'
  | 'state-machine'
  | 'api-request'
  | 'api-answer'
  | 'event'
  | 'dead-letter'
  | 'sns-message'
  | 'ssm-parameters'
  | 'ssm-output'
  | 'dynamodb-write';

/** Bytes that left a function or a node by a channel other than the bundle itself. */
export interface Emission {
  at: string;
  channel: Channel;
  /** Who sent it, as in `RecordedCall.source`. */
  source: string;
  text: string;
}

export interface Recording {
  readonly calls: RecordedCall[];
  readonly emissions: Emission[];
  /** Calls of one operation, by its last part (`ExportCertificate`) or whole. */
  callsOf(operation: string): RecordedCall[];
  emissionsOf(channel: Channel): Emission[];
  clear(): void;
}

export interface Stack {
  account: string;
  region: string;
  deployed: Deployed;
  /** Throws when the template has no such logical id. */
  resource(logicalId: string): Resource;
  output(name: string): string;
}

export interface CentralStack extends Stack {
  /** `<endpoint>/<stage>`: routes follow. */
  apiUrl: string;
  stateMachineArn: string;
}

export interface DeployOptions {
  account: string;
  region: string;
  stackName?: string;
  parameters?: Record<string, string | number>;
  /** Default: template.yaml or member-account.yaml of the project. */
  template?: string;
  /** Changes what was resolved before anything is created, for example removes a statement of a policy. */
  amend?: (deployed: Deployed) => void;
}

export interface NodeOptions {
  /** Default: random; `mi-…` makes a hybrid node. */
  id?: NodeSpec['id'];
  kind?: 'ec2' | 'hybrid';
  /** Of the instance (EC2) or of the managed instance (hybrid). */
  tags?: Record<string, string>;
  /** Of the node's role. Default: the same as `tags`, as the README tells to do. */
  roleTags?: Record<string, string>;
  /** Managed policies of the node's role. Default: every read-bundle policy deployed there. */
  managedPolicyArns?: string[];
  inlinePolicies?: PolicyDocument[];
  platform?: NodeSpec['platform'];
  agentVersion?: string;
  online?: boolean;
}

export interface CloudNode {
  id: NodeSpec['id'];
  account: string;
  region: string;
  /** What the agent works with; `root` is the folder that stands for `/`. */
  spec: NodeSpec;
  roleArn: string;
  /** The node's own credentials, for calls that an intruder on the node would try. */
  identity(): Identity;
  setOnline(online: boolean): void;
  setTags(tags: Record<string, string>): void;
  /** Ends the node: it is no longer listed by SSM. */
  terminate(): Promise<void>;
}

export interface Cloud {
  /** `http://127.0.0.1:<port>`: every service and the API. */
  endpoint: string;
  /** Work folder, mode 0700, removed by stop(). */
  folder: string;
  clock: Clock;
  faults: Faults;
  record: Recording;
  clientConfig(identity: Identity, region: string): ClientConfig;
  deployCentral(options: DeployOptions): Promise<CentralStack>;
  deployMember(options: DeployOptions): Promise<Stack>;
  /** A user that may request, tag, describe, renew and revoke certificates, not export them. */
  createCertificateAdmin(account: string): Identity;
  /** A user with these policies: callers of the API, attackers. */
  createUser(
    account: string,
    name: string,
    policies: PolicyDocument[],
    tags?: Record<string, string>,
  ): Identity;
  createNode(account: string, region: string, options?: NodeOptions): Promise<CloudNode>;
  nodes(): CloudNode[];
  /** One SigV4-signed request to the API. */
  fetchSigned(
    identity: Identity,
    region: string,
    url: string,
    init?: { method?: string; body?: string; headers?: Record<string, string> },
  ): Promise<Response>;
  /** Resolves when no execution, invocation, automation or event delivery is under way. */
  idle(): Promise<void>;
  /** Ends every process and worker and removes the folder. Safe to call twice; also done on exit and signals. */
  stop(): Promise<void>;
}

export async function startCloud(_options: CloudOptions = {}): Promise<Cloud> {
  throw new NotModelled('startCloud');
}
