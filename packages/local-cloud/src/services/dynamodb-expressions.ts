import { reservedWords } from './dynamodb-reserved-words.ts';
import {
  type AttributeValue,
  checkedItem,
  compare,
  equal,
  type Item,
  member,
  ORDERED,
  refuse,
  refuseProto,
  sum,
  typeOf,
  type ValueType,
} from './dynamodb-values.ts';

/** Names of attributes and positions in lists. */
export type Path = readonly (string | number)[];
type Operand = { path: Path } | { value: string } | Call;
/** A function, comparator or sign with its operands. */
export interface Call {
  name: string;
  rule: Rule;
  operands: Operand[];
}
export type Condition = Call | { join: 'AND' | 'OR' | 'NOT'; parts: Condition[] };
/** One action of an update expression. Without an operand it removes. */
export interface Action {
  section: string;
  path: Path;
  operand?: Operand;
}
interface Trees {
  UpdateExpression: Action[];
  ConditionExpression: Condition;
  KeyConditionExpression: Condition;
  FilterExpression: Condition;
  ProjectionExpression: Path[];
}
export type Kind = keyof Trees;
export type ExpressionInput = Partial<Record<Kind, string>> & {
  ExpressionAttributeNames?: Record<string, string>;
  ExpressionAttributeValues?: Item;
};
/** The parsed expressions of a request, all paths in each, and the request's values. */
export type Expressions = Partial<Trees> & { paths: Partial<Record<Kind, Path[]>>; values: Item };

/* --- functions and operators ----------------------------------------------------------------------------- */

type Value = AttributeValue | undefined;

interface Rule {
  /** Number of operands, where the grammar does not fix it. */
  count?: number;
  /** The first operand has to be a path. */
  ofPath?: true;
  /** Types that values may have. An attribute of another type is no fault of the expression. */
  types?: ValueType[];
  /** Whether values are refused, for more than their types. An operand that is no value is not given. */
  refuses?: (...values: Value[]) => boolean;
  /** It is an operand of others, and no condition. ScyllaDB's test_update_expression_function_nesting. */
  nests?: true;
  /** A condition holds or not, all else gives a value. Throws ValidationException where an update cannot be. */
  of: (...operands: Value[]) => Value | boolean;
  /** The type of the value that it gives. Without it that is the type of the last operand. */
  result?: ValueType;
}
type Rules = Record<string, Rule>;

/** Developer guide, "Quotas": operands of IN. */
const IN_OPERANDS = 100;
const TYPES = ['S', 'N', 'B', 'NULL', 'SS', 'BOOL', 'L', 'BS', 'NS', 'M'];
const SETS: ValueType[] = ['SS', 'NS'];

const order = (meets: (difference: number) => boolean): Rule => ({
  types: ORDERED,
  of: (left, right) => meets(compare(left, right)),
});
const OPERATORS: Rules = {
  '=': { of: equal },
  '<>': { of: (left, right) => !equal(left, right) },
  '<': order((difference) => difference < 0),
  '<=': order((difference) => difference <= 0),
  '>': order((difference) => difference > 0),
  '>=': order((difference) => difference >= 0),
  BETWEEN: {
    types: ORDERED,
    refuses: (_, low, high) => low !== undefined && high !== undefined && !(compare(low, high) <= 0),
    of: (value, low, high) => compare(value, low) >= 0 && compare(value, high) <= 0,
  },
  IN: {
    refuses: (_, ...others) => others.length > IN_OPERANDS,
    of: (value, ...others) => others.some((other) => equal(value, other)),
  },
};
const FUNCTIONS: Rules = {
  attribute_exists: { count: 1, ofPath: true, of: (value) => value !== undefined },
  attribute_not_exists: { count: 1, ofPath: true, of: (value) => value === undefined },
  attribute_type: {
    count: 2,
    refuses: (_, type) => !TYPES.includes(type?.S ?? ''),
    of: (value, type) => value !== undefined && typeOf(value) === type?.S,
  },
  begins_with: { count: 2, types: ['S'], of: beginsWith },
  contains: { count: 2, of: contains },
  size: { count: 1, types: ['S', 'L', 'M', ...SETS], nests: true, of: sizeOf, result: 'N' },
};
const UPDATE_FUNCTIONS: Rules = {
  if_not_exists: { count: 2, ofPath: true, nests: true, of: (value, other) => value ?? other },
  list_append: { count: 2, types: ['L'], of: appended, result: 'L' },
};
const SIGNS: Rules = {
  '+': { types: ['N'], of: (left, right) => added(left, right), result: 'N' },
  '-': { types: ['N'], of: (left, right) => added(left, right, true), result: 'N' },
};
/** The operands are the attribute as it was, and a value. */
const SECTIONS: Rules = {
  ADD: { types: ['N', ...SETS], of: (old, value) => combined(old, value, true) },
  DELETE: { types: SETS, of: (old, value) => combined(old, value, false) },
};

