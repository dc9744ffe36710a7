// Writes the SSM documents, with the install script in them, into member-account.yaml.
//
//   node scripts/render-member-account.ts           renders
//   node scripts/render-member-account.ts --check   fails if the template does not hold what would be rendered
//
// The template lies in the repository as it is deployed, so that nobody needs a build to deploy it. The documents stand
// in it as plain YAML and the script with its comments: what runs on a server as root can be read there, line by line.
import { readdirSync, readFileSync, realpathSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Document, parse } from 'yaml';

const root = path.dirname(import.meta.dirname);

/** What CloudFormation takes as a template that lies in S3, in bytes (TemplateURL: 1 MB). */
export const TEMPLATE_LIMIT = 1_000_000;

interface Parameter {
  type: string;
  description?: string;
  allowedPattern: string;
  default?: string;
  interpolationType?: string;
}

export interface SsmDocument {
  schemaVersion: string;
  parameters: Record<string, Parameter>;
  mainSteps: { name: string; action: string; onFailure?: string; inputs: Record<string, unknown> }[];
  [field: string]: unknown;
}

const SCRIPT_PLACE = 'rendered from install-certificate/*.sh';

const INSTALL_SCRIPT = path.join(root, 'ssm-documents', 'install-certificate');

/**
 * The install script as it is deployed and as tests run it: its parts, in the byte order of their names, with an empty
 * line between two of them. Indentation is left out: an SSM document has 64 KB, and comments say more.
 */
export function installScript(folder = INSTALL_SCRIPT): string {
  const names = readdirSync(folder).filter((name) => name.endsWith('.sh'));
  const parts = names.sort().map((name) => readFileSync(path.join(folder, name), 'utf8').trimEnd());
  return `${parts.join('\n\n')}\n`.replace(/^ +/gm, '');
}

/** The two documents as they are deployed, the script and the handed-on parameters in their places. */
export async function loadDocuments(): Promise<{ installOnNode: SsmDocument; installOnFleet: SsmDocument }> {
  const read = (name: string) => readFile(path.join(root, 'ssm-documents', name), 'utf8');
  const installOnNode: SsmDocument = parse(await read('install-on-node.yaml'));
  const installOnFleet: SsmDocument = parse(await read('install-on-fleet.yaml'));
  const step = installOnNode.mainSteps[0];
  if (JSON.stringify(step?.inputs.runCommand) !== JSON.stringify([SCRIPT_PLACE])) {
    throw new Error(`install-on-node.yaml has no runCommand "${SCRIPT_PLACE}"`);
  }
  (step as SsmDocument['mainSteps'][number]).inputs.runCommand = [installScript()];
  return { installOnNode, installOnFleet: handParametersOn(installOnFleet, installOnNode) };
}

/** Gives the Automation document the parameters of the Command document, and passes them in each of its steps. */
function handParametersOn(fleet: SsmDocument, node: SsmDocument): SsmDocument {
  const parameters = Object.fromEntries(
    Object.entries(node.parameters).map(([name, parameter]) => {
      // Only Command documents know interpolationType.
      const { interpolationType: _, ...rest } = parameter;
      return [name, rest];
    }),
  );
  const passed = Object.fromEntries(Object.keys(parameters).map((name) => [name, `{{ ${name} }}`]));
  return {
    ...fleet,
    parameters: { ...fleet.parameters, ...parameters },
    mainSteps: fleet.mainSteps.map((step) => ({ ...step, inputs: { ...step.inputs, Parameters: passed } })),
  };
}

/** The template with the documents written between their marks. Throws if a mark is missing. */
export async function renderMemberAccount(template: string): Promise<string> {
  const { installOnNode, installOnFleet } = await loadDocuments();
  const withFleet = replaceBetweenMarks(template, 'install-on-fleet.yaml', installOnFleet);
  return replaceBetweenMarks(withFleet, 'install-on-node.yaml', installOnNode);
}

function replaceBetweenMarks(template: string, name: string, document: SsmDocument): string {
  const mark = `# rendered from ssm-documents/${name}`;
  const place = new RegExp(`^( *)${mark}: begin\\n[^]*?^ *${mark}: end$`, 'm');
  const indentation = place.exec(template)?.[1];
  if (indentation === undefined) {
    throw new Error(`member-account.yaml has no place between "${mark}: begin" and ": end"`);
  }
  const block = toYaml(document)
    .trimEnd()
    .split('\n')
    .map((line) => (line === '' ? '' : indentation + line))
    .join('\n');
  return template.replace(place, () => `${indentation}${mark}: begin\n${block}\n${indentation}${mark}: end`);
}

function toYaml(document: SsmDocument): string {
  // YAML 1.1 is what CloudFormation reads: `no` and 0600 get their quotes. It takes no aliases.
  return new Document(document, { version: '1.1', aliasDuplicateObjects: false }).toString({
    blockQuote: 'literal',
    lineWidth: 0,
    directives: false,
  });
}

/** Not `import.meta.main`, which early releases of Node 24 do not have. */
if (process.argv[1] && realpathSync(process.argv[1]) === import.meta.filename) {
  const file = path.join(root, 'member-account.yaml');
  const template = await readFile(file, 'utf8');
  const rendered = await renderMemberAccount(template);
  const size = Buffer.byteLength(rendered);
  if (size > TEMPLATE_LIMIT) {
    console.error(`member-account.yaml would have ${size} bytes; CloudFormation takes ${TEMPLATE_LIMIT}`);
    process.exitCode = 1;
  } else if (process.argv.includes('--check')) {
    if (rendered !== template) {
      console.error('member-account.yaml is stale: run make render');
      process.exitCode = 1;
    }
  } else if (rendered !== template) {
    await writeFile(file, rendered);
  }
}
