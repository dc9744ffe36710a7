import {
  DescribeInstanceInformationCommand,
  GetAutomationExecutionCommand,
  GetCommandInvocationCommand,
  ListCommandInvocationsCommand,
  ListCommandsCommand,
  SendCommandCommand,
  type SendCommandCommandInput,
  SSMClient,
  StartAutomationExecutionCommand,
  type StartAutomationExecutionCommandInput,
  StopAutomationExecutionCommand,
} from '@aws-sdk/client-ssm';
import { beforeAll, describe, expect, test } from '@jest/globals';
import type { PolicyDocument } from '../../src/iam/evaluate.ts';
import type { CloudNode, NodeOptions } from '../../src/services/node-fleet.ts';
import { ACCOUNT, allow, OTHER_ACCOUNT, REGION, testCloud, trust, until } from './test-cloud.ts';

const cloud = testCloud();
let ssm: SSMClient;

const word = { type: 'String', interpolationType: 'ENV_VAR', allowedPattern: '^[a-z ]{0,20}$', default: '' };
const runScript = (...runCommand: string[]) => ({
  schemaVersion: '2.2',
  parameters: { Word: word },
  mainSteps: [
    {
      action: 'aws:runShellScript',
      name: 'RunScript',
      precondition: { StringEquals: ['platformType', 'Linux'] },
      inputs: { runCommand },
    },
  ],
});

/** Nodes of a tag of their own; `broken` ones fail, `slow` ones wait for a file. */
let groups = 0;
async function nodes(
  count: number,
  options: Pick<NodeOptions, 'online' | 'platform' | 'agent'> = {},
): Promise<[string, CloudNode[]]> {
  groups += 1;
  const tags = { group: `group-${groups}` };
  const made: CloudNode[] = [];
  for (let index = 0; index < count; index++)
    made.push(await cloud().createNode(ACCOUNT, REGION, { tags, ...options }));
  return [tags.group, made];
}

const targets = (group: string) => [{ Key: 'tag:group', Values: [group] }];
async function send(input: Partial<SendCommandCommandInput>) {
  const { Command } = await ssm.send(new SendCommandCommand({ DocumentName: 'run', ...input }));
  return Command?.CommandId as string;
}
const commandOf = async (CommandId: string) =>
  (await ssm.send(new ListCommandsCommand({ CommandId }))).Commands?.[0];
const ended = (id: string) =>
  until(async () => {
    const command = await commandOf(id);
    return !['Pending', 'InProgress'].includes(command?.Status ?? '') && command;
  });
const invocations = async (CommandId: string) =>
  (await ssm.send(new ListCommandInvocationsCommand({ CommandId, Details: true }))).CommandInvocations ?? [];

beforeAll(() => {
  ssm = new SSMClient(cloud().clientConfig(cloud.administrator(), REGION));
  const { ssmDocuments } = cloud().services;
  const create = (name: string, content: object) =>
    ssmDocuments.create(ACCOUNT, REGION, { name, type: 'Command', content });
  create(
    'run',
    runScript(
      'echo "word: $SSM_Word"',
      'if [ -e "$LOCAL_NODE_ROOT/broken" ]; then echo broken >&2; exit 3; fi',
    ),
  );
  create(
    'talkative',
    runScript('head -c 5000 /dev/zero | tr "\\0" o', 'head -c 300 /dev/zero | tr "\\0" e >&2'),
  );
  create('slow', runScript('touch "$LOCAL_NODE_ROOT/started"', 'sleep 60'));
});

