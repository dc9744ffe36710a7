import {
  acm,
  type Clients,
  connectTargetFrom,
  documents,
  ONE_ATTEMPT,
  secretsManager,
  sts,
  TARGET_VARIABLES,
} from '../shared/clients.ts';
import type { Clock } from '../shared/clock.ts';
import type { RolloutInput } from '../shared/deployment.ts';
import { type Environment, readEnvironment } from '../shared/environment.ts';
import { inLambda } from '../shared/in-lambda.ts';
import { Inventory } from '../shared/inventory.ts';
import { exportCertificate } from './export-certificate.ts';

type OwnClients = Pick<Clients, 'acm' | 'documents' | 'secretsManager' | 'sts'>;

/** Exports a certificate into the bundle of its target account. */
export function compose(environment: Environment, clients: OwnClients, clock: Clock) {
  const env = readEnvironment(
    [...TARGET_VARIABLES, 'INVENTORY_TABLE', 'REQUIRE_CERTIFICATE_TAG'],
    environment,
  );
  const target = { functionName: 'export-certificate', ...ONE_ATTEMPT };
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
  return (rollout: RolloutInput) => exportCertificate(rollout, deps);
}

export const handler = inLambda(compose, { acm, documents, secretsManager, sts });
