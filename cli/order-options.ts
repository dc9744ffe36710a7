// The options of `register`, from the schema of the order: a new field of an order is an option at once.
import { type Command, InvalidArgumentError, Option } from 'commander';
import * as z from 'zod';
import { DeploymentBody } from '../functions/domain/order.ts';
import { Stop } from './exit.ts';

/** What a command says in another way. */
const NOT_AS_OPTIONS = ['CertName', 'TargetTagKey', 'TargetTagValue'];

interface FieldSchema {
  type?: string;
  description?: string;
  enum?: string[];
  default?: unknown;
  without?: string;
}

const { properties } = z.toJSONSchema(DeploymentBody, { io: 'input' }) as unknown as {
  properties: Record<string, FieldSchema>;
};
const FIELDS = Object.entries(properties).filter(([name]) => !NOT_AS_OPTIONS.includes(name));

/** Text for people: they say server where code and API say node. What stands in backticks is code. */
export const inServers = (text: string): string =>
  text
    .split(/(`[^`]*`)/)
    .map((part) =>
      part.startsWith('`') ? part : part.replace(/\bnode/g, 'server').replace(/\bNode/g, 'Server'),
    )
    .join('');

/** VerifyPort → verify-port */
const kebabOf = (name: string) => name.replace(/(?<!^)([A-Z])/g, '-$1').toLowerCase();

/** Adds an option for each field of an order. */
export function addOrderOptions(command: Command): void {
  for (const [name, schema] of FIELDS) {
    const { type, description = '', default: standard, without } = schema;
    const value = Array.isArray(standard) && standard.length === 0 ? 'none' : (standard ?? without);
    const said = inServers(description.replace(/, for example `\[.*?\]`/, ''));
    const otherwise = value === undefined || type === 'boolean' ? '' : ` Default: ${value}.`;
    const text = `${said}${otherwise}`.replaceAll('`', '');
    const option = new Option(`--${kebabOf(name)}${PLACE[type ?? ''] ?? ' <value>'}`, text);
    if (schema.enum) option.choices(schema.enum);
    else if (type === 'array') option.argParser((given: string) => given.split(',').filter(Boolean));
    else if (type === 'integer') option.argParser(wholeNumber);
    command.addOption(option);
  }
}

const PLACE: Record<string, string> = { boolean: '', array: ' <list>', integer: ' <number>' };

function wholeNumber(text: string): number {
  if (!/^[0-9]{1,9}$/.test(text)) throw new InvalidArgumentError('A whole number is needed.');
  return Number(text);
}

/** The fields that a person has named, as a request has them. @param reset names of fields that get their default. */
export function orderFrom(options: Record<string, unknown>, reset: string[]): Record<string, unknown> {
  const given = FIELDS.flatMap(([name]) => {
    const value = options[camelOf(name)];
    return value === undefined ? [] : [[name, value] as const];
  });
  const names = FIELDS.map(([name]) => name).filter((name) => name !== 'CertificateArn' && name !== 'DryRun');
  for (const name of reset) {
    if (!names.includes(name)) {
      throw new Stop('usage', `--reset takes names of fields: ${names.join(', ')}.`);
    }
  }
  return { ...Object.fromEntries(given), ...Object.fromEntries(reset.map((name) => [name, null])) };
}

/** As commander names the option: --verify-port is verifyPort. */
const camelOf = (name: string) => name.charAt(0).toLowerCase() + name.slice(1);

/** `acm-export=web` */
export function tagFrom(text: string): { TargetTagKey: string; TargetTagValue: string } {
  const at = text.indexOf('=');
  if (at < 1 || at === text.length - 1) {
    throw new Stop('usage', `--tag takes key=value, for example acm-export=web, and not "${text}".`);
  }
  return { TargetTagKey: text.slice(0, at), TargetTagValue: text.slice(at + 1) };
}
