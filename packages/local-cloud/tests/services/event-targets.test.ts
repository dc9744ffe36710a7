import { beforeAll, expect, test } from '@jest/globals';
import { ACCOUNT, allow, REGION, testCloud, trust } from './test-cloud.ts';

const cloud = testCloud();
const arn = (service: string, resource: string) => `arn:aws:${service}:${REGION}:${ACCOUNT}:${resource}`;
const QUEUE = arn('sqs', 'undelivered');

const publish = (marker: string, source: string) =>
  cloud().services.events.publish({
    source,
    'detail-type': 'Order Paid',
    account: ACCOUNT,
    region: REGION,
    resources: [marker],
    detail: {},
  });

const MACHINE = arn('states', 'stateMachine:noted');
const STARTED = arn('events', 'rule/started');
const roleArn = (name: string) => `arn:aws:iam::${ACCOUNT}:role/${name}`;
const started = () =>
  cloud()
    .record.callsOf('StartExecution')
    .filter(({ source }) => source === 'rule started');
const put = (role: string, source: string) =>
  cloud().services.events.putRule({
    arn: STARTED,
    account: ACCOUNT,
    region: REGION,
    busName: 'default',
    enabled: true,
    pattern: { source: [source] },
    targets: [{ Id: 'm', Arn: MACHINE, RoleArn: roleArn(role), DeadLetterConfig: { Arn: QUEUE } }],
  });

beforeAll(async () => {
  const { identities, stepFunctions } = cloud().services;
  identities.createRole(ACCOUNT, {
    name: 'machine',
    trustPolicy: trust({ Service: 'states.amazonaws.com' }),
  });
  const source = { ArnEquals: { 'aws:SourceArn': STARTED } };
  const events = trust({ Service: 'events.amazonaws.com' }, source);
  const inlinePolicies = [allow('states:StartExecution', MACHINE)];
  identities.createRole(ACCOUNT, { name: 'starts', trustPolicy: events, inlinePolicies });
  identities.createRole(ACCOUNT, { name: 'may-not', trustPolicy: events });
  const others = trust({ Service: 'scheduler.amazonaws.com' });
  identities.createRole(ACCOUNT, { name: 'others', trustPolicy: others, inlinePolicies });
  await stepFunctions.createStateMachine({
    name: 'noted',
    account: ACCOUNT,
    region: REGION,
    roleArn: roleArn('machine'),
    definition: { StartAt: 'Noted', States: { Noted: { Type: 'Succeed' } } },
  });
  cloud().services.sqs.createQueue(QUEUE);
  cloud().services.sqs.setPolicy(QUEUE, {
    Statement: [
      {
        Effect: 'Allow',
        Principal: { Service: 'events.amazonaws.com' },
        Action: 'sqs:SendMessage',
        Resource: QUEUE,
      },
    ],
  });
});

test('a rule starts a state machine with the event as input, as the role of the target, and again when the answer is lost', async () => {
  put('starts', 'shop.start');
  cloud().faults.inject({ operation: 'StartExecution', kind: 'answer-lost' });
  const id = publish('for the machine', 'shop.start');
  await cloud().idle();
  const calls = started();
  expect(calls).toHaveLength(2);
  expect(calls[0]).toMatchObject({ principalArn: roleArn('starts'), input: { stateMachineArn: MACHINE } });
  const input = (call: (typeof calls)[number] | undefined) =>
    ((call?.input ?? {}) as { input: string }).input;
  expect(input(calls[1])).toBe(input(calls[0]));
  expect(JSON.parse(input(calls[0]))).toMatchObject({
    id,
    resources: ['for the machine'],
    source: 'shop.start',
  });
});

test.each(['may-not', 'others', 'does-not-exist'])(
  'an event is parked at once when the role %s cannot start the state machine',
  async (role) => {
    const before = started().filter(({ error }) => !error).length;
    put(role, `shop.${role}`);
    publish(role, `shop.${role}`);
    await cloud().idle();
    const parked = cloud().services.sqs.messages(QUEUE).at(-1);
    expect(JSON.parse(parked?.body ?? '')).toMatchObject({ resources: [role] });
    expect(parked?.attributes).toMatchObject({ TARGET_ARN: MACHINE, RETRY_ATTEMPTS: '0' });
    expect(started().filter(({ error }) => !error)).toHaveLength(before);
  },
);

test('a rule whose target is a state machine needs a role', () => {
  const rule = {
    arn: STARTED,
    account: ACCOUNT,
    region: REGION,
    busName: 'default',
    enabled: true,
    pattern: {},
  };
  expect(() => cloud().services.events.putRule({ ...rule, targets: [{ Id: 'm', Arn: MACHINE }] })).toThrow(
    /RoleArn is required/,
  );
});
