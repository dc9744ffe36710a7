import { describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { FINDINGS, NODE_OUTCOMES } from '../../functions/domain/deployment.ts';
import * as errors from '../../functions/domain/errors.ts';
import { ADVICE } from '../../functions/domain/failure.ts';
import { SUBJECTS } from '../../functions/domain/notification.ts';
import { EXPORTS_PER_SECOND, INSTALLATIONS_PER_SECOND } from '../../functions/inventory/slots.ts';
import { LOGGED } from '../../functions/runtime/observability.ts';
import { centralStack, resourceOf, resourcesOf } from '../templates/stacks.ts';
import { anchorsOf, read, rowsOf, section } from './documents.ts';

// A person who is called reads docs/operations.md only. So it names everything that may call them, and everything that
// they may find: names come from the template, the lists of the functions and the install script.

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

/** Each subject as a pattern, in which anything may stand for what a function fills in. */
const ANYTHING = '\0';
const of = {
  CertName: ANYTHING,
  TargetTagKey: ANYTHING,
  TargetTagValue: ANYTHING,
  // Some subjects begin with the name of a node or of a place.
  toString: () => ANYTHING,
};
const subjects = Object.entries(SUBJECTS).map(([kind, make]) => {
  const text = (make as (...given: unknown[]) => string)(of, ANYTHING, ANYTHING);
  const escaped = text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&').replaceAll(ANYTHING, '.*');
  return { kind, pattern: new RegExp(`^${escaped}$`), literal: text.replaceAll(ANYTHING, '').length };
});

describe('messages', () => {
  const rows = rowsOf(section(OPERATIONS, 'Messages')).slice(1);
  const examples = rows.map(([subject]) => codes(subject)[0] as string);
  // What says most of itself first, so that each example counts for the narrowest one that it fits.
  const byLength = subjects.toSorted((a, b) => b.literal - a.literal);
  const kindOf = (example: string) => byLength.find(({ pattern }) => pattern.test(example))?.kind;

  test('every subject that a function sends is shown by an example, and every example is one of them', () => {
    expect(new Set(examples.map(kindOf))).toEqual(new Set(subjects.map(({ kind }) => kind)));
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

test('every name with which a rollout may fail is explained', () => {
  const { States } = parse(read('statemachine/certificate-rollout.asl.yaml')) as {
    States: Record<string, { Error?: string; Retry?: object; Catch?: { ErrorEquals: string[] }[] }>;
  };
  const states = Object.values(States);
  const caught = states.flatMap(({ Catch }) => (Catch ?? []).flatMap(({ ErrorEquals }) => ErrorEquals));
  const retried = JSON.stringify(states.map(({ Retry }) => Retry ?? []));
  const classes = Object.values(errors)
    .filter((value) => value.prototype instanceof Error)
    .map((value) => value.name)
    // Refusals are answers of the API; the state machine catches or repeats the others.
    .filter((name) => name !== 'RequestRefused' && !caught.includes(name) && !retried.includes(`"${name}"`));
  const failed = states.flatMap(({ Error: name }) => name ?? []);
  const explained = rowsOf(section(OPERATIONS, 'Why a rollout failed')).flatMap(([name]) => codes(name));
  const advised = Object.keys(ADVICE);
  expect(explained.sort()).toEqual([...new Set([...classes, ...advised, ...failed])].sort());
});

test('every outcome of a node is explained', () => {
  const rows = rowsOf(section(OPERATIONS, 'Outcomes of a server')).slice(1);
  expect(rows.map(([name]) => codes(name)[0]).sort()).toEqual([...NODE_OUTCOMES].sort());
  expect(rows.flat().every((cell) => cell.length > 0)).toBe(true);
});

test('every finding of a look is explained', () => {
  const rows = rowsOf(section(OPERATIONS, 'What a look found')).filter((row) => row.length === 4);
  expect(rows.map(([kind]) => codes(kind)[0]).sort()).toEqual(['Kind', ...FINDINGS].sort());
  expect(rows.flat().every((cell) => cell.length > 0)).toBe(true);
});

test('the table that is created by hand is that of the template', () => {
  const { AttributeDefinitions, KeySchema, GlobalSecondaryIndexes } = resourceOf(
    stack,
    'InventoryTable',
  ).properties;
  const shorthand = (of: object) => Object.entries(of).map((pair) => pair.join('='));
  const braced = (key: object[]) => key.map((part) => `{${shorthand(part)}}`);
  const indexes = GlobalSecondaryIndexes.map(
    (index: { IndexName: string; KeySchema: object[] }) =>
      `'IndexName=${index.IndexName},KeySchema=[${braced(index.KeySchema)}],Projection={ProjectionType=ALL}'`,
  );
  const [command = ''] = /^aws dynamodb create-table [\s\S]*?[^\\]$/m.exec(read(OPERATIONS)) ?? [];
  const words = command.split(/[\s\\]+/).filter((word) => word.includes('Name='));
  const wanted = [...[...AttributeDefinitions, ...KeySchema].map((of) => `${shorthand(of)}`), ...indexes];
  expect(words.sort()).toEqual(wanted.sort());
});

test.each(Object.values(LOGGED))('a search finds the log line "%s"', (line) => {
  expect(read(OPERATIONS)).toContain(`"${line}"`);
});

test('the arithmetic of the slots rests on the figures of the code', () => {
  const seconds = (cell: string | undefined) => Number((cell ?? '').replaceAll(/[^\d.]/g, ''));
  const rows = rowsOf(section(OPERATIONS, 'Quotas'))
    .filter(([, , , last]) => last !== undefined)
    .slice(1);
  expect(rows.length).toBe(4);
  for (const [size = '', byExports, byInstallations] of rows) {
    const [all = 0, accounts = 1] =
      size.match(/[\d,]+/g)?.map((text) => Number(text.replaceAll(',', ''))) ?? [];
    expect(seconds(byExports)).toBe(Math.round(all / EXPORTS_PER_SECOND));
    expect(seconds(byInstallations)).toBe(Math.round(all / accounts / INSTALLATIONS_PER_SECOND));
  }
});
