import {
  ChangeResourceRecordSetsCommand,
  type ResourceRecordSet,
  Route53Client,
  type RRType,
} from '@aws-sdk/client-route-53';
import { PutCommand } from '@aws-sdk/lib-dynamodb';
import { beforeEach, describe, expect, test } from '@jest/globals';
import type { CertificateRequest, ValidationRecord } from '../../functions/domain/certificate-request.ts';
import { centralStack, resourceOf } from '../templates/stacks.ts';
import { CENTRAL, DNS, MEMBER, REGION, System } from './support/system.ts';

let system: System;
let zone: ReturnType<typeof createZone>;
let other: ReturnType<typeof createZone>;

function createZone(account: string, name: string) {
  const created = system.cloud.services.route53.createZone(account, name);
  system.cloud.publicDns.delegate(name, created.nameServers);
  return created;
}

const allow = (account: string, ...zones: { arn: string }[]) => system.addDns(account, zones);

beforeEach(async () => {
  system = await System.create();
  system.requestRules = ['example.com', 'example.org', 'example.net', 'example.info']
    .flatMap((domain) => [domain, `*.${domain}`, `.${domain}`].map((allowed) => `www=${allowed}`))
    .join();
  zone = createZone(DNS, 'example.com');
  other = createZone(MEMBER, 'example.org');
});

const NUMBER = 7;
/** An account that has nothing to do with the others. */
const STRANGER = '999988887777';

/** The record that ACM of an account names for names that share one. */
const recordOf = (...DomainNames: string[]) => recordIn(CENTRAL, ...DomainNames);
const recordIn = (account: string, ...DomainNames: string[]) => ({
  ...system.cloud.services.acm.recordOf(account, DomainNames[0] ?? ''),
  DomainNames,
});

/** A certificate that waits for its records. */
const certificateOf = (names: string[], account = CENTRAL, region = REGION) =>
  system.cloud.services.acm.add(account, region, { names, status: 'PENDING_VALIDATION' });

/**
 * A request, as the inventory has it.
 *
 * @param records those that ACM names for its certificate; undefined where ACM was not asked yet.
 */
async function request(
  records: ValidationRecord[] | undefined,
  changes: Partial<CertificateRequest> = {},
): Promise<void> {
  const now = system.clock.now().toISOString();
  const CertificateArn = records && (await certificateOf(records.flatMap(({ DomainNames }) => DomainNames)));
  const item: CertificateRequest = {
    CertName: 'www',
    RequestNumber: NUMBER,
    Status: 'VALIDATING',
    Wish: { DomainNames: [], KeyAlgorithm: 'RSA_2048', Tags: {}, Deployments: [] },
    CorrelationId: 'c',
    CreatedAt: now,
    UpdatedAt: now,
    ...(CertificateArn ? { CertificateArn } : {}),
    ...changes,
  };
  const key = { DeploymentId: 'request#www', Item: 'request' };
  await system.client.send(
    new PutCommand({ TableName: system.table, Item: { ...key, Asked: { ...item, Revision: 1 } } }),
  );
}

const write = (RequestNumber = NUMBER) =>
  system.function('write-validation-records')({ CertName: 'www', RequestNumber });
const noted = async () => {
  const found = await system.inventory.requests.get('www');
  return { Written: found?.Written, WritingFailure: found?.WritingFailure };
};
/** Seconds from now to the next look that GET shows. */
const shownWait = async () => {
  const { NextLookAt = '' } = (await system.inventory.requests.get('www')) ?? {};
  // Fractions of seconds are not shown.
  return Math.ceil((Date.parse(NextLookAt) - system.clock.now().getTime()) / 1000);
};
const calls = (operation: string) =>
  system.cloud.record.calls.filter(
    (call) => call.operation === operation && call.source === 'function acm-export-write-validation-records',
  );
const writes = () => calls('route53.ChangeResourceRecordSets');
const cnamesOf = (of: { id: string }) =>
  [...system.cloud.services.route53.zone(of.id).records.values()]
    .filter(({ type }) => type === 'CNAME')
    .map(({ name, values }) => `${name} ${values}`);
