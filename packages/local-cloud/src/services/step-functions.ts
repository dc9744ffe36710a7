import { randomUUID } from 'node:crypto';
import type { StateMachineDefinition } from 'aws-local-stepfunctions';
import { NotModelled } from '../iam/not-modelled.ts';
import type { PolicedState } from '../iam/operations.ts';
import type { InvokeResult } from './lambda.ts';
import {
  type Caller,
  type Kernel,
  NoAnswer,
  type Operations,
  page,
  parseArn,
  ServiceError,
} from './service.ts';

/** Developer guide, "Step Functions service quotas". */
const PAYLOAD_BYTES = 262_144;
/** "The name must be unique for your account, Region and state machine for 90 days." */
const NAME_REUSE_DAYS = 90;
const DAY = 86_400_000;
/** White space, brackets, wildcards, special and control characters (API reference, StartExecution). */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
const NOT_IN_NAME = /[\s<>{}[\]?*"#%\\^|~`$&,;:/\u0000-\u001f\u007f-\u009f]/;
const LAMBDA_INVOKE = ':states:::lambda:invoke';
/** A task without TimeoutSeconds runs for 99,999,999 s; the library would end it after 60. */
const NO_TIMEOUT_SECONDS = 2_000_000;

type Status = 'RUNNING' | 'SUCCEEDED' | 'FAILED' | 'TIMED_OUT' | 'ABORTED';
// biome-ignore lint/suspicious/noExplicitAny: ASL is a tree of many shapes
type State = Record<string, any>;

interface Machine {
  arn: string;
  name: string;
  account: string;
  region: string;
  roleArn: string;
  definition: State;
}

export interface Execution {
  arn: string;
  name: string;
  machineArn: string;
  input: string;
  status: Status;
  startDate: Date;
  stopDate?: Date;
  output?: string;
  error?: string;
  cause?: string;
  /** Entered, exited, failed, retried and caught states, with inputs and outputs; empty where no record is kept. */
  history: {
    type: string;
    state?: string;
    input?: unknown;
    output?: unknown;
    error?: unknown;
    cause?: unknown;
  }[];
  stop: (status: 'ABORTED' | 'TIMED_OUT', error?: string, cause?: string) => void;
}

/** Definitions that were validated: it takes longer than everything else that a new cloud does. */
const valid = new Set<string>();

type Library = typeof import('aws-local-stepfunctions');

/** An error of a task in the form that the library matches with Retry and Catch. */
class TaskError extends Error {
  readonly isRetryable: boolean;
  readonly isCatchable: boolean;
  constructor(name: string, cause: string, isMatchable = true) {
    super(cause);
    this.name = name;
    this.isRetryable = isMatchable;
    this.isCatchable = isMatchable;
  }
}

/**
 * AWS Step Functions, Standard workflows in JSONPath: aws-local-stepfunctions runs the definition as it is
 * shipped; only Wait states and time-outs are taken out of its hands, because they follow the cloud's clock.
 * Source: developer guide, API reference.
 *
 * Not modelled: what `refuseUnsupported` refuses, Express workflows, redrive, versions, activities, callbacks,
 * history as an API (see `Execution.history`), log delivery.
 */
export class StepFunctions {
  readonly operations: Operations = {
    'AWSStepFunctions.StartExecution': (input) => this.#startExecution(input),
    'AWSStepFunctions.DescribeExecution': ({ executionArn }) => describe(this.#find(executionArn)),
    'AWSStepFunctions.StopExecution': ({ executionArn, error, cause }) => {
      const execution = this.#find(executionArn);
      // Stopping what has ended changes nothing and is no error.
      if (execution.status === 'RUNNING') execution.stop('ABORTED', error, cause);
      return { stopDate: execution.stopDate };
    },
    'AWSStepFunctions.ListExecutions': (input) => this.#listExecutions(input),
  };
  readonly #kernel: Kernel;
  readonly #timeScale: number;
  readonly #holds: boolean;
  readonly #machines = new Map<string, Machine>();
  readonly #executions = new Map<string, Execution>();
  /** Loaded with the first state machine that is to run: a third of a second of a processor, its validation included. */
  #library: Library | undefined;

  /** `holds`: executions stay where they start, until `end` is called, and definitions are not validated. */
  constructor(kernel: Kernel, timeScale: number, holds = false) {
    this.#kernel = kernel;
    this.#timeScale = timeScale;
    this.#holds = holds;
  }

  /** Throws NotModelled for what the library would silently ignore, and when the definition is not valid ASL. */
  async createStateMachine(machine: Omit<Machine, 'arn'>): Promise<string> {
    const arn = `arn:${this.#kernel.partition}:states:${machine.region}:${machine.account}:stateMachine:${machine.name}`;
    refuseUnsupported(machine.definition);
    if (!this.#holds) {
      this.#library ??= await import('aws-local-stepfunctions');
      this.#validate(machine.definition, this.#library);
    }
    this.#machines.set(arn, { ...machine, arn });
    return arn;
  }

  #validate(definition: State, { StateMachine }: Library): void {
    const text = JSON.stringify(definition);
    if (valid.has(text)) return;
    // The library writes its defaults into what it validates.
    new StateMachine(JSON.parse(text) as StateMachineDefinition, {
      validationOptions: { checkArn: false },
    });
    valid.add(text);
  }

  state(arn: string): PolicedState | undefined {
    return this.#machines.has(arn) ? { arn, tags: {} } : undefined;
  }

  /** Ends an execution that is held. */
  end(
    arn: string,
    status: Exclude<Status, 'RUNNING'>,
    error?: { name?: string | undefined; cause?: string | undefined },
  ): void {
    const execution = this.#find(arn);
    execution.status = status;
    if (error?.name !== undefined) execution.error = error.name;
    if (error?.cause !== undefined) execution.cause = error.cause;
    this.#close(execution);
  }

  /** The execution is not known any more, as 90 days after its end. */
  forget(arn: string): void {
    this.#executions.delete(arn);
  }

  executions(): Execution[] {
    return [...this.#executions.values()];
  }

  stop(): void {
    for (const execution of this.#executions.values())
      if (execution.status === 'RUNNING') execution.stop('ABORTED');
  }

  #find(arn: string): Execution {
    if (parseArn(arn)?.service !== 'states') throw new ServiceError('InvalidArn', `Invalid Arn: '${arn}'`);
    const execution = this.#executions.get(arn);
    if (!execution) throw new ServiceError('ExecutionDoesNotExist', `Execution Does Not Exist: '${arn}'`);
    return execution;
  }

  // biome-ignore lint/suspicious/noExplicitAny: input as it came over the wire
  #startExecution(input: any) {
    const { stateMachineArn, name = randomUUID(), input: text = '{}' } = input;
    if (parseArn(stateMachineArn)?.service !== 'states') {
      throw new ServiceError('InvalidArn', `Invalid Arn: '${stateMachineArn}'`);
    }
    const machine = this.#machines.get(stateMachineArn);
    if (!machine)
      throw new ServiceError(
        'StateMachineDoesNotExist',
        `State Machine Does Not Exist: '${stateMachineArn}'`,
      );
    if (NOT_IN_NAME.test(name)) throw new ServiceError('InvalidName', `Invalid Name: '${name}'`);
    let parsed: unknown;
    try {
      parsed = JSON.parse(text);
    } catch {
      throw new ServiceError('InvalidExecutionInput', 'Invalid State Machine Execution Input: not JSON');
    }
    if (Buffer.byteLength(text) > PAYLOAD_BYTES) {
      throw new ServiceError('InvalidExecutionInput', 'The input is larger than 256 KiB.');
    }
    const arn = stateMachineArn.replace(':stateMachine:', ':execution:').concat(`:${name}`);
    const now = this.#kernel.clock.now();
    const existing = this.#executions.get(arn);
    if (existing && now.getTime() - (existing.stopDate ?? now).getTime() < NAME_REUSE_DAYS * DAY) {
      // "If it is called with the same name and input as a running execution, the call succeeds and returns the
      // same response. If the execution is closed or the input is different, it returns a 400 error."
      if (existing.status !== 'RUNNING' || existing.input !== text) {
        throw new ServiceError('ExecutionAlreadyExists', `Execution Already Exists: '${arn}'`);
      }
      return { executionArn: arn, startDate: existing.startDate };
    }
    const execution: Execution = {
      arn,
      name,
      machineArn: machine.arn,
      input: text,
      status: 'RUNNING',
      startDate: now,
      history: [],
      stop: () => {},
    };
    this.#executions.set(arn, execution);
    this.#kernel.record.emit('state-machine', `state machine ${machine.name}`, { input: parsed });
    this.#publish(machine, execution);
    if (this.#holds) execution.stop = (status, error, cause) => this.end(arn, status, { name: error, cause });
    else this.#kernel.track(this.#run(machine, execution, parsed));
    return { executionArn: arn, startDate: now };
  }

  async #run(machine: Machine, execution: Execution, input: unknown): Promise<void> {
    const { clock } = this.#kernel;
    const { StateMachine, ExecutionAbortedError } = this.#library as Library;
    const ended = new AbortController();
    const tasks: Record<string, (input: State) => Promise<unknown>> = {};
    const definition = this.#prepared(machine.definition, machine, ended.signal, tasks);
    const { TimeoutSeconds } = definition;
    delete definition.TimeoutSeconds;
    const runner = new StateMachine(definition as StateMachineDefinition, {
      validationOptions: { noValidate: true },
    });
    const run = runner.run(input as never, {
      overrides: { taskResourceLocalHandlers: tasks as never },
      context: {
        Execution: { Id: execution.arn, Name: execution.name, RoleArn: machine.roleArn },
        StateMachine: { Id: machine.arn, Name: machine.name },
      },
    });
    execution.stop = (status, error, cause) => {
      if (execution.status !== 'RUNNING') return;
      execution.status = status;
      execution.stopDate = clock.now();
      if (error !== undefined) execution.error = error;
      if (cause !== undefined) execution.cause = cause;
      run.abort();
    };
    if (TimeoutSeconds !== undefined) {
      void clock.sleep(TimeoutSeconds * 1000, ended.signal).then(() => execution.stop('TIMED_OUT'));
    }
    const recorded = this.#kernel.record.keeps && this.#recordHistory(run.eventLogs, machine, execution);
    try {
      const output = await run.result;
      if (execution.status === 'RUNNING') {
        execution.status = 'SUCCEEDED';
        execution.output = JSON.stringify(output);
      }
    } catch (error) {
      if (!(error instanceof ExecutionAbortedError)) {
        const failure = (error as Error).cause as Error | undefined;
        execution.status = 'FAILED';
        execution.error = failure?.name ?? 'States.Runtime';
        execution.cause = failure?.message ?? String(error);
      }
    } finally {
      ended.abort();
      // What ran it is not kept with it.
      execution.stop = () => {};
    }
    // The log of an aborted run need not end by itself.
    const isAborted = ['ABORTED', 'TIMED_OUT'].includes(execution.status);
    await (isAborted
      ? Promise.race([recorded, new Promise((resolve) => setTimeout(resolve, 50))])
      : recorded);
    this.#close(execution);
  }

  #close(execution: Execution): void {
    execution.stopDate ??= this.#kernel.clock.now();
    this.#publish(this.#machines.get(execution.machineArn) as Machine, execution);
  }

  /**
   * A copy of the definition for one run: Wait states become tasks that sleep on the cloud's clock, retry
   * intervals are scaled as all waits are, and tasks have no time-out unless they say so.
   */
  #prepared(
    scope: State,
    machine: Machine,
    signal: AbortSignal,
    tasks: Record<string, (input: State) => Promise<unknown>>,
  ): State {
    const states = Object.entries(scope.States as Record<string, State>).map(([name, state]) => {
      if (state.Type === 'Wait') {
        tasks[name] = async ({ Seconds, Timestamp, State: data }) => {
          const until =
            Timestamp === undefined ? undefined : Date.parse(Timestamp) - this.#kernel.clock.now().getTime();
          await this.#kernel.clock.sleep(until ?? Seconds * 1000, signal);
          return data;
        };
        const { Seconds, SecondsPath, Timestamp, TimestampPath, ...rest } = state;
        const Parameters = {
          ...(Seconds === undefined ? {} : { Seconds }),
          ...(SecondsPath === undefined ? {} : { 'Seconds.$': SecondsPath }),
          ...(Timestamp === undefined ? {} : { Timestamp }),
          ...(TimestampPath === undefined ? {} : { 'Timestamp.$': TimestampPath }),
          'State.$': '$',
        };
        return [
          name,
          { ...rest, Type: 'Task', Resource: 'wait', Parameters, TimeoutSeconds: NO_TIMEOUT_SECONDS },
        ];
      }
      const copy: State = { ...state };
      if (state.Type === 'Task') {
        tasks[name] = (input) => this.#invoke(machine, input, signal);
        copy.TimeoutSeconds = state.TimeoutSeconds ?? NO_TIMEOUT_SECONDS;
      }
      if (state.Retry) copy.Retry = state.Retry.map((retrier: State) => this.#scaled(retrier));
      if (state.Branches)
        copy.Branches = state.Branches.map((branch: State) => this.#prepared(branch, machine, signal, tasks));
      const inner = state.ItemProcessor ? 'ItemProcessor' : state.Iterator ? 'Iterator' : undefined;
      if (inner) copy[inner] = this.#prepared(state[inner], machine, signal, tasks);
      return [name, copy];
    });
    return { ...scope, States: Object.fromEntries(states) };
  }

  #scaled(retrier: State): State {
    const scaled: State = { ...retrier, IntervalSeconds: (retrier.IntervalSeconds ?? 1) * this.#timeScale };
    if (retrier.MaxDelaySeconds !== undefined)
      scaled.MaxDelaySeconds = retrier.MaxDelaySeconds * this.#timeScale;
    return scaled;
  }

  /** The optimized integration `lambda:invoke`, as the state machine's role. */
  async #invoke(machine: Machine, input: State, signal: AbortSignal): Promise<unknown> {
    if (signal.aborted) throw new TaskError('States.Runtime', 'The execution has ended.', false);
    const payload = JSON.stringify(input.Payload ?? {});
    checkSize(payload);
    let result: InvokeResult;
    try {
      result = await this.#kernel.call(
        'lambda.Invoke',
        { ...input, Payload: payload },
        this.#asRole(machine),
      );
    } catch (error) {
      if (error instanceof NoAnswer) throw new TaskError('Lambda.SdkClientException', error.message);
      if (!(error instanceof ServiceError)) throw error;
      // A denial has the general name (awslabs/aws-deployment-framework#460).
      const name = error.name === 'AccessDeniedException' ? 'AWSLambdaException' : error.name;
      throw new TaskError(`Lambda.${name}`, error.message);
    }
    if (result.FunctionError) {
      throw new TaskError(JSON.parse(result.Payload).errorType ?? 'Lambda.Unknown', result.Payload);
    }
    checkSize(result.Payload);
    return {
      ExecutedVersion: result.ExecutedVersion,
      Payload: JSON.parse(result.Payload),
      SdkHttpMetadata: { HttpStatusCode: result.StatusCode },
      SdkResponseMetadata: { RequestId: randomUUID() },
      StatusCode: result.StatusCode,
    };
  }

  #asRole({ arn, name, account, region, roleArn }: Machine): Caller {
    const context = { 'aws:SourceAccount': account, 'aws:SourceArn': arn };
    const session = {
      name: randomUUID().replaceAll('-', ''),
      seconds: 3600,
      source: `state machine ${name}`,
    };
    return this.#kernel.identities.callerForService(
      'states.amazonaws.com',
      roleArn,
      region,
      context,
      session,
    );
  }

  async #recordHistory(
    events: AsyncIterable<unknown>,
    machine: Machine,
    execution: Execution,
  ): Promise<void> {
    // biome-ignore lint/suspicious/noExplicitAny: the library's many event shapes
    for await (const event of events as AsyncIterable<any>) {
      const entry: Execution['history'][number] = { type: event.type };
      if (event.state) {
        entry.state = event.state.name;
        entry.input = event.state.input;
        entry.output = event.state.output;
      }
      if (event.Error) {
        entry.error = event.Error;
        entry.cause = event.Cause;
      }
      execution.history.push(entry);
      this.#kernel.record.emit('state-machine', `state machine ${machine.name}`, event);
    }
  }

  /** Developer guide, "Automating Step Functions event delivery with EventBridge": dates in milliseconds. */
  #publish(machine: Machine, execution: Execution): void {
    const included = (text: string | undefined) => (text === undefined ? null : { included: true });
    this.#kernel.publish({
      source: 'aws.states',
      'detail-type': 'Step Functions Execution Status Change',
      account: machine.account,
      region: machine.region,
      resources: [execution.arn],
      detail: {
        executionArn: execution.arn,
        stateMachineArn: execution.machineArn,
        name: execution.name,
        status: execution.status,
        startDate: execution.startDate.getTime(),
        stopDate: execution.stopDate?.getTime() ?? null,
        input: execution.input,
        inputDetails: included(execution.input),
        output: execution.output ?? null,
        outputDetails: included(execution.output),
        error: execution.error ?? null,
        cause: execution.cause ?? null,
        redriveCount: 0,
        redriveDate: null,
        redriveStatus: execution.status === 'RUNNING' ? 'NOT_REDRIVABLE' : 'REDRIVABLE',
      },
    });
  }

  // biome-ignore lint/suspicious/noExplicitAny: input as it came over the wire
  #listExecutions(input: any) {
    if (!this.#machines.has(input.stateMachineArn)) {
      throw new ServiceError(
        'StateMachineDoesNotExist',
        `State Machine Does Not Exist: '${input.stateMachineArn}'`,
      );
    }
    const found = [...this.#executions.values()]
      .filter(
        ({ machineArn, status }) =>
          machineArn === input.stateMachineArn && (!input.statusFilter || input.statusFilter === status),
      )
      .reverse(); // "Results are sorted by time, with the most recent execution first."
    const invalidToken = () => new ServiceError('InvalidToken', `Invalid Token: '${input.nextToken}'`);
    const { items, nextToken } = page(found, input.maxResults || 100, input.nextToken, invalidToken);
    return {
      executions: items.map(({ arn, machineArn, name, status, startDate, stopDate }) => ({
        executionArn: arn,
        stateMachineArn: machineArn,
        name,
        status,
        startDate,
        stopDate,
      })),
      nextToken,
    };
  }
}

