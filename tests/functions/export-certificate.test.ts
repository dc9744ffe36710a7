import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { exportCertificate } from '../../functions/export-certificate/export-certificate.ts';
import type { RolloutInput } from '../../functions/shared/deployment.ts';
import { awsError } from './support/fake-service.ts';
import { type Database, startDatabase } from './support/inventory-table.ts';
import { System } from './support/system.ts';

let database: Database;
let system: System;
let arn: string;
let input: RolloutInput;
beforeAll(async () => {
  database = await startDatabase();
});
afterAll(() => database.stop());
beforeEach(async () => {
  system = new System(database, await database.createTable());
  arn = await system.acm.issue('web');
  input = await claimed();
});

/** Registers, and gives the input of the rollout's first state. */
async function claimed(body: Record<string, unknown> = {}): Promise<RolloutInput> {
  const answer = await system.register({ CertificateArn: arn, ...body });
  const execution = system.sfn.executions.get(answer.body.ExecutionArn);
  return JSON.parse(execution?.input as string) as RolloutInput;
}

const run = (rollout = input) => exportCertificate(rollout, system.deps({}, 'export-certificate'));
const store = () => system.target().secretsManager;
const bundle = () => [...store().secrets.values()][0];
const operations = () => store().calls.map(({ operation }) => operation);

/** Ends the claimed rollout and claims another one. */
async function again(body: Record<string, unknown> = {}): Promise<RolloutInput> {
  const deployment = await system.deployment(input.DeploymentId);
  await system.inventory.finish(deployment, deployment.RolloutNumber, {
    Status: 'INSTALLED',
    ExecutionArn: 'arn:x',
  });
  return claimed(body);
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
      expect.objectContaining({ BlockPublicPolicy: true, SecretId: bundle()?.ARN }),
    ]);
    expect(JSON.parse(bundle()?.policy as string).Statement).toEqual([
      expect.objectContaining({
        Effect: 'Deny',
        Principal: '*',
        Action: 'secretsmanager:GetSecretValue',
        Condition: { StringNotEquals: { 'aws:PrincipalTag/acm-export': 'web' } },
      }),
    ]);
    const value = JSON.parse(bundle()?.versions.get(stored.VersionId) as string);
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
    const stored = await run();
    expect(stored).toEqual({
      SecretArn: bundle()?.ARN,
      VersionId: expect.stringMatching(/^[0-9a-f]{64}$/),
      Serial: system.acm.serialOf(arn),
      NotAfter: expect.stringMatching(/^2027-.*Z$/),
    });
  });

  test('asks ACM for a passphrase that it takes, and for another one each time', async () => {
    await run();
    expect(store().callsOf('GetRandomPassword')).toEqual([{ PasswordLength: 64, ExcludePunctuation: true }]);
  });

  test('of a certificate that ACM renews between describing and exporting stores what was exported', async () => {
    const before = system.acm.serialOf(arn);
    await system.acm.renew(arn);
    const renewed = system.acm.held(arn).version;
    const old = { ...renewed, serial: before };
    system.acm.held(arn).version = old;
    system.acm.beforeExport = () => {
      system.acm.held(arn).version = renewed;
    };
    const stored = await run();
    expect(stored.Serial).toBe(renewed.serial);
    const value = JSON.parse(bundle()?.versions.get(stored.VersionId) as string);
    expect(value).toMatchObject({ Serial: renewed.serial, Certificate: renewed.pem });
    // The same rollout again finds it under the serial that ACM shows by then.
    const repeated = await run();
    expect(repeated).toEqual(stored);
    expect(system.acm.callsOf('ExportCertificate')).toHaveLength(1);
  });
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
    expect(bundle()?.stages.get('AWSCURRENT')).toBe(second.VersionId);
    expect(await run(await again())).toEqual(first);
    expect(bundle()?.stages.get('AWSCURRENT')).toBe(first.VersionId);
    expect(system.acm.callsOf('ExportCertificate')).toHaveLength(2);
  });

  test('but lost its label, two versions later, is found by storing it again: its first value stays', async () => {
    const first = await run();
    for (const id of ['second', 'third']) {
      await run(await again({ CertificateArn: await system.acm.issue(id) }));
    }
    const before = bundle()?.versions.get(first.VersionId);
    expect(await run(await again())).toEqual(first);
    expect(bundle()?.versions.get(first.VersionId)).toBe(before);
    expect(bundle()?.stages.get('AWSCURRENT')).toBe(first.VersionId);
  });

  test('by another attempt that was faster counts as stored: only the label moves', async () => {
    const faster = await run();
    bundle()?.stages.set('AWSCURRENT', 'somebody-elses');
    bundle()?.versions.set('somebody-elses', '{}');
    const describe = store().DescribeSecret.bind(store());
    let first = true;
    // This attempt looked before the other one had stored.
    store().DescribeSecret = (secret) => {
      const { VersionIdsToStages, ...rest } = describe(secret);
      const answer = first ? { ...rest, VersionIdsToStages: {} } : { ...rest, VersionIdsToStages };
      first = false;
      return answer;
    };
    expect(await run()).toEqual(faster);
    expect(bundle()?.stages.get('AWSCURRENT')).toBe(faster.VersionId);
    const kept = JSON.parse(bundle()?.versions.get(faster.VersionId) as string);
    expect(kept.PrivateKey).toContain('1th');
  });
});

