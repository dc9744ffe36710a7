import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type * as z from 'zod';
import type { ASKED, Order, Target } from './order.ts';

/** Key algorithms that ACM issues public certificates for (ACM User Guide, "Public certificate characteristics"). */
export const KEY_ALGORITHMS = ['RSA_2048', 'EC_prime256v1', 'EC_secp384r1'] as const;

export type RequestStatus = 'ASKING' | 'VALIDATING' | 'REGISTERING' | 'DONE' | 'FAILED';

/** A record that ACM asks for. `*.example.com` and `example.com` share one. */
export interface ValidationRecord {
  Name: string;
  Type: 'CNAME';
  Value: string;
  DomainNames: string[];
}

/** What was written of one record, and where. */
export interface WrittenRecord {
  HostedZoneId: string;
  Account: string;
  At: string;
  /** That of Route 53; absent where the record was there already. */
  ChangeId?: string;
  /** When all servers of Route 53 had it. */
  InSyncAt?: string;
}

/**
 * A deployment that is registered when the certificate is issued: what a person wrote, and no more, with the account and
 * Region filled in. What they left out is decided at the registration, as POST …/deployments would then.
 */
export type RequestedDeployment = Omit<
  z.infer<z.ZodObject<typeof ASKED>>,
  'CertName' | 'CertificateArn' | 'DryRun' | 'Options' | keyof Target
> &
  Target;

/** What a person asked for. The names are normalised; the first one is ACM's DomainName. */
export interface Wish {
  DomainNames: string[];
  KeyAlgorithm: (typeof KEY_ALGORITHMS)[number];
  Tags: Record<string, string>;
  /** A person creates the records: nothing is looked at in hosted zones, and nothing written there. */
  RecordsByHand?: true;
  Deployments: RequestedDeployment[];
}

/** An execution that ended without a result. */
export interface StoppedExecution {
  /** Which one: they are counted from 1. */
  Execution: number;
  /** When it ended. */
  At: string;
  /** As what, and with which error. */
  Why: string;
  /** When the request had last been written by then: the next execution starts a while after it. */
  HeardAt: string;
}

/** A request for a certificate, as the inventory holds it: one for each CertName. */
export interface CertificateRequest {
  CertName: string;
  /** At least the time in seconds, so that it is never used twice, also where the inventory was lost. */
  RequestNumber: number;
  Status: RequestStatus;
  Wish: Wish;
  CorrelationId: string;
  CreatedAt: string;
  UpdatedAt: string;
  /**
   * The order of each deployment as it was registered when this was asked for, by the id of the deployment; null where none
   * was. Absent in what was asked for before this was noted.
   */
  Stood?: Record<string, Order | null>;
  /** The number of the request of this name before it; absent: there was none. */
  NumberBefore?: number;
  /** How many executions were started for it; absent: one. */
  Executions?: number;
  /** Of its executions, the last one that was seen to have ended without a result. */
  Stopped?: StoppedExecution;
  /** When people were told that its executions end without a result. */
  StopsToldAt?: string;
  /** When ACM was about to be asked first. Its answer may be lost. */
  AskingSince?: string;
  CertificateArn?: string;
  /** When ACM has taken the request. */
  AskedAt?: string;
  Records?: ValidationRecord[];
  /** By the name of the record. */
  Written?: Record<string, WrittenRecord>;
  /** Why a record could not be written the last time. */
  WritingFailure?: string;
  /** Since when records could not be written; absent while all are. */
  UnwrittenSince?: string;
  /** When people were told of that. */
  UnwrittenToldAt?: string;
  IssuedAt?: string;
  /** Ids of the deployments that were registered. */
  Registered?: string[];
  /** When ACM is looked at next. */
  NextLookAt?: string;
  EndedAt?: string;
  /** Why it failed, or which deployments were refused. */
  Error?: string;
  /** When people were told of Error. */
  ToldAt?: string;
}

/** Input of the state machine, and of its functions: what is to be done stands in the inventory. */
export type RequestInput = Pick<CertificateRequest, 'CertName' | 'RequestNumber'>;

export const isOpen = ({ Status }: Pick<CertificateRequest, 'Status'>): boolean =>
  Status !== 'DONE' && Status !== 'FAILED';

