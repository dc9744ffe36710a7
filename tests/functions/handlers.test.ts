import './support/quiet.ts';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { ACMClient, DescribeCertificateCommand, ListTagsForCertificateCommand } from '@aws-sdk/client-acm';
import { SFNClient, StartExecutionCommand } from '@aws-sdk/client-sfn';
import { PublishCommand, SNSClient } from '@aws-sdk/client-sns';
import { STSClient } from '@aws-sdk/client-sts';
import { ScanCommand } from '@aws-sdk/lib-dynamodb';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { Context } from 'aws-lambda';
import { mockClient } from 'aws-sdk-client-mock';
import { readEnvironment } from '../../functions/shared/environment.ts';
import { Inventory } from '../../functions/shared/inventory.ts';
import { awsError } from './support/fake-service.ts';
import { type Database, stack, startDatabase } from './support/inventory-table.ts';

// What is fake here are the services behind the clients that the handlers make themselves. DynamoDB is dynalite over HTTP, so that the
// idempotency of Powertools is real.
const ARN = 'arn:aws:acm:eu-central-1:111122223333:certificate/11112222-3333-4444-5555-666677778888';
const acm = mockClient(ACMClient);
const sfn = mockClient(SFNClient);
const sns = mockClient(SNSClient);
const sts = mockClient(STSClient);

type Handler = (event: unknown, context: Context) => Promise<never>;
let database: Database;
let inventory: Inventory;
let tables: { INVENTORY_TABLE: string; IDEMPOTENCY_TABLE: string };
const handlers = new Map<string, Handler>();

const functions = [...stack.resources.values()]
  .filter(({ type }) => type === 'AWS::Serverless::Function')
  .map(({ properties }) => ({
    name: String(properties.FunctionName).replace('acm-export-', ''),
    variables: properties.Environment.Variables as Record<string, string>,
  }));

beforeAll(async () => {
  database = await startDatabase();
  tables = {
    INVENTORY_TABLE: await database.createTable('InventoryTable'),
    IDEMPOTENCY_TABLE: await database.createTable('IdempotencyTable'),
  };
  inventory = new Inventory(database.client, tables.INVENTORY_TABLE);
  Object.assign(process.env, {
    AWS_ENDPOINT_URL_DYNAMODB: database.endpoint,
    AWS_ACCESS_KEY_ID: 'local',
    AWS_SECRET_ACCESS_KEY: 'local',
    AWS_REGION: 'eu-central-1',
    POWERTOOLS_METRICS_DISABLED: 'true',
  });
  for (const { name, variables } of functions) {
    // Exactly what the template gives, but for the names of the tables here.
    const before = { ...process.env };
    Object.assign(process.env, variables, tables, {
      AWS_LAMBDA_FUNCTION_NAME: `acm-export-${name}`,
      LOG_LEVEL: 'SILENT',
      NODE_OPTIONS: '',
    });
    const { handler } = await import(`../../functions/${name}/handler.ts`);
    handlers.set(name, handler);
    process.env = before;
  }
});
afterAll(() => database.stop());
beforeEach(() => {
  for (const client of [acm, sfn, sns, sts]) {
    client.reset();
  }
  acm.on(DescribeCertificateCommand).resolves({
    Certificate: {
      CertificateArn: ARN,
      Serial: '0a:0b',
      NotAfter: new Date('2099-01-01T00:00:00Z'),
      Status: 'ISSUED',
      Type: 'AMAZON_ISSUED',
      Options: { Export: 'ENABLED' },
    },
  });
  acm.on(ListTagsForCertificateCommand).resolves({ Tags: [{ Key: 'CertName', Value: '+' }] });
  sfn.on(StartExecutionCommand).resolves({});
  sns.on(PublishCommand).resolves({});
});

let requests = 0;
function invoke(name: string, event: unknown): Promise<Record<string, unknown>> {
  requests += 1;
  const context = {
    awsRequestId: `request-${requests}`,
    functionName: `acm-export-${name}`,
    getRemainingTimeInMillis: () => 30_000,
  } as Context;
  return (handlers.get(name) as Handler)(event, context);
}

