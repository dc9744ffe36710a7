import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BusEvent, Cloud, CloudNode, Identity } from 'local-cloud';
import type { PolicyDocument } from 'local-cloud/iam';
import type { viewOf } from '../../functions/deployments-api/view.ts';
import { deploymentIdOf, secretNameOf } from '../../functions/domain/deployment.ts';
import {
  CENTRAL,
  callApi,
  deployFleet,
  type Fleet,
  MEMBER,
  requestCertificate,
} from '../../local/example-fleet.ts';
import { until } from '../support/until.ts';
import { withoutAction } from './reductions.ts';
import { callAws } from './signed-calls.ts';

const TAG_KEYS = ['acm-export', 'env', 'team'];
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** Both stacks with three tag keys, and administrators of both accounts. */
export interface Site extends Fleet {
  /** May do whatever identity policies can allow in the central account. */
  administrator: Identity;
  memberAdministrator: Identity;
}

export async function deploySite(
  cloud: Cloud,
  options: NonNullable<Parameters<typeof deployFleet>[1]> = {},
): Promise<Site> {
  const [TargetTagKey1 = '', TargetTagKey2 = '', TargetTagKey3 = ''] = TAG_KEYS;
  const fleet = await deployFleet(cloud, {
    ...options,
    central: {
      ...options.central,
      parameters: {
        TargetTagKeys: TAG_KEYS.join(','),
        SecretReaderRoles: 'reader-*',
        RequestRules: 'ordered-*=.example.com',
        ...options.central?.parameters,
      },
    },
    member: {
      ...options.member,
      parameters: {
        TargetTagKey1,
        TargetTagKey2,
        TargetTagKey3,
        SecretReaderRoles: 'reader-*',
        ...options.member?.parameters,
      },
    },
  });
  const everything = {
    Version: '2012-10-17',
    Statement: { Effect: 'Allow' as const, Action: '*', Resource: '*' },
  };
  return {
    ...fleet,
    administrator: cloud.createUser(CENTRAL.account, 'administrator', [everything]),
    memberAdministrator: cloud.createUser(MEMBER.account, 'administrator', [everything]),
  };
}

/** Credentials of a role as the service that uses it has them: what an intruder in a function, for example, holds. */
export function roleIdentity(cloud: Cloud, roleArn: string, service: string): Identity {
  const session = { name: 'intruder', seconds: 3600, source: 'intruder' };
  return cloud.services.identities.assumeAsService(service, roleArn, {}, session);
}

/** Takes an action away from the policies of a role while `work` is done. */
export async function withoutGrant(
  cloud: Cloud,
  roleArn: string,
  action: string,
  work: () => Promise<void>,
): Promise<void> {
  const role = cloud.services.identities.role(roleArn);
  if (!role) {
    throw new Error(`there is no role ${roleArn}`);
  }
  const { inlinePolicies } = role;
  role.inlinePolicies = inlinePolicies.map((policy) => withoutAction(policy, action));
  try {
    await work();
  } finally {
    role.inlinePolicies = inlinePolicies;
  }
}

/** The central account's member stack is of the edition before while `work` is done: it has no role to write bundles. */
async function withoutWriter(cloud: Cloud, work: () => Promise<void>): Promise<void> {
  const role = cloud.services.identities.role(WRITER_ROLE);
  if (!role) {
    throw new Error(`there is no role ${WRITER_ROLE}`);
  }
  role.exists = false;
  try {
    await work();
  } finally {
    role.exists = true;
  }
}

const WRITER_ROLE = `arn:aws:iam::${CENTRAL.account}:role/acm-export-bundle-writer-${CENTRAL.region}`;

export const functionRole = (name: string) =>
  `arn:aws:iam::${CENTRAL.account}:role/acm-export-${name}-${CENTRAL.region}`;

const functionArn = (name: string) =>
  `arn:aws:lambda:${CENTRAL.region}:${CENTRAL.account}:function:acm-export-${name}`;

export interface Target {
  TargetAccount: string;
  TargetRegion: string;
  TargetTagKey: string;
  TargetTagValue: string;
}

