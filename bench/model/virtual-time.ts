import { setTimeout as realSleep } from 'node:timers/promises';

/** A date well after any other in the models; nothing depends on it. */
const START = Date.parse('2026-11-24T00:00:00Z');

/** Milliseconds of real time for input or output. */
const PATIENCE_MS = 5000;

interface Timer {
  at: number;
  order: number;
  fire: (() => void) | undefined;
}

/**
 * Time that passes only when nothing is left to do: whatever waits with setTimeout, and whoever asks Date, lives by
 * it. So hours of waits and retries run in seconds, in the order in which they would happen.
 *
 * For code that waits for timers and promises. Real input or output may be overtaken, unless everything waits for it.
 */
export class VirtualTime {
  #now = START;
  #timers = new Heap();
  #made = 0;

  /** Milliseconds since 1970. */
  get now(): number {
    return this.#now;
  }

  readonly date = (): Date => new Date(this.#now);

  readonly sleep = (milliseconds: number): Promise<void> =>
    new Promise((resolve) => {
      this.#add(milliseconds, resolve);
    });

  /**
   * Runs work to its end in virtual time.
   *
   * @param random stands for Math.random, so that each run is like the one before.
   */
  async run<T>(random: () => number, work: () => Promise<T>): Promise<T> {
    const restore = this.#takeOver(random);
    try {
      let ended = false;
      const result = work().finally(() => {
        ended = true;
      });
      result.catch(() => {});
      let idle = 0;
      for (;;) {
        // Every promise that can go on has gone on when this returns.
        await new Promise(setImmediate);
        if (ended) {
          break;
        }
        const timer = this.#timers.take();
        if (!timer) {
          if (idle >= PATIENCE_MS) {
            throw new Error('The work waits for something that never happens.');
          }
          idle += 1;
          await realSleep(1);
          continue;
        }
        idle = 0;
        this.#now = Math.max(this.#now, timer.at);
        timer.fire?.();
        while (this.#timers.next === timer.at) {
          this.#timers.take()?.fire?.();
        }
      }
      return await result;
    } finally {
      restore();
    }
  }

  #add(milliseconds: number, fire: () => void): Timer {
    this.#made += 1;
    const timer = { at: this.#now + Math.max(0, milliseconds), order: this.#made, fire };
    this.#timers.add(timer);
    return timer;
  }

  /** Puts this time in place of the machine's; returns what undoes it. */
  #takeOver(random: () => number): () => void {
    const { setTimeout, clearTimeout, Date: RealDate } = globalThis;
    const { random: realRandom } = Math;
    Math.random = random;
    const clock = this;
    globalThis.setTimeout = ((call: (...given: unknown[]) => void, milliseconds = 0, ...given: unknown[]) =>
      this.#add(milliseconds, () => call(...given))) as unknown as typeof setTimeout;
    globalThis.clearTimeout = ((timer: Timer | undefined) => {
      if (timer) {
        timer.fire = undefined;
      }
    }) as unknown as typeof clearTimeout;
    globalThis.Date = class extends RealDate {
      constructor(...given: unknown[]) {
        super(...((given.length === 0 ? [clock.now] : given) as []));
      }
      static override now(): number {
        return clock.now;
      }
    } as DateConstructor;
    return () => {
      Object.assign(globalThis, { setTimeout, clearTimeout, Date: RealDate });
      Math.random = realRandom;
    };
  }
}

/** Timers by time, then in the order in which they were set. */
class Heap {
  readonly #items: Timer[] = [];

  get next(): number | undefined {
    return this.#items[0]?.at;
  }

  add(timer: Timer): void {
    const items = this.#items;
    let index = items.push(timer) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (isBefore(items[parent] as Timer, timer)) {
        break;
      }
      items[index] = items[parent] as Timer;
      index = parent;
    }
    items[index] = timer;
  }

  take(): Timer | undefined {
    const items = this.#items;
    const first = items[0];
    const last = items.pop();
    if (!first || !last || first === last) {
      return first;
    }
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= items.length) {
        break;
      }
      if (child + 1 < items.length && isBefore(items[child + 1] as Timer, items[child] as Timer)) {
        child += 1;
      }
      if (isBefore(last, items[child] as Timer)) {
        break;
      }
      items[index] = items[child] as Timer;
      index = child;
    }
    items[index] = last;
    return first;
  }
}

const isBefore = (a: Timer, b: Timer) => a.at < b.at || (a.at === b.at && a.order < b.order);
