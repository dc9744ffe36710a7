import {
  type AutomationExecution,
  type CommandInvocation,
  GetAutomationExecutionCommand,
  paginateListCommandInvocations,
  type SSMClient,
} from '@aws-sdk/client-ssm';
import { hasEnded, stopAutomation } from '../shared/automation.ts';
import {
  type Deployment,
  holdsVersion,
  isDryRun,
  type NodeOutcome,
  type NodeResult,
  type Outcome,
} from '../shared/deployment.ts';
import {
  FIRST_WAIT_SECONDS,
  type Installation,
  installationOf,
  type StartInstallationInput,
} from '../shared/installation.ts';
import type { Inventory } from '../shared/inventory.ts';
import { listNodes, type ManagedNode, obstacleOf, summaryOf } from '../shared/nodes.ts';
import { parseResultLine } from '../shared/result-line.ts';
import { executionArnOf, type OpenRollout, openRollout } from '../shared/rollout.ts';
import { type ConnectTarget, inTarget, type SessionStatement, targetArns } from '../shared/target-account.ts';

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

export type CheckInstallationInput = StartInstallationInput & {
  Installation: Extract<Installation, { Status: 'IN_PROGRESS' }>;
};

/** Polls grow from 15 s to this: GetAutomationExecution allows 3 calls a second per account and Region. */
const LONGEST_WAIT_SECONDS = 60;

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
  const longest = Math.min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** (polls + 1));
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
  const { reported, held } = await reportedResults(ssm, execution, input);
  const nodes = await listNodes(ssm, deployment);
  const results = resultsOf(nodes, reported);
  await deps.inventory.recordNodes(DeploymentId, running.RolloutNumber, results, isDryRun(running));
  const verdict = judge(results, execution, timedOut);
  // What a node says is not trusted further than the other nodes would follow it: they refuse a number that is more than a
  // day ahead of their clocks.
  const mostTrusted = Math.floor(deps.now().getTime() / 1000) + MOST_SECONDS_AHEAD;
  const { ended } = await deps.inventory.end(deployment, running.RolloutNumber, {
    ...verdict,
    ExecutionArn: executionArnOf(deps.stateMachineArn, DeploymentId, running),
    Exported: input.Bundle,
    // Degraded with no node that has it: then all go on serving what they served.
    Served: verdict.Outcome !== 'FAILED' && results.some(({ Outcome }) => holdsVersion(Outcome)),
    AutomationEnded: !timedOut,
    HeldNumber: Math.max(0, ...held.filter((number) => number <= mostTrusted)),
  });
  return installationOf(ended);
}

/** An hour less than the day after which nodes refuse. */
const MOST_SECONDS_AHEAD = 82_800;

/**
 * The result lines of all commands of the Automation, by node, and the rollout numbers that nodes hold. The canary's own
 * run comes first.
 */
async function reportedResults(
  ssm: SSMClient,
  execution: AutomationExecution,
  input: CheckInstallationInput,
): Promise<{ reported: Map<string, NodeResult>; held: number[] }> {
  const results = new Map<string, NodeResult>();
  const held: number[] = [];
  const commandIds = (execution.StepExecutions ?? []).flatMap((step) => step.Outputs?.CommandId ?? []);
  for (const CommandId of commandIds) {
    for await (const page of paginateListCommandInvocations(
      { client: ssm, pageSize: 50 },
      { CommandId, Details: true },
    )) {
      for (const invocation of page.CommandInvocations ?? []) {
        const { HeldNumber, ...result } = resultOf(invocation, input);
        held.push(HeldNumber ?? 0);
        // The fleet step finds the canary `unchanged`, or does not come to it; what the canary step did is the news.
        const first = results.get(result.NodeId);
        if (!first || !hasWorked(first) || isFault(result)) {
          results.set(result.NodeId, result);
        }
      }
    }
  }
  return { reported: results, held };
}

