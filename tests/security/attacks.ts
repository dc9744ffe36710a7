import type { Identity } from 'local-cloud';
import { CENTRAL, MEMBER } from '../../local/example-fleet.ts';
import { functionRole } from './flows.ts';
import {
  AUTOMATION_ROLE,
  allow,
  EXTERNAL_ID,
  memberRole,
  ROLLOUT_ROLE,
  type Scene,
  STRANGER,
  VISITORS,
  type Visitor,
  visitors,
  WRITER_ROLE,
} from './scene.ts';

type Input = { [member: string]: unknown };

/** A call that must be refused, and the promise that it breaks when it is not. */
export type Attack = [
  promise: string,
  by: (scene: Scene) => Identity,
  operation: string,
  input: Input | ((scene: Scene) => Input),
  region?: string,
];

const here = `${CENTRAL.region}:${CENTRAL.account}`;
const token = 'a'.repeat(32);
const install = 'acm-export-install-on-node';
const look = 'acm-export-look-at-node';

const productionSecret = ({ bundle }: Scene) => ({ SecretId: bundle });
const unguardedSecret = ({ unguarded }: Scene) => ({ SecretId: unguarded });
const databaseSecret = ({ database }: Scene) => ({ SecretId: database });

const nodes: Attack[] = [
  [
    'a node of env=dev cannot read the bundle of env=prod',
    ({ devNode }) => devNode.identity(),
    'secretsmanager.GetSecretValue',
    productionSecret,
  ],
  [
    'a node whose role has no tag cannot read a bundle, whatever the node itself is tagged',
    ({ untaggedNode }) => untaggedNode.identity(),
    'secretsmanager.GetSecretValue',
    productionSecret,
  ],
  [
    'a node of env=PROD cannot read the bundle of env=prod',
    ({ upperCaseNode }) => upperCaseNode.identity(),
    'secretsmanager.GetSecretValue',
    productionSecret,
  ],
  [
    'the same value under another tag key opens nothing',
    ({ otherKeyNode }) => otherKeyNode.identity(),
    'secretsmanager.GetSecretValue',
    productionSecret,
  ],
  [
    'a node of another tag cannot read what lies below the prefix without a policy of its own',
    ({ devNode }) => devNode.identity(),
    'secretsmanager.GetSecretValue',
    unguardedSecret,
  ],
  [
    'a node cannot read a secret outside the prefix, even with its own tag',
    ({ prodNode }) => prodNode.identity(),
    'secretsmanager.GetSecretValue',
    databaseSecret,
  ],
  [
    'a node of another account cannot read a bundle by its ARN, even with the tag',
    ({ flows }) => flows.hybrid.identity(),
    'secretsmanager.GetSecretValue',
    ({ cloud, bundle }) => ({
      SecretId: cloud.services.secretsManager.state(CENTRAL.account, CENTRAL.region, bundle)?.arn,
    }),
    CENTRAL.region,
  ],
  ...(
    [
      ['list secrets', 'ListSecrets', {}],
      ['describe its own bundle', 'DescribeSecret', productionSecret],
      ['read bundles in batches', 'BatchGetSecretValue', ({ bundle }: Scene) => ({ SecretIdList: [bundle] })],
      [
        'write into its own bundle',
        'PutSecretValue',
        (scene: Scene) => ({ ...productionSecret(scene), SecretString: '{}', ClientRequestToken: token }),
      ],
      ['delete its own bundle', 'DeleteSecret', productionSecret],
      [
        'give a bundle its own tag',
        'TagResource',
        (scene: Scene) => ({ ...productionSecret(scene), Tags: [{ Key: 'env', Value: 'dev' }] }),
      ],
      ['unlock a bundle', 'DeleteResourcePolicy', productionSecret],
      [
        'create secrets',
        'CreateSecret',
        { Name: 'acm-export/web/0', SecretString: '{}', ClientRequestToken: token },
      ],
    ] as [string, string, Attack[3]][]
  ).map(
    ([what, operation, input]): Attack => [
      `a node cannot ${what}`,
      ({ flows }) => flows.production.identity(),
      `secretsmanager.${operation}`,
      input,
    ],
  ),
  [
    'a node cannot export a certificate itself',
    ({ flows }) => flows.production.identity(),
    'CertificateManager.ExportCertificate',
    ({ flows }) => ({ CertificateArn: flows.certificateArn, Passphrase: 'aW50cnVkZXI=' }),
  ],
  ...[ROLLOUT_ROLE, WRITER_ROLE].map(
    (RoleArn): Attack => [
      `a node cannot take on a role of the member stack: ${RoleArn}`,
      ({ flows }) => flows.production.identity(),
      'sts.AssumeRole',
      { RoleArn, RoleSessionName: 'reconcile-intruder', ExternalId: EXTERNAL_ID },
    ],
  ),
];

const administrators: Attack[] = [
  [
    'an administrator without the tag cannot read a bundle',
    ({ flows }) => flows.site.administrator,
    'secretsmanager.GetSecretValue',
    productionSecret,
  ],
  [
    'an administrator without the tag cannot read bundles in batches either',
    ({ flows }) => flows.site.administrator,
    'secretsmanager.BatchGetSecretValue',
    ({ bundle }) => ({ SecretIdList: [bundle] }),
  ],
  [
    'a bundle that is delivered as a secret stays closed to the roles that the request does not name',
    ({ flows }) => flows.site.administrator,
    'secretsmanager.GetSecretValue',
    ({ flows }) => ({ SecretId: `acm-export/web/${flows.appliancesId}` }),
  ],
];

