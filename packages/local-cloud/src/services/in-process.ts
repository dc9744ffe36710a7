import { ConditionalCheckFailedException } from '@aws-sdk/client-dynamodb';
import { marshall, unmarshall } from '@aws-sdk/util-dynamodb';
import {
  isServerError,
  isThrottlingError,
  isTransientError,
  StandardRetryStrategy,
} from '@smithy/core/retry';
import type { Item } from './dynamodb-values.ts';
import type { ClientConfig, Endpoint } from './endpoint.ts';
import { type Caller, type Kernel, NoAnswer, ServiceError } from './service.ts';

/** What a caller asks for when it makes a client, as far as the in-process doors look at it. */
export interface ClientOptions {
  region: string;
  credentials: ClientConfig['credentials'];
  /** Attempts of each call, the first included; the SDK's default is 3. */
  maxAttempts?: number;
  retryStrategy?: RetryStrategy | undefined;
}

/** The SDK's own interface, in the parts that are used. */
interface RetryStrategy {
  acquireInitialRetryToken(scope: string): Promise<RetryToken>;
  refreshRetryTokenForRetry(token: RetryToken, error: { errorType: ErrorType }): Promise<RetryToken>;
  recordSuccess(token: RetryToken): void;
}
interface RetryToken {
  getRetryCount(): number;
  getRetryDelay(): number;
}
type ErrorType = 'TRANSIENT' | 'THROTTLING' | 'SERVER_ERROR' | 'CLIENT_ERROR';

// biome-ignore lint/suspicious/noExplicitAny: the input of any operation
type Command = { input: any; constructor: { name: string } };
/** A class of the SDK, of which only name and prototype are used. */
export type ClientClass<T> = { prototype: T; name: string };

const SDK_ATTEMPTS = 3;

/** First part of the operations of a client class (see `RecordedCall.operation`). */
const services: Record<string, string> = {
  ACMClient: 'CertificateManager',
  CloudFormationClient: 'cloudformation',
  DynamoDBClient: 'DynamoDB_20120810',
  EC2Client: 'ec2',
  EventBridgeClient: 'AWSEvents',
  IAMClient: 'iam',
  LambdaClient: 'lambda',
  Route53Client: 'route53',
  SecretsManagerClient: 'secretsmanager',
  SFNClient: 'AWSStepFunctions',
  SNSClient: 'sns',
  SQSClient: 'AmazonSQS',
  SSMClient: 'AmazonSSM',
  STSClient: 'sts',
};

/**
 * An SDK client without the SDK: `send` makes the call of the cloud itself, 0.01 ms instead of 0.5. Nothing is
 * serialized or signed; refusals have the names and fields that the SDK gives them.
 */
export function directClient<T>(
  kernel: Kernel,
  { name, prototype }: ClientClass<T>,
  options: ClientOptions,
): T {
  const service = services[name];
  if (!service) throw new Error(`The local cloud has no direct client of ${name}.`);
  const caller = callerOf(kernel, options);
  const retry = retrying(kernel, options);
  const send = (command: Command) => {
    const operation = `${service}.${command.constructor.name.replace(/Command$/, '')}`;
    const input = service === 'route53' ? withBareIds(command.input) : command.input;
    return retry(async () => copied(await call(kernel, operation, wireInput(input), caller())) as object);
  };
  // Paginators ask for the class of the client, Powertools for a middleware stack.
  const middlewareStack = { identify: () => [], addRelativeTo() {} };
  return Object.assign(Object.create(prototype as object), { send, config: {}, middlewareStack }) as T;
}

