import type * as z from 'zod';
import { logger } from './observability.ts';

/** The answer to an event that is not for this function. */
export interface Ignored {
  Ignored: string;
}

/** Most faults of an event that are named: a foreign one may be large, and wrong in every element. */
const MOST_FAULTS = 5;
const LONGEST_REASON = 500;

/** Reads an event, or says why it is not of this kind. */
export function readEvent<T>(
  schema: z.ZodType<T>,
  event: unknown,
  kind: string,
): { data: T; fault?: never } | { data?: never; fault: string } {
  const parsed = schema.safeParse(event);
  if (parsed.success) {
    return { data: parsed.data };
  }
  const issues = parsed.error.issues.slice(0, MOST_FAULTS);
  const faults = issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
  return { fault: `not ${kind}: ${faults.join('; ')}` };
}

export function ignore(reason: string, level: 'debug' | 'info' | 'warn' = 'info'): Ignored {
  const Reason = reason.slice(0, LONGEST_REASON);
  logger[level]('Ignored', { Reason });
  return { Ignored: Reason };
}
