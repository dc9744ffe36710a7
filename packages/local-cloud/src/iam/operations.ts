import { normalizedName } from '../services/domain-names.ts';
import type { AccessRequest, PolicyDocument } from './evaluate.ts';
import { NotModelled } from './not-modelled.ts';

export { NotModelled } from './not-modelled.ts';

type Tags = Record<string, string>;

export interface Caller {
  account: string;
  region: string;
  /** Default aws. */
  partition?: string;
}

/** What a decision needs to know of the resources. Lookups accept what the API accepts (name, id or ARN). */
export interface ResourceState {
  secret(account: string, region: string, idOrArn: string): SecretState | undefined;
  certificate(account: string, region: string, arn: string): CertificateState | undefined;
  node(account: string, region: string, nodeId: string): TaggedState | undefined;
  /** Nodes whose tag `key` has one of the values. */
  nodesByTag(account: string, region: string, key: string, values: string[]): TaggedState[];
  document(account: string, region: string, nameOrArn: string, version?: string): DocumentState | undefined;
  automationExecution(account: string, region: string, id: string): AutomationExecutionState | undefined;
  role(arn: string): RoleState | undefined;
  roleNamed(account: string, name: string): RoleState | undefined;
  /** A Lambda function, SNS topic, SQS queue, state machine, table, event bus or REST API, by ARN. */
  resource(arn: string): PolicedState | undefined;
}

export interface TaggedState {
  arn: string;
  tags: Tags;
}
export interface PolicedState extends TaggedState {
  policy?: PolicyDocument;
}
export interface SecretState extends PolicedState {
  name: string;
}
export interface CertificateState extends TaggedState {
  /** The certificate's name and its alternative names. */
  domainNames: string[];
  keyAlgorithm: string;
}
export interface DocumentState extends TaggedState {
  type: 'Automation' | 'Command';
  /** `assumeRole` as it stands in an Automation document: an ARN or `{{ Parameter }}`. */
  assumeRole?: string;
}
export interface AutomationExecutionState extends TaggedState {
  documentArn: string;
}
export interface RoleState extends TaggedState {
  account: string;
  trustPolicy: PolicyDocument;
}

interface OperationRow {
  /** As on the wire: the X-Amz-Target of JSON protocols, `<service>.<Operation>` of the others. */
  operation: string;
  /** The AWS documentation this row was read from; UNCONFIRMED where a part was not found there. */
  source: string;
  /** All must be allowed. No entry: AWS authorizes the call without a policy. */
  checks(input: Input, caller: Caller, state: ResourceState): AccessRequest[];
}

// biome-ignore lint/suspicious/noExplicitAny: the shapes are those of the AWS APIs, one for each operation
export type Input = any;
type Context = AccessRequest['context'];

const reference = (service: string) => `Service Authorization Reference, ${service}`;

/* --- keys and ARNs -------------------------------------------------------------------------------------- */

const accountOf = (arn: string, caller: Caller) => arn.split(':')[4] || caller.account;
const isArn = (text: string) => text.startsWith('arn:');

/** `arn:<partition>:<service>:<region>:<account>:<rest>` in the caller's account and Region. */
const arnOf = (caller: Caller, service: string, rest: string) =>
  `arn:${caller.partition ?? 'aws'}:${service}:${caller.region}:${caller.account}:${rest}`;

function tagKeys(tags: Tags, ...prefixes: string[]): Context {
  return Object.fromEntries(
    prefixes.flatMap((prefix) => Object.entries(tags).map(([key, value]) => [`${prefix}/${key}`, value])),
  );
}

const requestTagsOf = (tags: { Key: string; Value?: string }[] | undefined): Tags =>
  Object.fromEntries((tags ?? []).map(({ Key, Value }) => [Key, Value ?? '']));

/** aws:RequestTag and aws:TagKeys; neither is there when the request has no tags. */
function requestTagKeys(tags: Tags): Context {
  return Object.keys(tags).length === 0
    ? {}
    : { ...tagKeys(tags, 'aws:RequestTag'), 'aws:TagKeys': Object.keys(tags) };
}

/** Keys of the request with their values; what the request leaves out is not there. */
function present(values: Record<string, string | string[] | number | boolean | undefined>): Context {
  const entries = Object.entries(values).filter(([, value]) => value !== undefined && value !== null);
  return Object.fromEntries(
    entries.map(([key, value]) => [key, Array.isArray(value) ? value : String(value)]),
  );
}

