import { type SSMClient, StopAutomationExecutionCommand } from '@aws-sdk/client-ssm';
import { isNamed } from './errors.ts';

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
