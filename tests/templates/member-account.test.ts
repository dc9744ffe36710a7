import { describe, expect, test } from '@jest/globals';
import { evaluate, type Principal } from 'local-cloud/iam';
import type { Deployed } from 'local-cloud/templates';
import {
  CENTRAL,
  centralStack,
  documentOf,
  EXTERNAL_ID,
  MEMBER,
  memberStack,
  policiesOf,
  resourceOf,
  resourcesOf,
  writtenTemplate,
} from './stacks.ts';

const central = centralStack();
const member = memberStack();

test('can be a StackSet of an organisation: no transform, no macro, no nested stack', () => {
  const template = writtenTemplate('member-account.yaml');
  expect(template.Transform).toBeUndefined();
  expect(JSON.stringify(template)).not.toContain('Fn::Transform');
  expect(resourcesOf(member, 'AWS::CloudFormation::Stack')).toEqual([]);
});

describe('a stack of the first edition (69d6b04) is updated in place', () => {
  const firstEdition = {
    RolloutRole: ['AWS::IAM::Role', 'RoleName', 'acm-export-rollout-eu-west-1'],
    AutomationRole: ['AWS::IAM::Role', 'RoleName', 'acm-export-automation-eu-west-1'],
    ReadBundlePolicy: ['AWS::IAM::ManagedPolicy', 'ManagedPolicyName', 'acm-export-read-bundle-eu-west-1'],
    InstallOnFleetDocument: ['AWS::SSM::Document', 'Name', 'acm-export-install-on-fleet'],
    InstallOnNodeDocument: ['AWS::SSM::Document', 'Name', 'acm-export-install-on-node'],
  };

  // Another name would be a new resource; the same name under another logical id would collide with the old one.
  test.each(Object.entries(firstEdition))('%s keeps its type and its name', (id, [type, property, name]) => {
    const resource = resourceOf(member, id);
    expect([resource.type, property, resource.properties[property as string]]).toEqual([
      type,
      property,
      name,
    ]);
  });

  test('what it was given is enough: every parameter is still there, and each new one has a default', () => {
    const given = ['Prefix', 'CentralAccountId', 'CentralRegion', 'ExternalId'];
    const tagKeys = ['TargetTagKey1', 'TargetTagKey2', 'TargetTagKey3'];
    const parameters: Record<string, { Default?: string }> =
      writtenTemplate('member-account.yaml').Parameters;
    expect(Object.keys(parameters)).toEqual(expect.arrayContaining([...given, ...tagKeys]));
    for (const [name, { Default }] of Object.entries(parameters)) {
      if (!given.includes(name)) expect([name, Default]).toEqual([name, expect.any(String)]);
    }
  });
});

describe('the SSM documents', () => {
  const documents = resourcesOf(member, 'AWS::SSM::Document');

  test.each(documents)('%s gets a new version in place, never a replacement', (_id, { properties }) => {
    expect(properties.UpdateMethod).toBe('NewVersion');
  });

  test('Automation runs as a literal role and sends the one document that this role may send', () => {
    const content = resourceOf(member, 'InstallOnFleetDocument').properties.Content;
    expect(content.assumeRole).toBe(resourceOf(member, 'AutomationRole').arn);
    const sent = content.mainSteps
      .filter((step: { action: string }) => step.action === 'aws:runCommand')
      .map((step: { inputs: { DocumentName: string } }) => step.inputs.DocumentName);
    expect(sent.length).toBeGreaterThan(0);
    expect(new Set(sent)).toEqual(new Set([resourceOf(member, 'InstallOnNodeDocument').properties.Name]));
  });

  test.each(['InstallOnNodeDocument', 'LookAtNodeDocument'])(
    '%s runs on EC2 and hybrid nodes alike',
    (id) => {
      expect(resourceOf(member, id).properties).toMatchObject({ DocumentType: 'Command', TargetType: '/' });
    },
  );
});

