import { isDeepStrictEqual } from 'node:util';
import { type ACMClient, RenewCertificateCommand } from '@aws-sdk/client-acm';
import { StopExecutionCommand } from '@aws-sdk/client-sfn';
import { StopAutomationExecutionCommand } from '@aws-sdk/client-ssm';
import type * as z from 'zod';
import { restoreBundle, scheduleDeletion } from '../shared/bundle.ts';
import { allowsName, type Certificate, describeDeployable, NotDeployable } from '../shared/certificate.ts';
import {
  type Deployment,
  deploymentIdOf,
  type Order,
  type RolloutOrder,
  secretNameOf,
  timestamp,
} from '../shared/deployment.ts';
import { isNamed, RequestRefused } from '../shared/errors.ts';
import { InvalidToken } from '../shared/inventory.ts';
import { listNodes, obstacleOf } from '../shared/nodes.ts';
import {
  claimAndStart,
  type RolloutDeps,
  resumeUnstarted,
  runningExecutionArn,
  startClaimed,
} from '../shared/rollout.ts';
import { type ConnectTarget, inTarget, type SessionStatement, targetArns } from '../shared/target-account.ts';
import {
  type DeploymentRequest,
  type FleetQuery,
  orderFrom,
  type PageQuery,
  type RenewalBody,
} from './request.ts';

export interface DeploymentsApiDeps extends RolloutDeps {
  acm: ACMClient;
  connectTarget: ConnectTarget<'ssm' | 'secretsManager'>;
  prefix: string;
  partition: string;
  account: string;
  region: string;
  /** Accounts that deployments may target; empty: the central account only. */
  targetAccounts: string[];
  targetTagKeys: string[];
  requireCertificateTag: boolean;
}

/** What a request that starts something is answered with. */
export interface Started {
  DeploymentId: string;
  Serial: string;
  /** Absent only when the rollout's execution could not be started yet; reconcile starts it. */
  ExecutionArn?: string;
  Warnings: string[];
}

const DAY_MS = 86_400_000;

/**
 * Registers a deployment and starts its rollout, or a dry run of it. Everything that can refuse the request
 * comes before the first write.
 *
 * @throws RequestRefused, TargetAccessDenied, TargetNotPrepared
 */
export async function createDeployment(
  certName: string,
  body: DeploymentRequest,
  correlationId: string,
  deps: DeploymentsApiDeps,
): Promise<Started> {
  const order = orderFrom(certName, body, deps);
  refuseForeign(certName, body, order, deps);
  const certificate = await deployableCertificate(certName, order.CertificateArn, deps);
  const deploymentId = deploymentIdOf(order, certName);
  const warnings = await prepareTarget(deploymentId, order, deps);
  const rollout: RolloutOrder = {
    CertificateArn: order.CertificateArn,
    Serial: certificate.Serial,
    Cause: body.DryRun ? 'DRY_RUN' : 'REQUEST',
    CorrelationId: correlationId,
  };
  const started = { DeploymentId: deploymentId, Serial: certificate.Serial };
  if (body.DryRun) {
    const claimed = await deps.inventory.claimDryRun(deploymentId, order, rollout, certificate.NotAfter);
    if (!claimed) {
      throw new RequestRefused(
        409,
        'A rollout of this deployment is running: repeat the dry run when it has ended.',
      );
    }
    return { ...started, ...executionOf(await startClaimed(claimed, deps)), Warnings: warnings };
  }
  let follows = false;
  const registered = await deps.inventory.register(
    deploymentId,
    order,
    rollout,
    certificate.NotAfter,
    (current) => {
      follows = !isSameRollout(current, order, certificate.Serial);
      return follows;
    },
  );
  if (!registered) {
    throw new RequestRefused(409, 'The deployment is being deleted: repeat the DELETE, then POST again.');
  }
  if (registered.claimed) {
    return {
      ...started,
      ...executionOf(await startClaimed(registered.deployment, deps)),
      Warnings: warnings,
    };
  }
  await resumeUnstarted(registered.deployment, deps);
  if (follows) {
    warnings.push('Another rollout of this deployment is running: this one starts when it has ended.');
  }
  return {
    ...started,
    ExecutionArn: runningExecutionArn(deps.stateMachineArn, registered.deployment),
    Warnings: warnings,
  };
}

const executionOf = (arn: string | undefined) => (arn === undefined ? {} : { ExecutionArn: arn });

/** Whether the running rollout does what the order asks for. */
function isSameRollout(current: Deployment, order: Order, serial: string): boolean {
  const settings = ({ Options, MaxConcurrency, MaxErrors, CertificateArn }: Order) => ({
    Options,
    MaxConcurrency,
    MaxErrors,
    CertificateArn,
  });
  return (
    current.Rollout?.Serial === serial &&
    current.Rollout.Cause !== 'DRY_RUN' &&
    isDeepStrictEqual(plain(settings(current)), plain(settings(order)))
  );
}

