import { beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Deployment } from '../../functions/domain/deployment.ts';
import { FIRST_WAIT_SECONDS, type StartInstallationInput } from '../../functions/domain/installation.ts';
import { DeploymentBody } from '../../functions/domain/order.ts';
import { deploymentBodies } from './support/deployment-bodies.ts';
import { awsError } from './support/service-view.ts';
import { MEMBER, REGION, System } from './support/system.ts';

let system: System;
let arn: string;
beforeEach(async () => {
  system = await System.create();
  arn = await system.acm.issue('web');
});

/** Registers and exports, and gives the input of StartInstallation. */
async function exported(body: Record<string, unknown> = {}): Promise<StartInstallationInput> {
  const answer = await system.register({ CertificateArn: arn, ...body });
  expect([answer.status, answer.body.Faults]).toEqual([202, undefined]);
  await system.step(answer.body.ExecutionArn);
  return system.inputOf(answer.body.ExecutionArn);
}

const start = (input: StartInstallationInput) => system.function('start-installation')(input);
const automations = () => system.target().automations();
async function end(id: string): Promise<void> {
  const deployment = (await system.inventory.get(id)) as Deployment;
  const result = { Outcome: 'INSTALLED', ExecutionArn: 'arn:x', AutomationEnded: true } as const;
  await system.inventory.end(deployment, deployment.RolloutNumber, result);
}

test('starts one Automation with references and options, and says when to look and when to give up', async () => {
  await system.target().addNode('i-00000001');
  const input = await exported({
    ReloadServices: ['haproxy', 'nginx'],
    RestartServices: ['slapd', 'postfix@-'],
    KeyMode: '0640',
    ExtraFormats: ['pkcs12'],
  });
  expect(await start(input)).toEqual({
    Status: 'IN_PROGRESS',
    AutomationExecutionId: automations()[0]?.id,
    Deadline: '2026-11-24T12:30:00Z',
    Polls: 0,
    WaitSeconds: FIRST_WAIT_SECONDS,
  });
  expect(automations()[0]?.parameters).toEqual({
    CanaryNodeId: ['i-00000001'],
    TargetTagKey: ['acm-export'],
    TargetTagValue: ['web'],
    MaxConcurrency: ['10'],
    MaxErrors: ['10%'],
    SecretArn: [input.Bundle.SecretArn],
    VersionId: [input.Bundle.VersionId],
    CertName: ['web-prod'],
    DeploymentId: [input.DeploymentId],
    RolloutNumber: [String(input.RolloutNumber)],
    CorrelationId: ['request-1'],
    ReloadServices: ['haproxy nginx'],
    RestartServices: ['slapd postfix@-'],
    VerifyPort: ['0'],
    KeyFormat: ['decrypted'],
    ExtraFormats: ['pkcs12'],
    KeyMode: ['0640'],
    DryRun: ['false'],
  });
  expect((await system.deployment(input.DeploymentId)).Rollout?.AutomationExecutionId).toBe(
    automations()[0]?.id,
  );
});

test.each(['Debian-exim', '0root', 'www.data', 'machine$', '_', 'g'.repeat(32), `${'g'.repeat(31)}$`])(
  'the group %s, which useradd allows, reaches the nodes',
  async (KeyGroup) => {
    await system.target().addNode('i-00000001');
    await start(await exported({ KeyGroup }));
    expect(automations()[0]?.parameters.KeyGroup).toEqual([KeyGroup]);
  },
);

