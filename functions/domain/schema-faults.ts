import type * as z from 'zod';
import type { Fault } from './errors.ts';

/** What is wrong with a value, in words for people. `Field` is empty where the value as a whole is wrong. */
export interface SchemaFault extends Fault {
  /** Names and indexes on the way to the place. */
  path: PropertyKey[];
}

/** Holds a value against a schema: what it gives, or every fault. */
export function check<T extends z.ZodType>(
  schema: T,
  value: unknown,
): { data: z.infer<T> } | { faults: SchemaFault[] } {
  const parsed = schema.safeParse(value, { error: reasonOf });
  if (parsed.success) {
    return { data: parsed.data };
  }
  const faults: SchemaFault[] = [];
  // zod looks at the length of a text that should have been a list, too.
  const wrong = new Set<string>();
  for (const issue of parsed.error.issues) {
    const at = issue.path.join('.');
    if (issue.code === 'unrecognized_keys') {
      for (const key of issue.keys) {
        const path = [...issue.path, key];
        faults.push({ path, Field: path.join('.'), Reason: 'unknown field' });
      }
    } else if (!wrong.has(at)) {
      faults.push({ path: issue.path, Field: at, Reason: issue.message });
      if (issue.code === 'invalid_type') {
        wrong.add(at);
      }
    }
  }
  return { faults };
}

const TYPES: Record<string, string> = {
  string: 'not a text',
  number: 'not a number',
  int: 'not a whole number',
  boolean: 'not true or false',
  array: 'not a list',
  object: 'not a JSON object',
};

const UNITS: Record<string, string> = { string: ' character', array: ' value' };

function amountOf(count: unknown, origin: string): string {
  const unit = UNITS[origin];
  return unit === undefined ? String(count) : `${count}${unit}${count === 1 ? '' : 's'}`;
}

/** What is wrong, where the schema itself has no words for it: those of zod speak of its own types. */
function reasonOf(issue: z.core.$ZodRawIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined ? 'missing' : (TYPES[issue.expected as string] ?? 'not valid');
    case 'invalid_value':
      return `not one of: ${(issue.values as unknown[]).join(', ')}`;
    case 'too_big':
      return `at most ${amountOf(issue.maximum, issue.origin as string)}`;
    case 'too_small':
      return `at least ${amountOf(issue.minimum, issue.origin as string)}`;
    default:
      return 'not valid';
  }
}
