import { join } from 'node:path';
import type { TaggedState } from '../iam/operations.ts';
import type { NodeSpec } from '../node/types.ts';
import type { Identity } from './identities.ts';
import { type Kernel, type Operations, page, Regional, ServiceError } from './service.ts';

/** The folder of commands that stands first in the PATH of every script. */
export const binFolderOf = (folder: string): string => join(folder, 'bin');

/** What runs a command on a node that is no folder of this machine. */
export type NodeAgent = (command: {
  /** Name of the document. */
  document: string;
  parameters: Record<string, string[]>;
  /** Aborts when the command is cancelled. */
  signal: AbortSignal;
}) => AgentAnswer | Promise<AgentAnswer>;

export interface AgentAnswer {
  stdout: string;
  exitCode: number;
  /** Default: by the exit code. */
  status?: 'Success' | 'Failed' | 'TimedOut' | 'Cancelled';
}

export interface ManagedNode {
  /** Changed while the node lives: online, tags. */
  spec: NodeSpec;
  /** False: stopped or terminated. */
  exists: boolean;
  account: string;
  region: string;
  roleName: string;
  /** Runs commands in place of a shell. */
  agent?: NodeAgent;
  /** Credentials of the account-wide role that Default Host Management gives to the agent, where it is on. */
  hostManagementCredentials?: () => Identity['credentials'];
  registeredAt: Date;
  lastPing: Date;
}

interface Filter {
  Key: string;
  Values: string[];
}

/**
 * SSM managed nodes: which there are, and DescribeInstanceInformation. Source: API reference (service model of
 * botocore 1.43).
 *
 * UNCONFIRMED: that commands reach a node, or are refused for want of it, whatever the list still says of it.
 *
 * Not modelled: associations, inventory, activations, Greengrass devices.
 */
export class ManagedNodes {
  readonly operations: Operations = {
    'AmazonSSM.DescribeInstanceInformation': (input, { account, region }) =>
      this.#describeInstanceInformation(input, account, region),
  };
  readonly #kernel: Kernel;
  readonly #nodes = new Regional(() => new Map<string, ManagedNode>());
  readonly #waiting = new Set<{ node: ManagedNode; resolve: () => void }>();

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  add(node: Omit<ManagedNode, 'exists' | 'registeredAt' | 'lastPing'>): ManagedNode {
    const now = this.#kernel.clock.now();
    const { nodes, tags } = this.#kernel.delays;
    const added = nodes.watch({ ...node, exists: false, registeredAt: now, lastPing: now }, 'exists');
    added.exists = true;
    nodes.watch(added.spec, 'online', 'agentVersion');
    tags.watch(added.spec, 'tags');
    this.#nodes.of(node.account, node.region).set(node.spec.id, added);
    return added;
  }

  /** A terminated node is no longer listed: "information for nodes that are Stopped or Terminated" is not given. */
  remove(node: ManagedNode): void {
    node.exists = false;
  }

  /** A node that was stopped runs again. */
  restore(node: ManagedNode): void {
    node.exists = true;
  }

  setOnline(node: ManagedNode, online: boolean): void {
    node.spec.online = online;
    node.lastPing = this.#kernel.clock.now();
    if (!online) return;
    for (const entry of [...this.#waiting].filter((waiting) => waiting.node === node)) {
      this.#waiting.delete(entry);
      entry.resolve();
    }
  }

  /** Resolves once the node's agent can be reached, or when the signal aborts. */
  async untilOnline(node: ManagedNode, signal: AbortSignal): Promise<void> {
    if (node.spec.online || signal.aborted) return;
    await new Promise<void>((resolve) => {
      const entry = { node, resolve };
      this.#waiting.add(entry);
      signal.addEventListener('abort', () => {
        this.#waiting.delete(entry);
        resolve();
      });
    });
  }

  find(account: string, region: string, id: string): ManagedNode | undefined {
    const node = this.#nodes.of(account, region).get(id);
    return node?.exists ? node : undefined;
  }

  /** Those that are neither stopped nor terminated, whatever the list of Systems Manager says of them. */
  running(account: string, region: string): ManagedNode[] {
    return [...this.#nodes.of(account, region).values()].filter(({ exists }) => exists);
  }

  #tagsOf({ spec }: ManagedNode): Record<string, string> {
    return this.#kernel.delays.tags.seen(spec, 'tags');
  }

  /** Nodes whose tag `key` has one of the values; no values: any value. Tag keys are case-sensitive. */
  byTag(account: string, region: string, key: string, values: string[]): ManagedNode[] {
    return [...this.#nodes.of(account, region).values()].filter((node) => {
      const value = this.#tagsOf(node)[key];
      return node.exists && value !== undefined && (values.length === 0 || values.includes(value));
    });
  }

