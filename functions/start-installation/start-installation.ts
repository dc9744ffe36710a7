import { createHash, randomUUID } from 'node:crypto';
import { PutEventsCommand } from '@aws-sdk/client-eventbridge';
import {
  GetAutomationExecutionCommand,
  type SSMClient,
  StartAutomationExecutionCommand,
  type Tag,
} from '@aws-sdk/client-ssm';
import { DEPLOYMENT_TAG } from '../domain/bundle.ts';
import {
  executionArnOf,
  executionNameOf,
  isDryRun,
  isFault,
  type NodeRecord,
  type NodeResult,
  timestamp,
} from '../domain/deployment.ts';
import {
  isDenial,
  isNamed,
  NotAllowedByOwner,
  RetryLater,
  RolloutSuperseded,
  TargetNotPrepared,
} from '../domain/errors.ts';
import {
  FIRST_WAIT_SECONDS,
  type Installation,
  installationOf,
  type StartInstallationInput,
} from '../domain/installation.ts';
import { isDrift } from '../domain/look.ts';
import { type ManagedNode, obstacleOf, summaryOf } from '../domain/nodes.ts';
import type { InstallOptions, Target } from '../domain/order.ts';
import type { Inventory } from '../inventory/inventory.ts';
import { type OpenRollout, openRollout } from '../rollouts/open-rollout.ts';
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
    const listed = await listNodes(ssm, deployment);
    const { NodeIds } = running;
    const nodes = NodeIds ? listed.filter(({ NodeId }) => NodeIds.includes(NodeId)) : listed;
    const ready = nodes.filter((node) => !obstacleOf(node));
    if (ready.length === 0) {
      return endWithoutNodes(open, input, nodes, deps);
    }
    const known = await deps.inventory.nodes.all(deployment.DeploymentId);
    const canary = await chooseCanary(ready, known, open, deps.inventory);
    // Of a node where a look found something else, files that are unchanged prove nothing: it asks the port.
    const heals = !isDryRun(running) && known.some(({ Finding }) => isDrift(Finding));
    const AutomationExecutionId = await startAutomation(ssm, open, input, [canary, ...ready], heals, deps);
    const current = await deps.inventory
      .note(deployment, running.RolloutNumber, { AutomationExecutionId })
      .catch((error: Error) => {
        // A rollout that ended here would leave an Automation that nobody knows of.
        throw new RetryLater(`Automation ${AutomationExecutionId} could not be noted: ${error.message}`);
      });
    if (!current || current.Status === 'DELETING') {
      // The call that deleted the deployment, or ended its rollout, did not know of this Automation yet.
      await stopAutomation(ssm, AutomationExecutionId);
      throw new RolloutSuperseded(
        `Rollout ${running.RolloutNumber} of ${deployment.DeploymentId} was ended while its installation started.`,
      );
    }
    return inProgress(AutomationExecutionId, deps);
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

/**
 * The node that was the canary longest ago and did not fail last time, so that one broken node cannot hold up the others
 * for ever; if all failed, the one of longest ago. It is noted first: a repeated task chooses the same one.
 */
