import { randomUUID } from 'node:crypto';
import { NotModelled } from '../iam/not-modelled.ts';
import type { PolicedState } from '../iam/operations.ts';
import { matchesPattern, refuseUnknownPattern } from './event-pattern.ts';
import {
  type BusEvent,
  type Caller,
  type Kernel,
  NoAnswer,
  type Operations,
  parseArn,
  ServiceError,
} from './service.ts';
import { queueUrl } from './sqs.ts';

/** User guide, "PutEvents": 1 MB in all. */
const REQUEST_BYTES = 1_048_576;
/** "By default, EventBridge retries sending the event for 24 hours and up to 185 times." */
const DEFAULT_RETRIES = 185;
const DEFAULT_AGE_SECONDS = 86_400;
/** "Exponential back off and jitter"; the longest pause is not documented. */
const LONGEST_PAUSE_SECONDS = 600;

export interface Target {
  Id: string;
  Arn: string;
  RoleArn?: string;
  Input?: string;
  RetryPolicy?: { MaximumRetryAttempts?: number; MaximumEventAgeInSeconds?: number };
  DeadLetterConfig?: { Arn?: string };
}

export interface Rule {
  arn: string;
  account: string;
  region: string;
  busName: string;
  pattern: Record<string, unknown>;
  targets: Target[];
  enabled: boolean;
}

export interface Schedule {
  arn: string;
  name: string;
  account: string;
  region: string;
  /** Only `rate(…)` is modelled. */
  expression: string;
  target: Omit<Target, 'Id'>;
  enabled: boolean;
}

/**
 * Amazon EventBridge: the default bus and custom ones, rules with Lambda, SNS or SQS targets and state machines, and
 * EventBridge Scheduler. Source: user guides of both. A state machine is started with the event as input, as the role of the
 * target.
 *
 * UNCONFIRMED: that each attempt names another execution, so that one whose answer was lost is started twice; that the
 * trust policy of a target's role sees the rule as aws:SourceArn.
 *
 * Not modelled: input paths and transformers, targets in other accounts, archives, pipes, cron schedules, time
 * windows.
 */
export class Events {
  readonly operations: Operations = {
    'AWSEvents.PutEvents': (input, caller) => this.#putEvents(input, caller),
  };
  readonly #kernel: Kernel;
  readonly #rules: Rule[] = [];
  readonly #schedules = new Map<string, { schedule: Schedule; cancel: () => void }>();
  readonly #buses = new Set<string>();
  readonly #losses = new Set<{ left: number; which: (event: BusEvent) => boolean }>();

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  createBus(arn: string): void {
    this.#buses.add(arn);
  }

  /** Throws NotModelled for patterns and targets that are not known here. */
  putRule(rule: Rule): void {
    refuseUnknownPattern(rule.pattern);
    for (const target of rule.targets) {
      const service = parseArn(target.Arn)?.service ?? '';
      if (!['lambda', 'sns', 'sqs', 'states'].includes(service))
        throw new NotModelled(`rule target ${target.Arn}`);
      // "For … Step Functions state machines, EventBridge relies on IAM roles that you specify in the RoleARN argument" (API
      // reference, PutTargets).
      const role = service === 'states' ? ['RoleArn'] : [];
      if (service === 'states' && !target.RoleArn)
        throw new Error(`RoleArn is required for target ${target.Arn}.`);
      const known = ['Id', 'Arn', 'Input', 'RetryPolicy', 'DeadLetterConfig', ...role];
      const unknown = Object.entries(target).find(
        ([key, value]) => value !== undefined && !known.includes(key),
      );
      if (unknown) throw new NotModelled(`${unknown[0]} of a rule target`);
    }
    this.#rules.push(rule);
  }

