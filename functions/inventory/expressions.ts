import type { UpdateCommandInput } from '@aws-sdk/lib-dynamodb';

/** A conditional change of an item. `A.B` is a path into a map. */
export interface Change {
  set: Record<string, unknown>;
  /** Set only where the attribute does not exist yet. */
  setIfAbsent?: Record<string, unknown>;
  remove?: string[];
  condition: string;
  values?: Record<string, unknown>;
}

/**
 * A condition that attributes are as they were read.
 *
 * @param item undefined where there was none: then none of them may be there.
 * @param paths `A.B` is a path into a map. None of them is a reserved word.
 */
export function asRead(
  item: object | undefined,
  paths: readonly string[],
): { condition: string; values: Record<string, unknown> } {
  const values: Record<string, unknown> = {};
  const conditions = paths.map((path) => {
    const value = path
      .split('.')
      .reduce<unknown>((found, name) => (found as Record<string, unknown> | undefined)?.[name], item);
    if (value === undefined) {
      return `attribute_not_exists(${path})`;
    }
    const placeholder = `:seen_${path.replaceAll('.', '_')}`;
    values[placeholder] = value;
    return `${path} = ${placeholder}`;
  });
  return { condition: conditions.join(' AND '), values };
}

/** Writes an UpdateExpression with every attribute name as a placeholder; `A.B` is a path into a map. */
export function expressionsFor(
  change: Change,
): Pick<
  UpdateCommandInput,
  'UpdateExpression' | 'ConditionExpression' | 'ExpressionAttributeNames' | 'ExpressionAttributeValues'
> {
  const names: Record<string, string> = {};
  const values: Record<string, unknown> = { ...change.values };
  const place = (path: string) =>
    path
      .split('.')
      .map((name) => {
        names[`#${name}`] = name;
        return `#${name}`;
      })
      .join('.');
  const placeholderFor = (path: string, value: unknown) => {
    const placeholder = `:${path.replaceAll('.', '_')}`;
    values[placeholder] = value;
    return placeholder;
  };
  const sets = [
    ...Object.entries(change.set)
      .filter(([, value]) => value !== undefined)
      .map(([path, value]) => `${place(path)} = ${placeholderFor(path, value)}`),
    ...Object.entries(change.setIfAbsent ?? {}).map(
      ([path, value]) => `${place(path)} = if_not_exists(${place(path)}, ${placeholderFor(path, value)})`,
    ),
  ];
  if (change.condition.includes('#Status')) {
    names['#Status'] = 'Status';
  }
  const removes = (change.remove ?? []).map(place);
  return {
    UpdateExpression: `SET ${sets.join(', ')}${removes.length > 0 ? ` REMOVE ${removes.join(', ')}` : ''}`,
    ConditionExpression: change.condition,
    ExpressionAttributeNames: names,
    ExpressionAttributeValues: values,
  };
}
