import {
  GetSecretValueCommand,
  PutResourcePolicyCommand,
  SecretsManagerClient,
} from '@aws-sdk/client-secrets-manager';
import { beforeEach, describe, expect, test } from '@jest/globals';
import type { PolicyDocument } from 'local-cloud/iam';
import { awsError } from './support/service-view.ts';
import { CENTRAL, MEMBER, REGION, System } from './support/system.ts';

const READER = `arn:aws:iam::${MEMBER}:role/ecs-execution`;

let system: System;
let arn: string;
beforeEach(async () => {
  system = await System.create();
  arn = await system.acm.issue('web');
  system.addRole(READER);
});

/** The serial that a session of the role reads in the bundle, or why it reads none. */
async function read(id: string, roleArn: string, policy?: PolicyDocument): Promise<string> {
  const { identities } = system.cloud.services;
  const role = identities.role(roleArn) ?? system.addRole(roleArn);
  const session = { name: 'reads', seconds: 3600, source: 'test', ...(policy ? { policy } : {}) };
  const { credentials } = identities.openSession(role, session);
  const client = system.cloud.client(SecretsManagerClient, { region: REGION, credentials, maxAttempts: 1 });
  const SecretId = system
    .target()
    .secrets()
    .find(({ name }) => name.endsWith(id))?.arn;
  return client.send(new GetSecretValueCommand({ SecretId })).then(
    ({ SecretString = '{}' }) => JSON.parse(SecretString).Serial,
    (error: Error) => error.name,
  );
}

const register = (more: object = {}) =>
  system.register({ CertificateArn: arn, Delivery: 'secret', ReaderRoleArns: [READER], ...more });

/** Details of the events that consumers got, in order. */
const announced = () =>
  system
    .target()
    .events.callsOf('PutEvents')
    .flatMap(({ Entries }) => Entries.map((entry: { Detail: string }) => JSON.parse(entry.Detail)));

test('a bundle is stored and announced by references, and no node is looked for', async () => {
  const { status, body } = await register();
  expect([status, body.Warnings]).toEqual([202, []]);
  await system.runAll();
  const deployment = await system.deployment(body.DeploymentId);
  expect(deployment).toMatchObject({ Status: 'INSTALLED', Serial: body.Serial, Delivery: 'secret' });
  expect(announced()).toEqual([
    {
      DeploymentId: body.DeploymentId,
      CertName: 'web-prod',
      CertificateArn: arn,
      CorrelationId: 'request-1',
      SecretArn: expect.stringContaining(':secret:acm-export/web-prod/'),
      VersionId: deployment.VersionId,
      Serial: body.Serial,
      NotAfter: deployment.NotAfter,
    },
  ]);
  expect(system.target().ssm.calls).toEqual([]);
});

test('a renewal stores the new version and announces it; a healthy bundle is left alone', async () => {
  await register();
  await system.runAll();
  const serial = await system.acm.renew(arn);
  await system.renewal(arn);
  await system.runAll();
  expect(announced().map(({ Serial }) => Serial)).toEqual([expect.any(String), serial]);
  await system.reconcile('nodes');
  await system.reconcile('certificates');
  expect(announced()).toHaveLength(2);
  expect(system.target().ssm.calls).toEqual([]);
});

