import type { Cloud, Identity } from 'local-cloud';
import { CENTRAL } from '../../local/example-fleet.ts';
import type { Flows } from './flows.ts';
import { assumeRole, EXTERNAL_ID, foreignAutomation, memberRole, type Scene, visitors } from './scene.ts';
import { type Answer, callAws } from './signed-calls.ts';

type Input = { [member: string]: unknown };
type Place = typeof CENTRAL;

/** Things of a target account, for functions that were taken over. */
export interface Bait {
  /** Bundles, one of them scheduled for deletion. */
  bundle: string;
  scheduled: string;
  /** Nobody tagged it. */
  nodeId: string;
  /** Of somebody else, on that node. */
  commandId: string;
  foreign: string;
  marked: string;
}

/** Lays it out in an account and Region. */
export async function layBait(flows: Flows, place: Place): Promise<Bait> {
  const { cloud, site } = flows;
  const { account, region } = place;
  const by = account === CENTRAL.account ? site.administrator : site.memberAdministrator;
  const call = async (operation: string, input: Input) => {
    const answer = await callAws(cloud, by, region, operation, input);
    if (answer.error) throw new Error(`${operation}: ${answer.body}`);
    return JSON.parse(answer.body || '{}');
  };
  const secret = async (Name: string) => {
    const Tags = [{ Key: 'env', Value: 'prod' }];
    const value = { SecretString: 'bait', ClientRequestToken: 'c'.repeat(32) };
    await call('secretsmanager.CreateSecret', { Name, Tags, ...value });
    return Name;
  };
  const node = await cloud.createNode(account, region, { tags: {} });
  cloud.services.ssmDocuments.create(account, region, {
    name: 'payments-report',
    type: 'Command',
    content: {
      schemaVersion: '2.2',
      parameters: { Word: { type: 'String' } },
      mainSteps: [
        { name: 'Print', action: 'aws:runShellScript', inputs: { runCommand: ['printf %03000d 7'] } },
      ],
    },
  });
  const sent = await call('AmazonSSM.SendCommand', {
    DocumentName: 'payments-report',
    InstanceIds: [node.id],
    Parameters: { Word: ['of payments'] },
  });
  const bait = {
    bundle: await secret('acm-export/bait'),
    scheduled: await secret('acm-export/bait-scheduled'),
    nodeId: node.id,
    commandId: sent.Command.CommandId,
    foreign: await foreignAutomation(flows, place),
    marked: await foreignAutomation(flows, place, true),
  };
  await call('secretsmanager.DeleteSecret', { SecretId: bait.scheduled, RecoveryWindowInDays: 7 });
  await cloud.idle();
  return bait;
}

const OPEN = {
  Version: '2012-10-17',
  Statement: [
    { Effect: 'Deny', Principal: { AWS: '*' }, Action: 'secretsmanager:CancelRotateSecret', Resource: '*' },
  ],
};

/** A call for each thing that docs/security.md has in its table, by the words there. */
export const PROBES: Record<string, [operation: string, input: (bait: Bait) => Input]> = {
  'Read a bundle': ['secretsmanager.GetSecretValue', ({ bundle }) => ({ SecretId: bundle })],
  'Open a bundle by its policy': [
    'secretsmanager.PutResourcePolicy',
    ({ bundle }) => ({
      SecretId: bundle,
      BlockPublicPolicy: true,
      ResourcePolicy: JSON.stringify(OPEN),
    }),
  ],
  'Give a bundle another tag': [
    'secretsmanager.TagResource',
    ({ bundle }) => ({ SecretId: bundle, Tags: [{ Key: 'env', Value: 'dev' }] }),
  ],
  'Create a bundle': [
    'secretsmanager.CreateSecret',
    () => ({
      Name: `acm-export/web/${Math.random()}`,
      Tags: [{ Key: 'env', Value: 'dev' }],
      SecretString: '{}',
      ClientRequestToken: 'd'.repeat(32),
    }),
  ],
  'Store another certificate in a bundle': [
    'secretsmanager.PutSecretValue',
    ({ bundle }) => ({ SecretId: bundle, SecretString: 'bait', ClientRequestToken: 'c'.repeat(32) }),
  ],
  'Go back to another version of a bundle': [
    'secretsmanager.UpdateSecretVersionStage',
    ({ bundle }) => ({ SecretId: bundle, VersionStage: 'AWSCURRENT', MoveToVersionId: 'c'.repeat(32) }),
  ],
  'Make passphrases': ['secretsmanager.GetRandomPassword', () => ({})],
  'See which versions a bundle has': [
    'secretsmanager.DescribeSecret',
    ({ bundle }) => ({ SecretId: bundle }),
  ],
  'Schedule a bundle for deletion': [
    'secretsmanager.DeleteSecret',
    ({ scheduled }) => ({ SecretId: scheduled, RecoveryWindowInDays: 7 }),
  ],
  'Take back that a bundle is scheduled for deletion': [
    'secretsmanager.RestoreSecret',
    ({ scheduled }) => ({ SecretId: scheduled }),
  ],
  'List servers': ['AmazonSSM.DescribeInstanceInformation', () => ({})],
  'Look at any server': [
    'AmazonSSM.SendCommand',
    ({ nodeId }) => ({ DocumentName: 'acm-export-look-at-node', InstanceIds: [nodeId] }),
  ],
  'List commands that others sent, with their parameters': ['AmazonSSM.ListCommands', () => ({})],
  'Read the first 2,500 characters of what these printed': [
    'AmazonSSM.ListCommandInvocations',
    ({ commandId }) => ({ CommandId: commandId, Details: true }),
  ],
  'Read all of it': [
    'AmazonSSM.GetCommandInvocation',
    ({ commandId, nodeId }) => ({ CommandId: commandId, InstanceId: nodeId }),
  ],
  'Start the install document, with what it takes': [
    'AmazonSSM.StartAutomationExecution',
    ({ nodeId }) => ({
      DocumentName: 'acm-export-install-on-fleet',
      Parameters: installation({ CanaryNodeId: nodeId, Scope: 'nodes', NodeIds: nodeId }),
    }),
  ],
  'See an Automation of others, if its id is known': [
    'AmazonSSM.GetAutomationExecution',
    ({ foreign }) => ({ AutomationExecutionId: foreign }),
  ],
  'Stop an Automation of others': [
    'AmazonSSM.StopAutomationExecution',
    ({ foreign }) => ({ AutomationExecutionId: foreign, Type: 'Cancel' }),
  ],
  'Stop an installation of this system, and what is marked as one': [
    'AmazonSSM.StopAutomationExecution',
    ({ marked }) => ({ AutomationExecutionId: marked, Type: 'Cancel' }),
  ],
  'Mark an Automation of others as an installation': [
    'AmazonSSM.AddTagsToResource',
    ({ marked }) => ({
      ResourceType: 'Automation',
      ResourceId: marked,
      Tags: [{ Key: 'acm-export:deployment-id', Value: '1' }],
    }),
  ],
  'Tell consumers that a bundle has a new version': [
    'AWSEvents.PutEvents',
    () => ({ Entries: [{ Source: 'acm-export', DetailType: 'CertificateBundleUpdated', Detail: '{}' }] }),
  ],
  'See what IAM shows of roles that `SecretReaderRoles` covers': [
    'iam.GetRole',
    () => ({ RoleName: 'reader-one' }),
  ],
};

