import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { installScript, loadDocuments } from '../../scripts/render.ts';
import { type Bundle, createChain } from '../ssm-documents/certificates.ts';
import { interruptRenewals, runWithSignal, SERVICES, wrapPrograms } from '../ssm-documents/signals.ts';
import { createNode, type Environment, type TestNode } from '../ssm-documents/test-node.ts';
import { programOf } from '../support/tools.ts';
import { until } from '../support/until.ts';

// A server is never worse off for our visit: whatever interrupts an install, the old or the new version is there,
// whole, and whatever hangs comes to an end.

let ca: Awaited<ReturnType<typeof createChain>>;
let first: Bundle;
let second: Bundle;
let third: Bundle;
let node: TestNode;

beforeAll(async () => {
  ca = await createChain();
  [first, second, third] = [await ca.newBundle(), await ca.newBundle(), await ca.newBundle()];
});
beforeEach(async () => {
  node = await createNode({ knownAuthority: ca.root.pem });
});
afterEach(() => node.remove());

const versionIn = (of: TestNode) => readlink(of.base('current')).catch(() => undefined);

describe('a signal', () => {
  test('before or after a program that the script runs leaves old or new, whole, and the next run finishes', async () => {
    // A few moments, others at each run of the tests; tests/real/ has them all.
    const outcomes = await interruptRenewals(
      (moment) => moment % 18 === process.pid % 18,
      (moment) => ['TERM', 'INT', 'HUP'][moment % 3] as string,
    );
    expect([...outcomes]).toContain('rolled-back');
  });

  test('right after the rename of current does not take the new version from under the servers', async () => {
    await node.install(first);
    await node.addCommand(
      'mv',
      `'${programOf('mv')}' "$@"; [[ "$*" != */current ]] || kill -TERM "$(<"$state/script-pid")"`,
    );
    await node.tell('at', '');
    const { run } = await runWithSignal(node, await node.offer(second, 2), 'never', 'TERM');
    expect(run.result).toMatchObject({ Outcome: 'rolled-back', ExitCode: 71 });
    expect(await node.servedFiles()).toBe(first.value.Serial);
  });

  test('that comes again while the script goes back changes nothing', async () => {
    await node.install(first, 1, { SSM_ReloadServices: 'nginx' });
    await node.tell('reload-faults', 'once\n');
    await node.addCommand(
      'mv',
      `[[ "$*" != */current ]] || [[ "$(readlink "$root/etc/ssl/acm-export/web/current")" != *-2 ]] || kill -TERM "$(<"$state/script-pid")"
       '${programOf('mv')}' "$@"`,
    );
    const parameters = { ...(await node.offer(second, 2)), SSM_ReloadServices: 'nginx' };
    const { run } = await runWithSignal(node, parameters, 'never', 'TERM');
    expect(run.result).toMatchObject({ Outcome: 'rolled-back', ExitCode: 62 });
    expect(await node.servedFiles()).toBe(first.value.Serial);
  });

  test('and an agent that is gone, with its pipes closed, ends nothing', async () => {
    await node.addHook('a', 'touch "$state/running"; until [ -e "$state/go" ]; do /bin/sleep 0.01; done');
    const { child, ended } = node.start(await node.offer(first));
    ended.catch(() => undefined); // There is no result line that anybody could read.
    await until('the hook', () => existsSync(path.join(node.state, 'running')));
    child.stdout.destroy();
    child.stderr.destroy();
    await node.tell('go', '');
    await until('the end of the install', () => existsSync(node.base('current/.completed')));
    expect(await node.servedFiles()).toBe(first.value.Serial);
  });
});

