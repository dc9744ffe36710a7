import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateSecretCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { installShims } from '../../src/node/install-shims.ts';
import { ACCOUNT, allow, REGION, testCloud } from '../services/test-cloud.ts';
import { serve } from './serve.ts';

const cloud = testCloud();
let folder: string;
let arn: string;
let version: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shims-'));
  await installShims(join(folder, 'bin'));
  const secrets = cloud().client(SecretsManagerClient, cloud().clientConfig(cloud.administrator(), REGION));
  const created = await secrets.send(
    new CreateSecretCommand({ Name: 'site', SecretString: '{"Serial":"0a"}' }),
  );
  [arn, version] = [created.ARN ?? '', created.VersionId ?? ''];
});
afterEach(() => cloud().faults.clear());
afterAll(() => rm(folder, { recursive: true }));

const mayRead = allow('secretsmanager:GetSecretValue');
const NOBODY = { AWS_ACCESS_KEY_ID: '', AWS_SECRET_ACCESS_KEY: '' };

function call(command: string, args: string[], environment: Record<string, string> = {}) {
  return new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
    const env = {
      PATH: `${join(folder, 'bin')}:${process.env.PATH}`,
      LOCAL_NODE_ROOT: folder,
      AWS_ENDPOINT_URL: cloud().endpoint,
      AWS_RETRY_MODE: 'standard',
      ...environment,
    };
    const child = execFile(join(folder, 'bin', command), args, { env }, (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr }),
    );
    child.stdin?.end();
  });
}

/** Reads the secret as a user who may, unless the environment says otherwise. */
function getSecretValue(environment: Record<string, string> = {}, more: string[] = []) {
  const { credentials } = cloud().createUser(ACCOUNT, 'environment', [mayRead]);
  const { accessKeyId, secretAccessKey } = credentials;
  return call(
    'aws',
    [
      ...['secretsmanager', 'get-secret-value', '--region', REGION, '--secret-id', arn],
      ...['--version-id', version, '--query', 'SecretString', '--output', 'text', ...more],
    ],
    { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, ...environment },
  );
}

/** Who read the secret so far. */
const readers = () =>
  cloud()
    .record.calls.filter(({ operation }) => operation === 'secretsmanager.GetSecretValue')
    .map(({ principalArn }) => principalArn.split('/').at(-1));

/** Refuses the next calls. */
const refuse = (name: string, message: string, times = 1) =>
  cloud().faults.inject({ operation: 'GetSecretValue', kind: 'refuse', error: { name, message }, times });

/** The instance metadata service of a new node, the id of which ends its role's name. */
async function instanceMetadata() {
  const node = await cloud().createNode(ACCOUNT, REGION, { inlinePolicies: [mayRead] });
  return { role: `node-${node.id}`, url: node.spec.environment.AWS_EC2_METADATA_SERVICE_ENDPOINT as string };
}

describe('aws', () => {
  test('prints a secret as the AWS CLI does', async () => {
    expect(await getSecretValue()).toEqual({ code: 0, stdout: '{"Serial":"0a"}\n', stderr: '' });
    expect(readers().at(-1)).toBe('environment');
  });

  test('takes credentials in the order of the AWS CLI: environment, shared file, instance metadata', async () => {
    const { role, url } = await instanceMetadata();
    const { credentials } = cloud().createUser(ACCOUNT, 'file', [mayRead]);
    const file = join(folder, 'credentials');
    const lines = [
      `aws_access_key_id = ${credentials.accessKeyId}`,
      `aws_secret_access_key = ${credentials.secretAccessKey}`,
    ];
    await writeFile(file, `[default]\n${lines.join('\n')}\n`);
    const instance = { ...NOBODY, AWS_EC2_METADATA_SERVICE_ENDPOINT: url };
    await getSecretValue(instance);
    await getSecretValue({ ...instance, AWS_SHARED_CREDENTIALS_FILE: file });
    await getSecretValue({ AWS_SHARED_CREDENTIALS_FILE: file });
    expect(readers().slice(-3)).toEqual([role, 'file', 'environment']);
  });

  test('waits for a metadata service that is as slow as a busy machine', async () => {
    const { role, url } = await instanceMetadata();
    // The SDK by itself gives up after a second.
    const slow = createServer((socket) => {
      const upstream = connect(Number(new URL(url).port), '127.0.0.1');
      setTimeout(() => socket.pipe(upstream).pipe(socket), 1200);
    });
    await once(slow.listen(0, '127.0.0.1'), 'listening');
    const endpoint = `http://127.0.0.1:${(slow.address() as AddressInfo).port}`;
    const { code } = await getSecretValue({ ...NOBODY, AWS_EC2_METADATA_SERVICE_ENDPOINT: endpoint });
    slow.close();
    expect([code, readers().at(-1)]).toEqual([0, role]);
  });

  test("fails in the AWS CLI's words and with its exit codes", async () => {
    const denied = 'User: arn:aws:sts::1:assumed-role/node/i-0 is not authorized to perform: it';
    refuse('AccessDeniedException', denied);
    expect(await getSecretValue()).toEqual({
      code: 254,
      stdout: '',
      stderr: `\nAn error occurred (AccessDeniedException) when calling the GetSecretValue operation: ${denied}\n`,
    });
    const refused = await getSecretValue({ AWS_ENDPOINT_URL: 'http://127.0.0.1:1', AWS_MAX_ATTEMPTS: '1' });
    expect(refused).toMatchObject({
      code: 255,
      stderr: expect.stringContaining('Could not connect to the endpoint'),
    });
    expect(await getSecretValue({ ...NOBODY, AWS_EC2_METADATA_DISABLED: 'true' })).toMatchObject({
      code: 253,
      stderr: expect.stringContaining('Unable to locate credentials'),
    });
  });

  test('tries again when it is throttled, and says so when it gives up', async () => {
    refuse('ThrottlingException', 'Rate exceeded');
    expect(await getSecretValue()).toMatchObject({ code: 0, stdout: '{"Serial":"0a"}\n' });
    refuse('ThrottlingException', 'Rate exceeded', 2);
    const { code, stderr } = await getSecretValue({ AWS_MAX_ATTEMPTS: '2' });
    expect(code).toBe(254);
    expect(stderr).toContain(
      '(ThrottlingException) when calling the GetSecretValue operation (reached max retries: 1)',
    );
  });

  test('refuses what it was not made for', async () => {
    expect(await call('aws', ['s3', 'ls'])).toMatchObject({ code: 252, stdout: '' });
    expect(await getSecretValue({}, ['--endpoint-url', 'http://127.0.0.1'])).toMatchObject({
      code: 252,
      stdout: '',
    });
  });
});

