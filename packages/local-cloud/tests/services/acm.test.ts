import { createPrivateKey, X509Certificate } from 'node:crypto';
import {
  ACMClient,
  AddTagsToCertificateCommand,
  DescribeCertificateCommand,
  ExportCertificateCommand,
  type KeyAlgorithm,
  ListCertificatesCommand,
  ListTagsForCertificateCommand,
  RenewCertificateCommand,
  RequestCertificateCommand,
  RevokeCertificateCommand,
} from '@aws-sdk/client-acm';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { ACCOUNT, OTHER_ACCOUNT, OTHER_REGION, REGION, testCloud, until } from './test-cloud.ts';

const cloud = testCloud();
let acm: ACMClient;
beforeAll(() => {
  acm = new ACMClient(cloud().clientConfig(cloud.administrator(), REGION));
});

const passphrase = (text: string) => new TextEncoder().encode(text);
const eventsAbout = (arn: string) =>
  cloud()
    .record.emissionsOf('event')
    .map(({ text }) => JSON.parse(text))
    .filter(({ resources }) => resources[0] === arn);

async function issued(
  options: { algorithm?: KeyAlgorithm; names?: string[]; exportable?: boolean } = {},
): Promise<string> {
  const [DomainName, ...SubjectAlternativeNames] = options.names ?? ['www.example.com'];
  const { CertificateArn } = await acm.send(
    new RequestCertificateCommand({
      DomainName,
      ...(SubjectAlternativeNames.length > 0 ? { SubjectAlternativeNames } : {}),
      KeyAlgorithm: options.algorithm ?? 'EC_prime256v1',
      Options: { Export: options.exportable === false ? 'DISABLED' : 'ENABLED' },
    }),
  );
  await cloud().idle();
  return CertificateArn as string;
}

const describeCertificate = async (CertificateArn: string) =>
  (await acm.send(new DescribeCertificateCommand({ CertificateArn }))).Certificate;
const exportCertificate = (CertificateArn: string, text = 'correct horse') =>
  acm.send(new ExportCertificateCommand({ CertificateArn, Passphrase: passphrase(text) }));
const renew = (CertificateArn: string) => acm.send(new RenewCertificateCommand({ CertificateArn }));

describe('an exported certificate', () => {
  test.each(['RSA_2048', 'EC_prime256v1', 'EC_secp384r1'] as const)(
    'of %s has an encrypted key that fits it, and a chain without the leaf that ends at the root',
    async (algorithm) => {
      const arn = await issued({ algorithm, names: ['*.example.com', 'example.com'] });
      const { Certificate = '', CertificateChain = '', PrivateKey = '' } = await exportCertificate(arn);

      const leaf = new X509Certificate(Certificate);
      const chain = CertificateChain.split(/(?<=-----END CERTIFICATE-----\n)/).map(
        (pem) => new X509Certificate(pem),
      );
      const key = createPrivateKey({ key: PrivateKey, passphrase: 'correct horse' });
      expect(leaf.checkPrivateKey(key)).toBe(true);
      expect(() => createPrivateKey({ key: PrivateKey, passphrase: 'wrong horse' })).toThrow();
      expect(leaf.subjectAltName).toBe('DNS:*.example.com, DNS:example.com');
      expect(chain.map(({ fingerprint256 }) => fingerprint256)).not.toContain(leaf.fingerprint256);
      for (const [index, certificate] of [leaf, ...chain].entries()) {
        expect(certificate.verify((chain[index] ?? certificate).publicKey)).toBe(true);
      }
      expect(new X509Certificate(cloud().rootCertificatePem).fingerprint256).toBe(
        chain.at(-1)?.fingerprint256,
      );

      // The parts are put together without a separator, so each ends its last line.
      expect([Certificate, CertificateChain, PrivateKey].every((pem) => pem.endsWith('-----\n'))).toBe(true);
      const described = await describeCertificate(arn);
      expect(described?.Serial).toMatch(/^([0-9a-f]{2}:)+[0-9a-f]{2}$/);
      expect(described?.Serial?.replaceAll(':', '')).toBe(leaf.serialNumber.toLowerCase());
    },
  );

  test('is encrypted with the algorithms of the example in the ACM user guide', async () => {
    const { PrivateKey = '' } = await exportCertificate(await issued());
    expect(PrivateKey).toMatch(/^-----BEGIN ENCRYPTED PRIVATE KEY-----\n/);
    const der = Buffer.from(PrivateKey.replace(/-----.*-----/g, ''), 'base64').toString('hex');
    expect(der).toContain('2a864886f70d01050d'); // PBES2
    // PBKDF2 with 20 bytes of salt, 2,048 iterations and, as the sequence ends there, no PRF.
    expect(der).toMatch(/2a864886f70d01050c301a0414[0-9a-f]{40}02020800/);
    expect(der).toContain('60864801650304012a'); // AES-256-CBC
  });

  test.each([['abc'], ['a'.repeat(129)], ['has#hash'], ['has$dollar'], ['has%percent'], ['naïve']])(
    'is refused for the passphrase %s',
    async (text) => {
      const arn = await issued();
      await expect(exportCertificate(arn, text)).rejects.toMatchObject({ name: 'ValidationException' });
    },
  );
});

