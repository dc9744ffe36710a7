import { describe, expect, test } from '@jest/globals';
import {
  type Answer,
  definitionOf,
  named,
  runDefinition,
  type State,
  sample,
  tasksOf,
} from './run-definition.ts';

const definition = definitionOf('CertificateRolloutStateMachine');
const input = sample('export-certificate/requested.json');
const bundle = sample('start-installation/bundle-stored.json').Bundle;
const inProgress = sample('check-installation/in-progress.json').Installation;

/** Refusals of the services behind a task that pass within minutes after a change. */
const MAY_PASS: Partial<Record<Name, string[]>> = {
  ExportCertificate: [
    'InvalidRequestException',
    'MalformedPolicyDocumentException',
    'RequestInProgressException',
    'ResourceNotFoundException',
    'ValidationException',
  ],
};

type Name = 'ExportCertificate' | 'StartInstallation' | 'CheckInstallation';

const run = (answers: Partial<Record<Name, Answer[]>>) =>
  runDefinition<Name>(
    definition,
    {
      ExportCertificate: [bundle],
      StartInstallation: [inProgress],
      CheckInstallation: [{ Status: 'INSTALLED' }],
      ...answers,
    },
    input,
  );

describe('a rollout', () => {
  test('waits for its slot, exports, starts, waits until every node has reported, and is installed', async () => {
    const { visited, error } = await run({
      CheckInstallation: [inProgress, inProgress, { Status: 'INSTALLED' }],
    });
    expect(error).toBeUndefined();
    expect(visited).toEqual([
      'WaitForTurn',
      'ExportCertificate',
      'StartInstallation',
      'IsInstallationComplete',
      ...Array(3).fill(['WaitForInstallation', 'CheckInstallation', 'IsInstallationComplete']).flat(),
      'Installed',
    ]);
  });

  test.each([
    [
      'Installed',
      'a repeated start finds the end recorded',
      { StartInstallation: [{ Status: 'INSTALLED' }] },
    ],
    ['Waiting', 'no node carries the tag', { StartInstallation: [{ Status: 'WAITING' }] }],
    ['Degraded', 'no node can be reached', { StartInstallation: [{ Status: 'DEGRADED' }] }],
    ['Degraded', 'some node could not be reached', { CheckInstallation: [{ Status: 'DEGRADED' }] }],
    ['Waiting', 'the last node with the tag has gone', { CheckInstallation: [{ Status: 'WAITING' }] }],
  ])('ends as %s when %s', async (end, _when, answers) => {
    const { visited, error } = await run(answers);
    expect(error).toBeUndefined();
    expect(visited.at(-1)).toBe(end);
  });

  test('fails, and says why, when a node failed', async () => {
    const { visited, error } = await run({
      CheckInstallation: [{ Status: 'FAILED', Error: 'i-1: nginx refused its configuration.' }],
    });
    expect(visited.at(-1)).toBe('InstallationFailed');
    expect(error).toEqual({ Error: 'InstallationFailed', Cause: 'i-1: nginx refused its configuration.' });
  });

  test.each([
    ['CheckInstallation', 'installed'],
    ['CheckInstallation', 'CANCELLED'],
  ] as [Name, string][])(
    'fails when %s answers %s, which the state machine does not expect',
    async (name, Status) => {
      const { error } = await run({ [name]: [{ Status }] });
      expect(error?.Error).toBe('InstallationStatusUnknown');
    },
  );

  test.each(['ExportCertificate', 'StartInstallation', 'CheckInstallation'] as Name[])(
    'ends quietly when %s finds it superseded',
    async (name) => {
      const { visited, error, calls } = await run({ [name]: [named('RolloutSuperseded')] });
      expect(error).toBeUndefined();
      expect(visited.at(-1)).toBe('Superseded');
      expect(calls[name]).toHaveLength(1);
    },
  );
});

