import { readFileSync } from 'node:fs';
import { NotModelled } from '../iam/not-modelled.ts';
import { ServiceError } from './service.ts';

/** One shape of a service's model; other shapes stand in it by their names. */
interface Shape {
  type:
    | 'structure'
    | 'list'
    | 'map'
    | 'string'
    | 'integer'
    | 'long'
    | 'float'
    | 'double'
    | 'boolean'
    | 'blob'
    | 'timestamp';
  required?: string[];
  members?: Record<string, string>;
  member?: string;
  key?: string;
  value?: string;
  /** Of numbers the value; of others the length: UTF-16 units, decoded bytes, items. */
  min?: number;
  max?: number;
  pattern?: string;
  enum?: string[];
  sensitive?: true;
}

interface ServiceModel {
  protocol: 'json' | 'query' | 'ec2' | 'rest-json' | 'rest-xml';
  operations: Record<string, { input?: string; output?: string }>;
  shapes: Record<string, Shape>;
}

type End = 'input' | 'output';

interface Constraints {
  source: string;
  services: Record<string, ServiceModel>;
}

/** The demands of the services' models, as scripts/constraints.py cuts them out of botocore. */
export const constraints: Constraints = JSON.parse(
  readFileSync(new URL('constraints.json', import.meta.url), 'utf8'),
);

/** One place where a value does not fit its shape. */
interface Fault {
  kind: 'member' | 'type' | 'constraint';
  path: string[];
  /** As AWS words it, without the value. */
  text: string;
  /** As AWS shows it. Lists, maps and sensitive values are never shown. */
  value?: string;
}

/**
 * Throws the error that AWS answers when a request does not fit the model of its operation (by the name on the wire):
 * SerializationException for a wrong type, ValidationException for lengths, values, patterns and missing members, all
 * of them in one message. The query protocol's names are MalformedInput and ValidationError, that of Route 53 is
 * InvalidInput. Throws NotModelled for a member that the operation does not have. AWS would ignore it, and nobody would see
 * the caller's fault.
 *
 * Sources of the error's name: aws-cdk-examples#88 (Lambda), cluster-api-provider-aws#1531 (Secrets Manager), moto#6438
 * (Step Functions), terraform#24250 (Route 53). UNCONFIRMED: that a pattern must match the whole value where it has no anchors, the order of
 * the faults, and how AWS names a fault in a list; values in a list or map are named by their place.
 */
export function checkConstraints(operation: string, input: unknown): void {
  const faults = faultsIn(operation, 'input', input);
  if (faults.length === 0) return;
  const unknown = faults.find(({ kind }) => kind === 'member');
  if (unknown) throw new NotModelled(`${operation}: ${worded(unknown)}`);
  const { model } = shapeOf(operation, 'input');
  const isQuery = model.protocol === 'query' || model.protocol === 'ec2';
  const isXml = model.protocol === 'rest-xml';
  const malformed = faults.find(({ kind }) => kind === 'type');
  if (malformed) {
    const name = isXml ? 'InvalidInput' : isQuery ? 'MalformedInput' : 'SerializationException';
    throw new ServiceError(name, worded(malformed));
  }
  const texts = faults.map(
    ({ path, text, value = '' }) =>
      `Value ${value}at '${path.join('.')}' failed to satisfy constraint: ${text}`,
  );
  const count = texts.length === 1 ? '1 validation error' : `${texts.length} validation errors`;
  throw new ServiceError(
    isXml ? 'InvalidInput' : isQuery ? 'ValidationError' : 'ValidationException',
    `${count} detected: ${texts.join('; ')}`,
  );
}

/** Lists where an answer does not fit the model of its operation, in words without values. Times may be Dates. */
export function answerFaults(operation: string, output: unknown): string[] {
  return faultsIn(operation, 'output', output).map(worded);
}

/** A copy in which every letter of a sensitive text is an x. The padding of base64 stays, and with it the length. */
export function masked(operation: string, end: End, value: unknown): unknown {
  const { model, shape } = shapeOf(operation, end);
  return shape === undefined ? value : withoutSecrets(model, named(model, shape), value, false);
}

/** The model of an operation's service, and the name of a shape unless that end of the operation is empty. */
function shapeOf(operation: string, end: End): { model: ServiceModel; shape: string | undefined } {
  const [service = '', name = ''] = operation.split('.');
  const model = constraints.services[service];
  const ends = model?.operations[name];
  if (!model || !ends) throw new Error(`constraints.json has no operation ${operation}`);
  return { model, shape: ends[end] };
}

