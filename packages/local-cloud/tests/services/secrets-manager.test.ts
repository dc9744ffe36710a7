import { createHash } from 'node:crypto';
import {
  CreateSecretCommand,
  DeleteSecretCommand,
  DescribeSecretCommand,
  GetRandomPasswordCommand,
  GetResourcePolicyCommand,
  GetSecretValueCommand,
  ListSecretsCommand,
  PutResourcePolicyCommand,
  PutSecretValueCommand,
  RestoreSecretCommand,
  SecretsManagerClient,
  TagResourceCommand,
  UpdateSecretVersionStageCommand,
} from '@aws-sdk/client-secrets-manager';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { ACCOUNT, allow, OTHER_ACCOUNT, REGION, testCloud, trust } from './test-cloud.ts';

const cloud = testCloud();
let secrets: SecretsManagerClient;
beforeAll(() => {
  secrets = new SecretsManagerClient(cloud().clientConfig(cloud.administrator(), REGION));
});

let names = 0;
/** A new secret without a value. */
async function created(options: object = {}): Promise<string> {
  names += 1;
  await secrets.send(new CreateSecretCommand({ Name: `bundle/${names}`, ...options }));
  return `bundle/${names}`;
}
const idOf = (text: string) => createHash('sha256').update(text).digest('hex');
const put = (SecretId: string, token: string, SecretString: string) =>
  secrets.send(new PutSecretValueCommand({ SecretId, ClientRequestToken: idOf(token), SecretString }));
const get = (SecretId: string, version: { VersionId?: string; VersionStage?: string } = {}) =>
  secrets.send(new GetSecretValueCommand({ SecretId, ...version }));
const stages = async (SecretId: string) =>
  (await secrets.send(new DescribeSecretCommand({ SecretId }))).VersionIdsToStages;

test('a version is stored once: the same value again is ignored, another one refused', async () => {
  const name = await created();
  await put(name, 'first', 'a');
  await put(name, 'second', 'b');
  await put(name, 'first', 'a');
  // Ignored means that the labels stay where they are, too.
  expect((await get(name)).SecretString).toBe('b');
  await expect(put(name, 'first', 'c')).rejects.toMatchObject({ name: 'ResourceExistsException' });
  const short = secrets.send(
    new PutSecretValueCommand({ SecretId: name, ClientRequestToken: 'short', SecretString: 'd' }),
  );
  for (const refused of [short, put(name, 'third', ''), put(name, 'third', 'x'.repeat(65_537))]) {
    await expect(refused).rejects.toMatchObject({ name: 'ValidationException' });
  }
  // The model counts characters, the quota bytes.
  await expect(put(name, 'third', 'é'.repeat(32_769))).rejects.toMatchObject({
    name: 'InvalidParameterException',
  });
});

test('AWSCURRENT moves to a new version, AWSPREVIOUS to the one before, and other versions are not described', async () => {
  const name = await created();
  expect(await stages(name)).toBeUndefined();
  for (const version of ['first', 'second', 'third']) await put(name, version, version);
  expect(await stages(name)).toEqual({ [idOf('third')]: ['AWSCURRENT'], [idOf('second')]: ['AWSPREVIOUS'] });
  expect((await get(name, { VersionStage: 'AWSPREVIOUS' })).SecretString).toBe('second');
  expect((await get(name, { VersionId: idOf('first') })).SecretString).toBe('first');
  await expect(get(name, { VersionId: idOf('fourth') })).rejects.toMatchObject({
    name: 'ResourceNotFoundException',
  });
  const both = get(name, { VersionId: idOf('first'), VersionStage: 'AWSCURRENT' });
  await expect(both).rejects.toMatchObject({ name: 'ResourceNotFoundException' });
});

test('a label moves only when the version that has it is named', async () => {
  const name = await created();
  for (const version of ['first', 'second']) await put(name, version, version);
  const move = (from?: string) =>
    secrets.send(
      new UpdateSecretVersionStageCommand({
        SecretId: name,
        VersionStage: 'AWSCURRENT',
        MoveToVersionId: idOf('first'),
        ...(from ? { RemoveFromVersionId: idOf(from) } : {}),
      }),
    );
  await expect(move()).rejects.toMatchObject({ name: 'InvalidParameterException' });
  await expect(move('first')).rejects.toMatchObject({ name: 'InvalidParameterException' });
  await move('second');
  expect(await stages(name)).toEqual({ [idOf('first')]: ['AWSCURRENT'], [idOf('second')]: ['AWSPREVIOUS'] });
});

