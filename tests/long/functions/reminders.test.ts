import { beforeEach, describe, expect, test } from '@jest/globals';
import { awsError } from '../../functions/support/service-view.ts';
import { OPERATOR, System } from '../../functions/support/system.ts';

let system: System;
let arn: string;
beforeEach(async () => {
  system = await System.create();
  arn = await system.acm.issue('web');
});

async function registered(count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let index = 0; index < count; index += 1) {
    const answer = await system.register({ CertificateArn: arn, TargetTagValue: `t${index}` });
    ids.push(answer.body.DeploymentId);
  }
  await system.runAll();
  return ids;
}
const verb = (name: 'pause' | 'resume', DeploymentId: string) =>
  system.api('POST', `/certificates/{CertName}/deployments/{DeploymentId}/${name}`, {
    path: { CertName: 'web-prod', DeploymentId },
  });

/** The hourly sweep, for so long. @returns at which hours people were reminded, and of what. */
async function hours(count: number): Promise<[number, string][]> {
  const told: [number, string][] = [];
  for (let hour = 1; hour <= count; hour += 1) {
    system.advance({ hours: 1 });
    const before = system.messages().length;
    await system.reconcile('certificates');
    const subjects = system
      .messages()
      .slice(before)
      .map(({ Subject }) => Subject);
    told.push(...subjects.map((subject): [number, string] => [hour, subject]));
  }
  return told;
}

describe('people are reminded', () => {
  test('of what is paused for a week, once a day, in one message, until it is resumed', async () => {
    const [a = '', b = ''] = await registered(3);
    await verb('pause', a);
    system.advance({ hours: 2 });
    await verb('pause', b);
    expect(await hours(165)).toEqual([]);
    expect(await hours(50)).toEqual([
      [1, 'Still stopped: 1 deployment'],
      [25, 'Still stopped: 2 deployments'],
      [49, 'Still stopped: 2 deployments'],
    ]);
    const { Message = '' } = system.messages().at(-1) ?? {};
    const at = (await system.inventory.get(a))?.PausedAt;
    expect(Message.split('\n\n')).toEqual([
      'What: 2 deployments are paused: nothing is installed there, and no renewal arrives.',
      expect.stringMatching(
        new RegExp(
          `^Where: web-prod since ${at}: account .*, deployment ${a}; web-prod since .*, deployment ${b}$`,
        ),
      ),
      `Since: ${at}`,
      'What to do: Resume each deployment that is to go on: POST /certificates/{CertName}/deployments/{DeploymentId}/resume. DELETE those that nobody needs. You get this message once a day until it is over.',
    ]);
    await verb('resume', a);
    expect(await hours(24)).toEqual([[23, 'Still stopped: 1 deployment']]);
    await verb('resume', b);
    expect(await hours(72)).toEqual([]);
  });

  test('of however many: the longest ten are named, and where the others are', async () => {
    const ids = await registered(13);
    for (const id of ids) {
      await verb('pause', id);
      system.advance({ minutes: 1 });
    }
    system.advance({ days: 7 });
    expect(await hours(1)).toEqual([[1, 'Still stopped: 13 deployments']]);
    const { Message = '' } = system.messages().at(-1) ?? {};
    const named = [...Message.matchAll(/, deployment ([0-9a-f]{24})/g)].map(([, id]) => id);
    expect(named).toEqual(ids.slice(0, 10));
    expect(Message).toContain('; and 3 more: GET /deployments?Status=PAUSED lists all of them');
  });

  test('of a freeze and of pauses in one message, with who froze and why', async () => {
    const [a = ''] = await registered(1);
    await verb('pause', a);
    await system.freeze('change freeze');
    await system.reconcile('nodes');
    system.advance({ days: 7 });
    expect(await hours(1)).toEqual([[1, 'Still stopped: all rollouts and 1 deployment']]);
    const { Message = '' } = system.messages().at(-1) ?? {};
    expect(Message).toMatch(
      new RegExp(
        `^What: All rollouts are frozen \\(since .*, by ${OPERATOR}\\): "change freeze"\\. 1 deployment is paused: `,
      ),
    );
    expect(Message).toContain('Where: every deployment of this stack; web-prod since ');
    expect(Message).toContain('What to do: POST /thaw when the reason has gone. Resume each deployment');
    await system.thaw();
    expect(await hours(24)).toEqual([[24, 'Still stopped: 1 deployment']]);
  });

  test('of RolloutsEnabled=false, counted from the first sweep that saw it', async () => {
    await registered(1);
    system.rolloutsEnabled = false;
    expect(await hours(168)).toEqual([]);
    expect(await hours(25)).toEqual([
      [1, 'Still stopped: all rollouts'],
      [25, 'Still stopped: all rollouts'],
    ]);
    expect(system.messages().at(-1)?.Message).toMatch(
      /^What: This stack starts no rollouts: its parameter RolloutsEnabled is false, at least since 2026-11-24T11:30:00Z\./,
    );
    system.rolloutsEnabled = true;
    expect(await hours(24)).toEqual([]);
    // It begins anew.
    system.rolloutsEnabled = false;
    expect(await hours(168)).toEqual([]);
    expect(await hours(1)).toHaveLength(1);
  });

  test('by the next sweep where the message could not be sent, and once by two sweeps at once', async () => {
    const [a = ''] = await registered(1);
    await verb('pause', a);
    system.advance({ days: 8 });
    system.sns.failNext('Publish', awsError('InternalError', 'no', 'server'));
    // That it could not be told is no reason to compare the certificates again.
    expect(await system.reconcile('certificates')).toMatchObject({ Notified: 0, Errors: 1 });
    await Promise.all([system.reconcile('certificates'), system.reconcile('certificates')]);
    expect(system.messages()).toHaveLength(1);
  });

  test('after the days of the parameter, and never where it is 0', async () => {
    const [a = ''] = await registered(1);
    await verb('pause', a);
    await system.freeze();
    await system.reconcile('nodes');
    system.reminderDays = 0;
    expect(await hours(24 * 10)).toEqual([]);
    system.reminderDays = 12;
    expect(await hours(24 * 2)).toEqual([[48, 'Still stopped: all rollouts and 1 deployment']]);
  });

  test('not of what is being deleted, and not while a part of the fleet could not be read', async () => {
    const [a = '', b = ''] = await registered(2);
    for (const id of [a, b]) await verb('pause', id);
    system.advance({ days: 8 });
    await system.mark('markDeleting', a);
    system.dynamodb.failNext('Query', awsError('ThrottlingException'));
    await system.reconcile('certificates').catch(() => {});
    expect(system.messages()).toEqual([]);
    await system.reconcile('certificates');
    expect(system.messages().map(({ Subject }) => Subject)).toEqual(['Still stopped: 1 deployment']);
  });
});

test('a fleet of which nothing stands still costs one read of the reminder an hour, and no write', async () => {
  await registered(2);
  await system.reconcile('certificates');
  system.dynamodb.forgetCalls();
  await system.reconcile('certificates');
  const calls = system.dynamodb.calls.map(({ operation }) => operation);
  expect(new Set(calls)).toEqual(new Set(['GetItem', 'Query']));
  const reads = system.dynamodb.callsOf('GetItem').map((call) => JSON.stringify(call));
  expect(reads.filter((read) => read.includes('reminder#stops'))).toHaveLength(1);
});
