// ExcludeNodeIds: nodes that a deployment leaves out.
import { beforeEach, expect, test } from '@jest/globals';
import { maxErrorsOf } from '../../functions/domain/nodes.ts';
import type { ScriptedNode } from '../../local/scripted-node.ts';
import { System } from './support/system.ts';

const IN = 'i-0123456789abcdef0';
const OUT = 'i-0123456789abcdef1';
/** Of the same digits: another node. */
const HYBRID = 'mi-0123456789abcdef1';

let system: System;
let arn: string;
let kept: ScriptedNode;
let leftOut: ScriptedNode;
beforeEach(async () => {
  system = await System.create();
  arn = await system.acm.issue('web');
  // The lower id would be the canary.
  leftOut = await system.target().addNode(OUT);
  kept = await system.target().addNode(IN);
});

const register = async (order: object = { ExcludeNodeIds: [OUT] }) => {
  const { status, body } = await system.register({ CertificateArn: arn, ...order });
  if (status === 202) await system.runAll();
  return { status, body, id: body.DeploymentId as string };
};
/** Each five minutes, as the schedule has it: looks are sent each hour, and read by the next sweep. */
async function sweeps(count: number): Promise<void> {
  for (let sweep = 0; sweep < count; sweep += 1) {
    system.advance({ minutes: 5 });
    await system.reconcile('nodes');
    await system.letNodesAnswer();
    await system.runAll();
  }
}
const recorded = async (id: string) =>
  (await system.inventory.nodes.all(id)).map(({ NodeId, Outcome }) => [NodeId, Outcome]);

test('a node that is left out gets nothing, and the deployment is whole without it', async () => {
  const hybrid = await system.target().addNode(HYBRID);
  const { id, body } = await register();
  expect(body).toMatchObject({
    ExcludeNodeIds: [OUT],
    Warnings: [expect.stringContaining('Neither VerifyPort')],
  });
  expect([kept.installed, hybrid.installed, leftOut.installed]).toEqual([
    expect.anything(),
    expect.anything(),
    undefined,
  ]);
  expect(await recorded(id)).toEqual([
    [IN, 'installed'],
    [HYBRID, 'installed'],
  ]);
  expect(await system.deployment(id)).toMatchObject({ Status: 'INSTALLED', ExcludeNodeIds: [OUT] });
});

test('a hybrid node that is left out leaves out no instance of the same digits', async () => {
  const hybrid = await system.target().addNode(HYBRID);
  await register({ ExcludeNodeIds: [HYBRID] });
  expect(hybrid.installed).toBeUndefined();
  expect(leftOut.installed).toBeDefined();
});

test('sweeps and renewals leave it out too, and begin nothing for its sake', async () => {
  const { id } = await register();
  await sweeps(26);
  expect(await system.deployment(id)).toMatchObject({ Status: 'INSTALLED', Rollouts: 1 });
  await system.acm.renew(arn);
  await system.renewal(arn);
  await system.runAll();
  expect(kept.installed?.Serial).toBe(system.acm.serialOf(arn));
  expect(leftOut.installed).toBeUndefined();
  expect(await system.deployment(id)).toMatchObject({ Status: 'INSTALLED', Rollouts: 2 });
});

test('it is no canary, and where no other node has the tag the deployment waits for one', async () => {
  const { id, body } = await register({ ExcludeNodeIds: [OUT, IN] });
  expect(body.Warnings).toContainEqual(expect.stringMatching(/^No other managed node .* carries the tag/));
  expect(await system.deployment(id)).toMatchObject({ Status: 'WAITING' });
  expect(system.target().automations()).toEqual([]);
});

test('a dry run tries no node that it leaves out, and says so while it runs', async () => {
  const { body } = await system.register({ CertificateArn: arn, DryRun: true, ExcludeNodeIds: [OUT] });
  expect(await system.deployment(body.DeploymentId)).toMatchObject({
    Rollout: { Trial: { ExcludeNodeIds: [OUT] } },
  });
  await system.runAll();
  expect(await system.deployment(body.DeploymentId)).toMatchObject({ LastTrial: { Status: 'PASSED' } });
  expect((await system.inventory.nodes.all(body.DeploymentId)).map(({ NodeId }) => NodeId)).toEqual([IN]);
});

test('one that is left out and broken does not stop the others, though Run Command counts it', async () => {
  for (const digit of [2, 3, 4]) await system.target().addNode(IN.replace(/0$/, String(digit)));
  // Not even the script comes to its end there.
  leftOut.says = () => ({ stdout: '', exitCode: 1 });
  const { id } = await register({ ExcludeNodeIds: [OUT], MaxConcurrency: '1', MaxErrors: '0' });
  expect(await system.deployment(id)).toMatchObject({ Status: 'INSTALLED' });
  expect((await recorded(id)).map(([, outcome]) => outcome)).toEqual(Array(4).fill('installed'));
});