test('a name is taken until its recovery window has passed, and another secret of that name has another ARN', async () => {
  const name = await created({ SecretString: 'a' });
  const again = () => secrets.send(new CreateSecretCommand({ Name: name }));
  const { ARN } = await secrets.send(new DescribeSecretCommand({ SecretId: name }));
  expect(ARN).toMatch(new RegExp(`:secret:${name}-[A-Za-z0-9]{6}$`));
  await expect(again()).rejects.toMatchObject({ name: 'ResourceExistsException' });

  const remove = (RecoveryWindowInDays: number) =>
    secrets.send(new DeleteSecretCommand({ SecretId: name, RecoveryWindowInDays }));
  await expect(remove(6)).rejects.toMatchObject({ name: 'InvalidParameterException' });
  await remove(7);
  for (const refused of [again(), get(name), put(name, 'b', 'b'), remove(7)]) {
    await expect(refused).rejects.toMatchObject({ name: 'InvalidRequestException' });
  }
  expect((await secrets.send(new DescribeSecretCommand({ SecretId: name }))).DeletedDate).toBeInstanceOf(
    Date,
  );
  await secrets.send(new RestoreSecretCommand({ SecretId: name }));
  expect((await get(name)).SecretString).toBe('a');

  await remove(7);
  cloud().clock.advance(7 * 86_400_000);
  await expect(get(name)).rejects.toMatchObject({ name: 'ResourceNotFoundException' });
  expect((await again()).ARN).not.toBe(ARN);
});

test('a resource policy keeps out whom it denies, however much identity policies allow', async () => {
  const name = await created({ SecretString: 'key', Tags: [{ Key: 'env', Value: 'prod' }] });
  const statement = {
    Effect: 'Deny',
    Principal: '*',
    Action: 'secretsmanager:GetSecretValue',
    Resource: '*',
    Condition: { StringNotEquals: { 'aws:PrincipalTag/env': 'prod' } },
  };
  const policy = JSON.stringify({ Version: '2012-10-17', Statement: [statement] });
  await secrets.send(new PutResourcePolicyCommand({ SecretId: name, ResourcePolicy: policy }));
  const { ResourcePolicy = '' } = await secrets.send(new GetResourcePolicyCommand({ SecretId: name }));
  expect(JSON.parse(ResourcePolicy)).toEqual(JSON.parse(policy));

  await expect(get(name)).rejects.toMatchObject({
    name: 'AccessDeniedException',
    message: expect.stringContaining('explicit deny'),
  });
  const tagged = cloud().createUser(ACCOUNT, 'tagged', [allow('secretsmanager:GetSecretValue')], {
    env: 'prod',
  });
  const reader = new SecretsManagerClient(cloud().clientConfig(tagged, REGION));
  expect((await reader.send(new GetSecretValueCommand({ SecretId: name }))).SecretString).toBe('key');

  const malformed = secrets.send(new PutResourcePolicyCommand({ SecretId: name, ResourcePolicy: '{' }));
  await expect(malformed).rejects.toMatchObject({ name: 'MalformedPolicyDocumentException' });
});

describe('a resource policy', () => {
  const here = `arn:aws:iam::${ACCOUNT}`;
  const lay = async (statement: object, BlockPublicPolicy = true) => {
    const Statement = [
      { Effect: 'Allow', Action: 'secretsmanager:GetSecretValue', Resource: '*', ...statement },
    ];
    const ResourcePolicy = JSON.stringify({ Version: '2012-10-17', Statement });
    const SecretId = await created();
    await secrets.send(new PutResourcePolicyCommand({ SecretId, ResourcePolicy, BlockPublicPolicy }));
  };
  const by = (operator: string, key: string, value: string | string[]) => ({
    Principal: '*',
    Condition: { [operator]: { [key]: value } },
  });

  beforeAll(() => {
    const { identities } = cloud().services;
    const trustPolicy = trust({ AWS: `${here}:root` });
    identities.createRole(ACCOUNT, { name: 'reader', path: '/apps/', trustPolicy });
    cloud().createUser(ACCOUNT, 'alice', []);
  });

  test.each([
    ['a role that was never made', `${here}:role/nobody`],
    ['a role under another path', `${here}:role/reader`],
    ['a role of that name in another account', `arn:aws:iam::${OTHER_ACCOUNT}:role/apps/reader`],
    ['a user who does not exist', `${here}:user/bob`],
    ['the id that a deleted role leaves', 'AROAABCDEFGHIJKLMNOPQ'],
  ])('that names %s is refused, beside one that is there', async (_what, name) => {
    for (const element of ['Principal', 'NotPrincipal']) {
      const principals = { [element]: { AWS: [`${here}:role/apps/reader`, name] }, Effect: 'Deny' };
      await expect(lay(principals)).rejects.toMatchObject({
        name: 'MalformedPolicyDocumentException',
        message: expect.stringContaining('unsupported principal'),
      });
    }
  });

  test.each([
    ['a role that is there', { Principal: { AWS: `${here}:role/apps/reader` } }],
    ['a user', { Principal: { AWS: `${here}:user/alice` } }],
    ['any account', { Principal: { AWS: [`arn:aws:iam::${OTHER_ACCOUNT}:root`, ACCOUNT] } }],
    [
      'everybody by the ARN of a role that is not there',
      by('ArnEquals', 'aws:PrincipalArn', `${here}:role/no`),
    ],
    ['everybody of one account', by('StringEquals', 'aws:PrincipalAccount', ACCOUNT)],
    ['nobody of all', { ...by('ArnNotEquals', 'aws:PrincipalArn', `${here}:role/no`), Effect: 'Deny' }],
  ])('that speaks of %s is no public one', (_what, statement) => lay(statement));

  test.each([
    ['everybody', { Principal: '*' }],
    ['everybody, in the long form', { Principal: { AWS: ['*'] } }],
    ['all but one', { NotPrincipal: { AWS: `${here}:user/alice` } }],
    ['a pattern', by('ArnLike', 'aws:PrincipalArn', `arn:aws:iam::*:role/reader`)],
    ['a pattern among ARNs', by('ArnLike', 'aws:PrincipalArn', [`${here}:role/a`, '*'])],
    ['all but a role', by('ArnNotEquals', 'aws:PrincipalArn', `${here}:role/no`)],
    ['a tag that everybody can have', by('StringEquals', 'aws:PrincipalTag/env', 'prod')],
  ])('that opens the secret to %s is public', async (_what, statement) => {
    await expect(lay(statement)).rejects.toMatchObject({ name: 'PublicPolicyException' });
    await lay(statement, false);
  });
});

