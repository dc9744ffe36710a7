import {
  ChangeResourceRecordSetsCommand,
  GetChangeCommand,
  GetHostedZoneCommand,
  ListHostedZonesByNameCommand,
  ListResourceRecordSetsCommand,
  type Route53Client,
} from '@aws-sdk/client-route-53';
import { plainName } from '../domain/domain-names.ts';

/** Seconds. That of the records that ACM's own console creates. */
const TTL = 300;

/** A hosted zone of an account. */
export interface ListedZone {
  HostedZoneId: string;
  /** It answers inside of VPCs only. */
  isPrivate: boolean;
}

/** Records of one name and type; there may be several such sets, where each has a SetIdentifier. */
export interface RecordSet {
  Type: string;
  /** Empty for an alias. */
  Values: string[];
  /** Route 53 answers with what another record of AWS has then. */
  isAlias: boolean;
  /** Only some who ask get this set: Route 53 chooses by weight, place, health and the like. */
  isRouted: boolean;
}

/** A CNAME record. Names without a dot at their end. */
export interface CnameRecord {
  Name: string;
  Value: string;
}

/**
 * The hosted zones of exactly this name, of which there may be many private and public ones, and those below it that the same
 * pages have.
 *
 * ListHostedZonesByName begins with the name and goes on with others, in the order of labels from the last one: those below
 * the name come next.
 */
export async function zonesFrom(
  route53: Route53Client,
  name: string,
): Promise<{ same: ListedZone[]; below: (ListedZone & { Name: string })[] }> {
  const zones: (ListedZone & { Name: string })[] = [];
  let next: { DNSName?: string | undefined; HostedZoneId?: string | undefined } | undefined = {
    DNSName: name,
  };
  while (next) {
    const page: Awaited<ReturnType<typeof list>> = await list(route53, next);
    const { HostedZones = [], IsTruncated, NextDNSName, NextHostedZoneId } = page;
    zones.push(
      ...HostedZones.map(({ Id = '', Name = '', Config }) => ({
        Name: plainName(Name),
        HostedZoneId: idOf(Id),
        isPrivate: Config?.PrivateZone === true,
      })),
    );
    const goesOn = IsTruncated && plainName(NextDNSName ?? '') === name;
    next = goesOn ? { DNSName: NextDNSName, HostedZoneId: NextHostedZoneId } : undefined;
  }
  return {
    same: zones.filter(({ Name }) => Name === name),
    below: zones.filter(({ Name }) => Name.endsWith(`.${name}`)),
  };
}

const list = (
  route53: Route53Client,
  from: { DNSName?: string | undefined; HostedZoneId?: string | undefined },
) => route53.send(new ListHostedZonesByNameCommand(from));

/** The name servers that Route 53 gave a public zone. */
export async function nameServersOf(route53: Route53Client, Id: string): Promise<string[]> {
  const { DelegationSet } = await route53.send(new GetHostedZoneCommand({ Id }));
  return (DelegationSet?.NameServers ?? []).map(plainName);
}

/** All records of a name in a zone. A page has 300, and no name has as many. */
export async function recordsAt(
  route53: Route53Client,
  HostedZoneId: string,
  name: string,
): Promise<RecordSet[]> {
  const { ResourceRecordSets = [] } = await route53.send(
    new ListResourceRecordSetsCommand({ HostedZoneId, StartRecordName: name }),
  );
  return ResourceRecordSets.filter(({ Name = '' }) => plainName(Name) === name).map(
    ({ Type = '', ResourceRecords = [], AliasTarget, SetIdentifier }) => ({
      Type,
      Values: ResourceRecords.map(({ Value = '' }) => plainName(Value)),
      isAlias: AliasTarget !== undefined,
      isRouted: SetIdentifier !== undefined,
    }),
  );
}

/** Writes CNAME records into a zone, all or none. @returns the id of the change. */
export async function writeRecords(
  route53: Route53Client,
  HostedZoneId: string,
  records: readonly CnameRecord[],
): Promise<string> {
  const { ChangeInfo } = await route53.send(
    new ChangeResourceRecordSetsCommand({
      HostedZoneId,
      ChangeBatch: {
        Comment: 'Validation of a certificate of ACM',
        Changes: records.map(({ Name, Value }) => ({
          // The one action that the role allows. What is there already was looked at before.
          Action: 'UPSERT' as const,
          ResourceRecordSet: { Name, Type: 'CNAME' as const, TTL, ResourceRecords: [{ Value }] },
        })),
      },
    }),
  );
  return idOf(ChangeInfo?.Id ?? '');
}

/** Whether all name servers of Route 53 have a change. */
export async function isInSync(route53: Route53Client, Id: string): Promise<boolean> {
  const { ChangeInfo } = await route53.send(new GetChangeCommand({ Id }));
  return ChangeInfo?.Status === 'INSYNC';
}

/** `/hostedzone/Z1`, `/change/C1` */
const idOf = (path: string) => path.split('/').at(-1) ?? '';
