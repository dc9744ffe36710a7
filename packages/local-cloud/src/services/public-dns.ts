import { createSocket, type Socket } from 'node:dgram';
import type { CaaRecord } from 'node:dns';
import { once } from 'node:events';
import packets from 'dns-packet';
import { NotModelled } from '../iam/not-modelled.ts';
import { isWithin, nameAndParents, plainName } from './domain-names.ts';

/** Types that can be asked for. Of others than these nobody here has asked. */
const TYPES = ['A', 'AAAA', 'CAA', 'CNAME', 'MX', 'NS', 'SOA', 'TXT'] as const;
type RecordType = (typeof TYPES)[number];

/** In the form of node:dns, with tags that it does not name: `{ critical: 0, issue: 'amazon.com' }`. */
type CaaData = { critical: number } & Record<string, string | number>;
/** CAA as an object, of other types the text that `dig +short` shows. */
export type RecordData = string | CaaData;
/** What a name server does in place of an answer. */
export type Trouble = 'SERVFAIL' | 'time-out' | 'NXDOMAIN';

export interface DnsRecord {
  name: string;
  type: RecordType;
  ttl: number;
  data: RecordData;
}

/** What a recursive resolver answers: records, also of the way through CNAMEs, or why there are none. */
export interface DnsAnswer {
  code: 'NOERROR' | 'NXDOMAIN' | 'SERVFAIL' | 'time-out';
  records: DnsRecord[];
}

/** What name servers hold of one zone. */
export interface ServedZone {
  /** Without a dot at the end. */
  name: string;
  nameServers: string[];
  /** What they answer now, by plain name and type. */
  records(): DnsRecord[];
}

const TTL = 300;
/** Resolvers give up on longer chains of CNAMEs. */
const LONGEST_CHAIN = 8;
/** What c-ares, and with it node:dns, takes by UDP (EDNS). */
const DATAGRAM_BYTES = 1232;

/**
 * Public DNS, as a recursive resolver on the internet sees it: what `say` puts there, and the zones that name servers hold
 * where a delegation leads to them. A zone that nobody delegates to those servers is never asked.
 *
 * Sources: RFC 1034 (delegation, CNAME, wildcards), RFC 2308 (NXDOMAIN, and names without records of a type), RFC 8659.
 *
 * Not modelled: caches and lifetimes (every answer is fresh), DNSSEC, TCP, TLDs and registries (a delegation is said, or it
 * is an NS record in the zone above).
 */
export class PublicDns {
  readonly #said = new Map<string, Map<RecordType | 'any', RecordData[] | Trouble>>();
  readonly #zones: ServedZone[] = [];
  readonly #listeners: (() => void)[] = [];
  #socket: Promise<Socket> | undefined;
  /** Every question that came in by UDP: `CAA www.example.com`. */
  readonly questions: string[] = [];

  /**
   * What public DNS answers from now on, whatever a zone says. NS makes a delegation. `any` is for a name whose servers
   * give no answer at all, or which does not exist, and holds for all names below it too.
   */
  say(name: string, type: RecordType | 'any', answer: RecordData[] | Trouble): void {
    const plain = plainName(name);
    const types = this.#said.get(plain) ?? new Map();
    this.#said.set(plain, types.set(type, answer));
    this.changed();
  }

