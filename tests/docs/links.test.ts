import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from '@jest/globals';
import { ROOT } from '../templates/stacks.ts';
import { anchorsOf, DOCUMENTS, read } from './documents.ts';

test.each(DOCUMENTS)('every link in %s leads somewhere', (document) => {
  const text = read(document).replaceAll(/^ *```[\s\S]*?^ *```/gm, '');
  const targets = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target);
  const broken = targets
    .filter((target) => !/^https:\/\//.test(target))
    .filter((target) => {
      const [file = '', anchor] = target.split('#');
      const found = file === '' ? document : path.join(path.dirname(document), file);
      if (!existsSync(path.join(ROOT, found))) return true;
      return anchor !== undefined && !anchorsOf(found).has(anchor);
    });
  expect(broken).toEqual([]);
});

test('the map of the folders in the README has every folder, and no other', () => {
  const [, map = ''] = /## What is where\s+```\n([\s\S]*?)```/.exec(read('README.md')) ?? [];
  const named = [...map.matchAll(/^(\S+)/gm)].map(([, name = '']) => name);
  expect(named.filter((name) => !existsSync(path.join(ROOT, name)))).toEqual([]);
  const folders =
    readFileSync(path.join(ROOT, 'tsconfig.json'), 'utf8').match(/"include": \[(.*)\]/)?.[1] ?? '';
  for (const [, folder] of folders.matchAll(/"(\w+)"/g)) {
    expect(named.map((name) => name.split('/')[0])).toContain(folder);
  }
});
