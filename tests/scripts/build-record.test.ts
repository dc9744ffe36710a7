import { mkdtemp, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { isUpToDate, recordBuild } from '../../scripts/build-record.ts';

const ENTRIES = ['one', 'two'];
/** A build that began after everything that it read was written. */
const LATER = Date.now() + 3_600_000;
let root: string;

const file = (name: string) => path.join(root, name);
const record = (started = LATER) =>
  recordBuild(root, file('record'), { entries: ENTRIES, read: ['source'], written: ['output'], started });
const upToDate = (entries = ENTRIES) => isUpToDate(root, file('record'), entries);

beforeEach(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'build-record-'));
  for (const name of ['source', 'output']) await writeFile(file(name), name);
});
afterEach(() => rm(root, { recursive: true }));

test('nothing is up to date before the first build', () => {
  expect(upToDate()).toBe(false);
});

test('what was built is up to date', () => {
  record();
  expect(upToDate()).toBe(true);
});

test.each<[string, () => Promise<unknown>]>([
  ['a source has changed', () => writeFile(file('source'), 'changed')],
  ['a source is gone', () => rm(file('source'))],
  ['an output has changed', () => writeFile(file('output'), 'changed')],
  ['an output is gone', () => rm(file('output'))],
  ['the record is cut off', () => writeFile(file('record'), '{"entries":')],
])('is built again when %s, whatever its date says', async (_, change) => {
  record();
  await change();
  for (const name of ['source', 'output']) await utimes(file(name), 1, 1).catch(() => undefined);
  expect(upToDate()).toBe(false);
});

test('is built again when a function or a package of the layer came or went', () => {
  record();
  expect(upToDate([...ENTRIES, 'three'])).toBe(false);
  expect(upToDate(['one'])).toBe(false);
});

test('a build during which a source changed leaves no record, nor that of the build before', () => {
  record();
  record(0);
  expect(upToDate()).toBe(false);
});
