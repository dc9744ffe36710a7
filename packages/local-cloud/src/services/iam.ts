import { NotModelled } from '../iam/not-modelled.ts';
import type { RoleState } from '../iam/operations.ts';
import type { Role } from './identities.ts';
import { type Caller, type Kernel, type Operations, page, ServiceError } from './service.ts';

/**
 * AWS Identity and Access Management, as far as its API is called. Roles come from templates and from `identities`.
 * Source: API reference (service model of botocore 1.44).
 *
 * Not modelled: that IAM is one for all Regions of a partition and signs for one of them.
 * UNCONFIRMED: that GetRole knows as little as decisions do of what was just changed.
 */
export class Iam {
  readonly operations: Operations = {
    'iam.GetInstanceProfile': (input, caller) => this.#getInstanceProfile(input.InstanceProfileName, caller),
    'iam.GetRole': (input, caller) => ({ Role: this.#roleOf(input.RoleName, caller) }),
    'iam.ListAttachedRolePolicies': (input, caller) => this.#listAttached(input, caller),
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

  #known(name: string, { account }: Caller): Role {
    const role = this.#kernel.identities.roleNamed(account, name);
    if (!role) {
      throw new ServiceError('NoSuchEntity', `The role with name ${name} cannot be found.`, 404);
    }
    return role;
  }

  // biome-ignore lint/suspicious/noExplicitAny: input as it came over the wire
  #listAttached({ RoleName, PathPrefix, MaxItems, Marker }: any, caller: Caller) {
    if (PathPrefix !== undefined && PathPrefix !== '/') throw new NotModelled('PathPrefix');
    const policies = this.#known(RoleName, caller).managedPolicyArns.map((PolicyArn) => ({
      PolicyName: PolicyArn.slice(PolicyArn.lastIndexOf('/') + 1),
      PolicyArn,
    }));
    // "If you do not include this parameter, the number of items defaults to 100."
    const { items, nextToken } = page(
      policies,
      Number(MaxItems ?? 100),
      Marker,
      () => new ServiceError('ValidationError', 'Invalid Marker.'),
    );
    return {
      AttachedPolicies: items,
      IsTruncated: nextToken !== undefined,
      ...(nextToken ? { Marker: nextToken } : {}),
    };
  }

  /** Each role that EC2 may take on has an instance profile of its name, as the console makes it. */
  #getInstanceProfile(name: string, caller: Caller) {
    const role = this.#kernel.identities.roleNamed(caller.account, name);
    if (!role || !JSON.stringify(role.trustPolicy).includes('"ec2.amazonaws.com"')) {
      throw new ServiceError('NoSuchEntity', `Instance Profile ${name} cannot be found.`, 404);
    }
    return {
      InstanceProfile: {
        Path: '/',
        InstanceProfileName: name,
        InstanceProfileId: role.roleId.replace(/^AROA/, 'AIPA'),
        Arn: `arn:${this.#kernel.partition}:iam::${caller.account}:instance-profile/${name}`,
        CreateDate: role.createdAt,
        // UNCONFIRMED: whether the role has its tags here. Left out, which is worse for the caller.
        Roles: [this.#roleOf(name, caller, false)],
      },
    };
  }

  #roleOf(name: string, caller: Caller, hasTags = true) {
    const role = this.#known(name, caller);
    const { arn, roleId, trustPolicy, tags, maxSessionSeconds, createdAt } = role;
    return {
      Path: arn.slice(arn.indexOf('/'), arn.lastIndexOf('/') + 1),
      RoleName: name,
      RoleId: roleId,
      Arn: arn,
      CreateDate: createdAt,
      // "URL-encoded compliant with RFC 3986" (API reference, Role).
      AssumeRolePolicyDocument: encodeURIComponent(JSON.stringify(trustPolicy)),
      MaxSessionDuration: maxSessionSeconds,
      ...(hasTags && Object.keys(tags).length > 0
        ? { Tags: Object.entries(tags).map(([Key, Value]) => ({ Key, Value })) }
        : {}),
    };
  }
}
