import { type Endpoint, keyOf as endpointKeyOf } from '../domain/endpoint.ts';
import { inParallel } from '../runtime/in-parallel.ts';
import { decodeToken, nextToken, type Page, pages } from './pages.ts';
import type { Key, Table } from './table.ts';

/** Parallel writes: the first look at an account may find hundreds. */
const WRITES_AT_ONCE = 10;

/** The only finding that endpoints have, as the index of statuses holds it: no deployment has this status. */
const UNREGISTERED = 'UNREGISTERED';

/** TLS ports that serve a certificate which nobody registered: one item a port. */
export class Endpoints {
  private readonly table: Table;

  constructor(table: Table) {
    this.table = table;
  }

  /**
   * One page of all accounts, the ones that end first in front. The index answers, so it may be a moment old.
   *
   * @throws InvalidToken for a token that this method did not make.
   */
  async page(limit: number, token?: string): Promise<Page<Endpoint>> {
    const page = await this.table.query({
      IndexName: 'StatusIndex',
      KeyConditionExpression: '#Status = :unregistered',
      ExpressionAttributeNames: { '#Status': 'Status' },
      ExpressionAttributeValues: { ':unregistered': UNREGISTERED },
      Limit: limit,
      ExclusiveStartKey: decodeToken(token, UNREGISTERED)?.key,
    });
    return { items: page.items.map(endpointFrom), ...nextToken({ key: page.lastKey }, UNREGISTERED) };
  }

  /** All of one account and Region. */
  async all(place: string): Promise<Endpoint[]> {
    const found = await Array.fromAsync(
      pages(async (token) => {
        const page = await this.table.query({
          KeyConditionExpression: 'DeploymentId = :place',
          ExpressionAttributeValues: { ':place': partitionOf(place) },
          ConsistentRead: true,
          ExclusiveStartKey: decodeToken(token, place)?.key,
        });
        return { items: page.items.map(endpointFrom), ...nextToken({ key: page.lastKey }, place) };
      }),
    );
    return found.flat();
  }

  async put(place: string, endpoints: readonly Endpoint[]): Promise<void> {
    await inParallel(endpoints, WRITES_AT_ONCE, (endpoint) =>
      this.table.put({ Item: { ...keyOf(place, endpoint), ...endpoint, Status: UNREGISTERED } }),
    );
  }

  drop(place: string, endpoints: readonly Endpoint[]): Promise<void> {
    return this.table.delete(endpoints.map((endpoint) => keyOf(place, endpoint)));
  }
}

function endpointFrom(item: Key): Endpoint {
  const { DeploymentId: _, Item: __, Status: ___, ...endpoint } = item;
  return endpoint as unknown as Endpoint;
}

const partitionOf = (place: string) => `endpoint#${place}`;

const keyOf = (place: string, endpoint: Endpoint) => ({
  DeploymentId: partitionOf(place),
  Item: endpointKeyOf(endpoint),
});
