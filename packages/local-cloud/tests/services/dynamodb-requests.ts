import fc from 'fast-check';
import type { Path } from '../../src/services/dynamodb-expressions.ts';
import type { AttributeValue, Item } from '../../src/services/dynamodb-values.ts';

const keys = (hash: string, range?: string) => [
  { AttributeName: hash, KeyType: 'HASH' },
  ...(range ? [{ AttributeName: range, KeyType: 'RANGE' }] : []),
];
/** Keys of few values, an index with a sort key and one without. */
export const TABLE = {
  TableName: 'records',
  AttributeDefinitions: ['id S', 'place N', 'group S', 'weight N', 'owner S'].map((one) => {
    const [AttributeName, AttributeType] = one.split(' ');
    return { AttributeName, AttributeType };
  }),
  KeySchema: keys('id', 'place'),
  GlobalSecondaryIndexes: [
    { IndexName: 'by-group', KeySchema: keys('group', 'weight'), Projection: { ProjectionType: 'ALL' } },
    { IndexName: 'by-owner', KeySchema: keys('owner'), Projection: { ProjectionType: 'ALL' } },
  ],
};

export interface Request {
  operation: string;
  input: Record<string, unknown> & { Key?: Item };
  /** An update without SET and ADD; dynalite creates the item that is missing, DynamoDB does not. */
  onlyTakesAway?: boolean;
}

/* --- expressions ----------------------------------------------------------------------------------------- */

type Written = (writer: Writer) => string;
type Expressions = Record<string, Written | undefined>;
type Part = string | Path | AttributeValue | Written;

/** Writes expressions and collects their names and values. */
class Writer {
  readonly ExpressionAttributeNames: Record<string, string> = {};
  readonly ExpressionAttributeValues: Record<string, AttributeValue> = {};

