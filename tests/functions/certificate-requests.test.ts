import { QueryCommand, ScanCommand } from '@aws-sdk/lib-dynamodb';
import { beforeEach, describe, expect, test } from '@jest/globals';
import { type Deployment, deploymentIdOf, orderOf, type Wanted } from '../../functions/domain/deployment.ts';
import { interleave } from './support/interleave.ts';
import { awsError } from './support/service-view.ts';
import { type ApiAnswer, CENTRAL, DNS, MEMBER, REGION, System } from './support/system.ts';

let system: System;
beforeEach(async () => {
  system = await System.create();
  // Until a test says so, ACM waits for its records.
  system.cloud.services.acm.validation = 'by hand';
  system.dnsAccounts = '';
});

const WEB = { TargetTagKey: 'acm-export', TargetTagValue: 'web', TargetAccount: MEMBER, VerifyPort: 443 };
const webId = (certName = 'web-prod') => deploymentIdOf({ ...WEB, TargetRegion: REGION }, certName);

const certificates = () => system.acm.callsOf('RequestCertificate');
const open = () => system.inventory.requests.get('web-prod');

async function everything() {
  const { Items } = await system.client.send(new ScanCommand({ TableName: system.table }));
  return structuredClone({ Items, executions: [...system.sfn.executions.keys()] });
}

/** The execution of the request. */
const execution = (answer: ApiAnswer): string => answer.body.ExecutionArn;

/** Runs the execution until ACM was asked; resolves to the ARN of the certificate. */
async function askedFor(answer: ApiAnswer): Promise<string> {
  await system.step(execution(answer));
  const request = await system.inventory.requests.get(answer.body.CertName);
  return request?.CertificateArn ?? '';
}

/** Runs an execution to its end. */
async function finish(answer: ApiAnswer): Promise<void> {
  while (await system.step(execution(answer)));
}

/** From now on ACM lists nothing: it shows a certificate only some time after it was asked for. */
const listNothing = () =>
  system.before('CertificateManager.ListCertificates', (input: { CertificateStatuses?: string[] }) => {
    input.CertificateStatuses = ['INACTIVE'];
  });

async function issue(arn: string): Promise<void> {
  await system.cloud.services.acm.validate(arn);
}

describe('from a request to what a server serves', () => {
  test('a POST asks ACM once, waits, and registers the deployment as its own POST would', async () => {
    await system.target().addNode('i-00000001');
    const answer = await system.request({
      DomainNames: ['WWW.example.com.', 'api.example.com'],
      KeyAlgorithm: 'EC_prime256v1',
      Tags: { team: 'web' },
      Deployments: [WEB],
    });
    expect(answer).toMatchObject({
      status: 202,
      body: {
        CertName: 'web-prod',
        Status: 'ASKING',
        DomainNames: ['www.example.com', 'api.example.com'],
        KeyAlgorithm: 'EC_prime256v1',
        Tags: { team: 'web' },
        Records: [],
        Deployments: [{ ...WEB, TargetRegion: REGION, DeploymentId: webId() }],
        Warnings: [expect.stringContaining('ACM charges for the certificate')],
      },
    });
    const arn = await askedFor(answer);
    expect(certificates()).toEqual([
      {
        DomainName: 'www.example.com',
        SubjectAlternativeNames: ['api.example.com'],
        ValidationMethod: 'DNS',
        KeyAlgorithm: 'EC_prime256v1',
        Options: { Export: 'ENABLED' },
        IdempotencyToken: expect.stringMatching(/^\w{1,32}$/),
        Tags: [
          { Key: 'team', Value: 'web' },
          { Key: 'CertName', Value: 'web-prod' },
        ],
      },
    ]);
    await system.step(execution(answer));
    const waiting = (await system.requested()).body;
    expect(waiting).toMatchObject({
      Status: 'VALIDATING',
      CertificateArn: arn,
      NextAttemptAt: expect.any(String),
      Reason: expect.stringContaining('public DNS'),
      Records: [
        { Type: 'CNAME', DomainNames: ['www.example.com'] },
        { Type: 'CNAME', DomainNames: ['api.example.com'] },
      ],
    });
    await issue(arn);
    await system.runAll();
    expect((await system.requested()).body).toMatchObject({ Status: 'DONE', CertificateArn: arn });
    expect((await system.requested()).body.Error).toBeUndefined();
    expect(await system.deployment(webId())).toMatchObject({
      Status: 'INSTALLED',
      CertificateArn: arn,
      VerifyPort: 443,
      Rollouts: 1,
    });
    expect(certificates()).toHaveLength(1);
  });

  test('without deployments the request ends when the certificate is issued', async () => {
    const answer = await system.request();
    await issue(await askedFor(answer));
    await finish(answer);
    expect((await system.requested()).body).toMatchObject({ Status: 'DONE', Deployments: [] });
    expect(system.sfn.executions.get(execution(answer))?.status).toBe('SUCCEEDED');
  });

  test('a wildcard and its domain share one record', async () => {
    system.requestRules = 'web-prod=*.example.com,web-prod=example.com';
    const answer = await system.request({ DomainNames: ['*.example.com', 'example.com'] });
    const arn = await askedFor(answer);
    const [first] = (await open())?.Records ?? [];
    expect(first).toBeUndefined();
    await system.step(execution(answer));
    expect(arn).toMatch(/^arn:aws:acm:/);
    const names = (await open())?.Records?.flatMap(({ DomainNames }) => DomainNames);
    expect(names?.sort()).toEqual(['*.example.com', 'example.com']);
  });

  test('what GET answers can be sent back, and is the same request', async () => {
    const answer = await system.request({ Deployments: [{ ...WEB, KeyMode: null }] });
    await askedFor(answer);
    const { body } = await system.requested();
    const again = await system.api('POST', '/certificates/{CertName}', {
      path: { CertName: 'web-prod' },
      body,
    });
    expect(again).toMatchObject({ status: 202, body: { RequestNumber: body.RequestNumber } });
    expect(certificates()).toHaveLength(1);
  });

  test('the request is no deployment: no list shows it', async () => {
    await askedFor(await system.request());
    for (const query of [
      null,
      { Status: 'WAITING' },
      { CertificateArn: (await open())?.CertificateArn ?? '' },
    ]) {
      const { body } = await system.api('GET', '/deployments', { query: query as Record<string, string> });
      expect(body.Deployments).toEqual([]);
    }
    const path = { CertName: 'web-prod' };
    expect(
      (await system.api('GET', '/certificates/{CertName}/deployments', { path })).body.Deployments,
    ).toEqual([]);
  });
});

test('a name without a hosted zone is refused, unless a person creates the records; then no zone is looked at', async () => {
  system.dnsAccounts = DNS;
  const { publicDns, services } = system.cloud;
  const zone = services.route53.createZone(DNS, 'example.net');
  await system.addDns(DNS, [zone]);
  publicDns.delegate('example.com', ['ns1.provider.net']);
  const refused = await system.request();
  expect(refused).toMatchObject({
    status: 422,
    body: { Faults: [{ Field: 'DomainNames', Reason: expect.stringMatching(/RecordsByHand true/) }] },
  });
  expect(await open()).toBeUndefined();

  const answer = await system.request({ RecordsByHand: true });
  expect(answer).toMatchObject({ status: 202, body: { RecordsByHand: true } });
  const looks = () => system.cloud.record.calls.filter(({ operation }) => operation.startsWith('route53.'));
  const before = looks().length;
  await issue(await askedFor(answer));
  await finish(answer);
  expect((await system.requested()).body).toMatchObject({ Status: 'DONE', RecordsByHand: true });
  expect(looks()).toHaveLength(before);
});

