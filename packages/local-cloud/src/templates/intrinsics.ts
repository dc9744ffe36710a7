import { NotModelled } from '../iam/not-modelled.ts';
import { TemplateError } from './template-error.ts';

export interface Scope {
  /** What Ref gives for a parameter, a pseudo parameter or a resource; undefined for an unknown name. */
  ref(name: string): unknown;
  getAtt(logicalId: string, attribute: string): unknown;
  mapping(map: string, first: string, second: string): unknown;
  condition(name: string): boolean;
}

/** AWS::NoValue: the property or list item is left out. */
const noValue = Symbol('AWS::NoValue');

type Resolver = (argument: unknown, scope: Scope, where: string) => unknown;

const fail = (where: string, what: string): never => {
  throw new TemplateError(`${where}: ${what}`);
};
const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function text(value: unknown, where: string): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  return fail(where, `a string is needed, not ${JSON.stringify(value)}`);
}

function items(value: unknown, where: string, length?: number): unknown[] {
  if (!Array.isArray(value)) return fail(where, `a list is needed, not ${JSON.stringify(value)}`);
  if (length !== undefined && value.length !== length) fail(where, `a list of ${length} is needed`);
  return value;
}

const functions: Record<string, Resolver> = {
  Ref: (argument, scope, where) => {
    const name = text(argument, where);
    if (name === 'AWS::NoValue') return noValue;
    return scope.ref(name) ?? fail(where, `Ref to ${name}, which is neither a parameter nor a resource`);
  },
  'Fn::GetAtt': (argument, scope, where) => {
    const [logicalId, attribute] =
      typeof argument === 'string' ? splitOnce(argument) : items(argument, where, 2);
    return scope.getAtt(text(logicalId, where), text(resolve(attribute, scope, where), where));
  },
  'Fn::Sub': (argument, scope, where) => {
    const [template, variables] = typeof argument === 'string' ? [argument, {}] : items(argument, where, 2);
    if (!isObject(variables)) return fail(where, 'Fn::Sub needs a map of variables');
    const unused = new Set(Object.keys(variables));
    const result = text(template, where).replace(/\$\{([^}]*)\}/g, (_whole, name: string) => {
      if (name.startsWith('!')) return `\${${name.slice(1)}}`;
      if (!/^[A-Za-z0-9_.:]+$/.test(name)) fail(where, `Fn::Sub of \${${name}}`);
      if (name in variables) {
        unused.delete(name);
        return text(resolve(variables[name], scope, where), where);
      }
      const [logicalId, attribute] = splitOnce(name);
      if (attribute) return text(scope.getAtt(logicalId, attribute), where);
      return text(scope.ref(name) ?? fail(where, `Fn::Sub of \${${name}}, which is unknown`), where);
    });
    if (unused.size > 0) fail(where, `Fn::Sub with unused variables ${[...unused].join(', ')}`);
    return result;
  },
  'Fn::Join': (argument, scope, where) => {
    const [delimiter, values] = items(argument, where, 2);
    const resolved = items(resolve(values, scope, where), where);
    return resolved.map((value) => text(value, where)).join(text(delimiter, where));
  },
  'Fn::Split': (argument, scope, where) => {
    const [delimiter, value] = items(argument, where, 2);
    return text(resolve(value, scope, where), where).split(text(delimiter, where));
  },
  'Fn::Select': (argument, scope, where) => {
    const [index, values] = items(resolve(argument, scope, where), where, 2);
    const value = items(values, where)[Number(index)];
    return value ?? fail(where, `Fn::Select of item ${index}, which is not there`);
  },
  'Fn::FindInMap': (argument, scope, where) => {
    const [map, first, second] = items(resolve(argument, scope, where), where, 3).map((key) =>
      text(key, where),
    );
    return (
      scope.mapping(map as string, first as string, second as string) ??
      fail(where, `Fn::FindInMap of ${map}.${first}.${second}, which is not there`)
    );
  },
  'Fn::If': (argument, scope, where) => {
    const [condition, yes, no] = items(argument, where, 3);
    return resolve(scope.condition(text(condition, where)) ? yes : no, scope, where);
  },
};

/**
 * Replaces the intrinsic functions in a value. Conditions have functions of their own (resolveCondition).
 * Throws TemplateError, and NotModelled for a function that is not in the table.
 */
export function resolve(value: unknown, scope: Scope, where: string): unknown {
  if (Array.isArray(value)) {
    return value
      .map((item, index) => resolve(item, scope, `${where}[${index}]`))
      .filter((item) => item !== noValue);
  }
  if (!isObject(value)) return value;
  const call = callIn(value, where);
  if (call) {
    const known = functions[call];
    if (!known) throw new NotModelled(`${where}: intrinsic function ${call}`);
    return known(value[call], scope, where);
  }
  return Object.fromEntries(
    Object.entries(value)
      .map(([key, item]) => [key, resolve(item, scope, `${where}.${key}`)] as const)
      .filter(([, item]) => item !== noValue),
  );
}

function callIn(value: Record<string, unknown>, where: string): string | undefined {
  const keys = Object.keys(value);
  const call = keys.find((key) => key === 'Ref' || key.startsWith('Fn::'));
  if (call && keys.length > 1) fail(where, `${call} must stand alone, not beside ${keys.join(', ')}`);
  return call;
}

/** Resolves an entry of the Conditions section. */
export function resolveCondition(value: unknown, scope: Scope, where: string): boolean {
  if (!isObject(value) || Object.keys(value).length !== 1)
    return fail(where, 'a condition function is needed');
  const [name = '', argument] = Object.entries(value)[0] ?? [];
  const each = () => items(argument, where).map((item) => resolveCondition(item, scope, where));
  switch (name) {
    case 'Condition':
      return scope.condition(text(argument, where));
    case 'Fn::Equals': {
      const [left, right] = items(resolve(argument, scope, where), where, 2);
      return text(left, where) === text(right, where);
    }
    case 'Fn::Not':
      items(argument, where, 1);
      return !each()[0];
    case 'Fn::And':
      return each().every(Boolean);
    case 'Fn::Or':
      return each().some(Boolean);
    default:
      throw new NotModelled(`${where}: condition function ${name}`);
  }
}

function splitOnce(name: string): [string, string] {
  const dot = name.indexOf('.');
  return dot < 0 ? [name, ''] : [name.slice(0, dot), name.slice(dot + 1)];
}
