import { readFileSync } from 'node:fs';
import { SFNClient, StartExecutionCommand } from '@aws-sdk/client-sfn';
import { PutCommand } from '@aws-sdk/lib-dynamodb';
import { beforeEach, describe, expect, test } from '@jest/globals';
import { deploymentIdOf, executionNameOf } from '../../functions/shared/deployment.ts';
import type { SsmDocument } from '../../local/services/ssm-documents.ts';
import { CENTRAL, type Execution, MEMBER, REGION, System } from './support/system.ts';

// What commit 69d6b04 wrote into its table, and the executions that it had started: one deployment whose rollout
// runs, one that is only tried, one that is installed. A stack is upgraded in the middle of all three.

const text = readFileSync(new URL('support/first-edition.json', import.meta.url), 'utf8');
const ARN = 'arn:aws:acm:eu-central-1:111122223333:certificate/web';
const SERIAL = '26000000000000015a5a5a5a5a5a5a5a';

// biome-ignore lint/suspicious/noExplicitAny: items as DynamoDB has them
let written: { Items: any[]; Executions: Execution[] };
const itemOf = (tagValue: string) => written.Items.find(({ TargetTagValue }) => TargetTagValue === tagValue);

let system: System;
let arn: string;
beforeEach(async () => {
  system = await System.create();
  arn = await system.acm.issue('web');
  const serial = system.acm.serialOf(arn);
  // Of the certificate that there is here. Names of executions have the first half of its serial.
  const ofThis = [
    [ARN, arn],
    [SERIAL, serial],
    [SERIAL.slice(0, 16), serial.slice(0, 16)],
  ] as const;
  written = JSON.parse(ofThis.reduce((known, [from, to]) => known.replaceAll(from, to), text));
  for (const Item of written.Items) {
    await system.client.send(new PutCommand({ TableName: system.table, Item }));
  }
  const client = system.target(CENTRAL).client(SFNClient);
  for (const { arn: executionArn, name, input } of written.Executions) {
    const stateMachineArn = executionArn.replace(':execution:', ':stateMachine:').replace(`:${name}`, '');
    await client.send(new StartExecutionCommand({ stateMachineArn, name, input }));
  }
});

test('every deployment is read with the options that this edition knows, by key, from an index and after a write', async () => {
  const deployments = written.Items.filter(({ Item }) => Item === 'deployment');
  expect(deployments).toHaveLength(3);
  const found = await Array.fromAsync(system.inventory.all({ CertName: 'web-prod' }));
  expect(found.map(({ Options }) => Options.RestartServices)).toEqual([[], [], []]);
  for (const { DeploymentId, Options } of deployments) {
    expect(Options.RestartServices).toBeUndefined();
    const read = await system.deployment(DeploymentId);
    expect(read.Options).toEqual({ ...Options, RestartServices: [] });
    expect((await system.inventory.pause(DeploymentId))?.Options).toEqual(read.Options);
  }
  const tried = await system.deployment(itemOf('tried').DeploymentId);
  expect(tried.Rollout?.Trial?.Options).toEqual({
    ...itemOf('tried').Rollout.Trial.Options,
    RestartServices: [],
  });
});

test('ids and names of executions are what they were', () => {
  written = JSON.parse(text);
  for (const item of written.Items.filter(({ Item }) => Item === 'deployment')) {
    expect(deploymentIdOf(item, item.CertName)).toBe(item.DeploymentId);
  }
  for (const { name, input } of written.Executions) {
    const { DeploymentId, Serial, RolloutNumber } = JSON.parse(input);
    expect(executionNameOf(DeploymentId, Serial, RolloutNumber)).toBe(name);
  }
});

describe('a request like the one whose rollout runs', () => {
  const asked = () => ({
    CertificateArn: arn,
    ReloadServices: ['nginx'],
    VerifyPort: 443,
    KeyGroup: 'ssl-cert',
  });

  test('is answered with that rollout: nothing waits behind it', async () => {
    const { status, body } = await system.register(asked());
    expect([status, body.ExecutionArn]).toEqual([202, written.Executions[0]?.arn]);
    const deployment = await system.deployment(body.DeploymentId);
    expect([deployment.RolloutNumber, deployment.Pending]).toEqual([1, undefined]);
    expect(system.sfn.callsOf('StartExecution')).toEqual([]);
  });

  test('but with a unit to restart is another order, which waits', async () => {
    const { body } = await system.register({ ...asked(), RestartServices: ['slapd'] });
    expect((await system.deployment(body.DeploymentId)).Pending).toMatchObject({ Cause: 'REQUEST' });
  });
});

