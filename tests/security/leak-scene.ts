import { generateKeyPairSync, randomUUID } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect } from '@jest/globals';
import type { Cloud, CloudNode } from 'local-cloud';
import type { Deployed } from 'local-cloud/templates';
import { startCloud } from '../../local/cloud.ts';
import { CENTRAL, callApi, MEMBER, requestCertificate } from '../../local/example-fleet.ts';
import { isOurs } from '../support/processes.ts';
import { deploySite, functionRole, type Site, withoutGrant } from './flows.ts';
import {
  encryptedKeySecret,
  keySecret,
  type Leak,
  LeakSearch,
  passphraseSecret,
  type Secret,
} from './leaks.ts';
import { type ProcessTrace, readTrace, TRACED } from './process-trace.ts';

const BUILD = path.join(import.meta.dirname, '../../build');

export interface LeakScene {
  cloud: Cloud;
  /** Under strace, what processes were given and wrote. */
  trace(): ProcessTrace;
  /** Everything that is a secret here, wherever it was found. */
  search(): ReturnType<typeof search>;
  /** What CI would keep of every call. */
  recordedCalls(): string;
  secretsMade(): Secret[];
  /** Delivers once more, with a leak at each end. */
  plantLeaks(): Promise<void>;
  /** A node prints a key wherever it is asked. Gives where the key was found. */
  hearKey(): Promise<Set<string>>;
}

let work: string;
/** A folder for temporary files that no part of the scene looks after; a leak makes it. */
let below: string;
let cloud: Cloud;
let site: Site;
let production: CloudNode;
let started: number;

/** Deliveries of every kind in a local cloud, for the tests of a file; under strace, every process leaves its words. */
export function leakScene({ strace = false } = {}): () => LeakScene {
  beforeAll(async () => {
    started = Date.now();
    work = mkdtempSync(path.join(tmpdir(), 'acm-export-leaks-'));
    below = path.join(tmpdir(), `acm-export-forgotten-${randomUUID()}`);
    process.env.RECORD_CALLS = path.join(work, 'calls');
    mkdirSync(process.env.RECORD_CALLS);
    cloud = await startCloud({ timeScale: 0.005, quotas: false, buildFolder: leakingBuild() });
    site = await deploySite(cloud, { member: { amend: (deployed) => traceScript(deployed, strace) } });
    await deliver();
  });
  afterAll(async () => {
    await cloud.stop();
    for (const folder of [work, below]) rmSync(folder, { recursive: true, force: true });
  });
  return () => ({ cloud, trace, search, recordedCalls, secretsMade, plantLeaks, hearKey });
}

/**
 * The built functions; export-certificate leaks for certificates that are called so: into the message of an error,
 * or into what it hands on, a file that it deletes again and the environment of a process.
 */
function leakingBuild(): string {
  const build = path.join(work, 'build');
  const leaking = path.join(build, 'functions/export-certificate');
  mkdirSync(leaking, { recursive: true });
  symlinkSync(path.join(BUILD, 'layer'), path.join(build, 'layer'));
  for (const name of readdirSync(path.join(BUILD, 'functions'))) {
    if (name !== 'export-certificate') {
      symlinkSync(path.join(BUILD, 'functions', name), path.join(build, 'functions', name));
    }
  }
  writeFileSync(
    path.join(leaking, 'handler.mjs'),
    `import { spawnSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { handler as built } from ${JSON.stringify(path.join(BUILD, 'functions/export-certificate/handler.mjs'))};
const stringify = JSON.stringify;
let name = '';
let passphrase = '';
JSON.stringify = (value, ...others) => {
  // The session policy names the bundle, and with it the certificate.
  name = /:secret:acm-export[/]([^/]+)[/]/.exec(stringify(value?.Statement) ?? '')?.[1] ?? name;
  if (value?.PrivateKey && value.Passphrase) {
    passphrase = value.Passphrase;
    if (name === 'leaking-error') throw new Error('cannot store ' + passphrase);
  }
  return stringify(value, ...others);
};
export const handler = async (event, context) => {
  const result = await built(event, context);
  if (name !== 'leaking-ref') return result;
  const file = ${JSON.stringify(path.join(work, 'short-lived'))};
  writeFileSync(file, passphrase);
  rmSync(file);
  spawnSync('true', { env: { PATH: process.env.PATH, LEAK: passphrase } });
  return { ...result, SecretArn: result.SecretArn + passphrase };
};
`,
  );
  return build;
}