test('a certificate that did not opt in to export cannot be exported, and one that is pending not yet', async () => {
  const arn = await issued({ exportable: false });
  await expect(exportCertificate(arn)).rejects.toMatchObject({ name: 'ValidationException' });

  cloud().services.acm.validation = 'by hand';
  const pending = await issued();
  cloud().services.acm.validation = 'automatic';
  expect(await describeCertificate(pending)).toMatchObject({ Status: 'PENDING_VALIDATION' });
  await expect(exportCertificate(pending)).rejects.toMatchObject({ name: 'RequestInProgressException' });
  await cloud().services.acm.validate(pending);
  expect(await describeCertificate(pending)).toMatchObject({ Status: 'ISSUED' });
});

test('renewal needs an export since the last one, keeps the ARN and changes the serial', async () => {
  const arn = await issued();
  await expect(renew(arn)).rejects.toMatchObject({ name: 'ValidationException' });
  await exportCertificate(arn);
  const before = await describeCertificate(arn);
  expect(before?.RenewalEligibility).toBe('ELIGIBLE');

  await renew(arn);
  await cloud().idle();
  const after = await describeCertificate(arn);
  expect(after?.Serial).not.toBe(before?.Serial);
  expect(after).toMatchObject({
    RenewalEligibility: 'INELIGIBLE',
    RenewalSummary: { RenewalStatus: 'SUCCESS' },
  });
  await expect(renew(arn)).rejects.toMatchObject({ name: 'ValidationException' });

  const event = eventsAbout(arn).at(-1);
  expect(event).toMatchObject({
    source: 'aws.acm',
    'detail-type': 'ACM Certificate Available',
    account: ACCOUNT,
  });
  expect(event.detail.Action).toBe('RENEWAL');
  expect(JSON.stringify(event)).not.toContain(after?.Serial);
});

test('the event of a renewal may come before the new serial can be seen', async () => {
  const arn = await issued();
  await exportCertificate(arn);
  const before = await describeCertificate(arn);
  cloud().services.acm.eventLeadMilliseconds = 60_000;
  const renewed = cloud().services.acm.renew(arn);
  await until(() => eventsAbout(arn).length === 2);
  expect((await describeCertificate(arn))?.Serial).toBe(before?.Serial);
  cloud().clock.advance(60_000);
  await renewed;
  cloud().services.acm.eventLeadMilliseconds = 0;
  expect((await describeCertificate(arn))?.Serial).not.toBe(before?.Serial);
});

