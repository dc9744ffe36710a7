import { SSMClient, StopAutomationExecutionCommand } from '@aws-sdk/client-ssm';
import { beforeEach, describe, expect, test } from '@jest/globals';
import type { AgentAnswer } from 'local-cloud';
import {
  type CheckInstallationInput,
  FIRST_WAIT_SECONDS,
  LONGEST_POLL_SECONDS,
} from '../../functions/domain/installation.ts';
import { parseResultLine } from '../../functions/domain/result-line.ts';
import type { ScriptedNode } from '../../local/scripted-node.ts';
import { awsError } from './support/service-view.ts';
import { System, type TargetView } from './support/system.ts';

let system: System;
let arn: string;
let canary: ScriptedNode;
let input: CheckInstallationInput;

/** One node has the tag; the installation on it has started, and waits for its answer. */
async function begin(order: object = {}): Promise<void> {
  system = await System.create();
  arn = await system.acm.issue('web');
  canary = await system.target().addNode('i-00000001');
  const { body } = await system.register({ CertificateArn: arn, ...order });
  await start(body.ExecutionArn);
}

async function start(executionArn: string): Promise<void> {
  await system.step(executionArn);
  await system.step(executionArn);
  input = system.inputOf(executionArn);
}

/** The next rollout of the deployment has started in the same way. */
async function beginAgain(): Promise<void> {
  const { body } = await system.rollouts(input.DeploymentId);
  await start(body.ExecutionArn);
}

beforeEach(() => begin());

const addNode = (options: Parameters<TargetView['addNode']>[1] = {}) =>
  system.target().addNode(`i-${String(system.target().nodes.length + 1).padStart(8, '0')}`, options);
const automation = () => {
  const found = system.target().automations().at(-1);
  return found as NonNullable<typeof found>;
};
const check = () => system.function('check-installation')(input);
/** Every node answers, then the outcome is judged. */
const ended = async () => {
  await system.letNodesAnswer();
  return check();
};
const deployment = () => system.deployment(input.DeploymentId);
const recorded = () => system.inventory.nodes.all(input.DeploymentId);
const outcomes = async () =>
  Object.fromEntries((await recorded()).map(({ NodeId, Outcome }) => [NodeId, Outcome]));

/** What the install script says, of this rollout unless told otherwise. */
function lineOf(Outcome: string, fields: object = {}): AgentAnswer {
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
  return { stdout: `${JSON.stringify(line)}\n`, exitCode: worked ? 0 : 1 };
}

const saying = (Outcome: string, fields: object = {}) => {
  canary.says = () => lineOf(Outcome, fields);
};
const silent = { stdout: '', exitCode: 0 };

/** Run Command gives up on nodes that are offline. */
async function deliveryTimesOut(): Promise<void> {
  system.advance({ hours: 1 });
  await system.letNodesAnswer();
}

/** Run Command comes to the canary last, one node at a time, and not any more after a failure. */
async function beginWithCanaryLast(...others: (() => AgentAnswer)[]): Promise<void> {
  await begin({ MaxConcurrency: '1', MaxErrors: '0' });
  canary.listed = false;
  for (const says of others) {
    (await addNode()).says = says;
  }
  canary.listed = true;
}

