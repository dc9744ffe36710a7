import { existsSync, globSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from '@jest/globals';
import { ROOT } from '../templates/stacks.ts';
import { commandsOf } from './commands.ts';
import { read } from './documents.ts';

const CONTRIBUTING = 'CONTRIBUTING.md';
const asked = commandsOf(CONTRIBUTING, {})
  .filter(({ program }) => program === 'make')
  .map(({ words: [target = '', flags = ''] }) => {
    const [, place = '', name] = /^JEST_FLAGS=(\S+)(?: -t '?(.+?)'?)?$/.exec(flags) ?? [];
    return { target, place, name };
  });

test.each(asked)('make $target JEST_FLAGS=$place runs tests that are there', ({ target, place, name }) => {
  const files = globSync(`${place}*{,/**}`, { cwd: ROOT }).filter((file) => file.endsWith('.test.ts'));
  expect(files).not.toEqual([]);
  // The project that the target runs has this folder.
  const folder = target === 'test' ? /^tests\/(?!long\/|real\/)/ : new RegExp(`^tests/${target.slice(5)}/`);
  expect(files.filter((file) => !folder.test(file))).toEqual([]);
  if (name) expect(files.filter((file) => read(file).includes(name))).not.toEqual([]);
});

test('files that are named are there', () => {
  const named = [...read(CONTRIBUTING).matchAll(/`(\.?\w[\w@.-]*\/[\w@./-]*)`/g)].map(
    ([, file = '']) => file,
  );
  expect(named.length).toBeGreaterThan(10);
  // What is made, and not committed.
  const missing = named.filter((file) => file !== 'build/' && !existsSync(path.join(ROOT, file)));
  expect(missing).toEqual([]);
});

test('the version of the package is told of in the changelog', () => {
  const { version } = JSON.parse(read('package.json'));
  expect(read('CHANGELOG.md')).toMatch(new RegExp(`^## ${version.replaceAll('.', '[.]')} - 20`, 'm'));
});