test('with hosted zones nobody has to do anything: the records are written, and ACM finds them', async () => {
  system.dnsAccounts = DNS;
  const { acm, route53 } = system.cloud.services;
  const zone = route53.createZone(DNS, 'example.com');
  system.cloud.publicDns.delegate('example.com', zone.nameServers);
  await system.addDns(DNS, [zone]);
  acm.validation = 'public DNS';
  await system.target().addNode('i-00000001');
  const trial = await system.request({ DryRun: true });
  expect(trial.body.Zones).toEqual([expect.objectContaining({ HostedZoneId: zone.id, Account: DNS })]);
  const answer = await system.request({ Deployments: [WEB] });
  await system.runAll();
  const { body } = await system.requested();
  expect(body).toMatchObject({
    Status: 'DONE',
    Records: [{ HostedZoneId: zone.id, Account: DNS, WrittenAt: expect.any(String) }],
    Warnings: [],
  });
  expect(await system.deployment(webId())).toMatchObject({ Status: 'INSTALLED', Rollouts: 1 });
  // The same names again, under another name: what ACM has already is not ordered twice.
  expect((await system.request({}, undefined, 'web-other')).status).toBe(409);
  expect(answer.status).toBe(202);
});

test('a CAA record that forbids ACM refuses the request before it costs money', async () => {
  system.cloud.publicDns.say('example.com', 'CAA', [{ critical: 0, issue: 'letsencrypt.org' }] as never);
  const answer = await system.request();
  expect(answer).toMatchObject({
    status: 422,
    body: { Faults: [{ Field: 'DomainNames', Reason: expect.stringContaining('CAA') }] },
  });
  expect(certificates()).toEqual([]);
  expect(await open()).toBeUndefined();
});

describe('a dry run', () => {
  test('shows what would be asked, and writes nothing', async () => {
    const before = await everything();
    const { status, body } = await system.request({ DryRun: true, Deployments: [WEB] });
    expect({ status, body }).toMatchObject({
      status: 202,
      body: {
        Status: 'DRY_RUN',
        Zones: [],
        Warnings: expect.arrayContaining([expect.stringContaining('charges')]),
      },
    });
    expect(await everything()).toEqual(before);
    expect(certificates()).toEqual([]);
  });

  test('is refused for the same reasons', async () => {
    system.maxCertificatesPerDay = 0;
    expect((await system.request({ DryRun: true })).status).toBe(409);
    system.requestRules = '';
    expect((await system.request({ DryRun: true })).status).toBe(403);
  });
});

describe('a request that is refused writes nothing, and asks ACM for nothing', () => {
  const refused = async (body: Record<string, unknown>, certName?: string): Promise<ApiAnswer> => {
    const before = await everything();
    const answer = await system.request(body, undefined, certName);
    expect(await everything()).toEqual(before);
    expect(certificates()).toEqual([]);
    expect(answer.body.Message).toMatch(/^[A-Z].{15}/);
    return answer;
  };
  const fieldsOf = ({ body }: ApiAnswer) => (body.Faults ?? []).map(({ Field }: { Field: string }) => Field);

  test.each<[string, Record<string, unknown>, string]>([
    ['no name', { DomainNames: [] }, 'DomainNames'],
    ['a name that is none', { DomainNames: ['www'] }, 'DomainNames'],
    ['a name twice', { DomainNames: ['www.example.com', 'WWW.EXAMPLE.COM'] }, 'DomainNames'],
    ['an algorithm that ACM does not issue', { KeyAlgorithm: 'RSA_4096' }, 'KeyAlgorithm'],
    ['the tag CertName', { Tags: { CertName: 'other' } }, 'Tags.CertName'],
    ['the tag CertName in other letters', { Tags: { certname: 'other' } }, 'Tags.certname'],
    ['a tag of AWS', { Tags: { 'aws:x': 'y' } }, 'Tags.aws:x'],
    ['another name in the body', { CertName: 'other' }, 'CertName'],
    ['an unknown field', { Validation: 'EMAIL' }, 'Validation'],
    [
      'a deployment with a certificate',
      { Deployments: [{ ...WEB, CertificateArn: 'x' }] },
      'Deployments.0.CertificateArn',
    ],
    ['a deployment that is tried', { Deployments: [{ ...WEB, DryRun: true }] }, 'Deployments.0.DryRun'],
    [
      'a deployment that is not whole',
      { Deployments: [{ ...WEB, VerifyPort: 0, VerifyName: 'a' }] },
      'Deployments.0.VerifyName',
    ],
    ['a target twice', { Deployments: [WEB, { ...WEB, VerifyPort: 8443 }] }, 'Deployments.1'],
    [
      'a foreign DeploymentId',
      { Deployments: [{ ...WEB, DeploymentId: '0'.repeat(24) }] },
      'Deployments.0.DeploymentId',
    ],
  ])('400: %s', async (_what, body, field) => {
    const answer = await refused(body);
    expect(answer.status).toBe(400);
    expect(fieldsOf(answer)).toContain(field);
  });

  test('400: more names than the stack allows, and not one less', async () => {
    system.maxDomainNames = 2;
    const names = ['a.example.com', 'b.example.com', 'c.example.com'];
    const answer = await refused({ DomainNames: names });
    expect(answer).toMatchObject({
      status: 400,
      body: { Faults: [{ Reason: expect.stringContaining('MaxDomainNames') }] },
    });
    expect((await system.request({ DomainNames: names.slice(0, 2) })).status).toBe(202);
  });

  test.each<[string, string, string[], string]>([
    ['no rule at all', '', ['www.example.com'], 'web-prod'],
    ['a domain that only ends alike', 'web-prod=.example.com', ['www.badexample.com'], 'web-prod'],
    ['the domain itself', 'web-prod=.example.com', ['example.com'], 'web-prod'],
    ['a wildcard below', 'web-prod=.example.com', ['*.www.example.com'], 'web-prod'],
    ['another wildcard', 'web-prod=*.example.com', ['*.www.example.com'], 'web-prod'],
    ['a rule of another name', 'web-prod=.example.com', ['www.example.com'], 'web-prod2'],
    ['a rule of names that begin otherwise', 'web-*=.example.com', ['www.example.com'], 'web'],
    ['one of two names', 'web-prod=www.example.com', ['www.example.com', 'api.example.com'], 'web-prod'],
  ])('403: %s', async (_what, rules, DomainNames, certName) => {
    system.requestRules = rules;
    const answer = await refused({ DomainNames }, certName);
    expect(answer).toMatchObject({ status: 403, body: { Message: expect.stringContaining('RequestRules') } });
    expect(fieldsOf(answer)).toEqual(['DomainNames']);
  });

  test('403: a deployment in an account that is not one of the stack', async () => {
    const answer = await refused({ Deployments: [{ ...WEB, TargetAccount: '999999999999' }] });
    expect(answer.status).toBe(403);
    expect(fieldsOf(answer)).toEqual(['Deployments.0.TargetAccount']);
  });

  test('409: while rollouts stand still', async () => {
    system.rolloutsEnabled = false;
    expect((await refused({})).status).toBe(409);
    system.rolloutsEnabled = true;
    await system.freeze();
    expect((await refused({})).status).toBe(409);
  });

  test('409: a deployment that is paused', async () => {
    const arn = await system.acm.issue('old', { names: ['old.example.com'] });
    const { body } = await system.register({ CertificateArn: arn });
    await system.runAll();
    await system.mark('pause', body.DeploymentId);
    const answer = await refused({ Deployments: [{ ...WEB, VerifyPort: 0 }] });
    expect(answer).toMatchObject({ status: 409, body: { Faults: [{ Field: 'Deployments.0' }] } });
  });

  test('409: more deployments than the stack may have', async () => {
    const arn = await system.acm.issue('old', { names: ['old.example.com'] });
    await system.register({ CertificateArn: arn });
    await system.runAll();
    system.maxDeployments = 2;
    const other = (TargetTagValue: string) => ({ ...WEB, TargetTagValue });
    const answer = await refused({ Deployments: [other('a'), other('b')] });
    expect(answer).toMatchObject({
      status: 409,
      body: { Message: expect.stringContaining('MaxDeployments') },
    });
    const size = () => system.inventory.fleet.size();
    const before = await size();
    // One is there already, and one is as many as there may be.
    expect((await system.request({ Deployments: [WEB, other('a')] })).status).toBe(202);
    expect(await size()).toBe(before);
  });

  test('422: a target account that is not prepared', async () => {
    const open = system.refuse(MEMBER);
    const answer = await refused({ Deployments: [WEB] });
    expect(answer.status).toBe(422);
    expect(fieldsOf(answer)).toEqual(['Deployments.0']);
    open();
  });

  test.each(['ISSUED', 'PENDING_VALIDATION'] as const)(
    '409: an equal certificate that is %s',
    async (status) => {
      const names = ['api.example.com', 'www.example.com'];
      const arn = await system.acm.issue('equal', { names, status, keyAlgorithm: 'EC_prime256v1' });
      const answer = await refused({ DomainNames: names.toReversed(), KeyAlgorithm: 'EC_prime256v1' });
      expect(answer).toMatchObject({ status: 409, body: { Message: expect.stringContaining(arn) } });
    },
  );

  test('a certificate that is nearly equal is none', async () => {
    const names = ['api.example.com', 'www.example.com'];
    const nearly = { names, keyAlgorithm: 'EC_prime256v1' as const };
    await system.acm.issue('algorithm', { ...nearly, keyAlgorithm: 'EC_secp384r1' });
    await system.acm.issue('export', { ...nearly, exportable: false });
    await system.acm.issue('private', { ...nearly, type: 'PRIVATE' });
    await system.acm.issue('expired', { ...nearly, status: 'EXPIRED' });
    await system.acm.issue('fewer', { ...nearly, names: ['www.example.com'] });
    await system.acm.issue('more', { ...nearly, names: [...names, 'ftp.example.com'] });
    const answer = await system.request({ DomainNames: names, KeyAlgorithm: 'EC_prime256v1' });
    expect(answer.status).toBe(202);
  });

  test('404: nobody requested this', async () => {
    expect(await system.requested('web-other')).toMatchObject({
      status: 404,
      body: { Message: expect.stringContaining('web-other') },
    });
  });
});

