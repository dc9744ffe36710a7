import { createHash, randomUUID } from 'node:crypto';
import type { PolicyDocument } from '../iam/evaluate.ts';
import type { PolicedState } from '../iam/operations.ts';
import { type Kernel, type Operations, parseArn, ServiceError } from './service.ts';

const MESSAGE_BYTES = 1_048_576;
const DEFAULT_VISIBILITY_SECONDS = 30;

interface QueuedMessage {
  messageId: string;
  body: string;
  attributes: Record<string, string>;
  sentAt: Date;
}

interface Entry extends QueuedMessage {
  receiptHandle?: string;
  hiddenUntil: Date;
}

interface Queue {
  arn: string;
  policy?: PolicyDocument;
  messages: Entry[];
}

/**
 * Amazon SQS as far as dead letters need it: standard queues that keep messages until they are deleted.
 * Source: API reference.
 *
 * Not modelled: retention, delays, long polling (an empty answer comes at once), FIFO, redrive.
 */
export class Sqs {
  readonly operations: Operations = {
    'AmazonSQS.GetQueueUrl': ({ QueueName: name }, { account, region }) => {
      const { arn } = this.#queue(`arn:${this.#kernel.partition}:sqs:${region}:${account}:${name}`);
      // Some clients call the host that stands in a queue's URL: so it is this endpoint.
      return { QueueUrl: queueUrl(arn).replace(/^https:\/\/[^/]*/, this.#kernel.endpoint) };
    },
    'AmazonSQS.SendMessage': (input, { source }) => this.#sendMessage(input, source),
    'AmazonSQS.ReceiveMessage': (input) => this.#receiveMessage(input),
    'AmazonSQS.DeleteMessage': (input) => {
      const queue = this.#byUrl(input.QueueUrl);
      queue.messages = queue.messages.filter(({ receiptHandle }) => receiptHandle !== input.ReceiptHandle);
    },
    'AmazonSQS.GetQueueAttributes': (input) => {
      const { arn, messages } = this.#byUrl(input.QueueUrl);
      return { Attributes: { QueueArn: arn, ApproximateNumberOfMessages: String(messages.length) } };
    },
  };
  readonly #kernel: Kernel;
  readonly #queues = new Map<string, Queue>();

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  createQueue(arn: string): void {
    this.#queues.set(arn, { arn, messages: [] });
  }

  setPolicy(arn: string, policy: PolicyDocument): void {
    this.#queue(arn).policy = policy;
  }

  state(arn: string): PolicedState | undefined {
    const queue = this.#queues.get(arn);
    return queue && { arn, tags: {}, ...(queue.policy ? { policy: queue.policy } : {}) };
  }

  /** What lies in a queue, oldest first. */
  messages(arn: string): QueuedMessage[] {
    return this.#queue(arn).messages;
  }

  #queue(arn: string): Queue {
    const queue = this.#queues.get(arn);
    if (!queue) throw new ServiceError('QueueDoesNotExist', 'The specified queue does not exist.');
    return queue;
  }

  #byUrl(url: string): Queue {
    const [account, name] = new URL(url).pathname.split('/').slice(-2);
    const found = [...this.#queues.keys()].find((arn) => {
      const parts = parseArn(arn);
      return parts?.account === account && parts?.resource === name;
    });
    return this.#queue(found ?? '');
  }

  // biome-ignore lint/suspicious/noExplicitAny: input as it came over the wire
  #sendMessage(input: any, source: string) {
    const { MessageBody: body, MessageAttributes } = input;
    if (body === '' || Buffer.byteLength(body) > MESSAGE_BYTES) {
      throw new ServiceError('InvalidParameterValue', 'One or more parameters are invalid.');
    }
    const attributes = Object.fromEntries(
      Object.entries(MessageAttributes ?? {}).map(([name, value]) => [
        name,
        (value as { StringValue: string }).StringValue,
      ]),
    );
    const now = this.#kernel.clock.now();
    const entry: Entry = { messageId: randomUUID(), body, attributes, sentAt: now, hiddenUntil: now };
    this.#byUrl(input.QueueUrl).messages.push(entry);
    this.#kernel.record.emit('dead-letter', source, { body, attributes });
    return { MessageId: entry.messageId, MD5OfMessageBody: md5(body) };
  }

  // biome-ignore lint/suspicious/noExplicitAny: input as it came over the wire
  #receiveMessage(input: any) {
    const now = this.#kernel.clock.now();
    const visible = this.#byUrl(input.QueueUrl).messages.filter(({ hiddenUntil }) => hiddenUntil <= now);
    const seconds = input.VisibilityTimeout ?? DEFAULT_VISIBILITY_SECONDS;
    const received = visible.slice(0, input.MaxNumberOfMessages ?? 1).map((entry) => {
      entry.receiptHandle = randomUUID();
      entry.hiddenUntil = new Date(now.getTime() + seconds * 1000);
      return {
        MessageId: entry.messageId,
        ReceiptHandle: entry.receiptHandle,
        Body: entry.body,
        MD5OfBody: md5(entry.body),
        // All or none of them. Their checksum, which SDKs compare where it is given, is left out.
        ...(input.MessageAttributeNames?.length ? { MessageAttributes: asText(entry.attributes) } : {}),
      };
    });
    return received.length > 0 ? { Messages: received } : {};
  }
}

function asText(attributes: Record<string, string>) {
  return Object.fromEntries(
    Object.entries(attributes).map(([name, StringValue]) => [name, { DataType: 'String', StringValue }]),
  );
}

/** SDKs compare this checksum with the body. */
function md5(text: string): string {
  return createHash('md5').update(text).digest('hex');
}

/** The URL by which the API names a queue. */
export function queueUrl(arn: string): string {
  const { region, account, resource } = parseArn(arn) ?? {};
  return `https://sqs.${region}.amazonaws.com/${account}/${resource}`;
}
