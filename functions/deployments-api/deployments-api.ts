import { type ACMClient, RenewCertificateCommand } from '@aws-sdk/client-acm';
import type { SNSClient } from '@aws-sdk/client-sns';
import type * as z from 'zod';
import { describeDeployable, ownerAllows } from '../certificates/describe-certificate.ts';
import type { LookBefore } from '../dns/look-before.ts';
import type { Certificate } from '../domain/certificate.ts';
import type { Wish } from '../domain/certificate-request.ts';
import {
  type Deployment,
  deploymentIdOf,
  executionArnOf,
  isDryRun,
  orderOf,
  type Running,
  timestamp,
} from '../domain/deployment.ts';
import { CertificateNotDeployable, isNamed, RequestRefused } from '../domain/errors.ts';
import {
  CHANGED_MEANWHILE,
  followUpOf,
  isSameOrder,
  type Noticed,
  wantedAfterRequest,
} from '../domain/next.ts';
import { type ManagedNode, obstacleOf, targetedBy } from '../domain/nodes.ts';
import { type FlatOrder, flatOf, type Order } from '../domain/order.ts';
import type { RequestRule } from '../domain/request-rules.ts';
import { ROUNDS } from '../inventory/inventory.ts';
import { kindOf } from '../inventory/looks.ts';
import { InvalidToken } from '../inventory/pages.ts';
import { type AdvanceDeps, advance, beginDryRun, standstillOf } from '../rollouts/advance.ts';
import { type RemovalDeps, removeDeployment } from '../rollouts/removal.ts';
import type { Clock } from '../runtime/clock.ts';
import { logger } from '../runtime/observability.ts';
import { listNodes } from '../target-account/nodes.ts';
import { findReaders } from '../target-account/readers.ts';
import { type ConnectTarget, inTarget, type SessionStatement } from '../target-account/session.ts';
import { countDenial } from './denials.ts';
import { isThrottled } from './refused.ts';
import {
  type EndpointQuery,
  type FleetQuery,
  notValid,
  orderFrom,
  type PageQuery,
  type Registration,
  type RenewalBody,
  targetFrom,
} from './request.ts';
import { warnOfNoSubscriber } from './subscribers.ts';
import { nodeViewOf, viewOf } from './view.ts';

export interface DeploymentsApiDeps extends AdvanceDeps, RemovalDeps {
  acm: ACMClient;
  sns: SNSClient;
  /** To which people subscribe for messages. */
  topicArn: string;
  connectTarget: ConnectTarget<'iam' | 'ssm' | 'secretsManager'>;
  sleep: Clock['sleep'];
  account: string;
  region: string;
  /** Accounts that deployments may target; empty: the central account only. */
  targetAccounts: string[];
  targetTagKeys: string[];
  /** Names of roles that may read delivered secrets; one that ends in * stands for all that begin so. */
  secretReaderRoles: string[];
  requireCertificateTag: boolean;
  allowPrivateCertificates: boolean;
  /** How many deployments there may be. */
  maxDeployments: number;
  /** Which name may have a certificate for which domains; empty: none. */
  requestRules: readonly RequestRule[];
  /** How many certificates ACM may be asked for on one day. */
  maxCertificatesPerDay: number;
  /** How many names one certificate may have. */
  maxDomainNames: number;
  requestStateMachineArn: string;
  /** What public DNS, and the hosted zones that this stack may write into, say before a certificate costs money. */
  lookBefore: (certName: string, wish: Wish) => Promise<LookBefore>;
  /** Whether there are such zones. */
  hasZones: boolean;
}

/** What a request that starts something is answered with: the order as it is now, or the one that is tried, and more. */
export interface Started extends FlatOrder {
  DeploymentId: string;
  Serial: string;
  /** That of the rollout that runs, where it is known. */
  RolloutNumber?: number;
  /** Absent only when the rollout's execution could not be started yet; reconcile starts it. */
  ExecutionArn?: string;
  Warnings: string[];
}

const DAY_MS = 86_400_000;

/** How a deployment is registered that was asked for together with its certificate. */
export interface HowToCreate {
  /**
   * Its target was looked at before the certificate was issued. Whatever keeps its rollout from beginning now, or from
   * reaching the target, passes or is told: the rollout is tried again by itself.
   */
  isChecked?: boolean;
  /** Throws where what is registered is not what the request was made for. */
  refuseChange?: (known: Deployment | undefined) => void;
}

