import { readFileSync } from 'node:fs';
import path from 'node:path';
import { BatchWriteCommand } from '@aws-sdk/lib-dynamodb';
import { beforeEach, describe, expect, test } from '@jest/globals';
import { interleave } from './support/interleave.ts';
import { awsError } from './support/service-view.ts';
import { System } from './support/system.ts';

let system: System;
let arn: string;
beforeEach(async () => {
  system = await System.create();
  arn = await system.acm.issue('web');
});

const TAGS = ['web', 'mail', 'api'];

/** One deployment a tag, each installed; resolves to their ids. */
async function installed(): Promise<string[]> {
  const ids: string[] = [];
  for (const TargetTagValue of TAGS) {
    await system.target().addNode(`i-${TargetTagValue}`, { tags: { 'acm-export': TargetTagValue } });
    ids.push((await system.register({ CertificateArn: arn, TargetTagValue })).body.DeploymentId);
  }
  await system.runAll();
  system.advance({ days: 150 });
  return ids;
}

/** Writes deployments as they are after their first rollout, without running it. */
async function write(count: number, serialOf: (index: number) => string): Promise<void> {
  const At = system.clock.now().toISOString();
  const by = { NotBefore: '', Generation: 1, Cause: 'REQUEST', CorrelationId: 'c', At };
  const items = Array.from({ length: count }, (_, index) => ({
    DeploymentId: index.toString(16).padStart(24, '0'),
    Item: 'deployment',
    CertName: 'web',
    CertificateArn: arn,
    Status: 'INSTALLED',
    TargetAccount: '444455556666',
    TargetRegion: 'eu-central-1',
    TargetTagKey: 'acm-export',
    TargetTagValue: `t${index}`,
    NotAfter: '2027-06-09T23:59:59Z',
    Serial: serialOf(index),
    Wanted: { ...by, Serial: serialOf(index) },
    Observed: { ...by, Serial: serialOf(index), RolloutNumber: 1, Outcome: 'INSTALLED', Failures: 0 },
    RolloutNumber: 1,
  }));
  for (let start = 0; start < items.length; start += 25) {
    const requests = items.slice(start, start + 25).map((Item) => ({ PutRequest: { Item } }));
    await system.client.send(new BatchWriteCommand({ RequestItems: { [system.table]: requests } }));
  }
}

const serials = (ids: string[]) => Promise.all(ids.map(async (id) => (await system.deployment(id)).Serial));
const started = () => system.sfn.executions.size - TAGS.length;

