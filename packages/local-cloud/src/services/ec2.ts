import { NotModelled } from '../iam/not-modelled.ts';
import type { ManagedNode, ManagedNodes } from './managed-nodes.ts';
import { type Caller, type Kernel, type Operations, page, ServiceError } from './service.ts';

/** "The maximum number of items to return for this request", from 5 to 1000 (API reference, DescribeInstances). */
const MOST = 1000;

interface Filter {
  Name: string;
  Values: string[];
}

/**
 * Amazon EC2, as far as it tells of the instances behind managed nodes. Source: API reference, DescribeInstances. Each
 * instance is a reservation of its own, and runs with an instance profile that has the name of its role, as the console
 * makes it.
 *
 * Not modelled: instances that are stopped or terminated, or have no profile; filters but those by tag, id and state.
 */
export class Ec2 {
  readonly operations: Operations = {
    'ec2.DescribeInstances': (input, caller) => this.#describeInstances(input, caller),
  };
  readonly #kernel: Kernel;
  readonly #nodes: ManagedNodes;

  constructor(kernel: Kernel, nodes: ManagedNodes) {
    this.#kernel = kernel;
    this.#nodes = nodes;
  }

  // biome-ignore lint/suspicious/noExplicitAny: input as it came over the wire
  #describeInstances(input: any, { account, region }: Caller) {
    const { InstanceIds: ids = [], Filters: filters = [], MaxResults, NextToken } = input;
    if (ids.length > 0 && MaxResults !== undefined) {
      const message = 'The parameter instancesSet cannot be used with the parameter maxResults';
      throw new ServiceError('InvalidParameterCombination', message);
    }
    const all = this.#nodes.running(account, region).filter(({ spec }) => spec.id.startsWith('i-'));
    const missing = ids.filter((id: string) => !all.some(({ spec }) => spec.id === id));
    if (missing.length > 0) {
      const message = `The instance ID '${missing.join(', ')}' does not exist`;
      throw new ServiceError('InvalidInstanceID.NotFound', message);
    }
    const found = all
      .filter(({ spec }) => ids.length === 0 || ids.includes(spec.id))
      .filter((node) => filters.every((filter: Filter) => this.#fits(node, filter)));
    const { items, nextToken } = page(
      found,
      Number(MaxResults ?? MOST),
      NextToken || undefined,
      () => new ServiceError('InvalidParameterValue', 'The token is not valid.'),
    );
    return {
      Reservations: items.map((node) => ({ OwnerId: account, Instances: [this.#instance(node)] })),
      ...(nextToken ? { NextToken: nextToken } : {}),
    };
  }

  #instance(node: ManagedNode) {
    const { spec, account, roleName, registeredAt } = node;
    return {
      InstanceId: spec.id,
      State: { Code: 16, Name: 'running' },
      LaunchTime: registeredAt,
      IamInstanceProfile: {
        Arn: `arn:${this.#kernel.partition}:iam::${account}:instance-profile/${roleName}`,
        Id: `AIPA${spec.id.slice(2).toUpperCase()}`,
      },
      Tags: Object.entries(this.#nodes.state(node).tags).map(([Key, Value]) => ({ Key, Value })),
    };
  }

  #fits(node: ManagedNode, { Name, Values }: Filter): boolean {
    const { tags } = this.#nodes.state(node);
    if (/[*?]/.test(Values.join())) throw new NotModelled('wildcards in filters of DescribeInstances');
    if (Name.startsWith('tag:')) return Values.includes(tags[Name.slice(4)] ?? '');
    if (Name === 'tag-key') return Values.some((key) => tags[key] !== undefined);
    if (Name === 'instance-id') return Values.includes(node.spec.id);
    if (Name === 'instance-state-name') return Values.includes('running');
    throw new NotModelled(`filter ${Name} of DescribeInstances`);
  }
}
