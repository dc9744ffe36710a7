import { AsyncLocalStorage } from 'node:async_hooks';
import path from 'node:path';
import { DynamoDBDocumentClient, GetCommand, ScanCommand } from '@aws-sdk/lib-dynamodb';
import { CertificateAuthority, type Cloud, DELAYS, type Handler, VirtualClock } from 'local-cloud';
import { resolveTemplate } from 'local-cloud/templates';
import { metrics } from '../../functions/runtime/observability.ts';
import { createCloud } from '../../local/cloud.ts';
import { ComposedFunctions } from '../../local/composed-functions.ts';
import { ScriptedNode } from '../../local/scripted-node.ts';
import { AlarmWatch } from './alarms.ts';

export const SECOND = 1000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;

export const CENTRAL = '111122223333';
export const MEMBER = '444455556666';
export const REGION = 'eu-central-1';
const READER = `arn:aws:iam::${MEMBER}:role/reader`;

const stackOf = (file: string, account: string, parameters: Record<string, string>) =>
  resolveTemplate(path.resolve(import.meta.dirname, '../..', file), {
    account,
    region: REGION,
    stackName: `acm-export-${account}`,
    parameters: { ExternalId: 'only-for-these-tests', ...parameters },
  });
const central = stackOf('template.yaml', CENTRAL, {
  TargetAccounts: `${CENTRAL},${MEMBER}`,
  SecretReaderRoles: 'reader',
  RequestRules: 'web=www.example.net',
  DnsAccounts: MEMBER,
});
const member = stackOf('member-account.yaml', MEMBER, {
  CentralAccountId: CENTRAL,
  CentralRegion: REGION,
  TargetTagKey1: 'acm-export',
});
const ZONE = 'Z0123456789ABCDEFGHIJ';
const dns = stackOf('dns-account.yaml', MEMBER, {
  CentralAccountId: CENTRAL,
  CentralRegion: REGION,
  HostedZoneArns: `arn:aws:route53:::hostedzone/${ZONE}`,
});
const authority = CertificateAuthority.create(new Date('2026-11-24T00:00:00Z'));

/** What of a deployment's record these tests look at. */
export interface Found extends Record<string, unknown> {
  DeploymentId: string;
  Status: string;
  Serial?: string;
  Running?: object;
}

/** Whose metric it is: the functions of this process share one publisher. */
const functionNow = new AsyncLocalStorage<{ name: string; world: World }>();
Object.assign(metrics, {
  addMetric(name: string, _unit: string, value: number) {
    const now = functionNow.getStore();
    now?.world.alarms.add({
      namespace: 'acm-export',
      name,
      dimensions: { service: now.name },
      at: now.world.clock.now().getTime(),
      value,
    });
  },
});

/** A whole system that lives by itself: the shipped state machine, functions, rules and schedules, in virtual time. */
export class World {
  readonly clock = new VirtualClock();
  readonly alarms = new AlarmWatch(central, this.clock.now());
  readonly nodes: ScriptedNode[] = [];
  cloud!: Cloud;
  certificateArn = '';
  id = '';
  /** Milliseconds until changes are seen. */
  readonly delays = { ...DELAYS };
  /** Milliseconds by which the clock of functions is wrong. */
  skew = 0;
  /** Requests that were refused because of the target, with the reason. */
  refused = 0;
  /** How often a caller of the API tries, half a minute apart. */
  patience = 4;
  readonly #lengths = new Map<string, number>();
  #table!: DynamoDBDocumentClient;
  #functions!: ComposedFunctions;

