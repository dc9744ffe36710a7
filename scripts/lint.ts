// What neither the compiler nor Biome looks at: shell scripts, the state machine's language, both templates, what comes
// from the registry.
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import aslValidator from 'asl-validator';
import { parse } from 'yaml';
import { resolveTemplate } from '../local/templates/resolve-template.ts';
import { audit, dependencyFaults } from './dependencies.ts';
import { renderMemberAccount } from './render-member-account.ts';

const root = path.dirname(import.meta.dirname);
const read = (file: string) => readFileSync(path.join(root, file), 'utf8');

/** Every tracked or new file that bash runs, known by name or by its first line. */
function shellScripts(): string[] {
  const listed = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
    cwd: root,
  });
  return String(listed)
    .split('\n')
    .filter((file) => file.endsWith('.sh') || (isScriptName(file) && /^#!.*\bbash\b/.test(firstLine(file))));
}

const isScriptName = (file: string) => file !== '' && path.extname(file) === '';

function firstLine(file: string): string {
  try {
    return read(file).split('\n', 1)[0] ?? '';
  } catch {
    return ''; // deleted, but still in the index
  }
}

function checkShell(): string[] {
  const scripts = shellScripts();
  const { error, status, stdout } = spawnSync('shellcheck', ['--severity=style', ...scripts], {
    cwd: root,
    encoding: 'utf8',
  });
  if (error) {
    const message = 'shellcheck is not installed: the shell scripts were NOT checked';
    if (process.env.CI) {
      return [message];
    }
    console.warn(message);
    return [];
  }
  return status === 0 ? [] : [stdout];
}

function checkStateMachine(): string[] {
  const definition = parse(read('statemachine/certificate-rollout.asl.yaml'));
  const { isValid, errorsText } = aslValidator(definition, { checkPaths: true, checkArn: false });
  return isValid ? [] : [`statemachine: ${errorsText()}`];
}

function checkTemplates(): string[] {
  const examples = {
    'template.yaml': { ExternalId: 'lint-only' },
    'member-account.yaml': {
      CentralAccountId: '111122223333',
      CentralRegion: 'eu-west-1',
      ExternalId: 'lint-only',
    },
  };
  return Object.entries(examples).flatMap(([file, parameters]) => {
    try {
      resolveTemplate(path.join(root, file), {
        account: '111122223333',
        region: 'eu-west-1',
        stackName: 'lint',
        parameters,
      });
      return [];
    } catch (error) {
      return [`${file}: ${(error as Error).message}`];
    }
  });
}

async function checkRendering(): Promise<string[]> {
  const template = read('member-account.yaml');
  const fresh = (await renderMemberAccount(template)) === template;
  return fresh ? [] : ['member-account.yaml is older than ssm-documents/: run `make render`'];
}

function checkDependencies(): string[] {
  const locks = ['package-lock.json', 'tools/package-lock.json'];
  return locks.flatMap((file) => dependencyFaults(file, JSON.parse(read(file))));
}

function checkVulnerabilities(): string[] {
  const { faults, notChecked } = audit(root);
  if (notChecked) {
    console.warn(`dependency audit: NOT checked (${notChecked})`);
  }
  return faults;
}

const faults = [
  ...checkShell(),
  ...checkStateMachine(),
  ...checkTemplates(),
  ...(await checkRendering()),
  ...checkDependencies(),
  ...checkVulnerabilities(),
];
for (const fault of faults) {
  console.error(fault);
}
process.exitCode = faults.length > 0 ? 1 : 0;
