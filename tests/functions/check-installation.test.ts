import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import {
  type CheckInstallationInput,
  checkInstallation,
} from '../../functions/check-installation/check-installation.ts';
import type { RolloutInput } from '../../functions/shared/deployment.ts';
import { parseResultLine } from '../../functions/shared/result-line.ts';
import { awsError } from './support/fake-service.ts';
import { type Database, startDatabase } from './support/inventory-table.ts';
import { System } from './support/system.ts';

let database: Database;
let system: System;
let input: CheckInstallationInput;
beforeAll(async () => {
  database = await startDatabase();
});
afterAll(() => database.stop());
beforeEach(async () => {
  system = new System(database, await database.createTable());
  const CertificateArn = await system.acm.issue('web');
  system.target().ssm.addNode('i-1');
  const { body } = await system.register({ CertificateArn });
  await system.step(body.ExecutionArn);
  await system.step(body.ExecutionArn);
  const { ARN: SecretArn, versions } = [...system.target().secretsManager.secrets.values()][0] as {
    ARN: string;
    versions: Map<string, string>;
  };
  const [[VersionId, value]] = [...versions] as [[string, string]];
  const { Serial, NotAfter } = JSON.parse(value);
  input = {
    ...(JSON.parse(system.sfn.executions.get(body.ExecutionArn)?.input as string) as RolloutInput),
    Bundle: { SecretArn, VersionId, Serial, NotAfter },
    Installation: {
      Status: 'IN_PROGRESS',
      AutomationExecutionId: automation().AutomationExecutionId,
      Deadline: '2026-11-24T12:30:00Z',
      Polls: 0,
      WaitSeconds: 15,
    },
  };
});

const automation = () => {
  const [found] = system.target().ssm.automations.values();
  return found as NonNullable<typeof found>;
};
const check = (given = input) => checkInstallation(given, system.deps({}, 'check-installation'));
const deployment = () => system.deployment(input.DeploymentId);
const outcomes = async () =>
  Object.fromEntries(
    (await system.inventory.allNodes(input.DeploymentId)).map(({ NodeId, Outcome }) => [NodeId, Outcome]),
  );

/** The line of the install script, of this rollout unless told otherwise. */
function lineOf(Outcome: string, fields: object = {}): string {
  const worked = Outcome === 'installed' || Outcome === 'unchanged';
  const line = {
    Outcome,
    ExitCode: worked ? 0 : 14,
    DeploymentId: input.DeploymentId,
    RolloutNumber: input.RolloutNumber,
    // What was to be installed, whether it was or not.
    Serial: input.Bundle.Serial,
    VersionId: input.Bundle.VersionId,
    ...(worked ? {} : { Step: 'verify-pair', Error: 'key and certificate differ' }),
    ...fields,
  };
  return `${JSON.stringify(line)}\n`;
}

/** The Automation has ended with these commands: by node, what Run Command has of it. */
function ended(
  status: string,
  ...commands: Record<string, string | { Output?: string; StatusDetails: string }>[]
): void {
  automation().AutomationExecutionStatus = status;
  automation().commands = commands.map((invocations, index) => ({
    CommandId: `command-${index}`,
    invocations: Object.entries(invocations).map(([InstanceId, given]) => {
      const { Output = '', StatusDetails } =
        typeof given === 'string' ? { Output: given, StatusDetails: 'Success' } : given;
      return { InstanceId, StatusDetails, CommandPlugins: [{ Output }] };
    }),
  }));
}

