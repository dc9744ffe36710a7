import { spawn } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import path from 'node:path';
import { createSecureContext, TLSSocket } from 'node:tls';
import { lookScript } from '../../scripts/render.ts';
import type { Bundle } from './certificates.ts';
import type { Environment, TestNode } from './test-node.ts';

export interface Look {
  code: number | null;
  stdout: string;
  stderr: string;
  certificates: Record<'name' | 'owner' | 'number' | 'serial' | 'notAfter' | 'files' | 'port', string>[];
  endpoints: Record<'port' | 'serial' | 'notAfter' | 'issuer' | 'subject', string>[];
}

/** Looks at a node with the real script, started as the agent starts it. */
export async function look(
  node: TestNode,
  environment: Environment = {},
  wrap: string[] = [],
): Promise<Look> {
  const file = path.join(node.folder, '_look.sh');
  await writeFile(file, lookScript(), { mode: 0o700 });
  const [command = '', ...words] = [...wrap, '/bin/sh', '-c', `exec ${file}`];
  const child = spawn(command, words, {
    cwd: '/',
    env: {
      PATH: `${node.bin}:${process.env.PATH}`,
      ACM_EXPORT_ROOT: node.root,
      SSM_Discover: 'true',
      ...environment,
    } as Record<string, string>,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  return { code, stdout, stderr, ...recordsOf(stdout) };
}

/** @throws if the output has not the form that the script's first lines describe. */
function recordsOf(stdout: string): Pick<Look, 'certificates' | 'endpoints'> {
  const lines = stdout.split('\n');
  if (!/^([\t -~]*\n)+$/.test(stdout) || lines.at(-2)?.startsWith('end\t') !== true)
    throw new Error(`no look: ${JSON.stringify(stdout)}`);
  const fieldsOf = (kind: string, names: string[]) =>
    lines.flatMap((line) => {
      const [word, ...fields] = line.split('\t');
      if (word !== kind) return [];
      if (fields.length !== names.length || fields.includes('')) throw new Error(`not the fields: ${line}`);
      return [Object.fromEntries(names.map((name, index) => [name, fields[index]]))];
    });
  const certificates = fieldsOf('certificate', [
    'name',
    'owner',
    'number',
    'serial',
    'notAfter',
    'files',
    'port',
  ]);
  const endpoints = fieldsOf('endpoint', ['port', 'serial', 'notAfter', 'issuer', 'subject']);
  if (lines.at(-2) !== `end\t${certificates.length}\t${endpoints.length}` || lines.at(-1) !== '')
    throw new Error(`the end does not fit: ${stdout}`);
  return { certificates, endpoints } as Pick<Look, 'certificates' | 'endpoints'>;
}

export const portsOf = ({ certificates }: Look) => certificates.map(({ port }) => port);

const toStop: (() => void)[] = [];
export const stopAfterwards = (stop: () => void) => toStop.push(stop);

/** To be called after each test. */
export function stopServers() {
  for (const stop of toStop.splice(0)) stop();
}

interface Speech {
  host?: string;
  /** Milliseconds until it takes up TLS. */
  after?: number;
  /** What it says instead of TLS; nothing, and it is silent. */
  says?: string;
  /** The certificate that a name gets, where it is another one. */
  byName?: Record<string, Bundle>;
}

/** A server of this process, on a port of its own, with a certificate or without one. */
export async function serve(bundle: Bundle | undefined, { host = '127.0.0.1', ...speech }: Speech = {}) {
  const contextOf = ({ value }: Bundle) => ({
    cert: value.Certificate + value.CertificateChain,
    key: value.PrivateKey,
    passphrase: value.Passphrase,
  });
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
    if (speech.says !== undefined) socket.end(speech.says);
    if (!bundle) return;
    const timer = setTimeout(() => {
      const secured = new TLSSocket(socket, {
        isServer: true,
        ...contextOf(bundle),
        SNICallback: (name, answer) =>
          answer(null, createSecureContext(contextOf(speech.byName?.[name] ?? bundle))),
      });
      secured.on('error', () => undefined);
    }, speech.after ?? 0);
    socket.on('close', () => clearTimeout(timer));
  });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const { port } = server.address() as AddressInfo;
  const stop = () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  };
  stopAfterwards(stop);
  return { port, stop };
}

/** What the kernel shows of a node where something listens on these ports. */
export async function listens(node: TestNode, ports: number[], address = '00000000', file = 'tcp') {
  const row = (port: number, index: number) =>
    `${String(index).padStart(4)}: ${address}:${port.toString(16).toUpperCase().padStart(4, '0')} ${'0'.repeat(address.length)}:0000 0A 00000000:00000000 00:00000000 00000000     0        0 ${index} 1`;
  const others = `  99: 0100007F:${(9).toString(16).padStart(4, '0')} 0100007F:B000 01 00000000:00000000 00:00000000 00000000`;
  const first =
    '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode';
  await mkdir(node.path('proc/net'), { recursive: true });
  await writeFile(node.path('proc/net', file), [first, ...ports.map(row), others, ''].join('\n'));
}
