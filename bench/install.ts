// One install by the script as it is deployed, against the bare sequence of commands in baseline-install.sh.
import { spawn } from 'node:child_process';
import { createHash, createPrivateKey, randomBytes, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import {
  CreateSecretCommand,
  PutSecretValueCommand,
  SecretsManagerClient,
} from '@aws-sdk/client-secrets-manager';
import { CertificateAuthority, type Cloud, encryptPrivateKey } from 'local-cloud';
import { installShims, isInstalled } from 'local-cloud/node';
import { timestamp } from '../functions/domain/deployment.ts';
import type { BundleValue } from '../functions/target-account/bundle.ts';
import { startCloud } from '../local/cloud.ts';
import { startTlsServer } from '../local/tls-server.ts';
import { nodeParameters, variablesOf } from '../scripts/parameters.ts';
import { loadDocuments } from '../scripts/render.ts';
import { median, type Table } from './report.ts';
import { administratorOf } from './world.ts';

const DEPLOYMENT = '0123456789abcdef01234567';
/** Enough for a steady median on a machine that does other things too. */
const ROUNDS = 20;

const ACCOUNT = '111122223333';
const REGION = 'eu-west-1';
const DAY = 86_400_000;
const AUTHORITIES = 'etc/ssl/certs/ca-certificates.crt';
const BASELINE = path.join(import.meta.dirname, 'baseline-install.sh');

interface Bundle {
  value: BundleValue;
  versionId: string;
}

/** Something that is measured, on a node of its own. */
interface Run {
  name: string;
  /** Name of the run that stands for 1. */
  against: string;
  script: string;
  environment: Record<string, string>;
  /** The most that the ratio is meant to be. */
  target?: string;
  /** What the script must report; the baseline reports nothing. */
  outcome?: 'installed' | 'unchanged';
}

/**
 * Milliseconds of an install, of one that finds everything in place, and of the baseline, in turn, so that a busy
 * moment of the machine falls on all alike. Each round brings a new certificate with a new key.
 *
 * All are measured with several `aws` commands: that of a local node, which is the SDK in Node; where REAL_AWS_CLI
 * names one, the AWS CLI, as nodes have it; and one that answers at once, which leaves what the scripts do themselves.
 *
 * @throws Error when a run fails, or leaves a key that does not belong to the certificate.
 */
export async function measureInstall(): Promise<Table> {
  const folder = await mkdtemp(path.join(tmpdir(), 'acm-export-bench-'));
  const authority = await CertificateAuthority.create(new Date());
  const cloud = await startCloud({ authority, keepsRecord: false });
  const ends = [() => rm(folder, { recursive: true, force: true }), () => cloud.stop()];
  try {
    const awsCommands = await makeCommands(folder);
    const { environment, store } = await bundleStore(cloud);
    const authorities = await readFile(path.join('/', AUTHORITIES), 'utf8').catch(() => '');
    const runs = await makeRuns(folder, authorities + authority.rootPem, ends);
    const times = new Map<string, number[]>();
    let rollout = 0;
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const { name: aws, bin } of awsCommands) {
        const bundle = await newBundle(authority);
        await store(bundle);
        await writeFile(path.join(folder, 'bundle'), JSON.stringify(bundle.value), { mode: 0o600 });
        for (const run of runs) {
          // Each is a rollout of its own, also the one that finds the version in place.
          rollout += 1;
          const milliseconds = await measure(run, bundle, {
            PATH: `${bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin`,
            ...environment,
            SSM_VersionId: bundle.versionId,
            SSM_RolloutNumber: String(rollout),
          });
          times.set(`${run.name}/${aws}`, [...(times.get(`${run.name}/${aws}`) ?? []), milliseconds]);
        }
      }
    }
    const time = (run: string, aws: string) => median(times.get(`${run}/${aws}`) ?? []);
    return {
      title: `One install, median of ${ROUNDS} rounds, RSA 2048, chain of three`,
      columns: ['aws', 'run', 'ms', 'compared with', 'ratio', 'at most'],
      rows: awsCommands.flatMap(({ name: aws }) =>
        runs.map(({ name, against, target = '' }) => [
          aws,
          name,
          time(name, aws).toFixed(0),
          against,
          (time(name, aws) / time(against, aws)).toFixed(2),
          target,
        ]),
      ),
    };
  } finally {
    for (const end of ends.reverse()) await end();
  }
}

/** Folders that stand first in the PATH, each with another `aws`; of the shims only what the runs need. */
async function makeCommands(folder: string): Promise<{ name: string; bin: string }[]> {
  const shims = path.join(folder, 'shims');
  await installShims(shims);
  const { REAL_AWS_CLI: cli } = process.env;
  const commands = [
    { name: 'of a local node', command: path.join(shims, 'aws') },
    ...(cli ? [{ name: 'AWS CLI', command: cli }] : []),
    { name: 'that answers at once', command: 'cat', argument: path.join(folder, 'bundle') },
  ];
  return Promise.all(
    commands.map(async ({ name, command, argument = '$@' }, index) => {
      const bin = path.join(folder, `bin-${index}`);
      await mkdir(bin);
      await writeFile(path.join(bin, 'aws'), `#!/bin/sh\nexec '${command}' "${argument}"\n`, { mode: 0o755 });
      for (const shim of ['systemctl', ...(isInstalled('nginx') ? ['nginx'] : [])]) {
        await symlink(path.join(shims, shim), path.join(bin, shim));
      }
      return { name, bin };
    }),
  );
}

