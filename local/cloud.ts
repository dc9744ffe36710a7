import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Sha256 } from '@aws-crypto/sha256-js';
import { SignatureV4 } from '@smithy/signature-v4';
import { evaluate, type PolicyDocument, type Principal } from './iam/evaluate.ts';
import { NotModelled } from './iam/not-modelled.ts';
import { accessRequests, type ResourceState } from './iam/operations.ts';
import { SignatureError, verifySignature } from './iam/sigv4.ts';
import { installShims } from './node/install-shims.ts';
import type { NodeSpec } from './node/types.ts';
import { Acm } from './services/acm.ts';
import { ApiGateway } from './services/api-gateway.ts';
import { Automation } from './services/automation.ts';
import { CertificateAuthority } from './services/certificate-authority.ts';
import { type Clock, CloudClock } from './services/clock.ts';
import { deploy } from './services/deploy.ts';
import { DynamoDb } from './services/dynamodb.ts';
import { Events } from './services/events.ts';
import { FaultPlan, type Faults } from './services/faults.ts';
import { Identities, type Identity } from './services/identities.ts';
import { InstanceMetadata } from './services/instance-metadata.ts';
import { Lambda } from './services/lambda.ts';
import { ManagedNodes } from './services/managed-nodes.ts';
import { protocolOf, type WireRequest, type WireResponse } from './services/protocols.ts';
import { Quotas, serverError, throttled } from './services/quotas.ts';
import { type RecordedCall, Recorder, type Recording } from './services/recording.ts';
import { RunCommand } from './services/run-command.ts';
import { SecretsManager } from './services/secrets-manager.ts';
import {
  type Caller,
  type Kernel,
  NoAnswer,
  type Operations,
  parseArn,
  randomText,
  ServiceError,
} from './services/service.ts';
import { Sns } from './services/sns.ts';
import { Sqs } from './services/sqs.ts';
import { SsmDocuments } from './services/ssm-documents.ts';
import { StepFunctions } from './services/step-functions.ts';
import { Sts } from './services/sts.ts';
import { WorkFolder } from './services/work-folder.ts';
import { type Deployed, type Resource, resolveTemplate } from './templates/resolve-template.ts';

export type { Clock } from './services/clock.ts';
export type { Fault, FaultKind, Faults } from './services/faults.ts';
export type { Identity } from './services/identities.ts';
export type { Channel, Emission, RecordedCall, Recording } from './services/recording.ts';

const PROJECT = fileURLToPath(new URL('../', import.meta.url));
/** An agent that knows interpolationType ENV_VAR. */
const CURRENT_AGENT = '3.3.4177.0';

export interface CloudOptions {
  /** Default aws. */
  partition?: string;
  /**
   * Real seconds that one second of a wait takes (state machine waits, retry intervals, Lambda and event
   * retries, delivery time-outs, quota refill). Default 1; tests use 0.01. Clock times are never scaled.
   */
  timeScale?: number;
  /** Request quotas such as one StartAutomationExecution a second. Default true. */
  quotas?: boolean;
  /** Where `make build` put functions/ and layer/. Default: build/ in the project. */
  buildFolder?: string;
  /** Default 0: a free port of 127.0.0.1. */
  port?: number;
}

/** For every client of the AWS SDK: `new ACMClient(cloud.clientConfig(identity, 'eu-west-1'))`. */
export interface ClientConfig {
  endpoint: string;
  region: string;
  credentials: Identity['credentials'];
}

export interface Stack {
  account: string;
  region: string;
  deployed: Deployed;
  /** Throws when the template has no such logical id. */
  resource(logicalId: string): Resource;
  /** Throws when the template has no such output. */
  output(name: string): string;
}

export interface CentralStack extends Stack {
  /** `<endpoint>/<api id>/<stage>`: routes follow. */
  apiUrl: string;
  stateMachineArn: string;
}

export interface DeployOptions {
  account: string;
  region: string;
  /** Default: the Prefix and which of the two stacks it is. */
  stackName?: string;
  parameters?: Record<string, string | number>;
  /** Default: template.yaml or member-account.yaml of the project. */
  template?: string;
  /** Changes what was resolved before anything is created, for example removes a statement of a policy. */
  amend?: (deployed: Deployed) => void;
}

