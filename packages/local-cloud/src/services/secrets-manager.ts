import { randomInt, randomUUID } from 'node:crypto';
import type { PolicyDocument, PrincipalElement, Statement } from '../iam/evaluate.ts';
import type { SecretState } from '../iam/operations.ts';
import {
  type Kernel,
  type Operations,
  page,
  parseArn,
  Regional,
  randomText,
  ServiceError,
} from './service.ts';

const DAY = 86_400_000;
/** Secrets Manager user guide, "Quotas". */
const VALUE_BYTES = 65_536;
const VERSIONS = 100;
const LABELS_PER_VERSION = 20;
const TAGS = 50;

export interface Version {
  id: string;
  string?: string;
  binary?: string;
  stages: Set<string>;
  createdAt: Date;
}

export interface Secret {
  arn: string;
  name: string;
  description?: string;
  tags: Record<string, string>;
  policy?: PolicyDocument;
  versions: Map<string, Version>;
  createdAt: Date;
  changedAt: Date;
  /** The end of the recovery window, once deletion is scheduled. */
  deletionDate?: Date;
  deletedAt?: Date;
}

const invalidParameter = (message: string) => new ServiceError('InvalidParameterException', message);
const invalidRequest = (message: string) => new ServiceError('InvalidRequestException', message);
const notFound = (message = "Secrets Manager can't find the specified secret.") =>
  new ServiceError('ResourceNotFoundException', message);
const MARKED = 'because it was marked for deletion.';

/**
 * AWS Secrets Manager. Source of each rule, where none is named: API reference (service model of botocore
 * 1.43) and user guide.
 *
 * Not modelled: KMS keys of one's own, replication, rotation, managed secrets, the delay of ListSecrets, and that a
 * resource policy keeps a role or user by its id, so that one which is made anew under the name is another.
 */
