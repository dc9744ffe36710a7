import { describe, expect, test } from '@jest/globals';
import {
  callerRoleStack,
  centralStack,
  dnsStack,
  memberStack,
  type PlacedStatement,
  resourceStack,
  statementsOf,
  textOf,
} from './stacks.ts';

const stacks = [
  ['template.yaml', statementsOf(centralStack())],
  ['member-account.yaml', statementsOf(memberStack({ TargetTagKey2: 'env', TargetTagKey3: 'team' }))],
  ['deployment-resource.yaml', statementsOf(resourceStack())],
  ['docs/examples/deployment-caller-role.yaml', statementsOf(callerRoleStack())],
  ['dns-account.yaml', statementsOf(dnsStack())],
] as const;

/** Actions that AWS authorizes without a resource (Service Authorization Reference); nothing else may have `*`. */
const WITHOUT_RESOURCE_LEVEL = new Set([
  'acm:ListCertificates',
  'acm:RequestCertificate',
  'logs:CreateLogDelivery',
  'logs:DeleteLogDelivery',
  'logs:DescribeLogGroups',
  'logs:DescribeResourcePolicies',
  'logs:GetLogDelivery',
  'logs:ListLogDeliveries',
  'logs:PutResourcePolicy',
  'logs:UpdateLogDelivery',
  'route53:ListHostedZonesByName',
  'secretsmanager:GetRandomPassword',
  'ssm:DescribeInstanceInformation',
  'ssm:GetCommandInvocation',
  'ssm:ListCommandInvocations',
  'ssm:ListCommands',
  'xray:GetSamplingRules',
  'xray:GetSamplingTargets',
  'xray:PutTelemetryRecords',
  'xray:PutTraceSegments',
]);

const nameOf = ({ where, statement }: PlacedStatement) => `${where}/${statement.Sid}`;
const allowed = (all: readonly PlacedStatement[]) =>
  all.filter(({ statement }) => statement.Effect === 'Allow');

describe.each(stacks)('%s', (file, statements) => {
  test('grants no action by wildcard, and nothing to whatever is not named', () => {
    const wide = statements.filter(
      ({ statement }) =>
        [statement.Action ?? []].flat().some((action) => action.includes('*')) ||
        statement.NotAction !== undefined ||
        (statement.NotResource !== undefined && statement.Effect === 'Allow') ||
        statement.NotPrincipal !== undefined,
    );
    expect(wide.map(nameOf)).toEqual([]);
  });

  test('grants all resources only of actions that have no resource level', () => {
    const wide = allowed(statements).filter(
      ({ statement }) =>
        [statement.Resource ?? []].flat().includes('*') &&
        ![statement.Action ?? []].flat().every((action) => WITHOUT_RESOURCE_LEVEL.has(action)),
    );
    expect(wide.map(nameOf)).toEqual([]);
  });

  test('mixes no action without a resource level into a statement on resources', () => {
    // Such a grant looks narrow and grants nothing.
    const dead = allowed(statements).filter(
      ({ statement }) =>
        statement.Resource !== undefined &&
        ![statement.Resource].flat().includes('*') &&
        [statement.Action ?? []].flat().some((action) => WITHOUT_RESOURCE_LEVEL.has(action)),
    );
    expect(dead.map(nameOf)).toEqual([]);
  });

  test('opens nothing to everybody', () => {
    const open = allowed(statements).filter(({ statement }) =>
      JSON.stringify(statement.Principal)?.includes('"*"'),
    );
    expect(open.map(nameOf)).toEqual([]);
  });

  test('names every grant, each once in its policy', () => {
    const grants = statements.filter(({ kind }) => kind === 'identity');
    expect(grants.filter(({ statement }) => !statement.Sid).map(({ where }) => where)).toEqual([]);
    expect(new Set(grants.map(nameOf)).size).toBe(grants.length);
  });

  test('gives the reason for every grant in a comment above it', () => {
    const lines = textOf(file).split('\n');
    const silent = lines.filter(
      (line, index) => /^\s*- Sid: /.test(line) && !/^\s*#/.test(lines[index - 1] ?? ''),
    );
    expect(silent).toEqual([]);
  });

  test('uses conditions only where AWS documents their result', () => {
    const doubtful = statements.flatMap((placed) =>
      Object.entries(placed.statement.Condition ?? {}).flatMap(([operator, keys]) =>
        Object.entries(keys as Record<string, string | string[]>)
          .filter(
            ([key, values]) =>
              // A key with several values needs ForAllValues or ForAnyValue.
              (/^(aws:TagKeys|route53:ChangeResourceRecordSets)/.test(key) &&
                !/^(For|Null)/.test(operator)) ||
              // ARN operators compare ARNs only.
              (operator.startsWith('Arn') && !/Arn$/.test(key)) ||
              // A variable without a value makes a negated condition uncertain.
              (operator.includes('Not') && JSON.stringify(values).includes('${')),
          )
          .map(([key]) => `${nameOf(placed)}: ${operator} ${key}`),
      ),
    );
    expect(doubtful).toEqual([]);
  });
});

