// What an install promises, each promise once. What it does in every single case is in tests/long.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, chown, copyFile, mkdir, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { SHIMS, type TlsServer } from 'local-cloud/node';
import { startTlsServer } from '../../local/tls-server.ts';
import { installScript } from '../../scripts/render.ts';
import { needs } from '../support/needs.ts';
import { MOUNT_NAMESPACE, programOf } from '../support/tools.ts';
import { until } from '../support/until.ts';
import type { Bundle } from './certificates.ts';
import { ca, first, mode, node, openssl, second, setUpInstalls } from './install-set-up.ts';
import { DEPLOYMENT, type Environment, SECRET } from './test-node.ts';

setUpInstalls();

const execute = promisify(execFile);

describe('an install', () => {
  test.each(['RSA-2048', 'P-256', 'P-384'] as const)(
    'puts a %s certificate and its key where servers find them',
    async (algorithm) => {
      const bundle = await ca.newBundle(algorithm);
      const { result, stderr } = await node.install(bundle, 7);
      expect(result).toEqual({
        Outcome: 'installed',
        ExitCode: 0,
        Serial: bundle.value.Serial,
        VersionId: bundle.versionId,
        RolloutNumber: 7,
        DeploymentId: DEPLOYMENT,
        CertName: 'web',
        CorrelationId: 'correlation-1',
        Seen: 'files',
      });
      expect(await node.servedFiles()).toBe(bundle.value.Serial);
      expect(await node.read('etc/ssl/certs/web-fullchain.pem')).toBe(bundle.value.Certificate + ca.chain);
      expect(await node.read('etc/ssl/certs/web-chain.pem')).toBe(ca.chain);
      expect(await readlink(node.base('current'))).toBe(`versions/${bundle.value.Serial}-7`);
      expect(await mode(node.ssl('private/web-privkey.pem'))).toBe('600');
      expect(await mode(node.ssl('certs/web-fullchain.pem'))).toBe('644');
      for (const line of stderr.trim().split('\n')) expect(line).toContain('CorrelationId=correlation-1');
    },
  );

  test('reads the version of the bundle that it was told, once', async () => {
    await node.install(first);
    expect(await node.told('aws')).toEqual([
      `secretsmanager get-secret-value --secret-id ${SECRET} --version-id ${first.versionId} --region eu-west-1 --query SecretString --output text`,
    ]);
  });

  test('changes nothing and reads no secret when all is in place', async () => {
    await node.install(first);
    const before = await node.files();
    const { result } = await node.install(first);
    expect(result).toMatchObject({ Outcome: 'unchanged', Serial: first.value.Serial });
    expect(await node.files()).toEqual(before);
    expect(await node.told('aws')).toHaveLength(1);
  });

  test.each([
    ['decrypted', {}, 'unchanged'],
    ['encrypted', { SSM_KeyFormat: 'encrypted' }, 'installed'],
    ['in a PKCS 12', { SSM_ExtraFormats: 'pkcs12' }, 'installed'],
  ])(
    'the same version in another bundle: a key that is %s has its passphrase',
    async (_, options, expected) => {
      await node.install(first, 1, options);
      const moved = { ...options, SSM_SecretArn: SECRET.replace('acm-export/', 'other/') };
      expect((await node.install(first, 2, moved)).result).toMatchObject({ Outcome: expected });
      const reference = await node.read('etc/ssl/acm-export/web/current/bundle-reference');
      expect(reference).toContain(expected === 'installed' ? moved.SSM_SecretArn : SECRET);
    },
  );

  test('adds a combined file and PKCS 12 that opens with the passphrase of the bundle', async () => {
    await node.install(first, 1, { SSM_ExtraFormats: 'combined-pem pkcs12' });
    const key = await node.read('etc/ssl/private/web-privkey.pem');
    expect(await node.read('etc/ssl/private/web-combined.pem')).toBe(
      first.value.Certificate + ca.chain + key,
    );
    const passphrase = path.join(node.folder, 'passphrase');
    await writeFile(passphrase, first.value.Passphrase);
    const opened = await openssl(
      'pkcs12',
      '-in',
      node.ssl('private/web.p12'),
      '-passin',
      `file:${passphrase}`,
      '-nodes',
    );
    expect(opened.match(/BEGIN CERTIFICATE/g)).toHaveLength(3);
    expect(opened).toContain('BEGIN PRIVATE KEY');
    for (const file of ['web-combined.pem', 'web.p12'])
      expect(await mode(node.ssl('private', file))).toBe('600');
  });

  test('leaves the key encrypted when told so, and names the version that holds its passphrase', async () => {
    await node.install(first, 1, { SSM_KeyFormat: 'encrypted' });
    expect(await node.read('etc/ssl/private/web-privkey.pem')).toBe(first.value.PrivateKey);
    const helper = path.join(import.meta.dirname, '../../docs/examples/read-passphrase.sh');
    const { stdout } = await execute('bash', [helper, 'web'], {
      env: { PATH: `${node.bin}:${process.env.PATH}`, ACM_EXPORT_ROOT: node.root },
    });
    expect(stdout).toBe(`${first.value.Passphrase}\n`);
    expect((await node.told('aws')).at(-1)).toContain(
      `--secret-id ${SECRET} --version-id ${first.versionId}`,
    );
  });

  test('keeps mode and group that it finds on the key, but never opens it to everybody', async () => {
    await node.install(first);
    await chmod(node.base('current/privkey.pem'), 0o664);
    await node.install(second, 2);
    expect(await mode(node.ssl('private/web-privkey.pem'))).toBe('640');
    await node.install(first, 3, { SSM_KeyMode: '0440' });
    expect(await mode(node.ssl('private/web-privkey.pem'))).toBe('440');
  });

  needs('root')('gives the key to the group that was asked for and keeps it', async () => {
    await node.install(first, 1, {
      SSM_KeyMode: '0640',
      SSM_KeyGroup: 'daemon',
      SSM_ExtraFormats: 'combined-pem',
    });
    await node.install(second, 2, { SSM_ExtraFormats: 'combined-pem' });
    for (const file of ['web-privkey.pem', 'web-combined.pem']) {
      const { stdout } = await execute('stat', ['-L', '-c', '%a %U:%G', node.ssl('private', file)]);
      expect(stdout).toBe('640 root:daemon\n');
    }
    const { result } = await node.run({ ...(await node.offer(first, 3)), SSM_KeyGroup: 'no-such-group' });
    expect(result).toMatchObject({ ExitCode: 36, Error: expect.stringContaining('no-such-group') });
    expect(await node.servedFiles()).toBe(second.value.Serial);
  });
});

