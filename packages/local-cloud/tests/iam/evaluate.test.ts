import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  type AccessRequest,
  type ConditionBlock,
  evaluate,
  type PolicyDocument,
  type Principal,
  type Statement,
} from '../../src/iam/evaluate.ts';
import { NotModelled } from '../../src/iam/not-modelled.ts';

const account = '111122223333';
const other = '444455556666';
const roleArn = `arn:aws:iam::${account}:role/node`;
const sessionArn = `arn:aws:sts::${account}:assumed-role/node/i-1`;
const secretArn = `arn:aws:secretsmanager:eu-central-1:${account}:secret:shop/web/1a2b-AbCdEf`;

const policy = (...Statement: Statement[]): PolicyDocument => ({ Version: '2012-10-17', Statement });
const allow = (more: Partial<Statement> = {}): Statement => ({
  Effect: 'Allow',
  Action: '*',
  Resource: '*',
  ...more,
});
const deny = (more: Partial<Statement> = {}): Statement => ({ ...allow(more), Effect: 'Deny' });
const allowIf = (Condition: ConditionBlock) => policy(allow({ Condition }));

const principal = (more: Partial<Principal> = {}): Principal => ({
  account,
  arn: roleArn,
  sessionArn,
  tags: {},
  identityPolicies: [],
  ...more,
});
const request = (more: Partial<AccessRequest> = {}): AccessRequest => ({
  action: 'secretsmanager:GetSecretValue',
  resource: secretArn,
  context: {},
  resourceAccount: account,
  ...more,
});

const decide = (who: Partial<Principal>, what: Partial<AccessRequest> = {}) =>
  evaluate(principal(who), request(what));
const allowed = (who: Partial<Principal>, what: Partial<AccessRequest> = {}) => decide(who, what).allowed;
/** Whether a condition holds: of a statement that otherwise allows everything. */
const holds = (
  condition: ConditionBlock,
  context: AccessRequest['context'],
  tags: Record<string, string> = {},
) => allowed({ identityPolicies: [allowIf(condition)], tags }, { context });

describe('actions and resources', () => {
  test('actions are compared without regard to case, resources with', () => {
    const identityPolicies = [policy(allow({ Action: 'SecretsManager:getsecret*', Resource: secretArn }))];
    expect(allowed({ identityPolicies })).toBe(true);
    expect(
      allowed({ identityPolicies }, { resource: secretArn.toUpperCase().replace(/^ARN:AWS/, 'arn:aws') }),
    ).toBe(false);
    expect(allowed({ identityPolicies }, { action: 'secretsmanager:DeleteSecret' })).toBe(false);
  });

  test('a wildcard in a resource reaches over slashes, not over one of the first five colons', () => {
    const at = (Resource: string) => allowed({ identityPolicies: [policy(allow({ Resource }))] });
    expect(at(`arn:aws:secretsmanager:*:${account}:secret:shop/*`)).toBe(true);
    expect(at(`arn:aws:secretsmanager:eu-central-?:${account}:secret:*AbCdEf`)).toBe(true);
    expect(at('arn:aws:secretsmanager:*:*:*')).toBe(true);
    expect(at('arn:aws:*:secret:shop/web/1a2b-AbCdEf:x')).toBe(false);
    expect(at(`arn:aws:secretsmanager:*:${other}:secret:*`)).toBe(false);
    expect(at(`arn:aws:secretsmanager:eu-central-1:${account}:secret:shop/web/1a2b-??????`)).toBe(true);
  });

  test('an action without resource level is granted on * only', () => {
    const on = (Resource: string) =>
      allowed(
        { identityPolicies: [policy(allow({ Resource }))] },
        { action: 'ssm:ListCommands', resource: '*' },
      );
    expect(on('*')).toBe(true);
    expect(on(`arn:aws:ssm:eu-central-1:${account}:*`)).toBe(false);
  });

  test('NotAction and NotResource leave out what they name', () => {
    const notAction = [policy({ Effect: 'Allow', NotAction: 'iam:*', Resource: '*' })];
    expect(allowed({ identityPolicies: notAction })).toBe(true);
    expect(allowed({ identityPolicies: notAction }, { action: 'iam:PassRole' })).toBe(false);
    const notResource = [
      policy(allow(), { Effect: 'Deny', Action: '*', NotResource: `${secretArn.slice(0, -6)}*` }),
    ];
    expect(allowed({ identityPolicies: notResource })).toBe(true);
    expect(allowed({ identityPolicies: notResource }, { resource: `${secretArn.slice(0, -8)}x` })).toBe(
      false,
    );
  });
});

