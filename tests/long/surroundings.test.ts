import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import {
  chmod,
  copyFile,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { SHIMS } from 'local-cloud/node';
import { startTlsServer } from '../../local/tls-server.ts';
import {
  type Bundle,
  bundleOf,
  createAuthority,
  createChain,
  daysFromNow,
  issue,
} from '../ssm-documents/certificates.ts';
import { ca, first, mode, node, second, setUpInstalls } from '../ssm-documents/install-set-up.ts';
import { DIALOGUES, startStarttlsServer } from '../ssm-documents/starttls-server.ts';
import { AUTHORITIES, DEPLOYMENT, type Environment } from '../ssm-documents/test-node.ts';
import { needs } from '../support/needs.ts';
import { MOUNT_NAMESPACE, programOf } from '../support/tools.ts';

setUpInstalls();

// What a server may have around the install that a test node of one's own making has not: another umask, other
// folders, private authorities, ports that answer strangely, files that a backup brought back.

const execute = promisify(execFile);

const run = async (bundle: Bundle, rollout: number, environment: Environment = {}) =>
  (await node.run({ ...(await node.offer(bundle, rollout)), ...environment })).result;

describe('the caller decides nothing', () => {
  const umasks = ['000', '022', '027', '077', '777'];
  const withUmask = (umask: string) => ['/bin/bash', '-c', `umask ${umask}; exec "$@"`, 'start'];

  async function expectModes() {
    for (const folder of ['', 'versions', 'live', 'current/'])
      expect([folder, await mode(node.base(folder))]).toEqual([folder, '755']);
    expect(await mode(node.ssl('acm-export'))).toBe('755');
    for (const file of ['fullchain.pem', 'chain.pem', 'cert.pem'])
      expect([file, await mode(node.base('current', file))]).toEqual([file, '644']);
    expect(await mode(node.base('current/privkey.pem'))).toBe('600');
    expect(await mode(node.path('run/acm-export'))).toBe('700');
    expect(await mode(node.path('run/acm-export/install.lock'))).toBe('600');
  }

  test.each(umasks)('umask %s: modes are those of the script, in two installs', async (umask) => {
    await node.addHook('a', ':');
    for (const [bundle, rollout] of [
      [first, 1],
      [second, 2],
    ] as const) {
      const { result } = await node.run(await node.offer(bundle, rollout), withUmask(umask));
      expect(result.Outcome).toBe('installed');
      await expectModes();
    }
  });

  test.each(umasks)(
    'umask %s: what all could read before it was adopted, all can read afterwards',
    async (umask) => {
      await plainFiles(await issue(ca.intermediate));
      await node.addHook('a', ':');
      const { result } = await node.run(await node.offer(first), withUmask(umask));
      expect(result.Outcome).toBe('installed');
      expect(await mode(node.base('versions/00-0'))).toBe('755');
      expect(await mode(node.base('versions/00-0/fullchain.pem'))).toBe('644');
      await expectModes();
    },
  );

  test.each(['0755', '0777'])(
    'a lock folder of mode %s, as the first edition left it, is closed',
    async (given) => {
      const folder = node.path('run/acm-export');
      await mkdir(folder, { recursive: true });
      await writeFile(path.join(folder, 'lock'), '');
      await chmod(folder, Number.parseInt(given, 8));
      if (given === '0777') await writeFile(path.join(folder, 'planted'), '');
      await node.install(first);
      expect(await mode(folder)).toBe('700');
      expect(await readdir(folder)).not.toContain('planted');
    },
  );

  needs('root')('nobody but root opens the lock', async () => {
    await node.install(first);
    const lock = node.path('run/acm-export/install.lock');
    const asNobody = ['--reuid', '65534', '--regid', '65534', '--clear-groups'];
    await expect(execute('setpriv', [...asNobody, 'flock', lock, 'true'])).rejects.toThrow(
      /ermission denied/,
    );
  });
});

async function plainFiles(of: { certificate: string; key: Buffer }, chain = ca.chain) {
  const lines = of.key.toString('base64').match(/.{1,64}/g) ?? [];
  await writeFile(node.ssl('certs/web-fullchain.pem'), of.certificate);
  await writeFile(node.ssl('certs/web-chain.pem'), chain);
  await writeFile(
    node.ssl('private/web-privkey.pem'),
    `-----BEGIN PRIVATE KEY-----\n${lines.join('\n')}\n-----END PRIVATE KEY-----\n`,
    { mode: 0o600 },
  );
}

describe('what runs beside the script', () => {
  const SEEN = `
    env | sort >"$state/environment"; umask >"$state/umask"; ulimit -c >"$state/core"
    for fd in 3 7 8 9; do [ ! -e /proc/$$/fd/$fd ] || echo $fd; done >"$state/descriptors"`;

  test('a hook has the environment and the umask of the agent, none of our descriptors, and no core file', async () => {
    await node.addHook('a', SEEN);
    // The lock of the first edition, which is held as well.
    await mkdir(node.path('run/acm-export'), { mode: 0o700 });
    await writeFile(node.path('run/acm-export/lock'), '');
    const agents = {
      AWS_CONFIG_FILE: '/root/.aws/other-config',
      AWS_PROFILE: 'backup',
      AWS_SHARED_CREDENTIALS_FILE: '/var/lib/amazon/ssm/credentials',
      LC_ALL: 'C.UTF-8',
      BUNDLE: 'exported by the caller',
      FIELD: 'exported by the caller',
      ENCRYPTED_KEY: 'exported by the caller',
      PASSPHRASE: 'exported by the caller',
      PRIVATE_KEY: 'exported by the caller',
    };
    const wrap = ['/bin/bash', '-c', 'umask 027; ulimit -c unlimited 2>/dev/null; exec "$@"', 'start'];
    const { result } = await node.run({ ...(await node.offer(first)), ...agents }, wrap);
    expect(result.Outcome).toBe('installed');
    const environment = await node.told('environment');
    for (const name of ['AWS_CONFIG_FILE', 'AWS_PROFILE', 'AWS_SHARED_CREDENTIALS_FILE', 'LC_ALL'] as const) {
      expect(environment).toContain(`${name}=${agents[name]}`);
    }
    expect(environment).toContain('ACM_EXPORT_CERT_NAME=web');
    expect(environment.join('\n')).not.toContain('AWS_PAGER');
    const key = (await node.read('etc/ssl/private/web-privkey.pem')).split('\n')[1] as string;
    for (const secret of [key, first.value.Passphrase, first.value.PrivateKey.split('\n')[1] as string]) {
      expect(environment.join('\n')).not.toContain(secret);
    }
    expect(await node.told('umask')).toEqual(['0027']);
    expect(await node.told('core')).toEqual(['0']);
    expect(await node.told('descriptors')).toEqual([]);
  });

  test('a reload has none of our descriptors', async () => {
    await node.addCommand('systemctl', `[ "$1" != reload ] || { ${SEEN}\n}`);
    await node.install(first, 1, { SSM_ReloadServices: 'app' });
    expect(await node.told('descriptors')).toEqual([]);
    expect(await node.told('environment')).toContain(`SSM_CertName=web`);
  });

  test('the AWS CLI has none of our descriptors: what it leaves behind holds nothing', async () => {
    await mkdir(node.path('run/acm-export'), { mode: 0o700 });
    await writeFile(node.path('run/acm-export/lock'), '');
    await node.addCommand('aws', `{ ${SEEN}\n}; cat "$state/bundle"`);
    await node.install(first);
    expect(await node.told('descriptors')).toEqual([]);
    expect(await node.told('core')).toEqual(['0']);
  });

  test('a key that a program prints while it fails is in no message', async () => {
    const print = 'cat "$root/etc/ssl/private/web-privkey.pem" >&2; exit 1';
    await node.install(first);
    for (const [name, option] of [
      ['nginx', 'nginx'],
      ['systemctl', 'app'],
    ] as const) {
      await node.addCommand(name, name === 'systemctl' ? `[ "$1" != reload ] || { ${print}; }` : print);
      const key = (await node.read('etc/ssl/private/web-privkey.pem')).split('\n')[1] as string;
      const { stdout, stderr } = await node.run({
        ...(await node.offer(second, 2)),
        SSM_ReloadServices: option,
      });
      expect(stdout + stderr).not.toContain(key);
      expect(stdout + stderr).not.toContain('PRIVATE KEY');
    }
  });

  test('shell options that the caller exported change nothing', async () => {
    const options = 'allexport:braceexpand:hashall:interactive-comments:posix:xtrace';
    const { stderr } = await node.install(first, 1, {
      SHELLOPTS: options,
      BASHOPTS: 'failglob:nullglob:nocasematch',
      GLOBIGNORE: '*',
    });
    expect(stderr).not.toMatch(/^\++ (open_channels|main)/m);
    expect(await node.servedFiles()).toBe(first.value.Serial);
  });

  test('the AWS CLI finds nothing of what is configured for root', async () => {
    await node.install(first, 1, { AWS_PROFILE: 'backup', AWS_CONFIG_FILE: '/root/.aws/other-config' });
    const environment = await node.told('aws-environment');
    expect(environment).toContain('AWS_CONFIG_FILE=/dev/null');
    expect(environment.join('\n')).not.toContain('AWS_PROFILE');
  });
});

describe('hooks as certbot has them', () => {
  test('five common kinds run unchanged, with two certificates on the node', async () => {
    const target = node.path('srv');
    await mkdir(target);
    // A combined file for a proxy, named after the certificate.
    const combined = `name=$(basename "$RENEWED_LINEAGE")
      umask 077; cat "$RENEWED_LINEAGE/fullchain.pem" "$RENEWED_LINEAGE/privkey.pem" >"${target}/$name.pem"`;
    // A copy for a mail server, with an owner and a mode of its own.
    const copy = `for file in fullchain privkey; do
        install -m 0640 "$RENEWED_LINEAGE/$file.pem" "${target}/mail-$file.pem"; done`;
    // One case per certificate.
    const cases = `case "\${RENEWED_LINEAGE##*/}" in
        web) echo web >>"${target}/cases" ;;
        *) exit 9 ;;
      esac`;
    // One action per domain.
    const domains = `for domain in $RENEWED_DOMAINS; do echo "$domain" >>"${target}/domains"; done`;
    // An upload with a profile of root's own AWS configuration.
    const upload = `aws --profile "$AWS_PROFILE" s3 cp "$RENEWED_LINEAGE/fullchain.pem" s3://bucket/ && echo "$AWS_CONFIG_FILE" >"${target}/upload"`;
    for (const [name, body] of Object.entries({ combined, copy, cases, domains, upload }))
      await node.addHook(name, `set -f; ${body}`);
    await node.addHook('combined', combined, 0o755, 'hooks.d/api');

    const environment = { AWS_PROFILE: 'backup', AWS_CONFIG_FILE: '/etc/aws/config' };
    await node.install(first, 1, environment);
    await node.install(second, 1, { SSM_CertName: 'api', SSM_DeploymentId: 'f'.repeat(24) });
    const serialIn = async (file: string) =>
      (await execute('openssl', ['x509', '-noout', '-serial', '-in', path.join(target, file)])).stdout.trim();
    expect(await serialIn('web.pem')).toBe(`serial=${first.value.Serial.toUpperCase()}`);
    expect(await serialIn('api.pem')).toBe(`serial=${second.value.Serial.toUpperCase()}`);
    expect(await serialIn('mail-fullchain.pem')).toBe(`serial=${first.value.Serial.toUpperCase()}`);
    expect(await mode(path.join(target, 'mail-privkey.pem'))).toBe('640');
    expect(await readFile(path.join(target, 'cases'), 'utf8')).toBe('web\n');
    expect(await readFile(path.join(target, 'domains'), 'utf8')).toBe('www.example.com\n*.example.com\n');
    expect(await readFile(path.join(target, 'upload'), 'utf8')).toBe('/etc/aws/config\n');
  });

  test('a hook of one name does not see another certificate; one for all names is told the name', async () => {
    await node.addHook('own', 'echo "own $ACM_EXPORT_CERT_NAME" >>"$state/hooks"');
    await node.addHook(
      'all',
      'echo "all $ACM_EXPORT_CERT_NAME $RENEWED_LINEAGE" >>"$state/hooks"',
      0o755,
      'hooks-for-all-names.d',
    );
    await node.addHook('first-edition', 'echo "hooks.d itself" >>"$state/hooks"', 0o755, 'hooks.d');
    const { result } = await node.install(first);
    expect(result.Note).toMatch(/hooks in .*hooks\.d itself do not run for this name: move each/);
    await node.install(second, 1, { SSM_CertName: 'api', SSM_DeploymentId: 'f'.repeat(24) });
    await node.install(second, 2); // The name is held now, by this edition: nothing changes.
    expect(await node.told('hooks')).toEqual([
      `all web ${node.base('live/web')}`,
      'own web',
      `all api ${node.ssl('acm-export/api/live/api')}`,
      `all web ${node.base('live/web')}`,
      'own web',
    ]);
  });

  test('of a folder in which another user could put hooks are refused', async () => {
    await node.addHook('a', ':');
    await chmod(node.path('etc/acm-export/hooks.d'), 0o777);
    expect(await run(first, 1)).toMatchObject({ ExitCode: 34 });
  });

  test('of a name whose first install failed do not become those of the first edition', async () => {
    await plainFiles(await issue(ca.intermediate));
    await node.addHook('a', 'touch "$state/hooks"', 0o755, 'hooks.d');
    await node.addHook('bad', ':', 0o777);
    expect(await run(first, 1)).toMatchObject({ ExitCode: 34 });
    await rm(node.path('etc/acm-export/hooks.d/web/bad'));
    await node.install(first, 2);
    expect(existsSync(path.join(node.state, 'hooks'))).toBe(false);
  });

  test('find their folder again after a backup that made a folder of it', async () => {
    await node.addHook('a', 'openssl x509 -noout -serial -in "$RENEWED_LINEAGE/cert.pem" >>"$state/hooks"');
    await node.install(first);
    await execute('cp', ['-aL', node.base('live/web'), node.base('live/copy')]);
    await rm(node.base('live/web'));
    await rename(node.base('live/copy'), node.base('live/web'));
    await node.install(second, 2);
    expect(await node.told('hooks')).toEqual(
      [first, second].map(({ value }) => `serial=${value.Serial.toUpperCase()}`),
    );
  });

  test.each(['hooks-for-all-names.d', 'hooks.d', 'hooks.d/web'])(
    'in %s that others could change are refused',
    async (place) => {
      await node.addHook('a', ':', 0o777, place);
      expect(await run(first, 1)).toMatchObject({ ExitCode: 34, Step: 'check-node' });
    },
  );
});

describe('the key', () => {
  const GROUP = { SSM_KeyGroup: 'daemon', SSM_KeyMode: '0640' };

  needs('root')('reaches the group, also where /etc/ssl/private is closed', async () => {
    await chmod(node.ssl('private'), 0o700);
    await node.install(first, 1, GROUP);
    const groups = await readFile('/etc/group', 'utf8');
    const gid = groups.match(/^daemon:[^:]*:(\d+):/m)?.[1] as string;
    const asGroup = ['--reuid', '65534', '--regid', gid, '--clear-groups'];
    await execute('setpriv', [...asGroup, 'test', '-r', node.base('current/privkey.pem')]);
  });

  needs('root')('that the group could not reach is refused before anything is switched', async () => {
    await node.install(first);
    await chmod(node.ssl(), 0o700);
    expect(await run(second, 2, GROUP)).toMatchObject({
      Outcome: 'failed',
      ExitCode: 36,
      Step: 'stage',
      Error: expect.stringMatching(/group daemon cannot reach .*current\/privkey\.pem/),
    });
    expect(await node.servedFiles()).toBe(first.value.Serial);
  });

  needs('root')('that the group owns and cannot read is noted', async () => {
    const { result } = await node.install(first, 1, { SSM_KeyGroup: 'daemon' });
    expect(result.Note).toMatch(/group daemon owns the key and cannot read it: its mode is 0600/);
  });

  test.each(['Debian-exim', 'svc.web', '_chrony', 'HOST$', '1and1'])(
    'may go to group %s, if it is there',
    async (name) => {
      expect(await run(first, 1, { SSM_KeyGroup: name })).toMatchObject({
        ExitCode: 36,
        Error: expect.stringContaining(name),
      });
    },
  );

  test.each(['0', '1000', '.', '..', '-x', 'a b', 'a:b', '$a', 'a/b'])(
    'never goes to group %s',
    async (name) => {
      expect(await run(first, 1, { SSM_KeyGroup: name })).toMatchObject({ ExitCode: 11 });
    },
  );

  needs('root')('in plain files of another owner is not adopted', async () => {
    await plainFiles(await issue(ca.intermediate));
    await execute('chown', ['daemon', node.ssl('private/web-privkey.pem')]);
    expect(await run(first, 1)).toMatchObject({
      ExitCode: 32,
      Error: expect.stringContaining('is no link of this script'),
    });
  });
});

describe('a trust folder', () => {
  let stranger: Awaited<ReturnType<typeof createChain>>;
  let strange: Bundle;
  beforeAll(async () => {
    stranger = await createChain();
    strange = await stranger.newBundle();
  });
  const inTrustFolder = async () =>
    (await readdir(node.ssl('certs'))).filter((name) => name.startsWith('web'));

  test('gets nothing of an authority that the node does not know; note and files say where it is', async () => {
    const { result } = await node.install(strange);
    expect(await inTrustFolder()).toEqual([]);
    expect(result.Note).toContain(`use ${node.base('current/fullchain.pem')}`);
    const fullchain = await readFile(node.base('current/fullchain.pem'), 'utf8');
    expect(fullchain).toBe(strange.value.Certificate + stranger.chain);
    expect(await readlink(node.ssl('private/web-privkey.pem'))).toBe(node.base('current/privkey.pem'));
    // And it is unchanged, although two of the links are not there.
    expect((await node.install(strange, 2)).result.Outcome).toBe('unchanged');
  });

  test('gets nothing either where the node has no list of authorities', async () => {
    await rm(node.path(AUTHORITIES));
    await node.install(first);
    expect(await inTrustFolder()).toEqual([]);
  });

  test.each(['etc/pki/tls/certs/ca-bundle.crt', 'etc/ssl/ca-bundle.pem'])(
    'is filled where %s knows the authority',
    async (list) => {
      await mkdir(path.dirname(node.path(list)), { recursive: true });
      await rename(node.path(AUTHORITIES), node.path(list));
      await node.install(first);
      expect(await inTrustFolder()).toEqual(['web-chain.pem', 'web-fullchain.pem']);
    },
  );

  test('is not opened to a private authority by a public certificate that was there before', async () => {
    await node.install(first);
    expect(await run(strange, 2)).toMatchObject({
      ExitCode: 32,
      Step: 'check-node',
      Error: expect.stringMatching(/links would make programs trust it/),
    });
    expect(await node.servedFiles()).toBe(first.value.Serial);
    // As the message says: the links go, the servers read the other path.
    for (const name of await inTrustFolder()) await rm(node.ssl('certs', name));
    expect((await node.install(strange, 3)).result.Outcome).toBe('installed');
    expect(await inTrustFolder()).toEqual([]);
  });

  test('is left by links that only a run made which was cut off, before a private authority comes', async () => {
    await node.runUntil('test-config', await node.offer(first));
    expect(await inTrustFolder()).toHaveLength(2);
    await node.install(strange, 2);
    expect(await inTrustFolder()).toEqual([]);
  });

  const generated: [string, () => Promise<unknown>][] = [
    [
      'SLES',
      async () => {
        await mkdir(node.path('var/lib/ca-certificates/pem'), { recursive: true });
        await rm(node.ssl('certs'), { recursive: true });
        await symlink('../../var/lib/ca-certificates/pem', node.ssl('certs'));
        await writeFile(node.ssl('ca-bundle.pem'), ca.root.pem);
      },
    ],
    ['Arch', () => mkdir(node.path('etc/ca-certificates/extracted'), { recursive: true })],
  ];
  test.each(generated)(
    'that %s makes anew at each update gets nothing, and the note says what to use',
    async (_, prepare) => {
      await prepare();
      const { result } = await node.install(first);
      expect(await inTrustFolder()).toEqual([]);
      expect(result.Note).toMatch(/is generated on this system: use .*current\/fullchain\.pem/);
      expect((await node.install(first, 2)).result.Outcome).toBe('unchanged');
    },
  );
});

describe('units', () => {
  const told = async (verb: string) =>
    (await node.told('systemctl')).filter((line) => line.startsWith(`${verb} `));

  const REFUSED = {
    ExitCode: 35,
    Step: 'check-node',
    Error: expect.stringMatching(/app cannot be reloaded .*RestartServices/),
  };

  test('that cannot reload are found before the switch', async () => {
    await node.install(first);
    await node.tell('no-reload-app', '');
    expect(await run(second, 2, { SSM_ReloadServices: 'nginx app' })).toMatchObject(REFUSED);
    expect(await node.servedFiles()).toBe(first.value.Serial);
    expect(await told('reload')).toEqual([]);
  });

  needs('mounts')('that cannot reload are found by a dry run', async () => {
    await node.tell('no-reload-app', '');
    const parameters = { ...(await node.offer(first)), SSM_ReloadServices: 'nginx app', SSM_DryRun: 'true' };
    expect((await node.run(parameters, ['unshare', ...MOUNT_NAMESPACE])).result).toMatchObject(REFUSED);
    expect(await node.servedFiles()).toBeUndefined();
  });

  test('that are named to be restarted are restarted after the reloads, and those to be reloaded never', async () => {
    await node.tell('no-reload-app', '');
    await node.install(first, 1, { SSM_ReloadServices: 'nginx', SSM_RestartServices: 'app db.service' });
    const version = `versions/${first.value.Serial}-1`;
    expect((await node.told('systemctl')).filter((line) => /^re/.test(line))).toEqual([
      `reload nginx ${version}`,
      `restart app ${version}`,
      `restart db.service ${version}`,
    ]);
  });

  test('that do not come up after the restart are restarted with the old certificate', async () => {
    const options = { SSM_RestartServices: 'nginx' };
    await node.install(first, 1, options);
    await node.tell('reload-faults', 'once\n');
    expect(await run(second, 2, options)).toMatchObject({
      Outcome: 'rolled-back',
      ExitCode: 62,
      Error: expect.stringContaining('the restart of nginx failed'),
    });
    expect((await told('restart')).at(-1)).toBe(`restart nginx versions/${first.value.Serial}-1`);
    // A configuration test comes before a restart, too.
    expect((await node.told('config-tests')).length).toBeGreaterThan(0);
  });

  test.each([
    ['nginx', 'nginx.service'],
    ['nginx.service', 'nginx'],
    ['a b', 'b'],
  ])('are either reloaded or restarted: %s and %s are refused', async (reload, restart) => {
    const options = { SSM_ReloadServices: reload, SSM_RestartServices: restart };
    expect(await run(first, 1, options)).toMatchObject({
      ExitCode: 11,
      Error: expect.stringContaining('RestartServices'),
    });
  });

  test('that served a first certificate which was only put in place keep it when the next one fails', async () => {
    const options = { SSM_ReloadServices: 'nginx' };
    await node.tell('dead-nginx', '');
    expect(await run(first, 1, options)).toMatchObject({ ExitCode: 33 });
    await node.untell('dead-nginx'); // An administrator starts it.
    await node.addHook('a', 'exit 7');
    expect(await run(second, 2, options)).toMatchObject({ Outcome: 'rolled-back', ExitCode: 61 });
    expect(await node.servedFiles()).toBe(first.value.Serial);
  });

  /** A process with the arguments of a server, as /proc shows them. */
  const pretend = async (unit: string, title: string, words: string[] = []) => {
    const child = spawn(
      process.execPath,
      [
        '-e',
        `${title && `process.title = ${JSON.stringify(title)};`} console.log(); setInterval(() => {}, 1e6)`,
        '--',
        ...words,
        'x'.repeat(200),
      ],
      { stdio: ['ignore', 'pipe', 'ignore'] },
    );
    await new Promise((resolve) => child.stdout.once('data', resolve));
    await node.tell(`main-pid-${unit}`, `MainPID=${child.pid}\n`);
    return child;
  };

  test('are tested with the configuration that their own arguments name', async () => {
    const haproxy = await pretend('haproxy', '', [
      '-Ws',
      '-f',
      '/srv/one.cfg',
      '-p',
      '/run/x',
      '-f',
      '/srv/conf.d',
    ]);
    const nginx = await pretend(
      'nginx',
      'nginx: master process /usr/sbin/nginx -c /srv/nginx.conf -g daemon on;',
    );
    try {
      await node.install(first, 1, { SSM_ReloadServices: 'haproxy nginx' });
      const version = `versions/${first.value.Serial}-1`;
      expect(await node.told('config-tests')).toEqual([
        `haproxy -c -f /srv/one.cfg -f /srv/conf.d ${version}`,
        `nginx -t -c /srv/nginx.conf ${version}`,
      ]);
    } finally {
      haproxy.kill();
      nginx.kill();
    }
  });

  test('find files that no unit reads untested: a conf.d of HAProxy', async () => {
    await mkdir(node.path('etc/haproxy/conf.d'), { recursive: true });
    await node.install(first, 1, { SSM_ReloadServices: 'haproxy' });
    expect(await node.told('config-tests')).toEqual([
      `haproxy -c -f ${node.path('etc/haproxy/haproxy.cfg')} versions/${first.value.Serial}-1`,
    ]);
  });
});

describe('a port', () => {
  const sockets = new Set<Socket>();
  const listening = async (answer: (socket: Socket) => void) => {
    const server = createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => undefined);
      answer(socket);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return { port: (server.address() as AddressInfo).port, close: () => server.close() };
  };
  afterEach(() => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
  });
  const countAsks = () =>
    node.addCommand(
      'openssl',
      `[ "$1" != s_client ] || echo "$*" >>"$state/asked"; exec ${programOf('openssl')} "$@"`,
    );

  test('that accepts and says nothing is asked for half a minute in all, whatever the number of names', async () => {
    const { port, close } = await listening(() => undefined);
    const names = Array.from({ length: 60 }, (_, index) => `n${index}.example.com`);
    const bundle = bundleOf(await issue(ca.intermediate, { names }), ca.chain);
    const script = await readFile(node.scriptFile, 'utf8');
    await writeFile(node.scriptFile, script.replace('[port]=5 [all-of-port]=30', '[port]=1 [all-of-port]=6'));
    await countAsks();
    const result = await run(bundle, 1, { SSM_VerifyPort: String(port) });
    close();
    expect(result).toMatchObject({
      Outcome: 'rolled-back',
      ExitCode: 63,
      Error: expect.stringMatching(
        new RegExp(
          `^port ${port} does not serve serial ${bundle.value.Serial}: it accepts a connection and says nothing`,
        ),
      ),
    });
    expect((await node.told('asked')).length).toBeLessThan(15);
  });

  const answers: [string, (socket: Socket) => void, RegExp][] = [
    ['plain text', (socket) => socket.end('* OK IMAP ready\r\n'), /does not speak TLS at once .*STARTTLS/],
    [
      'an alert',
      (socket) => socket.once('data', () => socket.end(Buffer.from('15030300020228', 'hex'))),
      /refuses the handshake with the alert .*handshake failure/,
    ],
    ['nothing, and closes', (socket) => socket.once('data', () => socket.destroy()), /closes the connection/],
  ];
  test.each(answers)('that answers with %s is told as such', async (_, answer, message) => {
    const { port, close } = await listening(answer);
    const result = await run(first, 1, { SSM_VerifyPort: String(port) });
    close();
    expect(result).toMatchObject({ ExitCode: 63, Error: expect.stringMatching(message) });
  });

  describe.each(Object.keys(DIALOGUES))('that takes up TLS by STARTTLS of %s', (protocol) => {
    let server: Awaited<ReturnType<typeof startStarttlsServer>>;
    beforeEach(async () => {
      await node.addCommand('sleep', 'exec /bin/sleep 0.01');
      server = await startStarttlsServer(protocol, {
        chain: node.base('current/fullchain.pem'),
        key: node.base('current/privkey.pem'),
      });
    });
    afterEach(() => server.stop());

    test('serves the new certificate, for the name that is asked for', async () => {
      const options = {
        SSM_VerifyPort: String(server.port),
        SSM_VerifyProtocol: protocol,
        SSM_VerifyName: 'mail.internal',
      };
      expect(await run(first, 1, options)).toMatchObject({ Outcome: 'installed' });
      expect(await run(second, 2, options)).toMatchObject({ Outcome: 'installed' });
      expect(new Set(server.names)).toEqual(new Set(['mail.internal']));
    });
  });

  test('that does not take up STARTTLS is told as such', async () => {
    const { port, close } = await listening((socket) => {
      socket.write('* OK ready\r\n');
      socket.on('data', () => socket.write('. BAD no\r\n'));
    });
    const result = await run(first, 1, { SSM_VerifyPort: String(port), SSM_VerifyProtocol: 'imap' });
    close();
    expect(result).toMatchObject({
      ExitCode: 63,
      Error: expect.stringContaining('does not speak TLS after STARTTLS of imap'),
    });
  });

  test.each(['s_client: Value must be one of:', 'usage: s_client args'])(
    'whose protocol this openssl does not know is found before the switch: %s',
    async (usage) => {
      await node.install(first);
      await node.addCommand(
        'openssl',
        `[ "$1" != s_client ] || { echo '${usage}' >&2; exit 1; }; exec ${programOf('openssl')} "$@"`,
      );
      const before = await node.files();
      const result = await run(second, 2, { SSM_VerifyPort: '3306', SSM_VerifyProtocol: 'mysql' });
      expect(result).toMatchObject({
        Outcome: 'failed',
        ExitCode: 12,
        Error: expect.stringContaining('openssl knows no STARTTLS of mysql'),
      });
      expect({ ...(await node.files()), 'etc/ssl/acm-export/web/record': '' }).toEqual({
        ...before,
        'etc/ssl/acm-export/web/record': '',
      });
    },
  );

  test('that listens on ::1 only is found', async () => {
    const server = await startTlsServer('node', { root: node.root, certName: 'web' });
    // Not every machine that runs tests has IPv6: the address is that of the test's server.
    await node.addCommand(
      'openssl',
      `case "$1 $3" in
         's_client 127.0.0.1:'*) exec ${programOf('openssl')} s_client -connect 127.0.0.1:1 ;;
         's_client [::1]:'*) port=\${3##*:}; shift 3; exec ${programOf('openssl')} s_client -connect "127.0.0.1:$port" "$@" ;;
       esac
       exec ${programOf('openssl')} "$@"`,
    );
    await copyFile(path.join(SHIMS, 'systemctl'), path.join(node.bin, 'systemctl'));
    await node.addCommand('sleep', 'exec /bin/sleep 0.02');
    try {
      await node.install(first, 1, { SSM_ReloadServices: 'tls-server', SSM_VerifyPort: String(server.port) });
      expect(await server.servedSerial('www.example.com')).toBe(first.value.Serial);
    } finally {
      await server.stop();
    }
  });
});

