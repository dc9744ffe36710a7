import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from '@jest/globals';
import { leakScene } from '../security/leak-scene.ts';
import { needs } from '../support/needs.ts';

needs('strace').describe('of the processes that deliver a certificate', () => {
  const scene = leakScene({ strace: true });
  const inProcesses = () =>
    scene()
      .search()
      .leaks.filter(({ where }) => where === 'argv' || where === 'environment');

  test('no process on a node gets a key or passphrase as an argument or in its environment', () => {
    const { work } = scene();
    const started = readdirSync(work).filter((name) => name.startsWith('processes.'));
    const programs = started.flatMap(
      (name) => readFileSync(path.join(work, name), 'latin1').match(/execve\(.*?(?=\])/g) ?? [],
    );
    expect(programs.length).toBeGreaterThan(100);
    expect(programs.filter((program) => program.endsWith('look.sh"')).length).toBeGreaterThan(0);
    expect(inProcesses()).toEqual([]);
  });

  test('one that gets it is found', async () => {
    await scene().plantLeaks();
    const found = inProcesses();
    for (const where of ['argv', 'environment']) {
      expect(found).toContainEqual(expect.objectContaining({ where, kind: 'passphrase' }));
    }
  });
});
