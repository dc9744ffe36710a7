import {
  DeleteSecretCommand,
  RestoreSecretCommand,
  SecretsManagerClient,
} from '@aws-sdk/client-secrets-manager';
import { beforeEach, describe, expect, test } from '@jest/globals';
import { type Deployment, orderOf, type Wanted } from '../../../functions/domain/deployment.ts';
import { awsError } from '../../functions/support/service-view.ts';
import { CENTRAL, MEMBER, System } from '../../functions/support/system.ts';

const READER = `arn:aws:iam::${MEMBER}:role/ecs-execution`;

let system: System;
let arn: string;
beforeEach(async () => {
  system = await System.create();
  arn = await system.acm.issue('web');
});

/** Delivers; gives the id of the deployment. */
async function installed(body: Record<string, unknown> = {}): Promise<string> {
  const answer = await system.register({ CertificateArn: arn, ...body });
  await system.runAll();
  return answer.body.DeploymentId;
}
const toReaders = { Delivery: 'secret', ReaderRoleArns: [READER] };

const administrator = (account: string) => system.target(account).client(SecretsManagerClient);
const bundle = (id: string, account = MEMBER) =>
  system
    .target(account)
    .secrets()
    .find(({ name }) => name.endsWith(id));

/** A person schedules a bundle for deletion, or deletes it at once. */
const withdraw = (id: string, account = MEMBER) =>
  administrator(account).send(new DeleteSecretCommand({ SecretId: bundle(id, account)?.arn }));
const destroy = (id: string, account = MEMBER) =>
  administrator(account).send(
    new DeleteSecretCommand({ SecretId: bundle(id, account)?.arn, ForceDeleteWithoutRecovery: true }),
  );

/** The hourly sweeps of some days, and those that begin what is due. */
async function days(count: number) {
  const sum = { Errors: 0, Notified: 0 };
  for (let hour = 0; hour < 24 * count; hour += 1) {
    const pass = await system.reconcile('certificates');
    sum.Errors += pass.Errors;
    sum.Notified += pass.Notified;
    await system.reconcile('nodes');
    await system.runAll();
    system.advance({ hours: 1 });
  }
  return sum;
}
const subjects = () => system.messages().map(({ Subject }) => Subject);

describe('when all is well', () => {
  test('each bundle is described once a day in one session of its account, those of readers each hour, and nothing is written', async () => {
    system.addRole(READER);
    for (const name of ['a', 'b', 'c']) {
      await system.register({ CertificateArn: arn }, {}, name);
      await system.register({ CertificateArn: arn, TargetAccount: CENTRAL }, {}, name);
    }
    await system.runAll();
    const callsOfADay = async () => {
      for (const service of [
        system.sts,
        system.target().secretsManager,
        system.target(CENTRAL).secretsManager,
      ]) {
        service.forgetCalls();
      }
      system.dynamodb.forgetCalls();
      for (let hour = 0; hour < 24; hour += 1) {
        expect(await system.reconcile('certificates')).toMatchObject({ Started: 0, Notified: 0, Errors: 0 });
        system.advance({ hours: 1 });
      }
      return {
        sessions: system.sts.callsOf('AssumeRole').length,
        described: [MEMBER, CENTRAL].map((account) => system.target(account).secretsManager.calls.length),
        written: system.dynamodb.callsOf('UpdateItem').length,
      };
    };
    // One more session of each account looks at its member stack.
    expect(await callsOfADay()).toEqual({ sessions: 2 + 2, described: [3, 3], written: 0 });
    await system.register({ CertificateArn: arn, ...toReaders }, {}, 'd');
    await system.runAll();
    // Each hour one session finds its reader, too.
    expect(await callsOfADay()).toEqual({ sessions: 24 + 24 + 1 + 2, described: [3 + 24, 3], written: 0 });
  });

  test('a session may describe bundles, and nothing else', async () => {
    await installed();
    system.sts.forgetCalls();
    await days(1);
    const [{ Policy }] = system.sts
      .callsOf('AssumeRole')
      .filter((input) => input.Policy.includes('secretsmanager'));
    expect(JSON.parse(Policy).Statement).toEqual([
      {
        Effect: 'Allow',
        Action: ['secretsmanager:DescribeSecret'],
        Resource: `arn:aws:secretsmanager:eu-central-1:${MEMBER}:secret:acm-export/*`,
      },
    ]);
  });
});

