import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, copyFile, cp, mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { TlsServer } from 'local-cloud/node';
import { SHIMS } from 'local-cloud/node';
import { startTlsServer } from '../../local/tls-server.ts';
import { nodeParameters } from '../../scripts/parameters.ts';
import { installScript } from '../../scripts/render.ts';
import { type Bundle, bundleOf, createAuthority, daysFromNow, issue } from '../ssm-documents/certificates.ts';
import { ca, first, mode, node, openssl, second, setUpInstalls } from '../ssm-documents/install-set-up.ts';
import { AUTHORITIES, type Environment, type TestNode } from '../ssm-documents/test-node.ts';
import { needs } from '../support/needs.ts';
import { MOUNT_NAMESPACE, programOf } from '../support/tools.ts';

setUpInstalls();

const execute = promisify(execFile);

/** What a server finds at the paths that stay: a certificate with its chain, and the key that belongs to it. */
async function installedSerial(of = node): Promise<string | undefined> {
  const [certificate, key] = [of.ssl('certs/web-fullchain.pem'), of.ssl('private/web-privkey.pem')];
  if (!existsSync(certificate) && !existsSync(key)) return undefined;
  const leaf = new X509Certificate(await readFile(certificate));
  expect(await openssl('pkey', '-in', key, '-pubout')).toBe(
    leaf.publicKey.export({ type: 'spki', format: 'pem' }),
  );
  return leaf.serialNumber.toLowerCase();
}

/** Runs a bundle that must be refused, after one that is in place, and returns what the refusal said. */
async function refused(
  bundle: Bundle,
  environment: Environment = {},
  prepare: () => Promise<unknown> = async () => undefined,
): Promise<Environment & { Error: string }> {
  await node.install(first);
  await prepare();
  const before = await node.files();
  const { result } = await node.run({ ...(await node.offer(bundle, 2)), ...environment });
  const after = await node.files();
  // The record may have been written: it says which rollout was seen.
  delete before['etc/ssl/acm-export/web/record'];
  delete after['etc/ssl/acm-export/web/record'];
  expect(after).toEqual(before);
  expect(result.Outcome).toBe('failed');
  return { code: String(result.ExitCode), step: result.Step, Error: result.Error ?? '' };
}

