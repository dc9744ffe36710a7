import { type CertificateRequest, isOpen, isStopped, type StoppedExecution } from './certificate-request.ts';
import { deploymentIdOf, timestamp } from './deployment.ts';
import { asSentence, executionLink, type Notification, placeOf, SUBJECTS } from './notification.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** An execution that works notes something every 5 minutes. Doubled with each one that died: its cause may last. */
const FIRST_RESTART_MS = 15 * MINUTE_MS;
/** The longest: a person who has removed the cause does not wait longer, and an execution that is denied costs little. */
const LAST_RESTART_MS = HOUR_MS;
/** ACM gives up after 72 hours, and an execution 2 hours later. */
const OVERDUE_MS = 74 * HOUR_MS;

/** From when on a request of which nothing was heard is looked after. */
export const lookAt = (request: CertificateRequest): Date =>
  isStopped(request) ? restartAt(request) : new Date(Date.parse(request.UpdatedAt) + FIRST_RESTART_MS);

/** When the next execution starts by itself, of a request whose execution died. */
export function restartAt({ UpdatedAt, Stopped, Executions = 1 }: CertificateRequest): Date {
  const pause = Math.min(LAST_RESTART_MS, FIRST_RESTART_MS * 2 ** (Executions - 1));
  return new Date(Date.parse(Stopped?.HeardAt ?? UpdatedAt) + pause);
}

/** Notes that an execution of a request ended without a result. */
export const withStopped = (
  request: CertificateRequest,
  stopped: Omit<StoppedExecution, 'HeardAt'>,
): CertificateRequest => ({ ...request, Stopped: { ...stopped, HeardAt: request.UpdatedAt } });

/** What GET warns of while a request is open; undefined where no execution of it died. */
export function stopWarning(request: CertificateRequest, executionArn: string): string | undefined {
  const { Stopped } = request;
  if (!isOpen(request) || !Stopped) {
    return undefined;
  }
  const next = isStopped(request)
    ? `The next one starts by itself, soon after ${timestamp(restartAt(request))}, or at once if you POST the request again.`
    : 'The next one was started.';
  return `Execution ${Stopped.Execution} of this request ended without a result at ${Stopped.At}. ${asSentence(Stopped.Why)} ${next} See ${executionLink(executionArn)}.`;
}

/** One that dies may be chance. */
const TOLD_FROM = 2;

/** The message of a request whose executions die; undefined where people know it, or one died only. */
export function stopAlert(request: CertificateRequest, executionArn: string): Notification | undefined {
  const { CertName, Stopped, StopsToldAt } = request;
  if (!Stopped || Stopped.Execution < TOLD_FROM || StopsToldAt !== undefined) {
    return undefined;
  }
  return {
    Subject: SUBJECTS.request(CertName, 'cannot go on'),
    What: `${Stopped.Execution} executions of the request for a certificate ended without a result. The last one: ${asSentence(Stopped.Why)}`,
    Where: placeOfRequest(request),
    Since: Stopped.At,
    WhatToDo: `Remove the cause that "What" names, for example a policy that denies the call. Then POST the request to /certificates/${CertName} again, which goes on at once. It also goes on by itself, within an hour. You get no other message while it is open.`,
    Link: executionLink(executionArn),
  };
}

/** What passes, such as a change of a role that spreads, is over by then; and people hear of the rest within half an hour. */
const UNWRITTEN_TOLD_MS = 15 * MINUTE_MS;

/** The message of a request whose records cannot be written; undefined where people know it, or it may pass. */
export function unwrittenAlert(request: CertificateRequest, now: Date): Notification | undefined {
  const { CertName, WritingFailure, UnwrittenSince, UnwrittenToldAt } = request;
  const isLasting =
    UnwrittenSince !== undefined && now.getTime() >= Date.parse(UnwrittenSince) + UNWRITTEN_TOLD_MS;
  if (WritingFailure === undefined || !isLasting || UnwrittenToldAt !== undefined) {
    return undefined;
  }
  return {
    Subject: SUBJECTS.request(CertName, 'cannot go on'),
    What: `A validation record of the certificate cannot be written. ${asSentence(WritingFailure)}`,
    Where: placeOfRequest(request),
    Since: UnwrittenSince,
    WhatToDo: `Do what "What" says. Or create the records yourself: GET /certificates/${CertName} shows them. The request then goes on by itself. ACM gives up 72 hours after it was asked.`,
  };
}

/** Whether a request whose execution died is given up: when ACM would have ended it, and one more execution has tried. */
export const isOverdue = ({ Executions = 1, AskedAt, CreatedAt }: CertificateRequest, now: Date): boolean =>
  Executions > 1 && now.getTime() > Date.parse(AskedAt ?? CreatedAt) + OVERDUE_MS;

/** Why a request is given up whose executions died. */
export const lostRequestText = (
  { Executions = 1 }: CertificateRequest,
  last: string,
  executionArn: string,
): string =>
  `${Executions} executions of this request ended without a result. The last one: ${asSentence(last)} Look why, at ${executionLink(executionArn)}. Then POST the request again.`;

/**
 * Why a request is given up whose certificate is issued: which deployments are not registered, and what to do; undefined
 * where all of them are.
 */
export function unregisteredText(
  { Executions = 1, CertificateArn, CertName, Wish, Registered = [] }: CertificateRequest,
  last: string,
): string | undefined {
  const places = Wish.Deployments.map((asked) => ({
    ...asked,
    DeploymentId: deploymentIdOf(asked, CertName),
  }))
    .filter(({ DeploymentId }) => !Registered.includes(DeploymentId))
    .map(placeOf);
  return places.length === 0
    ? undefined
    : `Not registered: ${places.join('; ')}. ${Executions} executions of this request ended without a result. The last one: ${asSentence(last)} Register each of these by hand: POST …/deployments, with CertificateArn ${CertificateArn}.`;
}

/** Names at most ten, as all messages do. */
const MOST_NAMED = 10;

function placeOfRequest({ CertName, Wish, CertificateArn }: CertificateRequest): string {
  const named = Wish.DomainNames.slice(0, MOST_NAMED).join(', ');
  const more = Wish.DomainNames.length - MOST_NAMED;
  return [
    `name ${CertName}`,
    `domain names ${named}${more > 0 ? ` and ${more} more` : ''}`,
    ...(CertificateArn ? [CertificateArn] : []),
  ].join('; ');
}

/** The message of a request that has failed, or of which deployments were refused; undefined where all went well. */
export function requestAlert(request: CertificateRequest): Notification | undefined {
  const { CertName, Status, Error: text, EndedAt, UpdatedAt } = request;
  if (text === undefined) {
    return undefined;
  }
  const isFailed = Status === 'FAILED';
  return {
    Subject: SUBJECTS.request(CertName, isFailed ? 'failed' : 'left deployments out'),
    What: isFailed
      ? `The request for a certificate has failed. ${text}`
      : `The certificate is issued, but not every deployment was registered. ${text}`,
    Where: placeOfRequest(request),
    Since: EndedAt ?? UpdatedAt,
    WhatToDo: isFailed
      ? `Do what "What" says. GET /certificates/${CertName} shows the request.`
      : `Correct what "What" names. Then POST each of these deployments to /certificates/${CertName}/deployments.`,
  };
}
