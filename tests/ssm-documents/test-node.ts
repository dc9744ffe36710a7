import { spawn } from 'node:child_process';
import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from '@jest/globals';
import { OWN_FAULTS } from '../../functions/domain/exit-codes.ts';
import { nodeParameters, variablesOf } from '../../scripts/parameters.ts';
import { installScript } from '../../scripts/render.ts';
import type { Bundle } from './certificates.ts';

export const DEPLOYMENT = '0123456789abcdef01234567';
/** The bundle of a name and deployment. */
export const secretOf = (certName = 'web', deploymentId = DEPLOYMENT) =>
  `arn:aws:secretsmanager:eu-west-1:111122223333:secret:acm-export/${certName}/${deploymentId}-AbCdEf`;
export const SECRET = secretOf();

/** Where Debian keeps the authorities that it trusts, below the root. */
export const AUTHORITIES = 'etc/ssl/certs/ca-certificates.crt';

/** Such a node hands no parameter over, and is never the canary. */
const AGENT_TOO_OLD = 10;

export interface Result {
  Outcome: string;
  ExitCode: number;
  Serial: string;
  VersionId: string;
  RolloutNumber: number;
  DeploymentId: string;
  CertName: string;
  CorrelationId: string;
  Step?: string;
  Error?: string;
  Note?: string;
  Seen?: string;
}

export interface Run {
  /** null: killed. */
  code: number | null;
  result: Result;
  stdout: string;
  stderr: string;
}

export type Environment = Record<string, string | undefined>;

/**
 * A node in a folder: a root, and commands that stand in for what a test machine has not (a secret, systemd, a
 * journal) or must not wait for (sleep). Everything else is the machine's own.
 */
