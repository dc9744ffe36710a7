import { beforeEach, describe, expect, test } from '@jest/globals';
import type { Freeze } from '../../../functions/domain/freeze.ts';
import { type Actor, type Around, interleave } from '../../functions/support/interleave.ts';
import { awsError } from '../../functions/support/service-view.ts';
import { type ApiAnswer, OPERATOR, System } from '../../functions/support/system.ts';

const BOB = OPERATOR.replace('alice', 'bob');
const WHY = 'change freeze until Monday';

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

const own = (deploymentId: string) => ({ path: { CertName: 'web-prod', DeploymentId: deploymentId } });
const verb = (name: 'pause' | 'resume', deploymentId = id) =>
  system.api('POST', `/certificates/{CertName}/deployments/{DeploymentId}/${name}`, own(deploymentId));
const shown = async () => (await system.api('GET', '/freeze')).body;
const executions = () => system.sfn.executions.size;
const subjects = () => system.messages().map(({ Subject }) => Subject);
const frozenWords = (since: string) => `All rollouts are frozen (since ${since}, by ${OPERATOR}): "${WHY}".`;

/** Everything that could start a rollout by itself, each once. */
async function causes(): Promise<void> {
  await system.target().addNode(`i-${String(system.clock.now().getTime()).padStart(17, '0')}`);
  // An event that says nothing new is for Lambda to try again.
  await system.renewal(arn).catch(() => {});
  await system.reconcile('certificates');
  await system.reconcile('nodes');
}

/** More deployments of the certificate, each with a tag of its own. */
async function registerMore(count: number): Promise<void> {
  for (let index = 0; index < count; index += 1) {
    await system.target().addNode(`node-${index}`, { tags: { 'acm-export': `t${index}` } });
    await system.register({ CertificateArn: arn, TargetTagValue: `t${index}` });
  }
  await system.runAll();
}