describe('a renewal', () => {
  test('is rolled out to every place where the certificate is, once, with the id of its event', async () => {
    const ids = await installed();
    const serial = await system.acm.renew(arn);
    expect(await system.renewal(arn)).toEqual({ Started: 3, Skipped: 0 });
    for (const id of ids) {
      expect((await system.deployment(id)).Rollout).toMatchObject({
        Serial: serial,
        Cause: 'RENEWAL',
        CorrelationId: '5ec5f1d2-0a3b-4d2e-9c6a-000000000001',
      });
    }
    await system.runAll();
    expect(await serials(ids)).toEqual([serial, serial, serial]);
  });

  test('told of again at once, later, and by another event starts nothing more', async () => {
    const ids = await installed();
    const time = system.clock.now().toISOString();
    const serial = await system.acm.renew(arn);
    expect(await system.renewal(arn, { time })).toEqual({ Started: 3, Skipped: 0 });
    expect(await system.renewal(arn, { time })).toEqual({ Started: 0, Skipped: 3 });
    await system.runAll();
    expect(await system.renewal(arn, { time, id: 'another-event' })).toEqual({
      Started: 0,
      Skipped: 3,
    });
    system.advance({ hours: 5 });
    await system.renewal(arn, { time });
    expect(started()).toBe(3);
    expect(await serials(ids)).toEqual([serial, serial, serial]);
  });

  test('whose event comes before ACM shows the new serial is tried again, and nothing is lost', async () => {
    const ids = await installed();
    await expect(system.renewal(arn)).rejects.toMatchObject({ name: 'RetryLater' });
    system.advance({ minutes: 1 });
    const time = new Date(system.clock.now().getTime() - 60_000).toISOString();
    await expect(system.renewal(arn, { time })).rejects.toMatchObject({ name: 'RetryLater' });
    const serial = await system.acm.renew(arn);
    expect(await system.renewal(arn, { time })).toEqual({ Started: 3, Skipped: 0 });
    await system.runAll();
    expect(await serials(ids)).toEqual([serial, serial, serial]);
  });

  test.each(['dry run', 'no node yet', 'failed rollout', 'being deleted', 'paused'])(
    'is not swallowed by its early event because of a deployment with a %s',
    async (kind) => {
      const ids = await installed();
      if (kind === 'failed rollout') {
        await system.target().addNode('i-x', { tags: { 'acm-export': 'odd' }, behaviour: 'failed' });
      }
      const odd = await system.register({
        CertificateArn: arn,
        TargetTagValue: 'odd',
        DryRun: kind === 'dry run',
      });
      await system.runAll();
      if (kind === 'being deleted') {
        await system.mark('markDeleting', odd.body.DeploymentId);
      } else if (kind === 'paused') {
        await system.mark('pause', odd.body.DeploymentId);
      }
      system.advance({ days: 1 });
      await expect(system.renewal(arn)).rejects.toMatchObject({ name: 'RetryLater' });
      const serial = await system.acm.renew(arn);
      await system.renewal(arn);
      await system.runAll();
      expect(await serials(ids)).toEqual([serial, serial, serial]);
    },
  );

  test('whose handling crashed between any two calls is completed by the event again', async () => {
    // Handling three deployments makes fewer calls; at each of them the process dies once.
    for (let call = 1; call <= 16; call += 1) {
      for (const when of ['before', 'after'] as const) {
        const fresh = await System.create();
        system = fresh;
        arn = await fresh.acm.issue('web');
        const before = fresh.acm.serialOf(arn);
        await write(3, () => before);
        await fresh.acm.renew(arn);
        await interleave(
          [{ run: (around) => fresh.renewal(arn, {}, { around }), crash: { call, when } }],
          () => 0,
        );
        await fresh.renewal(arn);
        const ids = fresh.sfn.running().map(({ input }) => JSON.parse(input).DeploymentId);
        expect([call, when, ids.length, new Set(ids).size]).toEqual([call, when, 3, 3]);
      }
    }
  });

  test('of which one start fails: the others are started, the event is not done, and comes again', async () => {
    await installed();
    await system.acm.renew(arn);
    system.sfn.failNext('StartExecution', awsError('ThrottlingException'));
    await expect(system.renewal(arn)).rejects.toMatchObject({ name: 'ThrottlingException' });
    expect(started()).toBe(2);
    expect(await system.renewal(arn)).toEqual({ Started: 0, Skipped: 3 });
    expect(started()).toBe(3);
  });

  test('of a certificate with more deployments than one page is rolled out to those of the last page too', async () => {
    const serial = system.acm.serialOf(arn);
    const renewed = await system.acm.renew(arn);
    // Most have it already, so that the test is quick.
    await write(1040, (index) => (index < 990 ? renewed : serial));
    expect(await system.renewal(arn)).toEqual({ Started: 50, Skipped: 990 });
    expect(new Set(system.sfn.running().map(({ input }) => JSON.parse(input).DeploymentId)).size).toBe(50);
  });

  test('older than what is served, delivered out of order, changes nothing', async () => {
    const ids = await installed();
    const early = system.clock.now().toISOString();
    await system.acm.renew(arn);
    system.advance({ minutes: 10 });
    const newest = await system.acm.renew(arn);
    await system.renewal(arn, { time: system.clock.now().toISOString() });
    await system.runAll();
    await system.renewal(arn, { time: early });
    expect(started()).toBe(3);
    expect(await serials(ids)).toEqual([newest, newest, newest]);
  });

  test('that failed is not repeated by its event: reconcile repeats it, with growing distance', async () => {
    await installed();
    for (const node of system.target().nodes) {
      node.behaviour = 'failed';
    }
    await system.acm.renew(arn);
    const time = system.clock.now().toISOString();
    await system.renewal(arn, { time });
    await system.runAll();
    expect(await system.renewal(arn, { time })).toEqual({ Started: 0, Skipped: 3 });
  });
});

