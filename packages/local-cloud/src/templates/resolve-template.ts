import { readFileSync } from 'node:fs';
import { dirname, resolve as resolvePath } from 'node:path';
import { NotModelled } from '../iam/not-modelled.ts';
import { resolve, resolveCondition, type Scope } from './intrinsics.ts';
import { type ParameterValue, resolveParameters } from './parameters.ts';
import { parseTemplate } from './parse-yaml.ts';
import { type Identity, randomPart, resourceTypes } from './resource-types.ts';
import { type Expanded, expandSam, type Properties, type RawResource, type Route } from './sam.ts';
import { TemplateError } from './template-error.ts';

export type { Route } from './sam.ts';
export { TemplateError } from './template-error.ts';

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
  /**
   * Fully resolved; of SAM resources with Globals merged in; of a state machine with `Definition`, the ASL as an
   * object with its substitutions made.
   */
  properties: Properties;
  /** What Ref gives. */
  physicalId: string;
  arn?: string;
  /** What GetAtt gives. */
  attributes: Record<string, unknown>;
  /** Logical ids, from DependsOn and from every reference, those in Metadata included. */
  dependsOn: string[];
  metadata?: Properties;
  deletionPolicy?: string;
  updateReplacePolicy?: string;
  /** Logical id of the SAM resource that this one was generated from (event rules, schedules, permissions …). */
  generatedBy?: string;
  /** Of an AWS::Serverless::Api: the routes that functions' Api events ask for. */
  routes?: Route[];
}

export interface Deployed {
  account: string;
  region: string;
  partition: string;
  stackName: string;
  /** With defaults applied; lists split, numbers as numbers. */
  parameters: Record<string, ParameterValue>;
  conditions: Record<string, boolean>;
  /** By logical id; resources whose condition is false are not there. */
  resources: Map<string, Resource>;
  outputs: Record<string, unknown>;
}

const sections = new Set([
  'AWSTemplateFormatVersion',
  'Conditions',
  'Description',
  'Globals',
  'Mappings',
  'Metadata',
  'Outputs',
  'Parameters',
  'Resources',
  'Transform',
]);
const resourceAttributes = new Set([
  'Type',
  'Properties',
  'Condition',
  'DependsOn',
  'Metadata',
  'DeletionPolicy',
  'UpdateReplacePolicy',
  'generatedBy',
  'routes',
]);

/**
 * Resolves a CloudFormation or SAM template as a deployment would: parameters, conditions, intrinsic functions,
 * physical ids. Throws TemplateError for what CloudFormation would refuse, NotModelled for what is not known here.
 */
export function resolveTemplate(file: string, options: ResolveOptions): Deployed {
  const template = parseTemplate(readFileSync(file, 'utf8'), file) as Properties;
  const unknown = Object.keys(template).find((section) => !sections.has(section));
  if (unknown) throw new NotModelled(`section ${unknown} of a template`);
  const raw = (template.Resources ?? {}) as Record<string, RawResource>;
  const isSam = template.Transform === 'AWS::Serverless-2016-10-31';
  if (template.Transform !== undefined && !isSam)
    throw new NotModelled(`transform ${JSON.stringify(template.Transform)}`);
  if (!isSam && template.Globals) throw new TemplateError('Globals without the SAM transform');
  const resources = isSam
    ? expandSam(raw, template.Globals ?? {})
    : new Map<string, Expanded>(Object.entries(raw));
  return deploy(template, resources, dirname(file), options);
}

