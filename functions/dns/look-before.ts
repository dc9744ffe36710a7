import { type CaaVerdict, caaVerdict } from '../domain/caa.ts';
import { isWildcard, zoneCandidates } from '../domain/domain-names.ts';
import type { Fault } from '../domain/errors.ts';
import { inParallel } from '../runtime/in-parallel.ts';
import { type FindZonesDeps, type ZoneOfName, zoneFinder } from './find-zones.ts';
import { type PublicResolver, remembering } from './resolver.ts';

/** A certificate may have 100 names. With as many questions at once a resolver that is silent costs a few seconds. */
const NAMES_AT_ONCE = 25;
/** More names of one fault than a person reads. */
const MOST_NAMED = 10;

/** What public DNS and the hosted zones say of names before a certificate is requested for them. */
export interface LookBefore {
  /** Why ACM would refuse, or could not validate: each with what to do. */
  Faults: Fault[];
  /** Of the names that have one. */
  Zones: ZoneOfName[];
  Warnings: string[];
}

/** Without accounts only CAA records are looked at: a person creates the validation records, wherever the zones are. */
export type LookBeforeDeps = FindZonesDeps;

/**
 * Looks what would keep ACM from issuing a certificate for the names, before it is asked.
 *
 * @param names as `checkNames` gives them.
 * @throws the throttling errors of Route 53 and STS.
 */
export async function lookBefore(names: readonly string[], deps: LookBeforeDeps): Promise<LookBefore> {
  const resolver = remembering(deps.resolver);
  const zoneOf = zoneFinder({ ...deps, resolver });
  const looks = names.map((name) => ({ name, faults: [], warnings: [] }) as Look);
  await inParallel(looks, NAMES_AT_ONCE, async (look) => {
    add(look, await caaOf(look.name, resolver));
    if (deps.dnsAccounts.length > 0) {
      const { zone, ...said } = await zoneOf(look.name);
      add(look, said);
      if (zone) {
        look.zone = zone;
      }
    }
  });
  return {
    Faults: grouped(looks, 'faults').map((Reason) => ({ Field: 'DomainNames', Reason })),
    Zones: looks.flatMap(({ zone }) => zone ?? []),
    Warnings: grouped(looks, 'warnings'),
  };
}

interface Look {
  name: string;
  faults: string[];
  warnings: string[];
  zone?: ZoneOfName;
}

function add({ faults, warnings }: Look, { fault, warning }: CaaVerdict): void {
  faults.push(...(fault ? [fault] : []));
  warnings.push(...(warning ? [warning] : []));
}

/** The records of the closest name that has some count, and those of its parents do not (RFC 8659, 3). */
async function caaOf(name: string, resolver: PublicResolver): Promise<CaaVerdict> {
  for (const at of zoneCandidates(name)) {
    const answer = await resolver.caa(at);
    if ('failed' in answer) {
      return {
        fault:
          `Public DNS does not say which CAs may issue: the question for CAA records at ${at} failed (${answer.failed}). ACM ` +
          'does not issue then. Correct the name servers or the DNSSEC of the zone, or of the name to which a CNAME there leads, ' +
          'and ask again.',
      };
    }
    if ('found' in answer) {
      return caaVerdict(at, answer.found, isWildcard(name));
    }
  }
  return {};
}

/** What was said of several names once, with the names before it. */
function grouped(looks: readonly Look[], kind: 'faults' | 'warnings'): string[] {
  const said = looks.flatMap((look) => look[kind].map((text) => ({ text, name: look.name })));
  return [...Map.groupBy(said, ({ text }) => text)].map(([text, all]) => {
    const more = all.length - MOST_NAMED;
    const shown = all.slice(0, MOST_NAMED).map(({ name }) => name);
    return `${shown.join(', ')}${more > 0 ? ` and ${more} more` : ''}: ${text}`;
  });
}
