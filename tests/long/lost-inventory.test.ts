import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { BatchWriteCommand, DynamoDBDocumentClient, paginateScan } from '@aws-sdk/lib-dynamodb';
import { expect, test } from '@jest/globals';
import type { CloudNode } from 'local-cloud';
import { CENTRAL, deployFleet, type Fleet, requestCertificate } from '../../local/example-fleet.ts';
import { call, deploy, deploymentOf, order, pass, plainNode, testFleet } from '../end-to-end/test-fleet.ts';

// What the inventory knows and what nodes remember part: all is INSTALLED again within two sweeps, and nobody touches a
// server. docs/operations.md has it as a drill.

const fleet = testFleet();

type Item = Record<string, unknown> & { DeploymentId: string; Item: string };

/** The inventory as its owner reaches it: read, and replaced where that is asked for. */
function inventory({ cloud, central }: Fleet) {
  const administrator = cloud.createUser(central.account, 'administrator', [
    { Statement: { Effect: 'Allow', Action: '*', Resource: '*' } },
  ]);
  const documents = DynamoDBDocumentClient.from(
    new DynamoDBClient(cloud.clientConfig(administrator, central.region)),
  );
  const { physicalId: TableName, arn = '' } = central.resource('InventoryTable');
  const items = async () => {
    const pages = await Array.fromAsync(
      paginateScan({ client: documents }, { TableName, ConsistentRead: true }),
    );
    return pages.flatMap(({ Items = [] }) => Items as Item[]);
  };
  return {
    items,
    replace: async (kept: Item[]) => {
      // Seconds number the rollouts of a deployment that the table does not know: a loss within the second in which the
      // last one began would give its number again.
      cloud.clock.advance(1000);
      cloud.services.dynamoDb.clear(arn);
      for (const Item of kept) {
        await documents.send(
          new BatchWriteCommand({ RequestItems: { [TableName]: [{ PutRequest: { Item } }] } }),
        );
      }
    },
  };
}

/** A deployment that is INSTALLED on a node, whose memory is real. */
async function installed(name: string, of = fleet()) {
  const arn = await requestCertificate(of, name, [`${name}.example.com`]);
  const node = await plainNode(of, name);
  const body = order(arn, name);
  const { deployment } = await deploy(of, name, body);
  expect(deployment).toMatchObject({ Status: 'INSTALLED' });
  return { arn, node, body, id: deployment.DeploymentId as string, deployment };
}

/** Two sweeps over nodes, of which the last one is also that over certificates. */
const twoSweeps = (of = fleet()) => pass(of, 5, 60);

async function expectInstalled(name: string, id: string, node: CloudNode, Serial: string, of = fleet()) {
  const deployment = await deploymentOf(of, name, id);
  expect(deployment).toMatchObject({ Status: 'INSTALLED', Serial });
  expect(deployment.Nodes).toMatchObject([
    { NodeId: node.id, Outcome: expect.stringMatching(/^(installed|unchanged)$/), Serial },
  ]);
}

/** And the renewal after that comes through as well. */
async function renews(name: string, arn: string, id: string, node: CloudNode, of = fleet()) {
  const { Serial: before } = await deploymentOf(of, name, id);
  await of.cloud.services.acm.renew(arn);
  await of.cloud.idle();
  const { Serial } = await deploymentOf(of, name, id);
  expect(Serial).not.toBe(before);
  await expectInstalled(name, id, node, Serial, of);
}

test('the table is empty: the same POST restores all', async () => {
  const { arn, node, body, id, deployment } = await installed('emptied');
  await inventory(fleet()).replace([]);
  expect((await call(fleet(), 'GET', `/certificates/emptied/deployments/${id}`)).status).toBe(404);
  const { started } = await deploy(fleet(), 'emptied', body);
  expect(started.DeploymentId).toBe(id);
  await expectInstalled('emptied', id, node, deployment.Serial);
  await renews('emptied', arn, id, node);
});

test.each<[string, (item: Item) => boolean]>([
  ['records of nodes', ({ Item }) => !Item.startsWith('node#')],
  ['looks', ({ Item }) => !['ec2', 'hybrid'].includes(Item)],
])('only the %s are lost: nobody has to do anything', async (what, isKept) => {
  const name = what.replace(/\W/g, '');
  const { arn, node, id, deployment } = await installed(name);
  await pass(fleet(), 60, 5);
  const { items, replace } = inventory(fleet());
  await replace((await items()).filter(isKept));
  await twoSweeps();
  await expectInstalled(name, id, node, deployment.Serial);
  await renews(name, arn, id, node);
});

test('only the deployment is lost, and the records of its nodes stay: the same POST restores it', async () => {
  const { arn, node, body, id, deployment } = await installed('orphans');
  const { items, replace } = inventory(fleet());
  await replace(
    (await items()).filter(({ DeploymentId, Item }) => DeploymentId !== id || Item !== 'deployment'),
  );
  await deploy(fleet(), 'orphans', body);
  await expectInstalled('orphans', id, node, deployment.Serial);
  await renews('orphans', arn, id, node);
});

