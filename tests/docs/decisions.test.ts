import { readdirSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { ROOT } from '../templates/stacks.ts';
import { read, rowsOf } from './documents.ts';

const FOLDER = 'docs/decisions';
const files = readdirSync(path.join(ROOT, FOLDER))
  .filter((file) => file !== 'README.md')
  .sort();
const index = rowsOf(read(`${FOLDER}/README.md`)).slice(1);

const titleOf = (text: string) => /^# (.+)\n/.exec(text)?.[1] ?? '';
const fieldOf = (text: string, name: string) => new RegExp(`^- ${name}: (.+)$`, 'm').exec(text)?.[1];

test('numbers of decisions have no gap, and none is given twice', () => {
  expect(files.length).toBeGreaterThan(0);
  expect(files.map((file) => file.slice(0, 5))).toEqual(
    files.map((_, at) => `${String(at + 1).padStart(4, '0')}-`),
  );
});

describe.each(files)('%s', (file) => {
  const text = read(`${FOLDER}/${file}`);

  test('says what was decided, instead of what, and what it costs', () => {
    const headings = [...text.matchAll(/^## (.+)\n\n(?!#)\S/gm)].map(([, heading]) => heading);
    expect(headings).toEqual(['Context', 'Decision', 'Alternatives', 'Consequences']);
  });

  test('is called like its title', () => {
    const words =
      titleOf(text)
        .toLowerCase()
        .match(/[a-z0-9]+/g) ?? [];
    expect(file.slice(5)).toBe(`${words.join('-')}.md`);
  });

  test('has a date, and a status that is known', () => {
    expect(fieldOf(text, 'Date')).toMatch(/^20\d\d-[01]\d-[0-3]\d$/);
    expect(fieldOf(text, 'Status')).toMatch(/^(accepted|superseded by \[\d{4}\])/);
  });

  test('is told of by the decisions that it names in its status', () => {
    const named = [...(fieldOf(text, 'Status') ?? '').matchAll(/\]\(([^)]+)\)/g)].map(([, other]) => other);
    for (const other of named) expect(fieldOf(read(`${FOLDER}/${other}`), 'Status')).toContain(`(${file})`);
  });
});

test('the index has every decision in order, with its title, date and status', () => {
  expect(index).toEqual(
    files.map((file) => {
      const text = read(`${FOLDER}/${file}`);
      const number = `[${file.slice(0, 4)}](${file})`;
      return [number, titleOf(text), fieldOf(text, 'Date'), fieldOf(text, 'Status')];
    }),
  );
});

test('dates follow the numbers', () => {
  const dates = files.map((file) => fieldOf(read(`${FOLDER}/${file}`), 'Date'));
  expect(dates).toEqual(dates.toSorted());
});
