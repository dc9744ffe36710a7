import { execFile } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { promisify } from 'node:util';
import { afterEach, beforeAll, beforeEach } from '@jest/globals';
import { type Bundle, createChain } from './certificates.ts';
import { createNode, type TestNode } from './test-node.ts';

const execute = promisify(execFile);

export let ca: Awaited<ReturnType<typeof createChain>>;
export let first: Bundle;
export let second: Bundle;
export let node: TestNode;

/** What each file of tests of the install script begins with: an authority, two certificates, and a node per test. */
export function setUpInstalls(): void {
  beforeAll(async () => {
    ca = await createChain();
    [first, second] = [await ca.newBundle(), await ca.newBundle()];
  });
  beforeEach(async () => {
    node = await createNode({ knownAuthority: ca.root.pem });
  });
  afterEach(() => node.remove());
}

/** The permissions of a file, as chmod takes them. */
export const mode = async (file: string) => ((await stat(file)).mode & 0o7777).toString(8);
export const openssl = async (...args: string[]) => (await execute('openssl', args)).stdout;
