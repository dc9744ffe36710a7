import { PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { GetAutomationExecutionCommand, type SSMClient } from '@aws-sdk/client-ssm';
import { executionArnOf, isDryRun, type NodeResult, timestamp } from '../domain/deployment.ts';
import { isNamed, RetryLater } from '../domain/errors.ts';
import {
  FIRST_WAIT_SECONDS,
  type Installation,
  installationOf,
  type StartInstallationInput,
} from '../domain/installation.ts';
import { type ManagedNode, maxErrorsOf, obstacleOf, summaryOf, targetedBy } from '../domain/nodes.ts';
import type { Inventory } from '../inventory/inventory.ts';
import { type OpenRollout, openRollout } from '../rollouts/open-rollout.ts';
import { startAutomation, startStatements } from '../rollouts/start-automation.ts';
import { hasEnded, stopAutomation } from '../target-account/automation.ts';
import { listNodes } from '../target-account/nodes.ts';
import {
  type ConnectTarget,
  inTarget,
  type SessionStatement,
  targetArns,
} from '../target-account/session.ts';

export interface StartInstallationDeps {
  inventory: Inventory;
  stateMachineArn: string;
  now: () => Date;
  connectTarget: ConnectTarget<'ssm' | 'events'>;
  prefix: string;
  partition: string;
  /** Minutes after which an installation that still runs is stopped. */
  timeoutMinutes: number;
}

/**
 * Looks at the nodes with the tag, chooses a canary and starts the Automation in the target account. With no
 * node that is ready the rollout ends here: WAITING without any node (the bundle is kept ready for the first
 * one), DEGRADED when the nodes there cannot be reached. Delivery by secret has no nodes: it ends here too.
 *
 * @throws RolloutSuperseded, TargetAccessDenied, TargetNotPrepared, NotAllowedByOwner, SSM's throttling errors
 * @throws RetryLater while the Automation of the rollout before has not ended, or when its own could not be noted.
 */
export async function startInstallation(
  input: StartInstallationInput,
  deps: StartInstallationDeps,
): Promise<Installation> {
  const open = await openRollout(deps.inventory, input);
  if (open.ended) {
    return installationOf(open.ended);
  }
  const { deployment, running } = open;
  if (running.Order.Delivery === 'secret') {
    return deliverSecret(open, input, deps);
  }
  if (running.AutomationExecutionId) {
    return inProgress(running.AutomationExecutionId, deps);
  }
  const { ssm } = await deps.connectTarget(deployment, sessionStatements(open, deps));
  return inTarget(deployment, async () => {
    await endUnfinished(open, ssm);
    const tagged = await listNodes(ssm, deployment);
    const listed = targetedBy(running.Order, tagged);
    const { NodeIds } = running;
    const nodes = NodeIds ? listed.filter(({ NodeId }) => NodeIds.includes(NodeId)) : listed;
    const ready = nodes.filter((node) => !obstacleOf(node));
    if (ready.length === 0) {
      return endWithoutNodes(open, input, nodes, deps);
    }
    const records = await deps.inventory.nodes.all(deployment.DeploymentId);
    const started = await startAutomation(
      open,
      input,
      { Kind: 'install', candidates: ready, ready, records, maxErrors: maxErrorsOf(running.Order, tagged) },
      ssm,
      deps,
    );
    return inProgress(started, deps);
  });
}

/**
 * Stops the Automation that a rollout before left behind, so that one Automation of a deployment runs at a time.
 *
 * @throws RetryLater until it has ended: a step that runs is not broken off.
 */
async function endUnfinished({ deployment }: OpenRollout, ssm: SSMClient): Promise<void> {
  const { AutomationExecutionId } = deployment.Unfinished ?? {};
  if (!AutomationExecutionId) {
    return;
  }
  try {
    const { AutomationExecution } = await ssm.send(
      new GetAutomationExecutionCommand({ AutomationExecutionId }),
    );
    if (hasEnded(AutomationExecution)) {
      return;
    }
  } catch (error) {
    // Systems Manager keeps the history for 30 days.
    if (isNamed(error, 'AutomationExecutionNotFoundException')) {
      return;
    }
    throw error;
  }
  await stopAutomation(ssm, AutomationExecutionId);
  throw new RetryLater(`Automation ${AutomationExecutionId} of the rollout before has not ended yet.`);
}

/**
 * A bundle that is delivered as a secret is in place already: its consumers are told, by an event of references
 * only, on the bus of their own account, and the rollout ends. EventBridge takes events at least once, and so do
 * its consumers.
 *
 * @throws RetryLater when EventBridge did not take the event.
 */
async function deliverSecret(
  { deployment, running }: OpenRollout,
  { Bundle }: StartInstallationInput,
  deps: StartInstallationDeps,
): Promise<Installation> {
  const { events } = await deps.connectTarget(deployment, [
    { Effect: 'Allow', Action: ['events:PutEvents'], Resource: targetArns(deps, deployment).eventBus },
  ]);
  const { DeploymentId, CertName } = deployment;
  const { SecretArn, VersionId, Serial, NotAfter } = Bundle;
  const { CertificateArn } = running.Order;
  const { CorrelationId } = running;
  const Detail = {
    DeploymentId,
    CertName,
    CertificateArn,
    CorrelationId,
    SecretArn,
    VersionId,
    Serial,
    NotAfter,
  };
  const { FailedEntryCount = 0, Entries } = await inTarget(deployment, () =>
    events.send(
      new PutEventsCommand({
        Entries: [
          {
            Source: 'acm-export',
            DetailType: 'CertificateBundleUpdated',
            Resources: [SecretArn],
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
  const { ended } = await deps.inventory.end(deployment, running.RolloutNumber, {
    Outcome: 'INSTALLED',
    ExecutionArn: executionArnOf(deps.stateMachineArn, DeploymentId, running),
    Exported: Bundle,
    Served: true,
  });
  return installationOf(ended);
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

async function endWithoutNodes(
  { deployment, running }: OpenRollout,
  { Bundle }: StartInstallationInput,
  nodes: ManagedNode[],
  deps: StartInstallationDeps,
): Promise<Installation> {
  const { DeploymentId } = deployment;
  const results = nodes.map(
    (node): NodeResult => ({ NodeId: node.NodeId, ...obstacleOf(node) }) as NodeResult,
  );
  // Of nodes that were to be healed their records say more.
  if (running.Cause !== 'DRIFT') {
    await deps.inventory.nodes.record(DeploymentId, running.RolloutNumber, results, {
      dryRun: isDryRun(running),
    });
  }
  const { ended } = await deps.inventory.end(deployment, running.RolloutNumber, {
    Outcome: nodes.length === 0 ? 'WAITING' : 'DEGRADED',
    ExecutionArn: executionArnOf(deps.stateMachineArn, DeploymentId, running),
    Exported: Bundle,
    ...(nodes.length === 0 ? {} : { Error: summaryOf(results) }),
  });
  return installationOf(ended);
}

function sessionStatements(
  { deployment }: OpenRollout,
  config: { prefix: string; partition: string },
): SessionStatement[] {
  // DescribeInstanceInformation has no resource level.
  return [
    { Effect: 'Allow', Action: ['ssm:DescribeInstanceInformation'], Resource: '*' },
    // It also looks at what the rollout before left.
    ...startStatements(deployment, config, deployment.Unfinished ? ['ssm:GetAutomationExecution'] : []),
  ];
}
