import { NotModelled } from '../iam/not-modelled.ts';
import type { Due, Lag } from './delays.ts';
import {
  type Action,
  type Call,
  type Condition,
  type ExpressionInput,
  type Expressions,
  expressionsOf,
  holds,
  type Kind,
  knownType,
  projected,
  updated,
} from './dynamodb-expressions.ts';
import {
  type AttributeValue,
  checkedItem,
  equal,
  type Item,
  itemSize,
  member,
  orderKey,
  refuse,
  valueSize,
} from './dynamodb-values.ts';
import { ServiceError } from './service.ts';

interface IndexProperties {
  IndexName: string;
  KeySchema: { AttributeName: string; KeyType: string }[];
  Projection: { ProjectionType: string };
}
/** The properties of AWS::DynamoDB::Table that are used here. */
export interface TableProperties extends Pick<IndexProperties, 'KeySchema'> {
  AttributeDefinitions: { AttributeName: string; AttributeType: string }[];
  GlobalSecondaryIndexes?: IndexProperties[];
}

/** The parameters of all operations; each takes its own. */
export interface TableInput extends ExpressionInput {
  TableName?: string;
  Key?: Item;
  Item?: Item;
  ReturnValues?: string;
  ReturnValuesOnConditionCheckFailure?: string;
  IndexName?: string;
  ExclusiveStartKey?: Item;
  ScanIndexForward?: boolean;
  Limit?: number;
  Select?: string;
  ConsistentRead?: boolean;
  ReturnConsumedCapacity?: string;
}
interface Consumed {
  ConsumedCapacity?: { TableName: string | undefined; CapacityUnits: number };
}
export interface Page extends Consumed {
  Items?: Item[];
  Count: number;
  ScannedCount: number;
  LastEvaluatedKey?: Item;
}

/** Developer guide, "Quotas": bytes of an item, of its keys, and of what a Query or Scan reads at once. */
const ITEM_BYTES = 400 * 1024;
const HASH_KEY_BYTES = 2_048;
const RANGE_KEY_BYTES = 1_024;
const PAGE_BYTES = 1024 * 1024;
/** Developer guide, "Read and write operations": bytes of a unit; a read that is not consistent costs half. */
const READ_UNIT_BYTES = 4_096;

/** Parameters that are not modelled, or with few of their values only. */
const RARE = new Set(
  (
    'AttributesToGet AttributeUpdates ConditionalOperator Expected KeyConditions QueryFilter ScanFilter Segment Select ' +
    'TotalSegments ReturnConsumedCapacity ReturnItemCollectionMetrics ReturnValues'
  ).split(' '),
);

/** Throws NotModelled for what is not modelled. Capacity is counted for GetItem, Query and Scan. */
export function refuseRare(input: object, isRead: boolean): void {
  const modelled = [undefined, null, 'NONE', 'COUNT', 'ALL_OLD', 'ALL_NEW', isRead ? 'TOTAL' : undefined];
  const rare = Object.entries(input).find(([name, value]) => RARE.has(name) && !modelled.includes(value));
  if (rare) throw new NotModelled(`parameter ${rare[0]} of DynamoDB`);
}

/**
 * One table with its global secondary indexes, in memory. Each operation takes and gives what the API's operation of
 * that name does on the wire, and throws a ServiceError where DynamoDB refuses. The caller holds the input against
 * DynamoDB's model first.
 *
 * Answers share their items with the table, which replaces items and never changes them: an answer stays as it was.
 * Indexes, and reads of the table that are not consistent, follow the writes a lag later, all at one pace; reads that
 * follow each other never go back in time. Items that are equal in an index's keys come in the order of the table's keys,
 * and so do partitions in a Scan; DynamoDB promises no order there.
 */
