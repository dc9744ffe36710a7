// make bench              every measurement
// make bench BENCH=name   one of them
import { measureFleetQuestions } from './fleet-questions.ts';
import { measureFleetRenewal } from './fleet-renewal.ts';
import { measureImports } from './imports.ts';
import { measureInstall } from './install.ts';
import { measureLook } from './look.ts';
import { measureReconcile } from './reconcile.ts';
import { measureRenewal } from './renewal.ts';
import { markdown, type Table } from './report.ts';

const MEASUREMENTS: Record<string, () => Promise<Table | Table[]>> = {
  imports: measureImports,
  install: measureInstall,
  renewal: measureRenewal,
  reconcile: measureReconcile,
  look: measureLook,
  'fleet-renewal': measureFleetRenewal,
  'fleet-questions': measureFleetQuestions,
};

const [wanted] = process.argv.slice(2);
const names = wanted ? [wanted] : Object.keys(MEASUREMENTS);
for (const name of names) {
  const measure = MEASUREMENTS[name];
  if (!measure) {
    console.error(`There is no measurement ${name}: ${Object.keys(MEASUREMENTS).join(', ')}`);
    process.exit(1);
  }
  for (const table of [await measure()].flat()) {
    console.log(markdown(table));
  }
}
