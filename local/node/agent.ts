import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmod, mkdir, open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { NotModelled } from '../iam/not-modelled.ts';
import { type CommandParameter, InvalidParameters, resolveParameters } from './document-parameters.ts';
import type { CommandInvocation, NodeSpec, RunCommandOptions } from './types.ts';

/** The first agent that makes variables of `interpolationType: ENV_VAR`; older ones do not know the word. */
const FIRST_AGENT_WITH_ENV_VAR = '3.3.2746.0';

/** Exit code by which a script asks the agent to reboot the node and to run it once more. */
const REBOOT_EXIT_CODE = 194;
/** Exit code that the agent reports for a script that it, or anybody, has killed. */
const KILLED_EXIT_CODE = 137;

const DEFAULT_TIMEOUT_SECONDS = 3600;
/** The agent takes any other number for a mistake and uses the default. */
const TIMEOUT_RANGE_SECONDS = { min: 5, max: 172_800 };

/** GetCommandInvocation shows this much of each stream. */
const KEPT_CHARACTERS = { stdout: 24_000, stderr: 8_000 };
const TRUNCATED_SUFFIX = '--output truncated--';

/** The programs of a node (behind the shims) are those of this machine. The agent hands over no HOME. */
const AGENT_PATH = `${process.env.PATH}:/usr/local/sbin:/usr/sbin:/sbin`;

interface CommandDocument {
  schemaVersion: string;
  parameters?: Record<string, CommandParameter>;
  mainSteps: {
    action: string;
    name: string;
    precondition?: { StringEquals?: [string, string] };
    inputs: { runCommand: string[]; timeoutSeconds?: string | number; workingDirectory?: string };
  }[];
}

/**
 * Runs a Command document on a node as the SSM agent does: checks parameters again, skips steps of another
 * platform, writes each script to an orchestration folder and runs it with the agent's environment.
 *
 * A script that fails is a result, not an exception. Throws `NotModelled` for what documents may contain but
 * the local cloud does not know.
 *
 * Behaviour: user guide "Data elements and parameters", "Command document plugin reference
 * (aws:runShellScript)", "Understanding command statuses"; aws/amazon-ssm-agent, executers.go and
 * runscript.go.
 */
export async function runCommandDocument(
  document: object,
  parameters: Record<string, string[]>,
  node: NodeSpec,
  options: RunCommandOptions,
): Promise<CommandInvocation> {
  const commandId = options.commandId ?? randomUUID();
  const content = document as CommandDocument;
  if (content.schemaVersion !== '2.2') throw new NotModelled(`document schema ${content.schemaVersion}`);
  const invocation: CommandInvocation = {
    commandId,
    status: 'Success',
    statusDetails: 'Success',
    responseCode: 0,
    stdout: '',
    stderr: '',
    rebootRequested: false,
  };

  let values: Record<string, string>;
  try {
    values = resolveParameters(content.parameters ?? {}, parameters);
  } catch (error) {
    if (!(error instanceof InvalidParameters)) throw error;
    return {
      ...invocation,
      status: 'Failed',
      statusDetails: 'Failed',
      responseCode: 1,
      stderr: error.message,
    };
  }

  const variables: Record<string, string> = {};
  if (compareVersions(node.agentVersion, FIRST_AGENT_WITH_ENV_VAR) >= 0) {
    for (const [name, parameter] of Object.entries(content.parameters ?? {})) {
      if (parameter.interpolationType === 'ENV_VAR') variables[`SSM_${name}`] = values[name] ?? '';
    }
  }

  for (const step of content.mainSteps) {
    if (!meetsPrecondition(step.precondition, node)) {
      invocation.stdout += `Step execution skipped due to unsatisfied preconditions. Step name: ${step.name}\n`;
      continue;
    }
    if (step.action !== 'aws:runShellScript') throw new NotModelled(`document action ${step.action}`);
    // aws:runShellScript runs on Linux and macOS only; the agent skips it elsewhere.
    if (node.platform !== 'Linux') {
      invocation.stdout += `Step execution skipped due to incompatible platform. Step name: ${step.name}\n`;
      continue;
    }
    const orchestrationFolder = join(
      node.root,
      'var/lib/amazon/ssm',
      node.id,
      'document/orchestration',
      commandId,
      step.name,
    );
    const environment: Record<string, string> = {
      PATH: `${options.binFolder}:${AGENT_PATH}`,
      AWS_SSM_REGION_NAME: options.region ?? 'us-east-1',
      AWS_SSM_INSTANCE_ID: node.id,
      SSM_COMMAND_ID: commandId,
      ACM_EXPORT_ROOT: node.root,
      ...(await defaultHostManagement(node, options)),
      ...node.environment,
      ...variables,
    };
    const result = await runScript({
      lines: step.inputs.runCommand.map((line) => interpolate(line, values)),
      orchestrationFolder,
      workingDirectory: interpolate(step.inputs.workingDirectory ?? '', values) || node.root,
      environment,
      timeoutMilliseconds:
        timeoutSeconds(interpolate(String(step.inputs.timeoutSeconds ?? ''), values)) *
        (options.millisecondsPerTimeoutSecond ?? 1000),
      signal: options.signal,
    });
    invocation.stdout += result.stdout;
    invocation.stderr += result.stderr;
    invocation.responseCode = result.exitCode;
    if (result.exitCode === 0) continue;

    invocation.status = result.ended === 'exit' ? 'Failed' : result.ended;
    invocation.statusDetails = result.ended === 'TimedOut' ? 'ExecutionTimedOut' : invocation.status;
    if (result.ended === 'exit' && result.exitCode === REBOOT_EXIT_CODE) {
      invocation.rebootRequested = true;
      const alarm = `REBOOT REQUESTED: step ${step.name} on ${node.id} exited with ${REBOOT_EXIT_CODE}; a real agent reboots the node now and runs the script again\n`;
      process.stderr.write(alarm);
      invocation.stderr = alarm + invocation.stderr;
    }
    break; // Without onFailure a failed step ends the document.
  }
  return {
    ...invocation,
    stdout: keepPrefix(invocation.stdout, KEPT_CHARACTERS.stdout),
    stderr: keepPrefix(invocation.stderr, KEPT_CHARACTERS.stderr),
  };
}

