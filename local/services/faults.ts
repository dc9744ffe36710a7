import type { Caller } from './service.ts';

export type FaultKind =
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
  /** As in `RecordedCall.operation`, or its last part: `ExportCertificate`. */
  operation: string;
  kind: FaultKind;
  /** Default 1. The SDK's own retries count as calls. */
  times?: number;
  when?: (call: {
    operation: string;
    input: unknown;
    account: string;
    region: string;
    source: string;
  }) => boolean;
}

export interface Faults {
  inject(fault: Fault): { readonly left: number; remove(): void };
  clear(): void;
}

export class FaultPlan implements Faults {
  readonly #planned = new Set<{ fault: Fault; left: number }>();

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

  clear(): void {
    this.#planned.clear();
  }

  /** The fault that this call meets, counted down. */
  take(operation: string, input: unknown, { account, region, source }: Caller): FaultKind | undefined {
    for (const entry of this.#planned) {
      const named = entry.fault.operation === operation || operation.endsWith(`.${entry.fault.operation}`);
      if (!named || entry.fault.when?.({ operation, input, account, region, source }) === false) continue;
      entry.left -= 1;
      if (entry.left <= 0) this.#planned.delete(entry);
      return entry.fault.kind;
    }
    return undefined;
  }
}
