import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { RecordedCall } from 'local-cloud';
import { evaluate, type Principal } from 'local-cloud/iam';
import { type Deployed, resolveTemplate } from 'local-cloud/templates';
import { FLOWS, type Flow } from '../campaign/flows.ts';
import { play } from '../campaign/play.ts';
import { CENTRAL, HOUR, MEMBER, REGION } from '../campaign/world.ts';
import { type Need, sessionNameOf, shapeOf } from './neighbours.ts';

const resolved = new Map<string, Deployed>();

/** A stack of a template as it is now; resolved once for each text of it and each set of parameters. */
function stackOf(name: string, account: string, parameters: Record<string, string>): Deployed {
  const file = path.resolve(import.meta.dirname, '../..', name);
  const text = readFileSync(file, 'utf8');
  const key = JSON.stringify([text, parameters]);
  const known = resolved.get(key);
  if (known) return known;
  const stack = resolveTemplate(file, {
    account,
    region: REGION,
    stackName: `acm-export-${account}`,
    parameters: { ExternalId: 'only-for-these-tests', SecretReaderRoles: 'reader', ...parameters },
  });
  resolved.set(key, stack);
  return stack;
}

const stacksWith = (parameters: Record<string, string>): Deployed[] => [
  stackOf('template.yaml', CENTRAL, { TargetAccounts: `${CENTRAL},${MEMBER}`, DnsAccounts: MEMBER }),
  stackOf('member-account.yaml', MEMBER, {
    CentralAccountId: CENTRAL,
    CentralRegion: REGION,
    TargetTagKey2: 'env',
    TargetTagKey3: 'team',
    ...parameters,
  }),
];

/** Both stacks, with every option that adds a grant, and the owner's list of names; without the grants of the first edition. */
export const stacks = () => stacksWith({ KeepFirstEditionGrants: 'false', AllowedCertNames: 'web' });
/** The same where the owner allows every name: no Deny hides then what a grant lets through. */
export const openStacks = () => stacksWith({ KeepFirstEditionGrants: 'false' });
/** The same with the grants of the first edition: the member stack as it is unless it is told otherwise. */
export const firstEditionStacks = () => stacksWith({});

const ID = '0123456789abcdef01234567';
const here = (service: string, resource: string) => `arn:aws:${service}:${REGION}:${CENTRAL}:${resource}`;
const there = (service: string, resource: string) => `arn:aws:${service}:${REGION}:${MEMBER}:${resource}`;
const INVENTORY = here('dynamodb', 'table/acm-export-inventory');
const IDEMPOTENCY = here('dynamodb', 'table/acm-export-idempotency');
const EXECUTION = here('states', `execution:acm-export-certificate-rollout:${ID}-1`);
const REQUEST_EXECUTION = here('states', `execution:acm-export-certificate-request:request-${ID}-1`);
const SECRET = there('secretsmanager', `secret:acm-export/web/${ID}-AbCdEf`);
const ANY_AUTOMATION = there('ssm', 'automation-execution/01234567-89ab-cdef-0123-456789abcdef');
const MARKED = { 'aws:ResourceTag/acm-export:deployment-id': ID };
const TOPIC = here('sns', 'acm-export-notifications');
const FAILED_EVENTS = here('sqs', 'acm-export-failed-events');
const UNDELIVERED_EVENTS = here('sqs', 'acm-export-undelivered-events');

const FUNCTIONS = [
  'deployments-api',
  'request-certificate',
  'write-validation-records',
  'export-certificate',
  'start-installation',
  'check-installation',
  'rollout-ended',
  'report-certificate-notice',
  'handle-renewal',
  'reconcile',
];

