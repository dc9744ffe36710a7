import type { RolloutInput } from '../domain/deployment.ts';
import { Inventory } from '../inventory/inventory.ts';
import { repeatable } from '../rollouts/repeatable.ts';
import { acm, type Clients, documents, ONE_ATTEMPT, secretsManager, sts } from '../runtime/clients.ts';
import type { Clock } from '../runtime/clock.ts';
import { type Environment, readEnvironment } from '../runtime/environment.ts';
import { inLambda } from '../runtime/in-lambda.ts';
import { connectTargetFrom, TARGET_VARIABLES } from '../target-account/session.ts';
import { exportCertificate } from './export-certificate.ts';

type OwnClients = Pick<Clients, 'acm' | 'documents' | 'secretsManager' | 'sts'>;

/** Exports a certificate into the bundle of its target account. */
export function compose(environment: Environment, clients: OwnClients, clock: Clock) {
  const env = readEnvironment(
    [...TARGET_VARIABLES, 'INVENTORY_TABLE', 'REQUIRE_CERTIFICATE_TAG'],
    environment,
  );
  // A member stack of the edition before has only the rollout role, which wrote bundles then. One of this edition lets this
  // function have that role until the owner of the account says that no central stack of an earlier edition is left.
  const roles = ['bundleWriterRole', 'rolloutRole'] as const;
  const target = { functionName: 'export-certificate', roles, ...ONE_ATTEMPT };
  const deps = {
    inventory: new Inventory(clients.documents(), env.INVENTORY_TABLE, clock.now),
    acm: clients.acm(ONE_ATTEMPT),
    connectTarget: connectTargetFrom(env, clients, target, (session) => ({
      secretsManager: clients.secretsManager(session),
    })),
    prefix: env.PREFIX,
    partition: env.PARTITION,
    requireCertificateTag: env.REQUIRE_CERTIFICATE_TAG === 'true',
  };
  return (rollout: RolloutInput) => repeatable(() => exportCertificate(rollout, deps));
}

export const handler = inLambda(compose, { acm, documents, secretsManager, sts });
