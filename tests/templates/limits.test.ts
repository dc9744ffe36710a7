import { describe, expect, test } from '@jest/globals';
import { resolveParameters } from 'local-cloud/templates';
import {
  centralStack,
  dnsStack,
  EXTERNAL_ID,
  memberStack,
  resourcesOf,
  statementsOf,
  writtenTemplate,
} from './stacks.ts';

const x = (length: number) => 'x'.repeat(length);

/** Both sides of each limit: what is just taken, and what is just refused. */
type Limits = Record<
  string,
  { default?: string | number; takes: (string | number)[]; refuses: (string | number)[] }
>;

const PREFIX = {
  default: 'acm-export',
  takes: ['abc', 'a-1', `a${x(19)}`, 'aw-s'],
  refuses: [
    '',
    'ab',
    `a${x(20)}`,
    'Abc',
    '1bc',
    '*bc',
    'a*c',
    'ab*',
    'ab-',
    'aBc',
    'abC',
    'aws',
    'aws-x',
    'amazon',
    'amzn-1',
    'abc\n',
  ],
};
const EXTERNAL = {
  takes: [x(8), x(128), 'Az09+=,.@:/_-'],
  refuses: ['', x(7), x(129), 'eight ch', 'eight*ch', '${eight}', `${x(8)}\n`],
};
const tagKey = (given: string, refuses: string[] = []) => ({
  default: given,
  takes: ['k', x(128), 'Az09=._:/@-'],
  refuses: [x(129), 'a*b', '*', 'a b', 'a+b', 'a?b', 'a"b', '${a}', 'aws:x', ...refuses],
});
const SWITCH = (given: string) => ({
  default: given,
  takes: ['true', 'false'],
  refuses: ['', 'yes', 'TRUE', 'other', '31337'],
});
const ten = (name: string) => Array(10).fill(name).join();
/** A list of names that is so long. */
const long = (length: number) =>
  `${`${x(49)},`.repeat(Math.floor(length / 50) - 1)}${x(49 + (length % 50))}a`;
/** Rules that are so long together. */
const rules = (length: number) =>
  `${'a=aaaa.example,'.repeat(Math.floor(length / 15) - 2)}b=${x((length % 15) + 20)}.example`;
