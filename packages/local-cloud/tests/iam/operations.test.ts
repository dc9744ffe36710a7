import { describe, expect, test } from '@jest/globals';
import {
  type ConditionBlock,
  evaluate,
  type PolicyDocument,
  type Principal,
  type Statement,
} from '../../src/iam/evaluate.ts';
import { accessRequests, NotModelled, operations, type ResourceState } from '../../src/iam/operations.ts';

const account = '111122223333';
const other = '444455556666';
const region = 'eu-central-1';
const arn = (service: string, rest: string, owner = account) =>
  `arn:aws:${service}:${region}:${owner}:${rest}`;

const certificate = arn('acm', 'certificate/11111111-2222-3333-4444-555555555555');
const unknownCertificate = arn('acm', 'certificate/99999999-2222-3333-4444-555555555555');
const secretName = 'shop/web/1a2b3c4d5e6f1a2b3c4d5e6f';
const secret = arn('secretsmanager', `secret:${secretName}-AbCdEf`);
const foreignSecret = arn('secretsmanager', 'secret:shop/web/0a0b-AbCdEf', other);
const automation = `arn:aws:iam::${account}:role/shop-automation`;
const courier = `arn:aws:iam::${other}:role/shop-courier`;
const reader = `arn:aws:iam::${account}:role/apps/shop-reader`;
const execution = '12345678-1234-1234-1234-123456789012';
const table = arn('dynamodb', 'table/shop-orders');
const machine = arn('states', 'stateMachine:shop-order');
const running = arn('states', 'execution:shop-order:one');
const lambda = arn('lambda', 'function:shop-take-order');
const rule = arn('events', 'rule/shop-order-paid');
const topic = arn('sns', 'shop-news');
const queue = arn('sqs', 'shop-undelivered');
const queueUrl = (name = 'shop-undelivered') => `https://sqs.${region}.amazonaws.com/${account}/${name}`;
const api = arn('execute-api', 'a1b2c3d4e5');

const policy = (...Statement: Statement[]): PolicyDocument => ({ Version: '2012-10-17', Statement });
const allow = (Action: string, Resource: string | string[] = '*', Condition?: ConditionBlock): Statement => ({
  Effect: 'Allow',
  Action,
  Resource,
  ...(Condition && { Condition }),
});
const to = (Principal: Statement['Principal'], statement: Statement): Statement => ({
  ...statement,
  ...(Principal && { Principal }),
});

const nodes = {
  'i-0prod': { arn: arn('ec2', 'instance/i-0prod'), tags: { env: 'prod' } },
  'mi-0prod': { arn: arn('ssm', 'managed-instance/mi-0prod'), tags: { env: 'prod' } },
  'i-0dev': { arn: arn('ec2', 'instance/i-0dev'), tags: { env: 'dev' } },
} as const;
const automationDocument = arn('ssm', 'document/shop-run-on-fleet');
const commandDocument = arn('ssm', 'document/shop-run-on-node');

