import { beforeAll, describe, expect, test } from '@jest/globals';
import { ROUTES } from '../../functions/deployments-api/route.ts';
import { ASKED } from '../../functions/domain/order.ts';
import { type ApiRequest, System } from './support/system.ts';

/** Words of a validator, of its types and of ours; values of JSON that a person did not write. */
const JARGON =
  /invalid|expected|received|too (big|small)|input|option|schema|regex|pattern|enum|int\b|string|boolean|array|undefined|\bnull|NaN|zod|[<>=]=|[|"\\^]/i;
/** A phrase that can stand behind the name of its field. */
const PHRASE = /^(a|an|at|each|from|missing|must|no|none|not|only|unknown|up) ?\S.*[^.\s]$|^missing$/;

let system: System;
beforeAll(async () => {
  system = await System.create();
});

const path = { CertName: 'web-prod', DeploymentId: '0'.repeat(24) };
const pathOf = (route: string) =>
  Object.fromEntries(Object.entries(path).filter(([name]) => route.includes(`{${name}}`)));

/** Refused with 400; every fault is a phrase about one of the fields. */
async function holds(route: string, request: ApiRequest, fields: string[]): Promise<string[]> {
  const [method = '', resource = ''] = route.split(' ');
  const { status, body } = await system.api(method, resource, { path: pathOf(route), ...request });
  const what = `${route} ${JSON.stringify(request).slice(0, 200)}`;
  expect([what, status, body.Message]).toEqual([what, 400, 'The request is not valid.']);
  const faults: { Field: string; Reason: string }[] = body.Faults;
  expect([what, fields.filter((field) => faults.some(({ Field }) => Field.startsWith(field)))]).toEqual([
    what,
    fields,
  ]);
  for (const { Field, Reason } of faults) {
    expect([what, Field, Reason]).toEqual([what, Field, expect.stringMatching(PHRASE)]);
    expect([what, Field, Reason]).toEqual([what, Field, expect.not.stringMatching(JARGON)]);
  }
  return faults.map(({ Reason }) => Reason);
}

const routes = Object.keys(ROUTES);
const POST = 'POST /certificates/{CertName}/deployments';
const RENEW = 'POST /certificates/{CertName}/renewals';

describe.each(routes)('%s', (route) => {
  test.each(['{', '[]', '[{}]', 'null', '17', '"text"', 'true', '{"a":1}}', '\u0000'])(
    'with the body %j',
    (body) => holds(route, { body }, ['body']),
  );

  test('with fields that it does not have', async () => {
    await holds(route, { body: { Extra: 1 } }, ['Extra']);
    await holds(route, { query: { Verbose: '1' } }, ['Verbose']);
    await holds(route, { path: { ...pathOf(route), Other: 'x' } }, ['Other']);
  });

  test('with a path that is none', async () => {
    const names = Object.keys(pathOf(route));
    for (const name of names) {
      for (const value of ['', '..', 'x y', '%00', 'x'.repeat(500)]) {
        await holds(route, { path: { ...pathOf(route), [name]: value } }, [name]);
      }
    }
    await (names.length > 0 && holds(route, { path: null }, names));
  });
});

/** Each of them is wrong for every field that has a type but a text, and for every list of texts. */
const WRONG = [
  17.5,
  -1,
  100_000,
  '',
  ' ',
  '\n',
  '17 ',
  'x'.repeat(300),
  {},
  { a: 1 },
  [17],
  [null],
  [[]],
  ['', ''],
];

describe('a field of an order', () => {
  test.each(Object.keys(ASKED).filter((name) => name !== 'Options'))('%s', async (name) => {
    for (const value of WRONG) {
      // What only answers show may be anything; CertName need only be that of the path.
      await holds(POST, { body: { [name]: value } }, [name]);
    }
  });

  test.each([
    ['VerifyPort', '443', 'not a number'],
    ['VerifyPort', 1.5, 'not a whole number'],
    ['VerifyPort', 65_536, 'at most 65535'],
    ['ReloadServices', 'nginx', 'not a list'],
    ['ReloadServices', ['a', 'b', 'c', 'd', 'e', 'f'], 'at most 5 values'],
    ['ReaderRoleArns', [], 'at least 1 value'],
    ['BundleFormats', [], 'at least 1 value'],
    ['DryRun', 'true', 'not true or false'],
    ['TargetAccount', 444455556666, 'not a text'],
    ['Delivery', 'both', 'not one of: nodes, secret'],
    ['Options', [], 'not a JSON object'],
    ['Options', { KeyMode: '0777' }, 'not one of: 0400, 0440, 0600, 0640'],
    ['Options', { ExtraFormats: 'pkcs12' }, 'not a list'],
  ])('%s: %j is %s', async (name, value, reason) => {
    const reasons = await holds(POST, { body: { TargetTagKey: 'a', TargetTagValue: 'b', [name]: value } }, [
      name,
    ]);
    expect(reasons).toEqual([reason]);
  });
});

test.each([undefined, null, 17, '', [], {}, 'arn:aws:iam::111122223333:role/x'])(
  'a renewal of the certificate %j',
  async (CertificateArn) => holds(RENEW, { body: { CertificateArn } }, ['CertificateArn']),
);

test.each([
  ['GET /deployments', 'Limit'],
  ['GET /deployments', 'NextToken'],
  ['GET /deployments', 'Status'],
  ['GET /deployments', 'CertificateArn'],
  ['GET /deployments', 'TargetAccount'],
  ['GET /deployments', 'ExpiresWithinDays'],
  ['GET /endpoints', 'Finding'],
  ['GET /endpoints', 'NextToken'],
  ['DELETE /certificates/{CertName}/deployments/{DeploymentId}', 'Force'],
])('the query of %s with %s', async (route, name) => {
  for (const value of ['', ' ', 'x', '-1', '1.5', '99999', 'null', 'x'.repeat(5000)]) {
    await holds(route, { query: { [name]: value } }, [name]);
  }
});
