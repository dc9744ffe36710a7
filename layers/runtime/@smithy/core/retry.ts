export { isThrottlingError, isTransientError } from '@smithy/core/retry';
