import { setTimeout as timer } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { VirtualClock } from '../../src/services/virtual-clock.ts';

const settled = () => new Promise((resolve) => setImmediate(resolve));

test('advance lets everything happen that was due by then, in order, and nothing else', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(100), { maxLength: 30 }), fc.nat(100), async (waits, moved) => {
      const clock = new VirtualClock();
      const start = clock.now().getTime();
      const woken: number[] = [];
      for (const wait of waits) {
        clock.at(new Date(start + wait), () => {
          expect(clock.now().getTime()).toBe(start + wait);
          woken.push(wait);
        });
      }
      clock.advance(moved);
      expect(woken).toEqual(waits.filter((wait) => wait <= moved).sort((a, b) => a - b));
      expect(clock.now().getTime()).toBe(start + moved);
    }),
  );
});

test('a timer that was cancelled, and a sleep that was aborted, do not happen', async () => {
  const clock = new VirtualClock();
  const happened: string[] = [];
  clock.at(new Date(clock.now().getTime() + 10), () => happened.push('at'))();
  const abort = new AbortController();
  void clock.sleep(10, abort.signal).then(() => happened.push('aborted'));
  void clock.sleep(20).then(() => happened.push('slept'));
  abort.abort();
  clock.advance(15);
  await settled();
  expect(happened).toEqual(['aborted']);
  clock.advance(5);
  await settled();
  expect(happened).toEqual(['aborted', 'slept']);
});

test('callers that let time pass wake by the length of their waits, and each acts before the next wakes', async () => {
  const clock = new VirtualClock();
  const start = clock.now().getTime();
  const log: [string, number][] = [];
  const waiter = async (name: string, ...waits: number[]) => {
    for (const wait of waits) {
      await clock.pass(wait);
      log.push([name, clock.now().getTime() - start]);
    }
  };
  await Promise.all([waiter('a', 30, 30), waiter('b', 20, 5), waiter('c', 100)]);
  expect(log).toEqual([
    ['b', 20],
    ['b', 25],
    ['a', 30],
    ['a', 60],
    ['c', 100],
  ]);
});

test('run takes hours of timers in no time, by the same clock for all of them, and gives the machine its own back', async () => {
  const clock = new VirtualClock('2026-11-24T00:00:00Z');
  const real = [globalThis.setTimeout, Date, Math.random];
  const result = await clock.run(
    () => 0.25,
    async () => {
      const woken: number[] = [];
      const work = async (hours: number) => {
        await new Promise((resolve) => setTimeout(resolve, hours * 3_600_000));
        woken.push(hours, new Date().getUTCHours());
      };
      await Promise.all([work(5), work(1), clock.sleep(2 * 3_600_000).then(() => woken.push(2))]);
      clearTimeout(setTimeout(() => woken.push(-1), 1));
      return [...woken, Math.random()];
    },
  );
  expect(result).toEqual([1, 1, 2, 5, 5, 0.25]);
  expect([globalThis.setTimeout, Date, Math.random]).toEqual(real);
  await timer(1);
});

test('run stands still while the machine works on what is waited for with during', async () => {
  const clock = new VirtualClock();
  const start = clock.now().getTime();
  await clock.run(Math.random, async () => {
    void clock.sleep(1000);
    expect(await clock.during(timer(20, 'done'))).toBe('done');
    expect(clock.now().getTime()).toBe(start);
    await expect(clock.during(Promise.reject(new Error('broken')))).rejects.toThrow('broken');
    await clock.sleep(5000);
    expect(clock.now().getTime()).toBe(start + 5000);
  });
});

test('run passes on what the work throws', async () => {
  const clock = new VirtualClock();
  await expect(clock.run(Math.random, () => Promise.reject(new Error('broken')))).rejects.toThrow('broken');
  expect(Date.now()).toBeGreaterThan(Date.parse('2026-11-24T10:30:00Z'));
});

test('in a run, a date that was made before it is a date', async () => {
  const before = new Date(0);
  const clock = new VirtualClock();
  await clock.run(Math.random, async () => {
    expect(before instanceof Date).toBe(true);
    expect(new Date() instanceof Date).toBe(true);
    expect(({} as unknown) instanceof Date).toBe(false);
  });
});