function deploy(
  template: Properties,
  raw: Map<string, Expanded>,
  folder: string,
  { account, region, partition = 'aws', stackName, parameters: given = {} }: ResolveOptions,
): Deployed {
  const parameters = resolveParameters(template.Parameters ?? {}, given);
  const stack = { account, region, partition, stackName };
  const suffix = partition === 'aws-cn' ? 'amazonaws.com.cn' : 'amazonaws.com';
  const stackId = `arn:${partition}:cloudformation:${region}:${account}:stack/${stackName}/${randomPart({ ...stack, logicalId: '', property: () => undefined })}`;
  const pseudo: Record<string, string | string[]> = {
    'AWS::AccountId': account,
    'AWS::NotificationARNs': [],
    'AWS::Partition': partition,
    'AWS::Region': region,
    'AWS::StackId': stackId,
    'AWS::StackName': stackName,
    'AWS::URLSuffix': suffix,
  };

  const conditions: Record<string, boolean> = {};
  const edges = new Map<string, Set<string>>();
  const identities = new Map<string, Identity>();
  const underway: string[] = [];
  /** The resource whose properties are being resolved: what it refers to, it depends on. */
  let current: string | undefined;

  /** Guards against a thing that needs itself; `key` is for the message. */
  function once<T>(key: string, work: () => T): T {
    if (underway.includes(key))
      throw new TemplateError(`circular dependency: ${[...underway, key].join(' → ')}`);
    underway.push(key);
    try {
      return work();
    } finally {
      underway.pop();
    }
  }

  const scope: Scope = {
    ref: (name) => parameters[name] ?? pseudo[name] ?? (raw.has(name) ? identityOf(name).ref : undefined),
    getAtt: (logicalId, attribute) => {
      if (!raw.has(logicalId)) throw new TemplateError(`GetAtt of ${logicalId}, which is not a resource`);
      const value = identityOf(logicalId).attributes[attribute];
      if (value === undefined) {
        throw new NotModelled(`attribute ${attribute} of ${logicalId} (${raw.get(logicalId)?.Type})`);
      }
      return value;
    },
    mapping: (map, first, second) => template.Mappings?.[map]?.[first]?.[second],
    condition: (name) => {
      const known = conditions[name];
      if (known !== undefined) return known;
      const source = template.Conditions?.[name];
      if (source === undefined) throw new TemplateError(`condition ${name} is not in the template`);
      const value = once(`condition ${name}`, () => resolveCondition(source, scope, `Conditions.${name}`));
      conditions[name] = value;
      return value;
    },
  };

  const exists = (id: string) => {
    const condition = raw.get(id)?.Condition;
    return condition === undefined || scope.condition(condition);
  };

  /** Needs only the properties that name the resource, so that most references work in any order. */
  function identityOf(id: string): Identity {
    if (current !== undefined && current !== id) edges.get(current)?.add(id);
    const known = identities.get(id);
    if (known) return known;
    const resource = raw.get(id) as Expanded;
    if (!exists(id))
      throw new TemplateError(`${current ?? 'the template'} refers to ${id}, whose condition is false`);
    const describe = resourceTypes[resource.Type];
    if (!describe) throw new NotModelled(`resource type ${resource.Type} (${id})`);
    const property = (name: string) => {
      const value = resource.Properties?.[name];
      return value === undefined ? undefined : resolveFor(id, value, name);
    };
    const identity = once(id, () => describe({ ...stack, logicalId: id, property }));
    identities.set(id, identity);
    return identity;
  }

  function resolveFor(id: string, value: unknown, path: string): unknown {
    const before = current;
    current = id;
    try {
      const resolved = resolve(value, scope, `Resources.${id}.${path}`);
      return typeof resolved === 'symbol' ? undefined : resolved;
    } finally {
      current = before;
    }
  }

  for (const name of Object.keys(template.Conditions ?? {})) scope.condition(name);
  const existing = [...raw.keys()].filter(exists);
  for (const id of existing) edges.set(id, new Set());
  const resources = new Map<string, Resource>();
  for (const id of existing) {
    const source = raw.get(id) as Expanded;
    const unknown = Object.keys(source).find((attribute) => !resourceAttributes.has(attribute));
    if (unknown) throw new NotModelled(`${id}: resource attribute ${unknown}`);
    const { ref, arn, attributes } = identityOf(id);
    const { Events, EventInvokeConfig, ...kept } = source.Properties ?? {};
    const properties = (resolveFor(id, kept, 'Properties') ?? {}) as Properties;
    // SAM makes resources of their own from these: the function itself does not depend on what they name.
    if (Events) properties.Events = resolve(Events, scope, `Resources.${id}.Properties.Events`);
    if (EventInvokeConfig)
      properties.EventInvokeConfig = resolve(EventInvokeConfig, scope, `Resources.${id}`);
    if (source.Metadata) resolveFor(id, source.Metadata, 'Metadata');
    for (const dependency of [source.DependsOn ?? []].flat()) {
      if (!raw.has(dependency))
        throw new TemplateError(`${id} depends on ${dependency}, which is not a resource`);
      if (exists(dependency)) edges.get(id)?.add(dependency);
    }
    const definition = definitionOf(id, source.Type, properties, folder);
    resources.set(id, {
      type: source.Type,
      properties: withoutUndefined(definition ? { ...properties, Definition: definition } : properties),
      physicalId: ref,
      ...(arn && { arn }),
      attributes,
      dependsOn: [],
      ...(source.Metadata && { metadata: source.Metadata }),
      ...(source.DeletionPolicy && { deletionPolicy: source.DeletionPolicy }),
      ...(source.UpdateReplacePolicy && { updateReplacePolicy: source.UpdateReplacePolicy }),
      ...(source.generatedBy && { generatedBy: source.generatedBy }),
      ...(source.routes && { routes: source.routes }),
    });
  }
  for (const [id, resource] of resources) resource.dependsOn = [...(edges.get(id) ?? [])].sort();
  refuseCircles(edges);

  const outputs: Record<string, unknown> = {};
  for (const [name, output] of Object.entries<Properties>(template.Outputs ?? {})) {
    if (output.Condition !== undefined && !scope.condition(output.Condition)) continue;
    outputs[name] = resolve(output.Value, scope, `Outputs.${name}`);
  }
  return { ...stack, parameters, conditions, resources, outputs };
}