/**
 * Registers or changes a deployment and starts its rollout, or a dry run of it. Everything that can refuse the request
 * comes before the first write.
 *
 * @throws RequestRefused, TargetAccessDenied, TargetNotPrepared
 */
export async function createDeployment(
  certName: string,
  body: Registration,
  correlationId: string,
  deps: DeploymentsApiDeps,
  { isChecked = false, refuseChange }: HowToCreate = {},
): Promise<Started> {
  const deploymentId = deploymentIdOf(targetFrom(body, deps), certName);
  const existing = await deps.inventory.get(deploymentId);
  if (body.DryRun && existing?.Delivery === 'secret') {
    throw new RequestRefused(
      409,
      'The deployment is delivered as a secret. There is nothing to try on nodes.',
    );
  }
  const orderOver = (known: Deployment | undefined) => {
    refuseChange?.(known);
    return orderFrom(certName, body, known, deps);
  };
  const order = orderOver(existing);
  refuseForeign(order, deps);
  const certificate = await deployableCertificate(certName, order.CertificateArn, deps);
  if (!isRegistered(certificate, existing)) {
    refusePrivate(certificate, deps);
  }
  if (!isChecked) {
    await refuseStandstill(deps);
  }
  if (existing?.Status === 'DELETING') {
    throw isDeleting();
  }
  if (existing?.PausedAt && !body.DryRun) {
    throw isPaused();
  }
  const trial = body.DryRun ? existing?.Running : undefined;
  if (trial && !isRepeatOf(trial, order, certificate)) {
    throw isRunning();
  }
  const seen = isChecked
    ? []
    : await Promise.all([
        lookAtTarget(deploymentId, order, existing, deps),
        warnOfNoSubscriber(deps.sns, deps.topicArn),
      ]);
  const warnings = [...unseen(order), ...seen.flat()];
  // The last refusal, because it counts what it lets through.
  if (!existing && !(await deps.inventory.fleet.admit(deps.maxDeployments))) {
    throw isFleetFull(deps);
  }
  if (body.DryRun) {
    // It is not noted for later, as an order is: what is frozen meanwhile does not begin.
    await refuseStandstill(deps);
    const begun = trial ? existing : await beginDryRun(deploymentId, order, certificate, correlationId, deps);
    if (!begun) {
      throw isRunning();
    }
    return started(begun, order, certificate, correlationId, warnings, deps);
  }
  const wanted = await want(deploymentId, existing, orderOver, certificate, correlationId, deps);
  return started(wanted, orderOf(wanted), certificate, correlationId, warnings, deps);
}

const isRegistered = ({ CertificateArn }: Certificate, existing: Deployment | undefined): boolean =>
  existing?.CertificateArn === CertificateArn && !existing.DryRunOnly;

/** What is registered goes on: a server would serve it past its end. */
function refusePrivate({ Type }: Certificate, { allowPrivateCertificates }: DeploymentsApiDeps): void {
  if (Type === 'PRIVATE' && !allowPrivateCertificates) {
    throw new RequestRefused(403, 'Certificates of a private authority are not allowed.', [
      {
        Field: 'CertificateArn',
        Reason: 'of type PRIVATE, and the parameter AllowPrivateCertificates of this stack is false',
      },
    ]);
  }
}

/** A caller who did not hear the answer asks again: it is the dry run that runs. */
const isRepeatOf = (running: Running, order: Order, { Serial }: Certificate): boolean =>
  isDryRun(running) && running.Serial === Serial && isSameOrder(running.Order, order);

/** Warns of an order whose result nobody can see. */
export function unseen({ Delivery, Options }: Order): string[] {
  const { VerifyPort, ReloadServices, RestartServices } = Options;
  const isSeen = VerifyPort !== 0 || ReloadServices.length > 0 || RestartServices.length > 0;
  return Delivery === 'secret' || isSeen
    ? []
    : [
        'Neither VerifyPort nor ReloadServices (or RestartServices) is set. The files are put in place, but nothing ' +
          'checks that a program serves them.',
      ];
}

/**
 * Writes what a person wants.
 *
 * @param known the deployment as it was read.
 * @param orderOver what they make of the order that is registered, of the deployment as it is read in each round; it stays
 *   as it is by default.
 * @throws RequestRefused when it was paused, deleted or moved to another certificate meanwhile.
 */
