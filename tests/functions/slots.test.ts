import { beforeEach, expect, test } from '@jest/globals';
import type { Deployment, Wanted } from '../../functions/domain/deployment.ts';
import { Inventory } from '../../functions/inventory/inventory.ts';
import { awsError } from './support/service-view.ts';
import { System } from './support/system.ts';

let system: System;
beforeEach(async () => {
  system = await System.create();
});

const targetsIn = (account: string, count: number) =>
  Array.from({ length: count }, () => ({
    TargetAccount: account,
    TargetRegion: 'eu-central-1',
    TargetTagKey: 'acm-export',
    TargetTagValue: 'web',
  }));

/** The gap in seconds between each slot and the one before it. */
function gapsOf(slots: Iterable<Date>): number[] {
  const sorted = [...slots].map((slot) => slot.getTime() / 1000).sort((a, b) => a - b);
  return sorted.slice(1).map((slot, index) => slot - (sorted[index] as number));
}

test('one account installs less than once a second, all together export less than ten times a second', async () => {
  const accounts = Array.from({ length: 20 }, (_, index) => targetsIn(String(400_000_000_000 + index), 5));
  const slots = await system.inventory.slots.take(accounts.flat());
  expect(slots.size).toBe(100);
  expect(Math.min(...gapsOf(slots.values()))).toBeGreaterThan(0.1);
  for (const account of accounts) {
    expect(Math.min(...gapsOf(account.map((target) => slots.get(target) as Date)))).toBeGreaterThan(1);
  }
});

test('callers at the same time or later get later slots, and an idle quota keeps nobody waiting', async () => {
  const all = targetsIn('444455556666', 30);
  const parts = [all.slice(0, 10), all.slice(10, 20), all.slice(20)];
  const slots = await Promise.all(parts.map((part) => system.inventory.slots.take(part)));
  expect(Math.min(...gapsOf(slots.flatMap((part) => [...part.values()])))).toBeGreaterThan(1);
  system.advance({ minutes: 5 });
  const [later] = (await system.inventory.slots.take(targetsIn('444455556666', 1))).values();
  expect(later).toEqual(system.clock.now());
});

test('a quota that a clock far ahead has taken holds up nobody: it begins anew, and no slot is beyond nine hours', async () => {
  const [target] = targetsIn('444455556666', 1);
  const hours = (slot: Date | undefined) =>
    ((slot?.getTime() ?? 0) - system.clock.now().getTime()) / 3_600_000;
  const ahead = new Inventory(
    system.client,
    system.table,
    () => new Date(system.clock.now().getTime() + 30 * 3_600_000),
  );
  await ahead.slots.take([target as never]);
  const slots = await system.inventory.slots.take(targetsIn('444455556666', 2));
  expect(Math.max(...[...slots.values()].map(hours))).toBeLessThan(0.01);
  // A quota that is really taken for that long: the execution does not wait beyond the bound.
  await system.target().addNode('i-1');
  const { body } = await system.register({ CertificateArn: await system.acm.issue('web') });
  await system.runAll();
  const deployment = (await system.inventory.get(body.DeploymentId)) as Deployment;
  const wanted = deployment.Wanted as Wanted;
  const begun = await system.inventory.begin(deployment, {
    ...wanted,
    Order: deployment,
    slot: new Date(system.clock.now().getTime() + 11 * 3_600_000),
  });
  expect(begun?.Running?.StartDelaySeconds).toBe(9 * 3600);
});

test('a renewal gives each rollout a slot; a start that was not heard is repeated with the same one', async () => {
  const arn = await system.acm.issue('web');
  for (const TargetTagValue of ['a', 'b', 'c']) {
    await system.target().addNode(`i-${TargetTagValue}`, { tags: { 'acm-export': TargetTagValue } });
    await system.register({ CertificateArn: arn, TargetTagValue });
  }
  await system.runAll();
  await system.acm.renew(arn);
  system.sfn.failNext('StartExecution', awsError('TimeoutError'), 'after', 3);
  const event = { time: system.clock.now().toISOString() };
  await expect(system.renewal(arn, event)).rejects.toThrow('the answer was lost');
  const delays = () =>
    system.sfn
      .running()
      .map(({ input }) => (JSON.parse(input) as { StartDelaySeconds: number }).StartDelaySeconds);
  const given = delays();
  expect(given.sort()).toEqual([0, 2, 3]);
  system.advance({ minutes: 1 });
  await system.renewal(arn, event);
  expect(delays().sort()).toEqual(given);
  await system.runAll();
  expect(system.sfn.executions.size).toBe(6);
});

test('a rollout that a person asked for does not wait behind a fleet', async () => {
  await system.inventory.slots.take(targetsIn('444455556666', 1000));
  await system.target().addNode('i-00000001');
  await system.register({ CertificateArn: await system.acm.issue('web') });
  const [execution] = system.sfn.running();
  expect(JSON.parse(execution?.input as string)).toMatchObject({ StartDelaySeconds: 0 });
});
