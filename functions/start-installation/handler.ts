import { readEnvironment } from '../shared/environment.ts';
import { ONE_ATTEMPT, observed } from '../shared/observed.ts';
import { rolloutDepsFrom, targetAccountsFrom } from '../shared/rollout-clients.ts';
import { type StartInstallationInput, startInstallation } from './start-installation.ts';

const env = readEnvironment([
  'INVENTORY_TABLE',
  'STATE_MACHINE_ARN',
  'PREFIX',
  'PARTITION',
  'EXTERNAL_ID',
  'INSTALLATION_TIMEOUT_MINUTES',
]);
const deps = {
  ...rolloutDepsFrom(env),
  connectTarget: targetAccountsFrom(env, 'start-installation', ONE_ATTEMPT),
  prefix: env.PREFIX,
  partition: env.PARTITION,
  timeoutMinutes: Number(env.INSTALLATION_TIMEOUT_MINUTES),
};

export const handler = observed((input: StartInstallationInput) => startInstallation(input, deps));
