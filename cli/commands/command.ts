import { type Command, Option } from 'commander';
import type { CommonOptions, Session } from '../connection.ts';
import type { ExitName } from '../exit.ts';
import { durationOf } from '../time.ts';

/** What a command does; the exit code follows from what it returns. */
export type Action<Options> = (session: Session, options: Options, names: string[]) => Promise<ExitName>;

/** How a program takes commands: each action gets a session of its own. */
export interface Register {
  program: Command;
  sessionOf(options: CommonOptions): Session;
  /** Told how the action ended. */
  ended(exit: ExitName): void;
}

interface Described {
  /** With its arguments, as commander writes them: `get <name>`. */
  usage: string;
  group: 'Look' | 'Act' | 'Stop' | 'Files' | 'Diagnose';
  summary: string;
  description: string;
  /** Lines that work as they stand. */
  examples: string[];
}

/** Adds a command. @param configure adds its options. */
export function addCommand<Options extends object>(
  { program, sessionOf, ended }: Register,
  { usage, group, summary, description, examples }: Described,
  configure: (command: Command) => void,
  action: Action<Options & CommonOptions>,
): void {
  const command = program
    .command(usage)
    .helpGroup(`${group}:`)
    .summary(summary)
    .description(description)
    .addHelpText('after', `\nExamples:\n${examples.map((line) => `  $ ${line}`).join('\n')}`);
  configure(command);
  command.action(async () => {
    const options = command.optsWithGlobals() as Options & CommonOptions;
    ended(await action(sessionOf(options), options, command.args));
  });
}

export interface WaitOptions {
  wait: boolean;
  timeout: string;
}

/** `--no-wait` and `--timeout` of a command that starts something. */
export function addWaiting(command: Command, timeout: string): void {
  command.option('--no-wait', 'end as soon as it has started');
  addTimeout(command, timeout);
}

export function addTimeout(command: Command, timeout: string): void {
  command.addOption(
    new Option('--timeout <time>', 'how long to wait at most, for example 90s, 30m or 2h').default(timeout),
  );
}

export const timeoutOf = ({ timeout }: { timeout: string }): number => durationOf(timeout, '--timeout');

export function addYes(command: Command): void {
  command.option('-y, --yes', 'do not ask');
}
