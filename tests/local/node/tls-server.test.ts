import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdtemp, readFile, rm, truncate } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { servedSerial } from '../../../local/node/tls-client.ts';
import { deliveredFiles, isInstalled, startTlsServer } from '../../../local/node/tls-server.ts';
import type { TlsServerKind } from '../../../local/node/types.ts';

const KINDS: TlsServerKind[] = ['node', 'nginx', 'apache', 'haproxy'];
const MODULE = fileURLToPath(new URL('../../../local/node/tls-server.ts', import.meta.url));

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tls-server-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await condition())) await sleep(10);
}

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
    await until(async () => (await refusals()) === 1);
    expect(await server.servedSerial()).toBe(first);

    await copyFile(other.key, web.key);
    process.kill(server.pid, 'SIGHUP');
    await until(async () => (await server.servedSerial()) === api);

    await truncate(web.fullchain);
    process.kill(server.pid, 'SIGHUP');
    await until(async () => (await refusals()) === 2);
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

test.each(KINDS.filter((kind) => kind !== 'node' && isInstalled(kind)))(
  '%s that cannot start is an error with its own words',
  async (kind) => {
    const root = join(folder, `broken-${kind}`);
    await (await startTlsServer('node', { root, certName: 'web' })).stop();
    const files = deliveredFiles(root, 'web');
    for (const file of [files.fullchain, files.combined]) await truncate(file);
    await expect(startTlsServer(kind, { root, certName: 'web' })).rejects.toThrow(/ended.*pem/s);
  },
);

test('servers end when the process that started them is killed', async () => {
  const kinds = KINDS.filter(isInstalled);
  const script = `
    const { startTlsServer } = await import(${JSON.stringify(MODULE)});
    const servers = await Promise.all(${JSON.stringify(kinds)}.map((kind) =>
      startTlsServer(kind, { root: ${JSON.stringify(folder)} + '/orphan-' + kind, certName: 'web' })));
    console.log(JSON.stringify(servers.map(({ port }) => port)));
    setInterval(() => {}, 1000);`;
  const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { PATH: process.env.PATH },
  });
  const [line] = await once(parent.stdout, 'data');
  const ports = JSON.parse(String(line)) as number[];
  expect(ports).toHaveLength(kinds.length);
  for (const port of ports) expect(await servedSerial({ port })).toMatch(/^[0-9a-f]+$/);
  parent.kill('SIGKILL');
  await Promise.all(ports.map((port) => until(async () => !(await listens(port)))));
});

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('error', () => resolve(false));
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
  });
}
