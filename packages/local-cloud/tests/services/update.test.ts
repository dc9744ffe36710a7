import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DynamoDBDocumentClient, GetCommand, PutCommand } from '@aws-sdk/lib-dynamodb';
import { beforeAll, expect, test } from '@jest/globals';
import type { DeployOptions, Stack } from '../../src/cloud.ts';
import type { InvokeResult } from '../../src/services/lambda.ts';
import type { Caller, Operation } from '../../src/services/service.ts';
import { ACCOUNT, REGION, testCloud } from './test-cloud.ts';

// A stack that is deployed again with other parameters.

const TEMPLATE = (more = '') => `
Transform: AWS::Serverless-2016-10-31
Parameters:
  Word: {Type: String, Default: first}
Resources:
  Role:
    Type: AWS::IAM::Role
    Properties:
      RoleName: speaker
      AssumeRolePolicyDocument:
        Statement: {Effect: Allow, Principal: {Service: lambda.amazonaws.com}, Action: sts:AssumeRole}
  Speaker:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: speaker
      Handler: speaker.handler
      Runtime: nodejs24.x
      CodeUri: ./
      Role: !GetAtt Role.Arn
      Timeout: 20
      Environment:
        Variables: {WORD: !Ref Word}
  Items:
    Type: AWS::DynamoDB::Table
    Properties:
      TableName: items
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: id, AttributeType: S}]
      KeySchema: [{AttributeName: id, KeyType: HASH}]
${more}`;

const files = { code: '', template: '', other: '' };
const cloud = testCloud({ codeOf: () => ({ file: files.code }) });
const options: DeployOptions = { account: ACCOUNT, region: REGION, stackName: 'speech' };
let stack: Stack;

beforeAll(async () => {
  for (const name of ['code', 'template', 'other'] as const) {
    files[name] = join(cloud().folder, name === 'code' ? 'speaker.mjs' : `${name}.yaml`);
  }
  writeFileSync(
    files.code,
    `export const handler = async ({ seconds = 0 }) => {
      await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
      return process.env.WORD;
    };`,
  );
  writeFileSync(files.template, TEMPLATE());
  writeFileSync(files.other, TEMPLATE('  Topic: {Type: AWS::SNS::Topic, Properties: {TopicName: more}}'));
  stack = await cloud().deployTemplate(files.template, options);
});

async function say(seconds = 0): Promise<string> {
  const invoke = cloud().services.lambda.operations['lambda.Invoke'] as Operation;
  const input = { FunctionName: stack.resource('Speaker').arn, Payload: JSON.stringify({ seconds }) };
  return JSON.parse(((await invoke(input, { source: 'test' } as Caller)) as InvokeResult).Payload);
}

test('functions get their new variables, what runs ends with the old ones, and a table keeps its items', async () => {
  const items = cloud().documentClient(DynamoDBDocumentClient, {
    region: REGION,
    credentials: cloud.administrator().credentials,
  });
  await items.send(new PutCommand({ TableName: 'items', Item: { id: 'kept' } }));
  expect(await say()).toBe('first');
  const running = say(1);
  stack = cloud().updateTemplate(files.template, { ...options, parameters: { Word: 'second' } });
  expect(await say()).toBe('second');
  expect(await running).toBe('first');
  expect(stack.deployed.parameters).toMatchObject({ Word: 'second' });
  const { Item } = await items.send(new GetCommand({ TableName: 'items', Key: { id: 'kept' } }));
  expect(Item).toEqual({ id: 'kept' });
  // Without its parameter it has the default again, as nothing else says what it had.
  cloud().updateTemplate(files.template, options);
  expect(await say()).toBe('first');
});

test('another change than that of a function is refused, and changes nothing', async () => {
  const change = { ...options, parameters: { Word: 'third' } };
  expect(() => cloud().updateTemplate(files.other, change)).toThrow('an update that changes Topic');
  expect(await say()).toBe('first');
  expect(() => cloud().updateTemplate(files.template, { ...options, stackName: 'none' })).toThrow(
    'there is no stack none to update',
  );
});
