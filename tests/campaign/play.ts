import type { Fault, FaultKind } from 'local-cloud';
import type { Ring } from './alarms.ts';
import type { Flow } from './flows.ts';
import { HOUR, MINUTE, SECOND, World } from './world.ts';

/** What became of a run. */
export interface Run {
  /** Calls from the cause of the flow until six minutes after it was well: the next sweep of nodes is among them. */
  calls: Asked[];
  /** Minutes until all was well; undefined when it never was. */
  healedAfter?: number;
  /** Subjects of messages to people. */
  told: string[];
  rings: Ring[];
  /** What must never be. */
  wrong: string[];
  /** The calls that met a fault. */
  met: string[];
  /** So long, at least, it is looked at: default 20 minutes after it was well. */
  lastsMinutes: number;
  /** When a call was first and last denied that is denied for good. */
  deniedAt?: number;
  deniedLast?: number;
  /** What AWS says of it, and whether people were told that. */
  denial?: string;
  isNamed: boolean;
  /** Requests to the API that were refused with a reason: their caller knows. */
  refused: number;
  /** When people were told, in the order of `told`. */
  toldAt: number[];
}

/** A call: what, and by whom. */
export interface Asked {
  operation: string;
  source: string;
}

/** What goes wrong in a run; it is arranged when the flow begins. */
export type Trouble = (world: World, run: Run) => void;

type Effect = Omit<Fault, 'operation' | 'when' | 'times'>;

interface Failing {
  effect: (world: World) => Effect;
  /** What the same call of the same caller meets from then on, for OUTAGE. */
  afterwards?: (world: World) => Effect;
}

/** Longer than the SDK repeats a call (8 attempts), shorter than the state machine does. */
const OUTAGE = 100 * SECOND;

const plain = (kind: FaultKind) => (): Effect => ({ kind });
const denied = (message = 'denied by the campaign'): Effect => ({
  kind: 'refuse',
  error: { name: 'AccessDeniedException', message, status: 403 },
});

/** It takes effect so many minutes late. */
function slow(minutes: number): Failing['effect'] {
  return ({ clock }) => ({ kind: 'delay', until: () => clock.sleep(minutes * MINUTE) });
}

/** How one call fails. Where a client of the SDK repeats calls, an answer that is lost is one that the SDK repeats. */
export const KINDS = {
  throttled: { effect: plain('throttle'), afterwards: plain('throttle') },
  'answered with 5xx': { effect: plain('server-error'), afterwards: plain('server-error') },
  'timed out without effect': { effect: plain('timeout') },
  'without its answer': { effect: plain('answer-lost') },
  'without its answer, and not repeated': { effect: plain('answer-lost'), afterwards: plain('timeout') },
  'killed before its effect': { effect: plain('crash-before-effect') },
  'killed after its effect': { effect: plain('crash-after-effect') },
  // The longest function runs for 15 minutes.
  'slower than its function': { effect: slow(16) },
  denied: { effect: () => denied() },
} satisfies Record<string, Failing>;
export type Kind = keyof typeof KINDS;

/** Of the functions and of the state machine: what they ask of AWS, and what calls them. */
export const isOurs = ({ source }: { source: string }) => /^(function|state machine) /.test(source);

/** The nth call of a flow fails. */
export const failing = (nth: number, kind: Kind): Trouble => meeting(nth, KINDS[kind]);

function meeting(nth: number, { effect, afterwards }: Failing): Trouble {
  return (world, run) => {
    const { clock, cloud } = world;
    let calls = 0;
    let met: { operation: string; source: string; at: number } | undefined;
    cloud.faults.inject({
      operation: '*',
      ...effect(world),
      when: (call) => {
        calls += isOurs(call) ? 1 : 0;
        if (!isOurs(call) || calls !== nth) return false;
        met = { operation: call.operation, source: call.source, at: clock.now().getTime() };
        run.met.push(`${call.operation} by ${call.source}`);
        return true;
      },
    });
    if (!afterwards) return;
    cloud.faults.inject({
      operation: '*',
      ...afterwards(world),
      times: Number.POSITIVE_INFINITY,
      when: ({ operation, source }) =>
        calls > nth &&
        met?.operation === operation &&
        met.source === source &&
        clock.now().getTime() - met.at < OUTAGE,
    });
  };
}

/** How long what is denied for good stays so, until it is repaired. */
export const DENIED_MINUTES = 65;

