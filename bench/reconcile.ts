// What a sweep of reconcile costs when all is well: the shipped code in virtual time, over a fleet whose every node
// serves the current version.
import '../tests/functions/support/quiet.ts';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { ACMClient } from '@aws-sdk/client-acm';
import type { SFNClient } from '@aws-sdk/client-sfn';
import { SSMClient } from '@aws-sdk/client-ssm';
import type { STSClient } from '@aws-sdk/client-sts';
import type { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { type ReconcileDeps, reconcile } from '../functions/reconcile/reconcile.ts';
import { PATIENT } from '../functions/shared/clients.ts';
import { Inventory } from '../functions/shared/inventory.ts';
import { targetAccounts } from '../functions/shared/target-account.ts';
import { FakeAcm } from '../tests/functions/support/fake-acm.ts';
import { FakeStepFunctions } from '../tests/functions/support/fake-step-functions.ts';
import { FakeSts } from '../tests/functions/support/fake-sts.ts';
import { FakeSecretsManager, FakeSsm } from '../tests/functions/support/fake-target.ts';
import { Apis, type Count, SDK_ATTEMPTS, seeded } from './model/apis.ts';
import {
  CENTRAL,
  type FleetPlan,
  healthyFleet,
  propertiesOf,
  STATE_MACHINE_ARN,
  tableOf,
} from './model/fleet.ts';
import type { Table as DynamoDbTable } from './model/table.ts';
import { VirtualTime } from './model/virtual-time.ts';
import type { Table } from './report.ts';

const LATENCY_MS = 20;
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

/** A table whose answers are the caller's own, so that what it keeps of them counts. */
function copying(table: DynamoDbTable): object {
  const Query = (input: object) => structuredClone(table.Query(input));
  return { Query };
}

interface Sweep {
  pass: Awaited<ReturnType<typeof reconcile>>;
  counts: Map<string, Count>;
  seconds: number;
  /** At most, above what the model itself holds. */
  heldMB: number;
}

async function sweep(task: 'nodes' | 'certificates', plan: FleetPlan): Promise<Sweep> {
  const time = new VirtualTime();
  const random = seeded(1);
  const apis = new Apis(time, { latencyMs: LATENCY_MS, faultShare: 0, random });
  const acm = new FakeAcm();
  const table = tableOf('InventoryTable');
  const fleet = await healthyFleet(plan, table, acm);
  const ssm = new Map<string, FakeSsm>();
  for (const [account, tags] of fleet.nodes) {
    const own = new FakeSsm(new FakeSecretsManager());
    ssm.set(account, own);
    for (const [tag, ids] of tags) {
      for (const id of ids) {
        own.addNode(id, { tags: { 'acm-export': tag } });
      }
    }
  }
  fleet.deployments.length = 0;
  const dynamodb = apis.client<DynamoDBDocumentClient>('dynamodb', copying(table), CENTRAL, SDK_ATTEMPTS);
  const openSession = targetAccounts({
    sts: apis.client<STSClient>('sts', new FakeSts(), CENTRAL, SDK_ATTEMPTS),
    prefix: 'acm-export',
    partition: 'aws',
    externalId: 'only-for-these-tests',
    functionName: 'reconcile',
  });
  const deps: ReconcileDeps = {
    inventory: new Inventory(dynamodb, 'inventory', time.date),
    sfn: apis.client<SFNClient>('states', new FakeStepFunctions(), CENTRAL, SDK_ATTEMPTS),
    acm: apis.client<ACMClient>('acm', acm, CENTRAL, PATIENT.maxAttempts, ACMClient.prototype),
    connectTarget: async (target, statements) => {
      await openSession(target, statements);
      const { TargetAccount: account } = target;
      return {
        ssm: apis.client<SSMClient>(
          'ssm',
          ssm.get(account) as FakeSsm,
          account,
          SDK_ATTEMPTS,
          SSMClient.prototype,
        ),
      };
    },
    stateMachineArn: STATE_MACHINE_ARN,
    rolloutsEnabled: true,
    now: time.date,
    sleep: time.sleep,
    nodeRetentionDays: 7,
    correlationId: 'sweep',
    notifyOnce: async () => {},
  };
  const before = inUse();
  let held = 0;
  const start = time.now;
  let end = start;
  const pass = await time.run(random, async () => {
    const work = reconcile(task, deps).finally(() => {
      end = time.now;
    });
    for (let look = 1; look <= LOOKS && end === start; look += 1) {
      // Often at first, when the fleet is read, then less often.
      await time.sleep(500 * look);
      held = Math.max(held, inUse() - before);
    }
    return work;
  });
  return { pass, counts: apis.counts, seconds: (end - start) / 1000, heldMB: held };
}

export async function measureReconcile(): Promise<Table[]> {
  const { Timeout, MemorySize } = propertiesOf('ReconcileFunction');
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
        ...apis,
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
