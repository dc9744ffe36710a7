import { createHash } from 'node:crypto';
import {
  DeleteSecretCommand,
  PutResourcePolicyCommand,
  PutSecretValueCommand,
  SecretsManagerClient,
  TagResourceCommand,
} from '@aws-sdk/client-secrets-manager';
import { beforeEach, describe, expect, test } from '@jest/globals';
import { type Deployment, type RolloutInput, timestamp } from '../../functions/domain/deployment.ts';
import { awsError } from './support/service-view.ts';
import { System } from './support/system.ts';

let system: System;
let arn: string;
let input: RolloutInput;
beforeEach(async () => {
  system = await System.create();
  arn = await system.acm.issue('web');
  input = await begun();
});

/** Registers, and gives the input of the rollout's first state. */
async function begun(body: Record<string, unknown> = {}): Promise<RolloutInput> {
  const answer = await system.register({ CertificateArn: arn, ...body });
  return system.inputOf(answer.body.ExecutionArn);
}

const run = (rollout = input) => system.function('export-certificate')(rollout);
const store = () => system.target().secretsManager;
/** The only bundle that there is. */
const bundle = () => {
  const [found, ...others] = system.target().secrets();
  expect(others).toEqual([]);
  return found;
};
const versionOf = ({ VersionId }: { VersionId: string }) => bundle()?.versions.get(VersionId);
const administrator = () => system.target().client(SecretsManagerClient);
/** What happens while a call of the function is under way, before it takes effect. */
const during = (operation: string, until: () => Promise<unknown>) =>
  system.cloud.faults.inject({ operation: `secretsmanager.${operation}`, kind: 'delay', until });
const operations = () => store().calls.map(({ operation }) => operation);

/** Ends the running rollout. */
async function end(): Promise<void> {
  const deployment = (await system.inventory.get(input.DeploymentId)) as Deployment;
  const result = { Outcome: 'INSTALLED', ExecutionArn: 'arn:x' } as const;
  await system.inventory.end(deployment, deployment.RolloutNumber, result);
}

/** Ends the running rollout and begins another one. */
async function again(body: Record<string, unknown> = {}): Promise<RolloutInput> {
  await end();
  return begun(body);
}

describe('a first export', () => {
  test('creates the bundle empty, locks it, and only then puts the value in', async () => {
    const stored = await run();
    expect(operations()).toEqual([
      'DescribeSecret',
      'CreateSecret',
      'PutResourcePolicy',
      'GetRandomPassword',
      'PutSecretValue',
    ]);
    const [created] = store().callsOf('CreateSecret');
    expect(created).toEqual({
      Name: `acm-export/web-prod/${input.DeploymentId}`,
      Description: expect.any(String),
      Tags: [
        { Key: 'acm-export', Value: 'web' },
        { Key: 'acm-export:deployment-id', Value: input.DeploymentId },
      ],
    });
    expect(store().callsOf('PutResourcePolicy')).toEqual([
      expect.objectContaining({ BlockPublicPolicy: true, SecretId: bundle()?.arn }),
    ]);
    expect(bundle()?.policy?.Statement).toEqual([
      expect.objectContaining({
        Effect: 'Deny',
        Principal: '*',
        Action: 'secretsmanager:GetSecretValue',
        Condition: { StringNotEquals: { 'aws:PrincipalTag/acm-export': 'web' } },
      }),
    ]);
    const value = JSON.parse(versionOf(stored)?.string as string);
    expect(Object.keys(value).sort()).toEqual(
      [
        'Certificate',
        'CertificateArn',
        'CertificateChain',
        'NotAfter',
        'Passphrase',
        'PrivateKey',
        'Serial',
      ].sort(),
    );
    expect(value).toMatchObject({
      Serial: system.acm.serialOf(arn),
      CertificateArn: arn,
      NotAfter: stored.NotAfter,
    });
    expect(value.Passphrase).toMatch(/^[A-Za-z0-9]{64}$/);
  });

  test('hands on references only', async () => {
    // Closed: the history of the execution has what a function returns, before ResultSelector takes its part of it.
    expect(await run()).toStrictEqual({
      SecretArn: bundle()?.arn,
      VersionId: expect.stringMatching(/^[0-9a-f]{64}$/),
      Serial: system.acm.serialOf(arn),
      NotBefore: timestamp(system.acm.held(arn).versions.at(-1)?.notBefore as Date),
      NotAfter: expect.stringMatching(/^2027-.*Z$/),
    });
  });

  test('asks ACM for a passphrase that it takes, and for another one each time', async () => {
    await run();
    expect(store().callsOf('GetRandomPassword')).toEqual([{ PasswordLength: 64, ExcludePunctuation: true }]);
  });

  test('of a certificate that ACM renews between describing and exporting stores what was exported', async () => {
    system.acm.beforeExport(() => system.acm.renew(arn));
    const stored = await run();
    const [, renewed] = system.acm.held(arn).versions;
    expect(stored.Serial).toBe(system.acm.serialOf(arn));
    const value = JSON.parse(versionOf(stored)?.string as string);
    expect(value).toMatchObject({ Serial: stored.Serial, Certificate: renewed?.certificatePem });
    // The same rollout again finds it under the serial that ACM shows by then.
    const repeated = await run();
    expect(repeated).toEqual(stored);
    expect(system.acm.callsOf('ExportCertificate')).toHaveLength(1);
  });
});

