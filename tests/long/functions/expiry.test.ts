import { beforeEach, describe, expect, test } from '@jest/globals';
import { stageOf } from '../../../functions/domain/expiry.ts';
import type { ScriptedNode } from '../../../local/scripted-node.ts';
import { System } from '../../functions/support/system.ts';

let system: System;
let arn: string;
beforeEach(async () => {
  system = await System.create();
  arn = await system.acm.issue('web');
  await system.target().addNode('i-00000001');
});

async function installed(body: Record<string, unknown> = {}): Promise<string> {
  const answer = await system.register({ CertificateArn: arn, ...body });
  await system.runAll();
  return answer.body.DeploymentId;
}

const DAY_MS = 86_400_000;
const expiry = () => system.acm.held(arn).versions.at(-1)?.notAfter.getTime() ?? 0;
const daysLeft = () => (expiry() - system.clock.now().getTime()) / DAY_MS;

/** Runs the hourly task until so many days are left, three times a day. Gives the days at which messages came. */
async function until(days: number, meanwhile: () => Promise<void> = async () => {}): Promise<number[]> {
  const told: number[] = [];
  const notAfter = expiry();
  while ((notAfter - system.clock.now().getTime()) / DAY_MS > days) {
    system.advance({ hours: 8 });
    const before = system.messages().length;
    await system.reconcile('certificates');
    await meanwhile();
    for (let count = system.messages().length - before; count > 0; count -= 1) {
      told.push(Math.floor((notAfter - system.clock.now().getTime()) / DAY_MS));
    }
  }
  return told;
}

describe('a certificate that ACM does not renew', () => {
  test('is told at 30, 14, 7 and 1 days, and when it has expired, once each', async () => {
    await installed();
    system.advance({ days: 160 });
    expect(daysLeft()).toBeGreaterThan(35);
    // From its end on ACM says EXPIRED, which is told every day.
    expect(await until(-2)).toEqual([29, 13, 6, 0, -1, -1, -2, -3]);
    const [first] = system.messages();
    expect(first?.Subject).toBe('web-prod expires in 29 days: acm-export=web');
    expect(first?.Message).toMatch(
      /^What: The delivered certificate expires in 29 days, at 2027-06-\d\dT23:59:59Z\. ACM has not renewed it yet\./,
    );
    expect(first?.Message).toContain(
      'Where: account 444455556666, Region eu-central-1, servers tagged acm-export=web, deployment ',
    );
    expect(first?.Message).toMatch(/Since: 2026-11-24T/);
    expect(first?.Message).toContain('What to do: Open the certificate in ACM and complete its validation');
    expect(system.messages().map(({ Subject }) => Subject.split(':')[0])).toEqual([
      'web-prod expires in 29 days',
      'web-prod expires in 13 days',
      'web-prod expires in 6 days',
      'web-prod expires within a day',
      'web-prod has expired',
      ...Array(3).fill('Certificate web-prod will not be renewed'),
    ]);
  });

  test('is told of once for all its deployments, of which ten are named', async () => {
    for (let index = 0; index < 12; index += 1) {
      await installed({ TargetTagValue: `t${index}` });
    }
    system.advance({ days: 169 });
    await system.reconcile('certificates');
    expect(system.messages()).toEqual([
      expect.objectContaining({ Subject: expect.stringMatching(/ and 11 more$/) }),
    ]);
    const { Message = '' } = system.messages()[0] ?? {};
    expect(Message.match(/, deployment [0-9a-f]{24}/g)).toHaveLength(10);
    expect(Message).toContain('; and more: GET /deployments lists all of them');
    await system.reconcile('certificates');
    expect(system.messages()).toHaveLength(1);
  });

  test.each([
    ['FAILED', { status: 'FAILED', reason: 'CAA_ERROR' }, 'ACM failed to renew the certificate: CAA_ERROR.'],
    [
      'PENDING_VALIDATION',
      { status: 'PENDING_VALIDATION' },
      'ACM cannot renew the certificate before its validation is complete.',
    ],
  ] as const)('and says why (%s), is told once a day, long before it expires', async (_, renewal, why) => {
    await installed();
    system.acm.held(arn).renewal = { ...renewal, at: system.clock.now() };
    for (let hour = 0; hour < 48; hour += 4) {
      system.advance({ hours: 4 });
      await system.reconcile('certificates');
    }
    expect(system.messages()).toHaveLength(3);
    expect(system.messages()[0]?.Subject).toBe('Certificate web-prod will not be renewed');
    expect(system.messages()[0]?.Message).toContain(why);
  });

  test('and does not plan to, is told from a day after its first export on', async () => {
    await installed();
    // What was exported since is all that ACM renews.
    system.acm.held(arn).exported = false;
    await system.reconcile('certificates');
    system.advance({ hours: 23 });
    await system.reconcile('certificates');
    expect(system.messages()).toEqual([]);
    system.advance({ hours: 2 });
    await system.reconcile('certificates');
    expect(system.messages()[0]?.Message).toContain('ACM does not plan to renew the certificate.');
  });

  test('and was deleted or revoked in ACM, is told, and installed no more', async () => {
    await installed();
    system.acm.held(arn).status = 'REVOKED';
    await system.reconcile('certificates');
    system.advance({ days: 1 });
    system.acm.remove(arn);
    await system.reconcile('certificates');
    expect(system.messages().map(({ Message }) => Message.split('\n')[0])).toEqual([
      expect.stringContaining('its status is REVOKED'),
      expect.stringContaining('ACM does not know the certificate any more.'),
    ]);
    expect(system.sfn.executions.size).toBe(1);
  });

  test('does not give the alert of the same threshold twice in one day for two reasons', async () => {
    await installed();
    system.acm.held(arn).renewal = { status: 'FAILED', at: system.clock.now() };
    system.advance({ days: 169 });
    await system.reconcile('certificates');
    expect(system.messages()).toHaveLength(1);
    expect(system.messages()[0]?.Message).toContain('ACM failed to renew the certificate: no reason given.');
  });
});

