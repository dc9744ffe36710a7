import { Sha256 } from '@aws-crypto/sha256-js';
import { SignatureV4 } from '@smithy/signature-v4';
import type { PolicyDocument } from './iam/evaluate.ts';
import { NotModelled } from './iam/not-modelled.ts';
import type { ResourceState } from './iam/operations.ts';
import { Acm } from './services/acm.ts';
import { ApiCalls } from './services/api-calls.ts';
import { ApiGateway } from './services/api-gateway.ts';
import { Automation } from './services/automation.ts';
import { isOfAws } from './services/aws-hosts.ts';
import { CertificateAuthority } from './services/certificate-authority.ts';
import { type Clock, CloudClock } from './services/clock.ts';
import { CloudFormation } from './services/cloudformation.ts';
import { CustomResources } from './services/custom-resources.ts';
import { type DelayOptions, Delays } from './services/delays.ts';
import { type CodeOf, deploy, update } from './services/deploy.ts';
import { DynamoDb } from './services/dynamodb.ts';
import { Ec2 } from './services/ec2.ts';
import { type ClientConfig, Endpoint, signingName } from './services/endpoint.ts';
import { Events } from './services/events.ts';
import { FaultPlan, type Faults } from './services/faults.ts';
import { Iam } from './services/iam.ts';
import { Identities, type Identity } from './services/identities.ts';
import {
  type ClientClass,
  type ClientOptions,
  directClient,
  directDocumentClient,
  requestHandler,
} from './services/in-process.ts';
import { Lambda } from './services/lambda.ts';
import { ManagedNodes } from './services/managed-nodes.ts';
import { type CloudNode, NodeFleet, type NodeOptions, type ScriptVariables } from './services/node-fleet.ts';
import { PublicDns } from './services/public-dns.ts';
import { Quotas } from './services/quotas.ts';
import { Recorder, type Recording } from './services/recording.ts';
import { Route53 } from './services/route53.ts';
import { RunCommand } from './services/run-command.ts';
import { SecretsManager } from './services/secrets-manager.ts';
import { type Caller, type Kernel, type Operations, parseArn } from './services/service.ts';
import { Sns } from './services/sns.ts';
import { Sqs } from './services/sqs.ts';
import { SsmDocuments } from './services/ssm-documents.ts';
import { StepFunctions } from './services/step-functions.ts';
import { Sts } from './services/sts.ts';
import { WorkFolder } from './services/work-folder.ts';
import { type Deployed, type Resource, resolveTemplate } from './templates/resolve-template.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** A cloud in this process: no socket, no process, no file, unless nodes or functions need them. */
export interface WorldOptions {
  /** Default aws. */
  partition?: string;
  /** Default: the machine's, scaled by `timeScale`. */
  clock?: Clock;
  /** What issues certificates; default one of its own. Making one takes some milliseconds. */
  authority?: CertificateAuthority;
  /** Milliseconds that each call takes; default none. */
  latency?: () => number;
  /** False where millions of calls are made: then only their counts are kept. Default true. */
  keepsRecord?: boolean;
  /**
   * True: executions of state machines are started and stay where they are, until `stepFunctions.end`. The caller runs
   * their tasks. Default false.
   */
  holdsExecutions?: boolean;
  /**
   * Real seconds that one second of a wait takes (state machine waits, retry intervals, Lambda and event
   * retries, delivery time-outs, quota refill). Default 1; tests use 0.01. Clock times are never scaled.
   */
  timeScale?: number;
  /**
   * Environments of one function at a time, each a thread that takes a quarter of a second of a processor to start.
   * Default 4; with 1, invocations of one function take turns.
   */
  environments?: number;
  /**
   * What others see late: changes of IAM, tags, indexes and the list of nodes; `true` has the sizes of DELAYS. What there
   * is at the first call counts as seen, and so does what a deployment makes. Default none.
   */
  delays?: DelayOptions;
  /** Request quotas such as one StartAutomationExecution a second. Default true. */
  quotas?: boolean;
  /** The code of each function that a template declares; asked when the template is deployed. */
  codeOf?: CodeOf;
  /** Variables for scripts on nodes, for example one by which a script finds the folder that stands for `/`. */
  scriptVariables?: ScriptVariables;
  /** Gets each failure (see `Cloud.failures`) as it happens. Default: standard error. */
  report?: (failure: string) => void;
  /** For people who try things: `stop` does not throw because of what the cloud did not know. Default false. */
  lenient?: boolean;
}

