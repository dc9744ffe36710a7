import { randomUUID } from 'node:crypto';
import { NotModelled } from '../iam/not-modelled.ts';
import { kept, runCommandDocument } from '../node/agent.ts';
import type { CommandInvocation } from '../node/types.ts';
import { binFolderOf, type ManagedNode, type ManagedNodes } from './managed-nodes.ts';
import { type Caller, type Kernel, type Operations, page, Regional, ServiceError } from './service.ts';
import { isTooLarge, parameterFault, type SsmDocument, type SsmDocuments } from './ssm-documents.ts';

const DEFAULT_MAX_CONCURRENCY = '50';
const DEFAULT_MAX_ERRORS = '0';
/** "The default for Timeout (seconds) is 3600 seconds", and so is that of the execution time-out. */
const DEFAULT_DELIVERY_SECONDS = 3600;
const DEFAULT_EXECUTION_SECONDS = 3600;
const PAGE_SIZE = 50;

type ScriptResult = Pick<
  CommandInvocation,
  'status' | 'statusDetails' | 'responseCode' | 'stdout' | 'stderr'
>;

type InvocationStatus = 'Pending' | 'InProgress' | 'Success' | 'Cancelled' | 'Failed' | 'TimedOut';

interface Invocation {
  node: ManagedNode;
  status: InvocationStatus;
  statusDetails: string;
  responseCode: number;
  /** As ListCommandInvocations shows it. */
  output: string;
  /** As GetCommandInvocation shows them. */
  stdout: string;
  stderr: string;
  startedAt?: Date;
  endedAt?: Date;
}

export interface Command {
  id: string;
  document: SsmDocument;
  parameters: Record<string, string[]>;
  instanceIds: string[];
  targets: { Key: string; Values: string[] }[];
  maxConcurrency: string;
  maxErrors: string;
  comment: string;
  requestedAt: Date;
  deliverySeconds: number;
  invocations: Invocation[];
  status: InvocationStatus;
  statusDetails: string;
  cancel: AbortController;
  /** Resolves when every invocation has ended. */
  ended: Promise<void>;
}

/**
 * SSM Run Command. Sources: API reference (service model of botocore 1.44); user guide, "Using targets and rate
 * controls to send commands to a fleet" and "Understanding command statuses".
 *
 * Not modelled: S3 and CloudWatch output, notifications, resource groups, the agent's own limit of commands at
 * a time, GetCommandInvocation of documents with several steps, filters of lists but those of FILTERS. No command is
 * ever forgotten, where AWS keeps them for 30 days. UNCONFIRMED: that an empty list of InstanceIds in Targets is a
 * command to no node.
 */
export class RunCommand {
  readonly operations: Operations = {
    'AmazonSSM.SendCommand': (input, caller) => this.#sendCommand(input, caller),
    'AmazonSSM.ListCommands': (input, { account, region }) => this.#listCommands(input, account, region),
    'AmazonSSM.ListCommandInvocations': (input, { account, region }) =>
      this.#listCommandInvocations(input, account, region),
    'AmazonSSM.GetCommandInvocation': (input, { account, region }) =>
      this.#getCommandInvocation(input, account, region),
  };
  readonly #kernel: Kernel;
  readonly #nodes: ManagedNodes;
  readonly #documents: SsmDocuments;
  readonly #commands = new Regional(() => new Map<string, Command>());

  constructor(kernel: Kernel, nodes: ManagedNodes, documents: SsmDocuments) {
    this.#kernel = kernel;
    this.#nodes = nodes;
    this.#documents = documents;
  }

  command(account: string, region: string, id: string): Command | undefined {
    return this.#commands.of(account, region).get(id);
  }

