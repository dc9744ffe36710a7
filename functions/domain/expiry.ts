import type { Certificate } from './certificate.ts';
import { type Deployment, timestamp } from './deployment.ts';
import { executionLink, type Notification, placesOf, SUBJECTS } from './notification.ts';

/** Days to expiry at which people are told; 0: it has expired. */
const EXPIRY_ALERT_DAYS = [30, 14, 7, 1, 0];

const DAY_MS = 86_400_000;

const REQUEST_OR_VALIDATE =
  'Open the certificate in ACM: complete its validation, or request a new one and POST the deployments with its ARN.';

const earliest = (deployments: readonly Deployment[]) =>
  deployments.toSorted((a, b) => (a.NotAfter < b.NotAfter ? -1 : 1))[0] as Deployment;

/** The alert that is due for what the deployment's nodes serve; undefined when it was given already. */
export function alertDaysOf(deployment: Deployment, now: Date): number | undefined {
  const { NotAfter, ExpiryAlert: given } = deployment;
  const remaining = (Date.parse(NotAfter) - now.getTime()) / DAY_MS;
  const days = EXPIRY_ALERT_DAYS.filter((threshold) => remaining <= threshold).at(-1);
  const isGiven =
    given !== undefined && given.NotAfter === NotAfter && days !== undefined && given.Days <= days;
  return isGiven ? undefined : days;
}

/** Whether ACM has a newer version than the one that is served, or is ready for the nodes that will come. */
export function isRenewed(deployment: Deployment, certificate: Certificate | string): boolean {
  const newest = deployment.Status === 'WAITING' ? deployment.Observed?.Serial : deployment.Serial;
  return typeof certificate !== 'string' && certificate.Serial !== newest;
}

/** The message that what is served comes near its end, or has expired. */
export function expiryAlert(
  arn: string,
  deployments: readonly Deployment[],
  renewed: boolean,
  problem: string | undefined,
  now: Date,
): Notification {
  const first = earliest(deployments);
  const days = Math.floor((Date.parse(first.NotAfter) - now.getTime()) / DAY_MS);
  const when = days < 0 ? 'has expired' : days < 1 ? 'expires within a day' : `expires in ${days} days`;
  const reason = renewed
    ? 'ACM has renewed it, but the new version is not installed yet.'
    : (problem ?? 'ACM has not renewed it yet.');
  return {
    Subject: SUBJECTS.expiry(first, when, deployments.length - 1),
    What: `What these nodes serve ${when}, at ${first.NotAfter}. ${reason} ${first.LastError ?? ''} Certificate: ${arn}`,
    Where: placesOf(deployments),
    Since: first.Observed?.At ?? first.UpdatedAt,
    WhatToDo: renewed
      ? 'Read the last error above and the node errors (GET the deployment), correct the cause, then POST …/rollouts.'
      : REQUEST_OR_VALIDATE,
    ...(renewed && first.Observed ? { Link: executionLink(first.Observed.ExecutionArn) } : {}),
  };
}

/** The message that ACM will not renew a certificate. */
export function renewalAlert(
  arn: string,
  deployments: readonly Deployment[],
  problem: string,
  now: Date,
): Notification {
  return {
    Subject: SUBJECTS.renewal(deployments[0] as Deployment),
    What: `${problem} It expires at ${earliest(deployments).NotAfter}. Certificate: ${arn}`,
    Where: placesOf(deployments),
    Since: timestamp(now),
    WhatToDo: REQUEST_OR_VALIDATE,
  };
}

/** Why ACM will not renew the certificate by itself; undefined when it will. */
export function renewalProblem(
  certificate: Certificate | string,
  deployments: readonly Deployment[],
  now: Date,
): string | undefined {
  if (typeof certificate === 'string') {
    return certificate;
  }
  const { RenewalEligibility, RenewalSummary } = certificate;
  if (RenewalSummary?.RenewalStatus === 'FAILED') {
    return `ACM failed to renew it: ${RenewalSummary.RenewalStatusReason ?? 'no reason given'}.`;
  }
  if (RenewalSummary?.RenewalStatus === 'PENDING_VALIDATION') {
    return 'ACM waits for its validation before it can renew it.';
  }
  // A certificate becomes eligible by its first export, so one that is new here is not judged yet.
  const yesterday = timestamp(new Date(now.getTime() - DAY_MS));
  const isExported = deployments.some(({ Observed: last }) => last !== undefined && last.At <= yesterday);
  return RenewalEligibility === 'INELIGIBLE' && isExported ? 'ACM does not plan to renew it.' : undefined;
}
