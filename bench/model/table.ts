type Item = Record<string, unknown>;
type Names = Record<string, string>;

/** Thrown where DynamoDB would raise the error of this name. */
class TableError extends Error {
  constructor(name: string, message: string = name) {
    super(message);
    this.name = name;
  }
}

interface TableKeys {
  hash: string;
  range?: string;
}

// biome-ignore lint/suspicious/noExplicitAny: inputs of six operations
type Input = any;

/**
 * One DynamoDB table with its indexes in memory, as a document client sees it: the operations and expressions that
 * the functions use, and no others (an unknown one throws). A write through dynalite takes about 2 ms, which is
 * too much for the hundred thousands of them in a fleet; a test compares the two.
 */
export class Table {
  readonly #keys: TableKeys;
  /** By name; the table itself is there, too, without one. */
  readonly #indexes: Map<string | undefined, { keys: TableKeys; byHash: Map<unknown, Map<string, Item>> }>;
  readonly #items = new Map<string, Item>();

  constructor(keys: TableKeys, indexes: Record<string, TableKeys> = {}) {
    this.#keys = keys;
    const all = [[undefined, keys] as const, ...Object.entries(indexes)];
    this.#indexes = new Map(all.map(([name, of]) => [name, { keys: of, byHash: new Map() }]));
  }

  items(): Item[] {
    return [...this.#items.values()];
  }

  GetItem({ Key }: Input) {
    const Item = this.#items.get(this.#idOf(Key));
    return Item ? { Item } : {};
  }

  PutItem(input: Input) {
    const id = this.#idOf(input.Item);
    this.#check(input, this.#items.get(id));
    this.#write(id, input.Item);
    return {};
  }

  DeleteItem(input: Input) {
    const id = this.#idOf(input.Key);
    this.#check(input, this.#items.get(id));
    this.#write(id, undefined);
    return {};
  }

  BatchWriteItem({ RequestItems }: Input) {
    for (const { DeleteRequest, ...other } of Object.values<Input>(RequestItems).flat()) {
      if (!DeleteRequest || Object.keys(other).length > 0) {
        throw new Error('Only deletes are modelled in a batch.');
      }
      this.#write(this.#idOf(DeleteRequest.Key), undefined);
    }
    return { UnprocessedItems: {} };
  }

  UpdateItem(input: Input) {
    const { Key, UpdateExpression, ExpressionAttributeNames, ExpressionAttributeValues, ReturnValues } =
      input;
    const id = this.#idOf(Key);
    const old = this.#items.get(id);
    this.#check(input, old);
    const item = applyUpdate(
      UpdateExpression,
      old ?? Key,
      ExpressionAttributeNames,
      ExpressionAttributeValues,
    );
    this.#write(id, item);
    switch (ReturnValues) {
      case undefined:
        return {};
      case 'ALL_NEW':
        return { Attributes: item };
      case 'ALL_OLD':
        return old ? { Attributes: old } : {};
      default:
        throw new Error(`ReturnValues ${ReturnValues} is not modelled.`);
    }
  }

  Query(input: Input) {
    const { IndexName, KeyConditionExpression, FilterExpression, Limit, ExclusiveStartKey } = input;
    const { ExpressionAttributeNames: names, ExpressionAttributeValues: values } = input;
    const index = this.#indexes.get(IndexName);
    if (!index) {
      throw new TableError('ValidationException', `There is no index ${IndexName}.`);
    }
    const condition = parseCondition(KeyConditionExpression);
    const { range } = index.keys;
    const among = index.byHash.get(hashIn(condition, values)) ?? new Map<string, Item>();
    const found: [string, Item][] = [...among]
      .filter(([, item]) => holds(condition, item, names, values))
      .map(([id, item]) => [`${String(item[range ?? ''] ?? '')}\0${id}`, item]);
    found.sort(([a], [b]) => (a < b ? -1 : 1));
    const after =
      ExclusiveStartKey &&
      `${String(ExclusiveStartKey[range ?? ''] ?? '')}\0${this.#idOf(ExclusiveStartKey)}`;
    const rest = after ? found.filter(([position]) => position > after) : found;
    const page = rest.slice(0, Limit);
    const filter = FilterExpression === undefined ? undefined : parseCondition(FilterExpression);
    const last = page.at(-1)?.[1];
    return {
      Items: page.map(([, item]) => item).filter((item) => !filter || holds(filter, item, names, values)),
      // Also where nothing follows: DynamoDB stops at the limit without looking further.
      ...(page.length === Limit && last ? { LastEvaluatedKey: this.#keyOf(last, index.keys) } : {}),
    };
  }

  #idOf(key: Item): string {
    return [this.#keys.hash, this.#keys.range].map((name) => (name ? String(key[name]) : '')).join('\0');
  }

  #keyOf(item: Item, indexKeys: TableKeys): Item {
    const names = [this.#keys.hash, this.#keys.range, indexKeys.hash, indexKeys.range].filter(
      (name) => name !== undefined,
    );
    return Object.fromEntries(names.map((name) => [name, item[name]]));
  }

  #check(input: Input, item: Item | undefined): void {
    const { ConditionExpression, ExpressionAttributeNames, ExpressionAttributeValues } = input;
    if (ConditionExpression === undefined) {
      return;
    }
    const condition = parseCondition(ConditionExpression);
    if (!holds(condition, item ?? {}, ExpressionAttributeNames, ExpressionAttributeValues)) {
      throw new TableError('ConditionalCheckFailedException', 'The conditional request failed');
    }
  }

  #write(id: string, item: Item | undefined): void {
    const old = this.#items.get(id);
    for (const { keys, byHash } of this.#indexes.values()) {
      if (old) {
        byHash.get(old[keys.hash])?.delete(id);
      }
      // Only items that have both keys of an index are in it.
      if (item && item[keys.hash] !== undefined && (!keys.range || item[keys.range] !== undefined)) {
        const same = byHash.get(item[keys.hash]) ?? new Map<string, Item>();
        byHash.set(item[keys.hash], same.set(id, item));
      }
    }
    if (item) {
      this.#items.set(id, item);
    } else {
      this.#items.delete(id);
    }
  }
}

