import type { Table } from './table.ts';

const KEY = { DeploymentId: 'reminder#stops', Item: 'reminder' };

/** What is remembered from one reminder to the next. Times are ISO 8601. */
export interface ReminderRecord {
  /** When people were reminded last. */
  ToldAt?: string | undefined;
  /** Since when sweeps see that the parameter RolloutsEnabled is false. */
  OffSince?: string | undefined;
}

/** The reminder of what stands still: one item. */
export class Reminders {
  private readonly table: Table;

  constructor(table: Table) {
    this.table = table;
  }

  async get(): Promise<ReminderRecord> {
    return ((await this.table.get(KEY)) ?? {}) as ReminderRecord;
  }

  async note({ ToldAt, OffSince }: ReminderRecord): Promise<void> {
    await this.table.put({ Item: { ...KEY, ToldAt, OffSince } });
  }
}
