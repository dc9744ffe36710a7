import { describe, expect, test } from '@jest/globals';
import { START_RETRIES } from '../../functions/handle-renewal/start-retries.ts';

const { acquireInitialRetryToken, refreshRetryTokenForRetry } = START_RETRIES.retryStrategy;

describe('the start of a rollout', () => {
  test.each(['CLIENT_ERROR'] as const)('is not repeated after a %s', async (errorType) => {
    const token = await acquireInitialRetryToken();
    await expect(refreshRetryTokenForRetry(token, { errorType })).rejects.toThrow();
  });

  test.each(['THROTTLING', 'TRANSIENT', 'SERVER_ERROR'] as const)(
    'is repeated soon after a %s, and not for ever',
    async (errorType) => {
      let token = await acquireInitialRetryToken();
      const repeat = async () => {
        token = await refreshRetryTokenForRetry(token, { errorType });
        expect(token.getRetryDelay()).toBeLessThanOrEqual(400);
      };
      await expect(
        (async () => {
          for (;;) await repeat();
        })(),
      ).rejects.toThrow(/in vain/);
      expect(token.getRetryCount()).toBe(59);
    },
  );
});
