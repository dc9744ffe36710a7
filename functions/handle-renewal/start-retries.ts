import type { SFNClientConfig } from '@aws-sdk/client-sfn';

/** Milliseconds until the next attempt, on average. */
const PAUSE_MS = 200;
/** Three times the longest row of refusals among 10,000 at 150 starts a second; 12 seconds of any other fault. */
const ATTEMPTS = 60;

const tokenOf = (retries: number, delay: number) => ({
  getRetryCount: () => retries,
  getRetryDelay: () => delay,
});

/**
 * How StartExecution is repeated for a fleet. After its burst Step Functions takes 300 starts a second, in some Regions
 * 150 (developer guide, "Quotas"), from AT_ONCE who ask. Who is refused comes back soon, which costs 1.6 calls for each
 * start (2.5 at 150 a second) and leaves no start unused. The SDK's own strategy would double its pauses up to 20 s, and
 * would not repeat at all where many are refused.
 *
 * @param random 0 to below 1; spreads the pauses.
 */
export const startRetries = (random: () => number) =>
  ({
    retryStrategy: {
      acquireInitialRetryToken: async () => tokenOf(0, 0),
      refreshRetryTokenForRetry: async (token, { errorType }) => {
        // The caller's own fault (no permission, an execution of that name) is the same the next time.
        if (errorType === 'CLIENT_ERROR') {
          throw new Error('Not to be repeated.');
        }
        const retries = token.getRetryCount() + 1;
        if (retries >= ATTEMPTS) {
          throw new Error(`${ATTEMPTS} attempts were in vain.`);
        }
        return tokenOf(retries, random() * 2 * PAUSE_MS);
      },
      recordSuccess: () => {},
    },
  }) satisfies Pick<SFNClientConfig, 'retryStrategy'>;
