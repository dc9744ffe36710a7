import { execFile } from 'node:child_process';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { expect } from '@jest/globals';
import type { Deployed } from 'local-cloud/templates';
import { CENTRAL, requestCertificate } from '../../local/example-fleet.ts';
import { deploy, deploymentOf, order, plainNode, testFleet } from '../end-to-end/test-fleet.ts';
import { needs } from '../support/needs.ts';
import { realAwsCli } from '../support/tools.ts';
import { ROOT } from '../templates/stacks.ts';

const RENEWAL_RULE = 'acm-export-certificate-renewed';

/** Nobody may tell handle-renewal of a renewal: its events end up in the queue of the undelivered. */
const fleet = testFleet({
  central: {
    amend: ({ resources }: Deployed) => {
      for (const [id, { type, properties }] of resources) {
        if (type === 'AWS::Lambda::Permission' && String(properties.SourceArn).endsWith(RENEWAL_RULE)) {
          resources.delete(id);
        }
      }
    },
  },
});

async function replay(...words: string[]): Promise<string> {
  const { cloud } = fleet();
  const { credentials } = cloud.createUser(CENTRAL.account, 'operator-of-queues', [
    {
      Version: '2012-10-17',
      Statement: {
        Effect: 'Allow',
        // As the script's own header says.
        Action: [
          'sqs:GetQueueUrl',
          'sqs:GetQueueAttributes',
          'sqs:ReceiveMessage',
          'sqs:DeleteMessage',
          'lambda:InvokeFunction',
        ],
        Resource: '*',
      },
    },
  ]);
  const { stdout } = await promisify(execFile)('scripts/replay-dead-letters.sh', words, {
    cwd: ROOT,
    env: {
      PATH: `${dirname(realAwsCli() as string)}:${process.env.PATH}`,
      AWS_ENDPOINT_URL: cloud.endpoint,
      AWS_DEFAULT_REGION: CENTRAL.region,
      AWS_ACCESS_KEY_ID: credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
    },
  });
  return stdout;
}

const queue = (id: string) => fleet().central.resource(id).arn as string;
const lettersIn = (id: string) => fleet().cloud.services.sqs.messages(queue(id));

needs('aws')(
  'what EventBridge and Lambda gave up on is handed back to its function, and then gone',
  async () => {
    const { cloud } = fleet();
    const arn = await requestCertificate(fleet(), 'www', ['www.example.com']);
    await plainNode(fleet(), 'web');
    const { started } = await deploy(fleet(), 'www', order(arn, 'web'));

    // One renewal that is never delivered, and a failure report that its function fails at.
    await cloud.services.acm.renew(arn);
    cloud.faults.inject({ operation: 'Publish', kind: 'server-error', times: 100 });
    cloud.services.events.publish({
      source: 'aws.acm',
      'detail-type': 'ACM Certificate Approaching Expiration',
      account: CENTRAL.account,
      region: CENTRAL.region,
      resources: [arn],
      detail: { DaysToExpiry: 20 },
    });
    await cloud.idle();
    cloud.faults.clear();
    expect([lettersIn('UndeliveredEventsQueue').length, lettersIn('FailedEventsQueue').length]).toEqual([
      1, 1,
    ]);
    expect((await deploymentOf(fleet(), 'www', started.DeploymentId)).Serial).toBe(started.Serial);

    const said = await replay('acm-export-undelivered-events', 'acm-export-failed-events');
    expect(said).toMatch(/ACM Certificate Available \S+ -> acm-export-handle-renewal \(AccessDenied/);
    expect(said).toMatch(
      /ACM Certificate Approaching Expiration \S+ -> acm-export-report-certificate-notice \(Retries/,
    );
    await cloud.idle();
    expect([lettersIn('UndeliveredEventsQueue'), lettersIn('FailedEventsQueue')]).toEqual([[], []]);
    const renewed = await deploymentOf(fleet(), 'www', started.DeploymentId);
    expect(renewed).toMatchObject({ Status: 'INSTALLED', LastRollout: { Cause: 'RENEWAL' } });
    expect(renewed.Serial).not.toBe(started.Serial);
    expect(cloud.services.sns.messages.map(({ subject }) => subject)).toEqual([
      'ACM Certificate Approaching Expiration: www',
    ]);
  },
);
