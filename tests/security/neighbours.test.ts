import { beforeAll, describe, expect, test } from '@jest/globals';
import {
  firstEditionCalls,
  firstEditionStacks,
  neededCalls,
  openStacks,
  sessionActionsOf,
  stacks,
} from './calls.ts';
import { type Findings, type Need, tryNeighbours } from './neighbours.ts';
import { FIRST_EDITION_REACH, GUARDS, OPEN_REACH, REACH, SESSIONS } from './reach.ts';

let needs: Need[];
let findings: Findings;

const isMeant = (name: string) => REACH.some(([neighbours]) => neighbours.test(name));

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
  expect(findings.allowed.filter((name) => !isMeant(name))).toEqual([]);
  expect(findings.tried).toBeGreaterThan(5000);
});

test('nor where the owner of the servers has no list of names, but for bundles of other names', () => {
  const { allowed, refused } = tryNeighbours(needs, openStacks(), GUARDS);
  expect(refused).toEqual([]);
  expect(allowed.filter((name) => !isMeant(name) && !OPEN_REACH.test(name))).toEqual([]);
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

describe('what a central stack of the first edition does with the rollout role', () => {
  const all = () => firstEditionCalls(needs);

  test('is allowed while KeepFirstEditionGrants is true', () => {
    const { needed, refused } = tryNeighbours(all(), firstEditionStacks(), []);
    expect(refused).toEqual([]);
    const actions = needed.map((name) => name.split(' ').slice(0, 3).join(' '));
    expect(actions).toContain('resource export-certificate sts:AssumeRole');
    expect(actions).toContain('identity rollout/export-certificate secretsmanager:PutSecretValue');
  });

  test('is refused without these grants: each call by a policy of the member stack', () => {
    const { needed, refused } = tryNeighbours(all(), stacks(), []);
    const ofMember = needed.filter((name) => !name.startsWith('identity export-certificate '));
    expect(refused.toSorted()).toEqual(ofMember.toSorted());
  });

  test('is all that these grants add: nothing next to it is allowed, and nothing to another function', () => {
    const { allowed, tried } = tryNeighbours([...needs, ...all()], firstEditionStacks(), GUARDS);
    const unmeant = allowed.filter((name) => !isMeant(name) && !OPEN_REACH.test(name));
    expect(unmeant.filter((name) => !FIRST_EDITION_REACH.test(name))).toEqual([]);
    expect(tried).toBeGreaterThan(1000);
  });
});
