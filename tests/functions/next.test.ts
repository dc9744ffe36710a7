import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type {
  BundleFinding,
  Deployment,
  FindingKind,
  NodeRecord,
  Observed,
  Running,
  Wanted,
} from '../../functions/domain/deployment.ts';
import {
  type ExecutionState,
  followUpOf,
  isAhead,
  type Nodes,
  next,
  REASONS,
  wantedAfterRenewal,
  wantedAfterRequest,
} from '../../functions/domain/next.ts';

const NOW = new Date('2026-11-24T12:00:00Z');
const before = (minutes: number) =>
  `${new Date(NOW.getTime() - minutes * 60_000).toISOString().slice(0, 19)}Z`;

const by = { Cause: 'REQUEST', CorrelationId: 'c' } as const;
const wanted: Wanted = {
  ...by,
  Generation: 2,
  Serial: '02',
  NotBefore: '2026-11-02T00:00:00Z',
  At: before(90),
};
const observed: Observed = {
  ...by,
  Generation: 2,
  Serial: '02',
  NotBefore: '2026-11-02T00:00:00Z',
  VersionId: 'v2',
  RolloutNumber: 7,
  ExecutionArn: 'arn:x',
  Outcome: 'INSTALLED',
  Failures: 0,
  At: before(60),
};
const order = {
  CertName: 'web',
  CertificateArn: 'arn:web',
  TargetAccount: '444455556666',
  TargetRegion: 'eu-central-1',
  TargetTagKey: 'acm-export',
  TargetTagValue: 'web',
  Delivery: 'nodes',
  Options: {
    ReloadServices: [],
    RestartServices: [],
    VerifyPort: 0,
    KeyFormat: 'decrypted',
    ExtraFormats: [],
  },
  MaxConcurrency: '10',
  MaxErrors: '10%',
} satisfies Partial<Deployment>;
const running: Running = {
  ...by,
  RolloutNumber: 8,
  Generation: 2,
  Order: order,
  Serial: '02',
  NotBefore: wanted.NotBefore,
  BeganAt: before(5),
  StartedAt: before(5),
  StartDelaySeconds: 0,
};
/** Everything that is wanted was installed an hour ago. */
const settled: Deployment = {
  ...order,
  DeploymentId: '0'.repeat(24),
  Status: 'INSTALLED',
  RolloutNumber: 7,
  Wanted: wanted,
  Observed: observed,
  NotAfter: '2027-06-09T23:59:59Z',
  CreatedAt: before(600),
  UpdatedAt: before(60),
};
const failed = (minutesAgo: number, Failures = 1): Deployment => ({
  ...settled,
  Status: 'FAILED',
  Observed: { ...observed, Outcome: 'FAILED', Failures, At: before(minutesAgo) },
});
/** Failed ten times, of which nodes failed so often. */
const failedOften = (minutesAgo: number, more: Partial<Observed>): Deployment => ({
  ...settled,
  Status: 'FAILED',
  Observed: { ...observed, Outcome: 'FAILED', Failures: 10, At: before(minutesAgo), ...more },
});

const record = (NodeId: string, fields: Partial<NodeRecord> = {}): NodeRecord => ({
  DeploymentId: settled.DeploymentId,
  NodeId,
  Outcome: 'installed',
  VersionId: 'v2',
  RolloutNumber: 7,
  At: before(60),
  ...fields,
});
const node = (NodeId: string, fields = {}) => ({
  NodeId,
  Online: true,
  Platform: 'Linux',
  AgentVersion: '3.3.3000.0',
  ...fields,
});
const nodes = (listed: Nodes['listed'], records: NodeRecord[], asOf = 7): Nodes => ({
  asOf,
  listed,
  records,
});

const unheard = omit(running, 'StartedAt');
const started = (minutesAgo: number) => ({ ...running, StartedAt: before(minutesAgo) });
const wants = (fields: Partial<Wanted>) => ({ Wanted: { ...wanted, ...fields } });
const repaired = { Observed: { ...observed, Cause: 'RECONCILE' } } satisfies Partial<Deployment>;
const tried = { Wanted: undefined, Observed: undefined, DryRunOnly: true } as never;
/** One node, and what is recorded of it. */
const one = (fields: object, recorded?: Partial<NodeRecord>) =>
  nodes([node('i-1', fields)], recorded ? [record('i-1', recorded)] : []);
