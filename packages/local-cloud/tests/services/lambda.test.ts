import { randomUUID } from 'node:crypto';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PublishCommand, SNSClient } from '@aws-sdk/client-sns';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { createCloud } from '../../src/cloud.ts';
import type { FunctionOptions } from '../../src/services/lambda.ts';
import type { Channel } from '../../src/services/recording.ts';
import type { Caller, Operation } from '../../src/services/service.ts';
import { VirtualClock } from '../../src/services/virtual-clock.ts';
import { ACCOUNT, allow, REGION, signedCall, testCloud, trust, until } from './test-cloud.ts';

const cloud = testCloud();
const QUEUE = `arn:aws:sqs:${REGION}:${ACCOUNT}:failed-events`;

beforeAll(() => {
  const { identities, sqs } = cloud().services;
  identities.createRole(ACCOUNT, {
    name: 'function',
    trustPolicy: trust({ Service: 'lambda.amazonaws.com' }),
    inlinePolicies: [allow('sqs:SendMessage', QUEUE), allow('xray:*')],
  });
  sqs.createQueue(QUEUE);
  const module = join(cloud().folder, 'layer/nodejs/node_modules/greeting');
  mkdirSync(module, { recursive: true });
  writeFileSync(join(module, 'index.mjs'), "export const greeting = 'hello from the layer';");
});

/** A function with this source; its handler gets `event` and `context`. */
function create(name: string, source: string, options: Partial<FunctionOptions> = {}): string {
  const handlerFile = join(cloud().folder, `${name}.mjs`);
  writeFileSync(handlerFile, source);
  return cloud().services.lambda.createFunction({
    account: ACCOUNT,
    region: REGION,
    name,
    roleArn: `arn:aws:iam::${ACCOUNT}:role/function`,
    handlerFile,
    layerFolder: join(cloud().folder, 'layer'),
    ...options,
  });
}
const handler = (body: string) => `export const handler = async (event, context) => { ${body} };`;

async function invoke(name: string, event: unknown = {}, type = 'RequestResponse') {
  const response = await signedCall(cloud(), cloud.administrator(), 'lambda', {
    path: `/2015-03-31/functions/${name}/invocations`,
    headers: { 'x-amz-invocation-type': type },
    body: JSON.stringify(event),
  });
  const text = await response.text();
  return {
    status: response.status,
    functionError: response.headers.get('x-amz-function-error'),
    errorType: response.headers.get('x-amzn-errortype'),
    payload: text === '' ? undefined : JSON.parse(text),
  };
}

test('a function has its own environment, its role’s credentials, the layer below /opt and Lambda’s context', async () => {
  create(
    'describes-itself',
    `import { greeting } from '/opt/nodejs/node_modules/greeting/index.mjs';
     ${handler(`return { greeting, name: process.env.NAME, region: process.env.AWS_REGION, home: process.env.HOME,
       cache: process.env.NODE_COMPILE_CACHE,
       key: process.env.AWS_ACCESS_KEY_ID, requestId: context.awsRequestId, left: context.getRemainingTimeInMillis(),
       arn: context.invokedFunctionArn, event };`)}`,
    { environment: { NAME: 'one' }, timeoutSeconds: 10 },
  );
  const { status, functionError, payload } = await invoke('describes-itself', { a: 1 });
  expect({ status, functionError }).toEqual({ status: 200, functionError: null });
  expect(payload).toMatchObject({
    greeting: 'hello from the layer',
    name: 'one',
    region: REGION,
    event: { a: 1 },
  });
  expect(payload).not.toHaveProperty('home');
  expect(payload).not.toHaveProperty('cache');
  expect(payload.left).toBeGreaterThan(0);
  expect(payload.left).toBeLessThanOrEqual(10_000);
  expect(payload.arn).toBe(`arn:aws:lambda:${REGION}:${ACCOUNT}:function:describes-itself`);
  const key = cloud().services.identities.key(payload.key);
  expect(key?.source).toBe('function describes-itself');
});

test('an environment is used again for the next invocation, and never for two at a time', async () => {
  const source = `let calls = 0; let running = 0; ${handler('calls += 1; running += 1; const most = running; await new Promise((resolve) => setTimeout(resolve, 50)); running -= 1; return { calls, most };')}`;
  create('counts', source);
  expect((await invoke('counts')).payload).toEqual({ calls: 1, most: 1 });
  expect((await invoke('counts')).payload).toEqual({ calls: 2, most: 1 });
  const many = await Promise.all(Array.from({ length: 8 }, () => invoke('counts')));
  expect(many.every(({ payload }) => payload.most === 1)).toBe(true);
});