const shown = ({ Name, Value }: { Name: string; Value: string }) => `${Name} ${Value}`;

/** A record set that a person made. */
async function put(of: { id: string; account: string }, name: string, type: RRType, value: string) {
  await putSet(of, { Name: name, Type: type, TTL: 60, ResourceRecords: [{ Value: value }] });
}

async function putSet(of: { id: string; account: string }, ResourceRecordSet: ResourceRecordSet) {
  const { credentials } = system.cloud.createUser(of.account, 'person', [
    { Statement: { Effect: 'Allow', Action: '*', Resource: '*' } },
  ]);
  const client = system.cloud.client(Route53Client, { region: REGION, credentials });
  const Changes = [{ Action: 'UPSERT' as const, ResourceRecordSet }];
  await client.send(new ChangeResourceRecordSetsCommand({ HostedZoneId: of.id, ChangeBatch: { Changes } }));
}

describe('records', () => {
  beforeEach(async () => {
    await allow(DNS, zone);
    await allow(MEMBER, other);
  });

  test('are written into the zones of all accounts, one change a zone, and noted until they are everywhere', async () => {
    const records = [
      recordOf('example.com', '*.example.com'),
      recordOf('www.example.com'),
      recordOf('*.example.org'),
    ];
    await request(records);
    expect(await write()).toEqual({ CertName: 'www', RequestNumber: NUMBER, WaitSeconds: 10 });
    expect(cnamesOf(zone)).toEqual(expect.arrayContaining(records.slice(0, 2).map(shown)));
    expect(cnamesOf(other)).toEqual(records.slice(2).map(shown));
    expect(writes()).toHaveLength(2);
    const written = (of: { id: string; account: string }) => ({
      HostedZoneId: of.id,
      Account: of.account,
      At: expect.any(String),
      ChangeId: expect.stringMatching(/^C/),
    });
    const Written = {
      [records[0]?.Name ?? '']: written(zone),
      [records[1]?.Name ?? '']: written(zone),
      [records[2]?.Name ?? '']: written(other),
    };
    expect(await noted()).toEqual({ Written, WritingFailure: undefined });

    system.advance({ seconds: 10 });
    expect((await write()).WaitSeconds).toBe(10);
    expect(await noted()).toEqual({ Written, WritingFailure: undefined });

    system.advance({ seconds: 60 });
    expect((await write()).WaitSeconds).toBe(30);
    const inSync = Object.entries(Written).map(([name, one]) => [
      name,
      { ...one, InSyncAt: expect.any(String) },
    ]);
    expect((await noted()).Written).toEqual(Object.fromEntries(inSync));
    expect(writes()).toHaveLength(2);
    // Every change was asked for once a task.
    expect(calls('route53.GetChange')).toHaveLength(4);

    await write();
    expect(writes()).toHaveLength(2);
    expect(calls('route53.GetChange')).toHaveLength(4);
  });

  test('are not written where they are already, in whatever case', async () => {
    const record = recordOf('www.example.com');
    await put(zone, record.Name.toUpperCase(), 'CNAME', record.Value.replace(/\.$/, '').toUpperCase());
    await request([record]);
    expect((await write()).WaitSeconds).toBe(30);
    const now = expect.any(String);
    const there = { HostedZoneId: zone.id, Account: DNS, At: now, InSyncAt: now };
    expect(await noted()).toEqual({ Written: { [record.Name]: there }, WritingFailure: undefined });
    expect(writes()).toHaveLength(0);
  });

  test('do not overwrite another value, and others are written', async () => {
    const [taken, free] = [recordOf('www.example.com'), recordOf('api.example.com')];
    await put(zone, taken.Name, 'CNAME', 'other.example.net.');
    await request([taken, free]);
    expect((await write()).WaitSeconds).toBe(10);
    expect(cnamesOf(zone)).toEqual(expect.arrayContaining([`${taken.Name} other.example.net.`, shown(free)]));
    const { Written, WritingFailure } = await noted();
    expect(Object.keys(Written ?? {})).toEqual([free.Name]);
    expect(WritingFailure).toMatch(
      new RegExp(`${zone.id} of account ${DNS} has another record at ${taken.Name}: CNAME other.example.net`),
    );

    // A person has corrected it.
    await put(zone, taken.Name, 'CNAME', taken.Value);
    await write();
    expect(await noted()).toMatchObject({
      Written: { [taken.Name]: { InSyncAt: expect.any(String) } },
      WritingFailure: undefined,
    });
  });

  test('are not written where a record of another type is', async () => {
    const record = recordOf('www.example.com');
    await put(zone, record.Name, 'TXT', '"a"');
    await request([record]);
    await write();
    expect((await noted()).WritingFailure).toMatch(/has another record .*: TXT/);
    expect(writes()).toHaveLength(0);
  });

  describe('do not count as written where Route 53 gives the right value to some only', () => {
    const set = (SetIdentifier: string, value: string, policy: object) => ({
      SetIdentifier,
      Name: recordOf('www.example.com').Name,
      Type: 'CNAME' as const,
      TTL: 60,
      ResourceRecords: [{ Value: value }],
      ...policy,
    });
    const right = () => recordOf('www.example.com').Value;
    const wrong = 'other.example.net.';

    test.each([
      [
        'by weight, the right one first',
        () => [set('a', right(), { Weight: 1 }), set('b', wrong, { Weight: 1 })],
      ],
      [
        'by weight, the wrong one first',
        () => [set('a', wrong, { Weight: 1 }), set('b', right(), { Weight: 1 })],
      ],
      ['by weight, the right one alone', () => [set('a', right(), { Weight: 0 })]],
      ['by place', () => [set('a', right(), { GeoLocation: { ContinentCode: 'EU' } })]],
      ['by weight, both right', () => ['a', 'b'].map((id) => set(id, right(), { Weight: 1 }))],
    ])('%s', async (_, sets) => {
      const record = recordOf('www.example.com');
      for (const one of sets()) await putSet(zone, one);
      await request([record]);
      await write();
      const { Written, WritingFailure = '' } = await noted();
      expect(Written).toEqual({});
      const plain = (value: string) => value.replace(/\.$/, '');
      const shownSets = sets().map(
        ({ ResourceRecords: [{ Value } = { Value: '' }] }) =>
          `CNAME ${plain(Value)} (for some who ask: it has a routing policy)`,
      );
      expect(WritingFailure).toContain(
        `has another record at ${record.Name}: ${shownSets.join('; ')}. It is not`,
      );
      expect(writes()).toHaveLength(0);
    });
  });

  test('are not written where aliases are, all of which are named', async () => {
    const record = recordOf('www.example.com');
    for (const Type of ['A', 'AAAA'] as const) {
      const AliasTarget = { HostedZoneId: 'Z2', DNSName: 'lb.example.net', EvaluateTargetHealth: false };
      await putSet(zone, { Name: record.Name, Type, AliasTarget });
    }
    await request([record]);
    await write();
    expect((await noted()).WritingFailure).toContain(
      `another record at ${record.Name}: A (alias); AAAA (alias). It`,
    );
    expect(writes()).toHaveLength(0);
  });

  test('may be below a name that is an alias', async () => {
    await put(zone, 'www.example.com', 'CNAME', 'lb.example.net.');
    const record = recordOf('www.example.com');
    await request([record]);
    await write();
    expect(cnamesOf(zone)).toContain(shown(record));
  });

  test.each([
    ['a name that is none of the request', { Name: `_${'a'.repeat(32)}.api.example.com.` }],
    ['a name without ACM’s label', { Name: 'www.example.com.' }],
    ['a label of another form', { Name: '_a.b.www.example.com.' }],
    ['a target that is not ACM’s', { Value: 'evil.example.net.' }],
    ['a target that only ends like it', { Value: 'a.evilacm-validations.aws.' }],
  ])('that are not of ACM’s form are not written, whoever names them: %s', async (_, strange) => {
    const record = recordOf('www.example.com');
    const named = { ...system.cloud.services.acm.recordOf(CENTRAL, 'www.example.com'), ...strange };
    system.cloud.services.acm.recordOf = () => named;
    await request([record]);
    expect((await write()).WaitSeconds).toBe(30);
    expect(await noted()).toEqual({
      Written: {},
      WritingFailure: expect.stringMatching(/does not look like a record of ACM/),
    });
    expect(calls('sts.AssumeRole')).toHaveLength(0);
  });

  test('are those of the current request, while it is open', async () => {
    const record = recordOf('www.example.com');
    const idle = { CertName: 'www', WaitSeconds: 30 };
    expect(await write()).toEqual({ ...idle, RequestNumber: NUMBER });
    await request([record]);
    expect(await write(6)).toEqual({ ...idle, RequestNumber: 6 });
    await request(undefined);
    await write();
    for (const Status of ['REGISTERING', 'DONE', 'FAILED'] as const) {
      await request([record], { Status });
      await write();
    }
    expect(writes()).toHaveLength(0);
    await request([record], { Status: 'ASKING' });
    await write();
    expect(writes()).toHaveLength(1);
  });

  test('are not noted on a request that has taken over meanwhile', async () => {
    const record = recordOf('www.example.com');
    await request([record]);
    system.before('route53.ChangeResourceRecordSets', () => request([record], { RequestNumber: 8 }));
    await write();
    expect(await noted()).toEqual({ Written: undefined, WritingFailure: undefined });
  });

  test('of two tasks at once are the same', async () => {
    const record = recordOf('www.example.com');
    await request([record]);
    await Promise.all([write(), write()]);
    expect(cnamesOf(zone)).toEqual([shown(record)]);
    system.advance({ minutes: 2 });
    await write();
    expect((await noted()).Written?.[record.Name]?.InSyncAt).toEqual(expect.any(String));
  });

  test('are looked at again where Route 53 does not know the change any more', async () => {
    const record = recordOf('www.example.com');
    const before = { HostedZoneId: zone.id, Account: DNS, At: 'x', ChangeId: 'C00000000000000000000' };
    await request([record], { Written: { [record.Name]: before } });
    await write();
    expect(cnamesOf(zone)).toEqual([shown(record)]);
  });
});

