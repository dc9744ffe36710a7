import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { evaluate, type PolicyDocument, type Statement } from 'local-cloud/iam';
import { examplePolicy } from './teams.ts';

const scp = examplePolicy('guard-scp.json');
const rcp = examplePolicy('guard-session-tags-rcp.json');

type Context = Record<string, string | string[]>;
const ACCOUNT = '111122223333';
const iam = (rest: string) => `arn:aws:iam::${ACCOUNT}:${rest}`;
const role = (name: string) => iam(`role/${name}`);
const inRegion = (service: string, rest: string) => `arn:aws:${service}:eu-west-1:${ACCOUNT}:${rest}`;
const everything: PolicyDocument = {
  Version: '2012-10-17',
  Statement: [{ Effect: 'Allow', Action: '*', Resource: '*' }],
};

/**
 * A service control policy that only denies, beside FullAWSAccess, decides as a statement that denies in the caller's
 * own policies does. The caller's own policies allow everything here.
 */
function isAllowed(policy: PolicyDocument, arn: string, [action, resource, context = {}]: Request): boolean {
  return evaluate(
    { account: ACCOUNT, arn, tags: {}, identityPolicies: [everything, policy] },
    { action, resource, context, resourceAccount: ACCOUNT },
  ).allowed;
}

type Request = readonly [action: string, resource: string, context?: Context];

const DEPLOYER = role('acm-export-deployer');
const STACK_SETS = role('stacksets-exec-0123456789abcdef');
const SELF_MANAGED = role('AWSCloudFormationStackSetExecutionRole');
const ROLLOUT = role('acm-export-rollout-eu-west-1');
const WRITER = role('acm-export-bundle-writer-eu-west-1');
const RECONCILE = role('acm-export-reconcile-eu-west-1');
const deployers = [DEPLOYER, STACK_SETS, SELF_MANAGED];
/** No policy may take any of these for one of the above. */
const others = [
  iam('root'),
  iam('user/acm-export-deployer'),
  role('administrator'),
  role('ACM-EXPORT-deployer'),
  role('acm-export'),
  role('acm-exported'),
  role('acm-export/web-server'),
  role('aacm-export-deployer'),
  role('team/acm-export-deployer'),
  role('team/acm-export-rollout-eu-west-1'),
  role('team/acm-export-bundle-writer-eu-west-1'),
  role('acm-export2-bundle-writer-eu-west-1'),
  role('aAWSCloudFormationStackSetExecutionRole'),
  role('AWSCloudFormationStackSetExecutionRole2'),
  role('team/stacksets-exec-0123456789abcdef'),
  role('stacksets-executor'),
];
/** Roles of this system that are exempt from something, but not from what only deployers do. */
const system = [
  ROLLOUT,
  WRITER,
  RECONCILE,
  role('acm-export-deployer2'),
  role('acm-export-rollout'),
  role('acm-export-bundle-writer'),
];

interface Guard {
  may: string[];
  mayNot: string[];
  /** What the statement is there to stop. */
  attacks: Request[];
  /** As near as it gets, and nobody's business but the administrator's. */
  harmless: Request[];
}

const guardedRoles = [
  ROLLOUT,
  WRITER,
  DEPLOYER,
  STACK_SETS,
  SELF_MANAGED,
  role('acm-export-x/evil'),
  role('acm-export/web-server'),
];
const freeRoles = [
  role('provisioning-evil'),
  role('acm-export'),
  role('acm-exported'),
  role('team/acm-export-deployer'),
  role('stacksets-executor'),
  role('AWSCloudFormationStackSetExecutionRole2'),
];
const takeOver = [
  'AttachRolePolicy',
  'CreateRole',
  'DeleteRole',
  'DeleteRolePermissionsBoundary',
  'DeleteRolePolicy',
  'DetachRolePolicy',
  'PutRolePermissionsBoundary',
  'PutRolePolicy',
  'TagRole',
  'UntagRole',
  'UpdateAssumeRolePolicy',
].map((name) => `iam:${name}`);
const policyChanges = [
  'CreatePolicy',
  'CreatePolicyVersion',
  'DeletePolicy',
  'DeletePolicyVersion',
  'SetDefaultPolicyVersion',
].map((name) => `iam:${name}`);

