import { type Guard, SESSION_FUNCTIONS, sessionNameOf } from './neighbours.ts';

/**
 * Neighbours of needed calls that are allowed on purpose, by their names (see `tryNeighbours`), and why. All others must be
 * denied. This says what the policies are to reach; the templates and the functions are judged by it.
 */
export const REACH: [neighbours: RegExp, reason: string][] = [
  [
    /^identity \S+ logs:\w+ log-group:\S+:(<log-stream>:1|log-stream:<1>) /,
    'any stream of its own log group: Lambda makes their names',
  ],
  [
    /^identity \S+ acm:\w+ certificate\/<(ID|\*)> /,
    'any certificate of this account and Region: its own tag decides, which the function reads',
  ],
  [
    /^identity deployments-api dynamodb:Query table\/acm-export-inventory\/index\/<\w+> /,
    'any index of the inventory: the fleet is listed by each',
  ],
  [
    /^session (deployments-api|write-validation-records) route53:(GetHostedZone|ListResourceRecordSets) hostedzone\/<\w+> /,
    'any hosted zone of the account is read by these sessions: the role of dns-account.yaml says which',
  ],
  [
    /^session write-validation-records route53:GetChange change\/<\w+> /,
    'any change: its id is random, and its answer is how far it is',
  ],
  [
    /^identity \S+ states:\w+ execution:acm-export-certificate-(rollout:<ID>|request:<request-ID-1>|request:request-<ID>|request:\S+) /,
    'any execution of this state machine: the number of the rollout or request is in its name',
  ],
  [
    /^identity \S+ sts:AssumeRole role\/<acm-export-(rollout|bundle-writer)-eu-central-1> (longer|shorter|(other|longer) after acm-export-(rollout|bundle-writer)-.*)$/,
    'the role of any Region: the target of a deployment says which',
  ],
  [
    /^identity rollout\/\S+ iam:PassRole role\/acm-export-automation-eu-central-1 as <another role>$/,
    'passing the role is worth nothing to a function that starts no Automation',
  ],
  [
    /^identity export-certificate sts:AssumeRole role\/acm-export-rollout-eu-central-1 as <another role>$/,
    'a member stack of the first edition has no other role; one of this edition says with KeepFirstEditionGrants whether it trusts',
  ],
  [
    /^(identity rollout\/|resource )\S+ \S+ with (aws:userid|sts:RoleSessionName) <[a-z-]+-ID> (longer|shorter|other after (deployments-api|start-installation|check-installation|reconcile)-)$/,
    'any deployment: the name of a session binds the function',
  ],
  [
    /^identity (rollout\/\S+|bundle-writer) secretsmanager:\w+ secret:acm-export\/web\/<ID> /,
    'any bundle of a name that the owner allows: session policies name the one',
  ],
  [
    /^identity (rollout\/\S+|bundle-writer) secretsmanager:(Delete|Describe)Secret secret:acm-export\/<web>\/ID /,
    'any bundle below the prefix is looked at and taken away, also of a name that the owner allows no longer',
  ],
  [
    /^session \S+ secretsmanager:\w+ secret:acm-export\/web\/<ID> (longer|shorter)$/,
    'Secrets Manager adds six characters to the name of a secret',
  ],
  [
    /^session reconcile secretsmanager:DescribeSecret secret:acm-export\/(<web>\/ID|web\/<ID>) /,
    'one session looks at all bundles of a Region; it reads no value',
  ],
  [
    /^identity \S+ secretsmanager:(CreateSecret|TagResource) with aws:TagKeys <left out>$/,
    'no tags at all: such a bundle is open to no node',
  ],
  [/^identity \S+ ssm:AddTagsToResource with aws:TagKeys <left out>$/, 'no tags at all: that marks nothing'],
  [
    /^identity node by \S+ secretsmanager:GetSecretValue secret:acm-export\/(<web>\/ID|web\/<ID>) /,
    'any bundle below the prefix: its tag decides',
  ],
  [
    /^(identity|session) \S+ ssm:SendCommand (managed-)?instance\/<ID> /,
    'any node: the tag decides which get what, and only one document can be sent',
  ],
  [
    /^(identity|session) \S+ ssm:(\w+AutomationExecution|AddTagsToResource) automation-execution\/<(ID|\*)> /,
    'any execution: Systems Manager makes their ids',
  ],
  [
    /^(identity|session) \S+ ssm:StartAutomationExecution automation-definition\/acm-export-install-on-fleet:<1> /,
    'any version of the one document',
  ],
  [
    /^identity rollout\/\S+ iam:GetRole role\/<apps>\/reader /,
    'a reader under any path: IAM finds a role by its name alone',
  ],
  [
    /^session \S+ iam:GetRole (role\/<reader> begun otherwise|role\/<apps>\/reader .*|role\/apps\/<reader> begun otherwise)$/,
    'the path of a reader is left open, and it stands before the name',
  ],
  [
    /^resource ssm\S+ sts:AssumeRole with aws:SourceArn automation-execution\/<ID> /,
    'any execution: Systems Manager makes their ids',
  ],
  [
    /^resource apigateway\S+ lambda:InvokeFunction with aws:SourceArn \w+\/(<v1>\/POST\/certificates\/web|v1\/POST\/certificates\/<web>)(\/deployments)? |^resource apigateway\S+ lambda:InvokeFunction with aws:SourceArn \w+\/v1\/POST\/certificates\/web\/<deployments> /,
    'any stage of this API, any name in its path: IAM asks the caller for the path',
  ],
  [
    /^resource certificate-request lambda:InvokeFunction /,
    'the policy of a function only adds callers that are no role of the account: the role decides for its state machine',
  ],
  [
    /^resource (node by \S+|reader) secretsmanager:GetSecretValue as /,
    'the policy of a bundle denies its value; whatever else is granted or not by the roles',
  ],
];

