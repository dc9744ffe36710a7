import { isStandstill, REASONS } from '../functions/domain/next.ts';
import type { Deployment } from './answers.ts';
import type { ExitName } from './exit.ts';

/** How a deployment is, once nothing is under way for it. */
export interface Outcome {
  exit: ExitName;
  /** A sentence for people. */
  text: string;
}

/** What is waited for: a rollout of at least this number has ended, or a dry run of it. */
export interface Awaited {
  rolloutNumber?: number;
  /** Of a dry run, which changes only LastTrial. */
  trialNumber?: number;
  /** Of a renewal: the serials that were there before. What is waited for has another one. */
  otherThan?: string[];
}

/** The outcome of a deployment; undefined while something is under way that a person waits for. */
export function outcomeOf(deployment: Deployment, awaited: Awaited = {}): Outcome | undefined {
  const { Status, LastRollout: last, Pending, PausedAt, Reason } = deployment;
  if (awaited.trialNumber !== undefined || Status === 'TRIED')
    return trialOf(deployment, awaited.trialNumber);
  if (Status === 'DELETING') return { exit: 'failed', text: 'It is being deleted.' };
  if (Status === 'ROLLING_OUT') return undefined;
  const isBefore =
    (last?.Number ?? 0) < (awaited.rolloutNumber ?? 0) ||
    (awaited.otherThan !== undefined && (!last || awaited.otherThan.includes(last.Serial)));
  if (Pending || isBefore) {
    if (PausedAt)
      return { exit: 'paused', text: `It is paused since ${PausedAt}. acm-export resume ends the pause.` };
    return isStandstill(Reason) ? { exit: 'paused', text: Reason } : undefined;
  }
  const next = deployment.NextAttemptAt ? ` The next attempt is at ${deployment.NextAttemptAt}.` : '';
  switch (Status) {
    case 'INSTALLED':
      return { exit: 'served', text: servedBy(deployment) };
    case 'WAITING':
      return { exit: 'degraded', text: `${REASONS.empty}${next}` };
    case 'DEGRADED':
      return { exit: 'degraded', text: `${deployment.LastError ?? Reason}${next}` };
    case 'FAILED':
      return { exit: 'failed', text: `${deployment.LastError ?? last?.Error ?? Reason}${next}` };
  }
}

function servedBy({ Delivery, Seen, EarliestNotAfter }: Deployment): string {
  const until = `until ${EarliestNotAfter}`;
  if (Delivery === 'secret') return `The bundle is ready for its readers, ${until}.`;
  return Seen === 'port'
    ? `Every server serves it at its port, ${until}.`
    : `Every server has the files, ${until}. No port was checked, because the deployment has no VerifyPort.`;
}

function trialOf({ LastTrial: trial }: Deployment, number = 0): Outcome | undefined {
  if (!trial || trial.Status === 'RUNNING' || trial.RolloutNumber < number) return undefined;
  return trial.Status === 'PASSED'
    ? { exit: 'served', text: 'The dry run has passed on every server. Nothing was changed.' }
    : { exit: 'failed', text: `The dry run has failed: ${trial.Error ?? 'see acm-export get'}` };
}
