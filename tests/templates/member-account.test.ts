import { describe, expect, test } from '@jest/globals';
import { evaluate, type PolicyDocument, type Principal, type Statement } from 'local-cloud/iam';
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
  statementsOf,
  writtenTemplate,
} from './stacks.ts';

const central = centralStack();
const member = memberStack();
const without = memberStack({ KeepFirstEditionGrants: 'false' });

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

test('a new stack, made with what the central stack says, keeps no grants of the first edition', () => {
  const output = String(centralStack().outputs.MemberAccountParameters);
  const given = Object.fromEntries(
    [...output.matchAll(/ParameterKey=(\w+),ParameterValue=(\S+)/g)].map(([, name, value]) => [name, value]),
  );
  const stack = memberStack(given);
  expect(Object.keys(writtenTemplate('member-account.yaml').Parameters)).toEqual(
    expect.arrayContaining(Object.keys(given)),
  );
  expect(resourceOf(stack, 'RolloutRole').properties).toEqual(resourceOf(without, 'RolloutRole').properties);
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

  test.each(['InstallOnNodeDocument', 'InstallOnFleetDocument'])(
    '%s takes what a list of the owner has and nothing else, and everything where there is no list',
    (id) => {
      const takes = (parameters: Record<string, string>, name: string, value: string) => {
        const { allowedPattern } = resourceOf(memberStack(parameters), id).properties.Content.parameters[
          name
        ];
        return new RegExp(allowedPattern, 'u').test(value);
      };
      const services = { AllowedServices: 'nginx' };
      const names = { AllowedCertNames: 'web' };
      for (const name of ['ReloadServices', 'RestartServices']) {
        expect([takes(services, name, 'nginx'), takes(services, name, 'apache2')]).toEqual([true, false]);
        expect([takes(names, name, 'apache2'), takes({}, name, 'apache2')]).toEqual([true, true]);
      }
      expect([takes(names, 'CertName', 'web'), takes(names, 'CertName', 'api')]).toEqual([true, false]);
      expect([takes(services, 'CertName', 'api'), takes({}, 'CertName', 'api')]).toEqual([true, true]);
    },
  );

  test.each(['InstallOnNodeDocument', 'LookAtNodeDocument'])(
    '%s runs on EC2 and hybrid nodes alike',
    (id) => {
      expect(resourceOf(member, id).properties).toMatchObject({ DocumentType: 'Command', TargetType: '/' });
    },
  );
});

/** A function that takes on a role of the member stack, or nobody in particular. */
type Visitor =
  | 'deployments-api'
  | 'export-certificate'
  | 'start-installation'
  | 'check-installation'
  | 'reconcile';
const ON_ROLLOUT: Visitor[] = ['deployments-api', 'start-installation', 'check-installation', 'reconcile'];
const trusting = centralStack({ TargetAccounts: `${CENTRAL.account},${MEMBER.account}` });
const functionRoleId = (name: string) =>
  `${name.replaceAll(/(^|-)([a-z])/g, (_, __, letter) => letter.toUpperCase())}FunctionRole`;

function centralRole(logicalId: string, stack = trusting): Principal {
  const role = resourceOf(stack, logicalId);
  return { account: stack.account, arn: role.arn ?? '', tags: {}, identityPolicies: policiesOf(role) };
}

/** May take on every role, as far as its own policies say. */
const almighty = (arn: string): Principal => ({
  account: arn.split(':')[4] ?? '',
  arn,
  tags: {},
  identityPolicies: [{ Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action: '*', Resource: '*' }] }],
});

/** Whether a principal gets a session of that name. */
function assumes(
  principal: Principal,
  stack: Deployed,
  role: 'RolloutRole' | 'BundleWriterRole',
  context: Record<string, string>,
): boolean {
  const { arn = '', properties } = resourceOf(stack, role);
  return evaluate(principal, {
    action: 'sts:AssumeRole',
    resource: arn,
    context,
    resourcePolicies: [properties.AssumeRolePolicyDocument],
    resourcePolicyKind: 'role trust policy',
    resourceAccount: MEMBER.account,
  }).allowed;
}
const named = (visitor: string, ExternalId = EXTERNAL_ID) => ({
  'sts:ExternalId': ExternalId,
  'sts:RoleSessionName': `${visitor}-0123456789abcdef01234567`,
});

