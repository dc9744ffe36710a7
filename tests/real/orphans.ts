import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { expect } from '@jest/globals';
import { servedSerial, type TlsServerKind } from 'local-cloud/node';
import { until } from '../support/until.ts';

const MODULE = new URL('../../local/tls-server.ts', import.meta.url).href;

/** Starts a server from a process of its own, kills that one, and waits until the server is gone as well. */
export async function endsWithItsParent(kind: TlsServerKind, folder: string): Promise<void> {
  const options = { root: join(folder, `orphan-${kind}`), certName: 'web' };
  const script = `
    const { startTlsServer } = await import(${JSON.stringify(MODULE)});
    const { port } = await startTlsServer(${JSON.stringify(kind)}, ${JSON.stringify(options)});
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
  await until(`the end of port ${port}`, async () => !(await listens(port)));
}

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
