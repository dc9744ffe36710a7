import { expect, test } from '@jest/globals';
import { FLOWS } from '../campaign/flows.ts';
import { KINDS } from '../campaign/play.ts';
import { runSet } from '../campaign/run-set.ts';

// The shipped state machine, functions, rules and schedules in virtual time. In each run one call of a function or of
// the state machine meets one fault. `make campaign` has more.

test('one fault, whichever and wherever, is made up for in time, and people hear of it only where they must act', async () => {
  const results = await runSet('single');
  const faulty = results.filter(({ faults }) => faults.length > 0);
  expect(faulty.map(({ flow, trouble, faults }) => [flow, trouble, ...faults])).toEqual([]);
  // That nothing was left out: at least what registering takes, in each flow, and one run without a fault.
  const runs = Map.groupBy(results, ({ flow }) => flow);
  expect([...runs.keys()].sort()).toEqual(Object.keys(FLOWS).sort());
  for (const made of runs.values()) expect(made.length).toBeGreaterThan(20 * Object.keys(KINDS).length);
});
