import { NotModelled } from '../iam/not-modelled.ts';

/** One entry of `parameters` in an SSM document, as far as it is used here. */
export interface CommandParameter {
  type: string;
  default?: string;
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

/**
 * The value of every parameter of a document: the given one or the default.
 *
 * Throws `InvalidParameters` where one is missing, unknown, not a single string, or does not match its
 * `allowedPattern` or `allowedValues`. SSM checks twice, at the API and on the node, so both sides call this.
 */
export function resolveParameters(
  declared: Record<string, CommandParameter>,
  given: Record<string, string[]>,
): Record<string, string> {
  const unknown = Object.keys(given).filter((name) => !(name in declared));
  if (unknown.length > 0)
    throw new InvalidParameters(`Parameters not in the document: ${unknown.join(', ')}`);

  const values: Record<string, string> = {};
  for (const [name, parameter] of Object.entries(declared)) {
    if (parameter.type !== 'String')
      throw new NotModelled(`document parameter ${name} of type ${parameter.type}`);
    const list = given[name];
    if (list && list.length !== 1)
      throw new InvalidParameters(`Parameter ${name} takes one value, not ${list.length}`);
    const value = list?.[0] ?? parameter.default;
    if (value === undefined) throw new InvalidParameters(`Parameter ${name} has no value and no default`);
    if (parameter.allowedValues && !parameter.allowedValues.includes(value)) {
      throw new InvalidParameters(`Parameter ${name} must be one of ${parameter.allowedValues.join(', ')}`);
    }
    if (parameter.allowedPattern !== undefined && !matches(name, parameter.allowedPattern, value)) {
      throw new InvalidParameters(`Parameter ${name} does not match ${parameter.allowedPattern}`);
    }
    values[name] = value;
  }
  return values;
}

function matches(name: string, pattern: string, value: string): boolean {
  if (NOT_IN_RE2.test(pattern)) throw new NotModelled(`allowedPattern of ${name} is not RE2: ${pattern}`);
  return new RegExp(pattern, 'u').test(value);
}