describe('an install', () => {
  test.each<[string, () => Promise<unknown>, Environment]>([
    ['a file was changed', () => writeFile(node.base('current/privkey.pem'), ''), {}],
    ['a link is gone', () => rm(node.ssl('certs/web-chain.pem')), {}],
    ['the installation was never completed', () => rm(node.base('current/.completed')), {}],
    ['an option differs', async () => {}, { SSM_ReloadServices: 'nginx' }],
    [
      'the mode that was asked for is another',
      () => chmod(node.base('current/privkey.pem'), 0o600),
      { SSM_KeyMode: '0640' },
    ],
  ])('installs the same version again when %s', async (_, change, environment) => {
    await node.install(first, 1, environment.SSM_KeyMode ? environment : {});
    await change();
    expect((await node.install(first, 1, environment)).result.Outcome).toBe('installed');
    expect(await installedSerial()).toBe(first.value.Serial);
    expect(await mode(node.ssl('private/web-privkey.pem'))).toBe(environment.SSM_KeyMode ? '640' : '600');
  });

  test('keeps three versions: the present one, the previous one and one more', async () => {
    for (let rollout = 1; rollout <= 5; rollout++) await node.install(rollout % 2 ? first : second, rollout);
    expect(
      Object.keys(await node.files())
        .filter((file) => /versions\/[^/]+$/.test(file))
        .map((file) => path.basename(file))
        .sort(),
    ).toEqual([`${first.value.Serial}-3`, `${second.value.Serial}-4`, `${first.value.Serial}-5`].sort());
  });

  test('drops text around certificates and writes only them', async () => {
    const bundle = bundleOf(
      await issue(ca.intermediate),
      `subject=x\n${ca.intermediate.pem}\nNext one:\r\n${ca.root.pem.replaceAll('\n', '\r\n')}# end`,
    );
    await node.install(bundle);
    expect(await node.read('etc/ssl/certs/web-chain.pem')).toBe(ca.chain);
  });

  test('takes a format away again that is no longer asked for, and one that never came to be used', async () => {
    const formats = { SSM_ExtraFormats: 'combined-pem pkcs12', SSM_ReloadServices: 'haproxy' };
    await node.install(first);
    await node.tell('config-fault', '[ALERT] no');
    expect((await node.run({ ...(await node.offer(second, 2)), ...formats })).result.ExitCode).toBe(60);
    expect(await readdir(node.ssl('private'))).toEqual(['web-privkey.pem']);
    await node.untell('config-fault');
    await node.install(second, 3, formats);
    expect(await readdir(node.ssl('private'))).toEqual(['web-combined.pem', 'web-privkey.pem', 'web.p12']);
    await node.install(first, 4);
    expect(await readdir(node.ssl('private'))).toEqual(['web-privkey.pem']);
  });

  test('labels files for SELinux where it is on', async () => {
    await node.addCommand('restorecon', 'echo "$*" >>"$state/restorecon"');
    await node.install(first);
    expect(await node.told('restorecon')).toEqual([]);
    await mkdir(node.path('sys/fs/selinux'), { recursive: true });
    await writeFile(node.path('sys/fs/selinux/enforce'), '1');
    await node.install(second, 2);
    expect(await node.told('restorecon')).toEqual([`-R ${node.base()}`]);
  });

  test('makes the plain files that another tool left its first version, and goes back to them', async () => {
    const old = await issue(ca.intermediate);
    const files = { 'certs/web-fullchain.pem': old.certificate, 'certs/web-chain.pem': ca.chain };
    for (const [file, content] of Object.entries(files)) await writeFile(node.ssl(file), content);
    await writeKey(old.key, node.ssl('private/web-privkey.pem'));
    await chmod(node.ssl('private/web-privkey.pem'), 0o640);
    await node.tell('config-fault', 'nginx: [emerg] no');
    const options = { SSM_ReloadServices: 'nginx' };
    const { result } = await node.run({ ...(await node.offer(first)), ...options });
    expect(result).toMatchObject({ ExitCode: 60, Outcome: 'rolled-back' });
    expect(await installedSerial()).toBe(old.serial);
    await node.untell('config-fault');
    await node.install(first, 2, options);
    expect(await installedSerial()).toBe(first.value.Serial);
    expect(await mode(node.ssl('private/web-privkey.pem'))).toBe('640');
  });

  test('does not take plain files for a certificate and its key when they do not belong together', async () => {
    const [old, other] = [await issue(ca.intermediate), await issue(ca.intermediate)];
    await writeFile(node.ssl('certs/web-fullchain.pem'), old.certificate);
    await writeFile(node.ssl('certs/web-chain.pem'), ca.chain);
    await writeKey(other.key, node.ssl('private/web-privkey.pem'));
    const before = await node.files();
    const { result } = await node.run(await node.offer(first));
    expect(result).toMatchObject({
      ExitCode: 32,
      Error: expect.stringContaining('is no link of this script'),
    });
    expect(await node.files()).toEqual(before);
  });
});

async function writeKey(der: Buffer, file: string) {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  await writeFile(file, `-----BEGIN PRIVATE KEY-----\n${lines.join('\n')}\n-----END PRIVATE KEY-----\n`, {
    mode: 0o600,
  });
}

