// The owner of an account narrows what may be delivered there, and of a server, too. The services themselves keep to it,
// whoever calls: real, signed calls of the deployed system, and of a session that any central function can open.
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import type { CloudNode, Identity } from 'local-cloud';
import {
  addNode,
  CENTRAL,
  requestCertificate,
  type ServingNode,
  served,
} from '../../../local/example-fleet.ts';
import { deploy, deploymentOf, installed, order, plainNode, testFleet } from '../../end-to-end/test-fleet.ts';
import { callAws } from '../../security/signed-calls.ts';
import { updateStack } from '../../support/update-stack.ts';
import { memberStack } from '../../templates/stacks.ts';

const fleet = testFleet();
const EXTERNAL_ID = 'local-cloud-external-id';
const token = 'a'.repeat(32);

let certificateArn: string;
let serving: ServingNode;
/** Delivered before the owner narrowed the names. */
let payments: { DeploymentId: string; SecretArn: string };
let paymentsNode: CloudNode;
/** Sessions without a session policy: what functions that were taken over can open. */
const sessions: Partial<Record<'bundle-writer' | 'rollout', Identity>> = {};

const callAs = (role: keyof typeof sessions, operation: string, input: object) =>
  callAws(fleet().cloud, sessions[role] as Identity, CENTRAL.region, operation, { ...input });
const callsOf = (operation: string) => fleet().cloud.record.callsOf(operation);

beforeAll(async () => {
  const { cloud } = fleet();
  certificateArn = await requestCertificate(fleet(), '+', ['www.example.com']);
  serving = await addNode(fleet(), CENTRAL, 'web', { certName: 'web-shop' });
  paymentsNode = await plainNode(fleet(), 'payments');
  const { deployment } = await deploy(fleet(), 'payments', order(certificateArn, 'payments'));
  expect(deployment.Status).toBe('INSTALLED');
  const made = callsOf('CreateSecret').map(({ output }) => (output as { ARN: string }).ARN);
  payments = { DeploymentId: deployment.DeploymentId, SecretArn: made[0] ?? '' };
  updateStack(
    cloud,
    memberStack(
      {
        CentralAccountId: CENTRAL.account,
        CentralRegion: CENTRAL.region,
        ExternalId: EXTERNAL_ID,
        AllowedCertNames: 'web-*,api.example.com',
        AllowedServices: `${serving.server.unit},postgresql@*`,
      },
      CENTRAL,
    ),
  );
  cloud.settle();
  for (const [name, functionName] of [
    ['bundle-writer', 'export-certificate'],
    ['rollout', 'start-installation'],
  ] as const) {
    const role = cloud.services.identities.role(
      `arn:aws:iam::${CENTRAL.account}:role/acm-export-${name}-${CENTRAL.region}`,
    );
    if (!role) throw new Error(`no role ${name}`);
    sessions[name] = cloud.services.identities.openSession(role, {
      name: `${functionName}-intruder`,
      seconds: 3600,
      source: 'intruder',
    });
  }
});

describe('what the owner allows', () => {
  test('is installed, reloaded and served', async () => {
    const { started, deployment } = await deploy(
      fleet(),
      'web-shop',
      order(certificateArn, 'web', { ReloadServices: [serving.server.unit], VerifyPort: fleet().port }),
    );
    expect(deployment).toMatchObject({ Status: 'INSTALLED', Nodes: [{ Outcome: 'installed' }] });
    expect(await served(serving)).toBe(started.Serial);
  });

  test.each(['api.example.com', 'web-'.padEnd(64, 'x')])('%s is installed', async (name) => {
    const tag = `allowed-${name.slice(0, 3)}`;
    const node = await plainNode(fleet(), tag);
    const { deployment } = await deploy(fleet(), name, order(certificateArn, tag));
    expect(deployment.Status).toBe('INSTALLED');
    expect(installed(node, name).exists).toBe(true);
  });
});

