import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { realAwsCli } from '../support/tools.ts';
import { until as untilSo } from '../support/until.ts';
import { ROOT } from '../templates/stacks.ts';

// What `make local` prints is run as it stands there, by bash, with the tools that a reader has.

const run = promisify(execFile);
const aws = realAwsCli();

let cloud: ChildProcess;
let output = '';
/** File that what is printed tells to source. */
let environment = '';
/** Commands that what is printed gives as examples. */
let examples: string[] = [];

const type = (command: string) => cloud.stdin?.write(`${command}\n`);

const until = <T>(what: string, look: Parameters<typeof untilSo<T>>[1]) => untilSo(what, look, () => output);

/** Runs a line in a new shell that has sourced the file. */
async function shell(line: string): Promise<string> {
  const folder = aws ? dirname(aws) : '';
  const script = `. '${environment}'\nPATH="${folder}:$PATH"\nset -euo pipefail\n${line}`;
  return (await run('bash', ['-c', script])).stdout;
}

const example = (start: string) => {
  const found = examples.find((line) => line.startsWith(start));
  if (!found) throw new Error(`no example begins with ${start}`);
  return found;
};
const post = () => shell(examples.find((line) => line.includes(' -d ')) ?? 'false');
const deployment = async () =>
  JSON.parse(
    await shell(examples.find((line) => /\/deployments"$/.test(line) && !/-d /.test(line)) ?? 'false'),
  ).Deployments[0];
const servedSerial = async () =>
  /serial=(\w+)/.exec(await shell(example('openssl s_client')))?.[1]?.toLowerCase();
const settled = (status: string) =>
  until(status, async () => {
    const found = await deployment();
    return found?.Status === status && found;
  });

beforeAll(async () => {
  cloud = spawn(process.execPath, ['local/main.ts'], {
    cwd: ROOT,
    env: { ...process.env, TIME_SCALE: '0.01' },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  cloud.stdout?.setEncoding('utf8').on('data', (text) => {
    output += text;
  });
  await until('the introduction', () => output.includes('  quit '));
  environment = /or just: \. (\S+)/.exec(output)?.[1] ?? '';
  examples = (output.split('for example:\n')[1]?.split('\n\n')[0] ?? '')
    .split('\n')
    .map((line) => line.trim());
});
afterAll(async () => {
  if (cloud.exitCode === null) {
    const exited = once(cloud, 'exit');
    cloud.kill();
    await exited;
  }
});

test('the lines for a shell are those of the file', async () => {
  const printed = [...output.matchAll(/^ {2}((?:export|unset) .*)$/gm)].map(([, line]) => line);
  expect((await run('cat', [environment])).stdout.trim().split('\n')).toEqual(printed);
  expect(printed.length).toBeGreaterThan(5);
});

test('curl registers and asks, and openssl sees the new certificate', async () => {
  expect(JSON.parse(await post())).toMatchObject({ DeploymentId: expect.any(String), Warnings: [] });
  const { Serial } = await settled('INSTALLED');
  expect(await servedSerial()).toBe(Serial);
});

if (aws) {
  test('the AWS CLI sees the certificate and the inventory, and a profile for each account', async () => {
    const profiles = (output.split('~/.aws/config')[1] ?? '').split('\n\n')[0]?.split('\n').slice(1) ?? [];
    const config = profiles.map((line) => line.trim()).join('\n');
    const [certificates, items, nodes] = await Promise.all([
      shell(`${example('aws --endpoint-url')} --output text`),
      shell(`${example('aws dynamodb scan')} --output text`),
      shell(`cat >"$(dirname '${environment}')/config" <<'END'\n${config}\nEND
unset AWS_ENDPOINT_URL AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_REGION AWS_DEFAULT_REGION
export AWS_CONFIG_FILE="$(dirname '${environment}')/config"
aws --profile acm-export-member ssm describe-instance-information --output text`),
    ]);
    expect(certificates).toMatch(/www\.example\.com/);
    expect(items).toMatch(/INSTALLED/);
    expect(nodes).toMatch(/i-[0-9a-f]{17}/);
  });
} else {
  test.skip('there is no AWS CLI here: not checked with it', () => undefined);
}

test('what no API offers are commands: lose an event, renew, add a node, break one', async () => {
  const first = await servedSerial();
  type('lose');
  type('renew');
  await until('the renewal', () => output.includes('ACM renews'));
  type('add web');
  const [, added] = (await until('the node', () => /^(i-\w+) tagged .* at/m.exec(output))) as string[];
  type('advance 1');
  await until('reconcile', async () => (await servedSerial()) !== first);
  const { Serial: second } = await settled('INSTALLED');
  type('status');
  await until('the new node to serve', () => {
    const lines = output.split('\n').filter((line) => line.startsWith(`${added} `) && line.endsWith(second));
    if (lines.length === 0) type('status');
    return lines.length > 0;
  });

  type(`break ${added}`);
  for (const [, id] of output.matchAll(/^(m?i-\w+) .*111122223333/gm)) {
    if (id !== added) type(`offline ${id}`);
  }
  type('renew');
  const failed = await settled('FAILED');
  expect(failed.LastError).toMatch(/hook .* failed/);
  await until('the message', () => {
    type('messages');
    return /Rollout of www FAILED: acm-export=web\nWhat: /.test(output);
  });
});

test('quit ends it, and leaves nothing behind', async () => {
  const exited = once(cloud, 'exit');
  type('quit');
  expect(await exited).toEqual([0, null]);
  expect(existsSync(dirname(environment))).toBe(false);
});
