import { AssumeRoleCommand } from '@aws-sdk/client-sts';
import type { Context } from 'aws-lambda';
import * as z from 'zod';
import {
  type Answer,
  type Asked,
  correlationIdOf,
  dataOf,
  heldOf,
  leavesNothing,
  nothingOf,
  type Registered,
  readProperties,
} from '../domain/deployment-resource.ts';
import { type Clients, PATIENT, sts } from '../runtime/clients.ts';
import type { Clock } from '../runtime/clock.ts';
import { type Environment, listOf, readEnvironment } from '../runtime/environment.ts';
import { ignore, readEvent } from '../runtime/event.ts';
import { inLambda } from '../runtime/in-lambda.ts';
import { logger } from '../runtime/observability.ts';
import { ApiRefused, type Credentials, DeploymentsApi } from './api.ts';
import { type Progress, provide, Refusal } from './provide-deployment.ts';
import { addressOf, respond } from './respond.ts';

const RequestEvent = z.object({
  RequestType: z.enum(['Create', 'Update', 'Delete']),
  ResponseURL: z.string().min(1),
  StackId: z.string().min(1),
  RequestId: z.string().min(1),
  LogicalResourceId: z.string().min(1),
  PhysicalResourceId: z.string().optional(),
  ResourceProperties: z.unknown().optional(),
  OldResourceProperties: z.unknown().optional(),
});
type RequestEvent = z.infer<typeof RequestEvent>;

/** Left for the answer with its repeats, at the end of the function's time. */
const ANSWER_MS = 35_000;
/** Left for what follows a wait that was in vain: a look, and the removal of what a replacement has registered. */
const AFTER_WAIT_MS = 20_000;

/** Answers CloudFormation's requests about deployments, each of them in every case. */
export function compose(
  environment: Environment,
  clients: Pick<Clients, 'sts'>,
  clock: Clock,
  send: typeof fetch = (...request) => fetch(...request),
) {
  const env = readEnvironment(
    ['DEPLOYMENTS_API_URL', 'CERT_NAMES', 'CALLER_ROLE_ARN', 'EXTERNAL_ID'],
    environment,
  );
  const tokens = clients.sts(PATIENT);

  /** Those of the function's own role, or of a session of the role in the central account, limited to this stack's names. */
  async function credentialsFor({ StackId }: Asked): Promise<Credentials> {
    if (env.CALLER_ROLE_ARN === '') return ownCredentials(environment);
    const { Credentials: opened } = await tokens
      .send(
        new AssumeRoleCommand({
          RoleArn: env.CALLER_ROLE_ARN,
          // The access log of the API then names the stack.
          RoleSessionName: (StackId.split('/')[1] ?? 'unknown').slice(0, 64).padEnd(2, '-'),
          ...(env.EXTERNAL_ID === '' ? {} : { ExternalId: env.EXTERNAL_ID }),
          // Longer than any function runs.
          DurationSeconds: 1800,
          Policy: JSON.stringify(sessionPolicyOf(listOf(env.CERT_NAMES))),
        }),
      )
      .catch((error: Error) => {
        throw new ApiRefused(
          `The role ${env.CALLER_ROLE_ARN} cannot be assumed: ${error.message} What to do: let its trust policy name the ` +
            'role of this function and the external id, as docs/examples/deployment-caller-role.yaml does.',
        );
      });
    return {
      accessKeyId: opened?.AccessKeyId ?? '',
      secretAccessKey: opened?.SecretAccessKey ?? '',
      sessionToken: opened?.SessionToken ?? '',
    };
  }

  async function work(request: RequestEvent, progress: Progress, end: Date): Promise<Registered | undefined> {
    const { RequestType, PhysicalResourceId } = request;
    // Also where no credentials are to be had: the rollback of a Create that was refused must succeed.
    if (RequestType === 'Delete' && leavesNothing(PhysicalResourceId)) return undefined;
    const before = (milliseconds: number) => new Date(end.getTime() - milliseconds);
    try {
      const api = new DeploymentsApi({
        url: env.DEPLOYMENTS_API_URL,
        credentials: await credentialsFor(request),
        correlationId: correlationIdOf(request),
        send,
        clock,
        until: before(0),
      });
      return await provide(request, progress, { api, clock, until: before(AFTER_WAIT_MS) });
    } catch (error) {
      // CloudFormation gave the id itself: it never heard what became of the Create. Where this function is refused, it has
      // registered nothing either.
      const isUnheard = RequestType === 'Delete' && !heldOf(PhysicalResourceId);
      if (isUnheard && error instanceof ApiRefused) return undefined;
      throw error;
    }
  }

  return async (event: object, context: Context) => {
    const { data: request, fault } = readEvent(RequestEvent, event, 'a request of CloudFormation');
    if (!request) return ignore(fault, 'warn');
    const { StackId, RequestId, LogicalResourceId, RequestType } = request;
    logger.appendKeys({ StackId, LogicalResourceId, RequestType, CorrelationId: correlationIdOf(request) });
    const url = addressOf(request.ResponseURL);
    const progress: Progress = { physicalId: request.PhysicalResourceId ?? nothingOf(request) };
    const end = endOf(request, clock.now(), context.getRemainingTimeInMillis());
    const outcome = await within(end, clock, work(request, progress, end)).then(
      (deployment) => ({ Status: 'SUCCESS' as const, ...(deployment ? { Data: dataOf(deployment) } : {}) }),
      (error: Error) => ({ Status: 'FAILED' as const, Reason: reasonOf(error, context) }),
    );
    const answer: Answer = {
      StackId,
      RequestId,
      LogicalResourceId,
      PhysicalResourceId: progress.physicalId,
      ...outcome,
    };
    logger.info('Answered', {
      Status: answer.Status,
      Reason: answer.Reason,
      PhysicalId: progress.physicalId,
    });
    await respond(url, answer, send, clock);
    return { Status: answer.Status };
  };
}

