import type { ACMClient } from '@aws-sdk/client-acm';
import { DescribeExecutionCommand } from '@aws-sdk/client-sfn';
import type { SSMClient } from '@aws-sdk/client-ssm';
import * as z from 'zod';
import { type Certificate, describeDeployable, NotDeployable } from '../shared/certificate.ts';
import {
  type Deployment,
  type NodeRecord,
  type NodeResult,
  type RolloutOrder,
  STATUSES,
  timestamp,
} from '../shared/deployment.ts';
import { isNamed } from '../shared/errors.ts';
import { holdsVersion, inParallel } from '../shared/inventory.ts';
import { listNodes, type ManagedNode, obstacleOf, summaryOf } from '../shared/nodes.ts';
import { executionLink, type Notification, placeOf, placesOf } from '../shared/notification.ts';
import { logger } from '../shared/observed.ts';
import { type PaceDeps, paced } from '../shared/pace.ts';
import {
  claimAndStart,
  closeAsFailed,
  isActive,
  mayStart,
  type RolloutDeps,
  resumeUnstarted,
  runningExecutionArn,
} from '../shared/rollout.ts';
import { type ConnectTarget, inTarget } from '../shared/target-account.ts';
import { takeTurn } from '../shared/turns.ts';
import { type FleetHealth, healthOf } from './fleet-health.ts';

/** What the two schedules send. */
export const ReconcileEvent = z.object({ Task: z.enum(['nodes', 'certificates']) });

export interface ReconcileDeps extends RolloutDeps, PaceDeps {
  acm: ACMClient;
  connectTarget: ConnectTarget<'ssm'>;
  nodeRetentionDays: number;
  correlationId: string;
  /** Sends a notification unless one with this key was sent today. */
  notifyOnce: (key: string, notification: Notification) => Promise<void>;
}

/** What a pass did; a healthy fleet shows zeros but for Examined. */
export interface Pass {
  Examined: number;
  Started: number;
  Repaired: number;
  Dropped: number;
  Notified: number;
  Errors: number;
  /** As it was before the pass changed anything. */
  Health: FleetHealth;
}

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

/** DescribeCertificate gives 10 a second to the whole account: half of them are left to rollouts and callers. */
const CERTIFICATES_PER_SECOND = 5;
/** Certificates whose deployments are looked at side by side. */
const CERTIFICATES_AT_ONCE = 4;
/** DescribeInstanceInformation gives 3 a second to an account and Region. */
const NODE_PAGES_PER_SECOND = 2;
/**
 * Accounts side by side, as each has a quota of its own; within one the tags come one after the other. So 600 tags in
 * every account fit into the five minutes between two sweeps.
 */
const TARGETS_AT_ONCE = 32;

/** A start that was heard is not doubted before this, counted from its turn. */
const DOUBT_AFTER_MINUTES = 15;
/** A node that a repair did not reach, although it was there, is tried again after this. */
const NOT_REACHED_AGAIN_MINUTES = 60;

/** A failed rollout is repeated after 15 minutes, then 30, 60 … and every 24 hours in the end. */
function retryAt(deployment: Deployment): number {
  const failures = Math.max(1, deployment.Failures ?? 1);
  const minutes = Math.min(15 * 2 ** (failures - 1), 24 * 60);
  return Date.parse(deployment.LastRollout?.At ?? '1970-01-01') + minutes * MINUTE_MS;
}

/** Days to expiry at which people are told; 0: it has expired. */
export const EXPIRY_ALERT_DAYS = [30, 14, 7, 1, 0];

/** Makes the promise true where events were lost, claims died or nodes changed. */
export async function reconcile(task: 'nodes' | 'certificates', deps: ReconcileDeps): Promise<Pass> {
  // By id: while the statuses are read one after the other, a deployment may change from one to the next.
  const fleet = new Map<string, Deployment>();
  for (const Status of STATUSES) {
    for await (const deployment of deps.inventory.all({ Status })) {
      if (Status !== 'DELETING') {
        fleet.set(deployment.DeploymentId, deployment);
      }
    }
  }
  const deployments = [...fleet.values()];
  const pass: Pass = {
    Examined: deployments.length,
    Started: 0,
    Repaired: 0,
    Dropped: 0,
    Notified: 0,
    Errors: 0,
    Health: healthOf(deployments.filter(isActive), deps.now()),
  };
  await (task === 'nodes'
    ? reconcileNodes(
        deployments.filter((d) => mayStart(d) && d.Delivery !== 'secret'),
        pass,
        deps,
      )
    : reconcileCertificates(deployments, pass, deps));
  return pass;
}

