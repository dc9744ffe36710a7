import { ScanCommand } from '@aws-sdk/lib-dynamodb';
import { beforeEach, describe, expect, test } from '@jest/globals';
import { awsError } from './support/service-view.ts';
import { type ApiAnswer, CENTRAL, MEMBER, System } from './support/system.ts';

let system: System;
let arn: string;
beforeEach(async () => {
  system = await System.create();
  arn = await system.acm.issue('web');
  await system.target().addNode('i-00000001');
});

const collection = '/certificates/{CertName}/deployments';
const one = `${collection}/{DeploymentId}`;

async function everything() {
  const { Items } = await system.client.send(new ScanCommand({ TableName: system.table }));
  const executions = [...system.sfn.executions.values()].map(({ arn, status }) => [arn, status]);
  return structuredClone({ Items, secrets: system.target().secrets(), executions });
}

/** Sends a request that must be refused, and holds that it changed and started nothing. */
async function refused(send: () => Promise<ApiAnswer>): Promise<ApiAnswer> {
  const before = await everything();
  const answer = await send();
  expect(answer.status).toBeGreaterThanOrEqual(400);
  expect(answer.status).toBeLessThan(500);
  expect(answer.body.Message).toMatch(/^[A-Z].{15}/);
  expect(answer.body.CorrelationId).toBe('request-1');
  expect(await everything()).toEqual(before);
  expect(system.sfn.callsOf('StartExecution')).toHaveLength(before.executions.length);
  return answer;
}

const fieldsOf = (answer: ApiAnswer): string[] =>
  [...new Set<string>((answer.body.Faults ?? []).map((fault: { Field: string }) => fault.Field))].sort();

