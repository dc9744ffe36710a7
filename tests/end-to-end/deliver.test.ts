import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto';
import { expect, test } from '@jest/globals';
import {
  addNode,
  CENTRAL,
  deployFleet,
  MEMBER,
  requestCertificate,
  served,
} from '../../local/example-fleet.ts';
import { needs } from '../support/needs.ts';
import { call, deploy, deploymentOf, installed, order, plainNode, testFleet } from './test-fleet.ts';

const fleet = testFleet();

test.each([
  ['RSA_2048', 'rsa', ['rsa.example.com']],
  ['EC_prime256v1', 'p256', ['p256.example.com', 'www.p256.example.com', 'api.p256.example.com']],
  ['EC_secp384r1', 'p384', ['*.p384.example.com']],
] as const)(
  'a certificate with a key of %s is served by its node, with its chain and its own key',
  async (algorithm, name, domains) => {
    const arn = await requestCertificate(fleet(), name, [...domains], algorithm);
    const serving = await addNode(fleet(), CENTRAL, name, { certName: name });
    const { started, deployment } = await deploy(
      fleet(),
      name,
      order(arn, name, { ReloadServices: [serving.server.unit], VerifyPort: fleet().port }),
    );
    expect(deployment).toMatchObject({
      Status: 'INSTALLED',
      Serial: started.Serial,
      Nodes: [{ NodeId: serving.node.id, Outcome: 'installed', Serial: started.Serial }],
    });
    expect(await served(serving)).toBe(started.Serial);
    const files = installed(serving.node, name);
    expect(files.keyMode()).toBe(0o600);
    expect(files.certificates()).toBeGreaterThanOrEqual(2);
    const leaf = new X509Certificate(files.fullchain());
    expect(leaf.subjectAltName).toContain(domains[0]);
    expect(leaf.checkPrivateKey(createPrivateKey(files.key()))).toBe(true);
    expect(createPublicKey(files.key()).asymmetricKeyType).toBe(algorithm === 'RSA_2048' ? 'rsa' : 'ec');
  },
);

test('one correlation id leads from the answer through Automation and script to the log lines, which name the execution', async () => {
  const arn = await requestCertificate(fleet(), 'traced', ['traced.example.com']);
  await plainNode(fleet(), 'traced');
  fleet().cloud.record.clear();
  const { started, deployment } = await deploy(fleet(), 'traced', order(arn, 'traced'));
  const id = started.CorrelationId;
  expect(deployment.LastRollout.CorrelationId).toBe(id);
  for (const channel of ['api-answer', 'ssm-parameters', 'ssm-output'] as const) {
    const emissions = fleet().cloud.record.emissionsOf(channel);
    expect([channel, emissions.some(({ text }) => text.includes(id))]).toEqual([channel, true]);
  }
});

test('nodes of a hybrid activation in another account and Region are served like instances', async () => {
  const arn = await requestCertificate(fleet(), 'far', ['far.example.com']);
  const node = await plainNode(fleet(), 'far', { ...MEMBER, kind: 'hybrid' });
  const target = { TargetAccount: MEMBER.account, TargetRegion: MEMBER.region };
  const { deployment } = await deploy(fleet(), 'far', order(arn, 'far', target));
  expect(deployment.Nodes).toMatchObject([{ NodeId: node.id, Outcome: 'installed' }]);
  const secrets = fleet()
    .cloud.record.callsOf('CreateSecret')
    .filter(({ account }) => account === MEMBER.account);
  expect(secrets.map(({ region }) => region)).toEqual([MEMBER.region]);
});

test('a second request finds the nodes unchanged and exports nothing again', async () => {
  const arn = await requestCertificate(fleet(), 'again', ['again.example.com']);
  await plainNode(fleet(), 'again');
  const first = await deploy(fleet(), 'again', order(arn, 'again'));
  fleet().cloud.record.clear();
  const second = await deploy(fleet(), 'again', order(arn, 'again'));
  expect(second.started.DeploymentId).toBe(first.started.DeploymentId);
  expect(second.deployment).toMatchObject({ Nodes: [{ Outcome: 'unchanged' }] });
  for (const operation of ['ExportCertificate', 'PutSecretValue', 'CreateSecret']) {
    expect([operation, fleet().cloud.record.callsOf(operation)]).toEqual([operation, []]);
  }
});

