import type { Context } from 'aws-lambda';
import { NOTIFIER_VARIABLES, notifierFrom } from '../notifications/notifier.ts';
import { ADVANCE_VARIABLES, advanceDepsFrom } from '../rollouts/advance.ts';
import { type Clients, documents, dynamodb, sfn, sns } from '../runtime/clients.ts';
import type { Clock } from '../runtime/clock.ts';
import { type Environment, readEnvironment } from '../runtime/environment.ts';
import { inLambda } from '../runtime/in-lambda.ts';
import { count } from '../runtime/observability.ts';
import { rolloutEnded } from './rollout-ended.ts';

type OwnClients = Pick<Clients, 'documents' | 'dynamodb' | 'sfn' | 'sns'>;

/** Does what follows the end of a rollout, and counts failures that people are told of. */
export function compose(environment: Environment, clients: OwnClients, clock: Clock) {
  const env = readEnvironment([...ADVANCE_VARIABLES, ...NOTIFIER_VARIABLES], environment);
  const deps = advanceDepsFrom(env, clients, clock);
  const notifier = notifierFrom(env, clients);
  return async (event: object, context: Context) => {
    const report = await rolloutEnded(event, {
      ...deps,
      correlationId: context.awsRequestId,
      notify: notifier(context),
    });
    if ('Reported' in report) {
      count('FailureReported');
    }
    return report;
  };
}

export const handler = inLambda(compose, { documents, dynamodb, sfn, sns });
