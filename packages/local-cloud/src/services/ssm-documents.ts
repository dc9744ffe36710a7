import { NotModelled } from '../iam/not-modelled.ts';
import type { DocumentState } from '../iam/operations.ts';
import {
  type CommandParameter,
  checkAreStrings,
  InvalidParameters,
  resolveParameterLists,
} from '../node/document-parameters.ts';
import { type Kernel, type Operations, parseArn, Regional, ServiceError } from './service.ts';

/** "64 KB, including parameter values at run time" (user guide, "Creating SSM document content"). */
const CONTENT_BYTES = 65_536;

export interface SsmDocument {
  arn: string;
  name: string;
  type: 'Automation' | 'Command';
  content: DocumentContent;
  /** Size of the content. */
  bytes: number;
  /** `1` when it was created, one more with each update. */
  version: string;
  tags: Record<string, string>;
}

interface DocumentContent {
  schemaVersion: string;
  assumeRole?: string;
  parameters?: Record<string, CommandParameter>;
  mainSteps: DocumentStep[];
}

export interface DocumentStep {
  name: string;
  action: string;
  onFailure?: string;
  onCancel?: string;
  isCritical?: boolean;
  isEnd?: boolean;
  nextStep?: string;
  timeoutSeconds?: number;
  maxAttempts?: number;
  // biome-ignore lint/suspicious/noExplicitAny: the shape is the action's
  inputs: Record<string, any>;
}

/** One choice of an aws:branch step. */
export interface Choice {
  NextStep: string;
  Variable: string;
  StringEquals: string;
}

/** What of a step Automation is known to do here. Anything else in a document is refused when it is created. */
const knownStepFields: Record<string, string[]> = {
  'aws:runCommand': [
    'name',
    'action',
    'description',
    'onFailure',
    'onCancel',
    'isCritical',
    'isEnd',
    'nextStep',
    'timeoutSeconds',
    'maxAttempts',
    'inputs',
  ],
  'aws:branch': ['name', 'action', 'description', 'isEnd', 'inputs'],
};

/**
 * SSM documents of an account and Region, with all their versions. A document that is created again gets a new version,
 * which becomes the default one; the earlier ones can still be named (AWS::SSM::Document, UpdateMethod NewVersion;
 * Systems Manager User Guide, "SSM document schema features": "DocumentVersion"). GetDocument: API reference.
 *
 * Not modelled: documents of AWS and of other accounts, formats but JSON.
 */
export class SsmDocuments {
  readonly operations: Operations = {
    'AmazonSSM.GetDocument': (input, { account, region }) => this.#getDocument(input, account, region),
  };
  readonly #kernel: Kernel;
  readonly #documents = new Regional(() => new Map<string, SsmDocument[]>());

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /** Throws NotModelled for what a document may contain but the local cloud does not know. */
  create(
    account: string,
    region: string,
    document: { name: string; type: SsmDocument['type']; content: object; tags?: Record<string, string> },
  ): SsmDocument {
    const content = document.content as DocumentContent;
    const bytes = Buffer.byteLength(JSON.stringify(content));
    if (bytes > CONTENT_BYTES) throw new Error(`document ${document.name} is larger than 64 KB`);
    if (!/^[a-zA-Z0-9_.-]{3,128}$/.test(document.name)) throw new Error(`document name ${document.name}`);
    // "The following strings are reserved": AWS refuses to create such documents.
    if (/^(aws|amazon|amzn)/i.test(document.name))
      throw new Error(`document name ${document.name} is reserved`);
    if (document.type === 'Automation') checkAutomation(content);
    else if (content.schemaVersion !== '2.2')
      throw new NotModelled(`Command document schema ${content.schemaVersion}`);
    else checkAreStrings(content.parameters ?? {});
    const versions = this.#documents.of(account, region).get(document.name) ?? [];
    const created: SsmDocument = {
      ...document,
      content,
      bytes,
      version: String(versions.length + 1),
      tags: document.tags ?? {},
      arn: `arn:${this.#kernel.partition}:ssm:${region}:${account}:document/${document.name}`,
    };
    this.#documents.of(account, region).set(document.name, [...versions, created]);
    return created;
  }

