import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { resolveParameters } from 'local-cloud/node';
import { loadDocuments } from '../../../scripts/render.ts';
import type { Bundle } from '../../ssm-documents/certificates.ts';

const here = (file: string) => fileURLToPath(new URL(file, import.meta.url));

/** What a script finds as PATH under the agent. */
const AGENT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin';

/** What stands in for the cloud and for systemd, and a client of the servers. */
const COMMANDS = ['aws', 'systemctl', 'served', 'gate'];

const documents = loadDocuments();
const DEPLOYMENT = '0123456789abcdef01234567';

interface Ended {
  exitCode: number;
  stdout: string;
  stderr: string;
}

/** The line that an install prints, and all that it said. */
export interface Install {
  Outcome?: string;
  ExitCode?: number;
  Serial?: string;
  Step?: string;
  Error?: string;
  log: string;
}

/** A Debian that runs: `/`, processes, network and loopback ports are its own. */
export interface Machine {
  /** Ends when the program has ended and nobody holds its streams any more, as under the agent. */
  run(command: string[], environment?: Record<string, string>): Promise<Ended>;
  /** Runs lines of shell as root, and throws where one fails. Answers what they printed. */
  shell(lines: string): Promise<string>;
  /** The deployed script, by the agent's ways, with an AWS CLI that has this bundle. */
  install(bundle: Bundle, parameters: Record<string, string>): Promise<Install>;
  stop(): Promise<void>;
}

/**
 * Boots a machine from a release's folder, which stays as it is; it trusts the given root, as an administrator adds one.
 * It ends with this process, by whatever death, and leaves neither processes nor mounts.
 */
export async function bootMachine(release: string, trusted: string): Promise<Machine> {
  const place = await mkdtemp(join(tmpdir(), 'machine-'));
  const namespaces = ['--mount', '--pid', '--net', '--ipc', '--fork', '--kill-child'];
  const boot = spawn('unshare', [...namespaces, 'bash', here('boot.sh'), release, place]);
  const ended = once(boot, 'exit');
  const stop = async () => {
    boot.stdin.end();
    await ended;
    await rm(place, { recursive: true });
  };

  let complaints = '';
  boot.stderr.on('data', (data) => {
    complaints += data;
  });
  const [pid] = await Promise.race([once(boot.stdout, 'data'), ended]);
  if (boot.exitCode !== null || boot.signalCode !== null) {
    await stop();
    throw new Error(`the machine did not boot: ${complaints}`);
  }
  const words = ['--target', String(pid).trim(), '--mount', '--pid', '--net', '--ipc', '--root', '--wd'];

  const run: Machine['run'] = async (command, environment = {}) => {
    const child = spawn('nsenter', [...words, '--', ...command], {
      env: { PATH: `${AGENT_PATH}:/sbin:/bin`, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const output = { stdout: '', stderr: '' };
    child.stdout.on('data', (data) => {
      output.stdout += data;
    });
    child.stderr.on('data', (data) => {
      output.stderr += data;
    });
    const [code] = await once(child, 'close');
    return { exitCode: code ?? 137, ...output };
  };

  const shell: Machine['shell'] = async (lines) => {
    const { exitCode, stdout, stderr } = await run(['/bin/bash', '-euo', 'pipefail', '-c', lines]);
    if (exitCode !== 0) throw new Error(`exit ${exitCode} of: ${lines}\n${stdout}${stderr}`);
    return stdout;
  };

  // None of these paths leads through a link of the machine, which would be followed here.
  const inside = (path: string) => join(`/proc/${String(pid).trim()}/root`, path);
  const write = async (path: string, text: string, mode: number) => {
    await mkdir(inside(dirname(path)), { recursive: true, mode: 0o700 });
    await writeFile(inside(path), text, { mode });
  };

  let commands = 0;
  const install: Machine['install'] = async (bundle, parameters) => {
    const document = documents.installOnNode;
    const lines = (document.mainSteps[0]?.inputs.runCommand ?? []) as string[];
    const id = 'i-0123456789abcdef0';
    const values = resolveParameters(
      document.parameters,
      Object.fromEntries(
        Object.entries({
          SecretArn: `arn:aws:secretsmanager:eu-west-1:111122223333:secret:acm-export/www/${DEPLOYMENT}-AbCdEf`,
          VersionId: bundle.versionId,
          CertName: 'www',
          DeploymentId: DEPLOYMENT,
          CorrelationId: `command-${++commands}`,
          ...parameters,
        }).map(([name, value]) => [name, [value]]),
      ),
    );
    const script = `/var/lib/amazon/ssm/${id}/document/orchestration/${commands}/_script.sh`;
    await write(`/var/lib/bundles/${bundle.versionId}`, JSON.stringify(bundle.value), 0o600);
    await write(script, `${lines.join('\n')}\n`, 0o700);
    const { stdout, stderr } = await run(['/bin/sh', '-c', script], {
      PATH: AGENT_PATH,
      AWS_SSM_REGION_NAME: 'eu-west-1',
      AWS_SSM_INSTANCE_ID: id,
      ...Object.fromEntries(Object.entries(values).map(([name, value]) => [`SSM_${name}`, value])),
    });
    return { ...(stdout.startsWith('{') ? JSON.parse(stdout) : {}), log: stderr };
  };

  try {
    for (const name of COMMANDS) await copyFile(here(name), inside(`/usr/local/bin/${name}`));
    await write('/usr/local/share/ca-certificates/test-root.crt', trusted, 0o644);
    await shell('update-ca-certificates 2>&1');
  } catch (error) {
    await stop();
    throw error;
  }
  return { run, shell, install, stop };
}
