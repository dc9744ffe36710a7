import type { Context } from 'aws-lambda';
import {
  type Clients,
  documents,
  dynamodb,
  ROLLOUT_VARIABLES,
  rolloutDepsFrom,
  sfn,
  sns,
} from '../shared/clients.ts';
import type { Clock } from '../shared/clock.ts';
import { type Environment, readEnvironment } from '../shared/environment.ts';
import { inLambda } from '../shared/in-lambda.ts';
import { count } from '../shared/observed.ts';
import { once } from '../shared/once.ts';
import { handleFailure, type ReportedEvent, reportFailure } from './report-failure.ts';

type OwnClients = Pick<Clients, 'documents' | 'dynamodb' | 'sfn' | 'sns'>;

/** Tells people of a rollout that failed, once for each cause. */
export function compose(environment: Environment, clients: OwnClients, clock: Clock) {
  const env = readEnvironment(
    [...ROLLOUT_VARIABLES, 'IDEMPOTENCY_TABLE', 'NOTIFICATION_TOPIC_ARN'],
    environment,
  );
  const deps = {
    ...rolloutDepsFrom(env, clients, clock),
    sns: clients.sns(),
    topicArn: env.NOTIFICATION_TOPIC_ARN,
  };
  const reportOnce = once(
    clients.dynamodb(),
    env.IDEMPOTENCY_TABLE,
    'Key',
    (cause: { Key: string; Event: ReportedEvent }) => reportFailure(cause.Event, deps),
  );
  return async (event: object, context: Context) => {
    const report = await handleFailure(event, {
      ...deps,
      onceForCause: (cause) => reportOnce(cause, context),
    });
    if ('Reported' in report) {
      count('FailureReported');
    }
    return report;
  };
}

export const handler = inLambda(compose, { documents, dynamodb, sfn, sns });
