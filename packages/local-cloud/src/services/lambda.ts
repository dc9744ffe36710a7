import { AsyncLocalStorage } from 'node:async_hooks';
import { randomUUID } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import type { Context } from 'aws-lambda';
import type { PolicyDocument } from '../iam/evaluate.ts';
import type { PolicedState } from '../iam/operations.ts';
import { type Answer, answerOf, type FunctionError } from './lambda-answer.ts';
import type { Left } from './lambda-watch.ts';
import type { Invocation, WorkerData } from './lambda-worker.ts';
import type { PublicDns } from './public-dns.ts';
import {
  type Caller,
  type Kernel,
  type Operations,
  PATIENCE,
  parseArn,
  randomText,
  ServiceError,
} from './service.ts';
import { queueUrl } from './sqs.ts';

/** Developer guide, "Lambda quotas". */
const SYNCHRONOUS_BYTES = 6_291_456;
const ASYNCHRONOUS_BYTES = 1_048_576;
/** "Lambda waits 1 minute before the second attempt and 2 minutes before the third." */
const RETRY_SECONDS = [60, 120];
const DEFAULT_EVENT_AGE_SECONDS = 21_600;
/** Sessions of execution roles; an environment is replaced before its credentials expire. */
const SESSION_SECONDS = 12 * 3600;
/** A function in this process. It has the identity with which it was made, and no environment of its own. */
export type Handler = (event: unknown, context: Context) => Promise<unknown>;

export interface FunctionOptions {
  account: string;
  region: string;
  name: string;
  roleArn: string;
  /** The built module, and the export that is called. Needed where there is no `handler`. */
  handlerFile?: string;
  handlerName?: string;
  /** Called in place of the built module, in this process. */
  handler?: Handler | undefined;
  layerFolder?: string;
  environment?: Record<string, string>;
  timeoutSeconds?: number;
  memoryMegabytes?: number;
  /** TracingConfig: Active. */
  tracing?: boolean;
  /** Of AWS::Lambda::EventInvokeConfig; 0 to 2 and 60 to 21,600. */
  maximumRetryAttempts?: number;
  maximumEventAgeSeconds?: number;
  /** ARN of a queue or topic for events that were given up, with the error. */
  onFailure?: string;
}

/** An invocation of a function in this process. */
interface InvocationHere {
  /** As in `RecordedCall.source`. */
  source: string;
  /** A time-out or a crash has ended it: what its code still asks for is never sent. */
  isDead: boolean;
  die(error?: FunctionError): void;
}

/** By what a call is known as that of an invocation in this process. */
export const invocationsHere = new AsyncLocalStorage<InvocationHere>();

const KILLED: FunctionError = {
  errorType: 'Runtime.ExitError',
  errorMessage: 'Error: Runtime exited with error: signal: killed',
};

/** Where Node keeps what it compiles, an environment starts in half the time. */
const { NODE_COMPILE_CACHE } = process.env;
const COMPILE_CACHE = NODE_COMPILE_CACHE === undefined ? {} : { NODE_COMPILE_CACHE };

interface LambdaFunction extends FunctionOptions {
  arn: string;
  policy?: PolicyDocument;
  environments: Set<Environment>;
  waiting: (() => void)[];
  daemon: Promise<Socket> | undefined;
}

interface Environment {
  worker: Worker;
  accessKeyId: string;
  busy: boolean;
  /** Ends what waits for the worker, with the error that Lambda would show. */
  fail: (error: FunctionError) => void;
  answered: ((answer: Answer) => void) | undefined;
}

/** What Invoke answers. */
export interface InvokeResult {
  StatusCode: number;
  ExecutedVersion?: string;
  FunctionError?: 'Unhandled';
  Payload: string;
}

/**
 * AWS Lambda: the built handlers in worker threads, each environment with the identity of its function's role.
 * Source: developer guide.
 *
 * Not modelled: versions and aliases, reserved and provisioned concurrency, freezing between invocations,
 * memory limits, extensions, log delivery (logs are recorded, without the role being asked).
 */