describe('what the owner does not allow', () => {
  test.each(['web', 'xweb-1', 'Web-1', 'api.example.com2', 'apixexample.com', 'api-example.com', 'api'])(
    'the name %s, which is only like an allowed one, is refused before it is exported',
    async (name) => {
      const node = await plainNode(fleet(), name);
      const before = [callsOf('ExportCertificate').length, callsOf('StartAutomationExecution').length];
      const { deployment } = await deploy(fleet(), name, order(certificateArn, name));
      expect([deployment.Status, deployment.LastError]).toEqual([
        'FAILED',
        expect.stringMatching(/^NotAllowedByOwner: .* AllowedCertNames, and .*OnlyAllowedCertNames/),
      ]);
      expect([callsOf('ExportCertificate').length, callsOf('StartAutomationExecution').length]).toEqual(
        before,
      );
      expect(installed(node, name).exists).toBe(false);
    },
  );

  test('a service beside an allowed one is refused by Systems Manager, and no node is reached', async () => {
    const before = callsOf('SendCommand').length;
    const ReloadServices = [serving.server.unit, 'sshd'];
    const { deployment } = await deploy(fleet(), 'web-ssh', order(certificateArn, 'web', { ReloadServices }));
    expect([deployment.Status, deployment.LastError]).toEqual([
      'FAILED',
      expect.stringMatching(
        /^NotAllowedByOwner: .* or not the services tls-server, sshd \(AllowedServices\)/,
      ),
    ]);
    expect(callsOf('StartAutomationExecution').at(-1)?.error).toBe(
      'InvalidAutomationExecutionParametersException',
    );
    expect(callsOf('SendCommand')).toHaveLength(before);
  });

  test('a name that was there before goes on being served, and operators are told that it is not renewed', async () => {
    const { cloud } = fleet();
    const { Serial } = await deploymentOf(fleet(), 'payments', payments.DeploymentId);
    await cloud.services.acm.renew(certificateArn);
    await cloud.idle();
    const deployment = await deploymentOf(fleet(), 'payments', payments.DeploymentId);
    expect([deployment.Status, deployment.Serial]).toEqual(['FAILED', Serial]);
    expect(installed(paymentsNode, 'payments').exists).toBe(true);
    const told = cloud.services.sns.messages.find(({ subject }) =>
      subject?.startsWith('Rollout of payments FAILED'),
    );
    expect(told?.message).toContain(
      'allows only the certificate names of its parameter AllowedCertNames, and payments',
    );
    expect(told?.message).toContain('an administrator of the StackSet sets them');
  });
});

describe('Secrets Manager refuses a central function that was taken over', () => {
  const tags = [
    { Key: 'acm-export', Value: 'web' },
    { Key: 'acm-export:deployment-id', Value: '0'.repeat(24) },
  ];
  const policy = {
    BlockPublicPolicy: true,
    ResourcePolicy: JSON.stringify({
      Version: '2012-10-17',
      Statement: [{ Effect: 'Deny', Principal: '*', Action: 'secretsmanager:GetSecretValue', Resource: '*' }],
    }),
  };

  test.each([
    'payments',
    'web',
    'webs',
    'Web-1',
    'api.example.com2',
    'apixexample.com',
    'payments/web-1',
    'payments/api.example.com',
  ])('to make a bundle of the name %s', async (name) => {
    const Name = `acm-export/${name}/${'1'.repeat(24)}`;
    const answer = await callAs('bundle-writer', 'secretsmanager.CreateSecret', {
      Name,
      Tags: tags,
      ClientRequestToken: token,
    });
    expect([answer.error, answer.body]).toEqual([
      'AccessDeniedException',
      expect.stringContaining('(statement OnlyAllowedCertNames)'),
    ]);
  });

  test.each(['acm-export/web', 'acm-export/api.example.com'])(
    'to make a bundle %s without a folder, on which six characters follow',
    async (Name) => {
      const input = { Name, Tags: tags, ClientRequestToken: token };
      expect((await callAs('bundle-writer', 'secretsmanager.CreateSecret', input)).error).toBe(
        'AccessDeniedException',
      );
    },
  );

  test.each<[operation: string, input: object]>([
    ['PutSecretValue', { SecretString: '{}', ClientRequestToken: token }],
    ['PutResourcePolicy', policy],
    ['TagResource', { Tags: tags }],
    ['UpdateSecretVersionStage', { VersionStage: 'AWSCURRENT', MoveToVersionId: token }],
    ['RestoreSecret', {}],
  ])('to change a bundle of another name that is there: %s', async (operation, input) => {
    const answer = await callAs('bundle-writer', `secretsmanager.${operation}`, {
      SecretId: payments.SecretArn,
      ...input,
    });
    expect([answer.error, answer.body]).toEqual([
      'AccessDeniedException',
      expect.stringContaining('(statement OnlyAllowedCertNames)'),
    ]);
  });

  test('and lets it make and change those of allowed names', async () => {
    const Name = `acm-export/web-new/${'2'.repeat(24)}`;
    const made = await callAs('bundle-writer', 'secretsmanager.CreateSecret', {
      Name,
      Tags: tags,
      ClientRequestToken: token,
    });
    expect(made.error).toBe('');
    for (const [operation, input] of [
      ['PutResourcePolicy', policy],
      ['PutSecretValue', { SecretString: '{}', ClientRequestToken: token }],
    ] as const) {
      expect(
        (await callAs('bundle-writer', `secretsmanager.${operation}`, { SecretId: Name, ...input })).error,
      ).toBe('');
    }
  });
});