test('another account reaches a secret by its ARN only when both sides allow it', async () => {
  const name = await created({ SecretString: 'a' });
  const { ARN = '' } = await secrets.send(new DescribeSecretCommand({ SecretId: name }));
  const stranger = new SecretsManagerClient(cloud().clientConfig(cloud.administrator(OTHER_ACCOUNT), REGION));
  const read = (SecretId: string) => stranger.send(new GetSecretValueCommand({ SecretId }));
  await expect(read(name)).rejects.toMatchObject({ name: 'ResourceNotFoundException' });
  await expect(read(ARN)).rejects.toMatchObject({ name: 'AccessDeniedException' });
  const statement = {
    Effect: 'Allow',
    Principal: { AWS: `arn:aws:iam::${OTHER_ACCOUNT}:root` },
    Action: 'secretsmanager:GetSecretValue',
    Resource: '*',
  };
  const ResourcePolicy = JSON.stringify({ Version: '2012-10-17', Statement: [statement] });
  await secrets.send(new PutResourcePolicyCommand({ SecretId: name, ResourcePolicy }));
  expect((await read(ARN)).SecretString).toBe('a');
});

test('tags are added to those there are, keys told apart by case, and those of AWS refused', async () => {
  const name = await created({ Tags: [{ Key: 'env', Value: 'prod' }] });
  const tag = (Key: string) =>
    secrets.send(new TagResourceCommand({ SecretId: name, Tags: [{ Key, Value: 'x' }] }));
  await tag('Env');
  const { Tags } = await secrets.send(new DescribeSecretCommand({ SecretId: name }));
  expect(Tags).toEqual([
    { Key: 'env', Value: 'prod' },
    { Key: 'Env', Value: 'x' },
  ]);
  await expect(tag('aws:env')).rejects.toMatchObject({ name: 'InvalidParameterException' });
});

test('a random password has the length and only the characters that were asked for', async () => {
  const { RandomPassword = '' } = await secrets.send(
    new GetRandomPasswordCommand({ PasswordLength: 64, ExcludePunctuation: true }),
  );
  expect(RandomPassword).toMatch(/^[A-Za-z0-9]{64}$/);
  const { RandomPassword: other = '' } = await secrets.send(
    new GetRandomPasswordCommand({ PasswordLength: 4096, ExcludeCharacters: '#$%' }),
  );
  expect(other).toHaveLength(4096);
  expect(other).not.toMatch(/[#$%]/);
  expect(other).toMatch(/[!-/]/);
});

test('a list has the secrets of one account, page by page, without those scheduled for deletion', async () => {
  const lister = new SecretsManagerClient(cloud().clientConfig(cloud.administrator('777788889999'), REGION));
  for (const Name of ['one', 'two', 'three']) await lister.send(new CreateSecretCommand({ Name }));
  await lister.send(new DeleteSecretCommand({ SecretId: 'two' }));
  const first = await lister.send(new ListSecretsCommand({ MaxResults: 1 }));
  const second = await lister.send(new ListSecretsCommand({ MaxResults: 1, NextToken: first.NextToken }));
  expect([first, second].map(({ SecretList }) => SecretList?.map(({ Name }) => Name))).toEqual([
    ['one'],
    ['three'],
  ]);
  expect(second.NextToken).toBeUndefined();
});
