import type { APIGatewayProxyEvent, APIGatewayProxyResult } from 'aws-lambda';
import { isNamed, RequestRefused } from '../shared/errors.ts';
import { logFields, logger } from '../shared/observed.ts';
import {
  createDeployment,
  type DeploymentsApiDeps,
  deleteDeployment,
  getDeployment,
  isThrottled,
  listDeployments,
  renewCertificate,
  startRollout,
} from './deployments-api.ts';
import {
  DeleteQuery,
  DeploymentBody,
  EmptyBody,
  EmptyQuery,
  FleetQuery,
  PageQuery,
  parse,
  parseBody,
  parsePath,
  RenewalBody,
} from './request.ts';

interface Call {
  path: { CertName: string; DeploymentId: string };
  event: APIGatewayProxyEvent;
  correlationId: string;
  deps: DeploymentsApiDeps;
}

type Route = (call: Call) => Promise<{ status: number; body: object }>;

const answer = async (status: number, body: Promise<object>) => ({ status, body: await body });
const bodyOf = <T extends Parameters<typeof parseBody>[0]>(schema: T, { event }: Call) =>
  parseBody(schema, event.body, event.isBase64Encoded);
const queryOf = <T extends Parameters<typeof parse>[0]>(schema: T, { event }: Call) =>
  parse(schema, event.queryStringParameters ?? {}, 'query');

const collection = '/certificates/{CertName}/deployments';

/** By method and resource, exactly as template.yaml declares them. */
export const ROUTES: Record<string, Route> = {
  [`POST ${collection}`]: (call) => {
    queryOf(EmptyQuery, call);
    const body = bodyOf(DeploymentBody, call);
    return answer(202, createDeployment(call.path.CertName, body, call.correlationId, call.deps));
  },
  [`GET ${collection}`]: (call) =>
    answer(200, listDeployments(call.path.CertName, queryOf(PageQuery, call), call.deps)),
  [`GET ${collection}/{DeploymentId}`]: (call) => {
    const { CertName, DeploymentId } = call.path;
    return answer(200, getDeployment(CertName, DeploymentId, queryOf(PageQuery, call), call.deps));
  },
  [`DELETE ${collection}/{DeploymentId}`]: (call) => {
    const { CertName, DeploymentId } = call.path;
    const force = queryOf(DeleteQuery, call).Force === 'true';
    return answer(200, deleteDeployment(CertName, DeploymentId, force, call.deps));
  },
  [`POST ${collection}/{DeploymentId}/rollouts`]: (call) => {
    queryOf(EmptyQuery, call);
    bodyOf(EmptyBody, call);
    const { CertName, DeploymentId } = call.path;
    return answer(202, startRollout(CertName, DeploymentId, call.correlationId, call.deps));
  },
  'POST /certificates/{CertName}/renewals': (call) => {
    queryOf(EmptyQuery, call);
    return answer(202, renewCertificate(call.path.CertName, bodyOf(RenewalBody, call), call.deps));
  },
  'GET /deployments': (call) => answer(200, listDeployments(undefined, queryOf(FleetQuery, call), call.deps)),
};

/**
 * Answers one API request. Whatever a caller can cause gets a 4xx that says why; what remains is thrown, and
 * API Gateway answers 502.
 */
export async function route(
  event: APIGatewayProxyEvent,
  requestId: string,
  deps: DeploymentsApiDeps,
): Promise<APIGatewayProxyResult> {
  // API Gateway lets a client override its request id: only one of the expected form travels on.
  const given = event.requestContext?.requestId ?? '';
  const correlationId = /^[A-Za-z0-9-]{1,64}$/.test(given) ? given : requestId;
  logFields({ CorrelationId: correlationId });
  try {
    const found = ROUTES[`${event.httpMethod} ${event.resource}`];
    if (!found) {
      throw new RequestRefused(404, 'There is no such resource.');
    }
    const path = parsePath(event.pathParameters);
    logFields(path);
    const { status, body } = await found({ path, event, correlationId, deps });
    return respond(status, { ...body, CorrelationId: correlationId });
  } catch (error) {
    const refused = refusalOf(error);
    if (!refused) {
      throw error;
    }
    logger.warn('Refused', { Status: refused.status, Message: refused.message, Faults: refused.faults });
    return respond(refused.status, {
      Message: refused.message,
      ...(refused.faults.length > 0 ? { Faults: refused.faults } : {}),
      CorrelationId: correlationId,
    });
  }
}

function refusalOf(error: unknown): RequestRefused | undefined {
  if (error instanceof RequestRefused) {
    return error;
  }
  // The request is right, but the target account is not ready for it.
  if (isNamed(error, 'TargetAccessDenied', 'TargetNotPrepared')) {
    return new RequestRefused(422, error.message);
  }
  if (isThrottled(error)) {
    return new RequestRefused(429, 'AWS throttles this call: repeat it in a minute.');
  }
  return undefined;
}

function respond(statusCode: number, body: object): APIGatewayProxyResult {
  return { statusCode, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
}
