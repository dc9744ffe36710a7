import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { PolicyDocument, Statement } from 'local-cloud/iam';
import { type Deployed, parseTemplate, type Resource, resolveTemplate } from 'local-cloud/templates';

export const ROOT = path.resolve(import.meta.dirname, '../..');

export const CENTRAL = { account: '111122223333', region: 'eu-central-1' };
export const MEMBER = { account: '444455556666', region: 'eu-west-1' };
export const EXTERNAL_ID = 'only-for-these-tests';

type Parameters = Record<string, string>;

/** template.yaml as it would be deployed; parameters that are not given have their defaults. */
export function centralStack(parameters: Parameters = {}, place = CENTRAL): Deployed {
  return resolveTemplate(path.join(ROOT, 'template.yaml'), {
    ...place,
    stackName: 'acm-export',
    parameters: { ExternalId: EXTERNAL_ID, ...parameters },
  });
}

/** member-account.yaml as it would be deployed for that central stack. */
export function memberStack(parameters: Parameters = {}, place = MEMBER): Deployed {
  return resolveTemplate(path.join(ROOT, 'member-account.yaml'), {
    ...place,
    stackName: 'acm-export-member',
    parameters: {
      CentralAccountId: CENTRAL.account,
      CentralRegion: CENTRAL.region,
      ExternalId: EXTERNAL_ID,
      ...parameters,
    },
  });
}

export const DNS = { account: '777788889999', region: 'us-east-1' };
export const ZONE = 'arn:aws:route53:::hostedzone/Z0123456789ABCDEFGHIJ';
export const OTHER_ZONE = 'arn:aws:route53:::hostedzone/Z2';

/** dns-account.yaml as it would be deployed for that central stack, with two hosted zones. */
export function dnsStack(parameters: Parameters = {}, place = DNS): Deployed {
  return resolveTemplate(path.join(ROOT, 'dns-account.yaml'), {
    ...place,
    stackName: 'acm-export-dns',
    parameters: {
      CentralAccountId: CENTRAL.account,
      CentralRegion: CENTRAL.region,
      ExternalId: EXTERNAL_ID,
      HostedZoneArns: `${ZONE},${OTHER_ZONE}`,
      ...parameters,
    },
  });
}

export const API_URL = 'https://abcde12345.execute-api.eu-central-1.amazonaws.com/v1';

/** deployment-resource.yaml as it would be deployed beside that central stack. */
export function resourceStack(parameters: Parameters = {}, place = CENTRAL): Deployed {
  return resolveTemplate(path.join(ROOT, 'deployment-resource.yaml'), {
    ...place,
    stackName: 'acm-export-deployment-resource',
    parameters: { CertNames: 'web,team-*', DeploymentsApiUrl: API_URL, ...parameters },
  });
}

/** The role in the central account for an application elsewhere. */
export function callerRoleStack(parameters: Parameters = {}): Deployed {
  return resolveTemplate(path.join(ROOT, 'docs/examples/deployment-caller-role.yaml'), {
    ...CENTRAL,
    stackName: 'shop-caller-role',
    parameters: {
      CertNames: 'web,team-*',
      DeploymentsApiUrl: API_URL,
      FunctionRoleName: 'acm-export-provide-deployment-eu-west-1',
      FunctionAccountId: MEMBER.account,
      ExternalId: EXTERNAL_ID,
      ...parameters,
    },
  });
}

/** A template as it is written, its short tags as long ones. */
// biome-ignore lint/suspicious/noExplicitAny: a template, different for each type
export function writtenTemplate(file: string): Record<string, any> {
  // biome-ignore lint/suspicious/noExplicitAny: as above
  return parseTemplate(readFileSync(path.join(ROOT, file), 'utf8'), file) as Record<string, any>;
}

export const textOf = (file: string) => readFileSync(path.join(ROOT, file), 'utf8');

export function resourcesOf(stack: Deployed, type: string): [string, Resource][] {
  return [...stack.resources].filter(([, resource]) => resource.type === type);
}

export function resourceOf(stack: Deployed, logicalId: string): Resource {
  const resource = stack.resources.get(logicalId);
  if (!resource) {
    throw new Error(`no ${logicalId} in the stack`);
  }
  return resource;
}

/** The policies of a role as it is deployed. */
export function policiesOf(role: Resource): PolicyDocument[] {
  return (role.properties.Policies ?? []).map(
    (policy: { PolicyDocument: PolicyDocument }) => policy.PolicyDocument,
  );
}

/** A policy document, which may be text, as CloudFormation takes both. */
export function documentOf(value: unknown): PolicyDocument {
  return (typeof value === 'string' ? JSON.parse(value) : value) as PolicyDocument;
}

export interface PlacedStatement {
  /** Logical id of the role, policy or queue policy. */
  where: string;
  kind: 'identity' | 'trust' | 'resource';
  statement: Statement;
}

/** Every statement of every policy in a stack. */
export function statementsOf(stack: Deployed): PlacedStatement[] {
  const place = (where: string, kind: PlacedStatement['kind'], document: unknown): PlacedStatement[] =>
    [documentOf(document).Statement].flat().map((statement) => ({ where, kind, statement }));
  return [...stack.resources].flatMap(([where, { type, properties }]) => {
    switch (type) {
      case 'AWS::IAM::Role':
        return [
          ...place(where, 'trust', properties.AssumeRolePolicyDocument),
          ...(properties.Policies ?? []).flatMap((policy: { PolicyDocument: unknown }) =>
            place(where, 'identity', policy.PolicyDocument),
          ),
        ];
      case 'AWS::IAM::ManagedPolicy':
        return place(where, 'identity', properties.PolicyDocument);
      case 'AWS::SQS::QueuePolicy':
      case 'AWS::SNS::TopicPolicy':
        return place(where, 'resource', properties.PolicyDocument);
      default:
        return [];
    }
  });
}