/** An action that has no resource level: only a statement on `*` grants it. */
const everything = (action: string, caller: Caller, context: Context = {}): AccessRequest[] => [
  { action, resource: '*', context, resourceAccount: caller.account },
];

/** An action on something that has an ARN, tags and perhaps a policy; unknown things are judged by ARN alone. */
function on(
  action: string,
  arn: string,
  caller: Caller,
  found: PolicedState | undefined,
  context: Context = {},
): AccessRequest {
  const resource = found?.arn ?? arn;
  return {
    action,
    resource,
    context: { ...tagKeys(found?.tags ?? {}, 'aws:ResourceTag'), ...context },
    ...(found?.policy && { resourcePolicies: [found.policy] }),
    resourceAccount: accountOf(resource, caller),
  };
}

/* --- ACM ------------------------------------------------------------------------------------------------ */

const acm = reference('AWS Certificate Manager');

function onCertificate(name: string, withDomainNames = false): OperationRow {
  const keys = [
    ...(withDomainNames ? ['acm:DomainNames'] : []),
    ...(name.includes('Tags') && name !== 'ListTagsForCertificate' ? ['aws:RequestTag', 'aws:TagKeys'] : []),
    'aws:ResourceTag',
  ];
  return {
    operation: `CertificateManager.${name}`,
    source: `${acm}: ${name} on certificate*, ${keys.join(', ')}`,
    checks: (input, caller, state) => {
      const found = state.certificate(caller.account, caller.region, input.CertificateArn);
      const names = withDomainNames && found ? { 'acm:DomainNames': found.domainNames } : {};
      return [
        on(`acm:${name}`, input.CertificateArn, caller, found, {
          ...names,
          ...requestTagKeys(requestTagsOf(input.Tags)),
        }),
      ];
    },
  };
}

const acmRows: OperationRow[] = [
  onCertificate('DescribeCertificate'),
  onCertificate('ListTagsForCertificate'),
  onCertificate('ExportCertificate', true),
  onCertificate('RenewCertificate'),
  onCertificate('RevokeCertificate', true),
  onCertificate('AddTagsToCertificate'),
  {
    operation: 'CertificateManager.ListCertificates',
    source: `${acm}: ListCertificates has no resource level`,
    checks: (_input, caller) => everything('acm:ListCertificates', caller),
  },
  {
    operation: 'CertificateManager.RequestCertificate',
    source: `${acm}: RequestCertificate has no resource level; its table "API operations" (2026) names acm:AddTagsToCertificate as well, which older editions do not, so it is asked for where there are tags: the stricter of the two; ACM User Guide, "Use condition keys with ACM". UNCONFIRMED: whether acm:KeyAlgorithm, acm:ValidationMethod and acm:Export are there when the request leaves them to their defaults (here they are not); the resource and keys of acm:AddTagsToCertificate (here certificate/*, and those of the tags)`,
    checks: (input, caller) => {
      const tags = requestTagKeys(requestTagsOf(input.Tags));
      return [
        ...everything('acm:RequestCertificate', caller, {
          ...present({
            'acm:DomainNames': [...new Set([input.DomainName, ...(input.SubjectAlternativeNames ?? [])])],
            'acm:KeyAlgorithm': input.KeyAlgorithm,
            'acm:ValidationMethod': input.ValidationMethod,
            'acm:CertificateAuthority': input.CertificateAuthorityArn,
            'acm:CertificateTransparencyLogging': input.Options?.CertificateTransparencyLoggingPreference,
            'acm:Export': input.Options?.Export,
          }),
          ...tags,
        }),
        ...(Object.keys(tags).length > 0
          ? [on('acm:AddTagsToCertificate', arnOf(caller, 'acm', 'certificate/*'), caller, undefined, tags)]
          : []),
      ];
    },
  },
];

/* --- Secrets Manager ------------------------------------------------------------------------------------ */

const secretsManager = reference('AWS Secrets Manager');
const secretTags = ['aws:ResourceTag', 'secretsmanager:ResourceTag'];

function secretCheck(
  action: string,
  id: string,
  caller: Caller,
  state: ResourceState,
  context: Context = {},
): AccessRequest {
  const found = state.secret(caller.account, caller.region, id);
  const arn = isArn(id) ? id : arnOf(caller, 'secretsmanager', `secret:${id}`);
  return on(`secretsmanager:${action}`, arn, caller, found, {
    ...tagKeys(found?.tags ?? {}, ...secretTags),
    'secretsmanager:SecretId': id,
    ...context,
  });
}

