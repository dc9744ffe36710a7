import type { ACMClient } from '@aws-sdk/client-acm';
import { describeRequested } from '../certificates/describe-requested.ts';
import { type ZoneOfName, zoneFinder } from '../dns/find-zones.ts';
import type { PublicResolver } from '../dns/resolver.ts';
import type { DnsSessions } from '../dns/session.ts';
import { isInSync, type RecordSet, recordsAt, writeRecords } from '../dns/zones.ts';
import { isCertificateOf, type Place } from '../domain/certificate.ts';
import type { ValidationRecord, WrittenRecord } from '../domain/certificate-request.ts';
import { timestamp } from '../domain/deployment.ts';
import { baseOf, plainName } from '../domain/domain-names.ts';
import { isDenial, isNamed } from '../domain/errors.ts';
import { waitOf } from '../domain/next-of-request.ts';
import { asSentence } from '../domain/notification.ts';
import { type RequestRule, refusalOf } from '../domain/request-rules.ts';
import type { CertificateRequests } from '../inventory/certificate-requests.ts';
import { inParallel } from '../runtime/in-parallel.ts';
import { logger } from '../runtime/observability.ts';

/** What the state machine hands on. */
export interface WriteValidationRecordsInput {
  CertName: string;
  RequestNumber: number;
}

export interface WriteValidationRecordsDeps {
  requests: Pick<CertificateRequests, 'get' | 'noteRecords'>;
  acm: ACMClient;
  /** The account and Region of this stack, in which it requests certificates. */
  place: Place;
  requestRules: readonly RequestRule[];
  resolver: PublicResolver;
  /** Sessions in the accounts of the zones, for one request. */
  sessionsFor: (certName: string) => DnsSessions;
  now: () => Date;
}

/** Seconds to the next look of the state machine. */
export interface WriteValidationRecordsOutput extends WriteValidationRecordsInput {
  WaitSeconds: number;
}

/** Changes of Route 53 reach all its servers within 60 seconds as a rule (API reference, ChangeResourceRecordSets). */
const WAIT_WHILE_PENDING = 10;
/** Ten times that rule. What takes longer is asked for as seldom as everything else. */
const PENDING_MS = 10 * 60_000;
/**
 * ACM looks for the records from time to time, and a person needs a while to correct something. This and the pauses that grow
 * keep 72 hours of tries, at 14 events each, below the 25,000 events of an execution (Step Functions, "Quotas").
 */
const WAIT = 30;
/** Of the 180 seconds that the function has. The rest is for a call that has begun, and for noting what was done. */
const MOST_MS = 150_000;
/** Each is 9 seconds in public DNS where its servers are silent. The calls of Route 53 wait for their turns anyway. */
const RECORDS_AT_ONCE = 25;
/** More reasons than a person reads. */
const MOST_REASONS = 5;

/** All records of ACM lead there (User Guide, "DNS validation"). IAM cannot see the value of a record, so this is looked at here. */
const TARGETS = '.acm-validations.aws';

/** A record, and what was found out about it: a reason, or what its zone has there. */
interface Look {
  record: ValidationRecord;
  zone?: ZoneOfName;
  state?: 'absent' | 'present';
  reason?: string;
}

/**
 * Writes the records with which ACM validates the names of a request, each once, into the hosted zones whose servers public
 * DNS asks. What is there already is not written again, and another value is not overwritten.
 *
 * Most functions may write the inventory. So what to write is not taken from there: ACM of this account names the records,
 * and the rules of this function's own stack say for which domains.
 *
 * What only a person can change is noted on the request, which goes on waiting: ACM looks for the records for 72 hours. So is
 * what there was no time for.
 *
 * @throws the throttling errors of ACM, Route 53, STS and DynamoDB. What was written by then is noted.
 */