describe('policy variables', () => {
  const own = policy(
    allow({ Resource: `arn:aws:secretsmanager:*:*:secret:shop/\${aws:PrincipalTag/team}/*` }),
  );

  test('take the value of the request; without a value the statement grants nothing', () => {
    expect(allowed({ identityPolicies: [own], tags: { team: 'web' } })).toBe(true);
    expect(allowed({ identityPolicies: [own], tags: { team: 'db' } })).toBe(false);
    expect(allowed({ identityPolicies: [own] })).toBe(false);
    expect(
      holds(
        { StringEquals: { 'aws:ResourceTag/env': '${aws:PrincipalTag/env}' } },
        { 'aws:ResourceTag/env': '' },
      ),
    ).toBe(false);
  });

  test('a wildcard in a value that a variable brings in is taken literally', () => {
    expect(allowed({ identityPolicies: [own], tags: { team: '*' } })).toBe(false);
    expect(
      holds(
        { StringLike: { 'aws:ResourceTag/env': '${aws:PrincipalTag/env}' } },
        { 'aws:ResourceTag/env': 'prod' },
        { env: '*' },
      ),
    ).toBe(false);
  });

  test('a default value stands in, and ${*}, ${?} and ${$} are characters', () => {
    const value = (text: string) => ({ 'aws:ResourceTag/x': text });
    expect(
      holds({ StringEquals: { 'aws:ResourceTag/x': "${aws:PrincipalTag/x, 'none'}" } }, value('none')),
    ).toBe(true);
    expect(holds({ StringLike: { 'aws:ResourceTag/x': '${*}.*' } }, value('*.example.com'))).toBe(true);
    expect(holds({ StringLike: { 'aws:ResourceTag/x': '${*}.*' } }, value('a.example.com'))).toBe(false);
    expect(holds({ StringEquals: { 'aws:ResourceTag/x': 'a${?}${$}' } }, value('a?$'))).toBe(true);
  });

  test('policies from before 2012-10-17 have no variables', () => {
    const old = {
      Statement: [
        allow({
          Resource: '*',
          Condition: { StringEquals: { 'aws:ResourceTag/x': '${aws:PrincipalAccount}' } },
        }),
      ],
    };
    expect(allowed({ identityPolicies: [old] }, { context: { 'aws:ResourceTag/x': account } })).toBe(false);
  });
});

