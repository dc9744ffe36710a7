import type { SNSClient } from '@aws-sdk/client-sns';
import * as z from 'zod';
import { isCertificateArn } from '../shared/certificate.ts';
import { type Deployment, parseExecutionName } from '../shared/deployment.ts';
import { executionLink, type Notification, notify, placeOf, placesOf } from '../shared/notification.ts';
import { logFields, logger } from '../shared/observed.ts';
import { closeAsFailed, type RolloutDeps } from '../shared/rollout.ts';

/** The fields that are read of an EventBridge event. */
const EventFields = {
  id: z.string().min(1).max(256),
  time: z.string().max(64),
  resources: z.array(z.string()).default([]),
};

/** Step Functions Execution Status Change (Step Functions developer guide). */
const ExecutionEvent = z.object({
  ...EventFields,
  source: z.literal('aws.states'),
  detail: z.object({
    executionArn: z.string(),
    name: z.string(),
    status: z.string(),
    input: z.string().nullish(),
    error: z.string().nullish(),
    cause: z.string().nullish(),
  }),
});

/** ACM's warnings (ACM user guide, "EventBridge support"). */
const WarningEvent = z.object({
  ...EventFields,
  source: z.literal('aws.acm'),
  'detail-type': z.string(),
  detail: z.record(z.string(), z.unknown()),
});

const ReportedEvent = z.discriminatedUnion('source', [ExecutionEvent, WarningEvent]);
export type ReportedEvent = z.infer<typeof ReportedEvent>;

/** What people were told about, or why they were not. */
export type Report = { Reported: string } | { Ignored: string };

export interface ReportFailureDeps extends RolloutDeps {
  sns: SNSClient;
  topicArn: string;
  /** Runs the work once for a cause: EventBridge delivers at least once, and a person is told once. */
  onceForCause: (cause: { Key: string; Event: ReportedEvent }) => Promise<Report>;
}

/**
 * Records the end of an execution that ended outside its own states (a fault, the top-level time-out, an abort)
 * and tells people, once, about any rollout that failed. Also turns ACM's warnings into messages, one for each
 * certificate, warning and day.
 */
export async function handleFailure(event: unknown, deps: ReportFailureDeps): Promise<Report> {
  const parsed = ReportedEvent.safeParse(event);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    return ignore(`not an event of Step Functions or ACM: ${issue?.path.join('.')}: ${issue?.message}`);
  }
  const { data } = parsed;
  const Key =
    data.source === 'aws.states'
      ? `${data.detail.executionArn}#${data.detail.status}`
      : `${data['detail-type']}#${data.resources[0]}#${data.time.slice(0, 10)}`;
  return deps.onceForCause({ Key, Event: data });
}

/** The work behind `onceForCause`. */
export function reportFailure(
  event: ReportedEvent,
  deps: Omit<ReportFailureDeps, 'onceForCause'>,
): Promise<Report> {
  return event.source === 'aws.acm' ? reportWarning(event, deps) : reportExecution(event, deps);
}

/** The reason is cut, as a foreign event may be large. */
function ignore(reason: string): Report {
  const Ignored = reason.slice(0, 500);
  logger.info('Ignored', { Reason: Ignored });
  return { Ignored };
}

type Deps = Omit<ReportFailureDeps, 'onceForCause'>;

async function reportExecution(event: z.infer<typeof ExecutionEvent>, deps: Deps): Promise<Report> {
  const { executionArn, name, status, error, cause, input } = event.detail;
  const rollout = parseExecutionName(name);
  if (!rollout) {
    return ignore('the execution was not started by this system');
  }
  const deployment = await deps.inventory.get(rollout.deploymentId);
  if (!deployment || deployment.Status === 'DELETING') {
    return ignore('the deployment was deleted');
  }
  logFields({ ...deployment, RolloutNumber: rollout.rolloutNumber, ExecutionName: name });
  const reason = describeFailure(status, error ?? undefined, cause ?? undefined);
  if (deployment.Rollout && deployment.RolloutNumber === rollout.rolloutNumber) {
    await closeAsFailed(
      deployment,
      rollout.rolloutNumber,
      { ExecutionArn: executionArn, LastError: reason },
      deps,
    );
  }
  if (causeOf(deployment, rollout.rolloutNumber, input ?? '') === 'DRY_RUN') {
    return ignore('whoever asked for the dry run sees its result');
  }
  await notify(deps.sns, deps.topicArn, {
    Subject: `Rollout of ${deployment.CertName} ${status}: ${deployment.TargetTagKey}=${deployment.TargetTagValue}`,
    What: `The rollout of certificate ${deployment.CertName} (${deployment.CertificateArn}) ended as ${status}. ${reason} The nodes that were not changed go on serving what they served.${laterEnd(deployment, rollout.rolloutNumber)}`,
    Where: placeOf(deployment),
    Since: deployment.FailingSince ?? event.time,
    WhatToDo: adviceFor(error ?? status),
    Link: executionLink(executionArn),
  });
  return { Reported: executionArn };
}

/** Events may come late: what has happened since may let a person go back to sleep. */
function laterEnd({ LastRollout: last }: Deployment, rolloutNumber: number): string {
  return last && last.Number > rolloutNumber
    ? ` Since then, rollout ${last.Number} has ended as ${last.Status}.`
    : '';
}

/** Why the execution was started. Its input says so; Step Functions leaves a long input out of the event. */
function causeOf(deployment: Deployment, rolloutNumber: number, input: string): unknown {
  try {
    return (JSON.parse(input) as { Cause?: unknown }).Cause;
  } catch {
    const running = deployment.RolloutNumber === rolloutNumber ? deployment.Rollout?.Cause : undefined;
    return running ?? (deployment.LastDryRun?.Number === rolloutNumber ? 'DRY_RUN' : undefined);
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
  const texts: Record<string, string> = {
    TIMED_OUT: 'The execution reached its time limit.',
    ABORTED: 'The execution was stopped by hand.',
  };
  const text = ownOf(texts, status) ?? [error, message].filter((part) => part).join(': ');
  return text.slice(0, 2000);
}

/** Names come from events: `constructor` is none of ours. */
const ownOf = <T>(table: Record<string, T>, name: string): T | undefined =>
  Object.hasOwn(table, name) ? table[name] : undefined;

const ADVICE: Record<string, string> = {
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

async function reportWarning(event: z.infer<typeof WarningEvent>, deps: Deps): Promise<Report> {
  const warning = ownOf(WARNINGS, event['detail-type']);
  const arn = event.resources[0] ?? '';
  if (!warning || !isCertificateArn(arn)) {
    return ignore(`${event['detail-type']} is not a warning of ACM about a certificate`);
  }
  const { items: deployments } = await deps.inventory.fleet({ CertificateArn: arn }, 100);
  if (deployments.length === 0) {
    return ignore('the certificate is not deployed by this system');
  }
  const days = event.detail.DaysToExpiry;
  const notification: Notification = {
    Subject: `${event['detail-type']}: ${deployments[0]?.CertName}`,
    What: `${warning.what}${typeof days === 'number' ? ` ${days} days remain.` : ''} Certificate: ${arn}`,
    Where: placesOf(deployments),
    Since: event.time,
    WhatToDo: warning.whatToDo,
  };
  await notify(deps.sns, deps.topicArn, notification);
  return { Reported: arn };
}