/** By operation, once they are needed. */
const checks: Record<End, Map<string, Check>> = { input: new Map(), output: new Map() };

function faultsIn(operation: string, end: End, value: unknown): Fault[] {
  let check = checks[end].get(operation);
  if (!check) {
    const { model, shape } = shapeOf(operation, end);
    // Void operations give nothing, whatever their handler returns.
    check = shape === undefined ? () => {} : new Checks(model, end === 'output').of(shape);
    checks[end].set(operation, check);
  }
  const faults: Fault[] = [];
  check(value ?? {}, faults, false);
  return faults;
}

function worded({ path, text }: Fault): string {
  return path.length > 0 ? `${path.join('.')}: ${text}` : text;
}

/** Adds what is wrong with a value, which may lie in a sensitive one. */
type Check = (value: unknown, faults: Fault[], isHidden: boolean) => void;

/**
 * The checks of an operation's requests, or of its answers. A shape is read once, when the first value of it comes, because
 * each call is checked twice. Paths are made only where something is wrong.
 */
class Checks {
  readonly #model: ServiceModel;
  readonly #isAnswer: boolean;
  readonly #known = new Map<string, Check>();

  constructor(model: ServiceModel, isAnswer: boolean) {
    this.#model = model;
    this.#isAnswer = isAnswer;
  }

  of(name = ''): Check {
    let check = this.#known.get(name);
    if (!check) {
      check = this.#checkOf(named(this.#model, name));
      this.#known.set(name, check);
    }
    return check;
  }

  #checkOf(shape: Shape): Check {
    const hasType = typeTest(this.#model, shape, this.#isAnswer);
    const rules = rulesOf(this.#model, shape);
    const checkParts = this.#partsOf(shape);
    return (value, faults, isHidden) => {
      if (!hasType(value)) {
        faults.push({ kind: 'type', path: [], text: `must be ${shape.type}` });
        return;
      }
      const hidden = isHidden || shape.sensitive === true;
      for (const { fits, text } of rules) {
        if (fits(value)) continue;
        const isShown = !hidden && typeof value !== 'object';
        faults.push({ kind: 'constraint', path: [], text, ...(isShown ? { value: `'${value}' ` } : {}) });
      }
      checkParts?.(value, faults, hidden);
    };
  }

  /** What a value holds: its members, items, or keys and values. */
  #partsOf(shape: Shape): Check | undefined {
    switch (shape.type) {
      case 'structure':
        return this.#membersOf(shape);
      case 'list':
        return (value, faults, hidden) => {
          // A form has an empty text for an empty list.
          if (!Array.isArray(value)) return;
          const check = this.of(shape.member);
          for (let index = 0; index < value.length; index++) {
            this.#within(check, value[index], faults, hidden, index + 1, '.member');
          }
        };
      case 'map':
        return (value, faults, hidden) => {
          for (const [key, member] of Object.entries(value as object)) {
            this.#within(this.of(shape.key), key, faults, hidden, key, '.key');
            this.#within(this.of(shape.value), member, faults, hidden, key, '.value');
          }
        };
      default:
        return undefined;
    }
  }

  #membersOf({ required = [], members = {} }: Shape): Check {
    return (value, faults, hidden) => {
      const given = value as Record<string, unknown>;
      for (const name of required) {
        if (!this.#isAbsent(given[name])) continue;
        const path = [this.#shown(name)];
        faults.push({ kind: 'constraint', path, text: 'Member must not be null', value: 'null ' });
      }
      for (const name in given) {
        if (this.#isAbsent(given[name])) continue;
        if (Object.hasOwn(members, name)) {
          this.#within(this.of(members[name]), given[name], faults, hidden, name, '');
        } else {
          faults.push({ kind: 'member', path: [], text: `the model has no member ${name}` });
        }
      }
    };
  }

  #within(
    check: Check,
    value: unknown,
    faults: Fault[],
    hidden: boolean,
    key: string | number,
    part: string,
  ): void {
    const before = faults.length;
    check(value, faults, hidden);
    if (faults.length === before) return;
    const step = part === '' ? this.#shown(String(key)) : `${key}${part}`;
    for (const { path } of faults.slice(before)) path.unshift(step);
  }

  /** In refusals AWS begins the names of members with a small letter. */
  #shown(name: string): string {
    return this.#isAnswer ? name : name.charAt(0).toLowerCase() + name.slice(1);
  }

