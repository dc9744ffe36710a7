import type { SNSClient } from '@aws-sdk/client-sns';
import * as z from 'zod';
import { type Deployment, parseExecutionName } from '../shared/deployment.ts';
import { isNamed } from '../shared/errors.ts';
import { executionLink, type Notification, notify } from '../shared/notification.ts';
import { finishRollout, type RolloutDeps } from '../shared/rollout.ts';

/** The fields that are read of an EventBridge event. */
export const ReportedEvent = z.object({
  id: z.string(),
  source: z.enum(['aws.states', 'aws.acm']),
  'detail-type': z.string(),
  time: z.string(),
  resources: z.array(z.string()).default([]),
  detail: z.record(z.string(), z.unknown()),
});

export type ReportedEvent = z.infer<typeof ReportedEvent>;

export interface ReportFailureDeps extends RolloutDeps {
  sns: SNSClient;
  topicArn: string;
}

/** Step Functions Execution Status Change (Step Functions developer guide). */
const ExecutionDetail = z.object({
  executionArn: z.string(),
  name: z.string(),
  status: z.string(),
  error: z.string().nullish(),
  cause: z.string().nullish(),
});

/**
 * Records the end of an execution that ended outside its own states (a fault, the top-level time-out, an abort)
 * and tells people, once, about any rollout that failed. Also turns ACM's warnings into messages.
 */
export function reportFailure(event: ReportedEvent, deps: ReportFailureDeps): Promise<{ Reported: string }> {
  return event.source === 'aws.acm' ? reportWarning(event, deps) : reportExecution(event, deps);
}

async function reportExecution(event: ReportedEvent, deps: ReportFailureDeps): Promise<{ Reported: string }> {
  const { executionArn, name, status, error, cause } = ExecutionDetail.parse(event.detail);
  const rollout = parseExecutionName(name);
  if (!rollout) {
    return { Reported: 'nothing: the execution was not started by this system' };
  }
  const deployment = await deps.inventory.get(rollout.deploymentId);
  if (!deployment || deployment.Status === 'DELETING') {
    return { Reported: 'nothing: the deployment was deleted' };
  }
  const reason = describeFailure(status, error ?? undefined, cause ?? undefined);
  if (deployment.Rollout && deployment.RolloutNumber === rollout.rolloutNumber) {
    await closeClaim(deployment, rollout.rolloutNumber, executionArn, reason, deps);
  }
  const last = deployment.LastRollout;
  const dryRun =
    deployment.Rollout?.Cause === 'DRY_RUN' ||
    (last?.Number === rollout.rolloutNumber && last.Cause === 'DRY_RUN');
  if (dryRun) {
    return { Reported: 'nothing: whoever asked for the dry run sees its result' };
  }
  await notify(deps.sns, deps.topicArn, {
    Subject: `Rollout of ${deployment.CertName} ${status}: ${deployment.TargetTagKey}=${deployment.TargetTagValue}`,
    What: `The rollout of certificate ${deployment.CertName} (${deployment.CertificateArn}) ended as ${status}. ${reason} The nodes that were not changed go on serving what they served.`,
    Where: placeOf(deployment),
    Since: event.time,
    WhatToDo: adviceFor(error ?? status),
    Link: executionLink(executionArn),
  });
  return { Reported: executionArn };
}

async function closeClaim(
  deployment: Deployment,
  rolloutNumber: number,
  executionArn: string,
  reason: string,
  deps: ReportFailureDeps,
): Promise<void> {
  try {
    await finishRollout(
      deployment,
      rolloutNumber,
      { Status: 'FAILED', ExecutionArn: executionArn, LastError: reason },
      deps,
    );
  } catch (error) {
    // It was closed in this moment by somebody else.
    if (!isNamed(error, 'RolloutSuperseded')) {
      throw error;
    }
  }
}

/** The cause of a failed Lambda task is the JSON of its error; its message is what a person can read. */
function describeFailure(status: string, error: string | undefined, cause: string | undefined): string {
  let message = cause ?? '';
  try {
    message = String((JSON.parse(message) as { errorMessage?: unknown }).errorMessage ?? message);
  } catch {
    // Not JSON: the text of a Fail state.
  }
  const texts = {
    TIMED_OUT: 'The execution reached its time limit.',
    ABORTED: 'The execution was stopped by hand.',
  } as Record<string, string>;
  const text = texts[status] ?? [error, message].filter((part) => part).join(': ');
  return text.slice(0, 2000);
}

const ADVICE: Record<string, string> = {
  TargetAccessDenied:
    'Correct the role, policy or stack that the message names; the next attempt follows by itself.',
  TargetNotPrepared: 'Deploy member-account.yaml in that account and Region, then POST …/rollouts.',
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
  return ADVICE[error] ?? 'Open the execution, read the failed step, then POST …/rollouts to try again.';
}

const placeOf = (deployment: Deployment) =>
  `account ${deployment.TargetAccount}, Region ${deployment.TargetRegion}, nodes tagged ` +
  `${deployment.TargetTagKey}=${deployment.TargetTagValue}, deployment ${deployment.DeploymentId}`;

/** ACM's own warnings by detail-type (ACM user guide, "EventBridge support"). */
const WARNINGS: Record<string, { what: string; whatToDo: string }> = {
  'ACM Certificate Renewal Action Required': {
    what: 'ACM cannot renew the certificate by itself.',
    whatToDo: 'Open the certificate in ACM and complete the validation (usually the DNS CNAME records).',
  },
  'ACM Certificate Expired': {
    what: 'The certificate has expired.',
    whatToDo: 'Request a new certificate and POST the deployments with its ARN.',
  },
  'ACM Certificate Revoked': {
    what: 'The certificate was revoked: clients may refuse it now.',
    whatToDo: 'Request a new certificate and POST the deployments with its ARN.',
  },
  'ACM Certificate Approaching Expiration': {
    what: 'The certificate expires soon and was not renewed yet.',
    whatToDo: 'Look at its renewal status in ACM; if the validation is pending, complete it.',
  },
};

async function reportWarning(event: ReportedEvent, deps: ReportFailureDeps): Promise<{ Reported: string }> {
  const warning = WARNINGS[event['detail-type']];
  const arn = event.resources[0];
  if (!warning || !arn) {
    return { Reported: `nothing: ${event['detail-type']} is not a warning of ACM with a certificate` };
  }
  const { items: deployments } = await deps.inventory.fleet({ CertificateArn: arn }, 100);
  if (deployments.length === 0) {
    return { Reported: 'nothing: the certificate is not deployed by this system' };
  }
  const days = event.detail.DaysToExpiry;
  const notification: Notification = {
    Subject: `${event['detail-type']}: ${deployments[0]?.CertName}`,
    What: `${warning.what}${typeof days === 'number' ? ` ${days} days remain.` : ''} Certificate: ${arn}`,
    Where: deployments.slice(0, 10).map(placeOf).join('; ') + (deployments.length > 10 ? '; and more' : ''),
    Since: event.time,
    WhatToDo: warning.whatToDo,
  };
  await notify(deps.sns, deps.topicArn, notification);
  return { Reported: arn };
}