export interface NodeOptions {
  /** Default: random, and of the kind that is asked for. */
  id?: NodeSpec['id'];
  /** Default: that of the id, else ec2. */
  kind?: 'ec2' | 'hybrid';
  /** Of the instance (EC2) or of the managed instance (hybrid). */
  tags?: Record<string, string>;
  /** Of the node's role. Default: the same as `tags`, as the README tells to do. */
  roleTags?: Record<string, string>;
  /** Managed policies of the node's role. Default: every managed policy of the member stacks of that account and Region. */
  managedPolicyArns?: string[];
  inlinePolicies?: PolicyDocument[];
  platform?: NodeSpec['platform'];
  agentVersion?: string;
  online?: boolean;
  /**
   * Address of this machine that stands for the node's own localhost, so that nodes can use the same port;
   * default 127.0.0.1. Scripts on the node find it as LOCAL_NODE_HOST.
   */
  host?: string;
}

export interface CloudNode {
  id: NodeSpec['id'];
  account: string;
  region: string;
  /** What the agent works with; `root` is the folder that stands for `/`. */
  spec: NodeSpec;
  roleArn: string;
  /** The node's own credentials, for calls that an intruder on the node would try. */
  identity(): Identity;
  setOnline(online: boolean): void;
  setTags(tags: Record<string, string>): void;
  setRoleTags(tags: Record<string, string>): void;
  /** Ends the node: SSM no longer lists it. Its folder stays until the cloud stops. */
  terminate(): Promise<void>;
}

/** The services themselves, for what no API of AWS offers: renewals, deliveries, what lies in a queue. */
export interface Services {
  identities: Identities;
  acm: Acm;
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
  /** `http://127.0.0.1:<port>`: every service and the API. */
  endpoint: string;
  /** Work folder, mode 0700, removed by stop(). */
  folder: string;
  /** Certificate of the root that issues everything. */
  rootCertificatePem: string;
  clock: Clock;
  faults: Faults;
  record: Recording;
  services: Services;
  /** What was asked of the cloud that it does not model, and faults of its own. `stop` throws when there are any. */
  failures: string[];
  /** Switches request quotas on and off. */
  setQuotas(enabled: boolean): void;
  clientConfig(identity: Identity, region: string): ClientConfig;
  deployCentral(options: DeployOptions): Promise<CentralStack>;
  deployMember(options: DeployOptions): Promise<Stack>;
  /** A user that may request, tag, describe, renew and revoke certificates, not export them. */
  createCertificateAdmin(account: string): Identity;
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

/** Starts a local cloud: one HTTP endpoint for every account, Region and service. */
export async function startCloud(options: CloudOptions = {}): Promise<Cloud> {
  const cloud = new LocalCloud(options);
  try {
    await cloud.start(options.port ?? 0);
  } catch (error) {
    await cloud.stop();
    throw error;
  }
  return cloud;
}

class LocalCloud implements Cloud, Kernel {
  readonly partition: string;
  readonly folder: string;
  readonly clock: CloudClock;
  readonly faults = new FaultPlan();
  readonly record: Recorder;
  readonly identities: Identities;
  readonly failures: string[] = [];
  endpoint = '';
  rootCertificatePem = '';
  services!: Services;
  readonly #workFolder = new WorkFolder();
  readonly #quotas: Quotas;
  readonly #timeScale: number;
  readonly #buildFolder: string;
  readonly #server: Server;
  readonly #binFolder: string;
  readonly #working = new Set<Promise<void>>();
  readonly #nodes = new Map<string, CloudNode>();
  readonly #metadata: InstanceMetadata[] = [];
  readonly #managedPolicies = new Map<string, string[]>();
  readonly #onSignal = (signal: NodeJS.Signals) => {
    void this.#end().finally(() => process.kill(process.pid, signal));
  };
  #operations: Operations = {};
  #shims: Promise<void> | undefined;
  #ended: Promise<void> | undefined;

  constructor({
    partition = 'aws',
    timeScale = 1,
    quotas = true,
    buildFolder = join(PROJECT, 'build'),
  }: CloudOptions) {
    this.partition = partition;
    this.folder = this.#workFolder.path;
    this.#binFolder = join(this.folder, 'bin');
    this.#timeScale = timeScale;
    this.#buildFolder = buildFolder;
    this.clock = new CloudClock(timeScale);
    this.record = new Recorder(this.clock);
    this.identities = new Identities(partition, this.clock);
    this.#quotas = new Quotas(quotas, timeScale);
    this.#server = createServer((request, response) => void this.#serve(request, response));
  }

