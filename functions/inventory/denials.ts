import type { Table } from './table.ts';

/** What AWS denies to a sweep, or what lasts like that. Times are ISO 8601. */
export interface Denial {
  /** What AWS says: it names role, action and resource. */
  Why: string;
  /** The parts of the fleet that suffer from it. */
  What: string[];
  /** When it was denied first. */
  Since: string;
  ToldAt?: string;
}

/** What is denied to each kind of sweep, and what lasts like that: one item a kind, as the last sweep left it. */
export class Denials {
  private readonly table: Table;

  constructor(table: Table) {
    this.table = table;
  }

  async get(sweep: string): Promise<Denial[]> {
    return ((await this.table.get(keyOf(sweep)))?.Denials ?? []) as Denial[];
  }

  async note(sweep: string, denials: readonly Denial[]): Promise<void> {
    await this.table.put({ Item: { ...keyOf(sweep), Denials: denials } });
  }
}

const keyOf = (sweep: string) => ({ DeploymentId: `denied#${sweep}`, Item: 'denied' });
