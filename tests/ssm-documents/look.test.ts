// What a look says of a node, in real scenes: the real script installs, real openssl asks real ports. Ports that are slow
// or silent are in tests/long.
import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { chmod, copyFile, cp, mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, describe, expect, test } from '@jest/globals';
import { programOf } from '../support/tools.ts';
import { until } from '../support/until.ts';
import { type Bundle, bundleOf, issue } from './certificates.ts';
import { ca, first, node, openssl, second, setUpInstalls } from './install-set-up.ts';
import { listens, look, portsOf, serve, stopAfterwards, stopServers } from './run-look.ts';
import { startStarttlsServer } from './starttls-server.ts';
import { DEPLOYMENT } from './test-node.ts';

setUpInstalls();

const execute = promisify(execFile);
afterEach(stopServers);

/** The end of a certificate of a bundle, as looks write it. */
const endOf = ({ value }: Bundle) =>
  new Date(new X509Certificate(value.Certificate).validTo).toISOString().replace('.000Z', 'Z');

/** Everything below the node's root, with the times of the last change of content and of anything else. */
const traces = async () =>
  (await execute('find', [node.root, '-printf', '%P %s %m %T@ %C@\n'])).stdout.split('\n').sort();

describe('a healthy node', () => {
  test('is seen to hold and to serve its certificate; nothing is written, and nothing of a key is shown', async () => {
    const { port } = await serve(first);
    const foreign = await serve(await ca.newBundle());
    await listens(node, [port, foreign.port]);
    await node.install(first, 7, { SSM_VerifyPort: String(port), SSM_ExtraFormats: 'combined-pem pkcs12' });
    const [key, before] = [await node.read('etc/ssl/private/web-privkey.pem'), await traces()];
    const real = programOf('openssl') as string;
    await node.addCommand('openssl', `printf '%s\\n' "$*" >>"$state/asked"\nexec ${real} "$@"`);
    const { code, stdout, stderr } = await look(node, {}, [
      '/bin/bash',
      '-c',
      'umask 000; exec "$@"',
      'start',
    ]);
    expect([code, stderr]).toEqual([0, '']);
    const end = endOf(first);
    const served = `${first.value.Serial}\t${end}\tok\t${port}=${first.value.Serial}=${end}`;
    expect(stdout.split('\n')[0]).toBe(`certificate\tweb\t${DEPLOYMENT}\t7\t${served}`);
    expect(stdout.split('\n')[1]).toMatch(
      new RegExp(
        `^endpoint\t${foreign.port}\t[0-9a-f]+\t${end.slice(0, 10)}T[0-9:]{8}Z\tCN=Test Intermediate\tCN=www`,
      ),
    );
    // ListCommandInvocations keeps 2,500: room for three of each.
    expect(stdout.length * 3).toBeLessThan(2500);
    expect(await traces()).toEqual(before);
    const asked = (await node.told('asked')).join('\n');
    for (const line of key.split('\n').filter((text) => text.length > 20))
      expect(stdout + stderr + asked).not.toContain(line);
  });

  test('without certificates says so', async () => {
    expect((await look(node)).stdout).toBe('end\t0\t0\n');
  });

  test('that the first edition installed is read rightly, with its older note of the options', async () => {
    const { port } = await serve(first);
    const old = new URL('first-edition/install-certificate.sh', import.meta.url);
    await copyFile(old, node.scriptFile);
    await chmod(node.scriptFile, 0o700);
    await node.install(first, 1, { SSM_VerifyPort: String(port), SSM_ReloadServices: 'nginx' });
    const { certificates } = await look(node);
    expect(certificates).toMatchObject([{ owner: DEPLOYMENT, number: '1', files: 'ok' }]);
    expect(certificates[0]?.port).toMatch(`${port}=${first.value.Serial}=`);
    await rm(node.ssl('certs/web-chain.pem'));
    expect((await look(node)).certificates).toMatchObject([{ files: 'damaged:links' }]);
  });

  test('whose certificate is of a private authority needs no links in the trust folder', async () => {
    await rm(node.ssl('certs/ca-certificates.crt'));
    await node.install(first);
    expect((await look(node)).certificates).toMatchObject([{ files: 'ok' }]);
  });

  test('with an encrypted key is not asked for the passphrase', async () => {
    await node.install(first, 1, { SSM_KeyFormat: 'encrypted' });
    expect((await look(node)).certificates).toMatchObject([{ files: 'ok' }]);
  });
});

