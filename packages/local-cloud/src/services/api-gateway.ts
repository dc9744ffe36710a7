import { randomUUID } from 'node:crypto';
import type { PolicyDocument } from '../iam/evaluate.ts';
import { NotModelled } from '../iam/not-modelled.ts';
import type { PolicedState } from '../iam/operations.ts';
import type { InvokeResult } from './lambda.ts';
import { type Caller, type Kernel, NoAnswer, type Operations, PATIENCE, ServiceError } from './service.ts';

/** "Integration timeout: 50 milliseconds - 29 seconds" (developer guide, quotas). */
const INTEGRATION_SECONDS = 29;
/** "Payload size: 10 MB". */
const PAYLOAD_BYTES = 10_485_760;

export interface Api {
  id: string;
  account: string;
  region: string;
  stage: string;
  policy?: PolicyDocument;
  routes: {
    /** Upper case, or ANY. */
    method: string;
    /** `/orders/{Id}/parcels` */
    path: string;
    functionArn: string;
  }[];
  /** The gateway response REQUEST_TOO_LARGE as JSON, where it is not the default. */
  tooLarge?: string;
}

/** An HTTP request whose signature was verified. */
interface ApiRequest {
  method: string;
  /** Behind the stage, still encoded. */
  path: string;
  query: string;
  headers: Record<string, string>;
  body: string;
}

interface ApiResponse {
  statusCode: number;
  headers: Record<string, string>;
  body: string;
}

/**
 * API Gateway REST APIs with AWS_IAM and Lambda proxy integrations. Source: developer guide, "Lambda proxy
 * integrations in API Gateway", "Control access with IAM", "Gateway response types".
 *
 * Of what is too large AWS documents the limits and the response type REQUEST_TOO_LARGE, 413, but not which of the two
 * limits has it. The answers here are those that others saw (github.com/koki-develop/lgtm-generator/issues/10): above 10 MB
 * plain text, whatever REQUEST_TOO_LARGE says; an event that Lambda does not take 413 with "Request Too Long" as JSON, in
 * the form of gateway responses. That REQUEST_TOO_LARGE is the type of the latter is concluded from this.
 *
 * Not modelled: authorizers but AWS_IAM, gateway responses but REQUEST_TOO_LARGE, request validation, usage plans and
 * throttling, caching, CORS, binary bodies.
 */
export class ApiGateway {
  readonly operations: Operations = {
    'execute-api.Invoke': ({ api, route, request, requestId }, caller) =>
      this.#integrate(api, route, request, requestId, caller),
  };
  readonly #kernel: Kernel;
  readonly #apis = new Map<string, Api>();

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  createApi(api: Api): void {
    this.#apis.set(api.id, api);
  }

  /** By `arn:…:execute-api:region:account:api-id`. */
  state(arn: string): PolicedState | undefined {
    const api = this.#apis.get(arn.split(':').at(-1) ?? '');
    return api && { arn, tags: {}, ...(api.policy ? { policy: api.policy } : {}) };
  }

