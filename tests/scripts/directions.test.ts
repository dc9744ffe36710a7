import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { ROOT } from '../templates/stacks.ts';

/** Who may not import what, as `biome.json` says. */
const REFUSED: [string, string][] = [
  ['functions/domain', '@aws-sdk/client-ssm'],
  ['functions/domain', '@aws-lambda-powertools/logger'],
  ['functions/domain', 'node:timers/promises'],
  ['functions/domain', '../inventory/inventory.ts'],
  ['functions/domain', '../runtime/clock.ts'],
  ['functions/runtime', '../domain/next.ts'],
  ['functions/inventory', '../rollouts/advance.ts'],
  ['functions/dns', '../inventory/inventory.ts'],
  ['functions/dns', '../target-account/session.ts'],
  ['functions/inventory', '../dns/resolver.ts'],
  ['functions/domain', 'node:dns/promises'],
  ['functions/target-account', '../inventory/inventory.ts'],
  ['functions/rollouts', '../reconcile/reconcile.ts'],
  ['functions/reconcile', '../rollout-ended/rollout-ended.ts'],
  ...['local', 'packages', 'tests', 'bench', 'scripts', 'layers'].map((folder): [string, string] => [
    'functions/reconcile',
    `../../${folder}/any.ts`,
  ]),
  ...['reconcile', 'inventory', 'target-account', 'runtime', 'domain', 'rollouts', 'dns'].flatMap(
    (name): [string, string][] => [
      [`functions/${name}`, 'local-cloud'],
      [`functions/${name}`, 'local-cloud/iam'],
    ],
  ),
  ['functions/inventory', './x/../../rollouts/advance.ts'],
  ['functions/reconcile', './x/../../rollout-ended/rollout-ended.ts'],
  ...['runtime/clock.ts', 'deployments-api/request.ts', 'inventory/table.ts'].map(
    (file): [string, string] => ['cli', `../functions/${file}`],
  ),
  ...[
    'local/cloud.ts',
    'tests/support/until.ts',
    'scripts/build.ts',
    'packages/local-cloud/src/cloud.ts',
  ].flatMap((file): [string, string][] => [
    ['cli', `../${file}`],
    ['cli/commands', `../../${file}`],
  ]),
  ['cli/doctor', 'local-cloud'],
  ['cli/doctor', '../../functions/target-account/nodes.ts'],
  ['functions/reconcile', '../../cli/api.ts'],
  ['layers/runtime', 'local-cloud'],
  ['layers/runtime', '../../local/cloud.ts'],
  ['layers/runtime', '../../functions/domain/next.ts'],
  ['bench', '../tests/support/until.ts'],
  ['tests/functions', '../../bench/world.ts'],
  ['packages/local-cloud', '../other/any.ts'],
  ['packages/local-cloud/services', '../../../functions/domain/next.ts'],
  ['packages/local-cloud/tests/services', '../../../../local/cloud.ts'],
];

const ALLOWED: [string, string][] = [
  ['functions/domain', './next.ts'],
  ['functions/domain', 'zod'],
  ['functions/domain', 'node:url'],
  ['functions/dns', '../domain/domain-names.ts'],
  ['functions/reconcile', '../dns/missing-records.ts'],
  ['functions/inventory', '../domain/next.ts'],
  ['functions/reconcile', '../rollouts/advance.ts'],
  ['cli', '../functions/domain/order.ts'],
  ['cli/doctor', '../../functions/domain/nodes.ts'],
  ['cli/commands', '../doctor/checks.ts'],
  ['cli', '@aws-sdk/client-ec2'],
  ['layers/runtime', '@aws-sdk/client-ssm'],
  ['bench', '../local/cloud.ts'],
  ['tests/functions', '../../functions/domain/next.ts'],
  ['packages/local-cloud/services', '../iam/evaluate.ts'],
  ['packages/local-cloud/tests/services', '../../services/acm.ts'],
];

let folder: string;
let refused: Set<string>;
const cases = [...REFUSED, ...ALLOWED].map(([from, to], index) => ({
  from,
  to,
  file: `${from}/case-${index}.ts`,
}));

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'directions-'));
  copyFileSync(path.join(ROOT, 'biome.json'), path.join(folder, 'biome.json'));
  for (const { to, file } of cases) {
    mkdirSync(path.join(folder, path.dirname(file)), { recursive: true });
    writeFileSync(path.join(folder, file), `import type { A } from '${to}';\n\nexport type B = A;\n`);
  }
  const biome = path.join(ROOT, 'node_modules/.bin/biome');
  const options = ['--only=style/noRestrictedImports', '--vcs-enabled=false', '--max-diagnostics=none'];
  const { stdout } = spawnSync(biome, ['lint', ...options, '--reporter=json', '.'], {
    cwd: folder,
    encoding: 'utf8',
  });
  const { diagnostics } = JSON.parse(stdout) as { diagnostics: { location: { path: string } }[] };
  refused = new Set(diagnostics.map(({ location }) => location.path));
});
afterAll(() => rmSync(folder, { recursive: true }));

test.each(cases.slice(0, REFUSED.length))('$from imports nothing like $to', ({ file }) => {
  expect(refused).toContain(file);
});

test.each(cases.slice(REFUSED.length))('$from may import $to', ({ file }) => {
  expect(refused).not.toContain(file);
});