test('a version that ACM does not show yet is waited for: the old one is not taken for it', async () => {
  await system.runAll();
  system.advance({ days: 1 });
  const serial = await system.acm.renew(arn);
  await system.renewal(arn);
  const [execution] = system.sfn.running();
  const { versions } = system.acm.held(arn);
  const newest = versions.pop() as (typeof versions)[number];
  await expect(run(system.inputOf(execution?.arn as string))).rejects.toThrow(
    expect.objectContaining({
      name: 'RetryLater',
      message: expect.stringContaining('shows an older version'),
    }),
  );
  versions.push(newest);
  await system.runAll();
  expect((await system.inventory.get(input.DeploymentId))?.Observed?.Serial).toBe(serial);
});

describe('a version that is stored already', () => {
  test('is not exported again, by no retry and no later rollout', async () => {
    const stored = await run();
    expect(await run()).toEqual(stored);
    const later = await run(await again());
    expect(later).toEqual(stored);
    expect(system.acm.callsOf('ExportCertificate')).toHaveLength(1);
    expect(store().callsOf('PutSecretValue')).toHaveLength(1);
    expect(store().callsOf('UpdateSecretVersionStage')).toEqual([]);
  });

  test('but is not the current one is made so again: back to a certificate from before', async () => {
    const first = await run();
    const second = await run(await again({ CertificateArn: await system.acm.issue('other') }));
    expect(versionOf(second)?.stages).toContain('AWSCURRENT');
    expect(await run(await again())).toEqual(first);
    expect(versionOf(first)?.stages).toContain('AWSCURRENT');
    expect(system.acm.callsOf('ExportCertificate')).toHaveLength(2);
  });

  test('but lost its label, two versions later, is found by storing it again: its first value stays', async () => {
    const first = await run();
    for (const id of ['second', 'third']) {
      await run(await again({ CertificateArn: await system.acm.issue(id) }));
    }
    const before = versionOf(first)?.string;
    expect(await run(await again())).toEqual(first);
    expect(versionOf(first)?.string).toBe(before);
    expect(versionOf(first)?.stages).toContain('AWSCURRENT');
  });

  test('by another attempt that was faster counts as stored: only the label moves', async () => {
    let faster: Awaited<ReturnType<typeof run>> | undefined;
    let value: string | undefined;
    during('PutSecretValue', async () => {
      faster = await run();
      value = versionOf(faster)?.string;
      const other = { SecretId: faster.SecretArn, SecretString: '{}' };
      await administrator().send(new PutSecretValueCommand(other));
    });
    const slower = await run();
    expect(slower).toEqual(faster);
    expect(versionOf(slower)?.stages).toContain('AWSCURRENT');
    expect(versionOf(slower)?.string).toBe(value);
  });
});

test('a version without formats has the id that the editions before gave it', async () => {
  const id = createHash('sha256')
    .update(`${arn}\0${system.acm.serialOf(arn)}`)
    .digest('hex');
  expect((await run()).VersionId).toBe(id);
});

