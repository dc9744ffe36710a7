import { DeleteCommand, GetCommand, PutCommand } from '@aws-sdk/lib-dynamodb';
import { beforeEach, describe, expect, test } from '@jest/globals';
import { timestamp } from '../../functions/domain/deployment.ts';
import { awsError } from './support/service-view.ts';
import { CENTRAL, MEMBER, System } from './support/system.ts';

let system: System;
let arn: string;
beforeEach(async () => {
  system = await System.create();
  arn = await system.acm.issue('web');
});

const one = '/certificates/{CertName}/deployments/{DeploymentId}';
const get = async (id: string, query: Record<string, string> | null = null) =>
  (await system.api('GET', one, { path: { CertName: 'web-prod', DeploymentId: id }, query })).body;
/** What an Automation was started with. */
const parametersOf = (automation?: { parameters: Record<string, string[]> }) =>
  Object.fromEntries(
    Object.entries(automation?.parameters ?? {}).map(([name, values]) => [name, values.join()]),
  );
const bundle = () => system.target().secrets()[0];

async function installed(): Promise<string> {
  await system.target().addNode('i-00000001');
  const { body } = await system.register({ CertificateArn: arn });
  await system.runAll();
  return body.DeploymentId;
}

describe('registering', () => {
  test('without a target means the stack own account and Region', async () => {
    await system.target(CENTRAL).addNode('i-00000001');
    const { body } = await system.register({ CertificateArn: arn, TargetAccount: undefined });
    await system.runAll();
    expect(await system.deployment(body.DeploymentId)).toMatchObject({
      TargetAccount: CENTRAL,
      TargetRegion: 'eu-central-1',
      Status: 'INSTALLED',
    });
    expect(system.target(MEMBER).ssm.calls).toEqual([]);
  });

  test('the same name in another Region, account or tag is another deployment', async () => {
    const ids = new Set<string>();
    await system.addMember(MEMBER, 'eu-west-1');
    for (const target of [
      {},
      { TargetRegion: 'eu-west-1' },
      { TargetAccount: CENTRAL },
      { TargetTagValue: 'mail' },
      { TargetTagKey: 'tier' },
    ]) {
      ids.add((await system.register({ CertificateArn: arn, ...target })).body.DeploymentId);
    }
    expect(ids.size).toBe(5);
    expect(system.target(MEMBER, 'eu-west-1').ssm.callsOf('DescribeInstanceInformation')).toHaveLength(1);
  });

  test('warns that no node carries the tag yet', async () => {
    const { body } = await system.register({ CertificateArn: arn, VerifyPort: 443 });
    expect(body.Warnings).toEqual([expect.stringContaining('carries the tag acm-export=web yet')]);
    await system.runAll();
    expect(await get(body.DeploymentId)).toMatchObject({ Status: 'WAITING', Nodes: [] });
  });

  test('warns of each node that cannot be served, of fifty of them at most', async () => {
    const target = system.target();
    await target.addNode('i-00000001');
    await target.addNode('i-00000002', { online: false });
    await target.addNode('i-00000003', { platform: 'Windows' });
    await target.addNode('i-00000004', { agent: '3.3.2745.9' });
    const { body } = await system.register({ CertificateArn: arn, ReloadServices: ['nginx'] });
    expect(body.Warnings).toEqual([
      expect.stringMatching(/^i-00000002: .*not answered since 2026-11-24/),
      'i-00000003: Platform Windows is not supported; only Linux is.',
      expect.stringMatching(/^i-00000004: SSM agent 3\.3\.2745\.9 is older than/),
    ]);
    for (let n = 0; n < 100; n += 1) {
      await target.addNode(`i-9${n}`, { online: false });
    }
    const again = await system.register({ CertificateArn: arn });
    expect(again.body.Warnings).toHaveLength(51);
    expect(again.body.Warnings.at(-1)).toBe('And 53 more nodes.');
  });

  test('a deleted deployment restores its bundle, and nothing else ever does', async () => {
    const id = await installed();
    await system.remove(id);
    expect(bundle()?.deletionDate).toBeDefined();
    await system.register({ CertificateArn: arn });
    await system.runAll();
    expect(bundle()?.deletionDate).toBeUndefined();
    // A person deletes the bundle by hand: a renewal does not undo that.
    const now = system.clock.now();
    Object.assign(bundle() as object, {
      deletedAt: now,
      deletionDate: new Date(now.getTime() + 7 * 86_400_000),
    });
    const serial = await system.acm.renew(arn);
    await system.renewal(arn);
    await system.runAll();
    expect(await get(id)).toMatchObject({
      Status: 'FAILED',
      LastError: expect.stringContaining('scheduled for deletion. POST the deployment again'),
    });
    await system.register({ CertificateArn: arn });
    await system.runAll();
    expect(await get(id)).toMatchObject({ Status: 'INSTALLED', Serial: serial });
  });

  test('hands no internal field to callers', async () => {
    const id = await installed();
    await system.register({ CertificateArn: arn, VerifyPort: 443 });
    const found = await get(id);
    expect(Object.keys(found)).not.toContain('Item');
    expect(Object.keys(found)).not.toContain('RestoreBundle');
    expect(found.Rollout.ExecutionArn).toContain(`${id}-`);
    expect(Object.keys(found.Nodes[0]).sort()).toEqual([
      'At',
      'NodeId',
      'Outcome',
      'RolloutNumber',
      'Serial',
      'Serves',
      'VersionId',
    ]);
  });
});