function beginsWith(value: Value, start: Value): boolean {
  return value?.S !== undefined && start?.S !== undefined && value.S.startsWith(start.S);
}

function contains({ S, SS, NS, L }: AttributeValue = {}, part: AttributeValue = {}): boolean {
  if (L) return L.some((element) => equal(element, part));
  if (part.S !== undefined) return (S ?? SS ?? []).includes(part.S);
  return part.N !== undefined && (NS ?? []).includes(part.N);
}

function sizeOf({ S, SS, NS, L, M }: AttributeValue = {}): Value {
  const sized = S ?? SS ?? NS ?? L ?? (M && Object.keys(M));
  return sized === undefined ? undefined : { N: String(sized.length) };
}

function appended(left: Value, right: Value): Value {
  return left?.L && right?.L ? { L: [...left.L, ...right.L] } : refuseData();
}

function added(left: Value, right: Value, subtract?: boolean): Value {
  return left?.N && right?.N ? { N: sum(left.N, right.N, subtract) } : refuseData();
}

function combined(old: Value, value: Value, adds: boolean): Value {
  const type = typeOf(value as AttributeValue) as 'N' | 'SS' | 'NS';
  if (type === 'N') return added(old ?? { N: '0' }, value);
  if (old && !old[type]) refuseData();
  const [before, elements] = [old?.[type] ?? [], value?.[type] ?? []];
  const rest = before.filter((element) => !elements.includes(element));
  const after = adds ? [...rest, ...elements] : rest;
  return after.length > 0 ? { [type]: after } : undefined;
}

function refuseData(): never {
  return refuse('An operand in the update expression is missing or has an incorrect data type');
}

/* --- parsing --------------------------------------------------------------------------------------------- */

/** Developer guide, "Quotas". */
const EXPRESSION_BYTES = 4_096;
/** Programs have tens of expressions; only a program without placeholders has more than this many. */
const CACHED = 1_000;

const cache = new Map<string, Parser>();

/**
 * Parses the expressions of a request and checks them against its names and values. Throws ValidationException.
 *
 * Source of the rules: developer guide, "Expressions in DynamoDB"; where it is silent, dynalite and ScyllaDB's tests
 * (test/alternator), which its authors also run against DynamoDB.
 */
