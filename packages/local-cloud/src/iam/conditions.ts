import { NotModelled } from './not-modelled.ts';
import type { ConditionBlock, OneOrMany } from './policy.ts';

export type Context = Record<string, string | string[]>;

/** The condition keys of which the local cloud knows when they are present; a policy with any other throws. */
const modelledKeys = [
  /^aws:(PrincipalArn|PrincipalAccount|PrincipalType|PrincipalIsAWSService|PrincipalServiceName|PrincipalOrgID)$/i,
  /^aws:(SourceArn|SourceAccount|ResourceAccount|RequestedRegion|SecureTransport|TagKeys)$/i,
  /^aws:(CurrentTime|EpochTime|userid)$/i,
  /^aws:(PrincipalTag|ResourceTag|RequestTag)\/.+$/i,
  /^acm:(DomainNames|KeyAlgorithm|ValidationMethod|CertificateAuthority|CertificateTransparencyLogging|Export)$/i,
  /^events:(source|detail-type)$/i,
  /^iam:PassedToService$/i,
  /^iam:ResourceTag\/.+$/i,
  /^route53:ChangeResourceRecordSets(NormalizedRecordNames|RecordTypes|Actions)$/i,
  /^secretsmanager:(Name|Description|SecretId|VersionId|VersionStage|BlockPublicPolicy)$/i,
  /^secretsmanager:(RecoveryWindowInDays|ForceDeleteWithoutRecovery)$/i,
  /^secretsmanager:ResourceTag\/.+$/i,
  /^ssm:resourceTag\/.+$/i,
  /^sts:(ExternalId|RoleSessionName)$/i,
];

/** AWS puts these into every request. That one is missing here must not decide anything. */
const alwaysPresent = /^aws:(CurrentTime|EpochTime|RequestedRegion|SecureTransport)$/i;

type Test = (actual: string, wanted: string) => boolean;
interface Operator {
  test: Test;
  negated: boolean;
  /** Only string and ARN operators take policy variables (IAM User Guide, "Variables and tags"). */
  variables: boolean;
}

const number = (test: (a: number, b: number) => boolean): Test => {
  return (actual, wanted) => {
    if (Number.isNaN(Number(wanted))) throw new NotModelled(`numeric condition value ${wanted}`);
    return test(Number(actual), Number(wanted));
  };
};
const instant = (text: string) => (/^\d+(\.\d+)?$/.test(text) ? Number(text) * 1000 : Date.parse(text));
const date = (test: (a: number, b: number) => boolean): Test => {
  return (actual, wanted) => {
    if (Number.isNaN(instant(wanted))) throw new NotModelled(`date condition value ${wanted}`);
    return test(instant(actual), instant(wanted));
  };
};

function operators(): Map<string, Operator> {
  const table = new Map<string, Operator>();
  const add = (name: string, not: string, test: Test, variables: boolean) => {
    table.set(name, { test, negated: false, variables });
    if (not) table.set(not, { test, negated: true, variables });
  };
  const sameText: Test = (actual, wanted) => actual === unprotect(wanted);
  add('StringEquals', 'StringNotEquals', sameText, true);
  add(
    'StringEqualsIgnoreCase',
    'StringNotEqualsIgnoreCase',
    (actual, wanted) => sameText(actual.toLowerCase(), wanted.toLowerCase()),
    true,
  );
  add('StringLike', 'StringNotLike', (actual, wanted) => matchesPattern(actual, wanted), true);
  add('ArnLike', 'ArnNotLike', arnMatches, true);
  add('ArnEquals', 'ArnNotEquals', arnMatches, true); // "behave identically", says the IAM User Guide
  add('Bool', '', (actual, wanted) => actual.toLowerCase() === wanted.toLowerCase(), false);
  for (const [kind, wrap] of [
    ['Numeric', number],
    ['Date', date],
  ] as const) {
    add(
      `${kind}Equals`,
      `${kind}NotEquals`,
      wrap((a, b) => a === b),
      false,
    );
    add(
      `${kind}LessThan`,
      '',
      wrap((a, b) => a < b),
      false,
    );
    add(
      `${kind}LessThanEquals`,
      '',
      wrap((a, b) => a <= b),
      false,
    );
    add(
      `${kind}GreaterThan`,
      '',
      wrap((a, b) => a > b),
      false,
    );
    add(
      `${kind}GreaterThanEquals`,
      '',
      wrap((a, b) => a >= b),
      false,
    );
  }
  return table;
}
const operatorTable = operators();

