import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** The instance metadata service of an EC2 node whose role has the given access key. */
export async function serveInstanceMetadata(accessKeyId: string, delayMilliseconds = 0) {
  const credentials = '/latest/meta-data/iam/security-credentials/';
  const answers: Record<string, () => string> = {
    'PUT /latest/api/token': () => 'token',
    [`GET ${credentials}`]: () => 'node-role',
    [`GET ${credentials}node-role`]: () =>
      JSON.stringify({
        Code: 'Success',
        Type: 'AWS-HMAC',
        LastUpdated: new Date().toISOString(),
        AccessKeyId: accessKeyId,
        SecretAccessKey: 'secret',
        Token: 'token',
        Expiration: new Date(Date.now() + 6 * 3_600_000).toISOString(),
      }),
  };
  const server = createServer((request, response) => {
    const answer = answers[`${request.method} ${request.url}`];
    const end = () => {
      if (answer) response.setHeader('X-Aws-Ec2-Metadata-Token-Ttl-Seconds', '21600').end(answer());
      else response.writeHead(404).end();
    };
    if (delayMilliseconds > 0) setTimeout(end, delayMilliseconds);
    else end();
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stop() {
      server.closeAllConnections();
      server.close();
    },
  };
}