test.each(['web', 'tried'])(
  'the execution in flight of %s goes on with what the member stack knows',
  async (tag) => {
    const target = system.target();
    await target.addNode('i-00000001', { tags: { 'acm-export': tag } });
    installFirstEdition();
    const item = itemOf(tag);
    const execution = written.Executions.find(({ name }) => name.startsWith(item.DeploymentId)) as Execution;
    const { TargetTagValue, Options } = item;
    const Bundle = {
      SecretArn: 'arn:aws:secretsmanager:eu-central-1:444455556666:secret:acm-export/web-prod/x-AbCdEf',
      VersionId: '0a'.repeat(32),
      Serial: item.Rollout.Serial,
      NotAfter: item.NotAfter,
    };
    const input = { ...JSON.parse(execution.input), Bundle };
    expect(await system.function('start-installation')(input)).toMatchObject({
      Status: 'IN_PROGRESS',
    });
    const [{ parameters = {} } = {}] = target.automations();
    expect(parameters).toMatchObject({
      TargetTagValue: [TargetTagValue],
      ReloadServices: [Options.ReloadServices.join(' ')],
    });
    expect(Object.keys(parameters)).not.toContain('RestartServices');
  },
);

/** The parameters of install-on-fleet in a member stack of that edition. */
const FIRST_EDITION = [
  ...['CanaryNodeId', 'TargetTagKey', 'TargetTagValue', 'MaxConcurrency', 'MaxErrors'],
  ...['SecretArn', 'VersionId', 'CertName', 'DeploymentId', 'RolloutNumber', 'CorrelationId'],
  ...['ReloadServices', 'VerifyPort', 'KeyFormat', 'ExtraFormats', 'KeyMode', 'KeyGroup', 'DryRun'],
];

/** The member stack's runbook becomes that of that edition; returns what updates it. */
function installFirstEdition(): () => void {
  const { ssmDocuments } = system.cloud.services;
  const found = ssmDocuments.find(MEMBER, REGION, 'acm-export-install-on-fleet') as SsmDocument;
  const later = Object.keys(found.content.parameters ?? {}).filter((name) => !FIRST_EDITION.includes(name));
  const ofThen = (key: string, value: unknown) => (later.includes(key) ? undefined : value);
  const content = JSON.parse(JSON.stringify(found.content, ofThen));
  ssmDocuments.create(MEMBER, REGION, { ...found, content });
  return () => ssmDocuments.create(MEMBER, REGION, found);
}

describe('a member stack of that edition', () => {
  const message =
    /^TargetNotPrepared: The member stack in account 444455556666, Region eu-central-1 is older than this stack: .* Update member-account\.yaml there\. AWS says: .*RestartServices/;

  test('refuses an order with a unit to restart: the rollout says which stack is to be updated', async () => {
    const target = system.target();
    await target.addNode('i-00000002', { tags: { 'acm-export': 'new' } });
    const update = installFirstEdition();
    const order = { CertificateArn: arn, TargetTagValue: 'new', RestartServices: ['slapd'] };
    const { body } = await system.register(order);
    await system.runAll();
    const failed = await system.deployment(body.DeploymentId);
    expect([failed.Status, failed.LastError]).toEqual(['FAILED', expect.stringMatching(message)]);
    const told = system.messages().find(({ Message }) => Message.includes(body.DeploymentId));
    expect(told?.Message).toContain('What to do: Deploy or update member-account.yaml');

    update();
    await system.rollouts(body.DeploymentId);
    await system.runAll();
    expect(await system.deployment(body.DeploymentId)).toMatchObject({ Status: 'INSTALLED' });
    expect(target.automations().at(-1)?.parameters.RestartServices).toEqual(['slapd']);
  });

  test('goes on taking an order without one', async () => {
    await system.target().addNode('i-00000002', { tags: { 'acm-export': 'new' } });
    installFirstEdition();
    const { body } = await system.register({
      CertificateArn: arn,
      TargetTagValue: 'new',
      RestartServices: [],
    });
    await system.runAll();
    expect(await system.deployment(body.DeploymentId)).toMatchObject({ Status: 'INSTALLED' });
  });
});
