// make mutate                       every mutant
// make mutate MUTATE=template.yaml  those of one file, or folder, or of several with commas between
// node tests/mutation/main.ts --changed  those of files that have changed, or whose tests have, since the recorded run
import { writeFileSync } from 'node:fs';
import { type Job, judge, type Verdict } from './judge.ts';
import { applied } from './mutant.ts';
import { accepted, digestOf, lastRun, RECORD, type Target, targets, textOf } from './targets.ts';

const [wanted] = process.argv.slice(2);
const recorded = lastRun();
const all = targets();
const isWanted = (target: Target) =>
  wanted === '--changed'
    ? recorded[target.file]?.digest !== digestOf(target)
    : !wanted || wanted.split(',').some((name) => target.file.startsWith(name));
const chosen = all.filter(isWanted);
if (chosen.length === 0 && wanted !== '--changed') {
  console.error(`${wanted} has no mutants: ${all.map(({ file }) => file).join(', ')}`);
  process.exit(1);
}

const reasons = new Map(accepted().map(({ file, name, reason }) => [`${file} ${name}`, reason]));
const jobs: Job[] = chosen.flatMap(({ file, mutants, fresh }) =>
  mutants.map((mutant) => ({
    name: `${file} ${mutant.name}`,
    file,
    text: applied(textOf(file), mutant),
    tests: mutant.tests,
    only: mutant.only,
    fresh,
  })),
);
const started = Date.now();
// What fails without a mutant would seem to notice all of them.
const unchanged = new Map(
  jobs.map((job) => [JSON.stringify([job.fresh, job.tests.toSorted(), job.only]), job]),
);
let red = 0;
await judge(
  [...unchanged.values()].map((job) => ({ ...job, text: textOf(job.file) })),
  ({ test, failure }) => {
    if (failure) console.log(`fails without a mutant: ${test}: ${failure}`);
    red += failure ? 1 : 0;
  },
);
if (red > 0) process.exit(1);
const verdicts = new Map<string, Verdict>();
await judge(jobs, (verdict) => {
  verdicts.set(verdict.name, verdict);
  const isAccepted = reasons.has(verdict.name);
  if (process.env.MUTATION_DEBUG) console.log(verdict);
  if (verdict.broken) console.log(`no good: ${verdict.name}: ${verdict.broken}`);
  else if (!verdict.failure && !isAccepted) console.log(`not noticed: ${verdict.name}`);
  if (verdict.failure && isAccepted) console.log(`accepted, but noticed by ${verdict.test}: ${verdict.name}`);
});

let wrong = 0;
// Another run may have ended meanwhile.
const record = lastRun();
for (const target of chosen) {
  const names = target.mutants.map(({ name }) => `${target.file} ${name}`);
  const survivors = names.filter((name) => !verdicts.get(name)?.failure);
  const misjudged = names.filter((name) => Boolean(verdicts.get(name)?.failure) === reasons.has(name));
  wrong += misjudged.length;
  console.log(
    `${target.file}: ${names.length} mutants, ${names.length - survivors.length} noticed, ${survivors.length - misjudged.filter((name) => !reasons.has(name)).length} accepted`,
  );
  if (misjudged.length === 0) {
    record[target.file] = { digest: digestOf(target), mutants: names.length, accepted: survivors.length };
  }
}
console.log(`${jobs.length} mutants in ${Math.round((Date.now() - started) / 1000)} s`);
if (wanted !== '--changed') {
  const known = Object.fromEntries(all.flatMap(({ file }) => (record[file] ? [[file, record[file]]] : [])));
  writeFileSync(RECORD, `${JSON.stringify(known, null, 2)}\n`);
}
process.exitCode = wrong > 0 ? 1 : 0;
