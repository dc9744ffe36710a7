// handle-renewal over 10,000 deployments of one certificate. How long it takes is measured in virtual time: so many
// calls of 20 ms, so many at once. What it needs of the machine is measured on the built function, in a process of its
// own with the real AWS SDK; behind HTTP stands what it calls.
import '../tests/functions/support/quiet.ts';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { json, text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ACMClient } from '@aws-sdk/client-acm';
import { DescribeExecutionCommand, SFNClient } from '@aws-sdk/client-sfn';
import type { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import {
  handleRenewal,
  type Renewal,
  type Started,
  startRenewal,
} from '../functions/handle-renewal/handle-renewal.ts';
import { startRetries } from '../functions/handle-renewal/start-retries.ts';
import { PATIENT } from '../functions/shared/clients.ts';
import { Inventory } from '../functions/shared/inventory.ts';
import { FakeAcm } from '../tests/functions/support/fake-acm.ts';
import { FakeStepFunctions } from '../tests/functions/support/fake-step-functions.ts';
import { Apis, awsError, QUOTAS, type Quota, SDK_ATTEMPTS, seeded, TokenBucket } from './model/apis.ts';
import { CENTRAL, healthyFleet, propertiesOf, REGION, STATE_MACHINE_ARN, tableOf } from './model/fleet.ts';
import type { Invocation } from './model/invoke.ts';
import { VirtualTime } from './model/virtual-time.ts';
import { fromWire, toWire } from './model/wire.ts';
import type { Table } from './report.ts';

const PLAN = {
  deployments: 10_000,
  certificates: 1,
  accounts: 20,
  tagsPerAccount: 500,
  nodesPerDeployment: 1,
};
const LATENCY_MS = 20;
const START_QUOTA = QUOTAS['states:StartExecution'] as Required<Quota>;

/** V8 collects garbage late where it has room: it gets half of 256 MB for its heap. */
const HALF_OF_256_MB = ['--max-old-space-size=128', '--max-semi-space-size=4'];

const root = path.dirname(import.meta.dirname);

interface World {
  acm: FakeAcm;
  stepFunctions: FakeStepFunctions;
  inventory: ReturnType<typeof tableOf>;
  idempotency: ReturnType<typeof tableOf>;
  starts: TokenBucket;
  event: { id: string };
}

/** A fleet whose certificate has just been renewed. */
async function renewedFleet(): Promise<World> {
  const acm = new FakeAcm();
  const inventory = tableOf('InventoryTable');
  const [arn] = (await healthyFleet(PLAN, inventory, acm)).certificateArns as [string];
  await acm.renew(arn);
  const event = {
    version: '0',
    id: '5ec5f1d2-0a3b-4d2e-9c6a-000000000001',
    source: 'aws.acm',
    'detail-type': 'ACM Certificate Available',
    account: CENTRAL,
    region: REGION,
    time: '2026-11-24T00:00:00Z',
    resources: [arn],
    detail: { Action: 'RENEWAL' },
  };
  const idempotency = tableOf('IdempotencyTable');
  return {
    acm,
    inventory,
    idempotency,
    stepFunctions: new FakeStepFunctions(),
    starts: new TokenBucket(START_QUOTA),
    event,
  };
}

/** Another event for the same renewal. */
const duplicateOf = (event: World['event']) => ({ ...event, id: '5ec5f1d2-0a3b-4d2e-9c6a-000000000002' });

/** Deployments with one execution, and with more. */
function executionsOf({ stepFunctions }: World): { once: number; more: number } {
  const byDeployment = Map.groupBy(stepFunctions.executions.values(), ({ name }) => name.slice(0, 24));
  const counts = [...byDeployment.values()].map((all) => all.length);
  return {
    once: counts.filter((count) => count === 1).length,
    more: counts.filter((count) => count > 1).length,
  };
}

interface Run {
  once: number;
  more: number;
  seconds: number;
  calls: number;
  /** Calls of StartExecution for each that was answered. */
  perStart: number;
}

/** The function's own code in virtual time: one event, and a second one for the same renewal two minutes later. */
async function inVirtualTime(quotas: Record<string, Quota>, faultShare: number): Promise<Run> {
  const world = await renewedFleet();
  const time = new VirtualTime();
  const random = seeded(1);
  const apis = new Apis(time, { latencyMs: LATENCY_MS, faultShare, random, quotas });
  const dynamodb = apis.client<DynamoDBDocumentClient>('dynamodb', world.inventory, CENTRAL, SDK_ATTEMPTS);
  const answers = new Map<string, Started>();
  const deps = {
    inventory: new Inventory(dynamodb, 'inventory', time.date),
    sfn: new SFNClient({
      ...apis.clientConfig('states', world.stepFunctions, CENTRAL),
      ...startRetries(random),
    }),
    acm: apis.client<ACMClient>('acm', world.acm, CENTRAL, PATIENT.maxAttempts),
    stateMachineArn: STATE_MACHINE_ARN,
    rolloutsEnabled: true,
    now: time.date,
    account: CENTRAL,
    region: REGION,
    onceForSerial: async (renewal: Renewal) => {
      const answer = answers.get(renewal.Key) ?? (await startRenewal(renewal, deps));
      answers.set(renewal.Key, answer);
      return answer;
    },
  };
  await apis.warmUp(() => deps.sfn.send(new DescribeExecutionCommand({ executionArn: 'none' })));
  const start = time.now;
  let ended = start;
  await time.run(random, async () => {
    await handleRenewal(world.event, deps);
    ended = time.now;
    await time.sleep(120_000);
    await handleRenewal(duplicateOf(world.event), deps);
  });
  const starts = apis.counts.get('states:StartExecution');
  return {
    ...executionsOf(world),
    seconds: (ended - start) / 1000,
    calls: [...apis.counts.values()].reduce((sum, { calls }) => sum + calls, 0),
    perStart: starts ? starts.calls / starts.answered : Number.NaN,
  };
}

/** What the built function gets for its calls. */
// biome-ignore lint/suspicious/noExplicitAny: requests and answers of three services
function answer(target: string, input: any, world: World): unknown {
  const [service, operation = ''] = target.split('.');
  if (service === 'DynamoDB_20120810') {
    const isIdempotency = input.TableName === propertiesOf('IdempotencyTable').TableName;
    // biome-ignore lint/suspicious/noExplicitAny: any operation
    const table = (isIdempotency ? world.idempotency : world.inventory) as any;
    return toWire(table[operation](fromWire(input)));
  }
  if (service === 'CertificateManager') {
    const { Certificate } = world.acm.DescribeCertificate(input);
    return { Certificate: { ...Certificate, NotAfter: Certificate.NotAfter.getTime() / 1000 } };
  }
  if (operation === 'StartExecution') {
    if (!world.starts.take(performance.now())) {
      throw awsError('ThrottlingException', 'Rate exceeded');
    }
    return { ...world.stepFunctions.StartExecution(input), startDate: 0 };
  }
  throw new Error(`${target} is not modelled.`);
}

async function serve(world: World): Promise<{ url: string; stop: () => void }> {
  const respond = async (request: IncomingMessage, response: ServerResponse) => {
    const input = await json(request);
    await sleep(LATENCY_MS);
    response.setHeader('content-type', 'application/x-amz-json-1.0');
    try {
      response.end(JSON.stringify(answer(String(request.headers['x-amz-target']), input, world)));
    } catch (error) {
      const { name, message } = error as Error;
      response.statusCode = 400;
      response.end(JSON.stringify({ __type: name, message }));
    }
  };
  const server = createServer((request, response) => void respond(request, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stop: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** Runs the built function on one event, with the environment that the template gives it. */
async function invoke(url: string, event: object): Promise<Invocation> {
  const { MemorySize, FunctionName, Environment } = propertiesOf('HandleRenewalFunction');
  const program = path.join(import.meta.dirname, 'model/invoke.ts');
  const handler = path.join(root, 'build/functions/handle-renewal/handler.mjs');
  const child = spawn(
    process.execPath,
    [...HALF_OF_256_MB, program, handler, path.join(root, 'build/layer')],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: {
        PATH: process.env.PATH,
        // Not the template's: a busy machine is not to end what is measured.
        TIMEOUT_SECONDS: '900',
        AWS_LAMBDA_FUNCTION_NAME: FunctionName,
        AWS_LAMBDA_FUNCTION_MEMORY_SIZE: String(MemorySize),
        AWS_EXECUTION_ENV: 'AWS_Lambda_nodejs24.x',
        AWS_REGION: REGION,
        AWS_ACCESS_KEY_ID: 'nobody',
        AWS_SECRET_ACCESS_KEY: 'nothing',
        AWS_ENDPOINT_URL: url,
        ...Environment.Variables,
      },
    },
  );
  child.stdin.end(JSON.stringify(event));
  const output = await text(child.stdout);
  const invocation: Invocation = JSON.parse(output.trim().split('\n').at(-1) ?? '');
  if (invocation.error) {
    throw new Error(`The built function failed: ${invocation.error}`);
  }
  return invocation;
}

/** The built function in a process of its own: one event, and a second one for the same renewal. */
async function inProcess(): Promise<{ first: Invocation; second: Invocation; once: number; more: number }> {
  const world = await renewedFleet();
  const { url, stop } = await serve(world);
  try {
    const first = await invoke(url, world.event);
    const second = await invoke(url, duplicateOf(world.event));
    return { first, second, ...executionsOf(world) };
  } finally {
    stop();
  }
}

export async function measureRenewal(): Promise<Table[]> {
  const { burst, perSecond } = START_QUOTA;
  const floor = (PLAN.deployments - burst) / perSecond;
  const quotas = { 'states:StartExecution': START_QUOTA };
  const free = await inVirtualTime({}, 0);
  const limited = await inVirtualTime(quotas, 0);
  const faulty = await inVirtualTime(quotas, 0.01);
  const built = await inProcess();
  const row = (name: string, run: Run, atMost: number) => [
    name,
    String(run.once),
    String(run.more),
    (run.seconds / floor).toFixed(2),
    run.perStart.toFixed(2),
    run.seconds.toFixed(1),
    atMost.toFixed(1),
    String(run.calls),
  ];
  return [
    {
      title: `handle-renewal over ${PLAN.deployments} deployments at ${LATENCY_MS} ms a call, and a second event for the same renewal (virtual time)`,
      columns: [
        'run',
        'started once',
        'more often',
        `ratio to the floor of ${floor.toFixed(0)} s`,
        'StartExecution calls per start',
        's',
        'at most, s',
        'calls',
      ],
      rows: [
        row('without quota', free, 15),
        row(`StartExecution: ${burst}, then ${perSecond} a second`, limited, 1.2 * floor),
        row('the same, one call in a hundred failing', faulty, 1.2 * floor),
        ['the original, as measured', '0', '2509', '', '', '', '', ''],
      ],
    },
    {
      title: 'The built function in a process of its own, with that quota (real time)',
      columns: [
        'event',
        'started once',
        'more often',
        'ratio to the floor',
        's',
        'MB resident',
        'at most, MB',
        'processor, s',
      ],
      rows: (['first', 'second'] as const).map((event) => {
        const { residentMB, cpuSeconds, seconds } = built[event];
        return [
          event,
          String(built.once),
          String(built.more),
          event === 'first' ? (seconds / floor).toFixed(2) : '',
          seconds.toFixed(1),
          residentMB.toFixed(0),
          '256',
          cpuSeconds.toFixed(1),
        ];
      }),
    },
  ];
}
