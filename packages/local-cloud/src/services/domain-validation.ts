import { createHash } from 'node:crypto';
import { nameAndParents } from './domain-names.ts';
import type { PublicDns } from './public-dns.ts';

/** ACM user guide, "Configure a CAA record": the CAs of which one must be named. */
const ACM_CAS = ['amazon.com', 'amazontrust.com', 'awstrust.com', 'amazonaws.com'];

/** The record by which an account shows that a name is its own. `*.example.com` and `example.com` share one. */
export function validationRecord(
  account: string,
  name: string,
): { Name: string; Type: 'CNAME'; Value: string } {
  const domain = name.replace(/^\*\./, '').toLowerCase();
  const hash = (what: string) => createHash('sha256').update(`${what} ${account} ${domain}`).digest('hex');
  const letters = hash('zone').replaceAll(/\d/g, (digit) => 'ghijklmnop'.charAt(Number(digit)));
  return {
    Name: `_${hash('name').slice(0, 32)}.${domain}.`,
    Type: 'CNAME',
    Value: `_${hash('value').slice(0, 32)}.${letters.slice(0, 10)}.acm-validations.aws.`,
  };
}

/** Whether public DNS answers the record. */
export function isAnswered(publicDns: PublicDns, { Name, Value }: { Name: string; Value: string }): boolean {
  const { records } = publicDns.query(Name, 'CNAME');
  const value = Value.replace(/\.$/, '');
  return records.some(({ data }) => typeof data === 'string' && data.replace(/\.$/, '') === value);
}

/**
 * Whether CAA records let ACM issue for a name (RFC 8659): those of the name, or of the closest name above that has any.
 *
 * UNCONFIRMED: that ACM takes a failed look-up as a refusal. RFC 8659 lets a CA decide.
 */
export function caaAllows(publicDns: PublicDns, name: string): boolean {
  const isWildcard = name.startsWith('*.');
  for (const above of nameAndParents(name.replace(/^\*\./, ''))) {
    const { code, records } = publicDns.query(above, 'CAA');
    if (code === 'SERVFAIL' || code === 'time-out') return false;
    const caa = records.flatMap(({ data }) => (typeof data === 'object' ? [data] : []));
    if (caa.length === 0) continue;
    const known = ['issue', 'issuewild', 'iodef', 'contactemail', 'contactphone', 'issuemail', 'issuevmc'];
    const tagsOf = ({ critical: _, ...property }: (typeof caa)[number]) => Object.keys(property);
    // "Certification Authorities MUST NOT issue" where they do not know a critical property.
    if (
      caa.some((one) => one.critical >= 128 && tagsOf(one).some((tag) => !known.includes(tag.toLowerCase())))
    )
      return false;
    const values = (tag: string) =>
      caa.flatMap((one) =>
        Object.entries(one).flatMap(([key, value]) => (key.toLowerCase() === tag ? [String(value)] : [])),
      );
    const wild = values('issuewild');
    const relevant = isWildcard && wild.length > 0 ? wild : values('issue');
    const issuers = relevant.map((value) => (value.split(';')[0] ?? '').trim().toLowerCase());
    return relevant.length === 0 || issuers.some((issuer) => ACM_CAS.includes(issuer));
  }
  return true;
}
