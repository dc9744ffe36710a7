import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { matchesPattern, refuseUnknownPattern } from '../../src/services/event-pattern.ts';
import { ACCOUNT, allow, REGION, signedCall, testCloud, trust, until } from './test-cloud.ts';

const cloud = testCloud();
const arn = (service: string, resource: string) => `arn:aws:${service}:${REGION}:${ACCOUNT}:${resource}`;
const TARGET = arn('lambda', 'function:target');
const RULE = arn('events', 'rule/renewed');
const QUEUE = arn('sqs', 'undelivered');

beforeAll(() => {
  const { identities, lambda, events, sqs } = cloud().services;
  identities.createRole(ACCOUNT, {
    name: 'function',
    trustPolicy: trust({ Service: 'lambda.amazonaws.com' }),
  });
  identities.createRole(ACCOUNT, {
    name: 'schedule',
    trustPolicy: trust(
      { Service: 'scheduler.amazonaws.com' },
      { StringEquals: { 'aws:SourceAccount': ACCOUNT } },
    ),
    inlinePolicies: [allow('lambda:InvokeFunction', TARGET)],
  });
  const handlerFile = join(cloud().folder, 'target.mjs');
  writeFileSync(
    handlerFile,
    'export const handler = async (event) => { console.log(JSON.stringify(event)); };',
  );
  lambda.createFunction({
    account: ACCOUNT,
    region: REGION,
    name: 'target',
    roleArn: `arn:aws:iam::${ACCOUNT}:role/function`,
    handlerFile,
  });
  permit(TARGET, 'lambda:InvokeFunction');
  sqs.createQueue(QUEUE);
  events.putRule({
    arn: RULE,
    account: ACCOUNT,
    region: REGION,
    busName: 'default',
    enabled: true,
    pattern: { source: ['aws.acm'], detail: { Action: ['RENEWAL'] } },
    targets: [
      {
        Id: 'target',
        Arn: TARGET,
        RetryPolicy: { MaximumRetryAttempts: 3, MaximumEventAgeInSeconds: 86_400 },
        DeadLetterConfig: { Arn: QUEUE },
      },
    ],
  });
});

/** Lets the rule use the function or the queue. */
function permit(resource: string, action: string): void {
  const policy = {
    Version: '2012-10-17',
    Statement: [
      {
        Effect: 'Allow' as const,
        Principal: { Service: 'events.amazonaws.com' },
        Action: action,
        Resource: resource,
        Condition: { ArnLike: { 'aws:SourceArn': RULE } },
      },
    ],
  };
  if (resource === TARGET) cloud().services.lambda.setPolicy(resource, policy);
  else cloud().services.sqs.setPolicy(resource, policy);
}

const publish = (marker: string, changes: object = {}) =>
  cloud().services.events.publish({
    source: 'aws.acm',
    'detail-type': 'ACM Certificate Available',
    account: ACCOUNT,
    region: REGION,
    resources: [marker],
    detail: { Action: 'RENEWAL' },
    ...changes,
  });
const received = () =>
  cloud()
    .record.emissionsOf('function-log')
    .flatMap(({ text }) => text.trim().split('\n'))
    .map((line) => JSON.parse(line));
const receivedOf = (marker: string) => received().filter(({ resources }) => resources?.[0] === marker);

test('an event reaches the targets of the rules that it matches, in its own account and Region', async () => {
  publish('matching');
  publish('of another action', { detail: { Action: 'ISSUANCE' } });
  publish('of another Region', { region: 'us-east-1' });
  publish('of another account', { account: '444455556666' });
  await until(() => receivedOf('matching').length > 0);
  await cloud().idle();
  expect(received().map(({ resources }) => resources[0])).toEqual(['matching']);
  expect(receivedOf('matching')[0]).toMatchObject({
    version: '0',
    id: expect.any(String),
    time: expect.stringMatching(/^[-0-9]+T[:0-9]+Z$/),
  });
  expect(cloud().record.callsOf('lambda.Invoke').at(-1)).toMatchObject({
    principalArn: 'events.amazonaws.com',
    input: { InvocationType: 'Event' },
  });
});

test('a fault of the target is tried again; a missing permission is not, and goes to the dead-letter queue at once', async () => {
  cloud().faults.inject({ operation: 'lambda.Invoke', kind: 'throttle', times: 2 });
  publish('throttled twice');
  await until(() => receivedOf('throttled twice').length > 0);

  permit(QUEUE, 'sqs:SendMessage');
  cloud().faults.inject({ operation: 'lambda.Invoke', kind: 'server-error', times: 4 });
  publish('always failing');
  await cloud().idle();
  cloud().services.lambda.setPolicy(TARGET, {
    Version: '2012-10-17',
    Statement: [{ Effect: 'Deny', Principal: '*', Action: '*', Resource: '*' }],
  });
  publish('not permitted');
  await cloud().idle();
  permit(TARGET, 'lambda:InvokeFunction');

  const parked = cloud().services.sqs.messages(QUEUE);
  expect(parked.map(({ body }) => JSON.parse(body).resources[0])).toEqual([
    'always failing',
    'not permitted',
  ]);
  expect(parked[0]?.attributes).toMatchObject({
    RULE_ARN: RULE,
    TARGET_ARN: TARGET,
    EXHAUSTED_RETRY_CONDITION: 'MaximumRetryAttempts',
    RETRY_ATTEMPTS: '3',
  });
  expect(parked[1]?.attributes).toMatchObject({ ERROR_CODE: 'AccessDeniedException', RETRY_ATTEMPTS: '0' });
});

