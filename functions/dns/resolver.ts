import type { CaaProperty } from '../domain/caa.ts';
import { plainName } from '../domain/domain-names.ts';
import { isNamed } from '../domain/errors.ts';
import type { DnsClient } from '../runtime/clients.ts';
import { once } from './once.ts';

/**
 * What public DNS answers: records, or surely none, or nothing that can be relied on. Names are in lower case, without a dot
 * at their end.
 */
export type Answer<T> = { found: T[] } | { none: true } | { failed: string };

export interface PublicResolver {
  /** As CAs ask: through CNAMEs. */
  caa(name: string): Promise<Answer<CaaProperty>>;
  /** Through CNAMEs, too: the records may be those of another name. */
  ns(name: string): Promise<Answer<string>>;
  /** That of the name itself. */
  cname(name: string): Promise<Answer<string>>;
}

/** Codes of Node (DNS, "Error codes") that are answers: no such name, and no record of the type. */
const NONE = new Set(['ENOTFOUND', 'ENODATA']);

/** Node gives this of one question for several reasons, such as a CAA record with the value "" (seen with c-ares 1.34). */
export const UNREADABLE = 'an answer that cannot be read';

/** What the others mean for the person who is told. */
const MEANINGS: Record<string, string> = {
  ESERVFAIL: 'SERVFAIL: its name servers do not answer, or its DNSSEC is broken',
  EREFUSED: 'REFUSED: its name servers do not serve the zone',
  ETIMEOUT: 'no answer in time',
  EBADRESP: UNREADABLE,
};

/** Public DNS by a client of Node. */
export function publicResolver(client: DnsClient): PublicResolver {
  return {
    caa: (name) =>
      answerOf(async () => {
        const records = await client.resolveCaa(name);
        return records.map(propertyOf);
      }),
    ns: (name) => answerOf(async () => (await client.resolveNs(name)).map(plainName)),
    cname: (name) => answerOf(async () => (await client.resolveCname(name)).map(plainName)),
  };
}

/**
 * Node gives the tag as the name of a field. It gives the flags as a number, of which bit 0 is the highest (RFC 8659, 4.1).
 *
 * A tag with the name of one of Node's own fields hides the flags, or itself. It is none that CAs know, so it counts as critical.
 */
function propertyOf({ critical, ...rest }: { critical: number }): CaaProperty {
  const [[tag, value] = ['', '']] = Object.entries(rest).filter(([name]) => name !== 'type');
  return { critical: tag === '' || (critical & 128) !== 0, tag: tag.toLowerCase(), value: String(value) };
}

async function answerOf<T>(ask: () => Promise<T[]>): Promise<Answer<T>> {
  try {
    const found = await ask();
    return found.length > 0 ? { found } : { none: true };
  } catch (error) {
    const code = (error as { code?: unknown }).code;
    if (typeof code !== 'string' || isNamed(error, 'TypeError')) {
      throw error;
    }
    return NONE.has(code) ? { none: true } : { failed: MEANINGS[code] ?? code };
  }
}

/** Asks each question once: names of one certificate have the same parents. For one call of a function. */
export function remembering(resolver: PublicResolver): PublicResolver {
  return {
    caa: once((name) => resolver.caa(name)),
    ns: once((name) => resolver.ns(name)),
    cname: once((name) => resolver.cname(name)),
  };
}