  write(part: Part): string {
    if (typeof part === 'string') return part;
    if (typeof part === 'function') return part(this);
    if (Array.isArray(part)) {
      return part
        .map((one, at) => (typeof one === 'number' ? `[${one}]` : (at ? '.' : '') + this.#name(one)))
        .join('');
    }
    const name = `:v${Object.keys(this.ExpressionAttributeValues).length}`;
    this.ExpressionAttributeValues[name] = part as AttributeValue;
    return name;
  }

  #name(name: string): string {
    // Some of the others are reserved words.
    if (['n', 's', 'm', 'l'].includes(name)) return name;
    this.ExpressionAttributeNames[`#${name}`] = name;
    return `#${name}`;
  }
}

/** Expressions with a random part in each gap. */
const say = (texts: TemplateStringsArray, ...gaps: fc.Arbitrary<Part>[]): fc.Arbitrary<Written> =>
  fc.tuple(...gaps).map((parts) => (w) => String.raw({ raw: texts }, ...parts.map((part) => w.write(part))));
const list = (parts: fc.Arbitrary<Part[]>): fc.Arbitrary<Written> =>
  parts.map((all) => (w) => all.map((part) => w.write(part)).join(', '));

function request(operation: string, input: object, expressions: Expressions = {}): Request {
  const writer = new Writer();
  const written = Object.entries(expressions).map(([name, write]) => [name, write?.(writer) || undefined]);
  const placeholders = Object.entries(writer).filter(([, given]) => Object.keys(given).length > 0);
  const all = { TableName: TABLE.TableName, ...input, ...Object.fromEntries([...written, ...placeholders]) };
  return { operation, input: JSON.parse(JSON.stringify(all)) };
}

/* --- items ----------------------------------------------------------------------------------------------- */

const pick = <T>(...of: T[]) => fc.constantFrom(...of);
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
const mostly = <T, U>(often: fc.Arbitrary<T>, else_: fc.Arbitrary<U>) =>
  fc.oneof({ weight: 4, arbitrary: often }, { weight: 1, arbitrary: else_ });

const S = pick('a', 'ab', 'b', 'é').map((S) => ({ S }));
// Forms that DynamoDB writes in another way, negative numbers and fractions in order, more digits than a double has.
const N = pick('0', '-2', '-2.5', '1', '1e1', '010', '2.50', '12345678901234567890.5').map((N) => ({ N }));
const SS = fc.uniqueArray(pick('a', 'b', 'c'), { minLength: 1 }).map((SS) => ({ SS }));
const NS = fc.uniqueArray(pick('1', '2', '3.5'), { minLength: 1 }).map((NS) => ({ NS }));
const scalar: fc.Arbitrary<AttributeValue> = fc.oneof(S, N, pick({ BOOL: true }, { NULL: true }));
const L = fc.array(fc.oneof(S, N), { maxLength: 3 }).map((L) => ({ L }));
const M = fc.record({ x: fc.oneof(N, S), y: S, l: L }, { requiredKeys: [] }).map((M) => ({ M: M as Item }));
const anything = fc.oneof(scalar, SS, NS, L, M);

const id = pick('a', 'b').map((S) => ({ S }));
const place = pick('-1', '0', '1.5', '10').map((N) => ({ N }));
const group = pick('g', 'h').map((S) => ({ S }));
const weight = pick('-2', '-2.5', '1', '100').map((N) => ({ N }));
const owner = pick('o', 'p').map((S) => ({ S }));
const Key = fc.record({ id, place });
const attributes = {
  group: fc.oneof({ weight: 9, arbitrary: group }, N),
  weight,
  owner,
  n: mostly(N, S),
  s: mostly(S, anything),
  tags: mostly(SS, S),
  nums: NS,
  m: mostly(M, N),
  l: mostly(L, S),
};
const item = fc
  .tuple(Key, fc.record(attributes, { requiredKeys: [] }))
  .map(([key, rest]) => ({ ...key, ...rest }) as Item);

/* --- conditions ------------------------------------------------------------------------------------------ */

const path = (...of: string[]) =>
  pick(...of.map((one): Path => one.split('.').map((part) => (/^\d/.test(part) ? Number(part) : part))));
const inner = path('n', 's', 'tags', 'nums', 'm', 'm.x', 'm.y', 'm.l.0', 'l', 'l.0', 'l.1', 'missing');
const at = mostly(inner, path('group', 'weight', 'owner', 'n'));
const comparator = pick('=', '<>', '<', '<=', '>', '>=');

/**
 * Conditions never compare lists, maps, empty strings or false, nor two attributes that may both be missing: there
 * dynalite differs from DynamoDB, see "where dynalite differs". Bounds the wrong way round are refused.
 */
const test = fc.oneof(
  say`${at} ${pick('=', '<>')} ${fc.oneof(scalar, SS, NS)}`,
  say`${at} ${comparator} ${mostly(N, S)}`,
  say`${mostly(N, S)} ${comparator} ${at}`,
  say`(attribute_exists(${path('id')}) AND ${at} ${comparator} ${path('id')})`,
  say`(attribute_exists(${path('id')}) AND ${at} ${comparator} ${path('place')})`,
  say`${at} between ${fc.oneof(S, N)} AND ${fc.oneof(S, N)}`,
  say`${at} IN (${list(fc.array(scalar, { minLength: 1, maxLength: 3 }))})`,
  say`${pick('attribute_exists', 'attribute_not_exists')}(${at})`,
  say`begins_with(${at}, ${mostly(S, N)})`,
  say`contains(${at}, ${fc.oneof(S, N)})`,
  say`size(${at}) ${comparator} ${pick('0', '1', '2', '3').map((N) => ({ N }))}`,
  say`attribute_type(${at}, ${pick('S', 'N', 'BOOL', 'NULL', 'SS', 'NS', 'L', 'M', 'X').map((S) => ({ S }))})`,
);
const { condition } = fc.letrec<{ condition: Written; part: Written }>((tie) => {
  const joined = fc.oneof(
    say`${tie('part')} ${pick('AND', 'or', 'AND NOT')} ${tie('part')}`,
    // Without brackets: AND binds more than OR.
    say`${test} OR ${test} AND ${test}`,
  );
  return {
    condition: fc.oneof({ depthSize: 'small' }, test, joined),
    part: fc.oneof({ depthSize: 'small' }, test, say`(${joined})`),
  };
});

/* --- writes ---------------------------------------------------------------------------------------------- */

/**
 * Sources of SET are never lists or maps, nor what ADD changes, and no list loses two elements: dynalite changes items
 * while it reads them, see "where dynalite differs".
 */
const source = fc.oneof(
  say`${anything}`,
  say`${path('n', 's', 'weight', 'missing')}`,
  say`${path('n', 'weight')} ${pick('+', '-')} ${N}`,
  say`if_not_exists(${path('n', 'missing')}, ${N}) + ${N}`,
  say`if_not_exists(${path('s', 'missing')}, ${anything})`,
  say`list_append(${L}, l)`,
  say`list_append(if_not_exists(l, ${L}), ${L})`,
);
const target = path('n', 's', 'new', 'l', 'l.0', 'l.7', 'm.x', 'm.new', 'm.l.1', 'group', 'weight', 'id');
const setKey = fc.oneof(
  say`${path('group')} = ${group}`,
  say`${path('weight')} = ${weight}`,
  say`${path('owner')} = ${owner}`,
);
const removed = path('n', 's', 'l.0', 'm.x', 'm.l.0', 'group', 'owner', 'missing');
const sections = {
  SET: fc.array(fc.oneof(say`${target} = ${source}`, setKey), { maxLength: 3 }),
  REMOVE: fc.uniqueArray(removed, { maxLength: 2, selector: String }),
  ADD: fc.array(
    fc.oneof(say`${path('count', 'm.x')} ${N}`, say`${path('tags', 'nums')} ${fc.oneof(SS, NS)}`),
    { maxLength: 1 },
  ),
  DELETE: fc.array(say`${path('tags', 'nums')} ${fc.oneof(SS, NS)}`, { maxLength: 1 }),
};
const update = fc.record(sections).map((all) => ({
  onlyTakesAway: !all.SET.length && !all.ADD.length && all.REMOVE.length + all.DELETE.length > 0,
  UpdateExpression: (w: Writer) =>
    Object.entries(all)
      .filter(([, actions]) => actions.length > 0)
      .map(([section, actions]) => `${section} ${actions.map((one) => w.write(one)).join(', ')}`)
      .join(' '),
}));
const returnValues = pick(undefined, 'NONE', 'ALL_OLD', 'ALL_NEW');
const old = pick(undefined, 'ALL_OLD');
const put = fc
  .tuple(item, maybe(condition), old)
  .map(([Item, ConditionExpression, ReturnValues]) =>
    request('PutItem', { Item, ReturnValues }, { ConditionExpression }),
  );
const change = fc
  .tuple(Key, update, maybe(condition), returnValues)
  .map(([Key, { UpdateExpression, onlyTakesAway }, ConditionExpression, ReturnValues]) => ({
    ...request('UpdateItem', { Key, ReturnValues }, { UpdateExpression, ConditionExpression }),
    onlyTakesAway,
  }));
const remove = fc
  .tuple(Key, maybe(condition), old)
  .map(([Key, ConditionExpression, ReturnValues]) =>
    request('DeleteItem', { Key, ReturnValues }, { ConditionExpression }),
  );
const several = { minLength: 1, maxLength: 4, selector: JSON.stringify };
const writes = fc
  .uniqueArray(
    fc.oneof(
      item.map((Item) => ({ PutRequest: { Item } })),
      Key.map((Key) => ({ DeleteRequest: { Key } })),
    ),
    several,
  )
  .map((records): Request => ({ operation: 'BatchWriteItem', input: { RequestItems: { records } } }));

/* --- reads ----------------------------------------------------------------------------------------------- */

const projection = maybe(
  list(fc.uniqueArray(fc.oneof(inner, path('place')), { minLength: 1, maxLength: 4, selector: String })),
);
const get = fc
  .tuple(Key, projection)
  .map(([Key, ProjectionExpression]) => request('GetItem', { Key }, { ProjectionExpression }));
const gets = fc
  .tuple(fc.uniqueArray(Key, several), projection)
  .map(([Keys, ProjectionExpression]): Request => {
    const { TableName: _, ...records } = request('', { Keys }, { ProjectionExpression }).input;
    return { operation: 'BatchGetItem', input: { RequestItems: { records } } };
  });
const keyTest = (name: string, value: fc.Arbitrary<AttributeValue>) =>
  fc.oneof(
    say` AND ${path(name)} ${pick('=', '<', '<=', '>', '>=')} ${value}`,
    say` AND ${value} ${pick('=', '<', '<=', '>', '>=')} ${path(name)}`,
    say` AND ${path(name)} BETWEEN ${value} AND ${value}`,
    say``,
  );
const [all, byGroup, byOwner] = [{}, { IndexName: 'by-group' }, { IndexName: 'by-owner' }];
const queried = fc.oneof(
  fc.tuple(pick(all), say`${path('id')} = ${id}${keyTest('place', place)}`),
  fc.tuple(pick(byGroup), say`${path('group')} = ${group}${keyTest('weight', weight)}`),
  fc.tuple(pick(byOwner), say`${path('owner')} = ${owner}`),
);
const common = {
  Limit: pick(undefined, undefined, 1, 2, 3),
  FilterExpression: maybe(condition),
  ProjectionExpression: projection,
};
const reading = (operation: string, input: object, expressions: Expressions, Limit: number | undefined) => {
  // Sometimes the count alone, which goes without a projection.
  const Select = Limit === 3 && !expressions.ProjectionExpression ? 'COUNT' : undefined;
  return request(operation, { Limit, Select, ...input }, expressions);
};
const order = { ConsistentRead: pick(undefined, undefined, true), ScanIndexForward: pick(undefined, false) };
const query = fc
  .tuple(queried, fc.record(order), fc.record(common))
  .map(([[index, KeyConditionExpression], how, { Limit, ...what }]) =>
    reading('Query', { ...index, ...how }, { KeyConditionExpression, ...what }, Limit),
  );
const scan = fc
  .tuple(pick(all, byGroup, byOwner), fc.record(common))
  .map(([index, { Limit, ...what }]) => reading('Scan', index, what, Limit));

/** Some items to begin with, then writes and reads in any order. */
export const requests: fc.Arbitrary<Request[]> = fc
  .tuple(
    fc.array(item, { minLength: 3, maxLength: 8 }),
    fc.array(
      fc.oneof(
        put,
        put,
        put,
        change,
        change,
        change,
        change,
        remove,
        writes,
        get,
        gets,
        query,
        query,
        query,
        scan,
        scan,
      ),
      { minLength: 10, maxLength: 30 },
    ),
  )
  .map(([items, rest]) => [...items.map((Item) => request('PutItem', { Item })), ...rest]);