describe.each<[role: 'RolloutRole' | 'BundleWriterRole', stack: Deployed, what: string, visitors: Visitor[]]>(
  [
    ['RolloutRole', member, 'with the grants of the first edition', [...ON_ROLLOUT, 'export-certificate']],
    ['RolloutRole', without, 'without the grants of the first edition', ON_ROLLOUT],
    ['BundleWriterRole', member, 'with the grants of the first edition', ['export-certificate']],
    ['BundleWriterRole', without, 'without the grants of the first edition', ['export-certificate']],
  ],
)('%s', (role, stack, _what, visitors) => {
  const roles = resourcesOf(trusting, 'AWS::IAM::Role').map(([id]) => id);

  test(`is assumed by exactly the functions that need it, ${_what}, each under its own name`, () => {
    const may = roles.flatMap((id) =>
      [...ON_ROLLOUT, 'export-certificate', 'handle-renewal', 'rollout-ended'].flatMap((name) =>
        assumes(centralRole(id), stack, role, named(name)) ? [`${id} as ${name}`] : [],
      ),
    );
    const expected = visitors.flatMap((name) =>
      role === 'RolloutRole'
        ? [`${functionRoleId(name)} as ${name}`]
        : // It has one visitor: no name is needed to tell it from others.
          may.filter((found) => found.startsWith(`${functionRoleId(name)} as `)),
    );
    expect(may.toSorted()).toEqual(expected.toSorted());
    expect(may.length).toBeGreaterThan(0);
  });

  test(`is trusted to nobody else, whatever he may do, ${_what}`, () => {
    const arn = (account: string, name: string) => `arn:aws:iam::${account}:role/${name}`;
    for (const name of [...ON_ROLLOUT, 'export-certificate'] as Visitor[]) {
      const own = `acm-export-${name}-${CENTRAL.region}`;
      const tries = (who: string, context = named(name)) => assumes(almighty(who), stack, role, context);
      expect([name, tries(arn(CENTRAL.account, own))]).toEqual([name, visitors.includes(name)]);
      const others = [
        arn(CENTRAL.account, 'administrator'),
        arn(CENTRAL.account, `acm-export-${name}-us-east-1`),
        arn(CENTRAL.account, `acm-export2-${name}-${CENTRAL.region}`),
        arn(CENTRAL.account, `acm-export-${name}`),
        arn(CENTRAL.account, `${own}-2`),
        arn(CENTRAL.account, `team/${own}`),
        arn('999988887777', own),
        arn(MEMBER.account, own),
      ];
      expect(others.filter((who) => tries(who))).toEqual([]);
      const ids = ['', `${EXTERNAL_ID}2`, EXTERNAL_ID.slice(1)];
      expect(ids.filter((id) => tries(arn(CENTRAL.account, own), named(name, id)))).toEqual([]);
      expect(tries(arn(CENTRAL.account, own), { 'sts:RoleSessionName': `${name}-0` } as never)).toBe(false);
    }
  });

  test(`trusts by the account and by the whole ARN of a role, so that each limits alone, ${_what}`, () => {
    const { Statement } = resourceOf(stack, role).properties.AssumeRolePolicyDocument as {
      Statement: Statement[];
    };
    const allows = Statement.filter(({ Effect }) => Effect === 'Allow');
    expect(allows.map(({ Principal }) => Principal)).toEqual(
      visitors.map(() => ({ AWS: `arn:aws:iam::${CENTRAL.account}:root` })),
    );
    expect(allows.map(({ Condition }) => Condition?.ArnEquals).toSorted()).toEqual(
      visitors
        .map((name) => ({
          'aws:PrincipalArn': `arn:aws:iam::${CENTRAL.account}:role/acm-export-${name}-${CENTRAL.region}`,
        }))
        .toSorted(),
    );
  });

  test(`is not assumed when the central stack does not name this account as a target, ${_what}`, () => {
    for (const name of visitors) {
      const own = centralRole(functionRoleId(name), central);
      expect(assumes(own, stack, role, named(name))).toBe(false);
    }
  });
});

