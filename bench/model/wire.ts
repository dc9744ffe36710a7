// DynamoDB's JSON: each value carries its type.
type Plain = Record<string, unknown>;

/** Members of requests and answers that hold items, keys or values. */
const HOLDERS = [
  'Key',
  'Item',
  'Attributes',
  'ExpressionAttributeValues',
  'ExclusiveStartKey',
  'LastEvaluatedKey',
];

/** A request as the table takes it. */
export function fromWire(input: Plain): Plain {
  return mapHolders(input, (held) => mapValues(held, untyped));
}

/** An answer as DynamoDB gives it. */
export function toWire(output: Plain): Plain {
  const { Items, ...rest } = output;
  const answer = mapHolders(rest, (held) => mapValues(held, typed));
  return Items ? { ...answer, Items: (Items as Plain[]).map((item) => mapValues(item, typed)) } : answer;
}

const mapHolders = (of: Plain, change: (held: Plain) => Plain): Plain =>
  Object.fromEntries(
    Object.entries(of).map(([name, value]) => [
      name,
      HOLDERS.includes(name) ? change(value as Plain) : value,
    ]),
  );

const mapValues = (of: Plain, change: (value: never) => unknown): Plain =>
  Object.fromEntries(Object.entries(of).map(([name, value]) => [name, change(value as never)]));

function untyped(value: Record<string, never>): unknown {
  const [[type, held]] = Object.entries(value) as [[string, never]];
  switch (type) {
    case 'N':
      return Number(held);
    case 'L':
      return (held as Record<string, never>[]).map(untyped);
    case 'M':
      return mapValues(held, untyped);
    case 'S':
    case 'BOOL':
      return held;
    default:
      throw new Error(`Values of type ${type} are not modelled.`);
  }
}

function typed(value: unknown): unknown {
  if (Array.isArray(value)) {
    return { L: value.map(typed) };
  }
  switch (typeof value) {
    case 'string':
      return { S: value };
    case 'number':
      return { N: String(value) };
    case 'boolean':
      return { BOOL: value };
    default:
      return { M: mapValues(value as Plain, typed) };
  }
}