  async start(port: number): Promise<void> {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, this.#onSignal);
    this.#server.listen(port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.endpoint = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    const authority = await CertificateAuthority.create(this.clock.now());
    this.rootCertificatePem = authority.rootPem;
    const managedNodes = new ManagedNodes(this);
    const ssmDocuments = new SsmDocuments(this);
    const runCommand = new RunCommand(this, managedNodes, ssmDocuments);
    runCommand.binFolder = this.#binFolder;
    this.services = {
      identities: this.identities,
      acm: new Acm(this, authority),
      secretsManager: new SecretsManager(this),
      sts: new Sts(this),
      dynamoDb: new DynamoDb(this),
      sns: new Sns(this),
      sqs: new Sqs(this),
      lambda: new Lambda(this, this.clock.shared),
      stepFunctions: new StepFunctions(this, this.#timeScale),
      apiGateway: new ApiGateway(this),
      events: new Events(this),
      managedNodes,
      ssmDocuments,
      runCommand,
      automation: new Automation(this, ssmDocuments, runCommand),
    };
    for (const service of Object.values(this.services)) {
      if ('operations' in service) this.#operations = { ...this.#operations, ...service.operations };
    }
    await this.services.dynamoDb.start();
  }

  /* --- one call ------------------------------------------------------------------------------------------ */

  // biome-ignore lint/suspicious/noExplicitAny: the output's shape is the operation's
  async call(operation: string, input: unknown, caller: Caller): Promise<any> {
    const { principal, account, region, source } = caller;
    const entry: RecordedCall = {
      at: this.clock.now().toISOString(),
      operation,
      account,
      region,
      principalArn: principal.service ?? principal.arn,
      ...(principal.sessionArn ? { sessionArn: principal.sessionArn } : {}),
      source,
      input,
      principal,
      decisions: [],
      status: 0,
    };
    this.record.calls.push(entry);
    try {
      const fault = this.faults.take(operation, input, caller);
      if (fault === 'throttle') throw throttled(operation);
      if (fault === 'server-error') throw serverError(operation);
      if (fault === 'crash-before-effect') caller.crash?.();
      if (fault === 'timeout' || fault === 'crash-before-effect')
        throw new NoAnswer(`${operation}: the request was lost`);
      this.#quotas.take(operation, account, region);
      this.#authorize(operation, input, caller, entry);
      const handler = this.#operations[operation];
      if (!handler) throw new NotModelled(`operation ${operation}`);
      const output = await handler(input, caller);
      if (fault === 'crash-after-effect') caller.crash?.();
      if (fault === 'answer-lost' || fault === 'crash-after-effect')
        throw new NoAnswer(`${operation}: the answer was lost`);
      entry.status = 200;
      entry.output = output;
      return output;
    } catch (error) {
      entry.error = (error as Error).name;
      if (error instanceof ServiceError) entry.status = error.status;
      if (error instanceof NotModelled) {
        this.#fail(`${source} called ${operation}`, error);
        throw new ServiceError('NotModelled', `The local cloud does not model this: ${error.message}`);
      }
      throw error;
    }
  }

  #authorize(operation: string, input: unknown, caller: Caller, entry: RecordedCall): void {
    const { account, region, principal, context = {}, accessKeyId } = caller;
    const now = this.clock.now();
    const issuedAt =
      accessKeyId && principal.sessionArn ? this.identities.key(accessKeyId)?.issuedAt : undefined;
    const common = {
      'aws:CurrentTime': now.toISOString(),
      'aws:EpochTime': String(Math.floor(now.getTime() / 1000)),
      ...(issuedAt ? { 'aws:TokenIssueTime': issuedAt.toISOString() } : {}),
      ...context,
    };
    const requests = accessRequests(
      operation,
      input,
      { account, region, partition: this.partition },
      this.#resources,
    );
    for (const asked of requests) {
      const request = { ...asked, context: { ...asked.context, ...common } };
      const decision = evaluate(principal, request);
      entry.decisions.push({ request, decision });
      if (!decision.allowed) {
        const [service = ''] = operation.split('.');
        // The query protocol's name has no suffix.
        throw new ServiceError(
          ['sts', 'sns'].includes(service) ? 'AccessDenied' : 'AccessDeniedException',
          decision.reason,
          403,
        );
      }
    }
  }

