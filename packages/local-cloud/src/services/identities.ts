import { randomBytes } from 'node:crypto';
import { type AccessRequest, evaluate, type PolicyDocument, type Principal } from '../iam/evaluate.ts';
import { NotModelled } from '../iam/not-modelled.ts';
import type { Clock } from './clock.ts';
import type { Lag } from './delays.ts';
import type { RecordedCall } from './recording.ts';
import { type Caller, parseArn, randomText, ServiceError } from './service.ts';

/** A user or the session of a role, with credentials. */
export interface Identity {
  account: string;
  /** ARN as sts:GetCallerIdentity gives it. */
  arn: string;
  credentials: { accessKeyId: string; secretAccessKey: string; sessionToken?: string; expiration?: Date };
}

export interface Role {
  arn: string;
  name: string;
  account: string;
  /** AROA…, the part before the colon in a session's user id. */
  roleId: string;
  trustPolicy: PolicyDocument;
  inlinePolicies: PolicyDocument[];
  managedPolicyArns: string[];
  tags: Record<string, string>;
  maxSessionSeconds: number;
  createdAt: Date;
  /** False once it was deleted. */
  exists: boolean;
}

interface User {
  arn: string;
  account: string;
  userId: string;
  policies: PolicyDocument[];
  tags: Record<string, string>;
}

interface Session {
  role: Role;
  name: string;
  /** `arn:aws:sts::…:assumed-role/<role>/<name>`. */
  arn: string;
  policy?: PolicyDocument;
  tags: Record<string, string>;
}

/** One access key: what it opens, and who uses it. */
export interface AccessKey {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string;
  expiration?: Date;
  issuedAt: Date;
  owner: User | Session;
  source: string;
  crash?: (() => void) | undefined;
}

interface RoleOptions {
  name: string;
  path?: string;
  trustPolicy: PolicyDocument;
  inlinePolicies?: PolicyDocument[];
  managedPolicyArns?: string[];
  tags?: Record<string, string>;
  maxSessionSeconds?: number;
  /** Default: once the delay has passed. */
  isKnownAtOnce?: boolean;
}

interface SessionOptions {
  name: string;
  seconds: number;
  source: string;
  policy?: PolicyDocument;
  tags?: Record<string, string>;
  crash?: (() => void) | undefined;
}

const ID_ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/**
 * AWS managed policies that templates may name although the local cloud does not model what they allow
 * (X-Ray, the agent's own channel). They grant nothing here.
 */
const managedByAws = ['AmazonSSMManagedInstanceCore', 'AWSXRayDaemonWriteAccess'];

/** Users, roles, managed policies and every access key in all accounts. */
export class Identities {
  readonly #partition: string;
  readonly #clock: Clock;
  readonly #lag: Lag;
  readonly #users = new Set<string>();
  readonly #roles = new Map<string, Role>();
  readonly #managedPolicies = new Map<string, PolicyDocument>();
  readonly #keys = new Map<string, AccessKey>();
  readonly #record: (call: RecordedCall) => void;

  /** `record` is told how every role was taken on by an AWS service, as CloudTrail is: AssumeRole by the service. */
  constructor(partition: string, clock: Clock, lag: Lag, record: (call: RecordedCall) => void = () => {}) {
    this.#partition = partition;
    this.#clock = clock;
    this.#lag = lag;
    this.#record = record;
  }

  createUser(
    account: string,
    name: string,
    policies: PolicyDocument[],
    tags: Record<string, string> = {},
  ): Identity {
    const arn = `arn:${this.#partition}:iam::${account}:user/${name}`;
    const user: User = { arn, account, userId: `AIDA${randomText(17, ID_ALPHABET)}`, policies, tags };
    this.#users.add(arn);
    const key = this.#issue('AKIA', user, 'client');
    return {
      account,
      arn,
      credentials: { accessKeyId: key.accessKeyId, secretAccessKey: key.secretAccessKey },
    };
  }

