import type { Principal } from '../iam/evaluate.ts';
import type { Clock } from './clock.ts';
import type { Delays } from './delays.ts';
import type { Identities } from './identities.ts';
import type { Recorder } from './recording.ts';

/** Who calls, from where: what every operation gets beside its input. */
export interface Caller {
  /** Account of the principal. */
  account: string;
  /** Region of the signature: the Region that is called. */
  region: string;
  principal: Principal;
  /** What aws:SourceArn and the like are when an AWS service calls for a resource. */
  context?: Record<string, string>;
  /** As in `RecordedCall.source`. */
  source: string;
  accessKeyId?: string;
  /** Ends the process that makes the call, for faults; only of functions. */
  crash?: (() => void) | undefined;
}

/** The answer of a service that refuses: `name` is the error code on the wire. */
export class ServiceError extends Error {
  readonly status: number;
  /** Members of the error beside the message. */
  readonly fields: Record<string, unknown>;
  constructor(name: string, message: string, status = 400, fields: Record<string, unknown> = {}) {
    super(message);
    this.name = name;
    this.status = status;
    this.fields = fields;
  }
}

/** The call got no answer: the request or the answer was lost (see faults). */
export class NoAnswer extends Error {
  override name = 'NoAnswer';
}

// biome-ignore lint/suspicious/noExplicitAny: each operation knows the shape of its own input
export type Operation = (input: any, caller: Caller) => unknown;
/** By operation as on the wire: X-Amz-Target, or `<service>.<Operation>` where there is no target. */
export type Operations = Record<string, Operation>;

/** An event as it lies on a bus. */
export interface BusEvent {
  version: '0';
  id: string;
  'detail-type': string;
  source: string;
  account: string;
  time: string;
  region: string;
  resources: string[];
  detail: unknown;
}

/**
 * How many times longer a function or an integration may take here than on AWS before it is ended: this machine is
 * shared with whatever else runs on it, and its slowness is no fault of the function.
 */
export const PATIENCE = 20;

/** What the services need of the cloud around them. */
export interface Kernel {
  partition: string;
  endpoint: string;
  folder: string;
  /** Certificate of the root that issues everything. */
  rootCertificatePem: string;
  clock: Clock;
  delays: Delays;
  record: Recorder;
  identities: Identities;
  /** One API call as any other (authorized, recorded, with faults), made by a service for another principal. */
  // biome-ignore lint/suspicious/noExplicitAny: the output's shape is the operation's
  call(operation: string, input: unknown, caller: Caller): Promise<any>;
  /** Puts an event of AWS itself on the default bus of account and Region. */
  publish(
    event: Pick<BusEvent, 'detail-type' | 'source' | 'account' | 'region' | 'resources' | 'detail'>,
  ): void;
  /** Keeps `idle()` waiting until the work is done; what it throws is a fault of the cloud itself. */
  track(work: Promise<unknown>): void;
  /** Reports a fault of the cloud itself, or something that it does not model. */
  fail(what: string, error: unknown): void;
}

/** State that services keep for each account and Region. */
export class Regional<T> {
  readonly #states = new Map<string, T>();
  readonly #create: (account: string, region: string) => T;
  constructor(create: (account: string, region: string) => T) {
    this.#create = create;
  }
  of(account: string, region: string): T {
    const key = `${account} ${region}`;
    let state = this.#states.get(key);
    if (!state) {
      state = this.#create(account, region);
      this.#states.set(key, state);
    }
    return state;
  }
  all(): T[] {
    return [...this.#states.values()];
  }
}

interface ArnParts {
  partition: string;
  service: string;
  region: string;
  account: string;
  resource: string;
}

/** The parts of an ARN, or nothing when the text is not one. */
export function parseArn(text: string): ArnParts | undefined {
  const [, partition, service, region, account, resource] =
    /^arn:([\w-]+):([\w-]+):([\w-]*):(\d*):(.+)$/s.exec(text) ?? [];
  if (!partition || !service || region === undefined || account === undefined || !resource) return undefined;
  return { partition, service, region, account, resource };
}

/**
 * One page of a list. Tokens name the position, which is enough where nothing is deleted between two pages.
 * Throws what `invalidToken` makes.
 */
export function page<T>(
  items: T[],
  size: number,
  token: string | undefined,
  invalidToken: () => Error,
): { items: T[]; nextToken?: string } {
  const start = token === undefined ? 0 : Number(/^page-(\d+)$/.exec(token)?.[1] ?? Number.NaN);
  if (Number.isNaN(start)) throw invalidToken();
  const end = start + size;
  return { items: items.slice(start, end), ...(end < items.length ? { nextToken: `page-${end}` } : {}) };
}

/** Random characters out of an alphabet, for ids. */
export function randomText(length: number, alphabet: string): string {
  const bytes = crypto.getRandomValues(new Uint8Array(length));
  return Array.from(bytes, (byte) => alphabet[byte % alphabet.length]).join('');
}
