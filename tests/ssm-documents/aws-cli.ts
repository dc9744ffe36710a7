import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { installShims } from 'local-cloud/node';
import { createChain } from './certificates.ts';
import { localNode, runInstall } from './run-install.ts';
import { serveInstanceMetadata } from './serve-instance-metadata.ts';
import { serveSecrets, serviceError } from './serve-secrets.ts';

/** Installs with a stand-in for the AWS CLI, or with the program at that path. */
export function installsWith(realCli?: string): void {
  let folder: string;
  let secrets: Awaited<ReturnType<typeof serveSecrets>>;
  let metadata: Awaited<ReturnType<typeof serveInstanceMetadata>>;
  let chain: Awaited<ReturnType<typeof createChain>>;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'aws-cli-'));
    secrets = await serveSecrets();
    metadata = await serveInstanceMetadata('ASIANODEROLE');
    chain = await createChain();
  });
  afterAll(async () => {
    metadata.stop();
    await secrets.stop();
    await rm(folder, { recursive: true });
  });

  let binFolder: string;
  beforeAll(async () => {
    binFolder = join(folder, 'bin');
    await installShims(binFolder);
    if (!realCli) return;
    await writeFile(join(binFolder, 'aws'), `#!/bin/sh\nexec '${realCli}' "$@"\n`);
    await chmod(join(binFolder, 'aws'), 0o755);
  });

  const node = (name: string) =>
    localNode(join(folder, name), {
      AWS_ENDPOINT_URL: secrets.url,
      AWS_EC2_METADATA_SERVICE_ENDPOINT: metadata.url,
    });

  test("an install reads the bundle as the node's own role, whatever identity the agent hands to scripts", async () => {
    secrets.accessKeyIds.length = 0;
    const [bundle, spec] = [await chain.newBundle('RSA-2048'), node('identity')];
    const defaultHostManagementCredentials = { accessKeyId: 'ASIAHOSTROLE', secretAccessKey: 'secret' };
    const options = { binFolder, defaultHostManagementCredentials };
    const first = await runInstall(spec, secrets, bundle, { RolloutNumber: '1' }, options);
    expect(first.result).toMatchObject({ Outcome: 'installed', Serial: bundle.value.Serial });
    expect(secrets.accessKeyIds).toEqual(['ASIANODEROLE']);

    const second = await runInstall(spec, secrets, bundle, { RolloutNumber: '2' }, options);
    expect(second.result).toMatchObject({ Outcome: 'unchanged', ExitCode: 0 });
  });

  test('a denied read is told as one, with the role that was denied', async () => {
    const message =
      'User: arn:aws:sts::111122223333:assumed-role/web-server/i-0123456789abcdef0 is not authorized to perform: secretsmanager:GetSecretValue';
    const bundle = await chain.newBundle();
    secrets.answerNext(serviceError(400, 'AccessDeniedException', message));
    const { result } = await runInstall(
      node('denied'),
      secrets,
      bundle,
      { RolloutNumber: '1' },
      { binFolder },
    );
    expect(result).toMatchObject({ Outcome: 'failed', ExitCode: 20, Step: 'read-bundle' });
    expect(result.Error).toContain('web-server');
  });

  test('a version that is gone is told as one', async () => {
    const bundle = await chain.newBundle();
    secrets.answerNext(serviceError(400, 'ResourceNotFoundException', "Secrets Manager can't find it."));
    const { result } = await runInstall(node('gone'), secrets, bundle, { RolloutNumber: '1' }, { binFolder });
    expect(result).toMatchObject({ Outcome: 'failed', ExitCode: 23, Step: 'read-bundle' });
  });
}