  /** Ends every running script, when the cloud stops. */
  stop(): void {
    for (const commands of this.#commands.all()) for (const { cancel } of commands.values()) cancel.abort();
  }

  // biome-ignore lint/suspicious/noExplicitAny: input as it came over the wire
  #sendCommand(input: any, { account, region, source }: Caller) {
    const { DocumentName = '', DocumentVersion } = input;
    if (this.#documents.find(account, region, DocumentName)?.type !== 'Command')
      throw new ServiceError('InvalidDocument', `Document with name ${DocumentName} does not exist.`);
    const document = this.#documents.find(account, region, DocumentName, DocumentVersion);
    if (!document) throw new ServiceError('InvalidDocumentVersion', 'The document version does not exist.');
    const instanceIds: string[] = input.InstanceIds ?? [];
    const targets: Command['targets'] = input.Targets ?? [];
    const maxConcurrency = input.MaxConcurrency ?? DEFAULT_MAX_CONCURRENCY;
    const maxErrors = input.MaxErrors ?? DEFAULT_MAX_ERRORS;
    const deliverySeconds = input.TimeoutSeconds ?? DEFAULT_DELIVERY_SECONDS;
    if (instanceIds.length === 0 && targets.length === 0) {
      throw new ServiceError('InvalidInstanceId', 'InstanceIds or Targets must be given.');
    }
    if (new Set(instanceIds).size < instanceIds.length)
      throw new ServiceError('DuplicateInstanceId', 'A managed node is named twice.');
    const parameters: Record<string, string[]> = input.Parameters ?? {};
    const fault = parameterFault(document, parameters);
    if (fault) throw new ServiceError('InvalidParameters', fault);
    if (isTooLarge(document, parameters))
      throw new ServiceError('MaxDocumentSizeExceeded', 'The document is larger than 64 KB.');

    const unknown = instanceIds.filter((id) => !this.#nodes.find(account, region, id));
    if (unknown.length > 0) {
      throw new ServiceError(
        'InvalidInstanceId',
        `Instances [[${unknown.join(', ')}]] not in a valid state for account ${account}`,
      );
    }
    const nodes =
      instanceIds.length > 0
        ? instanceIds.map((id) => this.#nodes.find(account, region, id) as ManagedNode)
        : this.#targeted(targets, account, region);
    const command: Command = {
      id: randomUUID(),
      document,
      parameters,
      instanceIds,
      targets,
      maxConcurrency,
      maxErrors,
      comment: input.Comment ?? '',
      requestedAt: this.#kernel.clock.now(),
      deliverySeconds,
      invocations: nodes.map((node) => ({
        node,
        status: 'Pending',
        statusDetails: 'Pending',
        responseCode: -1,
        output: '',
        stdout: '',
        stderr: '',
      })),
      status: 'Pending',
      statusDetails: 'Pending',
      cancel: new AbortController(),
      ended: Promise.resolve(),
    };
    this.#commands.of(account, region).set(command.id, command);
    this.#kernel.record.emit('ssm-parameters', source, { document: document.name, parameters });
    command.ended = this.#run(command);
    this.#kernel.track(command.ended);
    return { Command: describe(command) };
  }

  /** Nodes that meet all criteria; tag keys and values are compared as they are. */
  #targeted(targets: Command['targets'], account: string, region: string): ManagedNode[] {
    const groups = targets.map(({ Key, Values }) => {
      if (Key.startsWith('tag:')) return this.#nodes.byTag(account, region, Key.slice(4), Values);
      if (/^instanceids$/i.test(Key)) {
        return Values.map((id) => this.#nodes.find(account, region, id)).filter((node) => node !== undefined);
      }
      throw new ServiceError('InvalidTarget', `The target ${Key} is not valid.`);
    });
    const [first = [], ...others] = groups;
    return first.filter((node) => others.every((group) => group.includes(node)));
  }

  /**
   * "The queueing system delivers the command to a single node and waits until the system acknowledges the
   * initial invocation before sending the command to two more nodes. The system exponentially sends commands to
   * more nodes until the value of max-concurrency is met." It stops sending when more than MaxErrors have
   * failed; "invocations that are already running are allowed to complete".
   *
   * UNCONFIRMED: that a node whose agent is away takes one of the places without holding up the others.
   */
  async #run(command: Command): Promise<void> {
    const { invocations, cancel } = command;
    const limit = Math.max(1, amount(command.maxConcurrency, invocations.length));
    const allowedErrors = amount(command.maxErrors, invocations.length);
    const waiting = [...invocations];
    const running = new Set<Invocation>();
    let wake = () => {};
    command.status = 'InProgress';
    command.statusDetails = 'InProgress';
    const work: Promise<void>[] = [];
    const mayStart = () => {
      const acknowledged = invocations.filter(({ startedAt }) => startedAt).length;
      const unreachable = [...running].filter(({ startedAt }) => !startedAt).length;
      return running.size < limit && running.size - unreachable < Math.max(1, 2 * acknowledged);
    };
    while (waiting.length > 0 || running.size > 0) {
      while (waiting.length > 0 && mayStart()) {
        const invocation = waiting.shift() as Invocation;
        if (cancel.signal.aborted || errors(invocations) > allowedErrors) {
          invocation.status = 'Cancelled';
          invocation.statusDetails = cancel.signal.aborted ? 'Cancelled' : 'Terminated';
          continue;
        }
        running.add(invocation);
        work.push(
          this.#invoke(command, invocation, () => wake()).finally(() => {
            running.delete(invocation);
            wake();
          }),
        );
      }
      if (running.size > 0) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
    await Promise.all(work); // What went wrong in the cloud itself.
    [command.status, command.statusDetails] = verdict(command, allowedErrors);
  }

  async #invoke(command: Command, invocation: Invocation, onStart: () => void): Promise<void> {
    const { clock } = this.#kernel;
    const { node } = invocation;
    invocation.status = 'InProgress';
    invocation.statusDetails = 'InProgress';
    if (!node.spec.online) {
      // A node whose agent is away gets the command when it comes back, within the total time-out.
      const expired = new AbortController();
      const stopWaiting = AbortSignal.any([expired.signal, command.cancel.signal]);
      void clock.sleep(totalSeconds(command) * 1000, stopWaiting).then(() => expired.abort());
      await this.#nodes.untilOnline(node, stopWaiting);
      expired.abort();
    }
    if (!node.spec.online) {
      const cancelled = command.cancel.signal.aborted;
      invocation.status = cancelled ? 'Cancelled' : 'TimedOut';
      invocation.statusDetails = cancelled ? 'Cancelled' : 'DeliveryTimedOut';
      return;
    }
    invocation.startedAt = clock.now();
    onStart();
    const result = await this.#script(command, node);
    invocation.endedAt = clock.now();
    invocation.status = result.status;
    // The API's own spelling has no spaces.
    invocation.statusDetails = result.statusDetails.replaceAll(' ', '');
    invocation.responseCode = result.responseCode;
    invocation.output = pluginOutput(result.stdout, result.stderr);
    invocation.stdout = result.stdout;
    invocation.stderr = result.stderr;
    const source = `node ${node.spec.id}`;
    this.#kernel.record.emit('ssm-output', source, result.stdout);
    if (result.stderr !== '') this.#kernel.record.emit('ssm-output', source, result.stderr);
  }

