// Writes what is made from other files, and lies in the repository as it is deployed or read: nobody needs a build for it.
//
// The SSM documents stand in member-account.yaml as plain YAML and the script with its comments: what runs on a server
// as root can be read there, line by line.
import { hash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Document, isScalar, parse, visit } from 'yaml';
import { PATTERNS } from '../functions/domain/patterns.ts';
import { commandReference, exitTable } from './command-reference.ts';
import { exitCodeTable, fieldTable } from './doc-tables.ts';
import { fileSchema } from './file-schema.ts';
import { exampleOfAll, openApiBlocks } from './openapi.ts';
import { patternInTemplate } from './owner-limits.ts';
import { exitCodes, functionsPart, lookPart, nodeParameters, scriptPart } from './parameters.ts';

const root = path.dirname(import.meta.dirname);

/** What CloudFormation takes as a template that lies in S3, in bytes (TemplateURL: 1 MB). */
export const TEMPLATE_LIMIT = 1_000_000;

interface Parameter {
  type: string;
  description?: string;
  allowedPattern: string;
  default?: string | string[];
  interpolationType?: string;
}

export interface SsmDocument {
  schemaVersion: string;
  parameters: Record<string, Parameter>;
  mainSteps: {
    name: string;
    action: string;
    onFailure?: string;
    isEnd?: boolean;
    inputs: Record<string, unknown>;
  }[];
  [field: string]: unknown;
}

const DOCUMENTS = path.join(root, 'ssm-documents');
/** Parts of both scripts: none of these writes. */
const SHARED = path.join(DOCUMENTS, 'shared');

/**
 * A script as it is deployed and as tests run it: the parts of its folders, in the byte order of their names. Indentation,
 * empty lines and the headings of the parts are left out: an SSM document has 64 KB, and comments say more.
 */
