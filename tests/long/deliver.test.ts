import { expect, test } from '@jest/globals';
import { deployFleet, requestCertificate } from '../../local/example-fleet.ts';
import { call, deploy, deploymentOf, order, plainNode, testFleet } from '../end-to-end/test-fleet.ts';

const fleet = testFleet();

const executionsOf = (id: string) =>
  fleet()
    .cloud.services.stepFunctions.executions()
    .filter(({ name }) => name.startsWith(id));

test('without a node the bundle waits, with a warning and no alarm; the first node gets it without a request', async () => {
  const arn = await requestCertificate(fleet(), 'early', ['early.example.com']);
  const { started, deployment } = await deploy(fleet(), 'early', order(arn, 'early'));
  expect(started.Warnings).toEqual([
    expect.stringContaining('nothing checks that a program serves them'),
    expect.stringContaining('No managed node'),
  ]);
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
