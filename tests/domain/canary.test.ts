import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { canaryAmong, isInVain, newsOf, nextAutomation } from '../../functions/domain/canary.ts';
import type {
  AutomationStart,
  NodeOutcome,
  NodeRecord,
  NodeResult,
} from '../../functions/domain/deployment.ts';

const NUMBER = 7;
const VersionId = 'v2';
const node = (NodeId: string) => ({ NodeId });
const record = (NodeId: string, fields: Partial<NodeRecord> = {}): NodeRecord => ({
  DeploymentId: '0'.repeat(24),
  NodeId,
  RolloutNumber: 6,
  ...fields,
});
const served = { Outcome: 'installed', VersionId: 'v1' } as const;
const refused = { Outcome: 'refused', Refusal: { Since: '2026-11-24T10:00:00Z' } } as const;
const broken = { Outcome: 'rolled-back', VersionId: 'v1' } as const;

describe('the canary', () => {
  test.each<[string, Record<string, Partial<NodeRecord> | undefined>, string]>([
    ['one that has served, before one that is not known', { a: undefined, b: served }, 'b'],
    ['one that is not known, before one that failed', { a: broken, b: undefined }, 'b'],
    ['one that failed, before one that was refused', { a: refused, b: broken }, 'b'],
    [
      'one that is not known, before one that served and is refused',
      { a: { ...served, ...refused }, b: undefined },
      'b',
    ],
    [
      'one that served and was away, before one that is not known',
      { a: undefined, b: { Outcome: 'offline', VersionId: 'v1' } },
      'b',
    ],
    [
      'of those that serve, the one that was it longest ago',
      { a: { ...served, CanaryAt: 6 }, b: { ...served, CanaryAt: 5 } },
      'b',
    ],
    ['of those that serve, the one that never was it', { a: { ...served, CanaryAt: 5 }, b: served }, 'b'],
    [
      'of those that were refused, the one that was it longest ago',
      { a: { ...refused, CanaryAt: 6 }, b: { ...refused, CanaryAt: 5 } },
      'b',
    ],
    ['of those that are alike, the first by id', { b: served, a: served }, 'a'],
    [
      'one that this rollout has noted already, whatever is known of it',
      { a: served, b: { ...refused, CanaryAt: NUMBER } },
      'b',
    ],
  ])('is %s', (_, known, expected) => {
    const records = Object.entries(known).flatMap(([id, fields]) => (fields ? [record(id, fields)] : []));
    expect(canaryAmong(Object.keys(known).map(node), records, NUMBER)).toEqual(node(expected));
  });

  test('is never a node that was refused while another one can be reached, in whatever order they are listed', () => {
    const bad = Array.from({ length: 200 }, (_, index) => `bad-${index}`);
    const records = bad.map((id, index) => record(id, { ...refused, CanaryAt: index % 7 }));
    fc.assert(
      fc.property(fc.shuffledSubarray([...bad, 'good'], { minLength: 201 }), (ids) => {
        expect(canaryAmong(ids.map(node), records, NUMBER)).toEqual(node('good'));
      }),
    );
  });
});

const result = (NodeId: string, Outcome: NodeOutcome, ExitCode?: number): NodeResult => ({
  NodeId,
  Outcome,
  ...(ExitCode === undefined ? {} : { ExitCode }),
});
const install = (CanaryNodeId: string): AutomationStart => ({ Kind: 'install', CanaryNodeId });
const probe = (CanaryNodeId: string): AutomationStart => ({ Kind: 'probe', CanaryNodeId });

describe('an Automation', () => {
  test.each<[string, AutomationStart[], NodeResult[], boolean]>([
    ['whose canary was refused', [install('a')], [result('a', 'refused'), result('b', 'not-reached')], true],
    ['whose canary went offline', [install('a')], [result('a', 'offline'), result('b', 'not-reached')], true],
    ['whose canary is gone', [install('a')], [result('b', 'not-reached')], true],
    ['of an older edition, whose canary was refused', [], [result('a', 'refused')], true],
    ['that was a probe', [install('a'), probe('b')], [result('b', 'failed')], true],
    ['whose canary failed', [install('a')], [result('a', 'failed'), result('b', 'not-reached')], false],
    ['whose canary was taken back', [install('a')], [result('a', 'rolled-back')], false],
    ['whose canary took it', [install('a')], [result('a', 'installed'), result('b', 'refused')], false],
    ['whose canary had it', [install('a')], [result('a', 'unchanged'), result('b', 'refused')], false],
  ])('%s: was it in vain? (%#)', (_, started, results, expected) => {
    expect(isInVain(started, { isHeard: true, results })).toBe(expected);
  });

  test('of which nothing is known is not taken to have been in vain', () => {
    expect(isInVain([install('a')], { isHeard: false, results: [result('a', 'not-reached')] })).toBe(false);
  });
});