/** One group that fails (an account that refuses us, say) does not hold up the others. */
async function guarded(pass: Pass, what: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    pass.Errors += 1;
    logger.error(`Reconcile failed for ${what}`, error as Error);
  }
}

// --- nodes -----------------------------------------------------------------------------------------------------

/** One sweep for each account, Region and tag, for all deployments there. */
async function reconcileNodes(fleet: Deployment[], pass: Pass, deps: ReconcileDeps): Promise<void> {
  const targets = Map.groupBy(fleet, (d) => `${d.TargetAccount}/${d.TargetRegion}`);
  await inParallel(targets, TARGETS_AT_ONCE, ([target, deployments]) =>
    guarded(pass, `the nodes in ${target}`, async () => {
      // One session, which lasts 15 minutes, as this function does.
      const { ssm } = await deps.connectTarget(deployments[0] as Deployment, [
        // DescribeInstanceInformation has no resource level.
        { Effect: 'Allow', Action: ['ssm:DescribeInstanceInformation'], Resource: '*' },
      ]);
      const pace = paced(NODE_PAGES_PER_SECOND, deps);
      // Keys and values may hold every character that could stand between them.
      const tags = Map.groupBy(deployments, (d) => JSON.stringify([d.TargetTagKey, d.TargetTagValue]));
      for (const [tag, sharing] of tags) {
        await guarded(pass, `the nodes tagged ${tag} in ${target}`, () =>
          sweep(sharing, ssm, pace, pass, deps),
        );
      }
    }),
  );
}

async function sweep(
  sharing: Deployment[],
  ssm: SSMClient,
  pace: () => Promise<void>,
  pass: Pass,
  deps: ReconcileDeps,
): Promise<void> {
  const [first] = sharing as [Deployment];
  const nodes = await inTarget(first, () => listNodes(ssm, first, pace));
  for (const deployment of sharing) {
    await guarded(pass, deployment.DeploymentId, () => reconcileNodesOf(deployment, nodes, pass, deps));
  }
}

async function reconcileNodesOf(
  deployment: Deployment,
  nodes: ManagedNode[],
  pass: Pass,
  deps: ReconcileDeps,
): Promise<void> {
  const known = await deps.inventory.allNodes(deployment.DeploymentId);
  const records = await followDepartures(deployment, nodes, known, pass, deps);
  if (deployment.Rollout) {
    return;
  }
  const byId = new Map(records.map((record) => [record.NodeId, record]));
  // WAITING: a newer version may be ready than the one that nodes which have left were recorded with.
  const isServed = (record: NodeRecord | undefined) =>
    record !== undefined &&
    deployment.Status !== 'WAITING' &&
    holdsVersion(record.Outcome) &&
    record.VersionId === deployment.VersionId;
  const reached = records.some((record) => record.RolloutNumber === deployment.LastRollout?.Number);
  const isDue = (node: ManagedNode) =>
    deps.now().getTime() >= dueAt(deployment, byId.get(node.NodeId), reached);
  const lacking = nodes.filter((node) => !obstacleOf(node) && !isServed(byId.get(node.NodeId)));
  if (lacking.some(isDue)) {
    // A node that has just appeared waits for nobody.
    const turn = deployment.Status === 'FAILED' ? await takeTurn(deployment, deps.inventory) : undefined;
    await start(deployment, deployment.LastRollout?.Serial ?? deployment.Serial, turn, pass, deps);
    return;
  }
  const strangers = nodes.filter((node) => obstacleOf(node) && !byId.has(node.NodeId));
  if (strangers.length > 0) {
    await nameStrangers(deployment, strangers, deps);
    pass.Repaired += 1;
  } else if (deployment.Status === 'DEGRADED' && lacking.length === 0 && records.every(isServed)) {
    // The nodes that made it so have gone for good.
    await deps.inventory.settle(deployment, records.length > 0 ? 'INSTALLED' : 'WAITING');
    pass.Repaired += 1;
  }
}

/**
 * When a node that lacks the version may be served. At once, unless an attempt has failed already: what is broken
 * is not hammered, and a new node beside a broken one does not wait.
 *
 * @param reached whether the last rollout came as far as the nodes.
 */