test('another format of the bundle alone is one export, one version and one event, and so is its end', async () => {
  const { body } = await register();
  await system.runAll();
  const [first] = announced();
  const exports = () => system.acm.callsOf('ExportCertificate').length;
  const changed = await system.register({ BundleFormats: ['pkcs12'] });
  expect([changed.status, changed.body.BundleFormats]).toEqual([202, ['pkcs12']]);
  await system.runAll();
  const { VersionId, Serial } = await system.deployment(body.DeploymentId);
  expect([exports(), Serial, announced().slice(1)]).toEqual([
    2,
    body.Serial,
    [{ ...first, VersionId, CorrelationId: expect.any(String) }],
  ]);
  expect(VersionId).not.toBe(first.VersionId);
  // What else is asked for leaves it as it is, and a renewal has it too.
  await system.register({ MaxErrors: '1' });
  await system.runAll();
  expect(await system.deployment(body.DeploymentId)).toMatchObject({ VersionId, BundleFormats: ['pkcs12'] });
  await system.acm.renew(arn);
  await system.renewal(arn);
  await system.runAll();
  const [secret] = system.target().secrets();
  const current = [...(secret?.versions.values() ?? [])].find(({ stages }) => stages.has('AWSCURRENT'));
  expect(JSON.parse(current?.string ?? '{}')).toHaveProperty('Pkcs12');
  expect([exports(), announced().length]).toEqual([3, 4]);
  expect((await system.register({ BundleFormats: null })).body).not.toHaveProperty('BundleFormats');
  await system.runAll();
  expect([exports(), announced().length]).toEqual([4, 5]);
  expect(await system.inventory.get(body.DeploymentId)).not.toHaveProperty('BundleFormats');
  await system.reconcile('nodes');
  await system.reconcile('certificates');
  expect([exports(), announced().length]).toEqual([4, 5]);
});

test.each([awsError('ThrottlingException'), awsError('InternalException', '', 'server')])(
  'an event that EventBridge does not take ($name) is sent again within the rollout, and tells nobody',
  async (error) => {
    system.target().events.failNext('PutEvents', error);
    const { body } = await register();
    await system.runAll();
    expect(system.messages()).toEqual([]);
    expect(await system.deployment(body.DeploymentId)).toMatchObject({
      Status: 'INSTALLED',
      Serial: body.Serial,
      Rollouts: 1,
    });
    expect(announced()).toHaveLength(2);
  },
);

test.each([
  ['ReaderRoleArns', 400, { ReaderRoleArns: undefined }],
  ['ReaderRoleArns.0', 400, { ReaderRoleArns: ['arn:aws:iam::444455556666:user/alice'] }],
  ['ReaderRoleArns', 400, { Delivery: 'nodes' }],
  ['DryRun', 400, { DryRun: true }],
  ['BundleFormats', 400, { Delivery: 'nodes', ReaderRoleArns: undefined, BundleFormats: ['pkcs12'] }],
  ['BundleFormats', 400, { BundleFormats: ['pkcs12', 'pkcs12'] }],
  ['BundleFormats.0', 400, { BundleFormats: ['jks'] }],
  ['ReaderRoleArns.0', 403, { ReaderRoleArns: ['arn:aws:iam::444455556666:role/administrator'] }],
  ['ReaderRoleArns.0', 403, { ReaderRoleArns: ['arn:aws:iam::111122223333:role/ecs-execution'] }],
  ['ReaderRoleArns.0', 403, { ReaderRoleArns: ['arn:aws-cn:iam::444455556666:role/ecs-execution'] }],
  // Almost the names that the stack allows: ecs-execution and team-*.
  ...[
    'ecs-execution-2',
    'ecs-executio',
    'my-ecs-execution',
    'ECS-execution',
    'my-team-a',
    'team',
    'Team-a',
    'team-a/x',
  ].map((name): [string, number, object] => [
    'ReaderRoleArns.0',
    403,
    { ReaderRoleArns: [`arn:aws:iam::${MEMBER}:role/${name}`] },
  ]),
])('%s is refused with %d for %j', async (field, status, more) => {
  const refused = await register(more);
  expect(refused.status).toBe(status);
  expect(refused.body.Faults.map(({ Field }: { Field: string }) => Field)).toEqual([field]);
  expect(system.sfn.executions.size).toBe(0);
});

test('a role that the stack allows by the beginning of its name may be named', async () => {
  expect(
    (await register({ ReaderRoleArns: ['arn:aws:iam::444455556666:role/apps/team-payments'] })).status,
  ).toBe(202);
});

