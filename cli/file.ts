import { isMap, isPair, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
import { deploymentIdOf } from '../functions/domain/deployment.ts';
import { certName, DeploymentBody, type FlatOrder } from '../functions/domain/order.ts';
import { check } from '../functions/domain/schema-faults.ts';
import { Stop } from './exit.ts';

/** One deployment of a file: the whole order, defaults included. */
export interface Entry {
  deploymentId: string;
  order: FlatOrder;
  /** `file:line:column` */
  place: string;
}

/** A file describes what is there: a dry run is no such thing. */
const NOT_IN_FILES = 'a file describes what is to be there: use acm-export register --dry-run';
const MOST_FAULTS = 50;

/**
 * The deployments of a file. What an entry leaves out has its default; account and Region of the servers are by default
 * those of the certificate, which are those of the stack.
 *
 * @throws Stop with every fault, each with file, line and column.
 */
export function readDeployments(text: string, file: string): Entry[] {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const faults: string[] = [];
  const placeOf = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return `${file}:${line}:${col}`;
  };
  const at = (path: PropertyKey[]) => placeOf(offsetOf(document.contents, path));
  const end = (): never => {
    const more = faults.length - MOST_FAULTS;
    throw new Stop(
      'usage',
      `${file} is not valid. Nothing was changed.`,
      ...faults.slice(0, MOST_FAULTS),
      ...(more > 0 ? [`And ${more} more.`] : []),
    );
  };
  for (const { message, pos } of document.errors) faults.push(`${placeOf(pos[0])}: ${message}`);
  if (faults.length > 0) end();
  const value = parsedBy(() => document.toJS({ maxAliasCount: 1000 }), faults, file) as {
    Deployments?: unknown;
  } | null;
  if (faults.length > 0) end();
  if (!isMap(document.contents) || !Array.isArray(value?.Deployments)) {
    faults.push(
      `${at(isMap(document.contents) ? ['Deployments'] : [])}: the file needs a list named Deployments`,
    );
    end();
  }
  for (const name of Object.keys(value as object)) {
    if (name !== 'Deployments') faults.push(`${at([name])}: ${name}: unknown field`);
  }
  const list = (value?.Deployments ?? []) as unknown[];
  const entries = list.flatMap((entry, index): Entry[] => {
    const path = ['Deployments', index];
    const own: { path: PropertyKey[]; Field: string; Reason: string }[] = [];
    const fields = (typeof entry === 'object' && entry !== null ? entry : {}) as Record<string, unknown>;
    const checked = check(DeploymentBody, entry);
    if ('faults' in checked) own.push(...checked.faults);
    const name = check(certName, fields.CertName);
    const isWrongAlready = own.some(({ Field }) => Field === 'CertName' || Field === '');
    if ('faults' in name && !isWrongAlready) {
      own.push(...name.faults.map(({ Reason }) => ({ path: ['CertName'], Field: 'CertName', Reason })));
    }
    if (Object.hasOwn(fields, 'DryRun'))
      own.push({ path: ['DryRun'], Field: 'DryRun', Reason: NOT_IN_FILES });
    for (const { path: within, Field, Reason } of own) {
      const given = within.reduce(
        (held: unknown, key) => (held as Record<PropertyKey, unknown>)?.[key],
        entry,
      );
      const isUnquoted = Reason === 'not a text' && ['number', 'boolean'].includes(typeof given);
      const hint = isUnquoted
        ? ': write it in quotes'
        : given === null
          ? ': leave it out for the default'
          : '';
      faults.push(`${at([...path, ...within])}: ${Field === '' ? 'an entry' : Field}: ${Reason}${hint}`);
    }
    if ('faults' in checked || 'faults' in name || own.length > 0) return [];
    const { DryRun: _, ...order } = checked.data;
    const [, , , region = '', account = ''] = order.CertificateArn.split(':');
    const whole = {
      ...order,
      CertName: name.data,
      TargetAccount: order.TargetAccount ?? account,
      TargetRegion: order.TargetRegion ?? region,
    } as FlatOrder;
    return [{ deploymentId: deploymentIdOf(whole, name.data), order: whole, place: at(path) }];
  });
  const first = new Map<string, Entry>();
  for (const entry of entries) {
    const same = first.get(entry.deploymentId);
    if (!same) first.set(entry.deploymentId, entry);
    else {
      const { CertName, TargetTagKey, TargetTagValue } = entry.order;
      const line = same.place.split(':').at(-2);
      faults.push(
        `${entry.place}: ${CertName}/${TargetTagKey}=${TargetTagValue} is there twice: see line ${line}`,
      );
    }
  }
  if (faults.length > 0) end();
  return entries;
}

/** Too many aliases are an error of their own. */
function parsedBy(parse: () => unknown, faults: string[], file: string): unknown {
  try {
    return parse();
  } catch (error) {
    faults.push(`${file}: ${(error as Error).message}`);
    return undefined;
  }
}

/** Where a value stands; of an unknown field its name, of one that is missing what it is missing in. */
function offsetOf(contents: Node | null, path: PropertyKey[]): number {
  let node = contents;
  let offset = node?.range?.[0] ?? 0;
  for (const step of path) {
    let next: Node | null = null;
    if (isMap(node)) {
      const pair = node.items.find((item) => isPair(item) && isScalar(item.key) && item.key.value === step);
      if (!pair) return offset;
      const keyAt = (pair.key as Node).range?.[0] ?? offset;
      next = pair.value as Node | null;
      offset = keyAt;
    } else if (isSeq(node)) {
      next = (node.items[Number(step)] as Node | undefined) ?? null;
      if (!next) return offset;
      offset = next.range?.[0] ?? offset;
    }
    node = next;
  }
  return offset;
}
