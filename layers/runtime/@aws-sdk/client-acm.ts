export {
  ACMClient,
  DescribeCertificateCommand,
  ExportCertificateCommand,
  ListTagsForCertificateCommand,
  RenewCertificateCommand,
} from '@aws-sdk/client-acm';
