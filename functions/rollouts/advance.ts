import { type SFNClient, StartExecutionCommand } from '@aws-sdk/client-sfn';
import type { Certificate } from '../domain/certificate.ts';
import {
  type Deployment,
  executionNameOf,
  isDryRun,
  orderOf,
  type RolloutInput,
  type Running,
  timestamp,
  type Wanted,
} from '../domain/deployment.ts';
import { isNamed, RetryLater } from '../domain/errors.ts';
import { frozenText } from '../domain/freeze.ts';
import { type Decision, driftedNodes, type Nodes, next, REASONS } from '../domain/next.ts';
import type { Order } from '../domain/order.ts';
import { Inventory, ROUNDS } from '../inventory/inventory.ts';
import type { ClientConfig, Clients } from '../runtime/clients.ts';
import type { Clock } from '../runtime/clock.ts';
import { LOGGED, logger } from '../runtime/observability.ts';

export interface AdvanceDeps {
  /** False while the whole stack is switched off (parameter RolloutsEnabled): then no rollout begins or starts. */
  rolloutsEnabled: boolean;
  inventory: Inventory;
  sfn: SFNClient;
  stateMachineArn: string;
  now: () => Date;
}

/** What `advanceDepsFrom` reads. */
export const ADVANCE_VARIABLES = ['INVENTORY_TABLE', 'STATE_MACHINE_ARN', 'ROLLOUTS_ENABLED'] as const;

/**
 * What beginning and starting a rollout needs.
 *
 * @param sfnConfig how often a start is tried; the SDK's default unless given.
 */
export function advanceDepsFrom(
  env: Record<(typeof ADVANCE_VARIABLES)[number], string>,
  clients: Pick<Clients, 'documents' | 'sfn'>,
  clock: Clock,
  sfnConfig?: ClientConfig,
): AdvanceDeps {
  return {
    rolloutsEnabled: env.ROLLOUTS_ENABLED === 'true',
    inventory: new Inventory(clients.documents(), env.INVENTORY_TABLE, clock.now),
    sfn: clients.sfn(sfnConfig),
    stateMachineArn: env.STATE_MACHINE_ARN,
    now: clock.now,
  };
}

/** Who advances a deployment, and what it knows. */
export interface Advancing {
  /** Of a rollout that repairs: it has no other. */
  correlationId: string;
  nodes?: Nodes | undefined;
  /** When the rollout may start; at once by default. */
  slot?: Date | undefined;
  /** The deployment as the caller's own write has just answered it: then it is not read first. */
  written?: Deployment | undefined;
}

/** What keeps every rollout from beginning now. */
export interface Standstill {
  reason: 'off' | 'frozen';
  /** The same for people: who, since when, why. */
  words: string;
}

/** Undefined while rollouts may begin. */
export async function standstillOf({
  rolloutsEnabled,
  inventory,
}: Pick<AdvanceDeps, 'rolloutsEnabled' | 'inventory'>): Promise<Standstill | undefined> {
  if (!rolloutsEnabled) {
    return { reason: 'off', words: REASONS.off };
  }
  const freeze = await inventory.freezes.current();
  return freeze && { reason: 'frozen', words: frozenText(freeze) };
}

/** A decision, and its reason for people. */
export interface Decided extends Decision {
  words: string;
}

const isStart = ({ action }: Decision) => action === 'begin' || action === 'start';

/** What `next` decides, as far as this stack may do it. The freeze is read only where something would begin. */
export async function decide(
  deployment: Deployment,
  nodes: Nodes | undefined,
  deps: Pick<AdvanceDeps, 'rolloutsEnabled' | 'inventory' | 'now'>,
): Promise<Decided> {
  const decision = next(deployment, nodes, 'not asked', deps.now());
  const standstill = isStart(decision) ? await standstillOf(deps) : undefined;
  return standstill ? { action: 'nothing', ...standstill } : { ...decision, words: REASONS[decision.reason] };
}

/**
 * Begins and starts what a deployment needs next, if anything. Safe to repeat, and for two callers at once: what the
 * other one was faster with is read again.
 *
 * @returns the deployment as it is then, undefined when there is none; `began` is true for the caller that began it.
 * @throws RetryLater when others are faster each time, and what StartExecution throws.
 */
