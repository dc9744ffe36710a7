export interface Clock {
  now(): Date;
  /** Now, by this clock and as it was before each advance; last of all the machine's own. */
  nowAndBefore(): Date[];
  /** Moves the clock forward; whatever was to happen until then (waits, schedules, expiries) happens. */
  advance(milliseconds: number): void;
  /** Resolves when that much time has passed on this clock, scaled by timeScale, or when it was advanced. */
  sleep(milliseconds: number, signal?: AbortSignal): Promise<void>;
  /** Calls back at a date of this clock, never scaled. Returns what cancels it. */
  at(date: Date, call: () => void): () => void;
  /** Milliseconds of waits that have passed since some moment: what quotas and delays go by. */
  elapsed(): number;
  /** The offset to the machine's time in milliseconds, shared with the workers that run functions. */
  readonly shared: Float64Array;
  /** Waits for work of this machine, which takes no time of this clock. */
  during<T>(work: Promise<T>): Promise<T>;
  /** Forgets all timers, and those to come; nothing that waits is called back. */
  stop(): void;
}

/** The longest delay of setTimeout: 2^31 - 1 ms, 24.8 days. */
const LONGEST_TIMER = 2 ** 31 - 1;

interface Timer {
  due: number;
  fire: () => void;
  handle: NodeJS.Timeout | undefined;
}

/**
 * The cloud's clock: the machine's time, moved forward by what was asked for. Waits of services can be scaled
 * down; dates cannot, so that certificates, signatures and leases keep their meaning.
 */
export class CloudClock implements Clock {
  readonly shared = new Float64Array(new SharedArrayBuffer(8));
  readonly #before: number[] = [];
  readonly #timeScale: number;
  readonly #timers = new Set<Timer>();
  #stopped = false;

  constructor(timeScale = 1) {
    this.#timeScale = timeScale;
  }

  now(): Date {
    return new Date(Date.now() + (this.shared[0] as number));
  }

  nowAndBefore(): Date[] {
    return [...this.#before, this.shared[0] as number]
      .reverse()
      .map((offset) => new Date(Date.now() + offset));
  }

  advance(milliseconds: number): void {
    this.#before.push(this.shared[0] as number);
    this.shared[0] = (this.shared[0] as number) + milliseconds;
    const now = this.now().getTime();
    const due = [...this.#timers].filter((timer) => timer.due <= now).sort((a, b) => a.due - b.due);
    for (const timer of due) this.#fire(timer);
  }

  sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const timer = this.#start(milliseconds, milliseconds * this.#timeScale, () => {
        signal?.removeEventListener('abort', abort);
        resolve();
      });
      const abort = () => this.#fire(timer);
      signal?.addEventListener('abort', abort, { once: true });
    });
  }

  at(date: Date, call: () => void): () => void {
    const delay = Math.max(0, date.getTime() - this.now().getTime());
    const timer = this.#start(delay, delay, call);
    return () => this.#drop(timer);
  }

  elapsed(): number {
    return performance.now() / (this.#timeScale || 1e-6) + (this.shared[0] as number);
  }

  during<T>(work: Promise<T>): Promise<T> {
    return work;
  }

  stop(): void {
    this.#stopped = true;
    for (const timer of this.#timers) this.#drop(timer);
  }

  #start(milliseconds: number, realMilliseconds: number, fire: () => void): Timer {
    const timer: Timer = { due: this.now().getTime() + milliseconds, fire, handle: undefined };
    if (this.#stopped) return timer;
    this.#timers.add(timer);
    const arm = (left: number) => {
      const step = Math.min(left, LONGEST_TIMER);
      timer.handle = setTimeout(() => (left > step ? arm(left - step) : this.#fire(timer)), step);
      // A long wait (an expiry in half a year) must not keep the process alive.
      if (left > 3_600_000) timer.handle.unref();
    };
    arm(realMilliseconds);
    return timer;
  }

  #fire(timer: Timer): void {
    if (!this.#timers.has(timer)) return;
    this.#drop(timer);
    timer.fire();
  }

  #drop(timer: Timer): void {
    clearTimeout(timer.handle);
    this.#timers.delete(timer);
  }
}
