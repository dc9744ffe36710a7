// The parameters of the SSM documents and of the install script, from functions/domain/order.ts.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';
import * as z from 'zod';
import { certName, INSTALL_OPTIONS, MOST_EXCLUDED } from '../functions/domain/order.ts';
import { PATTERNS } from '../functions/domain/patterns.ts';

/** What the API takes as an option, in JSON Schema. */
export interface OptionSchema {
  type?: string;
  description?: string;
  /** What holds where an option without a default is left out. */
  without?: string;
  examples?: unknown[];
  enum?: string[];
  pattern?: string;
  not?: { pattern: string };
  minimum?: number;
  maximum?: number;
  maxItems?: number;
  items?: OptionSchema;
  default?: unknown;
}

/** A parameter of the Command document. */
export interface NodeParameter {
  name: string;
  /** Unanchored. */
  pattern: string;
  /** What the pattern takes and must not be, unanchored. */
  never?: string | undefined;
  /** The highest number. */
  most?: number | undefined;
  /** Without one it is required. */
  default?: string | undefined;
}

/** What a rollout says, beside the options of its order. */
const OF_ROLLOUT: NodeParameter[] = [
  { name: 'SecretArn', pattern: PATTERNS.SecretArn },
  { name: 'VersionId', pattern: PATTERNS.VersionId },
  { name: 'CertName', pattern: PATTERNS.CertName, never: neverOf(schemaOf(certName)) },
  { name: 'DeploymentId', pattern: PATTERNS.DeploymentId },
  { name: 'RolloutNumber', pattern: PATTERNS.RolloutNumber },
  { name: 'CorrelationId', pattern: PATTERNS.CorrelationId },
];

/** What an order says of the nodes, not of what is installed there. */
const OF_NODES: NodeParameter[] = [
  {
    name: 'ExcludeNodeIds',
    pattern: optional(listForm(PATTERNS.NodeIdTail, MOST_EXCLUDED)),
    default: '',
  },
];

/**
 * What a single run does, whatever its order says. AfterCanary is a constant in the steps of the fleet document that follow
 * the canary: where it is not given, a fault of the node itself counts as any other.
 */
const OF_RUN: NodeParameter[] = ['DryRun', 'Heal', 'AfterCanary'].map((name) => ({
  name,
  pattern: '(true|false)',
  default: 'false',
}));

/** What the end of the script needs, also where no parameter was taken yet: 03-state.sh sets these. */
const NEEDED_AT_END = [
  'CorrelationId',
  'CertName',
  'DeploymentId',
  'RolloutNumber',
  'VersionId',
  'DryRun',
  'AfterCanary',
];

/** Options that the first edition knew, in the order in which it noted them on nodes. */
const OF_FIRST_EDITION = ['ReloadServices', 'VerifyPort', 'KeyFormat', 'ExtraFormats', 'KeyMode', 'KeyGroup'];

/** Options that change nothing of what is installed: without them the same files are unchanged. */
const NOT_NOTED = ['TakeOver'];

export function schemaOf(type: z.ZodType): OptionSchema {
  return z.toJSONSchema(type, { io: 'input' }) as OptionSchema;
}

/** @throws for a schema that cannot become a parameter. */
export function parameterOf(name: string, schema: OptionSchema): NodeParameter {
  const { default: standard, maximum: most } = schema;
  const pattern = formOf(name, schema);
  const isEmpty = standard === undefined || (Array.isArray(standard) && standard.length === 0);
  if (!isEmpty && !OF_FIRST_EDITION.includes(name)) {
    throw new Error(`${name} has a default: a member stack that is one edition older would refuse it`);
  }
  return {
    name,
    pattern: isEmpty ? optional(pattern) : pattern,
    never: neverOf(schema),
    most,
    default: isEmpty ? '' : String(standard),
  };
}

function formOf(
  name: string,
  { type, enum: values, pattern, minimum, maximum, maxItems = 1, items }: OptionSchema,
): string {
  if (values) {
    return `(${values.join('|')})`;
  }
  if (type === 'boolean') {
    return '(true|false)';
  }
  if (type === 'integer' && minimum === 0 && maximum !== undefined) {
    return `(0|[1-9][0-9]{0,${String(maximum).length - 1}})`;
  }
  if (type === 'array' && items) {
    return listForm(formOf(name, items), maxItems);
  }
  if (type === 'string' && pattern) {
    return unanchored(pattern);
  }
  throw new Error(`${name}: no form of a parameter is known for ${type}`);
}

