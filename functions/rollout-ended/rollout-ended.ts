import * as z from 'zod';
import { type Deployment, executionNameOf, isDryRun, parseExecutionName } from '../domain/deployment.ts';
import { isNamed } from '../domain/errors.ts';
import { type Failure, textOf } from '../domain/failure.ts';
import { endOf } from '../domain/rollout.ts';
import type { Notify, Report } from '../notifications/notifier.ts';
import { type AdvanceDeps, advance } from '../rollouts/advance.ts';
import { tellFailure } from '../rollouts/tell-failure.ts';
import { ignore, readEvent } from '../runtime/event.ts';
import { allOf } from '../runtime/in-parallel.ts';
import { logFields } from '../runtime/observability.ts';

/** The fields that are read of Step Functions' Execution Status Change (Step Functions developer guide). */
const ExecutionEvent = z.object({
  source: z.literal('aws.states'),
  time: z.string().max(64),
  detail: z.object({
    executionArn: z.string(),
    name: z.string(),
    status: z.enum(['SUCCEEDED', 'FAILED', 'TIMED_OUT', 'ABORTED']),
    error: z.string().nullish(),
    cause: z.string().nullish(),
  }),
});

export interface RolloutEndedDeps extends AdvanceDeps {
  correlationId: string;
  /** Idempotent, as EventBridge delivers at least once. */
  notify: Notify;
}

/**
 * Does what follows the end of an execution. It records the end of one that did not do so in its own states (a fault, the
 * top-level time-out, an abort), tells people, once, of a rollout that failed, and begins what waited for it.
 *
 * @throws what failed of telling and beginning, when both were tried. Delivered again, the event does what is left.
 */
export async function rolloutEnded(event: unknown, deps: RolloutEndedDeps): Promise<Report> {
  const read = readEvent(ExecutionEvent, event, 'an event of Step Functions');
  if (!read.data) {
    return ignore(read.fault);
  }
  const { detail } = read.data;
  const rollout = parseExecutionName(detail.name);
  if (!rollout) {
    return ignore('the execution was not started by this system');
  }
  const { deploymentId, rolloutNumber } = rollout;
  const deployment = await deps.inventory.get(deploymentId);
  if (!deployment || deployment.Status === 'DELETING') {
    return ignore('the deployment was deleted');
  }
  logFields({ ...deployment, RolloutNumber: rolloutNumber, ExecutionName: detail.name });
  const { executionArn } = detail;
  const failure = { executionArn, rolloutNumber, text: textOf(detail), at: read.data.time };
  const { current, isToTell } = await close(deployment, failure, detail, deps);
  const [told] = await allOf(
    isToTell ? tellFailure(current, failure, deps) : false,
    advance(deploymentId, deps, deps),
  );
  return told
    ? { Reported: executionArn }
    : ignore('there is no failure to tell people of, or they were told of its cause');
}

/**
 * Records the end, if the rollout still says that it runs. A person may start an execution with another name of its
 * number: the end of that one is not the rollout's.
 *
 * @returns the deployment as it is now, and whether people are to be told. Of a dry run they are not: its caller sees the
 * result.
 */
async function close(
  deployment: Deployment,
  failure: Failure,
  { name, status }: z.infer<typeof ExecutionEvent>['detail'],
  deps: RolloutEndedDeps,
): Promise<{ current: Deployment; isToTell: boolean }> {
  const { Running: running } = deployment;
  const { rolloutNumber } = failure;
  if (running?.RolloutNumber === rolloutNumber) {
    if (name !== executionNameOf(deployment.DeploymentId, running)) {
      return { current: deployment, isToTell: false };
    }
    try {
      const { deployment: current, ended } = await deps.inventory.end(deployment, rolloutNumber, {
        Outcome: 'FAILED',
        ExecutionArn: failure.executionArn,
        Error: failure.text,
      });
      return { current, isToTell: ended.Outcome === 'FAILED' && !isDryRun(running) };
    } catch (error) {
      if (!isNamed(error, 'RolloutSuperseded')) {
        throw error;
      }
    }
  }
  const ended = endOf(deployment, rolloutNumber);
  // One that was stopped and left no end was stopped by a DELETE, after which a POST registered the deployment again.
  const isFailure = ended
    ? ended.Outcome === 'FAILED' || status !== 'SUCCEEDED'
    : status === 'FAILED' || status === 'TIMED_OUT';
  return { current: deployment, isToTell: isFailure && !(ended ? isDryRun(ended) : isTry(name)) };
}

const isTry = (executionName: string) => executionName.endsWith('-try');
