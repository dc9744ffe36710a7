import type { Context } from 'aws-lambda';
import {
  acm,
  type Clients,
  documents,
  dynamodb,
  PATIENT,
  ROLLOUT_VARIABLES,
  rolloutDepsFrom,
  sfn,
} from '../shared/clients.ts';
import type { Clock } from '../shared/clock.ts';
import { type Environment, readEnvironment } from '../shared/environment.ts';
import { inLambda } from '../shared/in-lambda.ts';
import { count } from '../shared/observed.ts';
import { once } from '../shared/once.ts';
import { handleRenewal, type Renewal, startRenewal } from './handle-renewal.ts';
import { startRetries } from './start-retries.ts';

type OwnClients = Pick<Clients, 'acm' | 'documents' | 'dynamodb' | 'sfn'>;

/** Starts the rollouts of a renewed certificate, once for each serial. */
export function compose(environment: Environment, clients: OwnClients, clock: Clock) {
  const env = readEnvironment(
    [...ROLLOUT_VARIABLES, 'IDEMPOTENCY_TABLE', 'ACCOUNT_ID', 'AWS_REGION'],
    environment,
  );
  const deps = {
    ...rolloutDepsFrom(env, clients, clock, startRetries(clock.random)),
    acm: clients.acm(PATIENT),
    account: env.ACCOUNT_ID,
    region: env.AWS_REGION,
  };
  const startOnce = once(clients.dynamodb(), env.IDEMPOTENCY_TABLE, 'Key', (renewal: Renewal) =>
    startRenewal(renewal, deps),
  );
  return async (event: object, context: Context) => {
    const outcome = await handleRenewal(event, {
      ...deps,
      onceForSerial: (renewal) => startOnce(renewal, context),
    });
    if ('Started' in outcome) {
      count('RenewalStarted', outcome.Started);
    }
    return outcome;
  };
}

export const handler = inLambda(compose, { acm, documents, dynamodb, sfn });
