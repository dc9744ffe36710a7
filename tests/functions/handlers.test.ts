import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { DynamoDBDocumentClient, PutCommand, ScanCommand } from '@aws-sdk/lib-dynamodb';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Caller, Cloud, InvokeResult, Operation } from 'local-cloud';
import type { Deployment } from '../../functions/domain/deployment.ts';
import { InstallOptions } from '../../functions/domain/order.ts';
import { Inventory } from '../../functions/inventory/inventory.ts';
import { readEnvironment } from '../../functions/runtime/environment.ts';
import { type CentralStack, deployCentral, deployDns, startCloud } from '../../local/cloud.ts';

// The built handlers in workers, with the variables and roles of the template. No member stack is there.
const EVENTS = path.resolve(import.meta.dirname, '../../events');
const place = { account: '111122223333', region: 'eu-central-1' };

let cloud: Cloud;
let central: CentralStack;
let arn: string;
let inventory: Inventory;
let client: DynamoDBDocumentClient;

beforeAll(async () => {
  cloud = await startCloud({ quotas: false, holdsExecutions: true });
  // Tests deliver the events that arrive.
  cloud.services.events.lose(() => true, Number.POSITIVE_INFINITY);
  const parameters = {
    ExternalId: 'only-for-these-tests',
    TargetAccounts: '111122223333,444455556666',
    DnsAccounts: '444455556666',
    RequestRules: 'net=www.example.net',
  };
  central = await deployCentral(cloud, { ...place, parameters });
  const options = { names: ['www.example.com'], tags: { CertName: '+' } };
  arn = await cloud.services.acm.add(place.account, place.region, options);
  const everything = { Statement: { Effect: 'Allow' as const, Action: '*', Resource: '*' } };
  const { credentials } = cloud.createUser(place.account, 'administrator', [everything]);
  client = cloud.documentClient(DynamoDBDocumentClient, { region: place.region, credentials });
  inventory = new Inventory(client, central.resource('InventoryTable').physicalId, () => new Date());
});
afterAll(() => cloud.stop());

/** Resolves to the answer of a function; rejects with the error that Lambda would show. */
async function invoke(name: string, event: unknown) {
  const FunctionName = `arn:aws:lambda:${place.region}:${place.account}:function:acm-export-${name}`;
  const input = { FunctionName, Payload: JSON.stringify(event) };
  const call = cloud.services.lambda.operations['lambda.Invoke'] as Operation;
  const { FunctionError, Payload } = (await call(input, { source: 'test' } as Caller)) as InvokeResult;
  const answer = JSON.parse(Payload);
  if (FunctionError) throw Object.assign(new Error(answer.errorMessage), { name: answer.errorType });
  return answer;
}

/** An event of the folder, about the certificate that there is here. */
function sampleOf(name: string, file: string) {
  const text = readFileSync(path.join(EVENTS, name, file), 'utf8');
  return JSON.parse(text.replaceAll(/arn:aws:acm:[a-z0-9-]+:[0-9]+:certificate\/[0-9a-f-]+/g, arn));
}

const refuseNext = (operation: string, name: string) =>
  cloud.faults.inject({ operation, kind: 'refuse', error: { name } });

let deployments = 0;
/** A deployment that serves an older serial, or one whose rollout runs. */
async function registered(state: 'installed' | 'running') {
  deployments += 1;
  const id = deployments.toString(16).padStart(24, '0');
  const order = {
    CertName: 'web-prod',
    CertificateArn: arn,
    TargetAccount: '111122223333',
    TargetRegion: 'eu-central-1',
    TargetTagKey: 'acm-export',
    TargetTagValue: `t${deployments}`,
    Options: InstallOptions.parse({}),
    MaxConcurrency: '1',
    MaxErrors: '0',
  };
  const by = { Serial: '01', NotBefore: '', Cause: 'REQUEST' as const, CorrelationId: 'c', Generation: 1 };
  const notAfter = '2099-01-01T00:00:00Z';
  const wanted = await inventory.want(id, undefined, { ...by, At: notAfter }, { order, notAfter });
  const begun = (await inventory.begin(wanted as Deployment, { ...by, Order: order })) as Deployment;
  const { RolloutNumber } = begun;
  if (state === 'installed') {
    const Exported = { Serial: '01', VersionId: 'v', NotAfter: notAfter };
    const result = { Outcome: 'INSTALLED', ExecutionArn: 'x', Exported, Served: true } as const;
    await inventory.end(begun, RolloutNumber, result);
  }
  return { id, name: `${id}-${RolloutNumber}` };
}

const inputs = ['check-installation', 'export-certificate', 'start-installation'].flatMap((name) =>
  readdirSync(path.join(EVENTS, name)).map((file) => [name, file] as const),
);
test.each(inputs)(
  '%s starts with what the template gives it, and knows that the rollout of %s is over',
  async (name, file) => {
    await expect(invoke(name, sampleOf(name, file))).rejects.toMatchObject({ name: 'RolloutSuperseded' });
  },
);

