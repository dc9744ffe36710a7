import { DynamoDBClient, GetItemCommand, PutItemCommand, QueryCommand } from '@aws-sdk/client-dynamodb';
import { beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { startCloud } from '../../src/cloud.ts';
import { NotModelled } from '../../src/iam/not-modelled.ts';
import { checkConstraints } from '../../src/services/constraints.ts';
import { Delays } from '../../src/services/delays.ts';
import { DynamoDb } from '../../src/services/dynamodb.ts';
import { type Page, Table } from '../../src/services/dynamodb-table.ts';
import type { AttributeValue, Item } from '../../src/services/dynamodb-values.ts';
import { type Caller, ServiceError } from '../../src/services/service.ts';
import { VirtualClock } from '../../src/services/virtual-clock.ts';
import { DynaliteTables, type Outcome } from './dynalite-tables.ts';
import { TABLE as RECORDS, type Request, requests } from './dynamodb-requests.ts';
import { ACCOUNT, allow, OTHER_ACCOUNT, OTHER_REGION, REGION, testCloud } from './test-cloud.ts';

/** DYNALITE_SEQUENCES=1000 looks further. */
const SEQUENCES = Number(process.env.DYNALITE_SEQUENCES ?? 40);

/* --- one contract with dynalite -------------------------------------------------------------------------- */

/** The table in memory and dynalite, with the same tables. */
class Both {
  readonly dynalite = new DynaliteTables();
  readonly #dynamoDb = new DynamoDb({
    record: { emit: () => {} } as never,
    delays: new Delays(undefined, new VirtualClock()),
  });

  async createTable(properties: { TableName: string }): Promise<void> {
    this.#dynamoDb.createTable(ACCOUNT, REGION, properties);
    await this.dynalite.createTable(properties);
  }

  /** As every call to the cloud: held against the model, then done. */
  async ours(operation: string, input: object): Promise<Outcome> {
    const target = `DynamoDB_20120810.${operation}`;
    try {
      checkConstraints(target, input);
      const caller = { account: ACCOUNT, region: REGION } as Caller;
      const output = await this.#dynamoDb.operations[target]?.(structuredClone(input), caller);
      return { output: JSON.parse(JSON.stringify(output)) };
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error;
      return { error: error.name, message: error.message };
    }
  }

  /** Both answers, in the form in which they must be equal. */
  async answers(operation: string, input: Request['input']): Promise<[unknown, unknown]> {
    const isPaged = operation === 'Query' || operation === 'Scan';
    const ours = (start: object) => this.ours(operation, { ...input, ...start });
    const dynalites = (start: object) => this.dynalite.send(operation, { ...input, ...start });
    if (isPaged) return [await pages(ours, operation, input), await pages(dynalites, operation, input)];
    return [comparable(await ours({})), comparable(await dynalites({}))];
  }
}

/** Neither sets nor the answers to a batch have an order, and dynalite gives an empty map for no attributes. */
function comparable(outcome: Outcome): unknown {
  if ('error' in outcome) return { error: outcome.error };
  const {
    Responses = {},
    Attributes = {},
    ...rest
  } = outcome.output as Record<string, Record<string, Item[]>>;
  const batches = Object.entries(Responses).map(([name, items]) => [name, sorted(items)]);
  return inOrder({ ...rest, Attributes, Responses: Object.fromEntries(batches) });
}

const sorted = (items: Item[]) => items.map((item) => JSON.stringify(inOrder(item))).sort();

