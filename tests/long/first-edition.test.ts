import { readFileSync } from 'node:fs';
import { SFNClient, StartExecutionCommand } from '@aws-sdk/client-sfn';
import { SSMClient, StartAutomationExecutionCommand } from '@aws-sdk/client-ssm';
import { GetCommand, PutCommand, UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { beforeEach, describe, expect, test } from '@jest/globals';
import type { SsmDocument } from 'local-cloud';
import {
  deploymentIdOf,
  firstEditionNameOf,
  orderOf,
  parseExecutionName,
  versionIdOf,
  type Wanted,
} from '../../functions/domain/deployment.ts';
import { FIRST_EDITION_NAMES } from '../../functions/inventory/first-edition.ts';

import type { ScriptedNode } from '../../local/scripted-node.ts';
import { installMemberRoles } from '../functions/support/editions.ts';
import { interleave } from '../functions/support/interleave.ts';
import { CENTRAL, type Execution, MEMBER, REGION, System } from '../functions/support/system.ts';

// What commit 69d6b04 wrote into its table, the executions that it had started and the inputs of their states, and what
// its API answered. Each deployment has a tag of its own, which says how it is. A stack is upgraded in the middle of all.

// biome-ignore lint/suspicious/noExplicitAny: items and answers as they are written
type Written = Record<string, any>;
interface Fixture {
  Now: string;
  Items: Written[];
  Executions: Execution[];
  Inputs: Record<string, { state: string; data: Written }>;
  Automations: { AutomationExecutionId: string; parameters: Record<string, string> }[];
  Answers: Record<string, Written>;
}
const text = readFileSync(new URL('../functions/support/first-edition.json', import.meta.url), 'utf8');
const original: Fixture = JSON.parse(text);
const TAGS = original.Items.filter(({ Item }) => Item === 'deployment').map(
  ({ TargetTagValue }) => TargetTagValue,
);
/** The certificates that it had, with the serials of their versions. */
const CERTIFICATES = {
  web: ['26000000000000015a5a5a5a5a5a5a5a'],
  renewed: ['4b000000000000025a5a5a5a5a5a5a5a', '70000000000000035a5a5a5a5a5a5a5a'],
};
const arnOf = (name: string) => `arn:aws:acm:eu-central-1:111122223333:certificate/${name}`;

/** The fixture, of the certificates and the Automation that there are here. */
let written: Fixture;
const itemOf = (tag: string) =>
  written.Items.find(
    ({ Item, TargetTagValue }) => Item === 'deployment' && TargetTagValue === tag,
  ) as Written;
const idOf = (tag: string) => itemOf(tag).DeploymentId as string;
const executionOf = (tag: string) =>
  written.Executions.find(({ name }) => name.startsWith(idOf(tag))) as Execution;

let system: System;
let arn: string;
let newest: string;
beforeEach(async () => {
  system = await System.create();
  arn = await system.acm.issue('web');
  const renewed = await system.acm.issue('renewed');
  newest = await system.acm.renew(renewed);
  system.advance({ seconds: (Date.parse(original.Now) - system.clock.now().getTime()) / 1000 });
  for (const tag of TAGS.filter((name) => name !== 'waiting')) {
    const ids = original.Items.filter(
      ({ NodeId, DeploymentId }) => NodeId && DeploymentId === originalIdOf(tag),
    );
    for (const { NodeId } of ids.length > 0 ? ids : [{ NodeId: NODES[tag] }]) {
      await system.target().addNode(NodeId, { tags: { 'acm-export': tag } });
    }
  }
  let changed = text;
  for (const [name, serials] of Object.entries(CERTIFICATES)) {
    const here = name === 'web' ? arn : renewed;
    for (const [index, serial] of serials.entries()) {
      const now = system.acm.held(here).versions[index]?.serial.replaceAll(':', '') as string;
      changed = changed
        .replaceAll(versionIdOf(arnOf(name), serial), versionIdOf(here, now))
        .replaceAll(serial, now)
        // Names of executions have the first half of it.
        .replaceAll(serial.slice(0, 16), now.slice(0, 16));
    }
    changed = changed.replaceAll(arnOf(name), here);
  }
  for (const { AutomationExecutionId: then, parameters } of JSON.parse(changed).Automations) {
    const { AutomationExecutionId = '' } = await system
      .target()
      .client(SSMClient)
      .send(
        new StartAutomationExecutionCommand({
          DocumentName: 'acm-export-install-on-fleet',
          Parameters: Object.fromEntries(
            Object.entries(parameters).map(([name, value]) => [name, [String(value)]]),
          ),
        }),
      );
    changed = changed.replaceAll(then, AutomationExecutionId);
  }
  written = JSON.parse(changed);
  for (const Item of written.Items) {
    await system.client.send(new PutCommand({ TableName: system.table, Item }));
  }
  for (const { name, input } of written.Executions) {
    await startExecution(name, input);
  }
  written.Items.filter(({ NodeId, Serial }) => NodeId && Serial).forEach(holdAsRecorded);
});

/** A node shows in a look what that edition installed there, until it is installed anew. */
function holdAsRecorded({ NodeId, DeploymentId, RolloutNumber, Serial }: Written): void {
  const node = system.target().nodes.find((one) => one.NodeId === NodeId) as ScriptedNode;
  const line = ['certificate', 'web-prod', DeploymentId, RolloutNumber, Serial, NOT_AFTER, 'ok', '-'];
  const says = () => ({ stdout: `${line.join('\t')}\nend\t1\t0\n`, exitCode: 0 });
  Object.defineProperty(node, 'saysOnLook', { get: () => (node.installed ? undefined : says) });
}
const NOT_AFTER = '2027-06-09T23:59:59Z';

/** Nodes of which the fixture has no record yet. */
const NODES: Record<string, string> = {
  trialled: 'i-00000005',
  start: 'i-00000007',
  check: 'i-00000008',
  unstarted: 'i-00000009',
  deleting: 'i-0000000a',
  web: 'i-0000000b',
  tried: 'i-0000000c',
};
const originalIdOf = (tag: string) =>
  original.Items.find(({ TargetTagValue }) => TargetTagValue === tag)?.DeploymentId;

/** As a function of that edition did. */
const startExecution = (name: string, input: string) =>
  system
    .target(CENTRAL)
    .client(SFNClient)
    .send(
      new StartExecutionCommand({
        stateMachineArn: `arn:aws:states:${REGION}:${CENTRAL}:stateMachine:acm-export-certificate-rollout`,
        name,
        input,
      }),
    );

const verb = (name: string, tag: string) =>
  system.api('POST', `/certificates/{CertName}/deployments/{DeploymentId}/${name}`, {
    path: { CertName: 'web-prod', DeploymentId: idOf(tag) },
  });

/** As the schedules do it, and the executions meanwhile. */
async function letTimePass(hours: number): Promise<void> {
  for (let sweep = 0; sweep < hours * 4; sweep += 1) {
    await system.reconcile('nodes');
    await system.reconcile('certificates');
    await system.runAll();
    system.advance({ minutes: 15 });
  }
}

test.each(TAGS)('a GET of the deployment %s answers what it answered before', async (tag) => {
  const path = { CertName: 'web-prod', DeploymentId: idOf(tag) };
  const { body } = await system.api('GET', '/certificates/{CertName}/deployments/{DeploymentId}', { path });
  const { Reason, NextAttemptAt: _, CorrelationId: __, Seen, LastTrial, ...answer } = body;
  const trial = answer.Rollout?.Trial;
  for (const options of [answer.Options, trial?.Options]) {
    expect(options?.RestartServices ?? []).toEqual([]);
    delete options?.RestartServices;
  }
  expect(trial?.ExcludeNodeIds ?? []).toEqual([]);
  delete trial?.ExcludeNodeIds;
  const before = written.Answers[tag] as Record<string, unknown>;
  expect(answer).toEqual({
    ...before,
    // What this edition shows beside that: options at the top level, and a status for what was only tried.
    ExcludeNodeIds: [],
    RestartServices: [],
    ...answer.Options,
    ...(before.NotAfter ? { EarliestNotAfter: before.NotAfter } : {}),
    ...(before.DryRunOnly ? { Status: 'TRIED' } : {}),
  });
  expect(Seen !== undefined).toBe(answer.Status === 'INSTALLED');
  const trials: Record<string, string> = { tried: 'RUNNING', trialled: 'PASSED' };
  expect(LastTrial?.Status).toBe(trials[tag]);
  expect(Reason).toMatch(/^[A-Z].*\.$/);
  const listed = await Array.fromAsync(system.inventory.fleet.all({ CertName: 'web-prod' }));
  expect(listed.find(({ DeploymentId }) => DeploymentId === idOf(tag))).toEqual(
    await system.inventory.get(idOf(tag)),
  );
});

test('what was only tried is listed as such, once', async () => {
  for (const [Status, expected] of [
    ['TRIED', [idOf('tried'), idOf('trialled')]],
    ['WAITING', [idOf('waiting')]],
  ] as const) {
    const { body } = await system.api('GET', '/deployments', { query: { Status } });
    const listed = body.Deployments.map(({ DeploymentId }: { DeploymentId: string }) => DeploymentId);
    expect(listed.sort()).toEqual(expected.toSorted());
  }
});

test.each(['mail', 'start', 'degraded'])(
  'what the first edition answered of the deployment %s can be sent, and changes no order',
  async (tag) => {
    const order = async () => orderOf((await system.inventory.get(idOf(tag))) as never);
    const before = await order();
    const { status } = await system.api('POST', '/certificates/{CertName}/deployments', {
      path: { CertName: 'web-prod' },
      body: written.Answers[tag],
    });
    expect([status, await order()]).toEqual([
      202,
      { ...before, Options: { ...before.Options, RestartServices: [] } },
    ]);
  },
);

describe('from then on', () => {
  test.each<[string, number, object]>([
    ['mail', 0, { Status: 'INSTALLED' }],
    ['web', 1, { Status: 'INSTALLED', Options: { VerifyPort: 443, KeyGroup: 'ssl-cert' } }],
    ['unstarted', 1, { Status: 'INSTALLED' }],
    ['start', 2, { Status: 'INSTALLED', Options: { VerifyPort: 8443 } }],
    ['failed', 1, { Status: 'INSTALLED', Failures: 0 }],
    ['degraded', 1, { Status: 'INSTALLED' }],
    ['waiting', 0, { Status: 'WAITING' }],
    ['paused', 0, { Status: 'INSTALLED', Pending: { Cause: 'REQUEST' } }],
    ['tried', 1, { DryRunOnly: true, LastDryRun: { Status: 'INSTALLED' } }],
    ['trialled', 0, { DryRunOnly: true, LastDryRun: { Status: 'INSTALLED' } }],
  ])('%s has %i executions more, and ends as it should', async (tag, executions, expected) => {
    await letTimePass(2);
    const { Rollouts, ...deployment } = await system.deployment(idOf(tag));
    expect(deployment).toMatchObject(expected);
    expect(Rollouts).toBe(executions);
    expect(system.messages().filter(({ Message }) => Message.includes(idOf(tag)))).toEqual([]);
  });

  test('a renewal that waited behind a rollout is served', async () => {
    await letTimePass(2);
    expect(await system.deployment(idOf('check'))).toMatchObject({ Status: 'INSTALLED', Serial: newest });
  });

  test('a resumed deployment gets what was asked for before its pause', async () => {
    await verb('resume', 'paused');
    await system.runAll();
    expect(await system.deployment(idOf('paused'))).toMatchObject({
      Options: { VerifyPort: 8443 },
      Rollouts: 1,
    });
  });

  test('what is paused is listed, from the first sweep over nodes on', async () => {
    const listed = async () => {
      const { body } = await system.api('GET', '/deployments', { query: { Status: 'PAUSED' } });
      return body.Deployments.map(({ DeploymentId }: { DeploymentId: string }) => DeploymentId);
    };
    expect(await listed()).toEqual([]);
    await system.reconcile('nodes');
    expect(await listed()).toEqual([idOf('paused')]);
    await verb('resume', 'paused');
    expect(await listed()).toEqual([]);
  });

  test('a DELETE that was cut off is finished, and told', async () => {
    await letTimePass(1);
    expect(await system.inventory.get(idOf('deleting'))).toBeUndefined();
    expect(system.sfn.executions.get(executionOf('deleting').arn)?.status).not.toBe('RUNNING');
    expect(system.messages().map(({ Subject }) => Subject)).toContain(
      'DELETE of web-prod: acm-export=deleting',
    );
  });

  test('a number is higher than all that went before, and no name is used twice', async () => {
    await letTimePass(1);
    const names = [...system.sfn.executions.values()].map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    for (const tag of TAGS.filter((name) => name !== 'deleting')) {
      const { RolloutNumber } = await system.deployment(idOf(tag));
      expect(RolloutNumber).toBeGreaterThanOrEqual(itemOf(tag).RolloutNumber);
      expect(names.filter((name) => name.startsWith(idOf(tag))).every(parseExecutionName)).toBe(true);
    }
  });

  test.each([
    [
      'RolloutsEnabled is false',
      async (isStopped: boolean) => {
        system.rolloutsEnabled = !isStopped;
      },
    ],
    ['All rollouts are frozen', (isStopped: boolean) => (isStopped ? system.freeze() : system.thaw())],
  ])('nothing begins or starts while it says "%s", and all is made up for after', async (words, stop) => {
    // A freeze takes seconds to be known everywhere: the event is older.
    const time = system.clock.now().toISOString();
    await stop(true);
    await system.renewal(itemOf('check').CertificateArn, { time });
    for (const { arn: execution } of written.Executions) {
      while (await system.step(execution));
    }
    await letTimePass(2);
    expect(system.sfn.executions.size).toBe(written.Executions.length);
    expect((await system.deployment(idOf('unstarted'))).Reason).toContain(words);
    await stop(false);
    await letTimePass(1);
    expect(await system.deployment(idOf('unstarted'))).toMatchObject({ Status: 'INSTALLED', Rollouts: 1 });
    expect(await system.deployment(idOf('start'))).toMatchObject({
      Options: { VerifyPort: 8443 },
      Rollouts: 2,
    });
  });
});

describe('an item', () => {
  const raw = async (tag: string) =>
    (
      await system.client.send(
        new GetCommand({ TableName: system.table, Key: { DeploymentId: idOf(tag), Item: 'deployment' } }),
      )
    ).Item as Written;

  test.each(['mail', 'start', 'failed', 'paused'])(
    '(%s) is written anew by its first change, as a whole',
    async (tag) => {
      const before = await system.inventory.get(idOf(tag));
      await system.register({ CertificateArn: arn, TargetTagValue: tag, KeyGroup: 'ssl-cert' });
      const item = await raw(tag);
      if (tag === 'paused') {
        expect(item).toEqual(itemOf(tag));
        return;
      }
      expect(FIRST_EDITION_NAMES.filter((name) => item[name] !== undefined)).toEqual([]);
      expect(item.Observed).toEqual(before?.Observed);
      expect(item.Wanted.Generation).toBe((before?.Wanted?.Generation ?? 0) + 1);
    },
  );

  test('is changed once, wherever the process of a request dies, and the request is repeated', async () => {
    for (let call = 1; call <= 7; call += 1) {
      for (const when of ['before', 'after'] as const) {
        await system.client.send(new PutCommand({ TableName: system.table, Item: itemOf('mail') }));
        const ask = (wrappers = {}) =>
          system.register({ CertificateArn: arn, TargetTagValue: 'mail', VerifyPort: 8443 }, wrappers);
        await interleave([{ run: (around) => ask({ around }), crash: { call, when } }], () => 0);
        await ask();
        await system.runAll();
        const { Generation } = (await system.inventory.get(idOf('mail')))?.Observed ?? {};
        expect([call, when, Generation]).toEqual([call, when, 2]);
        system.advance({ minutes: 1 });
      }
    }
  });

  test.each<[string, string, string, object]>([
    [
      'a request began to wait',
      'web',
      'Pending',
      { Serial: 'ff', Cause: 'REQUEST', CorrelationId: 'late', CertificateArn: '' },
    ],
    [
      'a rollout was claimed',
      'mail',
      'Rollout',
      { Serial: 'ff', Cause: 'REQUEST', CorrelationId: 'late', ClaimedAt: 'now', CertificateArn: '' },
    ],
  ])('to which %s meanwhile, by a function of that edition, keeps it', async (_, tag, name, value) => {
    const seen = await system.inventory.get(idOf(tag));
    await system.client.send(
      new UpdateCommand({
        TableName: system.table,
        Key: { DeploymentId: idOf(tag), Item: 'deployment' },
        UpdateExpression: 'SET #name = :value',
        ExpressionAttributeNames: { '#name': name },
        ExpressionAttributeValues: { ':value': value },
      }),
    );
    const wanted = { ...(seen?.Wanted as Wanted), Generation: 7 };
    expect(await system.inventory.want(idOf(tag), seen, wanted)).toBeUndefined();
    expect((await raw(tag))[name]).toEqual(value);
  });

  test('that a function of that edition wrote after this one did is read as what was written last', async () => {
    await system.register({ CertificateArn: arn, TargetTagValue: 'mail', VerifyPort: 8443 });
    await system.runAll();
    const { RolloutNumber } = await raw('mail');
    // The claim of a renewal, by a function that was still running when the stack was updated.
    const { Rollout } = itemOf('web');
    await system.client.send(
      new UpdateCommand({
        TableName: system.table,
        Key: { DeploymentId: idOf('mail'), Item: 'deployment' },
        UpdateExpression: 'SET Rollout = :claim, RolloutNumber = :number, #Status = :status',
        ExpressionAttributeNames: { '#Status': 'Status' },
        ExpressionAttributeValues: {
          ':claim': Rollout,
          ':number': RolloutNumber + 1,
          ':status': 'ROLLING_OUT',
        },
      }),
    );
    const name = firstEditionNameOf(idOf('mail'), Rollout.Serial, RolloutNumber + 1);
    const input = JSON.stringify({ DeploymentId: idOf('mail'), RolloutNumber: RolloutNumber + 1 });
    const { executionArn } = await startExecution(name, input);
    await system.runAll();
    expect(await system.deployment(idOf('mail'))).toMatchObject({
      Status: 'INSTALLED',
      Options: { VerifyPort: 8443 },
      LastRollout: { ExecutionArn: executionArn },
    });
  });

  test('forgets a rollout of this edition that others of that edition followed, after a stack went back to it', async () => {
    const { LastRollout, RolloutNumber, CreatedAt, ...item } = itemOf('mail');
    const Wanted = { ...LastRollout, Generation: 1, NotBefore: '' };
    const Running = {
      ...Wanted,
      RolloutNumber: RolloutNumber - 1,
      BeganAt: CreatedAt,
      StartedAt: CreatedAt,
      StartDelaySeconds: 0,
      Order: item,
    };
    const Item = { ...itemOf('mail'), Wanted, Running };
    await system.client.send(new PutCommand({ TableName: system.table, Item }));
    const { Rollouts } = await system.deployment(idOf('mail'));
    system.advance({ hours: 1 });
    await system.reconcile('nodes');
    expect(system.messages().filter(({ Message }) => Message.includes(idOf('mail')))).toEqual([]);
    expect((await system.deployment(idOf('mail'))).Rollouts).toBe(Rollouts);
    await system.rollouts(idOf('mail'));
    await system.runAll();
    expect(await system.deployment(idOf('mail'))).toMatchObject({
      Status: 'INSTALLED',
      Rollouts: Rollouts + 1,
    });
  });
});

test('ids and names of executions are what they were', () => {
  for (const tag of TAGS) {
    expect(deploymentIdOf(itemOf(tag) as never, itemOf(tag).CertName)).toBe(idOf(tag));
  }
  for (const { name, input } of original.Executions) {
    const { DeploymentId, Serial, RolloutNumber } = JSON.parse(input);
    expect(firstEditionNameOf(DeploymentId, Serial, RolloutNumber)).toBe(name);
    expect(parseExecutionName(name)).toEqual({ deploymentId: DeploymentId, rolloutNumber: RolloutNumber });
  }
});

describe('an execution in flight', () => {
  const ids = ({ DeploymentId, RolloutNumber }: Written) => ({ DeploymentId, RolloutNumber });

  test('that ends otherwise is recorded and told; that of a dry run is recorded only', async () => {
    for (const tag of ['web', 'tried']) {
      system.sfn.end(executionOf(tag).arn, 'ABORTED');
      await system.report(system.executionEvent({ ...executionOf(tag), status: 'ABORTED' }));
    }
    expect(await system.deployment(idOf('web'))).toMatchObject({
      Status: 'FAILED',
      LastRollout: { Number: 1 },
    });
    expect(await system.deployment(idOf('tried'))).toMatchObject({ LastDryRun: { Status: 'FAILED' } });
    expect(system.messages()).toHaveLength(1);
  });

  test('in the state Start goes on with the payload of that edition', async () => {
    const { data } = written.Inputs[executionOf('start').name] as unknown as { data: never };
    expect(await system.function('start-installation')(data)).toEqual({
      Status: 'IN_PROGRESS',
      AutomationExecutionId: expect.any(String),
      Deadline: expect.any(String),
      Polls: 0,
      WaitSeconds: expect.any(Number),
    });
    // That edition kept no copy of the order: its rollouts bring the order as it is.
    expect(system.target().automations().at(-1)?.parameters.VerifyPort).toEqual(['8443']);
  });

  test('in the state Check goes on with the payload of that edition', async () => {
    const { data } = written.Inputs[executionOf('check').name] as unknown as { data: Written };
    const { Serial, VersionId } = data.Bundle;
    const line = { Outcome: 'installed', ExitCode: 0, Serial, VersionId, ...ids(data) };
    const node = system.target().nodes.find(({ NodeId }) => NodeId === NODES.check);
    Object.assign(node as object, { says: () => ({ stdout: `${JSON.stringify(line)}\n`, exitCode: 0 }) });
    await system.letNodesAnswer();
    const done = await system.function('check-installation')(data as never);
    expect(done).toEqual({ Status: 'INSTALLED' });
    expect(await system.deployment(idOf('check'))).toMatchObject({
      LastRollout: { Serial },
      Pending: { Cause: 'RENEWAL', Serial: newest },
    });
  });

  test('is the answer to a request like the one that it works for: nothing waits behind it', async () => {
    const asked = { ReloadServices: ['nginx'], VerifyPort: 443, KeyGroup: 'ssl-cert' };
    const { status, body } = await system.register({ CertificateArn: arn, ...asked });
    expect([status, body.ExecutionArn]).toEqual([202, executionOf('web').arn]);
    const deployment = await system.deployment(body.DeploymentId);
    expect([deployment.RolloutNumber, deployment.Pending]).toEqual([1, undefined]);
    expect(system.sfn.callsOf('StartExecution')).toEqual([]);
    // With a unit to restart it is another order, which waits.
    await system.register({ CertificateArn: arn, ...asked, RestartServices: ['slapd'] });
    expect((await system.deployment(body.DeploymentId)).Pending).toMatchObject({ Cause: 'REQUEST' });
  });
});

test.each(['web', 'tried'])(
  'the execution in flight of %s goes on with what the member stack knows',
  async (tag) => {
    const target = system.target();
    installFirstEdition();
    const item = itemOf(tag);
    const execution = executionOf(tag);
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
    const { parameters = {} } = target.automations().at(-1) ?? {};
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

const SINCE_THEN = ['IsForSomeNodes', 'InstallOnNodes'];

/** The member stack's documents and roles become those of that edition; returns what updates them. */
function installFirstEdition(): () => void {
  const { ssmDocuments } = system.cloud.services;
  const updateRoles = installMemberRoles(system, 'first');
  const look = ssmDocuments.find(MEMBER, REGION, 'acm-export-look-at-node') as SsmDocument;
  ssmDocuments.delete(MEMBER, REGION, look.name);
  const found = ssmDocuments.find(MEMBER, REGION, 'acm-export-install-on-fleet') as SsmDocument;
  const later = Object.keys(found.content.parameters ?? {}).filter((name) => !FIRST_EDITION.includes(name));
  const ofThen = (key: string, value: unknown) => (later.includes(key) ? undefined : value);
  const content = JSON.parse(JSON.stringify(found.content, ofThen));
  // It had no choice between all nodes and some.
  content.mainSteps = content.mainSteps.filter(({ name }: { name: string }) => !SINCE_THEN.includes(name));
  ssmDocuments.create(MEMBER, REGION, { ...found, content });
  return () => {
    ssmDocuments.create(MEMBER, REGION, found);
    ssmDocuments.create(MEMBER, REGION, look);
    updateRoles();
  };
}

describe('a member stack of that edition', () => {
  // AWS need not say why it does not take a parameter that the owner of the account may limit.
  const message =
    /^NotAllowedByOwner: The member stack of account 444455556666, Region eu-central-1 does not seem to allow .* or not the services slapd .* If it allows them, it is older than this stack, .* update member-account\.yaml there\. AWS says: .*RestartServices/;

  test('refuses an order with a unit to restart: the rollout says which stack is to be updated', async () => {
    const target = system.target();
    await target.addNode('i-0000000d', { tags: { 'acm-export': 'new' } });
    const update = installFirstEdition();
    const order = { CertificateArn: arn, TargetTagValue: 'new', RestartServices: ['slapd'] };
    const { body } = await system.register(order);
    await system.runAll();
    const failed = await system.deployment(body.DeploymentId);
    expect([failed.Status, failed.LastError]).toEqual(['FAILED', expect.stringMatching(message)]);
    const told = system.messages().find(({ Message }) => Message.includes(body.DeploymentId));
    expect(told?.Message).toContain('Then update member-account.yaml there');

    update();
    await system.rollouts(body.DeploymentId);
    await system.runAll();
    expect(await system.deployment(body.DeploymentId)).toMatchObject({ Status: 'INSTALLED' });
    expect(target.automations().at(-1)?.parameters.RestartServices).toEqual(['slapd']);
  });

  test('goes on taking an order without one', async () => {
    await system.target().addNode('i-0000000d', { tags: { 'acm-export': 'new' } });
    installFirstEdition();
    const { body } = await system.register({
      CertificateArn: arn,
      TargetTagValue: 'new',
      RestartServices: [],
    });
    await system.runAll();
    expect(await system.deployment(body.DeploymentId)).toMatchObject({ Status: 'INSTALLED' });
  });

  test('refuses looks, which is told once a day until it is updated; certificates are delivered all the same', async () => {
    await system.target().addNode('i-0000000d', { tags: { 'acm-export': 'new' } });
    const update = installFirstEdition();
    const { body } = await system.register({ CertificateArn: arn, TargetTagValue: 'new', VerifyPort: 443 });
    await system.runAll();
    const told = () => system.messages().filter(({ Subject }) => Subject.startsWith('No look at servers of'));
    await letTimePass(6);
    expect(told()).toEqual([
      {
        Subject: `No look at servers of ${MEMBER}/${REGION}`,
        Message: expect.stringContaining('What to do: Update member-account.yaml there'),
      },
    ]);
    expect((await system.reconcile('nodes')).Errors).toBe(0);
    const Serial = await system.acm.renew(arn);
    await system.renewal(arn);
    await system.runAll();
    expect(await system.deployment(body.DeploymentId)).toMatchObject({ Status: 'INSTALLED', Serial });

    update();
    await look();
    await letTimePass(24);
    expect(told()).toHaveLength(1);
    const [record] = await system.inventory.nodes.all(body.DeploymentId);
    expect(record?.Serves).toMatchObject({ Serial, Seen: 'port' });
  });
});

/** An hour later: the first sweep sends it, the next one reads it. */
async function look(): Promise<void> {
  system.advance({ hours: 1 });
  for (let sweep = 0; sweep < 2; sweep += 1) {
    await system.reconcile('nodes');
    for (let answers = 0; answers < 10; answers += 1) {
      await system.letNodesAnswer();
    }
    system.advance({ minutes: 5 });
  }
}

test('a node that the edition before recorded is known by the first look for what it serves', async () => {
  const { DeploymentId, Serial } = itemOf('mail');
  const record = async () => (await system.inventory.nodes.all(DeploymentId))[0];
  const before = await record();
  expect(before).not.toHaveProperty('Serves');
  await look();
  const { VersionId } = itemOf('mail');
  const Serves = { Serial, VersionId, NotAfter: NOT_AFTER, SeenAt: expect.any(String), Seen: 'files' };
  expect(await record()).toEqual({ ...before, Serves });
  expect(await system.deployment(DeploymentId)).toMatchObject({ Status: 'INSTALLED', Rollouts: 0 });
});

test('what the central stack of that edition starts in a member stack of this one installs on every node', async () => {
  const target = system.target();
  const nodes = [
    await target.addNode('i-0000000d', { tags: { 'acm-export': 'new' } }),
    await target.addNode('i-0000000e', { tags: { 'acm-export': 'new' } }),
  ];
  await system.register({ CertificateArn: arn, TargetTagValue: 'new' });
  await system.runAll();
  const isOurs = (given: Record<string, string[]>) => given.TargetTagValue?.[0] === 'new';
  const { parameters = {} } = target.automations().find((one) => isOurs(one.parameters)) ?? {};
  const known = Object.entries(parameters).filter(([name]) => FIRST_EDITION.includes(name));
  const RolloutNumber = String(Number(parameters.RolloutNumber?.[0]) + 1);
  const { AutomationExecutionId } = await target.client(SSMClient).send(
    new StartAutomationExecutionCommand({
      DocumentName: 'acm-export-install-on-fleet',
      Parameters: { ...Object.fromEntries(known), RolloutNumber: [RolloutNumber] },
    }),
  );
  for (let answers = 0; answers < 10; answers += 1) {
    await system.letNodesAnswer();
    system.advance({ seconds: 10 });
  }
  const started = target.automations().find(({ id }) => id === AutomationExecutionId);
  expect(started?.status).toBe('Success');
  expect(nodes.map(({ installed }) => installed?.RolloutNumber)).toEqual([
    Number(RolloutNumber),
    Number(RolloutNumber),
  ]);
});
