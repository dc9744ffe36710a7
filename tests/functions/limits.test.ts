import { DeleteCommand } from '@aws-sdk/lib-dynamodb';
import { beforeEach, describe, expect, test } from '@jest/globals';
import { awsError } from './support/service-view.ts';
import { System } from './support/system.ts';

let system: System;
let arn: string;
beforeEach(async () => {
  system = await System.create();
  arn = await system.acm.issue('web');
});

const register = (TargetTagValue: string, more: object = {}) =>
  system.register({ CertificateArn: arn, TargetTagValue, ...more });

describe('the number of deployments', () => {
  const statusesOf = (answers: { status: number }[]) => answers.map(({ status }) => status).sort();

  test('has a ceiling for new ones, dry runs included, and says what to do; known ones go on', async () => {
    system.maxDeployments = 2;
    const { body } = await register('a');
    await register('b', { DryRun: true });
    await system.runAll();
    for (const DryRun of [false, true]) {
      const refused = await register('c', { DryRun });
      expect([refused.status, refused.body.Message]).toEqual([
        409,
        expect.stringMatching(
          /its parameter MaxDeployments allows: 2\. DELETE .* or deploy .* higher value\.$/,
        ),
      ]);
    }
    expect(statusesOf([await register('a', { VerifyPort: 443 }), await register('b')])).toEqual([202, 202]);
    await system.runAll();
    await system.remove(body.DeploymentId);
    // Deleted ones are counted out by a sweep of either kind.
    expect((await register('c')).status).toBe(409);
    await system.reconcile('nodes');
    expect((await register('c')).status).toBe(202);
    expect((await register('a')).status).toBe(409);
  });

  test('lets no one too many pass, whoever else asks at the same time', async () => {
    system.maxDeployments = 2;
    const answers = await Promise.all(['a', 'b', 'c', 'd', 'e'].map((value) => register(value)));
    expect(statusesOf(answers)).toEqual([202, 202, 409, 409, 409]);
  });

  test('is counted in a stack whose edition before did not', async () => {
    await register('a');
    await register('b');
    const Key = { DeploymentId: 'fleet#size', Item: 'size' };
    await system.client.send(new DeleteCommand({ TableName: system.table, Key }));
    system.maxDeployments = 2;
    await system.reconcile('certificates');
    expect(await system.inventory.fleet.size()).toBe(2);
    expect((await register('c')).status).toBe(409);
  });

  test('is not counted down by a sweep that has not seen what was registered meanwhile', async () => {
    await register('a');
    await system.reconcile('nodes');
    const before = await system.inventory.fleet.size();
    await register('b');
    await system.inventory.fleet.noteSize(before, 1);
    expect(await system.inventory.fleet.size()).toBe(2);
  });

  test('of a stack in which a sweep read only a part of the fleet stays as it was', async () => {
    await register('a');
    await register('b');
    system.dynamodb.failNext('Query', awsError('InternalServerError', 'oh', 'server'));
    await system.reconcile('nodes');
    expect(await system.inventory.fleet.size()).toBe(2);
  });
});
