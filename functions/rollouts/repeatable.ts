import { isThrottlingError, isTransientError } from '@smithy/core/retry';
import { RetryLater } from '../domain/errors.ts';

/**
 * Runs a task of the state machine. What a service or the network refuses for a while, whatever it calls it, becomes
 * RetryLater, which the state machine repeats for hours. Which errors pass by themselves is the SDK's own list, by which
 * it repeats calls.
 *
 * @throws RetryLater, and every other error as it is.
 */
export async function repeatable<T>(task: () => Promise<T>): Promise<T> {
  try {
    return await task();
  } catch (error) {
    const failure = error as Parameters<typeof isTransientError>[0];
    if (isTransientError(failure) || isThrottlingError(failure)) {
      throw new RetryLater(`${failure.name}: ${failure.message}`, { cause: error });
    }
    throw error;
  }
}
