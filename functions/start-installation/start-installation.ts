import { createHash, randomUUID } from 'node:crypto';
import { PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { type SSMClient, StartAutomationExecutionCommand } from '@aws-sdk/client-ssm';
import type { StoredBundle } from '../export-certificate/export-certificate.ts';
import { stopAutomation } from '../shared/automation.ts';
import {
  type Deployment,
  executionNameOf,
  type LastRollout,
  type NodeResult,
  type RolloutInput,
  timestamp,
} from '../shared/deployment.ts';
import { isNamed, RetryLater, RolloutSuperseded } from '../shared/errors.ts';
import { listNodes, type ManagedNode, obstacleOf, summaryOf } from '../shared/nodes.ts';
import {
  finishRollout,
  openRollout,
  type RolloutDeps,
  runningExecutionArn,
  startPending,
} from '../shared/rollout.ts';
import { type ConnectTarget, inTarget, type SessionStatement, targetArns } from '../shared/target-account.ts';

export interface StartInstallationDeps extends RolloutDeps {
  connectTarget: ConnectTarget<'ssm' | 'events'>;
  prefix: string;
  partition: string;
  /** Minutes after which an installation that still runs is stopped. */
  timeoutMinutes: number;
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

/** The first look comes after 15 s: an install takes seconds, its delivery a few more. */
export const FIRST_WAIT_SECONDS = 15;

/**
 * Looks at the nodes with the tag, chooses a canary and starts the Automation in the target account. With no
 * node that is ready the rollout ends here: WAITING without any node (the bundle is kept ready for the first
 * one), DEGRADED when the nodes there are cannot be reached. Delivery by secret has no nodes: it ends here too.
 *
 * @throws RolloutSuperseded, TargetAccessDenied, TargetNotPrepared, SSM's throttling errors
 */
export async function startInstallation(
  input: StartInstallationInput,
  deps: StartInstallationDeps,
): Promise<Installation> {
  const { deployment, ended } = await openRollout(deps.inventory, input);
  if (ended) {
    await startPending(deployment, deps);
    return installationOf(ended);
  }
  if (deployment.Delivery === 'secret') {
    return deliverSecret(deployment, input, deps);
  }
  const noted = deployment.Rollout?.AutomationExecutionId;
  if (noted) {
    return inProgress(noted, deps);
  }
  const { ssm } = await deps.connectTarget(deployment, sessionStatements(deployment, deps));
  return inTarget(deployment, async () => {
    const nodes = await listNodes(ssm, deployment);
    const ready = nodes.filter((node) => !obstacleOf(node));
    if (ready.length === 0) {
      return endWithoutNodes(deployment, input, nodes, deps);
    }
    const canary = chooseCanary(ready, input.RolloutNumber);
    const AutomationExecutionId = await startAutomation(ssm, deployment, input, canary, deps);
    const current = await deps.inventory.note(deployment.DeploymentId, input.RolloutNumber, {
      AutomationExecutionId,
    });
    if (!current || current.Status === 'DELETING') {
      // Whoever deleted the deployment, or closed its rollout, did not know of this Automation yet.
      await stopAutomation(ssm, AutomationExecutionId);
      throw new RolloutSuperseded(
        `Rollout ${input.RolloutNumber} of ${deployment.DeploymentId} was ended while its installation started.`,
      );
    }
    return inProgress(AutomationExecutionId, deps);
  });
}

/**
 * A bundle that is delivered as a secret is in place already: its consumers are told, by an event of references
 * only, on the bus of their own account, and the rollout ends. EventBridge takes events at least once, and so do
 * its consumers.
 *
 * @throws RetryLater when EventBridge did not take the event.
 */
async function deliverSecret(
  deployment: Deployment,
  input: StartInstallationInput,
  deps: StartInstallationDeps,
): Promise<Installation> {
  const { events } = await deps.connectTarget(deployment, [
    { Effect: 'Allow', Action: ['events:PutEvents'], Resource: targetArns(deps, deployment).eventBus },
  ]);
  const { DeploymentId, CertName, CertificateArn, CorrelationId } = input;
  const Detail = { DeploymentId, CertName, CertificateArn, CorrelationId, ...input.Bundle };
  const { FailedEntryCount = 0, Entries } = await inTarget(deployment, () =>
    events.send(
      new PutEventsCommand({
        Entries: [
          {
            Source: 'acm-export',
            DetailType: 'CertificateBundleUpdated',
            Resources: [input.Bundle.SecretArn],
            Detail: JSON.stringify(Detail),
          },
        ],
      }),
    ),
  );
  if (FailedEntryCount > 0) {
    throw new RetryLater(
      `EventBridge did not take the event: ${Entries?.[0]?.ErrorCode ?? 'no reason given'}`,
    );
  }
  const { Serial, VersionId, NotAfter } = input.Bundle;
  await finishRollout(
    deployment,
    input.RolloutNumber,
    {
      Status: 'INSTALLED',
      ExecutionArn: runningExecutionArn(deps.stateMachineArn, deployment),
      Exported: { Serial, VersionId, NotAfter },
      Served: true,
    },
    deps,
  );
  return { Status: 'INSTALLED' };
}

function inProgress(AutomationExecutionId: string, deps: StartInstallationDeps): Installation {
  const deadline = new Date(deps.now().getTime() + deps.timeoutMinutes * 60_000);
  return {
    Status: 'IN_PROGRESS',
    AutomationExecutionId,
    Deadline: timestamp(deadline),
    Polls: 0,
    WaitSeconds: FIRST_WAIT_SECONDS,
  };
}

/** A recorded end as the state machine wants it. */
export function installationOf(ended: LastRollout): Installation {
  return ended.Status === 'FAILED'
    ? { Status: 'FAILED', Error: ended.Error ?? '' }
    : { Status: ended.Status as 'INSTALLED' | 'DEGRADED' | 'WAITING' };
}

/** Another one each time, so that one broken node cannot hold up the others for ever. */
function chooseCanary(ready: ManagedNode[], rolloutNumber: number): ManagedNode {
  const sorted = ready.toSorted((a, b) => (a.NodeId < b.NodeId ? -1 : 1));
  return sorted[rolloutNumber % sorted.length] as ManagedNode;
}

async function endWithoutNodes(
  deployment: Deployment,
  input: StartInstallationInput,
  nodes: ManagedNode[],
  deps: StartInstallationDeps,
): Promise<Installation> {
  const results = nodes.map(
    (node): NodeResult => ({ NodeId: node.NodeId, ...obstacleOf(node) }) as NodeResult,
  );
  const dryRun = input.Cause === 'DRY_RUN';
  await deps.inventory.recordNodes(deployment.DeploymentId, input.RolloutNumber, results, dryRun);
  const { Serial, VersionId, NotAfter } = input.Bundle;
  const Status = nodes.length === 0 ? 'WAITING' : 'DEGRADED';
  await finishRollout(
    deployment,
    input.RolloutNumber,
    {
      Status,
      ExecutionArn: runningExecutionArn(deps.stateMachineArn, deployment),
      Exported: { Serial, VersionId, NotAfter },
      ...(nodes.length === 0 ? {} : { LastError: summaryOf(results) }),
    },
    deps,
  );
  return { Status };
}

/**
 * The token follows from the rollout, so that a repeated call does not start a second Automation. What SSM
 * answers to a used token is not documented beyond "can't be reused"; if it refuses, a second Automation with a
 * fresh token is harmless: nodes lock, and answer `unchanged`.
 */
async function startAutomation(
  ssm: SSMClient,
  deployment: Deployment,
  input: StartInstallationInput,
  canary: ManagedNode,
  deps: StartInstallationDeps,
): Promise<string> {
  const start = async (clientToken: string) => {
    const { AutomationExecutionId = '' } = await ssm.send(
      new StartAutomationExecutionCommand({
        DocumentName: targetArns(deps, deployment).fleetDocumentName,
        ClientToken: clientToken,
        Parameters: documentParameters(deployment, input, canary),
      }),
    );
    return AutomationExecutionId;
  };
  const name = executionNameOf(deployment.DeploymentId, input.Serial, input.RolloutNumber);
  try {
    return await start(uuidFrom(name));
  } catch (error) {
    if (isNamed(error, 'IdempotentParameterMismatch')) {
      return start(randomUUID());
    }
    throw error;
  }
}

/**
 * An empty value is left out: SSM takes 1 to 512 characters, and the document's default is empty. So a member stack
 * that is one edition older gets no parameter that it does not know, unless the order asks for it.
 */
function documentParameters(
  deployment: Deployment,
  input: StartInstallationInput,
  canary: ManagedNode,
): Record<string, string[]> {
  const { Options: options, MaxConcurrency, MaxErrors } = deployment.Rollout?.Trial ?? deployment;
  const values: Record<string, string> = {
    CanaryNodeId: canary.NodeId,
    TargetTagKey: deployment.TargetTagKey,
    TargetTagValue: deployment.TargetTagValue,
    MaxConcurrency,
    MaxErrors,
    SecretArn: input.Bundle.SecretArn,
    VersionId: input.Bundle.VersionId,
    CertName: deployment.CertName,
    DeploymentId: deployment.DeploymentId,
    RolloutNumber: String(input.RolloutNumber),
    CorrelationId: input.CorrelationId,
    ReloadServices: options.ReloadServices.join(' '),
    RestartServices: options.RestartServices.join(' '),
    VerifyPort: String(options.VerifyPort),
    KeyFormat: options.KeyFormat,
    ExtraFormats: options.ExtraFormats.join(' '),
    KeyMode: options.KeyMode ?? '',
    KeyGroup: options.KeyGroup ?? '',
    DryRun: String(input.Cause === 'DRY_RUN'),
  };
  const given = Object.entries(values).filter(([, value]) => value !== '');
  return Object.fromEntries(given.map(([name, value]) => [name, [value]]));
}

function uuidFrom(text: string): string {
  const hex = createHash('sha256').update(text).digest('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join(
    '-',
  );
}

function sessionStatements(
  deployment: Deployment,
  config: { prefix: string; partition: string },
): SessionStatement[] {
  const arns = targetArns(config, deployment);
  return [
    // DescribeInstanceInformation has no resource level.
    { Effect: 'Allow', Action: ['ssm:DescribeInstanceInformation'], Resource: '*' },
    {
      Effect: 'Allow',
      Action: ['ssm:StartAutomationExecution'],
      Resource: [arns.fleetDocument, arns.fleetDocumentDefinition, arns.automationExecutions],
    },
    // Only what it has just started itself, when the deployment was deleted meanwhile.
    {
      Effect: 'Allow',
      Action: ['ssm:StopAutomationExecution'],
      Resource: arns.automationExecutions,
    },
    {
      Effect: 'Allow',
      Action: ['iam:PassRole'],
      Resource: arns.automationRole,
      Condition: { StringEquals: { 'iam:PassedToService': 'ssm.amazonaws.com' } },
    },
  ];
}
