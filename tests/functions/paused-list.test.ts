import { BatchWriteCommand, QueryCommand, UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { beforeEach, expect, test } from '@jest/globals';
import { interleave } from './support/interleave.ts';
import { CENTRAL, MEMBER, System } from './support/system.ts';

// What is paused is listed by marks, one small item each. A deployment says itself whether it is paused.

let system: System;
let arn: string;
beforeEach(async () => {
  system = await System.create();
  arn = await system.acm.issue('web');
});

async function registered(...tags: string[]): Promise<string[]> {
  const ids: string[] = [];
  for (const TargetTagValue of tags) {
    ids.push((await system.register({ CertificateArn: arn, TargetTagValue })).body.DeploymentId);
  }
  await system.runAll();
  return ids;
}
const verb = (name: 'pause' | 'resume', id: string, around?: <T>(call: () => Promise<T>) => Promise<T>) =>
  system.api(
    'POST',
    `/certificates/{CertName}/deployments/{DeploymentId}/${name}`,
    { path: { CertName: 'web-prod', DeploymentId: id } },
    around ? { around } : {},
  );

/** All pages of what is paused. */
async function paused(query: Record<string, string> = {}) {
  const pages: string[][] = [];
  let NextToken: string | undefined;
  do {
    const asked = { Status: 'PAUSED', ...query, ...(NextToken ? { NextToken } : {}) };
    const { status, body } = await system.api('GET', '/deployments', { query: asked });
    expect(status).toBe(200);
    pages.push(body.Deployments.map(({ DeploymentId }: { DeploymentId: string }) => DeploymentId));
    NextToken = body.NextToken;
  } while (NextToken);
  return pages;
}
const ids = async (query?: Record<string, string>) => (await paused(query)).flat().sort();

async function marks(): Promise<string[]> {
  const { Items = [] } = await system.client.send(
    new QueryCommand({
      TableName: system.table,
      KeyConditionExpression: 'DeploymentId = :paused',
      ExpressionAttributeValues: { ':paused': 'fleet#paused' },
      ConsistentRead: true,
    }),
  );
  return Items.map(({ Item }) => Item);
}

/** As an edition does it that makes no marks. */
const byOlderEdition = (id: string, UpdateExpression: string) =>
  system.client.send(
    new UpdateCommand({
      TableName: system.table,
      Key: { DeploymentId: id, Item: 'deployment' },
      UpdateExpression,
      ...(UpdateExpression.includes(':at')
        ? { ExpressionAttributeValues: { ':at': '2026-11-24T10:30:00Z' } }
        : {}),
    }),
  );

test('what is paused is listed at once, beside its status, and no more once it is resumed or deleted', async () => {
  const [a = '', b = '', c = ''] = await registered('a', 'b', 'c');
  expect(await ids()).toEqual([]);
  for (const id of [a, b]) await verb('pause', id);
  await verb('pause', a);
  expect(await ids()).toEqual([a, b].sort());
  const listed = await system.api('GET', '/deployments', { query: { Status: 'WAITING' } });
  expect(listed.body.Deployments).toHaveLength(3);
  await verb('resume', a);
  expect(await ids()).toEqual([b]);
  await system.remove(b);
  expect(await ids()).toEqual([]);
  // Registered again it is not paused.
  await registered('b');
  await verb('pause', c);
  expect(await ids()).toEqual([c]);
  expect(await marks()).toEqual([c]);
});

test('it is combined with every other filter, and one that is being deleted is not listed', async () => {
  const [a = '', b = ''] = await registered('a', 'b');
  const other = await system.acm.issue('other');
  const { body } = await system.register({
    CertificateArn: other,
    TargetAccount: CENTRAL,
    TargetTagValue: 'c',
  });
  const c = body.DeploymentId;
  await system.runAll();
  for (const id of [a, b, c]) await verb('pause', id);
  expect(await ids({ TargetAccount: MEMBER })).toEqual([a, b].sort());
  expect(await ids({ CertificateArn: other })).toEqual([c]);
  expect(await ids({ CertificateArn: other, TargetAccount: MEMBER })).toEqual([]);
  expect(await ids({ ExpiresWithinDays: '30' })).toEqual([]);
  expect(await ids({ ExpiresWithinDays: '300' })).toEqual([a, b, c].sort());
  await system.mark('markDeleting', a);
  expect(await ids()).toEqual([b, c].sort());
  expect(await ids({ TargetAccount: MEMBER })).toEqual([b]);
});

test('a page costs one query and a read of each deployment on it, however large the fleet is', async () => {
  const [first = ''] = await registered('a');
  const item = (await system.inventory.get(first)) as object;
  const fleet = Array.from({ length: 400 }, (_, index) => (index + 1).toString(16).padStart(24, '0'));
  const put = (Item: object) => ({ PutRequest: { Item } });
  const items = fleet.flatMap((DeploymentId, index) => [
    put({ ...item, DeploymentId, ...(index % 8 === 0 ? { PausedAt: '2026-11-24T10:30:00Z' } : {}) }),
    ...(index % 8 === 0 ? [put({ DeploymentId: 'fleet#paused', Item: DeploymentId })] : []),
  ]);
  for (let start = 0; start < items.length; start += 25) {
    const RequestItems = { [system.table]: items.slice(start, start + 25) };
    await system.client.send(new BatchWriteCommand({ RequestItems }));
  }
  const pages: string[][] = [];
  let NextToken: string | undefined;
  do {
    system.dynamodb.forgetCalls();
    const query = { Status: 'PAUSED', Limit: '20', ...(NextToken ? { NextToken } : {}) };
    const { body } = await system.api('GET', '/deployments', { query });
    pages.push(body.Deployments.map(({ DeploymentId }: { DeploymentId: string }) => DeploymentId));
    expect(system.dynamodb.callsOf('Query').length).toBe(1);
    expect(system.dynamodb.callsOf('GetItem').length).toBe(pages.at(-1)?.length);
    NextToken = body.NextToken;
  } while (NextToken);
  expect(pages.map(({ length }) => length)).toEqual([20, 20, 10]);
  expect(pages.flat().sort()).toEqual(fleet.filter((_, index) => index % 8 === 0));
  // A token belongs to its question.
  const { body } = await system.api('GET', '/deployments', { query: { Status: 'PAUSED', Limit: '20' } });
  for (const query of [{ Status: 'FAILED' }, {}, { Status: 'PAUSED', TargetAccount: MEMBER }]) {
    const asked = { ...query, NextToken: body.NextToken };
    expect((await system.api('GET', '/deployments', { query: asked })).status).toBe(400);
  }
});

test('what an older edition paused is listed after the first sweep, and what it resumed is not listed', async () => {
  const [a = '', b = ''] = await registered('a', 'b');
  await byOlderEdition(a, 'SET PausedAt = :at');
  await verb('pause', b);
  await byOlderEdition(b, 'REMOVE PausedAt');
  // With the other filters it is there from the beginning.
  expect(await ids({ TargetAccount: MEMBER })).toEqual([a]);
  expect(await ids()).toEqual([]);
  await system.reconcile('nodes');
  expect(await ids()).toEqual([a]);
  expect(await marks()).toEqual([a]);
  // Then a sweep has no mark to write.
  system.dynamodb.forgetCalls();
  await system.reconcile('nodes');
  for (const operation of ['PutItem', 'BatchWriteItem']) {
    expect(system.dynamodb.callsOf(operation)).toEqual([]);
  }
});

test('an index that is behind takes no mark away', async () => {
  system = await System.create({ delays: { indexes: () => 60_000 } });
  arn = await system.acm.issue('web');
  const [a = ''] = await registered('a');
  system.advance({ minutes: 5 });
  await verb('pause', a);
  await system.reconcile('nodes');
  expect(await marks()).toEqual([a]);
});

test.each(['pause', 'resume'] as const)(
  'wherever the process of a %s dies, a repeat and a sweep leave the list right',
  async (name) => {
    for (let call = 1; call <= 6; call += 1) {
      for (const when of ['before', 'after'] as const) {
        const [a = ''] = await registered(`${name}-${call}-${when}`);
        if (name === 'resume') await verb('pause', a);
        await interleave([{ run: (around) => verb(name, a, around), crash: { call, when } }], () => 0);
        await system.reconcile('nodes');
        const isPaused = (await system.inventory.get(a))?.PausedAt !== undefined;
        expect([call, when, (await ids()).includes(a)]).toEqual([call, when, isPaused]);
        expect(await marks()).toEqual(await ids());
        await verb(name, a);
        expect([call, when, (await ids()).includes(a)]).toEqual([call, when, name === 'pause']);
        await system.remove(a);
        await system.runAll();
      }
    }
  },
);

test('a pause and a resume at once leave the list right after the next sweep, whichever comes first', async () => {
  for (const choices of [[0, 1], [1, 0], [0], [1], [0, 0, 1], [1, 1, 0], [0, 0, 0, 1], [1, 1, 1, 0]]) {
    const [a = ''] = await registered(`t${choices.join('')}`);
    await verb('pause', a);
    let turn = 0;
    await interleave(
      (['pause', 'resume'] as const).map((name) => ({ run: (around) => verb(name, a, around) })),
      (of) => {
        const choice = (choices[turn % choices.length] ?? 0) % Math.max(1, of);
        turn += 1;
        return choice;
      },
    );
    await system.reconcile('nodes');
    const isPaused = (await system.inventory.get(a))?.PausedAt !== undefined;
    expect([choices, (await ids()).includes(a)]).toEqual([choices, isPaused]);
    await system.remove(a);
  }
});