test('errors come back by name, as Lambda shows them, and stand in the log', async () => {
  create(
    'throws',
    handler("const error = new Error('out of luck'); error.name = 'RetryLater'; throw error;"),
  );
  create('rejects-text', handler("throw 'plain text';"));
  create('runs-on', handler('await new Promise(() => setInterval(() => {}, 1000));'), {
    timeoutSeconds: 0.05,
  });
  create('exits', handler('process.exit(1);'));
  create('cannot-start', "import 'no-such-package';");
  create('has-no-handler', 'export const other = 1;');

  const thrown = await invoke('throws');
  expect(thrown).toMatchObject({ status: 200, functionError: 'Unhandled' });
  expect(thrown.payload).toMatchObject({
    errorType: 'RetryLater',
    errorMessage: 'out of luck',
    trace: expect.any(Array),
  });
  expect((await invoke('rejects-text')).payload).toEqual({ errorType: 'string', errorMessage: 'plain text' });
  expect((await invoke('runs-on')).payload).toMatchObject({
    errorType: 'Sandbox.Timedout',
    errorMessage: expect.stringMatching(/Task timed out after 0\.05 seconds$/),
  });
  expect((await invoke('exits')).payload).toMatchObject({ errorType: 'Runtime.ExitError' });
  expect(await invoke('cannot-start')).toMatchObject({ functionError: 'Unhandled' });
  expect((await invoke('has-no-handler')).payload).toMatchObject({ errorType: 'Runtime.HandlerNotFound' });
  // After each of these the next invocation has a new environment.
  expect((await invoke('exits')).payload).toMatchObject({ errorType: 'Runtime.ExitError' });

  const log = cloud()
    .record.emissionsOf('function-log')
    .filter(({ source }) => source === 'function throws');
  expect(log.map(({ text }) => text).join('')).toContain('out of luck');
});

describe('what a function leaves outside its memory is recorded', () => {
  /** Each gets the secret in `event.secret` and a name that no file has yet in `file`. */
  const files = {
    writeFileSync: 'writeFileSync(file, secret);',
    'writeFileSync, by the name of the module': 'fs.writeFileSync(file, Buffer.from(secret));',
    'appendFileSync behind require': "require('fs').appendFileSync(file, secret);",
    writeSync: "writeSync(fs.openSync(file, 'w'), secret);",
    writevSync: "fs.writevSync(fs.openSync(file, 'w'), [Buffer.from(secret)]);",
    'writeFile with a callback':
      'await new Promise((resolve) => fs.writeFile(file, new Uint8Array(Buffer.from(secret)), resolve));',
    'writeFile with a promise': 'await promises.writeFile(file, secret);',
    'writeFile of a stream': 'await promises.writeFile(file, Readable.from([secret]));',
    'write, promisified': "await promisify(fs.write)(fs.openSync(file, 'w'), secret);",
    'a handle': "const handle = await open(file, 'w'); await handle.write(secret); await handle.close();",
    'writeFile of a handle':
      "const handle = await open(file, 'w'); await handle.writeFile(secret); await handle.close();",
    'the stream of a handle':
      "const handle = await open(file, 'w'); await finished(handle.createWriteStream().end(secret));",
    'a stream': 'await finished(fs.createWriteStream(file).end(secret));',
    'the name of an empty file': "fs.closeSync(fs.openSync(file + secret, 'w')); file += secret;",
    'the name of a folder': 'fs.mkdirSync(file + secret); file += secret;',
    'a link': 'fs.symlinkSync(secret, file);',
  };
  const processes = {
    spawn: "await once(spawn('true', { env: { SECRET: secret } }), 'exit');",
    'spawn with an argument': "await once(spawn('true', [secret]), 'exit');",
    'spawn with the environment of the function':
      "process.env.SECRET = secret; await once(spawn('true'), 'exit'); delete process.env.SECRET;",
    exec: "await promisify(exec)('true', { env: { SECRET: secret } });",
    execFile: "await promisify(execFile)('true', [], { env: { SECRET: secret } });",
    fork: "await once(fork('/dev/null', { env: { SECRET: secret } }), 'exit');",
    spawnSync: "spawnSync('true', { env: { SECRET: secret } });",
    'spawnSync with the environment of the function':
      "process.env.SECRET = secret; spawnSync('true'); delete process.env.SECRET;",
    execSync: "execSync('true', { env: { SECRET: secret } });",
    execFileSync: "execFileSync('true', [], { env: { SECRET: secret } });",
  };

  beforeAll(() => {
    const cases = Object.entries({ ...files, ...processes });
    create(
      'leaves',
      `import fs, { promises, writeFileSync, writeSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { exec, execFile, execFileSync, execSync, fork, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { promisify } from 'node:util';
const require = createRequire(import.meta.url);
export const handler = async ({ way, file, secret }) => {
  switch (way) {
${cases.map(([way, statements]) => `case ${JSON.stringify(way)}: { ${statements} break; }`).join(' ')}
  }
  fs.rmSync(file, { recursive: true, force: true });
};`,
      { timeoutSeconds: 60 },
    );
  });

  async function recorded(way: string, channel: Channel) {
    const secret = `secret-${randomUUID()}`;
    const file = join(cloud().folder, randomUUID());
    expect(await invoke('leaves', { way, file, secret })).toMatchObject({ functionError: null });
    const found = cloud()
      .record.emissionsOf(channel)
      .filter(({ source, text }) => source === 'function leaves' && text.includes(secret));
    expect(readdirSync(cloud().folder).filter((name) => file.endsWith(name))).toEqual([]);
    return found.length;
  }

  test.each(Object.keys(files))('a file that is deleted again, by %s', async (way) => {
    expect(await recorded(way, 'function-file')).toBeGreaterThan(0);
  });

  test.each(Object.keys(processes))('the environment and arguments of a process, by %s', async (way) => {
    expect(await recorded(way, 'function-process')).toBeGreaterThan(0);
  });

  test('before a function ends, however it ends', async () => {
    const write = "fs.writeFileSync('/dev/null', 'written before the end');";
    create('writes-and-exits', `import fs from 'node:fs'; ${handler(`${write} process.exit(1);`)}`);
    create('writes-at-its-start', `import fs from 'node:fs'; ${write} throw new Error('no start');`);
    for (const name of ['writes-and-exits', 'writes-at-its-start']) {
      expect(await invoke(name)).toMatchObject({ functionError: 'Unhandled' });
      expect(cloud().record.emissionsOf('function-file')).toContainEqual(
        expect.objectContaining({
          source: `function ${name}`,
          text: expect.stringContaining('written before the end'),
        }),
      );
    }
  });

  test('and what it reads is not', async () => {
    create(
      'reads',
      `import fs from 'node:fs'; ${handler("fs.readFileSync('/dev/null'); fs.openSync('/dev/null');")}`,
    );
    expect(await invoke('reads')).toMatchObject({ functionError: null });
    const left = cloud().record.emissions.filter(
      ({ source, channel }) => source === 'function reads' && /^function-(file|process)$/.test(channel),
    );
    expect(left).toEqual([]);
  });
});

