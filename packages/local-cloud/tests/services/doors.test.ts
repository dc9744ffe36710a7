import { ACMClient, DescribeCertificateCommand, ExportCertificateCommand } from '@aws-sdk/client-acm';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { GetRoleCommand, IAMClient } from '@aws-sdk/client-iam';
import {
  CreateSecretCommand,
  DescribeSecretCommand,
  GetSecretValueCommand,
  SecretsManagerClient,
} from '@aws-sdk/client-secrets-manager';
import { ListExecutionsCommand, SFNClient, StartExecutionCommand } from '@aws-sdk/client-sfn';
import { PublishCommand, SNSClient } from '@aws-sdk/client-sns';
import {
  DescribeInstanceInformationCommand,
  paginateDescribeInstanceInformation,
  SSMClient,
} from '@aws-sdk/client-ssm';
import { AssumeRoleCommand, GetCallerIdentityCommand, STSClient } from '@aws-sdk/client-sts';
import {
  BatchGetCommand,
  BatchWriteCommand,
  DeleteCommand,
  DynamoDBDocumentClient,
  GetCommand,
  PutCommand,
  QueryCommand,
  ScanCommand,
  UpdateCommand,
} from '@aws-sdk/lib-dynamodb';
import { beforeAll, describe, expect, test } from '@jest/globals';
import type { Identity } from '../../src/services/identities.ts';
import { ACCOUNT, allow, REGION, testCloud, trust } from './test-cloud.ts';

const cloud = testCloud();
const ROLE = `arn:aws:iam::${ACCOUNT}:role/reader`;
const TOPIC = `arn:aws:sns:${REGION}:${ACCOUNT}:topic`;
let certificate: string;
let administrator: Identity;
let nobody: Identity;

beforeAll(async () => {
  administrator = cloud.administrator();
  nobody = cloud().createUser(ACCOUNT, 'nobody', []);
  const { acm, dynamoDb, sns, identities } = cloud().services;
  certificate = await acm.add(ACCOUNT, REGION, { names: ['www.example.com'], keyAlgorithm: 'EC_prime256v1' });
  dynamoDb.createTable(ACCOUNT, REGION, {
    TableName: 'items',
    KeySchema: [{ AttributeName: 'id', KeyType: 'HASH' }],
    AttributeDefinitions: [{ AttributeName: 'id', AttributeType: 'S' }],
  });
  sns.createTopic(TOPIC);
  identities.createRole(ACCOUNT, {
    name: 'reader',
    trustPolicy: trust({ AWS: `arn:aws:iam::${ACCOUNT}:root` }),
    inlinePolicies: [allow('*')],
  });
  for (let index = 0; index < 12; index += 1) {
    await cloud().createNode(ACCOUNT, REGION, {
      id: `i-${String(index).padStart(8, '0')}`,
      tags: { env: 'prod' },
      agent: () => ({ stdout: '', exitCode: 0 }),
    });
  }
});

type Client = { send(command: unknown): Promise<unknown> };
type Door = 'http' | 'requestHandler' | 'send';
const DOORS: Door[] = ['http', 'requestHandler', 'send'];

// biome-ignore lint/suspicious/noExplicitAny: client classes have constructors of many shapes
function clientOf<T>(door: Door, Class: new (config: any) => T, identity: Identity): T {
  const config = cloud().clientConfig(identity, REGION);
  const once = { ...config, maxAttempts: 1 };
  if (door === 'http') return new Class(once);
  return door === 'send'
    ? cloud().client(Class as never, once)
    : new Class({ ...once, endpoint: 'http://local.cloud', requestHandler: cloud().requestHandler });
}

function documentsOf(door: Door, identity: Identity): DynamoDBDocumentClient {
  const config = { ...cloud().clientConfig(identity, REGION), maxAttempts: 1 };
  return door === 'send'
    ? cloud().documentClient(DynamoDBDocumentClient, config)
    : DynamoDBDocumentClient.from(clientOf(door, DynamoDBClient, identity), {
        marshallOptions: { removeUndefinedValues: true },
      });
}

