import { readFileSync } from 'node:fs';
import { PutCommand } from '@aws-sdk/lib-dynamodb';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { deploymentIdOf, executionNameOf } from '../../functions/shared/deployment.ts';
import { startInstallation } from '../../functions/start-installation/start-installation.ts';
import type { Execution } from './support/fake-step-functions.ts';
import { type Database, startDatabase } from './support/inventory-table.ts';
import { System } from './support/system.ts';

// What commit 69d6b04 wrote into its table, and the executions that it had started: one deployment whose rollout
// runs, one that is only tried, one that is installed. A stack is upgraded in the middle of all three.

// biome-ignore lint/suspicious/noExplicitAny: items as DynamoDB has them
const written: { Items: any[]; Executions: Execution[] } = JSON.parse(
  readFileSync(new URL('support/first-edition.json', import.meta.url), 'utf8'),
);
const itemOf = (tagValue: string) => written.Items.find(({ TargetTagValue }) => TargetTagValue === tagValue);

let database: Database;
let system: System;
let arn: string;
beforeAll(async () => {
  database = await startDatabase();
});
afterAll(() => database.stop());
beforeEach(async () => {
  system = new System(database, await database.createTable());
  arn = await system.acm.issue('web');
  for (const Item of written.Items) {
    await database.client.send(new PutCommand({ TableName: system.table, Item }));
  }
  for (const execution of written.Executions) {
    system.sfn.executions.set(execution.arn, { ...execution });
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
    const { ssm } = system.target();
    ssm.addNode('i-1', { tags: { 'acm-export': tag } });
    ssm.documentParameters = FIRST_EDITION;
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
    expect(await startInstallation(input, system.deps({}, 'start-installation'))).toMatchObject({
      Status: 'IN_PROGRESS',
    });
    const [{ parameters = {} } = {}] = [...ssm.automations.values()];
    expect(parameters).toMatchObject({ TargetTagValue, ReloadServices: Options.ReloadServices.join(' ') });
    expect(Object.keys(parameters)).not.toContain('RestartServices');
  },
);

/** The parameters of install-on-fleet in a member stack of that edition. */
const FIRST_EDITION = [
  ...['CanaryNodeId', 'TargetTagKey', 'TargetTagValue', 'MaxConcurrency', 'MaxErrors'],
  ...['SecretArn', 'VersionId', 'CertName', 'DeploymentId', 'RolloutNumber', 'CorrelationId'],
  ...['ReloadServices', 'VerifyPort', 'KeyFormat', 'ExtraFormats', 'KeyMode', 'KeyGroup', 'DryRun'],
];

describe('a member stack of that edition', () => {
  const message =
    /^TargetNotPrepared: The member stack in account 444455556666, Region eu-central-1 is older than this stack: .* Update member-account\.yaml there\. AWS says: .*RestartServices/;

  test('refuses an order with a unit to restart: the rollout says which stack is to be updated', async () => {
    const { ssm } = system.target();
    ssm.addNode('i-2', { tags: { 'acm-export': 'new' } });
    ssm.documentParameters = FIRST_EDITION;
    const order = { CertificateArn: arn, TargetTagValue: 'new', RestartServices: ['slapd'] };
    const { body } = await system.register(order);
    await system.runAll();
    const failed = await system.deployment(body.DeploymentId);
    expect([failed.Status, failed.LastError]).toEqual(['FAILED', expect.stringMatching(message)]);
    const told = system.messages().find(({ Message }) => Message.includes(body.DeploymentId));
    expect(told?.Message).toContain('What to do: Deploy or update member-account.yaml');

    delete ssm.documentParameters;
    await system.rollouts(body.DeploymentId);
    await system.runAll();
    expect(await system.deployment(body.DeploymentId)).toMatchObject({ Status: 'INSTALLED' });
    expect([...ssm.automations.values()].at(-1)?.parameters.RestartServices).toBe('slapd');
  });

  test('goes on taking an order without one', async () => {
    const { ssm } = system.target();
    ssm.addNode('i-2', { tags: { 'acm-export': 'new' } });
    ssm.documentParameters = FIRST_EDITION;
    const { body } = await system.register({
      CertificateArn: arn,
      TargetTagValue: 'new',
      RestartServices: [],
    });
    await system.runAll();
    expect(await system.deployment(body.DeploymentId)).toMatchObject({ Status: 'INSTALLED' });
  });
});
