import type { APIGatewayProxyEvent, APIGatewayProxyResult, Context } from 'aws-lambda';
import { ADVANCE_VARIABLES, advanceDepsFrom } from '../rollouts/advance.ts';
import { acm, type Clients, documents, iam, secretsManager, sfn, sns, ssm, sts } from '../runtime/clients.ts';
import type { Clock } from '../runtime/clock.ts';
import { type Environment, listOf, readEnvironment } from '../runtime/environment.ts';
import { inLambda } from '../runtime/in-lambda.ts';
import { count } from '../runtime/observability.ts';
import { connectTargetFrom, TARGET_VARIABLES } from '../target-account/session.ts';
import { route } from './route.ts';

type OwnClients = Pick<
  Clients,
  'acm' | 'documents' | 'iam' | 'secretsManager' | 'sfn' | 'sns' | 'ssm' | 'sts'
>;

/** Answers requests of people, and counts how many are refused. */
export function compose(environment: Environment, clients: OwnClients, clock: Clock) {
  const env = readEnvironment(
    [
      ...ADVANCE_VARIABLES,
      ...TARGET_VARIABLES,
      'ACCOUNT_ID',
      'AWS_REGION',
      'TARGET_ACCOUNTS',
      'TARGET_TAG_KEYS',
      'SECRET_READER_ROLES',
      'REQUIRE_CERTIFICATE_TAG',
      'ALLOW_PRIVATE_CERTIFICATES',
      'MAX_DEPLOYMENTS',
      'NOTIFICATION_TOPIC_ARN',
    ],
    environment,
  );
  const deps = {
    ...advanceDepsFrom(env, clients, clock),
    acm: clients.acm(),
    sns: clients.sns(),
    topicArn: env.NOTIFICATION_TOPIC_ARN,
    sleep: clock.sleep,
    connectTarget: connectTargetFrom(env, clients, { functionName: 'deployments-api' }, (session) => ({
      iam: clients.iam(session),
      ssm: clients.ssm(session),
      secretsManager: clients.secretsManager(session),
    })),
    prefix: env.PREFIX,
    partition: env.PARTITION,
    account: env.ACCOUNT_ID,
    region: env.AWS_REGION,
    targetAccounts: listOf(env.TARGET_ACCOUNTS),
    targetTagKeys: listOf(env.TARGET_TAG_KEYS),
    secretReaderRoles: listOf(env.SECRET_READER_ROLES),
    requireCertificateTag: env.REQUIRE_CERTIFICATE_TAG === 'true',
    allowPrivateCertificates: env.ALLOW_PRIVATE_CERTIFICATES === 'true',
    maxDeployments: Number(env.MAX_DEPLOYMENTS),
  };
  return async (event: APIGatewayProxyEvent, context: Context): Promise<APIGatewayProxyResult> => {
    const response = await route(event, context.awsRequestId, deps);
    count(response.statusCode < 400 ? 'RequestAccepted' : 'RequestRefused');
    return response;
  };
}

export const handler = inLambda(compose, { acm, documents, iam, secretsManager, sfn, sns, ssm, sts });
