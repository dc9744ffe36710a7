import { ACMClient } from '@aws-sdk/client-acm';
import { DynamoDBClient, type DynamoDBClientConfig } from '@aws-sdk/client-dynamodb';
import { EventBridgeClient } from '@aws-sdk/client-eventbridge';
import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { SFNClient } from '@aws-sdk/client-sfn';
import { SNSClient } from '@aws-sdk/client-sns';
import { SSMClient } from '@aws-sdk/client-ssm';
import { STSClient } from '@aws-sdk/client-sts';
import { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import type { AdvanceDeps } from './advance.ts';
import type { Clock } from './clock.ts';
import { Inventory } from './inventory.ts';
import {
  type OpenSession,
  type TargetAccountConfig,
  type TargetSession,
  targetAccounts,
} from './target-account.ts';

/** What functions set of a client's configuration. The rest is the SDK's default. */
export type ClientConfig = Pick<
  DynamoDBClientConfig,
  'region' | 'credentials' | 'maxAttempts' | 'retryStrategy'
>;

// One export for each client: the bundle of a function loads the clients that its handler names, and no others.
export const acm = (config: ClientConfig = {}) => new ACMClient(config);
export const dynamodb = (config: ClientConfig = {}) => new DynamoDBClient(config);
export const documents = (config: ClientConfig = {}) =>
  DynamoDBDocumentClient.from(new DynamoDBClient(config), {
    marshallOptions: { removeUndefinedValues: true },
  });
export const events = (config: ClientConfig = {}) => new EventBridgeClient(config);
export const secretsManager = (config: ClientConfig = {}) => new SecretsManagerClient(config);
export const sfn = (config: ClientConfig = {}) => new SFNClient(config);
export const sns = (config: ClientConfig = {}) => new SNSClient(config);
export const ssm = (config: ClientConfig = {}) => new SSMClient(config);
export const sts = (config: ClientConfig = {}) => new STSClient(config);

/** Makes the AWS clients of the functions. */
export interface Clients {
  acm: typeof acm;
  dynamodb: typeof dynamodb;
  documents: typeof documents;
  events: typeof events;
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

/** What `advanceDepsFrom` reads. */
export const ADVANCE_VARIABLES = ['INVENTORY_TABLE', 'STATE_MACHINE_ARN', 'ROLLOUTS_ENABLED'] as const;

/**
 * What beginning and starting a rollout needs.
 *
 * @param sfnConfig how often a start is tried; the SDK's default unless given.
 */
export function advanceDepsFrom(
  env: Record<(typeof ADVANCE_VARIABLES)[number], string>,
  clients: Pick<Clients, 'documents' | 'sfn'>,
  clock: Clock,
  sfnConfig?: ClientConfig,
): AdvanceDeps {
  return {
    rolloutsEnabled: env.ROLLOUTS_ENABLED === 'true',
    inventory: new Inventory(clients.documents(), env.INVENTORY_TABLE, clock.now),
    sfn: clients.sfn(sfnConfig),
    stateMachineArn: env.STATE_MACHINE_ARN,
    now: clock.now,
  };
}

/** What `connectTargetFrom` reads. */
export const TARGET_VARIABLES = ['PREFIX', 'PARTITION', 'EXTERNAL_ID'] as const;

/**
 * Returns a function that opens a session in a target account and makes the clients that act in it.
 *
 * @param session.functionName the first part of the session's name, as CloudTrail shows it.
 * @param session.maxAttempts attempts of each call in the target account; the SDK's default unless given.
 * @param connect makes the clients from the session's Region, credentials and attempts.
 */
export function connectTargetFrom<T>(
  env: Record<(typeof TARGET_VARIABLES)[number], string>,
  clients: Pick<Clients, 'sts'>,
  session: Pick<TargetAccountConfig, 'functionName' | 'maxAttempts'>,
  connect: (session: TargetSession) => T,
): (...purpose: Parameters<OpenSession>) => Promise<T> {
  const openSession = targetAccounts({
    sts: clients.sts(),
    prefix: env.PREFIX,
    partition: env.PARTITION,
    externalId: env.EXTERNAL_ID,
    ...session,
  });
  return async (...purpose) => connect(await openSession(...purpose));
}