describe('a bundle that is not right is refused, and nothing changes', () => {
  const cases: [string, () => Promise<Bundle>, number, string, RegExp][] = [
    [
      'with a wrong passphrase',
      async () => changed({ Passphrase: 'another one' }),
      43,
      'verify-pair',
      /passphrase .* does not open/,
    ],
    [
      'with the key of another certificate',
      async () => changed({ PrivateKey: first.value.PrivateKey, Passphrase: first.value.Passphrase }),
      44,
      'verify-pair',
      /belongs to another certificate/,
    ],
    [
      'with a key that is not encrypted',
      async () => changed({ PrivateKey: '-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n' }),
      24,
      'read-bundle',
      /not encrypted/,
    ],
    [
      'with a chain in the wrong order',
      async () => changed({ CertificateChain: ca.root.pem + ca.intermediate.pem }),
      45,
      'verify-chain',
      /not issued by the next/,
    ],
    [
      'with a missing intermediate',
      async () => changed({ CertificateChain: ca.root.pem }),
      45,
      'verify-chain',
      /not issued by the next/,
    ],
    [
      'with the certificate in its own chain',
      async () => changed({ CertificateChain: second.value.Certificate + ca.chain }),
      45,
      'verify-chain',
      /twice/,
    ],
    [
      'with an intermediate of the same name and another key',
      async () =>
        changed({
          CertificateChain: (await createAuthority('Test Intermediate', ca.root)).pem + ca.root.pem,
        }),
      45,
      'verify-chain',
      /not issued by the next/,
    ],
    [
      'with an expired intermediate',
      async () => {
        const intermediate = await createAuthority('Expired', ca.root, daysFromNow(-2));
        return bundleOf(await issue(intermediate), intermediate.pem + ca.root.pem);
      },
      45,
      'verify-chain',
      /expired/,
    ],
    [
      'without a chain',
      async () => changed({ CertificateChain: 'no certificate' }),
      45,
      'read-bundle',
      /no certificate chain/,
    ],
    [
      'without a certificate',
      async () => changed({ Certificate: 'none' }),
      40,
      'read-bundle',
      /no certificate/,
    ],
    [
      'with a damaged certificate',
      async () => changed({ Certificate: second.value.Certificate.replace(/\n.{20}/, '\n') }),
      40,
      'verify-certificate',
      /cannot read/,
    ],
    [
      'with another serial than it says',
      async () => changed({ Serial: first.value.Serial }),
      40,
      'verify-certificate',
      /has serial/,
    ],
    [
      'for no DNS name',
      async () => bundleOf(await issue(ca.intermediate, { names: [] }), ca.chain),
      40,
      'verify-certificate',
      /no DNS name/,
    ],
    [
      'that has expired',
      async () =>
        bundleOf(
          await issue(ca.intermediate, { notBefore: daysFromNow(-9), notAfter: daysFromNow(-1) }),
          ca.chain,
        ),
      41,
      'verify-chain',
      /has expired/,
    ],
    [
      'that is not yet valid',
      async () => bundleOf(await issue(ca.intermediate, { notBefore: daysFromNow(1) }), ca.chain),
      42,
      'verify-chain',
      /not yet valid/,
    ],
  ];
  const changed = (changes: Partial<Bundle['value']>): Bundle => ({
    ...second,
    value: { ...second.value, ...changes },
  });

  test.each(cases)('%s', async (_, make, code, step, message) => {
    expect(await refused(await make())).toEqual({
      code: String(code),
      step,
      Error: expect.stringMatching(message),
    });
    expect(await installedSerial()).toBe(first.value.Serial);
  });

  test.each([
    ['empty', '', /empty or cut off/],
    ['cut off', '{"Certificate":"-----BEGIN', /empty or cut off/],
    ['something else', '{"User":"admin"}', /has no Certificate/],
    ['a binary secret', 'None', /empty or cut off/],
  ])('that is %s', async (_, text, message) => {
    const parameters = await node.offer(second);
    await node.tell('bundle', `${text}\n`);
    const { result } = await node.run(parameters);
    expect(result).toMatchObject({ Outcome: 'failed', ExitCode: 24, Error: expect.stringMatching(message) });
  });

  test('reads JSON however it is written', async () => {
    const parameters = await node.offer(first);
    const escaped = JSON.stringify(first.value, null, 1).replaceAll('/', '\\/').replaceAll('+', '\\u002b');
    await node.tell('bundle', escaped);
    expect((await node.run(parameters)).result.Outcome).toBe('installed');
    expect(await node.read('etc/ssl/certs/web-fullchain.pem')).toBe(first.value.Certificate + ca.chain);
  });
});