describe('an installation that ended', () => {
  interface Row {
    /** What happens between start and end. */
    before?: () => unknown;
    /** What happens between end and check. */
    after?: () => unknown;
    Status: string;
    Error?: string | RegExp;
    nodes: Record<string, string>;
    served: boolean;
  }
  const both = { 'i-00000001': 'installed', 'i-00000002': 'installed' };
  const rows: Record<string, Row> = {
    'with every node installed': {
      before: () => addNode(),
      Status: 'INSTALLED',
      nodes: both,
      served: true,
    },
    'with nothing to do': {
      before: () => saying('unchanged'),
      Status: 'INSTALLED',
      nodes: { 'i-00000001': 'unchanged' },
      served: true,
    },
    'as Success for a node that reported nothing': {
      before: () => {
        canary.says = () => silent;
      },
      Status: 'FAILED',
      Error: 'i-00000001: The install script reported nothing; Run Command says Success.',
      nodes: { 'i-00000001': 'failed' },
      served: false,
    },
    'as Success without any command': {
      after: () => Object.assign(automation(), { status: 'Success', steps: [] }),
      Status: 'DEGRADED',
      Error: /^i-00000001: The installation ended before this node/,
      nodes: { 'i-00000001': 'not-reached' },
      served: false,
    },
    'as Failed, although every node confirmed': {
      before: () => {
        canary.says = () => ({ ...lineOf('installed'), exitCode: 1 });
      },
      Status: 'INSTALLED',
      nodes: { 'i-00000001': 'installed' },
      served: true,
    },
    'at the canary': {
      before: async () => {
        saying('failed');
        await addNode();
      },
      Status: 'FAILED',
      Error: 'i-00000001: key and certificate differ',
      nodes: { 'i-00000001': 'failed', 'i-00000002': 'not-reached' },
      served: false,
    },
    'with a node that went back to what it had': {
      before: () => addNode({ behaviour: 'rolled-back' }),
      Status: 'FAILED',
      Error: 'i-00000002: i-00000002 is broken',
      nodes: { 'i-00000001': 'installed', 'i-00000002': 'rolled-back' },
      served: false,
    },
    'with a node that was offline all the time': {
      after: () => addNode({ online: false }),
      Status: 'DEGRADED',
      Error: /^i-00000002: The SSM agent has not answered/,
      nodes: { ...both, 'i-00000002': 'offline' },
      served: true,
    },
    'with a node that went offline before it answered': {
      before: () => addNode({ online: false }),
      after: async () => {
        await deliveryTimesOut();
        automation().status = 'Failed';
      },
      Status: 'DEGRADED',
      Error: /^i-00000002: The SSM agent/,
      nodes: { ...both, 'i-00000002': 'offline' },
      served: true,
    },
    'with a node that confirmed and went offline then': {
      before: () => addNode(),
      after: () => {
        for (const node of system.target().nodes) node.online = node === canary;
      },
      Status: 'INSTALLED',
      nodes: both,
      served: true,
    },
    'with a platform that SSM skipped and called a success': {
      before: async () => {
        (await addNode({ platform: 'Windows' })).says = () => silent;
      },
      Status: 'DEGRADED',
      Error: 'i-00000002: Platform Windows is not supported; only Linux is.',
      nodes: { ...both, 'i-00000002': 'unsupported' },
      served: true,
    },
    'with a node that appeared meanwhile': {
      after: () => addNode(),
      Status: 'DEGRADED',
      Error: /^i-00000002: .*the node appeared during it/,
      nodes: { ...both, 'i-00000002': 'not-reached' },
      served: true,
    },
    'early, with a node that was not come to': {
      before: async () => {
        await addNode();
        const { AutomationExecutionId } = input.Installation;
        const ssm = system.target().client(SSMClient);
        await ssm.send(new StopAutomationExecutionCommand({ AutomationExecutionId }));
      },
      Status: 'FAILED',
      Error: /^The Automation ended as Cancelled: no message i-00000002/,
      nodes: { ...both, 'i-00000002': 'not-reached' },
      served: false,
    },
    'with nodes that MaxErrors kept Run Command from starting': {
      before: () =>
        beginWithCanaryLast(
          () => lineOf('failed'),
          () => lineOf('installed'),
        ),
      Status: 'FAILED',
      Error: 'i-00000002: key and certificate differ',
      nodes: { 'i-00000001': 'installed', 'i-00000002': 'failed', 'i-00000003': 'not-reached' },
      served: false,
    },
    'with a canary that had nothing to do, and was not come to a second time': {
      before: async () => {
        await beginWithCanaryLast(() => lineOf('failed'));
        saying('unchanged');
      },
      Status: 'FAILED',
      Error: /^i-00000002/,
      nodes: { 'i-00000001': 'unchanged', 'i-00000002': 'failed' },
      served: false,
    },
    'with two result lines of one node': {
      before: () => {
        canary.says = () => ({ stdout: lineOf('installed').stdout.repeat(2), exitCode: 0 });
      },
      Status: 'FAILED',
      Error: /reported nothing/,
      nodes: { 'i-00000001': 'failed' },
      served: false,
    },
    'with a line of another rollout': {
      before: () => saying('installed', { RolloutNumber: 7 }),
      Status: 'FAILED',
      Error: 'i-00000001: The node reported on another rollout.',
      nodes: { 'i-00000001': 'failed' },
      served: false,
    },
    'with a line of another deployment': {
      before: () => saying('installed', { DeploymentId: '0'.repeat(24) }),
      Status: 'FAILED',
      Error: 'i-00000001: The node reported on another rollout.',
      nodes: { 'i-00000001': 'failed' },
      served: false,
    },
    'with a line about another version': {
      before: () => saying('installed', { VersionId: 'ab' }),
      Status: 'FAILED',
      Error: 'i-00000001: The node reported on another version.',
      nodes: { 'i-00000001': 'failed' },
      served: false,
    },
    'with diagnostics around the line': {
      before: () => {
        canary.says = () => ({ stdout: `reading\n${lineOf('installed').stdout}bye\n`, exitCode: 0 });
      },
      Status: 'INSTALLED',
      nodes: { 'i-00000001': 'installed' },
      served: true,
    },
    'with all nodes offline by now': {
      before: () => {
        canary.says = () => silent;
        canary.online = false;
      },
      after: () => deliveryTimesOut(),
      Status: 'DEGRADED',
      Error: /^i-00000001: The SSM agent/,
      nodes: { 'i-00000001': 'offline' },
      served: false,
    },
    'with no node left that carries the tag, and none that reported': {
      after: () => {
        automation().steps = [];
        canary.listed = false;
      },
      Status: 'WAITING',
      nodes: {},
      served: false,
    },
    'with a node that was scaled in before it answered': {
      before: async () => {
        (await addNode()).says = () => silent;
      },
      after: () => {
        for (const node of system.target().nodes) node.listed = node === canary;
        automation().status = 'Failed';
      },
      Status: 'INSTALLED',
      nodes: { 'i-00000001': 'installed' },
      served: true,
    },
    'as Failed, because the canary was scaled in': {
      before: async () => {
        canary.says = () => silent;
        await addNode();
      },
      after: () => {
        canary.listed = false;
        automation().status = 'Failed';
        automation().steps.splice(1);
      },
      Status: 'DEGRADED',
      Error: /^i-00000002: The installation ended before this node/,
      nodes: { 'i-00000002': 'not-reached' },
      served: false,
    },
    'with a node that failed, said so and was scaled in': {
      before: async () => {
        (await addNode()).says = () => lineOf('failed');
      },
      after: () => {
        for (const node of system.target().nodes) node.listed = node === canary;
      },
      Status: 'FAILED',
      Error: 'i-00000002: key and certificate differ',
      nodes: { 'i-00000001': 'installed', 'i-00000002': 'failed' },
      served: false,
    },
    'in a way that nobody has seen so far': {
      after: () => {
        automation().status = 'Exited' as 'Failed';
      },
      Status: 'INSTALLED',
      nodes: { 'i-00000001': 'installed' },
      served: true,
    },
  };
  test.each(Object.entries(rows))('%s', async (_, { before, after, ...expected }) => {
    await before?.();
    await system.letNodesAnswer();
    await after?.();
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
    await begin({ MaxConcurrency: '100%', MaxErrors: '100%' });
    // More than one page of invocations, and of nodes.
    for (let index = 0; index < 60; index += 1) {
      await addNode({ behaviour: 'failed' });
    }
    await ended();
    expect((await deployment()).LastError).toMatch(/^i-00000002: .* i-00000006: .* is broken And 55 more\.$/);
    expect(Object.values(await outcomes()).filter((outcome) => outcome === 'failed')).toHaveLength(60);
  });

  test('keeps what a failed node serves, and forgets an old error when it works again', async () => {
    await ended();
    const { Serial } = input.Bundle;
    await system.acm.renew(arn);
    await beginAgain();
    saying('rolled-back');
    await ended();
    expect(await recorded()).toMatchObject([
      { Outcome: 'rolled-back', Serial, Error: 'key and certificate differ', ExitCode: 14 },
    ]);
    canary.says = undefined;
    await beginAgain();
    await ended();
    const [record] = await recorded();
    const { RolloutNumber } = input;
    expect(record).toMatchObject({ Outcome: 'installed', RolloutNumber, Serial: input.Bundle.Serial });
    expect(['Error', 'ExitCode', 'Step'].filter((field) => field in (record as object))).toEqual([]);
  });

  test('keeps what a node notes beside its result, failed or not, until it notes nothing', async () => {
    const Note = 'hooks lie directly in hooks.d';
    const answers = [lineOf('installed', { Note }), lineOf('unchanged')];
    canary.says = () => answers.shift() as AgentAnswer;
    await ended();
    expect(await recorded()).toMatchObject([{ Outcome: 'installed', Note }]);
    await beginAgain();
    saying('rolled-back', { Note: 'another' });
    await ended();
    expect(await recorded()).toMatchObject([{ Outcome: 'rolled-back', Note: 'another' }]);
    await beginAgain();
    saying('unchanged');
    await ended();
    expect((await recorded())[0]).not.toHaveProperty('Note');
  });
});