export class SecretsManager {
  readonly operations: Operations;
  readonly #kernel: Kernel;
  readonly #secrets = new Regional(() => new Map<string, Secret>());

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
    this.operations = {
      'secretsmanager.GetRandomPassword': (input) => this.#getRandomPassword(input),
      'secretsmanager.CreateSecret': (input, { account, region }) =>
        this.#createSecret(input, account, region),
      'secretsmanager.DescribeSecret': (input, { account, region }) =>
        this.#describeSecret(this.#find(input.SecretId, account, region)),
      'secretsmanager.PutSecretValue': (input, { account, region }) =>
        this.#putSecretValue(input, this.#active(input.SecretId, account, region)),
      'secretsmanager.GetSecretValue': (input, { account, region }) =>
        this.#getSecretValue(input, this.#active(input.SecretId, account, region)),
      'secretsmanager.PutResourcePolicy': (input, { account, region }) =>
        this.#putResourcePolicy(input, this.#active(input.SecretId, account, region)),
      'secretsmanager.GetResourcePolicy': (input, { account, region }) => {
        const { arn, name, policy } = this.#find(input.SecretId, account, region);
        return { ARN: arn, Name: name, ResourcePolicy: policy && JSON.stringify(policy) };
      },
      'secretsmanager.UpdateSecretVersionStage': (input, { account, region }) =>
        this.#updateSecretVersionStage(input, this.#active(input.SecretId, account, region)),
      'secretsmanager.TagResource': (input, { account, region }) => {
        const secret = this.#active(input.SecretId, account, region);
        secret.tags = withTags(secret.tags, input.Tags);
      },
      'secretsmanager.DeleteSecret': (input, { account, region }) =>
        this.#deleteSecret(input, this.#find(input.SecretId, account, region)),
      'secretsmanager.RestoreSecret': (input, { account, region }) => {
        const secret = this.#find(input.SecretId, account, region);
        delete secret.deletionDate;
        delete secret.deletedAt;
        return { ARN: secret.arn, Name: secret.name };
      },
      'secretsmanager.ListSecrets': (input, { account, region }) => this.#listSecrets(input, account, region),
    };
  }

  /** For policies: what is known of a secret when a call on it is decided. */
  state(account: string, region: string, id: string): SecretState | undefined {
    const secret = this.#lookUp(id, account, region);
    if (!secret) return undefined;
    const { arn, name, policy } = secret;
    const tags = this.#kernel.delays.tags.seen(secret, 'tags');
    return { arn, name, tags, ...(policy ? { policy } : {}) };
  }

  /** Of one account and Region, the oldest first. */
  secrets(account: string, region: string): Secret[] {
    const secrets = this.#secrets.of(account, region);
    return [...secrets.keys()].map((name) => this.#named(name, secrets)).filter((one) => one !== undefined);
  }

  /** Every stored value in every account, so that searches for leaks know where keys may be. */
  values(): { secretArn: string; versionId: string; value: string }[] {
    return this.#secrets
      .all()
      .flatMap((secrets) => [...secrets.values()])
      .flatMap(({ arn, versions }) =>
        [...versions.values()].map(({ id, string, binary }) => ({
          secretArn: arn,
          versionId: id,
          value: string ?? binary ?? '',
        })),
      );
  }

  #lookUp(id: string, account: string, region: string): Secret | undefined {
    // Another account's secret is reached by its ARN; the Region is that of the call in any case.
    const arn = parseArn(id);
    const secrets = this.#secrets.of(arn?.account || account, region);
    // The six characters that Secrets Manager adds, with their hyphen, are no part of the name.
    const secret = this.#named(arn ? arn.resource.slice('secret:'.length, -7) : id, secrets);
    return !arn || secret?.arn === id ? secret : undefined;
  }

  /** "At the end of the recovery window, Secrets Manager deletes the secret permanently." */
  #named(name: string, secrets: Map<string, Secret>): Secret | undefined {
    const secret = secrets.get(name);
    if (!secret?.deletionDate || secret.deletionDate > this.#kernel.clock.now()) return secret;
    secrets.delete(name);
    return undefined;
  }

  #find(id: string, account: string, region: string): Secret {
    const secret = this.#lookUp(id, account, region);
    if (!secret) throw notFound();
    return secret;
  }

  #active(id: string, account: string, region: string): Secret {
    const secret = this.#find(id, account, region);
    if (secret.deletionDate) {
      throw invalidRequest(`You can't perform this operation on the secret ${MARKED}`);
    }
    return secret;
  }

  // biome-ignore lint/suspicious/noExplicitAny: input as it came over the wire
  #getRandomPassword(input: any) {
    const length = input.PasswordLength ?? 32;
    const without = (characters: string) =>
      [...characters].filter((character) => !(input.ExcludeCharacters ?? '').includes(character)).join('');
    const types = [
      input.ExcludeUppercase ? '' : without('ABCDEFGHIJKLMNOPQRSTUVWXYZ'),
      input.ExcludeLowercase ? '' : without('abcdefghijklmnopqrstuvwxyz'),
      input.ExcludeNumbers ? '' : without('0123456789'),
      input.ExcludePunctuation ? '' : without('!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~'),
      input.IncludeSpace ? without(' ') : '',
    ].filter((characters) => characters !== '');
    const all = types.join('');
    if (all === '') throw invalidParameter('No characters are left for the password.');
    // "If you don't include this switch, the password contains at least one of every character type."
    const required = input.RequireEachIncludedType === false ? [] : types;
    if (length < required.length)
      throw invalidParameter('PasswordLength is too short for every character type.');
    const pick = (characters: string) => characters[randomInt(characters.length)] as string;
    const password = [
      ...required.map(pick),
      ...Array.from({ length: length - required.length }, () => pick(all)),
    ];
    for (let index = password.length - 1; index > 0; index--) {
      const other = randomInt(index + 1);
      [password[index], password[other]] = [password[other] as string, password[index] as string];
    }
    return { RandomPassword: password.join('') };
  }

  // biome-ignore lint/suspicious/noExplicitAny: input as it came over the wire
  #createSecret(input: any, account: string, region: string) {
    const { Name: name, SecretString, SecretBinary } = input;
    if (!/^[A-Za-z0-9/_+=.@-]+$/.test(name)) {
      throw invalidParameter(
        'Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!',
      );
    }
    const secrets = this.#secrets.of(account, region);
    const token = input.ClientRequestToken ?? randomUUID();
    const existing = this.#named(name, secrets);
    if (existing?.deletionDate) {
      throw invalidRequest(
        "You can't create this secret because a secret with this name is already scheduled for deletion.",
      );
    }
    if (existing) {
      // The same request again: "if a version with this token exists and the contents are the same", it is ignored.
      const version = existing.versions.get(token);
      if (!version || !sameValue(version, input)) {
        throw new ServiceError(
          'ResourceExistsException',
          `The operation failed because the secret ${name} already exists.`,
        );
      }
      return { ARN: existing.arn, Name: name, VersionId: version.id };
    }
    const now = this.#kernel.clock.now();
    // Six random characters, "so that users with access to the old secret don't get access to the new one".
    const suffix = randomText(6, 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789');
    const secret: Secret = {
      arn: `arn:${this.#kernel.partition}:secretsmanager:${region}:${account}:secret:${name}-${suffix}`,
      name,
      tags: withTags({}, input.Tags ?? []),
      versions: new Map(),
      createdAt: now,
      changedAt: now,
      ...(input.Description ? { description: input.Description } : {}),
    };
    const hasValue = SecretString !== undefined || SecretBinary !== undefined;
    if (hasValue) this.#addVersion(secret, token, input, ['AWSCURRENT']);
    secrets.set(name, this.#kernel.delays.tags.watch(secret, 'tags'));
    return { ARN: secret.arn, Name: name, ...(hasValue ? { VersionId: token } : {}) };
  }

  #describeSecret(secret: Secret) {
    return {
      ARN: secret.arn,
      Name: secret.name,
      Description: secret.description,
      LastChangedDate: secret.changedAt,
      CreatedDate: secret.createdAt,
      DeletedDate: secret.deletedAt,
      Tags: Object.entries(secret.tags).map(([Key, Value]) => ({ Key, Value })),
      VersionIdsToStages: labelled(secret),
    };
  }

  // biome-ignore lint/suspicious/noExplicitAny: input as it came over the wire
  #putSecretValue(input: any, secret: Secret) {
    const token = input.ClientRequestToken ?? randomUUID();
    const stages: string[] = input.VersionStages ?? ['AWSCURRENT'];
    const existing = secret.versions.get(token);
    if (existing) {
      // "If the secret data is different, the operation fails because you can't modify an existing version."
      if (!sameValue(existing, input)) {
        throw new ServiceError(
          'ResourceExistsException',
          `You can't use the ClientRequestToken ${token} because that value is already in use for a version of secret ${secret.arn}.`,
        );
      }
      // "… the operation succeeds but does nothing": the labels stay where they are.
      return { ARN: secret.arn, Name: secret.name, VersionId: token, VersionStages: labels(existing) };
    }
    const version = this.#addVersion(secret, token, input, stages);
    return { ARN: secret.arn, Name: secret.name, VersionId: token, VersionStages: labels(version) };
  }

  // biome-ignore lint/suspicious/noExplicitAny: input as it came over the wire
  #addVersion(secret: Secret, id: string, input: any, stages: string[]): Version {
    const { SecretString: string, SecretBinary: binary } = input;
    if ((string === undefined) === (binary === undefined)) {
      throw invalidParameter('You must provide either SecretString or SecretBinary.');
    }
    // The model counts characters, the quota bytes.
    if (Buffer.byteLength(string ?? '') > VALUE_BYTES) {
      throw invalidParameter('The secret value must be between 1 and 65536 bytes long.');
    }
    this.#dropDeprecated(secret);
    if (secret.versions.size >= VERSIONS)
      throw new ServiceError('LimitExceededException', 'Too many versions.');
    const now = this.#kernel.clock.now();
    const version: Version = { id, stages: new Set(), createdAt: now };
    if (string === undefined) version.binary = binary;
    else version.string = string;
    // "If this operation creates the first version, Secrets Manager automatically attaches AWSCURRENT."
    const labels = secret.versions.size === 0 ? [...new Set([...stages, 'AWSCURRENT'])] : stages;
    secret.versions.set(id, version);
    for (const label of labels) this.#attach(secret, label, version);
    secret.changedAt = now;
    return version;
  }

  /** Versions without a label are "deprecated and subject to deletion"; those of the last 24 hours are kept. */
  #dropDeprecated({ versions }: Secret): void {
    const limit = this.#kernel.clock.now().getTime() - DAY;
    for (const { id, stages, createdAt } of [...versions.values()]) {
      if (versions.size >= VERSIONS && stages.size === 0 && createdAt.getTime() < limit) versions.delete(id);
    }
  }

  /** A label is on one version only; AWSPREVIOUS follows "to the version that AWSCURRENT was removed from". */
  #attach({ versions }: Secret, label: string, version: Version): void {
    const holder = [...versions.values()].find(({ stages }) => stages.has(label));
    if (holder === version) return;
    holder?.stages.delete(label);
    version.stages.add(label);
    if (label === 'AWSCURRENT' && holder) {
      for (const { stages } of versions.values()) stages.delete('AWSPREVIOUS');
      holder.stages.add('AWSPREVIOUS');
    }
    if (version.stages.size > LABELS_PER_VERSION)
      throw new ServiceError('LimitExceededException', 'Too many labels.');
  }

  // biome-ignore lint/suspicious/noExplicitAny: input as it came over the wire
  #getSecretValue({ VersionId: id, VersionStage: stage }: any, secret: Secret) {
    const wanted = id === undefined ? (stage ?? 'AWSCURRENT') : stage;
    const version = [...secret.versions.values()].find(
      (candidate) =>
        (id === undefined || candidate.id === id) && (wanted === undefined || candidate.stages.has(wanted)),
    );
    if (!version) {
      throw notFound(
        id === undefined
          ? `Secrets Manager can't find the specified secret value for staging label: ${wanted}`
          : `Secrets Manager can't find the specified secret value for VersionId: ${id}`,
      );
    }
    return {
      ARN: secret.arn,
      Name: secret.name,
      VersionId: version.id,
      SecretString: version.string,
      SecretBinary: version.binary,
      VersionStages: labels(version),
      CreatedDate: version.createdAt,
    };
  }

  // biome-ignore lint/suspicious/noExplicitAny: input as it came over the wire
  #putResourcePolicy(input: any, secret: Secret) {
    const malformed = (why: string) =>
      new ServiceError(
        'MalformedPolicyDocumentException',
        `This resource policy contains a syntax error: ${why}`,
      );
    let policy: PolicyDocument;
    try {
      policy = JSON.parse(input.ResourcePolicy);
    } catch {
      throw malformed('it is not JSON');
    }
    const statements = [policy.Statement ?? []].flat();
    if (statements.length === 0) throw malformed('no Statement');
    for (const statement of statements) {
      if (!statement.Effect || !(statement.Principal ?? statement.NotPrincipal))
        throw malformed('Effect and Principal are required');
      if (!(statement.Action ?? statement.NotAction) || !(statement.Resource ?? statement.NotResource)) {
        throw malformed('Action and Resource are required');
      }
    }
    // "This resource policy contains an unsupported principal": terraform-provider-aws#14449 (a role that was just made),
    // #29496 (the id of one that was deleted). Accounts are not looked up here.
    const names = statements.flatMap(({ Principal, NotPrincipal }) => [
      ...principalsOf(Principal),
      ...principalsOf(NotPrincipal),
    ]);
    const unknown = names.find((name) => NAMED.test(name) && !this.#kernel.identities.exists(name));
    if (unknown) throw malformed(`it contains an unsupported principal, ${unknown}`);
    if (input.BlockPublicPolicy && statements.some(isPublic)) {
      throw new ServiceError(
        'PublicPolicyException',
        'The resource policy allows broad access to the secret.',
      );
    }
    secret.policy = policy;
    return { ARN: secret.arn, Name: secret.name };
  }

  // biome-ignore lint/suspicious/noExplicitAny: input as it came over the wire
  #updateSecretVersionStage(input: any, secret: Secret) {
    const { VersionStage: label, RemoveFromVersionId: from, MoveToVersionId: to } = input;
    const version = (id: string) => {
      const found = secret.versions.get(id);
      if (!found) throw notFound(`Secrets Manager can't find the specified secret version: ${id}`);
      return found;
    };
    const target = to === undefined ? undefined : version(to);
    const holder = [...secret.versions.values()].find(({ stages }) => stages.has(label));
    if (from !== undefined && version(from) !== holder) {
      throw invalidParameter(`The staging label ${label} is not attached to version ${from}.`);
    }
    // "If the label is attached to a different version, you must specify the version it is to be removed from."
    if (holder && holder !== target && from === undefined) {
      throw invalidParameter(
        `The parameter RemoveFromVersionId can't be empty. Staging label ${label} is currently attached to version ${holder.id}, so you must explicitly reference that version in RemoveFromVersionId.`,
      );
    }
    if (!target) {
      if (label === 'AWSCURRENT')
        throw invalidParameter('You can only move staging label AWSCURRENT to a different secret version.');
      holder?.stages.delete(label);
    } else {
      this.#attach(secret, label, target);
    }
    secret.changedAt = this.#kernel.clock.now();
    return { ARN: secret.arn, Name: secret.name };
  }

  // biome-ignore lint/suspicious/noExplicitAny: input as it came over the wire
  #deleteSecret(input: any, secret: Secret) {
    const { RecoveryWindowInDays: days, ForceDeleteWithoutRecovery: force } = input;
    if (days !== undefined && force) {
      throw invalidParameter(
        "You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.",
      );
    }
    if (days !== undefined && (days < 7 || days > 30)) {
      throw invalidParameter('RecoveryWindowInDays value must be between 7 and 30 days (inclusive).');
    }
    if (secret.deletionDate && !force)
      throw invalidRequest(`You can't perform this operation on the secret ${MARKED}`);
    const now = this.#kernel.clock.now();
    secret.deletedAt = now;
    secret.deletionDate = new Date(now.getTime() + (force ? 0 : (days ?? 30) * DAY));
    return { ARN: secret.arn, Name: secret.name, DeletionDate: secret.deletionDate };
  }

  // biome-ignore lint/suspicious/noExplicitAny: input as it came over the wire
  #listSecrets(input: any, account: string, region: string) {
    // biome-ignore lint/suspicious/noExplicitAny: input as it came over the wire
    const fits = (secret: Secret) => (filter: any) => {
      const fields: Record<string, string[]> = {
        name: [secret.name],
        'tag-key': Object.keys(secret.tags),
        'tag-value': Object.values(secret.tags),
      };
      const candidates = fields[filter.Key];
      if (!candidates) throw invalidParameter(`The local cloud does not filter by ${filter.Key}.`);
      return filter.Values.some((prefix: string) => candidates.some((text) => text.startsWith(prefix)));
    };
    const found = this.secrets(account, region).filter(
      (secret) =>
        (input.IncludePlannedDeletion || !secret.deletionDate) && (input.Filters ?? []).every(fits(secret)),
    );
    const { items, nextToken } = page(
      found,
      input.MaxResults ?? 100,
      input.NextToken,
      () => new ServiceError('InvalidNextTokenException', 'The NextToken value is invalid.'),
    );
    return {
      SecretList: items.map((secret) => {
        const { VersionIdsToStages, ...entry } = this.#describeSecret(secret);
        return { ...entry, SecretVersionsToStages: VersionIdsToStages };
      }),
      NextToken: nextToken,
    };
  }
}

