import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PolicyDocument } from '../iam/evaluate.ts';
import { installShims } from '../node/install-shims.ts';
import type { NodeSpec } from '../node/types.ts';
import type { Identity, Role } from './identities.ts';
import { InstanceMetadata } from './instance-metadata.ts';
import { binFolderOf, type ManagedNode, type ManagedNodes, type NodeAgent } from './managed-nodes.ts';
import { type Kernel, randomText } from './service.ts';

/** An agent that knows interpolationType ENV_VAR. */
const CURRENT_AGENT = '3.3.4177.0';

export interface NodeOptions {
  /** Default: random, and of the kind that is asked for. */
  id?: NodeSpec['id'];
  /** Default: that of the id, else ec2. */
  kind?: 'ec2' | 'hybrid';
  /** Of the instance (EC2) or of the managed instance (hybrid). */
  tags?: Record<string, string>;
  /** Of the node's role. Default: the same as `tags`. */
  roleTags?: Record<string, string>;
  /** Managed policies of the node's role. Default: every managed policy of the stacks of that account and Region. */
  managedPolicyArns?: string[];
  inlinePolicies?: PolicyDocument[];
  platform?: NodeSpec['platform'];
  agentVersion?: string;
  online?: boolean;
  /** Runs commands in this process: the node has neither folder nor instance metadata. */
  agent?: NodeAgent;
  /** Default Host Management: the agent offers scripts the credentials of an account-wide role without tags. */
  defaultHostManagement?: boolean;
  /**
   * Address of this machine that stands for the node's own localhost, so that nodes can use the same port;
   * default 127.0.0.1. Scripts on the node find it as LOCAL_NODE_HOST.
   */
  host?: string;
}

/** What scripts find in their environment besides the agent's variables, given the folder that stands for `/`. */
export type ScriptVariables = (root: string) => Record<string, string>;

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
  /** False: stopped, so that SSM does not list it until it runs again. */
  setListed(listed: boolean): void;
  setTags(tags: Record<string, string>): void;
  setRoleTags(tags: Record<string, string>): void;
  /** Ends the node: SSM no longer lists it. Its folder stays until the cloud stops. */
  terminate(): Promise<void>;
}

/**
 * The servers of the local cloud: a folder that stands for a whole file system, a role with credentials from
 * instance metadata (EC2) or the environment (hybrid), and an entry among SSM's managed nodes.
 */
export class NodeFleet {
  readonly #kernel: Kernel;
  readonly #managedNodes: ManagedNodes;
  readonly #nodes = new Map<string, CloudNode>();
  readonly #metadata = new Set<InstanceMetadata>();
  readonly #defaultPolicies = new Map<string, string[]>();
  readonly #variables: ScriptVariables;
  #shims: Promise<void> | undefined;

  constructor(kernel: Kernel, managedNodes: ManagedNodes, variables: ScriptVariables = () => ({})) {
    this.#kernel = kernel;
    this.#managedNodes = managedNodes;
    this.#variables = variables;
  }

  /** Managed policies that nodes created from now on get unless they name their own. */
  addDefaultPolicies(account: string, region: string, policyArns: string[]): void {
    const place = `${account} ${region}`;
    this.#defaultPolicies.set(place, [...(this.#defaultPolicies.get(place) ?? []), ...policyArns]);
  }

