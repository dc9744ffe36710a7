// A share of the runs of one set, in a process of its own: node tests/campaign/worker.ts <set> <part> <of>. One line a
// result.
import '../../local/quiet.ts';

const { SETS } = await import('./runs.ts');
const [set, part, of] = process.argv.slice(2);
for await (const result of SETS[set as keyof typeof SETS]({ part: Number(part), of: Number(of) })) {
  process.stdout.write(`${JSON.stringify(result)}\n`);
}
