import { randomUUID } from 'node:crypto';
import type { PolicyDocument } from '../iam/evaluate.ts';
import type { PolicedState } from '../iam/operations.ts';
import { type Caller, type Kernel, type Operations, ServiceError } from './service.ts';

const MESSAGE_BYTES = 262_144;

export interface Message {
  at: string;
  messageId: string;
  topicArn: string;
  subject?: string;
  message: string;
  /** Who published it, as in `RecordedCall.source`. */
  source: string;
}

/**
 * Amazon SNS: topics that keep what is published, for a person or a test to read. Source: API reference,
 * Publish and ListSubscriptionsByTopic. Subscriptions wait for their confirmation, as those by mail do.
 *
 * Not modelled: delivery to subscribers, message attributes, FIFO topics.
 */
export class Sns {
  readonly messages: Message[] = [];
  readonly operations: Operations = {
    'sns.ListSubscriptionsByTopic': ({ TopicArn }) => this.#listSubscriptions(TopicArn),
    'sns.Publish': (input, caller) => this.#publish(input, caller),
  };
  /** Who is subscribed, by topic: `confirm` is what a person does with the link in the mail. */
  readonly #subscriptions = new Map<string, { protocol: string; endpoint: string; isConfirmed: boolean }[]>();
  readonly #kernel: Kernel;
  readonly #topics = new Map<string, { policy?: PolicyDocument; tags: Record<string, string> }>();

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  createTopic(arn: string, policy?: PolicyDocument): void {
    this.#topics.set(arn, { tags: {}, ...(policy ? { policy } : {}) });
  }

  subscribe(topicArn: string, protocol: string, endpoint: string): void {
    const all = this.#subscriptions.get(topicArn) ?? [];
    this.#subscriptions.set(topicArn, [...all, { protocol, endpoint, isConfirmed: false }]);
  }

  /** Nobody is subscribed any more. */
  unsubscribe(topicArn: string): void {
    this.#subscriptions.delete(topicArn);
  }

  /** Everybody who is subscribed opens the link of the mail. */
  confirm(topicArn: string): void {
    for (const subscription of this.#subscriptions.get(topicArn) ?? []) subscription.isConfirmed = true;
  }

  #listSubscriptions(topicArn: string) {
    if (!this.#topics.has(topicArn)) throw new ServiceError('NotFound', 'Topic does not exist', 404);
    const account = topicArn.split(':')[4];
    // More than 100 would be on further pages.
    return {
      Subscriptions: (this.#subscriptions.get(topicArn) ?? []).map(
        ({ protocol, endpoint, isConfirmed }, index) => ({
          // "PendingConfirmation" is what the console and the CLI show until then.
          SubscriptionArn: isConfirmed ? `${topicArn}:${index}` : 'PendingConfirmation',
          Owner: account,
          Protocol: protocol,
          Endpoint: endpoint,
          TopicArn: topicArn,
        }),
      ),
    };
  }

  setPolicy(arn: string, policy: PolicyDocument): void {
    const topic = this.#topics.get(arn);
    if (topic) topic.policy = policy;
  }

  state(arn: string): PolicedState | undefined {
    const topic = this.#topics.get(arn);
    return topic && { arn, ...topic };
  }

  // biome-ignore lint/suspicious/noExplicitAny: input as it came over the wire
  #publish(input: any, caller: Caller) {
    const { TopicArn: topicArn, Subject: subject, Message: message } = input;
    const invalid = (what: string) => new ServiceError('InvalidParameter', `Invalid parameter: ${what}`);
    if (!this.#topics.has(topicArn)) throw new ServiceError('NotFound', 'Topic does not exist', 404);
    if (message === '') throw invalid('Empty message');
    if (Buffer.byteLength(message) > MESSAGE_BYTES) throw invalid('Message too long');
    // "ASCII text that begins with a letter, number, or punctuation mark", no control characters, below 100.
    if (subject !== undefined && !/^[\x21-\x7e][\x20-\x7e]{0,99}$/.test(subject)) throw invalid('Subject');
    const messageId = randomUUID();
    const entry = {
      at: this.#kernel.clock.now().toISOString(),
      messageId,
      topicArn,
      message,
      source: caller.source,
    };
    this.messages.push(subject === undefined ? entry : { ...entry, subject });
    this.#kernel.record.emit('sns-message', caller.source, { topicArn, subject, message });
    return { MessageId: messageId };
  }
}
