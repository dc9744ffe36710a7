import { zoneCandidates } from './domain-names.ts';

/** One property of a CAA record (RFC 8659, 4.1). */
export interface CaaProperty {
  /** A CA that does not know the tag must not issue. */
  critical: boolean;
  /** In lower case. */
  tag: string;
  value: string;
}

/** Those of which one must be allowed (ACM User Guide, "Certification Authority Authorization problems"). */
export const ACM_ISSUERS = ['amazon.com', 'amazontrust.com', 'awstrust.com', 'amazonaws.com'];

/** What every CA must understand (Baseline Requirements of the CA/Browser Forum, 3.2.2.8). Whether ACM knows others is not documented. */
const KNOWN_TAGS = ['issue', 'issuewild', 'iodef'];

/** Nothing: ACM may issue. */
export interface CaaVerdict {
  fault?: string;
  warning?: string;
}

/** Where the CAA records are that count for a name. */
export interface CaaPlace {
  /** The certificate's own name, or a parent of it. */
  at: string;
  /** To what a CNAME there leads: the records are those of this name (RFC 8659, 3). */
  target?: string;
}

/** Whether the CAA records that count for a name let ACM issue (RFC 8659, 4.2 and 4.3). */
export function caaVerdict(
  place: CaaPlace,
  properties: readonly CaaProperty[],
  wildcard: boolean,
): CaaVerdict {
  const unknown = properties.find(({ critical, tag }) => critical && !KNOWN_TAGS.includes(tag));
  if (unknown) {
    const what = unknown.tag === '' ? 'with a tag that acm-export cannot read' : `"${unknown.tag}"`;
    const why =
      unknown.tag === ''
        ? 'counts as critical: a CA that does not know it must not issue'
        : 'is critical, and a CA that does not know it must not issue';
    const remedy = unknown.tag === '' ? 'remove it' : 'set its flags to 0, or remove it';
    return { fault: `${where(place, `The CAA record ${what}`)} ${why}. ${remedyAt(place, remedy)}` };
  }
  const tagged = (tag: string) => properties.filter((property) => property.tag === tag);
  const wild = wildcard ? tagged('issuewild') : [];
  const relevant = wild.length > 0 ? wild : tagged('issue');
  if (relevant.length === 0) {
    return {};
  }
  const issuers = relevant.map(({ value }) => issuerOf(value));
  const ours = issuers.filter(({ domain }) => ACM_ISSUERS.includes(domain));
  if (ours.length === 0) {
    const tag = wild.length > 0 ? 'issuewild' : 'issue';
    const others = issuers.flatMap(({ domain }) => domain || []);
    const verdict =
      others.length > 0
        ? `let other CAs issue (${tag}: ${others.join(', ')}), and not ACM`
        : `let no CA issue (${tag})`;
    const remedy = `add a CAA record there: 0 ${tag} "amazon.com"`;
    return { fault: `${where(place, 'The CAA records')} ${verdict}. ${remedyAt(place, remedy)}` };
  }
  if (ours.every(({ parameters }) => parameters !== '')) {
    return {
      warning:
        `${where(place, 'The CAA record')} lets ACM issue under a condition (${ours[0]?.parameters}), and AWS does not document ` +
        `whether ACM meets it. It fails with CAA_ERROR if not. ${remedyAt(place, 'remove the condition then')}`,
    };
  }
  return {};
}

/** Which records they are. At a CNAME nothing else can be (RFC 1034, 3.6.2). */
const where = ({ at, target }: CaaPlace, records: string) =>
  target === undefined
    ? `${records} at ${at}`
    : `${at} is a CNAME for ${target}, whose CAA records count. ${records} of ${target}`;

/** @param remedy what is to be done where the records are. */
function remedyAt({ at, target }: CaaPlace, remedy: string): string {
  if (target === undefined) {
    return `${remedy[0]?.toUpperCase()}${remedy.slice(1)}.`;
  }
  const [, parent = ''] = zoneCandidates(at);
  return `Their owner can ${remedy}. Or replace the CNAME by an address or alias record: then the CAA records of ${parent} count.`;
}

/** The issuer, and what is asked of it: `amazon.com; validationmethods=dns-01`. Nobody: `;`. */
function issuerOf(value: string): { domain: string; parameters: string } {
  const [domain = '', ...parameters] = value.split(';');
  return { domain: domain.trim().toLowerCase(), parameters: parameters.join(';').trim() };
}
