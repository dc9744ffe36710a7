import type { Clock } from './clock.ts';
import { ServiceError } from './service.ts';

/** Calls a second. `burst` is the size of the bucket; where the documentation gives none, one second's worth. */
interface Quota {
  perSecond: number;
  burst?: number;
  /** Operations with the same name here share a quota. */
  shared?: string;
}

/**
 * Request quotas for each account and Region.
 *
 * Sources: ACM user guide "Quotas"; AWS General Reference, Systems Manager endpoints and quotas; Secrets
 * Manager user guide "Quotas"; Step Functions developer guide "Service quotas" (the values of us-east-1,
 * us-west-2 and eu-west-1; other Regions have 800 and 150 for StartExecution). For DescribeInstanceInformation and
 * GetCommandInvocation none is published: it is taken to be that of GetAutomationExecution. Route 53 developer guide
 * "Quotas": five requests a second for each account, whatever the operation.
 */
export const quotas: Record<string, Quota> = {
  'CertificateManager.ExportCertificate': { perSecond: 10 },
  'CertificateManager.DescribeCertificate': { perSecond: 10 },
  'CertificateManager.ListTagsForCertificate': { perSecond: 10 },
  'CertificateManager.ListCertificates': { perSecond: 8 },
  'CertificateManager.RenewCertificate': { perSecond: 5 },
  'route53.ChangeResourceRecordSets': { perSecond: 5, shared: 'route53' },
  'route53.GetChange': { perSecond: 5, shared: 'route53' },
  'route53.GetHostedZone': { perSecond: 5, shared: 'route53' },
  'route53.ListHostedZonesByName': { perSecond: 5, shared: 'route53' },
  'route53.ListResourceRecordSets': { perSecond: 5, shared: 'route53' },
  'AmazonSSM.StartAutomationExecution': { perSecond: 1 },
  'AmazonSSM.GetAutomationExecution': { perSecond: 3 },
  'AmazonSSM.DescribeInstanceInformation': { perSecond: 3 },
  'AmazonSSM.GetCommandInvocation': { perSecond: 3 },
  'secretsmanager.CreateSecret': { perSecond: 50 },
  'secretsmanager.PutSecretValue': { perSecond: 50 },
  'secretsmanager.PutResourcePolicy': { perSecond: 50 },
  'secretsmanager.TagResource': { perSecond: 50 },
  'secretsmanager.GetRandomPassword': { perSecond: 50 },
  'AWSStepFunctions.StartExecution': { perSecond: 300, burst: 1300 },
  'AWSStepFunctions.DescribeExecution': { perSecond: 10, burst: 15 },
};

/** Token buckets. Refill follows the waits of the clock, so that scaled waits meet scaled quotas. */
export class Quotas {
  readonly #buckets = new Map<string, { tokens: number; at: number }>();
  readonly #clock: Clock;
  enabled: boolean;

  constructor(enabled: boolean, clock: Clock) {
    this.enabled = enabled;
    this.#clock = clock;
  }

  /** Throws the service's throttling error when the quota is used up. */
  take(operation: string, account: string, region: string): void {
    const quota = quotas[operation];
    if (!quota || !this.enabled) return;
    const key = `${quota.shared ?? operation} ${account} ${region}`;
    const size = quota.burst ?? quota.perSecond;
    const now = this.#clock.elapsed() / 1000;
    const bucket = this.#buckets.get(key) ?? { tokens: size, at: now };
    this.#buckets.set(key, bucket);
    bucket.tokens = Math.min(size, bucket.tokens + (now - bucket.at) * quota.perSecond);
    bucket.at = now;
    if (bucket.tokens < 1) throw throttled(operation);
    bucket.tokens -= 1;
  }
}

/** Each service has its own name for "too fast". */
export function throttled(operation: string): ServiceError {
  const [service] = operation.split('.');
  if (service === 'lambda') return new ServiceError('TooManyRequestsException', 'Rate Exceeded.', 429);
  if (service === 'sts' || service === 'route53') return new ServiceError('Throttling', 'Rate exceeded');
  if (service === 'sns') return new ServiceError('Throttled', 'Rate exceeded', 429);
  if (service === 'execute-api')
    return new ServiceError('TooManyRequestsException', 'Too Many Requests', 429);
  return new ServiceError('ThrottlingException', 'Rate exceeded');
}

/** What a service answers when the fault is its own. */
export function serverError(operation: string): ServiceError {
  const [service] = operation.split('.');
  const names: Record<string, string> = {
    AmazonSSM: 'InternalServerError',
    secretsmanager: 'InternalServiceError',
    DynamoDB_20120810: 'InternalServerError',
    lambda: 'ServiceException',
    sts: 'InternalFailure',
    sns: 'InternalError',
  };
  return new ServiceError(names[service ?? ''] ?? 'InternalFailure', 'Internal server error', 500);
}
