import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Caller, Cloud, Operation, Stack } from 'local-cloud';
import { deployCentral, startCloud } from '../../local/cloud.ts';
import { LeakSearch, passphraseSecret } from '../security/leaks.ts';
import { ROOT } from '../templates/stacks.ts';

// The built handler in a worker, with the variables and the role of its template, against the API behind HTTP.

const place = { account: '111122223333', region: 'eu-central-1' };
const SAMPLES = path.join(ROOT, 'events/provide-deployment');
const FUNCTION = `arn:aws:lambda:${place.region}:${place.account}:function:acm-export-provide-deployment`;

let cloud: Cloud;
let stack: Stack;
let certificateArn: string;

beforeAll(async () => {
  cloud = await startCloud({ quotas: false, timeScale: 0.005 });
  const central = await deployCentral(cloud, {
    ...place,
    parameters: { ExternalId: 'only-for-these-tests' },
  });
  await cloud.deployTemplate(path.join(ROOT, 'member-account.yaml'), {
    ...place,
    stackName: 'member',
    parameters: {
      ExternalId: 'only-for-these-tests',
      CentralAccountId: place.account,
      CentralRegion: place.region,
    },
  });
  stack = await cloud.deployTemplate(path.join(ROOT, 'deployment-resource.yaml'), {
    ...place,
    stackName: 'resource',
    parameters: { CertNames: 'web', DeploymentsApiUrl: central.output('DeploymentsApiUrl') },
  });
  certificateArn = await cloud.services.acm.add(place.account, place.region, {
    names: ['www.example.com'],
    tags: { CertName: '+' },
  });
});
afterAll(() => cloud.stop());

const deploy = (properties: Record<string, unknown>, stackName = 'shop') =>
  cloud.services.customResources.deploy({
    ...place,
    stackName,
    by: cloud.createUser(place.account, `deployer-${stackName}`, [
      { Statement: { Effect: 'Allow', Action: 'lambda:InvokeFunction', Resource: FUNCTION } },
    ]),
    resources: [
      {
        logicalId: 'WebCertificate',
        type: 'Custom::CertificateDeployment',
        properties: { ServiceToken: stack.output('ServiceToken'), ...properties },
      },
    ],
  });
const sampleOf = (file: string) => JSON.parse(readFileSync(path.join(SAMPLES, file), 'utf8'));

const orderFor = (CertName: string) => ({
  CertName,
  CertificateArn: certificateArn,
  TargetTagKey: 'acm-export',
  TargetTagValue: 'w',
});

test('registers by a request that it signed itself, and answers CloudFormation', async () => {
  const result = await deploy({ ...orderFor('web'), WaitSeconds: 0 });
  expect(result).toMatchObject({ status: 'CREATE_COMPLETE', reasons: [] });
  expect(result.resources.get('WebCertificate')?.data).toMatchObject({ CertName: 'web' });
  await cloud.idle();
});

test('the name of another is refused by IAM, in words that say what to do', async () => {
  const { status, reasons } = await deploy(orderFor('web2'), 'stranger');
  expect([status, reasons]).toEqual([
    'ROLLBACK_COMPLETE',
    [
      expect.stringMatching(
        /refuses GET .* is not authorized .* What to do: Add the name to the parameter CertNames/,
      ),
    ],
  ]);
});

test.each(readdirSync(SAMPLES))(
  'takes the sample %s, and fails where its address for the answer is not known',
  async (file) => {
    const call = cloud.services.lambda.operations['lambda.Invoke'] as Operation;
    const input = { FunctionName: FUNCTION, Payload: JSON.stringify(sampleOf(file)) };
    const answer = (await call(input, { source: 'test' } as Caller)) as { Payload: string };
    // The bucket knows the requests of CloudFormation only.
    expect(JSON.parse(answer.Payload).errorMessage).toBe(
      "CloudFormation's address for the answer does not take it: HTTP 403.",
    );
  },
);

test('the signature of an address for an answer is in no log and no trace', async () => {
  await cloud.idle();
  const signatures = cloud.services.customResources.requests
    .map(({ ResponseURL }) => new URL(ResponseURL).searchParams.get('X-Amz-Signature') ?? '')
    .concat('of-this-sample');
  expect(signatures.length).toBeGreaterThan(3);
  const search = new LeakSearch(signatures.map((text, index) => passphraseSecret(`address ${index}`, text)));
  for (const channel of ['function-log', 'trace', 'function-file', 'function-process'] as const) {
    const texts = cloud.record
      .emissionsOf(channel)
      .filter(({ source }) => source.includes('provide-deployment'));
    expect([channel, texts.length > 0]).toEqual([channel, ['function-log', 'trace'].includes(channel)]);
    expect(texts.flatMap(({ text }) => search.in(channel, text))).toEqual([]);
  }
  // It is found where Lambda hands it over.
  const payloads = cloud.record.emissionsOf('function-payload').map(({ text }) => text);
  expect(search.in('payload', payloads.join('\n')).length).toBeGreaterThan(3);
});