describe('condition operators', () => {
  const tag = 'aws:ResourceTag/env';

  test.each<[string, ConditionBlock, AccessRequest['context'], boolean]>([
    ['StringEquals: absent', { StringEquals: { [tag]: 'prod' } }, {}, false],
    ['StringEquals: case', { StringEquals: { [tag]: 'prod' } }, { [tag]: 'Prod' }, false],
    ['StringEquals takes no wildcards', { StringEquals: { [tag]: 'p*' } }, { [tag]: 'prod' }, false],
    ['StringEqualsIgnoreCase', { StringEqualsIgnoreCase: { [tag]: 'prod' } }, { [tag]: 'Prod' }, true],
    [
      'one of several values is enough',
      { StringEquals: { [tag]: ['dev', 'prod'] } },
      { [tag]: 'prod' },
      true,
    ],
    ['StringNotEquals: absent', { StringNotEquals: { [tag]: 'prod' } }, {}, true],
    [
      'StringNotEquals: none of the values',
      { StringNotEquals: { [tag]: ['dev', 'prod'] } },
      { [tag]: 'prod' },
      false,
    ],
    ['StringLike', { StringLike: { [tag]: 'p?o*' } }, { [tag]: 'prod' }, true],
    ['StringNotLike', { StringNotLike: { [tag]: 'p*' } }, { [tag]: 'prod' }, false],
    ['StringEqualsIfExists: absent', { StringEqualsIfExists: { [tag]: 'prod' } }, {}, true],
    ['StringEqualsIfExists: other', { StringEqualsIfExists: { [tag]: 'prod' } }, { [tag]: 'dev' }, false],
    ['Null true: absent', { Null: { [tag]: 'true' } }, {}, true],
    ['Null true: there', { Null: { [tag]: true } }, { [tag]: '' }, false],
    ['Null false: there', { Null: { [tag]: 'false' } }, { [tag]: '' }, true],
    ['Bool', { Bool: { 'aws:SecureTransport': 'false' } }, { 'aws:SecureTransport': 'true' }, false],
    [
      'NumericLessThan',
      { NumericLessThan: { 'secretsmanager:RecoveryWindowInDays': 10 } },
      { 'secretsmanager:RecoveryWindowInDays': '9' },
      true,
    ],
    [
      'NumericGreaterThanEquals: absent',
      { NumericGreaterThanEquals: { 'secretsmanager:RecoveryWindowInDays': '7' } },
      {},
      false,
    ],
    [
      'DateLessThan: ISO and epoch',
      { DateLessThan: { 'aws:CurrentTime': '2026-01-01T00:00:00Z' } },
      { 'aws:CurrentTime': '1767225599' },
      true,
    ],
    [
      'ArnLike',
      { ArnLike: { 'aws:SourceArn': 'arn:aws:ssm:*:1:automation-execution/*' } },
      { 'aws:SourceArn': 'arn:aws:ssm:r:1:automation-execution/x' },
      true,
    ],
    [
      'ArnLike: parts are compared apart',
      { ArnLike: { 'aws:SourceArn': 'arn:aws:ssm:*:1:x' } },
      { 'aws:SourceArn': 'arn:aws:ssm:r:2:1:x' },
      false,
    ],
    [
      'ArnEquals takes wildcards too',
      { ArnEquals: { 'aws:SourceArn': 'arn:aws:ssm:*:1:x' } },
      { 'aws:SourceArn': 'arn:aws:ssm:r:1:x' },
      true,
    ],
    ['ArnNotLike: absent', { ArnNotLike: { 'aws:SourceArn': 'arn:aws:ssm:*:1:x' } }, {}, true],
    [
      'ForAllValues: all in',
      { 'ForAllValues:StringEquals': { 'aws:TagKeys': ['a', 'b'] } },
      { 'aws:TagKeys': ['a'] },
      true,
    ],
    [
      'ForAllValues: one out',
      { 'ForAllValues:StringEquals': { 'aws:TagKeys': ['a', 'b'] } },
      { 'aws:TagKeys': ['a', 'c'] },
      false,
    ],
    ['ForAllValues: absent', { 'ForAllValues:StringEquals': { 'aws:TagKeys': ['a'] } }, {}, true],
    [
      'ForAnyValue: one in',
      { 'ForAnyValue:StringLike': { 'acm:DomainNames': '${*}.*' } },
      { 'acm:DomainNames': ['a.b', '*.b'] },
      true,
    ],
    ['ForAnyValue: absent', { 'ForAnyValue:StringEquals': { 'aws:TagKeys': ['a'] } }, {}, false],
    [
      'all operators and keys must hold',
      { StringEquals: { [tag]: 'prod', 'aws:ResourceTag/x': '1' } },
      { [tag]: 'prod' },
      false,
    ],
    ['key names have no case', { StringEquals: { 'AWS:resourcetag/ENV': 'prod' } }, { [tag]: 'prod' }, true],
    ['a key of the principal', { StringEquals: { 'aws:PrincipalAccount': account } }, {}, true],
  ])('%s', (_name, condition, context, expected) => {
    expect(holds(condition, context)).toBe(expected);
  });

  test('two tags that differ in case only must both fit an Allow, and one is enough for a Deny', () => {
    const both = { 'aws:ResourceTag/env': 'prod', 'aws:ResourceTag/Env': 'dev' };
    const isProd = { StringEquals: { 'aws:ResourceTag/env': 'prod' } };
    expect(holds(isProd, both)).toBe(false);
    const denied = { identityPolicies: [policy(allow(), deny({ Condition: isProd }))] };
    expect(allowed(denied, { context: both })).toBe(false);
  });

  test('tag keys of the principal have no case', () => {
    const condition = { StringEquals: { 'aws:ResourceTag/env': '${aws:PrincipalTag/ENV}' } };
    expect(holds(condition, { 'aws:ResourceTag/env': 'prod' }, { Env: 'prod' })).toBe(true);
  });
});