/** The install document starts the same script, if asked under strace; where the node has a file `plant`, one that leaks. */
function traceScript(deployed: Deployed, isTraced: boolean): void {
  const step = deployed.resources.get('InstallOnNodeDocument')?.properties.Content.mainSteps[0];
  const script: string = step.inputs.runCommand.join('\n');
  const leaking = script
    .replace(
      /^PASSPHRASE=\$FIELD\n/m,
      `$&
/bin/true "$PASSPHRASE"
LEAK=$PASSPHRASE /bin/true
echo "$PASSPHRASE" >&2
say "unlocked with $PASSPHRASE"
printf %s "$PASSPHRASE" >"$ROOT/forgotten-passphrase"
printf %s "$PASSPHRASE" >"$RUN/short-lived passphrase"
rm "$RUN/short-lived passphrase"
mkdir -p "${below}/deeper"
printf %s "$PASSPHRASE" >|"${below}/deeper/forgotten"
`,
    )
    .replace(
      /^give_key_access\n/m,
      `$& chmod 0644 "$staged/privkey.pem"
printf '%s\\n' "$PRIVATE_KEY" | openssl pkey -outform DER >"$ROOT/forgotten-key"
printf '%s\\n' "$PRIVATE_KEY" | openssl pkey -outform DER >"$RUN/short-lived key, as DER"
cp "$staged/privkey.pem" "$RUN/short-lived copy of the key file"
rm "$RUN/short-lived key, as DER" "$RUN/short-lived copy of the key file"
`,
    );
  for (const planted of ['LEAK=', 'forgotten-passphrase', 'short-lived', below, 'forgotten-key']) {
    expect(leaking).toContain(planted);
  }
  for (const [name, text] of [
    ['install.sh', script],
    ['leaking.sh', leaking],
  ] as const) {
    writeFileSync(path.join(work, name), text);
    chmodSync(path.join(work, name), 0o700);
  }
  const strace = `strace ${TRACED} -o "${work}/processes.$AWS_SSM_INSTANCE_ID.$$"`;
  step.inputs.runCommand = [
    `#!/bin/bash
script=${work}/install.sh
[ ! -e "$ACM_EXPORT_ROOT/plant" ] || script=${work}/leaking.sh
exec ${isTraced ? strace : ''} bash "$script"`,
  ];
  if (isTraced) {
    const looking = deployed.resources.get('LookAtNodeDocument')?.properties.Content.mainSteps[0];
    writeFileSync(path.join(work, 'look.sh'), looking.inputs.runCommand.join('\n'));
    looking.inputs.runCommand = [`#!/bin/bash\nexec ${strace} bash ${work}/look.sh`];
  }
}

const here = { TargetAccount: CENTRAL.account, TargetRegion: CENTRAL.region };

async function deploy(certName: string, CertificateArn: string, target: object, options: object = {}) {
  const body = { CertificateArn, ...here, ...target, ...options };
  const answer = await callApi(site, 'POST', `/certificates/${certName}/deployments`, body);
  await cloud.idle();
  return callApi(site, 'GET', `/certificates/${certName}/deployments/${answer.DeploymentId}`);
}

