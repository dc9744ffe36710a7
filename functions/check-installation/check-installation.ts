import {
  type AutomationExecution,
  GetAutomationExecutionCommand,
  paginateListCommandInvocations,
  type SSMClient,
  type StepExecution,
} from '@aws-sdk/client-ssm';
import { isInVain, isProbe, newsOf, nextAutomation } from '../domain/canary.ts';
import {
  type Deployment,
  executionArnOf,
  holdsVersion,
  isDryRun,
  type NodeResult,
  timestamp,
} from '../domain/deployment.ts';
import { isNamed, RetryLater } from '../domain/errors.ts';
import { type Earliest, earliestOf } from '../domain/expiry.ts';
import {
  type CheckInstallationInput,
  FIRST_WAIT_SECONDS,
  type Installation,
  installationOf,
  LONGEST_POLL_SECONDS,
} from '../domain/installation.ts';
import { type ManagedNode, maxErrorsOf, obstacleOf, ofListed, targetedBy } from '../domain/nodes.ts';
import { parseResultLine } from '../domain/result-line.ts';
import { judge, type Report, resultsOf, resultsOfProbe } from '../domain/verdict.ts';
import type { Inventory } from '../inventory/inventory.ts';
import { type OpenRollout, openRollout } from '../rollouts/open-rollout.ts';
import { startAutomation, startStatements } from '../rollouts/start-automation.ts';
import { logger } from '../runtime/observability.ts';
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
 * and the deployment's status. Whatever SSM says, a node is installed only when its own result line says so. Where the
 * canary could not be served for a reason of its own, it starts the next Automation of the same rollout instead.
 *
 * @throws RolloutSuperseded, TargetAccessDenied, SSM's throttling errors
 * @throws RetryLater when the next Automation could not be started or noted.
 */
export async function checkInstallation(
  input: CheckInstallationInput,
  deps: CheckInstallationDeps,
): Promise<Installation> {
  const open = await openRollout(deps.inventory, input);
  if (open.ended) {
    return installationOf(open.ended);
  }
  const { deployment, running } = open;
  const { Installation: installation } = input;
  const { AutomationExecutionId: current = installation.AutomationExecutionId } = running;
  if (current !== installation.AutomationExecutionId) {
    // An earlier attempt of this task has started it and was not heard.
    return goingOn(installation, current);
  }
  const { ssm } = await deps.connectTarget(deployment, sessionStatements(deployment, deps));
  return inTarget(deployment, async () => {
    const execution = await getAutomation(ssm, installation.AutomationExecutionId);
    if (hasEnded(execution)) {
      return conclude(open, input, execution, ssm, false, deps);
    }
    if (!isLate(input, deps)) {
      return { ...installation, ...nextPoll(installation.Polls, deps.random) };
    }
    await stopAutomation(ssm, installation.AutomationExecutionId);
    return conclude(open, input, execution, ssm, true, deps);
  });
}

const isLate = ({ Installation }: CheckInstallationInput, { now }: CheckInstallationDeps) =>
  now().toISOString() > Installation.Deadline;

/** Another Automation of the same rollout, within the deadline of the first one. */
function goingOn(
  { Deadline }: CheckInstallationInput['Installation'],
  AutomationExecutionId: string,
): Installation {
  return {
    Status: 'IN_PROGRESS',
    AutomationExecutionId,
    Deadline,
    Polls: 0,
    WaitSeconds: FIRST_WAIT_SECONDS,
  };
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
  open: OpenRollout,
  input: CheckInstallationInput,
  execution: AutomationExecution,
  ssm: SSMClient,
  timedOut: boolean,
  deps: CheckInstallationDeps,
): Promise<Installation> {
  const { deployment, running } = open;
  const { DeploymentId } = deployment;
  const { NodeIds, Automations } = running;
  const commandIds = await commandIdsOf(ssm, execution, input, {
    documentName: targetArns(deps, deployment).nodeDocumentName,
    isTrial: isProbe(Automations) || isDryRun(running),
  });
  // Run Command asks all nodes with the tag, and those that the order leaves out answer that they do nothing.
  const reports = targetedBy(running.Order, await reportsOf(ssm, commandIds));
  const tagged = await listNodes(ssm, deployment);
  const listed = targetedBy(running.Order, tagged);
  const nodes = NodeIds ? listed.filter(({ NodeId }) => NodeIds.includes(NodeId)) : listed;
  const { results: found, gone, HeldNumber } = resultsOf(nodes, reports, input, deps.now());
  const maxErrors = maxErrorsOf(running.Order, tagged);
  const known = { isHeard: reports.length > 0, results: found, nodes, maxErrors };
  const next = await goOn(open, input, execution, known, deps);
  if (next) {
    return next;
  }
  const results = isProbe(Automations) ? resultsOfProbe(found) : found;
  const { Earliest, RefusedSince } = await recordResults(open, input, results, listed, deps);
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
    RefusedSince,
    AutomationEnded: !timedOut,
    HeldNumber,
  });
  return installationOf(ended);
}