function listForm(item: string, most: number): string {
  return `${item}( ${item}){0,${most - 1}}`;
}

function optional(pattern: string): string {
  return /^\([^()]*\)$/.test(pattern) ? `${pattern}?` : `(${pattern})?`;
}

function neverOf({ not }: OptionSchema): string | undefined {
  return not && unanchored(not.pattern);
}

/** JavaScript writes a slash with a backslash. */
function unanchored(pattern: string): string {
  return pattern.replaceAll('\\/', '/').slice(1, -1);
}

/** The parameters of the Command document, in its order. */
export function nodeParameters(options: Record<string, z.ZodType> = INSTALL_OPTIONS): NodeParameter[] {
  return [
    ...OF_ROLLOUT,
    ...Object.entries(options).map(([name, option]) => parameterOf(name, schemaOf(option))),
    ...OF_NODES,
    ...OF_RUN,
  ];
}

/** Variables by which the SSM Agent hands over what is left out. */
export function variablesOf(parameters: NodeParameter[]): Record<string, string> {
  return Object.fromEntries(
    parameters.flatMap(({ name, default: standard }) =>
      standard === undefined ? [] : [[`SSM_${name}`, standard]],
    ),
  );
}

export interface ExitCode {
  code: number;
  fault: string;
  /** The cause lies in the node alone, and nothing was changed. */
  own?: boolean;
  means: string;
  todo: string;
}

const EXIT_CODES_FILE = path.join(import.meta.dirname, '../ssm-documents/exit-codes.yaml');

export const exitCodes: ExitCode[] = parse(readFileSync(EXIT_CODES_FILE, 'utf8'));

/** The part of the install script that is written from functions/domain/order.ts and exit-codes.yaml. */
export function scriptPart(parameters = nodeParameters(), codes = exitCodes): string {
  const later = parameters
    .map(({ name }) => name)
    .filter((name) => name in INSTALL_OPTIONS && ![...OF_FIRST_EDITION, ...NOT_NOTED].includes(name));
  return `# ---- \`make render\` writes this part, from exit-codes.yaml and functions/domain/order.ts ----
declare -rA EXIT_CODE=(
${codes.map(({ fault, code }) => `  [${fault}]=${code}`).join('\n')}
)
# Whose cause lies in this node alone, with nothing changed.
declare -r OWN_FAULTS=' ${codes.flatMap(({ code, own }) => (own ? [code] : [])).join(' ')} '

declare ${parameters
    .map(({ name }) => name)
    .filter((name) => !NEEDED_AT_END.includes(name))
    .join(' ')}
take_parameters() {
${parameters.flatMap(linesOf).join('\n')}
}

# As the first edition noted them: what it installed stays unchanged. Later options follow.
note_options() {
  options="${OF_FIRST_EDITION.map((name) => `$${name}`).join('|')}${later.map((name) => `\${${name}:+|${name}=$${name}}`).join('')}"
}
`;
}

/** The part of the functions that is written from exit-codes.yaml. */
export function functionsPart(codes = exitCodes): string {
  const own = codes.filter((exit) => exit.own);
  return `// \`make render\` writes this file, from ssm-documents/exit-codes.yaml.

/** Exit codes of the install script whose cause lies in the node alone, with nothing changed there, and their names. */
export const OWN_FAULTS: Readonly<Record<number, string>> = {
${own.map(({ code, fault }) => `  ${code}: '${fault}',`).join('\n')}
};
`;
}

/** The part of the look script that is written from functions/domain. */
export function lookPart(): string {
  const forms = {
    CERT_NAME: PATTERNS.CertName,
    VERIFY_NAME: PATTERNS.DnsName,
    VERIFY_PROTOCOL: formOf('VerifyProtocol', schemaOf(INSTALL_OPTIONS.VerifyProtocol)),
  };
  return `# \`make render\` writes this part, from functions/domain.
${Object.entries(forms)
  .map(([name, form]) => `declare -r ${name}='^${form}$'`)
  .join('\n')}
`;
}

function linesOf({ name, pattern, never, most, default: standard }: NodeParameter): string[] {
  return [
    `  take ${name} '${pattern}'${standard === undefined ? '' : ` '${standard}'`}`,
    ...(never ? [`  never ${name} '${never}'`] : []),
    ...(most === undefined ? [] : [`  most ${name} ${most}`]),
  ];
}
