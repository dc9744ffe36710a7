import { randomUUID } from 'node:crypto';
import { timestamp } from '../domain/deployment.ts';
import type { Table } from './table.ts';

/** Renewals that callers asked ACM for, which cost money: one item a certificate, whatever names it is deployed under. */
export class Renewals {
  private readonly table: Table;

  constructor(table: Table) {
    this.table = table;
  }

  /**
   * Notes that ACM is about to be asked.
   *
   * @returns the id of the note; undefined where ACM has answered such a request since `since`, or is being asked by
   *   another caller since `asking`.
   */
  async request(certificateArn: string, since: string, asking: string): Promise<string | undefined> {
    const id = randomUUID();
    const noted = await this.table.change(keyOf(certificateArn), {
      set: { Id: id, RequestedAt: timestamp(this.table.now()) },
      remove: ['Answered'],
      // Id: its own note, where the answer to the write was lost and the SDK has repeated it.
      condition:
        'attribute_not_exists(RequestedAt) OR RequestedAt <= :since' +
        ' OR (attribute_not_exists(Answered) AND RequestedAt <= :asking) OR Id = :id',
      values: { ':since': since, ':asking': asking, ':id': id },
    });
    return noted && id;
  }

  /** Notes what ACM has answered: a request that it refused is taken back. */
  async answer(certificateArn: string, id: string, accepted: boolean): Promise<void> {
    await this.table.change(keyOf(certificateArn), {
      set: { UpdatedAt: timestamp(this.table.now()), ...(accepted ? { Answered: true } : {}) },
      remove: accepted ? [] : ['RequestedAt'],
      condition: 'Id = :id',
      values: { ':id': id },
    });
  }
}

const keyOf = (certificateArn: string) => ({ DeploymentId: `renewal#${certificateArn}`, Item: 'renewal' });
