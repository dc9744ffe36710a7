/** A clock that stands still until it is moved. */
export class Clock {
  #now: number;

  constructor(start = '2026-11-24T10:30:00Z') {
    this.#now = Date.parse(start);
  }

  readonly now = (): Date => new Date(this.#now);

  /** Moves the clock instead of waiting. */
  readonly sleep = async (milliseconds: number): Promise<void> => {
    this.#now += milliseconds;
  };

  advance(time: { seconds?: number; minutes?: number; hours?: number; days?: number }): void {
    const { seconds = 0, minutes = 0, hours = 0, days = 0 } = time;
    this.#now += (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000;
  }
}
