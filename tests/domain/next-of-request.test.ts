import { CertificateStatus, FailureReason } from '@aws-sdk/client-acm';
import { describe, expect, test } from '@jest/globals';
import {
  type CertificateRequest,
  idempotencyToken,
  isSameWish,
  nextRequestNumber,
  type RequestedDeployment,
  requestExecutionName,
  type ValidationRecord,
} from '../../functions/domain/certificate-request.ts';
import { deploymentIdOf } from '../../functions/domain/deployment.ts';
import {
  FAILURE_REASONS,
  nextOfRequest,
  REQUEST_REASONS,
  type RequestedCertificate,
} from '../../functions/domain/next-of-request.ts';
import {
  isOverdue,
  lookAt,
  requestAlert,
  restartAt,
  unregisteredText,
  withStopped,
} from '../../functions/domain/request-repair.ts';

const NOW = new Date('2026-11-24T12:00:00Z');
const ago = (seconds: number) => `${new Date(NOW.getTime() - seconds * 1000).toISOString().slice(0, 19)}Z`;

const RECORD: ValidationRecord = {
  Name: '_a.www.example.com.',
  Type: 'CNAME',
  Value: '_b.acm-validations.aws.',
  DomainNames: ['www.example.com'],
};
const WRITTEN = { HostedZoneId: 'Z1', Account: '111122223333', At: ago(60) };
const DEPLOYMENT = { TargetTagKey: 'acm-export', TargetTagValue: 'web' } as RequestedDeployment;
const REQUEST: CertificateRequest = {
  CertName: 'web',
  RequestNumber: 1,
  Status: 'VALIDATING',
  Wish: { DomainNames: ['www.example.com'], KeyAlgorithm: 'RSA_2048', Tags: {}, Deployments: [DEPLOYMENT] },
  CorrelationId: 'c',
  CreatedAt: ago(700),
  UpdatedAt: ago(60),
  CertificateArn: 'arn:web',
  AskedAt: ago(600),
};
const { CertificateArn: _, AskedAt: __, ...UNASKED } = REQUEST;
const PENDING: RequestedCertificate = { Status: 'PENDING_VALIDATION', Records: [RECORD] };
const ISSUED = { ...PENDING, Status: 'ISSUED' };
const none = { Wish: { ...REQUEST.Wish, Deployments: [] } };

type Case = [
  string,
  CertificateRequest,
  RequestedCertificate | 'gone' | undefined,
  boolean,
  Partial<ReturnType<typeof nextOfRequest>>,
];

const CASES: Case[] = [
  ['is not asked for yet', UNASKED, undefined, false, { action: 'ask', reason: 'unasked' }],
  [
    'has no records yet',
    REQUEST,
    { ...PENDING, Records: [] },
    true,
    { action: 'wait', reason: 'unplanned', waitSeconds: 60 },
  ],
  [
    'has records, and no zone',
    REQUEST,
    PENDING,
    false,
    { action: 'wait', reason: 'unseen', waitSeconds: 60 },
  ],
  ['has records, and zones', REQUEST, PENDING, true, { action: 'write', reason: 'writing', waitSeconds: 60 }],
  [
    'has written what is not in sync',
    { ...REQUEST, Written: { [RECORD.Name]: WRITTEN } },
    PENDING,
    true,
    { action: 'write', reason: 'writing' },
  ],
  [
    'has written another record',
    { ...REQUEST, Written: { other: { ...WRITTEN, InSyncAt: ago(30) } } },
    PENDING,
    true,
    { action: 'write', reason: 'writing' },
  ],
  [
    'could not write',
    { ...REQUEST, WritingFailure: 'No.' },
    PENDING,
    true,
    { action: 'write', reason: 'unwritten' },
  ],
  [
    'has written everything',
    { ...REQUEST, Written: { [RECORD.Name]: { ...WRITTEN, InSyncAt: ago(30) } } },
    PENDING,
    true,
    { action: 'wait', reason: 'written' },
  ],
  [
    'is shown without a look',
    { ...REQUEST, Records: [RECORD] },
    undefined,
    false,
    { action: 'wait', reason: 'unseen' },
  ],
  ['is issued', REQUEST, ISSUED, true, { action: 'register', reason: 'issued' }],
  [
    'is issued, without deployments',
    { ...REQUEST, ...none },
    ISSUED,
    true,
    { action: 'end', reason: 'done' },
  ],
  [
    'registers, and is looked at',
    { ...REQUEST, Status: 'REGISTERING' },
    undefined,
    true,
    { action: 'register' },
  ],
  [
    'is not known yet',
    { ...REQUEST, AskedAt: ago(299) },
    'gone',
    true,
    { action: 'wait', reason: 'unplanned', waitSeconds: 10 },
  ],
  ['is gone', { ...REQUEST, AskedAt: ago(300) }, 'gone', true, { action: 'fail', reason: 'gone' }],
  [
    'is gone while it registers',
    { ...REQUEST, Status: 'REGISTERING' },
    'gone',
    true,
    { action: 'fail', reason: 'gone' },
  ],
  [
    'was revoked while it registers',
    { ...REQUEST, Status: 'REGISTERING' },
    { ...PENDING, Status: 'REVOKED' },
    true,
    { action: 'fail' },
  ],
  ['is done', { ...REQUEST, Status: 'DONE' }, PENDING, true, { action: 'end', reason: 'done' }],
  [
    'is done in part',
    { ...REQUEST, Status: 'DONE', Error: 'x' },
    PENDING,
    true,
    { action: 'end', reason: 'refused' },
  ],
  [
    'has failed',
    { ...REQUEST, Status: 'FAILED', Error: 'x' },
    ISSUED,
    true,
    { action: 'end', reason: 'failed' },
  ],
];

