import { ACMClient } from '@aws-sdk/client-acm';
import { expect, test } from '@jest/globals';
import { findEqual } from '../../functions/certificates/find-equal.ts';

const arnOf = (id: string) => `arn:aws:acm:eu-central-1:111122223333:certificate/${id}`;
const NAMES: Record<string, string[]> = {
  fewer: ['www.example.com'],
  more: ['www.example.com', 'api.example.com', 'ftp.example.com'],
  equal: ['www.example.com', 'api.example.com'],
  foreign: ['www.example.net'],
};

/** An ACM whose list names the first name of a certificate only: no field of a summary is required (API reference). */
function shortList(ids: string[]) {
  const described: string[] = [];
  const acm = Object.assign(Object.create(ACMClient.prototype) as ACMClient, {
    send: async ({ input }: { input: { CertificateArn?: string } }) => {
      if (input.CertificateArn === undefined) {
        const Type = 'AMAZON_ISSUED';
        return {
          CertificateSummaryList: ids.map((id) => ({
            CertificateArn: arnOf(id),
            DomainName: NAMES[id]?.[0] ?? 'www.example.com',
            Status: 'ISSUED',
            Type,
          })),
        };
      }
      const id = input.CertificateArn.split('/').at(-1) ?? '';
      described.push(id);
      if (!NAMES[id]) throw Object.assign(new Error(), { name: 'ResourceNotFoundException' });
      return { Certificate: { SubjectAlternativeNames: NAMES[id] } };
    },
  });
  return { acm, described };
}

const wish = { DomainNames: ['api.example.com', 'www.example.com'], KeyAlgorithm: 'RSA_2048' as const };

test('a list without the further names is no reason to order twice: each certificate is looked at', async () => {
  const { acm, described } = shortList(['deleted', 'fewer', 'more', 'foreign', 'equal']);
  expect(await findEqual(acm, wish)).toMatchObject({ CertificateArn: arnOf('equal') });
  // What begins with another name is none, whatever it has besides.
  expect(described).toEqual(['deleted', 'fewer', 'more', 'equal']);
});

test('nor is the first name alone equal to a wish for that name', async () => {
  const { acm } = shortList(['more', 'equal']);
  expect(await findEqual(acm, { ...wish, DomainNames: ['www.example.com'] })).toBeUndefined();
});
