import { DeleteCommand } from '@aws-sdk/lib-dynamodb';
import { beforeEach, describe, expect, test } from '@jest/globals';
import { awsError } from './support/service-view.ts';
import { System, stack } from './support/system.ts';

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
          /its parameter MaxDeployments allows: 2\. DELETE .* Or deploy .* higher value\.$/,
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

  test('lets no one too many pass, however many ask at the same time', async () => {
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

describe('the size of a body', () => {
  const renewals = '/certificates/{CertName}/renewals';
  const post = (body: string, isBase64Encoded = false) =>
    system.send({
      httpMethod: 'POST',
      resource: renewals,
      pathParameters: { CertName: 'web-prod' },
      body,
      isBase64Encoded,
      requestContext: { requestId: 'request-1' },
    } as never);
  const TOO_LARGE = /^The body is too large: send at most 512 KB\./;

  test('is at most 512 KB, in bytes, whatever is in it', async () => {
    const most = 512 * 1024;
    const answers = [
      await post(' '.repeat(most + 1)),
      await post('ä'.repeat(most / 2 + 1)),
      await post('A'.repeat(most + 4), true),
    ];
    for (const { status, body } of answers) {
      expect([status, body.Message]).toEqual([413, expect.stringMatching(TOO_LARGE)]);
    }
    expect((await post(' '.repeat(most))).status).toBe(400);
  });

  test('that Lambda does not take is refused by API Gateway in the same words', () => {
    const { REQUEST_TOO_LARGE: answer } =
      stack.resources.get('DeploymentsApi')?.properties.GatewayResponses ?? {};
    expect(answer.StatusCode).toBe(413);
    expect(JSON.parse(answer.ResponseTemplates['application/json'])).toEqual({
      Message: expect.stringMatching(TOO_LARGE),
      CorrelationId: '$context.requestId',
    });
  });
});
