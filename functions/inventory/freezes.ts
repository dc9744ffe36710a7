import { randomUUID } from 'node:crypto';
import { timestamp } from '../domain/deployment.ts';
import { type Freeze, lasting } from '../domain/freeze.ts';
import { asRead } from './expressions.ts';
import type { Table } from './table.ts';

const KEY = { DeploymentId: 'freeze#all', Item: 'freeze' };

/**
 * For so long a function acts by one read of the record, so that a fleet that renews does not read it 10,000 times. A
 * freeze is answered when every such read is over: KNOWN_AFTER_MS.
 */
const READ_LASTS_MS = 1000;
/** After a write of the record every function knows it. More than READ_LASTS_MS: timers may fire a little early. */
export const KNOWN_AFTER_MS = 1500;

/** The freeze of all rollouts: one item, of the last one. */
export class Freezes {
  private readonly table: Table;
  private last: { at: number; read: Promise<Freeze | undefined> } | undefined;

  constructor(table: Table) {
    this.table = table;
  }

  /** The last freeze, also one that was thawed; strongly consistent. */
  async get(): Promise<Freeze | undefined> {
    return (await this.table.get(KEY)) as Freeze | undefined;
  }

  /** The freeze that lasts, by a strongly consistent read that began at most READ_LASTS_MS ago. */
  async current(): Promise<Freeze | undefined> {
    const now = this.table.now().getTime();
    const age = now - (this.last?.at ?? Number.NEGATIVE_INFINITY);
    // A clock that was set back makes the age negative.
    if (!this.last || age < 0 || age >= READ_LASTS_MS) {
      const last = { at: now, read: this.get() };
      this.last = last;
      last.read.catch(() => {
        this.last = this.last === last ? undefined : this.last;
      });
    }
    return lasting(await this.last.read);
  }

  /**
   * Freezes.
   *
   * @param before as it was read: a write that comes late, after others have frozen or thawed, comes to nothing.
   * @returns undefined where it is not as it was read.
   */
  async begin(before: Freeze | undefined, by: string, reason: string): Promise<Freeze | undefined> {
    const frozen = await this.table.change(KEY, {
      set: { Id: randomUUID(), FrozenAt: timestamp(this.table.now()), FrozenBy: by, Reason: reason },
      remove: ['ThawedAt', 'ThawedBy', 'Told'],
      ...asRead(before, ['Id', 'ThawedAt']),
    });
    return frozen as Freeze | undefined;
  }

  /** Thaws. Undefined where it is not as it was read: then another freeze may last. */
  async end(freeze: Freeze, by: string): Promise<Freeze | undefined> {
    const thawed = await this.table.change(KEY, {
      set: { ThawedAt: timestamp(this.table.now()), ThawedBy: by },
      ...asRead(freeze, ['Id', 'ThawedAt']),
    });
    return thawed as Freeze | undefined;
  }

  /** Notes what people were told of a freeze, if it is still the last one. */
  async noteTold({ Id }: Freeze, told: NonNullable<Freeze['Told']>): Promise<void> {
    await this.table.change(KEY, { set: { Told: told }, ...asRead({ Id }, ['Id']) });
  }
}
