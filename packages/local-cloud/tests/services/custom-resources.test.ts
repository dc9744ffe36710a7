import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { type Cloud, createCloud } from '../../src/cloud.ts';
import { VirtualClock } from '../../src/services/virtual-clock.ts';

const place = { account: '111122223333', region: 'eu-west-1' };
const FUNCTION = `arn:aws:lambda:${place.region}:${place.account}:function:provider`;
const ALLOWED = [
  { Statement: { Effect: 'Allow' as const, Action: 'lambda:InvokeFunction', Resource: FUNCTION } },
];

// biome-ignore lint/suspicious/noExplicitAny: any field of a request
type Request = Record<string, any>;

let cloud: Cloud;
let clock: VirtualClock;
/** What the function answers; nothing: it does not. */
let answer: (request: Request) => object | undefined;
let put: (request: Request, body: string) => Promise<number>;

beforeEach(async () => {
  clock = new VirtualClock();
  cloud = await createCloud({ clock, quotas: false });
  answer = () => ({});
  put = async ({ ResponseURL }, body) =>
    (
      await cloud.fetch(ResponseURL, {
        method: 'PUT',
        headers: { 'content-type': '' },
        body: Buffer.from(body),
      })
    ).status;
  const { name } = cloud.services.identities.createRole(place.account, {
    name: 'provider',
    trustPolicy: {
      Statement: {
        Effect: 'Allow',
        Principal: { Service: 'lambda.amazonaws.com' },
        Action: 'sts:AssumeRole',
      },
    },
  });
  cloud.services.lambda.createFunction({
    ...place,
    name: 'provider',
    roleArn: `arn:aws:iam::${place.account}:role/${name}`,
    timeoutSeconds: 900,
    handler: async (event) => {
      const request = event as Request;
      const said = answer(request);
      const { StackId, RequestId, LogicalResourceId, PhysicalResourceId = 'first' } = request;
      const whole = { Status: 'SUCCESS', StackId, RequestId, LogicalResourceId, PhysicalResourceId, ...said };
      if (said) await put(request, JSON.stringify(whole));
    },
  });
});
afterEach(() => cloud.stop());

const deploy = (properties: object | undefined, more: object = {}) =>
  clock.run(
    () => 0.5,
    () =>
      cloud.services.customResources.deploy({
        ...place,
        stackName: 'shop',
        by: cloud.createUser(place.account, 'deployer', ALLOWED),
        resources: properties
          ? [{ logicalId: 'One', type: 'Custom::One', properties: { ServiceToken: FUNCTION, ...properties } }]
          : [],
        ...more,
      }),
  );
const sent = () =>
  cloud.services.customResources.requests.map(
    ({ RequestType, PhysicalResourceId: id }) => `${RequestType} ${id ?? '-'}`,
  );
const failsOn = (type: string) => {
  answer = ({ RequestType }) => (RequestType === type ? { Status: 'FAILED', Reason: 'because' } : {});
};

test('numbers and booleans are texts, and the function is called with the rights of who deploys', async () => {
  await deploy({ Number: 1, List: [true], Map: { a: 2 } });
  const [request] = cloud.services.customResources.requests;
  expect(request?.ResourceProperties).toEqual({
    ServiceToken: FUNCTION,
    Number: '1',
    List: ['true'],
    Map: { a: '2' },
  });
  const stranger = cloud.createUser(place.account, 'stranger', []);
  expect(await deploy({}, { stackName: 'other', by: stranger })).toMatchObject({
    reasons: expect.arrayContaining([
      expect.stringMatching(/not authorized to perform: lambda:InvokeFunction/),
    ]),
  });
});

test('a Create gives its data; what does not change is not sent; what is removed is deleted', async () => {
  answer = () => ({ Data: { Color: 'red' } });
  const { status, resources } = await deploy({ A: 1 });
  expect([status, resources.get('One')]).toMatchObject(['CREATE_COMPLETE', { data: { Color: 'red' } }]);
  await deploy({ A: 1 });
  await deploy(undefined);
  expect(sent()).toEqual(['Create -', 'Delete first']);
});

test('a Create that fails is deleted by the id that it answered', async () => {
  failsOn('Create');
  expect(await deploy({})).toMatchObject({ status: 'ROLLBACK_COMPLETE', reasons: ['because'] });
  expect(sent()).toEqual(['Create -', 'Delete first']);
});

