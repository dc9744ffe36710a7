import { Sha256 } from '@aws-crypto/sha256-js';
import { SignatureV4 } from '@smithy/signature-v4';
import { isStandstill } from '../functions/domain/next.ts';
import type {
  Deployment,
  DeploymentWithNodes,
  Endpoint,
  FreezeState,
  Node,
  RequestState,
  Started,
} from './answers.ts';
import { Stop } from './exit.ts';
import { credentialsFault, NETWORK } from './faults.ts';
import type { AwsSettings, World } from './world.ts';

interface Answer {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: the answer of any route
  body: any;
}

/** Pauses before the repeats of a call that was throttled or got no answer, in milliseconds: 15 seconds together. */
const PAUSES = [500, 1000, 2000, 4000, 8000];
const CALL_TIMEOUT_MS = 40_000;
const PAGE = 100;

/** The API of one central stack. Each request is signed; throttled ones and those without an answer are repeated. */
export class Api {
  readonly url: string;
  readonly settings: AwsSettings;
  readonly #world: World;
  readonly #profile: string | undefined;

  /** @param url root of the API: the output DeploymentsApiUrl of the stack. */
  constructor(url: string, settings: AwsSettings, world: World, profile: string | undefined) {
    this.url = url.replace(/\/+$/, '');
    this.settings = settings;
    this.#world = world;
    this.#profile = profile;
  }

  /** The deployments of a name, or of the whole fleet, of all pages. */
  deployments(certName?: string, filters: Record<string, string> = {}): Promise<Deployment[]> {
    const path = certName === undefined ? '/deployments' : `${pathOf(certName)}/deployments`;
    return this.#pages(path, 'Deployments', filters);
  }

  /** One deployment with all its nodes. @param isShort with the first hundred nodes only. */
  async deployment(certName: string, id: string, isShort = false): Promise<DeploymentWithNodes> {
    const path = `${pathOf(certName)}/deployments/${id}`;
    const first = await this.#call('GET', path, { Limit: String(PAGE) });
    const nodes: Node[] = first.Nodes;
    let token = first.NextToken;
    while (token && !isShort) {
      const page = await this.#call('GET', path, { Limit: String(PAGE), NextToken: token });
      nodes.push(...page.Nodes);
      token = page.NextToken;
    }
    const { NextToken: _, CorrelationId: __, ...deployment } = first;
    return { ...deployment, Nodes: nodes, ...(token ? { NextToken: token } : {}) };
  }

  /** One deployment, if there is one: consistent, other than lists. */
  async find(certName: string, id: string): Promise<Deployment | undefined> {
    const path = `${pathOf(certName)}/deployments/${id}`;
    const found = await this.#call('GET', path, { Limit: '1' }, undefined, true);
    if (!found) return undefined;
    const { Nodes: _, NextToken: __, CorrelationId: ___, ...deployment } = found;
    return deployment;
  }

  register(certName: string, order: object): Promise<Started> {
    return this.#call('POST', `${pathOf(certName)}/deployments`, {}, order);
  }

  /** @param verb rollouts, pause or resume. */
  act(certName: string, id: string, verb: 'rollouts' | 'pause' | 'resume'): Promise<Started> {
    return this.#call('POST', `${pathOf(certName)}/deployments/${id}/${verb}`);
  }

  remove(certName: string, id: string, isForced: boolean): Promise<{ Warnings: string[] }> {
    const query: Record<string, string> = isForced ? { Force: 'true' } : {};
    return this.#call('DELETE', `${pathOf(certName)}/deployments/${id}`, query);
  }

  renew(certName: string, CertificateArn: string): Promise<{ Serial: string; Warnings: string[] }> {
    return this.#call('POST', `${pathOf(certName)}/renewals`, {}, { CertificateArn });
  }

  /** Requests a certificate under a name. The same request again asks ACM for nothing. */
  requestCertificate(certName: string, wish: object): Promise<RequestState> {
    return this.#call('POST', pathOf(certName), {}, wish);
  }

  /** The certificate request of a name. */
  certificateRequest(certName: string): Promise<RequestState> {
    return this.#call('GET', pathOf(certName));
  }

  /** Whether all rollouts are frozen, by whom and why. */
  freezeState(): Promise<FreezeState> {
    return this.#call('GET', '/freeze');
  }

  freeze(Reason: string): Promise<FreezeState> {
    return this.#call('POST', '/freeze', {}, { Reason });
  }

  thaw(): Promise<FreezeState> {
    return this.#call('POST', '/thaw');
  }

  endpoints(): Promise<Endpoint[]> {
    return this.#pages('/endpoints', 'Endpoints', { Finding: 'unregistered' });
  }

