// C8: a stack whose messages nobody gets.
import { beforeEach, expect, test } from '@jest/globals';
import { awsError, System } from './support/system.ts';

let system: System;
let arn: string;
beforeEach(async () => {
  system = await System.create({ subscribers: [] });
  arn = await system.acm.issue('web');
  await system.target().addNode('i-00000001');
});

/** The warnings that speak of the messages. */
const warned = async (order: object = {}) => {
  const { status, body } = await system.register({ CertificateArn: arn, ...order });
  expect(status).toBe(202);
  return body.Warnings.filter((words: string) => words.includes('messages of this stack'));
};

test('a POST warns where nobody is told of failures, with the command that subscribes', async () => {
  expect(await warned()).toEqual([
    `Nobody is subscribed to the messages of this stack: nobody is told when a rollout fails or a certificate ends. Subscribe: aws sns subscribe --region eu-central-1 --topic-arn ${system.topicArn} --protocol email --notification-endpoint ADDRESS`,
  ]);
});

test('a dry run warns of it too, and so does a subscription that nobody has confirmed', async () => {
  system.subscribe('operators@example.com');
  expect(await warned({ DryRun: true })).toEqual([
    expect.stringMatching(/^Nobody has confirmed .* Open the link/),
  ]);
  system.cloud.services.sns.confirm(system.topicArn);
  await system.runAll();
  expect(await warned()).toEqual([]);
});

test('one confirmed subscription among others is enough', async () => {
  system.subscribe('operators@example.com');
  system.cloud.services.sns.confirm(system.topicArn);
  system.subscribe('more@example.com');
  expect(await warned()).toEqual([]);
});

test.each(['Throttled', 'AuthorizationError', 'InternalError'])(
  'where SNS answers %s nothing is said, and the request is taken',
  async (name) => {
    system.sns.failNext('ListSubscriptionsByTopic', awsError(name), 'before', 10);
    expect(await warned()).toEqual([]);
  },
);
