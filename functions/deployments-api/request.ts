import * as z from 'zod';
import { type Order, STATUSES } from '../shared/deployment.ts';
import { type Fault, RequestRefused } from '../shared/errors.ts';

// The bounds are those of the services behind: ACM and SSM tags, Run Command, systemd, useradd(8).
// tests/unit holds docs/openapi.yaml against these schemas.

const TAG_CHARACTERS = /^[A-Za-z0-9 _.:/=+@-]+$/;
const trimmed = (value: string) => value.trim() === value;

const tagKey = z
  .string()
  .min(1)
  .max(128)
  .regex(TAG_CHARACTERS, 'only letters, digits, spaces and _ . : / = + - @')
  .refine(trimmed, 'no space at either end')
  .refine((key) => !/^aws:/i.test(key), 'aws: tag keys are reserved by AWS');

const tagValue = z
  .string()
  .min(1, 'must not be empty')
  .max(256)
  .regex(TAG_CHARACTERS, 'only letters, digits, spaces and _ . : / = + - @')
  .refine(trimmed, 'no space at either end');

const certName = z
  .string()
  .regex(
    /^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$/,
    'up to 64 letters, digits, dots, dashes and underscores, with a letter or digit at both ends',
  )
  .refine((name) => !name.includes('..'), 'no two dots together');

const certificateArn = z
  .string()
  .regex(
    /^arn:aws[a-z-]{0,20}:acm:[a-z0-9-]{1,30}:[0-9]{12}:certificate\/[A-Za-z0-9-]{1,64}$/,
    'not the ARN of an ACM certificate',
  );

const account = z.string().regex(/^[0-9]{12}$/, 'not an account id of 12 digits');
const region = z.string().regex(/^[a-z]{2}(-[a-z]{1,10}){1,3}-[0-9]{1,2}$/, 'not a Region');
const unique = (values: string[]) => new Set(values).size === values.length;

const installSettings = {
  ReloadServices: z
    .array(z.string().regex(/^[A-Za-z0-9][A-Za-z0-9:_.@-]{0,63}$/, 'not the name of a systemd unit'))
    .max(5)
    .refine(unique, 'each unit once')
    .default([]),
  VerifyPort: z.int().min(0).max(65535).default(0),
  KeyFormat: z.enum(['decrypted', 'encrypted']).default('decrypted'),
  ExtraFormats: z
    .array(z.enum(['combined-pem', 'pkcs12']))
    .refine(unique, 'each format once')
    .default([]),
  KeyMode: z.enum(['0400', '0440', '0600', '0640']).optional(),
  KeyGroup: z
    .string()
    .regex(/^[a-z_][a-z0-9_-]{0,31}$/, 'not the name of a Unix group')
    .optional(),
};

// Patterns of SendCommand (SSM API reference).
const maxConcurrency = z
  .string()
  .regex(/^([1-9][0-9]{0,6}|[1-9][0-9]?%|100%)$/, 'a number or a percentage from 1');
const maxErrors = z
  .string()
  .regex(/^(0|[1-9][0-9]{0,6}|[0-9]%|[1-9][0-9]%|100%)$/, 'a number or a percentage');

/** Body of POST …/deployments. */
export const DeploymentBody = z.strictObject({
  CertName: z.string().optional(),
  CertificateArn: certificateArn,
  TargetTagKey: tagKey,
  TargetTagValue: tagValue,
  TargetAccount: account.optional(),
  TargetRegion: region.optional(),
  ...installSettings,
  // Ten at once keeps a fleet of web servers serving; one node in ten may fail before the rest is left alone.
  MaxConcurrency: maxConcurrency.default('10'),
  MaxErrors: maxErrors.default('10%'),
  DryRun: z.boolean().default(false),
});

/** Body of POST …/renewals. */
export const RenewalBody = z.strictObject({ CertificateArn: certificateArn });

/** The body of a route that takes none. */
export const EmptyBody = z.strictObject({});

const PathParameters = z.strictObject({
  CertName: certName.optional(),
  DeploymentId: z
    .string()
    .regex(/^[0-9a-f]{24}$/, 'not a DeploymentId')
    .optional(),
});

const whole = (maximum: number, minimum = 0) =>
  z
    .string()
    .regex(/^[0-9]{1,5}$/, 'a whole number')
    .transform(Number)
    .refine((value) => value >= minimum && value <= maximum, `from ${minimum} to ${maximum}`);

const paging = {
  // A deployment is about 2 KB: 100 stay far below the 6 MB that Lambda may answer with.
  Limit: whole(100, 1).default(50),
  NextToken: z.string().min(1).max(4096).optional(),
};

export const PageQuery = z.strictObject(paging);

export const FleetQuery = z.strictObject({
  ...paging,
  CertificateArn: certificateArn.optional(),
  Status: z.enum(STATUSES).optional(),
  TargetAccount: account.optional(),
  ExpiresWithinDays: whole(3650).optional(),
});

export const DeleteQuery = z.strictObject({ Force: z.enum(['true', 'false']).default('false') });

export const EmptyQuery = z.strictObject({});

export type DeploymentRequest = z.infer<typeof DeploymentBody>;

/** Parses the path's CertName and DeploymentId. */
export function parsePath(parameters: unknown): { CertName: string; DeploymentId: string } {
  const parsed = parse(PathParameters, parameters ?? {}, 'path');
  return { CertName: parsed.CertName ?? '', DeploymentId: parsed.DeploymentId ?? '' };
}

/**
 * Parses a JSON body; an absent one counts as `{}`.
 *
 * @throws RequestRefused with every fault.
 */
export function parseBody<T extends z.ZodType>(schema: T, body: string | null, base64 = false): z.infer<T> {
  const text = base64 && body ? Buffer.from(body, 'base64').toString('utf8') : body;
  let value: unknown;
  try {
    value = JSON.parse(text || '{}');
  } catch {
    throw new RequestRefused(400, 'The body is not JSON.', [{ Field: 'body', Reason: 'not JSON' }]);
  }
  return parse(schema, value, 'body');
}

/**
 * Parses a part of the request.
 *
 * @throws RequestRefused 400 with every fault, named by field.
 */
export function parse<T extends z.ZodType>(schema: T, value: unknown, part: string): z.infer<T> {
  const parsed = schema.safeParse(value);
  if (parsed.success) {
    return parsed.data;
  }
  const faults = parsed.error.issues.flatMap((issue): Fault[] =>
    issue.code === 'unrecognized_keys'
      ? issue.keys.map((key) => ({ Field: key, Reason: 'unknown field' }))
      : [{ Field: issue.path.join('.') || part, Reason: reasonOf(issue) }],
  );
  throw new RequestRefused(400, `The ${part} is not valid.`, faults);
}

/** zod says "expected string, received undefined" of a missing field. */
function reasonOf(issue: z.core.$ZodIssue): string {
  return issue.code === 'invalid_type' && issue.input === undefined ? 'missing' : issue.message;
}

/** The order that a body describes. */
export function orderFrom(
  certName: string,
  body: DeploymentRequest,
  defaults: { account: string; region: string },
): Order {
  const { CertName: _, DryRun: __, TargetAccount, TargetRegion, MaxConcurrency, MaxErrors, ...rest } = body;
  const { CertificateArn, TargetTagKey, TargetTagValue, ...Options } = rest;
  return {
    CertName: certName,
    CertificateArn,
    TargetTagKey,
    TargetTagValue,
    TargetAccount: TargetAccount ?? defaults.account,
    TargetRegion: TargetRegion ?? defaults.region,
    Options,
    MaxConcurrency,
    MaxErrors,
  };
}
