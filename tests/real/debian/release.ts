import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const MAKE_RELEASE = fileURLToPath(new URL('make-release.sh', import.meta.url));

/** Debian 11, 12 and 13. */
export const RELEASES = ['bullseye', 'bookworm', 'trixie'] as const;
export type Codename = (typeof RELEASES)[number];

/** The servers, and what a minimal Debian lacks of what every server has. */
const PACKAGES = [
  'openssl',
  'ca-certificates',
  'iproute2',
  'nginx',
  'apache2',
  'haproxy',
  'postfix',
  'dovecot-imapd',
  'postgresql',
];

/** Output of debootstrap is long; what went wrong stands at its end. */
const MOST_OUTPUT = 64 * 1024 * 1024;

/**
 * The folder of a Debian release with the packages above, made by debootstrap and kept in the user's cache. Throws
 * where it cannot be made, for example because no mirror can be reached.
 */
export async function makeRelease(codename: Codename): Promise<string> {
  const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'acm-export-debian');
  const recipe = createHash('sha256').update(`${PACKAGES}\n${await readFile(MAKE_RELEASE)}`);
  const folder = join(cache, `${codename}-${recipe.digest('hex').slice(0, 12)}`);
  await mkdir(cache, { recursive: true });

  const namespaces = ['--mount', '--pid', '--fork', '--kill-child'];
  const words = [MAKE_RELEASE, folder, codename, PACKAGES.join(','), ...(await ownMirror())];
  await new Promise<void>((resolve, reject) => {
    // execFile keeps standard input open until it ends, and with it what it starts.
    execFile(
      'unshare',
      [...namespaces, 'bash', ...words],
      { maxBuffer: MOST_OUTPUT },
      (error, stdout, stderr) => {
        if (!error) return resolve();
        const said = `${stdout}${stderr}`.trimEnd().split('\n').slice(-10).join('\n');
        reject(new Error(`Debian ${codename} cannot be made here:\n${said}`));
      },
    );
  });
  return folder;
}

/** The mirror that this machine's apt uses, if it is a Debian; else debootstrap uses its own. */
async function ownMirror(): Promise<string[]> {
  const folder = '/etc/apt/sources.list.d';
  const names = await readdir(folder).catch(() => []);
  const texts = await Promise.all(
    ['/etc/apt/sources.list', ...names.map((name) => join(folder, name))].map((file) =>
      readFile(file, 'utf8').catch(() => ''),
    ),
  );
  return texts.flatMap(debianMirrors).slice(0, 1);
}

/** The mirrors of Debian in a file of apt's sources, of the old one-line form or the new one. */
export function debianMirrors(text: string): string[] {
  const oneLine = [...text.matchAll(/^deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+\S+\s+(.*)$/gm)].map(
    ([, uri = '', components = '']) => ({ uri, components }),
  );
  const stanzas = text.split(/\n\s*\n/).flatMap((stanza) => {
    const field = (name: string) => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(stanza)?.[1] ?? '';
    return field('URIs')
      .split(/\s+/)
      .map((uri) => ({ uri, components: field('Components') }));
  });
  return [...oneLine, ...stanzas]
    .filter(({ uri, components }) => /^https?:.*\/debian\/?$/.test(uri) && /\bmain\b/.test(components))
    .map(({ uri }) => uri);
}