describe('a bundle that somebody touched', () => {
  test('gets its tags and policy back before anything else', async () => {
    await run();
    Object.assign(bundle() as object, { Tags: [{ Key: 'acm-export', Value: 'mail' }], policy: undefined });
    store().calls.length = 0;
    await run(await again());
    expect(operations()).toEqual(['DescribeSecret', 'TagResource', 'PutResourcePolicy']);
    expect(bundle()?.Tags).toEqual([
      { Key: 'acm-export', Value: 'web' },
      { Key: 'acm-export:deployment-id', Value: input.DeploymentId },
    ]);
    expect(bundle()?.policy).toBeDefined();
  });

  test('and scheduled for deletion is restored after a POST only', async () => {
    await run();
    const rollout = await again();
    Object.assign(bundle() as object, { deleted: new Date(0) });
    await run(rollout);
    expect(bundle()?.deleted).toBeUndefined();
    const deployment = await system.deployment(input.DeploymentId);
    await system.inventory.finish(deployment, deployment.RolloutNumber, {
      Status: 'INSTALLED',
      ExecutionArn: 'arn:x',
    });
    Object.assign(bundle() as object, { deleted: new Date(0) });
    const answer = await system.rollouts(input.DeploymentId);
    const next = JSON.parse(system.sfn.executions.get(answer.body.ExecutionArn)?.input as string);
    await expect(run(next)).rejects.toMatchObject({
      name: 'BundleScheduledForDeletion',
      message: expect.stringContaining('POST the deployment again to restore it'),
    });
    expect(bundle()?.deleted).toBeDefined();
  });
});

test.each([
  'DescribeSecret',
  'CreateSecret',
  'PutResourcePolicy',
  'GetRandomPassword',
  'PutSecretValue',
] as const)(
  'a fault at %s, with or without effect, never leaves a value unlocked, and the retry completes it',
  async (operation) => {
    for (const when of ['before', 'after'] as const) {
      system = new System(database, await database.createTable());
      arn = await system.acm.issue('web');
      input = await claimed();
      store().failNext(operation, awsError('InternalServiceError', 'oh', 'server'), when);
      await expect(run()).rejects.toThrow('oh');
      expect(bundle()?.versions.size ? bundle()?.policy : 'locked').toBeTruthy();
      const stored = await run();
      expect(bundle()?.versions.size).toBe(1);
      expect(bundle()?.policy).toContain('DenyReadersWithoutTheTag');
      expect(bundle()?.stages.get('AWSCURRENT')).toBe(stored.VersionId);
      expect(store().secrets.size).toBe(1);
    }
  },
);

test('a fault at the export itself leaves an empty, locked bundle, and throttling keeps its name for the retry', async () => {
  system.acm.failNext('ExportCertificate', awsError('ThrottlingException'));
  await expect(run()).rejects.toMatchObject({ name: 'ThrottlingException' });
  expect([bundle()?.versions.size, bundle()?.policy !== undefined]).toEqual([0, true]);
  await run();
  expect(bundle()?.versions.size).toBe(1);
});

test('a twin that creates the bundle at the same time is no fault', async () => {
  const describe = store().DescribeSecret.bind(store());
  let asked = 0;
  store().DescribeSecret = (secret) => {
    asked += 1;
    if (asked === 1) {
      store().CreateSecret({ Name: secret.SecretId, Tags: [] });
      throw awsError('ResourceNotFoundException');
    }
    return describe(secret);
  };
  await run();
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
        system.acm.held(arn).detail.Status = 'REVOKED';
      },
      /status is REVOKED/,
    ],
    [
      'its being there',
      () => {
        system.acm.certificates.delete(arn);
      },
      /does not know .* any more/,
    ],
  ])(
    '(%s) ends the rollout by name, before anything is touched in the target account',
    async (_, change, message) => {
      system.sts.calls.length = 0;
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
    system.acm.beforeExport = () => {
      deleting = system.inventory.markDeleting(input.DeploymentId).then(async (deployment) => {
        await (how === 'deleted' && deployment ? system.inventory.remove(deployment) : undefined);
      });
    };
    let deleting: Promise<void> | undefined;
    const around = async <T>(call: () => Promise<T>): Promise<T> => {
      await deleting;
      return call();
    };
    await expect(exportCertificate(input, system.deps({ around }))).rejects.toMatchObject({
      name: 'RolloutSuperseded',
    });
    expect(bundle()?.deleted).toBeDefined();
  });

  test('and replaced by a newer rollout keeps it', async () => {
    system.acm.beforeExport = () => {
      renewing = again();
    };
    let renewing: Promise<unknown> | undefined;
    const around = async <T>(call: () => Promise<T>): Promise<T> => {
      await renewing;
      return call();
    };
    await exportCertificate(input, system.deps({ around }));
    expect(bundle()?.deleted).toBeUndefined();
  });
});

test('no session may read a value, and each is for one bundle', async () => {
  await run();
  const [{ Policy, RoleArn, RoleSessionName }] = system.sts.callsOf('AssumeRole').slice(-1) as [
    Record<string, string>,
  ];
  expect(RoleArn).toBe('arn:aws:iam::444455556666:role/acm-export-rollout-eu-central-1');
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
