import { isDeepStrictEqual } from 'node:util';
import * as z from 'zod';
import { type Deployment, deploymentIdOf, orderOf, STATUSES } from '../domain/deployment.ts';
import { type Fault, RequestRefused } from '../domain/errors.ts';
import { isPlainLine, LONGEST_REASON } from '../domain/freeze.ts';
import {
  ASKED,
  account,
  certificateArn,
  certName,
  DeploymentBody,
  deploymentId,
  type FlatOrder,
  flatOf,
  INSTALL_OPTIONS,
  InstallOptions,
  type Order,
  type Target,
} from '../domain/order.ts';
import { check } from '../domain/schema-faults.ts';
import type { viewOf } from './view.ts';

/**
 * What answers show of a deployment beside its order. A request may repeat it, so that what GET answers can be sent back,
 * and it is ignored there.
 */
const SHOWN = {
  Status: true,
  RolloutNumber: true,
  Reason: true,
  NextAttemptAt: true,
  Seen: true,
  Serial: true,
  VersionId: true,
  NotAfter: true,
  EarliestNotAfter: true,
  EarliestNodeId: true,
  MissingReaderRoleArns: true,
  BundleFinding: true,
  Rollout: true,
  Pending: true,
  LastRollout: true,
  LastTrial: true,
  LastDryRun: true,
  LastHealing: true,
  LastError: true,
  Failures: true,
  FailingSince: true,
  PausedAt: true,
  DeletingSince: true,
  DryRunOnly: true,
  ExpiryAlert: true,
  RenewalRequestedAt: true,
  CreatedAt: true,
  UpdatedAt: true,
  Nodes: true,
  NextToken: true,
  CorrelationId: true,
} satisfies Record<
  | Exclude<keyof Awaited<ReturnType<typeof viewOf>>, keyof FlatOrder | 'DeploymentId' | 'Options'>
  | 'Nodes'
  | 'NextToken'
  | 'CorrelationId',
  true
>;
export const READ_ONLY = Object.keys(SHOWN) as (keyof typeof SHOWN)[];

/** Fields of an answer, for the schema of a request that may repeat them. */
export const ignored = <Name extends string>(names: Name[]) =>
  Object.fromEntries(names.map((name) => [name, z.unknown().optional()])) as Record<
    Name,
    z.ZodOptional<z.ZodUnknown>
  >;

/** Body of POST …/deployments. */
export const RegistrationBody = z.strictObject({
  ...ASKED,
  DeploymentId: deploymentId.optional(),
  ...ignored(READ_ONLY),
});
export type Registration = z.infer<typeof RegistrationBody>;

/** Body of POST …/renewals. */
export const RenewalBody = z.strictObject({ CertificateArn: certificateArn });

/** Body of POST /freeze. */
export const FreezeBody = z.strictObject({
  Reason: z
    .string()
    .min(1)
    .max(LONGEST_REASON)
    .refine(isPlainLine, 'not one line of text without control and format characters'),
});

/** The body of a route that takes none. */
export const EmptyBody = z.strictObject({});

export const CertNamePath = z.strictObject({ CertName: certName });

export const DeploymentPath = z.strictObject({
  CertName: certName,
  DeploymentId: deploymentId,
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
  Status: z.enum([...STATUSES, 'PAUSED']).optional(),
  TargetAccount: account.optional(),
  ExpiresWithinDays: whole(3650).optional(),
});

export const EndpointQuery = z.strictObject({
  ...paging,
  Finding: z.enum(['unregistered']).default('unregistered'),
});

export const DeleteQuery = z.strictObject({ Force: z.enum(['true', 'false']).default('false') });

export const EmptyQuery = z.strictObject({});

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

/** What GET answers can be sent back, and 100 nodes of 3 KB are 300 KB. Lambda's own limit of an event is 6 MB. */
const LARGEST_BODY_KB = 512;

/** More than a person reads: a body may be wrong in every byte. */
const MOST_FAULTS = 50;
const LONGEST_FIELD = 100;

/**
 * Parses a whole request. An absent body counts as `{}`.
 *
 * @throws RequestRefused 400 with the faults of all three parts, each named by field; 413.
 */