/** A session of a role that may do whatever identity policies allow. */
const roleOf = (account: string, name: string, path = '/') => {
  const trustPolicy = { Version: '2012-10-17', Statement: [] };
  return ({ cloud: { services } }: Scene) => {
    const made = { name, path, trustPolicy, inlinePolicies: [allow('*')] };
    const session = { name: 'intruder', seconds: 900, source: 'intruder' };
    return services.identities.openSession(services.identities.createRole(account, made), session);
  };
};

const readers: Attack[] = (
  [
    ['a role whose name begins like that of a reader', roleOf(CENTRAL.account, 'reader-one-too', '/apps/')],
    [
      'a role with the name of a reader that does not exist, under a path',
      roleOf(CENTRAL.account, 'reader-two', '/apps/'),
    ],
    [
      'a role of another account with the ARN of a reader but for the account',
      roleOf(STRANGER, 'reader-one', '/apps/'),
    ],
  ] as const
).map(([who, by]) => [
  `${who} cannot read a bundle that is delivered as a secret`,
  by,
  'secretsmanager.GetSecretValue',
  ({ cloud, flows }) => ({
    SecretId: cloud.services.secretsManager.state(
      CENTRAL.account,
      CENTRAL.region,
      `acm-export/web/${flows.appliancesId}`,
    )?.arn,
  }),
  CENTRAL.region,
]);

/** A call for a role of a member stack; the session is named as one of the function would be. */
const takeOn = (name: Visitor, more: Input = {}): Input => ({
  RoleArn: memberRole(CENTRAL, VISITORS[name]),
  RoleSessionName: `${name}-intruder`,
  ExternalId: EXTERNAL_ID,
  ...more,
});
const withoutId = (name: Visitor): Input => {
  const { ExternalId: _, ...input } = takeOn(name);
  return input;
};
const functionNamed =
  (name: keyof Scene['functions']) =>
  ({ functions }: Scene) =>
    functions[name];
const others = (name: Visitor) => visitors.filter((other) => other !== name);
const onRollout = visitors.filter((name) => VISITORS[name] === 'rollout');
const writer: Visitor = 'export-certificate';

const trust: Attack[] = [
  ...([writer, 'reconcile'] as const).flatMap((name): Attack[] => {
    const role = VISITORS[name];
    return [
      [
        `another account cannot take on the ${role} role without the external id`,
        ({ stranger }) => stranger,
        'sts.AssumeRole',
        withoutId(name),
      ],
      [
        `another account cannot take on the ${role} role with the external id`,
        ({ stranger }) => stranger,
        'sts.AssumeRole',
        takeOn(name),
      ],
      [
        `a role of another account cannot take on the ${role} role by having the name of a function`,
        ({ impostors }) => impostors[name],
        'sts.AssumeRole',
        takeOn(name),
      ],
      [
        `an administrator of the member account cannot take on its ${role} role`,
        ({ flows }) => flows.site.memberAdministrator,
        'sts.AssumeRole',
        takeOn(name, { RoleArn: memberRole(MEMBER, role) }),
      ],
      [
        `a central function cannot take on the ${role} role with a tag that opens bundles`,
        functionNamed(name),
        'sts.AssumeRole',
        takeOn(name, { Tags: [{ Key: 'env', Value: 'prod' }] }),
      ],
      [
        `the ${role} role cannot take itself on again, to be rid of its session policy`,
        ({ sessions }) => sessions[name],
        'sts.AssumeRole',
        takeOn(name),
      ],
      [
        `the ${role} role cannot take on the other role of its member stack`,
        ({ taken }) => taken[name],
        'sts.AssumeRole',
        takeOn(name === writer ? 'reconcile' : writer),
      ],
      [
        `a function of another Region's central stack cannot take on the ${role} role`,
        ({ farFunctions }) => farFunctions[name],
        'sts.AssumeRole',
        takeOn(name),
      ],
      [
        `a function of a central stack whose prefix begins the same cannot take on the ${role} role`,
        ({ namesakes }) => namesakes[name],
        'sts.AssumeRole',
        takeOn(name),
      ],
    ];
  }),
  ...visitors.flatMap((name): Attack[] => [
    [
      `${name} cannot take on its role in a target account without the external id`,
      functionNamed(name),
      'sts.AssumeRole',
      withoutId(name),
    ],
    [
      `${name} cannot take on its role in a target account with another external id`,
      functionNamed(name),
      'sts.AssumeRole',
      takeOn(name, { ExternalId: `${EXTERNAL_ID}2` }),
    ],
    [
      `an administrator of the central account cannot take on the role of ${name} in a member account`,
      ({ flows }) => flows.site.administrator,
      'sts.AssumeRole',
      takeOn(name, { RoleArn: memberRole(MEMBER, VISITORS[name]) }),
    ],
    [
      `an administrator of the central account cannot take on the role of ${name} there either`,
      ({ flows }) => flows.site.administrator,
      'sts.AssumeRole',
      takeOn(name),
    ],
    [
      `${name} cannot be lured into an account that is no target, by a role of the right name there`,
      functionNamed(name),
      'sts.AssumeRole',
      takeOn(name, { RoleArn: memberRole({ ...CENTRAL, account: STRANGER }, VISITORS[name]) }),
    ],
    [
      `${name} cannot take on another role of a target account`,
      functionNamed(name),
      'sts.AssumeRole',
      takeOn(name, { RoleArn: `arn:aws:iam::${MEMBER.account}:role/administrator` }),
    ],
    [
      `${name} cannot take on a role of a target account whose name begins almost like that of its own`,
      functionNamed(name),
      'sts.AssumeRole',
      takeOn(name, { RoleArn: `arn:aws:iam::${MEMBER.account}:role/acm-export-${VISITORS[name]}` }),
    ],
    // It could do there what the other may.
    ...others(name).map(
      (other): Attack => [
        `${name} cannot take on the rollout role as if it were ${other}`,
        functionNamed(name),
        'sts.AssumeRole',
        takeOn(name, { RoleArn: ROLLOUT_ROLE, RoleSessionName: `${other}-intruder` }),
      ],
    ),
    [
      `${name} cannot take on the rollout role with a session that has no function's name`,
      functionNamed(name),
      'sts.AssumeRole',
      takeOn(name, { RoleArn: ROLLOUT_ROLE, RoleSessionName: `intruder-${name}-` }),
    ],
  ]),
  ...onRollout.flatMap((name): Attack[] => [
    [
      `${name} cannot take on the role that writes bundles`,
      functionNamed(name),
      'sts.AssumeRole',
      takeOn(writer),
    ],
    [
      `${name} cannot take on the role that writes bundles in a member account either`,
      functionNamed(name),
      'sts.AssumeRole',
      takeOn(writer, { RoleArn: memberRole(MEMBER, 'bundle-writer') }),
    ],
  ]),
  [
    'export-certificate cannot take on the rollout role of a member stack without the grants of the first edition',
    functionNamed(writer),
    'sts.AssumeRole',
    takeOn(writer, { RoleArn: memberRole(MEMBER, 'rollout') }),
  ],
  ...(['handle-renewal', 'rollout-ended', 'report-certificate-notice'] as const).flatMap((name): Attack[] =>
    ([writer, 'reconcile'] as const).map((visitor) => [
      `${name} cannot take on the ${VISITORS[visitor]} role: it has no work there`,
      functionNamed(name),
      'sts.AssumeRole',
      takeOn(visitor),
    ]),
  ),
  [
    'a node cannot take on its own role with another tag',
    ({ devNode }) => devNode.identity(),
    'sts.AssumeRole',
    ({ devNode }) => ({
      RoleArn: devNode.roleArn,
      RoleSessionName: 'intruder',
      Tags: [{ Key: 'env', Value: 'prod' }],
    }),
  ],
];

