import type { Caller } from './service.ts';

export type FaultKind =
  /** Refused with the `error` of the fault; no effect. */
  | 'refuse'
  /** Takes effect when `until` has come to its end, whatever happened meanwhile. */
  | 'delay'
  /** Refused with the service's throttling error; no effect. */
  | 'throttle'
  /** Answered with the service's internal error; no effect. */
  | 'server-error'
  /** The request is lost: the connection closes without an answer; no effect. */
  | 'timeout'
  /** The effect happens, the answer is lost: the connection closes without one. */
  | 'answer-lost'
  /** The calling function's process ends before the effect. Of other callers: as timeout. */
  | 'crash-before-effect'
  /** The effect happens, then the calling function's process ends. Of other callers: as answer-lost. */
  | 'crash-after-effect';

export interface Fault {
  /** As in `RecordedCall.operation`, or its last part: `ExportCertificate`; `*` is any. */
  operation: string;
  kind: FaultKind;
  /** Of kind refuse: what the service answers. `status` is 400 by default. */
  error?: { name: string; message?: string; status?: number };
  /** Of kind delay: begins when the call comes. */
  until?: (input: never) => unknown;
  /** Default 1. The SDK's own retries count as calls. */
  times?: number;
  when?: (call: FaultableCall) => boolean;
}

/** A call as faults are chosen by. */
interface FaultableCall {
  operation: string;
  input: unknown;
  account: string;
  region: string;
  /** As in `RecordedCall.source`. */
  source: string;
}

/** What a call meets. */
type FaultMet = Pick<Fault, 'kind' | 'error' | 'until'>;

export interface Faults {
  inject(fault: Fault): { readonly left: number; remove(): void };
  /**
   * Lets this share of all calls fail from now on, half of them before their effect and half after it.
   *
   * @param random 0 to below 1.
   * @param when spares the calls for which it is false; default none.
   */
  share(part: number, random: () => number, when?: (call: FaultableCall) => boolean): void;
  clear(): void;
}

export class FaultPlan implements Faults {
  readonly #planned = new Set<{ fault: Fault; left: number }>();
  #chance: (call: FaultableCall) => FaultMet | undefined = () => undefined;

  inject(fault: Fault): { readonly left: number; remove(): void } {
    const entry = { fault, left: fault.times ?? 1 };
    this.#planned.add(entry);
    return {
      get left() {
        return entry.left;
      },
      remove: () => this.#planned.delete(entry),
    };
  }

  share(part: number, random: () => number, when: (call: FaultableCall) => boolean = () => true): void {
    this.#chance = (call) => {
      if (!when(call) || random() >= part) return undefined;
      return { kind: random() < 0.5 ? 'server-error' : 'answer-lost' };
    };
  }

  clear(): void {
    this.#planned.clear();
    this.#chance = () => undefined;
  }

  /** The fault that this call meets, counted down. */
  take(operation: string, input: unknown, { account, region, source }: Caller): FaultMet | undefined {
    const call = { operation, input, account, region, source };
    for (const entry of this.#planned) {
      const { operation: wanted } = entry.fault;
      const named = wanted === '*' || wanted === operation || operation.endsWith(`.${wanted}`);
      if (!named || entry.fault.when?.(call) === false) continue;
      entry.left -= 1;
      if (entry.left <= 0) this.#planned.delete(entry);
      return entry.fault;
    }
    return this.#chance(call);
  }
}
