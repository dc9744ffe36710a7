import type { RequestInput } from '../domain/certificate-request.ts';
import { parseRules } from '../domain/request-rules.ts';
import { Inventory } from '../inventory/inventory.ts';
import { repeatable } from '../rollouts/repeatable.ts';
import { acm, type Clients, documents, ONE_ATTEMPT } from '../runtime/clients.ts';
import type { Clock } from '../runtime/clock.ts';
import { type Environment, listOf, readEnvironment } from '../runtime/environment.ts';
import { inLambda } from '../runtime/in-lambda.ts';
import { type IssuanceEvent, requestCertificate } from './request-certificate.ts';

type OwnClients = Pick<Clients, 'acm' | 'documents'>;

/** Asks ACM for the certificate that a person requested, and looks how far it is. */
export function compose(environment: Environment, clients: OwnClients, clock: Clock) {
  const env = readEnvironment(
    ['INVENTORY_TABLE', 'REQUEST_RULES', 'MAX_CERTIFICATES_PER_DAY', 'DNS_ACCOUNTS'],
    environment,
  );
  const deps = {
    inventory: new Inventory(clients.documents(), env.INVENTORY_TABLE, clock.now),
    acm: clients.acm(ONE_ATTEMPT),
    now: clock.now,
    requestRules: parseRules(env.REQUEST_RULES),
    maxCertificatesPerDay: Number(env.MAX_CERTIFICATES_PER_DAY),
    hasZones: listOf(env.DNS_ACCOUNTS).length > 0,
  };
  return (event: RequestInput | IssuanceEvent) => repeatable(() => requestCertificate(event, deps));
}

export const handler = inLambda(compose, { acm, documents });