describe('while all rollouts are frozen', () => {
  test('none begins, whatever asks for it; who froze, since when and why is kept and shown', async () => {
    const { FrozenAt, ...answer } = (await system.freeze(WHY)).body;
    expect(answer).toMatchObject({ Frozen: true, RolloutsEnabled: true, FrozenBy: OPERATOR, Reason: WHY });
    const serial = await system.acm.renew(arn);
    await causes();
    const requests = [
      await system.register({ CertificateArn: arn }),
      await system.register({ CertificateArn: arn, TargetTagValue: 'new' }),
      await system.register({ CertificateArn: arn, DryRun: true }),
      await system.rollouts(id),
      await verb('resume'),
    ];
    for (const { status, body } of requests) {
      expect([status, body.Message]).toEqual([
        409,
        `${frozenWords(FrozenAt)} Repeat the request after POST /thaw.`,
      ]);
    }
    expect(executions()).toBe(1);
    const deployment = await system.deployment(id);
    expect(deployment).toMatchObject({ Status: 'INSTALLED', Reason: frozenWords(FrozenAt) });
    // It is noted what waits.
    expect(deployment.Pending).toMatchObject({ Serial: serial, Cause: 'RENEWAL' });
    expect(deployment.NextAttemptAt).toBeUndefined();
    expect(await shown()).toMatchObject({ Frozen: true, FrozenAt, FrozenBy: OPERATOR, Reason: WHY });
  });

  test('what waited begins by itself with the first sweep after the thaw, in slots as a fleet that renews', async () => {
    await registerMore(20);
    await system.freeze(WHY);
    const serial = await system.acm.renew(arn);
    expect(await system.renewal(arn)).toEqual({ Started: 0, Skipped: 21 });
    await system.reconcile('nodes');
    expect(executions()).toBe(21);
    const { ThawedAt, ...thawed } = (await system.thaw(BOB)).body;
    expect(thawed).toMatchObject({ Frozen: false, FrozenBy: OPERATOR, Reason: WHY, ThawedBy: BOB });
    expect(ThawedAt > thawed.FrozenAt).toBe(true);
    expect(await system.reconcile('nodes')).toMatchObject({ Started: 21, Errors: 0 });
    const delays = system.sfn.running().map(({ input }) => JSON.parse(input).StartDelaySeconds as number);
    // 0.8 installations a second in one account: no slot was taken, and lost, while nothing could begin.
    expect(Math.max(...delays)).toBe(25);
    expect(new Set(delays).size).toBeGreaterThan(15);
    await system.reconcile('nodes');
    expect(system.sfn.running()).toHaveLength(21);
    await system.runAll();
    expect(await system.deployment(id)).toMatchObject({ Status: 'INSTALLED', Serial: serial });
  });

  test('a rollout that has begun goes on to its end; what waits behind it begins after the thaw', async () => {
    await system.rollouts(id);
    await system.register({ CertificateArn: arn, VerifyPort: 443 });
    await system.freeze(WHY);
    await system.runAll();
    expect(await system.deployment(id)).toMatchObject({
      Status: 'INSTALLED',
      Rollouts: 2,
      Pending: { Cause: 'REQUEST' },
    });
    await system.thaw();
    await system.reconcile('nodes');
    await system.runAll();
    const deployment = await system.deployment(id);
    expect(deployment).toMatchObject({ Options: { VerifyPort: 443 }, Rollouts: 3 });
    expect(deployment.Pending).toBeUndefined();
  });

  test('one that has begun and was not started is started after the thaw', async () => {
    system.sfn.failNext('StartExecution', awsError('ThrottlingException'));
    await system.rollouts(id);
    const { FrozenAt } = (await system.freeze(WHY)).body;
    await system.reconcile('nodes');
    expect(executions()).toBe(1);
    expect(await system.deployment(id)).toMatchObject({
      Status: 'ROLLING_OUT',
      Reason: frozenWords(FrozenAt),
    });
    await system.thaw();
    await system.reconcile('nodes');
    await system.runAll();
    expect(await system.deployment(id)).toMatchObject({ Status: 'INSTALLED', Rollouts: 2 });
  });

  test('what failed is not repeated, and a deployment that is paused says so', async () => {
    const [node] = system.target().nodes;
    Object.assign(node as object, { behaviour: 'failed' });
    await system.rollouts(id);
    await system.runAll();
    await system.freeze(WHY);
    system.advance({ hours: 3 });
    await system.reconcile('nodes');
    expect(executions()).toBe(2);
    expect((await verb('pause')).body.Reason).toBe('It is paused.');
    expect((await system.remove(id)).status).toBe(200);
  });

  test('looks go on and find; nothing is healed before the thaw, and people are told', async () => {
    const [node] = system.target().nodes;
    await system.freeze(WHY);
    node?.drift.set('web-prod', 'damaged');
    const sweep = async () => {
      await system.reconcile('nodes');
      await system.letNodesAnswer();
      await system.runAll();
      system.advance({ minutes: 5 });
    };
    for (let sweeps = 0; sweeps < 3; sweeps += 1) await sweep();
    expect(await system.deployment(id)).toMatchObject({ Status: 'DEGRADED', Rollouts: 1 });
    expect(subjects()).toContain('web-prod on i-00000001 has damaged files: acm-export=web');
    await system.thaw();
    await sweep();
    expect(await system.deployment(id)).toMatchObject({ LastHealing: { Status: 'INSTALLED' }, Rollouts: 2 });
  });

  test('a deployment of the stack changes nothing, whatever RolloutsEnabled says', async () => {
    await system.freeze(WHY);
    const serial = await system.acm.renew(arn);
    await system.renewal(arn);
    for (const enabled of [false, true]) {
      system.rolloutsEnabled = enabled;
      await causes();
      expect(await shown()).toMatchObject({ Frozen: true, RolloutsEnabled: enabled });
      expect((await system.rollouts(id)).status).toBe(409);
    }
    expect(executions()).toBe(1);
    // The switch of the stack holds without a freeze, too.
    system.rolloutsEnabled = false;
    expect((await system.thaw()).body).toMatchObject({ Frozen: false, RolloutsEnabled: false });
    await causes();
    expect(await system.deployment(id)).toMatchObject({
      Reason: 'This stack starts no rollouts now: its parameter RolloutsEnabled is false.',
      Rollouts: 1,
    });
    system.rolloutsEnabled = true;
    await system.reconcile('nodes');
    await system.runAll();
    expect(await system.deployment(id)).toMatchObject({ Serial: serial, Rollouts: 2 });
  });

  test('ACM is asked for a renewal all the same, and the answer says what comes of it', async () => {
    await system.freeze(WHY);
    const path = { CertName: 'web-prod' };
    const { status, body } = await system.api('POST', '/certificates/{CertName}/renewals', {
      path,
      body: { CertificateArn: arn },
    });
    expect([status, body.Warnings.at(-1)]).toEqual([
      202,
      expect.stringMatching(/^All rollouts are frozen .* The new version is installed afterwards\.$/),
    ]);
  });

  test('a record that cannot be read lets nothing begin', async () => {
    const isFreeze = ({ input }: { input: unknown }) => JSON.stringify(input).includes('freeze#all');
    system.cloud.faults.inject({
      operation: 'DynamoDB_20120810.GetItem',
      kind: 'server-error',
      times: Number.POSITIVE_INFINITY,
      when: isFreeze,
    });
    await system.acm.renew(arn);
    await expect(system.renewal(arn)).rejects.toThrow();
    await expect(system.reconcile('certificates')).rejects.toThrow();
    expect(await system.reconcile('nodes')).toMatchObject({ Started: 0, Examined: 1 });
    await expect(system.rollouts(id)).rejects.toThrow();
    expect(executions()).toBe(1);
  });
});