test.each(CASES)('a request that %s', (_what, request, certificate, hasZones, expected) => {
  const decision = nextOfRequest(request, certificate, { hasZones, now: NOW });
  expect(decision).toMatchObject(expected);
  expect(decision.words).toBe(REQUEST_REASONS[decision.reason]);
  expect(decision.error === undefined).toBe(decision.action !== 'fail');
});

test('each reason has a case, but for what only a failure of ACM gives', () => {
  const reached = new Set(
    CASES.map(
      ([, request, certificate, hasZones]) =>
        nextOfRequest(request, certificate, { hasZones, now: NOW }).reason,
    ),
  );
  expect([...reached].sort()).toEqual(Object.keys(REQUEST_REASONS).sort());
});

test.each([
  [0, 10],
  [99, 10],
  [110, 11],
  [2990, 299],
  [3600, 300],
  [200_000, 300],
])('after %i seconds it looks again in %i', (passed, waitSeconds) => {
  const request = { ...REQUEST, AskedAt: ago(passed) };
  expect(nextOfRequest(request, PENDING, { hasZones: false, now: NOW }).waitSeconds).toBe(waitSeconds);
});

describe('what ACM refuses', () => {
  test('every reason of the SDK has words, and no other', () => {
    expect(Object.keys(FAILURE_REASONS).sort()).toEqual(Object.keys(FailureReason).sort());
  });

  test.each([...Object.keys(FailureReason), undefined, 'A_NEW_ONE', 'constructor'])(
    '%s says what to do',
    (reason) => {
      const failed = { ...PENDING, Status: 'FAILED', ...(reason ? { FailureReason: reason } : {}) };
      const { action, error = '' } = nextOfRequest(REQUEST, failed, { hasZones: true, now: NOW });
      expect(action).toBe('fail');
      expect(error).toContain(`(${reason ?? 'OTHER'})`);
      expect(error).toMatch(/POST (the request again|a request without)/);
      expect(error).not.toMatch(/undefined|\.\.|\s\s/);
    },
  );

  test.each(Object.keys(CertificateStatus))('every status of ACM is known: %s', (Status) => {
    const { action, error } = nextOfRequest(REQUEST, { ...PENDING, Status }, { hasZones: false, now: NOW });
    const expected = { PENDING_VALIDATION: 'wait', ISSUED: 'register' }[Status] ?? 'fail';
    expect(action).toBe(expected);
    expect(error ?? 'POST the request again').toContain('POST the request again');
  });

  test('a status that is not known is waited for', () => {
    expect(nextOfRequest(REQUEST, { ...PENDING, Status: 'NEW' }, { hasZones: false, now: NOW }).action).toBe(
      'wait',
    );
  });
});