export async function advance(
  deploymentId: string,
  deps: AdvanceDeps,
  how: Advancing,
): Promise<{ deployment: Deployment | undefined; began: boolean }> {
  let deployment = how.written ?? (await deps.inventory.get(deploymentId));
  let began = false;
  for (let round = 0; deployment && round < ROUNDS; round += 1) {
    const decision = next(deployment, how.nodes, 'not asked', deps.now());
    // What it has begun itself it starts: a freeze that comes in between finds it begun.
    if (!isStart(decision) || (!began && (await standstillOf(deps)))) {
      return { deployment, began };
    }
    if (decision.action === 'start') {
      return { deployment: await startExecution(deployment, deps), began };
    }
    const { Generation, Serial, NotBefore, Cause, CorrelationId } = deployment.Wanted as Wanted;
    const isWanted = decision.reason === 'asked' || decision.reason === 'renewed';
    const repair = { Cause: 'RECONCILE' as const, CorrelationId: how.correlationId };
    const begun: Deployment | undefined = await deps.inventory.begin(deployment, {
      Generation,
      Order: orderOf(deployment),
      Serial,
      NotBefore,
      ...(isWanted ? { Cause, CorrelationId } : repair),
      ...(decision.reason === 'drifted' ? { Cause: 'DRIFT', ...healedNodes(how.nodes) } : {}),
      slot: how.slot,
    });
    logger.info(begun ? 'Rollout begun' : 'Another caller was faster', { Reason: REASONS[decision.reason] });
    began ||= begun !== undefined;
    deployment = begun ?? (await deps.inventory.get(deploymentId));
  }
  if (deployment) {
    throw new RetryLater(`Other rollouts of ${deploymentId} begin and end too fast.`);
  }
  return { deployment, began };
}

/** Run Command takes at most 50 nodes by their ids (SSM API reference, Target): more are reached by their tag. */
const MOST_BY_ID = 50;

function healedNodes(nodes: Nodes | undefined): { NodeIds?: string[] } {
  const NodeIds = driftedNodes(nodes);
  return NodeIds.length <= MOST_BY_ID ? { NodeIds } : {};
}

/**
 * Begins a dry run of an order, which `advance` starts. The deployment keeps its own order, if it has one.
 *
 * @returns undefined when a rollout is running, or the deployment is being deleted.
 */
export async function beginDryRun(
  deploymentId: string,
  order: Order,
  certificate: Certificate,
  correlationId: string,
  deps: AdvanceDeps,
): Promise<Deployment | undefined> {
  const tried = await deps.inventory.noteTrial(deploymentId, order, certificate.NotAfter);
  const begun =
    tried &&
    (await deps.inventory.begin(tried, {
      Generation: 0,
      Order: order,
      Serial: certificate.Serial,
      NotBefore: certificate.NotBefore,
      Cause: 'DRY_RUN',
      CorrelationId: correlationId,
    }));
  if (begun) {
    return begun;
  }
  const current = await deps.inventory.get(deploymentId);
  const { Running } = current ?? {};
  return Running && isDryRun(Running) && Running.CorrelationId === correlationId ? current : undefined;
}

/**
 * Starts the execution of the running rollout. Name and input follow from the record alone, so that a repeated start (a
 * retry, another function after a crash) gets the same execution and never a second one.
 *
 * StartExecution with the same name and input answers with the running execution; once that has ended, or where the
 * first edition started it with another input, it raises ExecutionAlreadyExists (API reference of StartExecution). An
 * execution that has ended by then and recorded nothing is closed as any other.
 */
async function startExecution(deployment: Deployment, deps: AdvanceDeps): Promise<Deployment> {
  const { DeploymentId } = deployment;
  const running = deployment.Running as Running;
  const { RolloutNumber, StartDelaySeconds, Serial, Cause, CorrelationId } = running;
  const name = executionNameOf(DeploymentId, running);
  const input: RolloutInput = { DeploymentId, RolloutNumber, StartDelaySeconds };
  try {
    await deps.sfn.send(
      new StartExecutionCommand({
        stateMachineArn: deps.stateMachineArn,
        name,
        input: JSON.stringify(input),
      }),
    );
  } catch (error) {
    if (!isNamed(error, 'ExecutionAlreadyExists')) {
      throw error;
    }
  }
  logger.info(LOGGED.rolloutStarted, { ...input, Serial, Cause, CorrelationId, ExecutionName: name });
  const StartedAt = timestamp(deps.now());
  const noted = await deps.inventory.note(deployment, RolloutNumber, { StartedAt });
  return noted ?? { ...deployment, Running: { ...running, StartedAt } };
}
