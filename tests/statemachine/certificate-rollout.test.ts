import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import aslValidator from 'asl-validator';
import { StateMachine } from 'aws-local-stepfunctions';
import { centralStack, ROOT, resourceOf } from '../templates/stacks.ts';

// biome-ignore lint/suspicious/noExplicitAny: states of every type
type State = any;

const definition = resourceOf(centralStack(), 'CertificateRolloutStateMachine').properties.Definition;
const states: [string, State][] = Object.entries(definition.States);
const tasks = states.filter(([, state]) => state.Type === 'Task');

const sample = (file: string) => JSON.parse(readFileSync(path.join(ROOT, 'events', file), 'utf8'));
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

type Answer = object | Error;
type Name = 'ExportCertificate' | 'StartInstallation' | 'CheckInstallation';

const named = (name: string, message = name) => Object.assign(new Error(message), { name });

/** Runs the shipped definition; each task gives its answers one after the other, and the last one for ever. */
async function run(answers: Partial<Record<Name, Answer[]>>) {
  const script: Record<Name, Answer[]> = {
    ExportCertificate: [bundle],
    StartInstallation: [inProgress],
    CheckInstallation: [{ Status: 'INSTALLED' }],
    ...answers,
  };
  const calls: Record<Name, State[]> = {
    ExportCertificate: [],
    StartInstallation: [],
    CheckInstallation: [],
  };
  const handlers = (Object.entries(script) as [Name, Answer[]][]).map(([name, given]) => [
    name,
    ({ Payload }: State) => {
      const made = calls[name];
      made.push(Payload);
      const answer = given[Math.min(made.length, given.length) - 1];
      if (answer instanceof Error) throw answer;
      return { ExecutedVersion: '$LATEST', StatusCode: 200, Payload: answer };
    },
  ]);
  const names = tasks.map(([name]) => name);
  // A test of its own validates the definition.
  const execution = new StateMachine(definition, { validationOptions: { noValidate: true } }).run(input, {
    overrides: {
      taskResourceLocalHandlers: Object.fromEntries(handlers),
      waitTimeOverrides: { WaitForInstallation: 0 },
      retryIntervalOverrides: Object.fromEntries(names.map((name) => [name, 0])),
    },
  });
  const visited: string[] = [];
  let error: { Error: string; Cause: string } | undefined;
  const following = (async () => {
    for await (const event of execution.eventLogs) {
      if (event.type === 'StateEntered') visited.push(event.state.name);
      if (event.type === 'ExecutionFailed')
        error = { Error: event.Error ?? '', Cause: String(event.Cause ?? '') };
    }
  })();
  const output: State = await execution.result.catch(() => undefined);
  await following;
  return { output, error, visited, calls };
}

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
  test('is valid Amazon States Language', () => {
    const { isValid, errorsText } = aslValidator(structuredClone(definition), {
      checkPaths: true,
      checkArn: true,
    });
    expect(isValid ? '' : errorsText()).toBe('');
  });

  test('uses nothing that the local interpreter would silently ignore', () => {
    const ignored =
      /"(QueryLanguage|Assign|Arguments|Output|HeartbeatSeconds\w*|ItemReader|ItemBatcher|ResultWriter|ToleratedFailure\w*|Credentials)":|\$\$\.State\b|\$\$\.Task\b|\{%/;
    expect(JSON.stringify(definition).match(ignored)).toBeNull();
  });

  test.each(states)('%s tells the reader of the console what it is for', (_name, state) => {
    expect(state.Comment).toMatch(/^[A-Z].{20,}[.?]$/s);
  });

  test('ends by itself, whatever happens inside', () => {
    expect(definition.TimeoutSeconds).toBeLessThanOrEqual(86_400);
  });

  test.each(states.filter(([, state]) => state.Type === 'Choice'))(
    '%s takes what it does not know for a failure',
    (_name, state) => {
      expect(definition.States[state.Default].Type).toBe('Fail');
    },
  );

  test.each(tasks)(
    '%s names what it repeats and catches, and never a whole class of errors',
    (_name, state) => {
      const rules = [...state.Retry, ...state.Catch];
      expect(rules.flatMap((rule) => rule.ErrorEquals).filter((error) => /^States\./.test(error))).toEqual(
        [],
      );
      expect(state.Catch).toEqual([
        expect.objectContaining({ ErrorEquals: ['RolloutSuperseded'], Next: 'Superseded' }),
      ]);
    },
  );

  test.each(tasks)('%s spreads its repeats, so that a fleet does not come back together', (_name, state) => {
    for (const retry of state.Retry) {
      expect(retry).toMatchObject({
        JitterStrategy: 'FULL',
        BackoffRate: 2,
        MaxDelaySeconds: expect.any(Number),
      });
    }
  });

  test.each(tasks)(
    '%s has hours of patience with a busy service, within the time of the execution',
    (_name, state) => {
      const busy = state.Retry.find((retry: State) => retry.ErrorEquals.includes('ThrottlingException'));
      let longest = 0;
      for (let attempt = 0; attempt < busy.MaxAttempts; attempt += 1) {
        longest += Math.min(busy.IntervalSeconds * busy.BackoffRate ** attempt, busy.MaxDelaySeconds);
      }
      // Full jitter waits half of it on average.
      expect(longest / 2).toBeGreaterThan(3600);
      expect(longest).toBeLessThan(definition.TimeoutSeconds * 0.7);
    },
  );

  test('no failure is turned into a success', () => {
    const ends = states.filter(([, state]) => state.Type === 'Succeed').map(([name]) => name);
    expect(ends.sort()).toEqual(['Degraded', 'Installed', 'Superseded', 'Waiting']);
  });
});
