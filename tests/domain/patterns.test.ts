import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { RE2JS } from 're2js';
import { PATTERNS, whole } from '../../functions/domain/patterns.ts';
import { nodeParameters } from '../../scripts/parameters.ts';
import { bashMatches } from '../support/bash-matches.ts';

/** The list, and what options of the order become. A `never` is tried after the pattern, which takes no line end. */
const forms = Object.entries({
  ...PATTERNS,
  ...Object.fromEntries(nodeParameters().map(({ name, pattern }) => [`parameter ${name}`, pattern])),
  ...Object.fromEntries(
    nodeParameters().flatMap(({ name, never }) => (never ? [[`never ${name}`, never]] : [])),
  ),
});

describe.each(forms)('%s', (name, form) => {
  test('is in the subset that all engines read', () => {
    expect(form).not.toMatch(/\\|\(\?|&&|[+*?}]\+/);
    for (const [, characters = ''] of form.matchAll(/\[([^\]]*)\]/g)) {
      // A `-` that is no range stands last.
      expect(characters.replace(/(?:[a-z]-[a-z]|[A-Z]-[A-Z]|[0-9]-[0-9])/g, '').slice(0, -1)).not.toContain(
        '-',
      );
    }
    for (const [, highest] of form.matchAll(/(\d+)\}/g)) expect(Number(highest)).toBeLessThanOrEqual(255);
    const topLevel = form.replace(/\[[^\]]*\]/g, '').replace(/\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)/g, '');
    expect(topLevel).not.toMatch(/[|()]/);
  });

  test('matches the same texts in JavaScript, RE2 and bash, and none with a line end after it', () => {
    // Refuses repeats that come to more than 1,000, as RE2 does.
    const re2 = RE2JS.compile(`^${form}$`);
    const javascript = new RegExp(`^${form}$`, 'u');
    const right = fc.sample(fc.stringMatching(javascript), { numRuns: 10, seed: 1 });
    const texts = [
      ...right,
      ...right.flatMap((text) => [
        `${text}\n`,
        `\n${text}`,
        text.slice(1),
        `${text}.`,
        `${text}${text}x`,
        `é${text}`,
      ]),
    ].filter((text) => !text.includes('\0') && !(name.startsWith('never') && text.includes('\n')));
    const expected = texts.map((text) => whole(form).test(text));
    expect(expected.slice(0, right.length)).not.toContain(false);
    expect(texts.map((text) => javascript.test(text))).toEqual(expected);
    expect(texts.map((text) => re2.matcher(text).find())).toEqual(expected);
    expect(bashMatches(form, texts)).toEqual(expected);
    expect(texts.filter((text, index) => text.endsWith('\n') && expected[index])).toEqual([]);
  });
});
