import { readFileSync } from 'node:fs';
import path from 'node:path';
import { StateMachine } from 'aws-local-stepfunctions';
import { centralStack, ROOT, resourceOf } from '../templates/stacks.ts';

// biome-ignore lint/suspicious/noExplicitAny: states of every type
export type State = any;
export type Answer = object | Error;

export const definitionOf = (logicalId: string): State =>
  resourceOf(centralStack(), logicalId).properties.Definition;
export const tasksOf = (definition: State): [string, State][] =>
  Object.entries<State>(definition.States).filter(([, state]) => state.Type === 'Task');
export const sample = (file: string) => JSON.parse(readFileSync(path.join(ROOT, 'events', file), 'utf8'));
export const named = (name: string, message = name) => Object.assign(new Error(message), { name });

/**
 * Runs a definition as it is shipped, without its waits.
 *
 * @param answers what each task gives, one after the other, and the last one for ever.
 * @returns the states in their order, what each task was given, and how the execution ended.
 */
export async function runDefinition<Name extends string>(
  definition: State,
  answers: Record<Name, Answer[]>,
  input: State,
) {
  const entries = Object.entries(answers) as [Name, Answer[]][];
  const calls = Object.fromEntries(entries.map(([name]) => [name, []])) as unknown as Record<Name, State[]>;
  const handlers = entries.map(([name, given]) => [
    name,
    ({ Payload }: State) => {
      const made = calls[name];
      made.push(Payload);
      const answer = given[Math.min(made.length, given.length) - 1];
      if (answer instanceof Error) throw answer;
      return { ExecutedVersion: '$LATEST', StatusCode: 200, Payload: answer };
    },
  ]);
  const atOnce = (type: string) =>
    Object.fromEntries(
      Object.entries<State>(definition.States)
        .filter(([, state]) => state.Type === type)
        .map(([name]) => [name, 0]),
    );
  // A test of its own validates the definition.
  const execution = new StateMachine(definition, { validationOptions: { noValidate: true } }).run(input, {
    overrides: {
      taskResourceLocalHandlers: Object.fromEntries(handlers),
      waitTimeOverrides: atOnce('Wait'),
      retryIntervalOverrides: atOnce('Task'),
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
