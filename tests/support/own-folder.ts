import { WorkFolder } from 'local-cloud/node';

/**
 * Before the first test: a folder of its own for all temporary files of a run, so that runs at the same time do not
 * see each other's. It goes away when the run ends, by whatever death, and with it every process that a test has
 * started with a path in it.
 */
export default function ownFolder(): void {
  process.env.TMPDIR = new WorkFolder().path;
}
