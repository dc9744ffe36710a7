import { expect, test } from '@jest/globals';
import { interruptRenewals } from '../ssm-documents/signals.ts';

// It takes minutes, not programs: every moment of a renewal, with every signal.

test('SIGTERM, SIGINT and SIGHUP before and after every program that the script runs', async () => {
  await Promise.all(
    ['TERM', 'INT', 'HUP'].map(async (signal) => {
      const outcomes = await interruptRenewals(
        () => true,
        () => signal,
      );
      expect([signal, ...[...outcomes].sort()]).toEqual([signal, 'failed', 'installed', 'rolled-back']);
    }),
  );
});