const state: ResourceState = {
  secret: (_account, _region, id) => {
    if (id === foreignSecret) {
      const policyOfOther = policy(to({ AWS: account }, allow('secretsmanager:GetSecretValue')));
      return { arn: foreignSecret, name: 'shop/web/0a0b', tags: {}, policy: policyOfOther };
    }
    return id === secret || id === secretName
      ? { arn: secret, name: secretName, tags: { env: 'prod' } }
      : undefined;
  },
  certificate: (_account, _region, id) =>
    id === certificate
      ? {
          arn: certificate,
          tags: { team: 'web' },
          domainNames: ['www.example.com', 'example.com'],
          keyAlgorithm: 'RSA_2048',
        }
      : undefined,
  node: (_account, _region, id) => nodes[id as keyof typeof nodes],
  nodesByTag: (_account, _region, key, values) =>
    Object.values(nodes).filter(({ tags }) => key === 'env' && values.includes(tags.env)),
  document: (_account, _region, name) =>
    ({
      'shop-run-on-fleet': {
        arn: automationDocument,
        tags: {},
        type: 'Automation' as const,
        assumeRole: automation,
      },
      'role-by-parameter': {
        arn: arn('ssm', 'document/role-by-parameter'),
        tags: {},
        type: 'Automation' as const,
        assumeRole: '{{ Role }}',
      },
      'shop-run-on-node': { arn: commandDocument, tags: {}, type: 'Command' as const },
    })[name],
  automationExecution: (_account, _region, id) =>
    id === execution
      ? {
          arn: arn('ssm', `automation-execution/${id}`),
          tags: { env: 'prod' },
          documentArn: automationDocument,
        }
      : undefined,
  role: (id) =>
    id === courier
      ? {
          arn: courier,
          account: other,
          tags: {},
          trustPolicy: policy({
            Effect: 'Allow',
            Principal: { AWS: account },
            Action: ['sts:AssumeRole', 'sts:TagSession'],
            Condition: { StringEquals: { 'sts:ExternalId': 'ours' } },
          }),
        }
      : undefined,
  roleNamed: (owner, name) =>
    owner === account && name === 'shop-reader'
      ? { arn: reader, account, tags: { env: 'prod' }, trustPolicy: policy() }
      : undefined,
  resource: (id) =>
    ({
      [lambda]: {
        arn: lambda,
        tags: {},
        policy: policy(
          to(
            { Service: 'events.amazonaws.com' },
            allow('lambda:InvokeFunction', lambda, { ArnLike: { 'aws:SourceArn': rule } }),
          ),
        ),
      },
      [queue]: {
        arn: queue,
        tags: {},
        policy: policy(
          to(
            { Service: 'events.amazonaws.com' },
            allow('sqs:SendMessage', queue, { ArnEquals: { 'aws:SourceArn': rule } }),
          ),
        ),
      },
      [running]: { arn: running, tags: { env: 'prod' } },
    })[id],
};

const caller: Principal = {
  account,
  arn: `arn:aws:iam::${account}:role/tester`,
  sessionArn: `arn:aws:sts::${account}:assumed-role/tester/s`,
  tags: { env: 'prod' },
  identityPolicies: [],
};

function outcome(
  operation: string,
  input: unknown,
  grants: Statement[],
  principal: Partial<Principal> = {},
  context = {},
) {
  const identityPolicies = grants.length > 0 ? [policy(...grants)] : [];
  return accessRequests(operation, input, { account, region }, state)
    .map((request) =>
      evaluate(
        { ...caller, identityPolicies, ...principal },
        { ...request, context: { ...request.context, ...context } },
      ),
    )
    .find(({ allowed }) => !allowed);
}

interface Case {
  input: unknown;
  /** The least that allows the call: every statement of it is needed. */
  grants: Statement[];
  /** Other calls that the same grants must not allow. */
  denied: unknown[];
}

const prod = { StringEquals: { 'aws:ResourceTag/env': 'prod' } };
const onlyTeamWeb = { StringEquals: { 'aws:ResourceTag/team': 'web' } };
const onlyDomains = (...names: string[]) => ({ 'ForAllValues:StringLike': { 'acm:DomainNames': names } });

