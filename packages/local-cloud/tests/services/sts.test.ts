import { ListSecretsCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import {
  AssumeRoleCommand,
  type AssumeRoleCommandInput,
  GetCallerIdentityCommand,
  STSClient,
} from '@aws-sdk/client-sts';
import { expect, test } from '@jest/globals';
import type { PolicyDocument } from '../../src/iam/evaluate.ts';
import type { Identity } from '../../src/services/identities.ts';
import { ACCOUNT, allow, OTHER_ACCOUNT, REGION, testCloud, trust } from './test-cloud.ts';

const cloud = testCloud();
let roles = 0;

/** A role in the other account that trusts this one's administrator with an external id. */
function role(
  condition: object = { StringEquals: { 'sts:ExternalId': 'shared' } },
  maxSessionSeconds = 3600,
) {
  roles += 1;
  return cloud().services.identities.createRole(OTHER_ACCOUNT, {
    name: `courier-${roles}`,
    trustPolicy: trust({ AWS: `arn:aws:iam::${ACCOUNT}:root` }, condition),
    inlinePolicies: [allow('secretsmanager:*')],
    maxSessionSeconds,
  });
}

const allowing = (Action: string[]): PolicyDocument => ({
  Version: '2012-10-17',
  Statement: [{ Effect: 'Allow', Principal: { AWS: `arn:aws:iam::${ACCOUNT}:root` }, Action }],
});

const assume = (input: Partial<AssumeRoleCommandInput>, identity = cloud.administrator()) =>
  new STSClient(cloud().clientConfig(identity, REGION)).send(
    new AssumeRoleCommand({ RoleArn: undefined, RoleSessionName: 'session', ExternalId: 'shared', ...input }),
  );

async function session(
  input: Partial<AssumeRoleCommandInput>,
  identity = cloud.administrator(),
): Promise<Identity> {
  const { Credentials, AssumedRoleUser } = await assume(input, identity);
  return {
    account: OTHER_ACCOUNT,
    arn: AssumedRoleUser?.Arn ?? '',
    credentials: {
      accessKeyId: Credentials?.AccessKeyId ?? '',
      secretAccessKey: Credentials?.SecretAccessKey ?? '',
      sessionToken: Credentials?.SessionToken ?? '',
    },
  };
}
const listSecrets = (identity: Identity) =>
  new SecretsManagerClient(cloud().clientConfig(identity, REGION)).send(new ListSecretsCommand({}));

test('a session acts in the role’s account under its own name', async () => {
  const { name, arn } = role();
  const opened = await session({ RoleArn: arn, RoleSessionName: 'take-order-1' });
  const who = await new STSClient(cloud().clientConfig(opened, REGION)).send(
    new GetCallerIdentityCommand({}),
  );
  const sessionArn = `arn:aws:sts::${OTHER_ACCOUNT}:assumed-role/${name}/take-order-1`;
  expect(who).toMatchObject({
    Account: OTHER_ACCOUNT,
    Arn: sessionArn,
    UserId: expect.stringMatching(/^AROA.*:take-order-1$/),
  });
});

test('without the external id, or with another, nobody gets in; a role that does not exist is refused in the same words', async () => {
  const { arn } = role();
  const refusals = [
    assume({ RoleArn: arn, ExternalId: undefined }),
    assume({ RoleArn: arn, ExternalId: 'guessed' }),
    assume({ RoleArn: arn.replace('courier', 'absent') }),
    assume({ RoleArn: arn }, cloud.administrator('777788889999')),
  ];
  for (const refused of refusals) {
    const message = expect.stringContaining('is not authorized to perform: sts:AssumeRole');
    await expect(refused).rejects.toMatchObject({
      name: 'AccessDenied',
      message,
      $metadata: { httpStatusCode: 403 },
    });
  }
});

test('a session policy limits a session and gives it nothing', async () => {
  const { arn } = role();
  const narrowed = await session({
    RoleArn: arn,
    Policy: JSON.stringify(allow('secretsmanager:DescribeSecret')),
  });
  await expect(listSecrets(narrowed)).rejects.toMatchObject({
    name: 'AccessDeniedException',
    message: expect.stringContaining('no session policy allows'),
  });
  const widened = await session({ RoleArn: arn, Policy: JSON.stringify(allow('*')) });
  expect(await listSecrets(widened)).toMatchObject({ SecretList: [] });
  const sts = new STSClient(cloud().clientConfig(widened, REGION));
  await expect(
    sts.send(new AssumeRoleCommand({ RoleArn: arn, RoleSessionName: 'again' })),
  ).rejects.toMatchObject({ name: 'AccessDenied' });
  await expect(assume({ RoleArn: arn, Policy: '{' })).rejects.toMatchObject({
    name: 'MalformedPolicyDocumentException',
  });
  await expect(assume({ RoleArn: arn, Policy: 'x'.repeat(2049) })).rejects.toMatchObject({
    name: 'ValidationError',
  });
});

test('session policy and tags share a packed size, which both may exceed though each keeps to its limits', async () => {
  const taggable = role({});
  taggable.trustPolicy = allowing(['sts:AssumeRole', 'sts:TagSession']);
  const policy = (characters: number) => {
    const text = JSON.stringify(allow('s3:GetObject'));
    return text + ' '.repeat(characters - text.length);
  };
  const tags = (count: number) =>
    Array.from({ length: count }, (_, index) => ({ Key: `T${index}`, Value: 'a'.repeat(98) }));
  const packed = async (input: Partial<AssumeRoleCommandInput>) =>
    (await assume({ RoleArn: taggable.arn, ...input })).PackedPolicySize;
  const tooLarge = (percent: number) => ({
    name: 'PackedPolicyTooLargeException',
    message: expect.stringContaining(`consumes ${percent}% of allotted space`),
  });
  expect(await packed({})).toBeUndefined();
  expect(await packed({ Policy: policy(736) })).toBe(82);
  expect(await packed({ Tags: tags(4) })).toBe(88);
  await expect(packed({ Policy: policy(1690) })).rejects.toMatchObject(tooLarge(189));
  await expect(packed({ Tags: tags(5) })).rejects.toMatchObject(tooLarge(110));
  await expect(packed({ Policy: policy(736), Tags: tags(1) })).rejects.toMatchObject(tooLarge(104));
});

test('a session ends when its time is over', async () => {
  const { arn } = role();
  const opened = await session({ RoleArn: arn, DurationSeconds: 900 });
  await listSecrets(opened);
  cloud().clock.advance(901_000);
  await expect(listSecrets(opened)).rejects.toMatchObject({ name: 'ExpiredTokenException' });
});

test('a session lasts as long as the role allows, and an hour at most where one role takes on another', async () => {
  const { arn: short } = role({}, 3600);
  const { arn: long } = role({}, 43_200);
  await expect(assume({ RoleArn: short, DurationSeconds: 3601 })).rejects.toMatchObject({
    name: 'ValidationError',
  });
  await expect(assume({ RoleArn: long, DurationSeconds: 899 })).rejects.toMatchObject({
    name: 'ValidationError',
  });
  await assume({ RoleArn: long, DurationSeconds: 7200 });
  const first = cloud().services.identities.createRole(ACCOUNT, {
    name: 'first',
    trustPolicy: trust({ AWS: `arn:aws:iam::${ACCOUNT}:root` }),
    inlinePolicies: [allow('sts:AssumeRole')],
  });
  const chained = await session({ RoleArn: first.arn });
  await expect(assume({ RoleArn: long, DurationSeconds: 7200 }, chained)).rejects.toMatchObject({
    name: 'ValidationError',
    message: expect.stringContaining('role chaining'),
  });
  await assume({ RoleArn: long, DurationSeconds: 3600 }, chained);
});

test('a session’s name has 2 to 64 plain characters', async () => {
  const { arn } = role();
  for (const RoleSessionName of ['a', 'a b', 'a/b', 'a'.repeat(65)]) {
    await expect(assume({ RoleArn: arn, RoleSessionName })).rejects.toMatchObject({
      name: 'ValidationError',
    });
  }
});