export async function writeValidationRecords(
  { CertName, RequestNumber }: WriteValidationRecordsInput,
  deps: WriteValidationRecordsDeps,
): Promise<WriteValidationRecordsOutput> {
  const output = { CertName, RequestNumber };
  const request = await deps.requests.get(CertName);
  const isOpen = request?.Status === 'ASKING' || request?.Status === 'VALIDATING';
  if (!isOpen || request.RequestNumber !== RequestNumber || !request.CertificateArn) {
    return { ...output, WaitSeconds: WAIT };
  }
  const named = await recordsOf(request.CertificateArn, deps);
  if (named === 'none') {
    // As request-certificate has noted it.
    return { ...output, WaitSeconds: waitOf(request, deps.now()) };
  }
  const isForeign = named === 'foreign';
  const failures = isForeign ? [foreignText(request.CertificateArn, deps.place)] : [];
  const Written = { ...request.Written };
  const note = (more: { NextLookAt?: string } = {}) =>
    deps.requests.noteRecords(CertName, RequestNumber, {
      Written,
      WritingFailure:
        failures.length > 0 ? [...new Set(failures)].slice(0, MOST_REASONS).join(' ') : undefined,
      ...more,
    });
  try {
    await writeAll(CertName, isForeign ? [] : named, { written: Written, failures, note }, deps);
  } catch (error) {
    // Otherwise the next try would find its own records there, and not know when Route 53 has them everywhere.
    await note();
    throw error;
  }
  const now = deps.now();
  const isPending = Object.values(Written).some(
    ({ At, InSyncAt }) => InSyncAt === undefined && now.getTime() - Date.parse(At) < PENDING_MS,
  );
  const WaitSeconds = isPending ? WAIT_WHILE_PENDING : Math.max(WAIT, waitOf(request, now));
  await note({ NextLookAt: timestamp(new Date(now.getTime() + WaitSeconds * 1000)) });
  return { ...output, WaitSeconds };
}

/** The records that ACM wants now; `none` where it does not know the certificate, or waits for nothing. */
async function recordsOf(
  arn: string,
  { acm, place }: WriteValidationRecordsDeps,
): Promise<ValidationRecord[] | 'none' | 'foreign'> {
  if (!isCertificateOf(arn, place)) {
    return 'foreign';
  }
  const certificate = await describeRequested(acm, arn);
  const isWaiting = certificate !== 'gone' && certificate.Status === 'PENDING_VALIDATION';
  return isWaiting && certificate.Records.length > 0 ? certificate.Records : 'none';
}

/** Most characters of an ARN that is shown: it may be any text. */
const MOST_OF_ARN = 200;

function foreignText(arn: string, { account, region }: Place): string {
  const shown = arn.slice(0, MOST_OF_ARN);
  logger.warn('The request names a certificate that this stack cannot have requested', {
    CertificateArn: shown,
  });
  return (
    `The request names ${shown}, which is no certificate of account ${account} in ${region}. acm-export did not request ` +
    'it, so no record was written. A function or a person has changed the inventory. docs/security.md says what to do ' +
    '("When a function that requests is taken over").'
  );
}

interface Progress {
  /** Gets what was written. */
  written: Record<string, WrittenRecord>;
  /** Gets why something was not. */
  failures: string[];
  /** Notes both. */
  note: () => Promise<unknown>;
}

