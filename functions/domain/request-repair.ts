import type { CertificateRequest } from './certificate-request.ts';
import { executionLink, type Notification, SUBJECTS } from './notification.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** An execution that works notes something every 5 minutes. Doubled with each one that died: its cause may last. */
const FIRST_RESTART_MS = 15 * MINUTE_MS;
const LAST_RESTART_MS = 24 * HOUR_MS;
/** ACM gives up after 72 hours, and an execution 2 hours later. */
const OVERDUE_MS = 74 * HOUR_MS;

/** From when on a request of which nothing was heard is looked after. */
export function restartAt({ UpdatedAt, Executions = 1 }: CertificateRequest): Date {
  const pause = Math.min(LAST_RESTART_MS, FIRST_RESTART_MS * 2 ** (Executions - 1));
  return new Date(Date.parse(UpdatedAt) + pause);
}

/** Whether a request whose execution died is given up: when ACM would have ended it, and one more execution has tried. */
export const isOverdue = ({ Executions = 1, AskedAt, CreatedAt }: CertificateRequest, now: Date): boolean =>
  Executions > 1 && now.getTime() > Date.parse(AskedAt ?? CreatedAt) + OVERDUE_MS;

/** Why a request is given up whose executions died. */
export const lostRequestText = (
  { Executions = 1 }: CertificateRequest,
  status: string,
  executionArn: string,
): string =>
  `${Executions} executions of this request ended without a result, the last one as ${status}. Look why, at ${executionLink(executionArn)}. Then POST the request again.`;

/** Names at most ten, as all messages do. */
const MOST_NAMED = 10;

/** The message of a request that has failed, or of which deployments were refused; undefined where all went well. */
export function requestAlert(request: CertificateRequest): Notification | undefined {
  const { CertName, Wish, Status, Error: text, EndedAt, UpdatedAt, CertificateArn } = request;
  if (text === undefined) {
    return undefined;
  }
  const named = Wish.DomainNames.slice(0, MOST_NAMED).join(', ');
  const more = Wish.DomainNames.length - MOST_NAMED;
  const isFailed = Status === 'FAILED';
  return {
    Subject: SUBJECTS.request(CertName, isFailed ? 'failed' : 'left deployments out'),
    What: isFailed
      ? `The request for a certificate has failed. ${text}`
      : `The certificate is issued, but not every deployment was registered. ${text}`,
    Where: [
      `name ${CertName}`,
      `domain names ${named}${more > 0 ? ` and ${more} more` : ''}`,
      ...(CertificateArn ? [CertificateArn] : []),
    ].join('; '),
    Since: EndedAt ?? UpdatedAt,
    WhatToDo: isFailed
      ? `Do what "What" says. GET /certificates/${CertName} shows the request.`
      : `Correct what "What" names. Then POST each of these deployments to /certificates/${CertName}/deployments.`,
  };
}
