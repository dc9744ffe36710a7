import { NotModelled } from '../iam/not-modelled.ts';
import { TemplateError } from './template-error.ts';

// biome-ignore lint/suspicious/noExplicitAny: templates as written, different for each type
export type Properties = Record<string, any>;

export interface RawResource {
  Type: string;
  Properties?: Properties;
  Condition?: string;
  DependsOn?: string | string[];
  Metadata?: Properties;
  DeletionPolicy?: string;
  UpdateReplacePolicy?: string;
}

/** A resource of the template, or one that SAM makes from it. */
export interface Expanded extends RawResource {
  generatedBy?: string;
  routes?: Route[];
}

export interface Route {
  /** Upper case, or ANY. */
  method: string;
  /** `/orders/{Id}/parcels` */
  path: string;
  functionLogicalId: string;
  /** AWS_IAM, NONE or a name of the API's own authorizers. */
  authorizer: string;
  /** The model that the body is validated against, if any. */
  requestModel?: string;
}

const globalsOf: Record<string, string> = {
  Function: 'AWS::Serverless::Function',
  Api: 'AWS::Serverless::Api',
  StateMachine: 'AWS::Serverless::StateMachine',
  LayerVersion: 'AWS::Serverless::LayerVersion',
};

const getArn = (logicalId: string) => ({ 'Fn::GetAtt': [logicalId, 'Arn'] });

/**
 * What the SAM transform adds to a template, with its logical ids (compared with aws-sam-translator 1.115):
 * Globals merged in, event rules, schedules, permissions, dead-letter queues, roles, stages. Functions, APIs,
 * layers and state machines keep their SAM type and properties. Throws NotModelled for what is not here.
 */
export function expandSam(
  resources: Record<string, RawResource>,
  globals: Properties,
): Map<string, Expanded> {
  const unknown = Object.keys(globals).find((section) => !globalsOf[section]);
  if (unknown) throw new NotModelled(`Globals.${unknown}`);
  const expanded = new Map<string, Expanded>();
  for (const [id, resource] of Object.entries(resources)) {
    const section = Object.keys(globalsOf).find((name) => globalsOf[name] === resource.Type);
    const common = section ? globals[section] : undefined;
    expanded.set(
      id,
      common ? { ...resource, Properties: merge(common, resource.Properties ?? {}) } : resource,
    );
  }
  const add = (owner: string, id: string, resource: RawResource) => {
    if (expanded.has(id)) throw new TemplateError(`${id}, which SAM makes for ${owner}, is there already`);
    const Condition = expanded.get(owner)?.Condition;
    expanded.set(id, { ...resource, ...(Condition && { Condition }), generatedBy: owner });
  };
  for (const [id, resource] of [...expanded]) {
    if (resource.Type === 'AWS::Serverless::Api') expandApi(id, resource, add);
    if (resource.Type === 'AWS::Serverless::Function') expandFunction(id, resource, expanded, add);
    if (resource.Type === 'AWS::Serverless::StateMachine') expandStateMachine(id, resource, add);
  }
  return expanded;
}

type Add = (owner: string, id: string, resource: RawResource) => void;

/** Globals: maps are merged, lists are joined (the global part first), the resource's own value wins. */
function merge(common: unknown, own: unknown): Properties {
  if (Array.isArray(common) && Array.isArray(own)) return [...common, ...own] as unknown as Properties;
  const isMap = (value: unknown): value is Properties =>
    typeof value === 'object' && value !== null && !Array.isArray(value) && !isCall(value);
  if (!isMap(common) || !isMap(own)) return own as Properties;
  const result: Properties = { ...common };
  for (const [key, value] of Object.entries(own)) {
    result[key] = key in common ? merge(common[key], value) : value;
  }
  return result;
}

const isCall = (value: object) => Object.keys(value).some((key) => key === 'Ref' || key.startsWith('Fn::'));