describe('a bundle with PKCS#12', () => {
  const READER = 'arn:aws:iam::444455556666:role/ecs-execution';
  const asSecret = { Delivery: 'secret', ReaderRoleArns: [READER] };
  const asked = { ...asSecret, BundleFormats: ['pkcs12'] };
  const storedIn = (stored: { VersionId: string }) => JSON.parse(versionOf(stored)?.string as string);

  test('has it beside what every bundle has, in base64 without line ends', async () => {
    const plain = await run(await again(asSecret));
    const stored = await run(await again(asked));
    const { Pkcs12, ...others } = storedIn(stored);
    expect(Object.keys(others)).toEqual(Object.keys(storedIn(plain)));
    expect(Pkcs12).toMatch(/^MI[A-Za-z0-9+/]{2000,}={0,2}$/);
    const body = /-----BEGIN ENCRYPTED PRIVATE KEY-----([^-]+)-----END/.exec(others.PrivateKey)?.[1];
    expect(Buffer.from(Pkcs12, 'base64').includes(Buffer.from(body as string, 'base64'))).toBe(true);
  });

  test('is a version of its own, exported once, and the one without it is so again without an export', async () => {
    const plain = await run(await again(asSecret));
    const rollout = await again(asked);
    const stored = await run(rollout);
    expect(stored).toEqual({ ...plain, VersionId: expect.not.stringContaining(plain.VersionId) });
    expect(await run(rollout)).toEqual(stored);
    expect(await run(await again(asked))).toEqual(stored);
    expect(system.acm.callsOf('ExportCertificate')).toHaveLength(2);
    expect(versionOf(stored)?.stages).toContain('AWSCURRENT');
    expect(await run(await again({ BundleFormats: null }))).toEqual(plain);
    expect(versionOf(plain)?.stages).toContain('AWSCURRENT');
    expect(system.acm.callsOf('ExportCertificate')).toHaveLength(2);
    expect(storedIn(plain)).not.toHaveProperty('Pkcs12');
  });

  test('is what the order said when its rollout began', async () => {
    const rollout = await again(asked);
    const { CertificateArn, TargetTagKey, TargetTagValue } = await system.deployment(input.DeploymentId);
    await system.register({ CertificateArn, TargetTagKey, TargetTagValue, BundleFormats: null });
    expect(storedIn(await run(rollout))).toHaveProperty('Pkcs12');
  });

  test('of the most and longest names that still fit is stored whole', async () => {
    const names = Array.from({ length: 100 }, (_, index) => `${index}.${'a'.repeat(60)}.example.com`);
    const fits = await system.acm.issue('large', { names, keyAlgorithm: 'RSA_2048' });
    const value = versionOf(await run(await again({ ...asked, CertificateArn: fits })))?.string ?? '';
    expect(JSON.parse(value).Pkcs12.length).toBeGreaterThan(13_000);
    expect(value.length).toBeLessThan(65_536);
  });

  test('that is larger than a secret ends the rollout by name, and what is stored stays', async () => {
    const plain = await run(await again(asSecret));
    // ACM's model has no certificate above 32,768 characters.
    const label = 'a'.repeat(54);
    const names = Array.from(
      { length: 100 },
      (_, index) => `${100 + index}.${label}.${label}.${label}.${label}.com`,
    );
    const large = await system.acm.issue('large', { names, keyAlgorithm: 'RSA_2048' });
    const rollout = await again({ ...asked, CertificateArn: large });
    store().forgetCalls();
    await expect(run(rollout)).rejects.toMatchObject({
      name: 'BundleNotStorable',
      message: expect.stringMatching(
        /^The bundle of arn:\S+\/large has \d{5} bytes, and Secrets Manager stores 65536\. POST the deployment with BundleFormats null/,
      ),
    });
    expect(store().callsOf('PutSecretValue')).toEqual([]);
    expect(versionOf(plain)?.stages).toContain('AWSCURRENT');
    expect((await run(await again({ CertificateArn: large, BundleFormats: null }))).Serial).toBe(
      system.acm.serialOf(large),
    );
  });
});

describe('a bundle that was changed by hand', () => {
  test('gets its tags and policy back before anything else', async () => {
    const { SecretArn: SecretId } = await run();
    const policy = bundle()?.policy;
    const Tags = [{ Key: 'acm-export', Value: 'mail' }];
    await administrator().send(new TagResourceCommand({ SecretId, Tags }));
    const other = { Effect: 'Deny', Principal: '*', Action: 'secretsmanager:DeleteSecret', Resource: '*' };
    const ResourcePolicy = JSON.stringify({ Version: '2012-10-17', Statement: [other] });
    await administrator().send(new PutResourcePolicyCommand({ SecretId, ResourcePolicy }));
    store().forgetCalls();
    await run(await again());
    expect(operations()).toEqual(['DescribeSecret', 'TagResource', 'PutResourcePolicy']);
    expect(bundle()?.tags).toEqual({ 'acm-export': 'web', 'acm-export:deployment-id': input.DeploymentId });
    expect(bundle()?.policy).toEqual(policy);
  });

  test('and scheduled for deletion is restored after a POST only', async () => {
    const { SecretArn: SecretId } = await run();
    const rollout = await again();
    await administrator().send(new DeleteSecretCommand({ SecretId }));
    await run(rollout);
    expect(bundle()?.deletionDate).toBeUndefined();
    await end();
    await administrator().send(new DeleteSecretCommand({ SecretId }));
    const answer = await system.rollouts(input.DeploymentId);
    const next: RolloutInput = system.inputOf(answer.body.ExecutionArn);
    await expect(run(next)).rejects.toMatchObject({
      name: 'BundleScheduledForDeletion',
      message: expect.stringContaining('POST the deployment again to restore it'),
    });
    expect(bundle()?.deletionDate).toBeDefined();
  });
});

