import { execFile } from 'node:child_process';
import { copyFile, mkdtemp, readFile, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { deliveredFiles, startTlsServer } from '../../../local/node/tls-server.ts';
import { until } from '../../support/until.ts';
import { endsWithItsParent } from './orphans.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tls-server-'));
});
afterAll(() => rm(folder, { recursive: true }));

test('a node reloads on SIGHUP, and goes on with what it has when the new files are bad', async () => {
  const root = join(folder, 'node');
  const server = await startTlsServer('node', {
    root,
    certName: 'web',
    virtualHosts: [{ serverName: 'api.example.com', certName: 'api' }],
  });
  const refusals = async () =>
    (await readFile(join(root, 'var/log/tls-server.log'), 'utf8')).split('goes on with the old').length - 1;
  try {
    const [first, api] = [await server.servedSerial(), await server.servedSerial('api.example.com')];
    expect(api).not.toBe(first);
    expect(await server.servedSerial('other.example.com')).toBe(first);

    const [web, other] = [deliveredFiles(root, 'web'), deliveredFiles(root, 'api')];
    await copyFile(other.fullchain, web.fullchain); // The key is still the old one.
    process.kill(server.pid, 'SIGHUP');
    await until('the first refusal', async () => (await refusals()) === 1);
    expect(await server.servedSerial()).toBe(first);

    await copyFile(other.key, web.key);
    process.kill(server.pid, 'SIGHUP');
    await until('the serial of the other file', async () => (await server.servedSerial()) === api);

    await truncate(web.fullchain);
    process.kill(server.pid, 'SIGHUP');
    await until('the second refusal', async () => (await refusals()) === 2);
    expect(await server.servedSerial()).toBe(api);
  } finally {
    await server.stop();
  }
});

test('a serial is told as OpenSSL tells it, in lower case', async () => {
  const root = join(folder, 'serial');
  const server = await startTlsServer('node', { root, certName: 'web' });
  try {
    const { stdout } = await promisify(execFile)('openssl', [
      ...['x509', '-noout', '-serial', '-in', deliveredFiles(root, 'web').fullchain],
    ]);
    expect(`serial=${(await server.servedSerial()).toUpperCase()}\n`).toBe(stdout);
  } finally {
    await server.stop();
  }
});

test('a server ends when the process that started it is killed', () => endsWithItsParent('node', folder));
