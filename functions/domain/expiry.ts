import type { Certificate } from './certificate.ts';
import { type Deployment, type NodeRecord, timestamp } from './deployment.ts';
import { type ManagedNode, ofListed } from './nodes.ts';
import {
  asSentence,
  DAILY,
  executionLink,
  type Notification,
  pathOf,
  placesOf,
  SUBJECTS,
} from './notification.ts';

/**
 * Days to expiry at which people are told; 0: it has expired. They are those of a lifetime of 198 days, of which ACM renews
 * with 45 left; of a shorter lifetime each is the same fraction, so that nobody is told before a renewal is due.
 */
const EXPIRY_ALERT_DAYS = [30, 14, 7, 1, 0];
const LIFETIME_DAYS = 198;

const DAY_MS = 86_400_000;

const REQUEST_OR_VALIDATE =
  'Open the certificate in ACM and complete its validation. If that is not possible, request a new certificate and POST the deployments with its ARN (docs/operations.md, "Another certificate").';

const earliest = (deployments: readonly Deployment[]) =>
  deployments.toSorted((a, b) => (a.NotAfter < b.NotAfter ? -1 : 1))[0] as Deployment;

/** What ends first of all that the nodes of a deployment serve. */
export type Earliest = Pick<Deployment, 'NotAfter' | 'NotBefore' | 'EarliestNodeId'>;

/** The fields of a deployment that go where what ends first now does not have them. */
export const lackingIn = (earliest: Earliest) =>
  (['NotBefore', 'EarliestNodeId'] as const).filter((name) => earliest[name] === undefined);

/**
 * What ends first of all that the nodes serve, as far as they are listed; undefined where none is known to serve anything.
 * Of a node that an older edition recorded, and no look has seen since, the end is not known: it is taken to be the one
 * that the deployment has.
 */
export function earliestOf(
  deployment: Deployment,
  records: readonly NodeRecord[],
  listed: readonly ManagedNode[],
): Earliest | undefined {
  const served = ofListed(records, listed).flatMap(({ NodeId, VersionId, Serves, MissingSince }) => {
    const { NotAfter, NotBefore } = Serves ?? deployment;
    return MissingSince || !(Serves ?? VersionId) ? [] : [{ NodeId, NotAfter, NotBefore }];
  });
  const [first] = served.toSorted((a, b) => (a.NotAfter < b.NotAfter ? -1 : 1));
  return (
    first && {
      NotAfter: first.NotAfter,
      ...(first.NotBefore ? { NotBefore: first.NotBefore } : {}),
      ...(served.some(({ NotAfter }) => NotAfter > first.NotAfter) ? { EarliestNodeId: first.NodeId } : {}),
    }
  );
}

/** The last of EXPIRY_ALERT_DAYS that what is served has passed; undefined while there is time. */
export function stageOf({ NotAfter, NotBefore }: Earliest, now: Date): number | undefined {
  const end = Date.parse(NotAfter);
  const lifetime = NotBefore ? (end - Date.parse(NotBefore)) / DAY_MS : LIFETIME_DAYS;
  const scale = Math.min(1, lifetime / LIFETIME_DAYS);
  const remaining = (end - now.getTime()) / DAY_MS;
  return EXPIRY_ALERT_DAYS.filter((threshold) => remaining <= threshold * scale).at(-1);
}

/** The alert that is due for what the deployment's nodes serve; undefined when it was given already. */
export function alertDaysOf(deployment: Deployment, now: Date): number | undefined {
  const { NotAfter, ExpiryAlert: given } = deployment;
  const days = stageOf(deployment, now);
  const isGiven =
    given !== undefined && given.NotAfter === NotAfter && days !== undefined && given.Days <= days;
  return isGiven ? undefined : days;
}

/** Whether ACM has a newer version than the one that ends first, or than the one that is ready for the nodes that will come. */
export function isRenewed(deployment: Deployment, certificate: Certificate | string): boolean {
  const newest = deployment.Status === 'WAITING' ? deployment.Observed?.Serial : deployment.Serial;
  if (typeof certificate === 'string') {
    return false;
  }
  // Where no node serves the version that was installed, what ends first has no node of its own.
  const isBehind = deployment.EarliestNodeId !== undefined || deployment.NotAfter < certificate.NotAfter;
  return isBehind || certificate.Serial !== newest;
}

/**
 * The message that what is served comes near its end, or has expired.
 *
 * @param standstill what keeps every rollout from beginning now, in words.
 */
export function expiryAlert(
  arn: string,
  deployments: readonly Deployment[],
  renewed: boolean,
  problem: string | undefined,
  standstill: string | undefined,
  now: Date,
): Notification {
  const first = earliest(deployments);
  const days = Math.floor((Date.parse(first.NotAfter) - now.getTime()) / DAY_MS);
  const when = days < 0 ? 'has expired' : days < 1 ? 'expires within a day' : `expires in ${days} days`;
  const node = first.EarliestNodeId;
  const what = node ? `The certificate on server ${node}` : 'The delivered certificate';
  const behind = node ? 'that server does not have' : 'the system has not delivered';
  const reason = renewed
    ? `ACM has renewed it, but ${behind} the new version yet.`
    : asSentence(problem ?? 'ACM has not renewed it yet.');
  const path = pathOf(deployments);
  const said = [
    `${what} ${when}, at ${first.NotAfter}.`,
    reason,
    ...(standstill ? [standstill] : []),
    ...(first.LastError ? [`Last error: ${asSentence(first.LastError)}`] : []),
    `Certificate: ${arn}`,
  ];
  return {
    Subject: SUBJECTS.expiry(first, when, deployments.length - 1),
    What: said.join(' '),
    Where: placesOf(deployments),
    Since: first.Observed?.At ?? first.UpdatedAt,
    WhatToDo: `${standstill ? 'Let rollouts begin again: POST /thaw, or deploy with RolloutsEnabled=true. ' : ''}${
      renewed
        ? `Read the error of each server: GET ${path}. Repair the cause. To try at once: POST ${path}/rollouts.`
        : REQUEST_OR_VALIDATE
    }`,
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
    What: `${asSentence(problem)} The delivered certificate expires at ${earliest(deployments).NotAfter}. Certificate: ${arn}`,
    Where: placesOf(deployments),
    Since: timestamp(now),
    WhatToDo: `${REQUEST_OR_VALIDATE} ${DAILY}`,
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
    return `ACM failed to renew the certificate: ${RenewalSummary.RenewalStatusReason ?? 'no reason given'}.`;
  }
  if (RenewalSummary?.RenewalStatus === 'PENDING_VALIDATION') {
    return 'ACM cannot renew the certificate before its validation is complete.';
  }
  // A certificate becomes eligible by its first export, so one that is new here is not judged yet.
  const yesterday = timestamp(new Date(now.getTime() - DAY_MS));
  const isExported = deployments.some(({ Observed: last }) => last !== undefined && last.At <= yesterday);
  return RenewalEligibility === 'INELIGIBLE' && isExported
    ? 'ACM does not plan to renew the certificate.'
    : undefined;
}