describe('two requests', () => {
  test('the same wish twice is one request, one execution and one certificate', async () => {
    const first = await system.request({ DomainNames: ['www.example.com', 'api.example.com'] });
    const arn = await askedFor(first);
    const second = await system.request({ DomainNames: ['api.example.com', 'www.example.com'] });
    expect(second.body).toMatchObject({
      RequestNumber: first.body.RequestNumber,
      ExecutionArn: first.body.ExecutionArn,
      CertificateArn: arn,
    });
    await issue(arn);
    await finish(first);
    const third = await system.request({ DomainNames: ['www.example.com', 'api.example.com'] });
    expect(third.body).toMatchObject({ Status: 'DONE', RequestNumber: first.body.RequestNumber });
    expect(system.sfn.executions.size).toBe(1);
    expect(certificates()).toHaveLength(1);
  });

  test('another wish while one is open is refused, and goes after it', async () => {
    const first = await system.request();
    const other = await system.request({ DomainNames: ['api.example.com'] });
    expect(other).toMatchObject({
      status: 409,
      body: {
        Message: expect.stringMatching(/GET \/certificates\/web-prod.*withdraw.*delete its certificate/),
      },
    });
    await issue(await askedFor(first));
    await finish(first);
    const next = await system.request({ DomainNames: ['api.example.com'] });
    expect(next.status).toBe(202);
    expect(next.body.RequestNumber).toBeGreaterThan(first.body.RequestNumber);
  });

  test('after a request has failed the same wish is answered with it for an hour, and then a new one', async () => {
    const first = await system.request();
    system.acm.held(await askedFor(first)).status = 'VALIDATION_TIMED_OUT';
    await finish(first);
    expect((await system.requested()).body).toMatchObject({
      Status: 'FAILED',
      Error: expect.stringContaining('72 hours'),
      Reason: expect.stringContaining('one hour'),
    });
    const before = await everything();
    for (let minutes = 0; minutes < 60; minutes += 10) {
      expect(await system.request()).toMatchObject({
        status: 202,
        body: {
          Status: 'FAILED',
          RequestNumber: first.body.RequestNumber,
          Error: expect.stringContaining('72 hours'),
          Warnings: [expect.stringMatching(/From 20\d\d-.*Z on the same POST is a new request/)],
        },
      });
      system.advance({ minutes: 10 });
    }
    expect(await everything()).toEqual(before);
    const second = await system.request();
    expect(second.body.RequestNumber).toBeGreaterThan(first.body.RequestNumber);
    await askedFor(second);
    expect(new Set(certificates().map(({ IdempotencyToken }) => IdempotencyToken)).size).toBe(2);
  });

  test('after a request has failed another wish is a new one at once, and a dry run looks anew', async () => {
    const first = await system.request();
    system.acm.held(await askedFor(first)).status = 'FAILED';
    await finish(first);
    expect((await system.request({ DryRun: true })).body.Status).toBe('DRY_RUN');
    const second = await system.request({ DomainNames: ['api.example.com'] });
    expect(second.body.Status).toBe('ASKING');
    // People are told of the first one all the same, once.
    await system.reconcile('nodes');
    await system.reconcile('nodes');
    expect(system.messages()).toEqual([
      {
        Subject: 'Certificate request of web-prod failed',
        Message: expect.stringContaining('www.example.com'),
      },
    ]);
    expect(await system.inventory.requests.marks()).toEqual([
      expect.objectContaining({ RequestNumber: second.body.RequestNumber }),
    ]);
  });

  test('what people were told of is not told again when the next request takes its place', async () => {
    const first = await system.request();
    system.acm.held(await askedFor(first)).status = 'FAILED';
    await finish(first);
    await system.reconcile('nodes');
    await system.request({ DomainNames: ['api.example.com'] });
    system.advance({ days: 1 });
    await system.reconcile('nodes');
    expect(system.messages()).toHaveLength(1);
  });

  test('of a certificate that was deleted after all was done, the same wish is a new one', async () => {
    const first = await system.request();
    const arn = await askedFor(first);
    await issue(arn);
    await finish(first);
    system.acm.remove(arn);
    const second = await system.request();
    expect(second.body).toMatchObject({ Status: 'ASKING' });
    expect(second.body.RequestNumber).toBeGreaterThan(first.body.RequestNumber);
  });

  test('side by side: one wish is answered, the other refused; the same wish is one request', async () => {
    for (const [names, statuses] of [
      [
        ['www.example.com', 'api.example.com'],
        [202, 409],
      ],
      [
        ['www.example.com', 'www.example.com'],
        [202, 202],
      ],
    ] as const) {
      // Each in the midst of the other, in every order.
      for (let seed = 0; seed < 24; seed += 1) {
        system = await System.create();
        system.cloud.services.acm.validation = 'by hand';
        system.dnsAccounts = '';
        let state = seed;
        const choose = (of: number) => {
          state = (state * 1103515245 + 12345) & 0x7fffffff;
          return (state >> 8) % of;
        };
        const endings = await interleave(
          names.map((name) => ({
            run: (around) => system.request({ DomainNames: [name] }, { around }),
          })),
          choose,
        );
        const answers = endings.map((ending) => (ending as { value: ApiAnswer }).value);
        expect(answers.map(({ status }) => status).sort()).toEqual(statuses);
        expect(system.sfn.running()).toHaveLength(1);
        await system.step(system.sfn.running()[0]?.arn ?? '');
        expect(certificates()).toHaveLength(1);
      }
    }
  });
});

