import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { centralStack, ROOT, resourceOf, resourcesOf } from '../templates/stacks.ts';
import { anchorsOf, read, rowsOf, section } from './documents.ts';

// A person who is called reads docs/operations.md only. So whatever may call them, or stand in what they find, is in
// it by its name: names come from the template, the sources of the functions and the install script.

const OPERATIONS = 'docs/operations.md';
const stack = centralStack();
const codes = (cell: string | undefined) => [...(cell ?? '').matchAll(/`([^`]+)`/g)].map(([, code]) => code);

/** Every runbook entry answers these. */
const ANSWERS = ['Means', 'Look at', 'Do', 'Over when'];

function expectRunbook(heading: string): void {
  const text = section(OPERATIONS, heading);
  const given = [...text.matchAll(/^- \*\*([^*]+)\*\*: (.{4,})/gm)].map(([, name]) => name);
  expect([heading, ...given]).toEqual([heading, ...ANSWERS]);
}

const headingsIn = (heading: string) =>
  [...section(OPERATIONS, heading).matchAll(/^### (.+)$/gm)].map(([, text = '']) => text);

describe('alarms', () => {
  const alarms = resourcesOf(stack, 'AWS::CloudWatch::Alarm').map(
    ([, { properties }]) => properties.AlarmName,
  );

  test.each(alarms)('%s has a runbook', expectRunbook);

  test('there is none for an alarm that does not exist', () => {
    expect(headingsIn('Alarms').sort()).toEqual(alarms.sort());
  });
});

/** Subjects as they stand in the sources: `Rollout of ${…} lost: …`. */
const subjects = ['rollout-ended', 'report-certificate-notice', 'reconcile', 'shared'].flatMap((folder) => {
  const directory = path.join(ROOT, 'functions', folder);
  return readdirSync(directory).flatMap((file) =>
    [...readFileSync(path.join(directory, file), 'utf8').matchAll(/Subject: `((?:[^`\\]|\\.)*)`/g)].map(
      ([, subject = '']) => subject,
    ),
  );
});

/** `${…}` may be anything; braces inside it are counted. */
function patternOf(subject: string): { pattern: RegExp; literal: string } {
  let depth = 0;
  let literal = '';
  for (let index = 0; index < subject.length; index += 1) {
    if (subject.startsWith('${', index)) {
      depth += 1;
      index += 1;
      if (depth === 1) literal += '\0';
    } else if (depth > 0 && subject[index] === '{') depth += 1;
    else if (depth > 0 && subject[index] === '}') depth -= 1;
    else if (depth === 0) literal += subject[index];
  }
  const escaped = literal.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&').replaceAll('\0', '.*');
  return { pattern: new RegExp(`^${escaped}$`), literal: literal.replaceAll('\0', '') };
}

