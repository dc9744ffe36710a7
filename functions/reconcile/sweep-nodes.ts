import {
  type Deployment,
  isServed,
  type NodeRecord,
  type NodeResult,
  timestamp,
} from '../domain/deployment.ts';
import { earliestOf } from '../domain/expiry.ts';
import { type ManagedNode, obstacleOf, ofListed, summaryOf, targetedBy } from '../domain/nodes.ts';
import type { RefusedNode } from '../domain/refusal.ts';
import { decide } from '../rollouts/advance.ts';
import { inParallel } from '../runtime/in-parallel.ts';
import { rateLimit } from '../runtime/rate-limit.ts';
import { lookStatements } from '../target-account/look.ts';
import { listNodes } from '../target-account/nodes.ts';
import { inTarget } from '../target-account/session.ts';
import { driftOf, type Found, LookRound, tellOfFindings, tellOfRefusals } from './look-round.ts';
import { guarded, type Pass, type ReconcileDeps } from './pass.ts';
import { tellOfRefusedNodes } from './tell-of-refused-nodes.ts';
import { tend } from './tend.ts';

const DAY_MS = 86_400_000;
/** DescribeInstanceInformation gives 3 a second to an account and Region. */
const NODE_PAGES_PER_SECOND = 2;
/**
 * Accounts side by side, as each has a quota of its own; within one the tags come one after the other. So 600 tags in
 * every account fit into the five minutes between two sweeps.
 */
const PLACES_AT_ONCE = 32;

/** What a sweep over nodes gathers for people. */
interface Gathered {
  found: Found[];
  /** Nodes that cannot be served for a reason of their own, beside others that are. */
  unserved: RefusedNode[];
  /** Places that refused the look, and what AWS said. */
  refused: [string, string][];
}

/** Sweeps every account and Region, then tells people what looks have found there. */
export async function sweepNodes(fleet: Deployment[], pass: Pass, deps: ReconcileDeps): Promise<void> {
  const gathered: Gathered = { found: [], unserved: [], refused: [] };
  const registered = new Set(fleet.flatMap(({ Serial, Observed }) => [Serial ?? '', Observed?.Serial ?? '']));
  const places = Map.groupBy(fleet, (d) => `${d.TargetAccount}/${d.TargetRegion}`);
  await inParallel(places, PLACES_AT_ONCE, ([name, deployments]) =>
    guarded(pass, `the nodes in ${name}`, () =>
      sweepPlace(name, deployments, registered, gathered, pass, deps),
    ),
  );
  await guarded(pass, 'what people are told of looks', async () => {
    pass.Notified += await tellOfFindings(gathered.found, deps);
    pass.Notified += await tellOfRefusedNodes(gathered.unserved, deps);
    pass.Notified += await tellOfRefusals(gathered.refused, deps);
  });
}

/** One sweep for each tag of an account and Region, for all deployments there; reads the look before, sends the next one. */
async function sweepPlace(
  name: string,
  deployments: Deployment[],
  registered: ReadonlySet<string>,
  gathered: Gathered,
  pass: Pass,
  deps: ReconcileDeps,
): Promise<void> {
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
    const [first] = sharing as [Deployment];
    const swept = await guarded(pass, `the nodes tagged ${tag} in ${name}`, async () => {
      const nodes = await inTarget(first, () => listNodes(ssm, first, limit));
      for (const deployment of sharing) {
        const done = await guarded(pass, deployment.DeploymentId, () =>
          sweepNodesOf(deployment, targetedBy(deployment, nodes), round, gathered, pass, deps),
        );
        isWhole &&= done;
      }
    });
    isWhole &&= swept;
  }
  await guarded(pass, `the look at ${name}`, async () => {
    // Else the next sweep notes once more what the nodes showed.
    if (isWhole) {
      await round.close(registered);
    }
    const refused = await round.send();
    if (refused) {
      gathered.refused.push([name, refused]);
    }
  });
}

async function sweepNodesOf(
  deployment: Deployment,
  listed: ManagedNode[],
  round: LookRound,
  { found, unserved }: Gathered,
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
  if ((await decide(deployment, nodes, deps)).action === 'begin') {
    await tend(deployment, pass, deps, nodes);
    return;
  }
  // What an installation mends is told only where none begins, or where one was in vain.
  found.push(...drifted.map((record) => ({ deployment, record })));
  // The message that a rollout failed names them too.
  if (deployment.Status !== 'FAILED') {
    const refused = ofListed(records, listed).filter(({ Refusal }) => Refusal);
    unserved.push(...refused.map((record) => ({ deployment, record })));
  }
  const byId = new Map(records.map((record) => [record.NodeId, record]));
  const strangers = listed.filter((node) => obstacleOf(node) && !byId.has(node.NodeId));
  const isWhole =
    drifted.length === 0 &&
    listed.every(({ NodeId }) => byId.has(NodeId)) &&
    targetedBy(deployment, records).every((record) => isServed(record, deployment.Observed));
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
  const earliest = earliestOf(deployment, records, listed);
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
