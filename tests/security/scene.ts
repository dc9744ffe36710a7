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
  /** Below the prefix, opened to the roles of the member stack by the one that writes bundles. */
  opened: string;
  /** An Automation of somebody else that has our mark, in a Region where no member stack is. */
  markedFarAway: string;
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
  /** Roles that may do everything, but for what trust says: called like these functions, in the stranger's account; */
  impostors: Record<Visitor, Identity>;
  /** in the central account, as if its stack were in another Region; */
  farFunctions: Record<Visitor, Identity>;
  /** and there, as if its prefix began the same. */
  namesakes: Record<Visitor, Identity>;
  functions: Record<
    | 'deployments-api'
    | 'request-certificate'
    | 'export-certificate'
    | 'start-installation'
    | 'check-installation'
    | 'write-validation-records'
    | 'rollout-ended'
    | 'report-certificate-notice'
    | 'handle-renewal'
    | 'reconcile',
    Identity
  >;
  /** The member stack's role of the central account as each function takes it on: limited to what it does there. */
  sessions: Record<Visitor, Identity>;
  /** The same roles as functions have them that were taken over: without a session policy. */
  taken: Record<Visitor, Identity>;
  /** The rollout role as export-certificate gets it while the grants of the first edition are kept. */
  firstEdition: Identity;
  /** One that deployments-api opened to look whether readers exist. */
  findingReaders: Identity;
  /** Could call the API an hour ago. */
  expired: Identity;
  /** Sessions of the writer of bundles, with policies of their own. */
  narrowed: Identity;
  widened: Identity;
  /** One of the rollout role. */
  widenedLook: Identity;
  automation: Identity;
  stateMachine: Identity;
  requestMachine: Identity;
  issuedRule: Identity;
  schedule: Identity;
}

/** The functions that have work in target accounts, and the role that each takes on there. */
export const VISITORS = {
  'deployments-api': 'rollout',
  'export-certificate': 'bundle-writer',
  'start-installation': 'rollout',
  'check-installation': 'rollout',
  reconcile: 'rollout',
} as const;
export type Visitor = keyof typeof VISITORS;
export const visitors = Object.keys(VISITORS) as Visitor[];

/** A role of the member stack in an account and Region. */
export const memberRole = ({ account, region }: typeof CENTRAL, name: 'rollout' | 'bundle-writer') =>
  `arn:aws:iam::${account}:role/acm-export-${name}-${region}`;

export const WRITER_ROLE = memberRole(CENTRAL, 'bundle-writer');
export const ROLLOUT_ROLE = `arn:aws:iam::${CENTRAL.account}:role/acm-export-rollout-${CENTRAL.region}`;
export const MEMBER_ROLLOUT_ROLE = `arn:aws:iam::${MEMBER.account}:role/acm-export-rollout-${MEMBER.region}`;
export const AUTOMATION_ROLE = `arn:aws:iam::${CENTRAL.account}:role/acm-export-automation-${CENTRAL.region}`;