/** @throws the first error that is for the state machine to repeat, when the rest is done. */
async function writeAll(
  certName: string,
  records: readonly ValidationRecord[],
  { written, failures, note }: Progress,
  deps: WriteValidationRecordsDeps,
): Promise<void> {
  const sessions = deps.sessionsFor(certName);
  const until = deps.now().getTime() + MOST_MS;
  const isLate = () => deps.now().getTime() >= until;
  const thrown: unknown[] = [];
  /** @returns why a person must change something. */
  const guarded = async (work: () => Promise<unknown>): Promise<string | undefined> => {
    try {
      await work();
    } catch (error) {
      const reason = failureOf(error);
      if (reason === undefined) {
        thrown.push(error);
      }
      return reason;
    }
    return undefined;
  };
  for (const [changeId, names] of pendingOf(written)) {
    const reason = isLate()
      ? undefined
      : await guarded(() => askForSync(changeId, names, written, sessions, deps));
    failures.push(...(reason ? [reason] : []));
  }
  const findZone = zoneFinder({ ...sessions, resolver: deps.resolver });
  const left: ValidationRecord[] = [];
  const missing = records.filter(({ Name }) => !written[Name]);
  for (let from = 0; from < missing.length; from += RECORDS_AT_ONCE) {
    const looks: Look[] = missing.slice(from, from + RECORDS_AT_ONCE).map((record) => ({ record }));
    await inParallel(looks, RECORDS_AT_ONCE, async (look) => {
      const reason = await guarded(() => lookAt(look, { certName, findZone, sessions, isLate }, deps));
      if (reason !== undefined) {
        look.reason = reason;
      }
    });
    for (const { record, zone, state, reason } of looks) {
      if (reason !== undefined) {
        failures.push(reason);
      } else if (zone && state === 'present') {
        written[record.Name] = { ...placeOf(zone), ...times(deps) };
      } else if (state === undefined && isLate()) {
        left.push(record);
      }
    }
    for (const batch of batchesOf(looks)) {
      if (isLate()) {
        left.push(...batch.map(({ record }) => record));
        continue;
      }
      const reason = await guarded(() => writeBatch(batch, written, sessions, deps));
      failures.push(...(reason ? [reason] : []));
      // What the function does not live to note would be looked for again.
      await note();
    }
  }
  if (left.length > 0) {
    failures.unshift(leftText(left));
  }
  if (thrown.length > 0) {
    throw thrown[0];
  }
}

interface LookDeps {
  certName: string;
  findZone: ReturnType<typeof zoneFinder>;
  sessions: DnsSessions;
  isLate: () => boolean;
}

/** Finds out about a record, unless no time is left for it. */
async function lookAt(
  look: Look,
  { certName, findZone, sessions, isLate }: LookDeps,
  { requestRules }: WriteValidationRecordsDeps,
): Promise<void> {
  const { record } = look;
  if (isLate()) {
    return;
  }
  const refusal = isOfAcm(record)
    ? refusalOf(requestRules, certName, record)
    : `${record.Name} does not look like a record of ACM: it was not written.`;
  const { zone, reason } = refusal ? { reason: refusal } : await zoneOf(record, findZone);
  if (!zone) {
    look.reason = reason ?? '';
  } else if (!isLate()) {
    Object.assign(look, { zone }, await stateOf(record, zone, sessions));
  }
}

type Found = Look & { zone: ZoneOfName };

/** The records that are not there, by zone. */
function batchesOf(looks: readonly Look[]): Found[][] {
  const absent = looks.filter((look): look is Found => look.state === 'absent');
  return [...Map.groupBy(absent, ({ zone }) => `${zone.Account}/${zone.HostedZoneId}`).values()];
}

async function writeBatch(
  batch: readonly Found[],
  written: Record<string, WrittenRecord>,
  sessions: DnsSessions,
  deps: WriteValidationRecordsDeps,
): Promise<void> {
  const [{ zone } = { zone: undefined }] = batch;
  if (!zone) {
    return;
  }
  const route53 = await sessions.openForWriting(zone);
  const records = batch.map(({ record }) => record);
  const ChangeId = await writeRecords(route53, zone.HostedZoneId, records);
  for (const { Name } of records) {
    written[Name] = { ...placeOf(zone), At: timestamp(deps.now()), ChangeId };
  }
}

function leftText(left: readonly ValidationRecord[]): string {
  const names = left.flatMap(({ DomainNames: [name = ''] }) => name);
  const more = names.length - MOST_REASONS;
  return (
    `No time was left for ${names.slice(0, MOST_REASONS).join(', ')}${more > 0 ? ` and ${more} more` : ''}: public DNS or ` +
    'Route 53 answers slowly. acm-export goes on with them at its next try.'
  );
}

const placeOf = ({ HostedZoneId, Account }: ZoneOfName) => ({ HostedZoneId, Account });

const times = (deps: Pick<WriteValidationRecordsDeps, 'now'>) => {
  const now = timestamp(deps.now());
  return { At: now, InSyncAt: now };
};

