import { setTimeout as sleep } from 'node:timers/promises';

/** Nothing that a test waits for takes as long, on any machine. */
const HANGS_AFTER_MILLISECONDS = 10 * 60_000;

/** Looks again until something is so. A look that throws is a "not yet", and the last fault is told at the end. */
export async function until<T>(
  what: string,
  look: () => T | undefined | false | Promise<T | undefined | false>,
): Promise<T> {
  const deadline = Date.now() + HANGS_AFTER_MILLISECONDS;
  for (;;) {
    const found = await Promise.resolve()
      .then(look)
      .catch((error: Error) => {
        if (Date.now() > deadline) throw new Error(`waited for ${what} in vain`, { cause: error });
      });
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`waited for ${what} in vain`);
    await sleep(10);
  }
}
