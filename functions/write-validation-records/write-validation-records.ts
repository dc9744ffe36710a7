import type { ACMClient } from '@aws-sdk/client-acm';
import { describeRequested } from '../certificates/describe-requested.ts';
import { type ZoneOfName, zoneFinder } from '../dns/find-zones.ts';
import type { PublicResolver } from '../dns/resolver.ts';
import type { DnsSessions } from '../dns/session.ts';
import { isInSync, recordsAt, writeRecords } from '../dns/zones.ts';
import { isCertificateOf, type Place } from '../domain/certificate.ts';
import type { ValidationRecord, WrittenRecord } from '../domain/certificate-request.ts';
import { timestamp } from '../domain/deployment.ts';
import { baseOf, plainName } from '../domain/domain-names.ts';
import { isDenial, isNamed } from '../domain/errors.ts';
import { asSentence } from '../domain/notification.ts';
import { type RequestRule, refusalOf } from '../domain/request-rules.ts';
import type { CertificateRequests } from '../inventory/certificate-requests.ts';
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
/** ACM looks for the records from time to time, and a person needs a while to correct something. */
const WAIT = 30;
/** More reasons than a person reads. */
const MOST_REASONS = 5;

/** All records of ACM lead there (User Guide, "DNS validation"). IAM cannot see the value of a record, so this is looked at here. */
const TARGETS = '.acm-validations.aws';

/** Records of one zone. */
interface Batch {
  zone: ZoneOfName;
  records: ValidationRecord[];
}

/**
 * Writes the records with which ACM validates the names of a request, each once, into the hosted zones whose servers public
 * DNS asks. What is there already is not written again, and another value is not overwritten.
 *
 * Most functions may write the inventory. So what to write is not taken from there: ACM of this account names the records,
 * and the rules of this function's own stack say for which domains.
 *
 * What only a person can change is noted on the request, which goes on waiting: ACM looks for the records for 72 hours.
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
    return { ...output, WaitSeconds: WAIT };
  }
  const isForeign = named === 'foreign';
  const failures = isForeign ? [foreignText(request.CertificateArn, deps.place)] : [];
  const Written = { ...request.Written };
  const note = () =>
    deps.requests.noteRecords(CertName, RequestNumber, {
      Written,
      WritingFailure:
        failures.length > 0 ? [...new Set(failures)].slice(0, MOST_REASONS).join(' ') : undefined,
    });
  try {
    await writeAll(CertName, isForeign ? [] : named, Written, failures, deps);
  } catch (error) {
    // Otherwise the next try would find its own records there, and not know when Route 53 has them everywhere.
    await note();
    throw error;
  }
  await note();
  const isPending = Object.values(Written).some(({ InSyncAt }) => InSyncAt === undefined);
  return { ...output, WaitSeconds: isPending ? WAIT_WHILE_PENDING : WAIT };
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

/** @param written gets what was written, @param failures why something was not. */
async function writeAll(
  certName: string,
  records: readonly ValidationRecord[],
  written: Record<string, WrittenRecord>,
  failures: string[],
  deps: WriteValidationRecordsDeps,
): Promise<void> {
  const sessions = deps.sessionsFor(certName);
  const guarded = async (work: () => Promise<void>) => {
    try {
      await work();
    } catch (error) {
      failures.push(failureOf(error));
    }
  };
  for (const [changeId, names] of pendingOf(written)) {
    await guarded(() => askForSync(changeId, names, written, sessions, deps));
  }
  const findZone = zoneFinder({ ...sessions, resolver: deps.resolver });
  const batches = new Map<string, Batch>();
  // One after the other: Route 53 takes five requests a second of an account.
  for (const record of records.filter(({ Name }) => !written[Name])) {
    await guarded(async () => {
      const refusal = isOfAcm(record)
        ? refusalOf(deps.requestRules, certName, record)
        : `${record.Name} does not look like a record of ACM: it was not written.`;
      const { zone, reason } = refusal ? { reason: refusal } : await zoneOf(record, findZone);
      if (!zone) {
        failures.push(reason ?? '');
        return;
      }
      const state = await stateOf(record, zone, sessions);
      if (state === 'absent') {
        const key = `${zone.Account}/${zone.HostedZoneId}`;
        batches.set(key, { zone, records: [...(batches.get(key)?.records ?? []), record] });
      } else if (state === 'present') {
        written[record.Name] = { ...placeOf(zone), ...times(deps) };
      } else {
        failures.push(state.conflict);
      }
    });
  }
  for (const { zone, records: absent } of batches.values()) {
    await guarded(async () => {
      const route53 = await sessions.openForWriting(zone);
      const ChangeId = await writeRecords(route53, zone.HostedZoneId, absent);
      for (const { Name } of absent) {
        written[Name] = { ...placeOf(zone), At: timestamp(deps.now()), ChangeId };
      }
    });
  }
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

/** `_<label>.<one of its names>`, to a target of ACM: IAM sees no targets, so nothing else is written whoever names it. */
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
): Promise<'absent' | 'present' | { conflict: string }> {
  const route53 = await openZones(zone.Account);
  const [found] = await recordsAt(route53, zone.HostedZoneId, plainName(Name));
  if (!found) {
    return 'absent';
  }
  if (found.Type === 'CNAME' && found.Values.length === 1 && found.Values[0] === plainName(Value)) {
    return 'present';
  }
  return {
    conflict:
      `The hosted zone ${zone.HostedZoneId} of account ${zone.Account} has another record at ${Name}: ${found.Type} ` +
      `${found.Values.join(', ')}. It is not overwritten. If nobody needs it, delete it: ACM wants CNAME ${Value} there.`,
  };
}

/**
 * Why a person must change something.
 *
 * @throws what passes by itself, and what is a fault of this system.
 */
function failureOf(error: unknown): string {
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
  throw error;
}