describe('names of a request', () => {
  test('token and execution have the forms that AWS takes, and differ for each request', () => {
    const longest = `a${'.'.repeat(62)}b`;
    const all = [
      { CertName: 'web', RequestNumber: 1 },
      { CertName: 'web', RequestNumber: 2 },
      { CertName: 'web2', RequestNumber: 1 },
      { CertName: longest, RequestNumber: 999_999_999_999 },
    ];
    for (const [of, form] of [
      [idempotencyToken, /^\w{1,32}$/],
      [requestExecutionName, /^[A-Za-z0-9_-]{1,80}$/],
    ] as const) {
      const names = all.map((request) => of(request));
      expect(new Set(names).size).toBe(all.length);
      expect(names.filter((name) => !form.test(name))).toEqual([]);
      expect(all.map((request) => of(request))).toEqual(names);
    }
    const [first] = all as [(typeof all)[number]];
    const again = { ...first, Executions: 2 };
    expect(requestExecutionName(again)).not.toBe(requestExecutionName(first));
    expect(idempotencyToken(again)).toBe(idempotencyToken(first));
  });

  test('a number is never used twice, also where the inventory was lost or the clock goes back', () => {
    const time = NOW.getTime() / 1000;
    expect(nextRequestNumber(undefined, NOW)).toBe(time);
    expect(nextRequestNumber(5, NOW)).toBe(time);
    expect(nextRequestNumber(time, NOW)).toBe(time + 1);
    expect(nextRequestNumber(time + 100, NOW)).toBe(time + 101);
  });

  test('a wish is the same whatever the order of its names, and no other', () => {
    const wish = { ...REQUEST.Wish, DomainNames: ['a.b', 'c.d'], Tags: { x: 'y' } };
    expect(isSameWish(wish, { ...wish, DomainNames: ['c.d', 'a.b'] })).toBe(true);
    for (const other of [
      { DomainNames: ['a.b'] },
      { DomainNames: ['a.b', 'c.d', 'e.f'] },
      { KeyAlgorithm: 'EC_secp384r1' as const },
      { Tags: {} },
      { Deployments: [] },
    ]) {
      expect(isSameWish(wish, { ...wish, ...other })).toBe(false);
    }
  });
});

describe('what died', () => {
  test.each([
    [1, 15],
    [2, 30],
    [3, 60],
    [4, 60],
    [60, 60],
  ])('after %i executions it is continued in %i minutes', (Executions, minutes) => {
    const at = restartAt({ ...REQUEST, Executions, UpdatedAt: ago(0) });
    expect(at.getTime() - NOW.getTime()).toBe(minutes * 60_000);
  });

  test('where it was seen to have died, it is continued so long after it was last heard of', () => {
    const heard = { ...REQUEST, UpdatedAt: ago(600) };
    const noted = { ...withStopped(heard, { Execution: 1, At: ago(500), Why: 'x' }), UpdatedAt: ago(0) };
    expect(restartAt(noted)).toEqual(restartAt(heard));
    expect(lookAt(noted)).toEqual(restartAt(heard));
    // The next one works, and is looked after as the first.
    expect(lookAt({ ...noted, Executions: 2 }).getTime() - NOW.getTime()).toBe(15 * 60_000);
  });

  test('where the certificate is issued, what is not registered is named, and how to register it', () => {
    const target = { TargetTagKey: 'k', TargetAccount: '111122223333', TargetRegion: 'eu-central-1' };
    const Deployments = ['a', 'b'].map((TargetTagValue) => ({ ...target, TargetTagValue }));
    const ids = Deployments.map((asked) => deploymentIdOf(asked, 'web'));
    const request = { ...REQUEST, CertName: 'web', Wish: { ...REQUEST.Wish, Deployments } };
    const text = unregisteredText({ ...request, Registered: [ids[0] as string] }, 'E: no.');
    expect(text).toContain(`deployment ${ids[1]}`);
    expect(text).not.toContain(ids[0]);
    expect(text).toMatch(/E: no\. Register .* by hand: POST …\/deployments, with CertificateArn arn:web/);
    expect(unregisteredText({ ...request, Registered: ids }, 'E: no.')).toBeUndefined();
  });

  test('it is given up when ACM would have ended it, and not before it was continued once', () => {
    const old = { ...REQUEST, AskedAt: ago(74 * 3600 + 1), Executions: 2 };
    expect(isOverdue(old, NOW)).toBe(true);
    expect(isOverdue({ ...old, Executions: 1 }, NOW)).toBe(false);
    expect(isOverdue({ ...old, AskedAt: ago(74 * 3600) }, NOW)).toBe(false);
    const { AskedAt: _, ...unasked } = old;
    expect(isOverdue({ ...unasked, CreatedAt: ago(74 * 3600 + 1) }, NOW)).toBe(true);
  });

  test('a message says what, where, since when and what to do; none where all went well', () => {
    expect(requestAlert({ ...REQUEST, Status: 'DONE' })).toBeUndefined();
    const failed = requestAlert({ ...REQUEST, Status: 'FAILED', Error: 'ACM says no.', EndedAt: ago(5) });
    expect(failed).toEqual({
      Subject: 'Certificate request of web failed',
      What: 'The request for a certificate has failed. ACM says no.',
      Where: 'name web; domain names www.example.com; arn:web',
      Since: ago(5),
      WhatToDo: 'Do what "What" says. GET /certificates/web shows the request.',
    });
    const DomainNames = Array.from({ length: 12 }, (_, at) => `${at}.example.com`);
    const many = requestAlert({
      ...REQUEST,
      Wish: { ...REQUEST.Wish, DomainNames },
      Status: 'DONE',
      Error: 'x',
    });
    expect(many?.Where).toMatch(/9\.example\.com and 2 more/);
    expect(many?.WhatToDo).toContain('/certificates/web/deployments');
  });
});