describe('a bundle that is scheduled for deletion', () => {
  test('is told once a day, with all that a person needs, and not restored until the deployment is posted again', async () => {
    await system.target().addNode('i-00000001');
    const id = await installed();
    await withdraw(id);
    const since = `${system.clock.now().toISOString().slice(0, 19)}Z`;
    expect(await days(1)).toEqual({ Errors: 0, Notified: 1 });
    expect(system.messages()).toEqual([
      {
        Subject: 'Bundle of web-prod is scheduled for deletion: acm-export=web',
        Message: expect.stringContaining(
          `acm-export/web-prod/${id} may be deleted for good from 2026-12-01T`,
        ),
      },
    ]);
    const text = system.messages()[0]?.Message;
    expect(text).toContain(`account ${MEMBER}, Region eu-central-1`);
    expect(text).toContain(`Since: ${since}`);
    expect(text).toMatch(
      /What to do: .*To restore the bundle, POST the deployment again .* DELETE the deployment/,
    );
    expect(await system.deployment(id)).toMatchObject({
      Status: 'INSTALLED',
      Reason: expect.stringContaining('scheduled for deletion'),
      BundleFinding: { Kind: 'deletion', Since: since },
      Rollouts: 1,
    });
    await days(3);
    expect(subjects()).toHaveLength(4);
    expect(bundle(id)?.deletionDate).toBeDefined();
    await installed();
    expect(bundle(id)?.deletionDate).toBeUndefined();
    expect(await system.deployment(id)).not.toHaveProperty('BundleFinding');
    await days(2);
    expect(subjects()).toHaveLength(4);
  });

  test('and restored by hand is forgotten within the hour', async () => {
    const id = await installed();
    await withdraw(id);
    await days(1);
    await administrator(MEMBER).send(new RestoreSecretCommand({ SecretId: bundle(id)?.arn }));
    await system.reconcile('certificates');
    expect(await system.deployment(id)).not.toHaveProperty('BundleFinding');
    await days(2);
    expect(subjects()).toHaveLength(1);
  });

  test('is told within the hour where readers use it; one message names all of an hour', async () => {
    system.addRole(READER);
    const ids = [await installed(toReaders)];
    for (const name of ['b', 'c']) {
      ids.push((await system.register({ CertificateArn: arn, ...toReaders }, {}, name)).body.DeploymentId);
    }
    await system.runAll();
    for (const id of ids) {
      await withdraw(id);
      system.advance({ minutes: 1 });
    }
    await system.reconcile('certificates');
    expect(subjects()).toEqual(['Bundle of web-prod is scheduled for deletion: acm-export=web and 2 more']);
    for (const id of ids) {
      expect(system.messages()[0]?.Message).toContain(id);
    }
  });

  test('is told while the deployment is paused, and when the message could not be sent at first', async () => {
    const id = await installed();
    await system.mark('pause', id);
    await withdraw(id);
    system.sns.failNext('Publish', awsError('InternalError', '', 'server'));
    expect(await days(1)).toEqual({ Errors: 1, Notified: 1 });
    expect(subjects()).toHaveLength(1);
    expect(await system.deployment(id)).toMatchObject({ Reason: 'It is paused.', Rollouts: 1 });
  });
});

