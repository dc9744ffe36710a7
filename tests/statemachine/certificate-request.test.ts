import { describe, expect, test } from '@jest/globals';
import { type Answer, definitionOf, named, runDefinition, type State, sample } from './run-definition.ts';

const definition = definitionOf('CertificateRequestStateMachine');
const input = sample('request-certificate/requested.json');

type Name = 'RequestCertificate' | 'WriteValidationRecords' | 'RegisterDeployments';
const NAMES: Name[] = ['RequestCertificate', 'WriteValidationRecords', 'RegisterDeployments'];

const step = (Action: string, more: object = {}) => ({ ...input, Action, WaitSeconds: 10, ...more });
const written = { ...input, WaitSeconds: 10 };
const registered = { ...input, Registered: ['0'.repeat(24)] };

const run = (answers: Partial<Record<Name, Answer[]>>, given: object = input) =>
  runDefinition<Name>(
    definition,
    {
      RequestCertificate: [step('WAIT'), step('WRITE'), step('REGISTER')],
      WriteValidationRecords: [written],
      RegisterDeployments: [registered],
      ...answers,
    },
    given,
  );

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
    const event = sample('request-certificate/certificate-issued.json');
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
  test('goes on a little longer than ACM does, and ends by itself', () => {
    expect(definition.TimeoutSeconds).toBeGreaterThan(72 * 3600);
    expect(definition.TimeoutSeconds).toBeLessThanOrEqual(74 * 3600);
  });

  test('no failure is turned into a success', () => {
    const ends = (type: string) =>
      Object.entries<State>(definition.States).flatMap(([name, { Type }]) => (Type === type ? [name] : []));
    expect(ends('Succeed')).toEqual(['Registered']);
    expect(ends('Fail').sort()).toEqual(['RequestActionUnknown', 'RequestFailed']);
  });
});