describe('files', () => {
  const sum = async () =>
    writeFile(
      node.base('current/.sha256'),
      (await execute('bash', ['-c', 'sha256sum ./*.*'], { cwd: node.base('current') })).stdout,
    );
  const otherKey = async () => {
    const key = await openssl('genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256');
    await writeFile(node.base('current/privkey.pem'), key);
  };

  test.each<[string, string, () => Promise<unknown>]>([
    ['current leads nowhere', 'missing', () => rm(node.base('versions'), { recursive: true })],
    ['current is gone', 'missing', () => rm(node.base('current'))],
    ['the key is gone', 'missing', () => rm(node.base('current/privkey.pem'))],
    ['a file of another format is gone', 'missing', () => rm(node.base('current/bundle.p12'))],
    ['a file was changed', 'damaged:sums', () => writeFile(node.base('current/chain.pem'), 'x')],
    [
      'a file has no sum',
      'damaged:sums',
      async () => {
        const list = await readFile(node.base('current/.sha256'), 'utf8');
        const others = list.split('\n').filter((line) => !line.endsWith('./fullchain.pem'));
        await writeFile(node.base('current/.sha256'), others.join('\n'));
      },
    ],
    ['the list of sums is cut off', 'damaged:sums', () => writeFile(node.base('current/.sha256'), '')],
    ['another key was put in', 'damaged:sums', otherKey],
    ['another key was put in, and its sum', 'damaged:pair', () => otherKey().then(sum)],
    ['a link is gone', 'damaged:links', () => rm(node.ssl('private/web.p12'))],
    [
      'another tool put a plain file in the place of a link',
      'damaged:links',
      async () => {
        const copy = await readFile(node.ssl('certs/web-fullchain.pem'));
        await rm(node.ssl('certs/web-fullchain.pem'));
        await writeFile(node.ssl('certs/web-fullchain.pem'), copy);
      },
    ],
    [
      'a link leads to a version',
      'damaged:links',
      async () => {
        await rm(node.ssl('private/web-privkey.pem'));
        await symlink(
          node.base(`versions/${first.value.Serial}-1/chain.pem`),
          node.ssl('private/web-privkey.pem'),
        );
      },
    ],
    ['a run was cut off', 'unfinished', () => writeFile(node.base('.unfinished'), '')],
  ])('where %s are %s', async (_, files, change) => {
    await node.install(first, 1, { SSM_ExtraFormats: 'pkcs12' });
    await change();
    expect((await look(node)).certificates).toMatchObject([{ owner: DEPLOYMENT, number: '1', files }]);
  });

  test('of an older volume are whole, and tell their age', async () => {
    await node.install(first);
    await cp(node.base(), path.join(node.folder, 'snapshot'), { recursive: true, verbatimSymlinks: true });
    await node.install(second, 2);
    await rename(node.base(), path.join(node.folder, 'newer'));
    await rename(path.join(node.folder, 'snapshot'), node.base());
    expect((await look(node)).certificates).toMatchObject([
      { number: '1', serial: first.value.Serial, files: 'ok' },
    ]);
  });

  test('whose record is damaged are looked at all the same', async () => {
    await node.install(first, 5);
    await writeFile(node.base('record'), '');
    const { certificates } = await look(node);
    expect(certificates).toMatchObject([
      { owner: '-', number: '0', serial: first.value.Serial, notAfter: endOf(first), files: 'ok' },
    ]);
  });

  test('of a run that goes on are unfinished', async () => {
    await node.install(first);
    await node.addHook('a', 'touch "$state/running"; until [ -e "$state/go" ]; do /bin/sleep 0.01; done');
    const { ended } = node.start(await node.offer(second, 2));
    await until(
      'the hook',
      async () => (await readFile(path.join(node.state, 'running')).catch(() => 0)) !== 0,
    );
    const { certificates } = await look(node);
    await node.tell('go', '');
    await ended;
    expect(certificates).toMatchObject([{ number: '2', serial: second.value.Serial, files: 'unfinished' }]);
  });

  test('that are switched during the look are unfinished', async () => {
    await node.install(first);
    await node.install(second, 2);
    await node.addCommand(
      'sha256sum',
      `ln -sfn versions/${first.value.Serial}-1 "$root/etc/ssl/acm-export/web/current"; exec /usr/bin/sha256sum "$@"`,
    );
    expect((await look(node)).certificates).toMatchObject([
      { serial: second.value.Serial, files: 'unfinished' },
    ]);
  });

  test('that another tool left, and that a failed first install took over, are told by their certificate', async () => {
    const old = await issue(ca.intermediate);
    const key = old.key.toString('base64').replace(/.{64}/g, '$&\n');
    await writeFile(node.ssl('certs/web-fullchain.pem'), old.certificate);
    await writeFile(node.ssl('certs/web-chain.pem'), ca.chain);
    await writeFile(
      node.ssl('private/web-privkey.pem'),
      `-----BEGIN PRIVATE KEY-----\n${key}\n-----END PRIVATE KEY-----\n`,
      { mode: 0o600 },
    );
    await node.tell('config-fault', 'nginx: [emerg] no');
    await node.run({ ...(await node.offer(first)), SSM_ReloadServices: 'nginx' });
    expect((await look(node)).certificates).toMatchObject([{ serial: old.serial, files: 'ok', port: '-' }]);
  });

  test('in folders that are no names of certificates are left alone', async () => {
    await node.install(first);
    for (const name of ['a\nb', 'a..b', '-a', '.a', 'a b', 'without-record', 'record-is-a-folder', 'fifo']) {
      await mkdir(node.base('..', name, name === 'record-is-a-folder' ? 'record' : 'versions'), {
        recursive: true,
      });
      if (!/^(without|record|fifo)/.test(name))
        await copyFile(node.base('record'), node.base('..', name, 'record'));
    }
    await execute('mkfifo', [node.base('../fifo/record')]);
    await mkdir(node.base('../record-is-a-link'));
    await symlink(node.base('record'), node.base('../record-is-a-link/record'));
    await symlink('web', node.base('../link'));
    expect((await look(node)).certificates).toMatchObject([{ name: 'web', files: 'ok' }]);
  });
});

