import type { Clock } from './clock.ts';

export type PaceDeps = Pick<Clock, 'now' | 'sleep'>;

/**
 * Spaces the calls to one API evenly: each awaits the returned function first. Quotas are shared by everybody in the
 * account, so a sweep that nobody waits for stays well below them.
 */
export function paced(perSecond: number, deps: PaceDeps): () => Promise<void> {
  let next = 0;
  return async () => {
    const now = deps.now().getTime();
    const turn = Math.max(now, next);
    next = turn + 1000 / perSecond;
    if (turn > now) {
      await deps.sleep(turn - now);
    }
  };
}
