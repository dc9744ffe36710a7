// handle-renewal over 10,000 deployments of one certificate. How long it takes is measured in virtual time: so many
// calls of 20 ms, so many at once. What it needs of the machine is measured on the built function, in a process of its
// own with the real AWS SDK, against a local cloud over HTTP.
import { spawn } from 'node:child_process';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { quotas } from 'local-cloud';
import { type FleetPlan, fillInventory, planFleet } from './fleet.ts';
import type { Invocation } from './invoke.ts';
import type { Table } from './report.ts';
import { LATENCY_MS, realWorld, renewalEvent, seeded, virtualWorld, type World } from './world.ts';

const PLAN: FleetPlan = {
  deployments: 10_000,
  certificates: 1,
  accounts: 20,
  tagsPerAccount: 500,
  nodesPerDeployment: 1,
};
const START_EXECUTION = 'AWSStepFunctions.StartExecution';
const { burst = Number.NaN, perSecond = Number.NaN } = quotas[START_EXECUTION] ?? {};

/** V8 collects garbage late where it has room: it gets half of 256 MB for its heap. */
const HALF_OF_256_MB = ['--max-old-space-size=128', '--max-semi-space-size=4'];

const root = path.dirname(import.meta.dirname);

/** Two events for the same renewal, which has just been made. */
async function renewed({ cloud }: World, arn: string) {
  await cloud.services.acm.renew(arn);
  const at = cloud.clock.now();
  return {
    first: renewalEvent(arn, '5ec5f1d2-0a3b-4d2e-9c6a-000000000001', at),
    second: renewalEvent(arn, '5ec5f1d2-0a3b-4d2e-9c6a-000000000002', at),
  };
}

/** Deployments with one execution, and with more. */
function executionsOf({ cloud }: World): { once: number; more: number } {
  const executions = cloud.services.stepFunctions
    .executions()
    // Not those of certificates that were issued.
    .filter(({ arn }) => arn.includes(':acm-export-certificate-rollout:'));
  const counts = [...Map.groupBy(executions, ({ name }) => name.slice(0, 24)).values()].map(
    (all) => all.length,
  );
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

/** The composed function in virtual time: one event, and a second one for the same renewal two minutes later. */
async function inVirtualTime(hasQuotas: boolean, faultShare: number): Promise<Run> {
  const random = seeded(1);
  const world = await virtualWorld(random, { quotas: hasQuotas, holdsExecutions: true });
  const { cloud, clock } = world;
  const fleet = await planFleet(world, PLAN);
  await world.run(() => fillInventory(world, fleet));
  const { first, second } = await renewed(world, fleet.certificateArns[0] as string);
  cloud.record.clear();
  cloud.faults.share(faultShare, random, ({ source }) => source.startsWith('function '));
  const start = clock.elapsed();
  await world.run(async () => cloud.services.events.deliver(first));
  const seconds = (clock.elapsed() - start) / 1000;
  await world.run(async () => {
    await clock.sleep(120_000);
    cloud.services.events.deliver(second);
  });
  const starts = cloud.record.counts.get(START_EXECUTION);
  await cloud.stop();
  return {
    ...executionsOf(world),
    seconds,
    calls: [...cloud.record.counts.values()].reduce((sum, { calls }) => sum + calls, 0),
    perStart: starts ? starts.calls / starts.answered : Number.NaN,
  };
}

/** Runs the built function on one event, with the environment and the role that the template gives it. */
async function invoke({ cloud, stack, functions }: World, event: object): Promise<Invocation> {
  const { MemorySize, FunctionName } = stack.resources.get('HandleRenewalFunction')?.properties ?? {};
  const { accessKeyId, secretAccessKey, sessionToken = '' } = functions.credentials('handle-renewal');
  const program = path.join(import.meta.dirname, 'invoke.ts');
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
        AWS_ACCESS_KEY_ID: accessKeyId,
        AWS_SECRET_ACCESS_KEY: secretAccessKey,
        AWS_SESSION_TOKEN: sessionToken,
        AWS_ENDPOINT_URL: cloud.endpoint,
        ...functions.environment('handle-renewal'),
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
  const world = await realWorld();
  try {
    const fleet = await planFleet(world, PLAN);
    await fillInventory(world, fleet);
    const events = await renewed(world, fleet.certificateArns[0] as string);
    const first = await invoke(world, events.first);
    const second = await invoke(world, events.second);
    return { first, second, ...executionsOf(world) };
  } finally {
    await world.cloud.stop();
  }
}

export async function measureRenewal(): Promise<Table[]> {
  const floor = (PLAN.deployments - burst) / perSecond;
  const free = await inVirtualTime(false, 0);
  const limited = await inVirtualTime(true, 0);
  const faulty = await inVirtualTime(true, 0.01);
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