describe('two names that ask for the same certificate', () => {
  const input = ({ body: { CertName, RequestNumber } }: ApiAnswer) => ({ CertName, RequestNumber });
  /** A request that no POST has looked at: another execution of the API wrote it in the same moment. */
  async function writtenAs(certName: string, like: ApiAnswer) {
    const request = await system.inventory.requests.get(like.body.CertName);
    await system.inventory.requests.write(undefined, { ...request, CertName: certName } as never);
    return { CertName: certName, RequestNumber: like.body.RequestNumber };
  }
  beforeEach(() => {
    system.requestRules = '*=.example.com';
  });

  test('within seconds: the second is refused, also as a dry run, and ACM is asked once', async () => {
    const names = ['www.example.com', 'api.example.com'];
    const first = await system.request({ DomainNames: names }, undefined, 'web-a');
    for (const more of [{}, { DryRun: true }]) {
      expect(
        await system.request({ DomainNames: names.toReversed(), ...more }, undefined, 'web-b'),
      ).toMatchObject({
        status: 409,
        body: { Message: expect.stringContaining('/certificates/web-a') },
      });
    }
    expect(await system.inventory.requests.get('web-b')).toBeUndefined();
    await system.step(execution(first));
    // Its own names are not in its way.
    expect((await system.request({ DomainNames: names }, undefined, 'web-a')).status).toBe(202);
    const other = { DomainNames: names, KeyAlgorithm: 'EC_prime256v1' };
    expect((await system.request(other, undefined, 'web-c')).status).toBe(202);
    expect(certificates()).toHaveLength(1);
  });

  test('both written: the second fails with the words of the refusal, before ACM’s list shows anything', async () => {
    const first = await system.request({}, undefined, 'web-a');
    const second = await writtenAs('web-b', first);
    listNothing();
    expect(await system.requestStep(input(first))).toMatchObject({ Action: 'WAIT' });
    expect(await system.requestStep(second)).toMatchObject({
      Action: 'FAILED',
      Error: expect.stringMatching(/^ACM was not asked\. .*\/certificates\/web-a/),
    });
    expect(certificates()).toHaveLength(1);
  });

  test('an equal certificate that came since fails the request; its own one is taken', async () => {
    const first = await system.request();
    system.advance({ minutes: 1 });
    const equal = { names: ['www.example.com'], keyAlgorithm: 'RSA_2048' as const };
    const arn = await system.acm.issue('equal', equal, { CertName: 'web-other' });
    system.advance({ minutes: 1 });
    await finish(first);
    expect((await system.requested()).body).toMatchObject({
      Status: 'FAILED',
      Error: expect.stringContaining(arn),
    });
    expect(certificates()).toEqual([]);
  });

  test('a certificate of its own tag from before is not its own', async () => {
    const first = await system.request();
    const equal = { names: ['www.example.com'], keyAlgorithm: 'RSA_2048' as const };
    const arn = await system.acm.issue('equal', equal, { CertName: 'web-prod' });
    system.advance({ hours: 1 });
    await finish(first);
    expect((await system.requested()).body).toMatchObject({
      Status: 'FAILED',
      Error: expect.stringContaining(arn),
    });
    expect(certificates()).toEqual([]);
  });

  test('what asked before and was answered in vain is found within the hour, too', async () => {
    const first = await system.request();
    system.acm.failNext('RequestCertificate', awsError('TimeoutError'), 'after');
    await system.step(execution(first));
    system.advance({ minutes: 5 });
    expect(await askedFor(first)).toMatch(/^arn:/);
    expect(certificates()).toHaveLength(1);
  });

  test.each<[string, object]>([
    ['that has failed', { Status: 'FAILED' }],
    ['that is done', { Status: 'DONE' }],
    ['that is another one by now', { RequestNumber: 1 }],
  ])('a request %s holds no names', async (_what, change) => {
    await system.request({}, undefined, 'web-a');
    const { requests } = system.inventory;
    const request = await requests.get('web-a');
    await requests.write(request, { ...request, ...change } as never);
    const second = await system.request({}, undefined, 'web-b');
    expect(second.status).toBe(202);
    expect(await system.requestStep(input(second))).toMatchObject({ Action: 'WAIT' });
    expect(certificates()).toHaveLength(1);
  });

  test('a POST that was cut off before it wrote its request holds no names', async () => {
    system.cloud.faults.inject({
      operation: 'DynamoDB_20120810.UpdateItem',
      kind: 'refuse',
      error: awsError('InternalServerError'),
      when: ({ input: call }) => JSON.stringify(call).includes('Asked'),
    });
    await expect(system.request({}, undefined, 'web-a')).rejects.toThrow();
    expect((await system.request({}, undefined, 'web-b')).status).toBe(202);
  });
});