describe('what was not there before', () => {
  test('a lower rollout number than the node has seen is refused', async () => {
    await node.install(first, 5);
    await node.install(first, 9); // Unchanged, but seen.
    const { result } = await node.run(await node.offer(second, 8));
    expect(result).toMatchObject({
      Outcome: 'failed',
      ExitCode: 30,
      Error: expect.stringContaining('rollout 9'),
      HeldNumber: 9,
    });
    expect(await node.servedFiles()).toBe(first.value.Serial);
  });

  test('a name that another deployment owns is refused, also for the same certificate', async () => {
    await node.install(first);
    const { result } = await node.run({ ...(await node.offer(first, 2)), SSM_DeploymentId: 'f'.repeat(24) });
    expect(result).toMatchObject({
      ExitCode: 31,
      Error: expect.stringMatching(`${DEPLOYMENT} here; .* TakeOver`),
    });
  });

  test('a name that another deployment owns is taken over where the order says so, and kept from then on', async () => {
    await node.install(first, 9);
    const [other, takeOver] = [{ SSM_DeploymentId: 'f'.repeat(24) }, { SSM_TakeOver: 'true' }];
    const { result } = await node.install(second, 2, { ...other, ...takeOver });
    expect(result).toMatchObject({ Outcome: 'installed', Note: expect.stringContaining(DEPLOYMENT) });
    expect(await node.servedFiles()).toBe(second.value.Serial);
    expect((await node.run(await node.offer(first, 10))).result.ExitCode).toBe(31);
    // Nothing of it is noted: the option may be taken away again, and the numbers count as ever.
    expect((await node.install(second, 3, other)).result).toMatchObject({ Outcome: 'unchanged' });
    expect((await node.run({ ...(await node.offer(first, 1)), ...other, ...takeOver })).result.ExitCode).toBe(
      30,
    );
  });
});

