import { beforeEach, describe, expect, test } from '@jest/globals';
import { awsError } from './support/service-view.ts';
import { MEMBER, REGION, System } from './support/system.ts';

// What a deployment says, and what people are told, where the owner of the target account does not allow it.

let system: System;
let arn: string;
beforeEach(async () => {
  system = await System.create();
  arn = await system.acm.issue('web');
  await system.target().addNode('i-00000001');
});

/** The owner sets the lists of the member stack; what is left out allows all. */
const allow = (lists: { AllowedCertNames?: string; AllowedServices?: string }) => system.updateMember(lists);

/** Registers and runs a rollout to its end; how the deployment is then. */
async function deliver(order: object = {}, certName = 'web-prod') {
  const { status, body } = await system.register({ CertificateArn: arn, ...order }, {}, certName);
  expect(status).toBe(202);
  await system.runAll();
  return system.deployment(body.DeploymentId);
}

const automations = () => system.target().automations();
const exported = () => system.acm.callsOf('ExportCertificate');
const PLACE = `account ${MEMBER}, Region ${REGION}`;

/** Time passes, with a sweep every five minutes. */
async function pass(minutes: number): Promise<void> {
  for (let passed = 0; passed < minutes; passed += 5) {
    system.advance({ minutes: 5 });
    await system.reconcile('certificates');
    await system.reconcile('nodes');
    await system.runAll();
  }
}

describe('a name that the owner does not allow', () => {
  beforeEach(() => allow({ AllowedCertNames: 'api-*,web-prod2' }));

  test('fails before the certificate is exported, and says whose rule that is', async () => {
    const deployment = await deliver();
    expect(deployment).toMatchObject({
      Status: 'FAILED',
      Failures: 1,
      Reason:
        'The owner of the target account does not allow the delivery: see LastError. It is tried again every 15 minutes, in case that changes.',
      NextAttemptAt: '2026-11-24T10:45:00Z',
    });
    expect(deployment.LastError).toMatch(
      new RegExp(
        `^NotAllowedByOwner: The member stack of ${PLACE} allows only the certificate names of its parameter AllowedCertNames, and web-prod is none of them\\. .* AWS says: .*secretsmanager:CreateSecret.*OnlyAllowedCertNames`,
      ),
    );
    expect([exported(), automations(), system.target().secrets()]).toEqual([[], [], []]);
  });

  test('is told to operators: what, where, since when, and who can change it', async () => {
    await deliver();
    const [message, ...more] = system.messages();
    expect(more).toEqual([]);
    expect(message?.Subject).toBe('Rollout of web-prod FAILED: acm-export=web');
    const [what, where, since, todo] = message?.Message.split('\n').filter(Boolean) ?? [];
    expect(what).toContain(`The member stack of ${PLACE} allows only the certificate names`);
    expect(where).toContain(`account ${MEMBER}, Region ${REGION}, servers tagged acm-export=web`);
    expect(since).toContain('2026-11-24T10:30:00Z');
    expect(todo).toMatch(
      /Ask the owner .* AllowedCertNames .* an administrator of the StackSet .*The system tries again by itself/,
    );
  });

  test('is tried again every 15 minutes, told once, and delivered once the owner allows it', async () => {
    const { DeploymentId } = await deliver();
    await pass(60);
    const failed = await system.deployment(DeploymentId);
    expect(failed.Status).toBe('FAILED');
    expect(failed.Failures).toBeGreaterThan(2);
    expect(failed.Failures).toBeLessThanOrEqual(5);
    expect(failed.FailingSince).toBe('2026-11-24T10:30:00Z');
    expect(system.messages()).toHaveLength(1);
    expect(exported()).toEqual([]);
    allow({ AllowedCertNames: 'api-*,web-prod' });
    await pass(20);
    expect(await system.deployment(DeploymentId)).toMatchObject({ Status: 'INSTALLED', Failures: 0 });
  });

  test('is refused where the bundle is only delivered as a secret, too', async () => {
    const reader = `arn:aws:iam::${MEMBER}:role/ecs-execution`;
    system.addRole(reader);
    const secret = { Delivery: 'secret', ReaderRoleArns: [reader] };
    expect((await deliver(secret)).LastError).toMatch(/^NotAllowedByOwner: .*AllowedCertNames/);
    expect(await deliver(secret, 'api-1')).toMatchObject({ Status: 'INSTALLED' });
  });

  test('is the result of a dry run, which nobody is told of', async () => {
    const deployment = await deliver({ DryRun: true });
    expect(deployment).toMatchObject({
      Status: 'TRIED',
      LastTrial: { Status: 'FAILED', Error: expect.stringMatching(/^NotAllowedByOwner: /) },
    });
    expect(system.messages()).toEqual([]);
  });

  test('of several deployments is tried again in slots, as no person waits for it', async () => {
    for (const TargetTagValue of ['one', 'two', 'three']) await deliver({ TargetTagValue });
    system.advance({ minutes: 15 });
    await system.reconcile('certificates');
    const delays = system.sfn.running().map(({ input }) => JSON.parse(input).StartDelaySeconds);
    expect(delays).toHaveLength(3);
    expect(new Set(delays).size).toBe(3);
  });

  test('leaves the names beside it alone', async () => {
    for (const name of ['api-1', 'web-prod2']) {
      expect(await deliver({ TargetTagValue: 'web' }, name)).toMatchObject({ Status: 'INSTALLED' });
    }
  });
});

