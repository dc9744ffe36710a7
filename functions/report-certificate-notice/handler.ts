import type { Context } from 'aws-lambda';
import { type Clients, documents, dynamodb, sns } from '../shared/clients.ts';
import type { Clock } from '../shared/clock.ts';
import { type Environment, readEnvironment } from '../shared/environment.ts';
import { inLambda } from '../shared/in-lambda.ts';
import { Inventory } from '../shared/inventory.ts';
import { NOTIFIER_VARIABLES, notifierFrom } from '../shared/notification.ts';
import { count } from '../shared/observed.ts';
import { reportCertificateNotice } from './report-certificate-notice.ts';

type OwnClients = Pick<Clients, 'documents' | 'dynamodb' | 'sns'>;

/** Tells people of ACM's notices. */
export function compose(environment: Environment, clients: OwnClients, clock: Clock) {
  const env = readEnvironment(['INVENTORY_TABLE', ...NOTIFIER_VARIABLES], environment);
  const deps = { inventory: new Inventory(clients.documents(), env.INVENTORY_TABLE, clock.now) };
  const notifier = notifierFrom(env, clients);
  return async (event: object, context: Context) => {
    const report = await reportCertificateNotice(event, { ...deps, notifyOnce: notifier(context) });
    if ('Reported' in report) {
      count('NoticeReported');
    }
    return report;
  };
}

export const handler = inLambda(compose, { documents, dynamodb, sns });