/** When the work has to be over: the answer must still arrive while CloudFormation and Lambda wait. */
function endOf({ ResourceProperties }: RequestEvent, now: Date, remaining: number): Date {
  const read = readProperties(ResourceProperties);
  const timeout = 'wish' in read ? read.wish.timeoutSeconds * 1000 : remaining;
  return new Date(now.getTime() + Math.max(0, Math.min(remaining, timeout) - ANSWER_MS));
}

class TimeOver extends Error {
  override name = 'TimeOver';
}

/** Gives up on work that is not over in time; it bounds its calls and waits itself, and this is for what nobody foresaw. */
async function within<T>(end: Date, clock: Clock, work: Promise<T>): Promise<T> {
  const late = clock.sleep(end.getTime() - clock.now().getTime()).then(() => {
    throw new TimeOver(
      'The time of this function is over. What was asked for may have been done. Deploy the stack again.',
    );
  });
  return Promise.race([work, late]);
}

/** What people read in the events of the stack. An error that nobody foresaw is in the log. */
function reasonOf(error: Error, { logGroupName }: Context): string {
  const isForeseen = ['ApiUnavailable', 'TimeOver'].includes(error.name);
  if (error instanceof Refusal || error instanceof ApiRefused) {
    logger.warn('Refused', { Message: error.message });
    return error.message;
  }
  logger.error('Failed', error);
  return isForeseen ? error.message : `The function failed: ${error.name}. Read its log: ${logGroupName}.`;
}

/** Set by Lambda (developer guide, "Defined runtime environment variables"). */
function ownCredentials(environment: Environment): Credentials {
  const names = ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN'] as const;
  const own = readEnvironment(names, environment);
  return {
    accessKeyId: own.AWS_ACCESS_KEY_ID,
    secretAccessKey: own.AWS_SECRET_ACCESS_KEY,
    sessionToken: own.AWS_SESSION_TOKEN,
  };
}

/** Ten names of 64 characters fit into the 2,048 characters of a session policy. Which API and methods, the role says. */
const sessionPolicyOf = (names: string[]) => ({
  Version: '2012-10-17',
  Statement: {
    Effect: 'Allow',
    Action: 'execute-api:Invoke',
    Resource: names.map((name) => `arn:*:execute-api:*:*:*/v1/*/certificates/${name}/deployments*`),
  },
});

export const handler = inLambda(compose, { sts });
