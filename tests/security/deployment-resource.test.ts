import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Identity } from 'local-cloud';
import { evaluate } from 'local-cloud/iam';
import type { Deployed } from 'local-cloud/templates';
import { API_URL, Application, CENTRAL, OTHER, REGION } from '../functions/support/application.ts';

// Who registers what by CloudFormation: real signed calls of the function's role, decided by the policies of the templates.

const NAMES = 'web,team-*';
const ID = '0123456789abcdef01234567';

/** Removes statements from every policy of a stack. */
const without =
  (...sids: string[]) =>
  (deployed: Deployed): Deployed => {
    for (const { properties } of deployed.resources.values()) {
      for (const { PolicyDocument } of (properties.Policies ?? []) as {
        PolicyDocument: { Statement: { Sid: string }[] };
      }[]) {
        PolicyDocument.Statement = PolicyDocument.Statement.filter(({ Sid }) => !sids.includes(Sid));
      }
    }
    return deployed;
  };

/** A resource that is created, changed and deleted. */
async function wholeLife(app: Application, properties: object = {}) {
  const first = await app.deploy([app.resource({ ...properties })]);
  if (first.status !== 'CREATE_COMPLETE') return first;
  const second = await app.deploy([app.resource({ ...properties, VerifyPort: 443 })]);
  return second.status === 'UPDATE_COMPLETE' ? app.remove() : second;
}

const ALLOWED: [string, string][] = [
  ['POST', '/certificates/web/deployments'],
  ['GET', `/certificates/web/deployments/${ID}`],
  ['DELETE', `/certificates/web/deployments/${ID}`],
  ['POST', '/certificates/team-a/deployments'],
  ['GET', `/certificates/team-a/deployments/${ID}`],
  ['DELETE', `/certificates/team-a/deployments/${ID}`],
];
const DENIED: [string, string, string][] = [
  ['another name', 'POST', '/certificates/api/deployments'],
  ['a name with the same beginning', 'POST', '/certificates/web2/deployments'],
  ['a name that ends so', 'POST', '/certificates/a.web/deployments'],
  ['the beginning of a name', 'POST', '/certificates/we/deployments'],
  ['a name beside those with a star', 'POST', '/certificates/team/deployments'],
  ['GET of another name', 'GET', `/certificates/web2/deployments/${ID}`],
  ['DELETE of another name', 'DELETE', `/certificates/api/deployments/${ID}`],
  ['the list of a name', 'GET', '/certificates/web/deployments'],
  ['a rollout', 'POST', `/certificates/web/deployments/${ID}/rollouts`],
  ['a pause', 'POST', `/certificates/web/deployments/${ID}/pause`],
  ['a resumption', 'POST', `/certificates/web/deployments/${ID}/resume`],
  ['a renewal', 'POST', '/certificates/web/renewals'],
  ['the fleet', 'GET', '/deployments'],
  ['the endpoints', 'GET', '/endpoints'],
  ['a freeze', 'POST', '/freeze'],
  ['the state of the freeze', 'GET', '/freeze'],
  ['a thaw', 'POST', '/thaw'],
];

