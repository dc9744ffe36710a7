import { beforeEach, expect, test } from '@jest/globals';
import { System } from './support/system.ts';

// What a server says when it is looked at may be written by an attacker who took it over, and what its certificates say by any
// user of it.

let system: System;
let id: string;
beforeEach(async () => {
  system = await System.create();
  system.discoverEndpoints = 'tell';
  await system.target().addNode('i-00000001');
  id = await installed({});
});

const liar = () => system.target().nodes[0] as NonNullable<ReturnType<System['target']>['nodes'][0]>;

async function installed(body: object, certName?: string): Promise<string> {
  const CertificateArn = await system.acm.issue(certName ?? 'web');
  const { body: answer } = await system.register({ CertificateArn, ...body }, {}, certName);
  await system.runAll();
  return answer.DeploymentId;
}

/** One look: sent by the first sweep, read by the second one. */
async function look(): Promise<void> {
  system.advance({ minutes: 55 });
  for (const _ of ['send', 'read']) {
    system.advance({ minutes: 5 });
    await system.reconcile('nodes');
    for (let answers = 0; answers < 5; answers += 1) {
      await system.letNodesAnswer();
    }
    await system.runAll();
  }
}

const says = (...lines: string[][]) => {
  const count = (word: string) => String(lines.filter(([first]) => first === word).length);
  const all = [...lines, ['end', count('certificate'), count('endpoint')]];
  liar().saysOnLook = () => ({ stdout: `${all.map((line) => line.join('\t')).join('\n')}\n`, exitCode: 0 });
};
const certificate = (name: string, deploymentId: string, files = 'ok') => {
  const { Serial = '', NotAfter = '' } = liar().installed ?? {};
  return ['certificate', name, deploymentId, '1', Serial, NotAfter, files, '-'];
};
const endpoint = (subject: string, issuer = 'CN=Some CA') => [
  ...['endpoint', '9443', 'aa', system.clock.now().toISOString().replace(/\.\d+/, ''), issuer, subject],
];
const endpoints = async () => (await system.api('GET', '/endpoints')).body.Endpoints;

test('lies of a server about other deployments and servers change nothing there', async () => {
  await system.target().addNode('i-00000002', { tags: { 'acm-export': 'other' } });
  const other = await installed({ TargetTagValue: 'other' }, 'other');
  await look();
  const before = await system.inventory.nodes.all(other);
  says(
    certificate('web-prod', id),
    certificate('other', other, 'damaged:sums'),
    certificate('i-00000002', other, 'missing'),
  );
  await look();
  expect(await system.inventory.nodes.all(other)).toEqual(before);
  expect(await system.deployment(other)).toMatchObject({ Status: 'INSTALLED', Rollouts: 1 });
  expect(await system.deployment(id)).toMatchObject({ Status: 'INSTALLED', Rollouts: 1 });
});

test.each([
  ['a text that looks like advice', `CN=x. What to do: call +1 900 ${'0'.repeat(70)}`],
  ['a hundred quotation marks', '"'.repeat(100)],
  ['nothing', ''],
])('%s in a certificate stays between quotation marks in the message', async (_, subject) => {
  says(certificate('web-prod', id), endpoint(subject));
  await look();
  expect(await endpoints()).toMatchObject([{ NodeId: 'i-00000001', Port: 9443, Subject: subject }]);
  const [{ Subject, Message } = { Subject: '', Message: '' }, ...others] = system.messages();
  expect(others).toEqual([]);
  expect(Subject).toBe('Unregistered certificate on i-00000001:9443 has expired');
  expect(Message).toContain(`port 9443: ${JSON.stringify(subject)}, issued by "CN=Some CA", expires at `);
  expect(Message).toMatch(/^[\n -~]*$/);
  expect(Message.match(/^What to do: /gm)).toHaveLength(1);
});

test.each([
  ['an escape sequence', 'CN=\u001b[2J\u001b]0;all is well\u0007'],
  ['another direction of writing', 'CN=\u202emoc.elpmaxe'],
  ['a new paragraph', 'CN=x\n\nWhat to do: nothing'],
  ['a hundred and one characters', 'x'.repeat(101)],
])('%s makes the whole answer count for nothing', async (_, subject) => {
  says(certificate('web-prod', id), endpoint(subject));
  await look();
  expect(await endpoints()).toEqual([]);
  expect(system.messages()).toEqual([]);
  expect(await system.inventory.nodes.all(id)).toMatchObject([{ Finding: { Kind: 'unseen' } }]);
});

test('ports that a server names without being asked for them are not kept', async () => {
  system.discoverEndpoints = 'no';
  says(certificate('web-prod', id), endpoint('CN=www.example.com'));
  await look();
  expect([await endpoints(), system.messages()]).toEqual([[], []]);
});
