import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { appendFile, cp, readdir, readFile, readlink, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type CertificateFiles, startTlsServer, type TlsServer, writeSelfSigned } from 'local-cloud/node';
import type { ServingNode } from './example-fleet.ts';
import { deliveredFiles } from './tls-server.ts';

// What people and tools do to a node by hand, so that it no longer serves what was installed.

/**
 * Restores the files of a version before over the installed ones, or changes one where there is none, and lets the server
 * load them. Says what it did.
 */
export async function driftFiles({ node, certName, server }: ServingNode): Promise<string> {
  const base = join(node.spec.root, 'etc/ssl/acm-export', certName);
  const current = basename(await readlink(join(base, 'current')));
  const version = (name: string) => join(base, 'versions', name);
  const isInstalled = (name: string) => existsSync(join(version(name), 'cert.pem'));
  if (!isInstalled(current)) throw new Error(`nothing of ${certName} is installed there yet`);
  const versions = await readdir(join(base, 'versions'));
  const older = versions.find((name) => name !== current && isInstalled(name));
  if (older) {
    await cp(version(older), version(current), { recursive: true });
    reload(server);
    return `${version(current)} has the files of ${older} again`;
  }
  const file = join(version(current), 'cert.pem');
  await appendFile(file, '\n');
  return `${file} has one more line`;
}

/** Lets the node's server serve another certificate. Says which. */
export async function driftPort(serving: ServingNode): Promise<string> {
  const commonName = 'another.example.com';
  await configure(serving, await selfSigned(join(serving.node.spec.root, 'srv/another'), commonName));
  return `${serving.host}:${serving.port} is configured with a certificate of CN=${commonName}`;
}

/** Lets the node's server serve what installs deliver. */
export const mendPort = (serving: ServingNode): Promise<void> =>
  configure(serving, deliveredFiles(serving.node.spec.root, serving.certName));

/** Edits the server's configuration and reloads it: connections go on. */
async function configure({ server }: ServingNode, { fullchain, key }: CertificateFiles): Promise<void> {
  const settings = JSON.parse(await readFile(server.configurationFile, 'utf8'));
  Object.assign(settings.hosts[0], { certificateFile: fullchain, keyFile: key });
  await writeFile(server.configurationFile, JSON.stringify(settings));
  reload(server);
}

const reload = ({ pid }: TlsServer) => process.kill(pid, 'SIGHUP');

/** Another TLS server on the node, with a certificate that nobody registered. */
export async function startForeign(
  { node, host }: ServingNode,
  port: number,
): Promise<{ server: TlsServer; subject: string }> {
  const commonName = 'intranet.example.com';
  // A root of its own: the node's has place for one server.
  const root = join(node.spec.root, 'srv', randomUUID());
  const files = await selfSigned(root, commonName);
  const server = await startTlsServer('node', { root, host, port, files });
  return { server, subject: `CN=${commonName}` };
}

async function selfSigned(folder: string, commonName: string): Promise<CertificateFiles> {
  const file = (name: string) => join(folder, name);
  const files = {
    fullchain: file('fullchain.pem'),
    key: file('privkey.pem'),
    combined: file('combined.pem'),
  };
  await writeSelfSigned(files, commonName);
  return files;
}
