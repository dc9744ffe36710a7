import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from '@jest/globals';

const root = path.join(import.meta.dirname, '../..');
const tests = globSync('tests/{security,ssm-documents,templates,functions}/**/*.ts', { cwd: root })
  .map((file) => readFileSync(path.join(root, file), 'utf8'))
  .join('\n');

test('each test that docs/security.md names for a threat exists', () => {
  const document = readFileSync(path.join(root, 'docs/security.md'), 'utf8');
  const rows = document.split('\n').filter((line) => line.startsWith('| ') && line.includes('"'));
  const named = rows.flatMap((row) => [...row.matchAll(/"([^"]+)"/g)].map(([, name]) => name as string));
  expect(named.length).toBeGreaterThan(15);
  expect(named.filter((name) => !tests.includes(`'${name}'`))).toEqual([]);
});
