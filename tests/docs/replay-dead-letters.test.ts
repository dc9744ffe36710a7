import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from '@jest/globals';
import { ROOT } from '../templates/stacks.ts';

// With the AWS CLI, from an undelivered event to a renewed certificate: tests/real/replay-dead-letters.test.ts.

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
