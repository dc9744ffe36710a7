import type { Session } from './connection.ts';
import { Stop } from './exit.ts';

/**
 * Asks a person. Anything but yes ends the command, and so does the want of a person who could answer.
 *
 * @throws Stop
 */
export async function confirm(
  { world }: Session,
  question: string,
  isYes: boolean | undefined,
): Promise<void> {
  if (isYes) return;
  if (!world.ask) {
    throw new Stop('usage', `${question} There is no terminal to answer in: add --yes.`);
  }
  const answer = await world.ask(`${question} [y/N] `);
  if (!/^y(es)?$/i.test(answer.trim())) throw new Stop('failed', 'Nothing was done.');
}
