import { beforeEach, expect, test } from '@jest/globals';
import { System } from './support/system.ts';

let system: System;
let arn: string;
let id: string;
beforeEach(async () => {
  system = await System.create();
  arn = await system.acm.issue('web');
  await system.target().addNode('i-00000001');
  id = (await system.register({ CertificateArn: arn })).body.DeploymentId;
  await system.runAll();
});

const verb = (name: 'pause' | 'resume', deploymentId = id) =>
  system.api('POST', `/certificates/{CertName}/deployments/{DeploymentId}/${name}`, {
    path: { CertName: 'web-prod', DeploymentId: deploymentId },
  });

/** Everything that could start a rollout, each once. */
async function causes(): Promise<void> {
  await system.target().addNode(`i-${String(system.clock.now().getTime()).padStart(17, '0')}`);
  await system.renewal(arn);
  await system.reconcile('certificates');
  await system.reconcile('nodes');
}

test('a paused deployment is started by nothing, and resuming brings what it missed', async () => {
  expect(await verb('pause')).toMatchObject({ status: 200, body: { PausedAt: expect.any(String) } });
  const serial = await system.acm.renew(arn);
  await causes();
  expect((await system.register({ CertificateArn: arn })).status).toBe(409);
  expect((await system.rollouts(id)).status).toBe(409);
  expect(system.sfn.executions.size).toBe(1);
  expect(await verb('resume')).toMatchObject({ status: 202, body: { Serial: serial } });
  await system.runAll();
  expect(await system.deployment(id)).toMatchObject({
    Status: 'INSTALLED',
    Serial: serial,
    Rollouts: 2,
  });
});

test('what waits behind a running rollout does not start once the deployment is paused', async () => {
  await system.rollouts(id);
  await system.register({ CertificateArn: arn, VerifyPort: 443 });
  await verb('pause');
  await system.runAll();
  expect(await system.deployment(id)).toMatchObject({ Rollouts: 2, Pending: { Cause: 'REQUEST' } });
  await verb('resume');
  await system.runAll();
  const deployment = await system.deployment(id);
  expect(deployment).toMatchObject({ Status: 'INSTALLED', Options: { VerifyPort: 443 } });
  expect(deployment.Pending).toBeUndefined();
});

test('pausing and resuming twice is the same as once; what is not there is a 404', async () => {
  const first = await verb('pause');
  system.advance({ minutes: 1 });
  expect((await verb('pause')).body.PausedAt).toBe(first.body.PausedAt);
  expect([(await verb('resume')).status, (await verb('resume')).status]).toEqual([202, 202]);
  await system.runAll();
  expect(system.sfn.executions.size).toBe(2);
  expect((await verb('pause', '0'.repeat(24))).status).toBe(404);
});

test('the switch of the stack stops every start, and nothing is lost by it', async () => {
  const serial = await system.acm.renew(arn);
  system.rolloutsEnabled = false;
  await causes();
  for (const answer of [
    await system.register({ CertificateArn: arn }),
    await system.rollouts(id),
    await verb('resume'),
  ]) {
    expect(answer).toMatchObject({
      status: 409,
      body: { Message: expect.stringContaining('RolloutsEnabled') },
    });
  }
  expect(system.sfn.executions.size).toBe(1);
  system.rolloutsEnabled = true;
  await system.reconcile('certificates');
  await system.runAll();
  expect(await system.deployment(id)).toMatchObject({ Status: 'INSTALLED', Serial: serial });
});
