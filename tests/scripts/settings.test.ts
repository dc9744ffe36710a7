import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from '@jest/globals';
import { centralStack, ROOT, resourcesOf } from '../templates/stacks.ts';

// Settings that stand in more than one file, because each program reads its own.

const read = (file: string) => readFileSync(path.join(ROOT, file), 'utf8');
const json = (file: string) => JSON.parse(read(file));

/** The properties of each section of .editorconfig. */
const sections = Object.fromEntries(
  read('.editorconfig')
    .split(/^\[(?=.*\]$)/m)
    .slice(1)
    .map((text) => {
      const [name = '', ...lines] = text.split('\n');
      const pairs = lines.filter((line) => line.includes('=')).map((line) => line.split(/\s*=\s*/));
      return [name.slice(0, -1), Object.fromEntries(pairs)];
    }),
);

test('editors indent and break lines as Biome does, and end lines as git does', () => {
  const { indentStyle, indentWidth, lineWidth } = json('biome.json').formatter;
  expect(sections['*']).toMatchObject({ indent_style: indentStyle, indent_size: String(indentWidth) });
  expect(sections['*.{js,json,mjs,ts}']).toEqual({ max_line_length: String(lineWidth) });
  expect(read('.gitattributes')).toContain(`eol=${sections['*'].end_of_line}\n`);
  expect(sections.Makefile).toEqual({ indent_style: 'tab' });
});

test('nvm, the tools and Lambda have the same major version of Node, which the package allows', () => {
  const major = Number(read('.nvmrc'));
  const installed: string[] = Object.values(json('tools/package.json').optionalDependencies);
  expect(installed.map((version) => Number(version.split('.')[0]))).toEqual(installed.map(() => major));
  for (const [, { properties }] of resourcesOf(centralStack(), 'AWS::Serverless::Function')) {
    expect(properties.Runtime).toBe(`nodejs${major}.x`);
  }
  expect(major).toBeGreaterThan(Number(/^>=(\d+)\.\d+$/.exec(json('package.json').engines.node)?.[1]));
  expect(installed.length).toBeGreaterThan(0);
});
