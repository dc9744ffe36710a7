import {
  DeleteItemCommand,
  DynamoDBClient,
  GetItemCommand,
  PutItemCommand,
  QueryCommand,
  ScanCommand,
} from '@aws-sdk/client-dynamodb';
import { GetRoleCommand, IAMClient } from '@aws-sdk/client-iam';
import {
  CreateSecretCommand,
  DescribeSecretCommand,
  GetSecretValueCommand,
  PutResourcePolicyCommand,
  SecretsManagerClient,
  TagResourceCommand,
} from '@aws-sdk/client-secrets-manager';
import {
  DescribeInstanceInformationCommand,
  ListCommandInvocationsCommand,
  SendCommandCommand,
  SSMClient,
} from '@aws-sdk/client-ssm';
import { AssumeRoleCommand, STSClient } from '@aws-sdk/client-sts';
import { afterEach, describe, expect, test } from '@jest/globals';
import {
  type ClientClass,
  type Cloud,
  createCloud,
  DELAYS,
  type Identity,
  type PolicyDocument,
  VirtualClock,
  type WorldOptions,
} from '../../src/index.ts';
import { ACCOUNT, allow, REGION } from './test-cloud.ts';

let cloud: Cloud;
let clock: VirtualClock;
afterEach(() => cloud.stop());

const SECOND = 1000;
const TABLE = {
  TableName: 'orders',
  AttributeDefinitions: [
    { AttributeName: 'Id', AttributeType: 'S' },
    { AttributeName: 'State', AttributeType: 'S' },
  ],
  KeySchema: [{ AttributeName: 'Id', KeyType: 'HASH' }],
  GlobalSecondaryIndexes: [
    {
      IndexName: 'ByState',
      KeySchema: [{ AttributeName: 'State', KeyType: 'HASH' }],
      Projection: { ProjectionType: 'ALL' },
    },
  ],
};
const trusting: PolicyDocument = {
  Version: '2012-10-17',
  Statement: [
    {
      Effect: 'Allow',
      Principal: { AWS: `arn:aws:iam::${ACCOUNT}:root` },
      Action: ['sts:AssumeRole', 'sts:TagSession'],
    },
  ],
};
const allowWhere = (Action: string, equals: Record<string, string>): PolicyDocument => ({
  Statement: { Effect: 'Allow', Action, Resource: '*', Condition: { StringEquals: equals } },
});

/** A cloud that has been called before, and an administrator's clients. */
async function start(delays: WorldOptions['delays']) {
  clock = new VirtualClock();
  cloud = await createCloud({ clock, ...(delays ? { delays } : {}) });
  cloud.services.dynamoDb.createTable(ACCOUNT, REGION, TABLE);
  const clients = { ...clientsOf(cloud.createUser(ACCOUNT, 'administrator', [allow('*')])) };
  await clients.ssm.send(new DescribeInstanceInformationCommand({}));
  return clients;
}

function clientsOf({ credentials }: Pick<Identity, 'credentials'>) {
  const client = <T>(type: ClientClass<T>) =>
    cloud.client(type, { region: REGION, credentials, maxAttempts: 1 });
  return {
    dynamodb: client(DynamoDBClient),
    iam: client(IAMClient),
    secrets: client(SecretsManagerClient),
    ssm: client(SSMClient),
    sts: client(STSClient),
  };
}

type Clients = ReturnType<typeof clientsOf>;

/** Whether a call is allowed. */
const isAllowed = (call: Promise<unknown>) =>
  call.then(
    () => true,
    (error: Error) => {
      expect(error.name).toMatch(/^AccessDenied/);
      return false;
    },
  );

const listed = async ({ ssm }: Clients, ...filters: { Key: string; Values: string[] }[]) => {
  const { InstanceInformationList = [] } = await ssm.send(
    new DescribeInstanceInformationCommand({ Filters: filters }),
  );
  return Object.fromEntries(
    InstanceInformationList.map(({ InstanceId, PingStatus }) => [InstanceId, PingStatus]),
  );
};
const tagged = (value: string) => ({ Key: 'tag:web', Values: [value] });
const addNode = (id: `i-${string}`, tags: Record<string, string> = {}) =>
  cloud.createNode(ACCOUNT, REGION, { id, tags, agent: () => ({ stdout: '', exitCode: 0 }) });

