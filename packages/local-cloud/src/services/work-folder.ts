import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * Runs when the cloud was killed. Scripts on nodes, and servers that were just starting, do not know of it: each process that
 * has the folder's name (random, so nobody else's) on the command line is told to end, with its process group, and
 * then made to. The folder goes in each pass, because until then they may be writing.
 */
const SWEEP = `read -r removed && exit
for signal in TERM KILL KILL; do
  for process in /proc/[0-9]*; do
    pid=\${process#/proc/}
    [ "$pid" != $$ ] || continue
    case $(tr '\\0' ' ' 2>/dev/null <"$process/cmdline") in
      *"$0"*) kill -$signal -- "-$pid" || kill -$signal "$pid" ;;
    esac
  done 2>/dev/null
  rm -rf -- "$0"
  sleep 1
done`;

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
    this.path = mkdtempSync(join(tmpdir(), 'local-cloud-')); // Mode 0700.
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
