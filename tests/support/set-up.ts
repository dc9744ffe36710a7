// Before the first test of a process. Functions make their logger when they are imported.
import '../../local/quiet.ts';
import { registerHooks } from 'node:module';
import { addEventHandler } from 'jest-circus';

/** Only a test that hangs gets there: machines are slow. The runner itself lets one hang for ever. */
const MINUTES = 20;

const GLOBALS = new URL('jest-globals.ts', import.meta.url).href;
registerHooks({
  resolve: (specifier, context, next) =>
    specifier === '@jest/globals' ? { url: GLOBALS, shortCircuit: true } : next(specifier, context),
});

addEventHandler((event, { currentDescribeBlock: { children, hooks } }) => {
  const added =
    event.name === 'add_test' ? children.at(-1) : event.name === 'add_hook' ? hooks.at(-1) : undefined;
  if (!added || !('fn' in added) || !added.fn) return;
  const { fn } = added;
  added.fn = () => ends(Promise.resolve().then(fn as () => unknown));
});

async function ends(work: Promise<unknown>): Promise<void> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(new Error(`has not ended after ${MINUTES} minutes`)),
    MINUTES * 60_000,
  );
  await Promise.race([work, promise]).finally(() => clearTimeout(timer));
}