test('a central stack that names no target account takes on the roles of its own account, and of no other', () => {
  const isOpen = (name: Visitor, account: string) =>
    evaluate(centralRole(functionRoleId(name), central), {
      action: 'sts:AssumeRole',
      resource: `arn:aws:iam::${account}:role/acm-export-${name === 'export-certificate' ? 'bundle-writer' : 'rollout'}-eu-west-1`,
      context: {},
      resourcePolicies: [
        {
          Version: '2012-10-17',
          Statement: {
            Effect: 'Allow',
            // The account: the own policy of the role decides.
            Principal: { AWS: `arn:aws:iam::${CENTRAL.account}:root` },
            Action: 'sts:AssumeRole',
          },
        },
      ],
      resourcePolicyKind: 'role trust policy',
      resourceAccount: account,
    }).allowed;
  for (const name of [...ON_ROLLOUT, 'export-certificate'] as Visitor[]) {
    const others = [MEMBER.account, `${CENTRAL.account}4`, CENTRAL.account.slice(1)];
    expect([name, isOpen(name, CENTRAL.account)]).toEqual([name, true]);
    expect([name, others.filter((account) => isOpen(name, account))]).toEqual([name, []]);
  }
});

test('a trust policy fits into what IAM takes by default where every name is the longest: 2,048 characters', () => {
  const longest = memberStack({
    Prefix: 'a'.repeat(20),
    CentralRegion: 'us-gov-west-1',
    ExternalId: 'x'.repeat(128),
  });
  for (const id of ['RolloutRole', 'BundleWriterRole']) {
    const { AssumeRolePolicyDocument } = resourceOf(longest, id).properties;
    const text = JSON.stringify(AssumeRolePolicyDocument).replaceAll('arn:aws:', 'arn:aws-us-gov:');
    expect([id, text.length <= 2048, text.length > 400]).toEqual([id, true, true]);
  }
});

const secret = (name: string) => `arn:aws:secretsmanager:${MEMBER.region}:${MEMBER.account}:secret:${name}`;
const ssm = (rest: string) => `arn:aws:ssm:${MEMBER.region}:${MEMBER.account}:${rest}`;
const iam = (rest: string) => `arn:aws:iam::${MEMBER.account}:${rest}`;
const BUNDLE = secret('acm-export/web/0-AbCdEf');
const EXECUTION = ssm('automation-execution/0');
const MARKED = { 'aws:ResourceTag/acm-export:deployment-id': '0' };

function sessionOf(stack: Deployed, visitor: Visitor, role: 'RolloutRole' | 'BundleWriterRole'): Principal {
  const resource = resourceOf(stack, role);
  return {
    account: MEMBER.account,
    arn: resource.arn ?? '',
    sessionArn: `arn:aws:sts::${MEMBER.account}:assumed-role/acm-export-rollout-${MEMBER.region}/${visitor}-0`,
    userId: `AROAEXAMPLE:${visitor}-0`,
    tags: {},
    identityPolicies: policiesOf(resource),
  };
}
type Call = [action: string, resource: string, context?: Record<string, string | string[]>];
const may = (principal: Principal, [action, resource, context = {}]: Call) =>
  evaluate(principal, { action, resource, context, resourceAccount: MEMBER.account }).allowed;