describe('an installation that ended', () => {
  /** Nodes beside i-1, then what the Automation and its commands say, then the judgement. */
  const offline = { online: false };
  const silent = { StatusDetails: 'Success' };
  type Row = [
    string,
    Record<string, object>,
    () => void,
    { Status: string; Error?: string | RegExp; nodes: Record<string, string>; served: boolean },
  ];
  const rows: Row[] = [
    [
      'with every node installed',
      { 'i-2': {} },
      () =>
        ended(
          'Success',
          { 'i-1': lineOf('installed') },
          { 'i-1': lineOf('unchanged'), 'i-2': lineOf('installed') },
        ),
      { Status: 'INSTALLED', nodes: { 'i-1': 'installed', 'i-2': 'installed' }, served: true },
    ],
    [
      'with nothing to do',
      {},
      () => ended('Success', { 'i-1': lineOf('unchanged') }, { 'i-1': lineOf('unchanged') }),
      { Status: 'INSTALLED', nodes: { 'i-1': 'unchanged' }, served: true },
    ],
    [
      'as Success for a node that reported nothing',
      {},
      () => ended('Success', { 'i-1': silent }),
      {
        Status: 'FAILED',
        Error: 'i-1: The install script reported nothing; Run Command says Success.',
        nodes: { 'i-1': 'failed' },
        served: false,
      },
    ],
    [
      'as Success without any command',
      {},
      () => ended('Success'),
      {
        Status: 'DEGRADED',
        Error: /^i-1: The installation ended before this node/,
        nodes: { 'i-1': 'not-reached' },
        served: false,
      },
    ],
    [
      'as Failed, although every node confirmed',
      {},
      () => ended('Failed', { 'i-1': lineOf('installed') }, { 'i-1': lineOf('unchanged') }),
      { Status: 'INSTALLED', nodes: { 'i-1': 'installed' }, served: true },
    ],
    [
      'at the canary',
      { 'i-2': {} },
      () => ended('Failed', { 'i-1': { Output: lineOf('failed'), StatusDetails: 'Failed' } }),
      {
        Status: 'FAILED',
        Error: 'i-1: key and certificate differ',
        nodes: { 'i-1': 'failed', 'i-2': 'not-reached' },
        served: false,
      },
    ],
    [
      'with a node that went back to what it had',
      { 'i-2': {} },
      () =>
        ended(
          'Failed',
          { 'i-1': lineOf('installed') },
          { 'i-1': lineOf('unchanged'), 'i-2': { Output: lineOf('rolled-back'), StatusDetails: 'Failed' } },
        ),
      {
        Status: 'FAILED',
        Error: 'i-2: key and certificate differ',
        nodes: { 'i-1': 'installed', 'i-2': 'rolled-back' },
        served: false,
      },
    ],
    [
      'with a node that was offline all the time',
      { 'i-2': offline },
      () => ended('Success', { 'i-1': lineOf('installed') }, { 'i-1': lineOf('unchanged') }),
      {
        Status: 'DEGRADED',
        Error: /^i-2: The SSM agent has not answered/,
        nodes: { 'i-1': 'installed', 'i-2': 'offline' },
        served: true,
      },
    ],
    [
      'with a node that went offline before it answered',
      { 'i-2': offline },
      () =>
        ended(
          'Failed',
          { 'i-1': lineOf('installed') },
          { 'i-1': lineOf('unchanged'), 'i-2': { StatusDetails: 'DeliveryTimedOut' } },
        ),
      {
        Status: 'DEGRADED',
        Error: /^i-2: The SSM agent/,
        nodes: { 'i-1': 'installed', 'i-2': 'offline' },
        served: true,
      },
    ],
    [
      'with a node that confirmed and went offline then',
      { 'i-2': offline },
      () =>
        ended(
          'Success',
          { 'i-1': lineOf('installed') },
          { 'i-1': lineOf('unchanged'), 'i-2': lineOf('installed') },
        ),
      { Status: 'INSTALLED', nodes: { 'i-1': 'installed', 'i-2': 'installed' }, served: true },
    ],
    [
      'with a platform that SSM skipped and called a success',
      { 'i-2': { platform: 'Windows' } },
      () => ended('Success', { 'i-1': lineOf('installed') }, { 'i-1': lineOf('unchanged'), 'i-2': silent }),
      {
        Status: 'DEGRADED',
        Error: 'i-2: Platform Windows is not supported; only Linux is.',
        nodes: { 'i-1': 'installed', 'i-2': 'unsupported' },
        served: true,
      },
    ],
    [
      'with a node that appeared meanwhile',
      { 'i-2': {} },
      () => ended('Success', { 'i-1': lineOf('installed') }, { 'i-1': lineOf('unchanged') }),
      {
        Status: 'DEGRADED',
        Error: /^i-2: .*the node appeared during it/,
        nodes: { 'i-1': 'installed', 'i-2': 'not-reached' },
        served: true,
      },
    ],
    [
      'early, with a node that was not come to',
      { 'i-2': {} },
      () => ended('Cancelled', { 'i-1': lineOf('installed') }),
      {
        Status: 'FAILED',
        Error: /^The Automation ended as Cancelled: no message i-2/,
        nodes: { 'i-1': 'installed', 'i-2': 'not-reached' },
        served: false,
      },
    ],
    [
      'with nodes that MaxErrors kept Run Command from starting',
      { 'i-2': {}, 'i-3': {} },
      () =>
        ended(
          'Failed',
          { 'i-1': lineOf('installed') },
          {
            'i-1': { StatusDetails: 'Terminated' },
            'i-2': { Output: lineOf('failed'), StatusDetails: 'Failed' },
            'i-3': { StatusDetails: 'Terminated' },
          },
        ),
      {
        Status: 'FAILED',
        Error: 'i-2: key and certificate differ',
        nodes: { 'i-1': 'installed', 'i-2': 'failed', 'i-3': 'not-reached' },
        served: false,
      },
    ],
    [
      'with a canary that had nothing to do, and was not come to a second time',
      { 'i-2': {} },
      () =>
        ended(
          'Failed',
          { 'i-1': lineOf('unchanged') },
          {
            'i-1': { StatusDetails: 'Terminated' },
            'i-2': { Output: lineOf('failed'), StatusDetails: 'Failed' },
          },
        ),
      { Status: 'FAILED', Error: /^i-2/, nodes: { 'i-1': 'unchanged', 'i-2': 'failed' }, served: false },
    ],
    [
      'with two result lines of one node',
      {},
      () => ended('Success', { 'i-1': lineOf('installed') + lineOf('installed') }),
      { Status: 'FAILED', Error: /reported nothing/, nodes: { 'i-1': 'failed' }, served: false },
    ],
    [
      'with a line of another rollout',
      {},
      () => ended('Success', { 'i-1': lineOf('installed', { RolloutNumber: 7 }) }),
      {
        Status: 'FAILED',
        Error: 'i-1: The node reported on another rollout.',
        nodes: { 'i-1': 'failed' },
        served: false,
      },
    ],
    [
      'with a line of another deployment',
      {},
      () => ended('Success', { 'i-1': lineOf('installed', { DeploymentId: '0'.repeat(24) }) }),
      {
        Status: 'FAILED',
        Error: 'i-1: The node reported on another rollout.',
        nodes: { 'i-1': 'failed' },
        served: false,
      },
    ],
    [
      'with a line about another version',
      {},
      () => ended('Success', { 'i-1': lineOf('installed', { VersionId: 'ab' }) }),
      {
        Status: 'FAILED',
        Error: 'i-1: The node reported on another version.',
        nodes: { 'i-1': 'failed' },
        served: false,
      },
    ],
    [
      'with diagnostics around the line',
      {},
      () => ended('Success', { 'i-1': `reading\n${lineOf('installed')}bye\n` }),
      { Status: 'INSTALLED', nodes: { 'i-1': 'installed' }, served: true },
    ],
    [
      'with all nodes offline by now',
      {},
      () => {
        ended('Failed', { 'i-1': { StatusDetails: 'DeliveryTimedOut' } });
        Object.assign(system.target().ssm.nodes[0] as object, offline);
      },
      { Status: 'DEGRADED', Error: /^i-1: The SSM agent/, nodes: { 'i-1': 'offline' }, served: false },
    ],
    [
      'with no node left that carries the tag, and none that reported',
      {},
      () => {
        ended('Success', {});
        Object.assign(system.target().ssm.nodes[0] as object, { listed: false });
      },
      { Status: 'WAITING', nodes: {}, served: false },
    ],
    [
      'in a way that nobody has seen so far',
      {},
      () => ended('Exited', { 'i-1': lineOf('installed') }),
      { Status: 'INSTALLED', nodes: { 'i-1': 'installed' }, served: true },
    ],
  ];
  test.each(rows)('%s', async (_, nodes, arrange, expected) => {
    for (const [id, node] of Object.entries(nodes)) {
      system.target().ssm.addNode(id, node);
    }
    arrange();
    const installation = await check();
    const { Status, LastError, Serial, LastRollout } = await deployment();
    expect([installation.Status, Status]).toEqual([expected.Status, expected.Status]);
    expect(await outcomes()).toEqual(expected.nodes);
    if (expected.Error) {
      expect(LastError).toMatch(expected.Error);
    } else {
      expect(LastError).toBeUndefined();
    }
    expect(Serial).toBe(expected.served ? input.Bundle.Serial : undefined);
    expect(LastRollout?.Serial).toBe(input.Bundle.Serial);
    expect('Error' in installation ? installation.Error : undefined).toBe(
      expected.Status === 'FAILED' ? LastError : undefined,
    );
  });

  test('of many failed nodes names five and counts the others; the inventory has them all', async () => {
    const failures: Record<string, { Output: string; StatusDetails: string }> = {};
    for (let index = 10; index < 70; index += 1) {
      system.target().ssm.addNode(`i-${index}`);
      failures[`i-${index}`] = { Output: lineOf('failed'), StatusDetails: 'Failed' };
    }
    // More than one page of invocations, and of nodes.
    ended('Failed', { 'i-1': lineOf('installed') }, failures);
    await check();
    const { LastError } = await deployment();
    expect(LastError).toMatch(/^i-10: .* i-14: key and certificate differ And 55 more\.$/);
    expect(Object.values(await outcomes()).filter((outcome) => outcome === 'failed')).toHaveLength(60);
  });

  test('keeps what a failed node serves, and forgets an old error when it works again', async () => {
    ended('Success', { 'i-1': lineOf('installed') });
    await check();
    await system.rollouts(input.DeploymentId);
    const newer = { ...input.Bundle, Serial: 'ff', VersionId: 'f'.repeat(64) };
    const next = { ...input, RolloutNumber: 2, Bundle: newer };
    ended('Failed', {
      'i-1': {
        Output: lineOf('rolled-back', { RolloutNumber: 2, Serial: 'ff', VersionId: newer.VersionId }),
        StatusDetails: 'Failed',
      },
    });
    await check(next);
    expect(await system.inventory.allNodes(input.DeploymentId)).toMatchObject([
      {
        Outcome: 'rolled-back',
        Serial: input.Bundle.Serial,
        Error: 'key and certificate differ',
        ExitCode: 14,
      },
    ]);
    await system.rollouts(input.DeploymentId);
    ended('Success', { 'i-1': lineOf('unchanged', { RolloutNumber: 3 }) });
    await check({ ...input, RolloutNumber: 3 });
    const [record] = await system.inventory.allNodes(input.DeploymentId);
    expect(record).toMatchObject({ Outcome: 'unchanged', RolloutNumber: 3 });
    expect(['Error', 'ExitCode', 'Step'].filter((field) => field in (record as object))).toEqual([]);
  });

  test('keeps what a node notes beside its result, failed or not, until it notes nothing', async () => {
    const Note = 'hooks lie directly in hooks.d';
    const recorded = async () => (await system.inventory.allNodes(input.DeploymentId))[0];
    ended('Success', { 'i-1': lineOf('installed', { Note }) }, { 'i-1': lineOf('unchanged') });
    await check();
    expect(await recorded()).toMatchObject({ Outcome: 'installed', Note });
    await system.rollouts(input.DeploymentId);
    const failed = lineOf('rolled-back', { RolloutNumber: 2, Note: 'another' });
    ended('Failed', { 'i-1': { Output: failed, StatusDetails: 'Failed' } });
    await check({ ...input, RolloutNumber: 2 });
    expect(await recorded()).toMatchObject({ Outcome: 'rolled-back', Note: 'another' });
    await system.rollouts(input.DeploymentId);
    ended('Success', { 'i-1': lineOf('unchanged', { RolloutNumber: 3 }) });
    await check({ ...input, RolloutNumber: 3 });
    expect(await recorded()).not.toHaveProperty('Note');
  });
});