describe('what a person must change is noted, and the request waits', () => {
  let record: ValidationRecord;
  beforeEach(() => {
    record = recordOf('www.example.com');
  });

  test('the role is not there', async () => {
    await request([record]);
    expect((await write()).WaitSeconds).toBe(30);
    expect((await noted()).WritingFailure).toMatch(
      /Cannot assume .* dns-account.yaml is deployed in account/,
    );
    await allow(DNS, zone);
    await write();
    expect(await noted()).toMatchObject({ WritingFailure: undefined });
    expect(cnamesOf(zone)).toEqual([shown(record)]);
  });

  test('the role does not name the zone', async () => {
    await allow(DNS, other);
    await request([record]);
    await write();
    expect((await noted()).WritingFailure).toMatch(new RegExp(`hosted zone ${zone.id}.* HostedZoneArns`));
  });

  test('no account has the zone, or public DNS does not answer', async () => {
    await allow(DNS, zone);
    await allow(MEMBER, other);
    system.cloud.publicDns.delegate('example.net', ['ns1.provider.net']);
    system.cloud.publicDns.say('example.info', 'any', 'SERVFAIL');
    const [foreign, failing] = [recordOf('www.example.net'), recordOf('example.info')];
    await request([foreign, failing, record]);
    await write();
    const { WritingFailure, Written } = await noted();
    expect(WritingFailure).toMatch(
      /www.example.net: .*no account of DnsAccounts.*RecordsByHand.*example.info: .*SERVFAIL/,
    );
    expect(Object.keys(Written ?? {})).toEqual([record.Name]);
  });

  test('Route 53 refuses the change', async () => {
    await allow(DNS, zone);
    await allow(MEMBER, other);
    await request([record, recordOf('www.example.org')]);
    const error = { name: 'InvalidChangeBatch', message: 'too many records', status: 400 };
    system.cloud.faults.inject({ operation: 'route53.ChangeResourceRecordSets', kind: 'refuse', error });
    await write();
    expect((await noted()).WritingFailure).toMatch(/Route 53 refuses a record. AWS says: too many records/);
    expect(Object.keys((await noted()).Written ?? {})).toHaveLength(1);
  });
});

