import { setImmediate } from 'node:timers/promises';

/** When a caller's process dies: at its nth call, before or after the call took effect. */
export interface Crash {
  call: number;
  when: 'before' | 'after';
}

export interface Actor {
  run: (around: Around) => Promise<unknown>;
  crash?: Crash | undefined;
}

export type Around = <T>(call: () => Promise<T>) => Promise<T>;

/** Whether the actor ended by itself, and with what. */
export type Ending = { value: unknown } | { error: unknown } | 'crashed';

/**
 * Runs actors side by side so that each of their wrapped calls is made alone, and `choose` says whose is next: every
 * interleaving of whole calls can be had, and had again.
 *
 * @param choose a number from 0 to below its argument.
 */
export async function interleave(actors: Actor[], choose: (of: number) => number): Promise<Ending[]> {
  const waiting: (() => Promise<void>)[] = [];
  const endings: (Ending | undefined)[] = actors.map(() => undefined);
  actors.forEach(({ run, crash }, index) => {
    let calls = 0;
    const around: Around = (call) =>
      new Promise((resolve, reject) => {
        waiting.push(async () => {
          if (endings[index] === 'crashed') {
            return;
          }
          calls += 1;
          const dies = crash?.call === calls ? crash.when : undefined;
          // A dead process gets no answer and makes no further call: its promise stays open for ever.
          if (dies === 'before') {
            endings[index] = 'crashed';
            return;
          }
          const answer = await call().then(
            (value) => () => resolve(value),
            (error: unknown) => () => reject(error),
          );
          if (dies === 'after') {
            endings[index] = 'crashed';
          } else {
            answer();
          }
        });
      });
    run(around).then(
      (value) => {
        endings[index] ??= { value };
      },
      (error: unknown) => {
        endings[index] ??= { error };
      },
    );
  });
  while (endings.includes(undefined)) {
    // Everything that is not wrapped answers in microtasks: after this every actor has ended or waits.
    await setImmediate();
    const [next] = waiting.splice(choose(waiting.length), 1);
    await next?.();
  }
  return endings as Ending[];
}
