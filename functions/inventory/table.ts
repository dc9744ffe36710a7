import {
  BatchWriteCommand,
  type DynamoDBDocumentClient,
  GetCommand,
  PutCommand,
  type PutCommandInput,
  QueryCommand,
  type QueryCommandInput,
  UpdateCommand,
  type UpdateCommandInput,
} from '@aws-sdk/lib-dynamodb';
import { isNamed } from '../domain/errors.ts';
import { type Change, expressionsFor } from './expressions.ts';
import { InvalidToken } from './pages.ts';

export type Key = Record<string, unknown>;
export type Item = Record<string, unknown>;

/** The table, as far as the inventory uses it. A write whose condition is lost answers undefined. */
export class Table {
  readonly now: () => Date;
  private readonly client: DynamoDBDocumentClient;
  private readonly name: string;

  constructor(client: DynamoDBDocumentClient, name: string, now: () => Date) {
    this.client = client;
    this.name = name;
    this.now = now;
  }

  /** Reads an item, strongly consistent. */
  async get(key: Key): Promise<Item | undefined> {
    const { Item } = await this.client.send(
      new GetCommand({ TableName: this.name, Key: key, ConsistentRead: true }),
    );
    return Item;
  }

  async query(input: Omit<QueryCommandInput, 'TableName'>): Promise<{ items: Item[]; lastKey?: Key }> {
    try {
      const { Items = [], LastEvaluatedKey } = await this.client.send(
        new QueryCommand({ TableName: this.name, ...input }),
      );
      return { items: Items, ...(LastEvaluatedKey ? { lastKey: LastEvaluatedKey } : {}) };
    } catch (error) {
      // DynamoDB refuses a start key that does not belong to the query.
      if (input.ExclusiveStartKey && isNamed(error, 'ValidationException')) {
        throw new InvalidToken();
      }
      throw error;
    }
  }

  /** @returns the item as it is now. */
  change(key: Key, change: Change): Promise<Item | undefined> {
    return this.update({ Key: key, ...expressionsFor(change) });
  }

  /** @returns the item as it is now. */
  async update(input: Omit<UpdateCommandInput, 'TableName' | 'ReturnValues'>): Promise<Item | undefined> {
    const output = await ignoreLostCondition(
      this.client.send(new UpdateCommand({ TableName: this.name, ReturnValues: 'ALL_NEW', ...input })),
    );
    return output?.Attributes;
  }

  async put(input: Omit<PutCommandInput, 'TableName'>): Promise<void> {
    await ignoreLostCondition(this.client.send(new PutCommand({ TableName: this.name, ...input })));
  }

  async delete(keys: Key[]): Promise<void> {
    // BatchWriteItem takes 25 requests at most and may leave some unprocessed.
    for (let start = 0; start < keys.length; start += 25) {
      let requests = keys.slice(start, start + 25).map((Key) => ({ DeleteRequest: { Key } }));
      while (requests.length > 0) {
        const { UnprocessedItems } = await this.client.send(
          new BatchWriteCommand({ RequestItems: { [this.name]: requests } }),
        );
        requests = (UnprocessedItems?.[this.name] ?? []) as typeof requests;
      }
    }
  }
}

async function ignoreLostCondition<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    if (isNamed(error, 'ConditionalCheckFailedException')) {
      return undefined;
    }
    throw error;
  }
}
