import {
  type CertificateRequest,
  isOpen,
  isStopped,
  requestExecutionArn,
} from '../domain/certificate-request.ts';
import { deploymentIdOf, timestamp } from '../domain/deployment.ts';
import { reasonOf } from '../domain/next-of-request.ts';
import { restartAt, stopWarning } from '../domain/request-repair.ts';
import type { DeploymentsApiDeps } from './deployments-api.ts';

type ViewDeps = Pick<DeploymentsApiDeps, 'hasZones' | 'now' | 'requestStateMachineArn'>;

/** A request as callers see it, without what only the record needs. */
export function requestViewOf(request: CertificateRequest, deps: ViewDeps, warnings: string[] = []) {
  const { CertName, RequestNumber, Status, Wish, CertificateArn, WritingFailure } = request;
  const { Error: error, CreatedAt, UpdatedAt } = request;
  const open = isOpen(request);
  const NextAttemptAt = isStopped(request) ? timestamp(restartAt(request)) : request.NextLookAt;
  const arnOf = (of: typeof request) => requestExecutionArn(deps.requestStateMachineArn, of);
  const stop = stopWarning(
    request,
    arnOf(request.Stopped ? { ...request, Executions: request.Stopped.Execution } : request),
  );
  return {
    CertName,
    Status: Status as typeof Status | 'DRY_RUN',
    Reason: reasonOf(request, { hasZones: deps.hasZones, now: deps.now() }),
    ...(open && NextAttemptAt ? { NextAttemptAt } : {}),
    RequestNumber,
    ExecutionArn: arnOf(request),
    ...(CertificateArn ? { CertificateArn } : {}),
    DomainNames: Wish.DomainNames,
    KeyAlgorithm: Wish.KeyAlgorithm,
    Tags: Wish.Tags,
    ...(Wish.RecordsByHand ? { RecordsByHand: true } : {}),
    Records: recordsOf(request),
    Deployments: Wish.Deployments.map((asked) => ({
      ...asked,
      DeploymentId: deploymentIdOf(asked, CertName),
    })),
    ...(error === undefined ? {} : { Error: error }),
    CreatedAt,
    UpdatedAt,
    Warnings: [
      ...warnings,
      ...(open && WritingFailure !== undefined ? [WritingFailure] : []),
      ...(stop === undefined ? [] : [stop]),
    ],
  };
}

/** The records that ACM wants, with where each was written. */
function recordsOf({ Records = [], Written = {} }: CertificateRequest) {
  return Records.map((record) => {
    const written = Object.hasOwn(Written, record.Name) ? Written[record.Name] : undefined;
    const { HostedZoneId, Account, At, InSyncAt } = written ?? {};
    return {
      ...record,
      ...(written ? { HostedZoneId, Account, WrittenAt: At } : {}),
      ...(InSyncAt === undefined ? {} : { InSyncAt }),
    };
  });
}
