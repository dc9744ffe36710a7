import type { SsmDocument } from '../../scripts/render.ts';

/** SSM: a document and the values of its parameters together, in bytes. */
export const DOCUMENT_LIMIT = 64 * 1024;
/** AutomationParameterValue, in characters. */
export const PARAMETER_VALUE_LIMIT = 512;

/** AutomationParameterValueList, in values. */
const VALUES_LIMIT = 50;

/**
 * A longest text that a pattern matches, of those that documents have: literals, classes, groups, alternatives and
 * repeats. What has no upper end is repeated as often as is said.
 */
export function longestMatch(pattern: string, endless: number): string {
  const rest = [...pattern.matchAll(/\[(?:\^|[^\]])[^\]]*\]|\{[0-9,]+\}|./gs)].map(([token]) => token);
  const alternatives = (): string => {
    let longest = sequence();
    while (rest[0] === '|') {
      rest.shift();
      const other = sequence();
      if (other.length > longest.length) longest = other;
    }
    return longest;
  };
  const sequence = (): string => {
    let text = '';
    while (rest.length > 0 && rest[0] !== '|' && rest[0] !== ')') text += repeated(atom());
    return text;
  };
  const atom = (): string => {
    const token = rest.shift() as string;
    if (token === '(') {
      const group = alternatives();
      rest.shift();
      return group;
    }
    if (/^(\[\^|[\\.^$])/.test(token)) throw new Error(`${token} is no part of patterns here`);
    return token.startsWith('[') ? (token[1] as string) : token;
  };
  const repeated = (text: string): string => {
    if (rest[0] === '?') rest.shift();
    else if (rest[0] === '*' || rest[0] === '+') return text.repeat(Number(rest.shift() === '+') + endless);
    else if (rest[0]?.startsWith('{')) {
      const [, from, comma, to] = /^\{(\d*)(,?)(\d*)\}$/.exec(rest.shift() as string) ?? [];
      return text.repeat(comma === ',' && to === '' ? Number(from) + endless : Number(to || from));
    }
    return text;
  };
  return alternatives();
}

/** The longest value that a parameter can have: its pattern and the API say so. */
export function longestValue({ allowedPattern }: { allowedPattern: string }): string {
  const inner = allowedPattern.slice(1, -1);
  const bounded = longestMatch(inner, 0);
  const perRepeat = longestMatch(inner, 1).length - bounded.length;
  const room = PARAMETER_VALUE_LIMIT - bounded.length;
  return perRepeat === 0 ? bounded : longestMatch(inner, Math.floor(room / perRepeat));
}

/**
 * What SSM may count at run time: the document with each value in the places that name it, and the values.
 *
 * @param limits the patterns that a value has to fit, where those of the document are not the only ones.
 */
export function sizeAtRunTime(document: SsmDocument, limits = document.parameters): number {
  const values = Object.entries(limits).map(([name, parameter]) => ({
    name,
    value: longestValue(parameter).repeat(parameter.type === 'StringList' ? VALUES_LIMIT : 1),
  }));
  const filledIn = values.reduce(
    (text, { name, value }) => text.replaceAll(`{{ ${name} }}`, value),
    JSON.stringify(document),
  );
  return Buffer.byteLength(filledIn) + Buffer.byteLength(values.map(({ value }) => value).join(''));
}
