import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import * as z from 'zod';
import { DeploymentBody, INSTALL_OPTIONS, NEEDS_PORT } from '../../functions/domain/order.ts';
import {
  exitCodes,
  nodeParameters,
  type OptionSchema,
  parameterOf,
  schemaOf,
  scriptPart,
} from '../../scripts/parameters.ts';

const NEEDED = {
  CertificateArn: 'arn:aws:acm:eu-west-1:111122223333:certificate/11112222-3333-4444-5555-666677778888',
  TargetTagKey: 'acm-export',
  TargetTagValue: 'web',
};

/** Values around what a schema takes. */
function valuesAround({
  type,
  enum: values,
  pattern,
  minimum = 0,
  maximum = 0,
  maxItems = 1,
  items,
}: OptionSchema): unknown[] {
  if (type === 'boolean') return [true, false, 'yes', 1, 'truetrue', 'TRUE'];
  if (values) return [...values, '', 'x', `${values[0]}x`, `${values[0]}\n`, values.join(' ')];
  if (type === 'integer')
    return [minimum - 1, minimum, minimum + 1, maximum - 1, maximum, maximum + 1, maximum * 10];
  if (type === 'array' && items) {
    const single = valuesAround(items).filter((value) => !String(value).includes(' '));
    const several = Array.from(
      { length: maxItems + 1 },
      (_, index) => items.enum?.[index] ?? `unit-${index}`,
    );
    return [[], ...single.map((value) => [value]), several.slice(0, -1), several];
  }
  const right = fc.sample(fc.stringMatching(new RegExp(pattern as string)), { numRuns: 20, seed: 7 });
  const odd = [
    '',
    '.',
    '..',
    '...',
    '0',
    '00',
    'a..b',
    ' a',
    'a ',
    '-a',
    'a\n',
    '$(id)',
    'é',
    'x'.repeat(300),
  ];
  return [...right, ...right.map((text) => `${text}${text}`), ...odd];
}

/** As StartInstallation writes it into a parameter. */
const asParameter = (value: unknown) => (Array.isArray(value) ? value.join(' ') : String(value));

const part = (name: string) => readFileSync(new URL(`../../ssm-documents/${name}`, import.meta.url), 'utf8');

/** Which parameters the install script takes, each beside what is needed. */
function scriptTakes(cases: { name: string; value: unknown }[]): boolean[] {
  const needed: Record<string, string> = {
    SecretArn: `arn:aws:secretsmanager:eu-west-1:111122223333:secret:x/web/${'0'.repeat(24)}-AbCdEf`,
    VersionId: '0'.repeat(64),
    CertName: 'web',
    DeploymentId: '0'.repeat(24),
    RolloutNumber: '1',
    CorrelationId: 'c',
  };
  const script = `set -euo pipefail
    SSL=/nowhere
    fail() { exit 3; }
    ${part('shared/13-links.sh')}
    ${part('install-certificate/30-parameters.sh')}
    ${scriptPart()}
    while IFS= read -r -d '' name && IFS= read -r -d '' value; do
      status=0
      (export "SSM_$name=$value"; read_parameters) || status=$?
      echo "$status"
    done`;
  const { stdout, stderr } = spawnSync('bash', ['--norc', '-c', script], {
    input: cases.map(({ name, value }) => `${name}\0${asParameter(value)}\0`).join(''),
    encoding: 'utf8',
    env: {
      PATH: process.env.PATH,
      LC_ALL: 'C',
      ...Object.fromEntries(Object.entries(needed).map(([name, value]) => [`SSM_${name}`, value])),
    },
  });
  expect(stderr).toBe('');
  const statuses = stdout.trim().split('\n');
  expect(statuses.filter((status) => status !== '0' && status !== '3')).toEqual([]);
  return statuses.map((status) => status === '0');
}

describe.each(Object.entries(INSTALL_OPTIONS))('%s', (name, option) => {
  // What is left out reaches the script as an empty text, which the API does not take for a value.
  const cases = valuesAround(schemaOf(option))
    .filter((value) => asParameter(value) !== '')
    .map((value) => ({ name, value }));

  test('is taken by the script exactly where it is taken by the API', () => {
    const expected = cases.map(({ value }) => ({
      value,
      isTaken: DeploymentBody.safeParse({ ...NEEDED, VerifyPort: 443, [name]: value }).success,
    }));
    expect(new Set(expected.map(({ isTaken }) => isTaken))).toEqual(new Set([true, false]));
    const taken = scriptTakes(cases);
    expect(cases.map(({ value }, index) => ({ value, isTaken: taken[index] }))).toEqual(expected);
  });
});

