import { readdirSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import * as clients from '../../functions/runtime/clients.ts';
import { systemClock } from '../../functions/runtime/clock.ts';
import { centralStack, ROOT, resourceStack, resourcesOf } from './stacks.ts';

/** What Powertools and Node read; each function has these. */
const OF_THE_RUNTIME = [
  'LOG_LEVEL',
  'NODE_OPTIONS',
  'POWERTOOLS_METRICS_NAMESPACE',
  'POWERTOOLS_SERVICE_NAME',
];

/** Of functions that make too many calls for a trace. */
const UNTRACED = ['POWERTOOLS_TRACE_ENABLED', 'AWS_XRAY_MANUAL_MODE'];

/** Set by Lambda itself: a template may not set them. */
const OF_LAMBDA = ['AWS_REGION'];

/** The variables that a function reads when it is composed. */
async function namesRead(folder: string, variables: Record<string, string>): Promise<string[]> {
  const names = new Set<string>();
  const environment = new Proxy<Record<string, string>>(
    { ...variables, AWS_REGION: 'eu-central-1' },
    {
      get: (values, name: string) => {
        names.add(name);
        return values[name];
      },
    },
  );
  const { compose } = await import(path.join(ROOT, 'functions', folder, 'handler.ts'));
  compose(environment, clients, systemClock);
  return [...names];
}

const functions = [centralStack(), resourceStack()]
  .flatMap((stack) => resourcesOf(stack, 'AWS::Serverless::Function'))
  .map(
    ([, { properties }]) =>
      [properties.FunctionName.slice('acm-export-'.length), properties.Environment.Variables] as const,
  );

describe.each(functions)('%s', (name, variables) => {
  test('gets exactly the environment that it reads', async () => {
    const expected = [
      ...(await namesRead(name, variables)).filter((variable) => !OF_LAMBDA.includes(variable)),
      ...OF_THE_RUNTIME,
      ...(['handle-renewal', 'reconcile'].includes(name) ? UNTRACED : []),
    ];
    expect(Object.keys(variables).sort()).toEqual(expected.sort());
  });

  test('is known to Powertools by its own name', () => {
    expect(variables).toMatchObject({
      POWERTOOLS_SERVICE_NAME: name,
      POWERTOOLS_METRICS_NAMESPACE: 'acm-export',
      NODE_OPTIONS: '--enable-source-maps',
    });
  });
});

test('every folder with a handler is a function of a template, and the other way round', () => {
  const folders = readdirSync(path.join(ROOT, 'functions'), { withFileTypes: true })
    .filter(
      (entry) =>
        entry.isDirectory() && readdirSync(path.join(ROOT, 'functions', entry.name)).includes('handler.ts'),
    )
    .map((entry) => entry.name);
  expect(functions.map(([name]) => name).sort()).toEqual(folders.sort());
});