async function want(
  deploymentId: string,
  known: Deployment | undefined,
  orderOver: ((known: Deployment | undefined) => Order) | undefined,
  certificate: Certificate,
  correlationId: string,
  deps: DeploymentsApiDeps,
): Promise<Deployment> {
  const { Serial, NotBefore, NotAfter: notAfter, CertificateArn } = certificate;
  const asked: Noticed = {
    CertificateArn,
    Serial,
    NotBefore,
    Cause: 'REQUEST',
    CorrelationId: correlationId,
  };
  let current = known;
  for (let round = 0; round < ROUNDS; round += 1) {
    const order = orderOver ? orderOver(current) : current && orderOf(current);
    if (order?.CertificateArn !== CertificateArn) {
      break;
    }
    const wanted = wantedAfterRequest(current, order, asked, deps.now());
    const registration = orderOver && { order, notAfter };
    const written = await deps.inventory.want(deploymentId, current, wanted, registration);
    if (written) {
      return written;
    }
    current = await deps.inventory.get(deploymentId);
    if (current?.Status === 'DELETING') {
      throw isDeleting();
    }
    if (current?.PausedAt) {
      throw isPaused();
    }
  }
  throw isChanged();
}

const FOLLOWS = 'Another rollout of this deployment is running: this one starts when it has ended.';

const isChanged = () => new RequestRefused(409, CHANGED_MEANWHILE);
export const isDeleting = () =>
  new RequestRefused(409, 'The deployment is being deleted: repeat the DELETE, then POST again.');
export const isPaused = () => new RequestRefused(409, 'The deployment is paused: resume it first.');
/** No 429: programs repeat that by themselves, which is in vain until a person has acted. */
export const isFleetFull = ({ maxDeployments }: DeploymentsApiDeps) =>
  new RequestRefused(
    409,
    `This stack has as many deployments as its parameter MaxDeployments allows: ${maxDeployments}. DELETE some that ` +
      'nobody needs, and repeat the request after the next sweep, within 10 minutes. Or deploy the stack with a higher value.',
  );
const isRunning = () =>
  new RequestRefused(409, 'A rollout of this deployment is running: repeat the dry run when it has ended.');

/**
 * Begins and starts what was asked for, or says what it waits for. The request stands in the record, so that a start which
 * fails for now is no refusal: reconcile makes up for it.
 */
async function started(
  asked: Deployment,
  order: Order,
  { Serial }: Certificate,
  correlationId: string,
  warnings: string[],
  deps: DeploymentsApiDeps,
): Promise<Started> {
  const { DeploymentId } = asked;
  let deployment: Deployment | undefined;
  try {
    ({ deployment } = await advance(DeploymentId, deps, { correlationId, written: asked }));
    // Only where it came while the request was under way.
    const standstill = deployment?.Running?.StartedAt ? undefined : await standstillOf(deps);
    if (standstill) {
      warnings.push(`${standstill.words} The requested rollout begins by itself afterwards.`);
    }
  } catch (error) {
    logger.error('The rollout could not be started', error as Error);
    countDenial(error);
    warnings.push('The rollout could not be started yet. It starts by itself within the hour.');
  }
  const running = deployment?.Running;
  if (running && deployment && followUpOf(deployment)) {
    warnings.push(FOLLOWS);
  }
  const number = (running ?? asked.Running)?.RolloutNumber;
  return {
    DeploymentId,
    Serial,
    ...(number === undefined ? {} : { RolloutNumber: number }),
    ...(running ? { ExecutionArn: executionArnOf(deps.stateMachineArn, DeploymentId, running) } : {}),
    Warnings: warnings,
    ...flatOf(order),
  };
}

/** What begins a rollout is refused, and not noted for later: a person would not expect it by then. */
export async function refuseStandstill(deps: DeploymentsApiDeps): Promise<void> {
  const standstill = await standstillOf(deps);
  if (standstill) {
    const what = standstill.reason === 'frozen' ? ' Repeat the request after POST /thaw.' : '';
    throw new RequestRefused(409, `${standstill.words}${what}`);
  }
}

