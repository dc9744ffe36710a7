import { DescribeExecutionCommand, type DescribeExecutionOutput } from '@aws-sdk/client-sfn';
import { describeRequested } from '../certificates/describe-requested.ts';
import {
  type CertificateRequest,
  isOpen,
  isStopped,
  requestExecutionArn,
  type StoppedExecution,
} from '../domain/certificate-request.ts';
import { timestamp } from '../domain/deployment.ts';
import { isNamed } from '../domain/errors.ts';
import { textOf } from '../domain/failure.ts';
import {
  isOverdue,
  lookAt,
  lostRequestText,
  requestAlert,
  restartAt,
  stopAlert,
  unregisteredText,
  unwrittenAlert,
  withStopped,
} from '../domain/request-repair.ts';
import type { OpenMark } from '../inventory/certificate-requests.ts';
import { continueRequest, startRequest } from '../rollouts/start-request.ts';
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
    if (mark.Ended) {
      await tell(mark.Ended, pass, deps);
      await requests.unmark([mark]);
    } else if (Date.parse(mark.At) + CUT_OFF_MS <= deps.now().getTime()) {
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

/** @returns the request as it is then. A write that loses its condition leaves it to the next sweep. */
async function proceed(
  request: CertificateRequest,
  pass: Pass,
  deps: ReconcileDeps,
): Promise<CertificateRequest> {
  const now = deps.now();
  const seen = await seeReplaced(await tellOfUnwritten(request, now, pass, deps), deps);
  if (now < lookAt(seen)) {
    return tellOfStops(seen, pass, deps);
  }
  const executionArn = requestExecutionArn(deps.requestStateMachineArn, seen);
  const execution = await describeExecution(executionArn, deps);
  if (execution === 'lost') {
    await startRequest(seen, deps);
    pass.Repaired += 1;
    return seen;
  }
  if (execution.status === 'RUNNING' || execution.status === 'PENDING_REDRIVE') {
    return tellOfStops(seen, pass, deps);
  }
  const noted = isStopped(seen) ? seen : await noteStopped(seen, seen.Executions ?? 1, execution, deps);
  const told = await tellOfStops(noted, pass, deps);
  if (!isStopped(told)) {
    return told;
  }
  if (isOverdue(told, now)) {
    return giveUp(told, executionArn, deps);
  }
  if (now < restartAt(told)) {
    return told;
  }
  const continued = await continueRequest(told, deps);
  pass.Repaired += continued ? 1 : 0;
  return continued ?? told;
}

/** A POST starts the next execution at once: what became of the one before is noted all the same. */
async function seeReplaced(request: CertificateRequest, deps: ReconcileDeps): Promise<CertificateRequest> {
  const { Executions = 1, Stopped } = request;
  const before = Executions - 1;
  if (before < 1 || (Stopped && Stopped.Execution >= before)) {
    return request;
  }
  const arn = requestExecutionArn(deps.requestStateMachineArn, { ...request, Executions: before });
  const execution = await describeExecution(arn, deps);
  return execution === 'lost' ? request : noteStopped(request, before, execution, deps);
}

async function noteStopped(
  request: CertificateRequest,
  Execution: number,
  { status, error, cause, stopDate }: DescribeExecutionOutput,
  deps: ReconcileDeps,
): Promise<CertificateRequest> {
  const stopped = {
    Execution,
    At: timestamp(stopDate ?? deps.now()),
    Why: textOf({ status: status ?? 'unknown', error, cause }) || `It ended as ${status}.`,
  };
  return (await deps.inventory.requests.write(request, withStopped(request, stopped))) ?? request;
}

/** It is noted afterwards that people were told: no message is lost. */
async function tellOfStops(
  request: CertificateRequest,
  pass: Pass,
  deps: ReconcileDeps,
): Promise<CertificateRequest> {
  const Executions = request.Stopped?.Execution;
  const executionArn = requestExecutionArn(deps.requestStateMachineArn, {
    ...request,
    ...(Executions === undefined ? {} : { Executions }),
  });
  const alert = stopAlert(request, executionArn);
  if (!alert) {
    return request;
  }
  await deps.notify(`request#${request.CertName}#${request.RequestNumber}#stopped`, alert);
  pass.Notified += 1;
  const told = { ...request, StopsToldAt: timestamp(deps.now()) };
  return (await deps.inventory.requests.write(request, told)) ?? request;
}

/** It is noted afterwards that people were told: no message is lost. */
async function tellOfUnwritten(
  request: CertificateRequest,
  now: Date,
  pass: Pass,
  deps: ReconcileDeps,
): Promise<CertificateRequest> {
  const alert = unwrittenAlert(request, now);
  if (!alert) {
    return request;
  }
  await deps.notify(`request#${request.CertName}#${request.RequestNumber}#unwritten`, alert);
  pass.Notified += 1;
  const told = { ...request, UnwrittenToldAt: timestamp(now) };
  return (await deps.inventory.requests.write(request, told)) ?? request;
}

/** Of a certificate that is issued, and paid for, nobody is told to request it again. */
async function giveUp(
  request: CertificateRequest & { Stopped: StoppedExecution },
  executionArn: string,
  deps: ReconcileDeps,
): Promise<CertificateRequest> {
  const { CertificateArn, Stopped } = request;
  const certificate = CertificateArn ? await describeRequested(deps.acm, CertificateArn) : 'gone';
  const isIssued = certificate !== 'gone' && certificate.Status === 'ISSUED';
  const text = isIssued
    ? unregisteredText(request, Stopped.Why)
    : lostRequestText(request, Stopped.Why, executionArn);
  const ended: CertificateRequest = {
    ...request,
    Status: isIssued ? 'DONE' : 'FAILED',
    EndedAt: timestamp(deps.now()),
    ...(text === undefined ? {} : { Error: text }),
  };
  return (await deps.inventory.requests.write(request, ended)) ?? request;
}

/** It is noted afterwards that people were told: no message is lost. */
async function tellOnce(request: CertificateRequest, pass: Pass, deps: ReconcileDeps): Promise<void> {
  if (request.ToldAt === undefined && (await tell(request, pass, deps))) {
    await deps.inventory.requests.write(request, { ...request, ToldAt: timestamp(deps.now()) });
  }
}

/** @returns whether there was something to tell. */
async function tell(request: CertificateRequest, pass: Pass, deps: ReconcileDeps): Promise<boolean> {
  const alert = requestAlert(request);
  if (alert) {
    await deps.notify(`request#${request.CertName}#${request.RequestNumber}`, alert);
    pass.Notified += 1;
  }
  return alert !== undefined;
}

async function describeExecution(
  executionArn: string,
  deps: ReconcileDeps,
): Promise<DescribeExecutionOutput | 'lost'> {
  try {
    return await deps.sfn.send(new DescribeExecutionCommand({ executionArn }));
  } catch (error) {
    if (isNamed(error, 'ExecutionDoesNotExist')) {
      return 'lost';
    }
    throw error;
  }
}
