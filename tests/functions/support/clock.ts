/** A clock that stands still until it is moved. */
export class Clock {
  #now: number;
  readonly #sleepers: { until: number; wake: () => void }[] = [];

  constructor(start = '2026-11-24T10:30:00Z') {
    this.#now = Date.parse(start);
  }

  readonly now = (): Date => new Date(this.#now);

  /** Moves the clock instead of waiting: whoever sleeps shortest wakes first, and acts before the next wakes. */
  readonly sleep = (milliseconds: number): Promise<void> =>
    new Promise((wake) => {
      this.#sleepers.push({ until: this.#now + milliseconds, wake });
      setImmediate(() => {
        this.#sleepers.sort((a, b) => a.until - b.until);
        const first = this.#sleepers.shift();
        this.#now = Math.max(this.#now, first?.until ?? 0);
        first?.wake();
      });
    });

  advance(time: { seconds?: number; minutes?: number; hours?: number; days?: number }): void {
    const { seconds = 0, minutes = 0, hours = 0, days = 0 } = time;
    this.#now += (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000;
  }
}
