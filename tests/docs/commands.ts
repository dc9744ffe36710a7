import { execFile, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { programOf } from '../support/tools.ts';
import { ROOT, writtenTemplate } from '../templates/stacks.ts';
import { type Block, blocksOf } from './documents.ts';

/** A command of a document as a shell would run it: words after every expansion. */
export interface Command {
  document: string;
  line: number;
  program: string;
  words: string[];
}

/** Programs that run for real, in an empty folder: they read and print. */
const HARMLESS = ['cat', 'cut', 'date', 'tr'];
/** Programs that documents may name; none of them runs. */
const RECORDED = [
  ...[
    'aws',
    'awscurl',
    'curl',
    'git',
    'make',
    'openssl',
    'sam',
    'diff',
    'dig',
    'install',
    'journalctl',
    'keytool',
  ],
  ...['ln', 'mkdir', 'mv', 'npx', 'read-passphrase.sh', 'readlink', 'rm', 'systemctl', 'touch'],
];
/** What is typed on a server finds its folders and files. */
const ON_A_SERVER = `cd() { :; }
source() { SecretArn=arn:aws:secretsmanager:eu-west-1:444455556666:secret:acm-export/www/x-AbCdEf VersionId=$(printf '%064d' 0); }`;

/** A StackSet has every parameter of the template. */
const KEPT = Object.keys(writtenTemplate('member-account.yaml').Parameters)
  .map((name) => `ParameterKey=${name},UsePreviousValue=true`)
  .join('\t');

/** Notes how it was called. Where a script would go on with what --query finds, it is an account, parameters or an ARN. */
const RECORDER = `#!/bin/bash
{ printf '%s\\0' "$BLOCK" "\${0##*/}" "$@"; printf '\\036'; } >>"$RECORD"
case " $* " in
  *' get-caller-identity '*) echo 111122223333 ;;
  *' describe-stack-set '*) echo '${KEPT}' ;;
  *MemberAccountParameters*) echo "$MEMBER_PARAMETERS" ;;
  *' --query '*) echo arn:aws:example:eu-west-1:111122223333:example ;;
esac
`;

/** What a console block shows: commands behind \`$ \`, as far as bash takes them to go, and their output. */
function commandsIn({ language, text }: Block): string[] {
  if (language === 'sh') return [text];
  if (language !== 'console') return [];
  const lines = text.split('\n');
  const found: string[] = [];
  for (let index = 0; index < lines.length; index += 1) {
    if (!lines[index]?.startsWith('$ ')) continue;
    let command = (lines[index] as string).slice(2);
    while (index + 1 < lines.length && (command.endsWith('\\') || !isComplete(command))) {
      index += 1;
      command += `\n${lines[index]}`;
    }
    found.push(command);
  }
  return found;
}

const isComplete = (command: string) => spawnSync('bash', ['-n'], { input: command }).status === 0;

/** The shells that readers type into, each as strict as it can be and without their own settings. */
export const SHELLS = {
  bash: ['-euo', 'pipefail'],
  sh: ['-eu'],
  zsh: ['-f', '-euo', 'pipefail'],
};

/**
 * Runs every command block of a document in one shell, with stand-ins that only note how they are called. A program
 * that is neither noted nor harmless is not found, and fails.
 */
export function commandsOf(
  document: string,
  environment: Record<string, string>,
  shell: keyof typeof SHELLS = 'bash',
): Command[] {
  const work = mkdtempSync(path.join(tmpdir(), 'documented-'));
  try {
    return runIn(work, document, environment, shell);
  } finally {
    rmSync(work, { recursive: true });
  }
}

function runIn(
  work: string,
  document: string,
  environment: Record<string, string>,
  shell: keyof typeof SHELLS,
): Command[] {
  const bin = path.join(work, 'bin');
  // As after the clone: below the folder where the reader is, and in it.
  const project = path.join(work, 'acm-export');
  for (const folder of [bin, project, path.join(project, 'scripts')]) mkdirSync(folder);
  const recorder = path.join(bin, '.recorder');
  writeFileSync(recorder, RECORDER);
  chmodSync(recorder, 0o755);
  for (const name of RECORDED) symlinkSync(recorder, path.join(bin, name));
  for (const name of HARMLESS) {
    const found = programOf(name);
    if (found) symlinkSync(found, path.join(bin, name));
  }
  for (const file of [
    'member-account.yaml',
    'template.yaml',
    'deployment-resource.yaml',
    'dns-account.yaml',
    'docs',
    'events',
  ]) {
    symlinkSync(path.join(ROOT, file), path.join(project, file));
  }
  for (const script of readdirSync(path.join(ROOT, 'scripts'))) {
    symlinkSync(recorder, path.join(project, 'scripts', script));
  }
  const restored = Object.entries(environment).map(([name, value]) => `export ${name}='${value}'`);
  const commands = blocksOf(document).flatMap((block) =>
    commandsIn(block).flatMap((command) => [`export BLOCK=${block.line}`, ...restored, command]),
  );
  const script = document === 'docs/nodes.md' ? [ON_A_SERVER, ...commands] : commands;
  const record = path.join(work, 'record');
  const result = spawnSync(programOf(shell) ?? `/bin/${shell}`, SHELLS[shell], {
    input: script.join('\n'),
    cwd: document.startsWith('docs/guide') ? work : project,
    env: { PATH: bin, RECORD: record, LC_ALL: 'C.UTF-8' },
    encoding: 'utf8',
  });
  if (result.status !== 0) {
    throw new Error(`The commands of ${document} do not run: ${result.stderr}`);
  }
  const calls = existsSync(record) ? readFileSync(record, 'utf8').split('\x1e').slice(0, -1) : [];
  return calls.map((call) => {
    const [line, program = '', ...words] = call.split('\0').slice(0, -1);
    return { document, line: Number(line), program, words };
  });
}

/** Hands argument lists to one of the checkers beside this file. Not synchronous: it may ask the local cloud. */
export async function check(
  python: string,
  checker: string,
  commands: Command[],
  environment: Record<string, string> = {},
): Promise<{ command: string; fault: string }[]> {
  const running = promisify(execFile)(python, [path.join(import.meta.dirname, checker)], {
    cwd: ROOT,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, SAM_CLI_TELEMETRY: '0', ...environment },
  });
  running.child.stdin?.end(JSON.stringify(commands.map(({ words }) => words)));
  const faults = JSON.parse((await running).stdout) as (string | null)[];
  return faults.flatMap((fault, index) => {
    const { document, line, program, words } = commands[index] as Command;
    return fault ? [{ command: `${document}:${line} ${program} ${words.join(' ')}`, fault }] : [];
  });
}