describe('the role that writes bundles', () => {
  const session = sessionOf(without, 'export-certificate', 'BundleWriterRole');

  test.each<[string, ...Call]>([
    ['stores a bundle', 'secretsmanager:PutSecretValue', BUNDLE],
    [
      'creates one with its own tags',
      'secretsmanager:CreateSecret',
      secret('acm-export/web/0'),
      { 'aws:TagKeys': ['acm-export', 'acm-export:deployment-id'] },
    ],
    ['locks one', 'secretsmanager:PutResourcePolicy', BUNDLE, { 'secretsmanager:BlockPublicPolicy': 'true' }],
    [
      'withdraws one, with days to restore it',
      'secretsmanager:DeleteSecret',
      BUNDLE,
      { 'secretsmanager:RecoveryWindowInDays': '7' },
    ],
  ])('%s', (_what, ...call) => {
    expect(may(session, call)).toBe(true);
  });

  test.each<[string, ...Call]>([
    ['read a bundle', 'secretsmanager:GetSecretValue', BUNDLE],
    ['store a foreign secret', 'secretsmanager:PutSecretValue', secret('payments/database-AbCdEf')],
    [
      'store a bundle of a stack with another prefix',
      'secretsmanager:PutSecretValue',
      secret('acm-export2/web/0-AbCdEf'),
    ],
    [
      'give a bundle a tag that opens it to others',
      'secretsmanager:TagResource',
      BUNDLE,
      { 'aws:TagKeys': ['acm-export', 'team'] },
    ],
    ['open a bundle to the public', 'secretsmanager:PutResourcePolicy', BUNDLE],
    [
      'delete a bundle for good',
      'secretsmanager:DeleteSecret',
      BUNDLE,
      { 'secretsmanager:ForceDeleteWithoutRecovery': 'true' },
    ],
    ['replicate a bundle', 'secretsmanager:ReplicateSecretToRegions', BUNDLE],
    ['list servers', 'ssm:DescribeInstanceInformation', '*'],
    ['start an installation', 'ssm:StartAutomationExecution', ssm('document/acm-export-install-on-fleet')],
    ['look at servers', 'ssm:SendCommand', ssm('document/acm-export-look-at-node')],
    [
      'pass a role',
      'iam:PassRole',
      iam(`role/acm-export-automation-${MEMBER.region}`),
      { 'iam:PassedToService': 'ssm.amazonaws.com' },
    ],
  ])('may not %s', (_what, ...call) => {
    expect(may(session, call)).toBe(false);
  });
});

/** What each function needs of the rollout role, and no other function has there. */
const NEEDS: Record<string, [visitors: Visitor[], ...calls: Call[]]> = {
  'list the servers': [ON_ROLLOUT, ['ssm:DescribeInstanceInformation', '*']],
  'remove a bundle': [
    ['deployments-api', 'reconcile'],
    ['secretsmanager:DescribeSecret', BUNDLE],
    ['secretsmanager:DeleteSecret', BUNDLE, { 'secretsmanager:RecoveryWindowInDays': '7' }],
    ['secretsmanager:RestoreSecret', BUNDLE],
  ],
  'find commands and their outcomes': [
    ['check-installation', 'reconcile'],
    ['ssm:ListCommands', '*'],
    ['ssm:ListCommandInvocations', '*'],
  ],
  'read what a server printed': [['reconcile'], ['ssm:GetCommandInvocation', '*']],
  'look at servers': [
    ['reconcile'],
    ['ssm:SendCommand', ssm('document/acm-export-look-at-node')],
    ['ssm:SendCommand', ssm('managed-instance/mi-0123456789abcdef0')],
    ['ssm:SendCommand', `arn:aws:ec2:${MEMBER.region}:${MEMBER.account}:instance/i-0123456789abcdef0`],
  ],
  'start an installation with its mark': [
    ['start-installation', 'check-installation'],
    ['ssm:StartAutomationExecution', ssm('document/acm-export-install-on-fleet')],
    ['ssm:StartAutomationExecution', EXECUTION],
    ['ssm:AddTagsToResource', EXECUTION, { 'aws:TagKeys': ['acm-export:deployment-id'] }],
  ],
  'ask how an installation goes': [
    ['start-installation', 'check-installation'],
    ['ssm:GetAutomationExecution', EXECUTION],
  ],
  'stop an installation': [ON_ROLLOUT, ['ssm:StopAutomationExecution', EXECUTION, MARKED]],
  'announce a bundle': [
    ['start-installation'],
    [
      'events:PutEvents',
      `arn:aws:events:${MEMBER.region}:${MEMBER.account}:event-bus/default`,
      { 'events:source': 'acm-export' },
    ],
  ],
  'find a reader': [
    ['deployments-api', 'reconcile'],
    ['iam:GetRole', iam('role/apps/reader')],
  ],
};
/** What export-certificate of an earlier edition needs of it, and nobody else has. */
const OF_FIRST_EDITION: Call[] = [
  ['secretsmanager:GetRandomPassword', '*'],
  ['secretsmanager:CreateSecret', BUNDLE, { 'aws:TagKeys': ['acm-export'] }],
  ['secretsmanager:TagResource', BUNDLE, { 'aws:TagKeys': ['acm-export'] }],
  ['secretsmanager:PutResourcePolicy', BUNDLE, { 'secretsmanager:BlockPublicPolicy': 'true' }],
  ['secretsmanager:PutSecretValue', BUNDLE],
  ['secretsmanager:UpdateSecretVersionStage', BUNDLE],
];

