import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test } from '@jest/globals';
import { ACCOUNT, allow, OTHER_ACCOUNT, REGION, testCloud, trust } from './test-cloud.ts';

const cloud = testCloud();
const API = 'abcdefghij';
const url = (path: string) => `${cloud().endpoint}/${API}/v1${path}`;
const execute = (path: string) => `arn:aws:execute-api:${REGION}:${ACCOUNT}:${API}/v1/${path}`;

beforeAll(() => {
  const { identities, lambda, apiGateway } = cloud().services;
  identities.createRole(ACCOUNT, {
    name: 'function',
    trustPolicy: trust({ Service: 'lambda.amazonaws.com' }),
  });
  const sources = {
    echo: 'export const handler = async (event) => ({ statusCode: 201, headers: { "x-own": "1" }, body: JSON.stringify(event) });',
    malformed: 'export const handler = async () => ({ status: 200 });',
    failing: 'export const handler = async () => { throw new Error("secret detail"); };',
    unpermitted: 'export const handler = async () => ({ statusCode: 200 });',
  };
  for (const [name, source] of Object.entries(sources)) {
    const handlerFile = join(cloud().folder, `${name}.mjs`);
    writeFileSync(handlerFile, source);
    const arn = lambda.createFunction({
      account: ACCOUNT,
      region: REGION,
      name,
      roleArn: `arn:aws:iam::${ACCOUNT}:role/function`,
      handlerFile,
    });
    if (name === 'unpermitted') continue;
    lambda.setPolicy(arn, {
      Version: '2012-10-17',
      Statement: [
        {
          Effect: 'Allow',
          Principal: { Service: 'apigateway.amazonaws.com' },
          Action: 'lambda:InvokeFunction',
          Resource: arn,
          Condition: {
            ArnLike: {
              'aws:SourceArn': [API, 'worded'].map(
                (id) => `arn:aws:execute-api:${REGION}:${ACCOUNT}:${id}/*/*/*`,
              ),
            },
          },
        },
      ],
    });
  }
  const functionArn = (name: string) => `arn:aws:lambda:${REGION}:${ACCOUNT}:function:${name}`;
  const place = { account: ACCOUNT, region: REGION, stage: 'v1' };
  const routes = [{ method: 'POST', path: '/orders', functionArn: functionArn('echo') }];
  const tooLarge = '{"Message":"Smaller, please.","Id":"$context.requestId"}';
  apiGateway.createApi({ id: 'worded', ...place, stage: 'v2', routes, tooLarge });
  apiGateway.createApi({
    id: API,
    ...place,
    routes: [
      { method: 'POST', path: '/orders/{Id}/parcels', functionArn: functionArn('echo') },
      { method: 'GET', path: '/deployments', functionArn: functionArn('echo') },
      ...['malformed', 'failing', 'unpermitted'].map((name) => ({
        method: 'GET',
        path: `/${name}`,
        functionArn: functionArn(name),
      })),
    ],
  });
});

const call = async (
  path: string,
  init: { method?: string; body?: string; headers?: Record<string, string> } = {},
  identity = cloud.administrator(),
  region = REGION,
) => {
  const response = await cloud().fetchSigned(identity, region, url(path), init);
  return {
    status: response.status,
    headers: response.headers, // biome-ignore lint/suspicious/noExplicitAny: the answers of several functions
    body: (await response.json()) as any,
  };
};

test('a function gets the request in the form of REST APIs, with who asked, and without the signature', async () => {
  const { status, headers, body } = await call('/orders/web%2Etest/parcels?a=1&a=2&b=x%20y', {
    method: 'POST',
    body: '{"a":1}',
    headers: { 'Content-Type': 'application/json' },
  });
  expect([status, headers.get('x-own')]).toEqual([201, '1']);
  expect(body).toMatchObject({
    resource: '/orders/{Id}/parcels',
    httpMethod: 'POST',
    // REST APIs hand path parameters on as they were sent.
    pathParameters: { Id: 'web%2Etest' },
    queryStringParameters: { a: '2', b: 'x y' },
    multiValueQueryStringParameters: { a: ['1', '2'], b: ['x y'] },
    body: '{"a":1}',
    requestContext: {
      accountId: ACCOUNT,
      apiId: API,
      stage: 'v1',
      identity: { accountId: ACCOUNT, userArn: `arn:aws:iam::${ACCOUNT}:user/administrator` },
    },
  });
  expect(Object.keys(body.headers).map((name) => name.toLowerCase())).not.toContain('authorization');
  const { body: withoutQuery } = await call('/deployments');
  expect(withoutQuery).toMatchObject({
    queryStringParameters: null,
    pathParameters: expect.anything(),
    body: null,
  });
});

