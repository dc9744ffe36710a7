import { ACMClient } from '@aws-sdk/client-acm';
import { DynamoDBClient, type DynamoDBClientConfig } from '@aws-sdk/client-dynamodb';
import { EventBridgeClient } from '@aws-sdk/client-eventbridge';
import { IAMClient } from '@aws-sdk/client-iam';
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

// One export for each client: the bundle of a function loads the clients that its handler names, and no others.
export const acm = (config: ClientConfig = {}) => new ACMClient(config);
export const dynamodb = (config: ClientConfig = {}) => new DynamoDBClient(config);
export const documents = (config: ClientConfig = {}) =>
  DynamoDBDocumentClient.from(new DynamoDBClient(config), {
    marshallOptions: { removeUndefinedValues: true },
  });
export const events = (config: ClientConfig = {}) => new EventBridgeClient(config);
export const iam = (config: ClientConfig = {}) => new IAMClient(config);
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
  iam: typeof iam;
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
