import type { ValidationRecord } from './certificate-request.ts';
import { plainName } from './domain-names.ts';

/** A name, or how names begin, and the domain that a certificate under it may have. */
export interface RequestRule {
  CertName: string;
  Domain: string;
}

/**
 * Reads the parameter RequestRules: `NAME=DOMAIN`, separated by commas. Its pattern has checked the form.
 *
 * NAME is a CertName, or its beginning followed by `*`. DOMAIN is `www.example.com` for exactly that name, `.example.com` for
 * every name below it at any depth (not itself, and no wildcard), `*.example.com` for exactly that wildcard.
 */
export function parseRules(text: string): RequestRule[] {
  return text
    .split(',')
    .filter((rule) => rule !== '')
    .map((rule) => {
      const at = rule.indexOf('=');
      return { CertName: rule.slice(0, at), Domain: rule.slice(at + 1).toLowerCase() };
    });
}

/** Whether a rule is one for a CertName. */
const isFor = ({ CertName: pattern }: RequestRule, certName: string): boolean =>
  pattern.endsWith('*') ? certName.startsWith(pattern.slice(0, -1)) : certName === pattern;

/** Whether a rule covers a domain name. The dot before the domain keeps badexample.com away from .example.com. */
function covers({ Domain }: RequestRule, domainName: string): boolean {
  if (!Domain.startsWith('.')) {
    return domainName === Domain;
  }
  return !domainName.startsWith('*.') && domainName.length > Domain.length && domainName.endsWith(Domain);
}

/**
 * The names that no rule allows.
 *
 * @param domainNames normalised.
 */
export function notAllowed(
  rules: readonly RequestRule[],
  certName: string,
  domainNames: readonly string[],
): string[] {
  const own = rules.filter((rule) => isFor(rule, certName));
  return domainNames.filter((name) => !own.some((rule) => covers(rule, name)));
}

/**
 * Why a record is not written that no rule allows, in words for people; undefined where the rules allow all its names:
 * `*.example.com` and `example.com` share a record.
 */
export function refusalOf(
  rules: readonly RequestRule[],
  certName: string,
  { Name, DomainNames }: Pick<ValidationRecord, 'Name' | 'DomainNames'>,
): string | undefined {
  const names = notAllowed(rules, certName, DomainNames.map(plainName));
  return names.length === 0
    ? undefined
    : `${Name} was not written. No rule allows ${names.join(', ')} under the name ${certName}. The administrator of this ` +
        'stack can allow it: parameter RequestRules. Then acm-export writes the record.';
}