/** A role or user, or the id of one, which a policy has in its place once it was deleted. */
const NAMED = /^(arn:[\w-]+:iam::\d+:(role|user)\/|A(ROA|IDA)[A-Z2-7]+$)/;

function principalsOf(element: PrincipalElement | undefined): string[] {
  if (element === undefined) return [];
  return typeof element === 'string' ? [element] : [element.AWS ?? []].flat();
}

/**
 * The keys whose fixed values make a statement for everybody one for some. "An AWS principal, user, role, or service
 * principal (e.g. aws:PrincipalOrgID)" and the sources (S3 user guide, "The meaning of public", to which the Secrets
 * Manager user guide refers). UNCONFIRMED: that Secrets Manager's own check takes every key of principals.
 */
const FIXING = /^aws:(Principal(Arn|Account|OrgID)|Source(Arn|Vpc|Vpce|Account|Owner))$/i;

/** Whether BlockPublicPolicy refuses a statement: it allows everybody, and no condition holds them to a fixed value. */
function isPublic({ Effect, Principal, Condition = {} }: Statement): boolean {
  const isFixed = Object.entries(Condition).some(
    ([operator, keys]) =>
      /^(String|Arn)(Equals|Like)$/.test(operator) &&
      Object.entries(keys).some(([key, value]) => FIXING.test(key) && !/[*?$]/.test(String(value))),
  );
  return Effect === 'Allow' && (!Principal || principalsOf(Principal).includes('*')) && !isFixed;
}

/** Those of one version; a list of labels is never empty in an answer. */
function labels({ stages }: Version): string[] | undefined {
  return stages.size > 0 ? [...stages] : undefined;
}

/** Versions "that have no staging labels are considered deprecated and not included". */
function labelled({ versions }: Secret): Record<string, string[]> | undefined {
  const entries = [...versions.values()]
    .filter(({ stages }) => stages.size > 0)
    .map(({ id, stages }): [string, string[]] => [id, [...stages]]);
  return entries.length > 0 ? Object.fromEntries(entries) : undefined;
}

function sameValue(version: Version, input: { SecretString?: string; SecretBinary?: string }): boolean {
  return version.string === input.SecretString && version.binary === input.SecretBinary;
}

function withTags(
  old: Record<string, string>,
  added: { Key: string; Value?: string }[],
): Record<string, string> {
  const tags = { ...old };
  for (const { Key, Value = '' } of added) {
    if (/^aws:/i.test(Key)) throw invalidParameter(`The tag ${Key} is not valid.`);
    tags[Key] = Value;
  }
  if (Object.keys(tags).length > TAGS) throw invalidParameter('A secret can have 50 tags.');
  return tags;
}