/** Role, action, resource: what the flows do not come by, because it is AWS that makes the call, or something has to fail first. */
const MORE: [role: string, actions: string, resource: string, context?: Need['request']['context']][] = [
  ...FUNCTIONS.flatMap((name): typeof MORE => [
    [
      name,
      'logs:CreateLogStream logs:PutLogEvents',
      here('logs', `log-group:/aws/lambda/acm-export-${name}:log-stream:1`),
    ],
    [name, 'xray:PutTraceSegments xray:PutTelemetryRecords', '*'],
  ]),
  ...(['state-machine', 'certificate-request'] as const).flatMap((name): typeof MORE => [
    [
      name,
      'logs:CreateLogDelivery logs:GetLogDelivery logs:UpdateLogDelivery logs:DeleteLogDelivery logs:ListLogDeliveries logs:PutResourcePolicy logs:DescribeResourcePolicies logs:DescribeLogGroups',
      '*',
    ],
    [
      name,
      'xray:PutTraceSegments xray:PutTelemetryRecords xray:GetSamplingRules xray:GetSamplingTargets',
      '*',
    ],
  ]),
  ...['request-certificate', 'write-validation-records', 'deployments-api'].map(
    (name): (typeof MORE)[number] => [
      'certificate-request',
      'lambda:InvokeFunction',
      here('lambda', `function:acm-export-${name}`),
    ],
  ),
  // A person requests a certificate.
  ['deployments-api', 'acm:ListCertificates', '*'],
  [
    'request-certificate',
    'acm:RequestCertificate',
    '*',
    { 'acm:ValidationMethod': 'DNS', 'acm:Export': 'ENABLED', 'aws:RequestTag/CertName': 'web' },
  ],
  ['request-certificate', 'acm:ListCertificates', '*'],
  [
    'request-certificate',
    'acm:AddTagsToCertificate',
    here('acm', 'certificate/01234567-89ab-cdef-0123-456789abcdef'),
    { 'aws:RequestTag/CertName': 'web' },
  ],
  [
    'request-certificate',
    'acm:DescribeCertificate acm:ListTagsForCertificate',
    here('acm', 'certificate/01234567-89ab-cdef-0123-456789abcdef'),
  ],
  [
    'write-validation-records',
    'acm:DescribeCertificate',
    here('acm', 'certificate/01234567-89ab-cdef-0123-456789abcdef'),
  ],
  ...['request-certificate', 'write-validation-records'].map((name): (typeof MORE)[number] => [
    name,
    'dynamodb:GetItem dynamodb:UpdateItem',
    INVENTORY,
  ]),
  ...['deployments-api', 'reconcile'].map((name): (typeof MORE)[number] => [
    name,
    'states:StartExecution',
    here('states', 'stateMachine:acm-export-certificate-request'),
  ]),
  ['reconcile', 'states:DescribeExecution', REQUEST_EXECUTION],
  [
    'certificate-issued',
    'states:StartExecution',
    here('states', 'stateMachine:acm-export-certificate-request'),
  ],
  ...['rollout-ended', 'report-certificate-notice', 'reconcile'].flatMap((name): typeof MORE => [
    [name, 'sns:Publish', TOPIC],
    [name, 'dynamodb:PutItem dynamodb:UpdateItem dynamodb:DeleteItem', IDEMPOTENCY],
  ]),
  ...['rollout-ended', 'report-certificate-notice', 'handle-renewal'].map((name): (typeof MORE)[number] => [
    name,
    'sqs:SendMessage',
    FAILED_EVENTS,
  ]),
  ...['CertNameIndex', 'CertificateArnIndex', 'StatusIndex', 'TargetAccountIndex'].map(
    (index): (typeof MORE)[number] => ['deployments-api', 'dynamodb:Query', `${INVENTORY}/index/${index}`],
  ),
  [
    'deployments-api',
    'acm:RenewCertificate',
    here('acm', 'certificate/01234567-89ab-cdef-0123-456789abcdef'),
  ],
  ['handle-renewal', 'dynamodb:GetItem', INVENTORY],
  // The account of a hosted zone.
  ...['write-validation-records', 'deployments-api'].map((name): (typeof MORE)[number] => [
    name,
    'sts:AssumeRole',
    `arn:aws:iam::${MEMBER}:role/acm-export-validation-records-${REGION}`,
  ]),
  ['rollout-ended', 'states:StartExecution', here('states', 'stateMachine:acm-export-certificate-rollout')],
  ['report-certificate-notice', 'dynamodb:Query', `${INVENTORY}/index/CertificateArnIndex`],
  ['reconcile', 'dynamodb:BatchWriteItem dynamodb:PutItem', INVENTORY],
  ['reconcile', 'states:DescribeExecution states:StopExecution', EXECUTION],
  [
    'bundle-writer/export-certificate',
    'secretsmanager:UpdateSecretVersionStage secretsmanager:DeleteSecret secretsmanager:RestoreSecret',
    SECRET,
  ],
  [
    'bundle-writer/export-certificate',
    'secretsmanager:TagResource',
    SECRET,
    { 'aws:TagKeys': ['acm-export', 'acm-export:deployment-id'] },
  ],
  ...['deployments-api', 'reconcile'].map((name): (typeof MORE)[number] => [
    `rollout/${name}`,
    'iam:GetRole',
    `arn:aws:iam::${MEMBER}:role/apps/reader`,
  ]),
  ['rollout/reconcile', 'iam:GetRole', `arn:aws:iam::${MEMBER}:role/reader`],
  // The deletion of a deployment that was broken off.
  ['rollout/reconcile', 'secretsmanager:DeleteSecret secretsmanager:RestoreSecret', SECRET],
  ['rollout/reconcile', 'ssm:StopAutomationExecution', ANY_AUTOMATION, MARKED],
  ['rollout/deployments-api', 'secretsmanager:RestoreSecret', SECRET],
  // What the rollout before left.
  ['rollout/start-installation', 'ssm:GetAutomationExecution', ANY_AUTOMATION],
  // After a canary in vain, the same as for the first Automation.
  [
    'rollout/check-installation',
    'ssm:StartAutomationExecution',
    there('ssm', 'document/acm-export-install-on-fleet'),
  ],
  ['rollout/check-installation', 'ssm:StartAutomationExecution', there('ssm', 'automation-execution/*')],
  [
    'rollout/check-installation',
    'ssm:AddTagsToResource',
    there('ssm', 'automation-execution/*'),
    { 'aws:TagKeys': ['acm-export:deployment-id'] },
  ],
  [
    'rollout/check-installation',
    'iam:PassRole',
    `arn:aws:iam::${MEMBER}:role/acm-export-automation-${REGION}`,
    { 'iam:PassedToService': 'ssm.amazonaws.com' },
  ],
  ['rollout/reconcile', 'ssm:SendCommand', there('ssm', 'managed-instance/mi-0123456789abcdef0')],
  ['rollout/reconcile', 'ssm:GetCommandInvocation', '*'],
  ...['check-installation', 'reconcile'].map((name): (typeof MORE)[number] => [
    `rollout/${name}`,
    'ssm:ListCommands',
    '*',
  ]),
  // Which of the names of an Automation document AWS asks for has changed over the years.
  ...['start-installation', 'check-installation'].map((name): (typeof MORE)[number] => [
    `rollout/${name}`,
    'ssm:StartAutomationExecution',
    there('ssm', 'automation-definition/acm-export-install-on-fleet:1'),
  ]),
  ['automation', 'ssm:SendCommand', there('ssm', 'managed-instance/mi-0123456789abcdef0')],
];

