import { describe, expect, test } from '@jest/globals';
import { centralStack, dnsStack, memberStack, textOf, writtenTemplate } from './stacks.ts';

interface Parameter {
  Type: string;
  Description?: string;
  Default?: string | number;
  AllowedPattern?: string;
  AllowedValues?: unknown[];
  MinValue?: number;
  MaxValue?: number;
}

const parametersOf = (file: string) => Object.entries<Parameter>(writtenTemplate(file).Parameters);

describe.each(['template.yaml', 'member-account.yaml', 'deployment-resource.yaml', 'dns-account.yaml'])(
  '%s',
  (file) => {
    test.each(parametersOf(file))('%s says what it is and refuses what it is not', (_name, parameter) => {
      expect(parameter.Description).toMatch(/^[A-Z].*\.$/);
      const bounded =
        parameter.AllowedPattern !== undefined ||
        parameter.AllowedValues !== undefined ||
        (parameter.MinValue !== undefined && parameter.MaxValue !== undefined);
      expect(bounded).toBe(true);
      if (parameter.AllowedPattern) {
        expect(parameter.AllowedPattern).toMatch(/^\^.*\$$/);
      }
    });

    test.each(parametersOf(file).filter(([, { Default }]) => Default !== undefined))(
      '%s accepts its own default',
      (_name, { AllowedPattern = '', AllowedValues, Default }) => {
        expect(String(Default)).toMatch(new RegExp(AllowedPattern));
        expect(AllowedValues ?? [Default]).toContain(Default);
      },
    );

    test('has a group and a label for each in the console', () => {
      const { ParameterGroups, ParameterLabels } =
        writtenTemplate(file).Metadata['AWS::CloudFormation::Interface'];
      const names = parametersOf(file).map(([name]) => name);
      const grouped = ParameterGroups.flatMap((group: { Parameters: string[] }) => group.Parameters);
      expect(grouped.sort()).toEqual([...names].sort());
      expect(Object.keys(ParameterLabels).sort()).toEqual([...names].sort());
    });

    test('is plain ASCII: CloudFormation shows other characters as question marks', () => {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: the range of ASCII
      expect(textOf(file).match(/[^\x00-\x7f]+/g)).toBeNull();
    });
  },
);

test('a stack with the resource takes names as a member account does, and the Prefix of both', () => {
  const [own, member] = ['deployment-resource.yaml', 'member-account.yaml'].map(
    (file) => writtenTemplate(file).Parameters,
  );
  expect(own.Prefix.AllowedPattern).toBe(member.Prefix.AllowedPattern);
  // But for the star that stands for all.
  const { AllowedPattern, MaxLength } = member.AllowedCertNames;
  expect(own.CertNames).toMatchObject({
    AllowedPattern: AllowedPattern.replace(/\(\[\*\]\|(.*)\)\$$/, '$1$'),
    MaxLength,
  });
});

test('both templates take the same Prefix and ExternalId', () => {
  for (const name of ['Prefix', 'ExternalId']) {
    expect(writtenTemplate('member-account.yaml').Parameters[name].AllowedPattern).toBe(
      writtenTemplate('template.yaml').Parameters[name].AllowedPattern,
    );
  }
});

test('a DNS account takes the values of the central stack as a member account does, in the same words', () => {
  const [own, member] = ['dns-account.yaml', 'member-account.yaml'].map(
    (file) => writtenTemplate(file).Parameters,
  );
  for (const name of ['Prefix', 'CentralAccountId', 'CentralRegion', 'ExternalId'])
    expect(own[name]).toEqual(member[name]);
});

test('what would break a name or an IAM policy is refused at deployment', () => {
  for (const Prefix of ['aws-certs', 'Acm', 'a', 'acm_export', 'acm-export-', 'x'.repeat(21)]) {
    expect(() => memberStack({ Prefix })).toThrow(/Prefix/);
    expect(() => centralStack({ Prefix })).toThrow(/Prefix/);
  }
  for (const TargetTagKey1 of [
    'aws:name',
    '',
    'a*',
    '${aws:username}',
    'a"b',
    'key with spaces',
    'web+mail',
  ]) {
    expect(() => memberStack({ TargetTagKey1 })).toThrow(/TargetTagKey1/);
  }
  expect(() => centralStack({ TargetTagKeys: 'env,aws:name' })).toThrow(/TargetTagKeys/);
  expect(() => centralStack({ TargetTagKeys: 'env,web+mail' })).toThrow(/TargetTagKeys/);
  expect(() => centralStack({ TargetAccounts: '12345678901' })).toThrow(/TargetAccounts/);
  expect(() => centralStack({ ExternalId: 'short' })).toThrow(/ExternalId/);
});

test('the longest names that parameters allow are names that AWS allows', () => {
  const place = { account: '111122223333', region: 'ap-northeast-1' };
  const Prefix = 'x'.repeat(20);
  for (const stack of [
    centralStack({ Prefix }, place),
    memberStack({ Prefix }, place),
    dnsStack({ Prefix, CentralRegion: place.region }),
  ]) {
    for (const { type, properties } of stack.resources.values()) {
      const limits: Record<string, [string, number]> = {
        'AWS::IAM::Role': ['RoleName', 64],
        'AWS::IAM::ManagedPolicy': ['ManagedPolicyName', 128],
        'AWS::Serverless::Function': ['FunctionName', 64],
        'AWS::Events::Rule': ['Name', 64],
        'AWS::Scheduler::Schedule': ['Name', 64],
        'AWS::SQS::Queue': ['QueueName', 80],
        'AWS::SSM::Document': ['Name', 128],
        'AWS::Serverless::StateMachine': ['Name', 80],
      };
      const [property, limit] = limits[type] ?? [];
      if (property && limit) {
        expect((properties[property] ?? '').length).toBeLessThanOrEqual(limit);
      }
    }
  }
});