describe('the rollout role', () => {
  const rolloutRole = resourceOf(member, 'RolloutRole');

  function centralRole(logicalId: string, stack = central): Principal {
    const role = resourceOf(stack, logicalId);
    return { account: stack.account, arn: role.arn ?? '', tags: {}, identityPolicies: policiesOf(role) };
  }

  function assume(principal: Principal, context: Record<string, string> = { 'sts:ExternalId': EXTERNAL_ID }) {
    return evaluate(principal, {
      action: 'sts:AssumeRole',
      resource: rolloutRole.arn ?? '',
      context,
      resourcePolicies: [rolloutRole.properties.AssumeRolePolicyDocument],
      resourcePolicyKind: 'role trust policy',
      resourceAccount: MEMBER.account,
    }).allowed;
  }

  const trusting = centralStack({ TargetAccounts: `${CENTRAL.account},${MEMBER.account}` });
  const roles = resourcesOf(trusting, 'AWS::IAM::Role').map(([id]) => id);

  test('is assumed by exactly the roles of template.yaml that ask for it', () => {
    const asking = roles.filter((id) =>
      JSON.stringify(policiesOf(resourceOf(trusting, id))).includes('sts:AssumeRole'),
    );
    expect(roles.filter((id) => assume(centralRole(id, trusting)))).toEqual(asking);
    const trusted =
      rolloutRole.properties.AssumeRolePolicyDocument.Statement[0].Condition.ArnEquals['aws:PrincipalArn'];
    expect([...trusted].sort()).toEqual(asking.map((id) => resourceOf(trusting, id).arn).sort());
    // Beside the names of the roles, that is: no other account is asked at all.
    expect(rolloutRole.properties.AssumeRolePolicyDocument.Statement[0].Principal).toEqual({
      AWS: `arn:aws:iam::${CENTRAL.account}:root`,
    });
  });

  test.each([
    ['without the external id', centralRole('ReconcileFunctionRole', trusting), {}],
    [
      'with another external id',
      centralRole('ReconcileFunctionRole', trusting),
      { 'sts:ExternalId': 'something-else' },
    ],
    [
      'by a role of the same name in another account',
      {
        ...centralRole('ReconcileFunctionRole', trusting),
        account: '999988887777',
        arn: `arn:aws:iam::999988887777:role/acm-export-reconcile-${CENTRAL.region}`,
      },
      undefined,
    ],
    [
      'by another role of the central account, whatever it is granted there',
      {
        ...centralRole('ReconcileFunctionRole', trusting),
        arn: `arn:aws:iam::${CENTRAL.account}:role/administrator`,
      },
      undefined,
    ],
    [
      'when the central stack does not name this account as a target',
      centralRole('ReconcileFunctionRole'),
      undefined,
    ],
  ])('is not assumed %s', (_how, principal, context) => {
    expect(assume(principal, context)).toBe(false);
  });

  test.each(roles)('%s stays in its own account where the central stack names no targets', (id) => {
    const principal = centralRole(id);
    const isAllowed = (account: string) => {
      const role = (rolloutRole.arn ?? '').replace(MEMBER.account, account);
      const Statement = {
        Effect: 'Allow' as const,
        Principal: { AWS: principal.arn },
        Action: 'sts:AssumeRole',
      };
      return evaluate(principal, {
        action: 'sts:AssumeRole',
        resource: role,
        context: {},
        resourcePolicies: [{ Version: '2012-10-17', Statement }],
        resourcePolicyKind: 'role trust policy',
        resourceAccount: account,
      }).allowed;
    };
    const others = [MEMBER.account, `${CENTRAL.account}0`, CENTRAL.account.slice(0, -1)];
    expect(others.filter(isAllowed)).toEqual([]);
  });

  const session: Principal = {
    account: MEMBER.account,
    arn: rolloutRole.arn ?? '',
    sessionArn: `arn:aws:sts::${MEMBER.account}:assumed-role/acm-export-rollout-${MEMBER.region}/test`,
    tags: {},
    identityPolicies: policiesOf(rolloutRole),
  };
  const secret = (name: string) => `arn:aws:secretsmanager:${MEMBER.region}:${MEMBER.account}:secret:${name}`;
  const ssm = (rest: string) => `arn:aws:ssm:${MEMBER.region}:${MEMBER.account}:${rest}`;
  const may = (action: string, resource: string, context: Record<string, string | string[]> = {}) =>
    evaluate(session, { action, resource, context, resourceAccount: MEMBER.account }).allowed;

  test.each([
    ['stores a bundle', 'secretsmanager:PutSecretValue', secret('acm-export/web/0-AbCdEf'), {}],
    [
      'creates one with its own tags',
      'secretsmanager:CreateSecret',
      secret('acm-export/web/0'),
      { 'aws:TagKeys': ['acm-export', 'acm-export:deployment-id'] },
    ],
    [
      'locks one',
      'secretsmanager:PutResourcePolicy',
      secret('acm-export/web/0-AbCdEf'),
      { 'secretsmanager:BlockPublicPolicy': 'true' },
    ],
    [
      'schedules one for deletion',
      'secretsmanager:DeleteSecret',
      secret('acm-export/web/0-AbCdEf'),
      { 'secretsmanager:RecoveryWindowInDays': '7' },
    ],
    [
      'starts the install document',
      'ssm:StartAutomationExecution',
      ssm('document/acm-export-install-on-fleet'),
      {},
    ],
    ['sends the document that only looks', 'ssm:SendCommand', ssm('document/acm-export-look-at-node'), {}],
    [
      'sends it to an instance',
      'ssm:SendCommand',
      `arn:aws:ec2:${MEMBER.region}:${MEMBER.account}:instance/i-0123456789abcdef0`,
      {},
    ],
    ['sends it to a hybrid node', 'ssm:SendCommand', ssm('managed-instance/mi-0123456789abcdef0'), {}],
    ['reads what a node printed', 'ssm:GetCommandInvocation', '*', {}],
    ['finds looks that it sent', 'ssm:ListCommands', '*', {}],
    [
      'passes the Automation role to Systems Manager',
      'iam:PassRole',
      `arn:aws:iam::${MEMBER.account}:role/acm-export-automation-${MEMBER.region}`,
      { 'iam:PassedToService': 'ssm.amazonaws.com' },
    ],
  ])('%s', (_what, action, resource, context) => {
    expect(may(action, resource, context)).toBe(true);
  });

  test.each([
    ['read a bundle', 'secretsmanager:GetSecretValue', secret('acm-export/web/0-AbCdEf'), {}],
    ['store a foreign secret', 'secretsmanager:PutSecretValue', secret('payments/database-AbCdEf'), {}],
    [
      'store a bundle of a stack with another prefix',
      'secretsmanager:PutSecretValue',
      secret('acm-export-two/web/0-AbCdEf'),
      {},
    ],
    [
      'give a bundle a tag that opens it to others',
      'secretsmanager:TagResource',
      secret('acm-export/web/0-AbCdEf'),
      { 'aws:TagKeys': ['acm-export', 'team'] },
    ],
    [
      'open a bundle to the public',
      'secretsmanager:PutResourcePolicy',
      secret('acm-export/web/0-AbCdEf'),
      {},
    ],
    [
      'delete a bundle for good',
      'secretsmanager:DeleteSecret',
      secret('acm-export/web/0-AbCdEf'),
      { 'secretsmanager:ForceDeleteWithoutRecovery': 'true' },
    ],
    ['start another document', 'ssm:StartAutomationExecution', ssm('document/AWS-RestartEC2Instance'), {}],
    ['send the install document itself', 'ssm:SendCommand', ssm('document/acm-export-install-on-node'), {}],
    ['send any other document', 'ssm:SendCommand', ssm('document/AWS-RunShellScript'), {}],
    [
      'send the look of a stack with another prefix',
      'ssm:SendCommand',
      ssm('document/acm-export-two-look-at-node'),
      {},
    ],
    [
      'look at nodes of another account',
      'ssm:SendCommand',
      `arn:aws:ec2:${MEMBER.region}:999988887777:instance/i-0123456789abcdef0`,
      {},
    ],
    [
      'pass another role',
      'iam:PassRole',
      `arn:aws:iam::${MEMBER.account}:role/administrator`,
      { 'iam:PassedToService': 'ssm.amazonaws.com' },
    ],
    [
      'pass the Automation role to another service',
      'iam:PassRole',
      `arn:aws:iam::${MEMBER.account}:role/acm-export-automation-${MEMBER.region}`,
      { 'iam:PassedToService': 'ec2.amazonaws.com' },
    ],
  ])('may not %s', (_what, action, resource, context) => {
    expect(may(action, resource, context)).toBe(false);
  });

  test('may not read a bundle even under a resource policy that it wrote for itself', () => {
    const ownPolicy = {
      Version: '2012-10-17',
      Statement: [
        {
          Effect: 'Allow' as const,
          Principal: { AWS: session.arn },
          Action: 'secretsmanager:GetSecretValue',
          Resource: '*',
        },
      ],
    };
    const decision = evaluate(session, {
      action: 'secretsmanager:GetSecretValue',
      resource: secret('acm-export/web/0-AbCdEf'),
      context: {},
      resourcePolicies: [ownPolicy],
      resourceAccount: MEMBER.account,
    });
    expect(decision).toMatchObject({ allowed: false, reason: expect.stringContaining('NeverReadSecrets') });
  });
});

