import type { Target } from '../domain/order.ts';
import { LONGEST_WAIT_SECONDS } from '../domain/rollout.ts';
import type { Table } from './table.ts';

/**
 * ACM describes and exports 10 certificates a second for the whole account (ACM user guide, "Quotas"); SSM starts one
 * Automation a second for each account and Region (AWS General Reference). A fifth of both is kept free for calls without
 * a slot: requests of people, new nodes, repeated calls.
 */
export const EXPORTS_PER_SECOND = 8;
export const INSTALLATIONS_PER_SECOND = 0.8;

/**
 * The slots in which rollouts may call an API whose quota all share. The table holds, for each quota, until when its slots
 * are taken.
 */
export class Slots {
  private readonly table: Table;

  constructor(table: Table) {
    this.table = table;
  }

  /**
   * Gives slots to rollouts that nobody waits for, so that a fleet that renews at once does not spend its time on being
   * refused. A slot is one of the account's exports and one of the target's installations; later callers, from whatever
   * function, get later ones.
   *
   * @returns when each rollout may begin.
   */
  async take<T extends Target>(targets: readonly T[]): Promise<Map<T, Date>> {
    const slots = new Map<T, Date>();
    const takeOf = async (quota: string, waiting: readonly T[], perSecond: number) => {
      const spacing = 1000 / perSecond;
      const first = await this.reserve(quota, waiting.length * spacing);
      for (const [place, target] of waiting.entries()) {
        const slot = new Date(first.getTime() + place * spacing);
        const other = slots.get(target);
        slots.set(target, other && other > slot ? other : slot);
      }
    };
    const places = Map.groupBy(
      targets,
      ({ TargetAccount, TargetRegion }) => `${TargetAccount}/${TargetRegion}`,
    );
    const installations = [...places].sort(([a], [b]) => (a < b ? -1 : 1));
    // Dealt out like cards, so that those of one account do not come together.
    const exports = installations
      .flatMap(([, waiting]) => waiting.map((target, round) => ({ target, round })))
      .sort((a, b) => a.round - b.round)
      .map(({ target }) => target);
    await Promise.all([
      ...installations.map(([place, waiting]) => takeOf(place, waiting, INSTALLATIONS_PER_SECOND)),
      targets.length > 0 ? takeOf('exports', exports, EXPORTS_PER_SECOND) : undefined,
    ]);
    return slots;
  }

  /**
   * Reserves the next span of time of a quota. One that is taken for longer than LONGEST_WAIT_SECONDS begins anew: a clock
   * that was wrong once holds up no other function.
   *
   * @returns when the span begins: now, or when what was taken before ends.
   */
  private async reserve(quota: string, milliseconds: number): Promise<Date> {
    const now = this.table.now().getTime();
    const reserveFrom = async (begin: string, condition: string) => {
      const taken = await this.table.update({
        Key: { DeploymentId: `line#${quota}`, Item: 'line' },
        UpdateExpression: `SET TakenUntil = ${begin} + :span`,
        ConditionExpression: condition,
        ExpressionAttributeValues: {
          ':now': now,
          ':bound': now + LONGEST_WAIT_SECONDS * 1000,
          ':span': milliseconds,
        },
      });
      return taken?.TakenUntil as number | undefined;
    };
    const end =
      (await reserveFrom('TakenUntil', 'TakenUntil > :now AND TakenUntil <= :bound')) ??
      (await reserveFrom(
        ':now',
        'attribute_not_exists(TakenUntil) OR TakenUntil <= :now OR TakenUntil > :bound',
      ));
    // Undefined only where another function took a span between the two: then there is one to follow.
    return end === undefined ? this.reserve(quota, milliseconds) : new Date(end - milliseconds);
  }
}