const onCertificate = (name: string, condition: ConditionBlock = onlyTeamWeb, more = {}): Case => ({
  input: { CertificateArn: certificate, ...more },
  grants: [allow(`acm:${name}`, arn('acm', 'certificate/*'), condition)],
  denied: [{ CertificateArn: unknownCertificate, ...more }],
});
const onSecret = (name: string, more = {}, condition: ConditionBlock = {}, denied: unknown[] = []): Case => ({
  input: { SecretId: secretName, ...more },
  grants: [
    allow(`secretsmanager:${name}`, arn('secretsmanager', 'secret:shop/*'), {
      ...condition,
      StringEquals: {
        'secretsmanager:ResourceTag/env': '${aws:PrincipalTag/env}',
        ...condition.StringEquals,
      },
    }),
  ],
  denied: [{ SecretId: 'others/secret', ...more }, { SecretId: 'shop/web/unknown', ...more }, ...denied],
});
const everything = (action: string): Case => ({ input: {}, grants: [allow(action)], denied: [] });
const onExecution = (name: string): Case => ({
  input: { AutomationExecutionId: execution },
  grants: [allow(`ssm:${name}`, arn('ssm', 'automation-execution/*'), prod)],
  denied: [{ AutomationExecutionId: '00000000-1234-1234-1234-123456789012' }],
});
const onTable = (name: string): Case => ({
  input: { TableName: 'shop-orders' },
  grants: [allow(`dynamodb:${name}`, table)],
  denied: [{ TableName: 'others' }, { TableName: arn('dynamodb', 'table/shop-orders', other) }],
});
const onIndex = (name: string): Case => ({
  input: { TableName: 'shop-orders', IndexName: 'StatusIndex' },
  grants: [allow(`dynamodb:${name}`, `${table}/index/StatusIndex`)],
  denied: [{ TableName: 'shop-orders' }, { TableName: 'shop-orders', IndexName: 'TeamIndex' }],
});
const onTables = (name: string): Case => ({
  input: { RequestItems: { 'shop-orders': [] } },
  grants: [allow(`dynamodb:${name}`, table)],
  denied: [{ RequestItems: { 'shop-orders': [], others: [] } }],
});
const onMachine = (name: string): Case => ({
  input: { stateMachineArn: machine },
  grants: [allow(`states:${name}`, machine)],
  denied: [{ stateMachineArn: arn('states', 'stateMachine:others') }],
});
const onRunning = (name: string): Case => ({
  input: { executionArn: running },
  grants: [allow(`states:${name}`, arn('states', 'execution:shop-order:*'))],
  denied: [{ executionArn: arn('states', 'execution:others:one') }],
});
const onQueue = (name: string): Case => ({
  input: { QueueUrl: queueUrl() },
  grants: [allow(`sqs:${name}`, queue)],
  denied: [{ QueueUrl: queueUrl('others') }],
});
const tagged = [{ Key: 'env', Value: 'prod' }];
const otherTag = [{ Key: 'env', Value: 'dev' }];
const requestTag = {
  StringEquals: { 'aws:RequestTag/env': 'prod' },
  'ForAllValues:StringEquals': { 'aws:TagKeys': ['env'] },
};

const zone = 'arn:aws:route53:::hostedzone/Z1';
const onZone = (name: string, field: string): Case => ({
  input: { [field]: 'Z1' },
  grants: [allow(`route53:${name}`, zone)],
  denied: [{ [field]: 'Z2' }, { [field]: 'Z11' }],
});
/** A batch of records: `UPSERT CNAME _a.example.com`. */
const batch = (...changes: string[]) => ({
  HostedZoneId: 'Z1',
  ChangeBatch: {
    Changes: changes.map((change) => {
      const [Action, Type, Name] = change.split(' ');
      return { Action, ResourceRecordSet: { Name, Type } };
    }),
  },
});
const records = 'route53:ChangeResourceRecordSets';