function inOrder(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(inOrder);
  if (typeof value !== 'object' || value === null) return value;
  const ordered = Object.entries(value).map(([name, member]) => {
    return [name, ['SS', 'NS', 'BS'].includes(name) ? [...member].sort() : inOrder(member)] as const;
  });
  return Object.fromEntries(ordered.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/**
 * All pages as one: how much each has read, and the items. DynamoDB promises no order of items with one sort key, and
 * none at all in a Scan.
 */
async function pages(
  send: (start: object) => Promise<Outcome>,
  operation: string,
  { IndexName }: Request['input'],
): Promise<unknown> {
  const scanned: number[] = [];
  const items: Item[] = [];
  let count = 0;
  let start: object | undefined = {};
  while (start) {
    const outcome: Outcome = await send(start);
    if ('error' in outcome) return { error: outcome.error };
    const { Items = [], Count, ScannedCount, LastEvaluatedKey } = outcome.output as unknown as Page;
    scanned.push(ScannedCount);
    if (scanned.length > 100) throw new Error('the pages have no end');
    items.push(...Items);
    count += Count;
    start = LastEvaluatedKey && { ExclusiveStartKey: LastEvaluatedKey };
  }
  const hasOrder = operation === 'Query' && IndexName !== 'by-owner';
  const sortKeys = items.map(({ place, sort, weight }) => hasOrder && (IndexName ? weight : (place ?? sort)));
  return { scanned, count, items: sorted(items), sortKeys };
}

test('any sequence of requests is answered as by dynalite', async () => {
  const both = new Both();
  let tables = 0;
  await fc.assert(
    fc.asyncProperty(requests, async (sequence) => {
      tables += 1;
      const TableName = `records-${tables}`;
      await both.createTable({ ...RECORDS, TableName });
      const everything = [{}, { IndexName: 'by-group' }, { IndexName: 'by-owner' }].map(
        (index): Request => ({ operation: 'Scan', input: { TableName, ...index } }),
      );
      for (const { operation, input: template, onlyTakesAway } of [...sequence, ...everything]) {
        const input = JSON.parse(JSON.stringify(template).replaceAll('"records"', `"${TableName}"`));
        if (onlyTakesAway) {
          const found = await both.ours('GetItem', { TableName, Key: input.Key });
          if ('output' in found && !found.output.Item) continue;
        }
        const [ours, dynalites] = await both.answers(operation, input);
        expect({ operation, input, answer: ours }).toEqual({ operation, input, answer: dynalites });
      }
    }),
    { numRuns: SEQUENCES },
  );
});

describe('what is refused', () => {
  const both = new Both();
  const TableName = RECORDS.TableName;
  const nothing = { id: { S: 'a' } };
  const Key = { ...nothing, place: { N: '1' } };
  const lists = { l: { L: [{ N: '1' }] }, m: { M: {} }, tags: { SS: ['a'] } };
  const full = { ...Key, n: { N: '1' }, s: { S: 's' }, ...lists };
  const large = { S: 'a'.repeat(400 * 1024) };
  const deep = Array.from({ length: 33 }).reduce<AttributeValue>((inner) => ({ L: [inner] }), { S: '' });
  const keys = (count: number) => Array.from({ length: count }, (_, n) => ({ ...Key, place: { N: `${n}` } }));
  beforeAll(async () => {
    await both.createTable(RECORDS);
    for (const id of ['a', 'b'])
      await both.answers('PutItem', { TableName, Item: { ...full, id: { S: id } } });
  });

  const values: Record<string, AttributeValue> = {
    ':n': { N: '1' },
    ':two': { N: '2' },
    ':s': { S: 'a' },
    ':bool': { BOOL: true },
    ':l': { L: [] },
    ':ns': { NS: ['1'] },
    ':large': large,
    ':tiny': { N: '0.1' },
    ':huge': { N: '1e37' },
  };
  const names: Record<string, string> = { '#g': 'group', '#o': 'owner' };
  /** A request with the names and values that its expression uses. */
  const using = (parameter: string, expression: string, more: object = {}) => {
    const used = (of: object) =>
      Object.entries(of).filter(([name]) => new RegExp(`${name}\\b`).test(expression));
    return {
      ...more,
      [parameter]: expression,
      ...(used(names).length ? { ExpressionAttributeNames: Object.fromEntries(used(names)) } : {}),
      ...(used(values).length ? { ExpressionAttributeValues: Object.fromEntries(used(values)) } : {}),
    };
  };
  const condition = (text: string) => using('ConditionExpression', text, { Item: full });
  const query = (text: string, more?: object) => using('KeyConditionExpression', text, more);
  const item = (more: object) => ({ Item: { ...full, ...more } });
  const writes = (...records: object[]) => ({ RequestItems: { [TableName]: records } });
  const reads = (Keys: object[]) => ({ RequestItems: { [TableName]: { Keys } } });
  const from = (start: object, text = 'id = :s', more = {}) =>
    query(text, { ExclusiveStartKey: start, ...more });
  const each = (texts: string, request: (text: string) => object) =>
    texts.split(/[|\n]/).map((text) => request(text.trim()));

  /** As dynalite refuses them, by operation. */
  const invalid: Record<string, object[]> = {
    GetItem: [
      {},
      { TableName: 'absent', Key },
      ...[nothing, { ...Key, n: { N: '1' } }, { ...Key, place: { S: '1' } }].map((Key) => ({ Key })),
      ...['', 'a'.repeat(2049)].map((S) => ({ Key: { ...Key, id: { S } } })),
      ...['m, m.x', 'm.x, m[0]', 'id.x', 'owner', '', 'n,', 'l[x]', 'l[0', 'm.', '#n', 'n n', '1'].map(
        (text) => using('ProjectionExpression', text, { Key }),
      ),
      { Key, ExpressionAttributeNames: { '#n': 'n' } },
      ...[{ '#n': 'n' }, {}, { n: 'n' }].map((ExpressionAttributeNames) => {
        return { Key, ProjectionExpression: 'n', ExpressionAttributeNames };
      }),
      { Key, ReturnConsumedCapacity: 'ALL' },
    ],
    PutItem: [
      {},
      { Item: nothing },
      ...[{ N: '1' }, { S: '' }].map((id) => item({ id })),
      item({ group: { N: '1' } }),
      ...[{}, { S: 'a', N: '1' }, { S: 1 }, { NULL: false }, large].map((s) => item({ s })),
      ...[{ SS: [] }, { SS: ['a', 'a'] }, { NS: ['1', '1.0'] }, { M: { x: { L: [{}] } } }].map((s) =>
        item({ s }),
      ),
      ...['', 'one', '1e126', '1e-131', '1'.repeat(39)].map((N) => item({ n: { N } })),
      ...['ALL_NEW', 'SOME'].map((ReturnValues) => ({ Item: full, ReturnValues })),
      { Item: full, ExpressionAttributeValues: values },
      { Item: full, ConditionExpression: 'n = :n', ExpressionAttributeValues: {} },
      ...each(
        `n = :undefined | n = m AND m = n AND :n | n = n | n | n = :n AND | n == :n | ((n = :n))
        (n = :n | n = :n) | exists(n) | attribute_exists(n, m) | attribute_exists(:n)
        begins_with(n, :n) | attribute_type(n, :s) | attribute_type(n, :n) | attribute_type(n, s)
        size(:n) = n | size(n) | contains(n, m) = :n | contains(n, n) | n IN () | n BETWEEN :two AND :n
        n BETWEEN :n AND :s | n BETWEEN :n OR :two | NOT`,
        condition,
      ),
    ],
    DeleteItem: [{ Key: nothing }],
    UpdateItem: [
      { Key: nothing },
      { Key, UpdateExpression: '' },
      ...each(
        `SET n := n | PUT n | REMOVE n REMOVE m | REMOVE m, m.x | SET n = :n REMOVE n | SET place = :n
        REMOVE #g.x | SET weight = :s | SET weight = s | SET n = missing | SET n = s + :n
        SET n = n + :s | SET n = list_append(n, :l) | SET n = list_append(n, :n) | SET n = append(l, :l)
        SET n = if_not_exists(:n, n) | SET n.x = :n | SET m[0] = :n | REMOVE missing.x | ADD n :s
        ADD s :n | ADD n m | DELETE tags :n | DELETE tags :ns | SET s = :large`,
        (text) => using('UpdateExpression', text, { Key }),
      ),
    ],
    Query: [
      {},
      ...[{ Limit: 0 }, { Select: 'ALL' }, { IndexName: 'by-nothing' }].map((more) => query('id = :s', more)),
      query('#g = :s', { IndexName: 'by-group', ConsistentRead: true }),
      ...each(
        `place = :n | id > :s | id = :n | id = :s AND n = :s | id = :s AND n = :s AND s = :s
        id = :s AND id = :s | id = :s OR place = :n | NOT id = :s | id <> :s | id IN (:s)
        attribute_exists(id) | id = place | :s = :s | m.id = :s | size(id) = :n
        id = :s AND begins_with(:s, id)`,
        query,
      ),
      query('id = :s', { FilterExpression: 'place = :s' }),
      ...[nothing, { ...Key, place: { S: '1' } }, { ...Key, id: { S: 'b' } }].map((start) => from(start)),
      from(Key, 'id = :s AND place > :n'),
      from({ ...Key, owner: { S: 'b' } }, '#o = :s', { IndexName: 'by-owner' }),
    ],
    Scan: [
      { Limit: -1 },
      { IndexName: 'by-nothing' },
      { ExclusiveStartKey: nothing },
      { IndexName: 'by-group', ExclusiveStartKey: Key },
      ...['group = :s', 'id.x = :s'].map((text) => using('FilterExpression', text)),
    ],
    BatchGetItem: [
      { RequestItems: {} },
      ...[[], [Key, Key], [nothing], keys(101)].map(reads),
      { RequestItems: { absent: { Keys: [Key] } } },
    ],
    BatchWriteItem: [
      ...[writes(), writes({}), writes({ PutRequest: { Item: nothing } })],
      writes({ PutRequest: { Item: full } }, { DeleteRequest: { Key } }),
      writes(...keys(26).map((Key) => ({ DeleteRequest: { Key } }))),
    ],
  };
  const rows = Object.entries(invalid).flatMap(([operation, inputs]) => {
    return inputs.map((given) => ({ operation, given, text: JSON.stringify(given).slice(0, 150) }));
  });
  test.each(rows)('$operation $text as by dynalite', async ({ operation, given }) => {
    const input = { ...(operation.startsWith('Batch') ? {} : { TableName }), ...given };
    const [ours, dynalites] = [await both.ours(operation, input), await both.dynalite.send(operation, input)];
    expect(ours).toEqual({ error: expect.stringMatching(/Exception$/), message: expect.anything() });
    expect(ours).toHaveProperty('error', (dynalites as { error: string }).error);
  });

  /** DynamoDB's rules that dynalite lacks. */
  const beyond: [source: string, operation: string, input: object][] = [
    ['guide, Quotas: 4 KB', 'GetItem', { Key, ProjectionExpression: 'n'.repeat(4097) }],
    ['guide, Quotas: 32 levels', 'PutItem', item({ s: deep })],
    ['guide, item sizes: UTF-8', 'PutItem', item({ s: { S: 'é'.repeat(205_000) } })],
    ['guide, data types: keys of indexes are not empty', 'PutItem', item({ group: { S: '' } })],
    ['guide, Quotas: keys of indexes', 'PutItem', item({ group: { S: 'a'.repeat(2049) } })],
    ['API, DeleteItem: ReturnValues', 'DeleteItem', { Key, ReturnValues: 'UPDATED_OLD' }],
    ['API, Select', 'Scan', { Select: 'COUNT', ProjectionExpression: 'n' }],
    ['API, Scan: ConsistentRead', 'Scan', { IndexName: 'by-group', ConsistentRead: true }],
    ['API', 'DeleteItem', { Key, ReturnValuesOnConditionCheckFailure: 'ALL_NEW' }],
    ['API, WriteRequest', 'BatchWriteItem', writes({ PutRequest: { Item: full }, DeleteRequest: { Key } })],
    ['test_update_condition_lt', 'PutItem', condition('n < :bool')],
    [
      'test_update_expression_function_nesting',
      'UpdateItem',
      using('UpdateExpression', 'SET n = list_append(list_append(l, l), l)', { Key }),
    ],
    ['guide, 38 digits', 'UpdateItem', using('UpdateExpression', 'SET n = :huge + :tiny', { Key })],
    ['guide, IN: 100 operands', 'PutItem', condition(`n IN (${'s, '.repeat(100)}s)`)],
  ];
  test.each(beyond)('%s: %s is refused', async (_, operation, given) => {
    const input = { ...(operation.startsWith('Batch') ? {} : { TableName }), ...given };
    expect(await both.dynalite.send(operation, input)).not.toHaveProperty('error', 'ValidationException');
    expect(await both.ours(operation, input)).toHaveProperty('error', 'ValidationException');
  });

  // API reference, BatchWriteItem: a request that is refused writes nothing.
  test('a batch with one item that is too large writes none', async () => {
    const puts = [
      { ...Key, id: { S: 'c' } },
      { ...full, s: large },
    ].map((Item) => ({ PutRequest: { Item } }));
    expect(await both.ours('BatchWriteItem', writes(...puts))).toHaveProperty('error', 'ValidationException');
    const { output } = (await both.ours('GetItem', { TableName, Key: puts[0]?.PutRequest.Item })) as never;
    expect(output).toEqual({});
  });

  test.each([
    ['GetItem', { Key, AttributesToGet: ['n'] }],
    ['GetItem', { Key, ReturnConsumedCapacity: 'INDEXES' }],
    ['PutItem', { Item: full, Expected: {} }],
    ['PutItem', { Item: full, ReturnConsumedCapacity: 'TOTAL' }],
    ['PutItem', JSON.parse('{"Item":{"id":{"S":"a"},"place":{"N":"1"},"__proto__":{"S":"a"}}}')],
    ['PutItem', item({ s: { B: 'YQ==' } })],
    ['UpdateItem', { Key, AttributeUpdates: {} }],
    ['UpdateItem', { Key, ReturnValues: 'UPDATED_NEW' }],
    ['DeleteItem', { Key, ReturnItemCollectionMetrics: 'SIZE' }],
    ['Query', { KeyConditions: {} }],
    ['Query', query('id = :s', { Select: 'SPECIFIC_ATTRIBUTES' })],
    ['Scan', { Segment: 0, TotalSegments: 2 }],
  ])('%s %j is not modelled', async (operation, input) => {
    await expect(both.ours(operation, { TableName, ...input })).rejects.toBeInstanceOf(NotModelled);
  });
});

describe('where dynalite differs', () => {
  const Key = { id: { S: 'a' } };
  const schema = {
    KeySchema: [{ AttributeName: 'id', KeyType: 'HASH' }],
    AttributeDefinitions: [{ AttributeName: 'id', AttributeType: 'S' }],
  };
  let table: Table;
  const put = (item: Item) => table.putItem({ Item: { ...Key, ...item } });
  const holds = (ConditionExpression: string, values?: Item) => {
    const input = { Key, ConditionExpression, ...(values ? { ExpressionAttributeValues: values } : {}) };
    try {
      table.deleteItem(input);
      return true;
    } catch (error) {
      expect(error).toHaveProperty('name', 'ConditionalCheckFailedException');
      return false;
    }
  };
  const update = (UpdateExpression: string, values?: Item) =>
    table.updateItem({
      Key,
      UpdateExpression,
      ReturnValues: 'ALL_NEW',
      ...(values ? { ExpressionAttributeValues: values } : {}),
    }).Attributes;
  beforeEach(() => {
    table = new Table(schema);
  });

  // API reference, legacy conditions: "EQ is supported for all data types, including lists and maps."
  test('lists and maps are equal by what they hold', () => {
    const l = { L: [{ N: '1' }, { M: { x: { SS: ['a', 'b'] } } }] };
    const same = { L: [{ N: '1.0' }, { M: { x: { SS: ['b', 'a'] } } }] };
    put({ l });
    expect(holds('l <> :l', { ':l': same })).toBe(false);
    expect(holds('l = :l', { ':l': { L: [{ N: '1' }] } })).toBe(false);
    expect(holds('contains(l, :x)', { ':x': { M: { x: { SS: ['a'] } } } })).toBe(false);
    expect(
      holds('contains(l, :x) AND l IN (:l)', { ':x': { M: { x: { SS: ['b', 'a'] } } }, ':l': same }),
    ).toBe(true);
  });

  // ScyllaDB, test_condition_expression.py, run against DynamoDB: test_update_condition_eq_two_unset and those after it.
  test('an attribute that is missing equals nothing, not even another', () => {
    put({});
    for (const operator of ['=', '<', '<=', '>', '>=']) expect(holds(`q ${operator} z`)).toBe(false);
    expect(holds('q BETWEEN z AND x')).toBe(false);
    expect(holds('attribute_exists(toString)')).toBe(false);
    expect(holds('q <> z')).toBe(true);
  });

  // Developer guide, functions: by the attribute's type and length, whatever its value is.
  test('false and the empty string are values', () => {
    const item = { b: { BOOL: false }, s: { S: '' } };
    const values = { ':bool': { S: 'BOOL' }, ':b': { BOOL: false }, ':s': { S: '' }, ':zero': { N: '0' } };
    put(item);
    expect(holds('attribute_type(b, :bool) AND b IN (:b) AND s IN (:s) AND size(s) = :zero', values)).toBe(
      true,
    );
  });

  // Developer guide, data types: strings are compared "using the bytes of the underlying UTF-8 string encoding".
  test('strings are in the order of UTF-8', () => {
    put({ s: { S: '\u{1f600}' } });
    expect(holds('s > :s', { ':s': { S: '\uffee' } })).toBe(true);
  });

  // Developer guide, update expressions: "Removing elements from a list", by their places before the update.
  test('an update sees the item as it was', () => {
    const list = (...numbers: string[]) => ({ L: numbers.map((N) => ({ N })) });
    put({ l: list('0', '1', '2', '3'), m: { M: { x: { N: '1' } } } });
    expect(update('REMOVE l[0], l[1]')).toMatchObject({ l: list('2', '3') });
    expect(update('REMOVE l[0] SET l[1] = :n', { ':n': { N: '9' } })).toMatchObject({ l: list('9') });
    expect(update('SET c = m, n = m.x ADD m.x :n', { ':n': { N: '1' } })).toMatchObject({
      c: { M: { x: { N: '1' } } },
      n: { N: '1' },
      m: { M: { x: { N: '2' } } },
    });
  });

  // ScyllaDB, test_update_expression.py, run against DynamoDB: test_update_item_non_existent.
  test('to take away from no item makes none', () => {
    expect(update('REMOVE n')).toBeUndefined();
    expect(table.getItem({ Key })).toEqual({});
    expect(table.scan({})).toEqual({ Items: [], Count: 0, ScannedCount: 0 });
  });

  // API reference, ReturnValuesOnConditionCheckFailure.
  test('a failed condition gives the item as it was at that moment', () => {
    put({ n: { N: '1' } });
    const failing = { ConditionExpression: 'n = :n', ExpressionAttributeValues: { ':n': { N: '2' } } };
    let refused: ServiceError | undefined;
    try {
      table.deleteItem({ Key, ...failing, ReturnValuesOnConditionCheckFailure: 'ALL_OLD' });
    } catch (error) {
      refused = error as ServiceError;
    }
    update('SET n = :n', { ':n': { N: '3' } });
    expect(refused?.fields).toEqual({ Item: { ...Key, n: { N: '1' } } });
    expect(() => table.deleteItem({ Key, ...failing })).toThrow(expect.objectContaining({ fields: {} }));
  });
});

describe('reads', () => {
  const both = new Both();
  const TableName = 'texts';
  beforeAll(async () => {
    const AttributeDefinitions = ['id', 'sort'].map((AttributeName) => ({
      AttributeName,
      AttributeType: 'S',
    }));
    const [id, sort] = ['id', 'sort'].map((AttributeName) => ({ AttributeName }));
    const KeySchema = [
      { ...id, KeyType: 'HASH' },
      { ...sort, KeyType: 'RANGE' },
    ];
    await both.createTable({ TableName, AttributeDefinitions, KeySchema } as { TableName: string });
  });
  const put = (id: string, sort: string, s = '') =>
    both.answers('PutItem', { TableName, Item: { id: { S: id }, sort: { S: sort }, s: { S: s } } });
  const query = (condition: string, values: Item, more = {}) => {
    const key = { KeyConditionExpression: `id = :id${condition}`, ExpressionAttributeValues: values };
    return both.answers('Query', { TableName, ...key, ...more });
  };

  test('sort keys that are strings come in the order of UTF-8, and by their beginnings', async () => {
    const keys = ['a', 'ab', 'abc', 'b', 'B', 'é', '\uffee', '\u{1f600}', '\ud7ff'];
    for (const sort of keys) await put('x', sort);
    for (const sort of keys) {
      for (const test of ['begins_with(sort, :s)', 'sort >= :s', 'sort < :s', 'sort = :s']) {
        const [ours, dynalites] = await query(` AND ${test}`, { ':id': { S: 'x' }, ':s': { S: sort } });
        expect(ours).toEqual(dynalites);
      }
    }
  });

  test('a page ends where 1 MB is read, filtered or not', async () => {
    for (const sort of ['1', '2', '3', '4', '5']) await put('large', sort, sort.repeat(390_000));
    const values = { ':id': { S: 'large' }, ':s': { S: '4' } };
    const [ours, dynalites] = await query('', values, { FilterExpression: 'begins_with(s, :s)' });
    expect(ours).toEqual(dynalites);
    expect(ours).toMatchObject({ scanned: [3, 2], count: 1 });
  });

  test('what a read costs is told when it is asked for', async () => {
    await put('cost', '1', 'a'.repeat(5_000));
    const Key = { id: { S: 'cost' }, sort: { S: '1' } };
    const query = { KeyConditionExpression: 'id = :id', ExpressionAttributeValues: { ':id': { S: 'cost' } } };
    for (const read of [{ Key }, { Key, ConsistentRead: true }, query]) {
      const operation = 'Key' in read ? 'GetItem' : 'Query';
      const input = { TableName, ReturnConsumedCapacity: 'TOTAL', ...read };
      expect(await both.ours(operation, input)).toEqual(await both.dynalite.send(operation, input));
    }
  });
});

/* --- in the cloud ---------------------------------------------------------------------------------------- */

const cloud = testCloud();
const TABLE = {
  TableName: 'inventory',
  AttributeDefinitions: [
    { AttributeName: 'Id', AttributeType: 'S' },
    { AttributeName: 'Status', AttributeType: 'S' },
  ],
  KeySchema: [{ AttributeName: 'Id', KeyType: 'HASH' }],
  GlobalSecondaryIndexes: [
    {
      IndexName: 'StatusIndex',
      KeySchema: [{ AttributeName: 'Status', KeyType: 'HASH' }],
      Projection: { ProjectionType: 'ALL' },
    },
  ],
};
const places = [
  [ACCOUNT, REGION],
  [ACCOUNT, OTHER_REGION],
  [OTHER_ACCOUNT, REGION],
] as const;
const table = (account: string, region: string) =>
  new DynamoDBClient(cloud().clientConfig(cloud.administrator(account), region));

beforeAll(async () => {
  for (const [account, region] of places) {
    await cloud().services.dynamoDb.createTable(account, region, TABLE);
  }
});

test('tables of one name in two accounts and two Regions have nothing in common', async () => {
  for (const [index, [account, region]] of places.entries()) {
    const Item = { Id: { S: 'a' }, Place: { N: String(index) } };
    await table(account, region).send(new PutItemCommand({ TableName: 'inventory', Item }));
  }
  for (const [index, [account, region]] of places.entries()) {
    const { Item } = await table(account, region).send(
      new GetItemCommand({ TableName: 'inventory', Key: { Id: { S: 'a' } } }),
    );
    expect(Item?.Place).toEqual({ N: String(index) });
  }
});

test('who may read the table may not read its index for that', async () => {
  const arn = `arn:aws:dynamodb:${REGION}:${ACCOUNT}:table/inventory`;
  const query = (identity = cloud.administrator()) =>
    new DynamoDBClient(cloud().clientConfig(identity, REGION)).send(
      new QueryCommand({
        TableName: 'inventory',
        IndexName: 'StatusIndex',
        KeyConditionExpression: '#s = :s',
        ExpressionAttributeNames: { '#s': 'Status' },
        ExpressionAttributeValues: { ':s': { S: 'FAILED' } },
      }),
    );
  expect((await query()).Items).toEqual([]);
  const reader = cloud().createUser(ACCOUNT, 'table-reader', [allow('dynamodb:*', arn)]);
  await expect(query(reader)).rejects.toMatchObject({
    name: 'AccessDeniedException',
    message: expect.stringContaining(`${arn}/index/StatusIndex`),
  });
});

test('what is written can be searched', () => {
  const written = cloud().record.emissionsOf('dynamodb-write');
  expect(written.map(({ text }) => JSON.parse(text))).toContainEqual({
    TableName: 'inventory',
    Item: { Id: { S: 'a' }, Place: { N: '0' } },
  });
});

test('a cloud that stops while others write ends their writes, and nothing breaks', async () => {
  const other = await startCloud({ quotas: false });
  const writer = other.createUser(ACCOUNT, 'writer', [allow('*')]);
  const client = new DynamoDBClient({ ...other.clientConfig(writer, REGION), maxAttempts: 1 });
  await other.services.dynamoDb.createTable(ACCOUNT, REGION, TABLE);
  const put = (id: number) =>
    client.send(
      new PutItemCommand({ TableName: 'inventory', Item: { Id: { S: `${id}` }, Status: { S: 's' } } }),
    );
  await put(0);
  const writes = Array.from({ length: 200 }, (_, id) => put(id));
  const ends = Promise.allSettled(writes);
  await writes[0];
  await other.stop();
  expect(new Set((await ends).map(({ status }) => status))).toContain('rejected');
});
