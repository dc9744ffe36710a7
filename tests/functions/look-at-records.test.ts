import { beforeEach, expect, test } from '@jest/globals';
import { isHourOfRecords, validationRecordsFrom } from '../../functions/domain/validation-records.ts';
import { MEMBER, System } from './support/system.ts';

let system: System;
beforeEach(async () => {
  system = await System.create();
  await system.target().addNode('a');
});

/** A certificate that is deployed, and the record of its first name. */
async function deploy(id: string, names: string[], type?: 'PRIVATE') {
  const arn = await system.acm.issue(id, { names, ...(type ? { type } : {}) });
  await system.register({ CertificateArn: arn, TargetTagValue: id });
  await system.runAll();
  const { account } = system.acm.held(arn);
  const [record] = await recordsOf(arn);
  return { arn, account, record };
}

async function recordsOf(arn: string) {
  const { DescribeCertificateCommand, ACMClient } = await import('@aws-sdk/client-acm');
  const { credentials } = system.cloud.createUser(system.acm.held(arn).account, 'person', [
    { Statement: { Effect: 'Allow', Action: '*', Resource: '*' } },
  ]);
  const client = system.cloud.client(ACMClient, { region: 'eu-central-1', credentials });
  const { Certificate } = await client.send(new DescribeCertificateCommand({ CertificateArn: arn }));
  return validationRecordsFrom(Certificate?.DomainValidationOptions ?? []);
}

const lose = (name = '') => system.cloud.publicDns.say(name, 'CNAME', 'NXDOMAIN');
const restore = ({ Name = '', Value = '' } = {}) => system.cloud.publicDns.say(Name, 'CNAME', [Value]);
const told = () => system.messages().filter(({ Subject }) => /^Validation record/.test(Subject));
/** The sweeps of so many hours. */
async function sweeps(hours: number): Promise<void> {
  for (let hour = 0; hour < hours; hour += 1) {
    await system.reconcile('certificates');
    system.advance({ hours: 1 });
  }
}

test('records that are there are looked at once a day, and nobody is told', async () => {
  const { record } = await deploy('web', ['www.example.com', '*.example.com']);
  expect(record?.Name).toMatch(/^_/);
  const before = system.acm.callsOf('DescribeCertificate').length;
  await sweeps(24);
  // Each sweep compares the certificate, and one looks at its records.
  expect(system.acm.callsOf('DescribeCertificate').length - before).toBe(25);
  expect(told()).toEqual([]);
});

test('a record that two looks find missing is told of, once a day, until it is there', async () => {
  const { arn, record } = await deploy('web', ['www.example.com', 'api.example.com']);
  lose(record?.Name);
  await sweeps(24);
  expect(told()).toHaveLength(1);
  const [message] = told();
  expect(message?.Subject).toBe('Validation record of web-prod is missing: acm-export=web');
  expect(message?.Message).toContain(`CNAME ${record?.Name} with the value ${record?.Value}, of ${arn}`);
  expect(message?.Message).toContain('no such record');
  expect(message?.Message).not.toContain('api.example.com');
  expect(message?.Message).toContain(`account ${MEMBER}`);
  await sweeps(24);
  expect(told()).toHaveLength(2);
  restore(record);
  await sweeps(48);
  expect(told()).toHaveLength(2);
  expect(await system.inventory.recordFindings.get()).toEqual([]);
});

test('a record that is back at the next look is told of to nobody, nor where a sweep is repeated at once', async () => {
  const { arn, record } = await deploy('web', ['www.example.com']);
  while (!isHourOfRecords(arn, system.clock.now())) system.advance({ hours: 1 });
  lose(record?.Name);
  await system.reconcile('certificates');
  system.advance({ minutes: 2 });
  await system.reconcile('certificates');
  expect(await system.inventory.recordFindings.get()).toHaveLength(1);
  restore(record);
  system.advance({ hours: 1 });
  await sweeps(26);
  expect(told()).toEqual([]);
});