describe.each([
  ['the role of the function', false],
  ['the role in the central account', true],
])('%s', (_name, isElsewhere) => {
  let app: Application;
  let caller: Identity;

  beforeAll(async () => {
    app = await Application.create({ certNames: NAMES, isElsewhere });
    caller = isElsewhere ? app.callerSession() : app.session();
  });
  afterAll(() => app.cloud.stop());

  test('lets a resource be created, changed and deleted', async () => {
    expect(await wholeLife(app)).toMatchObject({ status: 'DELETE_COMPLETE', reasons: [] });
    expect(await wholeLife(app, { CertName: 'team-a' })).toMatchObject({ status: 'DELETE_COMPLETE' });
  });

  test.each(ALLOWED)('may %s %s', async (method, route) => {
    const { status, body } = await app.api(method, route, method === 'POST' ? {} : undefined, caller);
    // What the API itself says: of a body without fields, of a deployment that is not there.
    expect([status, body.CorrelationId]).toEqual([method === 'POST' ? 400 : 404, expect.any(String)]);
  });

  test.each(DENIED)('may not ask for %s', async (_what, method, route) => {
    const { status, body } = await app.api(method, route, method === 'POST' ? {} : undefined, caller);
    expect([status, body.Message]).toEqual([
      403,
      expect.stringMatching(/is not authorized to perform: execute-api:Invoke/),
    ]);
  });

  test('is worth nothing in another Region', async () => {
    const { status, body } = await app.api('POST', '/certificates/web/deployments', {}, caller, 'eu-west-1');
    expect([status, body.message]).toEqual([
      403,
      expect.stringMatching(/should be scoped to a valid region/),
    ]);
  });

  const arn = (account: string, region: string, api: string, rest = 'v1/POST/certificates/web/deployments') =>
    `arn:aws:execute-api:${region}:${account}:${api}/${rest}`;
  const api = new URL(API_URL).hostname.split('.')[0] as string;
  test.each([
    [true, 'the API', arn(CENTRAL, REGION, api)],
    [false, 'another API', arn(CENTRAL, REGION, 'zzzzzzzzzz')],
    [false, 'an API with the same beginning', arn(CENTRAL, REGION, `${api}0`)],
    [false, 'another stage', arn(CENTRAL, REGION, api, 'v2/POST/certificates/web/deployments')],
    [false, 'another Region', arn(CENTRAL, 'eu-west-1', api)],
    [false, 'another account', arn(OTHER, REGION, api)],
  ])('%s for %s, as its policies are evaluated', (isAllowed, _what, resource) => {
    const principal = app.cloud.services.identities.callerOf(
      app.cloud.services.identities.key(caller.credentials.accessKeyId) as never,
      REGION,
    ).principal;
    const request = {
      action: 'execute-api:Invoke',
      resource,
      context: {},
      resourceAccount: principal.account,
    };
    expect(evaluate(principal, request).allowed).toBe(isAllowed);
  });
});

describe('each grant is needed', () => {
  const broken = async (sid: string, isElsewhere: boolean) => {
    const app = await Application.create({ certNames: NAMES, isElsewhere, amend: without(sid) });
    const { status, reasons } = await wholeLife(app);
    await app.cloud.stop();
    return { status, reason: reasons[0] ?? '' };
  };

  test.each([
    [
      'RegisterOwnNames',
      'ROLLBACK_COMPLETE',
      /refuses POST \/certificates\/web\/deployments: .*What to do: Add the name to the parameter CertNames/,
    ],
    ['LookAtOwnNames', 'ROLLBACK_COMPLETE', /refuses GET /],
    ['DeleteOwnNames', 'DELETE_FAILED', /refuses DELETE /],
  ])('%s', async (sid, status, reason) => {
    for (const isElsewhere of [false, true]) {
      const found = await broken(sid, isElsewhere);
      expect([sid, isElsewhere, found.status]).toEqual([sid, isElsewhere, status]);
      expect(found.reason).toMatch(reason);
    }
  });

  test('AssumeCallerRole', async () => {
    const { status, reason } = await broken('AssumeCallerRole', true);
    expect([status, reason]).toEqual([
      'ROLLBACK_COMPLETE',
      expect.stringMatching(/^The role .* cannot be assumed: .* What to do/),
    ]);
  });

  test('and the one denial: without it the grants reach every API', async () => {
    const app = await Application.create({ certNames: NAMES, amend: without('OnlyDeploymentsApi') });
    const { identities } = app.cloud.services;
    const { principal } = identities.callerOf(
      identities.key(app.session().credentials.accessKeyId) as never,
      REGION,
    );
    const resource = `arn:aws:execute-api:${REGION}:${CENTRAL}:zzzzzzzzzz/v1/POST/certificates/web/deployments`;
    expect(
      evaluate(principal, { action: 'execute-api:Invoke', resource, context: {}, resourceAccount: CENTRAL })
        .allowed,
    ).toBe(true);
    await app.cloud.stop();
  });
});