export function expressionsOf(input: ExpressionInput, kinds: Kind[]): Expressions {
  const values = checkedItem(input.ExpressionAttributeValues ?? {});
  const expressions: Expressions = { paths: {}, values };
  const used = kinds.filter((kind) => input[kind] != null);
  const parsers = used.map((kind) =>
    parsed(kind, input[kind] as string, input.ExpressionAttributeNames ?? {}),
  );
  for (const parser of parsers) {
    parser.checkValues(values);
    expressions.paths[parser.kind] = parser.paths;
    Object.assign(expressions, { [parser.kind]: parser.tree });
  }
  checkPlaceholders(parsers, 'ExpressionAttributeNames', /^#\w+$/, input.ExpressionAttributeNames);
  checkPlaceholders(parsers, 'ExpressionAttributeValues', /^:\w+$/, input.ExpressionAttributeValues);
  return expressions;
}

function checkPlaceholders(parsers: Parser[], parameter: string, form: RegExp, given?: object): void {
  const names = given && Object.keys(given);
  if (names?.length === 0) refuse(`${parameter} must not be empty`);
  for (const name of names ?? []) {
    if (!form.test(name)) refuse(`${parameter} contains invalid key: Syntax error; key: "${name}"`);
    if (parsers.some(({ placeholders }) => placeholders.has(name))) continue;
    refuse(`Value provided in ${parameter} unused in expressions: keys: {${name}}`);
  }
}

function parsed(kind: Kind, text: string, names: Record<string, string>): Parser {
  const key = `${kind} ${text} ${JSON.stringify(names)}`;
  const parser = cache.get(key) ?? new Parser(kind, text, names);
  if (cache.size >= CACHED) cache.clear();
  cache.set(key, parser);
  return parser;
}

/** One expression, and all that can be known of it without values. */
class Parser {
  readonly kind: Kind;
  readonly tree: Action[] | Condition | Path[];
  readonly paths: Path[] = [];
  /** Of names and of values. */
  readonly placeholders = new Set<string>();
  readonly #checks: ((values: Item) => void)[] = [];
  readonly #tokens: string[];
  readonly #names: Record<string, string>;
  #at = 0;
  #lastInBrackets: Condition | undefined;

  constructor(kind: Kind, text: string, names: Record<string, string>) {
    this.kind = kind;
    this.#names = names;
    this.#tokens = text.match(/<>|<=|>=|[#:]?\w+|\S/g) ?? [];
    if (Buffer.byteLength(text) > EXPRESSION_BYTES) this.#refuse('Expression size has exceeded the maximum');
    if (kind === 'UpdateExpression') this.tree = this.#update();
    else if (kind === 'ProjectionExpression') this.tree = this.#distinct(this.#list(() => this.#path()));
    else this.tree = this.#condition();
    if (this.#at < this.#tokens.length) this.#unexpected();
  }

  /** Throws ValidationException where a value is missing or not as the expression needs it. */
  checkValues(values: Item): void {
    for (const name of this.placeholders) {
      if (name.startsWith(':') && !member(values, name)) this.#refuse(`${name} is not defined`);
    }
    for (const check of this.#checks) check(values);
  }

  #update(): Action[] {
    const actions: Action[] = [];
    do {
      const section = this.#take(/^(?:SET|REMOVE|ADD|DELETE)$/i).toUpperCase();
      if (actions.some((action) => action.section === section)) this.#refuse(`two ${section} sections`);
      actions.push(...this.#list(() => this.#action(section)));
    } while (this.#at < this.#tokens.length);
    this.#distinct(actions.map(({ path }) => path));
    return actions;
  }

  #action(section: string): Action {
    const path = this.#path();
    if (section === 'REMOVE') return { section, path };
    if (section !== 'SET') {
      return { section, path, operand: this.#call(section, SECTIONS, [{ path }, this.#value()]) };
    }
    this.#take(/^=$/);
    const operand = this.#operand(UPDATE_FUNCTIONS);
    const sign = this.#next(...Object.keys(SIGNS));
    if (!sign) return { section, path, operand };
    return { section, path, operand: this.#call(sign, SIGNS, [operand, this.#operand(UPDATE_FUNCTIONS)]) };
  }

  #condition(): Condition {
    return this.#joined('OR', () => this.#joined('AND', () => this.#negation()));
  }

  #joined(join: 'AND' | 'OR', part: () => Condition): Condition {
    const parts = [part()];
    while (this.#next(join)) parts.push(part());
    return parts.length > 1 ? { join, parts } : (parts[0] as Condition);
  }

  #negation(): Condition {
    return this.#next('NOT') ? { join: 'NOT', parts: [this.#negation()] } : this.#test();
  }

  #test(): Condition {
    if (this.#next('(')) {
      const condition = this.#condition();
      this.#take(/^\)$/);
      if (condition === this.#lastInBrackets) this.#refuse('The expression has redundant parentheses;');
      this.#lastInBrackets = condition;
      return condition;
    }
    const operands = [this.#operand(FUNCTIONS)];
    const operator = this.#next(...Object.keys(OPERATORS));
    if (operator === 'IN') operands.push(...this.#bracketed(FUNCTIONS));
    else if (operator) operands.push(this.#operand(FUNCTIONS));
    if (operator === 'BETWEEN') {
      this.#take(/^AND$/i);
      operands.push(this.#operand(FUNCTIONS));
    }
    const call = operator ? this.#call(operator, OPERATORS, operands) : operands[0];
    if (!call || !('rule' in call)) return this.#unexpected();
    if (call.rule.nests) this.#refuse(`The function is not allowed to be used this way: ${call.name}`);
    const [first, second] = call.operands.map((one) => 'path' in one && JSON.stringify(one.path));
    if (first && first === second) this.#refuse(`The operands of ${call.name} must be distinct`);
    return call;
  }

  #operand(functions: Rules): Operand {
    const token = this.#tokens[this.#at] ?? '';
    if (token.startsWith(':')) return this.#value();
    if (this.#tokens[this.#at + 1] !== '(' || !/^[A-Za-z]/.test(token)) return { path: this.#path() };
    this.#at += 1;
    return this.#call(token, functions, this.#bracketed(functions));
  }

  #bracketed(functions: Rules): Operand[] {
    this.#take(/^\($/);
    const operands = this.#list(() => this.#operand(functions));
    this.#take(/^\)$/);
    return operands;
  }

  /** A call that keeps the rule of its function or operator. */
  #call(name: string, rules: Rules, operands: Operand[]): Call {
    const rule = Object.hasOwn(rules, name) ? rules[name] : undefined;
    if (!rule) return this.#refuse(`Invalid function name; function: ${name}`);
    const { count = operands.length, ofPath, types, refuses } = rule;
    const misused = operands.find((one) => 'rule' in one && !one.rule.nests);
    if (count !== operands.length || misused || (ofPath && !('path' in (operands[0] as Operand)))) {
      this.#refuse(`Incorrect number or kind of operands for operator or function: ${name}`);
    }
    this.#checks.push((values) => {
      const given = operands.map((operand) => ('value' in operand ? values[operand.value] : undefined));
      const isWrongType = types && given.some((value) => value && !types.includes(typeOf(value)));
      if (isWrongType || refuses?.(...given)) this.#refuse(`Incorrect operands for ${name}`);
    });
    return { name, rule, operands };
  }

  #value(): { value: string } {
    const value = this.#take(/^:\w/);
    this.placeholders.add(value);
    return { value };
  }

  #path(): Path {
    const path: (string | number)[] = [this.#name()];
    for (;;) {
      const sign = this.#next('.', '[');
      if (!sign) break;
      path.push(sign === '.' ? this.#name() : Number(this.#take(/^\d+$/)));
      if (sign === '[') this.#take(/^\]$/);
    }
    this.paths.push(path);
    return path;
  }

  #name(): string {
    const token = this.#take(/^(?:#\w|[A-Za-z])/);
    if (!token.startsWith('#')) {
      if (reservedWords.has(token.toUpperCase())) this.#refuse(`${token} is a reserved keyword`);
      return token;
    }
    const name = Object.hasOwn(this.#names, token) ? this.#names[token] : undefined;
    if (!name) return this.#refuse(`${token} is not defined`);
    refuseProto(name);
    this.placeholders.add(token);
    return name;
  }

  /** The same paths, none of which is another's beginning or takes a map for a list. */
  #distinct(paths: Path[]): Path[] {
    paths.forEach((path, index) => {
      for (const earlier of paths.slice(0, index)) {
        const parting = path.findIndex((part, depth) => part !== earlier[depth]);
        if (parting !== -1 && typeof path[parting] === typeof earlier[parting]) continue;
        this.#refuse(`Two document paths overlap or conflict with each other: [${earlier}] and [${path}]`);
      }
    });
    return paths;
  }

  #list<T>(part: () => T): T[] {
    const parts = [part()];
    while (this.#next(',')) parts.push(part());
    return parts;
  }

  /** Takes the next token if it is one of these words, in capitals or not, or signs. */
  #next(...words: string[]): string | undefined {
    const word = this.#tokens[this.#at]?.toUpperCase();
    if (word === undefined || !words.includes(word)) return undefined;
    this.#at += 1;
    return word;
  }

  #take(form: RegExp): string {
    const token = this.#tokens[this.#at];
    if (token === undefined || !form.test(token)) return this.#unexpected();
    this.#at += 1;
    return token;
  }

  #unexpected(): never {
    return this.#refuse(`Syntax error; token: "${this.#tokens[this.#at] ?? '<EOF>'}"`);
  }

  #refuse(reason: string): never {
    return refuse(`Invalid ${this.kind}: ${reason}`);
  }
}