function onSecret(name: string, keys: (input: Input) => Context = () => ({}), more = ''): OperationRow {
  return {
    operation: `secretsmanager.${name}`,
    source: `${secretsManager}: ${name} on Secret*, aws:ResourceTag, secretsmanager:ResourceTag, secretsmanager:SecretId${more}. UNCONFIRMED: the resource of a secret that does not exist (here secret:<name>)`,
    checks: (input, caller, state) => [secretCheck(name, input.SecretId, caller, state, keys(input))],
  };
}

const secretRows: OperationRow[] = [
  onSecret('DescribeSecret'),
  onSecret('PutSecretValue'),
  onSecret('RestoreSecret'),
  onSecret('GetResourcePolicy'),
  onSecret('DeleteResourcePolicy'),
  onSecret(
    'GetSecretValue',
    ({ VersionId, VersionStage }) =>
      present({ 'secretsmanager:VersionId': VersionId, 'secretsmanager:VersionStage': VersionStage }),
    ', secretsmanager:VersionId and secretsmanager:VersionStage as the request gives them',
  ),
  onSecret(
    'PutResourcePolicy',
    ({ BlockPublicPolicy }) => present({ 'secretsmanager:BlockPublicPolicy': BlockPublicPolicy }),
    ', secretsmanager:BlockPublicPolicy',
  ),
  onSecret(
    'UpdateSecretVersionStage',
    ({ VersionStage }) => present({ 'secretsmanager:VersionStage': VersionStage }),
    ', secretsmanager:VersionStage',
  ),
  onSecret(
    'DeleteSecret',
    ({ RecoveryWindowInDays, ForceDeleteWithoutRecovery }) =>
      present({
        'secretsmanager:RecoveryWindowInDays': RecoveryWindowInDays,
        'secretsmanager:ForceDeleteWithoutRecovery': ForceDeleteWithoutRecovery,
      }),
    ', secretsmanager:RecoveryWindowInDays and secretsmanager:ForceDeleteWithoutRecovery as the request gives them',
  ),
  onSecret('TagResource', ({ Tags }) => requestTagKeys(requestTagsOf(Tags)), ', aws:RequestTag, aws:TagKeys'),
  onSecret('UntagResource', ({ TagKeys }) => ({ 'aws:TagKeys': TagKeys }), ', aws:TagKeys'),
  {
    operation: 'secretsmanager.CreateSecret',
    source: `${secretsManager}: CreateSecret on Secret*, secretsmanager:Name, secretsmanager:Description, aws:RequestTag, aws:TagKeys, aws:ResourceTag; API reference: "If you include tags in the secret, you also need secretsmanager:TagResource". UNCONFIRMED: whether the resource carries its six random characters already (here secret:<name>)`,
    checks: (input, caller) => {
      if (input.KmsKeyId || input.AddReplicaRegions)
        throw new NotModelled('CreateSecret with a KMS key or replicas');
      const tags = requestTagsOf(input.Tags);
      const arn = arnOf(caller, 'secretsmanager', `secret:${input.Name}`);
      // aws:ResourceTag is there "in requests that create a resource with an attached tag" (IAM User Guide).
      const context = {
        ...present({ 'secretsmanager:Name': input.Name, 'secretsmanager:Description': input.Description }),
        ...tagKeys(tags, ...secretTags),
        ...requestTagKeys(tags),
      };
      const actions = Object.keys(tags).length > 0 ? ['CreateSecret', 'TagResource'] : ['CreateSecret'];
      return actions.map((action) => on(`secretsmanager:${action}`, arn, caller, undefined, context));
    },
  },
  {
    operation: 'secretsmanager.BatchGetSecretValue',
    source: `${secretsManager}: BatchGetSecretValue has no resource level; API reference: "you must have secretsmanager:GetSecretValue for each secret"`,
    checks: (input, caller, state) => {
      if (!input.SecretIdList) throw new NotModelled('BatchGetSecretValue by Filters');
      return [
        ...everything('secretsmanager:BatchGetSecretValue', caller),
        ...input.SecretIdList.map((id: string) => secretCheck('GetSecretValue', id, caller, state)),
      ];
    },
  },
  {
    operation: 'secretsmanager.ListSecrets',
    source: `${secretsManager}: ListSecrets has no resource level`,
    checks: (_input, caller) => everything('secretsmanager:ListSecrets', caller),
  },
  {
    operation: 'secretsmanager.GetRandomPassword',
    source: `${secretsManager}: GetRandomPassword has no resource level`,
    checks: (_input, caller) => everything('secretsmanager:GetRandomPassword', caller),
  },
];

