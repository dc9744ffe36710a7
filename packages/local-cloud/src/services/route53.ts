import { NotModelled } from '../iam/not-modelled.ts';
import { isWithin, plainName, reversedName, savedName } from './domain-names.ts';
import type { DnsRecord, PublicDns, RecordData, ServedZone } from './public-dns.ts';
import { type Caller, type Kernel, type Operations, randomText, ServiceError } from './service.ts';

/** "Changes generally propagate to all Route 53 name servers … within 60 seconds" (API reference). */
const PROPAGATION_MS = 60_000;
/** Developer guide, "Quotas": ResourceRecord elements of one request (UPSERT counts twice), and their characters. */
const RECORDS_OF_REQUEST = 1000;
const CHARACTERS_OF_REQUEST = 32_000;
/** "10,000 records in a hosted zone", the default quota. */
const RECORDS_OF_ZONE = 10_000;
const LISTED_ZONES = 100;
const LISTED_RECORDS = 300;
const IDS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ';
const NAME_SERVER_DOMAINS = ['com', 'net', 'org', 'co.uk'];

/** Members of a record set that are kept and shown as they came: an alias, and policies by which Route 53 chooses a set. */
const KEPT = ['AliasTarget', 'GeoLocation', 'Region', 'SetIdentifier', 'Weight'] as const;

export interface RecordSet {
  /** As Route 53 saves it: `_a79865eb.example.com.` */
  name: string;
  type: string;
  /** Undefined for an alias. */
  ttl: number | undefined;
  values: string[];
  /** Undefined for a set of simple routing. */
  setIdentifier?: string;
  kept?: Partial<Record<(typeof KEPT)[number], unknown>>;
}

export interface HostedZone {
  id: string;
  arn: string;
  account: string;
  /** As Route 53 saves it, with the dot at the end. */
  name: string;
  isPrivate: boolean;
  /** Without a dot at the end; those of a private zone answer nobody on the internet. */
  nameServers: string[];
  callerReference: string;
  records: Map<string, RecordSet>;
}

interface Change {
  id: string;
  account: string;
  comment?: string;
  submittedAt: Date;
  isInSync: boolean;
}

const keyOf = ({ name, type, setIdentifier }: Pick<RecordSet, 'name' | 'type' | 'setIdentifier'>) =>
  `${reversedName(name)} ${type}${setIdentifier === undefined ? '' : ` ${setIdentifier}`}`;

/**
 * Amazon Route 53: hosted zones. Source of each rule, where none is named: API reference and developer guide. A public zone
 * feeds public DNS, where a delegation leads to its servers.
 *
 * UNCONFIRMED: the words of refusals; that a zone of another account is AccessDenied (terraform-provider-aws#12570 shows the
 * answer) and not NoSuchHostedZone; that the name servers have nothing of a change until it is INSYNC.
 *
 * Aliases, and sets that Route 53 chooses among, are kept and shown. Public DNS answers nothing for an alias, and always with
 * the first set of a name and type.
 *
 * Not modelled: what an alias leads to, which set is chosen, health checks, VPCs, tags, protected record sets, DNSSEC,
 * PriorRequestNotComplete (a test can inject it).
 */