export function refuseForeign(order: Order, deps: DeploymentsApiDeps): void {
  const faults = [];
  const allowedAccounts = deps.targetAccounts.length > 0 ? deps.targetAccounts : [deps.account];
  if (!allowedAccounts.includes(order.TargetAccount)) {
    faults.push({ Field: 'TargetAccount', Reason: 'not one of the accounts that this stack may deploy to' });
  }
  if (!deps.targetTagKeys.includes(order.TargetTagKey)) {
    faults.push({
      Field: 'TargetTagKey',
      Reason: `not one of the tag keys that this stack may use: ${deps.targetTagKeys.join(', ')}`,
    });
  }
  for (const [index, arn] of (order.ReaderRoleArns ?? []).entries()) {
    const reason = whyNoReader(arn, order, deps);
    if (reason) {
      faults.push({ Field: `ReaderRoleArns.${index}`, Reason: reason });
    }
  }
  if (faults.length > 0) {
    throw new RequestRefused(403, 'The target is not allowed.', faults);
  }
  refuseElsewhere(order.CertificateArn, deps);
}

/** Another account could read only with a key of its own in KMS, which a bundle does not have. */
function whyNoReader(arn: string, order: Order, deps: DeploymentsApiDeps): string | undefined {
  const [, partition, , , account] = arn.split(':');
  if (partition !== deps.partition || account !== order.TargetAccount) {
    return `not a role of the target account ${order.TargetAccount}`;
  }
  const name = arn.slice(arn.lastIndexOf('/') + 1);
  const allowed = deps.secretReaderRoles.some((role) =>
    role.endsWith('*') ? name.startsWith(role.slice(0, -1)) : name === role,
  );
  return allowed
    ? undefined
    : 'not one of the roles to which this stack may open secrets (SecretReaderRoles)';
}

/** A certificate can be exported only in its own account and Region. */
function refuseElsewhere(certificateArn: string, deps: DeploymentsApiDeps): void {
  const [, partition, , region, account] = certificateArn.split(':');
  if (partition !== deps.partition || region !== deps.region || account !== deps.account) {
    throw new RequestRefused(422, 'The certificate is in another account or Region.', [
      {
        Field: 'CertificateArn',
        Reason: `this stack exports certificates of account ${deps.account} in ${deps.region} only`,
      },
    ]);
  }
}

async function deployableCertificate(
  certName: string,
  certificateArn: string,
  deps: DeploymentsApiDeps,
): Promise<Certificate> {
  const field = (Reason: string) => [{ Field: 'CertificateArn', Reason }];
  const certificate = await describeDeployable(deps.acm, certificateArn).catch((error: unknown) => {
    if (error instanceof CertificateNotDeployable) {
      throw new RequestRefused(422, 'The certificate cannot be delivered.', field(error.message));
    }
    // ACM's own form of an id is stricter than what is documented of an ARN.
    if (isNamed(error, 'InvalidArnException', 'ValidationException')) {
      throw new RequestRefused(400, 'The request is not valid.', field(error.message));
    }
    throw error;
  });
  if (!certificate) {
    throw new RequestRefused(404, 'ACM does not know the certificate.', field('no such certificate'));
  }
  if (deps.requireCertificateTag && !(await ownerAllows(deps.acm, certificateArn, certName))) {
    throw new RequestRefused(403, 'The certificate may not be deployed under this name.', [
      {
        Field: 'CertName',
        Reason: `the certificate's tag CertName must be ${certName}, or a prefix of it followed by +`,
      },
    ]);
  }
  return certificate;
}

/** Proves that the target account can be reached, and looks at the nodes or readers. Changes nothing there. */
export async function lookAtTarget(
  deploymentId: string,
  order: Order,
  existing: Deployment | undefined,
  deps: DeploymentsApiDeps,
): Promise<string[]> {
  const { ReaderRoleArns: readers } = order;
  const connect = (statements: SessionStatement[]) =>
    deps.connectTarget({ ...order, DeploymentId: deploymentId }, statements);
  if (readers) {
    const { missing } = await findReaders(connect, readers);
    return missing.map(
      (arn) =>
        `The role ${arn} does not exist. It can read the bundle as soon as a role with exactly this ARN exists. ` +
        'The other readers do not wait for it.',
    );
  }
  // DescribeInstanceInformation has no resource level.
  const { ssm } = await connect([
    { Effect: 'Allow', Action: ['ssm:DescribeInstanceInformation'], Resource: '*' },
  ]);
  const tagged = await inTarget(order, () => listNodes(ssm, order));
  const leftOut = [
    ...takenBack(order, existing, tagged),
    ...(await warnOfLeftOut(deploymentId, order, tagged, deps)),
  ];
  const nodes = targetedBy(order, tagged);
  if (nodes.length === 0) {
    const other = tagged.length > 0 ? 'other ' : '';
    return [
      ...leftOut,
      `No ${other}managed node in account ${order.TargetAccount}, Region ${order.TargetRegion} carries the tag ` +
        `${order.TargetTagKey}=${order.TargetTagValue} yet. The certificate is installed as soon as one does.`,
    ];
  }
  const unready = nodes.flatMap((node) => {
    const obstacle = obstacleOf(node);
    return obstacle ? [`${node.NodeId}: ${obstacle.Error}`] : [];
  });
  // The inventory has them all, once the rollout has ended.
  const more = unready.length - MOST_WARNINGS;
  return [
    ...leftOut,
    ...(more > 0 ? [...unready.slice(0, MOST_WARNINGS), `And ${more} more nodes.`] : unready),
  ];
}