describe('an Automation whose steps do not name their commands', () => {
  const listed = () => system.target().ssm.callsOf('ListCommands');
  const failedAt = async (...nodes: string[]) => {
    const { LastError } = await deployment();
    expect(LastError).toBe(nodes.map((id) => `${id}: key and certificate differ`).join(' '));
  };

  /** Another deployment has the same node at the same time, and its script says something else, later. */
  const addAnotherDeployment = async () => {
    const { body } = await system.register({ CertificateArn: arn }, {}, 'web-other');
    const { DeploymentId } = body;
    system.advance({ seconds: 1 });
    await system.step(body.ExecutionArn);
    await system.step(body.ExecutionArn);
    const { RolloutNumber } = await system.deployment(DeploymentId);
    expect(RolloutNumber).toBe(input.RolloutNumber);
    const other = lineOf('failed', { DeploymentId, RolloutNumber, Error: 'of another deployment' });
    const ours = lineOf('failed');
    canary.says = (parameters) => (parameters.DeploymentId === DeploymentId ? other : ours);
  };

  interface Row {
    before?: () => unknown;
    nodes: Record<string, string>;
    failed: string[];
  }
  const rows: Record<string, Row> = {
    'at the canary': {
      before: () => saying('failed'),
      nodes: { 'i-00000001': 'failed' },
      failed: ['i-00000001'],
    },
    'after the canary': {
      before: async () => {
        (await addNode()).says = () => lineOf('rolled-back');
        (await addNode()).says = () => lineOf('failed');
      },
      nodes: { 'i-00000001': 'installed', 'i-00000002': 'rolled-back', 'i-00000003': 'failed' },
      failed: ['i-00000002', 'i-00000003'],
    },
    'with commands of another deployment to the same node': {
      before: addAnotherDeployment,
      nodes: { 'i-00000001': 'failed' },
      failed: ['i-00000001'],
    },
    'with all steps left out of the answer': {
      before: async () => {
        system.cloud.services.automation.mostSteps = 0;
        // The canary is told first, whatever the order of the list: the fleet step finds it unchanged.
        const answers = [lineOf('installed'), lineOf('unchanged')];
        canary.says = () => {
          system.advance({ seconds: 1 });
          return answers.shift() as AgentAnswer;
        };
        (await addNode()).says = () => lineOf('failed');
      },
      nodes: { 'i-00000001': 'installed', 'i-00000002': 'failed' },
      failed: ['i-00000002'],
    },
  };
  test.each(Object.entries(rows))('%s keeps the own errors of its nodes', async (_, row) => {
    await row.before?.();
    await ended();
    expect(await outcomes()).toEqual(row.nodes);
    await failedAt(...row.failed);
    expect(listed()).toHaveLength(1);
  });

  test('at its deadline keeps what nodes have said so far', async () => {
    await addNode();
    await addNode({ online: false });
    await system.letNodesAnswer();
    system.advance({ hours: 3 });
    await check();
    expect(await outcomes()).toMatchObject({ 'i-00000001': 'installed', 'i-00000002': 'installed' });
    expect(listed()).toHaveLength(1);
  });

  test('in a member account that does not let it list commands: ends as before, on the steps alone', async () => {
    (await addNode()).says = () => lineOf('failed');
    system.target().ssm.failNext('ListCommands', awsError('AccessDeniedException'));
    await ended();
    expect(await outcomes()).toEqual({ 'i-00000001': 'installed', 'i-00000002': 'not-reached' });
    const { Status, LastError } = await deployment();
    expect([Status, LastError]).toEqual(['FAILED', expect.stringMatching(/^The Automation ended as Failed/)]);
  });

  test('while AWS throttles the list: looks again', async () => {
    saying('failed');
    await system.letNodesAnswer();
    system.target().ssm.failNext('ListCommands', awsError('ThrottlingException'));
    await expect(check()).rejects.toMatchObject({ name: 'RetryLater' });
    await check();
    await failedAt('i-00000001');
  });

  test.each([
    ['failed, although its step names it', 'failed', true],
    ['worked; other steps sent none, or never began', 'installed', false],
  ])('is not what it is called where the command %s', async (_, outcome, showsEveryOutput) => {
    system.cloud.services.automation.showsEveryOutput = showsEveryOutput;
    await addNode();
    saying(outcome);
    await ended();
    expect((await outcomes())['i-00000001']).toBe(outcome);
    expect(listed()).toEqual([]);
  });
});