export class Table {
  readonly properties: TableProperties;
  readonly #items: SortedIndex;
  /** What reads that are not consistent find: the same items, a lag later. */
  readonly #replica: SortedIndex;
  readonly #unseen: { old: Item | undefined; item: Item | undefined; size: number; due: Due }[] = [];
  readonly #lag: Lag | undefined;
  readonly #indexes: SortedIndex[];
  readonly #indexKeys: Key[];

  constructor(properties: TableProperties, lag?: Lag) {
    const { KeySchema, GlobalSecondaryIndexes = [] } = properties;
    if ('LocalSecondaryIndexes' in properties) throw new NotModelled('local secondary indexes');
    this.properties = properties;
    this.#items = new SortedIndex(properties, { KeySchema });
    this.#lag = lag?.isOn ? lag : undefined;
    this.#replica = this.#lag ? new SortedIndex(properties, { KeySchema }) : this.#items;
    this.#indexes = GlobalSecondaryIndexes.map((index) => new SortedIndex(properties, index));
    this.#indexKeys = this.#indexes.flatMap(({ keys }) => keys);
  }

  getItem(input: TableInput): Consumed & { Item?: Item } {
    const { ProjectionExpression: paths } = this.#expressions(input, 'ProjectionExpression');
    const row = this.#index(input).find(this.#key(input));
    const Item = row && paths ? projected(row.item, paths) : row?.item;
    return { ...(Item ? { Item } : {}), ...consumed(input, row?.size ?? 0) };
  }

  putItem(input: TableInput): { Attributes?: Item } {
    const item = this.#item(input);
    return this.#replace(input, item, item);
  }

  deleteItem(input: TableInput): { Attributes?: Item } {
    return this.#replace(input, this.#key(input), undefined);
  }

  updateItem(input: TableInput): { Attributes?: Item } {
    const expressions = this.#expressions(input, 'UpdateExpression', 'ConditionExpression');
    const { UpdateExpression: actions = [], values } = expressions;
    const key = this.#key(input);
    this.#checkActions(actions, values);
    const old = this.#items.find(key)?.item;
    checkCondition(input, expressions, old);
    // ScyllaDB's test_update_item_non_existent: an update that only takes away creates no item.
    const takesAway = actions.every(({ section }) => section === 'REMOVE' || section === 'DELETE');
    if (!old && actions.length > 0 && takesAway) return {};
    const item = updated(old ?? key, actions, values);
    this.#checkIndexKeys(item);
    this.#write(old, item);
    const Attributes = { ALL_OLD: old, ALL_NEW: item, NONE: undefined }[input.ReturnValues ?? 'NONE'];
    return Attributes ? { Attributes } : {};
  }

  query(input: TableInput): Page {
    const kinds: Kind[] = ['KeyConditionExpression', 'FilterExpression', 'ProjectionExpression'];
    const expressions = this.#expressions(input, ...kinds);
    const { KeyConditionExpression: condition, paths, values } = expressions;
    if (!condition) refuse('The KeyConditionExpression parameter must be specified in the request.');
    const index = this.#index(input);
    const { hash, range } = keyConditions(index, condition, values);
    const start = this.#start(input, index);
    const [hashKey, rangeKey] = index.keys as [Key, Key?];
    const sort = start && rangeKey ? orderKey(start[rangeKey.name] as AttributeValue) : '';
    const isReached = range.isUpTo(sort) && !range.isBefore(sort);
    if (start && !(isReached && equal(start[hashKey.name], hash))) {
      refuse('The provided starting key is outside query boundaries based on provided conditions');
    }
    if (paths.FilterExpression?.some(([head]) => index.keys.some(({ name }) => name === head))) {
      refuse('Filter Expression can only contain non-primary key attributes');
    }
    const rows = index.query(orderKey(hash), range, start, input.ScanIndexForward !== false);
    return page(input, index, rows, expressions);
  }

