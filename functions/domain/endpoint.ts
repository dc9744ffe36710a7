import type { Look, SeenEndpoint } from './look.ts';

/** A TLS port of a managed node that serves a certificate which nobody registered. Times are ISO 8601. */
export interface Endpoint extends SeenEndpoint {
  Account: string;
  Region: string;
  NodeId: string;
  /** When it was first seen with this certificate. */
  Since: string;
  /** When a look did not find it any more. */
  MissedAt?: string;
  /** When people were told that its certificate ends soon. */
  ToldAt?: string;
}

/** What an endpoint is known by within its account and Region. */
export const keyOf = ({ NodeId, Port }: Pick<Endpoint, 'NodeId' | 'Port'>) => `${NodeId}#${Port}`;

/** What a look at an account found of its endpoints. */
export interface Discovery {
  Account: string;
  Region: string;
  /** What each node that was asked showed; undefined where it did not answer. */
  looks: ReadonlyMap<string, Look | undefined>;
  /** Nodes that Systems Manager does not list any more. */
  gone: ReadonlySet<string>;
  at: string;
  /** Serials of everything that is registered. */
  registered: ReadonlySet<string>;
}

/**
 * What changes in the record of endpoints. One that a node does not show any more is dropped when two looks agree; of a
 * node that did not answer nothing is dropped.
 */
export function endpointChanges(
  known: readonly Endpoint[],
  { looks, gone, registered, at, Account, Region }: Discovery,
): { put: Endpoint[]; drop: Endpoint[] } {
  const before = new Map(known.map((endpoint) => [keyOf(endpoint), endpoint]));
  const seen = new Set<string>();
  const put: Endpoint[] = [];
  for (const [NodeId, look] of looks) {
    for (const found of look?.endpoints ?? []) {
      const key = keyOf({ NodeId, Port: found.Port });
      if (registered.has(found.Serial) || seen.has(key)) {
        continue;
      }
      seen.add(key);
      const old = before.get(key);
      const same = old?.Serial === found.Serial && old.NotAfter === found.NotAfter ? old : undefined;
      if (!same || same.MissedAt) {
        const { MissedAt: _, ...kept } = same ?? { ...found, Account, Region, NodeId, Since: at };
        put.push(kept);
      }
    }
  }
  const missed = known.filter(
    (endpoint) => gone.has(endpoint.NodeId) || (looks.get(endpoint.NodeId) && !seen.has(keyOf(endpoint))),
  );
  return {
    put: [
      ...put,
      ...missed.filter(({ MissedAt }) => !MissedAt).map((endpoint) => ({ ...endpoint, MissedAt: at })),
    ],
    drop: missed.filter(({ MissedAt }) => MissedAt),
  };
}