  state(node: ManagedNode): TaggedState {
    const { spec, account, region } = node;
    const place = (service: string) => `arn:${this.#kernel.partition}:${service}:${region}:${account}`;
    const arn = spec.id.startsWith('mi-')
      ? `${place('ssm')}:managed-instance/${spec.id}`
      : `${place('ec2')}:instance/${spec.id}`;
    return { arn, tags: this.#tagsOf(node) };
  }

  // biome-ignore lint/suspicious/noExplicitAny: input as it came over the wire
  #describeInstanceInformation(input: any, account: string, region: string) {
    const size = input.MaxResults ?? 10;
    if (input.InstanceInformationFilterList?.length && input.Filters?.length) {
      throw new ServiceError(
        'InvalidFilterKey',
        'Filters and InstanceInformationFilterList cannot be used together.',
      );
    }
    const filters: Filter[] = [
      ...(input.Filters ?? []),
      ...(input.InstanceInformationFilterList ?? []).map(
        ({ key, valueSet }: { key: string; valueSet: string[] }) => ({ Key: key, Values: valueSet }),
      ),
    ];
    // "Tag filters can't be combined with other filter types." The error's name is UNCONFIRMED.
    const byTag = filters.filter(({ Key }) => Key.startsWith('tag'));
    if (byTag.length > 0 && byTag.length < filters.length) {
      throw new ServiceError('InvalidFilterKey', 'Tag filters cannot be combined with other filters.');
    }
    const ids = filters.filter(({ Key }) => Key === 'InstanceIds').flatMap(({ Values }) => Values);
    const { nodes } = this.#kernel.delays;
    const all = this.#nodes.of(account, region);
    const isListed = (node: ManagedNode | undefined) => node !== undefined && nodes.seen(node, 'exists');
    const unknown = ids.find((id) => !isListed(all.get(id)));
    // "If you specify a node ID that isn't valid or a node that you don't own, you receive an error."
    if (unknown) throw new ServiceError('InvalidInstanceId', `Instance ${unknown} is not a managed node.`);
    const found = [...all.values()].filter(
      (node) => isListed(node) && filters.every((filter) => this.#fits(node, filter)),
    );
    const { items, nextToken } = page(
      found,
      size,
      input.NextToken || undefined,
      () => new ServiceError('InvalidNextToken', 'The specified token is not valid.'),
    );
    return {
      InstanceInformationList: items.map((node) => this.#information(node)),
      // "If there are no additional items to return, the string is empty."
      NextToken: nextToken ?? '',
    };
  }

  #information({ spec, roleName, registeredAt, lastPing }: ManagedNode) {
    const { nodes } = this.#kernel.delays;
    const online = nodes.seen(spec, 'online');
    const isHybrid = spec.id.startsWith('mi-');
    return {
      InstanceId: spec.id,
      PingStatus: pingStatus(online),
      LastPingDateTime: online ? this.#kernel.clock.now() : lastPing,
      AgentVersion: nodes.seen(spec, 'agentVersion'),
      IsLatestVersion: true,
      PlatformType: spec.platform,
      PlatformName: spec.platform === 'Linux' ? 'Amazon Linux' : 'Microsoft Windows Server 2025',
      PlatformVersion: '2023',
      ResourceType: isHybrid ? 'ManagedInstance' : 'EC2Instance',
      SourceType: isHybrid ? 'AWS::SSM::ManagedInstance' : 'AWS::EC2::Instance',
      SourceId: spec.id,
      IPAddress: '127.0.0.1',
      ComputerName: spec.id,
      // "This call doesn't return the IAM role for unmanaged EC2 instances": here only hybrid nodes have it.
      ...(isHybrid ? { IamRole: roleName, RegistrationDate: registeredAt } : {}),
    };
  }

  #fits(node: ManagedNode, { Key, Values }: Filter): boolean {
    const { spec } = node;
    const { nodes } = this.#kernel.delays;
    if (Key.startsWith('tag:')) {
      const value = this.#tagsOf(node)[Key.slice(4)];
      return value !== undefined && Values.includes(value);
    }
    if (Key === 'tag-key') return Values.some((key) => this.#tagsOf(node)[key] !== undefined);
    const fields: Record<string, string> = {
      InstanceIds: spec.id,
      PingStatus: pingStatus(nodes.seen(spec, 'online')),
      PlatformType: spec.platform,
      PlatformTypes: spec.platform,
      AgentVersion: nodes.seen(spec, 'agentVersion'),
      ResourceType: spec.id.startsWith('mi-') ? 'ManagedInstance' : 'EC2Instance',
    };
    const value = fields[Key];
    if (value === undefined) throw new ServiceError('InvalidFilterKey', `The filter ${Key} is not valid.`);
    return Values.includes(value);
  }
}

function pingStatus(online: boolean): string {
  return online ? 'Online' : 'ConnectionLost';
}