describe('a certificate that was renewed', () => {
  test('and is installed, wakes nobody when the old one would have expired', async () => {
    await installed();
    system.advance({ days: 153 });
    await system.acm.renew(arn);
    await system.renewal(arn);
    await system.runAll();
    system.advance({ days: 44 });
    await system.reconcile('certificates');
    system.advance({ days: 2 });
    await system.reconcile('certificates');
    expect(system.messages()).toEqual([]);
  });

  test('but is not installed, says so with the last error and the execution', async () => {
    const id = await installed();
    system.advance({ days: 167 });
    Object.assign(system.target().nodes[0] as object, { behaviour: 'rolled-back' });
    await system.acm.renew(arn);
    await system.renewal(arn);
    await system.runAll();
    const before = system.messages().length;
    system.advance({ days: 3 });
    await system.reconcile('certificates');
    const [message] = system.messages().slice(before);
    expect(message?.Message).toContain(
      'ACM has renewed it, but the system has not delivered the new version yet.',
    );
    expect(message?.Message).toContain('i-00000001 is broken');
    expect(message?.Message).toContain(
      `What to do: Read the error of each server: GET /certificates/web-prod/deployments/${id}.`,
    );
    expect(message?.Message).toMatch(new RegExp(`More: https://.*/${'.*'}:${id}-\\d+$`));
  });

  test('and waits for nodes that do not exist, wakes nobody', async () => {
    Object.assign(system.target().nodes[0] as object, { listed: false });
    const id = await installed();
    system.advance({ days: 153 });
    await system.acm.renew(arn);
    await system.renewal(arn);
    await system.runAll();
    expect(await system.deployment(id)).toMatchObject({ Status: 'WAITING' });
    system.advance({ days: 46 });
    await system.reconcile('certificates');
    expect(system.messages()).toEqual([]);
  });

  test('is not claimed of one that is ready for nodes to come, and was not', async () => {
    Object.assign(system.target().nodes[0] as object, { listed: false });
    await installed();
    system.advance({ days: 170 });
    await system.reconcile('certificates');
    expect(system.messages()[0]?.Message).toContain('ACM has not renewed it yet.');
  });

  test('warns again from the start for its own expiry', async () => {
    await installed();
    system.advance({ days: 190 });
    await system.reconcile('certificates');
    await system.acm.renew(arn);
    await system.reconcile('certificates');
    await system.runAll();
    system.advance({ days: 160 });
    expect(await until(0)).toEqual([29, 13, 6, 0, -1]);
  });
});

