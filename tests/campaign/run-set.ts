import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Result, SetName } from './runs.ts';

const WORKER = join(import.meta.dirname, 'worker.ts');

/** Makes all runs of a set, in as many processes as the machine has processors. */
export async function runSet(set: SetName): Promise<Result[]> {
  const of = availableParallelism();
  const shares = await Promise.all(Array.from({ length: of }, (_, part) => runShare(set, part, of)));
  return shares.flat();
}

async function runShare(set: SetName, part: number, of: number): Promise<Result[]> {
  const options = ['--disable-warning=ExperimentalWarning', WORKER, set, String(part), String(of)];
  const child = spawn(process.execPath, options, { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const results: Result[] = [];
  for await (const line of createInterface({ input: child.stdout })) results.push(JSON.parse(line));
  const [code] = await exited;
  if (code !== 0) throw new Error(`part ${part} of the campaign ended with ${code}`);
  return results;
}
