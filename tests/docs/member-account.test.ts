import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { TEMPLATE_LIMIT } from '../../scripts/render-member-account.ts';
import { CENTRAL, centralStack, ROOT, writtenTemplate } from '../templates/stacks.ts';
import { type Command, commandsOf, pythonWith, type SHELLS } from './commands.ts';
import { blocksOf, DOCUMENTS } from './documents.ts';
import { programOf } from './tools.ts';

// How member-account.yaml reaches an account: by its address in S3, from whatever shell a reader has.

const GUIDE = 'docs/guide.md';
const environment = {
  AWS_REGION: CENTRAL.region,
  AWS_DEFAULT_REGION: CENTRAL.region,
  AWS_ACCESS_KEY_ID: 'nobody',
  AWS_SECRET_ACCESS_KEY: 'none',
  AWS_SESSION_TOKEN: '',
  API_URL: 'https://api.example.com/v1',
  CERTIFICATE_ARN: `arn:aws:acm:${CENTRAL.region}:${CENTRAL.account}:certificate/1`,
  DEPLOYMENT_ID: '0123456789abcdef01234567',
  MEMBER_PARAMETERS: String(centralStack().outputs.MemberAccountParameters),
  POLICY: 'arn:aws:iam::444455556666:policy/acm-export-read-bundle-eu-west-1',
  DASHBOARD: 'https://console.example.com',
};
/** Those of docs/nodes.md are typed on a server, where root has bash. */
const TYPED_ANYWHERE = DOCUMENTS.filter(
  (document) =>
    document !== 'docs/nodes.md' &&
    blocksOf(document).some(({ language }) => language === 'sh' || language === 'console'),
);
const template = writtenTemplate('member-account.yaml');
const parameters = Object.keys(template.Parameters);
const commands = commandsOf(GUIDE, environment);

/** What stands behind an option, as far as the next one. */
function valuesOf({ words }: Command, option: string): string[] {
  const behind = words.slice(words.indexOf(option) + 1);
  const end = behind.findIndex((word) => word.startsWith('--'));
  return words.includes(option) ? behind.slice(0, end < 0 ? undefined : end) : [];
}

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

  // A parameter that comes later and has a default is to be left out here: it has no previous value.
  test('keeps all its parameters in an update', () => {
    for (const command of ofStackSet('update-stack-set')) {
      const kept = valuesOf(command, '--parameters');
      expect(namesOf(kept)).toEqual(parameters);
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

describe.each<keyof typeof SHELLS>(['sh', 'zsh'])('%s', (shell) => {
  if (programOf(shell)) {
    test.each(TYPED_ANYWHERE)('%s calls programs with the same words as in bash', (document) => {
      // Without what `date` said: it has gone on between the two.
      const called = (by: keyof typeof SHELLS) =>
        commandsOf(document, environment, by).map((command) =>
          JSON.stringify(command).replaceAll(/\b\d{10}\b|\d{4}-\d\d-\d\dT[\d:]+/g, 'a time'),
        );
      expect(called(shell)).toEqual(called('bash'));
    });
  } else {
    test.skip('is not installed: the commands were not tried in it', () => undefined);
  }
});

describe('sam deploy', () => {
  const deploys = commands.filter(
    ({ program, words }) => program === 'sam' && words.includes('member-account.yaml'),
  );

  test('creates a stack of its own, with a name of its own', () => {
    expect(deploys.length).toBe(2);
    for (const command of deploys) expect(valuesOf(command, '--stack-name')).toEqual(['acm-export-member']);
  });

  const python = pythonWith('samcli', programOf('sam'));
  if (python) {
    /** Runs it in a clone where `sam deploy --guided` has saved its answers for the central stack. */
    function run({ words }: Command, stack: string[] | null) {
      const clone = mkdtempSync(path.join(tmpdir(), 'clone-'));
      try {
        copyFileSync(path.join(ROOT, 'member-account.yaml'), path.join(clone, 'member-account.yaml'));
        const saved = ['profile = "central"', 'region = "us-west-2"', 's3_prefix = "acm-export"'];
        const overrides = 'parameter_overrides = "Prefix=\\"other\\" ExternalId=\\"of-another-stack\\""';
        const section = '[default.deploy.parameters]\n';
        const written = readFileSync(path.join(ROOT, 'samconfig.toml'), 'utf8');
        const guided = written.replace(section, `${section}${[...saved, overrides].join('\n')}\n`);
        expect(guided).not.toBe(written);
        writeFileSync(path.join(clone, 'samconfig.toml'), guided);
        const output = execFileSync(python as string, [path.join(import.meta.dirname, 'run-sam-deploy.py')], {
          cwd: clone,
          input: JSON.stringify({ words, stack }),
          env: {
            PATH: process.env.PATH,
            HOME: clone,
            SAM_CLI_TELEMETRY: '0',
            AWS_ACCESS_KEY_ID: 'of-the-member-account',
            AWS_SECRET_ACCESS_KEY: 'none',
          },
          maxBuffer: 16 * TEMPLATE_LIMIT,
        });
        return JSON.parse(String(output));
      } finally {
        rmSync(clone, { recursive: true });
      }
    }

    /** What each of them has to do, whatever its parameters: the template at an address in a bucket of the caller. */
    function expectDelivery({ changeSet, place, size, callers, template: uploaded }: ReturnType<typeof run>) {
      expect(changeSet.TemplateURL).toBe(`https://s3.eu-west-1.amazonaws.com/${place}`);
      expect(changeSet.Capabilities).toEqual(['CAPABILITY_NAMED_IAM']);
      expect(callers).toEqual([['eu-west-1', 'of-the-member-account']]);
      expect(size).toBeLessThanOrEqual(TEMPLATE_LIMIT);
      // SAM CLI adds the logical id to each resource, as metadata.
      for (const resource of Object.values<{ Metadata?: unknown }>(uploaded.Resources)) {
        delete resource.Metadata;
      }
      expect(uploaded).toEqual(template);
    }

    test('creates a stack with the parameters of the central one', () => {
      const found = run(deploys[0] as Command, null);
      expectDelivery(found);
      expect(found.changeSet.ChangeSetType).toBe('CREATE');
      expect(found.changeSet.Parameters).toEqual([
        { ParameterKey: 'Prefix', ParameterValue: 'acm-export' },
        { ParameterKey: 'CentralAccountId', ParameterValue: CENTRAL.account },
        { ParameterKey: 'CentralRegion', ParameterValue: CENTRAL.region },
        { ParameterKey: 'ExternalId', ParameterValue: centralStack().parameters.ExternalId },
      ]);
    });

    test('updates a stack that another command made, and keeps its parameters', () => {
      const found = run(deploys[1] as Command, parameters);
      expectDelivery(found);
      expect(found.changeSet.ChangeSetType).toBe('UPDATE');
      expect(found.changeSet.Parameters).toEqual(
        parameters.map((ParameterKey) => ({ ParameterKey, UsePreviousValue: true })),
      );
    });
  } else {
    test.skip('there is no SAM CLI here: what it hands over was not looked at', () => undefined);
  }
});
