import childProcess from 'node:child_process';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

/** By what an execution environment leaves something outside its memory. */
export type LeftBy = 'function-file' | 'function-process';

export interface Left {
  channel: LeftBy;
  text: string;
}

/** What puts bytes or names on a disk: with a callback, and with `Sync` behind the name; many give a promise as well. */
const WRITING = [
  'appendFile',
  'copyFile',
  'cp',
  'link',
  'mkdir',
  'mkdtemp',
  'mkdtempDisposable',
  'rename',
  'symlink',
  'write',
  'writeFile',
  'writev',
];
const STARTING = ['spawnSync', 'execSync', 'execFileSync'];

type Holder = Record<string, unknown>;

/**
 * From now on every file that this thread writes, and every process that it starts, is reported with all that it gets,
 * before it happens: a file may be gone again right afterwards. Native code, and threads and processes of the
 * function's own, are not seen.
 */
export async function watch(report: (left: Left) => void): Promise<void> {
  const wrote = (value: unknown) => {
    const text = textsOf(value).join('\n');
    if (text !== '') report({ channel: 'function-file', text });
  };
  /** What comes piece by piece is reported piece by piece. */
  async function* reported(pieces: AsyncIterable<unknown>) {
    for await (const piece of pieces) {
      wrote(piece);
      yield piece;
    }
  }
  const writes = (args: unknown[]) => {
    wrote(args);
    return args.map((arg) => (isStream(arg) ? reported(arg) : arg));
  };
  const opens = (args: unknown[]) => {
    if (isToWrite(args[1])) wrote(args);
    return args;
  };
  const starts = (words: unknown[], environment: string[]) =>
    report({ channel: 'function-process', text: [...textsOf(words), ...environment].join('\n') });

  const handle = await fs.promises.open('/dev/null');
  const handles = Object.getPrototypeOf(handle) as Holder;
  await handle.close();
  for (const holder of [fs, fs.promises, handles] as unknown as Holder[]) {
    for (const name of WRITING.flatMap((name) => [name, `${name}Sync`])) wrap(holder, name, writes);
    for (const name of ['open', 'openSync']) wrap(holder, name, opens);
  }
  // Behind spawn, exec, execFile and fork; a shell's command is one of the words.
  wrap(childProcess.ChildProcess.prototype as unknown as Holder, 'spawn', (args) => {
    const { file, args: words, envPairs } = args[0] as { file: string; args: string[]; envPairs: string[] };
    starts([file, words], envPairs);
    return args;
  });
  for (const name of STARTING) {
    wrap(childProcess as unknown as Holder, name, (args) => {
      const options = args.find((arg) => typeof arg === 'object' && arg !== null && !Array.isArray(arg));
      const variables = (options as { env?: NodeJS.ProcessEnv } | undefined)?.env ?? process.env;
      starts(
        args,
        Object.entries(variables).map(([key, value]) => `${key}=${value}`),
      );
      return args;
    });
  }
  // For those who import by name.
  syncBuiltinESMExports();
}

function wrap(holder: Holder, name: string, heard: (args: unknown[]) => unknown[]): void {
  const original = holder[name];
  if (typeof original !== 'function') return;
  const wrapped = function (this: unknown, ...args: unknown[]) {
    return Reflect.apply(original, this, heard(args));
  };
  // util.promisify looks at properties.
  holder[name] = Object.defineProperties(wrapped, Object.getOwnPropertyDescriptors(original));
}

/** Bytes as latin1, in which every byte is a character. */
function textsOf(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (value instanceof URL) return [value.href];
  if (ArrayBuffer.isView(value)) {
    return [Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('latin1')];
  }
  return Array.isArray(value) ? value.flatMap(textsOf) : [];
}

function isStream(value: unknown): value is AsyncIterable<unknown> {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value) || Array.isArray(value)) {
    return false;
  }
  return Symbol.asyncIterator in value || Symbol.iterator in value;
}

function isToWrite(flags: unknown): boolean {
  if (typeof flags === 'number') return (flags & (fs.constants.O_WRONLY | fs.constants.O_RDWR)) !== 0;
  return typeof flags === 'string' && /[wa+]/.test(flags);
}
