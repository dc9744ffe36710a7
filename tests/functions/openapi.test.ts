import { readFileSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import { parse } from 'yaml';
import * as z from 'zod';
import { ROUTES, type Route } from '../../functions/deployments-api/route.ts';
import type { Freeze } from '../../functions/domain/freeze.ts';
import { ROUNDS } from '../../functions/inventory/inventory.ts';
import type { ScriptedNode } from '../../local/scripted-node.ts';
import { awsError } from './support/service-view.ts';
import { type ApiAnswer, type ApiRequest, CENTRAL, MEMBER, System, stack } from './support/system.ts';

const ENDPOINT = {
  Serial: 'ab',
  NotAfter: '2027-01-01T00:00:00Z',
  Issuer: 'CN=Some CA',
  Subject: 'CN=intranet.example.com',
};

// biome-ignore lint/suspicious/noExplicitAny: a document, different at each place
type Json = any;

const file = path.resolve(import.meta.dirname, '../../docs/openapi.yaml');
const api: Json = parse(readFileSync(file, 'utf8'));
const METHODS = ['get', 'post', 'put', 'patch', 'delete'];

/** Follows references, and merges the keys next to them. */
function resolved(node: Json): Json {
  if (!node?.$ref) {
    return node;
  }
  const target = node.$ref
    .slice(2)
    .split('/')
    .reduce((at: Json, key: string) => at[key], api);
  expect([node.$ref, typeof target]).toEqual([node.$ref, 'object']);
  const { $ref: _, ...beside } = node;
  return { ...resolved(target), ...beside };
}

interface Operation {
  name: string;
  operation: Json;
  parameters: Json[];
  route: Route;
}

const operations: Operation[] = Object.entries<Json>(api.paths).flatMap(([resource, item]) =>
  METHODS.filter((method) => item[method]).map((method) => {
    const name = `${method.toUpperCase()} ${resource}`;
    const operation = item[method];
    const parameters = [...(item.parameters ?? []), ...(operation.parameters ?? [])].map(resolved);
    return { name, operation, parameters, route: ROUTES[name] as Route };
  }),
);
const byName = new Map(operations.map((operation) => [operation.name, operation]));

test('describes exactly the routes of the template, which are those of the code', () => {
  const routes = (stack.resources.get('DeploymentsApi')?.routes ?? []).map(
    ({ method, path: resource }) => `${method.toUpperCase()} ${resource}`,
  );
  const described = operations.map(({ name }) => name).sort();
  expect(described).toEqual(routes.toSorted());
  expect(described).toEqual(Object.keys(ROUTES).sort());
});

test('asks for a signature everywhere, and has what generators need', () => {
  expect(api.openapi).toBe('3.1.0');
  expect(api.security).toEqual([{ sigv4: [] }]);
  expect(api.components.securitySchemes.sigv4).toMatchObject({
    type: 'apiKey',
    in: 'header',
    name: 'Authorization',
    'x-amazon-apigateway-authtype': 'awsSigv4',
  });
  const ids = operations.map(({ operation }) => operation.operationId);
  expect(new Set(ids).size).toBe(ids.length);
  for (const { operation } of operations) {
    expect(operation).toMatchObject({ summary: expect.any(String), tags: [expect.any(String)] });
    expect(operation.security).toBeUndefined();
  }
});

/** The keywords that bound a value, in the form of JSON Schema, references followed. */
const BOUNDS = [
  'type',
  'enum',
  'pattern',
  'minimum',
  'maximum',
  'minLength',
  'maxLength',
  'minItems',
  'maxItems',
  'default',
  'required',
  'additionalProperties',
];

function boundsOf(schema: Json): Json {
  const whole = resolved(schema);
  // The same as anyOf.
  if (Array.isArray(whole.type)) {
    return { anyOf: whole.type.map((type: string) => boundsOf({ ...whole, type })) };
  }
  const bounds = Object.fromEntries(
    BOUNDS.filter((keyword) => whole[keyword] !== undefined).map((keyword) => [keyword, whole[keyword]]),
  );
  return {
    ...bounds,
    ...(whole.required ? { required: [...whole.required].sort() } : {}),
    ...(whole.items ? { items: boundsOf(whole.items) } : {}),
    ...(whole.anyOf ? { anyOf: whole.anyOf.map(boundsOf) } : {}),
    ...(whole.properties
      ? {
          properties: Object.fromEntries(
            Object.entries(whole.properties).map(([name, property]) => [name, boundsOf(property)]),
          ),
        }
      : {}),
  };
}

const schemaOf = (schema: z.ZodType): Json => z.toJSONSchema(schema, { io: 'input' });

describe.each(operations.map((operation) => [operation.name, operation] as const))('%s', (_, described) => {
  const { operation, parameters, route } = described;

  test('takes the body that the code takes: names, bounds, patterns, defaults', () => {
    const taken = schemaOf(route.body);
    if (Object.keys(taken.properties).length === 0) {
      expect(operation.requestBody).toBeUndefined();
      return;
    }
    const { schema } = operation.requestBody.content['application/json'];
    expect(operation.requestBody.required).toBe(true);
    expect(boundsOf(schema)).toEqual(boundsOf(taken));
  });

  test('takes the path parameters that the code takes', () => {
    const taken = schemaOf(route.path);
    const inPath = parameters.filter((parameter) => parameter.in === 'path');
    expect(inPath.map(({ name }) => name).sort()).toEqual(Object.keys(taken.properties).sort());
    for (const { name, required, schema } of inPath) {
      expect(required).toBe(true);
      expect(boundsOf(schema)).toEqual(boundsOf(taken.properties[name]));
    }
  });

  test('takes the query that the code takes', () => {
    const taken = schemaOf(route.query);
    const inQuery = parameters.filter((parameter) => parameter.in === 'query');
    expect(inQuery.map(({ name }) => name).sort()).toEqual(Object.keys(taken.properties).sort());
    const isTaken = (name: string, value: unknown) =>
      route.query.safeParse({ [name]: String(value) }).success;
    for (const { name, required, schema } of inQuery) {
      expect(required ?? false).toBe(false);
      const { type, minimum, maximum, default: standard, ...bounds } = boundsOf(schema);
      if (type === 'integer') {
        // A number in the address is text to the code.
        expect(
          [minimum, maximum, minimum - 1, maximum + 1, 'x', '1.5'].map((value) => isTaken(name, value)),
        ).toEqual([true, true, false, false, false, false]);
        expect((route.query.parse({}) as Json)[name]).toBe(standard);
      } else {
        const given = { type, ...bounds, ...(standard === undefined ? {} : { default: standard }) };
        expect(given).toEqual(boundsOf(taken.properties[name]));
      }
    }
  });

  test('shows examples that the code takes', () => {
    const examples = Object.values<Json>(operation.requestBody?.content['application/json'].examples ?? {});
    expect(examples.length > 0).toBe(operation.requestBody !== undefined);
    for (const { value } of examples) {
      expect(route.body.safeParse(value).error).toBeUndefined();
    }
  });

  test('is answered with the status of the code, and with refusals that all routes share', () => {
    const statuses = Object.keys(operation.responses);
    expect(statuses.filter((status) => status < '400')).toEqual([String(route.status)]);
    expect(statuses).toEqual(expect.arrayContaining(['400', '403', '429']));
    for (const response of Object.values<Json>(operation.responses)) {
      expect(resolved(response)).toMatchObject({
        description: expect.any(String),
        content: { 'application/json': { schema: expect.any(Object) } },
      });
    }
  });
});

/** The document as a schema in which no object may have a member that is not described. */
function strict(node: Json, isPart = false): Json {
  if (Array.isArray(node)) {
    return node.map((element) => strict(element, isPart));
  }
  if (typeof node !== 'object' || node === null) {
    return node;
  }
  const copy = Object.fromEntries(
    Object.entries<Json>(node).map(([key, value]) => [key, strict(value, key === 'allOf')]),
  );
  const isObject = node.type === 'object' && node.properties;
  const { Deployment, Order } = api.components.schemas;
  return isObject && !isPart && node !== Deployment && node !== Order
    ? { ...copy, unevaluatedProperties: false }
    : copy;
}

describe('answers of the running code are as they are described', () => {
  let system: System;
  const validators = new Map<string, ValidateFunction>();
  /** Which answers were seen, by route and status. */
  const seen = new Set<string>();
  const ajv = new Ajv2020({ strict: false, allErrors: true });

  beforeAll(async () => {
    ajv.addSchema({ ...strict(api), $id: 'https://acm-export/openapi' });
    system = await System.create();
  });

  function validatorOf(schema: Json): ValidateFunction {
    const key = JSON.stringify(schema);
    const known = validators.get(key);
    if (known) {
      return known;
    }
    const rooted = JSON.parse(key.replaceAll('"#/', '"https://acm-export/openapi#/'));
    const closed = schema.anyOf ? rooted : { allOf: [rooted], unevaluatedProperties: false };
    const made = ajv.compile(closed);
    validators.set(key, made);
    return made;
  }

  async function call(name: string, request: ApiRequest = {}): Promise<ApiAnswer> {
    const [method = '', resource = ''] = name.split(' ');
    const answer = await system.api(method, resource, request);
    const { operation } = byName.get(name) as Operation;
    const response = resolved(operation.responses[answer.status]);
    expect([name, answer.status, response !== undefined]).toEqual([name, answer.status, true]);
    const validate = validatorOf(response.content['application/json'].schema);
    validate(answer.body);
    expect([name, answer.status, validate.errors ?? []]).toEqual([name, answer.status, []]);
    // A page's items and a deployment are closed as well.
    const item = resource === '/certificates/{CertName}' ? 'RequestedDeployment' : 'Deployment';
    for (const deployment of answer.body.Deployments ?? []) {
      const one = validatorOf({ $ref: `#/components/schemas/${item}` });
      one(deployment);
      expect(one.errors ?? []).toEqual([]);
    }
    seen.add(`${name} ${answer.status}`);
    return answer;
  }

  const collection = '/certificates/{CertName}/deployments';
  const one = `${collection}/{DeploymentId}`;
  const path = { CertName: 'web-prod' };

  test('for each route and each status that the code can answer it with', async () => {
    const arn = await system.acm.issue('web');
    const target = system.target();
    await target.addNode('i-00000001', { note: 'hooks lie directly in hooks.d' });
    await target.addNode('i-00000002', { online: false });
    await target.addNode('i-00000003', { platform: 'Windows' });
    const body = {
      CertificateArn: arn,
      TargetTagKey: 'acm-export',
      TargetTagValue: 'web',
      TargetAccount: MEMBER,
      KeyMode: '0640',
      KeyGroup: 'ssl-cert',
      ReloadServices: ['nginx'],
      RestartServices: ['slapd'],
    };
    const register = (more: object = {}) => call(`POST ${collection}`, { path, body: { ...body, ...more } });
    const id = (await register()).body.DeploymentId;
    const own = { ...path, DeploymentId: id };
    const other = { path: { CertName: 'other', DeploymentId: id } };

    // As it is while a rollout runs and another one waits, and in every state after.
    await register({ VerifyPort: 443 });
    await system.step(system.sfn.running()[0]?.arn as string);
    await system.step(system.sfn.running()[0]?.arn as string);
    await call(`GET ${one}`, { path: own });
    await call(`GET ${collection}`, { path });
    await system.runAll();
    await call(`GET ${one}`, { path: own });
    await register({ DryRun: true });
    await call(`GET ${one}`, { path: own });
    expect((await register({ DryRun: true, VerifyPort: 8443 })).status).toBe(409);
    await system.runAll();
    // What a look finds.
    const node = target.nodes[0] as ScriptedNode;
    node.drift.set('web-prod', 'foreign');
    node.behaviour = 'failed';
    node.endpoints = [1, 2].map((port) => ({ ...ENDPOINT, Port: 9000 + port }));
    for (let sweep = 0; sweep < 4; sweep += 1) {
      await system.reconcile('nodes');
      await system.letNodesAnswer();
      await system.runAll();
      system.advance({ minutes: 5 });
    }
    await call(`GET ${one}`, { path: own });
    await call('GET /endpoints');
    await call('GET /endpoints', { query: { Finding: 'unregistered', Limit: '1' } });
    node.drift.clear();
    for (const behaviour of ['failed', 'rolled-back', 'silent'] as const) {
      Object.assign(system.target().nodes[0] as object, { behaviour });
      await call(`POST ${one}/rollouts`, { path: own });
      await system.runAll();
      await call(`GET ${one}`, { path: own, query: { Limit: '1' } });
    }
    // One is refused beside another, and people are told.
    Object.assign(system.target().nodes[0] as object, { behaviour: 'installs' });
    const refused = await target.addNode('i-00000004', { behaviour: 'failed', exitCode: 31 });
    await call(`POST ${one}/rollouts`, { path: own });
    await system.runAll();
    await system.reconcile('nodes');
    const { Nodes } = (await call(`GET ${one}`, { path: own })).body;
    expect(Nodes).toContainEqual(
      expect.objectContaining({
        Outcome: 'refused',
        Refusal: { Since: expect.any(String), ToldAt: expect.any(String) },
      }),
    );
    refused.listed = false;
    Object.assign(system.target().nodes[1] as object, { listed: false });
    await system.reconcile('nodes');
    await system.letNodesAnswer();
    system.advance({ days: 170 });
    await system.reconcile('certificates');
    await call(`GET ${one}`, { path: own });
    await register({ TargetTagValue: 'tried', DryRun: true });
    await register({
      TargetTagValue: 'secret',
      Delivery: 'secret',
      ReaderRoleArns: [`arn:aws:iam::${MEMBER}:role/team-a`],
      BundleFormats: ['pkcs12'],
    });
    await call('GET /deployments', { query: { Limit: '2' } });
    await call('GET /deployments', { query: { Status: 'FAILED', ExpiresWithinDays: '100' } });

    await call('POST /certificates/{CertName}/renewals', { path, body: { CertificateArn: arn } });
    await call('POST /certificates/{CertName}/renewals', { path, body: { CertificateArn: arn } });
    await system.cloud.idle();
    await call(`GET ${one}`, { path: own });
    await call(`POST ${one}/pause`, { path: own });
    await call(`GET ${one}`, { path: own });
    expect((await register()).status).toBe(409);
    await call(`POST ${one}/rollouts`, { path: own });
    await call('GET /deployments', { query: { Status: 'PAUSED' } });
    await call(`POST ${one}/resume`, { path: own });
    await system.runAll();
    await call('GET /freeze');
    await call('POST /freeze', { body: { Reason: 'change freeze' } });
    await call('POST /freeze', { body: { Reason: 'another one' } });
    await call('GET /freeze');
    await call(`GET ${one}`, { path: own });
    expect((await register()).status).toBe(409);
    expect((await call(`POST ${one}/rollouts`, { path: own })).status).toBe(409);
    // Another caller is faster: once before the thaw, and each time before a freeze.
    const { freezes } = system.inventory;
    const thawed = async () => freezes.end((await freezes.get()) as Freeze, 'another');
    const frozen = async () => freezes.begin(await freezes.get(), 'another', 'theirs');
    const meanwhile = (happens: () => Promise<unknown>, times: number) =>
      system.cloud.faults.inject({
        operation: 'DynamoDB_20120810.UpdateItem',
        kind: 'delay',
        until: happens,
        times,
        when: ({ source }) => source.startsWith('function '),
      });
    meanwhile(async () => [await thawed(), await frozen()], 1);
    expect((await call('POST /thaw')).status).toBe(409);
    await call('POST /thaw');
    await call('POST /thaw');
    await call('GET /freeze');
    meanwhile(async () => [await frozen(), await thawed()], ROUNDS);
    expect((await call('POST /freeze', { body: { Reason: 'change freeze' } })).status).toBe(409);

    system.dnsAccounts = '';
    // A request for a certificate, from its dry run to its end, and one that has failed.
    const request = (more: object = {}) =>
      call('POST /certificates/{CertName}', { path, body: { DomainNames: ['new.example.com'], ...more } });
    const deployment = {
      TargetTagKey: 'acm-export',
      TargetTagValue: 'new',
      TargetAccount: MEMBER,
      KeyMode: null,
    };
    await request({ DryRun: true, Tags: { team: 'web' } });
    const { ExecutionArn } = (await request({ Deployments: [deployment] })).body;
    expect((await request()).status).toBe(409);
    while (await system.step(ExecutionArn)) await call('GET /certificates/{CertName}', { path });
    await system.runAll();
    expect((await call('GET /certificates/{CertName}', { path })).body.Status).toBe('DONE');
    await call('GET /certificates/{CertName}', { path: { CertName: 'none' } });
    await call('GET /certificates/{CertName}', { path: { CertName: '..' } });
    await request({ DomainNames: ['www'] });
    await request({ DomainNames: ['www.example.org'] });
    system.acm.failNext('ListCertificates', awsError('ThrottlingException'));
    await request({ DomainNames: ['newer.example.com'] });
    system.sts.failNext('AssumeRole', awsError('AccessDenied'));
    await request({ DomainNames: ['newer.example.com'], Deployments: [deployment] });

    // Refusals: too large, not valid, not allowed, not found, not ready, throttled.
    for (const { name } of operations.filter((operation) => operation.name.startsWith('POST '))) {
      await call(name, { path: own, body: 'x'.repeat(600_000) });
    }
    await register({ TargetTagValue: '', Extra: 1 });
    await call(`GET ${collection}`, { path: { CertName: '..' } });
    await call('GET /deployments', { query: { NextToken: 'x' } });
    await call('GET /endpoints', { query: { NextToken: 'x', Finding: 'else' } });
    for (const name of [
      `GET ${one}`,
      `DELETE ${one}`,
      `POST ${one}/rollouts`,
      `POST ${one}/pause`,
      `POST ${one}/resume`,
    ]) {
      await call(name, { path: { ...path, DeploymentId: 'x' } });
      await call(name, other);
    }
    await call('POST /freeze', { body: { Reason: '' } });
    await call('POST /thaw', { query: { Reason: 'done' } });
    await call('GET /freeze', { query: { Limit: '1' } });
    await call('POST /certificates/{CertName}/renewals', { path, body: {} });
    await call('POST /certificates/{CertName}/renewals', { path, body: { CertificateArn: `${arn}-x` } });
    await call('POST /certificates/{CertName}/renewals', {
      path,
      body: { CertificateArn: arn.replace(CENTRAL, MEMBER) },
    });
    await register({ TargetTagKey: 'Name' });
    await register({ CertificateArn: `${arn}-unknown` });
    system.acm.held(arn).tags = {};
    await call('POST /certificates/{CertName}/renewals', { path, body: { CertificateArn: arn } });
    await call(`POST ${one}/rollouts`, { path: own });
    await call(`POST ${one}/resume`, { path: own });
    system.acm.held(arn).tags = { CertName: '+' };
    system.acm.held(arn).status = 'EXPIRED';
    await call(`POST ${one}/rollouts`, { path: own });
    await call(`POST ${one}/resume`, { path: own });
    await register();
    system.acm.held(arn).status = 'ISSUED';
    const throttled = awsError('ThrottlingException');
    for (const [name, request] of [
      [`POST ${collection}`, { path, body }],
      [`POST ${one}/rollouts`, { path: own }],
      [`POST ${one}/resume`, { path: own }],
      ['POST /certificates/{CertName}/renewals', { path, body: { CertificateArn: arn } }],
    ] as const) {
      system.acm.failNext('DescribeCertificate', throttled);
      await call(name, request);
    }
    system.advance({ hours: 2 });
    system.acm.failNext('RenewCertificate', awsError('ValidationException', 'never exported'));
    await call('POST /certificates/{CertName}/renewals', { path, body: { CertificateArn: arn } });
    system.sts.failNext('AssumeRole', awsError('AccessDenied'));
    await call(`DELETE ${one}`, { path: own });
    await call(`POST ${one}/pause`, { path: own });
    await call(`POST ${one}/resume`, { path: own });
    system.sts.failNext('AssumeRole', throttled);
    await call(`DELETE ${one}`, { path: own });
    await call(`GET ${one}`, { path: own });
    await call(`DELETE ${one}`, { path: own });

    // API Gateway's own answers are not ours to make; 403 and 429 of routes that only read are only its.
    const described = operations.flatMap(({ name, operation }) =>
      Object.keys(operation.responses).map((status) => `${name} ${status}`),
    );
    const onlyGateway = described.filter((answer) =>
      /^(GET|DELETE) .* 403$|^GET .* 429$|\/(pause|freeze|thaw) (403|429)$/.test(answer),
    );
    expect(described.filter((answer) => !seen.has(answer)).sort()).toEqual(onlyGateway.sort());
  });

  test('and so are the examples of the document', () => {
    for (const { name, operation } of operations) {
      for (const [status, response] of Object.entries<Json>(operation.responses)) {
        const { schema, examples = {} } = resolved(response).content['application/json'];
        for (const { value } of Object.values<Json>(examples)) {
          const validate = validatorOf(schema);
          validate(value);
          expect([name, status, validate.errors ?? []]).toEqual([name, status, []]);
        }
      }
    }
  });

  test('and an answer with one more field, one less, or another type is noticed', async () => {
    const arn = await system.acm.issue('mine');
    await system.target().addNode('i-00000009', { tags: { 'acm-export': 'mine' } });
    const { body } = await system.register({ CertificateArn: arn, TargetTagValue: 'mine' });
    await system.runAll();
    const own = { path: { ...path, DeploymentId: body.DeploymentId } };
    const { body: found } = await system.api('GET', one, own);
    const { operation } = byName.get(`GET ${one}`) as Operation;
    const validate = validatorOf(resolved(operation.responses[200]).content['application/json'].schema);
    const [node] = found.Nodes;
    expect(validate(found)).toBe(true);
    expect(validate({ ...found, RestoreBundle: true })).toBe(false);
    expect(validate({ ...found, Options: { ...found.Options, More: 1 } })).toBe(false);
    expect(validate({ ...found, Nodes: [{ ...node, Item: 'node#i-00000009' }] })).toBe(false);
    expect(validate({ ...found, Status: 'DONE' })).toBe(false);
    expect(validate({ ...found, CorrelationId: undefined })).toBe(false);
    expect(validate({ ...found, RolloutNumber: '1' })).toBe(false);
  });
});
