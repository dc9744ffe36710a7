import type { CheckInstallationInput } from '../domain/installation.ts';
import { Inventory } from '../inventory/inventory.ts';
import { countInstallation } from '../rollouts/count-installation.ts';
import { repeatable } from '../rollouts/repeatable.ts';
import { type Clients, documents, ONE_ATTEMPT, ssm, sts } from '../runtime/clients.ts';
import type { Clock } from '../runtime/clock.ts';
import { type Environment, readEnvironment } from '../runtime/environment.ts';
import { inLambda } from '../runtime/in-lambda.ts';
import { connectTargetFrom, TARGET_VARIABLES } from '../target-account/session.ts';
import { checkInstallation } from './check-installation.ts';

type OwnClients = Pick<Clients, 'documents' | 'ssm' | 'sts'>;

/** Asks how an installation goes, and counts it. */
export function compose(environment: Environment, clients: OwnClients, clock: Clock) {
  const env = readEnvironment(['INVENTORY_TABLE', 'STATE_MACHINE_ARN', ...TARGET_VARIABLES], environment);
  const target = { functionName: 'check-installation', ...ONE_ATTEMPT };
  const deps = {
    inventory: new Inventory(clients.documents(), env.INVENTORY_TABLE, clock.now),
    stateMachineArn: env.STATE_MACHINE_ARN,
    now: clock.now,
    connectTarget: connectTargetFrom(env, clients, target, (session) => ({ ssm: clients.ssm(session) })),
    prefix: env.PREFIX,
    partition: env.PARTITION,
    random: clock.random,
  };
  return async (input: CheckInstallationInput) => {
    const installation = await repeatable(() => checkInstallation(input, deps));
    countInstallation(installation.Status, 'InstallationPolled');
    return installation;
  };
}

export const handler = inLambda(compose, { documents, ssm, sts });