  /** A member that is null is not there, in a request; AWS never answers null. */
  #isAbsent(value: unknown): boolean {
    return value === undefined || (value === null && !this.#isAnswer);
  }
}

/** Length, value, pattern and enumeration, without those of the members. */
function rulesOf(
  { protocol }: ServiceModel,
  { type, min, max, pattern, enum: values }: Shape,
): { fits: (value: unknown) => boolean; text: string }[] {
  const rules: ReturnType<typeof rulesOf> = [];
  const isNumber = type === 'integer' || type === 'long' || type === 'float' || type === 'double';
  const isBase64 = type === 'blob' && protocol !== 'rest-json';
  const sizeOf = isNumber ? Number : (value: unknown) => lengthOf(value, isBase64);
  const must = `Member must have ${isNumber ? 'value' : 'length'}`;
  if (max !== undefined) {
    rules.push({ fits: (value) => sizeOf(value) <= max, text: `${must} less than or equal to ${max}` });
  }
  if (min !== undefined) {
    rules.push({ fits: (value) => sizeOf(value) >= min, text: `${must} greater than or equal to ${min}` });
  }
  if (pattern !== undefined) {
    const compiled = compilePattern(pattern);
    const text = `Member must satisfy regular expression pattern: ${pattern}`;
    rules.push({ fits: (value) => compiled.test(value as string), text });
  }
  if (values) {
    const text = `Member must satisfy enum value set: [${values.join(', ')}]`;
    rules.push({ fits: (value) => values.includes(value as string), text });
  }
  return rules;
}

function named(model: ServiceModel, name: string): Shape {
  const shape = model.shapes[name];
  if (!shape) throw new Error(`constraints.json has no shape ${name}`);
  return shape;
}

function typeTest(
  { protocol }: ServiceModel,
  { type }: Shape,
  isAnswer: boolean,
): (value: unknown) => boolean {
  // A form and XML have texts only, and an empty text for an empty list.
  const isForm = (protocol === 'query' || protocol === 'ec2' || protocol === 'rest-xml') && !isAnswer;
  switch (type) {
    case 'structure':
    case 'map':
      return (value) => typeof value === 'object' && value !== null && !Array.isArray(value);
    case 'list':
      return (value) => Array.isArray(value) || (isForm && value === '');
    case 'string':
      return (value) => typeof value === 'string';
    case 'integer':
    case 'long':
      return (value) => Number.isSafeInteger(value) || (isForm && /^-?\d+$/.test(String(value)));
    case 'float':
    case 'double':
      return (value) => typeof value === 'number';
    case 'boolean':
      return (value) => typeof value === 'boolean' || (isForm && /^(true|false)$/.test(String(value)));
    case 'blob':
      // REST sends it as it is.
      return (value) => typeof value === 'string' && (protocol === 'rest-json' || BASE64.test(value));
    case 'timestamp':
      return (value) => typeof value === 'number' || (isAnswer && value instanceof Date);
  }
}

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

function lengthOf(value: unknown, isBase64: boolean): number {
  if (typeof value === 'string') return isBase64 ? Buffer.byteLength(value, 'base64') : value.length;
  return Array.isArray(value) ? value.length : Object.keys(value as object).length;
}

/** A Java pattern in JavaScript: the flag u for \p{…}, none for escapes that u does not have. Throws SyntaxError. */
export function compilePattern(pattern: string): RegExp {
  const whole = `^(?:${pattern})$`;
  try {
    return new RegExp(whole, 'u');
  } catch {
    return new RegExp(whole);
  }
}

function withoutSecrets(model: ServiceModel, shape: Shape, value: unknown, isHidden: boolean): unknown {
  const hidden = isHidden || shape.sensitive === true;
  if (typeof value === 'string') return hidden ? value.replace(/[^=]|=(?!=?$)/gs, 'x') : value;
  const inner = (name: string | undefined, member: unknown) => {
    const known = model.shapes[name ?? ''];
    return known ? withoutSecrets(model, known, member, hidden) : 'x';
  };
  if (Array.isArray(value)) return value.map((item) => inner(shape.member, item));
  if (typeof value !== 'object' || value === null || value instanceof Date) return value;
  if (hidden && shape.type !== 'structure' && shape.type !== 'map') return 'x';
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [
      name,
      inner(shape.members?.[name] ?? shape.value, member),
    ]),
  );
}
