// What a look at the whole fleet costs: the shipped code in virtual time, one sweep that sends and the next one that reads.
import type { Context } from 'aws-lambda';
import type { Count } from 'local-cloud';
import type { Deployment } from '../functions/domain/deployment.ts';
import type { Pass } from '../functions/reconcile/pass.ts';
import { addNodes, type FleetPlan, fillInventory, planFleet } from './fleet.ts';
import { apiName, type Table } from './report.ts';
import { LATENCY_MS, seeded, virtualWorld } from './world.ts';

const CONTEXT = { awsRequestId: 'sweep', getRemainingTimeInMillis: () => 900_000 } as Context;
/** 10,000 nodes with three certificates each: 100 tags of five nodes in each of 20 accounts. */
const FLEET: FleetPlan = {
  deployments: 6000,
  certificates: 200,
  accounts: 20,
  tagsPerAccount: 100,
  nodesPerDeployment: 5,
};
const NODES = 10_000;
/** How long a node takes for a look, three ports asked. */
const LOOK_MS = 2000;
/** One in so many nodes holds an older version of its certificates. */
const ONE_IN = 100;
const SWEEP_MS = 5 * 60_000;

interface Round {
  passes: Pass[];
  counts: Map<string, Count>;
  seconds: number[];
}

async function round(drifted: number): Promise<Round> {
  const random = seeded(1);
  const world = await virtualWorld(random, { holdsExecutions: true });
  const { cloud, clock, functions } = world;
  const fleet = await planFleet(world, FLEET);
  const nodes = await addNodes(world, fleet, () => clock.sleep(LOOK_MS));
  await world.run(() => fillInventory(world, fleet));
  const held = Map.groupBy(fleet.deployments, (d) => `${d.TargetAccount}/${d.TargetTagValue}`);
  let number = 0;
  for (const [account, tags] of fleet.nodes) {
    for (const [tag, ids] of tags) {
      const own = held.get(`${account}/${tag}`) ?? [];
      for (const id of ids) {
        const isOlder = number % ONE_IN < drifted;
        const stdout = lookOf(own, isOlder);
        Object.assign(nodes.get(id) as object, { saysOnLook: () => ({ stdout, exitCode: 0 }) });
        number += 1;
      }
    }
  }
  cloud.record.clear();
  const functionClock = { now: clock.now, sleep: (ms: number) => clock.sleep(ms), random };
  const reconcile = functions.compose('reconcile', functionClock);
  const passes: Pass[] = [];
  const seconds: number[] = [];
  for (let sweep = 0; sweep < 2; sweep += 1) {
    await world.run(async () => {
      const start = clock.elapsed();
      passes.push(await reconcile({ Task: 'nodes' }, CONTEXT));
      seconds.push((clock.elapsed() - start) / 1000);
      await clock.sleep(SWEEP_MS - (clock.elapsed() - start));
    });
  }
  await cloud.stop();
  return { passes, counts: cloud.record.counts, seconds };
}

/** What the look script prints on a node. */
function lookOf(deployments: readonly Deployment[], isOlder: boolean): string {
  const lines = deployments.map(({ CertName, DeploymentId, Serial = '', NotAfter }) => {
    const serial = isOlder ? '0a' : Serial;
    return ['certificate', CertName, DeploymentId, 1, serial, NotAfter, 'ok', `443=${serial}=${NotAfter}`];
  });
  return [...lines, ['end', lines.length, 0]].map((fields) => `${fields.join('\t')}\n`).join('');
}

/** Calls that write one item of the inventory. */
const WRITES = ['DynamoDB_20120810.UpdateItem', 'DynamoDB_20120810.PutItem'];

export async function measureLook(): Promise<Table[]> {
  const rounds = [
    { name: 'healthy', ...(await round(0)) },
    { name: `one node in ${ONE_IN} holds an older version`, ...(await round(1)) },
  ];
  const apis = [...new Set(rounds.flatMap(({ counts }) => [...counts.keys()]))];
  return [
    {
      title: `One look at ${NODES} nodes with three certificates each in ${FLEET.accounts} accounts, ${LATENCY_MS} ms a call, ${LOOK_MS / 1000} s on a node (virtual time), in two sweeps`,
      columns: [
        'fleet',
        'found',
        'healings begun',
        'errors',
        'written items an account',
        'sweep that sends, s',
        'sweep that reads, s',
        ...apis.map(apiName),
      ],
      rows: rounds.map(({ name, passes, counts, seconds }) => {
        const sum = (field: 'Drifted' | 'Started' | 'Errors') =>
          String(passes.reduce((total, pass) => total + pass[field], 0));
        const writes = WRITES.reduce((total, write) => total + (counts.get(write)?.calls ?? 0), 0);
        return [
          name,
          sum('Drifted'),
          sum('Started'),
          sum('Errors'),
          (writes / FLEET.accounts).toFixed(1),
          ...seconds.map((time) => time.toFixed(0)),
          ...apis.map((api) => String(counts.get(api)?.calls ?? 0)),
        ];
      }),
    },
  ];
}
