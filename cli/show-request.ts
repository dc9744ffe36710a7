import type { RecordState, RequestState } from './answers.ts';
import type { Output } from './output.ts';
import { says } from './show.ts';
import { plain } from './table.ts';
import { distanceOf } from './time.ts';

/** All that there is to know of a certificate request, for people. */
export function showRequest(out: Output, one: RequestState, now: Date): void {
  const { Deployments = [], Tags, Zones = [], NextAttemptAt: next } = one;
  const fields: [string, string | undefined][] = [
    ['Name', one.CertName],
    ['Status', one.Status],
    ['Reason', one.Reason],
    ['Error', one.Error],
    ['Next look', next && `${next} (${distanceOf(next, now)})`],
    ['Certificate', one.CertificateArn],
    ['Domain names', one.DomainNames.join('\n')],
    ['Key algorithm', one.KeyAlgorithm],
    [
      'Tags',
      Object.entries(Tags)
        .map(([key, value]) => `${key}=${value}`)
        .join('\n'),
    ],
    ['Deployments', Deployments.map((deployment) => targetOf(one.CertName, deployment)).join('\n')],
    ['Zones', Zones.map((zone) => `${zone.DomainName}: ${zone.HostedZoneId} of ${zone.Account}`).join('\n')],
    ['Requested at', one.CreatedAt],
  ];
  for (const [title, text] of fields) says(out, title, text);
  showRecords(out, one.Records ?? []);
}

function targetOf(certName: string, one: NonNullable<RequestState['Deployments']>[number]): string {
  const { TargetTagKey: key, TargetTagValue: value, TargetAccount, TargetRegion } = one;
  return `${certName}/${key}=${value} in ${TargetAccount} ${TargetRegion}  ${one.DeploymentId.slice(0, 8)}`;
}

/** The records that ACM asks for, as lines that a person can paste into the file of a zone as they stand. */
export function showRecords(out: Output, records: RecordState[]): void {
  if (records.length === 0) return;
  out.line();
  // One line each, whatever a name holds: a line end would end the comment.
  for (const line of zoneLinesOf(records)) out.line(plain(line));
  out.line();
  out.paragraph('Leave these records there. ACM needs them again for each renewal.');
}

/**
 * Each record as a line of a zone file, below a comment that says what was done about it (RFC 1035, section 5.1). It has no
 * TTL, so that of the zone holds.
 */
export function zoneLinesOf(records: RecordState[]): string[] {
  return records.flatMap((record) => [
    `; ${record.DomainNames.join(', ')}: ${placeOf(record)}`,
    `${absolute(record.Name)} IN ${record.Type} ${absolute(record.Value)}`,
  ]);
}

/** Where a record was written, as a part of a sentence. */
export function placeOf({ HostedZoneId, Account, WrittenAt, InSyncAt }: RecordState): string {
  if (!HostedZoneId) return 'acm-export has not written it';
  const zone = `zone ${HostedZoneId} of ${Account}`;
  if (!WrittenAt) return `acm-export has not written it to ${zone} yet`;
  return InSyncAt
    ? `in ${zone}, on all its name servers since ${InSyncAt}`
    : `written to ${zone} at ${WrittenAt}`;
}

/** A name without a dot at its end would get the name of the zone behind it. */
const absolute = (name: string): string => (name.endsWith('.') ? name : `${name}.`);
