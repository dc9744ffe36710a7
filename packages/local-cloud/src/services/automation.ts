import { randomUUID } from 'node:crypto';
import type { AutomationExecutionState } from '../iam/operations.ts';
import { resolveParameterLists } from '../node/document-parameters.ts';
import type { RunCommand } from './run-command.ts';
import { type Caller, type Kernel, type Operations, Regional, ServiceError } from './service.ts';
import {
  type Choice,
  type DocumentStep,
  isTooLarge,
  parameterFault,
  type SsmDocument,
  type SsmDocuments,
} from './ssm-documents.ts';

const RUNNING_AT_ONCE = 100;
/** The page says 5,000 and, elsewhere, "an additional 1,000": the smaller number. */
const QUEUED = 1000;
/** "A maximum of five tags" (API reference), where the model has 1,000. */
const TAGS = 5;

type Status = 'Pending' | 'InProgress' | 'Success' | 'TimedOut' | 'Cancelling' | 'Cancelled' | 'Failed';

interface StepExecution {
  step: DocumentStep;
  status: Status;
  startedAt?: Date;
  endedAt?: Date;
  commandId?: string;
  outputs?: Record<string, string[]>;
  failure?: string;
}

export interface Execution {
  id: string;
  arn: string;
  account: string;
  region: string;
  document: SsmDocument;
  parameters: Record<string, string[]>;
  /** The parameters with their defaults. */
  values: Record<string, string[]>;
  tags: Record<string, string>;
  clientToken?: string;
  executedBy: string;
  startedAt: Date;
  endedAt?: Date;
  status: Status;
  failureMessage?: string;
  steps: StepExecution[];
  /** Cancel: ends the running step; Complete: the step may end, none follows. */
  stop: AbortController;
  completeRequested: boolean;
}

/**
 * SSM Automation: runs runbooks of schema 0.3 that consist of aws:runCommand and aws:branch steps, with the identity of
 * their assumeRole. Sources: API reference (service model of botocore 1.43); user guide, "Automation actions
 * reference", "Using conditional statements in runbooks" and "Understanding automation statuses"; quotas: AWS General
 * Reference.
 *
 * Not modelled: other actions, operations of aws:branch other than StringEquals, jumps to an earlier step, targets and
 * rate control, other accounts, approvals, alarms, step retries, runbooks without assumeRole (which would act as the
 * caller). UNCONFIRMED: that a step that no branch leads to stays Pending; whether a step that has not succeeded shows
 * its outputs (`showsEveryOutput`), and which steps are left out of a long answer (`mostSteps`).
 */