  /** What the node's agent makes of the command. */
  async #script(command: Command, node: ManagedNode): Promise<ScriptResult> {
    if (node.agent) {
      const {
        stdout,
        exitCode,
        status = exitCode === 0 ? 'Success' : 'Failed',
      } = await node.agent({
        document: command.document.name,
        parameters: command.parameters,
        signal: command.cancel.signal,
      });
      return {
        status,
        statusDetails: status,
        responseCode: exitCode,
        stdout: kept('stdout', stdout),
        stderr: '',
      };
    }
    return runCommandDocument(command.document.content, command.parameters, node.spec, {
      binFolder: binFolderOf(this.#kernel.folder),
      commandId: command.id,
      region: node.region,
      signal: command.cancel.signal,
      ...(node.hostManagementCredentials
        ? { defaultHostManagementCredentials: node.hostManagementCredentials() }
        : {}),
    });
  }

  #find(id: string | undefined, account: string, region: string): Command[] {
    const commands = this.#commands.of(account, region);
    if (id === undefined) return [...commands.values()].reverse();
    const command = commands.get(id);
    if (!command) throw new ServiceError('InvalidCommandId', `Command ${id} does not exist.`);
    return [command];
  }

  // biome-ignore lint/suspicious/noExplicitAny: input as it came over the wire
  #listCommands(input: any, account: string, region: string) {
    const filters = (input.Filters ?? []).map(filterOf);
    const found = this.#find(input.CommandId, account, region).filter(
      (command) =>
        (!input.InstanceId || command.invocations.some(({ node }) => node.spec.id === input.InstanceId)) &&
        filters.every((fits: (command: Command) => boolean) => fits(command)),
    );
    const { items, nextToken } = page(
      found,
      input.MaxResults ?? PAGE_SIZE,
      input.NextToken || undefined,
      invalidToken,
    );
    return { Commands: items.map(describe), NextToken: nextToken ?? '' };
  }

  // biome-ignore lint/suspicious/noExplicitAny: input as it came over the wire
  #listCommandInvocations(input: any, account: string, region: string) {
    if (input.Filters)
      throw new ServiceError('InvalidFilterKey', 'The local cloud lists invocations by id only.');
    const found = this.#find(input.CommandId, account, region)
      .flatMap((command) => command.invocations.map((invocation) => ({ command, invocation })))
      .filter(({ invocation }) => !input.InstanceId || invocation.node.spec.id === input.InstanceId);
    const { items, nextToken } = page(
      found,
      input.MaxResults ?? PAGE_SIZE,
      input.NextToken || undefined,
      invalidToken,
    );
    return {
      CommandInvocations: items.map(({ command, invocation }) => ({
        CommandId: command.id,
        InstanceId: invocation.node.spec.id,
        InstanceName: invocation.node.spec.id,
        Comment: command.comment,
        DocumentName: command.document.name,
        DocumentVersion: command.document.version,
        RequestedDateTime: command.requestedAt,
        Status: invocation.status,
        StatusDetails: invocation.statusDetails,
        CommandPlugins: input.Details && invocation.startedAt ? [plugin(command, invocation)] : [],
      })),
      NextToken: nextToken ?? '',
    };
  }

  // biome-ignore lint/suspicious/noExplicitAny: input as it came over the wire
  #getCommandInvocation({ CommandId, InstanceId, PluginName }: any, account: string, region: string) {
    const command = this.command(account, region, CommandId);
    const invocation = command?.invocations.find(({ node }) => node.spec.id === InstanceId);
    // "The command ID and managed node ID you specified didn't match any invocations."
    if (!command || !invocation) throw new ServiceError('InvocationDoesNotExist', '');
    const [step, another] = command.document.content.mainSteps;
    if (another) throw new NotModelled('GetCommandInvocation of a document with several steps');
    if (PluginName !== undefined && PluginName !== step?.name)
      throw new ServiceError('InvalidPluginName', `There is no plugin ${PluginName}.`);
    const { startedAt, endedAt, status } = invocation;
    return {
      CommandId,
      InstanceId,
      Comment: command.comment,
      DocumentName: command.document.name,
      DocumentVersion: command.document.version,
      PluginName: step?.name,
      ResponseCode: invocation.responseCode,
      // "If the plugin hasn't started to run, the string is empty."
      ExecutionStartDateTime: startedAt?.toISOString() ?? '',
      ExecutionElapsedTime:
        startedAt && endedAt ? `PT${(endedAt.getTime() - startedAt.getTime()) / 1000}S` : '',
      ExecutionEndDateTime: endedAt?.toISOString() ?? '',
      Status: status,
      StatusDetails: invocation.statusDetails,
      // "If ExecutionStatus is neither Succeeded nor Failed, then this string is empty."
      StandardOutputContent: status === 'Success' || status === 'Failed' ? invocation.stdout : '',
      StandardOutputUrl: '',
      StandardErrorContent: invocation.stderr,
      StandardErrorUrl: '',
    };
  }
}

