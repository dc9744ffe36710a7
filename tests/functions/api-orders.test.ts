import { GetCommand, UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type Deployment, orderOf } from '../../functions/domain/deployment.ts';
import { deploymentBodies } from './support/deployment-bodies.ts';
import { awsError } from './support/service-view.ts';
import { type ApiAnswer, MEMBER, REGION, System } from './support/system.ts';

let system: System;
let arn: string;
beforeEach(async () => {
  system = await System.create();
  arn = await system.acm.issue('web');
});

const one = '/certificates/{CertName}/deployments/{DeploymentId}';
const get = async (id: string) =>
  (await system.api('GET', one, { path: { CertName: 'web-prod', DeploymentId: id } })).body;
const read = async (id: string) => (await system.inventory.get(id)) as Deployment;
/** Sends a body as it is. */
const post = (body: object) =>
  system.api('POST', '/certificates/{CertName}/deployments', { path: { CertName: 'web-prod' }, body });
const faultsOf = ({ status, body }: ApiAnswer) => [
  status,
  (body.Faults ?? []).map(({ Field }: { Field: string }) => Field),
];

const ASKED = { ReloadServices: ['nginx'], VerifyPort: 8443, VerifyName: 'www.example.com', MaxErrors: '1' };

/** A deployment with options, whose first rollout has ended. */
async function installed(): Promise<string> {
  await system.target().addNode('i-00000001');
  const { body } = await system.register({ CertificateArn: arn, ...ASKED });
  await system.runAll();
  return body.DeploymentId;
}

