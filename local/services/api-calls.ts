import { evaluate } from '../iam/evaluate.ts';
import { NotModelled } from '../iam/not-modelled.ts';
import { accessRequests, type ResourceState } from '../iam/operations.ts';
import type { FaultPlan } from './faults.ts';
import { type Quotas, serverError, throttled } from './quotas.ts';
import type { RecordedCall } from './recording.ts';
import { type Caller, type Kernel, NoAnswer, type Operations, ServiceError } from './service.ts';

/**
 * What happens to every API call, whoever makes it: planned faults, quotas, authorization by the policies that
 * hold at this moment, the operation itself, and a record of all of it.
 */
export class ApiCalls {
  readonly #kernel: Omit<Kernel, 'call'>;
  readonly #faults: FaultPlan;
  readonly #quotas: Quotas;
  readonly #resources: ResourceState;
  readonly #operations: Operations;

  constructor(
    kernel: Omit<Kernel, 'call'>,
    parts: { faults: FaultPlan; quotas: Quotas; resources: ResourceState; operations: Operations },
  ) {
    this.#kernel = kernel;
    this.#faults = parts.faults;
    this.#quotas = parts.quotas;
    this.#resources = parts.resources;
    this.#operations = parts.operations;
  }

  /** Throws ServiceError when the call is refused, NoAnswer when a fault keeps the answer. */
  // biome-ignore lint/suspicious/noExplicitAny: the output's shape is the operation's
  async call(operation: string, input: unknown, from: Caller): Promise<any> {
    const { identities, record } = this.#kernel;
    // A session may be older than the policies that hold now.
    const key = from.accessKeyId ? identities.key(from.accessKeyId) : undefined;
    const caller = key ? { ...from, principal: identities.principalOf(key) } : from;
    const entry = this.#entry(operation, input, caller);
    record.calls.push(entry);
    try {
      const fault = this.#faults.take(operation, input, caller);
      if (fault === 'throttle') throw throttled(operation);
      if (fault === 'server-error') throw serverError(operation);
      if (fault === 'crash-before-effect') caller.crash?.();
      if (fault === 'timeout' || fault === 'crash-before-effect') throw new NoAnswer('the request was lost');
      this.#quotas.take(operation, caller.account, caller.region);
      this.#authorize(operation, input, caller, entry);
      const handler = this.#operations[operation];
      if (!handler) throw new NotModelled(`operation ${operation}`);
      const output = await handler(input, caller);
      if (fault === 'crash-after-effect') caller.crash?.();
      if (fault !== undefined) throw new NoAnswer('the answer was lost');
      entry.status = 200;
      entry.output = output;
      return output;
    } catch (error) {
      entry.error = (error as Error).name;
      if (error instanceof ServiceError) entry.status = error.status;
      if (!(error instanceof NotModelled)) throw error;
      this.#kernel.fail(`${caller.source} called ${operation}`, error);
      throw new ServiceError('NotModelled', `The local cloud does not model this: ${error.message}`);
    }
  }

  #entry(operation: string, input: unknown, { principal, account, region, source }: Caller): RecordedCall {
    return {
      at: this.#kernel.clock.now().toISOString(),
      operation,
      account,
      region,
      principalArn: principal.service ?? principal.arn,
      ...(principal.sessionArn ? { sessionArn: principal.sessionArn } : {}),
      source,
      input,
      principal,
      decisions: [],
      status: 0,
    };
  }

  #authorize(operation: string, input: unknown, caller: Caller, entry: RecordedCall): void {
    const { account, region, principal, context = {}, accessKeyId } = caller;
    const now = this.#kernel.clock.now();
    const issuedAt =
      accessKeyId && principal.sessionArn ? this.#kernel.identities.key(accessKeyId)?.issuedAt : undefined;
    const common = {
      'aws:CurrentTime': now.toISOString(),
      'aws:EpochTime': String(Math.floor(now.getTime() / 1000)),
      ...(issuedAt ? { 'aws:TokenIssueTime': issuedAt.toISOString() } : {}),
      ...context,
    };
    const place = { account, region, partition: this.#kernel.partition };
    for (const asked of accessRequests(operation, input, place, this.#resources)) {
      const request = { ...asked, context: { ...asked.context, ...common } };
      const decision = evaluate(principal, request);
      entry.decisions.push({ request, decision });
      if (decision.allowed) continue;
      // The query protocol's name has no suffix.
      const isQuery = /^(sts|sns)\./.test(operation);
      throw new ServiceError(isQuery ? 'AccessDenied' : 'AccessDeniedException', decision.reason, 403);
    }
  }
}