describe('plain files of another tool', () => {
  test('with a combined file beside them are refused by its name, each time', async () => {
    await plainFiles(await issue(ca.intermediate));
    await writeFile(node.ssl('private/web-combined.pem'), 'of another tool', { mode: 0o600 });
    const options = { SSM_ExtraFormats: 'combined-pem' };
    for (const rollout of [1, 2]) {
      expect(await run(second, rollout, options)).toMatchObject({
        Outcome: 'failed',
        ExitCode: 32,
        Error: expect.stringContaining('web-combined.pem is no link of this script'),
      });
    }
  });
});

describe('an expired certificate in the chain', () => {
  test('is a warning where it is the last one and nothing needs it', async () => {
    const oldRoot = await createAuthority('Old Root', undefined, daysFromNow(-2));
    const intermediate = await createAuthority('Intermediate', oldRoot);
    const bundle = bundleOf(await issue(intermediate), intermediate.pem + oldRoot.pem);
    const { result } = await node.install(bundle);
    expect(result).toMatchObject({
      Outcome: 'installed',
      Note: expect.stringContaining('last certificate of the chain has expired'),
    });
  });

  test('is a warning where the node knows the authority without it', async () => {
    // The root that the node knows, signed by another one.
    const older = await createAuthority('Older Root');
    const bridge = await createAuthority('Test Root', older, daysFromNow(-2), ca.root.keys);
    const bundle = bundleOf(await issue(ca.intermediate), ca.intermediate.pem + bridge.pem);
    const { result } = await node.install(bundle);
    expect(result).toMatchObject({ Outcome: 'installed', Note: expect.stringContaining('has expired') });
  });

  test('is refused where it is the last one and an intermediate, whose root no list knows', async () => {
    const strange = await createAuthority('Strange Root');
    const upper = await createAuthority('Upper', strange, daysFromNow(-2));
    const lower = await createAuthority('Lower', upper);
    expect(await run(bundleOf(await issue(lower), lower.pem + upper.pem), 1)).toMatchObject({ ExitCode: 45 });
  });

  test('is refused where it issued the leaf, or stands in the middle', async () => {
    const issuer = await createAuthority('Issuer', ca.root, daysFromNow(-2));
    expect(await run(bundleOf(await issue(issuer), issuer.pem), 1)).toMatchObject({ ExitCode: 45 });
    const upper = await createAuthority('Upper', ca.root, daysFromNow(-2));
    const lower = await createAuthority('Lower', upper);
    const chain = lower.pem + upper.pem + ca.root.pem;
    expect(await run(bundleOf(await issue(lower), chain), 2)).toMatchObject({ ExitCode: 45 });
  });

  test('does not hide that it did not sign the one before', async () => {
    const oldRoot = await createAuthority('Old Root', undefined, daysFromNow(-2));
    const sameName = await createAuthority('Old Root', undefined, daysFromNow(-2));
    const intermediate = await createAuthority('Intermediate', oldRoot);
    const bundle = bundleOf(await issue(intermediate), intermediate.pem + sameName.pem);
    expect(await run(bundle, 1)).toMatchObject({ ExitCode: 45 });
  });
});