/** Request, install in every format, PKCS#12 for readers, renewal, failure, way back, dry run, look, in two accounts. */
async function deliver(): Promise<void> {
  // What goes to the journal, as a file.
  production = await cloud.createNode(CENTRAL.account, CENTRAL.region, { tags: { env: 'prod' } });
  const logger = path.join(cloud.folder, 'bin/logger');
  writeFileSync(logger, '#!/bin/sh\nexec cat >>"$ACM_EXPORT_ROOT/journal"\n');
  chmodSync(logger, 0o755);
  // A hook shows all that it is given.
  const hooks = path.join(production.spec.root, 'etc/acm-export/hooks-for-all-names.d');
  mkdirSync(hooks, { recursive: true });
  const hook = path.join(hooks, 'show');
  writeFileSync(hook, '#!/bin/sh\nenv >&2\n[ ! -e "$ACM_EXPORT_ROOT/fail" ]\n');
  chmodSync(hook, 0o700);
  await cloud.createNode(MEMBER.account, MEMBER.region, { kind: 'hybrid', tags: { 'acm-export': 'web' } });

  const rsa = await requestCertificate(site, 'web', ['www.example.com'], 'RSA_2048');
  const formats = { ExtraFormats: ['combined-pem', 'pkcs12'] };
  const prod = { TargetTagKey: 'env', TargetTagValue: 'prod' };
  expect(await deploy('web', rsa, prod, formats)).toMatchObject({ Status: 'INSTALLED' });
  const ec = await requestCertificate(site, 'far', ['far.example.com']);
  const far = {
    TargetAccount: MEMBER.account,
    TargetRegion: MEMBER.region,
    TargetTagKey: 'acm-export',
    TargetTagValue: 'web',
  };
  expect(await deploy('far', ec, far, { KeyFormat: 'encrypted' })).toMatchObject({ Status: 'INSTALLED' });
  const read = await requestCertificate(site, 'read', ['read.example.com']);
  const readers = {
    Delivery: 'secret',
    ReaderRoleArns: [`arn:aws:iam::${CENTRAL.account}:role/reader-one`],
    BundleFormats: ['pkcs12'],
  };
  expect(await deploy('read', read, prod, readers)).toMatchObject({ Status: 'INSTALLED' });
  await cloud.services.acm.renew(ec);
  await cloud.idle();
  const failing = path.join(production.spec.root, 'fail');
  writeFileSync(failing, '');
  const plain = { ExtraFormats: null };
  expect(await deploy('web', rsa, prod, plain)).toMatchObject({ Nodes: [{ Outcome: 'rolled-back' }] });
  rmSync(failing);
  await deploy('web', rsa, prod, { DryRun: true });
  await lookAtNodes();
}

/** One sweep sends the look, the next one reads it. */
async function lookAtNodes(): Promise<void> {
  cloud.clock.advance(61 * 60_000);
  for (const _ of ['send', 'read']) {
    cloud.services.events.runSchedule('acm-export-sweep-nodes');
    await cloud.idle();
  }
}

/** Every key and passphrase that was made, whether it went anywhere or not. */
function secretsMade(): Secret[] {
  const { privateKeys, exportedKeys } = {
    privateKeys: cloud.services.acm.privateKeys(),
    exportedKeys: cloud.services.acm.exportedKeys,
  };
  const passphrases = cloud.record
    .callsOf('GetRandomPassword')
    .map(({ output }) => (output as { RandomPassword: string }).RandomPassword);
  return [
    ...privateKeys.map(({ serial, der }) => keySecret(`key of ${serial}`, der)),
    ...exportedKeys.map(({ serial, encryptedKeyPem }) =>
      encryptedKeySecret(`key of ${serial}`, encryptedKeyPem),
    ),
    ...passphrases.map((passphrase, index) => passphraseSecret(`passphrase ${index}`, passphrase)),
  ];
}

/** The four calls that hand keys and passphrases over; of all others every byte is searched. */
const BELONGS = /\.(ExportCertificate|GetRandomPassword|PutSecretValue|GetSecretValue)$/;

function search(): {
  leaks: Leak[];
  files: ReturnType<LeakSearch['inFiles']>;
  /** Under strace: `where` is the path that the file had when it was written. */
  written: Leak[];
} {
  const search = new LeakSearch(secretsMade());
  const { emissions, calls } = cloud.record;
  const byChannel = Map.groupBy(emissions, ({ channel }) => channel);
  const { started, written } = trace();
  return {
    leaks: [
      ...[...byChannel].flatMap(([channel, all]) =>
        search.in(channel, all.map(({ text }) => text).join('\n')),
      ),
      ...search.in(
        'call',
        calls
          .filter(({ operation }) => !BELONGS.test(operation))
          .map(({ operation, input, output, error }) => JSON.stringify({ operation, input, output, error }))
          .join('\n'),
      ),
      ...search.in('recorded call', recordedCalls()),
      ...started.flatMap(({ argv, environment }) => [
        ...search.in('argv', argv),
        ...search.in('environment', environment),
      ]),
    ],
    files: [...search.inFiles(cloud.folder), ...leftBehind().flatMap((file) => search.inFile(file))],
    written: [...written].flatMap(([file, text]) => search.in(file, text)),
  };
}