export class Route53 {
  readonly operations: Operations = {
    'route53.ListHostedZonesByName': (input, caller) => this.#listHostedZonesByName(input, caller),
    'route53.GetHostedZone': ({ Id }, caller) => this.#getHostedZone(this.#zone(Id, caller)),
    'route53.ListResourceRecordSets': (input, caller) =>
      this.#listResourceRecordSets(input, this.#zone(input.HostedZoneId, caller)),
    'route53.ChangeResourceRecordSets': (input, caller) =>
      this.#changeResourceRecordSets(input, this.#zone(input.HostedZoneId, caller)),
    'route53.GetChange': ({ Id }, caller) => ({ ChangeInfo: shown(this.#change(Id, caller)) }),
  };
  readonly #kernel: Kernel;
  readonly #publicDns: PublicDns;
  readonly #zones = new Map<string, HostedZone>();
  readonly #served = new Map<string, ServedZone>();
  /** What the name servers answer, by zone. */
  readonly #published = new Map<string, DnsRecord[]>();
  readonly #changes = new Map<string, Change>();

  constructor(kernel: Kernel, publicDns: PublicDns) {
    this.#kernel = kernel;
    this.#publicDns = publicDns;
  }

  /** A new zone. Public DNS asks it as soon as a delegation leads to its servers: `publicDns.delegate(name, nameServers)`. */
  createZone(
    account: string,
    name: string,
    options: { private?: boolean; nameServers?: string[]; id?: string } = {},
  ): HostedZone {
    const number = this.#zones.size;
    const id = options.id ?? `Z${randomText(20, IDS)}`;
    const zone: HostedZone = {
      id,
      arn: `arn:${this.#kernel.partition}:route53:::hostedzone/${id}`,
      account,
      name: savedName(name),
      isPrivate: options.private ?? false,
      nameServers: (
        options.nameServers ??
        NAME_SERVER_DOMAINS.map((domain, index) => `ns-${512 * index + number}.awsdns-${number}.${domain}`)
      ).map(plainName),
      callerReference: `created ${number}`,
      records: new Map(),
    };
    const servers = zone.nameServers.map((server) => `${server}.`);
    const soa = `${servers[0]} awsdns-hostmaster.amazon.com. 1 7200 900 1209600 86400`;
    for (const record of [
      { name: zone.name, type: 'NS', ttl: 172_800, values: servers },
      { name: zone.name, type: 'SOA', ttl: 900, values: [soa] },
    ]) {
      zone.records.set(keyOf(record), record);
    }
    this.#zones.set(id, zone);
    if (!zone.isPrivate) {
      this.#published.set(id, publishedOf(zone.records));
      const served = {
        name: plainName(zone.name),
        nameServers: zone.nameServers,
        records: () => this.#published.get(id) ?? [],
      };
      this.#served.set(id, served);
      this.#publicDns.serve(served);
    }
    return zone;
  }

  /** The zone is gone, and its servers do not answer for it any more. */
  deleteZone(id: string): void {
    this.#zones.delete(id);
    const served = this.#served.get(id);
    if (served) this.#publicDns.withdraw(served);
  }

  /** The zone with this id, in whatever account. */
  zone(id: string): HostedZone {
    const zone = this.#zones.get(id);
    if (!zone) throw new Error(`no hosted zone ${id}`);
    return zone;
  }

  #zone(id: string, { account, principal }: Caller): HostedZone {
    const zone = this.#zones.get(id);
    if (!zone) throw new ServiceError('NoSuchHostedZone', `No hosted zone found with ID: ${id}`, 404);
    if (zone.account !== account) throw foreign(principal);
    return zone;
  }

  #change(id: string, { account, principal }: Caller): Change {
    const change = this.#changes.get(id);
    if (!change)
      throw new ServiceError('NoSuchChange', `Could not find resource with ID: /change/${id}`, 404);
    if (change.account !== account) throw foreign(principal);
    return change;
  }

  // biome-ignore lint/suspicious/noExplicitAny: input as it came over the wire
  #listHostedZonesByName({ DNSName, HostedZoneId, MaxItems }: any, { account }: Caller) {
    if (HostedZoneId !== undefined && DNSName === undefined)
      throw invalid('dnsname must be specified if hostedzoneid is specified');
    const size = sizeOf(MaxItems, LISTED_ZONES);
    const place = ({ name, id }: { name: string; id: string }) => `${reversedName(name)} ${id}`;
    const from = DNSName === undefined ? '' : place({ name: savedName(DNSName), id: HostedZoneId ?? '' });
    const zones = [...this.#zones.values()]
      .filter((zone) => zone.account === account && place(zone) >= from)
      .sort((a, b) => (place(a) < place(b) ? -1 : 1));
    const next = zones[size];
    return {
      HostedZones: zones.slice(0, size).map(shownZone),
      ...(DNSName === undefined ? {} : { DNSName }),
      ...(HostedZoneId === undefined ? {} : { HostedZoneId }),
      IsTruncated: next !== undefined,
      ...(next ? { NextDNSName: next.name, NextHostedZoneId: next.id } : {}),
      MaxItems: String(size),
    };
  }

  #getHostedZone(zone: HostedZone) {
    return {
      HostedZone: shownZone(zone),
      ...(zone.isPrivate
        ? { VPCs: [{ VPCRegion: 'us-east-1', VPCId: 'vpc-0123456789abcdef0' }] }
        : { DelegationSet: { NameServers: zone.nameServers } }),
    };
  }