/** The names of records by the change that is not known to be everywhere. */
function pendingOf(written: Record<string, WrittenRecord>): Map<string, string[]> {
  const pending = Object.entries(written).flatMap(([name, { ChangeId, InSyncAt }]) =>
    ChangeId && !InSyncAt ? [{ name, ChangeId }] : [],
  );
  const byChange = Map.groupBy(pending, ({ ChangeId }) => ChangeId);
  return new Map([...byChange].map(([id, all]) => [id, all.map(({ name }) => name)]));
}

async function askForSync(
  changeId: string,
  names: readonly string[],
  written: Record<string, WrittenRecord>,
  { openZones }: DnsSessions,
  deps: WriteValidationRecordsDeps,
): Promise<void> {
  const [first = ''] = names;
  const route53 = await openZones(written[first]?.Account ?? '');
  try {
    if (await isInSync(route53, changeId)) {
      for (const name of names) {
        written[name] = { ...(written[name] as WrittenRecord), InSyncAt: timestamp(deps.now()) };
      }
    }
  } catch (error) {
    if (!isNamed(error, 'NoSuchChange')) {
      throw error;
    }
    // How long Route 53 knows a change is not documented. The records are looked at again.
    for (const name of names) {
      delete written[name];
    }
  }
}

/** `_<label>.<one of its names>`, to a target of ACM: IAM sees no targets, so nothing else is written. */
function isOfAcm({ Name, Value, DomainNames }: ValidationRecord): boolean {
  const [, label = '', rest = ''] = /^(_[a-z0-9]{1,62})\.(.+)$/.exec(plainName(Name)) ?? [];
  return (
    label !== '' && DomainNames.some((name) => baseOf(name) === rest) && plainName(Value).endsWith(TARGETS)
  );
}

async function zoneOf(
  { DomainNames: [name = ''] }: ValidationRecord,
  findZone: ReturnType<typeof zoneFinder>,
): Promise<{ zone?: ZoneOfName; reason?: string }> {
  const { zone, fault, warning } = await findZone(name);
  return zone ? { zone } : { reason: `${name}: ${fault ?? warning}` };
}

/** What the zone has at the name of a record: nothing else may be where a CNAME is (RFC 1034, 3.6.2). */
async function stateOf(
  { Name, Value }: ValidationRecord,
  zone: ZoneOfName,
  { openZones }: DnsSessions,
): Promise<Pick<Look, 'state' | 'reason'>> {
  const route53 = await openZones(zone.Account);
  const found = await recordsAt(route53, zone.HostedZoneId, plainName(Name));
  const [only, another] = found;
  if (!only) {
    return { state: 'absent' };
  }
  // Of several sets ACM may get any one, now and at each renewal.
  const isAlone = !another && !only.isRouted && !only.isAlias;
  if (isAlone && only.Type === 'CNAME' && only.Values.length === 1 && only.Values[0] === plainName(Value)) {
    return { state: 'present' };
  }
  return {
    reason:
      `The hosted zone ${zone.HostedZoneId} of account ${zone.Account} has another record at ${Name}: ` +
      `${found.map(shownSet).join('; ')}. It is not overwritten. If nobody needs it, delete it: ACM wants CNAME ${Value} there.`,
  };
}

const shownSet = ({ Type, Values, isAlias, isRouted }: RecordSet) =>
  [`${Type}${isAlias ? ' (alias)' : ''}`, ...(Values.length > 0 ? [Values.join(', ')] : [])].join(' ') +
  (isRouted ? ' (for some who ask: it has a routing policy)' : '');

/** Why a person must change something; undefined for what passes by itself, and what is a fault of this system. */
function failureOf(error: unknown): string | undefined {
  if (isNamed(error, 'TargetAccessDenied')) {
    return error.message;
  }
  if (isDenial(error)) {
    return (
      'The role of dns-account.yaml refuses a call. Check that it names the zone in HostedZoneArns and is as new as this ' +
      `stack. AWS says: ${asSentence(error.message)}`
    );
  }
  if (isNamed(error, 'InvalidChangeBatch', 'InvalidInput', 'NoSuchHostedZone')) {
    return `Route 53 refuses a record. AWS says: ${asSentence(error.message)}`;
  }
  return undefined;
}