test('a certificate is found by its own account and Region only', async () => {
  const arn = await issued();
  for (const [account, region] of [
    [ACCOUNT, OTHER_REGION],
    [OTHER_ACCOUNT, REGION],
  ] as const) {
    const elsewhere = new ACMClient(cloud().clientConfig(cloud.administrator(account), region));
    const refused = elsewhere.send(new DescribeCertificateCommand({ CertificateArn: arn }));
    await expect(refused).rejects.toMatchObject({ name: expect.stringMatching(/NotFound|AccessDenied/) });
    const { CertificateSummaryList } = await elsewhere.send(new ListCertificatesCommand({}));
    expect(CertificateSummaryList).toEqual([]);
  }
  const authority = `arn:aws:acm:${REGION}:${ACCOUNT}:certificate-authority/1`;
  await expect(describeCertificate(authority)).rejects.toMatchObject({ name: 'InvalidArnException' });
});

test('a list shows RSA certificates only, unless other types are asked for', async () => {
  const rsa = await issued({ algorithm: 'RSA_2048' });
  const ec = await issued({ algorithm: 'EC_secp384r1' });
  const list = async (keyTypes?: KeyAlgorithm[]) => {
    const pages = await acm.send(new ListCertificatesCommand(keyTypes ? { Includes: { keyTypes } } : {}));
    return pages.CertificateSummaryList?.map(({ CertificateArn }) => CertificateArn);
  };
  expect(await list()).toContain(rsa);
  expect(await list()).not.toContain(ec);
  expect(await list(['EC_secp384r1'])).toContain(ec);
});

test('tags are added to those there are; what cannot be a tag is refused', async () => {
  const arn = await issued();
  const add = (Key: string, Value: string) =>
    acm.send(new AddTagsToCertificateCommand({ CertificateArn: arn, Tags: [{ Key, Value }] }));
  await add('Team', 'web');
  await add('team', 'shop');
  const { Tags } = await acm.send(new ListTagsForCertificateCommand({ CertificateArn: arn }));
  expect(Tags).toEqual([
    { Key: 'Team', Value: 'web' },
    { Key: 'team', Value: 'shop' },
  ]);
  await expect(add('aws:team', 'x')).rejects.toMatchObject({ name: 'InvalidTagException' });
  await expect(add('team', 'a*b')).rejects.toMatchObject({ name: 'ValidationException' });
});

test('only an exported certificate can be revoked, and never used again', async () => {
  const arn = await issued();
  const revoke = () =>
    acm.send(new RevokeCertificateCommand({ CertificateArn: arn, RevocationReason: 'KEY_COMPROMISE' }));
  await expect(revoke()).rejects.toMatchObject({ name: 'ValidationException' });
  await exportCertificate(arn);
  await revoke();
  expect(await describeCertificate(arn)).toMatchObject({
    Status: 'REVOKED',
    RevocationReason: 'KEY_COMPROMISE',
  });
  await expect(exportCertificate(arn)).rejects.toMatchObject({ name: 'ValidationException' });
  expect(eventsAbout(arn).at(-1)).toMatchObject({
    'detail-type': 'ACM Certificate Revoked',
    detail: { Exportable: true },
  });
});

// Last, because it moves the clock by more than half a year.
test('45 days before expiry an exported certificate is renewed; one that was not exported expires with warnings', async () => {
  const [exported, forgotten] = [await issued(), await issued()];
  await exportCertificate(exported);
  const before = await describeCertificate(exported);
  const day = 86_400_000;
  cloud().clock.advance(152 * day);
  await cloud().idle();
  expect((await describeCertificate(exported))?.Serial).toBe(before?.Serial);
  cloud().clock.advance(2 * day);
  await cloud().idle();
  expect((await describeCertificate(exported))?.Serial).not.toBe(before?.Serial);

  for (let days = 0; days < 45; days++) cloud().clock.advance(day);
  expect(await describeCertificate(forgotten)).toMatchObject({ Status: 'EXPIRED' });
  const types = eventsAbout(forgotten).map((event) => event['detail-type']);
  expect(types.filter((type) => type === 'ACM Certificate Approaching Expiration')).toHaveLength(30);
  expect(types.at(-1)).toBe('ACM Certificate Expired');
  expect(await describeCertificate(exported)).toMatchObject({ Status: 'ISSUED' });
});
