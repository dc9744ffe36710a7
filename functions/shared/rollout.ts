import { DescribeExecutionCommand, type SFNClient, StartExecutionCommand } from '@aws-sdk/client-sfn';
import {
  type Deployment,
  executionNameOf,
  type LastRollout,
  type RolloutInput,
  type RolloutOrder,
  type Status,
  timestamp,
} from './deployment.ts';
import { isNamed, RetryLater, RolloutSuperseded } from './errors.ts';
import type { Inventory, RolloutResult } from './inventory.ts';
import { logger } from './observed.ts';

/** Rounds against rollouts that begin or end meanwhile; two suffice unless rollouts take no time. */
const ROUNDS = 5;

export interface RolloutDeps {
  /** False while the whole stack is switched off (parameter RolloutsEnabled): then nothing is started. */
  rolloutsEnabled: boolean;
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
    StartDelaySeconds: claim.StartDelaySeconds ?? 0,
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
      const LastError = `Execution ${name} had ended as ${status} before it could be recorded.`;
      await closeAsFailed(
        deployment,
        deployment.RolloutNumber,
        { ExecutionArn: executionArn, LastError },
        deps,
      );
      return undefined;
    }
  }
  await deps.inventory.note(deployment.DeploymentId, deployment.RolloutNumber, {
    StartedAt: timestamp(deps.now()),
  });
  logger.info('Rollout started', { ...input, ExecutionName: name });
  return executionArn;
}

/**
 * Starts again a claim whose start nobody heard: its claimant crashed, or is about to start it. Either way it is
 * the same execution.
 */
export async function resumeUnstarted(deployment: Deployment, deps: RolloutDeps): Promise<void> {
  if (deps.rolloutsEnabled && deployment.Rollout && !deployment.Rollout.StartedAt) {
    await startClaimed(deployment, deps);
  }
}

/**
 * Claims and starts a rollout. Undefined when another rollout holds the deployment, or it is paused or gone.
 *
 * @param turn when it may begin; at once by default.
 */
export async function claimAndStart(
  deployment: Deployment,
  rollout: RolloutOrder,
  deps: RolloutDeps,
  turn?: Date,
): Promise<string | undefined> {
  const claimed = deps.rolloutsEnabled && (await deps.inventory.claim(deployment, rollout, turn));
  return claimed ? startClaimed(claimed, deps) : undefined;
}

/**
 * Whether a deployment still needs a rollout to a serial: not when it serves it, is on its way to it, or has failed
 * on its way to it (what failed is repeated by reconcile, with growing distance).
 */
export function isBehind(deployment: Deployment, serial: string): boolean {
  const { Rollout: claim, LastRollout: last } = deployment;
  const served = deployment.Serial === serial;
  const underway = claim && claim.Cause !== 'DRY_RUN' && claim.Serial === serial;
  return mayStart(deployment) && !served && !underway && last?.Serial !== serial;
}

/** False for what is only tried out, or about to be deleted. */
export function isActive(deployment: Deployment): boolean {
  return !deployment.DryRunOnly && deployment.Status !== 'DELETING';
}

/** False also for what is paused. */
export function mayStart(deployment: Deployment): boolean {
  return isActive(deployment) && !deployment.PausedAt;
}

/**
 * Starts a rollout to a new serial where the deployment is behind it. Behind another rollout it waits.
 *
 * @param deployment as an index showed it, which may be old by now: every write is conditional, and what is lost to
 *   somebody faster is looked at again.
 * @param turn when the rollout may begin; at once by default.
 * @returns whether a rollout was started.
 * @throws RetryLater when others are faster each time.
 */
export async function bringToSerial(
  deployment: Deployment,
  rollout: RolloutOrder,
  deps: RolloutDeps,
  turn?: Date,
): Promise<boolean> {
  let current: Deployment | undefined = deps.rolloutsEnabled ? deployment : undefined;
  for (let round = 0; round < ROUNDS; round += 1) {
    if (current?.CertificateArn !== rollout.CertificateArn || !isActive(current)) {
      return false;
    }
    if (!isBehind(current, rollout.Serial)) {
      await resumeUnstarted(current, deps);
      return false;
    }
    if (current.Rollout) {
      await resumeUnstarted(current, deps);
      // What waits already brings the newest serial too.
      if (current.Pending || (await deps.inventory.queue(current, rollout))) {
        return false;
      }
    } else {
      const claimed = await deps.inventory.claim(current, rollout, turn);
      if (claimed) {
        return (await startClaimed(claimed, deps)) !== undefined;
      }
    }
    current = await deps.inventory.get(deployment.DeploymentId);
  }
  throw new RetryLater(`Other rollouts of ${deployment.DeploymentId} begin and end too fast.`);
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
  await startPending(finished, deps);
  return finished;
}

/** Closes a claim whose execution ended without recording it. False when somebody else was faster. */
export async function closeAsFailed(
  deployment: Deployment,
  rolloutNumber: number,
  ended: { ExecutionArn: string; LastError: string },
  deps: RolloutDeps,
): Promise<boolean> {
  try {
    await finishRollout(deployment, rolloutNumber, { Status: 'FAILED', ...ended }, deps);
    return true;
  } catch (error) {
    if (isNamed(error, 'RolloutSuperseded')) {
      return false;
    }
    throw error;
  }
}

/**
 * Starts what waited for a rollout to end. A failure here is not one of the rollout that ended, so it is only
 * logged: reconcile starts what still waits.
 */
export async function startPending(deployment: Deployment, deps: RolloutDeps): Promise<void> {
  try {
    const { Pending: pending } = deployment;
    if (deployment.Rollout) {
      await resumeUnstarted(deployment, deps);
    } else if (pending && pending.Cause === 'RENEWAL' && pending.Serial === deployment.Serial) {
      // The rollout that ended had found the new serial by itself.
      await deps.inventory.unqueue(deployment);
    } else if (pending) {
      await claimAndStart(deployment, pending, deps);
    }
  } catch (error) {
    logger.error('The rollout that waited could not be started', error as Error);
  }
}

/**
 * The deployment that a running rollout works for, and the rollout's end where it was recorded already: then an
 * earlier attempt of the same task did the work and was not heard.
 *
 * @throws RolloutSuperseded when the deployment is gone, is being deleted, or has another rollout by now.
 */
export async function openRollout(
  inventory: Inventory,
  rollout: { DeploymentId: string; RolloutNumber: number },
): Promise<{ deployment: Deployment; ended?: LastRollout }> {
  const deployment = await inventory.get(rollout.DeploymentId);
  const isThis = (last: LastRollout | undefined) => last?.Number === rollout.RolloutNumber;
  const ended = [deployment?.LastRollout, deployment?.LastDryRun].find(isThis);
  if (deployment && ended) {
    return { deployment, ended };
  }
  const superseded =
    !deployment?.Rollout ||
    deployment.Status === ('DELETING' satisfies Status) ||
    deployment.RolloutNumber !== rollout.RolloutNumber;
  if (superseded) {
    throw new RolloutSuperseded(
      `Rollout ${rollout.RolloutNumber} is not the current one of deployment ${rollout.DeploymentId}.`,
    );
  }
  return { deployment };
}