/** Without the undefined members that DynamoDB drops. */
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

function refuseForeign(
  certName: string,
  body: DeploymentRequest,
  order: Order,
  deps: DeploymentsApiDeps,
): void {
  if (body.CertName !== undefined && body.CertName !== certName) {
    throw new RequestRefused(400, 'The body is not valid.', [
      { Field: 'CertName', Reason: `must equal the path's CertName, ${certName}` },
    ]);
  }
  const faults = [];
  const allowedAccounts = deps.targetAccounts.length > 0 ? deps.targetAccounts : [deps.account];
  if (!allowedAccounts.includes(order.TargetAccount)) {
    faults.push({ Field: 'TargetAccount', Reason: 'not one of the accounts that this stack may deploy to' });
  }
  if (!deps.targetTagKeys.includes(order.TargetTagKey)) {
    faults.push({
      Field: 'TargetTagKey',
      Reason: `not one of the tag keys that this stack may use: ${deps.targetTagKeys.join(', ')}`,
    });
  }
  if (faults.length > 0) {
    throw new RequestRefused(403, 'The target is not allowed.', faults);
  }
  refuseElsewhere(order.CertificateArn, deps);
}

/** A certificate can be exported only in its own account and Region. */
function refuseElsewhere(certificateArn: string, deps: DeploymentsApiDeps): void {
  const [, , , region, account] = certificateArn.split(':');
  if (region !== deps.region || account !== deps.account) {
    throw new RequestRefused(422, 'The certificate is in another account or Region.', [
      {
        Field: 'CertificateArn',
        Reason: `this stack exports certificates of account ${deps.account} in ${deps.region} only`,
      },
    ]);
  }
}

async function deployableCertificate(
  certName: string,
  certificateArn: string,
  deps: DeploymentsApiDeps,
): Promise<Certificate> {
  const field = (Reason: string) => [{ Field: 'CertificateArn', Reason }];
  const certificate = await describeDeployable(deps.acm, certificateArn).catch((error: unknown) => {
    if (error instanceof NotDeployable) {
      throw new RequestRefused(422, 'The certificate cannot be delivered.', field(error.message));
    }
    throw error;
  });
  if (!certificate) {
    throw new RequestRefused(404, 'ACM does not know the certificate.', field('no such certificate'));
  }
  if (deps.requireCertificateTag && !(await allowsName(deps.acm, certificateArn, certName))) {
    throw new RequestRefused(403, 'The certificate may not be deployed under this name.', [
      {
        Field: 'CertName',
        Reason: `the certificate's tag CertName must be ${certName}, or a prefix of it followed by +`,
      },
    ]);
  }
  return certificate;
}

/** Proves that the target account can be reached, restores a deleted bundle, and looks at the nodes. */
async function prepareTarget(
  deploymentId: string,
  order: Order,
  deps: DeploymentsApiDeps,
): Promise<string[]> {
  const target = { ...order, DeploymentId: deploymentId };
  const { ssm, secretsManager } = await deps.connectTarget(target, [
    // DescribeInstanceInformation has no resource level.
    { Effect: 'Allow', Action: ['ssm:DescribeInstanceInformation'], Resource: '*' },
    bundleStatement(target, deps, 'secretsmanager:RestoreSecret'),
  ]);
  return inTarget(order, async () => {
    const nodes = await listNodes(ssm, order);
    await restoreBundle(secretsManager, secretNameOf(deps.prefix, target));
    if (nodes.length === 0) {
      return [
        `No managed node in account ${order.TargetAccount}, Region ${order.TargetRegion} carries the tag ` +
          `${order.TargetTagKey}=${order.TargetTagValue} yet: the certificate is installed when one does.`,
      ];
    }
    return nodes.flatMap((node) => {
      const obstacle = obstacleOf(node);
      return obstacle ? [`${node.NodeId}: ${obstacle.Error}`] : [];
    });
  });
}

function bundleStatement(
  target: Deployment | (Order & { DeploymentId: string }),
  deps: DeploymentsApiDeps,
  action: string,
): SessionStatement {
  return {
    Effect: 'Allow',
    Action: ['secretsmanager:DescribeSecret', action],
    Resource: targetArns(deps, target).bundle(target),
  };
}

