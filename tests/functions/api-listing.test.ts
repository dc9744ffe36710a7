import { BatchWriteCommand } from '@aws-sdk/lib-dynamodb';
import { beforeAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type Deployment, STATUSES } from '../../functions/domain/deployment.ts';
import { System } from './support/system.ts';

const ACCOUNTS = ['111122223333', '444455556666', '777788889999'];
const NAMES = ['web', 'mail', 'api'];
const ARNS = [1, 2].map((n) => `arn:aws:acm:eu-central-1:111122223333:certificate/${n}`);
const COUNT = 600;
const DAY_MS = 86_400_000;

let system: System;
const fleet: Pick<
  Deployment,
  'DeploymentId' | 'CertName' | 'CertificateArn' | 'Status' | 'TargetAccount' | 'NotAfter'
>[] = [];

const pick = <T>(from: readonly T[], index: number) => from[index % from.length] as T;

beforeAll(async () => {
  system = await System.create();
  const now = system.clock.now().getTime();
  for (let index = 0; index < COUNT; index += 1) {
    fleet.push({
      DeploymentId: (index * 2_654_435_761).toString(16).padStart(24, '0'),
      // Unevenly, so that pages end in the middle of a status as well as at its end; whole statuses are empty.
      CertName: pick(NAMES, (index * 7) >> 2),
      CertificateArn: pick(ARNS, index >> 3),
      Status: pick(['INSTALLED', 'INSTALLED', 'INSTALLED', 'FAILED', 'WAITING'] as const, index * 3),
      TargetAccount: pick(ACCOUNTS, (index * 5) >> 1),
      // Many share one time of expiry, as all deployments of a certificate do.
      NotAfter: `${new Date(now + (index % 20) * 10 * DAY_MS).toISOString().slice(0, 19)}Z`,
    });
  }
  for (let start = 0; start < COUNT; start += 25) {
    const requests = fleet
      .slice(start, start + 25)
      .flatMap((deployment) => [
        { PutRequest: { Item: { ...deployment, Item: 'deployment', RolloutNumber: 1 } } },
      ]);
    await system.client.send(new BatchWriteCommand({ RequestItems: { [system.table]: requests } }));
  }
  const nodes = Array.from({ length: 137 }, (_, n) => ({ NodeId: `i-${n}`, Outcome: 'installed' as const }));
  await system.inventory.nodes.record(fleet[0]?.DeploymentId as string, 1, nodes);
});

/** All pages, each with the number of queries that it cost. */
async function allPages(
  query: Record<string, string>,
  resource = '/deployments',
  path?: Record<string, string>,
) {
  const pages: { items: { DeploymentId: string; NodeId?: string }[]; queries: number }[] = [];
  let NextToken: string | undefined;
  do {
    system.dynamodb.forgetCalls();
    const answer = await system.api('GET', resource, {
      ...(path ? { path } : {}),
      query: { ...query, ...(NextToken ? { NextToken } : {}) },
    });
    expect(answer.status).toBe(200);
    const queries = system.dynamodb.callsOf('Query').length;
    pages.push({ items: answer.body.Nodes ?? answer.body.Deployments, queries });
    NextToken = answer.body.NextToken;
  } while (NextToken);
  return pages;
}

const filters = fc.record(
  {
    CertificateArn: fc.constantFrom(...ARNS),
    Status: fc.constantFrom(...STATUSES),
    TargetAccount: fc.constantFrom(...ACCOUNTS, '000000000000'),
    ExpiresWithinDays: fc.constantFrom('0', '10', '95', '3650'),
  },
  { requiredKeys: [] },
);

test('every filter and every combination gives each deployment once and none too many, in bounded pages', async () => {
  await fc.assert(
    fc.asyncProperty(filters, fc.integer({ min: 40, max: 100 }), async (filter, Limit) => {
      const pages = await allPages({ ...filter, Limit: String(Limit) } as Record<string, string>);
      const found = pages.flatMap(({ items }) => items.map(({ DeploymentId }) => DeploymentId));
      const { ExpiresWithinDays: days, ...fields } = filter;
      const until = system.clock.now().getTime() + Number(days ?? 9999) * DAY_MS;
      const expected = fleet.filter(
        (deployment) =>
          Object.entries(fields).every(
            ([field, value]) => deployment[field as keyof typeof fields] === value,
          ) && Date.parse(deployment.NotAfter) <= until,
      );
      expect(found.toSorted()).toEqual(expected.map(({ DeploymentId }) => DeploymentId).toSorted());
      expect(Math.max(...pages.map(({ items }) => items.length))).toBeLessThanOrEqual(Limit);
      // At most one query a status, and no scan: DynamoDB reads no more than Limit items in each.
      expect(Math.max(...pages.map((page) => page.queries))).toBeLessThanOrEqual(STATUSES.length);
    }),
    { numRuns: 40, seed: 20261124 },
  );
});