describe('the inventory, which most functions may write, decides nothing', () => {
  beforeEach(async () => {
    await allow(DNS, zone);
    await allow(MEMBER, other);
  });
  const described = () => calls('CertificateManager.DescribeCertificate');

  test('a record that only the inventory names is not written: ACM is asked for them', async () => {
    const own = recordOf('www.example.com');
    const foreign = [recordIn(STRANGER, 'www.example.com'), recordIn(STRANGER, 'api.example.com')];
    await request([own], { Records: foreign });
    await write();
    expect(cnamesOf(zone)).toEqual([shown(own)]);
    expect(Object.keys((await noted()).Written ?? {})).toEqual([own.Name]);
    expect(described()).toHaveLength(1);
  });

  test.each([
    ['another account', () => certificateOf(['www.example.com'], STRANGER)],
    ['another Region', () => certificateOf(['www.example.com'], CENTRAL, 'eu-central-2')],
    ['another account in another Region', () => certificateOf(['www.example.com'], STRANGER, 'us-east-1')],
    ['no service of certificates', async () => `arn:aws:iam:${REGION}:${CENTRAL}:role/x`],
    ['no form at all', async () => `x${'y'.repeat(5000)}`],
  ])('no record is written for an ARN of %s, and ACM is not asked', async (_, foreign) => {
    const CertificateArn = await foreign();
    const Records = [recordIn(STRANGER, 'www.example.com')];
    await request(undefined, { CertificateArn, Records });
    expect((await write()).WaitSeconds).toBe(30);
    const { Written, WritingFailure = '' } = await noted();
    expect(Written).toEqual({});
    expect(WritingFailure).toMatch(
      new RegExp(
        `^The request names ${CertificateArn.slice(0, 200)}, which is no certificate of account ${CENTRAL} in ${REGION}.*` +
          'no record was written.*docs/security.md',
      ),
    );
    expect(WritingFailure.length).toBeLessThan(600);
    expect(described()).toHaveLength(0);
    expect(calls('sts.AssumeRole')).toHaveLength(0);
  });

  test.each([
    ['no rule at all', ''],
    ['a rule for another name', 'www2=www.example.com,ww=www.example.com,w-*=.example.com'],
    ['a rule for the name above', 'www=example.com,www=*.example.com'],
    ['a rule for names below', 'www=.www.example.com,www=*.www.example.com'],
    ['a rule for a name that ends like it', 'www=.ww.example.com,www=w.example.com'],
  ])(
    'a record is not written where the rules allow its domain by nothing but %s, and others are',
    async (_, rules) => {
      const [denied, allowed] = [recordOf('www.example.com'), recordOf('example.org')];
      system.requestRules = [rules, 'www=example.org'].filter((rule) => rule !== '').join();
      await request([denied, allowed]);
      expect((await write()).WaitSeconds).toBe(10);
      expect(cnamesOf(zone)).toEqual([]);
      expect(cnamesOf(other)).toEqual([shown(allowed)]);
      const { Written, WritingFailure } = await noted();
      expect(Object.keys(Written ?? {})).toEqual([allowed.Name]);
      expect(WritingFailure).toBe(
        `${denied.Name} was not written. No rule allows www.example.com under the name www. The administrator of this stack ` +
          'can allow it: parameter RequestRules. Then acm-export writes the record.',
      );

      // The administrator allows it. What is written already needs no rule any more.
      system.requestRules = 'ww*=.example.com';
      await write();
      expect(cnamesOf(zone)).toEqual([shown(denied)]);
      expect((await noted()).WritingFailure).toBeUndefined();
    },
  );

  test.each(['example.com', '*.example.com'])(
    'a record that two names share is not written where the rules allow %s alone',
    async (alone) => {
      const record = recordOf('example.com', '*.example.com');
      system.requestRules = `www=${alone}`;
      await request([record]);
      await write();
      expect(cnamesOf(zone)).toEqual([]);
      const missing = record.DomainNames.filter((name) => name !== alone);
      expect((await noted()).WritingFailure).toContain(`No rule allows ${missing} under the name www.`);
    },
  );

  test('the rules are those of the name that was asked for, whatever name the request has', async () => {
    system.requestRules = 'other=www.example.com';
    await request([recordOf('www.example.com')], { CertName: 'other' });
    await write();
    expect(writes()).toHaveLength(0);
  });
});

