import {
  type AutomationExecution,
  type CommandInvocation,
  GetAutomationExecutionCommand,
  paginateListCommandInvocations,
  type SSMClient,
} from '@aws-sdk/client-ssm';
import { stopAutomation } from '../shared/automation.ts';
import type { Deployment, NodeOutcome, NodeResult } from '../shared/deployment.ts';
import { holdsVersion } from '../shared/inventory.ts';
import { listNodes, type ManagedNode, obstacleOf, summaryOf } from '../shared/nodes.ts';
import { parseResultLine } from '../shared/result-line.ts';
import {
  finishRollout,
  openRollout,
  type RolloutDeps,
  runningExecutionArn,
  startPending,
} from '../shared/rollout.ts';
import { type ConnectTarget, inTarget, type SessionStatement, targetArns } from '../shared/target-account.ts';
import {
  FIRST_WAIT_SECONDS,
  type Installation,
  installationOf,
  type StartInstallationInput,
} from '../start-installation/start-installation.ts';

export interface CheckInstallationDeps extends RolloutDeps {
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
  const { deployment, ended } = await openRollout(deps.inventory, input);
  if (ended) {
    await startPending(deployment, deps);
    return installationOf(ended);
  }
  const { ssm } = await deps.connectTarget(deployment, sessionStatements(deployment, deps));
  return inTarget(deployment, async () => {
    const { Installation: installation } = input;
    const execution = await getAutomation(ssm, installation.AutomationExecutionId);
    const running = !ENDED.has(execution.AutomationExecutionStatus ?? '');
    const late = deps.now().toISOString() > installation.Deadline;
    if (running && !late) {
      return { ...installation, ...nextPoll(installation.Polls, deps.random) };
    }
    if (running) {
      await stopAutomation(ssm, installation.AutomationExecutionId);
    }
    return conclude(input, deployment, execution, ssm, late && running, deps);
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
  input: CheckInstallationInput,
  deployment: Deployment,
  execution: AutomationExecution,
  ssm: SSMClient,
  timedOut: boolean,
  deps: CheckInstallationDeps,
): Promise<Installation> {
  const reported = await reportedResults(ssm, execution, input);
  const nodes = await listNodes(ssm, deployment);
  const results = resultsOf(nodes, reported);
  const dryRun = input.Cause === 'DRY_RUN';
  await deps.inventory.recordNodes(deployment.DeploymentId, input.RolloutNumber, results, dryRun);
  const verdict = judge(results, execution, timedOut);
  const { Serial, VersionId, NotAfter } = input.Bundle;
  await finishRollout(
    deployment,
    input.RolloutNumber,
    {
      Status: verdict.Status,
      ExecutionArn: runningExecutionArn(deps.stateMachineArn, deployment),
      ...(verdict.error === undefined ? {} : { LastError: verdict.error }),
      Exported: { Serial, VersionId, NotAfter },
      // Degraded with no node that has it: then all go on serving what they served.
      Served: verdict.Status !== 'FAILED' && results.some(({ Outcome }) => holdsVersion(Outcome)),
    },
    deps,
  );
  return verdict.Status === 'FAILED'
    ? { Status: 'FAILED', Error: verdict.error ?? '' }
    : { Status: verdict.Status };
}

/** The result lines of all commands of the Automation, by node. The canary's own run comes first. */
async function reportedResults(
  ssm: SSMClient,
  execution: AutomationExecution,
  input: CheckInstallationInput,
): Promise<Map<string, NodeResult>> {
  const results = new Map<string, NodeResult>();
  const commandIds = (execution.StepExecutions ?? []).flatMap((step) => step.Outputs?.CommandId ?? []);
  for (const CommandId of commandIds) {
    for await (const page of paginateListCommandInvocations(
      { client: ssm, pageSize: 50 },
      { CommandId, Details: true },
    )) {
      for (const invocation of page.CommandInvocations ?? []) {
        const result = resultOf(invocation, input);
        // The fleet step finds the canary `unchanged`, or does not come to it; what the canary step did is the news.
        const first = results.get(result.NodeId);
        if (!first || !hasWorked(first) || isFault(result)) {
          results.set(result.NodeId, result);
        }
      }
    }
  }
  return results;
}

function resultOf(invocation: CommandInvocation, input: CheckInstallationInput): NodeResult {
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
  return { NodeId, ...result } as NodeResult;
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
  Status: 'INSTALLED' | 'DEGRADED' | 'WAITING' | 'FAILED';
  error?: string;
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
      Status: 'FAILED',
      error: `The installation was stopped at its deadline. ${summaryOf(failed)}`.trim(),
    };
  }
  if (failed.length > 0) {
    return { Status: 'FAILED', error: summaryOf(failed) };
  }
  if (status !== 'Success' && (results.length === 0 || notReached.length > 0)) {
    return {
      Status: 'FAILED',
      error: `The Automation ended as ${status}: ${message} ${summaryOf(unreached)}`.trim(),
    };
  }
  if (unreached.length > 0) {
    return { Status: 'DEGRADED', error: summaryOf(unreached) };
  }
  // Without any node, the last one with the tag went away while the installation ran.
  return { Status: results.length > 0 ? 'INSTALLED' : 'WAITING' };
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
