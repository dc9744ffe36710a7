import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** The path of a program, or nothing where it is not installed. */
export function programOf(name: string): string | undefined {
  const candidates = (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, name));
  return candidates.find((file) => {
    try {
      accessSync(file, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** The AWS CLI itself, version 1 or 2: where CI put it, else in the PATH. */
export function realAwsCli(): string | undefined {
  const found = process.env.REAL_AWS_CLI ?? programOf('aws');
  return found && spawnSync(found, ['--version']).status === 0 ? found : undefined;
}
