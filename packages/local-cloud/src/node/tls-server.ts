import { type ChildProcess, execFile, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { chmod, mkdir, open, readFile, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { ServeTlsSettings } from './serve-tls.ts';
import { type Endpoint, servedSerial } from './tls-client.ts';
import type { CertificateFiles, TlsServer, TlsServerKind, TlsServerOptions, VirtualHost } from './types.ts';

const run = promisify(execFile);
/** All that a server has of the environment: it starts in half the time where Node keeps what it compiles. */
const { NODE_COMPILE_CACHE } = process.env;
const SERVE_TLS = fileURLToPath(new URL('./serve-tls.ts', import.meta.url));

/** A server that is not up by then hangs: on two idle cores Apache needs a second, and machines are busy. */
const START_TIMEOUT_MILLISECONDS = 300_000;

/**
 * Runs a server until its own end or until this process ends, by whatever death: then standard input closes.
 * Exits with the server's exit code.
 */
const GUARD = `
exec 3<&0
"$@" </dev/null 3<&- &
server=$!
{ read -r -u 3; while kill -TERM "$server"; do sleep 0.2; done; } 2>/dev/null &
watcher=$!
wait "$server"; code=$?
kill "$watcher" 2>/dev/null
exit "$code"`;

interface Server {
  /** Absolute path; none: a process of Node. */
  program?: string;
  unit: string;
  /** Below the node's root. */
  pidFile: string;
  configurationFile: string;
}

/** How each server is called by its distribution. Debian's names and places. */
const SERVERS: Record<TlsServerKind, Server> = {
  node: {
    unit: 'tls-server',
    pidFile: 'run/tls-server.pid',
    configurationFile: 'etc/tls-server.json',
  },
  nginx: {
    program: '/usr/sbin/nginx',
    unit: 'nginx',
    pidFile: 'run/nginx.pid',
    configurationFile: 'etc/nginx/nginx.conf',
  },
  apache: {
    program: '/usr/sbin/apache2',
    unit: 'apache2',
    pidFile: 'run/apache2/apache2.pid',
    configurationFile: 'etc/apache2/apache2.conf',
  },
  haproxy: {
    program: '/usr/sbin/haproxy',
    unit: 'haproxy',
    pidFile: 'run/haproxy.pid',
    configurationFile: 'etc/haproxy/haproxy.cfg',
  },
};

/** Whether the server's package is installed here; `node` always is. */
export function isInstalled(kind: TlsServerKind): boolean {
  const { program } = SERVERS[kind];
  if (program === undefined) return true;
  try {
    accessSync(program, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/**
 * Starts a TLS server from a configuration below the node's root. Its certificates must be there (writeSelfSigned).
 *
 * Rejects with the server's own log when it does not start. The server ends with `stop()`, and when this
 * process ends.
 */
export async function startTlsServer(kind: TlsServerKind, options: TlsServerOptions): Promise<TlsServer> {
  const { root, files: ofDefault, host = '127.0.0.1' } = options;
  const { program, unit, ...files } = SERVERS[kind];
  const pidFile = join(root, files.pidFile);
  const configurationFile = join(root, files.configurationFile);
  const virtualHosts = [{ serverName: '_', files: ofDefault }, ...(options.virtualHosts ?? [])];
  for (const folder of ['var/log', 'var/www', dirname(files.pidFile), dirname(files.configurationFile)]) {
    await mkdir(join(root, folder), { recursive: true });
  }

  const logFile = join(root, 'var/log', `${unit}.log`);
  const log = await open(logFile, 'a', 0o600);
  let child: ChildProcess | undefined;
  const stop = async () => {
    if (!child?.pid || child.exitCode !== null || child.signalCode !== null) return;
    child.ref();
    const exited = once(child, 'exit');
    if (child.stdin) child.stdin.end();
    else child.kill('SIGTERM');
    await exited;
  };
  let port: number;
  try {
    if (kind === 'node') {
      const settings: ServeTlsSettings = {
        host,
        port: options.port ?? 0,
        pidFile,
        hosts: virtualHosts.map(({ serverName, files: { fullchain, key } }) => ({
          serverName,
          certificateFile: fullchain,
          keyFile: key,
        })),
      };
      await writeFile(configurationFile, JSON.stringify(settings));
      child = fork(SERVE_TLS, [configurationFile], {
        env: NODE_COMPILE_CACHE === undefined ? {} : { NODE_COMPILE_CACHE },
        execArgv: [],
        stdio: ['ignore', log.fd, log.fd, 'ipc'],
        detached: true, // Ctrl-C on a terminal is for the parent, which stops its servers in good order.
      });
      port = await Promise.race([
        once(child, 'message').then(([message]) => (message as { port: number }).port),
        ended(child, logFile),
      ]);
    } else {
      port = options.port ?? (await freePort(host));
      await writeFile(configurationFile, await CONFIGURE[kind]({ root, pidFile, host, port, virtualHosts }));
      await rm(pidFile, { force: true });
      const command = [program as string, ...IN_FOREGROUND[kind](root, configurationFile, pidFile)];
      child = spawn('bash', ['--norc', '-c', GUARD, 'guard', ...command], {
        env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
        stdio: ['pipe', log.fd, log.fd],
        detached: true,
      });
      await Promise.race([serving({ host, port }, pidFile, child), ended(child, logFile)]);
    }
  } catch (error) {
    await stop();
    throw error;
  } finally {
    await log.close();
  }
  // A test that forgets to stop its server can end all the same, and the server with it.
  child.unref();
  child.channel?.unref();
  (child.stdin as Socket | null)?.unref();
  return {
    kind,
    host,
    port,
    pid: Number(await readFile(pidFile, 'utf8')),
    unit,
    pidFile,
    configurationFile,
    servedSerial: (servername) => servedSerial({ host, port, ...(servername ? { servername } : {}) }),
    stop,
  };
}

type Configured = Exclude<TlsServerKind, 'node'>;

interface Settings {
  root: string;
  pidFile: string;
  host: string;
  port: number;
  /** The first one answers for every name that no other one has. */
  virtualHosts: VirtualHost[];
}

/** A configuration as small as the server allows. */
const CONFIGURE: Record<Configured, (settings: Settings) => Promise<string>> = {
  async nginx({ root, pidFile, host, port, virtualHosts }) {
    const temporary = join(root, 'var/lib/nginx');
    await mkdir(temporary, { recursive: true });
    const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
    const servers = virtualHosts.map(
      ({ serverName, files: { fullchain, key } }, index) => `  server {
    listen ${host}:${port} ssl${index === 0 ? ' default_server' : ''};
    server_name ${serverName};
    ssl_certificate ${fullchain};
    ssl_certificate_key ${key};
    return 200 "served\\n";
  }`,
    );
    return `worker_processes 1;
pid ${pidFile};
error_log stderr warn;
events { worker_connections 512; }
http {
  access_log off;
${paths.map((path) => `  ${path}_temp_path ${temporary}/${path};`).join('\n')}
${servers.join('\n')}
}
`;
  },

  async apache({ root, pidFile, host, port, virtualHosts }) {
    const modules = ['mpm_event', 'authz_core', 'ssl'];
    const sections = virtualHosts.map(
      ({ serverName, files: { fullchain, key } }) => `<VirtualHost ${host}:${port}>
  ServerName ${serverName === '_' ? 'localhost' : serverName}
  SSLEngine on
  SSLCertificateFile ${fullchain}
  SSLCertificateKeyFile ${key}
</VirtualHost>`,
    );
    return `${modules.map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`).join('\n')}
${process.getuid?.() === 0 ? 'User www-data\nGroup www-data' : ''}
ServerName localhost
DefaultRuntimeDir ${dirname(pidFile)}
PidFile ${pidFile}
ErrorLog /dev/stderr
LogLevel warn
DocumentRoot ${join(root, 'var/www')}
StartServers 1
Listen ${host}:${port}
${sections.join('\n')}
`;
  },

  async haproxy({ host, port, virtualHosts }) {
    // HAProxy tells names apart by what stands in the certificates; the first one is for all others.
    const files = virtualHosts.map(({ files: { combined } }) => `crt ${combined}`);
    return `global
  maxconn 256
defaults
  mode http
  timeout client 10s
  timeout server 10s
  timeout connect 10s
frontend https
  bind ${host}:${port} ssl ${files.join(' ')}
  http-request return status 200 content-type text/plain string served
`;
  },
};

const IN_FOREGROUND: Record<Configured, (root: string, file: string, pidFile: string) => string[]> = {
  nginx: (root, file) => ['-p', root, '-c', file, '-e', 'stderr', '-g', 'daemon off;'],
  apache: (_root, file) => ['-d', dirname(file), '-f', file, '-DFOREGROUND'],
  haproxy: (_root, file, pidFile) => ['-W', '-f', file, '-p', pidFile],
};

/** Writes a self-signed certificate, as an administrator puts one so that a server starts at all. */
export async function writeSelfSigned(
  { fullchain, key, combined }: CertificateFiles,
  commonName = 'placeholder',
): Promise<void> {
  for (const file of [fullchain, key, combined]) await mkdir(dirname(file), { recursive: true });
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const subject = ['-subj', `/CN=${commonName}`, '-days', '30'];
  await run('openssl', ['req', '-x509', ...curve, ...subject, '-keyout', key, '-out', fullchain]);
  await chmod(key, 0o600);
  const both = (await readFile(fullchain, 'utf8')) + (await readFile(key, 'utf8'));
  await writeFile(combined, both, { mode: 0o600 });
}

async function serving(endpoint: Endpoint, pidFile: string, child: ChildProcess): Promise<void> {
  const deadline = Date.now() + START_TIMEOUT_MILLISECONDS;
  while (child.exitCode === null) {
    try {
      await servedSerial(endpoint);
      if (Number(await readFile(pidFile, 'utf8')) > 0) return;
    } catch (error) {
      if (Date.now() > deadline) throw error;
    }
    await sleep(20);
  }
  await new Promise(() => {}); // It has ended: `ended` says why.
}

async function ended(child: ChildProcess, logFile: string): Promise<never> {
  const [code, signal] = await once(child, 'exit');
  throw new Error(`the server ended (${signal ?? code}): ${await readFile(logFile, 'utf8')}`);
}

/**
 * A port that is free on every address of loopback, and stays so: the socket that holds it on 127.0.0.1 closes with
 * this process. Another fleet that starts at the same time gets another one.
 */
export async function reservePort(): Promise<number> {
  const holder = createServer((socket) => socket.destroy()).unref();
  await once(holder.listen(0, '127.0.0.1'), 'listening');
  return (holder.address() as AddressInfo).port;
}

async function freePort(host: string): Promise<number> {
  const server = createServer();
  await once(server.listen(0, host), 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