describe('a bundle that cannot be read', () => {
  const awsError = (code: string, message: string) =>
    `An error occurred (${code}) when calling the GetSecretValue operation: ${message}\n`;
  const DENIED = awsError(
    'AccessDeniedException',
    'User: arn:aws:sts::111122223333:assumed-role/WebServer/i-0123456789abcdef0 is not authorized to perform: secretsmanager:GetSecretValue',
  );
  const THROTTLED = awsError('ThrottlingException', 'Rate exceeded');

  test.each([
    ['denied', DENIED, 20, 1, /^role WebServer may not read .* its role is not/],
    [
      'without credentials',
      'Unable to locate credentials. You can configure credentials by running "aws configure".\n',
      20,
      1,
      /instance profile/,
    ],
    ['throttled', THROTTLED, 21, 5, /throttled/],
    [
      'with the network down',
      'Could not connect to the endpoint URL: "https://secretsmanager.eu-west-1.amazonaws.com/"\n',
      22,
      5,
      /did not reach .*Could not connect/,
    ],
    [
      'gone',
      awsError(
        'ResourceNotFoundException',
        "Secrets Manager can't find the specified secret value for VersionId",
      ),
      23,
      1,
      /new rollout/,
    ],
    [
      'in an unknown way',
      'Traceback: \u001b[31m"something"\\\n',
      25,
      1,
      /cannot read the bundle: Traceback: \[31m'something'/,
    ],
  ])('because it is %s is told apart', async (_, error, code, calls, message) => {
    await node.tell('aws-errors', error.repeat(5));
    const { result } = await node.run(await node.offer(first));
    expect(result).toMatchObject({
      Outcome: 'failed',
      ExitCode: code,
      Step: 'read-bundle',
      Error: expect.stringMatching(message),
    });
    expect(await node.told('aws')).toHaveLength(calls);
    expect(await node.told('sleeps')).toHaveLength(calls - 1);
  });

  test('for a while is read after growing waits', async () => {
    await node.tell('aws-errors', THROTTLED.repeat(3));
    expect((await node.run(await node.offer(first))).result.Outcome).toBe('installed');
    expect((await node.told('sleeps')).map(Number.parseFloat).map(Math.floor)).toEqual([2, 4, 8]);
  });
});

describe('the identity that reads the bundle', () => {
  const environmentOfAws = async (environment: Environment) => {
    await node.run({ ...(await node.offer(first)), ...environment });
    return Object.fromEntries(
      (await node.told('aws-environment')).map((line) => line.split(/=(.*)/s).slice(0, 2)),
    );
  };
  const DHMC = '/var/lib/amazon/ssm/credentials';

  test('is the instance profile on EC2, also under Default Host Management', async () => {
    const found = await environmentOfAws({ AWS_SHARED_CREDENTIALS_FILE: DHMC, AWS_PROFILE: 'other' });
    expect(found).toMatchObject({ AWS_SHARED_CREDENTIALS_FILE: '/dev/null', AWS_CONFIG_FILE: '/dev/null' });
    expect(found).not.toHaveProperty('AWS_PROFILE');
  });

  test.each([
    [undefined, undefined],
    [DHMC, undefined],
    ['/etc/own/credentials', '/etc/own/credentials'],
  ])('is the activation role on a hybrid node (credentials file %s)', async (given, kept) => {
    const found = await environmentOfAws({
      AWS_SSM_INSTANCE_ID: 'mi-0123456789abcdef0',
      AWS_SHARED_CREDENTIALS_FILE: given,
    });
    expect(found.AWS_SHARED_CREDENTIALS_FILE).toBe(kept);
    expect(found.HOME).toBe('/root');
  });
});

describe('what was not there before', () => {
  test('a number more than a day ahead of the clock is refused, whatever the node has seen', async () => {
    const now = Math.floor(Date.now() / 1000);
    const ahead = async (number: number) => (await node.run(await node.offer(second, number))).result;
    await node.install(first, 5);
    expect(await ahead(now + 90_000)).toMatchObject({
      ExitCode: 30,
      HeldNumber: 5,
      Error: expect.stringContaining('more than a day ahead'),
    });
    expect(await ahead(now + 80_000)).toMatchObject({ Outcome: 'installed' });
    expect(await ahead(now + 80_001)).toMatchObject({ Outcome: 'unchanged' });
    // No step by step either: the numbers that follow would be kept out for as many days.
    expect(await ahead(now + 80_001 + 86_400)).toMatchObject({ ExitCode: 30, HeldNumber: now + 80_001 });
  });

  const planted: [string, (node: TestNode) => string][] = [
    ['a link', (node) => node.ssl('private/web-privkey.pem')],
    ['the folder of the certificate', (node) => node.base()],
    ['the folder of all certificates', (node) => node.ssl('acm-export')],
    ['the versions', (node) => node.base('versions')],
    ['the present version', (node) => node.base('current')],
    ['the record', (node) => node.base('record')],
    ['the lock', (node) => node.path('run/acm-export/lock')],
    ['the file for error texts', (node) => node.path('run/acm-export/aws-error')],
  ];
  test.each(planted)('a symbolic link in the place of %s is refused and not followed', async (_, place) => {
    const target = path.join(node.folder, 'target');
    await mkdir(target);
    await writeFile(path.join(target, 'file'), 'precious');
    await mkdir(path.dirname(place(node)), { recursive: true });
    await symlink(
      /record|lock|error|key/.test(place(node)) ? path.join(target, 'file') : target,
      place(node),
    );
    const { result } = await node.run(await node.offer(first));
    expect(result).toMatchObject({ Outcome: 'failed', ExitCode: 32, Error: expect.stringContaining('link') });
    expect((await execute('ls', ['-A', target])).stdout).toBe('file\n');
    expect(await readFile(path.join(target, 'file'), 'utf8')).toBe('precious');
  });

  test('a foreign file in the place of a link is refused and named', async () => {
    await writeFile(node.ssl('certs/web-chain.pem'), 'mine');
    const { result } = await node.run(await node.offer(first));
    expect(result).toMatchObject({
      ExitCode: 32,
      Error: expect.stringMatching(/web-chain\.pem is no link of this script: move it away/),
    });
    expect(await node.read('etc/ssl/certs/web-chain.pem')).toBe('mine');
    expect(await installedSerial()).toBeUndefined();
  });

  test('a folder that others can write to is refused', async () => {
    await chmod(node.ssl('private'), 0o775);
    const { result } = await node.run(await node.offer(first));
    expect(result).toMatchObject({ ExitCode: 32, Error: expect.stringContaining('private') });
  });
});

describe('services', () => {
  const WITH_NGINX = { SSM_ReloadServices: 'nginx app@1.service' };
  const versionOf = (bundle: Bundle, rollout: number) => `versions/${bundle.value.Serial}-${rollout}`;

  test('are reloaded with the old certificate when a reload fails', async () => {
    await node.install(first, 1, WITH_NGINX);
    await node.tell('reload-faults', 'once\n');
    const { result } = await node.run({ ...(await node.offer(second, 2)), ...WITH_NGINX });
    expect(result).toMatchObject({
      Outcome: 'rolled-back',
      ExitCode: 62,
      Error: expect.stringContaining('Job for nginx failed'),
    });
    expect(await installedSerial()).toBe(first.value.Serial);
    expect((await node.told('systemctl')).filter((line) => line.startsWith('reload')).slice(2)).toEqual([
      `reload nginx ${versionOf(second, 2)}`,
      `reload nginx ${versionOf(first, 1)}`,
      `reload app@1.service ${versionOf(first, 1)}`,
    ]);
  });

  test('that do not come back are told as such', async () => {
    await node.install(first, 1, WITH_NGINX);
    await node.tell('reload-faults', 'once\ntwice\n');
    const { result } = await node.run({ ...(await node.offer(second, 2)), ...WITH_NGINX });
    expect(result).toMatchObject({
      Outcome: 'failed',
      ExitCode: 70,
      Error: expect.stringMatching(/way back failed .*reload of nginx.* after reload-failed/),
    });
    expect(await installedSerial()).toBe(first.value.Serial);
  });

  test('that are dead are left alone, and the old certificate too', async () => {
    await node.tell('dead-nginx', '');
    expect(await refused(second, WITH_NGINX)).toMatchObject({
      code: '33',
      step: 'check-node',
      Error: expect.stringContaining('nginx is not running'),
    });
    expect(await installedSerial()).toBe(first.value.Serial);
    expect(await node.told('config-tests')).toEqual([]);
  });

  test('that are dead for want of their first certificate get it, and the next run completes', async () => {
    await node.tell('dead-nginx', '');
    const { result } = await node.run({ ...(await node.offer(first)), ...WITH_NGINX });
    expect(result).toMatchObject({
      Outcome: 'failed',
      ExitCode: 33,
      Step: 'test-config',
      Error: expect.stringContaining('files are in place'),
    });
    expect(await installedSerial()).toBe(first.value.Serial);
    await node.untell('dead-nginx');
    expect((await node.install(first, 2, WITH_NGINX)).result.Outcome).toBe('installed');
  });

  test('find nothing of a first certificate that failed', async () => {
    await node.tell('config-fault', 'no');
    const { result } = await node.run({ ...(await node.offer(first)), ...WITH_NGINX });
    expect(result).toMatchObject({ Outcome: 'rolled-back', ExitCode: 60 });
    expect(Object.keys(await node.files()).sort()).toEqual([
      'etc/ssl',
      'etc/ssl/acm-export',
      'etc/ssl/acm-export/web',
      'etc/ssl/acm-export/web/.second-edition',
      'etc/ssl/acm-export/web/record',
      'etc/ssl/acm-export/web/versions',
      'etc/ssl/certs',
      AUTHORITIES,
      'etc/ssl/private',
    ]);
  });
});

describe('the port', () => {
  let server: TlsServer;
  beforeEach(async () => {
    // The real systemctl stand-in of the local cloud, which signals the real server.
    await copyFile(path.join(SHIMS, 'systemctl'), path.join(node.bin, 'systemctl'));
    await node.addCommand('sleep', 'exec /bin/sleep 0.02');
    server = await startTlsServer('node', { root: node.root, certName: 'web' });
  });
  afterEach(() => server.stop());

  test('must serve it twice in a row, since servers let old processes finish', async () => {
    const real = programOf('openssl') as string;
    await node.addCommand(
      'openssl',
      `[ "$1" = s_client ] || exec ${real} "$@"
       cat "$state/$(head -n 1 "$state/answers")" && sed -i 1d "$state/answers" && echo "$*" >>"$state/asked"`,
    );
    await node.tell('old', first.value.Certificate);
    const bundle = bundleOf(await issue(ca.intermediate, { names: ['one.example.com'] }), ca.chain);
    await node.tell('new', bundle.value.Certificate);
    await node.tell('answers', ['old', 'old', 'new', 'old', 'new', 'new', 'old', ''].join('\n'));
    await node.install(bundle, 1, { SSM_VerifyPort: '443' });
    expect(await node.told('answers')).toEqual(['old']);
    expect((await node.told('asked'))[0]).toBe('s_client -connect 127.0.0.1:443 -servername one.example.com');
  });

  test('that nobody serves fails the first install', async () => {
    await server.stop();
    const { result } = await node.run({ ...(await node.offer(first)), SSM_VerifyPort: String(server.port) });
    expect(result).toMatchObject({
      Outcome: 'rolled-back',
      ExitCode: 63,
      Error: expect.stringContaining('nobody listens on 127.0.0.1 or [::1]'),
    });
  });

  test('that does not serve the old certificate after the way back is told as such', async () => {
    const options = { SSM_ReloadServices: 'tls-server', SSM_VerifyPort: String(server.port) };
    await node.install(first, 1, options);
    await node.addCommand('systemctl', 'exit 0'); // All is well, says systemd.
    await node.addHook(
      '10-kill',
      `[ "$(readlink "$RENEWED_LINEAGE/../../current")" != versions/${second.value.Serial}-2 ] || kill -9 ${server.pid}`,
    );
    const { result } = await node.run({ ...(await node.offer(second, 2)), ...options });
    expect(result).toMatchObject({
      Outcome: 'failed',
      ExitCode: 70,
      Error: expect.stringContaining('does not serve what it served before'),
    });
  });

  test('whose server dies of the reload is told as such', async () => {
    const options = { SSM_ReloadServices: 'tls-server', SSM_VerifyPort: String(server.port) };
    await node.install(first, 1, options);
    await node.addHook('10-kill', `kill -9 ${server.pid}`);
    const { result } = await node.run({ ...(await node.offer(second, 2)), ...options });
    expect(result).toMatchObject({ Outcome: 'failed', ExitCode: 70 });
    expect(await installedSerial()).toBe(first.value.Serial);
  });
});

describe('hooks', () => {
  test('may print what they like', async () => {
    await node.addHook('a', 'echo "{}"; echo "more" >&2; cat');
    expect((await node.install(first)).stderr).toContain('  {}\n');
  });

  test.each<[string, () => Promise<unknown>]>([
    ['that others can write to', () => node.addHook('a', '', 0o757)],
    ['that its group can write to', () => node.addHook('a', '', 0o775)],
    [
      'in a folder that others can write to',
      async () => {
        await node.addHook('a', '');
        await chmod(node.path('etc/acm-export/hooks.d/web'), 0o777);
      },
    ],
    [
      'that is a link into a folder that others can write to',
      async () => {
        await node.addHook('x~', '');
        await mkdir(path.join(node.folder, 'open'));
        await chmod(path.join(node.folder, 'open'), 0o777);
        await cp(node.path('etc/acm-export/hooks.d/web/x~'), path.join(node.folder, 'open/hook'));
        await symlink(path.join(node.folder, 'open/hook'), node.path('etc/acm-export/hooks.d/web/a'));
      },
    ],
  ])('are refused before anything is switched: one %s', async (_, plant) => {
    expect(await refused(second, {}, plant)).toMatchObject({ code: '34', step: 'check-node' });
  });

  needs('root')('of another owner are refused', async () => {
    await node.addHook('a', '');
    await execute('chown', ['daemon', node.path('etc/acm-export/hooks.d/web/a')]);
    const { result } = await node.run(await node.offer(first));
    expect(result.ExitCode).toBe(34);
  });
});

describe('whatever is interrupted', () => {
  test('by kill -9 at any step leaves old or new whole, and the next run finishes', async () => {
    const steps = [...installScript().matchAll(/^ *step ([a-z-]+)$/gm)].map(([, name]) => name as string);
    expect(steps.length).toBeGreaterThan(12);
    await node.addHook('a', ':');
    let [present, next, rollout] = [first, second, 1];
    await node.install(present, rollout, { SSM_ExtraFormats: 'pkcs12' });
    for (const step of steps) {
      rollout++;
      const parameters = { ...(await node.offer(next, rollout)), SSM_ExtraFormats: 'pkcs12' };
      const { code } = await node.runUntil(step, parameters);
      expect([step, code]).toEqual([step, null]);
      expect([present.value.Serial, next.value.Serial]).toContain(await installedSerial());
      const { result } = await node.run(parameters);
      expect([step, result.Outcome]).toEqual([
        step,
        step === 'remove-old-versions' ? 'unchanged' : 'installed',
      ]);
      expect(await installedSerial()).toBe(next.value.Serial);
      [present, next] = [next, present];
    }
    const left = Object.keys(await node.files()).map((file) => path.basename(file));
    expect(left.filter((name) => /new/.test(name))).toEqual([]);
    expect(left.filter((name) => /-\d+(\.again)?$/.test(name)).length).toBeLessThanOrEqual(4);
  });

  test('or not, no server ever finds a path missing, also where the cut-off version is in use already', async () => {
    await node.install(first);
    for (const command of ['chmod', 'ln', 'mkdir', 'mv', 'openssl', 'rm', 'sha256sum', 'stat', 'sync']) {
      const real = programOf(command) as string;
      await node.addCommand(
        command,
        `for file in certs/web-fullchain.pem certs/web-chain.pem private/web-privkey.pem; do
           [ -s "$root/etc/ssl/$file" ] || echo "$file before ${command} $*" >>"$state/missing"
         done
         exec ${real} "$@"`,
      );
    }
    const parameters = await node.offer(second, 2);
    expect((await node.runUntil('test-config', parameters)).code).toBe(null);
    expect((await node.run(parameters)).result.Outcome).toBe('installed');
    expect(await node.told('missing')).toEqual([]);
  });

  test('by kill -9 between any two commands of the first install leaves nothing or all, and the next run finishes', async () => {
    const parameters = await node.offer(first);
    const empty = path.join(node.folder, 'empty');
    await cp(node.root, empty, { recursive: true });
    // Once through, to learn at which command files begin to change and at which all is done.
    const lister = path.join(node.folder, 'lister.sh');
    await writeFile(lister, 'set -T; trap \'echo "$((++commands)) $BASH_COMMAND" >>"$LIST"\' DEBUG\n');
    await node.run({ ...parameters, BASH_ENV: lister, LIST: path.join(node.state, 'commands') });
    const numberOf = async (command: string) =>
      Number.parseInt((await node.told('commands')).find((line) => line.endsWith(` ${command}`)) ?? '', 10);
    const [from, to] = [await numberOf('step check-node'), await numberOf('step remove-old-versions')];
    expect(to - from).toBeGreaterThan(50);

    const killer = path.join(node.folder, 'killer.sh');
    await writeFile(killer, "set -T; trap '((++commands != KILL_AT)) || kill -9 $$' DEBUG\n");
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: from, max: to }), async (killAt) => {
        await rm(node.root, { recursive: true });
        await cp(empty, node.root, { recursive: true });
        const { code } = await node.run({ ...parameters, BASH_ENV: killer, KILL_AT: String(killAt) });
        expect(code).toBe(null);
        expect([undefined, first.value.Serial]).toContain(await installedSerial());
        expect((await node.run(parameters)).code).toBe(0);
        expect(await installedSerial()).toBe(first.value.Serial);
      }),
      { numRuns: 8 },
    );
  });

  test('a run that finds the lock held gives up and says so', async () => {
    await node.addCommand('flock', 'exit 1');
    const { result } = await node.run(await node.offer(first));
    expect(result).toMatchObject({ ExitCode: 13, Step: 'take-lock' });
  });

  needs('mounts').each([
    [
      'full',
      'mount -t tmpfs -o size=60k tmpfs "$0" && cp -a "$1/." "$0/" && head -c 60000 /dev/zero >"$0/fill" 2>/dev/null; shift; exec "$@"',
    ],
    ['read-only', 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && shift && exec "$@"'],
  ])('a disk that is %s changes nothing', async (_, prepare) => {
    await node.install(first);
    await cp(node.ssl(), path.join(node.folder, 'copy'), { recursive: true, verbatimSymlinks: true });
    const wrap = [
      'unshare',
      ...MOUNT_NAMESPACE,
      'bash',
      '-c',
      prepare,
      node.ssl(),
      path.join(node.folder, 'copy'),
    ];
    const { result } = await node.run(await node.offer(second, 2), wrap);
    expect(result).toMatchObject({
      Outcome: 'failed',
      ExitCode: 50,
      Error: expect.stringMatching(/cannot write .*(No space left|Read-only)/),
    });
    expect(await installedSerial()).toBe(first.value.Serial);
  });

  test('an error that nobody foresaw is one line of result all the same', async () => {
    await node.addCommand('stat', 'exit 3');
    await node.install(first).catch(() => undefined);
    await node.addCommand('sha256sum', 'kill -9 $$');
    const { result } = await node.run({ ...(await node.offer(first)), SSM_KeyMode: '0640' });
    expect(result.Outcome).toBe('failed');
    expect(result.Error).toBeTruthy();
  });
});

