import { describe, expect, test } from '@jest/globals';
import { bundleAlert, bundleFinding, isBundleDue, isBundleTold } from '../../functions/domain/bundle.ts';
import type { BundleFinding, Deployment, Observed, Running } from '../../functions/domain/deployment.ts';
import type { Decision } from '../../functions/domain/next.ts';

const NOW = new Date('2026-11-24T18:30:00Z');
const days = (count: number) => new Date(NOW.getTime() + count * 86_400_000);
const text = (date: Date) => `${date.toISOString().slice(0, 19)}Z`;

/** Delivered to nodes, in an account whose hour is from 18 to 19. */
const settled = {
  DeploymentId: '0'.repeat(24),
  CertName: 'web',
  CertificateArn: 'arn:web',
  TargetAccount: '444455556666',
  TargetRegion: 'eu-central-1',
  TargetTagKey: 'acm-export',
  TargetTagValue: 'web',
  Delivery: 'nodes',
  Status: 'INSTALLED',
  VersionId: 'v1',
} as Deployment;
const missing: BundleFinding = { Kind: 'missing', Since: text(days(-1)) };
const deletion: BundleFinding = { Kind: 'deletion', Since: text(days(-1)), DeletableFrom: text(days(6)) };
const elsewhere = { TargetAccount: '444455556667' };

describe('a bundle is looked at', () => {
  test.each<[string, Partial<Deployment>, boolean]>([
    ['in the hour of its account', {}, true],
    ['not in another hour', elsewhere, false],
    ['in each hour, where readers use it', { ...elsewhere, Delivery: 'secret' }, true],
    ['in each hour, where something was found', { ...elsewhere, BundleFinding: missing }, true],
    ['also while it is paused', { PausedAt: text(NOW) }, true],
    ['also when its last rollout failed', { Status: 'FAILED' }, true],
    [
      'where one was stored, and no node serves it',
      without({ Observed: { VersionId: 'v1' } as Observed }),
      true,
    ],
    ['not before there was one', without({}), false],
    [
      'not before there was one, where its first rollout failed',
      without({ Observed: {} as Observed }),
      false,
    ],
    ['not during a rollout', { Running: {} as Running, BundleFinding: missing }, false],
    ['not while a POST restores it', { RestoreBundle: true, Delivery: 'secret' }, false],
  ])('%s', (_, fields, expected) => {
    expect(isBundleDue({ ...settled, ...fields }, NOW)).toBe(expected);
  });

  test('once in 24 hours', () => {
    const hours = Array.from({ length: 48 }, (_, hour) => new Date(NOW.getTime() + hour * 3_600_000));
    expect(hours.flatMap((hour, index) => (isBundleDue(settled, hour) ? [index] : []))).toEqual([0, 24]);
  });
});

function without(fields: Partial<Deployment>): Partial<Deployment> {
  return { VersionId: undefined, ...fields } as never;
}

describe('a look finds', () => {
  const told = { ToldAt: text(days(-2)) };
  const now = { Since: text(NOW) };
  test.each<[string, BundleFinding | undefined, Date | 'there' | 'gone', BundleFinding | undefined]>([
    ['nothing', undefined, 'there', undefined],
    ['nothing any more', missing, 'there', undefined],
    ['none', undefined, 'gone', { Kind: 'missing', ...now }],
    ['none, as before', { ...missing, ...told }, 'gone', { ...missing, ...told }],
    ['none, after its deletion was told', { ...deletion, ...told }, 'gone', { Kind: 'missing', ...now }],
    [
      'a deletion that was scheduled a day ago',
      undefined,
      days(-1),
      { Kind: 'deletion', Since: text(days(-1)), DeletableFrom: text(days(6)) },
    ],
    ['that, as before', { ...deletion, ...told }, days(-1), { ...deletion, ...told }],
    [
      'a deletion that is scheduled for a day to come',
      undefined,
      days(3),
      { Kind: 'deletion', ...now, DeletableFrom: text(days(3)) },
    ],
    [
      'that, as before',
      { ...deletion, ...told },
      days(3),
      { Kind: 'deletion', Since: deletion.Since, ...told, DeletableFrom: text(days(3)) },
    ],
    [
      'a deletion of what was missing',
      { ...missing, ...told },
      days(-1),
      { Kind: 'deletion', Since: text(days(-1)), DeletableFrom: text(days(6)) },
    ],
  ])('%s', (_, known, found, expected) => {
    const secret = found === 'gone' ? undefined : found === 'there' ? {} : { DeletedDate: found };
    expect(bundleFinding(known, secret, NOW)).toEqual(expected);
  });
});

describe('people', () => {
  const begins: Decision = { action: 'begin', reason: 'unbundled', at: NOW };
  const waits: Decision = { action: 'nothing', reason: 'untouched', at: days(0.1) };
  const paused: Decision = { action: 'nothing', reason: 'paused' };
  const since = (finding: BundleFinding, hours: number) => ({
    BundleFinding: { ...finding, ToldAt: text(days(-hours / 24)) },
  });
  test.each<[string, Partial<Deployment>, Decision, boolean]>([
    ['are told of a deletion', { BundleFinding: deletion }, { action: 'nothing', reason: 'withdrawn' }, true],
    ['are told of it during a pause', { BundleFinding: deletion }, paused, true],
    ['are told of it while failures are repeated', { BundleFinding: deletion }, waits, true],
    ['are not told of it again within a day', since(deletion, 23), paused, false],
    ['are told of it again a day later', since(deletion, 24), paused, true],
    ['are not told of what a rollout is about to mend', { BundleFinding: missing }, begins, false],
    ['nor of what is tried again, as they know of the failure', { BundleFinding: missing }, waits, false],
    ['are told of it where nothing begins', { BundleFinding: missing }, paused, true],
    [
      'are told where readers may need another ARN',
      { BundleFinding: missing, Delivery: 'secret' },
      begins,
      true,
    ],
    ['once a day', { ...since(missing, 23), Delivery: 'secret' }, begins, false],
  ])('%s', (_, fields, decision, expected) => {
    expect(isBundleTold({ ...settled, ...fields }, decision, NOW)).toBe(expected);
  });

  test('read in one message which bundles, where, since when, until when, and what to do', () => {
    const found = Array.from({ length: 12 }, (_, index) => ({
      ...settled,
      DeploymentId: `${index}`.padStart(24, '0'),
      BundleFinding: deletion,
    }));
    const message = bundleAlert(found, 'acm-export');
    expect(message).toMatchObject({
      Subject: 'Bundle of web is scheduled for deletion: acm-export=web and 11 more',
      Where: expect.stringMatching(/^account 444455556666, Region eu-central-1.*and more/),
      Since: deletion.Since,
      WhatToDo: expect.stringMatching(
        /To restore the bundle, POST the deployment again .* DELETE the deployment/,
      ),
    });
    const named = message.What.match(/acm-export\/web\/\d{24} may be deleted for good from \S+ on/g);
    expect(named).toHaveLength(10);
    expect(named?.[9]).toBe(
      `acm-export/web/${'9'.padStart(24, '0')} may be deleted for good from ${deletion.DeletableFrom} on`,
    );
  });

  test('read of a missing one that its ARN changes, and no date', () => {
    const { Subject, What, WhatToDo } = bundleAlert([{ ...settled, BundleFinding: missing }], 'acm-export');
    expect(Subject).toBe('Bundle of web is missing: acm-export=web');
    expect(What).toMatch(new RegExp(`another ARN.* acm-export/web/${'0'.repeat(24)}\\.$`));
    expect(WhatToDo).toContain('resume');
  });
});