interface ParsedOperator {
  set: 'ForAllValues' | 'ForAnyValue' | undefined;
  operator: Operator | 'Null';
  ifExists: boolean;
}

const parsedOperators = new Map<string, ParsedOperator>();

function parseOperator(name: string): ParsedOperator {
  const known = parsedOperators.get(name);
  if (known) return known;
  const parsed = operatorOf(name);
  parsedOperators.set(name, parsed);
  return parsed;
}

function operatorOf(name: string): ParsedOperator {
  const [, set, base = '', ifExists] = /^(?:(ForAllValues|ForAnyValue):)?(\w+?)(IfExists)?$/.exec(name) ?? [];
  if (base === 'Null' && !set && !ifExists) return { set: undefined, operator: 'Null', ifExists: false };
  const operator = operatorTable.get(base);
  if (!operator) throw new NotModelled(`condition operator ${name}`);
  return { set: set as ParsedOperator['set'], operator, ifExists: Boolean(ifExists) };
}

/** Throws NotModelled for an operator or key that evaluation would have to guess at. */
export function checkConditions(block: ConditionBlock): void {
  for (const [name, entries] of Object.entries(block)) {
    parseOperator(name);
    for (const key of Object.keys(entries)) {
      if (!modelledKeys.some((known) => known.test(key))) throw new NotModelled(`condition key ${key}`);
    }
  }
}

/**
 * Whether all conditions of a statement hold. `effect` matters in one case only: key names are not
 * case-sensitive, tag keys of most services are, so two tags of a resource (`env`, `Env`) can answer one
 * condition key. The IAM User Guide promises "unexpected condition failures"; here an Allow then needs every
 * value to fit, and for a Deny one is enough.
 */
export function conditionsHold(
  block: ConditionBlock | undefined,
  context: Context,
  effect: 'Allow' | 'Deny',
  withVariables: boolean,
): boolean {
  for (const [name, entries] of Object.entries(block ?? {})) {
    const parsed = parseOperator(name);
    for (const [key, wanted] of Object.entries(entries)) {
      const candidates = lookUp(context, key);
      if (candidates.length === 0 && alwaysPresent.test(key)) throw new NotModelled(`no value for ${key}`);
      const hold = (actual: string | string[] | undefined) =>
        conditionHolds(parsed, `${name} on ${key}`, actual, list(wanted).map(String), context, withVariables);
      const result =
        candidates.length < 2
          ? hold(candidates[0])
          : effect === 'Allow'
            ? candidates.every(hold)
            : candidates.some(hold);
      if (!result) return false;
    }
  }
  return true;
}

function conditionHolds(
  { set, operator, ifExists }: ParsedOperator,
  where: string,
  actual: string | string[] | undefined,
  wanted: string[],
  context: Context,
  withVariables: boolean,
): boolean {
  if (operator === 'Null') return wanted.some((text) => (text === 'true') === (actual === undefined));
  const { test, negated } = operator;
  const resolved = wanted.map((text) =>
    operator.variables && withVariables ? substitute(text, context) : text,
  );
  if (negated && resolved.includes(undefined)) {
    // AWS only says that the statement might become invalid.
    throw new NotModelled(`policy variable without a value in a negated condition (${where})`);
  }
  const fits = (value: string) =>
    resolved.some((text) => text !== undefined && test(value, text)) !== negated;
  if (Array.isArray(actual) ? actual.length === 0 : actual === undefined) {
    if (set === 'ForAllValues' || ifExists) return true;
    return set === 'ForAnyValue' ? false : negated;
  }
  if (set === 'ForAllValues') return list(actual as OneOrMany<string>).every(fits);
  if (set === 'ForAnyValue') return list(actual as OneOrMany<string>).some(fits);
  if (Array.isArray(actual)) {
    throw new NotModelled(`a key with several values needs ForAllValues or ForAnyValue (${where})`);
  }
  return fits(actual as string);
}