/** As the SDK's own middleware does: answers have `/hostedzone/Z1`, requests `Z1`. */
function withBareIds(input: Record<string, unknown>): Record<string, unknown> {
  const bare = Object.entries(input).map(([name, value]) => [
    name,
    ['HostedZoneId', 'Id'].includes(name) ? String(value).replace(/^\/(hostedzone|change)\//, '') : value,
  ]);
  return Object.fromEntries(bare);
}

/** Commands of the document client, whose names are shorter than the operations behind them. */
const documentOperations: Record<string, string> = {
  GetCommand: 'GetItem',
  PutCommand: 'PutItem',
  UpdateCommand: 'UpdateItem',
  DeleteCommand: 'DeleteItem',
  QueryCommand: 'Query',
  ScanCommand: 'Scan',
  BatchGetCommand: 'BatchGetItem',
  BatchWriteCommand: 'BatchWriteItem',
};

/** The document client of DynamoDB in the same way, as if made with `removeUndefinedValues`. */
export function directDocumentClient<T>(
  kernel: Kernel,
  { prototype }: ClientClass<T>,
  options: ClientOptions,
): T {
  const caller = callerOf(kernel, options);
  const retry = retrying(kernel, options);
  const send = async (command: Command) => {
    const { name } = command.constructor;
    const operation = documentOperations[name];
    if (!operation) throw new Error(`The local cloud has no direct ${name}.`);
    const output = await retry(() =>
      call(kernel, `DynamoDB_20120810.${operation}`, marshalled(command.input) as object, caller()),
    );
    return unmarshalled(output);
  };
  return Object.assign(Object.create(prototype as object), { send, config: {} }) as T;
}

/** Members of requests and answers that hold one item, or its key, or values by name. */
const holders = new Set([
  'Key',
  'Item',
  'Attributes',
  'ExpressionAttributeValues',
  'ExclusiveStartKey',
  'LastEvaluatedKey',
]);

function marshalled(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(marshalled);
  if (typeof value !== 'object' || value === null) return value;
  // biome-ignore lint/suspicious/noExplicitAny: any item
  const item = (held: any) => marshall(held, { removeUndefinedValues: true });
  return withMembers(value, (member, name) => {
    if (holders.has(name)) return item(member);
    return name === 'Keys' ? (member as unknown[]).map(item) : marshalled(member);
  });
}

function unmarshalled(output: object): unknown {
  return withMembers(output, (member, name) => {
    if (name === 'Items') return itemsOf(member as Item[]);
    if (name === 'Responses') return withMembers(member as object, (items) => itemsOf(items as Item[]));
    return holders.has(name) ? unmarshall(member as never) : copied(member);
  });
}

const itemsOf = (items: Item[]) => items.map((item) => unmarshall(item as never));

/** Blobs travel as base64, what is undefined does not travel, and nothing that travelled is shared. */
function wireInput(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  if (value instanceof Date) return value.getTime() / 1000;
  if (Array.isArray(value)) return value.map(wireInput);
  if (typeof value !== 'object' || value === null) return value;
  return withMembers(value, wireInput);
}

function copied(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(copied);
  if (typeof value !== 'object' || value === null || value instanceof Date) return value;
  return withMembers(value, copied);
}

/** A copy with other members, without those that are undefined. */
function withMembers(value: object, make: (member: unknown, name: string) => unknown): object {
  // Twice as fast as by entries, and a member named __proto__ stays one.
  const copy: Record<string, unknown> = { ...value };
  for (const name of Object.keys(copy)) {
    if (copy[name] === undefined) delete copy[name];
    else copy[name] = make(copy[name], name);
  }
  return copy;
}

/** Credentials are looked at anew for each call, as the services do. */
function callerOf(kernel: Kernel, { region, credentials: { accessKeyId } }: ClientOptions): () => Caller {
  return () => {
    const key = kernel.identities.key(accessKeyId);
    if (!key) throw sdkError('UnrecognizedClientException', 'The security token is invalid.', 400);
    if (kernel.identities.isExpired(key))
      throw sdkError('ExpiredTokenException', 'The token is expired', 400);
    return kernel.identities.callerOf(key, region);
  };
}

/** The answer, of which parts may be shared with the cloud. */
async function call(kernel: Kernel, operation: string, input: unknown, caller: Caller): Promise<object> {
  try {
    const output = await kernel.call(operation, input, caller);
    return { $metadata: { httpStatusCode: 200 }, ...output };
  } catch (error) {
    if (error instanceof ServiceError) {
      throw sdkError(modelledErrors[error.name] ?? error.name, error.message, error.status, error.fields);
    }
    if (error instanceof NoAnswer) throw sdkError('TimeoutError', error.message);
    throw error;
  }
}

/** Codes of the query protocol for which the SDK has another name, that of the shape in the service's model. */
const modelledErrors: Record<string, string> = {
  NotFound: 'NotFoundException',
  InvalidParameter: 'InvalidParameterException',
  AuthorizationError: 'AuthorizationErrorException',
  Throttled: 'ThrottledException',
  InternalError: 'InternalErrorException',
  NoSuchEntity: 'NoSuchEntityException',
  MalformedPolicyDocument: 'MalformedPolicyDocumentException',
  PackedPolicyTooLarge: 'PackedPolicyTooLargeException',
};

/** An error in the form that the SDK throws. Without a status there was no answer. */
function sdkError(name: string, message: string, status?: number, fields: object = {}): Error {
  // Powertools tells this one by its class.
  const error =
    name === 'ConditionalCheckFailedException'
      ? new ConditionalCheckFailedException({ message, $metadata: {} })
      : new Error(message);
  return Object.assign(error, {
    name,
    $metadata: { httpStatusCode: status },
    ...(status === undefined ? {} : { $fault: status >= 500 ? 'server' : 'client' }),
    ...fields,
  });
}

/** The retries of the SDK, by its own strategy; the pauses are on the cloud's clock. */
function retrying(
  kernel: Kernel,
  options: ClientOptions,
): (attempt: () => Promise<object>) => Promise<object> {
  const { maxAttempts = SDK_ATTEMPTS, retryStrategy } = options;
  if (maxAttempts === 1 && !retryStrategy) return (attempt) => attempt();
  const strategy = retryStrategy ?? (new StandardRetryStrategy(maxAttempts) as unknown as RetryStrategy);
  return async (attempt) => {
    let token = await strategy.acquireInitialRetryToken('');
    for (;;) {
      try {
        const output = await attempt();
        strategy.recordSuccess(token);
        return output;
      } catch (error) {
        const next = await strategy
          .refreshRetryTokenForRetry(token, { errorType: errorTypeOf(error as never) })
          .catch(() => undefined);
        if (!next) throw error;
        token = next;
        if (token.getRetryDelay() > 0) await kernel.clock.sleep(token.getRetryDelay());
      }
    }
  };
}

function errorTypeOf(error: Parameters<typeof isThrottlingError>[0]): ErrorType {
  if (isThrottlingError(error)) return 'THROTTLING';
  if (isTransientError(error)) return 'TRANSIENT';
  return isServerError(error) ? 'SERVER_ERROR' : 'CLIENT_ERROR';
}

/** The SDK's `requestHandler`: the whole way of a call, signature and protocol included, but for the socket. */
export function requestHandler(endpoint: Endpoint) {
  return {
    async handle({ method, path, query, headers, body }: HttpRequest): Promise<{ response: HttpResponse }> {
      const answer = endpoint.answer({
        method,
        path,
        query: queryText(query),
        headers: Object.fromEntries(
          Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]),
        ),
        rawHeaders: Object.entries(headers).flat(),
        body: typeof body === 'string' ? Buffer.from(body) : Buffer.concat([body ?? new Uint8Array()]),
      });
      const { status, body: text, headers: answered } = await answer.catch(asTimeout);
      return { response: { statusCode: status, headers: answered, body: Buffer.from(text) } };
    },
    httpHandlerConfigs: () => ({}),
    updateHttpClientConfig() {},
    destroy() {},
  };
}

/** What the SDK makes of a connection that closes without an answer. */
function asTimeout(error: unknown): never {
  throw error instanceof NoAnswer ? sdkError('TimeoutError', error.message) : error;
}

interface HttpRequest {
  method: string;
  path: string;
  query: Record<string, string | string[] | null>;
  headers: Record<string, string>;
  body?: string | Uint8Array;
}
interface HttpResponse {
  statusCode: number;
  headers: Record<string, string>;
  body: Uint8Array;
}

function queryText(query: HttpRequest['query']): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    for (const one of [value].flat()) search.append(name, one ?? '');
  }
  return search.toString();
}
