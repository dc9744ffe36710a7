import { PutCommand, UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { beforeEach, describe, expect, test } from '@jest/globals';
import { STATUSES } from '../../functions/domain/deployment.ts';
import { isHourOfRecords } from '../../functions/domain/validation-records.ts';
import type { ScriptedNode } from '../../local/scripted-node.ts';
import { awsError, type ServiceView } from './support/service-view.ts';
import { CENTRAL, type Execution, MEMBER, System, stack } from './support/system.ts';

/** How long a node that is gone is remembered. */
const REMEMBERED_DAYS = Number(stack.parameters.NodeRetentionDays);

let system: System;
let arn: string;
beforeEach(async () => {
  system = await System.create();
  arn = await system.acm.issue('web');
});

const nothingDone = { Started: 0, Repaired: 0, Dropped: 0, Notified: 0, Errors: 0 };
/** Names of the calls to DynamoDB, as they were made. */
const databaseCalls = () => system.dynamodb.calls.map(({ operation }) => operation);
const node = (index = 0) => system.target().nodes[index] as ScriptedNode;

async function installed(body: Record<string, unknown> = {}): Promise<string> {
  const answer = await system.register({ CertificateArn: arn, ...body });
  await system.runAll();
  return answer.body.DeploymentId;
}

const recordsOf = async (id: string) => {
  const records = await system.inventory.nodes.all(id);
  return Object.fromEntries(records.map((record) => [record.NodeId, record]));
};

/** As the schedules do it: nodes each time, certificates each hour. Coarser than in life, as tests are many. */
async function letTimePass(hours: number, minutes = 15): Promise<void> {
  for (let sweep = 0; sweep < (hours * 60) / minutes; sweep += 1) {
    system.advance({ minutes });
    await system.reconcile('nodes');
    if (sweep % (60 / minutes) === 0) {
      // Lambda tries again soon, and here the next hour.
      await system.reconcile('certificates').catch(() => {});
    }
    await system.runAll();
  }
}

describe('when all is well', () => {
  test('starts nothing, writes nothing, and asks once a certificate and once a tag', async () => {
    const other = await system.acm.issue('other');
    for (const account of [MEMBER, CENTRAL]) {
      for (const tag of ['web', 'mail']) {
        await system.target(account).addNode(`i-${tag}`, { tags: { 'acm-export': tag } });
        for (const [name, CertificateArn] of [
          ['a', arn],
          ['b', arn],
          ['c', other],
        ] as const) {
          await system.register({ CertificateArn, TargetAccount: account, TargetTagValue: tag }, {}, name);
        }
      }
    }
    await system.runAll();
    system.advance({ days: 100 });
    // Looks come once an hour, and are measured elsewhere.
    for (let sweep = 0; sweep < 2; sweep += 1) {
      await system.reconcile('nodes');
      await system.letNodesAnswer();
      system.advance({ minutes: 5 });
    }
    const services = [
      system.acm,
      system.sfn,
      system.sts,
      system.sns,
      system.target().ssm,
      system.target(CENTRAL).ssm,
    ];
    const callsDuring = async (task: 'nodes' | 'certificates') => {
      for (const service of services) {
        service.forgetCalls();
      }
      system.dynamodb.forgetCalls();
      expect(await system.reconcile(task)).toMatchObject({ Examined: 12, ...nothingDone });
      return services.flatMap(({ calls }) => calls.map(({ operation }) => operation)).sort();
    };
    // Once a day one more, for its validation records.
    const alsoForRecords = [arn, other].filter((each) => isHourOfRecords(each, system.clock.now()));
    expect(await callsDuring('certificates')).toEqual(
      Array(2 + alsoForRecords.length).fill('DescribeCertificate'),
    );
    // What was denied before, and the statuses.
    expect(new Set(databaseCalls())).toEqual(new Set(['GetItem', 'Query']));
    expect(await callsDuring('nodes')).toEqual([
      ...Array(2).fill('AssumeRole'),
      ...Array(4).fill('DescribeInstanceInformation'),
    ]);
    // One query a status, one for what an older edition wrote of dry runs, one for what is paused, and one a deployment for
    // its nodes. Of each account, when its EC2 and hybrid nodes were looked at, what was denied before, the size of the
    // fleet, and whether it is frozen. One query for requests of certificates that are open.
    const queries = STATUSES.length + 2 + 12 + 1;
    expect(databaseCalls().sort()).toEqual([...Array(7).fill('GetItem'), ...Array(queries).fill('Query')]);
  });

  test('stays within half of the quotas of ACM and within those of SSM, however quick they answer', async () => {
    const target = system.target();
    for (let index = 0; index < 12; index += 1) {
      const CertificateArn = await system.acm.issue(`c${index}`);
      await system.register({ CertificateArn, TargetTagValue: `t${index}` });
    }
    for (let index = 0; index < 120; index += 1) {
      await target.addNode(`i-${index}`, { tags: { 'acm-export': 't0' } });
    }
    await system.runAll();
    const calls = (service: ServiceView, operation: string) => {
      const times = service.calls.filter((call) => call.operation === operation).map(({ at }) => at);
      const within = (from: number) => times.filter((time) => time >= from && time < from + 1000).length;
      return [times.length, Math.max(...times.map(within))];
    };
    system.acm.forgetCalls();
    target.ssm.forgetCalls();
    await system.reconcile('certificates');
    expect(calls(system.acm, 'DescribeCertificate')).toEqual([12, 5]);
    await system.reconcile('nodes');
    // 120 nodes of one tag are three pages, and three more for the look at all of them.
    expect(calls(target.ssm, 'DescribeInstanceInformation')).toEqual([17, 2]);
  });
});

describe('a lost event', () => {
  test('is made up for within the hour, and by a person asking whichever way it comes', async () => {
    await system.target().addNode('i-00000001');
    const id = await installed();
    const serial = await system.acm.renew(arn);
    expect(await system.reconcile('certificates')).toMatchObject({ Started: 1, Errors: 0 });
    await system.runAll();
    expect(await system.deployment(id)).toMatchObject({ Serial: serial, Status: 'INSTALLED' });
    expect(await system.reconcile('certificates')).toMatchObject(nothingDone);
  });

  test('of a certificate whose nodes have all gone makes the new version ready for the next one', async () => {
    await system.target().addNode('i-00000001');
    const id = await installed();
    node().listed = false;
    const serial = await system.acm.renew(arn);
    await letTimePass(3);
    expect(await system.deployment(id)).toMatchObject({ Status: 'WAITING', Rollouts: 2 });
    // The old node comes back with the old version, which its record calls installed.
    node().listed = true;
    await letTimePass(1);
    expect(node().installed?.Serial).toBe(serial);
    expect(await system.deployment(id)).toMatchObject({
      Status: 'INSTALLED',
      Serial: serial,
      Rollouts: 3,
    });
  });
});

describe('what failed', () => {
  /** Minutes between the starts of rollouts over some days. */
  async function distances(days: number): Promise<number[]> {
    const starts: number[] = [];
    system.before('StartExecution', () => starts.push(system.clock.now().getTime() / 60_000));
    await letTimePass(days * 24);
    return starts.slice(1).map((start, index) => Math.round(start - (starts[index] as number)));
  }

  test('on a node is repeated at growing distance, once a day in the end, and told once', async () => {
    await system.target().addNode('i-00000001', { behaviour: 'failed' });
    await installed();
    const found = await distances(3);
    // Each distance is the planned one, up to the next sweep, and the time that a rollout takes.
    const planned = [30, 60, 120, 240, 480, 960, 1440, 1440];
    expect(found.length).toBeGreaterThanOrEqual(7);
    for (const [index, distance] of found.entries()) {
      expect(distance).toBeGreaterThanOrEqual(planned[index] as number);
      expect(distance).toBeLessThanOrEqual((planned[index] as number) + 16);
    }
    expect(system.messages()).toHaveLength(1);
  });

  test('before it touched a node is repeated every 15 minutes, told once, and heals within 20 minutes', async () => {
    await system.target().addNode('i-00000001');
    system.acm.failNext('ExportCertificate', awsError('ValidationException', 'no'), 'before', 1000);
    const id = await installed();
    const found = await distances(1 / 4);
    expect(found.length).toBeGreaterThan(15);
    for (const distance of found) {
      expect(distance).toBeGreaterThanOrEqual(15);
      expect(distance).toBeLessThanOrEqual(21);
    }
    expect(system.messages()).toHaveLength(1);
    system.cloud.faults.clear();
    for (let minute = 0; minute < 20; minute += 5) {
      system.advance({ minutes: 5 });
      await system.reconcile('nodes');
      await system.runAll();
    }
    expect(await system.deployment(id)).toMatchObject({ Status: 'INSTALLED', Failures: 0 });
  });

  test('for another cause is told again, and so is the same cause after a success', async () => {
    await system.target().addNode('i-00000001');
    const id = await installed();
    const fail = async (name: string, message: string) => {
      system.acm.failNext('ExportCertificate', awsError(name, message));
      system.advance({ minutes: 15 });
      await system.reconcile('nodes');
      await system.runAll();
      return system.messages().length;
    };
    await system.acm.renew(arn);
    system.acm.failNext('ExportCertificate', awsError('ValidationException', 'first'));
    await system.reconcile('certificates');
    await system.runAll();
    expect(system.messages()).toHaveLength(1);
    const denied = (action: string) =>
      fail('AccessDeniedException', `not authorized to perform: ${action} on x`);
    expect(await denied('acm:ExportCertificate')).toBe(2);
    expect(await denied('acm:ExportCertificate')).toBe(2);
    expect(await denied('acm:Other')).toBe(3);
    expect(await fail('ValidationException', 'no')).toBe(3);
    await letTimePass(1);
    expect(await system.deployment(id)).toMatchObject({ Status: 'INSTALLED' });
    await system.acm.renew(arn);
    system.acm.failNext('ExportCertificate', awsError('ValidationException', 'no'));
    await system.reconcile('certificates');
    await system.runAll();
    expect(system.messages()).toHaveLength(4);
  });

  test('is told again once the order was changed, ACM has renewed, or a node could not even go back', async () => {
    const node = await system.target().addNode('i-00000001', { behaviour: 'failed' });
    const id = await installed();
    const messages = () => system.messages().length;
    const again = async () => {
      system.advance({ hours: 3 });
      await system.reconcile('nodes');
      await system.runAll();
      return messages();
    };
    expect([messages(), await again()]).toEqual([1, 1]);
    await system.acm.renew(arn);
    await system.reconcile('certificates');
    await system.runAll();
    expect([messages(), await again()]).toEqual([2, 2]);
    await installed({ VerifyPort: 8443 });
    expect([messages(), await again()]).toEqual([3, 3]);
    node.says = ({ DeploymentId = '', RolloutNumber = '' }) => ({
      stdout: `${JSON.stringify({ Outcome: 'failed', ExitCode: 70, DeploymentId, RolloutNumber: Number(RolloutNumber), Step: 'reload', Error: 'the way back failed (nginx is not running) after reload-failed: no' })}\n`,
      exitCode: 70,
    });
    system.advance({ days: 2 });
    expect(await again()).toBe(4);
    expect((await system.deployment(id)).Status).toBe('FAILED');
  });

  test('for two causes in turn is told once for each', async () => {
    await system.target().addNode('i-00000001', { behaviour: 'failed' });
    const id = await installed();
    for (let round = 0; round < 6; round += 1) {
      const open = round % 2 === 0 ? system.refuse(MEMBER) : () => {};
      system.advance({ days: 2 });
      expect((await system.reconcile('certificates')).Started).toBe(1);
      await system.runAll();
      open();
    }
    expect((await system.deployment(id)).Failures).toBe(7);
    expect(system.messages()).toHaveLength(2);
  });

  test('is repeated although no message can be sent, and told once that is possible', async () => {
    const node = await system.target().addNode('i-00000001', { behaviour: 'failed' });
    system.sns.failNext('Publish', awsError('KMSAccessDeniedException'), 'before', 1000);
    const { body } = await system.register({ CertificateArn: arn });
    await system.runAll();
    await letTimePass(1);
    expect((await system.deployment(body.DeploymentId)).Rollouts).toBeGreaterThan(1);
    system.cloud.faults.clear();
    await letTimePass(1);
    expect(system.messages()).toHaveLength(1);
    node.behaviour = 'installs';
    await letTimePass(3);
    expect(await system.deployment(body.DeploymentId)).toMatchObject({ Status: 'INSTALLED' });
  });

  test('and whose event was lost is told by a sweep, and not again by an event that comes late', async () => {
    await system.target().addNode('i-00000001', { behaviour: 'failed' });
    const report = system.report.bind(system);
    const events: unknown[] = [];
    system.report = async (event) => {
      events.push(event);
      return { Ignored: 'lost' };
    };
    await installed();
    system.advance({ minutes: 9 });
    expect(await system.reconcile('nodes')).toMatchObject({ Notified: 0 });
    system.advance({ minutes: 1 });
    expect(await system.reconcile('nodes')).toMatchObject({ Notified: 1 });
    expect(await system.reconcile('nodes')).toMatchObject({ Notified: 0 });
    expect(system.messages()[0]?.Message).toContain('i-00000001 is broken');
    await report(events[0]);
    expect(system.messages()).toHaveLength(1);
  });

  test('is repaired by the first attempt after its cause was mended, and the count begins anew', async () => {
    await system.target().addNode('i-00000001', { behaviour: 'rolled-back' });
    const id = await installed();
    await letTimePass(1);
    expect((await system.deployment(id)).Failures).toBeGreaterThanOrEqual(2);
    node().behaviour = 'installs';
    await letTimePass(2);
    expect(await system.deployment(id)).toMatchObject({ Status: 'INSTALLED', Failures: 0 });
  });

  test('does not keep a new node waiting, nor one that has come back', async () => {
    const target = system.target();
    await target.addNode('i-0000000b', { behaviour: 'failed' });
    await target.addNode('i-0000000a', { online: false });
    const id = await installed();
    await letTimePass(24);
    expect(await system.deployment(id)).toMatchObject({ Status: 'FAILED' });
    const before = system.sfn.executions.size;
    await target.addNode('i-00000000');
    node(1).online = true;
    // The canary is another node each time; here the working ones go first.
    system.advance({ minutes: 5 });
    await system.reconcile('nodes');
    expect(system.sfn.executions.size).toBe(before + 1);
    await system.runAll();
    // The next sweep leaves the broken node to its own distance.
    system.advance({ minutes: 5 });
    await system.reconcile('nodes');
    expect(system.sfn.executions.size).toBe(before + 1);
  });

  test('with all nodes offline waits for them, and is not tried again for ever', async () => {
    await system.target().addNode('i-00000001');
    const id = await installed();
    node().online = false;
    const serial = await system.acm.renew(arn);
    await letTimePass(12);
    expect(await system.deployment(id)).toMatchObject({
      Status: 'DEGRADED',
      Rollouts: 2,
      LastError: expect.stringMatching(/^i-00000001: The SSM agent has not answered/),
    });
    node().online = true;
    system.advance({ minutes: 5 });
    await system.reconcile('nodes');
    await system.runAll();
    expect(await system.deployment(id)).toMatchObject({
      Status: 'INSTALLED',
      Serial: serial,
      Rollouts: 3,
    });
  });
});

describe('nodes', () => {
  test('that appear are served by the next sweep, in every deployment of their tag', async () => {
    const ids = [await installed(), await installed({ TargetTagKey: 'tier' })];
    const { body } = await system.register({ CertificateArn: arn }, {}, 'second-name');
    await system.runAll();
    ids.push(body.DeploymentId);
    await system.target().addNode('i-00000001', { tags: { 'acm-export': 'web', tier: 'web' } });
    expect(await system.reconcile('nodes')).toMatchObject({ Started: 3 });
    await system.runAll();
    for (const id of ids) {
      expect(await recordsOf(id)).toMatchObject({ 'i-00000001': { Outcome: 'installed' } });
    }
    expect(await system.reconcile('nodes')).toMatchObject(nothingDone);
  });

  test('that were offline are named, make it degraded, and are served when they are back', async () => {
    const target = system.target();
    await target.addNode('i-00000001');
    await target.addNode('i-00000002', { online: false });
    const id = await installed();
    expect(await system.deployment(id)).toMatchObject({
      Status: 'DEGRADED',
      LastError: expect.stringContaining('i-00000002: The SSM agent has not answered since'),
    });
    expect(await system.reconcile('nodes')).toMatchObject(nothingDone);
    node(1).online = true;
    await system.reconcile('nodes');
    await system.runAll();
    const deployment = await system.deployment(id);
    expect(deployment).toMatchObject({ Status: 'INSTALLED' });
    expect(deployment.LastError).toBeUndefined();
    expect((await recordsOf(id))['i-00000002']?.Error).toBeUndefined();
  });

  test('that cannot be served and came later are named too', async () => {
    const target = system.target();
    await target.addNode('i-00000001');
    const id = await installed();
    await target.addNode('i-00000002', { platform: 'Windows' });
    expect(await system.reconcile('nodes')).toMatchObject({ Started: 0, Repaired: 1 });
    expect(await system.deployment(id)).toMatchObject({
      Status: 'DEGRADED',
      LastError: 'i-00000002: Platform Windows is not supported; only Linux is.',
      Rollouts: 1,
    });
    expect(await system.reconcile('nodes')).toMatchObject(nothingDone);
    // Its agent cannot be updated, but its tag can go.
    node(1).tags = {};
    await system.reconcile('nodes');
    system.advance({ days: REMEMBERED_DAYS });
    await system.reconcile('nodes');
    expect(await system.deployment(id)).toMatchObject({ Status: 'INSTALLED' });
  });

  test('whose agent was updated are served then', async () => {
    await system.target().addNode('i-00000001', { agent: '3.2.0.0' });
    const id = await installed();
    expect((await recordsOf(id))['i-00000001']).toMatchObject({ Outcome: 'unsupported' });
    node().agent = '3.3.2746.0';
    await system.reconcile('nodes');
    await system.runAll();
    expect((await recordsOf(id))['i-00000001']).toMatchObject({ Outcome: 'installed' });
  });

  test('that are stopped for a while are not forgotten, and get what they missed', async () => {
    const target = system.target();
    await target.addNode('i-00000001');
    await target.addNode('i-00000002');
    const id = await installed();
    // Long after its record was written: what counts is how long it has been away.
    system.advance({ days: 100 });
    node(1).listed = false;
    await system.reconcile('nodes');
    expect((await recordsOf(id))['i-00000002']).toMatchObject({
      Outcome: 'installed',
      MissingSince: expect.any(String),
    });
    const serial = await system.acm.renew(arn);
    await system.renewal(arn);
    await system.runAll();
    expect(node(1).installed?.Serial).not.toBe(serial);
    system.advance({ days: REMEMBERED_DAYS - 1 });
    node(1).listed = true;
    await system.reconcile('nodes');
    await system.runAll();
    expect(node(1).installed?.Serial).toBe(serial);
    expect((await recordsOf(id))['i-00000002']?.MissingSince).toBeUndefined();
    // Having come back, it has its days again.
    node(1).listed = false;
    await system.reconcile('nodes');
    system.advance({ days: REMEMBERED_DAYS - 1 });
    expect(await system.reconcile('nodes')).toMatchObject({ Dropped: 0 });
  });

  test('that served the version before a rollout found none are asked when they are back', async () => {
    await system.target().addNode('i-00000001');
    const id = await installed();
    node().listed = false;
    await system.rollouts(id);
    await system.runAll();
    expect(await system.deployment(id)).toMatchObject({ Status: 'WAITING' });
    node().listed = true;
    await system.reconcile('nodes');
    await system.runAll();
    expect(await system.deployment(id)).toMatchObject({ Status: 'INSTALLED', Rollouts: 3 });
    expect(await system.reconcile('nodes')).toMatchObject(nothingDone);
  });

  test('that come and go are tried again after 15 minutes, not with every sweep', async () => {
    const target = system.target();
    await target.addNode('i-00000001');
    await installed();
    await target.addNode('i-00000002');
    for (let sweeps = 0; sweeps < 24; sweeps += 1) {
      system.advance({ minutes: 5 });
      node(1).online = true;
      await system.reconcile('nodes');
      node(1).online = false;
      await system.runAll();
    }
    // Of two hours.
    expect(system.sfn.executions.size).toBeGreaterThan(6);
    expect(system.sfn.executions.size).toBeLessThan(12);
  });

  test('that are gone for as long as the stack says are forgotten, and no longer make it degraded', async () => {
    const target = system.target();
    await target.addNode('i-00000001');
    await target.addNode('i-00000002', { online: false });
    const id = await installed();
    node(1).listed = false;
    await system.reconcile('nodes');
    system.advance({ days: REMEMBERED_DAYS - 1, hours: 23 });
    expect(await system.reconcile('nodes')).toMatchObject({ Dropped: 0 });
    expect(await system.deployment(id)).toMatchObject({ Status: 'DEGRADED' });
    system.advance({ hours: 2 });
    expect(await system.reconcile('nodes')).toMatchObject({ Dropped: 1, Started: 0 });
    expect(Object.keys(await recordsOf(id))).toEqual(['i-00000001']);
    expect(await system.deployment(id)).toMatchObject({ Status: 'INSTALLED', Rollouts: 1 });
  });

  test('that a repair does not reach are tried again after an hour, not with every sweep', async () => {
    const target = system.target();
    await target.addNode('i-00000001');
    const id = await installed();
    // Listed with the tag and online, but Run Command finds it not to have the tag.
    await target.addNode('i-00000002');
    system.before('SendCommand', () => {
      node(1).listed = false;
    });
    system.before('ListCommands', () => {
      node(1).listed = true;
    });
    await letTimePass(6);
    expect(await system.deployment(id)).toMatchObject({ Status: 'DEGRADED', Failures: 0 });
    expect((await recordsOf(id))['i-00000002']).toMatchObject({ Outcome: 'not-reached' });
    expect(system.sfn.executions.size).toBeGreaterThan(5);
    // Every second time it is the canary: then the rollout fails, and is repeated after 15 minutes.
    expect(system.sfn.executions.size).toBeLessThan(12);
  });

  test('of tags that read alike when joined are not mixed up', async () => {
    const target = system.target();
    await target.addNode('i-00000001', { tags: { 'tier=x': 'c' } });
    await target.addNode('i-00000002', { tags: { tier: 'x=c' } });
    const ids: string[] = [];
    for (const [TargetTagKey, TargetTagValue] of [
      ['tier=x', 'c'],
      ['tier', 'x=c'],
    ] as const) {
      // The stack's tag keys changed since these were registered.
      const { body } = await system.register({
        CertificateArn: arn,
        TargetTagValue: `${TargetTagKey}.${TargetTagValue}`,
      });
      await system.runAll();
      await system.client.send(
        new UpdateCommand({
          TableName: system.table,
          Key: { DeploymentId: body.DeploymentId, Item: 'deployment' },
          UpdateExpression: 'SET TargetTagKey = :key, TargetTagValue = :value',
          ExpressionAttributeValues: { ':key': TargetTagKey, ':value': TargetTagValue },
        }),
      );
      ids.push(body.DeploymentId);
    }
    await letTimePass(1);
    expect(Object.keys(await recordsOf(ids[0] as string))).toEqual(['i-00000001']);
    expect(Object.keys(await recordsOf(ids[1] as string))).toEqual(['i-00000002']);
    // Each was registered and served once: no sweep took the nodes of the one for those of the other.
    expect(system.sfn.executions.size).toBe(4);
  });

  test('in an account that refuses us do not hold up those of others', async () => {
    await installed();
    await installed({ TargetAccount: CENTRAL });
    await system.target().addNode('i-00000001');
    await system.target(CENTRAL).addNode('i-00000001');
    system.refuse(MEMBER);
    expect(await system.reconcile('nodes')).toMatchObject({ Started: 1, Errors: 1 });
    await system.runAll();
    expect(system.target(CENTRAL).nodes[0]?.installed).toBeDefined();
  });
});

describe('what AWS denies to a sweep', () => {
  const DENIED = {
    name: 'AccessDeniedException',
    message: 'User: reconcile is not authorized to perform: ssm:DescribeInstanceInformation on resource: *',
    status: 403,
  };
  const deny = (times: number) =>
    system.cloud.faults.inject({
      operation: 'AmazonSSM.DescribeInstanceInformation',
      kind: 'refuse',
      error: DENIED,
      times,
    });

  test('once is told nobody; for good it is told once a day, with all that AWS says', async () => {
    await installed();
    deny(1);
    expect(await system.reconcile('nodes')).toMatchObject({ Errors: 1, Faults: 0 });
    await letTimePass(1, 5);
    expect(system.messages()).toEqual([]);

    const denial = deny(Number.POSITIVE_INFINITY);
    system.advance({ minutes: 5 });
    await system.reconcile('nodes');
    const since = system.clock.now().toISOString().slice(0, 16);
    expect(system.messages()).toEqual([]);
    await letTimePass(23, 60);
    expect(system.messages()).toEqual([
      {
        Subject: 'Reconcile is denied ssm:DescribeInstanceInformation',
        Message: expect.stringMatching(
          new RegExp(`${DENIED.message.replace('*', '[*]')}.*${MEMBER}.*Since: ${since}`, 's'),
        ),
      },
    ]);
    await letTimePass(2, 60);
    expect(system.messages()).toHaveLength(2);
    denial.remove();
    await letTimePass(30, 60);
    expect(system.messages()).toHaveLength(2);
  });

  test('and cannot be told either, counts as a fault', async () => {
    await installed();
    deny(Number.POSITIVE_INFINITY);
    system.sns.failNext('Publish', awsError('AuthorizationErrorException'), 'before', 1000);
    expect(await system.reconcile('nodes')).toMatchObject({ Faults: 0 });
    system.advance({ minutes: 5 });
    expect((await system.reconcile('nodes')).Faults).toBeGreaterThan(0);
    system.cloud.faults.clear();
  });
});

test('a sweep that can read nothing of the inventory fails, so that Lambda repeats it', async () => {
  system.dynamodb.failNext('Query', awsError('ResourceNotFoundException'), 'before', STATUSES.length);
  await expect(system.reconcile('certificates')).rejects.toThrow(
    `could not be looked at: ${STATUSES.length}`,
  );
});

describe('a rollout', () => {
  test('that was lost is told, and a message that fails is sent by a later sweep', async () => {
    const { body } = await system.register({ CertificateArn: arn });
    system.sfn.end(body.ExecutionArn, 'ABORTED');
    system.advance({ minutes: 16 });
    system.sns.failNext('Publish', awsError('KMSDisabledException'));
    expect(await system.reconcile('nodes')).toMatchObject({ Errors: 1, Repaired: 1 });
    system.advance({ minutes: 10 });
    expect(await system.reconcile('nodes')).toMatchObject({ Errors: 0, Notified: 1 });
    expect(system.messages()).toHaveLength(1);
    expect(await system.deployment(body.DeploymentId)).toMatchObject({ Status: 'FAILED' });
  });

  test('that was aborted by hand is tried again after 15 minutes, by either sweep, and GET says when', async () => {
    await system.target().addNode('i-00000001');
    const { body } = await system.register({ CertificateArn: arn });
    system.sfn.end(body.ExecutionArn, 'ABORTED');
    const [execution] = system.sfn.executions.values();
    await system.report(system.executionEvent(execution as Execution));
    const { NextAttemptAt, Reason } = await system.deployment(body.DeploymentId);
    const minutes = (Date.parse(NextAttemptAt ?? '') - system.clock.now().getTime()) / 60_000;
    expect([minutes, Reason]).toEqual([15, expect.stringContaining('tried again')]);
    system.advance({ minutes: 14 });
    expect(await system.reconcile('nodes')).toMatchObject({ Started: 0 });
    system.advance({ minutes: 1 });
    expect(await system.reconcile('nodes')).toMatchObject({ Started: 1 });
    await system.runAll();
    expect(await system.deployment(body.DeploymentId)).toMatchObject({ Status: 'INSTALLED' });
  });

  test('whose execution runs is left alone, however long that takes', async () => {
    const { body } = await system.register({ CertificateArn: arn });
    system.advance({ hours: 20 });
    expect(await system.reconcile('certificates')).toMatchObject(nothingDone);
    expect((await system.deployment(body.DeploymentId)).Rollout).toBeDefined();
  });

  test.each(['FAILED', 'TIMED_OUT', 'ABORTED', 'SUCCEEDED', 'lost'] as const)(
    'whose execution is %s is closed after a while, told, and made up for',
    async (status) => {
      await system.target().addNode('i-00000001');
      const { body } = await system.register({ CertificateArn: arn });
      if (status === 'lost') {
        system.cloud.services.stepFunctions.forget(body.ExecutionArn);
      } else {
        system.sfn.end(body.ExecutionArn, status);
      }
      system.advance({ minutes: 14 });
      expect(await system.reconcile('certificates')).toMatchObject(nothingDone);
      system.advance({ minutes: 2 });
      expect(await system.reconcile('certificates')).toMatchObject({ Repaired: 1, Notified: 1 });
      expect(await system.deployment(body.DeploymentId)).toMatchObject({
        Status: 'FAILED',
        LastError: `Lost: The execution ended as ${status}, but no function recorded its result.`,
      });
      expect(system.messages()).toEqual([
        expect.objectContaining({ Message: expect.stringContaining(`details/${body.ExecutionArn}`) }),
      ]);
      // Its event comes late: people know of it.
      const ended = system.sfn.executions.get(body.ExecutionArn);
      await (ended && system.report(system.executionEvent(ended, { name: 'Other', message: 'words' })));
      expect(system.messages()).toHaveLength(1);
      await letTimePass(1);
      expect(await system.deployment(body.DeploymentId)).toMatchObject({
        Status: 'INSTALLED',
        Rollouts: status === 'lost' ? 1 : 2,
      });
    },
  );
});

describe('an inventory in an odd state', () => {
  const write = (item: object) =>
    system.client.send(
      new PutCommand({
        TableName: system.table,
        Item: {
          DeploymentId: '0'.repeat(24),
          Item: 'deployment',
          CertName: 'web-prod',
          CertificateArn: arn,
          TargetAccount: MEMBER,
          TargetRegion: 'eu-central-1',
          TargetTagKey: 'acm-export',
          TargetTagValue: 'web',
          Options: { ReloadServices: [], VerifyPort: 0, KeyFormat: 'decrypted', ExtraFormats: [] },
          MaxConcurrency: '1',
          MaxErrors: '0',
          NotAfter: '2027-06-09T23:59:59Z',
          RolloutNumber: 7,
          CreatedAt: '2026-11-01T00:00:00Z',
          UpdatedAt: '2026-11-01T00:00:00Z',
          ...item,
        },
      }),
    );

  test.each([
    ['rolling out without a rollout', { Status: 'ROLLING_OUT' }],
    ['rolling out without a rollout, up to date', { Status: 'ROLLING_OUT', Serial: 'current' }],
    ['failed without a history', { Status: 'FAILED' }],
    ['failed with a count beyond all bounds', { Status: 'FAILED', Failures: 5000, Serial: 'current' }],
    ['installed with nothing', { Status: 'INSTALLED' }],
    ['waiting with nothing', { Status: 'WAITING' }],
    ['degraded, of no serial', { Status: 'DEGRADED', Serial: '' }],
    [
      'a pending rollout of another serial',
      {
        Status: 'INSTALLED',
        Serial: 'current',
        Pending: { Serial: 'ab', Cause: 'REQUEST', CorrelationId: 'c', CertificateArn: '' },
      },
    ],
    [
      'a claim without anything in it',
      {
        Status: 'ROLLING_OUT',
        Rollout: { Serial: 'ab', Cause: 'REQUEST', CorrelationId: 'c', CertificateArn: '' },
      },
    ],
    [
      'a claim that never started and whose time is long past',
      {
        Status: 'ROLLING_OUT',
        Rollout: {
          Serial: 'ab',
          Cause: 'RENEWAL',
          CorrelationId: 'c',
          CertificateArn: '',
          StartedAt: '2020-01-01T00:00:00Z',
          ClaimedAt: '2020-01-01T00:00:00Z',
        },
      },
    ],
    [
      'a rollout that runs, and has ended too',
      {
        Status: 'ROLLING_OUT',
        Rollout: {
          Serial: 'ab',
          Cause: 'REQUEST',
          CorrelationId: 'c',
          CertificateArn: '',
          ClaimedAt: '2020-01-01T00:00:00Z',
          StartedAt: '2020-01-01T00:00:00Z',
        },
        LastDryRun: {
          Number: 7,
          Serial: 'ab',
          Cause: 'DRY_RUN',
          CorrelationId: 'c',
          ExecutionArn: 'arn:x',
          Status: 'INSTALLED',
          At: '2020-01-01T00:00:00Z',
        },
      },
    ],
  ])('(%s) is brought in order', async (_, item) => {
    await system.target().addNode('i-00000001');
    const text = JSON.stringify(item)
      .replace('"current"', JSON.stringify(system.acm.serialOf(arn)))
      .replace('"CertificateArn":""', `"CertificateArn":${JSON.stringify(arn)}`);
    await write(JSON.parse(text));
    await letTimePass(2);
    const found = await system.deployment('0'.repeat(24));
    expect(found).toMatchObject({ Status: 'INSTALLED', Serial: system.acm.serialOf(arn) });
    expect([found.Rollout, found.Pending]).toEqual([undefined, undefined]);
    expect(found.RolloutNumber).toBeGreaterThanOrEqual(7);
    expect(node().installed).toBeDefined();
  });
});

test('a task that it does not know is refused by the handler, not guessed', async () => {
  const { ReconcileEvent } = await import('../../functions/reconcile/reconcile.ts');
  expect(() => ReconcileEvent.parse({ Task: 'everything' })).toThrow(
    expect.objectContaining({ name: 'ZodError' }),
  );
});
