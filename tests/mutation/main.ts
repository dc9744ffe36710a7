// make mutate                       every mutant
// make mutate MUTATE=template.yaml  those of one file, or folder, or of several with commas between
// node tests/mutation/main.ts --changed  of files that were judged whole and have changed since, or whose tests have: first the
//                                   mutants that no run has judged, then of the others as many as there is time for
// node tests/mutation/main.ts --more     the same, and of files that were never judged whole; what was judged is recorded
// MUTATION_SECONDS: after so many, no further mutant is begun. Default: 200 for these two, no end for others.
import { writeFileSync } from 'node:fs';
import { type Job, judge, type Verdict } from './judge.ts';
import { applied } from './mutant.ts';
import {
  accepted,
  digestOf,
  hashOf,
  keyOf,
  lastRun,
  RECORD,
  type Target,
  targets,
  textOf,
} from './targets.ts';

const [wanted] = process.argv.slice(2);
const recorded = lastRun();
const all = targets();
const isPart = wanted === '--changed' || wanted === '--more';
const isWhole = ({ file }: Target) => Boolean(recorded[file]?.digest);
const isWanted = (target: Target) =>
  isPart
    ? recorded[target.file]?.digest !== digestOf(target) && (wanted === '--more' || isWhole(target))
    : !wanted || wanted.split(',').some((name) => target.file.startsWith(name));
const chosen = all.filter(isWanted);
if (chosen.length === 0 && !isPart) {
  console.error(`${wanted} has no mutants: ${all.map(({ file }) => file).join(', ')}`);
  process.exit(1);
}

const notWhole = all.filter((target) => !isWhole(target)).length;
if (wanted === '--changed' && notWhole > 0)
  console.log(`${notWhole} files were never judged whole, and are left out: make mutate MUTATE=--more`);

const reasons = new Map(accepted().map(({ file, name, reason }) => [`${file} ${name}`, reason]));
const isKnown = ({ file }: Target, key: string) => recorded[file]?.judged?.split(' ').includes(key) ?? false;
/** What no run has judged comes first; of the others, each change of a file or a test brings others to the front. */
const rankOf = (target: Target, key: string) =>
  `${isKnown(target, key) ? 1 : 0} ${hashOf(digestOf(target) + key)}`;
const jobs = chosen
  .flatMap((target) =>
    target.mutants.map((mutant) => ({
      name: `${target.file} ${mutant.name}`,
      file: target.file,
      text: applied(textOf(target.file), mutant),
      tests: mutant.tests,
      only: mutant.only,
      fresh: target.fresh,
      rank: rankOf(target, keyOf(target, mutant)),
    })),
  )
  .toSorted((a, b) => (a.rank < b.rank ? -1 : Number(a.rank > b.rank)));
const started = Date.now();
const seconds = Number(process.env.MUTATION_SECONDS ?? (isPart ? 200 : Number.POSITIVE_INFINITY));
// What fails without a mutant would seem to notice all of them. So the tests of each run once before it.
const UNCHANGED = 'without a mutant: ';
const kinds = new Set<string>();
const withUnchanged = jobs.flatMap(({ rank: _, ...job }): Job[] => {
  const kind = JSON.stringify([job.fresh, job.tests.toSorted(), job.only]);
  const isFirst = !kinds.has(kind);
  kinds.add(kind);
  return isFirst ? [{ ...job, name: `${UNCHANGED}${kind}`, text: textOf(job.file) }, job] : [job];
});
let red = 0;
const verdicts = new Map<string, Verdict>();
await judge(
  withUnchanged,
  (verdict) => {
    if (verdict.name.startsWith(UNCHANGED)) {
      if (verdict.failure) console.log(`fails without a mutant: ${verdict.test}: ${verdict.failure}`);
      red += verdict.failure ? 1 : 0;
      return;
    }
    verdicts.set(verdict.name, verdict);
    const isAccepted = reasons.has(verdict.name);
    if (process.env.MUTATION_DEBUG) console.log(verdict);
    if (verdict.broken) console.log(`no good: ${verdict.name}: ${verdict.broken}`);
    else if (!verdict.failure && !isAccepted) console.log(`not noticed: ${verdict.name}`);
    if (verdict.failure && isAccepted)
      console.log(`accepted, but noticed by ${verdict.test}: ${verdict.name}`);
  },
  started + seconds * 1000,
);
if (red > 0) process.exit(1);

let wrong = 0;
// Another run may have ended meanwhile.
const record = lastRun();
for (const target of chosen) {
  const judged = target.mutants.filter(({ name }) => verdicts.has(`${target.file} ${name}`));
  const isNoticed = ({ name }: { name: string }) => Boolean(verdicts.get(`${target.file} ${name}`)?.failure);
  const isAccepted = ({ name }: { name: string }) => reasons.has(`${target.file} ${name}`);
  const right = judged.filter((mutant) => isNoticed(mutant) !== isAccepted(mutant));
  const survivors = right.filter((mutant) => !isNoticed(mutant));
  wrong += judged.length - right.length;
  const left = target.mutants.length - judged.length;
  console.log(
    `${target.file}: ${target.mutants.length} mutants, ${judged.filter(isNoticed).length} noticed, ${survivors.length} accepted` +
      (left > 0 ? `, ${left} not judged in this run` : ''),
  );
  const now = new Set(right.map((mutant) => keyOf(target, mutant)));
  const keys = target.mutants.map((mutant) => keyOf(target, mutant));
  const wrongKeys = new Set(
    judged.filter((mutant) => !right.includes(mutant)).map((mutant) => keyOf(target, mutant)),
  );
  record[target.file] = {
    // Of a file of which mutants are left, no digest: another run goes on with them.
    digest: right.length === target.mutants.length ? digestOf(target) : '',
    mutants: target.mutants.length,
    accepted: target.mutants.filter(isAccepted).length,
    judged: keys.filter((key) => now.has(key) || (isKnown(target, key) && !wrongKeys.has(key))).join(' '),
  };
}
console.log(`${verdicts.size} of ${jobs.length} mutants in ${Math.round((Date.now() - started) / 1000)} s`);
const never = chosen.flatMap((target) =>
  target.mutants.filter(
    (mutant) => !verdicts.has(`${target.file} ${mutant.name}`) && !isKnown(target, keyOf(target, mutant)),
  ),
);
if (never.length > 0)
  console.log(`${never.length} mutants were judged in no run yet: make mutate MUTATE=--more goes on`);
if (wanted !== '--changed') {
  const known = Object.fromEntries(all.flatMap(({ file }) => (record[file] ? [[file, record[file]]] : [])));
  writeFileSync(RECORD, `${JSON.stringify(known, null, 2)}\n`);
}
process.exitCode = wrong > 0 ? 1 : 0;