/** A list replaces the one before: whom that left out, and this one does not, is served again. */
function takenBack(order: Order, existing: Deployment | undefined, tagged: readonly ManagedNode[]): string[] {
  const before = tagged.filter(({ NodeId }) => existing?.ExcludeNodeIds?.includes(NodeId));
  return targetedBy(order, before).map(
    ({ NodeId }) => `${NodeId} is no longer left out: ExcludeNodeIds replaces the list that was registered.`,
  );
}

/** Nodes that the order leaves out: a mistyped id leaves out nobody, and what one serves is watched no more. */
async function warnOfLeftOut(
  deploymentId: string,
  { ExcludeNodeIds = [], TargetTagKey, TargetTagValue }: Order,
  tagged: readonly ManagedNode[],
  { inventory }: DeploymentsApiDeps,
): Promise<string[]> {
  if (ExcludeNodeIds.length === 0) {
    return [];
  }
  const records = await inventory.nodes.all(deploymentId);
  return ExcludeNodeIds.flatMap((id) => {
    const record = records.find(({ NodeId }) => NodeId === id);
    if (record?.Serves || record?.VersionId) {
      const end = record.Serves ? ` that ends at ${record.Serves.NotAfter}` : '';
      return `${id} is left out. It keeps the certificate${end}, and nobody is told of that end.`;
    }
    const isTagged = tagged.some(({ NodeId }) => NodeId === id);
    return isTagged
      ? []
      : `${id} is in ExcludeNodeIds and does not carry the tag ${TargetTagKey}=${TargetTagValue} now.`;
  });
}

/** More warnings than this nobody reads, and thousands of nodes may be offline. */
const MOST_WARNINGS = 50;

/** Installs again now. While a rollout of the same serial runs, that one is the answer. */
export async function startRollout(
  certName: string,
  deploymentId: string,
  correlationId: string,
  deps: DeploymentsApiDeps,
): Promise<Started> {
  await refuseStandstill(deps);
  return rollOut(certName, deploymentId, correlationId, deps);
}

async function rollOut(
  certName: string,
  deploymentId: string,
  correlationId: string,
  deps: DeploymentsApiDeps,
): Promise<Started> {
  const known = await getInstallable(certName, deploymentId, deps);
  const certificate = await deployableCertificate(certName, known.CertificateArn, deps);
  const wanted = await want(deploymentId, known, undefined, certificate, correlationId, deps);
  return started(wanted, orderOf(wanted), certificate, correlationId, [], deps);
}

async function getInstallable(certName: string, deploymentId: string, deps: DeploymentsApiDeps) {
  const deployment = await getOwn(certName, deploymentId, deps);
  if (deployment.Status === 'DELETING') {
    throw isDeleting();
  }
  if (deployment.PausedAt) {
    throw isPaused();
  }
  if (deployment.DryRunOnly) {
    throw new RequestRefused(409, 'Only dry runs were requested. POST the deployment without DryRun first.');
  }
  return deployment;
}

/** Pauses a deployment: nothing starts for it any more. A rollout that is running goes on to its end. */
export async function pauseDeployment(certName: string, deploymentId: string, deps: DeploymentsApiDeps) {
  const pause = (deployment: Deployment) => deps.inventory.pause(deployment);
  return viewOf(await marked(certName, deploymentId, pause, deps), deps);
}