/** Installs again now. While a rollout of the same serial runs, that one is the answer. */
export async function startRollout(
  certName: string,
  deploymentId: string,
  correlationId: string,
  deps: DeploymentsApiDeps,
): Promise<Started> {
  const deployment = await getOwn(certName, deploymentId, deps);
  if (deployment.Status === 'DELETING') {
    throw new RequestRefused(409, 'The deployment is being deleted.');
  }
  if (deployment.DryRunOnly) {
    throw new RequestRefused(409, 'Only dry runs were requested: POST the deployment without DryRun first.');
  }
  const { CertificateArn } = deployment;
  const certificate = await deployableCertificate(certName, CertificateArn, deps);
  const rollout: RolloutOrder = {
    CertificateArn,
    Serial: certificate.Serial,
    Cause: 'REQUEST',
    CorrelationId: correlationId,
  };
  const started = { DeploymentId: deploymentId, Serial: certificate.Serial };
  const executionArn = await claimAndStart(deployment, rollout, deps);
  if (executionArn) {
    return { ...started, ExecutionArn: executionArn, Warnings: [] };
  }
  const current = await getOwn(certName, deploymentId, deps);
  if (!current.Rollout) {
    throw new RequestRefused(409, 'Another rollout ended in this moment: repeat the request.');
  }
  await resumeUnstarted(current, deps);
  const Warnings: string[] = [];
  if (
    !isSameRollout(current, current, certificate.Serial) &&
    (await deps.inventory.queue(current, rollout))
  ) {
    Warnings.push('Another rollout of this deployment is running: this one starts when it has ended.');
  }
  return { ...started, ExecutionArn: runningExecutionArn(deps.stateMachineArn, current), Warnings };
}

/** One page of the deployments of a name, or of the whole fleet. */
export async function listDeployments(
  certName: string | undefined,
  query: z.infer<typeof FleetQuery> | z.infer<typeof PageQuery>,
  deps: DeploymentsApiDeps,
) {
  const { Limit, NextToken, ...filter } = query as z.infer<typeof FleetQuery>;
  const { ExpiresWithinDays: days, ...indexed } = filter;
  const page = await deps.inventory
    .fleet(
      {
        ...indexed,
        ...(certName === undefined ? {} : { CertName: certName }),
        ...(days === undefined
          ? {}
          : { NotAfterAtMost: timestamp(new Date(deps.now().getTime() + days * DAY_MS)) }),
      },
      Limit,
      NextToken,
    )
    .catch(refuseToken);
  return {
    Deployments: page.items.map((deployment) => view(deployment, deps)),
    ...(page.nextToken ? { NextToken: page.nextToken } : {}),
  };
}

/** One deployment, with a page of its nodes. */
export async function getDeployment(
  certName: string,
  deploymentId: string,
  query: z.infer<typeof PageQuery>,
  deps: DeploymentsApiDeps,
) {
  const deployment = await getOwn(certName, deploymentId, deps);
  const page = await deps.inventory.nodes(deploymentId, query.Limit, query.NextToken).catch(refuseToken);
  const Nodes = page.items.map((node) => {
    const { Item: _, DeploymentId: __, ...fields } = node as typeof node & { Item: string };
    return fields;
  });
  return {
    ...view(deployment, deps),
    Nodes,
    ...(page.nextToken ? { NextToken: page.nextToken } : {}),
  };
}

function refuseToken(error: unknown): never {
  if (error instanceof InvalidToken) {
    throw new RequestRefused(400, 'The query is not valid.', [{ Field: 'NextToken', Reason: error.message }]);
  }
  throw error;
}

/** A deployment as callers see it: the table's own fields left out, the running execution named. */
function view(deployment: Deployment, deps: DeploymentsApiDeps) {
  const { Item: _, Rollout, ...fields } = deployment as Deployment & { Item?: string };
  return {
    ...fields,
    ...(Rollout
      ? { Rollout: { ...Rollout, ExecutionArn: runningExecutionArn(deps.stateMachineArn, deployment) } }
      : {}),
  };
}

/** @throws RequestRefused 404, also where the deployment belongs to another CertName. */
async function getOwn(certName: string, deploymentId: string, deps: DeploymentsApiDeps): Promise<Deployment> {
  const deployment = await deps.inventory.get(deploymentId);
  if (deployment?.CertName !== certName) {
    throw new RequestRefused(404, `There is no deployment ${deploymentId} of ${certName}.`);
  }
  return deployment;
}

/**
 * Stops managing a deployment: its rollout is stopped, its bundle scheduled for deletion, its record removed.
 * Files on nodes stay. Each step can be repeated; a DELETE that failed half-way is finished by the next.
 *
 * @param force removes the record even where the target account refuses us, for an account that is closed.
 */
