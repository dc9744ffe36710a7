import {
  type ACMClient,
  DescribeCertificateCommand,
  ListTagsForCertificateCommand,
} from '@aws-sdk/client-acm';
import { isNamed } from '../domain/errors.ts';
import type { RequestedCertificate } from '../domain/next-of-request.ts';
import { validationRecordsFrom } from '../domain/validation-records.ts';

/** What ACM says of a certificate that was requested; `gone` where ACM does not know it any more. */
export async function describeRequested(acm: ACMClient, arn: string): Promise<RequestedCertificate | 'gone'> {
  try {
    const { Certificate = {} } = await acm.send(new DescribeCertificateCommand({ CertificateArn: arn }));
    const { Status = 'unknown', FailureReason, DomainValidationOptions = [] } = Certificate;
    const Records = validationRecordsFrom(DomainValidationOptions);
    return { Status, ...(FailureReason ? { FailureReason } : {}), Records };
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