export function parseRequest<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType>(
  schemas: RequestSchemas<P, Q, B>,
  raw: RawRequest,
): { path: z.infer<P>; query: z.infer<Q>; body: z.infer<B> } {
  if (Buffer.byteLength(raw.body ?? '') > LARGEST_BODY_KB * 1024) {
    throw new RequestRefused(
      413,
      `The body is too large: send at most ${LARGEST_BODY_KB} KB. A request needs no field that only answers show, such as Nodes.`,
    );
  }
  const faults: Fault[] = [];
  const path = parsePart(schemas.path, raw.pathParameters ?? {}, 'path', faults);
  const query = parsePart(schemas.query, raw.queryStringParameters ?? {}, 'query', faults);
  faults.push(...repeated(raw.multiValueQueryStringParameters));
  const json = parseJson(raw, faults);
  const body = json === undefined ? undefined : parsePart(schemas.body, json.value, 'body', faults);
  faults.push(...contradiction(raw.pathParameters, json?.value));
  if (faults.length > 0) {
    throw notValid(faults);
  }
  return { path, query, body } as { path: z.infer<P>; query: z.infer<Q>; body: z.infer<B> };
}

function parsePart<T extends z.ZodType>(
  schema: T,
  value: unknown,
  part: string,
  faults: Fault[],
): z.infer<T> | undefined {
  const checked = check(schema, value);
  if ('data' in checked) {
    return checked.data;
  }
  faults.push(...checked.faults.map(({ Field, Reason }) => ({ Field: Field || part, Reason })));
  return undefined;
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

export const notValid = (faults: Fault[]) =>
  new RequestRefused(400, 'The request is not valid.', bounded(faults));

function bounded(faults: Fault[]): Fault[] {
  const shown = faults.slice(0, MOST_FAULTS).map(({ Field, Reason }) => ({
    Field: Field.slice(0, LONGEST_FIELD),
    Reason,
  }));
  const more = faults.length - shown.length;
  return more > 0 ? [...shown, { Field: 'request', Reason: `${more} more faults` }] : shown;
}

/** The nodes that a request names. */
export function targetFrom(body: Registration, defaults: { account: string; region: string }): Target {
  const { TargetTagKey, TargetTagValue, TargetAccount, TargetRegion } = body;
  return {
    TargetTagKey,
    TargetTagValue,
    TargetAccount: TargetAccount ?? defaults.account,
    TargetRegion: TargetRegion ?? defaults.region,
  };
}

/**
 * The order that a request makes. What it does not name stays as it is registered, null sets the default, and a
 * deployment that is new, or was only tried, begins with the defaults.
 *
 * @param known the deployment as it was read, which the write relies on.
 * @throws RequestRefused 400
 */
export function orderFrom(
  certName: string,
  body: Registration,
  known: Deployment | undefined,
  defaults: { account: string; region: string },
): Order {
  const { DeploymentId, Options: nested, ...given } = body;
  const target = targetFrom(body, defaults);
  const named = Object.entries(given).filter(([name]) => name in DeploymentBody.shape);
  const kept = known?.Wanted ? flatOf(orderOf(known)) : {};
  const faults: Fault[] = [];
  const whole = withoutNulls({ ...kept, ...Object.fromEntries(named), ...target });
  const parsed = parsePart(DeploymentBody, whole, 'body', faults);
  for (const fault of faults) {
    const name = fault.Field.split('.')[0] as keyof Registration;
    fault.Reason += name in kept && body[name] === undefined ? KEPT : '';
  }
  if (DeploymentId !== undefined && DeploymentId !== deploymentIdOf(target, certName)) {
    faults.push({ Field: 'DeploymentId', Reason: 'not the deployment of this name and target' });
  }
  if (!parsed) {
    throw notValid(faults);
  }
  const Options = InstallOptions.strip().parse(parsed);
  const said = nested && InstallOptions.parse(withoutNulls(nested));
  for (const name of Object.keys(said ? INSTALL_OPTIONS : {}) as (keyof InstallOptions)[]) {
    if (!isDeepStrictEqual(said?.[name], Options[name])) {
      const Reason = `not what the order says: write ${name} at the top level, in place of Options`;
      faults.push({ Field: `Options.${name}`, Reason });
    }
  }
  if (faults.length > 0) {
    throw notValid(faults);
  }
  const {
    CertificateArn,
    Delivery,
    ReaderRoleArns,
    BundleFormats,
    MaxConcurrency,
    MaxErrors,
    ExcludeNodeIds,
  } = parsed;
  return {
    CertName: certName,
    CertificateArn,
    ...target,
    Delivery,
    ...(ReaderRoleArns ? { ReaderRoleArns } : {}),
    ...(BundleFormats ? { BundleFormats } : {}),
    Options,
    MaxConcurrency,
    MaxErrors,
    ExcludeNodeIds,
  };
}

const KEPT = '. The request does not name it, so the registered value stays. null sets its default';

const withoutNulls = (fields: object) =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null));