describe('a dry run', () => {
  test('leaves what is registered, installed and recorded as it is', async () => {
    const id = await installed();
    const before = await get(id);
    const other = await system.acm.issue('other');
    const target = system.target();
    Object.assign(target.nodes[0] as object, { note: 'only tried' });
    const answer = await system.register({ CertificateArn: other, VerifyPort: 8443, DryRun: true });
    expect(answer).toMatchObject({ status: 202, body: { Serial: system.acm.serialOf(other) } });
    await system.runAll();
    expect(parametersOf(target.automations().at(-1))).toMatchObject({
      DryRun: 'true',
      VerifyPort: '8443',
    });
    const { LastDryRun, LastTrial, RolloutNumber, UpdatedAt, Nodes, CorrelationId, ...after } = await get(id);
    const { RolloutNumber: first, UpdatedAt: __, Nodes: nodes, CorrelationId: ___, ...same } = before;
    expect(after).toEqual(same);
    expect(LastDryRun).toMatchObject({ Number: RolloutNumber, Status: 'INSTALLED', Cause: 'DRY_RUN' });
    expect(LastTrial).toMatchObject({ RolloutNumber, Status: 'PASSED', Cause: 'DRY_RUN' });
    const DryRun = expect.objectContaining({ Outcome: 'dry-run-passed', Note: 'only tried' });
    expect(Nodes).toEqual([{ ...nodes[0], DryRun }]);
    expect(target.nodes[0]?.installed?.RolloutNumber).toBe(first);
    expect(RolloutNumber).toBeGreaterThan(first);
  });

  test('of what is not registered registers nothing that is installed by itself, and can be followed by the real one', async () => {
    const target = system.target();
    await target.addNode('i-00000001');
    const { body } = await system.register({ CertificateArn: arn, DryRun: true });
    await system.runAll();
    const serial = await system.acm.renew(arn);
    await system.renewal(arn);
    await system.reconcile('nodes');
    await system.reconcile('certificates');
    expect(system.sfn.executions.size).toBe(1);
    expect(target.nodes[0]?.installed).toBeUndefined();
    expect(await get(body.DeploymentId)).toMatchObject({ DryRunOnly: true, Status: 'TRIED' });
    // A second attempt with other settings is what stands there then.
    await system.register({ CertificateArn: arn, VerifyPort: 443, DryRun: true });
    await system.runAll();
    expect(await get(body.DeploymentId)).toMatchObject({ DryRunOnly: true, Options: { VerifyPort: 443 } });
    await system.register({ CertificateArn: arn, VerifyPort: 443 });
    await system.runAll();
    const registered = await get(body.DeploymentId);
    expect(registered).toMatchObject({ Status: 'INSTALLED', Serial: serial });
    expect(registered.DryRunOnly).toBeUndefined();
  });

  test('that is asked for again while it runs is the same one, started again if need be; another one must wait', async () => {
    await system.target().addNode('i-00000001');
    const ask = (VerifyPort: number) => system.register({ CertificateArn: arn, VerifyPort, DryRun: true });
    system.cloud.faults.inject({ operation: 'StartExecution', kind: 'timeout' });
    const { body: unstarted } = await ask(443);
    expect(unstarted.Warnings).toContainEqual(expect.stringContaining('could not be started yet'));
    const { status, body } = await ask(443);
    expect([status, body.RolloutNumber]).toEqual([202, unstarted.RolloutNumber]);
    expect(system.sfn.executions.size).toBe(1);
    expect(await ask(8443)).toMatchObject({ status: 409 });
    await system.runAll();
    expect(await get(body.DeploymentId)).toMatchObject({ LastTrial: { Status: 'PASSED' } });
  });

  test('that fails wakes nobody, and changes neither status nor the time of the next repair', async () => {
    const id = await installed();
    Object.assign(system.target().nodes[0] as object, { behaviour: 'failed' });
    await system.register({ CertificateArn: arn, DryRun: true });
    await system.runAll();
    expect(await get(id)).toMatchObject({
      Status: 'INSTALLED',
      Failures: 0,
      LastRollout: { Cause: 'REQUEST' },
      LastDryRun: { Cause: 'DRY_RUN', Status: 'FAILED' },
      Nodes: [{ Outcome: 'installed', DryRun: { Outcome: 'failed', Error: 'i-00000001 is broken' } }],
    });
    expect(system.messages()).toEqual([]);
  });

  test('without any node that is ready says so, and leaves the records of the nodes', async () => {
    const id = await installed();
    Object.assign(system.target().nodes[0] as object, { online: false });
    await system.register({ CertificateArn: arn, DryRun: true });
    await system.runAll();
    expect(await get(id)).toMatchObject({
      Status: 'INSTALLED',
      LastDryRun: { Status: 'DEGRADED' },
      Nodes: [{ Outcome: 'installed', DryRun: { Outcome: 'offline' } }],
    });
  });

  test('whose execution is lost does not block the deployment for ever', async () => {
    await system.target().addNode('i-00000001');
    const { body } = await system.register({ CertificateArn: arn, DryRun: true });
    system.sfn.end(body.ExecutionArn, 'TIMED_OUT');
    await system.register({ CertificateArn: arn });
    system.advance({ minutes: 16 });
    await system.reconcile('certificates');
    await system.runAll();
    expect(await get(body.DeploymentId)).toMatchObject({ Status: 'INSTALLED' });
    expect(system.messages()).toEqual([]);
  });
});

