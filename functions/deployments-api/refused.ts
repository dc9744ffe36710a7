import { isNamed, RequestRefused } from '../domain/errors.ts';

/** True for the errors that mean: slower, please. */
export function isThrottled(error: unknown): boolean {
  return isNamed(
    error,
    'ThrottlingException',
    'TooManyRequestsException',
    'Throttling',
    'RequestLimitExceeded',
  );
}

/** An error that a caller can cause, as the refusal that says why; undefined for any other. */
export function refusalOf(error: unknown): RequestRefused | undefined {
  if (error instanceof RequestRefused) {
    return error;
  }
  // The request is right, but the target account is not ready for it.
  if (isNamed(error, 'TargetAccessDenied', 'TargetNotPrepared', 'NotAllowedByOwner')) {
    return new RequestRefused(422, error.message);
  }
  if (isThrottled(error)) {
    return new RequestRefused(429, 'AWS throttles this call: repeat it in a minute.');
  }
  return undefined;
}
