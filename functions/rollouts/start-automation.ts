import { createHash, randomUUID } from 'node:crypto';
import { type SSMClient, StartAutomationExecutionCommand, type Tag } from '@aws-sdk/client-ssm';
import { DEPLOYMENT_TAG } from '../domain/bundle.ts';
import { canaryAmong, type NextAutomation } from '../domain/canary.ts';
import { type AutomationStart, executionNameOf, isDryRun, type NodeRecord } from '../domain/deployment.ts';
import {
  isDenial,
  isNamed,
  NotAllowedByOwner,
  RetryLater,
  RolloutSuperseded,
  TargetNotPrepared,
} from '../domain/errors.ts';
import type { StartInstallationInput } from '../domain/installation.ts';
import { isDrift } from '../domain/look.ts';
import type { ManagedNode } from '../domain/nodes.ts';
import type { InstallOptions, Target } from '../domain/order.ts';
import type { Inventory } from '../inventory/inventory.ts';
import { stopAutomation } from '../target-account/automation.ts';
import { type SessionStatement, targetArns } from '../target-account/session.ts';
import type { OpenRollout } from './open-rollout.ts';

export interface StartAutomationDeps {
  inventory: Inventory;
  prefix: string;
  partition: string;
}

/** What is started, and where. */
export interface AutomationPlan extends NextAutomation<ManagedNode> {
  /** All nodes that can be reached, the candidates for the canary among them. */
  ready: readonly ManagedNode[];
  records: readonly NodeRecord[];
  /** Failed nodes after which no further one is started, as `maxErrorsOf` says. */
  maxErrors: string;
}

/**
 * Starts an Automation of a rollout and notes it. The canary is noted first: a repeated task chooses the same one.
 *
 * @returns its id.
 * @throws RolloutSuperseded where the rollout was ended meanwhile: then the Automation is stopped.
 * @throws RetryLater when it could not be noted.
 */
export async function startAutomation(
  open: OpenRollout,
  input: StartInstallationInput,
  plan: AutomationPlan,
  ssm: SSMClient,
  deps: StartAutomationDeps,
): Promise<string> {
  const { deployment, running } = open;
  const { DeploymentId } = deployment;
  const { RolloutNumber, Automations: before = [] } = running;
  const canary = canaryAmong(plan.candidates, plan.records, RolloutNumber);
  await deps.inventory.nodes.noteCanary(DeploymentId, canary.NodeId, RolloutNumber);
  const start: AutomationStart = { Kind: plan.Kind, CanaryNodeId: canary.NodeId };
  const AutomationExecutionId = await send(open, documentParameters(open, input, start, plan), ssm, deps);
  const current = await deps.inventory
    .note(deployment, RolloutNumber, { AutomationExecutionId, Automations: [...before, start] })
    .catch((error: Error) => {
      // A rollout that ended here would leave an Automation that nobody knows of.
      throw new RetryLater(`Automation ${AutomationExecutionId} could not be noted: ${error.message}`);
    });
  if (!current || current.Status === 'DELETING') {
    // The call that deleted the deployment, or ended its rollout, did not know of this Automation yet.
    await stopAutomation(ssm, AutomationExecutionId);
    throw new RolloutSuperseded(
      `Rollout ${RolloutNumber} of ${DeploymentId} was ended while its installation started.`,
    );
  }
  return AutomationExecutionId;
}

/**
 * The token follows from the rollout and from what it started before, so that a repeated call does not start a second
 * Automation. What SSM answers to a used token is not documented beyond "can't be reused"; if it refuses, a second
 * Automation with a fresh token is harmless: nodes lock, and answer `unchanged`.
 *
 * The tag marks it as ours: the account lets this system stop what has the mark. A member stack of the edition before allows
 * no tag, and stops what has none.
 */