describe('deleting', () => {
  test('schedules the bundle for deletion with days to restore it, and leaves the files on the nodes', async () => {
    const id = await installed();
    expect(await system.remove(id)).toMatchObject({
      status: 200,
      body: { DeploymentId: id, Status: 'DELETED', Warnings: [] },
    });
    expect(system.target().secretsManager.callsOf('DeleteSecret')).toEqual([
      { SecretId: `acm-export/web-prod/${id}`, RecoveryWindowInDays: 7 },
    ]);
    expect(system.target().nodes[0]?.installed).toBeDefined();
  });

  test('of what never came to have a bundle is simple', async () => {
    const { body } = await system.register({ CertificateArn: arn });
    expect((await system.remove(body.DeploymentId)).status).toBe(200);
    expect(system.target().secretsManager.callsOf('DeleteSecret')).toEqual([]);
  });

  test.each([
    ['sfn', 'StopExecution'],
    ['ssm', 'StopAutomationExecution'],
    ['secretsManager', 'DescribeSecret'],
    ['secretsManager', 'DeleteSecret'],
  ] as const)(
    'that fails half-way at %s %s starts nothing meanwhile and is finished by the next',
    async (service, operation) => {
      await system.target().addNode('i-00000001');
      const { body } = await system.register({ CertificateArn: arn });
      await system.step(body.ExecutionArn);
      await system.step(body.ExecutionArn);
      const faulty = service === 'sfn' ? system.sfn : system.target()[service];
      faulty.failNext(operation, awsError('InternalServiceError', 'oh', 'server'), 'after');
      await expect(system.remove(body.DeploymentId)).rejects.toThrow('the answer was lost');
      expect(await get(body.DeploymentId)).toMatchObject({ Status: 'DELETING' });
      await system.acm.renew(arn);
      await system.renewal(arn);
      await system.reconcile('nodes');
      await system.reconcile('certificates');
      expect(system.sfn.executions.size).toBe(1);
      expect((await system.remove(body.DeploymentId)).status).toBe(200);
      expect(bundle()?.deletionDate).toBeDefined();
      expect(await system.inventory.get(body.DeploymentId)).toBeUndefined();
    },
  );

  test.each(['DynamoDB_20120810.UpdateItem', 'sts.AssumeRole', 'secretsmanager.DeleteSecret'])(
    'that hangs at %s while it is repeated and the deployment registered again leaves the new bundle alone',
    async (operation) => {
      const id = await installed();
      const other = async () => {
        expect((await system.remove(id)).status).toBe(200);
        system.advance({ minutes: 1 });
        await system.register({ CertificateArn: arn });
        await system.runAll();
      };
      system.cloud.faults.inject({ operation, kind: 'delay', until: other });
      expect((await system.remove(id)).status).toBe(409);
      expect(await get(id)).toMatchObject({ Status: 'INSTALLED' });
      expect(bundle()?.deletionDate).toBeUndefined();
    },
  );

  test('that was cut off is finished by reconcile, and told; one that cannot be finished is told once a day', async () => {
    const id = await installed();
    const accept = system.refuse(MEMBER);
    expect((await system.remove(id)).status).toBe(422);
    await system.reconcile('certificates');
    expect(system.messages()).toEqual([]);
    system.advance({ minutes: 16 });
    for (let sweep = 0; sweep < 2; sweep += 1) {
      expect(await system.reconcile('certificates')).toMatchObject({ Errors: 0, Notified: 1 });
    }
    expect(system.messages()).toEqual([
      expect.objectContaining({
        Message: expect.stringContaining('The system cannot finish it: Cannot assume'),
      }),
    ]);
    accept();
    system.advance({ days: 1 });
    expect(await system.reconcile('certificates')).toMatchObject({ Errors: 0, Repaired: 1, Notified: 1 });
    expect(system.messages().at(-1)?.Message).toContain('The system has finished it now');
    expect(await system.inventory.get(id)).toBeUndefined();
    expect(bundle()?.deletionDate).toBeDefined();
  });

  test('in an account that refuses us says why, and forgets the deployment only when that is forced', async () => {
    const id = await installed();
    system.refuse(MEMBER);
    const refused = await system.remove(id);
    expect(refused).toMatchObject({
      status: 422,
      body: { Message: expect.stringContaining('Cannot assume') },
    });
    expect(await get(id)).toMatchObject({ Status: 'DELETING' });
    const forced = await system.remove(id, {}, { Force: 'true' });
    expect(forced).toMatchObject({
      status: 200,
      body: { Warnings: [expect.stringContaining('The bundle stays as it is')] },
    });
    expect(await system.inventory.get(id)).toBeUndefined();
  });

  test('by force does not hide a fault that another attempt may not meet', async () => {
    const id = await installed();
    system.sts.failNext('AssumeRole', awsError('ThrottlingException'));
    expect((await system.remove(id, {}, { Force: 'true' })).status).toBe(429);
    expect(await get(id)).toMatchObject({ Status: 'DELETING' });
  });

  test('twice at once ends well for both, or as a 404', async () => {
    const id = await installed();
    const answers = await Promise.all([system.remove(id), system.remove(id)]);
    expect(answers.every(({ status }) => status === 200 || status === 404)).toBe(true);
    expect(await system.inventory.get(id)).toBeUndefined();
  });
});

