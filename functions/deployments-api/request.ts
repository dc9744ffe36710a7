import * as z from 'zod';
import { CERTIFICATE_ARN } from '../domain/certificate.ts';
import { type Order, STATUSES } from '../domain/deployment.ts';
import { type Fault, RequestRefused } from '../domain/errors.ts';

// The bounds are those of the services behind: ACM and SSM tags, Run Command, systemd, useradd(8).
// docs/openapi.yaml describes them to callers; a test holds it against these schemas.

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

const certificateArn = z.string().regex(CERTIFICATE_ARN, 'not the ARN of an ACM certificate');

const account = z.string().regex(/^[0-9]{12}$/, 'not an account id of 12 digits');
const region = z.string().regex(/^[a-z]{2}(-[a-z]{1,10}){1,3}-[0-9]{1,2}$/, 'not a Region');
const unique = (values: string[]) => new Set(values).size === values.length;

const units = z
  .array(z.string().regex(/^[A-Za-z0-9][A-Za-z0-9:_.@-]{0,63}$/, 'not the name of a systemd unit'))
  .max(5)
  .refine(unique, 'each unit once')
  .default([]);

/** systemd reads a name without a suffix as that of a service. */
const unitOf = (name: unknown) => String(name).replace(/\.service$/, '');

const installSettings = {
  ReloadServices: units,
  RestartServices: units,
  VerifyPort: z.int().min(0).max(65535).default(0),
  KeyFormat: z.enum(['decrypted', 'encrypted']).default('decrypted'),
  ExtraFormats: z
    .array(z.enum(['combined-pem', 'pkcs12']))
    .refine(unique, 'each format once')
    .default([]),
  KeyMode: z.enum(['0400', '0440', '0600', '0640']).optional(),
  KeyGroup: z
    .string()
    .regex(/^[A-Za-z0-9_.][A-Za-z0-9_.-]{0,30}[A-Za-z0-9_.$-]?$/, 'not the name of a Unix group')
    // Neither does useradd take these; chgrp would read digits as a group id.
    .refine((name) => !/^([0-9]+|\.\.?)$/.test(name), 'not only digits, and not . or ..')
    .optional(),
};

// Patterns of SendCommand (SSM API reference).
const maxConcurrency = z
  .string()
  .regex(/^([1-9][0-9]{0,6}|[1-9][0-9]?%|100%)$/, 'a number or a percentage from 1');
const maxErrors = z
  .string()
  .regex(/^(0|[1-9][0-9]{0,6}|[0-9]%|[1-9][0-9]%|100%)$/, 'a number or a percentage');

const roleArn = z
  .string()
  .regex(
    /^arn:aws[a-z-]{0,20}:iam::[0-9]{12}:role\/([A-Za-z0-9+=,.@_/-]{1,512}\/)?[A-Za-z0-9+=,.@_-]{1,64}$/,
    'not the ARN of a role',
  );

/** Body of POST …/deployments. */
const DeploymentFields = z.strictObject({
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
  Delivery: z.enum(['nodes', 'secret']).default('nodes'),
  // A resource policy holds 20,480 characters; ten ARNs of the longest names fit many times.
  ReaderRoleArns: z.array(roleArn).min(1).max(10).refine(unique, 'each role once').optional(),
});

/** A rule over several fields; it is checked beside faults of single ones, so that all are named at once. */
const rule = (path: string, message: string) => ({
  path: [path],
  message,
  when: ({ value }: z.core.ParsePayload) => typeof value === 'object' && value !== null,
});

export const DeploymentBody = DeploymentFields.refine(
  ({ Delivery, ReaderRoleArns }) => Delivery !== 'secret' || ReaderRoleArns !== undefined,
  rule('ReaderRoleArns', 'needed with Delivery secret: who may read the bundle'),
)
  .refine(
    ({ Delivery, ReaderRoleArns }) => Delivery === 'secret' || ReaderRoleArns === undefined,
    rule('ReaderRoleArns', 'only with Delivery secret: nodes read by their tag'),
  )
  .refine(
    ({ Delivery, DryRun }) => Delivery !== 'secret' || DryRun !== true,
    rule('DryRun', 'only with Delivery nodes'),
  )
  .refine(
    ({ ReloadServices, RestartServices }) => areApart(ReloadServices, RestartServices),
    rule('RestartServices', 'a unit is reloaded or restarted: none of these may be in ReloadServices'),
  );

/** Whether no unit is in both lists. A value that is no list is a fault of its own field. */
function areApart(reloaded: unknown, restarted: unknown): boolean {
  const namesIn = (list: unknown) => (Array.isArray(list) ? list.map(unitOf) : []);
  return new Set(namesIn(reloaded)).isDisjointFrom(new Set(namesIn(restarted)));
}

/** Body of POST …/renewals. */
export const RenewalBody = z.strictObject({ CertificateArn: certificateArn });

/** The body of a route that takes none. */
export const EmptyBody = z.strictObject({});

export const CertNamePath = z.strictObject({ CertName: certName });