const beyondPrefix: [string, Input | ((scene: Scene) => Input)][] = [
  ['DescribeSecret', databaseSecret],
  [
    'PutSecretValue',
    (scene) => ({ ...databaseSecret(scene), SecretString: '{}', ClientRequestToken: token }),
  ],
  [
    'UpdateSecretVersionStage',
    (scene) => ({ ...databaseSecret(scene), VersionStage: 'AWSCURRENT', MoveToVersionId: token }),
  ],
  ['RestoreSecret', databaseSecret],
  ['DeleteSecret', (scene) => ({ ...databaseSecret(scene), RecoveryWindowInDays: 7 })],
  [
    'PutResourcePolicy',
    (scene) => ({ ...databaseSecret(scene), ResourcePolicy: '{}', BlockPublicPolicy: true }),
  ],
  ['TagResource', (scene) => ({ ...databaseSecret(scene), Tags: [{ Key: 'env', Value: 'dev' }] })],
  ['CreateSecret', { Name: 'payments/other', SecretString: '{}', ClientRequestToken: token }],
];

/** Who writes bundles, by its own policies alone. */
const writers: [who: string, by: (scene: Scene) => Identity][] = [
  ['the bundle-writer role', ({ taken }) => taken[writer]],
  ['the rollout role with the grants of the first edition', ({ firstEdition }) => firstEdition],
];
const visitor =
  (name: Visitor) =>
  ({ taken }: Scene) =>
    taken[name];