/** Resumes a deployment and brings its nodes to the current version, which they may have missed. */
export async function resumeDeployment(
  certName: string,
  deploymentId: string,
  correlationId: string,
  deps: DeploymentsApiDeps,
): Promise<Started> {
  await refuseStandstill(deps);
  await marked(certName, deploymentId, (deployment) => deps.inventory.resume(deployment), deps);
  return rollOut(certName, deploymentId, correlationId, deps);
}

/** One page of the deployments of a name, or of the whole fleet. */
export async function listDeployments(
  certName: string | undefined,
  query: z.infer<typeof FleetQuery> | z.infer<typeof PageQuery>,
  deps: DeploymentsApiDeps,
) {
  const { Limit, NextToken, ...filter } = query as z.infer<typeof FleetQuery>;
  const { ExpiresWithinDays: days, ...indexed } = filter;
  const page = await deps.inventory.fleet
    .page(
      {
        ...indexed,
        ...(certName === undefined ? {} : { CertName: certName }),
        ...(days === undefined
          ? {}
          : { NotAfterAtMost: timestamp(new Date(deps.now().getTime() + days * DAY_MS)) }),
      },
      Limit,
      NextToken,
    )
    .catch(refuseToken);
  return {
    Deployments: await Promise.all(page.items.map((deployment) => viewOf(deployment, deps))),
    ...(page.nextToken ? { NextToken: page.nextToken } : {}),
  };
}

/** One deployment, with a page of its nodes. */
export async function getDeployment(
  certName: string,
  deploymentId: string,
  query: z.infer<typeof PageQuery>,
  deps: DeploymentsApiDeps,
) {
  const deployment = await getOwn(certName, deploymentId, deps);
  const page = await deps.inventory.nodes.page(deploymentId, query.Limit, query.NextToken).catch(refuseToken);
  const place = `${deployment.TargetAccount}/${deployment.TargetRegion}`;
  const { looks } = deps.inventory;
  const kinds = new Set(page.items.map(({ NodeId }) => kindOf(NodeId)));
  const looked = new Map(
    await Promise.all([...kinds].map(async (kind) => [kind, await looks.get(place, kind)] as const)),
  );
  const Nodes = page.items.map((node) => nodeViewOf(node, looked.get(kindOf(node.NodeId))?.CompletedAt));
  return {
    ...(await viewOf(deployment, deps)),
    Nodes,
    ...(page.nextToken ? { NextToken: page.nextToken } : {}),
  };
}

/** One page of the TLS ports that serve a certificate which nobody registered. */
export async function listEndpoints(
  { Limit, NextToken }: z.infer<typeof EndpointQuery>,
  { inventory }: DeploymentsApiDeps,
) {
  const page = await inventory.endpoints.page(Limit, NextToken).catch(refuseToken);
  const Endpoints = page.items.map(({ ToldAt: _, ...endpoint }) => endpoint);
  return { Endpoints, ...(page.nextToken ? { NextToken: page.nextToken } : {}) };
}

function refuseToken(error: unknown): never {
  if (error instanceof InvalidToken) {
    throw notValid([{ Field: 'NextToken', Reason: error.message }]);
  }
  throw error;
}

/** @throws RequestRefused 404, also where the deployment belongs to another CertName. */
async function getOwn(certName: string, deploymentId: string, deps: DeploymentsApiDeps): Promise<Deployment> {
  const deployment = await deps.inventory.get(deploymentId);
  if (deployment?.CertName !== certName) {
    throw new RequestRefused(404, `There is no deployment ${deploymentId} of ${certName}.`);
  }
  return deployment;
}

/**
 * Marks a deployment as it is in this moment.
 *
 * @throws RequestRefused when there is none, or it is being deleted, or others are faster each time.
 */
async function marked(
  certName: string,
  deploymentId: string,
  mark: (deployment: Deployment) => Promise<Deployment | undefined>,
  deps: DeploymentsApiDeps,
): Promise<Deployment> {
  let current = await getOwn(certName, deploymentId, deps);
  const { CreatedAt } = current;
  // One that was registered again meanwhile is another deployment.
  for (let round = 0; round < ROUNDS && current.CreatedAt === CreatedAt; round += 1) {
    const written = await mark(current);
    if (written) {
      return written;
    }
    current = await getOwn(certName, deploymentId, deps);
  }
  throw current.Status === 'DELETING' ? isDeleting() : isChanged();
}

/**
 * Stops managing a deployment: its rollout is stopped, its bundle scheduled for deletion, its record removed.
 * Files on nodes stay. Each step can be repeated; a DELETE that failed half-way is finished by the next.
 *
 * @param force removes the record even where the target account refuses us, for an account that is closed.
 */
