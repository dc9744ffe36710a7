import { expect, test } from '@jest/globals';
import type { Deployment } from '../../functions/domain/deployment.ts';
import { exportCertificate } from '../../functions/export-certificate/export-certificate.ts';
import type { Inventory } from '../../functions/inventory/inventory.ts';
import { openRollout } from '../../functions/rollouts/open-rollout.ts';

const rollout = { DeploymentId: '0'.repeat(24), RolloutNumber: 7 };
const Order = { CertName: 'web', CertificateArn: 'arn' };
const running = { RolloutNumber: 7, Order, CorrelationId: 'c' };
const inventory = (deployment?: object) =>
  ({ get: async () => deployment as Deployment | undefined }) as unknown as Inventory;
const deployment = { DeploymentId: rollout.DeploymentId, Status: 'ROLLING_OUT', Running: running };

test('a task of the rollout that runs gets its order', async () => {
  await expect(openRollout(inventory(deployment), rollout)).resolves.toMatchObject({ running: { Order } });
});

test.each([
  ['of a deployment that is gone', undefined],
  ['of a deployment without a rollout', { ...deployment, Running: undefined }],
  ['of an earlier rollout', { ...deployment, Running: { ...running, RolloutNumber: 8 } }],
  ['of a later rollout', { ...deployment, Running: { ...running, RolloutNumber: 6 } }],
  ['of a deployment that is being deleted', { ...deployment, Status: 'DELETING' }],
])('a task %s does nothing', async (_, found) => {
  await expect(openRollout(inventory(found), rollout)).rejects.toMatchObject({ name: 'RolloutSuperseded' });
});

test('a rollout that has ended exports nothing', async () => {
  const ended = { ...deployment, Running: undefined, Observed: { RolloutNumber: 7, Outcome: 'INSTALLED' } };
  // There is nothing else that it could call.
  const deps = { inventory: inventory(ended) } as Parameters<typeof exportCertificate>[1];
  await expect(exportCertificate(rollout as never, deps)).rejects.toMatchObject({
    name: 'RolloutSuperseded',
  });
});
