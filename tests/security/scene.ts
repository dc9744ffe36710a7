import type { Cloud, CloudNode, Identity } from 'local-cloud';
import type { PolicyDocument } from 'local-cloud/iam';
import { CENTRAL, MEMBER, requestCertificate } from '../../local/example-fleet.ts';
import { type Flows, functionRole, roleIdentity } from './flows.ts';
import { callAws } from './signed-calls.ts';

/** An account of nobody whom this system knows. */
export const STRANGER = '999988887777';
export const EXTERNAL_ID = 'local-cloud-external-id';

export const allow = (Action: string | string[], Resource: string | string[] = '*'): PolicyDocument => ({
  Version: '2012-10-17',
  Statement: [{ Effect: 'Allow', Action, Resource }],
});

/** Who and what attacks need beside the system itself. Everything here is an intruder or bait. */
export interface Scene {
  cloud: Cloud;
  flows: Flows;
  /** Secret names in the central account, which is a member too. */
  bundle: string;
  hybridBundle: string;
  /** `env=prod`, `acm-export=prod`, `team=prod`, below the prefix, without a resource policy, with a value. */
  unguarded: string;
  /** The same outside the prefix. */
  database: string;
  /** Below the prefix, opened to the rollout role by itself. */
  opened: string;
  /** A certificate without any CertName tag, and one that allows another name. */
  untaggedArn: string;
  paymentsArn: string;
  /** Allows `web`, in a Region where the stack is not. */
  farArn: string;
  /** Roles with all three tags: `dev`, `prod`. */
  devNode: CloudNode;
  prodNode: CloudNode;
  untaggedNode: CloudNode;
  upperCaseNode: CloudNode;
  otherKeyNode: CloudNode;
  stranger: Identity;
  /** A role in the stranger's account that is called like one of the central functions. */
  impostor: Identity;
  functions: Record<
    | 'deployments-api'
    | 'export-certificate'
    | 'start-installation'
    | 'check-installation'
    | 'rollout-ended'
    | 'report-certificate-notice'
    | 'handle-renewal'
    | 'reconcile',
    Identity
  >;
  /** The rollout role of the central account as each function takes it on: limited to what it does there. */
  sessions: Record<
    'deployments-api' | 'export-certificate' | 'start-installation' | 'check-installation' | 'reconcile',
    Identity
  >;
  /** One that deployments-api opened to look whether readers exist. */
  findingReaders: Identity;
  /** Sessions of the rollout role of the central account, without a session policy and with reconcile's. */
  rollout: Identity;
  /** Could call the API an hour ago. */
  expired: Identity;
  narrowed: Identity;
  widened: Identity;
  automation: Identity;
  stateMachine: Identity;
  schedule: Identity;
}

export const ROLLOUT_ROLE = `arn:aws:iam::${CENTRAL.account}:role/acm-export-rollout-${CENTRAL.region}`;
export const MEMBER_ROLLOUT_ROLE = `arn:aws:iam::${MEMBER.account}:role/acm-export-rollout-${MEMBER.region}`;
export const AUTOMATION_ROLE = `arn:aws:iam::${CENTRAL.account}:role/acm-export-automation-${CENTRAL.region}`;

/** One AssumeRole over the wire; throws when it is refused. */
export async function assumeRole(
  cloud: Cloud,
  by: Identity,
  input: { RoleArn: string; ExternalId?: string; Policy?: string },
): Promise<Identity> {
  const answer = await callAws(cloud, by, CENTRAL.region, 'sts.AssumeRole', {
    RoleSessionName: 'intruder',
    ...input,
  });
  const field = (name: string) => new RegExp(`<${name}>([^<]+)</${name}>`).exec(answer.body)?.[1] ?? '';
  if (answer.error) {
    throw new Error(`${answer.error}: ${answer.body}`);
  }
  return {
    account: input.RoleArn.split(':')[4] ?? '',
    arn: field('Arn'),
    credentials: {
      accessKeyId: field('AccessKeyId'),
      secretAccessKey: field('SecretAccessKey'),
      sessionToken: field('SessionToken'),
    },
  };
}

