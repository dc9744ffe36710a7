import { type ChildProcess, fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import path from 'node:path';

/** One mutant, and the tests that may notice it. */
export interface Job {
  name: string;
  /** From the root of the project, as the tests. */
  file: string;
  /** The file as the mutant has it. */
  text: string;
  tests: readonly string[];
  /** Tests whose name has this; default all. */
  only?: string | undefined;
  /** Beginnings of the names of modules that are loaded again for each mutant. */
  fresh: readonly string[];
}

/** Which test failed, and how; neither where the mutant was not noticed. */
export interface Verdict {
  name: string;
  test?: string;
  failure?: string;
  /** Why the mutant is no good. */
  broken?: string;
}

/** A process keeps all modules that it has loaded. */
const JOBS_A_PROCESS = 60;
/** Only a mutant that hangs gets there: machines are slow. */
const TIME_OUT_MS = 10 * 60_000;

/**
 * Runs the tests of each job until one fails, in as many processes as the machine has processors.
 *
 * @param until in ms: no job is begun after it.
 */
export async function judge(
  jobs: readonly Job[],
  onVerdict: (verdict: Verdict) => void,
  until = Number.POSITIVE_INFINITY,
): Promise<void> {
  const waiting = [...jobs];
  const work = async () => {
    let worker: ChildProcess | undefined;
    let done = 0;
    for (let job = waiting.shift(); job && Date.now() < until; job = waiting.shift()) {
      if (!worker || done % JOBS_A_PROCESS === 0) {
        worker?.kill();
        worker = start();
      }
      done += 1;
      const verdict = await verdictOf(worker, job);
      if (verdict.failure === TIMED_OUT) {
        worker.kill('SIGKILL');
        worker = undefined;
      }
      onVerdict(verdict);
    }
    worker?.kill();
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
}

const TIMED_OUT = 'no end within ten minutes';

function start(): ChildProcess {
  return fork(path.join(import.meta.dirname, 'worker.ts'), {
    execArgv: ['--disable-warning=ExperimentalWarning'],
    stdio: ['ignore', 'ignore', process.env.MUTATION_DEBUG ? 'inherit' : 'ignore', 'ipc'],
  });
}

function verdictOf(worker: ChildProcess, job: Job): Promise<Verdict> {
  return new Promise((resolve) => {
    const end = (verdict: Verdict) => {
      clearTimeout(timer);
      worker.removeAllListeners();
      resolve(verdict);
    };
    const timer = setTimeout(() => end({ name: job.name, test: '', failure: TIMED_OUT }), TIME_OUT_MS);
    worker.once('message', end);
    worker.once('exit', (code) =>
      end({ name: job.name, test: '', failure: `the process ended with ${code}` }),
    );
    worker.send(job);
  });
}