const writing: Attack[] = writers.flatMap(([who, by]): Attack[] => [
  [`${who} cannot read a bundle`, by, 'secretsmanager.GetSecretValue', productionSecret],
  [
    `${who} cannot read a bundle that was opened to it`,
    by,
    'secretsmanager.GetSecretValue',
    ({ opened }) => ({ SecretId: opened }),
  ],
  ...(
    [
      ['unlock a bundle', 'DeleteResourcePolicy', {}],
      ['take the tag off a bundle', 'UntagResource', { TagKeys: ['env'] }],
      ['read the policy of a bundle', 'GetResourcePolicy', {}],
    ] as const
  ).map(
    ([what, operation, more]): Attack => [
      `${who} cannot ${what}`,
      by,
      `secretsmanager.${operation}`,
      (scene) => ({ ...productionSecret(scene), ...more }),
    ],
  ),
  [`${who} cannot list the secrets of its account`, by, 'secretsmanager.ListSecrets', {}],
  [
    `${who} cannot tag a bundle with a key that is not of this system`,
    by,
    'secretsmanager.TagResource',
    (scene) => ({ ...unguardedSecret(scene), Tags: [{ Key: 'owner', Value: 'intruder' }] }),
  ],
  [
    `${who} cannot tag a bundle with a key that differs in case only`,
    by,
    'secretsmanager.TagResource',
    (scene) => ({ ...unguardedSecret(scene), Tags: [{ Key: 'Env', Value: 'dev' }] }),
  ],
  [
    `${who} cannot create a secret with a tag that is not of this system`,
    by,
    'secretsmanager.CreateSecret',
    {
      Name: 'acm-export/web/1',
      Tags: [{ Key: 'owner', Value: 'intruder' }],
      SecretString: '{}',
      ClientRequestToken: token,
    },
  ],
  [
    `${who} cannot set a policy on a bundle without the check that it opens nothing to the public`,
    by,
    'secretsmanager.PutResourcePolicy',
    (scene) => ({ ...unguardedSecret(scene), ResourcePolicy: '{}' }),
  ],
  [
    `${who} cannot delete a bundle for good`,
    by,
    'secretsmanager.DeleteSecret',
    (scene) => ({ ...unguardedSecret(scene), ForceDeleteWithoutRecovery: true }),
  ],
  [
    `${who} cannot touch a bundle of another stack in its account`,
    by,
    'secretsmanager.PutSecretValue',
    { SecretId: 'acm-export-two/web/0', SecretString: '{}', ClientRequestToken: token },
  ],
  [
    `${who} cannot touch a bundle of another Region`,
    by,
    'secretsmanager.PutSecretValue',
    { SecretId: 'acm-export/web/0', SecretString: '{}', ClientRequestToken: token },
    'us-east-1',
  ],
  ...beyondPrefix.map(
    ([name, input]): Attack => [
      `${who} cannot reach a secret outside the prefix: ${name}`,
      by,
      `secretsmanager.${name}`,
      input,
    ],
  ),
]);

const rollout: Attack[] = [
  ...onRollout.map(
    (name): Attack => [
      `the rollout role cannot read a bundle that was opened to it: ${name}`,
      visitor(name),
      'secretsmanager.GetSecretValue',
      ({ opened }) => ({ SecretId: opened }),
    ],
  ),
  [
    'a session policy cannot widen what the writer of bundles may: no values',
    ({ widened }) => widened,
    'secretsmanager.GetSecretValue',
    unguardedSecret,
  ],
  [
    'a session policy cannot widen what the rollout role may: no installs',
    ({ widenedLook }) => widenedLook,
    'AmazonSSM.SendCommand',
    ({ flows }) => ({ DocumentName: install, InstanceIds: [flows.production.id] }),
  ],
  [
    'a session that was narrowed to describe bundles cannot store one',
    ({ narrowed }) => narrowed,
    'secretsmanager.PutSecretValue',
    (scene) => ({ ...unguardedSecret(scene), SecretString: '{}', ClientRequestToken: token }),
  ],
  [
    'the rollout role cannot send the install document itself',
    visitor('reconcile'),
    'AmazonSSM.SendCommand',
    ({ flows }) => ({ DocumentName: install, InstanceIds: [flows.production.id] }),
  ],
  [
    'the rollout role cannot start another Automation',
    visitor('start-installation'),
    'AmazonSSM.StartAutomationExecution',
    { DocumentName: 'AWS-RestartEC2Instance', Parameters: { InstanceId: ['i-0123456789abcdef0'] } },
  ],
  [
    'the rollout role cannot start a document of another account that has the right name',
    visitor('start-installation'),
    'AmazonSSM.StartAutomationExecution',
    {
      DocumentName: `arn:aws:ssm:${CENTRAL.region}:${STRANGER}:document/acm-export-install-on-fleet`,
    },
  ],
  [
    'the rollout role cannot delete a bundle for good',
    visitor('reconcile'),
    'secretsmanager.DeleteSecret',
    (scene) => ({ ...unguardedSecret(scene), ForceDeleteWithoutRecovery: true }),
  ],
  ...(['DescribeSecret', 'RestoreSecret', 'DeleteSecret'] as const).flatMap((name): Attack[] => [
    [
      `the rollout role cannot reach a secret outside the prefix: ${name}`,
      visitor('deployments-api'),
      `secretsmanager.${name}`,
      databaseSecret,
    ],
    [
      `the rollout role cannot touch a bundle of another stack in its account: ${name}`,
      visitor('deployments-api'),
      `secretsmanager.${name}`,
      { SecretId: 'acm-export-two/web/0' },
    ],
  ]),
  ...(['deployments-api', 'reconcile'] as const).flatMap((name) =>
    ['administrator', 'reader', 'a-reader-one', 'acm-export-bundle-writer'].map(
      (RoleName): Attack => [
        `the rollout role cannot look at a role that is none of the readers: ${RoleName}, ${name}`,
        visitor(name),
        'iam.GetRole',
        { RoleName },
      ],
    ),
  ),
  [
    'deployments-api cannot look at the writer of bundles: only reconcile asks whether it is there',
    visitor('deployments-api'),
    'iam.GetRole',
    { RoleName: `acm-export-bundle-writer-${CENTRAL.region}` },
  ],
  [
    'a session that looks whether readers exist cannot look at others, whatever the account allows',
    ({ findingReaders }) => findingReaders,
    'iam.GetRole',
    { RoleName: 'reader-three' },
  ],
  [
    'the rollout role cannot announce anything in the name of another',
    visitor('start-installation'),
    'AWSEvents.PutEvents',
    { Entries: [{ Source: 'payments', DetailType: 'Paid', Detail: '{}' }] },
  ],
  [
    'the rollout role cannot announce on another event bus',
    visitor('start-installation'),
    'AWSEvents.PutEvents',
    { Entries: [{ Source: 'acm-export', DetailType: 'x', Detail: '{}', EventBusName: 'payments' }] },
  ],
  [
    'the rollout role cannot mark an Automation with another tag',
    visitor('start-installation'),
    'AmazonSSM.AddTagsToResource',
    ({ markedFarAway }) => ({
      ResourceType: 'Automation',
      ResourceId: markedFarAway,
      Tags: [{ Key: 'acm-export', Value: 'web' }],
    }),
  ],
  ...(
    [
      [
        'stop',
        'StopAutomationExecution',
        (AutomationExecutionId) => ({ AutomationExecutionId, Type: 'Cancel' }),
      ],
      ['see', 'GetAutomationExecution', (AutomationExecutionId) => ({ AutomationExecutionId })],
      [
        'mark',
        'AddTagsToResource',
        (ResourceId) => ({
          ResourceType: 'Automation',
          ResourceId,
          Tags: [{ Key: 'acm-export:deployment-id', Value: '1' }],
        }),
      ],
    ] as [string, string, (id: string) => Input][]
  ).map(
    ([what, operation, input]): Attack => [
      `the rollout role cannot ${what} an Automation of another Region, not even one that has the mark`,
      visitor('start-installation'),
      `AmazonSSM.${operation}`,
      ({ markedFarAway }) => input(markedFarAway),
      'us-east-1',
    ],
  ),
];

