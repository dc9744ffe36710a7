import { publicResolver } from '../dns/resolver.ts';
import { DNS_VARIABLES, dnsSessionsFrom } from '../dns/session.ts';
import { parseRules } from '../domain/request-rules.ts';
import { Inventory } from '../inventory/inventory.ts';
import { repeatable } from '../rollouts/repeatable.ts';
import { acm, type Clients, dns, documents, ONE_ATTEMPT, PATIENT, route53, sts } from '../runtime/clients.ts';
import type { Clock } from '../runtime/clock.ts';
import { type Environment, readEnvironment } from '../runtime/environment.ts';
import { inLambda } from '../runtime/in-lambda.ts';
import { type WriteValidationRecordsInput, writeValidationRecords } from './write-validation-records.ts';

type OwnClients = Pick<Clients, 'acm' | 'dns' | 'documents' | 'route53' | 'sts'>;

/** Writes the validation records of a request. */
export function compose(environment: Environment, clients: OwnClients, clock: Clock) {
  const env = readEnvironment(
    ['INVENTORY_TABLE', 'REQUEST_RULES', 'ACCOUNT_ID', ...DNS_VARIABLES],
    environment,
  );
  const deps = {
    requests: new Inventory(clients.documents(), env.INVENTORY_TABLE, clock.now).requests,
    acm: clients.acm(ONE_ATTEMPT),
    place: { account: env.ACCOUNT_ID, region: env.AWS_REGION },
    requestRules: parseRules(env.REQUEST_RULES),
    resolver: publicResolver(clients.dns()),
    // What was looked at before a call fails is looked at again by the next task.
    sessionsFor: dnsSessionsFrom(
      env,
      clients,
      { functionName: 'write-validation-records', asksForChanges: true, ...PATIENT },
      clock,
    ),
    now: clock.now,
  };
  return async (input: WriteValidationRecordsInput) => repeatable(() => writeValidationRecords(input, deps));
}

export const handler = inLambda(compose, { acm, dns, documents, route53, sts });
