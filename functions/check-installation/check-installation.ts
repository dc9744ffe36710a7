import {
  type AutomationExecution,
  GetAutomationExecutionCommand,
  paginateListCommandInvocations,
  type SSMClient,
  type StepExecution,
} from '@aws-sdk/client-ssm';
import {
  type Deployment,
  executionArnOf,
  holdsVersion,
  isDryRun,
  type NodeResult,
  timestamp,
} from '../domain/deployment.ts';
import { isNamed } from '../domain/errors.ts';
import { type Earliest, earliestOf } from '../domain/expiry.ts';
import {
  type CheckInstallationInput,
  FIRST_WAIT_SECONDS,
  type Installation,
  installationOf,
  LONGEST_POLL_SECONDS,
} from '../domain/installation.ts';
import type { ManagedNode } from '../domain/nodes.ts';
import { parseResultLine } from '../domain/result-line.ts';
import { judge, type Report, resultsOf } from '../domain/verdict.ts';
import type { Inventory } from '../inventory/inventory.ts';
import { type OpenRollout, openRollout } from '../rollouts/open-rollout.ts';
import { hasEnded, stopAutomation } from '../target-account/automation.ts';
import { commandsSince } from '../target-account/commands.ts';
import { listNodes } from '../target-account/nodes.ts';
import {
  type ConnectTarget,
  inTarget,
  type SessionStatement,
  targetArns,
} from '../target-account/session.ts';

export interface CheckInstallationDeps {
  inventory: Inventory;
  stateMachineArn: string;
  now: () => Date;
  connectTarget: ConnectTarget<'ssm'>;
  prefix: string;
  partition: string;
  /** 0 to below 1; Math.random. */
  random: () => number;
}

/**
 * Looks at the Automation. While it runs, says how long to wait; when it has ended, writes every node's outcome
 * and the deployment's status. Whatever SSM says, a node is installed only when its own result line says so.
 *
 * @throws RolloutSuperseded, TargetAccessDenied, SSM's throttling errors
 */
export async function checkInstallation(
  input: CheckInstallationInput,
  deps: CheckInstallationDeps,
): Promise<Installation> {
  const open = await openRollout(deps.inventory, input);
  if (open.ended) {
    return installationOf(open.ended);
  }
  const { deployment } = open;
  const { ssm } = await deps.connectTarget(deployment, sessionStatements(deployment, deps));
  return inTarget(deployment, async () => {
    const { Installation: installation } = input;
    const execution = await getAutomation(ssm, installation.AutomationExecutionId);
    const isLate = deps.now().toISOString() > installation.Deadline;
    if (hasEnded(execution)) {
      return conclude(open, input, execution, ssm, false, deps);
    }
    if (!isLate) {
      return { ...installation, ...nextPoll(installation.Polls, deps.random) };
    }
    await stopAutomation(ssm, installation.AutomationExecutionId);
    return conclude(open, input, execution, ssm, true, deps);
  });
}

async function getAutomation(ssm: SSMClient, id: string): Promise<AutomationExecution> {
  const { AutomationExecution: execution = {} } = await ssm.send(
    new GetAutomationExecutionCommand({ AutomationExecutionId: id }),
  );
  return execution;
}

/** Full jitter over the upper half, so that executions started together do not poll together. */
function nextPoll(polls: number, random: () => number): { Polls: number; WaitSeconds: number } {
  const longest = Math.min(LONGEST_POLL_SECONDS, FIRST_WAIT_SECONDS * 2 ** (polls + 1));
  return { Polls: polls + 1, WaitSeconds: Math.round(longest * (0.5 + random() / 2)) };
}

async function conclude(
  { deployment, running }: OpenRollout,
  input: CheckInstallationInput,
  execution: AutomationExecution,
  ssm: SSMClient,
  timedOut: boolean,
  deps: CheckInstallationDeps,
): Promise<Installation> {
  const { DeploymentId } = deployment;
  const { NodeIds } = running;
  const commandIds = await commandIdsOf(ssm, execution, input, targetArns(deps, deployment).nodeDocumentName);
  const reports = await reportsOf(ssm, commandIds);
  const listed = await listNodes(ssm, deployment);
  const nodes = NodeIds ? listed.filter(({ NodeId }) => NodeIds.includes(NodeId)) : listed;
  const { results, gone, HeldNumber } = resultsOf(nodes, reports, input, deps.now());
  const Earliest = await recordResults({ deployment, running }, input, results, listed, deps);
  const verdict = judge(results, {
    status: execution.AutomationExecutionStatus ?? 'unknown',
    message: execution.FailureMessage ?? 'no message',
    timedOut,
    gone,
  });
  const { ended } = await deps.inventory.end(deployment, running.RolloutNumber, {
    ...verdict,
    ExecutionArn: executionArnOf(deps.stateMachineArn, DeploymentId, running),
    Exported: input.Bundle,
    Earliest,
    AutomationEnded: !timedOut,
    HeldNumber,
  });
  return installationOf(ended);
}

