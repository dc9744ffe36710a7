import { expect, test } from '@jest/globals';
import { readTrace } from './process-trace.ts';

// Each line as strace 6.1 wrote it.

const writtenBy = (...lines: string[]) => [...readTrace(lines).written];

test('of a process its arguments and its environment are read', () => {
  const line = '72 execve("/bin/true", ["true", "an argument"], ["HOME=/root", "A=1"]) = 0';
  expect(readTrace([line]).started).toEqual([
    { argv: '["true", "an argument"]', environment: '["HOME=/root", "A=1"]' },
  ]);
});

test.each([
  ['one piece', ['72 write(1</run/x>, "passphrase", 10) = 10'], 'passphrase'],
  [
    'several pieces',
    ['72 write(1</run/x>, "pass", 4) = 4', '72 write(1</run/x>, "phrase", 6) = 6'],
    'passphrase',
  ],
  [
    'a list of pieces',
    ['72 writev(1</run/x>, [{iov_base="pass", iov_len=4}, {iov_base="phrase", iov_len=6}], 2) = 10'],
    'passphrase',
  ],
  ['a piece with its place', ['72 pwrite64(17</run/x>, "passphrase", 10, 0) = 10'], 'passphrase'],
  ['a call that waits', ['72 write(1</run/x>, "passphrase", 10 <unfinished ...>'], 'passphrase'],
  ['a file that is deleted already', ['72 write(1</run/x>(deleted), "passphrase", 10) = 10'], 'passphrase'],
  ['bytes', ['72 write(1</run/x>, "\\0\\1\\377\\1770\\"\\\\\\n\\t", 9) = 9'], '\0\x01\xff\x7f0"\\\n\t'],
])('what is written to a file is read: %s', (_what, lines, text) => {
  expect(writtenBy(...lines)).toEqual([['/run/x', text]]);
});

test.each([
  ['copy_file_range', '72 copy_file_range(3</etc/y>, NULL, 4</run/x>, NULL, 9223372035781033984, 0) = 10'],
  ['sendfile', '72 sendfile(4</run/x>, 3</etc/y>, NULL, 10) = 10'],
  ['a clone', '72 ioctl(4</run/x>, BTRFS_IOC_CLONE or FICLONE, 3</etc/y>) = 0'],
])('what the kernel copies is what was written to the source: %s', (_how, line) => {
  expect(writtenBy('72 write(1</etc/y>, "passphrase", 10) = 10', line)).toContainEqual([
    '/run/x',
    'passphrase',
  ]);
});

test('a file that is there from before the trace is read where the kernel copies it', () => {
  const here = import.meta.filename;
  const [[, text = ''] = []] = writtenBy(`72 copy_file_range(3<${here}>, NULL, 4</run/x>, NULL, 10, 0) = 10`);
  expect(text).toContain('from before the trace');
});

test('what goes into a pipe or away is in no file', () => {
  expect(
    writtenBy(
      '72 write(1<pipe:[81]>, "passphrase", 10) = 10',
      '72 write(5<socket:[4711]>, "passphrase", 10) = 10',
      '72 write(1</dev/null>, "passphrase", 10) = 10',
      '72 ioctl(1</dev/pts/0>, TCGETS, {c_iflag=ICRNL}) = 0',
    ),
  ).toEqual([]);
});

test('a write whose bytes the trace does not have is told', () => {
  const trace = readTrace([
    '72 write(1</run/x>, "pass"..., 10) = 10',
    '72 splice(3<pipe:[81]>, NULL, 4</run/y>, NULL, 10, 0) = 10',
    '72 splice(3</run/x>, NULL, 4<pipe:[81]>, NULL, 10, 0) = 10',
  ]);
  expect(trace.unseen).toEqual(['a long write to /run/x', 'splice to /run/y']);
});