/** SAM writes down options that were not given as undefined. */
function withoutUndefined<T>(value: T): T {
  if (Array.isArray(value)) return value.map(withoutUndefined) as T;
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([, item]) => item !== undefined);
  return Object.fromEntries(entries.map(([key, item]) => [key, withoutUndefined(item)])) as T;
}

/** The ASL of a state machine, from its own file or inline, with `${Name}` replaced by DefinitionSubstitutions. */
function definitionOf(id: string, type: string, properties: Properties, folder: string): unknown {
  if (type !== 'AWS::Serverless::StateMachine' && type !== 'AWS::StepFunctions::StateMachine')
    return undefined;
  const { DefinitionUri, Definition, DefinitionString, DefinitionSubstitutions = {} } = properties;
  if (DefinitionUri !== undefined && typeof DefinitionUri !== 'string')
    throw new NotModelled(`${id}: DefinitionUri`);
  const path = DefinitionUri && resolvePath(folder, DefinitionUri);
  const source = path
    ? parseTemplate(readFileSync(path, 'utf8'), path)
    : (Definition ?? parseTemplate(String(DefinitionString), id));
  const replace = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(replace);
    if (typeof value === 'object' && value !== null) {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, replace(item)]));
    }
    if (typeof value !== 'string') return value;
    return value.replace(/\$\{([A-Za-z0-9_]+)\}/g, (whole, name: string) => {
      if (!(name in DefinitionSubstitutions)) {
        throw new TemplateError(`${id}: ${whole} in the definition is not in DefinitionSubstitutions`);
      }
      return String(DefinitionSubstitutions[name]);
    });
  };
  return replace(source);
}

function refuseCircles(edges: Map<string, Set<string>>): void {
  const done = new Set<string>();
  const visit = (id: string, path: string[]) => {
    if (path.includes(id)) {
      throw new TemplateError(`circular dependency: ${[...path.slice(path.indexOf(id)), id].join(' → ')}`);
    }
    if (done.has(id)) return;
    for (const next of edges.get(id) ?? []) visit(next, [...path, id]);
    done.add(id);
  };
  for (const id of edges.keys()) visit(id, []);
}
