import { zoneCandidates } from '../domain/domain-names.ts';
import { allOf } from '../runtime/in-parallel.ts';
import { type PublicResolver, UNREADABLE } from './resolver.ts';
import { type Told, told } from './told.ts';

/** The closest zone above a name in public DNS, which may be at the name itself. */
export interface Apex {
  /** A name of one label, or an empty one, where nobody has registered the domain. */
  at: string;
  /** The name servers that public DNS asks, in order. */
  servers: string[];
}

/** Nobody registers a top-level domain here. */
export const isRegistered = ({ at }: Apex) => at.includes('.');

/** Asks public DNS for the closest zone of a name without a star. */
export async function apexOf(base: string, resolver: PublicResolver): Promise<Apex | { fault: Told }> {
  for (const at of zoneCandidates(base)) {
    // Servers are asked through a CNAME, too: what they answer is another name's then, and this one is no zone.
    const [answer, alias] = await allOf(resolver.ns(at), resolver.cname(at));
    if ('none' in answer || 'found' in alias) {
      continue;
    }
    if ('failed' in answer) {
      return { fault: failedAt(at, answer.failed) };
    }
    if ('failed' in alias) {
      return { fault: failedAt(at, alias.failed) };
    }
    return { at, servers: answer.found.toSorted() };
  }
  return { at: '', servers: [] };
}

const failedAt = (name: string, failed: string): Told => ({
  at: name,
  text: (at) =>
    `Public DNS does not say which name servers ${at} has (${failed}). ` +
    `Correct them${failed === UNREADABLE ? '' : ', or its DNSSEC'}, and ask again.`,
});

/** Only a top-level domain is above the name. */
export const UNREGISTERED = told(
  'Public DNS has no zone of this domain. Register the domain, or correct the name.',
);
