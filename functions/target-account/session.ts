import type { EventBridgeClient } from '@aws-sdk/client-eventbridge';
import type { IAMClient } from '@aws-sdk/client-iam';
import type { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import type { SSMClient } from '@aws-sdk/client-ssm';
import { AssumeRoleCommand, type STSClient } from '@aws-sdk/client-sts';
import { secretNameOf } from '../domain/deployment.ts';
import {
  isDenial,
  isNamed,
  NotAllowedByOwner,
  TargetAccessDenied,
  TargetNotPrepared,
} from '../domain/errors.ts';
import type { Target } from '../domain/order.ts';
import type { Clients } from '../runtime/clients.ts';
import { logger } from '../runtime/observability.ts';

/** A role of member-account.yaml: one starts installations and looks, the other writes bundles. */
type MemberRole = 'rolloutRole' | 'bundleWriterRole';

export interface TargetAccountConfig {
  sts: STSClient;
  prefix: string;
  partition: string;
  externalId: string;
  /** Name of the calling function: the first part of the session's name, to which the roles bind what it may do. */
  functionName: string;
  /** Roles in their order: one that cannot be assumed gives way to the next. Default: the rollout role. */
  roles?: readonly MemberRole[];
  /** Attempts of each SDK call. One where the state machine repeats the task itself. */
  maxAttempts?: number;
}

/** One statement of a session policy: what this call needs, and nothing else that the role may do. */
export interface SessionStatement {
  Effect: 'Allow';
  Action: string[];
  Resource: string | string[];
  Condition?: Record<string, Record<string, string>>;
}

export interface TargetClients {
  ssm: SSMClient;
  secretsManager: SecretsManagerClient;
  events: EventBridgeClient;
  iam: IAMClient;
}

/** Opens a session in a target account, limited to the statements. */
export type OpenSession = (
  deployment: Target & { DeploymentId: string },
  statements: SessionStatement[],
) => Promise<TargetSession>;

/** Opens the clients that one function needs in a target account. */
export type ConnectTarget<Name extends keyof TargetClients> = (
  ...session: Parameters<OpenSession>
) => Promise<Pick<TargetClients, Name>>;

/** Configuration of an AWS client that acts in a target account. */
export interface TargetSession {
  region: string;
  credentials: { accessKeyId: string; secretAccessKey: string; sessionToken: string };
  maxAttempts?: number;
}

/** ARNs in a target account, as member-account.yaml creates them. */
export function targetArns(config: { prefix: string; partition: string }, target: Target) {
  const { prefix, partition } = config;
  const { TargetAccount: account, TargetRegion: region } = target;
  return {
    rolloutRole: `arn:${partition}:iam::${account}:role/${prefix}-rollout-${region}`,
    bundleWriterRole: `arn:${partition}:iam::${account}:role/${prefix}-bundle-writer-${region}`,
    automationRole: `arn:${partition}:iam::${account}:role/${prefix}-automation-${region}`,
    fleetDocumentName: `${prefix}-install-on-fleet`,
    fleetDocument: `arn:${partition}:ssm:${region}:${account}:document/${prefix}-install-on-fleet`,
    fleetDocumentDefinition: `arn:${partition}:ssm:${region}:${account}:automation-definition/${prefix}-install-on-fleet:*`,
    nodeDocumentName: `${prefix}-install-on-node`,
    lookDocumentName: `${prefix}-look-at-node`,
    lookDocument: `arn:${partition}:ssm:${region}:${account}:document/${prefix}-look-at-node`,
    nodes: [
      `arn:${partition}:ec2:${region}:${account}:instance/*`,
      `arn:${partition}:ssm:${region}:${account}:managed-instance/*`,
    ],
    eventBus: `arn:${partition}:events:${region}:${account}:event-bus/default`,
    automationExecutions: `arn:${partition}:ssm:${region}:${account}:automation-execution/*`,
    bundles: `arn:${partition}:secretsmanager:${region}:${account}:secret:${prefix}/*`,
    /** Secrets Manager adds six characters of its own; an open end also fits the name before it exists. */
    bundle: (deployment: { CertName: string; DeploymentId: string }) =>
      `arn:${partition}:secretsmanager:${region}:${account}:secret:${secretNameOf(prefix, deployment)}*`,
  };
}

/**
 * Returns a function that assumes a role of a target account and Region for one purpose.
 * Role chaining limits the session to one hour (STS API reference, AssumeRole), which no function outlives.
 *
 * @throws TargetAccessDenied when none of the roles can be assumed: it says what to check.
 */
export function targetAccounts(config: TargetAccountConfig): OpenSession {
  return async (deployment, statements) => {
    const region = deployment.TargetRegion;
    const assume = async (RoleArn: string): Promise<TargetSession> => {
      const { Credentials } = await config.sts.send(
        new AssumeRoleCommand({
          RoleArn,
          RoleSessionName: `${config.functionName}-${deployment.DeploymentId}`,
          ExternalId: config.externalId,
          // 15 minutes, the least that STS gives: longer than any function runs.
          DurationSeconds: 900,
          Policy: JSON.stringify({ Version: '2012-10-17', Statement: statements }),
        }),
      );
      const credentials = {
        accessKeyId: Credentials?.AccessKeyId ?? '',
        secretAccessKey: Credentials?.SecretAccessKey ?? '',
        sessionToken: Credentials?.SessionToken ?? '',
      };
      return { region, credentials, ...(config.maxAttempts ? { maxAttempts: config.maxAttempts } : {}) };
    };
    const { roles = ['rolloutRole'] } = config;
    const arns = roles.map((role) => targetArns(config, deployment)[role]);
    const denials: Error[] = [];
    for (const arn of arns) {
      try {
        return await assume(arn);
      } catch (error) {
        // RegionDisabledException: STS is not active in that Region for the account.
        if (isNamed(error, 'RegionDisabledException')) {
          throw new TargetNotPrepared(
            `Region ${region} is not enabled in account ${deployment.TargetAccount}.`,
          );
        }
        if (!isDenial(error)) {
          throw error;
        }
        // Of a role that does not exist STS says the same as of one that does not trust the caller.
        denials.push(error);
        logger.info(`Cannot assume ${arn}`, error);
      }
    }
    const [cause] = denials;
    throw new TargetAccessDenied(
      `Cannot assume ${arns.join(' or ')}. Check that member-account.yaml is deployed in account ` +
        `${deployment.TargetAccount}, Region ${region}, with this stack's Prefix, ExternalId, CentralAccountId ` +
        `and CentralRegion, and is as new as this stack. AWS says: ${cause?.message}`,
      { cause },
    );
  };
}

/**
 * AWS's words for a call that writes a bundle and is denied by a statement, not for want of one (IAM User Guide, "Access
 * denied error messages"). The member stack has one such statement: OnlyAllowedCertNames. Where Secrets Manager puts it in
 * other words, the denial is told as any other.
 */
const DENIED_BY_LIST =
  /perform: secretsmanager:(CreateSecret|TagResource|PutResourcePolicy|PutSecretValue|UpdateSecretVersionStage|RestoreSecret)\b.* with an explicit deny in an identity-based policy/;

/**
 * Runs a call in a target account and says, when it is refused, which role lacked what.
 *
 * @throws TargetAccessDenied, TargetNotPrepared or NotAllowedByOwner in place of AWS's own error.
 */
export async function inTarget<T>(
  target: Target & { CertName?: string },
  call: () => Promise<T>,
): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (isDenial(error) && DENIED_BY_LIST.test(error.message)) {
      throw new NotAllowedByOwner(
        `The member stack of account ${target.TargetAccount}, Region ${target.TargetRegion} allows only the certificate ` +
          `names of its parameter AllowedCertNames, and ${target.CertName} is none of them. If it is, another policy of ` +
          `the role denies the call. AWS says: ${error.message}`,
        { cause: error },
      );
    }
    if (isDenial(error)) {
      throw new TargetAccessDenied(
        `Account ${target.TargetAccount}, Region ${target.TargetRegion} refused the call. Check that ` +
          `member-account.yaml there is as new as this stack, that no service control policy denies the action, that ` +
          `TargetTagKey ${target.TargetTagKey} is one of its tag keys, and that its parameter AllowedCertNames allows the ` +
          `name. AWS says: ${error.message}`,
        { cause: error },
      );
    }
    if (isNamed(error, 'AutomationDefinitionNotFoundException')) {
      throw new TargetNotPrepared(
        `The SSM documents of member-account.yaml are not in account ${target.TargetAccount}, Region ` +
          `${target.TargetRegion}. Deploy it there with this stack's Prefix. AWS says: ${error.message}`,
      );
    }
    throw error;
  }
}

/** What `connectTargetFrom` reads. */
export const TARGET_VARIABLES = ['PREFIX', 'PARTITION', 'EXTERNAL_ID'] as const;

/**
 * Returns a function that opens a session in a target account and makes the clients that act in it.
 *
 * @param session.functionName the first part of the session's name, to which the roles bind what it may do.
 * @param session.roles those that are tried in turn; the rollout role unless given.
 * @param session.maxAttempts attempts of each call in the target account; the SDK's default unless given.
 * @param connect makes the clients from the session's Region, credentials and attempts.
 */
export function connectTargetFrom<T>(
  env: Record<(typeof TARGET_VARIABLES)[number], string>,
  clients: Pick<Clients, 'sts'>,
  session: Pick<TargetAccountConfig, 'functionName' | 'maxAttempts' | 'roles'>,
  connect: (session: TargetSession) => T,
): (...purpose: Parameters<OpenSession>) => Promise<T> {
  const openSession = targetAccounts({
    sts: clients.sts(),
    prefix: env.PREFIX,
    partition: env.PARTITION,
    externalId: env.EXTERNAL_ID,
    ...session,
  });
  return async (...purpose) => connect(await openSession(...purpose));
}
