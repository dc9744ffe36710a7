import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdtemp, readFile, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { servedSerial } from '../../src/node/tls-client.ts';
import { writeSelfSigned } from '../../src/node/tls-server.ts';
import { until } from '../support/until.ts';
import { filesOf, serve } from './serve.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tls-server-'));
});
afterAll(() => rm(folder, { recursive: true }));

test('a node reloads on SIGHUP, and goes on with what it has when the new files are bad', async () => {
  const root = join(folder, 'node');
  const [site, other] = [filesOf(root), filesOf(root, 'other')];
  await writeSelfSigned(other);
  const server = await serve(root, { virtualHosts: [{ serverName: 'api.example.com', files: other }] });
  const refusals = async () =>
    (await readFile(join(root, 'var/log/tls-server.log'), 'utf8')).split('goes on with the old').length - 1;
  try {
    const [first, api] = [await server.servedSerial(), await server.servedSerial('api.example.com')];
    expect(api).not.toBe(first);
    expect(await server.servedSerial('other.example.com')).toBe(first);

    await copyFile(other.fullchain, site.fullchain); // The key is still the old one.
    process.kill(server.pid, 'SIGHUP');
    await until('the first refusal', async () => (await refusals()) === 1);
    expect(await server.servedSerial()).toBe(first);

    await copyFile(other.key, site.key);
    process.kill(server.pid, 'SIGHUP');
    await until('the serial of the other file', async () => (await server.servedSerial()) === api);

    await truncate(site.fullchain);
    process.kill(server.pid, 'SIGHUP');
    await until('the second refusal', async () => (await refusals()) === 2);
    expect(await server.servedSerial()).toBe(api);
  } finally {
    await server.stop();
  }
});

test('a serial is told as OpenSSL tells it, in lower case', async () => {
  const root = join(folder, 'serial');
  const server = await serve(root);
  try {
    const { stdout } = await promisify(execFile)('openssl', [
      ...['x509', '-noout', '-serial', '-in', filesOf(root).fullchain],
    ]);
    expect(`serial=${(await server.servedSerial()).toUpperCase()}\n`).toBe(stdout);
  } finally {
    await server.stop();
  }
});

test('a server ends when the process that started it is killed', async () => {
  const script = `
    const { serve } = await import(${JSON.stringify(new URL('./serve.ts', import.meta.url).href)});
    const { port } = await serve(${JSON.stringify(join(folder, 'orphan'))});
    console.log(port);
    setInterval(() => {}, 1000);`;
  const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { PATH: process.env.PATH, NODE_OPTIONS: '--disable-warning=ExperimentalWarning' },
  });
  const [line] = await once(parent.stdout, 'data');
  const port = Number(line);
  expect(await servedSerial({ port })).toMatch(/^[0-9a-f]+$/);
  parent.kill('SIGKILL');
  await until(`the end of port ${port}`, () =>
    servedSerial({ port }).then(
      () => false,
      ({ code }) => code === 'ECONNREFUSED',
    ),
  );
});
