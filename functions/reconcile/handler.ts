import { setTimeout as sleep } from 'node:timers/promises';
import { ACMClient } from '@aws-sdk/client-acm';
import { SNSClient } from '@aws-sdk/client-sns';
import { SSMClient } from '@aws-sdk/client-ssm';
import { readEnvironment } from '../shared/environment.ts';
import { type Notification, notify } from '../shared/notification.ts';
import { count, gauge, observed, PATIENT, traced } from '../shared/observed.ts';
import { once } from '../shared/once.ts';
import { rolloutDepsFrom } from '../shared/rollout-clients.ts';
import type { OpenSession } from '../shared/target-account.ts';
import { targetSessionsFrom } from '../shared/target-sessions.ts';
import type { FleetHealth } from './fleet-health.ts';
import { ReconcileEvent, reconcile } from './reconcile.ts';

const env = readEnvironment([
  'INVENTORY_TABLE',
  'IDEMPOTENCY_TABLE',
  'STATE_MACHINE_ARN',
  'ROLLOUTS_ENABLED',
  'NOTIFICATION_TOPIC_ARN',
  'PREFIX',
  'PARTITION',
  'EXTERNAL_ID',
  'NODE_RETENTION_DAYS',
]);
const sns = traced(new SNSClient({}));
const openSession = targetSessionsFrom(env, 'reconcile');
const deps = {
  ...rolloutDepsFrom(env),
  acm: traced(new ACMClient(PATIENT)),
  sleep,
  connectTarget: async (...session: Parameters<OpenSession>) => ({
    ssm: traced(new SSMClient(await openSession(...session))),
  }),
  nodeRetentionDays: Number(env.NODE_RETENTION_DAYS),
};

/** One message a cause and day. */
const sendOnce = once(env.IDEMPOTENCY_TABLE, 'Key', async (message: { Key: string; Text: Notification }) => {
  await notify(sns, env.NOTIFICATION_TOPIC_ARN, message.Text);
  return { Sent: message.Key };
});

/** Each sweep shows the fleet anew, so that an alarm ends when its cause has. */
function report(health: FleetHealth): void {
  gauge('InstalledDeployments', health.Installed);
  gauge('DegradedDeployments', health.Degraded);
  gauge('WaitingDeployments', health.Waiting);
  gauge('FailedDeployments', health.Failed);
  gauge('OldestOpenFailureAge', health.OldestFailureSeconds, 'Seconds');
  if (health.DaysToExpiry !== undefined) {
    gauge('DaysToExpiry', health.DaysToExpiry);
  }
}

export const handler = observed(async (event: object, context) => {
  const { Task } = ReconcileEvent.parse(event);
  const pass = await reconcile(Task, {
    ...deps,
    correlationId: context.awsRequestId,
    notifyOnce: async (key, notification) => {
      const day = deps.now().toISOString().slice(0, 10);
      await sendOnce({ Key: `${key}#${day}`, Text: notification }, context);
    },
  });
  count('RolloutRepaired', pass.Repaired + pass.Started);
  count('ReconcileFailed', pass.Errors);
  report(pass.Health);
  return pass;
});