/** Parameters of the install document, of which some are given. */
export function installation(given: Record<string, string>): Record<string, string[]> {
  const values = {
    TargetTagKey: 'team',
    TargetTagValue: 'none',
    MaxConcurrency: '1',
    MaxErrors: '0',
    SecretArn: `arn:aws:secretsmanager:${CENTRAL.region}:${CENTRAL.account}:secret:acm-export/web/${'0'.repeat(24)}-AbCdEf`,
    VersionId: '0'.repeat(64),
    CertName: 'web',
    DeploymentId: '0'.repeat(24),
    RolloutNumber: '1',
    CorrelationId: 'intruder',
    ...given,
  };
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, [value]]));
}

/** What is answered where a call is allowed, but comes to nothing because of what there is. */
const ALLOWED = new Set([
  '',
  // Of an Automation that has ended.
  'InvalidAutomationStatusUpdateException',
  // Of a secret that is scheduled for deletion already.
  'InvalidRequestException',
  'NoSuchEntity',
]);

/**
 * Every identity that a function has which was taken over: its own role, and each role of a member stack, under every
 * name of a session that it may choose.
 */
async function identitiesOf(scene: Scene, name: keyof Scene['functions'], place: Place): Promise<Identity[]> {
  const { cloud, functions } = scene;
  const found = [functions[name]];
  for (const role of ['rollout', 'bundle-writer'] as const) {
    for (const visitor of visitors) {
      const input = {
        RoleArn: memberRole(place, role),
        ExternalId: EXTERNAL_ID,
        RoleSessionName: `${visitor}-intruder`,
      };
      await assumeRole(cloud, functions[name], input).then(
        (identity) => found.push(identity),
        () => undefined,
      );
    }
  }
  return found;
}

/** Whether a function that was taken over gets something done in a target account, by real calls without a session policy. */
export class Intruders {
  readonly #scene: Scene;
  readonly #place: Place;
  readonly #bait: Bait;
  readonly #identities = new Map<string, Promise<Identity[]>>();

  constructor(scene: Scene, place: Place, bait: Bait) {
    this.#scene = scene;
    this.#place = place;
    this.#bait = bait;
  }

  async may(name: keyof Scene['functions'], what: string): Promise<boolean> {
    const probe = PROBES[what];
    if (!probe) throw new Error(`there is no call for: ${what}`);
    const known = this.#identities.get(name) ?? identitiesOf(this.#scene, name, this.#place);
    this.#identities.set(name, known);
    const answers: Answer[] = [];
    for (const identity of await known) {
      const [operation, input] = probe;
      answers.push(await callAws(this.#cloud(), identity, this.#place.region, operation, input(this.#bait)));
    }
    const strange = answers.filter(
      ({ error }) => !ALLOWED.has(error) && !/^AccessDenied(Exception)?$/.test(error),
    );
    if (strange.length > 0) throw new Error(`${what} by ${name}: ${JSON.stringify(strange)}`);
    return answers.some(({ error }) => ALLOWED.has(error));
  }

  #cloud(): Cloud {
    return this.#scene.cloud;
  }
}
