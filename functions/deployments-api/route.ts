import type { APIGatewayProxyEvent, APIGatewayProxyResult } from 'aws-lambda';
import type * as z from 'zod';
import { RequestRefused } from '../domain/errors.ts';
import { PATTERNS, whole } from '../domain/patterns.ts';
import { LOGGED, logFields, logger } from '../runtime/observability.ts';
import { requestCertificate, showRequest } from './certificate-requests.ts';
import { countDenial } from './denials.ts';
import {
  createDeployment,
  type DeploymentsApiDeps,
  deleteDeployment,
  getDeployment,
  listDeployments,
  listEndpoints,
  pauseDeployment,
  renewCertificate,
  resumeDeployment,
  startRollout,
} from './deployments-api.ts';
import { freezeRollouts, showFreeze, thawRollouts } from './freeze.ts';
import { refusalOf } from './refused.ts';
import {
  CertNamePath,
  DeleteQuery,
  DeploymentPath,
  EmptyBody,
  EmptyPath,
  EmptyQuery,
  EndpointQuery,
  FleetQuery,
  FreezeBody,
  PageQuery,
  parseRequest,
  RegistrationBody,
  RenewalBody,
  type RequestSchemas,
} from './request.ts';
import { CertificateRequestBody } from './request-body.ts';

interface Call {
  correlationId: string;
  /** ARN of who calls, as API Gateway has identified it. */
  caller: string;
  deps: DeploymentsApiDeps;
}

/** What a route takes, and what it answers with when nothing is wrong. */
export interface Route extends RequestSchemas<z.ZodType, z.ZodType, z.ZodType> {
  status: number;
  answer: (event: APIGatewayProxyEvent, call: Call) => Promise<object>;
}

function routeOf<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType>(
  status: number,
  schemas: RequestSchemas<P, Q, B>,
  work: (request: { path: z.infer<P>; query: z.infer<Q>; body: z.infer<B> }, call: Call) => Promise<object>,
): Route {
  return { ...schemas, status, answer: (event, call) => work(parseRequest(schemas, event), call) };
}

const nothing = { query: EmptyQuery, body: EmptyBody };
const collection = '/certificates/{CertName}/deployments';

/** By method and resource, exactly as template.yaml declares them. */
export const ROUTES: Record<string, Route> = {
  [`POST ${collection}`]: routeOf(
    202,
    { path: CertNamePath, query: EmptyQuery, body: RegistrationBody },
    ({ path, body }, { correlationId, deps }) => createDeployment(path.CertName, body, correlationId, deps),
  ),
  [`GET ${collection}`]: routeOf(
    200,
    { path: CertNamePath, query: PageQuery, body: EmptyBody },
    ({ path, query }, { deps }) => listDeployments(path.CertName, query, deps),
  ),
  [`GET ${collection}/{DeploymentId}`]: routeOf(
    200,
    { path: DeploymentPath, query: PageQuery, body: EmptyBody },
    ({ path, query }, { deps }) => getDeployment(path.CertName, path.DeploymentId, query, deps),
  ),
  [`DELETE ${collection}/{DeploymentId}`]: routeOf(
    200,
    { path: DeploymentPath, query: DeleteQuery, body: EmptyBody },
    ({ path, query }, { deps }) =>
      deleteDeployment(path.CertName, path.DeploymentId, query.Force === 'true', deps),
  ),
  [`POST ${collection}/{DeploymentId}/rollouts`]: routeOf(
    202,
    { path: DeploymentPath, ...nothing },
    ({ path }, { correlationId, deps }) =>
      startRollout(path.CertName, path.DeploymentId, correlationId, deps),
  ),
  [`POST ${collection}/{DeploymentId}/pause`]: routeOf(
    200,
    { path: DeploymentPath, ...nothing },
    ({ path }, { deps }) => pauseDeployment(path.CertName, path.DeploymentId, deps),
  ),
  [`POST ${collection}/{DeploymentId}/resume`]: routeOf(
    202,
    { path: DeploymentPath, ...nothing },
    ({ path }, { correlationId, deps }) =>
      resumeDeployment(path.CertName, path.DeploymentId, correlationId, deps),
  ),
  'POST /certificates/{CertName}': routeOf(
    202,
    { path: CertNamePath, query: EmptyQuery, body: CertificateRequestBody },
    ({ path, body }, { correlationId, deps }) => requestCertificate(path.CertName, body, correlationId, deps),
  ),
  'GET /certificates/{CertName}': routeOf(200, { path: CertNamePath, ...nothing }, ({ path }, { deps }) =>
    showRequest(path.CertName, deps),
  ),
  'POST /certificates/{CertName}/renewals': routeOf(
    202,
    { path: CertNamePath, query: EmptyQuery, body: RenewalBody },
    ({ path, body }, { deps }) => renewCertificate(path.CertName, body, deps),
  ),
  'GET /deployments': routeOf(
    200,
    { path: EmptyPath, query: FleetQuery, body: EmptyBody },
    ({ query }, { deps }) => listDeployments(undefined, query, deps),
  ),
  'GET /endpoints': routeOf(
    200,
    { path: EmptyPath, query: EndpointQuery, body: EmptyBody },
    ({ query }, { deps }) => listEndpoints(query, deps),
  ),
  'GET /freeze': routeOf(200, { path: EmptyPath, ...nothing }, (_, { deps }) => showFreeze(deps)),
  'POST /freeze': routeOf(
    200,
    { path: EmptyPath, query: EmptyQuery, body: FreezeBody },
    ({ body }, { caller, deps }) => freezeRollouts(body.Reason, caller, deps),
  ),
  'POST /thaw': routeOf(200, { path: EmptyPath, ...nothing }, (_, { caller, deps }) =>
    thawRollouts(caller, deps),
  ),
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
  const correlationId = correlationIdOf(event) ?? requestId;
  logFields({ ...event.pathParameters, CorrelationId: correlationId });
  try {
    const found = ROUTES[`${event.httpMethod} ${event.resource}`];
    if (!found) {
      throw new RequestRefused(404, 'There is no such resource.');
    }
    const caller = event.requestContext?.identity?.userArn ?? 'unknown';
    const body = await found.answer(event, { correlationId, caller, deps });
    return respond(found.status, { ...body, CorrelationId: correlationId });
  } catch (error) {
    const refused = refusalOf(error);
    if (!refused) {
      countDenial(error);
      throw error;
    }
    logger.warn(LOGGED.refused, { Status: refused.status, Message: refused.message, Faults: refused.faults });
    return respond(refused.status, {
      Message: refused.message,
      ...(refused.faults.length > 0 ? { Faults: refused.faults } : {}),
      CorrelationId: correlationId,
    });
  }
}

/**
 * The id that a caller gives its request, to know it again in answers, logs and rollouts; else that of API Gateway, which lets
 * a client override its own. Only one of the expected form travels on.
 */
function correlationIdOf({ headers, requestContext }: APIGatewayProxyEvent): string | undefined {
  const own = Object.entries(headers ?? {}).find(([name]) => name.toLowerCase() === 'x-correlation-id');
  return [own?.[1], requestContext?.requestId].find((id) => whole(PATTERNS.CorrelationId).test(id ?? ''));
}

function respond(statusCode: number, body: object): APIGatewayProxyResult {
  return { statusCode, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
}
