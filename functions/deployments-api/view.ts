import {
  type Deployment,
  type Ended,
  executionArnOf,
  isDryRun,
  type Running,
  timestamp,
} from '../domain/deployment.ts';
import { followUpOf, REASONS } from '../domain/next.ts';
import { InstallOptions } from '../domain/order.ts';
import { type AdvanceDeps, decide } from '../rollouts/advance.ts';

/** A deployment as callers see it: what it does and why, without what only the record needs. */
export function viewOf(
  deployment: Deployment,
  deps: Pick<AdvanceDeps, 'stateMachineArn' | 'rolloutsEnabled' | 'now'>,
) {
  const {
    Item: _,
    FirstEditionItem: __,
    RestoreBundle: ___,
    ...shown
  } = deployment as Deployment & { Item?: string };
  const {
    Running,
    Observed,
    LastTrial,
    LastHealing,
    Wanted,
    Unfinished,
    HeldNumber,
    RenewalAnswered,
    ...more
  } = shown;
  const { Drift: ____, ...fields } = more;
  const { reason, at } = decide(deployment, undefined, deps);
  const followUp = followUpOf(deployment);
  return {
    ...fields,
    Options: withDefaults(fields.Options),
    ...(Running ? { Rollout: rolloutOf(deployment.DeploymentId, Running, deps.stateMachineArn) } : {}),
    ...(followUp ? { Pending: fieldsOf(deployment, followUp) } : {}),
    ...(Observed ? { LastRollout: lastOf(Observed), Failures: Observed.Failures } : {}),
    ...(Observed?.FailingSince ? { FailingSince: Observed.FailingSince } : {}),
    ...(LastTrial ? { LastDryRun: lastOf(LastTrial) } : {}),
    ...(LastHealing ? { LastHealing: lastOf(LastHealing) } : {}),
    Reason: REASONS[reason],
    // That a rollout which runs is looked at some time is no attempt.
    ...(at && reason !== 'running' ? { NextAttemptAt: timestamp(at) } : {}),
  };
}

const DEFAULT_OPTIONS = InstallOptions.parse({});

/** An older order lacks the options that came later. */
const withDefaults = (options: InstallOptions): InstallOptions => ({ ...DEFAULT_OPTIONS, ...options });

function rolloutOf(deploymentId: string, running: Running, stateMachineArn: string) {
  const { Order, BeganAt: ClaimedAt, Serial, Cause, CorrelationId, StartDelaySeconds } = running;
  const { StartedAt, AutomationExecutionId } = running;
  const { CertificateArn, Options, MaxConcurrency, MaxErrors } = Order;
  return {
    CertificateArn,
    Serial,
    Cause,
    CorrelationId,
    ClaimedAt,
    StartedAt,
    ...(StartDelaySeconds > 0 ? { StartDelaySeconds } : {}),
    AutomationExecutionId,
    ...(isDryRun(running) ? { Trial: { Options: withDefaults(Options), MaxConcurrency, MaxErrors } } : {}),
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