describe('DescribeInstanceInformation', () => {
  test('lists the nodes of one account and Region in pages of ten', async () => {
    const [group, made] = await nodes(12);
    const Filters = [{ Key: 'tag:group', Values: [group] }];
    const first = await ssm.send(new DescribeInstanceInformationCommand({ Filters }));
    const second = await ssm.send(
      new DescribeInstanceInformationCommand({ Filters, NextToken: first.NextToken }),
    );
    expect([first, second].map(({ InstanceInformationList }) => InstanceInformationList?.length)).toEqual([
      10, 2,
    ]);
    expect(second.NextToken).toBe('');
    const all = [first, second].flatMap(({ InstanceInformationList = [] }) => InstanceInformationList);
    expect(all.map(({ InstanceId }) => InstanceId).sort()).toEqual(made.map(({ id }) => id).sort());
    const byKey = { Filters: [{ Key: 'tag-key', Values: ['group'] }], MaxResults: 50 };
    const { InstanceInformationList } = await ssm.send(new DescribeInstanceInformationCommand(byKey));
    expect(InstanceInformationList?.length).toBeGreaterThanOrEqual(made.length);
    const stranger = new SSMClient(cloud().clientConfig(cloud.administrator(OTHER_ACCOUNT), REGION));
    expect(await stranger.send(new DescribeInstanceInformationCommand({}))).toMatchObject({
      InstanceInformationList: [],
    });
  });

  test('tells an agent that has gone from one that answers, and forgets a node that was terminated', async () => {
    const [group, [first, second]] = await nodes(2);
    first?.setOnline(false);
    await second?.terminate();
    const Filters = [{ Key: 'tag:group', Values: [group] }];
    const { InstanceInformationList } = await ssm.send(new DescribeInstanceInformationCommand({ Filters }));
    expect(InstanceInformationList).toMatchObject([
      { InstanceId: first?.id, PingStatus: 'ConnectionLost', ResourceType: 'EC2Instance' },
    ]);
  });

  test('refuses a tag filter beside another filter, pages below five, and an unknown node', async () => {
    const [group] = await nodes(1);
    const byTag = { Key: 'tag:group', Values: [group] };
    const refused = (input: object) => ssm.send(new DescribeInstanceInformationCommand(input));
    const combined = refused({ Filters: [byTag, { Key: 'PingStatus', Values: ['Online'] }] });
    await expect(combined).rejects.toMatchObject({ name: 'InvalidFilterKey' });
    await expect(refused({ MaxResults: 4 })).rejects.toMatchObject({ name: 'ValidationException' });
    const unknown = refused({ Filters: [{ Key: 'InstanceIds', Values: ['i-00000000000000000'] }] });
    await expect(unknown).rejects.toMatchObject({ name: 'InvalidInstanceId' });
  });
});