test('a function lives by the cloud’s clock', async () => {
  create(
    'tells-time',
    handler('return { now: Date.now(), year: new Date().getFullYear(), given: new Date(0).getTime() };'),
  );
  const before = (await invoke('tells-time')).payload;
  cloud().clock.advance(400 * 86_400_000);
  const after = (await invoke('tells-time')).payload;
  expect(after.now - before.now).toBeGreaterThanOrEqual(400 * 86_400_000);
  expect(after.year).toBe(new Date(after.now).getFullYear());
  expect(after.year).toBeGreaterThan(before.year);
  expect(after.given).toBe(0);
});

test('an asynchronous event is tried three times, then stored with its error as the function’s role', async () => {
  const arn = create('fails', handler("throw new Error('no good');"));
  cloud().services.lambda.configureAsync(arn, { onFailure: QUEUE });
  expect(await invoke('fails', { a: 1 }, 'Event')).toMatchObject({ status: 202, payload: undefined });
  const [message] = await until(
    () => cloud().services.sqs.messages(QUEUE).length > 0 && cloud().services.sqs.messages(QUEUE),
  );
  const record = JSON.parse(message?.body ?? '');
  expect(record).toMatchObject({
    requestContext: {
      functionArn: `${arn}:$LATEST`,
      condition: 'RetriesExhausted',
      approximateInvokeCount: 3,
    },
    requestPayload: { a: 1 },
    responsePayload: { errorType: 'Error', errorMessage: 'no good' },
  });
  expect(cloud().record.callsOf('AmazonSQS.SendMessage').at(-1)).toMatchObject({
    source: 'function fails',
    status: 200,
  });
});

test('who may not invoke is refused, and so is what is too large or no JSON', async () => {
  const arn = create('echoes', handler('return event;'));
  const stranger = cloud().createUser(ACCOUNT, 'stranger', [allow('lambda:InvokeFunction', `${arn}-other`)]);
  const path = '/2015-03-31/functions/echoes/invocations';
  const refused = await signedCall(cloud(), stranger, 'lambda', { path, body: '{}' });
  expect([refused.status, refused.headers.get('x-amzn-errortype')]).toEqual([403, 'AccessDeniedException']);
  expect(await invoke('echoes', 'x'.repeat(6_291_456))).toMatchObject({
    status: 413,
    errorType: 'RequestTooLargeException',
  });
  const malformed = await signedCall(cloud(), cloud.administrator(), 'lambda', { path, body: '{' });
  expect(malformed.headers.get('x-amzn-errortype')).toBe('InvalidRequestContentException');
  expect(await invoke('absent')).toMatchObject({ status: 404, errorType: 'ResourceNotFoundException' });
});

