import { textOf } from './leaks.ts';

/** What strace is told so that `readTrace` finds all that processes are given, and all that they write to files. */
export const TRACED =
  '-f --seccomp-bpf -y -v -s 1048576 -e trace=execve,write,writev,pwrite64,pwritev,pwritev2,copy_file_range,sendfile,ioctl,splice';

export interface ProcessTrace {
  /** Of each process, its arguments and its environment, as strace shows them. */
  started: { argv: string; environment: string }[];
  /** What was written to each file, piece behind piece, as latin1; by the path that it had then. */
  written: Map<string, string>;
  /** Writes of which the trace does not have every byte. */
  unseen: string[];
}

/** A descriptor with its path. Those of pipes and sockets do not begin with a slash. */
const file = (name: string) => `\\d+<(?<${name}>/[^>]*)>[^, ]*`;
const EXECVE = /execve\("[^"]*", (?<argv>\[.*?\]), (?<environment>\[.*\])/;
const WRITE = new RegExp(`^\\d+ +p?write\\w*\\(${file('to')}, (?<what>.*)`);
const SPLICE = new RegExp(`^\\d+ +splice\\([^,]+, [^,]+, ${file('to')},`);
/** Of what the kernel copies from file to file strace shows nothing. */
const COPIES = [
  new RegExp(`^\\d+ +copy_file_range\\(${file('from')}, [^,]+, ${file('to')},`),
  new RegExp(`^\\d+ +sendfile\\(${file('to')}, ${file('from')},`),
  new RegExp(`^\\d+ +ioctl\\(${file('to')}, [^,]*\\bFICLONE\\w*, (?:\\{src_fd=)?${file('from')}`),
];

export function readTrace(lines: string[]): ProcessTrace {
  const trace: ProcessTrace = { started: [], written: new Map(), unseen: [] };
  const wrote = (path: string, text: string) => {
    if (path !== '/dev/null') trace.written.set(path, (trace.written.get(path) ?? '') + text);
  };
  for (const line of lines) {
    const { argv = '', environment } = EXECVE.exec(line)?.groups ?? {};
    if (environment !== undefined) trace.started.push({ argv, environment });
    const write = WRITE.exec(line)?.groups;
    if (write) {
      const pieces = [...(write.what ?? '').matchAll(/"((?:[^"\\]|\\.)*)"(\.\.\.)?/g)];
      wrote(write.to ?? '', pieces.map(([, piece = '']) => unescaped(piece)).join(''));
      if (pieces.some(([, , cut]) => cut)) trace.unseen.push(`a long write to ${write.to}`);
    }
    for (const copy of COPIES) {
      const { from, to } = copy.exec(line)?.groups ?? {};
      // What is there from before the trace, or was renamed, can be read only while it is there.
      if (from && to) wrote(to, trace.written.get(from) ?? textOf(from));
    }
    const splice = SPLICE.exec(line)?.groups;
    if (splice) trace.unseen.push(`splice to ${splice.to}`);
  }
  return trace;
}

const LETTERS: Record<string, string> = { n: '\n', t: '\t', r: '\r', v: '\v', f: '\f' };

/** strace shows a byte that is no letter as C does: by a letter, or by up to three octal digits. */
const unescaped = (text: string) =>
  text.replace(/\\([0-7]{1,3}|.)/g, (_all, code: string) =>
    /^[0-7]/.test(code) ? String.fromCharCode(Number.parseInt(code, 8)) : (LETTERS[code] ?? code),
  );
