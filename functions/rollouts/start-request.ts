import { type SFNClient, StartExecutionCommand } from '@aws-sdk/client-sfn';
import {
  type CertificateRequest,
  type RequestInput,
  requestExecutionName,
} from '../domain/certificate-request.ts';
import { isNamed } from '../domain/errors.ts';
import { logger } from '../runtime/observability.ts';

/**
 * Starts the execution that works on a request. Name and input follow from the request alone: a repeated start gets the
 * execution that runs, and one that has ended is no error (API reference, StartExecution).
 */
export async function startRequest(
  request: CertificateRequest,
  { sfn, requestStateMachineArn }: { sfn: SFNClient; requestStateMachineArn: string },
): Promise<void> {
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
  }
  logger.info('Request started', { ...input, ExecutionName: name });
}
