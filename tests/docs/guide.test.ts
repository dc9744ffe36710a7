import { describe, expect, test } from '@jest/globals';
import { ROUTES } from '../../functions/deployments-api/route.ts';
import { STATUSES } from '../../functions/domain/deployment.ts';
import { writtenTemplate } from '../templates/stacks.ts';
import { rowsOf, section } from './documents.ts';

const GUIDE = 'docs/guide.md';
const codes = (cell: string | undefined) => [...(cell ?? '').matchAll(/`([^`]+)`/g)].map(([, code]) => code);

describe.each([
  ['template.yaml', '1. Build and deploy the central stack'],
  ['member-account.yaml', '2. Prepare the accounts with servers'],
])('the parameters of %s', (template, heading) => {
  const parameters = writtenTemplate(template).Parameters as Record<string, { Default?: string | number }>;
  const rows = rowsOf(section(GUIDE, heading)).slice(1);

  test('are explained, each once, and no others', () => {
    expect(rows.map(([name]) => codes(name)[0]).sort()).toEqual(Object.keys(parameters).sort());
  });

  test('have the defaults that are said', () => {
    const shown = Object.fromEntries(rows.map(([name, value]) => [codes(name)[0], codes(value)[0] ?? value]));
    const real = Object.entries(parameters).map(([name, { Default: value }]) => [
      name,
      value === undefined ? '–' : String(value) || 'empty',
    ]);
    expect(shown).toEqual(Object.fromEntries(real));
  });
});

test('every request of the API is listed, and no other', () => {
  const rows = rowsOf(section(GUIDE, 'More requests')).slice(1);
  expect(rows.map(([request]) => codes(request)[0]).sort()).toEqual(Object.keys(ROUTES).sort());
});

test('every status of a deployment is explained', () => {
  expect(
    rowsOf(section(GUIDE, '6. Watch it'))
      .flatMap(([status]) => codes(status))
      .sort(),
  ).toEqual([...STATUSES].sort());
});
