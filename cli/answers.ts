// What the API answers (docs/openapi.yaml), as far as the command reads it. Output as JSON has all of it.
import type {
  KEY_ALGORITHMS,
  RequestStatus,
  ValidationRecord,
} from '../functions/domain/certificate-request.ts';
import type { BundleFinding, Finding, NodeOutcome, Serves, Status } from '../functions/domain/deployment.ts';
import type { FlatOrder, Target } from '../functions/domain/order.ts';

export interface Ended {
  Number: number;
  Serial: string;
  Cause: string;
  CorrelationId: string;
  ExecutionArn: string;
  Status: Status;
  Error?: string;
  At: string;
}

export interface Trial {
  RolloutNumber: number;
  Status: 'RUNNING' | 'PASSED' | 'FAILED';
  Error?: string;
  At: string;
}

export interface Node {
  NodeId: string;
  Outcome?: NodeOutcome;
  Serial?: string;
  RolloutNumber?: number;
  ExitCode?: number;
  Step?: string;
  Error?: string;
  Note?: string;
  At?: string;
  MissingSince?: string;
  Serves?: Serves;
  Finding?: Finding;
  DryRun?: { Outcome: NodeOutcome; Error?: string; Note?: string; At: string; RolloutNumber: number };
}

export interface Deployment extends FlatOrder {
  DeploymentId: string;
  Status: Status;
  Seen?: 'port' | 'files';
  PausedAt?: string;
  RolloutNumber: number;
  Reason: string;
  NextAttemptAt?: string;
  Rollout?: { Cause: string; Serial: string; ClaimedAt: string; StartedAt?: string };
  Pending?: { Serial: string; Cause: string };
  LastRollout?: Ended;
  LastTrial?: Trial;
  Failures?: number;
  FailingSince?: string;
  Serial?: string;
  EarliestNotAfter: string;
  EarliestNodeId?: string;
  LastError?: string;
  MissingReaderRoleArns?: string[];
  BundleFinding?: BundleFinding;
  CreatedAt: string;
  UpdatedAt: string;
}

export interface DeploymentWithNodes extends Deployment {
  Nodes: Node[];
  /** Where only the first page of nodes was read. */
  NextToken?: string;
}

export interface Started extends FlatOrder {
  DeploymentId: string;
  Serial: string;
  RolloutNumber?: number;
  Warnings: string[];
}

export interface FreezeState {
  Frozen: boolean;
  /** False where the parameter RolloutsEnabled stops everything, frozen or not. */
  RolloutsEnabled: boolean;
  FrozenAt?: string;
  FrozenBy?: string;
  Reason?: string;
  ThawedAt?: string;
  ThawedBy?: string;
}

export interface Endpoint {
  Account: string;
  Region: string;
  NodeId: string;
  Port: number;
  Serial: string;
  NotAfter: string;
  Issuer: string;
  Subject: string;
  Since: string;
}

/** A record that ACM asks for, and what was done about it. */
export interface RecordState extends ValidationRecord {
  HostedZoneId?: string;
  Account?: string;
  WrittenAt?: string;
  /** When all name servers of Route 53 had it. */
  InSyncAt?: string;
}

/** The certificate request of a name: what GET and POST /certificates/{CertName} answer. */
export interface RequestState {
  CertName: string;
  Status: RequestStatus | 'DRY_RUN';
  Reason: string;
  NextAttemptAt?: string;
  RequestNumber?: number;
  ExecutionArn?: string;
  CertificateArn?: string;
  DomainNames: string[];
  KeyAlgorithm: (typeof KEY_ALGORITHMS)[number];
  Tags: Record<string, string>;
  /** Absent until ACM says which records it wants. */
  Records?: RecordState[];
  /** Each with the id under which it is registered once the certificate is issued. */
  Deployments?: (Target & { DeploymentId: string })[];
  /** Of a dry run: the zones that would get the records. */
  Zones?: { DomainName: string; HostedZoneId: string; Account: string }[];
  /** Why it failed; of one that is DONE, which deployments were refused. */
  Error?: string;
  CreatedAt?: string;
  UpdatedAt?: string;
  Warnings?: string[];
}