describe.each([
  ['with', member],
  ['without', without],
] as const)('the rollout role %s the grants of the first edition', (how, stack) => {
  const everybody: Visitor[] = [...ON_ROLLOUT, 'export-certificate'];
  const allowed = (call: Call) =>
    everybody.filter((visitor) => may(sessionOf(stack, visitor, 'RolloutRole'), call));
  const isKept = how === 'with';

  test.each(Object.entries(NEEDS))(
    'lets those functions that need it %s, and no others',
    (_what, [visitors, ...calls]) => {
      for (const call of calls) {
        const isOfBundle = call[0].startsWith('secretsmanager:') && isKept;
        const expected = everybody.filter(
          (visitor) => visitors.includes(visitor) || (isOfBundle && visitor === 'export-certificate'),
        );
        expect([call[0], allowed(call)]).toEqual([call[0], expected]);
      }
    },
  );

  test.each(OF_FIRST_EDITION)(`lets ${isKept ? 'export-certificate alone' : 'nobody'} call %s`, (...call) => {
    expect(allowed(call)).toEqual(isKept ? ['export-certificate'] : []);
  });

  test(`stops what has no mark ${isKept ? 'as before' : 'no more'}`, () => {
    expect(allowed(['ssm:StopAutomationExecution', EXECUTION])).toEqual(isKept ? ON_ROLLOUT : []);
    const other = { 'aws:ResourceTag/acm-export': 'web' };
    expect(allowed(['ssm:StopAutomationExecution', EXECUTION, other])).toEqual(isKept ? ON_ROLLOUT : []);
  });

  test('asks for the beginning of the name of the session, not for a part of it', () => {
    const calls = [...Object.values(NEEDS).flatMap(([, ...of]) => of), ...OF_FIRST_EDITION];
    for (const visitor of everybody) {
      const session = sessionOf(stack, visitor, 'RolloutRole');
      const names = [`my-${visitor}-0`, visitor, `${visitor}2-0`, `${visitor.toUpperCase()}-0`];
      for (const userId of ['AIDAEXAMPLE', ...names.map((name) => `AROAEXAMPLE:${name}`)]) {
        expect([userId, calls.filter((call) => may({ ...session, userId }, call))]).toEqual([userId, []]);
      }
    }
  });

  test('passes the Automation role to Systems Manager, and nothing else to anybody', () => {
    const pass = (name: string, service: string) =>
      may(sessionOf(stack, 'start-installation', 'RolloutRole'), [
        'iam:PassRole',
        iam(`role/${name}`),
        { 'iam:PassedToService': service },
      ]);
    expect(pass(`acm-export-automation-${MEMBER.region}`, 'ssm.amazonaws.com')).toBe(true);
    expect(pass(`acm-export-automation-${MEMBER.region}`, 'ec2.amazonaws.com')).toBe(false);
    expect(pass('administrator', 'ssm.amazonaws.com')).toBe(false);
    expect(pass('acm-export-automation-us-east-1', 'ssm.amazonaws.com')).toBe(false);
  });

  test.each<[string, ...Call]>([
    ['read a bundle', 'secretsmanager:GetSecretValue', BUNDLE],
    [
      'remove a bundle of a stack with another prefix',
      'secretsmanager:DeleteSecret',
      secret('acm-export2/web/0-AbCdEf'),
    ],
    [
      'delete a bundle for good',
      'secretsmanager:DeleteSecret',
      BUNDLE,
      { 'secretsmanager:ForceDeleteWithoutRecovery': 'true' },
    ],
    ['start another document', 'ssm:StartAutomationExecution', ssm('document/AWS-RestartEC2Instance')],
    ['send the install document itself', 'ssm:SendCommand', ssm('document/acm-export-install-on-node')],
    ['send any other document', 'ssm:SendCommand', ssm('document/AWS-RunShellScript')],
    [
      'send the look of a stack with another prefix',
      'ssm:SendCommand',
      ssm('document/acm-export2-look-at-node'),
    ],
    [
      'look at nodes of another account',
      'ssm:SendCommand',
      `arn:aws:ec2:${MEMBER.region}:999988887777:instance/i-0123456789abcdef0`,
    ],
    ['list Automations', 'ssm:DescribeAutomationExecutions', '*'],
    [
      'mark an Automation with another tag',
      'ssm:AddTagsToResource',
      EXECUTION,
      { 'aws:TagKeys': ['acm-export:deployment-id', 'owner'] },
    ],
    [
      'tag a server',
      'ssm:AddTagsToResource',
      ssm('managed-instance/mi-0123456789abcdef0'),
      { 'aws:TagKeys': ['acm-export:deployment-id'] },
    ],
  ])('lets nobody %s', (_what, ...call) => {
    expect(allowed(call)).toEqual([]);
  });

  test('lets reconcile alone see whether there is a writer of bundles, where readers are named', () => {
    const named = memberStack({
      SecretReaderRoles: 'reader-*',
      KeepFirstEditionGrants: isKept ? 'true' : 'false',
    });
    const see = (name: string) =>
      everybody.filter((visitor) =>
        may(sessionOf(named, visitor, 'RolloutRole'), ['iam:GetRole', iam(`role/${name}`)]),
      );
    expect(see(`acm-export-bundle-writer-${MEMBER.region}`)).toEqual(['reconcile']);
    const almost = { ...sessionOf(named, 'reconcile', 'RolloutRole'), userId: 'AROAEXAMPLE:my-reconcile-0' };
    expect(may(almost, ['iam:GetRole', iam(`role/acm-export-bundle-writer-${MEMBER.region}`)])).toBe(false);
    expect(see('acm-export-bundle-writer-us-east-1')).toEqual([]);
    expect(see(`acm-export2-bundle-writer-${MEMBER.region}`)).toEqual([]);
  });

  test('may not read a bundle even under a resource policy that names it', () => {
    for (const [role, visitor] of [
      ['RolloutRole', 'reconcile'],
      ['BundleWriterRole', 'export-certificate'],
    ] as const) {
      const session = sessionOf(stack, visitor, role);
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
        resource: BUNDLE,
        context: {},
        resourcePolicies: [ownPolicy],
        resourceAccount: MEMBER.account,
      });
      expect(decision).toMatchObject({
        allowed: false,
        reason: expect.stringContaining('NeverReadSecrets'),
      });
    }
  });
});

