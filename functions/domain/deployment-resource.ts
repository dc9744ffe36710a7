import { createHash } from 'node:crypto';
import * as z from 'zod';
import { deploymentIdOf, type Status } from './deployment.ts';
import { adviceOf } from './failure.ts';
import { isStandstill } from './next.ts';
import { asSentence, placeOf } from './notification.ts';
import { certName, DeploymentBody, type FlatOrder } from './order.ts';
import { PATTERNS } from './patterns.ts';
import { check } from './schema-faults.ts';

// A deployment as a resource of CloudFormation: what its properties say, what it is called, how its registration ended,
// and what CloudFormation is answered. Pure. Source of the protocol: CloudFormation User Guide, "CloudFormation custom
// resource request and response reference".

/** The function runs at most 900 seconds, of which the last 60 are left for what follows a wait. */
const LONGEST_WAIT_SECONDS = 840;

/** Properties that are no part of the order. */
const OWN = {
  ServiceToken: z.string().optional(),
  // CloudFormation's own bounds.
  ServiceTimeout: z.int().min(1).max(3600).default(3600),
  // A first rollout to a handful of servers takes one to five minutes.
  WaitSeconds: z.int().min(0).max(LONGEST_WAIT_SECONDS).default(600),
  Adopt: z.boolean().default(false),
  CertName: certName,
};
const Own = z.strictObject(OWN);

/** What a resource asks for. */
export interface Wish {
  order: FlatOrder;
  deploymentId: string;
  waitSeconds: number;
  /** After this CloudFormation does not wait for an answer any more. */
  timeoutSeconds: number;
  /** Whether a deployment that something else has registered is taken over. */
  adopts: boolean;
}

const NO_PROPERTY =
  'no property: a resource describes what is to be there. Try it with acm-export register --dry-run';

/**
 * Reads the properties of a resource. CloudFormation hands numbers and booleans on as texts. Account and Region of the nodes
 * are by default those of the certificate, as in a file of `acm-export apply`.
 *
 * @returns every fault in one sentence, each with the name of its property, where there are any.
 */
export function readProperties(properties: unknown): { wish: Wish } | { fault: string } {
  const given = Object.entries(Object(properties) as Record<string, unknown>);
  const part = (isOwn: boolean, shape: Record<string, z.ZodType>) =>
    Object.fromEntries(
      given
        .filter(([name]) => name !== 'DryRun' && Object.hasOwn(OWN, name) === isOwn)
        .map(([name, value]) => [
          name,
          Object.hasOwn(shape, name) ? typed(shape[name] as z.ZodType, value) : value,
        ]),
    );
  const own = check(Own, part(true, OWN));
  const body = check(DeploymentBody, part(false, DeploymentBody.shape));
  const faults = [own, body].flatMap((checked) => ('faults' in checked ? checked.faults : []));
  if (given.some(([name]) => name === 'DryRun')) {
    faults.push({ path: ['DryRun'], Field: 'DryRun', Reason: NO_PROPERTY });
  }
  if ('faults' in own || 'faults' in body || faults.length > 0) {
    return { fault: faults.map(({ Field, Reason }) => `${Field}: ${Reason}`).join('; ') };
  }
  const { CertName, WaitSeconds: waitSeconds, ServiceTimeout: timeoutSeconds, Adopt: adopts } = own.data;
  const { DryRun: _, ...fields } = body.data;
  const [, , , region = '', account = ''] = fields.CertificateArn.split(':');
  const order = {
    ...fields,
    CertName,
    TargetAccount: fields.TargetAccount ?? account,
    TargetRegion: fields.TargetRegion ?? region,
  } as FlatOrder;
  const deploymentId = deploymentIdOf(order, CertName);
  return { wish: { order, deploymentId, waitSeconds, timeoutSeconds, adopts } };
}

/** A text as the schema of its field wants it; what does not fit stays, for the schema to refuse. */
function typed(schema: z.ZodType, value: unknown): unknown {
  if (schema instanceof z.ZodDefault || schema instanceof z.ZodOptional) {
    return typed(schema.unwrap() as z.ZodType, value);
  }
  if (schema instanceof z.ZodNumber && /^-?[0-9]{1,15}$/.test(String(value))) return Number(value);
  if (schema instanceof z.ZodBoolean && /^(true|false)$/.test(String(value))) return value === 'true';
  return value;
}

