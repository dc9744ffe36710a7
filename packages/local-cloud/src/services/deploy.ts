import { isDeepStrictEqual } from 'node:util';
import type { Services } from '../cloud.ts';
import { NotModelled } from '../iam/not-modelled.ts';
import { managedPoliciesOf, resourcePoliciesOf, rolesOf } from '../templates/policies.ts';
import type { Deployed, Resource } from '../templates/resolve-template.ts';
import type { Handler } from './lambda.ts';
import { parseArn } from './service.ts';

/** Types that need nothing here: their effect is not modelled, or another resource already carries it. */
const withoutEffect = new Set([
  'AWS::ApiGateway::Account', // log delivery
  'AWS::ApiGateway::Stage', // its name stands in the API as well
  'AWS::CloudWatch::Alarm',
  'AWS::CloudWatch::CompositeAlarm',
  'AWS::CloudWatch::Dashboard',
  'AWS::IAM::ManagedPolicy', // see managedPoliciesOf
  'AWS::IAM::Role', // see rolesOf
  'AWS::Lambda::Permission', // see resourcePoliciesOf
  'AWS::Logs::LogGroup',
  'AWS::Logs::MetricFilter',
  'AWS::Logs::QueryDefinition',
  'AWS::SNS::TopicPolicy', // see resourcePoliciesOf
  'AWS::SQS::QueuePolicy', // see resourcePoliciesOf
  'AWS::Serverless::LayerVersion', // see CodeOf
]);

/** A function as the template declares it. */
export interface DeclaredFunction {
  logicalId: string;
  /** `Handler` of the template: `<module>.<export>`. */
  handler: string;
}

/** The code of a function: a handler in this process, or a built module, which runs in workers. */
export type FunctionCode = Handler | { file: string; layerFolder?: string };

/** Where the code of functions comes from. */
export type CodeOf = (declared: DeclaredFunction) => FunctionCode;

/** Creates in the services what a resolved template says. Throws NotModelled for types that are not known. */
export async function deploy(deployed: Deployed, services: Services, codeOf: CodeOf): Promise<void> {
  const { account, region } = deployed;
  for (const [arn, document] of managedPoliciesOf(deployed))
    services.identities.putManagedPolicy(arn, document);
  for (const { name, trustPolicy, inlinePolicies, managedPolicyArns, tags } of rolesOf(deployed)) {
    const role = [...deployed.resources.values()].find(
      ({ type, physicalId }) => type === 'AWS::IAM::Role' && physicalId === name,
    );
    const maxSessionSeconds = role?.properties.MaxSessionDuration ?? 3600;
    const path = role?.properties.Path ?? '/';
    services.identities.createRole(account, {
      name,
      path,
      trustPolicy,
      inlinePolicies,
      managedPolicyArns,
      tags,
      maxSessionSeconds,
      // CloudFormation goes on when a role can be used.
      isKnownAtOnce: true,
    });
  }
  // What others refer to comes first; the rest in the template's order.
  const order = [
    'AWS::SSM::Document',
    'AWS::SQS::Queue',
    'AWS::SNS::Topic',
    'AWS::DynamoDB::Table',
    'AWS::Serverless::Function',
  ];
  const rank = ({ type }: Resource) => order.indexOf(type) + 1 || order.length + 1;
  const sorted = [...deployed.resources].sort(([, a], [, b]) => rank(a) - rank(b));
  for (const [logicalId, resource] of sorted) {
    if (withoutEffect.has(resource.type)) continue;
    const create = creators[resource.type];
    if (!create) throw new NotModelled(`${logicalId}: resource type ${resource.type}`);
    await create({
      logicalId,
      resource,
      deployed,
      services,
      codeOf,
      account,
      region,
      arn: resource.arn ?? '',
    });
  }
  for (const [arn, policy] of resourcePoliciesOf(deployed)) {
    const service = parseArn(arn)?.service;
    if (service === 'lambda') services.lambda.setPolicy(arn, policy);
    else if (service === 'sqs') services.sqs.setPolicy(arn, policy);
    else if (service === 'sns') services.sns.setPolicy(arn, policy);
    else throw new NotModelled(`resource policy of ${arn}`);
  }
}