export function joinParts(...folders: string[]): string {
  const files = folders.flatMap((folder) =>
    readdirSync(folder).flatMap((name) => (name.endsWith('.sh') ? [path.join(folder, name)] : [])),
  );
  const order = (file: string) => path.basename(file);
  const parts = files
    .sort((a, b) => (order(a) < order(b) ? -1 : 1))
    .map((file) => readFileSync(file, 'utf8').trimEnd());
  return `${parts.join('\n')}\n`.replace(/^ +|^# ---- .*\n|^\n/gm, '');
}

export const installScript = () => joinParts(SHARED, path.join(DOCUMENTS, 'install-certificate'));
export const lookScript = () => joinParts(SHARED, path.join(DOCUMENTS, 'look-at-node'));

/** The documents as they are deployed: parameters and scripts in their places. */
export function loadDocuments(): Record<'installOnNode' | 'installOnFleet' | 'lookAtNode', SsmDocument> {
  const read = (name: string): SsmDocument => parse(readFileSync(path.join(DOCUMENTS, name), 'utf8'));
  const withScript = (document: SsmDocument, script: string): SsmDocument => ({
    ...document,
    mainSteps: document.mainSteps.map((step) => ({
      ...step,
      inputs: { ...step.inputs, runCommand: [script] },
    })),
  });
  return {
    installOnNode: {
      ...withScript(read('install-on-node.yaml'), installScript()),
      parameters: commandParameters(),
    },
    installOnFleet: handParametersOn(read('install-on-fleet.yaml')),
    lookAtNode: withScript(read('look-at-node.yaml'), lookScript()),
  };
}

/** No value is ever pasted into shell text: the agent hands each one over as a variable. */
function commandParameters(): Record<string, Parameter> {
  return Object.fromEntries(
    nodeParameters().map(({ name, pattern, default: standard }) => [
      name,
      {
        type: 'String',
        interpolationType: 'ENV_VAR',
        allowedPattern: `^${pattern}$`,
        ...(standard === undefined ? {} : { default: standard }),
      },
    ]),
  );
}

/**
 * Gives the Automation document the parameters of the Command document, and passes them wherever it sends that; but for
 * those that a step sets itself.
 */
function handParametersOn(fleet: SsmDocument): SsmDocument {
  const setBy = (step: SsmDocument['mainSteps'][number]) =>
    (step.inputs.Parameters ?? {}) as Record<string, string>;
  const ofSteps = new Set(fleet.mainSteps.flatMap((step) => Object.keys(setBy(step))));
  const own = Object.entries(fleet.parameters).map(([name, parameter]) => [
    name,
    { ...parameter, allowedPattern: `^${PATTERNS[parameter.allowedPattern as keyof typeof PATTERNS]}$` },
  ]);
  const handedOn = Object.entries(commandParameters()).flatMap(([name, parameter]) => {
    // Only Command documents know interpolationType.
    const { interpolationType: _, ...rest } = parameter;
    return ofSteps.has(name) ? [] : [[name, rest]];
  });
  const passed = Object.fromEntries(handedOn.map(([name]) => [name, `{{ ${name} }}`]));
  return {
    ...fleet,
    parameters: Object.fromEntries([...own, ...handedOn]),
    mainSteps: fleet.mainSteps.map((step) =>
      step.action === 'aws:runCommand'
        ? { ...step, inputs: { ...step.inputs, Parameters: { ...passed, ...setBy(step) } } }
        : step,
    ),
  };
}

/** A document as the template has it: some of its patterns depend on what the owner of the account allows. */
function withOwnerLimits(file: string, document: SsmDocument): object {
  const parameters = Object.entries(document.parameters).map(([name, parameter]) => [
    name,
    { ...parameter, allowedPattern: patternInTemplate(file, name, parameter.allowedPattern) },
  ]);
  return { ...document, parameters: Object.fromEntries(parameters) };
}

/** Each file with what is rendered into it, from the text that it has. */
export const RENDERED: Record<string, (text: string) => string> = {
  // First, as the documents hold it.
  'ssm-documents/install-certificate/05-exit-codes-and-parameters.sh': () => scriptPart(),
  'ssm-documents/look-at-node/05-forms.sh': () => lookPart(),
  'functions/domain/exit-codes.ts': () => functionsPart(),
  'member-account.yaml': (text) => {
    const { installOnNode, installOnFleet, lookAtNode } = loadDocuments();
    const blocks = {
      'install-on-fleet.yaml': installOnFleet,
      'install-on-node.yaml': installOnNode,
      'look-at-node.yaml': lookAtNode,
    };
    return Object.entries(blocks).reduce(
      (template, [name, document]) =>
        replaceBetweenMarks(
          template,
          `# rendered from ssm-documents/${name}`,
          toYaml(withOwnerLimits(name, document)),
        ),
      text,
    );
  },
  'docs/openapi.yaml': (text) =>
    Object.entries(openApiBlocks()).reduce(
      (api, [name, block]) =>
        replaceBetweenMarks(api, `# rendered from functions/domain/order.ts, ${name}`, toOpenApi(block)),
      text,
    ),
  'events/deployments-api/register-deployment-with-all-options.json': (text) => {
    const body = JSON.stringify(JSON.stringify(exampleOfAll()));
    return text.replace(/^ {2}"body": .*$/m, () => `  "body": ${body},`);
  },
  'cli/edition.ts': () => editionOf({ 'install-on-node': installScript(), 'look-at-node': lookScript() }),
  'docs/deployments.schema.json': () => fileSchema(),
  'docs/command.md': (text) =>
    replaceBetweenMarks(
      replaceBetweenMarks(text, '<!-- rendered from cli, the exit codes', exitTable()),
      '<!-- rendered from cli, --help',
      commandReference(),
    ),
  'docs/guide.md': (text) =>
    replaceBetweenMarks(text, '<!-- rendered from functions/domain/order.ts', fieldTable()),
  'docs/operations.md': (text) => withExitCodes(text, ['own', 'means', 'todo'], 'server'),
  'ssm-documents/README.md': (text) => withExitCodes(text, ['own', 'means'], 'node'),
};

/** By which `acm-export doctor` tells whether a document is of this edition: the digest of its script. */
function editionOf(scripts: Record<string, string>): string {
  const lines = Object.entries(scripts).map(
    ([name, script]) => `  '${name}': '${hash('sha256', script.trimEnd())}',`,
  );
  return `// Written by make render: the scripts of the SSM documents, by the end of the document's name.\nexport const SCRIPTS = {\n${lines.join('\n')}\n};\n`;
}

function withExitCodes(text: string, columns: ('own' | 'means' | 'todo')[], word: 'node' | 'server'): string {
  const mark = '<!-- rendered from ssm-documents/exit-codes.yaml';
  return replaceBetweenMarks(text, mark, exitCodeTable(exitCodes, columns, word));
}

/** The file as it should be. */
export function rendered(file: string): { is: string; shouldBe: string } {
  const is = existsSync(path.join(root, file)) ? readFileSync(path.join(root, file), 'utf8') : '';
  return { is, shouldBe: (RENDERED[file] as (text: string) => string)(is) };
}

/** @throws if the marks, which are comments, are missing. */
function replaceBetweenMarks(text: string, mark: string, block: string): string {
  const end = mark.startsWith('<!--') ? ' -->' : '';
  const place = new RegExp(`^( *)${mark}: begin${end}\\n[^]*?^ *${mark}: end${end}$`, 'm');
  const indentation = place.exec(text)?.[1];
  if (indentation === undefined) {
    throw new Error(`there is no place between "${mark}: begin${end}" and ": end${end}"`);
  }
  const lines = block
    .trimEnd()
    .split('\n')
    .map((line) => (line === '' ? '' : indentation + line))
    .join('\n');
  return text.replace(
    place,
    () => `${indentation}${mark}: begin${end}\n${lines}\n${indentation}${mark}: end${end}`,
  );
}

/** As CloudFormation reads it, YAML 1.1: `no` and 0600 get their quotes, and there are no aliases. */
function toYaml(value: unknown): string {
  return new Document(value, { version: '1.1', aliasDuplicateObjects: false }).toString({
    blockQuote: 'literal',
    lineWidth: 0,
    directives: false,
  });
}

/** In the style of the rest of the document: lists of words on one line. */
function toOpenApi(value: unknown): string {
  const document = new Document(value, { aliasDuplicateObjects: false });
  visit(document, {
    Seq: (_, list) => {
      list.flow = list.items.every(isScalar);
    },
  });
  return document.toString({ lineWidth: 110, singleQuote: true, flowCollectionPadding: false });
}

/** Not `import.meta.main`, which early releases of Node 24 do not have. */
if (process.argv[1] && realpathSync(process.argv[1]) === import.meta.filename) {
  for (const file of Object.keys(RENDERED)) {
    writeFileSync(path.join(root, file), rendered(file).shouldBe);
  }
}