describe('an installation that runs', () => {
  test.each(['Pending', 'InProgress', 'Waiting', 'Cancelling', 'RunbookInProgress', 'NeverSeenBefore', ''])(
    'as %j is waited for, and nothing is written',
    async (status) => {
      automation().status = status as 'Pending';
      const before = await deployment();
      expect(await check()).toMatchObject({ Status: 'IN_PROGRESS', Polls: 1 });
      expect(await deployment()).toEqual(before);
      expect(await outcomes()).toEqual({});
    },
  );

  test('is looked at again after a while, the longer it takes the less often', async () => {
    const { Installation } = input;
    const waits = async (random: number) => {
      system.random = () => random;
      input.Installation = Installation;
      const found: number[] = [];
      for (let poll = 0; poll < 6; poll += 1) {
        input.Installation = (await check()) as typeof Installation;
        found.push(input.Installation.WaitSeconds);
      }
      return found;
    };
    const [least, most] = [await waits(0), await waits(0.999999)];
    expect(Math.min(...least)).toBeGreaterThanOrEqual(FIRST_WAIT_SECONDS);
    expect(Math.max(...most)).toBe(LONGEST_POLL_SECONDS);
    expect(most).toEqual(most.toSorted((a, b) => a - b));
    expect(least.at(-1)).toBe(LONGEST_POLL_SECONDS / 2);
  });

  test.each([undefined, 'InvalidAutomationStatusUpdateException', 'AutomationExecutionNotFoundException'])(
    'beyond its deadline is stopped, failed, and told; one that ends in that moment (%s) is no fault',
    async (error) => {
      const { ssm } = system.target();
      if (error) {
        ssm.failNext('StopAutomationExecution', awsError(error));
      }
      system.advance({ hours: 3 });
      expect(await check()).toEqual({
        Status: 'FAILED',
        Error: expect.stringMatching(/^The installation was stopped at its deadline\./),
      });
      const { AutomationExecutionId } = input.Installation;
      expect(ssm.callsOf('StopAutomationExecution')).toEqual([{ AutomationExecutionId, Type: 'Cancel' }]);
      expect(await deployment()).toMatchObject({ Status: 'FAILED' });
      const { Unfinished } = (await system.inventory.get(input.DeploymentId)) ?? {};
      expect(Unfinished).toEqual({ AutomationExecutionId });
    },
  );

  test('up to its deadline and not a second less', async () => {
    system.advance({ hours: 2 });
    expect(await check()).toMatchObject({ Status: 'IN_PROGRESS' });
    system.advance({ seconds: 1 });
    expect(await check()).toMatchObject({ Status: 'FAILED' });
  });

  test.each([
    awsError('ThrottlingException'),
    awsError('TimeoutError'),
    awsError('InternalServerError', 'of an hour', 'server'),
  ])('and is not answered for a while is looked at again: $name', async (error) => {
    system.target().ssm.failNext('GetAutomationExecution', error);
    await expect(check()).rejects.toMatchObject({
      name: 'RetryLater',
      message: expect.stringContaining(error.name),
    });
  });
});

