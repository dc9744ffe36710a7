import { FLOWS, type Flow } from './flows.ts';
import { faultsOf, faultsOfDenial, MAY_ADD_MINUTES } from './judge.ts';
import {
  type Asked,
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
import { HOUR, MINUTE } from './world.ts';

/** One run, and what is wrong with it. */
export interface Result {
  flow: string;
  trouble: string;
  /** Minutes until all was well. */
  healedAfter?: number | undefined;
  messages: number;
  faults: string[];
}

/** A run that a set makes. */
interface Planned {
  what: string;
  troubles: Trouble[];
  /** What is wrong with it; default: what is wrong where one fault passed. */
  judge?: (run: Run, clean: Run, flow: Flow) => string[];
  /** How many calls of it must meet a fault. Default 0. */
  meets?: number;
}

/** The runs of a set in one flow, from a run without a fault. Every process makes the same plans, and its share of the runs. */
type Plan = (clean: Run) => Planned[];

const kinds = Object.keys(KINDS) as Kind[];

/** The calls of a run with their numbers. */
const numbered = ({ calls }: Run) => calls.map((call, index) => ({ ...call, nth: index + 1 }));

const isOfFunction = ({ source }: Asked) => source.startsWith('function');

/** Every call meets every kind of fault, once. */
const single: Plan = (clean) => [
  { what: 'no fault', troubles: [] },
  ...numbered(clean).flatMap((call) =>
    kinds
      // Nothing gives up on a state machine's calls.
      .filter((kind) => kind !== 'slower than its function' || isOfFunction(call))
      .map((kind) => ({ what: `call ${call.nth} ${kind}`, troubles: [failing(call.nth, kind)], meets: 1 })),
  ),
];

/** Whatever is asked is denied to who asks it, for an hour, and then allowed again. */
const repaired: Plan = ({ calls }) =>
  [...new Map(calls.map((call) => [JSON.stringify(call), call])).values()].map((asked) => ({
    what: `${asked.operation} denied for good to ${asked.source}`,
    troubles: [deniedForGood(asked)],
    judge: faultsOfDenial,
  }));

/** Every call of a function comes late: after its function was given up, after the next sweeps. */
const late: Plan = (clean) =>
  numbered(clean)
    .filter(isOfFunction)
    .flatMap(({ nth }) =>
      [2, 70].map((minutes) => ({
        what: `call ${nth} comes ${minutes} minutes late`,
        troubles: [coming(nth, minutes)],
      })),
    );

const PAIRS = 200;
/** What is denied twice, or fails twice at the API, may be told. */
const TWICE = /^(Reconcile is denied|acm-export-api-(denied|faults)$)/;

/** Two faults in one run, at random. */
const pairs = (random: () => number): Plan => {
  const below = (most: number) => Math.floor(random() * most);
  return ({ calls }) =>
    Array.from({ length: PAIRS }, () => {
      const two = [0, 1].map(() => ({
        nth: 1 + below(calls.length),
        kind: kinds[below(kinds.length)] as Kind,
      }));
      return {
        what: two.map(({ nth, kind }) => `call ${nth} ${kind}`).join(', '),
        troubles: two.map(({ nth, kind }) => failing(nth, kind)),
        judge: (run, clean, flow) =>
          faultsOf(run, clean, { ...flow, mayAdd: 2 * (flow.mayAdd ?? MAY_ADD_MINUTES) }, TWICE),
      };
    });
};

/** A function whose clock is wrong may see an end that is not there. */
const ANYTHING = /./;

/** Sweeps at once, slow services, and clocks of functions that are wrong for an hour. */
const others: Plan = () => {
  const judge =
    (allowed?: RegExp): NonNullable<Planned['judge']> =>
    (run, clean, flow) =>
      faultsOf(run, clean, { ...flow, mayAdd: 80 }, allowed);
  const clocks: [string, number][] = [
    ['ten minutes ahead', 10 * MINUTE],
    ['ten minutes behind', -10 * MINUTE],
    ['thirty hours ahead', 30 * HOUR],
    ['thirty hours behind', -30 * HOUR],
  ];
  return [
    { what: 'three sweeps at once, every half minute', troubles: [crowded], judge: judge() },
    {
      what: 'indexes, IAM, tags and the list of nodes slow for an hour',
      troubles: [lagging],
      judge: judge(),
    },
    ...clocks.map(([how, milliseconds]) => ({
      what: `clocks ${how}`,
      troubles: [skewed(milliseconds)],
      judge: judge(ANYTHING),
    })),
  ];
};

export const SETS = { single, repaired, late, pairs: pairs(seeded(1)), others } satisfies Record<
  string,
  Plan
>;
export type SetName = keyof typeof SETS;

/** Which of all runs a process makes: every `of`-th, from `part` on. */
export interface Share {
  part: number;
  of: number;
}

/** Makes a share of the runs of a set. Calls are found by playing each flow without a fault. */
export async function* runsOf(set: SetName, { part, of }: Share): AsyncGenerator<Result> {
  let turn = 0;
  for (const [name, flow] of Object.entries(FLOWS)) {
    const clean = await play(flow);
    for (const { what, troubles, judge = faultsOf, meets = 0 } of SETS[set](clean)) {
      turn += 1;
      if (turn % of !== part) continue;
      const run = await play(flow, ...troubles);
      const faults = judge(run, clean, flow);
      if (run.met.length < meets) faults.push('no call met the fault');
      yield {
        flow: name,
        trouble: [what, ...run.met].join(', '),
        healedAfter: run.healedAfter,
        messages: run.told.length,
        faults,
      };
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
