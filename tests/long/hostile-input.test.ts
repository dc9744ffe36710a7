import { beforeAll, describe, expect, test } from '@jest/globals';
import type { APIGatewayProxyEvent, Context } from 'aws-lambda';
import fc from 'fast-check';
import { ROUTES } from '../../functions/deployments-api/route.ts';
import { ReconcileEvent } from '../../functions/reconcile/reconcile.ts';
import { logFields } from '../../functions/runtime/observability.ts';
import { deploymentBodies } from '../functions/support/deployment-bodies.ts';
import { System } from '../functions/support/system.ts';

/** HOSTILE_CASES=100000 HOSTILE_SEED=$RANDOM looks further. */
const CASES = Number(process.env.HOSTILE_CASES ?? 10_000);
const SEED = Number(process.env.HOSTILE_SEED ?? 20261124);

let system: System;
const ARN = 'arn:aws:acm:eu-central-1:111122223333:certificate/web';
let registered = '0'.repeat(24);
beforeAll(async () => {
  system = await System.create();
  await system.acm.issue('web');
  await system.target().addNode('i-00000001');
  registered = (await system.register({ CertificateArn: ARN })).body.DeploymentId;
  await system.runAll();
});

/** Texts that have broken other programs. */
const nasty = fc.oneof(
  fc.constantFrom(
    '',
    ' ',
    '\u0000',
    '__proto__',
    'constructor',
    'toString',
    '../../etc/passwd',
    '%2e%2e%2f',
    '$(reboot)',
    '`id`',
    '; rm -rf /',
    '${AWS::AccountId}',
    '{{ssm:secret}}',
    '{{ global:DATE }}',
    '<script>',
    "' OR '1'='1",
    'null',
    'NaN',
    '-0',
    '1e400',
    '\ud800',
    '\u202e',
    '🔑',
    'ÿ'.repeat(300),
    'x'.repeat(20_000),
    '\r\nX-Injected: 1',
  ),
  fc.string({ unit: 'binary-ascii', maxLength: 40 }),
  fc.string({ unit: 'grapheme', maxLength: 40 }),
);

const certName = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom('web-prod', 'a', 'A.b-c_9', 'x'.repeat(64)) },
  { weight: 1, arbitrary: nasty },
);
const deploymentId = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom('registered', 'f'.repeat(24)) },
  { weight: 1, arbitrary: nasty },
);

/** A valid body, of which one or the other field was replaced or added. */
const changedBody = fc
  .tuple(
    deploymentBodies(ARN),
    fc.dictionary(
      fc.oneof(
        nasty,
        fc.constantFrom(
          'CertName',
          'ReloadServices',
          'RestartServices',
          'VerifyPort',
          'KeyGroup',
          'TargetTagValue',
          'ReaderRoleArns',
          'BundleFormats',
          'Delivery',
        ),
      ),
      fc.oneof(nasty, fc.jsonValue({ maxDepth: 3 })),
      { minKeys: 1, maxKeys: 3, noNullPrototype: true },
    ),
  )
  .map(([body, changes]) => JSON.stringify({ ...body, ...changes }));

/** Valid, but mostly about certificates and targets that there are none of. */
const validBody = fc
  .tuple(
    deploymentBodies(ARN),
    fc.constantFrom(
      ARN,
      `${ARN}-unknown`,
      ARN.replace('eu-central-1', 'us-east-1'),
      ARN.replace('aws', 'aws-cn'),
    ),
    fc.constantFrom({}, {}, {}, {}, {}, {}, {}, {}, { TargetTagKey: 'acm-export' }),
  )
  .map(([body, CertificateArn, key]) => JSON.stringify({ ...body, CertificateArn, ...key }));

const rawBody = fc.oneof(
  fc.constant(null),
  fc.constant(''),
  nasty,
  fc.json({ maxDepth: 4 }),
  fc.jsonValue().map((value) => JSON.stringify(value)),
  fc.constant(`[${'['.repeat(5000)}`),
  fc.constant(JSON.stringify({ CertificateArn: ARN })),
  fc
    .array(fc.string(), { minLength: 100, maxLength: 300 })
    .map((all) => JSON.stringify({ ReloadServices: all })),
);

