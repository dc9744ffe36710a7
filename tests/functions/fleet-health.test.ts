import { beforeEach, expect, test } from '@jest/globals';
import type { FleetHealth } from '../../functions/reconcile/fleet-health.ts';
import { awsError } from './support/service-view.ts';
import { System } from './support/system.ts';

let system: System;
beforeEach(async () => {
  system = await System.create();
});

const health = async () => (await system.reconcile('certificates')).Health as FleetHealth;

test('an empty fleet has no failure and nothing that expires', async () => {
  expect(await health()).toEqual({
    Installed: 0,
    Degraded: 0,
    Waiting: 0,
    Failed: 0,
    NearExpiry: 0,
    OldestFailureSeconds: 0,
  });
});

test('a failure is as old as its first rollout that failed, and is over when one succeeds', async () => {
  const node = await system.target().addNode('i-00000001');
  node.behaviour = 'failed';
  await system.register({ CertificateArn: await system.acm.issue('web') });
  await system.runAll();
  system.advance({ hours: 5 });
  expect(await health()).toMatchObject({ Failed: 1, OldestFailureSeconds: expect.closeTo(5 * 3600, -2) });
  await system.runAll();
  system.advance({ hours: 20 });
  node.behaviour = 'installs';
  // Tried again meanwhile, and failed again: neither makes it younger.
  expect(await health()).toMatchObject({ Failed: 1, OldestFailureSeconds: expect.closeTo(25 * 3600, -2) });
  await system.runAll();
  expect(await health()).toMatchObject({ Installed: 1, Failed: 0, OldestFailureSeconds: 0 });
});

test('a failure that is paused is none, until it is resumed', async () => {
  await system.target().addNode('i-00000001', { behaviour: 'failed' });
  const { body } = await system.register({ CertificateArn: await system.acm.issue('web') });
  await system.runAll();
  const item = { path: { CertName: 'web-prod', DeploymentId: body.DeploymentId } };
  await system.api('POST', '/certificates/{CertName}/deployments/{DeploymentId}/pause', item);
  system.advance({ hours: 30 });
  expect(await health()).toMatchObject({ Failed: 0, OldestFailureSeconds: 0 });
  await system.api('POST', '/certificates/{CertName}/deployments/{DeploymentId}/resume', item);
  expect(await health()).toMatchObject({ Failed: 1 });
});

test('the certificate that expires first is the one that counts', async () => {
  await system.target().addNode('i-00000001');
  const first = await system.acm.issue('web');
  await system.register({ CertificateArn: first });
  await system.runAll();
  const before = (await health()).DaysToExpiry as number;
  system.advance({ hours: 24 * 10 });
  await system.register({ CertificateArn: await system.acm.issue('web') }, undefined, 'web-other');
  await system.runAll();
  expect((await health()).DaysToExpiry).toBe(before - 10);
});

test('a part of the fleet that cannot be read is no health, and the rest is served all the same', async () => {
  await system.target().addNode('i-00000001');
  const arn = await system.acm.issue('web');
  const { body } = await system.register({ CertificateArn: arn });
  await system.runAll();
  await system.acm.renew(arn);
  // The first of the queries, which is for another status.
  system.cloud.faults.inject({
    operation: 'DynamoDB_20120810.Query',
    kind: 'refuse',
    error: awsError('ThrottlingException'),
    when: ({ input }) => JSON.stringify(input).includes('ROLLING_OUT'),
  });
  await expect(system.reconcile('certificates')).rejects.toThrow('could not be looked at: 1');
  await system.runAll();
  expect(await system.deployment(body.DeploymentId)).toMatchObject({ Status: 'INSTALLED', Rollouts: 2 });
  const pass = await system.reconcile('certificates');
  expect(pass).toMatchObject({ Errors: 0, Health: { Installed: 1 } });
});