function dueAt(deployment: Deployment, record: NodeRecord | undefined, reached: boolean): number {
  const isNew = record?.Outcome === undefined || ['offline', 'unsupported'].includes(record.Outcome);
  if (deployment.Status === 'FAILED') {
    return isNew && reached ? 0 : retryAt(deployment);
  }
  if (record?.Outcome === 'not-reached' && deployment.LastRollout?.Cause === 'RECONCILE') {
    return Date.parse(record.At ?? '1970-01-01') + NOT_REACHED_AGAIN_MINUTES * MINUTE_MS;
  }
  return 0;
}

/** Notes nodes that are listed with the tag, cannot be served, and came after the last rollout. */
async function nameStrangers(
  deployment: Deployment,
  nodes: ManagedNode[],
  deps: ReconcileDeps,
): Promise<void> {
  const results = nodes.map((node) => ({ NodeId: node.NodeId, ...obstacleOf(node) }) as NodeResult);
  await deps.inventory.recordNodes(deployment.DeploymentId, deployment.RolloutNumber, results);
  if (deployment.Status !== 'FAILED') {
    await deps.inventory.settle(deployment, 'DEGRADED', summaryOf(results));
  }
}

/**
 * Notes which nodes Systems Manager does not list any more, and forgets those that it has not listed for
 * NodeRetentionDays. A healthy fleet costs no write here.
 *
 * @returns the records of the nodes that are remembered.
 */
async function followDepartures(
  deployment: Deployment,
  nodes: ManagedNode[],
  records: NodeRecord[],
  pass: Pass,
  deps: ReconcileDeps,
): Promise<NodeRecord[]> {
  const listed = new Set(nodes.map((node) => node.NodeId));
  const before = timestamp(new Date(deps.now().getTime() - deps.nodeRetentionDays * DAY_MS));
  const idsOf = (chosen: NodeRecord[]) => chosen.map((record) => record.NodeId);
  const absent = records.filter((record) => !listed.has(record.NodeId));
  const gone = absent.filter((record) => record.MissingSince !== undefined && record.MissingSince <= before);
  const id = deployment.DeploymentId;
  await deps.inventory.noteMissing(id, idsOf(absent.filter((record) => !record.MissingSince)), true);
  await deps.inventory.noteMissing(
    id,
    idsOf(records.filter((record) => record.MissingSince && listed.has(record.NodeId))),
    false,
  );
  await deps.inventory.dropNodes(id, idsOf(gone));
  pass.Dropped += gone.length;
  return records.filter((record) => !gone.includes(record));
}

/** @param serial undefined while none is known: then the other schedule, which asks ACM, starts it. */
async function start(
  deployment: Deployment,
  serial: string | undefined,
  turn: Date | undefined,
  pass: Pass,
  deps: ReconcileDeps,
): Promise<void> {
  if (serial === undefined) {
    return;
  }
  const rollout: RolloutOrder = {
    CertificateArn: deployment.CertificateArn,
    Serial: serial,
    Cause: 'RECONCILE',
    CorrelationId: deps.correlationId,
  };
  if (await claimAndStart(deployment, rollout, deps, turn)) {
    pass.Started += 1;
  }
}

// --- certificates ----------------------------------------------------------------------------------------------

/** One DescribeCertificate for each certificate, for all its deployments. */
async function reconcileCertificates(fleet: Deployment[], pass: Pass, deps: ReconcileDeps): Promise<void> {
  const pace = paced(CERTIFICATES_PER_SECOND, deps);
  const certificates = Map.groupBy(fleet, (d) => d.CertificateArn);
  await inParallel(certificates, CERTIFICATES_AT_ONCE, async ([arn, all]) => {
    // Claims are revived whatever ACM says, and those of dry runs too.
    for (const deployment of all.filter((d) => d.Rollout)) {
      await guarded(pass, deployment.DeploymentId, () => reviveClaim(deployment, pass, deps));
    }
    const deployments = all.filter(isActive);
    if (deployments.length === 0) {
      return;
    }
    await guarded(pass, arn, async () => {
      await pace();
      const certificate = await describe(arn, deps);
      for (const deployment of deployments.filter((d) => !d.Rollout)) {
        await guarded(pass, deployment.DeploymentId, () =>
          reconcileDeployment(deployment, certificate, pass, deps),
        );
      }
      await warnOfExpiry(arn, deployments, certificate, pass, deps);
    });
  });
}

