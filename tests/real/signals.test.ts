import { expect, test } from '@jest/globals';
import { interruptRenewals } from '../ssm-documents/signals.ts';

// It takes minutes, not programs: every moment of a renewal, with every signal.

test.concurrent.each(['TERM', 'INT', 'HUP'])(
  'SIG%s before and after every program that the script runs',
  async (signal) => {
    const outcomes = await interruptRenewals(
      () => true,
      () => signal,
    );
    expect([...outcomes].sort()).toEqual(['failed', 'installed', 'rolled-back']);
  },
);