describe('what a request does not name', () => {
  test('stays when the deployment moves to another certificate, is given to the nodes, and is answered', async () => {
    const id = await installed();
    const other = await system.acm.issue('other');
    const { body } = await system.register({ CertificateArn: other });
    const { CertificateArn, Warnings, ...order } = body;
    expect([CertificateArn, Warnings, order]).toEqual([other, [], expect.objectContaining(ASKED)]);
    await system.runAll();
    expect(await get(id)).toMatchObject({ ...ASKED, CertificateArn: other, Status: 'INSTALLED' });
    expect(system.target().automations().at(-1)?.parameters).toMatchObject({
      ReloadServices: ['nginx'],
      VerifyPort: ['8443'],
    });
  });

  test('stays when only one option is named, the certificate among it; null sets a default', async () => {
    const id = await installed();
    const before = orderOf(await read(id));
    expect((await system.register({ VerifyName: null, MaxErrors: null, KeyGroup: 'web' })).status).toBe(202);
    const { VerifyName: _, ...Options } = before.Options;
    expect(orderOf(await read(id))).toEqual({
      ...before,
      Options: { ...Options, KeyGroup: 'web' },
      MaxErrors: '10%',
    });
  });

  test('counts for the rules over several fields, and the fault says that it is kept', async () => {
    const id = await installed();
    const before = await read(id);
    const kept = await system.register({ VerifyPort: 0 });
    const named = await system.register({ RestartServices: ['nginx'] });
    const both = await system.register({ ReloadServices: ['nginx'], RestartServices: ['nginx'] });
    expect([kept, named, both].map(faultsOf)).toEqual([
      [400, ['VerifyName']],
      [400, ['RestartServices']],
      [400, ['RestartServices']],
    ]);
    const isKept = ({ body }: ApiAnswer) => /null sets its default/.test(body.Faults[0].Reason);
    expect([kept, named, both].map(isKept)).toEqual([true, false, false]);
    expect(await read(id)).toEqual(before);
    expect((await system.register({ VerifyPort: null, VerifyName: null })).status).toBe(202);
  });

  test('is what another request wrote in the same moment: neither is lost', async () => {
    const id = await installed();
    let wrote = false;
    const answer = await system.register(
      { KeyGroup: 'web' },
      {
        // The other one comes between its read and its write.
        around: async (call) => {
          if (!wrote) {
            wrote = true;
            const found = await call();
            expect((await system.register({ VerifyPort: 9443, VerifyName: null })).status).toBe(202);
            return found;
          }
          return call();
        },
      },
    );
    expect([answer.status, answer.body]).toEqual([
      202,
      expect.objectContaining({ VerifyPort: 9443, KeyGroup: 'web' }),
    ]);
    await system.runAll();
    const { Options } = await read(id);
    expect(Options).toMatchObject({ VerifyPort: 9443, KeyGroup: 'web' });
    expect(Options.VerifyName).toBeUndefined();
  });

  test('is refused where it does not fit any more to what another request wrote', async () => {
    const id = await installed();
    let wrote = false;
    const answer = await system.register(
      { VerifyProtocol: 'imap' },
      {
        around: async (call) => {
          const found = await call();
          if (!wrote) {
            wrote = true;
            await system.register({ VerifyPort: 0, VerifyName: null });
          }
          return found;
        },
      },
    );
    expect(faultsOf(answer)).toEqual([400, ['VerifyProtocol']]);
    expect((await read(id)).Options).toMatchObject({ VerifyPort: 0 });
  });

  test('has its default where the deployment is new, was only tried or was deleted, which need a certificate', async () => {
    expect(faultsOf(await system.register({ VerifyPort: 443 }))).toEqual([400, ['CertificateArn']]);
    const { body } = await system.register({ CertificateArn: arn, ...ASKED, DryRun: true });
    await system.runAll();
    expect(faultsOf(await system.register({ VerifyPort: 443 }))).toEqual([400, ['CertificateArn']]);
    await system.register({ CertificateArn: arn });
    expect((await read(body.DeploymentId)).Options).toMatchObject({ VerifyPort: 0, ReloadServices: [] });
    await system.remove(body.DeploymentId);
    expect(faultsOf(await system.register({ VerifyPort: 443 }))).toEqual([400, ['CertificateArn']]);
  });

  test('is tried with the rest by a dry run, which changes nothing', async () => {
    const id = await installed();
    const before = await read(id);
    const { body } = await system.register({ VerifyPort: 9443, DryRun: true });
    expect(body).toMatchObject({ ...ASKED, VerifyPort: 9443 });
    await system.runAll();
    expect(system.target().automations().at(-1)?.parameters).toMatchObject({
      DryRun: ['true'],
      ReloadServices: ['nginx'],
      VerifyPort: ['9443'],
    });
    const { Wanted, Status, Observed } = before;
    expect(await read(id)).toMatchObject({ ...orderOf(before), Wanted, Status, Observed });
  });
});

