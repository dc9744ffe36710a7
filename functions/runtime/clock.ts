import { setTimeout } from 'node:timers/promises';

/** Time and chance. A test gives functions a clock of its own, so that a run can be repeated exactly. */
export interface Clock {
  now: () => Date;
  /** Resolves after that many milliseconds. */
  sleep: (milliseconds: number) => Promise<unknown>;
  /** 0 to below 1. */
  random: () => number;
}

export const systemClock: Clock = { now: () => new Date(), sleep: setTimeout, random: Math.random };