const here = { TargetAccount: CENTRAL.account, TargetRegion: CENTRAL.region };
const there = { TargetAccount: MEMBER.account, TargetRegion: MEMBER.region };
/** One EC2 instance in the central account. */
const PRODUCTION: Target = { ...here, TargetTagKey: 'env', TargetTagValue: 'prod' };
/** One server of a hybrid activation in another account. */
const HYBRID: Target = { ...there, TargetTagKey: 'acm-export', TargetTagValue: 'web' };
/** No node yet. */
const FUTURE: Target = { ...here, TargetTagKey: 'team', TargetTagValue: 'platform' };
/** Three servers, of which the first two cannot read the bundle. */
const REFUSED: Target = { ...here, TargetTagKey: 'env', TargetTagValue: 'refused' };
const APPLIANCES: Target = { ...here, TargetTagKey: 'team', TargetTagValue: 'appliances' };
const OLD: Target = { ...here, TargetTagKey: 'team', TargetTagValue: 'old' };
const NOBODY: Target = { ...here, TargetTagKey: 'team', TargetTagValue: 'nobody' };

/** A deployment as the API shows it. */
export type Deployment = Awaited<ReturnType<typeof viewOf>>;

/**
 * Every flow of the system, in one cloud and in this order, so that the cloud's record holds every kind of access
 * that the system needs. Flows that need no node have none: an installation is what takes time.
 */
export class Flows {
  readonly site: Site;
  readonly cloud: Cloud;
  certificateArn = '';
  production!: CloudNode;
  hybrid!: CloudNode;
  /** DeploymentIds. */
  productionId = '';
  hybridId = '';
  futureId = '';
  nobodyId = '';
  appliancesId = '';

  constructor(site: Site) {
    this.site = site;
    this.cloud = site.cloud;
  }

  async run(): Promise<void> {
    // The schedules fire when a flow says so, not whenever the clock is moved.
    for (const schedule of this.cloud.services.events.schedules()) {
      schedule.enabled = false;
    }
    const flows = [
      this.request,
      this.look,
      this.followNodes,
      this.deliverToOtherAccount,
      this.goOnWithAnotherCanary,
      this.deliverAsSecret,
      this.read,
      this.tryOut,
      this.pause,
      this.freeze,
      this.renew,
      this.missTheEvent,
      this.repairTheLabel,
      this.renewWhileFailing,
      this.stopByHand,
      this.endWithoutNode,
      this.stopInstallations,
      this.deleteWhileExporting,
      this.deleteLate,
      this.deliverToOldMember,
      this.loseTheEnd,
      this.failToTell,
      this.warn,
      this.failToReconcile,
      this.failToDeliver,
      this.orderCertificates,
    ];
    for (const flow of flows) {
      await flow.call(this);
    }
  }

  /* --- requests for certificates ----------------------------------------------------------------------------- */

  /** It is issued at once, and its deployment registered. */
  async orderCertificates(): Promise<void> {
    const body = { DomainNames: ['ordered-a.example.com'], Deployments: [NOBODY] };
    await callApi(this.site, 'POST', '/certificates/ordered-a', body);
    await this.cloud.idle();
  }

  /* --- requests ------------------------------------------------------------------------------------------ */

  async request(): Promise<void> {
    const { cloud, site } = this;
    this.certificateArn = await requestCertificate(site, 'web', ['www.example.com', 'example.com']);
    const options = { tags: { env: 'prod' } };
    this.production = await cloud.createNode(CENTRAL.account, CENTRAL.region, options);
    this.productionId = await this.deploy(PRODUCTION);
    this.futureId = await this.deploy(FUTURE);
  }

  /** The first look is not noted when it is sent, and a node has more to say than a list of answers holds. */
  async look(): Promise<void> {
    const folders = join(this.production.spec.root, 'etc/ssl/acm-export');
    const others = Array.from({ length: 30 }, (_, index) => join(folders, `${'x'.repeat(60)}${index}`));
    for (const folder of others) {
      mkdirSync(folder);
      writeFileSync(join(folder, 'record'), '');
    }
    const notes = this.cloud.faults.inject({
      operation: 'UpdateItem',
      kind: 'server-error',
      times: 10_000,
      when: ({ input }) => JSON.stringify(input).includes('#CommandIds = '),
    });
    await this.#sweep('nodes');
    notes.remove();
    await this.#sweep('nodes');
    for (const folder of others) {
      rmSync(folder, { recursive: true });
    }
  }