  // biome-ignore lint/suspicious/noExplicitAny: input as it came over the wire
  #listResourceRecordSets(input: any, zone: HostedZone) {
    const { StartRecordName: name, StartRecordType: type, StartRecordIdentifier, MaxItems } = input;
    if (StartRecordIdentifier !== undefined) throw new NotModelled('StartRecordIdentifier');
    if (type !== undefined && name === undefined)
      throw invalid('The input is not valid: a type is specified without a name');
    const size = sizeOf(MaxItems, LISTED_RECORDS);
    const from = name === undefined ? '' : `${reversedName(savedName(name))} ${type ?? ''}`;
    const sets = [...zone.records]
      .filter(([key]) => key >= from)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, set]) => set);
    const next = sets[size];
    return {
      ResourceRecordSets: sets.slice(0, size).map((set) => ({
        Name: set.name,
        Type: set.type,
        ...(set.ttl === undefined
          ? {}
          : { TTL: set.ttl, ResourceRecords: set.values.map((Value) => ({ Value })) }),
        ...set.kept,
      })),
      IsTruncated: next !== undefined,
      ...(next ? { NextRecordName: next.name, NextRecordType: next.type } : {}),
      MaxItems: String(size),
    };
  }

  /** "Route 53 validates the changes in the request and then either makes all or none of the changes." */
  // biome-ignore lint/suspicious/noExplicitAny: input as it came over the wire
  #changeResourceRecordSets({ ChangeBatch: { Changes, Comment } }: any, zone: HostedZone) {
    const changes: RequestedChange[] = Changes.map(requestedChange);
    refuseTooLong(changes);
    const after = new Map(zone.records);
    const faults = [...faultsOfNames(changes, zone), ...apply(changes, after)];
    if (faults.length === 0) faults.push(...conflicts(changes, after, zone));
    if (faults.length === 0 && after.size > RECORDS_OF_ZONE)
      faults.push(`Number of records limit of ${RECORDS_OF_ZONE} exceeded.`);
    if (faults.length > 0) throw new ServiceError('InvalidChangeBatch', `[${faults.join(', ')}]`);
    zone.records = after;
    const change: Change = {
      id: `C${randomText(20, IDS)}`,
      account: zone.account,
      ...(Comment === undefined ? {} : { comment: Comment }),
      submittedAt: this.#kernel.clock.now(),
      isInSync: false,
    };
    this.#changes.set(change.id, change);
    void this.#propagate(change, zone, after);
    return { ChangeInfo: shown(change) };
  }

  /** Not tracked: nothing waits for servers on the internet but who asks GetChange. */
  async #propagate(change: Change, zone: HostedZone, records: Map<string, RecordSet>): Promise<void> {
    await this.#kernel.clock.sleep(PROPAGATION_MS);
    change.isInSync = true;
    if (zone.isPrivate) return;
    this.#published.set(zone.id, publishedOf(records));
    this.#publicDns.changed();
  }
}

interface RequestedChange {
  action: 'CREATE' | 'DELETE' | 'UPSERT';
  set: RecordSet;
}

// biome-ignore lint/suspicious/noExplicitAny: input as it came over the wire
function requestedChange({ Action: action, ResourceRecordSet: asked }: any): RequestedChange {
  const { Name, Type: type, TTL, ResourceRecords: records, ...others } = asked;
  const [unknown] = Object.keys(others).filter((member) => !(KEPT as readonly string[]).includes(member));
  if (unknown) throw new NotModelled(`record sets with ${unknown}`);
  const setIdentifier: string | undefined = others.SetIdentifier;
  const kept = {
    name: savedName(Name),
    type,
    ...(setIdentifier === undefined ? {} : { setIdentifier }),
    ...(Object.keys(others).length > 0 ? { kept: keptOf(others) } : {}),
  };
  if (others.AliasTarget && TTL === undefined && records === undefined) {
    return { action, set: { ...kept, ttl: undefined, values: [] } };
  }
  if (others.AliasTarget || TTL === undefined || records === undefined) {
    throw invalid(
      `Invalid request: Expected exactly one of [AliasTarget, all of [TTL, and ResourceRecords], or TrafficPolicyInstanceId], but found ${others.AliasTarget ? 'more than one' : 'none'} in Change with [Action=${action}, Name=${Name}, Type=${type}, SetIdentifier=${setIdentifier ?? 'null'}]`,
    );
  }
  const values = records.map(({ Value }: { Value: string }) => Value);
  return { action, set: { ...kept, ttl: Number(TTL), values } };
}