function createDocument(): void {
  cloud.services.ssmDocuments.create(ACCOUNT, REGION, {
    name: 'try',
    type: 'Command',
    content: {
      schemaVersion: '2.2',
      mainSteps: [{ action: 'aws:runShellScript', name: 'a', inputs: { runCommand: ['true'] } }],
    },
  });
}

describe('indexes', () => {
  const byState = async ({ dynamodb }: Clients, state: string) => {
    const { Items = [] } = await dynamodb.send(
      new QueryCommand({
        TableName: 'orders',
        IndexName: 'ByState',
        KeyConditionExpression: '#State = :state',
        ExpressionAttributeNames: { '#State': 'State' },
        ExpressionAttributeValues: { ':state': { S: state } },
      }),
    );
    return Items.map(({ Id }) => Id?.S);
  };
  const put = ({ dynamodb }: Clients, id: string, state: string) =>
    dynamodb.send(new PutItemCommand({ TableName: 'orders', Item: { Id: { S: id }, State: { S: state } } }));
  const get = async ({ dynamodb }: Clients, id: string, ConsistentRead: boolean) => {
    const input = { TableName: 'orders', Key: { Id: { S: id } }, ConsistentRead };
    return (await dynamodb.send(new GetItemCommand(input))).Item?.State?.S;
  };
  const scan = async ({ dynamodb }: Clients, ConsistentRead: boolean) =>
    (await dynamodb.send(new ScanCommand({ TableName: 'orders', ConsistentRead }))).Count;

  test('an index and reads that are not consistent show a write, a change and a deletion after the delay', async () => {
    const clients = await start({ indexes: 5 * SECOND });
    await put(clients, '1', 'taken');
    const seen = async () => [
      await byState(clients, 'taken'),
      await byState(clients, 'paid'),
      await get(clients, '1', false),
      await scan(clients, false),
    ];
    expect(await seen()).toEqual([[], [], undefined, 0]);
    expect([await get(clients, '1', true), await scan(clients, true)]).toEqual(['taken', 1]);
    clock.advance(3 * SECOND);
    await put(clients, '1', 'paid');
    clock.advance(2 * SECOND);
    expect(await seen()).toEqual([['1'], [], 'taken', 1]);
    expect(await get(clients, '1', true)).toBe('paid');
    clock.advance(3 * SECOND);
    expect(await seen()).toEqual([[], ['1'], 'paid', 1]);
    await clients.dynamodb.send(new DeleteItemCommand({ TableName: 'orders', Key: { Id: { S: '1' } } }));
    expect(await seen()).toEqual([[], ['1'], 'paid', 1]);
    expect(await get(clients, '1', true)).toBeUndefined();
    cloud.settle();
    expect(await seen()).toEqual([[], [], undefined, 0]);
  });

  test('conditions of writes are consistent, and other delays leave indexes alone', async () => {
    const { indexes: _, ...others } = DELAYS;
    const clients = await start(others);
    await put(clients, '1', 'taken');
    expect([await byState(clients, 'taken'), await get(clients, '1', false)]).toEqual([['1'], 'taken']);
    await cloud.stop();
    const late = await start({ indexes: 5 * SECOND });
    await put(late, '1', 'taken');
    const again = new PutItemCommand({
      TableName: 'orders',
      Item: { Id: { S: '1' } },
      ConditionExpression: 'attribute_not_exists(Id)',
    });
    await expect(late.dynamodb.send(again)).rejects.toMatchObject({
      name: 'ConditionalCheckFailedException',
    });
  });
});

