import { transformSync } from 'esbuild';

/** The whole of a jest transform that ES modules in TypeScript need. */
export default {
  process: (source, path) =>
    transformSync(source, {
      loader: 'ts',
      format: 'esm',
      target: 'node24',
      sourcemap: 'inline',
      sourcefile: path,
    }),
};