describe('nothing is written', () => {
  beforeEach(() => allow(DNS, zone));

  const untouched = { Written: undefined, WritingFailure: undefined };

  test.each(['ISSUED', 'INACTIVE', 'EXPIRED', 'VALIDATION_TIMED_OUT', 'REVOKED', 'FAILED'] as const)(
    'when the certificate is %s',
    async (status) => {
      const record = recordOf('www.example.com');
      await request([record], { Records: [record] });
      const { CertificateArn = '' } = (await system.inventory.requests.get('www')) ?? {};
      system.acm.held(CertificateArn).status = status;
      expect((await write()).WaitSeconds).toBe(10);
      expect(await noted()).toEqual(untouched);
      expect(writes()).toHaveLength(0);
    },
  );

  test('when ACM does not know the certificate, yet or any more, or names no records yet', async () => {
    const record = recordOf('www.example.com');
    await request([record], { Records: [record] });
    const { CertificateArn = '' } = (await system.inventory.requests.get('www')) ?? {};
    // It is seen after two seconds, and with its records after five.
    for (const age of [0, 3000]) {
      system.acm.held(CertificateArn).requestedAfter = system.clock.elapsed() - age;
      expect((await write()).WaitSeconds).toBe(10);
    }
    system.acm.remove(CertificateArn);
    expect((await write()).WaitSeconds).toBe(10);
    expect(await noted()).toEqual(untouched);
    expect(writes()).toHaveLength(0);
  });

  test.each([
    ['throttles', 'ThrottlingException', 'RetryLater'],
    ['denies the call', 'AccessDeniedException', 'AccessDeniedException'],
  ])('when ACM %s', async (_, name, thrown) => {
    const record = recordOf('www.example.com');
    await request([record], { Records: [record] });
    const error = { name, message: 'no', status: 400 };
    system.cloud.faults.inject({
      operation: 'CertificateManager.DescribeCertificate',
      kind: 'refuse',
      error,
    });
    await expect(write()).rejects.toMatchObject({ name: thrown });
    expect(await noted()).toEqual(untouched);
    expect(writes()).toHaveLength(0);
  });
});