/** What a caller sees: the answer, or the error's name, words, blame and status. Ids and times differ by nature. */
async function seen(send: () => Promise<unknown>): Promise<unknown> {
  const plain = (value: unknown) =>
    JSON.parse(
      JSON.stringify(value, (name, member) =>
        /^(\$metadata|MessageId|EventId|executionArn|startDate|stopDate|ARN|VersionId|LastChangedDate|CreatedDate|CreateDate|RoleId|LastPingDateTime|PrivateKey|Credentials|nextToken|PackedPolicySize|\$response|LastAccessedDate)$/.test(
          name,
        )
          ? typeof member
          : member,
      ),
    );
  try {
    return plain(await send());
  } catch (error) {
    const { name, message, $fault, $metadata, Item } = error as Record<string, unknown>;
    return plain({
      name,
      message,
      $fault,
      status: ($metadata as { httpStatusCode?: number })?.httpStatusCode,
      Item,
    });
  }
}

const calls: [string, (door: Door) => Promise<unknown>][] = [
  ...(
    [
      ['a certificate', ACMClient, () => new DescribeCertificateCommand({ CertificateArn: certificate })],
      [
        'a blob',
        ACMClient,
        () =>
          new ExportCertificateCommand({ CertificateArn: certificate, Passphrase: Buffer.from('secret') }),
      ],
      [
        'a blob that the service refuses',
        ACMClient,
        () => new ExportCertificateCommand({ CertificateArn: certificate, Passphrase: Buffer.from('#$%^') }),
      ],
      [
        'what is not there',
        ACMClient,
        () => new DescribeCertificateCommand({ CertificateArn: `${certificate}0` }),
      ],
      ['a value out of bounds', SSMClient, () => new DescribeInstanceInformationCommand({ MaxResults: 4 })],
      ['a page', SSMClient, () => new DescribeInstanceInformationCommand({ MaxResults: 5 })],
      [
        'what is undefined',
        SSMClient,
        () => new DescribeInstanceInformationCommand({ MaxResults: undefined }),
      ],
      [
        'a secret that is not there',
        SecretsManagerClient,
        () => new GetSecretValueCommand({ SecretId: 'none' }),
      ],
      ['a description', SecretsManagerClient, () => new DescribeSecretCommand({ SecretId: 'none' })],
      [
        'a state machine that is not there',
        SFNClient,
        () =>
          new ListExecutionsCommand({
            stateMachineArn: `arn:aws:states:${REGION}:${ACCOUNT}:stateMachine:none`,
          }),
      ],
      [
        'an execution without a machine',
        SFNClient,
        () =>
          new StartExecutionCommand({
            stateMachineArn: `arn:aws:states:${REGION}:${ACCOUNT}:stateMachine:none`,
            name: 'x',
            input: '{}',
          }),
      ],
      [
        'entries',
        EventBridgeClient,
        () =>
          new PutEventsCommand({
            Entries: [
              { Source: 'test', DetailType: 'x', Detail: '{}', Time: new Date() },
              { Source: 'aws.test', DetailType: 'x', Detail: '{}' },
            ],
          }),
      ],
      [
        'a message',
        SNSClient,
        () => new PublishCommand({ TopicArn: TOPIC, Message: 'text', Subject: 'subject' }),
      ],
      [
        'a topic that is not there',
        SNSClient,
        () => new PublishCommand({ TopicArn: `${TOPIC}s`, Message: 'text' }),
      ],
      [
        'a session',
        STSClient,
        () =>
          new AssumeRoleCommand({
            RoleArn: ROLE,
            RoleSessionName: 'test',
            DurationSeconds: 900,
            Tags: [{ Key: 'a', Value: 'b' }],
          }),
      ],
      [
        'a session that is too short',
        STSClient,
        () => new AssumeRoleCommand({ RoleArn: ROLE, RoleSessionName: 'test', DurationSeconds: 899 }),
      ],
      ['a caller', STSClient, () => new GetCallerIdentityCommand({})],
      ['a role', IAMClient, () => new GetRoleCommand({ RoleName: 'reader' })],
      ['a role that is not there', IAMClient, () => new GetRoleCommand({ RoleName: 'nobody' })],
    ] as const
  ).map(([what, Class, command]): [string, (door: Door) => Promise<unknown>] => [
    what,
    (door) => (clientOf(door, Class as never, administrator) as Client).send(command()),
  ]),
  ...(
    [
      [
        'an item',
        () =>
          new PutCommand({
            TableName: 'items',
            Item: { id: 'a', n: 1, list: [1, 'x'], map: { deep: true }, left: undefined },
          }),
      ],
      [
        'the item again',
        () => new GetCommand({ TableName: 'items', Key: { id: 'a' }, ConsistentRead: true }),
      ],
      ['an item that is not there', () => new GetCommand({ TableName: 'items', Key: { id: 'b' } })],
      [
        'an update',
        () =>
          new UpdateCommand({
            TableName: 'items',
            Key: { id: 'a' },
            UpdateExpression: 'SET n = :n',
            ExpressionAttributeValues: { ':n': 2 },
            ReturnValues: 'ALL_NEW',
          }),
      ],
      [
        'a lost condition',
        () =>
          new PutCommand({
            TableName: 'items',
            Item: { id: 'a' },
            ConditionExpression: 'attribute_not_exists(id)',
            ReturnValuesOnConditionCheckFailure: 'ALL_OLD',
          }),
      ],
      [
        'a query',
        () =>
          new QueryCommand({
            TableName: 'items',
            KeyConditionExpression: 'id = :id',
            ExpressionAttributeValues: { ':id': 'a' },
          }),
      ],
      ['a scan', () => new ScanCommand({ TableName: 'items', Limit: 1 })],
      [
        'a batch',
        () =>
          new BatchWriteCommand({
            RequestItems: { items: [{ PutRequest: { Item: { id: 'c', s: new Set(['x']) } } }] },
          }),
      ],
      [
        'a batch that is read',
        () => new BatchGetCommand({ RequestItems: { items: { Keys: [{ id: 'a' }, { id: 'c' }] } } }),
      ],
      [
        'an expression that is none',
        () => new DeleteCommand({ TableName: 'items', Key: { id: 'a' }, ConditionExpression: 'n n' }),
      ],
      ['a table that is not there', () => new GetCommand({ TableName: 'none', Key: { id: 'a' } })],
    ] as const
  ).map(([what, command]): [string, (door: Door) => Promise<unknown>] => [
    `of DynamoDB, ${what}`,
    (door) => documentsOf(door, administrator).send(command() as never),
  ]),
];