/** Every action on every resource. */
const each = (actions: string[], resources: string[], context: Context = {}): Request[] =>
  actions.flatMap((action) => resources.map((resource): Request => [action, resource, context]));

const hasTag = (key: string): Context => ({ [`aws:ResourceTag/${key}`]: 'web' });
const givesTag = (...keys: string[]): Context => ({ 'aws:TagKeys': keys });
const webServer = role('web-server');
const instance = inRegion('ec2', 'instance/i-0123456789abcdef0');
const hybrid = inRegion('ssm', 'managed-instance/mi-0123456789abcdef0');
const group = inRegion('autoscaling', 'autoScalingGroup:0a:autoScalingGroupName/web');
const tagging: [action: string, resource: string][] = [
  ['iam:CreateRole', webServer],
  ['iam:TagRole', webServer],
  ['iam:UntagRole', webServer],
  ['iam:CreateUser', iam('user/evil')],
  ['iam:TagUser', iam('user/evil')],
  ['sts:TagSession', role('evil')],
  // Asked for by RunInstances with tags, too.
  ['ec2:CreateTags', instance],
  ['autoscaling:CreateAutoScalingGroup', group],
  ['autoscaling:CreateOrUpdateTags', group],
  ['autoscaling:DeleteTags', group],
  ['ssm:CreateActivation', '*'],
  ['ssm:AddTagsToResource', hybrid],
  ['ssm:RemoveTagsFromResource', hybrid],
];
const changesOfTagged = [
  'iam:AttachRolePolicy',
  'iam:DeleteRole',
  'iam:DeleteRolePermissionsBoundary',
  'iam:DeleteRolePolicy',
  'iam:DetachRolePolicy',
  'iam:PutRolePermissionsBoundary',
  'iam:PutRolePolicy',
  'iam:UpdateAssumeRolePolicy',
];

const actionsOn = (service: string, names: string) => names.split(' ').map((name) => `${service}:${name}`);
const documentActions = actionsOn(
  'ssm',
  'CreateDocument DeleteDocument ModifyDocumentPermission UpdateDocument UpdateDocumentDefaultVersion',
);
const functionActions = actionsOn(
  'lambda',
  'AddPermission CreateFunction CreateFunctionUrlConfig DeleteFunction PutFunctionConcurrency UpdateFunctionCode UpdateFunctionConfiguration',
);
const stateMachineActions = actionsOn('states', 'CreateStateMachine DeleteStateMachine UpdateStateMachine');
const stackActions = actionsOn(
  'cloudformation',
  'CancelUpdateStack ContinueUpdateRollback CreateChangeSet CreateStack DeleteStack ExecuteChangeSet RollbackStack SetStackPolicy UpdateStack',
);
const bundleActions = actionsOn(
  'secretsmanager',
  'CreateSecret DeleteResourcePolicy PutResourcePolicy PutSecretValue ReplicateSecretToRegions RotateSecret TagResource UntagResource UpdateSecret UpdateSecretVersionStage',
);
const tableActions = actionsOn(
  'dynamodb',
  'BatchWriteItem DeleteItem DeleteTable PartiQLDelete PartiQLInsert PartiQLUpdate PutItem PutResourcePolicy UpdateItem UpdateTable',
);