/** A look goes to nodes of this account and Region, and nothing else does that is called almost like it. */
const looks: Attack[] = [
  ...[
    'AWS-RunShellScript',
    `${look}s`,
    `${look}2`,
    `acm-export-two-look-at-node`,
    `arn:aws:ssm:${CENTRAL.region}:${STRANGER}:document/${look}`,
  ].map(
    (DocumentName): Attack => [
      `the rollout role cannot send a document that is not the look: ${DocumentName}`,
      visitor('reconcile'),
      'AmazonSSM.SendCommand',
      ({ flows }) => ({ DocumentName, InstanceIds: [flows.production.id] }),
    ],
  ),
  [
    'the rollout role cannot look at nodes of another Region',
    visitor('reconcile'),
    'AmazonSSM.SendCommand',
    { DocumentName: `arn:aws:ssm:${here}:document/${look}`, InstanceIds: ['i-0123456789abcdef0'] },
    'us-east-1',
  ],
  ...(['deployments-api', 'export-certificate', 'start-installation', 'check-installation'] as const).map(
    (name): Attack => [
      `a session of ${name} cannot look at nodes: that is not what it is there for`,
      ({ sessions }) => sessions[name],
      'AmazonSSM.SendCommand',
      ({ flows }) => ({ DocumentName: look, InstanceIds: [flows.production.id] }),
    ],
  ),
  [
    'a session in which an installation is looked at cannot start one',
    ({ sessions }) => sessions['check-installation'],
    'AmazonSSM.StartAutomationExecution',
    { DocumentName: 'acm-export-install-on-fleet' },
  ],
  [
    'a session in which nodes are looked at cannot install',
    ({ sessions }) => sessions.reconcile,
    'AmazonSSM.StartAutomationExecution',
    { DocumentName: 'acm-export-install-on-fleet' },
  ],
];

const automation: Attack[] = [
  ...[
    'AWS-RunShellScript',
    look,
    'acm-export-two-install-on-node',
    `arn:aws:ssm:${CENTRAL.region}:${STRANGER}:document/${install}`,
  ].map(
    (DocumentName): Attack => [
      `the Automation role cannot send another document: ${DocumentName}`,
      ({ automation }) => automation,
      'AmazonSSM.SendCommand',
      ({ flows }) => ({ DocumentName, InstanceIds: [flows.production.id] }),
    ],
  ),
  [
    'the Automation role cannot send to nodes of another Region',
    ({ automation }) => automation,
    'AmazonSSM.SendCommand',
    { DocumentName: `arn:aws:ssm:${here}:document/${install}`, InstanceIds: ['i-0123456789abcdef0'] },
    'us-east-1',
  ],
  [
    'the Automation role cannot read a bundle',
    ({ automation }) => automation,
    'secretsmanager.GetSecretValue',
    unguardedSecret,
  ],
  [
    'the Automation role cannot start an Automation',
    ({ automation }) => automation,
    'AmazonSSM.StartAutomationExecution',
    { DocumentName: 'acm-export-install-on-fleet' },
  ],
];

const REQUESTED = {
  DomainName: 'www.example.com',
  ValidationMethod: 'DNS',
  Options: { Export: 'ENABLED' },
  Tags: [{ Key: 'CertName', Value: 'web' }],
};

