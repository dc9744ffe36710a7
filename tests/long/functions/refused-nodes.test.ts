import { beforeEach, describe, expect, test } from '@jest/globals';
import type { NodeRecord } from '../../../functions/domain/deployment.ts';
import type { ScriptedNode } from '../../../local/scripted-node.ts';
import { System } from '../../functions/support/system.ts';

// Nodes that carry the tag and cannot be served for a reason of their own, beside others: from the first request until they
// are mended or gone.

const TAG = { 'acm-export': 'web' };
let system: System;
let arn: string;
let id: string;
beforeEach(async () => {
  system = await System.create();
  arn = await system.acm.issue('web');
});

const addNodes = async (count: number, name: string, options = {}) => {
  const nodes: ScriptedNode[] = [];
  for (let index = 0; index < count; index += 1) {
    nodes.push(await system.target().addNode(`${name} ${index}`, options));
  }
  return nodes;
};
/** Their roles do not have the tag: the bundle stays closed to them. */
const addUntagged = async (count: number, name = 'untagged') => {
  const nodes = await addNodes(count, name);
  for (const node of nodes) node.roleTags = {};
  return nodes;
};
const request = async (order: object = {}) => {
  const { body } = await system.register({ CertificateArn: arn, ...order });
  id = body.DeploymentId;
  await system.runAll();
};
const renew = async () => {
  await system.acm.renew(arn);
  await system.renewal(arn);
  await system.runAll();
};
/** Five minutes, and the sweep after them with all that follows. */
const sweep = async () => {
  system.advance({ minutes: 5 });
  await system.reconcile('nodes');
  await system.runAll();
};
const sweeps = async (minutes: number) => {
  for (let passed = 0; passed < minutes; passed += 5) await sweep();
};
const status = async () => (await system.deployment(id)).Status;
const records = () => system.inventory.nodes.all(id);
const recordOf = async ({ NodeId }: ScriptedNode) =>
  (await records()).find((record) => record.NodeId === NodeId) as NodeRecord;
const executions = () => system.sfn.executions.size;
const automations = () => system.target().automations().length;
const serves = ({ installed }: ScriptedNode) => installed?.Serial === system.acm.serialOf(arn);
const subjects = () => system.messages().map(({ Subject }) => Subject);

describe('three nodes whose roles are not tagged, beside a good one', () => {
  test('keep it from none of six renewals; the deployment is degraded and names the three', async () => {
    const bad = await addUntagged(3);
    const [good] = await addNodes(1, 'good');
    await request();
    expect(good && serves(good)).toBe(true);
    for (let renewal = 0; renewal < 6; renewal += 1) {
      system.advance({ days: 150 });
      const before = { executions: executions(), automations: automations() };
      await renew();
      expect([good && serves(good), await status()]).toEqual([true, 'DEGRADED']);
      expect([executions() - before.executions, automations() - before.automations]).toEqual([1, 1]);
      const { LastError = '' } = await system.deployment(id);
      for (const { NodeId } of bad) expect(LastError).toContain(`${NodeId}: the role of ${NodeId} may not`);
    }
    expect(subjects().filter((subject) => subject.startsWith('Rollout of'))).toEqual([]);
  });

  test('are named in one message a day, which says what to do', async () => {
    const bad = await addUntagged(3);
    await addNodes(1, 'good');
    await request();
    await sweep();
    expect(system.messages()).toHaveLength(1);
    const [{ Subject = '', Message = '' } = {}] = system.messages();
    expect(Subject).toMatch(/^web-prod cannot be served on i-[0-9a-f]+: acm-export=web and 2 more$/);
    for (const { NodeId } of bad) expect(Message).toContain(`${NodeId}: the role of ${NodeId} may not read`);
    expect(Message).toContain(
      'lack the tag acm-export=web or the policy acm-export-read-bundle-eu-central-1',
    );
    // More of them on the same day are no news.
    await addUntagged(2, 'more');
    await sweeps(60);
    expect(system.messages()).toHaveLength(1);
    await sweeps(24 * 60);
    expect(subjects()).toHaveLength(2);
    expect(subjects()[1]).toMatch(/and 4 more$/);
  });

  test('are tried again at twice the distance each time, at most a day apart, and never before', async () => {
    await addUntagged(3);
    await addNodes(1, 'good');
    await request();
    const apart: number[] = [];
    for (let attempt = 0; attempt < 10; attempt += 1) {
      const { NextAttemptAt = '' } = await system.deployment(id);
      const { At = '' } = (await system.inventory.get(id))?.Observed ?? {};
      apart.push((Date.parse(NextAttemptAt) - Date.parse(At)) / 60_000);
      const before = executions();
      const seconds = (Date.parse(NextAttemptAt) - system.clock.now().getTime()) / 1000;
      system.advance({ seconds: seconds - 1 });
      await system.reconcile('nodes');
      expect(executions()).toBe(before);
      system.advance({ seconds: 1 });
      await system.reconcile('nodes');
      await system.runAll();
      expect(executions()).toBe(before + 1);
    }
    expect(apart[0]).toBe(15);
    for (const [index, distance] of apart.entries()) {
      // A rollout takes its time, too.
      const due = Math.min(15 * 2 ** Math.max(0, index - 1), 1440);
      expect(distance).toBeGreaterThanOrEqual(due);
      expect(distance).toBeLessThanOrEqual(Math.min(due * 1.1, 1440));
    }
  });

  test('are why it waits, and until when: GET says so', async () => {
    await addUntagged(3);
    await addNodes(1, 'good');
    await request();
    const { At } = (await system.inventory.get(id))?.Observed ?? {};
    expect(await system.deployment(id)).toMatchObject({
      Reason: expect.stringContaining('could not be served for a reason of its own'),
      NextAttemptAt: new Date(Date.parse(At ?? '') + 15 * 60_000).toISOString().replace('.000', ''),
    });
  });
});