describe('what would have to be guessed at is not decided', () => {
  test.each<[string, Statement, AccessRequest['context']]>([
    ['an unknown operator', allow({ Condition: { IpAddress: { 'aws:SourceAccount': '1' } } }), {}],
    ['an unknown key', allow({ Condition: { StringEquals: { 'kms:ViaService': 'x' } } }), {}],
    ['an unknown element', { ...allow(), Resources: '*' } as Statement, {}],
    ['a principal in an identity policy', allow({ Principal: '*' }), {}],
    ['no resource', { Effect: 'Allow', Action: '*' }, {}],
    ['action and no action', allow({ NotAction: 'x:y' }), {}],
    ['a resource that is no ARN', allow({ Resource: 'secret' }), {}],
    ['a variable before the fifth colon', allow({ Resource: 'arn:aws:ssm:${aws:RequestedRegion}:1:x' }), {}],
    [
      'several values without a set operator',
      allow({ Condition: { StringEquals: { 'aws:TagKeys': 'a' } } }),
      { 'aws:TagKeys': ['a'] },
    ],
    [
      'a variable without a value in a negated condition',
      allow({ Condition: { StringNotEquals: { 'aws:ResourceTag/a': '${aws:PrincipalTag/a}' } } }),
      { 'aws:ResourceTag/a': 'b' },
    ],
    [
      'ARN comparison of no ARN',
      allow({ Condition: { ArnLike: { 'aws:SourceArn': '*' } } }),
      { 'aws:SourceArn': 'arn:aws:a:b:c:d' },
    ],
    [
      'a key of every request that is not there',
      allow({ Condition: { Bool: { 'aws:SecureTransport': 'true' } } }),
      {},
    ],
  ])('%s', (_what, statement, context) => {
    expect(() => allowed({ identityPolicies: [policy(statement)] }, { context })).toThrow(NotModelled);
  });

  test('NotPrincipal with Allow', () => {
    const resourcePolicies = [policy(allow({ NotPrincipal: { AWS: other } }))];
    expect(() => allowed({}, { resourcePolicies })).toThrow(NotModelled);
  });
});