  readonly #resources: ResourceState = {
    secret: (account, region, id) => this.services.secretsManager.state(account, region, id),
    certificate: (account, region, arn) => this.services.acm.state(account, region, arn),
    node: (account, region, id) => {
      const node = this.services.managedNodes.find(account, region, id);
      return node && this.services.managedNodes.state(node);
    },
    nodesByTag: (account, region, key, values) =>
      this.services.managedNodes
        .byTag(account, region, key, values)
        .map((node) => this.services.managedNodes.state(node)),
    document: (account, region, name) => this.services.ssmDocuments.state(account, region, name),
    automationExecution: (account, region, id) => this.services.automation.state(account, region, id),
    role: (arn) => this.services.sts.state(arn),
    resource: (arn) => {
      const { lambda, sns, sqs, stepFunctions, dynamoDb, events, apiGateway } = this.services;
      const holders: Record<string, { state(arn: string): ReturnType<ResourceState['resource']> }> = {
        lambda,
        sns,
        sqs,
        states: stepFunctions,
        dynamodb: dynamoDb,
        events,
        'execute-api': apiGateway,
      };
      return holders[parseArn(arn)?.service ?? '']?.state(arn);
    },
  };

  publish(event: Parameters<Kernel['publish']>[0]): void {
    this.services.events.publish(event);
  }

  track(work: Promise<unknown>): void {
    const tracked: Promise<void> = work.then(
      () => {},
      (error) => this.#fail('work in the background', error),
    );
    this.#working.add(tracked);
    void tracked.finally(() => this.#working.delete(tracked));
  }

  #fail(what: string, error: unknown): void {
    if (this.#ended) return;
    const text =
      error instanceof NotModelled
        ? `${what}: not modelled: ${error.message}`
        : `${what}: ${(error as Error).stack ?? error}`;
    this.failures.push(text);
    process.stderr.write(`local cloud: ${text}\n`);
  }

  async idle(): Promise<void> {
    while (this.#working.size > 0) await Promise.all(this.#working);
  }

  setQuotas(enabled: boolean): void {
    this.#quotas.enabled = enabled;
  }

  /* --- HTTP ---------------------------------------------------------------------------------------------- */

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request) chunks.push(chunk);
    } catch {
      return; // The client went away.
    }
    const [path = '/', query = ''] = (request.url ?? '/').split(/\?(.*)/s);
    const wire: WireRequest = {
      method: request.method ?? 'GET',
      path,
      query,
      headers: request.headers,
      rawHeaders: request.rawHeaders,
      body: Buffer.concat(chunks),
    };
    try {
      const answer = await this.#answer(wire);
      response.writeHead(answer.status, {
        'x-amzn-requestid': crypto.randomUUID(),
        date: this.clock.now().toUTCString(),
        ...answer.headers,
      });
      response.end(answer.body);
    } catch (error) {
      if (!(error instanceof NoAnswer)) this.#fail(`${wire.method} ${wire.path}`, error);
      request.socket.destroy();
    }
  }

  async #answer(request: WireRequest): Promise<WireResponse> {
    const verified = this.#verify(request);
    const isQueryOrTarget =
      request.headers['x-amz-target'] ?? (request.method === 'POST' && request.path === '/');
    if (
      verified.service === 'execute-api' ||
      (!isQueryOrTarget && !request.path.startsWith('/2015-03-31/'))
    ) {
      return this.#answerApi(request, verified);
    }
    const protocol = protocolOf(request, verified.service);
    try {
      if ('error' in verified)
        throw wireError(
          verified.error,
          protocol === protocolOf({ ...request, headers: { 'x-amz-target': 'x' } }, ''),
        );
      const { operation, input } = protocol.parse(request, verified.service);
      checkScope(operation, verified.service);
      return protocol.answer(await this.call(operation, input, verified.caller), operation);
    } catch (error) {
      if (error instanceof ServiceError) return protocol.refuse(error);
      throw error;
    }
  }

  async #answerApi(request: WireRequest, verified: Verified): Promise<WireResponse> {
    const found = this.services.apiGateway.find(request.path);
    const body = (message: string) => JSON.stringify({ message });
    if (!found)
      return { status: 403, headers: { 'content-type': 'application/json' }, body: body('Forbidden') };
    if ('error' in verified && verified.error.name !== 'MissingAuthenticationToken') {
      const error = wireError(verified.error, true);
      return {
        status: 403,
        headers: { 'content-type': 'application/json', 'x-amzn-errortype': error.name },
        body: body(error.message),
      };
    }
    // "Authorization: dropped if it contains a Signature Version 4 signature" (developer guide, "Important notes").
    const headers: Record<string, string> = {};
    for (let index = 0; index < request.rawHeaders.length; index += 2) {
      const name = request.rawHeaders[index] as string;
      if (!/^(authorization|connection)$/i.test(name))
        headers[name] = request.rawHeaders[index + 1] as string;
    }
    const api = {
      method: request.method,
      path: found.rest,
      query: request.query,
      headers,
      body: request.body.toString(),
    };
    const caller = 'caller' in verified ? verified.caller : undefined;
    const answer = await this.services.apiGateway.handle(found.api, api, caller);
    return { status: answer.statusCode, headers: answer.headers, body: answer.body };
  }

  #verify({ method, path, query, headers, body }: WireRequest): Verified {
    const credentialFor = (id: string) => this.identities.key(id);
    const signed = { method, path, query, headers, body };
    let scope: ReturnType<typeof verifySignature>;
    try {
      try {
        scope = verifySignature(signed, credentialFor, this.clock.now());
      } catch (error) {
        // Callers outside the cloud live by the machine's clock, which does not move with the cloud's.
        if ((error as Error).name !== 'RequestExpired') throw error;
        scope = verifySignature(signed, credentialFor, new Date());
      }
    } catch (error) {
      if (!(error instanceof SignatureError)) throw error;
      return { error, service: '' };
    }
    const key = this.identities.key(scope.accessKeyId);
    if (!key || this.identities.isExpired(key)) {
      return {
        error: new SignatureError('ExpiredToken', 'The security token included in the request is expired'),
        service: scope.service,
      };
    }
    const principal = this.identities.principalOf(key);
    const caller: Caller = {
      account: principal.account,
      region: scope.region,
      principal,
      source: key.source,
      accessKeyId: scope.accessKeyId,
      crash: key.crash,
    };
    return { caller, service: scope.service };
  }

  clientConfig(identity: Identity, region: string): ClientConfig {
    return { endpoint: this.endpoint, region, credentials: identity.credentials };
  }

  async fetchSigned(
    identity: Identity,
    region: string,
    url: string,
    {
      method = 'GET',
      body = '',
      headers = {},
    }: { method?: string; body?: string; headers?: Record<string, string> } = {},
  ): Promise<Response> {
    const { hostname, port, host, pathname, searchParams } = new URL(url);
    const query: Record<string, string[]> = {};
    for (const name of new Set(searchParams.keys())) query[name] = searchParams.getAll(name);
    const signer = new SignatureV4({
      service: 'execute-api',
      region,
      credentials: identity.credentials,
      sha256: Sha256,
    });
    const signed = await signer.sign({
      method,
      protocol: 'http:',
      hostname,
      port: Number(port),
      path: pathname,
      query,
      headers: { host, ...headers },
      ...(body === '' ? {} : { body }),
    });
    // fetch sets the host itself.
    const { host: _host, ...sent } = signed.headers;
    return fetch(url, { method, headers: sent, ...(body === '' ? {} : { body }) });
  }

  /* --- what there is ------------------------------------------------------------------------------------- */

  async deployCentral(options: DeployOptions): Promise<CentralStack> {
    const stack = await this.#deploy(options, 'template.yaml', 'central');
    const api = [...stack.deployed.resources.values()].find(({ type }) => type === 'AWS::Serverless::Api');
    const machine = [...stack.deployed.resources.values()].find(
      ({ type }) => type === 'AWS::Serverless::StateMachine',
    );
    return {
      ...stack,
      apiUrl: `${this.endpoint}/${api?.physicalId}/${api?.properties.StageName}`,
      stateMachineArn: machine?.arn ?? '',
    };
  }

  deployMember(options: DeployOptions): Promise<Stack> {
    return this.#deploy(options, 'member-account.yaml', 'member');
  }

  async #deploy(options: DeployOptions, file: string, kind: string): Promise<Stack> {
    const { account, region, parameters = {}, template = join(PROJECT, file), amend } = options;
    const stackName = options.stackName ?? `${parameters.Prefix ?? 'acm-export'}-${kind}`;
    const deployed = resolveTemplate(template, {
      account,
      region,
      partition: this.partition,
      stackName,
      parameters,
    });
    amend?.(deployed);
    await deploy(deployed, this.services, this.#buildFolder);
    const place = `${account} ${region}`;
    const policies = [...deployed.resources.values()].filter(
      ({ type }) => type === 'AWS::IAM::ManagedPolicy',
    );
    this.#managedPolicies.set(place, [
      ...(this.#managedPolicies.get(place) ?? []),
      ...policies.map(({ physicalId }) => physicalId),
    ]);
    return {
      account,
      region,
      deployed,
      resource: (logicalId) => {
        const resource = deployed.resources.get(logicalId);
        if (!resource) throw new Error(`${file} has no resource ${logicalId}`);
        return resource;
      },
      output: (name) => {
        const value = deployed.outputs[name];
        if (value === undefined) throw new Error(`${file} has no output ${name}`);
        return String(value);
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

  createCertificateAdmin(account: string): Identity {
    const actions = ['Request', 'Describe', 'Renew', 'Revoke'].map((verb) => `acm:${verb}Certificate`);
    const Action = [
      ...actions,
      'acm:ListCertificates',
      'acm:ListTagsForCertificate',
      'acm:AddTagsToCertificate',
    ];
    return this.createUser(account, 'certificate-admin', [
      { Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action, Resource: '*' }] },
    ]);
  }

  async createNode(account: string, region: string, options: NodeOptions = {}): Promise<CloudNode> {
    this.#shims ??= installShims(this.#binFolder);
    await this.#shims;
    const kind = options.kind ?? (options.id?.startsWith('mi-') ? 'hybrid' : 'ec2');
    const id =
      options.id ??
      (`${kind === 'hybrid' ? 'mi' : 'i'}-${randomText(17, '0123456789abcdef')}` as NodeSpec['id']);
    const tags = options.tags ?? {};
    const role = this.identities.createRole(account, {
      name: `node-${id}`,
      trustPolicy: nodeTrust(kind, account, region, this.partition),
      managedPolicyArns: options.managedPolicyArns ?? this.#managedPolicies.get(`${account} ${region}`) ?? [],
      inlinePolicies: options.inlinePolicies ?? [],
      tags: options.roleTags ?? { ...tags },
    });
    const session = this.#nodeSession(kind, role.arn, id, account, region);
    const root = join(this.folder, 'nodes', id);
    mkdirSync(root, { recursive: true, mode: 0o700 });
    const metadata =
      kind === 'ec2'
        ? await InstanceMetadata.start({
            instanceId: id,
            region,
            account,
            roleName: role.name,
            credentials: () => session().credentials,
          })
        : undefined;
    if (metadata) this.#metadata.push(metadata);
    const environment = () => ({
      ...this.#nodeEnvironment(metadata, session),
      ...(options.host ? { LOCAL_NODE_HOST: options.host } : {}),
    });
    const spec: NodeSpec = {
      id,
      root,
      tags,
      platform: options.platform ?? 'Linux',
      agentVersion: options.agentVersion ?? CURRENT_AGENT,
      online: options.online ?? true,
      // Made anew for every script, because credentials expire.
      get environment() {
        return environment();
      },
    };
    const managed = this.services.managedNodes.add({ spec, account, region, roleName: role.name });
    const node: CloudNode = {
      id,
      account,
      region,
      spec,
      roleArn: role.arn,
      identity: session,
      setOnline: (online) => this.services.managedNodes.setOnline(managed, online),
      setTags: (changed) => {
        spec.tags = changed;
      },
      setRoleTags: (changed) => {
        role.tags = changed;
      },
      terminate: async () => {
        this.services.managedNodes.remove(managed);
        this.identities.deleteRole(role.arn);
        this.#nodes.delete(id);
        await metadata?.stop();
      },
    };
    this.#nodes.set(id, node);
    return node;
  }

  nodes(): CloudNode[] {
    return [...this.#nodes.values()];
  }

  /** Credentials of a node's role, renewed before they expire. */
  #nodeSession(
    kind: 'ec2' | 'hybrid',
    roleArn: string,
    id: string,
    account: string,
    region: string,
  ): () => Identity {
    let identity: Identity | undefined;
    return () => {
      const left = (identity?.credentials.expiration?.getTime() ?? 0) - this.clock.now().getTime();
      if (identity && left > 15 * 60_000) return identity;
      const context = {
        'aws:SourceAccount': account,
        'aws:SourceArn': `arn:${this.partition}:ssm:${region}:${account}:managed-instance/${id}`,
      };
      const service = kind === 'ec2' ? 'ec2.amazonaws.com' : 'ssm.amazonaws.com';
      // EC2 names the session after the instance, and so does SSM for hybrid nodes.
      identity = this.identities.assumeAsService(service, roleArn, context, {
        name: id,
        seconds: 6 * 3600,
        source: `node ${id}`,
      });
      return identity;
    };
  }

  /** What a script on a node finds beside the agent's variables. */
  #nodeEnvironment(metadata: InstanceMetadata | undefined, session: () => Identity): Record<string, string> {
    const common = { AWS_ENDPOINT_URL: this.endpoint, AWS_CONFIG_FILE: join(this.folder, 'none') };
    if (metadata) return { ...common, AWS_EC2_METADATA_SERVICE_ENDPOINT: metadata.endpoint };
    // A hybrid node has them in /root/.aws/credentials, a file that only a real root reads.
    const { accessKeyId, secretAccessKey, sessionToken = '' } = session().credentials;
    return {
      ...common,
      AWS_EC2_METADATA_DISABLED: 'true',
      AWS_ACCESS_KEY_ID: accessKeyId,
      AWS_SECRET_ACCESS_KEY: secretAccessKey,
      AWS_SESSION_TOKEN: sessionToken,
    };
  }

  /* --- the end ------------------------------------------------------------------------------------------- */

  async stop(): Promise<void> {
    const first = this.#ended === undefined;
    await this.#end();
    if (first && this.failures.length > 0)
      throw new Error(`The local cloud met what it does not know:\n${this.failures.join('\n')}`);
  }

  #end(): Promise<void> {
    this.#ended ??= this.#shutDown();
    return this.#ended;
  }

  async #shutDown(): Promise<void> {
    const services = this.services as Services | undefined;
    services?.events.stop();
    services?.stepFunctions.stop();
    services?.automation.stop();
    services?.runCommand.stop();
    this.clock.stop();
    await services?.lambda.stop();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    await Promise.all(this.#metadata.map((metadata) => metadata.stop().catch(() => {})));
    await services?.dynamoDb.stop();
    await this.#workFolder.remove();
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.off(signal, this.#onSignal);
  }
}

