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
 * The request that makes an order what its description says. Each field that is not there is null, which sets its default:
 * the API keeps what a request does not name.
 */
export function requestOf(order: FlatOrder): Record<string, unknown> {
  const { TargetTagKey, TargetTagValue, TargetAccount, TargetRegion } = order;
  const fields = Object.fromEntries(FIELDS.map((name) => [name, order[name] ?? null]));
  return { TargetTagKey, TargetTagValue, TargetAccount, TargetRegion, ...fields };
}
