import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { isInstalled } from 'local-cloud/node';

// What tests may need beyond the programs that `make test` counts on: Node, npm, make, bash, openssl, coreutils,
// util-linux, findutils, grep, sed and git. Tests say it by `needs` (needs.ts); those that need a program lie below
// tests/real/.

interface Tool {
  isHere: () => boolean;
  /** Debian's package, or what else a reader does to have it. */
  debian?: string;
  otherwise?: string;
}

const succeeds = (program: string, ...words: string[]) =>
  spawnSync(program, words, { stdio: 'ignore' }).status === 0;
const isInPath = (program: string) => () => programOf(program) !== undefined;

/** Words for `unshare`, behind which a command may mount what it likes, seen by nobody else. */
export const MOUNT_NAMESPACE = process.getuid?.() === 0 ? ['-m'] : ['-Urm'];

const TOOLS = {
  nginx: { isHere: () => isInstalled('nginx'), debian: 'nginx' },
  apache: { isHere: () => isInstalled('apache'), debian: 'apache2' },
  haproxy: { isHere: () => isInstalled('haproxy'), debian: 'haproxy' },
  // 7.75 is the first one with --aws-sigv4.
  curl: { isHere: isCurlNewEnough, debian: 'curl' },
  strace: { isHere: () => succeeds('strace', '-V'), debian: 'strace' },
  zsh: { isHere: isInPath('zsh'), debian: 'zsh' },
  botocore: { isHere: () => succeeds('python3', '-c', 'import botocore'), debian: 'python3-botocore' },
  aws: { isHere: () => realAwsCli() !== undefined, debian: 'awscli' },
  // Builds a program with go-pkcs12, which the proxy for Go modules has.
  go: { isHere: () => succeeds('go', 'version'), debian: 'golang-go' },
  keytool: { isHere: isInPath('keytool'), debian: 'default-jre-headless' },
  debootstrap: { isHere: isInPath('debootstrap'), debian: 'debootstrap' },
  // Their own parsers are asked, which is possible where they are installed as modules of Python.
  awsModule: { isHere: () => pythonWith('awscli', realAwsCli()) !== undefined, debian: 'awscli' },
  samModule: {
    isHere: () => pythonWith('samcli', programOf('sam')) !== undefined,
    otherwise: 'pip install aws-sam-cli',
  },
  openapiPythonClient: {
    isHere: isInPath('openapi-python-client'),
    otherwise: 'pip install openapi-python-client botocore',
  },
  schemathesis: { isHere: isInPath('schemathesis'), otherwise: 'pip install schemathesis botocore' },
  openapiTypescript: {
    isHere: isInPath('openapi-typescript'),
    otherwise: 'npm install -g openapi-typescript',
  },
  // Where CI put it, else beside the example itself.
  cdk: {
    isHere: () => cdkModules() !== undefined,
    otherwise: 'npm ci --ignore-scripts --prefix docs/examples/cdk',
  },
  awscurl: { isHere: isInPath('awscurl'), otherwise: 'pip install awscurl' },
  moto: { isHere: isInPath('moto_server'), otherwise: "pip install 'moto[server]'" },
  root: { isHere: () => process.getuid?.() === 0, otherwise: 'run as root' },
  mounts: {
    isHere: () => succeeds('unshare', ...MOUNT_NAMESPACE, 'mount', '--version'),
    otherwise: 'run as root, or allow user namespaces to users',
  },
  // Only trying tells: see wasNotHere.
  mirror: { isHere: () => true, otherwise: 'reach a mirror of Debian that has the release' },
} satisfies Record<string, Tool>;

export type ToolName = keyof typeof TOOLS;

/** The packages of Debian for these tools, in one command, and what else is to be done. */
export function howToGet(tools: ToolName[]): string {
  const wanted: Tool[] = tools.map((tool) => TOOLS[tool]);
  const packages = new Set(wanted.flatMap(({ debian }) => debian ?? []));
  const others = new Set(wanted.flatMap(({ otherwise }) => otherwise ?? []));
  return [...(packages.size > 0 ? [`apt install ${[...packages].join(' ')}`] : []), ...others].join('; ');
}

/** What is a program, and not a right of the user or of the network. */
export const PROGRAMS = (Object.keys(TOOLS) as ToolName[]).filter(
  (tool) => !/^(root|mounts|mirror)$/.test(tool),
);

const answers = new Map<ToolName, boolean>();

/** Whether this machine has it; asked once for each file of tests. */
export function isHere(tool: ToolName): boolean {
  const answer = answers.get(tool) ?? TOOLS[tool].isHere();
  answers.set(tool, answer);
  return answer;
}

/** Says what only trying could tell, before the tests that need it are named. */
export function wasNotHere(tool: ToolName): void {
  answers.set(tool, false);
}

/** The name of a test, or of a group of tests, that is left out: the reporter reads it. */
export const leftOutFor = (name: string, missing: ToolName[]) => `${name} (needs ${missing.join(', ')})`;

/** The tools at the end of such a name; none at the end of any other. */
export function neededBy(name: string): ToolName[] {
  const words = / \(needs ([\w, ]+)\)$/.exec(name)?.[1]?.split(', ') ?? [];
  return words.filter((word): word is ToolName => Object.hasOwn(TOOLS, word));
}

/** The path of a program, or nothing where it is not installed. */
export function programOf(name: string): string | undefined {
  const candidates = (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, name));
  return candidates.find((file) => {
    try {
      accessSync(file, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** The Python that a program is written in, or the machine's own, if it has a module. */
export function pythonWith(module: string, program: string | undefined): string | undefined {
  const firstLine = program ? (readFileSync(program, 'latin1').split('\n', 1)[0] ?? '') : '';
  const [, interpreter] = /^#!(\S*python\S*)/.exec(firstLine) ?? [];
  return [interpreter, 'python3'].find((python) => python && succeeds(python, '-c', `import ${module}`));
}

/** The AWS CLI itself, version 1 or 2: where CI put it, else in the PATH. */
export function realAwsCli(): string | undefined {
  const found = process.env.REAL_AWS_CLI ?? programOf('aws');
  return found && succeeds(found, '--version') ? found : undefined;
}

/** The folder that has the packages of docs/examples/cdk. */
export function cdkModules(): string | undefined {
  const folders = [
    process.env.CDK_MODULES ?? '',
    join(import.meta.dirname, '../../docs/examples/cdk/node_modules'),
  ];
  return folders.find((folder) => existsSync(join(folder, 'aws-cdk-lib/package.json')));
}

function isCurlNewEnough(): boolean {
  const said = spawnSync('curl', ['--version'], { encoding: 'utf8' }).stdout ?? '';
  const [, major, minor] = /^curl (\d+)\.(\d+)/.exec(said) ?? [];
  return Number(major) > 7 || (Number(major) === 7 && Number(minor) >= 75);
}