export const DeploymentPath = z.strictObject({
  CertName: certName,
  DeploymentId: z.string().regex(/^[0-9a-f]{24}$/, 'not a DeploymentId'),
});

/** The path of a route without parameters. */
export const EmptyPath = z.strictObject({});

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

/** The three parts of a request that may be wrong. */
export interface RequestSchemas<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType> {
  path: P;
  query: Q;
  body: B;
}

/** A request as API Gateway hands it on. */
export interface RawRequest {
  pathParameters: unknown;
  queryStringParameters: unknown;
  /** Every value of each parameter; the field above has the last of each. */
  multiValueQueryStringParameters?: unknown;
  body: string | null;
  isBase64Encoded: boolean;
}

/** More than a person reads; a body of 10 MB may be wrong in every byte, and an answer is at most 6 MB. */
const MOST_FAULTS = 50;
const LONGEST_FIELD = 100;

/**
 * Parses a whole request. An absent body counts as `{}`.
 *
 * @throws RequestRefused 400 with the faults of all three parts, each named by field.
 */
export function parseRequest<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType>(
  schemas: RequestSchemas<P, Q, B>,
  raw: RawRequest,
): { path: z.infer<P>; query: z.infer<Q>; body: z.infer<B> } {
  const faults: Fault[] = [];
  const path = parsePart(schemas.path, raw.pathParameters ?? {}, 'path', faults);
  const query = parsePart(schemas.query, raw.queryStringParameters ?? {}, 'query', faults);
  faults.push(...repeated(raw.multiValueQueryStringParameters));
  const json = parseJson(raw, faults);
  const body = json === undefined ? undefined : parsePart(schemas.body, json.value, 'body', faults);
  faults.push(...contradiction(raw.pathParameters, json?.value));
  if (faults.length > 0) {
    throw new RequestRefused(400, 'The request is not valid.', bounded(faults));
  }
  return { path, query, body } as { path: z.infer<P>; query: z.infer<Q>; body: z.infer<B> };
}

function parsePart<T extends z.ZodType>(
  schema: T,
  value: unknown,
  part: string,
  faults: Fault[],
): z.infer<T> | undefined {
  const parsed = schema.safeParse(value);
  if (parsed.success) {
    return parsed.data;
  }
  for (const issue of parsed.error.issues) {
    const at = issue.path.join('.');
    if (issue.code === 'unrecognized_keys') {
      faults.push(
        ...issue.keys.map((key) => ({ Field: at ? `${at}.${key}` : key, Reason: 'unknown field' })),
      );
    } else {
      faults.push({ Field: at || part, Reason: reasonOf(issue) });
    }
  }
  return undefined;
}

/** zod says "expected string, received undefined" of a missing field. */
function reasonOf(issue: z.core.$ZodIssue): string {
  return issue.code === 'invalid_type' && issue.message.endsWith('received undefined')
    ? 'missing'
    : issue.message;
}

function parseJson(raw: RawRequest, faults: Fault[]): { value: unknown } | undefined {
  const { body, isBase64Encoded } = raw;
  const text = isBase64Encoded && body ? Buffer.from(body, 'base64').toString('utf8') : body;
  try {
    return { value: JSON.parse(text || '{}') };
  } catch {
    faults.push({ Field: 'body', Reason: 'not JSON' });
    return undefined;
  }
}

/** Of two values for one parameter, none can be meant. */
function repeated(parameters: unknown): Fault[] {
  const values = Object.entries((parameters ?? {}) as Record<string, unknown>);
  return values
    .filter(([, value]) => Array.isArray(value) && value.length > 1)
    .map(([Field]) => ({ Field, Reason: 'given more than once' }));
}

/** The path's CertName is what IAM policies on paths look at: a body may repeat it, not change it. */
function contradiction(pathParameters: unknown, body: unknown): Fault[] {
  const inPath = (pathParameters as { CertName?: unknown } | null)?.CertName;
  const inBody = (body as { CertName?: unknown } | null)?.CertName;
  return typeof inPath === 'string' && typeof inBody === 'string' && inBody !== inPath
    ? [{ Field: 'CertName', Reason: "must equal the path's CertName" }]
    : [];
}

function bounded(faults: Fault[]): Fault[] {
  const shown = faults.slice(0, MOST_FAULTS).map(({ Field, Reason }) => ({
    Field: Field.slice(0, LONGEST_FIELD),
    Reason,
  }));
  const more = faults.length - shown.length;
  return more > 0 ? [...shown, { Field: 'request', Reason: `${more} more faults` }] : shown;
}

/** The order that a body describes. */
export function orderFrom(
  certName: string,
  body: DeploymentRequest,
  defaults: { account: string; region: string },
): Order {
  const { CertName: _, DryRun: __, TargetAccount, TargetRegion, MaxConcurrency, MaxErrors, ...rest } = body;
  const { CertificateArn, TargetTagKey, TargetTagValue, Delivery, ReaderRoleArns, ...Options } = rest;
  return {
    CertName: certName,
    Delivery,
    ...(ReaderRoleArns ? { ReaderRoleArns } : {}),
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