describe('identity, session and resource policies', () => {
  const everything = [policy(allow())];
  const grantTo = (Principal: Statement['Principal'], more: Partial<Statement> = {}) => [
    policy(allow({ ...(Principal && { Principal }), ...more })),
  ];

  test('nothing is allowed by default', () => {
    expect(allowed({})).toBe(false);
    expect(allowed({ identityPolicies: everything })).toBe(true);
  });

  test('a session has what its role and its session policy both allow', () => {
    const narrow = policy(allow({ Action: 'secretsmanager:Get*' }));
    expect(allowed({ identityPolicies: everything, sessionPolicy: narrow })).toBe(true);
    expect(allowed({ identityPolicies: everything, sessionPolicy: policy(allow({ Action: 'ssm:*' })) })).toBe(
      false,
    );
    expect(allowed({ identityPolicies: [], sessionPolicy: narrow })).toBe(false);
    expect(allowed({ identityPolicies: everything, sessionPolicy: policy(allow(), deny()) })).toBe(false);
  });

  test('in one account a resource policy is enough; to the account itself it only delegates', () => {
    expect(allowed({}, { resourcePolicies: grantTo({ AWS: roleArn }) })).toBe(true);
    expect(allowed({}, { resourcePolicies: grantTo({ AWS: sessionArn }) })).toBe(true);
    expect(allowed({}, { resourcePolicies: grantTo('*') })).toBe(true);
    expect(allowed({}, { resourcePolicies: grantTo({ AWS: account }) })).toBe(false);
    expect(allowed({}, { resourcePolicies: grantTo({ AWS: `arn:aws:iam::${account}:role/other` }) })).toBe(
      false,
    );
  });

  test('a session policy limits what a resource policy grants to the role, not what it grants to the session', () => {
    const sessionPolicy = policy(allow({ Action: 'ssm:*' }));
    const tryAs = (name: string) => decide({ sessionPolicy }, { resourcePolicies: grantTo({ AWS: name }) });
    expect(tryAs(roleArn).allowed).toBe(false);
    expect(tryAs(roleArn).reason).toContain('because no session policy allows');
    expect(tryAs(sessionArn).allowed).toBe(true);
  });

  test('across accounts both sides must allow', () => {
    const what = { resourceAccount: other };
    const resourcePolicies = grantTo({ AWS: `arn:aws:iam::${account}:root` });
    expect(allowed({ identityPolicies: everything }, what)).toBe(false);
    expect(allowed({}, { ...what, resourcePolicies: grantTo({ AWS: roleArn }) })).toBe(false);
    expect(allowed({ identityPolicies: everything }, { ...what, resourcePolicies })).toBe(true);
    const sessionPolicy = policy(allow({ Action: 'ssm:*' }));
    expect(allowed({ identityPolicies: everything, sessionPolicy }, { ...what, resourcePolicies })).toBe(
      false,
    );
  });

  test('an explicit deny ends it, in whichever policy it stands', () => {
    const open = { identityPolicies: everything, sessionPolicy: policy(allow()) };
    const resourcePolicies = grantTo('*');
    expect(allowed(open, { resourcePolicies })).toBe(true);
    expect(allowed({ ...open, identityPolicies: [policy(allow(), deny())] }, { resourcePolicies })).toBe(
      false,
    );
    expect(allowed({ ...open, sessionPolicy: policy(allow(), deny()) }, { resourcePolicies })).toBe(false);
    const withDeny = [policy(allow({ Principal: '*' }), deny({ Principal: { AWS: account } }))];
    expect(allowed(open, { resourcePolicies: withDeny })).toBe(false);
  });

  test('a bundle that denies every other tag is closed to a principal without the tag', () => {
    const Condition = { StringNotEquals: { 'aws:PrincipalTag/env': 'prod' } };
    const resourcePolicies = [
      policy(
        deny({
          Sid: 'OnlyNodesOfThisTag',
          Principal: '*',
          Action: 'secretsmanager:GetSecretValue',
          Condition,
        }),
      ),
    ];
    const read = (tags: Record<string, string>) =>
      decide({ identityPolicies: everything, tags }, { resourcePolicies });
    expect(read({}).allowed).toBe(false);
    expect(read({ env: 'dev' }).allowed).toBe(false);
    expect(read({ env: 'prod' }).allowed).toBe(true);
    expect(read({ Env: 'prod' }).allowed).toBe(true);
    expect(read({ env: 'Prod' }).allowed).toBe(false);
    expect(read({}).reason).toMatch(
      /explicit deny in a resource-based policy \(statement OnlyNodesOfThisTag\)$/,
    );
  });

  test('NotPrincipal with Deny spares whom it names together with account and session', () => {
    const except = (...AWS: string[]) => [policy(deny({ NotPrincipal: { AWS } }))];
    const at = (...names: string[]) =>
      allowed({ identityPolicies: everything }, { resourcePolicies: except(...names) });
    expect(at(account, roleArn, sessionArn)).toBe(true);
    expect(at(account, roleArn)).toBe(false);
    expect(at(roleArn, sessionArn)).toBe(false);
    expect(at(other)).toBe(false);
  });

  test('an AWS service has only what a resource policy gives it, for the source it names', () => {
    const Condition = { ArnLike: { 'aws:SourceArn': `arn:aws:events:*:${account}:rule/renewal` } };
    const resourcePolicies = grantTo({ Service: 'events.amazonaws.com' }, { Condition });
    const as = (service: string, rule: string, policies = resourcePolicies) =>
      evaluate(
        { account: '', arn: '', service, tags: {}, identityPolicies: [] },
        request({
          resourcePolicies: policies,
          context: { 'aws:SourceArn': `arn:aws:events:r:${account}:rule/${rule}` },
        }),
      ).allowed;
    expect(as('events.amazonaws.com', 'renewal')).toBe(true);
    expect(as('events.amazonaws.com', 'another')).toBe(false);
    expect(as('ssm.amazonaws.com', 'renewal')).toBe(false);
    expect(as('events.amazonaws.com', 'renewal', [])).toBe(false);
  });
});

