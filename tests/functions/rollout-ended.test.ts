import { beforeEach, describe, expect, test } from '@jest/globals';
import { type Deployment, orderOf, timestamp } from '../../functions/domain/deployment.ts';
import { awsError } from './support/service-view.ts';
import type { Execution } from './support/system.ts';
import { MEMBER, System } from './support/system.ts';

let system: System;
let arn: string;
beforeEach(async () => {
  system = await System.create();
  arn = await system.acm.issue('web');
  await system.target().addNode('i-00000001');
});

async function running(body: Record<string, unknown> = {}): Promise<{ id: string; execution: Execution }> {
  const answer = await system.register({ CertificateArn: arn, ...body });
  const execution = system.sfn.executions.get(answer.body.ExecutionArn) as Execution;
  return { id: answer.body.DeploymentId, execution };
}

describe('an execution that ended outside its own states', () => {
  test.each([
    [
      'FAILED',
      { name: 'States.Runtime', message: 'no path' },
      'States.Runtime: no path',
      /Open the execution/,
    ],
    [
      'TIMED_OUT',
      undefined,
      'TIMED_OUT: The execution reached its time limit.',
      /a quota of Systems Manager or ACM/,
    ],
    ['ABORTED', undefined, 'ABORTED: A person stopped the execution.', /Find out who stopped it/],
  ] as const)(
    'as %s is recorded once and told once, with what, where, since when and what to do',
    async (status, error, reason, advice) => {
      const { id, execution } = await running();
      system.sfn.end(execution.arn, status);
      system.advance({ minutes: 3 });
      const event = system.executionEvent(execution, error);
      expect(await system.report(event)).toEqual({ Reported: execution.arn });
      expect(await system.deployment(id)).toMatchObject({
        Status: 'FAILED',
        LastError: reason,
        Failures: 1,
        LastRollout: { Status: 'FAILED', ExecutionArn: execution.arn },
      });
      const [message] = system.messages();
      expect(message?.Subject).toBe(`Rollout of web-prod ${status}: acm-export=web`);
      const lines = message?.Message.split('\n\n') ?? [];
      expect(lines.map((line) => line.split(':')[0])).toEqual([
        'What',
        'Where',
        'Since',
        'What to do',
        'More',
      ]);
      expect(lines[0]).toContain(`failed. ${reason}`);
      expect(lines[0]).toContain(arn);
      expect(lines[1]).toBe(
        `Where: account ${MEMBER}, Region eu-central-1, servers tagged acm-export=web, deployment ${id}`,
      );
      expect(lines[2]).toBe(`Since: ${timestamp(system.clock.now())}`);
      expect(lines[3]).toMatch(advice);
      expect(lines[4]).toBe(
        `More: https://console.aws.amazon.com/states/home?region=eu-central-1#/v2/executions/details/${execution.arn}`,
      );
      // Delivered again, and again under another id.
      await system.report(event);
      await system.report({ ...event, id: 'another' });
      expect(system.messages()).toHaveLength(1);
      expect((await system.deployment(id)).Failures).toBe(1);
    },
  );

  test.each([
    ['for what a node says: looks tell of nodes', 'InstallationFailed', 'i-00000001: is broken', 0],
    ['because it was denied: once a day', 'TargetAccessDenied', 'not authorized to perform: ssm:Whatever', 1],
  ])('and was to heal is told only %s', async (_what, name, message, told) => {
    const { id } = await running();
    await system.runAll();
    for (let attempt = 0; attempt < 2; attempt += 1) {
      const deployment = (await system.inventory.get(id)) as Deployment;
      const { Observed, Wanted } = deployment;
      const begun = await system.inventory.begin(deployment, {
        Generation: Wanted?.Generation ?? 0,
        Order: orderOf(deployment),
        Serial: Observed?.Serial ?? '',
        NotBefore: Observed?.NotBefore ?? '',
        Cause: 'DRIFT',
        CorrelationId: 'a-look',
      });
      await system.reconcile('certificates'); // Starts it.
      const execution = system.sfn.running()[0] as Execution;
      expect(begun?.Running?.RolloutNumber).toBe(Number(execution.name.split('-').at(-1)));
      system.sfn.end(execution.arn, 'FAILED');
      await system.report(system.executionEvent(execution, { name, message }));
      system.advance({ minutes: 15 });
    }
    expect(system.messages()).toHaveLength(told);
    expect(await system.deployment(id)).toMatchObject({
      Status: 'INSTALLED',
      LastHealing: { Status: 'FAILED' },
    });
  });

  test('lets what waited for it start', async () => {
    const { id, execution } = await running();
    await system.register({ CertificateArn: arn, VerifyPort: 8443 });
    system.sfn.end(execution.arn, 'ABORTED');
    await system.report(system.executionEvent(execution));
    expect(await system.deployment(id)).toMatchObject({ Rollouts: 2, Status: 'ROLLING_OUT' });
    expect(system.sfn.running()).toHaveLength(1);
  });

  test('is told even when the first attempt to tell failed half-way', async () => {
    const { id, execution } = await running();
    system.sfn.end(execution.arn, 'TIMED_OUT');
    const event = system.executionEvent(execution);
    system.sns.failNext('Publish', awsError('ThrottledException'));
    await expect(system.report(event)).rejects.toThrow('ThrottledException');
    expect(await system.deployment(id)).toMatchObject({ Status: 'FAILED' });
    expect(await system.report(event)).toEqual({ Reported: execution.arn });
    expect((await system.deployment(id)).Failures).toBe(1);
  });

  test('does not touch the rollout that came after it', async () => {
    const { id, execution } = await running();
    const deployment = (await system.inventory.get(id)) as Deployment;
    const result = { Outcome: 'FAILED', ExecutionArn: execution.arn } as const;
    await system.inventory.end(deployment, deployment.RolloutNumber, result);
    await system.rollouts(id);
    const before = await system.deployment(id);
    system.sfn.end(execution.arn, 'TIMED_OUT');
    await system.report(system.executionEvent(execution));
    expect(await system.deployment(id)).toEqual(before);
    expect(system.messages()).toHaveLength(1);
  });

  test('and is told late, says what has happened since, and since when it fails', async () => {
    Object.assign(system.target().nodes[0] as object, { behaviour: 'failed' });
    const { id } = await running();
    const report = system.report.bind(system);
    let late: unknown;
    system.report = async (event) => {
      late = event;
      return { Ignored: 'later' };
    };
    await system.runAll();
    system.report = report;
    const { FailingSince } = await system.deployment(id);
    Object.assign(system.target().nodes[0] as object, { behaviour: 'installs' });
    system.advance({ minutes: 10 });
    await system.rollouts(id);
    await system.runAll();
    expect(system.messages()).toEqual([]);
    await report(late);
    const [message] = system.messages();
    expect(message?.Message).toMatch(/Since then, rollout \d+ has ended as INSTALLED\./);
    expect(message?.Message).toContain(`Since: ${FailingSince?.slice(0, -1)}`);
  });
});

