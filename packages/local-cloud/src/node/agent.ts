import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { appendFileSync } from 'node:fs';
import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { isIPv4 } from 'node:net';
import { endianness } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
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
      LOCAL_NODE_ROOT: node.root,
      ...(await defaultHostManagement(node, options)),
      ...node.environment,
      ...variables,
    };
    await showOwnPorts(node.root, environment.LOCAL_NODE_HOST);
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
    stdout: kept('stdout', invocation.stdout),
    stderr: kept('stderr', invocation.stderr),
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

/** How a script ended, or was ended. */
interface ScriptEnd {
  exitCode: number;
  ended: 'exit' | 'TimedOut' | 'Cancelled';
  /** What the agent adds to standard error. */
  error?: string;
}

async function runScript(script: Script) {
  await mkdir(script.orchestrationFolder, { recursive: true, mode: 0o700 });
  const file = join(script.orchestrationFolder, '_script.sh');
  await writeFile(file, `${script.lines.join('\n')}\n`);
  await chmod(file, 0o700);
  // `sh -c FILE` executes the file, so a `#!/bin/bash` on its first line is honoured.
  const child = spawn('/bin/sh', ['-c', file], {
    cwd: script.workingDirectory,
    env: script.environment,
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true, // A process group of its own, which a time-out kills as a whole.
  });
  const stdout = keep(child.stdout, join(script.orchestrationFolder, 'stdout'));
  const stderr = keep(child.stderr, join(script.orchestrationFolder, 'stderr'));
  try {
    const end = await endOf(child, script);
    return { ...end, stdout: text(stdout), stderr: text(stderr) + (end.error ?? '') };
  } finally {
    child.stdout.destroy();
    child.stderr.destroy();
  }
}

/**
 * Waits as the agent does: until the script has ended and every process that holds its streams has closed them, so
 * that what a script leaves running with its streams open holds the command up to the time-out.
 *
 * Then, or when the command is cancelled, the agent kills the script's process group and reports 137. If nothing is
 * left in the group, because the holder has a group of its own (`setsid` and `timeout` give one), the kill fails: the
 * command has failed, whatever the script had returned, and the holder lives on.
 *
 * Behaviour: aws/amazon-ssm-agent, agent/executers/executers.go (ExecuteCommand: writers that are no files make
 * command.Wait wait for the pipes), executers_unix.go (killProcess), agent/plugins/runscript/runscript.go
 * (runCommands), agent/plugins/pluginutil/pluginutil_unix.go (GetStatus).
 */
async function endOf(child: ChildProcess, script: Script): Promise<ScriptEnd> {
  let timer: NodeJS.Timeout | undefined;
  let cancel = () => {};
  try {
    const end = await new Promise<ScriptEnd>((resolve, reject) => {
      const kill = (ended: 'TimedOut' | 'Cancelled') => {
        if (child.pid === undefined) return; // It could not be started, which the event `error` tells.
        try {
          process.kill(-child.pid, 'SIGKILL');
          resolve({ exitCode: KILLED_EXIT_CODE, ended });
        } catch {
          resolve({ exitCode: 1, ended: 'exit', error: 'failed to run commands: no such process' });
        }
      };
      child.on('error', reject);
      child.on('close', (code) => resolve({ exitCode: code ?? KILLED_EXIT_CODE, ended: 'exit' }));
      // setTimeout takes 31 bits of milliseconds; no local script runs for 24 days.
      timer = setTimeout(() => kill('TimedOut'), Math.min(script.timeoutMilliseconds, 2 ** 31 - 1));
      cancel = () => kill('Cancelled');
      script.signal?.addEventListener('abort', cancel);
      if (script.signal?.aborted) cancel();
    });
    // What was written before the end may still lie in the pipes: the second of these follows a whole turn that reads.
    await setImmediate();
    await setImmediate();
    return end;
  } finally {
    clearTimeout(timer);
    script.signal?.removeEventListener('abort', cancel);
  }
}

/** Keeps what comes through a pipe, in a file too, as the agent does. */
function keep(pipe: Readable, file: string): Buffer[] {
  const chunks: Buffer[] = [];
  const write = (chunk: Buffer | string) => appendFileSync(file, chunk, { mode: 0o600 });
  write('');
  pipe.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    write(chunk);
  });
  return chunks;
}

const text = (chunks: Buffer[]) => Buffer.concat(chunks).toString('utf8');

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

/**
 * `/proc/net` below the node's root: of the machine's TCP listeners those at the address that stands for the node, as if
 * they were at its localhost. A node without an address of its own has none that could be told from the machine's. A
 * listener at every address of the machine belongs to no node.
 */
async function showOwnPorts(root: string, host: string | undefined): Promise<void> {
  const [heading = '', ...lines] = (await readFile('/proc/net/tcp', 'utf8')).split('\n');
  const own = host && isIPv4(host) ? kernelForm(host) : undefined;
  const listeners = lines.flatMap((line) => {
    const [number, local = '', remote, state, ...others] = line.trim().split(/ +/);
    const [address, port] = local.split(':');
    return address === own && state === '0A'
      ? [[number, `${kernelForm('127.0.0.1')}:${port}`, remote, state, ...others].join(' ')]
      : [];
  });
  const folder = join(root, 'proc/net');
  await mkdir(folder, { recursive: true });
  // By rename: the script of another command may read it at this moment.
  const write = async (name: string, rows: string[]) => {
    const draft = join(folder, `${name}.${randomUUID()}`);
    await writeFile(draft, `${rows.join('\n')}\n`);
    await rename(draft, join(folder, name));
  };
  await write('tcp', [heading, ...listeners]);
  await write('tcp6', [heading]); // Nobody listens at [::1], as for s_client.
}

/** An address as the kernel writes it: the number in hexadecimal, in the machine's order of bytes. */
function kernelForm(address: string): string {
  const bytes = address.split('.').map((byte) => Number(byte).toString(16).padStart(2, '0').toUpperCase());
  return (endianness() === 'LE' ? bytes.reverse() : bytes).join('');
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

/** What is kept of a stream. */
export function kept(stream: keyof typeof KEPT_CHARACTERS, text: string): string {
  const characters = KEPT_CHARACTERS[stream];
  return text.length <= characters
    ? text
    : text.slice(0, characters - TRUNCATED_SUFFIX.length) + TRUNCATED_SUFFIX;
}

/** Compares dotted numbers part by part: below 0, 0 or above 0, as a sort function. */
function compareVersions(left: string, right: string): number {
  const [a, b] = [left.split('.').map(Number), right.split('.').map(Number)];
  for (let part = 0; part < Math.max(a.length, b.length); part++) {
    const difference = (a[part] ?? 0) - (b[part] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
