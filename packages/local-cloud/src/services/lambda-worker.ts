// Runs in a worker thread: one execution environment of one function, as Lambda's Node.js runtime behaves
// (developer guide, "Building Lambda functions with Node.js").
import dns from 'node:dns';
import { registerHooks, syncBuiltinESMExports } from 'node:module';
import { pathToFileURL } from 'node:url';
import { parentPort, workerData } from 'node:worker_threads';
import { throughEndpoint } from './aws-hosts.ts';
import { type Answer, answerOf, shown } from './lambda-answer.ts';
import { watch } from './lambda-watch.ts';

/** What the worker is started with. */
export interface WorkerData {
  handlerFile: string;
  handlerName: string;
  layerFolder: string;
  /** Milliseconds by which the cloud's clock is ahead of the machine's. */
  clockOffset: Float64Array;
  /** `<address>:<port>` of the resolver that the environment asks. */
  dnsServer: string;
}

export interface Invocation {
  event: unknown;
  traceId: string;
  /** Milliseconds since 1970, on the cloud's clock. */
  deadline: number;
  context: Record<string, string>;
}

const { handlerFile, handlerName, layerFolder, clockOffset, dnsServer } = workerData as WorkerData;
const port = parentPort;
if (!port) throw new Error('lambda-worker.ts runs in a worker only');

// For this thread's own start only: Lambda sets no such variable.
delete process.env.NODE_COMPILE_CACHE;

// Functions live by the cloud's clock, so that leases and expiries can be driven.
const RealDate = Date;
globalThis.Date = class extends RealDate {
  constructor(...args: unknown[]) {
    super(...((args.length === 0 ? [RealDate.now() + (clockOffset[0] as number)] : args) as []));
  }
  static override now(): number {
    return RealDate.now() + (clockOffset[0] as number);
  }
} as DateConstructor;

// On AWS the environment's resolv.conf names one resolver. New ones begin with it too.
dns.setServers([dnsServer]);
const withServer = <T extends typeof dns.Resolver | typeof dns.promises.Resolver>(Original: T): T => {
  const Extended = class extends (Original as typeof dns.Resolver) {
    constructor(...args: ConstructorParameters<typeof dns.Resolver>) {
      super(...args);
      this.setServers([dnsServer]);
    }
  };
  return Extended as unknown as T;
};
dns.Resolver = withServer(dns.Resolver);
dns.promises.Resolver = withServer(dns.promises.Resolver);
syncBuiltinESMExports();

// Lambda unpacks layers below /opt.
registerHooks({
  resolve: (specifier, context, nextResolve) =>
    specifier.startsWith('/opt/')
      ? nextResolve(pathToFileURL(`${layerFolder}${specifier.slice('/opt'.length)}`).href, context)
      : nextResolve(specifier, context),
});

globalThis.fetch = throughEndpoint(globalThis.fetch, process.env.AWS_ENDPOINT_URL ?? '');

type Handler = (event: unknown, context: object) => Promise<unknown>;

const answer = (message: Answer) => port.postMessage(message);

// Before the function's first line.
await watch((left) => port.postMessage(left));

let handler: Handler;
try {
  const module = await import(pathToFileURL(handlerFile).href);
  handler = module[handlerName];
  if (typeof handler !== 'function') {
    throw Object.assign(new Error(`${handlerFile} exports no ${handlerName}`), {
      name: 'Runtime.HandlerNotFound',
    });
  }
  answer({ ready: true });
} catch (error) {
  answer({ error: shown(error) });
}

port.on('message', async ({ event, traceId, deadline, context }: Invocation) => {
  process.env._X_AMZN_TRACE_ID = traceId;
  const getRemainingTimeInMillis = () => Math.max(0, deadline - Date.now());
  const whole = { ...context, callbackWaitsForEmptyEventLoop: true, getRemainingTimeInMillis };
  // Also where the handler is no async function.
  const answered = await answerOf((async () => handler(event, whole))());
  if ('error' in answered) {
    // The runtime writes what it reports to the log as well.
    console.error(
      `${new Date().toISOString()}\t${context.awsRequestId}\tERROR\tInvoke Error\t${JSON.stringify(answered.error)}`,
    );
  }
  answer(answered);
});
