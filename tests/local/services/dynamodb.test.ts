import {
  BatchWriteItemCommand,
  DynamoDBClient,
  GetItemCommand,
  PutItemCommand,
  QueryCommand,
  UpdateItemCommand,
} from '@aws-sdk/client-dynamodb';
import { beforeAll, expect, test } from '@jest/globals';
import { startCloud } from '../../../local/cloud.ts';
import { ACCOUNT, allow, OTHER_ACCOUNT, OTHER_REGION, REGION, testCloud } from './test-cloud.ts';

const cloud = testCloud();
const TABLE = {
  TableName: 'inventory',
  AttributeDefinitions: [
    { AttributeName: 'Id', AttributeType: 'S' },
    { AttributeName: 'Status', AttributeType: 'S' },
  ],
  KeySchema: [{ AttributeName: 'Id', KeyType: 'HASH' }],
  GlobalSecondaryIndexes: [
    {
      IndexName: 'StatusIndex',
      KeySchema: [{ AttributeName: 'Status', KeyType: 'HASH' }],
      Projection: { ProjectionType: 'ALL' },
    },
  ],
};
const places = [
  [ACCOUNT, REGION],
  [ACCOUNT, OTHER_REGION],
  [OTHER_ACCOUNT, REGION],
] as const;
const table = (account: string, region: string) =>
  new DynamoDBClient(cloud().clientConfig(cloud.administrator(account), region));

beforeAll(async () => {
  for (const [account, region] of places) {
    await cloud().services.dynamoDb.createTable(account, region, TABLE);
  }
});

test('tables of one name in two accounts and two Regions have nothing in common', async () => {
  for (const [index, [account, region]] of places.entries()) {
    const Item = { Id: { S: 'a' }, Place: { N: String(index) } };
    await table(account, region).send(new PutItemCommand({ TableName: 'inventory', Item }));
  }
  for (const [index, [account, region]] of places.entries()) {
    const { Item } = await table(account, region).send(
      new GetItemCommand({ TableName: 'inventory', Key: { Id: { S: 'a' } } }),
    );
    expect(Item?.Place).toEqual({ N: String(index) });
  }
});

test('a failed condition gives back the item that was asked for', async () => {
  const client = table(ACCOUNT, REGION);
  await client.send(
    new PutItemCommand({ TableName: 'inventory', Item: { Id: { S: 'b' }, Number: { N: '2' } } }),
  );
  const update = client.send(
    new UpdateItemCommand({
      TableName: 'inventory',
      Key: { Id: { S: 'b' } },
      UpdateExpression: 'SET #n = :new',
      ConditionExpression: '#n = :old',
      ExpressionAttributeNames: { '#n': 'Number' },
      ExpressionAttributeValues: { ':old': { N: '1' }, ':new': { N: '3' } },
      ReturnValuesOnConditionCheckFailure: 'ALL_OLD',
    }),
  );
  await expect(update).rejects.toMatchObject({
    name: 'ConditionalCheckFailedException',
    Item: { Id: { S: 'b' }, Number: { N: '2' } },
  });
});

test('a batch names its tables as the caller does', async () => {
  const { UnprocessedItems } = await table(ACCOUNT, REGION).send(
    new BatchWriteItemCommand({
      RequestItems: { inventory: [{ PutRequest: { Item: { Id: { S: 'c' } } } }] },
    }),
  );
  expect(UnprocessedItems).toEqual({});
  const { Item } = await table(ACCOUNT, REGION).send(
    new GetItemCommand({ TableName: 'inventory', Key: { Id: { S: 'c' } } }),
  );
  expect(Item).toEqual({ Id: { S: 'c' } });
});

test('who may read the table may not read its index for that', async () => {
  const arn = `arn:aws:dynamodb:${REGION}:${ACCOUNT}:table/inventory`;
  const query = (identity = cloud.administrator()) =>
    new DynamoDBClient(cloud().clientConfig(identity, REGION)).send(
      new QueryCommand({
        TableName: 'inventory',
        IndexName: 'StatusIndex',
        KeyConditionExpression: '#s = :s',
        ExpressionAttributeNames: { '#s': 'Status' },
        ExpressionAttributeValues: { ':s': { S: 'FAILED' } },
      }),
    );
  expect((await query()).Items).toEqual([]);
  const reader = cloud().createUser(ACCOUNT, 'table-reader', [allow('dynamodb:*', arn)]);
  await expect(query(reader)).rejects.toMatchObject({
    name: 'AccessDeniedException',
    message: expect.stringContaining(`${arn}/index/StatusIndex`),
  });
});

test('a table that is not there is reported by its own name', async () => {
  const read = table(ACCOUNT, REGION).send(
    new GetItemCommand({ TableName: 'absent', Key: { Id: { S: 'a' } } }),
  );
  await expect(read).rejects.toMatchObject({ name: 'ResourceNotFoundException' });
});

test('what is written can be searched', () => {
  const written = cloud().record.emissionsOf('dynamodb-write');
  expect(written.map(({ text }) => JSON.parse(text))).toContainEqual({
    TableName: 'inventory',
    Item: { Id: { S: 'a' }, Place: { N: '0' } },
  });
});

test('a cloud that stops while others write ends their writes, and nothing breaks', async () => {
  const other = await startCloud({ quotas: false });
  const writer = other.createUser(ACCOUNT, 'writer', [allow('*')]);
  const client = new DynamoDBClient({ ...other.clientConfig(writer, REGION), maxAttempts: 1 });
  await other.services.dynamoDb.createTable(ACCOUNT, REGION, TABLE);
  const put = (id: number) =>
    client.send(
      new PutItemCommand({ TableName: 'inventory', Item: { Id: { S: `${id}` }, Status: { S: 's' } } }),
    );
  await put(0);
  const writes = Array.from({ length: 200 }, (_, id) => put(id));
  const ends = Promise.allSettled(writes);
  await writes[0];
  await other.stop();
  expect(new Set((await ends).map(({ status }) => status))).toContain('rejected');
});