test('fifty and two hundred of them, none seen before, keep no good node from the first certificate', async () => {
  for (const count of [50, 200]) {
    system = await System.create();
    arn = await system.acm.issue('web');
    await addUntagged(count);
    const [good] = await addNodes(1, 'good');
    await request();
    expect([good && serves(good), await status(), executions()]).toEqual([true, 'DEGRADED', 1]);
    expect(automations()).toBeLessThanOrEqual(3);
    expect((await records()).filter(({ Outcome }) => Outcome === 'refused')).toHaveLength(count);
  }
});

test('more of them, at each sweep and each renewal, cause one execution a sweep at most', async () => {
  const [good] = await addNodes(1, 'good');
  await addUntagged(3);
  await request();
  for (let hour = 0; hour < 2; hour += 1) {
    const before = executions();
    for (let part = 0; part < 12; part += 1) {
      await addUntagged(2, `${hour} ${part}`);
      await sweep();
    }
    expect(executions() - before).toBeLessThanOrEqual(12);
    await renew();
    expect([good && serves(good), await status()]).toEqual([true, 'DEGRADED']);
  }
});

test('one that becomes good gets the certificate without a person, and the deployment is installed', async () => {
  const [bad] = await addUntagged(1);
  await addNodes(2, 'good');
  await request();
  await sweeps(120);
  expect([bad && serves(bad), await status()]).toEqual([false, 'DEGRADED']);
  expect((await recordOf(bad as ScriptedNode)).Refusal).toBeDefined();
  (bad as ScriptedNode).roleTags = TAG;
  // It was refused for two hours: so it waits for as long at most.
  await sweeps(140);
  expect([bad && serves(bad), await status()]).toEqual([true, 'INSTALLED']);
  const record = await recordOf(bad as ScriptedNode);
  expect([record.Outcome, record.Refusal, record.Error]).toEqual(['installed', undefined, undefined]);
  const before = executions();
  await sweeps(120);
  expect(executions()).toBe(before);
});

test('a person who has mended one need not wait: a rollout serves it at once', async () => {
  const [bad] = await addUntagged(1);
  await addNodes(1, 'good');
  await request();
  (bad as ScriptedNode).roleTags = TAG;
  await system.rollouts(id);
  await system.runAll();
  expect([bad && serves(bad), await status()]).toEqual([true, 'INSTALLED']);
});

test('one that went away and came back is tried at once: it may have been mended', async () => {
  const [bad] = await addUntagged(1);
  await addNodes(1, 'good');
  await request();
  await sweeps(240);
  (bad as ScriptedNode).listed = false;
  await sweep();
  (bad as ScriptedNode).roleTags = TAG;
  (bad as ScriptedNode).listed = true;
  await sweep();
  expect([bad && serves(bad), await status()]).toEqual([true, 'INSTALLED']);
});

test('a good one that turns bad goes on serving what it served, and no other waits for it', async () => {
  const nodes = await addNodes(4, 'good');
  await request();
  // The canary of the next renewal, whichever it is, and one more.
  for (const node of nodes.slice(0, 2)) node.roleTags = {};
  const before = system.acm.serialOf(arn);
  system.advance({ days: 150 });
  await renew();
  expect(nodes.map(serves)).toEqual([false, false, true, true]);
  expect(nodes.slice(0, 2).map(({ installed }) => installed?.Serial)).toEqual([before, before]);
  expect(await status()).toBe('DEGRADED');
  const { EarliestNodeId } = await system.deployment(id);
  expect(nodes.slice(0, 2).map(({ NodeId }) => NodeId)).toContain(EarliestNodeId);
});