/**
 * Makes of a stack what another deployment makes of it: what is the same stays as it is, tables with their items. Of the rest
 * only the configuration of functions is known. Throws NotModelled for any other change.
 */
export function update(before: Deployed, after: Deployed, services: Services): void {
  const ids = [...new Set([...before.resources.keys(), ...after.resources.keys()])];
  const changed = ids.filter((id) => !isDeepStrictEqual(before.resources.get(id), after.resources.get(id)));
  for (const id of changed) {
    const [old, now] = [before.resources.get(id), after.resources.get(id)];
    if (!old || !now || !isDeepStrictEqual(withoutConfiguration(old), withoutConfiguration(now)))
      throw new NotModelled(`an update that changes ${id}`);
  }
  for (const id of changed) {
    const { arn = '', properties } = after.resources.get(id) as Resource;
    services.lambda.reconfigure(arn, configurationOf(properties));
  }
}

function withoutConfiguration(resource: Resource): object {
  const { Environment: _, Timeout: __, MemorySize: ___, ...properties } = resource.properties;
  return resource.type === 'AWS::Serverless::Function' ? { ...resource, properties } : resource;
}

const configurationOf = (properties: Resource['properties']) => ({
  // CloudFormation makes strings of numbers and booleans.
  environment: Object.fromEntries(
    Object.entries(properties.Environment?.Variables ?? {}).map(([name, value]) => [name, String(value)]),
  ),
  timeoutSeconds: Number(properties.Timeout ?? 3),
  memoryMegabytes: Number(properties.MemorySize ?? 128),
});

interface Creation {
  logicalId: string;
  resource: Resource;
  deployed: Deployed;
  services: Services;
  codeOf: CodeOf;
  account: string;
  region: string;
  arn: string;
}

