import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { NotModelled } from '../iam/not-modelled.ts';
import { SignatureError, verifySignature } from '../iam/sigv4.ts';
import type { ApiGateway } from './api-gateway.ts';
import { HOST_HEADER, isOfAws } from './aws-hosts.ts';
import { type CustomResources, isResponseHost } from './custom-resources.ts';
import type { Identity } from './identities.ts';
import { protocolOf, refuseRest, type WireRequest, type WireResponse } from './protocols.ts';
import { type Caller, type Kernel, NoAnswer, ServiceError } from './service.ts';

/** For every client of the AWS SDK: `new ACMClient(cloud.clientConfig(identity, 'eu-west-1'))`. */
export interface ClientConfig {
  endpoint: string;
  region: string;
  credentials: Identity['credentials'];
}

/**
 * The one HTTP endpoint: verifies signatures, finds out which service and operation a request is for, and
 * answers in that service's protocol.
 */
export class Endpoint {
  readonly #kernel: Kernel;
  readonly #apiGateway: () => ApiGateway;
  readonly #customResources: () => CustomResources;
  readonly #server: Server;

  constructor(kernel: Kernel, apiGateway: () => ApiGateway, customResources: () => CustomResources) {
    this.#kernel = kernel;
    this.#apiGateway = apiGateway;
    this.#customResources = customResources;
    this.#server = createServer((request, response) => void this.#serve(request, response));
  }

  /** Listens on this port of 127.0.0.1, 0 for a free one. Returns the URL. */
  async start(port: number): Promise<string> {
    this.#server.listen(port, '127.0.0.1');
    await once(this.#server, 'listening');
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    if (!this.#server.listening) return;
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request) chunks.push(chunk);
    } catch {
      return; // The client went away.
    }
    const [path = '/', query = ''] = (request.url ?? '/').split(/\?(.*)/s);
    const { [HOST_HEADER]: host = request.headers.host, ...headers } = request.headers;
    const wire: WireRequest = {
      method: request.method ?? 'GET',
      path,
      query,
      headers: { ...headers, host: String(host) },
      rawHeaders: request.rawHeaders,
      body: Buffer.concat(chunks),
    };
    try {
      const answer = await this.answer(wire);
      response.writeHead(answer.status, answer.headers);
      response.end(answer.body);
    } catch (error) {
      if (!(error instanceof NoAnswer)) this.#kernel.fail(`${wire.method} ${wire.path}`, error);
      request.socket.destroy();
    }
  }

  /** `fetch` for the host names of AWS, without a socket. Every other host is refused. */
  readonly fetch: typeof fetch = async (input, init) => {
    const request = new Request(input, init);
    const { hostname, host, pathname, search } = new URL(request.url);
    if (!isOfAws(hostname))
      throw new TypeError('fetch failed', { cause: new NotModelled(`host ${hostname}`) });
    const sent: Record<string, string> = Object.fromEntries(request.headers);
    // Of a text fetch makes text/plain; what the caller said counts.
    const headers = { ...sent, host };
    const wire: WireRequest = {
      method: request.method,
      path: pathname,
      query: search.slice(1),
      headers,
      rawHeaders: Object.entries(headers).flat(),
      body: Buffer.from(await request.arrayBuffer()),
    };
    const answer = await this.answer(wire).catch((error: unknown) => {
      throw new TypeError('fetch failed', { cause: error });
    });
    return new Response(answer.body, { status: answer.status, headers: answer.headers });
  };

