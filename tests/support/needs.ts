import { describe, test } from '@jest/globals';
import { howToGet, isHere, leftOutFor, type ToolName } from './tools.ts';

/**
 * Tests that need a tool: `needs('nginx')('serves …', async () => { … })`, `needs('curl').each(cases)('…', …)`, and
 * `needs('strace').describe('…', () => { … })` for a group with a set-up of its own.
 *
 * Where one is missing the tests are left out, and the last lines of the run say so; in CI they fail. A test that
 * looks for a tool itself and returns early would pass, and nobody would know.
 */
export function needs(...tools: [ToolName, ...ToolName[]]) {
  const missing = tools.filter((tool) => !isHere(tool));
  if (missing.length === 0) {
    return Object.assign((...words: Parameters<typeof test>) => test(...words), {
      each: test.each,
      describe,
    });
  }
  const isInCI = process.env.CI === 'true';
  const ask = isInCI ? test : test.skip;
  const fail = () => {
    throw new Error(`not here: ${missing.join(', ')} (${howToGet(missing)})`);
  };
  const leaveOut = (name: unknown) => ask(leftOutFor(String(name), missing), fail);
  return Object.assign((...[name]: Parameters<typeof test>) => leaveOut(name), {
    each: ((cases: unknown[]) => (name: string) =>
      ask.each(cases as unknown[][])(leftOutFor(name, missing), fail)) as unknown as typeof test.each,
    describe: ((name: unknown, tests: () => void) =>
      // In CI one test stands for the group: its set-up would need the tool as well.
      isInCI ? leaveOut(name) : describe.skip(leftOutFor(String(name), missing), tests)) as typeof describe,
  });
}