describe('an installation that runs', () => {
  test.each(['Pending', 'InProgress', 'Waiting', 'Cancelling', 'RunbookInProgress', 'NeverSeenBefore', ''])(
    'as %j is waited for, and nothing is written',
    async (status) => {
      automation().AutomationExecutionStatus = status;
      const before = await deployment();
      expect(await check()).toMatchObject({ Status: 'IN_PROGRESS', Polls: 1 });
      expect(await deployment()).toEqual(before);
      expect(await outcomes()).toEqual({});
    },
  );

  test('is looked at again after 15 to 60 seconds, the longer it takes the less often', async () => {
    const waits = async (random: number) => {
      system.random = () => random;
      const found: number[] = [];
      let { Installation } = input;
      for (let poll = 0; poll < 6; poll += 1) {
        Installation = (await check({ ...input, Installation })) as typeof Installation;
        found.push(Installation.WaitSeconds);
      }
      return found;
    };
    const [least, most] = [await waits(0), await waits(0.999999)];
    expect(Math.min(...least)).toBeGreaterThanOrEqual(15);
    expect(Math.max(...most)).toBe(60);
    expect(most).toEqual(most.toSorted((a, b) => a - b));
    expect(least.at(-1)).toBe(30);
  });

  test('beyond its deadline is stopped, failed, and told; one that ends in that moment is no fault', async () => {
    for (const error of [
      undefined,
      'InvalidAutomationStatusUpdateException',
      'AutomationExecutionNotFoundException',
    ]) {
      const { ssm } = system.target();
      ssm.calls.length = 0;
      automation().AutomationExecutionStatus = 'InProgress';
      if (error) {
        await system.rollouts(input.DeploymentId);
        input = { ...input, RolloutNumber: input.RolloutNumber + 1 };
        ssm.failNext('StopAutomationExecution', awsError(error));
      }
      system.clock.advance({ hours: 3 });
      expect(await check()).toEqual({
        Status: 'FAILED',
        Error: expect.stringMatching(/^The installation was stopped at its deadline\./),
      });
      expect(ssm.callsOf('StopAutomationExecution')).toEqual([
        { AutomationExecutionId: input.Installation.AutomationExecutionId, Type: 'Cancel' },
      ]);
      expect(await deployment()).toMatchObject({ Status: 'FAILED' });
    }
  });

  test('up to its deadline and not a second less', async () => {
    system.clock.advance({ hours: 2 });
    expect(await check()).toMatchObject({ Status: 'IN_PROGRESS' });
    system.clock.advance({ seconds: 1 });
    expect(await check()).toMatchObject({ Status: 'FAILED' });
  });

  test('and is throttled keeps the name of the fault for the retry', async () => {
    system.target().ssm.failNext('GetAutomationExecution', awsError('ThrottlingException'));
    await expect(check()).rejects.toMatchObject({ name: 'ThrottlingException' });
  });
});