/** Statuses of an Automation that nobody stopped. */
const ENDED_BY_ITSELF = ['Success', 'Failed', 'TimedOut'];

/**
 * Starts what follows the Automation in the same rollout, if anything does. A dry run goes on by itself where a node is
 * refused.
 *
 * @returns undefined where the rollout has come to its end.
 */
async function goOn(
  open: OpenRollout,
  input: CheckInstallationInput,
  { AutomationExecutionStatus: status }: AutomationExecution,
  found: { isHeard: boolean; results: NodeResult[]; nodes: ManagedNode[]; maxErrors: string },
  deps: CheckInstallationDeps,
): Promise<Installation | undefined> {
  const { deployment, running } = open;
  const { DeploymentId } = deployment;
  const { RolloutNumber, Automations: started = [] } = running;
  const mayGoOn = ENDED_BY_ITSELF.includes(status ?? '') && !isLate(input, deps) && !isDryRun(running);
  if (!mayGoOn || !isInVain(started, found)) {
    return undefined;
  }
  const { nodes } = deps.inventory;
  const records = await nodes.all(DeploymentId);
  const ready = found.nodes.filter((node) => !obstacleOf(node));
  const next = nextAutomation({
    rolloutNumber: RolloutNumber,
    started,
    results: found.results,
    ready,
    records,
  });
  if (!next) {
    return undefined;
  }
  await nodes.record(DeploymentId, RolloutNumber, newsOf(found.results, records, input.Bundle));
  logger.info('Going on with another canary', { Kind: next.Kind, Automations: started.length });
  const { ssm } = await deps.connectTarget(deployment, startStatements(deployment, deps));
  try {
    const plan = { ...next, ready, records, maxErrors: found.maxErrors };
    return goingOn(input.Installation, await startAutomation(open, input, plan, ssm, deps));
  } catch (error) {
    // By this name the state machine repeats this task; another Automation ends, and there is room.
    if (isNamed(error, 'AutomationExecutionLimitExceededException')) {
      throw new RetryLater(`${error.name}: ${error.message}`, { cause: error });
    }
    throw error;
  }
}

/**
 * Writes what became of the nodes. Of a healing that was in vain the node's record stays as it is, but for the reason.
 *
 * @returns what ends first of all that the nodes serve now, and since when the last one of those that are refused is so.
 */
async function recordResults(
  { deployment, running }: OpenRollout,
  { Bundle }: CheckInstallationInput,
  results: readonly NodeResult[],
  listed: readonly ManagedNode[],
  { inventory, now }: CheckInstallationDeps,
): Promise<{ Earliest: Earliest | undefined; RefusedSince: string | undefined }> {
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
  const records = await nodes.all(DeploymentId);
  const refusals = ofListed(records, listed).flatMap(({ Refusal }) => Refusal?.Since ?? []);
  return { Earliest: earliestOf(deployment, records, listed), RefusedSince: refusals.sort().at(-1) };
}

/**
 * The commands of an Automation, the canary's first. AWS does not promise that a step that failed names its command, nor that
 * every step is answered: then those commands are looked for that were sent for this rollout, and by no later Automation
 * of it.
 */
async function commandIdsOf(
  ssm: SSMClient,
  {
    StepExecutions: steps = [],
    StepExecutionsTruncated,
    ExecutionStartTime = new Date(0),
    ExecutionEndTime: end,
  }: AutomationExecution,
  { DeploymentId, RolloutNumber }: CheckInstallationInput,
  { documentName, isTrial }: { documentName: string; isTrial: boolean },
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
      ({ Parameters = {}, RequestedDateTime: at }) =>
        Parameters.DeploymentId?.[0] === DeploymentId &&
        Parameters.RolloutNumber?.[0] === String(RolloutNumber) &&
        Parameters.DryRun?.[0] === String(isTrial) &&
        !(at && end && at > end),
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