test('a function reaches its own log group and no other', () => {
  for (const { where, statement } of [...stacks[0][1], ...stacks[2][1]].filter(
    ({ statement }) => statement.Sid === 'WriteOwnLogs',
  )) {
    const name = where
      .replace(/FunctionRole$/, '')
      .replaceAll(/(?!^)[A-Z]/g, (letter) => `-${letter}`)
      .toLowerCase();
    expect(statement.Resource).toMatch(new RegExp(`:log-group:/aws/lambda/acm-export-${name}:\\*$`));
  }
});

test('only one role of the central account can export a certificate', () => {
  const exporting = stacks[0][1].filter(({ statement }) =>
    [statement.Action ?? []].flat().includes('acm:ExportCertificate'),
  );
  expect(exporting.map(({ where }) => where)).toEqual(['ExportCertificateFunctionRole']);
});

test('nobody but nodes is granted the value of a secret', () => {
  const reading = stacks
    .flatMap(([, statements]) => allowed(statements))
    .filter(({ statement }) =>
      [statement.Action ?? []].flat().some((action) => /GetSecretValue/.test(action)),
    );
  expect(new Set(reading.map(({ where }) => where))).toEqual(new Set(['ReadBundlePolicy']));
});

test('what a stack may register is said by name, method and path, and for no API but one', () => {
  const forms = (method: string, rest: string) =>
    ['web', 'team-*'].map(
      (name) => `arn:*:execute-api:*:*:*/v1/${method}/certificates/${name}/deployments${rest}`,
    );
  for (const [, statements] of stacks.slice(2, 4)) {
    const said = statements.filter(({ statement }) => statement.Action === 'execute-api:Invoke');
    expect(
      said.map(({ statement: { Effect, Resource, NotResource } }) => [Effect, Resource ?? NotResource]),
    ).toEqual([
      ['Allow', forms('POST', '')],
      ['Allow', forms('GET', '/*')],
      ['Allow', forms('DELETE', '/*')],
      ['Deny', 'arn:aws:execute-api:eu-central-1:111122223333:abcde12345/v1/*'],
    ]);
  }
});

test('a function that calls the API by another role may do nothing but assume that one', () => {
  const CallerRoleArn = 'arn:aws:iam::444455556666:role/caller';
  const statements = statementsOf(resourceStack({ CallerRoleArn })).filter(({ kind }) => kind === 'identity');
  const others = statements.filter(({ statement }) => !/^Write/.test(statement.Sid ?? ''));
  expect(others.map(({ statement: { Sid: _, ...statement } }) => statement)).toEqual([
    { Effect: 'Allow', Action: 'sts:AssumeRole', Resource: CallerRoleArn },
  ]);
});
