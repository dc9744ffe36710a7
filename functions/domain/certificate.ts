import { normaliseSerial, timestamp } from './deployment.ts';
import { CertificateNotDeployable } from './errors.ts';
import { PATTERNS, whole } from './patterns.ts';

const CERTIFICATE_ARN = whole(PATTERNS.CertificateArn);

export const isCertificateArn = (text: string) => CERTIFICATE_ARN.test(text);

/** Account and Region of a stack. */
export interface Place {
  account: string;
  region: string;
}

/** Whether an ARN is one of a certificate of this account and Region. ACM shares none with others. */
export function isCertificateOf(arn: string, { account, region }: Place): boolean {
  const [, , , ofRegion, ofAccount] = arn.split(':');
  return isCertificateArn(arn) && ofRegion === region && ofAccount === account;
}

/** The fields of ACM's description of a certificate that count here. */
export interface CertificateDescription {
  Serial?: string | undefined;
  Status?: string | undefined;
  Type?: string | undefined;
  CertificateKeyPairOrigin?: string | undefined;
  NotBefore?: Date | undefined;
  NotAfter?: Date | undefined;
  Options?: { Export?: string | undefined } | undefined;
  RenewalEligibility?: string | undefined;
  RenewalSummary?:
    | { RenewalStatus?: string | undefined; RenewalStatusReason?: string | undefined }
    | undefined;
}

/** What the system needs to know of an ACM certificate. */
export interface Certificate
  extends Pick<CertificateDescription, 'Type' | 'RenewalEligibility' | 'RenewalSummary'> {
  CertificateArn: string;
  Serial: string;
  NotBefore: string;
  NotAfter: string;
}

/**
 * The certificate that ACM describes.
 *
 * @throws CertificateNotDeployable, saying why, for one that can never be exported or cannot yet.
 */
export function certificateFrom(arn: string, description: CertificateDescription): Certificate {
  const obstacle = obstacleTo(description);
  if (obstacle) {
    throw new CertificateNotDeployable(obstacle);
  }
  const { Serial = '', NotBefore = new Date(0), NotAfter = new Date(0) } = description;
  const { Type, RenewalEligibility, RenewalSummary } = description;
  return {
    CertificateArn: arn,
    Serial: normaliseSerial(Serial),
    NotBefore: timestamp(NotBefore),
    NotAfter: timestamp(NotAfter),
    Type,
    RenewalEligibility,
    RenewalSummary,
  };
}

/**
 * Why a certificate cannot be delivered. Order matters: what can never be exported comes before what is not issued yet.
 * Options.Export is an opt-in of public certificates only; private ones can always be exported, imported ones
 * never; with ACME the client holds the key (ACM user guide, "Exportable certificates" and "ACME").
 */
function obstacleTo(description: CertificateDescription): string | undefined {
  if (description.CertificateKeyPairOrigin === 'ACME') {
    return 'The certificate was issued over ACME: its key never was in ACM and cannot be exported.';
  }
  if (description.Type === 'IMPORTED') {
    return 'The certificate was imported: ACM does not export imported certificates.';
  }
  if (description.Type !== 'PRIVATE' && description.Options?.Export !== 'ENABLED') {
    return 'The certificate is not exportable: export is chosen when a public certificate is requested and cannot be changed. Request a new one with Options Export=ENABLED.';
  }
  if (description.Status !== 'ISSUED') {
    return `The certificate is not issued: its status is ${description.Status ?? 'unknown'}.`;
  }
  return undefined;
}

/** Ends the tag's value when it is a prefix: ACM tag values may not hold `*`, and CertNames may not hold `+`. */
const PREFIX_MARK = '+';

/**
 * Whether the certificate's owner allows a name: the certificate's tag CertName is the name itself, or a prefix
 * of it followed by `+`. Without the tag no name is allowed.
 */
export function allowsName(tag: string | undefined, certName: string): boolean {
  return tag?.endsWith(PREFIX_MARK) ? certName.startsWith(tag.slice(0, -1)) : certName === tag;
}