/** XML has numbers and truths as texts. */
// biome-ignore lint/suspicious/noExplicitAny: input as it came over the wire
function keptOf({ Weight, AliasTarget, ...others }: any): NonNullable<RecordSet['kept']> {
  const isEvaluated = String(AliasTarget?.EvaluateTargetHealth) === 'true';
  return {
    ...others,
    ...(Weight === undefined ? {} : { Weight: Number(Weight) }),
    ...(AliasTarget ? { AliasTarget: { ...AliasTarget, EvaluateTargetHealth: isEvaluated } } : {}),
  };
}

function refuseTooLong(changes: RequestedChange[]): void {
  const weight = ({ action }: RequestedChange) => (action === 'UPSERT' ? 2 : 1);
  const total = (size: (set: RecordSet) => number) =>
    changes.reduce((sum, change) => sum + weight(change) * size(change.set), 0);
  const characters = total(({ values }) => values.join('').length);
  if (total(({ values }) => values.length) <= RECORDS_OF_REQUEST && characters <= CHARACTERS_OF_REQUEST)
    return;
  throw new ServiceError(
    'InvalidChangeBatch',
    `[Number of records limit of ${RECORDS_OF_REQUEST} or of ${CHARACTERS_OF_REQUEST} characters exceeded.]`,
  );
}

function faultsOfNames(changes: RequestedChange[], zone: HostedZone): string[] {
  return changes
    .filter(({ set }) => !isWithin(set.name.slice(0, -1), zone.name.slice(0, -1)))
    .map(({ set }) => `RRSet with DNS name ${set.name} is not permitted in zone ${zone.name}`);
}

/** Makes the changes in a copy of the records, one after the other. Returns what is wrong with them. */
function apply(changes: RequestedChange[], records: Map<string, RecordSet>): string[] {
  const faults: string[] = [];
  const seen = new Set<string>();
  for (const { action, set } of changes) {
    const key = keyOf(set);
    const known = records.get(key);
    const named = `[name='${set.name}', type='${set.type}']`;
    // A DELETE may make room for a CREATE of the same set; anything else of the same set twice is refused.
    const twice = `${key} ${action === 'DELETE' ? 'DELETE' : 'made'}`;
    if (seen.has(twice))
      faults.push(
        `The request contains an invalid set of changes for a resource record set '${set.type} ${set.name}'`,
      );
    seen.add(twice);
    if (action === 'CREATE' && known) {
      faults.push(`Tried to create resource record set ${named} but it already exists`);
    } else if (action === 'DELETE' && !known) {
      faults.push(`Tried to delete resource record set ${named} but it was not found`);
    } else if (action === 'DELETE' && known && !isSame(known, set)) {
      faults.push(
        `Tried to delete resource record set ${named} but the values provided do not match the current values`,
      );
    } else if (action === 'DELETE') {
      records.delete(key);
    } else {
      records.set(key, set);
    }
  }
  return faults;
}