describe('Systems Manager refuses a central function that was taken over', () => {
  let bundle: string;
  const start = (changed: Record<string, string>, DocumentVersion?: string) => {
    const Parameters = {
      CanaryNodeId: paymentsNode.id,
      TargetTagKey: 'acm-export',
      TargetTagValue: 'payments',
      MaxConcurrency: '10',
      MaxErrors: '0',
      SecretArn: bundle,
      VersionId: '0'.repeat(64),
      CertName: 'web-1',
      DeploymentId: payments.DeploymentId,
      RolloutNumber: '1',
      CorrelationId: 'intruder',
      ...changed,
    };
    return callAs('rollout', 'AmazonSSM.StartAutomationExecution', {
      DocumentName: 'acm-export-install-on-fleet',
      ...(DocumentVersion ? { DocumentVersion } : {}),
      Parameters: Object.fromEntries(Object.entries(Parameters).map(([name, value]) => [name, [value]])),
    });
  };
  /** How the last Automation ended. */
  const ended = async (body: string) => {
    const { cloud } = fleet();
    await cloud.idle();
    const { AutomationExecutionId } = JSON.parse(body);
    const { automation } = cloud.services;
    return automation
      .executions(CENTRAL.account, CENTRAL.region)
      .find(({ id }) => id === AutomationExecutionId);
  };

  beforeAll(() => {
    bundle = payments.SecretArn.replace('/payments/', '/web-1/');
  });

  test.each<[string, () => Record<string, string>]>([
    ['to install another name', () => ({ CertName: 'payments', SecretArn: payments.SecretArn })],
    ['to install another name from an allowed bundle', () => ({ CertName: 'payments' })],
    ['to install another bundle under an allowed name', () => ({ SecretArn: payments.SecretArn })],
    ['to install a name with more behind it', () => ({ CertName: 'api.example.com-2' })],
    ['to install a name with an end of a line', () => ({ CertName: 'web-1\n' })],
    [
      'to install a bundle of another account',
      () => ({ SecretArn: bundle.replace(CENTRAL.account, '999988887777') }),
    ],
    ['to reload another service', () => ({ ReloadServices: 'sshd' })],
    [
      'to reload another service beside an allowed one',
      () => ({ ReloadServices: 'postgresql@14-main sshd' }),
    ],
    ['to reload a service that is called almost so', () => ({ ReloadServices: 'postgresql' })],
    ['to restart another service', () => ({ RestartServices: 'firewalld' })],
  ])('%s', async (_, changed) => {
    const { error } = await start(changed());
    expect(error).toBe('InvalidAutomationExecutionParametersException');
  });

  test.each<[string, () => Record<string, string>]>([
    ['another name', () => ({ CertName: 'payments', SecretArn: payments.SecretArn })],
    ['another service', () => ({ ReloadServices: 'sshd' })],
    ['another service to restart', () => ({ RestartServices: 'firewalld' })],
  ])('to send %s by an earlier version of the document, which has no limits', async (_, changed) => {
    const before = callsOf('SendCommand').length;
    const { error, body } = await start(changed(), '1');
    expect(error).toBe('');
    expect(await ended(body)).toMatchObject({
      status: 'Failed',
      failureMessage: expect.stringContaining('InvalidParameters'),
    });
    expect(callsOf('SendCommand').slice(before)).toMatchObject([{ error: 'InvalidParameters' }]);
  });

  test('and the script takes no other bundle under an allowed name, which that version lets through', async () => {
    const reads = callsOf('GetSecretValue').length;
    const { error, body } = await start({ SecretArn: payments.SecretArn }, '1');
    expect(error).toBe('');
    expect(await ended(body)).toMatchObject({ status: 'Failed' });
    const [printed] = fleet().cloud.record.emissionsOf('ssm-output').slice(-1);
    expect(printed?.text).toContain(
      'bad-parameter: parameter SecretArn is not the bundle of CertName and DeploymentId',
    );
    expect(callsOf('GetSecretValue')).toHaveLength(reads);
    expect(installed(paymentsNode, 'web-1').exists).toBe(false);
  });
});

