import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from '@jest/globals';
import { CENTRAL, requestCertificate } from '../../../local/example-fleet.ts';
import { command, quickNode } from '../../cli/command-line.ts';
import { testFleet } from '../../end-to-end/test-fleet.ts';
import { until } from '../../support/until.ts';
import { ROOT } from '../../templates/stacks.ts';

const fleet = testFleet();
const BUILT = path.join(ROOT, 'build/cli/acm-export.mjs');
const home = mkdtempSync(path.join(tmpdir(), 'acm-export-'));
afterAll(() => rmSync(home, { recursive: true }));

/** As a person's shell has it: credentials by the environment, and nothing of this machine. */
const surroundings = (more: Record<string, string> = {}) => {
  const { accessKeyId, secretAccessKey } = fleet().operator.credentials;
  return {
    PATH: process.env.PATH,
    HOME: home,
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_REGION: CENTRAL.region,
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    AWS_ENDPOINT_URL: fleet().cloud.endpoint,
    ACM_EXPORT_ENDPOINT: fleet().central.apiUrl,
    ...more,
  };
};
const ran = (words: string[], env: Record<string, string | undefined>) =>
  new Promise<{ code: number; out: string; err: string }>((resolve) => {
    execFile(process.execPath, [BUILT, ...words], { env, timeout: 60_000 }, (error, out, err) =>
      resolve({ code: Number(error?.code ?? 0), out, err }),
    );
  });

test('one file signs with the credentials of the environment, and writes no colour into a pipe', async () => {
  const arn = await requestCertificate(fleet(), 'built', ['built.example.com']);
  await quickNode(fleet().cloud, 'built');
  fleet().cloud.settle();
  const words = `register built --certificate-arn ${arn} --tag acm-export=built --verify-port 443`.split(' ');
  const registered = await ran(words, surroundings({ FORCE_COLOR: '1' }));
  expect([registered.code, registered.err]).toEqual([0, '']);
  expect(registered.out).toContain('built/acm-export=built: served');
  expect(registered.out).not.toContain('\u001b');
});

