import { type SFNClient, StartExecutionCommand } from '@aws-sdk/client-sfn';
import {
  type CertificateRequest,
  type RequestInput,
  requestExecutionName,
} from '../domain/certificate-request.ts';
import { isNamed } from '../domain/errors.ts';
import type { Inventory } from '../inventory/inventory.ts';
import { logger } from '../runtime/observability.ts';

export interface StartRequestDeps {
  sfn: SFNClient;
  requestStateMachineArn: string;
}

/**
 * Starts the execution that works on a request. Name and input follow from the request alone: a repeated start gets the
 * execution that runs (API reference, StartExecution).
 *
 * @returns `ended` where the execution with this name has ended.
 */
export async function startRequest(
  request: CertificateRequest,
  { sfn, requestStateMachineArn }: StartRequestDeps,
): Promise<'started' | 'ended'> {
  const { CertName, RequestNumber } = request;
  const input: RequestInput = { CertName, RequestNumber };
  const name = requestExecutionName(request);
  try {
    await sfn.send(
      new StartExecutionCommand({
        stateMachineArn: requestStateMachineArn,
        name,
        input: JSON.stringify(input),
      }),
    );
  } catch (error) {
    if (!isNamed(error, 'ExecutionAlreadyExists')) {
      throw error;
    }
    return 'ended';
  }
  logger.info('Request started', { ...input, ExecutionName: name });
  return 'started';
}

/**
 * Starts the next execution of a request whose execution has ended.
 *
 * @returns undefined where others have written the request meanwhile.
 */
export async function continueRequest(
  request: CertificateRequest,
  deps: StartRequestDeps & { inventory: Pick<Inventory, 'requests'> },
): Promise<CertificateRequest | undefined> {
  const Executions = (request.Executions ?? 1) + 1;
  const continued = await deps.inventory.requests.write(request, { ...request, Executions });
  if (continued) {
    await startRequest(continued, deps);
  }
  return continued;
}