/** Whether the last execution of a request has ended without a result, as far as it was seen. */
export const isStopped = (
  request: CertificateRequest,
): request is CertificateRequest & { Stopped: StoppedExecution } =>
  isOpen(request) && request.Stopped !== undefined && request.Stopped.Execution === (request.Executions ?? 1);

/** A program that repeats its POST after a failure would use up the ceiling of a day, which is that of all names. */
const SAME_FAILURE_MS = 3_600_000;

/** From when on the same wish is a new request, of a request that has failed; undefined of any other. */
export const repeatableAt = ({ Status, EndedAt, UpdatedAt }: CertificateRequest): Date | undefined =>
  Status === 'FAILED' ? new Date(Date.parse(EndedAt ?? UpdatedAt) + SAME_FAILURE_MS) : undefined;

/** Whether two wishes ask for the same. ACM issues the same certificate whatever the order of the names. */
export function isSameWish(a: Wish, b: Wish): boolean {
  const { DomainNames: namesOfA, ...restOfA } = a;
  const { DomainNames: namesOfB, ...restOfB } = b;
  return isDeepStrictEqual(new Set(namesOfA), new Set(namesOfB)) && isDeepStrictEqual(restOfA, restOfB);
}

/** What two wishes with the same names and key algorithm share, whatever the order of the names: ACM's certificate is the same. */
export const hashOfNames = ({
  DomainNames,
  KeyAlgorithm,
}: Pick<Wish, 'DomainNames' | 'KeyAlgorithm'>): string =>
  hashOf(JSON.stringify([DomainNames.toSorted(), KeyAlgorithm]));

/**
 * What a request counts as among those of a day. A POST that is cut off after it was counted, and repeated, has another number
 * and counts as the same one.
 */
export const countedAs = ({ CertName, Wish, NumberBefore = 0 }: CertificateRequest): string =>
  `${CertName}#${hashOfNames(Wish)}#${NumberBefore}`;

/** Why ACM is not asked for a certificate that it has. */
export const equalText = ({ CertificateArn, Status }: { CertificateArn: string; Status: string }): string =>
  `ACM has an exportable certificate with these names and this key algorithm already: ${CertificateArn} (${Status}). Register it with POST …/deployments, under a name that its tag CertName allows. Or delete it in ACM, if nobody needs it.`;

/** Why ACM is not asked for a certificate that another request asks for. @param holder the name of that request. */
export const heldText = (holder: string): string =>
  `The request of the name ${holder} asks ACM for a certificate with these names and this key algorithm. Look at GET /certificates/${holder}. When that request is done, register its certificate with POST …/deployments, under a name that its tag CertName allows.`;

/** The number of the next request of a name. @param last that of the one before. */
export const nextRequestNumber = (last: number | undefined, now: Date): number =>
  Math.max((last ?? 0) + 1, Math.floor(now.getTime() / 1000));

/** Characters of the SHA-256 in names: enough that two texts never meet. */
const HASH_LENGTH = 24;

const hashOf = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, HASH_LENGTH);

/** Name of an execution: a repeated start gets the same one. The characters of a CertName are not all allowed there. */
export function requestExecutionName({
  CertName,
  RequestNumber,
  Executions = 1,
}: Pick<CertificateRequest, 'CertName' | 'RequestNumber' | 'Executions'>): string {
  const continued = Executions > 1 ? `-${Executions}` : '';
  return `request-${hashOf(CertName)}-${RequestNumber}${continued}`;
}

/** ARN of the execution that works on a request. */
export const requestExecutionArn = (
  stateMachineArn: string,
  request: Parameters<typeof requestExecutionName>[0],
): string => `${stateMachineArn.replace(':stateMachine:', ':execution:')}:${requestExecutionName(request)}`;

/** ACM takes up to 32 letters, digits and underscores (API reference, RequestCertificate). */
const TOKEN_LENGTH = 32;

/** By the token ACM knows a repeated call for an hour: it issues, and charges for, one certificate. */
export const idempotencyToken = ({ CertName, RequestNumber }: RequestInput): string =>
  createHash('sha256').update(`${CertName}#${RequestNumber}`).digest('hex').slice(0, TOKEN_LENGTH);