/* --- Systems Manager ------------------------------------------------------------------------------------ */

const ssm = reference('AWS Systems Manager');
const ssmTags = ['aws:ResourceTag', 'ssm:resourceTag'];

const onSsmResource = (action: string, arn: string, caller: Caller, found: TaggedState | undefined) =>
  on(action, arn, caller, found, tagKeys(found?.tags ?? {}, ...ssmTags));

const documentArn = (name: string, caller: Caller) =>
  isArn(name) ? name : arnOf(caller, 'ssm', `document/${name}`);

const nodeArn = (id: string, caller: Caller) =>
  id.startsWith('mi-')
    ? arnOf(caller, 'ssm', `managed-instance/${id}`)
    : arnOf(caller, 'ec2', `instance/${id}`);

const withoutResourceLevel = (name: string): OperationRow => ({
  operation: `AmazonSSM.${name}`,
  source: `${ssm}: ${name} has no resource level`,
  checks: (_input, caller) => everything(`ssm:${name}`, caller),
});

const onAutomationExecution = (name: string): OperationRow => ({
  operation: `AmazonSSM.${name}`,
  source: `${ssm}: ${name} on automation-execution*, aws:ResourceTag`,
  checks: (input, caller, state) => {
    const id = input.AutomationExecutionId;
    const found = state.automationExecution(caller.account, caller.region, id);
    return [onSsmResource(`ssm:${name}`, arnOf(caller, 'ssm', `automation-execution/${id}`), caller, found)];
  },
});

/** The role that a start hands to Automation: a literal ARN in the document, or the value of a parameter. */
function passedRole(document: DocumentState | undefined, parameters: Record<string, string[]> | undefined) {
  const [, parameter] = /^\{\{\s*(\w+)\s*\}\}$/.exec(document?.assumeRole ?? '') ?? [];
  return parameter ? parameters?.[parameter]?.[0] : document?.assumeRole;
}

