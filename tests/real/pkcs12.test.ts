import { spawnSync } from 'node:child_process';
import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import type { BundleValue } from '../../functions/target-account/bundle.ts';
import { read } from '../docs/documents.ts';
import { MEMBER, System } from '../functions/support/system.ts';
import { needs } from '../support/needs.ts';

// What others make of the PKCS#12 in a bundle, as the functions store it. Passphrases are in environments and on standard
// input: others can read arguments.

const PAGE = 'docs/delivery-without-ssm.md';
const ALGORITHMS = ['RSA_2048', 'EC_prime256v1', 'EC_secp384r1'] as const;
type Algorithm = (typeof ALGORITHMS)[number];

let folder: string;
const values = new Map<Algorithm, Required<BundleValue>>();

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'pkcs12-'));
  const system = await System.create();
  const reader = `arn:aws:iam::${MEMBER}:role/team-a`;
  system.addRole(reader);
  for (const keyAlgorithm of ALGORITHMS) {
    const CertificateArn = await system.acm.issue(keyAlgorithm.replaceAll('_', '-'), { keyAlgorithm });
    await system.register({
      CertificateArn,
      TargetTagValue: keyAlgorithm,
      Delivery: 'secret',
      ReaderRoleArns: [reader],
      BundleFormats: ['pkcs12'],
    });
    await system.runAll();
    const stored = system.target().secrets().at(-1);
    const [version] = stored?.versions.values() ?? [];
    const value = JSON.parse(version?.string ?? '{}');
    expect(value).toMatchObject({ CertificateArn, Pkcs12: expect.any(String) });
    values.set(keyAlgorithm, value);
    writeFileSync(fileOf(keyAlgorithm), Buffer.from(value.Pkcs12, 'base64'), { mode: 0o600 });
  }
});
afterAll(() => rmSync(folder, { recursive: true }));

const fileOf = (algorithm: Algorithm) => path.join(folder, `${algorithm}.p12`);
const bundleOf = (algorithm: Algorithm) => values.get(algorithm) as Required<BundleValue>;

interface Given {
  input?: string | Buffer;
  /** Variables of the environment, beside those of the test. */
  env?: Record<string, string>;
}

function run(program: string, words: string[], { input = '', env = {} }: Given = {}) {
  const options = { input, env: { ...process.env, ...env }, encoding: 'utf8' } as const;
  const { status, stdout, stderr, error } = spawnSync(program, words, options);
  if (error) throw error;
  return { status, stdout, stderr };
}

const certificatesIn = (text: string) =>
  (text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []).map(
    (pem) => new X509Certificate(pem),
  );
const leafOf = (algorithm: Algorithm) => new X509Certificate(bundleOf(algorithm).Certificate);
const rawOf = ({ Certificate, CertificateChain }: BundleValue) =>
  certificatesIn(Certificate + CertificateChain).map(({ raw }) => raw);

