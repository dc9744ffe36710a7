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
  /** The pattern once it was compiled. */
  compiled?: RegExp;
}

interface ServiceModel {
  protocol: 'json' | 'query' | 'ec2' | 'rest-json' | 'rest-xml';
  operations: Record<string, { input?: string; output?: string }>;
  shapes: Record<string, Shape>;
}

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
  const { model, shape } = shapeOf(operation, 'input');
  if (!shape) return;
  const faults = faultsIn(model, shape, input ?? {}, false);
  if (faults.length === 0) return;
  const unknown = faults.find(({ kind }) => kind === 'member');
  if (unknown) throw new NotModelled(`${operation}: ${worded(unknown)}`);
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
  const { model, shape } = shapeOf(operation, 'output');
  // Void operations give nothing, whatever their handler returns.
  if (!shape) return [];
  return faultsIn(model, shape, output ?? {}, true).map(worded);
}

/** A copy in which every letter of a sensitive text is an x. The padding of base64 stays, and with it the length. */
export function masked(operation: string, end: 'input' | 'output', value: unknown): unknown {
  const { model, shape } = shapeOf(operation, end);
  return shape ? withoutSecrets(model, shape, value, false) : value;
}

function shapeOf(operation: string, end: 'input' | 'output'): { model: ServiceModel; shape?: Shape } {
  const [service = '', name = ''] = operation.split('.');
  const model = constraints.services[service];
  const ends = model?.operations[name];
  if (!model || !ends) throw new Error(`constraints.json has no operation ${operation}`);
  const shape = ends[end] === undefined ? undefined : model.shapes[ends[end]];
  return shape ? { model, shape } : { model };
}

function faultsIn(model: ServiceModel, shape: Shape, value: unknown, isAnswer: boolean): Fault[] {
  const look = new Look(model, isAnswer);
  look.at(shape, value);
  return look.faults;
}

function worded({ path, text }: Fault): string {
  return path.length > 0 ? `${path.join('.')}: ${text}` : text;
}

/** One look at a request or an answer. It runs twice for each call: paths are made only where something is wrong. */
class Look {
  readonly faults: Fault[] = [];
  readonly #model: ServiceModel;
  readonly #isAnswer: boolean;

  constructor(model: ServiceModel, isAnswer: boolean) {
    this.#model = model;
    this.#isAnswer = isAnswer;
  }

  at(shape: Shape, value: unknown, isHidden = false): void {
    const hidden = isHidden || shape.sensitive === true;
    if (!hasType(this.#model, shape, value, this.#isAnswer)) {
      this.faults.push({ kind: 'type', path: [], text: `must be ${shape.type}` });
      return;
    }
    this.#atItself(shape, value, hidden);
    if (shape.type === 'structure') {
      this.#atMembers(shape, value as Record<string, unknown>, hidden);
    } else if (shape.type === 'list' && Array.isArray(value)) {
      for (let index = 0; index < value.length; index++) {
        this.#within(index + 1, '.member', shape.member, value[index], hidden);
      }
    } else if (shape.type === 'map') {
      for (const [key, member] of Object.entries(value as object)) {
        this.#within(key, '.key', shape.key, key, hidden);
        this.#within(key, '.value', shape.value, member, hidden);
      }
    }
  }

  #atMembers({ required = [], members = {} }: Shape, value: Record<string, unknown>, hidden: boolean): void {
    for (const name of required) {
      if (!this.#isAbsent(value[name])) continue;
      const path = [this.#shown(name)];
      this.faults.push({ kind: 'constraint', path, text: 'Member must not be null', value: 'null ' });
    }
    for (const name in value) {
      if (this.#isAbsent(value[name])) continue;
      if (Object.hasOwn(members, name)) {
        this.#within(name, '', members[name], value[name], hidden);
      } else {
        this.faults.push({ kind: 'member', path: [], text: `the model has no member ${name}` });
      }
    }
  }

  /** In refusals AWS begins the names of members with a small letter. */
  #shown(name: string): string {
    return this.#isAnswer ? name : name.charAt(0).toLowerCase() + name.slice(1);
  }

  /** A member that is null is not there, in a request; AWS never answers null. */
  #isAbsent(value: unknown): boolean {
    return value === undefined || (value === null && !this.#isAnswer);
  }

  #within(
    key: string | number,
    part: string,
    name: string | undefined,
    value: unknown,
    hidden: boolean,
  ): void {
    const before = this.faults.length;
    this.at(named(this.#model, name), value, hidden);
    if (this.faults.length === before) return;
    const step = part === '' ? this.#shown(String(key)) : `${key}${part}`;
    for (const { path } of this.faults.slice(before)) path.unshift(step);
  }

  /** Length, value, pattern and enumeration, without those of the members. */
  #atItself(shape: Shape, value: unknown, hidden: boolean): void {
    const { type, min, max, pattern, enum: values } = shape;
    const add = (text: string) => {
      const isShown = !hidden && typeof value !== 'object';
      this.faults.push({ kind: 'constraint', path: [], text, ...(isShown ? { value: `'${value}' ` } : {}) });
    };
    if (min !== undefined || max !== undefined) {
      const isNumber = type === 'integer' || type === 'long' || type === 'float' || type === 'double';
      const isBase64 = type === 'blob' && this.#model.protocol !== 'rest-json';
      const size = isNumber ? Number(value) : lengthOf(value, isBase64);
      const what = isNumber ? 'value' : 'length';
      if (max !== undefined && size > max) add(`Member must have ${what} less than or equal to ${max}`);
      if (min !== undefined && size < min) add(`Member must have ${what} greater than or equal to ${min}`);
    }
    if (pattern !== undefined) {
      shape.compiled ??= compilePattern(pattern);
      if (!shape.compiled.test(value as string)) {
        add(`Member must satisfy regular expression pattern: ${pattern}`);
      }
    }
    if (values && !values.includes(value as string)) {
      add(`Member must satisfy enum value set: [${values.join(', ')}]`);
    }
  }
}

function named(model: ServiceModel, name: string | undefined): Shape {
  const shape = model.shapes[name ?? ''];
  if (!shape) throw new Error(`constraints.json has no shape ${name}`);
  return shape;
}

function hasType({ protocol }: ServiceModel, { type }: Shape, value: unknown, isAnswer: boolean): boolean {
  // A form and XML have texts only, and an empty text for an empty list.
  const isForm = (protocol === 'query' || protocol === 'ec2' || protocol === 'rest-xml') && !isAnswer;
  switch (type) {
    case 'structure':
    case 'map':
      return typeof value === 'object' && value !== null && !Array.isArray(value);
    case 'list':
      return Array.isArray(value) || (isForm && value === '');
    case 'string':
      return typeof value === 'string';
    case 'integer':
    case 'long':
      return Number.isSafeInteger(value) || (isForm && /^-?\d+$/.test(String(value)));
    case 'float':
    case 'double':
      return typeof value === 'number';
    case 'boolean':
      return typeof value === 'boolean' || (isForm && /^(true|false)$/.test(String(value)));
    case 'blob':
      // REST sends it as it is.
      return typeof value === 'string' && (protocol === 'rest-json' || BASE64.test(value));
    case 'timestamp':
      return typeof value === 'number' || (isAnswer && value instanceof Date);
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