test('write-validation-records starts with what the template gives it, and knows no request of the sample', async () => {
  const sample = sampleOf('write-validation-records', 'requested.json');
  expect(await invoke('write-validation-records', sample)).toEqual({ ...sample, WaitSeconds: 30 });
});

test.each(readdirSync(path.join(EVENTS, 'request-certificate')))(
  'request-certificate starts with what the template gives it, and knows of no request of %s',
  async (file) => {
    expect(await invoke('request-certificate', sampleOf('request-certificate', file))).toMatchObject({
      Action: 'END',
    });
  },
);

test('deployments-api takes the call of the state machine of requests', async () => {
  const RegisterRequested = sampleOf('request-certificate', 'requested.json');
  expect(await invoke('deployments-api', { RegisterRequested })).toEqual({
    ...RegisterRequested,
    Registered: [],
  });
});

test('write-validation-records asks ACM, public DNS and Route 53 over the network', async () => {
  const account = '444455556666';
  const zone = cloud.services.route53.createZone(account, 'example.net');
  cloud.publicDns.delegate('example.net', zone.nameServers);
  const parameters = {
    ExternalId: 'only-for-these-tests',
    CentralAccountId: place.account,
    CentralRegion: place.region,
    HostedZoneArns: zone.arn,
  };
  await deployDns(cloud, { account, region: place.region, parameters });
  const CertificateArn = await cloud.services.acm.add(place.account, place.region, {
    names: ['www.example.net'],
    status: 'PENDING_VALIDATION',
  });
  const { Name, Value } = cloud.services.acm.recordOf(place.account, 'www.example.net');
  const request = {
    CertName: 'net',
    RequestNumber: 1,
    Status: 'VALIDATING',
    CertificateArn,
  };
  const Item = { DeploymentId: 'request#net', Item: 'request', Asked: { ...request, Revision: 1 } };
  const TableName = central.resource('InventoryTable').physicalId;
  await client.send(new PutCommand({ TableName, Item }));

  const input = { CertName: 'net', RequestNumber: 1 };
  expect(await invoke('write-validation-records', input)).toEqual({ ...input, WaitSeconds: 10 });
  expect(await inventory.requests.get('net')).toMatchObject({
    Written: { [Name]: { HostedZoneId: zone.id, Account: account, ChangeId: expect.any(String) } },
  });
  expect([...cloud.services.route53.zone(zone.id).records.values()]).toContainEqual(
    expect.objectContaining({ name: Name, type: 'CNAME', values: [Value] }),
  );
  expect(cloud.publicDns.questions).toEqual(expect.arrayContaining(['NS www.example.net', 'NS example.net']));
});