describe('the port', () => {
  /** What a look says of a port that the installed version notes. */
  async function portSays(
    port: number,
    options: Record<string, string> = {},
    bundle = first,
  ): Promise<string> {
    const asServed = await node.offer(bundle);
    await node.run({ ...asServed, ...options });
    // The port is noted afterwards: an install would go back from what these ports say.
    const file = node.base('current/.options');
    await writeFile(file, (await readFile(file, 'utf8')).replace('|0|', `|${port}|`));
    const [said = ''] = portsOf(await look(node, { SSM_Discover: 'false' }));
    expect(said).toMatch(new RegExp(`^${port}=`));
    return said.slice(`${port}=`.length);
  }

  test('that serves an older certificate from memory is told', async () => {
    const { port } = await serve(second);
    expect(await portSays(port)).toBe(`${second.value.Serial}=${endOf(second)}`);
  });

  test('where nobody listens is closed', async () => {
    const { port, stop } = await serve(first);
    stop();
    expect(await portSays(port)).toBe('closed');
  });

  test.each([
    ['speaks HTTP', 'HTTP/1.1 400 Bad Request\r\n\r\n'],
    ['closes the connection', ''],
    ['prints a key', '-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\n-----END PRIVATE KEY-----\n'],
  ])('that %s speaks no TLS', async (_, says) => {
    const { port } = await serve(undefined, { says });
    expect(await portSays(port)).toBe('no-tls');
  });

  test('is asked for each name, www for a wildcard, and told by the one that gets ours', async () => {
    const [other, wild] = [
      await ca.newBundle(),
      bundleOf(await issue(ca.intermediate, { names: ['a.example.org', '*.example.org'] }), ca.chain),
    ];
    const { port } = await serve(other, { byName: { 'www.example.org': wild } });
    expect(await portSays(port, {}, wild)).toBe(`${wild.value.Serial}=${endOf(wild)}`);
  });

  test('is asked for VerifyName alone where there is one', async () => {
    const { port } = await serve(first, { byName: { 'one.example.com': second } });
    expect(await portSays(port, { SSM_VerifyName: 'one.example.com' })).toMatch(second.value.Serial);
  });

  test('is asked by STARTTLS where that is noted', async () => {
    await node.install(first);
    const files = { chain: node.ssl('certs/web-fullchain.pem'), key: node.ssl('private/web-privkey.pem') };
    const server = await startStarttlsServer('smtp', files);
    stopAfterwards(server.stop);
    expect(await portSays(server.port, { SSM_VerifyProtocol: 'smtp' })).toMatch(first.value.Serial);
  });

  test('is asked at [::1] where nobody listens on 127.0.0.1', async () => {
    const { port } = await serve(first, { host: '::1' });
    expect(await portSays(port)).toMatch(first.value.Serial);
  });
});