describe('a command', () => {
  test('runs on every node of the tag, with its parameters as variables, and keeps both streams in one text', async () => {
    const [group, [first, second]] = await nodes(2);
    const id = await send({ Targets: targets(group), Parameters: { Word: ['hello there'] } });
    expect(await ended(id)).toMatchObject({
      Status: 'Success',
      StatusDetails: 'Success',
      TargetCount: 2,
      CompletedCount: 2,
    });
    const results = await invocations(id);
    expect(results.map(({ InstanceId }) => InstanceId).sort()).toEqual([first?.id, second?.id].sort());
    expect(results[0]?.CommandPlugins).toMatchObject([
      { Name: 'RunScript', Status: 'Success', ResponseCode: 0, Output: 'word: hello there\n' },
    ]);

    const talkative = await send({ DocumentName: 'talkative', InstanceIds: [first?.id ?? ''] });
    await ended(talkative);
    const [{ CommandPlugins = [] } = {}] = await invocations(talkative);
    const output = CommandPlugins[0]?.Output ?? '';
    expect(output).toHaveLength(2400);
    expect(output).toMatch(/^o+\n---Output truncated---\n----------ERROR-------\ne{300}$/);
  });

  test('shows 24,000 characters of a node’s output to who asks for that node, once it has ended', async () => {
    const gate = Promise.withResolvers<void>();
    const agent = async () => {
      await gate.promise;
      return { stdout: `${'x'.repeat(24_000)}end`, exitCode: 3 };
    };
    const [, [node]] = await nodes(1, { agent });
    const InstanceId = node?.id ?? '';
    const CommandId = await send({ InstanceIds: [InstanceId], Comment: 'a look' });
    const get = (input: object = {}) =>
      ssm.send(new GetCommandInvocationCommand({ CommandId, InstanceId, ...input }));
    expect(await get()).toMatchObject({ Status: 'InProgress', ResponseCode: -1, StandardOutputContent: '' });
    gate.resolve();
    await ended(CommandId);
    const invocation = await get({ PluginName: 'RunScript' });
    expect(invocation).toMatchObject({ Status: 'Failed', ResponseCode: 3, Comment: 'a look' });
    expect(invocation.StandardOutputContent).toMatch(/^x+--output truncated--$/);
    expect(invocation.StandardOutputContent).toHaveLength(24_000);
    const [{ CommandPlugins = [] } = {}] = await invocations(CommandId);
    expect(CommandPlugins[0]?.Output).toHaveLength(2400);

    const [, [other]] = await nodes(1);
    for (const [input, name] of [
      [{ InstanceId: other?.id }, 'InvocationDoesNotExist'],
      [{ CommandId: '00000000-0000-0000-0000-000000000000' }, 'InvocationDoesNotExist'],
      [{ PluginName: 'aws:runShellScript' }, 'InvalidPluginName'],
    ] as const)
      await expect(get(input)).rejects.toMatchObject({ name });
  });

  test('is found again by its document and time, page by page', async () => {
    const [, [node]] = await nodes(1);
    const InstanceIds = [node?.id ?? ''];
    cloud().services.ssmDocuments.create(ACCOUNT, REGION, {
      name: 'look',
      type: 'Command',
      content: runScript('true'),
    });
    const DocumentName = 'look';
    const early = await send({ InstanceIds, DocumentName });
    cloud().clock.advance(60_000);
    const since = cloud().clock.now().toISOString();
    const late = [await send({ InstanceIds, DocumentName }), await send({ InstanceIds, DocumentName })];
    await send({ InstanceIds });
    const Filters = [{ key: 'DocumentName', value: DocumentName } as const];
    const list = async (input: object) => {
      const { Commands = [], NextToken } = await ssm.send(new ListCommandsCommand(input));
      return { ids: Commands.map(({ CommandId }) => CommandId), NextToken };
    };
    const { ids } = await list({ Filters: [...Filters, { key: 'InvokedAfter', value: since }] });
    expect(ids).toEqual(late.toReversed());
    const first = await list({ Filters, MaxResults: 2 });
    const second = await list({ Filters, MaxResults: 2, NextToken: first.NextToken });
    expect([...first.ids, ...second.ids]).toEqual([...ids, early]);
    expect(second.NextToken).toBe('');
  });

  test('for a tag that no node carries is a success', async () => {
    const id = await send({ Targets: targets('nobody') });
    expect(await ended(id)).toMatchObject({
      Status: 'Success',
      StatusDetails: 'NoInstancesInTag',
      TargetCount: 0,
    });
    expect(await invocations(id)).toEqual([]);
  });

  test('stops being sent when more nodes have failed than may', async () => {
    const [group, made] = await nodes(4);
    const { writeFile } = await import('node:fs/promises');
    for (const { spec } of made) await writeFile(`${spec.root}/broken`, '');
    const id = await send({ Targets: targets(group), MaxConcurrency: '1', MaxErrors: '25%' });
    expect(await ended(id)).toMatchObject({ Status: 'Failed', StatusDetails: 'Failed', ErrorCount: 2 });
    const details = (await invocations(id)).map(({ StatusDetails }) => StatusDetails);
    expect(details).toEqual(['Failed', 'Failed', 'Terminated', 'Terminated']);
  });

  test('succeeds while fewer nodes fail than MaxErrors, whatever became of them', async () => {
    const [group, [broken]] = await nodes(2);
    const { writeFile } = await import('node:fs/promises');
    await writeFile(`${broken?.spec.root}/broken`, '');
    const id = await send({ Targets: targets(group), MaxErrors: '2' });
    expect(await ended(id)).toMatchObject({ Status: 'Success', ErrorCount: 1 });
  });

  test('waits for a node that is away, and times out; with one success beside it the whole is a success', async () => {
    const [group, [away]] = await nodes(2);
    away?.setOnline(false);
    const id = await send({ Targets: targets(group), TimeoutSeconds: 30 });
    await until(async () => (await commandOf(id))?.CompletedCount === 1);
    expect(await commandOf(id)).toMatchObject({ Status: 'InProgress' });
    cloud().clock.advance(3_630_000);
    expect(await ended(id)).toMatchObject({ Status: 'Success', DeliveryTimedOutCount: 1, ErrorCount: 0 });

    const only = await send({ InstanceIds: [away?.id ?? ''], TimeoutSeconds: 30 });
    cloud().clock.advance(3_630_000);
    expect(await ended(only)).toMatchObject({ Status: 'TimedOut', StatusDetails: 'DeliveryTimedOut' });
    const late = await send({ InstanceIds: [away?.id ?? ''] });
    away?.setOnline(true);
    expect(await ended(late)).toMatchObject({ Status: 'Success' });
  });

  test('is skipped on another platform, which counts as success', async () => {
    const [group] = await nodes(1, { platform: 'Windows' });
    const id = await send({ Targets: targets(group) });
    expect(await ended(id)).toMatchObject({ Status: 'Success' });
    const [{ CommandPlugins = [] } = {}] = await invocations(id);
    expect(CommandPlugins[0]?.Output).toContain('Step execution skipped');
  });

  test('under Default Host Management has the account-wide role’s credentials in its way', async () => {
    const node = await cloud().createNode(ACCOUNT, REGION, { defaultHostManagement: true });
    cloud().services.ssmDocuments.create(ACCOUNT, REGION, {
      name: 'show-key-file',
      type: 'Command',
      content: runScript('grep aws_access_key_id "$AWS_SHARED_CREDENTIALS_FILE"'),
    });
    const id = await send({ DocumentName: 'show-key-file', InstanceIds: [node.id] });
    expect(await ended(id)).toMatchObject({ Status: 'Success' });
    const [{ CommandPlugins = [] } = {}] = await invocations(id);
    const [, key = ''] = /= (\w+)/.exec(CommandPlugins[0]?.Output ?? '') ?? [];
    const { owner } = cloud().services.identities.key(key) ?? {};
    expect(owner).toMatchObject({
      role: { name: 'AWSSystemsManagerDefaultEC2InstanceManagementRole', tags: {} },
    });
  });

  test('is refused when document, nodes or parameters are not right', async () => {
    const [, [node]] = await nodes(1);
    const InstanceIds = [node?.id ?? ''];
    const refusals: [Partial<SendCommandCommandInput>, string][] = [
      [{ InstanceIds, DocumentName: 'absent' }, 'InvalidDocument'],
      [{ InstanceIds: ['i-00000000000000000'] }, 'InvalidInstanceId'],
      [{ InstanceIds: [...InstanceIds, ...InstanceIds] }, 'DuplicateInstanceId'],
      [{ InstanceIds, Parameters: { Word: ['x"; touch PWNED; "'] } }, 'InvalidParameters'],
      [{ InstanceIds, Parameters: { Other: ['x'] } }, 'InvalidParameters'],
      [{ InstanceIds, MaxConcurrency: '0' }, 'ValidationException'],
      [{ InstanceIds, MaxErrors: '101%' }, 'ValidationException'],
      [{ InstanceIds, TimeoutSeconds: 29 }, 'ValidationException'],
      [{ InstanceIds: Array(51).fill(node?.id) }, 'ValidationException'],
    ];
    for (const [input, name] of refusals) await expect(send(input)).rejects.toMatchObject({ name });
  });

  test('is allowed for the document and each node by itself', async () => {
    const [group, [node]] = await nodes(1);
    const place = (service: string) => `arn:aws:${service}:${REGION}:${ACCOUNT}`;
    const sender = (policy: PolicyDocument, name: string) =>
      new SSMClient(cloud().clientConfig(cloud().createUser(ACCOUNT, name, [policy]), REGION));
    const command = new SendCommandCommand({ DocumentName: 'run', Targets: targets(group) });
    const both = [`${place('ssm')}:document/run`, `${place('ec2')}:instance/${node?.id}`];
    await sender(allow('ssm:SendCommand', both), 'sender').send(command);
    for (const one of both) {
      const refused = sender(allow('ssm:SendCommand', one), `sender of ${both.indexOf(one)}`).send(command);
      await expect(refused).rejects.toMatchObject({ name: 'AccessDeniedException' });
    }
  });
});