describe.each(['ExportCertificate', 'StartInstallation', 'CheckInstallation'] as Name[])('%s', (name) => {
  const answer = {
    ExportCertificate: bundle,
    StartInstallation: inProgress,
    CheckInstallation: { Status: 'INSTALLED' },
  };

  test.each([
    'RetryLater',
    'ThrottlingException',
    'TooManyRequestsException',
    'Lambda.TooManyRequestsException',
    'Lambda.Unknown',
    'Sandbox.Timedout',
    'InternalServerError',
    'TimeoutError',
  ])('is repeated after %s', async (error) => {
    const { visited, calls } = await run({ [name]: [named(error), named(error), answer[name]] });
    expect(calls[name]).toHaveLength(3);
    expect(visited.at(-1)).toBe('Installed');
  });

  test.each(['TargetAccessDenied', 'AccessDeniedException', ...(MAY_PASS[name] ?? [])])(
    'is repeated a few times after %s, which may pass, and then fails under that name',
    async (fault) => {
      const passed = await run({ [name]: [named(fault), named(fault), answer[name]] });
      expect(passed.visited.at(-1)).toBe('Installed');
      const { calls, error } = await run({ [name]: [named(fault, 'what to do')] });
      expect(calls[name]).toHaveLength(9);
      expect(error).toEqual({ Error: fault, Cause: 'what to do' });
    },
  );

  test.each(['CertificateNotDeployable', 'TargetNotPrepared', 'NotAllowedByOwner', 'TypeError'])(
    'is not repeated after %s: the execution fails under that name',
    async (fault) => {
      const { calls, error } = await run({ [name]: [named(fault, 'what to do')] });
      expect(calls[name]).toHaveLength(1);
      expect(error).toEqual({ Error: fault, Cause: 'what to do' });
    },
  );

  test('gives up in the end, under the name of the fault', async () => {
    const { calls, error } = await run({ [name]: [named('ThrottlingException')] });
    expect(calls[name].length).toBeGreaterThan(10);
    expect(error?.Error).toBe('ThrottlingException');
  });
});

test('a full Automation queue is waited for', async () => {
  const full = named('AutomationExecutionLimitExceededException');
  const { visited, calls } = await run({ StartInstallation: [full, full, inProgress] });
  expect(calls.StartInstallation).toHaveLength(3);
  expect(visited.at(-1)).toBe('Installed');
});

describe('what travels', () => {
  test('each function gets what its sample shows, and nothing besides', async () => {
    const { calls } = await run({});
    expect(calls.ExportCertificate[0]).toEqual(sample('export-certificate/requested.json'));
    expect(calls.StartInstallation[0]).toEqual(sample('start-installation/bundle-stored.json'));
    expect(calls.CheckInstallation[0]).toEqual(sample('check-installation/in-progress.json'));
  });

  test('nothing that the exporting function lets slip reaches the history', async () => {
    const { output } = await run({
      ExportCertificate: [{ ...bundle, PrivateKey: 'a key', Passphrase: 'secret' }],
    });
    expect(output.Bundle).toEqual(bundle);
  });

  test('the loop does not grow: each poll replaces the one before', async () => {
    const polls = Array.from({ length: 40 }, (_, Polls) => ({ ...inProgress, Polls }));
    const { calls } = await run({ CheckInstallation: [...polls, { Status: 'INSTALLED' }] });
    const sizes = calls.CheckInstallation.map((call) => JSON.stringify(call).length);
    expect(sizes).toHaveLength(41);
    expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThan(5);
  });
});

describe('the definition', () => {
  test('ends by itself, whatever happens inside', () => {
    expect(definition.TimeoutSeconds).toBeLessThanOrEqual(86_400);
  });

  test.each(tasksOf(definition))('%s catches only that it is superseded', (_name, state) => {
    expect(state.Catch).toEqual([
      expect.objectContaining({ ErrorEquals: ['RolloutSuperseded'], Next: 'Superseded' }),
    ]);
  });

  test('no failure is turned into a success', () => {
    const ends = Object.entries<State>(definition.States).filter(([, { Type }]) => Type === 'Succeed');
    expect(ends.map(([name]) => name).sort()).toEqual(['Degraded', 'Installed', 'Superseded', 'Waiting']);
  });
});
