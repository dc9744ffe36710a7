import { type CertificateRequest, isOpen, isStopped, type ValidationRecord } from './certificate-request.ts';
import { asSentence, ownOf } from './notification.ts';

/** What ACM says of a certificate that was requested. */
export interface RequestedCertificate {
  /** That of ACM. */
  Status: string;
  FailureReason?: string;
  /** Empty in the first seconds. */
  Records: ValidationRecord[];
}

/**
 * Why a request does what it does, in the order in which `nextOfRequest` looks. What is said is read by people: GET shows
 * it.
 */
export const REQUEST_REASONS = {
  failed:
    'It has failed: see Error. POST the request again when the cause is gone: from one hour after the failure on, the same POST is a new request.',
  refused:
    'The certificate is issued. Some deployments were refused, or could not be registered: see Error. POST each to …/deployments when the cause is gone.',
  done: 'The certificate is issued, and its deployments are registered.',
  issued: 'The certificate is issued. Its deployments are registered next.',
  unasked: 'ACM is asked for the certificate next.',
  unplanned: 'ACM was asked. It has not said yet which records it wants.',
  writing: 'The records that ACM wants are being written into the hosted zones.',
  unwritten:
    'A record could not be written: see Warnings. It is tried again every few minutes. Or create the records below yourself.',
  unseen:
    'ACM looks for its records in public DNS. Create those below, and leave them there: each renewal needs them again.',
  written: 'The records are written. ACM looks for them in public DNS, which may take some minutes.',
  refusedByAcm: 'ACM has refused the certificate.',
  gone: 'The certificate was deleted in ACM.',
} as const;

export type RequestReason = keyof typeof REQUEST_REASONS;

/** The same while no execution works on a request. */
const STOPPED =
  'The execution that worked on it has ended without a result: see Warnings. The next one starts by itself, or at once if you POST the request again.';

/** Why a request is as it stands in the record, for people. */
export const reasonOf = (request: CertificateRequest, how: { hasZones: boolean; now: Date }): string =>
  isStopped(request) ? STOPPED : nextOfRequest(request, undefined, how).words;

export interface RequestDecision {
  /** `ask`: ACM. `write`: the records. `register`: the deployments. `end`: nothing is left. `fail`: for good. */
  action: 'ask' | 'write' | 'wait' | 'register' | 'end' | 'fail';
  reason: RequestReason;
  /** The same for people. */
  words: string;
  /** Of a failure: why, and what to do. */
  error?: string;
  /** Until the next look. */
  waitSeconds: number;
}

/** The first look: ACM knows its records "several seconds" after the request (API reference, RequestCertificate). */
const FIRST_WAIT_SECONDS = 10;
/** The longest: public DNS and ACM take minutes, and a person who waits looks at GET. */
const LAST_WAIT_SECONDS = 300;

/** By then ACM knows a certificate that it was asked for: it says "several seconds". */
const KNOWN_AFTER_MS = 5 * 60_000;

const AGAIN = 'Then POST the request again.';

/**
 * Each FailureReason of ACM (API reference, CertificateDetail; user guide, "Certificate request fails"), with what to do.
 * Those of private authorities do not come for the public certificates that this system asks for. They are here so that
 * no value of ACM is without words.
 */
export const FAILURE_REASONS: Record<string, string> = {
  NO_AVAILABLE_CONTACTS: `ACM found no contact of a domain to write to, which it needs for validation by e-mail only. This system asks for validation by DNS. Look at the certificate in the console of ACM. ${AGAIN}`,
  ADDITIONAL_VERIFICATION_REQUIRED: `AWS wants to know more about you before it issues for one of these names, for example because the domain is well known. Write to AWS Support, in the Support Center of this account. ${AGAIN}`,
  DOMAIN_NOT_ALLOWED: `A domain is on a list of unsafe sites, so that ACM issues nothing for it. Have it removed from that list (Google Safe Browsing, VirusTotal), or write to AWS Support. ${AGAIN}`,
  INVALID_PUBLIC_DOMAIN:
    'A name does not end in a public domain, so that no public authority may issue for it. POST a request without this name.',
  DOMAIN_VALIDATION_DENIED: `The validation of a domain was rejected. Find out in the owner's team who rejected it, and why. ${AGAIN}`,
  CAA_ERROR: `A CAA record forbids Amazon to issue for a name. Add a CAA record with one of amazon.com, amazontrust.com, awstrust.com, amazonaws.com (issuewild for a wildcard), or remove those that are there. ${AGAIN}`,
  PCA_LIMIT_EXCEEDED: `The private authority has reached a quota. Ask for a higher one. ${AGAIN}`,
  PCA_INVALID_ARN: `The ARN of the private authority is not valid. Look at the certificate in the console of ACM. ${AGAIN}`,
  PCA_INVALID_STATE: `The private authority is not active. Activate it. ${AGAIN}`,
  PCA_REQUEST_FAILED: `The private authority could not issue. Look at it in the console of AWS Private CA. ${AGAIN}`,
  PCA_NAME_CONSTRAINTS_VALIDATION:
    'The private authority does not allow one of these names. POST a request without it.',
  PCA_RESOURCE_NOT_FOUND: `The private authority does not exist any more. Look at the certificate in the console of ACM. ${AGAIN}`,
  PCA_INVALID_ARGS: `The private authority refuses what ACM asked of it. Look at the certificate in the console of ACM. ${AGAIN}`,
  PCA_INVALID_DURATION: `The private authority ends before the certificate would. Renew the authority. ${AGAIN}`,
  PCA_ACCESS_DENIED: `ACM may not use the private authority. Let it, in the policy of the authority. ${AGAIN}`,
  SLR_NOT_FOUND: `ACM lacks its service-linked role in this account. Create it: aws iam create-service-linked-role --aws-service-name acm.amazonaws.com. ${AGAIN}`,
  OTHER: `ACM names no reason. Look at the certificate in the console of ACM, and write to AWS Support if that says no more. ${AGAIN}`,
};

