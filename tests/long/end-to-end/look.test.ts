import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { addNode, CENTRAL, requestCertificate, served } from '../../../local/example-fleet.ts';
import { deploy, deploymentOf, LOOK, order, pass, testFleet } from '../../end-to-end/test-fleet.ts';

const fleet = testFleet();

test('what was installed is looked at each hour: an older copy of /etc/ssl is healed, a server that stopped is told', async () => {
  const { cloud, port } = fleet();
  const arn = await requestCertificate(fleet(), 'web', ['web.example.com']);
  const restored = await addNode(fleet(), CENTRAL, 'web', { certName: 'web' });
  const stopped = await addNode(fleet(), CENTRAL, 'web', { certName: 'web' });
  const { started } = await deploy(
    fleet(),
    'web',
    order(arn, 'web', { ReloadServices: [restored.server.unit], VerifyPort: port }),
  );
  const [ssl, copy] = ['etc/ssl', 'copy'].map((name) => join(restored.node.spec.root, name)) as [
    string,
    string,
  ];
  const verbatim = { recursive: true, verbatimSymlinks: true };
  await cp(ssl, copy, verbatim);
  await cloud.services.acm.renew(arn);
  await cloud.idle();
  const { Status, Serial, RolloutNumber } = await deploymentOf(fleet(), 'web', started.DeploymentId);
  expect([Status, await served(restored), await served(stopped)]).toEqual(['INSTALLED', Serial, Serial]);

  await cp(copy, ssl, verbatim);
  process.kill(restored.server.pid, 'SIGHUP');
  await stopped.server.stop();
  await pass(fleet(), ...LOOK);
  expect(await served(restored)).toBe(Serial);
  const deployment = await deploymentOf(fleet(), 'web', started.DeploymentId);
  expect(deployment).toMatchObject({
    Status: 'DEGRADED',
    LastHealing: { Cause: 'DRIFT', Status: 'INSTALLED' },
    LastRollout: { Cause: 'RENEWAL', Number: RolloutNumber },
  });
  const nodes = new Map(deployment.Nodes.map((node: { NodeId: string }) => [node.NodeId, node]));
  expect(nodes.get(restored.node.id)).not.toHaveProperty('Finding');
  expect(nodes.get(stopped.node.id)).toMatchObject({ Finding: { Kind: 'silent' } });
  expect(cloud.services.sns.messages).toMatchObject([
    { message: expect.stringContaining(`${stopped.node.id}: Port ${port} serves nothing`) },
  ]);
});
