import type { ACMClient } from '@aws-sdk/client-acm';
import { DescribeExecutionCommand } from '@aws-sdk/client-sfn';
import * as z from 'zod';
import { describeDeployable } from '../certificates/describe-certificate.ts';
import type { Certificate } from '../domain/certificate.ts';
import {
  type Deployment,
  executionArnOf,
  isServed,
  type NodeRecord,
  type NodeResult,
  type Running,
  STATUSES,
  timestamp,
} from '../domain/deployment.ts';
import { CertificateNotDeployable, isNamed } from '../domain/errors.ts';
import {
  alertDaysOf,
  earliestOf,
  expiryAlert,
  isRenewed,
  renewalAlert,
  renewalProblem,
} from '../domain/expiry.ts';
import { lostText } from '../domain/failure.ts';
import { type Nodes, next, type Reason, wantedAfterRenewal } from '../domain/next.ts';
import { type ManagedNode, obstacleOf, summaryOf } from '../domain/nodes.ts';
import { placeOf, SUBJECTS } from '../domain/notification.ts';
import { type AdvanceDeps, advance, decide } from '../rollouts/advance.ts';
import { type RemovalDeps, removeDeployment } from '../rollouts/removal.ts';
import { tellFailure } from '../rollouts/tell-failure.ts';
import { allOf, inParallel } from '../runtime/in-parallel.ts';
import { LOGGED, logger } from '../runtime/observability.ts';
import { type RateLimitDeps, rateLimit } from '../runtime/rate-limit.ts';
import { lookStatements } from '../target-account/look.ts';
import { listNodes } from '../target-account/nodes.ts';
import { type ConnectTarget, inTarget } from '../target-account/session.ts';
import { type FleetHealth, healthOf } from './fleet-health.ts';
import {
  driftOf,
  type Found,
  type LookDeps,
  LookRound,
  tellOfFindings,
  tellOfRefusals,
} from './look-round.ts';

/** What the two schedules send. */
export const ReconcileEvent = z.object({ Task: z.enum(['nodes', 'certificates']) });

export interface ReconcileDeps extends AdvanceDeps, RemovalDeps, RateLimitDeps, LookDeps {
  acm: ACMClient;
  connectTarget: ConnectTarget<'ssm' | 'secretsManager'>;
  nodeRetentionDays: number;
  correlationId: string;
}

/** What a pass did; a healthy fleet shows zeros but for Examined. */
export interface Pass {
  Examined: number;
  Started: number;
  Repaired: number;
  Dropped: number;
  Notified: number;
  Errors: number;
  /** Nodes on which a look found something else than what was installed, and nodes that it did not reach. */
  Drifted: number;
  Unseen: number;
  /** As it was before the pass changed anything; absent where a part of the fleet could not be read. */
  Health?: FleetHealth;
}

const MINUTE_MS = 60_000;
/** Within this rollout-ended has told people of a failure: Lambda tries it three times, 3 minutes apart in all. */
const HEARD_AFTER_MS = 10 * MINUTE_MS;
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

/** Most need no call; those that begin a rollout make six. */
const TENDED_AT_ONCE = 16;
/** A DELETE that was cut off is finished after this: longer than a function of the API runs. */
const CUT_OFF_MINUTES = 15;

/** Makes the promise true where events were lost, rollouts died or nodes changed. */
export async function reconcile(task: 'nodes' | 'certificates', deps: ReconcileDeps): Promise<Pass> {
  const pass: Pass = {
    Examined: 0,
    Started: 0,
    Repaired: 0,
    Dropped: 0,
    Notified: 0,
    Errors: 0,
    Drifted: 0,
    Unseen: 0,
  };
  // By id: while the statuses are read one after the other, a deployment may change from one to the next.
  const found = new Map<string, Deployment>();
  for (const Status of STATUSES) {
    await guarded(pass, `status ${Status}`, async () => {
      for await (const deployment of deps.inventory.fleet.all({ Status })) {
        found.set(deployment.DeploymentId, deployment);
      }
    });
  }
  const fleet = [...found.values()].filter(({ Status }) => Status !== 'DELETING');
  // What is only tried out is not registered.
  const registered = fleet.filter(({ Wanted }) => Wanted);
  pass.Examined = fleet.length;
  if (pass.Errors === 0) {
    pass.Health = healthOf(registered, deps.now());
  }
  await inParallel(fleet, TENDED_AT_ONCE, (deployment) =>
    guarded(pass, deployment.DeploymentId, () => tend(deployment, pass, deps)),
  );
  if (task === 'nodes') {
    const onNodes = registered.filter((d) => d.Delivery !== 'secret');
    await reconcileNodes(onNodes, pass, deps);
    return pass;
  }
  await reconcileCertificates(registered, pass, deps);
  for (const deployment of found.values()) {
    if (deployment.Status === 'DELETING') {
      await guarded(pass, deployment.DeploymentId, () => finishDeletion(deployment, pass, deps));
    }
  }
  return pass;
}