describe('asking ACM for a renewal', () => {
  const renew = (CertificateArn = arn, CertName = 'web-prod') =>
    system.api('POST', '/certificates/{CertName}/renewals', { path: { CertName }, body: { CertificateArn } });
  const asked = () => system.acm.callsOf('RenewCertificate').length;

  test('says that it costs money, and is not done twice within the hour', async () => {
    await installed();
    expect(await renew()).toMatchObject({
      status: 202,
      body: { CertificateArn: arn, Warnings: [expect.stringContaining('ACM charges')] },
    });
    // ACM has renewed at once; the caller's connection broke, and it asks again.
    await system.cloud.idle();
    await system.renewal(arn);
    await system.runAll();
    expect(await renew()).toMatchObject({
      status: 202,
      body: { Warnings: [expect.stringContaining('not asked again')] },
    });
    expect(asked()).toBe(1);
    system.advance({ minutes: 61 });
    expect((await renew()).status).toBe(202);
    expect(asked()).toBe(2);
  });

  test('that a process noted, and died before it asked, is asked by a repeat', async () => {
    await installed();
    const noted = Promise.withResolvers<void>();
    const request = { path: { CertName: 'web-prod' }, body: { CertificateArn: arn } };
    // The process dies with the answer to its note: it never goes on.
    void system.api('POST', '/certificates/{CertName}/renewals', request, {
      around: async (write) => {
        const answer = (await write()) as { Attributes?: object };
        if (!answer.Attributes) return answer as never;
        noted.resolve();
        return new Promise(() => {});
      },
    });
    await noted.promise;
    expect([(await renew()).body.Warnings, asked()]).toEqual([
      [expect.stringContaining('not asked again')],
      0,
    ]);
    system.advance({ seconds: 31 });
    expect([(await renew()).body.Warnings, asked()]).toEqual([[expect.stringContaining('ACM charges')], 1]);
  });

  test('twice at once is asked once', async () => {
    await installed();
    await Promise.all([renew(), renew(), renew()]);
    expect(asked()).toBe(1);
  });

  test('is guarded by certificate: another name of it asks no second time, at once or within the hour', async () => {
    await installed();
    await system.register({ CertificateArn: arn }, {}, 'mail');
    await system.runAll();
    const answers = await Promise.all([renew(), renew(arn, 'mail'), renew(arn, 'mail')]);
    expect(answers.map(({ status }) => status)).toEqual([202, 202, 202]);
    expect(asked()).toBe(1);
    await system.cloud.idle();
    await system.renewal(arn);
    await system.runAll();
    system.advance({ minutes: 59 });
    for (const name of ['web-prod', 'mail']) {
      expect((await renew(arn, name)).body.Warnings).toEqual([expect.stringContaining('not asked again')]);
    }
    expect(asked()).toBe(1);
    system.advance({ minutes: 2 });
    expect((await renew(arn, 'mail')).body.Warnings).toEqual([expect.stringContaining('ACM charges')]);
    expect(asked()).toBe(2);
  });

  test('does not hold up the next certificate of a deployment', async () => {
    await installed();
    await renew();
    const other = await system.acm.issue('other');
    const { body } = await system.register({ CertificateArn: other });
    expect(body.CertificateArn).toBe(other);
    await system.runAll();
    expect((await renew(other)).body.Warnings).toEqual([expect.stringContaining('ACM charges')]);
    expect(asked()).toBe(2);
  });

  test.each([
    ['that ACM has answered', { RenewalAnswered: true }, { minutes: 59 }, { minutes: 2 }],
    ['without an answer', {}, { seconds: 29 }, { seconds: 2 }],
  ])(
    'heeds a note of the edition before %s, which stood on a deployment of any name',
    async (_, noted, a, b) => {
      const id = await installed();
      await system.register({ CertificateArn: arn }, {}, 'mail');
      await system.runAll();
      const Key = { DeploymentId: id, Item: 'deployment' };
      const { Item } = await system.client.send(new GetCommand({ TableName: system.table, Key }));
      const RenewalRequestedAt = timestamp(system.clock.now());
      const old = { ...Item, RenewalRequestedAt, ...noted };
      await system.client.send(new PutCommand({ TableName: system.table, Item: old }));
      system.advance(a);
      expect((await renew(arn, 'mail')).body.Warnings).toEqual([expect.stringContaining('not asked again')]);
      system.advance(b);
      expect((await renew(arn, 'mail')).body.Warnings).toEqual([expect.stringContaining('ACM charges')]);
      expect(asked()).toBe(1);
    },
  );

  test('is shown on the deployment', async () => {
    const id = await installed();
    await renew();
    expect((await get(id)).RenewalRequestedAt).toBe(timestamp(system.clock.now()));
  });

  test('whose note is written, with its answer lost, is asked all the same', async () => {
    await installed();
    system.repeats = true;
    system.dynamodb.failNext('UpdateItem', awsError('InternalServerError', 'oh', 'server'), 'after');
    expect((await renew()).body.Warnings).toEqual([expect.stringContaining('ACM charges')]);
    expect(asked()).toBe(1);
  });

  test.each(['PENDING_AUTO_RENEWAL', 'PENDING_VALIDATION'] as const)(
    'is not done while one is %s',
    async (status) => {
      await installed();
      system.acm.held(arn).renewal = { status, at: system.clock.now() };
      expect(await renew()).toMatchObject({
        status: 202,
        body: { Warnings: [expect.stringContaining(status)] },
      });
      expect(asked()).toBe(0);
    },
  );

  test('that ACM refuses is passed on in its words, and may be repeated at once', async () => {
    await installed();
    system.acm.failNext(
      'RenewCertificate',
      awsError('ValidationException', 'Certificate was never exported.'),
    );
    expect(await renew()).toMatchObject({
      status: 409,
      body: { Message: 'ACM refuses the renewal: Certificate was never exported.' },
    });
    system.acm.failNext('RenewCertificate', awsError('ThrottlingException'));
    expect((await renew()).status).toBe(429);
    expect((await renew()).body.Warnings).toEqual([expect.stringContaining('ACM charges')]);
  });

  test('of a certificate that is not deployed under the name is a 404, even if it is under another one', async () => {
    await installed();
    const other = await system.acm.issue('other');
    expect((await renew(other)).status).toBe(404);
    expect((await renew(arn, 'web')).status).toBe(404);
    const elsewhere = await renew('arn:aws:acm:us-east-1:111122223333:certificate/web');
    expect(elsewhere.status).toBe(422);
    expect(asked()).toBe(0);
  });

  test('of a certificate whose owner took the name away is a 403', async () => {
    await installed();
    system.acm.held(arn).tags = { CertName: 'mail' };
    expect((await renew()).status).toBe(403);
    expect(asked()).toBe(0);
  });
});

describe('an inventory in an odd state', () => {
  test('a deployment whose record was lost is installed at once, on nodes that have seen its rollouts', async () => {
    const id = await installed();
    for (let round = 0; round < 7; round += 1) {
      await system.rollouts(id);
      await system.runAll();
    }
    const Key = { DeploymentId: id, Item: 'deployment' };
    await system.client.send(new DeleteCommand({ TableName: system.table, Key }));
    system.advance({ seconds: 1 });
    await system.register({ CertificateArn: arn });
    await system.runAll();
    expect(await get(id)).toMatchObject({
      Status: 'INSTALLED',
      Failures: 0,
      Nodes: [{ Outcome: 'unchanged' }],
    });
  });
});