/** What an owner who lists no names allows beyond: bundles of any name. */
export const OPEN_REACH =
  /^identity (rollout\/\S+|bundle-writer) secretsmanager:\w+ secret:acm-export\/(<web>\/ID|web\/<ID>) /;

/**
 * What the grants of the first edition reach beyond: Automations without a mark are stopped, as that edition gives none; its
 * sessions are of any deployment.
 */
export const FIRST_EDITION_REACH =
  /^identity rollout\/\S+ ssm:StopAutomationExecution with aws:ResourceTag\/acm-export:deployment-id <left out>$|^(identity rollout\/|resource )export-certificate \S+ with (aws:userid|sts:RoleSessionName) <export-certificate-ID> (longer|shorter|other after export-certificate-)$/;

/** What conditions must look at. */
export const GUARDS: Guard[] = [
  // Trust.
  { calls: /^resource [a-z-]+ sts:AssumeRole /, key: 'sts:ExternalId' },
  {
    calls: /^resource [a-z-]+ sts:AssumeRole role\/acm-export-rollout-/,
    key: 'sts:RoleSessionName',
    also: [...SESSION_FUNCTIONS.map((name) => sessionNameOf(name)), 'session'],
  },
  // What the rollout role grants to one function it grants to no other. Passing a role is worth nothing by itself.
  {
    calls: /^identity rollout\/\S+ (?!iam:PassRole)/,
    key: 'aws:userid',
    also: ['acm-export-reconcile', 'session'],
  },
  { calls: /^resource (states|ssm)\S+ sts:AssumeRole /, key: 'aws:SourceArn' },
  { calls: /^resource scheduler\S+ sts:AssumeRole /, key: 'aws:SourceAccount' },
  // Who may call functions and fill queues.
  {
    calls: /^resource (events|apigateway)\S+ (lambda:InvokeFunction|sqs:SendMessage) /,
    key: 'aws:SourceArn',
  },
  // Bundles.
  { calls: /^identity \S+ secretsmanager:(CreateSecret|TagResource) /, key: 'aws:TagKeys' },
  {
    calls: /^identity \S+ secretsmanager:PutResourcePolicy /,
    key: 'secretsmanager:BlockPublicPolicy',
    values: [undefined, 'false'],
  },
  {
    calls: /^identity \S+ secretsmanager:DeleteSecret /,
    key: 'secretsmanager:ForceDeleteWithoutRecovery',
    values: ['true'],
  },
  ...['acm-export', 'env', 'team'].flatMap((key): Guard[] => [
    { calls: new RegExp(`^identity node by ${key} `), key: `secretsmanager:ResourceTag/${key}` },
    { calls: new RegExp(`^(identity|resource) node by ${key} `), key: `aws:PrincipalTag/${key}` },
  ]),
  // What is done in the name of something.
  { calls: /^(identity|session) \S+ iam:PassRole /, key: 'iam:PassedToService' },
  { calls: /^identity \S+ events:PutEvents /, key: 'events:source' },
  // Automations: only the mark of this system is given, and only what has it is stopped.
  { calls: /^identity rollout\S+ ssm:AddTagsToResource /, key: 'aws:TagKeys' },
  {
    calls: /^identity rollout\S+ ssm:StopAutomationExecution /,
    key: 'aws:ResourceTag/acm-export:deployment-id',
    values: [undefined],
  },
  // Only exportable public certificates, validated by DNS, and with the tag of their name are requested.
  ...(
    [
      ['acm:ValidationMethod', [undefined, 'EMAIL', 'HTTP']],
      ['acm:Export', [undefined, 'DISABLED']],
      ['aws:RequestTag/CertName', [undefined]],
      [
        'acm:CertificateAuthority',
        [
          'arn:aws:acm-pca:eu-central-1:111122223333:certificate-authority/01234567-89ab-cdef-0123-456789abcdef',
        ],
      ],
    ] as const
  ).map(
    ([key, values]): Guard => ({
      calls: /^identity request-certificate acm:RequestCertificate /,
      key,
      values: [...values],
    }),
  ),
  // Without a tag its owner has not said that it may be delivered.
  { calls: /^identity \S+ acm:ExportCertificate /, key: 'aws:ResourceTag/CertName', values: [undefined] },
];