describe('what GET answers', () => {
  test('is taken by POST and changes no order, whatever the order is', async () => {
    await fc.assert(
      fc.asyncProperty(deploymentBodies(arn), fc.boolean(), async (given, isSecret) => {
        const { DryRun: _, ...order } = given;
        const secret = { Delivery: 'secret', ReaderRoleArns: [`arn:aws:iam::${MEMBER}:role/team-a`] };
        const { body } = await post({
          ...order,
          ...(isSecret ? secret : {}),
          TargetTagKey: 'acm-export',
          TargetAccount: MEMBER,
          TargetRegion: REGION,
        });
        // While its rollout waits to run, and after its end.
        const first = await read(body.DeploymentId);
        const repeated = await post(await get(body.DeploymentId));
        expect([repeated.status, repeated.body.ExecutionArn]).toEqual([202, body.ExecutionArn]);
        const { Wanted } = await read(body.DeploymentId);
        expect(Wanted).toEqual(first.Wanted);
        await system.runAll();
        expect((await post(await get(body.DeploymentId))).status).toBe(202);
        expect(orderOf(await read(body.DeploymentId))).toEqual(orderOf(first));
        await system.runAll();
      }),
      { numRuns: 60, seed: 20261124 },
    );
  });

  test('is taken from a list, of one that fails or is tried, and what is only read is ignored', async () => {
    const id = await installed();
    Object.assign(system.target().nodes[0] as object, { behaviour: 'failed' });
    await system.rollouts(id);
    await system.runAll();
    await system.register({ DryRun: true });
    const { body } = await system.api('GET', '/deployments', { query: { Status: 'FAILED' } });
    await system.runAll();
    const before = orderOf(await read(id));
    for (const answer of [body.Deployments[0], { ...(await get(id)), Status: 'INSTALLED', NextToken: 'x' }]) {
      expect((await post(answer)).status).toBe(202);
      expect(orderOf(await read(id))).toEqual(before);
    }
    const { body: tried } = await system.register({
      CertificateArn: arn,
      TargetTagValue: 'new',
      DryRun: true,
    });
    await system.runAll();
    expect((await post(await get(tried.DeploymentId))).status).toBe(202);
    expect((await read(tried.DeploymentId)).Wanted).toBeDefined();
  });

  test('is refused with another identity, a contradiction in Options, or a name that nobody knows', async () => {
    const id = await installed();
    const found = await get(id);
    const before = await read(id);
    const { Options } = found;
    for (const [change, fields] of [
      [{ CertName: 'other' }, ['CertName']],
      [{ DeploymentId: '0'.repeat(24) }, ['DeploymentId']],
      [{ TargetTagValue: 'mail' }, ['DeploymentId']],
      [{ VerifyPort: 9443 }, ['Options.VerifyPort']],
      [{ Options: { ...Options, VerifyPort: 9443 } }, ['Options.VerifyPort']],
      [{ Options: { ...Options, VerifyName: undefined } }, ['Options.VerifyName']],
      [{ Options: { ...Options, VerifyPrt: 1 } }, ['Options.VerifyPrt']],
      [{ verifyPort: 443 }, ['verifyPort']],
    ] as const) {
      expect(faultsOf(await post({ ...found, ...change }))).toEqual([400, fields]);
    }
    const { body } = await post({ ...found, VerifyPort: 9443 });
    expect(body.Faults[0].Reason).toContain('write VerifyPort at the top level');
    expect(await read(id)).toEqual(before);
    expect(
      (await post({ ...found, VerifyPort: 9443, Options: { ...Options, VerifyPort: 9443 } })).status,
    ).toBe(202);
    expect((await read(id)).Options.VerifyPort).toBe(9443);
  });
});

describe('a dry run has a status to wait for', () => {
  const trialOf = async (id: string) => (await get(id)).LastTrial;

  test('from the answer on: it is running, then it has passed or failed', async () => {
    const id = await installed();
    const first = await system.register({ DryRun: true });
    expect(await trialOf(id)).toMatchObject({ RolloutNumber: first.body.RolloutNumber, Status: 'RUNNING' });
    await system.runAll();
    expect(await trialOf(id)).toMatchObject({ RolloutNumber: first.body.RolloutNumber, Status: 'PASSED' });
    Object.assign(system.target().nodes[0] as object, { behaviour: 'failed' });
    const second = await system.register({ DryRun: true });
    expect(second.body.RolloutNumber).toBeGreaterThan(first.body.RolloutNumber);
    expect(await trialOf(id)).toMatchObject({ RolloutNumber: second.body.RolloutNumber, Status: 'RUNNING' });
    await system.runAll();
    expect(await get(id)).toMatchObject({
      Status: 'INSTALLED',
      LastTrial: {
        RolloutNumber: second.body.RolloutNumber,
        Status: 'FAILED',
        Error: expect.stringContaining('i-00000001 is broken'),
      },
      LastDryRun: { Number: second.body.RolloutNumber, Status: 'FAILED' },
    });
  });

  test('and has not passed where nothing was tried: no node, none that can be reached', async () => {
    const none = await system.register({ CertificateArn: arn, DryRun: true });
    await system.runAll();
    expect(await trialOf(none.body.DeploymentId)).toMatchObject({
      Status: 'FAILED',
      Error: 'No node carries the tag: nothing was tried.',
    });
    await system.target().addNode('i-00000002', { online: false });
    await system.register({ CertificateArn: arn, DryRun: true });
    await system.runAll();
    expect(await trialOf(none.body.DeploymentId)).toMatchObject({
      Status: 'FAILED',
      Error: expect.stringContaining('i-00000002'),
    });
  });

  test('whose start fails is answered with its number, and a rollout that runs with its own', async () => {
    system.sfn.failNext('StartExecution', awsError('ServiceUnavailable', '', 'server'));
    const tried = await system.register({ CertificateArn: arn, DryRun: true });
    expect(await trialOf(tried.body.DeploymentId)).toMatchObject({ RolloutNumber: tried.body.RolloutNumber });
    const other = await system.register({ CertificateArn: arn, TargetTagValue: 'mail' });
    const again = await system.rollouts(other.body.DeploymentId);
    expect(again.body).toMatchObject({ TargetTagValue: 'mail', RolloutNumber: other.body.RolloutNumber });
    expect((await read(other.body.DeploymentId)).Running?.RolloutNumber).toBe(other.body.RolloutNumber);
  });
});

