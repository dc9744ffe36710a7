import {
  type CertificateRequest,
  countedAs,
  hashOfNames,
  isOpen,
  type RequestInput,
  type Wish,
  type WrittenRecord,
} from '../domain/certificate-request.ts';
import { timestamp } from '../domain/deployment.ts';
import { RetryLater } from '../domain/errors.ts';
import type { Table } from './table.ts';

/** Rounds against others who write at the same time: two executions of one request, and a person. */
const ROUNDS = 5;

/** One partition: requests are few, and a mark goes when its request has ended. */
const OPEN = 'fleet#requests';
/** One item a day of ACM's requests. */
const COUNTED = 'count#requests';

/** What marks a request that is not ended: also that of a POST that was cut off before it wrote the request. */
export interface OpenMark {
  CertName: string;
  RequestNumber: number;
  At: string;
  /** The request as it ended, where the next one has taken its place before people were told of it. */
  Ended?: CertificateRequest;
}

/** What write-validation-records has done. */
export interface NotedRecords {
  /** All of them: what was written before, too. */
  Written: Record<string, WrittenRecord>;
  /** Absent: nothing is in the way. */
  WritingFailure?: string | undefined;
  /** When it is tried again. Absent: as it was noted before. */
  NextLookAt?: string;
}

/**
 * Requests for certificates: one item a CertName. Its fields are in a map, because only deployments may carry the
 * attributes of the indexes. Every write is conditional on the revision that was read, so that what is older never
 * overwrites what is newer.
 */
export class CertificateRequests {
  private readonly table: Table;

  constructor(table: Table) {
    this.table = table;
  }

  /** The request of a name, strongly consistent; undefined where there was none. */
  async get(certName: string): Promise<CertificateRequest | undefined> {
    const item = await this.table.get(keyOf(certName));
    return item?.Asked as CertificateRequest | undefined;
  }

  /**
   * Writes a request that is new, after a mark that it is open. A mark without its request does no harm. What people were
   * not told of the one before stays in that one's mark.
   *
   * @param before the request of this name that was read, which has ended; undefined where there was none.
   * @returns undefined where another caller was faster.
   */
  async open(
    before: CertificateRequest | undefined,
    request: CertificateRequest,
  ): Promise<CertificateRequest | undefined> {
    const At = timestamp(this.table.now());
    if (before?.Error !== undefined && before.ToldAt === undefined) {
      const { CertName, RequestNumber } = before;
      await this.mark({ CertName, RequestNumber, At, Ended: before });
    }
    const { CertName, RequestNumber } = request;
    await this.mark({ CertName, RequestNumber, At });
    return this.write(before, request);
  }

  private mark(mark: OpenMark): Promise<void> {
    return this.table.put({ Item: { ...markKeyOf(mark), Mark: mark } });
  }

  /**
   * Writes a request as it is now, if it is as it was read.
   *
   * @returns undefined where it is not: read it again. Also for its own write, where the answer was lost and the SDK has
   *   repeated it.
   */
  async write(
    before: CertificateRequest | undefined,
    request: CertificateRequest,
  ): Promise<CertificateRequest | undefined> {
    const revision = (before as Revised | undefined)?.Revision ?? 0;
    const next = { ...request, UpdatedAt: timestamp(this.table.now()), Revision: revision + 1 };
    const written = await this.table.change(keyOf(request.CertName), {
      set: { Asked: next },
      condition: before ? 'Asked.Revision = :revision' : 'attribute_not_exists(Asked)',
      values: before ? { ':revision': revision } : {},
    });
    return written?.Asked as CertificateRequest | undefined;
  }

  /**
   * Changes a request that is open, as it is then.
   *
   * @param change returns undefined where nothing is to be written.
   * @returns the request as it is now; undefined where it has another number, has ended, or others are faster each time.
   */
  async change(
    certName: string,
    requestNumber: number,
    change: (request: CertificateRequest) => CertificateRequest | undefined,
  ): Promise<CertificateRequest | undefined> {
    for (let round = 0; round < ROUNDS; round += 1) {
      const request = await this.get(certName);
      if (request?.RequestNumber !== requestNumber || !isOpen(request)) {
        return undefined;
      }
      const changed = change(request);
      const written = changed ? await this.write(request, changed) : request;
      if (written) {
        return written;
      }
    }
    return undefined;
  }

  /** The name under which an open request asks for the same names and key algorithm; undefined where none does. */
  async holderOf(certName: string, wish: Wish): Promise<string | undefined> {
    const holder = await this.heldBy(wish);
    return (await this.isHolding(holder, certName)) ? holder?.CertName : undefined;
  }