const sampleOf = (name: string, file: string) =>
  JSON.parse(readFileSync(path.resolve(import.meta.dirname, `../../events/${name}/${file}`), 'utf8'));

let deployments = 0;
/** A deployment that serves an older serial, or one whose rollout runs. */
async function registered(state: 'installed' | 'running') {
  deployments += 1;
  const id = deployments.toString(16).padStart(24, '0');
  const order = {
    CertName: 'web-prod',
    CertificateArn: ARN,
    TargetAccount: '111122223333',
    TargetRegion: 'eu-central-1',
    TargetTagKey: 'acm-export',
    TargetTagValue: `t${deployments}`,
    Options: {
      ReloadServices: [],
      RestartServices: [],
      VerifyPort: 0,
      KeyFormat: 'decrypted' as const,
      ExtraFormats: [],
    },
    MaxConcurrency: '1',
    MaxErrors: '0',
  };
  const rollout = { CertificateArn: ARN, Serial: '01', Cause: 'REQUEST' as const, CorrelationId: 'c' };
  const result = await inventory.register(id, order, rollout, '2099-01-01T00:00:00Z', () => false);
  if (state === 'installed' && result) {
    const Exported = { Serial: '01', VersionId: 'v', NotAfter: '2099-01-01T00:00:00Z' };
    await inventory.finish(result.deployment, 1, {
      Status: 'INSTALLED',
      ExecutionArn: 'x',
      Exported,
      Served: true,
    });
  }
  return id;
}

test('every function starts with what the template gives it', () => {
  expect([...handlers.keys()].sort()).toEqual(functions.map(({ name }) => name).sort());
});