export interface CloudOptions extends WorldOptions {
  /** Default 0: a free port of 127.0.0.1. */
  port?: number;
}

export interface Stack {
  account: string;
  region: string;
  deployed: Deployed;
  /** Throws when the template has no such logical id. */
  resource(logicalId: string): Resource;
  /** Throws when the template has no such output. */
  output(name: string): string;
  /** `<endpoint>/<api id>/<stage>` of an AWS::Serverless::Api: routes follow. */
  urlOf(logicalId: string): string;
}

export interface DeployOptions {
  account: string;
  region: string;
  stackName: string;
  parameters?: Record<string, string | number>;
  /** Changes what was resolved before anything is created, for example removes a statement of a policy. */
  amend?: (deployed: Deployed) => void;
}

/** The services themselves, for what AWS has no API for: renewals, deliveries, what lies in a queue. */
export interface Services {
  identities: Identities;
  acm: Acm;
  cloudFormation: CloudFormation;
  customResources: CustomResources;
  ec2: Ec2;
  iam: Iam;
  route53: Route53;
  secretsManager: SecretsManager;
  sts: Sts;
  dynamoDb: DynamoDb;
  sns: Sns;
  sqs: Sqs;
  lambda: Lambda;
  stepFunctions: StepFunctions;
  apiGateway: ApiGateway;
  events: Events;
  managedNodes: ManagedNodes;
  ssmDocuments: SsmDocuments;
  runCommand: RunCommand;
  automation: Automation;
}

export interface Cloud {
  /** `http://127.0.0.1:<port>`: every service and the API. Empty for a cloud in this process. */
  endpoint: string;
  /** Work folder, mode 0700, removed by stop(). */
  folder: string;
  /** Certificate of the root that issues everything. */
  rootCertificatePem: string;
  clock: Clock;
  faults: Faults;
  record: Recording;
  services: Services;
  /** DNS of the internet: what functions ask with node:dns, and ACM. Public hosted zones are in it where it delegates to them. */
  publicDns: PublicDns;
  /** What the cloud models, by signing name: `{acm: ['DescribeCertificate', …], …}`. */
  operations(): Record<string, string[]>;
  /** What was asked of the cloud that it does not model, and faults of its own. `stop` throws when there are any. */
  failures: string[];
  /** Whatever was changed so far is seen from now on, whatever the delays. */
  settle(): void;
  /** Switches request quotas on and off. */
  setQuotas(enabled: boolean): void;
  clientConfig(identity: Identity, region: string): ClientConfig;
  /** The second door: a client of the SDK with this `requestHandler` needs no socket, 0.5 ms a call. */
  requestHandler: ReturnType<typeof requestHandler>;
  /** The same for `fetch`: signed requests to `<api id>.execute-api.<region>.amazonaws.com`, answers of custom resources. */
  fetch: typeof fetch;
  /** The third door: a client whose `send` is the call itself, 0.01 ms. */
  client<T>(clientClass: ClientClass<T>, options: ClientOptions): T;
  /** The third door for DynamoDBDocumentClient. */
  documentClient<T>(clientClass: ClientClass<T>, options: ClientOptions): T;
  /** Creates what a resolved template says. */
  deploy(deployed: Deployed): Promise<void>;
  /** Resolves a template file and creates what it says. */
  deployTemplate(file: string, options: DeployOptions): Promise<Stack>;
  /** Deploys a template again whose stack is here, for example with other parameters. README.md says what may change. */
  updateTemplate(file: string, options: DeployOptions): Stack;
  /** A user with these policies: callers of the API, attackers. */
  createUser(
    account: string,
    name: string,
    policies: PolicyDocument[],
    tags?: Record<string, string>,
  ): Identity;
  createNode(account: string, region: string, options?: NodeOptions): Promise<CloudNode>;
  nodes(): CloudNode[];
  /** One SigV4-signed request to the API; default GET. */
  fetchSigned(
    identity: Identity,
    region: string,
    url: string,
    init?: { method?: string; body?: string; headers?: Record<string, string> },
  ): Promise<Response>;
  /** Resolves when no execution, invocation, automation or event delivery is under way. */
  idle(): Promise<void>;
  /** Ends every process and worker and removes the folder; also done on exit and signals. Safe to call twice. */
  stop(): Promise<void>;
}

