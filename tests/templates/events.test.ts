import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { CENTRAL, centralStack, ROOT, resourceOf, resourceStack, resourcesOf } from './stacks.ts';

// biome-ignore lint/suspicious/noExplicitAny: samples of several event types
type Sample = any;

const stack = centralStack({}, CENTRAL);
const folder = path.join(ROOT, 'events');
const samplesOf = (name: string): [string, Sample][] =>
  readdirSync(path.join(folder, name)).map((file) => [
    `${name}/${file}`,
    JSON.parse(readFileSync(path.join(folder, name, file), 'utf8')),
  ]);

/** An EventBridge pattern of plain values, which is all that this template uses. */
function matches(pattern: Sample, event: Sample): boolean {
  return Object.entries<Sample>(pattern).every(([key, wanted]) =>
    Array.isArray(wanted) ? wanted.includes(event?.[key]) : matches(wanted, event?.[key]),
  );
}

test('every function has its samples', () => {
  const names = [stack, resourceStack()]
    .flatMap((one) => resourcesOf(one, 'AWS::Serverless::Function'))
    .map(([, { properties }]) => properties.FunctionName.slice('acm-export-'.length));
  expect(readdirSync(folder).sort()).toEqual(names.sort());
});

describe('samples of the API', () => {
  const routes = Object.values<{ Properties: { Method: string; Path: string } }>(
    resourceOf(stack, 'DeploymentsApiFunction').properties.Events,
  ).map(({ Properties }) => `${Properties.Method} ${Properties.Path}`);
  const samples = samplesOf('deployments-api');

  test('there is one for every route and none for another', () => {
    const used = new Set(samples.map(([, event]) => `${event.httpMethod} ${event.resource}`));
    expect([...used].sort()).toEqual([...routes].sort());
  });

  test.each(samples)('%s agrees with itself', (_name, event) => {
    const filled = Object.entries<string>(event.pathParameters ?? {}).reduce(
      (text, [key, value]) => text.replace(`{${key}}`, value),
      event.resource,
    );
    expect(event.path).toBe(filled);
    expect(event.requestContext).toMatchObject({
      resourcePath: event.resource,
      httpMethod: event.httpMethod,
    });
    expect(event.requestContext.accountId).toBe(CENTRAL.account);
  });
});

describe.each(['handle-renewal', 'rollout-ended', 'report-certificate-notice'])(
  'samples of events for %s',
  (name) => {
    test.each(samplesOf(name))('%s reaches this function by exactly one rule', (_file, event) => {
      const reached = resourcesOf(stack, 'AWS::Events::Rule')
        .filter(([, rule]) => matches(rule.properties.EventPattern, event))
        .map(([, rule]) => rule.properties.Targets[0].Arn);
      expect(reached).toEqual([expect.stringMatching(new RegExp(`:function:acm-export-${name}$`))]);
    });

    test('there is one for everything that its rules let through', () => {
      for (const [, rule] of resourcesOf(stack, 'AWS::Events::Rule')) {
        const { Targets, EventPattern } = rule.properties;
        if (!Targets[0].Arn.endsWith(`:acm-export-${name}`)) continue;
        const kinds = EventPattern.detail?.status
          ? EventPattern.detail.status.map((status: string) => ({
              ...EventPattern,
              detail: { status: [status] },
            }))
          : EventPattern['detail-type'].map((type: string) => ({ ...EventPattern, 'detail-type': [type] }));
        for (const kind of kinds) {
          expect(samplesOf(name).filter(([, event]) => matches(kind, event))).not.toEqual([]);
        }
      }
    });
  },
);

/** Fields of `detail` (ACM user guide, "Amazon EventBridge support for ACM"). */
const DOCUMENTED: Record<string, string> = {
  'ACM Certificate Approaching Expiration': 'CommonName DaysToExpiry',
  'ACM Certificate Available':
    'Action CertificateCreatedDate CertificateExpirationDate CertificateType CommonName DaysToExpiry DomainValidationMethod Exported InUse',
  'ACM Certificate Expired':
    'CertificateCreatedDate CertificateExpirationDate CertificateType CommonName DomainValidationMethod Exported InUse',
  'ACM Certificate Renewal Action Required':
    'CertificateExpirationDate CertificateType CommonName DaysToExpiry DomainValidationMethod Exported InUse RenewalStatusReason',
  'ACM Certificate Revoked': 'CertificateExpirationDate CertificateType CommonName Exportable',
};

