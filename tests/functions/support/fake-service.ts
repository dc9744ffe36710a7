/** An error as an AWS client throws it. */
export function awsError(name: string, message = name, $fault: 'client' | 'server' = 'client'): Error {
  return Object.assign(new Error(message), { name, $fault });
}

interface PlannedFault {
  operation: string;
  error: Error;
  /** `after`: the call takes effect, and its answer is lost. */
  when: 'before' | 'after';
  /** How many calls it strikes. */
  times: number;
}

export interface Call {
  operation: string;
  // biome-ignore lint/suspicious/noExplicitAny: the input of any operation
  input: any;
}

/**
 * An AWS service as the functions see it: a client's `send`. What it answers is decided by the subclass's methods,
 * named like the operations; an operation that has none fails loudly. Each call is recorded.
 */
export abstract class FakeService {
  readonly calls: Call[] = [];
  readonly #faults: PlannedFault[] = [];

  /** The next calls of an operation fail. */
  failNext(operation: string, error: Error, when: PlannedFault['when'] = 'before', times = 1): void {
    this.#faults.push({ operation, error, when, times });
  }

  callsOf(operation: string): Call['input'][] {
    return this.calls.filter((call) => call.operation === operation).map((call) => call.input);
  }

  /**
   * @param prototype the class of the client, where the functions' paginators look for it.
   */
  client<T>(prototype?: object, allow: (operation: string) => void = () => {}): T {
    const send = async (command: { input: object; constructor: { name: string } }) => {
      const operation = command.constructor.name.replace(/Command$/, '');
      allow(operation);
      return this.#call(operation, command.input);
    };
    return Object.assign(Object.create(prototype ?? Object.prototype), { send }) as T;
  }

  #call(operation: string, input: object): unknown {
    this.calls.push({ operation, input });
    const fault = this.#faults.find((planned) => planned.operation === operation && planned.times > 0);
    if (fault) {
      fault.times -= 1;
    }
    if (fault?.when === 'before') {
      throw fault.error;
    }
    const answer = (this as unknown as Record<string, ((input: object) => unknown) | undefined>)[operation];
    if (!answer) {
      throw new Error(`${this.constructor.name} does not know ${operation}`);
    }
    try {
      return answer.call(this, input);
    } finally {
      if (fault) {
        // biome-ignore lint/correctness/noUnsafeFinally: whatever the answer would have been, it is lost
        throw fault.error;
      }
    }
  }
}
