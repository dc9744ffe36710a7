import type { AccessRequest, PolicyDocument } from './evaluate.ts';
import { NotModelled } from './not-modelled.ts';

export { NotModelled } from './not-modelled.ts';

type Tags = Record<string, string>;

export interface Caller {
  account: string;
  region: string;
  partition?: string;
}

/** What a decision needs to know of the resources. Lookups accept what the API accepts (name, id or ARN). */
export interface ResourceState {
  secret(account: string, region: string, idOrArn: string): SecretState | undefined;
  certificate(account: string, region: string, arn: string): CertificateState | undefined;
  node(account: string, region: string, nodeId: string): TaggedState | undefined;
  /** Nodes whose tag `key` has one of the values; no values: any value. */
  nodesByTag(account: string, region: string, key: string, values: string[]): TaggedState[];
  document(account: string, region: string, nameOrArn: string): DocumentState | undefined;
  automationExecution(account: string, region: string, id: string): AutomationExecutionState | undefined;
  role(arn: string): RoleState | undefined;
  /** A Lambda function, SNS topic, SQS queue, state machine, table, event bus or REST API, by ARN. */
  resource(arn: string): PolicedState | undefined;
}

export interface TaggedState {
  arn: string;
  tags: Tags;
}
export interface PolicedState extends TaggedState {
  policy?: PolicyDocument;
}
export interface SecretState extends PolicedState {
  name: string;
}
export interface CertificateState extends TaggedState {
  domainNames: string[];
  keyAlgorithm: string;
}
export interface DocumentState extends TaggedState {
  type: 'Automation' | 'Command';
  /** Literal ARN in the content's assumeRole (Automation). */
  assumeRole?: string;
}
export interface AutomationExecutionState extends TaggedState {
  documentArn: string;
}
export interface RoleState extends TaggedState {
  account: string;
  trustPolicy: PolicyDocument;
}

export interface OperationRow {
  /** As on the wire: the X-Amz-Target of JSON protocols, `<service>.<Operation>` of the others. */
  operation: string;
  /** The AWS documentation page this row was read from; UNCONFIRMED where a part was not found there. */
  source: string;
  /** All must be allowed. No entry: AWS authorizes the call without a policy. */
  checks(input: any, caller: Caller, state: ResourceState): AccessRequest[];
}

export const operations: OperationRow[] = [];

/**
 * The access requests of one API call: every one must be allowed for the call to be allowed.
 * Throws NotModelled for an operation that is not in the table.
 */
export function accessRequests(
  operation: string,
  input: unknown,
  caller: Caller,
  state: ResourceState,
): AccessRequest[] {
  const row = operations.find((candidate) => candidate.operation === operation);
  if (!row) throw new NotModelled(`operation ${operation} is not in local/iam/operations.ts`);
  return row.checks(input, caller, state);
}