export async function deleteDeployment(
  certName: string,
  deploymentId: string,
  force: boolean,
  deps: DeploymentsApiDeps,
) {
  await getOwn(certName, deploymentId, deps);
  const deployment = await deps.inventory.markDeleting(deploymentId);
  if (!deployment) {
    throw new RequestRefused(404, `There is no deployment ${deploymentId} of ${certName}.`);
  }
  if (deployment.Rollout) {
    await stopExecution(runningExecutionArn(deps.stateMachineArn, deployment), deps);
  }
  const warnings: string[] = [];
  try {
    await withdrawFromTarget(deployment, deps);
  } catch (error) {
    if (!force || !isNamed(error, 'TargetAccessDenied', 'TargetNotPrepared')) {
      throw error;
    }
    warnings.push(`The bundle and a running installation were left as they are. ${error.message}`);
  }
  await deps.inventory.remove(deployment);
  return { DeploymentId: deploymentId, Status: 'DELETED', Warnings: warnings };
}

async function stopExecution(executionArn: string, deps: DeploymentsApiDeps): Promise<void> {
  try {
    await deps.sfn.send(new StopExecutionCommand({ executionArn, cause: 'The deployment is deleted.' }));
  } catch (error) {
    // Claimed but never started: then it cannot start any more either, as the deployment is being deleted.
    if (!isNamed(error, 'ExecutionDoesNotExist')) {
      throw error;
    }
  }
}

async function withdrawFromTarget(deployment: Deployment, deps: DeploymentsApiDeps): Promise<void> {
  const { ssm, secretsManager } = await deps.connectTarget(deployment, [
    {
      Effect: 'Allow',
      Action: ['ssm:StopAutomationExecution'],
      Resource: targetArns(deps, deployment).automationExecutions,
    },
    bundleStatement(deployment, deps, 'secretsmanager:DeleteSecret'),
  ]);
  await inTarget(deployment, async () => {
    const AutomationExecutionId = deployment.Rollout?.AutomationExecutionId;
    if (AutomationExecutionId) {
      await ssm
        .send(new StopAutomationExecutionCommand({ AutomationExecutionId, Type: 'Cancel' }))
        .catch((error: unknown) => {
          // It has ended already, or its history is gone.
          if (
            !isNamed(error, 'InvalidAutomationStatusUpdateException', 'AutomationExecutionNotFoundException')
          ) {
            throw error;
          }
        });
    }
    await scheduleDeletion(secretsManager, secretNameOf(deps.prefix, deployment));
  });
}

/**
 * Asks ACM to renew a certificate now. Repeating it costs nothing: a renewal that is under way, or less than a
 * day old, is not asked for again. The rollout starts with ACM's event.
 */
export async function renewCertificate(
  certName: string,
  body: z.infer<typeof RenewalBody>,
  deps: DeploymentsApiDeps,
) {
  const { CertificateArn } = body;
  refuseElsewhere(CertificateArn, deps);
  const deployments = await deps.inventory.fleet({ CertName: certName, CertificateArn }, 1000);
  if (deployments.items.length === 0) {
    throw new RequestRefused(404, `The certificate is not deployed under the name ${certName}.`, [
      { Field: 'CertificateArn', Reason: 'not deployed under this name' },
    ]);
  }
  const { detail, Serial } = await deployableCertificate(certName, CertificateArn, deps);
  const renewal = detail.RenewalSummary?.RenewalStatus;
  const age = deps.now().getTime() - (detail.NotBefore?.getTime() ?? 0);
  const answer = { CertificateArn, Serial };
  if (renewal === 'PENDING_AUTO_RENEWAL' || renewal === 'PENDING_VALIDATION') {
    return { ...answer, Warnings: [`A renewal is under way already: ACM says ${renewal}.`] };
  }
  if (detail.Type !== 'PRIVATE' && age < DAY_MS) {
    return {
      ...answer,
      Warnings: ['The certificate is less than a day old: ACM was not asked to renew it.'],
    };
  }
  try {
    await deps.acm.send(new RenewCertificateCommand({ CertificateArn }));
  } catch (error) {
    // RequestInProgress, Conflict, Validation …: what ACM refuses is for the caller to read.
    if (error instanceof Error && (error as { $fault?: string }).$fault === 'client' && !isThrottled(error)) {
      throw new RequestRefused(409, `ACM refuses the renewal: ${error.message}`);
    }
    throw error;
  }
  return { ...answer, Warnings: ['ACM charges for this renewal as for a new certificate.'] };
}

/** True for the errors that mean: slower, please. */
export function isThrottled(error: unknown): boolean {
  return isNamed(
    error,
    'ThrottlingException',
    'TooManyRequestsException',
    'Throttling',
    'RequestLimitExceeded',
  );
}
