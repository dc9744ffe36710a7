import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from '@jest/globals';
import { justified } from '../security/reductions.ts';
import { read, rowsOf, section } from './documents.ts';

const root = path.join(import.meta.dirname, '../..');
const document = read('docs/security.md');

/** Names of tests, and parts of them: `%s` and `${…}` stand for what a table fills in. */
const names = globSync(
  'tests/{cli,end-to-end,functions,long,real,security,ssm-documents,templates}/**/*.ts',
  {
    cwd: root,
  },
)
  .flatMap((file) => [
    ...readFileSync(path.join(root, file), 'utf8').matchAll(/'((?:[^'\\\n]|\\.)+)'|`([^`\n]+)`/g),
  ])
  .map(([, quoted, template]) => (quoted ?? template ?? '').replaceAll("\\'", "'"));
const isNamed = (name: string) =>
  names.some((known) => {
    if (known === name) return true;
    if (!/%[sip]|\$[a-z{]/.test(known) || known.replace(/%[sip]|\$\{[^}]*\}|\$\w+/g, '').trim().length < 8) {
      return false;
    }
    const pattern = known
      .split(/%[sip]|\$\{[^}]*\}|\$\w+/)
      .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
      .join('.+');
    return new RegExp(`^${pattern}$`).test(name);
  });

test('each test that docs/security.md names exists', () => {
  const named = [...document.replaceAll(/```[\s\S]*?```/g, '').matchAll(/"([^"]+)"/g)].map(
    ([, name]) => name as string,
  );
  expect(named.length).toBeGreaterThan(40);
  // A team's attempts stand in the table without the word that all have.
  const missing = named.filter((name) => !isNamed(name) && !isNamed(name.replace(/^cannot /, '')));
  expect(missing).toEqual([]);
});

test('every grant that no flow can show is explained, and no other', () => {
  const [, ...rows] = rowsOf(section('docs/security.md', 'Grants'));
  expect(rows).toHaveLength(justified.length);
});

test('every policy of the examples is explained', () => {
  for (const file of globSync('docs/examples/*.json', { cwd: root })) {
    expect(document).toContain(`(examples/${path.basename(file)})`);
  }
});