export class Automation {
  /** True: a step that failed, was cancelled or still runs shows its outputs, too. AWS promises those of no step. */
  showsEveryOutput = false;
  /** GetAutomationExecution answers so many steps, and then says that there are more. AWS names no number. */
  mostSteps = Number.POSITIVE_INFINITY;
  readonly operations: Operations = {
    'AmazonSSM.StartAutomationExecution': (input, caller) => this.#start(input, caller),
    'AmazonSSM.GetAutomationExecution': (input, { account, region }) => ({
      AutomationExecution: describe(this.#find(input.AutomationExecutionId, account, region), this),
    }),
    'AmazonSSM.StopAutomationExecution': (input, { account, region }) => this.#stop(input, account, region),
    'AmazonSSM.AddTagsToResource': ({ ResourceId, Tags }, { account, region }) => {
      const execution = this.#find(ResourceId, account, region, 'InvalidResourceId');
      execution.tags = withTags(execution.tags, Tags);
    },
  };
  readonly #kernel: Kernel;
  readonly #documents: SsmDocuments;
  readonly #runCommand: RunCommand;
  readonly #executions = new Regional(() => ({
    all: new Map<string, Execution>(),
    byToken: new Map<string, Execution>(),
    running: 0,
    queue: [] as (() => void)[],
  }));

  constructor(kernel: Kernel, documents: SsmDocuments, runCommand: RunCommand) {
    this.#kernel = kernel;
    this.#documents = documents;
    this.#runCommand = runCommand;
  }

  state(account: string, region: string, id: string): AutomationExecutionState | undefined {
    const execution = this.#executions.of(account, region).all.get(id);
    return execution && { arn: execution.arn, tags: execution.tags, documentArn: execution.document.arn };
  }

  /** Of one account and Region, the oldest first. */
  executions(account: string, region: string): Execution[] {
    return [...this.#executions.of(account, region).all.values()];
  }

  stop(): void {
    for (const { all } of this.#executions.all()) for (const { stop } of all.values()) stop.abort();
  }

  #find(
    id: string,
    account: string,
    region: string,
    fault = 'AutomationExecutionNotFoundException',
  ): Execution {
    const execution = this.#executions.of(account, region).all.get(id);
    if (!execution) throw new ServiceError(fault, `Automation execution ${id} does not exist.`);
    return execution;
  }

  // biome-ignore lint/suspicious/noExplicitAny: input as it came over the wire
  #start(input: any, caller: Caller) {
    const { account, region } = caller;
    const unknown = [
      'TargetParameterName',
      'Targets',
      'TargetMaps',
      'TargetLocations',
      'Mode',
      'AlarmConfiguration',
    ].find((member) => input[member] !== undefined);
    if (unknown) throw new ServiceError('InvalidTarget', `The local cloud does not model ${unknown}.`);
    const { DocumentName = '', DocumentVersion } = input;
    if (this.#documents.find(account, region, DocumentName)?.type !== 'Automation') {
      throw new ServiceError(
        'AutomationDefinitionNotFoundException',
        `Document ${DocumentName} was not found.`,
      );
    }
    const document = this.#documents.find(account, region, DocumentName, DocumentVersion);
    if (!document) {
      throw new ServiceError(
        'AutomationDefinitionVersionNotFoundException',
        `Version ${DocumentVersion} was not found.`,
      );
    }
    const parameters: Record<string, string[]> = input.Parameters ?? {};
    checkParameters(document, parameters);
    const tags = withTags({}, input.Tags ?? []);
    const token: string | undefined = input.ClientToken;

    const { all, byToken, queue } = this.#executions.of(account, region);
    const clientToken = token?.toLowerCase();
    const same = clientToken === undefined ? undefined : byToken.get(clientToken);
    if (same) {
      // "IdempotentParameterMismatch: the parameters don't match the original call with the same token." What the
      // same parameters get is UNCONFIRMED (the token "can't be reused"): here the execution that there is.
      if (same.document === document && JSON.stringify(same.parameters) === JSON.stringify(parameters)) {
        return { AutomationExecutionId: same.id };
      }
      throw new ServiceError(
        'IdempotentParameterMismatch',
        'The parameters do not match those of the first call.',
      );
    }
    if (queue.length >= QUEUED) {
      throw new ServiceError(
        'AutomationExecutionLimitExceededException',
        'Too many automations are running.',
      );
    }
    const id = randomUUID();
    const execution: Execution = {
      id,
      arn: `arn:${this.#kernel.partition}:ssm:${region}:${account}:automation-execution/${id}`,
      account,
      region,
      document,
      parameters,
      values: resolveParameterLists(document.content.parameters ?? {}, parameters),
      tags,
      executedBy: caller.principal.sessionArn ?? caller.principal.arn,
      startedAt: this.#kernel.clock.now(),
      status: 'Pending',
      steps: document.content.mainSteps.map((step) => ({ step, status: 'Pending' })),
      stop: new AbortController(),
      completeRequested: false,
      ...(clientToken === undefined ? {} : { clientToken }),
    };
    all.set(id, execution);
    if (clientToken !== undefined) byToken.set(clientToken, execution);
    this.#kernel.record.emit('ssm-parameters', caller.source, { document: document.name, parameters });
    this.#kernel.track(this.#whenThereIsRoom(execution));
    return { AutomationExecutionId: id };
  }

  /** 100 run at once for an account and Region; others wait as Pending. */
  async #whenThereIsRoom(execution: Execution): Promise<void> {
    const place = this.#executions.of(execution.account, execution.region);
    // The one that ends hands its place on to the first in the queue.
    if (place.running >= RUNNING_AT_ONCE) await new Promise<void>((resolve) => place.queue.push(resolve));
    else place.running += 1;
    execution.status = 'InProgress';
    try {
      await this.#run(execution);
    } finally {
      execution.endedAt = this.#kernel.clock.now();
      const next = place.queue.shift();
      if (next) next();
      else place.running -= 1;
    }
  }

  async #run(execution: Execution): Promise<void> {
    const { document, stop } = execution;
    const role = document.content.assumeRole as string; // There: see SsmDocuments.create.
    let caller: Caller;
    try {
      caller = this.#asRole(role, execution);
    } catch (error) {
      // Whether this comes from the call itself or only shows in the execution is UNCONFIRMED.
      execution.status = 'Failed';
      execution.failureMessage = `The defined assume role is unable to be assumed. ${(error as Error).message}`;
      return;
    }
    let next: StepExecution | undefined = execution.steps[0];
    while (next && !stop.signal.aborted && !execution.completeRequested) {
      const current: StepExecution = next;
      const chosen: string | undefined =
        current.step.action === 'aws:branch'
          ? this.#branch(execution, current)
          : await this.#runStep(execution, current, caller);
      next = this.#following(execution, current, chosen);
    }
    const failed = execution.steps.find(({ status }) => status === 'Failed' || status === 'TimedOut');
    if (stop.signal.aborted) execution.status = 'Cancelled';
    // "isCritical": unless it is false, a step that fails makes the automation fail, even with onFailure Continue.
    else if (failed && failed.step.isCritical !== false) {
      execution.status = failed.status;
      execution.failureMessage = `Step ${failed.step.name} failed. ${failed.failure ?? ''}`;
    } else execution.status = 'Success';
  }

  #asRole(roleArn: string, { id, arn, account, region, document }: Execution): Caller {
    const context = { 'aws:SourceAccount': account, 'aws:SourceArn': arn };
    const source = `automation ${document.name}`;
    const session = { name: `Automation-${id}`.slice(0, 64), seconds: 3600, source };
    return this.#kernel.identities.callerForService('ssm.amazonaws.com', roleArn, region, context, session);
  }

  /**
   * aws:runCommand: sends the command as the role and waits for it. It "supports most send command parameters";
   * the step's outputs have no Output for targets by tag. What it may call besides SendCommand is not listed on
   * its page; AWS's own runbooks ask for ListCommands and ListCommandInvocations.
   */
  async #runStep(execution: Execution, stepExecution: StepExecution, caller: Caller): Promise<undefined> {
    const { stop, account, region } = execution;
    const { step } = stepExecution;
    const { clock } = this.#kernel;
    stepExecution.status = 'InProgress';
    stepExecution.startedAt = clock.now();
    try {
      const { Command: sent } = await this.#kernel.call(
        'AmazonSSM.SendCommand',
        commandInput(substitute(step.inputs, execution)),
        caller,
      );
      stepExecution.commandId = sent.CommandId;
      stepExecution.outputs = { CommandId: [sent.CommandId] };
      const command = this.#runCommand.command(account, region, sent.CommandId);
      if (!command) throw new Error('a command that was just sent is gone');
      const cancel = () => command.cancel.abort();
      stop.signal.addEventListener('abort', cancel);
      if (stop.signal.aborted) cancel();
      await command.ended;
      const byId = { CommandId: sent.CommandId };
      const { Commands: commands } = await this.#kernel.call('AmazonSSM.ListCommands', byId, caller);
      const details = await this.#kernel.call(
        'AmazonSSM.ListCommandInvocations',
        { ...byId, Details: true },
        caller,
      );
      const { Status: status, StatusDetails: statusDetails } = commands[0];
      const plugins = details.CommandInvocations.flatMap(
        (invocation: { CommandPlugins: object[] }) => invocation.CommandPlugins,
      );
      const [only] = step.inputs.InstanceIds && plugins.length === 1 ? plugins : [];
      stepExecution.outputs = {
        CommandId: [sent.CommandId],
        Status: [status],
        ...(only ? { ResponseCode: [String(only.ResponseCode)], Output: [only.Output] } : {}),
      };
      if (stop.signal.aborted) stepExecution.status = 'Cancelled';
      else if (status === 'Success') stepExecution.status = 'Success';
      else {
        stepExecution.status = 'Failed';
        stepExecution.failure = `Command ${sent.CommandId} has ended with the status ${status} (${statusDetails}).`;
      }
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error;
      stepExecution.status = 'Failed';
      stepExecution.failure = `${error.message} (Service: Ssm; Status Code: ${error.status}; Error Code: ${error.name})`;
    }
    stepExecution.endedAt = clock.now();
  }

  /** aws:branch: the step of the first choice that holds, else the default, if there is one. */
  #branch(execution: Execution, stepExecution: StepExecution): string | undefined {
    const { Choices, Default } = stepExecution.step.inputs;
    stepExecution.startedAt = stepExecution.endedAt = this.#kernel.clock.now();
    stepExecution.status = 'Success';
    const holds = ({ Variable, StringEquals }: Choice) => substitute(Variable, execution) === StringEquals;
    return Choices.find(holds)?.NextStep ?? Default;
  }

  /**
   * A branch's choice, isEnd, nextStep and onFailure decide; without them the steps follow one another. isEnd: "end
   * automation no matter whether the step succeeds or fails" (API reference, StepExecution); of a branch, where no
   * choice holds.
   */
  #following(
    { steps }: Execution,
    { step, status }: StepExecution,
    chosen: string | undefined,
  ): StepExecution | undefined {
    const named = (name: string) => steps.find((candidate) => candidate.step.name === name);
    if (chosen !== undefined) return named(chosen);
    if (status === 'Cancelled' || step.isEnd) return undefined;
    if (status === 'Failed' || status === 'TimedOut') {
      const onFailure = step.onFailure ?? 'Abort'; // The documented default.
      if (onFailure === 'Abort') return undefined;
      if (onFailure.startsWith('step:')) return named(onFailure.slice('step:'.length));
    }
    if (step.nextStep) return named(step.nextStep);
    return steps[steps.findIndex((candidate) => candidate.step === step) + 1];
  }

  // biome-ignore lint/suspicious/noExplicitAny: input as it came over the wire
  #stop(input: any, account: string, region: string): void {
    const execution = this.#find(input.AutomationExecutionId, account, region);
    if (execution.endedAt || execution.status === 'Cancelling') {
      throw new ServiceError(
        'InvalidAutomationStatusUpdateException',
        `The automation is ${execution.status}.`,
      );
    }
    if (input.Type === 'Complete') {
      execution.completeRequested = true;
      return;
    }
    execution.status = 'Cancelling';
    execution.stop.abort();
  }
}

