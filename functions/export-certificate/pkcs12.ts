import { createHash, createHmac, randomBytes, X509Certificate } from 'node:crypto';
import { BundleNotStorable } from '../domain/errors.ts';

/**
 * Iterations of the MAC's key, as many as ACM gives the key's own encryption (ACM user guide, "Export a public
 * certificate"): a guess would be tried at the cheaper of both. Against guesses stands the passphrase, of 380 bits.
 */
const MAC_ITERATIONS = 2048;
const SALT_BYTES = 20;

/** Object identifiers in DER, which has them as here. */
const ID = {
  data: '2a864886f70d010701', // 1.2.840.113549.1.7.1
  shroudedKeyBag: '2a864886f70d010c0a0102', // 1.2.840.113549.1.12.10.1.2
  certBag: '2a864886f70d010c0a0103', // 1.2.840.113549.1.12.10.1.3
  x509Certificate: '2a864886f70d01091601', // 1.2.840.113549.1.9.22.1
  friendlyName: '2a864886f70d010914', // 1.2.840.113549.1.9.20
  localKeyId: '2a864886f70d010915', // 1.2.840.113549.1.9.21
  sha256: '608648016503040201', // 2.16.840.1.101.3.4.2.1
};

/** What ACM exports, with the passphrase that it encrypted the key with. */
export interface Exported {
  Certificate: string;
  CertificateChain: string;
  /** Encrypted PKCS#8 in PEM. */
  PrivateKey: string;
  Passphrase: string;
}

/**
 * A PKCS#12 file (RFC 7292) in DER of what ACM exported. The key is not decrypted: a bag for a key holds just what
 * encrypted PKCS#8 is (EncryptedPrivateKeyInfo, RFC 7292, 4.2.2), so ACM's goes in byte for byte, and the passphrase is
 * needed for the MAC alone. The certificates, which are public, are not encrypted. They are in one part and the key is in
 * another, since go-pkcs12 up to 0.2 takes two parts and no other number.
 *
 * @param name by which readers show key and leaf.
 * @throws BundleNotStorable where the key is not encrypted PKCS#8.
 */
export function pkcs12Of(
  { Certificate, CertificateChain, PrivateKey, Passphrase }: Exported,
  name: string,
): Buffer {
  const { raw: leaf } = new X509Certificate(Certificate);
  const [key] = blocksOf(PrivateKey, 'ENCRYPTED PRIVATE KEY');
  if (!key) {
    throw new BundleNotStorable(
      'ACM exported a key that is not encrypted PKCS#8: no PKCS#12 can be made of it. POST the deployment with BundleFormats null.',
    );
  }
  // The same on both: by it readers tell whose key it is. Any bytes will do.
  const attributes = [
    attribute(ID.friendlyName, element(0x1e, bmpString(name))),
    attribute(ID.localKeyId, octets(createHash('sha256').update(leaf).digest())),
  ];
  const chain = blocksOf(CertificateChain, 'CERTIFICATE').map((certificate) => certBag(certificate, []));
  const safe = sequence(
    dataOf(sequence(certBag(leaf, attributes), ...chain)),
    dataOf(sequence(bag(ID.shroudedKeyBag, key, attributes))),
  );
  return sequence(integer(3), dataOf(safe), macOf(safe, Passphrase));
}

/** The bytes of each block of PEM with this label. */
function blocksOf(pem: string, label: string): Buffer[] {
  const blocks = pem.matchAll(/-----BEGIN ([A-Z ]+)-----([^-]+)-----END \1-----/g);
  return [...blocks].flatMap(([, found, body = '']) =>
    found === label ? [Buffer.from(body, 'base64')] : [],
  );
}

/** HMAC-SHA-256, as OpenSSL 3 makes it too. Java reads it since 7u311, 8u301 and 11.0.12 (JDK-8267701). */
function macOf(safe: Buffer, passphrase: string): Buffer {
  const salt = randomBytes(SALT_BYTES);
  const digest = createHmac('sha256', macKeyOf(passphrase, salt)).update(safe).digest();
  const algorithm = sequence(objectId(ID.sha256), element(0x05));
  return sequence(sequence(algorithm, octets(digest)), octets(salt), integer(MAC_ITERATIONS));
}

/** RFC 7292, B.2, for a key of 32 bytes: SHA-256 gives as many, so that the first round is the last. */
function macKeyOf(passphrase: string, salt: Buffer): Buffer {
  const block = 64;
  const filled = (bytes: Buffer) => Buffer.alloc(Math.ceil(bytes.length / block) * block, bytes);
  // 3 stands for a key of a MAC (B.3). A password ends in a zero character (B.1).
  const start = [Buffer.alloc(block, 3), filled(salt), filled(bmpString(`${passphrase}\0`))];
  let key = Buffer.concat(start);
  for (let round = 0; round < MAC_ITERATIONS; round++) {
    key = createHash('sha256').update(key).digest();
  }
  return key;
}

const bmpString = (text: string) => Buffer.from(text, 'utf16le').swap16();

/** One element in DER. */
function element(tag: number, ...parts: Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const hex = content.length.toString(16);
  const length = Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex');
  const isShort = content.length < 0x80;
  return Buffer.concat([Buffer.from([tag, ...(isShort ? [] : [0x80 | length.length])]), length, content]);
}

const sequence = (...parts: Buffer[]) => element(0x30, ...parts);
/** As DER sorts its members. */
const setOf = (...parts: Buffer[]) => element(0x31, ...parts.toSorted(Buffer.compare));
const explicit = (part: Buffer) => element(0xa0, part);
const octets = (content: Buffer) => element(0x04, content);
const objectId = (hex: string) => element(0x06, Buffer.from(hex, 'hex'));
/** From 0 to 32,767. */
const integer = (value: number) =>
  element(0x02, Buffer.from(value < 0x80 ? [value] : [value >> 8, value & 0xff]));

const attribute = (id: string, value: Buffer) => sequence(objectId(id), setOf(value));
const dataOf = (content: Buffer) => sequence(objectId(ID.data), explicit(octets(content)));
const bag = (id: string, value: Buffer, attributes: Buffer[]) =>
  sequence(objectId(id), explicit(value), ...(attributes.length > 0 ? [setOf(...attributes)] : []));
const certBag = (certificate: Buffer, attributes: Buffer[]) =>
  bag(ID.certBag, sequence(objectId(ID.x509Certificate), explicit(octets(certificate))), attributes);
