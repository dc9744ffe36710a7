import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { commandLines } from '../support/processes.ts';
import { hostileSurroundings } from '../support/surroundings.ts';
import { until } from '../support/until.ts';
import { ROOT } from '../templates/stacks.ts';

/** Runs `make demo` in surroundings that lead elsewhere, with a folder of its own for temporary files. */
async function makeDemo() {
  const { env, asked } = await hostileSurroundings();
  const folder = mkdtempSync(join(tmpdir(), 'demo-'));
  // A process group of its own, as under a terminal.
  const demo = spawn('make', ['--silent', 'demo'], {
    cwd: ROOT,
    env: { ...env, TMPDIR: folder },
    detached: true,
  });
  let output = '';
  for (const stream of [demo.stdout, demo.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
  }
  return {
    output: () => output,
    ended: once(demo, 'exit').then(([code]) => code as number),
    interrupt: () => process.kill(-(demo.pid as number), 'SIGINT'),
    asked,
    nothingIsLeft: () =>
      until(
        `the end of everything in ${folder}`,
        () => readdirSync(folder).length === 0 && !commandLines().some((line) => line.includes(folder)),
        () => readdirSync(folder),
      ),
  };
}

test('two demos at a time in one folder: one is interrupted, the other passes, neither leaves anything behind', async () => {
  const [passing, interrupted] = await Promise.all([makeDemo(), makeDemo()]);
  await until('a rollout', () => /^ok|POST \/certificates/m.test(interrupted.output()), interrupted.output);
  interrupted.interrupt();
  expect(await interrupted.ended).not.toBe(0);
  await interrupted.nothingIsLeft();

  expect([await passing.ended, passing.output()]).toEqual([
    0,
    expect.stringMatching(
      /healed without any request\n.* is not what the port serves: .* INSTALLED again\n.*All is as promised\./s,
    ),
  ]);
  await passing.nothingIsLeft();
  expect([passing.asked, interrupted.asked]).toEqual([[], []]);
});
