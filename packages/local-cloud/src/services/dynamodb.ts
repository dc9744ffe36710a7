import { NotModelled } from '../iam/not-modelled.ts';
import type { PolicedState } from '../iam/operations.ts';
import type { Lag } from './delays.ts';
import { refuseRare, Table, type TableInput, type TableProperties } from './dynamodb-table.ts';
import { type Item, itemSize, refuse } from './dynamodb-values.ts';
import {
  type Caller,
  type Kernel,
  type Operation,
  type Operations,
  parseArn,
  Regional,
  ServiceError,
} from './service.ts';

/** API reference, BatchGetItem and BatchWriteItem: requests in a batch, and bytes of an answer. */
const BATCH_GETS = 100;
const BATCH_WRITES = 25;
const BATCH_BYTES = 16 * 1024 * 1024;

interface BatchWriteInput {
  RequestItems: Record<string, { PutRequest?: { Item: Item }; DeleteRequest?: { Key: Item } }[]>;
}
interface BatchGetInput {
  RequestItems: Record<string, TableInput & { Keys: Item[] }>;
}

/**
 * Amazon DynamoDB: tables by account and Region, in memory. The rules of one table are those of `Table`.
 *
 * Not modelled: transactions, PartiQL, streams, time to live (records expire in the eyes of their readers only),
 * backups, encryption, throttling by throughput, binary values, local indexes, indexes that do not project all, parallel
 * scans, the parameters that expressions replaced. Requests for them are refused.
 */
export class DynamoDb {
  readonly operations: Operations;
  readonly #tables = new Regional(() => new Map<string, Table>());
  readonly #lag: Lag;

  constructor({ record, delays }: Pick<Kernel, 'record' | 'delays'>) {
    this.#lag = delays.indexes;
    const on = (work: (table: Table, input: TableInput) => object) => (input: TableInput, caller: Caller) =>
      work(this.#table(input.TableName as string, caller), input);
    const write = (work: Operation) => (input: object, caller: Caller) => {
      record.emit('dynamodb-write', caller.source, input);
      return work(input, caller);
    };
    this.operations = {
      'DynamoDB_20120810.GetItem': on((table, input) => table.getItem(input)),
      'DynamoDB_20120810.Query': on((table, input) => table.query(input)),
      'DynamoDB_20120810.Scan': on((table, input) => table.scan(input)),
      'DynamoDB_20120810.BatchGetItem': (input, caller) => this.#batchGetItem(input, caller),
      'DynamoDB_20120810.PutItem': write(on((table, input) => table.putItem(input))),
      'DynamoDB_20120810.UpdateItem': write(on((table, input) => table.updateItem(input))),
      'DynamoDB_20120810.DeleteItem': write(on((table, input) => table.deleteItem(input))),
      'DynamoDB_20120810.BatchWriteItem': write((input, caller) => this.#batchWriteItem(input, caller)),
    };
  }

  /** For policies: whether the table is there. */
  state(arn: string): PolicedState | undefined {
    const { tables, name } = this.#place(arn, {});
    return tables.has(name) ? { arn, tags: {} } : undefined;
  }

  /** Empties a table. */
  clear(arn: string): void {
    const { tables, name } = this.#place(arn, {});
    const { properties } = tables.get(name) ?? {};
    if (properties) tables.set(name, new Table(properties, this.#lag));
  }

  /** Creates a table from the properties of AWS::DynamoDB::Table. */
  createTable(account: string, region: string, properties: Record<string, unknown>): void {
    const name = String(properties.TableName);
    const tables = this.#tables.of(account, region);
    if (tables.has(name)) throw new ServiceError('ResourceInUseException', `Table already exists: ${name}`);
    tables.set(name, new Table(properties as unknown as TableProperties, this.#lag));
  }

  #table(nameOrArn: string, caller: Caller): Table {
    const { tables, name } = this.#place(nameOrArn, caller);
    const found = tables.get(name);
    if (!found) throw new ServiceError('ResourceNotFoundException', 'Requested resource not found');
    return found;
  }

  /** Another account's table is reached by its ARN; the Region is that of the call in any case. */
  #place(nameOrArn: string, { account = '', region }: { account?: string; region?: string }) {
    const arn = parseArn(nameOrArn);
    const tables = this.#tables.of(arn?.account ?? account, region ?? arn?.region ?? '');
    return { tables, name: arn ? arn.resource.slice('table/'.length) : nameOrArn };
  }

  #batchWriteItem({ RequestItems, ...common }: BatchWriteInput, caller: Caller): object {
    refuseRare(common, false);
    const writes = this.#batch(RequestItems, (requests) => requests, caller).map(({ table, name, one }) => {
      const { PutRequest, DeleteRequest } = one;
      if (!PutRequest === !DeleteRequest) refuse('A WriteRequest must have a PutRequest or a DeleteRequest');
      return { table, name, one: { ...PutRequest, ...DeleteRequest } };
    });
    if (writes.length > BATCH_WRITES) refuse('Too many items requested for the BatchWriteItem call');
    refuseDuplicates(writes);
    for (const { table, one } of writes) {
      if ('Item' in one) table.putItem(one);
      else table.deleteItem(one);
    }
    return { UnprocessedItems: {} };
  }

  #batchGetItem({ RequestItems, ...common }: BatchGetInput, caller: Caller): object {
    refuseRare(common, false);
    const single = ({ Keys, ...how }: { Keys: Item[] }) => Keys.map((Key): TableInput => ({ ...how, Key }));
    const gets = this.#batch(RequestItems, single, caller);
    if (gets.length > BATCH_GETS) refuse('Too many items requested for the BatchGetItem call');
    refuseDuplicates(gets);
    const Responses: Record<string, Item[]> = {};
    for (const { table, name, one } of gets) {
      const { Item } = table.getItem(one);
      Responses[name] ??= [];
      if (Item) Responses[name].push(Item);
    }
    const bytes = Object.values(Responses).flat().map(itemSize);
    if (bytes.reduce((total, one) => total + one, 0) > BATCH_BYTES) throw new NotModelled('UnprocessedKeys');
    return { Responses, UnprocessedKeys: {} };
  }

  /** The single requests of a batch, each with its table and the name that the caller gave it. */
  #batch<Of, T>(requestItems: Record<string, Of>, requestsOf: (of: Of) => T[], caller: Caller) {
    return Object.entries(requestItems).flatMap(([name, of]) => {
      const table = this.#table(name, caller);
      return requestsOf(of).map((one) => ({ table, name, one }));
    });
  }
}

function refuseDuplicates(requests: { table: Table; name: string; one: TableInput }[]): void {
  const keys = requests.map(({ table, name, one }) => `${name} ${table.identify(one)}`);
  if (new Set(keys).size < keys.length) refuse('Provided list of item keys contains duplicates');
}
