import { createHash } from 'node:crypto';
import path from 'node:path';
import { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import type { APIGatewayProxyEvent, Context } from 'aws-lambda';
import {
  type Certificate,
  CertificateAuthority,
  type ClientClass,
  type Cloud,
  type Execution as CloudExecution,
  type Identity,
  VirtualClock,
} from 'local-cloud';
import type { PolicyDocument } from 'local-cloud/iam';
import { type Deployed, resolveTemplate } from 'local-cloud/templates';
import { viewOf } from '../../../functions/deployments-api/view.ts';
import type { Installation } from '../../../functions/domain/installation.ts';
import { Inventory } from '../../../functions/inventory/inventory.ts';
import { advanceDepsFrom } from '../../../functions/rollouts/advance.ts';
import type { Clients } from '../../../functions/runtime/clients.ts';
import { createCloud, type WorldOptions } from '../../../local/cloud.ts';
import { ComposedFunctions, type FunctionName } from '../../../local/composed-functions.ts';
import { ScriptedNode } from '../../../local/scripted-node.ts';
import { updateStack } from '../../support/update-stack.ts';
import { ServiceView } from './service-view.ts';

export { awsError } from './service-view.ts';

export const CENTRAL = '111122223333';
export const MEMBER = '444455556666';
/** An account that has hosted zones, and no servers. */
export const DNS = '777788889999';
export const REGION = 'eu-central-1';
const START = '2026-11-24T10:30:00Z';
const EXTERNAL_ID = 'only-for-these-tests';
const ADMINISTRATOR = [{ Statement: { Effect: 'Allow' as const, Action: '*', Resource: '*' } }];
const PROJECT = path.resolve(import.meta.dirname, '../../..');

const stacks = new Map<string, Deployed>();

/** A stack as it would be deployed; read once for all tests of a file. */
function stackOf(
  file: string,
  account: string,
  region: string,
  parameters: Record<string, string>,
): Deployed {
  const key = JSON.stringify([file, account, region, parameters]);
  const known = stacks.get(key);
  if (known) return known;
  const resolved = resolveTemplate(path.join(PROJECT, file), {
    account,
    region,
    stackName: `acm-export-${file}`,
    parameters: { ExternalId: EXTERNAL_ID, ...parameters },
  });
  stacks.set(key, resolved);
  return resolved;
}

/** The central stack. */
export const stack = stackOf('template.yaml', CENTRAL, REGION, {
  TargetAccounts: `${CENTRAL},${MEMBER}`,
  TargetTagKeys: 'acm-export,tier',
  DnsAccounts: `${MEMBER},${DNS}`,
  SecretReaderRoles: 'ecs-execution,team-*',
});

const memberStackOf = (account: string, region: string, parameters: Record<string, string> = {}) =>
  stackOf('member-account.yaml', account, region, {
    CentralAccountId: CENTRAL,
    CentralRegion: REGION,
    TargetTagKey1: 'acm-export',
    TargetTagKey2: 'tier',
    TargetTagKey3: 'tier=x',
    ...parameters,
  });

const authority = CertificateAuthority.create(new Date(START));

export type ExecutionStatus = CloudExecution['status'];
export type Execution = Pick<CloudExecution, 'arn' | 'name' | 'input' | 'status'>;

export interface ApiAnswer {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: the answer of any route
  body: any;
}

/** Who calls the API, where a test does not say it. */
export const OPERATOR = `arn:aws:sts::${CENTRAL}:assumed-role/operations/alice`;

export interface ApiRequest {
  caller?: string;
  path?: Record<string, string> | null;
  query?: Record<string, string> | null;
  body?: unknown;
}

/** What of a system a test may put its hands between: by default the real thing. */
export interface Wrappers {
  /** Around every call to DynamoDB and Step Functions. */
  around?: <T>(call: () => Promise<T>) => Promise<T>;
}

/** ACM of the central account. */
class AcmView extends ServiceView {
  /** Issues a certificate that may be deployed under every name. */
  issue(
    id = 'web',
    detail: Partial<
      Pick<Certificate, 'status' | 'type' | 'keyPairOrigin' | 'exportable' | 'names' | 'keyAlgorithm'>
    > = {},
    tags: Record<string, string> = { CertName: '+' },
  ): Promise<string> {
    const names = ['www.example.com'];
    return this.cloud.services.acm.add(CENTRAL, REGION, {
      id: id.replaceAll(' ', '-'),
      names,
      keyAlgorithm: 'EC_prime256v1',
      tags,
      ...detail,
    });
  }

  /** The next version is there; resolves to its serial. */
  async renew(arn: string): Promise<string> {
    await this.cloud.services.acm.renew(arn);
    return this.serialOf(arn);
  }

  held(arn: string): Certificate {
    return this.cloud.services.acm.certificate(arn);
  }

  remove(arn: string): void {
    this.cloud.services.acm.remove(arn);
  }

  /** Lower-case hex without colons. */
  serialOf(arn: string): string {
    return this.held(arn).versions.at(-1)?.serial.replaceAll(':', '') ?? '';
  }

  /** What happens between a function's DescribeCertificate and its ExportCertificate, once. */
  beforeExport(happens: () => unknown): void {
    this.cloud.faults.inject({
      operation: 'CertificateManager.ExportCertificate',
      kind: 'delay',
      until: happens,
    });
  }
}

/** Step Functions of the central account. Tasks are run by `System.step`. */
class StepFunctionsView extends ServiceView {
  get executions(): Map<string, Execution> {
    return new Map(
      this.cloud.services.stepFunctions.executions().map((execution) => [execution.arn, execution]),
    );
  }

  running(): Execution[] {
    return [...this.executions.values()].filter((execution) => execution.status === 'RUNNING');
  }

  /** Ends an execution, from outside or with the error of a function. */
  end(arn: string, status: ExecutionStatus, error?: { name: string; cause: string }): void {
    this.cloud.services.stepFunctions.end(arn, status as 'ABORTED', error);
  }
}

/** One account and Region with its nodes. */
export class TargetView {
  readonly iam: ServiceView;
  readonly secretsManager: ServiceView;
  readonly ssm: ServiceView;
  readonly events: ServiceView;
  readonly nodes: ScriptedNode[] = [];
  readonly #cloud: Cloud;
  readonly #place: { account: string; region: string };
  readonly #mayAnswer: () => Promise<void>;
  #administrator: Identity | undefined;

  constructor(cloud: Cloud, account: string, region: string, mayAnswer: () => Promise<void>) {
    const isHere = (call: { account: string; region: string }) =>
      call.account === account && call.region === region;
    this.#cloud = cloud;
    this.#place = { account, region };
    this.#mayAnswer = mayAnswer;
    this.iam = new ServiceView(cloud, 'iam', isHere);
    this.secretsManager = new ServiceView(cloud, 'secretsmanager', isHere);
    this.ssm = new ServiceView(cloud, 'AmazonSSM', isHere);
    this.events = new ServiceView(cloud, 'AWSEvents', isHere);
  }

  /** @param name an id, or anything that one is made of. */
  async addNode(
    name: string,
    options: Parameters<typeof ScriptedNode.create>[3] = {},
  ): Promise<ScriptedNode> {
    const hash = createHash('sha256').update(name).digest('hex');
    const id = /^(m?i-[0-9a-f]{8,17})$/.test(name) ? name : `i-${hash.slice(0, 17)}`;
    const node = await ScriptedNode.create(this.#cloud, this.#place, id, options, this.#mayAnswer);
    this.nodes.push(node);
    return node;
  }

  automations() {
    return this.#cloud.services.automation.executions(this.#place.account, this.#place.region);
  }

  secrets() {
    return this.#cloud.services.secretsManager.secrets(this.#place.account, this.#place.region);
  }

  /** A client of an administrator of this account. */
  client<T>(clientClass: ClientClass<T>): T {
    const { account, region } = this.#place;
    this.#administrator ??= this.#cloud.createUser(account, 'administrator', ADMINISTRATOR);
    const { credentials } = this.#administrator;
    return this.#cloud.client(clientClass, { region, credentials, maxAttempts: 1 });
  }
}

/**
 * Everything that a stack is, in one process: the composed functions with the roles of their templates, over a local
 * cloud whose clock stands still. A test delivers events itself and runs executions step by step.
 */
export class System {
  readonly clock: VirtualClock;
  readonly cloud: Cloud;
  readonly sfn: StepFunctionsView;
  readonly acm: AcmView;
  readonly sts: ServiceView;
  readonly sns: ServiceView;
  readonly dynamodb: ServiceView;
  readonly inventory: Inventory;
  readonly client: DynamoDBDocumentClient;
  readonly table: string;
  requireCertificateTag = true;
  allowPrivateCertificates = false;
  maxDeployments = 10_000;
  requestRules = 'web-*=.example.com,web-prod=*.example.com';
  maxCertificatesPerDay = 10;
  maxDomainNames = 10;
  /** Accounts with hosted zones; empty: a person creates the records. */
  dnsAccounts = `${MEMBER},${DNS}`;
  targetAccounts = `${CENTRAL},${MEMBER}`;
  rolloutsEnabled = true;
  reminderDays = 7;
  lookIntervalMinutes = 60;
  discoverEndpoints: 'no' | 'list' | 'tell' = 'list';
  /** Functions repeat a call whose answer is lost, as the SDK does. */
  repeats = false;
  random = () => 0.5;
  readonly #targets = new Map<string, TargetView>();
  readonly #functions: ComposedFunctions;
  readonly #states = new Map<string, { state: string; data: Record<string, unknown> }>();
  /** Nodes answer when it opens. */
  #gate = Promise.withResolvers<void>();

  private constructor(cloud: Cloud, clock: VirtualClock) {
    this.cloud = cloud;
    this.clock = clock;
    this.acm = new AcmView(cloud, 'CertificateManager');
    this.sfn = new StepFunctionsView(cloud, 'AWSStepFunctions');
    this.sts = new ServiceView(cloud, 'sts');
    this.sns = new ServiceView(cloud, 'sns');
    this.dynamodb = new ServiceView(cloud, 'DynamoDB_20120810');
    this.#functions = new ComposedFunctions(cloud, stack);
    this.table = this.#resource('InventoryTable').physicalId;
    const administrator = cloud.createUser(CENTRAL, 'administrator', ADMINISTRATOR);
    const options = { region: REGION, credentials: administrator.credentials, maxAttempts: 1 };
    this.client = cloud.documentClient(DynamoDBDocumentClient, options);
    this.inventory = new Inventory(this.client, this.table, clock.now);
  }

  /** The central stack, and member stacks in the central and in another account. */
  static async create({
    delays,
    subscribers = ['operators@example.com'],
  }: Pick<WorldOptions, 'delays'> & { subscribers?: string[] } = {}): Promise<System> {
    const clock = new VirtualClock(START);
    const cloud = await createCloud({
      clock,
      authority: await authority,
      quotas: false,
      holdsExecutions: true,
      ...(delays ? { delays } : {}),
    });
    await cloud.deploy(stack);
    // Another provider has the domain, unless a test has a hosted zone of it.
    cloud.publicDns.delegate('example.com', ['ns1.provider.net']);
    const system = new System(cloud, clock);
    for (const address of subscribers) system.subscribe(address);
    cloud.services.sns.confirm(system.topicArn);
    await system.addMember(CENTRAL);
    await system.addMember(MEMBER);
    // No schedule runs, no event arrives (they are best effort) and no certificate is renewed but by the test.
    cloud.services.events.stop();
    cloud.services.events.lose(() => true, Number.POSITIVE_INFINITY);
    cloud.services.acm.automaticRenewal = false;
    return system;
  }

  get topicArn(): string {
    return this.#resource('NotificationTopic').physicalId;
  }

  /** Who is subscribed to the messages: nobody gets one before it is confirmed. */
  subscribe(address: string): void {
    this.cloud.services.sns.subscribe(this.topicArn, 'email', address);
  }

  /** Deploys the member stack in an account and Region. */
  async addMember(account: string, region = REGION): Promise<void> {
    await this.cloud.deploy(memberStackOf(account, region));
  }

  /** Deploys the DNS stack in an account: functions may write validation records into these hosted zones. */
  async addDns(account: string, zones: readonly { arn: string }[]): Promise<void> {
    const HostedZoneArns = zones.map(({ arn }) => arn).join();
    const parameters = { CentralAccountId: CENTRAL, CentralRegion: REGION, HostedZoneArns };
    await this.cloud.deploy(stackOf('dns-account.yaml', account, REGION, parameters));
  }

  /** The owner of the member account updates the parameters of its stack; what is left out has its default. */
  updateMember(parameters: Record<string, string>, account = MEMBER, region = REGION): void {
    updateStack(this.cloud, memberStackOf(account, region, parameters));
  }

  /** Makes a role that has no policy, or these. */
  addRole(arn: string, inlinePolicies: PolicyDocument[] = []) {
    const [, account = '', path = '', name = ''] = /^arn:aws:iam::(\d+):role(\/.*?)([^/]+)$/.exec(arn) ?? [];
    const trustPolicy = { Version: '2012-10-17', Statement: [] };
    return this.cloud.services.identities.createRole(account, { name, path, trustPolicy, inlinePolicies });
  }

  /** The account does not let the functions in any more; returns what opens it again. */
  refuse(account: string): () => void {
    const { remove } = this.cloud.faults.inject({
      operation: 'sts.AssumeRole',
      kind: 'refuse',
      error: {
        name: 'AccessDenied',
        message: 'User is not authorized to perform: sts:AssumeRole',
        status: 403,
      },
      times: Number.POSITIVE_INFINITY,
      when: ({ input }) => (input as { RoleArn: string }).RoleArn.includes(`:${account}:`),
    });
    return remove;
  }

  /** What happens each time that a function calls an operation, before it has its effect. */
  before(operation: string, happens: (input: never) => unknown): void {
    this.cloud.faults.inject({ operation, kind: 'delay', until: happens, times: Number.POSITIVE_INFINITY });
  }

  /** Lets time pass, and happen what comes with it. */
  advance(time: { seconds?: number; minutes?: number; hours?: number; days?: number }): void {
    const { seconds = 0, minutes = 0, hours = 0, days = 0 } = time;
    this.clock.advance((((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000);
  }

  /** The member account by default. */
  target(account = MEMBER, region = REGION): TargetView {
    const key = `${account}/${region}`;
    const target =
      this.#targets.get(key) ?? new TargetView(this.cloud, account, region, () => this.#gate.promise);
    this.#targets.set(key, target);
    return target;
  }

  messages(): { Subject: string; Message: string }[] {
    return this.cloud.services.sns.messages.map(({ subject = '', message }) => ({
      Subject: subject,
      Message: message,
    }));
  }

  /** A composed function, with the calls of one caller wrapped. */
  function<Name extends FunctionName>(name: Name, wrappers: Wrappers = {}) {
    return this.#functions.compose(name, this.#functionClock(), {
      clients: this.#clients(name, wrappers),
      variables: {
        ROLLOUTS_ENABLED: String(this.rolloutsEnabled),
        REQUIRE_CERTIFICATE_TAG: String(this.requireCertificateTag),
        ALLOW_PRIVATE_CERTIFICATES: String(this.allowPrivateCertificates),
        MAX_DEPLOYMENTS: String(this.maxDeployments),
        REQUEST_RULES: this.requestRules,
        MAX_CERTIFICATES_PER_DAY: String(this.maxCertificatesPerDay),
        MAX_DOMAIN_NAMES: String(this.maxDomainNames),
        DNS_ACCOUNTS: this.dnsAccounts,
        REMINDER_DAYS: String(this.reminderDays),
        TARGET_ACCOUNTS: this.targetAccounts,
        LOOK_INTERVAL_MINUTES: String(this.lookIntervalMinutes),
        DISCOVER_ENDPOINTS: this.discoverEndpoints,
      },
    });
  }

  /** What begins and starts a rollout, with the rights of the API. */
  advanceDeps(wrappers: Wrappers = {}) {
    const env = {
      INVENTORY_TABLE: this.table,
      STATE_MACHINE_ARN: this.#stateMachineArn(),
      ROLLOUTS_ENABLED: String(this.rolloutsEnabled),
    };
    return advanceDepsFrom(env, this.#clients('deployments-api', wrappers), this.#functionClock());
  }

  async api(method: string, resource: string, request: ApiRequest = {}, wrappers?: Wrappers) {
    const { path: pathParameters = null, query = null, body = null } = request;
    const multi = Object.entries(query ?? {}).map(([name, value]) => [name, [value]]);
    const event = {
      httpMethod: method,
      resource,
      pathParameters,
      queryStringParameters: query,
      multiValueQueryStringParameters: query && Object.fromEntries(multi),
      body: body === null || typeof body === 'string' ? body : JSON.stringify(body),
      isBase64Encoded: false,
      requestContext: { requestId: 'request-1', identity: { userArn: request.caller ?? OPERATOR } },
    } as unknown as APIGatewayProxyEvent;
    return this.send(event, wrappers);
  }

  async send(event: APIGatewayProxyEvent, wrappers?: Wrappers): Promise<ApiAnswer> {
    const { statusCode, body } = await this.function('deployments-api', wrappers)(event, context('lambda-1'));
    return { status: statusCode, body: JSON.parse(body) };
  }

  /** POST …/deployments for the member account's nodes tagged acm-export=web, as `web-prod`. */
  register(body: Record<string, unknown>, wrappers?: Wrappers, certName = 'web-prod'): Promise<ApiAnswer> {
    return this.api(
      'POST',
      '/certificates/{CertName}/deployments',
      {
        path: { CertName: certName },
        body: {
          TargetTagKey: 'acm-export',
          TargetTagValue: 'web',
          TargetAccount: MEMBER,
          ...body,
        },
      },
      wrappers,
    );
  }

  /** POST /certificates/{CertName}, for www.example.com by default. */
  request(
    body: Record<string, unknown> = {},
    wrappers?: Wrappers,
    certName = 'web-prod',
  ): Promise<ApiAnswer> {
    return this.api(
      'POST',
      '/certificates/{CertName}',
      { path: { CertName: certName }, body: { DomainNames: ['www.example.com'], ...body } },
      wrappers,
    );
  }

  /** GET /certificates/{CertName}. */
  requested(certName = 'web-prod'): Promise<ApiAnswer> {
    return this.api('GET', '/certificates/{CertName}', { path: { CertName: certName } });
  }

  /** One call of request-certificate, with the input of the state machine or an event. */
  requestStep(event: unknown, wrappers?: Wrappers) {
    return this.function(
      'request-certificate',
      wrappers,
    )(event as { CertName: string; RequestNumber: number });
  }

  /** What the state machine asks of deployments-api when the certificate is issued. */
  registerRequested(RegisterRequested: { CertName: string; RequestNumber: number }, wrappers?: Wrappers) {
    return this.function('deployments-api', wrappers)({ RegisterRequested }, context('lambda-5'));
  }

  rollouts(id: string, wrappers?: Wrappers): Promise<ApiAnswer> {
    const request = { path: { CertName: 'web-prod', DeploymentId: id } };
    return this.api(
      'POST',
      '/certificates/{CertName}/deployments/{DeploymentId}/rollouts',
      request,
      wrappers,
    );
  }

  remove(id: string, wrappers?: Wrappers, query: Record<string, string> | null = null): Promise<ApiAnswer> {
    const request = { path: { CertName: 'web-prod', DeploymentId: id }, query };
    return this.api('DELETE', '/certificates/{CertName}/deployments/{DeploymentId}', request, wrappers);
  }

  /** A deployment as the API shows it, and how many rollouts it has had. */
  async deployment(id: string) {
    const found = await this.inventory.get(id);
    if (!found) {
      throw new Error(`no deployment ${id}`);
    }
    const Rollouts = [...this.sfn.executions.values()].filter(({ name }) => name.startsWith(id)).length;
    return { ...(await viewOf(found, this.advanceDeps())), Rollouts };
  }

  freeze(Reason = 'change freeze', caller = OPERATOR, wrappers?: Wrappers): Promise<ApiAnswer> {
    return this.api('POST', '/freeze', { body: { Reason }, caller }, wrappers);
  }

  thaw(caller = OPERATOR, wrappers?: Wrappers): Promise<ApiAnswer> {
    return this.api('POST', '/thaw', { caller }, wrappers);
  }

  /** Delivers ACM's event of a renewal, as Lambda would once. */
  renewal(arn: string, event: object = {}, wrappers: Wrappers = {}) {
    const whole = {
      source: 'aws.acm',
      'detail-type': 'ACM Certificate Available',
      id: '5ec5f1d2-0a3b-4d2e-9c6a-000000000001',
      account: CENTRAL,
      region: REGION,
      time: this.clock.now().toISOString(),
      resources: [arn],
      detail: { Action: 'RENEWAL' },
      ...event,
    };
    return this.renewalOf(whole, wrappers);
  }

  /** Delivers anything to handle-renewal. */
  renewalOf(event: unknown, wrappers?: Wrappers) {
    return this.function('handle-renewal', wrappers)(event as object);
  }

  reconcile(task: 'nodes' | 'certificates', wrappers?: Wrappers) {
    return this.function('reconcile', wrappers)({ Task: task }, context('reconcile-1'));
  }

  /** A mark that a person makes, on the deployment as it is now. */
  async mark(how: 'markDeleting' | 'pause' | 'resume', id: string) {
    const deployment = await this.inventory.get(id);
    return deployment && this.inventory[how](deployment);
  }

  /** Delivers an event to rollout-ended. */
  report(event: unknown, wrappers?: Wrappers) {
    return this.function('rollout-ended', wrappers)(event as object, context('lambda-3'));
  }

  /** Delivers an event to report-certificate-notice. */
  notice(event: unknown) {
    return this.function('report-certificate-notice')(event as object, context('lambda-4'));
  }

  /** The event of an execution that has ended. */
  executionEvent({ arn, name, status }: Execution, error?: { name: string; message: string }) {
    return {
      id: `event-of-${name}-${status}`.slice(0, 64),
      source: 'aws.states',
      'detail-type': 'Step Functions Execution Status Change',
      time: this.clock.now().toISOString(),
      resources: [arn],
      detail: {
        executionArn: arn,
        name,
        status,
        error: error?.name ?? null,
        cause: error
          ? JSON.stringify({ errorType: error.name, errorMessage: error.message, trace: [] })
          : null,
      },
    };
  }

  /** Every node with a command answers, and whatever follows at once has happened. */
  async letNodesAnswer(): Promise<void> {
    this.#gate.resolve();
    // Nothing here waits for more than promises: when they are done, it is its turn.
    await new Promise((resolve) => process.nextTick(resolve));
    this.#gate = Promise.withResolvers();
  }

  /** Runs one state of an execution, as the state machine would. False when it has ended. */
  async step(arn: string, wrappers?: Wrappers): Promise<boolean> {
    const isRunning = () => this.sfn.executions.get(arn)?.status === 'RUNNING';
    const execution = this.sfn.executions.get(arn);
    if (!execution || !isRunning()) {
      return false;
    }
    const { state, data } = this.#next(arn);
    try {
      const next = await this.#runState(state, data, wrappers);
      if (!isRunning()) {
        return false;
      }
      if (typeof next === 'string') {
        const isRequest = isRequestMachine(arn);
        const { Error: message = '' } = (isRequest ? data : data.Installation) as { Error?: string };
        const name = isRequest ? 'RequestFailed' : 'InstallationFailed';
        const fault = next === 'FAILED' ? { name, message } : undefined;
        await this.#end(execution, next, fault);
        return false;
      }
      this.#states.set(arn, JSON.parse(JSON.stringify(next)));
      return true;
    } catch (error) {
      const fault = error as Error;
      // The state machine runs the same state again.
      if (fault.name === 'Crash') {
        return true;
      }
      if (fault.name === 'RetryLater') {
        this.clock.advance(5000);
        await this.letNodesAnswer();
        return true;
      }
      if (isRunning()) {
        const isSuperseded = fault.name === 'RolloutSuperseded';
        await this.#end(execution, isSuperseded ? 'SUCCEEDED' : 'FAILED', isSuperseded ? undefined : fault);
      }
      return false;
    }
  }

  /** Ends an execution, and delivers the event of it once. */
  async #end(
    execution: Execution,
    status: 'SUCCEEDED' | 'FAILED',
    fault?: { name: string; message: string },
  ): Promise<void> {
    // As Step Functions notes what a function throws.
    const cause = JSON.stringify({ errorType: fault?.name, errorMessage: fault?.message });
    this.sfn.end(execution.arn, status, fault && { name: fault.name, cause });
    if (isRequestMachine(execution.arn)) return;
    // What it throws is for Lambda, and here for reconcile, to make up for.
    await this.report(this.executionEvent({ ...execution, status }, fault)).catch(() => undefined);
  }

  /** What the next state of an execution gets. */
  inputOf<T>(arn: string): T {
    return this.#next(arn).data as T;
  }

  #next(arn: string): { state: string; data: Record<string, unknown> } {
    const state = isRequestMachine(arn) ? 'Request' : 'Export';
    const first = () => ({ state, data: JSON.parse(this.sfn.executions.get(arn)?.input ?? '') });
    return this.#states.get(arn) ?? first();
  }

  /** Runs every execution to its end, and those that follow. */
  async runAll(): Promise<void> {
    for (let running = this.sfn.running(); running.length > 0; running = this.sfn.running()) {
      for (const { arn } of running) {
        while (await this.step(arn));
      }
    }
  }

  async #runState(
    state: string,
    data: Record<string, unknown>,
    wrappers?: Wrappers,
  ): Promise<{ state: string; data: Record<string, unknown> } | 'SUCCEEDED' | 'FAILED'> {
    if (state === 'Register') {
      const { CertName, RequestNumber } = data as { CertName: string; RequestNumber: number };
      await this.registerRequested({ CertName, RequestNumber }, wrappers);
      return 'SUCCEEDED';
    }
    if (state === 'Request' || state === 'Wait') {
      if (state === 'Wait') this.clock.advance((data.WaitSeconds as number) * 1000);
      await this.cloud.idle();
      const step = await this.requestStep(data, wrappers);
      Object.assign(data, step);
      if (step.Action === 'END') return 'SUCCEEDED';
      if (step.Action === 'FAILED') return 'FAILED';
      const written =
        step.Action === 'WRITE' ? await this.function('write-validation-records', wrappers)({ ...step }) : {};
      return { state: step.Action === 'REGISTER' ? 'Register' : 'Wait', data: { ...step, ...written } };
    }
    if (state === 'Export') {
      const Bundle = await this.function('export-certificate', wrappers)(data as never);
      return { state: 'Start', data: { ...data, Bundle } };
    }
    if (state === 'Check') {
      this.clock.advance((data.Installation as { WaitSeconds: number }).WaitSeconds * 1000);
      await this.letNodesAnswer();
    }
    const name = state === 'Start' ? 'start-installation' : 'check-installation';
    const installation: Installation = await this.function(name, wrappers)(data as never);
    data.Installation = installation;
    if (installation.Status === 'IN_PROGRESS') {
      return { state: 'Check', data };
    }
    return installation.Status === 'FAILED' ? 'FAILED' : 'SUCCEEDED';
  }

  #resource(logicalId: string) {
    const resource = stack.resources.get(logicalId);
    if (!resource) throw new Error(`template.yaml has no ${logicalId}`);
    return resource;
  }

  #stateMachineArn(): string {
    return this.#resource('CertificateRolloutStateMachine').arn ?? '';
  }

  #functionClock() {
    return { now: this.clock.now, sleep: this.clock.pass, random: this.random };
  }

  #clients(name: FunctionName, { around }: Wrappers): Clients {
    // One attempt: what tests let fail is what is left when the SDK has given up.
    const retryStrategy = this.repeats ? twiceAtOnce : undefined;
    const clients = this.#functions.clients(name, { maxAttempts: this.repeats ? 2 : 1, retryStrategy });
    if (!around) return clients;
    const wrapped =
      <T extends object>(make: (config?: object) => T) =>
      (config?: object): T => {
        const client = make(config);
        const { send } = client as { send: (command: unknown) => Promise<unknown> };
        return Object.assign(Object.create(client), {
          send: (command: unknown) => around(() => send.call(client, command)),
        });
      };
    return { ...clients, documents: wrapped(clients.documents), sfn: wrapped(clients.sfn) };
  }
}

const isRequestMachine = (arn: string) => arn.includes(':acm-export-certificate-request:');

const tokenOf = (count: number) => ({ getRetryCount: () => count, getRetryDelay: () => 0 });
/** The SDK's retries without their pauses: the clock stands still. */
const twiceAtOnce = {
  acquireInitialRetryToken: async () => tokenOf(0),
  refreshRetryTokenForRetry: async (token: ReturnType<typeof tokenOf>) => {
    if (token.getRetryCount() > 0) throw new Error('given up');
    return tokenOf(1);
  },
  recordSuccess() {},
};

const context = (awsRequestId: string) =>
  ({ awsRequestId, functionName: 'test', getRemainingTimeInMillis: () => 60_000 }) as Context;
