import { timestamp } from '../domain/deployment.ts';
import { asRead } from './expressions.ts';
import type { Table } from './table.ts';

/** EC2 nodes and hybrid ones, which are priced, are looked at in turns of their own. */
export type LookKind = 'ec2' | 'hybrid';

export const kindOf = (nodeId: string): LookKind => (nodeId.startsWith('mi-') ? 'hybrid' : 'ec2');

/** The last look at the nodes of one kind in one account and Region. Times are ISO 8601. */
export interface LookRecord {
  SentAt?: string;
  /** Absent until they were noted: after a crash they are to be found by document and time. */
  CommandIds?: string[];
  /** Why the account refused the look. */
  Refused?: string;
  /** The SentAt of the last look that was collected: then every node without a finding was seen as its record says. */
  CompletedAt?: string;
}

/** Whether a look was sent and its answers were not collected yet. */
export const isOpen = ({ SentAt, CompletedAt, Refused }: LookRecord) =>
  SentAt !== undefined && SentAt !== CompletedAt && Refused === undefined;

/** Looks at nodes: one item for each account, Region and kind. */
export class Looks {
  private readonly table: Table;

  constructor(table: Table) {
    this.table = table;
  }

  /** @param place account and Region, with a slash between them. */
  async get(place: string, kind: LookKind): Promise<LookRecord> {
    return ((await this.table.get(keyOf(place, kind))) ?? {}) as LookRecord;
  }

  /** Notes a look before it is sent. @returns undefined where another sweep was faster. */
  async open(place: string, kind: LookKind, before: LookRecord): Promise<LookRecord | undefined> {
    const opened = await this.table.change(keyOf(place, kind), {
      set: { SentAt: timestamp(this.table.now()) },
      remove: ['CommandIds', 'Refused'],
      ...asRead(before, ['SentAt']),
    });
    return opened as LookRecord | undefined;
  }

  /** Notes what became of a look, if it is still the last one. */
  async note(
    place: string,
    kind: LookKind,
    { SentAt }: LookRecord,
    noted: Omit<LookRecord, 'SentAt'>,
  ): Promise<void> {
    await this.table.change(keyOf(place, kind), { set: { ...noted }, ...asRead({ SentAt }, ['SentAt']) });
  }
}

const keyOf = (place: string, kind: LookKind) => ({ DeploymentId: `look#${place}`, Item: kind });