interface Script {
  lines: string[];
  orchestrationFolder: string;
  workingDirectory: string;
  environment: Record<string, string>;
  timeoutMilliseconds: number;
  signal: AbortSignal | undefined;
}

async function runScript(script: Script) {
  await mkdir(script.orchestrationFolder, { recursive: true, mode: 0o700 });
  const file = join(script.orchestrationFolder, '_script.sh');
  await writeFile(file, `${script.lines.join('\n')}\n`);
  await chmod(file, 0o700);
  // The streams are files, as under the agent: something that the script leaves running in the background
  // and that keeps them open does not keep the command from ending.
  const stdout = await open(join(script.orchestrationFolder, 'stdout'), 'a+', 0o600);
  const stderr = await open(join(script.orchestrationFolder, 'stderr'), 'a+', 0o600);
  try {
    // `sh -c FILE` executes the file, so a `#!/bin/bash` on its first line is honoured.
    const child = spawn('/bin/sh', ['-c', file], {
      cwd: script.workingDirectory,
      env: script.environment,
      stdio: ['ignore', stdout.fd, stderr.fd],
      detached: true, // A process group of its own, which a time-out kills as a whole.
    });
    const killed = { by: undefined as 'TimedOut' | 'Cancelled' | undefined };
    const kill = (by: 'TimedOut' | 'Cancelled') => {
      killed.by ??= by;
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        // The group has ended by itself meanwhile.
      }
    };
    const cancel = () => kill('Cancelled');
    // setTimeout takes 31 bits of milliseconds; no local script runs for 24 days.
    const timer = setTimeout(() => kill('TimedOut'), Math.min(script.timeoutMilliseconds, 2 ** 31 - 1));
    script.signal?.addEventListener('abort', cancel);
    if (script.signal?.aborted) cancel();
    try {
      const exitCode = await new Promise<number>((resolve, reject) => {
        child.on('error', reject);
        child.on('exit', (code) => resolve(code ?? KILLED_EXIT_CODE));
      });
      return {
        exitCode: killed.by ? KILLED_EXIT_CODE : exitCode,
        ended: killed.by ?? ('exit' as const),
        stdout: await readFile(join(script.orchestrationFolder, 'stdout'), 'utf8'),
        stderr: await readFile(join(script.orchestrationFolder, 'stderr'), 'utf8'),
      };
    } finally {
      clearTimeout(timer);
      script.signal?.removeEventListener('abort', cancel);
    }
  } finally {
    await stdout.close();
    await stderr.close();
  }
}

/**
 * `{{ Name }}` is replaced as text, whatever stands in the value. ENV_VAR changes nothing about that: the
 * documented fallback for old agents relies on it.
 */
function interpolate(text: string, values: Record<string, string>): string {
  return text.replace(/\{\{\s*(\w+)\s*\}\}/g, (match, name: string) => values[name] ?? match);
}

function meetsPrecondition(precondition: { StringEquals?: [string, string] } | undefined, node: NodeSpec) {
  if (!precondition) return true;
  const operators = Object.keys(precondition);
  const [operand, expected] = precondition.StringEquals ?? [];
  if (operators.length !== 1 || operand !== 'platformType') {
    throw new NotModelled(`precondition ${JSON.stringify(precondition)}`);
  }
  return expected === node.platform;
}

function timeoutSeconds(text: string): number {
  const seconds = Number.parseInt(text, 10);
  const usable = seconds >= TIMEOUT_RANGE_SECONDS.min && seconds <= TIMEOUT_RANGE_SECONDS.max;
  return usable ? seconds : DEFAULT_TIMEOUT_SECONDS;
}

/** The file that the agent refreshes under Default Host Management, and the variable that points to it. */
async function defaultHostManagement(node: NodeSpec, options: RunCommandOptions) {
  const credentials = options.defaultHostManagementCredentials;
  if (!credentials) return {};
  const folder = join(node.root, 'var/lib/amazon/ssm');
  const file = join(folder, 'credentials');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const lines = [
    '[default]',
    `aws_access_key_id = ${credentials.accessKeyId}`,
    `aws_secret_access_key = ${credentials.secretAccessKey}`,
    ...(credentials.sessionToken ? [`aws_session_token = ${credentials.sessionToken}`] : []),
  ];
  await writeFile(file, `${lines.join('\n')}\n`, { mode: 0o600 });
  return { AWS_SHARED_CREDENTIALS_FILE: file };
}

function keepPrefix(text: string, characters: number): string {
  return text.length <= characters
    ? text
    : text.slice(0, characters - TRUNCATED_SUFFIX.length) + TRUNCATED_SUFFIX;
}

/** Compares dotted numbers part by part: below 0, 0 or above 0, as a sort function. */
export function compareVersions(left: string, right: string): number {
  const [a, b] = [left.split('.').map(Number), right.split('.').map(Number)];
  for (let part = 0; part < Math.max(a.length, b.length); part++) {
    const difference = (a[part] ?? 0) - (b[part] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
