import { expect, test } from '@jest/globals';
import { call, deploymentOf, installed, plainNode, testFleet } from './test-fleet.ts';

const fleet = testFleet({ central: { parameters: { RequestRules: 'ordered=.example.com' } } });

const wish = {
  DomainNames: ['ordered.example.com', 'www.ordered.example.com'],
  KeyAlgorithm: 'EC_prime256v1',
  Deployments: [{ TargetTagKey: 'acm-export', TargetTagValue: 'ordered' }],
};
const request = (body: object, name = 'ordered') => call(fleet(), 'POST', `/certificates/${name}`, body);

test('one POST leads to a certificate on a server, and a second one to nothing more', async () => {
  const { cloud } = fleet();
  const node = await plainNode(fleet(), 'ordered');
  cloud.settle();
  expect(await request({ ...wish, DryRun: true })).toMatchObject({
    status: 202,
    body: { Status: 'DRY_RUN' },
  });
  expect(cloud.record.callsOf('RequestCertificate')).toEqual([]);
  const first = await request(wish);
  expect(first).toMatchObject({ status: 202, body: { Status: 'ASKING' } });
  await cloud.idle();
  const { body } = await call(fleet(), 'GET', '/certificates/ordered');
  expect(body).toMatchObject({
    Status: 'DONE',
    Records: [{ Type: 'CNAME' }, { Type: 'CNAME' }],
    CertificateArn: expect.any(String),
  });
  expect(body.Error).toBeUndefined();
  const [{ DeploymentId }] = body.Deployments;
  expect(await deploymentOf(fleet(), 'ordered', DeploymentId)).toMatchObject({
    Status: 'INSTALLED',
    CertificateArn: body.CertificateArn,
  });
  expect(installed(node, 'ordered').certificates()).toBeGreaterThan(1);
  expect((await request(wish)).body).toMatchObject({ Status: 'DONE', RequestNumber: body.RequestNumber });
  const asked = cloud.record.callsOf('RequestCertificate');
  expect(asked.map(({ error }) => error)).toEqual([undefined]);
  // ACM's event has started a second one, which does no harm.
  const ended = cloud.services.stepFunctions
    .executions()
    .filter(({ arn }) => arn.includes(':acm-export-certificate-request:'));
  expect(ended.map(({ status }) => status)).toEqual(['SUCCEEDED', 'SUCCEEDED']);
  expect(ended.map(({ arn }) => arn)).toContain(body.ExecutionArn);
});

test('a name that no rule allows, and a domain beside those of the rule, are refused', async () => {
  const before = fleet().cloud.record.callsOf('RequestCertificate').length;
  for (const [name, domain] of [
    ['other', 'ordered.example.com'],
    ['ordered', 'example.com'],
    ['ordered', 'www.badexample.com'],
    ['ordered', '*.example.com'],
  ]) {
    expect((await request({ DomainNames: [domain] }, name)).status).toBe(403);
  }
  expect(fleet().cloud.record.callsOf('RequestCertificate')).toHaveLength(before);
});