describe('a check whose end was recorded and not heard', () => {
  test.each(['FAILED', 'INSTALLED'] as const)('answers %s again: a failure is not lost', async (status) => {
    ended(status === 'FAILED' ? 'Failed' : 'Success', {
      'i-1': { Output: lineOf(status === 'FAILED' ? 'failed' : 'installed'), StatusDetails: 'x' },
    });
    const first = await check();
    const before = await deployment();
    const calls = system.target().ssm.calls.length;
    expect(await check()).toEqual(first);
    expect(await deployment()).toEqual(before);
    expect(system.target().ssm.calls).toHaveLength(calls);
  });

  test('and whose successor was claimed, not started, starts it', async () => {
    await system.register({ CertificateArn: input.CertificateArn, VerifyPort: 8443 });
    system.sfn.failNext('StartExecution', awsError('ServiceUnavailable', '', 'server'));
    ended('Success', { 'i-1': lineOf('installed') });
    await check();
    expect((await deployment()).Rollout?.StartedAt).toBeUndefined();
    expect(await check()).toEqual({ Status: 'INSTALLED' });
    expect(await deployment()).toMatchObject({
      RolloutNumber: 2,
      Rollout: { StartedAt: expect.any(String) },
    });
  });
});

describe('a result line', () => {
  const good = { Outcome: 'installed', ExitCode: 0, RolloutNumber: 1, DeploymentId: 'x' };
  test.each([
    ['', undefined],
    ['{', undefined],
    ['[]', undefined],
    ['{}', undefined],
    [JSON.stringify({ ...good, Outcome: 'perfect' }), undefined],
    [JSON.stringify({ ...good, ExitCode: 256 }), undefined],
    [JSON.stringify({ ...good, Serial: 'xyz' }), undefined],
    [JSON.stringify({ ...good, Error: 'x'.repeat(401) }), undefined],
    [` ${JSON.stringify(good)}`, undefined],
    [`${JSON.stringify(good)}\n{not json`, undefined],
    [JSON.stringify(good), good],
    [`${JSON.stringify({ ...good, Unknown: 1 })}\r\n`, good],
    [JSON.stringify({ ...good, Note: 'A root has expired.' }), { ...good, Note: 'A root has expired.' }],
    // What is wrong in a note costs the note, not the result.
    [JSON.stringify({ ...good, Note: 17 }), good],
    [JSON.stringify({ ...good, Note: 'x'.repeat(401) }), { ...good, Note: 'x'.repeat(400) }],
    [
      JSON.stringify({ ...good, Note: 'one\r\ntwo \u001b[31mred\u202e\u2028end\n' }),
      { ...good, Note: 'one two  [31mred end' },
    ],
  ])('%j is read as %j', (output, expected) => {
    expect(parseResultLine(output)).toEqual(expected);
  });
});