function describe(execution: Execution) {
  return {
    executionArn: execution.arn,
    stateMachineArn: execution.machineArn,
    name: execution.name,
    status: execution.status,
    startDate: execution.startDate,
    stopDate: execution.stopDate,
    input: execution.input,
    inputDetails: { included: true },
    output: execution.output,
    outputDetails: execution.output === undefined ? undefined : { included: true },
    error: execution.error,
    cause: execution.cause,
    redriveCount: 0,
    redriveStatus: execution.status === 'RUNNING' ? 'NOT_REDRIVABLE' : 'REDRIVABLE',
  };
}

/** Not matched by States.ALL: "States.DataLimitExceeded … can't be caught by States.ALL" (error handling). */
function checkSize(payload: string): void {
  if (Buffer.byteLength(payload) <= PAYLOAD_BYTES) return;
  throw new TaskError(
    'States.DataLimitExceeded',
    'The state or task returned a result with a size exceeding the maximum number of bytes service limit.',
    false,
  );
}

const knownMembers: Record<string, string[]> = {
  Task: [
    'Resource',
    'Parameters',
    'ResultSelector',
    'ResultPath',
    'Retry',
    'Catch',
    'TimeoutSeconds',
    'TimeoutSecondsPath',
  ],
  Wait: ['Seconds', 'SecondsPath', 'Timestamp', 'TimestampPath'],
  Choice: ['Choices', 'Default'],
  Pass: ['Result', 'Parameters', 'ResultPath'],
  Succeed: [],
  Fail: ['Error', 'ErrorPath', 'Cause', 'CausePath'],
  Parallel: ['Branches', 'Parameters', 'ResultSelector', 'ResultPath', 'Retry', 'Catch'],
  Map: [
    'ItemProcessor',
    'Iterator',
    'ItemsPath',
    'ItemSelector',
    'Parameters',
    'MaxConcurrency',
    'MaxConcurrencyPath',
    'ResultSelector',
    'ResultPath',
    'Retry',
    'Catch',
  ],
};
const commonMembers = ['Type', 'Comment', 'Next', 'End', 'InputPath', 'OutputPath'];