/** Roles of the member stack. */
const OF_MEMBER = new Set(['rollout', 'bundle-writer', 'automation']);

/** @param name of the role; after a slash, the function whose session it is. */
function needOf(
  name: string,
  action: string,
  resource: string,
  context: Need['request']['context'] = {},
): Need {
  const [source = '', caller = ''] = name.split('/');
  const account = OF_MEMBER.has(source) ? MEMBER : CENTRAL;
  const role = `acm-export-${source}-${REGION}`;
  const session = caller ? sessionNameOf(caller, ID) : 'session';
  const principal: Principal = {
    account,
    arn: `arn:aws:iam::${account}:role/${role}`,
    sessionArn: `arn:aws:sts::${account}:assumed-role/${role}/${session}`,
    userId: `AROAOFSOMEROLE:${session}`,
    tags: {},
    identityPolicies: [],
  };
  const resourceAccount = resource.split(':')[4] || account;
  return { source, principal, request: { action, resource, context, resourceAccount } };
}

/** What AWS services do in the name of something: which one, for what, to what. */
const servicesOf = (apiId: string): [service: string, source: string, action: string, resource: string][] => {
  const ofApi = ['GET/endpoints', 'POST/certificates/web', 'POST/certificates/web/deployments'].map(
    (route) => ({
      service: 'apigateway',
      source: here('execute-api', `${apiId}/v1/${route}`),
      name: 'deployments-api',
    }),
  );
  const ofRules = Object.entries({
    'rollout-ended': 'rollout-ended',
    'certificate-notice': 'report-certificate-notice',
    'certificate-renewed': 'handle-renewal',
  }).map(([rule, name]) => ({ service: 'events', source: here('events', `rule/acm-export-${rule}`), name }));
  return [
    ...[...ofApi, ...ofRules].map(({ service, source, name }): ReturnType<typeof servicesOf>[number] => [
      service,
      source,
      'lambda:InvokeFunction',
      here('lambda', `function:acm-export-${name}`),
    ]),
    ...ofRules.map(({ service, source }): ReturnType<typeof servicesOf>[number] => [
      service,
      source,
      'sqs:SendMessage',
      UNDELIVERED_EVENTS,
    ]),
  ];
};

