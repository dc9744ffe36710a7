import { type CertificateRequest, isOpen, requestExecutionArn } from '../domain/certificate-request.ts';
import { deploymentIdOf } from '../domain/deployment.ts';
import { nextOfRequest } from '../domain/next-of-request.ts';
import type { DeploymentsApiDeps } from './deployments-api.ts';

type ViewDeps = Pick<DeploymentsApiDeps, 'hasZones' | 'now' | 'requestStateMachineArn'>;

/** A request as callers see it, without what only the record needs. */
export function requestViewOf(request: CertificateRequest, deps: ViewDeps, warnings: string[] = []) {
  const { CertName, RequestNumber, Status, Wish, CertificateArn, WritingFailure } = request;
  const { Error: error, CreatedAt, UpdatedAt } = request;
  const open = isOpen(request);
  const { words } = nextOfRequest(request, undefined, { hasZones: deps.hasZones, now: deps.now() });
  return {
    CertName,
    Status: Status as typeof Status | 'DRY_RUN',
    Reason: words,
    ...(open && request.NextLookAt ? { NextAttemptAt: request.NextLookAt } : {}),
    RequestNumber,
    ExecutionArn: requestExecutionArn(deps.requestStateMachineArn, request),
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
    Warnings: [...warnings, ...(open && WritingFailure !== undefined ? [WritingFailure] : [])],
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