describe('messages', () => {
  const rows = rowsOf(section(OPERATIONS, 'Messages')).slice(1);
  const examples = rows.map(([subject]) => codes(subject)[0] as string);
  // What says most of itself first, so that each example counts for the narrowest one that it fits.
  const patterns = subjects
    .map((subject) => ({ subject, ...patternOf(subject) }))
    .sort((a, b) => b.literal.length - a.literal.length);
  const kindOf = (example: string) => patterns.find(({ pattern }) => pattern.test(example))?.subject;

  test('every subject that a function sends is shown by an example, and every example is one of them', () => {
    expect(subjects.length).toBeGreaterThanOrEqual(5);
    expect(new Set(examples.map(kindOf))).toEqual(new Set(subjects));
  });

  test('each way in which a rollout may end badly is there, and each notice of ACM', () => {
    const patternOfRule = (id: string) => resourceOf(stack, id).properties.EventPattern;
    const statuses: string[] = patternOfRule('RolloutEndedFunctionRolloutEnded').detail.status;
    const warnings: string[] = patternOfRule('ReportCertificateNoticeFunctionCertificateNotice')[
      'detail-type'
    ];
    for (const status of statuses.map((name) => (name === 'SUCCEEDED' ? 'lost' : name))) {
      expect(examples).toContainEqual(expect.stringMatching(new RegExp(`^Rollout of .* ${status}:`)));
    }
    for (const warning of warnings) {
      expect(examples).toContainEqual(expect.stringMatching(new RegExp(`^${warning}: `)));
    }
  });

  test('each example leads to an entry, and each entry is led to', () => {
    const led = rows.map(([, link = '']) => /\[(.+)\]\(#(.+)\)/.exec(link) ?? []);
    expect(led.map(([, text]) => text).sort()).toEqual(headingsIn('Messages').sort());
    for (const [, , anchor] of led) {
      expect(anchorsOf(OPERATIONS)).toContain(anchor);
    }
  });

  test.each(headingsIn('Messages'))('%s has a runbook', expectRunbook);
});

test('whatever a rollout may fail with by name is explained', () => {
  const { States } = parse(read('statemachine/certificate-rollout.asl.yaml')) as {
    States: Record<string, { Error?: string; Retry?: object; Catch?: { ErrorEquals: string[] }[] }>;
  };
  const states = Object.values(States);
  const caught = states.flatMap(({ Catch }) => (Catch ?? []).flatMap(({ ErrorEquals }) => ErrorEquals));
  const retried = JSON.stringify(states.map(({ Retry }) => Retry ?? []));
  const classes = [...read('functions/shared/errors.ts').matchAll(/override name = '(\w+)'/g)]
    .map(([, name = '']) => name)
    // Refusals are answers of the API; the state machine catches or repeats the others.
    .filter((name) => name !== 'RequestRefused' && !caught.includes(name) && !retried.includes(`"${name}"`));
  const advised = [
    ...(
      /const ADVICE[^{]*\{([\s\S]*?)\n\};/.exec(read('functions/rollout-ended/rollout-ended.ts'))?.[1] ?? ''
    ).matchAll(/^ {2}(\w+):/gm),
  ].map(([, name]) => name);
  const failed = states.flatMap(({ Error: name }) => name ?? []);
  const explained = rowsOf(section(OPERATIONS, 'Why a rollout failed')).flatMap(([name]) => codes(name));
  expect(advised.length).toBeGreaterThan(5);
  expect(explained.sort()).toEqual([...new Set([...classes, ...advised, ...failed])].sort());
});

test('every outcome of a node is explained', () => {
  const [, union = ''] =
    /export type NodeOutcome =([^;]+);/.exec(read('functions/shared/deployment.ts')) ?? [];
  const outcomes = [...union.matchAll(/'([\w-]+)'/g)].map(([, name]) => name);
  const rows = rowsOf(section(OPERATIONS, 'Outcomes of a server')).slice(1);
  expect(rows.map(([name]) => codes(name)[0]).sort()).toEqual(outcomes.sort());
  expect(rows.flat().every((cell) => cell.length > 0)).toBe(true);
});

test('what is said of log lines is in the sources', () => {
  const sources = ['reconcile/reconcile.ts', 'shared/advance.ts', 'deployments-api/route.ts'].map((file) =>
    read(`functions/${file}`),
  );
  for (const line of ['Reconcile failed for', 'Rollout started', 'Refused']) {
    expect(read(OPERATIONS)).toContain(line);
    expect(sources.some((source) => source.includes(line))).toBe(true);
  }
});

test('the arithmetic of the turns rests on the figures of the code', () => {
  const turns = read('functions/shared/turns.ts');
  const [exports, installations] = ['EXPORTS_PER_SECOND', 'INSTALLATIONS_PER_SECOND'].map((name) =>
    Number(new RegExp(`${name} = ([\\d.]+)`).exec(turns)?.[1]),
  ) as [number, number];
  const seconds = (cell: string | undefined) => Number((cell ?? '').replaceAll(/[^\d.]/g, ''));
  const rows = rowsOf(section(OPERATIONS, 'Quotas'))
    .filter(([, , , last]) => last !== undefined)
    .slice(1);
  expect(rows.length).toBe(4);
  for (const [size = '', byExports, byInstallations] of rows) {
    const [all = 0, accounts = 1] =
      size.match(/[\d,]+/g)?.map((text) => Number(text.replaceAll(',', ''))) ?? [];
    expect(seconds(byExports)).toBe(Math.round(all / exports));
    expect(seconds(byInstallations)).toBe(Math.round(all / accounts / installations));
  }
});
