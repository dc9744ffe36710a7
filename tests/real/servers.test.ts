import { appendFile, mkdtemp, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { installShims, openConnections, type TlsServerKind } from 'local-cloud/node';
import { deliveredFiles, startTlsServer } from '../../local/tls-server.ts';
import { createChain } from '../ssm-documents/certificates.ts';
import { localNode, runInstall } from '../ssm-documents/run-install.ts';
import { serveSecrets } from '../ssm-documents/serve-secrets.ts';
import { needs } from '../support/needs.ts';
import { isHere } from '../support/tools.ts';
import { until } from '../support/until.ts';
import { endsWithItsParent } from './orphans.ts';

const RENEWALS = 20;
const SERVERS = ['nginx', 'apache', 'haproxy'] as const;

let folder: string;
let secrets: Awaited<ReturnType<typeof serveSecrets>>;
let chain: Awaited<ReturnType<typeof createChain>>;
const results = new Map<TlsServerKind, ReturnType<typeof exercise>>();

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'real-servers-'));
  const binFolder = join(folder, 'bin');
  await installShims(binFolder);
  secrets = await serveSecrets();
  chain = await createChain();
  // All servers at once: an install waits for its reload most of the time.
  for (const kind of SERVERS.filter(isHere)) {
    const exercised = exercise(kind, binFolder);
    exercised.catch(() => undefined); // The test that awaits it reports it.
    results.set(kind, exercised);
  }
});

afterAll(async () => {
  await Promise.allSettled(results.values());
  await secrets.stop();
  await rm(folder, { recursive: true });
});

/**
 * Renews the certificate of one of the two names that a server answers for, 20 times, while a client opens
 * connections to that name all the time; then a dry run, and an install under a configuration that is broken.
 */
async function exercise(kind: TlsServerKind, binFolder: string) {
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
  const install = async (rollout: number, parameters: Record<string, string> = {}) => {
    const bundle = await chain.newBundle();
    const { invocation, result } = await runInstall(
      node,
      secrets,
      bundle,
      {
        RolloutNumber: String(rollout),
        ReloadServices: server.unit,
        VerifyPort: String(server.port),
        ExtraFormats: kind === 'haproxy' ? 'combined-pem' : '',
        ...parameters,
      },
      { binFolder },
    );
    return { ...result, serial: bundle.value.Serial, log: invocation.stderr };
  };
  const client = openConnections({ port: server.port, servername: name });
  try {
    const other = await server.servedSerial();
    const delivered: string[] = [];
    for (let rollout = 1; rollout <= RENEWALS; rollout++) {
      const { Outcome, serial, log } = await install(rollout);
      if (Outcome !== 'installed') throw new Error(`rollout ${rollout}: ${log}`);
      delivered.push(serial);
      await seen(client.count.serials, serial);
    }
    const dryRun = await install(RENEWALS + 1, { DryRun: 'true' });
    await appendFile(server.configurationFile, 'nonsense\n');
    const broken = await install(RENEWALS + 2);
    const count = await client.stop();
    return { delivered, dryRun, broken, count, other, otherNow: await server.servedSerial() };
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
  await until(`a connection that sees ${serial}`, () => serials.has(serial));
}

for (const kind of SERVERS) {
  needs(kind).describe(kind, () => {
    serves(kind);

    test('that cannot start is an error with its own words', async () => {
      const root = join(folder, `broken-${kind}`);
      await (await startTlsServer('node', { root, certName: 'web' })).stop();
      const files = deliveredFiles(root, 'web');
      for (const file of [files.fullchain, files.combined]) await truncate(file);
      await expect(startTlsServer(kind, { root, certName: 'web' })).rejects.toThrow(/ended.*pem/s);
    });

    test('ends when the process that started it is killed', () => endsWithItsParent(kind, folder));
  });
}

function serves(kind: TlsServerKind): void {
  const result = async () => (await results.get(kind)) as Awaited<ReturnType<typeof exercise>>;

  test(`serves ${RENEWALS} renewals without one failed connection`, async () => {
    const { delivered, count, other, otherNow } = await result();
    expect(count.failures).toEqual([]);
    // The placeholder, then every renewal in the order of its delivery, and nothing of what failed later.
    expect([...count.serials.keys()].slice(1)).toEqual(delivered);
    expect(delivered).toHaveLength(RENEWALS);
    expect(otherNow).toBe(other);
  });

  needs('mounts')(
    'passes a dry run, which tests the configuration with the new files and switches nothing',
    async () => {
      expect((await result()).dryRun).toMatchObject({ Outcome: 'dry-run-passed', ExitCode: 0 });
    },
  );

  test('goes on with the old certificate when its configuration is broken', async () => {
    expect((await result()).broken).toMatchObject({ ExitCode: 60, Step: 'test-config' });
  });
}
