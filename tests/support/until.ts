import { setTimeout as sleep } from 'node:timers/promises';

/** Nothing that a test waits for takes as long, on any machine: what gets there hangs. */
const HANGS_AFTER_MILLISECONDS = 10 * 60_000;

/**
 * Looks again until something is so. A look that fails is a "not yet". What hangs is an error that says what was
 * waited for and what was seen instead.
 */
export async function until<T>(
  what: string,
  look: () => T | undefined | false | Promise<T | undefined | false>,
  seen: () => unknown = () => '',
): Promise<T> {
  const deadline = Date.now() + HANGS_AFTER_MILLISECONDS;
  let fault: unknown;
  for (;;) {
    try {
      fault = undefined;
      const found = await look();
      if (found) return found;
    } catch (error) {
      fault = error;
    }
    if (Date.now() > deadline) break;
    await sleep(10);
  }
  const instead = fault === undefined ? seen() : fault;
  throw new Error(
    `waited for ${what}, ${HANGS_AFTER_MILLISECONDS / 60_000} minutes, in vain. Seen: ${instead}`,
  );
}
