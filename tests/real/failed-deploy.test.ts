import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from '@jest/globals';
import { needs } from '../support/needs.ts';
import { programOf, pythonWith } from '../support/tools.ts';
import { ROOT } from '../templates/stacks.ts';

// What SAM CLI does with a stack after `sam deploy` failed, by the samconfig.toml of the project.

/** Deploys anything, once, to a stack that ends in that status. */
function deployTo(stack: string[] | null, ends: string, words: string[]) {
  const clone = mkdtempSync(path.join(tmpdir(), 'clone-'));
  try {
    copyFileSync(path.join(ROOT, 'samconfig.toml'), path.join(clone, 'samconfig.toml'));
    writeFileSync(path.join(clone, 'template.yaml'), 'Resources: {Topic: {Type: AWS::SNS::Topic}}');
    const python = pythonWith('samcli', programOf('sam')) as string;
    const output = execFileSync(python, [path.join(ROOT, 'tests/docs/run-sam-deploy.py')], {
      cwd: clone,
      input: JSON.stringify({ words: ['deploy', '--region', 'eu-west-1', ...words], stack, ends }),
      env: {
        PATH: process.env.PATH,
        HOME: clone,
        SAM_CLI_TELEMETRY: '0',
        // Seconds between two looks at a stack.
        SAM_CLI_POLL_DELAY: '0.1',
        AWS_ACCESS_KEY_ID: 'test',
        AWS_SECRET_ACCESS_KEY: 'none',
      },
    });
    return JSON.parse(String(output));
  } finally {
    rmSync(clone, { recursive: true });
  }
}

const member = ['--config-env', 'member', '--template-file', 'template.yaml', '--resolve-s3'];

needs('samModule').describe.each<[string, string[]]>([
  ['acm-export', []],
  ['acm-export-member', [...member, '--stack-name', 'acm-export-member']],
])('the stack %s', (name, words) => {
  test('is deleted when its creation failed, so that the next deployment creates it', () => {
    const { changeSet, deleted, said } = deployTo(null, 'ROLLBACK_COMPLETE', words);
    expect([changeSet.ChangeSetType, deleted]).toEqual(['CREATE', name]);
    expect(said).toContain('Failed to create/update the stack');
  });

  test.each(['UPDATE_ROLLBACK_COMPLETE', 'UPDATE_ROLLBACK_FAILED'])(
    'is never deleted when an update failed: %s',
    (ends) => {
      const { changeSet, deleted, said } = deployTo([], ends, words);
      expect([changeSet.ChangeSetType, deleted]).toEqual(['UPDATE', undefined]);
      expect(said).toContain('Failed to create/update the stack');
    },
  );
});