export async function deleteDeployment(
  certName: string,
  deploymentId: string,
  force: boolean,
  deps: DeploymentsApiDeps,
) {
  const deployment = await marked(certName, deploymentId, (read) => deps.inventory.markDeleting(read), deps);
  try {
    const Warnings = await removeDeployment(deployment, deps, force);
    return { DeploymentId: deploymentId, Status: 'DELETED', Warnings };
  } catch (error) {
    if (isNamed(error, 'RolloutSuperseded')) {
      throw new RequestRefused(409, error.message);
    }
    throw error;
  }
}

/** A repeated request within this time is the same one: ACM would renew, and charge, again. */
const SAME_RENEWAL_MS = 3_600_000;
/** A request that has no answer after this got none: longer than this function runs. */
const ASKING_MS = 30_000;

/**
 * Asks ACM to renew a certificate now. Repeating it is safe, under whatever name: a renewal that is under way, or was
 * asked for within the hour, is not asked for again. The rollout starts with ACM's event.
 */
export async function renewCertificate(
  certName: string,
  body: z.infer<typeof RenewalBody>,
  deps: DeploymentsApiDeps,
) {
  const { CertificateArn } = body;
  refuseElsewhere(CertificateArn, deps);
  const before = (ms: number) => timestamp(new Date(deps.now().getTime() - ms));
  const [since, asking] = [before(SAME_RENEWAL_MS), before(ASKING_MS)];
  const { own, isNoted } = await deploymentsOf(certName, CertificateArn, since, asking, deps);
  if (!own) {
    throw new RequestRefused(404, `The certificate is not deployed under the name ${certName}.`, [
      { Field: 'CertificateArn', Reason: 'not deployed under this name' },
    ]);
  }
  const { RenewalSummary, Serial } = await deployableCertificate(certName, CertificateArn, deps);
  const renewal = RenewalSummary?.RenewalStatus;
  const answer = { CertificateArn, Serial };
  if (renewal === 'PENDING_AUTO_RENEWAL' || renewal === 'PENDING_VALIDATION') {
    return { ...answer, Warnings: [`A renewal is under way already: ACM says ${renewal}.`] };
  }
  const { renewals } = deps.inventory;
  const request = isNoted ? undefined : await renewals.request(CertificateArn, since, asking);
  if (!request) {
    return {
      ...answer,
      Warnings: ['A renewal was requested within the last hour. ACM was not asked again.'],
    };
  }
  try {
    await deps.acm.send(new RenewCertificateCommand({ CertificateArn }));
  } catch (error) {
    await renewals.answer(CertificateArn, request, false);
    // RequestInProgress, Conflict, Validation …: what ACM refuses is for the caller to read.
    if (error instanceof Error && (error as { $fault?: string }).$fault === 'client' && !isThrottled(error)) {
      throw new RequestRefused(409, `ACM refuses the renewal: ${error.message}`);
    }
    throw error;
  }
  await renewals.answer(CertificateArn, request, true);
  await deps.inventory.noteRenewal(own);
  const standstill = await standstillOf(deps);
  return {
    ...answer,
    Warnings: [
      'ACM charges for this renewal as for a new certificate.',
      ...(standstill ? [`${standstill.words} The new version is installed afterwards.`] : []),
    ],
  };
}

/**
 * The deployment with the lowest id of a certificate under a name, and whether the edition before has noted a request
 * on a deployment of the certificate, whatever its name.
 */
async function deploymentsOf(
  certName: string,
  certificateArn: string,
  since: string,
  asking: string,
  deps: DeploymentsApiDeps,
): Promise<{ own?: Deployment; isNoted: boolean }> {
  const all = await Array.fromAsync(deps.inventory.fleet.all({ CertificateArn: certificateArn }));
  const own = all
    .filter(({ CertName, Wanted, Status }) => CertName === certName && Wanted && Status !== 'DELETING')
    .reduce<Deployment | undefined>((a, b) => (a && a.DeploymentId < b.DeploymentId ? a : b), undefined);
  const isNoted = all.some(
    ({ RenewalRequestedAt: at = '', RenewalAnswered: answered }) =>
      typeof answered !== 'string' && at > (answered ? since : asking),
  );
  return { ...(own ? { own } : {}), isNoted };
}
