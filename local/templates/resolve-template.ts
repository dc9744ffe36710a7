import { NotModelled } from '../iam/not-modelled.ts';

export interface ResolveOptions {
  account: string;
  region: string;
  /** Default aws. */
  partition?: string;
  stackName: string;
  /** Lists as CloudFormation takes them: one comma-separated string. */
  parameters?: Record<string, string | number>;
}

export interface Resource {
  type: string;
  /** Fully resolved; of SAM resources with Globals merged in. */
  // biome-ignore lint/suspicious/noExplicitAny: the shape is CloudFormation's, different for each type
  properties: Record<string, any>;
  /** What Ref gives. */
  physicalId: string;
  arn?: string;
  /** What GetAtt gives. */
  attributes: Record<string, unknown>;
  dependsOn: string[];
  // biome-ignore lint/suspicious/noExplicitAny: as written in the template
  metadata?: Record<string, any>;
  deletionPolicy?: string;
  updateReplacePolicy?: string;
  /** Logical id of the SAM resource that this one was generated from (event rules, schedules, permissions …). */
  generatedBy?: string;
}

export interface Deployed {
  account: string;
  region: string;
  partition: string;
  stackName: string;
  /** With defaults applied; list parameters split. */
  parameters: Record<string, string | string[]>;
  conditions: Record<string, boolean>;
  resources: Map<string, Resource>;
  outputs: Record<string, unknown>;
}

/** What is wrong with a template or with the parameters given to it, as CloudFormation would refuse it. */
export class TemplateError extends Error {
  override name = 'TemplateError';
}

/** Resolves a CloudFormation or SAM template as a deployment would. Throws TemplateError or NotModelled. */
export function resolveTemplate(_file: string, _options: ResolveOptions): Deployed {
  throw new NotModelled('resolveTemplate');
}