  static async create(): Promise<World> {
    const world = new World();
    const { clock } = world;
    const own = {
      now: () => new Date(clock.now().getTime() + world.skew),
      sleep: (milliseconds: number) => clock.sleep(milliseconds),
      random: () => 0.5,
    };
    const handlerOf =
      (name: string): Handler =>
      (event, context) =>
        functionNow.run({ name, world }, () => world.#functions.invoke(name, own, event, context));
    world.cloud = await createCloud({
      clock,
      delays: {
        iam: () => world.delays.iam,
        tags: () => world.delays.tags,
        indexes: () => world.delays.indexes,
        nodes: () => world.delays.nodes,
      },
      authority: await authority,
      quotas: false,
      handlerOf,
    });
    const { cloud } = world;
    world.#functions = new ComposedFunctions(cloud, central);
    await cloud.deploy(central);
    await cloud.deploy(member);
    cloud.services.acm.automaticRenewal = false;
    const { credentials } = cloud.createUser(CENTRAL, 'administrator', [
      { Statement: { Effect: 'Allow', Action: '*', Resource: '*' } },
    ]);
    world.#table = cloud.documentClient(DynamoDBDocumentClient, { region: REGION, credentials });
    world.certificateArn = await world.addCertificate();
    await world.addNode();
    return world;
  }

  /** One that was issued long ago: nobody hears of that now. */
  addCertificate(): Promise<string> {
    this.cloud.services.events.lose(({ detail }) => (detail as { Action?: string }).Action === 'ISSUANCE');
    return this.cloud.services.acm.add(CENTRAL, REGION, {
      names: ['www.example.com'],
      keyAlgorithm: 'EC_prime256v1',
      tags: { CertName: '+' },
    });
  }

  async addNode(): Promise<void> {
    const id = `i-${String(this.nodes.length + 1).padStart(8, '0')}`;
    const place = { account: MEMBER, region: REGION };
    const install = () => this.clock.sleep(20 * SECOND);
    this.nodes.push(await ScriptedNode.create(this.cloud, place, id, {}, install));
  }

  /** A request about the deployment. */
  api(httpMethod: string, route: string, body: object | null = null): Promise<void> {
    const pathParameters = { CertName: 'web', ...(route ? { DeploymentId: this.id } : {}) };
    return this.#request(
      { httpMethod, resource: `/certificates/{CertName}/deployments${route}`, pathParameters },
      body,
    );
  }

  freeze(): Promise<void> {
    return this.#request({ httpMethod: 'POST', resource: '/freeze' }, { Reason: 'a change window' });
  }

  thaw(): Promise<void> {
    return this.#request({ httpMethod: 'POST', resource: '/thaw' });
  }

