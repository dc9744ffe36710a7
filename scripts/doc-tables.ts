// Tables of the documentation that are written from lists of the code.
import type * as z from 'zod';
import { inServers } from '../cli/order-options.ts';
import { DeploymentBody } from '../functions/domain/order.ts';
import { type ExitCode, type OptionSchema, schemaOf } from './parameters.ts';

const row = (...cells: (string | number)[]) => `| ${cells.join(' | ')} |`;

/** What a request may say: fields, defaults, meanings. */
export function fieldTable(body: z.ZodType = DeploymentBody): string {
  const { properties, required } = schemaOf(body) as {
    properties: Record<string, OptionSchema>;
    required: string[];
  };
  const rows = Object.entries(properties).map(([name, schema]) =>
    row(
      `\`${name}\``,
      required.includes(name) ? '–' : standardOf(schema),
      inServers(`${schema.description}${valuesOf(schema)}`),
    ),
  );
  return [row('Field', 'Default', 'What it means'), row('---', '---', '---'), ...rows].join('\n');
}

function standardOf({ default: standard, without = 'none' }: OptionSchema): string {
  if (standard === undefined) {
    return without;
  }
  return `\`${typeof standard === 'string' ? standard : JSON.stringify(standard)}\``;
}

function valuesOf({ enum: values = [], description = '' }: OptionSchema): string {
  const isSaid = values.every((value) => description.includes(value));
  return isSaid ? '' : ` One of ${values.map((value) => `\`${value}\``).join(', ')}.`;
}

const HEADINGS = { own: 'Whose', means: 'Means', todo: 'Look at, and do' };

function cellOf(exit: ExitCode, column: keyof typeof HEADINGS): string {
  return column === 'own' ? (exit.own ? "the node's own" : '–') : exit[column];
}

export function exitCodeTable(
  codes: ExitCode[],
  columns: (keyof typeof HEADINGS)[],
  word: 'node' | 'server',
): string {
  return [
    row('Code', 'Fault', ...columns.map((column) => HEADINGS[column])),
    row('---', '---', ...columns.map(() => '---')),
    ...codes.map((exit) =>
      row(
        exit.code,
        `\`${exit.fault}\``,
        ...columns.map((column) => (word === 'server' ? inServers : String)(cellOf(exit, column))),
      ),
    ),
  ].join('\n');
}
