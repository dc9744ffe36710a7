import { type ChildProcess, execFile, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { access, chmod, mkdir, open, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { servedSerial } from './tls-client.ts';
import type { TlsServer, TlsServerKind, TlsServerOptions, VirtualHost } from './types.ts';

const run = promisify(execFile);
const SERVE_TLS = fileURLToPath(new URL('./serve-tls.ts', import.meta.url));

/** A server that is not up by then is broken; on a busy machine Apache needs about a second. */
const START_TIMEOUT_MILLISECONDS = 15_000;

/**
 * Runs a server until its own end or until this process ends, by whatever death: then standard input closes.
 * Exits with the server's exit code.
 */
const GUARD = `
exec 3<&0
"$@" </dev/null 3<&- &
server=$!
{ read -r -u 3; kill -TERM "$server"; } 2>/dev/null &
watcher=$!
wait "$server"; code=$?
kill "$watcher" 2>/dev/null
exit "$code"`;

/** How each server is called by its distribution, and where an install finds it. Debian's names and places. */
const SERVERS: Record<TlsServerKind, { program?: string; unit: string; pidFile: string }> = {
  node: { unit: 'tls-server', pidFile: 'run/tls-server.pid' },
  nginx: { program: '/usr/sbin/nginx', unit: 'nginx', pidFile: 'run/nginx.pid' },
  apache: { program: '/usr/sbin/apache2', unit: 'apache2', pidFile: 'run/apache2/apache2.pid' },
  haproxy: { program: '/usr/sbin/haproxy', unit: 'haproxy', pidFile: 'run/haproxy.pid' },
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

/** Where an install puts the files of a certificate, as a server's configuration names them. */
export function deliveredFiles(root: string, certName: string) {
  return {
    fullchain: join(root, 'etc/ssl/certs', `${certName}-fullchain.pem`),
    key: join(root, 'etc/ssl/private', `${certName}-privkey.pem`),
    combined: join(root, 'etc/ssl/private', `${certName}-combined.pem`),
  };
}

/**
 * Starts a TLS server on 127.0.0.1 from a configuration below the node's root, with the files that an install
 * delivers. Where they are not there yet, a self-signed placeholder is, as an administrator puts one so that
 * the server starts at all.
 *
 * Rejects with the server's own log when it does not start. The server ends with `stop()`, and when this
 * process ends.
 */
export async function startTlsServer(kind: TlsServerKind, options: TlsServerOptions): Promise<TlsServer> {
  const { root, certName } = options;
  const { unit, pidFile: relativePidFile, program } = SERVERS[kind];
  const pidFile = join(root, relativePidFile);
  const hosts = [{ serverName: '_', certName }, ...(options.virtualHosts ?? [])];
  for (const folder of ['var/log', 'var/www', dirname(relativePidFile)]) {
    await mkdir(join(root, folder), { recursive: true });
  }
  for (const host of hosts) await putPlaceholder(root, host.certName);

  const logFile = join(root, 'var/log', `${unit}.log`);
  const log = await open(logFile, 'a', 0o600);
  let child: ChildProcess | undefined;
  const stop = async () => {
    if (!child?.pid || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    if (child.stdin) child.stdin.end();
    else child.kill('SIGTERM');
    await exited;
  };
  let port: number;
  try {
    if (kind === 'node') {
      const settings = {
        port: options.port ?? 0,
        pidFile,
        hosts: hosts.map(({ serverName, certName }) => {
          const { fullchain, key } = deliveredFiles(root, certName);
          return { serverName, certificateFile: fullchain, keyFile: key };
        }),
      };
      child = fork(SERVE_TLS, [JSON.stringify(settings)], {
        env: {},
        execArgv: [],
        stdio: ['ignore', log.fd, log.fd, 'ipc'],
        detached: true, // Ctrl-C on a terminal is for the parent, which stops its servers in good order.
      });
      port = await Promise.race([
        once(child, 'message').then(([message]) => (message as { port: number }).port),
        ended(child, logFile),
      ]);
    } else {
      port = options.port ?? (await freePort());
      const command = await CONFIGURE[kind](program ?? kind, root, port, hosts, pidFile);
      await rm(pidFile, { force: true });
      child = spawn('bash', ['-c', GUARD, 'guard', ...command], {
        env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
        stdio: ['pipe', log.fd, log.fd],
        detached: true,
      });
      await Promise.race([serving(port, pidFile, child), ended(child, logFile)]);
    }
  } catch (error) {
    await stop();
    throw error;
  } finally {
    await log.close();
  }
  return {
    kind,
    port,
    pid: Number(await readFile(pidFile, 'utf8')),
    unit,
    pidFile,
    servedSerial: (servername) => servedSerial({ port, ...(servername ? { servername } : {}) }),
    stop,
  };
}

type Host = VirtualHost;
type Configure = (
  program: string,
  root: string,
  port: number,
  hosts: Host[],
  pidFile: string,
) => Promise<string[]>;

/** Writes a configuration as small as the server allows; gives the command that runs it in the foreground. */
const CONFIGURE: Record<Exclude<TlsServerKind, 'node'>, Configure> = {
  async nginx(program, root, port, hosts, pidFile) {
    const folder = join(root, 'etc/nginx');
    const temporary = join(root, 'var/lib/nginx');
    await mkdir(folder, { recursive: true });
    await mkdir(temporary, { recursive: true });
    const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
    const servers = hosts.map(({ serverName, certName }, index) => {
      const { fullchain, key } = deliveredFiles(root, certName);
      return `  server {
    listen 127.0.0.1:${port} ssl${index === 0 ? ' default_server' : ''};
    server_name ${serverName};
    ssl_certificate ${fullchain};
    ssl_certificate_key ${key};
    return 200 "served\\n";
  }`;
    });
    const configuration = `worker_processes 1;
pid ${pidFile};
error_log stderr warn;
events { worker_connections 512; }
http {
  access_log off;
${paths.map((path) => `  ${path}_temp_path ${temporary}/${path};`).join('\n')}
${servers.join('\n')}
}
`;
    await writeFile(join(folder, 'nginx.conf'), configuration);
    return [program, '-p', root, '-c', join(folder, 'nginx.conf'), '-e', 'stderr', '-g', 'daemon off;'];
  },

  async apache(program, root, port, hosts, pidFile) {
    const folder = join(root, 'etc/apache2');
    await mkdir(folder, { recursive: true });
    const modules = ['mpm_event', 'authz_core', 'ssl'];
    const virtualHosts = hosts.map(({ serverName, certName }) => {
      const { fullchain, key } = deliveredFiles(root, certName);
      return `<VirtualHost 127.0.0.1:${port}>
  ServerName ${serverName === '_' ? 'localhost' : serverName}
  SSLEngine on
  SSLCertificateFile ${fullchain}
  SSLCertificateKeyFile ${key}
</VirtualHost>`;
    });
    const configuration = `${modules.map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`).join('\n')}
${process.getuid?.() === 0 ? 'User www-data\nGroup www-data' : ''}
ServerName localhost
DefaultRuntimeDir ${join(root, 'run/apache2')}
PidFile ${pidFile}
ErrorLog /dev/stderr
LogLevel warn
DocumentRoot ${join(root, 'var/www')}
StartServers 1
Listen 127.0.0.1:${port}
${virtualHosts.join('\n')}
`;
    await writeFile(join(folder, 'apache2.conf'), configuration);
    return [program, '-d', folder, '-f', 'apache2.conf', '-DFOREGROUND'];
  },

  async haproxy(program, root, port, hosts, pidFile) {
    const folder = join(root, 'etc/haproxy');
    await mkdir(folder, { recursive: true });
    // HAProxy tells names apart by what stands in the certificates; the first one is for all others.
    const files = hosts.map(({ certName }) => `crt ${deliveredFiles(root, certName).combined}`);
    const configuration = `global
  maxconn 256
defaults
  mode http
  timeout client 10s
  timeout server 10s
  timeout connect 10s
frontend https
  bind 127.0.0.1:${port} ssl ${files.join(' ')}
  http-request return status 200 content-type text/plain string served
`;
    await writeFile(join(folder, 'haproxy.cfg'), configuration);
    return [program, '-W', '-f', join(folder, 'haproxy.cfg'), '-p', pidFile];
  },
};

/**
 * A self-signed certificate in the places of an installed one, so that a server starts before its first
 * install and an install has a way back to it. Laid out as the install script lays out plain files that it
 * finds in these places: version 00-0, `current`, and the links that configurations name.
 */
async function putPlaceholder(root: string, certName: string): Promise<void> {
  const base = join(root, 'etc/ssl/acm-export', certName);
  const version = join(base, 'versions/00-0'); // <serial>-<rollout number>; both are above zero in real ones.
  if (await exists(join(base, 'current'))) return;
  const files = { fullchain: 'fullchain.pem', key: 'privkey.pem', combined: 'combined.pem' };
  await mkdir(version, { recursive: true });
  const [fullchain, key, combined] = Object.values(files).map((name) => join(version, name)) as [
    string,
    string,
    string,
  ];
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const subject = ['-subj', '/CN=placeholder', '-days', '30'];
  await run('openssl', ['req', '-x509', ...curve, ...subject, '-keyout', key, '-out', fullchain]);
  await chmod(key, 0o600);
  await writeFile(combined, (await readFile(fullchain, 'utf8')) + (await readFile(key, 'utf8')), {
    mode: 0o600,
  });
  await symlink('versions/00-0', join(base, 'current'));
  const links = deliveredFiles(root, certName);
  for (const file of ['fullchain', 'key', 'combined'] as const) {
    await mkdir(dirname(links[file]), { recursive: true });
    await symlink(join(base, 'current', files[file]), links[file]);
  }
  await chmod(dirname(links.key), 0o711);
}

async function serving(port: number, pidFile: string, child: ChildProcess): Promise<void> {
  const deadline = Date.now() + START_TIMEOUT_MILLISECONDS;
  while (child.exitCode === null) {
    try {
      await servedSerial({ port });
      if (Number(await readFile(pidFile, 'utf8')) > 0) return;
    } catch (error) {
      if (Date.now() > deadline) throw error;
    }
    await sleep(20);
  }
}

async function ended(child: ChildProcess, logFile: string): Promise<never> {
  const [code, signal] = await once(child, 'exit');
  throw new Error(`the server ended (${signal ?? code}): ${await readFile(logFile, 'utf8')}`);
}

async function freePort(): Promise<number> {
  const server = createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no free port');
  return address.port;
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
