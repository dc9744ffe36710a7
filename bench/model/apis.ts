import type { VirtualTime } from './virtual-time.ts';

/** Calls a second; `burst` is the size of the bucket, one second's worth where no other size is documented. */
export interface Quota {
  perSecond: number;
  burst?: number;
}

/**
 * Request quotas for each account and Region. Sources: ACM user guide "Quotas"; AWS General Reference, Systems
 * Manager; Secrets Manager user guide "Quotas"; Step Functions developer guide "Quotas" (us-east-1, us-west-2 and
 * eu-west-1). For DescribeInstanceInformation none is published: taken as that of GetAutomationExecution.
 */
export const QUOTAS: Record<string, Quota> = {
  'acm:DescribeCertificate': { perSecond: 10 },
  'acm:ListTagsForCertificate': { perSecond: 10 },
  'acm:ExportCertificate': { perSecond: 10 },
  'ssm:StartAutomationExecution': { perSecond: 1 },
  'ssm:GetAutomationExecution': { perSecond: 3 },
  'ssm:DescribeInstanceInformation': { perSecond: 3 },
  'states:StartExecution': { perSecond: 300, burst: 1300 },
  'states:DescribeExecution': { perSecond: 10, burst: 15 },
  'secretsmanager:CreateSecret': { perSecond: 50 },
  'secretsmanager:PutSecretValue': { perSecond: 50 },
  'secretsmanager:PutResourcePolicy': { perSecond: 50 },
  'secretsmanager:GetRandomPassword': { perSecond: 50 },
};

export interface Count {
  calls: number;
  answered: number;
  throttled: number;
  faults: number;
}

export interface ApiOptions {
  /** How long a call takes, on average. */
  latencyMs: number;
  /** Share of the calls that fail for no reason: half of them before they take effect, half after. */
  faultShare: number;
  /** 0 to below 1. */
  random: () => number;
  quotas?: Record<string, Quota>;
}

/** The SDK's default, for clients that are not given another number. */
export const SDK_ATTEMPTS = 3;

type Service = Record<string, (input: never) => unknown>;

/** An error as an AWS client throws it. */
export const awsError = (name: string, message: string = name): Error =>
  Object.assign(new Error(message), { name });

const THROTTLED = 'ThrottlingException';
const SERVER_FAULT = 'InternalServerError';
const ANSWER_LOST = 'TimeoutError';

/** Full at first; filled again evenly. */
export class TokenBucket {
  readonly #perSecond: number;
  readonly #size: number;
  #tokens: number;
  #at: number | undefined;

  constructor({ perSecond, burst = perSecond }: Quota) {
    this.#perSecond = perSecond;
    this.#size = burst;
    this.#tokens = burst;
  }

