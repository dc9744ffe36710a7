import { setTimeout as realSleep } from 'node:timers/promises';
import type { Clock } from './clock.ts';

/** Milliseconds of real time that `run` gives to input or output before it calls the work stuck. */
const PATIENCE_MS = 5000;

interface Timer {
  at: number;
  order: number;
  fire: (() => void) | undefined;
}

/**
 * A clock that stands still until it is moved: by `advance`, by a caller that lets time `pass`, or by `run`, which
 * moves it whenever nothing else is left to do. So days of waits take no time, and each run is like the one before.
 *
 * It is for code that waits for timers and promises. Input, output and work in other threads may be overtaken, unless they
 * are waited for with `during`.
 */
export class VirtualClock implements Clock {
  /** Workers live by the machine's time. */
  readonly shared = new Float64Array(1);
  #now: number;
  #made = 0;
  /** Work of the machine that is waited for. */
  #held = 0;
  #stopped = false;
  readonly #timers = new Heap();
  readonly #passing: Timer[] = [];

  constructor(start = '2026-11-24T10:30:00Z') {
    this.#now = Date.parse(start);
  }

  readonly now = (): Date => new Date(this.#now);

  nowAndBefore(): Date[] {
    return [this.now()];
  }

  elapsed(): number {
    return this.#now;
  }

  advance(milliseconds: number): void {
    this.#moveTo(this.#now + milliseconds);
  }

  sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const timer = this.#add(milliseconds, () => {
        signal?.removeEventListener('abort', abort);
        resolve();
      });
      const abort = () => {
        timer.fire = undefined;
        resolve();
      };
      signal?.addEventListener('abort', abort, { once: true });
    });
  }

  at(date: Date, call: () => void): () => void {
    const timer = this.#add(date.getTime() - this.#now, call);
    return () => {
      timer.fire = undefined;
    };
  }

  /**
   * Waits by moving the clock. Of several callers the one with the shortest wait goes on first, and acts before the
   * next one does.
   */
  readonly pass = (milliseconds: number): Promise<void> =>
    new Promise((resolve) => {
      this.#passing.push(this.#add(milliseconds, resolve));
      setImmediate(() => {
        this.#passing.sort(inOrder);
        const first = this.#passing.shift();
        if (first) this.#moveTo(Math.max(this.#now, first.at));
      });
    });

  /**
   * Runs work to its end in virtual time: everything that waits with setTimeout or asks Date lives by this clock.
   *
   * @param random stands for Math.random, 0 to below 1.
   * @throws what the work throws, or an Error when it waits for what never happens.
   */
  async run<T>(random: () => number, work: () => Promise<T>): Promise<T> {
    const restore = this.#takeOver(random);
    try {
      let ended = false;
      const result = work().finally(() => {
        ended = true;
      });
      result.catch(() => {});
      for (let idle = 0; ; ) {
        // Every promise that can go on has gone on when this returns.
        await new Promise(setImmediate);
        if (ended) return await result;
        if (this.#held > 0) continue;
        const next = this.#timers.next;
        if (next !== undefined) {
          idle = 0;
          this.#moveTo(Math.max(this.#now, next));
          continue;
        }
        if (idle >= PATIENCE_MS) throw new Error('The work waits for something that never happens.');
        idle += 1;
        await realSleep(1);
      }
    } finally {
      restore();
    }
  }

  async during<T>(work: Promise<T>): Promise<T> {
    this.#held += 1;
    try {
      return await work;
    } finally {
      this.#held -= 1;
    }
  }

  stop(): void {
    this.#stopped = true;
    for (let timer = this.#timers.take(); timer; timer = this.#timers.take()) timer.fire = undefined;
  }

  #add(milliseconds: number, fire: () => void): Timer {
    const timer = { at: this.#now + Math.max(0, milliseconds), order: this.#made++, fire };
    if (!this.#stopped) this.#timers.add(timer);
    return timer;
  }

  /** Whatever was to happen until then happens, in order. */
  #moveTo(time: number): void {
    for (let next = this.#timers.next; next !== undefined && next <= time; next = this.#timers.next) {
      this.#now = Math.max(this.#now, next);
      this.#timers.take()?.fire?.();
    }
    this.#now = time;
  }

  /** Puts this clock in place of the machine's; returns what undoes it. */
  #takeOver(random: () => number): () => void {
    const { setTimeout, clearTimeout, Date: RealDate } = globalThis;
    const { random: realRandom } = Math;
    Math.random = random;
    const now = () => this.#now;
    globalThis.setTimeout = ((call: (...given: unknown[]) => void, milliseconds = 0, ...given: unknown[]) =>
      // No timer of this clock keeps a process alive.
      Object.assign(
        this.#add(milliseconds, () => call(...given)),
        { unref() {} },
      )) as unknown as typeof setTimeout;
    globalThis.clearTimeout = ((timer: Timer | undefined) => {
      if (timer) timer.fire = undefined;
    }) as unknown as typeof clearTimeout;
    globalThis.Date = class extends RealDate {
      constructor(...given: unknown[]) {
        super(...((given.length === 0 ? [now()] : given) as []));
      }
      static override now(): number {
        return now();
      }
      /** Also for dates that were made before. */
      static override [Symbol.hasInstance](value: unknown): boolean {
        return value instanceof RealDate;
      }
    } as DateConstructor;
    return () => {
      Object.assign(globalThis, { setTimeout, clearTimeout, Date: RealDate });
      Math.random = realRandom;
    };
  }
}

const inOrder = (a: Timer, b: Timer) => a.at - b.at || a.order - b.order;

/** Timers by time, then in the order in which they were set. */
class Heap {
  readonly #items: Timer[] = [];

  /** When the next timer that was not cancelled is due. */
  get next(): number | undefined {
    while (this.#items[0] && !this.#items[0].fire) this.take();
    return this.#items[0]?.at;
  }

  add(timer: Timer): void {
    const items = this.#items;
    let index = items.push(timer) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (inOrder(items[parent] as Timer, timer) < 0) break;
      items[index] = items[parent] as Timer;
      index = parent;
    }
    items[index] = timer;
  }

  take(): Timer | undefined {
    const items = this.#items;
    const first = items[0];
    const last = items.pop();
    if (!first || !last || first === last) return first;
    let index = 0;
    for (let child = 1; child < items.length; child = 2 * index + 1) {
      const right = items[child + 1];
      if (right && inOrder(right, items[child] as Timer) < 0) child += 1;
      if (inOrder(last, items[child] as Timer) < 0) break;
      items[index] = items[child] as Timer;
      index = child;
    }
    items[index] = last;
    return first;
  }
}
