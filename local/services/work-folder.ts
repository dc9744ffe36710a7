import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** More than once: a child of the killed process may still be writing. */
const SWEEP = `read -r removed && exit
for pass in 1 2 3; do rm -rf -- "$0"; sleep 1; done`;

/**
 * A folder for everything that a local cloud writes, readable for its user only. It goes away when the cloud
 * stops, when the process exits, and, because keys lie in it, even when the process is killed: a shell waits for
 * the end of a pipe that only this process holds open.
 */
export class WorkFolder {
  readonly path: string;
  readonly #sweeper;
  readonly #onExit = () => rmSync(this.path, { recursive: true, force: true });

  constructor() {
    this.path = mkdtempSync(join(tmpdir(), 'acm-export-local-')); // Mode 0700.
    // In a session of its own, so that an interrupt from the keyboard does not end it before its work is done.
    this.#sweeper = spawn('/bin/sh', ['-c', SWEEP, this.path], {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
    });
    this.#sweeper.unref();
    (this.#sweeper.stdin as unknown as { unref(): void }).unref();
    process.on('exit', this.#onExit);
  }

  async remove(): Promise<void> {
    process.off('exit', this.#onExit);
    rmSync(this.path, { recursive: true, force: true });
    const ended = new Promise((resolve) => this.#sweeper.once('exit', resolve));
    this.#sweeper.ref();
    this.#sweeper.stdin.end('removed\n');
    await ended;
  }
}