const exporting: Attack[] = [
  [
    'export-certificate cannot export a certificate without the CertName tag',
    ({ functions }) => functions['export-certificate'],
    'CertificateManager.ExportCertificate',
    ({ untaggedArn }) => ({ CertificateArn: untaggedArn, Passphrase: 'aW50cnVkZXI=' }),
  ],
  ...(
    [
      'deployments-api',
      'request-certificate',
      'start-installation',
      'check-installation',
      'write-validation-records',
      'rollout-ended',
      'report-certificate-notice',
      'handle-renewal',
      'reconcile',
    ] as const
  ).map(
    (name): Attack => [
      `${name} cannot export a certificate`,
      ({ functions }) => functions[name],
      'CertificateManager.ExportCertificate',
      ({ flows }) => ({ CertificateArn: flows.certificateArn, Passphrase: 'aW50cnVkZXI=' }),
    ],
  ),
  ...(
    [
      ['deployments-api', 'DescribeCertificate', {}],
      ['deployments-api', 'RenewCertificate', {}],
      ['request-certificate', 'DescribeCertificate', {}],
      ['write-validation-records', 'DescribeCertificate', {}],
      ['export-certificate', 'DescribeCertificate', {}],
      ['export-certificate', 'ExportCertificate', { Passphrase: 'aW50cnVkZXI=' }],
      ['handle-renewal', 'DescribeCertificate', {}],
      ['reconcile', 'DescribeCertificate', {}],
    ] as const
  ).map(
    ([name, verb, more]): Attack => [
      `${name} has nothing to do with certificates of other Regions: ${verb}`,
      ({ functions }) => functions[name],
      `CertificateManager.${verb}`,
      ({ farArn }) => ({ CertificateArn: farArn, ...more }),
      'us-east-1',
    ],
  ),
  ...(
    [
      'deployments-api',
      'export-certificate',
      'start-installation',
      'check-installation',
      'write-validation-records',
      'rollout-ended',
      'report-certificate-notice',
      'handle-renewal',
      'reconcile',
    ] as const
  ).map(
    (name): Attack => [
      `${name} cannot request a certificate`,
      ({ functions }) => functions[name],
      'CertificateManager.RequestCertificate',
      REQUESTED,
    ],
  ),
  [
    'write-validation-records has nothing to do with certificates of other accounts',
    ({ functions }) => functions['write-validation-records'],
    'CertificateManager.DescribeCertificate',
    ({ flows }) => ({ CertificateArn: flows.certificateArn.replace(CENTRAL.account, STRANGER) }),
  ],
  [
    'write-validation-records cannot see for whom a certificate is',
    ({ functions }) => functions['write-validation-records'],
    'CertificateManager.ListTagsForCertificate',
    ({ flows }) => ({ CertificateArn: flows.certificateArn }),
  ],
  ...(
    [
      ['that cannot be exported', { Options: undefined }],
      ['that says it must not be exported', { Options: { Export: 'DISABLED' } }],
      ['by e-mail', { ValidationMethod: 'EMAIL' }],
      ['by no method that it names', { ValidationMethod: undefined }],
      ['without the tag of its name', { Tags: undefined }],
      ['with another tag', { Tags: [{ Key: 'Name', Value: 'web' }] }],
      [
        'from a private authority',
        {
          CertificateAuthorityArn: `arn:aws:acm-pca:${CENTRAL.region}:${CENTRAL.account}:certificate-authority/12345678-1234-1234-1234-123456789012`,
        },
      ],
    ] as const
  ).map(
    ([how, more]): Attack => [
      `request-certificate cannot request a certificate ${how}`,
      ({ functions }) => functions['request-certificate'],
      'CertificateManager.RequestCertificate',
      { ...REQUESTED, ...more },
    ],
  ),
  ...(['AddTagsToCertificate', 'RenewCertificate', 'RevokeCertificate'] as const).map(
    (verb): Attack => [
      `request-certificate cannot change a certificate that is there: ${verb}`,
      ({ functions }) => functions['request-certificate'],
      `CertificateManager.${verb}`,
      ({ flows }) => ({
        CertificateArn: flows.certificateArn,
        ...(verb === 'AddTagsToCertificate' ? { Tags: [{ Key: 'CertName', Value: '+' }] } : {}),
        ...(verb === 'RevokeCertificate' ? { RevocationReason: 'UNSPECIFIED' } : {}),
      }),
    ],
  ),
  [
    'request-certificate cannot give a certificate that has no name another tag',
    ({ functions }) => functions['request-certificate'],
    'CertificateManager.AddTagsToCertificate',
    ({ untaggedArn }) => ({ CertificateArn: untaggedArn, Tags: [{ Key: 'Team', Value: 'web' }] }),
  ],
  [
    'request-certificate cannot tag a certificate of another Region',
    ({ functions }) => functions['request-certificate'],
    'CertificateManager.AddTagsToCertificate',
    ({ untaggedArn }) => ({
      CertificateArn: untaggedArn.replace(`:${CENTRAL.region}:`, ':us-east-1:'),
      Tags: [{ Key: 'CertName', Value: 'web' }],
    }),
    'us-east-1',
  ],
  [
    'export-certificate cannot revoke a certificate',
    ({ functions }) => functions['export-certificate'],
    'CertificateManager.RevokeCertificate',
    ({ flows }) => ({ CertificateArn: flows.certificateArn, RevocationReason: 'UNSPECIFIED' }),
  ],
  [
    'only callers of the API renew: handle-renewal cannot',
    ({ functions }) => functions['handle-renewal'],
    'CertificateManager.RenewCertificate',
    ({ flows }) => ({ CertificateArn: flows.certificateArn }),
  ],
];

