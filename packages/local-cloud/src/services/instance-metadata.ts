import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Identity } from './identities.ts';

/** What the instance metadata service of one EC2 instance tells. */
interface InstanceFacts {
  instanceId: string;
  region: string;
  account: string;
  roleName: string;
  /** Fresh credentials of the instance's role. */
  credentials: () => Identity['credentials'];
}

/**
 * The instance metadata service (IMDSv2) of one EC2 instance: only with a token, which only a PUT gives.
 * Source: EC2 user guide, "Use the Instance Metadata Service" and "Retrieve security credentials".
 */
export class InstanceMetadata {
  readonly endpoint: string;
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
    this.endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  static async start(facts: InstanceFacts): Promise<InstanceMetadata> {
    const tokens = new Set<string>();
    const server = createServer((request, response) => answer(request, response, facts, tokens));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new InstanceMetadata(server);
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

function answer(
  request: IncomingMessage,
  response: ServerResponse,
  facts: InstanceFacts,
  tokens: Set<string>,
): unknown {
  const end = (status: number, body = '') => response.writeHead(status).end(body);
  if (request.url === '/latest/api/token' && request.method === 'PUT') {
    const seconds = Number(request.headers['x-aws-ec2-metadata-token-ttl-seconds']);
    if (!(seconds >= 1 && seconds <= 21_600)) return end(400);
    const token = randomUUID();
    tokens.add(token);
    response.setHeader('x-aws-ec2-metadata-token-ttl-seconds', String(seconds));
    return end(200, token);
  }
  if (!tokens.has(String(request.headers['x-aws-ec2-metadata-token']))) return end(401);
  const credentialsPath = '/latest/meta-data/iam/security-credentials/';
  switch (request.url) {
    case credentialsPath:
      return end(200, facts.roleName);
    case `${credentialsPath}${facts.roleName}`:
      return end(200, JSON.stringify(shownCredentials(facts)));
    case '/latest/meta-data/instance-id':
      return end(200, facts.instanceId);
    case '/latest/meta-data/placement/region':
      return end(200, facts.region);
    case '/latest/dynamic/instance-identity/document':
      return end(
        200,
        JSON.stringify({ accountId: facts.account, instanceId: facts.instanceId, region: facts.region }),
      );
    default:
      return end(404);
  }
}

function shownCredentials({ credentials }: InstanceFacts) {
  const { accessKeyId, secretAccessKey, sessionToken, expiration } = credentials();
  return {
    Code: 'Success',
    Type: 'AWS-HMAC',
    LastUpdated: new Date().toISOString(),
    AccessKeyId: accessKeyId,
    SecretAccessKey: secretAccessKey,
    Token: sessionToken,
    Expiration: expiration?.toISOString(),
  };
}