async function send(
  { deployment, running }: OpenRollout,
  Parameters: Record<string, string[]>,
  ssm: SSMClient,
  config: { prefix: string; partition: string },
): Promise<string> {
  const { AutomationExecutionId: last } = running;
  const startWith = async (marks: { Tags?: Tag[] }, ClientToken: string) => {
    const DocumentName = targetArns(config, deployment).fleetDocumentName;
    const { AutomationExecutionId = '' } = await ssm.send(
      new StartAutomationExecutionCommand({ DocumentName, ClientToken, Parameters, ...marks }),
    );
    return AutomationExecutionId;
  };
  const marks = { Tags: [{ Key: DEPLOYMENT_TAG, Value: deployment.DeploymentId }] };
  const start = (clientToken: string) =>
    startWith(marks, clientToken)
      .catch((error: unknown) => {
        if (!isDenial(error)) {
          throw error;
        }
        return startWith({}, clientToken);
      })
      .catch((error: unknown) => {
        throw isNamed(error, 'InvalidAutomationExecutionParametersException')
          ? refusedParameters(error, deployment, Parameters)
          : error;
      });
  const name = executionNameOf(deployment.DeploymentId, running);
  try {
    return await start(uuidFrom(last ? `${name} after ${last}` : name));
  } catch (error) {
    if (isNamed(error, 'IdempotentParameterMismatch')) {
      return start(randomUUID());
    }
    throw error;
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
    `The member stack of ${place} does not seem to allow the certificate name ${CertName} (its parameter ` +
      `AllowedCertNames)${services ? `, or not the services ${services} (AllowedServices)` : ''}. ` +
      `If it allows them, it is older than this stack, and its SSM documents do not take every option of this ` +
      `deployment. Then update member-account.yaml there. AWS says: ${error.message}`,
    { cause: error },
  );
}

/**
 * The parameters of the fleet document. An empty value is left out: SSM takes 1 to 512 characters, and the document's
 * default is empty. So a member stack that is one edition older gets no parameter that it does not know, unless the order
 * asks for it; nor does it look, so that nothing is healed there.
 */
function documentParameters(
  { deployment, running }: OpenRollout,
  { Bundle }: StartInstallationInput,
  { Kind, CanaryNodeId }: AutomationStart,
  { ready, records, maxErrors }: AutomationPlan,
): Record<string, string[]> {
  const { Options: options, MaxConcurrency, ExcludeNodeIds = [] } = running.Order;
  const isProbe = Kind === 'probe';
  const isTrial = isProbe || isDryRun(running);
  // Of a node where a look found something else, files that are unchanged prove nothing: it asks the port.
  const heals = !isTrial && records.some(({ Finding }) => isDrift(Finding));
  const values: Record<string, string> = {
    CanaryNodeId,
    TargetTagKey: deployment.TargetTagKey,
    TargetTagValue: deployment.TargetTagValue,
    MaxConcurrency,
    // A probe is to ask every node.
    MaxErrors: isProbe ? '100%' : maxErrors,
    SecretArn: Bundle.SecretArn,
    VersionId: Bundle.VersionId,
    CertName: deployment.CertName,
    DeploymentId: deployment.DeploymentId,
    RolloutNumber: String(running.RolloutNumber),
    CorrelationId: running.CorrelationId,
    ...Object.fromEntries(Object.entries(options).map(([name, value]) => [name, parameterOf(value)])),
    ExcludeNodeIds: ExcludeNodeIds.map((id) => id.replace('i-', '')).join(' '),
    DryRun: String(isTrial),
    ...(heals ? { Heal: 'true' } : {}),
  };
  const given = Object.entries(values).filter(([, value]) => value !== '');
  const NodeIds = [...new Set([CanaryNodeId, ...ready.map(({ NodeId }) => NodeId)])];
  return {
    ...Object.fromEntries(given.map(([name, value]) => [name, [value]])),
    ...(running.NodeIds ? { Scope: ['nodes'], NodeIds } : {}),
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

/**
 * What a session must allow that starts Automations.
 *
 * @param more other actions on Automations: a statement of their own would make the policy too long for STS.
 */
export function startStatements(
  target: Target,
  config: { prefix: string; partition: string },
  more: string[] = [],
): SessionStatement[] {
  const arns = targetArns(config, target);
  return [
    {
      Effect: 'Allow',
      Action: ['ssm:StartAutomationExecution'],
      Resource: [arns.fleetDocument, arns.fleetDocumentDefinition, arns.automationExecutions],
    },
    // Marks what it starts. Stops that, when the deployment was deleted meanwhile, and what the rollout before left.
    {
      Effect: 'Allow',
      Action: ['ssm:AddTagsToResource', 'ssm:StopAutomationExecution', ...more],
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