describe('TLS ports of others', () => {
  test('are found at the address where they listen; known certificates, ports of ours and what begins in clear text are left out', async () => {
    const [foreign, plain] = [await ca.newBundle(), await serve(undefined, { says: 'hello' })];
    const [here, there, six] = [
      await serve(foreign),
      await serve(foreign, { host: '127.0.0.2' }),
      await serve(foreign, { host: '::1' }),
    ];
    const [known, ours] = [await serve(first), await serve(second)];
    await node.install(first);
    const file = node.base('current/.options');
    await writeFile(file, (await readFile(file, 'utf8')).replace('|0|', `|${ours.port}|`));
    const real = programOf('openssl') as string;
    await node.addCommand('openssl', `[ "$1" != s_client ] || echo "$3" >>"$state/asked"\nexec ${real} "$@"`);
    await listens(node, [22, 25, 3306, 9100, here.port, known.port, ours.port, plain.port], '0100007F');
    // The file of IPv6 has longer addresses, and IPv4 ones in their form.
    await listens(node, [there.port], '0000000000000000FFFF00000200007F', 'tcp6');
    const found = async () => (await look(node)).endpoints.map(({ port }) => Number(port)).sort();
    expect(await found()).toEqual([here.port, there.port].sort());
    await listens(node, [six.port], '00000000000000000000000001000000', 'tcp6');
    expect(await found()).toEqual([here.port, six.port].sort());
    expect((await node.told('asked')).filter((where) => /:(22|25|3306|9100)$/.test(where))).toEqual([]);
    expect((await look(node, { SSM_Discover: 'false' })).endpoints).toEqual([]);
    await mkdir(node.path('etc/acm-export'), { recursive: true });
    await writeFile(node.path('etc/acm-export/no-discovery'), '');
    expect((await look(node)).endpoints).toEqual([]);
  });

  test('are shown in plain characters, whatever their certificate says', async () => {
    const hostile = 'a\tb\nend\t9\t9\r\u001b[31m é‮ -----BEGIN PRIVATE KEY----- ';
    const issued = await issue(ca.intermediate, { subject: [{ CN: [hostile.repeat(4)] }] });
    const { port } = await serve(bundleOf(issued, ca.chain));
    await listens(node, [port]);
    const { endpoints, stdout } = await look(node);
    expect(endpoints).toEqual([
      expect.objectContaining({ serial: issued.serial, issuer: 'CN=Test Intermediate' }),
    ]);
    expect(endpoints[0]?.subject).toHaveLength(100);
    expect(endpoints[0]?.subject).toMatch('CN=a\\09b\\0Aend\\099\\099\\0D\\1B[31m \\C3\\A9');
    expect(stdout).not.toContain('PRIVATE KEY');
  });

  test('are asked 32 at most, the lowest first', async () => {
    await node.addCommand(
      'openssl',
      'echo "$3" >>"$state/asked"; echo "connect: Connection refused"; exit 1',
    );
    await listens(
      node,
      Array.from({ length: 200 }, (_, index) => 40_200 - index),
    );
    expect((await look(node)).stdout).toBe('end\t0\t0\n');
    const asked = new Set((await node.told('asked')).map((where) => Number(where.split(':').at(-1))));
    expect([...asked].sort()).toEqual(Array.from({ length: 32 }, (_, index) => 40_001 + index));
  });
});

test('without openssl, or any program at all, a look tells what it can', async () => {
  await node.install(first, 3);
  const file = node.base('current/.options');
  await writeFile(file, (await readFile(file, 'utf8')).replace('|0|', '|443|'));
  const tools = path.join(node.folder, 'tools');
  await mkdir(tools);
  const seen = { owner: DEPLOYMENT, number: '3', serial: '-', notAfter: '-', port: '-' };
  for (const present of [[], ['timeout', 'sha256sum']]) {
    for (const tool of ['bash', ...present])
      await symlink(programOf(tool) as string, path.join(tools, tool)).catch(() => undefined);
    await listens(node, [443]);
    expect((await look(node, { PATH: tools })).certificates).toEqual([{ name: 'web', files: 'ok', ...seen }]);
  }
  await writeFile(node.base('current/chain.pem'), 'x');
  expect((await look(node, { PATH: tools })).certificates).toMatchObject([{ files: 'damaged:sums' }]);
});