/** A request of CloudFormation, as far as it names the resource. */
export interface Asked {
  StackId: string;
  LogicalResourceId: string;
  RequestId: string;
}

const shortHash = (...parts: string[]) =>
  createHash('sha256').update(parts.join('\0')).digest('hex').slice(0, 16);

/** What a request to the API is for: to register or change what the resource made, or what something else has registered. */
export type Purpose = 'cfn' | 'adopt';

/** Begins the correlation ids of all requests of one purpose about one resource of one stack. */
export const correlationPrefixOf = (
  { StackId, LogicalResourceId }: Asked,
  purpose: Purpose = 'cfn',
): string => `${purpose}-${shortHash(StackId, LogicalResourceId)}-`;

/**
 * The correlation id of one request: what it registers or changes carries it, and so the function knows its own work when
 * the same request is delivered again.
 */
export const correlationIdOf = (asked: Asked, purpose?: Purpose): string =>
  correlationPrefixOf(asked, purpose) +
  (/^[A-Za-z0-9-]{1,40}$/.test(asked.RequestId) ? asked.RequestId : shortHash(asked.RequestId));

/** A deployment as the API answers, as far as a resource looks at it. */
export interface Registered extends Omit<FlatOrder, 'DeploymentId'> {
  DeploymentId: string;
  Status: Status;
  CreatedAt: string;
  Reason: string;
  PausedAt?: string;
  Rollout?: { CorrelationId: string; Cause?: string };
  Pending?: { CorrelationId: string };
  LastRollout?: { CorrelationId: string; Number: number; Error?: string; At: string };
  LastError?: string;
  FailingSince?: string;
  Serial?: string;
  EarliestNotAfter: string;
}

/** The requests whose work can still be seen in a deployment, the earliest first. A dry run that runs is none: it leaves no order. */
export const requestsSeenIn = ({ Rollout, LastRollout, Pending }: Registered): string[] =>
  [LastRollout, Rollout?.Cause === 'DRY_RUN' ? undefined : Rollout, Pending].flatMap((one) =>
    one ? [one.CorrelationId] : [],
  );

/** Whether a deployment shows the work of a request of this purpose about this resource. */
export const hasWorkOf = (deployment: Registered, asked: Asked, purpose: Purpose): boolean =>
  requestsSeenIn(deployment).some((id) => id.startsWith(correlationPrefixOf(asked, purpose)));

/** Whether a deployment shows that a resource has adopted it. */
export const isAdopted = (deployment: Registered): boolean =>
  requestsSeenIn(deployment).some((id) => id.startsWith('adopt-'));

/** What a resource stands for, as its physical id says it. */
export interface Held {
  certName: string;
  deploymentId: string;
  /**
   * When the deployment was registered: one that was removed and registered again is another one. Before that is known, the
   * correlation id of the request that registers it. `adopted`: something else has registered it.
   */
  mark: string;
  /** What the resource stood for before it was replaced: a rollback goes back to it. */
  before?: Held;
}

export const ADOPTED = 'adopted';
/** The physical id of a resource that stands for nothing. */
export const nothingOf = ({ RequestId }: Asked): string => `none/${shortHash(RequestId)}`;

export function physicalIdOf({ certName: name, deploymentId, mark, before }: Held): string {
  const own = `${name}/${deploymentId}/${mark}`;
  // One step back is all that a rollback needs.
  return before ? `${own},${before.certName}/${before.deploymentId}/${before.mark}` : own;
}

const ONE = new RegExp(
  `^(?<certName>${PATTERNS.CertName})/(?<deploymentId>${PATTERNS.DeploymentId})/(?<mark>[A-Za-z0-9:-]{1,80})$`,
);

/** Undefined of an id that this function did not give, and of one that stands for nothing. */
export function heldOf(physicalId = ''): Held | undefined {
  const [now, before] = physicalId
    .split(',')
    .map((text) => ONE.exec(text)?.groups as Omit<Held, 'before'> | undefined);
  return now && { ...now, ...(before ? { before: { ...before } } : {}) };
}

