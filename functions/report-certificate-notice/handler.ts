import type { Context } from 'aws-lambda';
import { Inventory } from '../inventory/inventory.ts';
import { NOTIFIER_VARIABLES, notifierFrom } from '../notifications/notifier.ts';
import { type Clients, documents, dynamodb, sns } from '../runtime/clients.ts';
import type { Clock } from '../runtime/clock.ts';
import { type Environment, readEnvironment } from '../runtime/environment.ts';
import { inLambda } from '../runtime/in-lambda.ts';
import { count } from '../runtime/observability.ts';
import { reportCertificateNotice } from './report-certificate-notice.ts';

type OwnClients = Pick<Clients, 'documents' | 'dynamodb' | 'sns'>;

/** Tells people of ACM's notices. */
export function compose(environment: Environment, clients: OwnClients, clock: Clock) {
  const env = readEnvironment(['INVENTORY_TABLE', ...NOTIFIER_VARIABLES], environment);
  const deps = { inventory: new Inventory(clients.documents(), env.INVENTORY_TABLE, clock.now) };
  const notifier = notifierFrom(env, clients);
  return async (event: object, context: Context) => {
    const report = await reportCertificateNotice(event, { ...deps, notify: notifier(context) });
    if ('Reported' in report) {
      count('NoticeReported');
    }
    return report;
  };
}

export const handler = inLambda(compose, { documents, dynamodb, sns });
