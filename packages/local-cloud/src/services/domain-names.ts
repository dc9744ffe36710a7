/**
 * A domain name as Route 53 saves it: small letters, a dot at the end, and `\` with three octal digits for each character
 * but a-z, 0-9, hyphen and underscore (developer guide, "DNS domain name format").
 */
export function savedName(name: string): string {
  const labels = bytesOf(name)
    .map((label) => label.map(shown).join(''))
    .filter((label) => label !== '');
  return `${labels.join('.')}.`;
}

/** The same without the dot at the end: as policies see it (developer guide, "Normalizing the condition key values"). */
export const normalizedName = (name: string): string => savedName(name).slice(0, -1);

/** A saved name as a resolver asks for it: `*.example.com` for `\052.example.com.`. */
export function plainName(name: string): string {
  return bytesOf(name)
    .map((label) => Buffer.from(label).toString('latin1').toLowerCase())
    .filter((label) => label !== '')
    .join('.');
}

/** By labels from the right: `com.example.www.`, the order in which Route 53 lists. */
export const reversedName = (name: string): string =>
  `${name.replace(/\.$/, '').split('.').reverse().join('.')}.`;

/** `www.example.com`, `example.com`, `com`. */
export function nameAndParents(name: string): string[] {
  const labels = name.split('.');
  return labels.map((_, index) => labels.slice(index).join('.'));
}

export const isWithin = (name: string, zone: string): boolean => name === zone || name.endsWith(`.${zone}`);

/** The characters of each label. A dot that is written as `\056` ends no label. */
function bytesOf(name: string): number[][] {
  const labels: number[][] = [[]];
  for (const [part, octal] of name.matchAll(/\\([0-3][0-7]{2})|./gsu)) {
    if (part === '.') labels.push([]);
    else labels.at(-1)?.push(...(octal ? [Number.parseInt(octal, 8)] : Buffer.from(part)));
  }
  return labels;
}

function shown(byte: number): string {
  const character = String.fromCharCode(byte).toLowerCase();
  return /[a-z0-9_-]/.test(character) ? character : `\\${byte.toString(8).padStart(3, '0')}`;
}
