import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  DescribeExecutionCommand,
  ListExecutionsCommand,
  SFNClient,
  StartExecutionCommand,
  StopExecutionCommand,
} from '@aws-sdk/client-sfn';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { ACCOUNT, allow, REGION, testCloud, trust, until } from './test-cloud.ts';

const cloud = testCloud();
let sfn: SFNClient;
const functionArn = (name: string) => `arn:aws:lambda:${REGION}:${ACCOUNT}:function:${name}`;
const machineArn = (name: string) => `arn:aws:states:${REGION}:${ACCOUNT}:stateMachine:${name}`;

const invoke = (name: string, more: object = {}) => ({
  Type: 'Task',
  Resource: 'arn:aws:states:::lambda:invoke',
  Parameters: { FunctionName: functionArn(name), 'Payload.$': '$' },
  ...more,
});

function create(name: string, definition: object): Promise<string> {
  const roleArn = `arn:aws:iam::${ACCOUNT}:role/machine`;
  return cloud().services.stepFunctions.createStateMachine({
    name,
    account: ACCOUNT,
    region: REGION,
    roleArn,
    definition: definition as never,
  });
}

beforeAll(async () => {
  sfn = new SFNClient(cloud().clientConfig(cloud.administrator(), REGION));
  const { identities, lambda } = cloud().services;
  identities.createRole(ACCOUNT, {
    name: 'function',
    trustPolicy: trust({ Service: 'lambda.amazonaws.com' }),
  });
  identities.createRole(ACCOUNT, {
    name: 'machine',
    trustPolicy: trust(
      { Service: 'states.amazonaws.com' },
      { ArnLike: { 'aws:SourceArn': machineArn('*') }, StringEquals: { 'aws:SourceAccount': ACCOUNT } },
    ),
    inlinePolicies: [allow('lambda:InvokeFunction', ['echo', 'flaky', 'large'].map(functionArn))],
  });
  const sources = {
    echo: 'export const handler = async (event) => event;',
    flaky:
      "let calls = 0; export const handler = async () => { calls += 1; if (calls < 3) throw Object.assign(new Error('again'), { name: 'RetryLater' }); return { calls }; };",
    large: "export const handler = async () => 'x'.repeat(262144);",
    forbidden: 'export const handler = async (event) => event;',
  };
  for (const [name, source] of Object.entries(sources)) {
    const handlerFile = join(cloud().folder, `${name}.mjs`);
    writeFileSync(handlerFile, source);
    lambda.createFunction({
      account: ACCOUNT,
      region: REGION,
      name,
      roleArn: `arn:aws:iam::${ACCOUNT}:role/function`,
      handlerFile,
    });
  }
  await create('waits', {
    StartAt: 'Wait',
    States: { Wait: { Type: 'Wait', SecondsPath: '$.Seconds', End: true } },
  });
});

const start = async (machine: string, input: unknown = {}, name?: string) =>
  (
    await sfn.send(
      new StartExecutionCommand({ stateMachineArn: machineArn(machine), input: JSON.stringify(input), name }),
    )
  ).executionArn as string;
const describeExecution = (executionArn: string) => sfn.send(new DescribeExecutionCommand({ executionArn }));
const ended = (arn: string) =>
  until(async () => {
    const execution = await describeExecution(arn);
    return execution.status !== 'RUNNING' && execution.stopDate && execution;
  });
const run = async (machine: string, input: unknown = {}) => ended(await start(machine, input));
const events = (arn: string) =>
  cloud()
    .record.emissionsOf('event')
    .map(({ text }) => JSON.parse(text))
    .filter(({ resources }) => resources[0] === arn);

