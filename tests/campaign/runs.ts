import { FLOWS } from './flows.ts';
import { faultsOf, faultsOfDenial } from './judge.ts';
import {
  coming,
  crowded,
  deniedForGood,
  failing,
  KINDS,
  type Kind,
  lagging,
  play,
  type Run,
  skewed,
  type Trouble,
} from './play.ts';

/** One run, and what is wrong with it. */
export interface Result {
  flow: string;
  trouble: string;
  /** Minutes until all was well. */
  healedAfter?: number | undefined;
  /** Minutes more than without a fault. */
  added: number;
  messages: number;
  faults: string[];
}

type Runs = AsyncGenerator<Result>;

/** Which of all runs a process makes: every `of`-th, from `part` on. */
export interface Share {
  part: number;
  of: number;
}

const resultOf = (flow: string, trouble: string, run: Run, clean: Run, faults: string[]): Result => ({
  flow,
  trouble: [trouble, ...run.met].join(', '),
  healedAfter: run.healedAfter,
  added: (run.healedAfter ?? 0) - (clean.healedAfter ?? 0),
  messages: run.told.length,
  faults,
});

/** Every call of every flow meets every kind of fault, once. Calls are found by playing the flow without one. */
export async function* single({ part, of }: Share): Runs {
  let turn = 0;
  for (const [name, flow] of Object.entries(FLOWS)) {
    const clean = await play(flow);
    if (part === 0) yield resultOf(name, 'no fault', clean, clean, faultsOf(clean, clean, flow));
    for (const [index, { source }] of clean.calls.entries()) {
      const call = index + 1;
      for (const kind of Object.keys(KINDS) as Kind[]) {
        // Nothing gives up on a state machine's calls.
        if (kind === 'slower than its function' && !source.startsWith('function')) continue;
        turn += 1;
        if (turn % of !== part) continue;
        const run = await play(flow, failing(call, kind));
        const faults = faultsOf(run, clean, flow);
        if (run.met.length === 0) faults.push('no call met the fault');
        yield resultOf(name, `call ${call} ${kind}`, run, clean, faults);
      }
    }
  }
}

/** Whatever is asked is denied to who asks it, for an hour, and then allowed again. */
export async function* repaired({ part, of }: Share): Runs {
  let turn = 0;
  for (const [name, flow] of Object.entries(FLOWS)) {
    const clean = await play(flow);
    const once = new Map(clean.calls.map((call) => [JSON.stringify(call), call]));
    for (const asked of once.values()) {
      turn += 1;
      if (turn % of !== part) continue;
      const run = await play(flow, deniedForGood(asked));
      const faults = faultsOfDenial(run, clean, flow);
      yield resultOf(name, `${asked.operation} denied for good to ${asked.source}`, run, clean, faults);
    }
  }
}

/** Every call comes late: after its function was given up, after the next sweeps. */
export async function* late({ part, of }: Share): Runs {
  let turn = 0;
  for (const [name, flow] of Object.entries(FLOWS)) {
    const clean = await play(flow);
    for (const [index, { source }] of clean.calls.entries()) {
      const call = index + 1;
      if (!source.startsWith('function')) continue;
      for (const minutes of [2, 70]) {
        turn += 1;
        if (turn % of !== part) continue;
        const run = await play(flow, coming(call, minutes));
        yield resultOf(
          name,
          `call ${call} comes ${minutes} minutes late`,
          run,
          clean,
          faultsOf(run, clean, flow),
        );
      }
    }
  }
}

/** Two faults in one run, at random. */
export async function* pairs({ part, of }: Share): Runs {
  const random = seeded(1);
  for (const [name, flow] of Object.entries(FLOWS)) {
    const clean = await play(flow);
    const any = () => ({
      call: 1 + Math.floor(random() * clean.calls.length),
      kind: Object.keys(KINDS)[Math.floor(random() * Object.keys(KINDS).length)] as Kind,
    });
    for (let turn = 0; turn < PAIRS; turn += 1) {
      const [one, other] = [any(), any()];
      if (turn % of !== part) continue;
      const run = await play(flow, failing(one.call, one.kind), failing(other.call, other.kind));
      const trouble = `call ${one.call} ${one.kind}, call ${other.call} ${other.kind}`;
      yield resultOf(
        name,
        trouble,
        run,
        clean,
        faultsOf(run, clean, { ...flow, mayAdd: 2 * (flow.mayAdd ?? 20) }, TWICE),
      );
    }
  }
}
const PAIRS = 200;
/** What is denied twice, or fails twice at the API, may be told. */
const TWICE = /^(Reconcile is denied|acm-export-api-(denied|faults)$)/;

/** A function whose clock is wrong may see an end that is not there. */
const ANYTHING = /./;

/** Sweeps at once, and clocks of functions that are wrong for an hour. */
export async function* others({ part, of }: Share): Runs {
  const troubles: Record<string, Trouble> = {
    'three sweeps at once, every half minute': crowded,
    'indexes, IAM, tags and the list of nodes slow for an hour': lagging,
    'clocks ten minutes ahead': skewed(10 * 60_000),
    'clocks ten minutes behind': skewed(-10 * 60_000),
    'clocks thirty hours ahead': skewed(30 * 3_600_000),
    'clocks thirty hours behind': skewed(-30 * 3_600_000),
  };
  let turn = 0;
  for (const [name, flow] of Object.entries(FLOWS)) {
    const clean = await play(flow);
    for (const [what, trouble] of Object.entries(troubles)) {
      turn += 1;
      if (turn % of !== part) continue;
      const run = await play(flow, trouble);
      const faults = faultsOf(
        run,
        clean,
        { ...flow, mayAdd: 80 },
        what.startsWith('clocks') ? ANYTHING : undefined,
      );
      yield resultOf(name, what, run, clean, faults);
    }
  }
}

/** The same numbers each time: mulberry32. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export const SETS = { single, repaired, late, pairs, others } satisfies Record<
  string,
  (share: Share) => Runs
>;
export type SetName = keyof typeof SETS;