/** Filters of ListCommands. InvokedAfter takes a timestamp: commands sent then "and later" (API reference, CommandFilter). */
const FILTERS: Record<string, (value: string) => (command: Command) => boolean> = {
  DocumentName: (value) => (command) => command.document.name === value,
  InvokedAfter: (value) => {
    const since = Date.parse(value);
    // The error's name is UNCONFIRMED.
    if (Number.isNaN(since)) throw new ServiceError('ValidationException', `${value} is no timestamp.`);
    return ({ requestedAt }) => requestedAt.getTime() >= since;
  },
};

function filterOf({ key, value }: { key: string; value: string }): (command: Command) => boolean {
  const filter = FILTERS[key];
  if (!filter) throw new NotModelled(`ListCommands with the filter ${key}`);
  return filter(value);
}

function plugin(command: Command, invocation: Invocation) {
  return {
    Name: command.document.content.mainSteps[0]?.name,
    Status: invocation.status,
    StatusDetails: invocation.statusDetails,
    ResponseCode: invocation.responseCode,
    ResponseStartDateTime: invocation.startedAt,
    ResponseFinishDateTime: invocation.endedAt,
    Output: invocation.output,
  };
}

function describe(command: Command) {
  const count = (test: (invocation: Invocation) => boolean) => command.invocations.filter(test).length;
  return {
    CommandId: command.id,
    DocumentName: command.document.name,
    DocumentVersion: command.document.version,
    Comment: command.comment,
    ExpiresAfter: new Date(command.requestedAt.getTime() + totalSeconds(command) * 1000),
    Parameters: command.parameters,
    InstanceIds: command.instanceIds,
    Targets: command.targets,
    RequestedDateTime: command.requestedAt,
    Status: command.status,
    StatusDetails: command.statusDetails,
    MaxConcurrency: command.maxConcurrency,
    MaxErrors: command.maxErrors,
    TargetCount: command.invocations.length,
    CompletedCount: count(({ status }) => status !== 'Pending' && status !== 'InProgress'),
    ErrorCount: errors(command.invocations),
    DeliveryTimedOutCount: count(({ statusDetails }) => statusDetails === 'DeliveryTimedOut'),
    TimeoutSeconds: command.deliverySeconds,
  };
}