test('a missing variable is named, and so are all others at once', () => {
  expect(() => readEnvironment(['PREFIX', 'EXTERNAL_ID'], { PREFIX: undefined })).toThrow(
    /^Missing environment variables: PREFIX \(name prefix .*\), EXTERNAL_ID \(/,
  );
  expect(readEnvironment(['TARGET_ACCOUNTS'], { TARGET_ACCOUNTS: '' })).toEqual({ TARGET_ACCOUNTS: '' });
});

describe('deployments-api', () => {
  const samples = readdirSync(path.resolve(import.meta.dirname, '../../events/deployments-api'));
  test.each(samples)('answers the sample %s', async (file) => {
    sts.rejects(awsError('AccessDenied', 'not here'));
    const answer = await invoke('deployments-api', sampleOf('deployments-api', file));
    expect(answer.headers).toEqual({ 'content-type': 'application/json' });
    const body = JSON.parse(answer.body as string);
    expect(body.CorrelationId).toBe('7f3d9c1e-2b64-4f0a-9a55-0c8d2e6b1f47');
    expect([200, 403, 404, 422]).toContain(answer.statusCode);
    const [fault] = body.Faults ?? [];
    expect(fault?.Field).toBe(
      (
        { 403: 'TargetAccount', 404: file === 'request-renewal.json' ? 'CertificateArn' : undefined } as never
      )[answer.statusCode as number],
    );
  });
});

describe('handle-renewal', () => {
  const time = new Date().toISOString();
  const event = (id: string) => ({ ...sampleOf('handle-renewal', 'certificate-renewed.json'), id, time });
  const starts = () => sfn.commandCalls(StartExecutionCommand).length;

  test('handles a renewal once, however often and however differently it is told of it', async () => {
    await registered('installed');
    const first = await invoke('handle-renewal', event('event-1'));
    expect(first).toMatchObject({ Started: 1 });
    expect(await invoke('handle-renewal', event('event-1'))).toEqual(first);
    expect(await invoke('handle-renewal', event('event-2'))).toEqual(first);
    expect(starts()).toBe(1);
  });

  test('handles it again when the first attempt failed half-way', async () => {
    acm.on(DescribeCertificateCommand).resolves({
      Certificate: {
        Serial: '0a:0c',
        NotAfter: new Date('2099-01-01T00:00:00Z'),
        Status: 'ISSUED',
        Options: { Export: 'ENABLED' },
      },
    });
    const id = await registered('installed');
    sfn.on(StartExecutionCommand).rejectsOnce(awsError('ExecutionLimitExceeded'));
    await expect(invoke('handle-renewal', event('event-3'))).rejects.toThrow('ExecutionLimitExceeded');
    expect((await inventory.get(id))?.Rollout?.StartedAt).toBeUndefined();
    await invoke('handle-renewal', event('event-3'));
    expect((await inventory.get(id))?.Rollout?.StartedAt).toBeDefined();
  });

  test.each([null, 17, 'text', [], { source: 'aws.acm' }])('ignores %j', async (given) => {
    expect(await invoke('handle-renewal', given)).toEqual({ Ignored: expect.any(String) });
  });
});

describe('report-failure', () => {
  test('tells people once, whatever EventBridge delivers how often', async () => {
    const id = await registered('running');
    const event = sampleOf('report-failure', 'execution-timed-out.json');
    const name = `${id}-01-1`;
    const given = {
      ...event,
      detail: { ...event.detail, name, executionArn: `${event.detail.stateMachineArn}:${name}` },
    };
    expect(await invoke('report-failure', given)).toEqual({ Reported: given.detail.executionArn });
    await invoke('report-failure', given);
    await invoke('report-failure', { ...given, id: 'another-id' });
    const calls = sns.commandCalls(PublishCommand);
    expect(calls).toHaveLength(1);
    expect(calls[0]?.args[0].input.TopicArn).toBe(
      'arn:aws:sns:eu-central-1:111122223333:acm-export-notifications',
    );
    expect(await inventory.get(id)).toMatchObject({ Status: 'FAILED' });
  });

  test('tells again when telling failed', async () => {
    const id = await registered('running');
    const event = sampleOf('report-failure', 'execution-aborted.json');
    const given = { ...event, detail: { ...event.detail, name: `${id}-01-1`, executionArn: `arn:${id}` } };
    sns.on(PublishCommand).rejectsOnce(awsError('ThrottledException'));
    await expect(invoke('report-failure', given)).rejects.toThrow('ThrottledException');
    expect(await invoke('report-failure', given)).toEqual({ Reported: `arn:${id}` });
    expect(sns.commandCalls(PublishCommand)).toHaveLength(2);
  });

  test.each([null, {}, { source: 'aws.states' }])('ignores %j', async (given) => {
    expect(await invoke('report-failure', given)).toEqual({ Ignored: expect.any(String) });
  });
});

describe('reconcile', () => {
  test('sends one message of a cause and day', async () => {
    acm.on(DescribeCertificateCommand).rejects(awsError('ResourceNotFoundException'));
    await invoke('reconcile', { Task: 'certificates' });
    const before = sns.commandCalls(PublishCommand).length;
    expect(before).toBeGreaterThan(0);
    await invoke('reconcile', { Task: 'certificates' });
    expect(sns.commandCalls(PublishCommand)).toHaveLength(before);
  });

  test.each([null, {}, { Task: 'all' }])('refuses %j by one named error', async (given) => {
    await expect(invoke('reconcile', given)).rejects.toMatchObject({ name: 'ZodError' });
  });
});

test('idempotency records hold no more than outcomes', async () => {
  const { Items = [] } = await database.client.send(new ScanCommand({ TableName: tables.IDEMPOTENCY_TABLE }));
  expect(Items.length).toBeGreaterThan(0);
  for (const item of Items) {
    expect(
      Object.keys(item).filter(
        (key) => !['id', 'expiration', 'status', 'data', 'in_progress_expiration'].includes(key),
      ),
    ).toEqual([]);
    expect(JSON.stringify(item.data ?? '').length).toBeLessThan(300);
  }
});
