import { timestamp } from '../domain/deployment.ts';
import { type RefusedNode, refusalAlert, untoldRefusals } from '../domain/refusal.ts';
import type { Inventory } from '../inventory/inventory.ts';
import type { Notify } from '../notifications/notifier.ts';
import { inParallel } from '../runtime/in-parallel.ts';

/** Nodes of which it is noted side by side that people were told. */
const WRITES_AT_ONCE = 10;

/**
 * Tells people of nodes that cannot be served for a reason of their own: once a cause and day of each deployment, and of all
 * with the same fault in one message.
 *
 * @returns how many messages.
 */
export async function tellOfRefusedNodes(
  refused: readonly RefusedNode[],
  deps: { inventory: Inventory; notify: Notify; now: () => Date; prefix: string },
): Promise<number> {
  const now = deps.now();
  const untold = untoldRefusals(refused, now);
  for (const [fault, alike] of untold) {
    const [{ deployment }] = alike as [RefusedNode];
    await deps.notify(`refused#${fault}#${deployment.DeploymentId}`, refusalAlert(alike, deps.prefix));
    await inParallel(alike, WRITES_AT_ONCE, ({ deployment: { DeploymentId }, record: { NodeId } }) =>
      deps.inventory.nodes.noteRefusalTold(DeploymentId, NodeId, timestamp(now)),
    );
  }
  return untold.size;
}
