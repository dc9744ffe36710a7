import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import type { CloudNode } from 'local-cloud';
import type { Deployed, Resource } from 'local-cloud/templates';
import { requestCertificate } from '../../local/example-fleet.ts';
import { deploy, order, plainNode, testFleet } from '../end-to-end/test-fleet.ts';

// The order in which a fleet is installed, and what is recorded of it. The install itself has tests of its own:
// here a stand-in of a few lines takes its place, so that 120 nodes are affordable. It notes that it ran, fails
// where the test left a file "broken", and reports as the real script does.
const STAND_IN = `#!/bin/bash
echo "$AWS_SSM_INSTANCE_ID" >>"$ACM_EXPORT_ROOT/../order"
outcome=installed code=0 error=
if [ -e "$ACM_EXPORT_ROOT/broken" ]; then
  outcome=failed code=60 error=',"Step":"test-config","Error":"broken"'
elif [ -e "$ACM_EXPORT_ROOT/done" ]; then
  outcome=unchanged
else
  touch "$ACM_EXPORT_ROOT/done"
fi
printf '{"Outcome":"%s","ExitCode":%d,"Serial":"ab12","VersionId":"%s","RolloutNumber":%d,"DeploymentId":"%s"%s}\\n' \
  "$outcome" "$code" "$SSM_VersionId" "$SSM_RolloutNumber" "$SSM_DeploymentId" "$error"
exit "$code"
`;

function useStandIn({ resources }: Deployed): void {
  const document = resources.get('InstallOnNodeDocument') as Resource;
  const { mainSteps } = document.properties.Content as {
    mainSteps: { inputs: { runCommand: string[] } }[];
  };
  for (const step of mainSteps) {
    step.inputs.runCommand = STAND_IN.split('\n');
  }
}

// An offline node holds a command until its total time-out, a quarter of an hour: here, a second or two.
const fleet = testFleet({ member: { amend: useStandIn } }, 0.001);

const nodes = (count: number, tag: string) =>
  Promise.all(Array.from({ length: count }, () => plainNode(fleet(), tag, { kind: 'hybrid' })));
const breakNode = (node: CloudNode) => writeFileSync(join(node.spec.root, 'broken'), '');

/** Node ids in the order in which the stand-in ran, since the last look. */
function ran(): string[] {
  const file = join(fleet().cloud.folder, 'nodes', 'order');
  const lines = existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : [];
  writeFileSync(file, '');
  return lines.filter((line) => line !== '');
}

async function rollOut(tag: string, more: object = {}) {
  const arn = await requestCertificate(fleet(), tag, [`${tag}.example.com`]);
  ran();
  return (await deploy(fleet(), tag, order(arn, tag, more))).deployment;
}

/** All nodes of a deployment, page by page. */
async function outcomes(deployment: { DeploymentId: string; CertName: string }) {
  const { fetchSigned } = fleet().cloud;
  const counts: Record<string, number> = {};
  let token = '';
  do {
    const path = `/certificates/${deployment.CertName}/deployments/${deployment.DeploymentId}?Limit=50${token}`;
    const response = await fetchSigned.call(
      fleet().cloud,
      fleet().operator,
      'eu-west-1',
      `${fleet().central.apiUrl}${path}`,
    );
    const page = (await response.json()) as { Nodes: { Outcome: string }[]; NextToken?: string };
    for (const { Outcome } of page.Nodes) {
      counts[Outcome] = (counts[Outcome] ?? 0) + 1;
    }
    token = page.NextToken ? `&NextToken=${encodeURIComponent(page.NextToken)}` : '';
  } while (token);
  return counts;
}

test('a single node is its own canary', async () => {
  await nodes(1, 'one');
  const deployment = await rollOut('one');
  expect([deployment.Status, await outcomes(deployment)]).toEqual(['INSTALLED', { installed: 1 }]);
});

test('of 51 nodes one goes first, then all others, and each is on record', async () => {
  await nodes(51, 'many');
  const deployment = await rollOut('many');
  const order = ran();
  expect(new Set(order).size).toBe(51);
  expect(order.filter((id) => id === order[0])).toHaveLength(2);
  expect([deployment.Status, await outcomes(deployment)]).toEqual(['INSTALLED', { installed: 51 }]);
});

test('of 120 nodes those that cannot be reached are named, the others are served', async () => {
  await Promise.all([
    nodes(110, 'mixed'),
    ...Array.from({ length: 5 }, () => plainNode(fleet(), 'mixed', { online: false })),
    ...Array.from({ length: 3 }, () => plainNode(fleet(), 'mixed', { platform: 'Windows' })),
    ...Array.from({ length: 2 }, () => plainNode(fleet(), 'mixed', { agentVersion: '3.2.2086.0' })),
  ]);
  const deployment = await rollOut('mixed');
  expect([deployment.Status, await outcomes(deployment)]).toEqual([
    'DEGRADED',
    { installed: 110, offline: 5, unsupported: 5 },
  ]);
});

test('a failed canary leaves every other node untouched', async () => {
  (await nodes(4, 'canary')).forEach(breakNode);
  const deployment = await rollOut('canary');
  expect(ran()).toHaveLength(1);
  expect([deployment.Status, await outcomes(deployment)]).toEqual([
    'FAILED',
    { failed: 1, 'not-reached': 3 },
  ]);
});

test('after MaxErrors no further node is started', async () => {
  const all = (await nodes(6, 'errors')).toSorted((a, b) => (a.id < b.id ? -1 : 1));
  // The first canary is the first by id: it must pass for the fleet to start.
  all.slice(1).forEach(breakNode);
  const deployment = await rollOut('errors', { MaxConcurrency: '1', MaxErrors: '0' });
  expect(new Set(ran()).size).toBeLessThanOrEqual(3);
  expect(deployment.Status).toBe('FAILED');
  expect(await outcomes(deployment)).toMatchObject({ installed: 1, failed: 1, 'not-reached': 4 });
});

test('a node that vanishes during the rollout is named, and does not fail the others', async () => {
  const all = (await nodes(3, 'vanish')).toSorted((a, b) => (a.id < b.id ? -1 : 1));
  fleet().cloud.faults.inject({
    operation: 'SendCommand',
    kind: 'throttle',
    when: () => {
      all[1]?.setOnline(false);
      return false;
    },
  });
  const deployment = await rollOut('vanish');
  fleet().cloud.faults.clear();
  expect([deployment.Status, await outcomes(deployment)]).toEqual(['DEGRADED', { installed: 2, offline: 1 }]);
});
