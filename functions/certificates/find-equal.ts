import {
  type ACMClient,
  type CertificateStatus,
  ListTagsForCertificateCommand,
  paginateListCertificates,
} from '@aws-sdk/client-acm';
import type { CertificateRequest, Wish } from '../domain/certificate-request.ts';

/** A certificate in ACM that is as a wish asks for it. */
export interface EqualCertificate {
  CertificateArn: string;
  Status: string;
  CreatedAt: Date;
}

/**
 * The public certificates of the account and Region with the same names and key algorithm that can be exported.
 *
 * @param statuses those of ACM that count; all of them unless given.
 */
async function equalsOf(
  acm: ACMClient,
  { DomainNames, KeyAlgorithm }: Pick<Wish, 'DomainNames' | 'KeyAlgorithm'>,
  statuses?: CertificateStatus[],
): Promise<EqualCertificate[]> {
  const wanted = new Set(DomainNames);
  const found: EqualCertificate[] = [];
  // Without keyTypes the list has certificates of RSA_2048 alone (API reference, ListCertificates, Filters).
  const Includes = { keyTypes: [KeyAlgorithm], exportOption: 'ENABLED' as const };
  const input = { Includes, ...(statuses ? { CertificateStatuses: statuses } : {}) };
  for await (const { CertificateSummaryList = [] } of paginateListCertificates({ client: acm }, input)) {
    for (const summary of CertificateSummaryList) {
      const { CertificateArn, Status, Type, CreatedAt, HasAdditionalSubjectAlternativeNames: more } = summary;
      // A summary has the first 100 names, and no wish has more.
      const names = new Set(summary.SubjectAlternativeNameSummaries ?? [summary.DomainName ?? '']);
      const isEqual = !more && names.size === wanted.size && names.isSubsetOf(wanted);
      if (isEqual && Type === 'AMAZON_ISSUED' && CertificateArn && Status) {
        found.push({ CertificateArn, Status, CreatedAt: CreatedAt ?? new Date(0) });
      }
    }
  }
  return found;
}

/** A certificate that would do as well as a new one: one that is issued rather than one that waits. */
export async function findEqual(
  acm: ACMClient,
  wish: Pick<Wish, 'DomainNames' | 'KeyAlgorithm'>,
): Promise<EqualCertificate | undefined> {
  const equals = await equalsOf(acm, wish, ['ISSUED', 'PENDING_VALIDATION']);
  return equals.find(({ Status }) => Status === 'ISSUED') ?? equals[0];
}

/** ACM's clock and that of a function may differ. */
const CLOCKS_DIFFER_MS = 60_000;

/**
 * The certificate that a request has asked ACM for when the answer was lost: made since, with the tag of its name. In
 * whatever status.
 */
export async function findAsked(
  acm: ACMClient,
  { CertName, Wish, AskingSince }: Pick<CertificateRequest, 'CertName' | 'Wish'> & { AskingSince: string },
): Promise<EqualCertificate | undefined> {
  const since = Date.parse(AskingSince) - CLOCKS_DIFFER_MS;
  const equals = await equalsOf(acm, Wish);
  for (const equal of equals.filter(({ CreatedAt }) => CreatedAt.getTime() >= since)) {
    const { Tags = [] } = await acm.send(
      new ListTagsForCertificateCommand({ CertificateArn: equal.CertificateArn }),
    );
    if (Tags.some(({ Key, Value }) => Key === 'CertName' && Value === CertName)) {
      return equal;
    }
  }
  return undefined;
}