describe('every door gives the same answer', () => {
  test.each(calls)('to a request for %s', async (_, send) => {
    const answers = [];
    for (const door of DOORS) answers.push(await seen(() => send(door)));
    expect(answers[0]).not.toBeUndefined();
    expect(answers[1]).toEqual(answers[0]);
    expect(answers[2]).toEqual(answers[0]);
  });

  test('to pages, as the paginators of the SDK read them', async () => {
    for (const door of DOORS) {
      const client = clientOf(door, SSMClient, administrator);
      const pages = await Array.fromAsync(paginateDescribeInstanceInformation({ client, pageSize: 5 }, {}));
      expect(pages.map(({ InstanceInformationList }) => InstanceInformationList?.length)).toEqual([5, 5, 2]);
      expect(pages[0]?.InstanceInformationList?.[0]?.LastPingDateTime).toBeInstanceOf(Date);
    }
  });

  test('to a caller without permission, and to keys that nobody has or that have expired', async () => {
    const strange = {
      ...nobody,
      credentials: { accessKeyId: 'AKIAIOSFODNN7EXAMPLE', secretAccessKey: 'x'.repeat(40) },
    };
    const session = (seconds: number) =>
      cloud().services.identities.openSession(cloud().services.identities.role(ROLE) as never, {
        name: 'old',
        seconds,
        source: 'client',
      });
    for (const identity of [nobody, strange, session(0)]) {
      const answers = [];
      for (const door of DOORS) {
        const client = clientOf(door, ACMClient, identity);
        answers.push(
          await seen(() => client.send(new DescribeCertificateCommand({ CertificateArn: certificate }))),
        );
      }
      // How a request is signed is no matter of the direct door.
      const names = answers.map((answer) => (answer as { name: string }).name);
      expect(new Set(names).size).toBe(1);
    }
  });

  test('with faults that were planned, an answer that is lost among them', async () => {
    for (const kind of ['throttle', 'server-error', 'timeout', 'answer-lost'] as const) {
      const names = [];
      for (const door of DOORS) {
        cloud().faults.inject({ operation: 'CreateSecret', kind });
        const client = clientOf(door, SecretsManagerClient, administrator);
        const command = new CreateSecretCommand({ Name: `${kind}/${door}`, SecretString: 'x' });
        names.push(
          await client.send(command).then(
            () => 'answered',
            // In jest an error of the socket is of another realm: the SDK wraps it.
            ({ name, message }: Error) => (message.includes('TimeoutError') ? 'TimeoutError' : name),
          ),
        );
        const { secretsManager } = cloud().services;
        expect(secretsManager.state(ACCOUNT, REGION, `${kind}/${door}`) !== undefined).toBe(
          kind === 'answer-lost',
        );
      }
      expect(names).toEqual(Array(3).fill(names[0]));
      expect(names[0]).not.toBe('answered');
    }
  });
});