  /**
   * The API that a request belongs to. By its host, as on AWS: `<api id>.execute-api.<region>.…/<stage>/…`. At the
   * endpoint: `/<api id>/<stage>/…`, or `/<stage>/…` where one API has a stage of that name. The rest of the path is what the
   * API sees.
   */
  find(path: string, host = ''): { api: Api; rest: string } | undefined {
    const [first = '', second = '', ...others] = path.split('/').slice(1);
    const [, id, region] = /^([a-z0-9]+)\.execute-api\.([a-z0-9-]+)\./.exec(host) ?? [];
    if (id) {
      const api = this.#apis.get(id);
      const rest = `/${[second, ...others].join('/')}`;
      return api?.region === region && api?.stage === first ? { api, rest } : undefined;
    }
    const byId = this.#apis.get(first);
    if (byId) return byId.stage === second ? { api: byId, rest: `/${others.join('/')}` } : undefined;
    const byStage = [...this.#apis.values()].filter(({ stage }) => stage === first);
    const [only] = byStage;
    return byStage.length === 1 && only
      ? { api: only, rest: `/${[second, ...others].join('/')}` }
      : undefined;
  }

  /** `caller` is missing when the request is not signed. */
  async handle(api: Api, request: ApiRequest, caller: Caller | undefined): Promise<ApiResponse> {
    const requestId = randomUUID();
    const route = this.#route(api, request);
    // A path without a method is answered like a request without a signature.
    if (!route || !caller)
      return refusal(403, 'MissingAuthenticationTokenException', 'Missing Authentication Token', requestId);
    if (Buffer.byteLength(request.body) > PAYLOAD_BYTES) {
      const body = `HTTP content length exceeded ${PAYLOAD_BYTES} bytes.`;
      return { statusCode: 413, headers: { 'content-type': 'text; charset=utf-8' }, body };
    }
    if (caller.region !== api.region) {
      return refusal(
        403,
        'InvalidSignatureException',
        `Credential should be scoped to a valid region, not '${caller.region}'. `,
        requestId,
      );
    }
    const target: Caller = { ...caller, account: api.account };
    const input = {
      apiId: api.id,
      stage: api.stage,
      method: request.method,
      path: request.path,
      api,
      route,
      request,
      requestId,
    };
    try {
      return await this.#kernel.call('execute-api.Invoke', input, target);
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error;
      if (error.name !== 'AccessDeniedException')
        return refusal(error.status, error.name, error.message, requestId);
      // Gateway responses hide the account: ********1111. This one alone begins with a capital letter.
      const message = error.message.replaceAll(`:${api.account}:`, `:********${api.account.slice(-4)}:`);
      return { ...refusal(403, error.name, '', requestId), body: JSON.stringify({ Message: message }) };
    }
  }

  #route(api: Api, { method, path }: ApiRequest) {
    return api.routes.find(
      (route) => (route.method === method || route.method === 'ANY') && parametersOf(route.path, path),
    );
  }

  async #integrate(
    api: Api,
    route: Api['routes'][number],
    request: ApiRequest,
    requestId: string,
    caller: Caller,
  ): Promise<ApiResponse> {
    const event = this.#proxyEvent(api, route, request, requestId, caller);
    this.#kernel.record.emit('api-request', caller.source, {
      method: request.method,
      path: request.path,
      query: request.query,
      body: request.body,
    });
    const gateway: Caller = {
      account: api.account,
      region: api.region,
      principal: {
        account: '',
        arn: '',
        service: 'apigateway.amazonaws.com',
        tags: {},
        identityPolicies: [],
      },
      context: {
        'aws:SourceArn': `arn:${this.#kernel.partition}:execute-api:${api.region}:${api.account}:${api.id}/${api.stage}/${route.method}${route.path}`,
        'aws:SourceAccount': api.account,
      },
      source: 'aws apigateway',
    };
    const input = { FunctionName: route.functionArn, Payload: JSON.stringify(event) };
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(() => resolve('late'), INTEGRATION_SECONDS * 1000 * PATIENCE);
      timer.unref(); // A cloud that stops waits for no time-out.
    });
    let response: ApiResponse;
    try {
      const result: InvokeResult | 'late' = await Promise.race([
        this.#kernel.call('lambda.Invoke', input, gateway),
        late,
      ]);
      response =
        result === 'late'
          ? refusal(504, 'InternalServerErrorException', 'Endpoint request timed out', requestId)
          : (responseOf(result, requestId) ??
            refusal(502, 'InternalServerErrorException', 'Internal server error', requestId));
    } catch (error) {
      if (!(error instanceof ServiceError || error instanceof NoAnswer)) throw error;
      response =
        error.name === 'RequestTooLargeException'
          ? tooLarge(api, requestId)
          : // A missing lambda permission shows in the API's execution log only.
            refusal(500, 'InternalServerErrorException', 'Internal server error', requestId);
    } finally {
      clearTimeout(timer);
    }
    this.#kernel.record.emit('api-answer', `function ${route.functionArn.split(':').at(-1)}`, response);
    return response;
  }

  #proxyEvent(
    api: Api,
    route: Api['routes'][number],
    request: ApiRequest,
    requestId: string,
    caller: Caller,
  ) {
    const now = this.#kernel.clock.now();
    const key = this.#kernel.identities.key(caller.accessKeyId ?? '');
    const described = key && this.#kernel.identities.describe(key);
    const query = new URLSearchParams(request.query);
    const names = [...new Set(query.keys())];
    const path = `/${api.stage}${request.path}`;
    return {
      resource: route.path,
      path: request.path,
      httpMethod: request.method,
      headers: request.headers,
      multiValueHeaders: Object.fromEntries(
        Object.entries(request.headers).map(([name, value]) => [name, [value]]),
      ),
      // Of a repeated name the last value.
      queryStringParameters:
        names.length === 0
          ? null
          : Object.fromEntries(names.map((name) => [name, query.getAll(name).at(-1)])),
      multiValueQueryStringParameters:
        names.length === 0 ? null : Object.fromEntries(names.map((name) => [name, query.getAll(name)])),
      // REST APIs hand path parameters on as they were sent, still percent-encoded.
      pathParameters: parametersOf(route.path, request.path) ?? null,
      stageVariables: null,
      requestContext: {
        resourceId: 'local',
        resourcePath: route.path,
        httpMethod: request.method,
        extendedRequestId: requestId.slice(0, 12),
        requestTime: now.toUTCString(),
        path,
        accountId: api.account,
        protocol: 'HTTP/1.1',
        stage: api.stage,
        domainPrefix: api.id,
        requestTimeEpoch: now.getTime(),
        requestId,
        identity: {
          cognitoIdentityPoolId: null,
          cognitoIdentityId: null,
          cognitoAuthenticationType: null,
          cognitoAuthenticationProvider: null,
          principalOrgId: null,
          accountId: described?.Account ?? null,
          accessKey: caller.accessKeyId ?? null,
          caller: described?.UserId ?? null,
          user: described?.UserId ?? null,
          userArn: described?.Arn ?? null,
          sourceIp: '127.0.0.1',
          userAgent: request.headers['user-agent'] ?? null,
        },
        domainName: `${api.id}.execute-api.${api.region}.amazonaws.com`,
        apiId: api.id,
      },
      body: request.body === '' ? null : request.body,
      isBase64Encoded: false,
    };
  }
}