type Verified = { caller: Caller; service: string } | { error: SignatureError; service: string };

/** JSON services and API Gateway name these errors with a suffix; a stale signature is an invalid one. */
function wireError({ name, message, statusCode }: SignatureError, isJson: boolean): ServiceError {
  if (!isJson)
    return new ServiceError(name === 'RequestExpired' ? 'SignatureDoesNotMatch' : name, message, statusCode);
  const names: Record<string, string> = {
    RequestExpired: 'InvalidSignatureException',
    MissingAuthenticationToken: 'MissingAuthenticationTokenException',
    IncompleteSignature: 'IncompleteSignatureException',
    ExpiredToken: 'ExpiredTokenException',
  };
  return new ServiceError(names[name] ?? name, message);
}

/** Signing names by the service part of an operation. */
const signingNames: Record<string, string> = {
  CertificateManager: 'acm',
  AmazonSSM: 'ssm',
  secretsmanager: 'secretsmanager',
  DynamoDB_20120810: 'dynamodb',
  AWSStepFunctions: 'states',
  AWSEvents: 'events',
  AmazonSQS: 'sqs',
  lambda: 'lambda',
  sts: 'sts',
  sns: 'sns',
};

/** A signature for one service is worth nothing at another. */
function checkScope(operation: string, service: string): void {
  const expected = signingNames[operation.split('.')[0] ?? ''];
  if (expected && expected !== service) {
    throw new ServiceError(
      'InvalidSignatureException',
      `Credential should be scoped to correct service: '${expected}'.`,
    );
  }
}

/** Trust of a node's role as the user guides give it, for EC2 and for hybrid nodes. */
function nodeTrust(
  kind: 'ec2' | 'hybrid',
  account: string,
  region: string,
  partition: string,
): PolicyDocument {
  const Principal: { Service: string } = {
    Service: kind === 'ec2' ? 'ec2.amazonaws.com' : 'ssm.amazonaws.com',
  };
  const Condition = {
    StringEquals: { 'aws:SourceAccount': account },
    ArnLike: { 'aws:SourceArn': `arn:${partition}:ssm:${region}:${account}:*` },
  };
  return {
    Version: '2012-10-17',
    Statement: [
      { Effect: 'Allow', Principal, Action: 'sts:AssumeRole', ...(kind === 'ec2' ? {} : { Condition }) },
    ],
  };
}

export type { Principal };
