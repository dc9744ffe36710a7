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
    ExitCode: worked ? 0 : 44,
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
      Error: 'i-00000001: The install script reported nothing. Run Command says Success.',
      nodes: { 'i-00000001': 'failed' },
      served: false,
    },
    'as Success without any command': {
      after: () => Object.assign(automation(), { status: 'Success', steps: [] }),
      Status: 'DEGRADED',
      Error: /^i-00000001: The installation ended before its turn/,
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
      Error: /^i-00000002: .*it appeared only during the installation/,
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
      Error: 'i-00000001: The report is about another rollout.',
      nodes: { 'i-00000001': 'failed' },
      served: false,
    },
    'with a line of another deployment': {
      before: () => saying('installed', { DeploymentId: '0'.repeat(24) }),
      Status: 'FAILED',
      Error: 'i-00000001: The report is about another rollout.',
      nodes: { 'i-00000001': 'failed' },
      served: false,
    },
    'with a line about another version': {
      before: () => saying('installed', { VersionId: 'ab' }),
      Status: 'FAILED',
      Error: 'i-00000001: The report is about another version.',
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
      { Outcome: 'rolled-back', Serial, Error: 'key and certificate differ', ExitCode: 44 },
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
    input = { ...input, Installation: { ...input.Installation, Deadline: '2026-11-24T10:29:00Z' } };
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

/** What a node says that cannot read the bundle: it ends well, unless it goes first. */
const refusedAs = (ExitCode: number) => (parameters: Record<string, string>) => ({
  ...lineOf('failed', {
    ExitCode,
    Step: 'read-bundle',
    Error: 'it is not for you',
    RolloutNumber: Number(parameters.RolloutNumber),
  }),
  exitCode: parameters.AfterCanary === 'true' || parameters.DryRun === 'true' ? 0 : ExitCode,
});

describe('a canary that cannot be served for a reason of its own', () => {
  const refused = refusedAs(20);
  /** What was started so far: with what, and which node went first. */
  const started = () =>
    system
      .target()
      .automations()
      .map(({ parameters }) =>
        [
          parameters.DryRun?.[0] === 'true' ? 'probe' : 'install',
          parameters.CanaryNodeId?.[0],
          parameters.MaxErrors?.[0],
        ].join(' '),
      );
  /** Checks until the rollout has ended. */
  const untilEnd = async () => {
    for (let look = 0; look < 200; look += 1) {
      const installation = await ended();
      if (installation.Status !== 'IN_PROGRESS') return installation;
      input.Installation = installation;
    }
    throw new Error('the rollout does not end');
  };
  const addNodes = async (count: number, says?: typeof refused) => {
    const nodes: ScriptedNode[] = [];
    for (let index = 0; index < count; index += 1) {
      const node = await addNode();
      if (says) node.says = says;
      nodes.push(node);
    }
    return nodes;
  };

  beforeEach(() => {
    canary.says = refused;
  });

  test.each([1, 3, 50, 200])(
    'does not keep one good node, that nothing is known of, from the certificate: beside %i others, within the rollout',
    async (bad) => {
      await addNodes(bad - 1, refused);
      const good = await addNode();
      expect((await untilEnd()).Status).toBe('DEGRADED');
      expect(started()).toEqual([
        'install i-00000001 10%',
        ...(bad === 1 ? [] : ['probe i-00000002 100%']),
        `install ${good.NodeId} 10%`,
      ]);
      const { [good.NodeId]: served, ...others } = await outcomes();
      expect([served, new Set(Object.values(others))]).toEqual(['installed', new Set(['refused'])]);
      const { Status, LastError, Serial, Failures, FailingSince } = await deployment();
      expect([Status, Serial, Failures, FailingSince]).toEqual([
        'DEGRADED',
        input.Bundle.Serial,
        0,
        undefined,
      ]);
      expect(LastError).toMatch(/^i-00000001: it is not for you/);
    },
  );

  test('that touches no other node until one has shown that it can be served', async () => {
    const others = await addNodes(3);
    input.Installation = (await ended()) as typeof input.Installation;
    expect(started().at(-1)).toBe('probe i-00000002 100%');
    // The probe has begun and no node has answered: then all have, and none has installed anything.
    input.Installation = (await ended()) as typeof input.Installation;
    expect(others.map(({ installed }) => installed)).toEqual([undefined, undefined, undefined]);
    expect((await untilEnd()).Status).toBe('DEGRADED');
    expect(others.every(({ installed }) => installed)).toBe(true);
  });

  test('is followed at once by a node that has served before, without a probe', async () => {
    canary.says = undefined;
    await addNodes(3);
    await ended();
    canary.says = refused;
    await system.acm.renew(arn);
    // Each of the others was canary never, and this one was.
    await system.inventory.nodes.noteCanary(input.DeploymentId, 'i-00000002', 1);
    for (const node of system.target().nodes.slice(1)) {
      await system.inventory.nodes.noteCanary(input.DeploymentId, node.NodeId, 2_000_000_000);
    }
    await beginAgain();
    expect((await untilEnd()).Status).toBe('DEGRADED');
    expect(started().slice(1)).toEqual(['install i-00000001 10%', 'install i-00000002 10%']);
  });

  test('and another one after it, of nodes that have served: then all are asked', async () => {
    canary.says = undefined;
    const others = await addNodes(4);
    await ended();
    for (const node of [canary, ...others.slice(0, 2)]) node.says = refused;
    await system.acm.renew(arn);
    await beginAgain();
    expect((await untilEnd()).Status).toBe('DEGRADED');
    const kinds = started().slice(1);
    expect(kinds.map((line) => line.split(' ')[0])).toEqual(
      kinds.length === 1 ? ['install'] : ['install', 'install', 'probe', 'install'].slice(0, kinds.length),
    );
    expect(Object.values(await outcomes()).sort()).toEqual([
      'installed',
      'installed',
      'refused',
      'refused',
      'refused',
    ]);
  });

  test('is not asked before one that nothing is known of, nor that before one that has served', async () => {
    await addNodes(2, refused);
    const good = await addNode();
    await untilEnd();
    for (let renewal = 0; renewal < 6; renewal += 1) {
      await system.acm.renew(arn);
      await addNodes(2, refused);
      await beginAgain();
      expect((await untilEnd()).Status).toBe('DEGRADED');
      expect(good.installed?.Serial).toBe(system.acm.serialOf(arn));
      expect(started().at(-1)).toBe(`install ${good.NodeId} 10%`);
    }
    // Three until it was found, then one a renewal.
    expect(started()).toHaveLength(3 + 6);
  });

  test('alone is a failure, and people are told of it as of any other', async () => {
    await addNodes(2, refused);
    expect(await untilEnd()).toEqual({
      Status: 'FAILED',
      Error: expect.stringMatching(/^i-00000002: it is not for you i-00000001: .* i-00000003: /),
    });
    expect(started()).toHaveLength(2);
    expect(await outcomes()).toEqual({
      'i-00000001': 'refused',
      'i-00000002': 'refused',
      'i-00000003': 'refused',
    });
    const { NodeFailures, Untouched } = (await system.inventory.get(input.DeploymentId))?.Observed ?? {};
    expect([NodeFailures, Untouched]).toEqual([1, undefined]);
  });

  test('is no reason to go on where the next one fails for a reason that may be the rollout', async () => {
    const [broken, ...others] = await addNodes(3);
    (broken as ScriptedNode).behaviour = 'failed';
    (broken as ScriptedNode).exitCode = 60;
    expect((await untilEnd()).Status).toBe('FAILED');
    expect(started()).toEqual(['install i-00000001 10%', 'probe i-00000002 100%']);
    expect(others.map(({ installed }) => installed)).toEqual([undefined, undefined]);
    expect(await outcomes()).toEqual({
      'i-00000001': 'refused',
      'i-00000002': 'failed',
      'i-00000003': 'not-reached',
      'i-00000004': 'not-reached',
    });
  });

  test('that lies about it makes no Automations without end, and is tried again soon, after those it kept waiting', async () => {
    const liar = (parameters: Record<string, string>) =>
      parameters.DryRun === 'true' ? lineOf('dry-run-passed') : refused(parameters);
    canary.says = liar;
    await addNodes(9, liar);
    const good = await addNode();
    good.behaviour = 'installs';
    expect((await untilEnd()).Status).toBe('FAILED');
    expect(started().map((line) => line.split(' ')[0])).toEqual([
      'install',
      'probe',
      'install',
      'probe',
      'install',
    ]);
    expect((await system.inventory.get(input.DeploymentId))?.Observed).toMatchObject({ Untouched: true });
    for (let rollout = 0; rollout < 3 && !good.installed; rollout += 1) {
      await beginAgain();
      await untilEnd();
    }
    expect(good.installed?.Serial).toBe(system.acm.serialOf(arn));
  });

  test('in a dry run holds up no node there: all are tried, and it has not passed', async () => {
    await begin({ DryRun: true });
    canary.says = refused;
    await addNodes(2);
    expect((await untilEnd()).Status).toBe('DEGRADED');
    expect(started()).toEqual(['probe i-00000001 10%']);
    expect((await deployment()).LastTrial).toMatchObject({ Status: 'FAILED', Error: /not for you/ });
    const tried = (await recorded()).map(({ NodeId, DryRun }) => [NodeId, DryRun?.Outcome]);
    expect(tried).toEqual([
      ['i-00000001', 'refused'],
      ['i-00000002', 'dry-run-passed'],
      ['i-00000003', 'dry-run-passed'],
    ]);
  });

  test('can do no dry run, and is found by a probe all the same', async () => {
    await addNodes(2, refused);
    const container = await addNode();
    container.says = (parameters) =>
      parameters.DryRun === 'true' ? refusedAs(14)(parameters) : lineOf('installed');
    expect((await untilEnd()).Status).toBe('DEGRADED');
    expect((await outcomes())[container.NodeId]).toBe('installed');
  });

  test.each([
    [
      'was scaled in',
      (node: ScriptedNode) => {
        node.listed = false;
      },
    ],
    [
      'has gone offline',
      (node: ScriptedNode) => {
        node.online = false;
      },
    ],
  ])('because it %s before it answered, is followed by another one', async (_, leaves) => {
    canary.says = () => silent;
    const other = await addNode();
    await system.letNodesAnswer();
    leaves(canary);
    Object.assign(automation(), { status: 'Failed', steps: automation().steps.slice(0, 1) });
    input.Installation = (await check()) as typeof input.Installation;
    expect(started()).toEqual(['install i-00000001 10%', `install ${other.NodeId} 10%`]);
    await system.letNodesAnswer();
    expect(other.installed?.Serial).toBe(input.Bundle.Serial);
  });

  test('and whose Automation a person stopped, is followed by none', async () => {
    await addNodes(2);
    await system.letNodesAnswer();
    automation().status = 'Cancelled';
    expect((await check()).Status).toBe('FAILED');
    expect(started()).toHaveLength(1);
  });

  test('is followed within the deadline of the first Automation, and by nothing after it', async () => {
    await addNodes(2);
    const { Deadline } = input.Installation;
    const next = await ended();
    expect(next).toMatchObject({ Status: 'IN_PROGRESS', Deadline, Polls: 0 });
    input.Installation = next as typeof input.Installation;
    system.advance({ hours: 3 });
    expect((await check()).Status).toBe('FAILED');
    // The second one was at it.
    expect(await outcomes()).toEqual({
      'i-00000001': 'refused',
      'i-00000002': 'failed',
      'i-00000003': 'not-reached',
    });
  });

  test('is followed by nothing, where it has ended after the deadline', async () => {
    await addNodes(2);
    await system.letNodesAnswer();
    system.advance({ hours: 3 });
    expect((await check()).Status).toBe('FAILED');
    expect(started()).toHaveLength(1);
  });

  test('is followed by one Automation, however often the task is repeated', async () => {
    await addNodes(2);
    const { ssm } = system.target();
    ssm.failNext('StartAutomationExecution', awsError('TimeoutError'), 'after');
    await expect(ended()).rejects.toMatchObject({ name: 'RetryLater' });
    system.cloud.faults.inject({
      operation: 'DynamoDB_20120810.UpdateItem',
      kind: 'refuse',
      error: { name: 'AccessDeniedException', message: 'denied once', status: 403 },
      when: ({ input: update }) => JSON.stringify(update).includes('AutomationExecutionId'),
    });
    await expect(check()).rejects.toMatchObject({ name: 'RetryLater' });
    const second = await check();
    expect(await check()).toEqual(second);
    expect(started()).toEqual(['install i-00000001 10%', 'probe i-00000002 100%']);
  });

  test('waits for room where too many Automations run', async () => {
    await addNodes(2);
    system
      .target()
      .ssm.failNext('StartAutomationExecution', awsError('AutomationExecutionLimitExceededException'));
    await expect(ended()).rejects.toMatchObject({ name: 'RetryLater' });
    expect((await check()).Status).toBe('IN_PROGRESS');
  });

  test('is followed by nothing once the deployment is deleted: what was started then is stopped', async () => {
    await addNodes(2);
    system.before('AmazonSSM.StartAutomationExecution', () =>
      system.mark('markDeleting', input.DeploymentId),
    );
    await expect(ended()).rejects.toMatchObject({ name: 'RolloutSuperseded' });
    await system.letNodesAnswer();
    expect(automation().status).toMatch(/^Cancel/);
  });
});

describe('a node that cannot be served for a reason of its own', () => {
  test.each([10, 12, 13, 20, 22, 25, 30, 31, 32, 34, 50])(
    'exit code %i, does not use up MaxErrors: all others are served',
    async (code) => {
      await begin({ MaxErrors: '0', MaxConcurrency: '1' });
      // They come before the good ones.
      canary.listed = false;
      for (let index = 0; index < 3; index += 1) (await addNode()).says = refusedAs(code);
      canary.listed = true;
      const others = [await addNode(), await addNode()];
      await ended();
      expect(others.map(({ installed }) => installed?.Serial)).toEqual(others.map(() => input.Bundle.Serial));
      expect((await deployment()).Status).toBe('DEGRADED');
      expect((await recorded()).filter(({ Refusal }) => Refusal)).toHaveLength(3);
    },
  );

  test.each([1, 11, 21, 23, 24, 33, 35, 36, 40, 41, 42, 43, 44, 45, 60, 61, 62, 63, 70, 71])(
    'is none that fails with exit code %i: MaxErrors stops the rollout, and it has failed',
    async (code) => {
      await begin({ MaxErrors: '0', MaxConcurrency: '1' });
      canary.listed = false;
      const broken = await addNode({ behaviour: 'failed', exitCode: code });
      canary.listed = true;
      await addNode();
      await ended();
      expect((await deployment()).Status).toBe('FAILED');
      expect(await outcomes()).toEqual({
        'i-00000001': 'installed',
        [broken.NodeId]: 'failed',
        'i-00000003': 'not-reached',
      });
    },
  );

  test('is one that says so before the switch only: what was taken back counts', async () => {
    (await addNode()).says = () => lineOf('rolled-back', { ExitCode: 50 });
    await ended();
    expect((await deployment()).Status).toBe('FAILED');
  });

  test('keeps that it is refused where a rollout does not come to it, and loses it when it is served', async () => {
    const bad = await addNode();
    bad.says = refusedAs(20);
    await ended();
    const refusal = async () =>
      (await recorded()).find(({ NodeId }) => NodeId === bad.NodeId)?.Refusal?.Since;
    const since = await refusal();
    expect(since).toBeDefined();
    system.advance({ minutes: 15 });
    canary.behaviour = 'failed';
    await system.acm.renew(arn);
    await beginAgain();
    await ended();
    expect(await outcomes()).toEqual({ 'i-00000001': 'failed', [bad.NodeId]: 'refused' });
    expect(await refusal()).toBe(since);
    canary.behaviour = 'installs';
    bad.says = undefined;
    await beginAgain();
    await ended();
    expect([await outcomes(), await refusal()]).toEqual([
      { 'i-00000001': 'installed', [bad.NodeId]: 'installed' },
      undefined,
    ]);
  });

  test.each([1, 3])(
    'that was refused while it was to be healed keeps its finding, with the reason, and keeps no other from it (%i)',
    async (bad) => {
      const others = [];
      for (let index = 0; index < 3; index += 1) others.push(await addNode());
      await ended();
      const Finding = { Kind: 'missing', Text: 'gone', Since: '2026-11-24T10:00:00Z' } as const;
      for (const record of await recorded()) {
        await system.inventory.nodes.noteSight(record, { Finding });
      }
      await system.reconcile('nodes');
      const nodes = [canary, ...others];
      for (const node of nodes.slice(0, bad)) node.says = refusedAs(32);
      for (const node of nodes.slice(bad)) node.drift.set('web-prod', 'missing');
      await system.runAll();
      const mended = nodes.map(({ NodeId }, index) => [
        NodeId,
        'installed',
        index < bad ? { ...Finding, Error: 'it is not for you' } : undefined,
      ]);
      const found = (await recorded()).map(({ NodeId, Outcome, Finding: left }) => [NodeId, Outcome, left]);
      expect(found).toEqual(mended);
      const { LastHealing } = (await system.inventory.get(input.DeploymentId)) ?? {};
      expect(LastHealing).toMatchObject({ Outcome: 'DEGRADED' });
    },
  );
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
        Error: expect.stringMatching(/^The system stopped the installation at its deadline\./),
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