  #getDocument(
    { Name, DocumentVersion, DocumentFormat = 'JSON' }: Record<string, string>,
    account: string,
    region: string,
  ) {
    if (DocumentFormat !== 'JSON') throw new NotModelled(`GetDocument as ${DocumentFormat}`);
    const found = this.find(account, region, Name ?? '', DocumentVersion);
    if (!found) throw new ServiceError('InvalidDocument', `Document with name ${Name} does not exist.`);
    return {
      Name: found.name,
      DocumentVersion: found.version,
      Status: 'Active',
      Content: JSON.stringify(found.content),
      DocumentType: found.type,
      DocumentFormat: 'JSON',
    };
  }

  delete(account: string, region: string, name: string): void {
    this.#documents.of(account, region).delete(name);
  }

  /**
   * By name or ARN, the default version unless one is named. Shared documents of other accounts are not modelled: they are
   * not found.
   *
   * @param version `$DEFAULT`, `$LATEST` or a number (API reference of StartAutomationExecution and SendCommand).
   */
  find(account: string, region: string, nameOrArn: string, version = '$DEFAULT'): SsmDocument | undefined {
    const arn = parseArn(nameOrArn);
    if (arn && (arn.account !== account || arn.region !== region)) return undefined;
    const name = arn ? arn.resource.replace(/^document\//, '') : nameOrArn;
    const versions = this.#documents.of(account, region).get(name);
    const isLatest = version === '$DEFAULT' || version === '$LATEST';
    return isLatest ? versions?.at(-1) : versions?.find((one) => one.version === version);
  }

  state(account: string, region: string, nameOrArn: string, version?: string): DocumentState | undefined {
    const document = this.find(account, region, nameOrArn, version);
    if (!document) return undefined;
    const { arn, tags, type, content } = document;
    return { arn, tags, type, ...(content.assumeRole ? { assumeRole: content.assumeRole } : {}) };
  }
}

export function isTooLarge({ bytes }: SsmDocument, parameters: object): boolean {
  return bytes + Buffer.byteLength(JSON.stringify(parameters)) > CONTENT_BYTES;
}

/** The first fault in the parameters of a request, in words, or nothing. */
export function parameterFault(
  { content }: SsmDocument,
  parameters: Record<string, string[]>,
): string | undefined {
  try {
    resolveParameterLists(content.parameters ?? {}, parameters);
    return undefined;
  } catch (error) {
    if (error instanceof InvalidParameters) return error.message;
    throw error;
  }
}

function checkAutomation(content: DocumentContent): void {
  if (content.schemaVersion !== '0.3') throw new NotModelled(`Automation schema ${content.schemaVersion}`);
  // Without it the runbook would act as the principal that started it; as a parameter any of them could choose it.
  if (!content.assumeRole?.startsWith('arn:')) throw new NotModelled(`assumeRole ${content.assumeRole}`);
  for (const [index, step] of content.mainSteps.entries()) {
    const known = knownStepFields[step.action];
    if (!known) throw new NotModelled(`Automation action ${step.action}`);
    const unknown = Object.keys(step).find((field) => !known.includes(field));
    if (unknown) throw new NotModelled(`field ${unknown} of an Automation step`);
    if (step.maxAttempts !== undefined && step.maxAttempts !== 1) throw new NotModelled('maxAttempts');
    const targets = [
      step.nextStep,
      /^step:(.+)$/.exec(step.onFailure ?? '')?.[1],
      ...(step.action === 'aws:branch' ? checkedBranch(step, content) : []),
    ].filter((name) => name !== undefined);
    // Automation refuses loops; what goes back without one is refused with them.
    const followers = content.mainSteps.slice(index + 1);
    const missing = targets.find((name) => !followers.some((other) => other.name === name));
    if (missing) throw new NotModelled(`no step ${missing} follows ${step.name}`);
    if (step.onFailure && !/^(Abort|Continue|step:.+)$/.test(step.onFailure))
      throw new NotModelled(`onFailure ${step.onFailure}`);
    if (step.onCancel !== undefined && step.onCancel !== 'Abort')
      throw new NotModelled(`onCancel ${step.onCancel}`);
  }
}

/** Checks an aws:branch step, and gives the names of the steps to which it may jump. */
function checkedBranch({ inputs }: DocumentStep, { parameters = {}, mainSteps }: DocumentContent): string[] {
  const { Choices, Default, ...others } = inputs;
  const [unknown] = Object.keys(others);
  if (unknown) throw new NotModelled(`input ${unknown} of aws:branch`);
  if (!Array.isArray(Choices) || Choices.length === 0) throw new NotModelled('aws:branch without Choices');
  for (const choice of Choices) {
    if (Object.keys(choice).sort().join() !== 'NextStep,StringEquals,Variable')
      throw new NotModelled(`choice of aws:branch with ${Object.keys(choice).join(', ')}`);
    const [, parameter = '', output] = /^\{\{\s*(\w+)(\.\w+)?\s*\}\}$/.exec(choice.Variable) ?? [];
    const isKnown = output
      ? mainSteps.some(({ name }) => name === parameter)
      : parameters[parameter]?.type === 'String';
    if (!isKnown) throw new NotModelled(`Variable ${choice.Variable} of aws:branch`);
  }
  return [...Choices.map(({ NextStep }: Choice) => NextStep), ...(Default === undefined ? [] : [Default])];
}
