import { signingName } from 'local-cloud';

/** One table of figures, as it goes into docs/performance.md. */
export interface Table {
  title: string;
  columns: string[];
  rows: string[][];
}

export function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const [low, high] =
    sorted.length % 2 ? [sorted[middle], sorted[middle]] : [sorted[middle - 1], sorted[middle]];
  return ((low ?? Number.NaN) + (high ?? Number.NaN)) / 2;
}

/** The table in Markdown. */
export function markdown({ title, columns, rows }: Table): string {
  const line = (cells: string[]) => `| ${cells.join(' | ')} |`;
  return [`${title}:`, '', line(columns), line(columns.map(() => '---')), ...rows.map(line), ''].join('\n');
}

/** `acm:ExportCertificate` for an operation as it is recorded. */
export function apiName(operation: string): string {
  const [service = '', name] = operation.split('.');
  return `${signingName(service)}:${name}`;
}
