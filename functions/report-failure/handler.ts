import { SNSClient } from '@aws-sdk/client-sns';
import { readEnvironment } from '../shared/environment.ts';
import { count, observed, traced } from '../shared/observed.ts';
import { once } from '../shared/once.ts';
import { rolloutDepsFrom } from '../shared/rollout-clients.ts';
import { handleFailure, type ReportedEvent, reportFailure } from './report-failure.ts';

const env = readEnvironment([
  'INVENTORY_TABLE',
  'IDEMPOTENCY_TABLE',
  'STATE_MACHINE_ARN',
  'ROLLOUTS_ENABLED',
  'NOTIFICATION_TOPIC_ARN',
]);
const deps = {
  ...rolloutDepsFrom(env),
  sns: traced(new SNSClient({})),
  topicArn: env.NOTIFICATION_TOPIC_ARN,
};

const reportOnce = once(env.IDEMPOTENCY_TABLE, 'Key', (cause: { Key: string; Event: ReportedEvent }) =>
  reportFailure(cause.Event, deps),
);

export const handler = observed(async (event: object, context) => {
  const report = await handleFailure(event, {
    ...deps,
    onceForCause: (cause) => reportOnce(cause, context),
  });
  if ('Reported' in report) {
    count('FailureReported');
  }
  return report;
});
