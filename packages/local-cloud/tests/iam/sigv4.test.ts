import { randomBytes } from 'node:crypto';
import { Sha256 } from '@aws-crypto/sha256-js';
import { describe, expect, test } from '@jest/globals';
import { SignatureV4 } from '@smithy/signature-v4';
import { SignatureError, type SignedRequest, verifySignature } from '../../src/iam/sigv4.ts';

// Requests signed by other programs: tests/real/signatures.test.ts.

const key = { accessKeyId: 'AKIALOCALTEST', secretAccessKey: randomBytes(30).toString('base64') };
const session = {
  accessKeyId: 'ASIALOCALTEST',
  secretAccessKey: randomBytes(30).toString('base64'),
  sessionToken: randomBytes(60).toString('base64'),
};
const credentialFor = (id: string) => [key, session].find(({ accessKeyId }) => accessKeyId === id);
const verify = (request: SignedRequest, now: Date) => verifySignature(request, credentialFor, now);

const signedAt = new Date('2026-11-24T12:00:00Z');
const minutesLater = (minutes: number) => new Date(signedAt.getTime() + minutes * 60_000);

/** What the SDK for JavaScript sends. */
async function signed(
  path = '/v1/orders/web/parcels',
  query: Record<string, string | string[]> = {},
  credentials: typeof key | typeof session = key,
  service = 'execute-api',
): Promise<SignedRequest> {
  const signer = new SignatureV4({ credentials, region: 'eu-central-1', service, sha256: Sha256 });
  const headers = {
    host: 'api.example.com',
    'content-type': 'application/json',
    'x-amz-target': 'AmazonSSM.SendCommand',
  };
  const request = {
    method: 'POST',
    protocol: 'https:',
    hostname: 'api.example.com',
    path,
    query,
    headers,
    body: '{"A":1}',
  };
  const result = await signer.sign(request, { signingDate: signedAt });
  const pairs = Object.entries(query).flatMap(([name, value]) =>
    [value].flat().map((item) => `${encodeURIComponent(name)}=${encodeURIComponent(item)}`),
  );
  return { method: 'POST', path, query: pairs.join('&'), headers: result.headers, body: request.body };
}

function nameOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof SignatureError) return error.name;
    throw error;
  }
  return 'accepted';
}

describe('a request signed by the SDK', () => {
  test('is accepted and tells key, Region and service', async () => {
    expect(verify(await signed(), signedAt)).toEqual({
      accessKeyId: key.accessKeyId,
      region: 'eu-central-1',
      service: 'execute-api',
    });
  });

  test.each([
    ['encoded characters in the path', '/v1/orders/a%20b%2Bc%7E/parcels', {}],
    ['an encoded percent sign in the path', '/v1/orders/a%2520b/parcels', {}],
    ['the root', '/', {}],
    [
      'query parameters out of order and encoded',
      '/v1/deployments',
      { Status: 'FAILED', A: ['z', 'a+b &='] },
    ],
  ])('is accepted with %s', async (_what, path, query: Record<string, string | string[]>) => {
    const request = await signed(path, query);
    expect(nameOf(() => verify(request, signedAt))).toBe('accepted');
  });

  test.each<[string, (request: SignedRequest) => Partial<SignedRequest>]>([
    ['another body', () => ({ body: '{"A":2}' })],
    ['another path', () => ({ path: '/v1/orders/other/parcels' })],
    ['a path that is another once decoded', () => ({ path: '/v1/orders/%77eb/parcels' })],
    ['another query', () => ({ query: 'Status=FAILED' })],
    ['another method', () => ({ method: 'DELETE' })],
    [
      'another signed header',
      ({ headers }) => ({ headers: { ...headers, 'x-amz-target': 'AmazonSSM.GetDocument' } }),
    ],
    ['another host', ({ headers }) => ({ headers: { ...headers, host: 'other.example.com' } })],
    [
      'an x-amz header that was not signed',
      ({ headers }) => ({ headers: { ...headers, 'x-amz-more': '1' } }),
    ],
  ])('is refused with %s', async (_what, change) => {
    const request = await signed();
    expect(nameOf(() => verify({ ...request, ...change(request) }, signedAt))).toBe(
      'InvalidSignatureException',
    );
  });

  test('is refused with a path that only another client would sign this way', async () => {
    const request = await signed('/v1/orders/a%20b/parcels');
    expect(nameOf(() => verify({ ...request, path: '/v1/orders/a%2520b/parcels' }, signedAt))).toBe(
      'InvalidSignatureException',
    );
  });

  test('is refused when its time is more than five minutes away, either way', async () => {
    const request = await signed();
    expect(nameOf(() => verify(request, minutesLater(5)))).toBe('accepted');
    expect(nameOf(() => verify(request, minutesLater(5.1)))).toBe('RequestExpired');
    expect(nameOf(() => verify(request, minutesLater(-5.1)))).toBe('RequestExpired');
  });

  test('is refused when the secret is another, or the scope was changed', async () => {
    const request = await signed();
    const wrong = () => ({ secretAccessKey: randomBytes(30).toString('base64') });
    expect(nameOf(() => verifySignature(request, wrong, signedAt))).toBe('InvalidSignatureException');
    for (const [from, to] of [
      ['eu-central-1', 'us-east-1'],
      ['execute-api', 'acm'],
    ] as const) {
      const authorization = String(request.headers.authorization).replace(from, to);
      const headers = { ...request.headers, authorization };
      expect(nameOf(() => verify({ ...request, headers }, signedAt))).toBe('InvalidSignatureException');
    }
  });

  test('is refused when the key is unknown or the session token is missing, altered or of another key', async () => {
    const request = await signed('/', {}, session);
    expect(nameOf(() => verify(request, signedAt))).toBe('accepted');
    const { 'x-amz-security-token': _token, ...without } = request.headers;
    const foreign = await signed('/', {}, { ...key, sessionToken: session.sessionToken });
    const altered = { ...request.headers, 'x-amz-security-token': `${session.sessionToken}x` };
    for (const refused of [{ ...request, headers: without }, { ...request, headers: altered }, foreign]) {
      expect(nameOf(() => verify(refused, signedAt))).toBe('UnrecognizedClientException');
    }
    expect(nameOf(() => verifySignature(request, () => undefined, signedAt))).toBe(
      'UnrecognizedClientException',
    );
  });

  test('gets the names of the query protocol from STS', async () => {
    const request = await signed('/', {}, key, 'sts');
    expect(nameOf(() => verifySignature(request, () => undefined, signedAt))).toBe('InvalidClientTokenId');
    expect(nameOf(() => verify({ ...request, body: '' }, signedAt))).toBe('SignatureDoesNotMatch');
  });
});

test.each([
  ['nothing', undefined, 'MissingAuthenticationToken'],
  ['another scheme', 'Bearer abc', 'IncompleteSignature'],
  [
    'no signature',
    'AWS4-HMAC-SHA256 Credential=A/20261124/r/s/aws4_request, SignedHeaders=host',
    'IncompleteSignature',
  ],
  [
    'a short scope',
    `AWS4-HMAC-SHA256 Credential=A/s/aws4_request, SignedHeaders=host, Signature=${'0'.repeat(64)}`,
    'IncompleteSignature',
  ],
])('an Authorization header with %s is refused', async (_what, authorization, name) => {
  const request = await signed();
  expect(nameOf(() => verify({ ...request, headers: { ...request.headers, authorization } }, signedAt))).toBe(
    name,
  );
});