describe('a freeze that comes while something is under way', () => {
  /** What happens once before a call of the functions. */
  const beforeCall = (operation: string, happens: () => Promise<unknown>, mark = '') => {
    const fault = system.cloud.faults.inject({
      operation,
      kind: 'delay',
      until: happens,
      when: ({ source, input }) => source.startsWith('function ') && JSON.stringify(input).includes(mark),
    });
    return { met: () => fault.left === 0 };
  };

  test('does not stop what was decided before: it begins, is started, and goes on', async () => {
    const begin = beforeCall('DynamoDB_20120810.UpdateItem', () => system.freeze(WHY), '#Running');
    expect(await system.rollouts(id)).toMatchObject({ status: 202, body: { Warnings: [] } });
    expect([begin.met(), system.sfn.running().length]).toEqual([true, 1]);
    await system.runAll();
    expect(await system.deployment(id)).toMatchObject({ Status: 'INSTALLED', Rollouts: 2 });
    expect((await system.rollouts(id)).status).toBe(409);
  });

  test('lets an order be registered that was checked before: its answer says that it waits', async () => {
    const look = beforeCall('sts.AssumeRole', () => system.freeze(WHY));
    const { status, body } = await system.register({ CertificateArn: arn, VerifyPort: 443 });
    expect([look.met(), status, body.ExecutionArn]).toEqual([true, 202, undefined]);
    expect(body.Warnings.at(-1)).toMatch(
      /^All rollouts are frozen .* The requested rollout begins by itself afterwards\.$/,
    );
    await system.thaw();
    await system.reconcile('nodes');
    await system.runAll();
    expect(await system.deployment(id)).toMatchObject({ Options: { VerifyPort: 443 }, Rollouts: 2 });
  });

  test('refuses a dry run that was checked before, and nothing of it is noted', async () => {
    const look = beforeCall('sts.AssumeRole', () => system.freeze(WHY));
    const { status } = await system.register({ CertificateArn: arn, TargetTagValue: 'new', DryRun: true });
    expect([look.met(), status]).toEqual([true, 409]);
    expect((await system.api('GET', '/deployments')).body.Deployments).toHaveLength(1);
  });

  test('lets a pause end that was to end, and what was missed waits', async () => {
    await verb('pause');
    const serial = await system.acm.renew(arn);
    const mark = beforeCall('DynamoDB_20120810.UpdateItem', () => system.freeze(WHY), 'PausedAt');
    const { status, body } = await verb('resume');
    expect([mark.met(), status, body.Warnings.length]).toEqual([true, 202, 1]);
    expect((await system.deployment(id)).PausedAt).toBeUndefined();
    expect(executions()).toBe(1);
    await system.thaw();
    await system.reconcile('nodes');
    await system.runAll();
    expect(await system.deployment(id)).toMatchObject({ Serial: serial });
  });
});

