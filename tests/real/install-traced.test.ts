import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { expect } from '@jest/globals';
import { createChain } from '../ssm-documents/certificates.ts';
import { createNode } from '../ssm-documents/test-node.ts';
import { needs } from '../support/needs.ts';

needs('strace')(
  'neither passphrase nor key is ever in an argument, in the environment, or in another file than its own',
  async () => {
    const node = await createNode();
    const first = await (await createChain()).newBundle();
    const trace = path.join(node.folder, 'trace');
    const strace = ['strace', '-f', '-v', '-s', '65536', '-e', 'trace=execve,openat,open,creat', '-o', trace];
    const parameters = { ...(await node.offer(first)), SSM_ExtraFormats: 'combined-pem pkcs12' };
    expect((await node.run(parameters, strace)).code).toBe(0);
    const traced = await readFile(trace, 'utf8');
    const executed = traced.split('\n').filter((line) => line.includes('execve('));
    expect(executed.length).toBeGreaterThan(20);
    const keyLine = (await node.read('etc/ssl/private/web-privkey.pem')).split('\n')[1] as string;
    for (const secret of [keyLine, first.value.Passphrase.slice(0, 12)]) {
      expect(executed.filter((line) => line.includes(secret))).toEqual([]);
    }
    const written = [...traced.matchAll(/"([^"]+)", [^,)]*O_(?:WRONLY|RDWR|CREAT)/g)].map(
      ([, file]) => file as string,
    );
    expect(
      written.filter(
        (file) =>
          !/^\/dev\/(null|tty|fd\/\d+)$/.test(file) && !file.startsWith(node.folder) && path.isAbsolute(file),
      ),
    ).toEqual([]);
    await node.remove();
  },
);