describe('the name of an execution', () => {
  test('with the same input finds the execution while it runs, and is taken once that has ended', async () => {
    const first = await start('waits', { Seconds: 600 }, 'same');
    expect(await start('waits', { Seconds: 600 }, 'same')).toBe(first);
    await expect(start('waits', { Seconds: 601 }, 'same')).rejects.toMatchObject({
      name: 'ExecutionAlreadyExists',
    });
    cloud().clock.advance(600_000);
    expect(await ended(first)).toMatchObject({ status: 'SUCCEEDED' });
    await expect(start('waits', { Seconds: 600 }, 'same')).rejects.toMatchObject({
      name: 'ExecutionAlreadyExists',
    });
    cloud().clock.advance(91 * 86_400_000);
    expect(await start('waits', { Seconds: 0 }, 'same')).toBe(first);
  });

  test('has 1 to 80 characters without white space, brackets and the like', async () => {
    for (const name of ['a b', 'a/b', 'a:b']) {
      await expect(start('waits', {}, name)).rejects.toMatchObject({ name: 'InvalidName' });
    }
    const tooLong = start('waits', {}, 'x'.repeat(81));
    await expect(tooLong).rejects.toMatchObject({ name: 'ValidationException' });
    await expect(start('absent')).rejects.toMatchObject({ name: 'StateMachineDoesNotExist' });
    const malformed = sfn.send(
      new StartExecutionCommand({ stateMachineArn: machineArn('waits'), input: '{' }),
    );
    await expect(malformed).rejects.toMatchObject({ name: 'InvalidExecutionInput' });
    // The model counts characters, the quota bytes.
    await expect(start('waits', 'x'.repeat(262_144))).rejects.toMatchObject({ name: 'ValidationException' });
    await expect(start('waits', 'é'.repeat(131_072))).rejects.toMatchObject({
      name: 'InvalidExecutionInput',
    });
  });
});

test('a task invokes its function as the role of the state machine, and gets the answer in Payload', async () => {
  await create('invokes', {
    StartAt: 'Echo',
    States: {
      Echo: invoke('echo', { ResultSelector: { 'Said.$': '$.Payload.a' }, ResultPath: '$.Echo', End: true }),
    },
  });
  expect(JSON.parse((await run('invokes', { a: 1 })).output ?? '')).toEqual({ a: 1, Echo: { Said: 1 } });
  expect(cloud().record.callsOf('lambda.Invoke').at(-1)).toMatchObject({
    source: 'state machine invokes',
    principalArn: `arn:aws:iam::${ACCOUNT}:role/machine`,
  });
});

test('a task that is denied fails under the general name of Lambda’s errors', async () => {
  await create('is-denied', {
    StartAt: 'Forbidden',
    States: { Forbidden: invoke('forbidden', { End: true }) },
  });
  const execution = await run('is-denied');
  expect(execution).toMatchObject({ status: 'FAILED', error: 'Lambda.AWSLambdaException' });
  expect(execution.cause).toContain('not authorized to perform: lambda:InvokeFunction');
});

test('a function’s error is retried by its name until it succeeds', async () => {
  const Retry = [
    {
      ErrorEquals: ['RetryLater'],
      IntervalSeconds: 30,
      MaxDelaySeconds: 900,
      MaxAttempts: 5,
      BackoffRate: 2,
      JitterStrategy: 'FULL',
    },
  ];
  await create('retries', {
    StartAt: 'Flaky',
    States: { Flaky: invoke('flaky', { Retry, OutputPath: '$.Payload', End: true }) },
  });
  expect(JSON.parse((await run('retries')).output ?? '')).toEqual({ calls: 3 });
  await create('does-not-retry', {
    StartAt: 'Fails',
    States: {
      Fails: invoke('large', {
        Retry: [{ ErrorEquals: ['States.ALL'] }],
        Catch: [{ ErrorEquals: ['States.ALL'], Next: 'Caught' }],
        End: true,
      }),
      Caught: { Type: 'Succeed' },
    },
  });
  // 256 KiB and more: not even States.ALL catches that.
  expect(await run('does-not-retry')).toMatchObject({ status: 'FAILED', error: 'States.DataLimitExceeded' });
});

test.each([
  ['throttle', 'Lambda.TooManyRequestsException'],
  ['server-error', 'Lambda.ServiceException'],
  ['timeout', 'Lambda.SdkClientException'],
] as const)('%s of Lambda itself is %s', async (kind, error) => {
  await create(`meets-${kind}`, { StartAt: 'Echo', States: { Echo: invoke('echo', { End: true }) } });
  cloud().faults.inject({ operation: 'lambda.Invoke', kind });
  expect(await run(`meets-${kind}`)).toMatchObject({ status: 'FAILED', error });
});