/** Each status of ACM that ends a request without a certificate. */
export const TERMINAL_STATUSES: Record<string, string> = {
  VALIDATION_TIMED_OUT: `ACM did not find its records in public DNS within 72 hours. Create the records that GET shows, or see why they could not be written. ${AGAIN}`,
  FAILED: '',
  EXPIRED: `The certificate has expired before its deployments were registered. ${AGAIN}`,
  REVOKED: `A person revoked the certificate before its deployments were registered. ${AGAIN}`,
  INACTIVE: `ACM says that the certificate is inactive. Look at it in the console of ACM. ${AGAIN}`,
};

const GONE =
  'The certificate was deleted in ACM before its deployments were registered. POST the request again: ACM charges for the new certificate.';

/** Why a certificate will never be issued, and what to do; undefined while it may be. */
function failureOf({ Status, FailureReason }: RequestedCertificate): string | undefined {
  if (Status === 'FAILED') {
    const reason = FailureReason ?? 'OTHER';
    const words = ownOf(FAILURE_REASONS, reason) ?? FAILURE_REASONS.OTHER;
    return `ACM has refused the certificate (${reason}). ${words}`;
  }
  const words = ownOf(TERMINAL_STATUSES, Status);
  return words === undefined ? undefined : `ACM will not issue the certificate (${Status}). ${words}`;
}

const decision = (
  action: RequestDecision['action'],
  reason: RequestReason,
  more: Partial<Pick<RequestDecision, 'error' | 'waitSeconds'>> = {},
): RequestDecision => ({ action, reason, words: REQUEST_REASONS[reason], waitSeconds: 0, ...more });

/**
 * What is to be done for a request, and why. Pure: it asks no service and changes nothing.
 *
 * @param certificate as ACM describes it; `gone` where ACM does not know it any more; undefined where nobody looked.
 * @param hasZones whether this stack may write into hosted zones.
 */
export function nextOfRequest(
  request: CertificateRequest,
  certificate: RequestedCertificate | 'gone' | undefined,
  { hasZones, now }: { hasZones: boolean; now: Date },
): RequestDecision {
  if (!isOpen(request)) {
    const reason = request.Status === 'FAILED' ? 'failed' : request.Error ? 'refused' : 'done';
    return decision('end', reason);
  }
  if (!request.CertificateArn) {
    return decision('ask', 'unasked');
  }
  if (certificate === 'gone') {
    const askedAt = Date.parse(request.AskedAt ?? request.CreatedAt);
    return now.getTime() < askedAt + KNOWN_AFTER_MS
      ? decision('wait', 'unplanned', { waitSeconds: FIRST_WAIT_SECONDS })
      : decision('fail', 'gone', { error: GONE });
  }
  const failure = certificate && failureOf(certificate);
  if (failure) {
    return decision('fail', 'refusedByAcm', { error: failure });
  }
  if (certificate?.Status === 'ISSUED' || request.Status === 'REGISTERING') {
    return request.Wish.Deployments.length > 0 ? decision('register', 'issued') : decision('end', 'done');
  }
  const waitSeconds = waitOf(request, now);
  const records = certificate?.Records.length ? certificate.Records : (request.Records ?? []);
  if (records.length === 0) {
    return decision('wait', 'unplanned', { waitSeconds });
  }
  if (!hasZones || request.Wish.RecordsByHand) {
    return decision('wait', 'unseen', { waitSeconds });
  }
  const isWritten = records.every(({ Name }) => ownOf(request.Written ?? {}, Name)?.InSyncAt !== undefined);
  if (isWritten) {
    return decision('wait', 'written', { waitSeconds });
  }
  return decision('write', request.WritingFailure ? 'unwritten' : 'writing', { waitSeconds });
}

/** A tenth of what has passed since ACM was asked: soon for what comes soon, seldom for what takes hours. In seconds. */
export function waitOf(
  { AskedAt, CreatedAt }: Pick<CertificateRequest, 'AskedAt' | 'CreatedAt'>,
  now: Date,
): number {
  const passed = (now.getTime() - Date.parse(AskedAt ?? CreatedAt)) / 1000;
  return Math.min(LAST_WAIT_SECONDS, Math.max(FIRST_WAIT_SECONDS, Math.round(passed / 10)));
}

/** Which deployments were refused when the certificate was issued, in words for Error; undefined for none. */
export function refusedText(refused: readonly { place: string; why: string }[]): string | undefined {
  return refused.length === 0
    ? undefined
    : refused.map(({ place, why }) => `${place}: ${asSentence(why)}`).join(' ');
}
