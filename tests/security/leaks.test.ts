import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Channel, type Cloud, type CloudNode, startCloud } from '../../local/cloud.ts';
import { CENTRAL, callApi, MEMBER, requestCertificate } from '../../local/example-fleet.ts';
import type { Deployed } from '../../local/templates/resolve-template.ts';
import { deploySite, functionRole, type Site, withoutGrant } from './flows.ts';
import {
  encryptedKeySecret,
  keySecret,
  type Leak,
  LeakSearch,
  passphraseSecret,
  type Secret,
} from './leaks.ts';

const BUILD = path.join(import.meta.dirname, '../../build');
const hasStrace = spawnSync('strace', ['-V']).status === 0;

let work: string;
let cloud: Cloud;
let site: Site;
let production: CloudNode;
let started: number;

beforeAll(async () => {
  started = Date.now();
  work = mkdtempSync(path.join(tmpdir(), 'acm-export-leaks-'));
  cloud = await startCloud({ timeScale: 0.005, quotas: false, buildFolder: leakingBuild() });
  site = await deploySite(cloud, { member: { amend: traceScript } });
  await deliver();
}, 120_000);
afterAll(async () => {
  await cloud.stop();
  rmSync(work, { recursive: true, force: true });
});

/**
 * The built functions; export-certificate leaks for certificates that are called so: into the message of an error,
 * or into what it hands on.
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
    `import { handler as built } from ${JSON.stringify(path.join(BUILD, 'functions/export-certificate/handler.mjs'))};
const stringify = JSON.stringify;
let name = '';
let passphrase = '';
JSON.stringify = (value, ...others) => {
  if (value?.PrivateKey && value.Passphrase) {
    passphrase = value.Passphrase;
    if (name === 'leaking-error') throw new Error('cannot store ' + passphrase);
  }
  return stringify(value, ...others);
};
export const handler = async (event, context) => {
  name = event.CertName;
  const result = await built(event, context);
  return name === 'leaking-reference' ? { ...result, SecretArn: result.SecretArn + passphrase } : result;
};
`,
  );
  return build;
}

/** The install document starts the same script under strace; where the node has a file `plant`, one that leaks. */
function traceScript(deployed: Deployed): void {
  const step = deployed.resources.get('InstallOnNodeDocument')?.properties.Content.mainSteps[0];
  const script: string = step.inputs.runCommand.join('\n');
  const leaking = script
    .replace(
      / PASSPHRASE=\$FIELD\n/,
      `$&
/bin/true "$PASSPHRASE"
LEAK=$PASSPHRASE /bin/true
echo "$PASSPHRASE" >&2
say "unlocked with $PASSPHRASE"
printf %s "$PASSPHRASE" >"$ROOT/forgotten-passphrase"
`,
    )
    .replace(
      / give_key_access\n/,
      `$& chmod 0644 "$staged/privkey.pem"
printf '%s\\n' "$PRIVATE_KEY" | openssl pkey -outform DER >"$ROOT/forgotten-key"
`,
    );
  for (const planted of ['LEAK=', 'forgotten-passphrase', 'forgotten-key']) {
    expect(leaking).toContain(planted);
  }
  for (const [name, text] of [
    ['install.sh', script],
    ['leaking.sh', leaking],
  ] as const) {
    writeFileSync(path.join(work, name), text);
    chmodSync(path.join(work, name), 0o700);
  }
  const strace = `strace -f --seccomp-bpf -e trace=execve -v -s 65536 -o "${work}/processes.$AWS_SSM_INSTANCE_ID.$$"`;
  step.inputs.runCommand = [
    `#!/bin/bash
script=${work}/install.sh
[ ! -e "$ACM_EXPORT_ROOT/plant" ] || script=${work}/leaking.sh
exec ${hasStrace ? strace : ''} bash "$script"`,
  ];
}

const here = { TargetAccount: CENTRAL.account, TargetRegion: CENTRAL.region };

async function deploy(certName: string, CertificateArn: string, target: object, options: object = {}) {
  const body = { CertificateArn, ...here, ...target, ...options };
  const answer = await callApi(site, 'POST', `/certificates/${certName}/deployments`, body);
  await cloud.idle();
  return callApi(site, 'GET', `/certificates/${certName}/deployments/${answer.DeploymentId}`);
}

