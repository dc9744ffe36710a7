// Errors are named for what the caller should do. Step Functions matches `name`, and minifying renames
// classes, so each name is a literal.

/** Step Functions tries the task again, with growing distance. */
export class RetryLater extends Error {
  override name = 'RetryLater';
}

/** The rollout is not the deployment's current one any more, or the deployment is gone: end quietly. */
export class RolloutSuperseded extends Error {
  override name = 'RolloutSuperseded';
}

/** The target account refused a call: a person must change a role, a policy or a stack. Its cause is AWS's own error. */
export class TargetAccessDenied extends Error {
  override name = 'TargetAccessDenied';
}

/** What member-account.yaml creates is not in the target account and Region, or is older than this stack. */
export class TargetNotPrepared extends Error {
  override name = 'TargetNotPrepared';
}

/**
 * The owner of the target account does not allow the name or a service there: the owner must, or the order must change. Its
 * cause is AWS's own error.
 */
export class NotAllowedByOwner extends Error {
  override name = 'NotAllowedByOwner';
}

/** The certificate cannot be exported, or not under this name: its owner must act. */
export class CertificateNotDeployable extends Error {
  override name = 'CertificateNotDeployable';
}

/** The bundle cannot be made or stored as it is ordered: the order, or the certificate, must change. */
export class BundleNotStorable extends Error {
  override name = 'BundleNotStorable';
}

/** The bundle is scheduled for deletion, and not by this system: only a new POST restores it. */
export class BundleScheduledForDeletion extends Error {
  override name = 'BundleScheduledForDeletion';
}

export interface Fault {
  Field: string;
  Reason: string;
}

/** A request that is refused: nothing was registered, exported, stored or started. */
export class RequestRefused extends Error {
  override name = 'RequestRefused';
  readonly status: 400 | 403 | 404 | 409 | 413 | 422 | 429;
  readonly faults: Fault[];

  constructor(status: RequestRefused['status'], message: string, faults: Fault[] = []) {
    super(message);
    this.status = status;
    this.faults = faults;
  }
}

/** True for an AWS error of one of these names, whatever its class. */
export function isNamed(error: unknown, ...names: string[]): error is Error {
  return error instanceof Error && names.includes(error.name);
}

/** True where AWS denies a call to the role that makes it. The query protocol, and SNS, have names of their own for that. */
export const isDenial = (error: unknown): error is Error =>
  isNamed(error, 'AccessDeniedException', 'AccessDenied', 'AuthorizationErrorException');
