import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isInstalled } from './tls-server.ts';

/** The folder of the commands themselves. */
export const SHIMS = fileURLToPath(new URL('./bin/', import.meta.url));

/**
 * Fills a folder with the commands that stand first in a local node's PATH: the README says what each is
 * and why. Called once per cloud.
 */
export async function installShims(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  for (const name of ['date', 'openssl', 'systemctl', 'unshare'])
    await symlink(join(SHIMS, name), join(folder, name));
  // A shim must not pretend that a server is here.
  if (isInstalled('nginx')) await symlink(join(SHIMS, 'nginx'), join(folder, 'nginx'));
  if (isInstalled('apache')) await symlink(join(SHIMS, 'apachectl'), join(folder, 'apachectl'));

  // Scripts start it often, so Node keeps what it has compiled of it.
  const compiled = process.env.NODE_COMPILE_CACHE ?? join(folder, 'compile-cache');
  const command = join(folder, 'aws');
  await writeFile(
    command,
    `#!/bin/sh
# The agent hands over no home; root's is the node's own, never that of the user who runs the local cloud.
HOME="\${HOME:-$LOCAL_NODE_ROOT/root}" NODE_COMPILE_CACHE='${compiled}' exec '${process.execPath}' --disable-warning=ExperimentalWarning '${join(SHIMS, 'aws.ts')}' "$@"
`,
  );
  await chmod(command, 0o755);
}