describe('what the agent hands over', () => {
  test('no value of a parameter is ever run, or breaks the result line', async () => {
    const names = nodeParameters().map(({ name }) => name);
    const pwned = path.join(node.folder, 'PWNED');
    const hostile = fc.oneof(
      fc.constantFrom(
        `$(touch ${pwned})`,
        `\`touch ${pwned}\``,
        `"; touch ${pwned}; "`,
        `'; touch ${pwned} #`,
        `a[$(touch ${pwned})]`,
        `x\n touch ${pwned}`,
        '{{ CertName }}',
        '%s%n',
        '-n',
        '*',
        '\u{1f512}"\\',
      ),
      fc.string({ unit: 'binary', maxLength: 200 }).map((text) => text.replaceAll('\0', '')),
    );
    await node.offer(first);
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...names), hostile, async (name, value) => {
        const { code } = await node.run({ [`SSM_${name}`]: value });
        expect([0, 11, 36, 40]).toContain(code); // 36: a group that is well named and not there
        expect(existsSync(pwned)).toBe(false);
      }),
      { numRuns: 40 },
    );
  });
});

describe('a dry run', () => {
  /** The script asks for a mount namespace, which only root gets; a user is root in a namespace of his own. */
  const asRoot = ['unshare', ...MOUNT_NAMESPACE];
  const dryRun = async (bundle: Bundle, wrap: string[] = asRoot) =>
    node.run({ ...(await node.offer(bundle, 2)), SSM_ReloadServices: 'nginx', SSM_DryRun: 'true' }, wrap);

  needs('mounts')('that fails says why and changes nothing', async () => {
    await node.install(first);
    const before = await node.files();
    await node.tell('config-fault', 'nginx: [emerg] no');
    expect((await dryRun(second)).result).toMatchObject({
      Outcome: 'failed',
      ExitCode: 60,
      Error: expect.stringContaining('[emerg] no'),
    });
    expect(await node.files()).toEqual(before);
  });

  test('says so where the node does not allow it', async () => {
    await node.addCommand('unshare', 'echo "unshare: Operation not permitted" >&2; exit 1');
    await node.addCommand('mount', 'exit 1');
    expect((await dryRun(first, [])).result).toMatchObject({
      Outcome: 'failed',
      ExitCode: 14,
      Error: expect.stringContaining('refuses unshare'),
    });
    expect(Object.keys(await node.files())).toEqual([
      'etc/ssl',
      'etc/ssl/certs',
      'etc/ssl/private',
      AUTHORITIES,
    ]);
  });
});