const windows = { Platform: 'Windows' };
const away = { Online: false };
const empty = nodes([], []);
const foundNone = {
  Status: 'WAITING',
  Observed: { ...observed, Outcome: 'WAITING' },
} satisfies Partial<Deployment>;
const wentAway = (minutes: number, RolloutNumber = 7) =>
  one({}, { Outcome: 'offline', At: before(minutes), RolloutNumber });
const failedRepair = { ...failed(1), Observed: { ...failed(1).Observed, Cause: 'RECONCILE' } } as Deployment;
const gone = nodes([], [record('i-1', { Outcome: 'offline' })]);
const broken = record('i-2', { Outcome: 'failed' });
const besideBroken = nodes([node('i-1'), node('i-2')], [broken]);
/** Served, but for a node that has been refused for so long, and was so last an hour ago. */
const refusedFor = (minutes: number, more: Partial<Deployment> = {}): Partial<Deployment> => ({
  Status: 'DEGRADED',
  Observed: { ...observed, Outcome: 'DEGRADED', RefusedSince: before(60 + minutes) },
  ...more,
});
const refused = (fields: Partial<NodeRecord> = {}) =>
  one({}, { Outcome: 'refused', Refusal: { Since: before(60) }, VersionId: 'v1', ...fields });
const missed = (minutesAgo: number) => one({}, { Outcome: 'not-reached', At: before(minutesAgo) });

const drifted = (Kind: FindingKind, fields: object = {}) =>
  one(fields, { Finding: { Kind, Text: 'x', Since: before(5) } });
const healedOnce = (minutesAgo: number, Count = 1) => ({ Drift: { Count, At: before(minutesAgo) } });

const lacksBundle: Partial<Deployment> = { BundleFinding: { Kind: 'missing', Since: before(5) } };
const withdrawn: Partial<Deployment> = { BundleFinding: { Kind: 'deletion', Since: before(5) } };

/** What is different from `settled`, what is known beside it, and: action, reason, minutes from now. */
type Row = [Partial<Deployment>, Nodes | ExecutionState | undefined, string];

