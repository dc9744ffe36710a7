import { type ACMClient, RequestCertificateCommand } from '@aws-sdk/client-acm';
import { certNameOf, describeRequested } from '../certificates/describe-requested.ts';
import { type EqualCertificate, findBeforeAsking } from '../certificates/find-equal.ts';
import { isCertificateArn } from '../domain/certificate.ts';
import {
  type CertificateRequest,
  equalText,
  heldText,
  idempotencyToken,
  isOpen,
  type RequestInput,
} from '../domain/certificate-request.ts';
import { timestamp } from '../domain/deployment.ts';
import { isNamed, RetryLater } from '../domain/errors.ts';
import { nextOfRequest, type RequestDecision, type RequestedCertificate } from '../domain/next-of-request.ts';
import { asSentence } from '../domain/notification.ts';
import { notAllowed, type RequestRule } from '../domain/request-rules.ts';
import type { Inventory } from '../inventory/inventory.ts';
import { logFields, logger } from '../runtime/observability.ts';

export interface RequestCertificateDeps {
  inventory: Inventory;
  acm: ACMClient;
  now: () => Date;
  requestRules: readonly RequestRule[];
  maxCertificatesPerDay: number;
  /** Whether this stack may write into hosted zones. */
  hasZones: boolean;
}

/** ACM's event that a certificate was issued, which may be one that nobody requested here. */
export interface IssuanceEvent {
  source: string;
  resources?: unknown;
}

/** What the state machine does next. Ids, and words for people, only. */
export interface RequestStep {
  CertName: string;
  RequestNumber: number;
  Action: 'WRITE' | 'WAIT' | 'REGISTER' | 'END' | 'FAILED';
  WaitSeconds: number;
  Error?: string;
}

/** Nothing is left to do: also for a request that is another one by now. */
const ended = ({ CertName, RequestNumber }: RequestInput): RequestStep => ({
  CertName,
  RequestNumber,
  Action: 'END',
  WaitSeconds: 0,
});

/**
 * Looks what a request needs next, and does it: asks ACM for the certificate, once, and notes what ACM says. Safe to
 * repeat, and for two executions at once.
 *
 * @throws RetryLater when others write the request each time.
 */
export async function requestCertificate(
  event: RequestInput | IssuanceEvent,
  deps: RequestCertificateDeps,
): Promise<RequestStep> {
  const request = await requestOf(event, deps);
  if (!request || !isOpen(request)) {
    return ended(request ?? { CertName: '', RequestNumber: 0, ...inputOf(event) });
  }
  const { CertName, RequestNumber, CertificateArn, CorrelationId } = request;
  logFields({ CertName, CertificateArn, CorrelationId });
  const certificate = CertificateArn ? await describeRequested(deps.acm, CertificateArn) : undefined;
  const decision = nextOfRequest(request, certificate, { hasZones: deps.hasZones, now: deps.now() });
  if (decision.action === 'ask') {
    return ask(request, deps);
  }
  const now = timestamp(deps.now());
  const Records = recordsOf(certificate);
  const step = { CertName, RequestNumber, WaitSeconds: decision.waitSeconds };
  switch (decision.action) {
    case 'fail':
      return fail(request, decision.error ?? '', deps);
    case 'register':
      await note(
        request,
        (known) => ({ ...known, ...Records, Status: 'REGISTERING', IssuedAt: known.IssuedAt ?? now }),
        deps,
      );
      return { ...step, Action: 'REGISTER' };
    case 'end':
      await note(
        request,
        (known) => ({ ...known, ...Records, Status: 'DONE', IssuedAt: now, EndedAt: now }),
        deps,
      );
      return { ...step, Action: 'END' };
    default: {
      await note(request, (known) => looked(known, certificate, decision, deps.now()), deps);
      return { ...step, Action: decision.action === 'write' ? 'WRITE' : 'WAIT' };
    }
  }
}

const inputOf = (event: RequestInput | IssuanceEvent): Partial<RequestInput> =>
  'RequestNumber' in event ? event : {};

