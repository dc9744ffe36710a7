import { request as httpRequest } from 'node:http';
import { Sha256 } from '@aws-crypto/sha256-js';
import { SignatureV4 } from '@smithy/signature-v4';
import type { Cloud, Identity } from 'local-cloud';

/** Signing names where they are not the part of the operation before the dot. */
const SERVICES: Record<string, string> = {
  CertificateManager: 'acm',
  AmazonSSM: 'ssm',
  AmazonSQS: 'sqs',
  DynamoDB_20120810: 'dynamodb',
  AWSStepFunctions: 'states',
  AWSEvents: 'events',
};

const VERSIONS: Record<string, string> = { iam: '2010-05-08', sts: '2011-06-15', sns: '2010-03-31' };

export interface Answer {
  status: number;
  /** The error's code, or nothing when the call succeeded. */
  error: string;
  body: string;
}

export interface HttpRequest {
  method: string;
  /** As it goes over the wire: nothing normalizes it. */
  path: string;
  query?: Record<string, string>;
  headers?: Record<string, string>;
  body?: string;
}

/**
 * One call as any client makes it, for every service alike: `operation` is the X-Amz-Target, or
 * `<service>.<Operation>` of IAM, STS, SNS and Lambda. Without the SDK, so that nothing on the attacker's side checks,
 * completes or repeats what is sent.
 */
export async function callAws(
  cloud: Cloud,
  identity: Identity,
  region: string,
  operation: string,
  input: Record<string, unknown>,
): Promise<Answer> {
  const [prefix = '', name = ''] = operation.split('.');
  const service = SERVICES[prefix] ?? prefix;
  const request = ((): HttpRequest => {
    if (service === 'lambda') {
      const path = `/2015-03-31/functions/${encodeURIComponent(String(input.FunctionName))}/invocations`;
      return { method: 'POST', path, body: JSON.stringify(input.Payload ?? {}) };
    }
    const version = VERSIONS[service];
    if (version) {
      const body = new URLSearchParams({ Action: name, Version: version, ...flat(input) }).toString();
      const headers = { 'content-type': 'application/x-www-form-urlencoded' };
      return { method: 'POST', path: '/', headers, body };
    }
    const headers = { 'content-type': 'application/x-amz-json-1.1', 'x-amz-target': operation };
    return { method: 'POST', path: '/', headers, body: JSON.stringify(input) };
  })();
  return send(cloud, await sign(cloud, identity, { region, service }, request));
}

/** Members of structures and lists as the Query protocol writes them: `Tags.member.1.Key`. */
function flat(input: Record<string, unknown>, before = ''): Record<string, string> {
  const entries = Object.entries(input).flatMap(([name, value]): [string, string][] => {
    if (Array.isArray(value)) {
      const numbered = Object.fromEntries(value.map((item, index) => [`member.${index + 1}`, item]));
      return Object.entries(flat(numbered, `${before}${name}.`));
    }
    if (typeof value === 'object' && value !== null)
      return Object.entries(flat(value as Record<string, unknown>, `${before}${name}.`));
    return [[`${before}${name}`, String(value)]];
  });
  return Object.fromEntries(entries);
}

/** A signed request, which can still be altered before it is sent. */
export async function sign(
  cloud: Cloud,
  identity: Identity,
  scope: { region: string; service: string; date?: Date },
  { method, path, query = {}, headers = {}, body = '' }: HttpRequest,
): Promise<HttpRequest> {
  const { host, hostname, port } = new URL(cloud.endpoint);
  const { region, service, date } = scope;
  const signer = new SignatureV4({ service, region, credentials: identity.credentials, sha256: Sha256 });
  const signed = await signer.sign(
    {
      method,
      protocol: 'http:',
      hostname,
      port: Number(port),
      path,
      query,
      headers: { host, ...headers },
      ...(body === '' ? {} : { body }),
    },
    date ? { signingDate: date } : {},
  );
  return { method, path, query, headers: signed.headers, body };
}

export function send(
  cloud: Cloud,
  { method, path, query = {}, headers = {}, body = '' }: HttpRequest,
): Promise<Answer> {
  const { hostname, port } = new URL(cloud.endpoint);
  const search = new URLSearchParams(query).toString();
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest(
      { hostname, port, method, path: search ? `${path}?${search}` : path, headers },
      (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on('data', (chunk) => chunks.push(chunk));
        incoming.on('error', reject);
        incoming.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          const status = incoming.statusCode ?? 0;
          resolve({
            status,
            error: status < 400 ? '' : errorOf(incoming.headers['x-amzn-errortype'], text),
            body: text,
          });
        });
      },
    );
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

function errorOf(header: string | string[] | undefined, text: string): string {
  if (header) return String(header);
  return /<Code>(\w+)<\/Code>/.exec(text)?.[1] ?? /"__type":"(\w+)"/.exec(text)?.[1] ?? 'unknown';
}