describe('a body that is wrong gets 400', () => {
  test.each([
    ['CertificateArn', 'arn:aws:iam::111122223333:role/x'],
    ['CertificateArn', 17],
    ['CertificateArn', undefined],
    ['CertificateArn', `arn:aws:acm:eu-central-1:111122223333:certificate/${'a'.repeat(65)}`],
    ['TargetTagKey', 'aws:cloudformation:stack-name'],
    ['TargetTagKey', 'AWS:x'],
    ['TargetTagKey', ''],
    ['TargetTagKey', ' web'],
    ['TargetTagKey', 'web+mail'],
    ['TargetTagKey', 'a'.repeat(129)],
    ['TargetTagValue', ''],
    ['TargetTagValue', undefined],
    ['TargetTagValue', 'web*'],
    ['TargetTagValue', '${aws:PrincipalTag/x}'],
    ['TargetTagValue', 'web\n'],
    ['TargetTagValue', 'a'.repeat(257)],
    ['TargetAccount', '12345678901'],
    ['TargetAccount', 444455556666],
    ['TargetRegion', 'Frankfurt'],
    ['ReloadServices', 'nginx'],
    ['ReloadServices.0', ['nginx; reboot']],
    ['ReloadServices.0', ['-nginx']],
    ['ReloadServices', ['a', 'b', 'c', 'd', 'e', 'f']],
    ['ReloadServices', ['nginx', 'nginx']],
    ['RestartServices', 'slapd'],
    ['RestartServices.1', ['slapd', 'slapd; reboot']],
    ['RestartServices', ['a', 'b', 'c', 'd', 'e', 'f']],
    ['RestartServices', ['slapd', 'slapd']],
    ['VerifyPort', 65536],
    ['VerifyPort', -1],
    ['VerifyPort', 44.5],
    ['VerifyPort', '443'],
    ['KeyFormat', 'plain'],
    ['ExtraFormats.0', ['jks']],
    ['ExtraFormats', ['pkcs12', 'pkcs12']],
    ['KeyMode', '0644'],
    ['KeyMode', 600],
    ['KeyGroup', 'ssl cert'],
    ['KeyGroup', '-root'],
    ['KeyGroup', ''],
    ['KeyGroup', '0'],
    ['KeyGroup', '1000'],
    ['KeyGroup', '.'],
    ['KeyGroup', '..'],
    ['KeyGroup', '$'],
    ['KeyGroup', 'web$1'],
    ['KeyGroup', 'ssl-cert\n'],
    ['KeyGroup', 'g'.repeat(33)],
    ['MaxConcurrency', '0'],
    ['MaxConcurrency', '101%'],
    ['MaxConcurrency', 10],
    ['MaxErrors', '-1'],
    ['DryRun', 'true'],
    ['CertName', 'other'],
    ['Certname', 'web-prod'],
    ['__proto__', { a: 1 }],
  ])('%s: %j', async (field, value) => {
    const [name = ''] = field.split('.');
    const body = `{${JSON.stringify(name)}:${JSON.stringify(value) ?? 'null'},`.replace(/^{".*":null,/, '{');
    const rest = { CertificateArn: arn, TargetTagKey: 'acm-export', TargetTagValue: 'web' };
    const others = Object.entries(rest).filter(([other]) => other !== name);
    const text = `${body}${others.map((entry) => entry.map((part) => JSON.stringify(part)).join(':')).join(',')}}`;
    const answer = await refused(() =>
      system.api('POST', collection, { path: { CertName: 'web-prod' }, body: text }),
    );
    expect(answer.status).toBe(400);
    expect(fieldsOf(answer)).toEqual([field]);
    expect(answer.body.Faults[0].Reason).toMatch(/.{4}/);
    expect(answer.body.Faults[0].Reason === 'missing').toBe(value === undefined);
  });

  test.each(['', '{', '[]', 'null', '"text"', '17', '{"a":1}}', '\u0000'])('that is %j', async (body) => {
    const answer = await refused(() =>
      system.api('POST', collection, { path: { CertName: 'web-prod' }, body }),
    );
    expect(answer.status).toBe(400);
    expect(answer.body.Faults.length).toBeGreaterThan(0);
  });

  test('of a renewal with a field that it does not take', async () => {
    const request = { path: { CertName: 'web-prod' }, body: { CertificateArn: arn, Serial: 'ab' } };
    const answer = await refused(() => system.api('POST', '/certificates/{CertName}/renewals', request));
    expect([answer.status, answer.body.Faults]).toEqual([
      400,
      [{ Field: 'Serial', Reason: 'unknown field' }],
    ]);
  });

  test('with every fault of path, query and body named at once', async () => {
    const answer = await refused(() =>
      system.api('POST', collection, {
        path: { CertName: '..' },
        query: { Verbose: 'true' },
        body: {
          CertName: 'other',
          TargetTagKey: 'aws:x',
          VerifyPort: 'https',
          ReloadServices: [''],
          Extra: 1,
        },
      }),
    );
    expect(answer.status).toBe(400);
    expect(fieldsOf(answer)).toEqual([
      'CertName',
      'Extra',
      'ReloadServices.0',
      'TargetTagKey',
      'TargetTagValue',
      'Verbose',
      'VerifyPort',
    ]);
  });

  test.each([
    [['nginx'], ['nginx']],
    [
      ['haproxy', 'nginx'],
      ['slapd', 'nginx.service'],
    ],
    [['postgresql@15-main.service'], ['postgresql@15-main']],
  ])('that both reloads %j and restarts %j', async (ReloadServices, RestartServices) => {
    const order = { CertificateArn: arn, ReloadServices, RestartServices };
    const answer = await refused(() => system.register(order));
    expect(answer.status).toBe(400);
    expect(answer.body.Faults).toEqual([
      { Field: 'RestartServices', Reason: expect.stringContaining('ReloadServices') },
    ]);
  });

  test('with a list of units that is none beside one that is', async () => {
    const answer = await refused(() =>
      system.register({ CertificateArn: arn, ReloadServices: 'nginx', RestartServices: ['nginx'] }),
    );
    expect(fieldsOf(answer)).toEqual(['ReloadServices']);
  });

  test('and an answer that stays readable, however much is wrong', async () => {
    const body = Object.fromEntries(Array.from({ length: 400 }, (_, i) => [`${'x'.repeat(1000)}${i}`, i]));
    const answer = await refused(() => system.register(body));
    expect(answer.body.Faults).toHaveLength(51);
    expect(answer.body.Faults.at(-1).Reason).toMatch(/^35\d more faults$/);
    expect(JSON.stringify(answer.body).length).toBeLessThan(20_000);
  });
});

describe('a path or query that is wrong gets 400', () => {
  const path = { CertName: 'web-prod', DeploymentId: '0'.repeat(24) };
  test.each([
    ['GET', one, { path: { ...path, DeploymentId: 'x' } }, ['DeploymentId']],
    ['GET', one, { path: { ...path, DeploymentId: '0'.repeat(23) } }, ['DeploymentId']],
    ['DELETE', one, { path: { CertName: 'a..b', DeploymentId: '' } }, ['CertName', 'DeploymentId']],
    ['GET', one, { path: null }, ['CertName', 'DeploymentId']],
    ['GET', collection, { path: { CertName: `${'a'.repeat(65)}` } }, ['CertName']],
    ['GET', collection, { path: { CertName: '-web' } }, ['CertName']],
    ['GET', collection, { path: { CertName: 'we b' } }, ['CertName']],
    ['GET', collection, { path: { CertName: 'web' }, query: { Status: 'FAILED' } }, ['Status']],
    ['GET', '/deployments', { query: { Limit: '0' } }, ['Limit']],
    ['GET', '/deployments', { query: { Limit: '101' } }, ['Limit']],
    ['GET', '/deployments', { query: { Limit: '1e2' } }, ['Limit']],
    ['GET', '/deployments', { query: { Status: 'failed' } }, ['Status']],
    [
      'GET',
      '/deployments',
      { query: { ExpiresWithinDays: '-1', TargetAccount: '1' } },
      ['ExpiresWithinDays', 'TargetAccount'],
    ],
    ['GET', '/deployments', { query: { CertName: 'web' } }, ['CertName']],
    ['GET', '/deployments', { body: { a: 1 } }, ['a']],
    ['DELETE', one, { path, query: { Force: 'yes' } }, ['Force']],
    ['POST', `${one}/rollouts`, { path, body: { Force: true } }, ['Force']],
    ['POST', `${one}/pause`, { path, query: { Until: 'tomorrow' } }, ['Until']],
    [
      'POST',
      '/certificates/{CertName}/renewals',
      { path: { CertName: 'web' }, body: {} },
      ['CertificateArn'],
    ],
  ] as const)('%s %s %j', async (method, resource, request, fields) => {
    const answer = await refused(() => system.api(method, resource, request as never));
    expect(answer.status).toBe(400);
    expect(fieldsOf(answer)).toEqual(fields);
  });

  test('also when a parameter is given twice', async () => {
    const event = {
      httpMethod: 'GET',
      resource: '/deployments',
      queryStringParameters: { Status: 'FAILED' },
      multiValueQueryStringParameters: { Status: ['INSTALLED', 'FAILED'] },
      body: null,
      requestContext: { requestId: 'request-1' },
    };
    const answer = await refused(() => system.send(event as never));
    expect(answer.body.Faults).toEqual([{ Field: 'Status', Reason: 'given more than once' }]);
  });

  test.each(['', 'a b', 'a\n', '"', '../x', `${'a'.repeat(65)}`])(
    'a request id that a client made up, %j, goes no further',
    async (requestId) => {
      const event = {
        httpMethod: 'GET',
        resource: '/deployments',
        body: null,
        requestContext: { requestId },
      };
      const { body } = await system.send(event as never);
      expect(body.CorrelationId).not.toBe(requestId);
      expect(body.CorrelationId).toMatch(/^[A-Za-z0-9-]{1,64}$/);
    },
  );

  test.each([
    ['x-correlation-id', 'cfn-0123-a'],
    ['X-Correlation-Id', 'a'.repeat(64)],
  ])('an id that a client gives its request in the header %s is that of the answer', async (name, id) => {
    const event = { httpMethod: 'GET', resource: '/deployments', body: null, headers: { [name]: id } };
    const { body } = await system.send({ ...event, requestContext: { requestId: 'request-1' } } as never);
    expect(body.CorrelationId).toBe(id);
  });

  test.each(['', 'a b', 'a\n', '../x', 'a'.repeat(65)])('but not %j, which goes no further', async (id) => {
    const headers = { 'x-correlation-id': id };
    const event = { httpMethod: 'GET', resource: '/deployments', body: null, headers };
    const { body } = await system.send({ ...event, requestContext: { requestId: 'request-1' } } as never);
    expect(body.CorrelationId).toBe('request-1');
  });

  test('a route that does not exist is a 404', async () => {
    const answers = [
      await refused(() => system.api('PUT', collection, { path: { CertName: 'web' } })),
      await refused(() => system.api('GET', '/constructor')),
    ];
    expect(answers.map(({ status }) => status)).toEqual([404, 404]);
  });
});

describe('what is not allowed gets 403', () => {
  test('an account and a tag key that the stack may not use, both at once', async () => {
    const body = { CertificateArn: arn, TargetAccount: '999900001111', TargetTagKey: 'Name' };
    const answer = await refused(() => system.register(body));
    expect([answer.status, fieldsOf(answer)]).toEqual([403, ['TargetAccount', 'TargetTagKey']]);
    // Nothing was asked of an account that is none of ours.
    expect(system.sts.calls).toEqual([]);
  });

  test.each(['acm-export2', 'acm-expor', 'ACM-EXPORT', 'xacm-export', 'tiers', 'Tier'])(
    'a tag key that is almost one that the stack may use: %s',
    async (TargetTagKey) => {
      const answer = await refused(() => system.register({ CertificateArn: arn, TargetTagKey }));
      expect([answer.status, fieldsOf(answer)]).toEqual([403, ['TargetTagKey']]);
    },
  );

  test('the own account too, where the stack names others', async () => {
    system.targetAccounts = MEMBER;
    const answer = await refused(() => system.register({ CertificateArn: arn, TargetAccount: CENTRAL }));
    expect([answer.status, fieldsOf(answer)]).toEqual([403, ['TargetAccount']]);
  });

  test.each([
    [{}, 'web-prod', 403],
    [{ CertName: '' }, 'web-prod', 403],
    [{ CertName: 'web' }, 'web-prod', 403],
    [{ CertName: 'web-prod' }, 'web-prod', 202],
    [{ certname: 'web-prod' }, 'web-prod', 403],
    [{ CertName: 'web-+' }, 'web-prod', 202],
    [{ CertName: 'web-+' }, 'web', 403],
    [{ CertName: 'web-*' }, 'web-prod', 403],
    [{ CertName: '+' }, 'web-prod', 202],
    [{ CertName: 'Web-+' }, 'web-prod', 403],
  ])('the tags %j of a certificate and the name %s: %d', async (tags, name, status) => {
    const CertificateArn = await system.acm.issue('tagged', {}, tags as Record<string, string>);
    const send = () => system.register({ CertificateArn }, {}, name);
    const answer = status === 202 ? await send() : await refused(send);
    expect(answer.status).toBe(status);
    expect(fieldsOf(answer)).toEqual(status === 202 ? [] : ['CertName']);
  });

  test('unless the stack does not require the tag', async () => {
    system.requireCertificateTag = false;
    const CertificateArn = await system.acm.issue('untagged', {}, {});
    expect((await system.register({ CertificateArn })).status).toBe(202);
    expect(system.acm.callsOf('ListTagsForCertificate')).toEqual([]);
  });
});

describe('a certificate that cannot be delivered', () => {
  test('that ACM does not know is a 404', async () => {
    const answer = await refused(() => system.register({ CertificateArn: `${arn}-unknown` }));
    expect([answer.status, fieldsOf(answer)]).toEqual([404, ['CertificateArn']]);
  });

  test.each([
    ['not exportable', { exportable: false }, /not exportable/],
    ['requested before there was an option', { exportable: undefined }, /not exportable/],
    ['imported', { type: 'IMPORTED' }, /imported/],
    ['issued over ACME', { keyPairOrigin: 'ACME' }, /ACME/],
    ['not validated yet', { status: 'PENDING_VALIDATION' }, /PENDING_VALIDATION/],
    ['expired', { status: 'EXPIRED' }, /EXPIRED/],
    ['revoked', { status: 'REVOKED' }, /REVOKED/],
    ['pending and not exportable', { status: 'PENDING_VALIDATION', exportable: undefined }, /not exportable/],
  ] as const)('that is %s is a 422 that says so', async (id, detail, reason) => {
    const CertificateArn = await system.acm.issue(id, detail as object);
    const answer = await refused(() => system.register({ CertificateArn }));
    expect([answer.status, fieldsOf(answer)]).toEqual([422, ['CertificateArn']]);
    expect(answer.body.Faults[0].Reason).toMatch(reason);
  });

  test('that is private is a 403, dry runs included, unless the stack allows it: then it needs no option', async () => {
    const CertificateArn = await system.acm.issue('private', { type: 'PRIVATE', exportable: undefined });
    for (const DryRun of [false, true]) {
      const answer = await refused(() => system.register({ CertificateArn, DryRun }));
      expect([answer.status, fieldsOf(answer)]).toEqual([403, ['CertificateArn']]);
      expect(answer.body.Faults[0].Reason).toContain('AllowPrivateCertificates');
    }
    system.allowPrivateCertificates = true;
    expect((await system.register({ CertificateArn })).status).toBe(202);
  });

  test('that is private and registered goes on when the stack does not allow it: no other takes its place', async () => {
    const [CertificateArn, another] = [
      await system.acm.issue('private', { type: 'PRIVATE', exportable: undefined }),
      await system.acm.issue('another', { type: 'PRIVATE', exportable: undefined }),
    ];
    system.allowPrivateCertificates = true;
    const { body } = await system.register({ CertificateArn });
    await system.runAll();
    const tried = await system.register({ CertificateArn, TargetTagValue: 'tried', DryRun: true });
    await system.runAll();
    system.allowPrivateCertificates = false;
    expect((await system.register({ CertificateArn, KeyMode: '0640' })).status).toBe(202);
    await system.runAll();
    const Serial = await system.acm.renew(CertificateArn);
    await system.renewal(CertificateArn);
    await system.runAll();
    expect(await system.inventory.get(body.DeploymentId)).toMatchObject({ Status: 'INSTALLED', Serial });
    for (const more of [{ CertificateArn: another }, { CertificateArn, TargetTagValue: 'tried' }]) {
      expect((await refused(() => system.register(more))).status).toBe(403);
    }
    expect(tried.status).toBe(202);
  });

  test.each([
    ['another Region', 'arn:aws:acm:us-east-1:111122223333:certificate/web'],
    ['another account', 'arn:aws:acm:eu-central-1:444455556666:certificate/web'],
    ['another partition', 'arn:aws-cn:acm:eu-central-1:111122223333:certificate/web'],
  ])('of %s is a 422 that says which this stack exports', async (_, CertificateArn) => {
    const answer = await refused(() => system.register({ CertificateArn }));
    expect([answer.status, fieldsOf(answer)]).toEqual([422, ['CertificateArn']]);
    expect(answer.body.Faults[0].Reason).toContain(`account ${CENTRAL} in eu-central-1`);
    expect(system.acm.calls).toEqual([]);
  });

  test.each(['InvalidArnException', 'ValidationException'])(
    'whose ARN ACM itself refuses (%s) is a 400',
    async (name) => {
      system.acm.failNext('DescribeCertificate', awsError(name, 'The ARN is not valid.'));
      const answer = await refused(() => system.register({ CertificateArn: arn }));
      expect([answer.status, fieldsOf(answer)]).toEqual([400, ['CertificateArn']]);
    },
  );
});

describe('a target account that is not ready', () => {
  test('whose role does not trust us, is told apart from one that denies a call', async () => {
    const open = system.refuse(MEMBER);
    const untrusted = await refused(() => system.register({ CertificateArn: arn }));
    open();
    system
      .target()
      .ssm.failNext(
        'DescribeInstanceInformation',
        awsError('AccessDeniedException', 'with an explicit deny'),
      );
    const denied = await refused(() => system.register({ CertificateArn: arn }));
    expect([untrusted.status, denied.status]).toEqual([422, 422]);
    expect(untrusted.body.Message).toMatch(
      /^Cannot assume arn:aws:iam::444455556666:role\/acm-export-rollout-eu-central-1\. Check that member-account\.yaml is deployed in account 444455556666.*ExternalId.*AWS says: /,
    );
    expect(denied.body.Message).toMatch(
      /^Account 444455556666, Region eu-central-1 refused the call\. .*service control policy.*with an explicit deny/,
    );
  });

  test('whose Region is switched off, is told as such', async () => {
    system.sts.failNext('AssumeRole', awsError('RegionDisabledException'));
    const answer = await refused(() => system.register({ CertificateArn: arn }));
    expect(answer).toMatchObject({
      status: 422,
      body: { Message: 'Region eu-central-1 is not enabled in account 444455556666.' },
    });
  });

  test('that lacks the documents, fails its rollout with words of its own', async () => {
    const { body } = await system.register({ CertificateArn: arn });
    system
      .target()
      .ssm.failNext(
        'StartAutomationExecution',
        awsError('AutomationDefinitionNotFoundException', 'no document'),
      );
    await system.runAll();
    const { LastError } = await system.deployment(body.DeploymentId);
    expect(LastError).toMatch(
      /^TargetNotPrepared: The SSM documents of member-account\.yaml are not in account 444455556666/,
    );
    expect(system.messages()[0]?.Message).toContain('What to do: Deploy or update member-account.yaml');
  });
});

describe('calls that AWS throttles get 429', () => {
  test.each([
    ['acm', 'DescribeCertificate', 'ThrottlingException'],
    ['acm', 'ListTagsForCertificate', 'ThrottlingException'],
    ['sts', 'AssumeRole', 'Throttling'],
  ] as const)('%s %s', async (service, operation, name) => {
    system[service].failNext(operation, awsError(name));
    expect((await refused(() => system.register({ CertificateArn: arn }))).status).toBe(429);
  });

  test('but a start that is throttled is no refusal: the deployment is registered, and the answer says so', async () => {
    system.sfn.failNext('StartExecution', awsError('ThrottlingException'));
    const answer = await system.register({ CertificateArn: arn, VerifyPort: 443 });
    expect(answer).toMatchObject({
      status: 202,
      body: { Warnings: [expect.stringContaining('within the hour')] },
    });
  });
});

describe('a deployment of another name, or none, is a 404', () => {
  test.each([
    ['GET', one],
    ['DELETE', one],
    ['POST', `${one}/rollouts`],
    ['POST', `${one}/pause`],
    ['POST', `${one}/resume`],
  ])('%s %s', async (method, resource) => {
    const { body } = await system.register({ CertificateArn: arn });
    for (const path of [
      { CertName: 'web', DeploymentId: body.DeploymentId },
      { CertName: 'web-prod', DeploymentId: '0'.repeat(24) },
    ]) {
      const answer = await refused(() => system.api(method, resource, { path }));
      expect(answer.status).toBe(404);
      expect(answer.body.Message).toBe(`There is no deployment ${path.DeploymentId} of ${path.CertName}.`);
    }
  });

  test('and so is one that was deleted', async () => {
    const { body } = await system.register({ CertificateArn: arn });
    await system.remove(body.DeploymentId);
    expect((await refused(() => system.remove(body.DeploymentId))).status).toBe(404);
    expect((await refused(() => system.rollouts(body.DeploymentId))).status).toBe(404);
  });
});

describe('what stands in the way of a request for now gets 409', () => {
  test('a deployment that is being deleted takes no order, no dry run and no rollout', async () => {
    const { body } = await system.register({ CertificateArn: arn });
    await system.mark('markDeleting', body.DeploymentId);
    const answers = [
      await refused(() => system.register({ CertificateArn: arn })),
      await refused(() => system.register({ CertificateArn: arn, DryRun: true })),
      await refused(() => system.rollouts(body.DeploymentId)),
    ];
    expect(answers.map(({ status }) => status)).toEqual([409, 409, 409]);
  });

  test('a dry run does not queue behind a rollout', async () => {
    await system.register({ CertificateArn: arn });
    const answer = await refused(() => system.register({ CertificateArn: arn, DryRun: true }));
    expect(answer.status).toBe(409);
  });

  test('what was only tried out has nothing to install again', async () => {
    const { body } = await system.register({ CertificateArn: arn, DryRun: true });
    await system.runAll();
    const answer = await refused(() => system.rollouts(body.DeploymentId));
    expect(answer).toMatchObject({ status: 409, body: { Message: expect.stringContaining('dry runs') } });
  });
});

test('an error of ours is thrown, not dressed as an answer', async () => {
  system.acm.failNext('DescribeCertificate', awsError('InternalFailure', 'oh', 'server'));
  await expect(system.register({ CertificateArn: arn })).rejects.toThrow('oh');
});
