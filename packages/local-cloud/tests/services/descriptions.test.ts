import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CloudFormationClient, DescribeStacksCommand } from '@aws-sdk/client-cloudformation';
import { DescribeInstancesCommand, EC2Client } from '@aws-sdk/client-ec2';
import { GetInstanceProfileCommand, IAMClient, ListAttachedRolePoliciesCommand } from '@aws-sdk/client-iam';
import { ListSubscriptionsByTopicCommand, SNSClient } from '@aws-sdk/client-sns';
import { GetDocumentCommand, SSMClient } from '@aws-sdk/client-ssm';
import { expect, test } from '@jest/globals';
import { ACCOUNT, allow, REGION, testCloud } from './test-cloud.ts';

// Calls that only tell what is there.

const cloud = testCloud();
const config = (identity = cloud.administrator()) => cloud().clientConfig(identity, REGION);

test('a stack tells its outputs, and one that does not exist is a ValidationError', async () => {
  const file = join(cloud().folder, 'template.yaml');
  await writeFile(
    file,
    `Resources:
  Topic: {Type: AWS::SNS::Topic}
  Subscription: {Type: AWS::SNS::Subscription, Properties: {TopicArn: !Ref Topic, Protocol: email, Endpoint: a@example.com}}
Outputs:
  TopicArn: {Value: !Ref Topic}
`,
  );
  const stack = await cloud().deployTemplate(file, { account: ACCOUNT, region: REGION, stackName: 'shop' });
  const cloudFormation = new CloudFormationClient(config());
  const { Stacks } = await cloudFormation.send(new DescribeStacksCommand({ StackName: 'shop' }));
  const TopicArn = stack.output('TopicArn');
  expect(Stacks).toMatchObject([
    { StackName: 'shop', Outputs: [{ OutputKey: 'TopicArn', OutputValue: TopicArn }] },
  ]);
  await expect(
    cloudFormation.send(new DescribeStacksCommand({ StackName: 'shop-too' })),
  ).rejects.toMatchObject({
    name: 'ValidationError',
    message: 'Stack with id shop-too does not exist',
  });
  const subscriptions = async () =>
    (await new SNSClient(config()).send(new ListSubscriptionsByTopicCommand({ TopicArn }))).Subscriptions;
  expect(await subscriptions()).toMatchObject([
    { SubscriptionArn: 'PendingConfirmation', Endpoint: 'a@example.com' },
  ]);
  cloud().services.sns.confirm(TopicArn);
  expect(await subscriptions()).toMatchObject([{ SubscriptionArn: `${TopicArn}:0` }]);
});

test('instances are found by tag, in pages, with the profile whose role they have', async () => {
  const agent = () => ({ stdout: '', exitCode: 0 });
  const names = [1, 2, 3].map((digit) => `i-0000000000000000${digit}` as const);
  for (const id of names) await cloud().createNode(ACCOUNT, REGION, { id, agent, tags: { tier: 'web' } });
  await cloud().createNode(ACCOUNT, REGION, { kind: 'hybrid', agent, tags: { tier: 'web' } });
  await cloud().createNode(ACCOUNT, REGION, { agent, tags: { tier: 'database' } });
  const ec2 = new EC2Client(config());
  const Filters = [{ Name: 'tag:tier', Values: ['web'] }];
  const all = await ec2.send(new DescribeInstancesCommand({ Filters }));
  const found = (all.Reservations ?? []).flatMap(({ Instances = [] }) => Instances);
  expect(found.map(({ InstanceId }) => InstanceId)).toEqual(names);
  expect(found[0]).toMatchObject({ State: { Name: 'running' }, Tags: [{ Key: 'tier', Value: 'web' }] });
  await expect(
    ec2.send(new DescribeInstancesCommand({ InstanceIds: ['i-00000000000000009'] })),
  ).rejects.toMatchObject({
    name: 'InvalidInstanceID.NotFound',
  });
  const profile = found[0]?.IamInstanceProfile?.Arn?.split('/').at(-1);
  const iam = new IAMClient(config());
  const { InstanceProfile } = await iam.send(new GetInstanceProfileCommand({ InstanceProfileName: profile }));
  expect(InstanceProfile?.Roles).toMatchObject([{ RoleName: `node-${names[0]}` }]);
  await expect(
    iam.send(new GetInstanceProfileCommand({ InstanceProfileName: 'none' })),
  ).rejects.toMatchObject({
    name: 'NoSuchEntityException',
  });
});

test('a role tells its managed policies, page by page', async () => {
  const managedPolicyArns = ['a', 'b', 'c'].map((name) => `arn:aws:iam::${ACCOUNT}:policy/team/${name}`);
  cloud().services.identities.createRole(ACCOUNT, {
    name: 'server',
    trustPolicy: { Statement: [] },
    managedPolicyArns,
  });
  const iam = new IAMClient(config());
  const list = (Marker?: string) =>
    iam.send(
      new ListAttachedRolePoliciesCommand({ RoleName: 'server', MaxItems: 2, ...(Marker ? { Marker } : {}) }),
    );
  const first = await list();
  expect(first).toMatchObject({
    IsTruncated: true,
    AttachedPolicies: [{ PolicyName: 'a' }, { PolicyName: 'b' }],
  });
  expect(await list(first.Marker)).toMatchObject({
    IsTruncated: false,
    AttachedPolicies: [{ PolicyName: 'c' }],
  });
});

test('a document tells its content; a call without the permission has the name of its service', async () => {
  const content = { schemaVersion: '2.2', mainSteps: [] };
  cloud().services.ssmDocuments.create(ACCOUNT, REGION, { name: 'run-on-node', type: 'Command', content });
  const ssm = new SSMClient(config());
  const { Content } = await ssm.send(new GetDocumentCommand({ Name: 'run-on-node' }));
  expect(JSON.parse(Content ?? '')).toEqual(content);
  await expect(ssm.send(new GetDocumentCommand({ Name: 'run-on-fleet' }))).rejects.toMatchObject({
    name: 'InvalidDocument',
  });
  const nobody = cloud().createUser(ACCOUNT, 'nobody', [allow('s3:GetObject')]);
  await expect(new EC2Client(config(nobody)).send(new DescribeInstancesCommand({}))).rejects.toMatchObject({
    name: 'UnauthorizedOperation',
  });
  const stacks = new CloudFormationClient(config(nobody)).send(new DescribeStacksCommand({ StackName: 'x' }));
  await expect(stacks).rejects.toMatchObject({ name: 'AccessDenied' });
});
