import { isDeepStrictEqual } from 'node:util';
import { describeValidation } from '../certificates/describe-certificate.ts';
import { missingRecords } from '../dns/missing-records.ts';
import { type Deployment, timestamp } from '../domain/deployment.ts';
import { wasTold } from '../domain/notification.ts';
import {
  isHourOfRecords,
  isLost,
  type LostRecord,
  type RecordFinding,
  recordsAlert,
} from '../domain/validation-records.ts';
import { inParallel } from '../runtime/in-parallel.ts';
import { rateLimit } from '../runtime/rate-limit.ts';
import { guarded, type Pass, type ReconcileDeps } from './pass.ts';

/** As for the comparison of certificates, which is over by then. */
const CERTIFICATES_PER_SECOND = 5;
/** Certificates whose records are asked for side by side. */
const CERTIFICATES_AT_ONCE = 4;
/** The inventory keeps them in one item, and one takes 400 KB. What comes beyond is found when others are mended. */
const MOST_FINDINGS = 100;

/**
 * Tells people, once a day and in one message, of validation records that public DNS does not answer any more: ACM would not
 * renew the certificates. Each certificate is looked at in one hour of the day, and each hour while a record is missing.
 */
export async function lookAtRecords(fleet: Deployment[], pass: Pass, deps: ReconcileDeps): Promise<void> {
  const before = await deps.inventory.recordFindings.get();
  const known = new Map(before.map((finding) => [finding.CertificateArn, finding]));
  const certificates = Map.groupBy(fleet, ({ CertificateArn }) => CertificateArn);
  const after = new Map(before.filter((found) => certificates.has(found.CertificateArn)).map(entryOf));
  const due = [...certificates.keys()].filter((arn) => known.has(arn) || isHourOfRecords(arn, deps.now()));
  const limit = rateLimit(CERTIFICATES_PER_SECOND, deps);
  const seen: RecordFinding[] = [];
  await inParallel(due, CERTIFICATES_AT_ONCE, (arn) =>
    guarded(pass, `the validation records of ${arn}`, async () => {
      await limit();
      const { finding, lost } = await lookAt(arn, known.get(arn), deps);
      after.delete(arn);
      if (finding) {
        after.set(arn, finding);
        seen.push({ ...finding, Records: lost });
      }
    }),
  );
  const untold = seen.filter(({ Records, ToldAt }) => Records.length > 0 && !wasTold(ToldAt, deps.now()));
  const [first] = untold;
  if (first) {
    const found = untold.map(({ CertificateArn, Records }) => ({
      certificateArn: CertificateArn,
      deployments: certificates.get(CertificateArn) ?? [],
      records: Records,
    }));
    await deps.notify(`records#${first.CertificateArn}`, recordsAlert(found));
    pass.Notified += 1;
    for (const { CertificateArn } of untold) {
      const finding = after.get(CertificateArn) as RecordFinding;
      after.set(CertificateArn, { ...finding, ToldAt: timestamp(deps.now()) });
    }
  }
  const findings = [...after.values()].slice(0, MOST_FINDINGS);
  if (!isDeepStrictEqual(findings, before)) {
    await deps.inventory.recordFindings.note(findings);
  }
}

const entryOf = (finding: RecordFinding) => [finding.CertificateArn, finding] as const;

/**
 * @returns what is to be remembered, and those of the records that this look and one before have found missing. Of a record
 *   that a name server does not answer now is remembered what was known.
 */
async function lookAt(
  CertificateArn: string,
  before: RecordFinding | undefined,
  { acm, resolver, now }: ReconcileDeps,
): Promise<{ finding?: RecordFinding; lost: LostRecord[] }> {
  const records = await describeValidation(acm, CertificateArn);
  const { missing, unknown } = await missingRecords(records, resolver);
  const known = new Map(before?.Records.map((record) => [record.Name, record]));
  const found = missing.map(
    ({ Name, Value, Found }): LostRecord => ({
      Name,
      Value,
      ...(Found ? { Found } : {}),
      Since: known.get(Name)?.Since ?? timestamp(now()),
    }),
  );
  const kept = unknown.flatMap(({ Name }) => known.get(Name) ?? []);
  const Records = [...found, ...kept];
  if (Records.length === 0) {
    return { lost: [] };
  }
  const { ToldAt } = before ?? {};
  return {
    finding: { CertificateArn, Records, ...(ToldAt ? { ToldAt } : {}) },
    lost: found.filter((record) => isLost(record, now())),
  };
}