function withTags(before: Record<string, string>, added: { Key: string; Value: string }[]) {
  const tags = { ...before, ...Object.fromEntries(added.map(({ Key, Value }) => [Key, Value])) };
  if (Object.keys(tags).length > TAGS)
    throw new ServiceError('ValidationException', 'An automation can have five tags.');
  return tags;
}

function checkParameters(document: SsmDocument, parameters: Record<string, string[]>): void {
  const invalid = (message: string) =>
    new ServiceError('InvalidAutomationExecutionParametersException', message);
  const fault = parameterFault(document, parameters);
  if (fault) throw invalid(fault);
  if (isTooLarge(document, parameters)) throw invalid('Document and parameters are larger than 64 KB.');
}

/**
 * Runbooks write a single parameter value without a list (`Operation: Install` in AWS's own), where SendCommand takes
 * lists, and a time-out may come as the text of a parameter.
 */
function commandInput({ Parameters = {}, TimeoutSeconds, ...inputs }: DocumentStep['inputs']) {
  const lists = Object.entries(Parameters).map(([name, value]) => [name, [value].flat()]);
  return {
    ...inputs,
    ...(TimeoutSeconds === undefined ? {} : { TimeoutSeconds: Number(TimeoutSeconds) }),
    Parameters: Object.fromEntries(lists),
  };
}

