// Writes build/sbom.json: every package that package-lock.json pins, as CycloneDX. Asks no registry.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { sbomFaults, unmarked } from './dependencies.ts';

const root = path.dirname(import.meta.dirname);

// Not --omit=dev: npm then also leaves out what is delivered, but is a development dependency of a workspace. What is
// for development only is marked.
const { status, stdout, stderr } = spawnSync(
  'npm',
  ['sbom', '--sbom-format=cyclonedx', '--package-lock-only', '--include=dev'],
  { cwd: root, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 },
);
if (status !== 0) {
  throw new Error(`npm sbom failed: ${stderr}`);
}
const lock = JSON.parse(readFileSync(path.join(root, 'package-lock.json'), 'utf8'));
const sbom = unmarked(lock, JSON.parse(stdout));
const faults = sbomFaults(lock, sbom);
for (const fault of faults) {
  console.error(fault);
}
process.exitCode = faults.length > 0 ? 1 : 0;
mkdirSync(path.join(root, 'build'), { recursive: true });
writeFileSync(path.join(root, 'build/sbom.json'), `${JSON.stringify(sbom, null, 2)}\n`);
