import { readdirSync, readFileSync } from 'node:fs';

/** The command lines of all processes, as `ps` shows them. One that ends meanwhile has none. */
export function commandLines(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
      } catch {
        return [];
      }
    });
}

/** Whether a file belongs to the user who runs the tests. */
export const isOurs = ({ uid }: { uid: number }): boolean => uid === process.getuid?.();