describe('what dies, or is lost', () => {
  test('an answer of ACM that is lost costs no second certificate', async () => {
    const answer = await system.request();
    system.acm.failNext('RequestCertificate', awsError('TimeoutError'), 'after');
    await system.step(execution(answer));
    const { CertificateSummaryList } = await listed();
    listNothing();
    const arn = await askedFor(answer);
    expect(certificates()).toHaveLength(2);
    expect(new Set(certificates().map(({ IdempotencyToken }) => IdempotencyToken)).size).toBe(1);
    expect(CertificateSummaryList.map(({ CertificateArn }) => CertificateArn)).toEqual([arn]);
  });

  test('nor when it is asked again after ACM has forgotten the token', async () => {
    const answer = await system.request();
    system.acm.failNext('RequestCertificate', awsError('TimeoutError'), 'after');
    await system.step(execution(answer));
    system.advance({ hours: 3 });
    const arn = await askedFor(answer);
    expect(certificates()).toHaveLength(1);
    const { CertificateSummaryList } = await listed();
    expect(CertificateSummaryList.map(({ CertificateArn }) => CertificateArn)).toEqual([arn]);
  });

  test('a certificate of another name, or from before, is not taken for the one that was asked for', async () => {
    const names = ['www.example.com'];
    const equal = { names, status: 'EXPIRED', keyAlgorithm: 'RSA_2048' } as const;
    await system.acm.issue('before', equal, { CertName: 'web-prod' });
    system.advance({ hours: 1 });
    const answer = await system.request();
    system.acm.failNext('RequestCertificate', awsError('ServiceUnavailable', undefined, 'server'));
    await system.step(execution(answer));
    await system.acm.issue('other', equal, { CertName: 'web-other' });
    system.advance({ hours: 3 });
    const arn = await askedFor(answer);
    expect(arn).not.toMatch(/certificate\/(before|other)$/);
    expect(certificates()).toHaveLength(2);
  });

  const listed = async () => {
    const all = system.cloud.services.acm.operations['CertificateManager.ListCertificates'];
    return (await all?.({}, { account: CENTRAL, region: REGION } as never)) as {
      CertificateSummaryList: { CertificateArn: string }[];
    };
  };

  test.each([1, 2, 3, 4, 5, 6])(
    'a function that dies at its call %i is repeated, and all goes well',
    async (call) => {
      for (const when of ['before', 'after'] as const) {
        system = await System.create();
        system.cloud.services.acm.validation = 'by hand';
        system.dnsAccounts = '';
        const answer = await system.request();
        const input = { CertName: 'web-prod', RequestNumber: answer.body.RequestNumber };
        await interleave(
          [{ run: (around) => system.requestStep(input, { around }), crash: { call, when } }],
          () => 0,
        );
        await issue(await askedFor(answer));
        await finish(answer);
        expect((await system.requested()).body).toMatchObject({ Status: 'DONE' });
        expect((await listed()).CertificateSummaryList).toHaveLength(1);
      }
    },
  );

  test.each(['Requests', 'Asked'])(
    'a POST whose write of %s was not heard answers the request that it wrote',
    async (written) => {
      system.repeats = true;
      system.cloud.faults.inject({
        operation: 'DynamoDB_20120810.UpdateItem',
        kind: 'answer-lost',
        when: ({ input }) => JSON.stringify(input).includes(written),
      });
      const answer = await system.request();
      expect(answer.status).toBe(202);
      expect(system.sfn.executions.size).toBe(1);
      const { Items } = await system.client.send(
        new QueryCommand({
          TableName: system.table,
          KeyConditionExpression: 'DeploymentId = :id',
          ExpressionAttributeValues: { ':id': 'count#requests' },
        }),
      );
      expect(Items?.map(({ Requests }) => Requests.size)).toEqual([1]);
    },
  );

  test('two executions of one request ask once and register once', async () => {
    await system.target().addNode('i-00000001');
    const answer = await system.request({ Deployments: [WEB] });
    const input = { CertName: 'web-prod', RequestNumber: answer.body.RequestNumber };
    const both = (work: (around: never) => Promise<unknown>, seed: number) =>
      interleave([{ run: work as never }, { run: work as never }], (of) => (seed++ * 7) % of);
    await both((around) => system.requestStep(input, { around }), 1);
    const arn = (await open())?.CertificateArn ?? '';
    expect((await listed()).CertificateSummaryList).toHaveLength(1);
    await issue(arn);
    await both((around) => system.requestStep(input, { around }), 3);
    await both((around) => system.registerRequested(input, { around }), 5);
    await system.runAll();
    expect((await system.requested()).body).toMatchObject({ Status: 'DONE' });
    expect(await system.deployment(webId())).toMatchObject({ Status: 'INSTALLED', Rollouts: 1 });
  });

  test('a number that is not the current one ends quietly, and changes nothing', async () => {
    const answer = await system.request();
    const before = await everything();
    const RequestNumber = answer.body.RequestNumber - 1;
    expect(await system.requestStep({ CertName: 'web-prod', RequestNumber })).toMatchObject({
      Action: 'END',
    });
    expect(await system.requestStep({ CertName: 'web-none', RequestNumber })).toMatchObject({
      Action: 'END',
    });
    await system.registerRequested({ CertName: 'web-prod', RequestNumber });
    expect(await everything()).toEqual(before);
    expect(certificates()).toEqual([]);
  });

  test('a certificate that ACM does not know yet is waited for, and one that was deleted ends the request', async () => {
    const answer = await system.request();
    const arn = await askedFor(answer);
    system.acm.remove(arn);
    const input = { CertName: 'web-prod', RequestNumber: answer.body.RequestNumber };
    expect(await system.requestStep(input)).toMatchObject({ Action: 'WAIT' });
    system.advance({ minutes: 5 });
    expect(await system.requestStep(input)).toMatchObject({
      Action: 'FAILED',
      Error: expect.stringContaining('deleted'),
    });
    expect((await system.requested()).body.Status).toBe('FAILED');
  });

  test('rules that were narrowed meanwhile hold, and ACM is not asked', async () => {
    const answer = await system.request();
    system.requestRules = 'web-prod=api.example.com';
    await finish(answer);
    expect(certificates()).toEqual([]);
    expect((await system.requested()).body).toMatchObject({
      Status: 'FAILED',
      Error: expect.stringContaining('RequestRules'),
    });
    expect(system.sfn.executions.get(execution(answer))?.status).toBe('FAILED');
  });

  test('what ACM was asked before, and answered in vain, is never said not to have been asked', async () => {
    const answer = await system.request();
    system.acm.failNext('RequestCertificate', awsError('TimeoutError'), 'after');
    await system.step(execution(answer));
    system.requestRules = 'web-prod=api.example.com';
    listNothing();
    await finish(answer);
    const { body } = await system.requested();
    expect(body).toMatchObject({
      Status: 'FAILED',
      Error: expect.stringMatching(/^ACM may have been asked before.*delete it.*RequestRules/),
    });
    expect(body.Error).not.toContain('ACM was not asked.');
  });

  test('and its certificate is taken, where the list shows it', async () => {
    const answer = await system.request();
    system.acm.failNext('RequestCertificate', awsError('TimeoutError'), 'after');
    await system.step(execution(answer));
    system.requestRules = 'web-prod=api.example.com';
    system.maxCertificatesPerDay = 0;
    system.advance({ minutes: 1 });
    expect(await askedFor(answer)).toMatch(/^arn:/);
    expect(certificates()).toHaveLength(1);
  });

  test.each([
    ['LimitExceededException', /quota/],
    ['InvalidParameterException', /Correct what it names/],
    ['TagPolicyException', /Correct what it names/],
  ])('what ACM refuses for good (%s) fails the request, with the way out', async (name, words) => {
    const answer = await system.request();
    system.acm.failNext('RequestCertificate', awsError(name));
    await finish(answer);
    expect((await system.requested()).body).toMatchObject({
      Status: 'FAILED',
      Error: expect.stringMatching(words),
    });
  });

  test('what ACM throttles is tried again', async () => {
    const answer = await system.request();
    system.acm.failNext('RequestCertificate', awsError('ThrottlingException'));
    expect(await system.step(execution(answer))).toBe(true);
    expect(await askedFor(answer)).toMatch(/^arn:/);
  });
});

describe('the ceiling of a day', () => {
  test('refuses what comes after it, with no 429, and lets it through the next day', async () => {
    system.maxCertificatesPerDay = 2;
    for (const certName of ['web-a', 'web-b']) {
      expect(
        (await system.request({ DomainNames: [`${certName}.example.com`] }, undefined, certName)).status,
      ).toBe(202);
    }
    const third = () => system.request({ DomainNames: ['web-c.example.com'] }, undefined, 'web-c');
    expect(await third()).toMatchObject({
      status: 409,
      body: { Message: expect.stringContaining('MaxCertificatesPerDay') },
    });
    expect(await system.inventory.requests.get('web-c')).toBeUndefined();
    // The same wish is no new one.
    expect((await system.request({ DomainNames: ['web-a.example.com'] }, undefined, 'web-a')).status).toBe(
      202,
    );
    system.advance({ days: 1 });
    expect((await third()).status).toBe(202);
  });

  test('of 0 lets none through, on any day', async () => {
    system.maxCertificatesPerDay = 0;
    for (let day = 0; day < 2; day += 1) {
      expect(await system.request()).toMatchObject({
        status: 409,
        body: { Message: expect.stringContaining('MaxCertificatesPerDay') },
      });
      expect(await open()).toBeUndefined();
      system.advance({ days: 1 });
    }
  });

  test('of 0 stops also a request that was counted before, until ACM is asked', async () => {
    const answer = await system.request();
    system.maxCertificatesPerDay = 0;
    await finish(answer);
    expect((await system.requested()).body).toMatchObject({
      Status: 'FAILED',
      Error: expect.stringContaining('MaxCertificatesPerDay'),
    });
    expect(certificates()).toEqual([]);
  });

  test('counts on the day on which ACM is asked, whatever a request says of itself', async () => {
    system.requestRules = '*=.example.com';
    system.maxCertificatesPerDay = 2;
    await system.request({ DomainNames: ['a.example.com'] }, undefined, 'web-0');
    const first = await system.inventory.requests.get('web-0');
    for (let at = 1; at <= 5; at += 1) {
      const CertName = `x${at}`;
      const Wish = { ...first?.Wish, DomainNames: [`x${at}.example.com`] };
      const CreatedAt = `2001-01-0${at}T00:00:00Z`;
      const request = { ...first, CertName, CreatedAt, Wish } as never;
      await system.inventory.requests.write(undefined, request);
      await system.requestStep({ CertName, RequestNumber: first?.RequestNumber ?? 0 });
    }
    expect(certificates()).toHaveLength(1);
  });

  test('counts a request once a day, however often it is worked on, and again when it is asked on another day', async () => {
    system.maxCertificatesPerDay = 1;
    const answer = await system.request();
    const now = () => system.inventory.requests.countOn(system.clock.now());
    for (let again = 0; again < 2; again += 1) {
      system.acm.failNext('RequestCertificate', awsError('ThrottlingException'));
      await system.step(execution(answer));
    }
    expect(await now()).toBe(1);
    system.advance({ days: 1 });
    expect(await askedFor(answer)).toMatch(/^arn:/);
    expect(await now()).toBe(1);
  });

  test('counts a POST that is cut off and repeated once', async () => {
    system.maxCertificatesPerDay = 1;
    for (let again = 0; again < 3; again += 1) {
      system.cloud.faults.inject({
        operation: 'DynamoDB_20120810.UpdateItem',
        kind: 'refuse',
        error: awsError('InternalServerError'),
        when: ({ input }) => JSON.stringify(input).includes('Asked'),
      });
      await expect(system.request()).rejects.toThrow();
      system.advance({ seconds: 2 });
    }
    const answer = await system.request();
    expect(answer.status).toBe(202);
    expect(await askedFor(answer)).toMatch(/^arn:/);
    expect((await system.request({ DomainNames: ['b.example.com'] }, undefined, 'web-b')).status).toBe(409);
  });

  test('counts the next request of the same names anew', async () => {
    system.maxCertificatesPerDay = 1;
    const first = await system.request();
    system.acm.held(await askedFor(first)).status = 'FAILED';
    await finish(first);
    system.advance({ hours: 1 });
    expect(await system.request()).toMatchObject({
      status: 409,
      body: { Message: expect.stringContaining('MaxCertificatesPerDay') },
    });
  });

  test('holds also for what was written past the API', async () => {
    const answer = await system.request();
    system.maxCertificatesPerDay = 0;
    const request = await open();
    await system.inventory.requests.write(request, { ...request, RequestNumber: 7 } as never);
    expect(await system.requestStep({ CertName: 'web-prod', RequestNumber: 7 })).toMatchObject({
      Action: 'FAILED',
      Error: expect.stringContaining('MaxCertificatesPerDay'),
    });
    expect(certificates()).toEqual([]);
    expect(answer.status).toBe(202);
  });
});