const query = fc.oneof(
  { weight: 6, arbitrary: fc.constant(null) },
  {
    weight: 3,
    arbitrary: fc.record(
      {
        Limit: fc.constantFrom('1', '7', '20', '100'),
        Status: fc.constantFrom('FAILED', 'INSTALLED', 'DELETING'),
        ExpiresWithinDays: fc.constantFrom('0', '30', '3650'),
        TargetAccount: fc.constantFrom('444455556666', '000000000000'),
        CertificateArn: fc.constant(ARN),
      },
      { requiredKeys: [] },
    ),
  },
  {
    weight: 2,
    arbitrary: fc.dictionary(
      fc.oneof(nasty, fc.constantFrom('NextToken', 'Limit', 'Status', 'Force', 'TargetAccount')),
      fc.oneof(
        nasty,
        fc
          .jsonValue({ maxDepth: 2 })
          .map((value) => Buffer.from(JSON.stringify(value)).toString('base64url')),
      ),
      { maxKeys: 3, noNullPrototype: true },
    ),
  },
);

const names = Object.keys(ROUTES);
/** The routes by how often they are tried; POST twice, once with bodies that are right. */
const request = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      name: fc.constant(names[0] as string),
      body: validBody,
      query: fc.constant(null),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      name: fc.constant(names[0] as string),
      body: changedBody,
      query: fc.constant(null),
    }),
  },
  { weight: 1, arbitrary: fc.record({ name: fc.constantFrom(...names), body: rawBody, query }) },
  {
    weight: 2,
    arbitrary: fc.record({
      name: fc.constantFrom(...names.filter((name) => name.startsWith('GET'))),
      body: fc.constant(null),
      query,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      name: fc.constantFrom(...names.filter((name) => /\/(rollouts|pause|resume|renewals)$/.test(name))),
      body: fc.constantFrom(null, '{}', JSON.stringify({ CertificateArn: ARN })),
      query: fc.constant(null),
    }),
  },
);

/** What else of an event may be other than it should. */
const context = fc.oneof(
  { weight: 8, arbitrary: fc.constant({ requestContext: { requestId: 'request-1' } }) },
  {
    weight: 1,
    arbitrary: fc.record(
      {
        requestContext: fc.oneof(fc.constant(undefined), fc.record({ requestId: nasty })),
        isBase64Encoded: fc.boolean(),
        headers: fc.dictionary(nasty, nasty, { maxKeys: 2, noNullPrototype: true }),
        httpMethod: fc.constantFrom('PATCH', 'get', '__proto__'),
        resource: nasty,
        pathParameters: fc.constantFrom(null, {}, { CertName: '', DeploymentId: '' }),
        multiValueQueryStringParameters: fc.constantFrom(null, {}, { Limit: ['1', '2'] }, { Limit: null }),
      },
      { requiredKeys: [] },
    ),
  },
);

const event = fc.record({ request, certName, deploymentId, context }).map((parts) => {
  const [httpMethod, resource = ''] = parts.request.name.split(' ');
  const id = parts.deploymentId === 'registered' ? registered : parts.deploymentId;
  const pathParameters = {
    ...(resource.includes('{CertName}') ? { CertName: parts.certName } : {}),
    ...(resource.includes('{DeploymentId}') ? { DeploymentId: id } : {}),
  };
  return {
    httpMethod,
    resource,
    pathParameters: Object.keys(pathParameters).length > 0 ? pathParameters : null,
    queryStringParameters: parts.request.query,
    body: parts.request.body,
    isBase64Encoded: false,
    ...parts.context,
  } as unknown as APIGatewayProxyEvent;
});