describe('what a crash, a backup or an administrator left', () => {
  test.each(['', 'nonsense\n', `${DEPLOYMENT} 1`])(
    'a damaged record (%j) is rebuilt from what is there',
    async (damage) => {
      await node.install(first, 1);
      await node.install(second, 7);
      await writeFile(node.base('record'), damage);
      expect(await run(first, 6)).toMatchObject({
        ExitCode: 30,
        Error: expect.stringContaining('rollout 7'),
      });
      await writeFile(node.base('record'), damage);
      expect(await run(second, 8, { SSM_DeploymentId: 'f'.repeat(24) })).toMatchObject({ ExitCode: 31 });
      const { result } = await node.install(second, 8);
      expect(result).toMatchObject({
        Outcome: 'unchanged',
        Note: expect.stringContaining('record was damaged'),
      });
      expect(await readFile(node.base('record'), 'utf8')).toMatch(`${DEPLOYMENT} 8 `);
    },
  );

  test('a record that is a folder is named, to be removed', async () => {
    await node.install(first);
    await rm(node.base('record'));
    await mkdir(node.base('record'));
    expect(await run(second, 2)).toMatchObject({
      ExitCode: 32,
      Error: expect.stringMatching(/record is not a file: remove it/),
    });
  });

  test('a damaged record before the first version is rebuilt as well', async () => {
    await mkdir(node.base('versions'), { recursive: true });
    await writeFile(node.base('record'), '');
    expect((await node.install(first)).result.Outcome).toBe('installed');
  });

  test('a damaged record that no version explains is named, to be removed', async () => {
    await node.install(first);
    await writeFile(node.base('record'), '');
    await rm(node.base('current/.options'));
    const result = await run(second, 2);
    expect(result).toMatchObject({
      ExitCode: 32,
      Error: expect.stringMatching(/record is damaged.*remove it/),
    });
  });

  /** As a backup does that follows links. */
  const flatten = async (file: string) => {
    await execute('cp', ['-aL', file, `${file}.copy`]);
    await rm(file, { recursive: true });
    await rename(`${file}.copy`, file);
  };

  test('links that became files are links again', async () => {
    await node.install(first);
    for (const file of ['certs/web-fullchain.pem', 'certs/web-chain.pem', 'private/web-privkey.pem'])
      await flatten(node.ssl(file));
    const { result } = await node.install(first, 2);
    expect(result).toMatchObject({
      Outcome: 'installed',
      Note: expect.stringContaining('now it is a link again'),
    });
    expect(await readlink(node.ssl('certs/web-fullchain.pem'))).toBe(node.base('current/fullchain.pem'));
    expect(await node.servedFiles()).toBe(first.value.Serial);
  });

  test.each([
    ['and its version is there', false],
    ['and its version is gone', true],
  ])('current became a folder, %s: it is a link again, and the way back leads to it', async (_, gone) => {
    const options = { SSM_ReloadServices: 'nginx' };
    await node.install(first, 1, options);
    const version = await readlink(node.base('current'));
    await flatten(node.base('current'));
    if (gone) await rm(node.base(version), { recursive: true });
    await node.tell('config-fault', 'nginx: [emerg] no');
    const result = await run(second, 2, options);
    expect(result).toMatchObject({
      Outcome: 'rolled-back',
      ExitCode: 60,
      Note: expect.stringContaining('now it is a link'),
    });
    expect(await node.servedFiles()).toBe(first.value.Serial);
    await node.untell('config-fault');
    await node.install(second, 3, options);
    expect(await node.servedFiles()).toBe(second.value.Serial);
  });

  test.each([
    ['a file of the present version is gone', () => rm(node.base('current/chain.pem'))],
    ['a file of the present version is empty', () => writeFile(node.base('current/fullchain.pem'), '')],
    [
      'the present version is gone',
      async () => rm(node.base(await readlink(node.base('current'))), { recursive: true }),
    ],
    ['current is gone', () => rm(node.base('current'))],
  ])('%s: it is installed anew, and a failure leads to a version that is whole', async (_, damage) => {
    const options = { SSM_ReloadServices: 'nginx' };
    await node.install(first, 1, options);
    await node.install(second, 2, options);
    await damage();
    await node.tell('config-fault', 'nginx: [emerg] no');
    const bad = await run(second, 3, options);
    expect(bad).toMatchObject({ Outcome: 'rolled-back', ExitCode: 60 });
    expect([first.value.Serial, second.value.Serial]).toContain(await node.servedFiles());
    await node.untell('config-fault');
    await node.install(second, 4, options);
    expect(await node.servedFiles()).toBe(second.value.Serial);
  });

  test('a version that lost its hidden files is still the one to go back to', async () => {
    const options = { SSM_ReloadServices: 'nginx' };
    await node.install(first, 1, options);
    for (const name of ['.completed', '.options', '.sha256']) await rm(node.base('current', name));
    await node.tell('config-fault', 'nginx: [emerg] no');
    expect(await run(second, 2, options)).toMatchObject({ Outcome: 'rolled-back', ExitCode: 60 });
    expect(await node.servedFiles()).toBe(first.value.Serial);
  });

  test('a damaged version stays until a rollout that gets as far as the switch', async () => {
    await node.install(first);
    await node.install(second, 2);
    await writeFile(node.base('current/cert.pem'), 'changed by hand');
    await node.tell('aws-errors', 'AccessDenied\n');
    expect(await run(first, 3)).toMatchObject({ ExitCode: 20 });
    expect(await node.servedFiles()).toBe(second.value.Serial);
  });

  test('links that are gone come back, also where a service is dead for want of them', async () => {
    const options = { SSM_ReloadServices: 'nginx' };
    await node.install(first, 1, options);
    for (const link of ['certs/web-fullchain.pem', 'certs/web-chain.pem', 'private/web-privkey.pem'])
      await rm(node.ssl(link));
    await rm(node.base('current'));
    await node.tell('dead-nginx', '');
    expect(await run(second, 2, options)).toMatchObject({ ExitCode: 33, Step: 'check-node' });
    expect(await node.servedFiles()).toBe(first.value.Serial);
  });

  test('a first certificate that was only put in place is replaced while the service is dead', async () => {
    await node.tell('dead-nginx', '');
    expect(await run(first, 1, { SSM_ReloadServices: 'nginx' })).toMatchObject({ ExitCode: 33 });
    const formats = { SSM_ReloadServices: 'nginx', SSM_ExtraFormats: 'combined-pem' };
    expect(await run(second, 2, formats)).toMatchObject({ ExitCode: 33, Step: 'test-config' });
    expect(await node.servedFiles()).toBe(second.value.Serial);
    expect(existsSync(node.ssl('private/web-combined.pem'))).toBe(true);
  });

  test('files that their old tool renewed after they were adopted are adopted anew', async () => {
    const [old, renewed] = [await issue(ca.intermediate), await issue(ca.intermediate)];
    const options = { SSM_ReloadServices: 'nginx' };
    await node.tell('dead-nginx', '');
    await plainFiles(old);
    expect(await run(first, 1, options)).toMatchObject({ ExitCode: 33 });
    await plainFiles(renewed);
    await node.untell('dead-nginx');
    await node.tell('config-fault', 'nginx: [emerg] no');
    expect(await run(first, 2, options)).toMatchObject({ Outcome: 'rolled-back', ExitCode: 60 });
    expect(await node.servedFiles()).toBe(renewed.serial);
  });

  test('folders that are no versions stay', async () => {
    await node.install(first);
    for (const name of ['backup', 'old-1 copy', 'abc']) await mkdir(node.base('versions', name));
    await writeFile(node.base('versions/notes.txt'), 'mine');
    for (const rollout of [2, 3, 4, 5]) await node.install(rollout % 2 ? first : second, rollout);
    for (const name of ['backup', 'old-1 copy', 'abc', 'notes.txt'])
      expect(existsSync(node.base('versions', name))).toBe(true);
  });
});
