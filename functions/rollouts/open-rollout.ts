import { type Deployment, type Ended, executionNameOf, type Running } from '../domain/deployment.ts';
import { RolloutSuperseded } from '../domain/errors.ts';
import { endOf } from '../domain/rollout.ts';
import type { Inventory } from '../inventory/inventory.ts';
import { logFields } from '../runtime/observability.ts';

/** A rollout that a task works for. `ended`: an earlier attempt of the task ended it and was not heard. */
export interface OpenRollout {
  deployment: Deployment;
  running: Running;
  ended?: undefined;
}

/**
 * Reads what a task is to do: from the record alone, so that an execution that a person started with another input
 * changes nothing. Every further log line names the rollout.
 *
 * @throws RolloutSuperseded when the deployment is gone, is being deleted, or has another rollout by now.
 */
export async function openRollout(
  inventory: Inventory,
  rollout: { DeploymentId: string; RolloutNumber: number },
): Promise<OpenRollout | { ended: Ended }> {
  const deployment = await inventory.get(rollout.DeploymentId);
  const running = deployment?.Running;
  const ended = deployment && endOf(deployment, rollout.RolloutNumber);
  if (ended) {
    return { ended };
  }
  if (running?.RolloutNumber !== rollout.RolloutNumber || deployment?.Status === 'DELETING' || !deployment) {
    throw new RolloutSuperseded(
      `Rollout ${rollout.RolloutNumber} is not the current one of deployment ${rollout.DeploymentId}.`,
    );
  }
  const { CertName, CertificateArn } = running.Order;
  const ExecutionName = executionNameOf(deployment.DeploymentId, running);
  logFields({ ...rollout, CertName, CertificateArn, CorrelationId: running.CorrelationId, ExecutionName });
  return { deployment, running };
}