  /**
   * Takes the names and the key algorithm of a request for this request, which may have them already: ACM's list shows a
   * certificate only some time after it was asked for. They need no release: once the request has ended, or another one is in
   * its place, the next request takes them over.
   *
   * @returns the name whose open request has them; undefined where they are this request's now.
   * @throws RetryLater when others are faster each time.
   */
  async holdNames({ CertName, RequestNumber, Wish }: CertificateRequest): Promise<string | undefined> {
    for (let round = 0; round < ROUNDS; round += 1) {
      const holder = await this.heldBy(Wish);
      if (holder?.CertName === CertName && holder.RequestNumber === RequestNumber) {
        return undefined;
      }
      if (await this.isHolding(holder, CertName)) {
        return holder?.CertName;
      }
      const held = await this.table.change(namesKeyOf(Wish), {
        set: { Holder: { CertName, RequestNumber } },
        condition: holder ? 'Holder = :holder' : 'attribute_not_exists(Holder)',
        values: holder ? { ':holder': holder } : {},
      });
      if (held) {
        return undefined;
      }
    }
    throw new RetryLater(`Others ask for the names of ${CertName} at the same time.`);
  }

  private async heldBy(wish: Wish): Promise<RequestInput | undefined> {
    return (await this.table.get(namesKeyOf(wish)))?.Holder as RequestInput | undefined;
  }

  /** Whether a holder keeps a name from having what it holds. A name has one request at a time, and is never in its own way. */
  private async isHolding(holder: RequestInput | undefined, certName: string): Promise<boolean> {
    if (!holder || holder.CertName === certName) {
      return false;
    }
    const request = await this.get(holder.CertName);
    return request?.RequestNumber === holder.RequestNumber && isOpen(request);
  }

  /** Notes what was done about its records. Undefined when the request is another one. */
  noteRecords(
    certName: string,
    requestNumber: number,
    { Written, WritingFailure, NextLookAt }: NotedRecords,
  ): Promise<CertificateRequest | undefined> {
    const now = timestamp(this.table.now());
    return this.change(certName, requestNumber, (known) => {
      const { WritingFailure: _, UnwrittenSince = now, UnwrittenToldAt, ...request } = known;
      const told = UnwrittenToldAt === undefined ? {} : { UnwrittenToldAt };
      return {
        ...request,
        Written,
        ...(WritingFailure === undefined ? {} : { WritingFailure, UnwrittenSince, ...told }),
        ...(NextLookAt === undefined ? {} : { NextLookAt }),
      };
    });
  }

  /**
   * Counts a request among those of today, by the clock of the function and not by what the request says of itself. It
   * counts once a day, however often this is called.
   *
   * @param most how many there may be on one day.
   * @returns false where there are as many as there may be.
   */
  async admit(request: CertificateRequest, most: number): Promise<boolean> {
    // The first of a day makes the item: 0 stops everything, also what was counted before.
    if (most < 1) {
      return false;
    }
    const one = countedAs(request);
    const counted = await this.table.update({
      Key: dayOf(timestamp(this.table.now())),
      UpdateExpression: 'ADD Requests :self',
      ConditionExpression:
        'attribute_not_exists(Requests) OR contains(Requests, :one) OR size(Requests) < :most',
      ExpressionAttributeValues: { ':self': new Set([one]), ':one': one, ':most': most },
    });
    return counted !== undefined;
  }

  /** How many were counted on the day of a time. */
  async countOn(at: Date): Promise<number> {
    const item = await this.table.get(dayOf(timestamp(at)));
    return (item?.Requests as Set<string> | undefined)?.size ?? 0;
  }

  /** The marks of all requests that are open, and of some that have just ended. */
  async marks(): Promise<OpenMark[]> {
    // At most MaxCertificatesPerDay a day are open for three days: they are below the 1 MB of one page.
    const { items } = await this.table.query({
      KeyConditionExpression: 'DeploymentId = :open',
      ExpressionAttributeValues: { ':open': OPEN },
      ConsistentRead: true,
    });
    return items.map(({ Mark }) => Mark as OpenMark);
  }

  /** A mark is of one request: one that came after it has a mark of its own. */
  unmark(marks: readonly OpenMark[]): Promise<void> {
    return this.table.delete(marks.map(markKeyOf));
  }
}

type Revised = CertificateRequest & { Revision?: number };

const keyOf = (certName: string) => ({ DeploymentId: `request#${certName}`, Item: 'request' });
const namesKeyOf = (wish: Wish) => ({ DeploymentId: `names#${hashOfNames(wish)}`, Item: 'names' });
const markKeyOf = ({ CertName, RequestNumber }: Pick<OpenMark, 'CertName' | 'RequestNumber'>) => ({
  DeploymentId: OPEN,
  Item: `${CertName}#${RequestNumber}`,
});
const dayOf = (time: string) => ({ DeploymentId: COUNTED, Item: time.slice(0, 10) });
