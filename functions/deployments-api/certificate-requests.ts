import { describeRequested } from '../certificates/describe-requested.ts';
import { findEqual } from '../certificates/find-equal.ts';
import type { ZoneOfName } from '../dns/find-zones.ts';
import {
  type CertificateRequest,
  equalText,
  heldText,
  isOpen,
  isSameWish,
  nextRequestNumber,
  type RequestedDeployment,
  type RequestInput,
  repeatableAt,
  type Wish,
} from '../domain/certificate-request.ts';
import { type Deployment, deploymentIdOf, orderOf, timestamp } from '../domain/deployment.ts';
import { checkNames } from '../domain/domain-names.ts';
import { type Fault, RequestRefused, RetryLater } from '../domain/errors.ts';
import { CHANGED_MEANWHILE, isSameOrder } from '../domain/next.ts';
import { refusedText } from '../domain/next-of-request.ts';
import { placeOf } from '../domain/notification.ts';
import type { Order } from '../domain/order.ts';
import { notAllowed } from '../domain/request-rules.ts';
import { continueRequest, startRequest } from '../rollouts/start-request.ts';
import { logger } from '../runtime/observability.ts';
import { countDenial } from './denials.ts';
import {
  createDeployment,
  type DeploymentsApiDeps,
  isDeleting,
  isFleetFull,
  isPaused,
  lookAtTarget,
  refuseForeign,
  refuseStandstill,
  unseen,
} from './deployments-api.ts';
import { refusalOf } from './refused.ts';
import { notValid, orderFrom } from './request.ts';
import { type CertificateRequestBody, requestedFrom } from './request-body.ts';
import { requestViewOf } from './request-view.ts';
import { warnOfNoSubscriber } from './subscribers.ts';

/** A request as callers see it; of a dry run also the zones into which its records would be written. */
export type RequestAnswer = ReturnType<typeof requestViewOf> & { Zones?: ZoneOfName[] };

const CHARGES =
  'ACM charges for the certificate when it is issued, and for each renewal: for every name, and more for a wildcard.';

/**
 * Requests a certificate, or shows what would be requested. Everything that can refuse it comes before the first write.
 * A wish that is repeated is the same request: ACM is asked, and charges, once.
 *
 * @throws RequestRefused, TargetAccessDenied, TargetNotPrepared
 */
export async function requestCertificate(
  certName: string,
  body: CertificateRequestBody,
  correlationId: string,
  deps: DeploymentsApiDeps,
): Promise<RequestAnswer> {
  const { inventory } = deps;
  const wish = wishFrom(certName, body, deps);
  refuseByRules(certName, wish.DomainNames, deps);
  const known = await inventory.requests.get(certName);
  const failedUntil = known && isSameWish(known.Wish, wish) ? repeatableAt(known) : undefined;
  // A dry run shows whether the cause is gone.
  if (known && failedUntil && deps.now() < failedUntil && !body.DryRun) {
    return requestViewOf(known, deps, [
      `This is the request that has failed: see Error. ACM was not asked again. From ${timestamp(failedUntil)} on the same POST is a new request.`,
    ]);
  }
  if (known && (await isAnswer(known, wish, deps))) {
    return body.DryRun ? requestViewOf(known, deps) : begin(known, [], deps);
  }
  await refuseStandstill(deps);
  const { warnings: ofDeployments, stood } = await checkDeployments(certName, wish.Deployments, deps);
  await refuseEqual(certName, wish, deps);
  const looked = await deps.lookBefore(certName, wish);
  if (looked.Faults.length > 0) {
    throw new RequestRefused(422, 'The certificate was not requested: see Faults.', looked.Faults);
  }
  const now = deps.now();
  const request: CertificateRequest = {
    CertName: certName,
    RequestNumber: nextRequestNumber(known?.RequestNumber, now),
    Status: 'ASKING',
    Wish: wish,
    Stood: stood,
    ...(known ? { NumberBefore: known.RequestNumber } : {}),
    CorrelationId: correlationId,
    CreatedAt: timestamp(now),
    UpdatedAt: timestamp(now),
  };
  const warnings = [
    CHARGES,
    ...looked.Warnings,
    ...ofDeployments,
    ...(await warnOfNoSubscriber(deps.sns, deps.topicArn)),
  ];
  if (body.DryRun) {
    if ((await inventory.requests.countOn(now)) >= deps.maxCertificatesPerDay) {
      throw isFull(deps);
    }
    const view = requestViewOf(request, deps, warnings);
    return {
      ...view,
      Status: 'DRY_RUN',
      Reason: 'Nothing was requested: this is a dry run.',
      Zones: looked.Zones,
    };
  }
  const holder = await inventory.requests.holdNames(request);
  if (holder !== undefined) {
    throw isHeld(holder);
  }
  // The last refusal, because it counts what it lets through.
  if (!(await inventory.requests.admit(request, deps.maxCertificatesPerDay))) {
    throw isFull(deps);
  }
  const opened = (await inventory.requests.open(known, request)) ?? (await inventory.requests.get(certName));
  // Another caller may have been faster, or the answer to the own write was lost.
  if (!opened || !isSameWish(opened.Wish, wish)) {
    throw isOther(certName);
  }
  return begin(opened, warnings, deps);
}

