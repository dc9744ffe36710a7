import type { RecordFinding } from '../domain/validation-records.ts';
import type { Table } from './table.ts';

const KEY = { DeploymentId: 'records#lost', Item: 'records' };

/** Validation records that public DNS does not answer any more: one item, as the last sweep left it. */
export class RecordFindings {
  private readonly table: Table;

  constructor(table: Table) {
    this.table = table;
  }

  async get(): Promise<RecordFinding[]> {
    return ((await this.table.get(KEY))?.Findings ?? []) as RecordFinding[];
  }

  async note(findings: readonly RecordFinding[]): Promise<void> {
    await this.table.put({ Item: { ...KEY, Findings: findings } });
  }
}