/**
 * One part that fails (an account that refuses us, a query that is throttled) does not hold up the others.
 *
 * @returns whether it did not fail.
 */
async function guarded(pass: Pass, what: string, work: () => Promise<void>): Promise<boolean> {
  try {
    await work();
  } catch (error) {
    // Another function was faster.
    if (!isNamed(error, 'RolloutSuperseded')) {
      pass.Errors += 1;
      logger.error(`${LOGGED.reconcileFailed} ${what}`, error as Error);
      return false;
    }
  }
  return true;
}

// --- rollouts --------------------------------------------------------------------------------------------------

/** Reasons of rollouts that no person waits for: they take slots. */
const IN_SLOTS: ReadonlySet<Reason> = new Set<Reason>(['renewed', 'failed', 'untouched', 'drifted']);

/** Starts what has begun and was not started, closes what says that it runs and does not, begins what is due. */
async function tend(deployment: Deployment, pass: Pass, deps: ReconcileDeps, nodes?: Nodes): Promise<void> {
  const { Observed: last } = deployment;
  const isHeard = last && Date.parse(last.At) + HEARD_AFTER_MS <= deps.now().getTime();
  await allOf(
    actOn(deployment, pass, deps, nodes),
    isHeard ? tellOfFailure(deployment, pass, deps) : undefined,
  );
}

async function actOn(deployment: Deployment, pass: Pass, deps: ReconcileDeps, nodes?: Nodes): Promise<void> {
  const { action, reason, at } = decide(deployment, nodes, deps);
  if (reason === 'running' && at && at <= deps.now()) {
    await closeLost(deployment.DeploymentId, deployment.Running as Running, pass, deps);
  } else if (action !== 'nothing') {
    const slots = IN_SLOTS.has(reason) ? await deps.inventory.slots.take([deployment]) : undefined;
    const how = { correlationId: deps.correlationId, nodes, slot: slots?.get(deployment) };
    const { began } = await advance(deployment.DeploymentId, deps, how);
    pass.Started += began ? 1 : 0;
    pass.Repaired += action === 'start' ? 1 : 0;
  }
}

/** Ends a rollout whose execution has ended and recorded nothing. */
async function closeLost(
  deploymentId: string,
  running: Running,
  pass: Pass,
  deps: ReconcileDeps,
): Promise<void> {
  const ExecutionArn = executionArnOf(deps.stateMachineArn, deploymentId, running);
  const status = await executionStatus(ExecutionArn, deps);
  const execution = status === 'RUNNING' || status === 'PENDING_REDRIVE' ? 'running' : 'ended';
  const deployment = await deps.inventory.get(deploymentId);
  const isStill = deployment?.Running?.RolloutNumber === running.RolloutNumber;
  if (!isStill || next(deployment, undefined, execution, deps.now()).action !== 'close') {
    return;
  }
  const { deployment: current } = await deps.inventory.end(deployment, running.RolloutNumber, {
    Outcome: 'FAILED',
    ExecutionArn,
    Error: lostText(status),
  });
  pass.Repaired += 1;
  await allOf(actOn(current, pass, deps), tellOfFailure(current, pass, deps));
}

