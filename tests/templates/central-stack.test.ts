import { describe, expect, test } from '@jest/globals';
import { centralStack, resourceOf, resourcesOf } from './stacks.ts';

const stack = centralStack();
const functions = resourcesOf(stack, 'AWS::Serverless::Function');

describe('the accounts of hosted zones', () => {
  const grants = (parameters: Record<string, string>) =>
    resourcesOf(centralStack(parameters), 'AWS::IAM::Role').flatMap(([id, { properties }]) =>
      (properties.Policies ?? [])
        .flatMap((policy: { PolicyDocument: { Statement: object[] } }) => policy.PolicyDocument.Statement)
        .filter((statement: { Resource: unknown }) =>
          JSON.stringify(statement).includes('-validation-records-eu'),
        )
        .map((statement: { Sid: string }) => ({ ...statement, id })),
    );

  test('are visited by two functions, by the one name of the role there', () => {
    const DnsAccounts = ['777788889999', '888899990000'];
    const visited = (id: string) => ({
      id,
      Sid: 'AssumeValidationRecordsRole',
      Effect: 'Allow',
      Action: ['sts:AssumeRole'],
      Resource: `arn:aws:iam::*:role/acm-export-validation-records-${stack.region}`,
      Condition: { StringEquals: { 'aws:ResourceAccount': DnsAccounts } },
    });
    expect(grants({ DnsAccounts: DnsAccounts.join() })).toEqual([
      visited('DeploymentsApiFunctionRole'),
      visited('WriteValidationRecordsFunctionRole'),
    ]);
  });

  test('are visited by no function where the stack names none', () => {
    expect(grants({})).toEqual([]);
  });
});

test('the function that writes records may describe certificates of this account and Region, and nothing else in ACM', () => {
  const { properties } = resourceOf(stack, 'WriteValidationRecordsFunctionRole');
  const statements: { Action: string[]; Resource: string }[] =
    properties.Policies[0].PolicyDocument.Statement;
  const ofAcm = statements.filter(({ Action }) => Action.some((action) => /^(acm:|\*)/.test(action)));
  expect(ofAcm).toEqual([
    {
      Sid: 'ReadCertificates',
      Effect: 'Allow',
      Action: ['acm:DescribeCertificate'],
      Resource: `arn:aws:acm:${stack.region}:${stack.account}:certificate/*`,
    },
  ]);
});

/** The statements of a role's policy with these Sids. */
const statements = (id: string, ...sids: string[]) =>
  resourceOf(stack, id).properties.Policies[0].PolicyDocument.Statement.filter(({ Sid }: { Sid: string }) =>
    sids.includes(Sid),
  );

test('one function may ask ACM, for what is exportable, public and validated by DNS, and names what has no name', () => {
  expect(
    statements('RequestCertificateFunctionRole', 'RequestCertificates', 'TagRequestedCertificates'),
  ).toEqual([
    {
      Sid: 'RequestCertificates',
      Effect: 'Allow',
      Action: ['acm:RequestCertificate'],
      Resource: '*',
      Condition: {
        StringEquals: { 'acm:ValidationMethod': 'DNS', 'acm:Export': 'ENABLED' },
        Null: { 'aws:RequestTag/CertName': 'false', 'acm:CertificateAuthority': 'true' },
      },
    },
    {
      Sid: 'TagRequestedCertificates',
      Effect: 'Allow',
      Action: ['acm:AddTagsToCertificate'],
      Resource: `arn:aws:acm:${stack.region}:${stack.account}:certificate/*`,
      Condition: { Null: { 'aws:RequestTag/CertName': 'false', 'aws:ResourceTag/CertName': 'true' } },
    },
  ]);
});

test('the rule of issued certificates, and no other, starts requests; reconcile watches those of this stack', () => {
  const { AssumeRolePolicyDocument } = resourceOf(stack, 'CertificateIssuedRole').properties;
  expect(AssumeRolePolicyDocument.Statement).toEqual([
    {
      Effect: 'Allow',
      Principal: { Service: 'events.amazonaws.com' },
      Action: 'sts:AssumeRole',
      Condition: {
        ArnEquals: {
          'aws:SourceArn': `arn:aws:events:${stack.region}:${stack.account}:rule/acm-export-certificate-issued`,
        },
      },
    },
  ]);
  expect(statements('ReconcileFunctionRole', 'WatchRequests')).toEqual([
    {
      Sid: 'WatchRequests',
      Effect: 'Allow',
      Action: ['states:DescribeExecution'],
      Resource: `arn:aws:states:${stack.region}:${stack.account}:execution:acm-export-certificate-request:*`,
    },
  ]);
});

