// What a page of GET /deployments costs at 10,000 deployments: the shipped function over the local cloud's table.
import assert from 'node:assert/strict';
import type { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import type { APIGatewayProxyEvent, APIGatewayProxyResult, Context } from 'aws-lambda';
import {
  type Deployment,
  deploymentIdOf,
  STATUSES,
  type Status,
  timestamp,
  versionIdOf,
} from '../functions/domain/deployment.ts';
import type { Order } from '../functions/domain/order.ts';
import { OPTIONS, writeItems } from './fleet.ts';
import type { Table } from './report.ts';
import { seeded, virtualWorld } from './world.ts';

const DEPLOYMENTS = 10_000;
/** Of sixteen deployments each. */
const CERTIFICATES = 625;
const ACCOUNTS = 10;

/** Deployments on a page: the most that a caller may ask for. */
const PAGE = 100;

/** Where no filter is more selective, the statuses are read one after the other. */
const MOST_CALLS = STATUSES.length;

const DAY = 86_400_000;
/** What ACM issues is valid for 198 days. */
const VALIDITY_DAYS = 198;

const FILTERS = ['CertificateArn', 'Status', 'TargetAccount', 'ExpiresWithinDays'] as const;
type Filter = Partial<Record<(typeof FILTERS)[number], string>>;

interface Question {
  name: string;
  resource: string;
  path: Record<string, string> | null;
  query: Filter;
  /** DeploymentIds of a complete answer. */
  expected: Set<string>;
}

/** What one page took. */
interface Cost {
  operations: Set<string>;
  calls: number;
  itemsRead: number;
  capacityUnits: number;
}

/**
 * Asks for the fleet with every combination of filters, and for the deployments of one name, page by page to the end.
 *
 * @throws AssertionError when a page needs anything but queries, more of them than there are statuses, or reads more
 *   items than it may show; and when the pages together are not the complete answer.
 */
export async function measureFleetQuestions(): Promise<Table> {
  const random = seeded(1);
  const world = await virtualWorld(random);
  const { clock, functions } = world;
  const now = clock.now();
  const fleet = Array.from({ length: DEPLOYMENTS }, (_, index) => deploymentAt(index, now));
  const { documents, page } = metered(functions.clients('deployments-api').documents());
  const clients = { ...functions.clients('deployments-api'), documents: () => documents };
  const functionClock = { now: clock.now, sleep: (ms: number) => clock.sleep(ms), random };
  const api = functions.compose('deployments-api', functionClock, { clients });
  const rows = await world.run(async () => {
    await writeItems(world, fleet.flatMap(itemsOf));
    const costs: string[][] = [];
    for (const question of questions(fleet, now)) {
      const pages = await askToTheEnd(api, question, page);
      const most = (of: (cost: Cost) => number) => String(Math.max(...pages.map(of)));
      costs.push([
        question.name,
        String(question.expected.size),
        String(pages.length),
        most(({ calls }) => calls),
        most(({ itemsRead }) => itemsRead),
        most(({ capacityUnits }) => capacityUnits),
      ]);
    }
    return costs;
  });
  await world.cloud.stop();
  return {
    title: `An inventory of ${DEPLOYMENTS} deployments and as many nodes, in pages of ${PAGE}`,
    columns: [
      'asked for',
      'found',
      'pages',
      'calls a page, at most',
      'items read a page, at most',
      'read units a page, at most',
    ],
    rows,
  };
}

type Api = (event: APIGatewayProxyEvent, context: Context) => Promise<APIGatewayProxyResult>;

async function ask(api: Api, { resource, path }: Question, query: Record<string, string>) {
  const event = {
    httpMethod: 'GET',
    resource,
    pathParameters: path,
    queryStringParameters: query,
    multiValueQueryStringParameters: Object.fromEntries(
      Object.entries(query).map(([name, value]) => [name, [value]]),
    ),
    body: null,
    requestContext: { requestId: 'request-1' },
  };
  const { statusCode, body } = await api(event as unknown as APIGatewayProxyEvent, {} as Context);
  assert.equal(statusCode, 200, body);
  return JSON.parse(body);
}

/** Every combination of filters, with values that few or many deployments share. */
function questions(fleet: Deployment[], now: Date): Question[] {
  const sample = fleet[7] as Deployment;
  const { CertificateArn, TargetAccount, CertName } = sample;
  const values: Required<Filter> = {
    CertificateArn,
    TargetAccount,
    Status: 'FAILED',
    ExpiresWithinDays: '30',
  };
  const expected = (fits: (deployment: Deployment) => boolean) =>
    new Set(fleet.filter(fits).map((deployment) => deployment.DeploymentId));
  const ofFleet = (query: Filter): Question => {
    const { ExpiresWithinDays: days = 3650, ...equal } = query;
    const latest = timestamp(new Date(now.getTime() + Number(days) * DAY));
    return {
      name:
        Object.entries(query)
          .map(([name, value]) => `${name}${name === 'ExpiresWithinDays' ? ` ${value}` : ''}`)
          .join(', ') || 'everything',
      resource: '/deployments',
      path: null,
      query,
      expected: expected(
        (deployment) =>
          deployment.NotAfter <= latest &&
          Object.entries(equal).every(([name, value]) => deployment[name as keyof typeof equal] === value),
      ),
    };
  };
  const combinations = Array.from({ length: 2 ** FILTERS.length }, (_, bits) =>
    FILTERS.filter((_, position) => bits & (1 << position)),
  );
  return [
    ...combinations.map((names) => ofFleet(Object.fromEntries(names.map((name) => [name, values[name]])))),
    // So few that every status is asked for one page.
    ofFleet({ ExpiresWithinDays: '0' }),
    {
      name: 'one CertName',
      resource: '/certificates/{CertName}/deployments',
      path: { CertName },
      query: {},
      expected: expected((deployment) => deployment.CertName === CertName),
    },
  ];
}

async function askToTheEnd(api: Api, question: Question, page: () => Cost): Promise<Cost[]> {
  const { name, query, expected } = question;
  const costs: Cost[] = [];
  const found = new Set<string>();
  let shown = 0;
  let NextToken: string | undefined;
  do {
    page();
    const paging = { Limit: String(PAGE), ...(NextToken ? { NextToken } : {}) };
    const body = await ask(api, question, { ...query, ...paging });
    const cost = page();
    assert.deepEqual([...cost.operations], ['QueryCommand'], `${name}: only queries`);
    assert.ok(cost.calls <= MOST_CALLS, `${name}: ${cost.calls} calls for a page`);
    assert.ok(cost.itemsRead <= PAGE, `${name}: ${cost.itemsRead} items read for a page`);
    costs.push(cost);
    for (const { DeploymentId } of body.Deployments) {
      found.add(DeploymentId);
      shown += 1;
    }
    NextToken = body.NextToken;
  } while (NextToken);
  assert.equal(shown, found.size, `${name}: a deployment was shown twice`);
  assert.deepEqual(found, expected, `${name}: the answer is not complete`);
  return costs;
}

/** A client that counts what it does. `page` gives the count and begins the next one. */
function metered(client: DynamoDBDocumentClient): { documents: DynamoDBDocumentClient; page: () => Cost } {
  const none = (): Cost => ({ operations: new Set(), calls: 0, itemsRead: 0, capacityUnits: 0 });
  let cost = none();
  const send = async (command: { input: object }) => {
    Object.assign(command.input, { ReturnConsumedCapacity: 'TOTAL' });
    const output: object = await client.send(command as never);
    const { ScannedCount = 0, ConsumedCapacity } = output as {
      ScannedCount?: number;
      ConsumedCapacity?: { CapacityUnits?: number };
    };
    cost.operations.add(command.constructor.name);
    cost.calls += 1;
    cost.itemsRead += ScannedCount;
    cost.capacityUnits += ConsumedCapacity?.CapacityUnits ?? Number.NaN;
    return output;
  };
  return {
    documents: Object.assign(Object.create(client), { send }),
    page: () => {
      const counted = cost;
      cost = none();
      return counted;
    },
  };
}

/** A fleet in which most is well: one deployment in fifty failed, and expiries are spread evenly. */
function deploymentAt(index: number, now: Date): Deployment {
  const certificate = index % CERTIFICATES;
  const CertName = `site-${certificate}`;
  const CertificateArn = `arn:aws:acm:eu-central-1:111122223333:certificate/${String(certificate).padStart(8, '0')}-0000-4000-8000-000000000000`;
  const target = {
    TargetAccount: String(444455550000 + ((index + Math.floor(index / 50)) % ACCOUNTS)),
    TargetRegion: 'eu-central-1',
    TargetTagKey: 'acm-export',
    TargetTagValue: `fleet-${Math.floor(index / CERTIFICATES)}`,
  };
  const Status = statusAt(index);
  const Serial = certificate.toString(16).padStart(32, '0');
  const at = timestamp(now);
  const by = { Cause: 'RENEWAL' as const, CorrelationId: 'bench', NotBefore: at, Serial };
  const LastError =
    Status === 'FAILED' ? 'i-0123456789abcdef0: nginx refused its configuration. '.repeat(3) : '';
  const Order: Order = {
    ...target,
    CertName,
    CertificateArn,
    Options: OPTIONS,
    MaxConcurrency: '10%',
    MaxErrors: '0',
  };
  const running = {
    ...by,
    RolloutNumber: 3,
    Generation: 1,
    Order,
    BeganAt: at,
    StartedAt: at,
    StartDelaySeconds: 0,
  };
  return {
    DeploymentId: deploymentIdOf(target, CertName),
    ...Order,
    Status,
    RolloutNumber: 3,
    Wanted: { ...by, Generation: 1, At: at },
    ...(Status === 'ROLLING_OUT' ? { Running: running } : {}),
    Observed: {
      ...by,
      Generation: 1,
      RolloutNumber: 2,
      Failures: 0,
      ExecutionArn: `arn:aws:states:eu-central-1:111122223333:execution:acm-export-certificate-rollout:${index}`,
      Outcome: 'INSTALLED',
      At: at,
    },
    Serial,
    VersionId: versionIdOf(CertificateArn, Serial),
    NotAfter: timestamp(new Date(now.getTime() + ((index * 37) % VALIDITY_DAYS) * DAY)),
    ...(LastError ? { LastError } : {}),
    CreatedAt: at,
    UpdatedAt: at,
  };
}

function statusAt(index: number): Status {
  if (index % 1000 === 1) return 'DELETING';
  if (index % 100 === 3) return 'ROLLING_OUT';
  if (index % 50 === 7) return 'FAILED';
  if (index % 40 === 9) return 'DEGRADED';
  if (index % 25 === 11) return 'WAITING';
  return 'INSTALLED';
}

function itemsOf(deployment: Deployment): object[] {
  return [
    { ...deployment, Item: 'deployment' },
    {
      DeploymentId: deployment.DeploymentId,
      Item: 'node#i-0123456789abcdef0',
      NodeId: 'i-0123456789abcdef0',
      Outcome: 'installed',
      Serial: deployment.Serial,
    },
  ];
}
