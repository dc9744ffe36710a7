import type { RoleState } from '../iam/operations.ts';
import { type Caller, type Kernel, type Operations, ServiceError } from './service.ts';

/**
 * AWS Identity and Access Management, as far as its API is called. Roles come from templates and from `identities`.
 * Source: API reference (service model of botocore 1.44).
 *
 * Not modelled: that IAM is one for all Regions of a partition and signs for one of them.
 * UNCONFIRMED: that GetRole knows as little as decisions do of what was just changed.
 */
export class Iam {
  readonly operations: Operations = {
    'iam.GetRole': (input, caller) => this.#getRole(input.RoleName, caller),
  };
  readonly #kernel: Kernel;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /** For policies: what is known of a role by its name. */
  state(account: string, name: string): RoleState | undefined {
    const role = this.#kernel.identities.roleNamed(account, name);
    return role && { arn: role.arn, account, tags: role.tags, trustPolicy: role.trustPolicy };
  }

  #getRole(name: string, { account }: Caller) {
    const role = this.#kernel.identities.roleNamed(account, name);
    if (!role) {
      throw new ServiceError('NoSuchEntity', `The role with name ${name} cannot be found.`, 404);
    }
    const { arn, roleId, trustPolicy, tags, maxSessionSeconds, createdAt } = role;
    return {
      Role: {
        Path: arn.slice(arn.indexOf('/'), arn.lastIndexOf('/') + 1),
        RoleName: name,
        RoleId: roleId,
        Arn: arn,
        CreateDate: createdAt,
        // "URL-encoded compliant with RFC 3986" (API reference, Role).
        AssumeRolePolicyDocument: encodeURIComponent(JSON.stringify(trustPolicy)),
        MaxSessionDuration: maxSessionSeconds,
        ...(Object.keys(tags).length > 0
          ? { Tags: Object.entries(tags).map(([Key, Value]) => ({ Key, Value })) }
          : {}),
      },
    };
  }
}
