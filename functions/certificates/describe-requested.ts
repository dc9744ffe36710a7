import {
  type ACMClient,
  DescribeCertificateCommand,
  ListTagsForCertificateCommand,
} from '@aws-sdk/client-acm';
import type { ValidationRecord } from '../domain/certificate-request.ts';
import { isNamed } from '../domain/errors.ts';
import type { RequestedCertificate } from '../domain/next-of-request.ts';

/** What ACM says of a certificate that was requested; `gone` where ACM does not know it any more. */
export async function describeRequested(acm: ACMClient, arn: string): Promise<RequestedCertificate | 'gone'> {
  try {
    const { Certificate = {} } = await acm.send(new DescribeCertificateCommand({ CertificateArn: arn }));
    const { Status = 'unknown', FailureReason, DomainValidationOptions = [] } = Certificate;
    const records = new Map<string, ValidationRecord>();
    for (const { DomainName = '', ResourceRecord } of DomainValidationOptions) {
      const { Name, Value } = ResourceRecord ?? {};
      if (Name && Value) {
        // `*.x` and `x` share one (ACM user guide, "DNS validation").
        const known = records.get(Name) ?? { Name, Type: 'CNAME', Value, DomainNames: [] };
        records.set(Name, { ...known, DomainNames: [...known.DomainNames, DomainName] });
      }
    }
    return { Status, ...(FailureReason ? { FailureReason } : {}), Records: [...records.values()] };
  } catch (error) {
    if (isNamed(error, 'ResourceNotFoundException')) {
      return 'gone';
    }
    throw error;
  }
}

/** The name for which a certificate was requested; undefined where its tag says none, or ACM does not know it. */
export async function certNameOf(acm: ACMClient, arn: string): Promise<string | undefined> {
  try {
    const { Tags = [] } = await acm.send(new ListTagsForCertificateCommand({ CertificateArn: arn }));
    return Tags.find(({ Key }) => Key === 'CertName')?.Value;
  } catch (error) {
    if (isNamed(error, 'ResourceNotFoundException')) {
      return undefined;
    }
    throw error;
  }
}