test.each(['Throttling', 'PriorRequestNotComplete'])(
  '%s is for the state machine to repeat, and what was written by then is noted',
  async (name) => {
    await allow(DNS, zone);
    await allow(MEMBER, other);
    const [first, second] = [recordOf('www.example.com'), recordOf('www.example.org')];
    await request([first, second]);
    system.cloud.faults.inject({
      operation: 'route53.ChangeResourceRecordSets',
      kind: 'refuse',
      error: { name, message: 'later', status: 400 },
      when: ({ account }) => account === MEMBER,
    });
    await expect(write()).rejects.toMatchObject({ name: 'RetryLater' });
    expect(Object.keys((await noted()).Written ?? {})).toEqual([first.Name]);
    await write();
    expect(Object.keys((await noted()).Written ?? {})).toEqual([first.Name, second.Name]);
    expect(writes().filter(({ account }) => account === DNS)).toHaveLength(1);
  },
);

test('sessions are for one purpose, and the calls of an account keep to its quota', async () => {
  await allow(DNS, zone);
  await allow(MEMBER, other);
  const names = Array.from({ length: 20 }, (_, index) => recordOf(`n${index}.example.com`));
  await request(names);
  const began = system.clock.now().getTime();
  await write();
  const inputs = calls('sts.AssumeRole').map(
    ({ input }) => input as { RoleSessionName: string; Policy: string },
  );
  expect(new Set(inputs.map(({ RoleSessionName }) => RoleSessionName)).size).toBe(1);
  expect(inputs[0]?.RoleSessionName).toMatch(/^write-validation-records-[0-9a-f]{24}$/);
  const writing = inputs.filter(({ Policy }) => Policy.includes('ChangeResourceRecordSets"'));
  expect(writing.map(({ Policy }) => JSON.parse(Policy).Statement)).toEqual([
    [
      expect.objectContaining({
        Action: ['route53:ChangeResourceRecordSets'],
        Resource: `arn:aws:route53:::hostedzone/${zone.id}`,
      }),
    ],
  ]);
  expect(writing[0]?.Policy).toContain('_*.example.com');
  const made = system.cloud.record.calls.filter(
    ({ operation, account }) => /^route53/.test(operation) && account === DNS,
  );
  expect(made.length).toBeGreaterThan(20);
  const seconds = (system.clock.now().getTime() - began) / 1000;
  expect(made.length / seconds).toBeLessThan(4);
});