describe('a start that is repeated', () => {
  test('after it was noted answers with what runs', async () => {
    await system.target().addNode('i-00000001');
    const input = await exported();
    const first = await start(input);
    expect(await start(input)).toEqual(first);
    expect(system.target().ssm.callsOf('StartAutomationExecution')).toHaveLength(1);
  });

  test('after its answer was lost uses the same token, so that nothing runs twice', async () => {
    const { ssm } = system.target();
    await system.target().addNode('i-00000001');
    const input = await exported();
    ssm.failNext('StartAutomationExecution', awsError('TimeoutError'), 'after');
    await expect(start(input)).rejects.toMatchObject({ name: 'RetryLater' });
    await start(input);
    expect(automations()).toHaveLength(1);
    const tokens = ssm.callsOf('StartAutomationExecution').map(({ ClientToken }) => ClientToken);
    expect(new Set(tokens).size).toBe(1);
  });

  test('after the note of its Automation was refused finds that Automation, whatever refused the note', async () => {
    await system.target().addNode('i-00000001');
    const input = await exported();
    system.cloud.faults.inject({
      operation: 'DynamoDB_20120810.UpdateItem',
      kind: 'refuse',
      error: { name: 'AccessDeniedException', message: 'denied once', status: 403 },
      when: ({ input: update }) => JSON.stringify(update).includes('AutomationExecutionId'),
    });
    await expect(start(input)).rejects.toThrow(
      expect.objectContaining({ name: 'RetryLater', message: expect.stringContaining('denied once') }),
    );
    const [{ id: AutomationExecutionId } = { id: '' }, ...others] = automations();
    expect(await start(input)).toMatchObject({ Status: 'IN_PROGRESS', AutomationExecutionId });
    expect([others, automations().length]).toEqual([[], 1]);
  });

  test('with other nodes than before is not stopped by the used token', async () => {
    const target = system.target();
    const first = await target.addNode('i-00000001');
    const input = await exported();
    target.ssm.failNext('StartAutomationExecution', awsError('TimeoutError'), 'after');
    await expect(start(input)).rejects.toMatchObject({ name: 'RetryLater' });
    await target.addNode('i-00000002');
    first.listed = false;
    expect(await start(input)).toMatchObject({ Status: 'IN_PROGRESS' });
    expect(automations().map(({ parameters }) => parameters.CanaryNodeId)).toEqual([
      ['i-00000001'],
      ['i-00000002'],
    ]);
  });

  test('after its end was recorded answers with that end', async () => {
    const input = await exported();
    expect(await start(input)).toEqual({ Status: 'WAITING' });
    expect(await start(input)).toEqual({ Status: 'WAITING' });
  });

  test('because of a full queue keeps the name that the state machine waits for', async () => {
    await system.target().addNode('i-00000001');
    const input = await exported();
    const name = 'AutomationExecutionLimitExceededException';
    system.target().ssm.failNext('StartAutomationExecution', awsError(name));
    await expect(start(input)).rejects.toMatchObject({ name });
  });
});

test('the canary is a node that is ready, and another one each time', async () => {
  const target = system.target();
  await target.addNode('i-00000000', { online: false });
  await target.addNode('i-00000001', { platform: 'Windows' });
  await target.addNode('i-00000002', { agent: '3.2.9999.0' });
  for (let index = 0; index < 60; index += 1) {
    await target.addNode(`mi-${String(index).padStart(17, '0')}`);
  }
  const canaries: string[] = [];
  for (let round = 0; round < 3; round += 1) {
    const input = await exported();
    await start(input);
    canaries.push(automations().at(-1)?.parameters.CanaryNodeId?.[0] as string);
    await end(input.DeploymentId);
  }
  expect(new Set(canaries).size).toBe(3);
  expect(canaries.every((id) => id.startsWith('mi-'))).toBe(true);
});

test('the canary is the node of longest ago that did not fail last time; if all failed, the one of longest ago', async () => {
  const [first, second, third] = ['i-00000001', 'i-00000002', 'i-00000003'] as const;
  const all = [first, second, third];
  for (const node of all) {
    await system.target().addNode(node);
  }
  const canary = async (failed: string[]) => {
    const input = await exported();
    const { DeploymentId, RolloutNumber } = input;
    await start(input);
    const results = all.map((NodeId) => ({
      NodeId,
      Outcome: failed.includes(NodeId) ? ('rolled-back' as const) : ('installed' as const),
    }));
    await system.inventory.nodes.record(DeploymentId, RolloutNumber, results);
    await end(DeploymentId);
    return automations().at(-1)?.parameters.CanaryNodeId?.[0];
  };
  expect([await canary([]), await canary([third]), await canary([third])]).toEqual([first, second, first]);
  expect([await canary([]), await canary(all)]).toEqual([second, third]);
  expect([await canary(all), await canary([])]).toEqual([first, second]);
});

describe('an Automation that the rollout before left behind', () => {
  /** Begins a rollout after one that was aborted while its Automation was running. */
  async function afterAbort() {
    await system.target().addNode('i-00000001');
    const aborted = await exported();
    await start(aborted);
    const [execution] = system.sfn.running();
    system.sfn.end(execution?.arn as string, 'ABORTED');
    await system.report(system.executionEvent(execution as never));
    const [left] = automations();
    return { left: left as NonNullable<typeof left>, input: await exported() };
  }

  test('is stopped, and the next one starts when it has ended', async () => {
    const { left, input } = await afterAbort();
    // A step that runs is not broken off: the node has the command, and has not answered.
    for (let round = 0; round < 2; round += 1) {
      await expect(start(input)).rejects.toMatchObject({ name: 'RetryLater' });
    }
    expect(automations().map(({ status }) => status)).toEqual(['Cancelling']);
    await system.letNodesAnswer();
    expect(left.status).toBe('Cancelled');
    expect(await start(input)).toMatchObject({ Status: 'IN_PROGRESS' });
    expect((await system.inventory.get(input.DeploymentId))?.Unfinished).toBeUndefined();
  });

  test('holds up nothing when its history is gone', async () => {
    const { input } = await afterAbort();
    system.target().ssm.failNext('GetAutomationExecution', awsError('AutomationExecutionNotFoundException'));
    expect(await start(input)).toMatchObject({ Status: 'IN_PROGRESS' });
  });

  test('is stopped by a DELETE too', async () => {
    const { left, input } = await afterAbort();
    await system.remove(input.DeploymentId);
    expect(left.status).toMatch(/^Cancel/);
  });
});

