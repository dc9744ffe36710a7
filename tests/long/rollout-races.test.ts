import { BatchWriteCommand } from '@aws-sdk/lib-dynamodb';
import { describe, expect, test } from '@jest/globals';
import type { Deployment } from '../../functions/domain/deployment.ts';
import { advance } from '../../functions/rollouts/advance.ts';
import { inParallel } from '../../functions/runtime/in-parallel.ts';
import { System } from '../functions/support/system.ts';

describe('two requests at once', () => {
  test('start one rollout, whichever comes first: a thousand races of two who advance', async () => {
    const system = await System.create({ delays: true });
    const { body } = await system.register({ CertificateArn: await system.acm.issue('web') });
    await system.runAll();
    const deployment = (await system.inventory.get(body.DeploymentId)) as Deployment;
    const Wanted = { ...deployment.Wanted, Generation: 2 };
    const ids = Array.from({ length: 1000 }, (_, race) => race.toString(16).padStart(24, '0'));
    for (let start = 0; start < ids.length; start += 25) {
      const requests = ids
        .slice(start, start + 25)
        .map((DeploymentId) => ({ PutRequest: { Item: { ...deployment, Wanted, DeploymentId } } }));
      await system.client.send(new BatchWriteCommand({ RequestItems: { [system.table]: requests } }));
    }
    await inParallel(ids.values(), 25, async (DeploymentId) => {
      const racers = [1, 2].map(() => advance(DeploymentId, system.advanceDeps(), { correlationId: 'c' }));
      const advanced = await Promise.all(racers);
      expect(advanced.filter(({ began }) => began)).toHaveLength(1);
    });
    const begun = system.sfn.running().map(({ input }) => JSON.parse(input).DeploymentId);
    expect(new Set(begun)).toEqual(new Set(ids));
    expect(system.sfn.executions.size).toBe(1001);
  });
});
