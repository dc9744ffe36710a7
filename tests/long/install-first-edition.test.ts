import { execFile } from 'node:child_process';
import { chmod, copyFile, mkdir, readdir, readlink, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from '@jest/globals';
import { installScript } from '../../scripts/render.ts';
import { type Bundle, createChain } from '../ssm-documents/certificates.ts';
import { ca, first, mode, node, second, setUpInstalls } from '../ssm-documents/install-set-up.ts';
import type { Environment } from '../ssm-documents/test-node.ts';
import { needs } from '../support/needs.ts';

setUpInstalls();

// Nodes that the first edition installed: its script, as 69d6b04 had it, does the work, and this one takes over.

const execute = promisify(execFile);
const OLD_SCRIPT = new URL('../ssm-documents/first-edition/install-certificate.sh', import.meta.url);

/** Which edition the next runs are of. */
async function edition(which: 'first' | 'second') {
  if (which === 'first') await copyFile(OLD_SCRIPT, node.scriptFile);
  else await writeFile(node.scriptFile, installScript());
  await chmod(node.scriptFile, 0o700);
}

async function installByFirstEdition(
  bundle: Bundle,
  rollout = 1,
  environment: Environment = {},
  umask = '022',
) {
  await edition('first');
  const wrap = ['/bin/bash', '-c', `umask ${umask}; exec "$@"`, 'start'];
  const { result } = await node.run({ ...(await node.offer(bundle, rollout)), ...environment }, wrap);
  await edition('second');
  return result;
}

test.each<[string, Environment]>([
  ['as it is', {}],
  ['with all formats', { SSM_ExtraFormats: 'combined-pem pkcs12' }],
  ['with services and a port that is not asked', { SSM_ReloadServices: 'nginx app', SSM_KeyMode: '0640' }],
])('what it installed %s is unchanged, and renewed', async (_, options) => {
  expect(await installByFirstEdition(first, 1, options)).toMatchObject({ Outcome: 'installed' });
  expect((await node.install(first, 2, options)).result.Outcome).toBe('unchanged');
  expect((await node.install(second, 3, options)).result.Outcome).toBe('installed');
  expect(await node.servedFiles()).toBe(second.value.Serial);
  // A member stack that is rolled back finds what it can read.
  expect(await installByFirstEdition(first, 4, options)).toMatchObject({ Outcome: 'installed' });
  expect(await node.servedFiles()).toBe(first.value.Serial);
});

test('what it recorded refuses a rollout that comes late, and another owner', async () => {
  await installByFirstEdition(first, 9);
  expect((await node.run(await node.offer(second, 8))).result.ExitCode).toBe(30);
  expect(
    (await node.run({ ...(await node.offer(second, 10)), SSM_DeploymentId: 'f'.repeat(24) })).result.ExitCode,
  ).toBe(31);
});

test('a failing rollout leads back to what it completed, and not to what it was cut off with', async () => {
  const options = { SSM_ReloadServices: 'nginx' };
  await installByFirstEdition(first, 1, options);
  await edition('first');
  await node.runUntil('test-config', { ...(await node.offer(second, 2)), ...options });
  expect(await node.servedFiles()).toBe(second.value.Serial);
  await edition('second');
  await node.tell('config-fault', 'nginx: [emerg] no');
  const { result } = await node.run({ ...(await node.offer(second, 3)), ...options });
  expect(result).toMatchObject({ Outcome: 'rolled-back', ExitCode: 60 });
  expect(await node.servedFiles()).toBe(first.value.Serial);
});

test.each(['077', '000', '027'])(
  'what it left under umask %s is opened or closed as it should be',
  async (umask) => {
    const { Outcome } = await installByFirstEdition(first, 1, {}, umask);
    expect(Outcome).toBe('installed');
    const { result } = await node.install(second, 2);
    expect(result.Outcome).toBe('installed');
    for (const folder of ['', 'versions', 'current/'])
      expect([folder, await mode(node.base(folder))]).toEqual([folder, '755']);
    expect(await mode(node.path('run/acm-export'))).toBe('700');
  },
);

test('files that it adopted under umask 077 can be read by all again', async () => {
  const files = { 'certs/web-fullchain.pem': first.value.Certificate, 'certs/web-chain.pem': ca.chain };
  for (const [file, text] of Object.entries(files)) await writeFile(node.ssl(file), text, { mode: 0o644 });
  const key = node.ssl('private/web-privkey.pem');
  await writeFile(key, first.value.PrivateKey, { mode: 0o600 });
  // The key of a plain file has no passphrase.
  await writeFile(path.join(node.folder, 'passphrase'), first.value.Passphrase, { mode: 0o600 });
  const { stdout } = await execute('openssl', [
    'pkey',
    '-in',
    key,
    '-passin',
    `file:${path.join(node.folder, 'passphrase')}`,
  ]);
  await writeFile(key, stdout, { mode: 0o600 });
  await node.tell('config-fault', 'nginx: [emerg] no');
  const options = { SSM_ReloadServices: 'nginx' };
  expect(await installByFirstEdition(second, 1, options, '077')).toMatchObject({ Outcome: 'rolled-back' });
  const { result } = await node.run({ ...(await node.offer(second, 2)), ...options });
  expect(result).toMatchObject({ Outcome: 'rolled-back', ExitCode: 60 });
  for (const folder of ['', 'versions', 'versions/00-0']) {
    expect([folder, ((await stat(node.base(folder))).mode & 0o7777).toString(8)]).toEqual([folder, '755']);
  }
  expect(await node.servedFiles()).toBe(first.value.Serial);
});

test('hooks in hooks.d itself go on running for names that it installed, and each run says so', async () => {
  await node.addHook('a', 'echo "$RENEWED_LINEAGE" >>"$state/hooks"', 0o755, 'hooks.d');
  await installByFirstEdition(first);
  for (const [bundle, rollout] of [
    [second, 2],
    [first, 3],
  ] as const) {
    const { result } = await node.install(bundle, rollout);
    expect(result.Note).toMatch(/hooks in .*hooks\.d itself still run for this name: move each to/);
  }
  expect(await node.told('hooks')).toEqual([
    node.base('current'),
    node.base('live/web'),
    node.base('live/web'),
  ]);
  // Another name, which came with this edition, is not told to them.
  await node.install(first, 1, { SSM_CertName: 'api', SSM_DeploymentId: 'f'.repeat(24) });
  expect(await node.told('hooks')).toHaveLength(3);
});

test('links to a private authority that it made stay, with a note, because a server may read them', async () => {
  const stranger = await createChain();
  const [old, renewed] = [await stranger.newBundle(), await stranger.newBundle()];
  await installByFirstEdition(old);
  const { result } = await node.install(renewed, 2);
  expect(result).toMatchObject({
    Outcome: 'installed',
    Note: expect.stringMatching(/may trust this private authority/),
  });
  expect(await readlink(node.ssl('certs/web-fullchain.pem'))).toBe(node.base('current/fullchain.pem'));
  expect(await node.servedFiles()).toBe(renewed.value.Serial);
});

test('a first certificate that it only put in place is kept when the next rollout fails', async () => {
  const options = { SSM_ReloadServices: 'nginx' };
  await node.tell('dead-nginx', '');
  expect(await installByFirstEdition(first, 1, options)).toMatchObject({ ExitCode: 33 });
  await node.untell('dead-nginx');
  // An administrator has started the service, which reads that certificate.
  await node.addHook('a', 'exit 7');
  const { result } = await node.run({ ...(await node.offer(second, 2)), ...options });
  expect(result).toMatchObject({ Outcome: 'rolled-back', ExitCode: 61 });
  expect(await node.servedFiles()).toBe(first.value.Serial);
});

needs('root')('the group of a key that it gave is kept', async () => {
  await installByFirstEdition(first, 1, { SSM_KeyMode: '0640', SSM_KeyGroup: 'daemon' });
  await node.install(second, 2);
  const { stdout } = await execute('stat', ['-c', '%a %U:%G', node.base('current/privkey.pem')]);
  expect(stdout).toBe('640 root:daemon\n');
});

test('versions that it left are cleared as before', async () => {
  for (const rollout of [1, 2, 3]) await installByFirstEdition(rollout % 2 ? first : second, rollout);
  await mkdir(node.base('versions/mine'));
  await node.install(second, 4);
  expect((await readdir(node.base('versions'))).length).toBe(4);
});
