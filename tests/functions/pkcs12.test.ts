import { spawnSync } from 'node:child_process';
import { createPrivateKey, randomBytes, X509Certificate } from 'node:crypto';
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { encryptPrivateKey } from 'local-cloud';
import { type Exported, pkcs12Of } from '../../functions/export-certificate/pkcs12.ts';
import { type Algorithm, createChain, issue } from '../ssm-documents/certificates.ts';
import { ROOT } from '../templates/stacks.ts';

let chain: Awaited<ReturnType<typeof createChain>>;
let exported: Exported;
let key: Buffer;
beforeAll(async () => {
  chain = await createChain();
  const issued = await issue(chain.intermediate);
  key = issued.key;
  exported = {
    Certificate: issued.certificate,
    CertificateChain: chain.chain,
    PrivateKey: encryptPrivateKey(issued.key, Buffer.from('passphrase')),
    Passphrase: 'passphrase',
  };
});

/** What openssl says of a file. The passphrase is in its environment: others can read arguments. */
function openssl(file: Buffer, passphrase: string, ...words: string[]) {
  const options = { input: file, encoding: 'utf8', env: { ...process.env, PASSPHRASE: passphrase } } as const;
  const { status, stdout, stderr } = spawnSync(
    'openssl',
    ['pkcs12', '-passin', 'env:PASSPHRASE', '-nodes', ...words],
    options,
  );
  return { status, stdout, stderr };
}

const certificatesIn = (text: string) =>
  (text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []).map(
    (pem) => new X509Certificate(pem),
  );
const derOf = (pem: string) => Buffer.from(pem.replace(/-----[A-Z ]+-----|\s/g, ''), 'base64');

describe('a PKCS#12 file', () => {
  test.each<Algorithm>(['RSA-2048', 'P-256', 'P-384'])(
    'of a key %s gives openssl the key of its certificate, and the chain in order',
    async (algorithm) => {
      const { value } = await chain.newBundle(algorithm);
      const { stdout, stderr, status } = openssl(pkcs12Of(value, 'web-prod'), value.Passphrase);
      expect([status, stderr]).toEqual([0, '']);
      const [leaf, ...authorities] = certificatesIn(stdout) as [X509Certificate, ...X509Certificate[]];
      expect(leaf.raw).toEqual(new X509Certificate(value.Certificate).raw);
      expect(authorities.map(({ subject }) => subject)).toEqual(['CN=Test Intermediate', 'CN=Test Root']);
      expect(leaf.checkPrivateKey(createPrivateKey(stdout))).toBe(true);
    },
  );

  test('names key and leaf alike, links them, and shows nothing of the sort on the chain', () => {
    const { stdout } = openssl(pkcs12Of(exported, 'web-prod'), exported.Passphrase);
    const ids = [...stdout.matchAll(/^ {4}localKeyID: ([0-9A-F ]+?) *$/gm)].map(([, id]) => id);
    expect([ids.length, new Set(ids).size]).toEqual([2, 1]);
    expect(stdout.match(/^ {4}friendlyName: web-prod$/gm)).toHaveLength(2);
  });

  test('has two parts, certificates before the key, that are no more encrypted than they were', () => {
    const { stderr } = openssl(pkcs12Of(exported, 'web-prod'), exported.Passphrase, '-info', '-noout');
    expect(stderr.trim().split('\n')).toEqual([
      'MAC: sha256, Iteration 2048',
      'MAC length: 32, salt length: 20',
      'PKCS7 Data',
      ...Array(3).fill('Certificate bag'),
      'PKCS7 Data',
      'Shrouded Keybag: PBES2, PBKDF2, AES-256-CBC, Iteration 2048, PRF hmacWithSHA1',
    ]);
  });

  test.each(['w', 'w'.repeat(64)])('named %s has the two attributes in the order of DER', (name) => {
    const file = pkcs12Of(exported, name);
    // 1.2.840.113549.1.9.20 and 21. The shorter one comes first.
    const [friendlyName, localKeyId] = ['14', '15'].map((end) =>
      file.indexOf(`06092a864886f70d0109${end}`, 'hex'),
    );
    expect(friendlyName).not.toBe(-1);
    expect((friendlyName as number) < (localKeyId as number)).toBe(name.length === 1);
  });

  test('is another one each time, since its salt is', () => {
    expect(pkcs12Of(exported, 'web-prod')).not.toEqual(pkcs12Of(exported, 'web-prod'));
  });

  // Any ASCII but these three, 4 to 128 bytes (API reference of ExportCertificate). An environment holds no zero byte.
  const characters = fc.integer({ min: 1, max: 127 }).map((code) => String.fromCharCode(code));
  const passphrases = fc.string({
    unit: characters.filter((character) => !'#$%'.includes(character)),
    minLength: 4,
    maxLength: 128,
  });

  test('opens by every passphrase that ACM takes, and by no other one', () => {
    fc.assert(
      fc.property(passphrases, passphrases, (Passphrase, other) => {
        const PrivateKey = encryptPrivateKey(key, Buffer.from(Passphrase));
        const file = pkcs12Of({ ...exported, PrivateKey, Passphrase }, 'web-prod');
        const opened = openssl(file, Passphrase, '-nocerts');
        expect(createPrivateKey(opened.stdout).export({ format: 'der', type: 'pkcs8' })).toEqual(key);
        const refused = openssl(file, other === Passphrase ? `${other}x` : other, '-nocerts');
        expect([refused.status, refused.stdout]).toEqual([1, '']);
        expect(refused.stderr).toContain('invalid password');
      }),
      { numRuns: 40 },
    );
  });

  test('that was changed in one byte of a certificate is refused', () => {
    const file = pkcs12Of(exported, 'web-prod');
    const at = file.indexOf(new X509Certificate(exported.Certificate).raw) + 100;
    file[at] = (file[at] as number) ^ 1;
    expect(openssl(file, exported.Passphrase)).toMatchObject({ status: 1, stdout: '' });
  });
});

