import { beforeEach, expect, test } from '@jest/globals';
import { System } from './support/system.ts';

let system: System;
beforeEach(async () => {
  system = await System.create();
});

const health = async () => (await system.reconcile('certificates')).Health;

test('an empty fleet has no failure and nothing that expires', async () => {
  expect(await health()).toEqual({
    Installed: 0,
    Degraded: 0,
    Waiting: 0,
    Failed: 0,
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