describe('the deployments of a request', () => {
  test('one that is refused by then is named, and the others are registered all the same', async () => {
    const other = { ...WEB, TargetAccount: CENTRAL };
    const answer = await system.request({ Deployments: [WEB, other] });
    await issue(await askedFor(answer));
    system.targetAccounts = CENTRAL;
    await system.runAll();
    const { body } = await system.requested();
    expect(body).toMatchObject({ Status: 'DONE', Error: expect.stringContaining(`account ${MEMBER}`) });
    expect(await system.inventory.get(webId())).toBeUndefined();
    const id = deploymentIdOf({ ...other, TargetRegion: REGION }, 'web-prod');
    expect(await system.deployment(id)).toMatchObject({ CertificateArn: body.CertificateArn });
    expect(body.Reason).toContain('refused');
  });

  test('one whose account refuses for now is registered: its rollout is tried again by itself', async () => {
    await system.target().addNode('i-00000001');
    const answer = await system.request({ Deployments: [WEB] });
    await issue(await askedFor(answer));
    const open = system.refuse(MEMBER);
    await finish(answer);
    const { body } = await system.requested();
    expect([body.Status, body.Error]).toEqual(['DONE', undefined]);
    open();
    await system.runAll();
    expect(await system.deployment(webId())).toMatchObject({ Status: 'INSTALLED' });
  });

  test('one that cannot be registered holds up no other, and is named when the time is over', async () => {
    const other = { ...WEB, TargetTagValue: 'other' };
    const otherId = deploymentIdOf({ ...other, TargetRegion: REGION }, 'web-prod');
    const answer = await system.request({ Deployments: [WEB, other] });
    await issue(await askedFor(answer));
    system.cloud.faults.inject({
      operation: 'DynamoDB_20120810.UpdateItem',
      kind: 'refuse',
      times: Number.POSITIVE_INFINITY,
      error: awsError('ValidationException', 'no such thing'),
      when: ({ input }) => {
        const call = JSON.stringify(input);
        return call.includes(webId()) && !call.includes('request#');
      },
    });
    await finish(answer);
    expect(system.sfn.executions.get(execution(answer))?.status).toBe('FAILED');
    expect((await open())?.Registered).toEqual([otherId]);
    expect(await system.inventory.get(otherId)).toBeDefined();
    for (let half = 0; half < 160; half += 1) {
      for (const { arn } of system.sfn.running()) while (await system.step(arn));
      system.advance({ minutes: 30 });
      await system.reconcile('nodes');
    }
    const { body } = await system.requested();
    expect(body).toMatchObject({
      Status: 'DONE',
      Reason: expect.stringContaining('could not be registered'),
      Error: expect.stringMatching(/no such thing\. Register each of these by hand/),
    });
    expect(body.Error).toContain(webId());
    expect(body.Error).not.toContain(otherId);
    expect(body.Error).not.toContain('POST the request again');
    expect(await system.inventory.requests.marks()).toEqual([]);
    const { Subject } = system.messages().at(-1) ?? {};
    expect(Subject).toBe('Certificate request of web-prod left deployments out');
  });

  test('they are noted during a freeze, and begin after it', async () => {
    await system.target().addNode('i-00000001');
    const answer = await system.request({ Deployments: [WEB] });
    await issue(await askedFor(answer));
    await system.freeze();
    await finish(answer);
    expect((await system.requested()).body.Status).toBe('DONE');
    expect(await system.deployment(webId())).toMatchObject({
      Rollouts: 0,
      Reason: expect.stringContaining('frozen'),
    });
    await system.thaw();
    await system.reconcile('nodes');
    await system.runAll();
    expect(await system.deployment(webId())).toMatchObject({ Status: 'INSTALLED' });
  });

  test('one that a person changed since is not registered again', async () => {
    await system.target().addNode('i-00000001');
    const answer = await system.request({ Deployments: [WEB] });
    const arn = await askedFor(answer);
    await issue(arn);
    await system.step(execution(answer));
    const input = { CertName: 'web-prod', RequestNumber: answer.body.RequestNumber };
    // It dies before it ends the request.
    system.cloud.faults.inject({
      operation: 'DynamoDB_20120810.UpdateItem',
      kind: 'refuse',
      error: awsError('InternalServerError'),
      when: ({ input: call }) => JSON.stringify(call).includes('DONE'),
    });
    await expect(system.registerRequested(input)).rejects.toThrow();
    // The person's own POST: it has an id of its own.
    const changed = await system.inventory.get(webId());
    const wanted = { ...changed?.Wanted, Generation: 2, CorrelationId: 'person' } as Wanted;
    const order = orderOf({ ...changed, Options: { ...changed?.Options, VerifyPort: 8443 } } as Deployment);
    await system.inventory.want(webId(), changed, wanted, { order, notAfter: '2027-06-09T23:59:59Z' });
    expect((await system.inventory.get(webId()))?.CertificateArn).toBe(arn);
    await system.registerRequested(input);
    expect(await system.deployment(webId())).toMatchObject({ VerifyPort: 8443 });
    expect((await system.requested()).body.Status).toBe('DONE');
  });

  test('one that was registered, and not noted, is not registered again', async () => {
    await system.target().addNode('i-00000001');
    const answer = await system.request({ Deployments: [WEB] });
    await issue(await askedFor(answer));
    await system.step(execution(answer));
    const input = { CertName: 'web-prod', RequestNumber: answer.body.RequestNumber };
    system.cloud.faults.inject({
      operation: 'DynamoDB_20120810.UpdateItem',
      kind: 'refuse',
      error: awsError('InternalServerError'),
      when: ({ input: call }) => JSON.stringify(call).includes('Registered'),
    });
    await expect(system.registerRequested(input)).rejects.toThrow();
    const [rollout] = system.sfn.running().filter(({ arn }) => arn !== execution(answer));
    while (await system.step(rollout?.arn ?? ''));
    await system.registerRequested(input);
    await system.runAll();
    expect((await system.requested()).body.Status).toBe('DONE');
    expect(await system.deployment(webId())).toMatchObject({ Status: 'INSTALLED', Rollouts: 1 });
  });

  describe('that others changed while ACM validated', () => {
    const wanted = { ...WEB, ReloadServices: ['nginx'] };
    async function validated(): Promise<string> {
      const arn = (await open())?.CertificateArn ?? '';
      await issue(arn);
      await system.runAll();
      return arn;
    }
    const rollouts = async () => {
      for (const { arn } of system.sfn.running()) {
        if (!arn.includes('certificate-request')) while (await system.step(arn));
      }
    };
    beforeEach(async () => {
      await system.target().addNode('i-00000001');
    });

    test.each(['there was none', 'there was one'])(
      'by a newer order are left as they are: %s',
      async (what) => {
        const old = await system.acm.issue('old', { names: ['old.example.com'] });
        if (what === 'there was one') {
          await system.register({ CertificateArn: old, VerifyPort: 443 });
          await rollouts();
        }
        const answer = await system.request({ Deployments: [wanted] });
        await askedFor(answer);
        system.advance({ hours: 20 });
        await system.register({ CertificateArn: old, VerifyPort: 8443, ReloadServices: ['apache2'] });
        await rollouts();
        await validated();
        expect(await system.deployment(webId())).toMatchObject({
          CertificateArn: old,
          VerifyPort: 8443,
          ReloadServices: ['apache2'],
        });
        expect((await system.requested()).body).toMatchObject({
          Status: 'DONE',
          Error: expect.stringMatching(
            new RegExp(`${webId()}: It was changed, registered or deleted .* by hand`),
          ),
        });
      },
    );

    test('by a DELETE are not registered again', async () => {
      const old = await system.acm.issue('old', { names: ['old.example.com'] });
      const { body } = await system.register({ CertificateArn: old });
      await rollouts();
      await askedFor(await system.request({ Deployments: [wanted] }));
      await system.remove(body.DeploymentId);
      await validated();
      expect(await system.inventory.get(webId())).toBeUndefined();
      expect((await system.requested()).body.Error).toContain(webId());
    });

    test('where none was, and one was only tried since, get the certificate', async () => {
      const old = await system.acm.issue('old', { names: ['old.example.com'] });
      await askedFor(await system.request({ Deployments: [wanted] }));
      await system.register({ CertificateArn: old, VerifyPort: 8443, DryRun: true });
      await rollouts();
      const arn = await validated();
      expect((await system.requested()).body.Error).toBeUndefined();
      expect(await system.deployment(webId())).toMatchObject({ CertificateArn: arn });
    });

    test('by nothing but a repeated rollout or a dry run get the certificate', async () => {
      const old = await system.acm.issue('old', { names: ['old.example.com'] });
      const { body } = await system.register({ CertificateArn: old });
      await rollouts();
      await askedFor(await system.request({ Deployments: [wanted] }));
      await system.rollouts(body.DeploymentId);
      await rollouts();
      await system.register({ CertificateArn: old, VerifyPort: 8443, DryRun: true });
      await rollouts();
      const arn = await validated();
      expect((await system.requested()).body.Error).toBeUndefined();
      expect(await system.deployment(webId())).toMatchObject({
        CertificateArn: arn,
        VerifyPort: 443,
        ReloadServices: ['nginx'],
      });
    });
  });

  test('what a person left out stays as it is registered by then', async () => {
    const old = await system.acm.issue('old', { names: ['old.example.com'] });
    await system.register({ CertificateArn: old, VerifyPort: 8443, ReloadServices: ['nginx'] });
    await system.runAll();
    const { VerifyPort: _, ...asked } = WEB;
    const answer = await system.request({ Deployments: [asked] });
    await issue(await askedFor(answer));
    await system.runAll();
    expect(await system.deployment(webId())).toMatchObject({ VerifyPort: 8443, ReloadServices: ['nginx'] });
  });
});