const cases: Record<string, Case> = {
  'CertificateManager.DescribeCertificate': onCertificate('DescribeCertificate'),
  'CertificateManager.ListTagsForCertificate': onCertificate('ListTagsForCertificate'),
  'CertificateManager.RenewCertificate': onCertificate('RenewCertificate'),
  'CertificateManager.ExportCertificate': onCertificate('ExportCertificate', {
    ...onlyTeamWeb,
    ...onlyDomains('example.com', '*.example.com'),
  }),
  'CertificateManager.RevokeCertificate': onCertificate('RevokeCertificate', {
    ...onlyTeamWeb,
    ...onlyDomains('example.com', '*.example.com'),
  }),
  'CertificateManager.AddTagsToCertificate': {
    input: { CertificateArn: certificate, Tags: tagged },
    grants: [allow('acm:AddTagsToCertificate', certificate, requestTag)],
    denied: [
      { CertificateArn: certificate, Tags: otherTag },
      { CertificateArn: certificate, Tags: [...tagged, { Key: 'Team', Value: 'web' }] },
    ],
  },
  'CertificateManager.ListCertificates': everything('acm:ListCertificates'),
  'CertificateManager.RequestCertificate': {
    input: {
      DomainName: 'www.example.com',
      KeyAlgorithm: 'EC_prime256v1',
      SubjectAlternativeNames: ['api.example.com'],
      ValidationMethod: 'DNS',
      Options: { Export: 'ENABLED' },
      Tags: tagged,
    },
    grants: [
      allow('acm:RequestCertificate', '*', {
        ...onlyDomains('*.example.com'),
        StringEquals: {
          'acm:KeyAlgorithm': 'EC_prime256v1',
          'acm:ValidationMethod': 'DNS',
          'acm:Export': 'ENABLED',
          'aws:RequestTag/env': 'prod',
        },
      }),
      allow('acm:AddTagsToCertificate', certificate.replace(/[^/]+$/, '*'), requestTag),
    ],
    denied: [
      ...[
        { ValidationMethod: 'EMAIL' },
        { Options: { Export: 'DISABLED' } },
        { Options: {} },
        { Tags: otherTag },
      ].map((other) => ({
        DomainName: 'www.example.com',
        KeyAlgorithm: 'EC_prime256v1',
        ValidationMethod: 'DNS',
        Options: { Export: 'ENABLED' },
        Tags: tagged,
        ...other,
      })),
      { DomainName: 'www.example.com', KeyAlgorithm: 'RSA_2048' },
      { DomainName: 'www.example.com' },
      {
        DomainName: 'www.example.com',
        KeyAlgorithm: 'EC_prime256v1',
        SubjectAlternativeNames: ['example.org'],
      },
    ],
  },

  'route53.ListHostedZonesByName': everything('route53:ListHostedZonesByName'),
  'route53.GetHostedZone': onZone('GetHostedZone', 'Id'),
  'route53.ListResourceRecordSets': onZone('ListResourceRecordSets', 'HostedZoneId'),
  'route53.GetChange': {
    input: { Id: 'C1' },
    grants: [allow('route53:GetChange', 'arn:aws:route53:::change/C1')],
    denied: [{ Id: 'C2' }],
  },
  'route53.ChangeResourceRecordSets': {
    input: batch('UPSERT CNAME _A.Example.com.', 'CREATE CNAME *.example.com'),
    grants: [
      allow('route53:ChangeResourceRecordSets', zone, {
        'ForAllValues:StringEquals': {
          [`${records}NormalizedRecordNames`]: ['_a.example.com', '\\052.example.com'],
          [`${records}RecordTypes`]: 'CNAME',
          [`${records}Actions`]: ['UPSERT', 'CREATE'],
        },
      }),
    ],
    denied: [
      { ...batch('UPSERT CNAME _a.example.com'), HostedZoneId: 'Z2' },
      batch('UPSERT CNAME _b.example.com'),
      batch('UPSERT CNAME _a.example.com', 'UPSERT CNAME _b.example.com'),
      batch('UPSERT A _a.example.com'),
      batch('DELETE CNAME _a.example.com'),
      // A dot that ends no label is another name.
      batch('UPSERT CNAME _a\\056example.com'),
    ],
  },

  'secretsmanager.DescribeSecret': onSecret('DescribeSecret'),
  'secretsmanager.PutSecretValue': onSecret('PutSecretValue'),
  'secretsmanager.RestoreSecret': onSecret('RestoreSecret'),
  'secretsmanager.GetResourcePolicy': onSecret('GetResourcePolicy'),
  'secretsmanager.DeleteResourcePolicy': onSecret('DeleteResourcePolicy'),
  'secretsmanager.GetSecretValue': onSecret(
    'GetSecretValue',
    { VersionStage: 'AWSCURRENT' },
    { StringEquals: { 'secretsmanager:VersionStage': 'AWSCURRENT' } },
    [
      { SecretId: secretName, VersionStage: 'AWSPREVIOUS' },
      { SecretId: secretName, VersionId: 'v1' },
      { SecretId: foreignSecret },
    ],
  ),
  'secretsmanager.PutResourcePolicy': onSecret(
    'PutResourcePolicy',
    { BlockPublicPolicy: true },
    { Bool: { 'secretsmanager:BlockPublicPolicy': 'true' } },
    [{ SecretId: secretName, BlockPublicPolicy: false }, { SecretId: secretName }],
  ),
  'secretsmanager.UpdateSecretVersionStage': onSecret(
    'UpdateSecretVersionStage',
    { VersionStage: 'AWSCURRENT' },
    { StringEquals: { 'secretsmanager:VersionStage': 'AWSCURRENT' } },
    [{ SecretId: secretName, VersionStage: 'AWSPENDING' }],
  ),
  'secretsmanager.DeleteSecret': onSecret(
    'DeleteSecret',
    { RecoveryWindowInDays: 30 },
    {
      NumericGreaterThanEquals: { 'secretsmanager:RecoveryWindowInDays': '7' },
      Null: { 'secretsmanager:ForceDeleteWithoutRecovery': 'true' },
    },
    [
      { SecretId: secretName, ForceDeleteWithoutRecovery: true },
      { SecretId: secretName, RecoveryWindowInDays: 30, ForceDeleteWithoutRecovery: true },
    ],
  ),
  'secretsmanager.TagResource': onSecret('TagResource', { Tags: tagged }, requestTag, [
    { SecretId: secretName, Tags: otherTag },
  ]),
  'secretsmanager.UntagResource': onSecret(
    'UntagResource',
    { TagKeys: ['note'] },
    { 'ForAllValues:StringNotEquals': { 'aws:TagKeys': ['env'] } },
    [{ SecretId: secretName, TagKeys: ['env'] }],
  ),
  'secretsmanager.CreateSecret': {
    input: { Name: 'shop/web/new', Tags: tagged },
    grants: [
      allow('secretsmanager:CreateSecret', arn('secretsmanager', 'secret:shop/*'), {
        StringLike: { 'secretsmanager:Name': 'shop/*' },
        ...requestTag,
      }),
      allow('secretsmanager:TagResource', arn('secretsmanager', 'secret:shop/*'), prod),
    ],
    denied: [
      { Name: 'others/web', Tags: tagged },
      { Name: 'shop/web/new', Tags: otherTag },
      { Name: 'shop/web/new' },
    ],
  },
  'secretsmanager.BatchGetSecretValue': {
    input: { SecretIdList: [secretName] },
    grants: [allow('secretsmanager:BatchGetSecretValue'), allow('secretsmanager:GetSecretValue', secret)],
    denied: [{ SecretIdList: [secretName, 'others/secret'] }],
  },
  'secretsmanager.ListSecrets': everything('secretsmanager:ListSecrets'),
  'secretsmanager.GetRandomPassword': everything('secretsmanager:GetRandomPassword'),

  'AmazonSSM.DescribeInstanceInformation': everything('ssm:DescribeInstanceInformation'),
  'AmazonSSM.ListCommands': everything('ssm:ListCommands'),
  'AmazonSSM.ListCommandInvocations': everything('ssm:ListCommandInvocations'),
  'AmazonSSM.GetCommandInvocation': everything('ssm:GetCommandInvocation'),
  'AmazonSSM.GetAutomationExecution': onExecution('GetAutomationExecution'),
  'AmazonSSM.StopAutomationExecution': onExecution('StopAutomationExecution'),
  'AmazonSSM.AddTagsToResource': {
    input: { ResourceType: 'Automation', ResourceId: execution, Tags: tagged },
    grants: [
      allow('ssm:AddTagsToResource', arn('ssm', 'automation-execution/*'), {
        ...requestTag,
        StringEquals: { ...requestTag.StringEquals, ...prod.StringEquals },
      }),
    ],
    denied: [
      { ResourceType: 'Automation', ResourceId: execution, Tags: otherTag },
      { ResourceType: 'Automation', ResourceId: '00000000-1234-1234-1234-123456789012', Tags: tagged },
    ],
  },
  'AmazonSSM.StartAutomationExecution': {
    input: { DocumentName: 'shop-run-on-fleet', Tags: tagged },
    grants: [
      allow('ssm:StartAutomationExecution', automationDocument),
      allow('ssm:StartAutomationExecution', arn('ssm', 'automation-execution/*'), requestTag),
      allow('ssm:AddTagsToResource', arn('ssm', 'automation-execution/*'), requestTag),
      allow('iam:PassRole', automation, { StringEquals: { 'iam:PassedToService': 'ssm.amazonaws.com' } }),
    ],
    denied: [
      { DocumentName: 'AWS-RunShellScript', Tags: tagged },
      { DocumentName: 'shop-run-on-fleet', Tags: otherTag },
      {
        DocumentName: 'role-by-parameter',
        Parameters: { Role: [`arn:aws:iam::${account}:role/admin`] },
        Tags: tagged,
      },
    ],
  },
  'AmazonSSM.SendCommand': {
    input: {
      DocumentName: 'shop-run-on-node',
      InstanceIds: ['i-0prod'],
      Targets: [{ Key: 'tag:env', Values: ['prod'] }],
    },
    grants: [
      allow('ssm:SendCommand', commandDocument),
      allow('ssm:SendCommand', arn('ec2', 'instance/*'), { StringEquals: { 'ssm:resourceTag/env': 'prod' } }),
      allow('ssm:SendCommand', arn('ssm', 'managed-instance/*'), {
        StringEquals: { 'ssm:resourceTag/env': 'prod' },
      }),
    ],
    denied: [
      { DocumentName: 'AWS-RunShellScript', InstanceIds: ['i-0prod'] },
      { DocumentName: 'shop-run-on-node', InstanceIds: ['i-0prod', 'i-0dev'] },
      { DocumentName: 'shop-run-on-node', Targets: [{ Key: 'InstanceIds', Values: ['i-0dev'] }] },
      { DocumentName: 'shop-run-on-node', Targets: [{ Key: 'tag:env', Values: ['prod', 'dev'] }] },
      { DocumentName: 'shop-run-on-node', InstanceIds: ['i-0unknown'] },
    ],
  },
  'sts.AssumeRole': {
    input: { RoleArn: courier, RoleSessionName: 'take-order-1', ExternalId: 'ours', Tags: tagged },
    grants: [
      allow('sts:AssumeRole', courier, { StringLike: { 'sts:RoleSessionName': 'take-order-*' } }),
      allow('sts:TagSession', courier, requestTag),
    ],
    denied: [
      { RoleArn: courier, RoleSessionName: 'take-order-1', ExternalId: 'theirs' },
      { RoleArn: courier, RoleSessionName: 'take-order-1' },
      { RoleArn: courier, RoleSessionName: 'another', ExternalId: 'ours' },
      { RoleArn: courier, RoleSessionName: 'take-order-1', ExternalId: 'ours', Tags: otherTag },
      {
        RoleArn: `${courier}-that-does-not-exist`,
        RoleSessionName: 'take-order-1',
        ExternalId: 'ours',
      },
    ],
  },
  'iam.GetRole': {
    input: { RoleName: 'shop-reader' },
    grants: [allow('iam:GetRole', reader, { StringEquals: { 'iam:ResourceTag/env': 'prod' } })],
    denied: [{ RoleName: 'shop-reader-too' }, { RoleName: 'reader' }],
  },
  'iam.ListAttachedRolePolicies': {
    input: { RoleName: 'shop-reader' },
    grants: [allow('iam:ListAttachedRolePolicies', reader)],
    denied: [{ RoleName: 'shop-reader-too' }, { RoleName: 'reader' }],
  },
  'iam.GetInstanceProfile': {
    input: { InstanceProfileName: 'shop-server' },
    grants: [allow('iam:GetInstanceProfile', `arn:aws:iam::${account}:instance-profile/shop-server`)],
    denied: [{ InstanceProfileName: 'shop-server-too' }],
  },
  'cloudformation.DescribeStacks': {
    input: { StackName: 'shop' },
    grants: [allow('cloudformation:DescribeStacks', arn('cloudformation', 'stack/shop/*'))],
    denied: [{ StackName: 'shop-too' }],
  },
  'ec2.DescribeInstances': { input: {}, grants: [allow('ec2:DescribeInstances')], denied: [] },
  'AmazonSSM.GetDocument': {
    input: { Name: 'shop-run-on-node' },
    grants: [allow('ssm:GetDocument', commandDocument)],
    denied: [{ Name: 'shop-run-on-fleet' }],
  },
  'sns.ListSubscriptionsByTopic': {
    input: { TopicArn: topic },
    grants: [allow('sns:ListSubscriptionsByTopic', topic)],
    denied: [{ TopicArn: `${topic}-too` }],
  },
  'sts.GetCallerIdentity': { input: {}, grants: [], denied: [] },

  'DynamoDB_20120810.GetItem': onTable('GetItem'),
  'DynamoDB_20120810.PutItem': onTable('PutItem'),
  'DynamoDB_20120810.UpdateItem': onTable('UpdateItem'),
  'DynamoDB_20120810.DeleteItem': onTable('DeleteItem'),
  'DynamoDB_20120810.Query': onIndex('Query'),
  'DynamoDB_20120810.Scan': onIndex('Scan'),
  'DynamoDB_20120810.BatchGetItem': onTables('BatchGetItem'),
  'DynamoDB_20120810.BatchWriteItem': onTables('BatchWriteItem'),

  'AWSStepFunctions.StartExecution': onMachine('StartExecution'),
  'AWSStepFunctions.ListExecutions': onMachine('ListExecutions'),
  'AWSStepFunctions.DescribeExecution': onRunning('DescribeExecution'),
  'AWSStepFunctions.StopExecution': onRunning('StopExecution'),

  'lambda.Invoke': {
    input: { FunctionName: 'shop-take-order' },
    grants: [allow('lambda:InvokeFunction', lambda)],
    denied: [{ FunctionName: 'others' }, { FunctionName: lambda, Qualifier: '1' }],
  },
  'execute-api.Invoke': {
    input: { apiId: 'a1b2c3d4e5', stage: 'v1', method: 'POST', path: '/orders/web-shop/parcels' },
    grants: [allow('execute-api:Invoke', `${api}/v1/POST/orders/web-*/parcels`)],
    denied: [
      { apiId: 'a1b2c3d4e5', stage: 'v1', method: 'GET', path: '/orders/web-shop/parcels' },
      { apiId: 'a1b2c3d4e5', stage: 'v1', method: 'POST', path: '/orders/db-shop/parcels' },
      { apiId: 'a1b2c3d4e5', stage: 'v2', method: 'POST', path: '/orders/web-shop/parcels' },
      { apiId: 'a1b2c3d4e5', stage: 'v1', method: 'POST', path: '/orders/%77eb-shop/parcels' },
    ],
  },
  'AWSEvents.PutEvents': {
    input: { Entries: [{ Source: 'shop', DetailType: 'Installed' }] },
    grants: [
      allow('events:PutEvents', arn('events', 'event-bus/default'), {
        StringEquals: { 'events:source': 'shop', 'events:detail-type': 'Installed' },
      }),
    ],
    denied: [
      {
        Entries: [
          { Source: 'shop', DetailType: 'Installed' },
          { Source: 'aws.acm', DetailType: 'Installed' },
        ],
      },
      { Entries: [{ Source: 'shop', DetailType: 'Installed', EventBusName: 'others' }] },
    ],
  },
  'sns.Publish': {
    input: { TopicArn: topic },
    grants: [allow('sns:Publish', topic)],
    denied: [{ TopicArn: arn('sns', 'others') }, { TargetArn: arn('sns', 'shop-news', other) }],
  },
  'AmazonSQS.SendMessage': onQueue('SendMessage'),
  'AmazonSQS.ReceiveMessage': onQueue('ReceiveMessage'),
  'AmazonSQS.DeleteMessage': onQueue('DeleteMessage'),
  'AmazonSQS.GetQueueAttributes': onQueue('GetQueueAttributes'),
  'AmazonSQS.GetQueueUrl': {
    input: { QueueName: queue.split(':').at(-1) },
    grants: [allow('sqs:GetQueueUrl', queue)],
    denied: [{ QueueName: 'others' }],
  },
  'xray.PutTraceSegments': everything('xray:PutTraceSegments'),
  'xray.PutTelemetryRecords': everything('xray:PutTelemetryRecords'),
};