/** By the name of the statement. */
const guards: Record<string, Guard> = {
  OnlyDeployersChangeGuardedRoles: {
    may: deployers,
    mayNot: [...others, ...system],
    attacks: [
      ...each(takeOver, guardedRoles),
      ...each(policyChanges, [iam('policy/acm-export-read-bundle-eu-west-1')]),
    ],
    harmless: [
      ...each(takeOver, freeRoles),
      ...each(policyChanges, [iam('policy/acm-exported'), iam('policy/stacksets-exec-1')]),
      ['iam:GetRole', ROLLOUT],
      ['iam:AttachUserPolicy', iam('user/acm-export-deployer')],
    ],
  },
  OnlyDeployersPassGuardedRoles: {
    may: [...deployers, ROLLOUT],
    mayNot: [...others, ...system.filter((arn) => arn !== ROLLOUT)],
    // To a function, a stack, an instance profile, an activation: all of them ask for it.
    attacks: each(['iam:PassRole'], guardedRoles),
    harmless: each(['iam:PassRole'], freeRoles),
  },
  OnlyDeployersChangeWhatHasTheTag: {
    may: deployers,
    mayNot: [...others, ...system],
    attacks: [
      ...each(changesOfTagged, [webServer], hasTag('acm-export')),
      // IAM keeps no two keys that differ in case only.
      ...each(changesOfTagged, [webServer], hasTag('ACM-Export')),
      // Without keys it takes all of them away.
      ['ec2:DeleteTags', instance, hasTag('acm-export')],
    ],
    harmless: [
      ...each(changesOfTagged, [webServer]),
      ...each([...changesOfTagged, 'ec2:DeleteTags'], [webServer], hasTag('acm-export-2')),
      ['ec2:RunInstances', instance, hasTag('acm-export')],
    ],
  },
  OnlyDeployersGiveAndTakeTheTag: {
    may: deployers,
    mayNot: [...others, ...system],
    attacks: [
      ...tagging.map(([action, resource]): Request => [action, resource, givesTag('owner', 'acm-export')]),
      ['iam:TagRole', webServer, givesTag('ACM-Export')],
    ],
    harmless: [
      ...tagging.map(([action, resource]): Request => [action, resource, givesTag('acm-export-2', 'owner')]),
      ...tagging.map(([action, resource]): Request => [action, resource]),
      ['acm:AddTagsToCertificate', inRegion('acm', 'certificate/1'), givesTag('acm-export')],
    ],
  },
  OnlyDeployersChangeWhatRuns: {
    may: deployers,
    mayNot: [...others, ...system],
    attacks: [
      ...each(documentActions, [
        inRegion('ssm', 'document/acm-export-install-on-node'),
        inRegion('ssm', 'document/acm-export-look-at-node').replace('eu-west', 'eu-central'),
      ]),
      ...each(functionActions, [inRegion('lambda', 'function:acm-export-export-certificate')]),
      ...each(stateMachineActions, [inRegion('states', 'stateMachine:acm-export-certificate-rollout')]),
      ...each(stackActions, [
        inRegion('cloudformation', 'stack/acm-export/1'),
        inRegion('cloudformation', 'stack/acm-export-member/1'),
        // Acts with the role of StackSets.
        inRegion('cloudformation', 'stack/StackSet-baseline-1/1'),
      ]),
    ],
    harmless: [
      ...each(documentActions, [
        inRegion('ssm', 'document/acm-exported'),
        inRegion('ssm', 'document/patching'),
      ]),
      ...each(functionActions, [inRegion('lambda', 'function:acm-exported')]),
      ...each(stateMachineActions, [inRegion('states', 'stateMachine:acm-exported')]),
      ...each(stackActions, [
        inRegion('cloudformation', 'stack/team-acm-export/1'),
        inRegion('cloudformation', 'stack/StackSets/1'),
        inRegion('cloudformation', 'stack/acm-expor/1'),
      ]),
      ['cloudformation:DescribeStacks', inRegion('cloudformation', 'stack/acm-export/1')],
      ['ssm:GetDocument', inRegion('ssm', 'document/acm-export-install-on-node')],
    ],
  },
  OnlyThisSystemWritesBundles: {
    may: [WRITER, ROLLOUT],
    mayNot: [
      ...others,
      ...deployers,
      RECONCILE,
      role('acm-export-export-certificate-eu-west-1'),
      role('acm-export-rollout'),
      role('acm-export-bundle-writer'),
    ],
    attacks: each(bundleActions, [inRegion('secretsmanager', 'secret:acm-export/web/0-AbCdEf')]),
    harmless: [
      ...each(bundleActions, [inRegion('secretsmanager', 'secret:acm-exported/web-AbCdEf')]),
      // The policy of the bundle decides that.
      ['secretsmanager:GetSecretValue', inRegion('secretsmanager', 'secret:acm-export/web/0-AbCdEf')],
    ],
  },
  OnlyThisSystemWritesItsTables: {
    may: [...deployers, RECONCILE],
    mayNot: others,
    attacks: each(tableActions, [inRegion('dynamodb', 'table/acm-export-inventory')]),
    harmless: [
      ...each(tableActions, [inRegion('dynamodb', 'table/acm-exported')]),
      ['dynamodb:Query', inRegion('dynamodb', 'table/acm-export-inventory')],
    ],
  },
  NobodyLeavesTheOrganisation: {
    may: [],
    mayNot: [...others, ...deployers, ...system],
    attacks: [['organizations:LeaveOrganization', '*']],
    harmless: [['organizations:DescribeOrganization', '*']],
  },
};