export async function setScene(flows: Flows): Promise<Scene> {
  const { cloud, site } = flows;
  const { administrator } = site;
  const { identities } = cloud.services;
  const node = (roleTags: Record<string, string>, tags = {}) =>
    cloud.createNode(CENTRAL.account, CENTRAL.region, { tags, roleTags });
  const everyKey = (value: string) => ({ env: value, 'acm-export': value, team: value });
  const secret = async (Name: string) => {
    const Tags = ['env', 'acm-export', 'team'].map((Key) => ({ Key, Value: 'prod' }));
    const input = { Name, Tags, SecretString: 'bait', ClientRequestToken: 'b'.repeat(32) };
    const answer = await callAws(cloud, administrator, CENTRAL.region, 'secretsmanager.CreateSecret', input);
    if (answer.error) {
      throw new Error(answer.body);
    }
    return Name;
  };
  const untaggedArn = await requestCertificate(site, 'unused', ['untagged.example.com']);
  cloud.services.acm.certificate(untaggedArn).tags = {};
  const paymentsArn = await requestCertificate(site, 'payments', ['pay.example.com']);
  const far = await callAws(cloud, administrator, 'us-east-1', 'CertificateManager.RequestCertificate', {
    DomainName: 'far.example.com',
    ValidationMethod: 'DNS',
    Options: { Export: 'ENABLED' },
    Tags: [{ Key: 'CertName', Value: 'web' }],
  });
  const everybody = { AWS: '*' };
  identities.createRole(STRANGER, {
    name: `acm-export-reconcile-${CENTRAL.region}`,
    trustPolicy: {
      Version: '2012-10-17',
      Statement: [{ Effect: 'Allow', Principal: everybody, Action: 'sts:AssumeRole' }],
    },
    inlinePolicies: [allow('*')],
  });
  // Waits for bundles of others: it trusts all callers.
  identities.createRole(STRANGER, {
    name: `acm-export-rollout-${CENTRAL.region}`,
    trustPolicy: {
      Version: '2012-10-17',
      Statement: [{ Effect: 'Allow', Principal: everybody, Action: 'sts:AssumeRole' }],
    },
    inlinePolicies: [allow('*')],
  });
  // A role in a target account that any role of the central account may take on, which is not for this system.
  identities.createRole(MEMBER.account, {
    name: 'administrator',
    trustPolicy: {
      Version: '2012-10-17',
      Statement: [
        {
          Effect: 'Allow',
          Principal: { AWS: `arn:aws:iam::${CENTRAL.account}:root` },
          Action: 'sts:AssumeRole',
        },
      ],
    },
    inlinePolicies: [allow('*')],
  });
  const stranger = cloud.createUser(STRANGER, 'stranger', [allow('*')]);
  const impostor = await assumeRole(cloud, stranger, {
    RoleArn: `arn:aws:iam::${STRANGER}:role/acm-export-reconcile-${CENTRAL.region}`,
  });
  const lambda = (name: string) => roleIdentity(cloud, functionRole(name), 'lambda.amazonaws.com');
  const functions = {
    'deployments-api': lambda('deployments-api'),
    'export-certificate': lambda('export-certificate'),
    'start-installation': lambda('start-installation'),
    'check-installation': lambda('check-installation'),
    'rollout-ended': lambda('rollout-ended'),
    'report-certificate-notice': lambda('report-certificate-notice'),
    'handle-renewal': lambda('handle-renewal'),
    reconcile: lambda('reconcile'),
  };
  const byExport = (Policy?: PolicyDocument) =>
    assumeRole(cloud, functions['export-certificate'], {
      RoleArn: ROLLOUT_ROLE,
      ExternalId: EXTERNAL_ID,
      ...(Policy ? { Policy: JSON.stringify(Policy) } : {}),
    });
  const rollout = await byExport();
  /** @param purpose a word of the session policy. */
  const asIn = (name: keyof Scene['sessions'], purpose = '') => {
    const [assumed] = cloud.record
      .callsOf('AssumeRole')
      .filter(({ source }) => source === `function acm-export-${name}`)
      .map(({ input }) => input as { RoleArn: string; Policy: string })
      .filter(({ RoleArn, Policy }) => RoleArn === ROLLOUT_ROLE && Policy.includes(purpose));
    const { Policy = '' } = assumed ?? {};
    return assumeRole(cloud, functions[name], { RoleArn: ROLLOUT_ROLE, ExternalId: EXTERNAL_ID, Policy });
  };
  const opened = await secret('acm-export/opened');
  const granted = await callAws(cloud, rollout, CENTRAL.region, 'secretsmanager.PutResourcePolicy', {
    SecretId: opened,
    BlockPublicPolicy: true,
    ResourcePolicy: JSON.stringify({
      Version: '2012-10-17',
      Statement: [
        {
          Effect: 'Allow',
          Principal: { AWS: ROLLOUT_ROLE },
          Action: 'secretsmanager:GetSecretValue',
          Resource: '*',
        },
      ],
    }),
  });
  if (granted.error) {
    throw new Error(granted.body);
  }
  const source = (arn: string) => ({ 'aws:SourceAccount': CENTRAL.account, 'aws:SourceArn': arn });
  const session = { name: 'intruder', seconds: 3600, source: 'intruder' };
  const caller = identities.createRole(CENTRAL.account, {
    name: 'caller',
    trustPolicy: { Version: '2012-10-17', Statement: [] },
    inlinePolicies: [allow('execute-api:Invoke')],
  });
  const expired = identities.openSession(caller, { ...session, seconds: -1 });
  const here = `${CENTRAL.region}:${CENTRAL.account}`;
  return {
    cloud,
    flows,
    bundle: `acm-export/web/${flows.productionId}`,
    hybridBundle: `acm-export/web/${flows.hybridId}`,
    unguarded: await secret('acm-export/unguarded'),
    database: await secret('payments/database'),
    opened,
    untaggedArn,
    paymentsArn,
    farArn: JSON.parse(far.body).CertificateArn,
    devNode: await node(everyKey('dev')),
    prodNode: await node(everyKey('prod')),
    untaggedNode: await node({}, { env: 'prod' }),
    upperCaseNode: await node({ env: 'PROD' }),
    otherKeyNode: await node({ team: 'prod' }),
    stranger,
    impostor,
    functions,
    sessions: {
      'deployments-api': await asIn('deployments-api'),
      'export-certificate': await asIn('export-certificate'),
      'start-installation': await asIn('start-installation'),
      'check-installation': await asIn('check-installation'),
      reconcile: await asIn('reconcile', 'look-at-node'),
    },
    findingReaders: await asIn('deployments-api', 'iam:GetRole'),
    rollout,
    expired,
    narrowed: await byExport(allow('ssm:DescribeInstanceInformation')),
    widened: await byExport(allow('*')),
    automation: identities.assumeAsService(
      'ssm.amazonaws.com',
      AUTOMATION_ROLE,
      source(`arn:aws:ssm:${here}:automation-execution/intruder`),
      session,
    ),
    stateMachine: identities.assumeAsService(
      'states.amazonaws.com',
      `arn:aws:iam::${CENTRAL.account}:role/acm-export-state-machine-${CENTRAL.region}`,
      source(site.central.stateMachineArn),
      session,
    ),
    schedule: identities.assumeAsService(
      'scheduler.amazonaws.com',
      `arn:aws:iam::${CENTRAL.account}:role/acm-export-reconcile-schedule-${CENTRAL.region}`,
      source(`arn:aws:scheduler:${here}:schedule-group/default`),
      session,
    ),
  };
}