describe('trust policies', () => {
  const target = `arn:aws:iam::${other}:role/shop-courier`;
  const trust = (more: Partial<Statement>) => [
    policy({ Effect: 'Allow', Action: 'sts:AssumeRole', ...more }),
  ];
  const assume = (more: Partial<AccessRequest>): Partial<AccessRequest> => ({
    action: 'sts:AssumeRole',
    resource: target,
    resourceAccount: other,
    resourcePolicyKind: 'role trust policy',
    ...more,
  });
  const mayAssume = [
    policy(allow({ Action: 'sts:AssumeRole', Resource: 'arn:aws:iam::*:role/shop-courier' })),
  ];

  test('the trust policy must allow, in the same account too', () => {
    const same = { resourceAccount: account };
    expect(
      allowed(
        { identityPolicies: mayAssume },
        assume({ ...same, resourcePolicies: trust({ Principal: { AWS: other } }) }),
      ),
    ).toBe(false);
    expect(
      allowed(
        { identityPolicies: mayAssume },
        assume({ ...same, resourcePolicies: trust({ Principal: { AWS: account } }) }),
      ),
    ).toBe(true);
    expect(allowed({}, assume({ ...same, resourcePolicies: trust({ Principal: { AWS: account } }) }))).toBe(
      false,
    );
    expect(allowed({}, assume({ ...same, resourcePolicies: trust({ Principal: { AWS: roleArn } }) }))).toBe(
      true,
    );
  });

  test('external id and the exact role are both needed', () => {
    const resourcePolicies = trust({
      Principal: { AWS: `arn:aws:iam::${account}:root` },
      Condition: {
        StringEquals: { 'sts:ExternalId': 'ours' },
        ArnEquals: { 'aws:PrincipalArn': roleArn },
      },
    });
    const go = (arn: string, context: AccessRequest['context']) =>
      decide({ arn, identityPolicies: mayAssume }, assume({ resourcePolicies, context }));
    expect(go(roleArn, { 'sts:ExternalId': 'ours' }).allowed).toBe(true);
    expect(go(roleArn, { 'sts:ExternalId': 'theirs' }).allowed).toBe(false);
    expect(go(roleArn, {}).reason).toMatch(/because no role trust policy allows the sts:AssumeRole action$/);
    expect(go(`arn:aws:iam::${account}:role/other`, { 'sts:ExternalId': 'ours' }).allowed).toBe(false);
  });
});

test('a denial says who, what, on what and which policy to look at, in the words of AWS', () => {
  const resource = 'arn:aws:ssm:eu-central-1:111122223333:document/shop-run-on-node';
  expect(decide({}, { action: 'ssm:SendCommand', resource }).reason).toBe(
    `User: ${sessionArn} is not authorized to perform: ssm:SendCommand on resource: ${resource} because no identity-based policy allows the ssm:SendCommand action`,
  );
});

