import { createHash } from 'node:crypto';
import type { ValidationRecord } from './certificate-request.ts';
import type { Deployment } from './deployment.ts';
import { DAILY, type Notification, placesOf, SUBJECTS } from './notification.ts';

/** What ACM's description of a certificate says of the validation of a name. */
export interface DomainValidation {
  DomainName?: string | undefined;
  ValidationMethod?: string | undefined;
  ResourceRecord?: { Name?: string | undefined; Value?: string | undefined } | undefined;
}

/**
 * The records with which ACM validates the names of a certificate, each once; none of another method than DNS. `*.x` and `x`
 * share one (ACM user guide, "DNS validation").
 */
export function validationRecordsFrom(validations: readonly DomainValidation[]): ValidationRecord[] {
  const records = new Map<string, ValidationRecord>();
  for (const { DomainName = '', ValidationMethod, ResourceRecord } of validations) {
    const { Name, Value } = ResourceRecord ?? {};
    if (ValidationMethod === 'DNS' && Name && Value) {
      const { DomainNames } = records.get(Name) ?? { DomainNames: [] };
      records.set(Name, { Name, Type: 'CNAME', Value, DomainNames: [...DomainNames, DomainName] });
    }
  }
  return [...records.values()];
}

/** A record that public DNS does not answer any more. */
export interface LostRecord {
  Name: string;
  Value: string;
  /** What it answers in its place; absent where it has nothing. */
  Found?: string;
  /** When a look found it missing first. ISO 8601. */
  Since: string;
}

/** What looks found of the records of one certificate. */
export interface RecordFinding {
  CertificateArn: string;
  Records: LostRecord[];
  /** When people were told last. ISO 8601. */
  ToldAt?: string;
}

const HOUR_MS = 3_600_000;

/** Each certificate has one hour of the day in which its records are looked at: every look is a call of ACM, and one of DNS a record. */
export function isHourOfRecords(certificateArn: string, now: Date): boolean {
  const hash = createHash('sha256').update(certificateArn).digest();
  return hash.readUInt16BE() % 24 === Math.floor(now.getTime() / HOUR_MS) % 24;
}

/**
 * Two looks have to find it: an hour lies between them, and a sweep that is repeated within minutes is one look. Resolvers may
 * keep for some minutes that there is no such record, and a person may be moving a zone.
 */
const SEEN_TWICE_MS = HOUR_MS / 2;

export const isLost = ({ Since }: LostRecord, now: Date): boolean =>
  now.getTime() - Date.parse(Since) >= SEEN_TWICE_MS;

/** What a person is told of at once. More are found one after the other. */
const MOST = 10;

/** What is told of one certificate. */
export interface LostOf {
  certificateArn: string;
  deployments: readonly Deployment[];
  records: readonly LostRecord[];
}

/** The message that records are missing, the one first that is missing for the longest time. */
export function recordsAlert(found: readonly LostOf[]): Notification {
  const since = (of: LostOf) => of.records.map(({ Since }) => Since).sort()[0] ?? '';
  const sorted = found.toSorted((a, b) => (since(a) < since(b) ? -1 : 1));
  const [first] = sorted as [LostOf];
  const named = sorted
    .flatMap(({ certificateArn, records }) => records.map((record) => ({ certificateArn, ...record })))
    .slice(0, MOST)
    .map(
      ({ certificateArn, Name, Value, Found }) =>
        `CNAME ${Name} with the value ${Value}, of ${certificateArn} (public DNS has ${Found ?? 'no such record'})`,
    );
  const deployments = sorted.flatMap((of) => of.deployments);
  return {
    Subject: SUBJECTS.record(deployments[0] as Deployment, found.length - 1),
    What:
      'Public DNS does not answer a record with which ACM validates a certificate. Servers still serve what they have, but ' +
      'ACM renews a certificate only while it finds its records. Missing: ' +
      `${named.join('; ')}.`,
    Where: placesOf(deployments),
    Since: since(first),
    WhatToDo:
      'Create the record again, in the zone that public DNS asks for the name. If the name is not needed any more, request a ' +
      `certificate without it, and POST the deployments with its ARN (docs/operations.md, "Another certificate"). ${DAILY}`,
  };
}
