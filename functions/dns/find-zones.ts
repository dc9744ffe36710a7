import type { Route53Client } from '@aws-sdk/client-route-53';
import { baseOf, zoneCandidates } from '../domain/domain-names.ts';
import { isDenial, isNamed } from '../domain/errors.ts';
import { asSentence } from '../domain/notification.ts';
import { type Apex, apexOf, isRegistered, UNREGISTERED } from './apex.ts';
import { once } from './once.ts';
import { type PublicResolver, remembering } from './resolver.ts';
import type { OpenZones } from './session.ts';
import { type Told, textOf, told } from './told.ts';
import { nameServersOf, recordsAt, zonesFrom } from './zones.ts';

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
export interface FoundZone<Fault = string> {
  zone?: ZoneOfName;
  fault?: Fault;
  warning?: string;
}

/** Without accounts no hosted zone is looked for: a person creates the validation records. */
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
  /** AWS's words for that. */
  denial?: string;
}

/** The hosted zones of a name in all accounts, and why some could not be looked at. */
interface Candidates {
  zones: Candidate[];
  /** Zones below the name, as far as the lists had them. Their name servers are not known. */
  below: (Candidate & { name: string })[];
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
  const zoneOf = zoneInAccounts(deps);
  return async (name) => {
    const apex = await apexOf(baseOf(name), resolver);
    const { fault, ...found } = 'fault' in apex ? apex : await zoneOf(name, apex);
    return { ...found, ...(fault ? { fault: textOf(fault) } : {}) };
  };
}

/** Returns a function that finds the hosted zone of a name whose apex in public DNS is known. */
export function zoneInAccounts(
  deps: Pick<FindZonesDeps, 'dnsAccounts' | 'openZones'>,
): (name: string, apex: Apex) => Promise<FoundZone<Told>> {
  const candidatesOf = once((name) => allNamed(name, deps));
  const verdictOf = once(async (key) => {
    const [apex = '', ...servers] = key.split(' ');
    return zoneAt(apex, servers, await candidatesOf(apex));
  });
  const serversOf = once(({ route53, id }: Candidate) => readable(() => nameServersOf(route53, id)));
  return async (DomainName, apex) => {
    const base = baseOf(DomainName);
    const registered = isRegistered(apex);
    const { zone, absent, fault, ...found } = registered
      ? await verdictOf([apex.at, ...apex.servers].join(' '))
      : {};
    if (zone) {
      return { zone: { DomainName, ...zone }, ...found };
    }
    if (fault) {
      return { fault: told(fault) };
    }
    // The list at the apex has the zones below it, too. So this asks for nothing more, whatever number of names is below.
    const [top = ''] = registered ? [apex.at] : zoneCandidates(base).slice(-2);
    const closest = closestOf(base, top, await candidatesOf(top));
    if (closest) {
      const nameServers = closest.nameServers ?? (await serversOf(closest)) ?? [];
      return { fault: told(undelegatedFault(closest, nameServers, registered ? apex.at : undefined)) };
    }
    return { fault: absent ? told(absent) : UNREGISTERED };
  };
}

async function allNamed(
  name: string,
  deps: Pick<FindZonesDeps, 'dnsAccounts' | 'openZones'>,
): Promise<Candidates> {
  const all: Candidates = { zones: [], below: [], closed: [] };
  // One after the other: an account gives Route 53 five requests a second, and a request names few zones.
  for (const account of deps.dnsAccounts) {
    try {
      const route53 = await deps.openZones(account);
      const { same, below } = await zonesFrom(route53, name);
      for (const { HostedZoneId: id, isPrivate } of same) {
        const read = isPrivate ? {} : await serversAt(route53, id);
        all.zones.push({ account, id, isPrivate, route53, ...read });
      }
      all.below.push(
        ...below.map(({ HostedZoneId: id, isPrivate, Name }) => ({
          account,
          id,
          isPrivate,
          route53,
          name: Name,
        })),
      );
    } catch (error) {
      if (!isDenial(error) && !isNamed(error, 'TargetAccessDenied')) {
        throw error;
      }
      all.closed.push(
        isDenial(error)
          ? `Account ${account} does not let the role of dns-account.yaml list hosted zones. Deploy dns-account.yaml there again. AWS says: ${asSentence(error.message)}`
          : asSentence((error as Error).message),
      );
    }
  }
  return all;
}

async function serversAt(
  route53: Route53Client,
  id: string,
): Promise<Pick<Candidate, 'nameServers' | 'denial'>> {
  let denial: string | undefined;
  const nameServers = await readable(
    () => nameServersOf(route53, id),
    (words) => {
      denial = words;
    },
  );
  return { ...(nameServers ? { nameServers } : {}), ...(denial === undefined ? {} : { denial }) };
}