const ssmRows: OperationRow[] = [
  {
    operation: 'AmazonSSM.GetDocument',
    source: `${ssm}: GetDocument on document*, aws:ResourceTag, ssm:resourceTag`,
    checks: ({ Name: name }, caller, state) => {
      const document = state.document(caller.account, caller.region, name);
      return [onSsmResource('ssm:GetDocument', documentArn(name, caller), caller, document)];
    },
  },
  withoutResourceLevel('DescribeInstanceInformation'),
  withoutResourceLevel('ListCommands'),
  withoutResourceLevel('ListCommandInvocations'),
  withoutResourceLevel('GetCommandInvocation'),
  onAutomationExecution('GetAutomationExecution'),
  onAutomationExecution('StopAutomationExecution'),
  {
    operation: 'AmazonSSM.AddTagsToResource',
    source: `${ssm}: AddTagsToResource on automation-execution, aws:ResourceTag, aws:RequestTag, aws:TagKeys`,
    checks: ({ ResourceType: type, ResourceId: id, Tags }, caller, state) => {
      if (type !== 'Automation') throw new NotModelled(`AddTagsToResource on ${type}`);
      const found = state.automationExecution(caller.account, caller.region, id);
      const arn = arnOf(caller, 'ssm', `automation-execution/${id}`);
      const context = { ...tagKeys(found?.tags ?? {}, ...ssmTags), ...requestTagKeys(requestTagsOf(Tags)) };
      return [on('ssm:AddTagsToResource', arn, caller, found, context)];
    },
  },
  {
    operation: 'AmazonSSM.StartAutomationExecution',
    source: `${ssm}: StartAutomationExecution on document* and automation-execution*, aws:ResourceTag, aws:RequestTag, aws:TagKeys (automation-definition, the older form, is optional there and not asked for here); Systems Manager User Guide, "Use IAM to configure roles for Automation", task 3: the principal that starts it needs iam:PassRole on the service role; "Setting up identity based policies examples", example 4: with Tags also ssm:AddTagsToResource on the execution. UNCONFIRMED: that a start with Tags is refused without it; that iam:PassRole is asked for at the start when the role is a literal in the document (it is asked for here), and the execution's ARN before it has an id (here automation-execution/*)`,
    checks: (input, caller, state) => {
      if (input.TargetLocations) throw new NotModelled('StartAutomationExecution with TargetLocations');
      const action = 'ssm:StartAutomationExecution';
      // The role to pass is that of the version which is started.
      const { DocumentName, DocumentVersion } = input;
      const document = state.document(caller.account, caller.region, DocumentName, DocumentVersion);
      const tags = requestTagsOf(input.Tags);
      const execution = arnOf(caller, 'ssm', 'automation-execution/*');
      const role = passedRole(document, input.Parameters);
      return [
        onSsmResource(action, documentArn(input.DocumentName, caller), caller, document),
        ...(input.Tags?.length ? [action, 'ssm:AddTagsToResource'] : [action]).map((each) =>
          on(each, execution, caller, undefined, { ...tagKeys(tags, ...ssmTags), ...requestTagKeys(tags) }),
        ),
        // No tags of the role: with iam:PassRole they have "no reliable results" (IAM User Guide).
        ...(role
          ? [on('iam:PassRole', role, caller, undefined, { 'iam:PassedToService': 'ssm.amazonaws.com' })]
          : []),
      ];
    },
  },
  {
    operation: 'AmazonSSM.SendCommand',
    source: `${ssm}: SendCommand on document* and on each instance or managed-instance, ssm:resourceTag, aws:ResourceTag; Systems Manager User Guide, "Restricting Run Command access based on tags". UNCONFIRMED: for targets by tag AWS may answer per node in the results instead of refusing the call`,
    checks: (input, caller, state) => {
      const { account, region } = caller;
      const ids: string[] = [...(input.InstanceIds ?? [])];
      const nodes: TaggedState[] = [];
      for (const { Key, Values } of input.Targets ?? []) {
        if (Key === 'InstanceIds') ids.push(...Values);
        else if (Key.startsWith('tag:'))
          nodes.push(...state.nodesByTag(account, region, Key.slice(4), Values));
        else throw new NotModelled(`SendCommand to targets by ${Key}`);
      }
      const document = state.document(account, region, input.DocumentName);
      return [
        onSsmResource('ssm:SendCommand', documentArn(input.DocumentName, caller), caller, document),
        ...ids.map((id) =>
          onSsmResource('ssm:SendCommand', nodeArn(id, caller), caller, state.node(account, region, id)),
        ),
        ...nodes.map((node) => onSsmResource('ssm:SendCommand', node.arn, caller, node)),
      ];
    },
  },
];

/* --- STS ------------------------------------------------------------------------------------------------ */

const sts = reference('AWS Security Token Service');

const stsRows: OperationRow[] = [
  {
    operation: 'sts.AssumeRole',
    source: `${sts}: AssumeRole on role*, sts:ExternalId, sts:RoleSessionName, aws:RequestTag, aws:TagKeys, iam:ResourceTag, aws:ResourceTag; with Tags also sts:TagSession (IAM User Guide, "Pass session tags in AWS STS")`,
    checks: (input, caller, state) => {
      const unknown = ['PolicyArns', 'TransitiveTagKeys', 'SourceIdentity', 'SerialNumber'].find(
        (name) => input[name] !== undefined,
      );
      if (unknown) throw new NotModelled(`AssumeRole with ${unknown}`);
      const role = state.role(input.RoleArn);
      const tags = requestTagsOf(input.Tags);
      const context = {
        ...present({ 'sts:ExternalId': input.ExternalId, 'sts:RoleSessionName': input.RoleSessionName }),
        ...requestTagKeys(tags),
        ...tagKeys(role?.tags ?? {}, 'aws:ResourceTag', 'iam:ResourceTag'),
      };
      const actions =
        Object.keys(tags).length > 0 ? ['sts:AssumeRole', 'sts:TagSession'] : ['sts:AssumeRole'];
      return actions.map((action) => ({
        action,
        resource: input.RoleArn,
        context,
        resourcePolicies: role ? [role.trustPolicy] : [],
        resourcePolicyKind: 'role trust policy' as const,
        resourceAccount: accountOf(input.RoleArn, caller),
      }));
    },
  },
  {
    operation: 'sts.GetCallerIdentity',
    source:
      'STS API reference: "No permissions are required to perform this operation", even with an explicit deny',
    checks: () => [],
  },
];

/* --- IAM ------------------------------------------------------------------------------------------------ */