/**
 * Writes what became of the nodes. Of a healing that was in vain the node's record stays as it is, but for the reason.
 *
 * @returns what ends first of all that the nodes serve now.
 */
async function recordResults(
  { deployment, running }: OpenRollout,
  { Bundle }: CheckInstallationInput,
  results: readonly NodeResult[],
  listed: readonly ManagedNode[],
  { inventory, now }: CheckInstallationDeps,
): Promise<Earliest | undefined> {
  const { DeploymentId } = deployment;
  const { nodes } = inventory;
  const isHealing = running.Cause === 'DRIFT';
  const told = isHealing ? results.filter(({ Outcome }) => holdsVersion(Outcome)) : results;
  const { Serial, VersionId, NotBefore, NotAfter } = Bundle;
  const served = {
    Serial,
    VersionId,
    ...(NotBefore ? { NotBefore } : {}),
    NotAfter,
    SeenAt: timestamp(now()),
  };
  await nodes.record(DeploymentId, running.RolloutNumber, told, { dryRun: isDryRun(running), served });
  for (const { NodeId, Outcome, Error: reason = Outcome } of results) {
    if (isHealing && !holdsVersion(Outcome)) {
      await nodes.noteFinding(DeploymentId, NodeId, { Error: reason });
    }
  }
  return earliestOf(deployment, await nodes.all(DeploymentId), listed);
}

/**
 * The commands of an Automation, the canary's first. AWS does not promise that a step that failed names its command, nor that
 * every step is answered: then those commands are looked for that were sent for this rollout.
 */
async function commandIdsOf(
  ssm: SSMClient,
  {
    StepExecutions: steps = [],
    StepExecutionsTruncated,
    ExecutionStartTime = new Date(0),
  }: AutomationExecution,
  { DeploymentId, RolloutNumber }: CheckInstallationInput,
  documentName: string,
): Promise<string[]> {
  const named = steps.flatMap(({ Outputs }) => Outputs?.CommandId ?? []);
  const isUnnamed = ({ Action, ExecutionStartTime: startedAt, Outputs }: StepExecution) =>
    Action === 'aws:runCommand' && startedAt && !Outputs?.CommandId?.length;
  if (!StepExecutionsTruncated && !steps.some(isUnnamed)) {
    return named;
  }
  try {
    const commands = await commandsSince(ssm, documentName, ExecutionStartTime);
    const ours = commands.filter(
      ({ Parameters = {} }) =>
        Parameters.DeploymentId?.[0] === DeploymentId &&
        Parameters.RolloutNumber?.[0] === String(RolloutNumber),
    );
    return [...new Set([...named, ...ours.flatMap(({ CommandId }) => CommandId ?? [])])];
  } catch (error) {
    // A member stack that is one edition older does not allow it: what the steps name must do.
    if (isNamed(error, 'AccessDeniedException')) {
      return named;
    }
    throw error;
  }
}

/** What Run Command says of the nodes, in the order of the commands. */
async function reportsOf(ssm: SSMClient, commandIds: readonly string[]): Promise<Report[]> {
  const reports: Report[] = [];
  for (const CommandId of commandIds) {
    for await (const page of paginateListCommandInvocations(
      { client: ssm, pageSize: 50 },
      { CommandId, Details: true },
    )) {
      for (const invocation of page.CommandInvocations ?? []) {
        const {
          InstanceId: NodeId = '',
          StatusDetails: status = 'no status',
          CommandPlugins = [],
        } = invocation;
        const lines = CommandPlugins.flatMap(({ Output = '' }) => parseResultLine(Output) ?? []);
        reports.push({ NodeId, status, line: lines[0] });
      }
    }
  }
  return reports;
}

function sessionStatements(
  deployment: Deployment,
  config: { prefix: string; partition: string },
): SessionStatement[] {
  return [
    // None of these has a resource level that fits a list.
    {
      Effect: 'Allow',
      Action: ['ssm:DescribeInstanceInformation', 'ssm:ListCommandInvocations', 'ssm:ListCommands'],
      Resource: '*',
    },
    {
      Effect: 'Allow',
      Action: ['ssm:GetAutomationExecution', 'ssm:StopAutomationExecution'],
      Resource: targetArns(config, deployment).automationExecutions,
    },
  ];
}