test('date tells the time of the cloud, where that is ahead of the machine', async () => {
  const before = Math.floor(Date.now() / 1000);
  const { stdout } = await call('date', ['+%s'], { LOCAL_NODE_AHEAD_SECONDS: String(2 * 86_400) });
  expect(Number(stdout)).toBeGreaterThanOrEqual(before + 2 * 86_400);
  expect(Number((await call('date', ['+%s'])).stdout)).toBeLessThan(before + 86_400);
});

test('openssl verifies certificates at the time of the cloud, where that is ahead of the machine', async () => {
  const [key, certificate] = [join(folder, 'day.key'), join(folder, 'day.pem')];
  const options = ['-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=day', '-days', '1'];
  await call('openssl', ['req', ...options, '-keyout', key, '-out', certificate]);
  const verify = (environment = {}) =>
    call('openssl', ['verify', '-CAfile', certificate, certificate], environment);
  expect(await verify()).toMatchObject({ code: 0 });
  expect(await verify({ LOCAL_NODE_AHEAD_SECONDS: '3600' })).toMatchObject({ code: 0 });
  const { code, stderr } = await verify({ LOCAL_NODE_AHEAD_SECONDS: String(2 * 86_400) });
  expect(code).not.toBe(0);
  expect(stderr).toContain('certificate has expired');
});

test('openssl finds at 127.0.0.1 what listens on the address of its node, and nothing at ::1', async () => {
  const [first, host] = [await serve(join(folder, 'first')), '127.0.0.2'];
  const second = await serve(join(folder, 'second'), { host, port: first.port });
  const ask = async (environment: Record<string, string>) => {
    const { stdout } = await call(
      'openssl',
      ['s_client', '-connect', `127.0.0.1:${first.port}`],
      environment,
    );
    return new X509Certificate(stdout.slice(stdout.indexOf('-----BEGIN'))).serialNumber.toLowerCase();
  };
  try {
    expect(await ask({})).toBe(await first.servedSerial());
    expect(await ask({ LOCAL_NODE_HOST: host })).toBe(await second.servedSerial());
    const otherwise = ['s_client', '-connect', `[::1]:${first.port}`];
    expect(await call('openssl', otherwise, { LOCAL_NODE_HOST: host })).toMatchObject({ code: 1 });
    expect(await call('openssl', ['version'])).toMatchObject({ code: 0 });
  } finally {
    await first.stop();
    await second.stop();
  }
});

describe('systemctl', () => {
  test('reloads the process whose pid file lies below the root of the node, and only while it lives', async () => {
    expect(await call('systemctl', ['reload', 'tls-server'])).toMatchObject({
      code: 1,
      stderr: 'tls-server.service is not active, cannot reload.\n',
    });
    const server = await serve(folder);
    try {
      expect(await call('systemctl', ['is-active', 'tls-server'])).toMatchObject({
        code: 0,
        stdout: 'active\n',
      });
      expect(await call('systemctl', ['reload', 'tls-server.service'])).toMatchObject({
        code: 0,
        stderr: '',
      });
      expect(await server.servedSerial()).toMatch(/^[0-9a-f]+$/);
    } finally {
      await server.stop();
    }
    expect(await call('systemctl', ['is-active', 'tls-server'])).toMatchObject({
      code: 3,
      stdout: 'inactive\n',
    });
  });

  test('knows no unit and no verb but those of local nodes', async () => {
    expect(await call('systemctl', ['is-active', 'postfix'])).toMatchObject({ code: 3 });
    expect(await call('systemctl', ['restart', 'nginx'])).toMatchObject({ code: 64 });
  });
});
