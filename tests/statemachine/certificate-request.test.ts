import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import aslValidator from 'asl-validator';
import { StateMachine } from 'aws-local-stepfunctions';
import { centralStack, ROOT, resourceOf } from '../templates/stacks.ts';

// biome-ignore lint/suspicious/noExplicitAny: states of every type
type State = any;

const definition = resourceOf(centralStack(), 'CertificateRequestStateMachine').properties.Definition;
const states: [string, State][] = Object.entries(definition.States);
const tasks = states.filter(([, state]) => state.Type === 'Task');

const sample = (file: string) =>
  JSON.parse(readFileSync(path.join(ROOT, 'events/request-certificate', file), 'utf8'));
const input = sample('requested.json');

type Answer = object | Error;
type Name = 'RequestCertificate' | 'WriteValidationRecords' | 'RegisterDeployments';
const NAMES: Name[] = ['RequestCertificate', 'WriteValidationRecords', 'RegisterDeployments'];

const named = (name: string, message = name) => Object.assign(new Error(message), { name });
const step = (Action: string, more: object = {}) => ({ ...input, Action, WaitSeconds: 10, ...more });
const written = { ...input, WaitSeconds: 10 };
const registered = { ...input, Registered: ['0'.repeat(24)] };

/** Runs the shipped definition; each task gives its answers one after the other, and the last one for ever. */
async function run(answers: Partial<Record<Name, Answer[]>>, given: typeof input = input) {
  const script: Record<Name, Answer[]> = {
    RequestCertificate: [step('WAIT'), step('WRITE'), step('REGISTER')],
    WriteValidationRecords: [written],
    RegisterDeployments: [registered],
    ...answers,
  };
  const calls: Record<Name, State[]> = {
    RequestCertificate: [],
    WriteValidationRecords: [],
    RegisterDeployments: [],
  };
  const handlers = (Object.entries(script) as [Name, Answer[]][]).map(([name, all]) => [
    name,
    ({ Payload }: State) => {
      const made = calls[name];
      made.push(Payload);
      const answer = all[Math.min(made.length, all.length) - 1];
      if (answer instanceof Error) throw answer;
      return { ExecutedVersion: '$LATEST', StatusCode: 200, Payload: answer };
    },
  ]);
  // A test of its own validates the definition.
  const execution = new StateMachine(definition, { validationOptions: { noValidate: true } }).run(given, {
    overrides: {
      taskResourceLocalHandlers: Object.fromEntries(handlers),
      waitTimeOverrides: { WaitForCertificate: 0 },
      retryIntervalOverrides: Object.fromEntries(tasks.map(([name]) => [name, 0])),
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
  await execution.result.catch(() => undefined);
  await following;
  return { error, visited, calls };
}

describe('a request', () => {
  test('asks, writes, waits until the certificate is issued, and registers', async () => {
    const { visited, error, calls } = await run({});
    expect(error).toBeUndefined();
    expect(visited).toEqual([
      ...['RequestCertificate', 'IsCertificateIssued', 'WaitForCertificate'],
      ...['RequestCertificate', 'IsCertificateIssued', 'WriteValidationRecords', 'WaitForCertificate'],
      ...['RequestCertificate', 'IsCertificateIssued', 'RegisterDeployments', 'Registered'],
    ]);
    expect(calls.WriteValidationRecords).toEqual([input]);
    expect(calls.RegisterDeployments).toEqual([{ RegisterRequested: input }]);
  });

  test('an event of ACM is taken, and the request that it belongs to travels on', async () => {
    const event = sample('certificate-issued.json');
    const { visited, calls } = await run({ RequestCertificate: [step('REGISTER')] }, event);
    expect(calls.RequestCertificate).toEqual([event]);
    expect(calls.RegisterDeployments).toEqual([{ RegisterRequested: input }]);
    expect(visited.at(-1)).toBe('Registered');
  });

  test('ends quietly where nothing is left to do', async () => {
    const { visited, error, calls } = await run({ RequestCertificate: [step('END')] });
    expect(error).toBeUndefined();
    expect(visited.at(-1)).toBe('Registered');
    expect(calls.RegisterDeployments).toEqual([]);
  });

  test('fails, and says why', async () => {
    const { visited, error } = await run({
      RequestCertificate: [step('FAILED', { Error: 'ACM refuses. Do this.' })],
    });
    expect(visited.at(-1)).toBe('RequestFailed');
    expect(error).toEqual({ Error: 'RequestFailed', Cause: 'ACM refuses. Do this.' });
  });

  test.each(['register', 'ASK', ''])('fails at the action %p, which it does not know', async (action) => {
    const { error } = await run({ RequestCertificate: [step(action)] });
    expect(error?.Error).toBe('RequestActionUnknown');
  });

  test('what travels does not grow with the looks', async () => {
    const looks = Array.from({ length: 40 }, () => step('WAIT'));
    const { calls } = await run({ RequestCertificate: [...looks, step('END')] });
    expect(calls.RequestCertificate.slice(1)).toEqual(looks);
  });
});

describe.each(NAMES)('%s', (name) => {
  const answer = {
    RequestCertificate: step('REGISTER'),
    WriteValidationRecords: written,
    RegisterDeployments: registered,
  }[name];

  test.each([
    'RetryLater',
    'ThrottlingException',
    'TooManyRequestsException',
    'Lambda.TooManyRequestsException',
    'Lambda.Unknown',
    'Sandbox.Timedout',
    'InternalServerError',
    'TimeoutError',
    'AccessDeniedException',
  ])('is repeated after %s', async (error) => {
    const { visited, calls } = await run({ [name]: [named(error), named(error), answer] });
    expect(calls[name].length).toBeGreaterThanOrEqual(3);
    expect(visited.at(-1)).toBe('Registered');
  });

  test.each(['TypeError', 'ValidationException'])('is not repeated after %s', async (fault) => {
    const { calls, error } = await run({ [name]: [named(fault, 'what to do')] });
    expect(calls[name]).toHaveLength(1);
    expect(error).toEqual({ Error: fault, Cause: 'what to do' });
  });
});

describe('the definition', () => {
  test('is valid Amazon States Language', () => {
    const options = { checkPaths: true, checkArn: true };
    const { isValid, errorsText } = aslValidator(structuredClone(definition), options);
    expect(isValid ? '' : errorsText()).toBe('');
  });

  test.each(states)('%s tells the reader of the console what it is for', (_name, state) => {
    expect(state.Comment).toMatch(/^[A-Z].{20,}[.?]$/s);
  });

  test('goes on a little longer than ACM does, and ends by itself', () => {
    expect(definition.TimeoutSeconds).toBeGreaterThan(72 * 3600);
    expect(definition.TimeoutSeconds).toBeLessThanOrEqual(74 * 3600);
  });

  test.each(tasks)('%s names what it repeats, spreads it, and has hours of patience', (_name, state) => {
    const errors = state.Retry.flatMap((retry: State) => retry.ErrorEquals);
    expect(errors.filter((error: string) => /^States\./.test(error))).toEqual([]);
    for (const retry of state.Retry) {
      expect(retry).toMatchObject({
        JitterStrategy: 'FULL',
        BackoffRate: 2,
        MaxDelaySeconds: expect.any(Number),
      });
    }
    const busy = state.Retry.find((retry: State) => retry.ErrorEquals.includes('RetryLater'));
    expect((busy.MaxAttempts * busy.MaxDelaySeconds) / 2).toBeGreaterThan(3600);
  });

  test('no failure is turned into a success', () => {
    const ends = (type: string) => states.filter(([, state]) => state.Type === type).map(([name]) => name);
    expect(ends('Succeed')).toEqual(['Registered']);
    expect(ends('Fail').sort()).toEqual(['RequestActionUnknown', 'RequestFailed']);
    expect(definition.States.IsCertificateIssued.Default).toBe('RequestActionUnknown');
  });
});