function expandApi(id: string, { Properties = {} }: Expanded, add: Add): void {
  const { StageName, AccessLogSetting, MethodSettings, TracingEnabled, Variables } = Properties;
  for (const key of ['DefinitionBody', 'DefinitionUri', 'Domain', 'CanarySetting']) {
    if (Properties[key] !== undefined) throw new NotModelled(`${id}: ${key}`);
  }
  if (typeof StageName !== 'string') throw new NotModelled(`${id}: a StageName that is no literal`);
  add(id, `${id}${StageName}Stage`, {
    Type: 'AWS::ApiGateway::Stage',
    Properties: {
      RestApiId: { Ref: id },
      StageName,
      AccessLogSetting,
      MethodSettings,
      TracingEnabled,
      Variables,
    },
  });
}

function expandFunction(id: string, resource: Expanded, all: Map<string, Expanded>, add: Add): void {
  const properties = resource.Properties ?? {};
  for (const key of ['AutoPublishAlias', 'FunctionUrlConfig', 'DeploymentPreference', 'Connectors']) {
    if (properties[key] !== undefined) throw new NotModelled(`${id}: ${key}`);
  }
  if (properties.Role === undefined) {
    add(id, `${id}Role`, functionRole(id, properties));
    resource.Properties = { ...properties, Role: getArn(`${id}Role`) };
  }
  if (properties.EventInvokeConfig) expandEventInvokeConfig(id, properties.EventInvokeConfig, add);
  for (const [name, event] of Object.entries<Properties>(properties.Events ?? {})) {
    const eventId = `${id}${name}`;
    const { Type, Properties: options = {} } = event;
    if (Type === 'Api') expandRoute(id, eventId, options, all, add);
    else if (Type === 'EventBridgeRule' || Type === 'CloudWatchEvent' || Type === 'Schedule') {
      expandRule(id, eventId, Type, options, add);
    } else if (Type === 'ScheduleV2') expandSchedule(id, eventId, options, add);
    else throw new NotModelled(`${id}: event ${name} of type ${Type}`);
  }
}

function functionRole(
  id: string,
  { Policies = [], Tracing, AssumeRolePolicyDocument }: Properties,
): RawResource {
  const policies = (Array.isArray(Policies) ? Policies : [Policies]) as (string | Properties)[];
  const documents = policies.filter((policy): policy is Properties => typeof policy !== 'string');
  if (documents.some((policy) => !policy.Statement)) throw new NotModelled(`${id}: SAM policy templates`);
  if (Tracing && Tracing !== 'Disabled') throw new NotModelled(`${id}: Tracing on a function without a Role`);
  return {
    Type: 'AWS::IAM::Role',
    Properties: {
      AssumeRolePolicyDocument: AssumeRolePolicyDocument ?? trust('lambda.amazonaws.com'),
      ManagedPolicyArns: policies.filter((policy) => typeof policy === 'string'),
      Policies: documents.map((PolicyDocument, index) => ({
        PolicyName: `${id}RolePolicy${index}`,
        PolicyDocument,
      })),
    },
  };
}

const trust = (Service: string) => ({
  Version: '2012-10-17',
  Statement: [{ Action: ['sts:AssumeRole'], Effect: 'Allow', Principal: { Service: [Service] } }],
});

function expandEventInvokeConfig(id: string, options: Properties, add: Add): void {
  const { MaximumRetryAttempts, MaximumEventAgeInSeconds, DestinationConfig = {} } = options;
  const configId = `${id}EventInvokeConfig`;
  const destinations: Properties = {};
  for (const [kind, target] of Object.entries<Properties>(DestinationConfig)) {
    let { Destination } = target;
    if (!Destination) {
      const made = { SQS: 'Queue', SNS: 'Topic' }[target.Type as string];
      if (!made) throw new NotModelled(`${id}: destination of type ${target.Type}`);
      const madeId = `${configId}${kind}${made}`;
      add(id, madeId, { Type: made === 'Queue' ? 'AWS::SQS::Queue' : 'AWS::SNS::Topic' });
      Destination = made === 'Queue' ? getArn(madeId) : { Ref: madeId };
    }
    destinations[kind] = { Destination };
  }
  add(id, configId, {
    Type: 'AWS::Lambda::EventInvokeConfig',
    Properties: {
      FunctionName: { Ref: id },
      Qualifier: '$LATEST',
      MaximumRetryAttempts,
      MaximumEventAgeInSeconds,
      DestinationConfig: destinations,
    },
  });
}

