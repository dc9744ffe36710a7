import { describe, expect, test } from '@jest/globals';
import { evaluate, type PolicyDocument } from 'local-cloud/iam';
import {
  CENTRAL,
  DNS,
  dnsStack,
  EXTERNAL_ID,
  OTHER_ZONE,
  policiesOf,
  resourceOf,
  writtenTemplate,
  ZONE,
} from './stacks.ts';

const stack = dnsStack();
const role = resourceOf(stack, 'ValidationRecordsRole');
const trust: PolicyDocument = role.properties.AssumeRolePolicyDocument;

test('the stack is one role without a transform, named by the Region of the central stack', () => {
  expect(writtenTemplate('dns-account.yaml').Transform).toBeUndefined();
  expect([...stack.resources.keys()]).toEqual(['ValidationRecordsRole']);
  expect(role.properties.RoleName).toBe('acm-export-validation-records-eu-central-1');
  expect(role.properties.ManagedPolicyArns).toBeUndefined();
  expect(stack.outputs).toEqual({
    ValidationRecordsRoleArn: `arn:aws:iam::${DNS.account}:role/acm-export-validation-records-eu-central-1`,
  });
});

describe('the role is taken on', () => {
  const WRITER = 'acm-export-write-validation-records-eu-central-1';
  const API = 'acm-export-deployments-api-eu-central-1';
  interface Try {
    by: string;
    account?: string;
    session: string | undefined;
    externalId?: string | undefined;
    action?: string;
  }
  const isTaken = ({ by, account = CENTRAL.account, session, action = 'sts:AssumeRole', ...rest }: Try) => {
    const externalId = 'externalId' in rest ? rest.externalId : EXTERNAL_ID;
    const principal = {
      account,
      arn: `arn:aws:iam::${account}:role/${by}`,
      sessionArn: `arn:aws:sts::${account}:assumed-role/${by}/x`,
      tags: {},
      identityPolicies: [
        { Version: '2012-10-17', Statement: { Effect: 'Allow' as const, Action: '*', Resource: '*' } },
      ],
    };
    return evaluate(principal, {
      action,
      resource: role.arn ?? '',
      context: {
        ...(session === undefined ? {} : { 'sts:RoleSessionName': session }),
        ...(externalId === undefined ? {} : { 'sts:ExternalId': externalId }),
      },
      resourcePolicies: [trust],
      resourcePolicyKind: 'role trust policy',
      resourceAccount: DNS.account,
    }).allowed;
  };

  test.each<[string, Try]>([
    ['the function that writes', { by: WRITER, session: 'write-validation-records-www' }],
    ['the function that looks', { by: API, session: 'deployments-api-www' }],
  ])('by %s', (_who, attempt) => {
    expect(isTaken(attempt)).toBe(true);
  });

  test.each<[string, Try]>([
    ['by the writer as the one who looks', { by: WRITER, session: 'deployments-api-www' }],
    ['by the one who looks as the writer', { by: API, session: 'write-validation-records-www' }],
    ['with a session that begins alike', { by: WRITER, session: 'write-validation-recordsx' }],
    ['with a session whose name is shorter', { by: WRITER, session: 'write-validation-x' }],
    ['with a session that ends so', { by: WRITER, session: 'x-write-validation-records-www' }],
    ['by one who looks with a session that begins alike', { by: API, session: 'deployments-apix' }],
    ['by one who looks with a shorter session', { by: API, session: 'deployments-www' }],
    ['without a session', { by: WRITER, session: undefined }],
    ['by one who looks without a session', { by: API, session: undefined }],
    [
      'without an external id',
      { by: WRITER, session: 'write-validation-records-www', externalId: undefined },
    ],
    [
      'with a longer external id',
      { by: WRITER, session: 'write-validation-records-www', externalId: `${EXTERNAL_ID}-2` },
    ],
    [
      'with other letters of it',
      { by: WRITER, session: 'write-validation-records-www', externalId: EXTERNAL_ID.toUpperCase() },
    ],
    [
      'by one who looks, without an external id',
      { by: API, session: 'deployments-api-www', externalId: undefined },
    ],
    ...[WRITER, API].flatMap((own): [string, Try][] => {
      const session = own === WRITER ? 'write-validation-records-www' : 'deployments-api-www';
      const name = own.replace('acm-export-', '').replace('-eu-central-1', '');
      return [
        [`by ${name} of another Region`, { by: `acm-export-${name}-eu-west-1`, session }],
        [`by ${name} of another prefix`, { by: `acm-export2-${name}-eu-central-1`, session }],
        [`by a role that begins like ${name}`, { by: `${own}-2`, session }],
        [`by ${name} of a path`, { by: `x/${own}`, session }],
        [`by ${name} in another account`, { by: own, session, account: '999988887777' }],
        [`by ${name} in this account`, { by: own, session, account: DNS.account }],
        [`by ${name} to set tags`, { by: own, session, action: 'sts:TagSession' }],
        [`by ${name} to say who it is`, { by: own, session, action: 'sts:SetSourceIdentity' }],
        [`by ${name} to go on for ever`, { by: own, session, action: 'sts:AssumeRoleWithSAML' }],
      ];
    }),
    ...[
      'export-certificate',
      'start-installation',
      'check-installation',
      'reconcile',
      'request-certificate',
    ].flatMap((name): [string, Try][] =>
      ['write-validation-records', 'deployments-api', name].map((as) => [
        `by ${name} as ${as}`,
        { by: `acm-export-${name}-eu-central-1`, session: `${as}-www` },
      ]),
    ),
  ])('never %s', (_how, attempt) => {
    expect(isTaken(attempt)).toBe(false);
  });

  test('by no name that lacks the part which tells the functions apart', () => {
    // The nearest names of roles: one part less, and one part more.
    for (const by of [
      'acm-export-write-validation-eu-central-1',
      'acm-export-write-eu-central-1',
      'acm-export-validation-records-eu-central-1',
      'acm-export-deployments-eu-central-1',
      'acm-export-eu-central-1',
      'acm-export-deployments-api',
      'acm-export-write-validation-records',
      'acm-export-deployments-apis-eu-central-1',
    ]) {
      for (const session of ['write-validation-records-www', 'deployments-api-www'])
        expect([by, isTaken({ by, session })]).toEqual([by, false]);
    }
  });
});

