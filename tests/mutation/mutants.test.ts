import { existsSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from '@jest/globals';
import { judge, type Verdict } from './judge.ts';
import { applied } from './mutant.ts';
import { accepted, digestOf, keyOf, lastRun, ROOT, targets, textOf } from './targets.ts';

// Throws where a text of substitutions.yaml is no longer there.
const all = targets();
const named = all.flatMap(({ file, mutants }) => mutants.map(({ name }) => `${file} ${name}`));

test('every mutant has a name of its own, and tests that are there', () => {
  expect(new Set(named).size).toBe(named.length);
  const tests = new Set(all.flatMap(({ mutants }) => mutants.flatMap((mutant) => mutant.tests)));
  expect([...tests].filter((file) => !existsSync(path.join(ROOT, file)))).toEqual([]);
});

test.each(['template.yaml', 'member-account.yaml'])('%s is widened in hundreds of places', (file) => {
  expect(all.find((target) => target.file === file)?.mutants.length).toBeGreaterThan(200);
});

test('what no test notices is named with its reason, and is still there', () => {
  for (const { file, name, reason } of accepted()) {
    expect(named).toContain(`${file} ${name}`);
    expect(reason).toMatch(/^[A-Z].{20,}\.$/s);
  }
});

test('each file is in the record; where that has a digest, all mutants of the file were judged', () => {
  const record = lastRun();
  expect(Object.keys(record).sort()).toEqual(all.map(({ file }) => file).sort());
  for (const target of all) {
    const { digest, judged = '' } = record[target.file] ?? { digest: 'none' };
    expect(digest).toMatch(/^([0-9a-f]{16})?$/);
    const missing = target.mutants.filter((mutant) => !judged.includes(keyOf(target, mutant)));
    if (digest === digestOf(target)) expect(missing.map(({ name }) => name)).toEqual([]);
  }
});

test('a template as it is passes the tests of its mutants, one that is widened does not, and neither is on the disk', async () => {
  const file = 'template.yaml';
  const before = textOf(file);
  const mutants = all.find((target) => target.file === file)?.mutants ?? [];
  const wide = mutants.find(({ name }) => name === 'TargetAccounts: AllowedPattern is gone');
  const tests = ['tests/templates/limits.test.ts'];
  const job = { file, tests, fresh: ['tests/templates/'] };
  const verdicts = new Map<string, Verdict>();
  await judge(
    [
      { ...job, name: 'as it is', text: before },
      { ...job, name: 'wide', text: applied(before, wide ?? { edits: [] }) },
      { ...job, name: 'none', text: `${before}\n- no template` },
    ],
    (verdict) => verdicts.set(verdict.name, verdict),
  );
  expect(verdicts.get('as it is')).toEqual({ name: 'as it is' });
  expect(verdicts.get('wide')).toMatchObject({
    test: tests[0],
    failure: expect.stringContaining('TargetAccounts'),
  });
  expect(verdicts.get('none')).toMatchObject({ broken: expect.stringContaining(file) });
  expect(textOf(file)).toBe(before);
});
