import { ACMClient } from '@aws-sdk/client-acm';
import type { APIGatewayProxyEvent, APIGatewayProxyResult, Context } from 'aws-lambda';
import { listOf, readEnvironment } from '../shared/environment.ts';
import { count, observed, traced } from '../shared/observed.ts';
import { rolloutDepsFrom, targetAccountsFrom } from '../shared/rollout-clients.ts';
import { route } from './route.ts';

const env = readEnvironment([
  'INVENTORY_TABLE',
  'STATE_MACHINE_ARN',
  'PREFIX',
  'PARTITION',
  'EXTERNAL_ID',
  'ACCOUNT_ID',
  'AWS_REGION',
  'TARGET_ACCOUNTS',
  'TARGET_TAG_KEYS',
  'REQUIRE_CERTIFICATE_TAG',
]);
const deps = {
  ...rolloutDepsFrom(env),
  acm: traced(new ACMClient({})),
  connectTarget: targetAccountsFrom(env, 'deployments-api'),
  prefix: env.PREFIX,
  partition: env.PARTITION,
  account: env.ACCOUNT_ID,
  region: env.AWS_REGION,
  targetAccounts: listOf(env.TARGET_ACCOUNTS),
  targetTagKeys: listOf(env.TARGET_TAG_KEYS),
  requireCertificateTag: env.REQUIRE_CERTIFICATE_TAG === 'true',
};

export const handler = observed(
  async (event: APIGatewayProxyEvent, context: Context): Promise<APIGatewayProxyResult> => {
    const response = await route(event, context.awsRequestId, deps);
    count(response.statusCode < 400 ? 'RequestAccepted' : 'RequestRefused');
    return response;
  },
);