  scan(input: TableInput): Page {
    const expressions = this.#expressions(input, 'FilterExpression', 'ProjectionExpression');
    const index = this.#index(input);
    return page(input, index, index.scan(this.#start(input, index)), expressions);
  }

  /** A text for the item of a request in a batch. Throws ValidationException where it is none of this table. */
  identify(input: TableInput): string {
    const item = input.Item ? this.#item(input) : this.#key(input);
    return JSON.stringify(this.#items.keys.map(({ name }) => item[name]));
  }

  #replace(input: TableInput, key: Item, item: Item | undefined): { Attributes?: Item } {
    const { ReturnValues = 'NONE' } = input;
    if (!['ALL_OLD', 'NONE'].includes(ReturnValues)) refuse('ReturnValues can only be ALL_OLD or NONE');
    const expressions = this.#expressions(input, 'ConditionExpression');
    const old = this.#items.find(key)?.item;
    checkCondition(input, expressions, old);
    this.#write(old, item);
    return old && ReturnValues === 'ALL_OLD' ? { Attributes: old } : {};
  }

  #write(old: Item | undefined, item: Item | undefined): void {
    const size = item ? checkedSize(item) : 0;
    this.#items.replace(old, item, size);
    if (this.#lag) this.#unseen.push({ old, item, size, due: this.#lag.due() });
    else for (const index of this.#indexes) index.replace(old, item, size);
    this.#catchUp();
  }

  /** Brings the replica and the indexes to where they would be by now. */
  #catchUp(): void {
    const lag = this.#lag;
    if (!lag) return;
    const end = this.#unseen.findIndex(({ due }) => !lag.isSeen(due));
    for (const { old, item, size } of this.#unseen.splice(0, end < 0 ? this.#unseen.length : end)) {
      for (const index of [this.#replica, ...this.#indexes]) index.replace(old, item, size);
    }
  }

  #index({ IndexName, ConsistentRead }: TableInput): SortedIndex {
    this.#catchUp();
    if (IndexName == null) return ConsistentRead ? this.#items : this.#replica;
    const index = this.#indexes.find(({ name }) => name === IndexName);
    if (!index) refuse(`The table does not have the specified index: ${IndexName}`);
    if (ConsistentRead) refuse('Consistent reads are not supported on global secondary indexes');
    return index;
  }

  #expressions(input: TableInput, ...kinds: Kind[]): Expressions {
    refuseRare(input, !kinds.includes('ConditionExpression'));
    const expressions = expressionsOf(input, kinds);
    const { UpdateExpression = [], FilterExpression = [], ProjectionExpression } = expressions.paths;
    if (input.Select && ProjectionExpression) refuse('Cannot specify a ProjectionExpression to get COUNT');
    for (const [head, ...inner] of [
      ...UpdateExpression,
      ...FilterExpression,
      ...(ProjectionExpression ?? []),
    ]) {
      if (inner.length === 0) continue;
      const key = [...this.#items.keys, ...this.#indexKeys].find(({ name }) => name === head);
      if (key) refuse(`Key attributes must be scalars; list and map access are not allowed: ${head}`);
    }
    return expressions;
  }

  /* --- items and keys --- */

  #item({ Item }: TableInput): Item {
    const item = checkedItem(Item as Item);
    if (this.#items.keys.some((key) => !fits(item, key))) refuse('A key of the item is missing or invalid');
    this.#checkIndexKeys(item);
    checkedSize(item);
    return item;
  }

  #key({ Key }: TableInput): Item {
    return keyOf(Key as Item, this.#items.keys, 'The provided key element does not match the schema');
  }

  #start({ ExclusiveStartKey }: TableInput, { placeKeys }: SortedIndex): Item | undefined {
    return ExclusiveStartKey && keyOf(ExclusiveStartKey, placeKeys, 'The provided starting key is invalid');
  }

  /** An item need not have the keys of an index. If it has, they are as the index needs them. */
  #checkIndexKeys(item: Item): void {
    for (const key of this.#indexKeys) {
      if (!member(item, key.name) || fits(item, key)) continue;
      refuse(`The type or size of the secondary index key ${key.name} is not supported`);
    }
  }

  #checkActions(actions: Action[], values: Item): void {
    for (const { path, operand } of actions) {
      const [name, ...inner] = path;
      if (this.#items.keys.some((key) => key.name === name)) refuse(`Cannot update ${name} of the key`);
      const type = operand && inner.length === 0 ? knownType(operand, values) : undefined;
      if (type && this.#indexKeys.some((key) => key.name === name && key.type !== type)) {
        refuse(`Type mismatch for Index Key ${name} Actual: ${type}`);
      }
    }
  }
}

function checkedSize(item: Item): number {
  const size = itemSize(item);
  return size > ITEM_BYTES ? refuse('Item size has exceeded the maximum allowed size') : size;
}

function keyOf(given: Item, keys: readonly Key[], fault: string): Item {
  const item = checkedItem(given);
  const isKey = Object.keys(item).length === keys.length && keys.every((key) => fits(item, key));
  return isKey ? item : refuse(fault);
}

/** Whether the item has the key. Developer guide, "Supported data types": a key is not empty. */
function fits(item: Item, { name, type, bytes }: Key): boolean {
  const value = member(item, name);
  const size = value?.[type] === undefined ? 0 : valueSize(value);
  return size > 0 && size <= bytes;
}

/** API reference, ReturnValuesOnConditionCheckFailure: ALL_OLD gives the item as it is when the condition fails. */
function checkCondition(input: TableInput, expressions: Expressions, old: Item | undefined): void {
  const { ConditionExpression, values } = expressions;
  if (!ConditionExpression || holds(ConditionExpression, old ?? {}, values)) return;
  const fields = old && input.ReturnValuesOnConditionCheckFailure === 'ALL_OLD' ? { Item: old } : {};
  throw new ServiceError('ConditionalCheckFailedException', 'The conditional request failed', 400, fields);
}

function consumed(
  { TableName, ReturnConsumedCapacity, ConsistentRead }: TableInput,
  bytes: number,
): Consumed {
  if (ReturnConsumedCapacity !== 'TOTAL') return {};
  const units = Math.max(1, Math.ceil(bytes / READ_UNIT_BYTES));
  return { ConsumedCapacity: { TableName, CapacityUnits: ConsistentRead ? units : units / 2 } };
}

/** One page: as many rows as Limit and 1 MB allow, of which the filter keeps some. */
function page(input: TableInput, index: SortedIndex, rows: Iterable<Row>, expressions: Expressions): Page {
  const { FilterExpression: filter, ProjectionExpression: paths, values } = expressions;
  const kept: Item[] = [];
  let [scanned, bytes] = [0, 0];
  let last: Row | undefined;
  for (const row of rows) {
    scanned += 1;
    bytes += row.size;
    if (!filter || holds(filter, row.item, values)) kept.push(row.item);
    if (scanned !== input.Limit && bytes < PAGE_BYTES) continue;
    // DynamoDB stops here without looking whether more follows.
    last = row;
    break;
  }
  return {
    ...(input.Select === 'COUNT' ? {} : { Items: paths ? kept.map((item) => projected(item, paths)) : kept }),
    Count: kept.length,
    ScannedCount: scanned,
    ...(last ? { LastEvaluatedKey: index.placeOf(last.item) } : {}),
    ...consumed(input, bytes),
  };
}

/* --- key conditions -------------------------------------------------------------------------------------- */

/** Sort keys that follow each other without a gap: whether one comes before them, and whether it is no later. */
interface Range {
  isBefore(sort: string): boolean;
  isUpTo(sort: string): boolean;
}
const never = () => false;
const always = () => true;
const EVERYTHING: Range = { isBefore: never, isUpTo: always };
const RANGES: Record<string, (low: string, high: string) => Range> = {
  '=': (low) => ({ isBefore: (sort) => sort < low, isUpTo: (sort) => sort <= low }),
  '<': (low) => ({ isBefore: never, isUpTo: (sort) => sort < low }),
  '<=': (low) => ({ isBefore: never, isUpTo: (sort) => sort <= low }),
  '>': (low) => ({ isBefore: (sort) => sort <= low, isUpTo: always }),
  '>=': (low) => ({ isBefore: (sort) => sort < low, isUpTo: always }),
  BETWEEN: (low, high) => ({ isBefore: (sort) => sort < low, isUpTo: (sort) => sort <= high }),
  begins_with: (low) => ({
    isBefore: (sort) => sort < low,
    isUpTo: (sort) => sort < low || sort.startsWith(low),
  }),
};
const MIRRORED: Record<string, string> = { '=': '=', '<': '>', '<=': '>=', '>': '<', '>=': '<=' };

/** What a Query looks for. Throws ValidationException for what is no key condition of the index. */
function keyConditions({ keys }: SortedIndex, condition: Condition, values: Item) {
  const found = new Map<Key, { test: string; literals: AttributeValue[] }>();
  for (const { name, operands } of comparisons(condition)) {
    const at = operands.findIndex((operand) => 'path' in operand);
    const path = operands.flatMap((operand) => ('path' in operand ? operand.path : []));
    const literals = operands.flatMap((operand) => ('value' in operand ? (values[operand.value] ?? []) : []));
    const test = (at > 0 ? MIRRORED[name] : name) ?? '';
    const key = keys.find((one) => one.name === path[0]);
    const isWhole = path.length === 1 && literals.length === operands.length - 1;
    if (
      !RANGES[test] ||
      !key ||
      !isWhole ||
      found.has(key) ||
      literals.some((value) => !(key.type in value))
    ) {
      return refuse(`Invalid condition in KeyConditionExpression: ${name} ${path}`);
    }
    found.set(key, { test, literals });
  }
  const [hash, range] = keys.map((key) => found.get(key));
  if (hash?.test !== '=') return refuse(`Query condition missed key schema element: ${keys[0]?.name}`);
  const [low = '', high = ''] = range?.literals.map(orderKey) ?? [];
  return {
    hash: hash.literals[0] as AttributeValue,
    range: RANGES[range?.test ?? '']?.(low, high) ?? EVERYTHING,
  };
}

function comparisons(condition: Condition): Call[] {
  if ('rule' in condition) return [condition];
  if (condition.join === 'AND') return condition.parts.flatMap(comparisons);
  return refuse(`Invalid operator used in KeyConditionExpression: ${condition.join}`);
}

/* --- items in order -------------------------------------------------------------------------------------- */

interface Key {
  name: string;
  type: 'S' | 'N';
  /** At most. */
  bytes: number;
}
/** Order keys: the sort key in an index, then the keys of the table. */
type Place = readonly [sort: string, hash: string, range: string];
interface Row {
  place: Place;
  item: Item;
  /** Bytes. */
  size: number;
}

/** The items that have all keys of an index, or of the table itself, by partition, each in order. */
class SortedIndex {
  readonly name: string | undefined;
  readonly keys: Key[];
  /** The keys that name a place in the index: its own and those of the table. */
  readonly placeKeys: Key[];
  readonly #tableKeys: Key[];
  readonly #partitions = new Map<string, Row[]>();