describe('the application in another account', () => {
  test('is limited by the role of the central account', async () => {
    const app = await Application.create({ certNames: 'web,api', roleNames: 'api', isElsewhere: true });
    expect((await wholeLife(app)).reasons).toEqual([
      expect.stringMatching(/refuses GET \/certificates\/web\//),
    ]);
    expect((await wholeLife(app, { CertName: 'api' })).status).toBe('DELETE_COMPLETE');
    await app.cloud.stop();
  });

  test('is limited by the names of its own stack too', async () => {
    const app = await Application.create({ certNames: 'api', roleNames: 'web,api', isElsewhere: true });
    expect((await wholeLife(app)).reasons).toEqual([
      expect.stringMatching(/refuses GET \/certificates\/web\/.* because no session policy allows/),
    ]);
    expect((await wholeLife(app, { CertName: 'api' })).status).toBe('DELETE_COMPLETE');
    await app.cloud.stop();
  });

  test('cannot call the API with the role of its function alone', async () => {
    const app = await Application.create({ isElsewhere: true });
    const { status } = await app.api('POST', '/certificates/web/deployments', {}, app.session());
    expect(status).toBe(403);
    await app.cloud.stop();
  });

  describe('the role of the example', () => {
    let app: Application;
    beforeAll(async () => {
      app = await Application.create({ isElsewhere: true });
    });
    afterAll(() => app.cloud.stop());

    const roleIn = (account: string, name: string, path = '/') => {
      const inlinePolicies = [
        { Statement: { Effect: 'Allow' as const, Action: 'sts:AssumeRole', Resource: '*' } },
      ];
      const trustPolicy = {
        Statement: {
          Effect: 'Allow' as const,
          Principal: { Service: 'lambda.amazonaws.com' },
          Action: 'sts:AssumeRole',
        },
      };
      const { identities } = app.cloud.services;
      identities.createRole(account, { name, path, trustPolicy, inlinePolicies });
      const session = { name: 'x', seconds: 900, source: 'x' };
      return identities.assumeAsService(
        'lambda.amazonaws.com',
        `arn:aws:iam::${account}:role${path}${name}`,
        {},
        session,
      );
    };
    const assume = (by: Identity, ExternalId?: string) => app.assumeCallerRole(by, ExternalId);
    const OWN = `acm-export-provide-deployment-${REGION}`;
    const RIGHT = 'only-for-these-tests';

    test('lets the function in', async () => {
      expect(await assume(app.session(), RIGHT)).toMatch(/^ASIA/);
    });

    test.each([
      ['another external id', () => app.session(), `${RIGHT}-2`],
      ['no external id', () => app.session(), undefined],
      ['a role with the same beginning', () => roleIn(OTHER, `${OWN}-2`), RIGHT],
      [
        'the function of another Region',
        () => roleIn(OTHER, 'acm-export-provide-deployment-eu-west-1'),
        RIGHT,
      ],
      ['a role of that name with a path', () => roleIn(OTHER, OWN, '/x/'), RIGHT],
      ['a role of that name in another account', () => roleIn('777788889999', OWN), RIGHT],
      [
        'an administrator of that account',
        () =>
          app.cloud.createUser(OTHER, 'administrator', [
            { Statement: { Effect: 'Allow', Action: '*', Resource: '*' } },
          ]),
        RIGHT,
      ],
    ])('does not let in: %s', async (_who, by, externalId) => {
      await expect(assume(by(), externalId)).rejects.toThrow(/not authorized to perform: sts:AssumeRole/);
    });
  });
});

test('who may not call the function registers nothing by it', async () => {
  const app = await Application.create();
  app.by = app.cloud.createUser(CENTRAL, 'stranger', []);
  expect(await wholeLife(app)).toMatchObject({
    status: 'ROLLBACK_FAILED',
    reasons: [expect.stringMatching(/not authorized to perform: lambda:InvokeFunction/), expect.any(String)],
  });
  await app.cloud.stop();
});
