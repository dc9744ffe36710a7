import { domainToASCII, domainToUnicode } from 'node:url';

/** The domain names of a request, as ACM gets them, and what is wrong with the others, in words for the person who asked. */
export interface CheckedNames {
  names: string[];
  faults: string[];
}

/** 255 octets on the wire are 253 characters in text (RFC 1035, 2.3.4). */
const MOST_CHARACTERS = 253;
/** ACM asks for a record `_<32 hexadecimal digits>.<name>` (ACM User Guide, "DNS validation"). It must be a DNS name, too. */
const VALIDATION_LABEL = 34;
/** The common name of a certificate (RFC 5280, upper bounds). ACM takes the first name for it (API reference, RequestCertificate). */
const MOST_OF_FIRST = 64;
/** RFC 1035, 2.3.4. */
const MOST_OF_LABEL = 63;

/**
 * Top-level domains that no public DNS has, now or ever: special-use names (IANA registry; RFC 6761, 6762, 7686, 8375, 9476),
 * those that ICANN keeps for private use (internal) or never delegates (corp, home, mail).
 */
const NOT_PUBLIC = new Set([
  'alt',
  'corp',
  'example',
  'home',
  'internal',
  'invalid',
  'local',
  'localhost',
  'mail',
  'onion',
  'test',
]);

/** Whether a certificate for the name covers every name one label below it. */
export const isWildcard = (name: string) => name.startsWith('*.');

/** The name without the star: where DNS is asked about it, and below which ACM's record is. */
export const baseOf = (name: string) => (isWildcard(name) ? name.slice(2) : name);

/** The names at which the zone of a name, or its CAA records, may be: the name itself and all its parents, the closest first. */
export function zoneCandidates(name: string): string[] {
  const labels = baseOf(name).split('.');
  return labels.map((_, index) => labels.slice(index).join('.'));
}

/** A DNS name as it is compared: in lower case and without the dot at its end. Letters of other scripts stay as they are. */
export const plainName = (name: string) => name.replace(/\.$/, '').toLowerCase();

/**
 * Checks names for a public certificate and writes them as ACM gets them: lower case, no dot at the end, other scripts in
 * their ASCII form (`münchen.de`: `xn--mnchen-3ya.de`). What only public DNS knows, it is not asked here.
 */
export function checkNames(given: readonly string[]): CheckedNames {
  const names = new Map<string, string>();
  const faults: string[] = [];
  for (const text of given) {
    const name = normalise(text);
    const fault = name === undefined ? NOT_A_NAME : faultOf(name);
    if (fault || name === undefined) {
      faults.push(`${shownAs(text, name)}: ${fault}`);
    } else if (names.has(name)) {
      faults.push(`${shownAs(text, name)}: the list has this name already. Name it once.`);
    } else {
      names.set(name, text);
    }
  }
  const [[first, text] = ['', '']] = names;
  if (first.length > MOST_OF_FIRST) {
    faults.push(
      `${shownAs(text, first)}: the first name may have ${MOST_OF_FIRST} characters, and this one has ${first.length}. Put a shorter name first.`,
    );
  }
  return { names: [...names.keys()], faults };
}

const NOT_A_NAME =
  'it is no DNS name. A name has letters, digits and hyphens in labels that dots separate, such as www.example.com.';

