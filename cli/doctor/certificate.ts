import { ACMClient, DescribeCertificateCommand, ListTagsForCertificateCommand } from '@aws-sdk/client-acm';
import { allowsName, certificateFrom } from '../../functions/domain/certificate.ts';
import type { AwsSettings } from '../world.ts';
import type { Checks } from './checks.ts';

/** Whether a certificate can be exported, and under this name. */
export async function checkCertificate(
  checks: Checks,
  settings: AwsSettings,
  arn: string,
  certName: string | undefined,
): Promise<void> {
  const [, , , region, account] = arn.split(':');
  if (region !== settings.region) {
    checks.wrong(
      arn,
      `The certificate is in ${region}, and the central stack in ${settings.region}.`,
      'Request it in the account and Region of the central stack: certificates cannot be moved.',
    );
    return;
  }
  const acm = new ACMClient(settings);
  const described = await checks.once(`describe ${arn}`, () =>
    checks.asked(
      arn,
      'whether the certificate can be exported',
      `acm:DescribeCertificate on ${arn} (in account ${account})`,
      () => acm.send(new DescribeCertificateCommand({ CertificateArn: arn })),
      'ResourceNotFoundException',
    ),
  );
  if (described === 'missing') {
    checks.wrong(arn, 'ACM does not know the certificate.', 'Look for its ARN: aws acm list-certificates.');
    return;
  }
  const certificate = described?.Certificate;
  if (!certificate) return;
  try {
    certificateFrom(arn, certificate);
    checks.ok(arn, 'The certificate is issued and can be exported.');
  } catch (error) {
    const isPending = certificate.Status === 'PENDING_VALIDATION';
    const records = (certificate.DomainValidationOptions ?? [])
      .filter(({ ValidationStatus }) => ValidationStatus !== 'SUCCESS')
      .map(({ ResourceRecord, DomainName }) =>
        ResourceRecord ? `${ResourceRecord.Name} ${ResourceRecord.Type} ${ResourceRecord.Value}` : DomainName,
      );
    checks.wrong(
      arn,
      (error as Error).message,
      isPending
        ? `Create these DNS records: ${records.join('; ')}.`
        : 'Request another one with --options Export=ENABLED, and register that.',
      certificate.CreatedAt,
    );
  }
  const renewal = certificate.RenewalSummary;
  if (renewal?.RenewalStatus === 'FAILED' || renewal?.RenewalStatus === 'PENDING_VALIDATION') {
    checks.wrong(
      arn,
      `ACM could not renew the certificate: ${renewal.RenewalStatus}${renewal.RenewalStatusReason ? ` (${renewal.RenewalStatusReason})` : ''}.`,
      'Look whether its validation records still stand in DNS: aws acm describe-certificate shows them.',
      renewal.UpdatedAt,
    );
  }
  if (certName === undefined) return;
  const tags = await checks.once(`tags ${arn}`, () =>
    checks.asked(
      arn,
      'whether the tag CertName allows the name',
      `acm:ListTagsForCertificate on ${arn}`,
      () => acm.send(new ListTagsForCertificateCommand({ CertificateArn: arn })),
    ),
  );
  if (!tags || tags === 'missing') return;
  const tag = tags.Tags?.find(({ Key }) => Key === 'CertName')?.Value;
  if (allowsName(tag, certName)) checks.ok(arn, `Its tag CertName allows the name ${certName}.`);
  else {
    checks.wrong(
      arn,
      `Its tag CertName ${tag === undefined ? 'is missing' : `is ${tag}`}: it may not be delivered as ${certName}.`,
      `aws acm add-tags-to-certificate --certificate-arn ${arn} --tags Key=CertName,Value=${certName} (not needed where the stack has RequireCertificateTag=false).`,
    );
  }
}
