// Before the first test of a process. Functions make their logger when they are imported.
import '../../local/quiet.ts';
import { registerHooks } from 'node:module';
import { addEventHandler } from 'jest-circus';

/** Only a test that hangs gets there: machines are slow. The runner itself lets one hang for ever. */
const MINUTES = 40;

const GLOBALS = new URL('jest-globals.ts', import.meta.url).href;
registerHooks({
  resolve(specifier, context, next) {
    // So the runner imports a test file.
    if (/\.test\.ts\?\d+$/.test(specifier)) restoreSurroundings();
    return specifier === '@jest/globals' ? { url: GLOBALS, shortCircuit: true } : next(specifier, context);
  },
});

const folder = process.cwd();
const variables = { ...process.env };
/** What one test file does to the process is not there for the next one. */
function restoreSurroundings(): void {
  process.chdir(folder);
  for (const name of Object.keys(process.env)) if (!(name in variables)) delete process.env[name];
  Object.assign(process.env, variables);
}

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