  createRole(account: string, options: RoleOptions): Role {
    const arn = `arn:${this.#partition}:iam::${account}:role${options.path ?? '/'}${options.name}`;
    if (this.role(arn)) throw new Error(`role ${arn} exists already`);
    const role: Role = {
      exists: options.isKnownAtOnce ?? false,
      arn,
      name: options.name,
      account,
      roleId: `AROA${randomText(17, ID_ALPHABET)}`,
      trustPolicy: options.trustPolicy,
      inlinePolicies: options.inlinePolicies ?? [],
      managedPolicyArns: options.managedPolicyArns ?? [],
      tags: options.tags ?? {},
      maxSessionSeconds: options.maxSessionSeconds ?? 3600,
      createdAt: this.#clock.now(),
    };
    this.#lag.watch(role, 'exists', 'tags', 'trustPolicy', 'inlinePolicies', 'managedPolicyArns');
    if (!role.exists) role.exists = true;
    this.#roles.set(arn, role);
    return role;
  }

  deleteRole(arn: string): void {
    const role = this.#roles.get(arn);
    if (role) role.exists = false;
  }

  /** As it is, for those who change it. */
  role(arn: string): Role | undefined {
    const role = this.#roles.get(arn);
    return role?.exists ? role : undefined;
  }

  /** As decisions and services know it. */
  known(arn: string): Role | undefined {
    const role = this.#roles.get(arn);
    return role && this.#knownOf(role);
  }