test('the time-out of a state machine and a stop from outside end it, and are published as such', async () => {
  await create('has-a-timeout', {
    StartAt: 'Wait',
    TimeoutSeconds: 3600,
    States: { Wait: { Type: 'Wait', Seconds: 86_400, End: true } },
  });
  const late = await start('has-a-timeout', { a: 1 });
  cloud().clock.advance(3_600_000);
  expect(await ended(late)).toMatchObject({ status: 'TIMED_OUT' });

  const stopped = await start('waits', { Seconds: 86_400 });
  await sfn.send(
    new StopExecutionCommand({ executionArn: stopped, error: 'Deleted', cause: 'by its owner' }),
  );
  expect(await ended(stopped)).toMatchObject({ status: 'ABORTED', error: 'Deleted', cause: 'by its owner' });

  for (const [arn, status] of [
    [late, 'TIMED_OUT'],
    [stopped, 'ABORTED'],
  ] as const) {
    const published = await until(() => events(arn).length === 2 && events(arn));
    expect(published.map(({ detail }) => detail.status)).toEqual(['RUNNING', status]);
    expect(published[1]).toMatchObject({
      source: 'aws.states',
      'detail-type': 'Step Functions Execution Status Change',
      detail: {
        executionArn: arn,
        input: expect.any(String),
        inputDetails: { included: true },
        output: null,
        stopDate: expect.any(Number),
      },
    });
  }
});

test('executions are listed newest first, by status and in pages', async () => {
  await create('is-listed', {
    StartAt: 'Wait',
    States: { Wait: { Type: 'Wait', SecondsPath: '$.Seconds', End: true } },
  });
  for (const [name, Seconds] of [
    ['one', 0],
    ['two', 0],
    ['three', 86_400],
  ] as const)
    await start('is-listed', { Seconds }, name);
  await until(async () => {
    const { executions } = await sfn.send(
      new ListExecutionsCommand({ stateMachineArn: machineArn('is-listed'), statusFilter: 'SUCCEEDED' }),
    );
    return executions?.length === 2;
  });
  const page = async (nextToken?: string) =>
    sfn.send(
      new ListExecutionsCommand({ stateMachineArn: machineArn('is-listed'), maxResults: 2, nextToken }),
    );
  const first = await page();
  const second = await page(first.nextToken);
  expect([first, second].map(({ executions = [] }) => executions.map(({ name }) => name))).toEqual([
    ['three', 'two'],
    ['one'],
  ]);
  await sfn.send(new StopExecutionCommand({ executionArn: first.executions?.[0]?.executionArn }));
});

test('what passes between the states can be searched', async () => {
  await run('invokes', { a: 'a mark to look for' });
  const texts = cloud()
    .record.emissionsOf('state-machine')
    .map(({ text }) => text);
  expect(texts.filter((text) => text.includes('a mark to look for')).length).toBeGreaterThan(2);
});

test.each([
  ['JSONata', { QueryLanguage: 'JSONata', StartAt: 'A', States: { A: { Type: 'Succeed' } } }],
  ['variables', { StartAt: 'A', States: { A: { Type: 'Pass', Assign: { x: 1 }, End: true } } }],
  ['heartbeats', { StartAt: 'A', States: { A: invoke('echo', { HeartbeatSeconds: 10, End: true }) } }],
  [
    'tolerated failures',
    {
      StartAt: 'A',
      States: {
        A: {
          Type: 'Map',
          ToleratedFailureCount: 1,
          ItemProcessor: { StartAt: 'B', States: { B: { Type: 'Succeed' } } },
          End: true,
        },
      },
    },
  ],
  [
    'the name of the state',
    { StartAt: 'A', States: { A: { Type: 'Pass', Parameters: { 'Name.$': '$$.State.Name' }, End: true } } },
  ],
  [
    'other integrations',
    { StartAt: 'A', States: { A: { Type: 'Task', Resource: 'arn:aws:states:::sns:publish', End: true } } },
  ],
])('a definition with %s, which the library would ignore, is refused', async (_what, definition) => {
  await expect(create('refused', definition)).rejects.toThrow('state machine:');
});
