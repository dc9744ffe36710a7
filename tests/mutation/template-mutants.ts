import { isMap, isScalar, isSeq, type Node, type Pair, parseDocument, type Scalar, type YAMLMap } from 'yaml';
import type { Edit, Mutant } from './mutant.ts';

type Block = YAMLMap<Scalar<string>, Node>;
type Made = Omit<Mutant, 'file'>;

/** Every limit of a template, widened to what is nearest. What `make render` writes is made elsewhere, and left out. */
export function templateMutants(file: string, text: string): Mutant[] {
  const document = parseDocument(text, { version: '1.2', logLevel: 'silent' });
  const template = new Template(text);
  const made = template.mutants(document.contents as Block);
  return made.map((mutant) => ({ file, ...mutant }));
}

const STRANGER = '999988887777';
/** What protects data by being true. */
const PROTECTIONS = new Set([
  'SSEEnabled',
  'PointInTimeRecoveryEnabled',
  'DeletionProtectionEnabled',
  'SqsManagedSseEnabled',
]);

class Template {
  readonly #text: string;
  readonly #rendered: [start: number, end: number][];

  constructor(text: string) {
    this.#text = text;
    const marks = [...text.matchAll(/# rendered from \S+: (begin|end)/g)];
    this.#rendered = marks.flatMap(({ 1: which, index }, at) =>
      which === 'begin' ? [[index, marks[at + 1]?.index ?? text.length] as [number, number]] : [],
    );
  }

  mutants(template: Block): Made[] {
    const made: Made[] = [];
    for (const { key, value } of this.#pairs(template.get('Parameters')))
      made.push(...this.#ofParameter(key.value, value));
    for (const { key, value } of this.#pairs(template.get('Conditions')))
      made.push(...this.#ofCondition(key.value, value));
    for (const { key, value } of this.#pairs(template.get('Resources')))
      made.push(...this.#ofResource(key.value, value));
    return unique(made.filter(({ edits }) => edits.every((edit) => !this.#isRendered(edit))));
  }

  #isRendered({ start }: Edit): boolean {
    return this.#rendered.some(([from, to]) => start >= from && start < to);
  }

  #pairs(node: unknown): { key: Scalar<string>; value: Node; pair: Pair }[] {
    if (!isMap(node)) return [];
    return node.items.map((pair) => ({ key: pair.key as Scalar<string>, value: pair.value as Node, pair }));
  }

  /* --- edits ----------------------------------------------------------------------------------------------- */

  /** Where a node begins, its tag included. */
  #startOf(node: Node): number {
    const start = node.range?.[0] ?? 0;
    const { tag } = node;
    if (!tag?.startsWith('!') || this.#text.startsWith(tag, start)) return start;
    const at = this.#text.lastIndexOf(tag, start);
    return this.#text.slice(at + tag.length, start).trim() === '' ? at : start;
  }

  #replace(node: Node, text: string): Edit {
    const end = node.range?.[1] ?? 0;
    // A block ends with its line.
    const isBlock = this.#text[end - 1] === '\n';
    return { start: this.#startOf(node), end: isBlock ? end - 1 : end, text };
  }

  /** From the line of a key, or of the dash of an item, to the end of its value. */
  #remove(from: number, value: Node): Edit {
    const start = this.#text.lastIndexOf('\n', from) + 1;
    const end = (value.range?.[1] ?? 0) - 1;
    const next = this.#text.indexOf('\n', end);
    return { start, end: next + 1, text: '' };
  }

  #insertAfter(node: Node, text: string): Edit {
    const end = this.#text.indexOf('\n', (node.range?.[1] ?? 0) - 1);
    return { start: end, end, text };
  }

  /* --- policies -------------------------------------------------------------------------------------------- */

  #ofResource(id: string, resource: Node): Made[] {
    const made: Made[] = [];
    this.#visit(resource, id, made);
    const { items } = resource as Block;
    for (const { key, value } of items as Pair<Scalar<string>, Scalar>[]) {
      if (/Policy$/.test(key.value) && value?.value === 'Retain') {
        made.push({ name: `${id}: ${key.value} Delete`, edits: [this.#replace(value, 'Delete')] });
      }
    }
    return made;
  }

  #visit(node: unknown, where: string, made: Made[]): void {
    if (isSeq(node)) {
      for (const [index, item] of node.items.entries()) {
        const sid = isMap(item) ? (item.get('Sid') ?? item.get('PolicyName')) : undefined;
        const at = sid ? `${where}/${sid}` : `${where}/${index}`;
        if (isMap(item) && item.has('Effect'))
          made.push(
            ...this.#ofStatement(
              at.replace(
                /\/(Policies|PolicyDocument|Statement|AssumeRolePolicyDocument|[a-z-]+(?=\/PolicyDocument))(?=\/)/g,
                '',
              ),
              item as Block,
            ),
          );
        else this.#visit(item, at, made);
      }
      return;
    }
    if (isScalar(node) && typeof node.value === 'string' && /^,?\{"Sid"/.test(node.value)) {
      made.push(...this.#ofTextualStatement(where.split('/')[0] ?? '', node as Scalar<string>));
      return;
    }
    for (const { key, value, pair } of this.#pairs(node)) {
      const name = key.value;
      const at = name === 'Properties' ? where : `${where}/${name}`;
      if (name === 'Pattern') made.push(...this.#ofPattern(where, value));
      else if (name === 'Variables') made.push(...this.#ofVariables(where.split('/')[0] ?? '', value));
      else if (name === 'Auth') made.push(...this.#ofAuth(where, value));
      else if (name === 'ManagedPolicyArns') made.push(...this.#ofManaged(where, value));
      else if (PROTECTIONS.has(name))
        made.push({ name: `${at}: false`, edits: [this.#replace(value, 'false')] });
      else if (name === 'DataTraceEnabled')
        made.push({ name: `${at}: true`, edits: [this.#replace(value, 'true')] });
      else if (name === 'Events') made.push(...this.#ofRoutes(where, value));
      if (!['Pattern', 'Variables', 'Auth'].includes(name))
        this.#visit((pair.value as Node) ?? undefined, at, made);
    }
  }

  #ofStatement(where: string, statement: Block): Made[] {
    const effect = (statement.get('Effect') as unknown as string) ?? '';
    const made: Made[] = [];
    const add = (what: string, ...edits: Edit[]) => made.push({ name: `${where}: ${what}`, edits });
    if (effect === 'Deny') {
      const dash = this.#text.lastIndexOf('-', statement.range?.[0] ?? 0);
      add('the Deny is gone', this.#remove(dash, statement));
    }
    for (const { key, value } of this.#pairs(statement)) {
      const name = key.value;
      const items = (isSeq(value) ? value.items : [value]) as Scalar<string>[];
      if (name === 'Action') {
        for (const item of items) {
          if (effect === 'Deny') {
            if (items.length > 1)
              add(`${item.value} is not denied`, this.#remove(item.range?.[0] ?? 0, item));
          } else add(`any ${verbOf(item.value)}`, this.#replace(item, `'${verbOf(item.value)}'`));
        }
      } else if ((name === 'Resource' && effect === 'Allow') || name === 'NotResource') {
        for (const item of items.flatMap(choices)) {
          for (const [how, changed] of widenings(item))
            add(`${name} ${sourceOf(item)} ${how}`, this.#replace(item, changed));
        }
      } else if (name === 'Principal') {
        for (const { key: kind, value: who } of this.#pairs(value)) {
          if (!isScalar(who)) continue;
          const own = `${who.tag?.startsWith('!') ? `${who.tag} ` : ''}'${who.value}'`;
          const other = kind.value === 'Service' ? 'ec2.amazonaws.com' : `arn:aws:iam::${STRANGER}:root`;
          add(`Principal ${kind.value} another one too`, this.#replace(who, `[${own}, '${other}']`));
          add(`Principal ${kind.value} everybody`, this.#replace(value, `{ AWS: '*' }`));
        }
      } else if (name === 'Condition') made.push(...this.#ofConditionBlock(where, key, value, effect));
    }
    return made;
  }

  #ofConditionBlock(
    where: string,
    at: Scalar<string>,
    block: Node,
    effect: string,
    isBranch = false,
  ): Made[] {
    const made: Made[] = [];
    const add = (what: string, ...edits: Edit[]) => made.push({ name: `${where}: ${what}`, edits });
    if (isMap(block) && block.has('Fn::If')) {
      // A condition that a parameter switches.
      const branches = (block.get('Fn::If') as { items: Node[] }).items.filter((item) => isMap(item));
      return branches.flatMap((branch) => this.#ofConditionBlock(where, at, branch, effect, true));
    }
    for (const { key: operator, value: keys } of this.#pairs(block)) {
      for (const { key, value } of this.#pairs(keys)) {
        const name = `Condition ${operator.value} ${key.value}`;
        const isOnlyKey = (keys as Block).items.length === 1;
        const isOnlyOperator = (block as Block).items.length === 1;
        if (effect === 'Allow') {
          if (!isOnlyKey) add(`${name} is gone`, this.#remove(key.range?.[0] ?? 0, value));
          else if (!isOnlyOperator) add(`${name} is gone`, this.#remove(operator.range?.[0] ?? 0, keys));
          else add(`${name} is gone`, isBranch ? this.#replace(block, '{}') : this.#emptied(at, block));
        }
        for (const [how, changed] of operatorsNear(operator.value)) {
          // Where that operator is there already, its block takes the key: keys are unique.
          const there = (block as Block).get(changed);
          const moved = isMap(there) && [
            this.#remove(operator.range?.[0] ?? 0, keys),
            this.#insertAfter(there, `\n${this.#indentOf(there)}${key.value}: ${this.#textOf(value)}`),
          ];
          add(`${name} ${how}`, ...(moved || [this.#replace(operator, changed)]));
        }
        const items = (isSeq(value) && !value.tag?.startsWith('!') ? value.items : [value]) as Node[];
        for (const item of items.flatMap(choices)) {
          for (const [how, changed] of widenings(item)) {
            if (how === 'anything') continue;
            const isArn = operator.value.includes('Arn');
            if (!isArn && !operator.value.includes('String')) continue;
            add(
              `${name} ${sourceOf(item)} ${how}`,
              ...(isArn
                ? [this.#replace(item, changed)]
                : this.#withWildcards(block as Block, operator, key, item, changed)),
            );
          }
        }
        if (operator.value === 'Null') {
          const isAbsent = (value as Scalar<string>).value === 'true';
          add(`${name} turned round`, this.#replace(value, isAbsent ? '"false"' : '"true"'));
        }
      }
    }
    return made;
  }

  /** The value with wildcards, under the operator that reads them; where that one is there already, among its keys. */
  #withWildcards(
    block: Block,
    operator: Scalar<string>,
    key: Scalar<string>,
    item: Node,
    changed: string,
  ): Edit[] {
    const like = operator.value.replace(/Equals$/, 'Like');
    const there = like === operator.value ? undefined : block.get(like);
    if (!isMap(there)) return [this.#replace(item, changed), this.#replace(operator, like)];
    const keys = block.get(operator.value) as unknown as Block;
    const isOnly = keys.items.length === 1;
    return [
      isOnly ? this.#remove(operator.range?.[0] ?? 0, keys) : this.#remove(key.range?.[0] ?? 0, item),
      this.#insertAfter(there, `\n${this.#indentOf(there)}${key.value}: ${changed}`),
    ];
  }

  #textOf(node: Node): string {
    return this.#text.slice(this.#startOf(node), node.range?.[1]);
  }

  /** A condition without keys, which holds always. */
  #emptied(at: Scalar<string>, block: Node): Edit {
    const start = this.#text.indexOf(':', at.range?.[1]) + 1;
    const end = this.#text.indexOf('\n', (block.range?.[1] ?? 0) - 1);
    return { start, end, text: ' {}' };
  }

  /** A statement as text: CloudFormation has no computed keys. */
  #ofTextualStatement(id: string, node: Scalar<string>): Made[] {
    const [start = 0, end = 0] = node.range ?? [];
    const source = this.#text.slice(start, end);
    const sid = /"Sid":"(\w+)"/.exec(source)?.[1];
    const changes: [string, RegExp, string][] = [
      ['any Get', /:GetSecretValue/, ':Get*'],
      ['Resource Region', /\$\{AWS::Region\}/, '*'],
      ['Resource account', /\$\{AWS::AccountId\}/, '*'],
      ['Resource prefix longer', /\$\{Prefix\}\/\*/, '${Prefix}*'],
      ['Resource any secret', /\$\{Prefix\}\/\*/, '*'],
      ['Resource any resource', /"arn:[^"]+"/, '"*"'],
      ['Condition is gone', /,"Condition":\{"StringEquals":\{[^"]*"[^"]*":"[^"]*"\}\}/, ''],
      ['Condition any value of the tag', /"StringEquals":\{("[^"]*"):"[^"]*"/, '"StringLike":{$1:"*"'],
      ['Condition value longer', /"StringEquals":\{("[^"]*"):"([^"]*)"/, '"StringLike":{$1:"$2*"'],
      ['Condition looks at the role alone', /secretsmanager:ResourceTag/, 'aws:PrincipalTag'],
      ...operatorsNear('StringEquals').map(([how, operator]): [string, RegExp, string] => [
        `Condition ${how}`,
        /StringEquals/,
        operator,
      ]),
    ];
    return changes.map(([what, pattern, text]) => {
      if (!pattern.test(source)) throw new Error(`${id}/${sid}: nothing fits ${pattern}`);
      return { name: `${id}/${sid}: ${what}`, edits: [{ start, end, text: source.replace(pattern, text) }] };
    });
  }

  #ofManaged(where: string, list: Node): Made[] {
    return (isSeq(list) ? (list.items as Scalar<string>[]) : []).map((item) => ({
      name: `${where}: another managed policy`,
      edits: [this.#replace(item, 'arn:aws:iam::aws:policy/AdministratorAccess')],
    }));
  }

  /* --- events, routes, variables ---------------------------------------------------------------------------- */

  #ofPattern(where: string, pattern: Node, path = ''): Made[] {
    return this.#pairs(pattern).flatMap(({ key, value }): Made[] => {
      const name = `${path}${path && '.'}${key.value}`;
      const removed = {
        name: `${where}: Pattern ${name} is gone`,
        edits: [this.#remove(key.range?.[0] ?? 0, value)],
      };
      const isOnly = (pattern as Block).items.length === 1;
      if (isMap(value)) return [removed, ...this.#ofPattern(where, value, name)];
      const items = isSeq(value) ? (value.items as Scalar<string>[]) : [];
      const last = items.at(-1);
      return [
        ...(isOnly ? [] : [removed]),
        ...(last
          ? [
              {
                name: `${where}: Pattern ${name} another value`,
                edits: [this.#insertAfter(last, `\n${this.#indentOf(last)}- other`)],
              },
            ]
          : []),
        ...(items.length > 1
          ? items.map((item) => ({
              name: `${where}: Pattern ${name} without ${sourceOf(item)}`,
              edits: [this.#remove(item.range?.[0] ?? 0, item)],
            }))
          : []),
      ];
    });
  }

  #indentOf(node: Node): string {
    const line = this.#text.lastIndexOf('\n', node.range?.[0]) + 1;
    return /^ */.exec(this.#text.slice(line))?.[0] ?? '';
  }

  #ofRoutes(where: string, events: Node): Made[] {
    return this.#pairs(events).flatMap(({ key, value }): Made[] => {
      if (!isMap(value) || value.get('Type') !== 'Api') return [];
      const path = (value.get('Properties') as unknown as Block).get(
        'Path',
        true,
      ) as unknown as Scalar<string>;
      const auth = `\n${this.#indentOf(path)}Auth:\n${this.#indentOf(path)}  Authorizer: NONE`;
      return [{ name: `${where}/${key.value}: open to everybody`, edits: [this.#insertAfter(path, auth)] }];
    });
  }

  #ofAuth(where: string, auth: Node): Made[] {
    return this.#pairs(auth).map(({ key, value }) => ({
      name: `${where}/Auth: ${key.value} is another one`,
      edits: [this.#replace(value, key.value === 'InvokeRole' ? 'CALLER_CREDENTIALS' : 'NONE')],
    }));
  }

  #ofVariables(id: string, variables: Node): Made[] {
    return this.#pairs(variables)
      .filter(({ key }) => !/^(LOG_LEVEL|NODE_OPTIONS|AWS_XRAY|POWERTOOLS)/.test(key.value))
      .map(({ key, value }) => ({
        name: `${id}: ${key.value} another value`,
        edits: [this.#replace(value, "'*'")],
      }));
  }

  /* --- parameters and conditions ---------------------------------------------------------------------------- */

  #ofParameter(name: string, parameter: Node): Made[] {
    const made: Made[] = [];
    const add = (what: string, edit: Edit) => made.push({ name: `${name}: ${what}`, edits: [edit] });
    for (const { key, value } of this.#pairs(parameter)) {
      const scalar = value as Scalar<string>;
      if (key.value === 'AllowedPattern') {
        const text = String(scalar.value);
        const quoted = (pattern: string) => `'${pattern.replaceAll("'", "''")}'`;
        add('AllowedPattern is gone', this.#remove(key.range?.[0] ?? 0, value));
        for (const [how, changed] of patternsNear(text))
          add(`AllowedPattern ${how}`, this.#replace(value, quoted(changed)));
      } else if (key.value === 'AllowedValues' && isSeq(value)) {
        const last = value.items.at(-1) as Scalar;
        const text = `, 31337`;
        const isFlow = this.#text[value.range?.[0] ?? 0] === '[';
        const end = last.range?.[1] ?? 0;
        add(
          'AllowedValues another one',
          isFlow ? { start: end, end, text } : this.#insertAfter(last, `\n${this.#indentOf(last)}- other`),
        );
      } else if (key.value === 'MinValue' || key.value === 'MaxValue') {
        const by = key.value === 'MinValue' ? -1 : 1;
        add(`${key.value} by one`, this.#replace(value, String(Number(scalar.value) + by)));
      } else if (key.value === 'Default') {
        const { value: given } = scalar as Scalar<unknown>;
        const flipped = { true: "'false'", false: "'true'" }[String(given)];
        if (flipped) add('Default turned round', this.#replace(value, flipped));
        if (given === '') add('Default is not empty', this.#replace(value, "'*'"));
      }
    }
    return made;
  }

  #ofCondition(name: string, condition: Node): Made[] {
    const [start = 0, end = 0] = condition.range ?? [];
    const from = this.#startOf(condition);
    const source = this.#text.slice(from, end || start);
    const turned = source.startsWith('!Not') ? source.replace(/^!Not \[(.*)\]$/, '$1') : `!Not [${source}]`;
    return [{ name: `${name}: turned round`, edits: [{ start: from, end, text: turned }] }];
  }
}

/** The scalars that a value may be, through Fn::If. */
function choices(node: Node): Scalar<string>[] {
  if (isScalar(node)) return [node as Scalar<string>];
  if (isSeq(node) && node.tag === '!If') return (node.items.slice(1) as Node[]).flatMap(choices);
  return [];
}

/** A value as the template writes it, without quotes; of an ARN service and name. */
const sourceOf = (node: Scalar) =>
  String(node.value).replace(
    /^arn:[^}]*\}:(\w+):(\$\{(AWS::|Central)Region\})?:(\$\{\w+(::\w+)?\}|\*):/,
    '$1 ',
  );

/** `dynamodb:Get*` of `dynamodb:GetItem`. */
const verbOf = (action: string) => action.replace(/:([A-Z][a-z]+).*$/, ':$1*');

/** A name or ARN that stands for more than it does now, each way once. */
function widenings(node: Scalar<string>): [how: string, text: string][] {
  const { tag } = node;
  const value = String(node.value);
  if (value === '*' || value === 'AWS::NoValue') return [];
  const sub = tag === '!GetAtt' || tag === '!Ref' ? `\${${value}}` : value;
  const made = new Map<string, string>();
  const add = (how: string, text: string) => {
    if (text !== sub && ![...made.values()].includes(text)) made.set(how, text);
  };
  add('any Region', sub.replaceAll(/\$\{(AWS::|Central)Region\}/g, '*'));
  add('any account', sub.replaceAll(/\$\{(AWS::AccountId|CentralAccountId)\}/g, '*'));
  add('longer prefix', sub.replace('${Prefix}', '${Prefix}*'));
  if (!sub.endsWith('*')) add('longer', `${sub}*`);
  else add('shorter', sub.replace(/[-/:]\*$/, '*'));
  // A name of another resource has no parts here.
  if (tag !== '!GetAtt' && tag !== '!Ref')
    add('any last part', sub.replace(/([/:])[^/:]*(\/\*|:\*)?$/, '$1*'));
  // The words of the last part, from the end.
  for (let text = sub.replace(/\*$/, ''); /-[^/:-]*$/.test(text); ) {
    text = text.replace(/-[^/:-]*$/, '').replace(/\$\{[^}]*$/, '');
    if (!/[/:]/.test(text)) break;
    add(`after ${text.split(/[/:]/).at(-1)}-`, `${text}-*`);
  }
  if (sub.startsWith('arn:') || tag === '!GetAtt' || tag === '!Ref') add('anything', '*');
  return [...made].map(([how, text]) => [how, text.includes('${') ? `!Sub '${text}'` : `'${text}'`]);
}

/** Operators that let more through, or look away. */
function operatorsNear(operator: string): [how: string, operator: string][] {
  if (operator === 'Null') return [];
  const near: [string, string][] = [];
  if (!operator.endsWith('IfExists')) near.push(['holds where the key lacks', `${operator}IfExists`]);
  if (!/^For(All|Any)Value/.test(operator)) near.push(['of no value at all', `ForAllValues:${operator}`]);
  if (/String(Not)?Equals$/.test(operator)) near.push(['whatever the letters', `${operator}IgnoreCase`]);
  return near;
}

/** Patterns that let more through. */
function patternsNear(pattern: string): [how: string, pattern: string][] {
  const near: [string, string][] = [];
  if (pattern.startsWith('^')) near.push(['without its beginning', pattern.slice(1)]);
  if (pattern.endsWith('$')) near.push(['without its end', pattern.slice(0, -1)]);
  for (const [index, { 0: found, index: at }] of [...pattern.matchAll(/\[(?!\^)[^\]]*\]/g)].entries()) {
    if (found.includes('*')) continue;
    near.push([
      `class ${index + 1} with a star`,
      `${pattern.slice(0, at)}[*${found.slice(1)}${pattern.slice(at + found.length)}`,
    ]);
  }
  for (const [index, { 0: found, 1: least, 2: most, index: at }] of [
    ...pattern.matchAll(/\{(\d+)(?:,(\d+))?\}/g),
  ].entries()) {
    const replaced = most ? `{${least},${Number(most) + 1}}` : `{${least},${Number(least) + 1}}`;
    near.push([
      `repeat ${index + 1} once more`,
      pattern.slice(0, at) + replaced + pattern.slice(at + found.length),
    ]);
  }
  for (const [index, { 0: found, index: at }] of [...pattern.matchAll(/\(\?![^)]*\)/g)].entries()) {
    near.push([`look ahead ${index + 1} is gone`, pattern.slice(0, at) + pattern.slice(at + found.length)]);
  }
  return near;
}

function unique(mutants: Made[]): Made[] {
  const names = new Map<string, number>();
  return mutants.map(({ name, edits }) => {
    const count = (names.get(name) ?? 0) + 1;
    names.set(name, count);
    return { name: count === 1 ? name : `${name} (${count})`, edits };
  });
}