test('the record says what is done, whatever the input says: a dry run stays one', async () => {
  await system.target().addNode('i-00000001');
  const input = await exported({ DryRun: true, VerifyPort: 8443 });
  const byHand = { ...input, Cause: 'REQUEST', CorrelationId: 'by-hand', DryRun: 'false' };
  await start(byHand);
  const sent = { DryRun: ['true'], VerifyPort: ['8443'], CorrelationId: ['request-1'] };
  expect(automations()[0]?.parameters).toMatchObject(sent);
});

test('what it returns is closed: the history of the execution has all of it', async () => {
  const input = await exported();
  expect(await start(input)).toStrictEqual({ Status: 'WAITING' });
  await system.target().addNode('i-00000001');
  const fields = ['AutomationExecutionId', 'Deadline', 'Polls', 'Status', 'WaitSeconds'];
  expect(Object.keys(await start(await exported())).sort()).toEqual(fields);
});

describe('without a node that is ready the rollout ends here', () => {
  test('waiting, when none carries the tag: the version is ready, nobody is told', async () => {
    const input = await exported();
    expect(await start(input)).toEqual({ Status: 'WAITING' });
    const deployment = await system.deployment(input.DeploymentId);
    expect(deployment).toMatchObject({
      Status: 'WAITING',
      NotAfter: '2027-06-09T23:59:59Z',
      LastRollout: { Status: 'WAITING', Serial: input.Bundle.Serial },
    });
    expect([deployment.Serial, deployment.LastError, deployment.Rollout]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    expect(automations()).toEqual([]);
  });

  test('degraded, when those there are cannot be served: each is named', async () => {
    const target = system.target();
    await target.addNode('i-00000001', { online: false });
    await target.addNode('i-00000002', { platform: 'Windows' });
    const input = await exported();
    expect(await start(input)).toEqual({ Status: 'DEGRADED' });
    const deployment = await system.deployment(input.DeploymentId);
    expect(deployment.LastError).toMatch(
      /^i-00000001: The SSM agent .* i-00000002: Platform Windows is not supported/,
    );
    expect(deployment.Serial).toBeUndefined();
    expect(await system.inventory.nodes.all(input.DeploymentId)).toMatchObject([
      { NodeId: 'i-00000001', Outcome: 'offline' },
      { NodeId: 'i-00000002', Outcome: 'unsupported' },
    ]);
  });
});

test('whatever a caller may ask for fits the patterns and the length that the documents set', async () => {
  const parameters = system.cloud.services.ssmDocuments.find(MEMBER, REGION, 'acm-export-install-on-fleet')
    ?.content.parameters as Record<string, { allowedPattern: string; default?: string }>;
  const node = await system.target().addNode('i-0123456789abcdef0');
  await fc.assert(
    fc.asyncProperty(deploymentBodies(arn), async (body) => {
      expect(DeploymentBody.safeParse(body).error).toBeUndefined();
      node.tags = { 'acm-export': body.TargetTagValue };
      const { TargetAccount: _, TargetRegion: __, TargetTagKey, ...asked } = body;
      const input = await exported({ ...asked, DryRun: false });
      await start(input);
      const sent = automations().at(-1)?.parameters as Record<string, string[]>;
      for (const [name, [value]] of Object.entries({ ...sent, TargetTagKey: [TargetTagKey] })) {
        expect(value).toMatch(new RegExp(parameters[name]?.allowedPattern as string));
        expect(value?.length).toBeLessThanOrEqual(512);
      }
      // What is left out has a default.
      for (const [name, parameter] of Object.entries(parameters)) {
        expect([name, name in sent || parameter.default !== undefined]).toEqual([name, true]);
      }
      await end(input.DeploymentId);
    }),
    { numRuns: 80, seed: 20261124 },
  );
});