describe('a deployment that was only tried', () => {
  const inIndex = (id: string, Status: string) =>
    system.client.send(
      new UpdateCommand({
        TableName: system.table,
        Key: { DeploymentId: id, Item: 'deployment' },
        UpdateExpression: 'SET #Status = :status',
        ExpressionAttributeNames: { '#Status': 'Status' },
        ExpressionAttributeValues: { ':status': Status },
      }),
    );
  const statusInIndex = async (id: string) => {
    const Key = { DeploymentId: id, Item: 'deployment' };
    const { Item } = await system.client.send(new GetCommand({ TableName: system.table, Key }));
    return Item?.Status;
  };
  const list = async (query: Record<string, string>) => {
    const { body } = await system.api('GET', '/deployments', { query });
    return body.Deployments.map((found: Deployment) => [found.DeploymentId, found.Status]).sort();
  };

  test('is TRIED until it is registered, also where an older edition called it WAITING', async () => {
    const tried = async (TargetTagValue: string) => {
      const { body } = await system.register({ CertificateArn: arn, TargetTagValue, DryRun: true });
      return body.DeploymentId as string;
    };
    const [older, newer] = [await tried('older'), await tried('newer')];
    const { body } = await system.register({ CertificateArn: arn, TargetTagValue: 'empty' });
    await system.runAll();
    expect(await statusInIndex(older)).toBe('TRIED');
    await inIndex(older, 'WAITING');
    const both = [older, newer].sort().map((id) => [id, 'TRIED']);
    const waiting = [[body.DeploymentId, 'WAITING']];
    expect(await get(older)).toMatchObject({
      Status: 'TRIED',
      DryRunOnly: true,
      Reason: 'Only dry runs were requested.',
    });
    for (const more of [{}, { CertificateArn: arn }, { TargetAccount: MEMBER }] as Record<string, string>[]) {
      expect(await list({ ...more, Status: 'TRIED' })).toEqual(both);
      expect(await list({ ...more, Status: 'WAITING' })).toEqual(waiting);
      expect(await list(more)).toEqual([...both, ...waiting].sort());
    }
    const pages = await Array.fromAsync(system.inventory.fleet.pages({ Status: 'TRIED' }));
    expect(pages.flat()).toHaveLength(2);
    // Each is examined once, and counts as none that waits.
    expect(await system.reconcile('nodes')).toMatchObject({ Examined: 3, Health: { Waiting: 1 } });
    system.sfn.failNext('StartExecution', awsError('ServiceUnavailable', '', 'server'));
    await system.register({ CertificateArn: arn, TargetTagValue: 'newer' });
    await system.register({ CertificateArn: arn, TargetTagValue: 'older' });
    await system.runAll();
    await system.reconcile('certificates');
    await system.runAll();
    expect(await list({ Status: 'TRIED' })).toEqual([]);
    expect(await list({ Status: 'WAITING' })).toHaveLength(3);
  });

  test('that is registered while a dry run of it runs waits for its rollout, and is tried no more', async () => {
    const { body } = await system.register({ CertificateArn: arn, DryRun: true });
    await system.register({ CertificateArn: arn });
    expect(await get(body.DeploymentId)).toMatchObject({
      Status: 'WAITING',
      LastTrial: { Status: 'RUNNING' },
      Pending: { Cause: 'REQUEST' },
    });
  });

  test('is found page by page, and a token of an older edition goes on', async () => {
    const ids: string[] = [];
    for (let n = 0; n < 5; n += 1) {
      const { body } = await system.register({ CertificateArn: arn, TargetTagValue: `t${n}`, DryRun: true });
      await system.runAll();
      ids.push(body.DeploymentId);
      if (n < 3) await inIndex(body.DeploymentId, 'WAITING');
    }
    const pagesOf = async (query: Record<string, string>, token?: string) => {
      const found: string[] = [];
      let NextToken = token;
      do {
        const page = { ...query, Limit: '2', ...(NextToken ? { NextToken } : {}) };
        const { body } = await system.api('GET', '/deployments', { query: page });
        found.push(...body.Deployments.map(({ DeploymentId }: Deployment) => DeploymentId));
        NextToken = body.NextToken;
      } while (NextToken);
      return found.sort();
    };
    expect(await pagesOf({ Status: 'TRIED' })).toEqual(ids.toSorted());
    expect(await pagesOf({})).toEqual(ids.toSorted());
    expect(await pagesOf({ Status: 'WAITING' })).toEqual([]);
    // As the first edition gave it out where the status WAITING begins.
    expect(await pagesOf({}, 'eyJzdGF0dXMiOjIsIm1hcmsiOiJQT2todmRTeSJ9')).toEqual(ids.toSorted());
  });
});

