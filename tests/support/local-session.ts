import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { afterAll, beforeAll } from '@jest/globals';
import { ROOT } from '../templates/stacks.ts';
import { hostileSurroundings } from './surroundings.ts';
import { until as untilSo } from './until.ts';

const run = promisify(execFile);

export interface LocalSession {
  /** All that it has printed so far, warnings included. */
  output(): string;
  type(command: string): void;
  until<T>(what: string, look: Parameters<typeof untilSo<T>>[1]): Promise<T>;
  /** File that what is printed tells to source. */
  environment: string;
  /** The command that what is printed gives as an example, by how it begins. */
  example(start: string | RegExp): string;
  /** Runs a line in a new shell that has sourced the file. */
  shell(line: string, path?: string): Promise<string>;
  /** What was sent to the proxy that is set around it: nothing may be. */
  proxied: string[];
  /** Types `quit`, and gives how it ended. */
  quit(): Promise<unknown[]>;
}

/** `make local` for the tests of one file, as a reader has it who types in its terminal and in another one. */
export function localSession(): () => LocalSession {
  let cloud: ChildProcess;
  let output = '';
  let session: LocalSession;

  beforeAll(async () => {
    const surroundings = await hostileSurroundings();
    cloud = spawn('make', ['--silent', 'local'], {
      cwd: ROOT,
      env: { ...surroundings.env, TIME_SCALE: '0.01' },
    });
    for (const stream of [cloud.stdout, cloud.stderr]) {
      stream?.setEncoding('utf8').on('data', (text) => {
        output += text;
      });
    }
    const until: LocalSession['until'] = (what, look) => untilSo(what, look, () => output);
    await until('the introduction', () => output.includes('  quit '));
    const environment = /or just: \. (\S+)/.exec(output)?.[1] ?? '';
    const examples = (output.split('for example:\n')[1]?.split('\n\n')[0] ?? '')
      .split('\n')
      .map((line) => line.trim());
    session = {
      output: () => output,
      type: (command) => cloud.stdin?.write(`${command}\n`),
      until,
      environment,
      example: (start) => {
        const found = examples.find((line) =>
          typeof start === 'string' ? line.startsWith(start) : start.test(line),
        );
        if (!found) throw new Error(`no example begins with ${start}`);
        return found;
      },
      shell: async (line, path = '') => {
        const script = `. '${environment}'\nPATH="${path}:$PATH"\nset -euo pipefail\n${line}`;
        return (await run('bash', ['-c', script], { env: surroundings.env })).stdout;
      },
      proxied: surroundings.asked,
      quit: async () => {
        const exited = once(cloud, 'exit');
        cloud.stdin?.write('quit\n');
        return exited;
      },
    };
  });
  afterAll(async () => {
    if (cloud.exitCode === null) {
      const exited = once(cloud, 'exit');
      cloud.kill();
      await exited;
    }
  });
  return () => session;
}
