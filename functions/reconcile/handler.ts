import type { Context } from 'aws-lambda';
import {
  acm,
  type Clients,
  connectTargetFrom,
  documents,
  dynamodb,
  PATIENT,
  ROLLOUT_VARIABLES,
  rolloutDepsFrom,
  sfn,
  sns,
  ssm,
  sts,
  TARGET_VARIABLES,
} from '../shared/clients.ts';
import type { Clock } from '../shared/clock.ts';
import { type Environment, readEnvironment } from '../shared/environment.ts';
import { inLambda } from '../shared/in-lambda.ts';
import { type Notification, notify } from '../shared/notification.ts';
import { count } from '../shared/observed.ts';
import { once } from '../shared/once.ts';
import { showHealth } from './fleet-health.ts';
import { ReconcileEvent, reconcile } from './reconcile.ts';

type OwnClients = Pick<Clients, 'acm' | 'documents' | 'dynamodb' | 'sfn' | 'sns' | 'ssm' | 'sts'>;

/** Repairs what events missed, and shows how the fleet is. */
export function compose(environment: Environment, clients: OwnClients, clock: Clock) {
  const env = readEnvironment(
    [
      ...ROLLOUT_VARIABLES,
      ...TARGET_VARIABLES,
      'IDEMPOTENCY_TABLE',
      'NOTIFICATION_TOPIC_ARN',
      'NODE_RETENTION_DAYS',
    ],
    environment,
  );
  const target = { functionName: 'reconcile' };
  const deps = {
    ...rolloutDepsFrom(env, clients, clock),
    acm: clients.acm(PATIENT),
    sleep: clock.sleep,
    connectTarget: connectTargetFrom(env, clients, target, (session) => ({ ssm: clients.ssm(session) })),
    nodeRetentionDays: Number(env.NODE_RETENTION_DAYS),
  };
  const sns = clients.sns();
  const sendOnce = once(
    clients.dynamodb(),
    env.IDEMPOTENCY_TABLE,
    'Key',
    async (message: { Key: string; Text: Notification }) => {
      await notify(sns, env.NOTIFICATION_TOPIC_ARN, message.Text);
      return { Sent: message.Key };
    },
  );
  return async (event: object, context: Context) => {
    const { Task } = ReconcileEvent.parse(event);
    const pass = await reconcile(Task, {
      ...deps,
      correlationId: context.awsRequestId,
      // One message a cause and day.
      notifyOnce: async (key, notification) => {
        const day = clock.now().toISOString().slice(0, 10);
        await sendOnce({ Key: `${key}#${day}`, Text: notification }, context);
      },
    });
    count('RolloutRepaired', pass.Repaired + pass.Started);
    count('ReconcileFailed', pass.Errors);
    showHealth(pass.Health);
    return pass;
  };
}

export const handler = inLambda(compose, { acm, documents, dynamodb, sfn, sns, ssm, sts });
