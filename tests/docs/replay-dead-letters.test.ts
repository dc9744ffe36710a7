import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from '@jest/globals';
import { CENTRAL, requestCertificate } from '../../local/example-fleet.ts';
import type { Deployed } from '../../local/templates/resolve-template.ts';
import { deploy, deploymentOf, order, plainNode, testFleet } from '../end-to-end/test-fleet.ts';
import { realAwsCli } from '../support/tools.ts';
import { ROOT } from '../templates/stacks.ts';

const aws = realAwsCli();
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
      PATH: `${dirname(aws as string)}:${process.env.PATH}`,
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

(aws ? test : test.skip)(
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
    expect(said).toMatch(/ACM Certificate Approaching Expiration \S+ -> acm-export-report-failure \(Retries/);
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

/** Runs the script with a stand-in that gives it one message, and fails at what it is told to. */
async function replayOne(
  message: object,
  failing = 'nothing',
): Promise<{ ok: boolean; said: string; calls: string[] }> {
  const folder = await mkdtemp(join(tmpdir(), 'replay-'));
  try {
    await writeFile(join(folder, 'message.json'), JSON.stringify({ Messages: [message] }));
    const standIn = `#!/bin/bash
echo "$1 $2" >>'${folder}/calls'
case "$1 $2" in
  '${failing}') exit 254 ;;
  'sqs get-queue-url') echo http://queue ;;
  'sqs get-queue-attributes') echo 1 ;;
  'sqs receive-message') cat '${folder}/message.json' ;;
esac
`;
    await writeFile(join(folder, 'aws'), standIn, { mode: 0o755 });
    const PATH = `${folder}:${dirname(process.execPath)}:${process.env.PATH}`;
    const { ok, said } = await promisify(execFile)('scripts/replay-dead-letters.sh', ['queue'], {
      cwd: ROOT,
      env: { PATH },
    }).then(
      ({ stdout, stderr }) => ({ ok: true, said: stdout + stderr }),
      ({ stdout, stderr }) => ({ ok: false, said: stdout + stderr }),
    );
    return { ok, said, calls: (await readFile(join(folder, 'calls'), 'utf8')).trim().split('\n') };
  } finally {
    await rm(folder, { recursive: true });
  }
}

const text = (StringValue: string) => ({ DataType: 'String', StringValue });
const ofRule = {
  ReceiptHandle: 'r',
  Body: '{"detail-type": "x", "resources": []}',
  MessageAttributes: {
    RULE_ARN: text('arn:aws:events:eu-west-1:1:rule/x'),
    TARGET_ARN: text('arn:aws:lambda:x:1:function:f'),
  },
};

test('a message is deleted when Lambda has taken the event, and not before', async () => {
  const taken = await replayOne(ofRule);
  expect([taken.ok, ...taken.calls.slice(-2)]).toEqual([true, 'lambda invoke', 'sqs delete-message']);
  const refused = await replayOne(ofRule, 'lambda invoke');
  expect([refused.ok, refused.calls.at(-1)]).toEqual([false, 'lambda invoke']);
});

test('a missed run of a schedule is only deleted: the next one does the same', async () => {
  const { calls, said } = await replayOne({
    ReceiptHandle: 'r',
    Body: '{"Task":"nodes"}',
    MessageAttributes: {
      SCHEDULE_ARN: text('arn:aws:scheduler:x'),
      TARGET_ARN: text('arn:aws:lambda:x:1:function:f'),
    },
  });
  expect(calls).not.toContain('lambda invoke');
  expect(calls.at(-1)).toBe('sqs delete-message');
  expect(said).toMatch(/arn:aws:scheduler:x -> schedule/);
});

test('what nothing here has written stays where it is', async () => {
  const { calls, said } = await replayOne({ ReceiptHandle: 'r', Body: 'something\nelse' });
  expect(calls.at(-1)).toBe('sqs receive-message');
  expect(said).toMatch(/left there/);
});

if (!aws) {
  test.skip('there is no AWS CLI here: replaying dead letters was not checked', () => undefined);
}
