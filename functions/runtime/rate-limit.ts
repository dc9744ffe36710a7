import type { Clock } from './clock.ts';

export type RateLimitDeps = Pick<Clock, 'now' | 'sleep'>;

/**
 * Limits the calls to one API, evenly spaced: each awaits the returned function first. Everybody in the account shares
 * its quotas, so a sweep that nobody waits for stays well below them.
 */
export function rateLimit(perSecond: number, deps: RateLimitDeps): () => Promise<void> {
  let next = 0;
  return async () => {
    const now = deps.now().getTime();
    const at = Math.max(now, next);
    next = at + 1000 / perSecond;
    if (at > now) {
      await deps.sleep(at - now);
    }
  };
}