/** For each reason, where it holds, and its nearest neighbours, where another one does. */
const ROWS: Record<string, Row> = {
  'deleted, with all else to do': [{ ...failed(600), Status: 'DELETING' }, undefined, 'nothing deleting'],
  'deleted, with a start to repeat': [
    { Status: 'DELETING', Running: unheard },
    undefined,
    'nothing deleting',
  ],
  'a start that was not heard': [{ Running: unheard }, undefined, 'start unstarted 0'],
  'that, and paused': [{ Running: unheard, PausedAt: before(1) }, undefined, 'start unstarted 0'],
  'a slot in a minute': [{ Running: { ...running, StartDelaySeconds: 360 } }, undefined, 'nothing slot 1'],
  'that, ended': [{ Running: { ...running, StartDelaySeconds: 360 } }, 'ended', 'nothing slot 1'],
  'a slot now': [{ Running: { ...running, StartDelaySeconds: 300 } }, undefined, 'nothing running 15'],
  'a rollout': [{ Running: running }, undefined, 'nothing running 10'],
  'that, and more is wanted': [
    { Running: running, ...wants({ Generation: 3 }) },
    undefined,
    'nothing running 10',
  ],
  'a rollout of hours': [{ Running: started(600) }, 'running', 'nothing running -585'],
  'that, of which nothing is known': [{ Running: started(600) }, 'unknown', 'nothing running -585'],
  'a rollout that has just ended': [{ Running: started(14) }, 'ended', 'nothing running 1'],
  'one that ended long ago': [{ Running: started(15) }, 'ended', 'close lost 0'],
  'that, paused since': [{ Running: started(15), PausedAt: before(1) }, 'ended', 'close lost 0'],
  'paused, and more is wanted': [
    { PausedAt: before(1), ...wants({ Generation: 3 }) },
    undefined,
    'nothing paused',
  ],
  'paused, and a repair is due': [{ ...failed(600), PausedAt: before(1) }, undefined, 'nothing paused'],
  'paused, and a node appears': [{ PausedAt: before(1) }, one({}), 'nothing paused'],
  'tried only': [tried, undefined, 'nothing tried'],
  'tried only, and a node appears': [tried, one({}), 'nothing tried'],
  'never rolled out': [{ Observed: undefined as never }, undefined, 'begin asked 0'],
  'a generation more': [wants({ Generation: 3 }), undefined, 'begin asked 0'],
  'that, failed a minute ago': [{ ...failed(1), ...wants({ Generation: 3 }) }, undefined, 'begin asked 0'],
  'a generation less': [wants({ Generation: 1 }), undefined, 'nothing done'],
  'a later version': [
    wants({ Serial: '03', NotBefore: '2026-11-02T00:00:01Z' }),
    undefined,
    'begin renewed 0',
  ],
  'that, failed since': [
    { ...failed(1), ...wants({ Serial: '03', NotBefore: '2026-11-24T00:00:00Z' }) },
    undefined,
    'begin renewed 0',
  ],
  'another one of that day': [wants({ Serial: '03' }), undefined, 'begin renewed 0'],
  'another one, whose NotBefore was not noted': [
    wants({ Serial: '03', NotBefore: '' }),
    undefined,
    'begin renewed 0',
  ],
  'that for which it began': [
    { ...wants({ Serial: '03' }), Observed: { ...observed, WantedSerial: '03' } },
    undefined,
    'nothing done',
  ],
  'an earlier one than was found': [
    wants({ Serial: '01', NotBefore: '2026-11-01T00:00:00Z' }),
    undefined,
    'nothing done',
  ],
  'one whose NotBefore was not noted': [
    { Observed: { ...observed, NotBefore: '' } },
    undefined,
    'nothing done',
  ],
  'failed 14 minutes ago': [failed(14), undefined, 'nothing failed 1'],
  'failed 15 minutes ago': [failed(15), undefined, 'begin failed 0'],
  'failed twice, 29 minutes ago': [failed(29, 2), undefined, 'nothing failed 1'],
  'failed twice, 30 minutes ago': [failed(30, 2), undefined, 'begin failed 0'],
  'failed a thousand times, 23 hours ago': [failed(23 * 60, 1000), undefined, 'nothing failed 60'],
  'failed a thousand times, a day ago': [failed(24 * 60, 1000), undefined, 'begin failed 0'],
  'failed ten times, 14 minutes ago before a node': [
    failedOften(14, { NodeFailures: 9, Untouched: true }),
    undefined,
    'nothing untouched 1',
  ],
  'failed ten times, 15 minutes ago before a node': [
    failedOften(15, { NodeFailures: 9, Untouched: true }),
    undefined,
    'begin untouched 0',
  ],
  'not allowed by the owner of the account 14 minutes ago': [
    failedOften(14, { Untouched: true, Error: 'NotAllowedByOwner: web is none of them' }),
    undefined,
    'nothing disallowed 1',
  ],
  'not allowed by the owner of the account 15 minutes ago': [
    failedOften(15, { Untouched: true, Error: 'NotAllowedByOwner: web is none of them' }),
    undefined,
    'begin disallowed 0',
  ],
  'failed ten times, now on a node for the first time': [
    failedOften(14, { NodeFailures: 1 }),
    undefined,
    'nothing failed 1',
  ],
  'failed ten times, now on a node for the second time': [
    failedOften(15, { NodeFailures: 2 }),
    undefined,
    'nothing failed 15',
  ],
  'a node without a record': [{}, one({}), 'begin appeared'],
  'a node that serves it': [{}, one({}, {}), 'nothing done'],
  'a node that serves an older one': [{}, one({}, { VersionId: 'v1' }), 'begin appeared'],
  'a node that was only tried': [{}, one({}, { Outcome: undefined as never }), 'begin appeared'],
  'a node that is back': [{ Status: 'DEGRADED' }, one({}, { Outcome: 'offline' }), 'begin appeared'],
  'a node that is away': [{ Status: 'DEGRADED' }, one(away, { Outcome: 'offline' }), 'nothing unreachable'],
  'a node that runs Windows': [{}, one(windows), 'nothing done'],
  'a node that is not listed any more': [{}, gone, 'nothing done'],
  'a node, listed before the last rollout': [{}, { ...one({}), asOf: 6 }, 'nothing done'],
  'a new node beside one that failed': [failed(1), besideBroken, 'begin appeared'],
  'a new node, where none was reached': [
    failed(1),
    { ...besideBroken, records: [{ ...broken, RolloutNumber: 6 }] },
    'nothing failed 14',
  ],
  'the node that failed': [failed(1), { ...besideBroken, listed: [node('i-2')] }, 'nothing failed 14'],
  'a node that a repair missed 59 minutes ago': [repaired, missed(59), 'nothing missed 1'],
  'a node that a repair missed an hour ago': [repaired, missed(60), 'begin missed 0'],
  'a node that went away during a repair 14 minutes ago': [repaired, wentAway(14), 'nothing appeared 1'],
  'a node that went away during a repair 15 minutes ago': [repaired, wentAway(15), 'begin appeared 0'],
  'a node that went away during a repair before': [repaired, wentAway(14, 6), 'begin appeared'],
  'a node that went away during a request': [{}, wentAway(1), 'begin appeared'],
  'a node that went away during a repair that failed': [failedRepair, wentAway(14), 'nothing appeared 1'],
  'a node that a request missed': [{}, missed(1), 'begin appeared'],
  'a node that was refused for the first time an hour ago': [refusedFor(0), refused(), 'begin refused -45'],
  'one that has been refused for 59 minutes': [refusedFor(59), refused(), 'begin refused -1'],
  'one that has been refused for an hour': [refusedFor(60), refused(), 'begin refused 0'],
  'one that has been refused for 61 minutes': [refusedFor(61), refused(), 'nothing refused 1'],
  'a refused one, not listed': [refusedFor(61), undefined, 'nothing refused 1'],
  'one that has been refused for a year': [refusedFor(525_600), refused(), 'nothing refused 1380'],
  'a refused one, and a new node': [
    refusedFor(525_600),
    nodes([node('i-1'), node('i-2')], [record('i-1', { Outcome: 'refused', Refusal: { Since: before(9) } })]),
    'begin appeared',
  ],
  'a refused one, and renewed': [
    refusedFor(525_600, wants({ Serial: '03', NotBefore: '2026-11-24T00:00:00Z' })),
    refused(),
    'begin renewed 0',
  ],
  'a refused one, paused': [refusedFor(60, { PausedAt: before(1) }), refused(), 'nothing paused'],
  'a refused one that is gone since': [refusedFor(60, { Status: 'INSTALLED' }), undefined, 'nothing done'],
  'one that was refused, went away and is back': [
    { Status: 'DEGRADED' },
    one({}, { Outcome: 'refused', VersionId: 'v1' }),
    'begin appeared',
  ],
  'one that was refused, beside one that failed': [failed(1), refused(), 'nothing failed 14'],
  'a node that a look found drifted': [{}, drifted('foreign'), 'begin drifted 0'],
  'a node that a look found drifted, and is away': [{}, drifted('older', away), 'nothing done'],
  'that, healed once 14 minutes ago': [healedOnce(14), drifted('missing'), 'nothing drifted 1'],
  'that, healed once 15 minutes ago': [healedOnce(15), drifted('damaged'), 'begin drifted 0'],
  'that, healed five times three hours ago': [healedOnce(180, 5), drifted('older'), 'nothing drifted 60'],
  'that, healed a hundred times a day ago': [healedOnce(1440, 100), drifted('older'), 'begin drifted 0'],
  'that, healed a hundred times, and two days of calm': [
    healedOnce(2881, 100),
    drifted('older'),
    'begin drifted 0',
  ],
  'that, not listed': [{ Status: 'DEGRADED', ...healedOnce(5) }, undefined, 'nothing drifted 10'],
  'that, not listed, healed since': [healedOnce(5), undefined, 'nothing done'],
  'a node that drifted, paused': [{ PausedAt: before(1) }, drifted('older'), 'nothing paused'],
  'that, beside a failure that waits': [failed(1), drifted('older'), 'begin drifted 0'],
  'a node whose server is down': [{}, drifted('silent'), 'nothing done'],
  'a node whose name is in other hands': [{}, drifted('taken'), 'nothing done'],
  'a node that no look reached': [{}, drifted('unseen'), 'nothing done'],
  'a bundle that is missing': [lacksBundle, undefined, 'begin unbundled -5'],
  'that, 14 minutes after a rollout': [
    { ...lacksBundle, Observed: { ...observed, At: before(14) } },
    undefined,
    'nothing unbundled 1',
  ],
  'that, and a node away': [{ ...lacksBundle, Status: 'DEGRADED' }, one(away), 'begin unbundled -5'],
  'that, paused': [{ ...lacksBundle, PausedAt: before(1) }, undefined, 'nothing paused'],
  'that, being deleted': [{ ...lacksBundle, Status: 'DELETING' }, undefined, 'nothing deleting'],
  'that, during a rollout': [{ ...lacksBundle, Running: running }, undefined, 'nothing running 10'],
  'that, and a node that fails': [{ ...failed(20, 5), ...lacksBundle }, undefined, 'nothing failed 220'],
  'that, renewed': [
    { ...lacksBundle, ...wants({ Serial: '03', NotBefore: '2026-11-24T00:00:00Z' }) },
    undefined,
    'begin renewed 0',
  ],
  'a bundle that is scheduled for deletion': [withdrawn, undefined, 'nothing withdrawn'],
  'that, and no node': [{ ...withdrawn, Status: 'WAITING' }, undefined, 'nothing withdrawn'],
  'that, and a new node': [withdrawn, one({}), 'begin appeared'],
  'no node': [{ Status: 'WAITING' }, empty, 'nothing empty'],
  'no node, not asked': [{ Status: 'WAITING' }, undefined, 'nothing empty'],
  'a node that serves it, back after a rollout that found none': [foundNone, one({}, {}), 'begin appeared'],
  'some nodes away': [{ Status: 'DEGRADED' }, undefined, 'nothing unreachable'],
  'all nodes away': [{ Status: 'DEGRADED' }, one(away), 'nothing unreachable'],
  'all is well': [{}, undefined, 'nothing done'],
  'all is well, and looked at': [{}, one({}, { Outcome: 'unchanged' }), 'nothing done'],
};

