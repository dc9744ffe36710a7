import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import { expect } from '@jest/globals';
import { type SignedRequest, verifySignature } from 'local-cloud/iam';
import { needs } from '../support/needs.ts';

// What others sign, the local cloud accepts; the rules of signatures have tests of their own.

const run = promisify(execFile);
const session = {
  accessKeyId: 'ASIALOCALTEST',
  secretAccessKey: randomBytes(30).toString('base64'),
  sessionToken: randomBytes(60).toString('base64'),
};
const verify = (request: SignedRequest) =>
  verifySignature(request, (id) => (id === session.accessKeyId ? session : undefined), new Date());

/** Serves one request and gives it as it came. */
async function received(send: (url: string) => Promise<unknown>, path: string): Promise<SignedRequest> {
  const arrived = Promise.withResolvers<SignedRequest>();
  const server = createServer(async (incoming, answer) => {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    answer.end();
    const [rawPath = '', query = ''] = (incoming.url ?? '').split(/\?(.*)/s);
    const { method = '', headers } = incoming;
    arrived.resolve({ method, path: rawPath, query, headers, body: Buffer.concat(chunks) });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    await send(`http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`);
    return await arrived.promise;
  } finally {
    server.close();
  }
}

const paths = [
  '/v1/certificates/web/deployments',
  '/v1/certificates/a%20b%3Ac/x',
  '/v1/deployments?A=1&Status=FAILED',
];

needs('curl').each(paths)(
  'a request signed by curl --aws-sigv4 is accepted, an altered one refused: %s',
  async (path) => {
    const request = await received(
      (url) =>
        run('curl', [
          ...['-sS', '--aws-sigv4', 'aws:amz:eu-central-1:execute-api'],
          ...['--user', `${session.accessKeyId}:${session.secretAccessKey}`],
          ...['-H', `x-amz-security-token: ${session.sessionToken}`, '-H', 'content-type: application/json'],
          ...['-d', '{"A":1}', url],
        ]),
      path,
    );
    expect(verify(request)).toMatchObject({ accessKeyId: session.accessKeyId });
    expect(() => verify({ ...request, body: '{"A":2}' })).toThrow(
      expect.objectContaining({ name: 'InvalidSignatureException' }),
    );
  },
);

const sign = `
import sys, urllib.request
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
url, key, secret, token = sys.argv[1:]
request = AWSRequest('POST', url, data=b'{"A":1}', headers={'content-type': 'application/json'})
SigV4Auth(Credentials(key, secret, token), 'execute-api', 'eu-central-1').add_auth(request)
urllib.request.urlopen(urllib.request.Request(url, b'{"A":1}', dict(request.headers), method='POST'))
`;
needs('botocore').each(paths)('a request signed by botocore is accepted: %s', async (path) => {
  const { accessKeyId, secretAccessKey, sessionToken } = session;
  const request = await received(
    (url) => run('python3', ['-c', sign, url, accessKeyId, secretAccessKey, sessionToken]),
    path,
  );
  expect(verify(request)).toMatchObject({ accessKeyId });
});