test('pages of one deployment each', async () => {
  const query = { Status: 'FAILED', TargetAccount: '444455556666', Limit: '1' };
  const found = (await allPages(query)).flatMap(({ items }) => items);
  expect(new Set(found.map(({ DeploymentId }) => DeploymentId)).size).toBe(found.length);
  expect(found.length).toBe(
    fleet.filter(({ Status, TargetAccount }) => Status === 'FAILED' && TargetAccount === '444455556666')
      .length,
  );
});

test('the deployments of a name, and the nodes of one of them, page by page', async () => {
  const path = { CertName: 'mail' };
  const named = await allPages({ Limit: '7' }, '/certificates/{CertName}/deployments', path);
  expect(named.flatMap(({ items }) => items)).toHaveLength(
    fleet.filter(({ CertName }) => CertName === 'mail').length,
  );
  const [first] = fleet;
  const nodes = await allPages({ Limit: '50' }, '/certificates/{CertName}/deployments/{DeploymentId}', {
    CertName: first?.CertName as string,
    DeploymentId: first?.DeploymentId as string,
  });
  expect(nodes.map(({ items }) => items.length)).toEqual([50, 50, 37]);
  expect(new Set(nodes.flatMap(({ items }) => items.map(({ NodeId }) => NodeId))).size).toBe(137);
});

test('a token that was altered, or belongs to another question, is refused by name and gives nothing away', async () => {
  const { body } = await system.api('GET', '/deployments', { query: { Status: 'INSTALLED', Limit: '10' } });
  const token = body.NextToken as string;
  const position = JSON.parse(Buffer.from(token, 'base64url').toString());
  const forged = (change: object) =>
    Buffer.from(JSON.stringify({ ...position, ...change })).toString('base64url');
  const ofNodes = await system.api('GET', '/certificates/{CertName}/deployments/{DeploymentId}', {
    path: { CertName: fleet[0]?.CertName as string, DeploymentId: fleet[0]?.DeploymentId as string },
    query: { Limit: '1' },
  });
  const altered = [
    token.slice(1),
    'x',
    'bnVsbA',
    Buffer.from('[]').toString('base64url'),
    forged({ mark: 'AAAAAAAA' }),
    forged({ status: 6 }),
    forged({ status: -1 }),
    forged({ status: 0.5 }),
    forged({ key: [] }),
    forged({ key: 'x' }),
    forged({ key: {} }),
    forged({ key: { DeploymentId: 1 } }),
    forged({ key: { DeploymentId: 'x' } }),
    forged({ key: { ...position.key, Status: 'FAILED' } }),
    forged({ key: { ...position.key, extra: 'x' } }),
    ofNodes.body.NextToken,
  ];
  for (const NextToken of altered) {
    const answer = await system.api('GET', '/deployments', { query: { Status: 'INSTALLED', NextToken } });
    expect([NextToken, answer.status, answer.body.Faults?.[0]?.Field]).toEqual([NextToken, 400, 'NextToken']);
  }
  for (const query of [
    { Status: 'FAILED' },
    {},
    { TargetAccount: '444455556666' },
    { ExpiresWithinDays: '3' },
  ]) {
    const answer = await system.api('GET', '/deployments', { query: { ...query, NextToken: token } });
    expect(answer.status).toBe(400);
  }
});

test('days that pass between two pages do not make a token stale', async () => {
  const query = { Status: 'INSTALLED', ExpiresWithinDays: '95', Limit: '10' };
  const first = await system.api('GET', '/deployments', { query });
  system.advance({ minutes: 5 });
  const second = await system.api('GET', '/deployments', {
    query: { ...query, NextToken: first.body.NextToken },
  });
  expect(second.status).toBe(200);
  const seen = [first, second].flatMap((page) =>
    page.body.Deployments.map((d: Deployment) => d.DeploymentId),
  );
  expect(new Set(seen).size).toBe(20);
});

test('a page that the inventory reads for itself holds a thousand, and the next one begins after it', async () => {
  const all = await Array.fromAsync(system.inventory.fleet.all({}));
  expect(new Set(all.map(({ DeploymentId }) => DeploymentId)).size).toBe(COUNT);
});
