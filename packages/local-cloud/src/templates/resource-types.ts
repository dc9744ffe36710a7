import { createHash } from 'node:crypto';

/** What a resource type needs to know to name itself. */
interface Naming {
  account: string;
  region: string;
  partition: string;
  stackName: string;
  logicalId: string;
  /** One property, resolved; others need not be resolved yet. */
  property(name: string): unknown;
}

export interface Identity {
  /** What Ref gives. */
  ref: string;
  arn?: string;
  /** What GetAtt gives. */
  attributes: Record<string, unknown>;
}

type Describe = (naming: Naming) => Identity;

/** Deterministic in place of CloudFormation's random characters. */
export function randomPart({ account, region, stackName, logicalId }: Naming, length = 12): string {
  const digest = createHash('sha256')
    .update([account, region, stackName, logicalId].join('\0'))
    .digest('hex');
  return BigInt(`0x${digest}`).toString(36).slice(0, length);
}

/** The explicit name, or `<stack>-<logical id>-<random>` cut to the limit of the strictest types (64). */
function nameOf(naming: Naming, property: string): string {
  const explicit = naming.property(property);
  if (typeof explicit === 'string' && explicit !== '') return explicit;
  const suffix = `-${randomPart(naming).toUpperCase()}`;
  return `${naming.stackName}-${naming.logicalId}`.slice(0, 64 - suffix.length) + suffix;
}

const arn = ({ partition, region, account }: Naming, service: string, rest: string) =>
  `arn:${partition}:${service}:${region}:${account}:${rest}`;

/** Types whose Ref is the name and whose ARN ends in it. */
const named =
  (nameProperty: string, service: string, prefix: string, attributes: string[] = ['Arn']): Describe =>
  (naming) => {
    const name = nameOf(naming, nameProperty);
    const own = arn(naming, service, `${prefix}${name}`);
    return { ref: name, arn: own, attributes: Object.fromEntries(attributes.map((key) => [key, own])) };
  };

/** IAM has no Region, and names may have a path. */
const iam =
  (
    nameProperty: string,
    prefix: string,
    build: (name: string, own: string, naming: Naming) => Identity,
  ): Describe =>
  (naming) => {
    const name = nameOf(naming, nameProperty);
    const path = String(naming.property('Path') ?? '/');
    return build(name, `arn:${naming.partition}:iam::${naming.account}:${prefix}${path}${name}`, naming);
  };

/** Types that have no ARN, or none that anything here needs. */
const plain =
  (nameProperty = 'Name'): Describe =>
  (naming) => ({ ref: nameOf(naming, nameProperty), attributes: {} });

const stateMachine =
  (nameProperty: string): Describe =>
  (naming) => {
    const name = nameOf(naming, nameProperty);
    const own = arn(naming, 'states', `stateMachine:${name}`);
    return { ref: own, arn: own, attributes: { Arn: own, Name: name } };
  };

const layer =
  (attributes: (own: string) => Record<string, string>): Describe =>
  (naming) => {
    const name = naming.property('LayerName') ?? naming.logicalId;
    const own = arn(naming, 'lambda', `layer:${name}:1`);
    return { ref: own, arn: own, attributes: attributes(own) };
  };

const restApi: Describe = (naming) => {
  const id = randomPart(naming, 10);
  const own = `arn:${naming.partition}:apigateway:${naming.region}::/restapis/${id}`;
  return { ref: id, arn: own, attributes: { RestApiId: id, RootResourceId: randomPart(naming, 9) } };
};

