import * as z from 'zod';
import { KEY_ALGORITHMS, type RequestedDeployment } from '../domain/certificate-request.ts';
import { ASKED, certName, deploymentId } from '../domain/order.ts';
import { ignored } from './request.ts';
import type { requestViewOf } from './request-view.ts';

/** What answers show of a request beside what was asked. A request may repeat it, and it is ignored there. */
const SHOWN = {
  Status: true,
  Reason: true,
  NextAttemptAt: true,
  RequestNumber: true,
  ExecutionArn: true,
  CertificateArn: true,
  Records: true,
  Zones: true,
  Error: true,
  CreatedAt: true,
  UpdatedAt: true,
  Warnings: true,
  CorrelationId: true,
} satisfies Record<
  | Exclude<
      keyof ReturnType<typeof requestViewOf>,
      'CertName' | 'DomainNames' | 'KeyAlgorithm' | 'Tags' | 'RecordsByHand' | 'Deployments'
    >
  | 'Zones'
  | 'CorrelationId',
  true
>;
export const REQUEST_READ_ONLY = Object.keys(SHOWN) as (keyof typeof SHOWN)[];

const { CertName: _, CertificateArn: __, DryRun: ___, Options: ____, ...askedFields } = ASKED;

/** A deployment that is registered when the certificate is issued: the certificate and the name are those of the request. */
const RequestedDeploymentBody = z.strictObject({ ...askedFields, DeploymentId: deploymentId.optional() });

/** More characters than a DNS name has in text: checkNames says what is wrong with one. */
const LONGEST_NAME = 300;
/** ACM takes at most 100 names, with a higher quota (API reference, RequestCertificate). */
const MOST_NAMES = 100;
/** ACM takes 50 tags (user guide, "Quotas"): some are left to the system, and to people. */
const MOST_TAGS = 40;
/** So that their registration fits into one call of the function that registers them. */
const MOST_DEPLOYMENTS = 10;

/** ACM's own forms (API reference, Tag). IAM compares keys of tags whatever their letters, and CertName says who may deliver. */
const tagKey = z
  .string()
  .min(1)
  .max(128)
  .regex(/^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$/u, 'letters, digits, spaces and _ . : / = + - @')
  .refine((key) => !/^aws:/i.test(key), 'aws: tag keys are reserved by AWS')
  .refine((key) => key.toLowerCase() !== 'certname', 'the system sets the tag CertName itself');
const tagValue = z
  .string()
  .max(256)
  .regex(/^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$/u, 'letters, digits, spaces and _ . : / = + - @');

/** Body of POST /certificates/{CertName}. */
export const CertificateRequestBody = z.strictObject({
  CertName: certName.optional(),
  DomainNames: z
    .array(z.string().min(1).max(LONGEST_NAME))
    .min(1)
    .max(MOST_NAMES)
    .meta({
      description:
        'Names of the certificate, the first of at most 64 characters. A name is public, such as www.example.com or *.example.com.',
      examples: [['www.example.com', 'example.com']],
    }),
  KeyAlgorithm: z
    .enum(KEY_ALGORITHMS)
    .default('RSA_2048')
    .meta({ description: 'Algorithm of the key pair.', examples: ['EC_prime256v1'] }),
  Tags: z
    .record(tagKey, tagValue)
    .refine((tags) => Object.keys(tags).length <= MOST_TAGS, `at most ${MOST_TAGS} tags`)
    .default({})
    .meta({
      description: 'Tags of the certificate, at most 40. The system adds CertName.',
      examples: [{ team: 'web' }],
    }),
  Deployments: z
    .array(RequestedDeploymentBody)
    .max(MOST_DEPLOYMENTS)
    .default([])
    .meta({
      description:
        'Deployments that are registered when the certificate is issued, as POST …/deployments takes them, without CertificateArn and DryRun.',
      examples: [[{ TargetTagKey: 'acm-export', TargetTagValue: 'web-prod' }]],
    }),
  RecordsByHand: z
    .boolean()
    .default(false)
    .meta({
      description:
        'You create the validation records yourself, for example with another DNS provider. Then no hosted zone is looked at, and none is written to.',
      examples: [true],
    }),
  DryRun: z
    .boolean()
    .default(false)
    .meta({
      description: 'Shows what would be asked for, written and registered, and asks nothing.',
      examples: [false],
    }),
  ...ignored(REQUEST_READ_ONLY),
});
export type CertificateRequestBody = z.infer<typeof CertificateRequestBody>;

/** The deployments as the request keeps them: in the form in which a repeated request has them, too. */
export function requestedFrom(
  body: CertificateRequestBody,
  defaults: { account: string; region: string },
): RequestedDeployment[] {
  return body.Deployments.map(({ DeploymentId: _, ...asked }) => {
    const named = Object.entries(asked).filter(([, value]) => value !== undefined);
    return {
      ...(Object.fromEntries(named) as typeof asked),
      TargetAccount: asked.TargetAccount ?? defaults.account,
      TargetRegion: asked.TargetRegion ?? defaults.region,
    };
  });
}
