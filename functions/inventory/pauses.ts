import { inParallel } from '../runtime/in-parallel.ts';
import { decodeToken, nextToken, type Page, pages } from './pages.ts';
import type { Table } from './table.ts';

/** One partition: people pause, so that it is written seldom. */
const PARTITION = 'fleet#paused';
const WRITES_AT_ONCE = 10;

/**
 * Marks of the deployments that are paused, so that they are listed without reading the fleet: one small item each. A
 * deployment says itself whether it is paused; a mark that lacks, or is left over, is put right by the next sweep.
 */
export class Pauses {
  private readonly table: Table;

  constructor(table: Table) {
    this.table = table;
  }

  async mark(deploymentIds: Iterable<string>): Promise<void> {
    await inParallel(deploymentIds, WRITES_AT_ONCE, (id) => this.table.put({ Item: keyOf(id) }));
  }

  unmark(deploymentIds: Iterable<string>): Promise<void> {
    return this.table.delete([...deploymentIds].map(keyOf));
  }

  /** One page of ids, strongly consistent. @param question what the page token belongs to. */
  async page(limit: number, token: string | undefined, question: string): Promise<Page<string>> {
    const page = await this.table.query({
      KeyConditionExpression: 'DeploymentId = :paused',
      ExpressionAttributeValues: { ':paused': PARTITION },
      ConsistentRead: true,
      Limit: limit,
      ExclusiveStartKey: decodeToken(token, question)?.key,
    });
    return {
      items: page.items.map(({ Item }) => String(Item)),
      ...nextToken({ key: page.lastKey }, question),
    };
  }

  async all(): Promise<Set<string>> {
    const found = await Array.fromAsync(pages((token) => this.page(1000, token, PARTITION)));
    return new Set(found.flat());
  }
}

const keyOf = (deploymentId: string) => ({ DeploymentId: PARTITION, Item: deploymentId });