describe('an event that is none of ours is ignored, with a reason', () => {
  const sample = JSON.parse(
    readFileSync(
      path.resolve(import.meta.dirname, '../../events/handle-renewal/certificate-renewed.json'),
      'utf8',
    ),
  );
  test.each([
    ['another action', { detail: { Action: 'ISSUANCE' } }, /detail\.Action/],
    ['no detail', { detail: undefined }, /detail/],
    ['another source', { source: 'my.app' }, /source/],
    ['another type', { 'detail-type': 'ACM Certificate Expired' }, /detail-type/],
    ['no resource', { resources: [] }, /resources/],
    ['a resource that is no text', { resources: [1] }, /resources\.0/],
    [
      'a resource of another service',
      { resources: ['arn:aws:s3:::bucket'] },
      /is not a certificate of account/,
    ],
    [
      'another Region',
      { resources: ['arn:aws:acm:us-east-1:111122223333:certificate/web'] },
      /is not a certificate/,
    ],
    [
      'another account',
      { resources: ['arn:aws:acm:eu-central-1:999900001111:certificate/web'] },
      /is not a certificate/,
    ],
    [
      'a long ARN',
      { resources: [`arn:aws:acm:eu-central-1:111122223333:certificate/${'a'.repeat(9000)}`] },
      /is not a cert/,
    ],
    ['no time', { time: 'yesterday' }, /time/],
    ['an id that is none', { id: 'a\nb' }, /id/],
  ])('%s', async (_, change, reason) => {
    await installed();
    system.acm.forgetCalls();
    const outcome = (await system.renewal(arn, { ...sample, ...change })) as { Ignored: string };
    expect(outcome.Ignored).toMatch(reason);
    expect(outcome.Ignored.length).toBeLessThan(1000);
    expect([started(), system.acm.calls.length]).toEqual([0, 0]);
  });

  test.each([null, undefined, 17, 'text', [], {}, { detail: null }])('%j', async (event) => {
    expect(await system.renewalOf(event)).toEqual({ Ignored: expect.stringContaining('not the event') });
  });

  test('extra fields and a huge detail do no harm', async () => {
    const ids = await installed();
    const serial = await system.acm.renew(arn);
    await system.renewal(arn, {
      detail: { Action: 'RENEWAL', Exported: 'perhaps', Junk: 'x'.repeat(200_000) },
      Extra: { a: [1, 2] },
    });
    await system.runAll();
    expect(await serials(ids)).toEqual([serial, serial, serial]);
    expect(Math.max(...system.sfn.callsOf('StartExecution').map(({ input }) => input.length))).toBeLessThan(
      1000,
    );
  });

  test('a certificate that nobody registered costs no call to ACM', async () => {
    const other = await system.acm.issue('other');
    expect(await system.renewal(other)).toEqual({ Ignored: expect.stringContaining('is not deployed') });
    expect(system.acm.calls).toEqual([]);
  });

  test('a certificate that can no longer be delivered', async () => {
    await installed();
    system.acm.held(arn).status = 'REVOKED';
    expect(await system.renewal(arn)).toEqual({ Ignored: expect.stringContaining('cannot be delivered') });
    system.acm.remove(arn);
    expect(await system.renewal(arn)).toEqual({ Ignored: expect.stringContaining('cannot be delivered') });
  });
});