test.each(NEEDS_PORT)('%s without a VerifyPort is a fault of its own', (name) => {
  const value = valuesAround(schemaOf(INSTALL_OPTIONS[name]))[0];
  const faultsOf = (body: object) =>
    DeploymentBody.safeParse({ ...NEEDED, ...body }).error?.issues.map(({ path: [field] }) => field) ?? [];
  expect(faultsOf({ [name]: value })).toEqual([name]);
  expect(faultsOf({ [name]: value, VerifyPort: 0 })).toEqual([name]);
  expect(faultsOf({ [name]: value, VerifyPort: 143 })).toEqual([]);
});

test.each(['eu-central-1', 'us-gov-west-1', 'ap-southeast-4', 'eusc-de-east-1', 'mx-central-1'])(
  'the Region %s is one',
  (TargetRegion) => {
    expect(DeploymentBody.safeParse({ ...NEEDED, TargetRegion }).success).toBe(true);
  },
);

describe('an option of the schema becomes a parameter', () => {
  test.each<[string, z.ZodType, object]>([
    [
      'text',
      z
        .string()
        .regex(/^[a-z]{1,3}\/x$/)
        .optional(),
      { pattern: '([a-z]{1,3}/x)?', default: '' },
    ],
    ['one of some', z.enum(['a', 'b']).optional(), { pattern: '(a|b)?', default: '' }],
    [
      'a number',
      z.int().min(0).max(999).optional(),
      { pattern: '(0|[1-9][0-9]{0,2})?', most: 999, default: '' },
    ],
    ['yes or no', z.boolean().optional(), { pattern: '(true|false)?', default: '' }],
    [
      'a list',
      z
        .array(z.enum(['a', 'b']))
        .max(3)
        .default([]),
      { pattern: '((a|b)( (a|b)){0,2})?', default: '' },
    ],
  ])('%s', (_, option, expected) => {
    expect(parameterOf('More', schemaOf(option))).toMatchObject({ name: 'More', ...expected });
  });

  test('but not with a default, which a member stack one edition older would refuse', () => {
    expect(() => parameterOf('More', schemaOf(z.enum(['a', 'b']).default('a')))).toThrow(
      'More has a default',
    );
  });

  test('and not without a form', () => {
    expect(() => parameterOf('More', schemaOf(z.string().optional()))).toThrow('no form');
    expect(() => parameterOf('More', schemaOf(z.object({})))).toThrow('no form');
  });

  test('which changes nothing of what is noted on nodes while it is not asked for', () => {
    const more = { name: 'ReloadServices', pattern: 'x', default: '' };
    expect(scriptPart([more])).toContain(
      'options="$ReloadServices|$VerifyPort|$KeyFormat|$ExtraFormats|$KeyMode|$KeyGroup"',
    );
    expect(scriptPart()).toContain('${VerifyName:+|VerifyName=$VerifyName}');
    // What decides once leaves what is installed as it is.
    expect(scriptPart()).not.toMatch(/\|TakeOver/);
  });
});

test('each exit code has one fault, says what it means, and is none that the shell or the agent takes for its own', () => {
  const codes = exitCodes.map(({ code }) => code);
  expect(new Set(codes).size).toBe(codes.length);
  expect(new Set(exitCodes.map(({ fault }) => fault)).size).toBe(codes.length);
  expect(codes.every((code) => code > 0 && code < 126)).toBe(true);
  for (const { means, todo } of exitCodes)
    expect([means, todo]).toEqual([expect.stringMatching(/../), expect.stringMatching(/../)]);
});

test('the parameters are those of a rollout, the options, DryRun and Heal, each once', () => {
  const names = nodeParameters().map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
  expect(names).toEqual(
    expect.arrayContaining(['SecretArn', ...Object.keys(INSTALL_OPTIONS), 'DryRun', 'Heal']),
  );
});