describe('a central stack of the first edition (69d6b04), against a member stack that keeps its grants', () => {
  // The actions of its session policies.
  const CALLED: Record<Visitor, Call[]> = {
    'deployments-api': [
      ['ssm:DescribeInstanceInformation', '*'],
      ['ssm:StopAutomationExecution', EXECUTION],
      ['secretsmanager:DescribeSecret', BUNDLE],
      ['secretsmanager:DeleteSecret', BUNDLE, { 'secretsmanager:RecoveryWindowInDays': '7' }],
    ],
    'export-certificate': [
      ...OF_FIRST_EDITION,
      ['secretsmanager:DescribeSecret', BUNDLE],
      ['secretsmanager:RestoreSecret', BUNDLE],
      ['secretsmanager:DeleteSecret', BUNDLE, { 'secretsmanager:RecoveryWindowInDays': '7' }],
    ],
    'start-installation': [
      ['ssm:DescribeInstanceInformation', '*'],
      ['ssm:StartAutomationExecution', ssm('document/acm-export-install-on-fleet')],
      ['ssm:StartAutomationExecution', ssm('automation-definition/acm-export-install-on-fleet:1')],
      ['ssm:StartAutomationExecution', ssm('automation-execution/*')],
      ['ssm:StopAutomationExecution', EXECUTION],
      [
        'iam:PassRole',
        iam(`role/acm-export-automation-${MEMBER.region}`),
        { 'iam:PassedToService': 'ssm.amazonaws.com' },
      ],
      [
        'events:PutEvents',
        `arn:aws:events:${MEMBER.region}:${MEMBER.account}:event-bus/default`,
        { 'events:source': 'acm-export' },
      ],
    ],
    'check-installation': [
      ['ssm:DescribeInstanceInformation', '*'],
      ['ssm:ListCommandInvocations', '*'],
      ['ssm:GetAutomationExecution', EXECUTION],
      ['ssm:StopAutomationExecution', EXECUTION],
    ],
    reconcile: [['ssm:DescribeInstanceInformation', '*']],
  };

  test.each(Object.entries(CALLED) as [Visitor, Call[]][])('%s goes on as before', (visitor, calls) => {
    const role = almighty(`arn:aws:iam::${CENTRAL.account}:role/acm-export-${visitor}-${CENTRAL.region}`);
    expect(assumes(role, member, 'RolloutRole', named(visitor))).toBe(true);
    const session = sessionOf(member, visitor, 'RolloutRole');
    expect(calls.filter((call) => !may(session, call))).toEqual([]);
  });
});