/* --- evaluation ------------------------------------------------------------------------------------------ */

/** Whether a condition or filter is true of an item; {} where there is none. */
export function holds(condition: Condition, item: Item, values: Item): boolean {
  if ('rule' in condition) return evaluated(condition, item, values) === true;
  const part = (one: Condition) => holds(one, item, values);
  if (condition.join === 'NOT') return !condition.parts.some(part);
  return condition.join === 'OR' ? condition.parts.some(part) : condition.parts.every(part);
}

function evaluated(operand: Operand, item: Item, values: Item): Value | boolean {
  if ('path' in operand) return read(item, operand.path);
  if ('value' in operand) return values[operand.value];
  return operand.rule.of(...operand.operands.map((one) => evaluated(one, item, values) as Value));
}

/** The type that an operand has whatever the item is; of if_not_exists, that of the default. */
export function knownType(operand: Operand, values: Item): ValueType | undefined {
  if ('path' in operand) return undefined;
  if ('value' in operand) return typeOf(values[operand.value] as AttributeValue);
  return operand.rule.result ?? knownType(operand.operands.at(-1) as Operand, values);
}

function read(item: Item, path: Path): Value {
  let at: Value = { M: item };
  for (const part of path) at = at && child(at, part);
  return at;
}

function child({ L, M }: AttributeValue, part: string | number): Value {
  return typeof part === 'number' ? L?.[part] : M && member(M, part);
}

