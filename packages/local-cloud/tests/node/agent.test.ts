import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { runCommandDocument } from '../../src/node/agent.ts';
import type { NodeSpec, RunCommandOptions } from '../../src/node/types.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'agent-'));
});
afterAll(() => rm(folder, { recursive: true }));

const node = (changes: Partial<NodeSpec> = {}): NodeSpec => ({
  id: 'i-0123456789abcdef0',
  root: folder,
  tags: {},
  platform: 'Linux',
  agentVersion: '3.3.3572.0',
  online: true,
  environment: { AWS_ENDPOINT_URL: 'http://127.0.0.1:1' },
  ...changes,
});

const parameters = {
  Name: { type: 'String', interpolationType: 'ENV_VAR', allowedPattern: '^[a-z]{1,9}$', default: 'none' },
};

/** A document of one step, in which each line of the script is an element, as a rendered document has it. */
const documentOf = (script: string, changes: object = {}, inputs: object = {}) => ({
  schemaVersion: '2.2',
  parameters,
  mainSteps: [
    {
      action: 'aws:runShellScript',
      name: 'Install',
      precondition: { StringEquals: ['platformType', 'Linux'] },
      inputs: { runCommand: script.split('\n'), ...inputs },
    },
  ],
  ...changes,
});

const run = (
  document: object,
  values: Record<string, string[]> = {},
  spec = node(),
  more: Partial<RunCommandOptions> = {},
) => runCommandDocument(document, values, spec, { binFolder: '/nonexistent', ...more });

const pause = () => new Promise((resolve) => setTimeout(resolve, 10));

/** The content of a file that a script writes into its working directory, once it is there. */
async function appearance(name: string): Promise<string> {
  while (!existsSync(join(folder, name))) await pause();
  return readFile(join(folder, name), 'utf8');
}
afterEach(() =>
  Promise.all(['shell', 'started', 'go', 'ready'].map((name) => rm(join(folder, name), { force: true }))),
);

/** A killed process that nobody has waited for yet has an empty command line; the kernel may take its time. */
async function expectEnded(id: number): Promise<void> {
  const commandLine = () => readFile(`/proc/${id}/cmdline`, 'utf8').catch(() => '');
  for (let look = 0; look < 200 && (await commandLine()) !== ''; look++) {
    await pause();
  }
  expect(await commandLine()).toBe('');
}

test('a script finds the listeners of its own node in /proc/net, at its localhost', async () => {
  const listening = async (host: string) => {
    const server = createServer();
    await once(server.listen(0, host), 'listening');
    return server;
  };
  const [own, other] = await Promise.all([listening('127.0.0.77'), listening('127.0.0.78')]);
  const portOf = ({ port }: AddressInfo) => port.toString(16).padStart(4, '0').toUpperCase();
  const [here, elsewhere] = [own, other].map((server) => portOf(server.address() as AddressInfo));
  try {
    const document = documentOf('cat "$LOCAL_NODE_ROOT/proc/net/tcp" "$LOCAL_NODE_ROOT/proc/net/tcp6"');
    const { stdout } = await run(document, {}, node({ environment: { LOCAL_NODE_HOST: '127.0.0.77' } }));
    expect(stdout.match(/\w{8}:\w{4} 00000000:0000 0A/g)).toEqual([`0100007F:${here} 00000000:0000 0A`]);
    const { stdout: ofNone } = await run(document);
    expect(ofNone).toMatch(/local_address/);
    for (const port of [here, elsewhere]) expect(ofNone).not.toContain(`:${port} `);
  } finally {
    own.close();
    other.close();
  }
});

