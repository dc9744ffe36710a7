import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { addNode, CENTRAL, MEMBER, requestCertificate, served } from '../../local/example-fleet.ts';
import { needs } from '../support/needs.ts';
import { call, deploy, installed, order, plainNode, testFleet } from './test-fleet.ts';

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

test('a node whose role lacks the tag is told so by name, and the bundle stays closed to it', async () => {
  const arn = await requestCertificate(fleet(), 'untagged', ['untagged.example.com']);
  const node = await plainNode(fleet(), 'untagged', { roleTags: {} });
  const { deployment } = await deploy(fleet(), 'untagged', order(arn, 'untagged'));
  expect(deployment).toMatchObject({
    Status: 'FAILED',
    Nodes: [
      {
        NodeId: node.id,
        Outcome: 'refused',
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

const executionsOf = (id: string) =>
  fleet()
    .cloud.services.stepFunctions.executions()
    .filter(({ name }) => name.startsWith(id));

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

needs('mounts')('a dry run reports on every node and changes nothing', async () => {
  const arn = await requestCertificate(fleet(), 'dry', ['dry.example.com']);
  const node = await plainNode(fleet(), 'dry');
  const { deployment } = await deploy(fleet(), 'dry', order(arn, 'dry', { DryRun: true }));
  expect(deployment.Nodes).toMatchObject([{ NodeId: node.id, DryRun: { Outcome: 'dry-run-passed' } }]);
  expect(deployment.Serial).toBeUndefined();
  expect(installed(node, 'dry').exists).toBe(false);
});
