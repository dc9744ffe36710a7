import { QueryCommand, UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { beforeEach, describe, expect, test } from '@jest/globals';
import { type Deployment, orderOf, timestamp } from '../../functions/domain/deployment.ts';
import { wantedAfterRenewal } from '../../functions/domain/next.ts';
import { advance } from '../../functions/rollouts/advance.ts';
import { inParallel } from '../../functions/runtime/in-parallel.ts';
import { awsError } from './support/service-view.ts';
import { System } from './support/system.ts';

let system: System;
let arn: string;
beforeEach(async () => {
  system = await System.create();
  arn = await system.acm.issue('web');
  await system.target().addNode('i-00000001');
});

const namesOf = (started: System) => [...started.sfn.executions.values()].map(({ name }) => name);
const read = async (id: string) => (await system.inventory.get(id)) as Deployment;
const nodeOf = (started: System) => started.target().nodes[0];

/** Registers `web-prod` and runs its first rollout to the end. */
async function installed(): Promise<string> {
  const { body } = await system.register({ CertificateArn: arn });
  await system.runAll();
  return body.DeploymentId;
}

describe('two requests at once', () => {
  test('start one rollout, whichever comes first: two hundred races of a whole request', async () => {
    const races = Array.from({ length: 200 }, (_, race) => race);
    const started = new Map<string, Set<string>>();
    await inParallel(races.values(), 25, async (race) => {
      const body = { CertificateArn: arn, TargetTagValue: `race-${race}` };
      const answers = await Promise.all([system.register(body), system.register(body)]);
      const id = answers[0].body.DeploymentId;
      expect(answers.map(({ status }) => status)).toEqual([202, 202]);
      started.set(id, new Set(answers.map((answer) => answer.body.ExecutionArn)));
    });
    expect(started.size).toBe(200);
    // Both callers were told of the same execution, and there is no other.
    expect([...started.values()].every((arns) => arns.size === 1)).toBe(true);
    expect(new Set(namesOf(system)).size).toBe(200);
  });

  test('with different options: what was written last is served, with one rollout or two', async () => {
    const [first, second] = await Promise.all([
      system.register({ CertificateArn: arn, VerifyPort: 443 }),
      system.register({ CertificateArn: arn, VerifyPort: 8443 }),
    ]);
    expect([first.status, second.status]).toEqual([202, 202]);
    expect(system.sfn.running()).toHaveLength(1);
    await system.runAll();
    const deployment = await system.deployment(first.body.DeploymentId);
    expect(deployment.Status).toBe('INSTALLED');
    expect([1, 2]).toContain(deployment.Rollouts);
    expect(nodeOf(system)?.installed?.options).toBe(
      `VerifyPort=${deployment.Options.VerifyPort} KeyFormat=decrypted`,
    );
  });

  test('of which one is a renewal: the newer serial is served in the end', async () => {
    const id = await installed();
    const serial = await system.acm.renew(arn);
    await Promise.all([system.rollouts(id), system.renewal(arn), system.renewal(arn)]);
    await system.runAll();
    expect(await system.deployment(id)).toMatchObject({ Serial: serial, Rollouts: 2 });
  });
});

describe('a start that went wrong', () => {
  test('a crash between claim and start: the same request again starts that very rollout', async () => {
    system.sfn.failNext('StartExecution', awsError('ServiceUnavailable', '', 'server'));
    const crashed = await system.register({ CertificateArn: arn, VerifyPort: 443 });
    expect(crashed).toMatchObject({
      status: 202,
      body: { Warnings: [expect.stringContaining('could not be started yet')] },
    });
    expect(crashed.body.ExecutionArn).toBeUndefined();
    const repeated = await system.register({ CertificateArn: arn });
    expect(repeated.body.ExecutionArn).toBe(system.sfn.running()[0]?.arn);
    expect(namesOf(system)).toHaveLength(1);
  });

  test('a crash between claim and start: reconcile starts it, and nobody else is needed', async () => {
    system.sfn.failNext('StartExecution', awsError('ServiceUnavailable', '', 'server'));
    const { body } = await system.register({ CertificateArn: arn });
    await system.reconcile('certificates');
    await system.runAll();
    expect(await system.deployment(body.DeploymentId)).toMatchObject({
      Status: 'INSTALLED',
      Rollouts: 1,
    });
  });

  test('a start that was made and not heard is not made twice', async () => {
    system.sfn.failNext('StartExecution', awsError('TimeoutError'), 'after');
    const { body } = await system.register({ CertificateArn: arn });
    expect((await system.deployment(body.DeploymentId)).Rollout?.StartedAt).toBeUndefined();
    await system.register({ CertificateArn: arn });
    await system.reconcile('certificates');
    expect(namesOf(system)).toHaveLength(1);
    expect((await system.deployment(body.DeploymentId)).Rollout?.StartedAt).toBeDefined();
    await system.runAll();
    expect(await system.deployment(body.DeploymentId)).toMatchObject({
      Status: 'INSTALLED',
      Rollouts: 1,
    });
  });

  test.each(['FAILED', 'TIMED_OUT', 'ABORTED'] as const)(
    'a start that was not heard and ended as %s: the rollout is closed as failed, and what waits begins',
    async (status) => {
      system.sfn.failNext('StartExecution', awsError('TimeoutError'), 'after');
      const { body } = await system.register({ CertificateArn: arn });
      const [execution] = system.sfn.running();
      system.sfn.end(execution?.arn as string, status);
      const waits = await system.register({ CertificateArn: arn, VerifyPort: 8443 });
      expect(waits.body.Warnings).toEqual([expect.stringContaining('starts when it has ended')]);
      system.advance({ minutes: 16 });
      await system.reconcile('nodes');
      const deployment = await system.deployment(body.DeploymentId);
      expect(deployment).toMatchObject({
        LastRollout: { Status: 'FAILED', Error: expect.stringContaining(status) },
        Rollouts: 2,
        Rollout: { Cause: 'REQUEST', StartedAt: expect.any(String) },
      });
      expect(deployment.Pending).toBeUndefined();
    },
  );

  test('a start that was not heard, whose execution succeeded: it counts as started', async () => {
    system.sfn.failNext('StartExecution', awsError('TimeoutError'), 'after');
    const { body } = await system.register({ CertificateArn: arn });
    const [execution] = system.sfn.running();
    system.sfn.end(execution?.arn as string, 'SUCCEEDED');
    await system.reconcile('certificates');
    expect(await system.deployment(body.DeploymentId)).toMatchObject({
      Rollout: { StartedAt: expect.any(String) },
      Rollouts: 1,
    });
    // Succeeded, and recorded nothing: after a while the claim is closed and the work done again.
    system.advance({ minutes: 16 });
    await system.reconcile('certificates');
    system.advance({ minutes: 16 });
    await system.reconcile('certificates');
    await system.runAll();
    expect(await system.deployment(body.DeploymentId)).toMatchObject({
      Status: 'INSTALLED',
      Rollouts: 2,
    });
  });
});

describe('an older rollout', () => {
  /** A rollout that another one has replaced while it ran: its execution goes on. */
  async function superseded(state: 'Export' | 'Start' | 'Check') {
    const { body } = await system.register({ CertificateArn: arn });
    const old = system.sfn.running()[0]?.arn as string;
    for (let steps = ['Export', 'Start', 'Check'].indexOf(state); steps > 0; steps -= 1) {
      await system.step(old);
    }
    const id = body.DeploymentId as string;
    const deployment = await read(id);
    const number = deployment.RolloutNumber;
    await system.inventory.end(deployment, number, { Outcome: 'FAILED', ExecutionArn: old });
    await system.rollouts(id);
    return { id, old, number, newer: await read(id) };
  }

  test.each(['Export', 'Start'] as const)('ends quietly in %s and changes nothing', async (state) => {
    const { id, old } = await superseded(state);
    // What was recorded of it is another matter: here it never came so far.
    await system.client.send(forget(id));
    const before = await read(id);
    const secretCalls = system.target().secretsManager.calls.length;
    await system.step(old);
    expect(system.sfn.executions.get(old)?.status).toBe('SUCCEEDED');
    expect(system.target().secretsManager.calls).toHaveLength(secretCalls);
    expect(system.target().automations()).toEqual([]);
    expect(await read(id)).toEqual(before);
  });

  test('ends quietly in Check and writes over neither nodes nor status', async () => {
    const { id, old, newer } = await superseded('Check');
    await system.client.send(forget(id));
    const by = { NodeId: 'i-00000001', Outcome: 'failed', Error: 'of the newer' } as const;
    await system.inventory.nodes.record(id, newer.RolloutNumber, [by]);
    const before = await read(id);
    await system.step(old);
    expect(system.sfn.executions.get(old)?.status).toBe('SUCCEEDED');
    expect(await read(id)).toEqual(before);
    expect(await system.inventory.nodes.all(id)).toMatchObject([
      { RolloutNumber: newer.RolloutNumber, Error: 'of the newer' },
    ]);
  });

  test('cannot write its end, its notes or its nodes over those of a newer one', async () => {
    const { id, old, number, newer } = await superseded('Check');
    const later = newer.RolloutNumber;
    await system.inventory.nodes.record(id, later, [
      { NodeId: 'i-00000001', Outcome: 'installed', Serial: '02' },
    ]);
    await system.inventory.nodes.record(id, number, [
      { NodeId: 'i-00000001', Outcome: 'installed', Serial: '01' },
    ]);
    await system.inventory.nodes.record(id, later, [{ NodeId: 'i-00000001', Outcome: 'dry-run-passed' }], {
      dryRun: true,
    });
    await system.inventory.nodes.record(
      id,
      number,
      [{ NodeId: 'i-00000001', Outcome: 'failed', Error: 'old' }],
      { dryRun: true },
    );
    expect(await system.inventory.note(newer, number, { AutomationExecutionId: 'old' })).toBeUndefined();
    // Its own end is there already. One that was never recorded is superseded.
    const result = { Outcome: 'INSTALLED', ExecutionArn: old } as const;
    expect((await system.inventory.end(newer, number, result)).ended.Outcome).toBe('FAILED');
    await expect(system.inventory.end(newer, number - 1, result)).rejects.toMatchObject({
      name: 'RolloutSuperseded',
    });
    expect(await read(id)).toEqual(newer);
    expect(await system.inventory.nodes.all(id)).toMatchObject([
      { Serial: '02', DryRun: { Outcome: 'dry-run-passed', RolloutNumber: later } },
    ]);
  });

  const forget = (id: string) =>
    updateOf(id, {
      UpdateExpression: 'REMOVE Observed',
      ConditionExpression: 'attribute_exists(CertName)',
    });
});

describe('between reading and writing', () => {
  const more = { Cause: 'REQUEST', CorrelationId: 'late', Generation: 2, NotBefore: '' } as const;
  const set = (id: string, UpdateExpression: string, values?: object) =>
    system.client.send(
      updateOf(id, { UpdateExpression, ...(values ? { ExpressionAttributeValues: values } : {}) }),
    );
  /** What another caller does meanwhile, and whether a beginning and a wish are lost by it. */
  const MEANWHILE: Record<string, [(id: string) => Promise<unknown>, { begin: boolean; want: boolean }]> = {
    'nothing happens': [async () => {}, { begin: false, want: false }],
    'it is paused': [(id) => system.mark('pause', id), { begin: true, want: true }],
    'it is deleted': [(id) => system.mark('markDeleting', id), { begin: true, want: true }],
    'another rollout begins': [(id) => system.rollouts(id), { begin: true, want: true }],
    'another order is written': [
      (id) => set(id, 'SET Wanted.Generation = :more', { ':more': 9 }),
      { begin: true, want: true },
    ],
    'a renewal is noticed': [
      (id) => set(id, 'SET Wanted.Serial = :other', { ':other': 'ff' }),
      { begin: true, want: true },
    ],
    'it is moved': [
      (id) => set(id, 'SET CertificateArn = :other', { ':other': arn.replace('web', 'other') }),
      { begin: true, want: true },
    ],
    'a rollout begins and ends': [
      (id) => set(id, 'SET RolloutNumber = RolloutNumber + :one', { ':one': 1 }),
      { begin: true, want: false },
    ],
    'a function of the first edition claims it': [
      (id) => set(id, 'SET Rollout = :claim', { ':claim': { Serial: 'ab' } }),
      { begin: true, want: false },
    ],
  };

  test.each(Object.entries(MEANWHILE))(
    '%s: what was decided before is not written over it',
    async (_, [happens, lost]) => {
      for (const kind of ['begin', 'want'] as const) {
        system = await System.create();
        arn = await system.acm.issue('web');
        const id = await installed();
        const seen = await read(id);
        await happens(id);
        const wanted = { ...more, Serial: system.acm.serialOf(arn), At: seen.UpdatedAt };
        const written =
          kind === 'begin'
            ? await system.inventory.begin(seen, { ...wanted, Order: orderOf(seen) })
            : await system.inventory.want(id, seen, wanted, {
                order: orderOf(seen),
                notAfter: seen.NotAfter,
              });
        expect([kind, written === undefined]).toEqual([kind, lost[kind]]);
      }
    },
  );
});

describe('a write whose answer is lost, and which the SDK repeats', () => {
  /** The answer to the next write that sets the attribute is lost. */
  function repeatWriteOf(attribute: string): { readonly left: number } {
    system.repeats = true;
    return system.cloud.faults.inject({
      operation: 'DynamoDB_20120810.UpdateItem',
      kind: 'answer-lost',
      when: ({ input }) =>
        (input as { UpdateExpression?: string }).UpdateExpression?.includes(`#${attribute} = `) === true,
    });
  }

  test.each(['failed', 'installs'] as const)(
    'an end is its own success: a node that %s',
    async (behaviour) => {
      Object.assign(nodeOf(system) as object, { behaviour });
      const { body } = await system.register({ CertificateArn: arn });
      const fault = repeatWriteOf('Observed');
      await system.runAll();
      expect(fault.left).toBe(0);
      const isFault = behaviour === 'failed';
      expect(system.sfn.executions.get(body.ExecutionArn)?.status).toBe(isFault ? 'FAILED' : 'SUCCEEDED');
      expect(await system.deployment(body.DeploymentId)).toMatchObject({
        Status: isFault ? 'FAILED' : 'INSTALLED',
        Failures: isFault ? 1 : 0,
      });
      expect(system.messages()).toHaveLength(isFault ? 1 : 0);
    },
  );

  test.each([
    ['a rollout', {}, 'INSTALLED'],
    ['a dry run', { DryRun: true }, 'TRIED'],
  ])('a beginning is its own: %s starts once', async (_what, asked, Status) => {
    const fault = repeatWriteOf('Running');
    const { status, body } = await system.register({ CertificateArn: arn, ...asked });
    expect(fault.left).toBe(0);
    expect([status, body.ExecutionArn]).toEqual([202, system.sfn.running()[0]?.arn]);
    await system.runAll();
    expect(await system.deployment(body.DeploymentId)).toMatchObject({ Status, Rollouts: 1 });
  });

  test('a wish is its own: one rollout starts, and none waits behind it', async () => {
    const fault = repeatWriteOf('Wanted');
    const { body } = await system.register({ CertificateArn: arn, VerifyPort: 443 });
    expect([fault.left, body.Warnings]).toEqual([0, []]);
    await system.runAll();
    expect(await system.deployment(body.DeploymentId)).toMatchObject({ Status: 'INSTALLED', Rollouts: 1 });
  });
});

describe('a request while another rollout runs', () => {
  test('moves the deployment to another certificate as soon as the rollout has ended', async () => {
    const other = await system.acm.issue('other');
    const first = await system.register({ CertificateArn: arn, VerifyPort: 443 });
    await system.step(first.body.ExecutionArn);
    const second = await system.register({ CertificateArn: other });
    expect(second.body).toMatchObject({
      DeploymentId: first.body.DeploymentId,
      ExecutionArn: first.body.ExecutionArn,
      Warnings: [expect.stringContaining('starts when it has ended')],
    });
    expect(system.sfn.running()).toHaveLength(1);
    await system.runAll();
    expect(await system.deployment(first.body.DeploymentId)).toMatchObject({
      CertificateArn: other,
      Serial: system.acm.serialOf(other),
      Status: 'INSTALLED',
      Rollouts: 2,
    });
    expect(nodeOf(system)?.installed?.Serial).toBe(system.acm.serialOf(other));
  });

  test('is not forgotten when the start of its own rollout fails', async () => {
    const first = await system.register({ CertificateArn: arn });
    await system.register({ CertificateArn: arn, VerifyPort: 8443 });
    await system.step(first.body.ExecutionArn);
    await system.step(first.body.ExecutionArn);
    system.sfn.failNext('StartExecution', awsError('ServiceUnavailable', '', 'server'));
    await system.step(first.body.ExecutionArn);
    // The rollout that ended well is not blamed for it.
    expect(system.sfn.executions.get(first.body.ExecutionArn)?.status).toBe('SUCCEEDED');
    expect(system.messages()).toEqual([]);
    await system.reconcile('certificates');
    await system.runAll();
    expect(nodeOf(system)?.installed?.options).toBe('VerifyPort=8443 KeyFormat=decrypted');
  });

  test('survives a crash between the end of a rollout and the claim of the next', async () => {
    const id = await installed();
    const { body } = await system.rollouts(id);
    await system.register({ CertificateArn: arn, VerifyPort: 8443 });
    const deployment = await read(id);
    const result = { Outcome: 'INSTALLED', ExecutionArn: body.ExecutionArn } as const;
    await system.inventory.end(deployment, deployment.RolloutNumber, result);
    system.sfn.end(body.ExecutionArn, 'SUCCEEDED');
    await system.reconcile('certificates');
    await system.runAll();
    expect(nodeOf(system)?.installed?.options).toBe('VerifyPort=8443 KeyFormat=decrypted');
  });

  test('for the same serial and options is answered with that rollout and starts no other', async () => {
    const first = await system.register({ CertificateArn: arn, VerifyPort: 443 });
    const again = await system.register({ CertificateArn: arn });
    const now = await system.rollouts(first.body.DeploymentId);
    for (const answer of [again, now]) {
      expect(answer).toMatchObject({
        status: 202,
        body: { ExecutionArn: first.body.ExecutionArn, Warnings: [] },
      });
    }
    await system.runAll();
    expect(namesOf(system)).toHaveLength(1);
  });

  test('that only wants to install again never displaces one that changes the options', async () => {
    const { body } = await system.register({ CertificateArn: arn });
    await system.register({ CertificateArn: arn, VerifyPort: 8443 });
    const serial = await system.acm.renew(arn);
    await system.renewal(arn);
    await system.rollouts(body.DeploymentId);
    expect((await system.deployment(body.DeploymentId)).Pending).toMatchObject({
      Cause: 'REQUEST',
      Serial: serial,
    });
    await system.runAll();
    expect(nodeOf(system)?.installed).toMatchObject({
      Serial: serial,
      options: 'VerifyPort=8443 KeyFormat=decrypted',
    });
  });

  test('of a renewal whose serial the running rollout finds by itself starts no second rollout', async () => {
    const { body } = await system.register({ CertificateArn: arn });
    const serial = await system.acm.renew(arn);
    await system.renewal(arn);
    expect((await system.deployment(body.DeploymentId)).Pending).toMatchObject({ Cause: 'RENEWAL' });
    await system.runAll();
    const deployment = await system.deployment(body.DeploymentId);
    expect(deployment).toMatchObject({ Serial: serial, Rollouts: 1, Status: 'INSTALLED' });
    expect(deployment.Pending).toBeUndefined();
  });
});

describe('what an index shows late', () => {
  /** What handle-renewal does with one deployment that its index showed. */
  async function renew(stale: Deployment) {
    const Serial = system.acm.serialOf(arn);
    const NotBefore = timestamp(system.acm.held(arn).versions.at(-1)?.notBefore as Date);
    const renewal = { CertificateArn: arn, Serial, NotBefore };
    const by = { Cause: 'RENEWAL', CorrelationId: 'late' } as const;
    const wanted = wantedAfterRenewal(stale, { ...renewal, ...by }, system.clock.now());
    const written = wanted && (await system.inventory.want(stale.DeploymentId, stale, wanted));
    const { began } = await advance(stale.DeploymentId, system.advanceDeps(), { correlationId: 'late' });
    return { isWritten: written !== undefined, began };
  }

  test('a renewal of the certificate that the deployment was moved away from starts nothing', async () => {
    const id = await installed();
    const stale = await read(id);
    const other = await system.acm.issue('other');
    await system.register({ CertificateArn: other });
    await system.acm.renew(arn);
    // Once while the move is rolled out, once after.
    expect(await renew(stale)).toEqual({ isWritten: false, began: false });
    expect((await system.deployment(id)).Pending).toBeUndefined();
    await system.runAll();
    expect(await renew(stale)).toEqual({ isWritten: false, began: false });
    expect(nodeOf(system)?.installed?.Serial).toBe(system.acm.serialOf(other));
  });

  test('a renewal that saw no rollout waits for the one that began meanwhile', async () => {
    const id = await installed();
    const stale = await read(id);
    await system.target().addNode('i-00000002');
    await system.reconcile('nodes');
    await system.step(system.sfn.running()[0]?.arn as string);
    const Serial = await system.acm.renew(arn);
    expect(await renew(stale)).toEqual({ isWritten: true, began: false });
    await system.runAll();
    expect(await system.deployment(id)).toMatchObject({ Serial, Rollouts: 3 });
  });

  test('a renewal that saw a rollout which has ended since starts its own', async () => {
    const { body } = await system.register({ CertificateArn: arn });
    const stale = await read(body.DeploymentId);
    await system.runAll();
    const Serial = await system.acm.renew(arn);
    expect(await renew(stale)).toEqual({ isWritten: true, began: true });
    await system.runAll();
    expect(await system.deployment(body.DeploymentId)).toMatchObject({ Serial, Rollouts: 2 });
  });
});

describe('a deployment that is deleted', () => {
  /** The answer to its POST, when its rollout has come so far. */
  async function registeredFor(states: number) {
    const { body } = await system.register({ CertificateArn: arn });
    for (let state = 0; state < states; state += 1) {
      await system.step(body.ExecutionArn);
    }
    return body;
  }

  test.each([0, 1, 2])(
    'after %d states of its rollout: the rollout stops, nothing is left behind',
    async (states) => {
      const body = await registeredFor(states);
      expect((await system.remove(body.DeploymentId)).status).toBe(200);
      expect(system.sfn.executions.get(body.ExecutionArn)?.status).toBe('ABORTED');
      await system.letNodesAnswer();
      expect(
        system
          .target()
          .automations()
          .map(({ status }) => status),
      ).toEqual(states === 2 ? ['Cancelled'] : []);
      expect(
        system
          .target()
          .secrets()
          .every(({ deletionDate }) => deletionDate),
      ).toBe(true);
      // The event of the aborted execution wakes nobody.
      const execution = system.sfn.executions.get(body.ExecutionArn);
      await system.report(system.executionEvent(execution as never));
      expect(system.messages()).toEqual([]);
      expect(await system.inventory.get(body.DeploymentId)).toBeUndefined();
      expect(await system.inventory.nodes.all(body.DeploymentId)).toEqual([]);
    },
  );

  test('while a function of its rollout is at work: the function finds out and stops what it began', async () => {
    const { body } = await system.register({ CertificateArn: arn });
    await system.step(body.ExecutionArn);
    // The deletion comes after StartInstallation has looked, and before it notes the Automation.
    let deleting: Promise<unknown> | undefined;
    system.before('StartAutomationExecution', () => {
      deleting = system.mark('markDeleting', body.DeploymentId);
    });
    const around = async <T>(call: () => Promise<T>): Promise<T> => {
      await deleting;
      return call();
    };
    await system.step(body.ExecutionArn, { around });
    await system.letNodesAnswer();
    expect(
      system
        .target()
        .automations()
        .map(({ status }) => status),
    ).toEqual(['Cancelled']);
    expect((await system.remove(body.DeploymentId)).status).toBe(200);
  });

  test.each([0, 1, 2])(
    'from its mark on nothing more is done in the target account (state %d)',
    async (states) => {
      const body = await registeredFor(states);
      await system.mark('markDeleting', body.DeploymentId);
      const { ssm, secretsManager } = system.target();
      const before = [ssm.calls.length, secretsManager.calls.length];
      await system.step(body.ExecutionArn);
      expect([ssm.calls.length, secretsManager.calls.length]).toEqual(before);
      expect(system.sfn.executions.get(body.ExecutionArn)?.status).toBe('SUCCEEDED');
    },
  );

  test('before its claimed rollout was started: nothing starts any more', async () => {
    system.sfn.failNext('StartExecution', awsError('ServiceUnavailable', '', 'server'));
    const { body } = await system.register({ CertificateArn: arn });
    expect((await system.remove(body.DeploymentId)).status).toBe(200);
    await system.reconcile('certificates');
    await system.reconcile('nodes');
    expect(namesOf(system)).toEqual([]);
  });

  test('and registered again counts its rollouts on, so that no name and no number is used twice', async () => {
    const numbers: number[] = [];
    for (let round = 0; round < 3; round += 1) {
      const { body } = await system.register({ CertificateArn: arn });
      await system.runAll();
      numbers.push((await system.deployment(body.DeploymentId)).RolloutNumber);
      await system.remove(body.DeploymentId);
    }
    expect(numbers).toEqual([...new Set(numbers)].sort());
    expect(new Set(namesOf(system)).size).toBe(3);
    expect(nodeOf(system)?.installed?.RolloutNumber).toBe(numbers.at(-1));
  });

  test('leaves its number and nothing else', async () => {
    const id = await installed();
    const { RolloutNumber } = await system.deployment(id);
    await system.remove(id);
    const { Items } = await system.client.send(queryOf(id));
    expect(Items).toEqual([{ DeploymentId: id, Item: 'deployment', RolloutNumber }]);
  });
});

function updateOf(id: string, update: object): never {
  return new UpdateCommand({
    TableName: system.table,
    Key: { DeploymentId: id, Item: 'deployment' },
    ...update,
  }) as never;
}

function queryOf(id: string) {
  return new QueryCommand({
    TableName: system.table,
    KeyConditionExpression: 'DeploymentId = :id',
    ExpressionAttributeValues: { ':id': id },
  });
}