describe('what is seen', () => {
  test('nobody looks whether it is served: the request is warned, and GET says by what it was seen', async () => {
    await system.target().addNode('i-00000001');
    const seen = async (more: object) => {
      const { body } = await system.register({ CertificateArn: arn, ...more });
      await system.runAll();
      const { Status, Seen } = await get(body.DeploymentId);
      return [body.Warnings, Status, Seen];
    };
    const warned = [
      expect.stringMatching(/VerifyPort.*ReloadServices.*nothing checks that a program serves them/),
    ];
    expect(await seen({})).toEqual([warned, 'INSTALLED', 'files']);
    expect(await seen({ ReloadServices: ['nginx'] })).toEqual([[], 'INSTALLED', 'files']);
    expect(await seen({ ReloadServices: null, RestartServices: ['slapd'] })).toEqual([
      [],
      'INSTALLED',
      'files',
    ]);
    expect(await seen({ VerifyPort: 8080 })).toEqual([[], 'INSTALLED', 'port']);
    await system.target().addNode('i-00000002', { online: false });
    const offline = [expect.stringContaining('i-00000002')];
    expect(await seen({ VerifyPort: 443 })).toEqual([offline, 'DEGRADED', undefined]);
    Object.assign(system.target().nodes[0] as object, { behaviour: 'failed' });
    expect(await seen({ VerifyPort: 8443 })).toEqual([offline, 'FAILED', undefined]);
  });

  test('of a delivery without nodes nothing is seen there', async () => {
    const ReaderRoleArns = [`arn:aws:iam::${MEMBER}:role/team-a`];
    system.addRole(ReaderRoleArns[0] as string);
    const { body } = await system.register({ CertificateArn: arn, Delivery: 'secret', ReaderRoleArns });
    await system.runAll();
    const { Status, Seen } = await get(body.DeploymentId);
    expect([body.Warnings, Status, Seen]).toEqual([[], 'INSTALLED', undefined]);
  });
});
