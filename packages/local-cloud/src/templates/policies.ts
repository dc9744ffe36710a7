import type { PolicyDocument, Statement } from '../iam/evaluate.ts';
import { NotModelled } from '../iam/not-modelled.ts';
import type { Deployed, Resource } from './resolve-template.ts';
import type { Properties } from './sam.ts';

/** A role as a stack makes it. */
interface DeployedRole {
  logicalId: string;
  arn: string;
  name: string;
  tags: Record<string, string>;
  trustPolicy: PolicyDocument;
  /** From Policies, AWS::IAM::Policy and AWS::IAM::RolePolicy. */
  inlinePolicies: PolicyDocument[];
  /** Those of the stack are in managedPoliciesOf. */
  managedPolicyArns: string[];
}

/** A document may be given as JSON text: that is how CloudFormation takes computed condition keys. */
const documentOf = (value: unknown): PolicyDocument =>
  (typeof value === 'string' ? JSON.parse(value) : value) as PolicyDocument;

const ofType = ({ resources }: Deployed, type: string): [string, Resource][] =>
  [...resources].filter(([, resource]) => resource.type === type);

export function rolesOf(deployed: Deployed): DeployedRole[] {
  const attached = [...ofType(deployed, 'AWS::IAM::Policy'), ...ofType(deployed, 'AWS::IAM::RolePolicy')].map(
    ([, { properties }]) => properties,
  );
  const managed = ofType(deployed, 'AWS::IAM::ManagedPolicy');
  return ofType(deployed, 'AWS::IAM::Role').map(([logicalId, { physicalId: name, arn = '', properties }]) => {
    if (properties.PermissionsBoundary) throw new NotModelled(`${logicalId}: PermissionsBoundary`);
    const added = attached.filter(({ Roles, RoleName }) => (Roles ?? [RoleName]).includes(name));
    return {
      logicalId,
      arn,
      name,
      tags: Object.fromEntries(
        (properties.Tags ?? []).map(({ Key, Value }: Properties) => [Key, String(Value)]),
      ),
      trustPolicy: documentOf(properties.AssumeRolePolicyDocument),
      inlinePolicies: [...(properties.Policies ?? []), ...added].map(({ PolicyDocument }) =>
        documentOf(PolicyDocument),
      ),
      managedPolicyArns: [
        ...(properties.ManagedPolicyArns ?? []),
        ...managed
          .filter(([, policy]) => policy.properties.Roles?.includes(name))
          .map(([, policy]) => policy.physicalId),
      ],
    };
  });
}

/** ARN to document. */
export function managedPoliciesOf(deployed: Deployed): Map<string, PolicyDocument> {
  return new Map(
    ofType(deployed, 'AWS::IAM::ManagedPolicy').map(([, { physicalId, properties }]) => [
      physicalId,
      documentOf(properties.PolicyDocument),
    ]),
  );
}

/**
 * The resource-based policies of a stack by the ARN of what they guard: functions (from Lambda permissions),
 * queues, topics.
 */
export function resourcePoliciesOf(deployed: Deployed): Map<string, PolicyDocument> {
  const statements = new Map<string, Statement[]>();
  const add = (arn: string, more: Statement[]) =>
    statements.set(arn, [...(statements.get(arn) ?? []), ...more]);
  for (const [logicalId, { properties }] of ofType(deployed, 'AWS::Lambda::Permission')) {
    const arn = functionArn(deployed, properties.FunctionName);
    add(arn, [permissionStatement(logicalId, properties, arn)]);
  }
  for (const [, { properties }] of ofType(deployed, 'AWS::SQS::QueuePolicy')) {
    for (const url of properties.Queues) add(queueArn(deployed, url), statementsIn(properties));
  }
  for (const [, { properties }] of ofType(deployed, 'AWS::SNS::TopicPolicy')) {
    for (const arn of properties.Topics) add(arn, statementsIn(properties));
  }
  return new Map([...statements].map(([arn, Statement]) => [arn, { Version: '2012-10-17', Statement }]));
}

const statementsIn = ({ PolicyDocument }: Properties): Statement[] =>
  [documentOf(PolicyDocument).Statement].flat();

function functionArn({ partition, region, account }: Deployed, name: string): string {
  return name.startsWith('arn:') ? name : `arn:${partition}:lambda:${region}:${account}:function:${name}`;
}

function queueArn(deployed: Deployed, url: string): string {
  const found = ofType(deployed, 'AWS::SQS::Queue').find(([, { physicalId }]) => physicalId === url);
  if (!found?.[1].arn) throw new NotModelled(`queue policy for ${url}, which is not a queue of the stack`);
  return found[1].arn;
}

/**
 * The statement that AddPermission writes into a function's policy (Lambda API reference; Lambda Developer Guide,
 * "Granting Lambda function access to AWS services").
 */
function permissionStatement(Sid: string, properties: Properties, Resource: string): Statement {
  const { Action, Principal, SourceArn, SourceAccount, ...others } = properties;
  const unknown = Object.keys(others).find((key) => key !== 'FunctionName');
  if (unknown) throw new NotModelled(`Lambda permission ${Sid}: ${unknown}`);
  return {
    Sid,
    Effect: 'Allow',
    Principal: /\.amazonaws\.com(\.cn)?$/.test(Principal) ? { Service: Principal } : { AWS: Principal },
    Action,
    Resource,
    Condition: {
      ...(SourceArn && { ArnLike: { 'aws:SourceArn': SourceArn } }),
      ...(SourceAccount && { StringEquals: { 'aws:SourceAccount': SourceAccount } }),
    },
  };
}
