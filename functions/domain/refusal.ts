import type { Deployment, NodeRecord } from './deployment.ts';
import { OWN_FAULTS } from './exit-codes.ts';
import { asSentence, DAILY, type Notification, pathOf, placesOf, SUBJECTS, wasTold } from './notification.ts';

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
    .map(({ record: of }) => `${of.NodeId}: ${asSentence(of.Error ?? '')}`);
  const more = refused.length - named.length;
  const places = new Map(refused.map((node) => [node.deployment.DeploymentId, node.deployment]));
  const advice =
    faultOf({ deployment, record }) === 'bundle-denied'
      ? `The roles of these servers lack the tag ${TargetTagKey}=${TargetTagValue} or the policy ` +
        `${prefix}-read-bundle-${TargetRegion}. Give them both. If a server is not to have the certificate, take the tag ` +
        'off the server and find out who gave it.'
      : `Look up exit code ${code} (${faultOf({ deployment, record })}) in docs/operations.md.`;
  return {
    Subject: SUBJECTS.refusal(deployment, record.NodeId, refused.length - 1),
    What: `These servers carry the tag, but the system cannot install the certificate there. The reason lies in each server itself. They still serve what they served before, if anything. The other servers get the certificate. ${named.join(' ')}${more > 0 ? ` And ${more} more servers.` : ''}`,
    Where: placesOf([...places.values()]),
    Since: since[0] ?? '',
    WhatToDo: `${advice} The system tries again by itself, first after 15 minutes, then each time after twice as long, at most after a day. To try at once: POST ${pathOf(places.values())}/rollouts. ${DAILY}`,
  };
}
