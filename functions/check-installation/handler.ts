import {
  type Clients,
  connectTargetFrom,
  documents,
  ONE_ATTEMPT,
  ROLLOUT_VARIABLES,
  rolloutDepsFrom,
  sfn,
  ssm,
  sts,
  TARGET_VARIABLES,
} from '../shared/clients.ts';
import type { Clock } from '../shared/clock.ts';
import { type Environment, readEnvironment } from '../shared/environment.ts';
import { inLambda } from '../shared/in-lambda.ts';
import { countInstallation } from '../shared/installation-metrics.ts';
import { type CheckInstallationInput, checkInstallation } from './check-installation.ts';

type OwnClients = Pick<Clients, 'documents' | 'sfn' | 'ssm' | 'sts'>;

/** Asks how an installation goes, and counts it. */
export function compose(environment: Environment, clients: OwnClients, clock: Clock) {
  const env = readEnvironment([...ROLLOUT_VARIABLES, ...TARGET_VARIABLES], environment);
  const target = { functionName: 'check-installation', ...ONE_ATTEMPT };
  const deps = {
    ...rolloutDepsFrom(env, clients, clock),
    connectTarget: connectTargetFrom(env, clients, target, (session) => ({ ssm: clients.ssm(session) })),
    prefix: env.PREFIX,
    partition: env.PARTITION,
    random: clock.random,
  };
  return async (input: CheckInstallationInput) => {
    const installation = await checkInstallation(input, deps);
    countInstallation(installation.Status, 'InstallationPolled');
    return installation;
  };
}

export const handler = inLambda(compose, { documents, sfn, ssm, sts });