/** One AssumeRole over the wire; throws when it is refused. */
export async function assumeRole(
  cloud: Cloud,
  by: Identity,
  input: { RoleArn: string; ExternalId?: string; Policy?: string; RoleSessionName?: string },
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

const RUNBOOK = 'payments-runbook';

/**
 * An Automation of somebody else. It ends at once where no node is tagged payments=yes; there it runs for a minute.
 *
 * @param hasMark whether it is tagged as ours are.
 * @returns its id.
 */
export async function foreignAutomation(
  { cloud, site }: Flows,
  place: { account: string; region: string },
  hasMark = false,
): Promise<string> {
  const { identities, ssmDocuments } = cloud.services;
  const { account, region } = place;
  const assumeRole = `arn:aws:iam::${account}:role/payments-automation`;
  if (!identities.role(assumeRole)) {
    const trustPolicy = {
      Version: '2012-10-17',
      Statement: [
        { Effect: 'Allow' as const, Principal: { Service: 'ssm.amazonaws.com' }, Action: 'sts:AssumeRole' },
      ],
    };
    identities.createRole(account, {
      name: 'payments-automation',
      trustPolicy,
      inlinePolicies: [allow('ssm:*')],
      isKnownAtOnce: true,
    });
  }
  if (!ssmDocuments.find(account, region, RUNBOOK)) {
    const sleep = { name: 'Sleep', action: 'aws:runShellScript', inputs: { runCommand: ['sleep 60'] } };
    ssmDocuments.create(account, region, {
      name: 'payments-sleep',
      type: 'Command',
      content: { schemaVersion: '2.2', mainSteps: [sleep] },
    });
    const inputs = {
      DocumentName: 'payments-sleep',
      Targets: [{ Key: 'tag:payments', Values: ['yes'] }],
    };
    ssmDocuments.create(account, region, {
      name: RUNBOOK,
      type: 'Automation',
      content: {
        schemaVersion: '0.3',
        assumeRole,
        parameters: { Word: { type: 'String' } },
        mainSteps: [{ name: 'Sleep', action: 'aws:runCommand', inputs }],
      },
    });
  }
  const by = account === MEMBER.account ? site.memberAdministrator : site.administrator;
  const answer = await callAws(cloud, by, region, 'AmazonSSM.StartAutomationExecution', {
    DocumentName: RUNBOOK,
    Parameters: { Word: ['of payments'] },
    ...(hasMark ? { Tags: [{ Key: 'acm-export:deployment-id', Value: '0' }] } : {}),
  });
  if (answer.error) {
    throw new Error(answer.body);
  }
  return JSON.parse(answer.body).AutomationExecutionId;
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
  // Wait for bundles of others: they trust all callers.
  for (const name of ['rollout', 'bundle-writer'] as const) {
    identities.createRole(STRANGER, {
      name: `acm-export-${name}-${CENTRAL.region}`,
      trustPolicy: {
        Version: '2012-10-17',
        Statement: [{ Effect: 'Allow', Principal: everybody, Action: 'sts:AssumeRole' }],
      },
      inlinePolicies: [allow('*')],
    });
  }
  const almighty = (account: string, name: string) =>
    identities.openSession(
      identities.createRole(account, {
        name,
        trustPolicy: { Version: '2012-10-17', Statement: [] },
        inlinePolicies: [allow('*')],
      }),
      { name: 'intruder', seconds: 3600, source: 'intruder' },
    );
  const almightyVisitors = (account: string, nameOf: (name: Visitor) => string) =>
    Object.fromEntries(visitors.map((name) => [name, almighty(account, nameOf(name))])) as Record<
      Visitor,
      Identity
    >;
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
  const lambda = (name: string) => roleIdentity(cloud, functionRole(name), 'lambda.amazonaws.com');
  const functions = {
    'deployments-api': lambda('deployments-api'),
    'request-certificate': lambda('request-certificate'),
    'export-certificate': lambda('export-certificate'),
    'start-installation': lambda('start-installation'),
    'check-installation': lambda('check-installation'),
    'write-validation-records': lambda('write-validation-records'),
    'rollout-ended': lambda('rollout-ended'),
    'report-certificate-notice': lambda('report-certificate-notice'),
    'handle-renewal': lambda('handle-renewal'),
    reconcile: lambda('reconcile'),
  };
  /** As a function takes on its role. */
  const assume = (
    name: Visitor,
    Policy?: PolicyDocument,
    role: 'rollout' | 'bundle-writer' = VISITORS[name],
  ) =>
    assumeRole(cloud, functions[name], {
      RoleArn: memberRole(CENTRAL, role),
      ExternalId: EXTERNAL_ID,
      RoleSessionName: `${name}-intruder`,
      ...(Policy ? { Policy: JSON.stringify(Policy) } : {}),
    });
  /** @param purpose a word of the session policy. */
  const asIn = (name: Visitor, purpose = '') => {
    const [assumed] = cloud.record
      .callsOf('AssumeRole')
      .filter(({ source }) => source === `function acm-export-${name}`)
      .map(({ input }) => input as { RoleArn: string; Policy: string })
      .filter(
        ({ RoleArn, Policy }) => RoleArn === memberRole(CENTRAL, VISITORS[name]) && Policy.includes(purpose),
      );
    return assume(name, JSON.parse(assumed?.Policy ?? ''));
  };
  const taken = {
    'deployments-api': await assume('deployments-api'),
    'export-certificate': await assume('export-certificate'),
    'start-installation': await assume('start-installation'),
    'check-installation': await assume('check-installation'),
    reconcile: await assume('reconcile'),
  };
  const opened = await secret('acm-export/opened');
  const writer = taken['export-certificate'];
  const granted = await callAws(cloud, writer, CENTRAL.region, 'secretsmanager.PutResourcePolicy', {
    SecretId: opened,
    BlockPublicPolicy: true,
    ResourcePolicy: JSON.stringify({
      Version: '2012-10-17',
      Statement: [
        {
          Effect: 'Allow',
          Principal: { AWS: [ROLLOUT_ROLE, WRITER_ROLE] },
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
    markedFarAway: await foreignAutomation(flows, { account: CENTRAL.account, region: 'us-east-1' }, true),
    untaggedArn,
    paymentsArn,
    farArn: JSON.parse(far.body).CertificateArn,
    devNode: await node(everyKey('dev')),
    prodNode: await node(everyKey('prod')),
    untaggedNode: await node({}, { env: 'prod' }),
    upperCaseNode: await node({ env: 'PROD' }),
    otherKeyNode: await node({ team: 'prod' }),
    stranger,
    impostors: almightyVisitors(STRANGER, (name) => `acm-export-${name}-${CENTRAL.region}`),
    farFunctions: almightyVisitors(CENTRAL.account, (name) => `acm-export-${name}-us-east-1`),
    namesakes: almightyVisitors(CENTRAL.account, (name) => `acm-export2-${name}-${CENTRAL.region}`),
    functions,
    sessions: {
      'deployments-api': await asIn('deployments-api'),
      'export-certificate': await asIn('export-certificate'),
      'start-installation': await asIn('start-installation'),
      'check-installation': await asIn('check-installation'),
      reconcile: await asIn('reconcile', 'look-at-node'),
    },
    taken,
    firstEdition: await assume('export-certificate', undefined, 'rollout'),
    findingReaders: await asIn('deployments-api', 'iam:GetRole'),
    expired,
    narrowed: await assume('export-certificate', allow('secretsmanager:DescribeSecret')),
    widened: await assume('export-certificate', allow('*')),
    widenedLook: await assume('reconcile', allow('*')),
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
    requestMachine: identities.assumeAsService(
      'states.amazonaws.com',
      `arn:aws:iam::${CENTRAL.account}:role/acm-export-certificate-request-${CENTRAL.region}`,
      source(site.central.stateMachineArn.replace(/-rollout$/, '-request')),
      session,
    ),
    issuedRule: identities.assumeAsService(
      'events.amazonaws.com',
      `arn:aws:iam::${CENTRAL.account}:role/acm-export-certificate-issued-${CENTRAL.region}`,
      source(`arn:aws:events:${CENTRAL.region}:${CENTRAL.account}:rule/acm-export-certificate-issued`),
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
