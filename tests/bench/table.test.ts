import type { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Apis, seeded } from '../../bench/model/apis.ts';
import { tableOf } from '../../bench/model/fleet.ts';
import { VirtualTime } from '../../bench/model/virtual-time.ts';
import { type Deployment, deploymentIdOf, type Order } from '../../functions/shared/deployment.ts';
import { Inventory } from '../../functions/shared/inventory.ts';
import { type Database, startDatabase } from '../functions/support/inventory-table.ts';

let database: Database;
beforeAll(async () => {
  database = await startDatabase();
});
afterAll(() => database.stop());

const random = seeded(1);
const oneOf = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T;

const ARNS = ['a', 'b'].map((id) => `arn:aws:acm:eu-central-1:111122223333:certificate/${id}`);
const ORDERS = ['1', '2', '3'].map(
  (TargetTagValue): Order => ({
    TargetAccount: '444455556666',
    TargetRegion: 'eu-central-1',
    TargetTagKey: 'acm-export',
    TargetTagValue,
    CertName: 'web',
    CertificateArn: ARNS[0] as string,
    Options: {
      ReloadServices: [],
      RestartServices: [],
      VerifyPort: 0,
      KeyFormat: 'decrypted',
      ExtraFormats: [],
    },
    MaxConcurrency: '50',
    MaxErrors: '0',
  }),
);

const idOf = ({ DeploymentId }: Deployment) => DeploymentId;
/** As it goes over the wire: without undefined members. */
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value ?? null));

type Step = (inventory: Inventory, order: Order, id: string, deployment: Deployment | undefined) => unknown;

/** One step of everything that the functions do to the inventory, with choices made before it runs twice. */
function anyStep(): Step {
  const CertificateArn = oneOf(ARNS);
  const Serial = oneOf(['aa', 'bb']);
  const rollout = {
    CertificateArn,
    Serial,
    Cause: oneOf(['REQUEST', 'RENEWAL'] as const),
    CorrelationId: 'c',
  };
  const isMissing = random() < 0.5;
  const number = 1 + Math.floor(random() * 4);
  const NotAfter = oneOf(['2027-01-01T00:00:00Z', '2027-06-01T00:00:00Z']);
  const Status = oneOf(['INSTALLED', 'FAILED', 'WAITING'] as const);
  const Outcome = oneOf(['installed', 'failed', 'offline'] as const);
  const nodes = ['i-1', 'i-2', 'i-3'].map((NodeId) => ({ NodeId, Outcome, Serial, VersionId: Serial }));
  const known =
    (step: (inventory: Inventory, deployment: Deployment) => unknown): Step =>
    (inventory, _order, _id, deployment) =>
      deployment && step(inventory, deployment);
  return oneOf<Step>([
    (inventory, order, id) =>
      inventory.register(id, { ...order, CertificateArn }, rollout, NotAfter, () => true),
    (inventory, order, id) => inventory.claimDryRun(id, order, { ...rollout, Cause: 'DRY_RUN' }, NotAfter),
    known((inventory, deployment) => inventory.claim(deployment, rollout, new Date('2026-11-24T01:00:00Z'))),
    known((inventory, deployment) => inventory.queue(deployment, rollout)),
    known((inventory, deployment) =>
      inventory.note(deployment.DeploymentId, number, { StartedAt: '2026-11-24T00:00:00Z' }),
    ),
    known((inventory, deployment) =>
      inventory.finish(deployment, deployment.RolloutNumber, {
        Status,
        ExecutionArn: 'arn',
        Exported: { Serial, VersionId: Serial, NotAfter },
        Served: Status === 'INSTALLED',
      }),
    ),
    (inventory, _order, id) => inventory.recordNodes(id, number, nodes.slice(0, number)),
    (inventory, _order, id) => inventory.noteMissing(id, ['i-1', 'i-9'], isMissing),
    (inventory, _order, id) => inventory.dropNodes(id, ['i-2']),
    known((inventory, deployment) => inventory.settle(deployment, 'INSTALLED')),
    (inventory, _order, id) => (number === 1 ? inventory.markDeleting(id) : undefined),
    known((inventory, deployment) => inventory.remove(deployment)),
    known((inventory, deployment) => inventory.unqueue(deployment)),
    (inventory, _order, id) => (number === 1 ? inventory.pause(id) : inventory.resume(id)),
    (inventory) => inventory.reserve('exports', number * 1000),
    (inventory) => inventory.fleet({ CertificateArn }, 2),
    // In which order an index has what expires at the same time is not said.
    async (inventory) => (await Array.fromAsync(inventory.all({ Status }))).map(idOf).sort(),
    async (inventory) => {
      const filter = { TargetAccount: '444455556666', NotAfterAtMost: NotAfter };
      return (await Array.fromAsync(inventory.all(filter))).map(idOf).sort();
    },
    (inventory, _order, id) => inventory.nodes(id, 2),
  ]);
}

test('the table of the measurements answers as DynamoDB does, whatever the functions do to it', async () => {
  const time = new VirtualTime();
  const apis = new Apis(time, { latencyMs: 0, faultShare: 0, random });
  const model = apis.client<DynamoDBDocumentClient>('dynamodb', tableOf('InventoryTable'), 'here', 1);
  const now = () => new Date('2026-11-24T00:00:00Z');
  const real = new Inventory(database.client, await database.createTable(), now);
  const modelled = new Inventory(model, 'inventory', now);
  const changed = new Set<string>();
  for (let round = 0; round < 1500; round += 1) {
    const order = oneOf(ORDERS);
    const id = deploymentIdOf(order, order.CertName);
    const step = anyStep();
    const run = async (inventory: Inventory) => step(inventory, order, id, await inventory.get(id));
    const expected = await run(real);
    const answer = await time.run(random, () => run(modelled));
    expect(plain(answer)).toEqual(plain(expected));
    const after = plain(await real.get(id));
    expect(plain(await time.run(random, () => modelled.get(id)))).toEqual(after);
    changed.add(JSON.stringify(after));
  }
  expect(changed.size).toBeGreaterThan(100);
});