/** The actions of the sessions that each function opens in a target account. */
export const SESSIONS = {
  'deployments-api': [
    'iam:GetRole',
    'route53:GetHostedZone',
    'route53:ListHostedZonesByName',
    'route53:ListResourceRecordSets',
    'secretsmanager:DeleteSecret',
    'secretsmanager:DescribeSecret',
    'secretsmanager:RestoreSecret',
    'ssm:DescribeInstanceInformation',
    'ssm:StopAutomationExecution',
  ],
  'export-certificate': [
    'secretsmanager:CreateSecret',
    'secretsmanager:DeleteSecret',
    'secretsmanager:DescribeSecret',
    'secretsmanager:GetRandomPassword',
    'secretsmanager:PutResourcePolicy',
    'secretsmanager:PutSecretValue',
    'secretsmanager:RestoreSecret',
    'secretsmanager:TagResource',
    'secretsmanager:UpdateSecretVersionStage',
  ],
  'start-installation': [
    'events:PutEvents',
    'iam:PassRole',
    'ssm:AddTagsToResource',
    'ssm:DescribeInstanceInformation',
    'ssm:GetAutomationExecution',
    'ssm:StartAutomationExecution',
    'ssm:StopAutomationExecution',
  ],
  'check-installation': [
    'ssm:DescribeInstanceInformation',
    'ssm:GetAutomationExecution',
    'ssm:ListCommandInvocations',
    'ssm:ListCommands',
    'ssm:StopAutomationExecution',
  ],
  reconcile: [
    'iam:GetRole',
    'secretsmanager:DescribeSecret',
    'ssm:DescribeInstanceInformation',
    'ssm:GetCommandInvocation',
    'ssm:ListCommandInvocations',
    'ssm:ListCommands',
    'ssm:SendCommand',
  ],
  'write-validation-records': [
    'route53:ChangeResourceRecordSets',
    'route53:GetChange',
    'route53:GetHostedZone',
    'route53:ListHostedZonesByName',
    'route53:ListResourceRecordSets',
  ],
};