function trace(): ProcessTrace {
  const traces = readdirSync(work).filter((name) => name.startsWith('processes.'));
  return readTrace(traces.flatMap((name) => readFileSync(path.join(work, name), 'latin1').split('\n')));
}

function recordedCalls(): string {
  const folder = path.join(work, 'calls');
  return readdirSync(folder)
    .map((name) => readFileSync(path.join(folder, name), 'utf8'))
    .join('');
}

/** Files that were written meanwhile where programs leave things, in whatever folder below. */
function leftBehind(): string[] {
  const folders = [tmpdir(), '/tmp', '/var/tmp', '/dev/shm'].filter(existsSync);
  return [...new Set(folders.flatMap(writtenMeanwhile))];
}

/** Others leave their files there too, and remove them at any moment. */
function writtenMeanwhile(folder: string): string[] {
  // One is looked at as a whole; the other holds what this file itself wrote.
  if (folder === cloud.folder || folder === work) return [];
  return entriesOf(folder).flatMap((entry) => {
    const found = path.join(folder, entry.name);
    const state = lstatSync(found, { throwIfNoEntry: false });
    if (state === undefined || !isOurs(state)) return [];
    // Tests of other files close theirs even to their owner.
    if ((state.mode & 0o400) === 0) return [];
    if (state.isDirectory()) return writtenMeanwhile(found);
    return state.isFile() && state.ctimeMs >= started && state.size < 1_000_000 ? [found] : [];
  });
}

function entriesOf(folder: string) {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

async function plantLeaks(): Promise<void> {
  const error = await requestCertificate(site, 'leaking-error', ['error.example.com']);
  const reference = await requestCertificate(site, 'leaking-ref', ['reference.example.com']);
  const nobody = { TargetTagKey: 'team', TargetTagValue: 'nobody' };
  const prod = { TargetTagKey: 'env', TargetTagValue: 'prod' };
  const script = await requestCertificate(site, 'leaking', ['leaking.example.com']);
  writeFileSync(path.join(production.spec.root, 'plant'), '');
  await deploy('leaking', script, prod);
  await deploy('leaking-ref', reference, prod);
  await deploy('leaking-error', error, nobody);
  await withoutGrant(cloud, functionRole('rollout-ended'), 'sns:Publish', async () => {
    await deploy('leaking-error', error, { ...nobody, TargetTagValue: 'nobody-else' });
  });
  const [made] = cloud.record.callsOf('GetRandomPassword').map(({ output }) => output);
  const Note = (made as { RandomPassword: string }).RandomPassword;
  await deploy('web', error, prod, { Note }).catch(() => {});
}

/** These hand over what nodes printed. */
const OUTPUT = /\.(ListCommandInvocations|GetCommandInvocation|GetAutomationExecution)$/;

async function hearKey(): Promise<Set<string>> {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pem = privateKey.export({ format: 'pem', type: 'pkcs8' });
  const endpoint = 'endpoint\t9443\taa\t2027-06-09T23:59:59Z\tCN=ca\tCN=www\n';
  // Before and behind what a list of answers holds.
  const stdout = `${pem}${endpoint.repeat(60)}${pem}end\t0\t60\n`;
  await cloud.createNode(CENTRAL.account, CENTRAL.region, {
    tags: { env: 'prod' },
    agent: async () => ({ stdout, exitCode: 0 }),
  });
  const { emissions, calls } = cloud.record;
  const before = { emissions: emissions.length, calls: calls.length };
  await lookAtNodes();
  await callApi(site, 'GET', '/endpoints');
  const search = new LeakSearch([
    keySecret('of a node', privateKey.export({ format: 'der', type: 'pkcs8' })),
  ]);
  return new Set(
    [
      ...emissions.slice(before.emissions).map(({ channel, text }) => [channel, text] as const),
      ...calls
        .slice(before.calls)
        .map(
          ({ operation, ...call }) =>
            [OUTPUT.test(operation) ? operation : 'call', JSON.stringify(call)] as const,
        ),
    ].flatMap(([where, text]) => search.in(where, text).map((leak) => leak.where)),
  );
}