describe('72 hours of tries fit into one execution', () => {
  /** Step Functions, "Quotas": most events of an execution. */
  const MOST_EVENTS = 25_000;
  /** Events of a state (API reference, HistoryEvent): entered and exited, and of a task scheduled, started, succeeded. */
  const EVENTS: Record<string, number> = { Task: 5, Choice: 2, Wait: 2 };
  const definition = resourceOf(centralStack(), 'CertificateRequestStateMachine').properties.Definition;
  const loop = ['RequestCertificate', 'IsCertificateIssued', 'WriteValidationRecords', 'WaitForCertificate'];
  const eventsOfLoop = loop
    .map((state) => EVENTS[definition.States[state].Type] ?? Number.NaN)
    .reduce((sum, events) => sum + events);

  test('a loop is what the state machine makes it', () => {
    expect(definition.States.RequestCertificate.Next).toBe('IsCertificateIssued');
    expect(definition.States.WriteValidationRecords.Next).toBe('WaitForCertificate');
    expect(definition.States.WaitForCertificate).toMatchObject({
      Next: 'RequestCertificate',
      SecondsPath: '$.WaitSeconds',
    });
    expect(eventsOfLoop).toBe(14);
  });

  test.each([
    ['no role is there', async () => {}],
    [
      'a change never gets to all servers, and another record is in the way',
      async () => {
        await allow(DNS, zone);
        const [, taken] = ['www.example.com', 'api.example.com'].map((name) => recordOf(name));
        await put(zone, taken?.Name ?? '', 'CNAME', 'other.example.net.');
        system.cloud.faults.inject({
          operation: 'route53.GetChange',
          kind: 'refuse',
          error: { name: 'AccessDenied', message: 'no', status: 403 },
          times: Number.POSITIVE_INFINITY,
        });
      },
    ],
  ])('%s', async (_, arrange) => {
    await request([recordOf('www.example.com'), recordOf('api.example.com')]);
    await arrange();
    const began = system.clock.now().getTime();
    const hours = () => (system.clock.now().getTime() - began) / 3_600_000;
    const waits: number[] = [];
    while (hours() < 72) {
      const { WaitSeconds } = await write();
      expect(await shownWait()).toBe(WaitSeconds);
      waits.push(WaitSeconds);
      system.advance({ seconds: WaitSeconds });
    }
    expect(waits.length * eventsOfLoop).toBeLessThan(MOST_EVENTS);
    expect((await noted()).WritingFailure).toEqual(expect.any(String));
    expect(Math.max(...waits)).toBe(300);
    expect(Math.max(...waits.slice(0, 5))).toBeLessThanOrEqual(30);
  });
});

