import type { APIGatewayProxyEvent, APIGatewayProxyResult, Context } from 'aws-lambda';
import { LOOK_MILLISECONDS, lookBefore } from '../dns/look-before.ts';
import { publicResolver } from '../dns/resolver.ts';
import { DNS_VARIABLES, dnsSessionsFrom } from '../dns/session.ts';
import type { RequestInput, Wish } from '../domain/certificate-request.ts';
import { parseRules } from '../domain/request-rules.ts';
import { ADVANCE_VARIABLES, advanceDepsFrom } from '../rollouts/advance.ts';
import { repeatable } from '../rollouts/repeatable.ts';
import {
  acm,
  type Clients,
  dns,
  documents,
  iam,
  route53,
  secretsManager,
  sfn,
  sns,
  ssm,
  sts,
} from '../runtime/clients.ts';
import type { Clock } from '../runtime/clock.ts';
import { type Environment, listOf, readEnvironment } from '../runtime/environment.ts';
import { inLambda } from '../runtime/in-lambda.ts';
import { count, logFields } from '../runtime/observability.ts';
import { connectTargetFrom, TARGET_VARIABLES } from '../target-account/session.ts';
import { type Registering, registerRequested } from './certificate-requests.ts';
import { route } from './route.ts';

type OwnClients = Pick<
  Clients,
  'acm' | 'dns' | 'documents' | 'iam' | 'route53' | 'secretsManager' | 'sfn' | 'sns' | 'ssm' | 'sts'
>;

/** What the state machine of a certificate request sends. API Gateway sends no event of this form. */
interface RegisterEvent {
  RegisterRequested: RequestInput;
}

/** Answers requests of people, registers the deployments of certificates that they requested, and counts how many are refused. */
export function compose(environment: Environment, clients: OwnClients, clock: Clock) {
  const env = readEnvironment(
    [
      ...ADVANCE_VARIABLES,
      ...TARGET_VARIABLES,
      ...DNS_VARIABLES,
      'ACCOUNT_ID',
      'TARGET_ACCOUNTS',
      'TARGET_TAG_KEYS',
      'SECRET_READER_ROLES',
      'REQUIRE_CERTIFICATE_TAG',
      'ALLOW_PRIVATE_CERTIFICATES',
      'MAX_DEPLOYMENTS',
      'REQUEST_RULES',
      'MAX_CERTIFICATES_PER_DAY',
      'MAX_DOMAIN_NAMES',
      'REQUEST_STATE_MACHINE_ARN',
      'NOTIFICATION_TOPIC_ARN',
    ],
    environment,
  );
  const resolver = publicResolver(clients.dns());
  const sessionsFor = dnsSessionsFrom(env, clients, { functionName: 'deployments-api' }, clock);
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
    requestRules: parseRules(env.REQUEST_RULES),
    maxCertificatesPerDay: Number(env.MAX_CERTIFICATES_PER_DAY),
    maxDomainNames: Number(env.MAX_DOMAIN_NAMES),
    requestStateMachineArn: env.REQUEST_STATE_MACHINE_ARN,
    lookBefore: (certName: string, { DomainNames, RecordsByHand }: Wish) => {
      const sessions = sessionsFor(certName);
      // Without accounts of zones only public DNS is looked at.
      return lookBefore(DomainNames, {
        ...sessions,
        ...(RecordsByHand ? { dnsAccounts: [] } : {}),
        resolver,
        deadline: AbortSignal.timeout(LOOK_MILLISECONDS),
      });
    },
    hasZones: listOf(env.DNS_ACCOUNTS).length > 0,
  };
  return async <E extends APIGatewayProxyEvent | RegisterEvent>(
    event: E,
    context: Context,
  ): Promise<E extends RegisterEvent ? Registering : APIGatewayProxyResult> => {
    type Result = E extends RegisterEvent ? Registering : APIGatewayProxyResult;
    if ('RegisterRequested' in event) {
      logFields(event.RegisterRequested);
      return (await repeatable(() => registerRequested(event.RegisterRequested, deps))) as Result;
    }
    const response = await route(event, context.awsRequestId, deps);
    count(response.statusCode < 400 ? 'RequestAccepted' : 'RequestRefused');
    return response as Result;
  };
}

export const handler = inLambda(compose, {
  acm,
  dns,
  documents,
  iam,
  route53,
  secretsManager,
  sfn,
  sns,
  ssm,
  sts,
});