  /** Takes back what was said. */
  unsay(name: string, type?: RecordType | 'any'): void {
    const plain = plainName(name);
    if (type) this.#said.get(plain)?.delete(type);
    else this.#said.delete(plain);
    if (this.#said.get(plain)?.size === 0) this.#said.delete(plain);
    this.changed();
  }

  /** The registrar's delegation of a name: `delegate('example.com', zone.nameServers)`. */
  delegate(name: string, nameServers: string[]): void {
    this.say(name, 'NS', nameServers);
  }

  /** Name servers hold this zone from now on. They are asked as soon as a delegation leads to one of them. */
  serve(zone: ServedZone): void {
    this.#zones.push(zone);
    this.changed();
  }

  withdraw(zone: ServedZone): void {
    this.#zones.splice(this.#zones.indexOf(zone), 1);
    this.changed();
  }

  /** Calls back after each change of what is answered. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** Zones say this when their servers answer something else from now on. */
  changed(): void {
    for (const listener of this.#listeners) listener();
  }

  /** What a resolver answers to one question. */
  query(name: string, type: string): DnsAnswer {
    if (!TYPES.includes(type as RecordType)) throw new NotModelled(`public DNS asked for ${type} of ${name}`);
    const records: DnsRecord[] = [];
    let at = plainName(name);
    for (let step = 0; step < LONGEST_CHAIN; step++) {
      const { code, records: found } = this.#ask(at, type as RecordType);
      records.push(...found);
      const target = found.find((record) => record.type === 'CNAME')?.data;
      if (type === 'CNAME' || typeof target !== 'string') return { code, records };
      at = plainName(target);
    }
    return { code: 'SERVFAIL', records: [] };
  }

  /** The part of node:dns/promises that functions use, for those that run in this process. */
  readonly resolver = {
    resolveCaa: async (name: string): Promise<CaaRecord[]> =>
      this.#resolve('queryCaa', name, 'CAA') as unknown as CaaRecord[],
    resolveCname: async (name: string): Promise<string[]> =>
      this.#resolve('queryCname', name, 'CNAME') as string[],
    resolveNs: async (name: string): Promise<string[]> => this.#resolve('queryNs', name, 'NS') as string[],
  };

  /** Throws what node:dns throws, with its codes. */
  #resolve(syscall: string, hostname: string, type: RecordType): RecordData[] {
    const { code, records } = this.query(hostname, type);
    const found = records.filter((record) => record.type === type).map(({ data }) => data);
    if (code === 'NOERROR' && found.length > 0) return found;
    const codes = {
      NOERROR: 'ENODATA',
      NXDOMAIN: 'ENOTFOUND',
      SERVFAIL: 'ESERVFAIL',
      'time-out': 'ETIMEOUT',
    };
    const error = new Error(`${syscall} ${codes[code]} ${hostname}`);
    throw Object.assign(error, { code: codes[code], syscall, hostname });
  }

  /** One name, without what a CNAME leads to. */
  #ask(name: string, type: RecordType): DnsAnswer {
    const said = this.#saidOf(name, type);
    if (said) return said;
    const zone = this.#zoneOf(name);
    if (zone === 'lame') return { code: 'SERVFAIL', records: [] };
    if (zone) return inZone(zone, name, type);
    const exists = [...this.#said.keys()].some((known) => isWithin(known, name));
    return { code: exists ? 'NOERROR' : 'NXDOMAIN', records: [] };
  }

  #saidOf(name: string, type: RecordType): DnsAnswer | undefined {
    const types = this.#said.get(name);
    const answer = types?.get(type);
    if (typeof answer === 'string') return { code: answer, records: [] };
    // A delegation is no answer: the servers that it leads to are asked for their own NS records.
    if (answer && !(type === 'NS' && this.#served(answer))) return answered(name, type, answer);
    const alias = types?.get('CNAME');
    if (Array.isArray(alias)) return answered(name, 'CNAME', alias);
    for (const above of nameAndParents(name)) {
      const trouble = this.#said.get(above)?.get('any');
      if (typeof trouble === 'string') return { code: trouble, records: [] };
    }
    return undefined;
  }

  /** Whether name servers are those of some zone here. */
  #served(nameServers: RecordData[]): boolean {
    return this.#zones.some((zone) => sharesServer(zone, nameServers));
  }

  /**
   * The zone that answers for a name: down from the top, by one delegation after the other. `lame` where a delegation leads
   * to servers that hold no such zone; nothing where it leads to servers elsewhere, of which only is known what was said.
   */
  #zoneOf(name: string): ServedZone | 'lame' | undefined {
    let current: ServedZone | 'lame' | undefined;
    for (const cut of nameAndParents(name).reverse()) {
      const said = this.#said.get(cut)?.get('NS');
      const above =
        typeof current === 'object' && cut !== current.name
          ? current.records().filter((record) => record.type === 'NS' && record.name === cut)
          : [];
      const nameServers = Array.isArray(said) ? said : above.map(({ data }) => data);
      if (nameServers.length === 0) continue;
      const zone = this.#zones.find((each) => each.name === cut && sharesServer(each, nameServers));
      current = zone ?? (this.#served(nameServers) ? 'lame' : undefined);
    }
    return current;
  }

  /** The address of a resolver of this DNS, `127.0.0.1:<port>`, by UDP. It listens from the first time on. */
  async address(): Promise<string> {
    this.#socket ??= this.#listen();
    return `127.0.0.1:${(await this.#socket).address().port}`;
  }

  async #listen(): Promise<Socket> {
    const socket = createSocket('udp4');
    socket.on('message', (datagram, { address, port }) => {
      const reply = this.#reply(datagram);
      if (reply) socket.send(reply, port, address);
    });
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    // It answers others; nothing waits for it.
    socket.unref();
    return socket;
  }

