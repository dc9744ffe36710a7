import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from '@jest/globals';
import { TEMPLATE_LIMIT } from '../../scripts/render.ts';
import type { Command } from '../docs/commands.ts';
import { calledBy, deploys, parameters, TYPED_ANYWHERE, template } from '../docs/member-commands.ts';
import { needs } from '../support/needs.ts';
import { programOf, pythonWith } from '../support/tools.ts';
import { CENTRAL, centralStack, ROOT } from '../templates/stacks.ts';

// What zsh makes of the documented commands, and what SAM CLI hands over to AWS.

needs('zsh').each(TYPED_ANYWHERE)('%s calls programs in zsh with the same words as in bash', (document) => {
  expect(calledBy('zsh', document)).toEqual(calledBy('bash', document));
});

needs('samModule').describe('sam deploy', () => {
  const python = pythonWith('samcli', programOf('sam'));
  const OF_PROFILE = 'of-the-profile-central';
  const OF_MEMBER = 'of-the-member-account';

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
      mkdirSync(path.join(clone, '.aws'));
      const profile = `[profile central]\naws_access_key_id = ${OF_PROFILE}\naws_secret_access_key = none\n`;
      writeFileSync(path.join(clone, '.aws/config'), profile);
      const output = execFileSync(python as string, [path.join(ROOT, 'tests/docs/run-sam-deploy.py')], {
        cwd: clone,
        input: JSON.stringify({ words, stack }),
        env: {
          PATH: process.env.PATH,
          HOME: clone,
          SAM_CLI_TELEMETRY: '0',
          AWS_ACCESS_KEY_ID: OF_MEMBER,
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
  function expectDelivery(
    { changeSet, place, size, callers, template: uploaded }: ReturnType<typeof run>,
    caller = OF_MEMBER,
  ) {
    expect(changeSet.TemplateURL).toBe(`https://s3.eu-west-1.amazonaws.com/${place}`);
    expect(changeSet.Capabilities).toEqual(['CAPABILITY_NAMED_IAM']);
    expect(callers).toEqual([['eu-west-1', caller]]);
    expect(size).toBeLessThanOrEqual(TEMPLATE_LIMIT);
    // SAM CLI adds the logical id to each resource, as metadata.
    for (const resource of Object.values<{ Metadata?: unknown }>(uploaded.Resources)) {
      delete resource.Metadata;
    }
    expect(uploaded).toEqual(template);
  }

  test.each([
    ['the short way', 0, OF_PROFILE],
    ['by hand', 1, OF_MEMBER],
  ])('creates a stack with the parameters of the central one (%s)', (_, nth, caller) => {
    const found = run(deploys[nth] as Command, null);
    expectDelivery(found, caller);
    expect(found.changeSet.ChangeSetType).toBe('CREATE');
    expect(found.changeSet.Parameters).toEqual([
      { ParameterKey: 'Prefix', ParameterValue: 'acm-export' },
      { ParameterKey: 'CentralAccountId', ParameterValue: CENTRAL.account },
      { ParameterKey: 'CentralRegion', ParameterValue: CENTRAL.region },
      { ParameterKey: 'ExternalId', ParameterValue: centralStack().parameters.ExternalId },
      { ParameterKey: 'KeepFirstEditionGrants', ParameterValue: 'false' },
    ]);
  });

  test('narrows what an account allows, and keeps all other parameters', () => {
    const found = run(deploys[2] as Command, parameters);
    expectDelivery(found);
    const changed: Record<string, string> = {
      AllowedCertNames: 'web-*,api',
      AllowedServices: 'nginx,haproxy',
    };
    expect(found.changeSet.Parameters).toEqual(
      parameters.map((ParameterKey) =>
        ParameterKey in changed
          ? { ParameterKey, ParameterValue: changed[ParameterKey] }
          : { ParameterKey, UsePreviousValue: true },
      ),
    );
  });

  test('updates a stack that another command made, and keeps its parameters', () => {
    const found = run(deploys[3] as Command, parameters);
    expectDelivery(found);
    expect(found.changeSet.ChangeSetType).toBe('UPDATE');
    expect(found.changeSet.Parameters).toEqual(
      parameters.map((ParameterKey) => ({ ParameterKey, UsePreviousValue: true })),
    );
  });
});
