import { createHash } from 'node:crypto';
import type { Key } from './table.ts';

export interface Page<T> {
  items: T[];
  /** Opaque; absent on the last page. */
  nextToken?: string;
}

/** A page token that was altered or made for another question. */
export class InvalidToken extends Error {
  override name = 'InvalidToken';

  constructor() {
    super('not one that this API gave out for this request');
  }
}

/** Where a page begins. */
export interface Position {
  status?: number | undefined;
  key?: Key | undefined;
}

/** Ties a token to its question: with another one it would skip what it never showed. */
const markOf = (question: string) => createHash('sha256').update(question).digest('base64url').slice(0, 8);

export function nextToken(position: Position, question: string): { nextToken?: string } {
  if (position.key === undefined && !position.status) {
    return {};
  }
  const token = JSON.stringify({ ...position, mark: markOf(question) });
  return { nextToken: Buffer.from(token).toString('base64url') };
}

/** Keys are strings only; anything else in their place would reach DynamoDB as another type. */
const isKey = (value: unknown): value is Key =>
  typeof value === 'object' &&
  value !== null &&
  !Array.isArray(value) &&
  Object.values(value).every((part) => typeof part === 'string');

/** @param parts how many parts the question is read in, one after the other. */
export function decodeToken(token: string | undefined, question: string, parts = 1): Position | undefined {
  if (token === undefined) {
    return undefined;
  }
  try {
    const { status, key, mark } = JSON.parse(Buffer.from(token, 'base64url').toString());
    const known =
      mark === markOf(question) &&
      (status === undefined || (Number.isInteger(status) && status >= 0 && status < parts)) &&
      (key === undefined || isKey(key));
    if (known) {
      return { status, key };
    }
  } catch {
    // Falls through: not a token of ours.
  }
  throw new InvalidToken();
}

/** Every page, one after the other. */
export async function* pages<T>(read: (token: string | undefined) => Promise<Page<T>>): AsyncGenerator<T[]> {
  let token: string | undefined;
  do {
    const page = await read(token);
    yield page.items;
    token = page.nextToken;
  } while (token !== undefined);
}