const list = <T>(value: T | T[] | undefined): T[] =>
  value === undefined ? [] : Array.isArray(value) ? value : [value];
const statements = list(scp.Statement);
const exemptions = (statement: Statement) =>
  list(statement.Condition?.ArnNotLike?.['aws:PrincipalArn']).map(String);

/** What a policy lets through that it should stop, and stops that it should let through; of this statement first. */
function* faults(policy: PolicyDocument, first = ''): Generator<string> {
  const own = Object.entries(guards).filter(([sid]) => sid === first);
  for (const [, { may, mayNot, attacks, harmless }] of [...own, ...Object.entries(guards)]) {
    for (const attack of attacks) {
      for (const arn of mayNot) if (isAllowed(policy, arn, attack)) yield `${arn} may ${attack[0]}`;
      for (const arn of may) if (!isAllowed(policy, arn, attack)) yield `${arn} may not ${attack[0]}`;
    }
    for (const request of harmless) {
      const [action, resource] = request;
      if (isAllowed(policy, role('administrator'), request)) continue;
      yield `an administrator may not ${action} on ${resource}`;
    }
  }
}

describe('the service control policy', () => {
  test.each(Object.entries(guards))('stops by a statement of its own: %s', (sid, { attacks }) => {
    expect(statements.map(({ Sid }) => Sid)).toContain(sid);
    expect(attacks.length).toBeGreaterThan(0);
    const own = { ...scp, Statement: statements.filter(({ Sid }) => Sid === sid) };
    expect(attacks.filter((attack) => isAllowed(own, role('administrator'), attack))).toEqual([]);
  });

  test('an administrator and a role of nearly the right name can do nothing that is left to deployers', () => {
    expect([...faults(scp)]).toEqual([]);
  });

  /** The policy with one element of one statement changed; null takes the element away. */
  const altered = (index: number, change: Partial<Statement>): PolicyDocument => ({
    ...scp,
    Statement: statements.map((statement, at) => (at === index ? { ...statement, ...change } : statement)),
  });
  const withExemptions = ({ Condition }: Statement, arns: string[]): Partial<Statement> => ({
    Condition: { ...Condition, ArnNotLike: { 'aws:PrincipalArn': arns } },
  });
  const changes = statements.flatMap((statement, index): [string, string, PolicyDocument][] => {
    const { Sid = '', Action, Resource, Condition = {} } = statement;
    const arns = exemptions(statement);
    const without = (values: string[], value: string) => values.filter((other) => other !== value);
    const instead = (values: string[], value: string, other: string) => [...without(values, value), other];
    const wider = (arn: string) => [arn.replace(/-?\*?$/, '*'), arn.replace(/(?<=:role\/)/, '*')];
    const rules: [string, Partial<Statement>][] = [
      ...list(Action)
        .filter(() => list(Action).length > 1)
        .map((action): [string, Partial<Statement>] => [
          `without ${action}`,
          { Action: without(list(Action), action) },
        ]),
      ...list(Resource)
        .filter((resource) => resource !== '*')
        .flatMap((resource): [string, Partial<Statement>][] => [
          [`without ${resource}`, { Resource: [...without(list(Resource), resource), 'arn:aws:s3:::none'] }],
          [
            `wider than ${resource}`,
            { Resource: instead(list(Resource), resource, resource.replace(/.[-/]?\*?$/, '*')) },
          ],
        ]),
      ...arns.flatMap((arn): [string, Partial<Statement>][] => [
        [`without the exemption of ${arn}`, withExemptions(statement, [...without(arns, arn), role('none')])],
        ...wider(arn).map((other): [string, Partial<Statement>] => [
          `exempts ${other}`,
          withExemptions(statement, instead(arns, arn, other)),
        ]),
      ]),
      ...Object.keys(Condition).map((operator): [string, Partial<Statement>] => [
        `without ${operator}`,
        { Condition: Object.fromEntries(Object.entries(Condition).filter(([name]) => name !== operator)) },
      ]),
    ];
    return [
      [`without ${Sid}`, Sid, { ...scp, Statement: statements.filter((other) => other !== statement) }],
      ...rules.map(([name, change]): [string, string, PolicyDocument] => [
        `${Sid} ${name}`,
        Sid,
        altered(index, change),
      ]),
    ];
  });

  test.each(changes)('every part of it is needed: %s', (_change, sid, policy) => {
    expect(faults(policy, sid).next().done).toBe(false);
  });

  test('every statement has its attacks', () => {
    expect(statements.map(({ Sid }) => Sid)).toEqual(Object.keys(guards));
  });

  test('a role that an administrator can make or take is exempt from nothing, whatever its name', () => {
    const attacks = Object.values(guards).flatMap((guard) => guard.attacks);
    const parts = [
      ...[
        'acm-export',
        'acm-export-',
        'deployer',
        'rollout-',
        'bundle-writer-',
        'stacksets-exec',
        '-',
        '/',
        'x',
      ],
      ...['eu-west-1', 'AWSCloudFormationStackSetExecutionRole', 'provisioning-evil'],
    ];
    const names = fc.array(fc.constantFrom(...parts), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(names, (pieces) => {
        const arn = role(pieces.join(''));
        const isOpen = [...takeOver, 'iam:PassRole'].some((action) =>
          isAllowed(scp, role('administrator'), [action, arn]),
        );
        fc.pre(isOpen);
        expect(attacks.filter((attack) => isAllowed(scp, arn, attack))).toEqual([]);
      }),
      { examples: [[['provisioning-evil']], [['acm-export']], [['x', '/', 'acm-export-', 'deployer']]] },
    );
  });

  // Holds for names that a reader puts in, too.
  const exempt = [...new Set(statements.flatMap(exemptions))];
  test.each(exempt)('nobody else makes, takes over or passes what is exempt: %s', (pattern) => {
    const arn = pattern.replace('::*:', `::${ACCOUNT}:`).replace(/\*$/, 'x-1');
    expect(pattern).toMatch(/^arn:aws:iam::\*:role\/[\w/-]+\*?$/);
    for (const action of [...takeOver, 'iam:PassRole']) {
      expect([action, isAllowed(scp, role('administrator'), [action, arn])]).toEqual([action, false]);
    }
  });

  test('fits into what AWS Organizations takes: 5,120 characters, in elements that it knows', () => {
    expect(JSON.stringify(scp).length).toBeLessThanOrEqual(5120);
    for (const statement of statements) {
      expect(['Sid', 'Effect', 'Action', 'Resource', 'Condition']).toEqual(
        expect.arrayContaining(Object.keys(statement)),
      );
      expect(statement.Effect).toBe('Deny');
    }
  });
});

