import {
  ACMClient,
  DescribeCertificateCommand,
  ListCertificatesCommand,
  type ListCertificatesCommandInput,
  ListTagsForCertificateCommand,
  RequestCertificateCommand,
  type RequestCertificateCommandInput,
} from '@aws-sdk/client-acm';
import { ChangeResourceRecordSetsCommand, Route53Client } from '@aws-sdk/client-route-53';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { type Cloud, createCloud } from '../../src/cloud.ts';
import type { FailureReason } from '../../src/services/acm.ts';
import { CertificateAuthority } from '../../src/services/certificate-authority.ts';
import { constraints } from '../../src/services/constraints.ts';
import type { RecordData, Trouble } from '../../src/services/public-dns.ts';
import { VirtualClock } from '../../src/services/virtual-clock.ts';
import { ACCOUNT, allow, OTHER_ACCOUNT, REGION } from './test-cloud.ts';

const authority = await CertificateAuthority.create(new Date('2026-11-24T00:00:00Z'));
let clock: VirtualClock;
let cloud: Cloud;
let acm: ACMClient;
let route53: Route53Client;
beforeEach(async () => {
  clock = new VirtualClock();
  cloud = await createCloud({ clock, authority });
  const { credentials } = cloud.createUser(ACCOUNT, 'administrator', [allow('*')]);
  acm = cloud.client(ACMClient, { region: REGION, credentials });
  route53 = cloud.client(Route53Client, { region: REGION, credentials });
  cloud.services.acm.validation = 'public DNS';
});
afterEach(() => cloud.stop());

async function request(...names: string[]): Promise<string> {
  const [DomainName = 'www.example.com', ...SubjectAlternativeNames] = names;
  return requestWith({ DomainName, ...(names.length > 1 ? { SubjectAlternativeNames } : {}) });
}
async function requestWith(input: RequestCertificateCommandInput): Promise<string> {
  const command = new RequestCertificateCommand({
    ValidationMethod: 'DNS',
    Options: { Export: 'ENABLED' },
    ...input,
  });
  return (await acm.send(command)).CertificateArn ?? '';
}
const look = async (CertificateArn: string) =>
  (await acm.send(new DescribeCertificateCommand({ CertificateArn }))).Certificate;
/** Time passes, and what is under way then ends. */
async function pass(seconds: number) {
  clock.advance(seconds * 1000);
  await new Promise(setImmediate);
  await cloud.idle();
}
async function recordsOf(arn: string) {
  const { DomainValidationOptions = [] } = (await look(arn)) ?? {};
  return DomainValidationOptions.map(({ ResourceRecord }) => ResourceRecord);
}
/** Public DNS answers every record of a certificate. */
async function answer(arn: string) {
  for (const record of await recordsOf(arn))
    cloud.publicDns.say(record?.Name ?? '', 'CNAME', [record?.Value ?? '']);
}
const events = () =>
  cloud.record
    .emissionsOf('event')
    .map(({ text }) => JSON.parse(text))
    .filter((event) => event['detail-type'] === 'ACM Certificate Available');

test('ACM names, and looks for, whatever records a test wants of it', async () => {
  const record = { Name: '_x.example.net.', Type: 'CNAME' as const, Value: 'y.example.net.' };
  cloud.services.acm.recordOf = (account, name) =>
    account === ACCOUNT && name === 'www.example.com' ? record : { ...record, Name: '_z.example.net.' };
  const arn = await request('www.example.com');
  await pass(10);
  expect(await recordsOf(arn)).toEqual([record]);
  cloud.publicDns.say(record.Name, 'CNAME', [record.Value]);
  await pass(60);
  expect((await look(arn))?.Status).toBe('ISSUED');
});