/** The script is the one in the document. */
async function makeRuns(
  folder: string,
  authorities: string,
  ends: (() => Promise<unknown>)[],
): Promise<Run[]> {
  const { installOnNode } = loadDocuments();
  const script = path.join(folder, 'install-certificate.sh');
  await writeFile(script, String(installOnNode.mainSteps[0]?.inputs.runCommand), { mode: 0o700 });

  const makeNode = async (name: string) => {
    const root = path.join(folder, name);
    await mkdir(path.join(root, 'etc/ssl/certs'), { recursive: true });
    await mkdir(path.join(root, 'etc/ssl/private'), { mode: 0o711 });
    await writeFile(path.join(root, AUTHORITIES), authorities);
    return { ACM_EXPORT_ROOT: root, LOCAL_NODE_ROOT: root };
  };
  const server = isInstalled('nginx') ? 'nginx' : 'node';
  const makeServer = async (name: string) => {
    const node = await makeNode(name);
    const { unit, port, stop } = await startTlsServer(server, {
      root: node.ACM_EXPORT_ROOT,
      certName: 'web',
    });
    ends.push(stop);
    return { ...node, SSM_ReloadServices: unit, SSM_VerifyPort: String(port) };
  };
  const baseline = { against: 'baseline', script: BASELINE };
  const install = { against: 'baseline', script, outcome: 'installed' as const };
  const installed = await makeNode('installed');
  const [bare, served] = [
    `baseline, then ${server} reloaded`,
    `install for ${server}: tested, reloaded, asked`,
  ];
  return [
    { ...baseline, name: 'baseline', environment: await makeNode('baseline') },
    { ...install, name: 'install', target: '2', environment: installed },
    { ...install, name: 'unchanged', target: '0.5', outcome: 'unchanged', environment: installed },
    { ...baseline, name: bare, environment: await makeServer('baseline-served') },
    {
      ...install,
      name: served,
      target: '2',
      against: bare,
      environment: await makeServer('installed-served'),
    },
  ];
}

/** Runs the script as the SSM Agent does, and resolves to how many milliseconds it took. */
async function measure(run: Run, bundle: Bundle, environment: Record<string, string>): Promise<number> {
  const start = performance.now();
  const child = spawn('/bin/sh', ['-c', `exec ${run.script}`], {
    cwd: '/',
    env: {
      AWS_SSM_INSTANCE_ID: 'i-0123456789abcdef0',
      AWS_SSM_REGION_NAME: REGION,
      SSM_CertName: 'web',
      SSM_DeploymentId: DEPLOYMENT,
      SSM_CorrelationId: 'bench',
      ...variablesOf(nodeParameters()),
      ...environment,
      ...run.environment,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'exit'),
  ]);
  const milliseconds = performance.now() - start;
  if (code !== 0 || (run.outcome && JSON.parse(stdout).Outcome !== run.outcome)) {
    throw new Error(`${run.name} failed (${code}): ${stdout}${stderr}`);
  }
  await verifyFiles(run, bundle);
  return milliseconds;
}

/** What was measured must have been done: the certificate in place, with its chain and the key that belongs to it. */
async function verifyFiles({ name, environment }: Run, { value }: Bundle): Promise<void> {
  const read = (file: string) =>
    readFile(path.join(environment.ACM_EXPORT_ROOT as string, 'etc/ssl', file), 'utf8');
  const fullchain = await read('certs/web-fullchain.pem');
  const leaf = new X509Certificate(fullchain);
  const key = createPrivateKey(await read('private/web-privkey.pem'));
  if (
    fullchain !== value.Certificate + value.CertificateChain ||
    (await read('certs/web-chain.pem')) !== value.CertificateChain ||
    !leaf.checkPrivateKey(key)
  ) {
    throw new Error(`${name} left files that do not belong together`);
  }
}

/** A secret for the bundles, and what a node needs to read it. */
async function bundleStore(cloud: Cloud) {
  const { credentials } = administratorOf(cloud, ACCOUNT);
  const secrets = cloud.client(SecretsManagerClient, { region: REGION, credentials });
  const { ARN: SecretId = '' } = await secrets.send(
    new CreateSecretCommand({ Name: `acm-export/web/${DEPLOYMENT}` }),
  );
  return {
    environment: {
      AWS_ENDPOINT_URL: cloud.endpoint,
      AWS_ACCESS_KEY_ID: credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      SSM_SecretArn: SecretId,
    },
    store: ({ value, versionId: ClientRequestToken }: Bundle) =>
      secrets.send(
        new PutSecretValueCommand({ SecretId, ClientRequestToken, SecretString: JSON.stringify(value) }),
      ),
  };
}

/** A certificate like ACM's: RSA 2048. The passphrase holds nothing that JSON escapes, which the baseline could not read. */
async function newBundle(authority: CertificateAuthority): Promise<Bundle> {
  const now = Date.now();
  const issued = await authority.issue(
    ['www.example.com'],
    'RSA_2048',
    new Date(now - DAY),
    new Date(now + 20 * DAY),
  );
  const Passphrase = randomBytes(24).toString('base64url');
  const Serial = issued.serial.replaceAll(':', '');
  return {
    value: {
      Certificate: issued.certificatePem,
      CertificateChain: issued.chainPem,
      PrivateKey: encryptPrivateKey(issued.privateKeyDer, Buffer.from(Passphrase)),
      Passphrase,
      Serial,
      CertificateArn: `arn:aws:acm:${REGION}:${ACCOUNT}:certificate/00000000-0000-4000-8000-000000000000`,
      NotAfter: timestamp(issued.notAfter),
    },
    versionId: createHash('sha256').update(Serial).digest('hex'),
  };
}