/** CloudFormation and SAM types as far as templates here use them; physical ids as each type's page says. */
export const resourceTypes: Record<string, Describe> = {
  'AWS::ApiGateway::Account': plain(),
  'AWS::ApiGateway::Deployment': plain(),
  'AWS::ApiGateway::GatewayResponse': plain(),
  'AWS::ApiGateway::RestApi': restApi,
  'AWS::ApiGateway::Stage': (naming) => ({ ref: String(naming.property('StageName')), attributes: {} }),
  'AWS::CloudWatch::Alarm': named('AlarmName', 'cloudwatch', 'alarm:'),
  'AWS::CloudWatch::CompositeAlarm': named('AlarmName', 'cloudwatch', 'alarm:'),
  'AWS::CloudWatch::Dashboard': plain('DashboardName'),
  'AWS::DynamoDB::Table': (naming) => {
    const name = nameOf(naming, 'TableName');
    const own = arn(naming, 'dynamodb', `table/${name}`);
    const stream = `${own}/stream/2026-01-01T00:00:00.000`;
    return { ref: name, arn: own, attributes: { Arn: own, StreamArn: stream } };
  },
  'AWS::Events::EventBus': named('Name', 'events', 'event-bus/'),
  'AWS::Events::EventBusPolicy': plain('StatementId'),
  'AWS::Events::Rule': (naming) => {
    const name = nameOf(naming, 'Name');
    const bus = naming.property('EventBusName');
    const inBus = bus && bus !== 'default' ? `${bus}/` : '';
    const own = arn(naming, 'events', `rule/${inBus}${name}`);
    return { ref: inBus ? `${bus}|${name}` : name, arn: own, attributes: { Arn: own } };
  },
  'AWS::IAM::InstanceProfile': iam('InstanceProfileName', 'instance-profile', (name, own) => ({
    ref: name,
    arn: own,
    attributes: { Arn: own },
  })),
  'AWS::IAM::ManagedPolicy': iam('ManagedPolicyName', 'policy', (_name, own) => ({
    ref: own,
    arn: own,
    attributes: { PolicyArn: own },
  })),
  'AWS::IAM::Policy': plain('PolicyName'),
  'AWS::IAM::RolePolicy': plain('PolicyName'),
  'AWS::IAM::Role': iam('RoleName', 'role', (name, own, naming) => ({
    ref: name,
    arn: own,
    attributes: { Arn: own, RoleId: `AROA${randomPart(naming, 17).toUpperCase()}` },
  })),
  'AWS::KMS::Alias': plain('AliasName'),
  'AWS::KMS::Key': (naming) => {
    const id = randomPart(naming, 36);
    const own = arn(naming, 'kms', `key/${id}`);
    return { ref: id, arn: own, attributes: { Arn: own, KeyId: id } };
  },
  'AWS::Lambda::EventInvokeConfig': plain(),
  'AWS::Lambda::Function': named('FunctionName', 'lambda', 'function:'),
  'AWS::Lambda::LayerVersion': layer((own) => ({ LayerVersionArn: own })),
  'AWS::Lambda::Permission': plain(),
  'AWS::Logs::LogGroup': (naming) => {
    const name = nameOf(naming, 'LogGroupName');
    const own = arn(naming, 'logs', `log-group:${name}:*`);
    return { ref: name, arn: own, attributes: { Arn: own } };
  },
  'AWS::Logs::MetricFilter': plain('FilterName'),
  'AWS::Logs::QueryDefinition': plain(),
  'AWS::Logs::ResourcePolicy': plain('PolicyName'),
  'AWS::SNS::Subscription': plain(),
  'AWS::SNS::Topic': (naming) => {
    const name = nameOf(naming, 'TopicName');
    const own = arn(naming, 'sns', name);
    return { ref: own, arn: own, attributes: { TopicArn: own, TopicName: name } };
  },
  'AWS::SNS::TopicPolicy': plain(),
  'AWS::SQS::Queue': (naming) => {
    const name = nameOf(naming, 'QueueName');
    const own = arn(naming, 'sqs', name);
    const suffix = naming.partition === 'aws-cn' ? 'amazonaws.com.cn' : 'amazonaws.com';
    const url = `https://sqs.${naming.region}.${suffix}/${naming.account}/${name}`;
    return { ref: url, arn: own, attributes: { Arn: own, QueueName: name, QueueUrl: url } };
  },
  'AWS::SQS::QueuePolicy': plain(),
  'AWS::SSM::Document': named('Name', 'ssm', 'document/', []),
  'AWS::SSM::Parameter': named('Name', 'ssm', 'parameter/', []),
  'AWS::Scheduler::Schedule': (naming) => {
    const name = nameOf(naming, 'Name');
    const own = arn(naming, 'scheduler', `schedule/${naming.property('GroupName') ?? 'default'}/${name}`);
    return { ref: name, arn: own, attributes: { Arn: own } };
  },
  'AWS::Scheduler::ScheduleGroup': named('Name', 'scheduler', 'schedule-group/'),
  'AWS::SecretsManager::ResourcePolicy': plain(),
  'AWS::SecretsManager::Secret': (naming) => {
    const own = arn(naming, 'secretsmanager', `secret:${nameOf(naming, 'Name')}-${randomPart(naming, 6)}`);
    return { ref: own, arn: own, attributes: { Id: own } };
  },
  'AWS::Serverless::Api': restApi,
  'AWS::Serverless::Function': named('FunctionName', 'lambda', 'function:'),
  'AWS::Serverless::LayerVersion': layer((own) => ({ LayerVersionArn: own })),
  'AWS::Serverless::StateMachine': stateMachine('Name'),
  'AWS::StepFunctions::StateMachine': stateMachine('StateMachineName'),
};
