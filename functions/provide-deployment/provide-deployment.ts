import {
  ADOPTED,
  type Asked,
  correlationIdOf,
  correlationPrefixOf,
  type Held,
  hasWorkOf,
  heldOf,
  isAdopted,
  isMadeBy,
  physicalIdOf,
  type Registered,
  readProperties,
  requestsSeenIn,
  standingOf,
  type Wish,
} from '../domain/deployment-resource.ts';
import { changesOf, requestOf } from '../domain/order-changes.ts';
import type { Clock } from '../runtime/clock.ts';
import { ApiRefused, type DeploymentsApi } from './api.ts';

/** A request about a resource. */
export interface Request extends Asked {
  RequestType: 'Create' | 'Update' | 'Delete';
  /** Absent in a Create. */
  PhysicalResourceId?: string | undefined;
  ResourceProperties?: unknown;
  /** Of an Update: those before it. */
  OldResourceProperties?: unknown;
}

export interface Deps {
  api: Pick<DeploymentsApi, 'find' | 'register' | 'remove'>;
  clock: Pick<Clock, 'now' | 'sleep'>;
  /** No wait lasts longer. */
  until: Date;
}

/** What the resource is called, whatever happens next: the answer to a failure says it too. */
export interface Progress {
  physicalId: string;
}

/** It cannot be done so. The message is read in the events of the stack. */
export class Refusal extends Error {
  override name = 'Refusal';
}

/** Those who wait pay for a running function, so a look is worth its call. */
const LOOK_EVERY_MS = 5000;

/**
 * Does what CloudFormation asks for. Each request may come more than once.
 *
 * @param progress is kept up to date.
 * @returns the deployment as it is then; nothing after a Delete.
 * @throws Refusal, ApiRefused, ApiUnavailable
 */
export async function provide(
  request: Request,
  progress: Progress,
  deps: Deps,
): Promise<Registered | undefined> {
  if (request.RequestType === 'Delete') {
    await remove(request, deps);
    return undefined;
  }
  const read = readProperties(request.ResourceProperties);
  if ('fault' in read) throw new Refusal(`The properties are not valid. ${read.fault}`);
  const { wish } = read;
  if (request.RequestType === 'Create') return create(request, wish, progress, deps);
  const held = heldOf(request.PhysicalResourceId);
  const kept = [held, held?.before].find((one) => one?.deploymentId === wish.deploymentId);
  const found = kept && (await deps.api.find(kept.certName, kept.deploymentId));
  return kept && isStanding(found)
    ? change(request, kept, found, wish, progress, deps)
    : replace(request, held, wish, progress, deps);
}

/** Only tried is as good as not there. */
const isStanding = (found: Registered | undefined): found is Registered =>
  found !== undefined && found.Status !== 'TRIED';

/** @param before what the resource stood for so far. */
async function create(
  request: Request,
  wish: Wish,
  progress: Progress,
  deps: Deps,
  before?: Held,
): Promise<Registered> {
  const { order, deploymentId } = wish;
  const { CertName: certName } = order;
  const held = (mark: string): Held => ({
    certName,
    deploymentId,
    mark,
    ...(before ? { before } : {}),
  });
  const correlationId = correlationIdOf(request);
  const found = await deps.api.find(certName, deploymentId);
  const isThere = isStanding(found);
  if (isThere && requestsSeenIn(found).includes(correlationId)) {
    // The same request once more.
    progress.physicalId = physicalIdOf(held(found.CreatedAt));
    return settled(found, undefined, wish, deps);
  }
  const adoptionId = correlationIdOf(request, 'adopt');
  if (isThere && requestsSeenIn(found).includes(adoptionId)) {
    progress.physicalId = physicalIdOf(held(ADOPTED));
    return settled(found, undefined, wish, deps);
  }
  if (isThere) refuseDeleting(found);
  if (isThere && !wish.adopts) throw isForeign(found);
  const without = progress.physicalId;
  progress.physicalId = physicalIdOf(held(isThere ? ADOPTED : correlationId));
  const started = await deps.api
    .register(certName, requestOf(order, found), isThere ? adoptionId : correlationId)
    .catch((error: unknown) => {
      if (error instanceof ApiRefused) progress.physicalId = without;
      throw error;
    });
  const registered = await mustFind(order.CertName, deploymentId, deps);
  if (!isThere) {
    const [first = ''] = requestsSeenIn(registered);
    // An API of an older edition gives requests an id of its own.
    if (first !== correlationId && first !== started.CorrelationId) {
      progress.physicalId = without;
      throw isForeign(registered);
    }
    progress.physicalId = physicalIdOf(held(registered.CreatedAt));
  }
  return settled(registered, started.RolloutNumber, wish, deps);
}

