import { beforeEach, describe, expect, test } from '@jest/globals';
import type { ScriptedNode } from '../../local/scripted-node.ts';
import { awsError } from './support/service-view.ts';
import { MEMBER, System } from './support/system.ts';

// What nodes serve is looked at each hour, by the sweep that comes each five minutes: one sweep sends, the next one reads.

let system: System;
let arn: string;
beforeEach(async () => {
  system = await System.create();
  arn = await system.acm.issue('web');
});

const node = (index = 0) => system.target().nodes[index] as ScriptedNode;
const PORT = { VerifyPort: 8443, ReloadServices: ['nginx'] };

async function installed(body: Record<string, unknown> = {}, nodes = 2): Promise<string> {
  for (let index = system.target().nodes.length; index < nodes; index += 1) {
    await system.target().addNode(`i-${String(index + 1).padStart(8, '0')}`);
  }
  const answer = await system.register({ CertificateArn: arn, ...PORT, ...body });
  await system.runAll();
  return answer.body.DeploymentId;
}

/** One sweep, five minutes after the one before; then rollouts run, if they may. */
async function sweep({ rollouts = true } = {}) {
  system.advance({ minutes: 5 });
  const pass = await system.reconcile('nodes');
  // A command reaches one node, then twice as many each time.
  for (let answers = 0; answers < 20; answers += 1) {
    await system.letNodesAnswer();
  }
  if (rollouts) {
    await system.runAll();
  }
  return pass;
}

/** Sweeps for so many minutes. */
async function sweeps(minutes: number): Promise<void> {
  for (let sweep_ = 0; sweep_ < minutes / 5; sweep_ += 1) {
    await sweep();
  }
}

const recordOf = async (id: string, index = 0) => {
  const records = await system.inventory.nodes.all(id);
  return records.find(({ NodeId }) => NodeId === node(index).NodeId);
};
const callsOf = (operation: string) =>
  system.target().ssm.calls.filter((call) => call.operation === operation).length;
const subjects = () => system.messages().map(({ Subject }) => Subject);

describe('a healthy fleet', () => {
  test('costs one command and one list an hour for 50 nodes, and no write but of the look itself', async () => {
    await installed({}, 50);
    await sweeps(10);
    const writes: string[] = [];
    system.before('UpdateItem', (input: { Key: { Item: { S: string } } }) => writes.push(input.Key.Item.S));
    system.target().ssm.forgetCalls();
    await sweeps(60);
    expect(writes).toEqual(['ec2', 'ec2', 'ec2']);
    expect([callsOf('SendCommand'), callsOf('ListCommandInvocations')]).toEqual([1, 1]);
    expect(callsOf('GetCommandInvocation')).toBe(0);
    expect(system.messages()).toEqual([]);
  });

  test('is seen by the port, or by its files where no port is named', async () => {
    const byPort = await installed();
    const { body } = await system.register({ CertificateArn: arn, TargetTagValue: 'web' }, {}, 'plain');
    await system.runAll();
    await sweeps(15);
    expect((await recordOf(byPort))?.Serves).toMatchObject({
      Serial: system.acm.serialOf(arn),
      NotAfter: expect.any(String),
      Seen: 'port',
    });
    expect((await recordOf(body.DeploymentId))?.Serves).toMatchObject({ Seen: 'files' });
  });

  test('of hybrid nodes is looked at once a day: AWS charges for each command there', async () => {
    await system.target().addNode('mi-0123456789abcdef0');
    await installed({}, 1);
    await sweeps(10);
    system.target().ssm.forgetCalls();
    system.advance({ hours: 22 });
    await sweeps(60);
    expect(callsOf('SendCommand')).toBe(0);
    await sweeps(60);
    expect(callsOf('SendCommand')).toBe(1);
  });
});