/** Request, install in every format, renewal, failure, way back, dry run, in two accounts. */
async function deliver(): Promise<void> {
  // What goes to the journal, as a file.
  production = await cloud.createNode(CENTRAL.account, CENTRAL.region, { tags: { env: 'prod' } });
  const logger = path.join(cloud.folder, 'bin/logger');
  writeFileSync(logger, '#!/bin/sh\nexec cat >>"$ACM_EXPORT_ROOT/journal"\n');
  chmodSync(logger, 0o755);
  // A hook shows all that it is given.
  const hooks = path.join(production.spec.root, 'etc/acm-export/hooks.d');
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
  await cloud.services.acm.renew(ec);
  await cloud.idle();
  const failing = path.join(production.spec.root, 'fail');
  writeFileSync(failing, '');
  expect(await deploy('web', rsa, prod)).toMatchObject({ Nodes: [{ Outcome: 'rolled-back' }] });
  rmSync(failing);
  await deploy('web', rsa, prod, { DryRun: true });
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
} {
  const search = new LeakSearch(secretsMade());
  const { emissions, calls } = cloud.record;
  const byChannel = Map.groupBy(emissions, ({ channel }) => channel);
  const processes = readdirSync(work)
    .filter((name) => name.startsWith('processes.'))
    .flatMap((name) => readFileSync(path.join(work, name), 'latin1').split('\n'));
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
      ...processes.flatMap((line) => {
        const [, argv = '', environment = ''] = /execve\("[^"]*", (\[.*?\]), (\[.*\])/.exec(line) ?? [];
        return [...search.in('argv', argv), ...search.in('environment', environment)];
      }),
    ],
    files: [...search.inFiles(cloud.folder), ...leftBehind().flatMap((file) => search.inFile(file))],
  };
}

/** Files that appeared meanwhile where programs leave things. */
function leftBehind(): string[] {
  return [tmpdir(), '/var/tmp', '/dev/shm'].flatMap((folder) =>
    readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => path.join(folder, entry.name))
      .filter((file) => {
        const { mtimeMs, size } = statSync(file);
        return mtimeMs >= started && size < 1_000_000;
      }),
  );
}