/** @param onDenial gets AWS's words. */
async function readable<T>(
  call: () => Promise<T>,
  onDenial: (words: string) => void = () => {},
): Promise<T | undefined> {
  try {
    return await call();
  } catch (error) {
    if (isDenial(error)) {
      onDenial(error.message);
      return undefined;
    }
    // It was deleted meanwhile.
    if (isNamed(error, 'NoSuchHostedZone')) {
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
    const warning = othersText(best, others, open);
    return { zone: zoneOf(best), ...(others.length > 0 ? { warning: `${asked}. ${warning}` } : {}) };
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
  // The zone that is asked may be one of these. Its servers must not be replaced by those of a zone without its records.
  const unseen = [
    ...(denied.length > 0
      ? [
          `The role of dns-account.yaml may not read the hosted zone ${named(denied)} of ${RecordZone}. Add it to HostedZoneArns there.${saidOf(denied)}`,
        ]
      : []),
    ...closed,
  ].join(' ');
  if (open.length > 0) {
    const said = `${asked}, and not those of the hosted zone: ${open.map(withServers).join('; ')}.`;
    return {
      fault: unseen
        ? `${said} Another zone may be the one that is asked. ${unseen}`
        : `${said} If the zone that is asked is in another account, add that account to DnsAccounts, and deploy dns-account.yaml ` +
          'there. If it is with another provider, send RecordsByHand true, and create the validation records there. If nobody ' +
          `uses the hosted zone ${open.map(({ id }) => id).join(', ')}, delete it. Only if it is the right one and has all ` +
          'records of the domain, enter its servers at the registrar of the domain, or in the NS records of the zone above it.',
    };
  }
  if (unseen) {
    return { fault: `${asked}. ${unseen}` };
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

/** @param others servers that public DNS asks, and that are not those of the best zone. */
function othersText(
  best: Candidate,
  others: readonly string[],
  open: readonly (Candidate & { own: string[] })[],
): string {
  const ours = open.filter(({ id, own }) => id !== best.id && others.some((server) => own.includes(server)));
  const foreign = others.filter((server) => !ours.some(({ own }) => own.includes(server)));
  const all = ours.map((zone) => {
    const its = others.filter((server) => zone.own.includes(server));
    return `${its.join(', ')} are servers of the hosted zone ${named([zone])}. Create the validation record there, too: ACM may ask any of them.`;
  });
  if (foreign.length > 0) {
    all.push(
      `If ${foreign.join(', ')} are not other names of the same servers, create the validation record there, too: ACM may ask ` +
        'any of them.',
    );
  }
  return `The hosted zone ${named([best])} has other servers than ${others.join(', ')}. ${all.join(' ')}`;
}

const saidOf = ([first]: readonly Candidate[]) =>
  first?.denial ? ` AWS says: ${asSentence(first.denial)}` : '';

const named = (zones: readonly Candidate[]) =>
  zones.map(({ id, account }) => `${id} of account ${account}`).join(', ');

const withServers = (zone: Candidate & { own: string[] }) => `${named([zone])} has ${zone.own.join(', ')}`;

/** What the NS records of a zone itself say. */
async function listedAt({ route53, id }: Candidate, name: string): Promise<string[]> {
  const records = await readable(() => recordsAt(route53, id, name));
  return (records ?? []).flatMap(({ Type, Values }) => (Type === 'NS' ? Values : []));
}

/**
 * The closest public hosted zone of a name, to which public DNS does not lead.
 *
 * @param top the apex, or the domain that nobody has registered, of which the candidates are.
 */
function closestOf(base: string, top: string, { zones, below }: Candidates) {
  const all = [...below, ...zones.map((zone) => ({ ...zone, name: top }))];
  const [closest] = zoneCandidates(base).flatMap((name) =>
    all.filter((zone) => zone.name === name && !zone.isPrivate),
  );
  return closest;
}

/** @param at the zone above in public DNS; undefined where nobody has registered the domain. */
function undelegatedFault(
  zone: Candidate & { name: string },
  nameServers: readonly string[],
  at: string | undefined,
): string {
  const servers = nameServers.length > 0 ? ` (${nameServers.join(', ')})` : '';
  return (
    `Public DNS does not delegate ${zone.name} to its hosted zone ${named([zone])}. If nobody uses this zone, delete it. Only if ` +
    `it has all records of ${zone.name}, enter its name servers${servers} ` +
    (at
      ? `in the NS records of ${at}, or at the registrar of the domain.`
      : 'at the registrar of the domain.')
  );
}
