import { expect, test } from '@jest/globals';
import { PATTERNS, whole } from '../../functions/domain/patterns.ts';

const a = (length: number) => 'a'.repeat(length);
/** Characters that mean something to a shell, a policy, a path or a reader, and are in no name. */
const ODD = ['*', '?', '$', '"', "'", '`', ';', '|', '&', '\\', '<', '{', '#', '\t', '\u0000', '\u00e9'];
const around = (before: string, odd: readonly string[], after = '') =>
  odd.map((one) => `${before}${one}${after}`);

const ARN = 'arn:aws:acm:eu-central-1:111122223333:certificate/';
const SECRET = 'arn:aws:secretsmanager:eu-central-1:111122223333:secret:';
const ROLE = 'arn:aws:iam::111122223333:role/';
const hex = (length: number) => '0'.repeat(length);

/** Both sides of each form: what is just taken, and what is just refused. */
const LIMITS: Record<keyof typeof PATTERNS, [takes: string[], refuses: string[]]> = {
  AccountId: [['111122223333'], ['', hex(11), hex(13), '11112222333a', '*']],
  AllowedCertName: [
    ['a', 'A9', 'a*', 'a.b-c_d*', a(64), `${a(63)}*`],
    ['', '*', '*a', 'a*b', 'a**', a(65), `${a(64)}*`, '.a', 'a.', 'a-', 'a_', 'a/b', 'a+', 'a:', 'a@', 'a b'],
  ],
  AllowedService: [
    ['a', 'nginx', 'postgresql@14-main', 'a:b_c.', 'app@*', a(64), `${a(63)}*`],
    ['', '*', '*a', 'a*b', 'a**', a(65), `${a(64)}*`, '.a', '@a', 'a/b', 'a+', 'a b'],
  ],
  Amount: [
    ['1', '9999999', '1%', '99%', '100%'],
    ['', '0', '0%', '01', '10000000', '101%', '100%%', '-1', '1.5', '*'],
  ],
  AmountOrNone: [
    ['0', '1', '9999999', '0%', '100%'],
    ['', '00', '00%', '01', '10000000', '101%', '-1', '*'],
  ],
  CertificateArn: [
    [`${ARN}a`, `${ARN}${a(64)}`, ARN.replace('aws', 'aws-us-gov') + a(1)],
    [
      ARN,
      `${ARN}${a(65)}`,
      ...around(`${ARN}a`, [...ODD, '/', '.', ' ']),
      `${ARN.replace('acm', 'acm-pca')}a`,
      `${ARN.replace('certificate/', 'certificate:')}a`,
      `${ARN.replace('111122223333', '11112222333')}a`,
      `${ARN.replace('arn', 'Arn')}a`,
      `${ARN.replace('aws', 'azure')}a`,
    ],
  ],
  CertName: [
    ['a', 'A9', 'a.b', 'a_b-c', a(64)],
    [
      '',
      a(65),
      ...around('a', [...ODD, '/', '+', ' ', ':', '@', '='], 'b'),
      '.a',
      'a.',
      '-a',
      'a-',
      '_a',
      'a_',
    ],
  ],
  CorrelationId: [
    ['a', 'A-9', a(64)],
    ['', a(65), ...around('a', [...ODD, '/', '+', ' ', '.', '_', ':'])],
  ],
  DeploymentId: [
    [hex(24), 'abcdef0123456789abcdef01'],
    ['', hex(23), hex(25), `${hex(23)}g`, `${hex(23)}A`, `${hex(23)}*`],
  ],
  DnsName: [
    ['a', 'a.b', '_a', a(253)],
    ['', a(254), ...around('a', [...ODD, '/', '+', ' ', ':', '@'], 'b'), '.a', 'a.', '-a', 'a-', 'a_'],
  ],
  NodeId: [
    ['i-00000000', 'i-0123456789abcdef0', 'mi-0123456789abcdef0'],
    [
      '',
      'i-0000000',
      'i-000000000',
      'mi-00000000',
      'i-0000000g',
      'i-0000000A',
      'i-*',
      'xi-00000000',
      'i-0123456789abcdef00',
    ],
  ],
  NodeIdTail: [
    ['00000000', '0123456789abcdef0', 'm0123456789abcdef0'],
    ['', '0000000', '0123456789abcdef00', 'i-00000000', 'm', 'mm00000000', '0000000g', '0000000A', '*'],
  ],
  Region: [
    ['eu-central-1', 'us-gov-west-1', 'eusc-de-east-1', 'ap-southeast-10'],
    [
      '',
      'eu',
      'eu-1',
      'e-central-1',
      'europ-central-1',
      'eu-central-100',
      'eu-central-',
      'EU-central-1',
      'eu-*-1',
      'eu_central_1',
    ],
  ],
  RoleArn: [
    [`${ROLE}a`, `${ROLE}${a(64)}`, `${ROLE}apps/a`, `${ROLE}a+=,.@_-`],
    [
      ROLE,
      `${ROLE}${a(65)}`,
      `${ROLE}apps/`,
      ...around(`${ROLE}a`, [...ODD, ' ', ':']),
      ...around(`${ROLE}apps`, [...ODD, ' ', ':'], '/a'),
      `${ROLE.replace('role', 'user')}a`,
      `${ROLE.replace('iam', 'sts')}a`,
      `${ROLE.replace('::', ':eu-central-1:')}a`,
      'arn:aws:iam::111122223333:root',
    ],
  ],
  RolloutNumber: [
    ['0', '1', '9'.repeat(15)],
    ['', '00', '01', '-1', '1.0', '1e3', '9'.repeat(16), ' 1'],
  ],
  Scope: [
    ['tag', 'nodes'],
    ['', 'tags', 'node', 'TAG', '*'],
  ],
  SecretArn: [
    [`${SECRET}a`, `${SECRET}acm-export/web/0-AbCdEf`, `${SECRET}${a(120)}`],
    [
      SECRET,
      `${SECRET}${a(121)}`,
      ...around(`${SECRET}a`, [...ODD, ' ', ':', ',']),
      `${SECRET.replace('secret:', 'secrets:')}a`,
      `${SECRET.replace('secretsmanager', 'ssm')}a`,
      `${SECRET.replace('111122223333', '*')}a`,
    ],
  ],
  TagKey: [
    ['a', 'a b', 'A9 _.:/=@-', a(128)],
    ['', a(129), ...around('a', [...ODD, '+', ','])],
  ],
  TagValue: [
    ['a', 'a b', 'A9 _.:/=+@-', a(256)],
    ['', a(257), ...around('a', [...ODD, ','])],
  ],
  UnitName: [
    ['a', 'nginx.service', 'a@b:c_d-e', a(64)],
    ['', a(65), ...around('a', [...ODD, '/', '+', ' ', ',', '=']), '-a', '.a', '@a', '_a', ':a'],
  ],
  UnixGroup: [
    ['a', '_chrony', 'svc.web', 'HOST$', a(32)],
    ['', a(33), ...around('a', [...ODD, '/', '+', ' ', ':', '@'], 'b'), '-a', '$', '$a'],
  ],
  VersionId: [[hex(64)], ['', hex(63), hex(65), `${hex(63)}g`, `${hex(63)}A`, `${hex(63)}*`]],
};

test.each(Object.entries(LIMITS))(
  '%s takes what it should, and nothing next to it',
  (name, [takes, refuses]) => {
    const form = whole(PATTERNS[name as keyof typeof PATTERNS]);
    expect(takes.filter((text) => !form.test(text))).toEqual([]);
    const near = takes.flatMap((text) => [`${text}\n`, `\n${text}`, ` ${text}`, `${text}\r`]);
    // Spaces are at home in tags.
    const isTag = name.startsWith('Tag');
    const all = [...refuses, ...near.filter((text) => !isTag || !text.startsWith(' '))];
    expect(all.filter((text) => form.test(text))).toEqual([]);
  },
);
