import { Resolver } from 'node:dns/promises';
import { ACMClient } from '@aws-sdk/client-acm';
import { DynamoDBClient, type DynamoDBClientConfig } from '@aws-sdk/client-dynamodb';
import { EventBridgeClient } from '@aws-sdk/client-eventbridge';
import { IAMClient } from '@aws-sdk/client-iam';
import { Route53Client } from '@aws-sdk/client-route-53';
import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { SFNClient } from '@aws-sdk/client-sfn';
import { SNSClient } from '@aws-sdk/client-sns';
import { SSMClient } from '@aws-sdk/client-ssm';
import { STSClient } from '@aws-sdk/client-sts';
import { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';

/** What functions set of a client's configuration. The rest is the SDK's default. */
export type ClientConfig = Pick<
  DynamoDBClientConfig,
  'region' | 'credentials' | 'maxAttempts' | 'retryStrategy'
>;

/** What functions ask of DNS. */
export type DnsClient = Pick<Resolver, 'resolveCaa' | 'resolveCname' | 'resolveNs'>;

/**
 * Milliseconds for the first try; c-ares doubles them for the second. A resolver that does not answer costs 4.5 seconds a
 * question then, and API Gateway waits 29 for all. Answers that are in no cache take some hundred milliseconds.
 */
const DNS_PATIENCE = { timeout: 1500, tries: 2 };

// One export for each client: the bundle of a function loads the clients that its handler names, and no others.
export const acm = (config: ClientConfig = {}) => new ACMClient(config);
/**
 * Asks the resolver of the environment: in Lambda, one that sees public DNS.
 *
 * Each question has a Resolver of its own: c-ares fails all that are under way on one when it cannot read an answer (EBADRESP).
 *
 * @param config.servers others than those of the environment.
 */
export function dns({ servers }: { servers?: readonly string[] } = {}): DnsClient {
  const one = () => {
    const resolver = new Resolver(DNS_PATIENCE);
    if (servers) {
      resolver.setServers(servers);
    }
    return resolver;
  };
  return {
    resolveCaa: (name) => one().resolveCaa(name),
    resolveCname: (name) => one().resolveCname(name),
    resolveNs: (name) => one().resolveNs(name),
  };
}
export const dynamodb = (config: ClientConfig = {}) => new DynamoDBClient(config);
export const documents = (config: ClientConfig = {}) =>
  DynamoDBDocumentClient.from(new DynamoDBClient(config), {
    marshallOptions: { removeUndefinedValues: true },
  });
export const events = (config: ClientConfig = {}) => new EventBridgeClient(config);
export const iam = (config: ClientConfig = {}) => new IAMClient(config);
export const route53 = (config: ClientConfig = {}) => new Route53Client(config);
export const secretsManager = (config: ClientConfig = {}) => new SecretsManagerClient(config);
export const sfn = (config: ClientConfig = {}) => new SFNClient(config);
export const sns = (config: ClientConfig = {}) => new SNSClient(config);
export const ssm = (config: ClientConfig = {}) => new SSMClient(config);
export const sts = (config: ClientConfig = {}) => new STSClient(config);

/** Makes the AWS clients of the functions. */
export interface Clients {
  acm: typeof acm;
  dns: typeof dns;
  dynamodb: typeof dynamodb;
  documents: typeof documents;
  events: typeof events;
  iam: typeof iam;
  route53: typeof route53;
  secretsManager: typeof secretsManager;
  sfn: typeof sfn;
  sns: typeof sns;
  ssm: typeof ssm;
  sts: typeof sts;
}

/** For clients of functions that the state machine repeats: two layers of retries would multiply. */
export const ONE_ATTEMPT = { maxAttempts: 1 };

/**
 * For functions that nobody repeats soon, on APIs whose quotas they share with everybody: the SDK's pauses, 0.5 s
 * doubled each time with full jitter, are half a minute on average then, where its default of 3 attempts is one second.
 */
export const PATIENT = { maxAttempts: 8 };
