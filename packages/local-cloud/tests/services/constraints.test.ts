import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ACMClient, DescribeCertificateCommand, ExportCertificateCommand } from '@aws-sdk/client-acm';
import { PutSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { afterAll, describe, expect, test } from '@jest/globals';
import { type Cloud, startCloud } from '../../src/cloud.ts';
import { NotModelled } from '../../src/iam/not-modelled.ts';
import {
  answerFaults,
  checkConstraints,
  compilePattern,
  constraints,
  masked,
} from '../../src/services/constraints.ts';
import type { ServiceError } from '../../src/services/service.ts';
import { ACCOUNT, allow, REGION, signedCall } from './test-cloud.ts';

const certificate = `arn:aws:acm:${REGION}:${ACCOUNT}:certificate/12345678-1234-1234-1234-123456789012`;
const machine = `arn:aws:states:${REGION}:${ACCOUNT}:stateMachine:courier`;
const role = `arn:aws:iam::${ACCOUNT}:role/courier`;
const base64 = (length: number) => Buffer.alloc(length, 'p').toString('base64');

const refusal = (operation: string, input: unknown): Error | undefined => {
  try {
    checkConstraints(operation, input);
    return undefined;
  } catch (error) {
    return error as Error;
  }
};

const valid: [what: string, operation: string, input: object][] = [
  ['the longest text', 'AWSStepFunctions.StartExecution', { stateMachineArn: machine, name: 'x'.repeat(80) }],
  [
    'the shortest blob',
    'CertificateManager.ExportCertificate',
    { CertificateArn: certificate, Passphrase: base64(4) },
  ],
  [
    'the longest blob',
    'CertificateManager.ExportCertificate',
    { CertificateArn: certificate, Passphrase: base64(128) },
  ],
  ['the smallest number', 'AmazonSSM.SendCommand', { DocumentName: 'doc', TimeoutSeconds: 30 }],
  [
    'the longest list',
    'AmazonSSM.SendCommand',
    { DocumentName: 'doc', InstanceIds: Array(50).fill('i-12345678') },
  ],
  [
    'a key in a map',
    'AmazonSSM.StartAutomationExecution',
    { DocumentName: 'doc', Parameters: { Word: ['x'] } },
  ],
  [
    'one of the values',
    'CertificateManager.RevokeCertificate',
    { CertificateArn: certificate, RevocationReason: 'KEY_COMPROMISE' },
  ],
  [
    'letters of all languages',
    'CertificateManager.AddTagsToCertificate',
    { CertificateArn: certificate, Tags: [{ Key: 'größe', Value: '中' }] },
  ],
  ['null for nothing', 'secretsmanager.GetSecretValue', { SecretId: 'a', VersionId: null }],
  [
    'numbers as text in a form',
    'sts.AssumeRole',
    { RoleArn: role, RoleSessionName: 'ab', DurationSeconds: '900' },
  ],
  ['an empty list in a form', 'sts.AssumeRole', { RoleArn: role, RoleSessionName: 'ab', Tags: '' }],
  ['a payload as it is', 'lambda.Invoke', { FunctionName: 'f', Payload: '{"a": 1}' }],
  [
    'attribute values',
    'DynamoDB_20120810.GetItem',
    { TableName: 't', Key: { Id: { S: 'a' } }, ConsistentRead: true },
  ],
];

test.each(valid)('%s is valid', (_what, operation, input) => {
  expect(refusal(operation, input)).toBeUndefined();
});

const invalid: [what: string, operation: string, input: object, name: string, message: string][] = [
  [
    'a text too long',
    'AWSStepFunctions.StartExecution',
    { stateMachineArn: machine, name: 'x'.repeat(81) },
    'ValidationException',
    `1 validation error detected: Value '${'x'.repeat(81)}' at 'name' failed to satisfy constraint: Member must have length less than or equal to 80`,
  ],
  [
    'a text too short',
    'secretsmanager.PutSecretValue',
    { SecretId: 'a', ClientRequestToken: 'x'.repeat(31) },
    'ValidationException',
    `1 validation error detected: Value '${'x'.repeat(31)}' at 'clientRequestToken' failed to satisfy constraint: Member must have length greater than or equal to 32`,
  ],
  [
    'a number too large, in a form',
    'sts.AssumeRole',
    { RoleArn: role, RoleSessionName: 'ab', DurationSeconds: '43201' },
    'ValidationError',
    "1 validation error detected: Value '43201' at 'durationSeconds' failed to satisfy constraint: Member must have value less than or equal to 43200",
  ],
  [
    'a number too small',
    'AmazonSSM.SendCommand',
    { DocumentName: 'doc', TimeoutSeconds: 29 },
    'ValidationException',
    "1 validation error detected: Value '29' at 'timeoutSeconds' failed to satisfy constraint: Member must have value greater than or equal to 30",
  ],
  [
    'a list too long',
    'AmazonSSM.SendCommand',
    { DocumentName: 'doc', InstanceIds: Array(51).fill('i-12345678') },
    'ValidationException',
    "1 validation error detected: Value at 'instanceIds' failed to satisfy constraint: Member must have length less than or equal to 50",
  ],
  [
    'a map too small',
    'AmazonSSM.StartAutomationExecution',
    { DocumentName: 'doc', Parameters: {} },
    'ValidationException',
    "1 validation error detected: Value at 'parameters' failed to satisfy constraint: Member must have length greater than or equal to 1",
  ],
  [
    'a pattern that only a part matches',
    'AmazonSSM.SendCommand',
    { DocumentName: 'doc', MaxErrors: '10%%' },
    'ValidationException',
    "1 validation error detected: Value '10%%' at 'maxErrors' failed to satisfy constraint: Member must satisfy regular expression pattern: ^([1-9][0-9]*|[0]|[1-9][0-9]%|[0-9]%|100%)$",
  ],
  [
    'a line end behind a pattern',
    'sts.AssumeRole',
    { RoleArn: role, RoleSessionName: 'session\n' },
    'ValidationError',
    "1 validation error detected: Value 'session\n' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]*",
  ],
  [
    'none of the values',
    'CertificateManager.RequestCertificate',
    { DomainName: 'www.example.com', ValidationMethod: 'LETTER' },
    'ValidationException',
    "1 validation error detected: Value 'LETTER' at 'validationMethod' failed to satisfy constraint: Member must satisfy enum value set: [EMAIL, DNS, HTTP]",
  ],
  [
    'a missing member',
    'CertificateManager.DescribeCertificate',
    {},
    'ValidationException',
    "1 validation error detected: Value null at 'certificateArn' failed to satisfy constraint: Member must not be null",
  ],
  [
    'several faults, in a list and beside it',
    'CertificateManager.AddTagsToCertificate',
    { Tags: [{ Key: 'good' }, { Key: '*', Value: 'x'.repeat(257) }] },
    'ValidationException',
    `3 validation errors detected: Value null at 'certificateArn' failed to satisfy constraint: Member must not be null; Value '*' at 'tags.2.member.key' failed to satisfy constraint: Member must satisfy regular expression pattern: ([\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*); Value '${'x'.repeat(257)}' at 'tags.2.member.value' failed to satisfy constraint: Member must have length less than or equal to 256`,
  ],
  [
    'a fault in a map',
    'AmazonSSM.StartAutomationExecution',
    { DocumentName: 'doc', Parameters: { Word: [''] } },
    'ValidationException',
    "1 validation error detected: Value '' at 'parameters.Word.value.1.member' failed to satisfy constraint: Member must have length greater than or equal to 1",
  ],
  [
    'a number for a text',
    'secretsmanager.GetSecretValue',
    { SecretId: 1 },
    'SerializationException',
    'secretId: must be string',
  ],
  [
    'half a number',
    'AmazonSSM.SendCommand',
    { DocumentName: 'doc', TimeoutSeconds: 30.5 },
    'SerializationException',
    'timeoutSeconds: must be integer',
  ],
  [
    'words for a number, in a form',
    'sts.AssumeRole',
    { RoleArn: role, RoleSessionName: 'ab', DurationSeconds: 'soon' },
    'MalformedInput',
    'durationSeconds: must be integer',
  ],
  [
    'a blob that is no base64',
    'CertificateManager.ExportCertificate',
    { CertificateArn: certificate, Passphrase: 'pass phrase' },
    'SerializationException',
    'passphrase: must be blob',
  ],
];

test.each(invalid)('%s is refused as AWS does', (_what, operation, input, name, message) => {
  expect(refusal(operation, input)).toMatchObject({
    name,
    message,
    status: 400,
  } satisfies Partial<ServiceError>);
});

test('a member that the operation does not have is a fault of the caller, and loud', () => {
  const unknown = refusal('secretsmanager.GetSecretValue', { SecretId: 'a', VersionID: 'b' });
  expect(unknown).toBeInstanceOf(NotModelled);
  expect(unknown?.message).toBe('secretsmanager.GetSecretValue: the model has no member VersionID');
});

test.each([
  [
    'CertificateManager.ExportCertificate',
    { CertificateArn: certificate, Passphrase: 'c2VjcmV0'.repeat(40) },
  ],
  ['CertificateManager.ExportCertificate', { CertificateArn: certificate, Passphrase: 'secret' }],
  ['secretsmanager.PutSecretValue', { SecretId: 'a', SecretString: 'secret'.repeat(20_000) }],
  ['secretsmanager.PutSecretValue', { SecretId: 'a', SecretString: ['secret'] }],
  ['AmazonSSM.SendCommand', { DocumentName: 'doc', Parameters: { Word: 'secret' } }],
])('no refusal of %s shows a secret', (operation, input) => {
  const message = refusal(operation, input)?.message;
  expect(message).toMatch(/passphrase|secretString|parameters/);
  expect(message).not.toMatch(/secret(?!String)|c2VjcmV0/);
});

const described = { CertificateArn: certificate, DomainName: 'www.example.com', NotAfter: new Date() };
test.each([
  [[], 'CertificateManager.DescribeCertificate', { Certificate: { ...described, KeyAlgorithm: 'RSA-2048' } }],
  [[], 'CertificateManager.AddTagsToCertificate', undefined],
  [[], 'DynamoDB_20120810.BatchWriteItem', { UnprocessedItems: {} }],
  [[], 'AmazonSSM.GetAutomationExecution', { AutomationExecution: { ExecutionEndTime: undefined } }],
  [
    ['Certificate.NotAfter: must be timestamp'],
    'CertificateManager.DescribeCertificate',
    { Certificate: { ...described, NotAfter: '2027-01-01' } },
  ],
  [
    [
      'Certificate.Status: Member must satisfy enum value set: [PENDING_VALIDATION, ISSUED, INACTIVE, EXPIRED, VALIDATION_TIMED_OUT, REVOKED, FAILED]',
    ],
    'CertificateManager.DescribeCertificate',
    { Certificate: { ...described, Status: 'LOST' } },
  ],
  [
    [
      'Certificate.RenewalSummary.RenewalStatus: Member must not be null',
      'Certificate.RenewalSummary.DomainValidationOptions: Member must not be null',
      'Certificate.RenewalSummary.UpdatedAt: Member must not be null',
    ],
    'CertificateManager.DescribeCertificate',
    { Certificate: { RenewalSummary: {} } },
  ],
  [['Name: must be string'], 'secretsmanager.DescribeSecret', { Name: null }],
  [['the model has no member SecretName'], 'secretsmanager.DescribeSecret', { SecretName: 'a' }],
  [
    ['Command.CommandId: Member must have length less than or equal to 36'],
    'AmazonSSM.SendCommand',
    { Command: { CommandId: 'c'.repeat(37) } },
  ],
])('of an answer it says %j (%s)', (faults, operation, output) => {
  expect(answerFaults(operation, output)).toEqual(faults);
});

test('a masked value has the length of the value, and its shape', () => {
  const input = { SecretId: 'a', SecretString: 'se=cret==', SecretBinary: base64(4) };
  expect(masked('secretsmanager.PutSecretValue', 'input', input)).toEqual({
    SecretId: 'a',
    SecretString: 'xxxxxxx==',
    SecretBinary: 'xxxxxx==',
  });
  const wrong = { SecretId: 'a', SecretString: { secret: 'b' } };
  expect(masked('secretsmanager.PutSecretValue', 'input', wrong)).toEqual({
    SecretId: 'a',
    SecretString: 'x',
  });
  const parameters = { DocumentName: 'doc', Parameters: { Word: ['se\ncret', 'b'] }, Unknown: 'secret' };
  expect(masked('AmazonSSM.SendCommand', 'input', parameters)).toEqual({
    DocumentName: 'doc',
    Parameters: { Word: ['xxxxxxx', 'x'] },
    Unknown: 'x',
  });
});

test('every pattern of the models compiles: none is left out', () => {
  const patterns = Object.values(constraints.services).flatMap(({ shapes }) =>
    Object.values(shapes).flatMap(({ pattern }) => pattern ?? []),
  );
  expect(patterns.length).toBeGreaterThan(50);
  const leftOut = patterns.filter((pattern) => {
    try {
      compilePattern(pattern);
      return false;
    } catch {
      return true;
    }
  });
  expect(leftOut).toEqual([]);
});

describe('in the cloud', () => {
  const clouds: Cloud[] = [];
  const folder = mkdtempSync(path.join(tmpdir(), 'calls-'));
  afterAll(async () => {
    await Promise.all(clouds.map((cloud) => cloud.stop()));
    rmSync(folder, { recursive: true });
  });
  /** A lenient one: its faults are asked for, and do not fail the file. */
  async function started(): Promise<Cloud> {
    const cloud = await startCloud({ quotas: false, lenient: true, report: () => {} });
    clouds.push(cloud);
    return cloud;
  }

  test('the table has every operation that is modelled, and no other', async () => {
    const cloud = await started();
    const prefixes: Record<string, string> = {
      acm: 'CertificateManager',
      ssm: 'AmazonSSM',
      dynamodb: 'DynamoDB_20120810',
      states: 'AWSStepFunctions',
      events: 'AWSEvents',
      sqs: 'AmazonSQS',
    };
    const { 'execute-api': _own, ...modelled } = cloud.operations();
    const sorted = (operations: Record<string, string[]>) =>
      Object.entries(operations)
        .flatMap(([service, names]) => names.map((name) => `${service}.${name}`))
        .sort();
    const known = Object.entries(constraints.services).map(([service, { operations }]) => [
      service,
      Object.keys(operations),
    ]);
    const found = Object.entries(modelled).map(([service, names]) => [prefixes[service] ?? service, names]);
    expect(sorted(Object.fromEntries(known))).toEqual(sorted(Object.fromEntries(found)));
  });

  test('a request is held against the model before any policy, an answer afterwards', async () => {
    const cloud = await started();
    const nobody = cloud.createUser(ACCOUNT, 'nobody', []);
    const call = (identity: typeof nobody, target: string, body: object) =>
      signedCall(cloud, identity, target.startsWith('secretsmanager') ? 'secretsmanager' : 'acm', {
        headers: { 'x-amz-target': target, 'content-type': 'application/x-amz-json-1.1' },
        body: JSON.stringify(body),
      }).then((answer) => answer.json());
    const describe = 'CertificateManager.DescribeCertificate';
    expect(await call(nobody, describe, { CertificateArn: 'x' })).toMatchObject({
      __type: 'ValidationException',
    });
    expect(await call(nobody, describe, { CertificateArn: certificate })).toMatchObject({
      __type: 'AccessDeniedException',
    });
    expect(cloud.failures).toEqual([]);
    const administrator = cloud.createUser(ACCOUNT, 'administrator', [allow('*')]);
    const arn = await cloud.services.acm.add(ACCOUNT, REGION, { names: ['under_score.example.com'] });
    expect(await call(administrator, describe, { CertificateArn: arn })).toMatchObject({
      Certificate: { Status: 'ISSUED' },
    });
    expect(cloud.failures.join()).toMatch(
      /^answer of CertificateManager.DescribeCertificate: Certificate.DomainName: Member must satisfy/,
    );
    expect(await call(administrator, 'secretsmanager.ListSecrets', { Maximum: 1 })).toMatchObject({
      __type: 'NotModelled',
    });
  });

  test('a record of the calls holds each one, for its owner alone, without keys and passphrases', async () => {
    process.env.RECORD_CALLS = folder;
    const cloud = await started();
    delete process.env.RECORD_CALLS;
    const config = cloud.clientConfig(cloud.createUser(ACCOUNT, 'administrator', [allow('*')]), REGION);
    const acm = new ACMClient(config);
    const CertificateArn = await cloud.services.acm.add(ACCOUNT, REGION, { names: ['www.example.com'] });
    const Passphrase = Buffer.from('correct-Horse-Battery-Staple');
    const { PrivateKey = '' } = await acm.send(new ExportCertificateCommand({ CertificateArn, Passphrase }));
    await acm.send(new DescribeCertificateCommand({ CertificateArn }));
    const put = { SecretId: 'absent', SecretString: `${PrivateKey}${Passphrase}` };
    await expect(new SecretsManagerClient(config).send(new PutSecretValueCommand(put))).rejects.toThrow();
    cloud.faults.inject({ operation: 'DescribeCertificate', kind: 'answer-lost' });
    const impatient = new ACMClient({ ...config, maxAttempts: 1 });
    await expect(impatient.send(new DescribeCertificateCommand({ CertificateArn }))).rejects.toThrow();

    const [name = ''] = readdirSync(folder);
    expect(statSync(path.join(folder, name)).mode & 0o777).toBe(0o600);
    const text = readFileSync(path.join(folder, name), 'utf8');
    const calls = text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(calls).toEqual([
      {
        operation: 'CertificateManager.ExportCertificate',
        input: { CertificateArn, Passphrase: `${'x'.repeat(38)}==` },
        output: {
          Certificate: expect.stringContaining('BEGIN CERTIFICATE'),
          CertificateChain: expect.stringContaining('BEGIN CERTIFICATE'),
          PrivateKey: 'x'.repeat(PrivateKey.length),
        },
      },
      {
        operation: 'CertificateManager.DescribeCertificate',
        input: { CertificateArn },
        output: { Certificate: expect.objectContaining({ CertificateArn }) },
      },
      {
        operation: 'secretsmanager.PutSecretValue',
        input: expect.objectContaining({ SecretString: 'x'.repeat(put.SecretString.length) }),
        error: 'ResourceNotFoundException',
      },
      { operation: 'CertificateManager.DescribeCertificate', input: { CertificateArn } },
    ]);
  });
});