test.each([
  ['before', 'DescribeSecret'],
  ['before', 'CreateSecret'],
  ['after', 'CreateSecret'],
  ['before', 'PutResourcePolicy'],
  ['after', 'PutResourcePolicy'],
  ['before', 'GetRandomPassword'],
  ['before', 'PutSecretValue'],
  ['after', 'PutSecretValue'],
] as const)(
  'a fault %s the effect of %s never leaves a value unlocked, and the retry completes it',
  async (when, operation) => {
    const error = awsError('InternalServiceError', '', 'server');
    store().failNext(operation, error, when);
    await expect(run()).rejects.toMatchObject({
      name: 'RetryLater',
      message: expect.stringContaining(when === 'before' ? error.name : 'TimeoutError'),
    });
    expect(bundle()?.versions.size ? bundle()?.policy : 'locked').toBeTruthy();
    const stored = await run();
    expect(bundle()?.versions.size).toBe(1);
    expect(JSON.stringify(bundle()?.policy)).toContain('DenyReadersWithoutTheTag');
    expect(versionOf(stored)?.stages).toContain('AWSCURRENT');
  },
);

test('a fault at the export itself leaves an empty, locked bundle, and is repeated', async () => {
  system.acm.failNext('ExportCertificate', awsError('ThrottlingException'));
  await expect(run()).rejects.toThrow('ThrottlingException');
  expect([bundle()?.versions.size, bundle()?.policy !== undefined]).toEqual([0, true]);
  await run();
  expect(bundle()?.versions.size).toBe(1);
});

test('a twin that creates the bundle at the same time is no fault', async () => {
  during('CreateSecret', () => run());
  await run();
  expect(store().callsOf('CreateSecret')).toHaveLength(2);
  expect(bundle()?.policy).toBeDefined();
  expect(bundle()?.versions.size).toBe(1);
});

describe('what the certificate or its owner no longer allows', () => {
  test.each([
    [
      'its tag',
      () => {
        system.acm.held(arn).tags = { CertName: 'mail' };
      },
      /does not allow the name web-prod/,
    ],
    [
      'its status',
      () => {
        system.acm.held(arn).status = 'REVOKED';
      },
      /status is REVOKED/,
    ],
    [
      'its being there',
      () => {
        system.acm.remove(arn);
      },
      /does not know .* any more/,
    ],
  ])(
    '(%s) ends the rollout by name, before anything is touched in the target account',
    async (_, change, message) => {
      system.sts.forgetCalls();
      change();
      await expect(run()).rejects.toMatchObject({
        name: 'CertificateNotDeployable',
        message: expect.stringMatching(message),
      });
      expect(system.sts.calls).toEqual([]);
    },
  );
});

describe('a deployment that is deleted meanwhile', () => {
  test.each(['being deleted', 'deleted'])('(%s) takes the bundle along that was just made', async (how) => {
    system.acm.beforeExport(async () => {
      const deployment = await system.mark('markDeleting', input.DeploymentId);
      if (how === 'deleted' && deployment) {
        await system.inventory.remove(deployment);
      }
    });
    await expect(run()).rejects.toMatchObject({ name: 'RolloutSuperseded' });
    expect(bundle()?.deletionDate).toBeDefined();
  });

  test('and replaced by a newer rollout keeps it', async () => {
    system.acm.beforeExport(() => again());
    await run();
    expect((await system.deployment(input.DeploymentId)).Rollouts).toBe(2);
    expect(bundle()?.deletionDate).toBeUndefined();
  });
});

test('no session may read a value, and each is for one bundle', async () => {
  await run();
  const [{ Policy, RoleArn, RoleSessionName }] = system.sts.callsOf('AssumeRole').slice(-1) as [
    Record<string, string>,
  ];
  expect(RoleArn).toBe('arn:aws:iam::444455556666:role/acm-export-bundle-writer-eu-central-1');
  expect(RoleSessionName).toBe(`export-certificate-${input.DeploymentId}`);
  expect(Policy).not.toContain('GetSecretValue');
  const { Statement } = JSON.parse(Policy as string);
  expect(Statement[0].Resource).toBe(
    `arn:aws:secretsmanager:eu-central-1:444455556666:secret:acm-export/web-prod/${input.DeploymentId}*`,
  );
  expect(Statement.slice(1)).toEqual([
    { Effect: 'Allow', Action: ['secretsmanager:GetRandomPassword'], Resource: '*' },
  ]);
});
