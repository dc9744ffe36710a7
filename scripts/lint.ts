// What neither the compiler nor Biome looks at: shell scripts, the state machine's language, the templates, what comes
// from the registry.
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import aslValidator from 'asl-validator';
import { resolveTemplate } from 'local-cloud/templates';
import { parse } from 'yaml';
import { audit, dependencyFaults } from './dependencies.ts';
import { installScript, lookScript, RENDERED, rendered } from './render.ts';

const root = path.dirname(import.meta.dirname);
const read = (file: string) => readFileSync(path.join(root, file), 'utf8');

/** The files of the project, without git, which a copy from an archive does not have: all but what is ignored. */
function filesOf(folder: string): string[] {
  return readdirSync(path.join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const file = path.join(folder, entry.name);
    if (entry.isDirectory()) return IGNORED.has(entry.name) ? [] : filesOf(file);
    return entry.isFile() ? [file] : [];
  });
}

const IGNORED = new Set(['.git', ...read('.gitignore').split(/\/?\n/)]);

/** Every file that bash runs, known by name or by its first line. Those of parts are checked when they are joined. */
function shellScripts(): string[] {
  return filesOf('').filter(
    (file) =>
      !file.startsWith('ssm-documents/') &&
      (file.endsWith('.sh') || (path.extname(file) === '' && /^#!.*\bbash\b/.test(read(file)))),
  );
}

function checkShell(): string[] {
  const runs = [
    { scripts: ['-'], input: installScript() },
    { scripts: [...shellScripts(), '-'], input: lookScript() },
  ].map(({ scripts, input }) =>
    spawnSync('shellcheck', ['--severity=style', ...scripts], { cwd: root, encoding: 'utf8', input }),
  );
  if (runs.some(({ error }) => error)) {
    const message = 'shellcheck is not installed: the shell scripts were NOT checked';
    if (process.env.CI) {
      return [message];
    }
    console.warn(message);
    return [];
  }
  return runs.flatMap(({ status, stdout }) => (status === 0 ? [] : [stdout]));
}

/**
 * Tests that ask the machine themselves, and leave something out where nobody is told; and what is imported once for many
 * test files, and so registers its hooks for the first of them only.
 */
function checkTests(): string[] {
  const files = [...filesOf('tests'), ...filesOf('packages')].filter(
    (file) => file.endsWith('.ts') && /(^|\/)tests\//.test(file),
  );
  const all = (pattern: RegExp, exempt: RegExp, fault: string) =>
    files.filter((file) => !exempt.test(file) && pattern.test(read(file))).map((file) => `${file}: ${fault}`);
  return [
    ...all(
      /\.skip\b|\bgetuid\b|'which'|'--version'/,
      /(^|\/)tests\/support\//,
      'looks itself for what may be missing; say it by needs() of tests/support/needs.ts',
    ),
    ...all(
      /^(before|after)(All|Each)\(/m,
      /\.test\.ts$/,
      'registers hooks when it is imported, which happens once for many test files; do it in a function',
    ),
  ];
}

function checkStateMachines(): string[] {
  return filesOf('statemachine').flatMap((file) => {
    const { isValid, errorsText } = aslValidator(parse(read(file)), { checkPaths: true, checkArn: false });
    return isValid ? [] : [`${file}: ${errorsText()}`];
  });
}

function checkTemplates(): string[] {
  const names = {
    CertNames: 'web',
    DeploymentsApiUrl: 'https://abcde12345.execute-api.eu-west-1.amazonaws.com/v1',
  };
  const examples = {
    'template.yaml': { ExternalId: 'lint-only' },
    'deployment-resource.yaml': names,
    'docs/examples/deployment-caller-role.yaml': {
      ...names,
      FunctionRoleName: 'acm-export-provide-deployment-eu-west-1',
      FunctionAccountId: '111122223333',
      ExternalId: 'lint-only',
    },
    'dns-account.yaml': {
      CentralAccountId: '111122223333',
      CentralRegion: 'eu-west-1',
      ExternalId: 'lint-only',
      HostedZoneArns: 'arn:aws:route53:::hostedzone/Z0123456789ABCDEFGHIJ',
    },
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

function checkRendering(): string[] {
  const isStale = (file: string) => {
    const { is, shouldBe } = rendered(file);
    return is !== shouldBe;
  };
  return Object.keys(RENDERED)
    .filter(isStale)
    .map((file) => `${file} is older than what it is made from: run \`make render\``);
}

function checkDependencies(): string[] {
  const locks = ['package-lock.json', 'tools/package-lock.json', 'docs/examples/cdk/package-lock.json'];
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
  ...checkTests(),
  ...checkStateMachines(),
  ...checkTemplates(),
  ...checkRendering(),
  ...checkDependencies(),
  ...checkVulnerabilities(),
];
for (const fault of faults) {
  console.error(fault);
}
process.exitCode = faults.length > 0 ? 1 : 0;