test('every row of the table has a case here, and names its source', () => {
  expect(Object.keys(cases).sort()).toEqual(operations.map(({ operation }) => operation).sort());
  expect(operations.filter(({ source }) => !/(Service Authorization|API) [Rr]eference/.test(source))).toEqual(
    [],
  );
});

describe.each(Object.entries(cases))('%s', (operation, { input, grants, denied }) => {
  test('is allowed by the least grant', () => {
    expect(outcome(operation, input, grants)).toBeUndefined();
  });

  test('is denied without any one statement of it, and with the action withheld', () => {
    for (const left of grants) {
      const reason = outcome(
        operation,
        input,
        grants.filter((grant) => grant !== left),
      )?.reason;
      expect(reason).toContain(`is not authorized to perform: ${left.Action}`);
    }
    const refusal: Statement = {
      Effect: 'Deny',
      Action: grants.map(({ Action }) => String(Action)),
      Resource: '*',
    };
    if (grants.length > 0)
      expect(outcome(operation, input, [...grants, refusal])?.reason).toContain('explicit deny');
  });

  test('is denied on anything else', () => {
    for (const call of denied)
      expect([call, outcome(operation, call, grants)?.allowed]).toEqual([call, false]);
  });
});

test('a caller who may do nothing may still ask who he is', () => {
  const refuseAll: Statement = { Effect: 'Deny', Action: '*', Resource: '*' };
  expect(outcome('sts.GetCallerIdentity', {}, [refuseAll])).toBeUndefined();
});

