import { createHash, createHmac } from 'node:crypto';
import { SignatureV4 } from '@smithy/signature-v4';
import type { Registered } from '../domain/deployment-resource.ts';
import { CHANGED_MEANWHILE, isStandstill } from '../domain/next.ts';
import type { Clock } from '../runtime/clock.ts';

/**
 * Where the API may be. The credentials go to no other host. The same as the pattern of the parameter DeploymentsApiUrl in
 * deployment-resource.yaml.
 */
const API_URL =
  /^https:\/\/[a-z0-9]{10}\.execute-api\.([a-z]{2,4}(?:-[a-z]{1,10}){1,3}-[0-9]{1,2})\.amazonaws\.com(?:\.cn)?\/v1$/;

export interface Credentials {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken: string;
}

export interface ApiOptions {
  /** Output DeploymentsApiUrl of the central stack. */
  url: string;
  credentials: Credentials;
  correlationId: string;
  send: typeof fetch;
  clock: Clock;
  /** No call is under way after this. */
  until: Date;
}

/** The API has refused a call, and refuses it again: nothing was done. The message says what to do. */
export class ApiRefused extends Error {
  override name = 'ApiRefused';
}

/** The API did not take a call in the time that there was. What was asked for may have been done. */
export class ApiUnavailable extends Error {
  override name = 'ApiUnavailable';
}

interface Reply {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: the answer of any route
  body: any;
}

/** API Gateway answers within 29 seconds. */
const CALL_TIMEOUT_MS = 35_000;
/** Pauses between the repeats of a call that was throttled, failed or got no answer: doubled each time, with chance. */
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;

/** The three routes of the deployments API that a resource needs. */
export class DeploymentsApi {
  readonly #options: ApiOptions;
  readonly #region: string;

  constructor(options: ApiOptions) {
    const [, region] = API_URL.exec(options.url) ?? [];
    if (!region) throw new Error('DEPLOYMENTS_API_URL is not the address of an API of API Gateway.');
    this.#options = options;
    this.#region = region;
  }

  /** A deployment as it is now, strongly consistent; undefined where there is none. */
  find(certName: string, deploymentId: string): Promise<Registered | undefined> {
    return this.#call('GET', `${pathOf(certName)}/${deploymentId}`, { mayBeMissing: true });
  }

  /**
   * @param correlationId by which the request can be known again in the deployment.
   * @returns the rollout that answers the order, where its number is known yet.
   */
  register(
    certName: string,
    order: object,
    correlationId: string,
  ): Promise<{ RolloutNumber?: number; CorrelationId: string }> {
    return this.#call('POST', pathOf(certName), { body: order, correlationId });
  }

  /** Removes a deployment; one that is gone already is removed. */
  async remove(certName: string, deploymentId: string): Promise<void> {
    await this.#call('DELETE', `${pathOf(certName)}/${deploymentId}`, { mayBeMissing: true });
  }