describe('parameters', () => {
  test('reach a script as variables, never as its text', async () => {
    const result = await run(documentOf('echo "$SSM_Name"'), { Name: ['web'] });
    expect(result).toMatchObject({ status: 'Success', responseCode: 0, stdout: 'web\n', stderr: '' });
  });

  test('are text and no variables under an agent that does not know ENV_VAR', async () => {
    const script = 'echo "${SSM_Name-unset} {{ Name }} {{Name}}"';
    const old = await run(documentOf(script), { Name: ['web'] }, node({ agentVersion: '3.3.987.0' }));
    expect(old.stdout).toBe('unset web web\n');
    const first = await run(documentOf(script), { Name: ['web'] }, node({ agentVersion: '3.3.2746.0' }));
    expect(first.stdout).toBe('web web web\n');
  });

  test.each([
    ['does not match', { Name: ['web; reboot'] }],
    ['does not match', { Name: ['web\n'] }],
    ['not in the document', { Other: ['web'] }],
    ['takes one value', { Name: ['web', 'mail'] }],
  ])('that do not fit the document run nothing: %s', async (message, values) => {
    const result = await run(documentOf('echo ran'), values as Record<string, string[]>);
    expect(result).toMatchObject({ status: 'Failed', stdout: '', stderr: expect.stringContaining(message) });
  });

  test("with a pattern that Go's RE2 cannot compile are refused loudly, as every node would refuse them", async () => {
    const Name = { type: 'String', allowedPattern: '^(?!root)[a-z]+$', default: 'web' };
    await expect(run(documentOf('true', { parameters: { Name } }))).rejects.toThrow('not RE2');
  });
});

describe('a script', () => {
  test('finds what the agent documents and nothing of our own environment', async () => {
    const { stdout } = await run(
      documentOf('#!/bin/bash\nenv -0 | tr "\\0" "\\n" | grep -vE "^(_|PWD|SHLVL)="'),
      {
        Name: ['web'],
      },
    );
    const names = stdout
      .trimEnd()
      .split('\n')
      .map((line) => line.split('=')[0]);
    expect(names.sort()).toEqual([
      'AWS_ENDPOINT_URL',
      'AWS_SSM_INSTANCE_ID',
      'AWS_SSM_REGION_NAME',
      'LOCAL_NODE_ROOT',
      'PATH',
      'SSM_COMMAND_ID',
      'SSM_Name',
    ]);
  });

  test('is run by the shell that its first line names', async () => {
    expect((await run(documentOf('#!/bin/bash\necho "${BASH_VERSION:+bash}"'))).stdout).toBe('bash\n');
  });

  test('lies in a folder that only root can enter', async () => {
    const commandId = '11111111-2222-4333-8444-555555555555';
    await run(documentOf('true'), {}, node(), { commandId });
    const orchestration = join(
      folder,
      'var/lib/amazon/ssm',
      node().id,
      'document/orchestration',
      commandId,
      'Install',
    );
    expect((await readdir(orchestration)).sort()).toEqual(['_script.sh', 'stderr', 'stdout']);
    expect((await stat(join(orchestration, '_script.sh'))).mode & 0o777).toBe(0o700);
    expect((await stat(orchestration)).mode & 0o777).toBe(0o700);
  });

  test('is skipped on another platform, which Run Command calls a success', async () => {
    const result = await run(documentOf('echo ran'), {}, node({ platform: 'Windows' }));
    expect(result).toMatchObject({ status: 'Success', responseCode: 0, stderr: '' });
    expect(result.stdout).not.toContain('ran\n');
  });

  test('that fails ends the document with its exit code', async () => {
    const document = documentOf('echo why >&2; exit 23');
    const next = documentOf('echo next');
    document.mainSteps.push(...next.mainSteps);
    expect(await run(document)).toMatchObject({
      status: 'Failed',
      statusDetails: 'Failed',
      responseCode: 23,
      stdout: '',
      stderr: 'why\n',
    });
  });

  test('that exits with 194 is reported as a reboot of the node', async () => {
    const written: string[] = [];
    const original = process.stderr.write;
    process.stderr.write = ((text: string) => written.push(text) > 0) as typeof process.stderr.write;
    try {
      const result = await run(documentOf('exit 194'));
      expect(result).toMatchObject({ status: 'Failed', responseCode: 194, rebootRequested: true });
    } finally {
      process.stderr.write = original;
    }
    expect(written.join('')).toContain('REBOOT REQUESTED');
  });

  test('is killed with all its children at its time-out', async () => {
    const script = 'sleep 30 & echo $!; sleep 30';
    const result = await run(documentOf(script, {}, { timeoutSeconds: '5' }), {}, node(), {
      millisecondsPerTimeoutSecond: 20,
    });
    expect(result).toMatchObject({
      status: 'TimedOut',
      statusDetails: 'ExecutionTimedOut',
      responseCode: 137,
    });
    await expectEnded(Number(result.stdout));
  });

  test('that was killed from outside shows 137', async () => {
    expect(await run(documentOf('kill -9 $$'))).toMatchObject({ status: 'Failed', responseCode: 137 });
  });

  test('is killed when its command is cancelled', async () => {
    const result = await run(documentOf('sleep 30'), {}, node(), { signal: AbortSignal.timeout(50) });
    expect(result).toMatchObject({ status: 'Cancelled', responseCode: 137 });
  });

  test('shows what it had written before it was killed, read by then or not', async () => {
    const cancel = new AbortController();
    const script = 'touch started; until [ -e go ]; do sleep 0.05; done; echo done; touch ready; sleep 30';
    const running = run(documentOf(script), {}, node(), { signal: cancel.signal });
    await appearance('started');
    // Nothing is read from here to the end.
    execFileSync('sh', ['-c', 'touch go; until [ -e ready ]; do sleep 0.05; done'], { cwd: folder });
    cancel.abort();
    expect(await running).toMatchObject({ status: 'Cancelled', stdout: 'done\n' });
  });

  test('has its output cut as Run Command cuts it', async () => {
    const { stdout, stderr } = await run(documentOf('printf %030000d 0; printf %09000d 0 >&2'));
    expect(stdout).toHaveLength(24_000);
    expect(stderr).toHaveLength(8_000);
    expect(stdout.endsWith('--output truncated--')).toBe(true);
  });
});