/** Characters that nobody sees, or that change the order of those around them. */
const INVISIBLE = /[\p{Cf}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;

/** At most as much as a DNS name may have: the text comes from a request. */
const shown = (text: string) =>
  JSON.stringify(text.length > MOST_CHARACTERS ? `${text.slice(0, MOST_CHARACTERS)}…` : text).replaceAll(
    INVISIBLE,
    (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`,
  );

/** With its ASCII form where that is another one: what is wrong may be seen only there. */
function shownAs(text: string, name: string | undefined): string {
  const isOther = name !== undefined && name !== text.replace(/\.$/, '').toLowerCase();
  return isOther && name.length <= MOST_CHARACTERS ? `${shown(text)} (${name})` : shown(text);
}

/**
 * The name in its ASCII form; undefined for what has none.
 *
 * `domainToASCII` reads a text as the host of a URL: it decodes `%41`, cuts at `/` and makes an address of `1.2.3`. So it gets
 * nothing of ASCII but what a name may have.
 */
function normalise(text: string): string | undefined {
  const [, star = '', rest = ''] = /^(\*\.)?(.*?)\.?$/su.exec(text) ?? [];
  // biome-ignore lint/suspicious/noControlCharactersInRegex: all of ASCII
  if (/[\x00-\x7f]/.test(rest.replaceAll(/[A-Za-z0-9._*-]/g, ''))) {
    return undefined;
  }
  // biome-ignore lint/suspicious/noControlCharactersInRegex: all of ASCII
  if (/^[\x00-\x7f]*$/.test(rest)) {
    return star + rest.toLowerCase();
  }
  // Its dots may be those of other scripts: the last one is left then.
  const ascii = domainToASCII(rest).replace(/\.$/, '');
  // What it makes of other characters may be ASCII that no name has: `﹐` becomes a comma.
  return /^[a-z0-9._*-]+$/.test(ascii) ? star + ascii : undefined;
}

/** Why a public certificate cannot have the name. */
function faultOf(name: string): string | undefined {
  const base = baseOf(name);
  const labels = base.split('.');
  const [top = ''] = labels.slice(-1);
  if (base.includes('*')) {
    return 'a star may only be the whole first label, such as *.example.com.';
  }
  if (labels.includes('')) {
    return base === '' ? NOT_A_NAME : 'it has an empty label: two dots in a row, or one at its beginning.';
  }
  const long = labels.find((label) => label.length > MOST_OF_LABEL);
  if (long) {
    return `a label may have ${MOST_OF_LABEL} characters, and one has ${long.length}.`;
  }
  if (name.length > MOST_CHARACTERS || base.length + VALIDATION_LABEL > MOST_CHARACTERS) {
    return (
      `it has ${base.length} characters. A name may have ${MOST_CHARACTERS - VALIDATION_LABEL}, so that the record that ` +
      `proves it, whose name is ${VALIDATION_LABEL} longer, is a DNS name.`
    );
  }
  if (base.includes('_')) {
    return 'a certificate takes no underscore in a name.';
  }
  const edged = labels.find((label) => /^-|-$/.test(label));
  if (edged) {
    return `the label ${edged} begins or ends with a hyphen.`;
  }
  // Baseline Requirements of the CA/Browser Forum, 7.1.2.7.12: P-labels, or labels without hyphens there.
  const reserved = labels.find((label) => /^..--/.test(label) && !label.startsWith('xn--'));
  if (reserved) {
    return `the label ${reserved} has hyphens as its third and fourth character: only names in their ASCII form (xn--) may.`;
  }
  // Node leaves such a label as it is where it does not come from a name of another script (UTS 46).
  const broken = labels.find((label) => label.startsWith('xn--') && domainToUnicode(label) === label);
  if (broken) {
    return `the label ${broken} is not the ASCII form of a name in another script.`;
  }
  if (/^[0-9]+$|^0x[0-9a-f]*$/.test(top)) {
    return 'it looks like an IP address. ACM issues certificates for names only.';
  }
  if (top === 'arpa') {
    return 'no public certificate is issued below arpa.';
  }
  if (NOT_PUBLIC.has(top)) {
    return `public DNS has no names below ${top}. A public certificate is for public names only.`;
  }
  if (labels.length > 1 && top.length === 1) {
    return 'its top-level domain has one character. There is none of that length.';
  }
  if (labels.length === 1) {
    return isWildcard(name)
      ? `it would stand for every domain below ${base}. ACM issues none for that.`
      : 'it has one label. A public name has two at least, such as example.com.';
  }
  return undefined;
}
