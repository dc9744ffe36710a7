import type { Ended, RolloutInput } from './deployment.ts';

/** References to the stored bundle: all that the state machine learns. First-edition executions have no NotBefore. */
export interface StoredBundle {
  SecretArn: string;
  VersionId: string;
  Serial: string;
  NotBefore?: string;
  NotAfter: string;
}

export type StartInstallationInput = RolloutInput & { Bundle: StoredBundle };

/** What the state machine keeps of an installation. Times are ISO 8601. */
export type Installation =
  | {
      Status: 'IN_PROGRESS';
      AutomationExecutionId: string;
      Deadline: string;
      Polls: number;
      WaitSeconds: number;
    }
  | { Status: 'INSTALLED' | 'DEGRADED' | 'WAITING' }
  | { Status: 'FAILED'; Error: string };

export type CheckInstallationInput = StartInstallationInput & {
  Installation: Extract<Installation, { Status: 'IN_PROGRESS' }>;
};

/** The first look comes after 15 s: an install takes seconds, its delivery a few more. */
export const FIRST_WAIT_SECONDS = 15;
/** The pause doubles up to this: GetAutomationExecution allows 3 calls a second for each account and Region. */
export const LONGEST_POLL_SECONDS = 60;

/** A recorded end as the state machine wants it. */
export function installationOf({ Outcome, Error: error = '' }: Ended): Installation {
  return Outcome === 'FAILED' ? { Status: Outcome, Error: error } : { Status: Outcome };
}