  /** Answers a request, wherever it came from. Throws NoAnswer when a fault keeps the answer. */
  async answer(wire: WireRequest): Promise<WireResponse> {
    const { headers, ...answer } = await this.#answer(wire);
    const common = { 'x-amzn-requestid': crypto.randomUUID(), date: this.#kernel.clock.now().toUTCString() };
    return { ...answer, headers: { ...common, ...headers } };
  }

  async #answer(request: WireRequest): Promise<WireResponse> {
    if (isResponseHost(request.headers.host)) return this.#customResources().receive(request);
    const verified = this.#verify(request);
    const protocol = protocolOf(request, verified.service);
    if (protocol === 'rest-api') return this.#answerApi(request, verified);
    try {
      if ('error' in verified) throw namedFor(verified.error, protocol.signatureErrors);
      const { operation, input } = protocol.parse(request, verified.service);
      checkScope(operation, verified.service);
      return protocol.answer(await this.#kernel.call(operation, input, verified.caller), operation);
    } catch (error) {
      if (error instanceof NoAnswer) throw error;
      return protocol.refuse(error instanceof ServiceError ? error : this.#own(request, error));
    }
  }

  /** A fault of the cloud itself is reported here, and answered as AWS answers for its own. */
  #own({ method, path, headers }: WireRequest, error: unknown): ServiceError {
    this.#kernel.fail(`${method} ${headers['x-amz-target'] ?? path}`, error);
    return error instanceof NotModelled
      ? new ServiceError('NotModelled', `The local cloud does not model this: ${error.message}`)
      : new ServiceError('InternalFailure', `The local cloud failed: ${(error as Error).message}`, 500);
  }

  async #answerApi(request: WireRequest, verified: Verified): Promise<WireResponse> {
    const { method, path, query, rawHeaders, body } = request;
    const refuse = (message: string, errorType: string) => ({
      status: 403,
      headers: { 'content-type': 'application/json', 'x-amzn-errortype': errorType },
      body: JSON.stringify({ message }),
    });
    const found = this.#apiGateway().find(path, request.headers.host);
    if (!found && 'caller' in verified && verified.service !== 'execute-api') {
      // Not meant for an API: a REST service of AWS, such as S3.
      const error = new NotModelled(`${verified.service}, ${method} ${path}`);
      return refuseRest(this.#own(request, error));
    }
    if (!found) return refuse('Forbidden', 'ForbiddenException');
    if ('error' in verified && verified.error.name !== 'MissingAuthenticationToken') {
      const { message, name } = namedFor(verified.error, 'json');
      return refuse(message, name);
    }
    if ('caller' in verified && verified.service !== 'execute-api') {
      return refuse(
        "Credential should be scoped to correct service: 'execute-api'. ",
        'InvalidSignatureException',
      );
    }
    const headers: Record<string, string> = {};
    for (let index = 0; index < rawHeaders.length; index += 2) {
      const name = rawHeaders[index] as string;
      // "Authorization: dropped if it contains a Signature Version 4 signature" (guide, "Important notes").
      if (!/^(authorization|connection|x-local-cloud-host)$/i.test(name))
        headers[name] = rawHeaders[index + 1] as string;
    }
    const forwarded = { method, path: found.rest, query, headers, body: body.toString() };
    const caller = 'caller' in verified ? verified.caller : undefined;
    const answer = await this.#apiGateway().handle(found.api, forwarded, caller);
    return { status: answer.statusCode, headers: answer.headers, body: answer.body };
  }

  #verify({ method, path, query, headers, body }: WireRequest): Verified {
    const credentialFor = (id: string) => this.#kernel.identities.key(id);
    const signed = { method, path, query, headers, body };
    // Callers outside the cloud live by the machine's clock, which does not move with the cloud's; and a call that is
    // under way when the clock is moved was signed before.
    let scope: ReturnType<typeof verifySignature> | SignatureError | undefined;
    for (const now of this.#kernel.clock.nowAndBefore()) {
      try {
        scope = verifySignature(signed, credentialFor, now);
        break;
      } catch (error) {
        if (!(error instanceof SignatureError)) throw error;
        scope ??= error;
        if (error.name !== 'RequestExpired') break;
      }
    }
    if (scope === undefined || scope instanceof SignatureError) {
      return { error: scope ?? new SignatureError('RequestExpired', 'no clock'), service: '' };
    }
    const key = this.#kernel.identities.key(scope.accessKeyId);
    if (!key || this.#kernel.identities.isExpired(key)) {
      return {
        error: new SignatureError('ExpiredToken', 'The security token included in the request is expired'),
        service: scope.service,
      };
    }
    return { caller: this.#kernel.identities.callerOf(key, scope.region), service: scope.service };
  }
}

type Verified = { caller: Caller; service: string } | { error: SignatureError; service: string };

/** JSON services and API Gateway name these errors with a suffix; to all, a stale signature is an invalid one. */
function namedFor({ name, message, statusCode }: SignatureError, names: 'json' | 'query'): ServiceError {
  if (names === 'query') {
    return new ServiceError(name === 'RequestExpired' ? 'SignatureDoesNotMatch' : name, message, statusCode);
  }
  const json: Record<string, string> = {
    RequestExpired: 'InvalidSignatureException',
    MissingAuthenticationToken: 'MissingAuthenticationTokenException',
    IncompleteSignature: 'IncompleteSignatureException',
    ExpiredToken: 'ExpiredTokenException',
  };
  return new ServiceError(json[name] ?? name, message);
}

/** Signing names by the service part of an operation. */
const signingNames: Record<string, string> = {
  cloudformation: 'cloudformation',
  ec2: 'ec2',
  CertificateManager: 'acm',
  AmazonSSM: 'ssm',
  secretsmanager: 'secretsmanager',
  DynamoDB_20120810: 'dynamodb',
  AWSStepFunctions: 'states',
  AWSEvents: 'events',
  AmazonSQS: 'sqs',
  iam: 'iam',
  lambda: 'lambda',
  route53: 'route53',
  sts: 'sts',
  sns: 'sns',
};

/** `acm` for `CertificateManager`; a service that nothing is signed for keeps its name. */
export const signingName = (service: string): string => signingNames[service] ?? service;

/** A signature for one service is worth nothing at another. */
function checkScope(operation: string, service: string): void {
  const expected = signingNames[operation.split('.')[0] ?? ''];
  if (expected && expected !== service) {
    throw new ServiceError(
      'InvalidSignatureException',
      `Credential should be scoped to correct service: '${expected}'.`,
    );
  }
}