describe('the Automation role', () => {
  const role = resourceOf(member, 'AutomationRole');
  const assume = (context: Record<string, string>, service = 'ssm.amazonaws.com') =>
    evaluate(
      { account: '', arn: '', service, tags: {}, identityPolicies: [] },
      {
        action: 'sts:AssumeRole',
        resource: role.arn ?? '',
        context,
        resourcePolicies: [role.properties.AssumeRolePolicyDocument],
        resourcePolicyKind: 'role trust policy',
        resourceAccount: MEMBER.account,
      },
    ).allowed;
  const execution = (account: string) => `arn:aws:ssm:${MEMBER.region}:${account}:automation-execution/0`;

  test('serves Automation executions of its own account only', () => {
    const own = { 'aws:SourceAccount': MEMBER.account, 'aws:SourceArn': execution(MEMBER.account) };
    expect(assume(own)).toBe(true);
    expect(assume({ ...own, 'aws:SourceArn': execution('999988887777') })).toBe(false);
    expect(
      assume({
        ...own,
        'aws:SourceArn': own['aws:SourceArn'].replace('automation-execution', 'association'),
      }),
    ).toBe(false);
    expect(assume(own, 'ec2.amazonaws.com')).toBe(false);
  });

  test('sends the install document and no other', () => {
    const principal = {
      account: MEMBER.account,
      arn: role.arn ?? '',
      tags: {},
      identityPolicies: policiesOf(role),
    };
    const may = (document: string) =>
      evaluate(principal, {
        action: 'ssm:SendCommand',
        resource: `arn:aws:ssm:${MEMBER.region}:${MEMBER.account}:document/${document}`,
        context: {},
        resourceAccount: MEMBER.account,
      }).allowed;
    expect(may('acm-export-install-on-node')).toBe(true);
    expect(may('AWS-RunShellScript')).toBe(false);
    expect(may('acm-export-two-install-on-node')).toBe(false);
  });
});