/**
 * `{{ Name }}` becomes a parameter's value, `{{ Step.Output }}` that of a step before; both as text. A StringList takes
 * the place of a text that is nothing but its name, as in many public runbooks (`InstanceIds: '{{ InstanceIds }}'`).
 * UNCONFIRMED: that the Values of a target take one, too.
 */
function substitute<T>(value: T, execution: Execution): T {
  if (Array.isArray(value)) return value.map((item) => substitute(item, execution)) as T;
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [key, substitute(item, execution)]),
    ) as T;
  }
  if (typeof value !== 'string') return value;
  const [, whole = ''] = /^\{\{\s*(\w+)\s*\}\}$/.exec(value) ?? [];
  if (typeOf(whole, execution) === 'StringList') return execution.values[whole] as T;
  return value.replace(/\{\{\s*([\w.:-]+)\s*\}\}/g, (_match, name: string) =>
    valueNamed(name, execution),
  ) as T;
}

const typeOf = (name: string, { document }: Execution) => document.content.parameters?.[name]?.type;

function valueNamed(name: string, execution: Execution): string {
  const { document, steps, id, values } = execution;
  if (name === 'automation:EXECUTION_ID') return id;
  if (typeOf(name, execution) === 'String') return values[name]?.[0] ?? '';
  const [stepName, output] = name.split('.');
  const found = steps.find(({ step }) => step.name === stepName)?.outputs?.[output ?? ''];
  if (!found) throw new Error(`runbook ${document.name} refers to {{ ${name} }}, which is not modelled`);
  return found.join(',');
}

