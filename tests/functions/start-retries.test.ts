import { describe, expect, test } from '@jest/globals';
import { startRetries } from '../../functions/handle-renewal/start-retries.ts';

const { acquireInitialRetryToken, refreshRetryTokenForRetry } = startRetries(() => 0.75).retryStrategy;

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
        expect(token.getRetryDelay()).toBe(300);
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

test('the pauses of many who are refused are spread from none to 400 ms', async () => {
  const pauseOf = async (random: number) => {
    const { retryStrategy } = startRetries(() => random);
    const token = await retryStrategy.acquireInitialRetryToken();
    return (
      await retryStrategy.refreshRetryTokenForRetry(token, { errorType: 'THROTTLING' })
    ).getRetryDelay();
  };
  expect(await Promise.all([0, 0.5, 1].map(pauseOf))).toEqual([0, 200, 400]);
});