test('a name that the owner takes back goes on being served, is not renewed there, and can be removed', async () => {
  const { DeploymentId, Serial } = await deliver();
  allow({ AllowedCertNames: 'api' });
  await system.acm.renew(arn);
  await system.renewal(arn);
  const before = exported().length;
  await system.runAll();
  expect(await system.deployment(DeploymentId)).toMatchObject({
    Status: 'FAILED',
    Serial,
    LastError: expect.stringMatching(/^NotAllowedByOwner: .*secretsmanager:PutResourcePolicy/),
  });
  expect(exported()).toHaveLength(before);
  expect(system.target().nodes[0]?.installed?.VersionId).toBe(
    (await system.inventory.nodes.all(DeploymentId))[0]?.VersionId,
  );
  expect(await system.remove(DeploymentId)).toMatchObject({ status: 200 });
  expect(system.target().secrets()).toMatchObject([{ deletedAt: expect.anything() }]);
});

describe('a service that the owner does not allow', () => {
  beforeEach(() => allow({ AllowedServices: 'nginx,postgresql@*' }));

  test.each([
    ['beside one that is allowed', { ReloadServices: ['nginx', 'sshd'] }, 'nginx, sshd'],
    ['to restart', { RestartServices: ['firewalld'] }, 'firewalld'],
    ['with a suffix', { ReloadServices: ['nginx.service'] }, 'nginx.service'],
    ['in other letters', { ReloadServices: ['Nginx'] }, 'Nginx'],
  ])('%s: nothing is started, and it says whose rule that may be', async (_, order, services) => {
    const deployment = await deliver(order);
    expect(deployment).toMatchObject({
      Status: 'FAILED',
      Reason: expect.stringContaining('does not allow the delivery'),
    });
    expect(deployment.LastError).toContain(
      `NotAllowedByOwner: The member stack of ${PLACE} does not seem to allow the certificate name web-prod (its parameter AllowedCertNames), or not the services ${services} (AllowedServices). If it allows them, it is older than this stack`,
    );
    expect(automations()).toEqual([]);
    expect(system.messages()).toMatchObject([
      { Message: expect.stringMatching(/AllowedServices of the member stack there say what is allowed/) },
    ]);
  });

  test('is delivered without it: a POST with other services is enough', async () => {
    const { DeploymentId } = await deliver({ ReloadServices: ['sshd'] });
    expect(await deliver({ ReloadServices: ['nginx', 'postgresql@14-main'] })).toMatchObject({
      DeploymentId,
      Status: 'INSTALLED',
    });
  });
});

describe('whatever words AWS has for it', () => {
  const refuse = (message: string) =>
    system
      .target()
      .ssm.failNext(
        'StartAutomationExecution',
        awsError('InvalidAutomationExecutionParametersException', message),
      );

  test.each([
    [
      'of no parameter',
      'The supplied parameters for invoking the specified Automation document are incorrect.',
    ],
    [
      'of a parameter that a list limits',
      'Parameter "ReloadServices" has value "nginx" which is not permitted.',
    ],
    ['of several parameters', 'Parameters [VerifyName, CertName] are invalid.'],
  ])('a refusal that speaks %s may be the owner, or the age of the stack', async (_, words) => {
    refuse(words);
    const { LastError } = await deliver({
      ReloadServices: ['nginx'],
      VerifyPort: 443,
      VerifyName: 'a.example.com',
    });
    expect(LastError).toMatch(
      /^NotAllowedByOwner: .*does not seem to allow the certificate name web-prod.*or not the services nginx .*older than this stack/,
    );
    expect(LastError).toContain(`AWS says: ${words}`);
  });

  test('a refusal that speaks of a parameter which no list limits is the age of the stack', async () => {
    refuse('Unknown parameter VerifyName');
    const { LastError } = await deliver({ VerifyPort: 443, VerifyName: 'a.example.com' });
    expect(LastError).toMatch(
      /^TargetNotPrepared: .*is older than this stack: .*Update member-account\.yaml there/,
    );
  });

  test.each([
    [
      'does not say which policy denies',
      'User is not authorized to perform: secretsmanager:CreateSecret on resource: x',
    ],
    [
      'names a policy of the organisation',
      'User is not authorized to perform: secretsmanager:CreateSecret on resource: x with an explicit deny in a service control policy',
    ],
    [
      'is of another call',
      'User is not authorized to perform: secretsmanager:DescribeSecret on resource: x with an explicit deny in an identity-based policy',
    ],
  ])(
    'a denial that %s is told as any other, and names the list among what to look at',
    async (_, message) => {
      system
        .target()
        .secretsManager.failNext(
          'CreateSecret',
          { name: 'AccessDeniedException', message, status: 400 },
          'before',
          20,
        );
      const { LastError } = await deliver();
      expect(LastError).toMatch(/^TargetAccessDenied: .*AllowedCertNames allows the name\. AWS says: /);
    },
  );
});
