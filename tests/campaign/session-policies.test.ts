import { expect, test } from '@jest/globals';
import type { Cloud } from 'local-cloud';
import { FLOWS } from './flows.ts';
import { play } from './play.ts';
import { REGION } from './world.ts';

// STS packs a session policy into a space of unpublished size: "736 chars ≈ 82% packed" is the worst that people report
// (see the STS of the local cloud). Names are longer elsewhere than in the tests.
const CHARACTERS = 736 / 0.82;
const LONGEST: [short: string, long: string][] = [
  ['arn:aws:', 'arn:aws-us-gov:'],
  [REGION, 'us-gov-west-1'],
  ['acm-export', 'a'.repeat(20)],
];

test('every session policy of every flow is short and fits where prefix, partition and Region are the longest', async () => {
  const longest = new Map<string, number>();
  for (const flow of Object.values(FLOWS)) {
    const clouds: Cloud[] = [];
    await play(flow, ({ cloud }) => clouds.push(cloud));
    for (const { source, input } of clouds[0]?.record.callsOf('AssumeRole') ?? []) {
      const { Policy, DurationSeconds } = input as { Policy?: string; DurationSeconds?: number };
      // The least that STS gives.
      if (Policy !== undefined) expect(DurationSeconds).toBe(900);
      if (Policy === undefined) continue;
      const { length } = LONGEST.reduce((text, [short, long]) => text.replaceAll(short, long), Policy);
      longest.set(source, Math.max(length, longest.get(source) ?? 0));
    }
  }
  expect(longest.size).toBeGreaterThanOrEqual(5);
  expect([...longest].filter(([, length]) => length > CHARACTERS)).toEqual([]);
});
