// A share of the runs of one set, in a process of its own: node tests/campaign/worker.ts <set> <part> <of>. One line a
// result.
import '../../local/quiet.ts';
import type { SetName } from './runs.ts';

const { runsOf } = await import('./runs.ts');
const [set, part, of] = process.argv.slice(2);
for await (const result of runsOf(set as SetName, { part: Number(part), of: Number(of) })) {
  process.stdout.write(`${JSON.stringify(result)}\n`);
}