  /** Installed, installed again, looked at, failed and deleted. */
  async deliverToOtherAccount(): Promise<void> {
    const options = { kind: 'hybrid' as const, tags: { 'acm-export': 'web' } };
    this.hybrid = await this.cloud.createNode(MEMBER.account, MEMBER.region, options);
    this.hybridId = await this.deploy(HYBRID);
    await callApi(this.site, 'POST', `/certificates/web/deployments/${this.hybridId}/rollouts`);
    await this.cloud.idle();
    await this.#sweep('nodes');
    // Each account has an hour of the day in which reconcile looks at what seldom changes there.
    const hours = (Number(MEMBER.account) % 24) - this.cloud.clock.now().getUTCHours();
    this.cloud.clock.advance(((hours + 24) % 24) * HOUR_MS);
    await this.#sweep('certificates');
    await this.deploy(HYBRID, { KeyGroup: 'no-such-group' });
    await callApi(this.site, 'DELETE', `/certificates/web/deployments/${this.hybridId}`);
  }

  /** A canary is refused, a probe finds another one. */
  async goOnWithAnotherCanary(): Promise<void> {
    const tags = { env: 'refused' };
    const nodes = [
      await this.cloud.createNode(CENTRAL.account, CENTRAL.region, { id: 'i-00000001', tags, roleTags: {} }),
      await this.cloud.createNode(CENTRAL.account, CENTRAL.region, { id: 'i-00000002', tags, roleTags: {} }),
      await this.cloud.createNode(CENTRAL.account, CENTRAL.region, { id: 'i-00000003', tags }),
    ];
    const id = await this.deploy(REFUSED);
    await callApi(this.site, 'DELETE', `/certificates/web/deployments/${id}`);
    for (const node of nodes) await node.terminate();
  }

  /** Posts a deployment; gives its id when its rollout has ended. */
  async deploy(target: Target, more: object = {}): Promise<string> {
    const id = await this.post(target, more);
    await this.cloud.idle();
    return id;
  }

  async post(target: Target, more: object = {}): Promise<string> {
    const body = { CertificateArn: this.certificateArn, ...target, ...more };
    const answer = await callApi(this.site, 'POST', '/certificates/web/deployments', body);
    return String(answer.DeploymentId);
  }

  async deployment(id: string): Promise<Deployment> {
    return (await callApi(this.site, 'GET', `/certificates/web/deployments/${id}`)) as unknown as Deployment;
  }

  /** For readers that are no nodes: one exists, one does not. */
  async deliverAsSecret(): Promise<void> {
    this.cloud.services.identities.createRole(CENTRAL.account, {
      name: 'reader-one',
      path: '/apps/',
      trustPolicy: { Version: '2012-10-17', Statement: [] },
    });
    const ReaderRoleArns = ['apps/reader-one', 'reader-two'].map(
      (name) => `arn:aws:iam::${CENTRAL.account}:role/${name}`,
    );
    this.appliancesId = await this.deploy(APPLIANCES, { Delivery: 'secret', ReaderRoleArns });
  }

  async read(): Promise<void> {
    const arn = encodeURIComponent(this.certificateArn);
    const fleet = ['', `?CertificateArn=${arn}`, `?TargetAccount=${MEMBER.account}`];
    const lists = [
      '/certificates/web/deployments',
      '/endpoints',
      ...fleet.map((query) => `/deployments${query}`),
    ];
    for (const path of lists) {
      await callApi(this.site, 'GET', path);
    }
  }

  async pause(): Promise<void> {
    await callApi(this.site, 'POST', `/certificates/web/deployments/${this.futureId}/pause`);
    await callApi(this.site, 'GET', '/deployments?Status=PAUSED');
    await callApi(this.site, 'POST', `/certificates/web/deployments/${this.futureId}/resume`);
    await this.cloud.idle();
  }

