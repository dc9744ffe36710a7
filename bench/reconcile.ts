// What a sweep of reconcile costs when all is well: the shipped code in virtual time, over a fleet whose every node
// serves the current version.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import type { Context } from 'aws-lambda';
import type { Count } from 'local-cloud';
import type { Pass } from '../functions/reconcile/pass.ts';
import { addNodes, type FleetPlan, fillInventory, planFleet, storeBundles } from './fleet.ts';
import { apiName, type Table } from './report.ts';
import { centralStack, LATENCY_MS, seeded, virtualWorld } from './world.ts';

const CONTEXT = { awsRequestId: 'sweep', getRemainingTimeInMillis: () => 900_000 } as Context;
/** Looks at the memory during a sweep. */
const LOOKS = 20;
const MB = 2 ** 20;

const FLEET = { deployments: 10_000, certificates: 200, accounts: 20, nodesPerDeployment: 2 };
const SWEEPS: { name: string; task: 'nodes' | 'certificates'; plan: FleetPlan; every: string }[] = [
  {
    name: 'nodes, five deployments a tag',
    task: 'nodes',
    plan: { ...FLEET, tagsPerAccount: 100 },
    every: '5 minutes',
  },
  {
    name: 'nodes, each deployment a tag of its own',
    task: 'nodes',
    plan: { ...FLEET, tagsPerAccount: 500 },
    every: '5 minutes',
  },
  { name: 'certificates', task: 'certificates', plan: { ...FLEET, tagsPerAccount: 100 }, every: 'hour' },
];

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** Megabytes of what is in use now. */
function inUse(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed / MB;
}

/** A client whose answers are the caller's own, down to the strings, so that what it keeps of them counts. */
function copying(client: DynamoDBDocumentClient): DynamoDBDocumentClient {
  const send = async (command: never) => structuredClone(await client.send(command));
  return Object.assign(Object.create(client), { send });
}

interface Sweep {
  pass: Pass;
  counts: Map<string, Count>;
  seconds: number;
  /** At most, above what the cloud itself holds. */
  heldMB: number;
}

async function sweep(task: 'nodes' | 'certificates', plan: FleetPlan): Promise<Sweep> {
  const random = seeded(1);
  const world = await virtualWorld(random);
  const { cloud, clock, functions } = world;
  const fleet = await planFleet(world, plan);
  await addNodes(world, fleet);
  cloud.setQuotas(false);
  await world.run(async () => {
    await fillInventory(world, fleet);
    await storeBundles(world, fleet);
  });
  cloud.setQuotas(true);
  fleet.deployments.length = 0;
  cloud.record.clear();
  const clients = functions.clients('reconcile');
  const functionClock = { now: clock.now, sleep: (ms: number) => clock.sleep(ms), random };
  const reconcile = functions.compose('reconcile', functionClock, {
    clients: { ...clients, documents: (config) => copying(clients.documents(config)) },
  });
  const before = inUse();
  let held = 0;
  const start = clock.elapsed();
  let end = start;
  const pass = await world.run(async () => {
    const work = reconcile({ Task: task }, CONTEXT).finally(() => {
      end = clock.elapsed();
    });
    for (let look = 1; look <= LOOKS && end === start; look += 1) {
      // Often at first, when the fleet is read, then less often.
      await clock.sleep(500 * look);
      held = Math.max(held, inUse() - before);
    }
    return work;
  });
  await cloud.stop();
  return { pass, counts: cloud.record.counts, seconds: (end - start) / 1000, heldMB: held };
}

export async function measureReconcile(): Promise<Table[]> {
  const { Timeout, MemorySize } = centralStack().resources.get('ReconcileFunction')?.properties ?? {};
  const sweeps: (Sweep & { name: string; every: string })[] = [];
  for (const { name, task, plan, every } of SWEEPS) {
    sweeps.push({ name, every, ...(await sweep(task, plan)) });
  }
  const apis = [...new Set(sweeps.flatMap(({ counts }) => [...counts.keys()]))];
  return [
    {
      title: `A sweep over ${FLEET.deployments} healthy deployments of ${FLEET.certificates} certificates in ${FLEET.accounts} accounts, ${LATENCY_MS} ms a call (virtual time)`,
      columns: [
        'sweep',
        'every',
        'started',
        'errors',
        'calls per deployment',
        's',
        'at most, s',
        'MB in use',
        'at most, MB',
        ...apis.map(apiName),
      ],
      rows: sweeps.map(({ name, every, pass, counts, seconds, heldMB }) => {
        const calls = [...counts.values()].reduce((sum, count) => sum + count.calls, 0);
        return [
          name,
          every,
          String(pass.Started + pass.Repaired),
          String(pass.Errors),
          (calls / FLEET.deployments).toFixed(2),
          seconds.toFixed(0),
          String(Timeout),
          heldMB.toFixed(0),
          String(MemorySize),
          ...apis.map((api) => String(counts.get(api)?.calls ?? 0)),
        ];
      }),
    },
  ];
}
