import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { copyFile, readdir, readlink, rm, symlink } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { SHIMS, type TlsServer } from 'local-cloud/node';
import { startTlsServer } from '../../../local/tls-server.ts';
import { first, node, second, setUpInstalls } from '../../ssm-documents/install-set-up.ts';
import { until } from '../../support/until.ts';

setUpInstalls();

const execute = promisify(execFile);

describe('with Heal, where files are unchanged', () => {
  const heal = { SSM_Heal: 'true', SSM_ReloadServices: 'tls-server' };
  let server: TlsServer;
  let options: typeof heal & { SSM_VerifyPort: string };
  beforeEach(async () => {
    await copyFile(path.join(SHIMS, 'systemctl'), path.join(node.bin, 'systemctl'));
    await node.addCommand('sleep', 'exec /bin/sleep 0.02');
    server = await startTlsServer('node', { root: node.root, certName: 'web' });
    options = { ...heal, SSM_VerifyPort: String(server.port) };
    await node.install(first, 1, options);
    await node.install(second, 2, options);
  });
  afterEach(() => server.stop());
  const heals = async (rollout: number) =>
    (await node.run({ ...(await node.offer(second, rollout)), ...options })).result;

  /** An administrator lets the server load the older files, and puts the newer ones back: it serves from memory. */
  async function serveFromMemory() {
    const current = await readlink(node.base('current'));
    const turn = async (version: string) => {
      await rm(node.base('current'));
      await symlink(version, node.base('current'));
    };
    await turn(`versions/${first.value.Serial}-1`);
    const env = { ...process.env, LOCAL_NODE_ROOT: node.root };
    await execute(path.join(SHIMS, 'systemctl'), ['reload', 'tls-server'], { env });
    const isOlder = async () => (await server.servedSerial('www.example.com')) === first.value.Serial;
    await until('the older certificate', isOlder);
    await turn(current);
  }

  test('a port that serves this certificate is left alone', async () => {
    await node.addHook('a', 'touch "$state/hook-ran"');
    expect(await heals(3)).toMatchObject({ Outcome: 'unchanged', Seen: 'port' });
    expect(existsSync(path.join(node.state, 'hook-ran'))).toBe(false);
  });

  test('a port that serves an older certificate from memory is reloaded and proved, and no secret is read', async () => {
    await node.addHook('a', 'echo ran >>"$state/hooks"');
    await serveFromMemory();
    const read = (await node.told('aws')).length;
    const before = await readdir(node.base('versions'));
    expect(await heals(3)).toMatchObject({ Outcome: 'installed', Seen: 'port', Serial: second.value.Serial });
    expect(await server.servedSerial('www.example.com')).toBe(second.value.Serial);
    expect(await node.told('hooks')).toEqual(['ran']);
    expect(await node.told('aws')).toHaveLength(read);
    expect(await readdir(node.base('versions'))).toEqual(before);
    expect(existsSync(node.base('.unfinished'))).toBe(false);
  });

  test('without Heal nobody asks the port', async () => {
    await serveFromMemory();
    const { result } = await node.run({ ...(await node.offer(second, 3)), ...options, SSM_Heal: 'false' });
    expect(result).toMatchObject({ Outcome: 'unchanged', Seen: 'files' });
  });

  test('a reload that does not help is told, and all is as before', async () => {
    await serveFromMemory();
    const before = await node.files();
    // It says that all is well, and reloads nothing.
    await node.addCommand('systemctl', 'echo "$*" >>"$state/systemctl"');
    expect(await heals(2)).toMatchObject({
      Outcome: 'rolled-back',
      ExitCode: 63,
      Error: `port ${server.port} does not serve serial ${second.value.Serial}: it serves serial ${first.value.Serial}`,
    });
    expect(await node.told('systemctl')).toContain('reload tls-server');
    expect(await node.files()).toEqual(before);
    expect(await server.servedSerial('www.example.com')).toBe(first.value.Serial);
  });

  test('a configuration that is broken is told, and not loaded', async () => {
    await node.addCommand('systemctl', 'echo "$*" >>"$state/systemctl"');
    const withNginx = { ...options, SSM_ReloadServices: 'nginx' };
    await node.install(second, 3, withNginx);
    await serveFromMemory();
    await node.untell('systemctl');
    await node.tell('config-fault', 'nginx: [emerg] no');
    const { result } = await node.run({ ...(await node.offer(second, 4)), ...withNginx });
    expect(result).toMatchObject({ Outcome: 'failed', ExitCode: 60, Step: 'test-config' });
    expect(await node.told('systemctl')).not.toContain('reload nginx');
  });

  test('and there is no port, they are unchanged', async () => {
    const { result } = await node.install(second, 3, { ...options, SSM_VerifyPort: '0' });
    expect(result.Outcome).toBe('installed');
    const again = await node.install(second, 4, { ...options, SSM_VerifyPort: '0' });
    expect(again.result).toMatchObject({ Outcome: 'unchanged', Seen: 'files' });
  });
});
