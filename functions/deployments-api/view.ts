import {
  type Deployment,
  type Ended,
  executionArnOf,
  isDryRun,
  type NodeRecord,
  orderOf,
  type Running,
  timestamp,
} from '../domain/deployment.ts';
import { followUpOf } from '../domain/next.ts';
import { flatOf, withDefaults } from '../domain/order.ts';
import { type AdvanceDeps, decide } from '../rollouts/advance.ts';

/** A deployment as callers see it: what it does and why, without what only the record needs. */
export async function viewOf(
  deployment: Deployment,
  deps: Pick<AdvanceDeps, 'stateMachineArn' | 'rolloutsEnabled' | 'inventory' | 'now'>,
) {
  const {
    Item: _,
    FirstEditionItem: __,
    RestoreBundle: ___,
    Drift: ____,
    NotBefore: _____,
    ...shown
  } = deployment as Deployment & { Item?: string };
  const { Running, Observed, LastTrial, LastHealing, ...record } = shown;
  const { Wanted, Unfinished, HeldNumber, RenewalAnswered, ...fields } = record;
  const { reason, words, at } = await decide(deployment, undefined, deps);
  const followUp = followUpOf(deployment);
  const order = flatOf(orderOf(deployment));
  const isSeen = order.Delivery === 'nodes' && fields.Status === 'INSTALLED';
  const trial = trialOf(deployment, deps.stateMachineArn);
  return {
    ...fields,
    ...order,
    Options: withDefaults(fields.Options),
    EarliestNotAfter: fields.NotAfter,
    ...(isSeen ? { Seen: order.VerifyPort === 0 ? 'files' : 'port' } : {}),
    ...(Running ? { Rollout: rolloutOf(deployment.DeploymentId, Running, deps.stateMachineArn) } : {}),
    ...(followUp ? { Pending: fieldsOf(deployment, followUp) } : {}),
    ...(Observed ? { LastRollout: lastOf(Observed), Failures: Observed.Failures } : {}),
    ...(Observed?.FailingSince ? { FailingSince: Observed.FailingSince } : {}),
    ...(trial ? { LastTrial: trial } : {}),
    ...(LastTrial ? { LastDryRun: lastOf(LastTrial) } : {}),
    ...(LastHealing ? { LastHealing: lastOf(LastHealing) } : {}),
    Reason: words,
    // That a rollout which runs is looked at some time is no attempt.
    ...(at && reason !== 'running' ? { NextAttemptAt: timestamp(at) } : {}),
  };
}

/** A node as callers see it. @param looked when all nodes of its kind in its account were looked at last. */
export function nodeViewOf(node: NodeRecord, looked: string | undefined) {
  const { Item: _, DeploymentId: __, CanaryAt: ___, ...fields } = node as NodeRecord & { Item?: string };
  const { Serves, Finding, MissingSince } = fields;
  // A look writes only what it finds: a node without a finding was seen as its record says.
  const isSeen = Serves && looked && looked > Serves.SeenAt && !Finding && !MissingSince;
  return isSeen ? { ...fields, Serves: { ...Serves, SeenAt: looked } } : fields;
}

/** The last dry run: the one that runs, if one does. It has passed where every node with the tag has passed it. */
function trialOf({ DeploymentId, Running: running, LastTrial: last }: Deployment, stateMachineArn: string) {
  if (running && isDryRun(running)) {
    const { RolloutNumber, Serial, Cause, CorrelationId, BeganAt: At } = running;
    const ExecutionArn = executionArnOf(stateMachineArn, DeploymentId, running);
    return { RolloutNumber, Status: 'RUNNING', Serial, Cause, CorrelationId, ExecutionArn, At };
  }
  if (!last) {
    return undefined;
  }
  const { Outcome, Error: error, ...ended } = last;
  const Status = Outcome === 'INSTALLED' ? 'PASSED' : 'FAILED';
  // What it was begun for was not tried: that is no pass.
  const why = Outcome === 'WAITING' ? 'No node carries the tag: nothing was tried.' : error;
  return { ...ended, Status, ...(why === undefined ? {} : { Error: why }) };
}

function rolloutOf(deploymentId: string, running: Running, stateMachineArn: string) {
  const { Order, BeganAt: ClaimedAt, Serial, Cause, CorrelationId, StartDelaySeconds } = running;
  const { StartedAt, AutomationExecutionId } = running;
  const { CertificateArn, Options, MaxConcurrency, MaxErrors, ExcludeNodeIds = [] } = Order;
  return {
    CertificateArn,
    Serial,
    Cause,
    CorrelationId,
    ClaimedAt,
    StartedAt,
    ...(StartDelaySeconds > 0 ? { StartDelaySeconds } : {}),
    AutomationExecutionId,
    ...(isDryRun(running)
      ? { Trial: { Options: withDefaults(Options), MaxConcurrency, MaxErrors, ExcludeNodeIds } }
      : {}),
    ExecutionArn: executionArnOf(stateMachineArn, deploymentId, running),
  };
}

/** `Pending` is the API's name for a follow-up. */
function fieldsOf(
  { CertificateArn }: Deployment,
  { Serial, Cause, CorrelationId }: NonNullable<Deployment['Wanted']>,
) {
  return { CertificateArn, Serial, Cause, CorrelationId };
}

/** The names that the API has for how a rollout ended. */
function lastOf(ended: Ended) {
  const { Serial, Cause, CorrelationId, ExecutionArn, At } = ended;
  return {
    Number: ended.RolloutNumber,
    Serial,
    Cause,
    CorrelationId,
    ExecutionArn,
    Status: ended.Outcome,
    ...(ended.Error === undefined ? {} : { Error: ended.Error }),
    At,
  };
}
