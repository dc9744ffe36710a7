import { Command, CommanderError, Option } from 'commander';
import { addActCommands } from './commands/act.ts';
import type { Register } from './commands/command.ts';
import { addDoctor } from './commands/doctor.ts';
import { addFileCommands } from './commands/files.ts';
import { addLookCommands } from './commands/look.ts';
import { addRequest } from './commands/request.ts';
import { addStopCommands } from './commands/stop.ts';
import { type CommonOptions, Session } from './connection.ts';
import { EXIT, EXIT_MEANS, type ExitName, Stop } from './exit.ts';
import { plain } from './table.ts';
import type { World } from './world.ts';

const HELP_WIDTH = 100;

/** The whole command line. @param ended told how an action ended */
export function programOf(world: World, ended: (exit: ExitName) => void): Command {
  const program = new Command('acm-export')
    .description(
      'Delivers ACM certificates to tagged servers, and shows where each one is served. A deployment is one certificate, under one name, for all servers with one tag.',
    )
    .usage('<command> [options]')
    .helpOption('-h, --help', 'help for a command')
    .helpCommand(false)
    .exitOverride()
    .showSuggestionAfterError()
    .configureHelp({ showGlobalOptions: true, helpWidth: HELP_WIDTH })
    .configureOutput({
      writeOut: (text) => world.stdout.write(text),
      writeErr: (text) => world.stderr.write(text),
      getOutHelpWidth: () => HELP_WIDTH,
      getErrHelpWidth: () => HELP_WIDTH,
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    });
  const common: Option[] = [
    new Option('--stack <name>', 'name of the central stack (ACM_EXPORT_STACK)').default('acm-export'),
    new Option(
      '--region <region>',
      'Region of the central stack (ACM_EXPORT_REGION, AWS_REGION, or that of the profile)',
    ),
    new Option('--profile <name>', 'profile of ~/.aws/config (ACM_EXPORT_PROFILE, AWS_PROFILE)'),
    new Option('--endpoint <url>', 'URL of the API, in place of --stack (ACM_EXPORT_ENDPOINT)'),
    new Option('-o, --output <format>', 'what is printed').choices(['table', 'json']).default('table'),
  ];
  for (const option of common) program.addOption(option);
  const register: Register = {
    program,
    sessionOf: (options) => new Session(world, withEnvironment(options, program, world.env)),
    ended,
  };
  addLookCommands(register);
  addActCommands(register);
  addRequest(register);
  addStopCommands(register);
  addFileCommands(register);
  addDoctor(register);
  program.addHelpText(
    'after',
    `\nExit codes:\n${exitCodes()}\n\nacm-export <command> --help shows the options of a command, with examples. docs/command.md says more.`,
  );
  return program;
}

/** What the command line does not say, the environment may. An empty variable says nothing. */
function withEnvironment(options: CommonOptions, program: Command, env: World['env']): CommonOptions {
  const names = ['stack', 'region', 'profile', 'endpoint'] as const;
  const ofEnvironment = names.flatMap((name) => {
    const value = env[`ACM_EXPORT_${name.toUpperCase()}`];
    return value && program.getOptionValueSource(name) !== 'cli' ? [[name, value] as const] : [];
  });
  return { ...options, ...Object.fromEntries(ofEnvironment) };
}

const exitCodes = () =>
  (Object.keys(EXIT) as ExitName[])
    .map((name) => `  ${String(EXIT[name]).padEnd(4)} ${EXIT_MEANS[name]}`)
    .join('\n');

/** Runs one command line. @returns the exit code */
export async function run(words: string[], world: World): Promise<number> {
  let exit: ExitName = 'served';
  const program = programOf(world, (name) => {
    exit = name;
  });
  try {
    if (words.length === 0) {
      program.outputHelp();
      return EXIT.usage;
    }
    await program.parseAsync(words, { from: 'user' });
    return EXIT[exit];
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT.usage;
    return EXIT[tell(error, world)];
  }
}

/** What a person is told of an error: never a stack. */
function tell(error: unknown, world: World): ExitName {
  const stop =
    error instanceof Stop
      ? error
      : new Stop('failed', `This should not happen: ${(error as Error).name}: ${(error as Error).message}`);
  const lines = [`acm-export: ${stop.message}`, ...stop.advice];
  for (const line of lines) world.stderr.write(`${plain(line)}\n`);
  return stop.exit;
}
