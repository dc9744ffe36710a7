import { type CaaVerdict, caaVerdict } from '../domain/caa.ts';
import { baseOf, isWildcard, zoneCandidates } from '../domain/domain-names.ts';
import type { Fault } from '../domain/errors.ts';
import { allOf, inParallel } from '../runtime/in-parallel.ts';
import { type Apex, apexOf, isRegistered, UNREGISTERED } from './apex.ts';
import { type FindZonesDeps, type ZoneOfName, zoneInAccounts } from './find-zones.ts';
import { type PublicResolver, remembering, UNREADABLE } from './resolver.ts';
import { grouped, type Told, told } from './told.ts';

/** As many as a certificate may have: a resolver that is silent costs 4.5 seconds, and all names wait for it together. */
const NAMES_AT_ONCE = 100;
/** Route 53 is asked three times a second in each account, so more would only wait. After the deadline these still end. */
const ZONES_AT_ONCE = 4;

/** How long a look may take: API Gateway waits 29 seconds for the answer, and other looks come before this one. */
export const LOOK_MILLISECONDS = 15_000;

/** What public DNS and the hosted zones say of names before a certificate is requested for them. */
export interface LookBefore {
  /** Why ACM would refuse, or could not validate: each with what to do. */
  Faults: Fault[];
  /** Of the names that have one. */
  Zones: ZoneOfName[];
  Warnings: string[];
}

/** Without accounts only public DNS is looked at: a person creates the validation records, wherever the zones are. */
export interface LookBeforeDeps extends FindZonesDeps {
  /** Ends the look: what is not known by then is told as a fault. */
  deadline: AbortSignal;
}

/**
 * Looks what would keep ACM from issuing a certificate for the names, before it is asked.
 *
 * @param names as `checkNames` gives them.
 * @throws the throttling errors of Route 53 and STS.
 */
export async function lookBefore(names: readonly string[], deps: LookBeforeDeps): Promise<LookBefore> {
  const resolver = remembering(deps.resolver);
  const zoneOf = zoneInAccounts(deps);
  const looks = names.map((name): Look => ({ name, seen: {}, zones: {} }));
  const forZones = deps.dnsAccounts.length > 0;
  await unlessLate(
    deps.deadline,
    looks,
    NAMES_AT_ONCE,
    { seen: { faults: [DNS_IS_LATE] } },
    async ({ name }) => ({
      seen: await publicDnsOf(name, resolver, forZones),
    }),
  );
  // Without an answer of public DNS the request is refused. The zones of the other names would be late, too, whatever their number.
  const isLate = looks.some(({ seen }) => seen.faults?.includes(DNS_IS_LATE));
  const withApex = looks.filter(({ seen }) => seen.apex && !isLate);
  await unlessLate(
    deps.deadline,
    withApex,
    ZONES_AT_ONCE,
    { zones: { fault: ZONES_ARE_LATE } },
    async (look) => ({
      zones: await zoneOf(look.name, look.seen.apex as Apex),
    }),
  );
  const said = (tell: (look: Look) => (Told | undefined)[]) =>
    grouped(
      looks.flatMap((look) => tell(look).flatMap((one) => (one ? { name: look.name, told: one } : []))),
    );
  const warningOf = ({ warning }: { warning?: string }) =>
    warning === undefined ? undefined : told(warning);
  return {
    Faults: said(({ seen, zones }) => [...(seen.faults ?? []), zones.fault]).map((Reason) => ({
      Field: 'DomainNames',
      Reason,
    })),
    Zones: looks.flatMap(({ zones }) => zones.zone ?? []),
    Warnings: said(({ seen, zones }) => [warningOf(seen), warningOf(zones)]),
  };
}

/** What was seen of a name by now. */
interface Look {
  name: string;
  seen: Seen;
  zones: Partial<Awaited<ReturnType<ReturnType<typeof zoneInAccounts>>>>;
}

/** What public DNS says of a name. */
interface Seen {
  faults?: Told[];
  warning?: string;
  /** Where the hosted zone of the name is to be looked for. */
  apex?: Apex;
}

const DNS_IS_LATE = told(
  'Public DNS did not answer in time. Ask again. If that does not help, look at the name servers of the domain.',
);
const ZONES_ARE_LATE = told(
  'There are too many hosted zones for one look: Route 53 takes few questions a second, and not all were answered in time. ' +
    'Request a certificate for fewer domains, or send RecordsByHand true.',
);

/**
 * Completes each look until the deadline. Work that is under way then goes on, and nobody waits for it.
 *
 * @param late what is noted of the looks whose work has not ended by then.
 */
async function unlessLate(
  deadline: AbortSignal,
  looks: readonly Look[],
  limit: number,
  late: Partial<Look>,
  work: (look: Look) => Promise<Partial<Look>>,
): Promise<void> {
  const open = new Set(looks);
  const all = inParallel(looks, limit, async (look) => {
    const seen = deadline.aborted ? late : await work(look);
    // What ends after the deadline does not change what is told.
    if (open.delete(look)) {
      Object.assign(look, seen);
    }
  });
  await Promise.race([all, aborted(deadline)]);
  for (const look of open) {
    Object.assign(look, late);
  }
  open.clear();
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
    }
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** @param forZones whether hosted zones are looked for next. They may say more of a name that nobody has registered. */
async function publicDnsOf(name: string, resolver: PublicResolver, forZones: boolean): Promise<Seen> {
  const [caa, apex] = await allOf(caaOf(name, resolver), apexOf(baseOf(name), resolver));
  // Name servers that fail are one trouble, and it is told once.
  if ('failed' in caa) {
    return { faults: [caa.failed] };
  }
  const { fault, ...verdict } = caa;
  const faults = fault === undefined ? [] : [told(fault)];
  if ('fault' in apex) {
    return { ...verdict, faults: [...faults, apex.fault] };
  }
  if (forZones) {
    return { ...verdict, faults, apex };
  }
  return { ...verdict, faults: isRegistered(apex) ? faults : [...faults, UNREGISTERED] };
}

/** The records of the closest name that has some count, and those of its parents do not (RFC 8659, 3). */
async function caaOf(name: string, resolver: PublicResolver): Promise<CaaVerdict | { failed: Told }> {
  for (const at of zoneCandidates(name)) {
    const answer = await resolver.caa(at);
    if ('failed' in answer) {
      return { failed: caaFailed(at, answer.failed) };
    }
    if ('found' in answer) {
      const alias = await resolver.cname(at);
      const [target] = 'found' in alias ? alias.found : [];
      return caaVerdict({ at, ...(target ? { target } : {}) }, answer.found, isWildcard(name));
    }
  }
  return {};
}

const caaFailed = (name: string, failed: string): Told => ({
  at: name,
  text: (at) =>
    `Public DNS does not say which CAs may issue: the question for CAA records at ${at} failed (${failed}). ` +
    (failed === UNREADABLE
      ? 'A CAA record with the value "" is one: write ";" there, and ask again.'
      : 'ACM does not issue then. Correct the name servers or the DNSSEC of the zone, or of the name to which a CNAME there ' +
        'leads, and ask again.'),
});
