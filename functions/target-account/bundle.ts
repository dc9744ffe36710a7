import {
  CreateSecretCommand,
  DeleteSecretCommand,
  DescribeSecretCommand,
  type DescribeSecretCommandOutput,
  PutResourcePolicyCommand,
  PutSecretValueCommand,
  RestoreSecretCommand,
  type SecretsManagerClient,
  TagResourceCommand,
  UpdateSecretVersionStageCommand,
} from '@aws-sdk/client-secrets-manager';
import { DEPLOYMENT_TAG, RECOVERY_DAYS } from '../domain/bundle.ts';
import type { Deployment } from '../domain/deployment.ts';
import { BundleNotStorable, BundleScheduledForDeletion, isNamed } from '../domain/errors.ts';
import type { Order } from '../domain/order.ts';

/** The value of a bundle. The key is encrypted PKCS#8, as ACM gives it. */
export interface BundleValue {
  Certificate: string;
  CertificateChain: string;
  PrivateKey: string;
  Passphrase: string;
  /** With the bundle's format pkcs12: all of the above in one file, in base64, opened by the same passphrase. */
  Pkcs12?: string;
  Serial: string;
  CertificateArn: string;
  NotAfter: string;
}

/** The secret of a bundle without its value; undefined when it was never created. */
export async function describeBundle(
  client: SecretsManagerClient,
  name: string,
): Promise<DescribeSecretCommandOutput | undefined> {
  try {
    return await client.send(new DescribeSecretCommand({ SecretId: name }));
  } catch (error) {
    if (isNamed(error, 'ResourceNotFoundException')) {
      return undefined;
    }
    throw error;
  }
}

/**
 * Makes sure that the bundle exists, carries its tags and refuses every reader without the tag, before any value
 * is in it. Safe to repeat; mends tags and policy that were changed. Restores a bundle that is scheduled for
 * deletion only after a POST.
 *
 * @returns the secret's ARN.
 * @throws BundleScheduledForDeletion
 */
export async function prepareBundle(
  client: SecretsManagerClient,
  name: string,
  deployment: Deployment,
  existing: DescribeSecretCommandOutput | undefined,
): Promise<string> {
  const tags = [
    { Key: deployment.TargetTagKey, Value: deployment.TargetTagValue },
    { Key: DEPLOYMENT_TAG, Value: deployment.DeploymentId },
  ];
  if (existing?.DeletedDate && !deployment.RestoreBundle) {
    throw new BundleScheduledForDeletion(
      `Bundle ${name} is scheduled for deletion. POST the deployment again to restore it.`,
    );
  }
  if (existing?.DeletedDate) {
    await restoreBundle(client, name);
  }
  const arn = existing?.ARN ?? (await createEmpty(client, name, deployment, tags));
  const missingTags = tags.filter(
    (tag) => existing && !existing.Tags?.some((found) => found.Key === tag.Key && found.Value === tag.Value),
  );
  if (missingTags.length > 0) {
    await client.send(new TagResourceCommand({ SecretId: arn, Tags: missingTags }));
  }
  const lock = (policy: object) =>
    client.send(
      new PutResourcePolicyCommand({
        SecretId: arn,
        BlockPublicPolicy: true,
        ResourcePolicy: JSON.stringify(policy),
      }),
    );
  await lock(readersPolicy(deployment)).catch((error: unknown) => {
    if (!isNamed(error, 'PublicPolicyException')) {
      throw error;
    }
    // Not tried in AWS: if the check calls everybody public in spite of the condition, the readers are named as before.
    return lock(readersPolicy(deployment, { AWS: deployment.ReaderRoleArns ?? [] }));
  });
  return arn;
}

async function createEmpty(
  client: SecretsManagerClient,
  name: string,
  deployment: Deployment,
  tags: { Key: string; Value: string }[],
): Promise<string> {
  try {
    const { ARN = '' } = await client.send(
      new CreateSecretCommand({
        Name: name,
        Description: `Certificate ${deployment.CertName} for nodes tagged ${deployment.TargetTagKey}=${deployment.TargetTagValue}`,
        Tags: tags,
      }),
    );
    return ARN;
  } catch (error) {
    if (!isNamed(error, 'ResourceExistsException')) {
      throw error;
    }
    // An earlier attempt of the same task, not heard and still at work, was faster.
    const { ARN = '' } = (await describeBundle(client, name)) ?? {};
    return ARN;
  }
}

type Guarded = Pick<Order, 'TargetTagKey' | 'TargetTagValue' | 'Delivery' | 'ReaderRoleArns'>;

