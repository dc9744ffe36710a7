/**
 * The TLS server of a node that has no nginx: HTTPS from files of certificates. A process of its
 * own, started by startTlsServer; SIGHUP makes it read its configuration and the files again, as an application does
 * that the documentation calls "reloads on SIGHUP".
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { createSecureContext, type SecureContext } from 'node:tls';

/** What its configuration file holds, as JSON. A reload heeds `hosts` only. */
export interface ServeTlsSettings {
  host: string;
  port: number;
  pidFile: string;
  /** The first one answers for every name that no other one has. */
  hosts: { serverName: string; certificateFile: string; keyFile: string }[];
}

const readSettings = () => JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as ServeTlsSettings;
const settings = readSettings();

function readContexts(hosts: ServeTlsSettings['hosts']): Map<string, SecureContext> {
  return new Map(
    hosts.map(({ serverName, certificateFile, keyFile }) => [
      serverName,
      createSecureContext({ cert: readFileSync(certificateFile), key: readFileSync(keyFile) }),
    ]),
  );
}

let contexts = readContexts(settings.hosts);
const defaultName = settings.hosts[0]?.serverName ?? '';

const server = createServer(
  {
    SNICallback: (name, done) => done(null, contexts.get(name) ?? contexts.get(defaultName)),
    // For clients that send no name.
    ...filesOf(settings.hosts[0]),
  },
  (_request, response) => response.end('served\n'),
);

function filesOf(host: ServeTlsSettings['hosts'][number] | undefined) {
  if (!host) throw new Error('no host to serve');
  return { cert: readFileSync(host.certificateFile), key: readFileSync(host.keyFile) };
}

process.on('SIGHUP', () => {
  try {
    const { hosts } = readSettings();
    const [next, files] = [readContexts(hosts), filesOf(hosts[0])];
    server.setSecureContext(files); // Connections that are open keep what they have.
    contexts = next;
  } catch (error) {
    process.stderr.write(`goes on with the old certificate: ${error}\n`);
  }
});

server.listen(settings.port, settings.host, () => {
  writeFileSync(settings.pidFile, `${process.pid}\n`);
  process.send?.({ port: (server.address() as AddressInfo).port });
});

function end() {
  rmSync(settings.pidFile, { force: true });
  process.exit(0);
}
process.on('disconnect', end); // The parent has ended, by whatever death.
process.on('SIGTERM', end);
