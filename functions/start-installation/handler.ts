import { EventBridgeClient } from '@aws-sdk/client-eventbridge';
import { SSMClient } from '@aws-sdk/client-ssm';
import { readEnvironment } from '../shared/environment.ts';
import { countInstallation } from '../shared/installation-metrics.ts';
import { ONE_ATTEMPT, observed, traced } from '../shared/observed.ts';
import { rolloutDepsFrom } from '../shared/rollout-clients.ts';
import type { OpenSession } from '../shared/target-account.ts';
import { targetSessionsFrom } from '../shared/target-sessions.ts';
import { type StartInstallationInput, startInstallation } from './start-installation.ts';

const env = readEnvironment([
  'INVENTORY_TABLE',
  'STATE_MACHINE_ARN',
  'ROLLOUTS_ENABLED',
  'PREFIX',
  'PARTITION',
  'EXTERNAL_ID',
  'INSTALLATION_TIMEOUT_MINUTES',
]);
const openSession = targetSessionsFrom(env, 'start-installation', ONE_ATTEMPT);
const deps = {
  ...rolloutDepsFrom(env),
  connectTarget: async (...purpose: Parameters<OpenSession>) => {
    const session = await openSession(...purpose);
    return { ssm: traced(new SSMClient(session)), events: traced(new EventBridgeClient(session)) };
  },
  prefix: env.PREFIX,
  partition: env.PARTITION,
  timeoutMinutes: Number(env.INSTALLATION_TIMEOUT_MINUTES),
};

export const handler = observed(async (input: StartInstallationInput) => {
  const installation = await startInstallation(input, deps);
  countInstallation(installation.Status, 'InstallationStarted');
  return installation;
});