  /**
   * @param mayBeMissing whether a 404 of the API itself is an answer.
   * @throws ApiRefused, ApiUnavailable
   */
  async #call(
    method: string,
    path: string,
    {
      body,
      mayBeMissing = false,
      correlationId = this.#options.correlationId,
    }: { body?: object; mayBeMissing?: boolean; correlationId?: string },
  ): Promise<Reply['body']> {
    const { clock, until } = this.#options;
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
      const left = until.getTime() - clock.now().getTime();
      const reply = await this.#once(
        method,
        path,
        body,
        correlationId,
        Math.max(1, Math.min(left, CALL_TIMEOUT_MS)),
      );
      if (reply.status >= 200 && reply.status < 300) return reply.body;
      if (reply.status === 404 && mayBeMissing && reply.body.CorrelationId) return undefined;
      if (!isPassing(reply)) throw new ApiRefused(refusalOf(method, path, reply));
      const wait = pause * (0.75 + clock.random() / 2);
      if (clock.now().getTime() + wait >= until.getTime()) {
        throw new ApiUnavailable(
          `The deployments API did not take ${method} ${path}, the last time with ${wordsOf(reply)}. ` +
            'Deploy the stack again in a while; if that fails too, look at the log of the function deployments-api.',
        );
      }
      await clock.sleep(wait);
    }
  }

  /** Status 599 stands for no answer at all. */
  async #once(
    method: string,
    path: string,
    given: object | undefined,
    correlationId: string,
    timeout: number,
  ): Promise<Reply> {
    const { credentials, send, clock } = this.#options;
    const url = new URL(this.#options.url + path);
    const body = given === undefined ? {} : { body: JSON.stringify(given) };
    const signer = new SignatureV4({
      service: 'execute-api',
      region: this.#region,
      credentials,
      sha256: Sha256,
    });
    const { headers } = await signer.sign(
      {
        method,
        protocol: url.protocol,
        hostname: url.hostname,
        path: url.pathname,
        query: {},
        headers: { host: url.host, 'content-type': 'application/json', 'x-correlation-id': correlationId },
        ...body,
      },
      { signingDate: clock.now() },
    );
    // fetch sets it itself.
    const { host: _, ...sent } = headers;
    try {
      const response = await send(url, {
        method,
        headers: sent,
        redirect: 'error',
        signal: AbortSignal.timeout(timeout),
        ...body,
      });
      return { status: response.status, body: parsed(await response.text()) };
    } catch (error) {
      const { cause, name } = error as Error & { cause?: { code?: string } };
      return { status: 599, body: { Message: cause?.code ?? name } };
    }
  }
}

/** Throttled, failed, without an answer, or in the way of another call that was faster. */
const isPassing = ({ status, body }: Reply): boolean =>
  status >= 500 || status === 429 || (status === 409 && body.Message === CHANGED_MEANWHILE);

/** SHA-256 as the signer takes it; with a secret, the HMAC. */
class Sha256 {
  readonly #hash;

  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    this.#hash = secret === undefined ? createHash('sha256') : createHmac('sha256', bytesOf(secret));
  }

  update(data: string | ArrayBuffer | ArrayBufferView): void {
    this.#hash.update(bytesOf(data));
  }

  async digest(): Promise<Uint8Array> {
    return this.#hash.digest();
  }
}

const bytesOf = (data: string | ArrayBuffer | ArrayBufferView): Uint8Array | string =>
  typeof data === 'string'
    ? data
    : data instanceof ArrayBuffer
      ? new Uint8Array(data)
      : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

const pathOf = (certName: string) => `/certificates/${certName}/deployments`;

function parsed(text: string): object {
  try {
    return Object(JSON.parse(text));
  } catch {
    return { Message: text.slice(0, 200) };
  }
}

const wordsOf = ({ status, body }: Reply): string =>
  status === 599
    ? `no answer (${body.Message})`
    : `HTTP ${status} ${body.Message ?? body.message ?? ''}`.trim();

/** What is refused, why, and what to do about it. */
function refusalOf(method: string, path: string, reply: Reply): string {
  const { status, body } = reply;
  const text = String(body.Message ?? body.message ?? `HTTP ${status}`);
  const faults = (body.Faults ?? []).map(
    ({ Field, Reason }: Record<string, string>) => `${Field}: ${Reason}`,
  );
  if (!body.CorrelationId) {
    const advice = /not authorized/i.test(text)
      ? 'Add the name to the parameter CertNames of the stack of deployment-resource.yaml and, where there is one, of the role in the central account.'
      : 'Is the parameter DeploymentsApiUrl of the stack of deployment-resource.yaml that of the central stack?';
    return `API Gateway refuses ${method} ${path}: ${text} What to do: ${advice}`;
  }
  const said = [text, ...faults].join(' ');
  return isStandstill(text) ? `${said} Deploy the stack again when rollouts may begin.` : said;
}