describe('what the owner of an account allows', () => {
  const ID = '0123456789abcdef01234567';
  const secret = (name: string) => `arn:aws:secretsmanager:${MEMBER.region}:${MEMBER.account}:secret:${name}`;
  const writing: [action: string, context: Record<string, string | string[]>][] = [
    ['CreateSecret', { 'aws:TagKeys': ['acm-export', 'acm-export:deployment-id'] }],
    ['TagResource', { 'aws:TagKeys': ['acm-export'] }],
    ['PutResourcePolicy', { 'secretsmanager:BlockPublicPolicy': 'true' }],
    ['PutSecretValue', {}],
    ['UpdateSecretVersionStage', {}],
    ['RestoreSecret', {}],
  ];
  /** Whether a role of a stack with these lists may. */
  function mayIn(parameters: Record<string, string>) {
    const stack = memberStack(parameters);
    const managed = new Map(
      resourcesOf(stack, 'AWS::IAM::ManagedPolicy').map(([, { physicalId, properties }]) => [
        physicalId,
        documentOf(properties.PolicyDocument),
      ]),
    );
    const writers = resourcesOf(stack, 'AWS::IAM::Role').map(
      ([, role]): Principal => ({
        account: MEMBER.account,
        arn: role.arn ?? '',
        tags: {},
        identityPolicies: [
          ...policiesOf(role),
          ...(role.properties.ManagedPolicyArns ?? []).map(
            (arn: string) => managed.get(arn) as PolicyDocument,
          ),
        ],
      }),
    );
    return (action: string, name: string, context: Record<string, string | string[]> = {}) =>
      writers.some(
        (writer) =>
          evaluate(writer, {
            action: `secretsmanager:${action}`,
            resource: secret(name),
            context,
            resourceAccount: MEMBER.account,
          }).allowed,
      );
  }
  const narrowed = mayIn({ AllowedCertNames: 'web-*,api.example.com' });

  test.each(writing)('%s works on a bundle of an allowed name', (action, context) => {
    for (const name of ['web-1', 'web-', 'api.example.com']) {
      expect(narrowed(action, `acm-export/${name}/${ID}-AbCdEf`, context)).toBe(true);
      expect(narrowed(action, `acm-export/${name}/${ID}`, context)).toBe(true);
    }
  });

  test.each(writing)('%s is denied to every role on a bundle of any other name', (action, context) => {
    const others = [
      ...['payments', 'web', 'webs', 'xweb-1', 'Web-1', 'WEB-1', 'we', 'api', 'api.example.com2'],
      ...[
        'api.example.co',
        'apixexample.com',
        'API.example.com',
        'payments/web-1',
        'payments/api.example.com',
      ],
      ...['x-api.example.com', '*', 'web*'],
    ].map((name) => `acm-export/${name}/${ID}`);
    // A name without a folder, on which six characters follow.
    others.push('acm-export/web', 'acm-export/api.example.com', 'acm-export/payments');
    const allowed = others
      .flatMap((name) => [name, `${name}-AbCdEf`])
      .filter((name) => narrowed(action, name, context));
    expect(allowed).toEqual([]);
    // All of it is denied by the owner's list, and by nothing else.
    const byAll = mayIn({});
    expect(others.filter((name) => !byAll(action, name, context))).toEqual([]);
  });

  test('what was delivered before can be looked at and taken away', () => {
    const recoverable = { 'secretsmanager:RecoveryWindowInDays': '7' };
    expect(narrowed('DescribeSecret', `acm-export/payments/${ID}-AbCdEf`)).toBe(true);
    expect(narrowed('DeleteSecret', `acm-export/payments/${ID}-AbCdEf`, recoverable)).toBe(true);
  });

  test('passphrases are made whatever the names are: that has no resource', () => {
    const role = resourceOf(memberStack({ AllowedCertNames: 'web' }), 'BundleWriterRole');
    const decision = evaluate(
      {
        account: MEMBER.account,
        arn: role.arn ?? '',
        tags: {},
        identityPolicies: policiesOf(role),
      },
      {
        action: 'secretsmanager:GetRandomPassword',
        resource: '*',
        context: {},
        resourceAccount: MEMBER.account,
      },
    );
    expect(decision.allowed).toBe(true);
  });

  const limitsOf = (parameters: Record<string, string>) =>
    statementsOf(memberStack(parameters))
      .map(({ statement }) => statement)
      .filter(({ Sid }) => Sid === 'OnlyAllowedCertNames');

  test.each(Array.from({ length: 10 }, (_, index) => index + 1))(
    'a list of %i entries has the bundles of these entries, and no others',
    (count) => {
      const entries = Array.from({ length: count }, (_, index) => `name-${index}*`);
      const [limit, ...more] = limitsOf({ AllowedCertNames: entries.join(',') });
      expect(more).toEqual([]);
      expect(new Set([limit?.NotResource].flat())).toEqual(
        new Set(entries.map((entry) => secret(`acm-export/${entry}/*`))),
      );
    },
  );

  test('where all is allowed nothing is denied', () => {
    expect(limitsOf({})).toEqual([]);
    expect(limitsOf({ AllowedServices: 'nginx' })).toEqual([]);
  });

  test('policies keep below what IAM takes (IAM User Guide, quotas): 10,240 characters inline, 6,144 managed, 2,048 of trust', () => {
    const region = 'ap-northeast-1';
    const stack = memberStack(
      {
        Prefix: 'x'.repeat(20),
        ExternalId: 'x'.repeat(128),
        CentralRegion: region,
        TargetTagKey1: 'k'.repeat(128),
        TargetTagKey2: 'k'.repeat(128),
        TargetTagKey3: 'k'.repeat(128),
        AllowedCertNames: 'n'.repeat(64),
      },
      { ...MEMBER, region },
    );
    const lengthOf = (policy: unknown) => JSON.stringify(policy).length;
    for (const [id, role] of resourcesOf(stack, 'AWS::IAM::Role')) {
      const size = policiesOf(role).reduce((sum, policy) => sum + lengthOf(policy), 0);
      expect([id, size < 10_240]).toEqual([id, true]);
      const trust = lengthOf(role.properties.AssumeRolePolicyDocument);
      // Names of the partitions for governments are seven characters longer, in twelve ARNs.
      expect([id, trust < 2048 - 7 * 12]).toEqual([id, true]);
    }
    for (const [id, { properties }] of resourcesOf(stack, 'AWS::IAM::ManagedPolicy')) {
      expect([id, lengthOf(documentOf(properties.PolicyDocument)) < 6144]).toEqual([id, true]);
    }
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
