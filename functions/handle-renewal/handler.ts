import { ACMClient } from '@aws-sdk/client-acm';
import { SFNClient } from '@aws-sdk/client-sfn';
import { readEnvironment } from '../shared/environment.ts';
import { count, observed, PATIENT, traced } from '../shared/observed.ts';
import { once } from '../shared/once.ts';
import { rolloutDepsFrom } from '../shared/rollout-clients.ts';
import { handleRenewal, type Renewal, startRenewal } from './handle-renewal.ts';
import { START_RETRIES } from './start-retries.ts';

const env = readEnvironment([
  'INVENTORY_TABLE',
  'IDEMPOTENCY_TABLE',
  'STATE_MACHINE_ARN',
  'ROLLOUTS_ENABLED',
  'ACCOUNT_ID',
  'AWS_REGION',
]);
const deps = {
  ...rolloutDepsFrom(env),
  acm: traced(new ACMClient(PATIENT)),
  sfn: traced(new SFNClient(START_RETRIES)),
  account: env.ACCOUNT_ID,
  region: env.AWS_REGION,
};
const startOnce = once(env.IDEMPOTENCY_TABLE, 'Key', (renewal: Renewal) => startRenewal(renewal, deps));

export const handler = observed(async (event: object, context) => {
  const outcome = await handleRenewal(event, {
    ...deps,
    onceForSerial: (renewal) => startOnce(renewal, context),
  });
  if ('Started' in outcome) {
    count('RenewalStarted', outcome.Started);
  }
  return outcome;
});
