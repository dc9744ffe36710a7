import { ACMClient } from '@aws-sdk/client-acm';
import type { RolloutInput } from '../shared/deployment.ts';
import { readEnvironment } from '../shared/environment.ts';
import { ONE_ATTEMPT, observed, traced } from '../shared/observed.ts';
import { inventoryFrom, targetAccountsFrom } from '../shared/rollout-clients.ts';
import { exportCertificate } from './export-certificate.ts';

const env = readEnvironment([
  'INVENTORY_TABLE',
  'PREFIX',
  'PARTITION',
  'EXTERNAL_ID',
  'REQUIRE_CERTIFICATE_TAG',
]);
const deps = {
  inventory: inventoryFrom(env.INVENTORY_TABLE),
  acm: traced(new ACMClient(ONE_ATTEMPT)),
  connectTarget: targetAccountsFrom(env, 'export-certificate', ONE_ATTEMPT),
  prefix: env.PREFIX,
  partition: env.PARTITION,
  requireCertificateTag: env.REQUIRE_CERTIFICATE_TAG === 'true',
};

export const handler = observed((rollout: RolloutInput) => exportCertificate(rollout, deps));
