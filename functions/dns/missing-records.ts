import { plainName } from '../domain/domain-names.ts';
import type { PublicResolver } from './resolver.ts';
import type { CnameRecord } from './zones.ts';

/** A record that public DNS surely does not have as ACM wants it. */
export interface MissingRecord extends CnameRecord {
  /** What it answers in its place; absent where it has nothing. */
  Found?: string;
}

/** A CNAME may lead to another one. More than any chain that resolvers follow. */
const MOST_HOPS = 8;

/**
 * Which records public DNS surely does not answer as ACM wants, and of which ones it is not known: where a server does not
 * answer, nothing is said of its records.
 */
export async function missingRecords(
  records: readonly CnameRecord[],
  resolver: PublicResolver,
): Promise<{ missing: MissingRecord[]; unknown: CnameRecord[] }> {
  const missing: MissingRecord[] = [];
  const unknown: CnameRecord[] = [];
  for (const record of records) {
    const seen: string[] = [];
    let name = plainName(record.Name);
    for (;;) {
      const answer = await resolver.cname(name);
      const [value] = 'found' in answer ? answer.found : [];
      if (value === plainName(record.Value)) {
        break;
      }
      // A chain without an end is none that ACM could follow.
      if ('failed' in answer) {
        unknown.push(record);
        break;
      }
      if (value === undefined || seen.length === MOST_HOPS) {
        const [Found] = seen;
        missing.push({ ...record, ...(Found ? { Found } : {}) });
        break;
      }
      seen.push(value);
      name = value;
    }
  }
  return { missing, unknown };
}
