import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';

interface Answer {
  status: number;
  body: string;
}

/** An answer as AWS's JSON services give an error. */
export const serviceError = (status: number, type: string, message: string): Answer => ({
  status,
  body: JSON.stringify({ __type: type, Message: message, message }),
});

/**
 * As much of Secrets Manager as one node needs: GetSecretValue by version, over HTTP, without verifying who
 * asks (the local cloud does that). `answerNext` replaces answers, to see what a client makes of errors.
 */
export async function serveSecrets() {
  const values = new Map<string, string>();
  const accessKeyIds: string[] = [];
  let replaced: Answer[] = [];

  const server = createServer(async (request, response) => {
    const body = await read(request);
    accessKeyIds.push(/Credential=([^/]+)/.exec(request.headers.authorization ?? '')?.[1] ?? 'unsigned');
    const { status, body: answer } = replaced.shift() ?? getSecretValue(JSON.parse(body), values);
    response.writeHead(status, { 'Content-Type': 'application/x-amz-json-1.1' }).end(answer);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** Access key ids of the requests so far. */
    accessKeyIds,
    put(secretId: string, versionId: string, value: object) {
      values.set(`${secretId} ${versionId}`, JSON.stringify(value));
    },
    answerNext(...answers: Answer[]) {
      replaced = answers;
    },
    async stop() {
      server.closeAllConnections();
      server.close();
    },
  };
}

function getSecretValue(
  input: { SecretId: string; VersionId?: string },
  values: Map<string, string>,
): Answer {
  const SecretString = values.get(`${input.SecretId} ${input.VersionId}`);
  return SecretString === undefined
    ? serviceError(400, 'ResourceNotFoundException', "Secrets Manager can't find the specified secret value.")
    : {
        status: 200,
        body: JSON.stringify({ ARN: input.SecretId, VersionId: input.VersionId, SecretString }),
      };
}

async function read(request: IncomingMessage): Promise<string> {
  let body = '';
  for await (const chunk of request) body += chunk;
  return body;
}
