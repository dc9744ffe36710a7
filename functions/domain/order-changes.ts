import { isDeepStrictEqual } from 'node:util';
import { DeploymentBody, type FlatOrder } from './order.ts';

// What a description of a deployment, in a file or in a template, changes of what is registered.

/** A field that is to change. Undefined is its default, where it has no value of its own. */
export interface FieldChange {
  Field: string;
  From: unknown;
  To: unknown;
}

const IDENTITY = ['CertName', 'TargetTagKey', 'TargetTagValue', 'TargetAccount', 'TargetRegion'] as const;
/** The fields of an order that may change, in the order in which they are explained. */
export const FIELDS = Object.keys(DeploymentBody.shape).filter(
  (name) => name !== 'DryRun' && !(IDENTITY as readonly string[]).includes(name),
) as (keyof FlatOrder)[];

/** The values that hold where a description says nothing. */
export const DEFAULTS: Partial<FlatOrder> = Object.fromEntries(
  FIELDS.flatMap((name) => {
    const parsed = DeploymentBody.shape[name as keyof typeof DeploymentBody.shape].safeParse(undefined);
    return parsed.success && parsed.data !== undefined ? [[name, parsed.data]] : [];
  }),
);

/** @param from as the API answers: that of an older stack lacks the fields that came later. */
export function changesOf(from: Partial<FlatOrder>, to: Partial<FlatOrder>): FieldChange[] {
  return FIELDS.flatMap((Field) => {
    const [From, To] = [settingOf(from, Field), settingOf(to, Field)];
    return isDeepStrictEqual(From, To) ? [] : [{ Field, From, To }];
  });
}

const settingOf = (order: Partial<FlatOrder>, field: keyof FlatOrder): unknown =>
  order[field] ?? DEFAULTS[field];

/**
 * The request that makes an order what its description says. Null sets a default: the API keeps what a request does not name.
 *
 * @param current the deployment as the API answers, where it is registered. What has its default there too is not named: an
 *   API of an older stack does not know every field.
 */
export function requestOf(order: FlatOrder, current: Partial<FlatOrder> = {}): Record<string, unknown> {
  const { TargetTagKey, TargetTagValue, TargetAccount, TargetRegion } = order;
  const isNamed = (name: keyof FlatOrder) =>
    current[name] !== undefined || !isDeepStrictEqual(settingOf(order, name), DEFAULTS[name]);
  const fields = FIELDS.filter(isNamed).map((name) => [name, order[name] ?? null]);
  return { TargetTagKey, TargetTagValue, TargetAccount, TargetRegion, ...Object.fromEntries(fields) };
}