test('what comes late changes no request that has ended, nor the next one', async () => {
  const first = await system.request();
  const { requests } = system.inventory;
  const { RequestNumber } = first.body;
  const record = { HostedZoneId: 'Z1', Account: CENTRAL, At: '2026-11-24T10:30:00Z' };
  const noted = { Written: { '_a.www.example.com.': record }, WritingFailure: 'no zone' };
  expect(await requests.noteRecords('web-prod', RequestNumber, noted)).toMatchObject(noted);
  expect((await system.requested()).body.Warnings).toEqual(['no zone']);
  expect(await requests.noteRecords('web-prod', RequestNumber, { Written: {} })).toMatchObject({
    Written: {},
  });
  expect((await system.requested()).body.Warnings).toEqual([]);
  await issue(await askedFor(first));
  await finish(first);
  const before = await everything();
  expect(await requests.noteRecords('web-prod', RequestNumber, noted)).toBeUndefined();
  expect(await requests.noteRecords('web-prod', RequestNumber + 1, noted)).toBeUndefined();
  expect(await everything()).toEqual(before);
});

describe('ACM says that a certificate was issued', () => {
  const issued = (arn: string) => ({
    source: 'aws.acm',
    'detail-type': 'ACM Certificate Available',
    resources: [arn],
    detail: { Action: 'ISSUANCE' },
  });

  test('the event goes on with the request, and the first execution ends quietly', async () => {
    const answer = await system.request({ Deployments: [WEB] });
    const arn = await askedFor(answer);
    await issue(arn);
    const step = await system.requestStep(issued(arn));
    expect(step).toMatchObject({
      CertName: 'web-prod',
      RequestNumber: answer.body.RequestNumber,
      Action: 'REGISTER',
    });
    await system.registerRequested(step);
    expect((await system.requested()).body.Status).toBe('DONE');
    await finish(answer);
    expect(system.sfn.executions.get(execution(answer))?.status).toBe('SUCCEEDED');
  });

  test.each<[string, unknown]>([
    ['a certificate without the tag', undefined],
    ['a certificate of a name that requested another one', { CertName: 'web-prod' }],
    ['a certificate of a name that requested none', { CertName: 'web-none' }],
  ])('%s is nobody’s', async (_what, tags) => {
    await askedFor(await system.request());
    const arn = await system.acm.issue(
      'own',
      { names: ['own.example.com'] },
      (tags ?? {}) as Record<string, string>,
    );
    const before = await everything();
    expect(await system.requestStep(issued(arn))).toMatchObject({ Action: 'END' });
    expect(await system.requestStep({ source: 'aws.acm', resources: ['arn:aws:s3:::x'] })).toMatchObject({
      Action: 'END',
    });
    expect(await system.requestStep({ source: 'aws.acm' })).toMatchObject({ Action: 'END' });
    expect(await everything()).toEqual(before);
  });
});