/** The request that an execution works on; undefined where it is another one by now, or nobody requested it here. */
async function requestOf(
  event: RequestInput | IssuanceEvent,
  { inventory, acm }: RequestCertificateDeps,
): Promise<CertificateRequest | undefined> {
  if ('RequestNumber' in event) {
    const request = await inventory.requests.get(event.CertName);
    return request?.RequestNumber === event.RequestNumber ? request : undefined;
  }
  const [arn] = Array.isArray(event.resources) ? event.resources : [];
  if (typeof arn !== 'string' || !isCertificateArn(arn)) {
    return undefined;
  }
  const certName = await certNameOf(acm, arn);
  const request = certName === undefined ? undefined : await inventory.requests.get(certName);
  return request?.CertificateArn === arn ? request : undefined;
}

/** @throws RetryLater when others are faster each time: one of them may have ended it. */
async function note(
  { CertName, RequestNumber }: RequestInput,
  change: (known: CertificateRequest) => CertificateRequest,
  { inventory }: RequestCertificateDeps,
): Promise<CertificateRequest> {
  const noted = await inventory.requests.change(CertName, RequestNumber, change);
  if (!noted) {
    throw new RetryLater(`The request for a certificate of ${CertName} is written by others.`);
  }
  return noted;
}

/** They stay on the request when it has ended: ACM wants the same ones at each renewal. */
function recordsOf(
  certificate: RequestedCertificate | 'gone' | undefined,
): Pick<CertificateRequest, 'Records'> {
  const records = certificate && certificate !== 'gone' ? certificate.Records : [];
  return records.length > 0 ? { Records: records } : {};
}

function looked(
  known: CertificateRequest,
  certificate: RequestedCertificate | 'gone' | undefined,
  { waitSeconds }: RequestDecision,
  now: Date,
): CertificateRequest {
  return {
    ...known,
    Status: 'VALIDATING',
    ...recordsOf(certificate),
    NextLookAt: timestamp(new Date(now.getTime() + waitSeconds * 1000)),
  };
}

/** Of what was asked longer ago, ACM may have forgotten the token, which it knows for an hour. */
const TOKEN_SURE_MS = 45 * 60_000;

/**
 * Asks ACM. That it is about to be asked is noted before: where its answer is lost, the certificate is found by its names
 * and its tag, and until ACM's list shows it, the token keeps ACM from issuing twice.
 */
async function ask(request: CertificateRequest, deps: RequestCertificateDeps): Promise<RequestStep> {
  const { CertName, RequestNumber, Wish } = request;
  const now = deps.now();
  const asking = await note(
    request,
    (known) => ({ ...known, AskingSince: known.AskingSince ?? timestamp(now) }),
    deps,
  );
  // Another execution was faster.
  if (asking.CertificateArn) {
    return { CertName, RequestNumber, Action: 'WAIT', WaitSeconds: FIRST_WAIT_SECONDS };
  }
  const { AskingSince = timestamp(now) } = asking;
  const isLate = now.getTime() - Date.parse(AskingSince) >= TOKEN_SURE_MS;
  const { own, other } = await findBeforeAsking(deps.acm, { CertName, Wish, AskingSince }, { isLate });
  // What was about to be asked before may have been asked: its answer was lost, and the list does not show it yet.
  const sure = request.AskingSince === undefined ? 'ACM was not asked.' : MAY_BE_ASKED;
  const arn = own?.CertificateArn ?? (await askOnce(asking, other, sure, deps));
  if (typeof arn !== 'string') {
    return fail(request, arn.refused, deps);
  }
  logFields({ CertificateArn: arn });
  await note(
    request,
    (known) => ({
      ...known,
      Status: 'VALIDATING',
      CertificateArn: arn,
      AskedAt: known.AskedAt ?? timestamp(deps.now()),
      NextLookAt: timestamp(new Date(deps.now().getTime() + FIRST_WAIT_SECONDS * 1000)),
    }),
    deps,
  );
  logger.info('Certificate requested', { CertName, CertificateArn: arn });
  return { CertName, RequestNumber, Action: 'WAIT', WaitSeconds: FIRST_WAIT_SECONDS };
}