describe('a failure that the state machine recorded itself', () => {
  test('is told with the node that failed, and what it serves', async () => {
    Object.assign(system.target().nodes[0] as object, { behaviour: 'rolled-back' });
    await running();
    await system.runAll();
    const [message] = system.messages();
    expect(message?.Message).toContain(
      'InstallationFailed: i-00000001: i-00000001 is broken. Servers that were not changed still serve',
    );
    expect(message?.Message).toContain(
      'What to do: Read the error of each server, and repair those servers.',
    );
    expect(system.messages()).toHaveLength(1);
  });

  test('in a target account that refuses us names the role and what to check', async () => {
    const { execution } = await running();
    system.refuse(MEMBER);
    await system.runAll();
    expect(system.sfn.executions.get(execution.arn)?.status).toBe('FAILED');
    const [message] = system.messages();
    expect(message?.Message).toContain('TargetAccessDenied: Cannot assume arn:aws:iam::444455556666:role/');
    expect(message?.Message).toContain('What to do: Correct the role, policy or stack that the error names');
  });

  test('because the owner of the certificate took the name away, says whom to ask', async () => {
    await running();
    system.acm.held(arn).tags = {};
    await system.runAll();
    expect(system.messages()[0]?.Message).toContain('does not allow the name web-prod');
    expect(system.messages()[0]?.Message).toContain('What to do: Ask the owner of the certificate');
  });
});