describe('each function', () => {
  test('there are ten, named like their logical ids', () => {
    const expected = functions.map(([id]) => {
      const words = id.replace(/Function$/, '').match(/[A-Z][a-z]+/g) ?? [];
      return `acm-export-${words.join('-').toLowerCase()}`;
    });
    expect(functions.map(([, { properties }]) => properties.FunctionName)).toEqual(expected);
    expect(functions).toHaveLength(10);
  });

  test.each(functions)(
    '%s has a role of its own, named as the member accounts trust it',
    (id, { properties }) => {
      const role = resourceOf(stack, `${id}Role`);
      expect(properties.Role).toBe(role.arn);
      expect(role.properties.RoleName).toBe(`${properties.FunctionName}-${stack.region}`);
      expect(role.properties.AssumeRolePolicyDocument.Statement[0].Principal).toEqual({
        Service: 'lambda.amazonaws.com',
      });
    },
  );

  test.each(functions)('%s writes to a log group of its own that forgets', (id, { properties }) => {
    const group = resourceOf(stack, `${id}LogGroup`);
    expect(properties.LoggingConfig.LogGroup).toBe(group.physicalId);
    expect(group.properties.LogGroupName).toBe(`/aws/lambda/${properties.FunctionName}`);
    expect(group.properties.RetentionInDays).toBe(stack.parameters.LogRetentionDays);
  });

  test.each(functions)('%s is traced, runs Node 24 and is built by make', (_id, { properties, metadata }) => {
    expect(properties).toMatchObject({
      Tracing: 'Active',
      Runtime: 'nodejs24.x',
      Handler: 'handler.handler',
    });
    expect(properties.Architectures).toEqual(['arm64']);
    expect(properties.Layers).toEqual([resourceOf(stack, 'RuntimeLayer').physicalId]);
    expect(metadata).toEqual({ BuildMethod: 'makefile', WorkingDirectory: '.' });
  });

  const asynchronous = functions.filter(([id]) =>
    [...stack.resources.values()].some(
      ({ type, generatedBy }) =>
        generatedBy === id && (type === 'AWS::Events::Rule' || type === 'AWS::Scheduler::Schedule'),
    ),
  );

  // Of the sweeps the next one is the retry.
  const withEvents = asynchronous.filter(([id]) => id !== 'ReconcileFunction');
  test.each(withEvents)('%s loses no event: what it gives up on lies in a queue', (id, { properties }) => {
    const { OnFailure } = properties.EventInvokeConfig.DestinationConfig;
    expect(OnFailure.Destination).toBe(resourceOf(stack, 'FailedEventsQueue').arn);
    const role = resourceOf(stack, `${id}Role`);
    const statements = role.properties.Policies[0].PolicyDocument.Statement;
    expect(statements).toContainEqual(
      expect.objectContaining({ Action: ['sqs:SendMessage'], Resource: OnFailure.Destination }),
    );
  });

  test('a second worker never meets the unfinished idempotency record of the first', () => {
    // Lambda retries an asynchronous event after a minute; the record expires with the function's time-out.
    for (const id of ['RolloutEndedFunction', 'ReportCertificateNoticeFunction']) {
      expect(resourceOf(stack, id).properties.Timeout).toBeLessThan(60);
    }
  });
});

