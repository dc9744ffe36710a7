import { randomUUID } from 'node:crypto';
import type { PolicedState } from '../iam/operations.ts';
import type { Deployed } from '../templates/resolve-template.ts';
import { type Caller, type Kernel, type Operations, Regional, ServiceError } from './service.ts';

interface StackRecord {
  arn: string;
  name: string;
  createdAt: Date;
  outputs: [string, string][];
}

/**
 * AWS CloudFormation, as far as it tells of stacks that were deployed here. Source: API reference, DescribeStacks.
 *
 * UNCONFIRMED: the ARN by which a stack is judged that does not exist (here with `*` in place of its id).
 * Not modelled: every call that changes a stack; lists without a name; parameters and descriptions in answers.
 */
export class CloudFormation {
  readonly operations: Operations = {
    'cloudformation.DescribeStacks': ({ StackName }, caller) => this.#describeStacks(StackName, caller),
  };
  readonly #kernel: Kernel;
  readonly #stacks = new Regional(() => new Map<string, StackRecord>());

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  add({ account, region, partition, stackName: name, outputs }: Deployed): void {
    this.#stacks.of(account, region).set(name, {
      arn: `arn:${partition}:cloudformation:${region}:${account}:stack/${name}/${randomUUID()}`,
      name,
      createdAt: this.#kernel.clock.now(),
      outputs: Object.entries(outputs).map(([key, value]) => [key, String(value)]),
    });
  }

  /** By `arn:…:stack/<name>/…`, whatever id it has. */
  state(arn: string): PolicedState | undefined {
    const [, , , region = '', account = '', resource = ''] = arn.split(':');
    const stack = this.#stacks.of(account, region).get(resource.split('/')[1] ?? '');
    return stack && { arn: stack.arn, tags: {} };
  }

  #describeStacks(nameOrId: string, { account, region }: Caller) {
    const all = this.#stacks.of(account, region);
    const stack = all.get(nameOrId) ?? [...all.values()].find(({ arn }) => arn === nameOrId);
    // "If the stack doesn't exist, a ValidationError is returned."
    if (!stack) throw new ServiceError('ValidationError', `Stack with id ${nameOrId} does not exist`);
    const { arn, name, createdAt, outputs } = stack;
    return {
      Stacks: [
        {
          StackId: arn,
          StackName: name,
          CreationTime: createdAt,
          StackStatus: 'CREATE_COMPLETE',
          Outputs: outputs.map(([OutputKey, OutputValue]) => ({ OutputKey, OutputValue })),
        },
      ],
    };
  }
}