describe('a node that does not serve what was installed', () => {
  test.each(['older', 'missing', 'damaged', 'foreign'] as const)(
    'any more (%s) is found within the hour and ten minutes, and healed alone',
    async (kind) => {
      const id = await installed();
      await sweeps(10);
      node().drift.set('web-prod', kind);
      const others: string[] = [];
      node(1).says = () => {
        others.push('asked');
        return { stdout: '', exitCode: 1 };
      };
      await sweeps(60);
      await sweeps(10);
      expect(node().drift.size).toBe(0);
      expect(await recordOf(id)).not.toHaveProperty('Finding');
      expect(others).toEqual([]);
      expect(await system.deployment(id)).toMatchObject({
        Status: 'INSTALLED',
        LastHealing: { Cause: 'DRIFT', Status: 'INSTALLED' },
        LastRollout: { Cause: 'REQUEST' },
      });
      expect(system.messages()).toEqual([]);
    },
  );

  test('and cannot be healed is told with the reason, once a day, and tried at growing distance', async () => {
    const id = await installed();
    await sweeps(10);
    node().drift.set('web-prod', 'foreign');
    node().behaviour = 'failed';
    await sweeps(70);
    expect(await system.deployment(id)).toMatchObject({
      Status: 'DEGRADED',
      LastError: expect.stringContaining('Port 8443 serves serial 0f, not '),
      LastHealing: { Status: 'FAILED' },
    });
    expect(system.messages()).toEqual([
      expect.objectContaining({
        Subject: `web-prod on ${node().NodeId} is not what the port serves: acm-export=web`,
        Message: expect.stringMatching(
          /Installing it again did not help: .* is broken\. The certificate that it served last expires at 2030-01-01T00:00:00Z\./,
        ),
      }),
    ]);
    const healings = () => [...system.sfn.executions.values()].length - 1;
    await sweeps(24 * 60);
    expect(subjects()).toHaveLength(2);
    // 15 minutes, 30, 60, 2 hours and so on.
    expect(healings()).toBeGreaterThanOrEqual(6);
    expect(healings()).toBeLessThanOrEqual(8);
    node().behaviour = 'installs';
    system.advance({ hours: 23 });
    await sweeps(90);
    expect(await system.deployment(id)).toMatchObject({ Status: 'INSTALLED' });
    expect(await recordOf(id)).not.toHaveProperty('Finding');
  });

  test('because its server is down is told at once, and nothing is started there', async () => {
    const id = await installed();
    await sweeps(10);
    node().drift.set('web-prod', 'closed');
    await sweeps(75);
    expect(subjects()).toEqual([`web-prod on ${node().NodeId} is not served: acm-export=web`]);
    expect(await system.deployment(id)).toMatchObject({ Status: 'DEGRADED', Rollouts: 1 });
    node().drift.clear();
    await sweeps(70);
    expect(await system.deployment(id)).toMatchObject({ Status: 'INSTALLED', Rollouts: 1 });
    expect(subjects()).toHaveLength(1);
  });

  test('is left alone while it is paused, and told', async () => {
    const id = await installed();
    await sweeps(10);
    await system.mark('pause', id);
    node().drift.set('web-prod', 'damaged');
    await sweeps(70);
    expect(await system.deployment(id)).toMatchObject({ Rollouts: 1 });
    expect(subjects()).toEqual([`web-prod on ${node().NodeId} has damaged files: acm-export=web`]);
  });

  test('is healed at once by a person who asks for a rollout', async () => {
    const id = await installed();
    await sweeps(10);
    node().drift.set('web-prod', 'foreign');
    node().behaviour = 'failed';
    await sweeps(70);
    node().behaviour = 'installs';
    await system.rollouts(id);
    await system.runAll();
    expect(node().drift.size).toBe(0);
    expect(await recordOf(id)).not.toHaveProperty('Finding');
  });

  test('and is one of many costs one message of its kind, however large the fleet is', async () => {
    await installed({}, 30);
    await sweeps(10);
    for (const { drift } of system.target().nodes) {
      drift.set('web-prod', 'silent');
    }
    await sweeps(70);
    expect(subjects()).toEqual([expect.stringMatching(/ and 29 more$/)]);
    expect(system.messages()[0]?.Message.match(/: Port 8443 serves nothing/g)).toHaveLength(10);
  });

  test('with more than fifty others is healed by the tag', async () => {
    const id = await installed({ MaxConcurrency: '100%' }, 60);
    await sweeps(10);
    for (const { drift } of system.target().nodes) {
      drift.set('web-prod', 'foreign');
    }
    await sweeps(70);
    expect(system.target().nodes.every(({ drift }) => drift.size === 0)).toBe(true);
    expect(await system.deployment(id)).toMatchObject({ Status: 'INSTALLED', Rollouts: 2 });
  });
});