test.each([
  ...samplesOf('handle-renewal'),
  ...samplesOf('report-certificate-notice'),
  ...samplesOf('request-certificate').filter(([file]) => file.includes('issued')),
])('%s has the fields that ACM documents, and no others', (_file, event) => {
  expect(Object.keys(event.detail).sort().join(' ')).toBe(DOCUMENTED[event['detail-type']]);
});

test.each(samplesOf('provide-deployment'))(
  '%s has the fields that CloudFormation documents',
  (_file, event) => {
    const common =
      'LogicalResourceId RequestId RequestType ResourceProperties ResourceType ResponseURL ServiceToken StackId';
    const more: Record<string, string[]> = {
      Create: [],
      Update: ['OldResourceProperties', 'PhysicalResourceId'],
      Delete: ['PhysicalResourceId'],
    };
    const names = [...common.split(' '), ...(more[event.RequestType] ?? ['none'])];
    expect(Object.keys(event).sort()).toEqual(names.sort());
  },
);

test('other events of ACM and other state machines reach nobody', () => {
  const [[, renewed]] = samplesOf('handle-renewal') as [[string, Sample]];
  const [[, ended]] = samplesOf('rollout-ended') as [[string, Sample]];
  const others = [
    ...['IMPORT', 'REIMPORT'].map((Action) => ({
      ...renewed,
      detail: { ...renewed.detail, Action },
    })),
    { ...ended, detail: { ...ended.detail, status: 'RUNNING' } },
    { ...ended, detail: { ...ended.detail, stateMachineArn: `${ended.detail.stateMachineArn}-other` } },
  ];
  for (const event of others) {
    expect(
      resourcesOf(stack, 'AWS::Events::Rule').filter(([, rule]) =>
        matches(rule.properties.EventPattern, event),
      ),
    ).toEqual([]);
  }
});

test('the event of a certificate that was issued starts the state machine of requests, and nothing else', () => {
  const [[, issued]] = samplesOf('request-certificate').filter(([file]) => file.includes('issued')) as [
    [string, Sample],
  ];
  const reached = resourcesOf(stack, 'AWS::Events::Rule').filter(([, rule]) =>
    matches(rule.properties.EventPattern, issued),
  );
  expect(reached.map(([, rule]) => rule.properties.Targets[0].Arn)).toEqual([
    resourceOf(stack, 'CertificateRequestStateMachine').arn,
  ]);
});

test.each([
  ['of another account', { account: '999988887777' }],
  ['of another Region', { region: 'us-east-1' }],
  ['of another service', { source: 'com.example.acm' }],
  ['that says something else', { 'detail-type': 'ACM Certificate Expired' }],
])('an event %s starts no request', (_, more) => {
  const [[, issued]] = samplesOf('request-certificate').filter(([file]) => file.includes('issued')) as [
    [string, Sample],
  ];
  const { EventPattern } = resourceOf(stack, 'CertificateIssuedRule').properties;
  expect(matches(EventPattern, issued)).toBe(true);
  expect(matches(EventPattern, { ...issued, ...more })).toBe(false);
});

test('the schedules send the samples of reconcile', () => {
  const sent = resourcesOf(stack, 'AWS::Scheduler::Schedule').map(([, { properties }]) =>
    JSON.parse(properties.Target.Input),
  );
  const byTask = (a: { Task: string }, b: { Task: string }) => a.Task.localeCompare(b.Task);
  expect(sent.sort(byTask)).toEqual(
    samplesOf('reconcile')
      .map(([, event]) => event)
      .sort(byTask),
  );
});

test('the samples of the state machine follow each other', () => {
  const [, requested] = samplesOf('export-certificate').find(([file]) => file.includes('requested')) as [
    string,
    Sample,
  ];
  const [, stored] = samplesOf('start-installation').find(([file]) => file.includes('stored')) as [
    string,
    Sample,
  ];
  const [[, checked]] = samplesOf('check-installation') as [[string, Sample]];
  const { Bundle: _, ...beforeStart } = stored;
  const { Installation: __, ...beforeCheck } = checked;
  expect(beforeStart).toEqual(requested);
  // The slot has come by then.
  const { StartDelaySeconds: ___, ...started } = stored;
  expect(beforeCheck).toEqual(started);
});
