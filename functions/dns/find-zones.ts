import type { Route53Client } from '@aws-sdk/client-route-53';
import { baseOf, zoneCandidates } from '../domain/domain-names.ts';
import { isDenial, isNamed } from '../domain/errors.ts';
import { once } from './once.ts';
import { type PublicResolver, remembering } from './resolver.ts';
import type { OpenZones } from './session.ts';
import { nameServersOf, recordsAt, zonesNamed } from './zones.ts';

/** The hosted zone into which ACM's record for a name goes. */
export interface ZoneOfName {
  DomainName: string;
  /** The name of the zone. */
  RecordZone: string;
  HostedZoneId: string;
  Account: string;
  /** Those that Route 53 gave the zone. */
  NameServers: string[];
}

/** `fault`: a record would be written in vain, or nobody knows where. `warning`: a person should look. */
export interface FoundZone {
  zone?: ZoneOfName;
  fault?: string;
  warning?: string;
}

export interface FindZonesDeps {
  resolver: PublicResolver;
  dnsAccounts: readonly string[];
  openZones: OpenZones;
}

/** A hosted zone as the search sees it. */
interface Candidate {
  account: string;
  id: string;
  isPrivate: boolean;
  route53: Route53Client;
  /** Undefined where the role may not read the zone. */
  nameServers?: string[];
}

/** The hosted zones of a name in all accounts, and why some could not be looked at. */
interface Candidates {
  zones: Candidate[];
  closed: string[];
}

/**
 * Returns a function that finds the hosted zone of a name: it is the one whose servers public DNS asks for it, in whatever
 * account. Each question is asked once, so it is for one call of a function.
 *
 * ACM asks public DNS. So the closest zone there counts, whatever zones the accounts have below or above it. A record below a
 * CNAME is a name of its own, so a CNAME at the name does no harm. DNAME would, but Route 53 has none (Developer Guide,
 * "Supported DNS record types").
 */
export function zoneFinder(deps: FindZonesDeps): (name: string) => Promise<FoundZone> {
  const resolver = remembering(deps.resolver);
  const candidatesOf = once((name) => allNamed(name, deps));
  const verdictOf = once(async (key) => {
    const [apex = '', ...servers] = key.split(' ');
    return zoneAt(apex, servers, await candidatesOf(apex));
  });
  return async (DomainName) => {
    const base = baseOf(DomainName);
    const apex = await apexOf(base, resolver);
    if ('failed' in apex) {
      return {
        fault: `Public DNS does not say which name servers ${apex.at} has (${apex.failed}). Correct them, or its DNSSEC, and ask again.`,
      };
    }
    const { at, servers } = apex;
    // Nobody registers a top-level domain here.
    const isRegistered = at.includes('.');
    const { zone, absent, ...found } = isRegistered ? await verdictOf([at, ...servers].join(' ')) : {};
    if (zone) {
      return { zone: { DomainName, ...zone }, ...found };
    }
    if (found.fault) {
      return found;
    }
    const below = zoneCandidates(base).filter((name) => name.length > at.length);
    const undelegated = await zonesOf(below, candidatesOf);
    if (undelegated) {
      return { fault: undelegatedFault(undelegated, at, isRegistered) };
    }
    return {
      fault: absent ?? `Public DNS knows no zone of ${base}. Register the domain, or correct the name.`,
    };
  };
}

/** The name of the closest zone in public DNS, and its name servers. */
async function apexOf(
  base: string,
  resolver: PublicResolver,
): Promise<{ at: string; servers: string[] } | { at: string; failed: string }> {
  for (const at of zoneCandidates(base)) {
    const answer = await resolver.ns(at);
    if ('none' in answer) {
      continue;
    }
    // Servers are asked through a CNAME, too: what they answer is another name's then, and this one is no zone.
    const alias = await resolver.cname(at);
    if ('found' in alias) {
      continue;
    }
    if ('failed' in answer) {
      return { at, failed: answer.failed };
    }
    if ('failed' in alias) {
      return { at, failed: alias.failed };
    }
    return { at, servers: answer.found.toSorted() };
  }
  return { at: '', servers: [] };
}

async function allNamed(name: string, deps: FindZonesDeps): Promise<Candidates> {
  const zones: Candidate[] = [];
  const closed: string[] = [];
  // One after the other: an account gives Route 53 five requests a second, and a request names few zones.
  for (const account of deps.dnsAccounts) {
    try {
      const route53 = await deps.openZones(account);
      for (const { HostedZoneId: id, isPrivate } of await zonesNamed(route53, name)) {
        const nameServers = isPrivate ? undefined : await readable(() => nameServersOf(route53, id));
        zones.push({ account, id, isPrivate, route53, ...(nameServers ? { nameServers } : {}) });
      }
    } catch (error) {
      if (!isDenial(error) && !isNamed(error, 'TargetAccessDenied')) {
        throw error;
      }
      closed.push(
        isDenial(error)
          ? `Account ${account} does not let the role of dns-account.yaml list hosted zones. AWS says: ${error.message}`
          : (error as Error).message,
      );
    }
  }
  return { zones, closed };
}

