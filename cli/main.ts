#!/usr/bin/env node
// The command acm-export. scripts/build.ts makes one file of it.
import http from 'node:http';
import https from 'node:https';
import { createInterface } from 'node:readline/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { fromNodeProviderChain } from '@aws-sdk/credential-providers';
import { loadConfig } from '@smithy/core/config';
import { Stop } from './exit.ts';
import { run } from './program.ts';
import type { World } from './world.ts';

if (Number(process.versions.node.split('.')[0]) < 22) {
  process.stderr.write(`acm-export: It needs Node 22 or later, and this is ${process.version}.\n`);
  process.exit(2);
}

const GRACE_MS = 1000;

/** The SDK's own agents know nothing of HTTPS_PROXY. Node's do, where NODE_USE_ENV_PROXY is set, as its fetch does. */
const requestHandler = { httpAgent: http.globalAgent, httpsAgent: https.globalAgent };

const interruption = new AbortController();
process.on('SIGINT', () => {
  // The second time at once: something does not end.
  if (interruption.signal.aborted) process.exit(130);
  interruption.abort();
  // What is under way says how it stands. A call that hangs does not.
  setTimeout(() => process.exit(130), GRACE_MS).unref();
});
// A reader that has seen enough (`| head`) is no fault.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

const world: World = {
  env: process.env,
  stdout: process.stdout,
  stderr: process.stderr,
  now: () => new Date(),
  sleep: (ms) => sleep(ms, undefined, { signal: interruption.signal }).catch(() => {}),
  interrupted: interruption.signal,
  fetch,
  ...(process.stdin.isTTY && process.stderr.isTTY ? { ask } : {}),
  readStdin: async () => {
    const chunks = await Array.fromAsync(process.stdin as AsyncIterable<Buffer>);
    return Buffer.concat(chunks).toString('utf8');
  },
  aws: async (profile, region) => {
    const found = region ?? (await regionOf(profile));
    if (!found) {
      throw new Stop(
        'usage',
        'No Region is known.',
        'Name it with --region, AWS_REGION, or the region of a profile in ~/.aws/config.',
      );
    }
    return {
      region: found,
      requestHandler,
      credentials: fromNodeProviderChain({
        ...(profile === undefined ? {} : { profile }),
        clientConfig: { region: found, requestHandler },
      }),
    };
  },
};

async function ask(question: string): Promise<string> {
  const reader = createInterface({ input: process.stdin, output: process.stderr });
  // On a terminal readline takes Ctrl-C itself, and Ctrl-D ends the input without an answer.
  reader.on('SIGINT', () => interruption.abort());
  const closed = new Promise<string>((resolve) => reader.once('close', () => resolve('')));
  try {
    return await Promise.race([reader.question(question, { signal: interruption.signal }), closed]);
  } catch {
    throw new Stop('interrupted', 'Nothing was done.');
  } finally {
    reader.close();
  }
}

/** As the SDK and the AWS CLI look for it. */
function regionOf(profile: string | undefined): Promise<string | undefined> {
  return loadConfig<string | undefined>(
    {
      environmentVariableSelector: (env) => env.AWS_REGION ?? env.AWS_DEFAULT_REGION,
      configFileSelector: (section) => section.region,
      default: undefined,
    },
    profile === undefined ? {} : { profile },
  )();
}

process.exitCode = await run(process.argv.slice(2), world);