test('where all are bad the rollout has failed, people are told, and one that becomes good is found', async () => {
  const bad = await addUntagged(5);
  await request();
  expect(await status()).toBe('FAILED');
  expect(subjects()).toEqual(['Rollout of web-prod FAILED: acm-export=web']);
  const before = { executions: executions(), automations: automations() };
  await sweeps(6 * 60);
  // After 15, 30, 60, 120 minutes: a canary and a probe each.
  expect(executions() - before.executions).toBeLessThanOrEqual(5);
  expect(automations() - before.automations).toBeLessThanOrEqual(10);
  // It was told, and nothing is new.
  expect(subjects()).toHaveLength(1);
  (bad[4] as ScriptedNode).roleTags = TAG;
  await sweeps(12 * 60);
  expect([bad.map(serves), await status()]).toEqual([[false, false, false, false, true], 'DEGRADED']);
});

test('those that are gone leave the deployment installed', async () => {
  const bad = await addUntagged(3);
  await addNodes(1, 'good');
  await request();
  for (const node of bad) node.listed = false;
  await sweeps(30);
  expect(await status()).toBe('INSTALLED');
  expect((await system.deployment(id)).LastError).toBeUndefined();
});

test('options that no server takes stop at the canary, though nodes are refused beside it', async () => {
  await addUntagged(3);
  const good = await addNodes(4, 'good');
  await request();
  const before = system.acm.serialOf(arn);
  await system.acm.renew(arn);
  for (const node of good) Object.assign(node, { behaviour: 'rolled-back', exitCode: 60 });
  const started = automations();
  await request({ VerifyPort: 8443 });
  expect(await status()).toBe('FAILED');
  expect(automations() - started).toBe(1);
  const outcomes = (await records()).map(({ Outcome }) => Outcome).sort();
  // Those that were refused are known as such, though this rollout did not come to them.
  expect(outcomes).toEqual([
    'not-reached',
    'not-reached',
    'not-reached',
    'refused',
    'refused',
    'refused',
    'rolled-back',
  ]);
  expect(good.map(({ installed }) => installed?.Serial)).toEqual(good.map(() => before));
});

test('the messages of one day: one for each cause, however many deployments have it', async () => {
  await addUntagged(2);
  const [owned] = await addNodes(1, 'owned', { behaviour: 'failed', exitCode: 31 });
  await addNodes(1, 'good');
  await request();
  await system.register({ CertificateArn: arn }, undefined, 'second');
  await system.runAll();
  await sweep();
  expect(subjects()).toHaveLength(2);
  const texts = system.messages().map(({ Message }) => Message);
  const denied = texts.find((text) => text.includes('may not read the bundle'));
  const other = texts.find((text) => text !== denied);
  expect(denied?.match(/deployment [0-9a-f]{24}/g)).toHaveLength(2);
  expect(other).toContain(owned?.NodeId);
  expect(other).toContain('exit code 31 (owned-by-another)');
});

describe('documents of the edition before, whose script ends with its exit code on every node', () => {
  const old = (nodes: ScriptedNode[]) => {
    for (const node of nodes) {
      node.says = (parameters) => {
        const { DeploymentId, RolloutNumber } = parameters;
        const line = {
          Outcome: 'failed',
          ExitCode: 20,
          DeploymentId,
          RolloutNumber: Number(RolloutNumber),
          Error: 'no',
        };
        return { stdout: `${JSON.stringify(line)}\n`, exitCode: 20 };
      };
    }
  };

  test.each([1, 3, 4])('%i bad nodes, none seen before, keep one good one from nothing', async (count) => {
    old(await addNodes(count, 'bad'));
    const [good] = await addNodes(1, 'zz good');
    await request();
    await sweeps(15);
    expect(good && serves(good)).toBe(true);
    for (let renewal = 0; renewal < 6; renewal += 1) {
      await renew();
      expect(good && serves(good)).toBe(true);
    }
  });

  test('fifty of them, none seen before, keep it waiting for hours at most, not for days', async () => {
    old(await addNodes(50, 'bad'));
    const [good] = await addNodes(1, 'good');
    await request();
    const before = executions();
    await sweeps(4 * 60);
    expect(good && serves(good)).toBe(true);
    expect(executions() - before).toBeLessThanOrEqual(16);
  });
});