describe('after a run that was cut off', () => {
  const killAt = async (step: string, parameters: Environment) => {
    const { code } = await node.runUntil(step, parameters);
    expect(code).toBe(null);
  };
  const steps = [
    'stage',
    'switch',
    'test-config',
    'run-hooks',
    'reload',
    'verify-port',
    'complete',
    'remove-old-versions',
  ];

  test.each(steps)(
    'at %s, a later rollout that fails goes back to the last completed version, and services load that one',
    async (step) => {
      const options = { SSM_ReloadServices: 'nginx' };
      await node.addHook('a', 'openssl x509 -noout -serial -in "$RENEWED_LINEAGE/cert.pem" >>"$state/hooks"');
      await node.install(first, 1, options);
      await killAt(step, { ...(await node.offer(second, 2)), ...options });
      const completed = step === 'remove-old-versions' ? second : first;
      await node.tell('config-fault', 'nginx: [emerg] no');
      const { result } = await node.run({ ...(await node.offer(third, 3)), ...options });
      expect(result).toMatchObject({ Outcome: 'rolled-back', ExitCode: 60 });
      expect(await node.servedFiles()).toBe(completed.value.Serial);
      // What the run before may have loaded is loaded no more.
      const loaded = (await node.told('systemctl')).filter((line) => line.startsWith('reload')).at(-1);
      expect(loaded).toBe(`reload nginx ${await versionIn(node)}`);
      expect((await node.told('hooks')).at(-1)).toBe(`serial=${completed.value.Serial.toUpperCase()}`);
    },
  );

  test('in its first install, a later rollout that fails leaves nothing', async () => {
    const options = { SSM_ReloadServices: 'nginx' };
    await killAt('test-config', { ...(await node.offer(first)), ...options });
    await node.tell('config-fault', 'nginx: [emerg] no');
    const { result } = await node.run({ ...(await node.offer(second, 2)), ...options });
    expect(result).toMatchObject({ Outcome: 'rolled-back', ExitCode: 60 });
    expect(await node.servedFiles()).toBeUndefined();
  });

  test('no way leads back to what was never completed, whatever order kills, failures and repeats come in', async () => {
    const act = fc.record({
      bundle: fc.constantFrom(0, 1, 2),
      how: fc.constantFrom('good', 'bad', ...steps),
      again: fc.boolean(),
    });
    const bundles = [first, second, third];
    const empty = path.join(node.folder, 'empty');
    await cp(node.root, empty, { recursive: true });
    await fc.assert(
      fc.asyncProperty(fc.array(act, { minLength: 2, maxLength: 5 }), async (acts) => {
        await rm(node.root, { recursive: true });
        await cp(empty, node.root, { recursive: true });
        let rollout = 0;
        let offered = first;
        let completed: string | undefined;
        for (const { bundle, how, again } of acts) {
          if (!again || rollout === 0) {
            rollout++;
            offered = bundles[bundle] as Bundle;
          }
          // A changed option, so that a repeat has something to do.
          const options = { SSM_ReloadServices: 'nginx', SSM_KeyMode: again ? '0640' : '0600' };
          const parameters = { ...(await node.offer(offered, rollout)), ...options };
          await node.untell('config-fault');
          if (how === 'good' || how === 'bad') {
            if (how === 'bad') await node.tell('config-fault', 'nginx: [emerg] no');
            const { result } = await node.run(parameters);
            if (result.ExitCode === 0) completed = offered.value.Serial;
            expect(await node.servedFiles()).toBe(completed);
          } else {
            const present = await node.servedFiles();
            const { code } = await node.runUntil(how, parameters);
            if (code === 0 || how === 'remove-old-versions') completed = offered.value.Serial;
            // What passed its configuration test is better than nothing: servers may use it.
            if (['reload', 'verify-port', 'complete'].includes(how)) completed ??= offered.value.Serial;
            expect([present, offered.value.Serial, completed]).toContain(await node.servedFiles());
          }
        }
        const versions = existsSync(node.base('versions')) ? await readdir(node.base('versions')) : [];
        expect(versions.length).toBeLessThanOrEqual(5);
      }),
      { numRuns: 6 },
    );
  });

  test.each<[string, () => Promise<unknown>, Environment, number]>([
    ['the bundle is refused', () => node.tell('aws-errors', 'AccessDenied\n'), {}, 20],
    ['a hook is refused', () => node.addHook('b', '', 0o777), {}, 34],
    ['it is an older one', async () => undefined, { SSM_RolloutNumber: '1' }, 30],
  ])(
    'a later rollout that fails before its switch leaves the completed version: %s',
    async (_, plant, environment, code) => {
      const options = { SSM_ReloadServices: 'nginx' };
      await node.install(first, 1, options);
      await killAt('test-config', { ...(await node.offer(second, 2)), ...options });
      expect(await node.servedFiles()).toBe(second.value.Serial);
      await plant();
      const { result } = await node.run({ ...(await node.offer(third, 3)), ...options, ...environment });
      expect(result.ExitCode).toBe(code);
      expect(await node.servedFiles()).toBe(first.value.Serial);
    },
  );

  test('in its way back, services come back to the completed version, which is not called unchanged', async () => {
    const log = 'openssl x509 -noout -serial -in "$RENEWED_LINEAGE/cert.pem" >>"$state/hooks"';
    await node.addHook(
      'a',
      `${log}; [ ! -e "$state/kill" ] || [ "$(wc -l <"$state/hooks")" -lt 3 ] || kill -9 "$(<"$state/script-pid")"`,
    );
    await node.install(first);
    await node.tell('kill', '');
    await node.addHook('b', 'exit 7');
    await runWithSignal(node, await node.offer(second, 2), 'never', 'TERM').catch(() => undefined);
    expect(await node.told('hooks')).toHaveLength(3); // The way back had begun.
    expect(await node.servedFiles()).toBe(first.value.Serial);
    await node.untell('kill');
    await node.addHook('b', ':');
    expect((await node.install(first, 3)).result.Outcome).toBe('installed');
    expect((await node.told('hooks')).at(-1)).toBe(`serial=${first.value.Serial.toUpperCase()}`);
  });

  test('the way back leads to the last version of this owner, not to a higher number of another one', async () => {
    const options = { SSM_ReloadServices: 'nginx' };
    const owned = { ...options, SSM_DeploymentId: 'f'.repeat(24) };
    await node.install(first, 50, options);
    await rm(node.base('record')); // As the message of owned-by-another says.
    await node.install(second, 1, owned);
    await killAt('test-config', { ...(await node.offer(third, 2)), ...owned });
    await node.tell('config-fault', 'nginx: [emerg] no');
    expect((await node.run({ ...(await node.offer(third, 3)), ...owned })).result.Outcome).toBe(
      'rolled-back',
    );
    expect(await node.servedFiles()).toBe(second.value.Serial);
    // Nor do its numbers refuse ours when the record is damaged.
    await writeFile(node.base('record'), '');
    await node.untell('config-fault');
    expect((await node.install(third, 4, owned)).result.Outcome).toBe('installed');
  });

  test('the way back leads to the last of several versions that one rollout made', async () => {
    const options = { SSM_ReloadServices: 'nginx' };
    await node.install(first, 4, options);
    await node.install(second, 5, options);
    await node.install(second, 5, { ...options, SSM_ExtraFormats: 'pkcs12' });
    expect(await versionIn(node)).toBe(`versions/${second.value.Serial}-5.again`);
    await killAt('test-config', { ...(await node.offer(second, 5)), ...options, SSM_KeyMode: '0640' });
    await node.tell('config-fault', 'nginx: [emerg] no');
    expect((await node.run({ ...(await node.offer(third, 6)), ...options })).result.Outcome).toBe(
      'rolled-back',
    );
    expect(await versionIn(node)).toBe(`versions/${second.value.Serial}-5.again`);
  });

  test('a first install whose service was dead before goes back, and is not called broken for that', async () => {
    await node.tell('dead-nginx', '');
    await node.tell('config-fault', 'nginx: [emerg] no');
    const { result } = await node.run({ ...(await node.offer(first)), SSM_ReloadServices: 'nginx' });
    expect(result).toMatchObject({ Outcome: 'rolled-back', ExitCode: 60 });
  });

  test('a service that is dead is not started by the way back of the run after one that was cut off', async () => {
    const options = { SSM_RestartServices: 'app' };
    await node.addHook('a', ':');
    await node.runUntil('run-hooks', { ...(await node.offer(first)), ...options });
    await node.tell('dead-app', '');
    await node.tell('config-fault', 'nginx: [emerg] no');
    const { result } = await node.run({
      ...(await node.offer(second, 2)),
      ...options,
      SSM_ReloadServices: 'nginx',
    });
    expect(result).toMatchObject({ Outcome: 'rolled-back', ExitCode: 60 });
    expect((await node.told('systemctl')).filter((line) => line.startsWith('restart app'))).toEqual([]);
  });

  test('a hook or reload that fails in the way back does not keep the others from the old certificate', async () => {
    const options = { SSM_ReloadServices: 'nginx app', SSM_RestartServices: 'db' };
    await node.install(first, 1, options);
    await node.addHook('a', '[ ! -e "$state/fail" ] || exit 9; touch "$state/fail"');
    await node.tell('reload-faults', 'once\ntwice\n');
    const { result } = await node.run({ ...(await node.offer(second, 2)), ...options });
    expect(result).toMatchObject({
      ExitCode: 70,
      Error: expect.stringMatching(/hook .*a failed, the reload of nginx failed\) after reload-failed/),
    });
    const version = await versionIn(node);
    expect(version).toBe(`versions/${first.value.Serial}-1`);
    const told = (await node.told('systemctl')).filter((line) => /^re/.test(line)).slice(-3);
    expect(told).toEqual([`reload nginx ${version}`, `reload app ${version}`, `restart db ${version}`]);
  });

  test('a hook that was cut off runs again, for the old certificate', async () => {
    await node.install(first);
    const log = 'openssl x509 -noout -serial -in "$RENEWED_LINEAGE/cert.pem" >>"$state/hooks"';
    await node.addHook(
      'a',
      `${log}; [ -e "$state/calm" ] || kill -TERM "$(<"$state/script-pid")"; touch "$state/calm"`,
    );
    const { run } = await runWithSignal(node, await node.offer(second, 2), 'never', 'TERM');
    expect(run.result).toMatchObject({ Outcome: 'rolled-back', ExitCode: 71 });
    expect(await node.told('hooks')).toEqual(
      [second, first].map(({ value }) => `serial=${value.Serial.toUpperCase()}`),
    );
  });
});