test('every request carries its Region, and counts as sent over TLS', () => {
  const inRegion = (name: string) =>
    outcome('AmazonSSM.ListCommands', {}, [
      allow('ssm:ListCommands', '*', {
        StringEquals: { 'aws:RequestedRegion': name },
        Bool: { 'aws:SecureTransport': 'true' },
      }),
    ]);
  expect(inRegion(region)).toBeUndefined();
  expect(inRegion('us-east-1')?.allowed).toBe(false);
});

test('a secret of another account needs its policy and the caller’s own', () => {
  const read = [allow('secretsmanager:GetSecretValue', foreignSecret)];
  expect(outcome('secretsmanager.GetSecretValue', { SecretId: foreignSecret }, read)).toBeUndefined();
  expect(outcome('secretsmanager.GetSecretValue', { SecretId: foreignSecret }, [])?.allowed).toBe(false);
  expect(
    outcome('secretsmanager.DescribeSecret', { SecretId: foreignSecret }, [allow('secretsmanager:*')])
      ?.reason,
  ).toContain('because no resource-based policy allows');
});

test.each([
  ['lambda.Invoke', { FunctionName: lambda }],
  ['AmazonSQS.SendMessage', { QueueUrl: queueUrl() }],
])('EventBridge calls %s for the rule that the resource names, and for no other', (operation, input) => {
  const eventBridge = { account: '', arn: '', service: 'events.amazonaws.com', tags: {} };
  const from = (source: string) => outcome(operation, input, [], eventBridge, { 'aws:SourceArn': source });
  expect(from(rule)).toBeUndefined();
  expect(from(arn('events', 'rule/others'))?.allowed).toBe(false);
});