/** Path parameters when the path fits, or nothing. An empty segment is no value. */
function parametersOf(pattern: string, path: string): Record<string, string> | undefined {
  if (pattern.includes('+}')) throw new NotModelled(`greedy path ${pattern}`);
  const wanted = pattern.split('/');
  const actual = path.split('/');
  if (wanted.length !== actual.length) return undefined;
  const parameters: Record<string, string> = {};
  for (const [index, part] of wanted.entries()) {
    const value = actual[index] as string;
    const [, name] = /^\{(.+)\}$/.exec(part) ?? [];
    if (name && value !== '') parameters[name] = value;
    else if (part !== value) return undefined;
  }
  return parameters;
}

/** The function's answer, or nothing when it is not in the form that a proxy integration needs. */
function responseOf(result: InvokeResult, requestId: string): ApiResponse | undefined {
  if (result.FunctionError) return undefined;
  const answer = JSON.parse(result.Payload);
  const known = ['statusCode', 'headers', 'multiValueHeaders', 'body', 'isBase64Encoded'];
  if (
    typeof answer !== 'object' ||
    answer === null ||
    Object.keys(answer).some((name) => !known.includes(name))
  )
    return undefined;
  if (
    !Number.isInteger(Number(answer.statusCode)) ||
    !['string', 'undefined'].includes(typeof (answer.body ?? undefined))
  )
    return undefined;
  const headers: Record<string, string> = {
    'content-type': 'application/json',
    'x-amzn-requestid': requestId,
  };
  for (const [name, value] of Object.entries({ ...answer.multiValueHeaders, ...answer.headers })) {
    headers[name.toLowerCase()] = [value].flat().join(',');
  }
  const body = answer.isBase64Encoded
    ? Buffer.from(answer.body ?? '', 'base64').toString()
    : (answer.body ?? '');
  return { statusCode: Number(answer.statusCode), headers, body };
}

function tooLarge({ tooLarge: template }: Api, requestId: string): ApiResponse {
  const byDefault = refusal(413, 'BadRequestException', 'Request Too Long', requestId);
  return template === undefined
    ? byDefault
    : { ...byDefault, body: template.replaceAll('$context.requestId', requestId) };
}

function refusal(statusCode: number, errorType: string, message: string, requestId: string): ApiResponse {
  return {
    statusCode,
    headers: {
      'content-type': 'application/json',
      'x-amzn-errortype': errorType,
      'x-amzn-requestid': requestId,
    },
    body: JSON.stringify({ message }),
  };
}