/* --- what each function is granted on one resource, tried on its neighbour ---------------------------------- */

const PAYMENTS_MACHINE = `arn:aws:states:${here}:stateMachine:payments`;
const PAYMENTS_EXECUTION = `arn:aws:states:${here}:execution:payments:1`;

/** The same call on a resource beside that of the stack. */
const neighbours: Record<string, [operation: string, Input]> = {
  'dynamodb:GetItem': ['DynamoDB_20120810.GetItem', { TableName: 'payments', Key: { id: { S: '1' } } }],
  'dynamodb:PutItem': ['DynamoDB_20120810.PutItem', { TableName: 'payments', Item: { id: { S: '1' } } }],
  'dynamodb:UpdateItem': ['DynamoDB_20120810.UpdateItem', { TableName: 'payments', Key: { id: { S: '1' } } }],
  'dynamodb:DeleteItem': ['DynamoDB_20120810.DeleteItem', { TableName: 'payments', Key: { id: { S: '1' } } }],
  'dynamodb:BatchWriteItem': [
    'DynamoDB_20120810.BatchWriteItem',
    { RequestItems: { payments: [{ DeleteRequest: { Key: { id: { S: '1' } } } }] } },
  ],
  'dynamodb:Query': ['DynamoDB_20120810.Query', { TableName: 'payments', IndexName: 'StatusIndex' }],
  'states:StartExecution': [
    'AWSStepFunctions.StartExecution',
    { stateMachineArn: PAYMENTS_MACHINE, input: '{}' },
  ],
  'states:DescribeExecution': ['AWSStepFunctions.DescribeExecution', { executionArn: PAYMENTS_EXECUTION }],
  'states:StopExecution': ['AWSStepFunctions.StopExecution', { executionArn: PAYMENTS_EXECUTION }],
  'sns:ListSubscriptionsByTopic': [
    'sns.ListSubscriptionsByTopic',
    { TopicArn: `arn:aws:sns:${here}:payments` },
  ],
  'sns:Publish': ['sns.Publish', { TopicArn: `arn:aws:sns:${here}:payments`, Message: 'paid' }],
  'sqs:SendMessage': [
    'AmazonSQS.SendMessage',
    {
      QueueUrl: `https://sqs.${CENTRAL.region}.amazonaws.com/${CENTRAL.account}/payments`,
      MessageBody: 'paid',
    },
  ],
  'lambda:InvokeFunction': ['lambda.Invoke', { FunctionName: `arn:aws:lambda:${here}:function:payments` }],
};

type Holder = keyof Scene['functions'] | 'stateMachine' | 'schedule';
const granted: Record<Holder, (keyof typeof neighbours)[]> = {
  'deployments-api': [
    'dynamodb:GetItem',
    'dynamodb:PutItem',
    'dynamodb:UpdateItem',
    'dynamodb:BatchWriteItem',
    'dynamodb:Query',
    'states:StartExecution',
    'states:StopExecution',
    'sns:ListSubscriptionsByTopic',
  ],
  'request-certificate': ['dynamodb:GetItem', 'dynamodb:UpdateItem'],
  'export-certificate': ['dynamodb:GetItem'],
  'start-installation': ['dynamodb:GetItem', 'dynamodb:UpdateItem', 'dynamodb:Query'],
  'check-installation': ['dynamodb:GetItem', 'dynamodb:UpdateItem', 'dynamodb:Query'],
  'write-validation-records': ['dynamodb:GetItem', 'dynamodb:UpdateItem'],
  'rollout-ended': [
    'dynamodb:GetItem',
    'dynamodb:PutItem',
    'dynamodb:UpdateItem',
    'dynamodb:DeleteItem',
    'states:StartExecution',
    'sns:Publish',
    'sqs:SendMessage',
  ],
  'report-certificate-notice': [
    'dynamodb:PutItem',
    'dynamodb:UpdateItem',
    'dynamodb:DeleteItem',
    'dynamodb:Query',
    'sns:Publish',
    'sqs:SendMessage',
  ],
  'handle-renewal': [
    'dynamodb:GetItem',
    'dynamodb:UpdateItem',
    'dynamodb:Query',
    'states:StartExecution',
    'sqs:SendMessage',
  ],
  reconcile: [
    'dynamodb:GetItem',
    'dynamodb:PutItem',
    'dynamodb:UpdateItem',
    'dynamodb:DeleteItem',
    'dynamodb:BatchWriteItem',
    'dynamodb:Query',
    'states:StartExecution',
    'states:DescribeExecution',
    'states:StopExecution',
    'sns:Publish',
    'sqs:SendMessage',
  ],
  stateMachine: ['lambda:InvokeFunction'],
  schedule: ['lambda:InvokeFunction', 'sqs:SendMessage'],
};