/**
 * Denies the value to every principal whose own tag differs or is missing, administrators included. A negated
 * condition matches where the key is absent (IAM user guide, "Condition operators"). A bundle that is delivered as
 * a secret is opened for exactly the roles that the order names, and denied to all others, tagged or not.
 *
 * Conditions name these roles: Secrets Manager refuses a policy with a principal that does not exist, so that one role
 * which was deleted would keep every version from the others. The principal is everybody, because an account as a principal
 * only lets the policies of its roles decide, and readers need none.
 */
function readersPolicy(deployment: Guarded, readersAre: '*' | { AWS: string[] } = '*') {
  const { ReaderRoleArns: readers = [] } = deployment;
  if (deployment.Delivery === 'secret') {
    return {
      Version: '2012-10-17',
      Statement: [
        {
          Sid: 'DenyOtherReaders',
          Effect: 'Deny',
          Principal: '*',
          Action: 'secretsmanager:GetSecretValue',
          Resource: '*',
          Condition: { ArnNotEquals: { 'aws:PrincipalArn': readers } },
        },
        {
          Sid: 'AllowReaders',
          Effect: 'Allow',
          Principal: readersAre,
          Action: ['secretsmanager:GetSecretValue', 'secretsmanager:DescribeSecret'],
          Resource: '*',
          Condition: { ArnEquals: { 'aws:PrincipalArn': readers } },
        },
      ],
    };
  }
  return {
    Version: '2012-10-17',
    Statement: [
      {
        Sid: 'DenyReadersWithoutTheTag',
        Effect: 'Deny',
        Principal: '*',
        Action: 'secretsmanager:GetSecretValue',
        Resource: '*',
        Condition: {
          StringNotEquals: { [`aws:PrincipalTag/${deployment.TargetTagKey}`]: deployment.TargetTagValue },
        },
      },
    ],
  };
}

/** Bytes that a value may have (Secrets Manager user guide, "Quotas"). */
const LARGEST_VALUE = 65_536;

/**
 * Stores a version. Its id follows from what is in it, so a version that is there already is the same
 * certificate (with another salt): then only the label AWSCURRENT moves to it.
 *
 * @throws BundleNotStorable where the value is larger than a secret.
 */
export async function storeVersion(
  client: SecretsManagerClient,
  arn: string,
  versionId: string,
  value: BundleValue,
): Promise<void> {
  const text = JSON.stringify(value);
  const size = Buffer.byteLength(text);
  if (size > LARGEST_VALUE) {
    throw new BundleNotStorable(
      `The bundle of ${value.CertificateArn} has ${size} bytes, and Secrets Manager stores ${LARGEST_VALUE}. POST the deployment with BundleFormats null, or request a certificate with fewer names.`,
    );
  }
  try {
    await client.send(
      new PutSecretValueCommand({
        SecretId: arn,
        ClientRequestToken: versionId,
        SecretString: text,
      }),
    );
  } catch (error) {
    if (!isNamed(error, 'ResourceExistsException')) {
      throw error;
    }
    await makeCurrent(client, arn, versionId, await describeBundle(client, arn));
  }
}

/** Moves the label AWSCURRENT to a stored version, unless it stands there. */
export async function makeCurrent(
  client: SecretsManagerClient,
  arn: string,
  versionId: string,
  secret: DescribeSecretCommandOutput | undefined,
): Promise<void> {
  const versions = Object.entries(secret?.VersionIdsToStages ?? {});
  const current = versions.find(([, stages]) => stages?.includes('AWSCURRENT'))?.[0];
  if (current !== versionId) {
    await client.send(
      new UpdateSecretVersionStageCommand({
        SecretId: arn,
        VersionStage: 'AWSCURRENT',
        MoveToVersionId: versionId,
        ...(current ? { RemoveFromVersionId: current } : {}),
      }),
    );
  }
}

/** Takes back that a bundle is scheduled for deletion. */
export async function restoreBundle(client: SecretsManagerClient, name: string): Promise<void> {
  await client.send(new RestoreSecretCommand({ SecretId: name }));
}

/**
 * Schedules a bundle for deletion; a bundle that is gone or scheduled already is left so.
 *
 * Secrets Manager refuses to schedule a secret twice (API reference of DeleteSecret, InvalidRequestException), and
 * another call may have done it since.
 */
export async function scheduleDeletion(client: SecretsManagerClient, name: string): Promise<void> {
  const isLeft = async () => {
    const secret = await describeBundle(client, name);
    return secret !== undefined && secret.DeletedDate === undefined;
  };
  if (!(await isLeft())) {
    return;
  }
  try {
    await client.send(new DeleteSecretCommand({ SecretId: name, RecoveryWindowInDays: RECOVERY_DAYS }));
  } catch (error) {
    if (!isNamed(error, 'InvalidRequestException', 'ResourceNotFoundException') || (await isLeft())) {
      throw error;
    }
  }
}
