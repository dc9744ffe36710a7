import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';

// Each worker is one process of bare Node, which reads TypeScript itself. Test files share what they import: in a virtual
// machine for each file, as jest has it by default, imports take longer than most tests.
const common = {
  runner: ['jest-light-runner', { runtime: 'child_process' }],
  // Not in the folder for temporary files, where it would stay behind.
  cacheDirectory: '<rootDir>/node_modules/.cache/jest',
  transform: {},
  testMatch: ['**/*.test.ts'],
  setupFiles: ['<rootDir>/tests/support/set-up.ts'],
};

// By folders, not by patterns: a pattern with the project's path in it fails where the path holds a `$`.
const folders = readdirSync(new URL('tests', import.meta.url), { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && !['long', 'real'].includes(entry.name))
  .map(({ name }) => `<rootDir>/tests/${name}`)
  .concat('<rootDir>/packages/local-cloud/tests');

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
};