test('without a node the bundle waits, with a warning and no alarm; the first node gets it without a request', async () => {
  const arn = await requestCertificate(fleet(), 'early', ['early.example.com']);
  const { started, deployment } = await deploy(fleet(), 'early', order(arn, 'early'));
  expect(started.Warnings).toEqual([expect.stringContaining('No managed node')]);
  expect(deployment).toMatchObject({ Status: 'WAITING', Nodes: [] });
  expect(fleet().cloud.services.sns.messages).toEqual([]);
  const node = await plainNode(fleet(), 'early');
  fleet().cloud.clock.advance(5 * 60_000);
  await fleet().cloud.idle();
  expect(await deploymentOf(fleet(), 'early', started.DeploymentId)).toMatchObject({
    Status: 'INSTALLED',
    Nodes: [{ NodeId: node.id, Outcome: 'installed' }],
  });
});

test('a node whose role lacks the tag is told so by name, and the bundle stays closed to it', async () => {
  const arn = await requestCertificate(fleet(), 'untagged', ['untagged.example.com']);
  const node = await plainNode(fleet(), 'untagged', { roleTags: {} });
  const { deployment } = await deploy(fleet(), 'untagged', order(arn, 'untagged'));
  expect(deployment).toMatchObject({
    Status: 'FAILED',
    Nodes: [
      {
        NodeId: node.id,
        Outcome: 'failed',
        Error: expect.stringContaining('the node is tagged and its role is not'),
      },
    ],
  });
  expect(installed(node, 'untagged').exists).toBe(false);
  const message = fleet().cloud.services.sns.messages.at(-1);
  expect(message?.subject).toContain('untagged');
  expect(message?.message).toContain(node.id);
});

test('a request with several faults gets them all by name, and nothing is registered, exported or started', async () => {
  fleet().cloud.record.clear();
  const refused = await call(fleet(), 'POST', '/certificates/bad..name/deployments', {
    CertificateArn: 'arn:aws:acm:eu-west-1:1:certificate/x',
    TargetTagKey: 'aws:name',
    TargetTagValue: '',
    VerifyPort: 70_000,
    Surprise: 1,
  });
  expect(refused.status).toBe(400);
  expect(new Set(refused.body.Faults.map(({ Field }: { Field: string }) => Field))).toEqual(
    new Set(['CertName', 'CertificateArn', 'Surprise', 'TargetTagKey', 'TargetTagValue', 'VerifyPort']),
  );
  const effects = fleet().cloud.record.calls.filter(({ operation }) =>
    /PutItem|UpdateItem|StartExecution|Export|AssumeRole|Secret/.test(operation),
  );
  expect(effects).toEqual([]);
});

test('a start whose answer is lost is one rollout all the same', async () => {
  const arn = await requestCertificate(fleet(), 'lost', ['lost.example.com']);
  await plainNode(fleet(), 'lost');
  const { cloud } = fleet();
  cloud.faults.inject({ operation: 'StartExecution', kind: 'crash-after-effect' });
  const crashed = await call(fleet(), 'POST', '/certificates/lost/deployments', order(arn, 'lost'));
  expect(crashed.status).toBe(502);
  const { started, deployment } = await deploy(fleet(), 'lost', order(arn, 'lost'));
  expect(deployment).toMatchObject({ Status: 'INSTALLED' });
  const executions = cloud.services.stepFunctions
    .executions()
    .filter(({ name }) => name.startsWith(started.DeploymentId));
  const numbers = executions.map(({ name }) => name.split('-').at(-1));
  expect(new Set(numbers).size).toBe(executions.length);
  expect(executions.every(({ status }) => status === 'SUCCEEDED')).toBe(true);
});

const executionsOf = (id: string) =>
  fleet()
    .cloud.services.stepFunctions.executions()
    .filter(({ name }) => name.startsWith(id));

test('a crash between beginning and start is healed by the next request, with the rollout that has begun', async () => {
  const arn = await requestCertificate(fleet(), 'dead', ['dead.example.com']);
  await plainNode(fleet(), 'dead');
  fleet().cloud.faults.inject({ operation: 'StartExecution', kind: 'crash-before-effect' });
  expect((await call(fleet(), 'POST', '/certificates/dead/deployments', order(arn, 'dead'))).status).toBe(
    502,
  );
  const { deployment } = await deploy(fleet(), 'dead', order(arn, 'dead'));
  expect(deployment).toMatchObject({ Status: 'INSTALLED' });
  expect(executionsOf(deployment.DeploymentId)).toHaveLength(1);
});

