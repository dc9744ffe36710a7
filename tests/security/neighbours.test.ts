import { beforeAll, describe, expect, test } from '@jest/globals';
import { neededCalls, sessionActionsOf, stacks } from './calls.ts';
import { type Findings, type Need, tryNeighbours } from './neighbours.ts';
import { GUARDS, REACH, SESSIONS } from './reach.ts';

let needs: Need[];
let findings: Findings;

beforeAll(async () => {
  needs = await neededCalls();
  findings = tryNeighbours(needs, stacks(), GUARDS);
});

test('every call that the system makes is allowed by each policy that has a say in it', () => {
  expect(findings.refused).toEqual([]);
  const layers = findings.needed.map((name) => name.split(' ')[0]);
  expect(new Set(layers)).toEqual(new Set(['identity', 'session', 'resource', 'grant']));
});

test('nothing next to what the system needs is allowed', () => {
  const isMeant = (name: string) => REACH.some(([neighbours]) => neighbours.test(name));
  expect(findings.allowed.filter((name) => !isMeant(name))).toEqual([]);
  expect(findings.tried).toBeGreaterThan(5000);
});

describe('what is allowed on purpose', () => {
  test.each(REACH)('is allowed indeed: %s', (neighbours) => {
    expect(findings.allowed.filter((name) => neighbours.test(name))).not.toEqual([]);
  });
});

test('each function opens sessions for what it does in target accounts, and for nothing else', () => {
  expect(sessionActionsOf(needs)).toEqual(SESSIONS);
});

test.each(GUARDS)('a call is there that the condition on $key of $calls concerns', ({ calls }) => {
  expect(findings.needed.filter((name) => calls.test(name))).not.toEqual([]);
});
