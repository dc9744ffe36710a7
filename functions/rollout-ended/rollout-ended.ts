import * as z from 'zod';
import { type Deployment, executionNameOf, isDryRun, parseExecutionName } from '../domain/deployment.ts';
import { isNamed } from '../domain/errors.ts';
import { executionLink, ownOf, placeOf, SUBJECTS } from '../domain/notification.ts';
import { endOf } from '../domain/rollout.ts';
import type { Notify, Report } from '../notifications/notifier.ts';
import { type AdvanceDeps, advance } from '../rollouts/advance.ts';
import { ignore, readEvent } from '../runtime/event.ts';
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

type ExecutionEvent = z.infer<typeof ExecutionEvent>;

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
  const { current, isTold } = await close(deployment, rolloutNumber, detail, deps);
  const [told, advanced] = await Promise.allSettled([
    isTold ? tell(current, rolloutNumber, read.data, deps) : undefined,
    advance(deploymentId, deps, deps),
  ]);
  for (const { reason } of [told, advanced].filter((done) => done.status === 'rejected')) {
    throw reason;
  }
  return isTold ? { Reported: detail.executionArn } : ignore('there is no failure to tell people of');
}

/**
 * Records the end, if the rollout still says that it runs. A person may start an execution with another name of its
 * number: the end of that one is not the rollout's.
 *
 * @returns the deployment as it is now, and whether people are told. A dry run is not told: its caller sees the result.
 */
async function close(
  deployment: Deployment,
  rolloutNumber: number,
  detail: ExecutionEvent['detail'],
  deps: RolloutEndedDeps,
): Promise<{ current: Deployment; isTold: boolean }> {
  const { Running: running } = deployment;
  if (running?.RolloutNumber === rolloutNumber) {
    if (detail.name !== executionNameOf(deployment.DeploymentId, running)) {
      return { current: deployment, isTold: false };
    }
    try {
      const { deployment: current, ended } = await deps.inventory.end(deployment, rolloutNumber, {
        Outcome: 'FAILED',
        ExecutionArn: detail.executionArn,
        Error: describeFailure(detail),
      });
      return { current, isTold: ended.Outcome === 'FAILED' && !isDryRun(running) };
    } catch (error) {
      if (!isNamed(error, 'RolloutSuperseded')) {
        throw error;
      }
    }
  }
  const ended = endOf(deployment, rolloutNumber);
  const isFailure = detail.status !== 'SUCCEEDED' || ended?.Outcome === 'FAILED';
  return { current: deployment, isTold: isFailure && !(ended ? isDryRun(ended) : isTry(detail.name)) };
}

const isTry = (executionName: string) => executionName.endsWith('-try');

async function tell(
  deployment: Deployment,
  rolloutNumber: number,
  { detail, time }: ExecutionEvent,
  deps: RolloutEndedDeps,
): Promise<void> {
  const { executionArn, status, error } = detail;
  const { CertName, CertificateArn, Observed } = deployment;
  await deps.notify(`${executionArn}#${status}`, {
    Subject: SUBJECTS.rollout(deployment, status === 'SUCCEEDED' ? 'lost' : status),
    What: `The rollout of certificate ${CertName} (${CertificateArn}) ended as ${status}. ${describeFailure(detail)} The nodes that were not changed go on serving what they served.${laterEnd(deployment, rolloutNumber)}`,
    Where: placeOf(deployment),
    Since: Observed?.FailingSince ?? time,
    WhatToDo: adviceFor(error ?? status),
    Link: executionLink(executionArn),
  });
}

/** Events may come late: what has happened since may let a person go back to sleep. */
function laterEnd({ Observed: last }: Deployment, rolloutNumber: number): string {
  return last && last.RolloutNumber > rolloutNumber
    ? ` Since then, rollout ${last.RolloutNumber} has ended as ${last.Outcome}.`
    : '';
}

/** The cause of a failed Lambda task is the JSON of its error; its message is what a person can read. */
function describeFailure({ status, error, cause }: ExecutionEvent['detail']): string {
  let message = cause ?? '';
  try {
    message = String((JSON.parse(message) as { errorMessage?: unknown }).errorMessage ?? message);
  } catch {
    // Not JSON: the text of a Fail state.
  }
  const texts: Record<string, string> = {
    SUCCEEDED: 'The execution recorded nothing.',
    TIMED_OUT: 'The execution reached its time limit.',
    ABORTED: 'The execution was stopped by hand.',
  };
  const text = ownOf(texts, status) ?? [error, message].filter((part) => part).join(': ');
  return text.slice(0, 2000);
}

/** What a person is advised to do, by the error or status with which a rollout ended. */
export const ADVICE: Record<string, string> = {
  TargetAccessDenied:
    'Correct the role, policy or stack that the message names; the next attempt follows by itself.',
  TargetNotPrepared: 'Deploy or update member-account.yaml in that account and Region, then POST …/rollouts.',
  CertificateNotDeployable:
    'Ask the owner of the certificate: its tag CertName or its state in ACM no longer allows the delivery.',
  BundleScheduledForDeletion:
    'Find out who deleted the bundle. POST the deployment again to restore it, or DELETE the deployment.',
  InstallationFailed:
    'Read the node errors (GET the deployment), correct the node, then POST …/rollouts. A node that was rolled back serves its previous certificate.',
  TIMED_OUT: 'Look for nodes that answer slowly; POST …/rollouts to try again.',
  ABORTED: 'If the stop was not meant, POST …/rollouts.',
};

function adviceFor(error: string): string {
  return (
    ownOf(ADVICE, error) ?? 'Open the execution, read the failed step, then POST …/rollouts to try again.'
  );
}