/** Changes a deployment in its place. One that is as it should be is left as it is, however its rollouts go. */
async function change(
  request: Request,
  kept: Held,
  found: Registered,
  wish: Wish,
  progress: Progress,
  deps: Deps,
): Promise<Registered> {
  refuseDeleting(found);
  const isKnown = kept.mark === ADOPTED || isMadeBy(kept, found);
  // Registered, or adopted, by an Update that was delivered before.
  const isOurs = hasWorkOf(found, request, 'cfn');
  const wasAdopted = hasWorkOf(found, request, 'adopt');
  if (!isKnown && !isOurs && !wasAdopted && !wish.adopts) throw isForeign(found);
  const mark = isKnown ? kept.mark : isOurs ? found.CreatedAt : ADOPTED;
  progress.physicalId = physicalIdOf({ ...kept, mark });
  const correlationId = correlationIdOf(request, mark === ADOPTED ? 'adopt' : 'cfn');
  if (requestsSeenIn(found).includes(correlationId)) return settled(found, undefined, wish, deps);
  if (changesOf(found, wish.order).length === 0) return found;
  const started = await deps.api.register(wish.order.CertName, requestOf(wish.order, found), correlationId);
  const changed = await mustFind(wish.order.CertName, wish.deploymentId, deps);
  // What was waited for in vain still runs: this undoes it, and a second wait would be in vain too.
  if (isLate(found, request)) return changed;
  return settled(changed, started.RolloutNumber, wish, deps);
}

/** Whether the rollout of the request before still runs, though that one was to wait for it. */
function isLate({ Rollout, Pending }: Registered, request: Request): boolean {
  const old = readProperties(request.OldResourceProperties);
  const prefixes = [correlationPrefixOf(request, 'cfn'), correlationPrefixOf(request, 'adopt')];
  const isRunning = [Rollout, Pending].some((one) =>
    prefixes.some((prefix) => one?.CorrelationId.startsWith(prefix)),
  );
  return isRunning && 'wish' in old && old.wish.waitSeconds > 0;
}

/**
 * Registers another deployment; CloudFormation has the former one deleted in its clean-up. Where that fails, what was
 * registered is removed here, and the resource goes on standing for the former one.
 */
async function replace(
  request: Request,
  held: Held | undefined,
  wish: Wish,
  progress: Progress,
  deps: Deps,
): Promise<Registered> {
  const former = progress.physicalId;
  const { before: _, ...before } = held ?? { before: undefined };
  const next: Progress = { physicalId: '' };
  try {
    const made = await create(request, wish, next, deps, 'mark' in before ? before : undefined);
    progress.physicalId = next.physicalId;
    return made;
  } catch (error) {
    progress.physicalId = former;
    await removeHeld(heldOf(next.physicalId), request, deps).catch((left: Error) => {
      throw new Refusal(
        `${(error as Error).message} What was registered could not be removed: ${left.message} ` +
          `Remove it: acm-export remove ${wish.deploymentId}`,
      );
    });
    throw error;
  }
}

async function remove(request: Request, deps: Deps): Promise<void> {
  const held = heldOf(request.PhysicalResourceId);
  if (held) return removeHeld(held, request, deps);
  // CloudFormation gave the id itself: it never heard what became of the Create.
  const read = readProperties(request.ResourceProperties);
  if ('fault' in read) return;
  const { order, deploymentId } = read.wish;
  return removeHeld({ certName: order.CertName, deploymentId, mark: '' }, request, deps);
}

/** Removes what the resource has registered, and nothing else. */
async function removeHeld(held: Held | undefined, request: Request, { api }: Deps): Promise<void> {
  if (!held) return;
  const found = await api.find(held.certName, held.deploymentId);
  if (!found) return;
  // The resource was renamed, or has gone to another stack, which has adopted what it registered.
  if (isAdopted(found)) return;
  const isUnheard = held.mark === '' && hasWorkOf(found, request, 'cfn');
  if (isUnheard || isMadeBy(held, found)) await api.remove(held.certName, held.deploymentId);
}

/** Waits until what was asked for has come to rest. */
async function settled(
  deployment: Registered,
  awaited: number | undefined,
  { waitSeconds, order }: Wish,
  deps: Deps,
): Promise<Registered> {
  if (waitSeconds === 0) return deployment;
  const end = Math.min(deps.clock.now().getTime() + waitSeconds * 1000, deps.until.getTime());
  for (let now = deployment; ; ) {
    const standing = standingOf(now, awaited);
    if (standing.is === 'settled') return now;
    if (standing.is === 'failed') throw new Refusal(standing.reason);
    const left = end - deps.clock.now().getTime();
    if (left <= 0) {
      throw new Refusal(
        `Certificate ${order.CertName} is not everywhere yet, and the time to wait is over (WaitSeconds ${waitSeconds}). ` +
          `${now.Reason} What to do: look at it with acm-export get, then deploy the stack again with more WaitSeconds, ` +
          'or with WaitSeconds 0, which does not wait.',
      );
    }
    await deps.clock.sleep(Math.min(LOOK_EVERY_MS, left));
    now = await mustFind(order.CertName, deployment.DeploymentId, deps);
  }
}

async function mustFind(certName: string, deploymentId: string, { api }: Deps): Promise<Registered> {
  const found = await api.find(certName, deploymentId);
  if (!found) throw new Refusal(`Deployment ${deploymentId} of ${certName} was removed meanwhile.`);
  return found;
}

function refuseDeleting({ Status, CertName, DeploymentId }: Registered): void {
  if (Status !== 'DELETING') return;
  throw new Refusal(
    `Deployment ${DeploymentId} of ${CertName} is being deleted. What to do: repeat the DELETE ` +
      `(acm-export remove), then deploy the stack again.`,
  );
}

const isForeign = ({ CertName, DeploymentId, CreatedAt }: Registered) =>
  new Refusal(
    `Deployment ${DeploymentId} of ${CertName} is there already, registered at ${CreatedAt} by something else than this ` +
      'resource: it was left as it is. What to do: remove it there, or set the property Adopt to true. Then this stack sets ' +
      'its options, and never deletes it.',
  );