test('a missing variable is named, and so are all others at once', () => {
  expect(() => readEnvironment(['PREFIX', 'EXTERNAL_ID'], { PREFIX: undefined })).toThrow(
    /^Missing environment variables: PREFIX \(name prefix .*\), EXTERNAL_ID \(/,
  );
  expect(readEnvironment(['TARGET_ACCOUNTS'], { TARGET_ACCOUNTS: '' })).toEqual({ TARGET_ACCOUNTS: '' });
});

describe('deployments-api', () => {
  const answers: [RegExp, number, RegExp][] = [
    [/^list-endpoints/, 200, /"Endpoints":\[\]/],
    [/^list-/, 200, /"Deployments":\[\]/],
    [/^(register|try)-/, 422, /Cannot assume .* Check that member-account\.yaml is deployed/],
    [/^request-certificate/, 403, /RequestRules/],
    [/^get-certificate-request/, 404, /No certificate was requested under the name web-prod/],
    [/^request-renewal/, 404, /"Field":"CertificateArn"/],
    [/^freeze/, 200, /"Frozen":true,.*"FrozenBy":"arn:aws:sts::111122223333:assumed-role\/platform-team\//],
    [/^(thaw|get-freeze)/, 200, /"Frozen":false/],
    [/./, 404, /There is no deployment/],
  ];
  const samples = readdirSync(path.join(EVENTS, 'deployments-api'));

  test.each(samples)('answers the sample %s', async (file) => {
    const [, status, body] = answers.find(([name]) => name.test(file)) as (typeof answers)[0];
    const answer = await invoke('deployments-api', sampleOf('deployments-api', file));
    expect(answer).toMatchObject({ statusCode: status, body: expect.stringMatching(body) });
    expect(answer.headers).toEqual({ 'content-type': 'application/json' });
    expect(JSON.parse(answer.body).CorrelationId).toBe('7f3d9c1e-2b64-4f0a-9a55-0c8d2e6b1f47');
    // The other samples are those of a stack that is not frozen.
    if (file.startsWith('freeze-')) {
      await invoke('deployments-api', sampleOf('deployments-api', 'thaw-rollouts.json'));
    }
  });
});

describe('handle-renewal', () => {
  const time = new Date().toISOString();
  const event = (id: string) => ({ ...sampleOf('handle-renewal', 'certificate-renewed.json'), id, time });

  test('handles a renewal once, however often and however differently it is told of it', async () => {
    await registered('installed');
    const first = await invoke('handle-renewal', event('event-1'));
    expect(first).toMatchObject({ Started: 1 });
    const nothing = { Started: 0, Skipped: 1 };
    expect(await invoke('handle-renewal', event('event-1'))).toEqual(nothing);
    expect(await invoke('handle-renewal', event('event-2'))).toEqual(nothing);
    expect(cloud.record.callsOf('StartExecution')).toHaveLength(1);
  });

  test('handles it again when the first attempt failed half-way', async () => {
    await cloud.services.acm.renew(arn);
    const { id } = await registered('installed');
    refuseNext('StartExecution', 'ExecutionLimitExceeded');
    await expect(invoke('handle-renewal', event('event-3'))).rejects.toMatchObject({
      name: 'ExecutionLimitExceeded',
    });
    expect((await inventory.get(id))?.Running?.StartedAt).toBeUndefined();
    await invoke('handle-renewal', event('event-3'));
    expect((await inventory.get(id))?.Running?.StartedAt).toBeDefined();
  });

  test.each([null, 17, 'text', [], { source: 'aws.acm' }])('ignores %j', async (given) => {
    expect(await invoke('handle-renewal', given)).toEqual({ Ignored: expect.any(String) });
  });
});

describe('rollout-ended', () => {
  test('tells people once, whatever EventBridge delivers how often', async () => {
    const { id, name } = await registered('running');
    const event = sampleOf('rollout-ended', 'execution-timed-out.json');
    const given = {
      ...event,
      detail: { ...event.detail, name, executionArn: `${event.detail.stateMachineArn}:${name}` },
    };
    expect(await invoke('rollout-ended', given)).toEqual({ Reported: given.detail.executionArn });
    await invoke('rollout-ended', given);
    await invoke('rollout-ended', { ...given, id: 'another-id' });
    const told = cloud.services.sns.messages.filter(({ message }) => message.includes(id));
    expect(told.map(({ topicArn }) => topicArn)).toEqual([
      'arn:aws:sns:eu-central-1:111122223333:acm-export-notifications',
    ]);
    expect(await inventory.get(id)).toMatchObject({ Status: 'FAILED' });
  });

  test('tells again when telling failed', async () => {
    const { id, name } = await registered('running');
    const event = sampleOf('rollout-ended', 'execution-aborted.json');
    const given = { ...event, detail: { ...event.detail, name, executionArn: `arn:${id}` } };
    refuseNext('Publish', 'KMSDisabledException');
    await expect(invoke('rollout-ended', given)).rejects.toMatchObject({ name: 'KMSDisabledException' });
    expect(await invoke('rollout-ended', given)).toEqual({ Reported: `arn:${id}` });
    const told = cloud.services.sns.messages.filter(({ message }) => message.includes(id));
    expect(told).toHaveLength(1);
  });

  test.each([null, {}, { source: 'aws.states' }])('ignores %j', async (given) => {
    expect(await invoke('rollout-ended', given)).toEqual({ Ignored: expect.any(String) });
  });
});

describe('report-certificate-notice', () => {
  test('tells people once, however often a notice is delivered', async () => {
    await registered('installed');
    const before = cloud.services.sns.messages.length;
    const event = sampleOf('report-certificate-notice', 'certificate-expired.json');
    for (const id of ['one', 'one', 'another-id']) {
      expect(await invoke('report-certificate-notice', { ...event, id })).toEqual({ Reported: arn });
    }
    expect(cloud.services.sns.messages.slice(before)).toHaveLength(1);
  });
});

const events = ['handle-renewal', 'rollout-ended', 'report-certificate-notice', 'reconcile'].flatMap((name) =>
  readdirSync(path.join(EVENTS, name)).map((file) => [name, file] as const),
);
test.each(events)('%s takes the sample %s', async (name, file) => {
  const answer = await invoke(name, sampleOf(name, file));
  expect(Object.keys(answer)[0]).toMatch(/^(Started|Ignored|Reported|Examined)$/);
});

describe('reconcile', () => {
  test('sends one message of a cause and day', async () => {
    cloud.services.acm.remove(arn);
    const messages = () => cloud.services.sns.messages.length;
    const before = messages();
    await invoke('reconcile', { Task: 'certificates' });
    const sent = messages();
    expect(sent).toBeGreaterThan(before);
    await invoke('reconcile', { Task: 'certificates' });
    expect(messages()).toBe(sent);
  });

  test.each([null, {}, { Task: 'all' }])('refuses %j by one named error', async (given) => {
    await expect(invoke('reconcile', given)).rejects.toMatchObject({ name: 'ZodError' });
  });
});

test('idempotency records hold no more than outcomes', async () => {
  const { Items = [] } = await client.send(
    new ScanCommand({ TableName: central.resource('IdempotencyTable').physicalId }),
  );
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
