import type { Deployment } from './deployment.ts';
import {
  asSentence,
  executionLink,
  type Notification,
  ownOf,
  pathOf,
  placeOf,
  SUBJECTS,
} from './notification.ts';

/** A rollout that failed. */
export interface Failure {
  executionArn: string;
  rolloutNumber: number;
  /** What is recorded of it. It begins with the name of the error, unless nodes failed. */
  text: string;
  /** When it ended, or was seen to have ended. ISO 8601. */
  at: string;
}

/** How Step Functions says that an execution ended. */
export interface ExecutionEnd {
  status: string;
  error?: string | null | undefined;
  cause?: string | null | undefined;
}

/** What is recorded of a rollout whose execution ended so. */
export function textOf({ status, error, cause }: ExecutionEnd): string {
  // The cause of a failed Lambda task is the JSON of its error; its message is what a person can read.
  let message = cause ?? '';
  try {
    message = String((JSON.parse(message) as { errorMessage?: unknown }).errorMessage ?? message);
  } catch {
    // Not JSON: the text of a Fail state.
  }
  const texts: Record<string, string> = {
    SUCCEEDED: lostText(status),
    TIMED_OUT: 'TIMED_OUT: The execution reached its time limit.',
    ABORTED: 'ABORTED: A person stopped the execution.',
  };
  const text = ownOf(texts, status) ?? [error, message].filter((part) => part).join(': ');
  return text.slice(0, 2000);
}

/** What is recorded of a rollout whose execution ended and recorded nothing. */
export const lostText = (status: string) =>
  `Lost: The execution ended as ${status}, but no function recorded its result.`;

/** The error that a failure is recorded with. */
const errorOf = (text: string) => /^([A-Za-z][A-Za-z0-9_.]{2,60}): /.exec(text)?.[1] ?? 'InstallationFailed';

/** Whether a rollout failed on nodes, and for no other reason. */
export const isOfNodes = (text: string) => errorOf(text) === 'InstallationFailed';

/** Whether a rollout failed because the owner of the target account does not allow it, as far as AWS tells. */
export const isOfOwner = (text: string) => errorOf(text) === 'NotAllowedByOwner';

/**
 * Why a rollout failed, as far as people act on it: the error, what it stands for, the action that was denied, and
 * whether a node could not even go back. The rest of what AWS and nodes say differs each time.
 */
export function causeOf(text: string): string {
  const error = errorOf(text);
  const inner = error === 'RetryLater' ? errorOf(text.slice(error.length + 2)) : '';
  const [, denied = ''] = /perform: ?([a-z0-9-]{1,64}:[A-Za-z0-9]{1,64})/.exec(text) ?? [];
  // What the install script says with exit code 70.
  const stuck = text.includes('the way back failed') ? 'way-back-failed' : '';
  return [error, inner, denied, stuck].filter((part) => part !== '').join(' ');
}

/** What a person is advised to do about a failure that is recorded so. */
export const adviceOf = (text: string): string =>
  ownOf(ADVICE, errorOf(text)) ?? 'Open the execution and read the error of the failed step.';

/** What people are told of a rollout that failed. */
export function failureMessage(deployment: Deployment, failure: Failure): Notification {
  const { CertName, CertificateArn, Observed: last } = deployment;
  const error = errorOf(failure.text);
  const path = pathOf([deployment]);
  // Events may come late: what has happened since may let a person go back to sleep.
  const later =
    last && last.RolloutNumber > failure.rolloutNumber
      ? ` Since then, rollout ${last.RolloutNumber} has ended as ${last.Outcome}.`
      : '';
  return {
    Subject: SUBJECTS.rollout(deployment, ownOf(ENDS, error) ?? 'FAILED'),
    What: `The rollout of certificate ${CertName} (${CertificateArn}) ${error === 'Lost' ? 'was lost' : 'failed'}. ${asSentence(failure.text)} Servers that were not changed still serve their previous certificate.${later}`,
    Where: placeOf(deployment),
    Since: last?.FailingSince ?? failure.at,
    WhatToDo: `${adviceOf(failure.text)} The system tries again by itself. To see each server: GET ${path}. To try at once: POST ${path}/rollouts. You get another message only if it fails for another cause.`,
    Link: executionLink(failure.executionArn),
  };
}

/** Ends of executions that no task caused, as the subject says them. */
const ENDS: Record<string, string> = { TIMED_OUT: 'TIMED_OUT', ABORTED: 'ABORTED', Lost: 'lost' };

/** What a person is advised to do, by the error of a rollout. */
export const ADVICE: Record<string, string> = {
  TargetAccessDenied: 'Correct the role, policy or stack that the error names.',
  TargetNotPrepared: 'Deploy or update member-account.yaml in that account and Region.',
  NotAllowedByOwner:
    'Ask the owner of that account to allow the delivery. The parameters AllowedCertNames and AllowedServices of the member stack there say what is allowed. If a StackSet deploys that stack, an administrator of the StackSet sets them. If the owner refuses, POST the deployment without the service, or DELETE it.',
  CertificateNotDeployable:
    'Ask the owner of the certificate. Its tag CertName or its state in ACM no longer allows the delivery.',
  BundleNotStorable: 'Change the deployment or its certificate, as the error says.',
  BundleScheduledForDeletion:
    'Find out who deleted the bundle (CloudTrail, DeleteSecret). To restore it, POST the deployment again. If the deletion is meant, DELETE the deployment.',
  InstallationFailed:
    'Read the error of each server, and repair those servers. A server that was rolled back serves its previous certificate.',
  TIMED_OUT: 'Check in Service Quotas whether a quota of Systems Manager or ACM is exhausted.',
  ABORTED: 'Find out who stopped it (CloudTrail, StopExecution).',
  Lost: 'Nothing, if this happens once. If it happens again, look at the alarms on failed and undelivered events.',
};