const beside = (Object.entries(granted) as [Holder, string[]][]).flatMap(([holder, actions]) =>
  actions.map((action): Attack => {
    const [operation, input] = neighbours[action] as [string, Input];
    const by = (scene: Scene) =>
      holder === 'stateMachine' || holder === 'schedule' ? scene[holder] : scene.functions[holder];
    return [`${holder} reaches nothing beside this stack: ${action}`, by, operation, input];
  }),
);

/** Reading the inventory by the wrong door: what belongs to one function only. */
const inside: Attack[] = [
  [
    'report-certificate-notice cannot list the whole fleet',
    ({ functions }) => functions['report-certificate-notice'],
    'DynamoDB_20120810.Query',
    { TableName: 'acm-export-inventory', IndexName: 'StatusIndex' },
  ],
  [
    'check-installation cannot list the whole fleet',
    ({ functions }) => functions['check-installation'],
    'DynamoDB_20120810.Query',
    { TableName: 'acm-export-inventory', IndexName: 'StatusIndex' },
  ],
  [
    'check-installation cannot delete what the inventory knows',
    ({ functions }) => functions['check-installation'],
    'DynamoDB_20120810.DeleteItem',
    { TableName: 'acm-export-inventory', Key: { DeploymentId: { S: '0' }, Item: { S: 'deployment' } } },
  ],
  [
    'nobody empties the inventory by scanning it: reconcile cannot',
    ({ functions }) => functions.reconcile,
    'DynamoDB_20120810.Scan',
    { TableName: 'acm-export-inventory' },
  ],
  [
    'start-installation cannot tell people anything',
    ({ functions }) => functions['start-installation'],
    'sns.Publish',
    { TopicArn: `arn:aws:sns:${here}:acm-export-notifications`, Message: 'all is well' },
  ],
  [
    'the state machine cannot call the API behind its back',
    ({ stateMachine }) => stateMachine,
    'lambda.Invoke',
    { FunctionName: `arn:aws:lambda:${here}:function:acm-export-deployments-api` },
  ],
  [
    'the state machine of requests cannot export behind the back of the other one',
    ({ requestMachine }) => requestMachine,
    'lambda.Invoke',
    { FunctionName: `arn:aws:lambda:${here}:function:acm-export-export-certificate` },
  ],
  [
    'the rule of issued certificates cannot start a rollout',
    ({ issuedRule }) => issuedRule,
    'AWSStepFunctions.StartExecution',
    { stateMachineArn: `arn:aws:states:${here}:stateMachine:acm-export-certificate-rollout`, input: '{}' },
  ],
];

export const attacks: Attack[] = [
  ...nodes,
  ...administrators,
  ...readers,
  ...trust,
  ...writing,
  ...rollout,
  ...looks,
  ...automation,
  ...exporting,
  ...inside,
  ...beside,
];

/* --- roles taken on by AWS services for others -------------------------------------------------------------- */

/** A service acts for a foreign resource: trust policies must see that. */
export const serviceAttacks: [
  promise: string,
  service: string,
  roleArn: string,
  context: Record<string, string>,
][] = [
  [
    'another state machine of the account cannot run as the state machine of this stack',
    'states.amazonaws.com',
    `arn:aws:iam::${CENTRAL.account}:role/acm-export-state-machine-${CENTRAL.region}`,
    { 'aws:SourceAccount': CENTRAL.account, 'aws:SourceArn': PAYMENTS_MACHINE },
  ],
  [
    'another state machine of the account cannot run as the state machine of requests',
    'states.amazonaws.com',
    `arn:aws:iam::${CENTRAL.account}:role/acm-export-certificate-request-${CENTRAL.region}`,
    { 'aws:SourceAccount': CENTRAL.account, 'aws:SourceArn': PAYMENTS_MACHINE },
  ],
  [
    'another rule of the account cannot run as the rule of issued certificates',
    'events.amazonaws.com',
    `arn:aws:iam::${CENTRAL.account}:role/acm-export-certificate-issued-${CENTRAL.region}`,
    { 'aws:SourceAccount': CENTRAL.account, 'aws:SourceArn': `arn:aws:events:${here}:rule/payments` },
  ],
  [
    'a schedule of another account cannot run as the schedules of this stack',
    'scheduler.amazonaws.com',
    `arn:aws:iam::${CENTRAL.account}:role/acm-export-reconcile-schedule-${CENTRAL.region}`,
    {
      'aws:SourceAccount': STRANGER,
      'aws:SourceArn': `arn:aws:scheduler:${CENTRAL.region}:${STRANGER}:schedule-group/default`,
    },
  ],
  [
    'an Automation of another account cannot act as the Automation role',
    'ssm.amazonaws.com',
    AUTOMATION_ROLE,
    {
      'aws:SourceAccount': STRANGER,
      'aws:SourceArn': `arn:aws:ssm:${CENTRAL.region}:${STRANGER}:automation-execution/1`,
    },
  ],
  [
    'a hybrid activation cannot make servers of the Automation role',
    'ssm.amazonaws.com',
    AUTOMATION_ROLE,
    {
      'aws:SourceAccount': CENTRAL.account,
      'aws:SourceArn': `arn:aws:ssm:${here}:managed-instance/mi-0123456789abcdef0`,
    },
  ],
  [
    'EC2 cannot act as a function of this stack',
    'ec2.amazonaws.com',
    functionRole('export-certificate'),
    { 'aws:SourceAccount': CENTRAL.account },
  ],
];
