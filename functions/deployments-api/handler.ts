import { ACMClient } from '@aws-sdk/client-acm';
import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { SSMClient } from '@aws-sdk/client-ssm';
import type { APIGatewayProxyEvent, APIGatewayProxyResult, Context } from 'aws-lambda';
import { listOf, readEnvironment } from '../shared/environment.ts';
import { count, observed, traced } from '../shared/observed.ts';
import { rolloutDepsFrom } from '../shared/rollout-clients.ts';
import type { OpenSession } from '../shared/target-account.ts';
import { targetSessionsFrom } from '../shared/target-sessions.ts';
import { route } from './route.ts';

const env = readEnvironment([
  'INVENTORY_TABLE',
  'STATE_MACHINE_ARN',
  'ROLLOUTS_ENABLED',
  'PREFIX',
  'PARTITION',
  'EXTERNAL_ID',
  'ACCOUNT_ID',
  'AWS_REGION',
  'TARGET_ACCOUNTS',
  'TARGET_TAG_KEYS',
  'SECRET_READER_ROLES',
  'REQUIRE_CERTIFICATE_TAG',
]);
const openSession = targetSessionsFrom(env, 'deployments-api');
const deps = {
  ...rolloutDepsFrom(env),
  acm: traced(new ACMClient({})),
  connectTarget: async (...purpose: Parameters<OpenSession>) => {
    const session = await openSession(...purpose);
    return {
      ssm: traced(new SSMClient(session)),
      secretsManager: traced(new SecretsManagerClient(session)),
    };
  },
  prefix: env.PREFIX,
  partition: env.PARTITION,
  account: env.ACCOUNT_ID,
  region: env.AWS_REGION,
  targetAccounts: listOf(env.TARGET_ACCOUNTS),
  targetTagKeys: listOf(env.TARGET_TAG_KEYS),
  secretReaderRoles: listOf(env.SECRET_READER_ROLES),
  requireCertificateTag: env.REQUIRE_CERTIFICATE_TAG === 'true',
};

export const handler = observed(
  async (event: APIGatewayProxyEvent, context: Context): Promise<APIGatewayProxyResult> => {
    const response = await route(event, context.awsRequestId, deps);
    count(response.statusCode < 400 ? 'RequestAccepted' : 'RequestRefused');
    return response;
  },
);
