import type { Deployment, NodeRecord } from './deployment.ts';
import { OWN_FAULTS } from './exit-codes.ts';
import { type Notification, placesOf, SUBJECTS, wasTold } from './notification.ts';

/** A node that cannot be served for a reason of its own. */
export interface RefusedNode {
  deployment: Deployment;
  record: NodeRecord;
}

/** Names at most ten, as all messages do. */
const MOST_NAMED = 10;

const faultOf = ({ record }: RefusedNode) => OWN_FAULTS[record.ExitCode ?? 0] ?? 'unknown';

/**
 * The refused nodes that people are to be told of, by their fault: of each deployment once a fault and day, however many
 * nodes come to it meanwhile.
 */
export function untoldRefusals(refused: readonly RefusedNode[], now: Date): Map<string, RefusedNode[]> {
  const causeOf = (node: RefusedNode) => `${node.deployment.DeploymentId} ${faultOf(node)}`;
  const told = new Set(
    refused.flatMap((node) => (wasTold(node.record.Refusal?.ToldAt, now) ? [causeOf(node)] : [])),
  );
  return Map.groupBy(
    refused.filter((node) => !told.has(causeOf(node))),
    faultOf,
  );
}

/**
 * The message that nodes cannot be served.
 *
 * @param refused for the same fault.
 * @param prefix that of the policy's name.
 */
export function refusalAlert(refused: readonly RefusedNode[], prefix: string): Notification {
  const [{ deployment, record }] = refused as [RefusedNode];
  const { TargetTagKey, TargetTagValue, TargetRegion } = deployment;
  const code = record.ExitCode ?? 0;
  const since = refused.map(({ record: { Refusal } }) => Refusal?.Since ?? '').sort();
  const named = refused
    .slice(0, MOST_NAMED)
    .map(({ record: of }) => `${of.NodeId}: ${(of.Error ?? '').replace(/[.]?$/, '.')}`);
  const more = refused.length - named.length;
  const places = new Map(refused.map((node) => [node.deployment.DeploymentId, node.deployment]));
  const advice =
    faultOf({ deployment, record }) === 'bundle-denied'
      ? `Their roles have no tag ${TargetTagKey}=${TargetTagValue}, or lack the policy ${prefix}-read-bundle-${TargetRegion}: ` +
        `give them both. Nodes that are not to have the certificate: take the tag off them, and find out who gave it.`
      : `docs/operations.md says what to do for exit code ${code}, ${faultOf({ deployment, record })}.`;
  return {
    Subject: SUBJECTS.refusal(deployment, record.NodeId, refused.length - 1),
    What: `These nodes carry the tag and cannot be served, for a reason of their own. They go on serving what they served, if anything; the others are served. ${named.join(' ')}${more > 0 ? ` And ${more} more nodes.` : ''}`,
    Where: placesOf([...places.values()]),
    Since: since[0] ?? '',
    WhatToDo: `${advice} They are tried again by themselves, first after 15 minutes, then each time twice as late, at most a day apart; POST …/rollouts does so at once. You are told again once a day while it lasts.`,
  };
}