describe('a bundle that does not exist', () => {
  test('is written anew by a rollout that changes no node, and nobody is told', async () => {
    const node = await system.target().addNode('i-00000001');
    const id = await installed();
    const { RolloutNumber: _, ...before } = node.installed ?? {};
    await destroy(id);
    await days(1);
    expect(await system.deployment(id)).toMatchObject({
      Status: 'INSTALLED',
      LastRollout: { Cause: 'RECONCILE' },
      Rollouts: 2,
    });
    const versionId = (await system.deployment(id)).VersionId as string;
    expect(bundle(id)?.versions.get(versionId)?.stages).toContain('AWSCURRENT');
    expect([...(bundle(id)?.versions.keys() ?? [])]).toEqual([versionId]);
    expect(await system.inventory.nodes.all(id)).toMatchObject([{ Outcome: 'unchanged' }]);
    expect(node.installed).toMatchObject(before);
    expect(await system.deployment(id)).not.toHaveProperty('BundleFinding');
    await days(1);
    expect(await system.deployment(id)).toMatchObject({ Rollouts: 2 });
    expect(system.messages()).toEqual([]);
  });

  test('is there again within the hour where readers use it, and people are told of its new ARN', async () => {
    system.addRole(READER);
    const id = await installed(toReaders);
    const before = bundle(id)?.arn;
    system.advance({ hours: 1 });
    await destroy(id);
    await system.reconcile('certificates');
    system.advance({ minutes: 5 });
    await system.reconcile('nodes');
    await system.runAll();
    expect(bundle(id)?.arn).not.toBe(before);
    const [, announced] = system.target().events.callsOf('PutEvents');
    expect(announced?.Entries[0].Detail).toContain(bundle(id)?.arn);
    expect(subjects()).toEqual(['Bundle of web-prod is missing: acm-export=web']);
    await days(1);
    expect(subjects()).toHaveLength(1);
    expect(await system.deployment(id)).toMatchObject({ Status: 'INSTALLED', Rollouts: 2 });
  });

  test.each(['paused', 'off'])(
    'is told daily while nothing may begin (%s), and written anew after that',
    async (how) => {
      const id = await installed();
      await destroy(id);
      if (how === 'paused') {
        await system.mark('pause', id);
      }
      system.rolloutsEnabled = how !== 'off';
      await days(2);
      expect(subjects()).toEqual(Array(2).fill('Bundle of web-prod is missing: acm-export=web'));
      expect(await system.deployment(id)).toMatchObject({ Rollouts: 1, BundleFinding: { Kind: 'missing' } });
      system.rolloutsEnabled = true;
      await system.mark('resume', id);
      await system.reconcile('nodes');
      await system.runAll();
      expect(bundle(id)).toBeDefined();
      expect(await system.deployment(id)).toMatchObject({ Rollouts: 2 });
    },
  );

  test('is there again before a node fails: nothing more is found then', async () => {
    const node = await system.target().addNode('i-00000001');
    const id = await installed();
    await destroy(id);
    node.behaviour = 'failed';
    while ((await system.deployment(id)).Rollouts === 1) {
      await system.reconcile('certificates');
      system.advance({ minutes: 30 });
      await system.reconcile('nodes');
      await system.runAll();
    }
    expect(bundle(id)).toBeDefined();
    expect(await system.deployment(id)).toMatchObject({ Status: 'FAILED', Rollouts: 2 });
    expect(await system.deployment(id)).not.toHaveProperty('BundleFinding');
  });

  test('is written in a slot, as many may be missing at once', async () => {
    system.addRole(READER);
    const ids = [await installed(toReaders)];
    for (const name of ['b', 'c']) {
      ids.push((await system.register({ CertificateArn: arn, ...toReaders }, {}, name)).body.DeploymentId);
    }
    await system.runAll();
    system.advance({ hours: 1 });
    for (const id of ids) {
      await destroy(id);
    }
    await system.reconcile('certificates');
    expect(await system.reconcile('nodes')).toMatchObject({ Started: 3 });
    const delays = system.sfn.running().map(({ input }) => JSON.parse(input).StartDelaySeconds);
    expect(new Set(delays).size).toBeGreaterThan(1);
    await system.runAll();
    expect(ids.map((id) => bundle(id) !== undefined)).toEqual([true, true, true]);
    expect(subjects()).toEqual([expect.stringMatching(/^Bundle of .* is missing: .* and 2 more$/)]);
  });

  test('and cannot be written is told as a rollout that failed, once, and written when it can be', async () => {
    const id = await installed();
    await destroy(id);
    system.acm.failNext('ExportCertificate', awsError('ValidationException', 'no'), 'before', 20);
    await days(2);
    expect(subjects()).toEqual([expect.stringMatching(/^Rollout of web-prod FAILED/)]);
    system.cloud.faults.clear();
    await days(1);
    expect(await system.deployment(id)).toMatchObject({ Status: 'WAITING', Failures: 0 });
    expect(await system.deployment(id)).not.toHaveProperty('BundleFinding');
    expect(bundle(id)).toBeDefined();
  });
});

