import { DescribeExecutionCommand } from '@aws-sdk/client-sfn';
import { type Deployment, executionArnOf, type Running } from '../domain/deployment.ts';
import { isNamed } from '../domain/errors.ts';
import { lostText } from '../domain/failure.ts';
import { type Nodes, next, type Reason } from '../domain/next.ts';
import { placeOf, SUBJECTS } from '../domain/notification.ts';
import { advance, decide } from '../rollouts/advance.ts';
import { removeDeployment } from '../rollouts/removal.ts';
import { tellFailure } from '../rollouts/tell-failure.ts';
import { allOf } from '../runtime/in-parallel.ts';
import type { Pass, ReconcileDeps } from './pass.ts';

const MINUTE_MS = 60_000;
/** Within this rollout-ended has told people of a failure: Lambda tries it three times, 3 minutes apart in all. */
const HEARD_AFTER_MS = 10 * MINUTE_MS;
/** A DELETE that was cut off is finished after this: longer than a function of the API runs. */
const CUT_OFF_MINUTES = 15;

/** Reasons of rollouts that no person waits for: they take slots. */
const IN_SLOTS: ReadonlySet<Reason> = new Set<Reason>([
  'renewed',
  'failed',
  'untouched',
  'disallowed',
  'refused',
  'drifted',
  'unbundled',
]);

/** Starts what has begun and was not started, closes what says that it runs and does not, begins what is due. */
export async function tend(
  deployment: Deployment,
  pass: Pass,
  deps: ReconcileDeps,
  nodes?: Nodes,
): Promise<void> {
  const { Observed: last } = deployment;
  const isHeard = last && Date.parse(last.At) + HEARD_AFTER_MS <= deps.now().getTime();
  await allOf(
    actOn(deployment, pass, deps, nodes),
    isHeard ? tellOfFailure(deployment, pass, deps) : undefined,
  );
}

async function actOn(deployment: Deployment, pass: Pass, deps: ReconcileDeps, nodes?: Nodes): Promise<void> {
  const { action, reason, at } = await decide(deployment, nodes, deps);
  if (reason === 'running' && at && at <= deps.now()) {
    await closeLost(deployment.DeploymentId, deployment.Running as Running, pass, deps);
  } else if (action !== 'nothing') {
    const slots = IN_SLOTS.has(reason) ? await deps.inventory.slots.take([deployment]) : undefined;
    const how = { correlationId: deps.correlationId, nodes, slot: slots?.get(deployment) };
    const { began } = await advance(deployment.DeploymentId, deps, how);
    pass.Started += began ? 1 : 0;
    pass.Repaired += action === 'start' ? 1 : 0;
  }
}

/** Ends a rollout whose execution has ended and recorded nothing. */
async function closeLost(
  deploymentId: string,
  running: Running,
  pass: Pass,
  deps: ReconcileDeps,
): Promise<void> {
  const ExecutionArn = executionArnOf(deps.stateMachineArn, deploymentId, running);
  const status = await executionStatus(ExecutionArn, deps);
  const execution = status === 'RUNNING' || status === 'PENDING_REDRIVE' ? 'running' : 'ended';
  const deployment = await deps.inventory.get(deploymentId);
  const isStill = deployment?.Running?.RolloutNumber === running.RolloutNumber;
  if (!isStill || next(deployment, undefined, execution, deps.now()).action !== 'close') {
    return;
  }
  const { deployment: current } = await deps.inventory.end(deployment, running.RolloutNumber, {
    Outcome: 'FAILED',
    ExecutionArn,
    Error: lostText(status),
  });
  pass.Repaired += 1;
  await allOf(actOn(current, pass, deps), tellOfFailure(current, pass, deps));
}

/** People hear of a failure from rollout-ended, unless its event was lost or it could not tell them. */
async function tellOfFailure(deployment: Deployment, pass: Pass, deps: ReconcileDeps): Promise<void> {
  const { Observed: last } = deployment;
  // Of what an older edition wrote, people were told.
  if (last?.Outcome !== 'FAILED' || last.NodeFailures === undefined) {
    return;
  }
  const { ExecutionArn: executionArn, RolloutNumber: rolloutNumber, Error: text = '', At: at } = last;
  const told = await tellFailure(deployment, { executionArn, rolloutNumber, text, at }, deps);
  pass.Notified += told ? 1 : 0;
}

async function executionStatus(executionArn: string, deps: ReconcileDeps): Promise<string> {
  try {
    return (await deps.sfn.send(new DescribeExecutionCommand({ executionArn }))).status ?? 'unknown';
  } catch (error) {
    if (isNamed(error, 'ExecutionDoesNotExist')) {
      return 'lost';
    }
    throw error;
  }
}

/** Finishes a DELETE that was cut off. It says so, as the caller was told of a failure, or of nothing. */
export async function finishDeletion(deployment: Deployment, pass: Pass, deps: ReconcileDeps): Promise<void> {
  const since = deployment.DeletingSince ?? deployment.UpdatedAt;
  if (deps.now().getTime() < Date.parse(since) + CUT_OFF_MINUTES * MINUTE_MS) {
    return;
  }
  const tell = (what: string, WhatToDo: string) =>
    deps.notify(`deletion#${deployment.DeploymentId}`, {
      Subject: SUBJECTS.deletion(deployment),
      What: `The DELETE of the deployment was cut off. ${what}`,
      Where: placeOf(deployment),
      Since: since,
      WhatToDo,
    });
  try {
    await removeDeployment(deployment, deps);
  } catch (error) {
    await tell(
      `The system cannot finish it: ${(error as Error).message}`,
      'Correct the role, policy or stack that "What" names. The system tries again within the hour. If the account is closed for good, DELETE the deployment with ?Force=true.',
    );
    pass.Notified += 1;
    return;
  }
  await tell('The system has finished it now: the bundle is scheduled for deletion.', 'Nothing.');
  pass.Repaired += 1;
  pass.Notified += 1;
}