describe.each([
  ['one tag key', {}, ['acm-export']],
  ['two tag keys', { TargetTagKey2: 'env' }, ['acm-export', 'env']],
  [
    'three tag keys',
    { TargetTagKey2: 'env', TargetTagKey3: 'team:certificates' },
    ['acm-export', 'env', 'team:certificates'],
  ],
  ['a second key left out', { TargetTagKey3: 'env' }, ['acm-export', 'env']],
] as [string, Record<string, string>, string[]][])(
  'the policy for node roles, with %s',
  (_what, parameters, keys) => {
    const stack = memberStack(parameters);
    const policy = documentOf(resourceOf(stack, 'ReadBundlePolicy').properties.PolicyDocument);

    /** A node's role reads the bundle of the tag `key`=`value`. */
    function reads(
      roleTags: Record<string, string>,
      key: string,
      value: string,
      secret = 'acm-export/web/0-AbCdEf',
    ) {
      return evaluate(
        {
          account: MEMBER.account,
          arn: `arn:aws:iam::${MEMBER.account}:role/node`,
          tags: roleTags,
          identityPolicies: [policy],
        },
        {
          action: 'secretsmanager:GetSecretValue',
          resource: `arn:aws:secretsmanager:${MEMBER.region}:${MEMBER.account}:secret:${secret}`,
          context: { [`secretsmanager:ResourceTag/${key}`]: value },
          resourceAccount: MEMBER.account,
        },
      ).allowed;
    }

    test('has one statement for each key', () => {
      expect(policy.Statement).toHaveLength(keys.length);
    });

    test.each(keys)('lets a role read bundles of the same value of %s, and no others', (key) => {
      expect(reads({ [key]: 'prod' }, key, 'prod')).toBe(true);
      expect(reads({ [key]: 'dev' }, key, 'prod')).toBe(false);
      expect(reads({}, key, 'prod')).toBe(false);
      expect(reads({ other: 'prod' }, key, 'prod')).toBe(false);
      expect(reads({ [key]: '*' }, key, 'prod')).toBe(false);
      expect(reads({ [key]: 'prod' }, 'other', 'prod')).toBe(false);
      expect(reads({ [key]: 'prod' }, key, 'prod', 'payments/database-AbCdEf')).toBe(false);
    });

    test.each(keys)('does not let the value of another key stand in for %s', (key) => {
      for (const other of keys.filter((candidate) => candidate !== key)) {
        expect(reads({ [other]: 'prod' }, key, 'prod')).toBe(false);
      }
    });
  },
);