  async create(account: string, region: string, options: NodeOptions = {}): Promise<CloudNode> {
    const kind = options.kind ?? (options.id?.startsWith('mi-') ? 'hybrid' : 'ec2');
    const id =
      options.id ??
      (`${kind === 'hybrid' ? 'mi' : 'i'}-${randomText(17, '0123456789abcdef')}` as NodeSpec['id']);
    const tags = options.tags ?? {};
    const role = this.#kernel.identities.createRole(account, {
      name: `node-${id}`,
      trustPolicy: nodeTrust(kind, account, region, this.#kernel.partition),
      managedPolicyArns: options.managedPolicyArns ?? this.#defaultPolicies.get(`${account} ${region}`) ?? [],
      inlinePolicies: options.inlinePolicies ?? [],
      tags: options.roleTags ?? { ...tags },
      // The agent has taken it on when the node appears.
      isKnownAtOnce: true,
    });
    const session = this.#nodeSession(kind, role.arn, id, account, region);
    const common = {
      id,
      tags,
      platform: options.platform ?? 'Linux',
      agentVersion: options.agentVersion ?? CURRENT_AGENT,
      online: options.online ?? true,
    };
    if (options.agent) {
      const spec: NodeSpec = { ...common, root: '', environment: {} };
      const managed = { spec, account, region, roleName: role.name, agent: options.agent };
      return this.#added(this.#managedNodes.add(managed), role, session);
    }
    this.#shims ??= installShims(binFolderOf(this.#kernel.folder));
    await this.#shims;
    const root = join(this.#kernel.folder, 'nodes', id);
    mkdirSync(root, { recursive: true, mode: 0o700 });
    // As ca-certificates of a distribution knows the authorities of ACM.
    mkdirSync(join(root, 'etc/ssl/certs'), { recursive: true });
    writeFileSync(join(root, 'etc/ssl/certs/ca-certificates.crt'), this.#kernel.rootCertificatePem);
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
    if (metadata) this.#metadata.add(metadata);
    const environment = () => ({
      ...this.#variables(root),
      ...this.#nodeEnvironment(metadata, session),
      ...(options.host ? { LOCAL_NODE_HOST: options.host } : {}),
    });
    const spec: NodeSpec = {
      ...common,
      root,
      // Made anew for every script, because credentials expire.
      get environment() {
        return environment();
      },
    };
    const managed = this.#managedNodes.add({
      spec,
      account,
      region,
      roleName: role.name,
      ...(options.defaultHostManagement
        ? { hostManagementCredentials: this.#hostManagement(account, region, id) }
        : {}),
    });
    return this.#added(managed, role, session, metadata);
  }

  #added(managed: ManagedNode, role: Role, session: () => Identity, metadata?: InstanceMetadata): CloudNode {
    const { spec, account, region } = managed;
    const node: CloudNode = {
      id: spec.id,
      account,
      region,
      spec,
      roleArn: role.arn,
      identity: session,
      setOnline: (online) => this.#managedNodes.setOnline(managed, online),
      setListed: (listed) => this.#managedNodes[listed ? 'restore' : 'remove'](managed),
      setTags: (changed) => {
        spec.tags = changed;
      },
      setRoleTags: (changed) => {
        role.tags = changed;
      },
      terminate: async () => {
        this.#managedNodes.remove(managed);
        this.#kernel.identities.deleteRole(role.arn);
        this.#nodes.delete(spec.id);
        if (metadata && this.#metadata.delete(metadata)) await metadata.stop();
      },
    };
    this.#nodes.set(spec.id, node);
    return node;
  }

  all(): CloudNode[] {
    return [...this.#nodes.values()];
  }

  /** The role that Quick Setup makes, one for the account; what its AWS managed policy allows is not modelled. */
  #hostManagement(account: string, region: string, id: string): () => Identity['credentials'] {
    const name = 'AWSSystemsManagerDefaultEC2InstanceManagementRole';
    const { identities, partition } = this.#kernel;
    const arn = `arn:${partition}:iam::${account}:role/service-role/${name}`;
    if (!identities.role(arn)) {
      const trustPolicy = nodeTrust('hybrid', account, region, partition);
      identities.createRole(account, { name, path: '/service-role/', trustPolicy });
    }
    const session = this.#nodeSession('hybrid', arn, id, account, region);
    return () => session().credentials;
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
      const left = (identity?.credentials.expiration?.getTime() ?? 0) - this.#kernel.clock.now().getTime();
      if (identity && left > 15 * 60_000) return identity;
      const context = {
        'aws:SourceAccount': account,
        'aws:SourceArn': `arn:${this.#kernel.partition}:ssm:${region}:${account}:managed-instance/${id}`,
      };
      const service = kind === 'ec2' ? 'ec2.amazonaws.com' : 'ssm.amazonaws.com';
      // EC2 names the session after the instance, and so does SSM for hybrid nodes.
      identity = this.#kernel.identities.assumeAsService(service, roleArn, context, {
        name: id,
        seconds: 6 * 3600,
        source: `node ${id}`,
      });
      return identity;
    };
  }

  /** What a script on a node finds beside the agent's variables. */
  #nodeEnvironment(metadata: InstanceMetadata | undefined, session: () => Identity): Record<string, string> {
    const ahead = Math.round((this.#kernel.clock.now().getTime() - Date.now()) / 1000);
    const common = {
      ...(ahead > 0 ? { LOCAL_NODE_AHEAD_SECONDS: String(ahead) } : {}),
      AWS_ENDPOINT_URL: this.#kernel.endpoint,
      AWS_CONFIG_FILE: join(this.#kernel.folder, 'none'),
    };
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

  async stop(): Promise<void> {
    await Promise.all([...this.#metadata].map((metadata) => metadata.stop()));
    this.#metadata.clear();
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