function resultOf(
  invocation: CommandInvocation,
  input: CheckInstallationInput,
): NodeResult & { HeldNumber?: number | undefined } {
  const { InstanceId: NodeId = '', StatusDetails = 'no status', CommandPlugins = [] } = invocation;
  const line = CommandPlugins.map((plugin) => parseResultLine(plugin.Output ?? '')).find((found) => found);
  if (!line && StatusDetails === 'Terminated') {
    return {
      NodeId,
      Outcome: 'not-reached',
      Error: 'Not started: the installation had failed on as many nodes as MaxErrors allows.',
    };
  }
  if (!line) {
    return {
      NodeId,
      Outcome: 'failed',
      Error: `The install script reported nothing; Run Command says ${StatusDetails}.`,
    };
  }
  if (line.RolloutNumber !== input.RolloutNumber || line.DeploymentId !== input.DeploymentId) {
    return { NodeId, Outcome: 'failed', Error: 'The node reported on another rollout.' };
  }
  if (holdsVersion(line.Outcome) && line.VersionId !== input.Bundle.VersionId) {
    return { NodeId, Outcome: 'failed', Error: 'The node reported on another version.' };
  }
  const { RolloutNumber: _, DeploymentId: __, ...result } = line;
  return { NodeId, ...result } as NodeResult & { HeldNumber?: number };
}

const isFault = ({ Outcome }: NodeResult) => Outcome === 'failed' || Outcome === 'rolled-back';
const hasWorked = (result: NodeResult) => !isFault(result) && result.Outcome !== 'not-reached';

/** Every node that carries the tag now, and every node that reported. */
function resultsOf(nodes: ManagedNode[], reported: Map<string, NodeResult>): NodeResult[] {
  const results = new Map(reported);
  for (const node of nodes) {
    const result = reported.get(node.NodeId);
    const obstacle = obstacleOf(node);
    if (obstacle && !(result && hasWorked(result))) {
      results.set(node.NodeId, { NodeId: node.NodeId, ...obstacle });
    } else if (!result) {
      results.set(node.NodeId, {
        NodeId: node.NodeId,
        Outcome: 'not-reached',
        Error: 'The installation ended before this node, or the node appeared during it.',
      });
    }
  }
  return [...results.values()];
}

interface Verdict {
  Outcome: Outcome;
  Error?: string;
}

/**
 * Failed: a node failed, or the Automation ended before it reached every node. Unreachable nodes alone make the
 * deployment degraded, whatever status the Automation took from them.
 */
function judge(results: NodeResult[], execution: AutomationExecution, timedOut: boolean): Verdict {
  const withOutcome = (...outcomes: NodeOutcome[]) =>
    results.filter((node) => outcomes.includes(node.Outcome));
  const failed = results.filter(isFault);
  const notReached = withOutcome('not-reached');
  const unreached = [...withOutcome('offline', 'unsupported'), ...notReached];
  const { AutomationExecutionStatus: status = 'unknown', FailureMessage: message = 'no message' } = execution;
  if (timedOut) {
    return {
      Outcome: 'FAILED',
      Error: `The installation was stopped at its deadline. ${summaryOf(failed)}`.trim(),
    };
  }
  if (failed.length > 0) {
    return { Outcome: 'FAILED', Error: summaryOf(failed) };
  }
  if (status !== 'Success' && (results.length === 0 || notReached.length > 0)) {
    return {
      Outcome: 'FAILED',
      Error: `The Automation ended as ${status}: ${message} ${summaryOf(unreached)}`.trim(),
    };
  }
  if (unreached.length > 0) {
    return { Outcome: 'DEGRADED', Error: summaryOf(unreached) };
  }
  // Without any node, the last one with the tag went away while the installation ran.
  return { Outcome: results.length > 0 ? 'INSTALLED' : 'WAITING' };
}

function sessionStatements(
  deployment: Deployment,
  config: { prefix: string; partition: string },
): SessionStatement[] {
  return [
    // DescribeInstanceInformation and ListCommandInvocations have no resource level that fits a list.
    {
      Effect: 'Allow',
      Action: ['ssm:DescribeInstanceInformation', 'ssm:ListCommandInvocations'],
      Resource: '*',
    },
    {
      Effect: 'Allow',
      Action: ['ssm:GetAutomationExecution', 'ssm:StopAutomationExecution'],
      Resource: targetArns(config, deployment).automationExecutions,
    },
  ];
}