/** What may not be in a zone, of what the changes would leave there. */
function conflicts(changes: RequestedChange[], after: Map<string, RecordSet>, zone: HostedZone): string[] {
  const faults: string[] = [];
  for (const { set } of changes.filter(({ action }) => action !== 'DELETE')) {
    const others = [...after.values()].filter(({ name, type }) => name === set.name && type !== set.type);
    const what = `RRSet of type ${set.type} with DNS name ${set.name}`;
    if (set.type === 'CNAME' && set.name === zone.name) {
      faults.push(`${what} is not permitted at apex in zone ${zone.name}`);
    } else if (others.some(({ type }) => type === 'CNAME' || set.type === 'CNAME')) {
      faults.push(
        `${what} is not permitted as it conflicts with other records with the same DNS name in zone ${zone.name}`,
      );
    }
    const same = [...after.values()].filter(({ name, type }) => name === set.name && type === set.type);
    // "You can't create a … record set that has the same name and type" as one of another routing policy.
    if (same.some(({ setIdentifier }) => (setIdentifier === undefined) !== (set.setIdentifier === undefined)))
      faults.push(
        `${what}, SetIdentifier ${set.setIdentifier ?? 'null'} cannot be created as a set of another routing policy exists with the same name and type.`,
      );
    if (set.type === 'CNAME' && set.ttl !== undefined && set.values.length !== 1)
      faults.push(`${what} has ${set.values.length} values, and a CNAME has one`);
    if (set.values.some((value) => !isValue(set.type, value)))
      faults.push(`Invalid Resource Record: a value of ${what} is not one of its type`);
  }
  // "You can't delete" what a zone was created with.
  for (const type of ['NS', 'SOA']) {
    if (!after.has(keyOf({ name: zone.name, type })))
      faults.push(`A HostedZone must contain at least one ${type} record for the zone itself.`);
  }
  return faults;
}

/** Only of the types that functions write or read here; the others are taken as they are. */
function isValue(type: string, value: string): boolean {
  if (['CNAME', 'NS'].includes(type)) return /^[^\s.]+(\.[^\s.]+)*\.?$/.test(value);
  if (type === 'CAA') return /^\d{1,3} [A-Za-z0-9]+ "[^"]*"$/.test(value);
  if (type === 'TXT') return /^"/.test(value);
  return true;
}

const isSame = (known: RecordSet, set: RecordSet) =>
  known.ttl === set.ttl &&
  known.values.length === set.values.length &&
  known.values.every((value) => set.values.includes(value));

function publishedOf(records: ReadonlyMap<string, RecordSet>): DnsRecord[] {
  const first = new Map<string, RecordSet>();
  for (const set of records.values()) {
    const key = keyOf({ name: set.name, type: set.type });
    if (!first.has(key)) first.set(key, set);
  }
  return [...first.values()].flatMap(published);
}

/** A record set as resolvers see it. */
function published({ name, type, ttl = 0, values }: RecordSet): DnsRecord[] {
  return values.map((value) => ({
    name: plainName(name),
    type: type as DnsRecord['type'],
    ttl,
    data: dataOf(type, value),
  }));
}

function dataOf(type: string, value: string): RecordData {
  const [, critical, tag = '', text = ''] = /^(\d+) (\w+) "([^"]*)"$/.exec(value) ?? [];
  return type === 'CAA' ? { critical: Number(critical), [tag]: text } : value.replace(/(.)\.$/, '$1');
}

function shownZone({ id, name, isPrivate, callerReference, records }: HostedZone) {
  return {
    Id: `/hostedzone/${id}`,
    Name: name,
    CallerReference: callerReference,
    Config: { PrivateZone: isPrivate },
    ResourceRecordSetCount: records.size,
  };
}

const shown = ({ id, isInSync, submittedAt, comment }: Change) => ({
  Id: `/change/${id}`,
  Status: isInSync ? 'INSYNC' : 'PENDING',
  SubmittedAt: submittedAt,
  ...(comment === undefined ? {} : { Comment: comment }),
});

/** MaxItems is a text. More than the most is the most. */
function sizeOf(maxItems: string | undefined, most: number): number {
  if (maxItems === undefined) return most;
  if (!/^[1-9]\d{0,8}$/.test(maxItems)) throw invalid(`The value ${maxItems} is not valid for maxitems`);
  return Math.min(Number(maxItems), most);
}

const invalid = (message: string) => new ServiceError('InvalidInput', message);

const foreign = ({ sessionArn, arn }: Caller['principal']) =>
  new ServiceError(
    'AccessDenied',
    `User: ${sessionArn ?? arn} is not authorized to access this resource`,
    403,
  );
