import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect } from '@jest/globals';
import { check } from '../docs/commands.ts';
import { documented, sendAll } from '../docs/documented.ts';
import { needs } from '../support/needs.ts';
import { programOf, pythonWith, realAwsCli } from '../support/tools.ts';

// What a reader is told to type, looked at by the programs themselves.

/** Of version 2 of the AWS CLI only; version 1, whose parser is used here, does not have it. */
const ONLY_VERSION_2 = ['configure export-credentials'];

const documents = documented();
const run = promisify(execFile);

needs('samModule')('SAM CLI takes every command', async () => {
  const python = pythonWith('samcli', programOf('sam')) as string;
  expect(await check(python, 'check-sam-commands.py', documents().of('sam'))).toEqual([]);
});

needs('awsModule')(
  'the AWS CLI takes every command, and those that only read find what is there',
  async () => {
    const { of, environment, fleet } = documents();
    const checked = of('aws').filter(({ words }) => !ONLY_VERSION_2.includes(words.slice(0, 2).join(' ')));
    const python = pythonWith('awscli', realAwsCli()) as string;
    const folder = await mkdtemp(path.join(tmpdir(), 'profiles-'));
    const AWS_CONFIG_FILE = path.join(folder, 'config');
    const { AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY } = environment;
    await writeFile(
      AWS_CONFIG_FILE,
      `[profile central]
region = ${AWS_REGION}
aws_access_key_id = ${AWS_ACCESS_KEY_ID}
aws_secret_access_key = ${AWS_SECRET_ACCESS_KEY}
`,
      { mode: 0o600 },
    );
    try {
      const faults = await check(python, 'check-aws-commands.py', checked, {
        ...environment,
        AWS_ENDPOINT_URL: fleet.cloud.endpoint,
        AWS_CONFIG_FILE,
      });
      expect(faults).toEqual([]);
    } finally {
      await rm(folder, { recursive: true });
    }
  },
);

needs('curl')('each request to the API is accepted', () =>
  sendAll(documents(), async (words) => {
    const { stdout } = await run('curl', ['-sS', '-w', '\n%{http_code}', ...words]);
    const [, body = '', status] = /^([\s\S]*)\n(\d+)$/.exec(stdout) ?? [];
    return { status: Number(status), body };
  }),
);

needs('awscurl')('awscurl takes its commands', async () => {
  const { of, filledIn, environment } = documents();
  for (const { words } of of('awscurl').filter((command) => !command.words.includes('DELETE'))) {
    await run('awscurl', ['--fail-with-body', ...words.map(filledIn)], {
      env: { ...process.env, ...environment },
    });
  }
});