test.each(Object.entries(ROWS))('%s', (_, [fields, known, expected]) => {
  const [state, seen] = typeof known === 'string' ? [known, undefined] : (['not asked', known] as const);
  const { action, reason, at } = next({ ...settled, ...fields }, seen, state, NOW);
  // A node that appears is due since ever.
  const minutes = at && at > new Date(0) ? [(at.getTime() - NOW.getTime()) / 60_000] : [];
  expect([action, reason, ...minutes].join(' ')).toBe(expected);
});

test('every reason has two rows at least, but for those of the stack, which are not of a deployment', () => {
  const rows = Map.groupBy(Object.values(ROWS), ([, , expected]) => expected.split(' ')[1]);
  expect(Object.keys(REASONS).filter((reason) => (rows.get(reason)?.length ?? 0) < 2)).toEqual([
    'off',
    'frozen',
  ]);
});

describe('whatever a deployment is like', () => {
  const time = fc.integer({ min: -3000, max: 100 }).map((minutes) => before(-minutes));
  const serial = fc.constantFrom('01', '02', '03');
  const version = fc.record({
    Generation: fc.integer({ min: 1, max: 3 }),
    Serial: serial,
    NotBefore: fc.constantFrom('', '2026-11-01T00:00:00Z', '2026-11-02T00:00:00Z', '2026-11-03T00:00:00Z'),
  });
  const cause = fc.constantFrom<Wanted['Cause']>('REQUEST', 'RENEWAL', 'RECONCILE');
  const deployments: fc.Arbitrary<Deployment> = fc
    .record({
      Status: fc.constantFrom<Deployment['Status']>(
        'ROLLING_OUT',
        'INSTALLED',
        'WAITING',
        'DEGRADED',
        'FAILED',
        'DELETING',
      ),
      PausedAt: fc.option(time, { nil: undefined }),
      Wanted: fc.option(fc.record({ version, At: time, Cause: cause }), { nil: undefined }),
      Observed: fc.option(
        fc.record({
          version,
          At: time,
          Cause: cause,
          Failures: fc.integer({ min: 0, max: 12 }),
          Outcome: fc.constantFrom<Observed['Outcome']>('INSTALLED', 'DEGRADED', 'WAITING', 'FAILED'),
        }),
        { nil: undefined },
      ),
      Running: fc.option(
        fc.record({
          version,
          BeganAt: time,
          StartedAt: fc.option(time, { nil: undefined }),
          Cause: fc.constantFrom<Running['Cause']>('REQUEST', 'DRY_RUN', 'DRIFT'),
        }),
        { nil: undefined },
      ),
      BundleFinding: fc.option(
        fc.record({ Kind: fc.constantFrom<BundleFinding['Kind']>('missing', 'deletion'), Since: time }),
        { nil: undefined },
      ),
    })
    .map(({ Wanted: w, Observed: o, Running: r, ...fields }) => {
      const made = {
        ...settled,
        ...fields,
        Wanted: w && { ...wanted, ...w.version, At: w.At, Cause: w.Cause },
        Observed: o && { ...observed, ...omit(o, 'version'), ...o.version },
        Running: r && { ...running, ...omit(r, 'version'), ...r.version },
      };
      return made as Deployment;
    });
  const outcome = fc.constantFrom<NodeRecord['Outcome'] | undefined>(
    'installed',
    'unchanged',
    'failed',
    'offline',
    'not-reached',
    undefined,
  );
  const known: fc.Arbitrary<Nodes | undefined> = fc.option(
    fc
      .array(
        fc.record({
          Online: fc.boolean(),
          listed: fc.boolean(),
          Outcome: outcome,
          At: time,
          v: fc.constantFrom('v1', 'v2'),
        }),
        { maxLength: 3 },
      )
      .map((found) =>
        nodes(
          found.flatMap(({ Online, listed }, index) => (listed ? [node(`i-${index}`, { Online })] : [])),
          found.map(({ Outcome, At, v }, index) =>
            record(`i-${index}`, { Outcome, At, VersionId: v } as Partial<NodeRecord>),
          ),
        ),
      ),
    { nil: undefined },
  );
  const execution = fc.constantFrom<ExecutionState>('running', 'ended', 'unknown', 'not asked');
  const check = (
    property: (deployment: Deployment, found: Nodes | undefined, state: ExecutionState) => void,
  ) => fc.assert(fc.property(deployments, known, execution, property), { numRuns: 3000, seed: 20261124 });

  test('none begins while one runs, while it is paused, deleted, or only tried', () => {
    check((deployment, found, state) => {
      const { action } = next(deployment, found, state, NOW);
      const { Running, PausedAt, Status, Wanted } = deployment;
      if (Running || PausedAt || Status === 'DELETING' || !Wanted) {
        expect(action).not.toBe('begin');
      }
      if (!Running || Status === 'DELETING') {
        expect(['nothing', 'begin']).toContain(action);
      }
    });
  });

  test('what begins is ahead, or repairs: the last rollout failed, a node lacks the version, or there is no bundle', () => {
    check((deployment, found, state) => {
      const { action, reason } = next(deployment, found, state, NOW);
      const isWanted = reason === 'asked' || reason === 'renewed';
      if (action === 'begin') {
        expect(isWanted).toBe(isAhead(deployment.Wanted as Wanted, deployment.Observed));
        const isRepeat = ['failed', 'untouched', 'disallowed'].includes(reason);
        const isBundle = reason === 'unbundled' && deployment.BundleFinding?.Kind === 'missing';
        expect(isWanted || isRepeat || isBundle || found !== undefined).toBe(true);
      }
    });
  });

  test('what is to be done stays to be done, and comes at the time that was said', () => {
    check((deployment, found, state) => {
      const decision = next(deployment, found, state, NOW);
      const later = next(deployment, found, state, new Date(NOW.getTime() + 48 * 3_600_000));
      if (decision.action !== 'nothing') {
        expect(later.action).toBe(decision.action);
      } else if (decision.at && !deployment.Running) {
        expect(next(deployment, found, state, decision.at).action).toBe('begin');
        expect(decision.at > NOW).toBe(true);
      } else if (!deployment.Running) {
        expect(later).toEqual(decision);
      }
    });
  });

  test('a person who asks is heard: what they want is ahead, or waits, or is under way', () => {
    check((deployment) => {
      const asked = { ...by, CertificateArn: 'arn:web', Serial: '02', NotBefore: '2026-11-02T00:00:00Z' };
      const found = wantedAfterRequest(deployment, order, asked, NOW);
      const after = { ...deployment, Wanted: found };
      const isUnderway = after.Running !== undefined && !isAhead(found, after.Running);
      expect(isUnderway || isAhead(found, after.Observed)).toBe(true);
      // Asked again at once, nothing is added.
      expect(wantedAfterRequest(after, order, asked, NOW)).toEqual(found);
      expect(found.Generation).toBeGreaterThanOrEqual(deployment.Wanted?.Generation ?? 1);
    });
  });

  test('a renewal only ever goes forward, and only on its own certificate', () => {
    check((deployment) => {
      const noticed = {
        ...by,
        Cause: 'RENEWAL' as const,
        CertificateArn: 'arn:web',
        Serial: '03',
        NotBefore: '2026-11-02T00:00:00Z',
      };
      const found = wantedAfterRenewal(deployment, noticed, NOW);
      if (found) {
        expect(found.NotBefore >= (deployment.Wanted?.NotBefore as string)).toBe(true);
        expect(found.Generation).toBe(deployment.Wanted?.Generation);
        expect(wantedAfterRenewal({ ...deployment, Wanted: found }, noticed, NOW)).toBeUndefined();
      }
      expect(
        wantedAfterRenewal({ ...deployment, CertificateArn: 'arn:other' }, noticed, NOW),
      ).toBeUndefined();
    });
  });
});