/** All values under a key name; names are not case-sensitive, the tag key in them included. */
function lookUp(context: Context, key: string): (string | string[])[] {
  const name = key.toLowerCase();
  const values: (string | string[])[] = [];
  for (const candidate in context) {
    const value = context[candidate];
    if (value === undefined || candidate.length !== name.length) continue;
    if (candidate.toLowerCase() === name) values.push(value);
  }
  return values;
}

// Stand for `${*}`, `${?}` and `${$}`: characters that a pattern takes literally.
const protectedCharacters = new Map([
  ['*', '\u0001'],
  ['?', '\u0002'],
  ['$', '\u0003'],
]);
const unprotect = (text: string) =>
  text.replaceAll('\u0001', '*').replaceAll('\u0002', '?').replaceAll('\u0003', '$');

/**
 * Replaces policy variables; undefined if one has neither value nor default. What a variable brings in is
 * taken literally: a tag value `*` must not become a wildcard.
 */
export function substitute(text: string, context: Context): string | undefined {
  let missing = false;
  const result = text.replace(/\$\{([^}]*)\}/g, (_whole, inside: string) => {
    const literal = protectedCharacters.get(inside);
    if (literal) return literal;
    const [, key = '', fallback] = /^([^,']+?)(?:, *'([^']*)')?$/.exec(inside.trim()) ?? [];
    if (!key) throw new NotModelled(`policy variable \${${inside}}`);
    const values = lookUp(context, key);
    if (values.length > 1 || Array.isArray(values[0])) {
      throw new NotModelled(`policy variable \${${inside}} of a key with several values`);
    }
    const value = (values[0] as string | undefined) ?? fallback;
    if (value === undefined) missing = true;
    return (value ?? '').replace(/[*?$]/g, (character) => protectedCharacters.get(character) ?? character);
  });
  return missing ? undefined : result;
}

/** Patterns as regular expressions. Values of variables stand in some, so that there is no end of them. */
const expressions = { exact: new Map<string, RegExp>(), ignoringCase: new Map<string, RegExp>() };
const EXPRESSIONS = 10_000;

// What has none of these is compared as it is.
const WILDCARDS = new RegExp(`[*?${[...protectedCharacters.values()].join('')}]`);

/** `*` stands for any characters, `?` for one. */
export function matchesPattern(text: string, pattern: string, ignoreCase = false): boolean {
  if (pattern === text || pattern === '*') return true;
  if (!ignoreCase && !WILDCARDS.test(pattern)) return false;
  const known = ignoreCase ? expressions.ignoringCase : expressions.exact;
  let expression = known.get(pattern);
  if (!expression) {
    if (known.size >= EXPRESSIONS) known.clear();
    expression = new RegExp(`^${expressionOf(pattern)}$`, ignoreCase ? 'is' : 's');
    known.set(pattern, expression);
  }
  return expression.test(text);
}

function expressionOf(pattern: string): string {
  return pattern
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.')
    .replaceAll('\u0001', '\\*')
    .replaceAll('\u0002', '\\?')
    .replaceAll('\u0003', '\\$');
}

/** Compares ARNs part by part: a wildcard does not reach over one of the first five colons. */
export function arnMatches(arn: string, pattern: string): boolean {
  const actual = arnParts(arn);
  const wanted = arnParts(pattern);
  if (!actual || !wanted) throw new NotModelled(`ARN comparison of ${arn} with ${pattern}`);
  return wanted.every((part, index) => matchesPattern(actual[index] ?? '', part));
}

const arns = new Map<string, string[]>();

function arnParts(arn: string): string[] | undefined {
  const known = arns.get(arn);
  if (known) return known;
  const parts = arn.split(':');
  if (parts.length < 6) return undefined;
  if (arns.size >= EXPRESSIONS) arns.clear();
  const split = [...parts.slice(0, 5), parts.slice(5).join(':')];
  arns.set(arn, split);
  return split;
}

export function list<T>(value: OneOrMany<T> | undefined): T[] {
  return value === undefined ? [] : Array.isArray(value) ? value : [value];
}
