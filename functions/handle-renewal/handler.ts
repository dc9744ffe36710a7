import { ADVANCE_VARIABLES, advanceDepsFrom } from '../rollouts/advance.ts';
import { acm, type Clients, documents, PATIENT, sfn } from '../runtime/clients.ts';
import type { Clock } from '../runtime/clock.ts';
import { type Environment, readEnvironment } from '../runtime/environment.ts';
import { inLambda } from '../runtime/in-lambda.ts';
import { count } from '../runtime/observability.ts';
import { handleRenewal } from './handle-renewal.ts';
import { startRetries } from './start-retries.ts';

type OwnClients = Pick<Clients, 'acm' | 'documents' | 'sfn'>;

/** Starts the rollouts of a renewed certificate. */
export function compose(environment: Environment, clients: OwnClients, clock: Clock) {
  const env = readEnvironment([...ADVANCE_VARIABLES, 'ACCOUNT_ID', 'AWS_REGION'], environment);
  const deps = {
    ...advanceDepsFrom(env, clients, clock, startRetries(clock.random)),
    acm: clients.acm(PATIENT),
    account: env.ACCOUNT_ID,
    region: env.AWS_REGION,
  };
  return async (event: object) => {
    const outcome = await handleRenewal(event, deps);
    if ('Started' in outcome) {
      count('RenewalStarted', outcome.Started);
    }
    return outcome;
  };
}

export const handler = inLambda(compose, { acm, documents, sfn });