describe('tags', () => {
  const [web, other] = ['i-00000001', 'i-00000002'] as const;

  test('filters, targets and conditions see the new tags of a node after the delay, and those of its neighbour at no time', async () => {
    const clients = await start({ tags: 10 * SECOND });
    const [node] = [await addNode(web, { web: 'old' }), await addNode(other, { web: 'old' })];
    const operator = cloud.createUser(ACCOUNT, 'operator', [
      allow(['ssm:SendCommand'], 'arn:aws:ssm:*:*:document/*'),
      allowWhere('ssm:SendCommand', { 'aws:ResourceTag/web': 'new' }),
    ]);
    createDocument();
    const send = (by: Clients, input: object) =>
      by.ssm.send(new SendCommandCommand({ DocumentName: 'try', ...input }));
    const targets = async () => {
      const { Command } = await send(clients, { Targets: [tagged('new')] });
      await cloud.idle();
      const { CommandInvocations = [] } = await clients.ssm.send(
        new ListCommandInvocationsCommand({ CommandId: Command?.CommandId }),
      );
      return CommandInvocations.map(({ InstanceId }) => InstanceId);
    };
    const mayCommand = () => isAllowed(send(clientsOf(operator), { InstanceIds: [web] }));
    node.setTags({ web: 'new' });
    expect(Object.keys(await listed(clients, tagged('old')))).toEqual([web, other]);
    expect([await listed(clients, tagged('new')), await targets(), await mayCommand()]).toEqual([
      {},
      [],
      false,
    ]);
    clock.advance(10 * SECOND);
    expect(Object.keys(await listed(clients, tagged('old')))).toEqual([other]);
    expect([await targets(), await mayCommand()]).toEqual([[web], true]);
  });

  test('conditions see the new tags of a secret after the delay; those that it was made with, and Describe, at once', async () => {
    const clients = await start({ tags: 10 * SECOND });
    const byTag = (value: string) =>
      allowWhere('secretsmanager:GetSecretValue', { 'aws:ResourceTag/team': value });
    const [red, blue] = ['red', 'blue'].map((team) =>
      clientsOf(cloud.createUser(ACCOUNT, team, [byTag(team)])),
    ) as [Clients, Clients];
    const mayRead = ({ secrets }: Clients) =>
      isAllowed(secrets.send(new GetSecretValueCommand({ SecretId: 's' })));
    const Tags = (Value: string) => [{ Key: 'team', Value }];
    await clients.secrets.send(new CreateSecretCommand({ Name: 's', SecretString: 'x', Tags: Tags('red') }));
    expect([await mayRead(red), await mayRead(blue)]).toEqual([true, false]);
    await clients.secrets.send(new TagResourceCommand({ SecretId: 's', Tags: Tags('blue') }));
    const described = await clients.secrets.send(new DescribeSecretCommand({ SecretId: 's' }));
    expect([await mayRead(red), await mayRead(blue), described.Tags]).toEqual([true, false, Tags('blue')]);
    clock.advance(10 * SECOND);
    expect([await mayRead(red), await mayRead(blue)]).toEqual([false, true]);
  });
});

