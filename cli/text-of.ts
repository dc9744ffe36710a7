import { readFile } from 'node:fs/promises';
import type { Session } from './connection.ts';
import { Stop } from './exit.ts';

/** The text of a file that a person names; `-` is standard input. @throws Stop */
export async function textOf({ world }: Session, file: string): Promise<string> {
  if (file === '-') return world.readStdin();
  return readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    const why = error.code === 'ENOENT' ? 'There is no such file' : error.message;
    throw new Stop('usage', `${why}: ${file}`);
  });
}