const HEX = 'a79865eb4cd1a6ab990a45779b4e0b96';
const RECORD = `_${HEX}.www.example.com`;
const KEY = 'route53:ChangeResourceRecordSets';
interface Call {
  as?: string | undefined;
  action?: string;
  resource?: string;
  names?: string[];
  types?: string[];
  actions?: string[];
}
const WRITE = 'write-validation-records-www';
const LOOK = 'deployments-api-www';

function isAllowed({
  as = WRITE,
  action = 'ChangeResourceRecordSets',
  resource = ZONE,
  ...call
}: Call): boolean {
  const { names = [RECORD], types = ['CNAME'], actions = ['UPSERT'] } = call;
  const isChange = action === 'ChangeResourceRecordSets';
  const principal = {
    account: DNS.account,
    arn: role.arn ?? '',
    sessionArn: `arn:aws:sts::${DNS.account}:assumed-role/${role.properties.RoleName}/${as}`,
    ...('as' in call && call.as === undefined ? {} : { userId: `AROA0123456789:${as}` }),
    tags: {},
    identityPolicies: policiesOf(role),
  };
  return evaluate(principal, {
    action: `route53:${action}`,
    resource,
    context: isChange
      ? {
          ...(names.length > 0 ? { [`${KEY}NormalizedRecordNames`]: names } : {}),
          ...(types.length > 0 ? { [`${KEY}RecordTypes`]: types } : {}),
          ...(actions.length > 0 ? { [`${KEY}Actions`]: actions } : {}),
        }
      : {},
    resourceAccount: DNS.account,
  }).allowed;
}

