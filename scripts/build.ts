// Builds the layer, the functions and the command, for `sam build`, the local cloud, tests and bench alike.
//
//   node scripts/build.ts                          everything, into build/
//   node scripts/build.ts <LogicalId> <directory>  one artefact of template.yaml, for SAM's makefile method
import { realpathSync } from 'node:fs';
import { chmod, glob, mkdir, readFile, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import type { BuildOptions, Plugin } from 'esbuild';
import { isUpToDate, recordBuild } from './build-record.ts';

const root = path.dirname(import.meta.dirname);
const layerSource = path.join(root, 'layers/runtime');

/** Where Lambda unpacks a layer's modules. */
const LAYER_MODULES = '/opt/nodejs/node_modules';

/** Packages that must come from the layer: a function that bundled one would carry it twice. */
const LAYER_ONLY = /^@(aws-sdk|aws-lambda-powertools|middy|smithy)\//;

/** What decides what is built, beside the files that esbuild reads: these scripts, its settings and the packages. */
const SETTINGS = [
  'scripts/build.ts',
  'scripts/build-record.ts',
  'tsconfig.json',
  'package.json',
  'package-lock.json',
];

const common = {
  absWorkingDir: root,
  bundle: true,
  format: 'esm',
  platform: 'node',
  // The SDK's ES modules, of which esbuild leaves out what is not used; by default it takes CommonJS, which it cannot.
  mainFields: ['module', 'main'],
  target: 'node24',
  minify: true,
  legalComments: 'none',
  logLevel: 'warning',
  outExtension: { '.js': '.mjs' },
} satisfies BuildOptions;

/** Resolves to the files that were read, below the root. */
async function build(options: BuildOptions): Promise<string[]> {
  // Loaded here: where nothing has changed, that would take longer than all the rest.
  const esbuild = await import('esbuild');
  const { metafile } = await esbuild.build({ ...common, ...options, metafile: true });
  // A module that a package leaves out for Node stands there as `(disabled):<file>`.
  return Object.keys(metafile.inputs)
    .filter((input) => !input.startsWith(BY_REQUIRE))
    .map((input) => input.replace(/^\(disabled\):/, ''));
}

/** The X-Ray SDK is CommonJS and requires modules of Node, which ESM output needs a `require` for. */
const REQUIRE = {
  js: "import { createRequire as $createRequire } from 'node:module';const require = $createRequire(import.meta.url);",
};

/** The packages of the layer: each file below layers/runtime is named like the import that it serves. */
async function layerPackages(): Promise<string[]> {
  const files = await Array.fromAsync(glob('**/*.ts', { cwd: layerSource }));
  return files.map((file) => file.slice(0, -'.ts'.length)).sort();
}

/** Builds the layer's modules into `directory`/nodejs/node_modules. */
async function buildLayer(directory: string): Promise<string[]> {
  const packages = await layerPackages();
  return build({
    entryPoints: packages.map((name) => ({ in: path.join(layerSource, `${name}.ts`), out: `${name}/index` })),
    outdir: path.join(directory, 'nodejs/node_modules'),
    // What the entries share, the core of the SDK above all, stands in common chunks.
    splitting: true,
    chunkNames: 'shared/[hash]',
    plugins: [httpByRequire],
    banner: REQUIRE,
  });
}

const BY_REQUIRE = 'by-require';

/**
 * An ES module that imports node:http makes Node load undici, for the sake of `http.WebSocket`, which nothing here uses:
 * that is a fifth of what the import of a function takes. `require` loads undici only when that is read.
 */
const httpByRequire: Plugin = {
  name: 'http-by-require',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^(node:)?http$/ }, ({ kind }) =>
      kind === 'require-call'
        ? { path: 'node:http', external: true }
        : { path: 'node:http', namespace: BY_REQUIRE },
    );
    onLoad({ filter: /./, namespace: BY_REQUIRE }, () => ({
      contents: "module.exports = require('node:http');",
    }));
  },
};

/**
 * Lambda finds a layer's ES modules only by the path: bare imports would fall back to the SDK that comes with the
 * runtime, in a version of its own.
 */
function fromLayer(packages: string[]): Plugin {
  return {
    name: 'from-layer',
    setup({ onResolve }) {
      onResolve({ filter: LAYER_ONLY }, ({ path: name, importer }) =>
        packages.includes(name)
          ? // Without side effects: what a function does not use of it is not even loaded.
            { path: `${LAYER_MODULES}/${name}/index.mjs`, external: true, sideEffects: false }
          : { errors: [{ text: `${name} is not in layers/runtime (imported by ${importer})` }] },
      );
    },
  };
}

