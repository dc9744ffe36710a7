import type { ACMClient } from '@aws-sdk/client-acm';
import { DescribeExecutionCommand } from '@aws-sdk/client-sfn';
import type { SNSClient } from '@aws-sdk/client-sns';
import * as z from 'zod';
import { type Certificate, describeDeployable, NotDeployable } from '../shared/certificate.ts';
import { type Deployment, type NodeRecord, type RolloutOrder, STATUSES } from '../shared/deployment.ts';
import { isNamed } from '../shared/errors.ts';
import { inParallel } from '../shared/inventory.ts';
import { listNodes, type ManagedNode, obstacleOf } from '../shared/nodes.ts';
import type { Notification } from '../shared/notification.ts';
import { logger } from '../shared/observed.ts';
import {
  claimAndStart,
  finishRollout,
  type RolloutDeps,
  resumeUnstarted,
  runningExecutionArn,
} from '../shared/rollout.ts';
import { type ConnectTarget, inTarget } from '../shared/target-account.ts';

/** What the two schedules send. */
export const ReconcileEvent = z.object({ Task: z.enum(['nodes', 'certificates']) });

export interface ReconcileDeps extends RolloutDeps {
  acm: ACMClient;
  sns: SNSClient;
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
}

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

/** DescribeCertificate gives 10 a second: four at a time stay below at 400 ms and more a call. */
const CERTIFICATES_AT_ONCE = 4;
/** SSM gives 3 a second and account: one sweep at a time in an account, a few accounts side by side. */
const TARGETS_AT_ONCE = 4;

/** A start that was heard is not doubted before this. */
const DOUBT_AFTER_MINUTES = 15;

/** A failed rollout is repeated after 15 minutes, then 30, 60 … and every 24 hours in the end. */
function retryAt(deployment: Deployment): number {
  const failures = Math.max(1, deployment.Failures ?? 1);
  const minutes = Math.min(15 * 2 ** (failures - 1), 24 * 60);
  return Date.parse(deployment.LastRollout?.At ?? '1970-01-01') + minutes * MINUTE_MS;
}

export const EXPIRY_ALERT_DAYS = [30, 14, 7, 1];