async function chooseCanary(
  ready: ManagedNode[],
  known: readonly NodeRecord[],
  { deployment, running }: OpenRollout,
  inventory: Inventory,
): Promise<ManagedNode> {
  const { DeploymentId } = deployment;
  const records = new Map(known.map((record) => [record.NodeId, record]));
  const canaryAt = ({ NodeId }: ManagedNode) => records.get(NodeId)?.CanaryAt ?? 0;
  const chosen = ready.find((node) => canaryAt(node) === running.RolloutNumber);
  if (chosen) {
    return chosen;
  }
  const sound = ready.filter(({ NodeId }) => !isFault(records.get(NodeId)));
  const [canary] = (sound.length > 0 ? sound : ready).toSorted(
    (a, b) => canaryAt(a) - canaryAt(b) || (a.NodeId < b.NodeId ? -1 : 1),
  ) as [ManagedNode];
  await inventory.nodes.noteCanary(DeploymentId, canary.NodeId, running.RolloutNumber);
  return canary;
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

/**
 * The token follows from the rollout, so that a repeated call does not start a second Automation. What SSM
 * answers to a used token is not documented beyond "can't be reused"; if it refuses, a second Automation with a
 * fresh token is harmless: nodes lock, and answer `unchanged`.
 *
 * The tag marks it as ours: the account lets this system stop what has the mark. A member stack of the edition before allows
 * no tag, and stops what has none.
 */
async function startAutomation(
  ssm: SSMClient,
  { deployment, running }: OpenRollout,
  input: StartInstallationInput,
  nodes: readonly ManagedNode[],
  heals: boolean,
  deps: StartInstallationDeps,
): Promise<string> {
  const Parameters = documentParameters({ deployment, running }, input, nodes, heals);
  const startWith = async (marks: { Tags?: Tag[] }, clientToken: string) => {
    const { AutomationExecutionId = '' } = await ssm.send(
      new StartAutomationExecutionCommand({
        DocumentName: targetArns(deps, deployment).fleetDocumentName,
        ClientToken: clientToken,
        Parameters,
        ...marks,
      }),
    );
    return AutomationExecutionId;
  };
  const marks = { Tags: [{ Key: DEPLOYMENT_TAG, Value: deployment.DeploymentId }] };
  const start = (clientToken: string) =>
    startWith(marks, clientToken).catch((error: unknown) => {
      if (!isDenial(error)) {
        throw error;
      }
      return startWith({}, clientToken);
    });
  try {
    return await start(uuidFrom(executionNameOf(deployment.DeploymentId, running)));
  } catch (error) {
    if (isNamed(error, 'IdempotentParameterMismatch')) {
      return start(randomUUID());
    }
    throw isNamed(error, 'InvalidAutomationExecutionParametersException')
      ? refusedParameters(error, deployment, Parameters)
      : error;
  }
}

/** The parameters that the lists of a member stack limit. */
const LIMITED = ['SecretArn', 'CertName', 'ReloadServices', 'RestartServices'];

/**
 * What it means that Systems Manager does not take the parameters. They fit the documents of the same edition, which a test
 * holds: so the owner of the account has limited them, or the documents are older. Which parameter it is AWS need not say
 * (its words are not documented); where it names one alone that no list limits, the documents are older.
 */
function refusedParameters(
  error: Error,
  { TargetAccount, TargetRegion }: Target,
  parameters: Record<string, string[]>,
): NotAllowedByOwner | TargetNotPrepared {
  const names = (words: string[]) => words.some((word) => new RegExp(`\\b${word}\\b`).test(error.message));
  const isOlder = !names(LIMITED) && names(Object.keys(parameters));
  const place = `account ${TargetAccount}, Region ${TargetRegion}`;
  if (isOlder) {
    return new TargetNotPrepared(
      `The member stack in ${place} is older than this stack: its SSM documents do not take every option of this ` +
        `deployment. Update member-account.yaml there. AWS says: ${error.message}`,
      { cause: error },
    );
  }
  const { CertName, ReloadServices = [], RestartServices = [] } = parameters;
  const services = [...ReloadServices, ...RestartServices].join(' ').split(' ').join(', ');
  return new NotAllowedByOwner(
    `The member stack of ${place} may allow only other certificate names than ${CertName} (its parameter ` +
      `AllowedCertNames)${services ? `, or only other services than ${services} (AllowedServices)` : ''}. ` +
      `If it allows them, it is older than this stack, and its SSM documents do not take every option of this ` +
      `deployment: then update member-account.yaml there. AWS says: ${error.message}`,
    { cause: error },
  );
}

/**
 * The parameters of the fleet document. An empty value is left out: SSM takes 1 to 512 characters, and the document's
 * default is empty. So a member stack that is one edition older gets no parameter that it does not know, unless the order
 * asks for it; nor does it look, so that nothing is healed there.
 *
 * @param nodes the canary first; the others count where the rollout may touch only some nodes.
 */
function documentParameters(
  { deployment, running }: OpenRollout,
  { Bundle }: StartInstallationInput,
  nodes: readonly ManagedNode[],
  heals: boolean,
): Record<string, string[]> {
  const { Options: options, MaxConcurrency, MaxErrors } = running.Order;
  const values: Record<string, string> = {
    CanaryNodeId: nodes[0]?.NodeId ?? '',
    TargetTagKey: deployment.TargetTagKey,
    TargetTagValue: deployment.TargetTagValue,
    MaxConcurrency,
    MaxErrors,
    SecretArn: Bundle.SecretArn,
    VersionId: Bundle.VersionId,
    CertName: deployment.CertName,
    DeploymentId: deployment.DeploymentId,
    RolloutNumber: String(running.RolloutNumber),
    CorrelationId: running.CorrelationId,
    ...Object.fromEntries(Object.entries(options).map(([name, value]) => [name, parameterOf(value)])),
    DryRun: String(isDryRun(running)),
    ...(heals ? { Heal: 'true' } : {}),
  };
  const given = Object.entries(values).filter(([, value]) => value !== '');
  const chosen = { Scope: ['nodes'], NodeIds: [...new Set(nodes.map(({ NodeId }) => NodeId))] };
  return {
    ...Object.fromEntries(given.map(([name, value]) => [name, [value]])),
    ...(running.NodeIds ? chosen : {}),
  };
}

/** An option as the install script reads it. */
function parameterOf(value: InstallOptions[keyof InstallOptions]): string {
  return Array.isArray(value) ? value.join(' ') : String(value ?? '');
}

function uuidFrom(text: string): string {
  const hex = createHash('sha256').update(text).digest('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join(
    '-',
  );
}

function sessionStatements(
  { deployment }: OpenRollout,
  config: { prefix: string; partition: string },
): SessionStatement[] {
  const arns = targetArns(config, deployment);
  const looks = deployment.Unfinished ? ['ssm:GetAutomationExecution'] : [];
  return [
    // DescribeInstanceInformation has no resource level.
    { Effect: 'Allow', Action: ['ssm:DescribeInstanceInformation'], Resource: '*' },
    {
      Effect: 'Allow',
      Action: ['ssm:StartAutomationExecution'],
      Resource: [arns.fleetDocument, arns.fleetDocumentDefinition, arns.automationExecutions],
    },
    // Marks what it starts. Stops that, when the deployment was deleted meanwhile, and what the rollout before left.
    {
      Effect: 'Allow',
      Action: ['ssm:AddTagsToResource', 'ssm:StopAutomationExecution', ...looks],
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