/** The certificate, or why it can no longer be delivered. */
async function describe(arn: string, deps: ReconcileDeps): Promise<Certificate | string> {
  try {
    return (await describeDeployable(deps.acm, arn)) ?? 'ACM does not know the certificate any more.';
  } catch (error) {
    if (error instanceof NotDeployable) {
      return error.message;
    }
    throw error;
  }
}

async function reconcileDeployment(
  deployment: Deployment,
  certificate: Certificate | string,
  pass: Pass,
  deps: ReconcileDeps,
): Promise<void> {
  if (deployment.Pending) {
    if (await claimAndStart(deployment, deployment.Pending, deps)) {
      pass.Started += 1;
    }
    return;
  }
  if (typeof certificate === 'string') {
    return;
  }
  const { Status, LastRollout: last } = deployment;
  const tried = last?.Serial === certificate.Serial;
  if (Status === 'FAILED' && last && deps.now().getTime() < retryAt(deployment)) {
    return;
  }
  // Where no node could be reached with this serial, the other schedule looks for nodes that can.
  const waits = tried && (Status === 'WAITING' || Status === 'DEGRADED');
  const behind = deployment.Serial !== certificate.Serial && !waits;
  // ROLLING_OUT without a rollout: somebody wrote into the table by hand.
  if (behind || Status === 'FAILED' || Status === 'ROLLING_OUT') {
    await start(deployment, certificate.Serial, await takeTurn(deployment, deps.inventory), pass, deps);
  }
}

/** Starts what was claimed and not started; closes what claims to run and does not. */
async function reviveClaim(deployment: Deployment, pass: Pass, deps: ReconcileDeps): Promise<void> {
  const { StartedAt: startedAt, StartDelaySeconds: delay = 0 } = deployment.Rollout ?? {};
  if (!startedAt) {
    await resumeUnstarted(deployment, deps);
    pass.Repaired += 1;
    return;
  }
  if (Date.parse(startedAt) + delay * 1000 + DOUBT_AFTER_MINUTES * MINUTE_MS > deps.now().getTime()) {
    return;
  }
  const ExecutionArn = runningExecutionArn(deps.stateMachineArn, deployment);
  const status = await executionStatus(ExecutionArn, deps);
  if (status === 'RUNNING' || status === 'PENDING_REDRIVE') {
    return;
  }
  const LastError = `The execution ended as ${status} and nothing recorded it.`;
  const isDryRun = deployment.Rollout?.Cause === 'DRY_RUN';
  if (await closeAsFailed(deployment, deployment.RolloutNumber, { ExecutionArn, LastError }, deps)) {
    pass.Repaired += 1;
    if (!isDryRun) {
      await deps.notifyOnce(`rollout#${ExecutionArn}`, {
        Subject: `Rollout of ${deployment.CertName} lost: ${deployment.TargetTagKey}=${deployment.TargetTagValue}`,
        What: `The rollout of certificate ${deployment.CertName} (${deployment.CertificateArn}) ended as ${status} and nothing recorded it. The nodes that were not changed go on serving what they served.`,
        Where: placeOf(deployment),
        Since: startedAt,
        WhatToDo:
          'The next attempt follows by itself. If it fails too, open the execution and read the failed step.',
        Link: executionLink(ExecutionArn),
      });
      pass.Notified += 1;
    }
  }
}

async function executionStatus(executionArn: string, deps: ReconcileDeps): Promise<string> {
  try {
    return (await deps.sfn.send(new DescribeExecutionCommand({ executionArn }))).status ?? 'unknown';
  } catch (error) {
    if (isNamed(error, 'ExecutionDoesNotExist')) {
      return 'lost';
    }
    throw error;
  }
}

// --- expiry ----------------------------------------------------------------------------------------------------

/**
 * Tells people, for all deployments of a certificate at once, what stands between them and a longer life: that
 * the expiry comes near, once at each of EXPIRY_ALERT_DAYS, and that ACM will not renew it, once a day.
 */