// --- expressions -------------------------------------------------------------------------------------------------

type Operand = { path: string[] } | { value: string };
type Condition =
  | { either: Condition[] }
  | { all: Condition[] }
  | { not: Condition }
  | { test: string; operands: Operand[] };

const parsed = new Map<string, Condition>();

/** Functions, comparisons, AND, OR, NOT and brackets, as the developer guide gives their precedence. */
function parseCondition(text: string): Condition {
  const known = parsed.get(text);
  if (known) {
    return known;
  }
  const tokens = text.match(/<>|<=|>=|[=<>(),]|[#:]?[A-Za-z0-9_.#]+/g) ?? [];
  if (tokens.join('') !== text.replaceAll(' ', '')) {
    throw new Error(`Not modelled in an expression: ${text}`);
  }
  let at = 0;
  const take = (expected?: string): string => {
    const token = tokens[at] ?? '';
    if (token === '' || (expected !== undefined && token !== expected)) {
      throw new Error(`${expected ?? 'More'} is missing in: ${text}`);
    }
    at += 1;
    return token;
  };
  const series = (word: string, part: () => Condition): Condition[] => {
    const parts = [part()];
    while (tokens[at] === word) {
      take();
      parts.push(part());
    }
    return parts;
  };
  const operand = (token: string): Operand =>
    token.startsWith(':') ? { value: token } : { path: token.split('.') };
  const either = (): Condition => single('either', series('OR', all));
  const all = (): Condition => single('all', series('AND', term));
  const term = (): Condition => {
    const token = take();
    if (token === 'NOT') {
      return { not: term() };
    }
    if (token === '(') {
      const inner = either();
      take(')');
      return inner;
    }
    if (tokens[at] === '(') {
      take();
      const operands = [operand(take())];
      while (tokens[at] === ',') {
        take();
        operands.push(operand(take()));
      }
      take(')');
      return { test: token, operands };
    }
    return { test: take(), operands: [operand(token), operand(take())] };
  };
  const condition = either();
  if (at < tokens.length) {
    throw new Error(`${tokens[at]} is not understood in: ${text}`);
  }
  parsed.set(text, condition);
  return condition;
}

const single = (kind: 'either' | 'all', parts: Condition[]): Condition =>
  parts.length === 1 ? (parts[0] as Condition) : ({ [kind]: parts } as unknown as Condition);

/** The value that a key condition asks of the hash key: the first equation. */
function hashIn(condition: Condition, values: Item): unknown {
  const first = 'all' in condition ? (condition.all[0] as Condition) : condition;
  const value = 'test' in first && first.test === '=' ? first.operands[1] : undefined;
  if (!value || !('value' in value)) {
    throw new Error('A key condition begins with the hash key.');
  }
  return values[value.value];
}

function holds(condition: Condition, item: Item, names: Names, values: Item): boolean {
  if ('either' in condition) {
    return condition.either.some((part) => holds(part, item, names, values));
  }
  if ('all' in condition) {
    return condition.all.every((part) => holds(part, item, names, values));
  }
  if ('not' in condition) {
    return !holds(condition.not, item, names, values);
  }
  const [left, right] = condition.operands.map((operand) =>
    'value' in operand ? values[operand.value] : read(item, operand.path, names),
  );
  const ordered = typeof left === typeof right && left !== undefined;
  switch (condition.test) {
    case 'attribute_exists':
      return left !== undefined;
    case 'attribute_not_exists':
      return left === undefined;
    case 'begins_with':
      return typeof left === 'string' && typeof right === 'string' && left.startsWith(right);
    case '=':
      return left !== undefined && left === right;
    case '<>':
      // True also for an attribute that is missing.
      return left !== right;
    case '<':
      return ordered && (left as number) < (right as number);
    case '<=':
      return ordered && (left as number) <= (right as number);
    case '>':
      return ordered && (left as number) > (right as number);
    case '>=':
      return ordered && (left as number) >= (right as number);
    default:
      throw new Error(`${condition.test} is not modelled.`);
  }
}

const nameOf = (part: string, names: Names): string =>
  part.startsWith('#') ? (names[part] as string) : part;

function read(item: unknown, path: string[], names: Names): unknown {
  return path.reduce<unknown>((within, part) => (within as Item | undefined)?.[nameOf(part, names)], item);
}

/** SET of values, if_not_exists and sums, and REMOVE; all of them see the item as it was. */
function applyUpdate(expression: string, old: Item, names: Names, values: Item): Item {
  const [, sets = '', removes] = /^SET (.*?)(?: REMOVE (.*))?$/.exec(expression) ?? [];
  const item = { ...old };
  const operand = (text: string): unknown => {
    const initial = /^if_not_exists\((\S+), (:\S+)\)$/.exec(text);
    if (initial) {
      return read(old, (initial[1] as string).split('.'), names) ?? values[initial[2] as string];
    }
    return text.startsWith(':') ? values[text] : read(old, text.split('.'), names);
  };
  for (const set of sets.split(/, (?=\S+ = )/)) {
    const [target = '', source = ''] = set.split(' = ');
    const parts = source.split(' + ').map(operand);
    write(item, target.split('.'), names, parts.length === 1 ? parts[0] : sum(parts));
  }
  for (const target of removes?.split(', ') ?? []) {
    write(item, target.split('.'), names, undefined);
  }
  return item;
}

const sum = (parts: unknown[]): number => parts.reduce<number>((total, part) => total + (part as number), 0);

/** Maps on the way are copied: whoever read the item before keeps what it read. */
function write(item: Item, path: string[], names: Names, value: unknown): void {
  const [part = '', ...rest] = path;
  const name = nameOf(part, names);
  if (rest.length > 0) {
    const inner = item[name];
    if (typeof inner !== 'object' || inner === null) {
      throw new TableError('ValidationException', 'The document path is invalid for update');
    }
    const copy = { ...(inner as Item) };
    write(copy, rest, names, value);
    item[name] = copy;
  } else if (value === undefined) {
    delete item[name];
  } else {
    item[name] = value;
  }
}