const byService = ([service, SourceArn, action, resource]: ReturnType<typeof servicesOf>[number]): Need => ({
  source: `aws ${service}`,
  principal: { account: '', arn: '', service: `${service}.amazonaws.com`, tags: {}, identityPolicies: [] },
  request: {
    action,
    resource,
    context: { 'aws:SourceArn': SourceArn, 'aws:SourceAccount': CENTRAL },
    resourceAccount: CENTRAL,
  },
});

/** Each kind of call that the flows are allowed to make. */
function needsOf(calls: readonly RecordedCall[]): Need[] {
  return calls
    .filter(({ source }) => source !== 'client')
    .flatMap(({ source, principal, decisions }) =>
      decisions.flatMap(({ request, decision }) =>
        decision.allowed ? [{ source, principal, request }] : [],
      ),
    );
}

/** Nodes read by any of their tag keys. */
const byTagKey = (need: Need, key: string): Need => {
  const value = need.principal.tags['acm-export'] ?? '';
  return {
    ...need,
    source: `${need.source} by ${key}`,
    principal: { ...need.principal, tags: { [key]: value } },
    request: {
      ...need.request,
      context: { [`secretsmanager:ResourceTag/${key}`]: value },
      resourcePolicies: [],
    },
  };
};

const byReader = ({ request }: Need): Need[] =>
  ['secretsmanager:GetSecretValue', 'secretsmanager:DescribeSecret'].map((action) => ({
    source: 'reader',
    principal: { account: MEMBER, arn: `arn:aws:iam::${MEMBER}:role/reader`, tags: {}, identityPolicies: [] },
    request: { ...request, action, context: {} },
  }));

/** What each session that a function opened may do of all that the rollout role has to do, asked for or not. */
function inSessions(needs: readonly Need[]): Need[] {
  const isSession = ({ principal }: Need) => principal.sessionPolicy !== undefined;
  const kindOf = ({ request }: Need) => `${request.action} ${shapeOf(request.resource)}`;
  const sessions = new Map(
    needs
      .filter(isSession)
      .map((need) => [need.source + shapeOf(JSON.stringify(need.principal.sessionPolicy)), need]),
  );
  const ofRole = new Map(
    needs.filter((need) => isSession(need) || OF_MEMBER.has(need.source)).map((need) => [kindOf(need), need]),
  );
  return [...sessions.values()].flatMap(({ source, principal }) =>
    [...ofRole.values()].flatMap(({ request }) => {
      const { resourcePolicies: _, ...plain } = request;
      const Statement = { Effect: 'Allow' as const, Action: '*', Resource: '*' };
      const { allowed } = evaluate({ ...principal, identityPolicies: [{ Statement }] }, plain);
      return allowed ? [{ source, principal, request: plain }] : [];
    }),
  );
}

