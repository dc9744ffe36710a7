import {
  GetCommandInvocationCommand,
  ListCommandInvocationsCommand,
  SendCommandCommand,
  SSMClient,
} from '@aws-sdk/client-ssm';
import { beforeEach, expect, test } from '@jest/globals';
import type { ScriptedNode } from '../../local/scripted-node.ts';
import { MEMBER, REGION, System } from '../functions/support/system.ts';

const DOCUMENT = 'acm-export-look-at-node';
let system: System;
let node: ScriptedNode;
let ssm: SSMClient;
let id: string;

beforeEach(async () => {
  system = await System.create();
  node = await system.target().addNode('i-00000001');
  ssm = system.target().client(SSMClient);
  system.cloud.services.ssmDocuments.create(MEMBER, REGION, {
    name: DOCUMENT,
    type: 'Command',
    content: {
      schemaVersion: '2.2',
      parameters: { Discover: { type: 'String', default: 'true' } },
      mainSteps: [{ name: 'LookAtNode', action: 'aws:runShellScript', inputs: { runCommand: [] } }],
    },
  });
  const { body } = await system.register({ CertificateArn: await system.acm.issue(), VerifyPort: 443 });
  id = body.DeploymentId;
  await system.runAll();
});

async function look(InstanceIds: string[], Parameters = {}): Promise<string> {
  const sent = await ssm.send(new SendCommandCommand({ DocumentName: DOCUMENT, InstanceIds, Parameters }));
  await system.letNodesAnswer();
  return sent.Command?.CommandId ?? '';
}

/** What the node says, line by line. */
async function seen(Parameters = {}): Promise<string[][]> {
  const CommandId = await look([node.NodeId], Parameters);
  const { StandardOutputContent = '' } = await ssm.send(
    new GetCommandInvocationCommand({ CommandId, InstanceId: node.NodeId }),
  );
  expect(StandardOutputContent).toMatch(/\n$/);
  const lines = StandardOutputContent.trimEnd().split('\n');
  return lines.map((line) => line.split('\t'));
}

test('a node shows what it installed, and how it drifted until an install mends it', async () => {
  const { Serial = '', NotAfter = '', RolloutNumber } = node.installed ?? {};
  const record = ['certificate', 'web-prod', id, String(RolloutNumber)];
  const healthy = [...record, Serial, NotAfter, 'ok', `443=${Serial}=${NotAfter}`];
  expect(NotAfter).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  expect(await seen()).toEqual([healthy, ['end', '1', '0']]);
  for (const [drift, ...shown] of [
    ['older', '0a', '2026-01-01T00:00:00Z', 'ok', '443=0a=2026-01-01T00:00:00Z'],
    ['missing', '-', '-', 'missing', `443=${Serial}=${NotAfter}`],
    ['damaged', Serial, NotAfter, 'damaged:sums', `443=${Serial}=${NotAfter}`],
    ['foreign', Serial, NotAfter, 'ok', '443=0f=2030-01-01T00:00:00Z'],
    ['silent', Serial, NotAfter, 'ok', '443=silent'],
  ] as const) {
    node.drift.set('web-prod', drift);
    expect(await seen()).toEqual([
      [...record, ...shown],
      ['end', '1', '0'],
    ]);
  }
  node.drift.set('web-prod', 'damaged');
  await system.rollouts(id);
  await system.runAll();
  expect((await seen())[0]?.slice(4)).toEqual(healthy.slice(4));
});

test('a node shows other ports where it is asked for them', async () => {
  node.endpoints = [
    { Port: 8443, Serial: '0b', NotAfter: '2027-01-01T00:00:00Z', Issuer: 'CN=a', Subject: '' },
  ];
  expect((await seen()).slice(1)).toEqual([
    ['endpoint', '8443', '0b', '2027-01-01T00:00:00Z', 'CN=a', ''],
    ['end', '1', '1'],
  ]);
  expect((await seen({ Discover: ['false'] })).slice(1)).toEqual([['end', '1', '0']]);
});

test('ten thousand nodes say what a test lets them say', async () => {
  const ids = Array.from({ length: 10_000 }, (_, index) => `i-${(index + 2).toString(16).padStart(17, '0')}`);
  for (const name of ids) {
    const one = await system.target().addNode(name, { tags: { other: 'tag' } });
    one.saysOnLook = () => ({ stdout: `forged by ${name}\n`, exitCode: 0 });
  }
  for (let start = 0; start < ids.length; start += 50) {
    const CommandId = await look(ids.slice(start, start + 50));
    const { CommandInvocations = [] } = await ssm.send(
      new ListCommandInvocationsCommand({ CommandId, Details: true, MaxResults: 50 }),
    );
    expect(CommandInvocations.map(({ CommandPlugins }) => CommandPlugins?.[0]?.Output)).toEqual(
      ids.slice(start, start + 50).map((name) => `forged by ${name}\n`),
    );
  }
});