test('moved to nodes, it forgets its readers, and a repeated request is the same one', async () => {
  const { body } = await register();
  await system.runAll();
  await system.target().addNode('i-00000001');
  const refused = await system.register({ Delivery: 'nodes' });
  expect([refused.status, refused.body.Faults]).toEqual([
    400,
    [
      {
        Field: 'ReaderRoleArns',
        Reason: expect.stringMatching(/nodes read by their tag\. .*null sets its default/),
      },
    ],
  ]);
  const moved = await system.register({ Delivery: null, ReaderRoleArns: null, VerifyPort: 443 });
  expect(await system.register({ CertificateArn: arn })).toMatchObject({ body: { Warnings: [] } });
  await system.runAll();
  const deployment = await system.deployment(body.DeploymentId);
  expect(deployment).toMatchObject({ Delivery: 'nodes', Status: 'INSTALLED', Rollouts: 2 });
  expect('ReaderRoleArns' in deployment).toBe(false);
  expect(moved.body.DeploymentId).toBe(body.DeploymentId);
});

test('is not tried out on nodes: a dry run announces nothing', async () => {
  await register();
  await system.runAll();
  expect(await system.register({ CertificateArn: arn, DryRun: true })).toMatchObject({ status: 409 });
  expect(announced()).toHaveLength(1);
});

test('the rules between its fields are all named at once', async () => {
  const fieldsOf = (answer: Awaited<ReturnType<typeof register>>) =>
    answer.body.Faults.map(({ Field }: { Field: string }) => Field).sort();
  const order = { Delivery: 'secret', DryRun: true, VerifyName: 'www.example.com' };
  expect(fieldsOf(await system.register(order))).toEqual([
    'CertificateArn',
    'DryRun',
    'ReaderRoleArns',
    'VerifyName',
  ]);
  expect(fieldsOf(await system.register({ CertificateArn: arn, ReaderRoleArns: [READER] }))).toEqual([
    'ReaderRoleArns',
  ]);
});

