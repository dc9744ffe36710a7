import type { AccessRequest, Decision, Principal } from '../iam/evaluate.ts';
import type { Clock } from './clock.ts';

/** One API call as it was decided and answered. */
export interface RecordedCall {
  at: string;
  /** X-Amz-Target of JSON protocols, `<service>.<Operation>` of the others. */
  operation: string;
  /** Account of the caller. */
  account: string;
  region: string;
  principalArn: string;
  sessionArn?: string;
  /** `function <name>`, `node <id>`, `automation <id>`, `state machine <name>`, `aws <service>` or `client`. */
  source: string;
  input: unknown;
  /** The principal as it was evaluated, so that a decision can be made again under other policies. */
  principal: Principal;
  decisions: { request: AccessRequest; decision: Decision }[];
  /** 200, or the HTTP status of the error; 0 when there was no answer. */
  status: number;
  /** The error's code. */
  error?: string;
  output?: unknown;
}

export type Channel =
  | 'function-log'
  | 'function-payload'
  | 'function-file'
  | 'function-process'
  | 'trace'
  | 'state-machine'
  | 'api-request'
  | 'api-answer'
  | 'event'
  | 'dead-letter'
  | 'sns-message'
  | 'ssm-parameters'
  | 'ssm-output'
  | 'dynamodb-write';

/** Bytes that left a function or a node by a channel other than the bundle itself. */
export interface Emission {
  at: string;
  channel: Channel;
  /** Who sent it, as in `RecordedCall.source`. */
  source: string;
  text: string;
}

/** How calls of one operation ended. */
export interface Count {
  calls: number;
  answered: number;
  /** By the code of the error. */
  refused: Record<string, number>;
}

export interface Recording {
  /** By operation, also where calls are not kept. */
  readonly counts: Map<string, Count>;
  readonly calls: RecordedCall[];
  readonly emissions: Emission[];
  /** Calls of one operation: whole (`CertificateManager.ExportCertificate`) or its last part. */
  callsOf(operation: string): RecordedCall[];
  emissionsOf(channel: Channel): Emission[];
  clear(): void;
}

export class Recorder implements Recording {
  readonly calls: RecordedCall[] = [];
  readonly emissions: Emission[] = [];
  readonly counts = new Map<string, Count>();
  /** False where millions of calls are made, and only their counts are looked at. */
  readonly keeps: boolean;
  readonly #clock: Clock;

  constructor(clock: Clock, keeps = true) {
    this.keeps = keeps;
    this.#clock = clock;
  }

  call(entry: RecordedCall): void {
    if (this.keeps) this.calls.push(entry);
  }

  ended({ operation, error }: RecordedCall): void {
    const count = this.counts.get(operation) ?? { calls: 0, answered: 0, refused: {} };
    this.counts.set(operation, count);
    count.calls += 1;
    if (error === undefined) count.answered += 1;
    else count.refused[error] = (count.refused[error] ?? 0) + 1;
  }

  emit(channel: Channel, source: string, what: unknown): void {
    if (!this.keeps) return;
    const text = typeof what === 'string' ? what : JSON.stringify(what);
    this.emissions.push({ at: this.#clock.now().toISOString(), channel, source, text });
  }

  callsOf(operation: string): RecordedCall[] {
    return this.calls.filter(
      (call) => call.operation === operation || call.operation.endsWith(`.${operation}`),
    );
  }

  emissionsOf(channel: Channel): Emission[] {
    return this.emissions.filter((emission) => emission.channel === channel);
  }

  clear(): void {
    this.calls.length = 0;
    this.emissions.length = 0;
    this.counts.clear();
  }
}
