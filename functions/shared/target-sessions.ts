import { STSClient } from '@aws-sdk/client-sts';
import { traced } from './observed.ts';
import { type OpenSession, targetAccounts } from './target-account.ts';

/** Sessions in target accounts, over a real STS client. */
export function targetSessionsFrom(
  env: { PREFIX: string; PARTITION: string; EXTERNAL_ID: string },
  functionName: string,
  attempts: { maxAttempts?: number } = {},
): OpenSession {
  return targetAccounts({
    sts: traced(new STSClient({})),
    prefix: env.PREFIX,
    partition: env.PARTITION,
    externalId: env.EXTERNAL_ID,
    functionName,
    ...attempts,
  });
}