export class Lambda {
  readonly operations: Operations = {
    'lambda.Invoke': (input, caller) => this.#invoke(input, caller),
    'xray.PutTraceSegments': (input, { source }) => {
      for (const segment of input.TraceSegmentDocuments) this.#kernel.record.emit('trace', source, segment);
    },
    'xray.PutTelemetryRecords': () => {},
  };
  readonly #kernel: Kernel;
  readonly #publicDns: PublicDns;
  readonly #functions = new Map<string, LambdaFunction>();
  readonly #environmentsOfOne: number;

  /**
   * @param environments of one function at a time. AWS has 1,000 for an account; more than a few threads only slow
   * this machine down, so further invocations wait here where AWS would start another environment.
   */
  constructor(kernel: Kernel, publicDns: PublicDns, environments = 4) {
    this.#kernel = kernel;
    this.#publicDns = publicDns;
    this.#environmentsOfOne = environments;
  }

  /** Throws when Lambda cannot take on the role: "The role defined for the function cannot be assumed by Lambda." */
  createFunction(options: FunctionOptions): string {
    const { account, region, name } = options;
    const arn = `arn:${this.#kernel.partition}:lambda:${region}:${account}:function:${name}`;
    const created: LambdaFunction = {
      ...options,
      arn,
      environments: new Set(),
      waiting: [],
      daemon: undefined,
    };
    this.#identity(created, undefined);
    this.#functions.set(arn, created);
    return arn;
  }

  /** The function's resource-based policy, as permissions make it. */
  setPolicy(functionArn: string, policy: PolicyDocument): void {
    this.#function(functionArn).policy = policy;
  }

  configureAsync(
    functionArn: string,
    config: Pick<FunctionOptions, 'maximumRetryAttempts' | 'maximumEventAgeSeconds' | 'onFailure'>,
  ): void {
    Object.assign(this.#function(functionArn), config);
  }

  /**
   * Another configuration. Invocations that run end with the one before; later ones get environments of their own (API
   * reference, UpdateFunctionConfiguration).
   */
  reconfigure(
    functionArn: string,
    config: Pick<FunctionOptions, 'environment' | 'timeoutSeconds' | 'memoryMegabytes'>,
  ): void {
    const target = this.#function(functionArn);
    Object.assign(target, config);
    for (const { worker, busy } of target.environments) if (!busy) void worker.terminate();
    target.environments.clear();
  }

  state(arn: string): PolicedState | undefined {
    const found = this.#functions.get(arn);
    return found && { arn, tags: {}, ...(found.policy ? { policy: found.policy } : {}) };
  }

  async stop(): Promise<void> {
    const functions = [...this.#functions.values()];
    await Promise.all(
      functions.flatMap(({ environments }) => [...environments].map(({ worker }) => worker.terminate())),
    );
    for (const { daemon } of functions) (await daemon)?.close();
  }

  #function(nameOrArn: string, caller?: Caller): LambdaFunction {
    const arn = nameOrArn.startsWith('arn:')
      ? nameOrArn.replace(/:\$LATEST$/, '')
      : `arn:${this.#kernel.partition}:lambda:${caller?.region}:${caller?.account}:function:${nameOrArn}`;
    const found = this.#functions.get(arn);
    if (!found) throw new ServiceError('ResourceNotFoundException', `Function not found: ${arn}`, 404);
    return found;
  }

  // biome-ignore lint/suspicious/noExplicitAny: input as it came over the wire
  async #invoke(input: any, caller: Caller): Promise<InvokeResult> {
    const target = this.#function(input.FunctionName, caller);
    const payload = String(input.Payload ?? '{}') || '{}';
    const isAsynchronous = input.InvocationType === 'Event';
    try {
      JSON.parse(payload);
    } catch {
      throw new ServiceError('InvalidRequestContentException', 'Could not parse request body into json.');
    }
    const limit = isAsynchronous ? ASYNCHRONOUS_BYTES : SYNCHRONOUS_BYTES;
    if (Buffer.byteLength(payload) > limit) {
      throw new ServiceError('RequestTooLargeException', `${limit} byte payload is too large`, 413);
    }
    if (input.InvocationType === 'DryRun') return { StatusCode: 204, Payload: '' };
    this.#kernel.record.emit('function-payload', caller.source, payload);
    if (isAsynchronous) {
      this.#kernel.track(this.#handleEvent(target, payload));
      return { StatusCode: 202, Payload: '' };
    }
    const result = await this.#run(target, payload, randomUUID());
    this.#kernel.record.emit('function-payload', `function ${target.name}`, result.Payload);
    return result;
  }