  /** A request to the API by a client that repeats what was answered with a 5xx, as SDKs and scripts do. */
  async #request(
    request: { httpMethod: string; resource: string; pathParameters?: object },
    body: object | null = null,
  ): Promise<void> {
    const { httpMethod, resource } = request;
    const event = {
      ...request,
      body: body && JSON.stringify(body),
      requestContext: { requestId: `request-${this.clock.now().getTime()}` },
    };
    for (let attempt = 1; ; attempt += 1) {
      const answer = await this.invoke('DeploymentsApiFunction', event);
      if (answer.statusCode >= 500) {
        this.alarms.add({
          namespace: 'AWS/ApiGateway',
          name: '5XXError',
          dimensions: { ApiName: 'acm-export-deployments', Stage: 'v1' },
          at: this.clock.now().getTime(),
          value: 1,
        });
      }
      this.refused += answer.statusCode === 422 ? 1 : 0;
      // 422 is what a target that refuses the call once is answered with; a person tries again.
      if (answer.statusCode < 500 && ![422, 429].includes(answer.statusCode)) {
        if (answer.statusCode === 404 && httpMethod === 'DELETE' && attempt > 1) return;
        if (answer.statusCode >= 400) throw new Error(`${httpMethod} ${resource}: ${answer.body}`);
        this.id = JSON.parse(answer.body).DeploymentId ?? this.id;
        return;
      }
      if (attempt === this.patience)
        throw new Error(`${httpMethod} ${resource} failed ${attempt} times: ${JSON.stringify(answer)}`);
      await this.clock.sleep(30 * SECOND);
    }
  }

  /** As API Gateway calls a function: an error of the function is a 502 to the caller. */
  async invoke(logicalId: string, event: object): Promise<{ statusCode: number; body: string }> {
    const { lambda } = this.cloud.services;
    const invoke = lambda.operations['lambda.Invoke'] as (input: object, caller: object) => Promise<object>;
    const input = { FunctionName: this.physicalId(logicalId), Payload: JSON.stringify(event) };
    const answer = await invoke(input, { account: CENTRAL, region: REGION, source: 'aws apigateway' });
    const { Payload, FunctionError } = answer as { Payload: string; FunctionError?: string };
    return FunctionError ? { statusCode: 502, body: Payload } : JSON.parse(Payload);
  }

  register(body: object = {}): Promise<void> {
    return this.api('POST', '', {
      CertificateArn: this.certificateArn,
      TargetTagKey: 'acm-export',
      TargetTagValue: 'web',
      TargetAccount: MEMBER,
      ...body,
    });
  }

  /** A deployment by secret, for one reader. */
  registerSecret(): Promise<void> {
    return this.register({ Delivery: 'secret', ReaderRoleArns: [READER] });
  }

  /** A zone in another account, and what lets functions write there; ACM looks into public DNS. */
  async addZone(): Promise<void> {
    const { route53, acm } = this.cloud.services;
    const zone = route53.createZone(MEMBER, 'example.net', { id: ZONE });
    this.cloud.publicDns.delegate('example.net', zone.nameServers);
    acm.validation = 'public DNS';
    await this.cloud.deploy(dns);
  }

  /** One request, from no certificate to a served one. */
  requestCertificate(): Promise<void> {
    const target = { TargetTagKey: 'acm-export', TargetTagValue: 'web', TargetAccount: MEMBER };
    return this.#request(
      { httpMethod: 'POST', resource: '/certificates/{CertName}', pathParameters: { CertName: 'web' } },
      { DomainNames: ['www.example.net'], KeyAlgorithm: 'EC_prime256v1', Deployments: [target] },
    );
  }

  /** The same until the request has led to that. */
  async lacksRequested(): Promise<string | undefined> {
    const { Item } = await this.#table.send(
      new GetCommand({
        TableName: this.physicalId('InventoryTable'),
        Key: { DeploymentId: 'request#web', Item: 'request' },
        ConsistentRead: true,
      }),
    );
    const request = Item?.Asked as { Status: string; Error?: string; CertificateArn?: string } | undefined;
    if (request?.Status !== 'DONE' || request.Error)
      return `the request is ${request?.Status} ${request?.Error ?? ''}`;
    this.certificateArn = request.CertificateArn ?? '';
    return this.lacks();
  }

  /** What reads a bundle without being a server of ours. */
  addReader(): void {
    this.cloud.services.identities.createRole(MEMBER, {
      name: 'reader',
      trustPolicy: { Statement: [{ Effect: 'Allow', Principal: { AWS: MEMBER }, Action: 'sts:AssumeRole' }] },
      tags: { 'acm-export': 'web' },
    });
  }

  physicalId(logicalId: string): string {
    return central.resources.get(logicalId)?.physicalId ?? '';
  }

  serial(arn = this.certificateArn): string {
    const { versions } = this.cloud.services.acm.certificate(arn);
    return versions.at(-1)?.serial.replaceAll(':', '') ?? '';
  }

  bundles() {
    return this.cloud.services.secretsManager.secrets(MEMBER, REGION);
  }

  /** The deployment as the table has it; undefined when there is none. */
  async deployment(): Promise<Found | undefined> {
    const { Items = [] } = await this.#table.send(
      new ScanCommand({ TableName: this.physicalId('InventoryTable'), ConsistentRead: true }),
    );
    return Items.find(({ Item, CertName }) => Item === 'deployment' && CertName !== undefined) as
      | Found
      | undefined;
  }

  /** How many have been started. */
  rollouts(): number {
    // ACM's event of a certificate that was issued starts one of another state machine.
    return this.cloud.services.stepFunctions
      .executions()
      .filter(({ arn }) => arn.includes(':acm-export-certificate-rollout:')).length;
  }

  /** What lacks until every node serves the current version, the inventory says so and nothing runs. */
  async lacks(): Promise<string | undefined> {
    const stale = this.nodes.filter(({ installed }) => installed?.Serial !== this.serial());
    if (stale.length > 0) return `${stale.map(({ NodeId }) => NodeId)} serve another version`;
    return this.#lacksRecord();
  }

  async #lacksRecord(): Promise<string | undefined> {
    const found = await this.deployment();
    if (found?.Status !== 'INSTALLED') return `the deployment is ${found?.Status}`;
    if (found.Serial !== this.serial()) return 'the inventory has another serial';
    if (found.Running) return 'a rollout runs';
    return this.bundles().some(({ deletionDate }) => deletionDate)
      ? 'its bundle is to be deleted'
      : undefined;
  }

  /** The same of a deployment by secret, which has no nodes. */
  async lacksSecret(): Promise<string | undefined> {
    const [bundle] = this.bundles();
    const versions = [...(bundle?.versions.values() ?? [])];
    const current = versions.find(({ stages }) => stages.has('AWSCURRENT'));
    if (!current) return 'there is no bundle';
    const { Serial } = JSON.parse(current.string ?? '{}');
    return Serial === this.serial() ? this.#lacksRecord() : 'the bundle has another serial';
  }

  /** What must hold in every run, however it came to its end: one installation at a time, and nothing stuck. */
  violations(): string[] {
    const { stepFunctions, automation } = this.cloud.services;
    const executions = stepFunctions.executions();
    const automations = automation.executions(MEMBER, REGION);
    const overlapping = automations.filter((one) =>
      automations.some(
        (other) =>
          other !== one &&
          other.startedAt >= one.startedAt &&
          (one.endedAt === undefined || other.startedAt < one.endedAt),
      ),
    );
    return [
      ...executions.filter(({ status }) => status === 'RUNNING').map(({ name }) => `${name} still runs`),
      ...automations.filter(({ endedAt }) => !endedAt).map(({ id }) => `Automation ${id} still runs`),
      ...overlapping.map(({ id }) => `another Automation ran beside ${id}`),
      ...this.cloud.failures,
    ];
  }

  messages(): { subject: string; message: string; at: string }[] {
    return this.cloud.services.sns.messages.map(({ subject = '', message, at }) => ({
      subject,
      message,
      at,
    }));
  }

  /** What has come into the queues, and which requests' executions have failed, since the last time: CloudWatch looks each minute. */
  sample(): void {
    this.#sampleFailedRequests();
    for (const logicalId of ['UndeliveredEventsQueue', 'FailedEventsQueue']) {
      const { arn = '' } = central.resources.get(logicalId) ?? {};
      const { length } = this.cloud.services.sqs.messages(arn);
      const before = this.#lengths.get(arn) ?? 0;
      this.#lengths.set(arn, length);
      this.alarms.add({
        namespace: 'AWS/SQS',
        name: 'NumberOfMessagesSent',
        dimensions: { QueueName: arn.split(':').at(-1) ?? '' },
        at: this.clock.now().getTime(),
        value: length - before,
      });
    }
  }

  #sampleFailedRequests(): void {
    const { arn = '' } = central.resources.get('CertificateRequestStateMachine') ?? {};
    const failed = this.cloud.services.stepFunctions
      .executions()
      .filter(
        (execution) => execution.status === 'FAILED' && execution.arn.includes('-certificate-request:'),
      ).length;
    const before = this.#lengths.get(arn) ?? 0;
    this.#lengths.set(arn, failed);
    this.alarms.add({
      namespace: 'AWS/States',
      name: 'ExecutionsFailed',
      dimensions: { StateMachineArn: arn },
      at: this.clock.now().getTime(),
      value: failed - before,
    });
  }
}
