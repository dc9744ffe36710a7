// The parts of docs/command.md that the command itself says.
import { EXIT, EXIT_MEANS, type ExitName } from '../cli/exit.ts';
import { programOf } from '../cli/program.ts';
import type { World } from '../cli/world.ts';

/** Help needs nothing of the process around it. */
const NOWHERE = { env: {}, stdout: { write() {} }, stderr: { write() {} } } as unknown as World;

/** What `acm-export <command> --help` says, of each command; options that all have stand once, in front. */
export function commandReference(): string {
  let text = '';
  const program = programOf({ ...NOWHERE, stdout: { write: (part) => (text += part) } } as World, () => {});
  const helpOf = (command: typeof program): string => {
    text = '';
    command.outputHelp();
    return text.replace(/\nGlobal Options:\n[\s\S]*?\n(?=\n)/, '').trimEnd();
  };
  const fenced = (help: string) => `\`\`\`text\n${help}\n\`\`\``;
  return [
    fenced(helpOf(program)),
    ...program.commands.map((command) => `### ${command.name()}\n\n${fenced(helpOf(command))}`),
  ].join('\n\n');
}

export function exitTable(): string {
  const rows = (Object.keys(EXIT) as ExitName[]).map((name) => `| ${EXIT[name]} | ${EXIT_MEANS[name]} |`);
  return ['| Code | What it means |', '| --- | --- |', ...rows].join('\n');
}
