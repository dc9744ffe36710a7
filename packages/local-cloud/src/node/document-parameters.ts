import { NotModelled } from '../iam/not-modelled.ts';

/** One entry of `parameters` in an SSM document, as far as it is used here. */
export interface CommandParameter {
  /** String or StringList. */
  type: string;
  default?: string | string[];
  allowedPattern?: string;
  allowedValues?: string[];
  interpolationType?: string;
}

/** What SendCommand and StartAutomationExecution answer to parameters that do not fit the document. */
export class InvalidParameters extends Error {
  override name = 'InvalidParameters';
}

/**
 * Groups and back references that Java has and Go's RE2 has not: a document whose pattern uses them passes at
 * the API and fails on every node.
 */
const NOT_IN_RE2 = /\(\?(?:[=!]|<[=!])|\\[1-9]/;

/** The values of a Command document's parameters, each a single string: see `resolveParameterLists`. */
export function resolveParameters(
  declared: Record<string, CommandParameter>,
  given: Record<string, string[]>,
): Record<string, string> {
  checkAreStrings(declared);
  const lists = Object.entries(resolveParameterLists(declared, given));
  return Object.fromEntries(lists.map(([name, [value = '']]) => [name, value]));
}

/** Throws NotModelled where the agent would have to make text of a list. */
export function checkAreStrings(declared: Record<string, CommandParameter>): void {
  const list = Object.entries(declared).find(([, { type }]) => type !== 'String');
  if (list) throw new NotModelled(`document parameter ${list[0]} of type ${list[1].type}`);
}

/**
 * The values of every parameter of a document, one for a String: the given ones or the default.
 *
 * Throws `InvalidParameters` where one is missing, unknown, not a single string, or does not match its
 * `allowedPattern` or `allowedValues`. SSM checks twice, at the API and on the node, so both sides call this.
 * UNCONFIRMED: that a pattern of a StringList is held against each of its strings.
 */
export function resolveParameterLists(
  declared: Record<string, CommandParameter>,
  given: Record<string, string[]>,
): Record<string, string[]> {
  const unknown = Object.keys(given).filter((name) => !(name in declared));
  if (unknown.length > 0)
    throw new InvalidParameters(`Parameters not in the document: ${unknown.join(', ')}`);

  const values: Record<string, string[]> = {};
  for (const [name, { type, default: byDefault, allowedValues, allowedPattern }] of Object.entries(
    declared,
  )) {
    if (type !== 'String' && type !== 'StringList')
      throw new NotModelled(`document parameter ${name} of type ${type}`);
    const list = given[name] ?? (byDefault === undefined ? undefined : [byDefault].flat());
    if (!list) throw new InvalidParameters(`Parameter ${name} has no value and no default`);
    if (type === 'String' && list.length !== 1)
      throw new InvalidParameters(`Parameter ${name} takes one value, not ${list.length}`);
    for (const value of list) {
      if (allowedValues && !allowedValues.includes(value))
        throw new InvalidParameters(`Parameter ${name} must be one of ${allowedValues.join(', ')}`);
      if (allowedPattern !== undefined && !matches(name, allowedPattern, value))
        throw new InvalidParameters(`Parameter ${name} does not match ${allowedPattern}`);
    }
    values[name] = list;
  }
  return values;
}

function matches(name: string, pattern: string, value: string): boolean {
  if (NOT_IN_RE2.test(pattern)) throw new NotModelled(`allowedPattern of ${name} is not RE2: ${pattern}`);
  return new RegExp(pattern, 'u').test(value);
}
