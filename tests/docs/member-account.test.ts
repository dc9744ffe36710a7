import { describe, expect, test } from '@jest/globals';
import { CENTRAL, memberStack } from '../templates/stacks.ts';
import type { Command } from './commands.ts';
import { blocksOf, DOCUMENTS } from './documents.ts';
import {
  calledBy,
  commands,
  deploys,
  parameters,
  TYPED_ANYWHERE,
  template,
  valuesOf,
} from './member-commands.ts';

// How member-account.yaml reaches an account: by its address in S3, from whatever shell a reader has.

const ofStackSet = (operation: string) =>
  commands.filter(({ words }) => words[0] === 'cloudformation' && words[1] === operation);
const namesOf = (words: string[]) => words.map((word) => /^ParameterKey=(\w+),/.exec(word)?.[1]);

describe('a StackSet', () => {
  test.each(['create-stack-set', 'update-stack-set'])(
    '%s gets the address of what was uploaded',
    (operation) => {
      expect(ofStackSet(operation).length).toBeGreaterThan(0);
      for (const command of ofStackSet(operation)) {
        const [address = ''] = valuesOf(command, '--template-url');
        const [, bucket, region, key] =
          /^https:\/\/([\w-]+)\.s3\.([\w-]+)\.amazonaws\.com\/(.+)$/.exec(address) ?? [];
        expect(region).toBe(CENTRAL.region);
        const uploads = commands
          .slice(0, commands.indexOf(command))
          .filter(({ words }) => words[0] === 's3' && words[1] === 'cp')
          .map(({ words }) => words.slice(2));
        expect(uploads).toContainEqual(['member-account.yaml', `s3://${bucket}/${key}`]);
      }
    },
  );

  test('is created with every parameter that has no default', () => {
    for (const command of ofStackSet('create-stack-set')) {
      const named = namesOf(valuesOf(command, '--parameters'));
      expect(named).toEqual(
        expect.arrayContaining(parameters.filter((name) => template.Parameters[name].Default === undefined)),
      );
      expect(parameters).toEqual(expect.arrayContaining(named));
    }
  });

  test('keeps all parameters that it has in an update: what an owner allows is never widened by it', () => {
    for (const command of ofStackSet('update-stack-set')) {
      const kept = valuesOf(command, '--parameters');
      expect(namesOf(kept)).toEqual(parameters);
      expect(kept.every((word) => word.endsWith(',UsePreviousValue=true'))).toBe(true);
      const before = commands[commands.indexOf(command) - 1];
      expect(before?.words.slice(0, 4)).toEqual([
        ...['cloudformation', 'describe-stack-set'],
        ...['--stack-set-name', valuesOf(command, '--stack-set-name')[0]],
      ]);
      expect(valuesOf(before as Command, '--query')).toEqual([
        "StackSet.Parameters[].join('', ['ParameterKey=', ParameterKey, ',UsePreviousValue=true'])",
      ]);
    }
  });

  test('is narrowed for an account with both lists, each in the form that the template takes', () => {
    const narrowing = ofStackSet('update-stack-instances');
    expect(narrowing.length).toBeGreaterThan(0);
    for (const command of narrowing) expectLists(valuesOf(command, '--parameter-overrides'));
  });
});

test('no command passes a template in the request', () => {
  for (const document of DOCUMENTS) {
    for (const { text } of blocksOf(document))
      expect(text).not.toMatch(/--template-body|cloudformation deploy/);
  }
});

test.each(TYPED_ANYWHERE)('%s calls programs in sh with the same words as in bash', (document) => {
  expect(calledBy('sh', document)).toEqual(calledBy('bash', document));
});

test('a stack that was deployed by hand is narrowed with both lists, each in the form that the template takes', () => {
  const narrowing = deploys.filter(({ words }) => words.join(' ').includes('Allowed'));
  expect(narrowing).toHaveLength(1);
  for (const command of narrowing) {
    const [given = ''] = valuesOf(command, '--parameter-overrides');
    expectLists(given.split(' '));
  }
});

/** Words `ParameterKey=…,ParameterValue="…"`. */
function expectLists(words: string[]): void {
  const given = words.map((word) => /^ParameterKey=(\w+),ParameterValue="([^"]+)"$/.exec(word) ?? []);
  expect(given.map(([, name]) => name)).toEqual(['AllowedCertNames', 'AllowedServices']);
  expect(() => memberStack(Object.fromEntries(given.map(([, name, value]) => [name, value])))).not.toThrow();
}

test('sam deploy creates a stack of its own, with a name of its own', () => {
  expect(deploys.length).toBe(4);
  for (const command of deploys) expect(valuesOf(command, '--stack-name')).toEqual(['acm-export-member']);
});