describe('reconcile', () => {
  const messages = () => system.messages().map(({ Subject }) => Subject);

  test('tells people once of a request that has failed', async () => {
    const answer = await system.request();
    const held = system.acm.held(await askedFor(answer));
    held.status = 'FAILED';
    await finish(answer);
    await system.reconcile('nodes');
    system.advance({ days: 3 });
    await system.reconcile('nodes');
    expect(messages()).toEqual(['Certificate request of web-prod failed']);
    expect(system.messages()[0]?.Message).toMatch(
      /What: .*refused[\s\S]*www\.example\.com[\s\S]*Since: [\s\S]*What to do: /,
    );
    expect(await system.inventory.requests.marks()).toEqual([]);
  });

  test('tells nobody of one that went well, and forgets its mark', async () => {
    const answer = await system.request();
    await issue(await askedFor(answer));
    await finish(answer);
    await system.reconcile('nodes');
    expect(messages()).toEqual([]);
    expect(await system.inventory.requests.marks()).toEqual([]);
  });

  test('starts what was never started', async () => {
    system.sfn.failNext('StartExecution', awsError('ServiceUnavailable', undefined, 'server'));
    const answer = await system.request();
    expect(answer).toMatchObject({
      status: 202,
      body: { Warnings: expect.arrayContaining([expect.stringContaining('could not be started')]) },
    });
    await system.reconcile('nodes');
    expect(system.sfn.executions.size).toBe(0);
    system.advance({ minutes: 15 });
    await system.reconcile('nodes');
    expect([...system.sfn.executions.keys()]).toEqual([execution(answer)]);
    await issue(await askedFor(answer));
    await finish(answer);
    expect((await system.requested()).body.Status).toBe('DONE');
  });

  test.each(['ABORTED', 'TIMED_OUT'] as const)(
    'continues a request whose execution is %s',
    async (status) => {
      const answer = await system.request();
      const arn = await askedFor(answer);
      system.sfn.end(execution(answer), status);
      await system.reconcile('nodes');
      expect(system.sfn.running()).toEqual([]);
      system.advance({ minutes: 15 });
      await system.reconcile('nodes');
      const [continued] = system.sfn.running();
      expect(continued?.name).toMatch(/^request-[0-9a-f]{24}-\d+-2$/);
      await issue(arn);
      await system.runAll();
      expect((await system.requested()).body).toMatchObject({ Status: 'DONE', CertificateArn: arn });
      expect(certificates()).toHaveLength(1);
    },
  );

  test('tells people once, within half an hour, of a record that cannot be written, and of none that can', async () => {
    const { acm, route53 } = system.cloud.services;
    acm.validation = 'public DNS';
    system.dnsAccounts = DNS;
    const zone = route53.createZone(DNS, 'example.com');
    system.cloud.publicDns.delegate('example.com', zone.nameServers);
    await system.addDns(DNS, [zone]);
    const answer = await system.request();
    // The zone moves before its record is written.
    system.cloud.publicDns.delegate('example.com', ['ns1.provider.net']);
    const pass = async (minutes: number) => {
      for (let minute = 0; minute < minutes; minute += 5) {
        await system.step(execution(answer));
        system.advance({ minutes: 5 });
        await system.reconcile('nodes');
      }
    };
    await pass(30);
    expect(messages()).toEqual(['Certificate request of web-prod cannot go on']);
    expect(system.messages().at(-1)?.Message).toMatch(
      /What: A validation record .* asks ns1\.provider\.net/s,
    );
    await pass(60);
    // Longer than a message is known as sent.
    system.advance({ hours: 30 });
    await pass(5);
    expect(messages()).toHaveLength(1);
    system.cloud.publicDns.delegate('example.com', zone.nameServers);
    await pass(30);
    expect((await open())?.UnwrittenSince).toBeUndefined();
  });

  test('leaves one alone whose execution runs', async () => {
    await askedFor(await system.request());
    system.advance({ hours: 1 });
    await system.reconcile('nodes');
    expect(system.sfn.executions.size).toBe(1);
  });

  test('gives up, and tells people once, when ACM’s 72 hours are over', async () => {
    const answer = await system.request();
    await askedFor(answer);
    for (let day = 0; day < 10; day += 1) {
      for (const { arn } of system.sfn.running()) system.sfn.end(arn, 'ABORTED');
      system.advance({ hours: 12 });
      await system.reconcile('nodes');
    }
    expect((await system.requested()).body).toMatchObject({
      Status: 'FAILED',
      Error: expect.stringContaining('ended without a result'),
    });
    expect(messages()).toEqual([
      'Certificate request of web-prod cannot go on',
      'Certificate request of web-prod failed',
    ]);
  });

  describe('of a call that AWS denies for good', () => {
    /** Runs what runs, in vain. */
    async function denied(): Promise<void> {
      for (const { arn } of system.sfn.running()) {
        system.acm.failNext('RequestCertificate', awsError('AccessDeniedException', 'not authorized to ask'));
        while (await system.step(arn));
      }
    }
    async function sweepAfter(minutes: number): Promise<void> {
      system.advance({ minutes });
      await system.reconcile('nodes');
    }

    test('GET shows the error, and people are told once, when two executions have died', async () => {
      await system.request();
      await denied();
      await sweepAfter(16);
      expect((await system.requested()).body.Warnings).toEqual([
        expect.stringMatching(/^Execution 1 of .*not authorized to ask\. The next one was started\./),
      ]);
      expect(messages()).toEqual([]);
      await denied();
      await sweepAfter(16);
      expect((await system.requested()).body).toMatchObject({
        Status: 'ASKING',
        Reason: expect.stringContaining('has ended without a result'),
        NextAttemptAt: expect.any(String),
        Warnings: [expect.stringMatching(/^Execution 2 of .*not authorized to ask\..*if you POST/)],
      });
      for (let hours = 0; hours < 24; hours += 1) {
        await denied();
        await sweepAfter(60);
      }
      expect(messages()).toEqual(['Certificate request of web-prod cannot go on']);
      expect(system.messages()[0]?.Message).toMatch(/What: 2 executions .*not authorized to ask/);
      // The pause has its longest within the first hours.
      expect((await open())?.Executions).toBeGreaterThanOrEqual(24);
    });

    test('a POST starts the next execution at once', async () => {
      const answer = await system.request();
      const running = await system.request();
      expect(system.sfn.executions.size).toBe(1);
      await denied();
      const again = await system.request();
      expect(running.body.ExecutionArn).toBe(answer.body.ExecutionArn);
      expect(again).toMatchObject({ status: 202, body: { RequestNumber: answer.body.RequestNumber } });
      expect(system.sfn.running().map(({ arn }) => arn)).toEqual([`${execution(answer)}-2`]);
      expect(execution(again)).toBe(`${execution(answer)}-2`);
      await issue(await askedFor(again));
      await finish(again);
      expect((await system.request()).body.Status).toBe('DONE');
      expect(system.sfn.executions.size).toBe(2);
    });

    test('people are told also where a program repeats its POST all the time', async () => {
      await system.request();
      for (let round = 0; round < 6; round += 1) {
        await denied();
        system.advance({ minutes: 1 });
        await system.request();
        await sweepAfter(4);
      }
      expect(messages()).toEqual(['Certificate request of web-prod cannot go on']);
      expect((await system.requested()).body.Warnings).toEqual([
        expect.stringContaining('not authorized to ask'),
      ]);
    });
  });

  test('continues once after a long standstill, however old the request is', async () => {
    const answer = await system.request();
    const arn = await askedFor(answer);
    system.sfn.end(execution(answer), 'ABORTED');
    await issue(arn);
    system.advance({ days: 5 });
    await system.reconcile('nodes');
    await system.runAll();
    expect((await system.requested()).body.Status).toBe('DONE');
  });

  test('forgets the mark of a POST that was cut off, after a while', async () => {
    await interleave(
      [{ run: (around) => system.request({}, { around }), crash: { call: 8, when: 'before' } }],
      () => 0,
    );
    expect(await open()).toBeUndefined();
    expect(await system.inventory.requests.marks()).toHaveLength(1);
    await system.reconcile('nodes');
    expect(await system.inventory.requests.marks()).toHaveLength(1);
    system.advance({ minutes: 15 });
    await system.reconcile('nodes');
    expect(await system.inventory.requests.marks()).toEqual([]);
  });

  test('tells people of deployments that were refused', async () => {
    const answer = await system.request({ Deployments: [WEB] });
    await issue(await askedFor(answer));
    system.targetAccounts = CENTRAL;
    await finish(answer);
    await system.reconcile('nodes');
    expect(messages()).toEqual(['Certificate request of web-prod left deployments out']);
  });
});
