import { globSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { ROOT } from '../templates/stacks.ts';

interface Step {
  uses?: string;
  run?: string;
  with?: Record<string, unknown>;
  'working-directory'?: string;
}
interface Workflow {
  on: Record<string, unknown>;
  permissions: unknown;
  jobs: Record<string, { permissions?: unknown; 'timeout-minutes'?: number; steps: Step[] }>;
}

const files = globSync('.github/workflows/*', { cwd: ROOT });
const read = (file: string) => readFileSync(path.join(ROOT, file), 'utf8');

test('the forge runs what a maintainer runs', () => {
  const { jobs } = parse(read('.github/workflows/ci.yml')) as Workflow;
  const programs = Object.values(jobs).flatMap(({ steps }) => steps.flatMap(({ run }) => run ?? []));
  expect(programs).toEqual(['.ci/run']);
  expect(statSync(path.join(ROOT, '.ci/run')).mode & 0o111).toBe(0o111);
});

describe.each(files)('%s', (file) => {
  const { on, permissions, jobs } = parse(read(file)) as Workflow;
  const steps = Object.values(jobs).flatMap((job) => job.steps);

  test('pins each action by its commit, with the version for people', () => {
    const used = steps.filter(({ uses }) => uses !== undefined);
    const pinned = [
      ...read(file).matchAll(/^ *(?:- )?uses: [\w-]+\/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/gm),
    ];
    expect(pinned).toHaveLength(used.length);
  });

  test('gives the code of a pull request nothing that writes, and no secret', () => {
    expect(permissions).toEqual({ contents: 'read' });
    expect(Object.values(jobs).filter((job) => job.permissions !== undefined)).toEqual([]);
    expect(Object.keys(on)).not.toEqual(expect.arrayContaining(['pull_request_target']));
    expect(Object.keys(on)).not.toEqual(expect.arrayContaining(['workflow_run']));
    expect(read(file)).not.toMatch(/\bsecrets\b|github\.token/);
    const checkouts = steps.filter(({ uses }) => uses?.startsWith('actions/checkout@'));
    expect(checkouts.map((step) => step.with?.['persist-credentials'])).toEqual(checkouts.map(() => false));
  });

  test('pastes nothing of an event into a shell, and ends', () => {
    expect(steps.filter(({ run }) => run?.includes('${{'))).toEqual([]);
    for (const job of Object.values(jobs)) expect(job['timeout-minutes']).toBeLessThanOrEqual(90);
  });
});