/** @param action that looks at a role by its name. */
function onRole(action: string): OperationRow {
  return {
    operation: `iam.${action}`,
    source: `${reference('AWS Identity and Access Management')}: ${action} on role*, aws:ResourceTag, iam:ResourceTag. UNCONFIRMED: that a role which does not exist is judged by its name without a path`,
    checks: ({ RoleName: name }, caller, state) => {
      const found = state.roleNamed(caller.account, name);
      const arn = `arn:${caller.partition ?? 'aws'}:iam::${caller.account}:role/${name}`;
      return [on(`iam:${action}`, arn, caller, found, tagKeys(found?.tags ?? {}, 'iam:ResourceTag'))];
    },
  };
}

const iamRows: OperationRow[] = [
  onRole('GetRole'),
  onRole('ListAttachedRolePolicies'),
  {
    operation: 'iam.GetInstanceProfile',
    source: `${reference('AWS Identity and Access Management')}: GetInstanceProfile on instance-profile*; profiles have no tags here`,
    checks: ({ InstanceProfileName: name }, caller) => {
      const arn = `arn:${caller.partition ?? 'aws'}:iam::${caller.account}:instance-profile/${name}`;
      return [on('iam:GetInstanceProfile', arn, caller, undefined)];
    },
  },
];

/* --- Route 53 --------------------------------------------------------------------------------------------- */

const route53 = reference('Amazon Route 53');

/** Route 53 is global: its ARNs have neither Region nor account. */
const route53Arn = ({ partition = 'aws' }: Caller, rest: string) => `arn:${partition}:route53:::${rest}`;

const onHostedZone = (name: string, field: string): OperationRow => ({
  operation: `route53.${name}`,
  source: `${route53}: ${name} on hostedzone*`,
  checks: (input, caller) => [
    on(`route53:${name}`, route53Arn(caller, `hostedzone/${input[field]}`), caller, undefined),
  ],
});

const route53Rows: OperationRow[] = [
  {
    operation: 'route53.ListHostedZonesByName',
    source: `${route53}: ListHostedZonesByName has no resource level`,
    checks: (_input, caller) => everything('route53:ListHostedZonesByName', caller),
  },
  onHostedZone('GetHostedZone', 'Id'),
  onHostedZone('ListResourceRecordSets', 'HostedZoneId'),
  {
    operation: 'route53.ChangeResourceRecordSets',
    source: `${route53}: ChangeResourceRecordSets on hostedzone*, route53:ChangeResourceRecordSetsNormalizedRecordNames, …RecordTypes, …Actions, each with all values of the batch; Route 53 Developer Guide, "Using IAM policy conditions for fine-grained access control", "Normalizing the condition key values"`,
    checks: ({ HostedZoneId, ChangeBatch }, caller) => {
      const changes: Input[] = ChangeBatch.Changes;
      const all = (value: (change: Input) => string) => [...new Set(changes.map(value))];
      const context = {
        'route53:ChangeResourceRecordSetsNormalizedRecordNames': all(({ ResourceRecordSet }) =>
          normalizedName(ResourceRecordSet.Name),
        ),
        'route53:ChangeResourceRecordSetsRecordTypes': all(({ ResourceRecordSet }) => ResourceRecordSet.Type),
        'route53:ChangeResourceRecordSetsActions': all(({ Action }) => Action),
      };
      const arn = route53Arn(caller, `hostedzone/${HostedZoneId}`);
      return [on('route53:ChangeResourceRecordSets', arn, caller, undefined, context)];
    },
  },
  {
    operation: 'route53.GetChange',
    source: `${route53}: GetChange on change*`,
    checks: ({ Id }, caller) => [
      on('route53:GetChange', route53Arn(caller, `change/${Id}`), caller, undefined),
    ],
  },
];

/* --- DynamoDB ------------------------------------------------------------------------------------------- */

const dynamodb = reference('Amazon DynamoDB');

const tableArn = (name: string, caller: Caller) =>
  isArn(name) ? name : arnOf(caller, 'dynamodb', `table/${name}`);

function tableCheck(action: string, input: Input, caller: Caller, state: ResourceState): AccessRequest {
  const table = tableArn(input.TableName, caller);
  const found = state.resource(table);
  const index = input.IndexName ? `${table}/index/${input.IndexName}` : undefined;
  return on(`dynamodb:${action}`, index ?? table, caller, found && index ? { ...found, arn: index } : found);
}

