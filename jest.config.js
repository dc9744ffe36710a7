import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';

// ESM throughout (middy 7 is ESM only), TypeScript by esbuild: types are checked by `make lint`.
const common = {
  testEnvironment: 'node',
  // Not in the folder for temporary files, where it would stay behind.
  cacheDirectory: '<rootDir>/node_modules/.cache/jest',
  testMatch: ['**/*.test.ts'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '\\.ts$': '<rootDir>/tests/esbuild-transform.js' },
  // Before any import: functions make their logger when they are imported.
  setupFiles: ['<rootDir>/local/quiet.ts'],
};

// By folders, not by patterns: a pattern with the project's path in it fails where the path holds a `$`.
const folders = readdirSync(new URL('tests', import.meta.url), { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && !['long', 'real'].includes(entry.name))
  .map(({ name }) => `<rootDir>/tests/${name}`);

export default {
  projects: [
    // What needs only the programs that the README names: `make test`.
    { ...common, displayName: 'bare', roots: folders },
    // What takes longer than the rest: `make test-all` runs these too.
    { ...common, displayName: 'long', roots: ['<rootDir>/tests/long'] },
    // What needs other programs: `make test-all` runs these too.
    { ...common, displayName: 'real', roots: ['<rootDir>/tests/real'] },
  ],
  globalSetup: '<rootDir>/tests/support/own-folder.ts',
  reporters: ['default', '<rootDir>/tests/support/left-out.ts'],
  // jest leaves one core idle by default, which is half of two. Many tests wait for programs, timers and the disk, which
  // leaves room for half as many workers again. A number, as jest reads '150%' as 150 workers.
  maxWorkers: Math.ceil(availableParallelism() * 1.5),
  // Only a test that hangs gets there: machines are slow.
  testTimeout: 20 * 60_000,
};
