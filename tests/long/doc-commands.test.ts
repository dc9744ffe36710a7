import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { programOf } from '../../cli/program.ts';
import type { World } from '../../cli/world.ts';
import { requestCertificate } from '../../local/example-fleet.ts';
import type { Command } from '../docs/commands.ts';
import { documented, sendAll, WITH_COMMANDS } from '../docs/documented.ts';
import { rowsOf, section } from '../docs/documents.ts';
import { sendAsCurl } from '../docs/send-as-curl.ts';
import { deploy, order, plainNode } from '../end-to-end/test-fleet.ts';
import { centralStack, ROOT, resourcesOf } from '../templates/stacks.ts';

// Every command that a reader is told to type: run by bash with stand-ins that note it, then checked by what it is for.
// The programs themselves look at their commands in tests/real/commands.test.ts.

const documents = documented();

test('there are commands of every kind, in every document', () => {
  const { commands, of } = documents();
  expect([...new Set(commands.map(({ document }) => document))]).toEqual(WITH_COMMANDS);
  expect(of('aws').length).toBeGreaterThan(20);
  expect(of('curl').length).toBeGreaterThan(5);
});

test('make has every target that is named', () => {
  const makefile = readFileSync(path.join(ROOT, 'Makefile'), 'utf8');
  const benches = readdirSync(path.join(ROOT, 'bench'));
  for (const { words } of documents().of('make')) {
    expect(makefile).toMatch(new RegExp(`^${words[0]}:`, 'm'));
    const bench = words.find((word) => word.startsWith('BENCH='));
    if (bench) expect(benches).toContain(`${bench.slice('BENCH='.length)}.ts`);
  }
});

test('acm-export takes each command that is shown', async () => {
  const shown = documents().of('npx');
  expect(shown.length).toBeGreaterThan(5);
  const silent = { env: {}, stdout: { write() {} }, stderr: { write() {} } } as unknown as World;
  for (const { words } of shown) {
    expect(words[0]).toBe('acm-export');
    const program = programOf(silent, () => {});
    for (const command of program.commands) command.action(() => {});
    const parsed = program.parseAsync(words.slice(1), { from: 'user' }).catch(({ exitCode }) => exitCode);
    expect([words, [0, program].includes((await parsed) as never)]).toEqual([words, true]);
  }
});

test('sam local invoke names functions and samples that exist, and variables that functions read', () => {
  const functions = new Map(resourcesOf(centralStack(), 'AWS::Serverless::Function'));
  const invoked = documents()
    .of('sam')
    .filter(({ words }) => words[0] === 'local');
  expect(invoked.length).toBeGreaterThan(1);
  for (const { words } of invoked) {
    expect([...functions.keys()]).toContain(words[2]);
    const sample = words[words.indexOf('--event') + 1] as string;
    expect(existsSync(path.join(ROOT, sample))).toBe(true);
    expect(`${words[2]}`.toLowerCase().replace('function', '')).toBe(
      sample.split('/')[1]?.replaceAll('-', ''),
    );
  }
});

describe('requests to the API', () => {
  test('each is accepted', () => sendAll(documents(), (words) => sendAsCurl(words)));

  test('the answer in the README has the fields that the API gives', async () => {
    const { of, filledIn } = documents();
    const [first] = of('curl') as [Command];
    const answer = JSON.parse((await sendAsCurl(first.words.map(filledIn))).body);
    const [, shown = ''] =
      /^(\{"DeploymentId".*\})$/m.exec(readFileSync(path.join(ROOT, 'README.md'), 'utf8')) ?? [];
    expect(Object.keys(JSON.parse(shown))).toEqual(Object.keys(answer));
  });
});

test('the counts behind the costs are those of a rollout', async () => {
  const { fleet } = documents();
  const { cloud } = fleet;
  const arn = await requestCertificate(fleet, 'counted', ['counted.example.com']);
  const servers = [await plainNode(fleet, 'counted'), await plainNode(fleet, 'counted')];
  await deploy(fleet, 'counted', order(arn, 'counted'));
  cloud.record.clear();
  const before = cloud.services.stepFunctions.executions().length;
  await cloud.services.acm.renew(arn);
  await cloud.idle();

  const [execution] = cloud.services.stepFunctions.executions().slice(before);
  const calls = cloud.record.calls.filter(({ source }) => !/handle-renewal/.test(source));
  const count = (pattern: RegExp) =>
    calls.filter(({ operation, source }) => pattern.test(`${source} ${operation}`)).length;
  const polls = count(/check-installation .*GetAutomationExecution$/);
  const counted: Record<string, number> = {
    'State transitions': execution?.history.filter(({ type }) => type.endsWith('StateEntered')).length ?? 0,
    'Runs of functions': count(/^state machine .*lambda\.Invoke$/),
    'Calls of ACM': count(/^function .*CertificateManager\./),
    'Calls of Secrets Manager, without those of the servers': count(/^function .*secretsmanager\./),
    'Calls of Secrets Manager by each server': count(/^node .*secretsmanager\./) / servers.length,
    'Automation steps': count(/^automation .*SendCommand$/),
    '`GetAutomationExecution`': polls,
  };
  const said = rowsOf(section('docs/operations.md', 'What it costs'))
    .filter(([what = '']) => what in counted)
    .map(([what = '', amount = '']) => [
      what,
      amount
        .replaceAll(/(\d+) × polls/g, (_, times) => String(Number(times) * polls))
        .split(' + ')
        .reduce((sum, part) => sum + Number(part), 0),
    ]);
  expect(Object.fromEntries(said)).toEqual(counted);
});

test('what alarms and dashboard show of the fleet is what a sweep publishes, under the name of the stack', async () => {
  const { fleet } = documents();
  const { cloud } = fleet;
  cloud.record.clear();
  cloud.services.events.runSchedule('acm-export-sweep-nodes');
  await cloud.idle();
  // Embedded metric format: CloudWatch makes metrics of such lines.
  const published = cloud.record
    .emissionsOf('function-log')
    .filter(({ source, text }) => source === 'function acm-export-reconcile' && text.includes('"_aws"'))
    .map(({ text }) => JSON.parse(text))
    .find((line) => 'DaysToExpiry' in line);
  expect(published).toMatchObject({
    service: 'reconcile',
    OldestOpenFailureAge: 0,
    FailedDeployments: 0,
    ReconcileFailed: 0,
    _aws: { CloudWatchMetrics: [{ Namespace: 'acm-export', Dimensions: [['service']] }] },
  });
  expect(published.DaysToExpiry).toBeGreaterThan(190);
});

test('the sums of the costs are right', () => {
  const rows = rowsOf(section('docs/operations.md', 'What it costs')).filter((row) => row.length === 4);
  const [, ...amounts] = rows;
  const total = amounts.pop() as string[];
  for (const column of [1, 2, 3]) {
    const sum = amounts.reduce((all, row) => all + Number(row[column]), 0);
    expect(Number(total[column])).toBeCloseTo(sum, 2);
  }
});
