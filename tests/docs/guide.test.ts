import { describe, expect, test } from '@jest/globals';
import { programOf } from '../../cli/program.ts';
import type { World } from '../../cli/world.ts';
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

describe('common tasks', () => {
  const tasks = rowsOf(section(GUIDE, 'Common tasks'))
    .slice(1)
    .map(([task = '', cell]) => ({
      task,
      commands: codes(cell).filter((code = '') => code.startsWith('npx acm-export ')) as string[],
    }));
  const commands = tasks.flatMap((one) => one.commands);

  test('have a command each, but for the hook, which is a file on the server', () => {
    const without = tasks.filter((one) => one.commands.length === 0).map(({ task }) => task);
    expect(without).toEqual(['run a script of mine at each installation']);
  });

  test.each(commands)('%s is one that acm-export takes', async (line) => {
    const silent = { env: {}, stdout: { write() {} }, stderr: { write() {} } } as unknown as World;
    const program = programOf(silent, () => {});
    for (const command of program.commands) command.action(() => {});
    const words = [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare ?? '');
    const parsed = program.parseAsync(words.slice(2), { from: 'user' });
    // commander throws for what it does not take.
    await expect(parsed.catch(({ message }) => message)).resolves.toBe(program);
  });
});