describe("the server's own list", () => {
  const list = (node: CloudNode) => path.join(node.spec.root, 'etc/acm-export/allowed-names');
  const keeps = async (node: CloudNode, text: string) => {
    await mkdir(path.dirname(list(node)), { recursive: true });
    await writeFile(list(node), text, { mode: 0o644 });
  };

  test('refuses what the account allows before it reads anything, and operators are told whose rule it was', async () => {
    const node = await plainNode(fleet(), 'own-list');
    await keeps(node, '# of the shop\nweb-shop\n');
    const reads = callsOf('GetSecretValue').length;
    const { deployment } = await deploy(fleet(), 'web-blog', order(certificateArn, 'own-list'));
    const why = expect.stringMatching(
      /the server's own \/.*\/etc\/acm-export\/allowed-names does not allow web-blog/,
    );
    expect(deployment).toMatchObject({
      Status: 'FAILED',
      LastError: why,
      Nodes: [{ NodeId: node.id, Outcome: 'refused', ExitCode: 37, Step: 'check-allowed-names', Error: why }],
    });
    expect(callsOf('GetSecretValue')).toHaveLength(reads);
    const told = fleet().cloud.services.sns.messages.find(({ subject }) =>
      subject?.startsWith('Rollout of web-blog'),
    );
    expect(told?.message).toEqual(why);
  });

  test('takes what is on it', async () => {
    const node = await plainNode(fleet(), 'own-list-too');
    await keeps(node, 'web-b*\n');
    const { deployment } = await deploy(fleet(), 'web-blog', order(certificateArn, 'own-list-too'));
    expect(deployment.Status).toBe('INSTALLED');
    expect(installed(node, 'web-blog').exists).toBe(true);
  });

  test('does not widen what the account allows', async () => {
    const node = await plainNode(fleet(), 'wide-list');
    await keeps(node, '*\n');
    const { deployment } = await deploy(fleet(), 'sales', order(certificateArn, 'wide-list'));
    expect(deployment.LastError).toMatch(/^NotAllowedByOwner/);
    expect(installed(node, 'sales').exists).toBe(false);
  });

  test('is not ignored where others may write to it', async () => {
    const node = await plainNode(fleet(), 'open-list');
    await keeps(node, 'web-*\n');
    await chmod(list(node), 0o666);
    const { deployment } = await deploy(fleet(), 'web-open', order(certificateArn, 'open-list'));
    expect(deployment.Nodes).toMatchObject([
      { ExitCode: 37, Error: expect.stringContaining('only root can write to') },
    ]);
  });
});
