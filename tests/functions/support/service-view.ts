import type { Cloud } from 'local-cloud';

/** An error as an AWS client throws it, to be given to `failNext`. */
export function awsError(name: string, message = name, $fault: 'client' | 'server' = 'client') {
  return { name, message, status: $fault === 'server' ? 500 : 400 };
}

/** What the functions asked of one service, and what goes wrong there. */
export class ServiceView {
  protected readonly cloud: Cloud;
  readonly #service: string;
  readonly #isHere: (call: { account: string; region: string }) => boolean;
  #seen = 0;

  constructor(
    cloud: Cloud,
    service: string,
    isHere: (call: { account: string; region: string }) => boolean = () => true,
  ) {
    this.cloud = cloud;
    this.#service = service;
    this.#isHere = isHere;
  }

  // biome-ignore lint/suspicious/noExplicitAny: the input of any operation
  get calls(): { operation: string; input: any; at: number }[] {
    return this.cloud.record.calls
      .slice(this.#seen)
      .filter((call) => call.operation.startsWith(`${this.#service}.`) && call.source.startsWith('function '))
      .filter(this.#isHere)
      .map(({ operation, input, at }) => ({
        operation: operation.split('.')[1] as string,
        input,
        at: Date.parse(at),
      }));
  }

  // biome-ignore lint/suspicious/noExplicitAny: the input of any operation
  callsOf(operation: string): any[] {
    return this.calls.filter((call) => call.operation === operation).map(({ input }) => input);
  }

  forgetCalls(): void {
    this.#seen = this.cloud.record.calls.length;
  }

  /** The next calls of an operation fail: before their effect, or after it, when the answer is lost. */
  failNext(
    operation: string,
    error: ReturnType<typeof awsError>,
    when: 'before' | 'after' = 'before',
    times = 1,
  ): void {
    this.cloud.faults.inject({
      operation: `${this.#service}.${operation}`,
      times,
      when: ({ source, ...call }) => source.startsWith('function ') && this.#isHere(call),
      ...(when === 'before' ? { kind: 'refuse', error } : { kind: 'answer-lost' }),
    });
  }
}