describe('a node that holds a higher number', () => {
  const numberAfter = async (HeldNumber: unknown) => {
    saying('failed', { ExitCode: 30, Step: 'rollout-superseded', HeldNumber });
    await ended();
    await system.rollouts(input.DeploymentId);
    return (await deployment()).RolloutNumber - input.RolloutNumber;
  };

  test.each([1, 5, 82_000])('is followed by the next rollout (%i more)', async (more) => {
    expect(await numberAfter(input.RolloutNumber + more)).toBe(more + 1);
  });

  test.each([82_801, 10 ** 14])('is not, where the other nodes would not follow (%i more)', async (more) => {
    expect(await numberAfter(input.RolloutNumber + more)).toBe(1);
  });

  test.each(['x', -1, null, 1.5])('is not, where it reports %j', async (held) => {
    expect(await numberAfter(held)).toBe(1);
  });
});

describe('a check whose end was recorded and not heard', () => {
  test.each(['FAILED', 'INSTALLED'])('answers %s again: a failure is not lost', async (status) => {
    saying(status === 'FAILED' ? 'failed' : 'installed');
    const first = await ended();
    expect(first.Status).toBe(status);
    const before = await deployment();
    const calls = system.target().ssm.calls.length;
    expect(await check()).toEqual(first);
    expect(await deployment()).toEqual(before);
    expect(system.target().ssm.calls).toHaveLength(calls);
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
    [JSON.stringify({ ...good, HeldNumber: 7 }), { ...good, HeldNumber: 7 }],
    [`${JSON.stringify({ ...good, Unknown: 1 })}\r\n`, good],
    [JSON.stringify({ ...good, Note: 'A root has expired.' }), { ...good, Note: 'A root has expired.' }],
    // What is wrong in a note costs the note, not the result.
    [JSON.stringify({ ...good, Note: 17 }), good],
    [JSON.stringify({ ...good, Note: 'x'.repeat(401) }), { ...good, Note: 'x'.repeat(400) }],
    [
      JSON.stringify({ ...good, Note: 'one\r\ntwo \u001b[31mred\u202e\u2028end\n' }),
      { ...good, Note: 'one two  [31mred end' },
    ],
    // It stands in messages: no paragraph of them may be a node's own.
    [
      JSON.stringify({ ...good, Step: 'a\u001b[2J', Error: 'broken\n\nWhat to do: call 0\u202e' }),
      { ...good, Step: 'a [2J', Error: 'broken What to do: call 0' },
    ],
  ])('%j is read as %j', (output, expected) => {
    expect(parseResultLine(output)).toEqual(expected);
  });
});
