import { join } from 'node:path';
import { startTlsServer, writeSelfSigned } from '../../src/node/tls-server.ts';
import type { CertificateFiles, TlsServer, TlsServerOptions } from '../../src/node/types.ts';

/** The files of a certificate on a node. */
export const filesOf = (root: string, name = 'site'): CertificateFiles => ({
  fullchain: join(root, 'etc/ssl', `${name}.pem`),
  key: join(root, 'etc/ssl', `${name}.key`),
  combined: join(root, 'etc/ssl', `${name}-combined.pem`),
});

/** A server of Node with a self-signed certificate. */
export async function serve(root: string, options: Partial<TlsServerOptions> = {}): Promise<TlsServer> {
  await writeSelfSigned(filesOf(root));
  return startTlsServer('node', { root, files: filesOf(root), ...options });
}