describe('everything ends', () => {
  /** The script with other limits: what takes minutes on a server takes a second here. */
  const limit = async (changes: Record<string, number>) => {
    let script = await readFile(node.scriptFile, 'utf8');
    for (const [name, seconds] of Object.entries(changes)) {
      const place = name === 'KILL' ? /(KILL=)\d+/ : new RegExp(`(\\[${name}\\]=)\\d+`);
      expect(script).toMatch(place);
      script = script.replace(place, `$1${seconds}`);
    }
    await writeFile(node.scriptFile, script);
  };
  const left: number[] = [];
  afterEach(() => {
    for (const pid of left.splice(0)) {
      try {
        process.kill(pid);
      } catch {
        // Gone by itself.
      }
    }
  });
  const notePids = async () => left.push(...(await node.told('left')).map(Number));

  test('the phases together end before the time-out of the document, and leave the way back its share', async () => {
    const script = installScript();
    const [, phases = ''] = /BUDGET=\(([^)]*)\)/.exec(script) ?? [];
    const budget = Object.fromEntries(
      [...phases.matchAll(/\[([a-z-]+)\]=(\d+)/g)].map(([, name, seconds]) => [name, Number(seconds)]),
    );
    expect(Object.keys(budget)).toEqual(['lock', 'prepare', 'use', 'way-back']);
    const { installOnNode } = loadDocuments();
    const timeout = Number(installOnNode.mainSteps[0]?.inputs.timeoutSeconds);
    const kill = Number(/KILL=(\d+)/.exec(script)?.[1]);
    // A program that ignores SIGTERM outlives its phase by KILL; a second is lost to rounding.
    const longest = (names: string[]) =>
      names.reduce((sum, name) => sum + (budget[name] as number) + kill + 1, 0);
    const share = longest(['way-back']);
    expect(longest(['lock', 'prepare', 'use'])).toBeLessThanOrEqual(timeout - share);
    // The way back runs all that a rollout runs, and needs most of the time that this has.
    expect(budget['way-back']).toBeGreaterThan((budget.use as number) / 2);
  });

  test('every program that the script starts has a time-out above it', async () => {
    const noted = (real: string) => `
      parent=$(</proc/$PPID/comm)
      [[ $parent == timeout || '${real}' == */timeout || '${real}' == */sleep ]] || echo "$parent: ${real} $*" >>"$state/endless"
      exec '${real}' "$@"`;
    await node.addHook('a', 'openssl version >/dev/null');
    await wrapPrograms(node, noted);
    await node.install(first, 1, SERVICES);
    await node.install(first, 2, SERVICES);
    await node.tell('reload-faults', 'once\n');
    await node.run({ ...(await node.offer(second, 3)), ...SERVICES });
    // What a hook or a program that stands in starts is its own affair.
    expect((await node.told('endless')).filter((line) => !/^(a|real-[a-z]+): /.test(line))).toEqual([]);
  });

  test.each([
    [
      'a hook',
      () => node.addHook('a', 'sleep() { /bin/sleep 600; }; sleep & echo $! >>"$state/left"; exit 0'),
      {},
    ],
    [
      'a reload',
      () =>
        node.addCommand(
          'systemctl',
          '[ "$1" != reload ] || { /bin/sleep 600 & echo $! >>"$state/left"; }; [ "$1" != show ] || echo LoadState=loaded',
        ),
      { SSM_ReloadServices: 'app' },
    ],
    [
      'a configuration test',
      () => node.addCommand('nginx', '/bin/sleep 600 & echo $! >>"$state/left"'),
      { SSM_ReloadServices: 'nginx' },
    ],
  ])(
    '%s that leaves a process behind holds nothing: the streams of the agent close',
    async (_, plant, options) => {
      await plant();
      const run = await node.run({ ...(await node.offer(first)), ...options });
      await notePids();
      expect(run.result.Outcome).toBe('installed');
      expect(left.length).toBeGreaterThan(0);
      // It is alive, and holds neither the lock nor a stream of ours.
      for (const pid of left) process.kill(pid, 0);
      expect((await node.install(second, 2, { ...options })).result.Outcome).toBe('installed');
      await notePids();
    },
  );

  test.each([
    ['a hook', () => node.addHook('a', `trap '' TERM; /bin/sleep 600`), {}, 61, /did not end/],
    [
      'a configuration test',
      () => node.addCommand('nginx', `trap '' TERM; /bin/sleep 600`),
      { SSM_ReloadServices: 'nginx' },
      60,
      /did not end in time/,
    ],
    [
      'a reload',
      () =>
        node.addCommand(
          'systemctl',
          `echo "$*" >>"$state/systemctl"
           case $1 in
             show) echo LoadState=loaded ;;
             reload) [ "$(readlink "$root/etc/ssl/acm-export/web/current")" != "versions/$(<"$state/new")" ] || { trap '' TERM; /bin/sleep 600; } ;;
           esac`,
        ),
      { SSM_ReloadServices: 'app' },
      62,
      /did not end in time/,
    ],
  ])(
    '%s that neither ends nor heeds SIGTERM is killed, and the way back is taken',
    async (_, plant, options, code, message) => {
      await node.tell('new', `${second.value.Serial}-2`);
      await node.install(first, 1, options);
      await limit({ hook: 1, unit: 1, 'config-test': 1, KILL: 1 });
      await plant();
      const { result } = await node.run({ ...(await node.offer(second, 2)), ...options });
      expect(result).toMatchObject({ ExitCode: code, Error: expect.stringMatching(message) });
      expect(result.Outcome).toBe('rolled-back');
      expect(await node.servedFiles()).toBe(first.value.Serial);
    },
  );

  test('a program of the system that hangs is a fault, not a wait', async () => {
    await node.install(first);
    await limit({ sync: 1, KILL: 1 });
    await node.addCommand('sync', `[[ "$*" != */privkey.pem* ]] || exec /bin/sleep 600`);
    const { result } = await node.run(await node.offer(second, 2));
    expect(result).toMatchObject({ Outcome: 'failed', ExitCode: 50, Step: 'stage' });
    expect(await node.servedFiles()).toBe(first.value.Serial);
  });

  test('a phase that has used its time up ends what it still starts, and the way back has its own', async () => {
    await node.install(first);
    await limit({ use: 1, KILL: 1 });
    await node.addHook(
      'a',
      '[ "$(readlink "$RENEWED_LINEAGE/../../current")" = "versions/$(<"$state/old")" ] || exec /bin/sleep 600',
    );
    await node.tell('old', `${first.value.Serial}-1`);
    const { result } = await node.run(await node.offer(second, 2));
    expect(result).toMatchObject({ Outcome: 'rolled-back', ExitCode: 61 });
    expect(await node.servedFiles()).toBe(first.value.Serial);
  });

  test('output without end is cut, and a key in it is not shown', async () => {
    await node.addHook('a', 'for i in {1..3000}; do echo "line $i of a talkative hook"; done');
    await node.addHook('b', 'cat "$RENEWED_LINEAGE/privkey.pem"');
    const { stderr } = await node.install(first); // Every run is searched for secrets.
    expect(stderr.length).toBeLessThan(8000);
    expect(stderr).toContain('line 1 of');
    expect(stderr).toContain('not shown');
  });

  test('a hook that prints without end fills nothing, neither does what it leaves behind', async () => {
    await node.addHook('a', '( while echo flood; do :; done ) & echo $! >>"$state/left"; echo shown; exit 0');
    const { stderr, result } = await node.run(await node.offer(first));
    await notePids();
    expect(result.Outcome).toBe('installed');
    expect(stderr.length).toBeLessThan(8000);
    expect(await readdir(node.path('run/acm-export'))).toEqual(['aws-error', 'install.lock']);
  });

  test.each(['aws', 'systemctl'])(
    'what %s leaves behind holds neither the run nor the streams of the agent',
    async (name) => {
      const real = await readFile(path.join(node.bin, name), 'utf8');
      await node.addCommand(name, `/bin/sleep 600 & echo $! >>"$state/left"\n${real}`);
      const { result } = await node.run({ ...(await node.offer(first)), SSM_ReloadServices: 'app' });
      await notePids();
      expect(result.Outcome).toBe('installed');
      for (const pid of left) process.kill(pid, 0); // Alive.
      expect(left.length).toBeGreaterThan(0);
    },
  );

  test('a journal that does not read stops nothing', async () => {
    await node.addCommand('logger', 'exec /bin/sleep 600');
    for (let hook = 10; hook < 30; hook++) {
      await node.addHook(`h${hook}`, `for i in {1..20}; do printf '%s %0280d\\n' "$i" 0; done`);
    }
    const { child, ended } = node.start(await node.offer(first));
    expect((await ended).result.Outcome).toBe('installed');
    expect(child.exitCode).toBe(0);
  });

  test('what another process holds of the first edition is waited for a while only', async () => {
    const folder = node.path('run/acm-export');
    await mkdir(folder, { recursive: true, mode: 0o755 });
    await writeFile(path.join(folder, 'lock'), '');
    const holder = spawn(programOf('flock') as string, [path.join(folder, 'lock'), '/bin/sleep', '600'], {
      stdio: 'ignore',
      detached: true,
    });
    try {
      await limit({ file: 1 });
      expect((await node.install(first)).result.Outcome).toBe('installed');
    } finally {
      process.kill(-(holder.pid as number), 'SIGKILL');
    }
  });
});
