import 'reflect-metadata';
import { createCipheriv, pbkdf2Sync, randomBytes, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';

/** The algorithms that ACM issues (user guide, "Characteristics and limitations"). */
export type KeyAlgorithm = 'RSA_2048' | 'EC_prime256v1' | 'EC_secp384r1';

const algorithms = {
  RSA_2048: {
    name: 'RSASSA-PKCS1-v1_5',
    hash: 'SHA-256',
    modulusLength: 2048,
    publicExponent: new Uint8Array([1, 0, 1]),
  },
  EC_prime256v1: { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' },
  EC_secp384r1: { name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-384' },
} satisfies Record<KeyAlgorithm, object>;

/** One issued version of a certificate. */
export interface IssuedCertificate {
  /** As ACM shows it: lower-case pairs of hex digits with colons. */
  serial: string;
  certificatePem: string;
  /** PKCS#8, DER: never leaves the certificate authority unencrypted. */
  privateKeyDer: Buffer;
  /** Without the leaf. */
  chainPem: string;
  issuer: string;
  notBefore: Date;
  notAfter: Date;
}

interface Authority {
  certificate: x509.X509Certificate;
  keys: webcrypto.CryptoKeyPair;
}

const DAY = 86_400_000;

/** A root and two intermediates that live as long as the process; no key of theirs is ever written down. */
export class CertificateAuthority {
  /** For clients that are to trust what the local cloud issues. */
  readonly rootPem: string;
  readonly #root: Authority;
  readonly #intermediates: Authority[];
  #issued = 0;

  private constructor(root: Authority, intermediates: Authority[]) {
    this.#root = root;
    this.#intermediates = intermediates;
    this.rootPem = pem(root.certificate);
  }

  static async create(now: Date): Promise<CertificateAuthority> {
    x509.cryptoProvider.set(globalThis.crypto);
    const root = await createAuthority('Local Cloud Root CA', now);
    const intermediates = await Promise.all(
      ['M01', 'M02'].map((name) => createAuthority(`Local Cloud ${name}`, now, root)),
    );
    return new CertificateAuthority(root, intermediates);
  }

  /**
   * A certificate for these names. "ACM randomly selects an intermediate", so that nobody pins one: here they
   * take turns, which a test can rely on. The chain ends with the root.
   */
  async issue(
    names: string[],
    algorithm: KeyAlgorithm,
    notBefore: Date,
    notAfter: Date,
  ): Promise<IssuedCertificate> {
    const issuer = this.#intermediates[this.#issued++ % this.#intermediates.length] as Authority;
    const keys = await generateKeys(algorithm);
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: serialNumber(),
      subject: `CN=${names[0]}`,
      issuer: issuer.certificate.subject,
      notBefore,
      notAfter,
      publicKey: keys.publicKey,
      signingKey: issuer.keys.privateKey,
      signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(keyUsage(algorithm), true),
        // Public certificates no longer carry client authentication (ACM user guide).
        new x509.ExtendedKeyUsageExtension(['1.3.6.1.5.5.7.3.1']),
        new x509.SubjectAlternativeNameExtension(names.map((value) => ({ type: 'dns' as const, value }))),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
        await x509.AuthorityKeyIdentifierExtension.create(issuer.keys.publicKey),
      ],
    });
    return {
      serial: (certificate.serialNumber.match(/../g) ?? []).join(':').toLowerCase(),
      certificatePem: pem(certificate),
      privateKeyDer: Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)),
      chainPem: pem(issuer.certificate) + pem(this.#root.certificate),
      issuer: issuer.certificate.subject,
      notBefore,
      notAfter,
    };
  }
}

function keyUsage(algorithm: KeyAlgorithm): number {
  const { digitalSignature, keyEncipherment } = x509.KeyUsageFlags;
  return algorithm === 'RSA_2048' ? digitalSignature | keyEncipherment : digitalSignature;
}

function generateKeys(algorithm: KeyAlgorithm): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(algorithms[algorithm], true, [
    'sign',
    'verify',
  ]) as Promise<webcrypto.CryptoKeyPair>;
}

async function createAuthority(name: string, now: Date, parent?: Authority): Promise<Authority> {
  const keys = await generateKeys('EC_prime256v1');
  const subject = `C=XX, O=Local Cloud, CN=${name}`;
  const signer = parent?.keys ?? keys;
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject,
    issuer: parent?.certificate.subject ?? subject,
    notBefore: new Date(now.getTime() - DAY),
    notAfter: new Date(now.getTime() + 3650 * DAY),
    publicKey: keys.publicKey,
    signingKey: signer.privateKey,
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
    extensions: [
      new x509.BasicConstraintsExtension(true, parent ? 0 : undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ...(parent ? [await x509.AuthorityKeyIdentifierExtension.create(parent.keys.publicKey)] : []),
    ],
  });
  return { certificate, keys };
}

/** 16 bytes, positive and without a leading zero, as ACM's are. */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = 1 + ((bytes[0] as number) % 0x7f);
  return bytes.toString('hex');
}

function pem(certificate: x509.X509Certificate): string {
  return `${certificate.toString('pem').trim()}\n`;
}

/**
 * Encrypts a PKCS#8 key as ACM's exports are encrypted: PBES2 with PBKDF2 (20 bytes of salt, 2,048 iterations,
 * no PRF named, so HMAC-SHA1) and AES-256-CBC. Decoded from the example in the ACM user guide, "Export a
 * public certificate"; node:crypto and OpenSSL choose other parameters and cannot be told these.
 */
export function encryptPrivateKey(der: Buffer, passphrase: Buffer): string {
  const salt = randomBytes(20);
  const iterations = 2048;
  const iv = randomBytes(16);
  const cipher = createCipheriv('aes-256-cbc', pbkdf2Sync(passphrase, salt, iterations, 32, 'sha1'), iv);
  const encrypted = Buffer.concat([cipher.update(der), cipher.final()]);
  const info = sequence(
    sequence(
      objectId('2a864886f70d01050d'), // 1.2.840.113549.1.5.13, PBES2
      sequence(
        sequence(
          objectId('2a864886f70d01050c'), // 1.2.840.113549.1.5.12, PBKDF2
          sequence(octets(salt), tagged(0x02, Buffer.from([iterations >> 8, iterations & 0xff]))),
        ),
        sequence(objectId('60864801650304012a'), octets(iv)), // 2.16.840.1.101.3.4.1.42, AES-256-CBC
      ),
    ),
    octets(encrypted),
  );
  const lines = info.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN ENCRYPTED PRIVATE KEY-----\n${lines.join('\n')}\n-----END ENCRYPTED PRIVATE KEY-----\n`;
}

/** One element in DER. */
function tagged(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const size =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}
const sequence = (...parts: Buffer[]) => tagged(0x30, Buffer.concat(parts));
const octets = (content: Buffer) => tagged(0x04, content);
const objectId = (hex: string) => tagged(0x06, Buffer.from(hex, 'hex'));