test('a role that does not trust Lambda cannot be given to a function', () => {
  const { arn } = cloud().services.identities.createRole(ACCOUNT, {
    name: 'of-others',
    trustPolicy: trust({ Service: 'ec2.amazonaws.com' }),
  });
  expect(() => create('untrusted', handler('return 1;'), { roleArn: arn })).toThrow(
    'not authorized to perform: sts:AssumeRole',
  );
});

test('what a traced function sends to X-Ray is sent on as its role, and recorded', async () => {
  create(
    'traced',
    `import { createSocket } from 'node:dgram';
     ${handler(`const [host, port] = process.env.AWS_XRAY_DAEMON_ADDRESS.split(':'); const socket = createSocket('udp4');
       await new Promise((resolve) => socket.send('{"format":"json","version":1}\\n{"name":"segment"}', port, host, resolve)); socket.close();
       return process.env._X_AMZN_TRACE_ID;`)}`,
    { tracing: true },
  );
  expect((await invoke('traced')).payload).toMatch(
    /^Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=1$/,
  );
  // Lambda's own segment of the invocation comes before it or after it.
  const trace = await until(() =>
    cloud()
      .record.emissionsOf('trace')
      .find(({ text }) => text === '{"name":"segment"}'),
  );
  expect(trace.source).toBe('function traced');
});

test('a handler in this process is answered as the built one is; its time-out, by the cloud’s clock, and a crash end it', async () => {
  const clock = new VirtualClock();
  const here = await createCloud({ clock });
  const { identities, lambda, sns } = here.services;
  const TopicArn = `arn:aws:sns:${REGION}:${ACCOUNT}:here`;
  sns.createTopic(TopicArn);
  const { arn: roleArn } = identities.createRole(ACCOUNT, {
    name: 'function',
    trustPolicy: trust({ Service: 'lambda.amazonaws.com' }),
    inlinePolicies: [allow('sns:Publish', TopicArn)],
  });
  const session = { name: 'here', seconds: 3600, source: 'function here' };
  const { credentials } = identities.assumeAsService('lambda.amazonaws.com', roleArn, {}, session);
  const client = here.client(SNSClient, { region: REGION, credentials, maxAttempts: 1 });
  const publish = (Message: string) => client.send(new PublishCommand({ TopicArn, Message }));
  lambda.createFunction({
    account: ACCOUNT,
    region: REGION,
    name: 'here',
    roleArn,
    timeoutSeconds: 30,
    handler: async (event, context) => {
      const {
        seconds = 0,
        fails = false,
        says,
      } = event as { seconds?: number; fails?: boolean; says?: string };
      if (says) await publish(says).catch(() => {});
      await clock.sleep(seconds * 1000);
      if (says) await publish(`${says}, ${seconds} s later`);
      if (fails) throw Object.assign(new Error('not today'), { name: 'RetryLater' });
      return { name: context.functionName, left: context.getRemainingTimeInMillis() };
    },
  });
  const invoke = async (event: object) => {
    const call = lambda.operations['lambda.Invoke'] as Operation;
    const input = {
      FunctionName: `arn:aws:lambda:${REGION}:${ACCOUNT}:function:here`,
      Payload: JSON.stringify(event),
    };
    const answer = (await call(input, { source: 'test' } as Caller)) as {
      FunctionError?: string;
      Payload: string;
    };
    return { failed: answer.FunctionError, ...JSON.parse(answer.Payload) };
  };
  await clock.run(Math.random, async () => {
    expect(await invoke({ seconds: 10 })).toEqual({ failed: undefined, name: 'here', left: 20_000 });
    const failure = { failed: 'Unhandled', errorType: 'RetryLater', errorMessage: 'not today' };
    expect(await invoke({ fails: true })).toMatchObject(failure);
    const start = clock.now().getTime();
    expect(await invoke({ seconds: 31, says: 'slow' })).toMatchObject({ errorType: 'Sandbox.Timedout' });
    expect(clock.now().getTime() - start).toBe(30_000);
    for (const kind of ['crash-before-effect', 'crash-after-effect'] as const) {
      here.faults.inject({ operation: 'Publish', kind });
      expect(await invoke({ seconds: 1, says: kind })).toMatchObject({ errorType: 'Runtime.ExitError' });
    }
    // What was killed says no more; the others go on.
    expect(await invoke({ seconds: 2, says: 'quick' })).toMatchObject({ failed: undefined });
    await clock.sleep(60_000);
    const said = ['slow', 'crash-after-effect', 'quick', 'quick, 2 s later'];
    expect(sns.messages.map(({ message }) => message)).toEqual(said);
  });
  await here.stop();
});