async function warnOfExpiry(
  arn: string,
  deployments: Deployment[],
  certificate: Certificate | string,
  pass: Pass,
  deps: ReconcileDeps,
): Promise<void> {
  const problem = renewalProblem(certificate, deployments, deps.now());
  const due = deployments.flatMap((deployment) => {
    const days = alertDaysOf(deployment, deps.now());
    return days === undefined ? [] : [{ deployment, days, renewed: isRenewed(deployment, certificate) }];
  });
  const groups = Map.groupBy(
    due,
    ({ days, renewed }) => `${days}#${renewed ? 'not-installed' : 'not-renewed'}`,
  );
  for (const [group, members] of groups) {
    const [{ deployment: first, days, renewed }] = members as [(typeof due)[number]];
    await deps.notifyOnce(
      `expiry#${first.DeploymentId}#${group}`,
      expiryAlert(
        arn,
        renewed,
        members.map((member) => member.deployment),
        problem,
        deps.now(),
      ),
    );
    pass.Notified += 1;
    for (const { deployment } of members) {
      await deps.inventory.noteExpiryAlert(deployment, days);
    }
  }
  const told = due.some(({ renewed }) => !renewed);
  if (problem && !told) {
    await deps.notifyOnce(`renewal#${arn}`, {
      Subject: `Certificate ${(deployments[0] as Deployment).CertName} will not be renewed`,
      What: `${problem} It expires at ${earliest(deployments).NotAfter}. Certificate: ${arn}`,
      Where: placesOf(deployments),
      Since: timestamp(deps.now()),
      WhatToDo: REQUEST_OR_VALIDATE,
    });
    pass.Notified += 1;
  }
}

const REQUEST_OR_VALIDATE =
  'Open the certificate in ACM: complete its validation, or request a new one and POST the deployments with its ARN.';

const earliest = (deployments: Deployment[]) =>
  deployments.toSorted((a, b) => (a.NotAfter < b.NotAfter ? -1 : 1))[0] as Deployment;

/** The alert that is due for what the deployment's nodes serve; undefined when it was given already. */
function alertDaysOf(deployment: Deployment, now: Date): number | undefined {
  const { NotAfter, ExpiryAlert: given } = deployment;
  const remaining = (Date.parse(NotAfter) - now.getTime()) / DAY_MS;
  const days = EXPIRY_ALERT_DAYS.filter((threshold) => remaining <= threshold).at(-1);
  const isGiven =
    given !== undefined && given.NotAfter === NotAfter && days !== undefined && given.Days <= days;
  return isGiven ? undefined : days;
}

/** Whether ACM has a newer version than the one that is served, or is ready for the nodes that will come. */
function isRenewed(deployment: Deployment, certificate: Certificate | string): boolean {
  const newest = deployment.Status === 'WAITING' ? deployment.LastRollout?.Serial : deployment.Serial;
  return typeof certificate !== 'string' && certificate.Serial !== newest;
}

function expiryAlert(
  arn: string,
  renewed: boolean,
  deployments: Deployment[],
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
    Subject: `${first.CertName} ${when}: ${first.TargetTagKey}=${first.TargetTagValue}${deployments.length > 1 ? ` and ${deployments.length - 1} more` : ''}`,
    What: `What these nodes serve ${when}, at ${first.NotAfter}. ${reason} ${first.LastError ?? ''} Certificate: ${arn}`,
    Where: placesOf(deployments),
    Since: first.LastRollout?.At ?? first.UpdatedAt,
    WhatToDo: renewed
      ? 'Read the last error above and the node errors (GET the deployment), correct the cause, then POST …/rollouts.'
      : REQUEST_OR_VALIDATE,
    ...(renewed && first.LastRollout ? { Link: executionLink(first.LastRollout.ExecutionArn) } : {}),
  };
}

/** Why ACM will not renew the certificate by itself; undefined when it will. */
function renewalProblem(
  certificate: Certificate | string,
  deployments: Deployment[],
  now: Date,
): string | undefined {
  if (typeof certificate === 'string') {
    return certificate;
  }
  const { RenewalEligibility, RenewalSummary } = certificate.detail;
  if (RenewalSummary?.RenewalStatus === 'FAILED') {
    return `ACM failed to renew it: ${RenewalSummary.RenewalStatusReason ?? 'no reason given'}.`;
  }
  if (RenewalSummary?.RenewalStatus === 'PENDING_VALIDATION') {
    return 'ACM waits for its validation before it can renew it.';
  }
  // A certificate becomes eligible by its first export, so one that is new here is not judged yet.
  const yesterday = timestamp(new Date(now.getTime() - DAY_MS));
  const isExported = deployments.some(({ LastRollout: last }) => last !== undefined && last.At <= yesterday);
  return RenewalEligibility === 'INELIGIBLE' && isExported ? 'ACM does not plan to renew it.' : undefined;
}
