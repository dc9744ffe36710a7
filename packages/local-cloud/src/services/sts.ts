import type { PolicyDocument } from '../iam/evaluate.ts';
import type { RoleState } from '../iam/operations.ts';
import { type Caller, type Kernel, type Operations, ServiceError } from './service.ts';

const DEFAULT_SECONDS = 3600;
/** "Role chaining limits your session to a maximum of one hour" (API reference, AssumeRole). */
const CHAINED_SECONDS = 3600;
/** Inline session policies, in characters (API reference, AssumeRole); the model has no limit. */
const POLICY_CHARACTERS = 2048;

/**
 * How many percent of the allotted space a character takes. AWS publishes neither the space nor the packing. UNCONFIRMED:
 * these figures, the worst that people report. Policies: "736 chars ≈ 82% packed", 1,690 characters 157% (AgentsPoppy).
 * Tags: nine of 252 characters each 498% (aws-actions/configure-aws-credentials#1898).
 */
const PERCENT_OF_POLICY_CHARACTER = 82 / 736;
const PERCENT_OF_TAG_CHARACTER = 498 / 2268;

const invalid = (message: string) => new ServiceError('ValidationError', message);

/**
 * AWS Security Token Service: who a caller is, and taking on a role. Trust policy and identity policy were
 * checked before an operation here begins. Source: API reference (service model of botocore 1.43).
 *
 * Not modelled: managed session policies, transitive tags, source identity, MFA.
 */
export class Sts {
  readonly operations: Operations = {
    'sts.AssumeRole': (input, caller) => this.#assumeRole(input, caller),
    'sts.GetCallerIdentity': (_input, { accessKeyId }) => {
      const key = this.#kernel.identities.key(accessKeyId ?? '');
      if (!key) throw new ServiceError('InvalidClientTokenId', 'The security token is invalid.', 403);
      return this.#kernel.identities.describe(key);
    },
  };
  readonly #kernel: Kernel;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /** For policies: the role as far as its trust is concerned. */
  state(arn: string): RoleState | undefined {
    const role = this.#kernel.identities.known(arn);
    return role && { arn, account: role.account, tags: role.tags, trustPolicy: role.trustPolicy };
  }

  // biome-ignore lint/suspicious/noExplicitAny: input as it came over the wire
  #assumeRole(input: any, caller: Caller) {
    const { RoleArn, RoleSessionName: name } = input;
    const { identities } = this.#kernel;
    const seconds = Number(input.DurationSeconds ?? DEFAULT_SECONDS);
    const role = identities.known(RoleArn);
    // Whether a role exists is not told: authorization has refused the call before.
    if (!role)
      throw new ServiceError('AccessDenied', `Not authorized to perform: sts:AssumeRole on ${RoleArn}`, 403);
    const key = identities.key(caller.accessKeyId ?? '');
    if (key && identities.isRoleSession(key) && seconds > CHAINED_SECONDS) {
      throw invalid(
        'The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.',
      );
    }
    if (seconds > role.maxSessionSeconds) {
      throw invalid('The requested DurationSeconds exceeds the MaxSessionDuration set for this role.');
    }
    const policy = sessionPolicy(input.Policy);
    const tags = Object.fromEntries(
      (input.Tags ?? []).map(({ Key, Value }: { Key: string; Value?: string }) => [Key, Value ?? '']),
    );
    const packed = packedSize(input.Policy, tags);
    const session = identities.openSession(role, {
      name,
      seconds,
      tags,
      source: caller.source,
      crash: caller.crash,
      ...(policy ? { policy } : {}),
    });
    const { accessKeyId, secretAccessKey, sessionToken, expiration } = session.credentials;
    return {
      Credentials: {
        AccessKeyId: accessKeyId,
        SecretAccessKey: secretAccessKey,
        SessionToken: sessionToken,
        Expiration: expiration,
      },
      AssumedRoleUser: { AssumedRoleId: `${role.roleId}:${name}`, Arn: session.arn },
      ...(packed > 0 ? { PackedPolicySize: packed } : {}),
    };
  }
}

/**
 * "You could receive this error even though you meet other defined session policy and session tag limits" (API reference,
 * PackedPolicyTooLarge). Throws it.
 */
function packedSize(policy = '', tags: Record<string, string>): number {
  const characters = Object.entries(tags).flat().join('').length;
  const percent = Math.ceil(
    policy.length * PERCENT_OF_POLICY_CHARACTER + characters * PERCENT_OF_TAG_CHARACTER,
  );
  if (percent <= 100) return percent;
  const what = policy === '' ? 'Packed size of session tags' : 'Packed policy';
  throw new ServiceError('PackedPolicyTooLarge', `${what} consumes ${percent}% of allotted space.`);
}

function sessionPolicy(text: string | undefined): PolicyDocument | undefined {
  if (text === undefined) return undefined;
  if (text.length > POLICY_CHARACTERS) {
    throw invalid(`The session policy is longer than ${POLICY_CHARACTERS} characters.`);
  }
  try {
    const policy = JSON.parse(text) as PolicyDocument;
    if (!policy.Statement) throw new Error('no Statement');
    return policy;
  } catch {
    throw new ServiceError('MalformedPolicyDocument', 'This policy contains invalid Json');
  }
}
