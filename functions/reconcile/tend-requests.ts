import { DescribeExecutionCommand } from '@aws-sdk/client-sfn';
import { type CertificateRequest, isOpen, requestExecutionArn } from '../domain/certificate-request.ts';
import { timestamp } from '../domain/deployment.ts';
import { isNamed } from '../domain/errors.ts';
import { isOverdue, lostRequestText, requestAlert, restartAt } from '../domain/request-repair.ts';
import type { OpenMark } from '../inventory/certificate-requests.ts';
import { startRequest } from '../rollouts/start-request.ts';
import { guarded, type Pass, type ReconcileDeps } from './pass.ts';

/** A POST that has not written its request by then was cut off: longer than a function of the API runs. */
const CUT_OFF_MS = 15 * 60_000;

/** Continues the requests for certificates whose execution died, and tells people of those that have failed. */
export async function tendRequests(pass: Pass, deps: ReconcileDeps): Promise<void> {
  for (const mark of await deps.inventory.requests.marks()) {
    await guarded(pass, `the request for ${mark.CertName}`, () => tendRequest(mark, pass, deps));
  }
}

async function tendRequest(mark: OpenMark, pass: Pass, deps: ReconcileDeps): Promise<void> {
  const { requests } = deps.inventory;
  const request = await requests.get(mark.CertName);
  if (request?.RequestNumber !== mark.RequestNumber) {
    if (Date.parse(mark.At) + CUT_OFF_MS <= deps.now().getTime()) {
      await requests.unmark([mark]);
    }
    return;
  }
  const known = isOpen(request) ? await proceed(request, pass, deps) : request;
  if (!isOpen(known)) {
    await tellOnce(known, pass, deps);
    await requests.unmark([mark]);
  }
}

/** @returns the request as it is then. */
async function proceed(
  request: CertificateRequest,
  pass: Pass,
  deps: ReconcileDeps,
): Promise<CertificateRequest> {
  const { requests } = deps.inventory;
  const now = deps.now();
  if (now < restartAt(request)) {
    return request;
  }
  const executionArn = requestExecutionArn(deps.requestStateMachineArn, request);
  const status = await executionStatus(executionArn, deps);
  if (status === 'RUNNING' || status === 'PENDING_REDRIVE') {
    return request;
  }
  if (status === 'lost') {
    await startRequest(request, deps);
    pass.Repaired += 1;
    return request;
  }
  // A write that loses its condition leaves the request to the next sweep.
  if (isOverdue(request, now)) {
    const failed = { Status: 'FAILED' as const, EndedAt: timestamp(now) };
    const text = lostRequestText(request, status, executionArn);
    return (await requests.write(request, { ...request, ...failed, Error: text })) ?? request;
  }
  const continued = await requests.write(request, { ...request, Executions: (request.Executions ?? 1) + 1 });
  if (continued) {
    await startRequest(continued, deps);
    pass.Repaired += 1;
  }
  return continued ?? request;
}

/** It is noted afterwards that people were told: no message is lost. */
async function tellOnce(request: CertificateRequest, pass: Pass, deps: ReconcileDeps): Promise<void> {
  const alert = request.ToldAt === undefined ? requestAlert(request) : undefined;
  if (alert) {
    await deps.notify(`request#${request.CertName}#${request.RequestNumber}`, alert);
    pass.Notified += 1;
    await deps.inventory.requests.write(request, { ...request, ToldAt: timestamp(deps.now()) });
  }
}

async function executionStatus(executionArn: string, deps: ReconcileDeps): Promise<string> {
  try {
    return (await deps.sfn.send(new DescribeExecutionCommand({ executionArn }))).status ?? 'unknown';
  } catch (error) {
    if (isNamed(error, 'ExecutionDoesNotExist')) {
      return 'lost';
    }
    throw error;
  }
}