  constructor(table: TableProperties, index: Partial<IndexProperties>) {
    const keysOf = (schema: IndexProperties['KeySchema']) =>
      ['HASH', 'RANGE'].flatMap((type): Key | [] => {
        const name = schema.find(({ KeyType }) => KeyType === type)?.AttributeName;
        if (!name) return [];
        const definition = table.AttributeDefinitions.find(({ AttributeName }) => AttributeName === name);
        if (!definition) return refuse(`${name} is not in AttributeDefinitions`);
        const bytes = type === 'HASH' ? HASH_KEY_BYTES : RANGE_KEY_BYTES;
        return { name, type: definition.AttributeType as Key['type'], bytes };
      });
    this.name = index.IndexName;
    this.#tableKeys = keysOf(table.KeySchema);
    this.keys = keysOf(index.KeySchema ?? table.KeySchema);
    const all = [...this.#tableKeys, ...this.keys];
    this.placeKeys = [...new Map(all.map((key) => [key.name, key])).values()];
    const { ProjectionType = 'ALL' } = index.Projection ?? {};
    if (ProjectionType !== 'ALL') throw new NotModelled(`an index that projects ${ProjectionType}`);
  }

  /** The row with the keys of this index that `item` has. */
  find(item: Item): Row | undefined {
    const rows = this.#partitions.get(this.#hashOf(item)) ?? [];
    const place = this.#place(item);
    const row = rows[bisect(rows, (one) => order(one.place, place) < 0)];
    return row && order(row.place, place) === 0 ? row : undefined;
  }

  /** Puts an item in the place of another, or takes the other out. `size` is the bytes of the item. */
  replace(old: Item | undefined, item: Item | undefined, size: number): void {
    for (const [one, isNew] of [
      [old, false],
      [item, true],
    ] as const) {
      if (!one || this.keys.some(({ name }) => !member(one, name))) continue;
      const [hash, place] = [this.#hashOf(one), this.#place(one)];
      const rows = this.#partitions.get(hash) ?? [];
      const at = bisect(rows, (row) => order(row.place, place) < 0);
      if (isNew) rows.splice(at, 0, { place, item: one, size });
      else rows.splice(at, 1);
      if (rows.length > 0) this.#partitions.set(hash, rows);
      else this.#partitions.delete(hash);
    }
  }

  /** Rows of one partition that are in the range, behind `start`. */
  *query(hash: string, range: Range, start: Item | undefined, isForward: boolean): Iterable<Row> {
    const rows = this.#partitions.get(hash) ?? [];
    let from = bisect(rows, ({ place: [sort] }) => range.isBefore(sort));
    let to = bisect(rows, ({ place: [sort] }) => range.isUpTo(sort));
    if (start) {
      const place = this.#place(start);
      const at = bisect(rows, (row) => order(row.place, place) < Number(isForward));
      if (isForward) from = Math.max(from, at);
      else to = Math.min(to, at);
    }
    for (let at = 0; at < to - from; at++) yield rows[isForward ? from + at : to - 1 - at] as Row;
  }

  /** All rows, or those behind `start`. */
  *scan(start: Item | undefined): Iterable<Row> {
    const first = start ? this.#hashOf(start) : '';
    for (const hash of [...this.#partitions.keys()].sort()) {
      if (hash >= first) yield* this.query(hash, EVERYTHING, hash === first ? start : undefined, true);
    }
  }

  /** The keys that name the place of an item. */
  placeOf(item: Item): Item {
    return Object.fromEntries(this.placeKeys.map(({ name }) => [name, item[name] as AttributeValue]));
  }

  #hashOf(item: Item): string {
    return orderKey(item[(this.keys[0] as Key).name] as AttributeValue);
  }

  #place(item: Item): Place {
    const part = (key: Key | undefined) => (key ? orderKey(item[key.name] as AttributeValue) : '');
    return [part(this.keys[1]), part(this.#tableKeys[0]), part(this.#tableKeys[1])];
  }
}

/** The position of the first row that is not before what is looked for; all rows before it are. */
function bisect(rows: Row[], isBefore: (row: Row) => boolean): number {
  let [low, high] = [0, rows.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isBefore(rows[middle] as Row)) low = middle + 1;
    else high = middle;
  }
  return low;
}

function order(a: Place, b: Place): number {
  const at = a[0] !== b[0] ? 0 : a[1] !== b[1] ? 1 : 2;
  return a[at] < b[at] ? -1 : Number(a[at] > b[at]);
}