const MAY_BE_ASKED =
  'ACM may have been asked before, and its answer lost. Look in ACM for a certificate with these names, and delete it if nobody needs it. ACM was not asked again.';

/** ACM has the records "several seconds" after the request (API reference, RequestCertificate). */
const FIRST_WAIT_SECONDS = 10;

/** The rules and the ceiling of this function's own stack: what was written into the inventory by others is held to them too. */
async function askOnce(
  request: CertificateRequest,
  equal: EqualCertificate | undefined,
  sure: string,
  { acm, inventory, requestRules, maxCertificatesPerDay }: RequestCertificateDeps,
): Promise<string | { refused: string }> {
  const { CertName, Wish } = request;
  const names = notAllowed(requestRules, CertName, Wish.DomainNames);
  if (names.length > 0) {
    return {
      refused: `${sure} No rule allows ${names.join(', ')} under the name ${CertName} any more. The administrator of this stack can allow it: parameter RequestRules. Then POST the request again.`,
    };
  }
  if (equal) {
    return { refused: `${sure} ${equalText(equal)}` };
  }
  const holder = await inventory.requests.holdNames(request);
  if (holder !== undefined) {
    return { refused: `${sure} ${heldText(holder)}` };
  }
  if (!(await inventory.requests.admit(request, maxCertificatesPerDay))) {
    return {
      refused: `${sure} This stack has requested as many certificates that day as its parameter MaxCertificatesPerDay allows: ${maxCertificatesPerDay}. POST the request again tomorrow (UTC), or deploy the stack with a higher value.`,
    };
  }
  const [DomainName, ...others] = Wish.DomainNames;
  try {
    const { CertificateArn } = await acm.send(
      new RequestCertificateCommand({
        DomainName,
        ...(others.length > 0 ? { SubjectAlternativeNames: others } : {}),
        ValidationMethod: 'DNS',
        KeyAlgorithm: Wish.KeyAlgorithm,
        Options: { Export: 'ENABLED' },
        IdempotencyToken: idempotencyToken(request),
        Tags: [
          ...Object.entries(Wish.Tags).map(([Key, Value]) => ({ Key, Value })),
          { Key: 'CertName', Value: CertName },
        ],
      }),
    );
    if (!CertificateArn) {
      throw new RetryLater('ACM answered without an ARN.');
    }
    return CertificateArn;
  } catch (error) {
    if (isNamed(error, ...REFUSALS)) {
      return { refused: `ACM refuses the request: ${asSentence(error.message)} ${remedyOf(error)}` };
    }
    throw error;
  }
}

/** Errors of RequestCertificate that do not pass by themselves (API reference). Throttling has other names. */
const REFUSALS = [
  'InvalidArnException',
  'InvalidDomainValidationOptionsException',
  'InvalidParameterException',
  'InvalidTagException',
  'LimitExceededException',
  'TagPolicyException',
  'TooManyTagsException',
  'ValidationException',
];

const remedyOf = ({ name }: Error) =>
  name === 'LimitExceededException'
    ? 'Ask for a higher quota of AWS Certificate Manager (Service Quotas), or delete certificates that nobody needs. Then POST the request again.'
    : 'Correct what it names. Then POST the request again.';

async function fail(
  request: CertificateRequest,
  text: string,
  deps: RequestCertificateDeps,
): Promise<RequestStep> {
  const { CertName, RequestNumber } = request;
  const EndedAt = timestamp(deps.now());
  await note(request, (known) => ({ ...known, Status: 'FAILED', Error: text, EndedAt }), deps);
  logger.warn('The request has failed', { CertName, Reason: text });
  return { CertName, RequestNumber, Action: 'FAILED', WaitSeconds: 0, Error: text };
}