  /** Lambda's own queue of asynchronous events: up to two retries, then the destination. */
  async #handleEvent(target: LambdaFunction, payload: string): Promise<void> {
    const { clock } = this.#kernel;
    const requestId = randomUUID();
    const arrived = clock.now().getTime();
    const attempts = 1 + (target.maximumRetryAttempts ?? 2);
    const age = (target.maximumEventAgeSeconds ?? DEFAULT_EVENT_AGE_SECONDS) * 1000;
    for (let attempt = 1; ; attempt++) {
      const result = await this.#run(target, payload, requestId);
      this.#kernel.record.emit('function-payload', `function ${target.name}`, result.Payload);
      if (!result.FunctionError) return;
      if (attempt >= attempts)
        return this.#giveUp(target, payload, result, requestId, attempt, 'RetriesExhausted');
      await clock.sleep((RETRY_SECONDS[attempt - 1] ?? 0) * 1000);
      if (clock.now().getTime() - arrived > age) {
        return this.#giveUp(target, payload, result, requestId, attempt, 'EventAgeExceeded');
      }
    }
  }

  /** The record of an on-failure destination, sent as the function's own role. */
  async #giveUp(
    target: LambdaFunction,
    payload: string,
    result: InvokeResult,
    requestId: string,
    attempts: number,
    condition: string,
  ): Promise<void> {
    if (!target.onFailure) return;
    const message = JSON.stringify({
      version: '1.0',
      timestamp: this.#kernel.clock.now().toISOString(),
      requestContext: {
        requestId,
        functionArn: `${target.arn}:$LATEST`,
        condition,
        approximateInvokeCount: attempts,
      },
      requestPayload: JSON.parse(payload),
      responseContext: { statusCode: 200, executedVersion: '$LATEST', functionError: result.FunctionError },
      responsePayload: JSON.parse(result.Payload),
    });
    const caller = this.#identity(target, undefined);
    try {
      if (parseArn(target.onFailure)?.service === 'sns') {
        await this.#kernel.call('sns.Publish', { TopicArn: target.onFailure, Message: message }, caller);
      } else {
        const input = { QueueUrl: queueUrl(target.onFailure), MessageBody: message };
        await this.#kernel.call('AmazonSQS.SendMessage', input, caller);
      }
    } catch (error) {
      // Lambda drops the event and counts DestinationDeliveryFailures; the refusal stands in the record of calls.
      if (!(error instanceof ServiceError)) throw error;
    }
  }

  #identity({ name, region, roleArn }: LambdaFunction, crash: (() => void) | undefined): Caller {
    const session = { name: name.slice(0, 64), seconds: SESSION_SECONDS, source: `function ${name}`, crash };
    return this.#kernel.identities.callerForService('lambda.amazonaws.com', roleArn, region, {}, session);
  }

  /** One invocation in an environment of its own for as long as it lasts. */
  async #run(target: LambdaFunction, payload: string, requestId: string): Promise<InvokeResult> {
    if (target.handler) return this.#runHere(target, target.handler, payload, requestId);
    const environment = await this.#environment(target);
    if ('error' in environment) {
      this.#release(target);
      return resultOf({
        error: {
          ...environment.error,
          errorMessage: `RequestId: ${requestId} Error: ${environment.error.errorMessage}`,
        },
      });
    }
    const seconds = secondsOf(target);
    const timer = setTimeout(() => environment.fail(timedOut(target, requestId)), seconds * 1000 * PATIENCE);
    timer.unref(); // A cloud that stops waits for no time-out.
    const started = this.#kernel.clock.now();
    const traceId = traceHeader(started);
    const answer = await new Promise<Answer>((resolve) => {
      environment.answered = resolve;
      const invocation: Invocation = {
        event: JSON.parse(payload),
        traceId,
        deadline: started.getTime() + seconds * 1000,
        context: contextOf(target, requestId),
      };
      environment.worker.postMessage(invocation);
    });
    clearTimeout(timer);
    environment.answered = undefined;
    environment.busy = false;
    if (!target.environments.has(environment)) void environment.worker.terminate();
    this.#release(target);
    if (target.tracing) this.#trace(target, environment, traceId, started);
    return resultOf(answer);
  }

  async #runHere(
    target: LambdaFunction,
    handler: Handler,
    payload: string,
    requestId: string,
  ): Promise<InvokeResult> {
    const { clock } = this.#kernel;
    const deadline = clock.now().getTime() + secondsOf(target) * 1000;
    const remaining = () => deadline - clock.now().getTime();
    const context = {
      ...contextOf(target, requestId),
      callbackWaitsForEmptyEventLoop: true,
      getRemainingTimeInMillis: () => Math.max(0, remaining()),
    } as Context;
    const died = Promise.withResolvers<Answer>();
    const invocation: InvocationHere = {
      source: `function ${target.name}`,
      isDead: false,
      die: (error = KILLED) => {
        invocation.isDead = true;
        died.resolve({ error });
      },
    };
    const cancel = clock.at(new Date(deadline), () => invocation.die(timedOut(target, requestId)));
    const work = invocationsHere.run(invocation, () => answerOf(handler(JSON.parse(payload), context)));
    const answer = await Promise.race([died.promise, work]);
    cancel();
    return resultOf(answer);
  }

  /** The segment that Lambda itself makes of each invocation; like those of the function, it is sent as the role. */
  #trace(
    { name, region, arn }: LambdaFunction,
    { accessKeyId }: Environment,
    traceId: string,
    started: Date,
  ): void {
    const key = this.#kernel.identities.key(accessKeyId);
    if (!key) return;
    const [, root] = /Root=([^;]+)/.exec(traceId) ?? [];
    const segment = {
      id: randomText(16, '0123456789abcdef'),
      trace_id: root,
      name,
      origin: 'AWS::Lambda::Function',
      resource_arn: arn,
      start_time: started.getTime() / 1000,
      end_time: this.#kernel.clock.now().getTime() / 1000,
    };
    const input = { TraceSegmentDocuments: [JSON.stringify(segment)] };
    const caller = this.#kernel.identities.callerOf(key, region);
    this.#kernel.track(this.#toXRay('xray.PutTraceSegments', input, caller));
  }

  async #toXRay(operation: string, input: object, caller: Caller): Promise<void> {
    try {
      await this.#kernel.call(operation, input, caller);
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error; // The daemon only logs a refusal.
    }
  }

  #release(target: LambdaFunction): void {
    target.waiting.shift()?.();
  }

  /** A warm environment, or a new one. An error is what its start ended with. */
  async #environment(target: LambdaFunction): Promise<Environment | { error: FunctionError }> {
    for (;;) {
      const idle = [...target.environments].find(({ busy }) => !busy);
      if (idle && this.#isFresh(idle)) {
        idle.busy = true;
        return idle;
      }
      if (idle) {
        target.environments.delete(idle);
        void idle.worker.terminate();
      }
      if (target.environments.size < this.#environmentsOfOne) return this.#startEnvironment(target);
      await new Promise<void>((resolve) => target.waiting.push(resolve));
    }
  }

  #isFresh({ accessKeyId }: Environment): boolean {
    const expiration = this.#kernel.identities.key(accessKeyId)?.expiration;
    return (
      expiration !== undefined && expiration.getTime() - this.#kernel.clock.now().getTime() > 15 * 60_000
    );
  }

  async #startEnvironment(target: LambdaFunction): Promise<Environment | { error: FunctionError }> {
    const { handlerFile = '' } = target;
    if (!existsSync(handlerFile))
      throw new Error(`The code of ${target.name}, '${handlerFile}', is missing: build it`);
    let environment: Environment | undefined;
    const crash = () => environment?.fail(KILLED);
    const caller = this.#identity(target, crash);
    // Counted before the first wait, so that two starts at once see each other.
    const created: Environment = {
      worker: undefined as never,
      accessKeyId: caller.accessKeyId ?? '',
      busy: true,
      answered: undefined,
      fail: () => {},
    };
    target.environments.add(created);
    const data: WorkerData = {
      handlerFile,
      handlerName: target.handlerName ?? 'handler',
      layerFolder: target.layerFolder ?? '/opt',
      clockOffset: this.#kernel.clock.shared,
      dnsServer: await this.#publicDns.address(),
    };
    created.worker = new Worker(new URL('./lambda-worker.ts', import.meta.url), {
      workerData: data,
      env: { ...(await this.#variables(target, caller)), ...COMPILE_CACHE },
      execArgv: ['--disable-warning=ExperimentalWarning'],
      stdout: true,
      stderr: true,
    });
    environment = created;
    const { worker } = created;
    const log = (chunk: Buffer) => this.#kernel.record.emit('function-log', caller.source, chunk.toString());
    worker.stdout.on('data', log);
    worker.stderr.on('data', log);
    created.fail = (error) => {
      target.environments.delete(created);
      void worker.terminate();
      created.answered?.({ error });
    };
    worker.on('message', (message: Answer | Left) => {
      if ('channel' in message) this.#kernel.record.emit(message.channel, caller.source, message.text);
      else created.answered?.(message);
    });
    // What nobody caught ends the process, and with it the invocation.
    worker.on('error', (error) =>
      created.fail({
        errorType: error.name === 'Error' ? 'Runtime.ExitError' : error.name,
        errorMessage: error.message,
      }),
    );
    worker.on('exit', () =>
      created.fail({
        errorType: 'Runtime.ExitError',
        errorMessage: 'Error: Runtime exited without providing a reason',
      }),
    );
    const started = await new Promise<Answer>((resolve) => {
      created.answered = resolve;
    });
    if ('ready' in started) return created;
    target.environments.delete(created);
    void worker.terminate();
    return 'error' in started ? { error: started.error } : created;
  }

  /** The environment variables of Lambda's runtime, and the endpoint of the local cloud. */
  async #variables(target: LambdaFunction, caller: Caller): Promise<Record<string, string>> {
    const key = this.#kernel.identities.key(caller.accessKeyId ?? '');
    const nowhere = `${this.#kernel.folder}/none`;
    const daemon = target.tracing ? await this.#traceDaemon(target, caller) : undefined;
    return {
      ...target.environment,
      AWS_REGION: target.region,
      AWS_DEFAULT_REGION: target.region,
      AWS_ACCESS_KEY_ID: key?.accessKeyId ?? '',
      AWS_SECRET_ACCESS_KEY: key?.secretAccessKey ?? '',
      AWS_SESSION_TOKEN: key?.sessionToken ?? '',
      AWS_ENDPOINT_URL: this.#kernel.endpoint,
      // The files of the person who runs the local cloud must not reach the functions.
      AWS_CONFIG_FILE: nowhere,
      AWS_SHARED_CREDENTIALS_FILE: nowhere,
      AWS_EXECUTION_ENV: 'AWS_Lambda_nodejs24.x',
      AWS_LAMBDA_FUNCTION_NAME: target.name,
      AWS_LAMBDA_FUNCTION_VERSION: '$LATEST',
      AWS_LAMBDA_FUNCTION_MEMORY_SIZE: String(target.memoryMegabytes ?? 128),
      AWS_LAMBDA_INITIALIZATION_TYPE: 'on-demand',
      AWS_LAMBDA_LOG_GROUP_NAME: `/aws/lambda/${target.name}`,
      AWS_LAMBDA_LOG_STREAM_NAME: 'local',
      LAMBDA_TASK_ROOT: '/var/task',
      LAMBDA_RUNTIME_DIR: '/var/runtime',
      TZ: ':UTC',
      ...(daemon
        ? {
            AWS_XRAY_DAEMON_ADDRESS: `127.0.0.1:${daemon.address().port}`,
            AWS_XRAY_CONTEXT_MISSING: 'LOG_ERROR',
          }
        : {}),
    };
  }

  /** The X-Ray daemon that Lambda runs beside a traced function: it sends segments on as the function's role. */
  #traceDaemon(target: LambdaFunction, caller: Caller): Promise<Socket> {
    const send = (operation: string, input: object) => this.#toXRay(operation, input, caller);
    target.daemon ??= (async () => {
      const socket = createSocket('udp4');
      socket.on('message', (datagram) => {
        // A header line, then the segment.
        const [, segment = ''] = datagram.toString().split('\n', 2);
        this.#kernel.track(send('xray.PutTraceSegments', { TraceSegmentDocuments: [segment] }));
      });
      socket.bind(0, '127.0.0.1');
      await once(socket, 'listening');
      socket.unref();
      this.#kernel.track(send('xray.PutTelemetryRecords', { TelemetryRecords: [] }));
      return socket;
    })();
    return target.daemon;
  }
}