/** What a person asks for. */
function wishFrom(certName: string, body: CertificateRequestBody, deps: DeploymentsApiDeps): Wish {
  const { names, faults } = checkNames(body.DomainNames);
  const wrong: Fault[] = faults.map((Reason) => ({ Field: 'DomainNames', Reason }));
  if (body.DomainNames.length > deps.maxDomainNames) {
    const Reason = `at most ${deps.maxDomainNames} names: the parameter MaxDomainNames of this stack, which follows the quota of ACM`;
    wrong.push({ Field: 'DomainNames', Reason });
  }
  const Deployments = requestedFrom(body, deps);
  const ids = Deployments.map((asked) => deploymentIdOf(asked, certName));
  for (const [index, id] of ids.entries()) {
    const given = body.Deployments[index]?.DeploymentId;
    if (given !== undefined && given !== id) {
      const Reason = 'not the deployment of this name and target';
      wrong.push({ Field: `Deployments.${index}.DeploymentId`, Reason });
    }
    if (ids.indexOf(id) < index) {
      wrong.push({ Field: `Deployments.${index}`, Reason: 'the same target as a deployment before it' });
    }
  }
  if (wrong.length > 0) {
    throw notValid(wrong);
  }
  return {
    DomainNames: names,
    KeyAlgorithm: body.KeyAlgorithm,
    Tags: body.Tags,
    ...(body.RecordsByHand ? { RecordsByHand: true } : {}),
    Deployments,
  };
}

function refuseByRules(
  certName: string,
  names: readonly string[],
  { requestRules }: DeploymentsApiDeps,
): void {
  const refused = notAllowed(requestRules, certName, names);
  if (refused.length > 0) {
    throw new RequestRefused(
      403,
      'This stack does not request a certificate with these names. Its administrator can allow them: parameter RequestRules.',
      refused.map((name) => ({
        Field: 'DomainNames',
        Reason: `${name}: no rule allows it under the name ${certName}`,
      })),
    );
  }
}

/**
 * Whether the request that there is answers a wish: the same one, unless it has failed, or its certificate is not there any
 * more.
 *
 * @throws RequestRefused where another one is open.
 */
async function isAnswer(known: CertificateRequest, wish: Wish, deps: DeploymentsApiDeps): Promise<boolean> {
  const isSame = isSameWish(known.Wish, wish);
  if (isOpen(known)) {
    if (!isSame) {
      throw isOther(known.CertName);
    }
    return true;
  }
  if (known.Status !== 'DONE' || !isSame || !known.CertificateArn) {
    return false;
  }
  const certificate = await describeRequested(deps.acm, known.CertificateArn);
  return certificate !== 'gone' && certificate.Status === 'ISSUED';
}

const isOther = (certName: string) =>
  new RequestRefused(
    409,
    `Another certificate is being requested under the name ${certName}. Look at GET /certificates/${certName}, and repeat the request when that one has ended. Or use another name. To withdraw that one, delete its certificate in ACM: it then fails within five minutes.`,
  );

/** No 429: programs repeat that by themselves, which is in vain until tomorrow. */
const isFull = ({ maxCertificatesPerDay }: DeploymentsApiDeps) =>
  new RequestRefused(
    409,
    `This stack has requested as many certificates today as its parameter MaxCertificatesPerDay allows: ${maxCertificatesPerDay}. Repeat the request tomorrow (UTC). Or deploy the stack with a higher value.`,
  );

/** The certificate of an order that is checked before there is one. */
const NONE_YET = '00000000-0000-0000-0000-000000000000';

