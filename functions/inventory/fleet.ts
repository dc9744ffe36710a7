import { type Deployment, STATUSES, type Status } from '../domain/deployment.ts';
import { isPaused } from '../domain/freeze.ts';
import { asRead } from './expressions.ts';
import { readItem } from './first-edition.ts';
import { decodeToken, nextToken, type Page, pages } from './pages.ts';
import type { Pauses } from './pauses.ts';
import type { Key, Table } from './table.ts';

type Asked = Status | 'PAUSED';

export interface FleetFilter {
  CertName?: string | undefined;
  CertificateArn?: string | undefined;
  /** `PAUSED` is no status: a deployment that is paused has one besides. */
  Status?: Asked | undefined;
  TargetAccount?: string | undefined;
  /** Only what expires at or before this time. */
  NotAfterAtMost?: string | undefined;
}

/** How many deployments there are, those that are only tried or being deleted included: as counted, and registered since. */
const SIZE = { DeploymentId: 'fleet#size', Item: 'size' };

export const keyOf = (deploymentId: string) => ({ DeploymentId: deploymentId, Item: 'deployment' });

/** Questions about all deployments. Indexes answer them, so an answer may be a moment old. */
export class Fleet {
  private readonly table: Table;
  private readonly pauses: Pauses;

  constructor(table: Table, pauses: Pauses) {
    this.table = table;
    this.pauses = pauses;
  }

  /** One deployment, strongly consistent; undefined when there is none or it was deleted. */
  async get(deploymentId: string): Promise<Deployment | undefined> {
    const item = await this.table.get(keyOf(deploymentId));
    return item?.CertName === undefined ? undefined : readItem(item);
  }

  /**
   * One page of the fleet. The most selective filter chooses the index; the others filter what it reads.
   * Without CertName, CertificateArn and TargetAccount the statuses are read one after the other, so that a
   * page costs at most one query a status. What is paused is found by its marks, and each deployment is read.
   *
   * @throws InvalidToken for a token that this method did not make for the same filter.
   */
  async page(filter: FleetFilter, limit: number, token?: string): Promise<Page<Deployment>> {
    const question = questionOf(filter);
    const statuses = statusesIn(filter.Status);
    const position = decodeToken(token, question, statuses.length) ?? {};
    if (filter.CertName || filter.CertificateArn || filter.TargetAccount) {
      const page = await this.query(filter, undefined, limit, position.key);
      return { items: page.items, ...nextToken({ key: page.lastKey }, question) };
    }
    if (filter.Status === 'PAUSED') {
      return this.pausedPage(filter, limit, token);
    }
    const items: Deployment[] = [];
    let { status = 0, key } = position;
    while (status < statuses.length) {
      const page = await this.query(filter, statuses[status], limit - items.length, key);
      items.push(...page.items);
      key = page.lastKey;
      if (!key) {
        status += 1;
      }
      if (items.length >= limit || key) {
        break;
      }
    }
    return status < statuses.length ? { items, ...nextToken({ status, key }, question) } : { items };
  }

  /**
   * Counts one more deployment in.
   *
   * @returns false where there are as many as there may be. They are counted anew by each sweep, so one too many may pass.
   */
  async admit(most: number): Promise<boolean> {
    const admitted = await this.table.update({
      Key: SIZE,
      UpdateExpression: 'ADD Deployments :one',
      ConditionExpression: 'attribute_not_exists(Deployments) OR Deployments < :most',
      ExpressionAttributeValues: { ':one': 1, ':most': most },
    });
    return admitted !== undefined;
  }

  /** Undefined before the first count. */
  async size(): Promise<number | undefined> {
    return (await this.table.get(SIZE))?.Deployments as number | undefined;
  }

  /** Corrects the size by a count. @param before as it was before the count: nobody was counted in since. */
  async noteSize(before: number | undefined, counted: number): Promise<void> {
    const seen = asRead({ Deployments: before }, ['Deployments']);
    await this.table.change(SIZE, { set: { Deployments: counted }, ...seen });
  }

  /** Every deployment that fits the filter. */
  async *all(filter: FleetFilter): AsyncGenerator<Deployment> {
    for await (const page of this.pages(filter)) {
      yield* page;
    }
  }

  /** Every deployment that fits the filter, in pages: a large fleet is never in memory as a whole. */
  pages(filter: FleetFilter): AsyncGenerator<Deployment[]> {
    // 1,000 small items stay below the 1 MB that one Query reads at most.
    return pages((token) => this.page(filter, 1000, token));
  }

