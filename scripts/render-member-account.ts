// Writes the SSM documents, with the install script in them, into member-account.yaml.
//
//   node scripts/render-member-account.ts           renders
//   node scripts/render-member-account.ts --check   fails if the template does not hold what would be rendered
//
// The template must lie in the repository as it is deployed, and may have 51,200 bytes at most. So the copy in it
// is compact: the script without its comments, as a quoted YAML string with one line per function, where a block of
// text would spend a dozen blanks on each of its lines.
import { realpathSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Document, isPair, isScalar, parse, Scalar, visit } from 'yaml';

const root = path.dirname(import.meta.dirname);

/** What CloudFormation takes as the body of a template, in bytes (CloudFormation quotas). */
export const TEMPLATE_LIMIT = 51_200;

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

const SCRIPT_PLACE = 'rendered from install-certificate.sh';

/** The two documents as they are deployed, the script and the handed-on parameters in their places. */
export async function loadDocuments(): Promise<{ installOnNode: SsmDocument; installOnFleet: SsmDocument }> {
  const read = (name: string) => readFile(path.join(root, 'ssm-documents', name), 'utf8');
  const installOnNode: SsmDocument = parse(await read('install-on-node.yaml'));
  const installOnFleet: SsmDocument = parse(await read('install-on-fleet.yaml'));
  const step = installOnNode.mainSteps[0];
  if (JSON.stringify(step?.inputs.runCommand) !== JSON.stringify([SCRIPT_PLACE])) {
    throw new Error(`install-on-node.yaml has no runCommand "${SCRIPT_PLACE}"`);
  }
  (step as SsmDocument['mainSteps'][number]).inputs.runCommand = [
    compact(await read('install-certificate.sh')),
  ];
  return { installOnNode, installOnFleet: handParametersOn(installOnFleet, installOnNode) };
}

/** Gives the Automation document the parameters of the Command document, and passes them in each of its steps. */
function handParametersOn(fleet: SsmDocument, node: SsmDocument): SsmDocument {
  const parameters = Object.fromEntries(
    Object.entries(node.parameters).map(([name, parameter]) => {
      // Only Command documents know interpolationType, and one description is enough.
      const { interpolationType: _, description: __, ...rest } = parameter;
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

/** The script without comments and blank lines and with half its indentation. Its first line names the shell. */
export function compact(script: string): string {
  const [shell, ...lines] = script.split('\n');
  const code = lines.filter((line) => !/^\s*(#|$)/.test(line));
  const compacted = code.map((line) =>
    line
      .replace(/ # [^'"]*$/, '') // A # inside a string has a quote behind it.
      .replace(/^(\w+\(\) \{) # .*$/, '$1')
      .replace(/^ +/, (blanks) => ' '.repeat(blanks.length / 2)),
  );
  return [shell, ...compacted].join('\n');
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
    .map((line) => indentation + line)
    .join('\n');
  return template.replace(place, () => `${indentation}${mark}: begin\n${block}\n${indentation}${mark}: end`);
}

function toYaml(document: SsmDocument): string {
  const script = (document.mainSteps[0]?.inputs.runCommand as string[] | undefined)?.[0];
  const place = '__SCRIPT__';
  const withPlace = JSON.parse(JSON.stringify(document, (_, value) => (value === script ? place : value)));
  // YAML 1.1 is what CloudFormation reads: `no` and 0600 get their quotes.
  const yamlDocument = new Document(withPlace, { version: '1.1' });
  visit(yamlDocument, {
    // Older parsers, that of the AWS CLI among them, refuse a plain scalar with a question mark inside {}.
    Scalar: (_, node) => {
      if (typeof node.value === 'string' && node.value.includes('?')) node.type = Scalar.QUOTE_DOUBLE;
    },
    Collection: (_, node) => {
      const values = node.items.map((item) => (isPair(item) ? item.value : item));
      if (values.every((value) => isScalar(value) && value.value !== place)) node.flow = true; // On one line.
    },
  });
  const yaml = yamlDocument.toString({
    indent: 1,
    indentSeq: false,
    lineWidth: 0,
    flowCollectionPadding: false,
    directives: false,
  });
  return script === undefined ? yaml : yaml.replace(place, () => quoted(script));
}

/**
 * A double-quoted YAML string, broken (without effect on its value) before each line that begins a function. YAML
 * wants continued lines deeper than the list that the string is an item of; parsers differ in how strictly.
 */
function quoted(script: string): string {
  return JSON.stringify(script).replace(/\\n(?=\w+\(\) \{)/g, '\\n\\\n      ');
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