describe('the resource control policy', () => {
  const isTaken = (policy: PolicyDocument, action: string, keys: string[], by?: string) => {
    const trust: PolicyDocument = {
      Version: '2012-10-17',
      Statement: [{ Effect: 'Allow', Principal: '*', Action: 'sts:*', Resource: '*' }],
    };
    return evaluate(
      { account: '999988887777', arn: by ?? '', tags: {}, identityPolicies: [everything] },
      {
        action,
        resource: role('evil'),
        context: givesTag(...keys),
        resourcePolicies: [trust, policy],
        resourceAccount: ACCOUNT,
      },
    ).allowed;
  };
  const stranger = 'arn:aws:iam::999988887777:role/acm-export-deployer';

  test.each(['AssumeRole', 'AssumeRoleWithSAML', 'AssumeRoleWithWebIdentity', 'TagSession'])(
    'nobody gives a session the tag by %s, from wherever he calls',
    (name) => {
      for (const key of ['acm-export', 'ACM-Export']) {
        expect(isTaken(rcp, `sts:${name}`, ['owner', key], stranger)).toBe(false);
      }
      expect(isTaken(rcp, `sts:${name}`, ['owner', 'acm-export-2'], stranger)).toBe(true);
      expect(isTaken(rcp, `sts:${name}`, [], stranger)).toBe(true);
    },
  );

  test('fits into what AWS Organizations takes', () => {
    const [statement, ...more] = list(rcp.Statement);
    expect(more).toEqual([]);
    expect(statement).toMatchObject({ Effect: 'Deny', Principal: '*' });
    expect(JSON.stringify(rcp).length).toBeLessThanOrEqual(5120);
  });
});