  #knownOf(role: Role): Role | undefined {
    const known = this.#lag.view(role);
    return known.exists ? known : undefined;
  }

  /** As it is known, by its name alone, which is taken once in an account, whatever the path. */
  roleNamed(account: string, name: string): Role | undefined {
    const named = [...this.#roles.values()].filter((role) => role.account === account && role.name === name);
    return named.map((role) => this.#knownOf(role)).find((role) => role !== undefined);
  }

  /** Whether such a role or user is known. */
  exists(arn: string): boolean {
    return this.known(arn) !== undefined || this.#users.has(arn);
  }

  putManagedPolicy(arn: string, document: PolicyDocument): void {
    this.#managedPolicies.set(arn, document);
  }

  managedPolicyArns(): string[] {
    return [...this.#managedPolicies.keys()];
  }

  /** Credentials for a role, no questions asked: who may have them was decided before. */
  openSession(role: Role, options: SessionOptions): Identity {
    const session: Session = {
      role,
      name: options.name,
      arn: `${role.arn.replace(/:iam::(\d+):role\/.*$/, ':sts::$1:assumed-role')}/${role.name}/${options.name}`,
      tags: options.tags ?? {},
      ...(options.policy ? { policy: options.policy } : {}),
    };
    const key = this.#issue('ASIA', session, options.source, options.seconds, options.crash);
    const { accessKeyId, secretAccessKey, sessionToken, expiration } = key as Required<AccessKey>;
    return {
      account: role.account,
      arn: session.arn,
      credentials: { accessKeyId, secretAccessKey, sessionToken, expiration },
    };
  }

  /**
   * A role as an AWS service takes it on, through the role's trust policy with the service as principal.
   * Throws AccessDenied when the trust policy does not let it.
   */
  assumeAsService(
    service: string,
    roleArn: string,
    context: Record<string, string>,
    options: SessionOptions,
  ): Identity {
    const role = this.known(roleArn);
    const denied = (why: string) =>
      new ServiceError(
        'AccessDenied',
        `${service} is not authorized to perform: sts:AssumeRole on ${roleArn}: ${why}`,
        403,
      );
    if (!role) throw denied('the role does not exist');
    const principal: Principal = { account: '', arn: '', service, tags: {}, identityPolicies: [] };
    const request: AccessRequest = {
      action: 'sts:AssumeRole',
      resource: role.arn,
      context,
      resourcePolicies: [role.trustPolicy],
      resourcePolicyKind: 'role trust policy',
      resourceAccount: role.account,
    };
    const decision = evaluate(principal, request);
    this.#record({
      at: this.#clock.now().toISOString(),
      operation: 'sts.AssumeRole',
      account: role.account,
      region: '',
      principalArn: service,
      source: `aws ${service.split('.')[0]}`,
      input: { RoleArn: roleArn, RoleSessionName: options.name },
      principal,
      decisions: [{ request, decision }],
      ...(decision.allowed ? { status: 200 } : { status: 403, error: 'AccessDenied' }),
    });
    if (!decision.allowed) throw denied(decision.reason);
    return this.openSession(role, options);
  }

  /** A role taken on by an AWS service, as the caller of what the service then does in that Region. */
  callerForService(
    service: string,
    roleArn: string,
    region: string,
    context: Record<string, string>,
    options: SessionOptions,
  ): Caller {
    const { credentials } = this.assumeAsService(service, roleArn, context, options);
    return this.callerOf(this.#keys.get(credentials.accessKeyId) as AccessKey, region);
  }

  /**
   * Policies and tags of the role are read at each call, as they are known then; session tags stay. UNCONFIRMED: that
   * sessions have the tags which their role gets after they began.
   */
  callerOf(key: AccessKey, region: string): Caller {
    const principal = this.principalOf(key);
    const { source, accessKeyId, crash } = key;
    return { account: principal.account, region, principal, source, accessKeyId, crash };
  }

  /** The key with this id, expired or not. */
  key(accessKeyId: string): AccessKey | undefined {
    return this.#keys.get(accessKeyId);
  }

  isExpired(key: AccessKey): boolean {
    return key.expiration !== undefined && key.expiration <= this.#clock.now();
  }

  principalOf(key: AccessKey): Principal {
    const { owner } = key;
    const { UserId: userId } = this.describe(key);
    if (!('role' in owner)) {
      const { account, arn, tags, policies: identityPolicies } = owner;
      return { account, arn, userId, tags, identityPolicies };
    }
    // A role that was deleted leaves sessions that may do nothing.
    const role = this.known(owner.role.arn) ?? {
      ...owner.role,
      inlinePolicies: [],
      managedPolicyArns: [],
    };
    return {
      account: role.account,
      arn: role.arn,
      sessionArn: owner.arn,
      userId,
      tags: { ...role.tags, ...owner.tags },
      identityPolicies: [
        ...role.inlinePolicies,
        ...role.managedPolicyArns.map((arn) => this.#managedPolicy(arn)),
      ],
      ...(owner.policy ? { sessionPolicy: owner.policy } : {}),
    };
  }

  /** UserId and Arn as sts:GetCallerIdentity gives them. */
  describe(key: AccessKey): { UserId: string; Account: string; Arn: string } {
    const { owner } = key;
    if (!('role' in owner)) return { UserId: owner.userId, Account: owner.account, Arn: owner.arn };
    return {
      UserId: `${owner.role.roleId}:${owner.name}`,
      Account: owner.role.account,
      Arn: owner.arn,
    };
  }

  isRoleSession(key: AccessKey): boolean {
    return 'role' in key.owner;
  }

  #managedPolicy(arn: string): PolicyDocument {
    const document = this.#managedPolicies.get(arn);
    if (document) return document;
    const name = parseArn(arn)?.resource.split('/').at(-1) ?? '';
    if (arn.includes(':iam::aws:policy/') && managedByAws.includes(name)) return { Statement: [] };
    throw new NotModelled(`managed policy ${arn}`);
  }

  #issue(
    prefix: string,
    owner: User | Session,
    source: string,
    seconds?: number,
    crash?: () => void,
  ): AccessKey {
    const issuedAt = this.#clock.now();
    const key: AccessKey = {
      accessKeyId: `${prefix}${randomText(16, ID_ALPHABET)}`,
      secretAccessKey: randomBytes(30).toString('base64'),
      issuedAt,
      owner,
      source,
      crash,
      ...(seconds === undefined
        ? {}
        : {
            sessionToken: randomBytes(180).toString('base64'),
            expiration: new Date(issuedAt.getTime() + seconds * 1000),
          }),
    };
    this.#keys.set(key.accessKeyId, key);
    return key;
  }
}
