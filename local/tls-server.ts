import { access, chmod, mkdir, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import {
  type CertificateFiles,
  startTlsServer as start,
  type TlsServer,
  type TlsServerKind,
  type TlsServerOptions,
  writeSelfSigned,
} from 'local-cloud/node';

interface Options extends Omit<TlsServerOptions, 'files' | 'virtualHosts'> {
  /** The certificate of the default virtual host, by the name under which it is deployed. */
  certName: string;
  /** More names on the same port, told apart by SNI. */
  virtualHosts?: { serverName: string; certName: string }[];
}

/** Where an install puts the files of a certificate, as a server's configuration names them. */
export function deliveredFiles(root: string, certName: string): CertificateFiles {
  return {
    fullchain: join(root, 'etc/ssl/certs', `${certName}-fullchain.pem`),
    key: join(root, 'etc/ssl/private', `${certName}-privkey.pem`),
    combined: join(root, 'etc/ssl/private', `${certName}-combined.pem`),
  };
}

/** A TLS server with the files that an install delivers, or with a placeholder where they are not there yet. */
export async function startTlsServer(
  kind: TlsServerKind,
  { certName, virtualHosts = [], ...options }: Options,
): Promise<TlsServer> {
  const { root } = options;
  for (const name of new Set([certName, ...virtualHosts.map((host) => host.certName)])) {
    await putPlaceholder(root, name);
  }
  return start(kind, {
    ...options,
    files: deliveredFiles(root, certName),
    virtualHosts: virtualHosts.map((host) => ({
      serverName: host.serverName,
      files: deliveredFiles(root, host.certName),
    })),
  });
}

/**
 * A self-signed certificate in the places of an installed one, so that an install has a way back to it. Laid out as the
 * install script lays out plain files that it finds in these places: version 00-0, `current`, and the links that
 * configurations name.
 */
async function putPlaceholder(root: string, certName: string): Promise<void> {
  const base = join(root, 'etc/ssl/acm-export', certName);
  if (await exists(join(base, 'current'))) return;
  const names = { fullchain: 'fullchain.pem', key: 'privkey.pem', combined: 'combined.pem' };
  const version = join(base, 'versions/00-0'); // <serial>-<rollout number>; both are above zero in real ones.
  await writeSelfSigned({
    fullchain: join(version, names.fullchain),
    key: join(version, names.key),
    combined: join(version, names.combined),
  });
  await symlink('versions/00-0', join(base, 'current'));
  const links = deliveredFiles(root, certName);
  for (const file of ['fullchain', 'key', 'combined'] as const) {
    await mkdir(dirname(links[file]), { recursive: true });
    await symlink(join(base, 'current', names[file]), links[file]);
  }
  await chmod(dirname(links.key), 0o711);
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
