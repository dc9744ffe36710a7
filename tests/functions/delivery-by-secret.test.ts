import { beforeEach, expect, test } from '@jest/globals';
import { awsError } from './support/service-view.ts';
import { System } from './support/system.ts';

const READER = 'arn:aws:iam::444455556666:role/ecs-execution';

let system: System;
let arn: string;
beforeEach(async () => {
  system = await System.create();
  arn = await system.acm.issue('web');
});

const register = (more: object = {}) =>
  system.register({ CertificateArn: arn, Delivery: 'secret', ReaderRoleArns: [READER], ...more });

/** Details of the events that consumers got, in order. */
const announced = () =>
  system
    .target()
    .events.callsOf('PutEvents')
    .flatMap(({ Entries }) => Entries.map((entry: { Detail: string }) => JSON.parse(entry.Detail)));

test('a bundle is stored and announced by references, and no node is looked for', async () => {
  const { status, body } = await register();
  expect([status, body.Warnings]).toEqual([202, []]);
  await system.runAll();
  const deployment = await system.deployment(body.DeploymentId);
  expect(deployment).toMatchObject({ Status: 'INSTALLED', Serial: body.Serial, Delivery: 'secret' });
  expect(announced()).toEqual([
    {
      DeploymentId: body.DeploymentId,
      CertName: 'web-prod',
      CertificateArn: arn,
      CorrelationId: 'request-1',
      SecretArn: expect.stringContaining(':secret:acm-export/web-prod/'),
      VersionId: deployment.VersionId,
      Serial: body.Serial,
      NotAfter: deployment.NotAfter,
    },
  ]);
  expect(system.target().ssm.calls).toEqual([]);
});

test('a renewal stores the new version and announces it; a healthy bundle is left alone', async () => {
  await register();
  await system.runAll();
  const serial = await system.acm.renew(arn);
  await system.renewal(arn);
  await system.runAll();
  expect(announced().map(({ Serial }) => Serial)).toEqual([expect.any(String), serial]);
  await system.reconcile('nodes');
  await system.reconcile('certificates');
  expect(announced()).toHaveLength(2);
  expect(system.target().ssm.calls).toEqual([]);
});

test.each([awsError('ThrottlingException'), awsError('InternalException', '', 'server')])(
  'an event that EventBridge does not take ($name) is sent again within the rollout, and tells nobody',
  async (error) => {
    system.target().events.failNext('PutEvents', error);
    const { body } = await register();
    await system.runAll();
    expect(system.messages()).toEqual([]);
    expect(await system.deployment(body.DeploymentId)).toMatchObject({
      Status: 'INSTALLED',
      Serial: body.Serial,
      Rollouts: 1,
    });
    expect(announced()).toHaveLength(2);
  },
);

test.each([
  ['ReaderRoleArns', 400, { ReaderRoleArns: undefined }],
  ['ReaderRoleArns.0', 400, { ReaderRoleArns: ['arn:aws:iam::444455556666:user/alice'] }],
  ['ReaderRoleArns', 400, { Delivery: 'nodes' }],
  ['DryRun', 400, { DryRun: true }],
  ['ReaderRoleArns.0', 403, { ReaderRoleArns: ['arn:aws:iam::444455556666:role/administrator'] }],
  ['ReaderRoleArns.0', 403, { ReaderRoleArns: ['arn:aws:iam::111122223333:role/ecs-execution'] }],
])('%s is refused with %d for %j', async (field, status, more) => {
  const refused = await register(more);
  expect(refused.status).toBe(status);
  expect(refused.body.Faults.map(({ Field }: { Field: string }) => Field)).toEqual([field]);
  expect(system.sfn.executions.size).toBe(0);
});

test('a role that the stack allows by the beginning of its name may be named', async () => {
  expect(
    (await register({ ReaderRoleArns: ['arn:aws:iam::444455556666:role/apps/team-payments'] })).status,
  ).toBe(202);
});

test('moved to nodes, it forgets its readers, and a repeated request is the same one', async () => {
  const { body } = await register();
  await system.runAll();
  await system.target().addNode('i-00000001');
  const refused = await system.register({ Delivery: 'nodes' });
  expect([refused.status, refused.body.Faults]).toEqual([
    400,
    [
      {
        Field: 'ReaderRoleArns',
        Reason: expect.stringMatching(/nodes read by their tag\. .*null sets its default/),
      },
    ],
  ]);
  const moved = await system.register({ Delivery: null, ReaderRoleArns: null, VerifyPort: 443 });
  expect(await system.register({ CertificateArn: arn })).toMatchObject({ body: { Warnings: [] } });
  await system.runAll();
  const deployment = await system.deployment(body.DeploymentId);
  expect(deployment).toMatchObject({ Delivery: 'nodes', Status: 'INSTALLED', Rollouts: 2 });
  expect('ReaderRoleArns' in deployment).toBe(false);
  expect(moved.body.DeploymentId).toBe(body.DeploymentId);
});

test('is not tried out on nodes: a dry run announces nothing', async () => {
  await register();
  await system.runAll();
  expect(await system.register({ CertificateArn: arn, DryRun: true })).toMatchObject({ status: 409 });
  expect(announced()).toHaveLength(1);
});

test('the rules between its fields are all named at once', async () => {
  const fieldsOf = (answer: Awaited<ReturnType<typeof register>>) =>
    answer.body.Faults.map(({ Field }: { Field: string }) => Field).sort();
  const order = { Delivery: 'secret', DryRun: true, VerifyName: 'www.example.com' };
  expect(fieldsOf(await system.register(order))).toEqual([
    'CertificateArn',
    'DryRun',
    'ReaderRoleArns',
    'VerifyName',
  ]);
  expect(fieldsOf(await system.register({ CertificateArn: arn, ReaderRoleArns: [READER] }))).toEqual([
    'ReaderRoleArns',
  ]);
});