describe('servers of a zone that do not answer', () => {
  /** Milliseconds that each question takes below dead.example.org. */
  const slow = (milliseconds: number) => {
    const { resolver } = system.cloud.publicDns;
    for (const ask of ['resolveNs', 'resolveCname'] as const) {
      const answer = resolver[ask];
      resolver[ask] = async (name) => {
        if (!name.endsWith('dead.example.org')) return answer(name);
        await system.clock.pass(milliseconds);
        throw Object.assign(new Error('silence'), { code: 'ETIMEOUT' });
      };
    }
  };
  const dead = (count: number) =>
    Array.from({ length: count }, (_, index) => recordOf(`n${index}.dead.example.org`));
  let live: ValidationRecord;
  const seconds = async () => {
    const began = system.clock.now().getTime();
    const { WaitSeconds } = await write();
    expect(await shownWait()).toBe(WaitSeconds);
    return (system.clock.now().getTime() - began) / 1000;
  };

  beforeEach(async () => {
    await allow(DNS, zone);
    live = recordOf('www.example.com');
  });

  test('20 names there cost no more than one, and the others are written', async () => {
    slow(4500);
    await request([...dead(20), live]);
    expect(await seconds()).toBeLessThan(30);
    expect(Object.keys((await noted()).Written ?? {})).toEqual([live.Name]);
    expect((await noted()).WritingFailure).toMatch(/^n0\.dead\.example\.org: .*no answer in time/);
  });

  test('what there is no time for is noted, and what was written before is kept', async () => {
    slow(80_000);
    await request([live, ...dead(79)]);
    let early: unknown;
    // When the second lot of records is looked at.
    const { resolver } = system.cloud.publicDns;
    const answer = resolver.resolveNs;
    resolver.resolveNs = async (name) => {
      if (name === 'n30.dead.example.org') early = (await noted()).Written;
      return answer(name);
    };
    // The function has 180 seconds.
    expect(await seconds()).toBeLessThan(175);
    expect(Object.keys(early as object)).toEqual([live.Name]);
    const { Written, WritingFailure } = await noted();
    expect(Object.keys(Written ?? {})).toEqual([live.Name]);
    expect(WritingFailure).toMatch(
      /^No time was left for n49\.dead\.example\.org, .* and 25 more: public DNS .* next try\./,
    );
  });

  test('a batch for which no time is left is written at the next try', async () => {
    await request([live]);
    const { resolver } = system.cloud.publicDns;
    const answer = resolver.resolveNs;
    let pause = 151_000;
    resolver.resolveNs = async (name) => {
      await system.clock.pass(pause);
      return answer(name);
    };
    await write();
    expect((await noted()).WritingFailure).toMatch(/^No time was left for www\.example\.com: public DNS/);
    expect(writes()).toHaveLength(0);
    pause = 1;
    await write();
    expect((await noted()).WritingFailure).toBeUndefined();
    expect(writes()).toHaveLength(1);
  });
});

test('an account that throttles does not keep the records of another one from being written', async () => {
  await allow(DNS, zone);
  await allow(MEMBER, other);
  const [throttled, free] = [recordOf('www.example.com'), recordOf('www.example.org')];
  await request([throttled, free]);
  system.cloud.faults.inject({
    operation: 'route53.ListResourceRecordSets',
    kind: 'refuse',
    error: { name: 'Throttling', message: 'later', status: 400 },
    times: Number.POSITIVE_INFINITY,
    when: ({ account }) => account === DNS,
  });
  await expect(write()).rejects.toMatchObject({ name: 'RetryLater' });
  expect(Object.keys((await noted()).Written ?? {})).toEqual([free.Name]);
});