describe('an automation', () => {
  const role = `arn:aws:iam::${ACCOUNT}:role/automation`;
  const step = (name: string, inputs: object, more: object = {}) => ({
    name,
    action: 'aws:runCommand',
    inputs: { DocumentName: 'run', ...inputs },
    ...more,
  });
  const steps = [
    step(
      'Canary',
      { InstanceIds: ['{{ Canary }}'], Parameters: { Word: '{{ Word }}' } },
      { onFailure: 'Abort' },
    ),
    step('Fleet', { Targets: [{ Key: 'tag:group', Values: ['{{ Group }}'] }], MaxErrors: '0' }),
  ];
  const runbook = (mainSteps: object[], assumeRole = role) => ({
    schemaVersion: '0.3',
    assumeRole,
    parameters: {
      Canary: { type: 'String', allowedPattern: '^i-[0-9a-f]{17}$' },
      Group: { type: 'String' },
      Word: { type: 'String', default: '' },
    },
    mainSteps,
  });
  const create = (name: string, content: object) =>
    cloud().services.ssmDocuments.create(ACCOUNT, REGION, { name, type: 'Automation', content });

  beforeAll(() => {
    cloud().services.identities.createRole(ACCOUNT, {
      name: 'automation',
      trustPolicy: trust(
        { Service: 'ssm.amazonaws.com' },
        {
          StringEquals: { 'aws:SourceAccount': ACCOUNT },
          ArnLike: { 'aws:SourceArn': `arn:aws:ssm:*:${ACCOUNT}:automation-execution/*` },
        },
      ),
      inlinePolicies: [allow(['ssm:SendCommand', 'ssm:ListCommands', 'ssm:ListCommandInvocations'])],
    });
    create('install', runbook(steps));
  });

  const start = async (input: Partial<StartAutomationExecutionCommandInput>) =>
    (await ssm.send(new StartAutomationExecutionCommand({ DocumentName: 'install', ...input })))
      .AutomationExecutionId as string;
  const execution = async (AutomationExecutionId: string) =>
    (await ssm.send(new GetAutomationExecutionCommand({ AutomationExecutionId }))).AutomationExecution;
  const finished = (id: string) =>
    until(async () => {
      const found = await execution(id);
      return (
        !['Pending', 'InProgress', 'Cancelling'].includes(found?.AutomationExecutionStatus ?? '') && found
      );
    });
  const parameters = (canary: CloudNode | undefined, group: string) => ({
    Canary: [canary?.id ?? ''],
    Group: [group],
  });

  test('runs its steps in order as its own role, and each names its command', async () => {
    const [group, [canary]] = await nodes(2);
    const id = await start({ Parameters: { ...parameters(canary, group), Word: ['hello'] } });
    const found = await finished(id);
    expect(found).toMatchObject({ AutomationExecutionStatus: 'Success', Parameters: { Word: ['hello'] } });
    const [first, second] = found.StepExecutions ?? [];
    expect(first).toMatchObject({
      StepName: 'Canary',
      StepStatus: 'Success',
      Outputs: { Output: ['word: hello\n'] },
    });
    expect(second).toMatchObject({ StepName: 'Fleet', StepStatus: 'Success' });
    // With targets by tag there is no output: it has to be read from the invocations.
    expect(second?.Outputs?.Output).toBeUndefined();
    expect(await invocations(second?.Outputs?.CommandId?.[0] ?? '')).toHaveLength(2);
    const sent = cloud().record.callsOf('SendCommand').at(-1);
    expect(sent).toMatchObject({
      principalArn: role,
      sessionArn: expect.stringContaining(`assumed-role/automation/Automation-${id}`),
    });
  });

  test('that fails on the canary leaves the others alone', async () => {
    const [group, [canary, other]] = await nodes(2);
    const { writeFile } = await import('node:fs/promises');
    await writeFile(`${canary?.spec.root}/broken`, '');
    const found = await finished(await start({ Parameters: parameters(canary, group) }));
    expect(found).toMatchObject({
      AutomationExecutionStatus: 'Failed',
      FailureMessage: expect.stringContaining('Canary'),
    });
    expect(found.StepExecutions?.[1]).toMatchObject({ StepStatus: 'Pending' });
    const reached = cloud()
      .record.emissionsOf('ssm-output')
      .map(({ source }) => source);
    expect(reached).not.toContain(`node ${other?.id}`);
  });

  test('shows outputs of steps that succeeded, and of others where it is told to', async () => {
    const [group, [canary, other]] = await nodes(2);
    const { writeFile } = await import('node:fs/promises');
    await writeFile(`${other?.spec.root}/broken`, '');
    const id = await start({ Parameters: parameters(canary, group) });
    const outputs = async () =>
      (await execution(id))?.StepExecutions?.map(({ Outputs }) => Outputs?.CommandId);
    const one = [expect.any(String)];
    const { automation } = cloud().services;
    await finished(id);
    expect(await outputs()).toEqual([one, undefined]);
    automation.showsEveryOutput = true;
    expect(await outputs()).toEqual([one, one]);
    automation.showsEveryOutput = false;
  });

  test('is answered with as many steps as it is told to, and says that there are more', async () => {
    const [group, [canary]] = await nodes(1);
    const { automation } = cloud().services;
    const found = await finished(await start({ Parameters: parameters(canary, group) }));
    expect(found).toMatchObject({ StepExecutionsTruncated: false, StepExecutions: [{}, {}] });
    automation.mostSteps = 1;
    const cut = await execution(found.AutomationExecutionId ?? '');
    automation.mostSteps = Number.POSITIVE_INFINITY;
    expect(cut).toMatchObject({ StepExecutionsTruncated: true, StepExecutions: [{ StepName: 'Canary' }] });
  });

  test('fails when its role may not be taken on, or may not send', async () => {
    const { identities } = cloud().services;
    const [group, [canary]] = await nodes(1);
    const arn = (name: string) => `arn:aws:iam::${ACCOUNT}:role/${name}`;
    identities.createRole(ACCOUNT, {
      name: 'distrustful',
      trustPolicy: trust({ Service: 'ec2.amazonaws.com' }),
    });
    identities.createRole(ACCOUNT, {
      name: 'powerless',
      trustPolicy: trust({ Service: 'ssm.amazonaws.com' }),
    });
    create('by-distrustful', runbook(steps, arn('distrustful')));
    create('by-powerless', runbook(steps, arn('powerless')));
    for (const [DocumentName, message] of [
      ['by-distrustful', 'unable to be assumed'],
      ['by-powerless', 'not authorized to perform: ssm:SendCommand'],
    ] as const) {
      const found = await finished(await start({ DocumentName, Parameters: parameters(canary, group) }));
      expect(found).toMatchObject({
        AutomationExecutionStatus: 'Failed',
        FailureMessage: expect.stringContaining(message),
      });
    }
  });

  test('takes parameters of 1 to 512 characters that fit the runbook', async () => {
    const [group, [canary]] = await nodes(1);
    const given = parameters(canary, group);
    const refusals: [Record<string, string[]>, string][] = [
      [{ ...given, Word: [''] }, 'ValidationException'],
      [{ ...given, Word: ['x'.repeat(513)] }, 'ValidationException'],
      [{ ...given, Canary: ['i-1; reboot'] }, 'InvalidAutomationExecutionParametersException'],
      [{ Group: [group] }, 'InvalidAutomationExecutionParametersException'],
      [{ ...given, Other: ['x'] }, 'InvalidAutomationExecutionParametersException'],
    ];
    for (const [Parameters, name] of refusals)
      await expect(start({ Parameters })).rejects.toMatchObject({ name });
    await expect(start({ DocumentName: 'absent' })).rejects.toMatchObject({
      name: 'AutomationDefinitionNotFoundException',
    });
  });

  test('is started once for a token, and never with other parameters', async () => {
    const [group, [canary]] = await nodes(1);
    const ClientToken = 'A1111111-2222-4333-8444-555555555555';
    const first = await start({ ClientToken, Parameters: parameters(canary, group) });
    expect(
      await start({ ClientToken: ClientToken.toLowerCase(), Parameters: parameters(canary, group) }),
    ).toBe(first);
    const other = start({ ClientToken, Parameters: parameters(canary, 'another') });
    await expect(other).rejects.toMatchObject({ name: 'IdempotentParameterMismatch' });
    await finished(first);
  });

  test('that is stopped ends the script on the node', async () => {
    create('slow-install', runbook([step('Slow', { DocumentName: 'slow', InstanceIds: ['{{ Canary }}'] })]));
    const [group, [canary]] = await nodes(1);
    const id = await start({ DocumentName: 'slow-install', Parameters: parameters(canary, group) });
    const { existsSync } = await import('node:fs');
    await until(() => existsSync(`${canary?.spec.root}/started`));
    const stop = () => ssm.send(new StopAutomationExecutionCommand({ AutomationExecutionId: id }));
    await stop();
    const found = await finished(id);
    expect(found).toMatchObject({ AutomationExecutionStatus: 'Cancelled' });
    const sent = await ssm.send(new ListCommandsCommand({ InstanceId: canary?.id }));
    expect(sent.Commands).toMatchObject([{ DocumentName: 'slow', Status: 'Cancelled' }]);
    await expect(stop()).rejects.toMatchObject({ name: 'InvalidAutomationStatusUpdateException' });
  });

  test('needs iam:PassRole for the role in the runbook', async () => {
    const [group, [canary]] = await nodes(1);
    const starter = cloud().createUser(ACCOUNT, 'starter', [allow('ssm:*')]);
    const refused = new SSMClient(cloud().clientConfig(starter, REGION)).send(
      new StartAutomationExecutionCommand({ DocumentName: 'install', Parameters: parameters(canary, group) }),
    );
    await expect(refused).rejects.toMatchObject({
      name: 'AccessDeniedException',
      message: expect.stringContaining(`iam:PassRole on resource: ${role}`),
    });
  });

  test('branches on a parameter, to nodes of a list or to those of a tag', async () => {
    const choice = { NextStep: 'Named', Variable: '{{ Word }}', StringEquals: 'named' };
    const branch = { name: 'Which', action: 'aws:branch', inputs: { Choices: [choice], Default: 'Tagged' } };
    const Values = '{{ Nodes }}';
    const named = step(
      'Named',
      { Targets: [{ Key: 'InstanceIds', Values }], MaxErrors: '0' },
      { isEnd: true },
    );
    const tagged = step('Tagged', { Targets: [{ Key: 'tag:group', Values: ['{{ Group }}'] }] });
    const content = runbook([branch, named, tagged]);
    const Nodes = { type: 'StringList', default: [], allowedPattern: '^i-[0-9a-f]{17}$' };
    create('branching', { ...content, parameters: { ...content.parameters, Nodes } });
    const [group, [canary, second, third]] = await nodes(3);
    const run = async (more: Record<string, string[]>) => {
      const given = { ...parameters(canary, group), ...more };
      const found = await finished(await start({ DocumentName: 'branching', Parameters: given }));
      expect(found.AutomationExecutionStatus).toBe('Success');
      const [which, ...others] = found.StepExecutions ?? [];
      expect(which).toMatchObject({ Action: 'aws:branch', StepStatus: 'Success' });
      const reached = others.map(async ({ Outputs }) =>
        Outputs ? (await invocations(Outputs.CommandId?.[0] ?? '')).map(({ InstanceId }) => InstanceId) : [],
      );
      return Promise.all(reached);
    };
    const two = [second?.id ?? '', third?.id ?? ''];
    expect(await run({ Word: ['named'], Nodes: two })).toEqual([two, []]);
    expect(await run({ Word: ['other'] })).toEqual([[], [canary?.id, ...two]]);
    const forged = { ...parameters(canary, group), Nodes: [...two, 'i-1; reboot'] };
    await expect(start({ DocumentName: 'branching', Parameters: forged })).rejects.toMatchObject({
      name: 'InvalidAutomationExecutionParametersException',
    });
  });

  describe('of which there are two versions, the later one narrower', () => {
    const narrow = (pattern: string) => {
      const content = runbook([
        step('Canary', { InstanceIds: ['{{ Canary }}'], Parameters: { Word: '{{ Word }}' } }),
      ]);
      const Word = { type: 'String', default: '', allowedPattern: pattern };
      return { ...content, parameters: { ...content.parameters, Word } };
    };
    const command = (pattern: string) => {
      const content = runScript('echo "word: $SSM_Word"');
      const parameters = { Word: { ...word, allowedPattern: pattern } };
      cloud().services.ssmDocuments.create(ACCOUNT, REGION, {
        name: 'run',
        type: 'Command',
        content: { ...content, parameters },
      });
    };
    let given: StartAutomationExecutionCommandInput['Parameters'];
    const startVersion = (DocumentVersion: string | undefined, Word: string) =>
      start({ DocumentName: 'narrowed', DocumentVersion, Parameters: { ...given, Word: [Word] } });

    beforeAll(async () => {
      create('narrowed', narrow('^[a-z]{0,9}$'));
      create('narrowed', narrow('^(a|b)?$'));
      const [group, [canary]] = await nodes(1);
      given = parameters(canary, group);
    });

    test.each([undefined, '$DEFAULT', '$LATEST', '2'])('the later one is %s', async (version) => {
      await expect(startVersion(version, 'word')).rejects.toMatchObject({
        name: 'InvalidAutomationExecutionParametersException',
        message: expect.stringContaining('Word'),
      });
      const id = await startVersion(version, 'a');
      expect(await finished(id)).toMatchObject({
        AutomationExecutionStatus: 'Success',
        DocumentVersion: '2',
      });
    });

    test('the earlier one can be named, and no other', async () => {
      const id = await startVersion('1', 'word');
      expect(await finished(id)).toMatchObject({
        AutomationExecutionStatus: 'Success',
        DocumentVersion: '1',
      });
      await expect(startVersion('3', 'a')).rejects.toMatchObject({
        name: 'AutomationDefinitionVersionNotFoundException',
      });
    });

    test('what a runbook sends is held against the later version of the command document', async () => {
      command('^(a|b)?$');
      const found = await finished(await startVersion('1', 'word'));
      command(word.allowedPattern);
      expect(found).toMatchObject({
        AutomationExecutionStatus: 'Failed',
        FailureMessage: expect.stringMatching(/Word does not match .*InvalidParameters/),
      });
    });
  });

  const branchWith = (inputs: object, more: object = {}) => [
    { name: 'Which', action: 'aws:branch', inputs, ...more },
    ...steps,
  ];
  const choice = { NextStep: 'Fleet', Variable: '{{ Word }}', StringEquals: 'x' };
  test.each<[string, object[]]>([
    ['aws:executeScript', [{ name: 'Script', action: 'aws:executeScript', inputs: {} }]],
    ['Contains', branchWith({ Choices: [{ ...choice, StringEquals: undefined, Contains: 'x' }] })],
    ['Choices', branchWith({ Choices: [] })],
    ['{{ Other }}', branchWith({ Choices: [{ ...choice, Variable: '{{ Other }}' }] })],
    ['no step Nowhere', branchWith({ Choices: [choice], Default: 'Nowhere' })],
    ['no step Which', branchWith({ Choices: [{ ...choice, NextStep: 'Which' }] })],
    ['nextStep', branchWith({ Choices: [choice] }, { nextStep: 'Fleet' })],
  ])('with %s, which is not modelled, cannot even be created', (text, mainSteps) => {
    expect(() => create('unknown', runbook(mainSteps))).toThrow(text);
  });
});