test('no request, however made, is answered with a 5xx, an exception or an answer out of all proportion', async () => {
  const handle = system.function('deployments-api');
  const statuses = new Map<number, number>();
  await fc.assert(
    fc.asyncProperty(event, async (sent) => {
      const answer = await handle(sent, { awsRequestId: 'lambda-1' } as Context);
      statuses.set(answer.statusCode, (statuses.get(answer.statusCode) ?? 0) + 1);
      const body = JSON.parse(answer.body);
      const faults = body.Faults ?? [];
      const isOk = answer.statusCode >= 200 && answer.statusCode < 300;
      const isRefusal =
        answer.statusCode >= 400 &&
        answer.statusCode < 500 &&
        typeof body.Message === 'string' &&
        faults.length <= 51 &&
        answer.body.length < 30_000;
      // One check a case: ten thousand times six of jest's would take longer than the cases.
      return (isOk || isRefusal) && /^[A-Za-z0-9-]{1,64}$/.test(body.CorrelationId);
    }),
    { numRuns: CASES, seed: SEED },
  );
  const passed = [...statuses].reduce((sum, [status, count]) => sum + (status === 400 ? 0 : count), 0);
  expect(passed / CASES).toBeGreaterThan(0.5);
  // How many are accepted follows from the fields that there are.
  expect(statuses.get(202) ?? 0).toBeGreaterThan(CASES / 1000);
  // Whatever was started has a name that Step Functions takes; the fake refuses others.
  expect(system.sfn.executions.size).toBeGreaterThan(0);
});

describe('an event that is none', () => {
  const anything = fc.oneof(
    fc.anything({ withNullPrototype: true, withBigInt: false, withDate: true }),
    fc.jsonValue(),
    fc.record(
      {
        source: fc.oneof(fc.constantFrom('aws.acm', 'aws.states'), nasty),
        'detail-type': fc.oneof(
          fc.constantFrom('ACM Certificate Available', 'ACM Certificate Expired', 'constructor'),
          nasty,
        ),
        id: fc.oneof(fc.constant('5ec5f1d2'), nasty),
        time: fc.oneof(fc.constant('2026-11-24T10:30:00Z'), nasty),
        resources: fc.oneof(fc.constant([ARN]), fc.array(nasty, { maxLength: 3 }), fc.jsonValue()),
        detail: fc.oneof(
          fc.constant({ Action: 'RENEWAL' }),
          fc.record(
            {
              Action: nasty,
              executionArn: nasty,
              name: fc.oneof(fc.constant(`${'f'.repeat(24)}-ab-1`), nasty),
              status: fc.oneof(fc.constantFrom('FAILED', 'constructor'), nasty),
              input: fc.oneof(fc.json(), nasty),
              error: nasty,
              cause: fc.oneof(fc.json(), nasty),
            },
            { requiredKeys: [] },
          ),
          fc.jsonValue(),
        ),
      },
      { requiredKeys: [] },
    ),
  );
  const runs = { numRuns: Math.min(CASES, 1000), seed: SEED };

  test('is ignored by handle-renewal with a short reason, or asks for time; it starts nothing', async () => {
    const before = system.sfn.executions.size;
    await fc.assert(
      fc.asyncProperty(anything, async (given) => {
        const outcome = await system.renewalOf(given).catch((error: Error) => error);
        if (outcome instanceof Error) {
          expect(outcome.name).toBe('RetryLater');
        } else if ('Ignored' in outcome) {
          expect(outcome.Ignored.length).toBeLessThan(2000);
        }
      }),
      runs,
    );
    expect(system.sfn.executions.size).toBe(before);
  });

  test('is ignored by rollout-ended, or told once in plain words of bounded length', async () => {
    await fc.assert(
      fc.asyncProperty(anything, async (given) => {
        const report = await system.report(given);
        expect(Object.keys(report)).toHaveLength(1);
        expect(JSON.stringify(report).length).toBeLessThan(2000);
      }),
      runs,
    );
    for (const { Subject, Message } of system.messages()) {
      expect(Subject).toMatch(/^[\x20-\x7e]{1,100}$/);
      expect(Message.length).toBeLessThan(8000);
    }
  });

  test('is refused by reconcile with one named error', () => {
    fc.assert(
      fc.property(anything, (given) => {
        const parsed = ReconcileEvent.safeParse(given);
        expect(parsed.error?.name).toBe('ZodError');
      }),
      runs,
    );
  });

  test('is no obstacle to the log', () => {
    fc.assert(
      fc.property(anything, (given) => {
        logFields(given);
        logFields({ CorrelationId: given, CertName: given });
      }),
      runs,
    );
  });
});