describe('a look', () => {
  test('that was sent before a rollout ended says nothing of it', async () => {
    const id = await installed();
    await sweep();
    const serial = await system.acm.renew(arn);
    await system.renewal(arn);
    await system.runAll();
    await sweep();
    expect(await system.deployment(id)).toMatchObject({ Serial: serial, Status: 'INSTALLED', Rollouts: 2 });
    expect(await recordOf(id)).not.toHaveProperty('Finding');
  });

  test('of a node that says anything about another one is a finding of that node alone', async () => {
    const id = await installed();
    await sweeps(10);
    node().saysOnLook = () => ({
      stdout: `certificate\tweb-prod\t${id}\t1\t01\t2026-01-01T00:00:00Z\tok\t-\n\u001b[2J${node(1).NodeId}: damaged\nend\t1\t0\n`,
      exitCode: 0,
    });
    await sweeps(70);
    expect(await recordOf(id)).toMatchObject({ Finding: { Kind: 'unseen' } });
    expect(await recordOf(id, 1)).not.toHaveProperty('Finding');
    expect(await system.deployment(id)).toMatchObject({ Status: 'INSTALLED', Rollouts: 1 });
  });

  test('whose answer is too long for a list is read whole', async () => {
    const id = await installed();
    await sweeps(10);
    node().drift.set('web-prod', 'silent');
    node().endpoints = Array.from({ length: 30 }, (_, index) => ({
      Port: 10_000 + index,
      Serial: 'aa',
      NotAfter: '2027-01-01T00:00:00Z',
      Issuer: `CN=${'x'.repeat(90)}`,
      Subject: 'CN=y',
    }));
    await sweeps(70);
    expect(await recordOf(id)).toMatchObject({ Finding: { Kind: 'silent' } });
  });

  test('that was cut off after it was sent is found, and read', async () => {
    const id = await installed();
    await sweeps(10);
    node().drift.set('web-prod', 'silent');
    await sweeps(50);
    system.cloud.faults.inject({
      operation: 'DynamoDB_20120810.UpdateItem',
      kind: 'refuse',
      error: awsError('InternalServerError'),
      when: ({ input }) => JSON.stringify(input).includes('#CommandIds = '),
    });
    system.target().ssm.forgetCalls();
    await sweeps(20);
    expect(callsOf('ListCommands')).toBe(1);
    expect(await recordOf(id)).toMatchObject({ Finding: { Kind: 'silent' } });
  });

  test('waits for a node that is slow, but not longer than ten minutes', async () => {
    const id = await installed();
    await sweeps(60);
    const slow = async () => {
      system.advance({ minutes: 5 });
      await system.reconcile('nodes');
    };
    for (const expected of [undefined, undefined, 'unseen']) {
      await slow();
      expect((await recordOf(id))?.Finding?.Kind).toBe(expected);
    }
    // It answers, to the next look.
    await system.letNodesAnswer();
    await sweeps(65);
    expect(await recordOf(id)).not.toHaveProperty('Finding');
  });

  test('is not sent where the stack does not want it', async () => {
    system.lookIntervalMinutes = 0;
    await installed();
    await sweeps(120);
    expect(callsOf('SendCommand')).toBe(0);
  });

  test('reaches the others where a node has gone since it was listed', async () => {
    const id = await installed({}, 4);
    system.cloud.faults.inject({
      operation: 'AmazonSSM.SendCommand',
      kind: 'refuse',
      error: awsError('InvalidInstanceId'),
      times: Number.POSITIVE_INFINITY,
      when: ({ input }) => (input as { InstanceIds: string[] }).InstanceIds.includes(node(1).NodeId),
    });
    for (const { drift } of system.target().nodes) {
      drift.set('web-prod', 'silent');
    }
    await sweeps(10);
    const kinds = system.target().nodes.map(async (_, index) => (await recordOf(id, index))?.Finding?.Kind);
    expect(await Promise.all(kinds)).toEqual(['silent', 'unseen', 'silent', 'silent']);
  });

  test('is noted once more where the inventory could not be written', async () => {
    const id = await installed();
    await sweeps(10);
    node().drift.set('web-prod', 'silent');
    await sweeps(55);
    system.cloud.faults.inject({
      operation: 'DynamoDB_20120810.UpdateItem',
      kind: 'refuse',
      error: awsError('InternalServerError'),
      when: ({ input }) => JSON.stringify(input).includes(`node#${node().NodeId}`),
    });
    await sweep();
    expect(await recordOf(id)).not.toHaveProperty('Finding');
    await sweep();
    expect(await recordOf(id)).toMatchObject({ Finding: { Kind: 'silent' } });
  });

  test('that the member stack of the edition before refuses is told once a day, and delivery goes on', async () => {
    const id = await installed();
    system.cloud.faults.inject({
      operation: 'AmazonSSM.SendCommand',
      kind: 'refuse',
      error: { name: 'InvalidDocument', message: 'Document does not exist.', status: 400 },
      times: Number.POSITIVE_INFINITY,
      when: ({ input }) => (input as { DocumentName: string }).DocumentName.endsWith('look-at-node'),
    });
    const pass = await sweep();
    expect(pass.Errors).toBe(0);
    await sweeps(5 * 60);
    expect(subjects()).toEqual([`No look at servers of ${MEMBER}/eu-central-1`]);
    const serial = await system.acm.renew(arn);
    await system.renewal(arn);
    await system.runAll();
    expect(await system.deployment(id)).toMatchObject({ Serial: serial, Status: 'INSTALLED' });
  });
});

