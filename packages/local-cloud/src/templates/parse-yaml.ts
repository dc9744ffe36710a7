import { type Document, isAlias, isMap, isScalar, isSeq, type Node, parseDocument, type Scalar } from 'yaml';
import { TemplateError } from './template-error.ts';

const OPTIONS = { version: '1.2', prettyErrors: true, logLevel: 'silent' } as const;

/** What was parsed, because tests deploy one template many times. Values are made anew for each caller. */
const documents = new Map<string, Document>();
const DOCUMENTS = 20;

/**
 * Parses YAML (JSON is YAML) with CloudFormation's short tags: `!Sub x` becomes `{"Fn::Sub": x}`, whatever the
 * tag; the resolver refuses the functions it does not know. CloudFormation and SAM read YAML 1.1, so a plain
 * scalar that 1.1 and 1.2 read differently (`yes`, `0640`, `12:30`) is refused: quotes say what is meant.
 * Throws TemplateError with the line.
 */
export function parseTemplate(text: string, file: string): unknown {
  const document = documents.get(text) ?? parseDocument(text, OPTIONS);
  if (documents.size >= DOCUMENTS) documents.clear();
  documents.set(text, document);
  const [error] = document.errors;
  if (error) throw new TemplateError(`${file}: ${error.message}`);
  return convert(document.contents, (node, what) => {
    const line = text.slice(0, node.range?.[0] ?? 0).split('\n').length;
    throw new TemplateError(`${file}:${line}: ${what}`);
  });
}

type Refuse = (node: Node, what: string) => never;

function convert(node: unknown, refuse: Refuse): unknown {
  if (node === null || node === undefined) return null;
  const value = untagged(node as Node, refuse);
  const tag = (node as Node).tag;
  if (!tag?.startsWith('!') || tag === '!') return value;
  const name = tag.slice(1);
  if (name === 'Ref' || name === 'Condition') return { [name]: value };
  if (name === 'GetAtt' && typeof value === 'string') {
    const [resource, ...attribute] = value.split('.');
    return { 'Fn::GetAtt': [resource, attribute.join('.')] };
  }
  return { [`Fn::${name}`]: value };
}

function untagged(node: Node, refuse: Refuse): unknown {
  if (isAlias(node)) return refuse(node, 'CloudFormation does not support YAML aliases');
  if (isSeq(node)) return node.items.map((item) => convert(item, refuse));
  if (isMap(node)) {
    return Object.fromEntries(
      node.items.map(({ key, value }) => {
        if (!isScalar(key)) return refuse(node, 'a key must be a plain value');
        if (key.value === '<<') refuse(key, 'CloudFormation does not support merge keys');
        return [String(key.value), convert(value, refuse)];
      }),
    );
  }
  if (!isScalar(node)) return refuse(node, 'unknown YAML node');
  if (isAmbiguous(node)) refuse(node, `${node.source} is something else in YAML 1.1: put it in quotes`);
  return node.value;
}

function isAmbiguous({ type, source = '', tag }: Scalar): boolean {
  if (type !== 'PLAIN' || tag) return false;
  return (
    /^(yes|no|on|off)$/i.test(source) ||
    /^[-+]?0[0-9_]+$/.test(source) ||
    /^[0-9]+(:[0-5]?[0-9])+$/.test(source)
  );
}