describe('from the answer on', () => {
  const reads = () =>
    system.dynamodb.callsOf('GetItem').filter((call) => JSON.stringify(call).includes('freeze#all')).length;

  test('a function that runs for long acts by it, although it reads the record once a second at most', async () => {
    await registerMore(30);
    const warm = system.function('handle-renewal');
    const event = () => ({
      source: 'aws.acm',
      'detail-type': 'ACM Certificate Available',
      id: 'event-1',
      time: system.clock.now().toISOString(),
      resources: [arn],
      detail: { Action: 'RENEWAL' },
    });
    await system.acm.renew(arn);
    system.dynamodb.forgetCalls();
    expect(await warm(event())).toEqual({ Started: 31, Skipped: 0 });
    expect(reads()).toBe(1);
    await system.runAll();
    await system.acm.renew(arn);
    await warm(event());
    await system.runAll();
    const before = executions();
    // It has just read that nothing is frozen.
    await system.freeze(WHY);
    await system.acm.renew(arn);
    expect(await warm(event())).toEqual({ Started: 0, Skipped: 31 });
    expect(executions()).toBe(before);
    await system.thaw();
    await system.acm.renew(arn);
    expect(await warm(event())).toEqual({ Started: 31, Skipped: 0 });
  });

  test('a clock that is set back does not make an old read last', async () => {
    const { freezes } = system.inventory;
    expect(await freezes.current()).toBeUndefined();
    await freezes.begin(undefined, OPERATOR, WHY);
    expect(await freezes.current()).toBeUndefined();
    const now = system.clock.now().getTime();
    const behind = new (freezes.constructor as new (table: object) => typeof freezes)(
      Object.assign(Object.create(Object.getPrototypeOf(Reflect.get(freezes, 'table'))), {
        ...Reflect.get(freezes, 'table'),
        now: () => new Date(now - 60_000),
      }),
    );
    Reflect.set(behind, 'last', Reflect.get(freezes, 'last'));
    expect(await behind.current()).toMatchObject({ Reason: WHY });
  });
});

