import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { styleText } from 'node:util';
import { expect, test } from '@jest/globals';
import { terminalPicture } from '../../local/terminal-picture.ts';
import { ROOT } from '../templates/stacks.ts';

const textsOf = (svg: string) => [...svg.matchAll(/<text [^>]*>(.*)<\/text>/g)].map(([, text]) => text);

test('a terminal is drawn line by line, with its colours, and no text becomes markup', () => {
  const failed = styleText('red', 'FAILED', { validateStream: false });
  const svg = terminalPicture(`$ list\n a <b> & c ${failed} later\n`, { title: '<x>', columns: 40 });
  expect(textsOf(svg)).toEqual(['$ list', ' a &lt;b&gt; &amp; c <tspan fill="#ff7b72">FAILED</tspan> later']);
  expect(svg).toContain('<title>&lt;x&gt;</title>');
});

test('a line that is too long goes on in the next one, below its text', () => {
  const svg = terminalPicture(`  1.5 s  one two three four ${'x'.repeat(12)} end`, {
    title: '',
    columns: 24,
  });
  expect(textsOf(svg)).toEqual([
    '  1.5 s  one two three',
    `         four ${'x'.repeat(12)}`.slice(0, 13),
    '         xxxxxxxxxxxx',
    '         end',
  ]);
});

test('the README shows every picture that there is', () => {
  const readme = readFileSync(path.join(ROOT, 'README.md'), 'utf8');
  const shown = [...readme.matchAll(/\]\(docs\/pictures\/([\w-]+\.svg)\)/g)].map(([, name]) => name).sort();
  expect(shown).toEqual(readdirSync(path.join(ROOT, 'docs/pictures')).sort());
});