const secondsOf = ({ timeoutSeconds = 3 }: LambdaFunction) => timeoutSeconds;

const timedOut = (target: LambdaFunction, requestId: string): FunctionError => ({
  errorType: 'Sandbox.Timedout',
  errorMessage: `RequestId: ${requestId} Error: Task timed out after ${secondsOf(target).toFixed(2)} seconds`,
});

function contextOf({ name, arn, memoryMegabytes = 128 }: LambdaFunction, requestId: string) {
  return {
    functionName: name,
    functionVersion: '$LATEST',
    invokedFunctionArn: arn,
    memoryLimitInMB: String(memoryMegabytes),
    awsRequestId: requestId,
    logGroupName: `/aws/lambda/${name}`,
    logStreamName: 'local',
  };
}

function resultOf(answer: Answer): InvokeResult {
  if (!('result' in answer)) {
    return failed('error' in answer ? answer.error : { errorType: 'Runtime.Unknown', errorMessage: '' });
  }
  if (Buffer.byteLength(answer.result) <= SYNCHRONOUS_BYTES) {
    return { StatusCode: 200, ExecutedVersion: '$LATEST', Payload: answer.result };
  }
  return failed({
    errorType: 'Function.ResponseSizeTooLarge',
    errorMessage: `Response payload size exceeded maximum allowed payload size (${SYNCHRONOUS_BYTES} bytes).`,
  });
}

function failed(error: FunctionError): InvokeResult {
  return {
    StatusCode: 200,
    ExecutedVersion: '$LATEST',
    FunctionError: 'Unhandled',
    Payload: JSON.stringify(error),
  };
}

function traceHeader(now: Date): string {
  const hex = '0123456789abcdef';
  const seconds = Math.floor(now.getTime() / 1000).toString(16);
  return `Root=1-${seconds}-${randomText(24, hex)};Parent=${randomText(16, hex)};Sampled=1`;
}