export async function createNode({ knownAuthority = '' } = {}) {
  const folder = await mkdtemp(path.join(tmpdir(), 'install-'));
  // As the folders above a node's root are: a group that may read a key gets to it.
  for (const above of [path.dirname(folder), folder])
    await chmod(above, ((await stat(above)).mode & 0o7777) | 0o111);
  const root = path.join(folder, 'root');
  const bin = path.join(folder, 'bin');
  const state = path.join(folder, 'state');
  for (const made of [bin, state]) await mkdir(made);
  for (const made of ['etc/ssl/certs', 'etc/ssl/private', 'run']) {
    await mkdir(path.join(root, made), { recursive: true });
  }
  await chmod(path.join(root, 'etc/ssl/private'), 0o711);
  // The list of authorities that a distribution brings: the tests' own stands for a public one.
  if (knownAuthority) await writeFile(path.join(root, AUTHORITIES), knownAuthority);
  const scriptFile = path.join(folder, '_script.sh');
  await writeFile(scriptFile, installScript(), { mode: 0o700 });

  const addCommand = async (name: string, body: string) => {
    const file = path.join(bin, name);
    await rm(file, { force: true });
    await writeFile(file, `#!/bin/bash\nstate='${state}' root='${root}'\n${body}\n`, { mode: 0o755 });
  };
  const current = 'readlink "$root/etc/ssl/acm-export/web/current"';
  await addCommand(
    'aws',
    `printf '%s\\n' "$*" >>"$state/aws"; env >"$state/aws-environment"
     if [ -s "$state/aws-errors" ]; then head -n 1 "$state/aws-errors" >&2; sed -i 1d "$state/aws-errors"; exit 254; fi
     cat "$state/bundle"`,
  );
  await addCommand('sleep', `echo "$1" >>"$state/sleeps"`);
  await addCommand('logger', `exec cat >>"$state/journal"`);
  await addCommand(
    'systemctl',
    `echo "$* $(${current})" >>"$state/systemctl"
     case $1 in
       is-active) [ ! -e "$state/dead-$3" ] ;;
       show)
         for word; do
           case $word in
             LoadState) echo LoadState=loaded ;;
             CanReload) [ -e "$state/no-reload-\${!#}" ] && echo CanReload=no || echo CanReload=yes ;;
             MainPID) cat "$state/main-pid-\${!#}" 2>/dev/null || echo MainPID=0 ;;
           esac
         done ;;
       reload | restart) if [ -s "$state/reload-faults" ]; then sed -i 1d "$state/reload-faults"; echo "Job for $2 failed." >&2; exit 1; fi ;;
     esac`,
  );
  for (const name of ['nginx', 'apachectl', 'haproxy']) {
    await addCommand(
      name,
      `echo "${name} $* $(${current})" >>"$state/config-tests"
       if [ -e "$state/config-fault" ]; then cat "$state/config-fault" >&2; exit 1; fi`,
    );
  }

  const secrets: string[] = [];
  const parameters: Environment = {
    SSM_VersionId: '0'.repeat(64),
    SSM_CertName: 'web',
    SSM_DeploymentId: DEPLOYMENT,
    SSM_RolloutNumber: '1',
    SSM_CorrelationId: 'correlation-1',
    ...variablesOf(nodeParameters()),
  };

  const node = {
    folder,
    root,
    bin,
    state,
    scriptFile,
    addCommand,
    path: (...parts: string[]) => path.join(root, ...parts),
    ssl: (...parts: string[]) => path.join(root, 'etc/ssl', ...parts),
    base: (...parts: string[]) => path.join(root, 'etc/ssl/acm-export/web', ...parts),
    read: (...parts: string[]) => readFile(path.join(root, ...parts), 'utf8'),

    /** What a command that stands in has been told so far, line by line. */
    async told(name: string): Promise<string[]> {
      const file = path.join(state, name);
      return existsSync(file) ? (await readFile(file, 'utf8')).split('\n').filter(Boolean) : [];
    },
    tell: (name: string, text: string) => writeFile(path.join(state, name), text),
    untell: (name: string) => rm(path.join(state, name), { force: true }),

    /** Puts a bundle into the secret and gives the parameters that go with it. */
    async offer(bundle: Bundle, rollout = 1): Promise<Environment> {
      secrets.push(JSON.stringify(bundle.value.Passphrase).slice(1, -1), bundle.value.Passphrase);
      await node.tell('bundle', `${JSON.stringify(bundle.value)}\n`);
      return { SSM_VersionId: bundle.versionId, SSM_RolloutNumber: String(rollout) };
    },

    /** Starts the script as the agent does. The environment is the agent's and nothing else. */
    start(environment: Environment = {}, wrap: string[] = []) {
      const { SSM_CertName, SSM_DeploymentId } = environment;
      const [command = '', ...words] = [...wrap, '/bin/sh', '-c', `exec ${scriptFile}`];
      const child = spawn(command, words, {
        cwd: '/',
        env: Object.fromEntries(
          Object.entries({
            PATH: `${bin}:${process.env.PATH}`,
            AWS_SSM_INSTANCE_ID: 'i-0123456789abcdef0',
            AWS_SSM_REGION_NAME: 'eu-west-1',
            ACM_EXPORT_ROOT: root,
            LOCAL_NODE_ROOT: root,
            ...parameters,
            SSM_SecretArn: secretOf(SSM_CertName, SSM_DeploymentId),
            ...environment,
          }).filter(([, value]) => value !== undefined),
        ) as Record<string, string>,
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let stdout = '';
      let stderr = '';
      child.stdout.setEncoding('utf8').on('data', (text) => (stdout += text));
      child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
      const ended = new Promise<Run>((resolve, reject) => {
        child.on('error', reject);
        child.on('close', (code) => {
          try {
            resolve({
              code,
              stdout,
              stderr,
              result: code === null ? ({} as Result) : node.check(code, stdout, stderr, environment),
            });
          } catch (error) {
            reject(error);
          }
        });
      });
      return { child, ended };
    },

    /** What holds for every run, however it ends. */
    check(code: number, stdout: string, stderr: string, environment: Environment = {}): Result {
      if (!/^\{[^\n]{1,1500}\}\n$/.test(stdout))
        throw new Error(`no result line: exit code ${code}, ${stdout}${stderr}`);
      const result = JSON.parse(stdout) as Result;
      const { SSM_AfterCanary, SSM_DryRun } = environment;
      const isPassedOver =
        result.Outcome === 'failed' &&
        result.ExitCode in OWN_FAULTS &&
        (SSM_AfterCanary === 'true' || SSM_DryRun === 'true' || result.ExitCode === AGENT_TOO_OLD);
      expect(code).toBe(isPassedOver ? 0 : result.ExitCode);
      expect(result.Error === undefined).toBe(result.ExitCode === 0);
      for (const secret of secrets) {
        expect(stdout).not.toContain(secret);
        expect(stderr).not.toContain(secret);
      }
      expect(stderr).not.toContain('PRIVATE KEY');
      return result;
    },

    run: (environment: Environment = {}, wrap: string[] = []): Promise<Run> =>
      node.start(environment, wrap).ended,

    /** As `run`, but killed by kill -9 when it comes to a step of main; the exit code is null if it came so far. */
    async runUntil(step: string, environment: Environment = {}): Promise<Run> {
      const killer = path.join(folder, 'killer.sh');
      await writeFile(
        killer,
        'set -T; trap \'[[ $BASH_COMMAND != "step $KILL_AT" ]] || kill -9 $$\' DEBUG\n',
      );
      return node.run({ ...environment, BASH_ENV: killer, KILL_AT: step });
    },

    /** Installs a bundle that nothing is wrong with. */
    async install(bundle: Bundle, rollout = 1, environment: Environment = {}): Promise<Run> {
      const run = await node.run({ ...(await node.offer(bundle, rollout)), ...environment });
      if (run.result.ExitCode !== 0) throw new Error(run.stdout + run.stderr);
      return run;
    },

    /** By default a hook of the name `web` alone. */
    async addHook(name: string, body: string, mode = 0o755, place = 'hooks.d/web') {
      const folder = node.path('etc/acm-export', place);
      await mkdir(folder, { recursive: true });
      await writeFile(path.join(folder, name), `#!/bin/bash\nstate='${state}'\n${body}\n`, { mode });
      await chmod(path.join(folder, name), mode);
    },

    /** The serial at the paths that stay, where certificate and key belong together; undefined where there is neither. */
    async servedFiles(): Promise<string | undefined> {
      const [certificate, key] = [node.ssl('certs/web-fullchain.pem'), node.ssl('private/web-privkey.pem')];
      if (!existsSync(certificate) && !existsSync(key)) return undefined;
      const leaf = new X509Certificate(await readFile(certificate));
      expect(leaf.checkPrivateKey(createPrivateKey(await readFile(key)))).toBe(true);
      return leaf.serialNumber.toLowerCase();
    },

    /** Everything below /etc: kind, mode, and content or target. */
    async files(): Promise<Record<string, string>> {
      const found: Record<string, string> = {};
      for (const entry of await readdir(node.path('etc'), { recursive: true, withFileTypes: true })) {
        const file = path.join(entry.parentPath, entry.name);
        const { mode } = await lstat(file);
        const content = entry.isSymbolicLink()
          ? await readlink(file)
          : entry.isFile()
            ? createHash('sha256')
                .update(await readFile(file))
                .digest('hex')
            : '';
        found[path.relative(root, file)] = `${mode.toString(8)} ${content}`;
      }
      return found;
    },

    // The journal's process may write a moment longer.
    remove: () => rm(folder, { recursive: true, force: true, maxRetries: 20 }),
  };
  return node;
}

export type TestNode = Awaited<ReturnType<typeof createNode>>;