describe('services', () => {
  const WITH_NGINX = { SSM_ReloadServices: 'nginx app@1.service' };
  const versionOf = (bundle: Bundle, rollout: number) => `versions/${bundle.value.Serial}-${rollout}`;

  test('are tested with the new certificate, then reloaded, never restarted', async () => {
    await node.install(first, 1, { SSM_ReloadServices: 'nginx apache2.service haproxy app' });
    const version = versionOf(first, 1);
    expect(await node.told('config-tests')).toEqual([
      `nginx -t ${version}`,
      `apachectl configtest ${version}`,
      `haproxy -c -f ${node.root}/etc/haproxy/haproxy.cfg ${version}`,
    ]);
    const told = await node.told('systemctl');
    expect(told.filter((line) => line.startsWith('re'))).toEqual(
      ['nginx', 'apache2.service', 'haproxy', 'app'].map((unit) => `reload ${unit} ${version}`),
    );
  });

  test('keep the old certificate when the configuration test fails', async () => {
    await node.install(first, 1, WITH_NGINX);
    await node.tell(
      'config-fault',
      'nginx: [warn] old option\nnginx: [emerg] cannot load "key"\nnginx: configuration test failed\n',
    );
    const { result } = await node.run({ ...(await node.offer(second, 2)), ...WITH_NGINX });
    expect(result).toMatchObject({
      Outcome: 'rolled-back',
      ExitCode: 60,
      Step: 'test-config',
      Error: "the configuration test of nginx failed: nginx: [emerg] cannot load 'key'",
    });
    expect(await node.servedFiles()).toBe(first.value.Serial);
    expect(existsSync(node.base(versionOf(second, 2)))).toBe(false);
    // Nothing was loaded, so nothing is loaded again.
    expect((await node.told('systemctl')).filter((line) => line.startsWith('reload'))).toHaveLength(2);
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

  test('must serve the new certificate', async () => {
    const options = { SSM_ReloadServices: 'tls-server', SSM_VerifyPort: String(server.port) };
    expect((await node.install(first, 1, options)).result.Seen).toBe('port');
    expect(await server.servedSerial('www.example.com')).toBe(first.value.Serial);
  });

  test('that serves something else makes the install go back, and what was served is served again', async () => {
    const options = { SSM_ReloadServices: 'tls-server', SSM_VerifyPort: String(server.port) };
    await node.install(first, 1, options);
    // A hook that restores the old files behind the back of the install: the server then loads the wrong ones.
    await node.addHook('10-sabotage', `cp ${node.base()}/versions/*-1/*.pem ${node.base()}/current/; exit 0`);
    const { result } = await node.run({ ...(await node.offer(second, 2)), ...options });
    expect(result).toMatchObject({
      Outcome: 'rolled-back',
      ExitCode: 63,
      Error: `port ${server.port} does not serve serial ${second.value.Serial}: it serves serial ${first.value.Serial}`,
    });
    expect(await server.servedSerial('www.example.com')).toBe(first.value.Serial);
  });
});

describe('hooks', () => {
  test('run in byte order with the environment of certbot, after the switch and before the reload', async () => {
    for (const name of ['b', 'a', 'B', '0-old~'])
      await node.addHook(name, `echo "$0 $RENEWED_DOMAINS" >>"$state/hooks"`);
    await node.addHook(
      'c',
      'openssl x509 -noout -serial -in "$RENEWED_LINEAGE/cert.pem" >>"$state/hooks"; ls "$RENEWED_LINEAGE/" >>"$state/hooks"',
    );
    await node.addHook('d-not-executable', 'exit 1', 0o644);
    await node.install(first);
    const folder = node.path('etc/acm-export/hooks.d/web');
    expect(await node.told('hooks')).toEqual([
      ...['B', 'a', 'b'].map((name) => `${folder}/${name} www.example.com *.example.com`),
      `serial=${first.value.Serial.toUpperCase()}`,
      'bundle-reference',
      'cert.pem',
      'chain.pem',
      'fullchain.pem',
      'privkey.pem',
    ]);
  });

  test('that fail make the install go back, and the hooks before them run again for the old certificate', async () => {
    await node.install(first);
    await node.addHook('a', 'readlink "$RENEWED_LINEAGE/../../current" >>"$state/hooks"');
    await node.addHook('b', 'exit 7');
    const { result } = await node.run(await node.offer(second, 2));
    expect(result).toMatchObject({
      Outcome: 'rolled-back',
      ExitCode: 61,
      Error: expect.stringMatching(/hooks\.d\/web\/b failed with exit status 7/),
    });
    expect(await node.told('hooks')).toEqual([
      `versions/${second.value.Serial}-2`,
      `versions/${first.value.Serial}-1`,
    ]);
    expect(await node.servedFiles()).toBe(first.value.Serial);
  });
});

describe('whatever is interrupted', () => {
  test('by a signal goes back and says so', async () => {
    await node.install(first);
    await node.addHook('a', 'touch "$state/running"; /bin/sleep 0.5');
    const { child, ended } = node.start(await node.offer(second, 2));
    await until('the hook', () => existsSync(path.join(node.state, 'running')));
    child.kill('SIGTERM');
    const { result } = await ended;
    expect(result).toMatchObject({ Outcome: 'rolled-back', ExitCode: 71, Step: 'run-hooks' });
    expect(await node.servedFiles()).toBe(first.value.Serial);
  });

  test('two runs at once install once', async () => {
    const parameters = await node.offer(first);
    const runs = await Promise.all([node.run(parameters), node.run(parameters), node.run(parameters)]);
    expect(runs.map(({ result }) => result.Outcome).sort()).toEqual(['installed', 'unchanged', 'unchanged']);
  });
});

describe('what the agent hands over', () => {
  test('an agent that is too old is refused by name', async () => {
    const { code, result } = await node.run({
      SSM_CorrelationId: undefined,
      SSM_CertName: undefined,
      SSM_SecretArn: undefined,
    });
    expect(result).toMatchObject({ ExitCode: 10, Error: expect.stringContaining('3.3.2746.0') });
    // It is never the canary: so it does not know that it is none, and counts for nothing against MaxErrors.
    expect(code).toBe(0);
  });

  test('what the AWS CLI says is in the result in characters that JSON takes as they are', async () => {
    await node.tell('aws-errors', 'it said "no" and \\n\tand \u0007 and \u00e4\n');
    const { result } = await node.run(await node.offer(first));
    expect(result).toMatchObject({
      ExitCode: 25,
      Error: expect.stringContaining("it said 'no' and n and  and "),
    });
  });

  test('a missing tool is named', async () => {
    const tools = path.join(node.folder, 'tools');
    await mkdir(tools);
    for (const tool of ['bash', 'cp', 'chmod']) {
      await symlink(programOf(tool) as string, path.join(tools, tool));
    }
    const { result } = await node.run({ PATH: tools, SSM_ReloadServices: 'nginx' });
    expect(result).toMatchObject({
      ExitCode: 12,
      Error: expect.stringMatching(/lacks aws .*flock.* openssl .*timeout$/),
    });
  });

  test('a missing program that the order names is told apart from a tool that every install needs', async () => {
    const tools = path.join(node.folder, 'tools');
    await mkdir(tools);
    for (const tool of (/tools='([^']+)'/.exec(installScript())?.[1] ?? '').split(' ').concat('bash')) {
      await symlink(programOf(tool) ?? path.join(node.bin, tool), path.join(tools, tool));
    }
    const { result } = await node.run({ PATH: tools, SSM_ReloadServices: 'nginx', SSM_AfterCanary: 'true' });
    expect(result).toMatchObject({ ExitCode: 33, Error: 'this node lacks systemctl nginx' });
  });

  test.each([
    ['SSM_CertName', 'a..b'],
    ['SSM_CertName', '../a'],
    ['SSM_CertName', 'a/b'],
    ['SSM_CertName', ''],
    ['SSM_RolloutNumber', '08'],
    ['SSM_RolloutNumber', 'x[$(touch PWNED)]'],
    ['SSM_VerifyPort', '65536'],
    ['SSM_VersionId', `${'0'.repeat(64)}\n`],
    ['SSM_ReloadServices', 'a b c d e f'],
    ['SSM_ReloadServices', '--now a'],
    ['SSM_KeyMode', '0644'],
    ['SSM_ExtraFormats', 'jks'],
    ['SSM_DryRun', 'maybe'],
    ['SSM_VerifyName', 'a..b'],
    ['SSM_VerifyProtocol', 'http'],
    ['SSM_KeyGroup', '0'],
    // The limits to names hold for the bundle, too.
    ['SSM_SecretArn', SECRET.replace('/web/', '/payments/')],
    ['SSM_SecretArn', SECRET.replace('/web/', '/web-2/')],
    ['SSM_SecretArn', SECRET.replace('/web/', '/web/payments/')],
    ['SSM_SecretArn', SECRET.replace(DEPLOYMENT, 'f'.repeat(24))],
    ['SSM_SecretArn', SECRET.slice(0, -1)],
    ['SSM_SecretArn', `${SECRET}x`],
  ])('%s=%j is refused by name', async (name, value) => {
    const { result } = await node.run({ [name]: value });
    expect(result).toMatchObject({ ExitCode: 11, Error: expect.stringContaining(name.slice(4)) });
  });

  const of = (secretName: string) => SECRET.replace(/(?<=:secret:).*/, secretName);
  test.each([
    ['another name', of(`acm-export/mail/${DEPLOYMENT}-AbCdEf`)],
    ['a name that begins the same', of(`acm-export/web2/${DEPLOYMENT}-AbCdEf`)],
    ['a name that ends the same', of(`acm-export/2web/${DEPLOYMENT}-AbCdEf`)],
    ['another deployment', of(`acm-export/web/${'f'.repeat(24)}-AbCdEf`)],
    ['a longer id', of(`acm-export/web/${DEPLOYMENT}0-AbCdEf`)],
    ['no prefix', of(`/web/${DEPLOYMENT}-AbCdEf`)],
    ['a folder more', of(`payments/acm-export/web/${DEPLOYMENT}-AbCdEf`)],
    ['a longer suffix', of(`acm-export/web/${DEPLOYMENT}-AbCdEf-GhIjKl`)],
    ['no suffix', of(`acm-export/web/${DEPLOYMENT}`)],
  ])('a bundle of %s is refused, whatever is in it', async (_what, SSM_SecretArn) => {
    const { result } = await node.run({ ...(await node.offer(first)), SSM_SecretArn });
    expect(result).toMatchObject({ ExitCode: 11, Error: expect.stringContaining('SecretArn') });
    expect(await node.told('aws')).toEqual([]);
  });

  test('a dot in a name stands for itself alone in the name of the bundle', async () => {
    const names = { SSM_CertName: 'a.b', SSM_SecretArn: of(`acm-export/axb/${DEPLOYMENT}-AbCdEf`) };
    expect((await node.run({ ...(await node.offer(first)), ...names })).result.ExitCode).toBe(11);
    const right = { ...names, SSM_SecretArn: of(`acm-export/a.b/${DEPLOYMENT}-AbCdEf`) };
    expect((await node.run({ ...(await node.offer(first)), ...right })).result.ExitCode).toBe(0);
  });
});

describe('a node that the order leaves out', () => {
  // As the test's agent says, without its i-.
  const ID = '0123456789abcdef0';
  const run = async (list: string, environment: Environment = {}) =>
    node.run({ ...(await node.offer(first)), SSM_ExcludeNodeIds: list, ...environment });

  test.each([ID, `m${ID} ${ID}`, `${ID} 01234567`])(
    'changes nothing and reads no secret: %s',
    async (list) => {
      const before = await node.files();
      const { result } = await run(list, { SSM_AfterCanary: 'true' });
      expect(result).toMatchObject({ Outcome: 'failed', ExitCode: 15 });
      expect(await node.files()).toEqual(before);
      expect(await node.told('aws')).toEqual([]);
    },
  );

  test.each([`m${ID}`, '0123456789abcdef1', '01234567', ''])('is no other one: %j', async (list) => {
    expect((await run(list)).result).toMatchObject({ Outcome: 'installed' });
  });

  test('is a hybrid one by its whole id', async () => {
    const hybrid = { AWS_SSM_INSTANCE_ID: `mi-${ID}` };
    expect((await run(`m${ID}`, hybrid)).result).toMatchObject({ ExitCode: 15 });
    expect((await run(ID, hybrid)).result).toMatchObject({ Outcome: 'installed' });
  });

  test('a node that does not know its own id installs nothing where some are left out', async () => {
    const nameless = { AWS_SSM_INSTANCE_ID: undefined };
    expect((await run(ID, nameless)).result).toMatchObject({ Outcome: 'failed', ExitCode: 1 });
    expect((await run('', nameless)).result).toMatchObject({ Outcome: 'installed' });
  });
});

describe("the server's own list of names", () => {
  const list = () => node.path('etc/acm-export/allowed-names');
  const write = async (text: string) => {
    await mkdir(path.dirname(list()), { recursive: true });
    await writeFile(list(), text);
  };
  const untouched = async () => {
    expect(await node.told('aws')).toEqual([]);
    expect(existsSync(node.base())).toBe(false);
    expect(existsSync(node.path('run/acm-export'))).toBe(false);
  };

  test.each([
    ['the name', 'web\n'],
    ['its beginning and a star', 'we*\n'],
    ['the whole name and a star', 'web*\n'],
    ['a star', '*\n'],
    ['the name behind others, remarks and empty lines', '# of the web team\n\napi\n  web  # ours\n\t\n'],
    ['the name without an end of its line', 'api\nweb'],
    ['lines that end as on Windows', 'api\r\nweb\r\n'],
  ])('%s: it is installed', async (_, text) => {
    await write(text);
    expect((await node.install(first)).result).toMatchObject({ Outcome: 'installed' });
  });

  test.each([
    ['another name', 'api\n'],
    ['a name that begins like it', 'web-1\n'],
    ['a name that it begins with', 'we\n'],
    ['a name that it ends with', 'eb\n'],
    ['the name in other letters', 'Web\nWEB*\n'],
    ['a name that a dot would stand for in a pattern', 'w.b\n'],
    ['a longer beginning', 'web-*\n'],
    ['a remark with the name', '#web\napi # web\n'],
    ['nothing', ''],
    ['remarks alone', '# none\n\n'],
  ])('%s: nothing is read or changed, and it says whose rule that is', async (_, text) => {
    await write(text);
    const { result } = await node.run(await node.offer(first));
    expect(result).toMatchObject({ Outcome: 'failed', ExitCode: 37, Step: 'check-allowed-names' });
    expect(result.Error).toBe(
      `the server's own ${list()} does not allow web: the administrator of the server may add it`,
    );
    await untouched();
  });

  test.each([
    ['a star in the middle', 'web\nw*b\n'],
    ['two names in a line', 'web api\n'],
    ['a comma', 'web,api\n'],
    ['a path', 'web\n../api\n'],
    ['a character class', 'web\n[a-z]*\n'],
    ['a negation, which is none here', 'web\n!api\n'],
    ['a line in the middle that is none, before the name', 'a b\nweb\n'],
  ])('a line that is no name (%s) makes the whole list count for nothing', async (_, text) => {
    await write(text);
    const { result } = await node.run(await node.offer(first));
    expect(result).toMatchObject({
      ExitCode: 37,
      Error: `the server's own ${list()} has a line that is no name`,
    });
    await untouched();
  });

  const mistrusted: [string, () => Promise<unknown>][] = [
    ['others may write to the file', () => chmod(list(), 0o666)],
    ['its group may write to the file', () => chmod(list(), 0o664)],
    ['others may write to its folder', () => chmod(path.dirname(list()), 0o777)],
    [
      'it is a link',
      async () => {
        await copyFile(list(), `${list()}.real`);
        await rm(list());
        await symlink(`${list()}.real`, list());
      },
    ],
    [
      'it is a link that leads nowhere',
      async () => {
        await rm(list());
        await symlink('/nowhere', list());
      },
    ],
    [
      'it is a folder',
      async () => {
        await rm(list());
        await mkdir(list());
      },
    ],
  ];
  test.each(mistrusted)('%s: it is refused, and not ignored', async (_, change) => {
    await write('web\n');
    await change();
    const { result } = await node.run(await node.offer(first));
    expect(result).toMatchObject({
      ExitCode: 37,
      Error: `the server's own ${list()} is no file that only root can write to`,
    });
    await untouched();
  });

  needs('root')('it belongs to another user: it is refused, and not ignored', async () => {
    await write('web\n');
    await chown(list(), 65534, 65534);
    expect((await node.run(await node.offer(first))).result).toMatchObject({ ExitCode: 37 });
    await untouched();
  });

  test('what is installed stays as it is once its name is taken off the list', async () => {
    await node.install(first);
    await write('api\n');
    const before = await node.files();
    expect((await node.run(await node.offer(second, 2))).result).toMatchObject({ ExitCode: 37 });
    // Also where there would be nothing to do.
    expect((await node.run(await node.offer(first, 3))).result).toMatchObject({ ExitCode: 37 });
    expect(await node.files()).toEqual(before);
    expect(await node.told('aws')).toHaveLength(1);
  });
});

describe('a fault of the node itself', () => {
  const DENIED =
    'An error occurred (AccessDeniedException) when calling the GetSecretValue operation: User: arn:aws:sts::111122223333:assumed-role/Web/i-1 is not authorized\n';
  const faults: Record<number, () => Promise<unknown>> = {
    20: () => node.tell('aws-errors', DENIED),
    30: () => node.install(second, 9),
    31: () => node.install(second, 1, { SSM_DeploymentId: 'f'.repeat(24) }),
    32: async () => {
      await mkdir(node.ssl('acm-export'));
      await symlink('/tmp', node.base());
    },
    34: () => node.addHook('50-open', 'true', 0o777),
    50: () => node.addCommand('sync', 'echo "No space left on device" >&2; exit 1'),
  };

  test.each(Object.entries(faults))(
    'exit code %s, is an error of the canary, and none after it: the result says the same',
    async (code, breakIt) => {
      await breakIt();
      const parameters = await node.offer(first, 5);
      const canary = await node.run(parameters);
      expect([canary.code, canary.result.Outcome]).toEqual([Number(code), 'failed']);
      if (code === '20') await node.tell('aws-errors', DENIED);
      const after = await node.run({ ...parameters, SSM_AfterCanary: 'true' });
      expect([after.code, after.result]).toEqual([0, canary.result]);
    },
  );

  test.each<[number, Environment, () => Promise<unknown>]>([
    [
      33,
      { SSM_ReloadServices: 'nginx' },
      async () => {
        await node.install(second);
        await node.tell('dead-nginx', '');
      },
    ],
    [35, { SSM_ReloadServices: 'nginx' }, () => node.tell('no-reload-nginx', '')],
    [36, { SSM_KeyGroup: 'no-such-group' }, async () => {}],
    [60, { SSM_ReloadServices: 'nginx' }, () => node.tell('config-fault', 'nginx: [emerg] no')],
    [61, {}, () => node.addHook('50-fails', 'exit 1')],
    [62, { SSM_ReloadServices: 'nginx' }, () => node.tell('reload-faults', 'once\n')],
  ])(
    'is none that the order may cause, exit code %i: it is an error on every node',
    async (code, environment, breakIt) => {
      await breakIt();
      const run = await node.run({
        ...(await node.offer(first, 5)),
        ...environment,
        SSM_AfterCanary: 'true',
      });
      expect([run.code, run.result.ExitCode]).toEqual([code, code]);
    },
  );

  test('is none once the new version was switched on: what was taken back is an error', async () => {
    await node.install(second);
    await node.addHook('50-copy', 'true');
    await writeFile(node.base('live'), 'no folder');
    const run = await node.run({ ...(await node.offer(first, 2)), SSM_AfterCanary: 'true' });
    expect([run.code, run.result]).toMatchObject([50, { Outcome: 'rolled-back', ExitCode: 50 }]);
  });
});

describe('a dry run', () => {
  /** The script asks for a mount namespace, which only root gets; a user is root in a namespace of his own. */
  const asRoot = ['unshare', ...MOUNT_NAMESPACE];
  const dryRun = async (bundle: Bundle, wrap: string[] = asRoot) =>
    node.run({ ...(await node.offer(bundle, 2)), SSM_ReloadServices: 'nginx', SSM_DryRun: 'true' }, wrap);

  needs('mounts').each([
    ['over an installed certificate', async () => node.install(first)],
    ['before the first one', async () => undefined],
  ])('%s tests the new one and changes nothing', async (_, prepare) => {
    await prepare();
    await node.addCommand(
      'nginx',
      'openssl x509 -noout -serial -in "$root/etc/ssl/certs/web-fullchain.pem" >>"$state/tested"; openssl pkey -noout -in "$root/etc/ssl/private/web-privkey.pem"',
    );
    const before = await node.files();
    const { result, stderr } = await dryRun(second);
    expect([result.Outcome, stderr]).toEqual(['dry-run-passed', expect.anything()]);
    expect(await node.told('tested')).toEqual([`serial=${second.value.Serial.toUpperCase()}`]);
    expect(await node.files()).toEqual(before);
    expect((await node.told('systemctl')).some((line) => line.startsWith('reload'))).toBe(false);
  });
});

test('the journal gets every line, with the correlation id', async () => {
  const { stderr } = await node.install(first);
  const lines = stderr.trim().split('\n');
  // The journal's process ends a moment after the script.
  await until('the whole journal', async () => (await node.told('journal')).length >= lines.length);
  expect(await node.told('journal')).toEqual(lines);
});
