import { once } from 'node:events';
import { type IncomingHttpHeaders, request, type Server } from 'node:http';
import { join } from 'node:path';
import dynalite from 'dynalite';
import type { PolicedState } from '../iam/operations.ts';
import { type Caller, type Kernel, NoAnswer, type Operations, parseArn, ServiceError } from './service.ts';

/** What dynalite answers to; a row in local/iam/operations.ts is needed besides. */
const forwarded = [
  'GetItem',
  'PutItem',
  'UpdateItem',
  'DeleteItem',
  'Query',
  'Scan',
  'BatchGetItem',
  'BatchWriteItem',
  'DescribeTable',
];
interface WriteInput {
  TableName?: string;
  Item?: Record<string, object>;
  Key?: Record<string, object>;
  ReturnValuesOnConditionCheckFailure?: string;
}
const writes = ['PutItem', 'UpdateItem', 'DeleteItem', 'BatchWriteItem'];

/**
 * Amazon DynamoDB by dynalite, which knows nothing of accounts and Regions: here they become part of the
 * table's name, on the way in and out.
 *
 * Not modelled: transactions, PartiQL, streams, time to live (records expire in the eyes of their readers only),
 * backups, encryption.
 */
export class DynamoDb {
  readonly operations: Operations = Object.fromEntries(
    forwarded.map((name) => [
      `DynamoDB_20120810.${name}`,
      (input: object, caller: Caller) => this.#forward(name, input, caller),
    ]),
  );
  readonly #kernel: Kernel;
  readonly #socket: string;
  /** Names of the key attributes, by ARN. */
  readonly #tables = new Map<string, string[]>();
  #server: Server | undefined;
  #isStopping = false;
  readonly #underWay = new Set<Promise<unknown>>();

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
    // A socket in the work folder: nothing but the cloud itself can reach the tables, past all policies.
    this.#socket = join(kernel.folder, 'dynamodb.sock');
  }

  async start(): Promise<void> {
    this.#server = dynalite({ createTableMs: 0, deleteTableMs: 0 });
    this.#server.listen(this.#socket);
    await once(this.#server, 'listening');
  }

  async stop(): Promise<void> {
    const server = this.#server;
    if (!server) return;
    this.#isStopping = true;
    // dynalite throws out of nowhere when its database closes below a write.
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay);
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }

  state(arn: string): PolicedState | undefined {
    return this.#tables.has(arn) ? { arn, tags: {} } : undefined;
  }

  /** Creates a table from the properties of AWS::DynamoDB::Table. */
  async createTable(account: string, region: string, properties: Record<string, unknown>): Promise<void> {
    const { TableName, AttributeDefinitions, KeySchema, GlobalSecondaryIndexes } = properties;
    const name = String(TableName);
    const { status, body } = await this.#send('CreateTable', {
      TableName: localName(account, region, name),
      AttributeDefinitions,
      KeySchema,
      GlobalSecondaryIndexes,
      BillingMode: 'PAY_PER_REQUEST',
    });
    if (status !== 200) throw new Error(`table ${name}: ${body}`);
    const keys = (KeySchema as { AttributeName: string }[]).map(({ AttributeName }) => AttributeName);
    this.#tables.set(`arn:${this.#kernel.partition}:dynamodb:${region}:${account}:table/${name}`, keys);
    // dynalite makes a table active in a timer, even with no delay.
    while (
      !(await this.#send('DescribeTable', { TableName: localName(account, region, name) })).body.includes(
        '"ACTIVE"',
      )
    ) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  async #forward(operation: string, input: WriteInput, caller: Caller): Promise<unknown> {
    if (writes.includes(operation)) this.#kernel.record.emit('dynamodb-write', caller.source, input);
    const rename = (name: string) => {
      const arn = parseArn(name);
      return localName(
        arn?.account ?? caller.account,
        caller.region,
        arn ? arn.resource.slice('table/'.length) : name,
      );
    };
    const { status, body } = await this.#send(operation, withTableNames(input, rename));
    const answer = JSON.parse(body);
    if (status !== 200) {
      const { __type, message, Message, ...fields } = answer;
      const name = String(__type).split('#').at(-1) ?? 'InternalServerError';
      const item =
        name === 'ConditionalCheckFailedException' ? await this.#itemAsked(input, caller) : undefined;
      throw new ServiceError(name, message ?? Message ?? '', status, { ...fields, ...item });
    }
    return withTableNames(answer, originalName);
  }

  /**
   * dynalite does not know ReturnValuesOnConditionCheckFailure. AWS gives the item as it was when the condition
   * failed; here it is read a moment later.
   */
  async #itemAsked(input: WriteInput, { account, region }: Caller): Promise<{ Item?: object }> {
    if (input.ReturnValuesOnConditionCheckFailure !== 'ALL_OLD') return {};
    const arn = `arn:${this.#kernel.partition}:dynamodb:${region}:${account}:table/${input.TableName}`;
    const keys = this.#tables.get(arn) ?? [];
    const Key = input.Key ?? Object.fromEntries(keys.map((key) => [key, input.Item?.[key]]));
    const TableName = localName(account, region, input.TableName ?? '');
    const { body } = await this.#send('GetItem', { TableName, Key, ConsistentRead: true });
    const { Item } = JSON.parse(body);
    return Item ? { Item } : {};
  }

  async #send(operation: string, input: object): Promise<{ status: number; body: string }> {
    if (this.#isStopping) throw new NoAnswer('the cloud stops');
    const answer = this.#exchange(operation, input);
    this.#underWay.add(answer);
    try {
      return await answer;
    } finally {
      this.#underWay.delete(answer);
    }
  }

  #exchange(operation: string, input: object): Promise<{ status: number; body: string }> {
    const headers: IncomingHttpHeaders = {
      'content-type': 'application/x-amz-json-1.0',
      'x-amz-target': `DynamoDB_20120810.${operation}`,
      // dynalite looks at the form of the signature only; the real one was verified before.
      authorization: 'AWS4-HMAC-SHA256 Credential=local, SignedHeaders=local, Signature=local',
      'x-amz-date': 'local',
    };
    return new Promise((resolve, reject) => {
      const outgoing = request(
        { socketPath: this.#socket, method: 'POST', path: '/', headers },
        (incoming) => {
          const chunks: Buffer[] = [];
          incoming.on('data', (chunk) => chunks.push(chunk));
          incoming.on('error', reject);
          incoming.on('end', () =>
            resolve({ status: incoming.statusCode ?? 500, body: Buffer.concat(chunks).toString() }),
          );
        },
      );
      outgoing.on('error', reject);
      outgoing.end(JSON.stringify(input));
    });
  }
}

function localName(account: string, region: string, name: string): string {
  return `${account}.${region}.${name}`;
}

function originalName(name: string): string {
  return name.replace(/^\d{12}\.[a-z0-9-]+\./, '');
}

/** Renames tables wherever a request or an answer names one: TableName, or the keys of a batch. */
function withTableNames(value: object, rename: (name: string) => string): object {
  const perTable = [
    'RequestItems',
    'Responses',
    'UnprocessedItems',
    'UnprocessedKeys',
    'ItemCollectionMetrics',
  ];
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => {
      if (key === 'TableName') return [key, rename(member)];
      if (perTable.includes(key) && typeof member === 'object' && member !== null && !Array.isArray(member)) {
        return [
          key,
          Object.fromEntries(Object.entries(member).map(([name, items]) => [rename(name), items])),
        ];
      }
      if (key === 'ConsumedCapacity' && Array.isArray(member))
        return [key, member.map((one) => withTableNames(one, rename))];
      if (key === 'ConsumedCapacity' || key === 'Table') return [key, withTableNames(member, rename)];
      return [key, member];
    }),
  );
}
