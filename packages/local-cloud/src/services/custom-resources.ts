import { randomBytes, randomUUID } from 'node:crypto';
import type { Identity } from './identities.ts';
import type { WireRequest, WireResponse } from './protocols.ts';
import { type Caller, type Kernel, ServiceError } from './service.ts';

/** A resource of type `Custom::…` or AWS::CloudFormation::CustomResource, its properties resolved. */
export interface CustomResource {
  logicalId: string;
  type: string;
  /** With ServiceToken, the ARN of a function. */
  properties: Record<string, unknown>;
}

/** A stack as it is to be: of its resources only the custom ones, in the order of their dependencies. */
export interface CustomStack {
  account: string;
  region: string;
  stackName: string;
  /** Who deploys: CloudFormation calls the function with these rights. */
  by: Identity;
  resources: CustomResource[];
  /** Another resource of the stack, made after these, fails. */
  fails?: boolean;
}

interface Made extends CustomResource {
  physicalId: string;
  data: Record<string, unknown>;
}

export interface StackResult {
  id: string;
  /** As DescribeStacks shows it. */
  status: string;
  /** Of what failed, in its order. */
  reasons: string[];
  resources: Map<string, Made>;
}

/** What the function is sent. */
// biome-ignore lint/suspicious/noExplicitAny: tests look at any field
type Request = Record<string, any>;

interface Outcome {
  reason?: string;
  physicalId?: string;
  data: Record<string, unknown>;
}

const DEFAULT_TIMEOUT_SECONDS = 3600;
const LARGEST_BODY = 4096;
const LONGEST_ID = 1024;

/** Hosts of the buckets that take answers (User Guide, "Setting up VPC endpoints for CloudFormation"). */
export const isResponseHost = (host = ''): boolean =>
  /^cloudformation-custom-resource-response-[a-z0-9]+\.s3[.-]/.test(host);

/**
 * Custom resources of CloudFormation: what their functions are sent, and what becomes of a stack by what they answer.
 *
 * Source: CloudFormation User Guide, "CloudFormation custom resource request and response reference" (fields, 4,096 bytes,
 * PhysicalResourceId up to 1 KB, ServiceTimeout, numbers and booleans as strings, replacement and the Delete in the clean-up);
 * API reference, AWS::CloudFormation::CustomResource. That a failed Create is followed by a Delete with the id of the failed
 * answer: AWS CDK, pull request 5525. The presigned PUT takes no content type: the examples of the User Guide send an empty
 * one.
 *
 * UNCONFIRMED: the id of a Delete where a Create was never answered; that a rollback's Update names the id which a failed
 * Update answered; that a second answer to one request changes nothing.
 * Not modelled: SNS topics, NoEcho, every other resource, DeletionPolicy, continue-update-rollback.
 */