test.each<[string, string, string, (path: string) => Promise<unknown>]>([
  ['before a renewal', 'restored', 'INSTALLED', async () => undefined],
  ['in the midst of a rollout', 'midst', 'ROLLING_OUT', (path) => call(fleet(), 'POST', `${path}/rollouts`)],
])(
  'the table is that of three days ago, %s: nodes have seen later rollouts',
  async (_, name, Status, begin) => {
    const { node, arn, id } = await installed(name);
    const { items, replace } = inventory(fleet());
    await begin(`/certificates/${name}/deployments/${id}`);
    const before = await items();
    await fleet().cloud.idle();
    await renews(name, arn, id, node);
    const { Serial, RolloutNumber } = await deploymentOf(fleet(), name, id);
    const DAYS = 3 * 86_400;
    const older = (text: string) =>
      new Date(Date.parse(text) - DAYS * 1000).toISOString().replace('.000Z', 'Z');
    const backup = JSON.parse(JSON.stringify(before), (key, value) =>
      ['RolloutNumber', 'CanaryAt'].includes(key)
        ? value - DAYS
        : /At$|Since$/.test(key)
          ? older(value)
          : value,
    );
    await replace(backup);
    const asItWas = await deploymentOf(fleet(), name, id);
    expect(asItWas.RolloutNumber).toBeLessThan(RolloutNumber - DAYS / 2);
    expect(asItWas).toMatchObject({ Status, Serial: expect.not.stringContaining(Serial) });
    await twoSweeps();
    await expectInstalled(name, id, node, Serial);
    await renews(name, arn, id, node);
  },
);

test('the stacks have another prefix: nodes hold records of the old one', async () => {
  const { cloud } = fleet();
  const { node, arn, body, id, deployment } = await installed('moved');
  await inventory(fleet()).replace([]);
  const Prefix = 'another';
  const stacks = { central: { parameters: { Prefix } }, member: { parameters: { Prefix } } };
  const known = new Set(cloud.services.identities.managedPolicyArns());
  const moved = await deployFleet(cloud, stacks);
  // As the operator of the account attaches the policy of the new member stack to the role of the nodes.
  const added = new Set(cloud.services.identities.managedPolicyArns()).difference(known);
  const own = [...added].filter((policy) => policy.includes(CENTRAL.account));
  cloud.services.identities.role(node.roleArn)?.managedPolicyArns.push(...own);
  await deploy(moved, 'moved', body);
  await expectInstalled('moved', id, node, deployment.Serial, moved);
  await renews('moved', arn, id, node, moved);
});

test('a node of an image that was baked on one of another deployment is taken over where a person says so', async () => {
  const { node, body, id: other } = await installed('imaged');
  const [tag, clone] = [{ 'acm-export': 'clone' }, { ...body, TargetTagValue: 'clone' }];
  node.setTags(tag);
  node.setRoleTags(tag);
  const refused = await deploy(fleet(), 'imaged', clone);
  const { DeploymentId: id } = refused.deployment;
  expect(refused.deployment).toMatchObject({
    Status: 'FAILED',
    Nodes: [
      { NodeId: node.id, Outcome: 'refused', ExitCode: 31, Error: expect.stringContaining('TakeOver') },
    ],
  });
  expect(fleet().cloud.services.sns.messages.at(-1)?.message).toMatch(
    new RegExp(`${node.id}: imaged belongs to deployment ${other} here.*TakeOver`),
  );
  const { deployment } = await deploy(fleet(), 'imaged', { ...clone, TakeOver: true });
  await expectInstalled('imaged', id, node, deployment.Serial);
  await twoSweeps();
  await renews('imaged', body.CertificateArn, id, node);
});

// Last: it takes the member stacks away from the central stack of the tests above.
test('another account is the central one: nodes hold records of the old one', async () => {
  const { cloud, members } = fleet();
  const { node, id } = await installed('handed');
  const account = '777788889999';
  for (const { deployed } of members) {
    for (const { type, arn = '' } of deployed.resources.values()) {
      if (type === 'AWS::IAM::Role') cloud.services.identities.deleteRole(arn);
    }
  }
  const parameters = { ExternalId: 'external-id-of-the-new-account' };
  const of = await deployFleet(cloud, { central: { account, parameters }, member: { parameters } });
  const arn = await requestCertificate(of, 'handed', ['handed.example.com']);
  const target = { TargetAccount: CENTRAL.account, TargetRegion: CENTRAL.region };
  const { deployment, started } = await deploy(of, 'handed', order(arn, 'handed', target));
  expect(started.DeploymentId).toBe(id);
  await expectInstalled('handed', id, node, deployment.Serial, of);
  await renews('handed', arn, id, node, of);
});