needs('go').describe('External Secrets', () => {
  let program: string;
  let example: { spec: { target: { template: Record<string, unknown> } } };
  beforeAll(() => {
    program = path.join(folder, 'render');
    const source = path.join(import.meta.dirname, 'pkcs12');
    const built = spawnSync('go', ['build', '-o', program, '.'], { cwd: source, encoding: 'utf8' });
    expect([built.stderr.replace(/^go: downloading .*\n/gm, ''), built.status]).toEqual(['', 0]);
    const blocks = [...read(PAGE).matchAll(/^```yaml\n([^`]+)^```$/gm)].map(([, text = '']) => parse(text));
    example = blocks.find(({ kind }) => kind === 'ExternalSecret');
  });

  /** The Secret's data that the example on the page makes of a bundle. */
  const render = (Values: object) =>
    run(program, [], { input: JSON.stringify({ Templates: example.spec.target.template.data, Values }) });

  test.each(ALGORITHMS)(
    'makes of a bundle with a key %s a kubernetes.io/tls: leaf and chain, and the PKCS#8 key of the leaf',
    (algorithm) => {
      expect(example.spec.target.template).toMatchObject({ type: 'kubernetes.io/tls' });
      const { stdout, stderr } = render(bundleOf(algorithm));
      expect(stderr).toBe('');
      const secret = JSON.parse(stdout) as Record<string, string>;
      expect(Object.keys(secret).sort()).toEqual(['tls.crt', 'tls.key']);
      const { 'tls.crt': certificates = '', 'tls.key': key = '' } = secret;
      expect(certificatesIn(certificates).map(({ raw }) => raw)).toEqual(rawOf(bundleOf(algorithm)));
      expect(key).toMatch(/^-----BEGIN PRIVATE KEY-----\n[^-]+-----END PRIVATE KEY-----\n$/);
      expect(leafOf(algorithm).checkPrivateKey(createPrivateKey(key))).toBe(true);
    },
  );

  test('makes nothing with another passphrase', () => {
    const Passphrase = bundleOf('EC_prime256v1').Passphrase.slice(1);
    expect(render({ ...bundleOf('EC_prime256v1'), Passphrase })).toEqual({
      status: 1,
      stdout: '',
      stderr: expect.stringContaining('pkcs12: decryption password incorrect'),
    });
  });

  test('makes nothing of a bundle without PKCS#12', () => {
    const { Pkcs12: _, ...plain } = bundleOf('EC_prime256v1');
    expect(render(plain)).toMatchObject({ status: 1, stdout: '' });
  });
});

needs('keytool').describe('keytool', () => {
  const keytool = (algorithm: Algorithm, words: string[], env: Record<string, string> = {}) =>
    run('keytool', [...words, '-J-Duser.language=en'], {
      env: { PASSPHRASE: bundleOf(algorithm).Passphrase, ...env },
    });
  const store = (algorithm: Algorithm) => [
    '-keystore',
    fileOf(algorithm),
    '-storetype',
    'PKCS12',
    '-storepass:env',
    'PASSPHRASE',
  ];

  test.each(ALGORITHMS)('lists a key %s with its chain, under the name of the certificate', (algorithm) => {
    const { stdout, status } = keytool(algorithm, ['-list', '-rfc', ...store(algorithm)]);
    expect([status, stdout]).toEqual([0, expect.stringMatching(/^Your keystore contains 1 entry$/m)]);
    expect(stdout).toMatch(/^Alias name: web-prod$[\s\S]*^Entry type: PrivateKeyEntry$/m);
    expect(certificatesIn(stdout).map(({ raw }) => raw)).toEqual(rawOf(bundleOf(algorithm)));
  });

  test.each(ALGORITHMS)('signs with a key %s: the signature is one of the certificate', (algorithm) => {
    const asked = keytool(algorithm, ['-certreq', '-alias', 'web-prod', ...store(algorithm)]);
    expect(asked).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('BEGIN NEW CERTIFICATE REQUEST'),
    });
    const checked = run('openssl', ['req', '-verify', '-noout', '-pubkey'], { input: asked.stdout });
    expect([checked.status, checked.stderr]).toEqual([0, expect.stringMatching(/verify OK/)]);
    const key = createPublicKey(checked.stdout);
    expect(key.equals(leafOf(algorithm).publicKey)).toBe(true);
  });

  test.each(ALGORITHMS)('hands a key %s on into a keystore with another password', (algorithm) => {
    const other = path.join(folder, `${algorithm}-other.p12`);
    const PASSWORD = 'of-another-keystore';
    const from = [
      '-srckeystore',
      fileOf(algorithm),
      '-srcstoretype',
      'PKCS12',
      '-srcstorepass:env',
      'PASSPHRASE',
    ];
    const to = ['-destkeystore', other, '-deststoretype', 'PKCS12', '-deststorepass:env', 'PASSWORD'];
    const moved = keytool(algorithm, ['-importkeystore', '-noprompt', ...from, ...to], { PASSWORD });
    expect(moved.status).toBe(0);
    const words = ['pkcs12', '-in', other, '-nocerts', '-nodes', '-passin', 'env:PASSWORD'];
    const { stdout } = run('openssl', words, { env: { PASSWORD } });
    expect(leafOf(algorithm).checkPrivateKey(createPrivateKey(stdout))).toBe(true);
  });

  test('opens nothing with another passphrase', () => {
    const PASSPHRASE = bundleOf('RSA_2048').Passphrase.slice(1);
    const listed = keytool('RSA_2048', ['-list', ...store('RSA_2048')], { PASSPHRASE });
    expect(listed).toMatchObject({
      status: 1,
      stdout: expect.stringMatching(/password was incorrect|ntegrity check/),
    });
  });
});

test.each(ALGORITHMS)('openssl opens a key %s, and finds its certificate and chain', (algorithm) => {
  const { Passphrase: PASSPHRASE } = bundleOf(algorithm);
  const words = ['pkcs12', '-in', fileOf(algorithm), '-nodes', '-passin', 'env:PASSPHRASE'];
  const { stdout, status } = run('openssl', words, { env: { PASSPHRASE } });
  expect(status).toBe(0);
  expect(certificatesIn(stdout).map(({ raw }) => raw)).toEqual(rawOf(bundleOf(algorithm)));
  expect(leafOf(algorithm).checkPrivateKey(createPrivateKey(stdout))).toBe(true);
});