function describe(execution: Execution, { showsEveryOutput, mostSteps }: Automation) {
  const { steps } = execution;
  const current = steps.findLast(({ startedAt }) => startedAt);
  return {
    AutomationExecutionId: execution.id,
    DocumentName: execution.document.name,
    DocumentVersion: execution.document.version,
    ExecutionStartTime: execution.startedAt,
    ExecutionEndTime: execution.endedAt,
    AutomationExecutionStatus: execution.status,
    Parameters: execution.parameters,
    Mode: 'Auto',
    ExecutedBy: execution.executedBy,
    FailureMessage: execution.failureMessage,
    CurrentStepName: execution.endedAt ? undefined : current?.step.name,
    CurrentAction: execution.endedAt ? undefined : current?.step.action,
    Outputs: {},
    StepExecutionsTruncated: steps.length > mostSteps,
    StepExecutions: steps.slice(0, mostSteps).map((stepExecution) => ({
      StepName: stepExecution.step.name,
      Action: stepExecution.step.action,
      ExecutionStartTime: stepExecution.startedAt,
      ExecutionEndTime: stepExecution.endedAt,
      StepStatus: stepExecution.status,
      Outputs: showsEveryOutput || stepExecution.status === 'Success' ? stepExecution.outputs : undefined,
      FailureMessage: stepExecution.failure,
      FailureDetails: stepExecution.failure && {
        FailureStage: 'Execution',
        FailureType: 'CommandFailed',
        Details: { VerificationErrorMessage: [stepExecution.failure] },
      },
    })),
  };
}
