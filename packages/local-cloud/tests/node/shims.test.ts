import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { installShims } from '../../../local/node/install-shims.ts';
import { startTlsServer } from '../../../local/node/tls-server.ts';
import { serveInstanceMetadata } from './serve-instance-metadata.ts';
import { serveSecrets, serviceError } from './serve-secrets.ts';

let folder: string;
let secrets: Awaited<ReturnType<typeof serveSecrets>>;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shims-'));
  await installShims(join(folder, 'bin'));
  secrets = await serveSecrets();
});
afterEach(() => secrets.answerNext());
afterAll(async () => {
  await secrets.stop();
  await rm(folder, { recursive: true });
});

const SECRET = 'arn:aws:secretsmanager:eu-west-1:111122223333:secret:acm-export/web/0-AbCdEf';
const VERSION = 'a'.repeat(64);

function call(command: string, args: string[], environment: Record<string, string> = {}) {
  return new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
    const env = {
      PATH: `${join(folder, 'bin')}:${process.env.PATH}`,
      ACM_EXPORT_ROOT: folder,
      AWS_ENDPOINT_URL: secrets.url,
      AWS_ACCESS_KEY_ID: 'AKIANODE',
      AWS_SECRET_ACCESS_KEY: 'node',
      AWS_RETRY_MODE: 'standard',
      ...environment,
    };
    const child = execFile(join(folder, 'bin', command), args, { env }, (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr }),
    );
    child.stdin?.end();
  });
}

const getSecretValue = (more: string[] = [], environment: Record<string, string> = {}) =>
  call(
    'aws',
    [
      ...['secretsmanager', 'get-secret-value', '--region', 'eu-west-1', '--secret-id', SECRET],
      ...['--version-id', VERSION, '--query', 'SecretString', '--output', 'text', ...more],
    ],
    environment,
  );

describe('aws', () => {
  test('prints a secret as the AWS CLI does', async () => {
    secrets.put(SECRET, VERSION, { Serial: '0a' });
    expect(await getSecretValue()).toEqual({ code: 0, stdout: '{"Serial":"0a"}\n', stderr: '' });
    expect(secrets.accessKeyIds.at(-1)).toBe('AKIANODE');
  });

  test('takes credentials in the order of the AWS CLI: environment, shared file, instance metadata', async () => {
    const metadata = await serveInstanceMetadata('ASIAIMDS');
    const file = join(folder, 'credentials');
    await writeFile(file, '[default]\naws_access_key_id = ASIAFILE\naws_secret_access_key = f\n');
    try {
      const instance = {
        AWS_ACCESS_KEY_ID: '',
        AWS_SECRET_ACCESS_KEY: '',
        AWS_EC2_METADATA_SERVICE_ENDPOINT: metadata.url,
      };
      await getSecretValue([], instance);
      await getSecretValue([], { ...instance, AWS_SHARED_CREDENTIALS_FILE: file });
      await getSecretValue([], { AWS_SHARED_CREDENTIALS_FILE: file });
      expect(secrets.accessKeyIds.slice(-3)).toEqual(['ASIAIMDS', 'ASIAFILE', 'AKIANODE']);
    } finally {
      metadata.stop();
    }
  });

  test('waits for a metadata service that is as slow as a busy machine', async () => {
    // The SDK by itself gives up after a second.
    const metadata = await serveInstanceMetadata('ASIASLOW', 1200);
    try {
      secrets.put(SECRET, VERSION, { Serial: '0c' });
      const { code } = await getSecretValue([], {
        AWS_ACCESS_KEY_ID: '',
        AWS_SECRET_ACCESS_KEY: '',
        AWS_EC2_METADATA_SERVICE_ENDPOINT: metadata.url,
      });
      expect([code, secrets.accessKeyIds.at(-1)]).toEqual([0, 'ASIASLOW']);
    } finally {
      metadata.stop();
    }
  });

  test("fails in the AWS CLI's words and with its exit codes", async () => {
    const denied = 'User: arn:aws:sts::1:assumed-role/node/i-0 is not authorized to perform: it';
    secrets.answerNext(serviceError(400, 'AccessDeniedException', denied));
    expect(await getSecretValue()).toEqual({
      code: 254,
      stdout: '',
      stderr: `\nAn error occurred (AccessDeniedException) when calling the GetSecretValue operation: ${denied}\n`,
    });
    const refused = await getSecretValue([], {
      AWS_ENDPOINT_URL: 'http://127.0.0.1:1',
      AWS_MAX_ATTEMPTS: '1',
    });
    expect(refused).toMatchObject({
      code: 255,
      stderr: expect.stringContaining('Could not connect to the endpoint'),
    });
    const nobody = { AWS_ACCESS_KEY_ID: '', AWS_SECRET_ACCESS_KEY: '', AWS_EC2_METADATA_DISABLED: 'true' };
    expect(await getSecretValue([], nobody)).toMatchObject({
      code: 253,
      stderr: expect.stringContaining('Unable to locate credentials'),
    });
  });

  test('tries again when it is throttled, and says so when it gives up', async () => {
    const throttled = serviceError(400, 'ThrottlingException', 'Rate exceeded');
    secrets.put(SECRET, VERSION, { Serial: '0b' });
    secrets.answerNext(throttled);
    expect(await getSecretValue()).toMatchObject({ code: 0, stdout: '{"Serial":"0b"}\n' });
    secrets.answerNext(throttled, throttled);
    const { code, stderr } = await getSecretValue([], { AWS_MAX_ATTEMPTS: '2' });
    expect(code).toBe(254);
    expect(stderr).toContain(
      '(ThrottlingException) when calling the GetSecretValue operation (reached max retries: 1)',
    );
  });

  test('refuses what it was not made for', async () => {
    expect(await call('aws', ['s3', 'ls'])).toMatchObject({ code: 252, stdout: '' });
    expect(await getSecretValue(['--endpoint-url', 'http://127.0.0.1'])).toMatchObject({
      code: 252,
      stdout: '',
    });
  });
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
  const [first, host] = [
    await startTlsServer('node', { root: join(folder, 'first'), certName: 'web' }),
    '127.0.0.2',
  ];
  const second = await startTlsServer('node', {
    root: join(folder, 'second'),
    certName: 'web',
    host,
    port: first.port,
  });
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
    const server = await startTlsServer('node', { root: folder, certName: 'web' });
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
