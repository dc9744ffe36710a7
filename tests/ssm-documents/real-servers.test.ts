import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { installShims } from '../../local/node/install-shims.ts';
import { openConnections } from '../../local/node/tls-client.ts';
import { isInstalled, startTlsServer } from '../../local/node/tls-server.ts';
import type { TlsServerKind } from '../../local/node/types.ts';
import { CertificateAuthority } from '../../local/services/certificate-authority.ts';
import { issueBundle } from '../local/node/issue-bundle.ts';
import { localNode, runInstall } from '../local/node/run-install.ts';
import { serveSecrets } from '../local/node/serve-secrets.ts';

const RENEWALS = 20;
const SERVERS: TlsServerKind[] = ['nginx', 'apache', 'haproxy'];

let folder: string;
let secrets: Awaited<ReturnType<typeof serveSecrets>>;
let authority: CertificateAuthority;
const renewed = new Map<TlsServerKind, ReturnType<typeof renew>>();

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'real-servers-'));
  const binFolder = join(folder, 'bin');
  await installShims(binFolder);
  secrets = await serveSecrets();
  authority = await CertificateAuthority.create(new Date());
  // All servers at once: an install waits for its reload most of the time.
  for (const kind of SERVERS.filter(isInstalled)) {
    const renewals = renew(kind, binFolder);
    renewals.catch(() => undefined); // The test that awaits it reports it.
    renewed.set(kind, renewals);
  }
});

afterAll(async () => {
  await Promise.allSettled(renewed.values());
  await secrets.stop();
  await rm(folder, { recursive: true });
});

/**
 * Renews the certificate of one of the two names that a server answers for, 20 times, while a client opens
 * connections to that name all the time.
 */
async function renew(kind: TlsServerKind, binFolder: string) {
  const name = 'www.example.com';
  const node = localNode(join(folder, kind), {
    AWS_ENDPOINT_URL: secrets.url,
    AWS_ACCESS_KEY_ID: 'AKIANODE',
    AWS_SECRET_ACCESS_KEY: 'secret',
  });
  const server = await startTlsServer(kind, {
    root: node.root,
    certName: 'other',
    virtualHosts: [{ serverName: name, certName: 'web' }],
  });
  const client = openConnections({ port: server.port, servername: name });
  try {
    const other = await server.servedSerial();
    const delivered: string[] = [];
    for (let rollout = 1; rollout <= RENEWALS; rollout++) {
      const bundle = await issueBundle(authority, [name, 'example.com']);
      const parameters = {
        RolloutNumber: String(rollout),
        ReloadServices: server.unit,
        VerifyPort: String(server.port),
        ExtraFormats: kind === 'haproxy' ? 'combined-pem' : '',
      };
      const { invocation, result } = await runInstall(node, secrets, bundle, parameters, { binFolder });
      if (result.Outcome !== 'installed') throw new Error(`rollout ${rollout}: ${invocation.stderr}`);
      delivered.push(bundle.value.Serial);
      await seen(client.count.serials, bundle.value.Serial);
    }
    const count = await client.stop();
    return { delivered, count, other, otherNow: await server.servedSerial() };
  } finally {
    await client.stop();
    await server.stop();
  }
}

/**
 * The script has seen the new certificate; other connections may see the old one a moment longer, while old
 * workers of nginx go on accepting beside the new ones (100 ms, by nginx's own design).
 */
async function seen(serials: Map<string, number>, serial: string): Promise<void> {
  for (let wait = 0; wait < 500; wait++) {
    if (serials.has(serial)) return;
    await sleep(10);
  }
  throw new Error(`no connection sees ${serial}`);
}

describe.each(SERVERS)('%s', (kind) => {
  if (!isInstalled(kind)) {
    const miss = `is not installed here: ${RENEWALS} renewals under load were not tested`;
    if (process.env.CI === 'true') test(miss, () => expect(isInstalled(kind)).toBe(true));
    else test.skip(miss, () => undefined);
    return;
  }

  test(`serves ${RENEWALS} renewals without one failed connection`, async () => {
    const { delivered, count, other, otherNow } = (await renewed.get(kind)) as Awaited<
      ReturnType<typeof renew>
    >;
    expect(count.failures).toEqual([]);
    // The placeholder, then every renewal in the order of its delivery.
    expect([...count.serials.keys()].slice(1)).toEqual(delivered);
    expect(delivered).toHaveLength(RENEWALS);
    expect(otherNow).toBe(other);
  });
});