describe('nothing is told of', () => {
  test('a deployment that is being deleted, was deleted, or has had no bundle yet', async () => {
    const deleted = await installed();
    await system.remove(deleted);
    const [deleting, failed] = [await installed({ TargetTagValue: 'a' }), 'b'];
    await withdraw(deleting);
    await system.mark('markDeleting', deleting);
    system.acm.failNext('ExportCertificate', awsError('ValidationException', 'no'), 'before', 1000);
    await system.register({ CertificateArn: arn, TargetTagValue: failed });
    await system.register({ CertificateArn: arn, TargetTagValue: 'tried', DryRun: true });
    await system.runAll();
    await days(2);
    expect(subjects().filter((subject) => subject.startsWith('Bundle'))).toEqual([]);
  });

  test.each([
    ['a DELETE', (id: string) => system.remove(id)],
    ['a DELETE that goes on', (id: string) => system.mark('markDeleting', id)],
    [
      'a DELETE, and registered again',
      async (id: string) => {
        const before = (await system.inventory.get(id)) as Deployment;
        await system.remove(id);
        // Its rollout has not begun yet.
        const registered = { order: orderOf(before), notAfter: before.NotAfter };
        await system.inventory.want(id, undefined, before.Wanted as Wanted, registered);
      },
    ],
    ['a rollout', (id: string) => system.rollouts(id)],
  ] as const)('a bundle that is changed by %s during the look', async (_, happens) => {
    system.addRole(READER);
    const id = await installed(toReaders);
    await withdraw(id);
    let isFirst = true;
    system.before('secretsmanager.DescribeSecret', async () => {
      if (isFirst) {
        isFirst = false;
        await happens(id);
      }
    });
    expect(await system.reconcile('certificates')).toMatchObject({ Notified: 0, Errors: 0 });
    expect(isFirst).toBe(false);
    expect(system.messages()).toEqual([]);
    expect((await system.inventory.get(id))?.BundleFinding).toBeUndefined();
  });

  test('a bundle that a POST is to restore, however long its rollout fails', async () => {
    const id = await installed();
    await system.remove(id);
    const denied = awsError(
      'AccessDeniedException',
      'not authorized to perform: secretsmanager:RestoreSecret',
    );
    system.target().secretsManager.failNext('RestoreSecret', denied, 'before', 1000);
    await installed();
    await days(1);
    expect(bundle(id)?.deletionDate).toBeDefined();
    expect(subjects()).toEqual([expect.stringMatching(/^Rollout of web-prod FAILED/)]);
  });
});

describe('an account that refuses', () => {
  test('a session does not hold up the others, and is counted', async () => {
    const ids = [await installed(), await installed({ TargetAccount: CENTRAL })];
    await withdraw(ids[0] as string);
    await withdraw(ids[1] as string, CENTRAL);
    const open = system.refuse(MEMBER);
    let errors = 0;
    for (let hour = 0; hour < 24; hour += 1) {
      errors += (await system.reconcile('certificates')).Errors;
      system.advance({ hours: 1 });
    }
    // Its bundles, and its member stack.
    expect(errors).toBe(2);
    expect(subjects()).toEqual(['Bundle of web-prod is scheduled for deletion: acm-export=web']);
    expect(system.messages()[0]?.Message).toContain(`account ${CENTRAL}`);
    open();
  });

  test.each([
    awsError('AccessDeniedException', 'not authorized'),
    awsError('InternalServiceError', '', 'server'),
  ])(
    'the look at one bundle ($name) does not hold up the next one, nor takes back what was found',
    async (error) => {
      system.addRole(READER);
      const ids = [await installed(toReaders)];
      ids.push((await system.register({ CertificateArn: arn, ...toReaders }, {}, 'b')).body.DeploymentId);
      await system.runAll();
      for (const id of ids) {
        await withdraw(id);
      }
      await system.reconcile('certificates');
      system.advance({ days: 1 });
      system.target().secretsManager.failNext('DescribeSecret', error);
      expect(await system.reconcile('certificates')).toMatchObject({ Errors: 1, Notified: 1 });
      expect(subjects()).toEqual([
        expect.stringContaining('and 1 more'),
        expect.not.stringContaining('more'),
      ]);
      for (const id of ids) {
        expect(await system.deployment(id)).toMatchObject({ BundleFinding: { Kind: 'deletion' } });
      }
    },
  );
});
