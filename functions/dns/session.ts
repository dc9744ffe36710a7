import { createHash } from 'node:crypto';
import type { Route53Client } from '@aws-sdk/client-route-53';
import { AssumeRoleCommand } from '@aws-sdk/client-sts';
import { isDenial, TargetAccessDenied } from '../domain/errors.ts';
import type { Clients } from '../runtime/clients.ts';
import { listOf } from '../runtime/environment.ts';
import { type RateLimitDeps, rateLimit } from '../runtime/rate-limit.ts';
import { once } from './once.ts';

/** Opens the hosted zones of an account, to look. */
export type OpenZones = (account: string) => Promise<Route53Client>;

/** A hosted zone that is written to. */
export interface WritableZone {
  Account: string;
  HostedZoneId: string;
  /** The name of the zone. */
  RecordZone: string;
}

/** The accounts whose zones may be looked at and written to, and sessions there for one request. */
export interface DnsSessions {
  /** Empty: a person creates the records. */
  dnsAccounts: readonly string[];
  /** Opens each account once. */
  openZones: OpenZones;
  /** A session that can write records of ACM's form into one zone, and nothing else. */
  openForWriting: (zone: WritableZone) => Promise<Route53Client>;
}

/** What `dnsSessionsFrom` reads. */
export const DNS_VARIABLES = ['PREFIX', 'PARTITION', 'EXTERNAL_ID', 'AWS_REGION', 'DNS_ACCOUNTS'] as const;

/**
 * Calls a second. Route 53 takes five of an account, from everybody in it (Developer Guide, "Quotas"). A request of many names
 * would make them all at once.
 */
const CALLS_PER_SECOND = 3;

type Statements = { Effect: 'Allow'; Action: string[]; Resource: string; Condition?: object }[];

/**
 * Returns a function that gives the sessions for one request: of the role that dns-account.yaml makes.
 *
 * @param session.functionName the first part of the session's name, to which the role binds what it may do.
 * @param session.asksForChanges whether it asks how far its changes are.
 * @param session.maxAttempts attempts of each call in the account; the SDK's default unless given.
 */
export function dnsSessionsFrom(
  env: Record<(typeof DNS_VARIABLES)[number], string>,
  clients: Pick<Clients, 'route53' | 'sts'>,
  session: { functionName: string; asksForChanges?: boolean; maxAttempts?: number },
  clock: RateLimitDeps,
): (certName: string) => DnsSessions {
  const sts = clients.sts();
  // For all requests of this environment.
  const limitOf = once((_account) => rateLimit(CALLS_PER_SECOND, clock));
  const arn = (resource: string) => `arn:${env.PARTITION}:route53:::${resource}`;
  const zone = (id: string) => arn(`hostedzone/${id}`);
  const toLook: Statements = [
    // It has no resource level.
    { Effect: 'Allow', Action: ['route53:ListHostedZonesByName'], Resource: '*' },
    {
      Effect: 'Allow',
      Action: ['route53:GetHostedZone', 'route53:ListResourceRecordSets'],
      Resource: zone('*'),
    },
    ...(session.asksForChanges
      ? [{ Effect: 'Allow' as const, Action: ['route53:GetChange'], Resource: arn('change/*') }]
      : []),
  ];
  const toWrite = ({ HostedZoneId, RecordZone }: WritableZone): Statements => [
    {
      Effect: 'Allow',
      Action: ['route53:ChangeResourceRecordSets'],
      Resource: zone(HostedZoneId),
      // Without Null, a change that has none of these would fit: ForAllValues is true of nothing.
      Condition: {
        'ForAllValues:StringLike': {
          'route53:ChangeResourceRecordSetsNormalizedRecordNames': [`_*.${RecordZone}`],
        },
        'ForAllValues:StringEquals': {
          'route53:ChangeResourceRecordSetsRecordTypes': ['CNAME'],
          'route53:ChangeResourceRecordSetsActions': ['UPSERT'],
        },
        Null: {
          'route53:ChangeResourceRecordSetsNormalizedRecordNames': 'false',
          'route53:ChangeResourceRecordSetsRecordTypes': 'false',
          'route53:ChangeResourceRecordSetsActions': 'false',
        },
      },
    },
  ];
  const open = async (account: string, certName: string, Statement: Statements): Promise<Route53Client> => {
    const RoleArn = `arn:${env.PARTITION}:iam::${account}:role/${env.PREFIX}-validation-records-${env.AWS_REGION}`;
    const assumed = new AssumeRoleCommand({
      RoleArn,
      // A name may have 64 characters, and a CertName has as many: it is that of the request's executions.
      RoleSessionName: `${session.functionName}-${createHash('sha256').update(certName).digest('hex').slice(0, 24)}`,
      ExternalId: env.EXTERNAL_ID,
      // 15 minutes, the least that STS gives: longer than any function runs.
      DurationSeconds: 900,
      Policy: JSON.stringify({ Version: '2012-10-17', Statement }),
    });
    const { Credentials } = await sts.send(assumed).catch((error: unknown) => {
      throw isDenial(error) ? closed(RoleArn, account, error) : error;
    });
    const client = clients.route53({
      // Route 53 is one for all Regions of a partition: the SDK finds its endpoint by any of them.
      region: env.AWS_REGION,
      credentials: {
        accessKeyId: Credentials?.AccessKeyId ?? '',
        secretAccessKey: Credentials?.SecretAccessKey ?? '',
        sessionToken: Credentials?.SessionToken ?? '',
      },
      ...(session.maxAttempts ? { maxAttempts: session.maxAttempts } : {}),
    });
    return limited(client, limitOf(account));
  };
  return (certName) => {
    return {
      dnsAccounts: listOf(env.DNS_ACCOUNTS),
      openZones: once((account) => open(account, certName, toLook)),
      openForWriting: (written) => open(written.Account, certName, toWrite(written)),
    };
  };
}

/** The client, whose calls wait for their turn. */
function limited(client: Route53Client, turn: () => Promise<void>): Route53Client {
  const send = async (command: Parameters<Route53Client['send']>[0]) => {
    await turn();
    return client.send(command);
  };
  return Object.assign(Object.create(client), { send });
}

const closed = (roleArn: string, account: string, cause: Error) =>
  new TargetAccessDenied(
    `Cannot assume ${roleArn}. Check that dns-account.yaml is deployed in account ${account} with this stack's Prefix, ` +
      `ExternalId, CentralAccountId and CentralRegion. AWS says: ${cause.message}`,
    { cause },
  );