test('Ctrl-C ends a wait at once, and says that the rollout goes on', async () => {
  const held = Promise.withResolvers<void>();
  const arn = await requestCertificate(fleet(), 'held', ['held.example.com']);
  await quickNode(fleet().cloud, 'held', {}, () => held.promise);
  fleet().cloud.settle();
  await command(fleet(), `register held --certificate-arn ${arn} --tag acm-export=held --no-wait`.split(' '));
  const child = spawn(process.execPath, [BUILT, 'watch', 'held'], {
    env: surroundings() as NodeJS.ProcessEnv,
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (part) => (text += part));
  await until(
    'the wait',
    () => text.includes('A rollout'),
    () => text,
  );
  const exited = once(child, 'exit');
  child.kill('SIGINT');
  expect(await exited).toEqual([130, null]);
  expect(text).toContain(
    "What was started goes on.\nGo on watching: acm-export watch 'held/acm-export=held'",
  );
  held.resolve();
  await fleet().cloud.idle();
});

test('without credentials, with a session that has ended, without a Region: one line says what to do, and no stack is shown', async () => {
  const { AWS_ACCESS_KEY_ID: _, AWS_SECRET_ACCESS_KEY: __, ...none } = surroundings();
  const nobody = await ran(['list'], none);
  expect([nobody.code, nobody.out]).toEqual([1, '']);
  expect(nobody.err).toMatch(/^acm-export: No AWS credentials were found: .*\nLog in \(aws sso login\)/);
  const config = path.join(home, 'config');
  const profile = {
    sso_start_url: 'https://example.awsapps.com/start',
    sso_region: 'eu-west-1',
    sso_account_id: '111122223333',
    sso_role_name: 'Operator',
  };
  writeFileSync(
    config,
    `[profile team]\n${Object.entries(profile)
      .map(([key, value]) => `${key} = ${value}\n`)
      .join('')}`,
  );
  const expired = await ran(['list', '--profile', 'team'], { ...none, AWS_CONFIG_FILE: config });
  expect(expired.code).toBe(1);
  expect(expired.err).toContain('Log in again and repeat the command: aws sso login --profile team\n');
  const { AWS_REGION: ___, ...nowhere } = surroundings();
  const regionless = await ran(['list'], nowhere);
  expect([regionless.code, regionless.err]).toEqual([
    2,
    expect.stringMatching(/^acm-export: No Region is known\.\n.*--region/),
  ]);
  for (const { err } of [nobody, expired, regionless]) expect(err).not.toMatch(/^\s+at /m);
});

/** As the name server of AWS would have it: a host below execute-api is the local cloud. */
const byHost: typeof fetch = (url, init) =>
  new Promise((resolve, reject) => {
    const { host, pathname, search } = new URL(String(url));
    const { hostname, port } = new URL(fleet().cloud.endpoint);
    const headers = { ...(init?.headers as Record<string, string>), host };
    const request = http.request(
      { hostname, port, path: pathname + search, method: init?.method, headers },
      (answer) => {
        let text = '';
        answer.setEncoding('utf8').on('data', (part) => (text += part));
        answer.on('end', () => resolve(new Response(text, { status: answer.statusCode ?? 0 })));
      },
    );
    request.on('error', reject);
    request.end(init?.body);
  });

test('the API is found by the name of the stack; a name that is none says what to do', async () => {
  const { cloud, central } = fleet();
  const identity = cloud.createUser(central.account, 'finder', [
    {
      Version: '2012-10-17',
      Statement: {
        Effect: 'Allow',
        Action: ['cloudformation:DescribeStacks', 'execute-api:Invoke'],
        Resource: '*',
      },
    },
  ]);
  const env = { ACM_EXPORT_ENDPOINT: '' };
  const found = await command(fleet(), ['get', 'built', '--stack', 'acm-export-central'], {
    identity,
    env,
    fetch: byHost,
  });
  expect([found.code, found.err]).toEqual([0, '']);
  expect(found.out).toContain('INSTALLED');
  const missing = await command(fleet(), ['list'], { identity, env });
  expect(missing.code).toBe(1);
  expect(missing.err).toMatch(
    /^acm-export: There is no stack acm-export in eu-west-1,.*\nName the stack with --stack/,
  );
  const wrong = await command(fleet(), ['list', '--stack', 'acm-export-member'], { identity, env });
  expect(wrong.err).toContain('it is no central stack of acm-export');
  const denied = await command(fleet(), ['list', '--stack', 'acm-export-central'], { env });
  expect(denied.err).toContain(
    'It needs the permission cloudformation:DescribeStacks on the stack acm-export-central',
  );
});

test('behind a proxy each call goes through it, to the API and to AWS, and its refusal says what to look at', async () => {
  const asked: string[] = [];
  const proxy = http.createServer().on('connect', ({ url }, socket) => {
    asked.push(String(url));
    socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n');
  });
  await once(proxy.listen(0, '127.0.0.1'), 'listening');
  const { port } = proxy.address() as AddressInfo;
  const env = surroundings({
    HTTPS_PROXY: `http://127.0.0.1:${port}`,
    NODE_USE_ENV_PROXY: '1',
    AWS_ENDPOINT_URL: '',
    ACM_EXPORT_ENDPOINT: '',
  });
  const all = await Promise.all([
    ran(['list', '--stack', 'central'], env),
    ran(['list', '--endpoint', 'https://api.example.invalid/v1'], env),
  ]);
  proxy.close();
  expect(new Set(asked)).toEqual(
    new Set([`cloudformation.${CENTRAL.region}.amazonaws.com:443`, 'api.example.invalid:443']),
  );
  for (const { code, err } of all) {
    expect([code, err]).toEqual([
      1,
      expect.stringMatching(/does not answer.*\nCheck the network\. Behind a proxy/),
    ]);
  }
});
