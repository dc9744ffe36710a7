import 'reflect-metadata';
import { createHash, randomBytes, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { encryptPrivateKey } from 'local-cloud';
import type { BundleValue } from '../../functions/target-account/bundle.ts';

x509.cryptoProvider.set(webcrypto as unknown as Parameters<typeof x509.cryptoProvider.set>[0]);

const DAY = 86_400_000;
export const daysFromNow = (days: number) => new Date(Date.now() + days * DAY);

const ALGORITHMS = {
  'RSA-2048': {
    name: 'RSASSA-PKCS1-v1_5',
    hash: 'SHA-256',
    modulusLength: 2048,
    publicExponent: new Uint8Array([1, 0, 1]),
  },
  'P-256': { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' },
  'P-384': { name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-384' },
};
export type Algorithm = keyof typeof ALGORITHMS;

interface Authority {
  name: string;
  keys: webcrypto.CryptoKeyPair;
  pem: string;
}

export interface Issued {
  certificate: string;
  serial: string;
  /** PKCS#8, DER. */
  key: Buffer;
}

const newKeys = (algorithm: Algorithm) =>
  webcrypto.subtle.generateKey(ALGORITHMS[algorithm], true, [
    'sign',
    'verify',
  ]) as Promise<webcrypto.CryptoKeyPair>;

const pem = (certificate: x509.X509Certificate) => `${certificate.toString('pem').trim()}\n`;

/** Positive, and begins with a zero digit, which tools like to drop. */
const newSerial = () => `0${randomBytes(15).toString('hex').slice(1)}`.replace(/^00/, '0a');

export async function createAuthority(
  name: string,
  parent?: Authority,
  notAfter = daysFromNow(30),
  keys?: webcrypto.CryptoKeyPair,
): Promise<Authority> {
  keys ??= await newKeys('P-256');
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: newSerial(),
    subject: `CN=${name}`,
    issuer: `CN=${parent?.name ?? name}`,
    notBefore: daysFromNow(-30),
    notAfter,
    publicKey: keys.publicKey,
    signingKey: (parent?.keys ?? keys).privateKey,
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
    ],
  });
  return { name, keys, pem: pem(certificate) };
}

export async function issue(
  authority: Authority,
  options: {
    names?: string[];
    subject?: string | x509.JsonName;
    algorithm?: Algorithm;
    notBefore?: Date;
    notAfter?: Date;
  } = {},
): Promise<Issued> {
  const { names = ['www.example.com', '*.example.com'], algorithm = 'P-256' } = options;
  const keys = await newKeys(algorithm);
  const serial = newSerial();
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serial,
    subject: options.subject ?? 'CN=www.example.com',
    issuer: `CN=${authority.name}`,
    notBefore: options.notBefore ?? daysFromNow(-1),
    notAfter: options.notAfter ?? daysFromNow(20),
    publicKey: keys.publicKey,
    signingKey: authority.keys.privateKey,
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
    extensions:
      names.length === 0
        ? []
        : [new x509.SubjectAlternativeNameExtension(names.map((value) => ({ type: 'dns', value })))],
  });
  const key = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
  return { certificate: pem(certificate), serial, key };
}

export interface Bundle {
  value: BundleValue;
  versionId: string;
}

/** A passphrase with the characters that shells and JSON like least; ACM refuses only # $ %. */
const newPassphrase = () => `${randomBytes(9).toString('base64')} "\\'\`!&*(|/n\\n`;

export function bundleOf(issued: Issued, chain: string, changes: Partial<BundleValue> = {}): Bundle {
  const passphrase = newPassphrase();
  return {
    value: {
      Certificate: issued.certificate,
      CertificateChain: chain,
      PrivateKey: encryptPrivateKey(issued.key, Buffer.from(passphrase)),
      Passphrase: passphrase,
      Serial: issued.serial,
      CertificateArn: 'arn:aws:acm:eu-west-1:111122223333:certificate/00000000-0000-4000-8000-000000000000',
      NotAfter: '2027-01-01T00:00:00Z',
      ...changes,
    },
    versionId: createHash('sha256').update(issued.serial).digest('hex'),
  };
}

/** A root, an intermediate, and what most tests need of them. */
export async function createChain() {
  const root = await createAuthority('Test Root');
  const intermediate = await createAuthority('Test Intermediate', root);
  const chain = intermediate.pem + root.pem;
  return {
    root,
    intermediate,
    chain,
    newBundle: async (algorithm?: Algorithm) =>
      bundleOf(await issue(intermediate, algorithm ? { algorithm } : {}), chain),
  };
}
