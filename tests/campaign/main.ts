// make campaign                  every run
// make campaign CAMPAIGN=single  one set of them
import { runSet } from './run-set.ts';
import type { Result, SetName } from './runs.ts';

const SETS: Record<SetName, string> = {
  single: 'every call × every kind of fault',
  repaired: 'each operation denied to each caller for 65 minutes',
  late: 'every call of a function 2 and 70 minutes late',
  pairs: '200 random pairs of faults',
  others:
    'sweeps at once; indexes, IAM, tags, the list of nodes slow, or clocks of functions wrong, for an hour',
};

const [wanted] = process.argv.slice(2);
const names = (Object.keys(SETS) as SetName[]).filter((name) => !wanted || name === wanted);
if (names.length === 0) {
  console.error(`There is no set ${wanted}: ${Object.keys(SETS).join(', ')}`);
  process.exit(1);
}
for (const name of names) {
  const results = await runSet(name);
  console.log(tableOf(SETS[name], results));
  for (const { flow, trouble, faults } of results)
    for (const fault of faults) {
      console.log(`${flow}: ${trouble}: ${fault}`);
      process.exitCode = 1;
    }
}

/** In Markdown: of each flow, how many runs, and how long until all was well. */
function tableOf(title: string, results: Result[]): string {
  const rows = [...Map.groupBy(results, ({ flow }) => flow)].map(([flow, runs]) => {
    const minutes = runs.flatMap(({ healedAfter }) => healedAfter ?? []).sort((a, b) => a - b);
    const violations = runs.filter(({ faults }) => faults.length > 0).length;
    const messages = runs.reduce((sum, run) => sum + run.messages, 0);
    return [flow, runs.length, violations, median(minutes), minutes.at(-1), messages];
  });
  const sum = (column: number) => rows.reduce((total, row) => total + Number(row[column]), 0);
  const heading = [title, 'runs', 'violations', 'well after: median (min)', 'worst (min)', 'messages'];
  return [heading, heading.map(() => '---'), ...rows, ['all', sum(1), sum(2), '', '', sum(5)]]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n');
}

function median(sorted: number[]): number | undefined {
  return sorted[Math.floor((sorted.length - 1) / 2)];
}
