import type { StartInstallationInput } from '../domain/installation.ts';
import { Inventory } from '../inventory/inventory.ts';
import { countInstallation } from '../rollouts/count-installation.ts';
import { repeatable } from '../rollouts/repeatable.ts';
import { type Clients, documents, events, ONE_ATTEMPT, ssm, sts } from '../runtime/clients.ts';
import type { Clock } from '../runtime/clock.ts';
import { type Environment, readEnvironment } from '../runtime/environment.ts';
import { inLambda } from '../runtime/in-lambda.ts';
import { connectTargetFrom, TARGET_VARIABLES } from '../target-account/session.ts';
import { startInstallation } from './start-installation.ts';

type OwnClients = Pick<Clients, 'documents' | 'events' | 'ssm' | 'sts'>;

/** Starts an installation, and counts it. */
export function compose(environment: Environment, clients: OwnClients, clock: Clock) {
  const env = readEnvironment(
    ['INVENTORY_TABLE', 'STATE_MACHINE_ARN', ...TARGET_VARIABLES, 'INSTALLATION_TIMEOUT_MINUTES'],
    environment,
  );
  const target = { functionName: 'start-installation', ...ONE_ATTEMPT };
  const deps = {
    inventory: new Inventory(clients.documents(), env.INVENTORY_TABLE, clock.now),
    stateMachineArn: env.STATE_MACHINE_ARN,
    now: clock.now,
    connectTarget: connectTargetFrom(env, clients, target, (session) => ({
      ssm: clients.ssm(session),
      events: clients.events(session),
    })),
    prefix: env.PREFIX,
    partition: env.PARTITION,
    timeoutMinutes: Number(env.INSTALLATION_TIMEOUT_MINUTES),
  };
  return async (input: StartInstallationInput) => {
    const installation = await repeatable(() => startInstallation(input, deps));
    countInstallation(installation.Status, 'InstallationStarted');
    return installation;
  };
}

export const handler = inLambda(compose, { documents, events, ssm, sts });