  async #pages<T>(path: string, member: string, filters: Record<string, string>): Promise<T[]> {
    const found: T[] = [];
    let token: string | undefined;
    do {
      const page = await this.#call('GET', path, {
        ...filters,
        Limit: String(PAGE),
        ...(token ? { NextToken: token } : {}),
      });
      found.push(...page[member]);
      token = page.NextToken;
    } while (token);
    return found;
  }

  async #call(
    method: string,
    path: string,
    query: Record<string, string> = {},
    body?: object,
    mayBeMissing = false,
    // biome-ignore lint/suspicious/noExplicitAny: the answer of any route
  ): Promise<any> {
    for (let attempt = 0; ; attempt += 1) {
      const answer = await this.#once(method, path, query, body);
      const isOver = answer.status !== 429 && answer.status < 500;
      const pause = PAUSES[attempt];
      if (answer.status === 599 && this.#world.interrupted.aborted) {
        throw new Stop('interrupted', 'Interrupted. What was asked for last may have been done.');
      }
      if (isOver || pause === undefined) {
        // A DELETE whose answer was lost has done its work.
        if (method === 'DELETE' && answer.status === 404 && attempt > 0) return { Warnings: [] };
        if (answer.status >= 200 && answer.status < 300) return answer.body;
        if (mayBeMissing && answer.status === 404 && answer.body?.CorrelationId) return undefined;
        throw this.#refused(method, path, answer);
      }
      await this.#world.sleep(pause * (0.75 + Math.random() / 2));
    }
  }

  /** Status 599 stands for no answer at all. */
  async #once(
    method: string,
    path: string,
    query: Record<string, string>,
    body: object | undefined,
  ): Promise<Answer> {
    const url = new URL(this.url + path);
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    const text = body === undefined ? undefined : JSON.stringify(body);
    const { region, credentials } = this.settings;
    const signer = new SignatureV4({ service: 'execute-api', region, credentials, sha256: Sha256 });
    const signed = await signer
      .sign({
        method,
        protocol: url.protocol,
        hostname: url.hostname,
        ...(url.port ? { port: Number(url.port) } : {}),
        path: url.pathname,
        query,
        headers: { host: url.host, ...(text === undefined ? {} : { 'content-type': 'application/json' }) },
        ...(text === undefined ? {} : { body: text }),
      })
      .catch((error: unknown) => {
        throw credentialsFault(error, this.#profile);
      });
    const { host: _, ...headers } = signed.headers;
    try {
      const response = await this.#world.fetch(url, {
        method,
        headers,
        redirect: 'error',
        signal: AbortSignal.any([AbortSignal.timeout(CALL_TIMEOUT_MS), this.#world.interrupted]),
        ...(text === undefined ? {} : { body: text }),
      });
      const answered = await response.text();
      return { status: response.status, body: parsed(answered) };
    } catch (error) {
      const { cause, message } = error as Error & { cause?: { code?: string; message?: string } };
      return { status: 599, body: { Message: cause?.code ?? cause?.message ?? message } };
    }
  }

  #refused(method: string, path: string, { status, body }: Answer): Stop {
    const { Message, message, Faults = [], CorrelationId } = body ?? {};
    const text: string = String(Message ?? message ?? `HTTP ${status}`);
    const isOfApi = CorrelationId !== undefined;
    const faults = (Faults as { Field: string; Reason: string }[]).map(
      ({ Field, Reason }) => `  ${Field}: ${Reason}`,
    );
    if (status === 599) {
      return new Stop(
        'failed',
        `${this.url} does not answer: ${text}.`,
        NETWORK,
        'Is the address that of the API? See --endpoint, --stack and --region.',
      );
    }
    if (!isOfApi && status === 403) return this.#gatewayRefusal(method, path, text);
    if (status === 400) return new Stop('usage', text, ...faults);
    if (status === 409 && (isStandstill(text) || text.includes('is paused'))) return new Stop('paused', text);
    if (status === 429) {
      return new Stop(
        'failed',
        `Too many calls, also after ${PAUSES.length} repeats: ${text}`,
        'Repeat the command in a minute.',
      );
    }
    if (status >= 500) {
      return new Stop(
        'failed',
        `The API failed: ${text} (HTTP ${status}, ${method} ${path}).`,
        'Repeat the command. If it fails again, read the log of the function deployments-api.',
      );
    }
    return new Stop('failed', text, ...faults);
  }

  /** What API Gateway says itself. Its own text may have the account in part only: ********3333. */
  #gatewayRefusal(method: string, path: string, text: string): Stop {
    if (/expired/i.test(text) && !/^Signature expired/i.test(text))
      return credentialsFault(new Error(text), this.#profile);
    if (/^Signature (expired|not yet current)/i.test(text)) {
      return new Stop(
        'failed',
        `AWS refuses the time of the request: ${text}`,
        'Set the clock of this machine.',
      );
    }
    if (/security token|signature|credential/i.test(text)) {
      return new Stop(
        'failed',
        `AWS does not accept the credentials: ${text}`,
        'Check them with: aws sts get-caller-identity',
        'The Region must be that of the stack (--region).',
      );
    }
    const who = /User: (\S+) is not authorized/.exec(text)?.[1];
    const explicit = / with an explicit deny( in [^:]*)?/.exec(text)?.[0] ?? '';
    if (!who) {
      return new Stop(
        'failed',
        `API Gateway refuses ${method} ${path}: ${text}`,
        `Is ${this.url} the root of the API, the output DeploymentsApiUrl of the stack?`,
        // API Gateway says this of a path that the API does not have, whatever signature the call has.
        ...(text === 'Missing Authentication Token'
          ? ['If it is, the stack is of an earlier edition, which does not know this call. Update the stack.']
          : []),
      );
    }
    return new Stop(
      'failed',
      `${who} may not do this${explicit}.`,
      `It needs the permission execute-api:Invoke on ${this.#resourceOf(method, path)}`,
      ...(path === '/deployments'
        ? ['With the permission for one name only, give the name: list --cert-name NAME.']
        : []),
    );
  }

  /** As IAM policies name it (API Gateway guide, "Resource format of permissions for executing API"). */
  #resourceOf(method: string, path: string): string {
    const { hostname, pathname } = new URL(this.url);
    const parts = pathname.split('/').filter(Boolean);
    const id = hostname.includes('.execute-api.') ? hostname.split('.')[0] : parts[0];
    const stage = parts.at(-1);
    const partition = hostname.endsWith('.cn')
      ? 'aws-cn'
      : /^us-gov-/.test(this.settings.region)
        ? 'aws-us-gov'
        : 'aws';
    return `arn:${partition}:execute-api:${this.settings.region}:*:${id}/${stage}/${method}${path}`;
  }
}

const pathOf = (certName: string) => `/certificates/${encodeURIComponent(certName)}`;

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return { message: text.slice(0, 200) };
  }
}