/**
 * Checks deployments as their own POST would.
 *
 * @returns what the caller is warned of, and what is registered now.
 * @throws RequestRefused whose faults name the deployment.
 */
async function checkDeployments(
  certName: string,
  deployments: readonly RequestedDeployment[],
  deps: DeploymentsApiDeps,
): Promise<{ warnings: string[]; stood: Record<string, Order | null> }> {
  const CertificateArn = `arn:${deps.partition}:acm:${deps.region}:${deps.account}:certificate/${NONE_YET}`;
  const warnings: string[] = [];
  const stood: Record<string, Order | null> = {};
  let added = 0;
  for (const [index, asked] of deployments.entries()) {
    try {
      const deploymentId = deploymentIdOf(asked, certName);
      const existing = await deps.inventory.get(deploymentId);
      const order = orderFrom(certName, { ...asked, CertificateArn }, existing, deps);
      refuseForeign(order, deps);
      if (existing?.Status === 'DELETING') {
        throw isDeleting();
      }
      if (existing?.PausedAt) {
        throw isPaused();
      }
      added += existing ? 0 : 1;
      stood[deploymentId] = registeredOrder(existing);
      const ofTarget = await lookAtTarget(deploymentId, order, existing, deps);
      warnings.push(...[...unseen(order), ...ofTarget].map((text) => `Deployment ${index + 1}: ${text}`));
    } catch (error) {
      throw refusedAt(index, error);
    }
  }
  // Each is counted when it is registered. Until the first sweep nobody has counted.
  const size = added > 0 ? ((await deps.inventory.fleet.size()) ?? 0) : 0;
  if (added > 0 && size + added > deps.maxDeployments) {
    throw isFleetFull(deps);
  }
  return { warnings, stood };
}

/** What was only tried is not registered. */
const registeredOrder = (known: Deployment | undefined): Order | null =>
  known && !known.DryRunOnly ? orderOf(known) : null;

const isSameRegistration = (one: Order | null, other: Order | null): boolean =>
  one && other ? isSameOrder(one, other) : one === other;

/** A refusal of one of the deployments of a request. Another error stays as it is. */
function refusedAt(index: number, error: unknown): unknown {
  const refused = refusalOf(error);
  if (!refused || refused.status === 429) {
    return error;
  }
  const at = `Deployments.${index}`;
  const faults = refused.faults.map(({ Field, Reason }) => ({ Field: `${at}.${Field}`, Reason }));
  const all = faults.length > 0 ? faults : [{ Field: at, Reason: refused.message }];
  return new RequestRefused(refused.status, refused.message, all);
}

/** A second certificate with the same names costs as much as the first, and counts in the quotas of ACM. */
async function refuseEqual(certName: string, wish: Wish, deps: DeploymentsApiDeps): Promise<void> {
  const equal = await findEqual(deps.acm, wish);
  if (equal) {
    throw new RequestRefused(409, equalText(equal), [
      { Field: 'DomainNames', Reason: `equal to those of ${equal.CertificateArn}` },
    ]);
  }
  const holder = await deps.inventory.requests.holderOf(certName, wish);
  if (holder !== undefined) {
    throw isHeld(holder);
  }
}

const isHeld = (holder: string) =>
  new RequestRefused(409, heldText(holder), [
    { Field: 'DomainNames', Reason: `equal to those of the request of ${holder}` },
  ]);

/**
 * Starts what works on a request; the next execution, where the one before has ended and the request has not. The request
 * stands in the record: reconcile makes up for a start that fails for now.
 */
async function begin(
  request: CertificateRequest,
  warnings: string[],
  deps: DeploymentsApiDeps,
): Promise<RequestAnswer> {
  let known = request;
  if (isOpen(request)) {
    try {
      known = await start(request, deps);
    } catch (error) {
      logger.error('The request could not be started', error as Error);
      countDenial(error);
      warnings.push('The request could not be started yet. It starts by itself within half an hour.');
    }
  }
  return requestViewOf(known, deps, warnings);
}

async function start(request: CertificateRequest, deps: DeploymentsApiDeps): Promise<CertificateRequest> {
  if ((await startRequest(request, deps)) === 'started') {
    return request;
  }
  // It may have ended together with its request.
  const current = (await deps.inventory.requests.get(request.CertName)) ?? request;
  const isStill =
    isOpen(current) &&
    current.RequestNumber === request.RequestNumber &&
    current.Executions === request.Executions;
  return isStill ? ((await continueRequest(current, deps)) ?? current) : current;
}

