import {
  type ACMClient,
  type CertificateStatus,
  DescribeCertificateCommand,
  ListTagsForCertificateCommand,
  paginateListCertificates,
} from '@aws-sdk/client-acm';
import type { CertificateRequest, Wish } from '../domain/certificate-request.ts';
import { isNamed } from '../domain/errors.ts';

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
      if (!CertificateArn || !wanted.has(summary.DomainName ?? '')) {
        continue;
      }
      // A summary has the first 100 names, and no wish has more. No field of it is required.
      const names = new Set(summary.SubjectAlternativeNameSummaries ?? (await namesOf(acm, CertificateArn)));
      const isEqual = !more && names.size === wanted.size && names.isSubsetOf(wanted);
      if (isEqual && Type === 'AMAZON_ISSUED' && Status) {
        found.push({ CertificateArn, Status, CreatedAt: CreatedAt ?? new Date(0) });
      }
    }
  }
  return found;
}

/** None of a certificate that was deleted meanwhile. */
async function namesOf(acm: ACMClient, CertificateArn: string): Promise<string[]> {
  try {
    const { Certificate } = await acm.send(new DescribeCertificateCommand({ CertificateArn }));
    return Certificate?.SubjectAlternativeNames ?? [];
  } catch (error) {
    if (isNamed(error, 'ResourceNotFoundException')) {
      return [];
    }
    throw error;
  }
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

/** Statuses of a certificate that would do as well as a new one. */
const DOES_AS_WELL = new Set(['ISSUED', 'PENDING_VALIDATION']);

/** What ACM has before it is asked. */
export interface BeforeAsking {
  /** Made for this request: an answer was lost. */
  own?: EqualCertificate;
  /** Would do as well, and was made for another request, or by a person. */
  other?: EqualCertificate;
}

/**
 * The certificates that are as a request asks for them, right before ACM is asked: one with the tag of its name that was
 * made since is its own.
 *
 * @param isLate ACM may have forgotten the token by which it knows a repeated call: then one in whatever status is its own.
 */
export async function findBeforeAsking(
  acm: ACMClient,
  { CertName, Wish, AskingSince }: Pick<CertificateRequest, 'CertName' | 'Wish'> & { AskingSince: string },
  { isLate }: { isLate: boolean },
): Promise<BeforeAsking> {
  const since = Date.parse(AskingSince) - CLOCKS_DIFFER_MS;
  const equals = await equalsOf(acm, Wish);
  for (const equal of equals) {
    const mayBeOwn = equal.CreatedAt.getTime() >= since && (isLate || DOES_AS_WELL.has(equal.Status));
    if (mayBeOwn && (await isTagged(acm, equal.CertificateArn, CertName))) {
      return { own: equal };
    }
  }
  const other = equals.find(({ Status }) => DOES_AS_WELL.has(Status));
  return other ? { other } : {};
}

async function isTagged(acm: ACMClient, CertificateArn: string, certName: string): Promise<boolean> {
  const { Tags = [] } = await acm.send(new ListTagsForCertificateCommand({ CertificateArn }));
  return Tags.some(({ Key, Value }) => Key === 'CertName' && Value === certName);
}
