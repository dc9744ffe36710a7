import fs from 'node:fs';
import { registerHooks, syncBuiltinESMExports } from 'node:module';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseTemplate } from 'local-cloud/templates';
import '../../local/quiet.ts';
import type { Job, Verdict } from './judge.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const GLOBALS = pathToFileURL(path.join(import.meta.dirname, 'jest-globals.ts')).href;

let job: Job | undefined;
let turn = 0;

const isMutated = (file: unknown): boolean => {
  if (!job || (typeof file !== 'string' && !(file instanceof URL))) return false;
  const name = file instanceof URL ? fileURLToPath(file) : path.resolve(file);
  return name === path.join(ROOT, job.file);
};

// Every reader of the file in this process gets the mutant; the disk keeps what it has.
const { readFileSync } = fs;
const { readFile } = fs.promises;
const given = (options: unknown) => (options ? (job?.text ?? '') : Buffer.from(job?.text ?? ''));
Object.assign(fs, {
  readFileSync: (...args: Parameters<typeof readFileSync>) =>
    isMutated(args[0]) ? given(args[1]) : readFileSync(...args),
});
Object.assign(fs.promises, {
  readFile: async (...args: Parameters<typeof readFile>) =>
    isMutated(args[0]) ? given(args[1]) : readFile(...args),
});
syncBuiltinESMExports();

registerHooks({
  resolve(specifier, context, next) {
    if (specifier === '@jest/globals') return { url: GLOBALS, shortCircuit: true };
    const resolved = next(specifier, context);
    const { url } = resolved;
    if (!job || !url.startsWith('file:') || url.includes('?')) return resolved;
    const name = path.relative(ROOT, fileURLToPath(url));
    // Made again for each mutant.
    return job.fresh.some((start) => name.startsWith(start))
      ? { ...resolved, url: `${url}?mutant=${turn}` }
      : resolved;
  },
  load(url, context, next) {
    if (job && url.startsWith('file:') && isMutated(new URL(url.replace(/\?.*/, '')))) {
      return { format: 'module-typescript', source: job.text, shortCircuit: true };
    }
    return next(url, context);
  },
});

const { firstFailure, takeTests } = (await import(
  '@jest/globals'
)) as unknown as typeof import('./jest-globals.ts');

async function judge(next: Job): Promise<Verdict> {
  job = next;
  turn += 1;
  // What is no template any more was not noticed: it was made wrongly.
  if (next.file.endsWith('.yaml')) parseTemplate(next.text, next.file);
  for (const test of next.tests) {
    try {
      await import(pathToFileURL(path.join(ROOT, test)).href);
    } catch (error) {
      takeTests();
      return { name: next.name, test, failure: (error as Error).message };
    }
    const failure = await firstFailure(takeTests(), next.only);
    if (failure) return { name: next.name, test, failure };
  }
  return { name: next.name };
}

process.on('message', async (next: Job) => {
  process.send?.(
    await judge(next).catch((error: Error): Verdict => ({ name: next.name, broken: error.message })),
  );
});
// The run was ended.
process.on('disconnect', () => process.exit());
process.on('uncaughtException', (error) => console.error(error));
process.on('unhandledRejection', () => {});