/* --- updates and projections ----------------------------------------------------------------------------- */

interface Write {
  path: Path;
  /** Nothing removes. */
  value: Value;
}

/**
 * The item after the actions, each of which sees it as it was before. Throws ValidationException where the item is
 * not as an action needs it.
 */
export function updated(item: Item, actions: Action[], values: Item): Item {
  const writes = actions.map(({ section, path, operand }) => {
    const value = operand && (evaluated(operand, item, values) as Value);
    return { path, value: value ?? (section === 'SET' ? refuseData() : undefined) };
  });
  return written({ M: item }, writes, 0).M as Item;
}

/** A copy with the writes below `depth` done; it shares everything else. */
function written(container: AttributeValue, writes: Write[], depth: number): AttributeValue {
  const { L, M } = container;
  const copy = (L ? [...L] : { ...M }) as Record<string | number, AttributeValue>;
  for (const [part, below] of byPart(writes, depth)) {
    const [{ path, value }] = below as [Write];
    const isLast = path.length === depth + 1;
    const inner = isLast ? undefined : child(container, part);
    if (!(typeof part === 'number' ? L : M) || !(isLast || inner)) {
      refuse('The document path provided in the update expression is invalid for update');
    }
    const result = inner ? written(inner, below, depth + 1) : value;
    if (result) copy[part] = result;
    else if (part in copy) delete copy[part];
  }
  // Elements removed, and positions skipped beyond the end, close up.
  return L ? { L: (copy as unknown as AttributeValue[]).filter(() => true) } : { M: copy };
}

/** The values at the paths, within the lists and maps that hold them. */
export function projected(item: Item, paths: Path[]): Item {
  const wanted = paths.map((path) => ({ path }));
  return picked({ M: item }, wanted, 0)?.M ?? {};
}

function picked(from: AttributeValue, wanted: { path: Path }[], depth: number): Value {
  const found: [string | number, AttributeValue][] = [];
  for (const [part, below] of byPart(wanted, depth)) {
    const value = child(from, part);
    const result = value && (below[0]?.path.length === depth + 1 ? value : picked(value, below, depth + 1));
    if (result) found.push([part, result]);
  }
  if (found.length === 0) return undefined;
  if (from.M) return { M: Object.fromEntries(found) };
  return { L: found.sort(([a], [b]) => (a as number) - (b as number)).map(([, value]) => value) };
}

function byPart<T extends { path: Path }>(of: T[], depth: number): Map<string | number, T[]> {
  return Map.groupBy(of, ({ path }) => path[depth] as string | number);
}