/** The request of a name. */
export async function showRequest(certName: string, deps: DeploymentsApiDeps): Promise<RequestAnswer> {
  const request = await deps.inventory.requests.get(certName);
  if (!request) {
    throw new RequestRefused(404, `No certificate was requested under the name ${certName}.`);
  }
  return requestViewOf(request, deps);
}

/** What the state machine gets to know. */
export interface Registering extends RequestInput {
  Registered: string[];
  Error?: string;
}

/**
 * Registers the deployments of a request whose certificate is issued, each as its POST would, and ends the request. One
 * that is refused, or cannot be registered now, holds up no other. The request names what was refused. Safe to repeat.
 *
 * @throws RetryLater when others write a deployment each time, and what AWS throttles. Also each error that is no refusal.
 *   The other deployments are registered by then.
 */
export async function registerRequested(
  { CertName, RequestNumber }: RequestInput,
  deps: DeploymentsApiDeps,
): Promise<Registering> {
  const { requests } = deps.inventory;
  const read = await requests.get(CertName);
  const done = (request: CertificateRequest | undefined): Registering => ({
    CertName,
    RequestNumber,
    Registered: request?.Registered ?? [],
    ...(request?.Error === undefined ? {} : { Error: request.Error }),
  });
  if (read?.RequestNumber !== RequestNumber || !isOpen(read) || !read.CertificateArn) {
    return done(read?.RequestNumber === RequestNumber ? read : undefined);
  }
  const refused: { place: string; why: string }[] = [];
  const failed: unknown[] = [];
  for (const asked of read.Wish.Deployments) {
    const DeploymentId = deploymentIdOf(asked, CertName);
    const current = await requests.get(CertName);
    // A person may have changed it since: it is registered once.
    if (current?.Registered?.includes(DeploymentId)) {
      continue;
    }
    try {
      await registerOne(DeploymentId, asked, read, read.CertificateArn, deps);
    } catch (error) {
      const refusal = refusalOf(error);
      if (!refusal || refusal.status === 429) {
        logger.error('A deployment of the request could not be registered', error as Error);
        failed.push(error);
        continue;
      }
      if (refusal.message === CHANGED_MEANWHILE) {
        failed.push(new RetryLater(refusal.message));
        continue;
      }
      logger.warn('A deployment of the request was refused', { DeploymentId, Message: refusal.message });
      refused.push({ place: placeOf({ ...asked, DeploymentId }), why: whyOf(refusal) });
      continue;
    }
    await requests.change(CertName, RequestNumber, (request) => ({
      ...request,
      Registered: [...new Set([...(request.Registered ?? []), DeploymentId])],
    }));
  }
  if (failed.length > 0) {
    throw failed[0];
  }
  const ended = await requests.change(CertName, RequestNumber, (request) => {
    const text = refusedText(refused);
    const EndedAt = timestamp(deps.now());
    return { ...request, Status: 'DONE', EndedAt, ...(text === undefined ? {} : { Error: text }) };
  });
  return done(ended ?? (await requests.get(CertName)));
}

const whyOf = ({ message, faults }: RequestRefused): string =>
  [message, ...faults.map(({ Field, Reason }) => `${Field}: ${Reason}.`)].join(' ');

/**
 * One that this request has registered already is left as it is: another POST of it would be another rollout.
 *
 * @throws RequestRefused also where another request has changed it since this one was made: that one is newer.
 */
async function registerOne(
  deploymentId: string,
  asked: RequestedDeployment,
  { CertName, CorrelationId, Stood, CreatedAt }: CertificateRequest,
  certificateArn: string,
  deps: DeploymentsApiDeps,
): Promise<void> {
  const isOurs = (known: Deployment | undefined) =>
    known?.Wanted?.CorrelationId === CorrelationId && known.CertificateArn === certificateArn;
  const stood = Stood?.[deploymentId];
  const refuseChange = (known: Deployment | undefined) => {
    if (stood !== undefined && !isOurs(known) && !isSameRegistration(stood, registeredOrder(known))) {
      throw new RequestRefused(
        409,
        `It was changed, registered or deleted by another request since ${CreatedAt}, and is left as it is. If it is to have this certificate, register it by hand.`,
      );
    }
  };
  if (!isOurs(await deps.inventory.get(deploymentId))) {
    const body = { ...asked, CertificateArn: certificateArn };
    await createDeployment(CertName, body, CorrelationId, deps, { isChecked: true, refuseChange });
  }
}