  private async pausedPage(filter: FleetFilter, limit: number, token?: string): Promise<Page<Deployment>> {
    const { items: ids, ...rest } = await this.pauses.page(limit, token, questionOf(filter));
    const found = await Promise.all(ids.map((id) => this.get(id)));
    const { NotAfterAtMost: most } = filter;
    const isAsked = (deployment: Deployment) =>
      isPaused(deployment) && (most === undefined || deployment.NotAfter <= most);
    return { items: found.filter((deployment) => deployment !== undefined).filter(isAsked), ...rest };
  }

  /** @param status the one that is read of StatusIndex. */
  private async query(
    filter: FleetFilter,
    status: Status | undefined,
    limit: number,
    startKey: Key | undefined,
  ): Promise<{ items: Deployment[]; lastKey?: Key }> {
    const { index, key, sorted } = chooseIndex(filter);
    const names: Record<string, string> = { '#key': key };
    const values: Record<string, unknown> = { ':key': key === 'Status' ? status : filter[key] };
    const conditions = ['#key = :key'];
    const filters: string[] = [];
    const { Status: asked } = filter;
    if (asked === 'PAUSED') {
      names['#Status'] = 'Status';
      values[':deleting'] = 'DELETING';
      filters.push('attribute_exists(PausedAt)', '#Status <> :deleting');
    } else if (asked && key === 'Status') {
      filters.push(...triedOrNot(asked, status));
    } else if (asked) {
      names['#Status'] = 'Status';
      const either = statusesIn(asked).map((one, place) => {
        values[`:status${place}`] = one;
        return [`#Status = :status${place}`, ...triedOrNot(asked, one)].join(' AND ');
      });
      filters.push(`(${either.join(' OR ')})`);
    }
    for (const field of ['CertName', 'CertificateArn', 'TargetAccount'] as const) {
      if (field !== key && filter[field] !== undefined) {
        names[`#${field}`] = field;
        values[`:${field}`] = filter[field];
        filters.push(`#${field} = :${field}`);
      }
    }
    if (filter.NotAfterAtMost !== undefined) {
      values[':notAfter'] = filter.NotAfterAtMost;
      (sorted ? conditions : filters).push('NotAfter <= :notAfter');
    }
    const page = await this.table.query({
      IndexName: index,
      KeyConditionExpression: conditions.join(' AND '),
      ...(filters.length > 0 ? { FilterExpression: filters.join(' AND ') } : {}),
      ExpressionAttributeNames: names,
      ExpressionAttributeValues: values,
      Limit: limit,
      ExclusiveStartKey: startKey,
    });
    return {
      items: page.items.map(readItem),
      ...(page.lastKey ? { lastKey: page.lastKey } : {}),
    };
  }
}

/** The statuses in the index under which deployments of a status are found: all of them if none is asked for. */
const statusesIn = (asked: Asked | undefined): readonly Status[] =>
  asked === undefined || asked === 'PAUSED' ? STATUSES : asked === 'TRIED' ? ['TRIED', 'WAITING'] : [asked];

/** What an older edition wrote of a deployment that was only tried stands under WAITING until the next dry run. */
function triedOrNot(asked: Status, inIndex: Status | undefined): string[] {
  const tried = asked === 'TRIED' ? 'attribute_exists(DryRunOnly)' : 'attribute_not_exists(DryRunOnly)';
  return inIndex === 'WAITING' ? [tried] : [];
}

function chooseIndex(filter: FleetFilter): {
  index: string;
  key: 'CertName' | 'CertificateArn' | 'TargetAccount' | 'Status';
  /** Whether the index is sorted by NotAfter. */
  sorted: boolean;
} {
  if (filter.CertName) return { index: 'CertNameIndex', key: 'CertName', sorted: false };
  if (filter.CertificateArn) return { index: 'CertificateArnIndex', key: 'CertificateArn', sorted: false };
  if (filter.TargetAccount) return { index: 'TargetAccountIndex', key: 'TargetAccount', sorted: true };
  return { index: 'StatusIndex', key: 'Status', sorted: true };
}

/**
 * What a page token belongs to. The bound on NotAfter moves with the clock from page to page, so only its presence
 * counts.
 */
function questionOf(filter: FleetFilter): string {
  const { CertName, CertificateArn, Status, TargetAccount, NotAfterAtMost } = filter;
  return JSON.stringify([CertName, CertificateArn, Status, TargetAccount, NotAfterAtMost !== undefined]);
}