  putSchedule(schedule: Schedule): void {
    if (parseArn(schedule.target.Arn)?.service !== 'lambda')
      throw new NotModelled(`schedule target ${schedule.target.Arn}`);
    const interval = intervalOf(schedule.expression);
    const entry = { schedule, cancel: () => {} };
    const arm = () => {
      const next = new Date(this.#kernel.clock.now().getTime() + interval);
      entry.cancel = this.#kernel.clock.at(next, () => {
        if (schedule.enabled) this.runSchedule(schedule.arn);
        arm();
      });
    };
    arm();
    this.#schedules.set(schedule.arn, entry);
  }

  /** Lets a schedule fire now, by ARN or name. */
  runSchedule(arnOrName: string): void {
    const entry = [...this.#schedules.values()].find(({ schedule }) =>
      [schedule.arn, schedule.name].includes(arnOrName),
    );
    if (!entry) throw new Error(`no schedule ${arnOrName}`);
    this.#kernel.track(this.#fire(entry.schedule));
  }

  schedules(): Schedule[] {
    return [...this.#schedules.values()].map(({ schedule }) => schedule);
  }

  /** The next events that fit are never delivered: "best effort", as ACM's are. */
  lose(which: (event: BusEvent) => boolean, times = 1): void {
    this.#losses.add({ left: times, which });
  }

  state(arn: string): PolicedState | undefined {
    return arn.endsWith('event-bus/default') || this.#buses.has(arn) ? { arn, tags: {} } : undefined;
  }

  stop(): void {
    for (const { cancel } of this.#schedules.values()) cancel();
  }

  /** Puts an event on a bus, as AWS's services do. Returns its id. */
  publish(event: Omit<BusEvent, 'version' | 'id' | 'time'> & Partial<BusEvent>, busName = 'default'): string {
    const full: BusEvent = {
      version: '0',
      id: randomUUID(),
      time: this.#kernel.clock.now().toISOString().replace(/\.\d+/, ''),
      ...event,
    };
    this.#kernel.record.emit('event', event.source, full);
    for (const loss of this.#losses) {
      if (!loss.which(full)) continue;
      loss.left -= 1;
      if (loss.left <= 0) this.#losses.delete(loss);
      return full.id;
    }
    this.deliver(full, busName);
    return full.id;
  }

  /** Delivers an event to every rule that it matches, once more if it was delivered before. */
  deliver(event: BusEvent, busName = 'default'): void {
    for (const rule of this.#rules) {
      const here = rule.account === event.account && rule.region === event.region && rule.busName === busName;
      if (!here || !rule.enabled || !matchesPattern(rule.pattern, event)) continue;
      for (const target of rule.targets) {
        const caller = this.#asRule(rule);
        const role = target.RoleArn ? () => this.#asTarget(rule, target) : undefined;
        this.#kernel.track(this.#send(target, target.Input ?? JSON.stringify(event), caller, rule.arn, role));
      }
    }
  }

  #asRule({ arn, account, region }: Rule): Caller {
    return {
      account,
      region,
      principal: { account: '', arn: '', service: 'events.amazonaws.com', tags: {}, identityPolicies: [] },
      context: { 'aws:SourceArn': arn, 'aws:SourceAccount': account },
      source: 'aws events',
    };
  }

  /** Throws AccessDenied when EventBridge cannot take on the role of a target. */
  #asTarget({ arn, account, region }: Rule, { RoleArn = '' }: Target): Caller {
    const context = { 'aws:SourceArn': arn, 'aws:SourceAccount': account };
    const name = arn.split('/').at(-1) ?? '';
    const session = { name: name.slice(0, 64), seconds: 3600, source: `rule ${name}` };
    return this.#kernel.identities.callerForService(
      'events.amazonaws.com',
      RoleArn,
      region,
      context,
      session,
    );
  }

  /** Scheduler invokes with a role, whose trust policy sees the schedule group as aws:SourceArn. */
  async #fire(schedule: Schedule): Promise<void> {
    const { account, region, target, arn, name } = schedule;
    const { identities, partition } = this.#kernel;
    const context = {
      'aws:SourceAccount': account,
      'aws:SourceArn': `arn:${partition}:scheduler:${region}:${account}:schedule-group/default`,
    };
    const session = { name: name.slice(0, 64), seconds: 3600, source: `schedule ${name}` };
    const role = target.RoleArn ?? '';
    const caller = identities.callerForService('scheduler.amazonaws.com', role, region, context, session);
    await this.#send(target, target.Input ?? '{}', caller, arn);
  }

  /** Delivery with retries, then the dead-letter queue. What cannot get better is not tried again. */
  async #send(
    target: Omit<Target, 'Id'>,
    payload: string,
    caller: Caller,
    sender: string,
    role?: () => Caller,
  ): Promise<void> {
    const { clock } = this.#kernel;
    const {
      MaximumRetryAttempts: retries = DEFAULT_RETRIES,
      MaximumEventAgeInSeconds: age = DEFAULT_AGE_SECONDS,
    } = target.RetryPolicy ?? {};
    const deadline = clock.now().getTime() + age * 1000;
    for (let attempt = 0; ; attempt++) {
      try {
        await this.#sendOnce(target.Arn, payload, role?.() ?? caller);
        return;
      } catch (error) {
        if (!(error instanceof ServiceError || error instanceof NoAnswer)) throw error;
        // "Some events aren't retried: missing permissions, or a target that no longer exists."
        const isFinal = /AccessDenied|NotFound|NonExistent|DoesNotExist/.test(error.name);
        const condition =
          attempt >= retries
            ? 'MaximumRetryAttempts'
            : clock.now().getTime() > deadline
              ? 'MaximumEventAgeInSeconds'
              : '';
        if (isFinal || condition)
          return this.#park(target, payload, caller, sender, error, condition, attempt);
      }
      await clock.sleep(Math.min(LONGEST_PAUSE_SECONDS, 2 ** attempt) * 1000);
    }
  }

  async #sendOnce(arn: string, payload: string, caller: Caller): Promise<void> {
    const service = parseArn(arn)?.service;
    if (service === 'lambda') {
      await this.#kernel.call(
        'lambda.Invoke',
        { FunctionName: arn, InvocationType: 'Event', Payload: payload },
        caller,
      );
    } else if (service === 'states') {
      await this.#kernel.call(
        'AWSStepFunctions.StartExecution',
        { stateMachineArn: arn, input: payload },
        caller,
      );
    } else if (service === 'sns') {
      await this.#kernel.call('sns.Publish', { TopicArn: arn, Message: payload }, caller);
    } else {
      await this.#kernel.call(
        'AmazonSQS.SendMessage',
        { QueueUrl: queueUrl(arn), MessageBody: payload },
        caller,
      );
    }
  }

  async #park(
    target: Omit<Target, 'Id'>,
    payload: string,
    caller: Caller,
    sender: string,
    error: Error,
    condition: string,
    attempts: number,
  ): Promise<void> {
    const queue = target.DeadLetterConfig?.Arn;
    if (!queue) return; // Dropped: EventBridge counts FailedInvocations.
    const attribute = (value: string) => ({ DataType: 'String', StringValue: value });
    try {
      await this.#kernel.call(
        'AmazonSQS.SendMessage',
        {
          QueueUrl: queueUrl(queue),
          MessageBody: payload,
          MessageAttributes: {
            RULE_ARN: attribute(sender),
            TARGET_ARN: attribute(target.Arn),
            ERROR_CODE: attribute(error.name),
            ERROR_MESSAGE: attribute(error.message),
            RETRY_ATTEMPTS: attribute(String(attempts)),
            ...(condition ? { EXHAUSTED_RETRY_CONDITION: attribute(condition) } : {}),
          },
        },
        caller,
      );
    } catch (failure) {
      // A queue that EventBridge may not use: the event is lost, and the record of calls says why.
      if (!(failure instanceof ServiceError)) throw failure;
    }
  }

  // biome-ignore lint/suspicious/noExplicitAny: input as it came over the wire
  #putEvents(input: any, { account, region, source: caller }: Caller) {
    const entries = input.Entries;
    if (Buffer.byteLength(JSON.stringify(entries)) > REQUEST_BYTES) {
      throw new ServiceError(
        'ValidationException',
        'Total size of the entries in the request is over the limit.',
      );
    }
    const failure = (ErrorCode: string, ErrorMessage: string) => ({ ErrorCode, ErrorMessage });
    // biome-ignore lint/suspicious/noExplicitAny: input as it came over the wire
    const results = entries.map((entry: any) => {
      if (!entry.Source || !entry.DetailType || entry.Detail === undefined) {
        return failure(
          'InvalidArgument',
          'Parameter Source, DetailType or Detail is not valid. Reason: it is required.',
        );
      }
      if (/^aws\./i.test(entry.Source)) {
        return failure('NotAuthorizedForSourceException', 'Not authorized for the source.');
      }
      let detail: unknown;
      try {
        detail = JSON.parse(entry.Detail);
      } catch {
        return failure('MalformedDetail', 'Detail is malformed.');
      }
      const bus = entry.EventBusName ?? 'default';
      this.#kernel.record.emit('event', caller, entry);
      const event = {
        source: entry.Source,
        'detail-type': entry.DetailType,
        account,
        region,
        resources: entry.Resources ?? [],
        detail,
      };
      return { EventId: this.publish(event, bus.split('/').at(-1)) };
    });
    return {
      FailedEntryCount: results.filter((result: object) => 'ErrorCode' in result).length,
      Entries: results,
    };
  }
}

/** Milliseconds of `rate(5 minutes)`. */
function intervalOf(expression: string): number {
  const [, value, unit] = /^rate\((\d+) (minute|hour|day)s?\)$/.exec(expression) ?? [];
  const units: Record<string, number> = { minute: 60_000, hour: 3_600_000, day: 86_400_000 };
  if (!value || !unit) throw new NotModelled(`schedule ${expression}`);
  return Number(value) * (units[unit] as number);
}
