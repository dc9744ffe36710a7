// What the API answers (docs/openapi.yaml), as far as the command reads it. Output as JSON has all of it.
import type { BundleFinding, Finding, NodeOutcome, Serves, Status } from '../functions/domain/deployment.ts';
import type { FlatOrder } from '../functions/domain/order.ts';

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
