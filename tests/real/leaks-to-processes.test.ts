import { beforeAll, describe, expect, test } from '@jest/globals';
import { type LeakScene, leakScene } from '../security/leak-scene.ts';
import { needs } from '../support/needs.ts';

const isOfProcess = ({ where }: { where: string }) => where === 'argv' || where === 'environment';

needs('strace').describe('of the processes that deliver a certificate', () => {
  const scene = leakScene({ strace: true });
  let found: ReturnType<LeakScene['search']>;

  beforeAll(() => {
    found = scene().search();
  });

  test('no process on a node gets a key or passphrase as an argument or in its environment', () => {
    const { started } = scene().trace();
    expect(started.length).toBeGreaterThan(100);
    expect(started.filter(({ argv }) => argv.endsWith('look.sh"]')).length).toBeGreaterThan(0);
    expect(found.leaks.filter(isOfProcess)).toEqual([]);
  });

  test('no process on a node writes a key or passphrase into another file than the key file, even if it deletes the file again', () => {
    expect(scene().trace().unseen).toEqual([]);
    // A dry run installs into copies of the node's folders, in memory that goes away with it.
    const keyFile =
      /\/nodes\/m?i-[0-9a-f]{17}\/(etc|run\/acm-export\/dry-run)\/ssl\/acm-export\/(web|far)\/versions\/[0-9a-f]+-\d+\/(privkey|combined)\.pem$/;
    expect(found.written.filter(({ where, kind }) => !keyFile.test(where) || kind === 'passphrase')).toEqual(
      [],
    );
    expect(new Set(found.written.map(({ kind }) => kind))).toEqual(new Set(['key', 'encrypted key']));
  });

  describe('a planted leak is found', () => {
    let planted: typeof found;

    beforeAll(async () => {
      await scene().plantLeaks();
      planted = scene().search();
    });

    test.each(['argv', 'environment'])('in what a process of a node gets: %s', (where) => {
      expect(planted.leaks).toContainEqual(expect.objectContaining({ where, kind: 'passphrase' }));
    });

    test.each([
      ['passphrase', 'passphrase'],
      ['key, as DER', 'key'],
      ['copy of the key file', 'key'],
    ])('in a file of /run/acm-export that is deleted again: a %s', (what, kind) => {
      const where = expect.stringMatching(`/run/acm-export/short-lived ${what}$`);
      expect(planted.written).toContainEqual(expect.objectContaining({ where, kind }));
      expect(planted.files.filter(({ path }) => path.includes('/short-lived'))).toEqual([]);
    });
  });
});
