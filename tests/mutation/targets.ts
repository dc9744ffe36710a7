import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';
import type { Job } from './judge.ts';
import type { Mutant } from './mutant.ts';
import { templateMutants } from './template-mutants.ts';

export const ROOT = path.resolve(import.meta.dirname, '../..');
export const textOf = (file: string) => readFileSync(path.join(ROOT, file), 'utf8');

/** A file that is mutated, and the tests that must notice. */
export interface Target {
  file: string;
  mutants: (Mutant & Pick<Job, 'tests' | 'only'>)[];
  /** See `Job`. */
  fresh: readonly string[];
  /** What else decides whether they notice. */
  helpers: readonly string[];
}

const NEIGHBOURS = 'tests/security/neighbours.test.ts';
const TEMPLATE_TESTS = [
  'tests/templates/limits.test.ts',
  'tests/templates/central-stack.test.ts',
  'tests/templates/least-privilege.test.ts',
  'tests/templates/member-account.test.ts',
  'tests/templates/environment.test.ts',
  'tests/templates/events.test.ts',
  'tests/templates/life-cycle.test.ts',
  'tests/templates/observability.test.ts',
  'tests/templates/parameters.test.ts',
];
/** Those that notice most come first. */
const testsOf = ({ name }: Mutant) =>
  /^\w+(Role|Policy)\//.test(name) ? [NEIGHBOURS, ...TEMPLATE_TESTS] : [...TEMPLATE_TESTS, NEIGHBOURS];

const TEMPLATE_HELPERS = [
  'tests/security/neighbours.ts',
  'tests/security/calls.ts',
  'tests/security/reach.ts',
  'tests/templates/stacks.ts',
];

/** One change of code that a test must notice: `text`, which is there once, becomes `becomes`. */
interface Substitution {
  file: string;
  name: string;
  text: string;
  becomes: string;
  tests: string[];
  /** See `Job`. */
  only?: string;
}

/** The calls of these are in no flow: what they grant is held against a test of their own. */
const OWN_TESTS: Record<string, string> = {
  'deployment-resource.yaml': 'tests/templates/deployment-resource.test.ts',
  'dns-account.yaml': 'tests/templates/dns-account.test.ts',
};

function template(file: string): Target {
  const mutants = templateMutants(file, textOf(file)).map((mutant) => ({
    ...mutant,
    tests: OWN_TESTS[file] ? [...TEMPLATE_TESTS, OWN_TESTS[file]] : testsOf(mutant),
  }));
  // The calls that the system needs are found once: what widens a template takes none of them away.
  return {
    file,
    mutants,
    fresh: ['tests/templates/', 'tests/security/neighbours'],
    helpers: TEMPLATE_HELPERS,
  };
}

function substitutions(): Target[] {
  const all = parse(textOf('tests/mutation/substitutions.yaml')) as Substitution[];
  return [...Map.groupBy(all, ({ file }) => file)].map(([file, ofFile]) => ({
    file,
    mutants: ofFile.map(({ name, text, becomes, tests, only }) => ({
      file,
      name,
      tests,
      only,
      edits: [editOf(file, name, text, becomes)],
    })),
    fresh: ['functions/', 'scripts/', 'local/', 'packages/', 'tests/'],
    helpers: [],
  }));
}

function editOf(file: string, name: string, text: string, becomes: string) {
  const source = textOf(file);
  const start = source.indexOf(text);
  if (start < 0 || source.indexOf(text, start + 1) >= 0) {
    throw new Error(
      `${file}, ${name}: the text is there ${start < 0 ? 'no longer' : 'more than once'}: ${text}`,
    );
  }
  return { start, end: start + text.length, text: becomes };
}

export const targets = (): Target[] => [
  template('template.yaml'),
  template('member-account.yaml'),
  ...Object.keys(OWN_TESTS).map(template),
  ...substitutions(),
];

export interface Accepted {
  file: string;
  /** As of the mutant. */
  name: string;
  reason: string;
}

/** Mutants that no test notices, with the reason. */
export const accepted = () => parse(textOf('tests/mutation/accepted.yaml')) as Accepted[];

/** Of everything that decides which mutants there are and whether they are noticed. */
export function digestOf({ file, mutants, helpers }: Target): string {
  const hash = createHash('sha256');
  const tests = new Set(mutants.flatMap((mutant) => mutant.tests));
  for (const name of [file, ...tests, ...helpers, 'tests/mutation/template-mutants.ts'])
    hash.update(textOf(name)).update('\0');
  hash.update(JSON.stringify(mutants));
  hash.update(JSON.stringify(accepted().filter((one) => one.file === file)));
  return hash.digest('hex').slice(0, 16);
}

export const hashOf = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 8);

/** Of one mutant, wherever it is in its file: what is changed into what, and which tests judge. */
export function keyOf({ file }: Target, { name, edits, tests, only }: Target['mutants'][number]): string {
  const source = textOf(file);
  const changes = edits.map(({ start, end, text }) => [source.slice(start, end), text]);
  return hashOf(JSON.stringify([name, changes, tests, only]));
}

/**
 * Of each file: what it was when all of its mutants were judged (nothing where some are left), how many there are, how many
 * are accepted, and which were judged in a run.
 */
export type LastRun = {
  [file: string]: { digest: string; mutants: number; accepted: number; judged?: string };
};

export const RECORD = path.join(import.meta.dirname, 'last-run.json');
export const lastRun = () => JSON.parse(readFileSync(RECORD, 'utf8')) as LastRun;