/** Whether a resource leaves nothing to delete: it stands for nothing, or for what something else has registered. */
export const leavesNothing = (physicalId = ''): boolean =>
  physicalId.startsWith('none/') || heldOf(physicalId)?.mark === ADOPTED;

/** Whether the resource has registered this deployment itself. */
export const isMadeBy = ({ mark }: Held, deployment: Registered): boolean =>
  deployment.CreatedAt === mark || requestsSeenIn(deployment).includes(mark);

/** How it stands with what was asked for. */
export type Standing = { is: 'underway' | 'settled' } | { is: 'failed'; reason: string };

/**
 * Whether what was asked for has come to rest. DEGRADED has: some nodes cannot be reached or served now, the others serve,
 * and to roll a stack back for one server that is off would take the certificate from all of them.
 *
 * @param awaited the rollout that answers the request, where its number is known.
 */
export function standingOf(deployment: Registered, awaited: number | undefined): Standing {
  const { Status: status, LastRollout: last, Pending, PausedAt, Reason } = deployment;
  const failed = (reason: string): Standing => ({ is: 'failed', reason });
  if (status === 'DELETING') return failed(`It is being deleted. Where: ${placeOf(deployment)}.`);
  if (status === 'ROLLING_OUT') return { is: 'underway' };
  if (Pending || (last?.Number ?? 0) < (awaited ?? 0)) {
    if (PausedAt) return failed(`It was paused at ${PausedAt}: resume it, then deploy the stack again.`);
    return isStandstill(Reason)
      ? failed(`${Reason} Deploy the stack again when rollouts may begin.`)
      : { is: 'underway' };
  }
  return status === 'FAILED' ? failed(failureOf(deployment)) : { is: 'settled' };
}

/** What of a failure is shown: it names nodes, which may be many, and what to do comes after it. */
const LONGEST_ERROR = 900;

function failureOf(deployment: Registered): string {
  const { CertName, LastError, LastRollout, FailingSince, Reason } = deployment;
  const error = LastError ?? LastRollout?.Error ?? Reason;
  const since = FailingSince ?? LastRollout?.At;
  return (
    `The rollout of certificate ${CertName} failed: ${asSentence(shortened(error, LONGEST_ERROR))} ` +
    `Where: ${placeOf(deployment)}. ${since ? `Since: ${since}. ` : ''}What to do: ${adviceOf(error)}`
  );
}

/** What Fn::GetAtt gives: nothing of it is secret. */
export const dataOf = ({ DeploymentId, CertName, Status: status, Serial, EarliestNotAfter }: Registered) => ({
  DeploymentId,
  CertName,
  Status: status,
  EarliestNotAfter,
  ...(Serial === undefined ? {} : { Serial }),
});

/** What CloudFormation is answered. */
export interface Answer extends Asked {
  Status: 'SUCCESS' | 'FAILED';
  Reason?: string;
  PhysicalResourceId: string;
  Data?: Record<string, unknown>;
}

const LARGEST_ANSWER = 4096;

/** The body of an answer, of at most 4,096 bytes: what is too long is cut from the reason. */
export function answerText({ StackId, RequestId, LogicalResourceId, Reason, ...answer }: Answer): string {
  const body = (reason: string | undefined) =>
    JSON.stringify({ StackId, RequestId, LogicalResourceId, Reason: reason, ...answer });
  let reason = Reason;
  for (;;) {
    const over = Buffer.byteLength(body(reason)) - LARGEST_ANSWER;
    if (over <= 0 || !reason || reason.length < 2) return body(reason);
    // A character takes up to six bytes in JSON: cut too little, and look again.
    reason = shortened(reason, Math.max(1, reason.length - Math.ceil(over / 6)));
  }
}

/** At most so many characters, none of them cut in two. */
export const shortened = (text: string, most: number): string =>
  text.length <= most ? text : `${text.slice(0, most - 1).replace(/[\uD800-\uDBFF]$/, '')}…`;