/** Proves that the layer exports every name that a function imports; writes nothing. */
function toBuiltLayer(layerDirectory: string): Plugin {
  return {
    name: 'to-built-layer',
    setup({ onResolve }) {
      onResolve({ filter: LAYER_ONLY }, ({ path: name }) => ({
        path: path.join(layerDirectory, 'nodejs/node_modules', name, 'index.mjs'),
      }));
    },
  };
}

/** Builds one function, `functions/<name>/handler.ts`, to `directory`/handler.mjs. */
async function buildFunction(name: string, directory: string, packages: string[]): Promise<string[]> {
  return build({
    entryPoints: [path.join(root, 'functions', name, 'handler.ts')],
    outdir: directory,
    plugins: [fromLayer(packages)],
    sourcemap: 'linked',
    sourcesContent: false,
  });
}

/** Builds one function with everything in it: what the layer is measured against. */
export async function buildWithoutLayer(name: string, directory: string): Promise<void> {
  await build({
    entryPoints: [path.join(root, 'functions', name, 'handler.ts')],
    outdir: directory,
    banner: REQUIRE,
  });
}

/** Names of the functions: the folders that hold a handler. */
export async function functionNames(): Promise<string[]> {
  const handlers = await Array.fromAsync(glob('*/handler.ts', { cwd: path.join(root, 'functions') }));
  return handlers.map((file) => path.dirname(file)).sort();
}

/** ExportCertificateFunction → export-certificate */
function functionNameOf(logicalId: string): string {
  const words = logicalId.replace(/Function$/, '').match(/[A-Z][a-z0-9]*/g) ?? [];
  return words.join('-').toLowerCase();
}

/** The command acm-export: one file that needs nothing but Node 22. */
async function buildCommand(directory: string): Promise<string[]> {
  return build({
    entryPoints: { 'acm-export': path.join(root, 'cli/main.ts') },
    outdir: directory,
    banner: REQUIRE,
    target: 'node22',
  });
}

async function buildAll(directory: string): Promise<void> {
  const [names, packages] = await Promise.all([functionNames(), layerPackages()]);
  const entries = [...names, ...packages, 'acm-export'];
  const recordFile = path.join(directory, '.record.json');
  if (isUpToDate(root, recordFile, entries)) return;

  const started = Date.now();
  // A local cloud that runs meanwhile goes on reading whole files: only what has changed is replaced.
  const fresh = path.join(directory, '.new');
  await rm(fresh, { recursive: true, force: true });
  const layerDirectory = path.join(fresh, 'layer');
  const layerInputs = await buildLayer(layerDirectory);
  const inputs = await Promise.all(
    names.map(async (name) => {
      const read = await buildFunction(name, path.join(fresh, 'functions', name), packages);
      await build({
        entryPoints: [path.join(root, 'functions', name, 'handler.ts')],
        plugins: [toBuiltLayer(layerDirectory)],
        outdir: fresh,
        write: false,
      });
      return read;
    }),
  );
  const commandInputs = await buildCommand(path.join(fresh, 'cli'));
  await chmod(path.join(fresh, 'cli/acm-export.mjs'), 0o755);
  const written = await replaceBy(fresh, directory);
  recordBuild(root, recordFile, {
    entries,
    read: [...new Set([...SETTINGS, ...layerInputs, ...commandInputs, ...inputs.flat()])],
    written: written.map((file) => path.relative(root, path.join(directory, file))),
    started,
  });
}

/** Resolves to the files that are there now. */
async function replaceBy(fresh: string, directory: string): Promise<string[]> {
  const filesOf = (folder: string) => Array.fromAsync(glob('{cli,functions,layer}/**/*.*', { cwd: folder }));
  const [wanted, found] = [await filesOf(fresh), await filesOf(directory)];
  for (const file of wanted) {
    const [from, to] = [path.join(fresh, file), path.join(directory, file)];
    const before = await readFile(to).catch(() => undefined);
    if (before?.equals(await readFile(from))) continue;
    await mkdir(path.dirname(to), { recursive: true });
    await rename(from, to);
  }
  for (const file of found.filter((file) => !wanted.includes(file))) await rm(path.join(directory, file));
  await rm(fresh, { recursive: true });
  return wanted;
}

/** Not `import.meta.main`, which early releases of Node 24 do not have. */
const isMain = process.argv[1] !== undefined && realpathSync(process.argv[1]) === import.meta.filename;

if (isMain) {
  const [logicalId, directory] = process.argv.slice(2);
  if (!logicalId || !directory) {
    await buildAll(path.join(root, 'build'));
  } else if (logicalId === 'RuntimeLayer') {
    await buildLayer(directory);
  } else {
    await buildFunction(functionNameOf(logicalId), directory, await layerPackages());
  }
}
