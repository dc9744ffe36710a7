import { join } from 'node:path';
import { beforeAll, expect, test } from '@jest/globals';
import {
  addNode,
  CENTRAL,
  requestCertificate,
  type ServingNode,
  served,
} from '../../../local/example-fleet.ts';
import { call, deploy, deploymentOf, order, pass, testFleet } from '../../end-to-end/test-fleet.ts';
import { ROOT } from '../../templates/stacks.ts';

// The freeze of all rollouts, over the API as a person calls it, in a stack that is deployed again meanwhile.

const fleet = testFleet();
let node: ServingNode;
let arn: string;
let id: string;
let before: string;

beforeAll(async () => {
  arn = await requestCertificate(fleet(), 'www', ['www.example.com']);
  node = await addNode(fleet(), CENTRAL, 'web', { certName: 'www' });
  const services = { ReloadServices: [node.server.unit], VerifyPort: fleet().port };
  const { started } = await deploy(fleet(), 'www', order(arn, 'web', services));
  id = started.DeploymentId;
  before = started.Serial;
});

/** As `sam deploy` does it again, with these parameters beside those that the stack has. */
function deployAgain(parameters: Record<string, string> = {}): void {
  const { account, region, deployed } = fleet().central;
  const { Prefix, ExternalId, TargetAccounts, TargetTagKeys, NotificationEmail } = deployed.parameters;
  const kept = { Prefix, ExternalId, TargetAccounts, TargetTagKeys, NotificationEmail };
  fleet().cloud.updateTemplate(join(ROOT, 'template.yaml'), {
    account,
    region,
    stackName: deployed.stackName,
    parameters: {
      ...Object.fromEntries(Object.entries(kept).map(([name, value]) => [name, String(value)])),
      ...parameters,
    },
  });
}

const rollouts = () =>
  fleet()
    .cloud.services.stepFunctions.executions()
    .filter(({ arn }) => arn.includes(':acm-export-certificate-rollout:')).length;
const told = () => fleet().cloud.services.sns.messages.map(({ subject = '' }) => subject);

test('a freeze outlasts deployments of the stack; a renewal waits for the thaw, and is served by itself then', async () => {
  const Reason = 'Change freeze until Monday';
  // Two people at once get the same freeze.
  const [first, second] = await Promise.all([
    call(fleet(), 'POST', '/freeze', { Reason }),
    call(fleet(), 'POST', '/freeze', { Reason }),
  ]);
  expect(first.status).toBe(200);
  const frozen = { Frozen: true, Reason, FrozenBy: `arn:aws:iam::${CENTRAL.account}:user/operator` };
  expect(first.body).toMatchObject(frozen);
  const { CorrelationId: _, ...answer } = first.body;
  expect(second.body).toMatchObject(answer);

  // Once with RolloutsEnabled=false and once plainly: that is how the parameter is thawed.
  for (const parameters of [{}, { RolloutsEnabled: 'false' }, {}]) {
    deployAgain(parameters);
  }
  expect((await call(fleet(), 'GET', '/freeze')).body).toMatchObject({ ...frozen, RolloutsEnabled: true });

  await fleet().cloud.services.acm.renew(arn);
  await fleet().cloud.idle();
  await pass(fleet(), 5, 60, 5);
  expect(rollouts()).toBe(1);
  expect(await served(node)).toBe(before);
  const waiting = await deploymentOf(fleet(), 'www', id);
  expect(waiting).toMatchObject({ Status: 'INSTALLED', Pending: { Cause: 'RENEWAL' } });
  expect(waiting.Reason).toBe(
    `All rollouts are frozen (since ${first.body.FrozenAt}, by ${frozen.FrozenBy}): "${Reason}".`,
  );
  const refused = await call(fleet(), 'POST', `/certificates/www/deployments/${id}/rollouts`);
  expect([refused.status, refused.body.Message]).toEqual([
    409,
    `${waiting.Reason} Repeat the request after POST /thaw.`,
  ]);

  expect((await call(fleet(), 'POST', '/thaw')).body).toMatchObject({ Frozen: false });
  await pass(fleet(), 5);
  const { Status, Serial } = await deploymentOf(fleet(), 'www', id);
  expect(Status).toBe('INSTALLED');
  expect(Serial).not.toBe(before);
  expect(await served(node)).toBe(Serial);
  expect(told()).toEqual(['All rollouts are frozen', 'All rollouts are thawed']);
});

test('what is paused is listed, and people are reminded of it and of a freeze in one message', async () => {
  const path = `/certificates/www/deployments/${id}`;
  expect((await call(fleet(), 'POST', `${path}/pause`)).status).toBe(200);
  await call(fleet(), 'POST', '/freeze', { Reason: 'audit' });
  const listed = async () => (await call(fleet(), 'GET', '/deployments?Status=PAUSED')).body.Deployments;
  expect(await listed()).toMatchObject([{ DeploymentId: id, Status: 'INSTALLED', Reason: 'It is paused.' }]);
  await pass(fleet(), 5, 8 * 24 * 60);
  expect(told().at(-1)).toBe('Still stopped: all rollouts and 1 deployment');
  await call(fleet(), 'POST', '/thaw');
  expect((await call(fleet(), 'POST', `${path}/resume`)).status).toBe(202);
  await fleet().cloud.idle();
  expect(await listed()).toEqual([]);
});