describe('the API', () => {
  const api = resourceOf(stack, 'DeploymentsApi').properties;

  test('lets nobody in without IAM, and asks callers for nothing but execute-api', () => {
    expect(api.Auth).toEqual({ DefaultAuthorizer: 'AWS_IAM', InvokeRole: 'NONE' });
    const events = Object.values<{ Properties: { Auth?: unknown } }>(
      resourceOf(stack, 'DeploymentsApiFunction').properties.Events,
    );
    expect(events.filter((event) => event.Properties.Auth)).toEqual([]);
  });

  test('logs every access in a line of JSON, without header or body, and is traced', () => {
    const line = JSON.parse(api.AccessLogSetting.Format);
    expect(Object.keys(line)).toEqual(expect.arrayContaining(['requestId', 'caller', 'path', 'status']));
    expect(api.AccessLogSetting.Format).not.toMatch(/\$context\.authorizer|\$input|body|header/i);
    expect(api.TracingEnabled).toBe(true);
    expect(api.MethodSettings[0].DataTraceEnabled).toBe(false);
  });

  test("leaves the account's logging role alone when told so", () => {
    const existing = centralStack({ ApiGatewayLoggingRole: 'existing' });
    expect([...existing.resources.keys()].filter((id) => /^ApiGateway/.test(id))).toEqual([]);
    expect(resourceOf(stack, 'ApiGatewayAccount').deletionPolicy).toBe('Retain');
    expect(resourceOf(stack, 'ApiGatewayLogsRole').deletionPolicy).toBe('Retain');
    expect(resourceOf(stack, 'ApiGatewayAccount').updateReplacePolicy).toBe('Retain');
    expect(resourceOf(stack, 'ApiGatewayLogsRole').updateReplacePolicy).toBe('Retain');
  });

  test('logs as a role that API Gateway alone takes on, and that can do nothing else', () => {
    const { properties } = resourceOf(stack, 'ApiGatewayLogsRole');
    expect(properties.AssumeRolePolicyDocument.Statement).toEqual([
      { Effect: 'Allow', Principal: { Service: 'apigateway.amazonaws.com' }, Action: 'sts:AssumeRole' },
    ]);
    expect(properties.ManagedPolicyArns).toEqual([
      'arn:aws:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs',
    ]);
    expect(properties.Policies).toBeUndefined();
  });
});

describe('the tables', () => {
  const tables = resourcesOf(stack, 'AWS::DynamoDB::Table');

  test.each(tables)(
    '%s is encrypted, can be restored to any second and needs no capacity planning',
    (_id, table) => {
      expect(table.properties).toMatchObject({
        BillingMode: 'PAY_PER_REQUEST',
        SSESpecification: { SSEEnabled: true },
        PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true },
      });
    },
  );

  test('each question to the inventory has its index', () => {
    const { GlobalSecondaryIndexes } = resourceOf(stack, 'InventoryTable').properties;
    const keys = GlobalSecondaryIndexes.map(
      (index: { IndexName: string; KeySchema: { AttributeName: string }[] }) => [
        index.IndexName,
        ...index.KeySchema.map((key) => key.AttributeName),
      ],
    );
    expect(keys).toEqual([
      ['CertNameIndex', 'CertName', 'DeploymentId'],
      ['CertificateArnIndex', 'CertificateArn', 'DeploymentId'],
      ['StatusIndex', 'Status', 'NotAfter'],
      ['TargetAccountIndex', 'TargetAccount', 'NotAfter'],
    ]);
  });

  test('idempotency records expire, as Powertools names the attribute', () => {
    expect(resourceOf(stack, 'IdempotencyTable').properties.TimeToLiveSpecification).toEqual({
      AttributeName: 'expiration',
      Enabled: true,
    });
  });
});

