import type { Deployment } from '../domain/deployment.ts';
import { causeOf, type Failure, failureMessage, isOfNodes } from '../domain/failure.ts';
import { endOf } from '../domain/rollout.ts';
import type { Inventory } from '../inventory/inventory.ts';
import type { Notify } from '../notifications/notifier.ts';

/**
 * Tells people of a rollout that failed, unless they were told of this cause since the last success, of this order and
 * version. It is noted afterwards that they were told: no message is lost, and one comes twice where this is cut off
 * between the two.
 *
 * @param deployment as it is since the end of the rollout was recorded.
 * @returns whether people were told.
 */
export async function tellFailure(
  deployment: Deployment,
  failure: Failure,
  deps: { notify: Notify; inventory: Inventory },
): Promise<boolean> {
  // Of a rollout that a sweep closed as lost, an event may come later, in other words.
  const ended = endOf(deployment, failure.rolloutNumber);
  const cause = causeOf(ended?.Error ?? failure.text);
  if (ended?.Cause === 'DRIFT') {
    return tellOfHealing(deployment, failure, cause, deps);
  }
  const told = deployment.Observed?.ToldOf ?? [];
  if (told.includes(cause)) {
    return false;
  }
  await deps.notify(`rollout#${failure.executionArn}`, failureMessage(deployment, failure));
  await deps.inventory.noteTold(deployment, failure.rolloutNumber, [...told, cause]);
  return true;
}

/** Looks tell what a healing left on nodes; of all else people are told once a cause and day. */
async function tellOfHealing(
  deployment: Deployment,
  failure: Failure,
  cause: string,
  { notify }: { notify: Notify },
): Promise<boolean> {
  if (isOfNodes(failure.text)) {
    return false;
  }
  const day = failure.at.slice(0, 10);
  await notify(`healing#${deployment.DeploymentId}#${cause}#${day}`, failureMessage(deployment, failure));
  return true;
}