/**
 * Throws NotModelled for whatever the library ignores without a word: JSONata, Assign, heartbeats, item
 * readers, batches, tolerated failures, $$.State, $$.Task and any integration but lambda:invoke.
 */
function refuseUnsupported(definition: State): void {
  const refuse = (what: string) => {
    throw new NotModelled(`state machine: ${what}`);
  };
  const names = new Set<string>();
  const visit = (scope: State, members: string[]) => {
    if ((scope.QueryLanguage ?? 'JSONPath') !== 'JSONPath') refuse(`query language ${scope.QueryLanguage}`);
    const unknown = Object.keys(scope).find((member) => !members.includes(member));
    if (unknown) refuse(`field ${unknown}`);
    if ((scope.ProcessorConfig?.Mode ?? 'INLINE') !== 'INLINE') refuse('distributed Map');
    for (const [name, state] of Object.entries(scope.States as Record<string, State>)) {
      if (names.has(name)) refuse(`two states of the name ${name}`);
      names.add(name);
      const known = knownMembers[state.Type] ?? refuse(`state type ${state.Type}`);
      const member = Object.keys(state).find(
        (key) => ![...commonMembers, ...(known as string[])].includes(key),
      );
      if (member) refuse(`field ${member} of state ${name}`);
      if (state.Type === 'Task' && !String(state.Resource).endsWith(LAMBDA_INVOKE))
        refuse(`resource ${state.Resource}`);
      const context = /\$\$\.(State|Task|Map)\b/.exec(JSON.stringify(state));
      if (context && !(context[1] === 'Map' && state.Type === 'Map'))
        refuse(`context ${context[0]} in state ${name}`);
      for (const branch of state.Branches ?? []) visit(branch, ['StartAt', 'States', 'Comment']);
      const inner = state.ItemProcessor ?? state.Iterator;
      if (inner) visit(inner, ['StartAt', 'States', 'Comment', 'ProcessorConfig']);
    }
  };
  visit(definition, ['StartAt', 'States', 'Comment', 'Version', 'TimeoutSeconds', 'QueryLanguage']);
}