/** Makes the promise true where events were lost, claims died or nodes changed. */
export async function reconcile(task: 'nodes' | 'certificates', deps: ReconcileDeps): Promise<Pass> {
  const pass: Pass = { Examined: 0, Started: 0, Repaired: 0, Dropped: 0, Notified: 0, Errors: 0 };
  const fleet: Deployment[] = [];
  for (const Status of STATUSES) {
    for await (const deployment of deps.inventory.all({ Status })) {
      if (!deployment.DryRunOnly && Status !== 'DELETING') {
        fleet.push(deployment);
      }
    }
  }
  pass.Examined = fleet.length;
  await (task === 'nodes' ? reconcileNodes(fleet, pass, deps) : reconcileCertificates(fleet, pass, deps));
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

function groupBy<T>(items: T[], keyOf: (item: T) => string): Map<string, T[]> {
  return Map.groupBy(items, keyOf);
}

// --- nodes -----------------------------------------------------------------------------------------------------

/** One sweep for each account, Region and tag, for all deployments there. */
async function reconcileNodes(fleet: Deployment[], pass: Pass, deps: ReconcileDeps): Promise<void> {
  const targets = groupBy(fleet, (d) => [d.TargetAccount, d.TargetRegion].join('/'));
  await inParallel(targets, TARGETS_AT_ONCE, async ([target, deployments]) => {
    const tags = groupBy(deployments, (d) => `${d.TargetTagKey}=${d.TargetTagValue}`);
    for (const [tag, sharing] of tags) {
      await guarded(pass, `the nodes tagged ${tag} in ${target}`, () => sweep(sharing, pass, deps));
    }
  });
}

async function sweep(sharing: Deployment[], pass: Pass, deps: ReconcileDeps): Promise<void> {
  const [first] = sharing as [Deployment];
  const { ssm } = await deps.connectTarget(first, [
    // DescribeInstanceInformation has no resource level.
    { Effect: 'Allow', Action: ['ssm:DescribeInstanceInformation'], Resource: '*' },
  ]);
  const nodes = await inTarget(first, () => listNodes(ssm, first));
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
  const records = await deps.inventory.allNodes(deployment.DeploymentId);
  await dropGone(deployment, nodes, records, pass, deps);
  if (deployment.Rollout || deps.now().getTime() < dueAt(deployment)) {
    return;
  }
  const holds = new Set(
    records
      .filter((record) => record.VersionId === deployment.VersionId && !isOpen(record))
      .map((record) => record.NodeId),
  );
  const lacking = nodes.filter((node) => !obstacleOf(node) && !holds.has(node.NodeId));
  if (lacking.length > 0) {
    await start(deployment, deployment.LastRollout?.Serial ?? '', pass, deps);
  }
}

const isOpen = (record: NodeRecord) => record.Outcome !== 'installed' && record.Outcome !== 'unchanged';

const dueAt = (deployment: Deployment) => (deployment.Status === 'FAILED' ? retryAt(deployment) : 0);

/** Forgets nodes that Systems Manager has not listed for NodeRetentionDays. */
async function dropGone(
  deployment: Deployment,
  nodes: ManagedNode[],
  records: NodeRecord[],
  pass: Pass,
  deps: ReconcileDeps,
): Promise<void> {
  const present = new Set(nodes.map((node) => node.NodeId));
  const before = new Date(deps.now().getTime() - deps.nodeRetentionDays * DAY_MS).toISOString();
  const gone = records.filter((record) => !present.has(record.NodeId) && record.At < before);
  if (gone.length > 0) {
    await deps.inventory.dropNodes(
      deployment.DeploymentId,
      gone.map((record) => record.NodeId),
    );
    pass.Dropped += gone.length;
  }
}

async function start(deployment: Deployment, serial: string, pass: Pass, deps: ReconcileDeps): Promise<void> {
  const rollout: RolloutOrder = {
    CertificateArn: deployment.CertificateArn,
    Serial: serial,
    Cause: 'RECONCILE',
    CorrelationId: deps.correlationId,
  };
  if (await claimAndStart(deployment, rollout, deps)) {
    pass.Started += 1;
  }
}

// --- certificates ----------------------------------------------------------------------------------------------

/** One DescribeCertificate for each certificate, for all its deployments. */
async function reconcileCertificates(fleet: Deployment[], pass: Pass, deps: ReconcileDeps): Promise<void> {
  await inParallel(
    groupBy(fleet, (d) => d.CertificateArn),
    CERTIFICATES_AT_ONCE,
    ([arn, deployments]) =>
      guarded(pass, arn, async () => {
        const certificate = await describe(arn, deps);
        for (const deployment of deployments) {
          await guarded(pass, deployment.DeploymentId, () =>
            reconcileDeployment(deployment, certificate, pass, deps),
          );
        }
      }),
  );
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
  await warnOfExpiry(deployment, certificate, pass, deps);
  if (deployment.Rollout) {
    await reviveClaim(deployment, pass, deps);
    return;
  }
  if (deployment.Pending) {
    if (await claimAndStart(deployment, deployment.Pending, deps)) {
      pass.Started += 1;
    }
    return;
  }
  if (typeof certificate === 'string') {
    return;
  }
  const tried = deployment.LastRollout?.Serial === certificate.Serial;
  const behind = deployment.Serial !== certificate.Serial;
  const failed = deployment.Status === 'FAILED' && tried;
  // WAITING has no serial yet: its nodes are looked for by the other schedule.
  const waits = deployment.Status === 'WAITING' && tried;
  if ((behind && !waits && !failed) || (failed && deps.now().getTime() >= retryAt(deployment))) {
    await start(deployment, certificate.Serial, pass, deps);
  }
}

/** Starts what was claimed and not started; closes what claims to run and does not. */
async function reviveClaim(deployment: Deployment, pass: Pass, deps: ReconcileDeps): Promise<void> {
  const startedAt = deployment.Rollout?.StartedAt;
  if (!startedAt) {
    await resumeUnstarted(deployment, deps);
    pass.Repaired += 1;
    return;
  }
  if (Date.parse(startedAt) + DOUBT_AFTER_MINUTES * MINUTE_MS > deps.now().getTime()) {
    return;
  }
  const executionArn = runningExecutionArn(deps.stateMachineArn, deployment);
  const status = await executionStatus(executionArn, deps);
  if (status === 'RUNNING' || status === 'PENDING_REDRIVE') {
    return;
  }
  await finishRollout(
    deployment,
    deployment.RolloutNumber,
    {
      Status: 'FAILED',
      ExecutionArn: executionArn,
      LastError: `The execution ended as ${status} and nothing recorded it.`,
    },
    deps,
  ).catch((error: unknown) => {
    if (!isNamed(error, 'RolloutSuperseded')) {
      throw error;
    }
  });
  pass.Repaired += 1;
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

async function warnOfExpiry(
  deployment: Deployment,
  certificate: Certificate | string,
  pass: Pass,
  deps: ReconcileDeps,
): Promise<void> {
  const remaining = (Date.parse(deployment.NotAfter) - deps.now().getTime()) / DAY_MS;
  const renewed = typeof certificate !== 'string' && certificate.Serial !== deployment.Serial;
  const reason = renewed ? 'the renewed certificate is not installed yet' : renewalProblem(certificate);
  const threshold = EXPIRY_ALERT_DAYS.filter((days) => remaining <= days).at(-1);
  if (threshold === undefined && (renewed || reason === undefined)) {
    return;
  }
  const days = Math.max(0, Math.floor(remaining));
  await deps.notifyOnce(`expiry#${deployment.DeploymentId}#${threshold ?? 'renewal'}`, {
    Subject: `${deployment.CertName} expires in ${days} days: ${deployment.TargetTagKey}=${deployment.TargetTagValue}`,
    What: `The certificate that these nodes serve expires at ${deployment.NotAfter}, in ${days} days, and ${reason ?? 'ACM has not renewed it yet'}. Certificate: ${deployment.CertificateArn}. ${deployment.LastError ?? ''}`,
    Where: `account ${deployment.TargetAccount}, Region ${deployment.TargetRegion}, nodes tagged ${deployment.TargetTagKey}=${deployment.TargetTagValue}, deployment ${deployment.DeploymentId}`,
    Since: deployment.UpdatedAt,
    WhatToDo: renewed
      ? 'Read the last error above and the node errors (GET the deployment), correct the cause, then POST …/rollouts.'
      : 'Open the certificate in ACM: complete its validation, or request a new one and POST the deployment with its ARN.',
  });
  pass.Notified += 1;
}

/** Why ACM will not renew the certificate by itself; undefined when it will. */
function renewalProblem(certificate: Certificate | string): string | undefined {
  if (typeof certificate === 'string') {
    return certificate;
  }
  const { RenewalEligibility, RenewalSummary } = certificate.detail;
  if (RenewalSummary?.RenewalStatus === 'FAILED') {
    return `ACM failed to renew it: ${RenewalSummary.RenewalStatusReason ?? 'no reason given'}`;
  }
  if (RenewalSummary?.RenewalStatus === 'PENDING_VALIDATION') {
    return 'ACM waits for its validation before it can renew it';
  }
  return RenewalEligibility === 'INELIGIBLE' ? 'ACM does not plan to renew it' : undefined;
}