export class CustomResources {
  /** Everything that functions were sent, in its order. A test may deliver one of them once more. */
  readonly requests: Request[] = [];
  /** Every answer that was taken. */
  readonly answers: Request[] = [];
  readonly #kernel: Kernel;
  readonly #stacks = new Map<string, StackResult>();
  readonly #open = new Map<string, { request: Request; answered: (outcome: Outcome) => void }>();

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /** Creates or updates a stack, with the rollback of what fails. */
  async deploy(wanted: CustomStack): Promise<StackResult> {
    const known = this.#stacks.get(nameOf(wanted));
    const before = new Map(known?.resources);
    const stack = known ?? this.#newStack(wanted);
    stack.reasons = [];
    const undo: (() => Promise<boolean>)[] = [];
    /** Left over where all goes well, or once the rollback is over. */
    const leftOver: Made[] = [];
    let isWell = true;
    for (const resource of wanted.resources) {
      const old = before.get(resource.logicalId);
      const properties = asText(resource.properties) as Made['properties'];
      if (old && JSON.stringify(old.properties) === JSON.stringify(properties)) continue;
      const made: Made = {
        ...resource,
        properties,
        physicalId: old?.physicalId ?? '',
        data: old?.data ?? {},
      };
      isWell = await this.#apply(stack, wanted, made, old);
      undo.unshift(() => this.#undo(stack, wanted, made, old, leftOver));
      if (old && isWell && old.physicalId !== made.physicalId) leftOver.push(old);
      if (!isWell) break;
    }
    if (isWell && wanted.fails) {
      isWell = false;
      stack.reasons.push('Another resource failed.');
    }
    const kind = known ? 'UPDATE_' : '';
    if (isWell) {
      const ids = new Set(wanted.resources.map(({ logicalId }) => logicalId));
      leftOver.push(...[...before.values()].filter(({ logicalId }) => !ids.has(logicalId)));
      for (const made of leftOver) await this.#remove(stack, wanted, made, !ids.has(made.logicalId));
      stack.status = known ? 'UPDATE_COMPLETE' : 'CREATE_COMPLETE';
      return stack;
    }
    leftOver.length = 0;
    let isBack = true;
    for (const step of undo) isBack = (await step()) && isBack;
    for (const made of isBack ? leftOver : []) await this.#remove(stack, wanted, made, false);
    stack.status = `${kind}ROLLBACK_${isBack ? 'COMPLETE' : 'FAILED'}`;
    // Nothing can be done with such a stack but to delete it: here it is gone.
    if (!known && isBack) this.#stacks.delete(nameOf(wanted));
    return stack;
  }

  /** Deletes a stack. */
  async remove(wanted: Omit<CustomStack, 'resources'>): Promise<StackResult> {
    const stack = this.#stacks.get(nameOf(wanted));
    if (!stack) throw new Error(`there is no stack ${wanted.stackName}`);
    stack.reasons = [];
    let isGone = true;
    for (const made of [...stack.resources.values()].reverse())
      isGone = (await this.#remove(stack, wanted, made, true)) && isGone;
    stack.status = isGone ? 'DELETE_COMPLETE' : 'DELETE_FAILED';
    if (isGone) this.#stacks.delete(nameOf(wanted));
    return stack;
  }

  /** A PUT to the address of an answer. A content type would be no part of the signature. */
  async receive({ method, path, query, headers, body }: WireRequest): Promise<WireResponse> {
    const xml = (status: number, code: string) => ({
      status,
      headers: { 'content-type': 'application/xml' },
      body: code === '' ? '' : `<Error><Code>${code}</Code></Error>`,
    });
    const found = this.#open.get(`${path}?${query}`);
    if (!found) return xml(403, 'AccessDenied');
    if (method !== 'PUT' || (headers['content-type'] ?? '') !== '') return xml(403, 'SignatureDoesNotMatch');
    found.answered(outcomeOf(body, found.request, this.answers));
    return xml(200, '');
  }

  #newStack({ account, region, stackName, ...stack }: CustomStack): StackResult {
    const { partition } = this.#kernel;
    const made: StackResult = {
      id: `arn:${partition}:cloudformation:${region}:${account}:stack/${stackName}/${randomUUID()}`,
      status: 'CREATE_IN_PROGRESS',
      reasons: [],
      resources: new Map(),
    };
    this.#stacks.set(nameOf({ account, region, stackName, ...stack }), made);
    return made;
  }

  /** True where it worked. What it is called now stands in `made` in any case. */
  async #apply(stack: StackResult, of: Place, made: Made, old: Made | undefined): Promise<boolean> {
    const outcome = await this.#send(stack, of, made, old ? 'Update' : 'Create', {
      ...(old ? { PhysicalResourceId: old.physicalId, OldResourceProperties: old.properties } : {}),
    });
    made.physicalId =
      outcome.physicalId ??
      old?.physicalId ??
      `${of.stackName}-${made.logicalId}-${randomBytes(6).toString('hex').toUpperCase()}`;
    made.data = outcome.data;
    stack.resources.set(made.logicalId, made);
    if (outcome.reason !== undefined) stack.reasons.push(outcome.reason);
    return outcome.reason === undefined;
  }

  async #undo(
    stack: StackResult,
    of: Place,
    made: Made,
    old: Made | undefined,
    leftOver: Made[],
  ): Promise<boolean> {
    if (!old) return this.#remove(stack, of, made, true);
    const back: Made = { ...old };
    const isBack = await this.#apply(stack, of, back, made);
    if (isBack && back.physicalId !== made.physicalId) leftOver.push(made);
    return isBack;
  }

  /** @param isLast of the resource itself, not of what a replacement left. */
  async #remove(stack: StackResult, of: Place, made: Made, isLast: boolean): Promise<boolean> {
    const { physicalId } = made;
    const { reason } = await this.#send(stack, of, made, 'Delete', { PhysicalResourceId: physicalId });
    if (reason !== undefined) stack.reasons.push(reason);
    else if (isLast) stack.resources.delete(made.logicalId);
    return reason === undefined;
  }

  async #send(
    { id: StackId }: StackResult,
    { account, region, by }: Place,
    { logicalId, type, properties }: CustomResource,
    RequestType: string,
    more: Request,
  ): Promise<Outcome> {
    const { ServiceToken, ServiceTimeout = DEFAULT_TIMEOUT_SECONDS } = properties;
    const path = `/${encodeURIComponent(StackId)}%7C${logicalId}%7C${randomUUID()}`;
    const query = `X-Amz-Expires=7200&X-Amz-Signature=${randomBytes(32).toString('hex')}`;
    const bucket = `cloudformation-custom-resource-response-${region.replaceAll('-', '')}`;
    const request: Request = {
      RequestType,
      ServiceToken,
      ResponseURL: `https://${bucket}.s3.${region}.amazonaws.com${path}?${query}`,
      StackId,
      RequestId: randomUUID(),
      LogicalResourceId: logicalId,
      ResourceType: type,
      ResourceProperties: properties,
      ...more,
    };
    this.requests.push(request);
    const { promise, resolve } = Promise.withResolvers<Outcome>();
    this.#open.set(`${path}?${query}`, { request, answered: resolve });
    const key = this.#kernel.identities.key(by.credentials.accessKeyId);
    if (!key) throw new Error('who deploys the stack is not known');
    const caller: Caller = { ...this.#kernel.identities.callerOf(key, region), account };
    const input = { FunctionName: ServiceToken, InvocationType: 'Event', Payload: JSON.stringify(request) };
    try {
      await this.#kernel.call('lambda.Invoke', input, caller);
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error;
      return { reason: error.message, data: {} };
    }
    const over = new AbortController();
    const late = this.#kernel.clock
      .sleep(Number(ServiceTimeout) * 1000, over.signal)
      .then((): Outcome => ({ reason: 'CloudFormation did not receive a response in time.', data: {} }));
    const outcome = await Promise.race([promise, late]);
    over.abort();
    return outcome;
  }
}