describe('the key is never decrypted', () => {
  test('what ACM encrypted is in the file byte for byte', () => {
    expect(pkcs12Of(exported, 'web-prod').includes(derOf(exported.PrivateKey))).toBe(true);
  });

  test('a key that nobody can decrypt goes in as it is', () => {
    const sealed = randomBytes(1300);
    const PrivateKey = `-----BEGIN ENCRYPTED PRIVATE KEY-----\n${sealed.toString('base64')}\n-----END ENCRYPTED PRIVATE KEY-----\n`;
    expect(pkcs12Of({ ...exported, PrivateKey }, 'web-prod').includes(sealed)).toBe(true);
  });

  test('a key that is not encrypted is refused, and what is said has none of it', () => {
    const PrivateKey = `-----BEGIN PRIVATE KEY-----\n${key.toString('base64')}\n-----END PRIVATE KEY-----\n`;
    const refused = (() => {
      try {
        return pkcs12Of({ ...exported, PrivateKey }, 'web-prod');
      } catch (error) {
        return error;
      }
    })();
    expect(refused).toMatchObject({
      name: 'BundleNotStorable',
      message: expect.stringMatching(
        /^ACM exported a key that is not encrypted PKCS#8: .*BundleFormats null\.$/,
      ),
    });
  });

  test('no function takes anything from node:crypto that could', () => {
    const files = globSync('functions/**/*.ts', { cwd: ROOT });
    const source = files.map((file) => readFileSync(path.join(ROOT, file), 'utf8')).join('\n');
    const taken = [...source.matchAll(/import \{([^}]+)\} from '(?:node:)?crypto'/g)];
    const names = new Set(taken.flatMap(([, list = '']) => list.split(',').map((name) => name.trim())));
    expect([...names].sort()).toEqual([
      'X509Certificate',
      'createHash',
      'createHmac',
      'randomBytes',
      'randomUUID',
    ]);
    // In no other way either.
    expect(source.match(/(['"])(node:)?crypto\1|\bsubtle\b|webcrypto/g)).toHaveLength(taken.length);
  });
});