describe('events and schedules', () => {
  const queue = resourceOf(stack, 'UndeliveredEventsQueue').arn;
  const isOfRequests = (id: string) => id === 'CertificateIssuedRule';
  const rules = resourcesOf(stack, 'AWS::Events::Rule').filter(([id]) => !isOfRequests(id));
  const schedules = resourcesOf(stack, 'AWS::Scheduler::Schedule');

  test.each(rules)('what %s cannot deliver lies in a queue', (_, { properties }) => {
    const [target] = properties.Targets;
    expect(target.DeadLetterConfig).toEqual({ Arn: queue });
    expect(target.RetryPolicy.MaximumEventAgeInSeconds).toBeGreaterThanOrEqual(300);
  });

  test.each(schedules)(
    'a run of %s that was missed is made up for by the next one, and leaves no dead letter',
    (_, { properties }) => {
      expect(properties.Target.DeadLetterConfig).toBeUndefined();
      expect(properties.Target.RetryPolicy.MaximumEventAgeInSeconds).toBeLessThanOrEqual(3600);
    },
  );

  test('an issued certificate that was not heard of is seen by the execution that waits, and leaves no dead letter', () => {
    const [target] = resourceOf(stack, 'CertificateIssuedRule').properties.Targets;
    expect(target.DeadLetterConfig).toBeUndefined();
    expect(target.RetryPolicy.MaximumEventAgeInSeconds).toBe(300);
    expect(target.RoleArn).toBe(resourceOf(stack, 'CertificateIssuedRole').arn);
  });

  test('the queue takes messages from the rules of this stack and from no other', () => {
    const { Statement } = resourceOf(stack, 'UndeliveredEventsQueuePolicy').properties.PolicyDocument;
    expect(Statement[0].Condition.ArnEquals['aws:SourceArn'].sort()).toEqual(
      rules.map(([, rule]) => rule.arn).sort(),
    );
  });

  test('a renewal is recognised by its action and nothing else', () => {
    const rule = resourceOf(stack, 'HandleRenewalFunctionCertificateRenewed');
    expect(rule.properties.EventPattern).toEqual({
      source: ['aws.acm'],
      'detail-type': ['ACM Certificate Available'],
      detail: { Action: ['RENEWAL'] },
    });
  });

  test('ends of this state machine are followed, each of them, and of no other', () => {
    const rule = resourceOf(stack, 'RolloutEndedFunctionRolloutEnded');
    expect(rule.properties.EventPattern).toEqual({
      source: ['aws.states'],
      'detail-type': ['Step Functions Execution Status Change'],
      detail: {
        status: ['SUCCEEDED', 'FAILED', 'TIMED_OUT', 'ABORTED'],
        stateMachineArn: [resourceOf(stack, 'CertificateRolloutStateMachine').arn],
      },
    });
  });

  test("of ACM's notices those are told that a person has to act on", () => {
    const rule = resourceOf(stack, 'ReportCertificateNoticeFunctionCertificateNotice');
    expect(rule.properties.EventPattern).toEqual({
      source: ['aws.acm'],
      'detail-type': [
        'ACM Certificate Renewal Action Required',
        'ACM Certificate Expired',
        'ACM Certificate Revoked',
        'ACM Certificate Approaching Expiration',
      ],
    });
  });
});

describe('what is told, and to whom', () => {
  test.each(resourcesOf(stack, 'AWS::CloudWatch::Alarm'))('%s tells the topic', (_id, { properties }) => {
    expect(properties.AlarmActions).toEqual([resourceOf(stack, 'NotificationTopic').arn]);
  });

  test('every queue has an alarm', () => {
    const watched = resourcesOf(stack, 'AWS::CloudWatch::Alarm').flatMap(([, { properties }]) =>
      (properties.Dimensions ?? []).map((dimension: { Value: string }) => dimension.Value),
    );
    for (const [, queue] of resourcesOf(stack, 'AWS::SQS::Queue')) {
      expect(watched).toContain(queue.properties.QueueName);
      expect(queue.properties.SqsManagedSseEnabled).toBe(true);
    }
  });

  test('an e-mail address is optional', () => {
    expect(resourcesOf(stack, 'AWS::SNS::Subscription')).toEqual([]);
    const told = centralStack({ NotificationEmail: 'on-call@example.com' });
    const subscription = resourceOf(told, 'NotificationEmailSubscription');
    expect(subscription.properties).toMatchObject({ Protocol: 'email', Endpoint: 'on-call@example.com' });
  });
});

describe.each([
  ['CertificateRolloutStateMachine', 'STATE_MACHINE_ARN'],
  ['CertificateRequestStateMachine', 'REQUEST_STATE_MACHINE_ARN'],
])('the state machine %s', (id, variable) => {
  const machine = resourceOf(stack, id);

  test('has the ARN that the functions were told before it existed', () => {
    for (const [, { properties }] of functions) {
      const told = properties.Environment.Variables[variable];
      expect([undefined, machine.arn]).toContain(told);
    }
  });

  test('is logged to a vended log group and traced', () => {
    const group = resourceOf(stack, `${id}LogGroup`);
    expect(group.properties.LogGroupName).toMatch(/^\/aws\/vendedlogs\/states\//);
    expect(machine.properties.Logging.Destinations[0].CloudWatchLogsLogGroup.LogGroupArn).toBe(
      group.attributes.Arn,
    );
    expect(machine.properties.Tracing).toEqual({ Enabled: true });
  });

  test('calls exactly the functions that its role may invoke', () => {
    const invoked = Object.values<{ Parameters?: { FunctionName: string } }>(
      machine.properties.Definition.States,
    )
      .map((state) => state.Parameters?.FunctionName)
      .filter((name) => name !== undefined);
    const role = resourceOf(stack, `${id}Role`);
    const granted = role.properties.Policies[0].PolicyDocument.Statement.find(
      ({ Sid }: { Sid: string }) => Sid === 'InvokeFunctions',
    );
    expect(granted.Resource).toEqual(invoked);
  });
});
