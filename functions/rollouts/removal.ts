import { type SFNClient, StopExecutionCommand } from '@aws-sdk/client-sfn';
import { type Deployment, executionArnOf, secretNameOf } from '../domain/deployment.ts';
import { isNamed, RolloutSuperseded } from '../domain/errors.ts';
import type { Inventory } from '../inventory/inventory.ts';
import { stopAutomation } from '../target-account/automation.ts';
import { restoreBundle, scheduleDeletion } from '../target-account/bundle.ts';
import {
  type ConnectTarget,
  inTarget,
  type SessionStatement,
  targetArns,
} from '../target-account/session.ts';

export interface RemovalDeps {
  inventory: Inventory;
  sfn: SFNClient;
  stateMachineArn: string;
  connectTarget: ConnectTarget<'ssm' | 'secretsManager'>;
  prefix: string;
  partition: string;
}

/**
 * Removes a deployment that is marked as being deleted: its rollout is stopped, its bundle scheduled for deletion, its
 * record dropped. Each step can be repeated.
 *
 * @param force drops the record even where the target account refuses us, for an account that is closed.
 * @returns what was left as it is, and why.
 * @throws TargetAccessDenied, TargetNotPrepared, NotAllowedByOwner
 * @throws RolloutSuperseded when another call has removed it and it was registered again since.
 */
export async function removeDeployment(
  deployment: Deployment,
  deps: RemovalDeps,
  force = false,
): Promise<string[]> {
  const { DeploymentId, Running: running } = deployment;
  if (running) {
    await stopExecution(executionArnOf(deps.stateMachineArn, DeploymentId, running), deps);
  }
  const warnings: string[] = [];
  try {
    await withdrawFromTarget(deployment, deps);
  } catch (error) {
    if (!force || !isNamed(error, 'TargetAccessDenied', 'TargetNotPrepared', 'NotAllowedByOwner')) {
      throw error;
    }
    warnings.push(`The bundle stays as it is, and an installation that runs goes on. ${error.message}`);
  }
  await deps.inventory.remove(deployment);
  return warnings;
}

async function stopExecution(executionArn: string, deps: RemovalDeps): Promise<void> {
  try {
    await deps.sfn.send(new StopExecutionCommand({ executionArn, cause: 'The deployment is deleted.' }));
  } catch (error) {
    // Begun but never started: then it cannot start any more either, as the deployment is being deleted.
    if (!isNamed(error, 'ExecutionDoesNotExist')) {
      throw error;
    }
  }
}

async function withdrawFromTarget(deployment: Deployment, deps: RemovalDeps): Promise<void> {
  const { Running: running, Unfinished: unfinished } = deployment;
  const left = [running?.AutomationExecutionId, unfinished?.AutomationExecutionId].filter(
    (id) => id !== undefined,
  );
  const stop: SessionStatement = {
    Effect: 'Allow',
    Action: ['ssm:StopAutomationExecution'],
    Resource: targetArns(deps, deployment).automationExecutions,
  };
  const { ssm, secretsManager } = await deps.connectTarget(deployment, [
    ...(left.length > 0 ? [stop] : []),
    {
      Effect: 'Allow',
      Action: [
        'secretsmanager:DescribeSecret',
        'secretsmanager:DeleteSecret',
        'secretsmanager:RestoreSecret',
      ],
      Resource: targetArns(deps, deployment).bundle(deployment),
    },
  ]);
  await inTarget(deployment, async () => {
    for (const id of left) {
      await stopAutomation(ssm, id);
    }
    const name = secretNameOf(deps.prefix, deployment);
    await refuseAnother(deployment, deps);
    await scheduleDeletion(secretsManager, name);
    await refuseAnother(deployment, deps, () => restoreBundle(secretsManager, name));
  });
}

/**
 * A call that hung may go on when another one has removed the deployment, and it was registered again: the bundle is then
 * that of the new one.
 *
 * @param giveBack is called where that one is not being deleted too.
 * @throws RolloutSuperseded
 */
async function refuseAnother(
  deployment: Deployment,
  { inventory }: RemovalDeps,
  giveBack = async () => {},
): Promise<void> {
  const current = await inventory.get(deployment.DeploymentId);
  const { DeletingSince, RolloutNumber } = deployment;
  if (!current || (current.DeletingSince === DeletingSince && current.RolloutNumber === RolloutNumber)) {
    return;
  }
  if (current.Status !== 'DELETING') {
    await giveBack();
  }
  throw new RolloutSuperseded(`Deployment ${deployment.DeploymentId} was registered again meanwhile.`);
}