test('a person who asks while a healing runs gets a rollout to all nodes', () => {
  const asked = { ...by, CertificateArn: 'arn:web', Serial: '02', NotBefore: wanted.NotBefore };
  const during = (Cause: Running['Cause']) =>
    wantedAfterRequest({ ...settled, Running: { ...running, Cause } }, order, asked, NOW).Generation;
  expect([during('DRIFT'), during('RECONCILE')]).toEqual([3, 2]);
});

describe('what waits', () => {
  const more = { ...wanted, Generation: 3 };
  test.each<[string, Partial<Deployment>, Wanted | undefined]>([
    ['nothing, when all is observed', {}, undefined],
    ['nothing, when it is under way', { Wanted: more, Running: { ...running, Generation: 3 } }, undefined],
    ['what was asked for while another rollout runs', { Wanted: more, Running: running }, more],
    [
      'what was asked for while a dry run runs',
      { Wanted: more, Running: { ...running, Generation: 0, Cause: 'DRY_RUN' } },
      more,
    ],
    [
      'nothing, behind a dry run beside what is observed',
      { Running: { ...running, Generation: 0, Cause: 'DRY_RUN' } },
      undefined,
    ],
    ['what was asked for before a pause', { Wanted: more, PausedAt: before(1) }, more],
  ])('%s', (_, fields, expected) => {
    expect(followUpOf({ ...settled, ...fields })).toEqual(expected);
  });

  test('stays the rollout of the person who asked for it when the certificate is renewed meanwhile', () => {
    const renewal = {
      CertificateArn: 'arn:web',
      Serial: '03',
      NotBefore: '2026-11-20T00:00:00Z',
      Cause: 'RENEWAL',
      CorrelationId: 'r',
    } as const;
    const waiting = { ...settled, Wanted: { ...more, CorrelationId: 'person' }, Running: running };
    expect(wantedAfterRenewal(waiting, renewal, NOW)).toMatchObject({
      Serial: '03',
      Cause: 'REQUEST',
      CorrelationId: 'person',
    });
    expect(wantedAfterRenewal(settled, renewal, NOW)).toMatchObject({
      Serial: '03',
      Cause: 'RENEWAL',
      CorrelationId: 'r',
    });
  });
});

function omit<T extends object, K extends keyof T>(from: T, name: K): Omit<T, K> {
  const { [name]: _, ...rest } = from;
  return rest;
}
