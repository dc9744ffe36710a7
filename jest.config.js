// ESM throughout (middy 7 is ESM only), TypeScript by esbuild: types are checked by `make lint`.
export default {
  testEnvironment: 'node',
  roots: ['<rootDir>/tests'],
  testMatch: ['**/*.test.ts'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '\\.ts$': '<rootDir>/tests/esbuild-transform.js' },
  // Before any import: functions make their logger when they are imported.
  setupFiles: ['<rootDir>/tests/functions/support/quiet.ts'],
  // jest leaves one core idle by default, which is half of two.
  maxWorkers: '100%',
  testTimeout: 60_000,
};