describe('an execution that has succeeded', () => {
  test('lets what waited for it begin, and tells nobody', async () => {
    const { id } = await running();
    await system.register({ CertificateArn: arn, VerifyPort: 8443 });
    await system.runAll();
    expect(await system.deployment(id)).toMatchObject({ Rollouts: 2, Options: { VerifyPort: 8443 } });
    expect(system.messages()).toEqual([]);
  });

  test('and recorded nothing is closed as failed, told once, and tried again', async () => {
    const { id, execution } = await running();
    system.sfn.end(execution.arn, 'SUCCEEDED');
    const event = system.executionEvent(execution);
    expect(await system.report(event)).toEqual({ Reported: execution.arn });
    await system.report(event);
    expect(system.messages()).toHaveLength(1);
    expect(system.messages()[0]?.Message).toContain('What to do: Nothing, if this happens once.');
    expect(await system.deployment(id)).toMatchObject({
      Status: 'FAILED',
      LastError: 'Lost: The execution ended as SUCCEEDED, but no function recorded its result.',
      NextAttemptAt: timestamp(new Date(system.clock.now().getTime() + 900_000)),
    });
    system.advance({ minutes: 15 });
    await system.reconcile('nodes');
    await system.runAll();
    expect(await system.deployment(id)).toMatchObject({ Status: 'INSTALLED' });
  });

  test('before the answer to its start: the start is noted on nothing', async () => {
    const around = async <T>(call: () => Promise<T>): Promise<T> => {
      const answer = await call();
      for (const { arn: execution } of system.sfn.running()) {
        system.sfn.end(execution, 'ABORTED');
        await system.report(system.executionEvent(system.sfn.executions.get(execution) as Execution));
      }
      return answer;
    };
    const { body } = await system.register({ CertificateArn: arn }, { around });
    const { Status, Rollout } = await system.deployment(body.DeploymentId);
    expect([Status, Rollout]).toEqual(['FAILED', undefined]);
  });
});

test.each(['tell', 'begin'])(
  'what fails of telling and beginning (%s) keeps the other from nothing',
  async (fails) => {
    const { id, execution } = await running();
    await system.register({ CertificateArn: arn, VerifyPort: 8443 });
    system.sfn.end(execution.arn, 'ABORTED');
    const event = system.executionEvent(execution);
    const failing = fails === 'tell' ? system.sns : system.sfn;
    failing.failNext(fails === 'tell' ? 'Publish' : 'StartExecution', awsError('ThrottledException'));
    await expect(system.report(event)).rejects.toThrow('ThrottledException');
    expect(system.sns.callsOf('Publish')).toHaveLength(1);
    expect((await system.deployment(id)).Rollout).toMatchObject({ Cause: 'REQUEST' });
    await system.report(event);
    expect(system.sns.callsOf('Publish')).toHaveLength(fails === 'tell' ? 2 : 1);
    expect(system.sfn.running()).toHaveLength(1);
  },
);

