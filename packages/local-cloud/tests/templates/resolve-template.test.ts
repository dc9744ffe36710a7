import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { evaluate } from '../../src/iam/evaluate.ts';
import { NotModelled } from '../../src/iam/not-modelled.ts';
import { managedPoliciesOf, resourcePoliciesOf, rolesOf } from '../../src/templates/policies.ts';
import { type ResolveOptions, resolveTemplate, TemplateError } from '../../src/templates/resolve-template.ts';

const folder = mkdtempSync(join(tmpdir(), 'templates-'));
afterAll(() => rmSync(folder, { recursive: true }));

const stack = { account: '111122223333', region: 'eu-central-1', stackName: 'central' };
let count = 0;

function resolve(text: string, options: Partial<ResolveOptions> = {}, files: Record<string, string> = {}) {
  count += 1;
  const file = join(folder, `${count}`, 'template.yaml');
  for (const [name, content] of Object.entries({ ...files, 'template.yaml': text })) {
    const path = join(folder, `${count}`, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
  }
  return resolveTemplate(file, { ...stack, ...options });
}

/** Resolves one output value. */
const value = (text: string, sections = '', options: Partial<ResolveOptions> = {}) =>
  resolve(`${sections}\nResources: {}\nOutputs:\n  It:\n    Value: ${text}\n`, options).outputs.It;

const parameters = `
Parameters:
  Prefix: {Type: String, Default: shop}
  Days: {Type: Number, Default: 7}
  Keys: {Type: CommaDelimitedList, Default: 'env, tier'}
Mappings:
  Sizes: {eu-central-1: {small: '128'}}
Conditions:
  IsProduction: !Equals [!Ref Prefix, shop]
  IsLong: !Not [!Equals [!Ref Days, '7']]
  IsEither: !Or [!Condition IsLong, !Condition IsProduction]
  AreBoth: !And [!Condition IsLong, !Condition IsProduction]
`;

describe('intrinsic functions', () => {
  test.each<[string, unknown]>([
    ['!Ref Prefix', 'shop'],
    ['!Ref Days', 7],
    ['!Ref Keys', ['env', 'tier']],
    ['!Ref AWS::AccountId', '111122223333'],
    ["!Sub '${Prefix}-${AWS::Region}-${!aws:PrincipalTag/x}'", 'shop-eu-central-1-${aws:PrincipalTag/x}'],
    ["!Sub ['arn:${AWS::Partition}:x:${A}', {A: !Ref Days}]", 'arn:aws:x:7'],
    ["!Join ['-', [!Ref Prefix, b]]", 'shop-b'],
    ["!Join [',', !Ref Keys]", 'env,tier'],
    ['!Select [1, !Ref Keys]', 'tier'],
    ["!Select ['0', !Split [/, a/b]]", 'a'],
    ["!Join ['[.]', !Split [., !Join ['|', !Split [',', 'a.b,c*']]]]", 'a[.]b|c*'],
    ["!Select [2, !Split [',', !Sub '${Prefix},${Prefix},${Prefix}']]", 'shop'],
    ['!FindInMap [Sizes, !Ref AWS::Region, small]', '128'],
    ['!If [IsProduction, yes-it-is, not]', 'yes-it-is'],
    ['!If [IsEither, 1, 2]', 1],
    ['!If [AreBoth, 1, 2]', 2],
    ['[a, !If [IsLong, b, !Ref AWS::NoValue], c]', ['a', 'c']],
    ['{a: !Ref AWS::NoValue, b: {Ref: Prefix}}', { b: 'shop' }],
    ["{'Fn::Sub': '${Prefix}'}", 'shop'],
  ])('%s', (text, expected) => {
    expect(value(text, parameters)).toEqual(expected);
  });

  test('a computed JSON policy keeps the policy variables of IAM', () => {
    const text = `!Sub ['{"aws:ResourceTag/\${Key}": "\${Open}aws:PrincipalTag/\${Key}}"}', {Key: !Select [0, !Ref Keys], Open: '\${'}]`;
    expect(value(text, parameters)).toBe('{"aws:ResourceTag/env": "${aws:PrincipalTag/env}"}');
  });

  test.each<[string, string, RegExp]>([
    ['!Ref Missing', 'an unknown name', /Ref to Missing/],
    ["!Sub '${Missing}'", 'an unknown variable', /Missing/],
    ["!Sub ['x', {A: b}]", 'an unused variable', /unused variables A/],
    ['!GetAtt Missing.Arn', 'an unknown resource', /Missing/],
    ['!Join [!Ref Prefix, [a, b]]', 'a computed delimiter', /a string is needed/],
    ['!Split [!Ref Prefix, a]', 'a computed delimiter to split at', /a string is needed/],
    ['!Select [5, [a]]', 'an item that is not there', /item 5/],
    ['!FindInMap [Sizes, us-east-1, small]', 'a key that is not there', /us-east-1/],
    ['!If [Missing, a, b]', 'an unknown condition', /Missing/],
    ['!Join [",", [[a]]]', 'a list for a string', /string is needed/],
    ['{Ref: Prefix, Other: x}', 'a function beside other keys', /stand alone/],
  ])('%s is refused: %s', (text, _what, message) => {
    expect(() => value(text, parameters)).toThrow(TemplateError);
    expect(() => value(text, parameters)).toThrow(message);
  });

  test.each([
    '!ImportValue x',
    '!Cidr [a, 1, 2]',
    '!Base64 x',
    '!Transform {Name: AWS::Include}',
    '!Whatever x',
  ])('%s is refused loudly, being outside the model', (text) => {
    expect(() => value(text, parameters)).toThrow(NotModelled);
  });
});

describe('parameters', () => {
  const declared = `
Parameters:
  Prefix: {Type: String, AllowedPattern: '[a-z]+', ConstraintDescription: must be small letters}
  Level: {Type: String, Default: INFO, AllowedValues: [INFO, DEBUG]}
  Days: {Type: Number, Default: 7, MinValue: 1, MaxValue: 30}
  Accounts: {Type: CommaDelimitedList, Default: '', AllowedPattern: '([0-9]{12})?'}
`;
  const given = (parameters: Record<string, string | number>) => () => value('x', declared, { parameters });

  test('defaults are applied and lists split', () => {
    const { parameters } = resolve(`${declared}\nResources: {}`, {
      parameters: { Prefix: 'a', Accounts: '111122223333, 444455556666' },
    });
    expect(parameters).toEqual({
      Prefix: 'a',
      Level: 'INFO',
      Days: 7,
      Accounts: ['111122223333', '444455556666'],
    });
  });

  test('every fault is named at once', () => {
    expect(given({ Level: 'TRACE', Days: 31, Accounts: '1,2', Other: 'x' })).toThrow(
      /Other is not a parameter.*Prefix needs a value.*Level = 'TRACE'.*Days = '31' is more than 30.*Accounts = '1'/s,
    );
    expect(given({ Prefix: 'a1' })).toThrow("Prefix = 'a1' must be small letters");
    expect(given({ Prefix: 'a', Days: 'many' })).toThrow('is not a number');
  });
});

describe('YAML', () => {
  test.each([
    ['yes', 'x: yes'],
    ['an octal number', 'x: 0640'],
    ['a number to base 60', 'x: 12:30'],
  ])('%s, which YAML 1.1 reads as something else, must be quoted', (_what, text) => {
    expect(() => value(`{${text}}`)).toThrow(/:\d+: .*YAML 1.1/);
    expect(value(`{${text.replace(': ', ": '")}'}`)).toEqual({ x: text.slice(3) });
  });

  test('aliases, merge keys and double keys are refused', () => {
    expect(() => value('[&a x, *a]')).toThrow('aliases');
    expect(() => value('{<<: {a: 1}}')).toThrow('merge keys');
    expect(() => value('{a: 1, a: 2}')).toThrow(TemplateError);
  });

  test('a date stays text', () => {
    expect(value('{Version: 2012-10-17}')).toEqual({ Version: '2012-10-17' });
  });
});

describe('resources', () => {
  test('have the physical ids, ARNs and attributes that CloudFormation gives', () => {
    const { outputs, resources } = resolve(`
Resources:
  Role: {Type: AWS::IAM::Role, Properties: {RoleName: reader, Path: /team/, AssumeRolePolicyDocument: {}}}
  Topic: {Type: AWS::SNS::Topic, Properties: {TopicName: t}}
  Queue: {Type: AWS::SQS::Queue, Properties: {QueueName: q}}
  Logs: {Type: AWS::Logs::LogGroup, Properties: {LogGroupName: /l}}
  Rule: {Type: AWS::Events::Rule, Properties: {Name: r, EventBusName: b}}
  Unnamed: {Type: AWS::DynamoDB::Table}
Outputs:
  Role: {Value: !GetAtt Role.Arn}
  RoleName: {Value: !Ref Role}
  Topic: {Value: !Ref Topic}
  Queue: {Value: !Ref Queue}
  QueueArn: {Value: !Sub '\${Queue.Arn}'}
  Logs: {Value: !GetAtt Logs.Arn}
  Rule: {Value: !GetAtt Rule.Arn}
`);
    expect(outputs).toEqual({
      Role: 'arn:aws:iam::111122223333:role/team/reader',
      RoleName: 'reader',
      Topic: 'arn:aws:sns:eu-central-1:111122223333:t',
      Queue: 'https://sqs.eu-central-1.amazonaws.com/111122223333/q',
      QueueArn: 'arn:aws:sqs:eu-central-1:111122223333:q',
      Logs: 'arn:aws:logs:eu-central-1:111122223333:log-group:/l:*',
      Rule: 'arn:aws:events:eu-central-1:111122223333:rule/b/r',
    });
    expect(resources.get('Unnamed')?.physicalId).toMatch(/^central-Unnamed-[A-Z0-9]{12}$/);
  });

  const two = (first: string, second: string) =>
    `Resources:\n  A: {Type: AWS::SNS::Topic, Properties: {DisplayName: ${first}}}\n  B: {Type: AWS::SNS::Topic${second}}\n`;

  test('depend on what they refer to, in whatever order they are written', () => {
    const { resources } = resolve(two('!GetAtt B.TopicName', ''));
    expect(resources.get('A')?.dependsOn).toEqual(['B']);
    expect(resources.get('A')?.properties.DisplayName).toBe(resources.get('B')?.physicalId.split(':').at(-1));
  });

  test.each([
    ['references', ', Properties: {DisplayName: !Ref A}'],
    ['DependsOn', ', DependsOn: A'],
    ['Metadata', ', Metadata: {Needs: !Ref A}'],
  ])('that depend on each other by %s are refused', (_by, rest) => {
    expect(() => resolve(two('!Ref B', rest))).toThrow('circular dependency: A → B → A');
  });

  test('that name each other are refused', () => {
    const named = `
Resources:
  A: {Type: AWS::SNS::Topic, Properties: {TopicName: !GetAtt B.TopicName}}
  B: {Type: AWS::SNS::Topic, Properties: {TopicName: !GetAtt A.TopicName}}
`;
    expect(() => resolve(named)).toThrow(/circular dependency/);
  });

  const conditional = (more = '') => `
Parameters: {Email: {Type: String, Default: ''}}
Conditions: {HasEmail: !Not [!Equals [!Ref Email, '']]}
Resources:
  Topic: {Type: AWS::SNS::Topic}
  Mail: {Type: AWS::SNS::Subscription, Condition: HasEmail, Properties: {TopicArn: !Ref Topic, Endpoint: !Ref Email}}
Outputs:
  Mail: {Condition: HasEmail, Value: !Ref Mail}
${more}`;

  test('whose condition is false are not there, nor are their outputs', () => {
    const without = resolve(conditional());
    expect([...without.resources.keys()]).toEqual(['Topic']);
    expect(without.outputs).toEqual({});
    const withMail = resolve(conditional(), { parameters: { Email: 'a@example.com' } });
    expect(withMail.resources.get('Mail')?.properties.Endpoint).toBe('a@example.com');
    expect(() => resolve(conditional('  Bad: {Value: !Ref Mail}'))).toThrow('whose condition is false');
  });

  test.each([
    ['a type', 'Resources: {A: {Type: AWS::EC2::Instance}}'],
    ['an attribute', 'Resources: {A: {Type: AWS::SNS::Topic}}\nOutputs: {A: {Value: !GetAtt A.Nothing}}'],
    ['a section', 'Rules: {}\nResources: {}'],
    ['another transform', 'Transform: AWS::LanguageExtensions\nResources: {}'],
    ['a resource attribute', 'Resources: {A: {Type: AWS::SNS::Topic, CreationPolicy: {}}}'],
  ])('%s outside the model is refused loudly', (_what, text) => {
    expect(() => resolve(text)).toThrow(NotModelled);
  });
});

const sam = `
Transform: AWS::Serverless-2016-10-31
Globals:
  Function:
    Timeout: 10
    Layers: [arn:aws:lambda:eu-central-1:1:layer:common:1]
    Environment: {Variables: {A: global, B: global}}
Parameters: {Prefix: {Type: String, Default: shop}}
Resources:
  Api:
    Type: AWS::Serverless::Api
    Properties:
      StageName: v1
      TracingEnabled: true
      Auth: {DefaultAuthorizer: AWS_IAM, InvokeRole: NONE}
  HandleFunction:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: !Sub '\${Prefix}-handle'
      Role: !GetAtt HandleRole.Arn
      Layers: [!Ref CommonLayer]
      Environment: {Variables: {B: own, TOPIC: !Ref Topic}}
      EventInvokeConfig:
        MaximumRetryAttempts: 0
        DestinationConfig: {OnFailure: {Type: SQS}}
      Events:
        Post:
          Type: Api
          Properties: {RestApiId: !Ref Api, Path: '/orders/{Id}/parcels', Method: post}
        Renewed:
          Type: EventBridgeRule
          Properties:
            RuleName: !Sub '\${Prefix}-renewed'
            Pattern: {source: [aws.acm]}
            RetryPolicy: {MaximumRetryAttempts: 3}
            DeadLetterConfig: {Type: SQS, QueueLogicalId: LostEvents}
        Sweep:
          Type: ScheduleV2
          Properties: {ScheduleExpression: rate(5 minutes), Input: '{"Sweep":"NODES"}', DeadLetterConfig: {Arn: !GetAtt LostEvents.Arn}}
  HandleRole:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: {Version: '2012-10-17', Statement: [{Effect: Allow, Principal: {Service: lambda.amazonaws.com}, Action: 'sts:AssumeRole'}]}
      Policies: [{PolicyName: p, PolicyDocument: {Version: '2012-10-17', Statement: [{Effect: Allow, Action: 'sns:Publish', Resource: !Ref Topic}]}}]
  Topic: {Type: AWS::SNS::Topic, Properties: {TopicName: t}}
  CommonLayer: {Type: AWS::Serverless::LayerVersion, Properties: {ContentUri: layer, LayerName: runtime}}
  Machine:
    Type: AWS::Serverless::StateMachine
    Properties:
      Name: courier
      Role: !GetAtt HandleRole.Arn
      DefinitionUri: machine/courier.asl.yaml
      DefinitionSubstitutions: {HandleFunctionArn: !GetAtt HandleFunction.Arn}
      Events:
        Issued:
          Type: EventBridgeRule
          Properties:
            Pattern: {source: [aws.acm]}
            RetryPolicy: {MaximumRetryAttempts: 3}
            DeadLetterConfig: {Arn: !GetAtt LostEvents.Arn}
`;
const asl = `
StartAt: Handle
States:
  Handle: {Type: Task, Resource: 'arn:aws:states:::lambda:invoke', Parameters: {FunctionName: '\${HandleFunctionArn}', 'Payload.$': $}, End: true}
`;
const files = { 'machine/courier.asl.yaml': asl };
const handleArn = 'arn:aws:lambda:eu-central-1:111122223333:function:shop-handle';

describe('SAM', () => {
  const deployed = resolve(sam, {}, files);
  const get = (id: string) => deployed.resources.get(id);

  test('merges Globals: own values win, maps merge, lists join', () => {
    expect(get('HandleFunction')?.properties).toMatchObject({
      Timeout: 10,
      Environment: { Variables: { A: 'global', B: 'own', TOPIC: 'arn:aws:sns:eu-central-1:111122223333:t' } },
      Layers: [
        'arn:aws:lambda:eu-central-1:1:layer:common:1',
        'arn:aws:lambda:eu-central-1:111122223333:layer:runtime:1',
      ],
    });
  });

  test('makes what the transform makes, under its logical ids', () => {
    const made = [...deployed.resources].filter(([, { generatedBy }]) => generatedBy).map(([id]) => id);
    expect(made.sort()).toEqual([
      'Apiv1Stage',
      'HandleFunctionEventInvokeConfig',
      'HandleFunctionEventInvokeConfigOnFailureQueue',
      'HandleFunctionPostPermissionv1',
      'HandleFunctionRenewed',
      'HandleFunctionRenewedPermission',
      'HandleFunctionRenewedQueuePolicy',
      'HandleFunctionSweep',
      'HandleFunctionSweepRole',
      'LostEvents',
      'MachineIssued',
      'MachineIssuedRole',
    ]);
    expect(get('HandleFunctionRenewed')?.properties).toEqual({
      Name: 'shop-renewed',
      EventPattern: { source: ['aws.acm'] },
      Targets: [
        {
          Id: 'HandleFunctionRenewedLambdaTarget',
          Arn: handleArn,
          RetryPolicy: { MaximumRetryAttempts: 3 },
          DeadLetterConfig: { Arn: get('LostEvents')?.arn },
        },
      ],
    });
    expect(get('HandleFunctionSweep')?.properties).toEqual({
      Name: 'HandleFunctionSweep',
      ScheduleExpression: 'rate(5 minutes)',
      FlexibleTimeWindow: { Mode: 'OFF' },
      Target: {
        Arn: handleArn,
        RoleArn: get('HandleFunctionSweepRole')?.arn,
        Input: '{"Sweep":"NODES"}',
        DeadLetterConfig: { Arn: get('LostEvents')?.arn },
      },
    });
    expect(get('HandleFunctionEventInvokeConfig')?.properties.DestinationConfig).toEqual({
      OnFailure: { Destination: get('HandleFunctionEventInvokeConfigOnFailureQueue')?.arn },
    });
    expect(get('Apiv1Stage')?.properties).toMatchObject({ StageName: 'v1', TracingEnabled: true });
  });

  test('a rule that starts a state machine has a role that may do nothing else', () => {
    const machine = 'arn:aws:states:eu-central-1:111122223333:stateMachine:courier';
    const role = rolesOf(deployed).find(({ name }) => name === get('MachineIssuedRole')?.physicalId);
    expect(get('MachineIssued')?.properties.Targets).toMatchObject([
      {
        Id: 'MachineIssuedStepFunctionsTarget',
        Arn: machine,
        RoleArn: get('MachineIssuedRole')?.arn,
        RetryPolicy: { MaximumRetryAttempts: 3 },
      },
    ]);
    expect(role?.trustPolicy.Statement).toMatchObject([{ Principal: { Service: ['events.amazonaws.com'] } }]);
    expect(role?.inlinePolicies).toEqual([
      { Statement: [{ Action: 'states:StartExecution', Effect: 'Allow', Resource: machine }] },
    ]);
  });

  test('lists the routes of the API', () => {
    expect(get('Api')?.routes).toEqual([
      {
        method: 'POST',
        path: '/orders/{Id}/parcels',
        functionLogicalId: 'HandleFunction',
        authorizer: 'AWS_IAM',
      },
    ]);
  });

  test('reads the state machine from its file and makes the substitutions', () => {
    expect(get('Machine')?.properties.Definition.States.Handle.Parameters.FunctionName).toBe(handleArn);
    const without = { 'machine/courier.asl.yaml': asl.replace('${HandleFunctionArn}', '${Other}') };
    expect(() => resolve(sam, {}, without)).toThrow('${Other} in the definition');
  });

  test('a function that refers to the API which calls it is a circle', () => {
    const circular = sam.replace('TOPIC: !Ref Topic', 'API: !Ref Api');
    expect(() => resolve(circular, {}, files)).toThrow(/circular dependency: Api → HandleFunction → Api/);
  });

  test('roles and policies come out as IAM takes them, and only the named source may call', () => {
    const [role] = rolesOf(deployed).filter(({ logicalId }) => logicalId === 'HandleRole');
    const topic = 'arn:aws:sns:eu-central-1:111122223333:t';
    const { account } = stack;
    const principal = {
      account,
      arn: role?.arn ?? '',
      tags: {},
      identityPolicies: role?.inlinePolicies ?? [],
    };
    const publish = { action: 'sns:Publish', resource: topic, context: {}, resourceAccount: account };
    expect(evaluate(principal, publish).allowed).toBe(true);

    const policies = resourcePoliciesOf(deployed);
    const call = (service: string, action: string, arn: string, source: string) =>
      evaluate(
        { account: '', arn: '', service, tags: {}, identityPolicies: [] },
        {
          action,
          resource: arn,
          context: { 'aws:SourceArn': source },
          resourcePolicies: [policies.get(arn)].filter((policy) => policy !== undefined),
          resourceAccount: account,
        },
      ).allowed;
    const rule = get('HandleFunctionRenewed')?.arn ?? '';
    const route = (path: string) =>
      `arn:aws:execute-api:eu-central-1:${account}:${get('Api')?.physicalId}/v1/${path}`;
    const queue = get('LostEvents')?.arn ?? '';
    expect(call('events.amazonaws.com', 'lambda:InvokeFunction', handleArn, rule)).toBe(true);
    expect(call('events.amazonaws.com', 'lambda:InvokeFunction', handleArn, `${rule}-other`)).toBe(false);
    expect(
      call('apigateway.amazonaws.com', 'lambda:InvokeFunction', handleArn, route('POST/orders/web/parcels')),
    ).toBe(true);
    expect(
      call('apigateway.amazonaws.com', 'lambda:InvokeFunction', handleArn, route('GET/orders/web/parcels')),
    ).toBe(false);
    expect(call('events.amazonaws.com', 'sqs:SendMessage', queue, rule)).toBe(true);
    expect(call('events.amazonaws.com', 'sqs:SendMessage', queue, `${rule}-other`)).toBe(false);
  });

  test('a managed policy may be JSON text', () => {
    const text = `Resources: {P: {Type: AWS::IAM::ManagedPolicy, Properties: {ManagedPolicyName: p, PolicyDocument: '{"Version":"2012-10-17","Statement":[]}'}}}`;
    expect([...managedPoliciesOf(resolve(text))]).toEqual([
      ['arn:aws:iam::111122223333:policy/p', { Version: '2012-10-17', Statement: [] }],
    ]);
  });

  test.each([
    [
      'AutoPublishAlias',
      sam.replace('EventInvokeConfig:', 'AutoPublishAlias: live\n      EventInvokeConfig:'),
    ],
    ['another event type', sam.replace('Type: ScheduleV2', 'Type: Kinesis')],
    ['an API by definition', sam.replace('TracingEnabled: true', 'DefinitionUri: api.yaml')],
    ['Globals of another type', sam.replace('Globals:', 'Globals:\n  SimpleTable: {}')],
  ])('%s is refused loudly, being outside the model', (_what, text) => {
    expect(() => resolve(text, {}, files)).toThrow(NotModelled);
  });
});