test('a Create that is never answered is deleted after ServiceTimeout, by an id of its own', async () => {
  answer = ({ RequestType }) => (RequestType === 'Create' ? undefined : {});
  const before = clock.now().getTime();
  expect((await deploy({ ServiceTimeout: 60 })).status).toBe('ROLLBACK_COMPLETE');
  expect(clock.now().getTime() - before).toBe(60_000);
  expect(sent()).toEqual(['Create -', expect.stringMatching(/^Delete shop-One-[0-9A-F]{12}$/)]);
});

test('a new id is a replacement: the old one is deleted at the end', async () => {
  await deploy({ A: 1 });
  answer = ({ RequestType }) => (RequestType === 'Update' ? { PhysicalResourceId: 'second' } : {});
  expect((await deploy({ A: 2 })).status).toBe('UPDATE_COMPLETE');
  expect(sent()).toEqual(['Create -', 'Update first', 'Delete first']);
});

test('an Update that fails is followed by one with the properties exchanged', async () => {
  await deploy({ A: 1 });
  let failures = 0;
  answer = ({ RequestType }) =>
    RequestType === 'Update' && failures++ === 0 ? { Status: 'FAILED', Reason: 'no' } : {};
  expect((await deploy({ A: 2 })).status).toBe('UPDATE_ROLLBACK_COMPLETE');
  const [, there, back] = cloud.services.customResources.requests;
  expect([there?.ResourceProperties.A, there?.OldResourceProperties.A]).toEqual(['2', '1']);
  expect([back?.ResourceProperties.A, back?.OldResourceProperties.A]).toEqual(['1', '2']);
});

test('a replacement is deleted when another resource fails', async () => {
  await deploy({ A: 1 });
  answer = ({ ResourceProperties: { A } }) => ({ PhysicalResourceId: A === '2' ? 'second' : 'first' });
  expect((await deploy({ A: 2 }, { fails: true })).status).toBe('UPDATE_ROLLBACK_COMPLETE');
  expect(sent()).toEqual(['Create -', 'Update first', 'Update second', 'Delete second']);
});

test('a rollback that fails, and a Delete that fails, are told', async () => {
  await deploy({ A: 1 });
  failsOn('Update');
  expect((await deploy({ A: 2 })).status).toBe('UPDATE_ROLLBACK_FAILED');
  failsOn('Delete');
  const by = cloud.createUser(place.account, 'deployer', ALLOWED);
  const remove = () => cloud.services.customResources.remove({ ...place, stackName: 'shop', by });
  expect((await clock.run(() => 0.5, remove)).status).toBe('DELETE_FAILED');
});

describe('an answer is not valid', () => {
  test.each([
    ['without an id', { PhysicalResourceId: '' }, /PhysicalResourceId/],
    ['with an id above 1 KB', { PhysicalResourceId: 'x'.repeat(1025) }, /PhysicalResourceId/],
    ['of another request', { RequestId: 'other' }, /RequestId is not that of the request/],
    ['of another stack', { StackId: 'other' }, /StackId is not/],
    ['with another status', { Status: 'success' }, /Status or Reason/],
    ['that fails without a reason', { Status: 'FAILED' }, /Status or Reason/],
    ['above 4,096 bytes', { Data: { A: 'x'.repeat(4096) } }, /more than 4096 bytes/],
  ])('%s', async (_name, said, reason) => {
    answer = ({ RequestType }) => (RequestType === 'Create' ? said : {});
    expect((await deploy({})).reasons[0]).toMatch(reason);
  });
});

test('an address takes no content type, no other method, and nothing that was not asked for', async () => {
  const statuses: number[] = [];
  const usual = put;
  put = async (request, body) => {
    const url = request.ResponseURL as string;
    const forged = url.replace(/Signature=./, 'Signature=g');
    const attempts: [string, RequestInit][] = [
      [url, { method: 'PUT', body, headers: { 'content-type': 'application/json' } }],
      [url, { method: 'POST', body: Buffer.from(body) }],
      [forged, { method: 'PUT', body: Buffer.from(body) }],
    ];
    for (const [address, init] of attempts) statuses.push((await cloud.fetch(address, init)).status);
    return usual(request, body);
  };
  expect((await deploy({})).status).toBe('CREATE_COMPLETE');
  expect(statuses).toEqual([403, 403, 403]);
});

test('no host but those of AWS is reached', async () => {
  await expect(cloud.fetch('https://example.com/')).rejects.toThrow('fetch failed');
  const none = await cloud.fetch('https://abcde12345.execute-api.eu-west-1.amazonaws.com/v1/x');
  expect(none.status).toBe(403);
});
