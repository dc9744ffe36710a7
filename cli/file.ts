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

interface PlacedFault {
  /** Names and indexes on the way to the place, within the entry. */
  path: PropertyKey[];
  Field: string;
  Reason: string;
}

interface OpenFile {
  /** What the list Deployments holds, as it is. */
  list: unknown[];
  /** `file:line:column` of an entry. */
  placeOf(index: number): string;
  /** Notes a fault of the whole entry, or of a place in it. */
  note(fault: string): void;
  noteIn(index: number, faults: PlacedFault[]): void;
  /** @throws Stop with every fault that was noted, if there is one. */
  end(): void;
}

/** Reads the list of a file. @throws Stop where it is no YAML or has no list. */
function open(text: string, file: string): OpenFile {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const faults: string[] = [];
  const placeAt = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return `${file}:${line}:${col}`;
  };
  const at = (path: PropertyKey[]) => placeAt(offsetOf(document.contents, path));
  const end = () => {
    if (faults.length === 0) return;
    const more = faults.length - MOST_FAULTS;
    throw new Stop(
      'usage',
      `${file} is not valid. Nothing was changed.`,
      ...faults.slice(0, MOST_FAULTS),
      ...(more > 0 ? [`And ${more} more.`] : []),
    );
  };
  for (const { message, pos } of document.errors) faults.push(`${placeAt(pos[0])}: ${message}`);
  end();
  const value = parsedBy(() => document.toJS({ maxAliasCount: 1000 }), faults, file) as {
    Deployments?: unknown;
  } | null;
  end();
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
  return {
    list,
    placeOf: (index) => at(['Deployments', index]),
    note: (fault) => faults.push(fault),
    noteIn(index, found) {
      for (const { path: within, Field, Reason } of found) {
        const given = within.reduce(
          (held: unknown, key) => (held as Record<PropertyKey, unknown>)?.[key],
          list[index],
        );
        const isUnquoted = Reason === 'not a text' && ['number', 'boolean'].includes(typeof given);
        const hint = isUnquoted
          ? ': write it in quotes'
          : given === null
            ? ': leave it out for the default'
            : '';
        const place = at(['Deployments', index, ...within]);
        faults.push(`${place}: ${Field === '' ? 'an entry' : Field}: ${Reason}${hint}`);
      }
    },
    end,
  };
}

const fieldsOf = (entry: unknown) =>
  (typeof entry === 'object' && entry !== null ? entry : {}) as Record<string, unknown>;

/**
 * The deployments of a file. What an entry leaves out has its default; account and Region of the servers are by default
 * those of the certificate, which are those of the stack.
 *
 * @throws Stop with every fault, each with file, line and column.
 */
export function readDeployments(text: string, file: string): Entry[] {
  const { list, placeOf, note, noteIn, end } = open(text, file);
  const entries = list.flatMap((entry, index): Entry[] => {
    const own: PlacedFault[] = [];
    const fields = fieldsOf(entry);
    const checked = check(DeploymentBody, entry);
    if ('faults' in checked) own.push(...checked.faults);
    const name = check(certName, fields.CertName);
    const isWrongAlready = own.some(({ Field }) => Field === 'CertName' || Field === '');
    if ('faults' in name && !isWrongAlready) {
      own.push(...name.faults.map(({ Reason }) => ({ path: ['CertName'], Field: 'CertName', Reason })));
    }
    if (Object.hasOwn(fields, 'DryRun'))
      own.push({ path: ['DryRun'], Field: 'DryRun', Reason: NOT_IN_FILES });
    noteIn(index, own);
    if ('faults' in checked || 'faults' in name || own.length > 0) return [];
    const { DryRun: _, ...order } = checked.data;
    const [, , , region = '', account = ''] = order.CertificateArn.split(':');
    const whole = {
      ...order,
      CertName: name.data,
      TargetAccount: order.TargetAccount ?? account,
      TargetRegion: order.TargetRegion ?? region,
    } as FlatOrder;
    return [{ deploymentId: deploymentIdOf(whole, name.data), order: whole, place: placeOf(index) }];
  });
  const first = new Map<string, Entry>();
  for (const entry of entries) {
    const same = first.get(entry.deploymentId);
    if (!same) first.set(entry.deploymentId, entry);
    else {
      const { CertName, TargetTagKey, TargetTagValue } = entry.order;
      const line = same.place.split(':').at(-2);
      note(`${entry.place}: ${CertName}/${TargetTagKey}=${TargetTagValue} is there twice: see line ${line}`);
    }
  }
  end();
  return entries;
}

/** In place of the ARN that a requested certificate does not have yet: it has the form of one. */
const NO_ARN_YET = 'arn:aws:acm:eu-west-1:000000000000:certificate/00000000-0000-0000-0000-000000000000';

/**
 * The deployments that come with a certificate request, as the file has them: the API sets the defaults. The request gives
 * them name and certificate.
 *
 * @throws Stop with every fault, each with file, line and column.
 */
export function readRequested(text: string, file: string, name: string): Record<string, unknown>[] {
  const { list, noteIn, end } = open(text, file);
  const entries = list.map((entry, index) => {
    const { CertName, CertificateArn, DryRun, ...fields } = fieldsOf(entry);
    const isEntry = typeof entry === 'object' && entry !== null && !Array.isArray(entry);
    const checked = check(DeploymentBody, isEntry ? { ...fields, CertificateArn: NO_ARN_YET } : entry);
    const own: PlacedFault[] = 'faults' in checked ? checked.faults : [];
    const refuse = (Field: string, Reason: string) => own.push({ path: [Field], Field, Reason });
    if (CertName !== undefined && CertName !== name) {
      refuse('CertName', `not ${name}, which is requested: leave it out`);
    }
    if (CertificateArn !== undefined) {
      refuse('CertificateArn', 'the certificate is only requested, and has no ARN yet: leave it out');
    }
    if (DryRun !== undefined) refuse('DryRun', 'the whole request has it: use --dry-run');
    noteIn(index, own);
    return fields;
  });
  end();
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
