import { evaluate } from '../iam/evaluate.ts';
import { NotModelled } from '../iam/not-modelled.ts';
import { accessRequests, type ResourceState } from '../iam/operations.ts';
import { CallLog } from './call-log.ts';
import { answerFaults, checkConstraints } from './constraints.ts';
import type { FaultPlan } from './faults.ts';
import { homeOf } from './global-services.ts';
import { invocationsHere } from './lambda.ts';
import { type Quotas, serverError, throttled } from './quotas.ts';
import type { RecordedCall } from './recording.ts';
import { type Caller, type Kernel, NoAnswer, type Operations, ServiceError } from './service.ts';

/** Calls of an API that a template declares: no model of AWS knows their members. */
const OWN_API = 'execute-api.Invoke';

/**
 * What happens to every API call: planned faults, quotas, the constraints of the service's model,
 * authorization by the policies that hold at this moment, the operation itself, and a record of all of it.
 *
 * UNCONFIRMED: that AWS refuses a request that does not fit the model before it looks at the policies.
 */
export class ApiCalls {
  readonly #kernel: Omit<Kernel, 'call'>;
  readonly #faults: FaultPlan;
  readonly #quotas: Quotas;
  readonly #resources: ResourceState;
  readonly #operations: Operations;
  readonly #latency: (() => number) | undefined;
  readonly #log = process.env.RECORD_CALLS ? new CallLog(process.env.RECORD_CALLS) : undefined;

  /** `latency` says how many milliseconds each call takes before it is looked at; default none. */
  constructor(
    kernel: Omit<Kernel, 'call'>,
    parts: {
      faults: FaultPlan;
      quotas: Quotas;
      resources: ResourceState;
      operations: Operations;
      latency?: (() => number) | undefined;
    },
  ) {
    this.#kernel = kernel;
    this.#faults = parts.faults;
    this.#quotas = parts.quotas;
    this.#resources = parts.resources;
    this.#operations = parts.operations;
    this.#latency = parts.latency;
  }

  /** Throws ServiceError when the call is refused, NoAnswer when a fault keeps the answer. */
  // biome-ignore lint/suspicious/noExplicitAny: the output's shape is the operation's
  async call(operation: string, input: unknown, from: Caller): Promise<any> {
    const { identities, record } = this.#kernel;
    // A session may be older than the policies that hold now.
    const key = from.accessKeyId ? identities.key(from.accessKeyId) : undefined;
    const caller = {
      ...from,
      ...(key ? { principal: identities.principalOf(key) } : {}),
      region: homeOf(operation, this.#kernel.partition) ?? from.region,
    };
    const here = invocationsHere.getStore();
    const invocation = here?.source === caller.source ? here : undefined;
    const never = new Promise<never>(() => {});
    if (invocation?.isDead) return never;
    const crash = () => (invocation ? invocation.die() : caller.crash?.());
    const entry = this.#entry(operation, input, caller);
    record.call(entry);
    const hasModel = operation !== OWN_API && Object.hasOwn(this.#operations, operation);
    try {
      if (this.#latency) await this.#kernel.clock.sleep(this.#latency());
      const { kind, error, until } = this.#faults.take(operation, input, caller) ?? {};
      if (kind === 'delay') await until?.(input as never);
      const fault = kind === 'delay' ? undefined : kind;
      if (error) throw new ServiceError(error.name, error.message ?? error.name, error.status);
      if (fault === 'throttle') throw throttled(operation);
      if (fault === 'server-error') throw serverError(operation);
      if (fault === 'crash-before-effect') crash();
      if (fault === 'timeout' || fault === 'crash-before-effect') throw new NoAnswer('the request was lost');
      this.#quotas.take(operation, caller.account, caller.region);
      if (hasModel) checkConstraints(operation, input);
      this.#authorize(operation, input, caller, entry);
      const handler = this.#operations[operation];
      if (!handler) throw new NotModelled(`operation ${operation}`);
      const output = await handler(input, caller);
      if (hasModel) this.#checkAnswer(operation, output);
      if (fault === 'crash-after-effect') crash();
      if (fault !== undefined) throw new NoAnswer('the answer was lost');
      entry.status = 200;
      entry.output = output;
      record.ended(entry);
      return invocation?.isDead ? never : output;
    } catch (error) {
      entry.error = (error as Error).name;
      if (error instanceof ServiceError) entry.status = error.status;
      record.ended(entry);
      if (invocation?.isDead) return never;
      if (!(error instanceof NotModelled)) throw error;
      this.#kernel.fail(`${caller.source} called ${operation}`, error);
      throw new ServiceError('NotModelled', `The local cloud does not model this: ${error.message}`);
    } finally {
      if (hasModel) this.#log?.write(entry);
    }
  }

  #checkAnswer(operation: string, output: unknown): void {
    const faults = answerFaults(operation, output);
    if (faults.length > 0) this.#kernel.fail(`answer of ${operation}`, new Error(faults.join('; ')));
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
      // The name has no suffix in XML.
      const isXml = /^(cloudformation|iam|route53|sts|sns)\./.test(operation);
      const name = isXml ? 'AccessDenied' : 'AccessDeniedException';
      // EC2 has a name of its own (EC2 API reference, "Error codes").
      throw new ServiceError(
        operation.startsWith('ec2.') ? 'UnauthorizedOperation' : name,
        decision.reason,
        403,
      );
    }
  }
}