test('a team that may call its own names is refused for those of others, with the account hidden', async () => {
  const team = cloud().createUser(ACCOUNT, 'team', [
    allow('execute-api:Invoke', execute('POST/orders/web-*')),
  ]);
  const post = (name: string) => call(`/orders/${name}/parcels`, { method: 'POST', body: '{}' }, team);
  expect((await post('web-shop')).status).toBe(201);
  const refused = await post('mail');
  expect(refused.status).toBe(403);
  expect(refused.headers.get('x-amzn-errortype')).toBe('AccessDeniedException');
  expect(refused.body.Message).toContain(
    `is not authorized to perform: execute-api:Invoke on resource: arn:aws:execute-api:${REGION}:********3333:${API}/v1/POST/orders/mail/parcels`,
  );
  expect((await call('/deployments', {}, team)).status).toBe(403);
});

test('an account other than the API’s is refused, whatever its own policies allow', async () => {
  expect((await call('/deployments', {}, cloud.administrator(OTHER_ACCOUNT))).status).toBe(403);
});

test('a request that is unsigned, wrongly signed, stale or for no method is refused in API Gateway’s words', async () => {
  const unsigned = await fetch(url('/deployments'));
  expect([unsigned.status, await unsigned.json()]).toEqual([
    403,
    { message: 'Missing Authentication Token' },
  ]);
  expect(await call('/nothing')).toMatchObject({
    status: 403,
    body: { message: 'Missing Authentication Token' },
  });
  expect(await call('/deployments', { method: 'DELETE' })).toMatchObject({
    status: 403,
    body: { message: 'Missing Authentication Token' },
  });

  const administrator = cloud.administrator();
  const forged = {
    ...administrator,
    credentials: { ...administrator.credentials, secretAccessKey: 'x'.repeat(40) },
  };
  expect((await call('/deployments', {}, forged)).headers.get('x-amzn-errortype')).toBe(
    'InvalidSignatureException',
  );
  const unknown = {
    ...administrator,
    credentials: { ...administrator.credentials, accessKeyId: 'AKIAAAAAAAAAAAAAAAAA' },
  };
  expect((await call('/deployments', {}, unknown)).body).toEqual({
    message: 'The security token included in the request is invalid.',
  });
  expect((await call('/deployments', {}, administrator, 'us-east-1')).body.message).toContain('valid region');
});

test('what is too large for Lambda or for API Gateway itself is 413', async () => {
  const post = (path: string, bytes: number) =>
    cloud().fetchSigned(cloud.administrator(), REGION, `${cloud().endpoint}${path}`, {
      method: 'POST',
      body: 'x'.repeat(bytes),
    });
  const event = await post(`/${API}/v1/orders/web/parcels`, 8_400_000);
  expect([event.status, await event.json()]).toEqual([413, { message: 'Request Too Long' }]);
  const worded = await post('/v2/orders', 8_400_000);
  const Id = worded.headers.get('x-amzn-requestid');
  expect([worded.status, await worded.json()]).toEqual([413, { Message: 'Smaller, please.', Id }]);
  const whole = await post('/v2/orders', 10_485_761);
  expect([whole.status, await whole.text()]).toEqual([413, 'HTTP content length exceeded 10485760 bytes.']);
});

test('what goes wrong behind the API is told to nobody', async () => {
  const internal = { message: 'Internal server error' };
  expect(await call('/malformed')).toMatchObject({ status: 502, body: internal });
  expect(await call('/failing')).toMatchObject({ status: 502, body: internal });
  expect(await call('/unpermitted')).toMatchObject({ status: 500, body: internal });
});

test('a stage that only one API has can be called without the API’s id', async () => {
  const response = await cloud().fetchSigned(
    cloud.administrator(),
    REGION,
    `${cloud().endpoint}/v1/deployments`,
  );
  expect(response.status).toBe(201);
});