describe('the role writes', () => {
  test.each<[string, Call]>([
    ['a validation record', {}],
    ['one of the name above', { names: [`_${HEX}.example.com`] }],
    ['one of a long name', { names: [`_${HEX}.a.b.c.d.e-f.example.co.uk`] }],
    ['several', { names: [RECORD, `_${HEX}.example.com`] }],
    ['into the other zone', { resource: OTHER_ZONE }],
  ])('%s', (_what, call) => {
    expect(isAllowed(call)).toBe(true);
  });

  test.each<[string, Call]>([
    ['as the function that looks', { as: LOOK }],
    ['as a session that begins alike', { as: 'write-validation-recordsx' }],
    ['as a session whose name is shorter', { as: 'write-validation-www' }],
    ['as another that writes', { as: 'write-www' }],
    ['as a session that ends so', { as: 'x-write-validation-records-www' }],
    ['another type', { types: ['TXT'] }],
    ['a type whose name is longer', { types: ['CNAMES'] }],
    ['the type in small letters', { types: ['cname'] }],
    ['one type of two', { types: ['CNAME', 'A'] }],
    ['a deletion', { actions: ['DELETE'] }],
    ['a creation', { actions: ['CREATE'] }],
    ['an UPSERT in small letters', { actions: ['upsert'] }],
    ['an action whose name is longer', { actions: ['UPSERTED'] }],
    ['one action of two', { actions: ['UPSERT', 'DELETE'] }],
    ['one good name and one bad', { names: [RECORD, 'www.example.com'] }],
    ['no name at all', { names: [] }],
    ['no type at all', { types: [] }],
    ['no action at all', { actions: [] }],
    ['nothing at all', { names: [], types: [], actions: [] }],
    ['a zone that is not named', { resource: 'arn:aws:route53:::hostedzone/Z3' }],
    ['a zone that begins like one', { resource: `${ZONE}0` }],
    ['another zone that begins like one', { resource: `${OTHER_ZONE}2` }],
    ['a zone of another partition', { resource: ZONE.replace('aws', 'aws-cn') }],
    ['the server itself', { names: ['www.example.com'] }],
    ['a name in front of which nothing is', { names: [HEX.concat('.example.com')] }],
    ['a record with one character less', { names: [`_${HEX.slice(1)}.www.example.com`] }],
    ['a record with one character more', { names: [`_${HEX}0.www.example.com`] }],
    ['a record whose first part is all of it', { names: [`_${HEX}`] }],
    ['a wildcard', { names: [`\\052.${RECORD}`] }],
    ['what ACME validates', { names: ['_acme-challenge.example.com'] }],
    [
      'what ACME validates, of a name of that length',
      { names: [`_acme-challenge.${'a'.repeat(17)}.example.com`] },
    ],
    ['what other authorities validate', { names: [`_dnsauth.${'a'.repeat(24)}.example.com`] }],
    ['a policy of mail', { names: [`_dmarc.${'a'.repeat(26)}.example.com`] }],
    ['a key of mail', { names: [`_${HEX}._domainkey.example.com`] }],
    ['a service', { names: [`_${HEX}._tcp.example.com`] }],
  ])('never %s', (_what, call) => {
    expect(isAllowed(call)).toBe(false);
  });

  test('no name whose first part is shorter, wherever its dot is', () => {
    for (let length = 0; length < 32; length++) {
      const name = `_${'a'.repeat(length)}.${'a'.repeat(31 - length)}.example.com`;
      expect([length, isAllowed({ names: [name] })]).toEqual([length, false]);
      expect([length, isAllowed({ names: [RECORD, name] })]).toEqual([length, false]);
    }
  });
});