describe('two callers', () => {
  test('freezing twice is the same as once, and so is thawing; the first reason stays', async () => {
    expect((await system.thaw()).body).toEqual({
      Frozen: false,
      RolloutsEnabled: true,
      CorrelationId: 'request-1',
    });
    const first = (await system.freeze(WHY)).body;
    system.advance({ minutes: 5 });
    expect((await system.freeze('mine', BOB)).body).toEqual(first);
    const thawed = (await system.thaw(BOB)).body;
    system.advance({ minutes: 5 });
    expect((await system.thaw()).body).toEqual(thawed);
    expect((await system.freeze('mine', BOB)).body).toEqual({
      Frozen: true,
      RolloutsEnabled: true,
      FrozenAt: expect.any(String),
      FrozenBy: BOB,
      Reason: 'mine',
      CorrelationId: 'request-1',
    });
  });

  /** Every order of the calls of two actors, in which each may also let the other sleep out. */
  async function everyOrder(
    prepare: () => Promise<unknown>,
    actors: (answers: ApiAnswer[]) => Actor[],
    judge: (answers: ApiAnswer[], freeze: Freeze | undefined) => void,
  ): Promise<number> {
    const orders: number[][] = [[]];
    let played = 0;
    for (let order = orders.pop(); order; order = orders.pop()) {
      system = await System.create();
      await prepare();
      const answers: ApiAnswer[] = [];
      const taken: number[] = [];
      await interleave(actors(answers), (of) => {
        if (of === 0) return 0;
        const choice = order?.[taken.length] ?? 0;
        if (taken.length >= (order?.length ?? 0)) {
          for (let other = 1; other < of; other += 1) orders.push([...taken, other]);
          // One beyond all that wait: nobody calls now.
          if (of === 1 && taken.filter((one) => one === NOBODY).length < 2) orders.push([...taken, NOBODY]);
        }
        taken.push(choice);
        return choice;
      });
      judge(answers, await system.inventory.freezes.get());
      played += 1;
    }
    return played;
  }
  const NOBODY = 9;
  const freezing = (answers: ApiAnswer[], reason: string, caller: string): Actor => ({
    run: async (around: Around) => {
      answers.push(await system.freeze(reason, caller, { around }));
    },
  });
  const thawing = (answers: ApiAnswer[], caller: string): Actor => ({
    run: async (around: Around) => {
      answers.push(await system.thaw(caller, { around }));
    },
  });

  test('who freeze at once get one freeze, of one of them', async () => {
    const played = await everyOrder(
      async () => {},
      (answers) => [freezing(answers, 'a', OPERATOR), freezing(answers, 'b', BOB)],
      (answers, freeze) => {
        expect(answers.map(({ status, body }) => [status, body.Frozen, body.Reason])).toEqual(
          Array(2).fill([200, true, freeze?.Reason]),
        );
        expect(freeze?.ThawedAt).toBeUndefined();
      },
    );
    expect(played).toBeGreaterThan(3);
  });

  test('who freeze and thaw at once: the record says who was later, and no thaw ends a freeze that it did not see', async () => {
    const ends = new Set<string>();
    await everyOrder(
      () => system.freeze('before'),
      (answers) => [
        {
          run: async (around) => {
            await system.thaw(OPERATOR, { around });
            answers.push(await system.freeze('after', OPERATOR, { around }));
          },
        },
        thawing(answers, BOB),
      ],
      (answers, freeze) => {
        const after = answers.find(({ body }) => body.Reason === 'after' && !body.ThawedBy);
        // The thaw of bob has seen it, or it lasts.
        const seen = freeze?.ThawedBy === BOB && freeze.Reason === 'after';
        expect(after !== undefined || seen).toBe(true);
        ends.add(`${freeze?.Reason} ${freeze?.ThawedBy ? 'thawed' : 'lasts'}`);
        expect(answers.every(({ status }) => status === 200 || status === 409)).toBe(true);
      },
    );
    expect([...ends].sort()).toEqual(['after lasts', 'after thawed']);
  });

  test('a thaw that comes late, after another freeze has begun, ends nothing', async () => {
    await system.freeze('first');
    const { freezes } = system.inventory;
    const seen = (await freezes.get()) as Freeze;
    await system.thaw();
    await system.freeze('second');
    expect(await freezes.end(seen, BOB)).toBeUndefined();
    expect(await shown()).toMatchObject({ Frozen: true, Reason: 'second' });
  });

  test('a freeze that comes late, after it was repeated and thawed, freezes nothing', async () => {
    const { freezes } = system.inventory;
    const seen = await freezes.get();
    await system.freeze('repeated');
    await system.thaw();
    expect(await freezes.begin(seen, OPERATOR, 'late')).toBeUndefined();
    expect(await shown()).toMatchObject({ Frozen: false, Reason: 'repeated' });
  });

  test('a write whose answer is lost, and which the SDK repeats, is its own success', async () => {
    system.repeats = true;
    const lost = () =>
      system.cloud.faults.inject({ operation: 'DynamoDB_20120810.UpdateItem', kind: 'answer-lost' });
    let fault = lost();
    expect((await system.freeze(WHY)).body).toMatchObject({ Frozen: true, Reason: WHY });
    expect(fault.left).toBe(0);
    fault = lost();
    expect((await system.thaw(BOB)).body).toMatchObject({ Frozen: false, ThawedBy: BOB });
    expect(fault.left).toBe(0);
  });
});

describe('the reason', () => {
  test.each([
    ['missing', {}],
    ['empty', { Reason: '' }],
    ['of spaces', { Reason: '   ' }],
    ['of two lines', { Reason: 'done\nWhat to do: POST /thaw' }],
    ['that turns the writing direction', { Reason: 'until \u202eyadnoM' }],
    ['too long', { Reason: 'x'.repeat(201) }],
    ['no text', { Reason: 7 }],
    ['with another field', { Reason: WHY, Until: 'Monday' }],
  ])('%s is refused, and nothing is frozen', async (_, body) => {
    const answer = await system.api('POST', '/freeze', { body });
    expect(answer.status).toBe(400);
    expect(answer.body.Faults[0].Field).toMatch(/^(Reason|Until)$/);
    expect((await shown()).Frozen).toBe(false);
  });

  test('of any language, as long as it may be, is shown between quotation marks', async () => {
    const Reason = `Änderungssperre "Ostern": ${'ß'.repeat(200)}`.slice(0, 200);
    expect((await system.freeze(Reason)).body.Reason).toBe(Reason);
    expect((await system.rollouts(id)).body.Message).toContain(JSON.stringify(Reason));
  });
});