describe('readers', () => {
  const OTHER = `arn:aws:iam::${MEMBER}:role/apps/team-payments`;
  const both = { ReaderRoleArns: [READER, OTHER] };
  const DENIED = 'AccessDeniedException';
  const EVERYTHING: PolicyDocument = {
    Version: '2012-10-17',
    Statement: [{ Effect: 'Allow', Action: '*', Resource: '*' }],
  };
  const missing = (role: string) => expect.stringContaining(`The role ${role} does not exist. `);
  const remove = (role: string) => system.cloud.services.identities.deleteRole(role);

  /** Delivers to both readers; gives the deployment. */
  async function deliver(more: object = both): Promise<string> {
    const { body } = await register(more);
    await system.runAll();
    return body.DeploymentId;
  }

  /** ACM renews, the event arrives, all rollouts end. */
  async function renew(): Promise<string> {
    const serial = await system.acm.renew(arn);
    await system.renewal(arn);
    await system.runAll();
    return serial;
  }

  test('of two readers one is deleted, and ACM renews: the other gets the version, people are told of the one, once', async () => {
    system.addRole(OTHER);
    const id = await deliver();
    await system.reconcile('certificates');
    expect(system.messages()).toEqual([]);
    remove(OTHER);
    const serial = await renew();
    expect(await system.deployment(id)).toMatchObject({ Status: 'INSTALLED', Serial: serial });
    expect(await read(id, READER)).toBe(serial);
    for (let hour = 0; hour < 50; hour += 1) {
      await system.reconcile('certificates');
      system.advance({ hours: 1 });
    }
    expect(system.messages()).toEqual([
      { Subject: 'Reader of web-prod is missing: acm-export=web', Message: expect.stringContaining(OTHER) },
    ]);
    expect(system.messages()[0]?.Message).not.toContain(READER);
    expect(await system.deployment(id)).toMatchObject({ MissingReaderRoleArns: [OTHER] });
  });

  test('ten of the longest names fit into what the session of the call may hold', async () => {
    const roles = Array.from({ length: 10 }, (_, index) =>
      `${OTHER}-${index}`.padEnd(OTHER.length + 51, 'x'),
    );
    for (const role of roles.slice(1)) system.addRole(role);
    const { status, body } = await register({ ReaderRoleArns: roles });
    expect([status, body.Warnings]).toEqual([202, [missing(roles[0] as string)]]);
    await system.runAll();
    await system.reconcile('certificates');
    expect(await system.deployment(body.DeploymentId)).toMatchObject({ MissingReaderRoleArns: [roles[0]] });
  });

  test('one that is made again under its ARN reads at once, and people are told when it is gone anew', async () => {
    system.addRole(OTHER);
    const id = await deliver();
    remove(OTHER);
    await system.reconcile('certificates');
    system.addRole(OTHER);
    expect(await read(id, OTHER)).toMatch(/^[0-9a-f]+$/);
    await system.reconcile('certificates');
    expect(await system.deployment(id)).not.toHaveProperty('MissingReaderRoleArns');
    remove(OTHER);
    system.advance({ days: 1 });
    await system.reconcile('certificates');
    expect(system.messages()).toHaveLength(2);
  });

  test.each([
    ['was never made', undefined],
    ['is there under another path', `arn:aws:iam::${MEMBER}:role/team-payments`],
    ['is there in another account', `arn:aws:iam::${CENTRAL}:role/apps/team-payments`],
  ])('a POST warns of one that %s, and the others are served', async (_how, there) => {
    if (there) {
      system.addRole(there);
    }
    const { status, body } = await register(both);
    expect([status, body.Warnings]).toEqual([202, [missing(OTHER)]]);
    await system.runAll();
    expect(await read(body.DeploymentId, READER)).toBe(body.Serial);
    expect(system.messages()).toEqual([]);
  });

  test('what a request does not name is not told of any more, nor what is delivered to nodes', async () => {
    const id = await deliver();
    await system.reconcile('certificates');
    await register({ ReaderRoleArns: [READER] });
    await system.runAll();
    await system.reconcile('certificates');
    expect(await system.deployment(id)).not.toHaveProperty('MissingReaderRoleArns');
    await register(both);
    await system.runAll();
    await system.reconcile('certificates');
    expect(await system.deployment(id)).toMatchObject({ MissingReaderRoleArns: [OTHER] });
    await system.register({ Delivery: null, ReaderRoleArns: null, VerifyPort: 443 });
    expect(await system.deployment(id)).not.toHaveProperty('MissingReaderRoleArns');
  });

  test('a reader that a request takes out while it is looked for is not noted', async () => {
    const id = await deliver();
    let isFirst = true;
    system.before('iam.GetRole', async () => {
      if (isFirst) {
        isFirst = false;
        await register({ ReaderRoleArns: [READER] });
      }
    });
    expect(await system.reconcile('certificates')).toMatchObject({ Errors: 0 });
    expect(await system.deployment(id)).toMatchObject({ ReaderRoleArns: [READER] });
    expect(await system.deployment(id)).not.toHaveProperty('MissingReaderRoleArns');
  });

  test.each([
    [awsError('AccessDenied', 'not authorized to perform: iam:GetRole'), 1],
    [awsError('ServiceFailure', '', 'server'), 0],
  ])(
    'where the account does not tell (%s), nothing is said of roles, and what was said stands',
    async (error, Errors) => {
      const id = await deliver();
      await system.reconcile('certificates');
      expect(system.messages()).toHaveLength(1);
      system.target().iam.failNext('GetRole', error, 'before', 1000);
      expect((await register(both)).body.Warnings).toEqual([]);
      await system.runAll();
      expect(await system.reconcile('certificates')).toMatchObject({ Errors, Faults: 0 });
      expect(system.messages()).toHaveLength(1);
      expect(await system.deployment(id)).toMatchObject({ MissingReaderRoleArns: [OTHER] });
      system.advance({ hours: 1 });
      await system.reconcile('certificates');
      const denials = Errors ? ['Reconcile is denied iam:GetRole'] : [];
      expect(system.messages().map(({ Subject }) => Subject)).toEqual([expect.any(String), ...denials]);
    },
  );

  test('are named as principals where the check on public policies does not heed the condition', async () => {
    system.cloud.faults.inject({
      operation: 'secretsmanager.PutResourcePolicy',
      kind: 'refuse',
      error: awsError('PublicPolicyException'),
      when: ({ input }) => !(input as { ResourcePolicy: string }).ResourcePolicy.includes('"AWS"'),
    });
    const { body } = await register();
    await system.runAll();
    expect(await read(body.DeploymentId, READER)).toBe(body.Serial);
    expect(await read(body.DeploymentId, `arn:aws:iam::${MEMBER}:role/team-a`)).toBe('AccessDeniedException');
  });

  test('a message that is not sent is sent an hour later', async () => {
    const id = await deliver();
    system.sns.failNext('Publish', awsError('InternalError', '', 'server'), 'before', 1000);
    expect(await system.reconcile('certificates')).toMatchObject({ Errors: 1 });
    expect(await system.deployment(id)).not.toHaveProperty('MissingReaderRoleArns');
    system.cloud.faults.clear();
    system.advance({ hours: 1 });
    await system.reconcile('certificates');
    expect(system.messages()).toHaveLength(1);
  });

  test('a session of a reader reads, also one that its policy would not let', async () => {
    const id = await deliver();
    const serial = await read(id, READER);
    expect(serial).toMatch(/^[0-9a-f]+$/);
    const statement = { Action: 'secretsmanager:GetSecretValue', Resource: '*' };
    const narrowed = {
      Version: '2012-10-17',
      Statement: [{ ...statement, Effect: 'Allow', Action: 's3:GetObject' }],
    };
    expect(await read(id, READER, narrowed as PolicyDocument)).toBe(serial);
    const denied = { Version: '2012-10-17', Statement: [{ ...statement, Effect: 'Deny' }] };
    expect(await read(id, READER, denied as PolicyDocument)).toBe(DENIED);
  });

  test.each([
    ['another role of the account', `arn:aws:iam::${MEMBER}:role/administrator`],
    ['a role whose name begins so', `arn:aws:iam::${MEMBER}:role/ecs-execution-2`],
    ['a role whose name ends so', `arn:aws:iam::${MEMBER}:role/my-ecs-execution`],
    ['a role of that name under a path', `arn:aws:iam::${MEMBER}:role/apps/ecs-execution`],
    ['a role of that name in other letters', `arn:aws:iam::${MEMBER}:role/ECS-execution`],
    ['a role of that name in another account', `arn:aws:iam::${CENTRAL}:role/ecs-execution`],
  ])('%s does not read, whatever its policies allow', async (_who, intruder) => {
    const id = await deliver();
    system.addRole(intruder, [EVERYTHING]);
    expect(await read(id, intruder)).toBe(DENIED);
  });

  test('a bundle whose policy names roles, as the edition before wrote it, stays open, and a rollout writes it anew', async () => {
    system.addRole(OTHER);
    const id = await deliver();
    const [secret] = system.target().secrets();
    const named = both.ReaderRoleArns;
    const ResourcePolicy = JSON.stringify({
      Version: '2012-10-17',
      Statement: [
        {
          Sid: 'DenyOtherReaders',
          Effect: 'Deny',
          Principal: '*',
          Action: 'secretsmanager:GetSecretValue',
          Resource: '*',
          Condition: { ArnNotEquals: { 'aws:PrincipalArn': named } },
        },
        {
          Sid: 'AllowReaders',
          Effect: 'Allow',
          Principal: { AWS: named },
          Action: ['secretsmanager:GetSecretValue', 'secretsmanager:DescribeSecret'],
          Resource: '*',
        },
      ],
    });
    await system
      .target()
      .client(SecretsManagerClient)
      .send(new PutResourcePolicyCommand({ SecretId: secret?.arn, ResourcePolicy, BlockPublicPolicy: true }));
    remove(OTHER);
    expect(await read(id, READER)).toBe((await system.deployment(id)).Serial);
    const serial = await renew();
    expect(await read(id, READER)).toBe(serial);
    expect(JSON.stringify(secret?.policy)).not.toContain('"Principal":{');
    system.addRole(OTHER);
    expect(await read(id, OTHER)).toBe(serial);
  });
});