function permission(owner: string, Principal: string, SourceArn: unknown): RawResource {
  return {
    Type: 'AWS::Lambda::Permission',
    Properties: { Action: 'lambda:InvokeFunction', FunctionName: { Ref: owner }, Principal, SourceArn },
  };
}

function expandRoute(
  owner: string,
  eventId: string,
  options: Properties,
  all: Map<string, Expanded>,
  add: Add,
): void {
  const apiId = options.RestApiId?.Ref;
  const api = apiId ? all.get(apiId) : undefined;
  if (api?.Type !== 'AWS::Serverless::Api')
    throw new NotModelled(`${eventId}: RestApiId must be a Ref to an API here`);
  const method = String(options.Method).toUpperCase();
  const path = String(options.Path);
  // As SAM writes it: each path parameter is a `*`.
  const pattern = path.replace(/\{[^}]*\}/g, '*');
  add(
    owner,
    `${eventId}Permission${api.Properties?.StageName}`,
    permission(owner, 'apigateway.amazonaws.com', {
      'Fn::Sub': [
        `arn:\${AWS::Partition}:execute-api:\${AWS::Region}:\${AWS::AccountId}:\${Api}/*/${method === 'ANY' ? '*' : method}${pattern}`,
        { Api: { Ref: apiId } },
      ],
    }),
  );
  const route: Route = {
    method,
    path,
    functionLogicalId: owner,
    authorizer: options.Auth?.Authorizer ?? api.Properties?.Auth?.DefaultAuthorizer ?? 'NONE',
    ...(options.RequestModel && { requestModel: options.RequestModel.Model }),
  };
  api.routes = [...(api.routes ?? []), route];
  // The API's body holds the function's ARN: a function that refers to the API makes a circle.
  api.DependsOn = [
    ...(Array.isArray(api.DependsOn) ? api.DependsOn : api.DependsOn ? [api.DependsOn] : []),
    owner,
  ];
}

/** Rules that start a state machine: each has a role of its own, which may do nothing else. */
function expandStateMachine(id: string, { Properties = {} }: Expanded, add: Add): void {
  for (const [name, { Type, Properties: options = {} }] of Object.entries<Properties>(
    Properties.Events ?? {},
  )) {
    const eventId = `${id}${name}`;
    if (Type !== 'EventBridgeRule') throw new NotModelled(`${id}: event ${name} of type ${Type}`);
    if (options.RoleArn || options.Target) throw new NotModelled(`${id}: RoleArn or Target of event ${name}`);
    addRule(id, eventId, options, add, {
      Id: `${eventId}StepFunctionsTarget`,
      Arn: { Ref: id },
      RoleArn: getArn(`${eventId}Role`),
    });
    add(id, `${eventId}Role`, {
      Type: 'AWS::IAM::Role',
      Properties: {
        AssumeRolePolicyDocument: trust('events.amazonaws.com'),
        Policies: [
          {
            PolicyName: `${eventId}RoleStartExecutionPolicy`,
            PolicyDocument: {
              Statement: [{ Action: 'states:StartExecution', Effect: 'Allow', Resource: { Ref: id } }],
            },
          },
        ],
      },
    });
  }
}

function addRule(
  owner: string,
  eventId: string,
  options: Properties,
  add: Add,
  target: Properties,
  isSchedule = false,
): void {
  const { Name, RuleName, Description, State, EventBusName, Pattern, Schedule } = options;
  const queue = deadLetterQueue(owner, eventId, options, add);
  add(owner, eventId, {
    Type: 'AWS::Events::Rule',
    Properties: {
      Name: isSchedule ? Name : RuleName,
      Description,
      EventBusName,
      State,
      ...(isSchedule ? { ScheduleExpression: Schedule } : { EventPattern: Pattern }),
      Targets: [
        {
          ...target,
          Input: options.Input,
          InputPath: options.InputPath,
          InputTransformer: options.InputTransformer,
          RetryPolicy: options.RetryPolicy,
          DeadLetterConfig: queue && { Arn: queue },
        },
      ],
    },
  });
}