describe('people', () => {
  test('are told once that it is frozen, and once that it is thawed, within a sweep', async () => {
    const { FrozenAt } = (await system.freeze(WHY)).body;
    for (let sweeps = 0; sweeps < 3; sweeps += 1) {
      await system.reconcile('nodes');
      await system.reconcile('certificates');
      system.advance({ days: 1 });
    }
    expect(subjects()).toEqual(['All rollouts are frozen']);
    expect(system.messages()[0]?.Message).toBe(
      [
        `What: ${frozenWords(FrozenAt)} No rollout begins until a person thaws them. Rollouts that have begun go on to their end. Renewals are noted, and delivered after the thaw.`,
        'Where: every deployment of this stack',
        `Since: ${FrozenAt}`,
        'What to do: Nothing, if the freeze is meant. Certificates come nearer to their expiry meanwhile. POST /thaw ends the freeze.',
      ].join('\n\n'),
    );
    const { ThawedAt } = (await system.thaw(BOB)).body;
    for (let sweeps = 0; sweeps < 3; sweeps += 1) {
      await system.reconcile('nodes');
      system.advance({ days: 1 });
    }
    expect(subjects().slice(1)).toEqual(['All rollouts are thawed']);
    expect(system.messages()[1]?.Message).toContain(
      `What: ${BOB} has thawed all rollouts. ${OPERATOR} had frozen them at ${FrozenAt}: "${WHY}".`,
    );
    expect(system.messages()[1]?.Message).toContain(`Since: ${ThawedAt}`);
  });

  test('are told of both where it was thawed before a sweep came, and of each freeze anew', async () => {
    await system.freeze(WHY);
    await system.thaw();
    await system.reconcile('nodes');
    await system.freeze(WHY);
    await system.reconcile('nodes');
    const [frozen, thawed] = ['All rollouts are frozen', 'All rollouts are thawed'];
    expect(subjects()).toEqual([frozen, thawed, frozen]);
  });

  test('are told by the next sweep where a message could not be sent', async () => {
    await system.freeze(WHY);
    system.sns.failNext('Publish', awsError('InternalError', 'no', 'server'));
    expect(await system.reconcile('nodes')).toMatchObject({ Notified: 0, Errors: 1, Examined: 1 });
    expect(await system.reconcile('nodes')).toMatchObject({ Notified: 1, Errors: 0 });
    expect(subjects()).toEqual(['All rollouts are frozen']);
  });

  test('are told once by two sweeps at once, which is no fault of either', async () => {
    await system.freeze(WHY);
    const passes = await Promise.all([system.reconcile('nodes'), system.reconcile('nodes')]);
    expect(passes.map(({ Errors }) => Errors)).toEqual([0, 0]);
    expect(subjects()).toEqual(['All rollouts are frozen']);
  });

  test('are not told by the next sweeps while one is telling them or was cut off: that is no fault, and not noted', async () => {
    await system.freeze(WHY);
    const cutOff = system.cloud.faults.inject({
      operation: 'sns.Publish',
      kind: 'delay',
      until: () => new Promise(() => {}),
    });
    void system.reconcile('nodes');
    while (cutOff.left > 0) await new Promise(setImmediate);
    for (let sweeps = 0; sweeps < 3; sweeps += 1) {
      expect(await system.reconcile('nodes')).toMatchObject({ Errors: 0, Notified: 0 });
    }
    // A later sweep tells them, when the other one cannot be telling them any more.
    expect((await system.inventory.freezes.get())?.Told).toBeUndefined();
  });

  test('hear from a message of expiry that it is frozen, and what ends that', async () => {
    await system.freeze(WHY);
    await system.reconcile('nodes');
    system.advance({ days: 155 });
    await system.acm.renew(arn);
    await system.reconcile('certificates');
    system.advance({ days: 14 });
    await system.reconcile('certificates');
    const expiry = system.messages().find(({ Subject }) => Subject.includes('expires in'));
    expect(expiry?.Message).toContain(
      'ACM has renewed it, but the system has not delivered the new version yet. All rollouts are frozen (since ',
    );
    expect(expiry?.Message).toContain('What to do: Let rollouts begin again: POST /thaw');
  });
});