test('another value is told of, with what public DNS has', async () => {
  const { record } = await deploy('web', ['www.example.com']);
  restore({ Name: record?.Name ?? '', Value: '_other.acm-validations.aws' });
  await sweeps(26);
  expect(told()[0]?.Message).toContain('public DNS has _other.acm-validations.aws');
});

test.each(['SERVFAIL', 'time-out'] as const)('nothing is said of a record that gets %s', async (trouble) => {
  const { record } = await deploy('web', ['www.example.com']);
  system.cloud.publicDns.say(record?.Name ?? '', 'CNAME', trouble);
  await sweeps(50);
  expect(told()).toEqual([]);
});

test('a record that is missing, and then not answered, is told of when it is missing again', async () => {
  const { record } = await deploy('web', ['www.example.com']);
  lose(record?.Name);
  await system.reconcile('certificates');
  while ((await system.inventory.recordFindings.get()).length === 0) await sweeps(1);
  system.cloud.publicDns.say(record?.Name ?? '', 'CNAME', 'SERVFAIL');
  await sweeps(3);
  expect(told()).toEqual([]);
  lose(record?.Name);
  await sweeps(1);
  expect(told()).toHaveLength(1);
});

test('of several certificates one message tells, and of one that nobody deploys none', async () => {
  const web = await deploy('web', ['www.example.com']);
  const api = await deploy('api', ['api.example.com']);
  lose(web.record?.Name);
  lose(api.record?.Name);
  while ((await system.inventory.recordFindings.get()).length < 2) {
    // The first one that is found is told of before the second one.
    await sweeps(1);
  }
  await sweeps(25);
  expect(told().at(-1)?.Subject).toMatch(
    /^Validation record of web-prod is missing: acm-export=(web|api) and 1 more$/,
  );
  const { body } = await system.api('GET', '/deployments');
  for (const { DeploymentId } of body.Deployments) await system.remove(DeploymentId);
  const before = told().length;
  await sweeps(30);
  expect(told()).toHaveLength(before);
  expect(await system.inventory.recordFindings.get()).toEqual([]);
});

test('certificates of a private authority have no records', async () => {
  system.allowPrivateCertificates = true;
  const { record } = await deploy('web', ['www.example.com'], 'PRIVATE');
  lose(record?.Name);
  await sweeps(26);
  expect(told()).toEqual([]);
});

test('a look that fails is a fault of the sweep, and what is known is kept', async () => {
  const { record } = await deploy('web', ['www.example.com']);
  lose(record?.Name);
  while ((await system.inventory.recordFindings.get()).length === 0) await sweeps(1);
  const known = await system.inventory.recordFindings.get();
  let calls = 0;
  system.cloud.faults.inject({
    operation: 'CertificateManager.DescribeCertificate',
    kind: 'refuse',
    error: { name: 'InternalError', message: 'x', status: 500 },
    when: () => {
      calls += 1;
      // The first call of a sweep compares the certificate.
      return calls === 2;
    },
  });
  const { Errors } = await system.reconcile('certificates');
  expect(Errors).toBe(1);
  expect(await system.inventory.recordFindings.get()).toEqual(known);
});

test('records of a certificate are those of DNS, each once', () => {
  const ResourceRecord = { Name: '_x.a.com.', Type: 'CNAME' as const, Value: '_y.' };
  expect(
    validationRecordsFrom([
      { DomainName: 'a.com', ValidationMethod: 'DNS', ResourceRecord },
      { DomainName: '*.a.com', ValidationMethod: 'DNS', ResourceRecord },
      { DomainName: 'b.com', ValidationMethod: 'EMAIL' },
      { DomainName: 'c.com', ValidationMethod: 'DNS' },
      { DomainName: 'd.com', ValidationMethod: 'HTTP', ResourceRecord },
    ]),
  ).toEqual([{ ...ResourceRecord, DomainNames: ['a.com', '*.a.com'] }]);
});