async function readable<T>(call: () => Promise<T>): Promise<T | undefined> {
  try {
    return await call();
  } catch (error) {
    // NoSuchHostedZone: it was deleted meanwhile.
    if (isDenial(error) || isNamed(error, 'NoSuchHostedZone')) {
      return undefined;
    }
    throw error;
  }
}

/** Which of the hosted zones of a name public DNS asks. `absent`: there is none, unless one of a name below lacks its delegation. */
async function zoneAt(
  RecordZone: string,
  servers: readonly string[],
  { zones, closed }: Candidates,
): Promise<Omit<FoundZone, 'zone'> & { zone?: Omit<ZoneOfName, 'DomainName'>; absent?: string }> {
  const asked = `Public DNS asks ${servers.join(', ')} for ${RecordZone}`;
  const zoneOf = ({ id, account, nameServers = [] }: Candidate) => ({
    RecordZone,
    HostedZoneId: id,
    Account: account,
    NameServers: nameServers,
  });
  const common = (own: readonly string[]) => own.filter((server) => servers.includes(server)).length;
  const open = zones.flatMap((zone) => (zone.nameServers ? [{ ...zone, own: zone.nameServers }] : []));
  const [best] = open.toSorted((a, b) => common(b.own) - common(a.own));
  if (best && common(best.own) > 0) {
    const others = servers.filter((server) => !best.own.includes(server));
    const warning =
      `${asked}. The hosted zone ${best.id} has other servers than ${others.join(', ')}. If these are not other names of the same ` +
      'servers, create the validation record there, too: ACM may ask any of them.';
    return { zone: zoneOf(best), ...(others.length > 0 ? { warning } : {}) };
  }
  // Servers with names of one's own: the records of the zone name them, and Route 53 does not know of it.
  const listing: typeof open = [];
  for (const zone of open) {
    if (common(await listedAt(zone, RecordZone)) > 0) {
      listing.push(zone);
    }
  }
  const [only, another] = listing;
  if (only && !another) {
    return {
      zone: zoneOf(only),
      warning:
        `${asked}. The NS records of the hosted zone ${only.id} of account ${only.account} name them, and Route 53 gave it ` +
        `${only.own.join(', ')}. If they are not other names of the same servers, ACM does not find the validation record.`,
    };
  }
  const denied = zones.filter(({ isPrivate, nameServers }) => !isPrivate && !nameServers);
  if (only) {
    return {
      fault: `${asked}, and several hosted zones have them in their NS records: ${named(listing)}. Delete those that nobody asks.`,
    };
  }
  if (open.length > 0) {
    return {
      fault:
        `${asked}, and not those of the hosted zone: ${open.map(withServers).join('; ')}. Enter these at the registrar of the ` +
        `domain, or in the NS records of the zone above it. If ${RecordZone} is meant to be with another provider, delete the hosted zone.`,
    };
  }
  if (denied.length > 0) {
    return {
      fault: `The role of dns-account.yaml may not read the hosted zone ${named(denied)} of ${RecordZone}. Add it to HostedZoneArns there.`,
    };
  }
  if (closed.length > 0) {
    return { fault: closed.join(' ') };
  }
  const isPrivate = zones.length > 0;
  return {
    absent:
      `${asked}, and no account of DnsAccounts has a public hosted zone of this name` +
      `${isPrivate ? ` (${named(zones)} is private: ACM asks public DNS)` : ''}. ` +
      'Deploy dns-account.yaml in the account of the zone, name the zone in HostedZoneArns there, and the account in DnsAccounts. ' +
      'Or send RecordsByHand true, and create the validation records yourself.',
  };
}

const named = (zones: readonly Candidate[]) =>
  zones.map(({ id, account }) => `${id} of account ${account}`).join(', ');

const withServers = (zone: Candidate & { own: string[] }) => `${named([zone])} has ${zone.own.join(', ')}`;

/** What the NS records of a zone itself say. */
async function listedAt({ route53, id }: Candidate, name: string): Promise<string[]> {
  const records = await readable(() => recordsAt(route53, id, name));
  return (records ?? []).flatMap(({ Type, Values }) => (Type === 'NS' ? Values : []));
}

/** The first of the names that has a public hosted zone. */
async function zonesOf(names: readonly string[], candidatesOf: (name: string) => Promise<Candidates>) {
  for (const name of names) {
    const { zones } = await candidatesOf(name);
    const [zone] = zones.filter(({ isPrivate }) => !isPrivate);
    if (zone) {
      return { name, zone };
    }
  }
  return undefined;
}

function undelegatedFault(
  { name, zone }: { name: string; zone: Candidate },
  at: string,
  isRegistered: boolean,
): string {
  const servers = zone.nameServers ? ` (${zone.nameServers.join(', ')})` : '';
  return (
    `Public DNS does not delegate ${name} to its hosted zone ${named([zone])}. Enter the name servers of the zone${servers} ` +
    (isRegistered
      ? `in the NS records of ${at}, or at the registrar of the domain.`
      : 'at the registrar of the domain.')
  );
}
