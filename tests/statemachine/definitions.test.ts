// What holds for every state machine.
import { describe, expect, test } from '@jest/globals';
import aslValidator from 'asl-validator';
import { centralStack } from '../templates/stacks.ts';
import { definitionOf, type State, tasksOf } from './run-definition.ts';

const machines = [...centralStack().resources]
  .filter(([, { type }]) => type === 'AWS::Serverless::StateMachine')
  .map(([logicalId]) => logicalId);

test('there are two', () => {
  expect(machines.sort()).toEqual(['CertificateRequestStateMachine', 'CertificateRolloutStateMachine']);
});

describe.each(machines)('%s', (logicalId) => {
  const definition = definitionOf(logicalId);
  const states = Object.entries<State>(definition.States);
  const tasks = tasksOf(definition);

  test('is valid Amazon States Language', () => {
    const options = { checkPaths: true, checkArn: true };
    const { isValid, errorsText } = aslValidator(structuredClone(definition), options);
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

  test.each(states.filter(([, state]) => state.Type === 'Choice'))(
    '%s takes what it does not know for a failure',
    (_name, state) => {
      expect(definition.States[state.Default].Type).toBe('Fail');
    },
  );

  test.each(tasks)('%s names what it repeats, and never a whole class of errors', (_name, state) => {
    const errors = [...state.Retry, ...(state.Catch ?? [])].flatMap((rule) => rule.ErrorEquals);
    expect(errors.filter((error) => /^States\./.test(error))).toEqual([]);
  });

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
});