describe('a requested certificate', () => {
  test('is not found for some seconds, then has no records, then one for each name without its wildcard', async () => {
    const arn = await request('www.example.com', '*.example.com', 'example.com');
    await expect(look(arn)).rejects.toMatchObject({ name: 'ResourceNotFoundException' });
    await pass(3);
    expect(await look(arn)).toMatchObject({ Status: 'PENDING_VALIDATION', Options: { Export: 'ENABLED' } });
    expect(await recordsOf(arn)).toEqual([undefined, undefined, undefined]);
    await pass(3);
    const [www, wildcard, apex] = await recordsOf(arn);
    expect(www).toMatchObject({
      Name: expect.stringMatching(/^_[0-9a-f]{32}\.www\.example\.com\.$/),
      Type: 'CNAME',
      Value: expect.stringMatching(/^_[0-9a-f]{32}\.[a-z]{10}\.acm-validations\.aws\.$/),
    });
    expect(wildcard).toEqual(apex);
    expect(wildcard?.Name).toMatch(/^_[0-9a-f]{32}\.example\.com\.$/);
    expect(wildcard?.Name).not.toBe(www?.Name);
    // A later certificate of the same name has the same record, one of another account has another.
    const again = await request('example.com');
    const { credentials } = cloud.createUser(OTHER_ACCOUNT, 'administrator', [allow('*')]);
    acm = cloud.client(ACMClient, { region: REGION, credentials });
    const other = await request('example.com');
    await pass(6);
    expect((await recordsOf(other))[0]?.Name).not.toBe(apex?.Name);
    expect(cloud.services.acm.certificate(again).names).toEqual(['example.com']);
  });

  test('has its tags at once, and a name that fits into a common name', async () => {
    const CertificateArn = await requestWith({
      DomainName: 'www.example.com',
      Tags: [{ Key: 'team', Value: 'web' }],
    });
    const { Tags } = await acm.send(new ListTagsForCertificateCommand({ CertificateArn }));
    expect(Tags).toEqual([{ Key: 'team', Value: 'web' }]);
    const long = `${'a'.repeat(53)}.example.com`;
    await expect(request(long)).rejects.toMatchObject({ name: 'InvalidParameterException' });
    await expect(request(long.slice(1), long)).resolves.toMatch(/^arn:/);
  });

  test('is issued when a zone that public DNS asks has the record of each name, with one event', async () => {
    const zone = cloud.services.route53.createZone(ACCOUNT, 'example.com');
    cloud.publicDns.delegate('example.com', zone.nameServers);
    const arn = await request('example.com', '*.example.com', 'www.example.com');
    await pass(6);
    const [first, , third] = await recordsOf(arn);
    const write = (record: typeof first) =>
      route53.send(
        new ChangeResourceRecordSetsCommand({
          HostedZoneId: zone.id,
          ChangeBatch: {
            Changes: [
              {
                Action: 'UPSERT',
                ResourceRecordSet: {
                  Name: record?.Name,
                  Type: 'CNAME',
                  TTL: 300,
                  ResourceRecords: [{ Value: record?.Value }],
                },
              },
            ],
          },
        }),
      );
    await write(first);
    await pass(60);
    await pass(60);
    expect(await look(arn)).toMatchObject({
      Status: 'PENDING_VALIDATION',
      DomainValidationOptions: [
        { ValidationStatus: 'SUCCESS' },
        { ValidationStatus: 'SUCCESS' },
        { ValidationStatus: 'PENDING_VALIDATION' },
      ],
    });
    await write(third);
    await pass(60);
    expect(await look(arn)).toMatchObject({ Status: 'PENDING_VALIDATION' });
    await pass(30);
    expect(await look(arn)).toMatchObject({ Status: 'ISSUED', IssuedAt: expect.anything() });
    cloud.publicDns.changed();
    await pass(60);
    expect(events()).toMatchObject([{ resources: [arn], detail: { Action: 'ISSUANCE' } }]);
  });

  test('is not issued by a zone that no delegation leads to, nor by another value', async () => {
    const zone = cloud.services.route53.createZone(ACCOUNT, 'example.com');
    cloud.publicDns.delegate('example.com', ['ns.elsewhere.test']);
    const arn = await request('example.com');
    await pass(6);
    const [record] = await recordsOf(arn);
    await route53.send(
      new ChangeResourceRecordSetsCommand({
        HostedZoneId: zone.id,
        ChangeBatch: {
          Changes: [
            {
              Action: 'UPSERT',
              ResourceRecordSet: {
                Name: record?.Name,
                Type: 'CNAME',
                TTL: 300,
                ResourceRecords: [{ Value: record?.Value }],
              },
            },
          ],
        },
      }),
    );
    await pass(120);
    cloud.publicDns.say(record?.Name ?? '', 'CNAME', ['_other.acm-validations.aws']);
    await pass(60);
    expect(await look(arn)).toMatchObject({ Status: 'PENDING_VALIDATION' });
    cloud.publicDns.unsay(record?.Name ?? '');
    cloud.publicDns.delegate('example.com', zone.nameServers);
    await pass(60);
    expect(await look(arn)).toMatchObject({ Status: 'ISSUED' });
  });

  test('times out after 72 hours, and a record that comes later changes nothing', async () => {
    const arn = await request('example.com');
    await pass(72 * 3600 - 1);
    expect(await look(arn)).toMatchObject({ Status: 'PENDING_VALIDATION' });
    await pass(1);
    expect(await look(arn)).toMatchObject({
      Status: 'VALIDATION_TIMED_OUT',
      DomainValidationOptions: [{ ValidationStatus: 'FAILED' }],
    });
    await answer(arn);
    await pass(60);
    expect(await look(arn)).toMatchObject({ Status: 'VALIDATION_TIMED_OUT' });
    expect(events()).toEqual([]);
  });

  test.each(constraints.services.CertificateManager?.shapes.FailureReason?.enum as FailureReason[])(
    'fails by %s, if a test says so, without an event',
    async (reason) => {
      cloud.services.acm.failure = (names) => (names.includes('bad.example.com') ? reason : undefined);
      const bad = await request('bad.example.com');
      const good = await request('good.example.com');
      await pass(6);
      for (const arn of [bad, good]) await answer(arn);
      await pass(60);
      expect(await look(bad)).toMatchObject({ Status: 'FAILED', FailureReason: reason });
      expect(await look(good)).toMatchObject({ Status: 'ISSUED' });
      expect(events()).toHaveLength(1);
    },
  );
});

