import { expect, test } from '@jest/globals';
import { FaultPlan } from '../../src/services/faults.ts';
import type { Caller } from '../../src/services/service.ts';

test('of a share of calls that fails, half fail before their effect and half after it; some may be spared', () => {
  const faults = new FaultPlan();
  let draws: number[] = [];
  faults.share(
    0.3,
    () => draws.shift() ?? Number.NaN,
    ({ source }) => source.startsWith('function '),
  );
  const met = (source: string, ...next: number[]) => {
    draws = next;
    return { kind: faults.take('sns.Publish', {}, { source } as Caller)?.kind, left: draws.length };
  };
  expect(met('function a', 0.3)).toEqual({ kind: undefined, left: 0 });
  expect(met('function a', 0.29, 0.49)).toEqual({ kind: 'server-error', left: 0 });
  expect(met('function a', 0.29, 0.5)).toEqual({ kind: 'answer-lost', left: 0 });
  expect(met('node i-1', 0, 0)).toEqual({ kind: undefined, left: 2 });
});
