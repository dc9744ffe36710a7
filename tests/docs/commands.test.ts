import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { CENTRAL, requestCertificate } from '../../local/example-fleet.ts';
import { deploy, order, plainNode, testFleet } from '../end-to-end/test-fleet.ts';
import { programOf, realAwsCli } from '../support/tools.ts';
import { centralStack, ROOT, resourcesOf } from '../templates/stacks.ts';
import { type Command, check, commandsOf, pythonWith } from './commands.ts';
import { blocksOf, DOCUMENTS, rowsOf, section } from './documents.ts';

// Every command that a reader is told to type: run by bash with stand-ins that note it, then checked by what it is for.

const WITH_COMMANDS = DOCUMENTS.filter((document) =>
  blocksOf(document).some(({ language }) => language === 'sh' || language === 'console'),
);

/** Of version 2 of the AWS CLI only; version 1, whose parser is used here, does not have it. */
const ONLY_VERSION_2 = ['configure export-credentials'];

const fleet = testFleet();
let commands: Command[] = [];
let environment: Record<string, string>;
let certificateArn = '';

beforeAll(async () => {
  const { cloud, central } = fleet();
  certificateArn = await requestCertificate(fleet(), 'www', ['www.example.com', 'example.com']);
  // Offline: what is asked for here is whether a request is taken, not what comes of it.
  await plainNode(fleet(), 'web', { online: false });
  const { started } = await deploy(fleet(), 'www', order(certificateArn, 'web'));
  const { credentials } = cloud.createUser(CENTRAL.account, 'reader', [
    { Version: '2012-10-17', Statement: { Effect: 'Allow', Action: '*', Resource: '*' } },
  ]);
  environment = {
    AWS_REGION: CENTRAL.region,
    AWS_DEFAULT_REGION: CENTRAL.region,
    AWS_ACCESS_KEY_ID: credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
    AWS_SESSION_TOKEN: '',
    API_URL: central.apiUrl,
    CERTIFICATE_ARN: certificateArn,
    DEPLOYMENT_ID: started.DeploymentId,
    MEMBER_PARAMETERS: central.output('MemberAccountParameters'),
    POLICY: 'arn:aws:iam::444455556666:policy/acm-export-read-bundle-eu-west-1',
    DASHBOARD: central.output('OperationsDashboardUrl'),
  };
  commands = WITH_COMMANDS.flatMap((document) => commandsOf(document, environment));
});

const of = (program: string) => commands.filter((command) => command.program === program);
const written = ({ document, line, words }: Command) => `${document}:${line} ${words.join(' ')}`;

test('there are commands of every kind, in every document', () => {
  expect([...new Set(commands.map(({ document }) => document))]).toEqual(WITH_COMMANDS);
  expect(of('aws').length).toBeGreaterThan(20);
  expect(of('curl').length).toBeGreaterThan(5);
});

test('make has every target that is named', () => {
  const makefile = readFileSync(path.join(ROOT, 'Makefile'), 'utf8');
  const benches = readdirSync(path.join(ROOT, 'bench'));
  for (const { words } of of('make')) {
    expect(makefile).toMatch(new RegExp(`^${words[0]}:`, 'm'));
    const bench = words.find((word) => word.startsWith('BENCH='));
    if (bench) expect(benches).toContain(`${bench.slice('BENCH='.length)}.ts`);
  }
});

test('sam local invoke names functions and samples that exist, and variables that functions read', () => {
  const functions = new Map(resourcesOf(centralStack(), 'AWS::Serverless::Function'));
  const invoked = of('sam').filter(({ words }) => words[0] === 'local');
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

const sam = programOf('sam');
const samPython = pythonWith('samcli', sam);
if (samPython) {
  test('SAM CLI takes every command', async () => {
    expect(await check(samPython, 'check-sam-commands.py', of('sam'))).toEqual([]);
  });
} else {
  test.skip('there is no SAM CLI here: its commands were not checked', () => undefined);
}

const awsPython = pythonWith('awscli', realAwsCli());
if (awsPython) {
  test('the AWS CLI takes every command, and those that only read find what is there', async () => {
    const checked = of('aws').filter(({ words }) => !ONLY_VERSION_2.includes(words.slice(0, 2).join(' ')));
    const faults = await check(awsPython, 'check-aws-commands.py', checked, {
      ...environment,
      AWS_ENDPOINT_URL: fleet().cloud.endpoint,
    });
    expect(faults).toEqual([]);
  });
} else {
  test.skip('there is no AWS CLI with its Python here: its commands were not checked', () => undefined);
}

/** What stands for something of the reader's. */
function filledIn(word: string): string {
  return word
    .replace(/arn:aws:acm:[\w:-]+:certificate\/…/, certificateArn)
    .replace('"ReloadServices": ["nginx"], "VerifyPort": 443', '"ReloadServices": []')
    .replace('https://a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com/v1', fleet().central.apiUrl)
    .replace('444455556666', CENTRAL.account);
}

describe('requests to the API', () => {
  const run = promisify(execFile);

  async function send({ words }: Command): Promise<{ status: number; body: string }> {
    const { stdout } = await run('curl', ['-sS', '-w', '\n%{http_code}', ...words.map(filledIn)]);
    const [, body = '', status] = /^([\s\S]*)\n(\d+)$/.exec(stdout) ?? [];
    return { status: Number(status), body };
  }

  /** Its options are curl's but for those that say how to sign. */
  function asCurl(command: Command): Command {
    const { words } = command;
    expect([written(command), ...words.slice(0, 4)]).toEqual([
      written(command),
      ...['--service', 'execute-api', '--region', CENTRAL.region],
    ]);
    const { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret } = environment;
    const signing = ['--aws-sigv4', `aws:amz:${CENTRAL.region}:execute-api`, '--user', `${id}:${secret}`];
    return { ...command, words: [...signing, ...words.slice(4)] };
  }

  test('each is accepted', async () => {
    const requests = [...of('curl'), ...of('awscurl').map(asCurl)];
    // Deletions last: the others need what is there.
    const isDelete = ({ words }: Command) => words.includes('DELETE');
    for (const request of [...requests.filter((r) => !isDelete(r)), ...requests.filter(isDelete)]) {
      const { status, body } = await send(request);
      await fleet().cloud.idle();
      const accepted = status >= 200 && status < 300;
      expect([written(request), accepted || `${status} ${body}`]).toEqual([written(request), true]);
    }
  });

  if (programOf('awscurl')) {
    test('awscurl takes its commands', async () => {
      for (const { words } of of('awscurl').filter((command) => !command.words.includes('DELETE'))) {
        await run('awscurl', ['--fail-with-body', ...words.map(filledIn)], {
          env: { ...process.env, ...environment },
        });
      }
    });
  } else {
    test.skip('there is no awscurl here: its commands were sent by curl', () => undefined);
  }

  test('the answer in the README has the fields that the API gives', async () => {
    const [first] = of('curl') as [Command];
    const answer = JSON.parse((await send(first)).body);
    const [, shown = ''] =
      /^(\{"DeploymentId".*\})$/m.exec(readFileSync(path.join(ROOT, 'README.md'), 'utf8')) ?? [];
    expect(Object.keys(JSON.parse(shown))).toEqual(Object.keys(answer));
  });
});

test('the counts behind the costs are those of a rollout', async () => {
  const { cloud } = fleet();
  const arn = await requestCertificate(fleet(), 'counted', ['counted.example.com']);
  const servers = [await plainNode(fleet(), 'counted'), await plainNode(fleet(), 'counted')];
  await deploy(fleet(), 'counted', order(arn, 'counted'));
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
  const { cloud } = fleet();
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
