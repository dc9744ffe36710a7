import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';

export interface Issued {
  /** Lower-case hex, 16 bytes. */
  serial: string;
  pem: string;
  notAfter: Date;
}

const issued = new Map<string, Promise<Issued>>();

/**
 * The nth certificate of a made-up authority. Its key is forgotten at once: no function looks at keys.
 *
 * @param day of its issue, counted from the first day of the tests' clock.
 */
export function issuedCertificate(index: number, day = 0): Promise<Issued> {
  const key = `${index}/${day}`;
  const known = issued.get(key);
  if (known) {
    return known;
  }
  const made = issue(index, day);
  issued.set(key, made);
  return made;
}

async function issue(index: number, day: number): Promise<Issued> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  x509.cryptoProvider.set(webcrypto as typeof crypto);
  const keys = (await webcrypto.subtle.generateKey(algorithm, false, [
    'sign',
    'verify',
  ])) as webcrypto.CryptoKeyPair;
  // Like ACM's: 128 bits, and now and then with a first bit that DER pads.
  const first = (((index * 37) % 255) + 1).toString(16).padStart(2, '0');
  const serial = `${first}${index.toString(16).padStart(14, '0')}${'5a'.repeat(8)}`;
  const notBefore = new Date(Date.parse('2026-11-24T00:00:00Z') + day * 86_400_000);
  const notAfter = new Date(notBefore.getTime() + 198 * 86_400_000 - 1000);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial,
    name: 'CN=www.example.com',
    notBefore,
    notAfter,
    keys,
    signingAlgorithm: algorithm,
  });
  return { serial, pem: `${certificate.toString('pem')}\n`, notAfter };
}