/** People hear of a failure from rollout-ended, unless its event was lost or it could not tell them. */
async function tellOfFailure(deployment: Deployment, pass: Pass, deps: ReconcileDeps): Promise<void> {
  const { Observed: last } = deployment;
  // Of what an older edition wrote, people were told.
  if (last?.Outcome !== 'FAILED' || last.NodeFailures === undefined) {
    return;
  }
  const { ExecutionArn: executionArn, RolloutNumber: rolloutNumber, Error: text = '', At: at } = last;
  const told = await tellFailure(deployment, { executionArn, rolloutNumber, text, at }, deps);
  pass.Notified += told ? 1 : 0;
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

/** Finishes a DELETE that was cut off. It says so, as the caller was told of a failure, or of nothing. */
async function finishDeletion(deployment: Deployment, pass: Pass, deps: ReconcileDeps): Promise<void> {
  const since = deployment.DeletingSince ?? deployment.UpdatedAt;
  if (deps.now().getTime() < Date.parse(since) + CUT_OFF_MINUTES * MINUTE_MS) {
    return;
  }
  const tell = (what: string, WhatToDo: string) =>
    deps.notify(`deletion#${deployment.DeploymentId}`, {
      Subject: SUBJECTS.deletion(deployment),
      What: `The DELETE of the deployment was cut off. ${what}`,
      Where: placeOf(deployment),
      Since: since,
      WhatToDo,
    });
  try {
    await removeDeployment(deployment, deps);
  } catch (error) {
    await tell(
      `It cannot be finished: ${(error as Error).message}`,
      'Correct the role, policy or stack that the message names; the next attempt follows within the hour. For an account that is closed, DELETE with Force=true.',
    );
    throw error;
  }
  await tell('It is finished now: the bundle is scheduled for deletion.', 'Nothing.');
  pass.Repaired += 1;
  pass.Notified += 1;
}

// --- nodes -----------------------------------------------------------------------------------------------------

/** What a sweep over nodes gathers for people. */
interface Gathered {
  found: Found[];
  /** Places that refused the look, and what AWS said. */
  refused: [string, string][];
}

/** One sweep for each account, Region and tag, for all deployments there; looks at the nodes where that is due. */
async function reconcileNodes(fleet: Deployment[], pass: Pass, deps: ReconcileDeps): Promise<void> {
  const gathered: Gathered = { found: [], refused: [] };
  const registered = new Set(fleet.flatMap(({ Serial, Observed }) => [Serial ?? '', Observed?.Serial ?? '']));
  const targets = Map.groupBy(fleet, (d) => `${d.TargetAccount}/${d.TargetRegion}`);
  await inParallel(targets, TARGETS_AT_ONCE, ([name, deployments]) =>
    guarded(pass, `the nodes in ${name}`, async () => {
      // One session, which lasts 15 minutes, as this function does.
      const { ssm } = await deps.connectTarget(deployments[0] as Deployment, [
        // DescribeInstanceInformation has no resource level.
        { Effect: 'Allow', Action: ['ssm:DescribeInstanceInformation'], Resource: '*' },
        ...lookStatements(deps, deployments[0] as Deployment),
      ]);
      const limit = rateLimit(NODE_PAGES_PER_SECOND, deps);
      const round = new LookRound({ name, deployments, ssm, limit }, deps);
      await guarded(pass, `the look at ${name}`, () => round.collect());
      // Keys and values may hold every character that could stand between them.
      const tags = Map.groupBy(deployments, (d) => JSON.stringify([d.TargetTagKey, d.TargetTagValue]));
      let isWhole = true;
      for (const [tag, sharing] of tags) {
        const swept = await guarded(pass, `the nodes tagged ${tag} in ${name}`, async () => {
          const nodes = await inTarget(sharing[0] as Deployment, () =>
            listNodes(ssm, sharing[0] as Deployment, limit),
          );
          for (const deployment of sharing) {
            const done = await guarded(pass, deployment.DeploymentId, () =>
              reconcileNodesOf(deployment, nodes, round, gathered, pass, deps),
            );
            isWhole &&= done;
          }
        });
        isWhole &&= swept;
      }
      await guarded(pass, `the look at ${name}`, async () => {
        // Else the next sweep notes it once more.
        if (isWhole) {
          await round.close(registered);
        }
        const refused = await round.send();
        if (refused) {
          gathered.refused.push([name, refused]);
        }
      });
    }),
  );
  await guarded(pass, 'what people are told of looks', async () => {
    pass.Notified += await tellOfFindings(gathered.found, deps);
    pass.Notified += await tellOfRefusals(gathered.refused, deps);
  });
}

async function reconcileNodesOf(
  deployment: Deployment,
  listed: ManagedNode[],
  round: LookRound,
  { found }: Gathered,
  pass: Pass,
  deps: ReconcileDeps,
): Promise<void> {
  const known = await deps.inventory.nodes.all(deployment.DeploymentId);
  const remembered = await followDepartures(deployment, listed, known, pass, deps);
  if (deployment.Running) {
    return;
  }
  const records = await round.apply(deployment, remembered, listed);
  await noteEarliest(deployment, records, listed, deps);
  const drifted = driftOf(records, listed);
  pass.Drifted += drifted.length;
  pass.Unseen += records.filter(({ Finding }) => Finding?.Kind === 'unseen').length;
  if (drifted.length > 0 && deployment.Status === 'INSTALLED') {
    await deps.inventory.settle(deployment, 'DEGRADED', summaryOf(drifted.map(resultOfFinding)));
  }
  const nodes = { asOf: deployment.RolloutNumber, listed, records };
  if (decide(deployment, nodes, deps).action === 'begin') {
    await tend(deployment, pass, deps, nodes);
    return;
  }
  // What an installation mends is told only where none begins, or where one was in vain.
  found.push(...drifted.map((record) => ({ deployment, record })));
  if (deployment.PausedAt) {
    return;
  }
  const byId = new Map(records.map((record) => [record.NodeId, record]));
  const strangers = listed.filter((node) => obstacleOf(node) && !byId.has(node.NodeId));
  const isWhole =
    drifted.length === 0 &&
    listed.every(({ NodeId }) => byId.has(NodeId)) &&
    records.every((record) => isServed(record, deployment.Observed));
  if (strangers.length > 0) {
    await nameStrangers(deployment, strangers, deps);
    pass.Repaired += 1;
  } else if (deployment.Status === 'DEGRADED' && isWhole) {
    // The nodes that made it so have gone for good, or serve again what they should.
    await deps.inventory.settle(deployment, records.length > 0 ? 'INSTALLED' : 'WAITING');
    pass.Repaired += 1;
  }
}

const resultOfFinding = ({ NodeId, Finding }: NodeRecord) => ({ NodeId, Error: Finding?.Text ?? '' });

/** Keeps what the deployment says of the earliest end, as nodes come, go, and are seen. */
async function noteEarliest(
  deployment: Deployment,
  records: readonly NodeRecord[],
  listed: readonly ManagedNode[],
  { inventory }: ReconcileDeps,
): Promise<void> {
  const isListed = new Set(listed.map(({ NodeId }) => NodeId));
  const earliest = earliestOf(
    deployment,
    records.filter(({ NodeId }) => isListed.has(NodeId)),
  );
  const { NotAfter, EarliestNodeId } = deployment;
  if (earliest && (earliest.NotAfter !== NotAfter || earliest.EarliestNodeId !== EarliestNodeId)) {
    await inventory.noteEarliest(deployment, earliest);
  }
}

/** Notes nodes that are listed with the tag, cannot be served, and came after the last rollout. */
async function nameStrangers(
  deployment: Deployment,
  nodes: ManagedNode[],
  deps: ReconcileDeps,
): Promise<void> {
  const results = nodes.map((node) => ({ NodeId: node.NodeId, ...obstacleOf(node) }) as NodeResult);
  await deps.inventory.nodes.record(deployment.DeploymentId, deployment.RolloutNumber, results);
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
  await deps.inventory.nodes.noteMissing(id, idsOf(absent.filter((record) => !record.MissingSince)), true);
  await deps.inventory.nodes.noteMissing(
    id,
    idsOf(records.filter((record) => record.MissingSince && listed.has(record.NodeId))),
    false,
  );
  await deps.inventory.nodes.drop(id, idsOf(gone));
  pass.Dropped += gone.length;
  return records.filter((record) => !gone.includes(record));
}

// --- certificates ----------------------------------------------------------------------------------------------

/** One DescribeCertificate for each certificate, for all its deployments. */
async function reconcileCertificates(fleet: Deployment[], pass: Pass, deps: ReconcileDeps): Promise<void> {
  const limit = rateLimit(CERTIFICATES_PER_SECOND, deps);
  const certificates = Map.groupBy(fleet, (d) => d.CertificateArn);
  await inParallel(certificates, CERTIFICATES_AT_ONCE, ([arn, deployments]) =>
    guarded(pass, arn, async () => {
      await limit();
      const certificate = await describe(arn, deps);
      for (const deployment of deployments) {
        await guarded(pass, deployment.DeploymentId, () => follow(deployment, certificate, pass, deps));
      }
      await warnOfExpiry(arn, deployments, certificate, pass, deps);
    }),
  );
}

/** Makes up for an event of a renewal that was lost. */
async function follow(
  deployment: Deployment,
  certificate: Certificate | string,
  pass: Pass,
  deps: ReconcileDeps,
): Promise<void> {
  const { correlationId: CorrelationId } = deps;
  const wanted =
    typeof certificate === 'string'
      ? undefined
      : wantedAfterRenewal(deployment, { ...certificate, Cause: 'RECONCILE', CorrelationId }, deps.now());
  const changed = wanted && (await deps.inventory.want(deployment.DeploymentId, deployment, wanted));
  if (changed) {
    await tend(changed, pass, deps);
  }
}

/** The certificate, or why it can no longer be delivered. */
async function describe(arn: string, deps: ReconcileDeps): Promise<Certificate | string> {
  try {
    return (await describeDeployable(deps.acm, arn)) ?? 'ACM does not know the certificate any more.';
  } catch (error) {
    if (error instanceof CertificateNotDeployable) {
      return error.message;
    }
    throw error;
  }
}

// --- expiry ----------------------------------------------------------------------------------------------------

/**
 * Tells people, for all deployments of a certificate in one message, that the expiry comes near, once at each of
 * EXPIRY_ALERT_DAYS, and that ACM will not renew the certificate, once a day.
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
    await deps.notify(
      `expiry#${first.DeploymentId}#${group}`,
      expiryAlert(
        arn,
        members.map((member) => member.deployment),
        renewed,
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
    await deps.notify(`renewal#${arn}`, renewalAlert(arn, deployments, problem, deps.now()));
    pass.Notified += 1;
  }
}
