import { cp, rm } from 'node:fs/promises';
import path from 'node:path';
import { expect } from '@jest/globals';
import { installScript } from '../../scripts/render.ts';
import { programOf } from '../support/tools.ts';
import { type Bundle, createChain } from './certificates.ts';
import { createNode, type Environment, type TestNode } from './test-node.ts';

// Signals to the script at the moments when it starts a program, which a recorded run finds.

export const SERVICES = {
  SSM_ReloadServices: 'nginx',
  SSM_RestartServices: 'app',
  SSM_ExtraFormats: 'combined-pem',
};

/** Programs that the script starts, each replaced by a wrapper that runs `body` around the real one. */
export async function wrapPrograms(of: TestNode, body: (program: string) => string): Promise<string[]> {
  const script = installScript();
  const names =
    'chgrp chmod chown cp flock ln mkdir mv openssl readlink rm sha256sum stat sync timeout'.split(' ');
  for (const name of names) {
    expect(script).toMatch(new RegExp(`\\b${name}\\b`));
    await of.addCommand(name, body(programOf(name) as string));
  }
  // Those that stand in already do the same around themselves.
  for (const name of ['aws', 'systemctl', 'nginx', 'logger', 'sleep']) {
    await cp(path.join(of.bin, name), path.join(of.folder, `real-${name}`), { force: true });
    await of.addCommand(name, body(path.join(of.folder, `real-${name}`)));
  }
  return names;
}

/** Signals the script before or after the program that is counted as `at`, without a look at which that is. */
const signalling = (real: string) => `
  exec 6>>"$state/turn"; flock() { '${programOf('flock')}' "$@"; }; flock 6
  turn=$(<"$state/turns"); echo $((turn + 1)) >|"$state/turns"
  exec 6>&-
  [[ "$turn before" != "$(<"$state/at")" ]] || { kill -s "$(<"$state/signal")" "$(<"$state/script-pid")"; }
  '${real}' "$@"
  status=$?
  [[ "$turn after" != "$(<"$state/at")" ]] || { kill -s "$(<"$state/signal")" "$(<"$state/script-pid")"; }
  exit $status`;

export async function runWithSignal(of: TestNode, parameters: Environment, at: string, signal: string) {
  await of.tell('turns', '0\n');
  await of.tell('at', at);
  await of.tell('signal', signal);
  // The script's own process: the shell that starts it becomes it.
  const wrapper = ['/bin/bash', '-c', `echo $$ >|'${of.state}/script-pid'; exec "$@"`, 'start'];
  const run = await of.run(parameters, wrapper);
  return { run, turns: Number((await of.told('turns'))[0]) };
}

/**
 * Renews a certificate, again and again from the same state, each time with a signal at another moment: before or after
 * one of the programs that the script starts. Afterwards the old or the new version is there, whole, the next run
 * finishes, and no leftover stays.
 */
export async function interruptRenewals(
  isTried: (moment: number) => boolean,
  signalAt: (moment: number) => string,
) {
  const ca = await createChain();
  const [first, second]: [Bundle, Bundle] = [await ca.newBundle(), await ca.newBundle()];
  const node = await createNode({ knownAuthority: ca.root.pem });
  try {
    await node.addHook('a', ':');
    await node.install(first, 1, SERVICES);
    const untouched = path.join(node.folder, 'untouched');
    await cp(node.root, untouched, { recursive: true, verbatimSymlinks: true });
    const parameters = { ...(await node.offer(second, 2)), ...SERVICES };
    await wrapPrograms(node, signalling);
    const { turns } = await runWithSignal(node, parameters, 'never', 'TERM');
    expect(turns).toBeGreaterThan(60);
    const outcomes = new Set<string>();
    for (const moment of Array.from({ length: 2 * turns }, (_, index) => index).filter(isTried)) {
      await rm(node.root, { recursive: true });
      await cp(untouched, node.root, { recursive: true, verbatimSymlinks: true });
      const at = `${moment >> 1} ${moment % 2 ? 'after' : 'before'}`;
      const where = [at, signalAt(moment)];
      const { run } = await runWithSignal(node, parameters, at, signalAt(moment));
      const { result } = run;
      const expected = result.ExitCode === 0 ? second : first;
      expect([...where, await node.servedFiles()]).toEqual([...where, expected.value.Serial]);
      expect([0, 50, 71]).toContain(result.ExitCode);
      outcomes.add(result.Outcome);
      const { run: next } = await runWithSignal(node, parameters, 'never', 'TERM');
      expect([...where, next.result.ExitCode, await node.servedFiles()]).toEqual([
        ...where,
        0,
        second.value.Serial,
      ]);
    }
    return outcomes;
  } finally {
    await node.remove();
  }
}
