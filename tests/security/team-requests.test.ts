import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from '@jest/globals';
import { evaluate, type PolicyDocument } from 'local-cloud/iam';
import { blocksOf } from '../docs/documents.ts';

// docs/requesting-certificates.md says what these policies allow: IAM decides here on the paths of the API.

const API = 'arn:aws:execute-api:eu-west-1:111122223333:abcde12345/v1';
const example = (name: string) =>
  JSON.parse(readFileSync(path.join(import.meta.dirname, '../../docs/examples', name), 'utf8'));
const single = blocksOf('docs/requesting-certificates.md')
  .filter(({ language, text }) => language === 'json' && text.includes('"Statement"'))
  .map(({ text }) => JSON.parse(text) as PolicyDocument);

/** Whether a caller with these policies may make the call. */
const may = (policies: PolicyDocument[], call: string, api = API) =>
  evaluate(
    {
      account: '111122223333',
      arn: 'arn:aws:iam::111122223333:user/team-web',
      tags: {},
      identityPolicies: policies,
    },
    {
      action: 'execute-api:Invoke',
      resource: `${api}/${call}`,
      context: {},
      resourceAccount: '111122223333',
    },
  ).allowed;

test('a team requests under its own names and no other', () => {
  const policies = [example('team-requests.json')];
  for (const method of ['GET', 'POST']) {
    expect(may(policies, `${method}/certificates/web-shop`)).toBe(true);
    for (const name of ['payments', 'WEB-shop', 'my-web-shop', 'web', 'web_shop']) {
      expect([name, may(policies, `${method}/certificates/${name}`)]).toEqual([name, false]);
    }
  }
  for (const call of ['POST/freeze', 'GET/deployments', 'GET/endpoints', 'DELETE/certificates/web-shop']) {
    expect([call, may(policies, call)]).toEqual([call, false]);
  }
  for (const other of [API.replace('eu-west-1', 'eu-central-1'), API.replace('abcde12345', 'abcde12346')]) {
    expect(may(policies, 'POST/certificates/web-shop', other)).toBe(false);
  }
});

test('a star behind a name allows everything below the names, too', () => {
  const policies = [example('team-requests.json')];
  for (const call of [
    'POST/certificates/web-shop/deployments',
    'POST/certificates/web-shop/renewals',
    'POST/certificates/web-shop/deployments/0123456789abcdef01234567/pause',
    'GET/certificates/web-shop/deployments',
  ]) {
    expect([call, may(policies, call)]).toEqual([call, true]);
  }
});

test('the policy for a single name allows nothing below it', () => {
  expect(single).toHaveLength(1);
  expect(may(single, 'POST/certificates/web-shop')).toBe(true);
  expect(may(single, 'GET/certificates/web-shop')).toBe(true);
  for (const call of [
    'POST/certificates/web-shop2',
    'POST/certificates/web-shop/deployments',
    'POST/certificates/web-shop/renewals',
    'GET/certificates/web-shop/deployments',
  ]) {
    expect([call, may(single, call)]).toEqual([call, false]);
  }
});

test('what a team may do with deployments gives no right to request', () => {
  const ofGuide = blocksOf('docs/guide.md')
    .filter(({ language, text }) => language === 'json' && text.includes('"Statement"'))
    .map(({ text }) => JSON.parse(text.replaceAll('a1b2c3d4e5', 'abcde12345')) as PolicyDocument);
  expect(ofGuide).toHaveLength(1);
  expect(may(ofGuide, 'POST/certificates/www/deployments')).toBe(true);
  const policies = [example('team-deployments.json'), ...ofGuide];
  for (const call of ['POST/certificates/web-shop', 'GET/certificates/web-shop', 'POST/certificates/www']) {
    expect([call, may(policies, call)]).toEqual([call, false]);
  }
});
