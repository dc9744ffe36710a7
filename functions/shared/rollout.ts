import { DescribeExecutionCommand, type SFNClient, StartExecutionCommand } from '@aws-sdk/client-sfn';
import {
  type Deployment,
  executionNameOf,
  type RolloutInput,
  type RolloutOrder,
  type Status,
  timestamp,
} from './deployment.ts';
import { isNamed, RolloutSuperseded } from './errors.ts';
import type { Inventory, RolloutResult } from './inventory.ts';

export interface RolloutDeps {
  inventory: Inventory;
  sfn: SFNClient;
  stateMachineArn: string;
  now: () => Date;
}

/** ARN of an execution, from the ARN of its state machine. */
export function executionArnOf(stateMachineArn: string, executionName: string): string {
  return `${stateMachineArn.replace(':stateMachine:', ':execution:')}:${executionName}`;
}

/** ARN of the execution of the running rollout. */
export function runningExecutionArn(stateMachineArn: string, deployment: Deployment): string {
  const serial = deployment.Rollout?.Serial ?? '';
  return executionArnOf(
    stateMachineArn,
    executionNameOf(deployment.DeploymentId, serial, deployment.RolloutNumber),
  );
}

/**
 * Starts the execution of a claimed rollout. Name and input follow from the claim alone, so that whoever
 * starts it again (a retry, another function after a crash) gets the same execution and never a second one.
 *
 * StartExecution with the same name and input answers with the running execution; once that has ended it
 * raises ExecutionAlreadyExists (API reference of StartExecution).
 *
 * @returns the execution's ARN, or undefined when it had ended without success: the claim was then closed.
 */
export async function startClaimed(deployment: Deployment, deps: RolloutDeps): Promise<string | undefined> {
  const { Rollout: claim } = deployment;
  if (!claim) {
    throw new Error(`Deployment ${deployment.DeploymentId} has no claimed rollout.`);
  }
  const name = executionNameOf(deployment.DeploymentId, claim.Serial, deployment.RolloutNumber);
  const input: RolloutInput = {
    DeploymentId: deployment.DeploymentId,
    RolloutNumber: deployment.RolloutNumber,
    CertName: deployment.CertName,
    CertificateArn: claim.CertificateArn,
    Serial: claim.Serial,
    Cause: claim.Cause,
    CorrelationId: claim.CorrelationId,
  };
  const executionArn = executionArnOf(deps.stateMachineArn, name);
  try {
    await deps.sfn.send(
      new StartExecutionCommand({
        stateMachineArn: deps.stateMachineArn,
        name,
        input: JSON.stringify(input),
      }),
    );
  } catch (error) {
    if (!isNamed(error, 'ExecutionAlreadyExists')) {
      throw error;
    }
    const { status } = await deps.sfn.send(new DescribeExecutionCommand({ executionArn }));
    if (status !== 'RUNNING' && status !== 'PENDING_REDRIVE' && status !== 'SUCCEEDED') {
      await deps.inventory.finish(deployment, deployment.RolloutNumber, {
        Status: 'FAILED',
        ExecutionArn: executionArn,
        LastError: `Execution ${name} had ended as ${status} before it could be recorded.`,
      });
      return undefined;
    }
  }
  await deps.inventory.note(deployment.DeploymentId, deployment.RolloutNumber, {
    StartedAt: timestamp(deps.now()),
  });
  return executionArn;
}

/**
 * Starts again a claim whose start nobody heard: its claimant crashed, or is about to start it. Either way it is
 * the same execution.
 */
export async function resumeUnstarted(deployment: Deployment, deps: RolloutDeps): Promise<void> {
  if (deployment.Rollout && !deployment.Rollout.StartedAt) {
    await startClaimed(deployment, deps);
  }
}

/** Claims and starts a rollout. Undefined when another rollout holds the deployment or it is gone. */
export async function claimAndStart(
  deployment: Deployment,
  rollout: RolloutOrder,
  deps: RolloutDeps,
): Promise<string | undefined> {
  const claimed = await deps.inventory.claim(deployment, rollout);
  return claimed ? startClaimed(claimed, deps) : undefined;
}

/**
 * Starts a rollout to a new serial, unless the deployment serves it, is on its way to it, or has failed on its way
 * to it (what failed is repeated by reconcile, with growing distance). Behind another rollout it waits.
 *
 * @returns whether a rollout was started.
 */
export async function bringToSerial(
  deployment: Deployment,
  rollout: RolloutOrder,
  deps: RolloutDeps,
): Promise<boolean> {
  const { Serial } = rollout;
  const tried = deployment.LastRollout?.Serial === Serial && deployment.LastRollout.Cause !== 'DRY_RUN';
  if (deployment.DryRunOnly || deployment.Status === 'DELETING') {
    return false;
  }
  if (deployment.Rollout && deployment.Rollout.Cause !== 'DRY_RUN' && deployment.Rollout.Serial === Serial) {
    await resumeUnstarted(deployment, deps);
    return false;
  }
  if (deployment.Rollout) {
    await deps.inventory.queue(deployment, rollout);
    return false;
  }
  if (deployment.Serial === Serial || tried) {
    return false;
  }
  return (await claimAndStart(deployment, rollout, deps)) !== undefined;
}

/**
 * Writes the end of a rollout and starts what arrived while it was running.
 *
 * @throws RolloutSuperseded when the rollout's claim had ended already.
 */
export async function finishRollout(
  deployment: Deployment,
  rolloutNumber: number,
  result: RolloutResult,
  deps: RolloutDeps,
): Promise<Deployment> {
  const finished = await deps.inventory.finish(deployment, rolloutNumber, result);
  if (!finished) {
    throw new RolloutSuperseded(`Rollout ${rolloutNumber} of ${deployment.DeploymentId} had ended already.`);
  }
  if (finished.Pending) {
    await claimAndStart(finished, finished.Pending, deps);
  }
  return finished;
}

/**
 * The deployment that a running rollout works for.
 *
 * @throws RolloutSuperseded when the deployment is gone, is being deleted, or has another rollout by now.
 */
export async function currentDeployment(
  inventory: Inventory,
  rollout: { DeploymentId: string; RolloutNumber: number },
): Promise<Deployment> {
  const deployment = await inventory.get(rollout.DeploymentId);
  const superseded =
    !deployment?.Rollout ||
    deployment.Status === ('DELETING' satisfies Status) ||
    deployment.RolloutNumber !== rollout.RolloutNumber;
  if (superseded) {
    throw new RolloutSuperseded(
      `Rollout ${rollout.RolloutNumber} is not the current one of deployment ${rollout.DeploymentId}.`,
    );
  }
  return deployment;
}