describe('the role reads', () => {
  const change = 'arn:aws:route53:::change/C0123456789';
  test.each<[string, Call]>([
    ['zones by name', { action: 'ListHostedZonesByName', resource: '*' }],
    ['a zone', { action: 'GetHostedZone' }],
    ['its records', { action: 'ListResourceRecordSets' }],
    ['the other zone', { action: 'GetHostedZone', resource: OTHER_ZONE }],
    ['how a change goes', { action: 'GetChange', resource: change }],
    ['zones by name, to look', { as: LOOK, action: 'ListHostedZonesByName', resource: '*' }],
    ['a zone, to look', { as: LOOK, action: 'GetHostedZone' }],
    ['its records, to look', { as: LOOK, action: 'ListResourceRecordSets' }],
  ])('%s', (_what, call) => {
    expect(isAllowed(call)).toBe(true);
  });

  test.each<[string, Call]>([
    ['a change, to look', { as: LOOK, action: 'GetChange', resource: change }],
    [
      'a change, as a session that begins alike',
      { as: 'write-validation-recordsx', action: 'GetChange', resource: change },
    ],
    ['a change, as a shorter session', { as: 'write-validation-www', action: 'GetChange', resource: change }],
    ['a change, as another that writes', { as: 'write-www', action: 'GetChange', resource: change }],
    ['what is no change', { action: 'GetChange', resource: ZONE }],
    ['what is called alike', { action: 'GetChange', resource: 'arn:aws:route53:::changes/C1' }],
    ['a change of another service', { action: 'GetChange', resource: 'arn:aws:route53domains:::change/C1' }],
    ['a zone that is not named', { action: 'GetHostedZone', resource: `${ZONE}0` }],
    ['records of a zone that is not named', { action: 'ListResourceRecordSets', resource: `${OTHER_ZONE}2` }],
    ['every zone', { action: 'ListHostedZones', resource: '*' }],
    ['zones by VPC', { action: 'ListHostedZonesByVPC', resource: '*' }],
    ['tags', { action: 'ListTagsForResource' }],
    ['a limit', { action: 'GetHostedZoneLimit' }],
    ['keys of DNSSEC', { action: 'GetDNSSEC' }],
    ['a health check', { action: 'GetHealthCheck', resource: 'arn:aws:route53:::healthcheck/1' }],
    ['that changes tags', { action: 'ChangeTagsForResource' }],
    [
      'that changes a collection',
      { action: 'ChangeCidrCollection', resource: 'arn:aws:route53:::cidrcollection/1' },
    ],
    ['that deletes a zone', { action: 'DeleteHostedZone' }],
    ['that makes a zone', { action: 'CreateHostedZone', resource: '*' }],
  ])('and never %s', (_what, call) => {
    expect(isAllowed(call)).toBe(false);
  });
});

test('whom the role trusts, in full', () => {
  const named = (name: string) => ({
    Effect: 'Allow',
    Principal: { AWS: `arn:aws:iam::${CENTRAL.account}:root` },
    Action: 'sts:AssumeRole',
    Condition: {
      ArnEquals: {
        'aws:PrincipalArn': `arn:aws:iam::${CENTRAL.account}:role/acm-export-${name}-eu-central-1`,
      },
      StringLike: { 'sts:RoleSessionName': `${name}-*` },
    },
  });
  expect([trust.Statement].flat().map(({ Sid: _, ...statement }) => statement)).toEqual([
    {
      Effect: 'Deny',
      Principal: '*',
      Action: 'sts:AssumeRole',
      Condition: { StringNotEquals: { 'sts:ExternalId': EXTERNAL_ID } },
    },
    named('deployments-api'),
    named('write-validation-records'),
  ]);
});

test('what each statement says, in full', () => {
  const [policy] = policiesOf(role);
  const statements = [policy?.Statement ?? []].flat();
  const writes = (names: object) => ({ [`${KEY}NormalizedRecordNames`]: names });
  const userid = { 'aws:userid': '*:write-validation-records-*' };
  expect(statements.map(({ Sid: _, ...statement }) => statement)).toEqual([
    { Effect: 'Allow', Action: 'route53:ListHostedZonesByName', Resource: '*' },
    {
      Effect: 'Allow',
      Action: ['route53:GetHostedZone', 'route53:ListResourceRecordSets'],
      Resource: [ZONE, OTHER_ZONE],
    },
    {
      Effect: 'Allow',
      Action: 'route53:GetChange',
      Resource: 'arn:aws:route53:::change/*',
      Condition: { StringLike: userid },
    },
    {
      Effect: 'Allow',
      Action: 'route53:ChangeResourceRecordSets',
      Resource: [ZONE, OTHER_ZONE],
      Condition: {
        StringLike: userid,
        Null: { ...writes('false' as never), [`${KEY}RecordTypes`]: 'false', [`${KEY}Actions`]: 'false' },
        'ForAllValues:StringEquals': { [`${KEY}RecordTypes`]: 'CNAME', [`${KEY}Actions`]: 'UPSERT' },
        'ForAllValues:StringLike': writes(`_${'?'.repeat(32)}.*` as never),
      },
    },
    {
      Effect: 'Deny',
      Action: 'route53:ChangeResourceRecordSets',
      Resource: '*',
      Condition: {
        'ForAnyValue:StringLike': writes([
          '_*._*',
          ...Array.from({ length: 32 }, (_, length) => `_${'?'.repeat(length)}.*`),
        ]),
      },
    },
  ]);
});