test('an event that is lost reaches nobody, and one that is delivered twice comes twice with the same id', async () => {
  cloud().services.events.lose(({ resources }) => resources[0] === 'lost');
  publish('lost');
  publish('lost');
  const first = await until(() => receivedOf('lost')[0]);
  cloud().services.events.deliver(first);
  await until(() => receivedOf('lost').length === 2);
  expect(new Set(receivedOf('lost').map(({ id }) => id)).size).toBe(1);
});

test('a schedule invokes as its role whenever the clock comes to it, once for all the times it passed over', async () => {
  cloud().services.events.putSchedule({
    arn: arn('scheduler', 'schedule/default/sweep'),
    name: 'sweep',
    account: ACCOUNT,
    region: REGION,
    expression: 'rate(5 minutes)',
    enabled: true,
    target: {
      Arn: TARGET,
      RoleArn: `arn:aws:iam::${ACCOUNT}:role/schedule`,
      Input: '{"resources":["sweep"]}',
    },
  });
  const minutes = (count: number) => cloud().clock.advance(count * 60_000);
  minutes(4);
  await cloud().idle();
  expect(receivedOf('sweep')).toHaveLength(0);
  minutes(1);
  await until(() => receivedOf('sweep').length === 1);
  minutes(60);
  await until(() => receivedOf('sweep').length === 2);
  cloud().services.events.runSchedule('sweep');
  await until(() => receivedOf('sweep').length === 3);
  expect(cloud().record.callsOf('lambda.Invoke').at(-1)).toMatchObject({
    source: 'schedule sweep',
    principalArn: `arn:aws:iam::${ACCOUNT}:role/schedule`,
  });
});

test('PutEvents takes the events of others, not those of AWS', async () => {
  const entry = (Source: string, Detail = '{"Action":"RENEWAL"}') => ({
    Source,
    DetailType: 'Changed',
    Detail,
    Resources: ['put'],
  });
  const put = async (Entries: object[]) => {
    const headers = { 'x-amz-target': 'AWSEvents.PutEvents', 'content-type': 'application/x-amz-json-1.1' };
    const response = await signedCall(cloud(), cloud.administrator(), 'events', {
      headers,
      body: JSON.stringify({ Entries }),
    });
    // biome-ignore lint/suspicious/noExplicitAny: the answer as it came over the wire
    return [response.status, (await response.json()) as any] as const;
  };
  const [, { FailedEntryCount, Entries }] = await put([
    entry('our.own'),
    entry('aws.acm'),
    entry('our.own', '{'),
  ]);
  expect(FailedEntryCount).toBe(2);
  expect(Entries.map(({ ErrorCode }: { ErrorCode?: string }) => ErrorCode)).toEqual([
    undefined,
    'NotAuthorizedForSourceException',
    'MalformedDetail',
  ]);
  expect((await put(Array.from({ length: 11 }, () => entry('our.own'))))[0]).toBe(400);
});

describe('an event pattern', () => {
  const event = { source: 'aws.acm', detail: { Action: 'RENEWAL', DaysToExpiry: 30, Tags: ['a', 'b'] } };
  test.each<[object, boolean]>([
    [{ source: ['aws.acm', 'aws.ssm'] }, true],
    [{ source: [{ prefix: 'aws.' }] }, true],
    [{ source: [{ suffix: '.ssm' }] }, false],
    [{ source: [{ 'anything-but': ['aws.acm'] }] }, false],
    [{ source: [{ 'anything-but': ['aws.ssm'] }] }, true],
    [{ source: [{ 'equals-ignore-case': 'AWS.ACM' }] }, true],
    [{ detail: { Exported: [{ exists: false }] } }, true],
    [{ detail: { Action: [{ exists: true }] } }, true],
    [{ detail: { Exported: [true] } }, false],
    [{ detail: { Exported: [{ 'anything-but': [true] }] } }, false],
    [{ detail: { DaysToExpiry: [{ numeric: ['>', 7, '<=', 30] }] } }, true],
    [{ detail: { DaysToExpiry: ['30'] } }, false],
    [{ detail: { Tags: ['b'] } }, true],
    [{ detail: { Action: { Deeper: ['RENEWAL'] } } }, false],
  ])('%j matches: %s', (pattern, expected) => {
    refuseUnknownPattern(pattern as never);
    expect(matchesPattern(pattern as never, event)).toBe(expected);
  });

  test.each([
    [{ $or: [{ source: ['a'] }] }],
    [{ source: [{ cidr: '10.0.0.0/24' }] }],
    [{ source: 'aws.acm' }],
    [{ source: [{ 'anything-but': { prefix: 'a' } }] }],
  ])('%j is refused, because it is not modelled', (pattern) => {
    expect(() => refuseUnknownPattern(pattern as never)).toThrow('event pattern');
  });
});