  /** A renewal waits; it begins with the first sweep after the thaw. */
  async freeze(): Promise<void> {
    await callApi(this.site, 'POST', '/freeze', { Reason: 'a change window' });
    await this.cloud.services.acm.renew(this.certificateArn);
    await this.cloud.idle();
    await callApi(this.site, 'GET', '/freeze');
    await callApi(this.site, 'POST', '/thaw');
    await this.#sweep('nodes');
  }

  async tryOut(): Promise<void> {
    await this.deploy(FUTURE, { DryRun: true });
  }

  /* --- renewal ------------------------------------------------------------------------------------------- */

  /** By request, and ACM's event comes twice. */
  async renew(): Promise<void> {
    const body = { CertificateArn: this.certificateArn };
    await callApi(this.site, 'POST', '/certificates/web/renewals', body);
    await this.cloud.idle();
    this.cloud.services.events.deliver(this.#renewalEvent());
    await this.cloud.idle();
  }

  #renewalEvent(): BusEvent {
    const events = this.cloud.record.emissionsOf('event').map(({ text }) => JSON.parse(text) as BusEvent);
    return events.findLast((event) => event['detail-type'] === 'ACM Certificate Available') as BusEvent;
  }

  /** ACM renews, and its event is lost. Gives the new serial. */
  async #renewUnheard(): Promise<string> {
    const { acm, events } = this.cloud.services;
    events.lose((event) => event['detail-type'] === 'ACM Certificate Available');
    await acm.renew(this.certificateArn);
    await this.cloud.idle();
    const answer = await this.#asAdministrator('CertificateManager.DescribeCertificate', {
      CertificateArn: this.certificateArn,
    });
    return (answer.Certificate as { Serial: string }).Serial.replaceAll(':', '');
  }

  async missTheEvent(): Promise<void> {
    await this.#renewUnheard();
    await this.#sweep('certificates');
  }

  async #sweep(task: 'nodes' | 'certificates'): Promise<void> {
    this.cloud.services.events.runSchedule(`acm-export-sweep-${task}`);
    await this.cloud.idle();
  }

  /** A person moved the bundle's label to another version: the next rollout puts it right. */
  async repairTheLabel(): Promise<void> {
    const SecretId = secretNameOf('acm-export', { CertName: 'web', DeploymentId: this.futureId });
    const described = await this.#asAdministrator('secretsmanager.DescribeSecret', { SecretId });
    const versions = Object.entries(described.VersionIdsToStages as { [id: string]: string[] });
    const holding = (label: string) => versions.find(([, labels]) => labels.includes(label))?.[0];
    await this.#asAdministrator('secretsmanager.UpdateSecretVersionStage', {
      SecretId,
      VersionStage: 'AWSCURRENT',
      MoveToVersionId: holding('AWSPREVIOUS'),
      RemoveFromVersionId: holding('AWSCURRENT'),
    });
    await this.deploy(FUTURE);
  }

  /** handle-renewal cannot start what it has begun, and gives up. Then ACM's event is delivered again. */
  async renewWhileFailing(): Promise<void> {
    await this.#renewUnheard();
    await this.#failAt('handle-renewal', 'states:StartExecution', () =>
      this.cloud.services.events.deliver(this.#renewalEvent()),
    );
    this.cloud.services.events.deliver(this.#renewalEvent());
    await this.cloud.idle();
  }

  /* --- what fails ---------------------------------------------------------------------------------------- */

  /** While a request waits a person stops the execution before it. */
  async stopByHand(): Promise<void> {
    const held = this.holdBeforeNodes();
    await this.post(FUTURE);
    await this.post(FUTURE, { MaxErrors: '1' });
    const { Rollout } = await this.deployment(this.futureId);
    await this.#asAdministrator('AWSStepFunctions.StopExecution', { executionArn: Rollout?.ExecutionArn });
    held.remove();
    await this.cloud.idle();
  }

  /** The same where the rollout before it ends without a node. */
  async endWithoutNode(): Promise<void> {
    const held = this.holdBeforeNodes();
    await this.post(FUTURE);
    await this.post(FUTURE, { MaxErrors: '2' });
    held.remove();
    await this.cloud.idle();
  }

  /** The same where it is stopped at its deadline: the next one waits until its Automation has ended. */
  async exceedTheDeadline(): Promise<void> {
    const { deployment, release } = await this.#heldRollout();
    await this.post(PRODUCTION, { MaxErrors: '1' });
    await this.#pauseOf(deployment.Rollout?.ExecutionArn);
    this.cloud.clock.advance(3 * HOUR_MS);
    await this.#until(
      this.productionId,
      ({ LastRollout }) => (LastRollout?.Number ?? 0) >= deployment.RolloutNumber,
    );
    await release();
    await this.cloud.idle();
  }

  async deleteWhileRunning(): Promise<void> {
    const { deployment, release } = await this.#heldRollout();
    await callApi(this.site, 'DELETE', `/certificates/web/deployments/${deployment.DeploymentId}`);
    await release();
    await this.cloud.idle();
  }

  /** The API may not stop the execution of what it deletes: reconcile does that, and the rest. */
  async cutOffTheDelete(): Promise<void> {
    const { deployment, release } = await this.#heldRollout();
    await this.#pauseOf(deployment.Rollout?.ExecutionArn);
    await withoutGrant(this.cloud, functionRole('deployments-api'), 'states:StopExecution', async () => {
      const path = `/certificates/web/deployments/${deployment.DeploymentId}`;
      await callApi(this.site, 'DELETE', path).catch(() => undefined);
    });
    this.cloud.clock.advance(16 * MINUTE_MS);
    const isStopped = this.#ask('AmazonSSM.StopAutomationExecution', 'function acm-export-reconcile');
    this.cloud.services.events.runSchedule('acm-export-sweep-certificates');
    await isStopped();
    await release();
    await this.cloud.idle();
  }

  /** A person stops an execution. Its installation goes on: the next rollout stops that first. */
  async startAfterAnother(): Promise<void> {
    const { deployment, release } = await this.#heldRollout();
    const executionArn = deployment.Rollout?.ExecutionArn;
    await this.#pauseOf(executionArn);
    await this.#asAdministrator('AWSStepFunctions.StopExecution', { executionArn });
    await this.#until(
      this.productionId,
      ({ LastRollout }) => (LastRollout?.Number ?? 0) >= deployment.RolloutNumber,
    );
    const isStopped = this.#ask(
      'AmazonSSM.StopAutomationExecution',
      'function acm-export-start-installation',
    );
    await this.post(PRODUCTION);
    await isStopped();
    await release();
    await this.cloud.idle();
  }

  /** Each function that stops an installation does so. */
  async stopInstallations(): Promise<void> {
    await this.exceedTheDeadline();
    await this.startAfterAnother();
    await this.deleteWhileRunning();
    await this.cutOffTheDelete();
    await this.restore();
  }

  /** Its bundle is not there yet when a deployment is deleted: the export takes it away again. */
  async deleteWhileExporting(TargetTagValue = 'deleted'): Promise<void> {
    const target = { ...NOBODY, TargetTagValue };
    const path = `/certificates/web/deployments/${deploymentIdOf(target, 'web')}`;
    const until = () => callApi(this.site, 'DELETE', path);
    this.cloud.faults.inject({ operation: 'secretsmanager.CreateSecret', kind: 'delay', until });
    await this.deploy(target);
  }

  /** A DELETE hangs, a second one comes to its end, and the deployment is registered again: the first gives its bundle back. */
  async deleteLate(): Promise<void> {
    const target = { ...NOBODY, TargetTagValue: 'late' };
    const path = `/certificates/web/deployments/${await this.deploy(target)}`;
    const remove = () => callApi(this.site, 'DELETE', path);
    const until = async () => {
      await remove();
      await this.post(target);
    };
    this.cloud.faults.inject({ operation: 'secretsmanager.DeleteSecret', kind: 'delay', until });
    await remove().catch(() => undefined);
    await this.cloud.idle();
  }

  /** A member stack that has no role to write bundles: the rollout role writes them. */
  async deliverToOldMember(): Promise<void> {
    await withoutWriter(this.cloud, async () => {
      const id = await this.deploy(OLD);
      for (const TargetTagKey of TAG_KEYS) {
        await this.deploy({ ...OLD, TargetTagKey });
      }
      await this.repairTheLabel();
      await callApi(this.site, 'DELETE', `/certificates/web/deployments/${id}`);
      await this.deploy(OLD);
      await this.deleteWhileExporting('deleted-old');
    });
  }

  /** Posted again after its deletion. */
  async restore(): Promise<void> {
    await this.deploy(PRODUCTION);
  }

  /** Executions of two deployments are stopped and nothing hears of it; the first message about it fails. */
  async loseTheEnd(): Promise<void> {
    this.nobodyId = await this.deploy(NOBODY);
    const held = this.holdBeforeNodes();
    for (const [id, target] of [
      [this.futureId, FUTURE],
      [this.nobodyId, NOBODY],
    ] as const) {
      await this.post(target);
      const { Rollout } = await this.deployment(id);
      this.cloud.services.events.lose(
        (event) => event.resources[0] === Rollout?.ExecutionArn && !isStatus(event, 'RUNNING'),
      );
      await this.#asAdministrator('AWSStepFunctions.StopExecution', { executionArn: Rollout?.ExecutionArn });
    }
    await this.cloud.idle();
    this.cloud.clock.advance(16 * MINUTE_MS);
    // The first message about it fails.
    const topic = this.cloud.faults.inject({ operation: 'Publish', kind: 'server-error', times: 6 });
    await this.#sweep('certificates');
    topic.remove();
    // Not before: functions that an execution has called go on when it is stopped.
    held.remove();
    // The next sweep tells people, and closes the rollouts then.
    await this.#sweep('certificates');
  }

  /** ACM warns; the message fails until Lambda gives up; the event comes again. */
  async warn(): Promise<void> {
    const warning = {
      source: 'aws.acm',
      'detail-type': 'ACM Certificate Approaching Expiration',
      ...CENTRAL,
      resources: [this.certificateArn],
      detail: { DaysToExpiry: 30 },
    };
    await this.#failAt('report-certificate-notice', 'sns:Publish', () =>
      this.cloud.services.events.publish(warning),
    );
    this.cloud.services.events.publish(warning);
    await this.cloud.idle();
  }

  /** rollout-ended may not tell people, and gives the event up. */
  async failToTell(): Promise<void> {
    const held = this.holdBeforeNodes();
    await this.post(FUTURE);
    const { Rollout } = await this.deployment(this.futureId);
    const executionArn = Rollout?.ExecutionArn;
    await this.#failAt('rollout-ended', 'sns:Publish', () =>
      this.#asAdministrator('AWSStepFunctions.StopExecution', { executionArn }),
    );
    held.remove();
  }

  async failToReconcile(): Promise<void> {
    await withoutGrant(this.cloud, functionRole('reconcile'), 'dynamodb:Query', () =>
      this.#sweep('certificates'),
    );
  }

  /** A node appears and goes; its record says that this was long ago. */
  async followNodes(): Promise<void> {
    const node = await this.cloud.createNode(CENTRAL.account, CENTRAL.region, { tags: { team: 'platform' } });
    await this.#sweep('nodes');
    await node.terminate();
    await this.#asAdministrator('DynamoDB_20120810.UpdateItem', {
      TableName: 'acm-export-inventory',
      Key: { DeploymentId: { S: this.futureId }, Item: { S: `node#${node.id}` } },
      UpdateExpression: 'SET MissingSince = :then',
      ExpressionAttributeValues: { ':then': { S: '2026-01-01T00:00:00Z' } },
    });
    await this.#sweep('nodes');
  }

  /** An administrator takes the rules' permissions to invoke functions away, and Lambda throttles the schedules. */
  async failToDeliver(): Promise<void> {
    const { events, lambda } = this.cloud.services;
    const functions = ['handle-renewal', 'rollout-ended', 'report-certificate-notice'].map(functionArn);
    const policies = functions.map((arn) => lambda.state(arn)?.policy as PolicyDocument);
    const denied = { Effect: 'Deny' as const, Principal: '*' as const, Action: '*', Resource: '*' };
    for (const arn of functions) {
      lambda.setPolicy(arn, { Version: '2012-10-17', Statement: denied });
    }
    const fault = this.cloud.faults.inject({
      operation: 'Invoke',
      kind: 'throttle',
      times: 10,
      when: ({ source }) => source.startsWith('schedule '),
    });
    const event = { ...CENTRAL, resources: [this.certificateArn] };
    events.deliver(this.#renewalEvent());
    events.publish({ ...event, source: 'aws.acm', 'detail-type': 'ACM Certificate Expired', detail: {} });
    events.publish({
      ...event,
      source: 'aws.states',
      'detail-type': 'Step Functions Execution Status Change',
      detail: { status: 'FAILED', stateMachineArn: this.site.central.stateMachineArn, name: 'any' },
    });
    await this.#sweep('nodes');
    fault.remove();
    for (const [index, arn] of functions.entries()) {
      lambda.setPolicy(arn, policies[index] as PolicyDocument);
    }
  }

  /* --- means --------------------------------------------------------------------------------------------- */

  /** Lets a function fail at an event, without a grant; Lambda gives the event up at once. */
  async #failAt(name: string, missing: string, send: () => unknown): Promise<void> {
    const { lambda } = this.cloud.services;
    const arn = functionArn(name);
    lambda.configureAsync(arn, { maximumRetryAttempts: 0 });
    await withoutGrant(this.cloud, functionRole(name), missing, async () => {
      await send();
      await this.cloud.idle();
    });
    lambda.configureAsync(arn, { maximumRetryAttempts: 2 });
  }

  /** Rollouts of FUTURE and NOBODY get no further than their look at the nodes, until it is removed. */
  holdBeforeNodes() {
    return this.cloud.faults.inject({
      operation: 'DescribeInstanceInformation',
      kind: 'throttle',
      times: 10_000,
      when: ({ source, input }) =>
        source === 'function acm-export-start-installation' && JSON.stringify(input).includes('tag:team'),
    });
  }

  async #asAdministrator(operation: string, input: { [member: string]: unknown }) {
    const { administrator } = this.site;
    const answer = await callAws(this.cloud, administrator, CENTRAL.region, operation, input);
    if (answer.error) {
      throw new Error(`${operation}: ${answer.body}`);
    }
    return JSON.parse(answer.body || '{}') as { [member: string]: unknown };
  }

  /** A rollout of PRODUCTION whose Automation runs until `release` lets go of the node's install lock. */
  async #heldRollout(): Promise<{ deployment: Deployment; release: () => Promise<void> }> {
    const folder = join(this.production.spec.root, 'run/acm-export');
    mkdirSync(folder, { recursive: true });
    const holder: ChildProcess = spawn('flock', [join(folder, 'lock'), 'sh', '-c', 'echo held; cat'], {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    await once(holder.stdout as NodeJS.ReadableStream, 'data');
    const release = async () => {
      const ended = once(holder, 'exit');
      holder.stdin?.end();
      await ended;
    };
    await this.post(PRODUCTION);
    const isRunning = ({ Rollout }: Deployment) => Rollout?.AutomationExecutionId !== undefined;
    return { deployment: await this.#until(this.productionId, isRunning), release };
  }

  /** The moment when an execution begins to wait: signatures of calls under way would grow old with the clock. */
  async #pauseOf(executionArn: string | undefined): Promise<void> {
    const last = () => {
      const { stepFunctions } = this.cloud.services;
      return stepFunctions
        .executions()
        .find(({ arn }) => arn === executionArn)
        ?.history.at(-1);
    };
    const waits = () => last()?.state === 'WaitForInstallation' && last()?.type === 'StateEntered';
    await until(`${executionArn} to wait`, waits, () => JSON.stringify(last()));
  }

  /** @returns what waits for a call that is made from now on. */
  #ask(operation: string, source: string): () => Promise<unknown> {
    const { length } = this.cloud.record.calls;
    const isIt = (call: { operation: string; source: string }) =>
      call.operation === operation && call.source === source;
    return () => until(`${operation} by ${source}`, () => this.cloud.record.calls.slice(length).some(isIt));
  }

  async #until(id: string, isSo: (deployment: Deployment) => boolean): Promise<Deployment> {
    let found: Deployment | undefined;
    const look = async () => {
      found = await this.deployment(id);
      return isSo(found) && found;
    };
    return until(`deployment ${id}: ${isSo}`, look, () => JSON.stringify(found));
  }
}

const isStatus = ({ detail }: BusEvent, status: string) => (detail as { status?: string }).status === status;
