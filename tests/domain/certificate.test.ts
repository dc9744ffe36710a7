import { describe, expect, test } from '@jest/globals';
import {
  allowsName,
  certificateFrom,
  isCertificateArn,
  isCertificateOf,
} from '../../functions/domain/certificate.ts';

describe("the certificate's own tag", () => {
  test.each([
    ['web', 'web'],
    ['web+', 'web'],
    ['web-+', 'web-shop'],
    ['+', 'anything'],
  ])('%s allows %s', (tag, name) => {
    expect(allowsName(tag, name)).toBe(true);
  });

  test.each([
    [undefined, 'web'],
    ['', 'web'],
    ['web', 'web-shop'],
    ['web', 'we'],
    ['web', 'my-web'],
    ['web', 'WEB'],
    ['web-+', 'web'],
    ['web-+', 'my-web-shop'],
    ['web-+', 'Web-shop'],
    ['we+b', 'web'],
    ['we+b', 'we'],
    ['we+b', 'we+bc'],
    ['+web', 'my-web'],
    ['web ', 'web'],
  ])('%s does not allow %s', (tag, name) => {
    expect(allowsName(tag, name)).toBe(false);
  });
});

describe('the ARN of a certificate', () => {
  const arn = 'arn:aws:acm:eu-central-1:111122223333:certificate/01234567-89ab-cdef-0123-456789abcdef';

  test('is one from its beginning to its end', () => {
    expect(isCertificateArn(arn)).toBe(true);
    const near = [
      ` ${arn}`,
      `${arn} `,
      `${arn}/x`,
      `${arn}\n`,
      `x${arn}`,
      arn.replace('acm', 'iam'),
      arn.replace('certificate/', 'certificates/'),
      arn.replace('111122223333', '1111222233334'),
      arn.replace('arn:', 'ARN:'),
    ];
    expect(near.filter(isCertificateArn)).toEqual([]);
  });
});

describe('a certificate that cannot be delivered', () => {
  const good = { Status: 'ISSUED', Type: 'AMAZON_ISSUED', Options: { Export: 'ENABLED' }, Serial: '01' };

  test('is none that is issued and exportable, or private', () => {
    expect(certificateFrom('arn', good).CertificateArn).toBe('arn');
    expect(certificateFrom('arn', { ...good, Type: 'PRIVATE', Options: undefined }).CertificateArn).toBe(
      'arn',
    );
  });

  test.each([
    ['issued over ACME', { CertificateKeyPairOrigin: 'ACME' }],
    ['was imported', { Type: 'IMPORTED' }],
    ['not exportable', { Options: { Export: 'DISABLED' } }],
    ['not exportable', { Options: undefined }],
    ['not issued', { Status: 'PENDING_VALIDATION' }],
    ['not issued', { Status: undefined }],
  ])('is one that is %s', (why, part) => {
    expect(() => certificateFrom('arn', { ...good, ...part })).toThrow(why);
  });
});

describe('a certificate of this account and Region', () => {
  const ID = '12345678-1234-1234-1234-123456789012';
  const place = { account: '111122223333', region: 'eu-central-1' };

  test('has both in its ARN', () => {
    expect(isCertificateOf(`arn:aws:acm:eu-central-1:111122223333:certificate/${ID}`, place)).toBe(true);
  });

  test.each([
    ['another account', `arn:aws:acm:eu-central-1:111122223334:certificate/${ID}`],
    ['another Region', `arn:aws:acm:eu-central-2:111122223333:certificate/${ID}`],
    ['a Region whose name begins alike', `arn:aws:acm:eu-central-11:111122223333:certificate/${ID}`],
    ['each in the place of the other', `arn:aws:acm:111122223333:eu-central-1:certificate/${ID}`],
    ['another service', `arn:aws:iam:eu-central-1:111122223333:certificate/${ID}`],
    ['something behind it', `arn:aws:acm:eu-central-1:111122223333:certificate/${ID}:x`],
    ['no text', ''],
  ])('is not one of %s', (_, arn) => {
    expect(isCertificateOf(arn, place)).toBe(false);
  });
});