describe('stacks side by side in one account', () => {
  const namesOf = (stack: Deployed) =>
    [...stack.resources.values()]
      // A stage is named within its API.
      .filter(({ type }) => type !== 'AWS::ApiGateway::Stage')
      .map(({ type, arn, physicalId }) => `${type} ${arn ?? physicalId}`);
  const shared = (one: Deployed, other: Deployed) =>
    namesOf(one).filter((name) => namesOf(other).includes(name));

  test('two Regions share no name', () => {
    expect(shared(memberStack(), memberStack({}, { ...MEMBER, region: 'us-east-1' }))).toEqual([]);
    expect(shared(centralStack(), centralStack({}, { ...CENTRAL, region: 'us-east-1' }))).toEqual([]);
  });

  test('two prefixes share no name, and neither touches the secrets of the other', () => {
    const other = memberStack({ Prefix: 'acm-export-two' });
    expect(shared(member, other)).toEqual([]);
    const otherSecret = `arn:aws:secretsmanager:${MEMBER.region}:${MEMBER.account}:secret:acm-export-two/web/0-AbCdEf`;
    const role = resourceOf(member, 'RolloutRole');
    const decision = evaluate(
      { account: MEMBER.account, arn: role.arn ?? '', tags: {}, identityPolicies: policiesOf(role) },
      {
        action: 'secretsmanager:DescribeSecret',
        resource: otherSecret,
        context: {},
        resourceAccount: MEMBER.account,
      },
    );
    expect(decision.allowed).toBe(false);
  });

  test('the central account can be a member too', () => {
    expect(shared(central, memberStack({}, CENTRAL))).toEqual([]);
  });
});
