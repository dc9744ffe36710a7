import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { createChain } from '../ssm-documents/certificates.ts';
import { needs } from '../support/needs.ts';
import { isHere, wasNotHere } from '../support/tools.ts';
import { type Exercise, exercise, RENEWALS } from './debian/exercise.ts';
import { makeRelease, RELEASES } from './debian/release.ts';
import { SERVERS } from './debian/servers.ts';
import { renderTestedSystems } from './debian/tested-systems.ts';

// The deployed script at the real paths of real systems, with the servers' own packages and units.

const PAGE = fileURLToPath(new URL('../../docs/tested-systems.md', import.meta.url));

const isPossible = isHere('root') && isHere('debootstrap');
/** Before the tests are named, since those of a release that cannot be had are left out. All at once: they wait a lot. */
const releases = await Promise.all(
  RELEASES.map(async (codename) => {
    if (!isPossible) return { codename, folder: '' };
    return makeRelease(codename).then(
      (folder) => ({ codename, folder }),
      (fault: Error) => ({ codename, fault }),
    );
  }),
);
const faults = releases.flatMap((release) => ('fault' in release ? [release.fault.message] : []));
if (faults.length > 0) {
  console.warn(faults.join('\n'));
  wasNotHere('mirror');
}

const chain = createChain();
const systems: Promise<Exercise>[][] = [];

needs('root', 'debootstrap').describe('Debian', () => {
  for (const release of releases) {
    if ('fault' in release) needs('mirror')(`${release.codename} was tried`, () => undefined);
    else describe(release.codename, () => testRelease(release));
  }

  needs('mirror')('docs/tested-systems.md names what was run', async () => {
    expect(systems).toHaveLength(RELEASES.length);
    const page = renderTestedSystems(await Promise.all(systems.map((exercises) => Promise.all(exercises))));
    const committed = await readFile(PAGE, 'utf8').catch(() => '');
    if (page !== committed) await writeFile(PAGE, page); // To be committed.
    expect(committed).toBe(page);
  });
});

function testRelease(release: { codename: (typeof RELEASES)[number]; folder: string }): void {
  const exercises = new Map<string, Promise<Exercise>>();
  beforeAll(async () => {
    const root = await chain;
    for (const server of SERVERS) exercises.set(server.name, exercise(release, server, root));
    systems.push([...exercises.values()]);
    await Promise.allSettled(exercises.values()); // The tests report what went wrong.
  });
  const exerciseOf = (name: string) => exercises.get(name) as Promise<Exercise>;

  test.each(SERVERS)('$name: a client gets the first certificate and every renewal', async ({ name }) => {
    const { before, first, renewals, otherName } = await exerciseOf(name);
    expect(renewals).toHaveLength(RENEWALS);
    for (const { Outcome, ExitCode, delivered, served, log } of [first, ...renewals]) {
      expect({ Outcome, ExitCode, served, log }).toEqual({
        Outcome: 'installed',
        ExitCode: 0,
        served: delivered,
        log,
      });
    }
    // The same client refuses what it cannot verify.
    expect(before.exitCode).not.toBe(0);
    expect(otherName.exitCode).not.toBe(0);
  });

  test.each(SERVERS)('$name: nothing changes by a repeat or by a dry run', async ({ name }) => {
    const { renewals, unchanged, dryRun } = await exerciseOf(name);
    const { served, current } = renewals.at(-1) as Exercise['first'];
    expect(unchanged).toMatchObject({ Outcome: 'unchanged', ExitCode: 0, served, current });
    expect(dryRun).toMatchObject({ Outcome: 'dry-run-passed', ExitCode: 0, served, current });
  });

  test.each(SERVERS)('$name: goes back when another unit refuses what it serves', async ({ name }) => {
    const { renewals, refused, seenAtGate, restarted } = await exerciseOf(name);
    const { served, current } = renewals.at(-1) as Exercise['first'];
    expect(refused).toMatchObject({ Outcome: 'rolled-back', ExitCode: 62, served, current });
    expect(seenAtGate).toEqual([refused.delivered, served]);
    expect(restarted).toBe(served);
  });

  const breakable = SERVERS.filter(({ broken }) => broken);
  test.each(breakable)('$name: a configuration that breaks leaves the old certificate', async (server) => {
    const { renewals, broken } = await exerciseOf(server.name);
    const { served, current } = renewals.at(-1) as Exercise['first'];
    expect(broken).toMatchObject({ ...server.broken?.result, served, current });
  });
}