type Place = Pick<CustomStack, 'account' | 'region' | 'stackName' | 'by'>;

const nameOf = ({ account, region, stackName }: Place) => `${account}/${region}/${stackName}`;

/** Numbers and booleans reach the function as strings. */
function asText(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(asText);
  if (typeof value !== 'object' || value === null) return String(value);
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, asText(member)]));
}

function outcomeOf(body: Buffer, request: Request, answers: Request[]): Outcome {
  const wrong = (reason: string): Outcome => ({ reason: `Invalid response: ${reason}`, data: {} });
  if (body.length > LARGEST_BODY) return wrong(`more than ${LARGEST_BODY} bytes`);
  let answer: Request;
  try {
    answer = JSON.parse(body.toString());
  } catch {
    return wrong('no JSON');
  }
  answers.push(answer);
  const { Status, Reason, PhysicalResourceId: physicalId, Data: data = {} } = answer;
  const other = ['StackId', 'RequestId', 'LogicalResourceId'].find((name) => answer[name] !== request[name]);
  if (other) return wrong(`${other} is not that of the request`);
  if (typeof physicalId !== 'string' || physicalId === '' || Buffer.byteLength(physicalId) > LONGEST_ID)
    return wrong('PhysicalResourceId');
  if (Status === 'SUCCESS') return { physicalId, data };
  if (Status !== 'FAILED' || typeof Reason !== 'string' || Reason === '') return wrong('Status or Reason');
  return { reason: Reason, physicalId, data };
}
