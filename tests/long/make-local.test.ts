import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { expect, test } from '@jest/globals';
import { sendAsCurl } from '../docs/send-as-curl.ts';
import { localSession } from '../support/local-session.ts';

// What `make local` prints is run as it stands there, by bash; in place of curl, what sends the same request. With curl
// and the AWS CLI: tests/real/make-local.test.ts.

const session = localSession();

/** Runs a line whose program is curl. */
async function send(line: string): Promise<ReturnType<typeof JSON.parse>> {
  const words = await session().shell(`curl() { printf '%s\\0' "$@"; }; ${line}`);
  return JSON.parse((await sendAsCurl(words.split('\0').slice(0, -1))).body);
}

const deployment = async () => (await send(session().example(/API_URL\/deployments"$/))).Deployments[0];
const servedSerial = async () =>
  /serial=(\w+)/.exec(await session().shell(session().example('openssl s_client')))?.[1]?.toLowerCase();
const settled = (status: string) =>
  session().until(status, async () => {
    const found = await deployment();
    return found?.Status === status && found;
  });

async function commands() {
  const curl = `curl --aws-sigv4 aws:amz:eu-west-1:ssm --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY"`;
  const list = `${curl} -H "x-amz-target: AmazonSSM.ListCommands" -d "{}" "$AWS_ENDPOINT_URL/"`;
  return (await send(list)).Commands as { Status: string }[];
}

/** Time passes and sweeps run until something is so: one sends the look that is due, a later one reads it. */
const sweepsUntil = <T>(what: string, isSo: () => Promise<T | undefined | false>, hours = 0.1) =>
  session().until(what, async () => {
    session().type(`advance ${hours}`);
    // The clock must not run away from the nodes, nor from a rollout, which has a deadline.
    await session().until('answers', async () =>
      (await commands()).every(({ Status }) => Status !== 'InProgress'),
    );
    await session().until('rest', async () => (await deployment()).Status !== 'ROLLING_OUT');
    return isSo();
  });

test('the lines for a shell are those of the file', async () => {
  const printed = [
    ...session()
      .output()
      .matchAll(/^ {2}((?:export|unset) .*)$/gm),
  ].map(([, line]) => line);
  expect((await session().shell(`cat '${session().environment}'`)).trim().split('\n')).toEqual(printed);
  expect(printed.length).toBeGreaterThan(5);
});

test('a deployment is registered, and openssl sees the new certificate', async () => {
  const post = session().example(/ -d /);
  expect(await send(post)).toMatchObject({ DeploymentId: expect.any(String), Warnings: [] });
  const { Serial } = await settled('INSTALLED');
  expect(await servedSerial()).toBe(Serial);
});

test('the command shows it, and its doctor finds nothing wrong', async () => {
  const command = (words: string) =>
    session().shell(session().example(new RegExp(`acm-export\\.mjs' ${words}`)));
  expect(await command('register')).toMatch(/: served$/m);
  expect(await command('list')).toMatch(/ www +acm-export=web .* INSTALLED /);
  expect(await command('doctor')).toMatch(/, 0 wrong, 0 not checked\.$/m);
});

test('commands break a node by hand: another certificate, a server that nobody registered, changed files', async () => {
  const { type, until, output, shell } = session();
  const served = await servedSerial();
  const [, node] = /^(i-\w+) .*111122223333/m.exec(output()) as string[];
  type(`drift ${node} port`);
  await until('another certificate', async () => {
    const serial = await servedSerial().catch(() => undefined);
    return serial && serial !== served;
  });
  type(`mend ${node}`);
  await until('the installed certificate', async () => (await servedSerial().catch(() => '')) === served);
  type(`foreign ${node}`);
  const [, address, subject] = (await until('a foreign server', () =>
    /^(127\S+) serves a certificate of CN=(\S+)$/m.exec(output()),
  )) as string[];
  expect(await shell(`openssl s_client -connect ${address} </dev/null 2>/dev/null`)).toContain(subject);
  type(`drift ${node} files`);
  const [, file] = (await until('a changed file', () =>
    /^(\/.*) has one more line$/m.exec(output()),
  )) as string[];
  await expect(shell(`cd '${dirname(file ?? '')}' && sha256sum --status -c .sha256`)).rejects.toThrow();
});

test('looks find what was broken by hand: files are healed, a configuration is told, a foreign server is listed', async () => {
  const { type, until, output, example } = session();
  const served = await servedSerial();
  const [, node] = /^(i-\w+) .*111122223333/m.exec(output()) as string[];
  const [, foreign] = /^127\S+:(\d+) serves a certificate of CN=intranet/m.exec(output()) as string[];
  // The sweep after the healing says so.
  await sweepsUntil('healed files', async () => {
    const { LastHealing, Status } = await deployment();
    return LastHealing?.Status === 'INSTALLED' && Status === 'INSTALLED';
  });
  // Servers of other tests may listen at this address meanwhile.
  const listed = await sweepsUntil('the foreign server', async () => {
    const list = example(/API_URL\/deployments"$/).replace('/deployments', '/endpoints?Finding=unregistered');
    const { Endpoints } = (await send(list)) as { Endpoints: { Port: number }[] };
    return Endpoints.find(({ Port }) => Port === Number(foreign));
  });
  expect(listed).toMatchObject({ NodeId: node, Subject: 'CN=intranet.example.com' });

  type(`drift ${node} port`);
  const other = await until('another certificate', async () => {
    const serial = await servedSerial();
    return serial !== served && serial;
  });
  await sweepsUntil('the message', async () => {
    await deployment();
    type('messages');
    return new RegExp(`www on ${node} is not what the port serves.*${other}, not ${served}`, 's').test(
      output(),
    );
  });
  expect(await deployment()).toMatchObject({ Status: 'DEGRADED' });
  type(`mend ${node}`);
  await sweepsUntil('the mended server', async () => (await deployment()).Status === 'INSTALLED');
  expect(await servedSerial()).toBe(served);
});

test('commands go beyond the API: lose an event, renew, add a node, break one', async () => {
  const { type, until, output } = session();
  const first = await servedSerial();
  type('lose');
  type('renew');
  await until('the renewal', () => output().includes('ACM renews'));
  type('add web');
  const [, added] = (await until('the node', () => /^(i-\w+) tagged .* at/m.exec(output()))) as string[];
  // More than a day: nodes know the time of the cloud.
  type('advance 30');
  await sweepsUntil('reconcile', async () => (await servedSerial()) !== first, 1);
  const { Serial: second } = await settled('INSTALLED');
  type('status');
  await until('the new node to serve', () => {
    const lines = output()
      .split('\n')
      .filter((line) => line.startsWith(`${added} `) && line.endsWith(second));
    if (lines.length === 0) type('status');
    return lines.length > 0;
  });

  const [, old] = /^(i-\w+) .*111122223333/m.exec(output()) as string[];
  type(`drift ${old} files`);
  await until('older files', () =>
    new RegExp(`/${second}-\\d+ has the files of ${first}-\\d+ again`).test(output()),
  );

  type(`break ${added}`);
  for (const [, id] of output().matchAll(/^(m?i-\w+) .*111122223333/gm)) {
    if (id !== added) type(`offline ${id}`);
  }
  type('renew');
  const failed = await settled('FAILED');
  expect(failed.LastError).toMatch(/hook .* failed/);
  await until('the message', () => {
    type('messages');
    return /Rollout of www FAILED: acm-export=web\nWhat: /.test(output());
  });
});

test('it says what it models', async () => {
  const { type, until, output } = session();
  expect(output()).toMatch(/^Modelled are .*\bacm\b.*\bssm\b/m);
  type('models');
  await until('the list', () => /^ {2}acm: .*ExportCertificate/m.test(output()));
});

test.each([
  ['an operation', '-H "x-amz-target: AmazonSSM.GetParameter" -d "{}"', 'ssm', 'AmazonSSM.GetParameter'],
  ['a service of the query protocol', '-d Action=DescribeDBInstances', 'rds', 'DescribeDBInstances'],
  ['a REST service', '', 's3', 's3'],
  [
    'a member of an operation',
    `-H "x-amz-target: AmazonSSM.SendCommand" -d '{"DocumentName": "doc", "Instances": 3}'`,
    'ssm',
    'SendCommand',
  ],
])(
  '%s that it does not know gets an answer, and a warning stands there',
  async (_what, words, service, said) => {
    const { shell, until, output } = session();
    const line = `curl --aws-sigv4 aws:amz:eu-west-1:${service} --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" ${words} "$AWS_ENDPOINT_URL/"`;
    const given = await shell(`curl() { printf '%s\\0' "$@"; }; ${line}`);
    const { status, body } = await sendAsCurl(given.split('\0').slice(0, -1));
    expect(status).toBeGreaterThanOrEqual(400);
    expect(body).toMatch(/NotModelled|InternalFailure/);
    await until('the warning', () => new RegExp(`^Warning: .*${said}`, 'm').test(output()));
  },
);

test('quit ends it in peace, and leaves nothing behind', async () => {
  expect(await session().quit()).toEqual([0, null]);
  expect(existsSync(dirname(session().environment))).toBe(false);
  expect(session().output()).not.toMatch(/^ +at .*:\d+\)?$/m);
});

test('nothing of all this went through the proxy around it', () => expect(session().proxied).toEqual([]));