describe('what a script leaves running', () => {
  /** Resolves when the agent's `sh`, whose id the script writes into `shell` at its end, was waited for. */
  async function shellEnded(): Promise<void> {
    const id = (await appearance('shell')).trim();
    while (existsSync(`/proc/${id}`)) await pause();
  }
  // It leads the process group; some shells run the script in its place, some in a process of its own.
  const writeShell = 'cut -d " " -f 5 /proc/$$/stat >shell.new; mv shell.new shell';
  const ids: number[] = [];
  afterEach(() => {
    for (const id of ids.splice(0)) process.kill(id, 'SIGKILL');
  });

  test('with its streams open holds the command until it closes them', async () => {
    const left = '{ until [ -e go ]; do sleep 0.05; done; echo late; echo why >&2; } &';
    const running = run(documentOf(`echo done\n${left}\n${writeShell}`));
    await shellEnded();
    await writeFile(join(folder, 'go'), '');
    expect(await running).toMatchObject({ status: 'Success', stdout: 'done\nlate\n', stderr: 'why\n' });
  });

  test('with its streams open holds the command up to the time-out, and is killed then', async () => {
    const document = documentOf('sleep 30 & echo $!', {}, { timeoutSeconds: '5' });
    const result = await run(document, {}, node(), { millisecondsPerTimeoutSecond: 20 });
    expect(result).toMatchObject({
      status: 'TimedOut',
      statusDetails: 'ExecutionTimedOut',
      responseCode: 137,
    });
    await expectEnded(Number(result.stdout));
  });

  test('in a group of its own is not killed, and the command has failed although the script had not', async () => {
    const left = "setsid sh -c 'touch ready; exec sleep 30' & echo $!";
    const ready = 'until [ -e ready ]; do sleep 0.05; done';
    const cancel = new AbortController();
    const running = run(documentOf(`${left}\n${ready}\n${writeShell}`), {}, node(), {
      signal: cancel.signal,
    });
    await shellEnded();
    cancel.abort();
    const result = await running;
    expect(result).toMatchObject({
      status: 'Failed',
      statusDetails: 'Failed',
      responseCode: 1,
      stdout: expect.stringMatching(/^[0-9]+\n$/),
      stderr: 'failed to run commands: no such process',
    });
    ids.push(Number(result.stdout)); // It lives, or else this cannot kill it.
  });

  test('with streams of its own holds nothing', async () => {
    const result = await run(documentOf('sleep 30 >/dev/null 2>&1 & echo $!'));
    expect(result).toMatchObject({ status: 'Success', stdout: expect.stringMatching(/^[0-9]+\n$/) });
    ids.push(Number(result.stdout));
  });
});

test('Default Host Management points every AWS call of a script to another identity', async () => {
  const result = await run(documentOf('cat "$AWS_SHARED_CREDENTIALS_FILE"'), {}, node(), {
    defaultHostManagementCredentials: {
      accessKeyId: 'ASIAHOST',
      secretAccessKey: 'host',
      sessionToken: 'session',
    },
  });
  expect(result.stdout).toContain('aws_access_key_id = ASIAHOST');
});