/** One operation is denied to one caller for an hour. */
export function deniedForGood({ operation, source }: Asked): Trouble {
  return (world, run) => {
    const { clock, cloud } = world;
    const start = clock.now().getTime();
    world.patience = 2 * DENIED_MINUTES + 10;
    // As AWS says it, but for the ARNs.
    run.denial = `User: ${source} is not authorized to perform: ${operation} on resource: any`;
    run.lastsMinutes = DENIED_MINUTES + 30;
    cloud.faults.inject({
      operation,
      ...denied(run.denial),
      times: Number.POSITIVE_INFINITY,
      when: (call) => {
        const at = clock.now().getTime();
        if (call.source !== source || at - start >= DENIED_MINUTES * MINUTE) return false;
        run.deniedAt ??= at;
        run.deniedLast = at;
        return true;
      },
    });
  };
}

/** The nth call of a flow takes effect after its caller has given up, and others have acted. */
export function coming(nth: number, minutes: number): Trouble {
  const meet = meeting(nth, { effect: slow(minutes) });
  return (world, run) => {
    run.lastsMinutes = minutes + 30;
    meet(world, run);
  };
}

/** More sweeps than AWS starts, at once, for ten minutes. */
export const crowded: Trouble = (world) => {
  const sweep = async () => {
    for (let round = 0; round < 20; round += 1) {
      const tasks = ['nodes', 'certificates', 'nodes'].map((Task) =>
        world.invoke('ReconcileFunction', { Task }),
      );
      await Promise.all(tasks);
      await world.clock.sleep(30 * SECOND);
    }
  };
  void sweep();
};

/** AWS is slow for an hour: indexes, IAM and tags, and the list of nodes. */
export const lagging: Trouble = (world) => {
  const usual = { ...world.delays };
  Object.assign(world.delays, {
    iam: 2 * MINUTE,
    tags: 2 * MINUTE,
    indexes: 10 * MINUTE,
    nodes: 20 * MINUTE,
  });
  void world.clock.sleep(HOUR).then(() => Object.assign(world.delays, usual));
};

/** The clock of the functions is wrong for an hour. */
export function skewed(milliseconds: number): Trouble {
  return (world) => {
    world.skew = milliseconds;
    void world.clock.sleep(HOUR).then(() => {
      world.skew = 0;
    });
  };
}

/** Plays a flow to its end. */
export async function play(flow: Flow, ...troubles: Trouble[]): Promise<Run> {
  const world = await World.create();
  const { clock, cloud } = world;
  const run: Run = {
    calls: [],
    told: [],
    toldAt: [],
    lastsMinutes: 0,
    refused: 0,
    isNamed: false,
    rings: [],
    wrong: [],
    met: [],
  };
  const lacks = () => (flow.lacks ? flow.lacks(world) : world.lacks());
  const isRinging = () => world.alarms.rings(clock.now()).some(({ over }) => over === undefined);
  try {
    await clock.run(
      () => 0.5,
      async () => {
        await flow.before?.(world);
        for (const trouble of troubles) trouble(world, run);
        const calls = record(world);
        const start = clock.now().getTime();
        const minutes = () => Math.ceil((clock.now().getTime() - start) / MINUTE);
        await flow.does(world);
        let lack = await lacks();
        // A minute at a time, so that it is known when it was well.
        while (lack && clock.now().getTime() - start < 4 * HOUR) {
          await clock.sleep(MINUTE);
          world.sample();
          lack = await lacks();
        }
        if (lack) run.wrong.push(`${minutes()} minutes later ${lack}`);
        else run.healedAfter = minutes();
        await clock.sleep(6 * MINUTE);
        run.calls = [...calls];
        // What comes late comes now; an alarm that is on goes off within the hour.
        const end = Math.max(minutes() + 14, run.lastsMinutes);
        while (minutes() < end || (minutes() < end + 75 && isRinging())) {
          await clock.sleep(MINUTE);
          world.sample();
        }
        const after = lack ? undefined : await lacks();
        if (after) run.wrong.push(`it was well, and later ${after}`);
      },
    );
    run.wrong.push(...world.violations());
  } catch (error) {
    run.wrong.push((error as Error).message);
  }
  run.told = world.messages().map(({ subject }) => subject);
  run.isNamed = world.messages().some(({ message }) => message.includes(run.denial ?? ''));
  run.toldAt = world.messages().map(({ at }) => Date.parse(at));
  run.rings = world.alarms.rings(clock.now());
  run.refused = world.refused;
  await cloud.stop().catch(() => {});
  return run;
}

/** The calls from now on. */
function record({ cloud }: World): Asked[] {
  const calls: Asked[] = [];
  cloud.faults.inject({
    operation: '*',
    kind: 'throttle',
    when: (call) => {
      if (isOurs(call)) calls.push({ operation: call.operation, source: call.source });
      return false;
    },
  });
  return calls;
}