describe('iam', () => {
  const createRole = (name: string) =>
    cloud.services.identities.createRole(ACCOUNT, { name, trustPolicy: trusting, tags: { team: 'red' } });
  const assume = async ({ sts }: Clients, RoleArn: string, Tags?: { Key: string; Value: string }[]) => {
    const { Credentials } = await sts.send(
      new AssumeRoleCommand({ RoleArn, RoleSessionName: 'session', ...(Tags ? { Tags } : {}) }),
    );
    const { AccessKeyId = '', SecretAccessKey = '', SessionToken = '' } = Credentials ?? {};
    return clientsOf({
      credentials: { accessKeyId: AccessKeyId, secretAccessKey: SecretAccessKey, sessionToken: SessionToken },
    });
  };
  const mayList = ({ ssm }: Clients) => isAllowed(ssm.send(new DescribeInstanceInformationCommand({})));

  test('a new role can be taken on and named after the delay, and a deleted one until then', async () => {
    const clients = await start({ iam: 10 * SECOND });
    const { arn, name } = createRole('new');
    await clients.secrets.send(new CreateSecretCommand({ Name: 's' }));
    const Principal = { AWS: arn };
    const ResourcePolicy = JSON.stringify({
      Version: '2012-10-17',
      Statement: [{ Effect: 'Allow', Principal, Action: 'secretsmanager:*', Resource: '*' }],
    });
    const naming = () =>
      clients.secrets.send(new PutResourcePolicyCommand({ SecretId: 's', ResourcePolicy }));
    const described = () => clients.iam.send(new GetRoleCommand({ RoleName: name }));
    expect(await isAllowed(assume(clients, arn))).toBe(false);
    await expect(naming()).rejects.toMatchObject({ name: 'MalformedPolicyDocumentException' });
    await expect(described()).rejects.toMatchObject({ name: 'NoSuchEntityException' });
    clock.advance(10 * SECOND);
    expect(await isAllowed(assume(clients, arn))).toBe(true);
    await naming();
    await described();
    cloud.services.identities.deleteRole(arn);
    expect(await isAllowed(assume(clients, arn))).toBe(true);
    clock.advance(10 * SECOND);
    expect(await isAllowed(assume(clients, arn))).toBe(false);
  });

  test('policies and tags of a role decide after the delay, for sessions that are open too; another role is as it was', async () => {
    const clients = await start({ iam: 10 * SECOND });
    const [role, neighbour] = [createRole('one'), createRole('other')];
    cloud.settle();
    const [session, besides] = [await assume(clients, role.arn), await assume(clients, neighbour.arn)];
    role.inlinePolicies = [allowWhere('ssm:*', { 'aws:PrincipalTag/team': 'blue' })];
    clock.advance(5 * SECOND);
    role.tags = { team: 'blue' };
    clock.advance(5 * SECOND);
    expect(await mayList(session)).toBe(false);
    clock.advance(5 * SECOND);
    expect([await mayList(session), await mayList(besides)]).toEqual([true, false]);
  });

  test('a session keeps the tags that it was opened with', async () => {
    const clients = await start({ iam: 10 * SECOND });
    const role = createRole('one');
    role.inlinePolicies = [allowWhere('ssm:*', { 'aws:PrincipalTag/team': 'green' })];
    cloud.settle();
    const session = await assume(clients, role.arn, [{ Key: 'team', Value: 'green' }]);
    role.tags = { team: 'blue' };
    clock.advance(10 * SECOND);
    expect(await mayList(session)).toBe(true);
  });
});

describe('nodes', () => {
  const [one, two] = ['i-00000001', 'i-00000002'] as const;

  test('the list shows a new node, a lost connection and the end of a node after the delay', async () => {
    const clients = await start({ nodes: 300 * SECOND });
    const [node] = [await addNode(one), await addNode(two)];
    expect(await listed(clients)).toEqual({});
    clock.advance(300 * SECOND);
    expect(await listed(clients)).toEqual({ [one]: 'Online', [two]: 'Online' });
    node.setOnline(false);
    expect(await listed(clients, { Key: 'PingStatus', Values: ['Online'] })).toEqual({
      [one]: 'Online',
      [two]: 'Online',
    });
    clock.advance(300 * SECOND);
    expect(await listed(clients)).toEqual({ [one]: 'ConnectionLost', [two]: 'Online' });
    await node.terminate();
    expect(await listed(clients)).toEqual({ [one]: 'ConnectionLost', [two]: 'Online' });
    // What is done with a node needs the node.
    createDocument();
    const send = new SendCommandCommand({ DocumentName: 'try', InstanceIds: [one] });
    await expect(clients.ssm.send(send)).rejects.toMatchObject({ name: 'InvalidInstanceId' });
    clock.advance(300 * SECOND);
    expect(await listed(clients)).toEqual({ [two]: 'Online' });
  });
});

test.each<[string, WorldOptions['delays']]>([
  ['without the option', undefined],
  ['before the first call', true],
])('%s nothing is late', async (_, delays) => {
  clock = new VirtualClock();
  cloud = await createCloud({ clock, ...(delays ? { delays } : {}) });
  const node = await addNode('i-00000001', { web: 'old' });
  node.setTags({ web: 'new' });
  node.setOnline(false);
  const role = cloud.services.identities.createRole(ACCOUNT, { name: 'reader', trustPolicy: trusting });
  role.inlinePolicies = [allow('*')];
  const clients = clientsOf(cloud.createUser(ACCOUNT, 'administrator', [allow('*')]));
  expect(await listed(clients, tagged('new'))).toEqual({ 'i-00000001': 'ConnectionLost' });
  const input = { RoleArn: role.arn, RoleSessionName: 'session' };
  expect(await isAllowed(clients.sts.send(new AssumeRoleCommand(input)))).toBe(true);
});