const creators: Record<string, (creation: Creation) => void | Promise<void>> = {
  'AWS::SSM::Document': ({ resource: { properties, physicalId }, services, account, region }) => {
    if (typeof properties.Content === 'string') throw new NotModelled('SSM document content as text');
    services.ssmDocuments.create(account, region, {
      name: physicalId,
      type: properties.DocumentType ?? 'Command',
      content: properties.Content,
      tags: tagsOf(properties.Tags),
    });
  },
  'AWS::SQS::Queue': ({ arn, services }) => services.sqs.createQueue(arn),
  'AWS::SNS::Topic': ({ arn, services }) => services.sns.createTopic(arn),
  // Messages are kept in the topic: nothing is delivered.
  'AWS::SNS::Subscription': ({ resource: { properties }, services }) =>
    services.sns.subscribe(properties.TopicArn, properties.Protocol, properties.Endpoint),
  'AWS::DynamoDB::Table': ({ resource: { properties, physicalId }, services, account, region }) =>
    services.dynamoDb.createTable(account, region, { ...properties, TableName: physicalId }),
  'AWS::Serverless::Function': createFunction,
  'AWS::Serverless::StateMachine': async ({ arn, resource: { properties }, services, account, region }) => {
    if ((properties.Type ?? 'STANDARD') !== 'STANDARD')
      throw new NotModelled(`state machine type ${properties.Type}`);
    const { Role: roleArn, Definition: definition } = properties;
    // The template need not name it; its ARN has the name in any case.
    const name = arn.split(':').at(-1) as string;
    await services.stepFunctions.createStateMachine({ name, account, region, roleArn, definition });
  },
  'AWS::Serverless::Api': ({ logicalId, resource, deployed, services, account, region }) => {
    const routes = (resource.routes ?? []).map(
      ({ method, path, functionLogicalId, authorizer, requestModel }) => {
        if (authorizer !== 'AWS_IAM')
          throw new NotModelled(`${logicalId} ${method} ${path}: authorizer ${authorizer}`);
        if (requestModel) throw new NotModelled(`${logicalId} ${method} ${path}: request model`);
        return { method, path, functionArn: deployed.resources.get(functionLogicalId)?.arn ?? '' };
      },
    );
    const { StageName: stage, Auth } = resource.properties;
    if ((Auth?.InvokeRole ?? 'CALLER_CREDENTIALS') !== 'NONE')
      throw new NotModelled(`${logicalId}: InvokeRole`);
    if (Auth?.ResourcePolicy) throw new NotModelled(`${logicalId}: ResourcePolicy`);
    const { REQUEST_TOO_LARGE: answer, ...others } = resource.properties.GatewayResponses ?? {};
    const { StatusCode = 413, ResponseTemplates = {}, ...parts } = answer ?? {};
    if (Object.keys({ ...others, ...parts }).length > 0 || Number(StatusCode) !== 413)
      throw new NotModelled(`${logicalId}: GatewayResponses`);
    const tooLarge: string | undefined = ResponseTemplates['application/json'];
    services.apiGateway.createApi({
      id: resource.physicalId,
      account,
      region,
      stage,
      routes,
      ...(tooLarge === undefined ? {} : { tooLarge }),
    });
  },
  'AWS::Lambda::EventInvokeConfig': ({ resource: { properties }, deployed, services, account, region }) => {
    const { FunctionName, MaximumRetryAttempts, MaximumEventAgeInSeconds, DestinationConfig } = properties;
    const { OnFailure, ...others } = DestinationConfig ?? {};
    if (Object.keys(others).length > 0) throw new NotModelled('destinations but OnFailure');
    services.lambda.configureAsync(
      `arn:${deployed.partition}:lambda:${region}:${account}:function:${FunctionName}`,
      {
        ...(MaximumRetryAttempts === undefined ? {} : { maximumRetryAttempts: MaximumRetryAttempts }),
        ...(MaximumEventAgeInSeconds === undefined
          ? {}
          : { maximumEventAgeSeconds: MaximumEventAgeInSeconds }),
        ...(OnFailure ? { onFailure: OnFailure.Destination } : {}),
      },
    );
  },
  'AWS::Events::Rule': ({ arn, resource: { properties }, services, account, region }) => {
    if (properties.ScheduleExpression)
      throw new NotModelled('scheduled rules (use AWS::Scheduler::Schedule)');
    services.events.putRule({
      arn,
      account,
      region,
      busName: String(properties.EventBusName ?? 'default')
        .split('/')
        .at(-1) as string,
      pattern: properties.EventPattern,
      targets: properties.Targets ?? [],
      enabled: (properties.State ?? 'ENABLED') === 'ENABLED',
    });
  },
  'AWS::Events::EventBus': ({ arn, services }) => services.events.createBus(arn),
  'AWS::Scheduler::Schedule': ({ arn, resource: { properties, physicalId }, services, account, region }) => {
    services.events.putSchedule({
      arn,
      name: physicalId,
      account,
      region,
      expression: properties.ScheduleExpression,
      target: properties.Target,
      enabled: (properties.State ?? 'ENABLED') === 'ENABLED',
    });
  },
};

function createFunction({
  logicalId,
  resource: { properties, physicalId },
  services,
  codeOf,
  account,
  region,
}: Creation): void {
  const code = codeOf({ logicalId, handler: String(properties.Handler) });
  services.lambda.createFunction({
    account,
    region,
    name: physicalId,
    roleArn: properties.Role,
    handlerName: String(properties.Handler).split('.')[1] ?? 'handler',
    ...(typeof code === 'function'
      ? { handler: code }
      : {
          handlerFile: code.file,
          ...(code.layerFolder === undefined ? {} : { layerFolder: code.layerFolder }),
        }),
    ...configurationOf(properties),
    tracing: properties.Tracing === 'Active',
  });
}

/** AWS::SSM::Document takes a list of tags. */
function tagsOf(tags: { Key: string; Value: string }[] = []): Record<string, string> {
  return Object.fromEntries(tags.map(({ Key, Value }) => [Key, Value]));
}
