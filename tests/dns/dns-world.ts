import { ChangeResourceRecordSetsCommand, Route53Client, type RRType } from '@aws-sdk/client-route-53';
import { type Cloud, VirtualClock } from 'local-cloud';
import type { FindZonesDeps } from '../../functions/dns/find-zones.ts';
import { publicResolver } from '../../functions/dns/resolver.ts';
import { createCloud } from '../../local/cloud.ts';

export const ACCOUNT = '111122223333';
export const OTHER = '444455556666';
const REGION = 'eu-central-1';
const ADMINISTRATOR = [{ Statement: { Effect: 'Allow' as const, Action: '*', Resource: '*' } }];

/** Two accounts with hosted zones, and public DNS. Each test has domains of its own there. */
export class DnsWorld {
  readonly cloud: Cloud;
  readonly #clients = new Map<string, Route53Client>();

  static async create(): Promise<DnsWorld> {
    return new DnsWorld(
      await createCloud({ clock: new VirtualClock('2026-11-24T10:30:00Z'), quotas: false }),
    );
  }

  private constructor(cloud: Cloud) {
    this.cloud = cloud;
  }

  /** A client of an administrator of the account. */
  route53(account: string): Route53Client {
    const known = this.#clients.get(account);
    if (known) return known;
    const { credentials } = this.cloud.createUser(account, 'administrator', ADMINISTRATOR);
    const client = this.cloud.client(Route53Client, { region: REGION, credentials, maxAttempts: 1 });
    this.#clients.set(account, client);
    return client;
  }

  /** @param open what becomes of the opening of an account. */
  deps(accounts = [ACCOUNT, OTHER], open?: (account: string) => void): FindZonesDeps {
    return {
      resolver: publicResolver(this.cloud.publicDns.resolver),
      dnsAccounts: accounts,
      openZones: async (account) => {
        open?.(account);
        return this.route53(account);
      },
    };
  }

  /** A zone that the registrar, or the zone above, delegates to. */
  zone(account: string, name: string) {
    const zone = this.undelegated(account, name);
    this.cloud.publicDns.delegate(name, zone.nameServers);
    return zone;
  }

  undelegated(account: string, name: string, options: { private?: boolean; id?: string } = {}) {
    return this.cloud.services.route53.createZone(account, name, options);
  }

  /** A record set as a person makes it. It is everywhere at once. */
  async record(zone: { account: string; id: string }, name: string, type: RRType, ...values: string[]) {
    const ResourceRecords = values.map((Value) => ({ Value }));
    const ResourceRecordSet = { Name: name, Type: type, TTL: 300, ResourceRecords };
    await this.route53(zone.account).send(
      new ChangeResourceRecordSetsCommand({
        HostedZoneId: zone.id,
        ChangeBatch: { Changes: [{ Action: 'UPSERT', ResourceRecordSet }] },
      }),
    );
    (this.cloud.clock as VirtualClock).advance(60_000);
  }

  /** How often an operation of Route 53 was called for this domain since then, by all. */
  calls(operation: string, domain: string): number {
    return this.cloud.record.calls.filter(
      (call) => call.operation === `route53.${operation}` && JSON.stringify(call.input).includes(domain),
    ).length;
  }

  /** The call of an operation is denied once. */
  deny(operation: string, name = 'AccessDenied'): void {
    const error = { name, message: `not authorized to perform: route53:${operation}`, status: 403 };
    this.cloud.faults.inject({ operation: `route53.${operation}`, kind: 'refuse', error });
  }
}
