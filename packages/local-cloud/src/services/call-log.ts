import { randomUUID } from 'node:crypto';
import { openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { masked } from './constraints.ts';
import type { RecordedCall } from './recording.ts';

/**
 * The calls of one cloud as lines of JSON, for scripts/validate-calls.py: `{operation, input, output}`, or `error`
 * with the code in place of the output. A call without an answer has neither. Values that the models call sensitive
 * are masked.
 */
export class CallLog {
  readonly #file: number;

  /** Begins a file of its own in a folder that exists, mode 0600. */
  constructor(folder: string) {
    this.#file = openSync(join(folder, `${randomUUID()}.jsonl`), 'wx', 0o600);
  }

  write({ operation, input, output, error, status }: RecordedCall): void {
    const answer = error !== undefined && status > 0 ? { error } : {};
    const line = {
      operation,
      input: masked(operation, 'input', input),
      ...(status === 200 ? { output: masked(operation, 'output', output ?? {}) } : answer),
    };
    writeSync(this.#file, `${JSON.stringify(line)}\n`);
  }
}