test('an Automation whose start was not heard does not become two installations', async () => {
  const arn = await requestCertificate(fleet(), 'twice', ['twice.example.com']);
  const node = await plainNode(fleet(), 'twice');
  fleet().cloud.faults.inject({ operation: 'StartAutomationExecution', kind: 'answer-lost' });
  const { deployment } = await deploy(fleet(), 'twice', order(arn, 'twice'));
  expect(deployment).toMatchObject({ Status: 'INSTALLED', Nodes: [{ NodeId: node.id }] });
  expect(executionsOf(deployment.DeploymentId)).toHaveLength(1);
});

test('DELETE stops a running rollout, closes the bundle and leaves the files; a new POST restores all', async () => {
  const arn = await requestCertificate(fleet(), 'gone', ['gone.example.com']);
  const node = await plainNode(fleet(), 'gone');
  const { started, deployment: before } = await deploy(fleet(), 'gone', order(arn, 'gone'));
  const path = `/certificates/gone/deployments/${started.DeploymentId}`;
  expect((await call(fleet(), 'POST', `${path}/rollouts`)).status).toBe(202);
  const deleted = await call(fleet(), 'DELETE', path);
  expect([deleted.status, deleted.body.Status]).toEqual([200, 'DELETED']);
  await fleet().cloud.idle();
  expect((await call(fleet(), 'GET', path)).status).toBe(404);
  expect(installed(node, 'gone').exists).toBe(true);
  expect(executionsOf(started.DeploymentId).filter(({ status }) => status === 'RUNNING')).toEqual([]);
  const { deployment } = await deploy(fleet(), 'gone', order(arn, 'gone'));
  expect(deployment.Status).toBe('INSTALLED');
  expect(deployment.RolloutNumber).toBeGreaterThan(before.RolloutNumber + 1);
});

test('another certificate under the same name and tag moves the deployment to it', async () => {
  const [first, second] = await Promise.all([
    requestCertificate(fleet(), 'moved', ['moved.example.com']),
    requestCertificate(fleet(), 'moved', ['moved.example.com']),
  ]);
  await plainNode(fleet(), 'moved');
  const before = await deploy(fleet(), 'moved', order(first as string, 'moved'));
  const after = await deploy(fleet(), 'moved', order(second as string, 'moved'));
  expect(after.started.DeploymentId).toBe(before.started.DeploymentId);
  expect(after.deployment).toMatchObject({
    CertificateArn: second,
    Status: 'INSTALLED',
    Serial: after.started.Serial,
  });
});

test('two stacks with different prefixes share accounts and Regions without touching each other', async () => {
  const { cloud } = fleet();
  const Prefix = 'second';
  const second = await deployFleet(cloud, {
    central: { parameters: { Prefix } },
    member: { parameters: { Prefix } },
  });
  const arn = await requestCertificate(fleet(), 'shared', ['shared.example.com']);
  const node = await plainNode(fleet(), 'ours');
  const other = await plainNode(fleet(), 'theirs');
  cloud.record.clear();
  const [ours, theirs] = await Promise.all([
    deploy(fleet(), 'shared', order(arn, 'ours')),
    deploy(second, 'shared', order(arn, 'theirs')),
  ]);
  expect(ours.deployment).toMatchObject({ Status: 'INSTALLED', Nodes: [{ NodeId: node.id }] });
  expect(theirs.deployment).toMatchObject({ Status: 'INSTALLED', Nodes: [{ NodeId: other.id }] });
  const names = cloud.record
    .callsOf('CreateSecret')
    .map(({ input }) => (input as { Name: string }).Name.split('/')[0]);
  expect(new Set(names)).toEqual(new Set(['acm-export', 'second']));
  expect(
    (await call(fleet(), 'GET', `/certificates/shared/deployments/${theirs.started.DeploymentId}`)).status,
  ).toBe(404);
});

needs('mounts')('a dry run reports on every node and changes nothing', async () => {
  const arn = await requestCertificate(fleet(), 'dry', ['dry.example.com']);
  const node = await plainNode(fleet(), 'dry');
  const { deployment } = await deploy(fleet(), 'dry', order(arn, 'dry', { DryRun: true }));
  expect(deployment.Nodes).toMatchObject([{ NodeId: node.id, DryRun: { Outcome: 'dry-run-passed' } }]);
  expect(deployment.Serial).toBeUndefined();
  expect(installed(node, 'dry').exists).toBe(false);
});