test.each([
  ['10%', 10, 0, '10%'],
  ['1', 10, 0, '1'],
  ['1', 10, 2, '3'],
  ['0', 10, 1, '1'],
  ['0%', 10, 1, '1'],
  ['10%', 9, 1, '1'],
  ['10%', 25, 3, '5'],
  ['100%', 4, 1, '5'],
])(
  'MaxErrors %s of %i nodes beside %i that are left out is %s',
  (MaxErrors, count, leftOutCount, expected) => {
    const ExcludeNodeIds = ids(leftOutCount);
    const others = Array.from({ length: count }, (_, i) => ({ NodeId: `i-${String(i).padStart(8, '0')}` }));
    const tagged = [...others, ...ExcludeNodeIds.map((NodeId) => ({ NodeId }))];
    // One that does not carry the tag counts for nothing.
    const order = { MaxErrors, ExcludeNodeIds: [...ExcludeNodeIds, IN] };
    expect(maxErrorsOf(order, tagged)).toBe(expected);
  },
);

test('a list replaces the one before, and the answer says who is served again', async () => {
  const { id } = await register();
  const { body } = await register({ ExcludeNodeIds: [IN] });
  expect(body.Warnings).toContainEqual(
    `${OUT} is no longer left out: ExcludeNodeIds replaces the list that was registered.`,
  );
  expect(leftOut.installed).toBeDefined();
  expect((await register({ ExcludeNodeIds: [IN] })).body.Warnings).not.toContainEqual(
    expect.stringContaining('no longer'),
  );
  expect(await system.deployment(id)).toMatchObject({ Status: 'INSTALLED' });
});

test('what is left out later keeps what it has, unwatched, and comes back by itself', async () => {
  const { id } = await register({});
  const before = leftOut.installed;
  expect(before).toBeDefined();
  const { body } = await register();
  expect(body.Warnings).toContainEqual(
    expect.stringMatching(`^${OUT} is left out\\. It keeps the certificate that ends at \\d{4}`),
  );
  expect(leftOut.installed).toEqual(before);
  // Neither its files nor the end of its certificate are anybody's concern.
  leftOut.drift.set('web-prod', 'damaged');
  await system.acm.renew(arn);
  await system.renewal(arn);
  await system.runAll();
  const sent = system.messages().length;
  await sweeps(26);
  expect(system.messages()).toHaveLength(sent);
  const { EarliestNotAfter } = await system.deployment(id);
  expect(EarliestNotAfter).toBe(kept.installed?.NotAfter);
  // Nor does its old version keep the deployment from being whole.
  kept.drift.set('web-prod', 'damaged');
  await sweeps(26);
  expect(kept.drift.size).toBe(0);
  expect(await system.deployment(id)).toMatchObject({ Status: 'INSTALLED' });
  const records = await system.inventory.nodes.all(id);
  expect(records).toContainEqual(expect.objectContaining({ NodeId: OUT, MissingSince: expect.any(String) }));
  await register({ ExcludeNodeIds: null });
  expect(leftOut.installed?.Serial).toBe(system.acm.serialOf(arn));
  expect(await system.deployment(id)).toMatchObject({ Status: 'INSTALLED', ExcludeNodeIds: [] });
});

test('a request that does not name the field keeps it', async () => {
  const { id } = await register();
  await register({ VerifyPort: 443 });
  expect(await system.deployment(id)).toMatchObject({ ExcludeNodeIds: [OUT], VerifyPort: 443 });
});

const ids = (count: number) => Array.from({ length: count }, (_, i) => `mi-${String(i).padStart(17, '0')}`);

test('25 hybrid nodes fit into one parameter; an id that no node with the tag has is warned of', async () => {
  const { id, body } = await register({ ExcludeNodeIds: ids(25) });
  expect(
    body.Warnings.filter((words: string) => / is in ExcludeNodeIds and does not carry/.test(words)),
  ).toHaveLength(25);
  expect(await system.deployment(id)).toMatchObject({ Status: 'INSTALLED' });
  expect([kept.installed, leftOut.installed]).not.toContain(undefined);
});

test.each([
  ['ExcludeNodeIds', ids(26)],
  ['ExcludeNodeIds', [OUT, OUT]],
  ['ExcludeNodeIds', OUT],
  ['ExcludeNodeIds.0', ['i-0123456789abcdef']],
  ['ExcludeNodeIds.0', ['m0123456789abcdef0']],
  ['ExcludeNodeIds.1', [OUT, 'web-1']],
  ['ExcludeNodeIds.0', ['*']],
])('refuses %s: %j', async (field, ExcludeNodeIds) => {
  const { status, body } = await system.register({ CertificateArn: arn, ExcludeNodeIds });
  expect(status).toBe(400);
  expect(body.Faults.map(({ Field }: { Field: string }) => Field)).toContain(field);
});
