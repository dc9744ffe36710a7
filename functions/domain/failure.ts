import type { Deployment } from './deployment.ts';
import { executionLink, type Notification, ownOf, placeOf, SUBJECTS } from './notification.ts';

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
    ABORTED: 'ABORTED: The execution was stopped by hand.',
  };
  const text = ownOf(texts, status) ?? [error, message].filter((part) => part).join(': ');
  return text.slice(0, 2000);
}

/** What is recorded of a rollout whose execution ended and recorded nothing. */
export const lostText = (status: string) => `Lost: The execution ended as ${status} and nothing recorded it.`;

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
  ownOf(ADVICE, errorOf(text)) ??
  'Open the execution, read the failed step, then POST …/rollouts to try again.';

/** What people are told of a rollout that failed. */
export function failureMessage(deployment: Deployment, failure: Failure): Notification {
  const { CertName, CertificateArn, Observed: last } = deployment;
  const error = errorOf(failure.text);
  // Events may come late: what has happened since may let a person go back to sleep.
  const later =
    last && last.RolloutNumber > failure.rolloutNumber
      ? ` Since then, rollout ${last.RolloutNumber} has ended as ${last.Outcome}.`
      : '';
  return {
    Subject: SUBJECTS.rollout(deployment, ownOf(ENDS, error) ?? 'FAILED'),
    What: `The rollout of certificate ${CertName} (${CertificateArn}) failed. ${failure.text} The nodes that were not changed go on serving what they served.${later}`,
    Where: placeOf(deployment),
    Since: last?.FailingSince ?? failure.at,
    WhatToDo: `${adviceOf(failure.text)} It is tried again by itself; you are told again only when it fails for another cause.`,
    Link: executionLink(failure.executionArn),
  };
}

/** Ends of executions that no task caused, as the subject says them. */
const ENDS: Record<string, string> = { TIMED_OUT: 'TIMED_OUT', ABORTED: 'ABORTED', Lost: 'lost' };

/** What a person is advised to do, by the error of a rollout. */
export const ADVICE: Record<string, string> = {
  TargetAccessDenied: 'Correct the role, policy or stack that the message names.',
  TargetNotPrepared: 'Deploy or update member-account.yaml in that account and Region.',
  NotAllowedByOwner:
    'Ask the owner of that account whether this is to be delivered there. The parameters AllowedCertNames and AllowedServices of its member stack say what is; where that stack comes by a StackSet, an administrator of the StackSet sets them. Or POST the deployment without the service, or DELETE it.',
  CertificateNotDeployable:
    'Ask the owner of the certificate: its tag CertName or its state in ACM no longer allows the delivery.',
  BundleScheduledForDeletion:
    'Find out who deleted the bundle. POST the deployment again to restore it, or DELETE the deployment.',
  InstallationFailed:
    'Read the node errors (GET the deployment), correct the node, then POST …/rollouts. A node that was rolled back serves its previous certificate.',
  TIMED_OUT: 'Look for nodes that answer slowly; POST …/rollouts to try again.',
  ABORTED: 'If the stop was not meant, POST …/rollouts.',
};
