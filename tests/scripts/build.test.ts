import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from '@jest/globals';
import { functionNames } from '../../scripts/build.ts';
import { ROOT } from '../templates/stacks.ts';

/** Imports built functions, with /opt where Lambda unpacks the layer, and lists the modules of Node that this loaded. */
const IMPORT = `
const { registerHooks } = require('node:module');
const [build, ...names] = process.argv.slice(1);
registerHooks({
  resolve: (specifier, context, next) =>
    next(specifier.startsWith('/opt/') ? 'file://' + build + '/layer' + specifier.slice(4) : specifier, context),
});
Promise.all(names.map((name) => import(build + '/functions/' + name + '/handler.mjs'))).then(
  () => console.log(JSON.stringify(process.moduleLoadList)));
`;

test('no function loads undici when it is imported: that would be a fifth of its cold start', async () => {
  const names = await functionNames();
  const words = ['-e', IMPORT, path.join(ROOT, 'build'), ...names];
  const { stdout } = await promisify(execFile)(process.execPath, words);
  const loaded = JSON.parse(stdout) as string[];
  expect(loaded).toContain('NativeModule https');
  expect(loaded.filter((module) => module.includes('undici'))).toEqual([]);
});
