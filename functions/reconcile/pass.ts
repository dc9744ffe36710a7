import type { ACMClient } from '@aws-sdk/client-acm';
import type { PublicResolver } from '../dns/resolver.ts';
import { isDenial, isNamed } from '../domain/errors.ts';
import type { AdvanceDeps } from '../rollouts/advance.ts';
import type { RemovalDeps } from '../rollouts/removal.ts';
import { LOGGED, logger } from '../runtime/observability.ts';
import type { RateLimitDeps } from '../runtime/rate-limit.ts';
import type { ConnectTarget } from '../target-account/session.ts';
import type { FleetHealth } from './fleet-health.ts';
import type { LookDeps } from './look-round.ts';

export interface ReconcileDeps extends AdvanceDeps, RemovalDeps, RateLimitDeps, LookDeps {
  acm: ACMClient;
  resolver: PublicResolver;
  connectTarget: ConnectTarget<'iam' | 'ssm' | 'secretsManager'>;
  requestStateMachineArn: string;
  nodeRetentionDays: number;
  /** After how many days people are reminded of what is paused or frozen; 0: never. */
  reminderDays: number;
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
  /** Those of which no message tells. */
  Faults: number;
  /** Nothing of the inventory could be read, or not every certificate was compared. */
  MustRepeat?: boolean;
  /** What of these AWS denied, for what part of the fleet. */
  Denied: { What: string; Why: string }[];
  /** Nodes on which a look found something else than what was installed, and nodes that it did not reach. */
  Drifted: number;
  Unseen: number;
  /** As it was before the pass changed anything; absent where a part of the fleet could not be read. */
  Health?: FleetHealth;
}

export const newPass = (): Pass => ({
  Examined: 0,
  Started: 0,
  Repaired: 0,
  Dropped: 0,
  Notified: 0,
  Errors: 0,
  Faults: 0,
  Denied: [],
  Drifted: 0,
  Unseen: 0,
});

/**
 * One part that fails (an account that refuses us, a query that is throttled) does not hold up the others.
 *
 * @returns whether it did not fail.
 */
export async function guarded(pass: Pass, what: string, work: () => Promise<void>): Promise<boolean> {
  try {
    await work();
  } catch (error) {
    // Another function was faster; or a message is being sent, perhaps by one that was cut off: then a later sweep sends it.
    if (!isNamed(error, 'RolloutSuperseded', 'IdempotencyAlreadyInProgressError')) {
      pass.Errors += 1;
      if (isDenial(error) || isNamed(error, 'TargetAccessDenied')) {
        // The words of AWS alone: one cause has one text.
        const { message } = error.cause instanceof Error ? error.cause : error;
        pass.Denied.push({ What: what, Why: message.slice(0, 1000) });
      }
      logger.error(`${LOGGED.reconcileFailed} ${what}`, error as Error);
      return false;
    }
  }
  return true;
}
