// Runs a built function once, in a process of its own, and prints what that took.
import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { pathToFileURL } from 'node:url';

/** What the process prints: one line of JSON. */
export interface Invocation {
  result?: unknown;
  error?: string;
  /** Of the handler alone, without its import. */
  seconds: number;
  cpuSeconds: number;
  /** Of the whole process, at its highest. */
  residentMB: number;
}

const [handlerFile = '', layerFolder = ''] = process.argv.slice(2);

registerHooks({
  resolve: (specifier, context, next) =>
    specifier.startsWith('/opt/')
      ? next(pathToFileURL(`${layerFolder}${specifier.slice('/opt'.length)}`).href, context)
      : next(specifier, context),
});

const { handler } = await import(pathToFileURL(handlerFile).href);
const event = JSON.parse(readFileSync(0, 'utf8'));
const start = performance.now();
const before = process.cpuUsage();
const deadline = Date.now() + Number(process.env.TIMEOUT_SECONDS) * 1000;
const outcome = await handler(event, {
  awsRequestId: '11111111-2222-3333-4444-555555555555',
  functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
  getRemainingTimeInMillis: () => deadline - Date.now(),
}).then(
  (result: unknown) => ({ result }),
  (error: unknown) => ({ error: String(error) }),
);
const { user, system } = process.cpuUsage(before);
const invocation: Invocation = {
  ...outcome,
  seconds: (performance.now() - start) / 1000,
  cpuSeconds: (user + system) / 1e6,
  residentMB: process.resourceUsage().maxRSS / 1024,
};
process.stdout.write(`\n${JSON.stringify(invocation)}\n`, () => process.exit(0));