const days = [30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

/** Rules with one star more than RULES have, at each place: the last letter of a name may be one, and the beginning of a domain. */
const STARS = (() => {
  const RULES = ['abc=abc.abc', 'abc=.abc.abc', 'abc=*.abc.abc', '*=abc.abc'];
  const starred = RULES.flatMap((rule) =>
    Array.from(rule, (_, at) => [0, 1].map((gone) => `${rule.slice(0, at)}*${rule.slice(at + gone)}`)).flat(),
  );
  const isRule = (rule: string) => {
    const [name = '', domain = '', ...more] = rule.split('=');
    const isName = name === '*' || (name !== '' && !name.slice(0, -1).includes('*') && /^[^*]/.test(name));
    const plain = domain.replace(/^([*]?[.])/, '');
    return isName && more.length === 0 && !plain.includes('*') && /^[a-z]+[.][a-z]/.test(plain);
  };
  return {
    taken: starred.filter((rule) => isRule(rule)),
    refused: starred.filter((rule) => !isRule(rule)),
  };
})();

const CENTRAL_LIMITS: Limits = {
  Prefix: PREFIX,
  ExternalId: EXTERNAL,
  TargetAccounts: {
    default: '',
    takes: ['', '111122223333', '111122223333,444455556666'],
    refuses: ['11112222333', '1111222233334', '11112222333*', '*', '111122223333,*', 'a11122223333'],
  },
  DnsAccounts: {
    default: '',
    takes: ['', '111122223333', '111122223333,444455556666'],
    refuses: ['11112222333', '1111222233334', '11112222333*', '*', '111122223333,*', 'a11122223333'],
  },
  TargetTagKeys: tagKey('acm-export', ['', 'env,aws:name', 'env,*']),
  RequireCertificateTag: SWITCH('true'),
  NotificationEmail: {
    default: '',
    takes: ['', 'on-call@example.com'],
    refuses: ['on-call', 'on-call@example', 'on call@example.com', 'on-call@example.com other@example.com'],
  },
  SecretReaderRoles: {
    default: '',
    takes: ['', x(64), `${x(64)}*`, 'Az09+=.@_-', 'one,two*'],
    refuses: [x(65), '*', '**', 'a**', 'a*b', '*a', 'a/b', 'one,*'],
  },
  MaxDeployments: { default: 10_000, takes: [1, 100_000], refuses: [0, -1, 100_001] },
  RequestRules: {
    default: '',
    takes: [
      '',
      'www=www.example.com',
      'web-*=.example.com',
      '*=*.example.com',
      'Az09._-0=a.b',
      `${x(64)}=${x(63)}.example.com`,
      `${x(63)}*=xn--mnchen-3ya.de`,
      'a=a.example,a=.b.example,b*=*.c.example',
      rules(1000),
      ...STARS.taken,
      ...STARS.taken.map((rule) => `a=a.b,${rule}`),
    ],
    refuses: [
      'www',
      '=www.example.com',
      'www=',
      'www=com',
      'www=.com',
      'www=*.com',
      'www=*',
      'www=.',
      'www=**.example.com',
      'www=a*.example.com',
      'www=www.*.com',
      'www=WWW.example.com',
      'www=www..example.com',
      'www=..example.com',
      'www=www.example.com.',
      'www=-a.example.com',
      'www=a-.example.com',
      `www=${x(64)}.example.com`,
      'www=a_b.example.com',
      'www=a.example=b.example',
      `${x(65)}=a.example`,
      `${x(64)}*=a.example`,
      '**=a.example',
      '*a=a.example',
      'a*b=a.example',
      '.a=a.example',
      'a/b=a.example',
      'a=a.example,',
      ',a=a.example',
      'a=a.example, b=b.example',
      'a=a.example\n',
      rules(1001),
      ...STARS.refused,
      ...STARS.refused.map((rule) => `a=a.b,${rule}`),
      `www=a.${x(64)}`,
      `a=a.b,${x(65)}=a.b`,
      `a=a.b,b=${x(64)}.com`,
      `a=a.b,b=c.${x(64)}`,
    ],
  },
  MaxCertificatesPerDay: { default: 10, takes: [0, 1000], refuses: [-1, 1001] },
  MaxDomainNames: { default: 10, takes: [1, 100], refuses: [0, 101] },
  RolloutsEnabled: SWITCH('true'),
  InstallationTimeoutMinutes: { default: 120, takes: [10, 360], refuses: [9, 361] },
  NodeRetentionDays: { default: 7, takes: [1, 365], refuses: [0, 366] },
  LookIntervalMinutes: { default: 60, takes: [0, 10_080], refuses: [-1, 10_081] },
  HybridLookIntervalMinutes: { default: 1440, takes: [0, 10_080], refuses: [-1, 10_081] },
  DiscoverEndpoints: { default: 'list', takes: ['no', 'list', 'tell'], refuses: ['', 'yes', 'other'] },
  LogRetentionDays: { default: 90, takes: days, refuses: [0, 1, 29, 31, 31_337] },
  LogLevel: { default: 'INFO', takes: ['DEBUG', 'INFO', 'WARN', 'ERROR'], refuses: ['', 'TRACE', 'other'] },
  FunctionArchitecture: { default: 'arm64', takes: ['arm64', 'x86_64'], refuses: ['', 'other'] },
  AllowPrivateCertificates: SWITCH('false'),
  ReminderDays: { default: 7, takes: [0, 365], refuses: [-1, 366] },
  ApiGatewayLoggingRole: { default: 'create', takes: ['create', 'existing'], refuses: ['', 'other'] },
};

/** What no list of the owner of an account takes: it would mean more in a pattern, or in a policy, than it says. */
const listOf = [
  '',
  '**',
  '*,a',
  'a,*',
  '*a',
  'a*b',
  'a,b*c',
  'a**',
  'a,',
  ',a',
  'a,,b',
  'a, b',
  'a b',
  'a/b',
  'a?',
  'a+',
  'a|b',
  '.a',
  '${a}',
  'a\n',
  `${ten('a')},a`,
];

/** Lists of names, with a star at the end of an entry; whether a star alone is one differs. */
const NAMES = {
  takes: ['a', x(64), `${x(63)}*`, 'a.*', 'web-*,api', 'Az09._-0', ten('a'), long(200)],
  refuses: [
    ...listOf,
    x(65),
    `a,${x(65)}`,
    `${x(64)}*`,
    'a..b',
    'a.',
    'a-',
    'a_',
    '_a',
    'a@b',
    'a:b',
    long(201),
  ],
};

const MEMBER_LIMITS: Limits = {
  Prefix: PREFIX,
  CentralAccountId: {
    takes: ['111122223333'],
    refuses: ['', '11112222333', '1111222233334', '11112222333*', '*'],
  },
  CentralRegion: {
    takes: ['eu-central-1', 'us-gov-west-1', 'us-isob-east-1', 'ap-southeast-10', 'aaaa-b-c-d-12'],
    refuses: [
      '',
      '*',
      'eu-*-1',
      'eu-central-*',
      'e*-central-1',
      'a-central-1',
      'aaaaa-central-1',
      'eu-1',
      'eu-a-b-c-d-1',
      'eu-central-100',
      'eu-central-',
    ],
  },
  ExternalId: EXTERNAL,
  TargetTagKey1: tagKey('acm-export', ['', 'key\n']),
  TargetTagKey2: tagKey('', ['key\n']),
  TargetTagKey3: tagKey('', ['key\n']),
  SecretReaderRoles: {
    default: '*',
    takes: ['*', x(64), `${x(64)}*`, 'Az09+=,.@_-'],
    refuses: ['', x(65), '**', 'a**', 'a*b', '*a', 'a/b'],
  },
  AllowedCertNames: { default: '*', takes: ['*', ...NAMES.takes], refuses: NAMES.refuses },
  AllowedServices: {
    default: '*',
    takes: ['*', 'a', x(64), `${x(63)}*`, 'a.*', 'nginx,haproxy', 'Az09:_.@-', 'a@*', ten('a'), long(100)],
    refuses: [...listOf, x(65), `a,${x(65)}`, `${x(64)}*`, 'a..b', '-a', '@a', 'a=b', long(101)],
  },
  KeepFirstEditionGrants: SWITCH('true'),
};

const API = 'https://abcde12345.execute-api.eu-west-1.amazonaws.com/v1';
const LISTED = { takes: NAMES.takes, refuses: ['*', ...NAMES.refuses] };
const API_URLS = {
  takes: [
    API,
    'https://0123456789.execute-api.cn-north-1.amazonaws.com.cn/v1',
    API.replace('eu-west-1', 'aaaa-b-c-d-12'),
    API.replace('eu-west-1', `eu-${x(10)}-1`),
  ],
  refuses: [
    '',
    API.replace('https', 'http'),
    API.replace('abcde12345', 'abcde1234'),
    API.replace('abcde12345', 'abcde123456'),
    API.replace('abcde12345', 'abcde1234*'),
    API.replace('abcde12345', 'abcde.evil'),
    API.replace('.execute-api.', 'xexecute-api.'),
    API.replace('.execute-api.', '.execute-apix.'),
    API.replace('eu-west-1', 'eu-west-100'),
    ...[
      '*',
      'e*-west-1',
      'eu-w*st-1',
      'eu-west-*',
      'e-west-1',
      'aaaaa-west-1',
      `eu-${x(11)}-1`,
      'eu-a-b-c-d-1',
      'eu-1',
    ].map((region) => API.replace('eu-west-1', region)),
    API.replace('.execute-api', '*execute-api'),
    API.replace('execute-api.', 'execute-api*'),
    API.replace('.amazonaws', '*amazonaws'),
    API.replace('amazonaws.', 'amazonaws*'),
    API.replace('amazonaws.com', 'amazonaws.com*cn'),
    API.replace('eu-west-1.', 'eu-west-1x'),
    API.replace('amazonaws.com', 'amazonawsxcom'),
    API.replace('amazonaws.com', 'amazonaws.com.evil.example'),
    API.replace('amazonaws.com', 'amazonaws.comxcn'),
    API.replace('/v1', ''),
    API.replace('/v1', '/v2'),
    `${API}/`,
    `${API}/x`,
    `x${API}`,
    `${API}\n`,
  ],
};
const RESOURCE_LIMITS: Limits = {
  CertNames: LISTED,
  DeploymentsApiUrl: API_URLS,
  CallerRoleArn: {
    default: '',
    takes: [
      '',
      'arn:aws:iam::111122223333:role/caller',
      `arn:aws-cn:iam::111122223333:role/a/b/${x(64)}`,
      `arn:aws${x(20)}:iam::111122223333:role/${x(255)}/a`,
      'arn:aws:iam::111122223333:role/Az09+=,.@_-/Az09+=,.@_-',
    ],
    refuses: [
      '*',
      'arn:aws:iam::11112222333:role/caller',
      'arn:aws:iam::1111222233334:role/caller',
      'arn:aws:iam::11112222333*:role/caller',
      'arn:aws*:iam::111122223333:role/caller',
      `arn:aws${x(21)}:iam::111122223333:role/caller`,
      'arn:aws:iam::111122223333:role/a*/caller',
      'arn:aws:iam::111122223333:role/call*',
      `arn:aws:iam::111122223333:role/${x(256)}/a`,
      'arn:aws:iam::111122223333:user/caller',
      'arn:aws:iam::111122223333:role/caller\n',
      'xarn:aws:iam::111122223333:role/caller',
      'arn:aws:iam::111122223333:role/*',
      'arn:aws:iam::111122223333:role/',
      `arn:aws:iam::111122223333:role/${x(65)}`,
      'arn:aws:sts::111122223333:role/caller',
    ],
  },
  ExternalId: { default: '', takes: ['', ...EXTERNAL.takes], refuses: EXTERNAL.refuses.slice(1) },
  Prefix: PREFIX,
  LogRetentionDays: CENTRAL_LIMITS.LogRetentionDays as Limits[string],
  LogLevel: CENTRAL_LIMITS.LogLevel as Limits[string],
  FunctionArchitecture: CENTRAL_LIMITS.FunctionArchitecture as Limits[string],
};
const ZONE_ARN = 'arn:aws:route53:::hostedzone';
const DNS_LIMITS: Limits = {
  Prefix: PREFIX,
  CentralAccountId: MEMBER_LIMITS.CentralAccountId as Limits[string],
  CentralRegion: MEMBER_LIMITS.CentralRegion as Limits[string],
  ExternalId: EXTERNAL,
  HostedZoneArns: {
    takes: [
      `${ZONE_ARN}/Z1`,
      `${ZONE_ARN}/Z1,${ZONE_ARN}/Z0123456789ABCDEFGHIJ`,
      `arn:aws-us-gov:route53:::hostedzone/Z${'A'.repeat(31)}`,
      `arn:aws${x(20)}:route53:::hostedzone/Z1`,
    ],
    refuses: [
      '',
      '*',
      `${ZONE_ARN}/*`,
      `${ZONE_ARN}/Z*`,
      `${ZONE_ARN}/Z1*`,
      `${ZONE_ARN}/Z1,*`,
      `${ZONE_ARN}/Z1,${ZONE_ARN}/*`,
      `${ZONE_ARN}/z1`,
      `${ZONE_ARN}/Z`,
      `${ZONE_ARN}/Z${'A'.repeat(32)}`,
      `x${ZONE_ARN}/Z1`,
      `arn:aws${x(21)}:route53:::hostedzone/Z1`,
      'arn:aws*:route53:::hostedzone/Z1',
      'arn:aws:route53:::change/Z1',
      'arn:aws:route53:::*/Z1',
      'Z1',
    ],
  },
};
const CALLER_ROLE_LIMITS: Limits = {
  CertNames: LISTED,
  DeploymentsApiUrl: API_URLS,
  FunctionRoleName: { takes: ['ab', `a${x(63)}`], refuses: ['', 'a', `a${x(64)}`, 'a*', 'a/b', '*', 'Abc'] },
  FunctionAccountId: {
    takes: ['111122223333'],
    refuses: ['', '11112222333', '1111222233334', '11112222333*', '*'],
  },
  ExternalId: EXTERNAL,
};

describe.each([
  ['template.yaml', CENTRAL_LIMITS],
  ['member-account.yaml', MEMBER_LIMITS],
  ['deployment-resource.yaml', RESOURCE_LIMITS],
  ['docs/examples/deployment-caller-role.yaml', CALLER_ROLE_LIMITS],
  ['dns-account.yaml', DNS_LIMITS],
] as const)('the parameters of %s', (file, limits) => {
  const declared = writtenTemplate(file).Parameters;
  const isTaken = (name: string, value: string | number) => {
    try {
      resolveParameters({ [name]: declared[name] }, { [name]: value });
      return true;
    } catch {
      return false;
    }
  };

  test('each one has its limits here', () => {
    expect(Object.keys(declared).sort()).toEqual(Object.keys(limits).sort());
  });

  test.each(Object.entries(limits))('%s takes what it should, and nothing next to it', (name, limit) => {
    expect(declared[name].Default).toBe(limit.default);
    expect(limit.takes.filter((value) => !isTaken(name, value))).toEqual([]);
    expect(limit.refuses.filter((value) => isTaken(name, value))).toEqual([]);
  });
});

test('no condition of a grant holds where its key lacks, or whatever the letters', () => {
  const grants = [
    ...statementsOf(centralStack()),
    ...statementsOf(memberStack({ TargetTagKey2: 'env', TargetTagKey3: 'team' })),
    ...statementsOf(dnsStack()),
  ].filter(({ statement }) => statement.Effect === 'Allow');
  const lax = grants.flatMap(({ where, statement }) =>
    Object.entries(statement.Condition ?? {})
      .filter(([operator]) => /^For|IfExists$|IgnoreCase$/.test(operator))
      .flatMap(([operator, keys]) =>
        Object.keys(keys).map((key) => `${where} ${statement.Sid}: ${operator} ${key}`),
      ),
  );
  // No tag at all opens a bundle to no node, and an Automation without one is not ours to stop; a deletion that says nothing
  // keeps days to restore. The last two of the rollout role are its grants of the first edition. Records are written only where
  // each key is there (Null).
  expect(lax).toEqual([
    'RolloutRole RemoveBundles: BoolIfExists secretsmanager:ForceDeleteWithoutRecovery',
    'RolloutRole MarkInstallation: ForAllValues:StringEquals aws:TagKeys',
    'RolloutRole CreateBundles: ForAllValues:StringEquals aws:TagKeys',
    'RolloutRole StoreBundles: BoolIfExists secretsmanager:ForceDeleteWithoutRecovery',
    'BundleWriterRole CreateBundles: ForAllValues:StringEquals aws:TagKeys',
    'BundleWriterRole StoreBundles: BoolIfExists secretsmanager:ForceDeleteWithoutRecovery',
    'ValidationRecordsRole WriteRecords: ForAllValues:StringEquals route53:ChangeResourceRecordSetsRecordTypes',
    'ValidationRecordsRole WriteRecords: ForAllValues:StringEquals route53:ChangeResourceRecordSetsActions',
    'ValidationRecordsRole WriteRecords: ForAllValues:StringLike route53:ChangeResourceRecordSetsNormalizedRecordNames',
  ]);
});

test('functions are told the limits that the parameters set', () => {
  const stack = centralStack({
    TargetAccounts: '111122223333,444455556666',
    TargetTagKeys: 'env,tier',
    SecretReaderRoles: 'reader,team-*',
    MaxDeployments: '17',
    InstallationTimeoutMinutes: '18',
    NodeRetentionDays: '19',
    LookIntervalMinutes: '20',
    HybridLookIntervalMinutes: '25',
    DiscoverEndpoints: 'no',
    RolloutsEnabled: 'false',
    RequireCertificateTag: 'false',
    AllowPrivateCertificates: 'true',
    ReminderDays: '26',
    DnsAccounts: '555566667777,666677778888',
    RequestRules: 'web-*=.example.com',
    MaxCertificatesPerDay: '27',
    MaxDomainNames: '28',
  });
  const arnOf = (id: string) => stack.resources.get(id)?.arn;
  const told: Record<string, string | number | undefined> = {
    PREFIX: 'acm-export',
    PARTITION: 'aws',
    EXTERNAL_ID,
    ACCOUNT_ID: stack.account,
    INVENTORY_TABLE: 'acm-export-inventory',
    IDEMPOTENCY_TABLE: 'acm-export-idempotency',
    STATE_MACHINE_ARN: arnOf('CertificateRolloutStateMachine'),
    NOTIFICATION_TOPIC_ARN: arnOf('NotificationTopic'),
    TARGET_ACCOUNTS: '111122223333,444455556666',
    TARGET_TAG_KEYS: 'env,tier',
    SECRET_READER_ROLES: 'reader,team-*',
    MAX_DEPLOYMENTS: 17,
    INSTALLATION_TIMEOUT_MINUTES: 18,
    NODE_RETENTION_DAYS: 19,
    LOOK_INTERVAL_MINUTES: 20,
    HYBRID_LOOK_INTERVAL_MINUTES: 25,
    DISCOVER_ENDPOINTS: 'no',
    ROLLOUTS_ENABLED: 'false',
    REQUIRE_CERTIFICATE_TAG: 'false',
    ALLOW_PRIVATE_CERTIFICATES: 'true',
    REMINDER_DAYS: 26,
    DNS_ACCOUNTS: '555566667777,666677778888',
    REQUEST_RULES: 'web-*=.example.com',
    MAX_CERTIFICATES_PER_DAY: 27,
    MAX_DOMAIN_NAMES: 28,
    REQUEST_STATE_MACHINE_ARN: arnOf('CertificateRequestStateMachine'),
  };
  const ofTheRuntime = /^(LOG_LEVEL|NODE_OPTIONS|POWERTOOLS_|AWS_)/;
  for (const [id, { properties }] of resourcesOf(stack, 'AWS::Serverless::Function')) {
    const limits = Object.entries(properties.Environment.Variables).filter(
      ([name]) => !ofTheRuntime.test(name),
    );
    expect([id, Object.fromEntries(limits)]).toEqual([
      id,
      Object.fromEntries(limits.map(([name]) => [name, told[name]])),
    ]);
  }
});

/**
 * Lambda, "Quotas": "4 KB, for all environment variables associated with the function, in aggregate". UNCONFIRMED: what is
 * counted. The error shows them as JSON ("String measured: …"), which is the longer form.
 */
const MOST_OF_ENVIRONMENT = 4096;

test('the environment of each function fits where every parameter is as long as it may be', () => {
  const longest = (values: readonly (string | number)[]) =>
    values.map(String).toSorted((a, b) => b.length - a.length)[0] ?? '';
  const accounts = (count: number) =>
    Array.from({ length: count }, (_, index) => String(111_122_223_333 + index)).join();
  const parameters = Object.fromEntries(
    Object.entries(CENTRAL_LIMITS).map(([name, { takes }]) => [name, longest(takes)]),
  );
  const stack = centralStack(
    {
      ...parameters,
      RequestRules: rules(writtenTemplate('template.yaml').Parameters.RequestRules.MaxLength),
      // Lists have no length of their own. docs/requesting-certificates.md, "Limits", says these.
      TargetAccounts: accounts(100),
      DnsAccounts: accounts(10),
      TargetTagKeys: ['a', 'b', 'c'].map((key) => `${key}${x(127)}`).join(),
      SecretReaderRoles: `${x(64)},${x(64)},${x(20)}`,
    },
    { account: '111122223333', region: 'ap-southeast-1' },
  );
  const sizes = resourcesOf(stack, 'AWS::Serverless::Function').map(([id, { properties }]) => ({
    id,
    bytes: JSON.stringify(properties.Environment.Variables).length,
  }));
  expect(sizes.filter(({ bytes }) => bytes > MOST_OF_ENVIRONMENT)).toEqual([]);
  expect(Math.max(...sizes.map(({ bytes }) => bytes))).toBeGreaterThan(3500);
});