/** "Total timeout is equal to the value of delivery timeout plus execution timeout." */
function totalSeconds({ deliverySeconds, document }: Command): number {
  const execution = Number(document.content.mainSteps[0]?.inputs.timeoutSeconds);
  return deliverySeconds + (execution > 0 ? execution : DEFAULT_EXECUTION_SECONDS);
}

/** Failures and execution time-outs "count against the max-errors limit"; nothing else does. */
function errors(invocations: Invocation[]): number {
  return invocations.filter(({ statusDetails }) => ['Failed', 'ExecutionTimedOut'].includes(statusDetails))
    .length;
}

/**
 * The status of the whole command. It says success more often than one would think: no node with the tag, one
 * success among nodes that were never reached, fewer failures than MaxErrors.
 */
function verdict({ invocations, cancel }: Command, allowedErrors: number): [InvocationStatus, string] {
  const has = (details: string) => invocations.some(({ statusDetails }) => statusDetails === details);
  if (invocations.length === 0) return ['Success', 'NoInstancesInTag'];
  if (cancel.signal.aborted) return ['Cancelled', 'Cancelled'];
  // "The value of max-errors or more command invocations shows a status of Failed."
  if (errors(invocations) >= Math.max(1, allowedErrors)) {
    return has('Failed') ? ['Failed', 'Failed'] : ['TimedOut', 'ExecutionTimedOut'];
  }
  if (has('DeliveryTimedOut') && !has('Success')) return ['TimedOut', 'DeliveryTimedOut'];
  return ['Success', 'Success'];
}

/** A number, or a percentage of the targets: "50 instances and 10%" stop at the sixth error, so 5 are allowed. */
function amount(text: string, targets: number): number {
  return text.endsWith('%') ? Math.floor((targets * Number(text.slice(0, -1))) / 100) : Number(text);
}

/**
 * What the agent reports of one plugin: both streams in one text, cut to 2,400 characters, in favour of the
 * shorter stream (amazon-ssm-agent, iohandler.go, TruncateOutput). The API's own limit is 2,500.
 */
function pluginOutput(stdout: string, stderr: string): string {
  const title = stderr === '' ? '' : '\n----------ERROR-------\n';
  const outCut = '\n---Output truncated---';
  const errorCut = '\n---Error truncated----';
  const space = 2400 - title.length;
  if (stdout.length + stderr.length < space) return stdout + title + stderr;
  if (stdout.length > space / 2 && stderr.length > space / 2) {
    const half = (space - outCut.length - errorCut.length) >> 1;
    return stdout.slice(0, half) + outCut + title + stderr.slice(0, half) + errorCut;
  }
  if (stdout.length < space / 2) {
    return stdout + title + stderr.slice(0, space - errorCut.length - stdout.length) + errorCut;
  }
  return stdout.slice(0, space - outCut.length - stderr.length) + outCut + title + stderr;
}

function invalidToken(): ServiceError {
  return new ServiceError('InvalidNextToken', 'The specified token is not valid.');
}
