import { NotModelled } from '../iam/not-modelled.ts';

type Pattern = Record<string, unknown>;
type Test = (value: unknown, operand: unknown) => boolean;

const text = (value: unknown) => (typeof value === 'string' ? value : undefined);

/** Comparison operators (EventBridge user guide, "Comparison operators for use in event patterns"). */
const operators: Record<string, Test> = {
  prefix: (value, operand) => text(value)?.startsWith(String(operand)) ?? false,
  suffix: (value, operand) => text(value)?.endsWith(String(operand)) ?? false,
  'equals-ignore-case': (value, operand) => text(value)?.toLowerCase() === String(operand).toLowerCase(),
  'anything-but': (value, operand) => ![operand].flat().includes(value),
  numeric: (value, operand) => numeric(value, operand as (string | number)[]),
};

function numeric(value: unknown, operand: (string | number)[]): boolean {
  if (typeof value !== 'number') return false;
  for (let index = 0; index < operand.length; index += 2) {
    const limit = Number(operand[index + 1]);
    const holds = {
      '<': value < limit,
      '<=': value <= limit,
      '=': value === limit,
      '>': value > limit,
      '>=': value >= limit,
    };
    if (!holds[operand[index] as '<']) return false;
  }
  return true;
}

/** Throws NotModelled for anything that matchesPattern would have to guess at. */
export function refuseUnknownPattern(pattern: Pattern): void {
  for (const [key, wanted] of Object.entries(pattern)) {
    if (key === '$or') throw new NotModelled('$or in an event pattern');
    if (!Array.isArray(wanted)) {
      if (typeof wanted !== 'object' || wanted === null)
        throw new NotModelled(`event pattern: ${key} must be a list or a map`);
      refuseUnknownPattern(wanted as Pattern);
      continue;
    }
    for (const item of wanted) {
      if (typeof item !== 'object' || item === null) continue;
      const [name = '', operand] = Object.entries(item)[0] ?? [];
      if (name !== 'exists' && !operators[name]) throw new NotModelled(`event pattern operator ${name}`);
      if (
        name !== 'numeric' &&
        typeof operand === 'object' &&
        !(name === 'anything-but' && Array.isArray(operand))
      ) {
        throw new NotModelled(`event pattern operator ${name} with ${JSON.stringify(operand)}`);
      }
    }
  }
}

/** Whether an event fits: every field of the pattern must, and of a field's list one entry. */
export function matchesPattern(pattern: Pattern, event: object): boolean {
  return Object.entries(pattern).every(([key, wanted]) => {
    const value = (event as Record<string, unknown>)[key];
    if (!Array.isArray(wanted)) {
      return typeof value === 'object' && value !== null && matchesPattern(wanted as Pattern, value);
    }
    // A field that is a list fits when one of its elements does.
    const values = Array.isArray(value) ? value : [value];
    return wanted.some((item) => values.some((one) => fits(one, item)));
  });
}

function fits(value: unknown, wanted: unknown): boolean {
  if (typeof wanted !== 'object' || wanted === null) return value === wanted;
  const [name = '', operand] = Object.entries(wanted)[0] ?? [];
  if (name === 'exists') return (value !== undefined) === operand;
  return value !== undefined && (operators[name]?.(value, operand) ?? false);
}