  /** Takes a token where there is one. @param now in milliseconds. */
  take(now: number): boolean {
    const elapsed = (now - (this.#at ?? now)) / 1000;
    this.#at = now;
    this.#tokens = Math.min(this.#size, this.#tokens + elapsed * this.#perSecond);
    if (this.#tokens < 1) {
      return false;
    }
    this.#tokens -= 1;
    return true;
  }
}

/** Quotas, latency, faults and counts of every call that the functions make. */
export class Apis {
  readonly counts = new Map<string, Count>();
  readonly #buckets = new Map<string, TokenBucket>();
  readonly #time: VirtualTime;
  readonly #options: ApiOptions;

  constructor(time: VirtualTime, options: ApiOptions) {
    this.#time = time;
    this.#options = options;
  }

  /**
   * A client of one service in one account. Its own retries are those of the SDK's standard mode: full jitter over
   * 0.1 s doubled each time, 0.5 s where the service says "too fast", at most 20 s.
   *
   * @param name prefix of the operations, as in IAM.
   * @param prototype the class of the real client, where the functions' paginators look for it.
   */
  client<T>(name: string, service: object, place: string, attempts: number, prototype: object = {}): T {
    const send = async (command: { input: object; constructor: { name: string } }) => {
      const operation = operationOf(command.constructor.name);
      const answer = (service as Service)[operation];
      if (!answer) {
        throw new Error(`${name}:${operation} is not modelled.`);
      }
      for (let attempt = 1; ; attempt += 1) {
        try {
          return await this.#call(`${name}:${operation}`, place, () =>
            answer.call(service, command.input as never),
          );
        } catch (error) {
          const { name: kind } = error as Error;
          if (attempt >= attempts || ![THROTTLED, SERVER_FAULT, ANSWER_LOST].includes(kind)) {
            throw error;
          }
          const longest = Math.min(20_000, (kind === THROTTLED ? 500 : 100) * 2 ** (attempt - 1));
          await this.#time.sleep(this.#options.random() * longest);
        }
      }
    };
    return Object.assign(Object.create(prototype), { send }) as T;
  }

  /**
   * The configuration of a real client, with its own retries, of a service with a JSON protocol whose answers hold no
   * dates. Its first call reads configuration files: see `warmUp`.
   */
  clientConfig(name: string, service: object, place: string) {
    const handle = async ({ headers, body }: { headers: Record<string, string>; body: Uint8Array }) => {
      const operation = headers['x-amz-target']?.split('.')[1] ?? '';
      const answer = (service as Service)[operation];
      if (!answer) {
        throw new Error(`${name}:${operation} is not modelled.`);
      }
      const call = () => answer.call(service, JSON.parse(new TextDecoder().decode(body)) as never);
      const respond = (statusCode: number, content: unknown) => ({
        response: { statusCode, headers: {}, body: Buffer.from(JSON.stringify(content)) },
      });
      try {
        return respond(200, await this.#call(`${name}:${operation}`, place, call));
      } catch (error) {
        const { name: kind, message } = error as Error;
        if (kind === ANSWER_LOST) {
          throw error;
        }
        return respond(kind === SERVER_FAULT ? 500 : 400, { __type: kind, message });
      }
    };
    return {
      region: 'eu-central-1',
      credentials: { accessKeyId: 'nobody', secretAccessKey: 'nothing' },
      requestHandler: {
        handle,
        httpHandlerConfigs: () => ({}),
        updateHttpClientConfig() {},
        destroy() {},
      } as never,
    };
  }

  /** Lets a real client do in real time what it does before its first call, and forgets the call. */
  async warmUp(call: () => Promise<unknown>): Promise<void> {
    await this.#time.run(this.#options.random, () => call().catch(() => {}));
    this.counts.clear();
  }

  async #call(api: string, place: string, effect: () => unknown): Promise<unknown> {
    const { latencyMs, faultShare, random } = this.#options;
    const count = this.counts.get(api) ?? { calls: 0, answered: 0, throttled: 0, faults: 0 };
    this.counts.set(api, count);
    count.calls += 1;
    // Answers that come like clockwork would let those who start together stay together.
    await this.#time.sleep(latencyMs * (0.75 + random() / 2));
    if (!this.#hasToken(api, place)) {
      count.throttled += 1;
      throw awsError(THROTTLED, 'Rate exceeded');
    }
    const fault = random() < faultShare ? (random() < 0.5 ? SERVER_FAULT : ANSWER_LOST) : undefined;
    if (fault) {
      count.faults += 1;
    }
    if (fault === SERVER_FAULT) {
      throw awsError(fault);
    }
    // An answer such as "not found" is one, too.
    count.answered += fault ? 0 : 1;
    const answer = effect();
    if (fault) {
      throw awsError(fault);
    }
    return answer;
  }

  #hasToken(api: string, place: string): boolean {
    const quota = (this.#options.quotas ?? QUOTAS)[api];
    if (!quota) {
      return true;
    }
    const key = `${api} ${place}`;
    const bucket = this.#buckets.get(key) ?? new TokenBucket(quota);
    this.#buckets.set(key, bucket);
    return bucket.take(this.#time.now);
  }
}

/** The document client's commands have shorter names than the operations behind them. */
function operationOf(command: string): string {
  const name = command.replace(/Command$/, '');
  return ['Get', 'Put', 'Update', 'Delete', 'BatchWrite'].includes(name) ? `${name}Item` : name;
}

/** Pseudo-random numbers, the same in each run (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