function expandRule(owner: string, eventId: string, type: string, options: Properties, add: Add): void {
  const { Enabled, State = Enabled === undefined ? undefined : Enabled ? 'ENABLED' : 'DISABLED' } = options;
  const target = { Id: options.Target?.Id ?? `${eventId}LambdaTarget`, Arn: getArn(owner) };
  addRule(owner, eventId, { ...options, State }, add, target, type === 'Schedule');
  add(owner, `${eventId}Permission`, permission(owner, 'events.amazonaws.com', getArn(eventId)));
}

/** ARN of the queue; with `Type: SQS` SAM makes it, and the policy that lets the rule send to it. */
function deadLetterQueue(
  owner: string,
  eventId: string,
  { DeadLetterConfig }: Properties,
  add: Add,
): unknown {
  if (!DeadLetterConfig) return undefined;
  if (DeadLetterConfig.Arn) return DeadLetterConfig.Arn;
  if (DeadLetterConfig.Type !== 'SQS') throw new NotModelled(`${eventId}: DeadLetterConfig`);
  const queueId = DeadLetterConfig.QueueLogicalId ?? `${eventId}Queue`;
  add(owner, queueId, { Type: 'AWS::SQS::Queue' });
  add(owner, `${eventId}QueuePolicy`, {
    Type: 'AWS::SQS::QueuePolicy',
    Properties: {
      Queues: [{ Ref: queueId }],
      PolicyDocument: {
        Version: '2012-10-17',
        Statement: [
          {
            Effect: 'Allow',
            Action: 'sqs:SendMessage',
            Principal: { Service: 'events.amazonaws.com' },
            Resource: getArn(queueId),
            Condition: { ArnEquals: { 'aws:SourceArn': getArn(eventId) } },
          },
        ],
      },
    },
  });
  return getArn(queueId);
}

function expandSchedule(owner: string, eventId: string, options: Properties, add: Add): void {
  const { RoleArn, PermissionsBoundary, OmitName, DeadLetterConfig } = options;
  if (PermissionsBoundary || OmitName) throw new NotModelled(`${eventId}: PermissionsBoundary or OmitName`);
  if (DeadLetterConfig && !DeadLetterConfig.Arn) throw new NotModelled(`${eventId}: a queue made by SAM`);
  const roleId = `${eventId}Role`;
  if (!RoleArn) {
    const allow = (PolicyName: string, Action: string, Resource: unknown) => ({
      PolicyName,
      PolicyDocument: { Statement: [{ Effect: 'Allow', Action, Resource }] },
    });
    add(owner, roleId, {
      Type: 'AWS::IAM::Role',
      Properties: {
        AssumeRolePolicyDocument: trust('scheduler.amazonaws.com'),
        Policies: [
          allow(`${eventId}LambdaPolicy`, 'lambda:InvokeFunction', getArn(owner)),
          ...(DeadLetterConfig
            ? [allow(`${eventId}SQSPolicy`, 'sqs:SendMessage', DeadLetterConfig.Arn)]
            : []),
        ],
      },
    });
  }
  add(owner, eventId, {
    Type: 'AWS::Scheduler::Schedule',
    Properties: {
      Name: options.Name ?? eventId,
      Description: options.Description,
      GroupName: options.GroupName,
      State: options.State,
      ScheduleExpression: options.ScheduleExpression,
      ScheduleExpressionTimezone: options.ScheduleExpressionTimezone,
      FlexibleTimeWindow: options.FlexibleTimeWindow ?? { Mode: 'OFF' },
      Target: {
        Arn: getArn(owner),
        RoleArn: RoleArn ?? getArn(roleId),
        Input: options.Input,
        RetryPolicy: options.RetryPolicy,
        DeadLetterConfig,
      },
    },
  });
}
