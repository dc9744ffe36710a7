import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from '@jest/globals';
import { createCloud } from '../src/cloud.ts';

const readme = await readFile(join(import.meta.dirname, '../README.md'), 'utf8');

test('the example prints what the README says', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'example-'));
  try {
    const blocks = [...readme.matchAll(/^`([\w.-]+)`:\n\n```\w+\n(.*?)^```$/gms)];
    for (const [, name = '', text = ''] of blocks) await writeFile(join(folder, name), text);
    const above = createRequire(import.meta.url).resolve.paths('local-cloud') ?? [];
    const modules = above.find((path) => existsSync(join(path, 'local-cloud')));
    await symlink(modules ?? '', join(folder, 'node_modules'));
    const { stdout } = await promisify(execFile)(process.execPath, ['try.ts'], { cwd: folder });
    const [, printed] = /^`node try\.ts` prints:\n\n```text\n(.*?)^```$/ms.exec(readme) ?? [];
    expect(stdout.replaceAll(/ +$/gm, '')).toBe(printed);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('the table of operations has every service and operation, and no other', async () => {
  const cloud = await createCloud();
  const [, rows = ''] = /^\| Service \| Operations \|\n\| --- \| --- \|\n(.*?)\n\n/ms.exec(readme) ?? [];
  const modelled = Object.entries(cloud.operations()).sort(([a], [b]) => (a < b ? -1 : 1));
  expect(rows.split('\n')).toEqual(
    modelled.map(([service, names]) => `| ${service} | ${names.toSorted().join(', ')} |`),
  );
  await cloud.stop();
});
