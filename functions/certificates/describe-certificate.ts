import {
  type ACMClient,
  DescribeCertificateCommand,
  ListTagsForCertificateCommand,
} from '@aws-sdk/client-acm';
import { allowsName, type Certificate, certificateFrom } from '../domain/certificate.ts';
import type { ValidationRecord } from '../domain/certificate-request.ts';
import { isNamed } from '../domain/errors.ts';
import { validationRecordsFrom } from '../domain/validation-records.ts';

/**
 * Describes a certificate; undefined when ACM does not know it.
 *
 * @throws CertificateNotDeployable, saying why, for one that can never be exported or cannot yet.
 */
export async function describeDeployable(acm: ACMClient, arn: string): Promise<Certificate | undefined> {
  try {
    const { Certificate } = await acm.send(new DescribeCertificateCommand({ CertificateArn: arn }));
    return Certificate && certificateFrom(arn, Certificate);
  } catch (error) {
    if (isNamed(error, 'ResourceNotFoundException')) {
      return undefined;
    }
    throw error;
  }
}

/** Whether the certificate's own tag allows a name. */
export async function ownerAllows(acm: ACMClient, arn: string, certName: string): Promise<boolean> {
  const { Tags = [] } = await acm.send(new ListTagsForCertificateCommand({ CertificateArn: arn }));
  return allowsName(Tags.find((tag) => tag.Key === 'CertName')?.Value, certName);
}

/** The records with which ACM validates a certificate that is issued; none of one that it does not know. */
export async function describeValidation(acm: ACMClient, arn: string): Promise<ValidationRecord[]> {
  try {
    const { Certificate } = await acm.send(new DescribeCertificateCommand({ CertificateArn: arn }));
    const isRenewed = Certificate?.Status === 'ISSUED' && Certificate.Type === 'AMAZON_ISSUED';
    return isRenewed ? validationRecordsFrom(Certificate.DomainValidationOptions ?? []) : [];
  } catch (error) {
    if (isNamed(error, 'ResourceNotFoundException')) {
      return [];
    }
    throw error;
  }
}