describe('the key is nowhere but where it belongs', () => {
  let found: ReturnType<typeof search>;

  beforeAll(() => {
    found = search();
  });

  test('the search finds each exported key with its passphrase in its bundle', () => {
    const exported = secretsMade().filter(({ kind }) => kind !== 'key');
    expect(exported.length).toBeGreaterThanOrEqual(6);
    const search = new LeakSearch(exported);
    const values = cloud.services.secretsManager.values();
    const inBundles = new Set(
      values.flatMap(({ value }) => search.in('bundle', value).map(({ kind, name }) => `${kind} ${name}`)),
    );
    expect(inBundles.size).toBe(exported.length);
  });

  test('no log, trace, event, message, state, parameter, output, answer or record holds a key or passphrase', () => {
    const channels: Channel[] = [
      'function-log',
      'function-payload',
      'trace',
      'state-machine',
      'api-request',
      'api-answer',
      'event',
      'sns-message',
      'ssm-parameters',
      'ssm-output',
      'dynamodb-write',
    ];
    for (const channel of channels) {
      expect([channel, cloud.record.emissionsOf(channel).length > 0]).toEqual([channel, true]);
    }
    expect(found.leaks.filter(({ where }) => where !== 'argv' && where !== 'environment')).toEqual([]);
  });

  test('no process on a node gets a key or passphrase as an argument or in its environment', () => {
    if (!hasStrace) {
      console.warn('strace is not installed: arguments and environments of processes were NOT checked');
      expect(process.env.CI ?? 'not in CI').toBe('not in CI');
      return;
    }
    const started = readdirSync(work).filter((name) => name.startsWith('processes.'));
    const programs = started.flatMap(
      (name) => readFileSync(path.join(work, name), 'latin1').match(/execve\("/g) ?? [],
    );
    expect(programs.length).toBeGreaterThan(100);
    expect(found.leaks.filter(({ where }) => where === 'argv' || where === 'environment')).toEqual([]);
  });

  test('of all files only the installed key holds it, for its owner alone', () => {
    const keyFile =
      /\/nodes\/m?i-[0-9a-f]{17}\/etc\/ssl\/acm-export\/(web|far)\/versions\/[0-9a-f]+-\d+\/(privkey|combined)\.pem$/;
    const others = found.files.filter(
      ({ path: file, kind, mode }) => !keyFile.test(file) || kind === 'passphrase' || mode !== 0o600,
    );
    expect(others).toEqual([]);
    expect(new Set(found.files.map(({ kind }) => kind))).toEqual(new Set(['key', 'encrypted key']));
  });
});

describe('a planted leak is found', () => {
  let found: ReturnType<typeof search>;

  beforeAll(async () => {
    const error = await requestCertificate(site, 'leaking-error', ['error.example.com']);
    const reference = await requestCertificate(site, 'leaking-reference', ['reference.example.com']);
    const nobody = { TargetTagKey: 'team', TargetTagValue: 'nobody' };
    const prod = { TargetTagKey: 'env', TargetTagValue: 'prod' };
    const script = await requestCertificate(site, 'leaking', ['leaking.example.com']);
    writeFileSync(path.join(production.spec.root, 'plant'), '');
    await deploy('leaking', script, prod);
    await deploy('leaking-reference', reference, prod);
    await deploy('leaking-error', error, nobody);
    await withoutGrant(cloud, functionRole('report-failure'), 'sns:Publish', async () => {
      await deploy('leaking-error', error, { ...nobody, TargetTagValue: 'nobody-else' });
    });
    const [made] = cloud.record.callsOf('GetRandomPassword').map(({ output }) => output);
    const Note = (made as { RandomPassword: string }).RandomPassword;
    await deploy('web', error, prod, { Note }).catch(() => {});
    found = search();
  });

  test.each([
    'function-log',
    'function-payload',
    'trace',
    'state-machine',
    'event',
    'dead-letter',
    'sns-message',
    'dynamodb-write',
    'api-request',
    'api-answer',
    'ssm-parameters',
    'ssm-output',
    'call',
  ])('in the channel %s', (channel) => {
    expect(found.leaks.map(({ where }) => where)).toContain(channel);
  });

  test.each(['argv', 'environment'])('in the %s of a process', (where) => {
    if (!hasStrace) {
      console.warn(`strace is not installed: ${where} was NOT checked`);
      expect(process.env.CI ?? 'not in CI').toBe('not in CI');
      return;
    }
    expect(found.leaks).toContainEqual(expect.objectContaining({ where, kind: 'passphrase' }));
  });

  test.each([
    ['a forgotten file', /\/forgotten-passphrase$/, 'passphrase'],
    ['a forgotten file, as DER', /\/forgotten-key$/, 'key'],
    ['the journal', /\/journal$/, 'passphrase'],
    ["the agent's own files", /\/orchestration\/.*\/stderr$/, 'passphrase'],
  ])('in %s', (_what, file, kind) => {
    expect(found.files).toContainEqual(expect.objectContaining({ path: expect.stringMatching(file), kind }));
  });

  test('in a key that others may read', () => {
    const open = found.files.filter(({ path: file, mode }) => /privkey\.pem$/.test(file) && mode !== 0o600);
    expect(open.map(({ mode }) => mode.toString(8))).toContain('644');
  });
});

describe('the search knows a secret', () => {
  const passphrase = 'correct-Horse-Battery-Staple-0123456789';
  const bytes = randomBytes(32);
  const search = new LeakSearch([
    passphraseSecret('words', passphrase),
    { kind: 'key', name: 'bytes', parts: [bytes] },
  ]);
  const base64 = (before: string) =>
    Buffer.concat([Buffer.from(before), bytes, Buffer.from('after')]).toString('base64');

  test.each([
    ['as it is', `x${passphrase}y`],
    ['in JSON', JSON.stringify({ a: { Passphrase: passphrase } })],
    ['in JSON in JSON', JSON.stringify(JSON.stringify({ Passphrase: passphrase }))],
    ['in base64', Buffer.from(`${passphrase}`).toString('base64')],
    ['in base64 behind one byte', Buffer.from(`x${passphrase}y`).toString('base64')],
    ['in base64 behind two bytes', Buffer.from(`xx${passphrase}yy`).toString('base64')],
    ['in hexadecimal', Buffer.from(passphrase).toString('hex')],
    ['as a buffer in JSON', JSON.stringify(Buffer.from(passphrase))],
    ['as an array of bytes in JSON', JSON.stringify(new Uint8Array(Buffer.from(passphrase)))],
  ])('of letters %s', (_form, text) => {
    expect(search.in('here', text)).toContainEqual(expect.objectContaining({ name: 'words' }));
  });

  test.each([
    ['as they are', `x${bytes.toString('latin1')}y`],
    ['escaped in JSON', JSON.stringify({ a: bytes.toString('latin1') })],
    ['in base64', base64('')],
    ['in base64 behind one byte', base64('x')],
    ['in base64 behind two bytes', base64('xx')],
    ['in base64 for addresses', Buffer.concat([Buffer.from('x'), bytes]).toString('base64url')],
    ['in base64 over several lines', base64('xyz').replace(/.{20}/g, '$&\n')],
    [
      'in base64 over several lines in JSON',
      JSON.stringify({ pem: base64('xyz').replace(/.{20}/g, '$&\r\n') }),
    ],
    ['in capital hexadecimal', bytes.toString('hex').toUpperCase()],
  ])('of bytes %s', (_form, text) => {
    expect(search.in('here', text)).toContainEqual(expect.objectContaining({ name: 'bytes' }));
  });

  test('and takes nothing else for one', () => {
    expect(search.in('here', JSON.stringify({ other: randomBytes(4096).toString('base64') }))).toEqual([]);
  });
});