describe('nobody is told', () => {
  test('of a dry run, whether its result was recorded or not, and whatever has happened since', async () => {
    const { id } = await running();
    await system.runAll();
    const answer = await system.register({ CertificateArn: arn, DryRun: true });
    const dry = system.sfn.executions.get(answer.body.ExecutionArn) as Execution;
    system.sfn.end(dry.arn, 'TIMED_OUT');
    await system.report(system.executionEvent(dry));
    expect(await system.deployment(id)).toMatchObject({
      Status: 'INSTALLED',
      LastDryRun: { Status: 'FAILED' },
    });
    await system.rollouts(id);
    await system.runAll();
    // Once more under another status, long after.
    await system.report(system.executionEvent({ ...dry, status: 'ABORTED' }));
    expect(system.messages()).toEqual([]);
  });

  test('but of a failure whose deployment is just being tried out with other settings, people are', async () => {
    const { execution } = await running();
    Object.assign(system.target().nodes[0] as object, { behaviour: 'failed' });
    await system.step(execution.arn);
    await system.step(execution.arn);
    const report = system.report.bind(system);
    const events: unknown[] = [];
    system.report = async (event) => {
      events.push(event);
      return { Ignored: 'later' };
    };
    await system.step(execution.arn);
    expect((await system.register({ CertificateArn: arn, DryRun: true })).status).toBe(202);
    expect(await report(events[0])).toEqual({ Reported: execution.arn });
  });

  test('of a deployment that was deleted or is being deleted', async () => {
    const { id, execution } = await running();
    system.sfn.end(execution.arn, 'ABORTED');
    await system.mark('markDeleting', id);
    expect(await system.report(system.executionEvent(execution))).toEqual({
      Ignored: 'the deployment was deleted',
    });
    await system.remove(id);
    expect(await system.report(system.executionEvent({ ...execution, status: 'TIMED_OUT' }))).toEqual({
      Ignored: 'the deployment was deleted',
    });
    expect(system.messages()).toEqual([]);
  });

  test.each([{}, { DryRun: true }])(
    'of a DELETE that stopped a rollout, when its event comes after another POST (%j)',
    async (body) => {
      const { id, execution } = await running();
      expect((await system.remove(id)).status).toBe(200);
      await system.register({ CertificateArn: arn, ...body });
      const late = system.executionEvent(system.sfn.executions.get(execution.arn) as Execution);
      expect(await system.report(late)).toEqual({ Ignored: expect.stringContaining('no failure') });
      expect(system.messages()).toEqual([]);
    },
  );

  test.each(['by-hand', '0'.repeat(24), `${'0'.repeat(24)}-ab-0`, `${'0'.repeat(24)}-xy-1`, ''])(
    'of an execution named %j: it is none of ours',
    async (name) => {
      const { execution } = await running();
      const event = system.executionEvent({ ...execution, name, status: 'ABORTED' });
      expect(await system.report(event)).toEqual({ Ignored: 'the execution was not started by this system' });
    },
  );
});

test.each(['-try', '-by-hand'])(
  'an execution that a person started, named as one of its number (%s), ends nothing',
  async (suffix) => {
    const { id, execution } = await running();
    const number = (await system.deployment(id)).RolloutNumber;
    const name = suffix === '-try' ? `${execution.name}-try` : `${id}-ab-${number}`;
    await system.report(
      system.executionEvent({ ...execution, name, arn: `${execution.arn}x`, status: 'ABORTED' }),
    );
    expect((await system.inventory.get(id))?.Running?.RolloutNumber).toBe(number);
    expect(system.messages()).toEqual([]);
    await system.runAll();
    expect(await system.deployment(id)).toMatchObject({ Status: 'INSTALLED', Rollouts: 1 });
  },
);

test('a message is plain text of bounded length, whatever stands in the names', async () => {
  const { execution } = await running();
  const message = `${'é'.repeat(5000)}\u0000`;
  system.sfn.end(execution.arn, 'FAILED');
  await system.report(system.executionEvent(execution, { name: 'toString', message }));
  const [sent] = system.messages();
  expect(sent?.Subject).toMatch(/^[\x20-\x7e]{1,100}$/);
  expect(sent?.Message.length).toBeLessThan(5000);
  expect(sent?.Message).toContain('What to do: Open the execution');
});
