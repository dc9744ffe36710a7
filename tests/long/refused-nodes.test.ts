import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import type { CloudNode } from 'local-cloud';
import { requestCertificate } from '../../local/example-fleet.ts';
import {
  deploy,
  deploymentOf,
  installed,
  order,
  pass,
  plainNode,
  testFleet,
} from '../end-to-end/test-fleet.ts';

// Nodes that cannot be served for a reason of their own, with the real scripts.

const fleet = testFleet();
const nodes = (count: number, tag: string, options = {}) =>
  Promise.all(Array.from({ length: count }, () => plainNode(fleet(), tag, options)));

/** Outcome and exit code of each node, in the order of the nodes. */
async function outcomes(name: string, id: string, of: CloudNode[]) {
  const { Status, Nodes } = await deploymentOf(fleet(), name, id);
  const found = new Map<string, string>(
    Nodes.map(({ NodeId, Outcome, ExitCode }: { NodeId: string; Outcome: string; ExitCode?: number }) => [
      NodeId,
      [Outcome, ...(ExitCode ? [ExitCode] : [])].join(' '),
    ]),
  );
  return [Status, ...of.map(({ id: nodeId }) => found.get(nodeId))];
}

async function renew(arn: string) {
  await fleet().cloud.services.acm.renew(arn);
  await fleet().cloud.idle();
}

test('each for another reason, three nodes keep no other from the certificate', async () => {
  const all = await nodes(4, 'reasons');
  const [denied, linked, open] = all as [CloudNode, CloudNode, CloudNode, CloudNode];
  denied.setRoleTags({});
  mkdirSync(join(linked.spec.root, 'etc/ssl/acm-export'), { recursive: true });
  symlinkSync('/tmp', join(linked.spec.root, 'etc/ssl/acm-export/reasons'));
  const hooks = join(open.spec.root, 'etc/acm-export/hooks.d/reasons');
  mkdirSync(hooks, { recursive: true });
  writeFileSync(join(hooks, '50-anybody'), '#!/bin/sh\n');
  chmodSync(join(hooks, '50-anybody'), 0o777);
  const arn = await requestCertificate(fleet(), 'reasons', ['reasons.example.com']);
  const { started } = await deploy(fleet(), 'reasons', order(arn, 'reasons'));
  const expected = ['DEGRADED', 'refused 20', 'refused 32', 'refused 34', 'installed'];
  expect(await outcomes('reasons', started.DeploymentId, all)).toEqual(expected);
  await renew(arn);
  expect(await outcomes('reasons', started.DeploymentId, all)).toEqual(expected);
});

test('a name that belongs to another deployment on some nodes keeps no other from the certificate', async () => {
  const arn = await requestCertificate(fleet(), 'owned', ['owned.example.com']);
  const owned = await nodes(2, 'first-owner');
  await deploy(fleet(), 'owned', order(arn, 'first-owner'));
  for (const node of owned) {
    node.setTags({ 'acm-export': 'second-owner' });
    node.setRoleTags({ 'acm-export': 'second-owner' });
  }
  const good = await nodes(1, 'second-owner');
  const { started } = await deploy(fleet(), 'owned', order(arn, 'second-owner'));
  expect(await outcomes('owned', started.DeploymentId, [...owned, ...good])).toEqual([
    'DEGRADED',
    'refused 31',
    'refused 31',
    'installed',
  ]);
});

test('good nodes that turn bad go on serving what they have, and get the next version when they are good again', async () => {
  const all = await nodes(3, 'turning');
  const [first, second, third] = all as [CloudNode, CloudNode, CloudNode];
  const arn = await requestCertificate(fleet(), 'turning', ['turning.example.com']);
  const { started } = await deploy(fleet(), 'turning', order(arn, 'turning'));
  const before = installed(first, 'turning').fullchain();
  for (const node of [first, second]) node.setRoleTags({});
  fleet().cloud.settle();
  await renew(arn);
  expect(await outcomes('turning', started.DeploymentId, all)).toEqual([
    'DEGRADED',
    'refused 20',
    'refused 20',
    'installed',
  ]);
  expect(installed(first, 'turning').fullchain()).toBe(before);
  expect(installed(third, 'turning').fullchain()).not.toBe(before);
  for (const node of [first, second]) node.setRoleTags({ 'acm-export': 'turning' });
  fleet().cloud.settle();
  // Nobody asks for it: they are tried again after a quarter of an hour.
  await pass(fleet(), 5, 5, 5, 5);
  expect(await outcomes('turning', started.DeploymentId, all)).toEqual([
    'INSTALLED',
    'installed',
    'installed',
    'unchanged',
  ]);
  expect(installed(first, 'turning').fullchain()).toBe(installed(third, 'turning').fullchain());
});

test.each<[string, object, string]>([
  ['group', { KeyGroup: 'no-such-group' }, 'failed 36'],
  ['unit', { ReloadServices: ['no-such-unit'] }, 'failed 33'],
  ['port', { VerifyPort: 9 }, 'rolled-back 63'],
])(
  'an order that no node can follow (%s) stops at the canary, beside nodes that are refused',
  async (name, options, expected) => {
    const bad = await nodes(3, name, { roleTags: {} });
    const good = await nodes(4, name);
    const arn = await requestCertificate(fleet(), name, [`${name}.example.com`]);
    const { started } = await deploy(fleet(), name, order(arn, name));
    const before = good.map((node) => installed(node, name).fullchain());
    await deploy(fleet(), name, order(arn, name, options));
    const [status, ...found] = await outcomes(name, started.DeploymentId, [...bad, ...good]);
    expect(status).toBe('FAILED');
    expect(found.toSorted()).toEqual(
      [
        expected,
        'not-reached',
        'not-reached',
        'not-reached',
        'refused 20',
        'refused 20',
        'refused 20',
      ].toSorted(),
    );
    expect(good.map((node) => installed(node, name).fullchain())).toEqual(before);
  },
);