  #reply(datagram: Buffer): Buffer | undefined {
    let query: packets.Packet;
    try {
      query = packets.decode(datagram);
    } catch {
      return undefined; // Not DNS.
    }
    const [question] = query.questions ?? [];
    if (!question) return undefined;
    this.questions.push(`${question.type} ${question.name}`);
    const { code, records } = TYPES.includes(question.type as RecordType)
      ? this.query(question.name, question.type)
      : { code: 'NOTIMP' as const, records: [] };
    if (code === 'time-out') return undefined;
    const codes = { NOERROR: 0, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4 };
    const answer: packets.Packet = {
      type: 'response',
      id: query.id ?? 0,
      flags: packets.RECURSION_DESIRED | packets.RECURSION_AVAILABLE | codes[code],
      questions: [question],
      answers: records.map(({ name, type, ttl, data }) => ({ name, type, ttl, data: inPacket(type, data) })),
    };
    const reply = packets.encode(answer);
    if (reply.length <= DATAGRAM_BYTES) return reply;
    // The client asks again by TCP, where nobody listens.
    const flags = (answer.flags ?? 0) | packets.TRUNCATED_RESPONSE;
    return packets.encode({ ...answer, flags, answers: [] });
  }

  async stop(): Promise<void> {
    const socket = await this.#socket;
    this.#socket = undefined;
    if (socket) await new Promise<void>((resolve) => socket.close(() => resolve()));
  }
}

const answered = (name: string, type: RecordType, answer: RecordData[]): DnsAnswer => ({
  code: 'NOERROR',
  records: answer.map((data) => ({ name, type, ttl: TTL, data })),
});

const sharesServer = ({ nameServers }: ServedZone, others: RecordData[]): boolean =>
  others.some((other) => typeof other === 'string' && nameServers.includes(plainName(other)));

/** What the servers of a zone answer. */
function inZone(zone: ServedZone, name: string, type: RecordType): DnsAnswer {
  const records = zone.records();
  const exists = records.some((record) => isWithin(record.name, name));
  // A wildcard stands for names that do not exist, and only there (RFC 1034, 4.3.3).
  const [, ...parents] = nameAndParents(name);
  const closest = parents.find((parent) => records.some((record) => isWithin(record.name, parent)));
  const asked = exists ? name : `*.${closest}`;
  const here = records.filter((record) => record.name === asked);
  if (!exists && here.length === 0) return { code: 'NXDOMAIN', records: [] };
  const ofType = here.filter((record) => record.type === type);
  const found = ofType.length > 0 ? ofType : here.filter((record) => record.type === 'CNAME');
  return { code: 'NOERROR', records: found.map((record) => ({ ...record, name })) };
}

/** Data in the form of dns-packet. */
function inPacket(type: RecordType, data: RecordData): unknown {
  if (typeof data === 'string') {
    if (type === 'MX') {
      const [preference, exchange] = data.split(' ');
      return { preference: Number(preference), exchange };
    }
    if (type === 'SOA') {
      const [mname, rname, serial, refresh, retry, expire, minimum] = data.split(' ');
      const numbers = { serial, refresh, retry, expire, minimum };
      return {
        mname,
        rname,
        ...Object.fromEntries(Object.entries(numbers).map(([key, value]) => [key, Number(value)])),
      };
    }
    return type === 'TXT' ? data.replace(/^"(.*)"$/s, '$1') : data.replace(/(.)\.$/, '$1');
  }
  const { critical, ...property } = data;
  const [[tag = '', value = ''] = []] = Object.entries(property);
  return { flags: critical, tag, value: String(value) };
}