const onTable = (name: string): OperationRow => ({
  operation: `DynamoDB_20120810.${name}`,
  source: `${dynamodb}: ${name} on table*`,
  checks: (input, caller, state) => [tableCheck(name, input, caller, state)],
});

const onTableOrIndex = (name: string): OperationRow => ({
  ...onTable(name),
  source: `${dynamodb}: ${name} on table* and index; DynamoDB Developer Guide, "Using identity-based policies", example 4. UNCONFIRMED: that with IndexName only the index is asked for`,
});

const onTables = (name: string): OperationRow => ({
  operation: `DynamoDB_20120810.${name}`,
  source: `${dynamodb}: ${name} on table*, each of the request`,
  checks: (input, caller, state) =>
    Object.keys(input.RequestItems).map((TableName) => tableCheck(name, { TableName }, caller, state)),
});

const dynamodbRows: OperationRow[] = [
  onTable('GetItem'),
  onTable('PutItem'),
  onTable('UpdateItem'),
  onTable('DeleteItem'),
  onTableOrIndex('Query'),
  onTableOrIndex('Scan'),
  onTables('BatchGetItem'),
  onTables('BatchWriteItem'),
];

/* --- Step Functions ------------------------------------------------------------------------------------- */

const states = reference('AWS Step Functions');

const onStates = (name: string, type: string, field: string): OperationRow => ({
  operation: `AWSStepFunctions.${name}`,
  source: `${states}: ${name} on ${type}*, aws:ResourceTag`,
  checks: (input, caller, state) => [
    on(`states:${name}`, input[field], caller, state.resource(input[field])),
  ],
});

const statesRows: OperationRow[] = [
  onStates('StartExecution', 'statemachine', 'stateMachineArn'),
  onStates('ListExecutions', 'statemachine', 'stateMachineArn'),
  onStates('DescribeExecution', 'execution', 'executionArn'),
  onStates('StopExecution', 'execution', 'executionArn'),
];

/* --- what calls functions, and what functions call ------------------------------------------------------- */

/** `https://sqs.<region>.amazonaws.com/<account>/<name>` names the queue's account itself. */
function queueArn(url: string, caller: Caller): string {
  const [account, name] = new URL(url).pathname.split('/').slice(-2);
  return arnOf({ ...caller, account: account ?? caller.account }, 'sqs', name ?? '');
}

const onQueue = (name: string): OperationRow => ({
  operation: `AmazonSQS.${name}`,
  source: `${reference('Amazon SQS')}: ${name} on queue*, aws:ResourceTag; a queue policy grants AWS services (EventBridge dead-letter queues)`,
  checks: (input, caller, state) => {
    const arn = queueArn(input.QueueUrl, caller);
    return [on(`sqs:${name}`, arn, caller, state.resource(arn))];
  },
});

const tracing = (name: string): OperationRow => ({
  operation: `xray.${name}`,
  source: `${reference('AWS X-Ray')}: ${name} has no resource level`,
  checks: (_input, caller) => everything(`xray:${name}`, caller),
});

function functionArn(name: string, qualifier: string | undefined, caller: Caller): string {
  const arn = isArn(name) ? name : arnOf(caller, 'lambda', `function:${name}`);
  return qualifier ? `${arn}:${qualifier}` : arn;
}

