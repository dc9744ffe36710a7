import { createPrivateKey } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** Something that may be nowhere but where it belongs. */
export interface Secret {
  kind: 'key' | 'encrypted key' | 'passphrase';
  /** For messages: never the secret itself. */
  name: string;
  /** Whatever of these bytes is found gives the secret away. */
  parts: Buffer[];
  /** Lines of PEM that hold some of it. */
  lines?: string[];
}

/** A private key by those of its numbers that are not in the certificate as well. */
export function keySecret(name: string, der: Buffer): Secret {
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  const { d = '', p, q } = key.export({ format: 'jwk' });
  const parts = [d, p, q].filter((part) => part !== undefined).map((part) => Buffer.from(part, 'base64url'));
  const forms =
    key.asymmetricKeyType === 'ec'
      ? [der, key.export({ format: 'der', type: 'sec1' })]
      : [der, key.export({ format: 'der', type: 'pkcs1' })];
  return { kind: 'key', name, parts, lines: forms.flatMap((form) => secretLines(form, parts)) };
}

/** The lines of PEM, 48 bytes each, that hold at least 8 bytes of a part. */
function secretLines(der: Buffer, parts: Buffer[]): string[] {
  const ranges = parts.map((part) => [der.indexOf(part), der.indexOf(part) + part.length] as const);
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return lines.filter((_line, index) =>
    ranges.some(([start, end]) => Math.min(end, index * 48 + 48) - Math.max(start, index * 48) >= 8),
  );
}

/** The encrypted form is worth a key to all who have the passphrase; its first lines say only how it is encrypted. */
export function encryptedKeySecret(name: string, pem: string): Secret {
  const body = pem.replace(/-----[A-Z ]+-----/g, '').replace(/\s/g, '');
  const ciphertext = Buffer.from(body, 'base64').subarray(144);
  return {
    kind: 'encrypted key',
    name,
    parts: [ciphertext],
    lines: (body.match(/.{1,64}/g) ?? []).slice(3, -1),
  };
}

export function passphraseSecret(name: string, passphrase: string): Secret {
  return { kind: 'passphrase', name, parts: [Buffer.from(passphrase)] };
}

/** How a text may hold bytes, as one text to look for each. */
function formsOf(bytes: Buffer): [form: string, text: string][] {
  const raw = bytes.toString('latin1');
  const escaped = JSON.stringify(raw).slice(1, -1);
  const numbers = [...bytes];
  const base64 = [0, 1, 2].map((shift) => {
    // What stands before shifts the letters; those at both ends depend on the neighbours.
    const text = Buffer.concat([Buffer.alloc(shift), bytes])
      .toString('base64')
      .replace(/=+$/, '');
    return text.slice(shift === 0 ? 0 : shift + 1, (shift + bytes.length) % 3 === 0 ? undefined : -1);
  });
  return [
    ['raw', raw],
    ...(escaped === raw ? [] : [['escaped as JSON', escaped] as [string, string]]),
    ['hexadecimal', bytes.toString('hex')],
    ['hexadecimal', bytes.toString('hex').toUpperCase()],
    ...base64.map((text): [string, string] => ['base64', text]),
    ...base64.map((text): [string, string] => ['base64', text.replaceAll('+', '-').replaceAll('/', '_')]),
    ['numbers', numbers.join(',')],
    ['numbers', numbers.map((value, index) => `${index}:${value}`).join(',')],
  ];
}

interface Needle {
  secret: Secret;
  form: string;
  text: string;
}

/** What was found where; the secret itself stays out of it. */
export interface Leak {
  where: string;
  kind: Secret['kind'];
  name: string;
  form: string;
}

/** Looks for secrets in every form that they may have been written down in. */
export class LeakSearch {
  readonly #needles: Needle[];

  constructor(secrets: Secret[]) {
    const needles = secrets.flatMap((secret) => [
      ...secret.parts.flatMap((part) => formsOf(part).map(([form, text]) => ({ secret, form, text }))),
      ...(secret.lines ?? []).map((text) => ({ secret, form: 'a line of PEM', text })),
    ]);
    // What several forms share is looked for once.
    this.#needles = [...new Map(needles.map((needle) => [needle.text, needle])).values()];
  }

  in(where: string, text: string): Leak[] {
    // Line ends, quotes and escapes may come between: a second look is without them.
    const squeezed = text.replace(/\\+[nrt]|[\s\\"'[\]{}]/g, '');
    return this.#needles
      .filter((needle) => text.includes(needle.text) || squeezed.includes(needle.text))
      .map(({ secret: { kind, name }, form }) => ({ where, kind, name, form }));
  }

  /** Every file below a folder, with its path and mode. */
  inFiles(folder: string): FileLeak[] {
    return filesBelow(folder).flatMap((file) => this.inFile(file));
  }

  inFile(file: string): FileLeak[] {
    const found = statSync(file, { throwIfNoEntry: false });
    const mode = (found?.mode ?? 0) & 0o777;
    return this.in('file', textOf(file)).map((leak) => ({ ...leak, path: file, mode }));
  }
}

/** The bytes of a file as latin1; of one that is gone meanwhile, nothing. */
export function textOf(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}

export type FileLeak = Leak & { path: string; mode: number };

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? filesBelow(path) : entry.isFile() ? [path] : [];
  });
}
