// Import time of each function's built code, as a ratio to an empty handler and to a build without the layer.
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { buildWithoutLayer, functionNames } from '../scripts/build.ts';
import { median, type Table } from './report.ts';

const root = path.dirname(import.meta.dirname);

/** Fresh processes for each figure: enough for a steady median on a shared machine. */
const PROCESSES = 20;

/** Handlers read their environment when they are imported; the values do not matter here. Lambda keeps nothing compiled. */
const ENVIRONMENT = {
  AWS_REGION: 'eu-west-1',
  AWS_LAMBDA_FUNCTION_NAME: 'bench',
  AWS_LAMBDA_FUNCTION_MEMORY_SIZE: '256',
  ...Object.fromEntries(
    [
      'PREFIX',
      'INVENTORY_TABLE',
      'IDEMPOTENCY_TABLE',
      'STATE_MACHINE_ARN',
      'ROLLOUTS_ENABLED',
      'NOTIFICATION_TOPIC_ARN',
      'EXTERNAL_ID',
      'ACCOUNT_ID',
      'PARTITION',
      'TARGET_ACCOUNTS',
      'TARGET_TAG_KEYS',
      'SECRET_READER_ROLES',
      'REQUIRE_CERTIFICATE_TAG',
      'ALLOW_PRIVATE_CERTIFICATES',
      'MAX_DEPLOYMENTS',
      'NODE_RETENTION_DAYS',
      'INSTALLATION_TIMEOUT_MINUTES',
    ].map((name) => [name, '1']),
  ),
};

/** Maps /opt/ to the built layer, as Lambda unpacks it there; prints the milliseconds that the import took. */
const PROBE = `
import { registerHooks } from 'node:module';
const layer = process.argv[2];
registerHooks({
  resolve: (specifier, context, next) =>
    specifier.startsWith('/opt/') ? { url: layer + specifier.slice('/opt'.length), shortCircuit: true } : next(specifier, context),
});
const start = performance.now();
await import(process.argv[3]);
console.log(performance.now() - start);
process.exit(0);
`;

export async function measureImports(): Promise<Table> {
  const folder = await mkdtemp(path.join(tmpdir(), 'acm-export-bench-'));
  try {
    const probe = path.join(folder, 'probe.mjs');
    const empty = path.join(folder, 'empty.mjs');
    await writeFile(probe, PROBE);
    await writeFile(empty, 'export const handler = async () => ({});\n');
    const names = await functionNames();
    await Promise.all(names.map((name) => buildWithoutLayer(name, path.join(folder, name))));
    const files = new Map([['empty handler', empty]]);
    for (const name of names) {
      files.set(name, path.join(root, 'build/functions', name, 'handler.mjs'));
      files.set(`${name} without layer`, path.join(folder, name, 'handler.mjs'));
    }
    const times = measureInTurn(probe, files);
    const time = (name: string) => median(times.get(name) ?? []);
    // Round by round: a busy moment falls on both sides of a ratio.
    const ratio = (name: string, other: string) => {
      const others = times.get(other) ?? [];
      return median((times.get(name) ?? []).map((value, round) => value / (others[round] ?? Number.NaN)));
    };
    return {
      title: `Import of each function, median of ${PROCESSES} fresh processes, Node ${process.versions.node}`,
      columns: ['function', 'ms', 'ratio to an empty handler', 'ratio to the build without layer'],
      rows: names.map((name) => [
        name,
        time(name).toFixed(1),
        ratio(name, 'empty handler').toFixed(0),
        ratio(name, `${name} without layer`).toFixed(2),
      ]),
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Round by round, so that a busy moment of the machine falls on all alike. */
function measureInTurn(probe: string, files: Map<string, string>): Map<string, number[]> {
  const layer = pathToFileURL(path.join(root, 'build/layer')).href;
  const times = new Map<string, number[]>();
  for (let round = 0; round < PROCESSES; round += 1) {
    for (const [name, file] of files) {
      const { stdout, stderr, status } = spawnSync(
        process.execPath,
        [probe, layer, pathToFileURL(file).href],
        { env: { ...process.env, ...ENVIRONMENT, NODE_DISABLE_COMPILE_CACHE: '1' }, encoding: 'utf8' },
      );
      if (status !== 0) {
        throw new Error(`${name} cannot be imported: ${stderr}`);
      }
      times.set(name, [...(times.get(name) ?? []), Number(stdout)]);
    }
  }
  return times;
}
