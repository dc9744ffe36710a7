import { ACMClient } from '@aws-sdk/client-acm';
import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import type { RolloutInput } from '../shared/deployment.ts';
import { readEnvironment } from '../shared/environment.ts';
import { ONE_ATTEMPT, observed, traced } from '../shared/observed.ts';
import { inventoryFrom } from '../shared/rollout-clients.ts';
import type { OpenSession } from '../shared/target-account.ts';
import { targetSessionsFrom } from '../shared/target-sessions.ts';
import { exportCertificate } from './export-certificate.ts';

const env = readEnvironment([
  'INVENTORY_TABLE',
  'PREFIX',
  'PARTITION',
  'EXTERNAL_ID',
  'REQUIRE_CERTIFICATE_TAG',
]);
const openSession = targetSessionsFrom(env, 'export-certificate', ONE_ATTEMPT);
const deps = {
  inventory: inventoryFrom(env.INVENTORY_TABLE),
  acm: traced(new ACMClient(ONE_ATTEMPT)),
  connectTarget: async (...session: Parameters<OpenSession>) => ({
    secretsManager: traced(new SecretsManagerClient(await openSession(...session))),
  }),
  prefix: env.PREFIX,
  partition: env.PARTITION,
  requireCertificateTag: env.REQUIRE_CERTIFICATE_TAG === 'true',
};

export const handler = observed((rollout: RolloutInput) => exportCertificate(rollout, deps));