const issue = (...issuers: string[]) => issuers.map((issuer) => ({ critical: 0, issue: issuer }));

test.each<[string, string, Record<string, RecordData[] | Trouble>, 'ISSUED' | 'FAILED']>([
  ['none at all', 'www.example.com', {}, 'ISSUED'],
  ['one that names ACM’s CA', 'www.example.com', { 'www.example.com': issue('amazon.com') }, 'ISSUED'],
  [
    'one of several, with parameters',
    'www.example.com',
    { 'example.com': issue('letsencrypt.org', ' amazonaws.com ; a=b') },
    'ISSUED',
  ],
  ['another CA', 'www.example.com', { 'www.example.com': issue('letsencrypt.org') }, 'FAILED'],
  ['another CA above', 'a.b.example.com', { 'example.com': issue('letsencrypt.org') }, 'FAILED'],
  [
    'the closest counts',
    'www.example.com',
    { 'example.com': issue(';'), 'www.example.com': issue('awstrust.com') },
    'ISSUED',
  ],
  ['nobody', 'www.example.com', { 'example.com': issue(';') }, 'FAILED'],
  ['a CA whose name ends like ACM’s', 'www.example.com', { 'example.com': issue('notamazon.com') }, 'FAILED'],
  [
    'only where to write',
    'www.example.com',
    { 'example.com': [{ critical: 0, iodef: 'mailto:a@example.com' }] },
    'ISSUED',
  ],
  [
    'wildcards by another CA',
    '*.example.com',
    { 'example.com': [...issue('amazon.com'), { critical: 0, issuewild: ';' }] },
    'FAILED',
  ],
  [
    'wildcards by ACM',
    '*.example.com',
    { 'example.com': [...issue(';'), { critical: 0, issuewild: 'amazontrust.com' }] },
    'ISSUED',
  ],
  [
    'wildcards by another CA, for a name without',
    'www.example.com',
    { 'example.com': [...issue('amazon.com'), { critical: 0, issuewild: ';' }] },
    'ISSUED',
  ],
  ['wildcards by issue', '*.example.com', { 'example.com': issue('letsencrypt.org') }, 'FAILED'],
  [
    'a critical property that is unknown',
    'www.example.com',
    { 'example.com': [...issue('amazon.com'), { critical: 128, tbs: 'x' }] },
    'FAILED',
  ],
  [
    'an unknown property that is not critical',
    'www.example.com',
    { 'example.com': [...issue('amazon.com'), { critical: 0, tbs: 'x' }] },
    'ISSUED',
  ],
  ['servers that fail', 'www.example.com', { 'www.example.com': 'SERVFAIL' }, 'FAILED'],
])('CAA: %s', async (_what, name, records, status) => {
  for (const [at, answers] of Object.entries(records)) cloud.publicDns.say(at, 'CAA', answers);
  const arn = await request(name);
  await pass(6);
  await answer(arn);
  await pass(60);
  expect(await look(arn)).toMatchObject({
    Status: status,
    ...(status === 'FAILED' ? { FailureReason: 'CAA_ERROR' } : {}),
  });
});

