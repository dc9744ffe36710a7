import { describe, expect, test } from '@jest/globals';
import {
  API_URL,
  callerRoleStack,
  resourceOf,
  resourceStack,
  statementsOf,
  writtenTemplate,
} from './stacks.ts';

const stack = resourceStack();
const place = 'eu-central-1:111122223333';
const CALLER = 'arn:aws:iam::444455556666:role/caller';

test('the function runs as long as a wait may last, and Lambda repeats no request', () => {
  const { Timeout, EventInvokeConfig } = resourceOf(stack, 'ProvideDeploymentFunction').properties;
  expect([Timeout, EventInvokeConfig]).toEqual([
    900,
    { MaximumRetryAttempts: 0, MaximumEventAgeInSeconds: 60 },
  ]);
});

test('the function is told what the parameters say', () => {
  const told = resourceStack({ CallerRoleArn: CALLER, ExternalId: 'eight-or-more', LogLevel: 'WARN' });
  expect(resourceOf(told, 'ProvideDeploymentFunction').properties.Environment.Variables).toEqual({
    LOG_LEVEL: 'WARN',
    NODE_OPTIONS: '--enable-source-maps',
    POWERTOOLS_SERVICE_NAME: 'provide-deployment',
    POWERTOOLS_METRICS_NAMESPACE: 'acm-export',
    DEPLOYMENTS_API_URL: API_URL,
    CERT_NAMES: 'web,team-*',
    CALLER_ROLE_ARN: CALLER,
    EXTERNAL_ID: 'eight-or-more',
  });
  const { CALLER_ROLE_ARN, EXTERNAL_ID } = resourceOf(stack, 'ProvideDeploymentFunction').properties
    .Environment.Variables;
  expect([CALLER_ROLE_ARN, EXTERNAL_ID]).toEqual(['', '']);
});

describe('the role of the function', () => {
  test('is that of Lambda alone', () => {
    const trust = statementsOf(stack).filter(({ kind }) => kind === 'trust');
    expect(trust.map(({ statement }) => statement)).toEqual([
      { Effect: 'Allow', Principal: { Service: 'lambda.amazonaws.com' }, Action: 'sts:AssumeRole' },
    ]);
  });

  test('writes its own logs and traces', () => {
    const own = statementsOf(stack).filter(({ statement }) => /^Write/.test(statement.Sid ?? ''));
    expect(own.map(({ statement: { Sid: _, ...statement } }) => statement)).toEqual([
      {
        Effect: 'Allow',
        Action: ['logs:CreateLogStream', 'logs:PutLogEvents'],
        Resource: `arn:aws:logs:${place}:log-group:/aws/lambda/acm-export-provide-deployment:*`,
      },
      { Effect: 'Allow', Action: ['xray:PutTraceSegments', 'xray:PutTelemetryRecords'], Resource: '*' },
    ]);
  });

  test('has the name that the role in the central account is told', () => {
    expect(resourceOf(stack, 'ProvideDeploymentFunctionRole').properties.RoleName).toBe(
      'acm-export-provide-deployment-eu-central-1',
    );
    expect(stack.outputs).toEqual({
      ServiceToken: `arn:aws:lambda:${place}:function:acm-export-provide-deployment`,
      ProvideDeploymentFunctionRoleArn: `arn:aws:iam::111122223333:role/acm-export-provide-deployment-eu-central-1`,
    });
    expect(writtenTemplate('deployment-resource.yaml').Outputs.ServiceToken.Export.Name).toEqual({
      'Fn::Sub': '${Prefix}-certificate-deployment',
    });
  });
});

test('the role in the central account trusts one role of one account, with the external id', () => {
  const trust = statementsOf(callerRoleStack()).filter(({ kind }) => kind === 'trust');
  expect(trust.map(({ statement: { Sid: _, ...statement } }) => statement)).toEqual([
    {
      Effect: 'Allow',
      Principal: { AWS: 'arn:aws:iam::444455556666:root' },
      Action: 'sts:AssumeRole',
      Condition: {
        StringEquals: { 'sts:ExternalId': 'only-for-these-tests' },
        ArnEquals: {
          'aws:PrincipalArn': 'arn:aws:iam::444455556666:role/acm-export-provide-deployment-eu-west-1',
        },
      },
    },
  ]);
});