/** A local cloud in this process, for every account, Region and service. */
export async function createCloud(options: WorldOptions = {}): Promise<Cloud> {
  const authority =
    options.authority ?? (await CertificateAuthority.create(options.clock?.now() ?? new Date()));
  return new LocalCloud(options, authority);
}

/** Starts a local cloud with one HTTP endpoint for every account, Region and service. */
export async function startCloud(options: CloudOptions = {}): Promise<Cloud> {
  const cloud = new LocalCloud(options, options.authority ?? (await CertificateAuthority.create(new Date())));
  try {
    await cloud.listen(options.port ?? 0);
  } catch (error) {
    await cloud.stop();
    throw error;
  }
  return cloud;
}

const nameOf = ({ account, region, stackName }: Deployed) => `${account}/${region}/${stackName}`;

class LocalCloud implements Cloud, Kernel {
  readonly partition: string;
  readonly clock: Clock;
  readonly delays: Delays;
  readonly faults = new FaultPlan();
  readonly record: Recorder;
  readonly identities: Identities;
  readonly failures: string[] = [];
  readonly rootCertificatePem: string;
  readonly services: Services;
  readonly publicDns = new PublicDns();
  readonly requestHandler: Cloud['requestHandler'];
  readonly fetch: typeof fetch;
  endpoint = '';
  readonly #codeOf: CodeOf;
  readonly #report: (failure: string) => void;
  readonly #lenient: boolean;
  #workFolder: WorkFolder | undefined;
  readonly #quotas: Quotas;
  readonly #http: Endpoint;
  readonly #calls: ApiCalls;
  readonly #fleet: NodeFleet;
  readonly #stacks = new Map<string, Deployed>();
  readonly #working = new Set<Promise<void>>();
  readonly #onSignal = (signal: NodeJS.Signals) => {
    void this.#end().finally(() => process.kill(process.pid, signal));
  };
  #ended: Promise<void> | undefined;
  #isCalled = false;

  constructor(options: WorldOptions, authority: CertificateAuthority) {
    const { partition = 'aws', timeScale = 1, quotas = true } = options;
    this.partition = partition;
    this.clock = options.clock ?? new CloudClock(timeScale);
    this.record = new Recorder(this.clock, options.keepsRecord);
    this.delays = new Delays(options.delays, this.clock);
    this.identities = new Identities(partition, this.clock, this.delays.iam, (call) =>
      this.record.call(call),
    );
    this.#codeOf = options.codeOf ?? noCode;
    this.#report = options.report ?? ((failure) => process.stderr.write(`local cloud: ${failure}\n`));
    this.#lenient = options.lenient ?? false;
    this.#quotas = new Quotas(quotas, this.clock);
    this.#http = new Endpoint(
      this,
      () => this.services.apiGateway,
      () => this.services.customResources,
    );
    this.requestHandler = requestHandler(this.#http);
    this.fetch = this.#http.fetch;
    this.rootCertificatePem = authority.rootPem;
    const managedNodes = new ManagedNodes(this);
    const ssmDocuments = new SsmDocuments(this);
    const runCommand = new RunCommand(this, managedNodes, ssmDocuments);
    this.services = {
      identities: this.identities,
      acm: new Acm(this, authority, this.publicDns),
      cloudFormation: new CloudFormation(this),
      customResources: new CustomResources(this),
      ec2: new Ec2(this, managedNodes),
      iam: new Iam(this),
      route53: new Route53(this, this.publicDns),
      secretsManager: new SecretsManager(this),
      sts: new Sts(this),
      dynamoDb: new DynamoDb(this),
      sns: new Sns(this),
      sqs: new Sqs(this),
      lambda: new Lambda(this, this.publicDns, options.environments),
      stepFunctions: new StepFunctions(this, timeScale, options.holdsExecutions),
      apiGateway: new ApiGateway(this),
      events: new Events(this),
      managedNodes,
      ssmDocuments,
      runCommand,
      automation: new Automation(this, ssmDocuments, runCommand),
    };
    this.#fleet = new NodeFleet(this, managedNodes, options.scriptVariables);
    this.#calls = new ApiCalls(this, {
      faults: this.faults,
      quotas: this.#quotas,
      resources: resourcesOf(this.services),
      operations: operationsOf(this.services),
      latency: options.latency,
    });
  }

  async listen(port: number): Promise<void> {
    for (const signal of SIGNALS) process.once(signal, this.#onSignal);
    this.endpoint = await this.#http.start(port);
  }

  /** Made when the first node or function needs it. */
  get folder(): string {
    if (!this.#ended) this.#workFolder ??= new WorkFolder();
    return this.#workFolder?.path ?? '';
  }

  /* --- what services need -------------------------------------------------------------------------------- */

  // biome-ignore lint/suspicious/noExplicitAny: the output's shape is the operation's
  call(operation: string, input: unknown, caller: Caller): Promise<any> {
    if (!this.#isCalled) this.settle();
    this.#isCalled = true;
    return this.#calls.call(operation, input, caller);
  }

  publish(event: Parameters<Kernel['publish']>[0]): void {
    this.services.events.publish(event);
  }

  track(work: Promise<unknown>): void {
    const tracked: Promise<void> = work.then(
      () => {},
      (error) => this.fail('work in the background', error),
    );
    this.#working.add(tracked);
    void tracked.finally(() => this.#working.delete(tracked));
  }

  fail(what: string, error: unknown): void {
    if (this.#ended) return;
    const { message, stack } = error as Error;
    const why = error instanceof NotModelled ? `not modelled: ${message}` : this.#lenient ? message : stack;
    this.failures.push(`${what}: ${why}`);
    this.#report(`${what}: ${why}`);
  }

  /* --- what callers need --------------------------------------------------------------------------------- */

  async idle(): Promise<void> {
    while (this.#working.size > 0) await Promise.all(this.#working);
  }

  operations(): Record<string, string[]> {
    const names = Object.keys(operationsOf(this.services)).map((name) => name.split('.') as [string, string]);
    const grouped = Map.groupBy(names, ([service]) => signingName(service));
    return Object.fromEntries(
      [...grouped].map(([service, found]) => [service, found.map(([, name]) => name)]),
    );
  }

  settle(): void {
    this.delays.settle();
  }

  setQuotas(enabled: boolean): void {
    this.#quotas.enabled = enabled;
  }

  clientConfig(identity: Identity, region: string): ClientConfig {
    return { endpoint: this.endpoint, region, credentials: identity.credentials };
  }

  client<T>(clientClass: ClientClass<T>, options: ClientOptions): T {
    return directClient(this, clientClass, options);
  }

  documentClient<T>(clientClass: ClientClass<T>, options: ClientOptions): T {
    return directDocumentClient(this, clientClass, options);
  }

  async fetchSigned(
    { credentials }: Identity,
    region: string,
    url: string,
    { method = 'GET', body = '', headers = {} }: Parameters<Cloud['fetchSigned']>[3] = {},
  ): Promise<Response> {
    const { hostname, port, host, pathname, searchParams } = new URL(url);
    const query: Record<string, string[]> = {};
    for (const name of new Set(searchParams.keys())) query[name] = searchParams.getAll(name);
    const signer = new SignatureV4({ service: 'execute-api', region, credentials, sha256: Sha256 });
    const signed = await signer.sign({
      method,
      protocol: 'http:',
      hostname,
      ...(port === '' ? {} : { port: Number(port) }),
      path: pathname,
      query,
      headers: { host, ...headers },
      ...(body === '' ? {} : { body }),
    });
    // fetch sets the host itself.
    const { host: _host, ...sent } = signed.headers;
    const door = isOfAws(hostname) ? this.fetch : fetch;
    return door(url, { method, headers: sent, ...(body === '' ? {} : { body }) });
  }

  async deploy(deployed: Deployed): Promise<void> {
    await deploy(deployed, this.services, this.#codeOf);
    this.services.cloudFormation.add(deployed);
    const policies = [...deployed.resources.values()].filter(
      ({ type }) => type === 'AWS::IAM::ManagedPolicy',
    );
    this.#fleet.addDefaultPolicies(
      deployed.account,
      deployed.region,
      policies.map(({ physicalId }) => physicalId),
    );
  }

  async deployTemplate(file: string, options: DeployOptions): Promise<Stack> {
    const deployed = this.#resolve(file, options);
    await this.deploy(deployed);
    return this.#stackOf(deployed);
  }

  updateTemplate(file: string, options: DeployOptions): Stack {
    const after = this.#resolve(file, options);
    const before = this.#stacks.get(nameOf(after));
    if (!before) throw new Error(`there is no stack ${options.stackName} to update`);
    update(before, after, this.services);
    return this.#stackOf(after);
  }

  #resolve(file: string, { amend, ...place }: DeployOptions): Deployed {
    const deployed = resolveTemplate(file, { partition: this.partition, parameters: {}, ...place });
    amend?.(deployed);
    return deployed;
  }

  #stackOf(deployed: Deployed): Stack {
    const { account, region, stackName } = deployed;
    this.#stacks.set(nameOf(deployed), deployed);
    const resource = (logicalId: string) => {
      const found = deployed.resources.get(logicalId);
      if (!found) throw new Error(`${stackName} has no resource ${logicalId}`);
      return found;
    };
    return {
      account,
      region,
      deployed,
      resource,
      output: (name) => {
        const value = deployed.outputs[name];
        if (value === undefined) throw new Error(`${stackName} has no output ${name}`);
        return String(value);
      },
      urlOf: (logicalId) => {
        const { physicalId, properties } = resource(logicalId);
        return `${this.endpoint}/${physicalId}/${properties.StageName}`;
      },
    };
  }

  createUser(
    account: string,
    name: string,
    policies: PolicyDocument[],
    tags: Record<string, string> = {},
  ): Identity {
    return this.identities.createUser(account, name, policies, tags);
  }

  createNode(account: string, region: string, options: NodeOptions = {}): Promise<CloudNode> {
    return this.#fleet.create(account, region, options);
  }

  nodes(): CloudNode[] {
    return this.#fleet.all();
  }

  /* --- the end ------------------------------------------------------------------------------------------- */

  async stop(): Promise<void> {
    const first = this.#ended === undefined;
    await this.#end();
    if (first && !this.#lenient && this.failures.length > 0) {
      throw new Error(`The local cloud met what it does not know:\n${this.failures.join('\n')}`);
    }
  }

  #end(): Promise<void> {
    this.#ended ??= this.#shutDown();
    return this.#ended;
  }

  async #shutDown(): Promise<void> {
    const { events, stepFunctions, automation, runCommand, lambda } = this.services;
    events.stop();
    stepFunctions.stop();
    automation.stop();
    runCommand.stop();
    this.clock.stop();
    await lambda.stop();
    await this.publicDns.stop();
    await this.#http.stop();
    await this.#fleet.stop();
    await this.#workFolder?.remove();
    for (const signal of SIGNALS) process.off(signal, this.#onSignal);
  }
}

function noCode({ logicalId }: { logicalId: string }): never {
  throw new Error(`${logicalId} has no code here: pass codeOf to startCloud or createCloud`);
}

function operationsOf(services: Services): Operations {
  const owners = Object.values(services).filter((service) => 'operations' in service);
  return Object.assign({}, ...owners.map(({ operations }) => operations));
}

/** What policies ask of the services: tags, resource policies, trust. */
function resourcesOf(services: Services): ResourceState {
  const { managedNodes, lambda, sns, sqs, stepFunctions, dynamoDb, events, apiGateway, cloudFormation } =
    services;
  const holders: Record<string, { state: ResourceState['resource'] }> = {
    lambda,
    sns,
    sqs,
    states: stepFunctions,
    dynamodb: dynamoDb,
    events,
    'execute-api': apiGateway,
    cloudformation: cloudFormation,
  };
  return {
    secret: (account, region, id) => services.secretsManager.state(account, region, id),
    certificate: (account, region, arn) => services.acm.state(account, region, arn),
    node: (account, region, id) => {
      const node = managedNodes.find(account, region, id);
      return node && managedNodes.state(node);
    },
    nodesByTag: (account, region, key, values) =>
      managedNodes.byTag(account, region, key, values).map((node) => managedNodes.state(node)),
    document: (account, region, name, version) => services.ssmDocuments.state(account, region, name, version),
    automationExecution: (account, region, id) => services.automation.state(account, region, id),
    role: (arn) => services.sts.state(arn),
    roleNamed: (account, name) => services.iam.state(account, name),
    resource: (arn) => holders[parseArn(arn)?.service ?? '']?.state(arn),
  };
}