describe('a node that misses a renewal', () => {
  test('is named at 30, 14, 7 and 1 days and after, in the list of what expires, and counted near its end', async () => {
    await system.target().addNode('i-00000002');
    const id = await installed();
    const end = expiry();
    system.advance({ days: 153 });
    const [stays, dead] = system.target().nodes as [ScriptedNode, ScriptedNode];
    dead.online = false;
    const serial = await system.acm.renew(arn);
    await system.renewal(arn);
    await system.runAll();
    const told: number[] = [];
    while (system.clock.now().getTime() < end + DAY_MS) {
      system.advance({ hours: 8 });
      const before = system.messages().length;
      await system.reconcile('nodes');
      const { Health } = await system.reconcile('certificates');
      const left = (end - system.clock.now().getTime()) / DAY_MS;
      expect(Health?.NearExpiry).toBe(left <= 14 ? 1 : 0);
      expect(Health?.DaysToExpiry).toBe(Math.floor(left));
      told.push(
        ...system
          .messages()
          .slice(before)
          .map(() => Math.floor(left)),
      );
    }
    expect(told).toEqual([29, 13, 6, 0, -1]);
    const { Message = '' } = system.messages()[0] ?? {};
    expect(Message).toContain(`What: The certificate on server ${dead.NodeId} expires in 29 days`);
    expect(Message).toContain('ACM has renewed it, but that server does not have the new version yet.');
    expect(Message).not.toContain(stays.NodeId);
    const { body } = await system.api('GET', '/deployments', { query: { ExpiresWithinDays: '1' } });
    expect(body.Deployments).toMatchObject([
      { DeploymentId: id, Serial: serial, EarliestNodeId: dead.NodeId },
    ]);
    // It is back, and is served; nothing is near its end then.
    dead.online = true;
    await system.reconcile('nodes');
    await system.runAll();
    await system.reconcile('nodes');
    expect(await system.deployment(id)).not.toHaveProperty('EarliestNodeId');
    expect((await system.reconcile('certificates')).Health).toMatchObject({ NearExpiry: 0 });
  });

  test('or serves something else, and is the only one, is not taken for a certificate that ACM did not renew', async () => {
    await installed();
    const node = system.target().nodes[0] as ScriptedNode;
    node.drift.set('web-prod', 'older');
    node.behaviour = 'failed';
    for (let sweep = 0; sweep < 2; sweep += 1) {
      system.advance({ minutes: 5 });
      await system.reconcile('nodes');
      await system.letNodesAnswer();
    }
    await system.reconcile('certificates');
    const told = system.messages().find(({ Subject }) => Subject.includes('expired'));
    expect(told?.Message).toContain(
      'ACM has renewed it, but the system has not delivered the new version yet.',
    );
    expect(told?.Message).toMatch(
      /To try at once: POST \/certificates\/web-prod\/deployments\/[0-9a-f]{24}\/rollouts\./,
    );
  });

  test('and goes away for good, wakes nobody', async () => {
    await system.target().addNode('i-00000002');
    await installed();
    system.advance({ days: 153 });
    const dead = system.target().nodes[1] as ScriptedNode;
    dead.online = false;
    await system.acm.renew(arn);
    await system.renewal(arn);
    await system.runAll();
    dead.listed = false;
    for (let day = 0; day < 50; day += 1) {
      system.advance({ days: 1 });
      await system.reconcile('nodes');
      await system.reconcile('certificates');
    }
    expect(system.messages()).toEqual([]);
  });
});

describe('the days at which people are told', () => {
  const stagesOf = (lifetime: number) => {
    const NotAfter = '2028-01-01T00:00:00Z';
    const NotBefore = new Date(Date.parse(NotAfter) - lifetime * DAY_MS).toISOString();
    const stageAt = (days: number) =>
      stageOf({ NotAfter, NotBefore }, new Date(Date.parse(NotAfter) - days * DAY_MS));
    return { stageAt };
  };

  test.each([
    [398, [30, 14, 7, 1]],
    [198, [30, 14, 7, 1]],
    [100, [15.15, 7.07, 3.53, 0.505]],
    [47, [7.12, 3.32, 1.66, 0.237]],
  ])('are those of 198 days, or the same fractions of a shorter lifetime (%d days)', (lifetime, days) => {
    const { stageAt } = stagesOf(lifetime);
    for (const [index, day] of days.entries()) {
      const stage = [30, 14, 7, 1][index];
      expect([stageAt(day * 1.01), stageAt(day * 0.99)]).toEqual([[undefined, 30, 14, 7][index], stage]);
    }
    expect([stageAt(0.0001), stageAt(0), stageAt(-5)]).toEqual([1, 0, 0]);
  });

  test('come only once a renewal is due: ACM renews with 45 of 198 days left', () => {
    for (const lifetime of [198, 100, 47, 20]) {
      expect(stagesOf(lifetime).stageAt((lifetime * 45) / 198)).toBeUndefined();
    }
  });
});