test('CAA behind a CNAME counts as that of the name', async () => {
  cloud.publicDns.say('www.example.com', 'CNAME', ['cdn.test']);
  cloud.publicDns.say('cdn.test', 'CAA', issue('letsencrypt.org'));
  const arn = await request('www.example.com');
  await pass(6);
  await answer(arn);
  await pass(60);
  expect(await look(arn)).toMatchObject({ FailureReason: 'CAA_ERROR' });
});

test('a list has RSA_2048 and no ACME unless it is asked for, by export option, with whole summaries', async () => {
  const { acm: service } = cloud.services;
  service.validation = 'automatic';
  const rsa = await request('rsa.example.com', '*.rsa.example.com');
  const elliptic = await requestWith({ DomainName: 'ec.example.com', KeyAlgorithm: 'EC_prime256v1' });
  const plain = await requestWith({ DomainName: 'plain.example.com', Options: { Export: 'DISABLED' } });
  const acme = await service.add(ACCOUNT, REGION, { names: ['acme.example.com'], keyPairOrigin: 'ACME' });
  await cloud.idle();
  const list = async (input: ListCertificatesCommandInput) =>
    (await acm.send(new ListCertificatesCommand(input))).CertificateSummaryList ?? [];
  const arns = async (input: ListCertificatesCommandInput) =>
    (await list(input)).map(({ CertificateArn }) => CertificateArn);
  expect(await arns({})).toEqual([rsa, plain]);
  expect(await arns({ Includes: { keyTypes: ['RSA_2048', 'EC_prime256v1'] } })).toEqual([
    rsa,
    elliptic,
    plain,
  ]);
  expect(await arns({ Includes: { exportOption: 'ENABLED' } })).toEqual([rsa]);
  expect(await arns({ CertificateKeyPairOrigins: ['ACME'] })).toEqual([acme]);
  expect(await arns({ CertificateStatuses: ['PENDING_VALIDATION'] })).toEqual([]);
  expect((await list({}))[0]).toMatchObject({
    DomainName: 'rsa.example.com',
    SubjectAlternativeNameSummaries: ['rsa.example.com', '*.rsa.example.com'],
    HasAdditionalSubjectAlternativeNames: false,
    ExportOption: 'ENABLED',
    KeyAlgorithm: 'RSA-2048',
    Status: 'ISSUED',
    CertificateKeyPairOrigin: 'AWS_MANAGED',
  });
});
