import type { Target } from './deployment.ts';
import type { Inventory } from './inventory.ts';

/**
 * ACM describes and exports 10 certificates a second for the whole account (ACM user guide, "Quotas"); SSM starts one
 * Automation a second for each account and Region (AWS General Reference). A fifth of both is left to what has no
 * turn: requests of people, new nodes, repeated calls.
 */
const EXPORTS_PER_SECOND = 8;
const INSTALLATIONS_PER_SECOND = 0.8;

/** The turn of one rollout. */
export async function takeTurn(target: Target, inventory: Inventory): Promise<Date | undefined> {
  return (await takeTurns([target], inventory)).get(target);
}

/**
 * Gives rollouts that nobody waits for their turns, so that a fleet that renews at once does not spend its time on
 * being refused. A turn is one of the account's exports and one of the target's installations; whoever asks next,
 * from whatever function, comes after.
 *
 * @returns when each rollout may begin.
 */
export async function takeTurns<T extends Target>(
  targets: readonly T[],
  inventory: Inventory,
): Promise<Map<T, Date>> {
  const turns = new Map<T, Date>();
  const lineUp = async (line: string, waiting: readonly T[], perSecond: number) => {
    const spacing = 1000 / perSecond;
    const first = await inventory.reserve(line, waiting.length * spacing);
    for (const [place, target] of waiting.entries()) {
      const turn = new Date(first.getTime() + place * spacing);
      const other = turns.get(target);
      turns.set(target, other && other > turn ? other : turn);
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
    ...installations.map(([line, waiting]) => lineUp(line, waiting, INSTALLATIONS_PER_SECOND)),
    targets.length > 0 ? lineUp('exports', exports, EXPORTS_PER_SECOND) : undefined,
  ]);
  return turns;
}
