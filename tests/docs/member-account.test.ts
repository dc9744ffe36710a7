import { describe, expect, test } from '@jest/globals';
import { CENTRAL } from '../templates/stacks.ts';
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

  /** A StackSet of an earlier edition has no value of these to keep; they have defaults. */
  const isNew = (name: string) => ['SecretReaderRoles', 'KeepFirstEditionGrants'].includes(name);

  test('keeps all its parameters in an update, but for those that are new', () => {
    for (const command of ofStackSet('update-stack-set')) {
      const kept = valuesOf(command, '--parameters');
      expect(namesOf(kept)).toEqual(parameters.filter((name) => !isNew(name)));
      expect(kept.every((word) => word.endsWith(',UsePreviousValue=true'))).toBe(true);
    }
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

test('sam deploy creates a stack of its own, with a name of its own', () => {
  expect(deploys.length).toBe(2);
  for (const command of deploys) expect(valuesOf(command, '--stack-name')).toEqual(['acm-export-member']);
});
