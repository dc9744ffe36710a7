import {
  type AutomationExecution,
  type SSMClient,
  StopAutomationExecutionCommand,
} from '@aws-sdk/client-ssm';
import { isNamed } from '../domain/errors.ts';

/**
 * Statuses in which an Automation has ended (API reference of GetAutomationExecution). Any other, also one that is
 * unknown here, may still go on: the deadline bounds the wait.
 */
const ENDED = new Set([
  'Success',
  'TimedOut',
  'Cancelled',
  'Failed',
  'Rejected',
  'CompletedWithSuccess',
  'CompletedWithFailure',
  'Exited',
  'ChangeCalendarOverrideRejected',
]);

/** Whether an Automation is known to have ended. */
export const hasEnded = (execution: AutomationExecution | undefined) =>
  ENDED.has(execution?.AutomationExecutionStatus ?? '');

/** Stops an Automation; one that has ended, or whose history is gone, is left so. */
export async function stopAutomation(ssm: SSMClient, AutomationExecutionId: string): Promise<void> {
  try {
    await ssm.send(new StopAutomationExecutionCommand({ AutomationExecutionId, Type: 'Cancel' }));
  } catch (error) {
    if (!isNamed(error, 'InvalidAutomationStatusUpdateException', 'AutomationExecutionNotFoundException')) {
      throw error;
    }
  }
}
