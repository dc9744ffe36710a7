import {
  type ACMClient,
  type CertificateDetail,
  DescribeCertificateCommand,
  ListTagsForCertificateCommand,
} from '@aws-sdk/client-acm';
import { PATTERNS, whole } from '../domain/patterns.ts';
import { normaliseSerial, timestamp } from './deployment.ts';
import { isNamed } from './errors.ts';

const CERTIFICATE_ARN = whole(PATTERNS.CertificateArn);

export const isCertificateArn = (text: string) => CERTIFICATE_ARN.test(text);

/** What the system needs to know of an ACM certificate. */
export interface Certificate {
  CertificateArn: string;
  Serial: string;
  NotBefore: string;
  NotAfter: string;
  detail: CertificateDetail;
}

/** Why a certificate cannot be delivered. */
export class NotDeployable extends Error {
  override name = 'NotDeployable';
}

/**
 * Describes a certificate; undefined when ACM does not know it.
 *
 * @throws NotDeployable, saying why, for one that can never be exported or cannot yet.
 */
export async function describeDeployable(acm: ACMClient, arn: string): Promise<Certificate | undefined> {
  const detail = await describe(acm, arn);
  if (!detail) {
    return undefined;
  }
  const obstacle = obstacleOf(detail);
  if (obstacle) {
    throw new NotDeployable(obstacle);
  }
  return {
    CertificateArn: arn,
    Serial: normaliseSerial(detail.Serial ?? ''),
    NotBefore: timestamp(detail.NotBefore ?? new Date(0)),
    NotAfter: timestamp(detail.NotAfter ?? new Date(0)),
    detail,
  };
}

async function describe(acm: ACMClient, arn: string): Promise<CertificateDetail | undefined> {
  try {
    return (await acm.send(new DescribeCertificateCommand({ CertificateArn: arn }))).Certificate;
  } catch (error) {
    if (isNamed(error, 'ResourceNotFoundException')) {
      return undefined;
    }
    throw error;
  }
}

/**
 * Order matters: what can never be exported comes before what is not issued yet.
 * Options.Export is an opt-in of public certificates only; private ones can always be exported, imported ones
 * never; with ACME the client holds the key (ACM user guide, "Exportable certificates" and "ACME").
 */
function obstacleOf(detail: CertificateDetail): string | undefined {
  if (detail.CertificateKeyPairOrigin === 'ACME') {
    return 'The certificate was issued over ACME: its key never was in ACM and cannot be exported.';
  }
  if (detail.Type === 'IMPORTED') {
    return 'The certificate was imported: ACM does not export imported certificates.';
  }
  if (detail.Type !== 'PRIVATE' && detail.Options?.Export !== 'ENABLED') {
    return 'The certificate is not exportable: export is chosen when a public certificate is requested and cannot be changed. Request a new one with Options Export=ENABLED.';
  }
  if (detail.Status !== 'ISSUED') {
    return `The certificate is not issued: its status is ${detail.Status ?? 'unknown'}.`;
  }
  return undefined;
}

/** Ends the tag's value when it is a prefix: ACM tag values may not hold `*`, and CertNames may not hold `+`. */
const PREFIX_MARK = '+';

/**
 * Whether the certificate's owner allows a name: the certificate's tag CertName is the name itself, or a prefix
 * of it followed by `+`. Without the tag no name is allowed.
 */
export async function allowsName(acm: ACMClient, arn: string, certName: string): Promise<boolean> {
  const { Tags = [] } = await acm.send(new ListTagsForCertificateCommand({ CertificateArn: arn }));
  const allowed = Tags.find((tag) => tag.Key === 'CertName')?.Value ?? '';
  return allowed.endsWith(PREFIX_MARK) ? certName.startsWith(allowed.slice(0, -1)) : certName === allowed;
}