/**
 * The calls of a central stack of the first edition: its export-certificate writes bundles with the rollout role, in sessions
 * of the same name.
 */
export function firstEditionCalls(needs: readonly Need[]): Need[] {
  const toRollout = (text: string) => text.replace(/acm-export-bundle-writer-/, 'acm-export-rollout-');
  return needs
    .filter(({ principal, request }) =>
      [principal.arn, request.action === 'sts:AssumeRole' ? request.resource : ''].some(
        (text) => text !== toRollout(text),
      ),
    )
    .map(({ source, principal: { sessionPolicy: _, ...principal }, request }) => ({
      source,
      principal: { ...principal, arn: toRollout(principal.arn) },
      request: { ...request, resource: toRollout(request.resource) },
    }));
}

/** The actions that the sessions of each function allow, in words that sort. */
export function sessionActionsOf(needs: readonly Need[]): Record<string, string[]> {
  const actions = needs.flatMap(({ source, principal }) =>
    [principal.sessionPolicy?.Statement ?? []]
      .flat()
      .flatMap(({ Action = [] }) => [Action].flat())
      .map((action) => ({ source: source.replace('function acm-export-', ''), action })),
  );
  const bySource = Map.groupBy(actions, ({ source }) => source);
  return Object.fromEntries(
    [...bySource].map(([source, all]) => [source, [...new Set(all.map(({ action }) => action))].sort()]),
  );
}

let found: Promise<Need[]> | undefined;

/** Every call that the system makes: those of all flows, and what they do not come by. */
export function neededCalls(): Promise<Need[]> {
  found ??= findNeeds();
  return found;
}

async function findNeeds(): Promise<Need[]> {
  const made: Need[] = [];
  const aDay: Flow = {
    // Once a day reconcile looks at every bundle.
    does: async (world) => {
      await world.register();
      await world.clock.sleep(25 * HOUR);
    },
  };
  for (const flow of [...Object.values(FLOWS), aDay]) {
    const calls: (readonly RecordedCall[])[] = [];
    await play(flow, ({ cloud }) => calls.push(cloud.record.calls));
    made.push(...needsOf(calls.flat()));
  }
  const reads = made.filter(
    ({ source, request }) => /^node/.test(source) && /:GetSecretValue$/.test(request.action),
  );
  // Who reads a bundle that is delivered as a secret, by the policy that a function wrote.
  const opened = made.find(({ request }) =>
    request.resourcePolicies?.some((policy) => JSON.stringify(policy).includes('AllowReaders')),
  );
  const [apiId = ''] = stacks().flatMap(({ resources }) => resources.get('DeploymentsApi')?.physicalId ?? []);
  const known = [
    ...made,
    ...MORE.flatMap(([name, actions, resource, context]) =>
      actions.split(' ').map((action) => needOf(name, action, resource, context)),
    ),
  ];
  return distinct([
    ...known,
    ...inSessions(known),
    ...reads.slice(0, 1).flatMap((need) => ['env', 'team'].map((key) => byTagKey(need, key))),
    ...(opened ? byReader(opened) : []),
    ...servicesOf(apiId).map(byService),
  ]);
}

/** Each kind of call once. */
function distinct(needs: readonly Need[]): Need[] {
  const kinds = new Map<string, Need>();
  for (const need of needs) {
    const { source, principal, request } = need;
    const kind = [
      source,
      principal.arn,
      principal.userId,
      request.action,
      request.resource,
      principal.sessionPolicy,
      principal.tags,
    ];
    const key = shapeOf(JSON.stringify([...kind, request.context['aws:SourceArn']]));
    if (!kinds.has(key)) kinds.set(key, need);
  }
  return [...kinds.values()];
}