describe('TLS ports that serve what nobody registered', () => {
  const endpoint = (Port: number, fields = {}) => ({
    Port,
    Serial: 'ab',
    NotAfter: '2026-12-20T00:00:00Z',
    Issuer: 'CN=Some CA',
    Subject: 'CN=intranet.example.com',
    ...fields,
  });
  const listed = async () => {
    const { body } = await system.api('GET', '/endpoints', { query: { Finding: 'unregistered' } });
    return body.Endpoints;
  };

  test('are listed within the hour, the first that ends in front, also on nodes that nobody registered', async () => {
    await installed();
    await system.target().addNode('i-0000000a', { tags: { 'acm-export': 'nobody' } });
    node(2).endpoints = [endpoint(9443, { NotAfter: '2026-12-01T00:00:00Z' })];
    node().endpoints = [endpoint(8444), endpoint(8445, { Serial: system.acm.serialOf(arn) })];
    await sweeps(10);
    expect(await listed()).toEqual([
      {
        ...endpoint(9443, { NotAfter: '2026-12-01T00:00:00Z' }),
        Account: MEMBER,
        Region: 'eu-central-1',
        NodeId: 'i-0000000a',
        Since: expect.any(String),
      },
      expect.objectContaining({ NodeId: node().NodeId, Port: 8444 }),
    ]);
    const { body } = await system.api('GET', '/endpoints', { query: { Limit: '1' } });
    const next = await system.api('GET', '/endpoints', { query: { NextToken: body.NextToken, Limit: '1' } });
    expect(next.body.Endpoints).toMatchObject([{ Port: 8444 }]);
    expect(system.messages()).toEqual([]);
  });

  test('are gone from the list when two looks agree, or the node is gone; not while it does not answer', async () => {
    await installed();
    for (const { endpoints } of system.target().nodes) {
      endpoints.push(endpoint(8444));
    }
    await sweeps(10);
    node().endpoints = [];
    node(1).saysOnLook = () => ({ stdout: '', exitCode: 1 });
    await sweeps(60);
    expect(await listed()).toHaveLength(2);
    await sweeps(60);
    expect(await listed()).toMatchObject([{ NodeId: node(1).NodeId }]);
    node(1).listed = false;
    await sweeps(130);
    expect(await listed()).toEqual([]);
  });

  test('are told 30 days before their end, once, where the stack wants it', async () => {
    system.discoverEndpoints = 'tell';
    await installed();
    node().endpoints = [endpoint(8444), endpoint(8445, { NotAfter: '2027-05-01T00:00:00Z' })];
    await sweeps(70);
    // Another day.
    system.advance({ hours: 24 });
    await sweeps(70);
    expect(system.messages()).toEqual([
      expect.objectContaining({
        Subject: `Unregistered certificate on ${node().NodeId}:8444 expires soon`,
        Message: expect.stringContaining(
          'port 8444: "CN=intranet.example.com", issued by "CN=Some CA", expires at 2026-12-20T00:00:00Z.',
        ),
      }),
    ]);
  });

  test('are not asked for where the stack does not want it', async () => {
    system.discoverEndpoints = 'no';
    await installed();
    node().endpoints = [endpoint(8444)];
    await sweeps(10);
    expect(await listed()).toEqual([]);
  });
});