describe('after an Automation that was in vain', () => {
  type Row = [string, AutomationStart[], NodeResult[], Record<string, Partial<NodeRecord>>, string];
  const rows: Row[] = [
    [
      'another node that has served',
      [install('a')],
      [result('a', 'refused')],
      { b: served },
      'install b c d',
    ],
    ['a probe, where none has served', [install('a')], [result('a', 'refused')], {}, 'probe b c d'],
    [
      'a probe, where two that served were refused',
      [install('a'), install('b')],
      [result('b', 'refused')],
      { a: served, b: served, c: served },
      'probe c d',
    ],
    [
      'the only one that is left',
      [install('a')],
      [result('a', 'refused'), result('b', 'refused'), result('c', 'refused')],
      {},
      'install d',
    ],
    [
      'nothing, where none is left',
      [install('a')],
      ['a', 'b', 'c', 'd'].map((id) => result(id, 'refused')),
      {},
      '',
    ],
    [
      'those that passed the probe',
      [install('a'), probe('b')],
      [result('b', 'refused', 20), result('c', 'dry-run-passed'), result('d', 'refused', 20)],
      {},
      'install c',
    ],
    [
      'one that can do no dry run',
      [install('a'), probe('b')],
      [result('b', 'refused', 20), result('c', 'refused', 14), result('d', 'refused', 31)],
      {},
      'install c',
    ],
    [
      'one that passed, beside one that failed',
      [install('a'), probe('b')],
      [result('b', 'dry-run-passed'), result('c', 'failed', 60)],
      {},
      'install b',
    ],
    [
      'nothing, where none passed and one failed',
      [install('a'), probe('b')],
      [result('b', 'failed', 60), result('c', 'not-reached'), result('d', 'not-reached')],
      {},
      '',
    ],
    [
      'those that an older document did not ask',
      [install('a'), probe('b')],
      [result('b', 'refused', 20), result('c', 'not-reached'), result('d', 'not-reached')],
      {},
      'install c d',
    ],
    [
      'a probe again, after a canary that had passed one',
      [install('a'), probe('b'), install('b')],
      [result('b', 'refused', 20)],
      {},
      'probe c d',
    ],
    [
      'no canary of this rollout again',
      [install('a'), install('b'), probe('c')],
      ['a', 'b', 'c', 'd'].map((id) => result(id, 'dry-run-passed')),
      {},
      'install c d',
    ],
    [
      'none that this rollout has found refused before',
      [install('a')],
      [result('a', 'refused')],
      { b: { ...refused, RolloutNumber: NUMBER }, c: { ...refused } },
      'probe c d',
    ],
    [
      'no probe that leaves no room for what it finds',
      [install('a'), probe('b'), install('b'), probe('c'), install('c')],
      [result('c', 'refused')],
      {},
      'install d',
    ],
    [
      'nothing, where only a probe could find more',
      [install('x'), probe('x'), install('y'), probe('y'), install('z')],
      [result('z', 'refused')],
      {},
      '',
    ],
    [
      'nothing, after six',
      [install('a'), install('b'), probe('c'), install('c'), probe('d'), install('d')],
      [result('d', 'refused')],
      {},
      '',
    ],
  ];
  test.each(rows)('follows %s', (_, started, results, known, expected) => {
    const ready = ['a', 'b', 'c', 'd'].map(node);
    const records = Object.entries(known).map(([id, fields]) => record(id, fields));
    const next = nextAutomation({ rolloutNumber: NUMBER, started, results, ready, records });
    expect(next ? [next.Kind, ...next.candidates.map(({ NodeId }) => NodeId)].join(' ') : '').toBe(expected);
  });

  test('any number of nodes that are refused, known or not, keeps a good one waiting for three Automations at most', () => {
    const bads = fc.uniqueArray(fc.integer({ min: 0, max: 999 }), { minLength: 1, maxLength: 60 });
    fc.assert(
      fc.property(
        bads,
        fc.integer({ min: 0, max: 999 }),
        fc.array(fc.constantFrom('new', 'known', 'served')),
        (bad, good, states) => {
          const ids = [...new Set([...bad.map((id) => `n${id}`), `g${good}`])];
          const isGood = (id: string) => id.startsWith('g');
          const records = ids.flatMap((id, index) => {
            const state = isGood(id) ? 'new' : states[index];
            return state === 'known' ? [record(id, refused)] : state === 'served' ? [record(id, served)] : [];
          });
          const started: AutomationStart[] = [];
          let candidates = ids.map(node);
          let kind: AutomationStart['Kind'] = 'install';
          for (;;) {
            const canary = canaryAmong(candidates, records, NUMBER).NodeId;
            started.push({ Kind: kind, CanaryNodeId: canary });
            if (kind === 'install' && isGood(canary)) break;
            const results = ids.map((id) =>
              kind === 'probe'
                ? isGood(id)
                  ? result(id, 'dry-run-passed')
                  : result(id, 'refused', 20)
                : result(id, id === canary ? 'refused' : 'not-reached', 20),
            );
            const next = nextAutomation({
              rolloutNumber: NUMBER,
              started,
              results,
              ready: ids.map(node),
              records,
            });
            expect(next).toBeDefined();
            ({ Kind: kind, candidates } = next as NonNullable<typeof next>);
          }
          // Two canaries in vain, where nodes that had served are among the bad ones; one, else; then the probe.
          expect(started.length).toBeLessThanOrEqual(4);
        },
      ),
    );
  });
});

test('what is recorded of an Automation in vain: who was refused or failed, and never of those that hold the version', () => {
  const results = [
    result('a', 'refused', 20),
    result('b', 'refused', 20),
    result('c', 'failed', 60),
    result('d', 'dry-run-passed'),
    result('e', 'refused', 14),
    result('f', 'not-reached'),
    result('g', 'offline'),
  ];
  const records = [
    record('b', { Outcome: 'unchanged', VersionId }),
    record('a', { Outcome: 'installed', VersionId: 'v1' }),
  ];
  expect(newsOf(results, records, { VersionId }).map(({ NodeId }) => NodeId)).toEqual(['a', 'c']);
});