const otherRows: OperationRow[] = [
  {
    operation: 'lambda.Invoke',
    source: `${reference('AWS Lambda')}: Invoke needs lambda:InvokeFunction on function*, aws:ResourceTag; the function's policy grants EventBridge and API Gateway (Lambda Developer Guide, "Granting Lambda function access to AWS services")`,
    checks: (input, caller, state) => {
      const arn = functionArn(input.FunctionName, input.Qualifier, caller);
      return [on('lambda:InvokeFunction', arn, caller, state.resource(arn))];
    },
  },
  {
    operation: 'execute-api.Invoke',
    source: `${reference('Amazon API Gateway')}: Invoke on arn:…:execute-api:region:account:api-id/stage/METHOD/path; API Gateway Developer Guide, "Control access for invoking an API". UNCONFIRMED: whether a percent-encoded path is compared as sent or decoded (here both must be allowed)`,
    checks: ({ apiId, stage, method, path }, caller, state) => {
      const api = arnOf(caller, 'execute-api', apiId);
      const policy = state.resource(api)?.policy;
      if (JSON.stringify(policy ?? {}).includes('"execute-api:/')) {
        throw new NotModelled('short resource names (execute-api:/…) in an API resource policy');
      }
      const route = String(path).replace(/^\//, '');
      return [...new Set([route, decoded(route)])].map((form) => ({
        action: 'execute-api:Invoke',
        resource: `${api}/${stage}/${method}/${form}`,
        context: {},
        ...(policy && { resourcePolicies: [policy] }),
        resourceAccount: caller.account,
      }));
    },
  },
  {
    operation: 'AWSEvents.PutEvents',
    source: `${reference('Amazon EventBridge')}: PutEvents on event-bus* for each entry, events:source, events:detail-type`,
    checks: (input, caller, state) =>
      input.Entries.map((entry: Input) => {
        const bus = entry.EventBusName ?? 'default';
        const arn = isArn(bus) ? bus : arnOf(caller, 'events', `event-bus/${bus}`);
        return on('events:PutEvents', arn, caller, state.resource(arn), {
          ...present({ 'events:source': entry.Source, 'events:detail-type': entry.DetailType }),
        });
      }),
  },
  {
    operation: 'sns.Publish',
    source: `${reference('Amazon SNS')}: Publish on topic*, aws:ResourceTag; a topic policy grants AWS services`,
    checks: (input, caller, state) => {
      const arn = input.TopicArn ?? input.TargetArn;
      if (!arn) throw new NotModelled('Publish to a telephone number');
      return [on('sns:Publish', arn, caller, state.resource(arn))];
    },
  },
  {
    operation: 'sns.ListSubscriptionsByTopic',
    source: `${reference('Amazon SNS')}: ListSubscriptionsByTopic on topic*, aws:ResourceTag`,
    checks: ({ TopicArn: arn }, caller, state) => [
      on('sns:ListSubscriptionsByTopic', arn, caller, state.resource(arn)),
    ],
  },
  {
    operation: 'cloudformation.DescribeStacks',
    source: `${reference('AWS CloudFormation')}: DescribeStacks on stack, aws:ResourceTag. UNCONFIRMED: the ARN of a stack that does not exist`,
    checks: ({ StackName: name }, caller, state) => {
      if (!name) throw new NotModelled('DescribeStacks without StackName');
      const arn = isArn(name) ? name : arnOf(caller, 'cloudformation', `stack/${name}/*`);
      return [on('cloudformation:DescribeStacks', arn, caller, state.resource(arn))];
    },
  },
  {
    operation: 'ec2.DescribeInstances',
    source: `${reference('Amazon EC2')}: DescribeInstances has no resource level; ec2:Region is not asked for here`,
    checks: (_input, caller) => everything('ec2:DescribeInstances', caller),
  },
  onQueue('SendMessage'),
  onQueue('ReceiveMessage'),
  onQueue('DeleteMessage'),
  onQueue('GetQueueAttributes'),
  {
    ...onQueue('GetQueueUrl'),
    checks: ({ QueueName: name, QueueOwnerAWSAccountId: owner }, caller, state) => {
      const arn = arnOf({ ...caller, account: owner ?? caller.account }, 'sqs', name);
      return [on('sqs:GetQueueUrl', arn, caller, state.resource(arn))];
    },
  },
  tracing('PutTraceSegments'),
  tracing('PutTelemetryRecords'),
];

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path; // not valid percent-encoding: there is only the form that was sent
  }
}

/**
 * Every operation that the local cloud models, as AWS authorizes it. Whatever is not here is
 * refused loudly.
 */
export const operations: readonly OperationRow[] = [
  ...acmRows,
  ...secretRows,
  ...ssmRows,
  ...stsRows,
  ...iamRows,
  ...route53Rows,
  ...dynamodbRows,
  ...statesRows,
  ...otherRows,
];
const rowOf = new Map(operations.map((row) => [row.operation, row]));

/**
 * The access requests of one API call: every one must be allowed for the call to be allowed. `caller` is the
 * account and Region that the request is sent to. Throws NotModelled for an operation that is not in the table.
 */
export function accessRequests(
  operation: string,
  input: unknown,
  caller: Caller,
  state: ResourceState,
): AccessRequest[] {
  const row = rowOf.get(operation);
  if (!row) throw new NotModelled(`operation ${operation} is not in the table of operations`);
  const requests = row.checks(input, caller, state);
  return requests.map((request) => ({
    ...request,
    // AWS's endpoints speak TLS; the local ones need not.
    context: { ...request.context, 'aws:RequestedRegion': caller.region, 'aws:SecureTransport': 'true' },
  }));
}