describe('for any policies', () => {
  const resources = ['a', 'b', 'c'].map((name) => `arn:aws:secretsmanager:r:${account}:secret:${name}`);
  const actions = ['secretsmanager:GetSecretValue', 'secretsmanager:PutSecretValue', 'ssm:SendCommand'];
  const pick = (choices: string[]) => fc.constantFrom(...choices, '*');
  const condition: fc.Arbitrary<ConditionBlock> = fc.oneof(
    fc.constant({}),
    fc.record({
      StringEquals: fc.record({ 'aws:ResourceTag/env': fc.constantFrom('prod', 'dev') }),
    }),
    fc.record({
      StringNotEquals: fc.record({ 'aws:PrincipalTag/env': fc.constantFrom('prod', 'dev') }),
    }),
  );
  const statement = (effect?: 'Allow' | 'Deny'): fc.Arbitrary<Statement> =>
    fc.record({
      Effect: effect ? fc.constant(effect) : fc.constantFrom('Allow' as const, 'Deny' as const),
      Action: pick(actions),
      Resource: pick(resources),
      Condition: condition,
    });
  const document = fc.array(statement(), { minLength: 1, maxLength: 4 }).map((list) => policy(...list));
  const toSomebody = fc.constantFrom<NonNullable<Statement['Principal']>>(
    '*',
    { AWS: roleArn },
    { AWS: account },
  );
  const resourceDocument = fc
    .tuple(fc.array(statement(), { minLength: 1, maxLength: 3 }), toSomebody)
    .map(([list, Principal]) => policy(...list.map((one) => ({ ...one, Principal }))));
  const tags = fc.constantFrom<Record<string, string>>({}, { env: 'prod' }, { env: 'dev' });
  const anyPrincipal = fc
    .record({ identityPolicies: fc.array(document, { maxLength: 2 }), tags, session: fc.option(document) })
    .map(({ session, ...rest }) => principal({ ...rest, ...(session && { sessionPolicy: session }) }));
  const something = fc
    .record({
      action: fc.constantFrom(...actions),
      resource: fc.constantFrom(...resources),
      resourceAccount: fc.constantFrom(account, other),
      env: fc.constantFrom('prod', 'dev', ''),
      resourcePolicies: fc.array(resourceDocument, { maxLength: 2 }),
    })
    .map(({ env, ...rest }) => request({ ...rest, context: env ? { 'aws:ResourceTag/env': env } : {} }));
  const runs = { numRuns: 1000 };

  test('one more Deny never allows more', () => {
    fc.assert(
      fc.property(
        anyPrincipal,
        something,
        statement('Deny'),
        fc.constantFrom('identity', 'resource'),
        (who, what, more, where) => {
          const wider =
            where === 'identity'
              ? evaluate({ ...who, identityPolicies: [...who.identityPolicies, policy(more)] }, what)
              : evaluate(who, {
                  ...what,
                  resourcePolicies: [...(what.resourcePolicies ?? []), policy({ ...more, Principal: '*' })],
                });
          return !wider.allowed || evaluate(who, what).allowed;
        },
      ),
      runs,
    );
  });

  test('a session policy never widens', () => {
    fc.assert(
      fc.property(anyPrincipal, something, document, (who, what, sessionPolicy) => {
        const { sessionPolicy: _none, ...unlimited } = who;
        return !evaluate({ ...who, sessionPolicy }, what).allowed || evaluate(unlimited, what).allowed;
      }),
      runs,
    );
  });

  test('without any Allow nothing is allowed', () => {
    const withoutAllow = (policies: PolicyDocument[]) =>
      policies
        .map(({ Statement }) => [Statement].flat().filter(({ Effect }) => Effect === 'Deny'))
        .filter((list) => list.length > 0)
        .map((list) => policy(...list));
    fc.assert(
      fc.property(anyPrincipal, something, (who, what) => {
        const stripped = { ...who, identityPolicies: withoutAllow(who.identityPolicies) };
        return !evaluate(stripped, { ...what, resourcePolicies: withoutAllow(what.resourcePolicies ?? []) })
          .allowed;
      }),
      runs,
    );
  });

  test('across accounts the resource’s side alone, or the caller’s alone, is never enough', () => {
    fc.assert(
      fc.property(anyPrincipal, something, (who, what) => {
        const across = { ...what, resourceAccount: other };
        const one = evaluate({ ...who, identityPolicies: [] }, across).allowed;
        return !one && !evaluate(who, { ...across, resourcePolicies: [] }).allowed;
      }),
      runs,
    );
  });
});