test('a service role is assumed only by the service that its trust policy names', () => {
  const trustPolicy = policy({
    Effect: 'Allow',
    Principal: { Service: 'ssm.amazonaws.com' },
    Action: 'sts:AssumeRole',
    Condition: { StringEquals: { 'aws:SourceAccount': account } },
  });
  const withRole: ResourceState = { ...state, role: (id) => ({ arn: id, account, tags: {}, trustPolicy }) };
  const [request] = accessRequests('sts.AssumeRole', { RoleArn: automation }, { account, region }, withRole);
  if (!request) throw new Error('no request');
  const as = (service: string, source: string) =>
    evaluate(
      { account: '', arn: '', service, tags: {}, identityPolicies: [] },
      { ...request, context: { ...request.context, 'aws:SourceAccount': source } },
    ).allowed;
  expect(as('ssm.amazonaws.com', account)).toBe(true);
  expect(as('ssm.amazonaws.com', other)).toBe(false);
  expect(as('lambda.amazonaws.com', account)).toBe(false);
});

test.each<[string, unknown]>([
  ['AmazonSSM.CreateDocument', {}],
  ['AmazonSSM.StartAutomationExecution', { DocumentName: 'x', TargetLocations: [] }],
  ['AmazonSSM.SendCommand', { DocumentName: 'x', Targets: [{ Key: 'resource-groups:Name', Values: ['x'] }] }],
  ['secretsmanager.CreateSecret', { Name: 'x', KmsKeyId: 'x' }],
  ['secretsmanager.BatchGetSecretValue', { Filters: [] }],
  ['sts.AssumeRole', { RoleArn: courier, SourceIdentity: 'x' }],
  ['sns.Publish', { PhoneNumber: '+1' }],
])('%s with %j is refused loudly, being outside the model', (operation, input) => {
  expect(() => accessRequests(operation, input, { account, region }, state)).toThrow(NotModelled);
});
