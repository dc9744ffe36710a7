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

/**
 * Whether the CAA records that count for a name let ACM issue (RFC 8659, 4.2 and 4.3).
 *
 * @param at the name that has the records: the certificate's own, or a parent of it.
 */
export function caaVerdict(at: string, properties: readonly CaaProperty[], wildcard: boolean): CaaVerdict {
  const unknown = properties.find(({ critical, tag }) => critical && !KNOWN_TAGS.includes(tag));
  if (unknown) {
    return {
      fault:
        `The CAA record "${unknown.tag}" at ${at} is critical, and a CA that does not know it must not issue. Set its flags ` +
        `to 0, or remove it.`,
    };
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
    const named = issuers.map(({ domain }) => domain || 'nobody').join(', ');
    return {
      fault:
        `The CAA records at ${at} let other CAs issue (${tag}: ${named}), and not ACM. Add a CAA record there: ` +
        `0 ${tag} "amazon.com".`,
    };
  }
  if (ours.every(({ parameters }) => parameters !== '')) {
    return {
      warning:
        `The CAA record at ${at} lets ACM issue under a condition (${ours[0]?.parameters}), and AWS does not document whether ` +
        'ACM meets it. If ACM refuses with CAA_ERROR, remove the condition.',
    };
  }
  return {};
}

/** The issuer, and what is asked of it: `amazon.com; validationmethods=dns-01`. Nobody: `;`. */
function issuerOf(value: string): { domain: string; parameters: string } {
  const [domain = '', ...parameters] = value.split(';');
  return { domain: domain.trim().toLowerCase(), parameters: parameters.join(';').trim() };
}
