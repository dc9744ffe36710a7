import { hash } from 'node:crypto';
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/**
 * What a build read and what it wrote, by content. While both are the same there is nothing to build. Dates of files
 * say less: a copy or an unpacked archive may bring a changed file with an old one.
 */
interface BuildRecord {
  /** What was asked for: entries that came or went change nothing in the files that are known. */
  entries: string[];
  /** File below the root → SHA-256 of its content. */
  files: Record<string, string>;
}

/** The clock that dates files goes in steps of some milliseconds. */
const FILE_CLOCK_MS = 100;

// Synchronous: two thousand small files take a tenth of the time that promises need for them.
const hashOf = (file: string) => hash('sha256', readFileSync(file));

/** Whether a build of these entries left this record, and nothing that it read or wrote has changed since. */
export function isUpToDate(root: string, recordFile: string, entries: string[]): boolean {
  try {
    const record = JSON.parse(readFileSync(recordFile, 'utf8')) as BuildRecord;
    return (
      record.entries.join() === entries.join() &&
      Object.entries(record.files).every(([file, hash]) => hashOf(path.join(root, file)) === hash)
    );
  } catch {
    return false; // No record, or a file of it is gone: the build says what is wrong.
  }
}

/**
 * A build that fails leaves no record, and neither does one during which a file changed: it may have read what stood
 * there before.
 */
export function recordBuild(
  root: string,
  recordFile: string,
  {
    entries,
    read,
    written,
    started,
  }: { entries: string[]; read: string[]; written: string[]; started: number },
): void {
  rmSync(recordFile, { force: true });
  const files = [...read, ...written].map((file) => [file, hashOf(path.join(root, file))]);
  const hasChanged = (file: string) => statSync(path.join(root, file)).ctimeMs > started - FILE_CLOCK_MS;
  if (read.some(hasChanged)) return;
  writeFileSync(
    recordFile,
    JSON.stringify({ entries, files: Object.fromEntries(files) } satisfies BuildRecord),
  );
}
