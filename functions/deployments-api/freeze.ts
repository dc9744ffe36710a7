import { RequestRefused } from '../domain/errors.ts';
import { type Freeze, lasting } from '../domain/freeze.ts';
import { KNOWN_AFTER_MS } from '../inventory/freezes.ts';
import { ROUNDS } from '../inventory/inventory.ts';
import { logger } from '../runtime/observability.ts';
import type { DeploymentsApiDeps } from './deployments-api.ts';

type FreezeDeps = Pick<DeploymentsApiDeps, 'inventory' | 'rolloutsEnabled' | 'sleep'>;

/**
 * Freezes all rollouts: from the answer on, none begins, whatever asks for one. One that is frozen already stays as it is,
 * with who froze it and why.
 */
export async function freezeRollouts(reason: string, caller: string, deps: FreezeDeps) {
  const freeze = await begin(reason, caller, deps);
  await deps.sleep(KNOWN_AFTER_MS);
  return freezeView(freeze, deps);
}

/** Ends the freeze, also that of another caller. What waited begins with the next sweep. */
export async function thawRollouts(caller: string, deps: FreezeDeps) {
  const freeze = await end(caller, deps);
  await deps.sleep(KNOWN_AFTER_MS);
  return freezeView(freeze, deps);
}

/** Whether rollouts are frozen, and how that came. */
export async function showFreeze(deps: FreezeDeps) {
  return freezeView(await deps.inventory.freezes.get(), deps);
}

function freezeView(freeze: Freeze | undefined, { rolloutsEnabled: RolloutsEnabled }: FreezeDeps) {
  const { FrozenAt, FrozenBy, Reason, ThawedAt, ThawedBy } = freeze ?? {};
  return {
    Frozen: lasting(freeze) !== undefined,
    RolloutsEnabled,
    ...(freeze ? { FrozenAt, FrozenBy, Reason } : {}),
    ...(ThawedAt ? { ThawedAt, ThawedBy } : {}),
  };
}

async function begin(
  reason: string,
  caller: string,
  { inventory: { freezes } }: FreezeDeps,
): Promise<Freeze> {
  for (let round = 0; round < ROUNDS; round += 1) {
    const known = await freezes.get();
    const begun = lasting(known) ? undefined : await freezes.begin(known, caller, reason);
    if (begun) {
      logger.warn('Rollouts frozen', { Caller: caller, Reason: reason });
    }
    const freeze = begun ?? lasting(known);
    if (freeze) {
      return freeze;
    }
  }
  throw isChanged();
}

/** @throws RequestRefused where another freeze has begun meanwhile: its caller does not expect it to end. */
async function end(caller: string, { inventory: { freezes } }: FreezeDeps): Promise<Freeze | undefined> {
  const known = await freezes.get();
  if (!known || !lasting(known)) {
    return known;
  }
  const thawed = await freezes.end(known, caller);
  if (thawed) {
    logger.warn('Rollouts thawed', { Caller: caller });
    return thawed;
  }
  const now = await freezes.get();
  if (lasting(now)) {
    throw isChanged();
  }
  return now;
}

const isChanged = () =>
  new RequestRefused(409, 'The freeze changed during this request. Look at GET /freeze.');
